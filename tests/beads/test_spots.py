"""Spots: beads found to a fraction of a pixel with a correct predicted error, and what is no bead left out."""

from typing import Any

import numpy as np
import pytest
from scipy.spatial import KDTree

from correlight.beads.spots import Spots, find_spots
from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.simulate.bead_images import electron_image, fluorescence_image
from correlight.simulate.beads import bead_pair

LIGHT = Grid.of((256, 256), 0.04, unit="micrometre")
ELECTRON = Grid.of((400, 400), 0.025, unit="micrometre")


def places(count: int, seed: int, least: float = 0.5) -> Points:
    """Places in a field of 10 µm, away from each other and from its edge."""
    rng = np.random.default_rng(seed)
    kept = np.empty((0, 2))
    while len(kept) < count:
        place = rng.uniform(0.5, 9.5, (1, 2))
        if not len(kept) or np.linalg.norm(kept - place, axis=1).min() > least:
            kept = np.vstack([kept, place])
    return kept


def compared(spots: Spots, truth: Points, reach: float) -> tuple[float, float, Points]:
    """Share of the beads found, share of the spots that are beads, and errors in their predicted deviations."""
    distance, index = KDTree(spots.points).query(truth)
    hit = distance < reach
    wrong = KDTree(truth).query(spots.points)[0] >= reach
    return float(np.mean(hit)), 1 - float(np.mean(wrong)), ((spots.points[index] - truth) / spots.errors[index])[hit]


@pytest.mark.parametrize("known", [False, True])
def test_beads_in_fluorescence_are_found_among_dirt_and_hot_pixels(known: bool) -> None:
    truth = places(40, 1)
    image = fluorescence_image(truth, LIGHT, np.random.default_rng(2), photons=2000, dirt=3, hot_pixels=30)
    widths: dict[str, Any] = {"diameter": 0.1, "psf": 0.1} if known else {}
    spots = find_spots(image, LIGHT, **widths)
    found, pure, _ = compared(spots, truth, 0.08)
    assert found >= 0.9
    assert pure >= 0.9
    # What a least-squares fit of a Gaussian can know (Mortensen et al. 2010, doi:10.1038/nmeth.1447), and a third
    # more for a width and a sloping background that are fitted along.
    photons, background, pixel = 2000, 24, 0.04
    variance = 0.1**2 + 0.1**2 / 20 + pixel**2 / 12
    least = variance / photons * (16 / 9 + 8 * np.pi * variance * background / (photons * pixel**2))
    assert spots.noise < 1.33 * least**0.5


def test_the_error_of_a_place_is_as_large_as_it_says() -> None:
    deviations = []
    for seed in range(3):
        truth = places(40, seed)
        image = fluorescence_image(truth, LIGHT, np.random.default_rng(seed + 10), photons=2000)
        deviations.append(compared(find_spots(image, LIGHT, polarity="bright"), truth, 0.08)[2])
    # 230 numbers or more know their deviation to 5 %; four of these.
    assert np.concatenate(deviations).std() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("dark", [False, True])
def test_beads_are_found_bright_or_dark_in_an_electron_image(dark: bool) -> None:
    truth = places(40, 3)
    image = electron_image(truth, ELECTRON, np.random.default_rng(4), diameter=0.15, dark=dark, dirt=3)
    spots = find_spots(image, ELECTRON)
    found, pure, _ = compared(spots, truth, 0.05)
    assert found >= 0.95
    assert pure >= 0.75
    assert (np.sign(spots.heights) == (-1 if dark else 1)).all()
    assert spots.noise < 0.1 * ELECTRON.spacing[0] + 0.002


def test_beads_that_touch_come_apart() -> None:
    first = places(12, 5, least=1.2)
    truth = np.vstack([first, first + np.array([0.0, 0.26])])
    image = fluorescence_image(truth, LIGHT, np.random.default_rng(6), photons=4000, uneven=0.1)
    found, pure, _ = compared(find_spots(image, LIGHT), truth, 0.06)
    assert found >= 0.9
    assert pure >= 0.95


