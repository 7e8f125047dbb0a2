"""Bilinear values agree with SciPy, and slopes are the derivative within a pixel cell."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from correlight.similarity import sample, sample_values

# Rounding of float32 for grey values of the order of 1; the sampler adds three products.
ROUNDING = 1e-6


def planes_of(seed: int, shape: tuple[int, ...] = (3, 9, 14)) -> np.ndarray:
    return np.random.default_rng(seed).random(shape).astype(np.float32)


@given(
    seed=st.integers(0, 1000),
    y=st.floats(0, 7.99),
    x=st.floats(0, 12.99),
)
def test_values_are_those_of_linear_interpolation(seed: int, y: float, x: float) -> None:
    planes = planes_of(seed)
    places = np.array([[y, x], [x / 2, y]])
    values, _ = sample(planes, places)
    expected = [ndimage.map_coordinates(plane.astype(float), places.T, order=1) for plane in planes]
    # The fraction is rounded to float32 as well, and grey values differ by up to 1 per pixel.
    np.testing.assert_allclose(values, expected, rtol=0, atol=ROUNDING)


@given(
    seed=st.integers(0, 1000),
    cell=st.tuples(st.integers(0, 7), st.integers(0, 12)),
    fraction=st.tuples(st.floats(0.25, 0.75), st.floats(0.25, 0.75)),
)
def test_slopes_are_the_derivative(seed: int, cell: tuple[int, int], fraction: tuple[float, float]) -> None:
    planes = planes_of(seed)
    place = np.add(cell, fraction)
    _, slopes = sample(planes, place[None])
    # Along an axis the interpolation is a straight line within the cell, so that a long step is exact.
    step = 0.2
    for axis in range(2):
        ahead, behind = (sample(planes, (place + sign * step * np.eye(2)[axis])[None])[0] for sign in (1, -1))
        numeric = (ahead - behind) / (2 * step)
        np.testing.assert_allclose(slopes[..., axis], numeric, rtol=0, atol=2 * ROUNDING / step)


def test_a_plane_that_rises_has_its_slope_everywhere() -> None:
    y, x = np.mgrid[:6, :7]
    plane = (2 * y - 3 * x).astype(np.float32)[None]
    places = np.random.default_rng(0).uniform(0, 4.9, (50, 2))
    values, slopes = sample(plane, places)
    np.testing.assert_allclose(values[0], places @ (2, -3), atol=20 * ROUNDING)
    np.testing.assert_allclose(slopes[0], np.tile([2.0, -3.0], (50, 1)), atol=20 * ROUNDING)


@pytest.mark.parametrize(
    ("place", "corner"),
    [((-5.0, -0.2), (0, 0)), ((-1.0, 99.0), (0, -1)), ((8.0, 13.0), (-1, -1)), ((1e6, -1e6), (-1, 0))],
)
def test_places_outside_take_the_nearest_edge(place: tuple[float, float], corner: tuple[int, int]) -> None:
    planes = planes_of(3)
    values, _ = sample(planes, np.array([place]))
    # The last row and column are met up to a thousandth of a pixel each, whatever the neighbours are.
    np.testing.assert_allclose(values[:, 0], planes[(slice(None), *corner)], atol=0.0021)


def test_no_places_give_empty_arrays() -> None:
    values, slopes = sample(planes_of(0), np.zeros((0, 2)))
    assert values.shape == (3, 0)
    assert slopes.shape == (3, 0, 2)


@pytest.mark.parametrize("shape", [(3, 9, 14), (2, 5, 6, 7), (2, 1, 6, 7)])
def test_values_alone_are_those_with_slopes(shape: tuple[int, ...]) -> None:
    planes = planes_of(1, shape)
    places = np.random.default_rng(0).uniform(-1, np.asarray(shape[1:]) + 1, (5000, len(shape) - 1))
    assert np.array_equal(sample_values(planes, places), sample(planes, places)[0])
