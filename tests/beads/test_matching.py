"""Poses from the beads of two images."""

from dataclasses import replace

import numpy as np
import pytest

from correlight.beads.matching import BeadSearch, MatchedBeads, overlap
from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.search.limits import Limits
from correlight.simulate.bead_images import electron_image, fluorescence_image
from correlight.simulate.beads import BeadPair, bead_pair
from correlight.transforms import Affine


def images(seed: int, common: float = 0.6) -> tuple[BeadPair, Image, Image]:
    """An electron image, and a light image whose second channel shows the beads."""
    truth = bead_pair(seed, beads=40, common=common, noise=0.0, shape=(256, 256), least_distance=0.5, scale=1.0)
    rng = np.random.default_rng(seed)
    grid = truth.fixed_grid.resized((400, 400))
    fixed = Image.from_array(electron_image(truth.fixed, grid, rng, diameter=0.12), spacing=grid.spacing)
    light: list[np.ndarray] = [rng.poisson(50, (256, 256)), fluorescence_image(truth.moving, truth.moving_grid, rng)]
    moving = Image.from_array(np.stack(light).astype(np.uint16), spacing=0.04, channels=("nothing", "beads"))
    return truth, replace(fixed, grid=grid), moving


@pytest.fixture(scope="module")
def found() -> tuple[BeadPair, BeadSearch, MatchedBeads]:
    truth, fixed, moving = images(1)
    search = BeadSearch(fixed, moving, Limits((0.85, 1.15)))
    return truth, search, search(0, 1)


def test_beads_of_two_images_give_ranked_poses(found: tuple[BeadPair, BeadSearch, MatchedBeads]) -> None:
    truth, _, fiducials = found
    assert fiducials.matching
    best = fiducials.poses[0]
    places = truth.common_places(100, np.random.default_rng(0))
    apart = np.linalg.norm(best.moving_from_fixed(places) - truth.moving_from_fixed(places), axis=1)
    # A quarter of a pixel of the light image.
    assert apart.mean() < 0.01
    assert best.score == max(pose.score for pose in fiducials.poses)
    assert 0.5 < best.overlap <= 1
    one, other = fiducials.matched(fiducials.matching.best)
    assert np.linalg.norm(best.moving_from_fixed(one) - other, axis=1).max() < 0.1


def test_a_channel_without_beads_is_no_rival(found: tuple[BeadPair, BeadSearch, MatchedBeads]) -> None:
    _, search, fiducials = found
    empty = search(0, 0)
    assert not empty.matching
    assert empty.significance < fiducials.significance


def test_near_a_pose_beads_are_matched_there_or_nowhere(found: tuple[BeadPair, BeadSearch, MatchedBeads]) -> None:
    truth, search, _ = found
    turn = Affine.similarity(3.0, 1.02, source=truth.fixed_grid.centre)
    assert search(0, 1, near=truth.moving_from_fixed @ turn).matching
    away = Affine.similarity(40.0, source=truth.fixed_grid.centre)
    assert not search(0, 1, near=truth.moving_from_fixed @ away).matching


def test_beads_of_another_specimen_are_refused() -> None:
    _, fixed, _ = images(2)
    _, _, moving = images(3)
    fiducials = BeadSearch(fixed, moving, Limits((0.85, 1.15)))(0, 1)
    assert not fiducials.matching
    assert fiducials.matching.reason


def test_a_diameter_in_micrometres_sets_the_size_and_needs_a_pixel_size() -> None:
    truth, fixed, moving = images(4)
    search = BeadSearch(fixed, moving, Limits((0.85, 1.15)), diameter=0.12, moving_psf=0.1)
    fiducials = search(0, 1)
    assert fiducials.matching
    places = truth.common_places(100, np.random.default_rng(0))
    apart = fiducials.poses[0].moving_from_fixed(places) - truth.moving_from_fixed(places)
    assert np.linalg.norm(apart, axis=1).mean() < 0.01
    with pytest.raises(UsageError, match="moving image states no pixel size"):
        BeadSearch(fixed, Image.from_array(np.zeros((64, 64))), Limits((0.5, 2.0)), diameter=0.1)


def test_overlap_is_a_share_of_the_smaller_field() -> None:
    large, small = Grid.of((100, 100), unit="micrometre"), Grid.of((20, 20), unit="micrometre")
    inside = Affine.of(np.eye(2), [-40.0, -40.0])
    assert overlap(large, small, inside) == pytest.approx(1.0, abs=0.15)
    assert overlap(small, large, inside.inverse()) == pytest.approx(1.0)
    assert overlap(large, small, Affine.of(np.eye(2), [-300.0, 0.0])) == 0.0
