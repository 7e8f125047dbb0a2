"""What may be searched, from what files claim, callers know, or nothing."""

from dataclasses import replace

import numpy as np
import pytest

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.search.limits import Limits, StartPoints, claimed_scale, limits_for, pixel_size
from correlight.search.pose import Pose
from correlight.transforms import Affine, Projective, Transform

# Electrons: 200 x 300 pixels of 0.01 µm. Light: 100 x 150 pixels of 0.04 µm, so four fixed pixels to one moving pixel.
ELECTRONS = Grid.of((200, 300), spacing=0.01, unit="micrometre")
LIGHT = Grid.of((100, 150), spacing=0.04, unit="micrometre")
UNCALIBRATED = Grid.of((100, 150))


def limits(
    fixed: Grid = ELECTRONS,
    moving: Grid = LIGHT,
    start: Transform | StartPoints | None = None,
    rotation: tuple[float, float] | None = None,
    scale: tuple[float, float] | None = None,
    mirror: bool = True,
) -> Limits:
    return limits_for(
        fixed,
        moving,
        start,
        rotation,
        scale,
        mirror,
        unknown_scale=(0.25, 4.0),
        calibrated_tolerance=0.15,
        least_overlap=0.4,
    )


def test_a_pixel_size_is_a_geometric_mean() -> None:
    assert pixel_size(Grid.of((9, 9), spacing=(0.02, 0.08))) == pytest.approx(0.04)


def test_a_scale_is_claimed_only_by_two_calibrated_files() -> None:
    assert claimed_scale(ELECTRONS, LIGHT) == pytest.approx(0.25)
    assert claimed_scale(LIGHT, ELECTRONS) == pytest.approx(4.0)
    assert claimed_scale(ELECTRONS, UNCALIBRATED) is None
    assert claimed_scale(UNCALIBRATED, ELECTRONS) is None


def test_calibrated_files_need_not_agree_to_the_last_percent() -> None:
    found = limits()
    # Micrometres per micrometre, whatever the pixels.
    assert found.scale == pytest.approx((1 / 1.15, 1.15))
    assert found.rotation == (0.0, 360.0)
    assert found.mirror == (False, True)
    assert found.least_overlap == 0.4


@pytest.mark.parametrize(("fixed", "moving"), [(ELECTRONS, UNCALIBRATED), (UNCALIBRATED, ELECTRONS)])
def test_without_calibration_pixels_count(fixed: Grid, moving: Grid) -> None:
    low, high = limits(fixed, moving).scale
    to_pixels = pixel_size(fixed) / pixel_size(moving)
    assert (low * to_pixels, high * to_pixels) == pytest.approx((0.25, 4.0))


def test_pictures_of_very_unlike_pixel_counts_may_show_fields_of_like_size() -> None:
    large = Grid.of((2000, 3000))
    assert limits(UNCALIBRATED, large).scale == pytest.approx((0.25, 40.0))
    assert limits(large, UNCALIBRATED).scale == pytest.approx((0.025, 4.0))


def test_what_the_caller_says_is_taken_over_what_files_claim() -> None:
    found = limits(rotation=(10.0, 30.0), scale=(0.2, 0.5), mirror=False)
    assert found.rotation == (10.0, 30.0)
    assert found.mirror == (False,)
    # Stated in pixels per pixel; one moving pixel is four fixed ones long.
    assert found.scale == pytest.approx((0.8, 2.0))


@pytest.mark.parametrize("mirrored", [False, True])
def test_around_a_start_rotation_and_scale_stay_near_and_the_handedness_is_kept(mirrored: bool) -> None:
    start = Affine.similarity(70.0, 1.3, mirrored, source=(1.0, 1.5), target=(2.0, 3.0))
    found = limits(start=start)
    assert found.rotation == pytest.approx((55.0, 85.0))
    assert found.scale == pytest.approx((1.3 / 1.15, 1.3 * 1.15))
    assert found.mirror == (mirrored,)
    assert limits(start=start, rotation=(0.0, 5.0), scale=(0.2, 0.3)).rotation == (0.0, 5.0)
    assert limits(start=start, rotation=(0.0, 5.0), scale=(0.2, 0.3)).scale == pytest.approx((0.8, 1.2))


def test_a_projective_start_counts_by_what_it_does_in_the_middle_of_the_field() -> None:
    there = Affine.similarity(40.0, 0.5, source=ELECTRONS.centre, target=(1.0, 1.0))
    to_middle, tilt = np.eye(3), np.eye(3)
    to_middle[:2, 2] = ELECTRONS.centre
    tilt[2, :2] = (0.2, -0.3)
    start = Projective(there.matrix @ to_middle @ tilt @ np.linalg.inv(to_middle))
    # The tilt about the middle changes nothing there to first order, but much at the corners.
    assert np.linalg.norm(start(ELECTRONS.corners()) - there(ELECTRONS.corners()), axis=1).min() > 0.05
    found = limits(start=start)
    assert found.rotation == pytest.approx((25.0, 55.0))
    assert found.scale == pytest.approx((0.5 / 1.15, 0.5 * 1.15))


