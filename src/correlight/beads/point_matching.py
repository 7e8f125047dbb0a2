"""Beads of two images matched by their positions, and the significance of the match.

Neither rotation, mirror, scale nor shift need be known, and most beads may be missing from the other image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from correlight.beads.pose_limits import PoseLimits
from correlight.beads.pose_search import FEWEST, Match, PoseSearch
from correlight.errors import UsageError
from correlight.geometry import Points
from correlight.search.limits import Limits

# Share of lengths by which the true transform may differ from a similarity.
STRETCH = 0.04
# A match is accepted from this significance on: one such pose is expected in a thousand pairs of unrelated images.
LEAST_SIGNIFICANCE = 3.0
# A rival that matches so large a share of the beads that the best does is as good.
_AS_GOOD = 0.8


@dataclass(frozen=True, eq=False)
class BeadMatching:
    """How beads of two images match; falsy if no match is significant.

    Parameters
    ----------
    matches : tuple of Match
        Distinct poses, the most significant first. There may be some even if none stands out.
    reason : str
        Why the first is accepted, or why none is, in one sentence.
    found : bool
        Whether the first is significant and better than its rivals.
    """

    matches: tuple[Match, ...]
    reason: str
    found: bool

    def __bool__(self) -> bool:
        return self.found

    @property
    def best(self) -> Match:
        """The first match; `IndexError` if there is none."""
        return self.matches[0]


def match_beads(
    fixed: ArrayLike,
    moving: ArrayLike,
    *,
    limits: Limits | PoseLimits | None = None,
    noise: float | None = None,
    stretch: float = STRETCH,
    rng: np.random.Generator | None = None,
) -> BeadMatching:
    """Find the transform that matches the most beads of two fields, and test its significance.

    Parameters
    ----------
    fixed, moving : (N, D) and (K, D) arrays
        Places of beads, 2-D or 3-D, each in its own unit.
    limits : Limits or PoseLimits, optional
        Allowed scales (moving unit per fixed unit), handedness and, in 2-D, rotations; anything without. In 3-D
        rotations are limited by `PoseLimits.around` a pose only.
    noise : float, optional
        Standard deviation per axis of the distance between two images of one bead, in the moving unit; without it 3 %
        of the median distance of neighbours.
    stretch : float
        How far from a similarity the transform may be, as a share of lengths (shear, unequal scales).
    rng : numpy.random.Generator, optional
        Order in which beads are tried; without it always the same.

    Returns
    -------
    BeadMatching
        Falsy where no match is significant, or two poses fit equally well.

    Raises
    ------
    UsageError
        If the points are not two lists of finite positions in one dimension.

    Notes
    -----
    Triangles of a bead and two of its nearest neighbours are matched by shape; unlike the ratio of the two nearest
    distances alone, that leaves many chances that all three are seen in both images.

    Examples
    --------
    >>> from correlight.simulate.beads import bead_pair
    >>> pair = bead_pair(seed=2, beads=60, common=0.4)
    >>> found = match_beads(pair.fixed, pair.moving)
    >>> bool(found), len(found.best) >= 20
    (True, True)
    """
    points, others = _checked(fixed, moving)
    bounds = limits if isinstance(limits, PoseLimits) else PoseLimits(limits or Limits((0.0, np.inf)))
    if noise is not None and not (np.isfinite(noise) and noise >= 0):
        raise UsageError(f"The noise of places is a finite length that is not negative; got {noise}.")
    places = tuple(len(np.unique(array, axis=0)) for array in (points, others))
    if min(places) < FEWEST:
        return BeadMatching((), _too_few(*places), False)
    search = PoseSearch(points, others, bounds, noise, stretch, rng or np.random.default_rng(0))
    return _judged(search.run(), len(points), len(others))


def _checked(fixed: ArrayLike, moving: ArrayLike) -> tuple[Points, Points]:
    one, other = np.asarray(fixed, float), np.asarray(moving, float)
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1] or one.shape[1] not in (2, 3):
        raise UsageError(
            f"Two lists of places in 2-D or 3-D were expected; got the shapes {one.shape} and {other.shape}."
        )
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise UsageError("Places of beads must be finite numbers; leave out the beads that were not located.")
    return one, other


def _too_few(fixed: int, moving: int) -> str:
    return f"There are {fixed} and {moving} beads; at least {FEWEST} in each image are needed to match them."


def _judged(matches: list[Match], fixed: int, moving: int) -> BeadMatching:
    if not matches:
        return BeadMatching((), f"No pose matches {FEWEST} of the {fixed} and {moving} beads.", False)
    best = matches[0]
    if best.significance < LEAST_SIGNIFICANCE:
        return BeadMatching(
            tuple(matches),
            f"The best pose matches {len(best)} of {fixed} and {moving} beads; unrelated beads would match as many "
            f"({best.by_chance:.1f} are expected by chance at one pose, and many poses were tried).",
            False,
        )
    if len(matches) > 1 and matches[1].significance >= LEAST_SIGNIFICANCE and len(matches[1]) >= _AS_GOOD * len(best):
        return BeadMatching(
            tuple(matches),
            f"Two poses fit equally well: they match {len(best)} and {len(matches[1])} beads.",
            False,
        )
    rival = f"; the next best pose matches {max(map(len, matches[1:]))}" if len(matches) > 1 else ""
    return BeadMatching(
        tuple(matches),
        f"{len(best)} of {fixed} and {moving} beads match; {best.by_chance:.1f} are expected by chance{rival}.",
        True,
    )
