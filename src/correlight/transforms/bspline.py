"""A smooth displacement made of B-splines on a lattice of control points."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from correlight.errors import TransformError
from correlight.geometry import Grid, Points
from correlight.transforms.bent import OnLattice, lattice_of_cells
from correlight.transforms.protocol import checked

# A map is looked at in so many places a cell along each axis to see whether it folds.
_LOOKS_A_CELL = 3
# Derivatives at so many places at a time stay in the cache of the processor.
_AT_A_TIME = 2048
_ORDERS: dict[int, Literal[1, 2, 3]] = {1: 1, 2: 2, 3: 3}


@dataclass(frozen=True, eq=False)
class BSplineField(OnLattice):
    """A displacement made of B-splines on a lattice of control points: ``p + sum of coefficient * basis(p)``.

    Parameters
    ----------
    coefficients : ``(*grid.shape, D)`` array
        Displacement that each control point contributes, in the unit of the grid, array order.
    grid : Grid
        Where the control points stand, in the frame that the transform starts from; D = 2 or 3.
    order : {1, 2, 3}
        Order of the splines.

    Raises
    ------
    TransformError
        If the coefficients do not fit the grid or are not finite, or the grid is too small for the order.

    Notes
    -----
    A point is moved only where all control points that its splines need exist; elsewhere it stays where it is, as in
    ITK [1]_. Where the three outermost control points of every side are zero, the map is smooth across that border.

    References
    ----------
    .. [1] D. Rueckert et al., IEEE Trans. Med. Imaging 18, 712 (1999). doi:10.1109/42.796284

    Examples
    --------
    >>> bump = np.zeros((9, 9, 2))
    >>> bump[4, 4] = [0.9, 0.0]
    >>> field = BSplineField(bump, Grid.of((9, 9), 2.0, unit="micrometre"))
    >>> field([[8.0, 8.0]]).round(6)
    array([[8.4, 8. ]])
    >>> field.inverse()(field([[7.0, 9.0]])).round(6)
    array([[7., 9.]])
    """

    coefficients: NDArray[np.float64]
    grid: Grid
    order: int = 3

    def __post_init__(self) -> None:
        coefficients = np.array(self.coefficients, float)
        if coefficients.shape != (*self.grid.shape, self.grid.ndim) or not np.isfinite(coefficients).all():
            raise TransformError(
                f"Finite coefficients of the shape {(*self.grid.shape, self.grid.ndim)} were expected; got "
                f"{coefficients.shape}."
            )
        if self.order not in _ORDERS or min(self.grid.shape) <= self.order:
            raise TransformError(
                f"B-splines of order 1 to 3 need more control points than their order along every axis; got order "
                f"{self.order} on {self.grid.shape}."
            )
        coefficients.flags.writeable = False
        object.__setattr__(self, "coefficients", coefficients)

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        array = checked(points, self.ndim)
        return array + self.displaced(array)

    def displaced(self, points: ArrayLike) -> Points:
        """How far each of ``(N, D)`` points is moved, shape ``(N, D)``; zero beyond the lattice."""
        array = checked(points, self.ndim)
        index = self.grid.index(array)
        inside = self._inside(index)
        moved = np.zeros_like(array)
        if inside.any():
            places = index[inside].T
            for axis in range(self.ndim):
                moved[inside, axis] = ndimage.map_coordinates(
                    self.coefficients[..., axis], places, order=_ORDERS[self.order], mode="nearest", prefilter=False
                )
        return moved

    @property
    def words(self) -> str:
        """The kind, as a sentence calls it."""
        return "a B-spline"

    @cached_property
    def looks(self) -> Points:
        """Three places a cell along each axis; of very fine lattices 200,000 places."""
        return lattice_of_cells(self.grid, _LOOKS_A_CELL)

    def covers(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether each of ``(N, D)`` points has all control points that its splines need."""
        return self._inside(self.grid.index(checked(points, self.ndim)))

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``; the identity where points stay."""
        array = checked(points, self.ndim)
        index = self.grid.index(array)
        inside = self._inside(index)
        result = np.repeat(np.eye(self.ndim)[None], len(array), axis=0)
        places, number = index[inside], np.flatnonzero(inside)
        for start in range(0, len(places), _AT_A_TIME):
            part = slice(start, start + _AT_A_TIME)
            result[number[part]] += self._slopes(places[part])
        return result

    def _inside(self, index: Points) -> NDArray[np.bool_]:
        """Whether each place on the lattice is moved."""
        last = np.asarray(self.grid.shape) - 1 - self.order
        return np.asarray(np.all((index >= 0.5 * (self.order - 1)) & (index <= last + 0.5 * (self.order + 1)), axis=1))

    def _first(self, index: Points) -> NDArray[np.intp]:
        """The first control point along each axis that reaches a place on the lattice."""
        last = np.asarray(self.grid.shape) - 1 - self.order
        return np.clip(np.floor(index - 0.5 * (self.order - 1)).astype(np.intp), 0, last)

    def _slopes(self, index: Points) -> NDArray[np.float64]:
        """Derivative of the displacement at places on the lattice, ``(N, D, D)``."""
        ndim, reach = self.ndim, self.order + 1
        first = self._first(index)
        weights = basis(index - first, self.order)
        slopes = basis_slopes(index - first, self.order) / np.reshape(self.grid.spacing, (-1, 1))
        steps = np.ravel_multi_index(np.indices((reach,) * ndim).reshape(ndim, -1), self.grid.shape)
        near = np.ravel_multi_index(tuple(first.T), self.grid.shape)[:, None] + steps
        value = self.coefficients.reshape(-1, ndim).take(near, axis=0)
        # Axis by axis, the last first, control points in reach become one: the value, and its slope along each axis.
        along: list[NDArray[np.float64]] = []
        for axis in reversed(range(ndim)):
            along = [_summed(one, weights[:, axis]) for one in along]
            along.insert(0, _summed(value, slopes[:, axis]))
            value = _summed(value, weights[:, axis])
        return np.concatenate(along, axis=1).transpose(0, 2, 1)


def _summed(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of every so many of ``(N, M, D)`` values with weights ``(N, order + 1)``."""
    count, reach = weights.shape
    return np.asarray(np.einsum("nmkd,nk->nmd", values.reshape(count, -1, reach, values.shape[2]), weights))


def basis(place: Points, order: int) -> NDArray[np.float64]:
    """Weights of the control points in reach of each place, counted from the first: ``(..., order + 1)``."""
    return centred_spline(place[..., None] - np.arange(order + 1), order)


def basis_slopes(place: Points, order: int) -> NDArray[np.float64]:
    """Derivatives of the weights: differences of splines of the order below, half a step to either side."""
    apart = place[..., None] - np.arange(order + 1)
    return np.asarray(centred_spline(apart + 0.5, order - 1) - centred_spline(apart - 0.5, order - 1))


def centred_spline(apart: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """The centred B-spline of an order at a distance from its control point."""
    t = np.abs(apart)
    if order == 0:
        return np.where((apart >= -0.5) & (apart < 0.5), 1.0, 0.0)
    if order == 1:
        return np.maximum(1.0 - t, 0.0)
    if order == 2:
        return np.where(t < 0.5, 0.75 - t * t, np.where(t < 1.5, 0.5 * (1.5 - t) ** 2, 0.0))
    return np.where(t < 1, 2 / 3 - t * t + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0.0))
