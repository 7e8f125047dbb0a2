"""Image: shapes that fit, channels by name, masks that only shrink, pixel sizes that are never invented."""

from typing import Any

import numpy as np
import pytest

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image

PIXELS = np.arange(2 * 4 * 5, dtype=np.uint16).reshape(2, 4, 5)


class OnDisk:
    """Pixels that can only be cut into blocks, and that count how much was cut."""

    def __init__(self, pixels: np.ndarray) -> None:
        self._pixels = pixels
        self.shape, self.dtype = pixels.shape, pixels.dtype
        self.read = 0

    def __getitem__(self, key):
        block = self._pixels[key]
        self.read += block.size
        return block


def test_a_plane_is_one_uncalibrated_channel() -> None:
    image = Image.from_array(PIXELS[0])
    assert image.grid == Grid.of((4, 5))
    assert not image.grid.calibrated
    assert (image.channels, image.usable_channels, image.ndim, image.dtype) == (
        ("channel 0",),
        (0,),
        2,
        np.dtype(np.uint16),
    )
    assert image.valid().all()


def test_a_volume_keeps_its_channels_first() -> None:
    image = Image.from_array(np.zeros((2, 3, 4, 5), np.float32), spacing=(0.05, 0.01, 0.01), channels=["DAPI", "GFP"])
    assert image.grid == Grid.of((3, 4, 5), (0.05, 0.01, 0.01), unit="micrometre")
    assert (image.ndim, image.usable_channels) == (3, (0, 1))


def test_channels_are_found_by_number_and_by_name() -> None:
    image = Image.from_array(PIXELS, channels=["DAPI", "0"])
    assert [image.channel_index(c) for c in (0, 1, "DAPI", "1")] == [0, 1, 0, 1]
    # A name that looks like a number is a name first.
    assert image.channel_index("0") == 1
    assert image.channel_name(0) == "DAPI"


@pytest.mark.parametrize("channel", [2, -1, "GFP", None, "²", ""])
def test_a_channel_that_does_not_exist_is_named_with_those_that_do(channel) -> None:
    image = Image.from_array(PIXELS, channels=["DAPI", "reflection"])
    with pytest.raises(UsageError, match=r"0 \(DAPI\), 1 \(reflection\)"):
        image.channel_index(channel)


def test_the_only_channel_needs_no_name() -> None:
    assert Image.from_array(PIXELS[:1]).channel_index(None) == 0


def test_a_picture_in_colours_is_one_image() -> None:
    image = Image.from_array(np.stack([np.full((4, 5), v, np.uint8) for v in (30, 60, 255)]), rgb=True)
    assert (image.usable_channels, image.channels) == ((None,), ("red", "green", "blue"))
    assert image.channel_index(None) is None
    assert image.channel_index("green") == 1
    assert image.channel_name(None) == "RGB"
    grey = image.grey()
    assert grey.dtype == np.float32
    np.testing.assert_array_equal(grey, np.full((4, 5), 115, np.float32))


def test_grey_reads_one_channel_of_one_level_only() -> None:
    full, half = OnDisk(np.ones((3, 8, 8), np.uint16)), OnDisk(np.full((3, 4, 4), 7, np.uint16))
    image = Image((full, half), Grid.of((8, 8), 0.5, unit="micrometre"), ("a", "b", "c"))
    np.testing.assert_array_equal(image.grey(1, level=1), np.full((4, 4), 7, np.float32))
    assert (full.read, half.read) == (0, 16)


def test_pixels_of_a_level_lie_in_the_middle_of_those_they_were_made_of() -> None:
    levels = (np.zeros((1, 9, 12)), np.zeros((1, 4, 6)), np.zeros((1, 5, 5)))
    image = Image(levels, Grid.of((9, 12), (2.0, 1.0), (5.0, 0.0), "micrometre"), ("a",))
    assert image.level_grid(0) == image.grid
    # The last row is left over and belongs to no pixel of the level.
    assert image.level_grid(1) == image.grid.shrink(2)
    # Five columns are no whole part of twelve, so these cover the field to its edge.
    assert image.level_grid(2).spacing == pytest.approx((4.0, 12 / 5))
    assert image.level_grid(2).corners()[0] == pytest.approx(image.grid.corners()[0])


