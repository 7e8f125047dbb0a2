"""Similarity: how well two aligned images agree, with the derivative that a refinement needs.

A measure is called with the places, in pixels of the moving planes, where the samples of the fixed plane are believed
to lie; it answers with an `Agreement`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


@dataclass(frozen=True, slots=True)
class Cells:
    """The cells of pixels or voxels that N places lie in; a place outside lies in the nearest one.

    Parameters
    ----------
    corners : list of 2^D arrays, (N,)
        Which pixels of a flattened plane, those that differ along the last axis side by side.
    fractions : list of D arrays, (N,)
        How far into its cell each place lies along each axis.
    """

    corners: list[NDArray[np.intp]]
    fractions: list[NDArray[np.float32]]

    @classmethod
    def of(cls, places: NDArray[np.float64], shape: Sequence[int]) -> Cells:
        """The cells of ``(D, N)`` places in planes of a shape."""
        strides = np.cumprod((1, *shape[:0:-1]))[::-1]
        # A long and narrow image has levels of one row, which is its own neighbour.
        strides = np.where(np.asarray(shape) > 1, strides, 0)
        first = np.zeros(places.shape[1], np.intp)
        fractions = []
        for place, size, stride in zip(places, shape, strides, strict=True):
            inside = np.maximum(place, 0)
            np.minimum(inside, max(size - 1.001, 0), out=inside)
            whole = inside.astype(np.intp)
            inside -= whole
            fractions.append(inside.astype(np.float32))
            whole *= int(stride)
            first += whole
        offsets = [0]
        for stride in strides:
            offsets = [offset + step for offset in offsets for step in (0, int(stride))]
        return cls([first + offset for offset in offsets], fractions)

    def values(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Values of planes ``(C, ...)`` at the places, ``(C, N)``."""
        flat = planes.reshape(len(planes), -1)
        found = [flat.take(corner, axis=1) for corner in self.corners]
        # Axis by axis, the last first, pairs of neighbours become one value; arrays are written over, which keeps them
        # in the cache.
        for fraction in reversed(self.fractions):
            for low, high in zip(found[::2], found[1::2], strict=True):
                high -= low
                high *= fraction
                low += high
            found = found[::2]
        return found[0]

    def values_and_slopes(self, planes: NDArray[np.float32]) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The same, and the derivative along each axis, ``(C, N)`` each; outside, that of the nearest cell."""
        flat = planes.reshape(len(planes), -1)
        found = [flat.take(corner, axis=1) for corner in self.corners]
        slopes: list[list[NDArray[np.float32]]] = []
        for fraction in reversed(self.fractions):
            # Slopes along axes that are done are carried along.
            for known in slopes:
                for low, high in zip(known[::2], known[1::2], strict=True):
                    high -= low
                    high *= fraction
                    low += high
                del known[1::2]
            for low, high in zip(found[::2], found[1::2], strict=True):
                high -= low
                low += high * fraction
            slopes.insert(0, found[1::2])
            found = found[::2]
        return found[0], [known[0] for known in slopes]


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
    values = np.empty((len(planes), len(places)), np.float32)
    slopes = np.empty((places.shape[1], *values.shape), np.float32)
    for part in _parts(len(places)):
        values[:, part], slopes[:, :, part] = Cells.of(places[part].T, planes.shape[1:]).values_and_slopes(planes)
    return values, np.moveaxis(slopes, 0, -1)


def sample_values(planes: NDArray[np.float32], places: Places) -> NDArray[np.float32]:
    """The values of `sample`, ``(C, N)``, where nobody needs slopes: three times as quick in space."""
    values = np.empty((len(planes), len(places)), np.float32)
    for part in _parts(len(places)):
        values[:, part] = Cells.of(places[part].T, planes.shape[1:]).values(planes)
    return values


def _parts(count: int) -> Iterator[slice]:
    return (slice(first, first + AT_A_TIME) for first in range(0, count, AT_A_TIME))


def as_rows(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Planes ``(C, Y, X)`` or ``(C, Z, Y, X)`` with one row of C values per pixel, which many planes are sampled by."""
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


def sample_values_of_rows(rows: NDArray[np.float32], shape: Sequence[int], places: Places) -> NDArray[np.float32]:
    """The values of `sample_rows`, ``(N, C)``, where nobody needs slopes."""
    found = np.empty((len(places), rows.shape[1]), np.float32)
    for part in _parts(len(places)):
        values, fractions = _corners(rows, shape, places[part])
        for fraction in reversed(fractions):
            values = [low + (high - low) * fraction for low, high in zip(values[::2], values[1::2], strict=True)]
        found[part] = values[0]
    return found


def _corners(
    rows: NDArray[np.float32], shape: Sequence[int], places: Places
) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Values at the corners of the cell of each place, the last axis first, and how far into it the place lies."""
    cells = Cells.of(places.T, shape)
    return [rows.take(corner, axis=0) for corner in cells.corners], [each[:, None] for each in cells.fractions]
