"""A pair of which one image is too long along one axis: found where nothing else is, and said."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from correlight.evidence.verdict import Verdict
from correlight.images.image import Image
from correlight.methods.task import ImagePair
from correlight.recipes import load
from correlight.registration.held import beyond_stretch
from correlight.registration.options import Methods, Options
from correlight.registration.register import _replaces, _Tried, _Walk, register
from correlight.registration.result import Result
from correlight.registration.stated import Reading
from correlight.simulate import SimulatedPair
from tests.phantoms import about_the_middle, seen_through
from tests.small_pairs import cell

STRETCH = 1.4
# Moving pixels per fixed pixel: 0.54 without the stretch; with it undone over the same area, 1.4 ** 0.5 times as many.
SIZE = (0.5, 0.7)


@pytest.fixture(scope="module")
def couple() -> SimulatedPair:
    return cell(rotation=35.0, mirror=False, stretch=1.0, shear=0.0)


def longer(couple: SimulatedPair) -> Image:
    """The light image with more rows than there were, of pixels as they were."""
    rows, columns = couple.moving.grid.shape
    pixels = np.asarray(couple.moving.levels[0][couple.moving.channel_index("reflected")], np.float32)
    return Image.from_array(cv2.resize(pixels, (columns, round(rows * STRETCH))), couple.moving.grid.spacing)


def searched(couple: SimulatedPair, **limits: tuple[float, float]) -> Result:
    return register(couple.fixed, longer(couple), rotation=(34.5, 35.5), scale=SIZE, mirror=False, workers=1, **limits)  # type: ignore[arg-type]


@pytest.mark.slow
def test_a_stretch_is_found_and_said(couple: SimulatedPair) -> None:
    result = searched(couple)
    assert result, result.verdict.reasons
    assert result.model == "affine"
    assert any("moving image is stretched by 1.4" in reason and "y axis" in reason for reason in result.verdict.reasons)
    places = couple.fixed.grid.lattice(8)
    true = couple.moving_from_fixed(places)
    half = couple.moving.grid.spacing[0] / 2
    apart = result.moving_from_fixed(places) - (true + half) * (STRETCH, 1) + half * np.array([1.0, 1.0])
    assert np.linalg.norm(apart, axis=1).mean() < 0.02 * max(couple.fixed.grid.extent)
    # The same result does not leave limits that it lies outside of.
    linear = result.poses[0].linear
    assert beyond_stretch(linear, (1.2, 1.5), couple.fixed.grid) is None
    beyond = beyond_stretch(linear, (1.0, 1.1), couple.fixed.grid)
    assert beyond is not None
    assert "outside the 1 to 1.1" in beyond.sentence


@pytest.mark.slow
def test_a_stretch_is_not_searched_if_it_is_ruled_out(couple: SimulatedPair) -> None:
    result = searched(couple, stretch=(1.0, 1.0))
    assert not result
    assert not any("stretch of either image" in reason for reason in result.verdict.reasons)


def test_a_stretch_that_an_affine_map_holds_is_read_once_more_where_it_was_not_accepted() -> None:
    """Poses are scored without a stretch: the map is right, and scores less than it does with the stretch undone."""
    truth = about_the_middle(np.diag([1.12, 1.0]))
    fixed, moving = (Image.from_array(one.values[:180, :180], 1.0) for one in seen_through(truth))
    recipe = load("classical")
    methods = Methods.of(recipe)
    assert methods.appearance is not None
    stated = ImagePair(fixed, moving, appearance=methods.appearance.appearance)
    options = Options(rotation=(-0.5, 0.5), scale=(1.05, 1.066), mirror=False)
    walk = _Walk(recipe, methods, "2-D", options, stated, 0, 1, lambda stage, done: None)

    def not_accepted(tried: _Tried) -> _Tried:
        return replace(tried, result=replace(tried.result, verdict=Verdict("doubtful", 0.5, ("It may be.",))))

    first = walk._try(Reading(fixed.grid, moving.grid))
    assert first.result.model == "affine"
    reading = walk._implied(not_accepted(first))
    assert reading is not None
    assert reading.stretch is not None
    # Of images that are not rotated, one along y and the other along x is the same as the reverse.
    assert (reading.stretch.role, reading.stretch.axis) in (("moving", 0), ("fixed", 1))
    assert reading.stretch.factor == pytest.approx(1.12, rel=0.01)
    again = walk._try(reading)
    assert again.result.status == "accepted"
    assert again.candidate.poses[0].score > first.candidate.poses[0].score
    # Read so once, it is not read so again; nor is it where the map was accepted.
    assert walk._implied(not_accepted(again)) is None
    assert walk._implied(again) is None

    # Of two that are accepted, that without the stretch must be the more exact one to stay.
    def accepted(tried: _Tried, error: float) -> _Tried:
        known = tried.result.predicted_error
        as_exact = replace(known, values=np.full_like(known.values, error))
        return replace(tried, result=replace(tried.result, verdict=again.result.verdict, predicted_error=as_exact))

    assert _replaces(accepted(again, 1.0), accepted(first, 2.0))
    assert not _replaces(accepted(again, 2.0), accepted(first, 1.0))
