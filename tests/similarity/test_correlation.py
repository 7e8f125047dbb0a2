"""The correlation of feature channels: its value against NumPy and its gradient against finite differences."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight.similarity import sample
from correlight.similarity.correlation import FeatureCorrelation

CELLS = (20, 24)


def places_in_cells(rng: np.random.Generator, count: int) -> np.ndarray:
    """Places that keep a quarter of a pixel from the borders of their cells, where slopes jump."""
    return rng.integers(0, np.subtract(CELLS, 1), (count, 2)) + rng.uniform(0.25, 0.75, (count, 2))


def two_groups(rng: np.random.Generator, count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    moving = [rng.standard_normal((channels, *CELLS)).astype(np.float32) for channels in (2, 1)]
    fixed = [rng.standard_normal((channels, count)).astype(np.float32) for channels in (2, 1)]
    return fixed, moving


@given(seed=st.integers(0, 10_000))
def test_value_is_the_mean_of_the_normalised_correlations(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fixed, moving = two_groups(rng, 60)
    places = places_in_cells(rng, 60)
    expected = []
    for group, planes in zip(fixed, moving, strict=True):
        values = sample(planes, places)[0].astype(float)
        expected.append(np.sum(group * values) / np.linalg.norm(group) / np.linalg.norm(values))
    agreement = FeatureCorrelation(fixed, moving)(places)
    assert agreement.value == pytest.approx(np.mean(expected), abs=1e-6)
    assert agreement.parts.shape == (60,)
    assert agreement.parts.sum() == pytest.approx(agreement.value, abs=1e-12)


@given(seed=st.integers(0, 10_000))
def test_gradient_is_the_derivative(seed: int) -> None:
    rng = np.random.default_rng(seed)
    fixed, moving = two_groups(rng, 60)
    measure = FeatureCorrelation(fixed, moving)
    places = places_in_cells(rng, 60)
    direction = rng.uniform(-1, 1, places.shape)
    # Rounding of float32 samples (1e-7, averaged over 60) over the step, and the third derivative of a ratio whose
    # terms change by a hundredth: both stay below 1e-4 of slopes of the order of 1 / sqrt(60).
    step = 0.01
    numeric = (measure(places + step * direction).value - measure(places - step * direction).value) / (2 * step)
    assert np.sum(measure(places).gradient * direction) == pytest.approx(numeric, abs=1e-4)


def test_every_single_place_has_its_derivative() -> None:
    rng = np.random.default_rng(1)
    fixed, moving = two_groups(rng, 12)
    measure = FeatureCorrelation(fixed, moving)
    places = places_in_cells(rng, 12)
    gradient = measure(places).gradient
    # Of twelve samples one alone bends the value more than all of sixty do, hence a shorter step.
    step = 0.005
    for index in np.ndindex(places.shape):
        moved = np.zeros_like(places)
        moved[index] = step
        numeric = (measure(places + moved).value - measure(places - moved).value) / (2 * step)
        assert gradient[index] == pytest.approx(numeric, abs=1e-4)


@pytest.mark.parametrize(("gain", "expected"), [(1.0, 1.0), (7.0, 1.0), (-2.0, -1.0)])
def test_perfect_agreement_is_one_whatever_the_gain(gain: float, expected: float) -> None:
    rng = np.random.default_rng(2)
    _, moving = two_groups(rng, 1)
    places = places_in_cells(rng, 300)
    fixed = [np.float32(gain) * sample(planes, places)[0] for planes in moving]
    agreement = FeatureCorrelation(fixed, moving)(places)
    assert agreement.value == pytest.approx(expected, abs=1e-6)
    # At the extreme no move of any place changes the value to first order.
    np.testing.assert_allclose(agreement.gradient, 0, atol=1e-6)


def test_unrelated_channels_do_not_correlate() -> None:
    rng = np.random.default_rng(3)
    fixed, moving = two_groups(rng, 4000)
    value = FeatureCorrelation(fixed, moving)(places_in_cells(rng, 4000)).value
    # The moving planes hold about 450 independent pixels; four standard deviations of the mean of both groups.
    assert abs(value) < 4 / np.sqrt(450)


def test_channels_without_content_agree_with_nothing() -> None:
    blank = [np.zeros((1, *CELLS), np.float32)]
    places = places_in_cells(np.random.default_rng(4), 20)
    agreement = FeatureCorrelation([np.zeros((1, 20), np.float32)], blank)(places)
    assert agreement.value == 0
    assert not agreement.gradient.any()
