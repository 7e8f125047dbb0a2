"""A model is only as rich as held-out parts of the picture carry."""

import numpy as np
import pytest

from correlight.appearance.channels import Channels, Group, edges, group
from correlight.images.image import Float32, Mask
from correlight.refine.choose import Untaken, choose
from correlight.refine.planes import PlanePair
from correlight.transforms import Affine
from correlight.transforms.motions import LINEAR_MODELS, LinearModel
from tests.phantoms import GRID, MIDDLE, about_the_middle, mean_error, texture
from tests.phantoms import seen_through as seen

SCENE = texture((400, 400), 5, 2.5)


def seen_through(moving_from_fixed: Affine, noise: float = 0.05, channels: Channels = edges) -> PlanePair:
    """One texture on a fixed grid and, with other contrast and noise, on a moving grid."""
    return PlanePair(*seen(moving_from_fixed, noise=noise, scene=SCENE), channels)


def test_a_measure_that_sees_nothing_is_not_chosen() -> None:
    """Features of noise are flat, and flat measures leave the halves apart."""
    truth = Affine.similarity(2.0, source=MIDDLE)

    def blind(values: Float32, mask: Mask) -> tuple[Group, ...]:
        noise = np.random.default_rng(int(1e6 * values.mean())).standard_normal((2, *values.shape))
        return (group(noise.astype(np.float32), mask),)

    for measures in (("mutual information", "features"), ("features", "mutual information")):
        choice = choose(seen_through(truth, channels=blind), truth, ("similarity",), measures)
        assert choice.measure == "mutual information"
        assert np.linalg.norm(choice.transform(MIDDLE[None]) - MIDDLE) < 0.2


def test_measures_are_compared_under_the_richer_model() -> None:
    """Similarities fitted to a sheared pair agree in their error; that must not speak for a measure that sees less."""
    truth = about_the_middle([[1.0, 0.05], [0.0, 0.97]])
    start = Affine.similarity(0.0, 0.985, source=MIDDLE)
    choice = choose(seen_through(truth, noise=0.1), start, LINEAR_MODELS[1:], ("mutual information", "features"))
    assert choice.model == "affine"
    assert mean_error(choice.transform, truth, GRID, 6) < 0.3


def test_a_similarity_stays_a_similarity() -> None:
    truth = Affine.similarity(3.0, 1.03, source=MIDDLE)
    choice = choose(seen_through(truth), truth, LINEAR_MODELS[1:], ("features",))
    assert choice.model == "similarity"
    assert "affine would gain" in choice.reason or "projective would gain" in choice.reason
    np.testing.assert_allclose(choice.transform(MIDDLE[None]), MIDDLE[None], atol=0.2)


def test_a_sheared_pair_gets_an_affine_map() -> None:
    truth = about_the_middle([[1.0, 0.05], [0.0, 0.97]])
    start = Affine.similarity(0.0, 0.985, source=MIDDLE)
    choice = choose(seen_through(truth), start, LINEAR_MODELS[1:], ("features",))
    assert choice.model == "affine"
    # Sub-pixel over the whole picture, where no similarity comes closer than 2.5 pixels at the corners.
    assert mean_error(choice.transform, truth, GRID, 6) < 0.3


@pytest.mark.parametrize("model", LINEAR_MODELS)
def test_a_single_model_is_taken_as_it_is(model: LinearModel) -> None:
    truth = Affine.similarity(2.0, source=MIDDLE)
    choice = choose(seen_through(truth), truth, (model,), ("features",))
    assert choice.model == model
    assert "asked for" in choice.reason


def test_rigid_keeps_lengths_whatever_the_start_says() -> None:
    truth = Affine.similarity(4.0, source=MIDDLE)
    start = Affine.similarity(4.0, 1.01, source=MIDDLE)
    choice = choose(seen_through(truth), start, ("rigid",), ("features",))
    linear = choice.transform.linear
    np.testing.assert_allclose(linear @ linear.T, np.eye(2), atol=1e-9)


def test_the_halves_are_fitted_apart() -> None:
    truth = Affine.similarity(2.0, source=MIDDLE)
    choice = choose(seen_through(truth, noise=0.2), truth, ("similarity",), ("features",))
    even, odd = (half(MIDDLE[None]) for half in choice.halves)
    assert 0 < np.linalg.norm(even - odd) < 1.0


def test_a_shear_that_both_halves_see_needs_little_gain() -> None:
    """Noise hides nearly all that blocks could gain; but halves that share no pixel see the same shear."""
    truth = about_the_middle([[1.0, 0.09], [0.0, 1.0]])
    start = Affine.similarity(-2.5, 1.0, source=MIDDLE)
    choice = choose(seen_through(truth, noise=0.3), start, LINEAR_MODELS[1:], ("mutual information",))
    assert choice.model == "affine"
    assert mean_error(choice.transform, truth, GRID, 6) < 1.5


def test_what_a_model_that_was_not_taken_would_change_is_handed_over() -> None:
    truth = Affine.similarity(3.0, 1.03, source=MIDDLE)
    choice = choose(seen_through(truth, noise=0.2), truth, LINEAR_MODELS[1:3], ("features",))
    assert choice.model == "similarity"
    assert "affine would gain" in choice.reason
    (missing,) = choice.untaken
    assert 0 < missing.chance < 1
    # Where both halves see the same, all of it may be missing; by this much as a share of its chance.
    sheared = Affine.of([[1.0, 0.1], [0.0, 1.0]], (0.0, 0.0))
    sure = Untaken(0.5, (sheared, sheared), (Affine.identity(2), Affine.identity(2)), 1.0)
    assert sure.variance(np.array([[0.0, 0.0], [7.0, 20.0]])) == pytest.approx([0.0, 0.5 * 2.0**2])
