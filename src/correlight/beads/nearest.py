"""The nearest bead to any place, from a table over the field, for millions of places at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from correlight.geometry import Points

Index = NDArray[np.int64]
# Half the memory of double precision, and exact to a millionth of the field.
Single = NDArray[np.float32]

# Cells of the table per mean distance of beads, along each axis, and at most along the longest one.
_FINENESS, _MOST_CELLS = 5, 500


class Nearest:
    """The nearest bead to any place, nearly always right.

    The table holds the bead nearest to the middle of each cell; the distance is that to the bead itself. Only where two
    beads are about equally near may the other one be taken.

    Parameters
    ----------
    points : (N, D) array
        The beads, around the origin.
    """

    def __init__(self, points: Points) -> None:
        ndim = points.shape[1]
        low, high = points.min(axis=0), points.max(axis=0)
        extent = np.maximum(high - low, 1e-9 * max(float((high - low).max()), 1e-300))
        per_bead = (float(np.prod(extent)) / len(points)) ** (1 / ndim)
        cell = max(per_bead / _FINENESS, float(extent.max()) / _MOST_CELLS)
        shape = np.ceil(extent / cell).astype(int) + 9
        # Four cells beyond the outermost beads on every side; whatever is further away is cut off there.
        origin = low - 4 * cell
        centres = np.indices(tuple(shape)).reshape(ndim, -1).T * cell + origin
        self._table = np.asarray(KDTree(points).query(centres)[1]).astype(np.int32)
        self._stride = [int(np.prod(shape[axis + 1 :])) for axis in range(ndim)]
        self._last = [np.float32(n - 1) for n in shape]
        self._origin, self._cell = origin.astype(np.float32), np.float32(cell)
        self.columns: Single = np.ascontiguousarray(points.T, dtype=np.float32)

    def __call__(self, places: list[Single]) -> tuple[NDArray[np.int32], Single]:
        """The nearest bead and the squared distance to it.

        Parameters
        ----------
        places : list of D arrays of float32
            One per axis, all of one shape.

        Returns
        -------
        index : array of int32
            Numbers of beads, of that shape.
        squared : array of float32
            Squared distances.
        """
        index = np.zeros(places[0].shape, np.int32)
        for axis, values in enumerate(places):
            cell = (values - (self._origin[axis] - self._cell / 2)) * (1 / self._cell)
            np.clip(cell, 0, self._last[axis], out=cell)
            index += cell.astype(np.int32) * np.int32(self._stride[axis])
        nearest = self._table[index]
        squared = np.zeros(places[0].shape, np.float32)
        for axis, values in enumerate(places):
            apart = self.columns[axis][nearest]
            apart -= values
            apart *= apart
            squared += apart
        return nearest, squared
