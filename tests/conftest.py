"""What every test relies on: repeatable examples, no network, and the folder of real images if there is one."""

import json
import os
import socket
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Read when NumPy and SciPy are loaded, by the processes that tests start as well. One process of tests runs on each
# processor; the threads of libraries beside them would only wait for each other, which takes half of the time.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

# Timings vary with the machine and random examples with the run; a failure must be the same for everybody.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("CORRELIGHT_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real images; the test is skipped where it is missing."""
    if not (DATA / "pairs.json").is_file():
        pytest.skip(f"no real images in {DATA}; set CORRELIGHT_DATA to the folder that holds pairs.json")
    return DATA


@pytest.fixture(scope="session")
def pairs(data: Path) -> dict[str, dict[str, Any]]:
    """The pairs of real images by their id."""
    return {pair["id"]: pair for pair in json.loads((data / "pairs.json").read_text(encoding="utf-8"))}


_SPOTS: dict[tuple[Any, ...], Any] = {}


@pytest.fixture(scope="module")
def beads_found_once() -> Iterator[None]:
    """Beads of one image are the same in every search, and take seconds to find in a stack: each is looked at once."""
    from correlight.beads import matching
    from correlight.beads.spots import find_spots

    def find(pixels: Any, grid: Any, valid: Any, *, diameter: float | None, psf: Any) -> Any:
        key = sha256(pixels.tobytes()).digest(), sha256(valid.tobytes()).digest(), grid, diameter, psf
        if key not in _SPOTS:
            _SPOTS[key] = find_spots(pixels, grid, valid, diameter=diameter, psf=psf)
        return _SPOTS[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matching, "find_spots", find)
        yield


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test tried to reach {address[0]}; tests run without a network")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
