"""Motions are what they say, in the plane and in space, and their derivatives are those of finite differences."""

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import logm

from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LINEAR_MODELS, LinearModel, Motions

# Fields that are not round, so that no axis can stand for another; the one in space is as thin as a stack.
CENTRES = {2: np.array([40.0, 55.0]), 3: np.array([3.0, 40.0, 55.0])}
HALVES = {2: np.array([50.0, 30.0]), 3: np.array([8.0, 50.0, 30.0])}
COUNTS = {2: (3, 4, 6, 8), 3: (6, 7, 12, 15)}

models = st.sampled_from(LINEAR_MODELS)
dimensions = st.sampled_from([2, 3])
seeds = st.integers(0, 100_000)
every_model = pytest.mark.parametrize("model", LINEAR_MODELS)
every_dimension = pytest.mark.parametrize("ndim", [2, 3])
either_kind = pytest.mark.parametrize("logarithm", [False, True])


def motions_of(model: LinearModel, ndim: int = 2, logarithm: bool = False) -> Motions:
    return Motions(model, CENTRES[ndim], HALVES[ndim], logarithm)


def some_parameters(motions: Motions, rng: np.random.Generator) -> np.ndarray:
    """As large as a refinement lets them grow: 6 pixels, and 2 for the tilts; less where the field is thin."""
    reach = np.where(motions.tilts, 2.0, 6.0) * min(1.0, float(motions.half.min()) / 30)
    return rng.uniform(-reach, reach)


def some_points(motions: Motions, rng: np.random.Generator, count: int = 25) -> np.ndarray:
    return motions.centre + rng.uniform(-motions.half, motions.half, (count, len(motions.half)))


def moved(motions: Motions, parameters: np.ndarray, points: np.ndarray) -> np.ndarray:
    return motions.of(points).by(parameters)[0]


def test_the_models_are_those_of_the_type() -> None:
    assert get_args(LinearModel) == LINEAR_MODELS == ("rigid", "similarity", "affine", "projective")


@either_kind
@every_dimension
@every_model
def test_no_motion_is_the_identity(model: LinearModel, ndim: int, logarithm: bool) -> None:
    motions = motions_of(model, ndim, logarithm)
    nothing = np.zeros(motions.count)
    assert motions.count == COUNTS[ndim][LINEAR_MODELS.index(model)]
    np.testing.assert_allclose(motions.by(nothing).matrix, np.eye(ndim + 1), atol=1e-13)
    points = some_points(motions, np.random.default_rng(0))
    np.testing.assert_allclose(moved(motions, nothing, points), points, atol=1e-12)


