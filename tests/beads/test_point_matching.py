"""Constellations of beads: found whatever the pose, and refused where only chance agrees."""

import numpy as np
import pytest

from correlight.beads.point_matching import BeadMatching, match_beads
from correlight.errors import UsageError
from correlight.search.limits import Limits
from correlight.simulate.beads import BeadPair, bead_pair
from tests.phantoms import mean_error

# Two images localised to 20 nm per axis each are this far apart per axis.
NOISE = 0.02 * 2**0.5


def error(pair: BeadPair, found: BeadMatching) -> float:
    """Mean error at places without beads, in the moving unit."""
    places = pair.common_places(300, np.random.default_rng(0))
    return mean_error(found.best.moving_from_fixed, pair.moving_from_fixed, places)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 137.0])
@pytest.mark.parametrize("scale", [0.2, 1.0, 5.0])
def test_a_constellation_is_found_at_any_rotation_mirror_and_scale(mirror: bool, rotation: float, scale: float) -> None:
    pair = bead_pair(3, rotation=rotation, mirror=mirror, scale=scale)
    found = match_beads(pair.fixed, pair.moving, noise=NOISE)
    assert found
    assert found.best.moving_from_fixed.mirrored == mirror
    # 24 common beads and an affine fit leave about 20 nm * (2 * 6 / 24) ** 0.5.
    assert error(pair, found) < 0.04


def test_matched_beads_are_the_ones_that_both_images_hold() -> None:
    pair = bead_pair(5)
    best = match_beads(pair.fixed, pair.moving, noise=NOISE).best
    true = set(map(tuple, pair.partners.tolist()))
    said = set(zip(best.fixed_index.tolist(), best.moving_index.tolist(), strict=True))
    assert len(true & said) >= 0.9 * len(true)
    assert len(said - true) <= 3


def test_beads_without_noise_give_the_transform_to_rounding() -> None:
    pair = bead_pair(7, noise=0.0, common=1.0, beads=30)
    found = match_beads(pair.fixed, pair.moving, noise=1e-6)
    assert found
    assert error(pair, found) < 1e-9


def test_a_volume_is_matched_mirrored_or_not() -> None:
    for mirror in (False, True):
        pair = bead_pair(4, shape=(100, 300, 300), mirror=mirror, beads=60, common=0.5)
        found = match_beads(pair.fixed, pair.moving, noise=NOISE)
        assert found
        assert found.best.moving_from_fixed.mirrored == mirror
        assert error(pair, found) < 0.04


def test_unrelated_beads_are_refused_with_the_reason() -> None:
    rng = np.random.default_rng(0)
    for _ in range(3):
        found = match_beads(rng.uniform(0, 14, (30, 2)), rng.uniform(0, 14, (30, 2)), noise=NOISE)
        assert not found
        assert "unrelated beads would match as many" in found.reason


def test_a_lattice_fits_in_many_ways_and_is_not_believed() -> None:
    y, x = np.meshgrid(np.arange(7.0), np.arange(7.0), indexing="ij")
    lattice = np.stack([y.ravel(), x.ravel()], axis=1)
    found = match_beads(lattice, lattice + np.array([30.0, -10.0]), noise=0.01)
    assert not found
    assert "equally well" in found.reason


def test_limits_are_kept() -> None:
    pair = bead_pair(6, mirror=True, scale=1.0, beads=36)
    assert not match_beads(pair.fixed, pair.moving, noise=NOISE, limits=Limits((0.5, 2), mirror=(False,)))
    assert not match_beads(pair.fixed, pair.moving, noise=NOISE, limits=Limits((1.3, 2.0)))
    turned = pair.moving_from_fixed.rotation
    assert match_beads(pair.fixed, pair.moving, noise=NOISE, limits=Limits((0.9, 1.1), (turned - 20, turned + 20)))
    assert not match_beads(pair.fixed, pair.moving, noise=NOISE, limits=Limits((0.9, 1.1), (turned + 90, turned + 140)))


def test_the_answer_does_not_depend_on_the_order_of_the_beads() -> None:
    pair = bead_pair(8)
    one = match_beads(pair.fixed, pair.moving, noise=NOISE)
    other = match_beads(pair.fixed[::-1], pair.moving[::-1], noise=NOISE)
    assert len(one.best) == len(other.best)
    assert np.allclose(one.best.moving_from_fixed.matrix, other.best.moving_from_fixed.matrix, atol=1e-9)


def test_too_few_beads_are_a_failure_and_nonsense_is_misuse() -> None:
    found = match_beads(np.eye(2), np.random.default_rng(0).random((9, 2)))
    assert not found
    assert "2 and 9 beads" in found.reason
    with pytest.raises(UsageError, match="2-D or 3-D"):
        match_beads(np.zeros((5, 2)), np.zeros((5, 3)))
    with pytest.raises(UsageError, match="finite"):
        match_beads(np.full((5, 2), np.nan), np.zeros((5, 2)))


BEADS = np.random.default_rng(0).uniform(0, 20, (30, 2))
FLAT = np.column_stack([BEADS, np.zeros(30)])


@pytest.mark.parametrize("noise", [None, 0.0, 0.01])
@pytest.mark.parametrize(
    ("fixed", "moving", "found"),
    [
        (np.ones((10, 2)), BEADS, False),
        (BEADS, np.ones((10, 2)), False),
        (np.column_stack([np.arange(10.0), np.zeros(10)]), BEADS, False),
        (np.vstack([BEADS, BEADS]), BEADS, True),
        (BEADS + 1e7, BEADS - 1e7, True),
        (BEADS, BEADS * 1e3, True),
        (FLAT, FLAT, True),
    ],
    ids=[
        "one place",
        "one place in the other",
        "a line",
        "found twice",
        "far away",
        "a thousand times",
        "a flat volume",
    ],
)
def test_odd_fields_of_beads_are_answered(
    fixed: np.ndarray, moving: np.ndarray, noise: float | None, found: bool
) -> None:
    answer = match_beads(fixed, moving, noise=noise)
    assert bool(answer) == found
    assert answer.reason


def test_noise_is_a_length() -> None:
    with pytest.raises(UsageError, match="not negative"):
        match_beads(BEADS, BEADS, noise=-1.0)
