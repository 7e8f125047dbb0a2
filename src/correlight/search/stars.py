"""Stars of beads: a bead and pairs of its neighbours, compared by shape, give hypotheses of how two fields lie.

A bead and two of its neighbours are a triangle, and two triangles of one shape fix a similarity. Shapes do not change
with rotation, mirror, scale and shift, so that triangles of all sizes and turns are found in one tree. Most triangles
that fit do so by chance; those whose further neighbours fit as well are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from correlight.geometry import Points

Index = NDArray[np.int64]
Numbers = NDArray[np.float64]

# Triangles flatter than this say nothing about the turn around their long side, which matters in 3-D.
_FLAT = 0.2
# A side as long as the other to this share may be taken for the other one.
_ALIKE = 0.9
# Cells per mean distance of beads, along each axis, in the table of nearest beads.
_FINENESS = 5
# So many mapped points fit into the cache together.
_CHUNK = 400_000


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
        Median distance to the nearest neighbour.
    """

    points: Points
    nearest: Index
    spacing: float

    @classmethod
    def of(cls, points: Points, most: int) -> Field:
        """A field, with at most so many neighbours of each bead."""
        count = min(most, len(points) - 1)
        distances, order = KDTree(points).query(points, k=count + 1)
        return cls(points, np.asarray(order[:, 1:], np.int64), float(np.median(distances[:, 1])))


class Lookup:
    """The nearest bead to any place, from a table over the field: nearly always right, and fast for millions.

    Parameters
    ----------
    points : (N, D) array
        The beads.
    """

    def __init__(self, points: Points) -> None:
        low, high = points.min(axis=0), points.max(axis=0)
        extent = np.maximum(high - low, 1e-9 * float(np.ptp(points, axis=0).max() or 1.0))
        per_bead = (float(np.prod(extent)) / len(points)) ** (1 / points.shape[1])
        self._cell = max(per_bead / _FINENESS, float(extent.max()) / 500)
        margin = 4 * self._cell
        self._origin = low - margin
        self._shape = np.ceil((extent + 2 * margin) / self._cell).astype(np.int64) + 1
        centres = np.indices(tuple(self._shape)).reshape(points.shape[1], -1).T * self._cell + self._origin
        self._table = KDTree(points).query(centres)[1].astype(np.int64)
        self._stride = np.append(np.cumprod(self._shape[:0:-1])[::-1], 1)
        self._points = points

    def __call__(self, places: Points) -> tuple[Index, Numbers]:
        """The number of the nearest bead and the squared distance to it, for places of shape ``(..., D)``."""
        cell = np.rint((places - self._origin) / self._cell)
        np.clip(cell, 0, self._shape - 1, out=cell)
        index = self._table[(cell @ self._stride).astype(np.int64)]
        return index, np.sum((self._points[index] - places) ** 2, axis=-1)


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
            corners = np.vstack([corners, corners[short > _ALIKE * long][:, [0, 2, 1]]])
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
    def turned_over(self) -> Triangles:
        """The same triangles with the last axis of the frame reversed: in 3-D a mirror image fits as well."""
        frame = self.frame.copy()
        frame[:, -1] *= -1
        return Triangles(self.corners, self.shape, self.side, frame)


