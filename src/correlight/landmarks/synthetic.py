"""Landmarks made of a transform, for programs that take nothing else.

Their coordinates are whole multiples of a ten-millionth of the image, which those that a hand sets are not: so they are
known again when another program hands them back, whatever it calls them and however the transform bends.
"""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.transforms import Transform

_LARGEST = 100
# So many steps along each axis of an image: a prime, so that no pixel and no round number of micrometres lies on one
# but by chance.
_STEPS = 9_999_991
# Of a step. Other programs keep double precision, whose rounding is far smaller; of coordinates set by hand one in
# fifty is so near a step, and of landmarks, with four coordinates, one in six million.
_NEAR = 0.01


def landmarks_of(moving_from_fixed: Transform, fixed: Grid, moving: Grid, per_axis: int = 5) -> LandmarkTable:
    """Corresponding places of two images on a lattice over the fixed one, to a ten-millionth of each image.

    Parameters
    ----------
    moving_from_fixed : Transform
        Between the frames of the two.
    fixed, moving : Grid
        Of the images.
    per_axis : int
        Places along each axis of the fixed image, 2 to 100; those that lie on no moving pixel are left out.

    Raises
    ------
    UsageError
        If that is not such a number, or the images have nothing in common.

    Examples
    --------
    >>> from correlight.transforms import Affine
    >>> grid = Grid.of((10, 10))
    >>> landmarks_of(Affine.identity(2), grid, grid, 2).fixed.points.round(3).tolist()
    [[2.0, 2.0], [2.0, 7.0], [7.0, 2.0], [7.0, 7.0]]
    """
    if not isinstance(per_axis, Integral) or not 2 <= per_axis <= _LARGEST:
        raise UsageError(
            f"A number of places along each axis is a whole number from 2 to {_LARGEST}; got {per_axis!r}."
        )
    # The middle of each part of the image, so that none lies on its rim.
    places = fixed.resized([min(per_axis, count) for count in fixed.shape]).lattice_of_pixels()
    there = moving_from_fixed(places)
    common = moving.contains(there)
    if not common.any():
        raise UsageError("The two images have nothing in common under this transform, so it makes no landmarks.")
    names = tuple(f"computed {number + 1}" for number in range(int(common.sum())))
    marked = _on_steps(fixed, places[common]), _on_steps(moving, there[common])
    return LandmarkTable(PointTable(names, marked[0], fixed.unit), PointTable(names, marked[1], moving.unit))


def untouched(landmarks: LandmarkTable, fixed: Grid, moving: Grid) -> NDArray[np.bool_]:
    """Which landmarks were made of a transform by `landmarks_of` and moved by nobody since, shape ``(N,)``.

    Parameters
    ----------
    landmarks : LandmarkTable
        As a file gave them back; names do not matter. Coordinates that were rounded are not known again.
    fixed, moving : Grid
        Of the images, as they were when the landmarks were made.
    """
    sides = ((landmarks.fixed, fixed), (landmarks.moving, moving))
    off = [_steps(grid, table.positions(grid)) for table, grid in sides]
    return np.asarray(np.all([np.abs(steps - np.round(steps)) <= _NEAR for steps in off], axis=(0, 2)))


def _steps(grid: Grid, positions: Points) -> NDArray[np.float64]:
    """How many steps lie between the outer edge of an image and each position, along each axis."""
    return (grid.index(positions) + 0.5) / grid.shape * _STEPS


def _on_steps(grid: Grid, positions: Points) -> Points:
    return grid.points(np.round(_steps(grid, positions)) / _STEPS * grid.shape - 0.5)
