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
from correlight.transforms.bent import Bent, OnLattice, lattice_of_cells
from correlight.transforms.linear import Affine
from correlight.transforms.protocol import Transform, checked

# Displacements that stand for a smooth map reproduce it to this share of a pixel, on at most so many nodes a side.
_EXACT, _MOST_NODES = 0.01, {2: 1025, 3: 97}


@dataclass(frozen=True, eq=False)
class Displacement(OnLattice):
    """A displacement sampled on a grid: ``p + d(p)``, linear in between and constant beyond the edge.

    Parameters
    ----------
    vectors : ``(*grid.shape, D)`` array
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

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        array = checked(points, self.ndim)
        index = self.grid.index(array).T
        parts = np.moveaxis(self.vectors, -1, 0)
        moved: Points = array + np.stack(
            [ndimage.map_coordinates(p, index, order=1, mode="nearest") for p in parts], axis=-1
        )
        return moved

    @property
    def words(self) -> str:
        """The kind, as a sentence calls it."""
        return "a displacement field"

    @cached_property
    def looks(self) -> Points:
        """The vectors, and the middles between them; of very fine grids 200,000 places."""
        return lattice_of_cells(self.grid, 2)

    def covers(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether each of ``(N, D)`` points lies within the grid, to the outer edges of its pixels."""
        return self.grid.contains(checked(points, self.ndim))

    @cached_property
    def volumes(self) -> tuple[float, float]:
        """Smallest and greatest determinant over the corners of every cell.

        In two dimensions the determinant is linear within a cell, so its corners suffice; in three they give
        nearly all.
        """
        field = self.vectors
        for axis, count in enumerate(self.grid.shape):
            field = np.repeat(field, 2, axis=axis) if count == 1 else field
        edges = [np.diff(field, axis=axis) / step for axis, step in enumerate(self.grid.spacing)]
        smallest, greatest = np.inf, -np.inf
        for corner in product((0, 1), repeat=self.ndim):
            columns = []
            for axis, edge in enumerate(edges):
                window = [slice(low, low + n - 1) for low, n in zip(corner, field.shape, strict=False)]
                window[axis] = slice(None)
                columns.append(edge[tuple(window)])
            found = np.linalg.det(np.stack(columns, -1) + np.eye(self.ndim))
            smallest, greatest = min(smallest, float(found.min())), max(greatest, float(found.max()))
        return smallest, greatest

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


def sampled(smooth: Callable[[Points], Points], grid: Grid) -> Displacement:
    """A map as displacements at the pixels of a grid, for files and tools that know no other field."""
    points = grid.lattice_of_pixels()
    return Displacement((smooth(points) - points).reshape(*grid.shape, grid.ndim), grid)


def with_sampled_field(moving_from_fixed: Callable[[Points], Points], linear: Affine, over: Grid) -> Transform:
    """A map that bends in a form that files hold: displacements over a field (`as_displacement`), then a linear map."""
    back = linear.inverse()
    return linear @ as_displacement(lambda places: back(moving_from_fixed(places)), over)


def box_of(field: Bent) -> Grid:
    """A grid over the places that show whether a field folds, several pixels to each of its details."""
    looks = field.looks
    lowest, sides = looks.min(axis=0), np.ptp(looks, axis=0)
    shape = np.clip(np.ceil(8 * sides / max(field.finest, 1e-12 * sides.max())), 1, 2**20).astype(int) + 1
    return Grid.of(shape, tuple(np.maximum(sides, 1e-9 * sides.max()) / (shape - 1)), tuple(lowest), "micrometre")


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
        field = sampled(smooth, grid)
        middles = grid.points(np.indices(tuple(n - 1 for n in grid.shape)).reshape(over.ndim, -1).T + 0.5)
        off = np.linalg.norm(field(middles) - smooth(middles), axis=1).max()
        if off <= _EXACT * min(over.spacing) or nodes >= _MOST_NODES[over.ndim]:
            return field
        nodes = 2 * nodes - 1
