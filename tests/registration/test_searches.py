"""Searches of recipes keep to the limits and to the start that they are given, wherever the truth lies."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy import ndimage

from correlight.appearance import APPEARANCES
from correlight.images.image import Image
from correlight.intensity.planes import PlaneCandidate
from correlight.intensity.search import FeatureSearch, PoseSettings
from correlight.methods.protocols import Dimension
from correlight.methods.task import ImagePair, Task
from correlight.recipes import Recipe, load
from correlight.registration.options import Methods
from correlight.registration.register import register
from correlight.search.limits import Limits
from correlight.transforms import Affine
from tests.registration.by_recipe import SERVED, close_around, made_for, rotation_of, task_of
from tests.small_pairs import Couple, organelles

pytestmark = pytest.mark.usefixtures("beads_found_once")
SEARCHES = [
    (recipe, dimension)
    for recipe in ("classical", "mutual-information", "log-mi-3d", "fiducials")
    for dimension in SERVED[recipe]
]


def searched(recipe: Recipe, pair: Couple, limits: Limits, start: Affine | None = None) -> list[Affine]:
    """The poses that the search of a recipe finds."""
    return [pose.linear for pose in Methods.of(recipe).search.find(task_of(recipe, pair, limits, start)).poses]


@pytest.mark.parametrize(("recipe", "dimension"), SEARCHES)
def test_a_search_keeps_to_limits_that_the_truth_lies_beyond(recipe: str, dimension: Dimension) -> None:
    """So that a limit that a search says it heeds, and does not, is found."""
    pair, options = made_for(recipe, dimension), SERVED[recipe][dimension]
    angle = rotation_of(pair.moving_from_fixed) + 90
    limits = Limits(
        (1.295, 1.305),
        (angle - 0.5, angle + 0.5) if "rotation" in options else (0.0, 360.0),
        (True,) if "mirror" in options else (False, True),
        0.35,
    )
    poses = searched(load(recipe), pair, limits)
    assert poses
    if "mirror" in options:
        # Searches by images mirror in the plane, and try both directions of z besides; beads mirror in space.
        axes = 3 if recipe == "fiducials" and dimension == "3-D" else 2
        assert all(np.linalg.det(pose.linear[-axes:, -axes:]) < 0 for pose in poses)
    if dimension != "2-D":
        # Wrong poses of stacks run off when they are refined; that they were searched elsewhere is what can be said.
        middle = pair.places.mean(axis=0)[None]
        there = pair.moving_from_fixed(middle)
        apart = [abs(pose.scale / pair.moving_from_fixed.scale - 1) for pose in poses]
        moved = [float(np.linalg.norm(pose(middle) - there)) / max(pair.moving.grid.extent) for pose in poses]
        assert all(max(both) > 0.03 for both in zip(apart, moved, strict=True))
        return
    for pose in poses:
        # Poses are refined a little after they were found; one that moves by a tenth of the width is set back. So far
        # from the middle of the field as pixels are on average, that is a fifth in scale, or 12 degrees.
        assert 1.295 / 1.22 < pose.scale < 1.305 * 1.22
        assert abs((rotation_of(pose) - angle + 180) % 360 - 180) < 0.5 + 12


@pytest.mark.parametrize(("recipe", "dimension"), SEARCHES)
def test_a_search_stays_near_a_start_that_the_truth_is_far_from(recipe: str, dimension: Dimension) -> None:
    pair = made_for(recipe, dimension)
    grid, middle = pair.fixed.grid, pair.places.mean(axis=0)
    away = np.zeros(len(middle))
    away[-1] = 0.5 * grid.extent[-1]
    start = pair.moving_from_fixed @ Affine.of(np.eye(len(away)), away)
    size = pair.moving_from_fixed.scale
    poses = searched(load(recipe), pair, close_around(pair), start)
    if not poses:
        # There is nothing to be found near this start, but there is near the right one.
        assert searched(load(recipe), pair, close_around(pair), pair.moving_from_fixed)
    far = [np.linalg.norm(pose(middle[None]) - pair.moving_from_fixed(middle[None])) / size for pose in poses]
    assert all(one > 0.1 * grid.extent[-1] for one in far)


@pytest.mark.parametrize("ndim", [2, 3])
def test_clouds_keep_to_a_start_and_to_their_handedness(ndim: int) -> None:
    pair = organelles(ndim)
    half = np.eye(ndim)
    half[-2:, -2:] *= -1
    middle = pair.fixed.grid.centre
    around_z = Affine.of(half, middle - half @ middle)
    right = register(pair.fixed, pair.moving, "point-clouds", start=pair.moving_from_fixed)
    wrong = register(pair.fixed, pair.moving, "point-clouds", start=pair.moving_from_fixed @ around_z)
    assert pair.error(right) < 2 * max(pair.moving.grid.spacing) / 3
    assert pair.error(wrong) > 0.1 * max(pair.fixed.grid.extent)
    assert not wrong
    mirrored = Image.from_array(np.asarray(pair.moving.levels[0])[..., ::-1].copy(), pair.moving.grid.spacing)
    kept = register(pair.fixed, mirrored, "point-clouds", mirror=False)
    assert not kept.poses[0].linear.mirrored
    assert not kept


def test_what_wrong_poses_outscore_is_refined_only_where_nothing_was_refused_before() -> None:
    """The right pose lies outside the limits; the search of a last resort then proposes nothing, and says why."""
    pixels = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal((96, 96)), 2.0)
    images = Image.from_array(pixels), Image.from_array(pixels[::-1, ::-1])
    stated = ImagePair(*images, appearance=APPEARANCES["edges"])
    search, limits = FeatureSearch(PoseSettings()), Limits((0.95, 1.05), (0.0, 40.0), (False,))
    usual = search.find(Task(stated, limits))
    assert isinstance(usual, PlaneCandidate)
    assert usual.with_scores(Task(stated, limits), usual.poses[0].moving_from_fixed).lost
    last = search.find(Task(stated, replace(limits, last_resort=True)))
    assert not last.poses
    assert last.nothing == "Deliberately wrong poses score more than the best pose that was found."


def test_a_stretch_is_followed_only_if_it_makes_images_more_alike_than_the_best_pose_without() -> None:
    pixels = ndimage.gaussian_filter(np.random.default_rng(6).standard_normal((128, 128)), 2.5).astype(np.float32)
    longer = cv2.resize(pixels, (128, 179))
    pair = ImagePair(Image.from_array(pixels), Image.from_array(longer), appearance=APPEARANCES["edges"])
    search, task = FeatureSearch(PoseSettings()), Task(pair, Limits((1.0, 1.4), (-4.0, 4.0), (False,)))
    candidate = search.find(task)
    found = search.stretch(task, candidate, (1.2, 1.6))
    assert found is not None
    # Of images that are not rotated, one along y and the other along x is the same as the reverse.
    assert (found.stretch.role, found.stretch.axis) in (("moving", 0), ("fixed", 1))
    assert found.stretch.factor == pytest.approx(1.4, abs=0.05)
    better = replace(candidate.poses[0], score=found.score)
    assert search.stretch(task, replace(candidate, poses=(better,)), (1.2, 1.6)) is None
