"""The parts of a field's fit: relations of features, likelihood, smoothness, landmarks, rounds, and who is left out."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from correlight.appearance import APPEARANCES
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.refine.compared import Compared
from correlight.refine.described import FIELD_MEASURES, FieldMeasure, described
from correlight.refine.elastic import choose_field, gain_by_grey_values
from correlight.refine.held_out import QUARTERS, Checkerboard, gain
from correlight.refine.lattice import Lattice
from correlight.refine.planes import PlanePair
from correlight.refine.related import Related, related
from correlight.refine.residual import gain_of_a_step
from correlight.refine.rounds import choose_in_rounds, linear_part
from correlight.refine.smooth_fit import Pairs, Problem, Smoothness, fit_field
from correlight.refine.trial import FieldSettings
from correlight.transforms import Affine, VelocityField
from tests.phantoms import noise

CHANNELS = APPEARANCES["descriptor and edges"].refine
SIZE = 144


@cache
def blobs(seed: int = 0, size: int = SIZE) -> Image:
    return Image.from_array(np.asarray(100 + 20 * noise((size, size), seed, 2.5), np.float32), 0.1)


@cache
def truth() -> VelocityField:
    lattice = Lattice.over(blobs().grid, 2)
    numbers = np.random.default_rng(4).normal(size=(lattice.count, 2))
    return lattice.velocity(0.25 * numbers)


@cache
def bent() -> Image:
    """The image under another contrast, as it is led to by the truth."""
    image = blobs()
    values, shown = warp(image, image.grid, truth(), image.grid)
    return replace(image, levels=(np.exp(-np.asarray(values, np.float32) / 40),), mask=shown)


def planes(fixed: Image, moving: Image) -> PlanePair:
    return PlanePair(Plane.of(fixed, 0), Plane.of(moving, 0), CHANNELS)


def relation(measure: FieldMeasure, field: VelocityField | None = None) -> Related | None:
    images = described([planes(bent(), blobs())], Affine.identity(), 512, (measure,))
    assert images is not None
    return related(images, field)


@pytest.mark.parametrize("measure", FIELD_MEASURES)
def test_every_measure_shares_more_where_places_are_right(measure: FieldMeasure) -> None:
    wrong, right = relation(measure), relation(measure, truth())
    assert right is not None
    assert np.all((right.closeness > 0) & (right.closeness < 1))
    assert right.information > (0.0 if wrong is None else wrong.information)


@pytest.mark.parametrize("measure", FIELD_MEASURES)
def test_every_measure_finds_the_field(measure: FieldMeasure) -> None:
    found = choose_field(planes(bent(), blobs()), Affine.identity(), FieldSettings((measure,)))
    assert found.fit is not None
    points = blobs().grid.lattice(16)
    before = np.linalg.norm(truth().displaced(points), axis=1) / 0.1
    after = np.linalg.norm(found.fit.field(points) - truth()(points), axis=1) / 0.1
    assert np.median(before) > 1.3
    assert np.median(after) < 0.5


def test_features_of_unlike_images_have_nothing_in_common() -> None:
    images = described([planes(blobs(1), blobs(2))], Affine.identity(), 512)
    assert images is not None
    found = related(images, None)
    assert found is None or found.information < 0.1


def test_several_channels_speak_together() -> None:
    pairs = [planes(bent(), blobs()), planes(bent(), blobs(7))]
    images = described(pairs, Affine.identity(), 512)
    assert images is not None
    assert len(images.features) == 4
    alone = described(pairs[:1], Affine.identity(), 512)
    assert alone is not None
    one, both = related(alone, truth()), related(images, truth())
    assert one is not None
    assert both is not None
    # What the other image has by chance is not taken for evidence.
    assert both.information < one.information + 0.1


def test_alikeness_is_nothing_on_the_average_for_what_is_unrelated_and_information_for_what_is() -> None:
    grid = Grid.of((60, 60), 1.0)
    rng = np.random.default_rng(0)
    fixed, noise = (ndimage.gaussian_filter(rng.normal(size=(60, 60)), 1.5) for _ in range(2))
    fixed, noise = fixed / fixed.std(), noise / noise.std()
    close = 0.8
    moving = close * fixed + np.sqrt(1 - close**2) * noise
    shown = np.ones((60, 60), bool)

    def alike(other: np.ndarray) -> float:
        one, two = (np.asarray(part[None], np.float32) for part in (fixed, other))
        both = Related(grid, one, two, shown, shown, np.array([close], np.float32))
        return float(np.nanmean(Compared.of(both).alikeness(None)))

    assert alike(moving) == pytest.approx(-0.5 * np.log(1 - close**2), abs=0.15)
    assert alike(noise) < 0


def test_places_that_repeat_each_other_are_counted_once() -> None:
    found = relation("filters", truth())
    assert found is not None
    assert Compared.of(found).repeated(truth()) > 2


@pytest.mark.parametrize("ndim", [2, 3])
def test_divergence_and_curl_are_told_apart(ndim: int) -> None:
    lattice = Lattice.over(Grid.of((24, 24, 24)[-ndim:], 1.0), 6)
    places = np.indices(lattice.inner).reshape(ndim, -1).T - (lattice.inner[0] - 1) / 2
    bump = np.exp(-np.sum(places**2, axis=1) / (2 * 1.5**2))
    growing, turning = places * bump[:, None], np.zeros_like(places)
    turning[:, 0], turning[:, 1] = places[:, 1] * bump, -places[:, 0] * bump

    def energies(field: np.ndarray) -> tuple[float, float]:
        flat = field.ravel()
        return float(flat @ (lattice.divergence @ flat)), float(flat @ (lattice.curl @ flat))

    (grows, grows_turning), (turns_growing, turns) = energies(growing), energies(turning)
    assert grows_turning < 0.02 * grows
    assert turns_growing < 0.02 * turns
    heavy = Smoothness(1.0, divergence=9.0).penalty(lattice), Smoothness(1.0, curl=9.0).penalty(lattice)
    plain = Smoothness(1.0).penalty(lattice)

    def added(penalty: object, field: np.ndarray) -> float:
        return float(field.ravel() @ ((penalty - plain) @ field.ravel()))  # type: ignore[operator]

    assert added(heavy[0], growing) > 10 * abs(added(heavy[0], turning))
    assert added(heavy[1], turning) > 10 * abs(added(heavy[1], growing))


def test_landmarks_pull_a_field_where_images_say_nothing() -> None:
    found = relation("filters", truth())
    assert found is not None
    blind = replace(found, closeness=np.full_like(found.closeness, 1e-3))
    grid = found.grid
    lattice = Lattice.over(grid, 4)
    places = grid.lattice(5)[6:19:4]
    known = Pairs(places, places + np.array([0.3, -0.2]), 0.01)
    problem = Problem(Compared.of(blind), lattice, Smoothness(0.1), known)
    led = fit_field(problem).field(places)
    assert np.abs(led - known.moving).max() < 0.03


def test_landmarks_steer_what_is_chosen_and_sharpen_it() -> None:
    """The middle of one image is covered: there only landmarks know the field."""
    image, field = blobs(), truth()
    pixels = np.array(bent().levels[0], np.float32)
    covered = (slice(None), slice(40, 104), slice(40, 104))
    pixels[covered] = np.random.default_rng(0).normal(pixels.mean(), 0.1 * pixels.std(), pixels[covered].shape)
    pair = planes(replace(bent(), levels=(pixels,)), image)
    places = image.grid.points(np.array([[y, x] for y in (54, 72, 90) for x in (54, 72, 90)], float))
    known = Pairs(places, field(places), 0.5 * image.grid.spacing[0])
    settings = [FieldSettings(("filters",), landmarks=pairs) for pairs in (None, known)]
    fits = [choose_field(pair, Affine.identity(), one).fit for one in settings]
    between = image.grid.points(np.array([[y, x] for y in (63, 81) for x in (63, 81)], float))
    missed, sure = [], []
    for fit in fits:
        assert fit is not None
        missed.append(np.linalg.norm(fit.field(between) - field(between), axis=1).mean() / image.grid.spacing[0])
        sure.append(fit.deviation_at(between).mean())
    assert missed[1] < 0.6 * missed[0]
    assert sure[1] < 0.8 * sure[0]


def test_both_directions_count_and_do_not_contradict_each_other() -> None:
    found = relation("filters", truth())
    assert found is not None
    problem = Problem(Compared.of(found), Lattice.over(found.grid, 4), Smoothness(2.0))
    field = fit_field(problem).field
    points = found.grid.lattice(12)
    assert np.abs(field.inverse()(field(points)) - points).max() < 0.02 * found.grid.spacing[0]
    forward, backward = (problem.way(field, back).counts.sum() for back in (False, True))
    assert backward > 0.5 * forward > 0


def test_a_wrong_linear_map_is_corrected_by_the_field() -> None:
    image = blobs(3, 200)
    middle = image.grid.centre
    linear = np.array([[1.035, 0.015], [-0.02, 0.97]])
    right = Affine.of(linear, middle - linear @ middle + [0.25, -0.2])
    values, shown = warp(image, image.grid, right, image.grid)
    fixed = replace(image, levels=(values,), mask=shown)
    points = image.grid.lattice(12)
    pair = planes(fixed, image)
    first = choose_field(pair, Affine.identity()).fit
    assert first is not None
    nearer = linear_part(first, Affine.identity())
    assert np.linalg.norm(nearer(points) - right(points), axis=1).mean() < 0.1
    found, pose = choose_in_rounds([pair], Affine.identity())
    led = pose(points if found.fit is None else found.fit.field(points))
    assert np.median(np.linalg.norm(led - right(points), axis=1)) < 0.05
    assert np.linalg.norm(pose(points) - right(points), axis=1).mean() < 0.1


def test_the_checkerboard_leaves_a_moat_and_tests_what_was_not_fitted() -> None:
    board = Checkerboard.over(Grid.of((120, 96), 1.0))
    for half in (0, 1):
        assert not np.any(board.fitted(half) & board.held_out(half))
        far = ndimage.distance_transform_cdt(~board.held_out(half), "chessboard")
        assert far[board.fitted(half)].min() >= 4
    tested = np.zeros(board.number.shape, int)
    for quarter in QUARTERS:
        far = ndimage.distance_transform_cdt(~board.held_out(quarter), "chessboard")
        assert far[board.fitted(quarter)].min() >= 4
        assert board.fitted(quarter).mean() > 1.6 * board.fitted(0).mean()
        tested += board.held_out(quarter)
    # Every place that tests a half tests one quarter.
    assert np.array_equal(tested, board.held_out(0) | board.held_out(1))
    assert gain(np.zeros(40), np.random.default_rng(0).normal(1.0, 0.5, 40)) > 5
    assert gain(np.zeros(5), np.ones(5)) == 0


def test_a_first_look_sees_a_field_and_none_where_there_is_none() -> None:
    assert gain_of_a_step(planes(bent(), blobs()), Affine.identity()) > 3.0
    assert gain_of_a_step(planes(blobs(), blobs()), Affine.identity()) < 1.5
    assert gain_of_a_step(planes(blobs(), blobs(seed=9)), Affine.identity()) < 1.5


def test_grey_values_second_a_field_and_not_its_opposite() -> None:
    pair = planes(bent(), blobs())
    found = choose_field(pair, Affine.identity()).fit
    assert found is not None
    assert gain_by_grey_values([pair], Affine.identity(), found.halves) > 3.0
    opposite = [half.inverse() for half in found.halves]
    assert gain_by_grey_values([pair], Affine.identity(), opposite) < -3.0


def test_the_deviation_of_a_field_grows_where_nothing_is_seen() -> None:
    fixed = bent()
    pixels = np.array(fixed.levels[0])
    pixels[:, :, SIZE // 2 :] = pixels.mean() + np.random.default_rng(1).normal(
        scale=0.05 * pixels.std(), size=pixels[:, :, SIZE // 2 :].shape
    )
    found = choose_field(planes(replace(fixed, levels=(pixels,)), blobs()), Affine.identity()).fit
    assert found is not None
    grid = blobs().grid
    seen, hidden = grid.points([[72.0, 36.0]]), grid.points([[72.0, 125.0]])
    assert found.deviation_at(hidden)[0] > 1.5 * found.deviation_at(seen)[0]
    assert found.evidence_at(seen)[0] > found.evidence_at(hidden)[0]


@pytest.mark.parametrize("seed", [0, 1])
def test_a_field_of_which_much_is_left_by_the_affine_map_is_found_or_refused(seed: int) -> None:
    image = blobs(5)
    lattice = Lattice.over(image.grid, 2)
    points = image.grid.lattice(20)
    numbers = np.random.default_rng(seed).normal(size=(lattice.count, 2))
    columns = np.column_stack([points, np.ones(len(points))])

    def left(field: VelocityField) -> np.ndarray:
        return field(points) - columns @ np.linalg.lstsq(columns, field(points), rcond=None)[0]

    for _ in range(3):
        share = np.sqrt(np.mean(np.sum(left(lattice.velocity(numbers)) ** 2, axis=1))) / image.grid.extent[0]
        numbers = numbers * 0.08 / share
    field = lattice.velocity(numbers)
    values, shown = warp(image, image.grid, field, image.grid)
    fixed = replace(image, levels=(values,), mask=shown)
    start = np.linalg.lstsq(columns, field(points), rcond=None)[0]
    found, pose = choose_in_rounds([planes(fixed, image)], Affine.of(start[:2].T, start[2]))
    if found.fit is None:
        assert "linear map was kept" in found.reason
        return
    both = image.grid.contains(field(points))
    wrong = np.linalg.norm(pose(found.fit.field(points)) - field(points), axis=1)[both]
    assert np.median(wrong) < 0.1
    assert found.fit.field.smallest_volume > 0