def test_a_coarse_mask_says_the_same_of_all_pixels_of_a_block() -> None:
    small = np.array([[True, False, True], [False, True, True]])
    mask = CoarseMask(small, (5, 6))
    expected = np.repeat(np.repeat(small, [2, 3], axis=0), 2, axis=1)
    np.testing.assert_array_equal(mask[...], expected)
    np.testing.assert_array_equal(mask[1:4, 3:6], expected[1:4, 3:6])
    np.testing.assert_array_equal(mask[2:], expected[2:])
    np.testing.assert_array_equal(mask[3, ::2], expected[3, ::2])
    np.testing.assert_array_equal(mask.resized((2, 3)), small)
    assert not mask.all()
    image = Image((np.zeros((1, 5, 6)),), Grid.of((5, 6)), ("a",), mask=mask)
    np.testing.assert_array_equal(image.valid(), expected)
    other = np.ones((5, 6), bool)
    other[0] = False
    np.testing.assert_array_equal(image.with_mask(other).valid(), expected & other)
    both = image.with_mask(CoarseMask(np.array([[True, True, False], [True, True, False]]), (5, 6)))
    np.testing.assert_array_equal(both.valid()[:, :4], expected[:, :4])
    assert not both.valid()[:, 4:].any()


def test_masks_only_take_away() -> None:
    first, second = np.ones((4, 5), bool), np.ones((4, 5), bool)
    first[0], second[:, 0] = False, False
    image = Image.from_array(PIXELS).with_mask(first, "the first row is padding")
    both = image.with_mask(second, "the first column is a ruler")
    np.testing.assert_array_equal(both.valid(), first & second)
    assert both.findings == ("the first row is padding", "the first column is a ruler")
    assert image.findings == ("the first row is padding",)
    np.testing.assert_array_equal(image.valid(), first)


def test_a_pixel_size_from_outside_is_recorded() -> None:
    image = Image.from_array(PIXELS, spacing=0.5).with_spacing(0.25, "given by the user")
    assert image.grid == Grid.of((4, 5), 0.25, unit="micrometre")
    assert image.source["spacing_source"] == "given by the user"


def test_a_region_keeps_its_place_when_the_pixel_size_changes() -> None:
    whole = Image.from_array(np.zeros((8, 10)))
    region = Image((np.zeros((1, 4, 5)),), whole.grid.crop((2, 3), (6, 8)), whole.channels)
    spacing = (0.5, 0.25)
    expected = whole.with_spacing(spacing, "given by the user").grid.crop((2, 3), (6, 8))
    assert region.with_spacing(spacing, "given by the user").grid == expected


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: Image((PIXELS,), Grid.of((4, 5)), ("one",)), "do not fit 1 channels"),
        (lambda: Image((PIXELS,), Grid.of((5, 4)), ("a", "b")), "do not fit 2 channels"),
        (lambda: Image.from_array(PIXELS, mask=np.ones((5, 4), bool)), "The mask has shape"),
        (lambda: Image.from_array(PIXELS, rgb=True, channels=["a", "b"]), "three channels"),
        (lambda: Image.from_array(np.zeros(5)), "2 or 3 axes"),
        (lambda: Image.from_array(PIXELS, spacing=-0.1), "positive"),
    ],
)
def test_misuse(build, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        build()


def test_whatever_numpy_takes_for_an_array_is_an_image_or_a_sentence() -> None:
    grey = np.arange(1600.0).reshape(40, 40)
    assert np.array_equal(Image.from_array(grey.tolist()).levels[0][0], grey)
    hidden = np.ma.masked_where(grey < 100, grey)
    assert np.array_equal(Image.from_array(hidden).valid(), grey >= 100)
    assert np.array_equal(Image.from_array(np.ma.stack([hidden, grey])).valid(), grey >= 100)
    holes = np.where(grey > 1500, np.nan, grey)
    given = np.zeros((40, 40), bool)
    given[:39] = True
    assert np.array_equal(Image.from_array(holes, mask=given).valid(), given & (grey <= 1500))
    assert Image.from_array(grey).mask is None
    none: tuple[Any, ...] = (
        3.0,
        [],
        np.zeros(5),
        np.zeros((2, 2, 2, 2, 2)),
        grey + 1j,
        np.array([["a", "b"]]),
        np.zeros((0, 4)),
    )
    for wrong in none:
        with pytest.raises(UsageError, match="An image of real numbers with"):
            Image.from_array(wrong)
    for nothing in (np.full((40, 40), np.nan), np.ma.masked_all((40, 40))):
        with pytest.raises(UsageError, match="No pixel of the image is valid"):
            Image.from_array(nothing)


def test_colours_may_come_last_if_that_is_said() -> None:
    last = np.arange(5 * 6 * 3, dtype=np.uint8).reshape(5, 6, 3)
    np.testing.assert_array_equal(np.asarray(Image.from_array(last, rgb=True)), np.moveaxis(last, -1, 0))
    with pytest.raises(UsageError, match="rgb=True"):
        Image.from_array(last)
    # Three rows of a narrow image are no colours, and channels first are as they were.
    assert Image.from_array(np.zeros((3, 6, 5))).channels == ("channel 0", "channel 1", "channel 2")


def test_an_array_of_an_image_is_its_pixels() -> None:
    image = Image.from_array(PIXELS)
    np.testing.assert_array_equal(np.asarray(image), PIXELS)
    assert np.asarray(image, np.float32).dtype == np.float32
