"""Normalised correlation of feature channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Float32
from correlight.similarity import Agreement, Places, sample


class FeatureCorrelation:
    """Mean over groups of channels of their normalised correlation.

    Parameters
    ----------
    fixed : list of (C, N) arrays
        Channels of each group at the samples of the fixed plane.
    moving : list of (C, Y, X) arrays
        The same channels of the moving plane, already turned into the fixed frame.
    strides : list of int, optional
        Pixels of the moving plane per pixel of the channels of each group; one without.
    """

    def __init__(self, fixed: list[Float32], moving: list[Float32], strides: list[int] | None = None) -> None:
        norms = [_norm(float(np.sum(np.square(group, dtype=np.float64)))) for group in fixed]
        alike: dict[tuple[tuple[int, ...], int], list[int]] = {}
        for number, (group, stride) in enumerate(zip(moving, strides or [1] * len(moving), strict=True)):
            alike.setdefault((group.shape[1:], stride), []).append(number)
        self._by_size = [
            _OfOneSize([fixed[n] for n in one], [moving[n] for n in one], stride, [norms[n] for n in one])
            for (_, stride), one in alike.items()
        ]
        self._groups = len(fixed)

    def __call__(self, places: Places) -> Agreement:
        """Agreement at ``(N, 2)`` places."""
        parts, gradient = np.zeros(len(places)), np.zeros((2, len(places)))
        for one in self._by_size:
            one.add(places, 1 / self._groups, parts, gradient)
        return Agreement(float(parts.sum()), gradient.T, parts)


class _OfOneSize:
    """Groups whose planes have one size, and so the same cells at the places."""

    def __init__(self, fixed: list[Float32], moving: list[Float32], stride: int, norms: list[float]) -> None:
        ends = np.cumsum([len(planes) for planes in fixed]).tolist()
        self._groups = [slice(end - len(planes), end) for planes, end in zip(fixed, ends, strict=True)]
        self._fixed, self._moving = np.concatenate(fixed), np.concatenate(moving)
        self._stride, self._norms = stride, norms

    def add(self, places: Places, weight: float, parts: NDArray[np.float64], gradient: NDArray[np.float64]) -> None:
        """Add the weighted correlation of each group to the parts, ``(N,)``, and its slopes, ``(2, N)``."""
        values, slopes = sample(self._moving, places / self._stride)
        pulls = np.empty_like(values)
        for group, fixed_norm in zip(self._groups, self._norms, strict=True):
            own, other = values[group], self._fixed[group]
            moving_norm = _norm(float(np.vdot(own, own)))
            scale = weight / (fixed_norm * moving_norm)
            products = np.sum(own * other, axis=0)
            value = scale * float(products.sum(dtype=np.float64))
            parts += scale * products.astype(np.float64)
            # The norm of the moving samples changes with the places too.
            np.multiply(other, np.float32(scale / self._stride), out=pulls[group])
            pulls[group] -= own * np.float32(value / (moving_norm**2 * self._stride))
        for along, slope in zip(gradient, np.moveaxis(slopes, -1, 0), strict=True):
            along += np.sum(slope * pulls, axis=0)


def _norm(squares: float) -> float:
    return float(np.sqrt(squares)) + 1e-9