def test_poses_stay_only_where_a_start_lays_the_field() -> None:
    start = Affine.similarity(20.0, 4.0)
    # The field is 3 µm wide; in units of the moving image a step is four times as long.
    poses = [
        Pose(Affine.of(start.linear, np.array([0.0, 4.0 * step])), score, 1.0)
        for step, score in ((0.0, 1.0), (0.89, 5.0), (0.91, 9.0), (-3.0, 20.0))
    ]
    assert limits(start=start).kept(poses) == poses[:2]
    assert limits().kept(poses) == poses


def test_the_nearest_turn_within_the_limits() -> None:
    limits = Limits((0.5, 2.0), (350.0, 370.0))
    assert limits.nearest(5.0, 1.0) == (5.0, 1.0)
    assert limits.nearest(355.0, 3.0) == (355.0, 2.0)
    assert limits.nearest(13.0, 0.1) == (10.0, 0.5)
    assert limits.nearest(340.0, 1.0) == (350.0, 1.0)
    assert Limits((1.0, 1.0)).nearest(-20.0, 1.0) == (340.0, 1.0)


def test_one_click_narrows_nothing_but_the_place() -> None:
    click = StartPoints(np.array([[1.0, 1.5]]), np.array([[3.0, 3.0]]))
    assert replace(limits(start=click), start=None) == limits()
    poses = [
        Pose(Affine.similarity(turn, 1.0, mirror, source=(1.0, 1.5), target=(3.0, 3.0 + off)), 1.0, 1.0)
        for turn, mirror, off in ((0.0, False, 0.0), (200.0, True, 0.44), (90.0, False, 0.46))
    ]
    # The field is 3 µm wide, of which a click may be off by 15 %.
    assert limits(start=click).kept(poses) == poses[:2]


def test_two_clicks_tell_the_scale_where_the_files_do_not() -> None:
    clicks = StartPoints(np.array([[0.5, 0.5], [1.5, 2.5]]), np.array([[10.0, 10.0], [50.0, 90.0]]))
    found = limits(moving=UNCALIBRATED, start=clicks)
    assert found.scale == pytest.approx((40 / 1.4, 40 * 1.4))
    assert found.mirror == (False, True)
    # Files that state it know it better, and so does the caller.
    assert limits(start=clicks).scale == limits().scale
    assert limits(moving=UNCALIBRATED, start=clicks, scale=(0.2, 0.5)).scale == pytest.approx((20.0, 50.0))
    close = StartPoints(np.array([[0.5, 0.5], [0.6, 0.5]]), np.array([[10.0, 10.0], [50.0, 90.0]]))
    assert replace(limits(moving=UNCALIBRATED, start=close), start=None) == limits(moving=UNCALIBRATED)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [10.0, 33.0, 200.0])
def test_two_clicks_limit_the_rotation_of_either_hand(rotation: float, mirror: bool) -> None:
    pose = Affine.similarity(rotation, 20.0, mirror)
    here = np.array([[0.2, 0.3], [1.6, 2.6]])
    found = limits(moving=UNCALIBRATED, start=StartPoints(here, pose(here)))
    first, last = found.rotations(mirror)
    assert ((first + last) / 2 - rotation + 180) % 360 - 180 == pytest.approx(0, abs=1e-9)
    assert 10 < last - first < 60
    # Clicks that are off by as much as is allowed, across the line through both, lie within.
    across = np.array([here[1, 1] - here[0, 1], here[0, 0] - here[1, 0]]) / np.linalg.norm(here[1] - here[0])
    for side in (-1, 1):
        off = here + 0.149 * 3.0 * side * np.array([-1, 1])[:, None] * across
        shaky = limits(moving=UNCALIBRATED, start=StartPoints(here, pose(off)))
        nearest, _ = shaky.nearest(rotation, 20.0, mirror)
        assert nearest == pytest.approx(rotation)
    # What the caller says holds for both hands, and clicks close together leave the rotation open.
    assert limits(start=StartPoints(here, pose(here)), rotation=(5.0, 9.0)).rotations(mirror) == (5.0, 9.0)
    close = StartPoints(here[:1] + np.array([[0.0, 0.0], [0.6, 0.0]]), pose(here))
    assert limits(start=close).rotations(mirror) == (0.0, 360.0)


def test_two_clicks_tell_the_turn_of_either_hand() -> None:
    here, there = np.array([[0.5, 0.5], [1.5, 2.5]]), np.array([[5.0, 5.0], [7.0, 9.0]])
    straight = Affine.similarity(0.0, 2.0, source=here[0], target=there[0])
    # The mirror image through the line of both clicks serves them as well.
    line = (here[1] - here[0]) / np.linalg.norm(here[1] - here[0])
    linear = 2.0 * (2 * np.outer(line, line) - np.eye(2))
    mirrored = Affine.of(linear, there[0] - linear @ here[0])
    turned = Affine.similarity(60.0, 2.0, source=here[0], target=there[0])
    poses = [Pose(transform, 1.0, 1.0) for transform in (straight, mirrored, turned)]
    assert limits(start=StartPoints(here, there)).kept(poses) == poses[:2]


@pytest.mark.parametrize("moving", [np.zeros((0, 2)), np.zeros((2, 2)), np.zeros(2)])
def test_what_is_no_click_is_refused(moving: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"at least one|one place"):
        StartPoints(moving, moving)
