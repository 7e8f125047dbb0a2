"""Poses in space come back to where they belong, by the same refinement and choice as those of the plane."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from correlight.refine.choose import choose
from correlight.refine.linear import refine
from correlight.refine.volumes import BLOCKS, Level, VolumePair, levels_of
from correlight.transforms import Affine
from correlight.transforms.motions import LinearModel
from tests.phantoms import mean_error, volume, volumes_seen_through

TURN = Rotation.from_rotvec([0.03, 0.02, -0.02]).as_matrix()
TRUTH = Affine.of(TURN, (0.5, -0.7, 0.9))


def pair_of(pose: Affine) -> VolumePair:
    """A volume, and what a pose makes of it with another contrast."""
    return VolumePair((Level.of(*volumes_seen_through(pose), 8000),))


@pytest.mark.parametrize("model", ["rigid", "similarity", "affine"])
def test_a_pose_in_space_comes_back(model: LinearModel) -> None:
    pair = pair_of(TRUTH)
    found = refine(pair, Affine.identity(3), model, measure="mutual information")
    assert isinstance(found, Affine)
    # Linear interpolation and 8000 samples leave a few hundredths of a voxel of 0.4.
    assert mean_error(found, TRUTH, pair.fixed_grid) < 0.08
    assert pair.finest.agreement(found)[0] > 2 * pair.finest.agreement(Affine.identity(3))[0]


@pytest.mark.parametrize("half", [0, 1])
def test_each_half_of_the_blocks_finds_the_pose_by_itself(half: int) -> None:
    pair = pair_of(TRUTH)
    found = refine(pair, Affine.identity(3), "rigid", measure="mutual information", half=half)
    assert mean_error(found, TRUTH, pair.fixed_grid) < 0.12


def test_rigid_keeps_lengths_in_space() -> None:
    found = refine(pair_of(TRUTH), Affine.identity(3), "rigid", measure="mutual information")
    np.testing.assert_allclose(found.linear @ found.linear.T, np.eye(3), atol=1e-12)


def test_a_swollen_volume_gets_a_similarity_and_a_rigid_one_stays_rigid() -> None:
    """The choice of the model is the one that planes have."""
    swollen = Affine.of(1.03 * TURN, (0.2, -0.9, 0.4))
    models: tuple[LinearModel, ...] = ("rigid", "similarity", "affine")
    choice = choose(pair_of(swollen), Affine.of(TURN, (0.5, -0.7, 0.9)), models, ("mutual information",))
    assert choice.model == "similarity"
    assert choice.transform.scale == pytest.approx(1.03, abs=0.005)
    assert mean_error(choice.transform, swollen, pair_of(swollen).fixed_grid) < 0.1
    even, odd = choice.halves
    assert 0 < mean_error(even, odd, pair_of(swollen).fixed_grid) < 0.3
    alone = choose(pair_of(TRUTH), Affine.identity(3), ("rigid",), ("mutual information",))
    assert (alone.model, alone.reason) == ("rigid", "rigid was asked for")


def test_too_little_in_common_leaves_the_pose_alone() -> None:
    pair = pair_of(Affine.identity(3))
    away = Affine.of(np.eye(3), (100.0, 0, 0))
    assert refine(pair, away, "rigid", measure="mutual information") is away
    assert pair.finest.agreement(away) == (0.0, 0.0)


def test_features_of_volumes_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not compared by features"):
        refine(pair_of(TRUTH), Affine.identity(3), "rigid")


def test_blocks_part_the_samples_in_space() -> None:
    samples = pair_of(Affine.identity(3)).samples(Affine.identity(3), 0)
    assert len(samples) == 8000
    assert set(samples.blocks.tolist()) == set(range(int(np.prod(BLOCKS))))
    halves = [samples.half(number) for number in (0, 1)]
    assert sum(len(half) for half in halves) == 8000
    assert not set(halves[0].numbers.tolist()) & set(halves[1].numbers.tolist())
    # Where a half of the samples lies under the pose does not depend on the other half.
    for half in halves:
        np.testing.assert_array_equal(half.places(), samples.places()[np.isin(samples.numbers, half.numbers)])


def test_exchanged_volumes_lead_back() -> None:
    pair = pair_of(TRUTH)
    back = refine(pair.exchanged(), Affine.identity(3), "rigid", measure="mutual information")
    assert mean_error(back.inverse(), TRUTH, pair.fixed_grid) < 0.1


def test_sizes_that_volumes_do_not_hold_are_left_out() -> None:
    fixed, moving = volumes_seen_through(TRUTH)
    levels = levels_of(fixed, moving, 1.0, (1.6, 0.8, 0.1, 0.05))
    assert [round(level.spacing, 1) for level in levels] == [1.6, 0.8, 0.5]
    assert VolumePair(levels).levels == (1, 2)
    assert VolumePair(levels).coarse is levels[1]
    single = volume(np.random.default_rng(0).random((1, 70, 80)), (0.8, 0.4, 0.4))
    assert Level.of(single, moving).points.shape[1] == 3
