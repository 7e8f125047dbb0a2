"""Missing tiles and gaps of mosaics: anywhere, of any width, for even and odd sizes of the picture alike."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from correlight.images.validity import find_valid
from correlight.images.validity.tiles import opened


def specimen(height: int, width: int, seed: int = 0, dtype: Any = np.uint8) -> Any:
    """Grains and noise, with the value of the gaps now and then."""
    rng = np.random.default_rng(seed)
    texture = (
        ndimage.gaussian_filter(rng.normal(size=(height, width)), 3) * 200 + 120 + rng.normal(0, 20, (height, width))
    )
    return texture.clip(0, 255).astype(dtype)


@pytest.mark.parametrize("size", [*range(508, 524), 528, 600])
@pytest.mark.parametrize("place", ["corner", "middle", "edge"])
def test_a_missing_tile_is_found_whatever_the_size_of_the_picture(size: int, place: str) -> None:
    third = size // 3
    where = {
        "corner": np.s_[:third, :third],
        "middle": np.s_[third : 2 * third, third : 2 * third],
        "edge": np.s_[third : 2 * third, 2 * third :],
    }[place]
    picture = specimen(size, size)
    picture[where] = 0
    expected = np.ones(picture.shape, bool)
    expected[where] = False
    validity = find_valid(picture)
    np.testing.assert_array_equal(validity.mask, expected)
    assert "missing tiles or gaps of the constant value 0" in validity.findings[0]


@pytest.mark.parametrize("width", [2, 3, 5, 8, 17])
@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("turned", [False, True])
def test_a_narrow_gap_is_found(width: int, value: int, turned: bool) -> None:
    picture = specimen(620, 700)
    picture = picture.T.copy() if turned else picture
    picture[:, 301 : 301 + width] = value
    expected = np.ones(picture.shape, bool)
    expected[:, 301 : 301 + width] = False
    found = find_valid(picture).mask
    assert not found[~expected].any()
    assert (found != expected).sum() <= 0.02 * (~expected).sum()


def test_a_grid_of_gaps_with_a_missing_tile() -> None:
    picture = specimen(640, 640)
    expected = np.ones(picture.shape, bool)
    for at in (155, 315, 475):
        expected[at : at + 6] = False
        expected[:, at : at + 6] = False
    expected[161:315, 321:475] = False
    picture[~expected] = 0
    found = find_valid(picture).mask
    assert not found[~expected].any()
    assert (found != expected).mean() < 0.001


def test_a_tile_that_is_missing_beside_padding() -> None:
    picture = specimen(600, 700)
    picture[:, 600:] = 0
    picture[200:350, 200:390] = 0
    mask = find_valid(picture).mask
    assert not mask[200:350, 200:390].any()
    assert not mask[:, 600:].any()
    assert mask[:, :595].mean() > 0.9


def blobs() -> Any:
    """Sparse fluorescence over a background of exactly zero."""
    rng = np.random.default_rng(3)
    field = np.zeros((600, 600), np.float32)
    for y, x in rng.integers(20, 580, (40, 2)):
        field[y - 8 : y + 8, x - 8 : x + 8] += rng.uniform(100, 900)
    field = ndimage.gaussian_filter(field, 3)
    return np.where(field < 5, 0, field)


def discs() -> Any:
    """Round holes of exactly zero, as vessels that were cut out."""
    picture = specimen(600, 600).astype(np.float32) + 1
    y, x = np.mgrid[:600, :600]
    for top, left in ((150, 180), (400, 330)):
        picture[(y - top) ** 2 + (x - left) ** 2 < 80**2] = 0
    return picture


def scale_bar() -> Any:
    picture = specimen(600, 700)
    picture[560:570, 560:670] = 255
    return picture


@pytest.mark.parametrize("make", [blobs, discs, scale_bar, lambda: specimen(600, 600)])
def test_what_no_tile_has_made_stays_valid(make: Callable[[], Any]) -> None:
    validity = find_valid(make())
    assert validity.mask.all()
    assert validity.findings == ()


@pytest.mark.parametrize("rows", [1, 2, 5, 6, 32])
@pytest.mark.parametrize("columns", [1, 2, 5, 6, 32])
def test_rectangles_of_even_sizes_stay_where_they_are(rows: int, columns: int) -> None:
    region = np.zeros((80, 90), bool)
    region[11 : 11 + rows, 23 : 23 + columns] = True
    np.testing.assert_array_equal(opened(region, rows, columns), region)
    assert not opened(region, rows + 1, columns).any()
    whole = np.ones((40, 40), bool)
    np.testing.assert_array_equal(opened(whole, rows, columns), whole)
