"""The benchmark of wrong metadata: what is reported, and errors counted in pixels that were never stretched."""

import numpy as np
import pytest

from benchmarks.protocol import Draw
from benchmarks.wrong_metadata import STRETCH, Outcome, _line, _narrow, outcome
from correlight.simulate import pair
from correlight.transforms import Affine


@pytest.fixture
def drawn() -> Draw:
    """A few grains twice, the second time turned and mirrored."""
    pixels = np.asarray(pair("grains", 4, electron_shape=(144, 144), light_shape=(64, 64)).fixed.levels[0][0])
    turn = Affine.similarity(90.0, 1.0, True, (71.5, 71.5))
    y, x = np.rint(turn.inverse()(np.indices((144, 144)).reshape(2, -1).T)).astype(int).T
    return Draw("grains", pixels, pixels[y, x].reshape(144, 144), turn, 6.4)


@pytest.mark.slow
def test_exchanged_sides_of_pixels_win_over_the_reading_as_stated(drawn: Draw) -> None:
    found = outcome(drawn, None)
    assert found.accepted
    assert found.right
    assert found.error < 1.0
    assert found.reported
    assert found.mirroring_is_reported


def test_a_narrow_image_shows_the_same_places() -> None:
    columns = np.broadcast_to(np.arange(0, 6000, 100, dtype=np.float32), (2, 60))
    narrow, there = _narrow(columns)
    assert narrow.shape == (2, round(60 * STRETCH))
    places = np.array([[0.0, 10.0], [1.0, 33.0]])
    for place, (_, column) in zip(places, there(places), strict=True):
        assert np.interp(column, np.arange(narrow.shape[1]), narrow[0]) == pytest.approx(100 * place[1], abs=1)


def test_a_line_counts_what_was_reported_of_accepted_results_only() -> None:
    told = [Outcome(True, True, True, 1.0, 5.0, True), Outcome(False, False, True, 90.0, 9.0, True)]
    assert _line(0.97, told) == "| -3 % | 2 | 1 | 0 | 1 of 1 | 1.00 | 7.0 |"
