"""Hypotheses of how two images lie, one from every two triangles of one shape, and those that neighbours support.

Most triangles that fit do so by chance; those whose further neighbours fit as well are kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from correlight.beads.nearest import Index, Nearest, Single
from correlight.beads.pose_limits import PoseLimits
from correlight.beads.triangles import NEIGHBOURHOOD, Field, Numbers, Triangles
from correlight.progress import checkpoint

# So many mapped points fit into the cache together.
_CHUNK = 60_000


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
        Longer side of the moving triangle: a measure of its accuracy.
    support : (H,) array
        How many neighbours of the centre fit beyond those expected by chance.
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


def hypotheses_of(
    fixed: Field,
    moving: Field,
    fixed_triangles: Triangles,
    moving_triangles: Triangles,
    pairs: tuple[Index, Index],
    limits: PoseLimits,
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
    limits : PoseLimits
        Which handedness, and near which rotation.
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
    allowed = np.isin(mirrored, limits.limits.mirror)
    if limits.near is not None and len(turns):
        allowed &= limits.roughly(turns)
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
    """Neighbours of the centre that coincide with a bead, less those expected by chance at the tolerance needed."""
    around = fixed.nearest[:, :NEIGHBOURHOOD]
    ndim = fixed.points.shape[1]
    arms = [(axis[around] - axis[:, None]).astype(np.float32) for axis in fixed.points.T]
    lengths = np.sqrt(sum((arm * arm for arm in arms), np.float32(0)))
    scale = size(whole.linear).astype(np.float32)[:, None]
    linear = whole.linear.astype(np.float32)[..., None]
    support = np.zeros(len(whole))
    step = max(1, _CHUNK // around.shape[1])
    for first in range(0, len(whole), step):
        checkpoint()
        part = slice(first, first + step)
        centre, partner = whole.centre[part], whole.partner[part]
        own = [arm[centre] for arm in arms]
        mapped = [
            sum(
                (linear[part, row, column] * own[column] for column in range(ndim)), nearest.columns[row][partner, None]
            )
            for row in range(ndim)
        ]
        away = lengths[centre] * scale[part]
        side = whole.side[part, None].astype(np.float32)
        tolerance = tolerance_at(away, side, noise, stretch)
        _, squared = nearest(mapped)
        by_chance = np.minimum(np.float32(ball(ndim) * moving.density) * tolerance**ndim, np.float32(0.9))
        support[part] = np.sum((squared <= tolerance * tolerance) - by_chance, axis=1)
    return support


def tolerance_at(away: Single, side: Single, noise: float, stretch: float) -> Single:
    """How far a bead may fall from its partner.

    Parameters
    ----------
    away : array of float32
        Distance of the bead from the centre of the triangle that says how the images lie, moving unit.
    side : array of float32
        Longer side of that triangle: the error of its beads grows with the one over the other.
    noise : float
        Standard deviation of the distance of two images of one bead per axis, moving unit.
    stretch : float
        How far from a similarity the true transform may be, as a share of lengths.
    """
    lever = away / side
    by_noise = np.float32(2.5 * noise) * np.sqrt(np.float32(1.5) + lever * lever)
    return np.asarray(by_noise + np.float32(stretch) * away, np.float32)


def size(linear: Numbers) -> Numbers:
    """Geometric mean of output length per input length of each ``(D, D)`` matrix."""
    return np.asarray(np.abs(np.linalg.det(linear)) ** (1 / linear.shape[-1]))


def ball(ndim: int) -> float:
    """Content of the unit ball: pi, or 4/3 pi."""
    return float(np.pi if ndim == 2 else 4 / 3 * np.pi)
