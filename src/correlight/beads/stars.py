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

from correlight.beads.nearest import Index, Nearest, Single
from correlight.geometry import Points

Numbers = NDArray[np.float64]

# Triangles flatter than this say nothing about the turn around their long side, which matters in 3-D.
_FLAT = 0.2
# A side as long as the other to this share may be taken for the other one.
_ALIKE = 0.9
# Neighbours that vote for or against a hypothesis.
_NEIGHBOURHOOD = 24
# So many mapped points fit into the cache together.
_CHUNK = 60_000


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
    crowd : float
        Beads per area, or volume, of the box around them.
    """

    points: Points
    nearest: Index
    spacing: float
    crowd: float

    @classmethod
    def of(cls, points: Points, most: int) -> Field:
        """A field, with at most so many neighbours of each bead."""
        count = min(max(most, _NEIGHBOURHOOD), len(points) - 1)
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


class Alike:
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


def hypotheses(
    fixed: Field,
    moving: Field,
    fixed_triangles: Triangles,
    moving_triangles: Triangles,
    pairs: tuple[Index, Index],
    mirror: tuple[bool, ...],
    nearest: Nearest,
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
    nearest : Nearest
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
    support = _support(fixed, moving, whole, nearest, noise, stretch)
    whole = Hypotheses(whole.linear, whole.centre, whole.partner, whole.side, support)
    if len(whole) <= keep:
        return whole
    return whole[np.argpartition(-support, keep)[:keep]]


def _support(fixed: Field, moving: Field, whole: Hypotheses, nearest: Nearest, noise: float, stretch: float) -> Numbers:
    """How many neighbours of the centre fall on a bead, less what chance gives at the tolerance that they need."""
    around = fixed.nearest[:, :_NEIGHBOURHOOD]
    ndim = fixed.points.shape[1]
    arms = [(axis[around] - axis[:, None]).astype(np.float32) for axis in fixed.points.T]
    lengths = np.sqrt(sum((arm * arm for arm in arms), np.float32(0)))
    scale = size(whole.linear).astype(np.float32)[:, None]
    linear = whole.linear.astype(np.float32)[..., None]
    support = np.zeros(len(whole))
    step = max(1, _CHUNK // around.shape[1])
    for first in range(0, len(whole), step):
        part = slice(first, first + step)
        centre, partner = whole.centre[part], whole.partner[part]
        own = [arm[centre] for arm in arms]
        mapped = [
            sum(
                (linear[part, row, column] * own[column] for column in range(ndim)), nearest.columns[row][partner, None]
            )
            for row in range(ndim)
        ]
        reach = lengths[centre] * scale[part]
        side = whole.side[part, None].astype(np.float32)
        tolerance = reach_tolerance(reach, side, noise, stretch)
        _, squared = nearest(mapped)
        by_chance = np.minimum(np.float32(ball(ndim) * moving.crowd) * tolerance**ndim, np.float32(0.9))
        support[part] = np.sum((squared <= tolerance * tolerance) - by_chance, axis=1)
    return support


def reach_tolerance(reach: Single, side: Single, noise: float, stretch: float) -> Single:
    """How far a bead may fall from its partner: noise, grown by the lever arm, and what makes it no similarity."""
    lever = reach / side
    spread = np.float32(2.5 * noise) * np.sqrt(np.float32(1.5) + lever * lever)
    return np.asarray(spread + np.float32(stretch) * reach, np.float32)


def size(linear: Numbers) -> Numbers:
    """Geometric mean of output length per input length of each ``(D, D)`` matrix."""
    return np.asarray(np.abs(np.linalg.det(linear)) ** (1 / linear.shape[-1]))


def ball(ndim: int) -> float:
    """Content of the unit ball: pi, or 4/3 pi."""
    return float(np.pi if ndim == 2 else 4 / 3 * np.pi)