@dataclass(frozen=True, eq=False)
class Hypotheses:
    """Similarities, each said by two triangles of one shape.

    Parameters
    ----------
    linear : (H, D, D) array
        Linear part of ``moving_from_fixed``.
    centre : (H,) array of int
        Fixed bead that is known to fit.
    partner : (H,) array of int
        Moving bead on which it falls.
    side : (H,) array
        Longer side of the moving triangle: how far the hypothesis can be trusted.
    support : (H,) array
        How many neighbours of the centre fit beyond what chance gives.
    """

    linear: Numbers
    centre: Index
    partner: Index
    side: Numbers
    support: Numbers

    def __len__(self) -> int:
        return len(self.centre)

    def __getitem__(self, chosen: Index) -> Hypotheses:
        return Hypotheses(
            self.linear[chosen], self.centre[chosen], self.partner[chosen], self.side[chosen], self.support[chosen]
        )

    @staticmethod
    def joined(parts: list[Hypotheses]) -> Hypotheses:
        """Several lists as one."""
        names = ("linear", "centre", "partner", "side", "support")
        return Hypotheses(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def alike(
    fixed: Triangles, moving: Triangles, tree: KDTree, tolerance: float, scale: tuple[float, float]
) -> tuple[Index, Index]:
    """Row numbers of fixed and moving triangles of one shape, with sides in the ratio that is allowed.

    Parameters
    ----------
    fixed, moving : Triangles
        The triangles.
    tree : KDTree
        Over the shapes of the moving ones.
    tolerance : float
        Largest distance of shapes.
    scale : (least, greatest)
        Moving length per fixed length.
    """
    if not len(fixed.side) or not len(moving.side):
        return np.empty(0, np.int64), np.empty(0, np.int64)
    found = KDTree(fixed.shape).sparse_distance_matrix(tree, tolerance, output_type="ndarray")
    one, other = found["i"].astype(np.int64), found["j"].astype(np.int64)
    ratio = moving.side[other] / fixed.side[one]
    fits = (ratio >= scale[0]) & (ratio <= scale[1])
    return one[fits], other[fits]


def hypotheses(
    fixed: Field,
    moving: Field,
    fixed_triangles: Triangles,
    moving_triangles: Triangles,
    pairs: tuple[Index, Index],
    mirror: tuple[bool, ...],
    lookup: Lookup,
    noise: float,
    stretch: float,
    keep: int,
) -> Hypotheses:
    """The similarities of pairs of triangles, the best supported by the neighbourhood.

    Parameters
    ----------
    fixed, moving : Field
        The beads.
    fixed_triangles, moving_triangles : Triangles
        Their triangles.
    pairs : pair of (H,) arrays of int
        Which of them are alike.
    mirror : tuple of bool
        Which of not mirrored and mirrored are allowed.
    lookup : Lookup
        Over the moving beads.
    noise : float
        Standard deviation of the distance of two images of one bead per axis, moving unit.
    stretch : float
        How far from a similarity the true transform may be, as a share of lengths.
    keep : int
        How many are kept at most.
    """
    one, other = pairs
    turns = np.einsum("nki,nkj->nij", moving_triangles.frame[other], fixed_triangles.frame[one])
    mirrored = np.linalg.det(turns) < 0 if len(turns) else np.empty(0, bool)
    allowed = np.isin(mirrored, mirror)
    one, other, turns = one[allowed], other[allowed], turns[allowed]
    ratio = moving_triangles.side[other] / fixed_triangles.side[one]
    whole = Hypotheses(
        turns * ratio[:, None, None],
        fixed_triangles.corners[one, 0],
        moving_triangles.corners[other, 0],
        moving_triangles.side[other],
        np.zeros(len(one)),
    )
    support = _support(fixed, moving, whole, lookup, noise, stretch)
    whole = Hypotheses(whole.linear, whole.centre, whole.partner, whole.side, support)
    if len(whole) <= keep:
        return whole
    return whole[np.argpartition(-support, keep)[:keep]]


def _support(fixed: Field, moving: Field, whole: Hypotheses, lookup: Lookup, noise: float, stretch: float) -> Numbers:
    """How many neighbours of the centre fall on a bead, less what chance gives at the tolerance that they need."""
    around = fixed.nearest[:, :24]
    ndim = fixed.points.shape[1]
    # Beads per length, area or volume, for the share of places that lie near one by chance.
    crowd = (moving.spacing * 2) ** -ndim
    support = np.zeros(len(whole))
    step = max(1, _CHUNK // around.shape[1])
    for first in range(0, len(whole), step):
        part = slice(first, first + step)
        centres = whole.centre[part]
        arms = fixed.points[around[centres]] - fixed.points[centres][:, None]
        mapped = np.einsum("hij,hkj->hki", whole.linear[part], arms)
        reach = np.linalg.norm(mapped, axis=2)
        tolerance = _tolerance(reach, whole.side[part, None], noise, stretch)
        _, squared = lookup(mapped + moving.points[whole.partner[part]][:, None])
        by_chance = np.minimum((3.0 if ndim == 2 else 4.0) * tolerance**ndim * crowd, 0.9)
        support[part] = np.sum((squared <= tolerance**2) - by_chance, axis=1)
    return support


def _tolerance(reach: Numbers, side: Numbers, noise: float, stretch: float) -> Numbers:
    """How far a bead may fall from its partner: noise, grown by the lever arm, and the part that is no similarity."""
    return 2.5 * noise * np.sqrt(1.5 + (reach / side) ** 2) + stretch * reach
