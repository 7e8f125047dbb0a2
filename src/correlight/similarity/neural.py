"""Mutual information of grey values in several channels, estimated by a small perceptron.

No number says how much two images know of each other without a histogram, and a histogram of several channels has
more bins than there are pixels. A perceptron T that looks at a tuple of grey values, some of the fixed and some of the
moving image, needs none: by Donsker and Varadhan (1975, doi:10.1002/cpa.3160280102), for every T

    information >= mean of T over tuples as they occur - log mean of exp T over tuples with the moving part shuffled,

and the best T attains it. Belghazi et al. (2018, arXiv:1801.04062) train T by the gradient of this bound.

The perceptron is small and its samples are few, so that NumPy does and no framework is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from correlight.progress import checkpoint
from correlight.similarity import Agreement, Places, sample, sample_values
from correlight.similarity.mutual import spread

Float32 = NDArray[np.float32]

_HIDDEN = 24
# T is bounded to this: log ratios of densities beyond it say nothing that a few thousand samples could support, and an
# unbounded T runs away once it has found a tuple that never occurs shuffled.
_MOST = np.float32(6.0)
# The mean of exp T over one draw is in the denominator of its gradient, which biases it; its moving average over about
# so many draws is not (Belghazi et al. 2018, section 3.2).
_REMEMBERED = 20
_RATE, _DECAY = 5e-3, 1e-4
# Training of a critic on samples that stay where they are: tuples a step, steps between checks on those held out,
# checks without progress before it ends, and the most steps.
_BATCH, _LOOK, _PATIENCE, _MOST_STEPS = 512, 20, 3, 300
_HELD_OUT = 0.25


class AMSGrad:
    """Steps along a noisy gradient, each parameter at its own pace, which never quickens.

    Reddi, Kale and Kumar (2018, arXiv:1904.09237): Adam with the largest second moment so far in place of the latest,
    which is what keeps it from leaving an optimum again.

    Parameters
    ----------
    first, second : float
        Decay of the two moments.
    """

    def __init__(self, first: float = 0.9, second: float = 0.99) -> None:
        self._first, self._second, self._count = first, second, 0
        self._mean: list[NDArray[np.floating]] = []
        self._square: list[NDArray[np.floating]] = []
        self._largest: list[NDArray[np.floating]] = []

    def steps(self, gradients: Sequence[NDArray[np.floating]], rate: float) -> list[NDArray[np.floating]]:
        """What to add to each array to go up along its gradient."""
        if not self._count:
            for kept in (self._mean, self._square, self._largest):
                kept.extend(np.zeros_like(gradient) for gradient in gradients)
        self._count += 1
        rate = rate / (1 - self._first**self._count)
        unbias = 1 / (1 - self._second**self._count)
        moved = []
        for mean, square, largest, gradient in zip(self._mean, self._square, self._largest, gradients, strict=True):
            mean += (1 - self._first) * (gradient - mean)
            square += (1 - self._second) * (gradient * gradient - square)
            np.maximum(largest, square * unbias, out=largest)
            moved.append(rate * mean / (np.sqrt(largest) + 1e-8))
        return moved


class Critic:
    """The function T: a perceptron with two hidden layers on tuples of grey values.

    Parameters
    ----------
    inputs : int
        Length of a tuple.
    rng : Generator
        Draws the weights.
    """

    def __init__(self, inputs: int, rng: np.random.Generator) -> None:
        sizes = (inputs, _HIDDEN, _HIDDEN, 1)
        self._weights: list[Float32] = []
        for fan_in, fan_out in pairwise(sizes):
            self._weights.append((rng.standard_normal((fan_in, fan_out)) * np.sqrt(2 / fan_in)).astype(np.float32))
            self._weights.append(rng.uniform(-0.5, 0.5, fan_out).astype(np.float32))
        self._weights[-2] *= np.float32(0.1)
        self._weights[-1][:] = 0
        self._optimiser = AMSGrad()
        self._remembered = 0.0
        self._seen = 0

    def __call__(self, tuples: Float32) -> Float32:
        """T of ``(N, inputs)`` tuples, shape ``(N,)``."""
        return self._layers(tuples)[-1]

    def _layers(self, tuples: Float32) -> list[Float32]:
        layers = [tuples]
        for weight, offset in ((0, 1), (2, 3)):
            layers.append(np.maximum(layers[-1] @ self._weights[weight] + self._weights[offset], 0))
        raw = (layers[-1] @ self._weights[4])[:, 0] + self._weights[5]
        layers.append(_MOST * np.tanh(raw / _MOST))
        return layers

    def _back(self, layers: list[Float32], slope: Float32) -> tuple[list[Float32], Float32]:
        """Derivatives by the weights and by the tuples of a sum of values, each times its slope."""
        ratio = layers[3] / _MOST
        last = (slope * (1 - ratio * ratio))[:, None]
        second = (last * self._weights[4][:, 0]) * (layers[2] > 0)
        # OpenBLAS can be far slower with a small transposed matrix than with its copy.
        first = (second @ np.ascontiguousarray(self._weights[2].T)) * (layers[1] > 0)
        by_weights = [
            layers[0].T @ first,
            first.sum(axis=0),
            layers[1].T @ second,
            second.sum(axis=0),
            layers[2].T @ last,
            last.sum(axis=0),
        ]
        return by_weights, first @ np.ascontiguousarray(self._weights[0].T)

    def learn(self, together: Float32, shuffled: Float32) -> tuple[Float32, Float32]:
        """One step up the bound; returns its derivatives by the tuples before the step.

        Parameters
        ----------
        together, shuffled : (N, inputs) arrays
            Tuples as they occur, and with the moving part of another place.

        Returns
        -------
        pair of (N, inputs) arrays
            Derivative of the bound by each tuple of both kinds, free of the bias of its denominator.
        """
        count = len(together)
        layers = self._layers(np.concatenate([together, shuffled]))
        grown = np.exp(layers[-1][count:])
        self._seen += 1
        share = max(1 / self._seen, 1 / _REMEMBERED)
        self._remembered += share * (float(grown.mean()) - self._remembered)
        each = np.float32(1 / count)
        slope = np.concatenate([np.full(count, each), grown * np.float32(-each / self._remembered)])
        by_weights, by_tuples = self._back(layers, slope)
        for weight, step in zip(self._weights, self._optimiser.steps(by_weights, _RATE), strict=True):
            weight += step - np.float32(_RATE * _DECAY) * weight
        return by_tuples[:count], by_tuples[count:]

    def bound(self, together: Float32, shuffled: Float32) -> float:
        """The information in nats that T proves, for tuples that it was not trained on."""
        return float(self(together).mean(dtype=np.float64)) - _log_mean_exp(self(shuffled))

    def explained(self, together: Float32, shuffled: Float32) -> tuple[Float32, float, Float32, Float32]:
        """T of the tuples as they occur, the subtracted term, and the derivatives of the bound by all tuples."""
        count = len(together)
        layers = self._layers(np.concatenate([together, shuffled]))
        values = layers[-1]
        grown = np.exp(values[count:])
        slope = np.concatenate([np.full(count, 1 / count, np.float32), -grown / grown.sum()])
        _, by_tuples = self._back(layers, slope)
        return values[:count], _log_mean_exp(values[count:]), by_tuples[:count], by_tuples[count:]

    def state(self) -> list[Float32]:
        """A copy of the weights."""
        return [weight.copy() for weight in self._weights]

    def restore(self, state: list[Float32]) -> None:
        """Go back to weights that `state` gave."""
        for weight, kept in zip(self._weights, state, strict=True):
            weight[...] = kept


def _log_mean_exp(values: Float32) -> float:
    return float(np.log(np.mean(np.exp(values), dtype=np.float64)))


def scaled(values: NDArray[np.float32]) -> Float32:
    """Channels ``(C, ...)`` as a critic wants them: each spread half-way to its ranks, between -1.7 and 1.7."""
    return np.stack([(spread(channel, channel) - np.float32(0.5)) * np.float32(3.4) for channel in values])


@dataclass(eq=False)
class NeuralInformation:
    """A measure for the refinement: the Donsker-Varadhan bound of a critic that stays as it is.

    The critic is trained on the samples at the places where they lie at first, on three quarters of them, until the
    bound on the last quarter no longer grows. It then serves at other places: the bound holds for every critic, and
    where the images fit better than at first it is larger.

    Parameters
    ----------
    fixed : (N,) or (C, N) array
        Grey values at the samples of the fixed plane.
    moving : (Y, X), (Z, Y, X), (C, Y, X) or (C, Z, Y, X) array
        Grey values of the moving plane or volume, in one or several channels; the places say how many axes it has.
    places : (N, D) array
        Where the samples lie at first, pixels of the moving plane or volume.
    seed : int
        Of the weights, the batches and the shuffling.

    Notes
    -----
    Training costs at most 300 steps of 512 tuples, whatever the number of samples; a call costs one pass over all.
    """

    fixed: NDArray[np.float32]
    moving: NDArray[np.float32]
    places: Places
    seed: int = 0
    _critic: Critic = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._rng = np.random.default_rng([self.seed, 7])
        self._fixed = scaled(np.atleast_2d(self.fixed)).T
        self._moving = scaled(self.moving if self.moving.ndim > self.places.shape[1] else self.moving[None])
        # Every sample is paired with the moving value of another, by the same shuffling at every call: a measure must
        # have one value for one pose.
        self._other = self._rng.permutation(len(self._fixed))
        self._critic = Critic(self._fixed.shape[1] + len(self._moving), self._rng)
        self._train(sample_values(self._moving, self.places).T)

    def _train(self, moving: Float32) -> None:
        count = len(moving)
        order = self._rng.permutation(count)
        held, used = order[: int(_HELD_OUT * count)], order[int(_HELD_OUT * count) :]
        if len(held) < 2:
            return
        best, kept, idle = -np.inf, self._critic.state(), 0
        for step in range(1, _MOST_STEPS + 1):
            checkpoint()
            drawn = used[self._rng.integers(len(used), size=(2, min(_BATCH, len(used))))]
            self._critic.learn(*tuples(self._fixed[drawn[0]], moving[drawn[0]], moving[drawn[1]]))
            if step % _LOOK == 0:
                bound = self._critic.bound(*tuples(self._fixed[held], moving[held], moving[np.roll(held, 1)]))
                best, kept, idle = (bound, self._critic.state(), 0) if bound > best else (best, kept, idle + 1)
                if idle == _PATIENCE:
                    break
        self._critic.restore(kept)

    def __call__(self, places: Places) -> Agreement:
        """Agreement at ``(N, D)`` places."""
        values, slopes = sample(self._moving, places)
        moving, count = values.T, len(places)
        own, subtracted, by_own, by_other = self._critic.explained(*tuples(self._fixed, moving, moving[self._other]))
        first = self._fixed.shape[1]
        by_moving = by_own[:, first:].copy()
        by_moving[self._other] += by_other[:, first:]
        gradient = np.einsum("nc,cnd->nd", by_moving, slopes).astype(np.float64)
        parts = (own.astype(np.float64) - subtracted) / count
        return Agreement(float(parts.sum()), gradient, parts)


def tuples(fixed: Float32, moving: Float32, shuffled: Float32) -> tuple[Float32, Float32]:
    """Tuples of grey values as they occur, and with the moving part of another place, each ``(N, inputs)``."""
    return np.concatenate([fixed, moving], axis=1), np.concatenate([fixed, shuffled], axis=1)
