"""A package of another author adds a method: the one on docs/extending.md, built and installed from that page."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.methods.registry import GROUP, method, names
from correlight.recipes import load
from correlight.registration.register import register

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
# A file is named in the text before its content.
FILE = re.compile(
    r"`([\w.]+\.(?:py|toml))`[^`\n]*(?:`[^`\n]*`[^`\n]*)*:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL
)


def install(source: Path, target: Path) -> None:
    """Build a package and install it by pip, without a network."""
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--no-compile"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(source)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def files() -> dict[str, str]:
    return dict(FILE.findall(PAGE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def installed(files: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the package of the page is installed, and nothing else."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("correlight_shift.py", "pyproject.toml"):
        (source / name).write_text(files[name], encoding="utf-8")
    install(source, target)
    return target


@pytest.fixture
def added(installed: Path, files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The package can be imported, and the recipe lies in the working folder."""
    (tmp_path / "shifted.toml").write_text(files["shifted.toml"], encoding="utf-8")
    monkeypatch.syspath_prepend(installed)
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "shifted.toml"
    sys.modules.pop("correlight_shift", None)


def test_the_page_holds_the_whole_package_in_few_lines(files: dict[str, str]) -> None:
    assert set(files) == {"correlight_shift.py", "pyproject.toml", "shifted.toml", "test_shift.py"}
    assert len([line for line in files["correlight_shift.py"].splitlines() if line.strip()]) < 40


def test_without_the_package_the_recipe_is_refused(files: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "shifted.toml").write_text(files["shifted.toml"], encoding="utf-8")
    with pytest.raises(UsageError, match="no search method 'cross correlation'; choose features, "):
        load(tmp_path / "shifted.toml")


def test_the_installed_method_is_listed_after_those_that_ship(added: Path) -> None:
    assert [entry.value for entry in entry_points(group=GROUP)] == ["correlight_shift:ShiftSearch"]
    assert names("search")[0] == "features"
    assert names("search")[-1] == "cross correlation"
    assert "cross correlation" not in names("refinement")
    assert method("search", "cross correlation").__module__ == "correlight_shift"


def test_the_test_of_the_page_passes(added: Path, files: dict[str, str]) -> None:
    space: dict[str, object] = {}
    exec(compile(files["test_shift.py"], "test_shift.py", "exec"), space)
    (test,) = (value for name, value in space.items() if name.startswith("test_"))
    test()  # type: ignore[operator]


def test_a_result_of_it_can_be_written(added: Path) -> None:
    pixels = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(128, 128)), 3)
    image = Image.from_array(pixels, 0.1)
    found = register(image, image, added)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["recipe"] == "shifted"


def test_its_settings_and_what_it_serves_hold_as_for_any_method(added: Path) -> None:
    with pytest.raises(UsageError, match=r"does not fit at 'search.steps'"):
        load(added).with_settings("search", steps=0)
    with pytest.raises(UsageError, match=r"does not fit at 'search.stepps'"):
        load(added).with_settings("search", stepps=2)
    flat = Image.from_array(np.random.default_rng(0).random((40, 40)).astype(np.float32), 0.1)
    stack = Image.from_array(np.random.default_rng(0).random((1, 9, 40, 40)).astype(np.float32), (0.2, 0.1, 0.1))
    with pytest.raises(UsageError, match="shifted registers flat images; got two stacks"):
        register(stack, stack, added)
    with pytest.raises(
        UsageError, match="shifted cannot take a rotation of flat images into account; it takes landmarks"
    ):
        register(flat, flat, added, rotation=(0.0, 10.0))


def test_a_package_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "correlight_broken.py").write_text("import nothing_of_this_name\n")
    (tmp_path / "source" / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        '[project]\nname = "correlight-broken"\nversion = "0.1"\n'
        '[project.entry-points."correlight.methods"]\n"evidence.broken" = "correlight_broken:Nothing"\n'
        '[tool.hatch.build.targets.wheel]\ninclude = ["correlight_broken.py"]\n'
    )
    install(tmp_path / "source", tmp_path / "installed")
    monkeypatch.syspath_prepend(tmp_path / "installed")
    with pytest.raises(UsageError, match="evidence method 'broken' of another package cannot be loaded") as caught:
        method("evidence", "broken")
    assert "nothing_of_this_name" in str(caught.value)
    # The others go on as before.
    assert method("evidence", "images").__name__ == "ImageEvidence"
