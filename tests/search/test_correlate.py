"""Both engines against brute force, and the shifts they return against known cut-outs."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from correlight.appearance.channels import edges, shrunk
from correlight.images.plane import Plane
from correlight.search.correlate import ByFeatures, FeatureEngine, MakeEngine, Shift
from correlight.search.information import MutualInformationEngine
from correlight.search.limits import NearStart
from correlight.search.rotation import rotated, shared_part
from correlight.transforms import Affine
from tests import phantoms
from tests.phantoms import plane

LEAST = 0.35
RotationScale = Callable[[np.ndarray], np.ndarray]
TURNS: dict[str, RotationScale] = {
    "unrotated": lambda array: array,
    "90": lambda array: np.rot90(array, 1),
    "180": lambda array: np.rot90(array, 2),
    "mirrored": lambda array: array[:, ::-1],
    "mirrored, 90": lambda array: np.rot90(array[:, ::-1], 1),
}
SEEDS = st.integers(0, 10_000)


ENGINES: dict[str, MakeEngine] = {"features": ByFeatures(edges), "mutual information": MutualInformationEngine}
both_engines = pytest.mark.parametrize("make", ENGINES.values(), ids=ENGINES.keys())


def texture(shape: tuple[int, int], seed: int, sigma: float = 1.5) -> np.ndarray:
    """Smooth noise from 0 to 1."""
    return np.asarray(phantoms.texture(shape, seed, sigma), np.float32)


def places(turn: RotationScale, shape: tuple[int, int], first: tuple[int, int]) -> np.ndarray:
    """Fixed pixel of each pixel of a cut-out that was turned, shape (2, Y, X): where pixel indices go."""
    return np.stack([turn(index) + start for index, start in zip(np.indices(shape), first, strict=True)])


def matrix_of(where: np.ndarray) -> np.ndarray:
    """The (3, 3) map from pixel indices to the places they are said to have, in (y, x) order."""
    matrix = np.eye(3)
    matrix[:2, 0], matrix[:2, 1] = where[:, 1, 0] - where[:, 0, 0], where[:, 0, 1] - where[:, 0, 0]
    matrix[:2, 2] = where[:, 0, 0]
    return matrix


def common_share(shift: Shift, fixed: Plane, moving: Plane) -> float:
    """Valid moving pixels that fall on valid fixed pixels, as a share of the smaller field."""
    rows, columns = np.nonzero(moving.mask)
    laid = np.stack([rows, columns], 1) @ shift.fixed_from_moving[:2, :2].T + shift.fixed_from_moving[:2, 2]
    index = np.round(laid).astype(int)
    index = index[np.all((index >= 0) & (index < fixed.mask.shape), axis=1)]
    return float(fixed.mask[tuple(index.T)].sum() / min(fixed.mask.sum(), moving.mask.sum()))


@both_engines
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
@pytest.mark.parametrize("inverted", [False, True])
def test_a_cut_out_is_found_to_the_pixel(make: MakeEngine, turn: RotationScale, inverted: bool) -> None:
    fixed = texture((90, 110), 0)
    where = places(turn, (48, 60), (17, 33))
    moving = fixed[tuple(where)]
    engine = make(plane(fixed), plane(1 - moving**2 if inverted else moving), LEAST)
    expected = matrix_of(where)
    for shift in engine.best_shifts(np.linalg.inv(expected)[:2, :2]):
        assert shift.fixed_from_moving == pytest.approx(expected, abs=1e-9)
        assert shift.overlap == pytest.approx(1, abs=1e-3)
        assert shift.score > 5


@both_engines
@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
def test_only_shifts_near_a_start_are_considered(make: MakeEngine, turn: RotationScale) -> None:
    fixed = texture((90, 110), 0)
    where = places(turn, (48, 60), (17, 33))
    expected = matrix_of(where)
    planes, linear = (plane(fixed), plane(fixed[tuple(where)])), np.linalg.inv(expected)[:2, :2]
    points = np.array([[5.0, 7.0], [40.0, 50.0]])
    there = points @ expected[:2, :2].T + expected[:2, 2]
    near = NearStart(there + np.array([3.0, -4.0]), points, 8.0, True)
    for shift in make(*planes, LEAST, 0.0, near).best_shifts(linear):
        assert shift.fixed_from_moving == pytest.approx(expected, abs=1e-9)
    # The right shift lies too far from this one.
    far = NearStart(there + np.array([25.0, 0.0]), points, 8.0, True)
    for shift in make(*planes, LEAST, 0.0, far).best_shifts(linear):
        laid = points @ shift.fixed_from_moving[:2, :2].T + shift.fixed_from_moving[:2, 2]
        # Blocks of shifts are four pixels wide.
        assert np.linalg.norm(laid - far.fixed, axis=1).max() <= 8.0 + 8.0


@both_engines
def test_a_cut_out_across_the_edge_is_found(make: MakeEngine) -> None:
    scene = texture((150, 150), 1)
    fixed, moving = scene[40:110, 50:130], scene[20:85, 20:90]
    for shift in make(plane(fixed), plane(moving), LEAST).best_shifts(np.eye(2)):
        assert shift.fixed_from_moving[:2, 2] == pytest.approx([-20, -30])
        # Features count the overlap on blocks of four pixels, at the block of shifts next to this one.
        assert shift.overlap == pytest.approx(45 * 40 / (65 * 70), abs=2 * (45 + 40) / (65 * 70))


@both_engines
def test_masked_pixels_neither_attract_nor_count(make: MakeEngine) -> None:
    fixed, mask = texture((90, 110), 2), np.ones((90, 110), bool)
    moving = fixed[20:70, 40:100].copy()
    moving_mask = np.ones(moving.shape, bool)
    mask[:, :20], moving_mask[:, 44:] = False, False
    # The same bright bar, as a caption would be, in the masked part of both.
    fixed[:, 5:15], moving[:, 48:58] = 1, 1
    for shift in make(plane(fixed, mask), plane(moving, moving_mask), LEAST).best_shifts(np.eye(2)):
        assert shift.fixed_from_moving[:2, 2] == pytest.approx([20, 40])
        assert shift.overlap == pytest.approx(1, abs=1e-3)


@both_engines
@pytest.mark.parametrize("axis", [0, 1])
def test_nothing_wraps_around(make: MakeEngine, axis: int) -> None:
    """A moving image that would fit in full if the fixed one closed to a ring, and fits by halves as it is."""
    ring = np.roll(texture((80, 80), 3), 25, axis=axis)
    moving = ring.take(range(50), axis=axis)
    fixed = texture((80, 80), 3)
    for shift in make(plane(fixed), plane(moving), 0.6).best_shifts(np.eye(2)):
        assert common_share(shift, plane(fixed), plane(moving)) >= 0.6 - BLOCK_SHARE
    for shift in make(plane(fixed), plane(moving), 0.4).best_shifts(np.eye(2)):
        assert abs(shift.fixed_from_moving[axis, 2]) in (25, 55)
        assert shift.overlap == pytest.approx(0.5, abs=BLOCK_SHARE)


# Features decide on blocks of four pixels which shifts are allowed, and weigh those between fully, not and in part; two
# pixels of shift along both axes of a field of 40 pixels or more are a tenth of it.
BLOCK_SHARE = 0.1


@both_engines
@settings(max_examples=15)
@given(seed=SEEDS)
def test_too_small_an_overlap_is_never_returned(make: MakeEngine, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shapes = rng.integers(40, 90, (2, 2))
    fixed, moving = (texture(tuple(shape), seed + number) for number, shape in enumerate(shapes))
    # Corners that agree: so tempting a shift must not be taken, for too little of the images meets there.
    fixed[:16, :16] = moving[-16:, -16:]
    mask = np.ones(fixed.shape, bool)
    mask[:, : rng.integers(0, 12)] = False
    planes = plane(fixed, mask), plane(moving)
    least = float(rng.uniform(0.3, 0.8))
    linear = Affine.similarity(float(rng.choice([0.0, rng.uniform(0, 360)])), 1, bool(rng.integers(2))).linear
    for shift in make(*planes, least).best_shifts(linear):
        if not np.isfinite(shift.score):
            # No shift of this turn has enough in common.
            continue
        share = common_share(shift, *planes)
        assert shift.overlap >= least - BLOCK_SHARE
        assert share >= least - BLOCK_SHARE
        assert shift.overlap == pytest.approx(share, abs=BLOCK_SHARE)
        assert shift.fixed_from_moving[:2, :2] == pytest.approx(linear.T)


@both_engines
def test_a_blank_plane_gives_no_warning(make: MakeEngine) -> None:
    blank, lively = plane(np.full((40, 50), 0.5)), plane(texture((44, 48), 0))
    for pair in ((blank, lively), (lively, blank), (blank, blank)):
        for shift in make(*pair, LEAST).best_shifts(Affine.similarity(30).linear):
            assert not np.isnan(shift.score)
            assert np.isfinite(shift.fixed_from_moving).all()


@both_engines
def test_without_valid_pixels_no_shift_has_a_score(make: MakeEngine) -> None:
    masked, lively = plane(texture((40, 50), 1), np.zeros((40, 50), bool)), plane(texture((44, 48), 0))
    for pair in ((masked, lively), (lively, masked), (masked, masked)):
        assert {shift.score for shift in make(*pair, LEAST).best_shifts(np.eye(2))} == {-np.inf}


@both_engines
def test_where_masks_never_meet_enough_no_shift_has_a_score(make: MakeEngine) -> None:
    """A tall and a wide strip of one area meet in a small square at most."""
    tall, wide = np.zeros((64, 64), bool), np.zeros((64, 64), bool)
    tall[:, 28:36], wide[28:36] = True, True
    engine = make(plane(texture((64, 64), 1), tall), plane(texture((64, 64), 1), wide), LEAST)
    assert {shift.score for shift in engine.best_shifts(np.eye(2))} == {-np.inf}
    assert all(np.isfinite(shift.score) for shift in engine.best_shifts(Affine.similarity(90).linear))


def raw_scores(fixed: Plane, moving: Plane, shifts: np.ndarray) -> np.ndarray:
    """Masked normalised correlation of each group at each shift, shape (groups, shifts), pixel by pixel."""
    (rows, columns), (height, width) = fixed.mask.shape, moving.mask.shape
    result = []
    for one, other in zip(edges(fixed.values, fixed.mask), edges(moving.values, moving.mask), strict=True):
        scores = []
        for down, across in shifts:
            on_fixed = (
                slice(max(0, down), min(rows, down + height)),
                slice(max(0, across), min(columns, across + width)),
            )
            on_moving = tuple(slice(s.start - t, s.stop - t) for s, t in zip(on_fixed, (down, across), strict=True))
            area = np.sum(fixed.mask[on_fixed] * moving.mask[on_moving])
            energies = (
                np.sum(one.energy[on_fixed] * moving.mask[on_moving]),
                np.sum(fixed.mask[on_fixed] * other.energy[on_moving]),
            )
            expected_width = np.sqrt(area * np.prod([max(float(energy / area), 0.3) for energy in energies]))
            scores.append(np.sum(one.planes[:, *on_fixed] * other.planes[:, *on_moving]) / expected_width)
        result.append(scores)
    return np.array(result)


POSES = [(0, False), (90, False), (180, True), (20, False), (130, True)]


@pytest.mark.parametrize(("rotation", "mirror"), POSES)
@pytest.mark.parametrize("masked", [False, True])
def test_score_maps_are_masked_normalised_correlations(rotation: float, mirror: bool, masked: bool) -> None:
    values, mask = texture((84, 96), 0), np.ones((84, 96), bool)
    if masked:
        mask[:, :13], mask[50:, 60:] = False, False
    fixed, moving = plane(values, mask), plane(texture((60, 72), 1))
    moving.values[10:50, 10:60] = 1 - values[20:60, 30:80]
    engine = FeatureEngine(fixed, moving, edges, LEAST)
    linear = Affine.similarity(rotation, 1, mirror).linear
    maps, _, views = engine.score_maps(linear)
    # The fixed image takes the quarter turns, the moving image the rest; together they are the turn that was asked for.
    turns = [view.canvas_from_image[:2, :2] for view in views]
    assert turns[0].T @ turns[1] == pytest.approx(linear.T)
    assert np.abs(turns[0]) == pytest.approx(np.rint(np.abs(turns[0])))
    one, other = (plane(*rotated(one, turn)[:2]) for one, turn in zip((fixed, moving), turns, strict=True))
    shifts = np.random.default_rng(0).integers((-10, -10), (20, 20), (40, 2))
    # The width that a map is divided by is common to all its shifts: the best factor for this sample of them.
    aligned = not masked and rotation % 90 == 0
    for shifts_now, tolerance in ((4 * (shifts // 4), 1e-5 if aligned else 0.03), (shifts, 0.03)):
        expected = raw_scores(one, other, shifts_now)
        found = np.array([scores[tuple(shifts_now.T)] for scores in maps])
        factor = np.sum(found * expected, axis=1) / np.sum(expected**2, axis=1)
        # Overlap and energies are exact at shifts by whole blocks of unmasked images. Between those they are
        # interpolated, and edges of turned or masked fields cross blocks: where 40 pixels of a side are in common, a
        # block is a tenth of them, and the second order of a tenth is a hundredth of scores of size one to three.
        assert np.abs(found - factor[:, None] * expected).max() <= tolerance
        assert np.abs(expected).max() > 1


@pytest.mark.parametrize("stride", [2, 4])
@pytest.mark.parametrize("mirror", [False, True])
def test_with_a_stride_a_cut_out_is_found_to_a_pixel_of_a_plane(stride: int, mirror: bool) -> None:
    fixed = texture((180, 220), 0, 4.0)
    where = places((lambda array: array[:, ::-1]) if mirror else (lambda array: array), (96, 120), (34, 66))
    engine = ByFeatures(shrunk(edges, stride), stride)(plane(fixed), plane(fixed[tuple(where)]), LEAST)
    expected = matrix_of(where)
    for shift in engine.best_shifts(np.linalg.inv(expected)[:2, :2]):
        assert shift.fixed_from_moving == pytest.approx(expected, abs=stride)
        assert shift.overlap == pytest.approx(1, abs=1e-2)


@settings(max_examples=40)
@given(rotation=st.floats(0, 360), mirror=st.booleans(), quarters=st.integers(0, 3), flip=st.booleans())
def test_turns_by_quarters_and_mirror_images_share_features(
    rotation: float, mirror: bool, quarters: int, flip: bool
) -> None:
    linear = Affine.similarity(rotation, 1, mirror).linear
    other = linear @ Affine.similarity(90 * quarters, 1, flip).linear
    (rest, scale), (other_rest, other_scale) = shared_part(linear), shared_part(other)
    apart = abs(rest - other_rest)
    assert min(apart, 90 - apart) < 1e-6
    assert scale == pytest.approx(other_scale) == pytest.approx(1)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize(("rotation", "scale"), [(2.0, 1.0), (92.5, 1.05), (358.0, 0.95), (176.5, 1.0)])
def test_with_a_step_channels_are_turned_and_scaled_the_rest_of_the_way(
    rotation: float, scale: float, mirror: bool
) -> None:
    """A cut-out at a pose between two steps is found there, though channels were computed at multiples of 7.5 only."""
    fixed = texture((200, 220), 0, 5.0)
    truth = Affine.similarity(rotation, scale, mirror, source=(99.5, 109.5), target=(59.5, 64.5))
    index = np.indices((120, 130)).reshape(2, -1).T
    values = ndimage.map_coordinates(fixed, truth.inverse()(index).T, order=1).reshape(120, 130)
    kept = ByFeatures(shrunk(edges, 2), 2)
    asked = truth.linear
    stepped, fresh = (kept(plane(fixed), plane(values), LEAST, step) for step in (7.5, 0.0))
    corners = np.array([[y, x] for y in (0.0, 119.0) for x in (0.0, 129.0)])
    for shift in stepped.best_shifts(asked):
        laid = corners @ shift.fixed_from_moving[:2, :2].T + shift.fixed_from_moving[:2, 2]
        # Half a pixel of a plane, which is one of the image, along both axes, and the smoothing of the channels.
        assert np.abs(laid - truth.inverse()(corners)).max() <= 2
        assert shift.fixed_from_moving[:2, :2] == pytest.approx(np.linalg.inv(asked))
        assert shift.overlap == pytest.approx(1, abs=0.03)
    if scale == 1:
        computed, moved = fresh.best_shifts(asked)[-1].score, stepped.best_shifts(asked)[-1].score
        assert moved > 0.9 * computed


def test_an_engine_with_a_step_computes_channels_at_its_multiples_only() -> None:
    looks = []

    def counted(values: np.ndarray, mask: np.ndarray):
        looks.append(values.shape)
        return edges(values, mask)

    engine = ByFeatures(counted)(plane(texture((90, 90), 0)), plane(texture((60, 60), 1)), LEAST, 7.5)
    for rotation in np.linspace(26.5, 33.5, 9):
        engine.best_shifts(Affine.similarity(float(rotation), 1.02).linear)
    # One of the fixed image and one of the moving one, at 30 degrees.
    assert len(looks) == 2


def test_scores_are_in_units_of_their_spread() -> None:
    engine = FeatureEngine(plane(texture((84, 96), 0)), plane(texture((60, 72), 1)), edges, LEAST)
    maps, overlap, _ = engine.score_maps(np.eye(2))
    shifts = 16 * np.sum(overlap >= LEAST * 60 * 72)
    for scores in maps:
        # The engine takes the spread from every fourth shift, and shifts between blocks are allowed in part.
        assert np.sqrt(np.sum(scores.astype(float) ** 2) / shifts) == pytest.approx(1, abs=0.03)


def joint_information(fixed: np.ndarray, moving: np.ndarray) -> float:
    """Mutual information of two arrays of level numbers, in nats."""
    joint = np.histogram2d(fixed.ravel(), moving.ravel(), bins=(range(7), range(4)))[0] / fixed.size
    independent = joint.sum(axis=1, keepdims=True) * joint.sum(axis=0, keepdims=True)
    occupied = joint > 0
    return float(np.sum(joint[occupied] * np.log(joint[occupied] / independent[occupied])))


def information_map(fixed: np.ndarray, moving: np.ndarray, least_area: float) -> tuple[np.ndarray, np.ndarray]:
    """Mutual information at every shift from one joint histogram after the other, and where they may lie."""
    levels = [
        np.searchsorted(np.quantile(values, np.arange(1, count) / count), values, side="right")
        for values, count in ((fixed, 6), (moving, 3))
    ]
    (rows, columns), (height, width) = fixed.shape, moving.shape
    information = np.zeros((rows + height - 1, columns + width - 1))
    allowed = np.zeros(information.shape, bool)
    for down, across in np.ndindex(information.shape):
        top, left = down - height + 1, across - width + 1
        on_fixed = levels[0][max(0, top) : top + height, max(0, left) : left + width]
        on_moving = levels[1][max(0, -top) : rows - top, max(0, -left) : columns - left]
        allowed[down, across] = on_fixed.size >= least_area
        if allowed[down, across]:
            information[down, across] = joint_information(on_fixed, on_moving)
    return information, allowed


@pytest.mark.parametrize("seed", range(3))
def test_mutual_information_peaks_where_joint_histograms_say(seed: int) -> None:
    fixed, moving = texture((40, 48), seed, 1.0), texture((24, 28), seed + 10, 1.0)
    # Faintly the same structure, of which the eye would see little.
    moving += 0.6 * np.abs(fixed[9:33, 13:41] - 0.5)
    information, allowed = information_map(fixed, moving, LEAST * moving.size)
    weight = allowed.astype(float)
    surround = ndimage.gaussian_filter(information * weight, 3.0) / np.maximum(
        ndimage.gaussian_filter(weight, 3.0), 1e-3
    )
    above = np.where(allowed, information - surround, 0)
    peak = np.unravel_index(np.argmax(above), above.shape)
    (shift,) = MutualInformationEngine(plane(fixed), plane(moving), LEAST).best_shifts(np.eye(2))
    assert shift.fixed_from_moving[:2, 2] == pytest.approx(np.subtract(peak, (23, 27)))
    # The surround of shifts near zero is cut at the edge of the map there, and its far end here.
    assert shift.score == pytest.approx(above[peak] / above[allowed].std(), rel=0.02)
    assert shift.overlap == pytest.approx(common_share(shift, plane(fixed), plane(moving)), abs=1e-3)
