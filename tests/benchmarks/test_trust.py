"""What the calibration is drawn from: couples of all kinds, files that are a little wrong, bounds counted by place."""

from collections import Counter

import numpy as np
import pytest

from benchmarks import trust
from benchmarks.bound import compared
from correlight.evidence.predicted_error import PredictedError
from correlight.geometry import Grid
from correlight.simulate import pair


def test_every_other_couple_is_of_one_kind_and_the_others_are_of_all() -> None:
    couples = [trust._kinds(number) for number in range(250)]
    assert {kind for couple in couples for kind in couple} == set(trust.KINDS)
    assert 100 < sum(one == other for one, other in couples) < 150
    different = Counter(frozenset(couple) for couple in couples if len(set(couple)) == 2)
    count = len(trust.KINDS)
    assert len(different) == count * (count - 1) // 2


def test_couples_that_stand_in_the_file_are_not_run_again() -> None:
    assert trust.run(3, {(related, seed) for related in (True, False) for seed in (6, 7)}) == []
    assert trust.run(3, {(True, 6), (True, 7)}, unrelated=False) == []


def test_stated_pixel_sizes_are_wrong_by_a_tenth_at_most_and_pixels_are_those_of_the_file() -> None:
    made = pair("grains", 3)
    ratios = []
    for seed in range(20):
        fixed, moving = trust._as_claimed(made, True, np.random.default_rng(seed))
        assert fixed is made.fixed
        assert moving.levels is made.moving.levels
        ratios.append(moving.grid.spacing[0] / made.moving.grid.spacing[0])
    assert np.abs(np.log(ratios)).max() <= 0.1
    assert np.ptp(ratios) > 0.05
    assert {image.grid.unit for image in trust._as_claimed(made, False, np.random.default_rng(0))} == {"pixel"}


def test_places_are_counted_where_something_is_predicted() -> None:
    values = np.array([[1.0, 1.0], [1.0, np.nan]], np.float32)
    predicted = PredictedError(values, Grid.of((2, 2)))
    told = compared(predicted, np.array([0.5, 1.7, 1.8, 9.0]))
    assert told["under_bound"] == pytest.approx(2 / 3)
    assert told["true_over_predicted"] == pytest.approx(np.sqrt((0.5**2 + 1.7**2 + 1.8**2) / 3))
    assert set(compared(predicted, np.full(4, np.inf)).values()) == {None}
    nothing = PredictedError(np.full((2, 2), np.nan, np.float32), Grid.of((2, 2)))
    assert set(compared(nothing, np.zeros(4)).values()) == {None}