@given(model=models, ndim=dimensions, logarithm=st.booleans(), seed=seeds)
def test_a_motion_and_mapped_places_agree(model: LinearModel, ndim: int, logarithm: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    motions = motions_of(model, ndim, logarithm)
    parameters, points = some_parameters(motions, rng), some_points(motions, rng)
    motion = motions.by(parameters)
    assert isinstance(motion, Projective if model == "projective" else Affine)
    np.testing.assert_allclose(moved(motions, parameters, points), motion(points), atol=1e-10)


@given(model=models, ndim=dimensions, logarithm=st.booleans(), seed=seeds)
def test_pull_back_is_the_derivative(model: LinearModel, ndim: int, logarithm: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    motions = motions_of(model, ndim, logarithm)
    parameters, points = some_parameters(motions, rng), some_points(motions, rng)
    gradient = rng.standard_normal(points.shape)
    # Central differences of a map whose curvature is 1 / half: the error is step**2 / half**2, 2e-8 of a derivative of
    # the order of 10 in the thinnest field, and rounding is 1e-12 / step.
    step = 1e-3
    numeric = [
        np.sum(gradient * (moved(motions, parameters + move, points) - moved(motions, parameters - move, points)))
        / (2 * step)
        for move in step * np.eye(motions.count)
    ]
    _, pull_back = motions.of(points).by(parameters)
    np.testing.assert_allclose(pull_back(gradient), numeric, rtol=0, atol=2e-7)


@given(model=models, ndim=dimensions, logarithm=st.booleans(), seed=seeds)
def test_slopes_of_the_matrix_are_those_of_finite_differences(
    model: LinearModel, ndim: int, logarithm: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    motions = Motions(model, np.zeros(ndim), np.ones(ndim), logarithm)
    # A turn by a radian, a shift over half the field.
    parameters = rng.uniform(-1, 1, motions.count)
    core, slopes = motions.core_and_slopes(parameters)
    np.testing.assert_allclose(core, motions.core(parameters), rtol=0, atol=1e-12)
    for index in range(motions.count):
        step = np.eye(motions.count)[index] * 1e-5
        slope = (motions.core(parameters + step) - motions.core(parameters - step)) / 2e-5
        np.testing.assert_allclose(slopes[index], slope, rtol=0, atol=1e-8)


@every_dimension
@every_model
def test_with_logarithm_the_matrix_is_the_exponential(model: LinearModel, ndim: int) -> None:
    motions = Motions(model, np.zeros(ndim), np.ones(ndim), logarithm=True)
    tangent = np.tensordot(np.random.default_rng(ndim).uniform(-1, 1, motions.count), motions.generators, 1)
    parameters = motions.nearest(tangent)
    np.testing.assert_allclose(np.tensordot(parameters, motions.generators, 1), tangent, atol=1e-12)
    series = term = np.eye(ndim + 1)
    for order in range(1, 60):
        term = term @ tangent / order
        series = series + term
    np.testing.assert_allclose(motions.core(parameters), series, rtol=0, atol=1e-12)


@given(model=models, ndim=dimensions, logarithm=st.booleans(), seed=seeds)
def test_at_is_the_derivative_of_places_at_zero(model: LinearModel, ndim: int, logarithm: bool, seed: int) -> None:
    motions = motions_of(model, ndim, logarithm)
    points = some_points(motions, np.random.default_rng(seed))
    step = 1e-4
    slopes = [
        (moved(motions, move, points) - moved(motions, -move, points)) / (2 * step)
        for move in step * np.eye(motions.count)
    ]
    # Displacements are of the order of 1, their third derivatives of the order of 1 / half**2.
    np.testing.assert_allclose(motions.at(points), np.stack(slopes, axis=-1), rtol=0, atol=1e-8)


@pytest.mark.parametrize("value", [1.0, -3.0])
@either_kind
@every_model
def test_a_parameter_is_the_displacement_of_the_outermost_place(
    model: LinearModel, logarithm: bool, value: float
) -> None:
    radius = 50.0
    motions = Motions(model, CENTRES[2], np.full(2, radius), logarithm)
    angles = np.deg2rad(np.arange(0, 360, 5))
    circle = motions.centre + radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)
    for index in range(motions.count):
        displaced = moved(motions, value * np.eye(motions.count)[index], circle) - circle
        # A chord is shorter than its arc by 1 - (v / R)**2 / 24, a tilt moves by v / (1 - v / R) on its near side.
        allowed = abs(value) / (radius - abs(value)) + 1e-9
        assert np.linalg.norm(displaced, axis=1).max() == pytest.approx(abs(value), rel=allowed)


@pytest.mark.parametrize("value", [1e-3, -3e-3])
@either_kind
@every_dimension
@every_model
def test_no_parameter_moves_the_ends_of_the_axes_by_more_than_its_value(
    model: LinearModel, ndim: int, logarithm: bool, value: float
) -> None:
    """And it moves one by that much, if the longest axis takes part: an optimiser wants alike parameters."""
    motions = motions_of(model, ndim, logarithm)
    ends = np.concatenate([np.diag(motions.half), -np.diag(motions.half), np.zeros((1, ndim))]) + motions.centre
    for index in range(motions.count):
        displaced = np.linalg.norm(moved(motions, value * np.eye(motions.count)[index], ends) - ends, axis=1)
        # Relative to the least half size, which is 8, the value is small.
        assert displaced.max() <= abs(value) * 1.001
        touched = np.flatnonzero(np.abs(motions.generators[index][:, :-1]).sum(axis=0))
        if not len(touched) or np.argmax(motions.half) in touched:
            assert displaced.max() == pytest.approx(abs(value), rel=1e-3)
        else:
            assert displaced.max() >= 0.999 * abs(value) * motions.half[touched].max() / motions.size


@given(seed=seeds, ndim=dimensions, poor=st.integers(0, 2), more=st.integers(1, 3), logarithm=st.booleans())
def test_a_richer_model_holds_the_poorer_ones(seed: int, ndim: int, poor: int, more: int, logarithm: bool) -> None:
    """Whatever map the poorer one gives, parameters of the richer one give it, too."""
    one, other = (motions_of(LINEAR_MODELS[min(index, 3)], ndim, logarithm) for index in (poor, poor + more))
    assert other.count > one.count
    parameters = some_parameters(one, np.random.default_rng(seed))
    wanted = one.core(parameters)
    inner = np.asarray(logm(wanted[:-1, :-1]).real)
    # Exactly where both are logarithms, linear, or share the linear part; else by way of the matrix itself.
    if logarithm:
        tangent = np.tensordot(parameters / one.size, one.generators, 1)
    else:
        tangent = wanted - np.eye(ndim + 1)
        if other.model == "similarity" and ndim == 3:
            tangent[:-1, :-1] = inner
    np.testing.assert_allclose(other.core(other.nearest(tangent)), wanted, atol=1e-11)


@every_dimension
@every_model
def test_no_generator_can_be_made_of_the_others(model: LinearModel, ndim: int) -> None:
    """Redundant parameters would leave an optimiser a valley without a bottom."""
    generators = motions_of(model, ndim).generators
    # A multiple of the identity moves nothing.
    flat = np.concatenate([generators, np.eye(ndim + 1)[None]]).reshape(len(generators) + 1, -1)
    assert np.linalg.matrix_rank(flat) == len(flat)


@given(seed=seeds, ndim=dimensions, logarithm=st.booleans())
def test_rigid_keeps_every_distance(seed: int, ndim: int, logarithm: bool) -> None:
    rng = np.random.default_rng(seed)
    motions = motions_of("rigid", ndim, logarithm)
    points = some_points(motions, rng)
    places = moved(motions, some_parameters(motions, rng), points)
    np.testing.assert_allclose(
        np.linalg.norm(np.diff(places, axis=0), axis=1), np.linalg.norm(np.diff(points, axis=0), axis=1)
    )


@given(seed=seeds, ndim=dimensions, logarithm=st.booleans())
def test_similarity_keeps_shapes_and_never_mirrors(seed: int, ndim: int, logarithm: bool) -> None:
    motions = motions_of("similarity", ndim, logarithm)
    linear = motions.core(some_parameters(motions, np.random.default_rng(seed)))[:-1, :-1]
    assert np.linalg.det(linear) > 0
    size = np.linalg.det(linear) ** (2 / ndim)
    np.testing.assert_allclose(linear @ linear.T, size * np.eye(ndim), atol=1e-12)


@given(model=models, ndim=dimensions, seed=seeds, times=st.floats(0.1, 10.0))
def test_with_logarithm_no_motion_mirrors_or_flattens(model: LinearModel, ndim: int, seed: int, times: float) -> None:
    """However large the parameters, the determinant is the exponential of a trace."""
    motions = motions_of(model, ndim, logarithm=True)
    parameters = times * some_parameters(motions, np.random.default_rng(seed))
    trace = float(np.tensordot(parameters / motions.size, np.trace(motions.generators, axis1=1, axis2=2), 1))
    assert np.linalg.det(motions.core(parameters)) == pytest.approx(np.exp(trace), rel=1e-6)


@given(model=models, ndim=dimensions, seed=seeds)
def test_what_a_refinement_may_do_mirrors_nothing(model: LinearModel, ndim: int, seed: int) -> None:
    motions = motions_of(model, ndim)
    linear = motions.core(some_parameters(motions, np.random.default_rng(seed)))[:-1, :-1]
    assert np.linalg.det(linear) > 0


@either_kind
def test_a_tilt_keeps_lines_straight_but_not_parallel(logarithm: bool) -> None:
    motions = motions_of("projective", logarithm=logarithm)
    parameters = np.zeros(motions.count)
    parameters[np.flatnonzero(motions.tilts)[0]] = 2.0
    along = np.linspace(-30.0, 30.0, 5)
    lines = [motions.centre + np.stack([along, np.full(5, x)], axis=1) for x in (-20.0, 20.0)]
    left, right = (moved(motions, parameters, line) for line in lines)
    for line in (left, right):
        assert np.linalg.matrix_rank(line - line[0], tol=1e-9) == 1
    apart = np.linalg.norm(right - left, axis=1)
    assert apart[0] > apart[-1] + 1.0


@every_dimension
def test_the_field_of_points_is_their_box_or_their_spread(ndim: int) -> None:
    points = np.random.default_rng(1).uniform(0, 10, (50, ndim)) * np.arange(1, ndim + 1)
    box, half = Motions.over(points, "rigid"), np.ptp(points, axis=0) / 2
    np.testing.assert_allclose(box.centre, points.mean(axis=0))
    # In the plane the field counts as square; a stack may be thin.
    np.testing.assert_allclose(box.half, np.full(2, half.max()) if ndim == 2 else half)
    assert Motions.over(points, "rigid", least=12.0).half.min() >= 12.0
    spread = Motions.among(points, "rigid")
    assert spread.size == pytest.approx(np.sqrt(np.mean((points - points.mean(axis=0)) ** 2)))
    # A single place, or several on top of each other, leave motions that can be computed.
    for few in (np.zeros((1, ndim)), np.zeros((3, ndim))):
        for motions in (Motions.over(few, "affine"), Motions.among(few, "affine")):
            assert motions.size > 0
