"""The search finds known poses within its limits, and lists distinct ones."""

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from scipy import ndimage

from correlight.appearance.channels import Group, edges, shrunk
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.plane import DIVISIBLE, Plane, working_planes
from correlight.search.correlate import ByFeatures, Engine, FeatureEngine, MakeEngine, Shift
from correlight.search.information import MutualInformationEngine
from correlight.search.limits import Limits, NearStart
from correlight.search.pose import Pose
from correlight.search.poses import PoseSearch, WorkingPlanes, search_poses
from correlight.search.ranking import distinct
from correlight.transforms import Affine
from tests.phantoms import mean_error

FIXED_SHAPE = (130, 150)


FEATURES = ByFeatures(edges)


@cache
def scene(seed: int, shape: tuple[int, int] = (420, 420)) -> np.ndarray:
    """Smooth noise of two finenesses, from 0 to 1."""
    rng = np.random.default_rng(seed)
    fine, coarse = (ndimage.gaussian_filter(rng.standard_normal(shape), sigma) for sigma in (2.0, 7.0))
    mixed = fine / fine.std() + coarse / coarse.std()
    return np.asarray((mixed - mixed.min()) / np.ptp(mixed), np.float32)


def seen(picture: np.ndarray, scene_from_index: Affine, shape: tuple[int, int], grid: Grid | None = None) -> Plane:
    """The part of a scene that lies under each pixel of an instrument."""
    index = np.indices(shape).reshape(2, -1).T
    values = ndimage.map_coordinates(picture, scene_from_index(index).T, order=1, mode="nearest").reshape(shape)
    return Plane(values.astype(np.float32), np.ones(shape, bool), grid or Grid.of(shape))


def known_pair(
    rotation: float,
    scale: float = 1.0,
    mirror: bool = False,
    shift: tuple[float, float] = (0.0, 0.0),
    shape: tuple[int, int] = (140, 140),
    seed: int = 0,
) -> tuple[Plane, Plane, Affine]:
    """Two images of one scene, the second in another contrast and with noise, and moving_from_fixed."""
    picture = scene(seed)
    scene_from_fixed = Affine.of(np.eye(2), (140.0, 130.0))
    middle = np.subtract(FIXED_SHAPE, 1) / 2
    moving_from_fixed = Affine.similarity(
        rotation, scale, mirror, source=middle + shift, target=np.subtract(shape, 1) / 2
    )
    fixed = seen(picture, scene_from_fixed, FIXED_SHAPE)
    noise = 0.03 * np.random.default_rng(seed + 1).standard_normal(picture.shape)
    other = cv2.GaussianBlur((1 - picture) ** 2 + noise, (0, 0), 1.0)
    moving = seen(other, scene_from_fixed @ moving_from_fixed.inverse(), shape)
    return fixed, moving, moving_from_fixed


def error(pose: Pose, moving_from_fixed: Affine, fixed: Grid) -> float:
    """Mean distance from the true places over the fixed image, as a share of its width."""
    off = mean_error(pose.moving_from_fixed, moving_from_fixed, fixed)
    return off / moving_from_fixed.scale / max(fixed.extent)


def assert_ranked_and_distinct(poses: list[Pose], fixed: Grid) -> None:
    scores = [pose.score for pose in poses]
    assert scores == sorted(scores, reverse=True)
    assert distinct(poses, fixed) == poses


# The search hands its poses to a refinement that mends errors of a few per cent of the width.
NEAR = 0.02


CASES = {
    "at rest": (0.0, 1.0, False, (0.0, 0.0)),
    "turned": (33.0, 1.08, False, (5.0, -8.0)),
    "mirrored": (200.0, 0.95, True, (-6.0, 10.0)),
    "smaller": (118.0, 0.7, False, (0.0, 12.0)),
    "larger": (290.0, 1.5, True, (10.0, 0.0)),
    "half outside": (75.0, 1.0, False, (45.0, 30.0)),
}


