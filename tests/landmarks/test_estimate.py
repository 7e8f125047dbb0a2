"""The error that is predicted from landmarks is the error that is made."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from correlight.errors import TransformError, UsageError
from correlight.exchange import read_landmarks
from correlight.landmarks import Estimate, estimate, fit, leave_one_out
from correlight.landmarks.estimate import LinearEstimate
from correlight.landmarks.expected import LandmarkModel, ellipses
from correlight.transforms import Affine
from correlight.transforms.motions import LinearModel

LINEAR = ("rigid", "similarity", "affine", "projective")


def world(ndim: int, scale: float = 1.0, shear: float = 0.0, seed: int = 0) -> tuple[np.ndarray, Affine, np.ndarray]:
    """Landmarks in a field, a true transform of them, and places that are no landmarks."""
    rng = np.random.default_rng(seed)
    field = np.array([10.0, 20.0, 30.0])[-ndim:]
    turn = np.linalg.qr(rng.normal(size=(ndim, ndim)))[0]
    truth = Affine.of(scale * turn + shear * rng.normal(size=(ndim, ndim)), rng.normal(size=ndim) * 100)
    return rng.random((12, ndim)) * field, truth, (rng.random((5, ndim)) * 1.5 - 0.25) * field


def missed(found: Estimate, truth: Affine, places: np.ndarray) -> np.ndarray:
    """By how much a place is missed, in the fixed image."""
    return truth.inverse()(found.moving_from_fixed(places)) - places


@pytest.mark.parametrize("ndim", [2, 3])
def test_rigid_prediction_is_the_formula_of_fitzpatrick_west_and_maurer(ndim: int) -> None:
    """The squared target error is (FLE² / N) (1 + mean over axes of squared distance ratios), doi:10.1109/42.736021."""
    fixed, truth, places = world(ndim)
    sigma = 0.1
    found = estimate(fixed, truth(fixed), "rigid", moving_error=sigma)
    middle = fixed.mean(axis=0)
    axes = np.linalg.svd(fixed - middle)[2]
    within, without = (fixed - middle) @ axes.T, (places - middle) @ axes.T

    def across(points: np.ndarray) -> np.ndarray:
        return np.stack([np.sum(np.delete(points, axis, axis=1) ** 2, axis=1) for axis in range(ndim)], axis=1)

    if ndim == 3:
        ratio = np.mean(across(without) / np.mean(across(within), axis=0), axis=1)
        expected = 3 * sigma**2 / len(fixed) * (1 + ratio)
    else:
        # In the plane there is one axis of rotation, which stands on it.
        ratio = np.sum(without**2, axis=1) / np.mean(np.sum(within**2, axis=1))
        expected = 2 * sigma**2 / len(fixed) * (1 + ratio / 2)
    assert found.error(places) ** 2 == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("model", LINEAR)
def test_predicted_and_true_errors_agree(model: LandmarkModel, ndim: int) -> None:
    """1,000 draws over 5 places know their root mean square to about 2 %, so that 10 % is five standard errors."""
    rigid = model == "rigid"
    fixed, truth, places = world(ndim, 1.0 if rigid else 2.0, 0.2 if model in ("affine", "projective") else 0.0)
    rng = np.random.default_rng(1)
    draws = 1000 if model != "projective" else 300
    true, predicted = [], []
    for _ in range(draws):
        found = estimate(fixed, truth(fixed) + rng.normal(scale=0.05, size=fixed.shape), model)
        true.append(np.sum(missed(found, truth, places) ** 2, axis=1))
        predicted.append(found.error(places) ** 2)
    # The slopes of the true transform take the place of those of the one found, which is a matter of second order.
    assert np.sqrt(np.mean(predicted) / np.mean(true)) == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
def test_given_errors_of_each_landmark_and_axis_are_used_and_told(model: LinearModel, ndim: int) -> None:
    fixed, truth, places = world(ndim)
    rng = np.random.default_rng(2)
    spread = rng.uniform(0.02, 0.5, fixed.shape)
    weighted, plain, predicted = [], [], []
    for _ in range(300):
        moving = truth(fixed) + rng.normal(size=fixed.shape) * spread
        found = estimate(fixed, moving, model, moving_error=spread)
        weighted.append(np.sum(missed(found, truth, places) ** 2, axis=1))
        alike = truth.inverse()(fit(fixed, moving, model)(places)) - places
        plain.append(np.sum(alike**2, axis=1))
        predicted.append(found.error(places) ** 2)
    assert np.sqrt(np.mean(predicted) / np.mean(weighted)) == pytest.approx(1.0, abs=0.12)
    assert np.mean(weighted) < 0.8 * np.mean(plain)


def test_errors_in_the_fixed_image_count_in_its_unit() -> None:
    fixed, truth, places = world(2, scale=4.0)
    in_fixed = estimate(fixed, truth(fixed), "similarity", fixed_error=0.1)
    in_moving = estimate(fixed, truth(fixed), "similarity", moving_error=0.4)
    assert in_fixed.error(places) == pytest.approx(in_moving.error(places), rel=1e-9)
    assert in_fixed.fle == pytest.approx(0.1 * np.sqrt(2))
    both = estimate(fixed, truth(fixed), "similarity", fixed_error=0.1, moving_error=0.4)
    assert both.error(places) == pytest.approx(np.sqrt(2) * in_fixed.error(places), rel=1e-9)


@pytest.mark.parametrize("model", ["rigid", "affine"])
def test_an_axis_that_scatters_more_is_found(model: LandmarkModel) -> None:
    fixed, truth, places = world(3)
    rng = np.random.default_rng(3)
    true, predicted, inside, along = [], [], [], []
    for _ in range(120):
        moving = truth(fixed) + rng.normal(size=fixed.shape) * (0.4, 0.1, 0.1)
        found = estimate(fixed, moving, model, noise="anisotropic")
        off = missed(found, truth, places)
        true.append(np.sum(off**2, axis=1))
        predicted.append(found.error(places) ** 2)
        squared = np.einsum("na,nab,nb->n", off, np.linalg.inv(found.covariances(places)), off)
        inside.append(np.mean(squared <= 3 * stats.f.ppf(0.95, 3, found.scatter_degrees_of_freedom)))
        slopes = found.moving_from_fixed.linear  # type: ignore[attr-defined]
        along.append(np.diag(slopes @ found.landmark_covariances[0] @ slopes.T))
    # 120 draws know the root mean square to about 5 %.
    assert np.sqrt(np.mean(predicted) / np.mean(true)) == pytest.approx(1.0, abs=0.15)
    assert 0.9 < np.mean(inside) < 0.99
    assert np.sqrt(np.mean(along, axis=0)) == pytest.approx([0.4, 0.1, 0.1], rel=0.1)


@pytest.mark.parametrize("model", ["similarity", "thin-plate"])
def test_ellipses_hold_the_truth_as_often_as_they_say(model: LandmarkModel) -> None:
    fixed, truth, places = world(2)
    rng = np.random.default_rng(4)
    inside = []
    for _ in range(200):
        found = estimate(fixed, truth(fixed) + rng.normal(scale=0.1, size=fixed.shape), model)
        radii, directions = found.ellipses(places, 0.9)
        off = np.einsum("nab,na->nb", directions, missed(found, truth, places))
        inside.append(np.sum((off / radii) ** 2, axis=1) <= 1)
    # 1,000 places in 200 independent draws; a spline that takes noise for bending is a little too careful.
    assert 0.86 < np.mean(inside) < 0.97


def test_the_longest_half_axis_comes_first_and_points_the_right_way() -> None:
    radii, directions = ellipses(np.diag([1.0, 9.0])[None], 0.95, None)
    assert radii[0] == pytest.approx(np.array([3, 1]) * np.sqrt(stats.chi2.ppf(0.95, 2)))
    assert np.abs(directions[0, :, 0]) == pytest.approx([0, 1])
    few, _ = ellipses(np.diag([1.0, 9.0])[None], 0.95, 4)
    assert np.all(few > radii)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 1000), model=st.sampled_from(["rigid", "similarity", "affine"]), ndim=st.sampled_from([2, 3])
)
def test_left_out_landmarks_are_predicted_by_the_others(seed: int, model: LandmarkModel, ndim: int) -> None:
    fixed, truth, _ = world(ndim, seed=seed)
    moving = truth(fixed) + np.random.default_rng(seed).normal(scale=0.1, size=fixed.shape)
    found = estimate(fixed, moving, model)
    # The same lengths as the function that knows no errors, where the scale is one.
    if model == "rigid":
        assert np.linalg.norm(found.left_out, axis=1) == pytest.approx(leave_one_out(fixed, moving, model), rel=1e-9)
    others = np.arange(len(fixed)) != 3
    again = estimate(fixed[others], moving[others], model)
    slope = again.moving_from_fixed.linear  # type: ignore[attr-defined]
    expected = np.linalg.solve(slope, (moving[[3]] - again.moving_from_fixed(fixed[[3]]))[0])
    assert found.left_out[3] == pytest.approx(expected, abs=1e-9)
    assert np.all(np.linalg.eigvalsh(found.left_out_covariances[3] - again.covariances(fixed[[3]])[0]) > 0)


def test_covariances_are_those_between_a_place_and_itself() -> None:
    fixed, truth, places = world(2)
    moving = truth(fixed) + np.random.default_rng(5).normal(scale=0.1, size=fixed.shape)
    models: tuple[LandmarkModel, ...] = ("similarity", "thin-plate", "elastic")
    for model in models:
        found = estimate(fixed, moving, model)
        between = found.covariance_between(places, places)
        own = found.covariances(places)
        assert between[np.arange(5), np.arange(5)] == pytest.approx(own, abs=1e-12)
        whole = between.transpose(0, 2, 1, 3).reshape(10, 10)
        assert np.linalg.eigvalsh((whole + whole.T) / 2).min() > -1e-9 * own.max()


def test_without_a_landmark_to_spare_nothing_is_known() -> None:
    fixed, truth, places = world(2)
    counts: dict[LandmarkModel, int] = {"similarity": 2, "affine": 3, "thin-plate": 3}
    for model, count in counts.items():
        found = estimate(fixed[:count], truth(fixed[:count]), model)
        assert found.degrees_of_freedom == 0
        assert np.isnan(found.error(places)).all()
        assert np.isnan(found.ellipses(places)[0]).all()
        assert np.isnan(found.left_out).all()
        assert np.isfinite(estimate(fixed[:count], truth(fixed[:count]), model, moving_error=0.1).fle)


def test_landmarks_that_agree_exactly_have_no_error() -> None:
    fixed, truth, places = world(2)
    for model in ("rigid", "affine", "thin-plate"):
        assert estimate(fixed, truth(fixed), model).error(places).max() < 1e-6


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"fixed_error": -1.0}, "not negative"),
        ({"moving_error": np.nan}, "finite length"),
        ({"moving_error": [1.0, 2.0, 3.0]}, "one number, one per axis"),
        ({"noise": "red"}, "isotropic or anisotropic"),
        ({"model": "cubic"}, "one of rigid"),
    ],
)
def test_misuse_is_named(options: dict, words: str) -> None:
    fixed, truth, _ = world(2)
    with pytest.raises((UsageError, TransformError), match=words):
        estimate(fixed, truth(fixed), **options)


def test_a_spline_does_not_find_errors_of_each_axis() -> None:
    fixed, truth, places = world(2)
    with pytest.raises(TransformError, match="state the error of each axis"):
        estimate(fixed, truth(fixed), "thin-plate", noise="anisotropic")
    stated = estimate(fixed, truth(fixed), "thin-plate", noise="anisotropic", moving_error=[0.3, 0.1])
    assert np.isfinite(stated.error(places)).all()


def test_few_landmarks_do_not_tell_one_axis_from_another() -> None:
    fixed, truth, _ = world(2)
    with pytest.raises(TransformError, match="at least 6 landmarks"):
        estimate(fixed[:5], truth(fixed[:5]), "affine", noise="anisotropic")


def test_a_fly_brain_is_predicted_better_by_what_bends(data) -> None:
    """135 pairs of a whole brain: splines halve the squared error of an affine map, and know how good they are."""
    path = data / "elm" / "lm-em-landmarks_v14.csv"
    if not path.is_file():
        pytest.skip(f"no landmarks in {path}")
    table = read_landmarks(path)
    fixed, moving = table.fixed.points / 1000, table.moving.points
    errors = {}
    for model in ("affine", "thin-plate", "elastic"):
        found = estimate(fixed, moving, model)
        errors[model] = np.sqrt(np.mean(np.sum(found.left_out**2, axis=1)))
        expected = np.sqrt(np.mean(np.trace(found.left_out_covariances, axis1=1, axis2=2)))
        # 135 landmarks with long tails know their own root mean square to about 10 %.
        assert expected / errors[model] == pytest.approx(1.0, abs=0.2)
    assert errors["thin-plate"] < 0.8 * errors["affine"]
    assert errors["elastic"] < 0.8 * errors["affine"]


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine", "projective"])
@pytest.mark.parametrize("options", [{}, {"fixed_error": 1.0}, {"noise": "anisotropic"}])
def test_leaving_out_all_at_once_is_as_one_by_one(model: LandmarkModel, options: dict[str, Any]) -> None:
    rng = np.random.default_rng(6)
    fixed = rng.random((120, 2)) * 1000
    moving = fixed @ [[0.6, -0.8], [0.8, 0.6]] + rng.normal(scale=2, size=fixed.shape)
    found = estimate(fixed, moving, model, **options)
    assert isinstance(found, LinearEstimate)
    for index in (0, 50, 119):
        others = np.arange(120) != index
        told = estimate(fixed[others], moving[others], model, **options)
        apart = np.linalg.solve(
            told.moving_from_fixed.jacobian(fixed[[index]])[0],
            (moving[[index]] - told.moving_from_fixed(fixed[[index]]))[0],
        )
        assert found.left_out[index] == pytest.approx(apart, abs=0.02)
        expected = told.covariances(fixed[[index]])[0] + told.landmark_covariances.mean(axis=0)
        assert found.left_out_covariances[index] == pytest.approx(expected, rel=0.05, abs=0.2)
