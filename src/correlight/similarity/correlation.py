"""Normalised correlation of feature channels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Float32
from correlight.similarity import AT_A_TIME, Agreement, Places


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
            known: dict[tuple[tuple[int, ...], int], _Cells] = {}
            for group, (fixed, moving, stride) in enumerate(zip(self._fixed, self._moving, self._strides, strict=True)):
                size = moving.shape[1:], stride
                if size not in known:
                    known[size] = _Cells.of(places[part].T / stride, *moving.shape[1:])
                values, *slopes = known[size].sampled(moving)
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


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of pixels that N places lie in; places outside lie in the nearest one.

    Parameters
    ----------
    corners : tuple of four (N,) arrays
        Which pixels: upper left, upper right, lower left, lower right.
    down, right : (N,) arrays
        How far into its cell each place lies.
    """

    corners: tuple[NDArray[np.intp], ...]
    down: Float32
    right: Float32

    @classmethod
    def of(cls, places: NDArray[np.float64], height: int, width: int) -> _Cells:
        """The cells of ``(2, N)`` places in planes of a size."""
        (y, rows), (x, columns) = (_whole(place, size) for place, size in zip(places, (height, width), strict=True))
        first = rows * width + columns
        # A long and narrow image has levels of one row, which is its own neighbour.
        below, beside = (width if height > 1 else 0), int(width > 1)
        return cls((first, first + beside, first + below, first + (below + beside)), y, x)

    def sampled(self, planes: Float32) -> tuple[Float32, Float32, Float32]:
        """Values of ``(C, Y, X)`` planes and their slopes along y and x, each ``(C, N)``."""
        pixels = planes.reshape(len(planes), -1)
        upper, above, lower, under = (pixels.take(corner, axis=1) for corner in self.corners)
        # Steps along x in the upper and in the lower row; arrays are written over, which keeps them in the cache.
        above -= upper
        under -= lower
        upper += above * self.right
        lower += under * self.right
        lower -= upper
        values = lower * self.down
        values += upper
        under -= above
        under *= self.down
        under += above
        return values, lower, under


def _whole(places: NDArray[np.float64], size: int) -> tuple[Float32, NDArray[np.intp]]:
    """How far places lie into their pixels along an axis, and the numbers of these."""
    inside = np.maximum(places, 0)
    np.minimum(inside, max(size - 1.001, 0), out=inside)
    whole = inside.astype(np.intp)
    return (inside - whole).astype(np.float32), whole
