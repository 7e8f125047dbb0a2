# make demo   simulate a specimen, register it, write ./demo (open demo/.../report.html)
# make test   everything that must hold before a change is merged
# make quick  a first look in a minute: style, and the tests of a few rooms
# make package  build the wheel and the source into ./dist, and register the demo with the wheel alone
# make test-napari  the plug-in for napari, in an environment of its own, so that the rest stays without Qt
# make learn  train the descriptor anew, about an hour on two cores, into ./learned
# make clean  removes what the other targets made

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python; do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# The plug-in is tested with the binding of Qt that QT names: make test-napari QT=pyside6
QT     ?= pyqt6
# PySide6 6.12.0 gives back a reference too many for signals that carry an object, which ends Python 3.11 after a while,
# with "Fatal Python error: deallocating None".
BINDING := $(if $(filter pyside6,$(QT)),'pyside6!=6.12.0',$(QT))
# Programs of others that build, check and run what is made here; correlight itself is not installed beside them.
TVENV  := .venv-tools
TSTAMP := $(TVENV)/.installed
TOOLS  := build "hatchling>=1.25" twine "snakemake>=9" "roc-validator>=0.10"
# The wheel and what it requires, and nothing else.
ALONE  := .venv-wheel
NVENV  := .venv-napari
NSTAMP := $(NVENV)/.installed-$(QT)
# Without a screen, under a virtual one that can draw.
XVFB   := xvfb-run -a -s "-screen 0 1920x1080x24 +extension GLX"
SCREEN := $(if $(DISPLAY),,$(if $(shell command -v xvfb-run),$(XVFB),none))
# napari 0.9 itself is warned of this when it is loaded.
THEIRS := -W ignore::pydantic.warnings.PydanticDeprecatedSince20
QUICK  := $(addprefix tests/,test_geometry.py test_import.py test_layers.py test_transforms.py exchange/test_matrix.py \
          images/test_image.py images/test_plane.py io/test_tiff_meaning.py landmarks/test_linear.py recipes/test_recipes.py \
          registration/test_held.py search/test_rotation.py similarity/test_correlation.py transforms/test_motions.py)

.PHONY: demo test package test-napari quick learn clean

demo: $(STAMP)
	$(BIN)/correlight demo -o demo --overwrite

test: $(STAMP) $(TSTAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PATH="$$PATH:$(CURDIR)/$(TVENV)/bin" $(BIN)/pytest -n logical --dist worksteal
	$(MAKE) package
ifeq ($(SCREEN),none)
	@echo "The plug-in for napari was not tested: there is no screen, and xvfb-run is not installed."
else
	$(MAKE) test-napari
endif

package: $(TSTAMP)
	rm -rf dist $(ALONE)
	$(TVENV)/bin/python -m build --no-isolation
	$(TVENV)/bin/twine check --strict dist/*
	$(PYTHON) -m venv $(ALONE)
	$(ALONE)/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd $(ALONE) && bin/correlight demo -o demo --overwrite

$(TSTAMP): Makefile
	$(PYTHON) -m venv $(TVENV)
	$(TVENV)/bin/python -m pip install --quiet --disable-pip-version-check $(TOOLS)
	touch $@

ifeq ($(SCREEN),none)
test-napari:
	@echo "There is no screen; install xvfb and xauth first." >&2; exit 2
else
test-napari: $(NSTAMP)
	$(NVENV)/bin/npe2 validate correlight
	QT_API=$(QT) $(SCREEN) $(NVENV)/bin/napari --info
	QT_API=$(QT) LIBGL_ALWAYS_SOFTWARE=1 $(SCREEN) $(NVENV)/bin/python -m pytest $(THEIRS) tests/napari
endif

$(NSTAMP): pyproject.toml
	$(PYTHON) -m venv $(NVENV)
	$(NVENV)/bin/python -m pip install --quiet --disable-pip-version-check $(BINDING) pytest pytest-qt hypothesis -e ".[napari]"
	touch $@

quick: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -x -q -m "not slow" $(QUICK)

learn: $(STAMP)
	$(BIN)/python -m correlight.learn.descriptor -o learned

# The stamp is older than pyproject.toml when the dependencies may have changed, and missing when a run was cut short.
$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; name one: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,learn,formats,notebook,cluster,crate]"
	touch $@

clean:
	rm -rf $(VENV) $(NVENV) $(TVENV) $(ALONE) dist demo learned .mypy_cache .pytest_cache .ruff_cache .hypothesis
