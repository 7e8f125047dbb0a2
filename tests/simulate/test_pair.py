from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from correlight import Affine, Grid
from correlight.errors import UsageError
from correlight.simulate import Light, SimulatedPair, pair

SMALL: dict[str, Any] = {
    "electron_shape": (320, 320),
    "light_shape": (160, 160),
    "electron_spacing": 0.06,
    "light_spacing": 0.15,
}
CLEAR = Light(photons=3000.0, background=0.01, haze=0.0, buried=0.0, vignetting=0.0, read_noise=1.0, dust=0)


@pytest.fixture(scope="module", params=[False, True], ids=["as it is", "mirrored"])
def posed(request: pytest.FixtureRequest) -> SimulatedPair:
    return pair(
        seed=3, mirror=request.param, rotation=200.0, stretch=1.03, shear=0.02, light=CLEAR, data_bar=False, **SMALL
    )


def laid_onto_fixed(both: SimulatedPair, channel: int, moving_from_fixed: Affine) -> np.ndarray:
    """The moving image seen on the fixed grid, by SciPy, with NaN outside."""
    index = np.indices(both.fixed.grid.shape).reshape(2, -1).T
    there = both.moving.grid.index(moving_from_fixed(both.fixed.grid.points(index)))
    values = ndimage.map_coordinates(both.moving.grey(channel), there.T, order=1, cval=np.nan)
    return values.reshape(both.fixed.grid.shape)


def test_truth_lays_the_stain_onto_the_nuclei(posed):
    """The nuclei come from the electron image's own drawing, the stain through the transform."""
    drawing = posed.specimen.paint(posed.fixed.grid, posed.specimen_from_fixed)
    nuclei = drawing.fraction("nucleoplasm", "heterochromatin", "nucleolus") > 0.5
    stain = laid_onto_fixed(posed, 0, posed.moving_from_fixed)
    seen = np.isfinite(stain)
    assert seen.mean() > 0.5
    glowing = stain > 100 + 12 * 3000 * 0.06
    inside = ndimage.binary_dilation(nuclei, iterations=4)
    assert inside[seen].mean() < 0.6
    assert inside[seen & glowing].mean() > 0.98
    agreement = np.corrcoef(nuclei[seen], stain[seen])[0, 1]
    for wrong in (
        Affine.similarity(rotation=8.0, source=posed.fixed.grid.centre),
        Affine.of(np.eye(2), (1.0, 0.0)),
        Affine.of(np.eye(2), (0.0, -1.0)),
        Affine.similarity(mirror=True, source=posed.fixed.grid.centre),
    ):
        moved = laid_onto_fixed(posed, 0, posed.moving_from_fixed @ wrong)
        both = np.isfinite(moved)
        assert np.corrcoef(nuclei[both], moved[both])[0, 1] < 0.9 * agreement


def test_particles_found_in_light_lie_where_the_truth_sends_them(posed):
    """Centroids in the light image against the truth; the positions in the fixed frame come from the specimen.

    A spot of sigma 0.7 px is found to a few hundredths of a pixel of 0.15 µm at this brightness; 0.015 µm is a tenth.
    """
    fixed, moving = posed.particles()
    assert np.allclose(moving, posed.moving_from_fixed(fixed))
    index = posed.moving.grid.index(moving)
    spots = posed.moving.grey(2) - np.median(posed.moving.grey(2))
    all_spots = posed.moving.grid.index(posed.specimen_from_moving.inverse()(posed.specimen.particles))
    checked = 0
    for row, column in index:
        crowd = np.hypot(*(all_spots - (row, column)).T) < 9
        y, x = round(row), round(column)
        if crowd.sum() > 1 or not (4 <= y < 156 and 4 <= x < 156):
            continue
        window = np.clip(spots[y - 3 : y + 4, x - 3 : x + 4], 0, None)
        found = np.add(ndimage.center_of_mass(window), (y - 3, x - 3))
        assert np.hypot(*(found - (row, column))) * 0.15 < 0.015
        checked += 1
    assert checked >= 3


