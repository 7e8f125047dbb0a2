"""Simulated fields of beads hold what they say."""

import numpy as np
import pytest

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.simulate import pair
from correlight.simulate.bead_images import electron_image, fluorescence_image
from correlight.simulate.beads import bead_pair, with_beads


@pytest.mark.parametrize("shape", [(200, 300), (40, 200, 200)])
def test_common_beads_are_the_transform_apart_and_others_are_not(shape: tuple[int, ...]) -> None:
    beads = bead_pair(2, beads=(40, 50), common=0.5, noise=0.0, shape=shape, scale=(0.3, 3.0))
    assert beads.fixed.shape == (40, len(shape))
    assert beads.moving.shape == (50, len(shape))
    assert len(beads.partners) == 20
    mapped = beads.moving_from_fixed(beads.fixed)
    assert np.allclose(mapped[beads.partners[:, 0]], beads.moving[beads.partners[:, 1]], atol=1e-9)
    others = np.setdiff1d(np.arange(40), beads.partners[:, 0])
    nearest = np.linalg.norm(mapped[others][:, None] - beads.moving[None], axis=2).min(axis=1)
    assert np.median(nearest) > 0.2
    assert beads.fixed_grid.contains(beads.fixed).all()
    assert beads.moving_grid.contains(beads.moving).all()


def test_noise_has_the_size_asked_for_in_both_images() -> None:
    beads = bead_pair(1, beads=400, common=1.0, noise=(0.03, 0.04), scale=2.5, least_distance=0.0)
    apart = beads.moving_from_fixed(beads.fixed[beads.partners[:, 0]]) - beads.moving[beads.partners[:, 1]]
    # 800 numbers know their standard deviation to 2.5 %; four of these.
    assert apart.std() == pytest.approx(0.05, rel=0.1)


def test_a_seed_is_a_specimen() -> None:
    one, same, other = bead_pair(4), bead_pair(4), bead_pair(5)
    assert np.array_equal(one.fixed, same.fixed)
    assert not np.array_equal(one.fixed, other.fixed)


def test_beads_keep_their_distance_or_say_that_they_cannot() -> None:
    beads = bead_pair(3, noise=0.0, least_distance=0.5, scale=1.0)
    for points in (beads.fixed, beads.moving):
        apart = np.linalg.norm(points[:, None] - points[None], axis=2)[np.triu_indices(len(points), 1)]
        assert apart.min() >= 0.49
    with pytest.raises(UsageError, match="do not fit"):
        bead_pair(3, least_distance=10.0)
    with pytest.raises(UsageError, match="between 0 and 1"):
        bead_pair(3, common=1.5)


def test_beads_that_touch_sit_in_twos_in_both_images() -> None:
    beads = bead_pair(6, noise=0.0, scale=1.0, common=1.0, touching=0.5, least_distance=0.25, least_overlap=1.0)
    apart = np.linalg.norm(beads.moving[:, None] - beads.moving[None], axis=2) + np.diag(np.full(60, np.inf))
    close = np.abs(apart.min(axis=1) - 0.25) < 0.01
    # Fifteen twos, less those that would lie beyond an edge or happen to be disturbed by a neighbour.
    assert 22 <= close.sum() <= 34
    assert np.allclose(beads.moving_from_fixed(beads.fixed)[beads.partners[:, 0]], beads.moving[beads.partners[:, 1]])


def test_an_image_of_beads_is_brightest_or_darkest_at_the_beads() -> None:
    grid = Grid.of((80, 100), 0.05, unit="micrometre")
    places = np.array([[1.0, 1.0], [3.0, 4.0]])
    light = fluorescence_image(places, grid, np.random.default_rng(0), photons=5000)
    assert light.dtype == np.uint16
    rows = np.rint(grid.index(places)).astype(int)
    # The camera adds 100 counts.
    assert light[tuple(rows.T)].min() - 100 > 3 * (np.median(light) - 100)
    for dark in (False, True):
        electron = electron_image(places, grid, np.random.default_rng(0), diameter=0.3, dark=dark)
        assert electron.dtype == np.uint8
        off = electron[tuple(rows.T)].astype(float) - np.median(electron)
        assert (np.sign(off) == (-1 if dark else 1)).all()


def test_hot_pixels_stay_in_place_through_a_stack() -> None:
    grid = Grid.of((6, 40, 40), 0.1, unit="micrometre")
    stack = fluorescence_image(np.empty((0, 3)), grid, np.random.default_rng(0), hot_pixels=3, photons=20000)
    lit = stack.min(axis=0) > stack.mean() + 6 * np.median(np.abs(stack - np.median(stack)))
    assert 1 <= lit.sum() <= 3


def test_beads_on_a_simulated_specimen_leave_its_truth_alone() -> None:
    couple = pair("cell", 3, electron_shape=(256, 256), light_shape=(160, 160), data_bar=False)
    strewn = with_beads(couple, 1, beads=20)
    assert np.array_equal(strewn.moving_from_fixed.matrix, couple.moving_from_fixed.matrix)
    assert strewn.moving.channels == (*couple.moving.channels, "beads")
    before, after = (np.asarray(image.levels[0], float) for image in (couple.fixed, strewn.fixed))
    assert 0.001 < np.mean(before != after) < 0.2
    assert np.array_equal(np.asarray(strewn.moving.levels[0])[:-1], np.asarray(couple.moving.levels[0]))
