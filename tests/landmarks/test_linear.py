"""Fitting transforms to paired points."""

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from correlight.errors import TransformError
from correlight.landmarks import fit, fre, leave_one_out, residuals
from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LinearModel


def turned(ndim: int, seed: int, mirror: bool, scale: float) -> Affine:
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(ndim, ndim)))[0]
    rotation[:, 0] *= np.sign(np.linalg.det(rotation)) * (-1 if mirror else 1)
    return Affine.of(scale * rotation, rng.normal(size=ndim) * 100)


@settings(max_examples=40, deadline=None)
@given(ndim=st.sampled_from([2, 3]), seed=st.integers(0, 10**6), mirror=st.booleans(), scale=st.floats(1e-3, 1e3))
def test_exact_points_give_the_exact_similarity_mirrored_or_not(
    ndim: int, seed: int, mirror: bool, scale: float
) -> None:
    truth = turned(ndim, seed, mirror, scale)
    fixed = np.random.default_rng(seed + 1).random((8, ndim)) * 1000
    found = fit(fixed, truth(fixed), "similarity")
    assert isinstance(found, Affine)
    assert found.mirrored == mirror
    assert np.abs(found(fixed) - truth(fixed)).max() < 1e-9 * scale * 1000
    if mirror:
        proper = fit(fixed, truth(fixed), "similarity", allow_mirror=False)
        assert isinstance(proper, Affine)
        assert not proper.mirrored
        assert fre(proper, fixed, truth(fixed)) > 1e-3 * scale


@pytest.mark.parametrize("ndim", [2, 3])
def test_rigid_keeps_lengths(ndim: int) -> None:
    truth = turned(ndim, 4, mirror=False, scale=1.0)
    fixed = np.random.default_rng(1).random((6, ndim)) * 50
    found = fit(fixed, 1.3 * truth(fixed), "rigid")
    assert found.scale == pytest.approx(1.0, abs=1e-12)
    assert found.linear == pytest.approx(truth.linear, abs=1e-9)


@pytest.mark.parametrize("model", ["rigid", "similarity"])
def test_the_closed_form_is_the_least_squares_solution(model: LinearModel) -> None:
    rng = np.random.default_rng(3)
    fixed, moving = rng.random((7, 2)) * 10, rng.random((7, 2)) * 10

    def cost(parameters: np.ndarray, mirror: bool) -> float:
        angle, scale, *offset = parameters
        linear = Affine.similarity(angle, scale if model == "similarity" else 1.0, mirror).linear
        return fre(Affine.of(linear, offset), fixed, moving)

    best = min(
        optimize.minimize(cost, [angle, 0.5, 5, 5], args=(mirror,), method="Nelder-Mead", options={"maxiter": 4000}).fun
        for angle, mirror in itertools.product(range(0, 360, 45), [False, True])
    )
    assert fre(fit(fixed, moving, model), fixed, moving) == pytest.approx(best, rel=1e-5)


@pytest.mark.parametrize("ndim", [2, 3])
def test_affine_and_projective_recover_what_made_the_points(ndim: int) -> None:
    rng = np.random.default_rng(ndim)
    matrix = np.eye(ndim + 1) + rng.normal(scale=0.1, size=(ndim + 1, ndim + 1))
    matrix[-1] = [*rng.normal(scale=1e-4, size=ndim), 1]
    fixed = rng.random((9, ndim)) * 1000
    projective = Projective(matrix)
    assert fit(fixed, projective(fixed), "projective").matrix == pytest.approx(matrix, abs=1e-9)
    affine = Affine.of(matrix[:-1, :-1], matrix[:-1, -1])
    assert fit(fixed, affine(fixed), "affine").matrix == pytest.approx(affine.matrix, abs=1e-9)


def test_four_landmarks_fix_a_projective_map() -> None:
    truth = Projective(np.array([[1, 0.1, 3], [-0.1, 1, 5], [1e-4, -2e-4, 1]]))
    corners = np.array([[0, 0], [0, 900], [800, 0], [800, 900.0]])
    assert fit(corners, truth(corners), "projective").matrix == pytest.approx(truth.matrix, abs=1e-10)