@pytest.mark.parametrize(
    ("make", "case"),
    [(FEATURES, case) for case in CASES] + [(MutualInformationEngine, case) for case in ("turned", "larger")],
)
def test_a_known_pose_is_found(make: MakeEngine, case: str) -> None:
    rotation, scale, mirror, shift = CASES[case]
    fixed, moving, truth = known_pair(rotation, scale, mirror, shift)
    limits = Limits((scale / 1.05, scale * 1.05), (rotation - 4, rotation + 6))
    poses = search_poses(fixed, moving, limits, make, workers=1)
    assert error(poses[0], truth, fixed.grid) <= NEAR
    assert poses[0].linear.mirrored == mirror
    assert_ranked_and_distinct(poses, fixed.grid)


def test_units_of_either_grid_are_kept() -> None:
    fixed, moving, truth = known_pair(33.0, 1.08)
    fixed_grid = Grid.of(fixed.grid.shape, 0.02, (3.0, -4.0), "micrometre")
    moving_grid = Grid.of(moving.grid.shape, 0.5, (100.0, 50.0), "micrometre")
    expected = Affine(moving_grid.matrix @ truth.matrix @ np.linalg.inv(fixed_grid.matrix))
    scale = 1.08 * 0.5 / 0.02
    poses = search_poses(
        Plane(fixed.values, fixed.mask, fixed_grid),
        Plane(moving.values, moving.mask, moving_grid),
        Limits((scale / 1.1, scale * 1.1), (20.0, 50.0), (False,)),
        FEATURES,
        workers=1,
    )
    assert error(poses[0], expected, fixed_grid) <= NEAR


def test_the_order_of_the_images_does_not_matter() -> None:
    fixed, moving, truth = known_pair(33.0, 1.3, True)
    # The inverse of a mirrored map turns the same way.
    poses = search_poses(moving, fixed, Limits((0.7, 0.84), (15.0, 50.0)), FEATURES, workers=1)
    assert error(poses[0], truth.inverse(), moving.grid) <= NEAR


def test_every_angle_is_searched_where_nothing_is_known() -> None:
    fixed, moving, truth = known_pair(251.0, 1.0, True)
    poses = search_poses(fixed, moving, Limits((1.0, 1.0)), FEATURES, workers=1)
    assert error(poses[0], truth, fixed.grid) <= NEAR
    assert len(poses) > 1
    assert poses[1].score < 0.8 * poses[0].score


def test_limits_are_kept() -> None:
    fixed, moving, truth = known_pair(33.0, 1.0, True)
    limits = Limits((1.2, 1.3), (100.0, 120.0), (False,), 0.5)
    poses = search_poses(fixed, moving, limits, FEATURES, workers=1)
    assert poses
    for pose in poses:
        assert not pose.linear.mirrored
        # Working pixels are square to one pixel over the field only: a percent at 72 pixels, a third of that at 224.
        assert 100 - 0.5 <= pose.linear.rotation % 360 <= 120 + 0.5
        assert 1.2 / 1.01 <= pose.linear.scale <= 1.3 * 1.01
        # Overlap is counted on blocks of four pixels of the working image.
        assert pose.overlap >= 0.5 - 0.05
        assert error(pose, truth, fixed.grid) > NEAR


def test_masked_pixels_do_not_matter() -> None:
    fixed, moving, truth = known_pair(33.0, 1.0, False)
    mask = np.ones(fixed.grid.shape, bool)
    mask[100:] = False
    limits = Limits((0.95, 1.05), (25.0, 40.0), (False,))
    found = []
    for fill in (0.0, 50.0):
        image = Image.from_array(np.where(mask, fixed.values, np.float32(fill)), mask=mask)
        found.append(search_poses(Plane.of(image, 0), moving, limits, FEATURES, workers=1))
    assert error(found[0][0], truth, fixed.grid) <= NEAR
    assert [pose.to_json() for pose in found[0]] == [pose.to_json() for pose in found[1]]


def test_threads_change_nothing_and_progress_is_told() -> None:
    fixed, moving, _ = known_pair(33.0)
    limits = Limits((0.9, 1.1), (20.0, 45.0), (False,))
    told: list[float] = []
    one = search_poses(fixed, moving, limits, FEATURES, workers=1, progress=told.append)
    two = search_poses(fixed, moving, limits, FEATURES, workers=2)
    assert [pose.to_json() for pose in one] == [pose.to_json() for pose in two]
    assert told == sorted(told)
    assert told[0] > 0
    assert told[-1] == pytest.approx(1)


