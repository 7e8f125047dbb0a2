"""Files that state wrong pixel sizes: found, allowed for, and said."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.tilt import Tilt
from correlight.registration.register import register
from correlight.registration.result import Result
from correlight.registration.stated import as_stated, may_be_stretched, readings
from correlight.simulate.pair import SimulatedPair
from tests.small_pairs import cell

SQUARE = Grid.of((300, 400), 0.5, unit="micrometre")
FLAT = Grid.of((300, 400), (0.5, 0.8), unit="micrometre")
UNKNOWN = Grid.of((300, 400), 1.0)


@pytest.mark.parametrize(
    ("fixed", "moving", "free", "count"),
    [
        (SQUARE, SQUARE, True, 2),
        (SQUARE, SQUARE, False, 1),
        (SQUARE, FLAT, True, 3),
        (FLAT, FLAT, False, 3),
        (SQUARE, UNKNOWN, True, 1),
        (UNKNOWN, UNKNOWN, True, 1),
    ],
)
def test_only_claims_that_can_be_wrong_are_read_otherwise(fixed: Grid, moving: Grid, free: bool, count: int) -> None:
    found = list(readings(fixed, moving, scale_is_free=free))
    assert len(found) == count
    assert found[0].fixed is fixed
    assert found[0].moving is moving
    assert found[0].believed


@pytest.fixture(scope="module")
def couple() -> SimulatedPair:
    return cell(rotation=130.0, mirror=True, data_bar=None)


# Rotations that are searched.
NEAR = (127.0, 133.0)


def error(result: Result, couple: SimulatedPair, moving: Image) -> float:
    """Mean error in fixed pixels; pixels of the moving image are what the truth of the pair knows."""
    places = couple.fixed.grid.lattice(8)
    found = moving.grid.index(result.moving_from_fixed(places))
    stretch = np.array(couple.moving.grid.shape) / moving.grid.shape
    true = couple.moving.grid.index(couple.moving_from_fixed(places))
    apart = np.linalg.norm((found + 0.5) * stretch - 0.5 - true, axis=1) * couple.moving.grid.spacing[0]
    return float(apart.mean() / couple.moving_from_fixed.scale / couple.fixed.grid.spacing[0])


def test_a_pixel_size_that_is_three_percent_off_is_said(couple: SimulatedPair) -> None:
    def said(off: float) -> bool:
        grid = Grid.of(couple.moving.grid.shape, off * couple.moving.grid.spacing[0], unit="micrometre")
        result = register(couple.fixed, replace(couple.moving, grid=grid), moving_channel="reflected", rotation=NEAR)
        assert result
        return any("pixel sizes in the files do not agree" in reason for reason in result.verdict.reasons)

    # Claimed like this, a micrometre of one image is a micrometre of the other.
    assert not said(1 / couple.moving_from_fixed.scale)
    assert said(1.03 / couple.moving_from_fixed.scale)


def test_a_pixel_size_that_is_far_off_is_found_and_said(couple: SimulatedPair) -> None:
    off = couple.moving.grid.spacing[0] * 1.3
    moving = replace(couple.moving, grid=Grid.of(couple.moving.grid.shape, off, unit="micrometre"))
    result = register(couple.fixed, moving, moving_channel="reflected", rotation=NEAR)
    assert result
    assert error(result, couple, moving) < 2.5
    assert any("pixel sizes in the files do not agree" in reason for reason in result.verdict.reasons)
    assert any("mirrored relative" in reason for reason in result.verdict.reasons)
    assert result.scale_claimed is not None
    assert result.scale_found / result.scale_claimed == pytest.approx(1.3 * couple.moving_from_fixed.scale, rel=0.02)


def test_exchanged_sides_of_pixels_are_found_and_said(couple: SimulatedPair) -> None:
    own = couple.moving.grid
    channel = couple.moving.channel_index("reflected")
    flat = cv2.resize(np.asarray(couple.moving.levels[0][channel], np.float32), (own.shape[1] * 3 // 2, own.shape[0]))
    narrow = own.spacing[1] / 1.5
    lying = Image.from_array(flat, spacing=(narrow, own.spacing[0]))
    result = register(couple.fixed, lying, rotation=NEAR)
    assert result
    assert result.moving.spacing == lying.grid.spacing
    assert any("two sides of its pixels exchanged" in reason for reason in result.verdict.reasons)
    assert error(result, couple, lying) < 2.5


def test_a_result_of_another_reading_is_restated_in_the_units_of_the_files(couple: SimulatedPair) -> None:
    _, exchanged, _ = readings(SQUARE, FLAT, scale_is_free=True)
    assert exchanged.moving.spacing == (0.8, 0.5)
    result = register(couple.fixed, couple.moving, moving_channel="reflected", rotation=NEAR)
    restated = as_stated(result, exchanged, SQUARE, FLAT)
    places = SQUARE.lattice(5)
    before = exchanged.moving.index(result.moving_from_fixed(places))
    assert FLAT.index(restated.moving_from_fixed(places)) == pytest.approx(before)
    assert as_stated(result, next(readings(SQUARE, FLAT, scale_is_free=True)), SQUARE, FLAT) is result
    # Accepted and exact: no reason to look for a stretch; with errors of 2 % of the width there is one.
    assert result
    assert not may_be_stretched(result)
    predicted = result.predicted_error
    wide = np.full_like(predicted.values, 0.02 * max(predicted.grid.extent))
    assert may_be_stretched(replace(result, predicted_error=replace(predicted, values=wide)))


def test_a_tilt_that_shortens_enough_is_undone_in_either_file_or_in_both() -> None:
    steep, slight = Tilt(60.0, 0), Tilt(10.0, 1)
    found = list(readings(SQUARE, SQUARE, scale_is_free=False, tilts=(steep, steep)))
    assert [(one.fixed.spacing[0], one.moving.spacing[0]) for one in found] == [
        pytest.approx(pair) for pair in ((0.5, 0.5), (0.5, 1.0), (1.0, 0.5), (1.0, 1.0))
    ]
    assert not any(one.last_resort for one in found)
    assert "tilted by 60 degrees in the fixed image" in found[2].sentence
    assert len(list(readings(SQUARE, SQUARE, scale_is_free=False, tilts=(slight, None)))) == 1


def test_a_stated_tilt_is_allowed_for_and_said(couple: SimulatedPair) -> None:
    """Foreshortened by more than is searched where no file states it."""
    tilt = Tilt(58.0, 0)
    rows, columns = couple.moving.grid.shape
    pixels = np.asarray(couple.moving.levels[0][couple.moving.channel_index("reflected")], np.float32)
    short = cv2.resize(pixels, (columns, round(rows / tilt.factor)), interpolation=cv2.INTER_AREA)
    seen = replace(Image.from_array(short, couple.moving.grid.spacing), source={"tilt": tilt})
    result = register(couple.fixed, seen, rotation=NEAR)
    assert result, result.verdict.reasons
    assert result.model == "affine"
    assert result.moving.spacing == seen.grid.spacing
    assert any("tilted by 58 degrees in the moving image" in reason for reason in result.verdict.reasons)
    assert error(result, couple, seen) < 2.5
