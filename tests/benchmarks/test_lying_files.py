"""The benchmark of files that lie: what is stated, and errors counted in pixels that were never stretched."""

import numpy as np
import pytest

from benchmarks.claims import STRETCH, Outcome, _line, _narrow, outcome
from benchmarks.protocol import Draw
from correlight.simulate import pair
from correlight.transforms import Affine


@pytest.fixture(scope="module")
def drawn() -> Draw:
    """Two detectors of one scan, the second image turned and mirrored."""
    pixels = np.asarray(pair("grains", 4, electron_shape=(320, 320), light_shape=(64, 64)).fixed.levels[0][0])
    turn = Affine.similarity(90.0, 1.0, True, (159.5, 159.5))
    turned = np.rot90(pixels[:, ::-1])
    for candidate in (turned, np.rot90(pixels[:, ::-1], -1)):
        place = np.rint(turn(np.array([[40.0, 100.0]])))[0].astype(int)
        if candidate[tuple(place)] == pixels[40, 100]:
            turned = candidate
    return Draw("grains", pixels, np.ascontiguousarray(turned), turn, 6.4)


@pytest.mark.parametrize("factor", [1.0, 1.1, None])
def test_errors_are_those_of_the_pixels_as_drawn(drawn: Draw, factor: float | None) -> None:
    found = outcome(drawn, factor)
    assert found.accepted
    assert found.right
    assert found.error < 1.0
    assert found.said is (factor != 1.0)
    assert found.mirror_is_said


def test_a_narrow_picture_shows_the_same_places() -> None:
    columns = np.broadcast_to(np.arange(60, dtype=np.float32), (2, 60))
    narrow, there = _narrow(columns)
    assert narrow.shape == (2, round(60 * STRETCH))
    places = np.array([[0.0, 10.0], [1.0, 33.0]])
    for place, (_, column) in zip(places, there(places), strict=True):
        assert np.interp(column, np.arange(narrow.shape[1]), narrow[0]) == pytest.approx(place[1], abs=0.05)


def test_a_line_counts_what_was_said_of_accepted_results_only() -> None:
    told = [Outcome(True, True, True, 1.0, 5.0, True), Outcome(False, False, True, 90.0, 9.0, True)]
    assert _line(0.97, told) == "| -3 % | 2 | 1 | 0 | 1 of 1 | 1.00 | 7.0 |"
