"""Simulated fields of beads hold what they say."""

import numpy as np
import pytest

from correlight.errors import UsageError
from correlight.simulate.beads import bead_pair


@pytest.mark.parametrize("shape", [(200, 300), (40, 200, 200)])
def test_common_beads_are_the_transform_apart_and_others_are_not(shape: tuple[int, ...]) -> None:
    pair = bead_pair(2, beads=(40, 50), common=0.5, noise=0.0, shape=shape, scale=(0.3, 3.0))
    assert pair.fixed.shape == (40, len(shape))
    assert pair.moving.shape == (50, len(shape))
    assert len(pair.partners) == 20
    mapped = pair.moving_from_fixed(pair.fixed)
    assert np.allclose(mapped[pair.partners[:, 0]], pair.moving[pair.partners[:, 1]], atol=1e-9)
    others = np.setdiff1d(np.arange(40), pair.partners[:, 0])
    nearest = np.linalg.norm(mapped[others][:, None] - pair.moving[None], axis=2).min(axis=1)
    assert np.median(nearest) > 0.2
    assert pair.fixed_grid.contains(pair.fixed).all()
    assert pair.moving_grid.contains(pair.moving).all()


def test_noise_has_the_size_asked_for_in_both_images() -> None:
    pair = bead_pair(1, beads=400, common=1.0, noise=(0.03, 0.04), scale=2.5, least_distance=0.0)
    apart = pair.moving_from_fixed(pair.fixed[pair.partners[:, 0]]) - pair.moving[pair.partners[:, 1]]
    # 800 numbers know their standard deviation to 2.5 %; four of these.
    assert apart.std() == pytest.approx(0.05, rel=0.1)


def test_a_seed_is_a_specimen() -> None:
    one, same, other = bead_pair(4), bead_pair(4), bead_pair(5)
    assert np.array_equal(one.fixed, same.fixed)
    assert not np.array_equal(one.fixed, other.fixed)


def test_beads_keep_their_distance_or_say_that_they_cannot() -> None:
    pair = bead_pair(3, noise=0.0, least_distance=0.5, scale=1.0)
    for points in (pair.fixed, pair.moving):
        apart = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(len(points), 1)]
        assert apart.min() >= 0.49
    with pytest.raises(UsageError, match="do not fit"):
        bead_pair(3, least_distance=10.0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        bead_pair(3, common=1.5)
