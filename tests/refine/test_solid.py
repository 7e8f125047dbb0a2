"""Mutual information in space: its derivative, and poses that come back to where they belong."""

import itertools

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from correlight.geometry import Grid
from correlight.images.volume import Volume
from correlight.refine.solid import SOLID_COUNTS, Level, SolidCorrection, SolidModel, apart, refine_solid
from correlight.search.depth import in_space, search_depth, views
from correlight.search.pose import Pose
from correlight.transforms import Affine


def structure(shape: tuple[int, int, int] = (24, 70, 80), seed: int = 1) -> np.ndarray:
    rough = np.random.default_rng(seed).normal(size=shape)
    smooth = ndimage.gaussian_filter(rough, (1.5, 3, 3))
    return (smooth / np.abs(smooth).max()).astype(np.float32)


def level(pose: Affine) -> Level:
    """A volume, and what a pose makes of it with the contrast turned round."""
    grid = Grid.of((24, 70, 80), (0.8, 0.4, 0.4), unit="micrometre")
    fixed = structure()
    back = pose.inverse()
    index = grid.index(back(grid.lattice_of_pixels())).T
    moved = np.exp(-ndimage.map_coordinates(fixed, index, order=1, mode="nearest").reshape(grid.shape))
    whole = np.ones(grid.shape, bool)
    return Level.of(Volume(fixed, whole, grid), Volume(moved.astype(np.float32), whole, grid), 8000)


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
def test_a_correction_pulls_back_the_derivative(model: SolidModel) -> None:
    rng = np.random.default_rng(2)
    family = SolidCorrection(model, np.array([3.0, 10, 12]), np.array([3.0, 10, 12]))
    parameters = rng.normal(0, 0.5, SOLID_COUNTS[model])
    points, gradient = rng.uniform(0, 20, (50, 3)), rng.normal(size=(50, 3))

    def value(p: np.ndarray) -> float:
        matrix = family.matrix(p)
        return float(np.sum(gradient * (points @ matrix[:3, :3].T + matrix[:3, 3])))

    slopes = [
        (value(parameters + 1e-5 * unit) - value(parameters - 1e-5 * unit)) / 2e-5 for unit in np.eye(len(parameters))
    ]
    np.testing.assert_allclose(family.pull_back(parameters, points, gradient), slopes, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
def test_a_pose_in_space_comes_back(model: SolidModel) -> None:
    turn = Rotation.from_rotvec([0.03, 0.02, -0.02]).as_matrix()
    truth = Affine.of(turn, (0.5, -0.7, 0.9))
    both = level(truth)
    found = refine_solid(both, Affine.identity(3), model)
    # Linear interpolation and 8000 samples leave a few hundredths of a voxel of 0.4.
    assert apart(found, truth, both.fixed.grid) < 0.08
    assert both.agreement(found)[0] > 2 * both.agreement(Affine.identity(3))[0]


def test_too_little_in_common_leaves_the_pose_alone() -> None:
    both = level(Affine.identity(3))
    away = Affine.of(np.eye(3), (100.0, 0, 0))
    assert refine_solid(both, away, "rigid") is away
    assert both.agreement(away) == (0.0, 0.0)


def test_depth_and_direction_are_found_for_a_pose_in_the_plane() -> None:
    plane = Affine.similarity(0.0)
    truth = in_space(plane, True, 11.0, 9.2)
    both = level(truth)
    found = search_depth(both, [Pose(plane, 1.0, 1.0)], least_overlap=0.35, tilt=0.0)
    assert found[0].linear.linear[0, 0] < 0
    assert apart(found[0].linear, truth, both.fixed.grid) < 0.8
    assert found[0].score > 1.3 * found[1].score
    kept = search_depth(both, [Pose(plane, 1.0, 1.0)], least_overlap=0.35, tilt=0.0, turn=False)
    assert all(pose.linear.linear[0, 0] > 0 for pose in kept)
    assert len(kept) > 0


def test_a_tilt_is_found() -> None:
    tilt = Rotation.from_rotvec([0.0, np.deg2rad(12), 0.0]).as_matrix()
    middle = np.array([9.2, 13.8, 15.8])
    truth = Affine.of(tilt, middle - tilt @ middle)
    both = level(truth)
    found = search_depth(both, [Pose(Affine.similarity(0.0), 1.0, 1.0)], least_overlap=0.3)
    assert apart(refine_solid(both, found[0].linear, "rigid"), truth, both.fixed.grid) < 0.15


def test_a_thick_stack_is_cut_into_slabs_of_the_other() -> None:
    def stack(slices: int) -> Volume:
        shape = (slices, 4, 4)
        return Volume(np.zeros(shape, np.float32), np.ones(shape, bool), Grid.of(shape, 1.0, unit="micrometre"))

    assert views(stack(20), stack(18), 1.0) == [(0, 20)]
    cuts = views(stack(40), stack(10), 1.0)
    assert cuts[0][0] == 0
    assert cuts[-1][1] == 40
    assert all(last - first == 10 for first, last in cuts)
    assert all(second[0] - first[0] <= 6 for first, second in itertools.pairwise(cuts))
