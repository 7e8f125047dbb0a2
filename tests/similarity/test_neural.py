"""The critic proves information that is there and none that is not, and its derivatives are those of its values."""

import numpy as np
import pytest

from correlight.similarity.neural import AMSGrad, Critic, NeuralInformation, tuples


def gaussian_pair(correlation: float, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.standard_normal(count)
    second = correlation * first + np.sqrt(1 - correlation**2) * rng.standard_normal(count)
    return first.astype(np.float32)[:, None], second.astype(np.float32)[:, None]


def trained(first: np.ndarray, second: np.ndarray, steps: int = 400) -> Critic:
    rng = np.random.default_rng(0)
    critic = Critic(first.shape[1] + second.shape[1], rng)
    for _ in range(steps):
        drawn = rng.integers(len(first), size=(2, 512))
        critic.learn(*tuples(first[drawn[0]], second[drawn[0]], second[drawn[1]]))
    return critic


def bound(critic: Critic, first: np.ndarray, second: np.ndarray) -> float:
    return critic.bound(*tuples(first, second, np.roll(second, 1, axis=0)))


@pytest.mark.parametrize("correlation", [0.5, 0.8])
def test_the_bound_comes_close_to_the_information_of_gaussians_and_does_not_pass_it(correlation: float) -> None:
    truth = -0.5 * np.log(1 - correlation**2)
    critic = trained(*gaussian_pair(correlation, 20_000, 1))
    proved = bound(critic, *gaussian_pair(correlation, 20_000, 2))
    # A mean over 20 000 pairs is good to about 0.01 nats.
    assert 0.85 * truth < proved < truth + 0.02


def test_nothing_is_proved_of_what_is_independent() -> None:
    first, _ = gaussian_pair(0.5, 20_000, 1)
    other, _ = gaussian_pair(0.5, 20_000, 3)
    assert abs(bound(trained(first, other), *(a[::-1] for a in gaussian_pair(0.0, 20_000, 4)))) < 0.02


def test_it_takes_two_channels_to_see_what_only_their_product_tells() -> None:
    rng = np.random.default_rng(5)
    signs = np.sign(rng.standard_normal((20_000, 2))).astype(np.float32)
    product = signs.prod(axis=1, keepdims=True) + 0.1 * rng.standard_normal((20_000, 1)).astype(np.float32)
    assert bound(trained(product, signs[:, :1]), product, signs[:, :1]) < 0.02
    assert bound(trained(product, signs), product, signs) == pytest.approx(np.log(2), abs=0.05)


def test_derivatives_by_the_tuples_are_those_of_finite_differences() -> None:
    first, second = gaussian_pair(0.8, 64, 6)
    critic = trained(*gaussian_pair(0.8, 4000, 1), steps=60)
    other = np.roll(second, 1, axis=0)
    _, _, by_own, by_other = critic.explained(*tuples(first, second, other))
    direction = np.random.default_rng(7).standard_normal((64, 2)).astype(np.float32)
    step = 1e-3
    together, shuffled = tuples(first, second, other)
    ahead = critic.bound(together + step * direction, shuffled) - critic.bound(together - step * direction, shuffled)
    assert float(np.sum(by_own * direction)) == pytest.approx(ahead / (2 * step), rel=0.03, abs=1e-3)
    ahead = critic.bound(together, shuffled + step * direction) - critic.bound(together, shuffled - step * direction)
    assert float(np.sum(by_other * direction)) == pytest.approx(ahead / (2 * step), rel=0.03, abs=1e-3)


def test_training_on_and_on_does_not_run_away() -> None:
    critic = trained(*gaussian_pair(0.8, 300, 8), steps=3000)
    fresh = gaussian_pair(0.8, 5000, 9)
    assert np.isfinite(bound(critic, *fresh))
    assert np.abs(critic(np.concatenate(fresh, axis=1))).max() <= 6


def test_amsgrad_finds_the_top_of_a_noisy_hill_and_stays() -> None:
    rng, place, optimiser = np.random.default_rng(0), np.array([3.0, -2.0]), AMSGrad()
    for step in range(2000):
        (moved,) = optimiser.steps([-place + rng.standard_normal(2)], 0.05 / (1 + step / 100))
        place += moved
    assert np.abs(place).max() < 0.1


def blobs(shape: tuple[int, ...], seed: int) -> np.ndarray:
    from scipy import ndimage

    return ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 3).astype(np.float32)


@pytest.mark.parametrize("shape", [(80, 90), (24, 40, 44)])
def test_as_a_measure_it_is_largest_where_the_images_fit(shape: tuple[int, ...]) -> None:
    scene = blobs(shape, 1)
    moving = np.abs(scene)
    places = np.random.default_rng(2).uniform(8, np.array(shape) - 9, (4000, len(shape)))
    index = tuple(np.rint(places).astype(int).T)
    places = np.rint(places)
    measure = NeuralInformation(scene[index], moving, places)
    there = measure(places).value
    shift = np.zeros(len(shape))
    shift[-1] = 2.0
    assert there > 0.5
    assert measure(places + shift).value < 0.8 * there
    assert measure(places - shift).value < 0.8 * there


def test_the_gradient_of_the_measure_is_that_of_its_value_and_parts_add_up() -> None:
    scene = blobs((80, 90), 1)
    rng = np.random.default_rng(2)
    places = rng.uniform(8, 70, (3000, 2))
    measure = NeuralInformation(scene[tuple(np.rint(places).astype(int).T)], np.abs(scene), places)
    found = measure(places)
    assert found.parts.sum() == pytest.approx(found.value)
    direction = np.array([0.6, -0.8])
    step = 1e-2
    slope = (measure(places + step * direction).value - measure(places - step * direction).value) / (2 * step)
    # Kinks of the linear interpolation and of the perceptron blur a finite difference by some per cent.
    assert float((found.gradient @ direction).sum()) == pytest.approx(slope, rel=0.1, abs=2e-3)


def test_the_same_seed_gives_the_same_and_another_another() -> None:
    scene = blobs((60, 60), 1)
    places = np.random.default_rng(2).uniform(5, 50, (1000, 2))
    fixed = scene[tuple(np.rint(places).astype(int).T)]
    values = [NeuralInformation(fixed, np.abs(scene), places, seed=seed)(places).value for seed in (0, 0, 1)]
    assert values[0] == values[1]
    assert values[0] != values[2]


def test_an_image_without_structure_proves_nothing_and_pulls_nowhere() -> None:
    places = np.random.default_rng(2).uniform(5, 50, (1000, 2))
    found = NeuralInformation(np.zeros(1000, np.float32), np.zeros((60, 60), np.float32), places)(places)
    assert found.value == pytest.approx(0, abs=1e-6)
    assert not found.gradient.any()
