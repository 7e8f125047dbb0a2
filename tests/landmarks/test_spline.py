"""Splines that are as smooth as the landmarks allow."""

import numpy as np
import pytest
from scipy import linalg

from correlight.errors import TransformError
from correlight.landmarks import estimate, fit
from correlight.landmarks.expected import LandmarkModel
from correlight.landmarks.spline import _kernel, _plane, fit_spline
from correlight.transforms import Affine


def bent(count: int, ndim: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.random.Generator]:
    """Landmarks under a smooth deformation of 3 µm, turned and scaled, and clicked with an error."""
    rng = np.random.default_rng(seed)
    fixed = rng.random((count, ndim)) * 100
    return fixed, truth(fixed) + 2 * rng.normal(scale=noise, size=fixed.shape), rng


def truth(fixed: np.ndarray) -> np.ndarray:
    away = 3 * np.sin(fixed / 20 + np.arange(fixed.shape[1]))[:, ::-1]
    turn = np.eye(fixed.shape[1])[::-1] * 2
    return (fixed + away) @ turn + 7


@pytest.mark.parametrize("model", ["thin-plate", "elastic"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_without_error_every_landmark_is_met(ndim: int, model: LandmarkModel) -> None:
    fixed, moving, _ = bent(20, ndim, 0.3)
    found = estimate(fixed, moving, model, moving_error=0.0)
    assert found.moving_from_fixed(fixed) == pytest.approx(moving, abs=1e-8)
    assert found.error(fixed).max() < 1e-4
    away = found.error(fixed + 1.0)
    assert np.all(away > 10 * found.error(fixed))


@pytest.mark.parametrize(("ndim", "model"), [(2, "thin-plate"), (2, "elastic"), (3, "thin-plate")])
def test_bending_is_followed(ndim: int, model: LandmarkModel) -> None:
    true, predicted, straight = [], [], []
    for seed in range(6):
        fixed, moving, rng = bent(40, ndim, 0.1, seed)
        places = 10 + rng.random((40, ndim)) * 80
        found = estimate(fixed, moving, model)
        true.append(np.sum((found.moving_from_fixed(places) - truth(places)) ** 2, axis=1) / 4)
        predicted.append(found.error(places) ** 2)
        affine = fit(fixed, moving, "affine")
        straight.append(np.sum((affine(places) - truth(places)) ** 2, axis=1) / 4)
    assert np.mean(true) < 0.3 * np.mean(straight)
    # A sine is smoother than the random fields that the prediction stands on, which therefore expects more.
    assert 1.0 < np.sqrt(np.mean(predicted) / np.mean(true)) < 3.0


@pytest.mark.parametrize(("ndim", "stiffness"), [(2, 1.0), (2, 3.5), (3, 1.0)])
def test_random_bending_is_predicted_as_well_as_it_can_be(ndim: int, stiffness: float) -> None:
    """Fields drawn from the very distribution that the spline stands on, seen at 40 landmarks, asked at 20 places."""
    rng = np.random.default_rng(ndim)
    true, predicted = [], []
    for _ in range(25):
        points = rng.random((60, ndim)) * 100
        plane = _plane(points / 50)
        free = linalg.qr(plane)[0][:, plane.shape[1] :]
        variances, directions = linalg.eigh(free.T @ _kernel(points, points, 50.0, stiffness) @ free)
        drawn = directions @ (np.sqrt(np.maximum(variances, 0)) * rng.normal(size=len(variances)))
        field = 20 * (free @ drawn).reshape(60, ndim)
        noisy = field[:40] + rng.normal(scale=0.3, size=(40, ndim))
        covariances = np.broadcast_to(np.eye(ndim), (40, ndim, ndim))
        fitted = fit_spline(points[:40], noisy, stiffness=stiffness, covariances=covariances, known=False)
        true.append(np.sum((fitted.spline(points[40:]) - points[40:] - field[40:]) ** 2, axis=1))
        predicted.append(np.trace(fitted.covariances(points[40:]), axis1=1, axis2=2))
    # 500 places in 25 fields, neighbours alike, know the root mean square to about 4 %.
    assert np.sqrt(np.mean(predicted) / np.mean(true)) == pytest.approx(1.0, abs=0.15)


def test_the_error_grows_away_from_the_landmarks() -> None:
    fixed, moving, _ = bent(40, 2, 0.1)
    found = estimate(fixed, moving, "thin-plate")
    errors = found.error([[50, 50], [50, 130], [50, 250]])
    assert np.all(np.diff(errors) > 0)


def test_what_does_not_bend_stays_straight() -> None:
    rng = np.random.default_rng(1)
    fixed = rng.random((40, 2)) * 100
    affine = Affine.of([[2, 0.1], [-0.2, 1.9]], (3, 4))
    places = rng.random((50, 2)) * 100
    noise, apart = 0.5, []
    for seed in range(10):
        moving = affine(fixed) + np.random.default_rng(seed).normal(scale=noise, size=fixed.shape)
        straight, bending = (estimate(fixed, moving, model) for model in ("affine", "thin-plate"))
        apart.append(np.linalg.norm(straight.moving_from_fixed(places) - bending.moving_from_fixed(places), axis=1))
        assert bending.fle == pytest.approx(straight.fle, rel=0.25)
    # The median draw takes less than half of the noise for bending, whose own effect on an affine fit is a fifth of it.
    assert np.median(np.mean(apart, axis=1)) < noise / 2


def test_left_out_landmarks_are_those_of_a_fit_without_them() -> None:
    fixed, moving, _ = bent(20, 2, 0.2)
    found = estimate(fixed, moving, "thin-plate", moving_error=0.4)
    others = np.arange(20) != 5
    base = fit(fixed, moving, "affine")
    apart = base.inverse()(moving) - fixed
    covariances = np.linalg.inv(base.linear) @ (0.16 * np.eye(2)) @ np.linalg.inv(base.linear).T
    whole = fit_spline(fixed, apart, stiffness=1.0, covariances=np.broadcast_to(covariances, (20, 2, 2)), known=True)
    rest = fit_spline(
        fixed[others],
        apart[others],
        stiffness=1.0,
        covariances=np.broadcast_to(covariances, (19, 2, 2)),
        known=True,
    )
    assert found.left_out == pytest.approx(whole.apart)
    # The refit finds a roughness of its own from 19 landmarks instead of 20, so the two need not be the same.
    own = apart[5] - (rest.spline(fixed[[5]])[0] - fixed[5])
    assert whole.apart[5] == pytest.approx(own, rel=0.3, abs=0.1)


def test_uncertain_landmarks_pull_less() -> None:
    fixed, moving, _ = bent(20, 2, 0.0)
    moving[3] += (8, 0)
    errors = np.full((20, 1), 0.1)
    tight = estimate(fixed, moving, "thin-plate", moving_error=errors)
    errors[3] = 20.0
    loose = estimate(fixed, moving, "thin-plate", moving_error=errors)
    assert np.linalg.norm(loose.residuals[3]) > 3 * np.linalg.norm(tight.residuals[3])
    assert np.linalg.norm(np.delete(loose.residuals, 3, axis=0), axis=1).max() < 0.2


def test_two_landmarks_in_one_place_cannot_both_be_met() -> None:
    fixed, moving, _ = bent(12, 2, 0.0)
    fixed[4] = fixed[7]
    with pytest.raises(TransformError, match="one place"):
        estimate(fixed, moving, "thin-plate", moving_error=0.0)
    assert np.isfinite(estimate(fixed, moving, "thin-plate").error([[50, 50]])).all()