def test_unusual_scales_can_wait() -> None:
    """Where nothing stands out, the search stops at the usual scales if it is told to, and goes on when asked again."""
    fixed, moving = (known_pair(0.0, seed=seed)[0] for seed in (0, 5))
    limits, engine = Limits((0.25, 4.0), (0.0, 10.0), (False,)), ByFeatures(shrunk(edges, 2), 2)
    rounds = PoseSearch(fixed, moving, limits, engine, 2)
    usual = rounds.ranked(common_scales=True)
    assert not rounds.complete
    # Scales are tried in portions of four from the middle of the range outwards.
    assert all(1 / 3.5 < pose.linear.scale < 3.5 for pose in usual)
    every = rounds.ranked()
    assert rounds.complete
    assert [pose.to_json() for pose in every] == [
        pose.to_json() for pose in search_poses(fixed, moving, limits, engine, workers=2)
    ]


def test_searches_with_an_image_in_common_look_at_it_once() -> None:
    """Features of each turn of the larger image are computed by the first search, and not again when that goes on."""
    looked: list[bytes] = []

    def counted(values: np.ndarray, mask: np.ndarray) -> tuple[Group, ...]:
        looked.append(values.tobytes())
        return shrunk(edges, 2)(values, mask)

    fixed, moving, _ = known_pair(0.0)
    unrelated = known_pair(0.0, seed=5)[0].cut((0, 0), (100, 100))
    limits = Limits((0.25, 4.0), (0.0, 20.0), (False,))
    planes: WorkingPlanes = {}
    engine = ByFeatures(counted, 2)
    first = PoseSearch(fixed, unrelated, limits, engine, 1, planes)
    first.ranked(common_scales=True)
    first.ranked()
    assert len(looked) == len(set(looked))
    alone = len(looked)
    PoseSearch(fixed, moving.cut((0, 0), (100, 100)), limits, engine, 1, planes).ranked()
    assert len(looked) == len(set(looked))
    assert len(looked) - alone < alone


def test_within_other_limits_what_was_scored_serves_again_only_where_it_would_be_so() -> None:
    class Counting(FeatureEngine):
        def best_shifts(self, moving_from_fixed: np.ndarray) -> list[Shift]:
            asked.append(moving_from_fixed)
            return super().best_shifts(moving_from_fixed)

    def make(fixed: Plane, moving: Plane, least: float, step: float = 0.0, start: NearStart | None = None) -> Engine:
        return Counting(fixed, moving, edges, least, step=step, start=start)

    make.stride = 1  # type: ignore[attr-defined]
    asked: list[np.ndarray] = []
    fixed, moving, _ = known_pair(20.0)
    limits = Limits((0.95, 1.05), (0.0, 40.0), (False,))
    search = PoseSearch(fixed, moving, limits, make, 1)  # type: ignore[arg-type]
    found = search.promising(3, lambda done: None)
    first = len(asked)
    # As where a stretch is sought after all else: these limits change nothing about how a pose scores.
    assert search.within(replace(limits, last_resort=True)).promising(3, lambda done: None) == found
    assert len(asked) == first > 0
    search.within(replace(limits, least_overlap=0.12)).promising(3, lambda done: None)
    assert len(asked) == 2 * first


def test_a_search_that_decided_needs_no_unusual_scales() -> None:
    fixed, moving, truth = known_pair(12.0)
    rounds = PoseSearch(fixed, moving, Limits((0.25, 4.0), (0.0, 30.0), (False,)), FEATURES, 2)
    assert error(rounds.ranked(common_scales=True)[0], truth, fixed.grid) <= NEAR
    assert rounds.complete


