"""Refinement reaches what the noise allows, and overlays compare only what both images show."""

import numpy as np
import pytest
from scipy import ndimage

from correlight.appearance.channels import edges
from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.refine.linear import refine
from correlight.refine.planes import BLOCKS, Overlay, PlanePair, lay
from correlight.refine.samples import MeasureName, distance
from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LINEAR_MODELS, LinearModel, Motions
from tests.phantoms import GRID, MIDDLE, SHAPE, about_the_middle, fine_and_coarse, in_fixed_frame, mean_error, plane
from tests.phantoms import seen_through as planes_through

MEASURES: tuple[MeasureName, ...] = ("features", "mutual information")
NOISE = 0.05
# The coarsest working size is 128.
WORKING_PIXEL = 240 / 128
COUNTS = {model: Motions(model, MIDDLE, MIDDLE).count for model in LINEAR_MODELS}


def seen_through(moving_from_fixed: Affine | Projective, seed: int = 5, noise: float = NOISE) -> PlanePair:
    """One specimen on a fixed grid and, with inverted contrast, on a moving grid; noise of its own in each."""
    return PlanePair(*planes_through(moving_from_fixed, seed, noise), edges)


def overlay(fixed: Plane, moving: Plane, pose: Affine | Projective, size: float) -> Overlay:
    return PlanePair(fixed, moving, edges).overlay(pose, size)


def tilted(first: Affine, tilt: tuple[float, float]) -> Projective:
    to_middle = np.eye(3)
    to_middle[:2, 2] = MIDDLE
    core = np.eye(3)
    core[2, :2] = tilt
    return Projective(first.matrix @ to_middle @ core @ np.linalg.inv(to_middle))


SHEARED = about_the_middle([[1.02, 0.04], [-0.03, 0.98]], (1.3, -2.4))
TRUTH: dict[LinearModel, Affine | Projective] = {
    "rigid": Affine.similarity(3.0, source=MIDDLE, target=(121.8, 117.8)),
    "similarity": Affine.similarity(-4.0, 1.03, source=MIDDLE, target=(120.8, 122.1)),
    "affine": SHEARED,
    # Moves two corners by five pixels against the affine map, the others by one.
    "projective": tilted(SHEARED, (1.5e-4, -1e-4)),
}


def three_pixels_and_two_degrees_off(truth: Affine | Projective) -> Affine | Projective:
    shift = 3 * WORKING_PIXEL * np.array([np.sin(1.0), np.cos(1.0)])
    return truth @ Affine.similarity(2.0, source=MIDDLE, target=MIDDLE + shift)


def off(found: Affine | Projective, truth: Affine | Projective) -> float:
    return mean_error(found, truth, GRID)


def reachable(model: LinearModel, samples: int) -> float:
    """Mean error that noise of both images leaves to an ideal comparison of grey values, in pixels.

    A shift is known to noise / (slope sqrt(N)); every parameter is such a shift, and their errors add in square.
    """
    slope = np.sqrt(np.mean(np.square(np.gradient(in_fixed_frame(fine_and_coarse(5))))))
    return float(np.sqrt(COUNTS[model]) * np.sqrt(2) * NOISE / (slope * np.sqrt(samples)))


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("model", LINEAR_MODELS)
def test_a_start_that_is_off_comes_to_a_fraction_of_a_pixel(model: LinearModel, measure: MeasureName) -> None:
    truth = TRUTH[model]
    start = three_pixels_and_two_degrees_off(truth)
    assert off(start, truth) > 6
    found = refine(seen_through(truth), start, model, measure=measure)
    # Edges and histograms use less than all of the grey values say: three times what an ideal comparison reaches
    # with the 30 000 samples of the finest level, which is 0.09 pixels for rigid and 0.15 for projective.
    assert off(found, truth) < 3 * reachable(model, 30_000)
    assert isinstance(found, Projective if model == "projective" else Affine)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("model", ["rigid", "projective"])
def test_each_half_finds_the_pose_by_itself(model: LinearModel, measure: MeasureName) -> None:
    truth = TRUTH[model]
    pair, start = seen_through(truth), three_pixels_and_two_degrees_off(truth)
    even, odd = (refine(pair, start, model, measure=measure, half=half) for half in (0, 1))
    for found in (even, odd):
        assert off(found, truth) < 3 * reachable(model, 15_000)
    # They share no sample, so their errors differ.
    assert off(even, odd) > 1e-4


def test_rigid_refinement_keeps_the_scale_of_the_start() -> None:
    truth = TRUTH["similarity"]
    found = refine(seen_through(truth), truth, "rigid")
    assert np.linalg.det(found.linear) == pytest.approx(np.linalg.det(truth.linear), rel=1e-9)


