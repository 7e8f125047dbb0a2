"""Triangles of neighbouring beads, and those of two images that have the same shape.

A bead and two of its neighbours are a triangle, and two triangles of one shape fix a similarity. Shapes do not change
with rotation, mirror, scale and shift, so that triangles of all sizes and orientations are found in one tree.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from correlight.beads.nearest import Index
from correlight.geometry import Points

Numbers = NDArray[np.float64]

# Triangles flatter than this say nothing about the rotation around their long side, which matters in 3-D.
_FLAT = 0.2
# A side as long as the other to this share may be taken for the other one.
_SAME_LENGTH = 0.9
# Neighbours that support or contradict a hypothesis.
NEIGHBOURHOOD = 24


@dataclass(frozen=True, eq=False)
class Field:
    """The beads of one image with what the search asks about them.

    Parameters
    ----------
    points : (N, D) array
        Where the beads are.
    nearest : (N, K) array of int
        The other beads, nearest first.
    spacing : float
        Median distance to the nearest neighbour, but not nothing.
    density : float
        Beads per area, or volume, of the box around them.
    """

    points: Points
    nearest: Index
    spacing: float
    density: float

    @classmethod
    def of(cls, points: Points, most: int) -> Field:
        """A field, with at most so many neighbours of each bead."""
        count = min(max(most, NEIGHBOURHOOD), len(points) - 1)
        found = KDTree(points).query(points, k=count + 1)
        distances, order = np.asarray(found[0]), np.asarray(found[1], np.int64)
        # A bead may share its place with another one, which then may come first.
        itself = np.arange(len(points))[:, None]
        order[:, 1:][order[:, 1:] == itself] = order[:, 0][(order[:, 1:] == itself).any(axis=1)]
        extent = np.ptp(points, axis=0)
        content = float(np.prod(np.maximum(extent, 1e-6 * max(float(extent.max()), 1e-300))))
        # Where most beads were found twice, the distance to the nearest tells nothing.
        even = (content / len(points)) ** (1 / points.shape[1])
        spacing = max(float(np.median(distances[:, 1])), 0.01 * even)
        return cls(points, order[:, 1:], spacing, len(points) / content)


@dataclass(frozen=True, eq=False)
class Triangles:
    """Triangles of beads: a centre, its longer and its shorter side.

    Parameters
    ----------
    corners : (T, 3) array of int
        Numbers of the centre, the further and the nearer neighbour.
    shape : (T, 2) array
        Where the nearer neighbour lies when the longer side runs from 0 to 1: along it, and beside it.
    side : (T,) array
        Length of the longer side.
    frame : (T, D, D) array
        Orthonormal rows: along the longer side, beside it towards the nearer neighbour, and in 3-D upright on both.
    """

    corners: Index
    shape: Numbers
    side: Numbers
    frame: Numbers

    @classmethod
    def of(cls, field: Field, centres: Index, neighbours: int, both_orders: bool) -> Triangles:
        """All triangles of some beads with their nearest neighbours.

        Parameters
        ----------
        field : Field
            The beads.
        centres : (C,) array of int
            Which of them are centres.
        neighbours : int
            How many neighbours of each count.
        both_orders : bool
            Whether triangles with sides of nearly one length are listed in both orders, as noise may exchange them.
        """
        near, far = np.triu_indices(min(neighbours, field.nearest.shape[1]), 1)
        around = field.nearest[centres]
        centre = np.repeat(centres, len(near))
        corners = np.stack([centre, around[:, far].ravel(), around[:, near].ravel()], axis=1)
        if both_orders:
            long, short = (np.linalg.norm(field.points[corners[:, n]] - field.points[centre], axis=1) for n in (1, 2))
            corners = np.vstack([corners, corners[short > _SAME_LENGTH * long][:, [0, 2, 1]]])
        origin, long_end, short_end = (field.points[corners[:, n]] for n in range(3))
        long_side, short_side = long_end - origin, short_end - origin
        side = np.linalg.norm(long_side, axis=1)
        usable = side > 0
        along = long_side / np.where(usable, side, 1.0)[:, None]
        share = np.sum(short_side * along, axis=1)
        beside = short_side - share[:, None] * along
        height = np.linalg.norm(beside, axis=1)
        ndim = field.points.shape[1]
        usable &= height > (_FLAT if ndim == 3 else 1e-6) * side
        height = np.where(usable, height, 1.0)
        rows = [along, beside / height[:, None]]
        if ndim == 3:
            rows.append(np.cross(rows[0], rows[1]))
        shape = np.stack([share, height], axis=1) / np.where(usable, side, 1.0)[:, None]
        return cls(corners[usable], shape[usable], side[usable], np.stack(rows, axis=1)[usable])

    @property
    def mirrored(self) -> Triangles:
        """The same triangles with the last axis of the frame reversed: in 3-D a mirror image fits as well."""
        frame = self.frame.copy()
        frame[:, -1] *= -1
        return Triangles(self.corners, self.shape, self.side, frame)


class SimilarTriangles:
    """Finds triangles of one shape.

    Parameters
    ----------
    moving : Triangles
        Among which to look.
    tolerance : float
        Largest distance of shapes.
    scale : (least, greatest)
        Allowed ratio of the longer sides, moving length per fixed length.
    """

    def __init__(self, moving: Triangles, tolerance: float, scale: tuple[float, float]) -> None:
        self._moving, self._tolerance, self._scale = moving, tolerance, scale
        low, high = np.log(np.clip(scale, 1e-12, 1e12))
        # Where the scale is known roughly, length is a third coordinate that leaves most of the others out.
        self._middle, self._weight = (low + high) / 2, tolerance / max((high - low) / 2, tolerance)
        self._tree = KDTree(self._places(moving, 0.0))

    def _places(self, triangles: Triangles, shift: float) -> Numbers:
        return np.column_stack([triangles.shape, self._weight * (np.log(triangles.side) + shift)])

    def __call__(self, fixed: Triangles) -> tuple[Index, Index]:
        """Row numbers of the fixed and the moving triangles that are alike."""
        if not len(fixed.side) or not len(self._moving.side):
            return np.empty(0, np.int64), np.empty(0, np.int64)
        tree = KDTree(self._places(fixed, self._middle))
        found = tree.sparse_distance_matrix(self._tree, self._tolerance, p=np.inf, output_type="ndarray")
        one, other = found["i"].astype(np.int64), found["j"].astype(np.int64)
        ratio = self._moving.side[other] / fixed.side[one]
        apart = np.sum((fixed.shape[one] - self._moving.shape[other]) ** 2, axis=1)
        fits = (ratio >= self._scale[0]) & (ratio <= self._scale[1]) & (apart <= self._tolerance**2)
        return one[fits], other[fits]