@pytest.mark.parametrize("make", [FEATURES, MutualInformationEngine], ids=["features", "mutual information"])
def test_without_enough_overlap_the_list_is_empty(make: MakeEngine) -> None:
    """A tall and a wide strip meet in a small square at most, as long as neither turns far."""
    fixed, moving, _ = known_pair(0.0)
    tall, wide = np.zeros(fixed.grid.shape, bool), np.zeros(moving.grid.shape, bool)
    tall[:, 60:76], wide[60:76] = True, True
    strips = Plane(fixed.values, tall, fixed.grid), Plane(moving.values, wide, moving.grid)
    assert search_poses(*strips, Limits((0.95, 1.05), (-8.0, 8.0)), make, workers=1) == []


def test_without_valid_pixels_the_list_is_empty() -> None:
    fixed, moving, _ = known_pair(0.0)
    # Scattered pixels: too few of every shrunk pixel is valid for it to be used.
    scattered = np.random.default_rng(0).random(moving.grid.shape) < 0.4
    sparse = Plane(moving.values, scattered, moving.grid)
    limits = Limits((0.5, 0.5), (-8.0, 8.0), (False,))
    assert search_poses(fixed, sparse, limits, FEATURES, workers=1) == []


@pytest.mark.parametrize("scale", [0.25, 0.8, 1.0, 3.0])
@pytest.mark.parametrize("size", [40, 72])
def test_working_planes_have_pixels_of_one_size(scale: float, size: float) -> None:
    fixed = Plane(scene(0, (300, 400)), np.ones((300, 400), bool), Grid.of((300, 400), 0.5, unit="micrometre"))
    shape = (int(250 * min(1, 2 * scale)), int(200 * min(1, 2 * scale)))
    # As large as 250 x 200 pixels of the fixed image, or half of that.
    moving = Plane(scene(1, shape), np.ones(shape, bool), Grid.of(shape, 0.5 * max(scale, 0.5)))
    small = working_planes(fixed, moving, scale, size)
    one, other = (np.array(part.grid.spacing) for part in small)
    # Fields are whole numbers of pixels, so that each spacing is off by half a pixel over its field at most.
    least = min(min(part.grid.shape) for part in small)
    assert one == pytest.approx(other / scale, rel=1 / least)
    area = min(fixed.area, moving.area / scale**2) / np.prod(one)
    assert np.sqrt(area) == pytest.approx(size, rel=0.03)


def test_working_planes_divide_pixels_no_further_than_they_may_be() -> None:
    fixed, moving, _ = known_pair(0.0)
    for plane in working_planes(fixed, moving, 1.0, 3000):
        assert plane.grid.spacing == pytest.approx((1 / DIVISIBLE, 1 / DIVISIBLE))
    # Of one that holds nothing finer neither the pixels nor those of the other are divided.
    small = working_planes(replace(fixed, denoised=True), moving, 1.0, 3000)
    assert small[1] is moving
    np.testing.assert_array_equal(small[0].values, fixed.values)


def test_a_much_larger_field_is_kept_in_bounds() -> None:
    shape = (400, 400)
    large = Plane(scene(0, shape), np.ones(shape, bool), Grid.of(shape))
    small = large.cut((0, 0), (40, 40))
    for pair in (working_planes(large, small, 1.0, 20), working_planes(small, large, 1.0, 20)):
        assert {plane.grid.shape for plane in pair} == {(50, 50), (5, 5)}


def test_of_near_duplicates_the_better_is_kept() -> None:
    grid = Grid.of((100, 200), 0.1)
    middle = grid.centre

    def pose(score: float, shift: float = 0.0, rotation: float = 0.0, scale: float = 3.0) -> Pose:
        return Pose(Affine.similarity(rotation, scale, source=middle, target=middle * 3 + (0, shift)), score, 1.0)

    # The limit is 8 % of 20 units of the fixed image, 4.8 of the moving one.
    best, near, far = pose(3.0), pose(2.0, shift=4.7), pose(1.0, shift=4.9)
    assert distinct([near, far, best], grid) == [best, far]
    assert distinct([pose(2.5, shift=9.5), *(near, best)], grid)[1].score == 2.5
    turned = pose(2.9, rotation=180)
    assert distinct([turned, best], grid) == [best, turned]
    assert distinct([best, near, far], grid, least_distance=0.0001) == [best, near, far]
    assert distinct([], grid) == []