def test_a_projective_start_stays_projective_under_a_poorer_model() -> None:
    truth = TRUTH["projective"]
    start = Affine.similarity(0.0, source=MIDDLE, target=(120.5, 121.0)) @ truth
    found = refine(seen_through(truth), start, "rigid")
    assert isinstance(found, Projective)
    assert off(found, truth) < 3 * reachable("rigid", 30_000)


@pytest.mark.parametrize("measure", MEASURES)
def test_physical_units_of_both_sides_change_nothing(measure: MeasureName) -> None:
    truth = TRUTH["rigid"]
    pair = seen_through(truth)
    nanometres = Grid.of(SHAPE, spacing=0.004, origin=(3.0, -1.0), unit="micrometre")
    coarse = Grid.of(SHAPE, spacing=2.5, origin=(100.0, 7.0), unit="micrometre")
    to_coarse, to_pixels = Affine(coarse.matrix), Affine(nanometres.matrix).inverse()
    start = to_coarse @ three_pixels_and_two_degrees_off(truth) @ to_pixels
    fixed, moving = (
        Plane(one.values, one.mask, grid) for one, grid in ((pair.fixed, nanometres), (pair.moving, coarse))
    )
    found = refine(PlanePair(fixed, moving, edges), start, "rigid", measure=measure)
    assert isinstance(found, Affine)
    back = Affine(coarse.matrix).inverse() @ found @ Affine(nanometres.matrix)
    assert off(back, truth) < 3 * reachable("rigid", 30_000)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.25, -0.25), (0.5, 0.5)])
@pytest.mark.parametrize("measure", MEASURES)
def test_noise_does_not_pull_the_optimum_between_the_pixels(shift: tuple[float, float], measure: MeasureName) -> None:
    # Interpolation half-way between pixels averages noise away. Samples that all lay on pixels would be drawn off them
    # by 0.3 to 0.9 pixels in these pairs; noise itself scatters one run by 0.05 per axis, so that the mean of four
    # reaches 0.1 at three standard deviations.
    offsets = []
    for seed in range(4):
        truth = about_the_middle(np.eye(2), shift)
        found = refine(seen_through(truth, seed, noise=0.07), Affine.identity(), "rigid", measure=measure)
        offsets.append((found(MIDDLE[None]) - truth(MIDDLE[None]))[0])
    assert np.linalg.norm(np.mean(offsets, axis=0)) < 0.1


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("shift", [(0.0, 235.0), (-232.0, 0.0), (500.0, 500.0)])
def test_too_little_in_common_returns_the_start(shift: tuple[float, float], measure: MeasureName) -> None:
    pair = seen_through(TRUTH["rigid"])
    start = about_the_middle(np.eye(2), shift)
    assert not pair.samples(start, 128)
    assert refine(pair, start, "affine", measure=measure) is start


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("model", LINEAR_MODELS)
def test_blank_planes_leave_the_pose_where_it_is(model: LinearModel, measure: MeasureName) -> None:
    # What `Plane.of` makes of a constant image. A division by its energy would warn, and warnings are errors here.
    fixed = seen_through(TRUTH["rigid"]).fixed
    blank = plane(np.zeros(SHAPE))
    start = TRUTH["rigid"]
    for pair in ((fixed, blank), (blank, fixed), (blank, blank)):
        assert off(refine(PlanePair(*pair, edges), start, model, measure=measure), start) < 1e-9


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("model", LINEAR_MODELS)
def test_an_overlap_that_is_saturated_gives_a_pose_without_a_warning(model: LinearModel, measure: MeasureName) -> None:
    # Averages of ones differ in the last digit, so that there is something to follow, though it means nothing.
    fixed = seen_through(TRUTH["rigid"]).fixed
    white = plane(np.ones(SHAPE))
    for pair in ((fixed, white), (white, fixed), (white, white)):
        found = refine(PlanePair(*pair, edges), TRUTH["rigid"], model, measure=measure)
        # Six working pixels along each parameter and on each level are the limit of what can be followed.
        assert off(found, TRUTH["rigid"]) < 2 * 6 * WORKING_PIXEL * np.sqrt(COUNTS[model])


def masked_pair() -> tuple[Plane, Plane, Affine]:
    """A pair of unequal sizes, turned, with a hole in each mask."""
    rng = np.random.default_rng(8)
    planes = []
    for shape, hole in (((90, 120), (slice(30, 50), slice(60, 80))), ((100, 100), (slice(5, 25), slice(40, 70)))):
        mask = np.ones(shape, bool)
        mask[hole] = False
        planes.append(Plane(rng.random(shape).astype(np.float32), mask, Grid.of(shape)))
    pose = Affine.similarity(20.0, source=(44.5, 59.5), target=(49.5, 49.5))
    return planes[0], planes[1], pose


