"""A stretch of one image along one of its axes."""

from dataclasses import replace

import numpy as np
import pytest

from correlight.appearance.channels import edges
from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.search.correlate import ByFeatures
from correlight.search.limits import Limits
from correlight.search.poses import PoseSearch
from correlight.search.stretch import STRETCHES, Stretch, StretchSearch, implied, stretches
from correlight.transforms import Affine
from tests.phantoms import plane, texture

GRID = Grid.of((80, 100), 0.5, unit="micrometre")


@pytest.mark.parametrize("role", ["moving", "fixed"])
@pytest.mark.parametrize("axis", [0, 1])
def test_only_the_stretched_image_is_read_otherwise_and_keeps_its_area(role: str, axis: int) -> None:
    stretch = Stretch(role, axis, 1.44)  # type: ignore[arg-type]
    other = "fixed" if role == "moving" else "moving"
    assert stretch.grid(GRID, other) is GRID  # type: ignore[arg-type]
    read = stretch.grid(GRID, role)  # type: ignore[arg-type]
    assert np.prod(read.spacing) == pytest.approx(np.prod(GRID.spacing))
    assert read.spacing[1 - axis] / read.spacing[axis] == pytest.approx(1.44)
    assert role in stretch.sentence
    assert "1.44" in stretch.sentence


@pytest.mark.parametrize("role", ["moving", "fixed"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("rotation", [0.0, 33.0, 250.0])
def test_an_affine_pose_tells_what_is_left_of_a_stretch(role: str, axis: int, rotation: float) -> None:
    stretch = Stretch(role, axis, 1.2)  # type: ignore[arg-type]
    longer = np.ones(2)
    longer[axis] = 1.1
    turned, by = Affine.similarity(rotation, 1.7, mirror=True), Affine.of(np.diag(longer), (0.0, 0.0))
    pose = by @ turned if role == "moving" else turned @ by.inverse()
    exact, left = stretch.refined(pose, STRETCHES)
    assert exact.factor == pytest.approx(1.32)
    singular = np.linalg.svd(left.linear, compute_uv=False)
    assert singular == pytest.approx([1.7 * np.sqrt(1.1) ** (1 if role == "moving" else -1)] * 2)
    assert left.rotation == pytest.approx(rotation)
    assert stretch.refined(pose, (1.0, 1.25))[0].factor == 1.25


@pytest.mark.parametrize("within", [STRETCHES, (1.2, 1.3), (1.0, 2.5)])
def test_every_stretch_is_near_one_that_is_tried(within: tuple[float, float]) -> None:
    tried = [one for one in stretches(within) if (one.role, one.axis) == ("moving", 0)]
    assert len(list(stretches(within))) == 4 * len(tried)
    for factor in np.geomspace(max(1.08, within[0]), within[1], 30):
        assert min(abs(np.log(factor / one.factor)) for one in tried) <= np.log(1.12) + 1e-9


def test_without_a_stretch_none_is_tried() -> None:
    assert not list(stretches((1.0, 1.0)))


def test_the_stretch_of_an_image_is_the_best_of_those_that_are_tried() -> None:
    scene = texture((120, 120), 3, 2.5)
    fixed = plane(scene)
    longer = np.repeat(scene, 3, axis=0)[::2]
    moving = plane(longer)
    limits = Limits((0.95, 1.05), (-10.0, 10.0), (False,))
    engine = ByFeatures(edges)
    search = StretchSearch(PoseSearch(fixed, moving, limits.for_stretch(1.6), engine, 1), (1.4, 1.6))
    tried = search.tried(lambda done: None)
    best = tried[0].stretch
    # Of images that are not rotated, one along y and the other along x is the same as the reverse.
    assert (best.role, best.axis) in (("moving", 0), ("fixed", 1))
    assert best.factor == pytest.approx(1.5, rel=0.05)
    assert tried[0].score == max(one.score for one in tried)
    # Made exact by a fit, it scores more than a fit without a stretch; a fit that is elsewhere scores nothing.
    right = search.exact(replace(tried[0], stretch=Stretch("moving", 0, 1.4)), pose_under(1.4, fixed, moving))
    whole = pose_under(1.4, fixed, moving)
    similar = Affine.of(np.eye(2) * whole.scale, whole.offset)
    left = search.exact(replace(tried[0], stretch=Stretch("moving", 0, 1.4)), similar)
    assert right.stretch.factor == pytest.approx(1.5, rel=1e-3)
    assert right.pose.scale == pytest.approx(np.sqrt(1.5), rel=1e-3)
    assert right.score > left.score > 0
    elsewhere = Affine.of(np.eye(2), (60.0, 60.0)) @ pose_under(1.4, fixed, moving)
    assert search.exact(replace(tried[0], stretch=Stretch("moving", 0, 1.4)), elsewhere).score == 0


def pose_under(factor: float, fixed: Plane, moving: Plane) -> Affine:
    """The true map where the moving image, 1.5 times too long along y, is taken to be so many times too long."""
    stretch = Stretch("moving", 0, factor)
    pixels = Affine.of(np.diag([1.5, 1.0]), (0.25, 0.0))
    return Affine(stretch.of(moving, "moving").grid.matrix @ pixels.matrix @ np.linalg.inv(fixed.grid.matrix))


@pytest.mark.parametrize("role", ["moving", "fixed"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("mirror", [False, True])
def test_a_map_implies_the_stretch_of_the_image_and_axis_that_has_it(role: str, axis: int, mirror: bool) -> None:
    long = np.ones(2)
    long[axis] = 1.3
    along, plain = np.diag(long), Affine.similarity(37.0, 0.8, mirror)
    linear = along @ plain.linear if role == "moving" else plain.linear @ np.linalg.inv(along)
    found = implied(Affine.of(linear, (3.0, 4.0)), STRETCHES)
    assert found is not None
    assert (found.stretch.role, found.stretch.axis) == (role, axis)
    assert found.stretch.factor == pytest.approx(1.3)
    assert found.pose.rotation == pytest.approx(plain.rotation)
    assert found.stretch.like(Stretch(role, axis, 1.28))  # type: ignore[arg-type]
    assert not found.stretch.like(Stretch(role, axis, 1.1))  # type: ignore[arg-type]
    assert not found.stretch.like(Stretch(role, 1 - axis, 1.3))  # type: ignore[arg-type]


def test_other_maps_imply_no_stretch_along_an_axis() -> None:
    assert implied(Affine.similarity(20.0, 1.5, False), STRETCHES) is None
    # Too little, too much, in a direction between the axes of both images, and not asked for.
    assert implied(Affine.of(np.diag((1.05, 1.0)), (0.0, 0.0)), STRETCHES) is None
    assert implied(Affine.of(np.diag((1.8, 1.0)), (0.0, 0.0)), STRETCHES) is None
    between = Affine.similarity(45.0, 1.0, False).linear
    assert implied(Affine.of(between @ np.diag((1.3, 1.0)) @ between.T, (0.0, 0.0)), STRETCHES) is None
    assert implied(Affine.of(np.diag((1.2, 1.0)), (0.0, 0.0)), (1.3, 1.6)) is None
