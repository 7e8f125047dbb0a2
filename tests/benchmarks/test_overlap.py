"""Draws of two windows that have little in common."""

import numpy as np
import pytest

from benchmarks.overlap import draw_overlapping
from tests.benchmarks.drawn import PAIR


@pytest.mark.parametrize("seed", range(4))
def test_two_windows_show_15_to_30_percent_of_the_smaller_one_alike(seed: int) -> None:
    drawn = draw_overlapping(PAIR, seed)
    assert drawn.moving_from_fixed is not None
    assert drawn.moving_mask is None
    assert drawn.error(drawn.moving_from_fixed) == pytest.approx(0, abs=1e-9)
    places = drawn.places
    assert places is not None
    there = drawn.moving_from_fixed(places)
    assert np.all(there >= -0.5)
    assert np.all(there <= np.array(drawn.moving.shape) - 0.5)
    # Each place stands for as large a part of the fixed window; the moving window is known by its canvas only.
    share = len(places) / 100**2
    assert 0.05 < share < 0.4
    assert np.array_equal(drawn.fixed, draw_overlapping(PAIR, seed).fixed)