def test_a_laid_plane_is_a_linear_interpolation() -> None:
    fixed, moving, pose = masked_pair()
    laid = lay(moving, pose, fixed.grid)
    places = pose(fixed.grid.lattice_of_pixels()).T
    expected = ndimage.map_coordinates(moving.values.astype(float), places, order=1).reshape(fixed.grid.shape)
    valid = ndimage.map_coordinates(moving.mask.astype(float), places, order=1, cval=0.0).reshape(fixed.grid.shape)
    assert laid.grid == fixed.grid
    # A pixel is used if nothing invalid entered its value.
    np.testing.assert_array_equal(laid.mask, valid > 0.999)
    assert 0.3 < laid.mask.mean() < 0.9
    # Fractions of pixel indices up to 100 are rounded to float32 only after the index is taken off.
    np.testing.assert_allclose(laid.values[laid.mask], expected[laid.mask], rtol=0, atol=2e-6)


def test_a_projective_map_that_sends_points_to_infinity_lays_nothing_there() -> None:
    fixed, moving, _ = masked_pair()
    vanishing = np.eye(3)
    # The weight 1 - x / 60 is zero in column 60 and negative beyond it.
    vanishing[2] = (0, -1 / 60, 1)
    laid = lay(moving, Projective(vanishing), fixed.grid)
    assert np.isfinite(laid.values).all()
    assert not laid.mask[:, 60].any()


def test_samples_keep_a_rim_from_the_edge_of_either_mask() -> None:
    fixed, moving, pose = masked_pair()
    laid = overlay(fixed, moving, pose, 100)
    samples = laid.samples
    assert samples
    assert laid.fixed.grid == fixed.grid
    common = laid.fixed.mask & laid.moving.mask
    # Beyond the picture there is nothing in common either; distance along the farther axis, to the nearest bad pixel.
    padded = np.pad(common, 1)
    to_bad = ndimage.distance_transform_cdt(padded, metric="chessboard")[1:-1, 1:-1]
    # A sample belongs to the pixel from whose centre it is at most half a pixel away, the lower half included.
    nearest = np.floor(samples.points + 0.5).astype(int)
    assert to_bad[nearest[:, 0], nearest[:, 1]].min() == 4
    # And no sample is missing that could be there.
    assert len(samples) == np.count_nonzero(to_bad >= 4)


def test_samples_spread_evenly_over_the_fractions_of_a_pixel() -> None:
    points = seen_through(TRUTH["rigid"]).samples(TRUTH["rigid"], 512).points
    # Of more than 50 000 pixels; an even thinning misses its number by a few.
    assert abs(len(points) - 30_000) < 30
    fractions = points - np.floor(points)
    counts = np.histogram(fractions, bins=10, range=(0, 1))[0]
    # 60 000 drawn numbers in ten bins would scatter by 73; five of that.
    assert np.abs(counts - counts.mean()).max() < 5 * 73


def test_blocks_are_a_checkerboard_that_parts_the_samples() -> None:
    samples = seen_through(TRUTH["rigid"]).samples(TRUTH["rigid"], 128)
    assert set(samples.blocks.tolist()) == set(range(BLOCKS**2))
    halves = [samples.half(number) for number in (0, 1)]
    assert sum(len(half) for half in halves) == len(samples)
    assert not set(halves[0].numbers.tolist()) & set(halves[1].numbers.tolist())
    for half in halves:
        assert 0.45 < len(half) / len(samples) < 0.55
    boxes = [
        (samples.points[samples.blocks == b].min(axis=0), samples.points[samples.blocks == b].max(axis=0))
        for b in range(16)
    ]
    for first in range(16):
        for second in range(first):
            (low_a, high_a), (low_b, high_b) = boxes[first], boxes[second]
            assert np.any((high_a < low_b) | (high_b < low_a)), f"fields {first} and {second} share ground"
    # Neighbours along the row and the column have the other colour.
    colour = {int(block): bool(odd) for block, odd in zip(samples.blocks, samples.odd, strict=True)}
    assert colour[0] != colour[1] == colour[BLOCKS] != colour[BLOCKS + 1]


def test_the_same_call_gives_the_same_samples_and_the_same_pose() -> None:
    pair, start = seen_through(TRUTH["affine"]), three_pixels_and_two_degrees_off(TRUTH["affine"])
    first, second = (pair.samples(start, 128) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)
    a, b = (refine(pair, start, "affine", measure="mutual information") for _ in range(2))
    np.testing.assert_array_equal(a.matrix, b.matrix)


def test_distance_is_the_mean_over_the_field_in_fixed_units() -> None:
    # Ten moving pixels are five fixed ones where two moving pixels make one fixed pixel.
    a = Affine.similarity(30.0, 2.0)
    b = Affine.of(a.linear, a.offset + np.array([6.0, 8.0]))
    assert distance(a, b, GRID) == pytest.approx(5.0)
    assert distance(a, a, GRID) == 0
