"""A lattice of control points over a field: what a smooth displacement is made of while it is fitted."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, reduce
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from correlight.geometry import Grid, Points
from correlight.transforms import VelocityField
from correlight.transforms.bspline import basis
from correlight.transforms.velocity import RIM

# Control points that move lie so many cells beyond the field at every side, so that a field ends gently.
_BEYOND = 2


@dataclass(frozen=True, eq=False)
class Lattice:
    """Control points of a velocity over a field, those that move and a rim of those that do not.

    Parameters
    ----------
    grid : Grid
        All control points, in the frame of the field.
    """

    grid: Grid

    @classmethod
    def over(cls, field: Grid, cells: int) -> Lattice:
        """A lattice of so many cells along the longest side of a field, and as large ones along the others.

        Parameters
        ----------
        field : Grid
            What is covered, from outer edge to outer edge.
        cells : int
            At least one.
        """
        side = max(field.extent) / cells
        counts = [max(1, round(extent / side)) for extent in field.extent]
        spacing = [extent / count for extent, count in zip(field.extent, counts, strict=True)]
        before = RIM + _BEYOND - 1
        lowest = field.corners().min(axis=0)
        origin = [low - before * step for low, step in zip(lowest, spacing, strict=True)]
        return cls(Grid.of([count + 1 + 2 * before for count in counts], spacing, origin, field.unit))

    @property
    def inner(self) -> tuple[int, ...]:
        """How many control points move along each axis."""
        return tuple(n - 2 * RIM for n in self.grid.shape)

    @property
    def count(self) -> int:
        """How many control points move."""
        return int(np.prod(self.inner))

    @property
    def cells(self) -> tuple[int, ...]:
        """Cells over the field along each axis."""
        return tuple(n - 2 * _BEYOND + 1 for n in self.inner)

    def velocity(self, coefficients: NDArray[np.float64], finer: int | None = None) -> VelocityField:
        """The flow of ``(count, D)`` coefficients, as exact as `VelocityField` says."""
        ndim = self.grid.ndim
        whole = np.zeros((*self.grid.shape, ndim))
        whole[(slice(RIM, -RIM),) * ndim] = coefficients.reshape(*self.inner, ndim)
        return VelocityField(whole, self.grid, finer)

    def design(self, points: Points) -> sparse.csr_array:
        """Weights of the moving control points at ``(N, D)`` places, shape ``(N, count)``."""
        columns, shares = self._around(points)
        rows, number = np.nonzero(columns >= 0)
        where = rows, columns[rows, number]
        return sparse.csr_array((shares[rows, number], where), shape=(len(points), self.count))

    def by_cell(self, points: Points) -> list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]]:
        """Of every cell with places in it: which they are, the moving control points around, and their weights there.

        Parameters
        ----------
        points : (N, D) array
            Places.

        Returns
        -------
        list of ((n,) array, (k,) array, (n, k) array)
        """
        columns, shares = self._around(points)
        _, cell = np.unique(columns, axis=0, return_inverse=True)
        order = np.argsort(cell, kind="stable")
        found = []
        for rows in np.split(order, np.flatnonzero(np.diff(cell[order])) + 1):
            moving = columns[rows[0]] >= 0
            found.append((rows, columns[rows[0], moving], shares[np.ix_(rows, moving)]))
        return found

    def _around(self, points: Points) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
        """The control points around each place, -1 for those that do not move, and their weights, ``(N, 4**D)``."""
        index = np.clip(self.grid.index(points), 1.0, np.asarray(self.grid.shape) - 2.0 - 1e-9)
        first = np.floor(index - 1.0).astype(np.intp)
        weights = basis(index - first, 3)
        ndim = points.shape[1]
        columns, shares = [], []
        for step in product(range(4), repeat=ndim):
            node = first + step - RIM
            moving = np.all((node >= 0) & (node < self.inner), axis=1)
            columns.append(np.where(moving, np.ravel_multi_index(tuple(node.T), self.inner, mode="clip"), -1))
            shares.append(np.prod(weights[:, range(ndim), step], axis=1))
        return np.stack(columns, axis=-1), np.stack(shares, axis=-1)

    @cached_property
    def bending(self) -> sparse.csr_array:
        """Bending energy by differences of control points, as a matrix of the shape ``(count, count)``.

        For fields that vanish at the rim it is the sum of the squared gradients of divergence and of curl, which
        Arganda-Carreras et al. (2006, doi:10.1007/11889762_8) weight apart from each other. Differences from the zeros
        of the rim do not count: the images end there and say nothing of what lies beyond, and a field that was held to
        vanish there would be held back at their edges.
        """
        ndim = self.grid.ndim
        once = [_differences(n, 1) for n in self.inner]
        twice = [_differences(n, 2) for n in self.inner]
        total = sparse.csr_array((self.count, self.count))
        for one in range(ndim):
            for other in range(one, ndim):
                factors = [sparse.eye_array(n, format="csr") for n in self.inner]
                if one == other:
                    factors[one] = twice[one].T @ twice[one]
                else:
                    factors[one], factors[other] = once[one].T @ once[one], once[other].T @ once[other]
                weight = 1.0 if one == other else 2.0
                total = total + weight * reduce(lambda a, b: sparse.kron(a, b, format="csr"), factors)
        return sparse.csr_array(total)

    @cached_property
    def divergence(self) -> sparse.csr_array:
        """Squared gradient of the divergence, as a matrix of the shape ``(count * D, count * D)``."""
        ndim = self.grid.ndim
        return self._squared_gradient([(axis, axis, 1.0) for axis in range(ndim)])

    @cached_property
    def curl(self) -> sparse.csr_array:
        """Squared gradient of the curl, likewise."""
        ndim = self.grid.ndim
        planes = [(one, other) for one in range(ndim) for other in range(one)]
        parts = [self._squared_gradient([(one, other, 1.0), (other, one, -1.0)]) for one, other in planes]
        return sparse.csr_array(sum(parts[1:], parts[0]))

    def _squared_gradient(self, parts: list[tuple[int, int, float]]) -> sparse.csr_array:
        """Of a sum of slopes, each along an axis, of a component, and with a factor."""
        ndim = self.grid.ndim
        columns = [sparse.csr_array((int(np.prod([n + 2 for n in self.inner])), self.count)) for _ in range(ndim)]
        for along, component, factor in parts:
            columns[component] = columns[component] + factor * _slope(self.inner, along)
        # Coefficients are ordered by control point, then by component.
        order = np.arange(self.count * ndim).reshape(ndim, self.count).T.ravel()
        slope = sparse.csr_array(sparse.hstack(columns, format="csc")[:, order])
        wide = tuple(n + 2 for n in self.inner)
        total = sparse.csr_array((self.count * ndim, self.count * ndim))
        # One column for each slope of each component, and each component itself.
        index = np.indices(self.inner).reshape(ndim, -1).T + 1.0
        straight = np.kron(np.column_stack([index, np.ones(self.count)]), np.eye(ndim))
        for axis in range(ndim):
            steep = sparse.csr_array(_slope(wide, axis) @ slope)
            # As of the bending: rows that look into the rim see a step where a field goes straight on.
            inside = sparse.diags_array(np.asarray(abs(steep @ straight).max(axis=1) < 1e-9, float))
            total = total + steep.T @ (inside @ steep)
        return sparse.csr_array(total)


def _slope(shape: tuple[int, ...], along: int) -> sparse.csr_array:
    """Central differences along one axis of numbers with zeros around them, at one place more at every side."""
    central = [
        sparse.diags_array([[0.5] * n, [-0.5] * n], offsets=[0, -2], shape=(n + 2, n), format="csr") for n in shape
    ]
    same = [sparse.diags_array([[1.0] * n], offsets=[-1], shape=(n + 2, n), format="csr") for n in shape]
    factors = [central[axis] if axis == along else same[axis] for axis in range(len(shape))]
    total: sparse.csr_array = factors[0]
    for factor in factors[1:]:
        total = sparse.kron(total, factor, format="csr")
    return sparse.csr_array(total)


def _differences(count: int, order: int) -> sparse.csr_array:
    """First or second differences of ``count`` numbers."""
    stencil = {1: (-1.0, 1.0), 2: (1.0, -2.0, 1.0)}[order]
    rows = max(count - order, 0)
    diagonals = [[value] * rows for value in stencil]
    return sparse.csr_array(sparse.diags_array(diagonals, offsets=range(len(stencil)), shape=(rows, count)))
