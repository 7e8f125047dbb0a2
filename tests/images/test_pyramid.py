"""Smaller copies of large images: exact means, in one pass, in the right place."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image
from correlight.images.pyramid import (
    Cascade,
    Window,
    all_valid,
    factors_to,
    reduced,
    region_of,
    shown_image,
    stays_on_disk,
    with_small_level,
    working_image,
)

RNG = np.random.default_rng(0)


class OnDisk:
    """Pixels that can only be cut into blocks, and that know the largest of them."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels, self.shape, self.dtype, self.largest = pixels, pixels.shape, pixels.dtype, 0

    def __getitem__(self, key: Any) -> np.ndarray:
        block = self.pixels[key]
        self.largest = max(self.largest, block.size)
        return block


def means(pixels: np.ndarray, factors: tuple[int, ...]) -> np.ndarray:
    shape = [n // f for n, f in zip(pixels.shape[1:], factors, strict=True)]
    kept = pixels[(slice(None), *(slice(0, n * f) for n, f in zip(shape, factors, strict=True)))]
    split = [n for pair in zip(shape, factors, strict=True) for n in pair]
    return kept.reshape(len(pixels), *split).mean(tuple(range(2, 2 * len(factors) + 1, 2)), dtype=np.float64)


def pyramid(pixels: np.ndarray, how: Any, count: int, rows: int, heights: list[int]) -> list[np.ndarray]:
    cascade = Cascade(pixels.shape, pixels.dtype, how, count, rows)
    levels = [np.zeros(shape, pixels.dtype) for shape in cascade.shapes]
    filled = [np.zeros(shape, int) for shape in cascade.shapes]
    planes = pixels[:, None] if pixels.ndim == 3 else pixels
    for plane in range(planes.shape[1]):
        top = 0
        while top < pixels.shape[-2]:
            height = heights[top % len(heights)]
            for level, owner, row, band in cascade.add(planes[:, plane, top : top + height]):
                assert band.shape[1] == rows or row + band.shape[1] == cascade.shapes[level][-2]
                place = (slice(None), *((owner,) if pixels.ndim == 4 else ()), slice(row, row + band.shape[1]))
                levels[level][place] = band
                filled[level][place] += 1
            top += height
    assert all((count == 1).all() for count in filled)
    return levels


@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    heights=st.lists(st.integers(1, 30), min_size=1, max_size=3),
    dtype=st.sampled_from(["uint8", "uint16", "int32", "float64"]),
    rows=st.sampled_from([1, 4, 16]),
)
def test_bands_of_any_height_make_the_means_of_blocks(
    height: int, width: int, heights: list[int], dtype: str, rows: int
) -> None:
    pixels = (np.random.default_rng(height * 71 + width).random((2, height, width)) * 250).astype(dtype)
    levels = pyramid(pixels, "mean", 3, rows, heights)
    for level, made in enumerate(levels):
        f = 2**level
        if f <= min(height, width):
            expected = means(pixels, (f, f))
            expected = expected if dtype == "float64" else np.rint(expected)
            assert np.abs(made - expected).max() < 1e-12 * 250
        assert made.shape == (2, max(1, height // f), max(1, width // f))


def test_labels_are_never_mixed_and_volumes_keep_their_slices() -> None:
    labels = RNG.integers(0, 5, (1, 3, 37, 41)).astype(np.int32) * 1000
    levels = pyramid(labels, "nearest", 3, 8, [10])
    for level, middle in ((1, 1), (2, 1), (3, 5)):
        f = 2**level
        shape = 37 // f, 41 // f
        expected = labels[..., middle::f, middle::f][..., : shape[0], : shape[1]]
        np.testing.assert_array_equal(levels[level], expected)
        # The pixel that stands for a block is never a third of it off the middle.
        assert abs(middle - (f - 1) / 2) <= f / 3


@pytest.mark.parametrize(
    ("shape", "factors"), [((2, 50, 61), (3, 4)), ((1, 9, 30, 31), (2, 5, 3)), ((1, 8, 8), (1, 1))]
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32"])
def test_a_level_is_made_a_few_rows_at_a_time(
    shape: tuple[int, ...], factors: tuple[int, ...], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("correlight.images.pyramid._STRIP", 1000)
    pixels = OnDisk((RNG.random(shape) * 250).astype(dtype))
    made = reduced(pixels, factors)
    assert made.dtype == np.dtype(dtype)
    # Means that end in one half may be rounded either way.
    assert np.abs(made - means(pixels.pixels, factors)).max() < 250 * 2e-7 + 0.5 * (dtype != "float32")
    assert pixels.largest <= max(1000, factors[0] * math.prod(shape[2:]))


def test_a_factor_is_as_small_as_memory_allows() -> None:
    assert factors_to((4096, 4096)) == (1, 1)
    assert factors_to((40_000, 40_000)) == (10, 10)
    assert factors_to((11_000, 11_000)) == (3, 3)
    assert factors_to((2, 10**8)) == (2, 6) or np.prod(np.array((2, 10**8)) // factors_to((2, 10**8))) <= 2**24
    assert factors_to((1000, 1000, 1000)) == (4, 4, 4)


def test_a_level_of_the_file_is_used_and_a_missing_one_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 20 * 20)
    pixels = RNG.integers(0, 255, (1, 80, 80), np.uint8)
    own = [OnDisk(np.rint(means(pixels, (f, f))).astype(np.uint8)) for f in (1, 2, 4, 8)]
    levels = with_small_level(own)
    assert [level.shape[1] for level in levels] == [80, 40, 20]
    assert [isinstance(level, np.ndarray) for level in levels] == [False, False, True]
    assert own[0].largest == 0
    made = with_small_level(own[:1])
    np.testing.assert_array_equal(made[1], levels[2])
    assert own[0].largest > 0


def test_the_working_image_lies_where_the_whole_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 30 * 30)
    grid = Grid.of((100, 101), (0.2, 0.1), (3.0, 4.0), "micrometre")
    y, x = np.indices(grid.shape)
    pixels = np.stack([y, x]).astype(np.float32)
    small = np.ones((25, 25), bool)
    small[0] = False
    image = Image((OnDisk(pixels),), grid, ("y", "x"), mask=CoarseMask(small, grid.shape))
    assert stays_on_disk(image)
    seen = working_image(image)
    assert not stays_on_disk(seen)
    assert seen.grid == grid.shrink(4)
    # Each pixel of the level shows the mean position of those it was made of: its own.
    lattice = seen.grid.lattice_of_pixels()
    shown = np.asarray(seen.levels[0]).reshape(2, -1).T
    np.testing.assert_allclose(grid.points(shown), lattice, atol=1e-5)
    np.testing.assert_array_equal(seen.valid(), small)
    inside = Image((pixels,), grid, ("y", "x"))
    assert working_image(inside) is inside
    shown_too = shown_image(inside)
    np.testing.assert_array_equal(shown_too.levels[0], seen.levels[0])
    assert shown_too.grid == seen.grid


def test_a_region_stays_on_disk_and_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 10 * 10)
    grid = Grid.of((40, 60), 0.5, unit="micrometre")
    pixels = RNG.integers(0, 255, (2, 40, 60), np.uint8)
    mask = RNG.random((20, 30)) > 0.2
    source = OnDisk(pixels)
    whole = Image((source,), grid, ("a", "b"), mask=CoarseMask(mask, grid.shape))
    part = region_of(whole, (10, 20), (30, 50))
    assert source.largest == 0
    assert part.grid == grid.crop((10, 20), (30, 50))
    np.testing.assert_array_equal(part.levels[0][:, :, :], pixels[:, 10:30, 20:50])
    np.testing.assert_array_equal(part.levels[0][1, 2:5], pixels[1, 12:15, 20:50])
    np.testing.assert_array_equal(part.valid(), whole.valid()[10:30, 20:50])
    assert working_image(part).grid.shape == (10, 15) or np.prod(working_image(part).grid.shape) <= 100
    held = region_of(Image((pixels,), grid, ("a", "b"), mask=whole.valid()), (10, 20), (30, 50))
    np.testing.assert_array_equal(held.levels[0], pixels[:, 10:30, 20:50])
    np.testing.assert_array_equal(held.valid(), part.valid())
    with pytest.raises(UsageError, match="does not lie in"):
        region_of(whole, (10, 20), (41, 50))


def test_a_window_is_cut_like_an_array() -> None:
    pixels = RNG.integers(0, 255, (2, 5, 20, 30), np.uint8)
    window = Window(pixels, (1, 2, 3), (4, 12, 23))
    expected = pixels[:, 1:4, 2:12, 3:23]
    assert (window.shape, window.dtype) == (expected.shape, np.dtype(np.uint8))
    np.testing.assert_array_equal(window[:], expected)
    np.testing.assert_array_equal(window[1, 0:2, 3:5], expected[1, 0:2, 3:5])
    np.testing.assert_array_equal(window[:, 1, ::3, 4], expected[:, 1, ::3, 4])


def test_what_was_made_of_an_invalid_pixel_is_not_valid() -> None:
    mask = np.ones((11, 9), bool)
    mask[10, 0] = mask[3, 8] = False
    small = all_valid(mask, (5, 3))
    assert (~small).sum() == 2
    assert not small[4, 0]  # what is left over at the edge counts with the last
    assert not small[1, 2]
