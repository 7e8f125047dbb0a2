"""Landmarks made of a transform, for programs that take nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.transforms import Transform

_LARGEST = 100
# What such landmarks are called, so that they are known again when another program hands them back.
_NAME = "computed"
_DRAWS = 200
# Of the extent of the points: less than this is rounding, and nobody sets a landmark so exactly.
_EXACT = 1e-6


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
    names = tuple(f"{_NAME} {number + 1}" for number in range(int(common.sum())))
    return LandmarkTable(PointTable(names, places[common], fixed.unit), PointTable(names, there[common], moving.unit))


def untouched(names: Sequence[str], fixed: Points, moving: Points) -> NDArray[np.bool_]:
    """Which landmarks were made of a transform and moved by nobody since.

    They are called as `landmarks_of` calls them, and more of them lie exactly on one affine transform than determine
    it. Those of a map that bends, or of a projective one, are not told from landmarks that were moved.

    Parameters
    ----------
    names : sequence of str
        One per landmark.
    fixed, moving : (N, D) array
        Paired points.
    """
    out = np.zeros(len(names), bool)
    named = np.flatnonzero([re.fullmatch(rf"{_NAME} \d+", name) is not None for name in names])
    count = fixed.shape[1] + 1
    if len(named) <= count:
        return out
    rng = np.random.default_rng(0)
    start, end = np.column_stack([fixed[named], np.ones(len(named))]), moving[named]
    limit, best = _EXACT * float(np.ptp(end, axis=0).max()), np.zeros(len(named), bool)
    for _ in range(_DRAWS):
        some = rng.choice(len(named), count, replace=False)
        if np.linalg.matrix_rank(start[some]) < count:
            continue
        there = start @ np.linalg.solve(start[some], end[some])
        exact = np.linalg.norm(there - end, axis=1) <= limit
        best = exact if exact.sum() > best.sum() else best
    if best.sum() > count:
        out[named[best]] = True
    return out
