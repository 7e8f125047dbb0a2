"""A displacement sampled on a grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from correlight.errors import TransformError
from correlight.geometry import Grid, Points
from correlight.transforms.newton import Inverted
from correlight.transforms.protocol import Transform, checked
from correlight.transforms.sequence import Sequence

# Displacements that stand for a smooth map reproduce it to this share of a pixel, on at most so many nodes a side.
_EXACT, _MOST_NODES = 0.01, {2: 1025, 3: 97}


@dataclass(frozen=True, eq=False)
class Displacement:
    """A displacement sampled on a grid: ``p + d(p)``, linear in between and constant beyond the edge.

    Parameters
    ----------
    vectors : (*grid.shape, D) array
        Displacement at each pixel of the grid, in the grid's unit, array order.
    grid : Grid
        Where the vectors stand, in the frame that the transform starts from.
    """

    vectors: NDArray[np.float64]
    grid: Grid

    def __post_init__(self) -> None:
        vectors = np.array(self.vectors, float)
        if vectors.shape != (*self.grid.shape, self.grid.ndim):
            raise TransformError(
                f"Displacements on a grid of shape {self.grid.shape} must have the shape "
                f"{(*self.grid.shape, self.grid.ndim)}; got {vectors.shape}."
            )
        if not np.all(np.isfinite(vectors)):
            raise TransformError("Displacements must be finite; fill the unknown ones before making a transform.")
        vectors.flags.writeable = False
        object.__setattr__(self, "vectors", vectors)

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.grid.ndim

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        array = checked(points, self.ndim)
        index = self.grid.index(array).T
        parts = np.moveaxis(self.vectors, -1, 0)
        moved: Points = array + np.stack(
            [ndimage.map_coordinates(p, index, order=1, mode="nearest") for p in parts], axis=-1
        )
        return moved

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        return Sequence((other, self))

    def inverse(self) -> Transform:
        """The map back, found by iteration at every call; raises if the field folds.

        A point that the iteration does not reach comes out as NaN.
        """
        if self._smallest_volume <= 0:
            raise TransformError("The displacement field folds over itself and has no inverse.")
        return Inverted(self, max(self.grid.extent))

    @cached_property
    def _smallest_volume(self) -> float:
        """Smallest determinant over the corners of every cell.

        In two dimensions the determinant is linear within a cell, so its corners suffice; in three they give
        nearly all.
        """
        field = self.vectors
        for axis, count in enumerate(self.grid.shape):
            field = np.repeat(field, 2, axis=axis) if count == 1 else field
        edges = [np.diff(field, axis=axis) / step for axis, step in enumerate(self.grid.spacing)]
        smallest = np.inf
        for corner in product((0, 1), repeat=self.ndim):
            columns = []
            for axis, edge in enumerate(edges):
                window = [slice(low, low + n - 1) for low, n in zip(corner, field.shape, strict=False)]
                window[axis] = slice(None)
                columns.append(edge[tuple(window)])
            smallest = min(smallest, float(np.linalg.det(np.stack(columns, -1) + np.eye(self.ndim)).min()))
        return smallest

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative of the interpolated map at each point, shape ``(N, D, D)``; constant beyond the edge."""
        array = checked(points, self.ndim)
        last = np.asarray(self.grid.shape) - 1
        index = np.nan_to_num(self.grid.index(array))
        low = np.clip(np.floor(index), 0, np.maximum(last - 1, 0)).astype(int)
        high = np.minimum(low + 1, last)
        share = np.clip(index - low, 0.0, 1.0)
        inside = (index >= 0) & (index <= last)
        result = np.zeros((len(array), self.ndim, self.ndim))
        for corner in product((0, 1), repeat=self.ndim):
            upper = np.asarray(corner, bool)
            vectors = self.vectors[tuple(np.where(upper, high, low).T)]
            weights = np.where(upper, share, 1.0 - share)
            for axis in range(self.ndim):
                others = np.prod(np.delete(weights, axis, axis=1), axis=1)
                slope = (1.0 if upper[axis] else -1.0) * others * inside[:, axis] / self.grid.spacing[axis]
                result[:, :, axis] += slope[:, None] * vectors
        return result + np.eye(self.ndim)


def as_displacement(smooth: Callable[[Points], Points], over: Grid) -> Displacement:
    """A smooth map in a form that a file can hold: displacements at nodes that reach from edge to edge of a field.

    The nodes lie so close that linear interpolation between them is off by less than a hundredth of a pixel, as far as
    1025 (in space 97) nodes a side suffice for that.

    Parameters
    ----------
    smooth : callable
        Maps ``(N, D)`` points to points of the same frame.
    over : Grid
        The field, such as the fixed image.
    """
    corners = over.corners()
    first, last = corners.min(axis=0), corners.max(axis=0)
    nodes = 17
    while True:
        grid = Grid.of((nodes,) * over.ndim, tuple((last - first) / (nodes - 1)), tuple(first), over.unit)
        points = grid.lattice_of_pixels()
        field = Displacement((smooth(points) - points).reshape(*grid.shape, over.ndim), grid)
        middles = grid.points(np.indices(tuple(n - 1 for n in grid.shape)).reshape(over.ndim, -1).T + 0.5)
        off = np.linalg.norm(field(middles) - smooth(middles), axis=1).max()
        if off <= _EXACT * min(over.spacing) or nodes >= _MOST_NODES[over.ndim]:
            return field
        nodes = 2 * nodes - 1
