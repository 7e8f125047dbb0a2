"""Landmarks made of a transform, for programs that take nothing else."""

from __future__ import annotations

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.transforms import Transform

_LARGEST = 100


def landmarks_of(moving_from_fixed: Transform, fixed: Grid, moving: Grid, per_axis: int = 5) -> LandmarkTable:
    """Corresponding places of two images on a lattice over the fixed one.

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
    >>> landmarks_of(Affine.identity(2), grid, grid, 2).fixed.points.tolist()
    [[2.0, 2.0], [2.0, 7.0], [7.0, 2.0], [7.0, 7.0]]
    """
    if not isinstance(per_axis, int) or not 2 <= per_axis <= _LARGEST:
        raise UsageError(f"A number of places along each axis is a whole number from 2 to {_LARGEST}; got {per_axis}.")
    # The middle of each part of the image, so that none lies on its rim.
    places = fixed.resized([min(per_axis, count) for count in fixed.shape]).lattice_of_pixels()
    there = moving_from_fixed(places)
    common = moving.contains(there)
    if not common.any():
        raise UsageError("The two images have nothing in common under this transform, so it makes no landmarks.")
    names = tuple(str(number + 1) for number in range(int(common.sum())))
    return LandmarkTable(PointTable(names, places[common], fixed.unit), PointTable(names, there[common], moving.unit))
