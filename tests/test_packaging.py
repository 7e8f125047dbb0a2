"""What is installed from a wheel is whole: templates, styles, scripts, recipes and the marker of types."""

import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import correlight

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 3_000_000  # bytes of the wheel, the networks included


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of the files in a freshly built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    # The build backend itself rather than pip, which would fetch it from the network.
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = folder.glob("*.whl")
    assert built.stat().st_size <= LARGEST
    with zipfile.ZipFile(built) as archive:
        return set(archive.namelist())


def test_every_file_of_the_package_is_in_the_wheel(wheel: set[str]) -> None:
    package = ROOT / "src"
    expected = {
        path.relative_to(package).as_posix()
        for path in (package / "correlight").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {Path(name).suffix for name in expected} >= {".py", ".j2", ".css", ".js", ".typed"}
    assert expected <= wheel


def test_nothing_else_is_in_the_wheel(wheel: set[str]) -> None:
    assert {name.split("/")[0] for name in wheel} == {"correlight", f"correlight-{correlight.__version__}.dist-info"}


def test_the_version_is_the_same_everywhere() -> None:
    assert version("correlight") == correlight.__version__
    assert f"version: {correlight.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
