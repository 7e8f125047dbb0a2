"""Simulated volumes show the same specimen at the places that the truth says."""

import numpy as np
import pytest

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.simulate.volume import Body, Solid, solid
from correlight.simulate.volume_instruments import BlockFace, Focusing, Tomograph
from correlight.simulate.volume_pair import turn, volume_pair
from correlight.transforms import Affine


def test_a_ball_has_its_volume() -> None:
    ball = Solid("cells", 0, (Body("nucleus", np.zeros(3), 3.0 * np.eye(3), np.zeros((0, 5))),))
    grid = Grid.of((40, 40, 40), 0.2, origin=-3.9, unit="micrometre")
    painted = ball.painted({"around": 0.0, "nucleus": 1.0}, grid, Affine.identity(3))
    assert painted.sum() * 0.2**3 == pytest.approx(4 / 3 * np.pi * 27, rel=0.01)


def test_slabs_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    specimen = solid("cells", 2, (14.0, 40.0, 40.0))
    grid = Grid.of((30, 40, 50), 0.4, origin=(-6, -8, -10), unit="micrometre")
    levels = {"around": 0.0, "cytoplasm": 0.5, "nucleus": 1.0}
    pose = Affine.of(turn(20, True, False, (3, 4)), (0.5, 1, 2))
    whole = specimen.painted(levels, grid, pose)
    monkeypatch.setattr("correlight.simulate.volume._CHUNK", 7000)
    np.testing.assert_allclose(specimen.painted(levels, grid, pose), whole, atol=1e-5)


def test_the_same_seed_is_the_same_pair_and_another_is_not() -> None:
    ones = [volume_pair(seed=seed, size=0.08) for seed in (4, 4, 5)]
    assert np.array_equal(np.asarray(ones[0].fixed.levels[0]), np.asarray(ones[1].fixed.levels[0]))
    assert np.array_equal(np.asarray(ones[0].moving.levels[0]), np.asarray(ones[1].moving.levels[0]))
    assert not np.array_equal(np.asarray(ones[0].fixed.levels[0]), np.asarray(ones[2].fixed.levels[0]))


def test_light_shines_where_electrons_see_organelles() -> None:
    """Sampled through the truth, the light over nuclei and surroundings is weaker than over cytoplasm."""
    pair = volume_pair(seed=3, size=0.25, least_overlap=0.8)
    places = pair.common_places(20_000, np.random.default_rng(0))
    here = tuple(np.rint(pair.fixed.grid.index(places)).astype(int).T)
    index = np.rint(pair.moving.grid.index(pair.moving_from_fixed(places))).astype(int)
    there = tuple(np.clip(index, 0, np.asarray(pair.moving.grid.shape) - 1).T)
    grey = np.asarray(pair.fixed.levels[0][0])[here].astype(float)
    light = np.asarray(pair.moving.levels[0][0])[there].astype(float)
    assert np.corrcoef(grey, light)[0, 1] < -0.35
    elsewhere = np.roll(light, 777)
    assert abs(np.corrcoef(grey, elsewhere)[0, 1]) < 0.05


def test_instruments_do_what_they_are_told() -> None:
    specimen = solid("cells", 1, (14.0, 30.0, 30.0))
    thin = Grid.of((24, 60, 70), (0.05, 0.2, 0.2), origin=(-0.6, -6, -7), unit="micrometre")
    rng = np.random.default_rng
    still = BlockFace(jitter=0.0, streaks=0.0, noise=0.0, grain=0.0, flicker=0.0).image(
        specimen, thin, Affine.identity(3), rng(0)
    )
    steps = np.abs(np.diff(still.astype(int), axis=0)).mean()
    loud = BlockFace(jitter=0.4, streaks=1.0).image(specimen, thin, Affine.identity(3), rng(0))
    assert np.abs(np.diff(loud.astype(int), axis=0)).mean() > 5 * steps
    deep = Grid.of((30, 40, 40), (0.6, 0.3, 0.3), origin=(-9, -6, -6), unit="micrometre")
    flat = Solid("cells", 0, ())
    faded = Focusing(bleaching=6.0).image(flat, "organelles", deep, Affine.identity(3), rng(0)).mean(axis=(1, 2))
    assert faded[0] > faded[-1]
    rays = Tomograph(noise=0.0, rings=0.0).image(
        solid("tissue", 1, (40.0, 40.0, 40.0)), deep, Affine.identity(3), rng(0)
    )
    assert rays.dtype == np.uint8
    assert np.ptp(rays) > 10


def test_turns_are_orthogonal_and_mirror_what_they_say() -> None:
    for mirror in (False, True):
        for flip in (False, True):
            linear = turn(33.0, mirror, flip, (5, -7))
            np.testing.assert_allclose(linear @ linear.T, np.eye(3), atol=1e-12)
            assert np.sign(np.linalg.det(linear)) == (-1) ** (mirror + flip)
            assert (linear[0, 0] < 0) == flip


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="must be positive"):
        volume_pair(size=0.0)


def test_the_deep_couple_has_its_shapes() -> None:
    pair = volume_pair("tomograph and two-photon", seed=1, size=0.04)
    assert pair.fixed.grid.shape == (44, 43, 36)
    assert pair.moving.grid.shape == (4, 41, 41)
    assert pair.swapped().moving is pair.fixed
