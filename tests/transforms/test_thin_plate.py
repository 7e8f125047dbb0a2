"""Splines through landmarks: their derivative, their inverse, and that nothing bends less."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RBFInterpolator

from correlight.errors import TransformError
from correlight.geometry import Grid
from correlight.landmarks.spline import fit_spline
from correlight.transforms import Affine, ThinPlate
from correlight.transforms.field import sampled
from correlight.transforms.spline import radial


def spline(ndim: int, stiffness: float, strength: float, seed: int = 0, count: int = 9) -> ThinPlate:
    """Random pulls that leave the affine part alone."""
    rng = np.random.default_rng(seed)
    places = rng.random((count, ndim)) * 10
    plane = np.hstack([np.ones((count, 1)), places])
    free = np.linalg.qr(plane, mode="complete")[0][:, ndim + 1 :]
    weights = free @ free.T @ rng.normal(size=(count, ndim)) * strength
    return ThinPlate(places, weights, Affine.identity(ndim), 3.0, stiffness)


@given(st.sampled_from([2, 3]), st.sampled_from([0.5, 1.0, 3.5, 20.0]), st.integers(0, 100))
def test_the_derivative_is_that_of_the_map(ndim: int, stiffness: float, seed: int) -> None:
    bent = spline(ndim, stiffness, 0.3, seed)
    points = np.random.default_rng(seed + 1).random((6, ndim)) * 10
    step = 1e-5
    differences = [(bent(points + step * e) - bent(points - step * e)) / (2 * step) for e in np.eye(ndim)]
    # Central differences are off by the square of the step, and by rounding over the step.
    assert bent.jacobian(points) == pytest.approx(np.stack(differences, axis=-1), abs=1e-8)


@pytest.mark.parametrize("stiffness", [1.0, 3.5])
@pytest.mark.parametrize("ndim", [2, 3])
def test_the_inverse_leads_back(ndim: int, stiffness: float) -> None:
    bent = spline(ndim, stiffness, 0.02)
    points = np.random.default_rng(1).random((50, ndim)) * 10
    assert np.abs(bent(points) - points).max() > 1e-3
    assert bent.inverse()(bent(points)) == pytest.approx(points, abs=1e-8)


def test_a_spline_that_folds_has_no_inverse() -> None:
    bent = spline(2, 1.0, 400.0)
    assert bent.folds_over(Grid.of((11, 11))) < 0
    with pytest.raises(TransformError, match="folds"):
        bent.inverse()


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_stiffness_of_one_is_the_thin_plate_of_scipy(ndim: int) -> None:
    rng = np.random.default_rng(2)
    places, values = rng.random((12, ndim)) * 10, rng.random((12, ndim))
    kernel = "thin_plate_spline" if ndim == 2 else "linear"
    options: Any = {"kernel": kernel, "degree": 1}
    other = RBFInterpolator(places, values, **options)
    fitted = fit_spline(places, values, stiffness=1.0, covariances=np.zeros((12, ndim, ndim)), known=True).spline
    points = rng.random((40, ndim)) * 12 - 1
    assert fitted(points) - points == pytest.approx(other(points), abs=1e-9)


@pytest.mark.parametrize("ndim", [2, 3])
def test_the_kernel_of_a_very_stiff_body_keeps_areas(ndim: int) -> None:
    """Where changes of area cost infinitely much, the displacement has no divergence but that of its affine part."""
    bent = spline(ndim, 1e12, 0.3)
    points = np.random.default_rng(3).random((20, ndim)) * 10
    slopes = bent.jacobian(points) - np.eye(ndim)
    soft = spline(ndim, 1.0, 0.3).jacobian(points) - np.eye(ndim)
    assert np.abs(np.trace(slopes, axis1=1, axis2=2)).max() < 1e-6
    assert np.abs(np.trace(soft, axis1=1, axis2=2)).max() > 1e-3


def test_the_parts_of_the_kernel_are_finite_at_a_landmark() -> None:
    for ndim in (2, 3):
        along, across = radial(np.zeros((1, ndim)), 3.5)
        assert along.tolist() == [0.0]
        assert across.tolist() == [0.0]


def test_sampled_displacements_are_those_of_the_spline() -> None:
    bent = spline(2, 1.0, 0.1)
    field = sampled(bent, Grid.of((101, 101), 0.1))
    points = np.random.default_rng(4).random((50, 2)) * 10
    assert np.abs(bent(points) - points).max() > 0.01
    # Between nodes the error is an eighth of the second derivative times the square of the spacing.
    assert np.abs(field(points) - bent(points)).max() < 1e-3 * np.abs(bent(points) - points).max()


@pytest.mark.parametrize(
    ("places", "weights", "options", "words"),
    [
        ([[0, 0]], [[0, 0, 0]], {}, "as many weights"),
        ([[0, 0]], [[0, np.nan]], {}, "finite"),
        ([[0, 0]], [[0, 0]], {"size": 0.0}, "positive"),
        ([[0, 0]], [[0, 0]], {"stiffness": -1.0}, "positive"),
        ([[0, 0, 0]], [[0, 0, 0]], {}, "as many weights"),
    ],
)
def test_what_is_no_spline_is_refused(places: list, weights: list, options: dict, words: str) -> None:
    with pytest.raises(TransformError, match=words):
        ThinPlate(np.array(places), np.array(weights), Affine.identity(), **options)
