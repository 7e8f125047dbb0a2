"""Volumes are averaged before they shrink, and what is invalid is not used."""

import numpy as np
import pytest

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.volume import Volume, block_factors, block_means
from correlight.transforms import Affine


def image(shape: tuple[int, ...] = (12, 40, 50), spacing: tuple[float, ...] = (0.05, 0.14, 0.14)) -> Image:
    pixels = np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)
    return Image.from_array(pixels[None], spacing=spacing)


def test_blocks_make_voxels_about_as_long_along_every_axis() -> None:
    assert block_factors(Grid.of((247, 666, 903), (0.05, 0.14, 0.14), unit="micrometre"), 0.42) == (8, 3, 3)
    assert block_factors(Grid.of((16, 1024, 1024), (0.6, 0.22, 0.22), unit="micrometre"), 0.44) == (1, 2, 2)


def test_means_are_means_and_the_grid_moves_with_them() -> None:
    stack = image()
    small = Volume.of(stack, 0, 0.14)
    assert small.grid == stack.grid.shrink((3, 1, 1))
    expected = np.asarray(stack.levels[0][0], float).reshape(4, 3, 40, 50).mean(axis=1)
    assert np.corrcoef(expected.ravel(), small.values.ravel())[0, 1] > 0.999
    np.testing.assert_allclose(block_means(np.ones((5, 6, 7)), (2, 3, 7)), np.ones((2, 2, 1)))


def test_invalid_voxels_change_nothing() -> None:
    stack = image()
    mask = np.ones(stack.grid.shape, bool)
    mask[3:6] = False
    wild = np.array(stack.levels[0])
    wild[:, 3:6] = 255
    ones = [
        Volume.of(Image(levels=(pixels,), grid=stack.grid, channels=stack.channels, mask=mask), 0, 0.14)
        for pixels in (stack.levels[0], wild)
    ]
    np.testing.assert_array_equal(ones[0].values[ones[0].mask], ones[1].values[ones[1].mask])
    assert not ones[0].mask[1].any()
    assert ones[0].shrunk(0.28).mask.shape == (2, 20, 25)


def test_turned_axes_lie_where_the_map_says() -> None:
    volume = Volume.of(image(), 0, 0.05)
    linear = np.array([[0.0, 1, 0], [0, 0, -1], [1, 0, 0]])
    turned = volume.turned_axes(linear)
    assert turned.grid.shape == (40, 50, 12)
    pose = Affine.of(linear, turned.grid.centre - linear @ volume.grid.centre)
    places = volume.grid.points([[2, 7, 11], [11, 0, 49]])
    index = np.rint(turned.grid.index(pose(places))).astype(int)
    assert [turned.values[tuple(i)] for i in index] == [volume.values[2, 7, 11], volume.values[11, 0, 49]]


def test_slabs_and_projections_are_planes_of_the_stack() -> None:
    volume = Volume.of(image(), 0, 0.05)
    assert volume.slab(2, 5).grid.shape == volume.projection().values.shape == (40, 50)
    brightest = np.argmax(volume.projection().values)
    assert volume.values.max(axis=0).ravel()[brightest] == pytest.approx(volume.values.max(), abs=0.02)


def test_a_small_bright_body_is_cut_out_and_keeps_its_own_contrast() -> None:
    """It fills less than a hundredth of the stack, so that most of it is brighter than the whole is stretched to."""
    rng = np.random.default_rng(1)
    pixels = rng.normal(100, 1, (20, 80, 80)).astype(np.float32)
    body = slice(8, 13), slice(30, 45), slice(50, 64)
    pixels[body] = rng.uniform(2000, 4000, (5, 15, 14))
    stack = Image.from_array(pixels[None], spacing=0.3)
    whole, cut = Volume.of(stack, 0, 0.3), Volume.of(stack, 0, 0.3, cut=True)
    first = cut.grid.index(stack.grid.points([[8, 30, 50]]))[0].round().astype(int)
    inside = tuple(slice(start, start + side.stop - side.start) for start, side in zip(first, body, strict=True))
    assert max(cut.grid.shape) < 40
    assert np.mean(whole.values[body] == 1) > 0.5
    assert np.mean(cut.values[inside] == 1) < 0.1
    assert np.corrcoef(cut.values[inside].ravel(), pixels[body].ravel())[0, 1] > 0.99
