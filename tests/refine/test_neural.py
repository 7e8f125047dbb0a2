"""Neural mutual information finds poses in the plane and in space, and cannot mirror, collapse or wander off."""

import numpy as np
import pytest

from correlight.appearance.channels import edges
from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.refine.linear import refine
from correlight.refine.neural import _limits, climb, refine_neural
from correlight.refine.places import ChannelStack
from correlight.refine.planes import PlanePair
from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LINEAR_MODELS, LinearModel, Motions
from tests.phantoms import mean_error, plane, texture


def blobs(shape: tuple[int, ...], seed: int, width: float = 3.0) -> np.ndarray:
    return texture(shape, seed, width).astype(np.float32)


def laid(values: np.ndarray, fixed_from_moving: Affine, shape: tuple[int, ...]) -> np.ndarray:
    """The picture as another instrument shows it: elsewhere, and neither brighter nor darker in step."""
    grid = Grid.of(values.shape)
    moved, _ = warp(values[None], grid, fixed_from_moving, Grid.of(shape))
    return np.asarray(np.sin(7 * moved[0]), np.float32)


def stack(values: np.ndarray) -> ChannelStack:
    return ChannelStack(values[None], np.ones(values.shape, bool), Grid.of(values.shape))


def error(matrix: np.ndarray, truth: Affine, grid: Grid) -> float:
    return mean_error(Projective(matrix), truth, grid, 6)


@pytest.fixture(scope="module")
def couple() -> tuple[Plane, Plane, Affine]:
    """A picture, how another instrument shows it, and the truth."""
    scene = blobs((260, 280), 1, 5.0)
    fixed = scene[30:230, 30:250]
    truth = Affine.similarity(8.0, 1.03, False, (100, 110), (130, 140))
    moving = laid(scene, Affine.of(np.eye(2), (30, 30)) @ truth.inverse(), (260, 280))
    return plane(fixed), plane(moving), truth


def unit_motions(model: LinearModel, ndim: int) -> Motions:
    """Motions as the ascent uses them: shifts in half widths, turns in radians."""
    return Motions(model, np.zeros(ndim), np.ones(ndim), logarithm=True)


@pytest.mark.parametrize("ndim", [2, 3])
def test_a_rigid_pose_keeps_lengths_and_no_pose_mirrors(ndim: int) -> None:
    rng = np.random.default_rng(0)
    rigid = unit_motions("rigid", ndim)
    turn = rigid.core(_limits(rigid) * rng.uniform(-1, 1, rigid.count))[:-1, :-1]
    assert np.allclose(turn @ turn.T, np.eye(ndim), atol=1e-12)
    affine = unit_motions("affine", ndim)
    for _ in range(50):
        corner = _limits(affine) * rng.choice([-1.0, 1.0], affine.count)
        assert np.linalg.det(affine.core(corner)[:-1, :-1]) > 0.3


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("model", LINEAR_MODELS)
def test_shifts_and_turns_may_go_far_and_nothing_else(model: LinearModel, ndim: int) -> None:
    motions = unit_motions(model, ndim)
    limits = _limits(motions)
    assert limits.shape == (motions.count,)
    assert np.all(limits[:ndim] == 0.9)
    # About 60 degrees for a turn; a scale by a factor of 1.3; a tilt by a quarter of the field.
    traces = np.trace(motions.generators[:, :-1, :-1], axis1=1, axis2=2)
    assert np.all(limits[(traces != 0) | motions.tilts] == 0.25)
    assert np.all(limits[ndim:][(traces[ndim:] == 0) & ~motions.tilts[ndim:]] == 1.0)


