"""Beads in stacks: balls in an electron microscope's, long along z in a light microscope's, at any rotation."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import zarr
from scipy.spatial import KDTree
from scipy.spatial.transform import Rotation

from correlight import register
from correlight.beads import matching
from correlight.beads.matching import BeadSearch, searched_image, shrinking
from correlight.beads.pose_limits import PoseLimits
from correlight.beads.spots import find_spots
from correlight.geometry import Grid, Points
from correlight.images import pyramid
from correlight.images.image import Image
from correlight.search.limits import Limits
from correlight.simulate.bead_images import electron_image, fluorescence_image
from correlight.simulate.beads import BeadPair, bead_pair
from correlight.transforms import Affine, Projective
from tests.phantoms import mean_error

LIMITS = Limits((0.85, 1.15))


pytestmark = pytest.mark.usefixtures("beads_found_once")


@cache
def stacks(seed: int, common: float = 0.7) -> tuple[BeadPair, Image, Image]:
    """Beads of 0.3 µm: voxels of 65 nm in the electron stack, 80 nm and slices of 250 nm in the light stack."""
    pair = bead_pair(
        seed, beads=24, common=common, noise=0.0, shape=(50, 100, 100), spacing=0.1, least_distance=0.8, scale=1.0
    )
    rng = np.random.default_rng(seed)
    fixed_grid, moving_grid = pair.fixed_grid.resized((77, 154, 154)), pair.moving_grid.resized((20, 125, 125))
    dark = bool(seed % 2)
    electron = electron_image(pair.fixed, fixed_grid, rng, diameter=0.3, dirt=1, dark=dark)
    light = fluorescence_image(
        pair.moving, moving_grid, rng, diameter=0.3, psf=(0.36, 0.12, 0.12), photons=8000, dirt=1, hot_pixels=10
    )
    return pair, of(electron, fixed_grid), of(light, moving_grid)


def of(pixels: np.ndarray, grid: Grid) -> Image:
    return replace(Image.from_array(pixels[None], spacing=grid.spacing), grid=grid)


def error(found: Affine | Projective, pair: BeadPair) -> float:
    """Mean error in micrometres at places without beads."""
    return mean_error(found, pair.moving_from_fixed, pair.common_places(200, np.random.default_rng(0)))


def turned(pair: BeadPair, degrees: float) -> Affine:
    """The true pose after a rotation about x through the middle of the fixed stack."""
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    middle = pair.fixed_grid.centre
    return pair.moving_from_fixed @ Affine.of(turn, middle - turn @ middle)


def shares(points: Points, truth: Points, near: float) -> tuple[float, float]:
    """Share of the beads found, and of the spots that are beads."""
    hit = KDTree(points).query(truth)[0] < near
    right = KDTree(truth).query(points)[0] < near
    return float(np.mean(hit)), float(np.mean(right))


# Beads are dark of the one and bright of the other.
@pytest.mark.parametrize("seed", [0, 1])
def test_two_stacks_of_beads_are_laid_onto_each_other(seed: int) -> None:
    pair, fixed, moving = stacks(seed)
    found = BeadSearch(fixed, moving, LIMITS)(0, 0)
    for spots, truth in ((found.fixed, pair.fixed), (found.moving, pair.moving)):
        hit, right = shares(spots.points, truth, 0.2)
        assert hit >= 0.9
        assert right >= 0.8
    assert found.matching, found.matching.reason
    # About 17 common beads, known to 10 nm along z in the light stack and 5 nm else; an affine fit has four numbers an
    # axis: 10 nm * (4 / 17) ** 0.5 = 5 nm at the middle of the beads, and up to three times that at the edges.
    assert error(found.poses[0].moving_from_fixed, pair) < 0.015


def test_registration_by_beads_serves_stacks() -> None:
    pair, fixed, moving = stacks(0)
    found = register(fixed, moving, "fiducials")
    # Seventeen beads leave much of a stack outside of them, which alone may make it doubtful.
    assert found.verdict.confidence > 0.85, found.verdict.reasons
    assert isinstance(found.moving_from_fixed, Affine | Projective)
    assert error(found.moving_from_fixed, pair) < 0.015
    assert register(fixed, stacks(1)[2], "fiducials").status == "refused"


@pytest.mark.parametrize("seeds", [(0, 1), (1, 0)])
def test_beads_of_another_specimen_are_refused(seeds: tuple[int, int]) -> None:
    fixed, moving = stacks(seeds[0])[1], stacks(seeds[1])[2]
    found = BeadSearch(fixed, moving, LIMITS)(0, 0)
    assert not found.matching
    assert found.significance < 3.0
    assert "unrelated beads" in found.matching.reason or "No pose" in found.matching.reason


def test_near_a_pose_beads_of_stacks_are_matched_there_or_nowhere() -> None:
    pair, fixed, moving = stacks(0)
    search = BeadSearch(fixed, moving, LIMITS)
    close = search.near((0,), (0,), turned(pair, 4.0))
    assert close.matching
    assert error(close.poses[0].moving_from_fixed, pair) < 0.015
    assert not search.near((0,), (0,), turned(pair, 40.0)).matching
    other_hand = Affine.of(pair.moving_from_fixed.linear @ np.diag([-1.0, 1, 1]), pair.moving_from_fixed.offset)
    assert not search.near((0,), (0,), other_hand).matching


def test_limits_of_scale_and_handedness_are_kept() -> None:
    pair, fixed, moving = stacks(1)
    mirrored = pair.moving_from_fixed.mirrored
    assert BeadSearch(fixed, moving, Limits((0.9, 1.1), mirror=(mirrored,)))(0, 0).matching
    assert not BeadSearch(fixed, moving, Limits((0.9, 1.1), mirror=(not mirrored,)))(0, 0).matching
    assert not BeadSearch(fixed, moving, Limits((1.3, 2.0)))(0, 0).matching


@pytest.mark.parametrize("ratio", [1.0, 2.0, 4.0])
def test_beads_are_one_however_long_they_are_along_z(ratio: float) -> None:
    """A first guess of the ratio that stays would part beads that are longer, and misjudge what is known of z."""
    pair = stacks(2)[0]
    grid = pair.moving_grid.resized((20, 125, 125))
    rng = np.random.default_rng(5)
    light = fluorescence_image(pair.moving, grid, rng, diameter=0.2, psf=(0.12 * ratio, 0.12, 0.12), photons=8000)
    spots = find_spots(light, grid)
    hit, right = shares(spots.points, pair.moving, 0.2)
    assert hit >= 0.9
    assert right >= 0.9
    distance, index = KDTree(spots.points).query(pair.moving)
    near = distance < 0.2
    deviations = ((spots.points[index] - pair.moving) / spots.errors[index])[near]
    # 22 beads or more know their deviation along each axis to 15 %; three of these.
    assert np.all(np.abs(deviations.std(axis=0) - 1) < 0.45)


def test_thick_sections_of_an_electron_microscope_serve_as_well() -> None:
    pair, _, moving = stacks(0)
    grid = pair.fixed_grid.resized((40, 200, 200))
    electron = electron_image(pair.fixed, grid, np.random.default_rng(3), diameter=0.3)
    found = BeadSearch(of(electron, grid), moving, LIMITS)(0, 0)
    assert found.matching
    assert error(found.poses[0].moving_from_fixed, pair) < 0.015


def test_a_stack_on_disk_is_searched_at_a_level_that_fits_into_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pair, fixed, moving = stacks(0)
    # As if a quarter of the electron stack were all that fits.
    for module in (pyramid, matching):
        monkeypatch.setattr(module, "WORKING", 500_000)
    pixels = np.asarray(fixed.levels[0])
    store = zarr.create_array(
        tmp_path_factory.mktemp("disk") / "a.zarr", shape=pixels.shape, dtype=pixels.dtype, chunks=(1, 16, 64, 64)
    )
    store[...] = pixels
    for image in (replace(fixed, levels=(store,)), fixed):
        searched = searched_image(image)
        assert 250_000 < np.prod(searched.grid.shape) <= 500_000
        assert isinstance(searched.levels[0], np.ndarray)
        found = BeadSearch(image, moving, LIMITS)(0, 0)
        assert found.matching
        # Voxels of 130 nm instead of 65.
        assert error(found.poses[0].moving_from_fixed, pair) < 0.03


def test_voxels_are_averaged_along_the_axes_on_which_they_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(matching, "WORKING", 50_000)
    # Slices of 300 nm stay as they are as long as pixels of 100 nm are halved or joined by three.
    assert shrinking(Grid.of((10, 100, 100), (0.3, 0.1, 0.1))) == (1, 2, 1)
    assert shrinking(Grid.of((10, 200, 200), (0.3, 0.1, 0.1))) == (1, 3, 3)
    assert shrinking(Grid.of((40, 40, 30), 0.1)) == (1, 1, 1)


def test_rotations_near_a_pose_are_a_small_share_of_all() -> None:
    """Drawn evenly over all rotations, so many lie within the limits as they say."""
    rng = np.random.default_rng(0)
    wide = PoseLimits.around(Affine.identity(3), Limits((0.5, 2.0)))
    assert wide.share_of_rotations(3) == pytest.approx((np.deg2rad(8) - np.sin(np.deg2rad(8))) / np.pi)
    rotations = Rotation.random(20_000, rng).as_matrix()
    angle = np.deg2rad(21)
    expected = 20_000 * (angle - np.sin(angle)) / np.pi
    # Rotations from three beads are kept within 21 degrees; the number is a Poisson one.
    assert abs(np.count_nonzero(wide.roughly(rotations)) - expected) < 4 * expected**0.5
