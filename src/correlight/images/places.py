"""Where the pixels of a block lie in the moving image: by a matrix, or between nodes where a smooth map bends.

A map that bends is asked at the nodes of a lattice over a block, and cubic splines tell what lies in between, if they
are exact to a hundredth of a pixel of the moving image. Whether they are is measured at the middles of all cells, edges
and faces of a lattice twice as coarse as the one that is used, which is off by a sixteenth of that where the map is
smooth and by a half where it has a bend. The nodes lie no further apart than a quarter of the finest detail of the map,
so that none can hide between them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import product
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from correlight.geometry import Grid, Points
from correlight.transforms import Affine, Projective, Transform
from correlight.transforms.bending import finest_detail

Region = tuple[slice, ...]
Coordinates = list[NDArray[np.float64]]

# Interpolated places are off by no more than this, in pixels of the moving image.
PLACE_ERROR = 0.01
# Cells of the lattice that is tried are at most so many output pixels long; the one that is used is twice as fine.
_COARSEST = 64.0
# A map is asked at each pixel where this share of them would be nodes.
_MOST_NODES = 1 / 8
# Of the second differences of nodes: see `NodePlaces`. Half as much again for splines along several axes.
_BEYOND = 1.5 * 3 / 8


class Places(Protocol):
    """Fractional pixel indices of the pixels of a block in the moving image.

    Attributes
    ----------
    low, high : (D,) arrays
        The least and the greatest of them along each axis.
    error : float
        How far they may be off.
    """

    @property
    def low(self) -> NDArray[np.float64]:
        """The least index along each axis."""
        ...

    @property
    def high(self) -> NDArray[np.float64]:
        """The greatest index along each axis."""
        ...

    @property
    def error(self) -> float:
        """How far the indices may be off, in pixels."""
        ...

    def shrunk(self, factors: tuple[int, ...]) -> Places:
        """The same in an image of which so many pixels were made one."""
        ...

    def lines(self, axis: int, first: int, last: int) -> NDArray[np.float64]:
        """Indices along an axis of the lines ``first`` to ``last`` of the block, shape ``(lines, columns)``.

        Those of a volume are counted slice by slice.
        """
        ...


PlacesOf = Callable[[Region], Places | None]


@dataclass(frozen=True, eq=False)
class AffinePlaces:
    """Indices that follow from a ``(D, D+1)`` matrix exactly."""

    to_index: NDArray[np.float64]
    region: Region

    error = 0.0

    @cached_property
    def _corners(self) -> NDArray[np.float64]:
        ends = [(part.start, part.stop - 1) for part in self.region]
        return np.asarray(np.array([(*corner, 1.0) for corner in product(*ends)]) @ self.to_index.T)

    @property
    def low(self) -> NDArray[np.float64]:
        """The least index along each axis."""
        return np.asarray(self._corners.min(axis=0))

    @property
    def high(self) -> NDArray[np.float64]:
        """The greatest index along each axis."""
        return np.asarray(self._corners.max(axis=0))

    def shrunk(self, factors: tuple[int, ...]) -> AffinePlaces:
        """The same in an image of which so many pixels were made one."""
        f = np.asarray(factors)
        last = np.eye(self.to_index.shape[1])[-1]
        return replace(self, to_index=(self.to_index - np.outer((f - 1) / 2, last)) / f[:, None])

    @cached_property
    def _lines(self) -> NDArray[np.float64]:
        """Every line of the output, those of a volume slice by slice."""
        ranges = [np.arange(part.start, part.stop, dtype=float) for part in self.region[:-1]]
        return np.stack(np.meshgrid(*ranges, indexing="ij"), -1).reshape(-1, len(self.region) - 1)

    @cached_property
    def _columns(self) -> NDArray[np.float64]:
        return np.arange(self.region[-1].start, self.region[-1].stop, dtype=float)

    def lines(self, axis: int, first: int, last: int) -> NDArray[np.float64]:
        """Indices along an axis of some lines of the block."""
        row = self.to_index[axis]
        return np.asarray((self._lines[first:last] @ row[:-2] + row[-1])[:, None] + row[-2] * self._columns)


@dataclass(frozen=True, eq=False)
class NodePlaces:
    """Indices known at the nodes ``(D, *nodes)`` of a lattice from the first to the last pixel of a block.

    Any place can be asked for exactly: `ask` maps ``(N, D)`` indices of the output to those in the moving image.
    """

    nodes: NDArray[np.float64]
    region: Region
    ask: Callable[[Points], Points]

    error = PLACE_ERROR

    @cached_property
    def _overshoot(self) -> NDArray[np.float64]:
        """How far splines may lead beyond all nodes, which straight lines between them cannot.

        A spline is off a straight line by an eighth of its second derivative times the step squared, which is at most
        three times the second difference of the nodes.
        """
        axes = range(1, self.nodes.ndim)
        bends = [np.abs(np.diff(self.nodes, 2, axis=axis)).reshape(len(self.nodes), -1) for axis in axes]
        return np.asarray(_BEYOND * sum(bend.max(axis=1, initial=0.0) for bend in bends))

    @property
    def low(self) -> NDArray[np.float64]:
        """The least index along each axis."""
        return np.asarray(self.nodes.reshape(len(self.nodes), -1).min(axis=1) - self._overshoot)

    @property
    def high(self) -> NDArray[np.float64]:
        """The greatest index along each axis."""
        return np.asarray(self.nodes.reshape(len(self.nodes), -1).max(axis=1) + self._overshoot)

    def shrunk(self, factors: tuple[int, ...]) -> NodePlaces:
        """The same in an image of which so many pixels were made one."""
        f = np.asarray(factors, float).reshape(-1, *[1] * (self.nodes.ndim - 1))
        return replace(self, nodes=(self.nodes - (f - 1) / 2) / f)

    @cached_property
    def _weights(self) -> list[NDArray[np.float64]]:
        """The share of every node in every pixel along each axis, ``(pixels, nodes)``."""
        shape = [part.stop - part.start for part in self.region]
        return [_spline(count, nodes) for count, nodes in zip(shape, self.nodes.shape[1:], strict=True)]

    @cached_property
    def _columns(self) -> NDArray[np.float64]:
        """The nodes, interpolated along the last axis to every column of the block: ``(D, nodes before, columns)``."""
        return (self.nodes @ self._weights[-1].T).reshape(len(self.nodes), -1, len(self._weights[-1]))

    def lines(self, axis: int, first: int, last: int) -> NDArray[np.float64]:
        """Indices along an axis of some lines of the block."""
        leading = self._weights[:-1]
        numbers = np.unravel_index(np.arange(first, last), [len(weights) for weights in leading])
        share = leading[0][numbers[0]]
        for weights, number in zip(leading[1:], numbers[1:], strict=True):
            share = (share[:, :, None] * weights[number][:, None, :]).reshape(last - first, -1)
        return np.asarray(share @ self._columns[axis])

    def everywhere(self, borders: Sequence[tuple[float, ...]]) -> Coordinates:
        """The indices of every pixel, one array of the block's shape per axis.

        Parameters
        ----------
        borders : sequence of tuple of float
            Along each axis the indices at which the moving image ends. Places so near to one that they may lie on
            either side of it are asked for exactly.
        """
        found = dense(self, self.region)
        near = np.zeros(found[0].shape, bool)
        for index, ends in zip(found, borders, strict=True):
            for end in ends:
                near |= np.abs(index - end) <= self.error
        if near.any():
            exact = self.ask(np.argwhere(near) + [part.start for part in self.region])
            for index, column in zip(found, exact.T, strict=True):
                index[near] = column
        return found


@lru_cache(64)
def _spline(pixels: int, nodes: int) -> NDArray[np.float64]:
    """The share of every node in every pixel, of pixels that reach from the first node to the last."""
    at = np.linspace(0.0, nodes - 1, pixels)
    weights = np.asarray(make_interp_spline(np.arange(float(nodes)), np.eye(nodes), k=min(3, nodes - 1))(at))
    weights.flags.writeable = False
    return weights


def dense(places: Places, region: Region) -> Coordinates:
    """The indices of every pixel of a block, one array of its shape per axis."""
    shape = tuple(part.stop - part.start for part in region)
    lines = int(np.prod(shape[:-1]))
    return [places.lines(axis, 0, lines).reshape(shape) for axis in range(len(shape))]


def places_of(image_grid: Grid, moving_from_fixed: Transform, onto: Grid, *, quick: bool) -> PlacesOf | None:
    """What says where the pixels of a block lie without asking the map at each of them; None where nothing does.

    What it says of a block is None where the map is not smooth enough there.

    Parameters
    ----------
    image_grid, onto : Grid
        Of the moving image and of the output.
    moving_from_fixed : Transform
        Takes positions on ``onto`` to positions in the moving image.
    quick : bool
        Whether there is a quicker way to interpolate pixels whose places follow from a matrix; there is of linear
        interpolation of 8 or 16 bits.
    """
    if isinstance(moving_from_fixed, Projective) or (isinstance(moving_from_fixed, Affine) and not quick):
        return None
    if isinstance(moving_from_fixed, Affine):
        index = np.linalg.inv(image_grid.matrix) @ moving_from_fixed.matrix @ onto.matrix
        return lambda region: AffinePlaces(index[:-1], region)
    largest = np.minimum(_COARSEST, finest_detail(moving_from_fixed, onto.centre) / 2 / np.asarray(onto.spacing))

    def ask(index: Points) -> Points:
        return image_grid.index(moving_from_fixed(onto.points(index)))

    def between_nodes(region: Region) -> Places | None:
        shape, cells = np.array([part.stop - part.start for part in region]), largest
        while (cells > 0).all():
            counts = 2 * np.maximum(1, np.ceil((shape - 1) / cells)).astype(int) + 1
            if np.prod(counts) > _MOST_NODES * np.prod(shape):
                return None
            lines = [np.linspace(part.start, part.stop - 1, n) for part, n in zip(region, counts, strict=True)]
            index = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, onto.ndim)
            nodes = np.ascontiguousarray(ask(index).T).reshape(onto.ndim, *counts)
            if not np.isfinite(nodes).all():
                return None
            if _off(nodes) <= PLACE_ERROR:
                return NodePlaces(nodes, region, ask)
            cells = cells / 2
        return None

    return between_nodes


def _off(nodes: NDArray[np.float64]) -> float:
    """How far every second node is from telling where the others lie, in the unit of the nodes."""
    told = nodes[(slice(None), *[slice(None, None, 2)] * (nodes.ndim - 1))]
    for axis in range(1, nodes.ndim):
        weights = _spline(nodes.shape[axis], told.shape[axis])
        told = np.moveaxis(np.tensordot(weights, told, axes=(1, axis)), 0, axis)
    return float(np.abs(nodes - told).max())