def test_pose_is_the_one_asked_for():
    both = pair(seed=1, rotation=77.0, mirror=True, stretch=0.98, shear=0.02, **SMALL)
    assert both.moving_from_fixed.rotation == pytest.approx(77.0)
    assert both.moving_from_fixed.mirrored
    assert both.moving_from_fixed.scale == pytest.approx(0.98, rel=1e-3)
    stretches = np.linalg.svd(both.moving_from_fixed.linear)[1]
    assert stretches[0] / stretches[1] == pytest.approx(1.02, abs=0.001)


def test_poses_are_drawn_over_the_whole_range():
    drawn = [pair("grains", seed, electron_shape=(32, 32), light_shape=(32, 32)) for seed in range(24)]
    rotations = np.array([both.moving_from_fixed.rotation for both in drawn])
    assert all(np.any((rotations >= low) & (rotations < low + 90)) for low in (0, 90, 180, 270))
    assert 4 < sum(both.moving_from_fixed.mirrored for both in drawn) < 20
    assert 4 < sum(both.fixed.mask is not None for both in drawn) < 20
    assert min(both.overlap for both in drawn) < 0.9
    for both in drawn:
        assert both.overlap >= 0.6
        assert 0.97 * 0.999 <= both.moving_from_fixed.scale <= 1.03 * 1.001
        assert 0.018 <= both.fixed.grid.spacing[0] <= 0.04
        assert 0.06 <= both.moving.grid.spacing[0] <= 0.16


@pytest.mark.parametrize("least", [0.3, 0.95, 1.0])
def test_overlap_is_at_least_what_is_asked_for(least):
    """Counted anew, from the polygons of both fields rather than from lattice points of one."""
    both = pair("grains", 5, rotation=90.0, mirror=False, shear=0.0, stretch=1.0, least_overlap=least, **SMALL)
    corners = both.moving_from_fixed(both.fixed.grid.corners())
    low, high = corners.min(0), corners.max(0)
    own = both.moving.grid.corners()
    sides = np.minimum(high, own.max(0)) - np.maximum(low, own.min(0))
    smaller = min(np.prod(both.fixed.grid.extent), np.prod(both.moving.grid.extent))
    # The lattice has 64 points per axis, so a side is counted to 1/64 of the field.
    assert np.prod(sides) / smaller == pytest.approx(both.overlap, abs=2 / 64)
    assert both.overlap >= least


def test_the_same_seed_gives_the_same_pair_and_another_seed_another():
    first, again, other = (pair(seed=seed, **SMALL) for seed in (6, 6, 7))
    assert np.array_equal(np.asarray(first.fixed.levels[0]), np.asarray(again.fixed.levels[0]))
    assert np.array_equal(np.asarray(first.moving.levels[0]), np.asarray(again.moving.levels[0]))
    assert np.array_equal(first.moving_from_fixed.matrix, again.moving_from_fixed.matrix)
    assert not np.allclose(first.moving_from_fixed.matrix, other.moving_from_fixed.matrix)


def test_a_seed_names_a_specimen_whatever_looks_at_it():
    one = pair(seed=6, **SMALL)
    other = pair(seed=6, **{**SMALL, "electron_spacing": 0.03})
    grid = Grid.of((64, 64), 0.4, unit="micrometre")
    place = Affine.of(np.eye(2), -grid.centre)
    drawings = [both.specimen.paint(grid, place, 0.1).index for both in (one, other)]
    assert np.array_equal(drawings[0], drawings[1])


def test_swapped_pair_tells_the_same_truth(posed):
    other = posed.swapped()
    assert other.fixed is posed.moving
    assert np.allclose((other.moving_from_fixed @ posed.moving_from_fixed).matrix, np.eye(3))
    assert np.allclose(other.specimen_from_moving.matrix, posed.specimen_from_fixed.matrix)
    assert other.overlap == pytest.approx(posed.overlap, abs=0.03)
    fixed, moving = other.particles()
    assert np.allclose(fixed, posed.particles()[1])
    assert np.allclose(moving, posed.particles()[0])


@pytest.mark.parametrize("wrong", [{"least_overlap": 0.0}, {"electron_spacing": -1.0}, {"stretch": float("nan")}])
def test_misuse_is_told_in_one_sentence(wrong):
    with pytest.raises(UsageError, match="must be positive"):
        pair(**wrong)