def test_it_finds_the_pose_of_a_picture_of_another_look(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, truth = couple
    start = truth @ Affine.similarity(4, 1.0, False, fixed.grid.centre, np.add(fixed.grid.centre, (6, -8)))
    found = refine_neural(fixed, moving, start, "affine", sizes=(48, 96, 192))
    assert error(start.matrix, truth, fixed.grid) > 10
    assert error(found.matrix, truth, fixed.grid) < 0.5


@pytest.mark.parametrize(("turn", "down", "across"), [(20, 0.1, 0.1), (-20, -0.1, 0.1), (20, -0.1, 0.0)])
def test_looking_round_it_stands_a_tenth_of_the_width_and_twenty_degrees(
    turn: float, down: float, across: float, couple: tuple[Plane, Plane, Affine]
) -> None:
    fixed, moving, truth = couple
    shift = np.array([down, across]) * fixed.grid.extent[1]
    start = truth @ Affine.similarity(turn, 1.0, False, fixed.grid.centre, fixed.grid.centre + shift)
    found = refine_neural(fixed, moving, start, "affine", sizes=(48, 96, 192), start_error=(22, 0.12))
    assert error(found.matrix, truth, fixed.grid) < 0.5


def test_it_finds_the_pose_of_a_volume() -> None:
    scene = blobs((44, 72, 76), 3, 3.0)
    grid = Grid.of(scene.shape)
    angle = np.radians(5)
    turn = np.array([[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]])
    truth = Affine.of(turn, np.add(grid.centre, (1.5, 2.0, -2.5)) - turn @ grid.centre)
    moving = laid(scene, truth.inverse(), scene.shape)
    found = climb(
        stack(scene), stack(moving), np.eye(4), "affine", sizes=(20, 40), rng=np.random.default_rng(0), most_steps=160
    )
    assert found is not None
    assert error(np.eye(4), truth, grid) > 3
    assert error(found.matrix, truth, grid) < 0.5


def test_a_second_channel_tells_where_the_first_shows_nothing(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, truth = couple
    empty = np.random.default_rng(9).random(moving.values.shape, dtype=np.float32)
    start = (truth @ Affine.similarity(3, 1.0, False, fixed.grid.centre, np.add(fixed.grid.centre, (5, 5)))).matrix
    errors = []
    for channels in ([empty], [empty, moving.values]):
        both = ChannelStack(np.stack(channels), moving.mask, moving.grid)
        found = climb(stack(fixed.values), both, start, sizes=(48, 96), rng=np.random.default_rng(0))
        assert found is not None
        errors.append(error(found.matrix, truth, fixed.grid))
    assert errors[1] < 1.0 < errors[0]


def test_the_same_seed_gives_the_same_transform(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, truth = couple
    one, two, other = (refine_neural(fixed, moving, truth, sizes=(48, 96), seed=seed) for seed in (5, 5, 6))
    assert np.array_equal(one.matrix, two.matrix)
    assert not np.array_equal(one.matrix, other.matrix)


def test_a_long_run_is_no_worse(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, truth = couple
    found = climb(
        stack(fixed.values),
        stack(moving.values),
        truth.matrix,
        sizes=(48, 96),
        rng=np.random.default_rng(0),
        most_steps=1200,
        patience=10**6,
    )
    assert found is not None
    assert found.steps == 2400
    assert error(found.matrix, truth, fixed.grid) < 0.5


def test_padding_does_not_vote(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, truth = couple
    values, mask = moving.values.copy(), np.ones(moving.values.shape, bool)
    values[:, 170:], mask[:, 170:] = 0, False
    found = refine_neural(fixed, Plane(values, mask, moving.grid), truth, sizes=(48, 96, 192))
    assert error(found.matrix, truth, fixed.grid) < 1.0


def test_images_that_do_not_meet_leave_the_start_as_it_is(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, _ = couple
    away = Affine.of(np.eye(2), (1000.0, 0.0))
    assert refine_neural(fixed, moving, away) is away


def test_images_without_structure_move_nothing(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, truth = couple
    blank = Plane(np.zeros_like(moving.values), moving.mask, moving.grid)
    assert np.allclose(refine_neural(fixed, blank, truth, sizes=(48,)).matrix, truth.matrix, atol=1e-9)


def test_the_ordinary_refinement_takes_it_as_a_measure(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, truth = couple
    start = truth @ Affine.similarity(1, 1.0, False, fixed.grid.centre, np.add(fixed.grid.centre, (2, 2)))
    pair = PlanePair(fixed, moving, edges)
    for half in (None, 0):
        found = refine(pair, start, "similarity", measure="neural mutual information", levels=(96, 192), half=half)
        assert error(found.matrix, truth, fixed.grid) < 1.0


def test_a_projective_start_stays_projective(couple: tuple[Plane, Plane, Affine]) -> None:
    fixed, moving, truth = couple
    tilted = truth.matrix.copy()
    tilted[2, 0] = 1e-5
    assert isinstance(refine_neural(fixed, moving, Projective(tilted), "projective", sizes=(48,)), Projective)