def test_the_projective_fit_minimises_distances_and_not_the_algebra() -> None:
    rng = np.random.default_rng(8)
    truth = Projective(np.array([[1, 0.1, 3], [-0.1, 1, 5], [6e-4, -5e-4, 1]]))
    fixed = rng.random((12, 2)) * 1000
    moving = truth(fixed) + rng.normal(scale=3, size=(12, 2))
    found = fit(fixed, moving, "projective")
    for row, column in itertools.product(range(3), range(3)):
        for step in (-1e-6, 1e-6):
            if (row, column) != (2, 2):
                nudged = found.matrix.copy()
                nudged[row, column] *= 1 + step
                # At a minimum no small change helps; rounding of the sum of squares stays far below the slack.
                assert fre(Projective(nudged), fixed, moving) > fre(found, fixed, moving) * (1 - 1e-10)


def test_two_points_never_turn_the_image_over() -> None:
    found = fit([[0, 0], [0, 1]], [[5, 5], [5, 7]], "similarity")
    assert isinstance(found, Affine)
    assert not found.mirrored
    assert found.scale == pytest.approx(2)
    line = np.array([[0, 0], [1, 2], [3, 6], [4, 8.0]])
    turned_over = fit(line, line[:, ::-1] * [-1, 1], "similarity")
    assert isinstance(turned_over, Affine)
    assert not turned_over.mirrored


def test_residuals_are_distances_in_the_moving_image() -> None:
    fixed, moving = np.zeros((2, 2)), np.array([[3, 4], [0, 0.0]])
    assert residuals(Affine.identity(), fixed, moving).tolist() == [5, 0]
    assert fre(Affine.identity(), fixed, moving) == pytest.approx(5 / np.sqrt(2))


def test_leave_one_out_exposes_a_landmark_that_the_fit_hides() -> None:
    rng = np.random.default_rng(0)
    fixed = rng.random((5, 2)) * 100
    moving = fixed.copy()
    moving[2] += (30, 0)
    errors = leave_one_out(fixed, moving, "similarity")
    assert np.argmax(errors) == 2
    others = np.arange(5) != 2
    expected = residuals(fit(fixed[others], moving[others], "similarity"), fixed[[2]], moving[[2]])[0]
    assert errors[2] == pytest.approx(expected)
    assert errors[2] > residuals(fit(fixed, moving, "similarity"), fixed, moving)[2]
    assert np.isnan(leave_one_out(fixed[:3], moving[:3], "affine")).all()


@pytest.mark.parametrize(
    ("fixed", "model", "words"),
    [
        ([[0, 0]], "similarity", "at least 2"),
        ([[0, 0], [1, 1]], "affine", "at least 3"),
        ([[0, 0], [1, 1], [0, 2]], "projective", "at least 4"),
        ([[4, 4], [4, 4], [4, 4]], "rigid", "one place"),
        ([[0, 0], [1, 1], [2, 2], [5, 5]], "affine", "one line"),
        ([[0, 0, 0], [1, 0, 1], [2, 0, 2], [3, 0, 3]], "similarity", "one line"),
        ([[0, 0, 0], [1, 0, 1], [2, 3, 0], [5, 1, 0], [1, 1, 0]][:1] * 4, "rigid", "one line|one place"),
        ([[0, 0, 5], [1, 0, 5], [2, 3, 5], [5, 1, 5]], "affine", "one plane"),
        ([[0, 0], [1, 1], [2, 2], [3, 9], [3, 3]], "projective", "do not determine"),
        ([[0, 0], [1, np.nan]], "rigid", "finite"),
        ([[0, 0], [1, 1]], "elastic", "one of"),
        ([0, 1], "rigid", "two lists"),
    ],
)
def test_points_that_do_not_determine_the_transform_are_refused(fixed: list, model: Any, words: str) -> None:
    with pytest.raises(TransformError, match=words):
        fit(fixed, fixed, model)
