"""A model is only as rich as held-out parts of the picture carry."""

import numpy as np
import pytest
from scipy import ndimage

from correlight.appearance.channels import Group, classical, group
from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.refine.choose import choose
from correlight.refine.models import MODELS
from correlight.transforms import Affine

SHAPE = (240, 240)
MIDDLE = np.array([119.5, 119.5])


def seen_through(moving_from_fixed: Affine, noise: float = 0.05) -> tuple[Plane, Plane]:
    """One texture on a fixed grid and, with other contrast and noise, on a moving grid."""
    rng = np.random.default_rng(5)
    texture = ndimage.gaussian_filter(rng.standard_normal((400, 400)), 2.5)
    texture = (texture - texture.min()) / np.ptp(texture)
    grid = Grid.of(SHAPE)
    # The scene is the fixed frame with 80 pixels around it, so that the moving image is full.
    places = moving_from_fixed.inverse()(grid.lattice_of_pixels()) + 80
    moving = ndimage.map_coordinates(texture, places.T, order=3).reshape(SHAPE)
    fixed = texture[80:320, 80:320]
    planes = []
    for values in (fixed, (1 - moving) ** 1.5):
        seen = np.clip(values + noise * rng.standard_normal(SHAPE), 0, 1).astype(np.float32)
        planes.append(Plane(seen, np.ones(SHAPE, bool), grid))
    return planes[0], planes[1]


def test_a_measure_that_sees_nothing_is_not_chosen() -> None:
    """Features of noise are flat, and flat measures leave the halves apart."""
    truth = Affine.similarity(2.0, source=MIDDLE)
    fixed, moving = seen_through(truth)

    def blind(values: np.ndarray, mask: np.ndarray) -> tuple[Group, ...]:
        noise = np.random.default_rng(int(1e6 * values.mean())).standard_normal((2, *values.shape))
        return (group(noise.astype(np.float32), mask),)

    for measures in (("mutual information", "features"), ("features", "mutual information")):
        choice = choose(fixed, moving, truth, ("similarity",), blind, measures)
        assert choice.measure == "mutual information"
        assert np.linalg.norm(choice.transform(MIDDLE[None]) - MIDDLE) < 0.2


def test_measures_are_compared_under_the_richer_model() -> None:
    """Similarities fitted to a sheared pair agree in their error; that must not speak for a measure that sees less."""
    shear = Affine.of([[1.0, 0.05], [0.0, 0.97]], [0.0, 0.0])
    truth = Affine.of(shear.linear, MIDDLE - shear.linear @ MIDDLE)
    planes = seen_through(truth, noise=0.1)
    start = Affine.similarity(0.0, 0.985, source=MIDDLE)
    choice = choose(*planes, start, MODELS[1:], classical, ("mutual information", "features"))
    points = planes[0].grid.lattice(6)
    assert choice.model == "affine"
    assert np.linalg.norm(choice.transform(points) - truth(points), axis=1).mean() < 0.3


def test_a_similarity_stays_a_similarity() -> None:
    truth = Affine.similarity(3.0, 1.03, source=MIDDLE)
    planes = seen_through(truth)
    choice = choose(*planes, truth, MODELS[1:], classical, ("features",))
    assert choice.model == "similarity"
    assert "affine would gain" in choice.reason or "projective would gain" in choice.reason
    np.testing.assert_allclose(choice.transform(MIDDLE[None]), MIDDLE[None], atol=0.2)


def test_a_sheared_pair_gets_an_affine_map() -> None:
    shear = Affine.of([[1.0, 0.05], [0.0, 0.97]], [0.0, 0.0])
    truth = Affine.of(shear.linear, MIDDLE - shear.linear @ MIDDLE)
    start = Affine.similarity(0.0, 0.985, source=MIDDLE)
    fixed, moving = seen_through(truth)
    choice = choose(fixed, moving, start, MODELS[1:], classical, ("features",))
    assert choice.model in ("affine", "projective")
    points = fixed.grid.lattice(6)
    # Sub-pixel over the whole picture, where no similarity comes closer than 2.5 pixels at the corners.
    assert np.linalg.norm(choice.transform(points) - truth(points), axis=1).mean() < 0.3


@pytest.mark.parametrize("model", MODELS)
def test_a_single_model_is_taken_as_it_is(model: str) -> None:
    truth = Affine.similarity(2.0, source=MIDDLE)
    planes = seen_through(truth)
    choice = choose(*planes, truth, (model,), classical, ("features",))  # type: ignore[arg-type]
    assert choice.model == model
    assert "asked for" in choice.reason


def test_rigid_keeps_lengths_whatever_the_start_says() -> None:
    truth = Affine.similarity(4.0, source=MIDDLE)
    start = Affine.similarity(4.0, 1.01, source=MIDDLE)
    planes = seen_through(truth)
    choice = choose(*planes, start, ("rigid",), classical, ("features",))
    linear = choice.transform.linear
    np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-9)


def test_the_halves_are_fitted_apart() -> None:
    truth = Affine.similarity(2.0, source=MIDDLE)
    planes = seen_through(truth, noise=0.2)
    choice = choose(*planes, truth, ("similarity",), classical, ("features",))
    even, odd = (half(MIDDLE[None]) for half in choice.halves)
    assert 0 < np.linalg.norm(even - odd) < 1.0
