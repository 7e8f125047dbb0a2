"""From poses in the plane to poses in space: depth, way up and tilt."""

import itertools

import numpy as np
from scipy.spatial.transform import Rotation

from correlight.geometry import Grid
from correlight.images.volume import Volume
from correlight.refine.linear import refine
from correlight.refine.volumes import Level, VolumePair
from correlight.search.depth import in_space, search_depth, views
from correlight.search.pose import Pose
from correlight.transforms import Affine
from tests.phantoms import mean_error, volumes_seen_through


def level(pose: Affine) -> Level:
    """A volume, and what a pose makes of it with the contrast inverted."""
    return Level.of(*volumes_seen_through(pose), 8000)


def test_depth_and_direction_are_found_for_a_pose_in_the_plane() -> None:
    plane = Affine.similarity(0.0)
    truth = in_space(plane, True, 11.0, 9.2)
    both = level(truth)
    found = search_depth(both, [Pose(plane, 1.0, 1.0)], least_overlap=0.35, tilt=0.0)
    assert found[0].linear.linear[0, 0] < 0
    assert mean_error(found[0].linear, truth, both.fixed.grid) < 0.8
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
    refined = refine(VolumePair((both,)), found[0].linear, "rigid", measure="mutual information")
    assert mean_error(refined, truth, both.fixed.grid) < 0.15


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
