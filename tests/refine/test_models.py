"""Corrections are what they say, and their derivative is that of finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight.refine.models import COUNTS, MODELS, Correction, Model

CENTRE = np.array([40.0, 55.0])
RADIUS = 50.0

models = st.sampled_from(MODELS)
seeds = st.integers(0, 100_000)


def family_of(model: Model) -> Correction:
    return Correction(model, CENTRE, RADIUS)


def some_parameters(family: Correction, rng: np.random.Generator) -> np.ndarray:
    """As large as a refinement lets them grow: 6 pixels, and 2 for the tilts."""
    reach = np.full(family.count, 6.0)
    reach[6:] = 2.0
    return rng.uniform(-reach, reach)


def some_points(rng: np.random.Generator, count: int = 25) -> np.ndarray:
    return CENTRE + rng.uniform(-RADIUS, RADIUS, (count, 2))


@pytest.mark.parametrize("model", MODELS)
def test_no_correction_is_the_identity(model: Model) -> None:
    family = family_of(model)
    nothing = np.zeros(family.count)
    assert family.count == COUNTS[model]
    np.testing.assert_allclose(family.matrix(nothing), np.eye(3), atol=1e-13)
    points = some_points(np.random.default_rng(0))
    np.testing.assert_allclose(family.apply(nothing, points), points, atol=1e-12)


@given(model=models, seed=seeds)
def test_matrix_and_apply_agree(model: Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    family = family_of(model)
    parameters, points = some_parameters(family, rng), some_points(rng)
    mapped = np.column_stack([points, np.ones(len(points))]) @ family.matrix(parameters).T
    np.testing.assert_allclose(family.apply(parameters, points), mapped[:, :2] / mapped[:, 2:], atol=1e-10)


@given(model=models, seed=seeds)
def test_pull_back_is_the_derivative(model: Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    family = family_of(model)
    parameters, points = some_parameters(family, rng), some_points(rng)
    gradient = rng.standard_normal(points.shape)
    # Central differences of a map whose curvature is 1 / RADIUS: the error is step**2 / RADIUS**2, 4e-10 of a
    # derivative of the order of 10, and rounding is 1e-12 / step.
    step = 1e-3
    numeric = [
        np.sum(gradient * (family.apply(parameters + move, points) - family.apply(parameters - move, points)))
        / (2 * step)
        for move in step * np.eye(family.count)
    ]
    np.testing.assert_allclose(family.pull_back(parameters, points, gradient), numeric, rtol=0, atol=2e-7)


@pytest.mark.parametrize("value", [1.0, -3.0])
@pytest.mark.parametrize(("model", "index"), [(m, i) for m in MODELS for i in range(COUNTS[m])])
def test_a_parameter_is_the_displacement_of_the_outermost_point(model: Model, index: int, value: float) -> None:
    family = family_of(model)
    parameters = np.zeros(family.count)
    parameters[index] = value
    angles = np.deg2rad(np.arange(0, 360, 5))
    circle = CENTRE + RADIUS * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    moved = np.linalg.norm(family.apply(parameters, circle) - circle, axis=1)
    # A chord is shorter than its arc by 1 - (v / R)**2 / 24, a tilt moves by v / (1 - v / R) on its near side.
    allowed = abs(value) / (RADIUS - abs(value)) + 1e-9
    assert moved.max() == pytest.approx(abs(value), rel=allowed)


@given(seed=seeds)
def test_rigid_keeps_every_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    family, points = family_of("rigid"), some_points(rng)
    mapped = family.apply(some_parameters(family, rng), points)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(mapped, axis=0), axis=1), np.linalg.norm(np.diff(points, axis=0), axis=1)
    )


@given(seed=seeds)
def test_similarity_keeps_shapes_and_never_mirrors(seed: int) -> None:
    family = family_of("similarity")
    linear = family.matrix(some_parameters(family, np.random.default_rng(seed)))[:2, :2]
    size = np.linalg.det(linear)
    assert size > 0
    np.testing.assert_allclose(linear @ linear.T, size * np.eye(2), atol=1e-12)


@given(seed=seeds)
def test_a_richer_model_holds_the_poorer_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = some_points(rng)
    shift, turn, growth = rng.uniform(-6, 6, 2), rng.uniform(-6, 6), rng.uniform(-6, 6)
    similar = family_of("similarity").apply(np.array([*shift, turn, growth]), points)
    spelled = np.array([*shift, growth, -turn, turn, growth])
    np.testing.assert_allclose(family_of("affine").apply(spelled, points), similar, atol=1e-11)
    tilted = np.array([*spelled, 0.0, 0.0])
    np.testing.assert_allclose(family_of("projective").apply(tilted, points), similar, atol=1e-11)


def test_a_tilt_keeps_lines_straight_but_not_parallel() -> None:
    family = family_of("projective")
    parameters = np.array([0, 0, 0, 0, 0, 0, 2.0, 0])
    along = np.linspace(-30.0, 30.0, 5)
    lines = [CENTRE + np.stack([along, np.full(5, x)], axis=1) for x in (-20.0, 20.0)]
    left, right = (family.apply(parameters, line) for line in lines)
    for line in (left, right):
        assert np.linalg.matrix_rank(line - line[0], tol=1e-9) == 1
    apart = np.linalg.norm(right - left, axis=1)
    assert apart[0] > apart[-1] + 1.0
