"""Normalised correlation of feature channels."""

from __future__ import annotations

import numpy as np

from correlight.images.image import Float32
from correlight.similarity import AT_A_TIME, Agreement, Cells, Places


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
        self._fixed = fixed
        self._moving = [np.ascontiguousarray(planes) for planes in moving]
        self._strides = strides or [1] * len(moving)
        self._norms = [_norm(float(np.sum(np.square(group, dtype=np.float64)))) for group in fixed]

    def __call__(self, places: Places) -> Agreement:
        """Agreement at ``(N, 2)`` places."""
        count, groups = len(places), len(self._fixed)
        products = np.empty((groups, count), np.float32)
        # Of the fixed samples with the slopes of the moving ones along y and x, and of the moving ones with their own.
        pulls, own = (np.empty((groups, 2, count), np.float32) for _ in range(2))
        squares = np.zeros(groups)
        for first in range(0, count, AT_A_TIME):
            part = slice(first, first + AT_A_TIME)
            # Groups of one size have the same cells.
            known: dict[tuple[tuple[int, ...], int], Cells] = {}
            for group, (fixed, moving, stride) in enumerate(zip(self._fixed, self._moving, self._strides, strict=True)):
                size = moving.shape[1:], stride
                if size not in known:
                    known[size] = Cells.of(places[part].T / stride, moving.shape[1:])
                values, slopes = known[size].values_and_slopes(moving)
                squares[group] += np.einsum("cn,cn->", values, values)
                np.einsum("cn,cn->n", fixed[:, part], values, out=products[group, part])
                for axis, slope in enumerate(slopes):
                    np.einsum("cn,cn->n", fixed[:, part], slope, out=pulls[group, axis, part])
                    np.einsum("cn,cn->n", values, slope, out=own[group, axis, part])
        parts, gradient = np.zeros(count), np.zeros((2, count))
        for group, (stride, fixed_norm) in enumerate(zip(self._strides, self._norms, strict=True)):
            moving_norm = _norm(float(squares[group]))
            scale = 1 / (fixed_norm * moving_norm * groups)
            value = scale * float(products[group].sum(dtype=np.float64))
            # The norm of the moving samples changes with the places too.
            gradient += pulls[group] * (scale / stride) - own[group] * (value / (moving_norm**2 * stride))
            parts += products[group] * scale
        return Agreement(float(parts.sum()), gradient.T, parts)


def _norm(squares: float) -> float:
    return float(np.sqrt(squares)) + 1e-9
