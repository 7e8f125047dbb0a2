"""Similarity: how well two aligned images agree, with the derivative that a refinement needs.

A measure is called with the places, in pixels of the moving planes, where the samples of the fixed plane are believed
to lie; it answers with an `Agreement`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Agreement:
    """The value of a measure and its parts.

    Parameters
    ----------
    value : float
        Larger is better.
    gradient : (N, 2) array
        Derivative of the value by each place, (y, x).
    parts : (N,) array
        What each sample contributes; their sum is the value.
    """

    value: float
    gradient: NDArray[np.float64]
    parts: NDArray[np.float64]


class Measure(Protocol):
    """What a refinement maximises."""

    def __call__(self, places: Places) -> Agreement:
        """Agreement if the samples lie at ``(N, 2)`` places (y, x) of the moving planes."""
        ...


def sample(planes: NDArray[np.float32], places: Places) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Values and slopes of planes at fractional places, bilinear; places outside take the nearest edge.

    Parameters
    ----------
    planes : (C, Y, X) array
        At least 2 x 2 pixels.
    places : (N, 2) array
        Fractional pixels, (y, x).

    Returns
    -------
    values : (C, N) array
    slopes : (C, N, 2) array
        Derivative by y and x; for a place outside, that of the pixel cell at the edge, which leads back.
    """
    height, width = planes.shape[1:]
    row = np.clip(places[:, 0], 0, height - 1.001)
    column = np.clip(places[:, 1], 0, width - 1.001)
    top, left = row.astype(np.intp), column.astype(np.intp)
    down, right = (row - top).astype(np.float32), (column - left).astype(np.float32)
    flat = planes.reshape(len(planes), -1)
    corner = top * width + left
    a, b = flat[:, corner], flat[:, corner + 1]
    c, d = flat[:, corner + width], flat[:, corner + width + 1]
    upper, lower = a + (b - a) * right, c + (d - c) * right
    values = upper + (lower - upper) * down
    slopes = np.stack([lower - upper, (b - a) * (1 - down) + (d - c) * down], axis=-1)
    return values, slopes
