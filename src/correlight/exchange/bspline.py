"""B-spline transforms of ITK and elastix, evaluated as they are and not as samples of them."""

from __future__ import annotations

from collections import abc
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError
from correlight.exchange.orientation import Oriented
from correlight.geometry import Grid
from correlight.transforms import BSplineField, Transform


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
        return frame.placed(BSplineField(coefficients, grid, order))
    except TransformError as error:
        raise ReadError(f"The B-spline transform in {path} cannot be used: {error}") from error
