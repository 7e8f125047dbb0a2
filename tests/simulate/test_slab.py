"""Specimens with little but an outline: what is common, what is not, and where places lie."""

import numpy as np
import pytest

from correlight.simulate.slab import OUTLINES, Outline, SlabPair, slab_pair

PLACES = np.array([[10.0, 10.0], [30.0, 20.0], [20.0, 40.0]])


@pytest.fixture(scope="module")
def bent() -> SlabPair:
    return slab_pair(5, distortion=0.04, width=96)


def test_the_distortion_displaces_no_place_by_more_than_it_may(bent: SlabPair) -> None:
    straight = (bent.specimen_from_fixed.inverse() @ bent.specimen_from_moving)(PLACES)
    apart = np.linalg.norm(bent.fixed_places(PLACES) - straight, axis=1) * bent.specimen_from_fixed.scale
    assert 0 < apart.max() <= 0.04


def test_a_stranger_has_the_same_outline_and_differs_inside(bent: SlabPair) -> None:
    stranger = slab_pair(5, inside=7, width=96)
    assert np.allclose(stranger.specimen_from_moving.matrix, bent.specimen_from_moving.matrix)
    assert np.allclose(stranger.fixed, bent.fixed)
    differs = np.abs(stranger.moving - bent.moving) > 0.2
    assert 0 < differs.mean() < 0.1


@pytest.mark.parametrize("outline", OUTLINES)
def test_the_specimen_is_brighter_than_its_mount_under_backscatter(outline: Outline) -> None:
    image = slab_pair(2, outline, width=64).fixed
    assert image.shape == (48, 64)
    assert np.mean(image > 0.5) > 0.1
    assert np.mean(image < 0.4) > 0.1
