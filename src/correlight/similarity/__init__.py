"""Similarity: how well two aligned images agree, with the derivative that a refinement needs.

A measure is called with the places, in pixels of the moving planes, where the samples of the fixed plane are believed
to lie; it answers with an `Agreement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Places = NDArray[np.float64]

# Values at so many places at a time stay in the cache of the processor.
AT_A_TIME = 4096


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
    """Values and slopes of planes or volumes at fractional places, linear; places outside take the nearest edge.

    Parameters
    ----------
    planes : (C, Y, X) or (C, Z, Y, X) array
        Along an axis of one pixel nothing changes.
    places : (N, D) array
        Fractional pixels, (y, x) or (z, y, x).

    Returns
    -------
    values : (C, N) array
    slopes : (C, N, D) array
        Derivative along each axis; for a place outside, that of the pixel cell at the edge, which leads back.
    """
    values, slopes = sample_rows(as_rows(planes), planes.shape[1:], places)
    return np.ascontiguousarray(values.T), np.stack([slope.T for slope in slopes], axis=-1)


def as_rows(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Planes ``(C, Y, X)`` or ``(C, Z, Y, X)`` with one row of C values per pixel."""
    return np.ascontiguousarray(planes.reshape(len(planes), -1).T)


def sample_rows(
    rows: NDArray[np.float32], shape: Sequence[int], places: Places
) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """What `sample` returns, of planes whose rows are known: values ``(N, C)`` and the slopes of each axis, likewise.

    Parameters
    ----------
    rows : (P, C) array
        From `as_rows`.
    shape : sequence of int
        Of a plane.
    places : (N, D) array
        Fractional pixels.
    """
    values, fractions = _corners(rows, shape, places)
    slopes: list[list[NDArray[np.float32]]] = []
    # Axis by axis, the last first, pairs of neighbours become one value; slopes along axes done are carried along.
    for fraction in reversed(fractions):
        slopes = [[low + (high - low) * fraction for low, high in zip(s[::2], s[1::2], strict=True)] for s in slopes]
        steps = [high - low for low, high in zip(values[::2], values[1::2], strict=True)]
        values = [low + step * fraction for low, step in zip(values[::2], steps, strict=True)]
        slopes.insert(0, steps)
    return values[0], [slope[0] for slope in slopes]


def sample_values(planes: NDArray[np.float32], places: Places) -> NDArray[np.float32]:
    """The values of `sample`, ``(C, N)``, where nobody needs slopes: three times as quick in space."""
    return np.ascontiguousarray(sample_values_of_rows(as_rows(planes), planes.shape[1:], places).T)


def sample_values_of_rows(rows: NDArray[np.float32], shape: Sequence[int], places: Places) -> NDArray[np.float32]:
    """The values of `sample_rows`, ``(N, C)``, where nobody needs slopes."""
    found = np.empty((len(places), rows.shape[1]), np.float32)
    for first in range(0, len(places), AT_A_TIME):
        part = slice(first, first + AT_A_TIME)
        values, fractions = _corners(rows, shape, places[part])
        for fraction in reversed(fractions):
            values = [low + (high - low) * fraction for low, high in zip(values[::2], values[1::2], strict=True)]
        found[part] = values[0]
    return found


def _corners(
    rows: NDArray[np.float32], shape: Sequence[int], places: Places
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Values at the corners of the cell of each place, the last axis first, and how far into it the place lies."""
    strides = np.cumprod((1, *shape[:0:-1]))[::-1]
    # A long and narrow image has levels of one row, which is its own neighbour.
    strides = np.where(np.asarray(shape) > 1, strides, 0)
    first = np.zeros(len(places), np.intp)
    fractions = []
    for axis, (size, stride) in enumerate(zip(shape, strides, strict=True)):
        place = np.clip(places[:, axis], 0, max(size - 1.001, 0))
        whole = place.astype(np.intp)
        first += whole * int(stride)
        fractions.append((place - whole).astype(np.float32)[:, None])
    offsets = [0]
    for stride in strides:
        offsets = [offset + step for offset in offsets for step in (0, int(stride))]
    return [rows.take(first + offset, axis=0) for offset in offsets], fractions
