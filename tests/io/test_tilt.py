"""Tilts of the specimen in the tags of scanning electron microscopes."""

from math import cos, radians
from pathlib import Path

import numpy as np
import pytest
import tifffile

from correlight.images.tilt import Tilt
from correlight.io import read

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)


def fei(
    path: Path, *, tilt: float, scan: float = 0.0, corrected: str = "no", beam: str = "EBeam", code: int = 1
) -> Path:
    """A file of FEI; angles in degrees."""
    lines = [
        f"[Beam]\r\nBeam={beam}",
        f"[{beam}]\r\nTiltCorrectionIsOn={corrected}\r\nStageTa={radians(tilt)}\r\nScanRotation={radians(scan)}",
        "[Scan]\r\nPixelWidth=1e-8\r\nPixelHeight=1e-8",
        "[Image]\r\nResolutionX=50",
    ]
    tags = [(34682, "s", 0, "\r\n".join(lines) + "\r\n", True), (274, "H", 1, code, True)]
    tifffile.imwrite(path, PIXELS, extratags=tags)
    return path


def zeiss(path: Path, tilt: str, corrected: str, scan: str = "Scan Rot = Off") -> Path:
    entries = {
        "AP_IMAGE_PIXEL_SIZE": "Image Pixel Size = 10 nm",
        "AP_STAGE_AT_T": f"Stage at T = {tilt} °",
        "AP_SCANROTATION": "Scan Rotation = 90.0 °",
        "DP_SCAN_ROT": scan,
        "DP_TILT_CORRECTION": f"Tilt Corrn. = {corrected}",
    }
    text = "\r\n0\r\n" + "".join(f"{key}\r\n{line}\r\n" for key, line in entries.items())
    tifffile.imwrite(path, PIXELS, extratags=[(34118, "s", 0, text.encode("cp1252"), True)])
    return path


@pytest.mark.parametrize(
    ("stated", "degrees", "axis"),
    [
        ({"tilt": 54.0}, 54.0, 0),
        ({"tilt": -54.0, "scan": 180.0}, 54.0, 0),
        ({"tilt": 70.0, "scan": 90.0}, 70.0, 1),
        # The ion beam of an instrument with two beams comes from 52 degrees.
        ({"tilt": 0.0, "beam": "IBeam"}, 52.0, 0),
        # Stored rows are columns of the image.
        ({"tilt": 54.0, "code": 6}, 54.0, 1),
    ],
)
def test_fei_states_a_tilt_in_radians(
    stated: dict[str, float | str], degrees: float, axis: int, tmp_path: Path
) -> None:
    image = read(fei(tmp_path / "a.tif", **stated))  # type: ignore[arg-type]
    found = image.source["tilt"]
    assert (found.degrees, found.axis) == (pytest.approx(degrees), axis)
    # The grid stays as the file states it; the tilt is one more way to read it.
    assert image.grid.spacing == pytest.approx((0.01, 0.01))
    assert any("tilted by" in said and "without tilt correction" in said for said in image.findings)
    long = found.grid(image.grid).spacing
    assert long[axis] == pytest.approx(0.01 / cos(radians(degrees)))
    assert long[1 - axis] == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"tilt": 54.0, "corrected": "yes"}, "corrected for it"),
        ({"tilt": 54.0, "scan": 30.0}, "between its axes"),
        ({"tilt": 52.0, "beam": "IBeam"}, ""),
        ({"tilt": 1.0}, ""),
        ({"tilt": 90.0}, ""),
    ],
)
def test_a_tilt_that_leaves_nothing_to_do_is_said_at_most(
    stated: dict[str, float | str], said: str, tmp_path: Path
) -> None:
    image = read(fei(tmp_path / "a.tif", **stated))  # type: ignore[arg-type]
    assert "tilt" not in image.source
    assert any("tilted" in finding for finding in image.findings) is bool(said)
    assert any(said in finding for finding in image.findings) or not said


def test_zeiss_states_a_tilt_in_degrees(tmp_path: Path) -> None:
    assert read(zeiss(tmp_path / "a.tif", "54.0", "Off")).source["tilt"] == Tilt(54.0, 0)
    assert read(zeiss(tmp_path / "b.tif", "54.0", "Off", "Scan Rot = On")).source["tilt"] == Tilt(54.0, 1)
    assert "tilt" not in read(zeiss(tmp_path / "c.tif", "54.0", "On")).source
    assert "tilt" not in read(zeiss(tmp_path / "d.tif", "0.0", "Off")).source
    # Whoever gives the pixel size has thought of it.
    assert "tilt" not in read(zeiss(tmp_path / "e.tif", "54.0", "Off"), spacing=0.01).source