def test_a_stack_gives_places_along_its_axis_too() -> None:
    grid = Grid.of((16, 96, 96), (0.25, 0.08, 0.08), unit="micrometre")
    truth = np.random.default_rng(0).uniform([0.8, 0.6, 0.6], [3.0, 7.0, 7.0], (10, 3))
    image = fluorescence_image(truth, grid, np.random.default_rng(1), psf=(0.35, 0.13, 0.13), photons=8000)
    spots = find_spots(image, grid)
    found, pure, deviations = compared(spots, truth, 0.25)
    assert found >= 0.8
    assert pure >= 0.9
    assert np.abs(deviations).mean() < 2
    assert (spots.errors[:, 0] > spots.errors[:, 1]).all()


def test_what_the_mask_leaves_out_and_hot_pixels_are_no_beads() -> None:
    truth = places(20, 7)
    image = fluorescence_image(truth, LIGHT, np.random.default_rng(8), hot_pixels=60)
    mask = np.ones(LIGHT.shape, bool)
    mask[:, :128] = False
    spots = find_spots(image, LIGHT, mask)
    assert len(spots)
    assert (spots.points[:, 1] > 128 * 0.04 - 0.1).all()
    only_hot = fluorescence_image(np.empty((0, 2)), LIGHT, np.random.default_rng(9), hot_pixels=60)
    assert len(find_spots(only_hot, LIGHT, polarity="bright")) <= 3


def test_edges_and_ridges_are_no_beads() -> None:
    rng = np.random.default_rng(14)
    y, x = np.indices(LIGHT.shape)
    edge = 100.0 * (y + 0.3 * x > 150)
    ridge = 100.0 * np.exp(-((y - 0.4 * x - 60.0) ** 2) / 8)
    for picture in (edge, ridge):
        assert len(find_spots(picture + rng.normal(0, 2, LIGHT.shape), LIGHT)) <= 2


def test_places_are_in_the_unit_of_the_grid() -> None:
    truth = places(15, 10)
    image = fluorescence_image(truth, LIGHT, np.random.default_rng(11))
    moved = Grid.of(LIGHT.shape, 0.04, origin=(100.0, -5.0), unit="micrometre")
    one, other = find_spots(image, LIGHT), find_spots(image, moved)
    assert np.allclose(one.points + np.array([100.0, -5.0]), other.points)
    assert np.allclose(one.errors, other.errors)


def test_an_empty_picture_has_no_beads_and_nonsense_is_misuse() -> None:
    assert len(find_spots(np.zeros(LIGHT.shape), LIGHT)) == 0
    assert np.isnan(find_spots(np.zeros(LIGHT.shape), LIGHT).noise)
    noise = np.random.default_rng(0).normal(size=LIGHT.shape)
    assert len(find_spots(noise, LIGHT)) <= 2
    with pytest.raises(UsageError, match="one shape"):
        find_spots(np.zeros((5, 5)), LIGHT)
    with pytest.raises(UsageError, match="positive diameter"):
        find_spots(np.zeros(LIGHT.shape), LIGHT, diameter=-1.0)


def test_spots_of_two_instruments_carry_the_pose() -> None:
    """End to end: from pixels to places to the constellation."""
    from correlight.beads.point_matching import match_beads

    pair = bead_pair(2, beads=40, common=0.6, noise=0.0, shape=(256, 256), least_distance=0.5, scale=1.0)
    rng = np.random.default_rng(0)
    fixed_grid = Grid.of((400, 400), pair.fixed_grid.extent[0] / 400, unit="micrometre")
    one = find_spots(electron_image(pair.fixed, fixed_grid, rng, diameter=0.12), fixed_grid)
    other = find_spots(fluorescence_image(pair.moving, pair.moving_grid, rng), pair.moving_grid)
    found = match_beads(one.points, other.points, noise=0.02)
    assert found
    at = pair.common_places(200, rng)
    apart = np.linalg.norm(found.best.moving_from_fixed(at) - pair.moving_from_fixed(at), axis=1)
    assert apart.mean() < 0.02
