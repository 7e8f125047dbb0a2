"""B-spline transforms of ITK and elastix, as they are and not as samples of them."""

from __future__ import annotations

from collections import abc
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError
from correlight.exchange.orientation import Oriented
from correlight.geometry import Grid
from correlight.transforms import Affine, BSplineField, Transform


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


def lattice_numbers(spline: BSplineField) -> tuple[NDArray[np.float64], tuple[list[float], ...]]:
    """Coefficients and lattice of a B-spline as ITK and elastix list them: size, origin, spacing, directions."""
    grid = spline.grid
    numbers = np.moveaxis(spline.coefficients[..., ::-1], -1, 0).ravel()
    size, origin, spacing = ([float(value) for value in part[::-1]] for part in (grid.shape, grid.origin, grid.spacing))
    return numbers, (size, origin, spacing, [float(value) for value in np.eye(grid.ndim).ravel()])


def joined_spline(spline: BSplineField, last: Affine, fixed: Grid) -> BSplineField:
    """One B-spline that is another and an affine map after it, over the fixed image.

    B-splines hold maps that keep straight lines straight exactly, so that an affine map goes into the coefficients.

    Parameters
    ----------
    spline : BSplineField
        Applied first.
    last : Affine
        Applied to what it leads to.
    fixed : Grid
        Where the map is needed.

    Raises
    ------
    TransformError
        If the spline ends within the fixed image, where it has no continuation.
    """
    corners, grid, order = fixed.corners(), spline.grid, spline.order
    index = grid.index(corners)
    short = (
        np.maximum(0.0, 0.5 * (order - 1) - index.min(axis=0)),
        index.max(axis=0) - (np.asarray(grid.shape) - 1 - 0.5 * (order - 1)),
    )
    before, after = (np.ceil(np.maximum(0.0, part) - 1e-9).astype(int) for part in short)
    inner = (slice(order, -order),) * grid.ndim
    rim = np.ones(grid.shape, bool)
    rim[inner] = False
    scale = max(float(np.abs(spline.coefficients).max()), np.finfo(float).tiny)
    if (before + after).any() and np.abs(spline.coefficients[rim]).max(initial=0.0) > 1e-9 * scale:
        raise TransformError(
            "The B-spline ends within the fixed image, where elastix would leave points unmoved; fit it to all of it."
        )
    pads = [*zip(before.tolist(), after.tolist(), strict=True), (0, 0)]
    coefficients = np.pad(spline.coefficients, pads)
    origin = np.asarray(grid.origin) - before * np.asarray(grid.spacing)
    wider = Grid.of(coefficients.shape[:-1], grid.spacing, tuple(origin), grid.unit)
    places = wider.lattice_of_pixels().reshape(*wider.shape, wider.ndim)
    numbers = coefficients @ last.linear.T + places @ (last.linear - np.eye(wider.ndim)).T + last.offset
    return BSplineField(numbers, wider, order)
