"""Turned images: nothing is cut off, pixels go where the matrix says, and masks go with them."""

import numpy as np
import pytest

from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.search.rotation import canvas, rotated
from correlight.transforms import Affine


@pytest.mark.parametrize("rotation", [0.0, 12.5, 90.0, 137.0, 270.0])
@pytest.mark.parametrize("mirror", [False, True])
def test_every_pixel_of_the_image_lies_on_the_canvas(rotation: float, mirror: bool) -> None:
    linear = Affine.similarity(rotation, 1.0, mirror).linear
    matrix, (width, height) = canvas((40, 60), linear)
    corners = np.array([[y, x, 1] for y in (0, 39) for x in (0, 59)]) @ matrix.T
    assert np.all(corners[:, :2] > -1e-6)
    assert np.all(corners[:, :2] < np.array([height, width]) - 1 + 1e-6)
    # Not more than a pixel is wasted on either side.
    assert np.all(np.ptp(corners[:, :2], axis=0) > np.array([height, width]) - 3)


@pytest.mark.parametrize("quarters", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_quarter_turns_and_mirror_images_are_exact(quarters: int, mirror: bool) -> None:
    values = np.random.default_rng(0).random((30, 44), dtype=np.float32)
    mask = np.ones((30, 44), bool)
    mask[5:9, 10:20] = False
    linear = Affine.similarity(90.0 * quarters, 1.0, mirror).linear
    made, valid, matrix = rotated(Plane(values, mask, Grid.of((30, 44))), linear)
    for row, column in [(0, 0), (29, 43), (3, 17), (20, 5), (6, 12)]:
        place = np.rint(matrix @ [row, column, 1])[:2].astype(int)
        assert made[tuple(place)] == pytest.approx(values[row, column], abs=1e-6)
        assert valid[tuple(place)] == mask[row, column]
    assert valid.sum() == mask.sum()


def test_corners_of_a_turned_canvas_are_not_valid() -> None:
    plane = Plane(np.ones((50, 50), np.float32), np.ones((50, 50), bool), Grid.of((50, 50)))
    _, valid, _ = rotated(plane, Affine.similarity(45.0).linear)
    assert not valid[0, 0]
    assert not valid[-1, -1]
    assert valid.sum() == pytest.approx(2500, rel=0.1)
