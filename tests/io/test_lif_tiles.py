"""Tile scans of Leica: tiles on one canvas where the stage stood, checked on the pixels that they share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from correlight.errors import ReadError, UsageError
from correlight.io import read
from tests.vendor_files import lif

pytest.importorskip("liffile", reason="liffile is not installed; it belongs to the extra formats")

RNG = np.random.default_rng(3)
FIELD = np.rint(3000 + 9000 * ndimage.gaussian_filter(RNG.normal(size=(2, 100, 130)), (0, 2, 2))).clip(0).astype("u2")
SIDE = 48
PLACES = [(0, 0), (0, 40), (0, 82), (52, 2), (50, 41)]  # a corner lies under no tile
COVERED = np.zeros((100, 130), bool)
for _top, _left in PLACES:
    COVERED[_top : _top + SIDE, _left : _left + SIDE] = True
STEP = 0.5  # micrometres


def scan(path: Path, flags: str = "", runs: str = "", places: Any = PLACES, tiles: Any = None) -> Path:
    """Tiles of two channels; the flags say how the stage runs, and ``runs`` how it does."""
    if tiles is None:
        tiles = np.stack([FIELD[:, y : y + SIDE, x : x + SIDE] for y, x in PLACES])
    stage = np.array(places, float)
    stage = stage[:, ::-1] if "SwapXY" in runs else stage
    stage = stage * (-1 if "FlipY" in runs else 1, -1 if "FlipX" in runs else 1)
    metres = [(1e-2 + float(y) * STEP * 1e-6, -2e-3 + float(x) * STEP * 1e-6) for y, x in stage]
    path.write_bytes(lif({"scan": (tiles, (STEP, STEP), ["DAPI", "GFP"])}, metres, flags))
    return path


@pytest.mark.parametrize("way", ["", 'FlipX="1"', 'FlipY="1" SwapXY="1"'])
def test_tiles_are_joined_where_the_stage_stood(way: str, tmp_path: Path) -> None:
    image = read(scan(tmp_path / "a.lif", way, way))
    np.testing.assert_array_equal(image.levels[0], FIELD * COVERED)
    assert not image.valid()[~COVERED].any()
    assert image.valid()[COVERED].all()
    assert image.channels == ("DAPI", "GFP")
    assert image.grid.spacing == pytest.approx((STEP, STEP), rel=1e-9)
    assert any(text.startswith("5 tiles are joined by the places of the stage; in the ") for text in image.findings)
    assert any("pixels that no tile covers" in text for text in image.findings)


def test_the_stage_position_of_a_mosaic_is_that_of_its_middle(tmp_path: Path) -> None:
    stage = read(scan(tmp_path / "a.lif")).source["stage_position"]
    assert stage == pytest.approx((1e4 + 26 * STEP, -2e3 + 41 * STEP), rel=1e-9)


def test_a_stage_that_runs_otherwise_than_stated_is_found_by_the_shared_pixels(tmp_path: Path) -> None:
    image = read(scan(tmp_path / "a.lif", "", 'FlipX="1"'))
    np.testing.assert_array_equal(image.levels[0], FIELD * COVERED)
    assert any("which runs otherwise than the file states" in text for text in image.findings)


def test_a_single_tile_can_be_asked_for(tmp_path: Path) -> None:
    path = scan(tmp_path / "a.lif")
    for view in (3, "M=3"):
        image = read(path, view=view)
        np.testing.assert_array_equal(image.levels[0], FIELD[:, 52:100, 2:50])
        assert image.source["stage_position"] == pytest.approx((1e4 + 52 * STEP, -2e3 + 2 * STEP), rel=1e-9)
    with pytest.raises(UsageError, match="no view M=5"):
        read(path, view=5)


@pytest.mark.parametrize("missing", ["places", "some", "agreement"])
def test_tiles_are_not_joined_where_their_places_are_not_known(missing: str, tmp_path: Path) -> None:
    tiles, places = None, PLACES
    if missing == "agreement":
        tiles = RNG.integers(0, 4000, (5, 2, SIDE, SIDE)).astype("u2")
    elif missing == "some":
        places = PLACES[:3]
    else:
        places = [(0, 0)] * 5
    image = read(scan(tmp_path / "a.lif", places=places, tiles=tiles))
    first = tiles[0] if tiles is not None else FIELD[:, :SIDE, :SIDE]
    np.testing.assert_array_equal(image.levels[0], first)
    words = "do not agree where they should overlap" if missing == "agreement" else "does not state the places"
    assert any(words in text and text.endswith("the first is read") for text in image.findings)
    # The stage position is that of the tile, or of none.
    stage = image.source["stage_position"]
    assert stage == pytest.approx((1e4, -2e3), rel=1e-9)


def test_tiles_that_do_not_touch_are_joined_unchecked_and_it_is_said(tmp_path: Path) -> None:
    apart = [(0, 0), (0, 60)]
    tiles = np.stack([FIELD[:, y : y + SIDE, x : x + SIDE] for y, x in apart])
    image = read(scan(tmp_path / "a.lif", places=apart, tiles=tiles))
    assert image.levels[0].shape == (2, 48, 108)
    np.testing.assert_array_equal(image.levels[0][:, :, 60:], FIELD[:, :48, 60:108])
    assert not image.valid()[:, 48:60].any()
    assert any("could not be checked" in text for text in image.findings)


@pytest.mark.parametrize(("far", "words"), [(1e6, "so far apart"), (1e300, "at most 2 GiB")])
def test_tiles_without_end_take_no_memory(far: float, words: str, tmp_path: Path) -> None:
    places = [(0, 0), (0, 40), (0, 82), (52, 2), (far, 0)]
    with pytest.raises(ReadError, match=words):
        read(scan(tmp_path / "a.lif", places=places))
