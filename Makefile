# make demo   simulate a specimen, register it, write ./demo (open demo/.../report.html)
# make test   everything that must hold before a change is merged
# make quick  a first look in a minute: style, and the tests of a few rooms
# make package  build the wheel and the source into ./dist, and register the demo with the wheel alone
# make docs   the documentation site, into ./site (open site/index.html); any warning fails it
# make oldest the oldest dependencies that pyproject.toml allows, in an environment of their own, and the tests of files
# make test-napari  the plug-in for napari, in an environment of its own, so that the rest stays without Qt
# make learn  train the descriptor anew, about an hour on two cores, into ./learned
# make clean  removes what the other targets made

NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3.11 python3 python; do $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
TORCH  ?= torch==2.13.0
VENV   := .venv
BIN    := $(VENV)/bin
# What a user installs, which is all that the demo needs; and with it all that the tests need, PyTorch included.
STAMP  := $(VENV)/.installed-core
TESTED := $(VENV)/.installed
# The plug-in is tested with the binding of Qt that QT names: make test-napari QT=pyside6
QT     ?= pyqt6
# PySide6 6.12.0 gives back a reference too many for signals that carry an object, which ends Python 3.11 after a while,
# with "Fatal Python error: deallocating None".
BINDING := $(if $(filter pyside6,$(QT)),'pyside6!=6.12.0',$(QT))
# Programs of others that build, check and run what is made here; correlight itself is not installed beside them.
TVENV  := .venv-tools
TSTAMP := $(TVENV)/.installed
# bioimageio.core 0.11 asks for a version of bioimageio.spec that fails with pydantic 2.14.
TOOLS  := build "hatchling>=1.25" twine "snakemake>=9" "roc-validator>=0.10" "bioimageio.core[onnx]>=0.11" "pydantic<2.14"
# The wheel and what it requires, and nothing else.
ALONE  := .venv-wheel
DVENV  := .venv-docs
DSTAMP := $(DVENV)/.installed
SPHINX := "sphinx>=8.1,<10" "pydata-sphinx-theme>=0.16" "myst-parser>=4" "sphinx-gallery>=0.18" "numpydoc>=1.8" "sphinx-design>=0.6"
OVENV  := .venv-oldest
OSTAMP := $(OVENV)/.installed
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
# What depends most on the versions of others: files in and out, and what notebooks show.
FILES  := $(addprefix tests/,io/test_reading.py io/test_write.py io/test_choice.py io/test_mrc.py exchange/test_itk.py \
          exchange/test_ngff.py notebook)

# Tests start some hundred processes, which would each compile the package anew, for a quarter of their time.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test types cases package docs oldest test-napari quick learn clean

demo: $(STAMP)
	$(BIN)/correlight demo -o demo --overwrite

test: $(TESTED) $(TSTAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
# Types take one processor for a minute or two, in which the tests would have to wait.
	$(MAKE) -j 2 types cases
# Each of these takes one processor; what one says is shown once it is done.
	$(MAKE) -j 2 -O $(if $(filter none,$(SCREEN)),,test-napari) package docs
ifeq ($(SCREEN),none)
	@echo "The plug-in for napari was not tested: there is no screen, and xvfb-run is not installed."
endif

types: $(TESTED)
	$(BIN)/mypy

cases: $(TESTED) $(TSTAMP)
	PATH="$$PATH:$(CURDIR)/$(TVENV)/bin" $(BIN)/pytest -n logical --dist worksteal

package: $(TSTAMP)
	rm -rf dist $(ALONE)
	$(TVENV)/bin/python -m build --no-isolation
	$(TVENV)/bin/twine check --strict dist/*
	$(PYTHON) -m venv $(ALONE)
	$(ALONE)/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd $(ALONE) && bin/correlight demo -o demo --overwrite

docs: $(DSTAMP)
	$(DVENV)/bin/python -m sphinx -b html -W --keep-going -c docs -d site/.doctrees . site
	@echo "The site is site/index.html."

$(DSTAMP): pyproject.toml Makefile
	$(PYTHON) -m venv $(DVENV)
	$(DVENV)/bin/python -m pip install --quiet --disable-pip-version-check $(SPHINX) -e ".[notebook]"
	touch $@

# Old releases are warned by new ones beside them. The oldest imagecodecs reads packed integers and cannot write those that a
# test of them is made of.
oldest: $(OSTAMP)
	$(OVENV)/bin/python -m pytest -q -W default::DeprecationWarning -m "not slow" -k "not twelve_bits" $(QUICK) $(FILES)
	$(OVENV)/bin/correlight demo -o $(OVENV)/demo --overwrite

$(OSTAMP): pyproject.toml Makefile
	$(PYTHON) -m venv $(OVENV)
	$(OVENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(OVENV)/bin/uv pip install --quiet --python $(OVENV)/bin/python --resolution lowest-direct -e ".[formats,notebook]"
	$(OVENV)/bin/uv pip install --quiet --python $(OVENV)/bin/python pytest hypothesis SimpleITK
	touch $@

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

quick: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pytest -x -q -m "not slow" $(QUICK)

learn: $(TESTED)
	$(BIN)/python -m correlight.learn.descriptor -o learned

# The stamp is older than pyproject.toml when the dependencies may have changed, and missing when a run was cut short.
$(TESTED): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$(TORCH)"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[test,learn,formats,notebook,cluster,crate]"
	touch $@

$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer was not found; name one: make PYTHON=/path/to/python" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	@# Most modules of the dependencies are never used; those that are, Python translates then.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e .
	touch $@

clean:
	rm -rf $(VENV) $(NVENV) $(TVENV) $(DVENV) $(OVENV) $(ALONE) dist site docs/gallery docs/api demo learned .mypy_cache .pytest_cache .ruff_cache .hypothesis
