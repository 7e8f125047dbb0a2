"""Weighted squared differences: the value as printed, and its derivative."""

import numpy as np
import pytest

from correlight.similarity.squares import WeightedSquares


@pytest.fixture
def planes():
    rng = np.random.default_rng(0)
    moving, trusted = rng.random((2, 12, 10)).astype(np.float32)
    fixed, weights = rng.random((2, 40)).astype(np.float32)
    places = rng.uniform(1.1, 7.9, (40, 2))
    return fixed, moving, weights, trusted, places


def test_the_value_is_the_mean_of_equation_12(planes) -> None:
    fixed, moving, weights, _, places = planes
    whole = np.round(places).astype(int)
    agreement = WeightedSquares(fixed, moving, weights)(whole.astype(float))
    expected = sum(w * (f - moving[y, x]) ** 2 for w, f, (y, x) in zip(weights, fixed, whole, strict=True))
    assert agreement.value == pytest.approx(-expected / weights.sum(), rel=1e-5)
    assert agreement.parts.sum() == pytest.approx(agreement.value)


@pytest.mark.parametrize("both", [False, True])
def test_the_gradient_is_that_of_the_value(planes, both: bool) -> None:
    fixed, moving, weights, trusted, places = planes
    measure = WeightedSquares(fixed, moving, weights, trusted if both else None)
    gradient = measure(places).gradient
    for number, axis in ((0, 0), (0, 1), (17, 0), (39, 1)):
        step = np.zeros_like(places)
        step[number, axis] = 1e-3
        slope = (measure(places + step).value - measure(places - step).value) / 2e-3
        assert gradient[number, axis] == pytest.approx(slope, abs=2e-6)


def test_alike_planes_differ_least_and_places_without_weight_do_not_count() -> None:
    moving = np.random.default_rng(1).random((20, 20)).astype(np.float32)
    places = np.argwhere(np.ones((14, 14))).astype(np.float64) + 3
    fixed = moving[3:17, 3:17].ravel().copy()
    fixed[:14] = 9.0
    weights = np.ones(len(fixed), np.float32)
    weights[:14] = 0
    measure = WeightedSquares(fixed, moving, weights)
    assert measure(places).value == pytest.approx(0, abs=1e-9)
    assert measure(places + 1.0).value < -0.01
