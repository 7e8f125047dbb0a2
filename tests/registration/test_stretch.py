"""A pair of which one image is too long along one axis: found where nothing else is, and said."""

import cv2
import numpy as np
import pytest

from correlight.images.image import Image
from correlight.registration.held import beyond_stretch
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.simulate import SimulatedPair
from tests.small_pairs import cell

STRETCH = 1.4


@pytest.fixture(scope="module")
def couple() -> SimulatedPair:
    return cell(rotation=35.0, mirror=False, stretch=1.0, shear=0.0)


def longer(couple: SimulatedPair) -> Image:
    """The light image with more rows than there were, of pixels as they were."""
    rows, columns = couple.moving.grid.shape
    pixels = np.asarray(couple.moving.levels[0][couple.moving.channel_index("reflected")], np.float32)
    return Image.from_array(cv2.resize(pixels, (columns, round(rows * STRETCH))), couple.moving.grid.spacing)


def searched(couple: SimulatedPair, **limits: tuple[float, float]) -> Result:
    return register(couple.fixed, longer(couple), rotation=(32, 38), mirror=False, workers=1, **limits)  # type: ignore[arg-type]


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
