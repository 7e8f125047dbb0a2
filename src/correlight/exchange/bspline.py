"""B-spline transforms of ITK and elastix, evaluated as they are and not as samples of them."""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import ReadError, TransformError
from correlight.exchange.orientation import Oriented
from correlight.geometry import Grid, Points
from correlight.transforms import Sequence, Transform
from correlight.transforms.newton import Inverted

_LOOKS = {2: 41, 3: 17}  # places per axis at which a map is used to see whether it folds


@dataclass(frozen=True, eq=False)
class BSpline:
    """A displacement made of B-splines on a lattice of control points: ``p + sum of coefficient * basis(p)``.

    Parameters
    ----------
    coefficients : (*grid.shape, D) array
        Displacement that each control point contributes, array order.
    grid : Grid
        Where the control points stand.
    order : {1, 2, 3}
        Order of the splines.

    Raises
    ------
    TransformError
        If the coefficients do not fit the grid or are not finite, or the grid is too small for the order.

    Notes
    -----
    A point is moved only where all control points that its splines need exist; elsewhere it stays where it is, as in
    ITK (D. Rueckert et al., IEEE Trans. Med. Imaging 18, 712 (1999). doi:10.1109/42.796284).
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
        if self.order not in (1, 2, 3) or min(self.grid.shape) <= self.order:
            raise TransformError(
                f"B-splines of order 1 to 3 need more control points than their order along every axis; got order "
                f"{self.order} on {self.grid.shape}."
            )
        coefficients.flags.writeable = False
        object.__setattr__(self, "coefficients", coefficients)

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.grid.ndim

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        array = np.asarray(points, float)
        inside, first, index = self._support(array)
        weights = _basis(index - first, self.order)
        moved: Points = array + np.where(inside[:, None], self._summed(first, weights), 0.0)
        return moved

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        return Sequence((other, self))

    def inverse(self) -> Transform:
        """The map back, found by iteration at every call; raises if the map folds."""
        places = self.grid.lattice(_LOOKS[self.ndim])
        if np.linalg.det(self.jacobian(places)).min() <= 0:
            raise TransformError("The B-spline transform folds over itself and has no inverse.")
        return Inverted(self, max(self.grid.extent))

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``; the identity where points stay."""
        array = np.asarray(points, float)
        inside, first, index = self._support(array)
        weights, slopes = _basis(index - first, self.order), _slopes(index - first, self.order)
        result = np.zeros((len(array), self.ndim, self.ndim))
        for axis in range(self.ndim):
            mixed = weights.copy()
            mixed[:, axis] = slopes[:, axis] / self.grid.spacing[axis]
            result[:, :, axis] = np.where(inside[:, None], self._summed(first, mixed), 0.0)
        return result + np.eye(self.ndim)

    def _support(self, array: Points) -> tuple[NDArray[np.bool_], NDArray[np.intp], Points]:
        """Whether each point is moved, its first control point along each axis, and its place on the lattice."""
        index = self.grid.index(array)
        last = np.asarray(self.grid.shape) - 1 - self.order
        inside = np.all((index >= 0.5 * (self.order - 1)) & (index <= last + 0.5 * (self.order + 1)), axis=1)
        first = np.floor(np.where(inside[:, None], index, 0.0) - 0.5 * (self.order - 1)).astype(np.intp)
        return inside, np.clip(first, 0, last), np.where(inside[:, None], index, 0.0)

    def _summed(self, first: NDArray[np.intp], weights: NDArray[np.float64]) -> Points:
        """Coefficients times the product of the weights ``(N, D, order + 1)`` of all control points in reach."""
        total = np.zeros((len(first), self.ndim))
        for step in product(range(self.order + 1), repeat=self.ndim):
            share = np.prod(weights[:, range(self.ndim), step], axis=1)
            total += share[:, None] * self.coefficients[tuple((first + step).T)]
        return total


def bspline_from_lists(
    parameters: NDArray[np.float64],
    lattice: abc.Sequence[abc.Sequence[float]],
    path: str | Path,
    order: int = 3,
) -> Transform:
    """A B-spline transform from what ITK and elastix write, x first.

    Parameters
    ----------
    parameters : array
        The coefficients of x, then those of y and z, x fastest.
    lattice : sequence of four sequences of float
        Size, origin, spacing and directions of the lattice of control points.
    path : str or Path
        The file, for the message of an error.
    order : int
        Order of the splines.

    Raises
    ------
    ReadError
        If the lists do not fit each other.
    """
    size, origin, spacing, directions = lattice
    d = len(size)
    if not (len(origin) == len(spacing) == d and len(directions) == d * d and d in (2, 3)):
        raise ReadError(f"The lattice of the B-spline transform in {path} is not described completely.")
    frame = Oriented.of(origin, directions, f"The B-spline transform in {path}")
    count = np.prod(np.asarray(size, float))
    whole = all(float(n).is_integer() and 1 <= n <= 1e9 for n in size)
    if not whole or parameters.size != d * count or not np.isfinite([*origin, *spacing]).all() or min(spacing) <= 0:
        raise ReadError(f"The B-spline transform in {path} needs {d * count:.0f} numbers; got {parameters.size}.")
    shape = tuple(int(n) for n in size[::-1])
    grid = Grid.of(shape, tuple(spacing[::-1]), tuple(origin[::-1]), "micrometre")
    coefficients = frame.along_axes(np.moveaxis(parameters.reshape(d, *shape)[::-1], 0, -1))
    try:
        return frame.placed(BSpline(coefficients, grid, order))
    except TransformError as error:
        raise ReadError(f"The B-spline transform in {path} cannot be used: {error}") from error


def _basis(place: Points, order: int) -> NDArray[np.float64]:
    """Weights of the control points in reach of each place, counted from the first: ``(N, D, order + 1)``."""
    return _values(place[..., None] - np.arange(order + 1), order)


def _slopes(place: Points, order: int) -> NDArray[np.float64]:
    """Derivatives of the weights: differences of splines of the order below, half a step to either side."""
    apart = place[..., None] - np.arange(order + 1)
    return np.asarray(_values(apart + 0.5, order - 1) - _values(apart - 0.5, order - 1))


def _values(apart: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """The centred B-spline of an order at a distance from its control point."""
    t = np.abs(apart)
    if order == 0:
        return np.where((apart >= -0.5) & (apart < 0.5), 1.0, 0.0)
    if order == 1:
        return np.maximum(1.0 - t, 0.0)
    if order == 2:
        return np.where(t < 0.5, 0.75 - t * t, np.where(t < 1.5, 0.5 * (1.5 - t) ** 2, 0.0))
    return np.where(t < 1, 2 / 3 - t * t + t**3 / 2, np.where(t < 2, (2 - t) ** 3 / 6, 0.0))
