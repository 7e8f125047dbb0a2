"""Constellations: where one field of beads lies in another, from the places of the beads alone.

Neither rotation, mirror, scale nor shift need be known, and most beads may be missing from the other image. Stars of
beads (`correlight.beads.stars`) give hypotheses; each grows from its neighbourhood over the whole field; and what it
matches in the end is compared with what chance would match (`correlight.beads.null_scores`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from correlight import landmarks
from correlight.beads.growth import grow
from correlight.beads.nearest import Index, Nearest
from correlight.beads.null_scores import TOLERANCES, Chance
from correlight.beads.stars import Alike, Field, Hypotheses, Numbers, Triangles, hypotheses
from correlight.errors import TransformError, UsageError
from correlight.geometry import Points
from correlight.search.limits import Limits
from correlight.transforms import Affine

_Kind = Literal["similarity", "affine"]

# Neighbours of a bead that make triangles with it, from a round that is cheap to one that forgives many lost beads.
_ROUNDS = (8, 14, 22)
# Beads whose triangles are tried first, times those of the other image; pairs of triangles that are then tried at a
# time, and at most in a round.
_FIRST_CENTRES, _PAIRS_AT_A_TIME, _MOST_PAIRS = 1000, 400_000, 1_500_000
# Shapes of triangles this far apart may be the same under noise and stretch; beyond it chance takes over.
_COARSEST_SHAPE = 0.08
# Beads, over all hypotheses, that are fitted after the neighbourhood; hypotheses that go on to the exact fit.
_MOST_GROWN, _EXACT = 200_000, 24
# Share of lengths by which the true transform may differ from a similarity.
STRETCH = 0.04
# Expected number of matches this good among unrelated beads, as a power of ten: found; no further round is worth its
# time; beyond any doubt.
LEAST_SURPRISE, _LITTLE_DOUBT, _NO_DOUBT = 3.0, 4.0, 9.0
# Fewer beads than this cannot stand out from chance, and fewer than the other cannot tell shear from noise.
FEWEST, FEWEST_AFFINE = 4, 8
# Fits from the loosest to the tightest tolerance; distinct poses that are listed, and by how much of the width they
# differ.
_TIGHTENINGS, _LISTED, _DISTINCT = 6, 6, 0.03
# Places are never known better than to this share of the distance of neighbours: rounding must not tell beads apart.
_LEAST_NOISE = 1e-6
# A rival that matches so large a share of the beads that the best does is as good.
_AS_GOOD = 0.8


@dataclass(frozen=True, eq=False)
class Match:
    """One way to lay one field of beads onto the other.

    Parameters
    ----------
    estimate : LinearEstimate
        Least-squares fit to all matched beads, with the error to expect everywhere.
    fixed_index, moving_index : (M,) arrays of int
        Which beads are one; row n of both is the same bead.
    by_chance : float
        How many beads would match if the pose were wrong.
    surprise : float
        Minus the decimal logarithm of how many matches as good as this are expected among unrelated beads.
    residual : float
        Root mean square distance of matched beads, in the moving unit.
    """

    estimate: landmarks.LinearEstimate
    fixed_index: Index
    moving_index: Index
    by_chance: float
    surprise: float
    residual: float

    @property
    def moving_from_fixed(self) -> Affine:
        """The pose."""
        return _affine(self.estimate.moving_from_fixed)

    def __len__(self) -> int:
        return len(self.fixed_index)


@dataclass(frozen=True, eq=False)
class Constellation:
    """What a search for a common constellation found; falsy if nothing stands out.

    Parameters
    ----------
    matches : tuple of Match
        Distinct poses, the most surprising first. There may be some even if none stands out.
    reason : str
        Why the first is believed, or why none is, in one sentence.
    found : bool
        Whether the first stands out from chance and from its rivals.
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


@dataclass(frozen=True, eq=False)
class _Rough:
    """A match inside the search, around the origin."""

    pose: Affine
    model: _Kind
    fixed_index: Index
    moving_index: Index
    by_chance: float
    surprise: float

    def __len__(self) -> int:
        return len(self.fixed_index)


def match_constellations(
    fixed: ArrayLike,
    moving: ArrayLike,
    *,
    limits: Limits | None = None,
    noise: float | None = None,
    stretch: float = STRETCH,
    rng: np.random.Generator | None = None,
) -> Constellation:
    """Find the transform that brings the most beads of two fields together, and compare it with chance.

    Parameters
    ----------
    fixed, moving : (N, D) and (K, D) arrays
        Places of beads, 2-D or 3-D, each in its own unit.
    limits : Limits, optional
        Allowed scales (moving unit per fixed unit), handedness and, in 2-D, rotations; anything without.
    noise : float, optional
        Standard deviation per axis of the distance between two images of one bead, in the moving unit; without it 3 %
        of the median distance of neighbours.
    stretch : float
        How far from a similarity the transform may be, as a share of lengths (shear, unequal scales).
    rng : numpy.random.Generator, optional
        Order in which beads are tried; without it always the same.

    Returns
    -------
    Constellation
        Falsy where nothing stands out from chance, or two poses fit equally well.

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
    >>> found = match_constellations(pair.fixed, pair.moving)
    >>> bool(found), len(found.best) >= 20
    (True, True)
    """
    points, others = _checked(fixed, moving)
    bounds = limits or Limits((0.0, np.inf))
    if noise is not None and not (np.isfinite(noise) and noise >= 0):
        raise UsageError(f"The noise of places is a finite length that is not negative; got {noise}.")
    places = tuple(len(np.unique(array, axis=0)) for array in (points, others))
    if min(places) < FEWEST:
        return Constellation((), _too_few(*places), False)
    search = _Search(points, others, bounds, noise, stretch, rng or np.random.default_rng(0))
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
    return f"There are {fixed} and {moving} beads; it takes at least {FEWEST} in each image to recognise them."


class _Search:
    """One search: rounds of ever more neighbours until something is beyond doubt."""

    def __init__(
        self,
        fixed: Points,
        moving: Points,
        limits: Limits,
        noise: float | None,
        stretch: float,
        rng: np.random.Generator,
    ) -> None:
        most = max(_ROUNDS)
        # Around the origin, so that single precision is enough for what is only compared.
        self._middles = fixed.mean(axis=0), moving.mean(axis=0)
        self._fixed, self._moving = Field.of(fixed - self._middles[0], most), Field.of(moving - self._middles[1], most)
        self._limits, self._stretch, self._rng = limits, stretch, rng
        self._noise = max(0.03 * self._moving.spacing if noise is None else noise, _LEAST_NOISE * self._moving.spacing)
        self._nearest, self._tree = Nearest(self._moving.points), KDTree(self._moving.points)
        self._chance = Chance(self._fixed, self._moving, limits, stretch)

    def run(self) -> list[Match]:
        """Distinct matches, best first."""
        found: list[_Rough] = []
        for neighbours in _ROUNDS:
            moving = Triangles.of(self._moving, np.arange(len(self._moving.points)), neighbours, False)
            if not len(moving.side):
                continue
            # Noise moves the corner of a triangle by its share of the longer side.
            tolerance = self._stretch + 2.5 * self._noise / float(np.median(moving.side))
            alike = Alike(moving, min(tolerance, _COARSEST_SHAPE), self._limits.scale)
            order = self._rng.permutation(len(self._fixed.points))
            first, tried, at_a_time = 0, 0, max(1, _FIRST_CENTRES // len(self._moving.points))
            while first < len(order) and tried < _MOST_PAIRS:
                centres = np.sort(order[first : first + at_a_time])
                fixed = Triangles.of(self._fixed, centres, neighbours, True)
                pairs = alike(fixed)
                found = _distinct(found + self._fits(fixed, moving, pairs), self._fixed.points)
                if found and found[0].surprise >= _NO_DOUBT:
                    return self._placed(found)
                first, tried = first + at_a_time, tried + len(pairs[0])
                at_a_time = max(1, round(_PAIRS_AT_A_TIME * len(centres) / max(1, len(pairs[0]))))
            if found and found[0].surprise >= _LITTLE_DOUBT:
                break
        return self._placed(found)

    def _placed(self, found: list[_Rough]) -> list[Match]:
        """The matches in the frames of the two images; the best with what predicts left-out beads best."""
        return [self._in_place(rough, choose=number == 0) for number, rough in enumerate(found)]

    def _in_place(self, rough: _Rough, *, choose: bool) -> Match:
        fixed = self._fixed.points[rough.fixed_index] + self._middles[0]
        moving = self._moving.points[rough.moving_index] + self._middles[1]
        kinds: tuple[_Kind, ...] = (rough.model,)
        if choose and len(rough) >= FEWEST_AFFINE:
            kinds = ("similarity", "affine")
        fits = [landmarks.estimate(fixed, moving, kinds[0])]
        # Beads on one line, or on one plane of a volume, leave affine transforms open.
        with suppress(TransformError):
            fits += [landmarks.estimate(fixed, moving, kind) for kind in kinds[1:]]
        missed = [float(np.nanmean(np.sum(fit.left_out**2, axis=1))) for fit in fits] if len(fits) > 1 else [0.0]
        best = fits[int(np.argmin(missed))]
        assert isinstance(best, landmarks.LinearEstimate)
        residual = landmarks.fre(best.moving_from_fixed, fixed, moving)
        return Match(best, rough.fixed_index, rough.moving_index, rough.by_chance, rough.surprise, residual)

    def _fits(self, fixed: Triangles, moving: Triangles, pairs: tuple[Index, Index]) -> list[_Rough]:
        """What comes of pairs of triangles that are alike."""
        if not len(pairs[0]):
            return []
        keep = max(_EXACT, _MOST_GROWN // len(self._fixed.points))
        kinds = (fixed, fixed.turned_over) if self._fixed.points.shape[1] == 3 else (fixed,)
        parts = [
            hypotheses(
                self._fixed,
                self._moving,
                kind,
                moving,
                pairs,
                self._limits.mirror,
                self._nearest,
                self._noise,
                self._stretch,
                keep,
            )
            for kind in kinds
        ]
        whole = Hypotheses.joined(parts)
        poses = grow(self._fixed, self._moving, whole, self._nearest, self._noise, self._stretch, _EXACT)
        return [rough for pose in poses for rough in self._fitted(pose)]

    def _fitted(self, pose: Affine) -> list[_Rough]:
        """Both kinds of transform fitted to all mutual nearest neighbours, tightened to what they match."""
        kinds: tuple[_Kind, ...] = ("similarity", "affine")
        fits = (self._tightened(pose, model) for model in kinds)
        return [fit for fit in fits if fit is not None]

    def _tightened(self, pose: Affine, model: _Kind) -> _Rough | None:
        tightest = TOLERANCES[-1] * self._noise
        widest = max(0.5 * self._moving.spacing + 3 * self._noise, tightest)
        one, other, apart = self._pairs(pose, widest)
        for tolerance in np.geomspace(widest, tightest, _TIGHTENINGS):
            enough = len(one) >= FEWEST_AFFINE
            if len(one) < FEWEST or (model == "affine" and not enough):
                return None
            try:
                pose = _affine(landmarks.fit(self._fixed.points[one], self._moving.points[other], model))
            except TransformError:
                return None
            if not self._allowed(pose):
                return None
            one, other, apart = self._pairs(pose, float(tolerance))
        if len(one) < FEWEST:
            return None
        by_chance, surprise = self._chance(pose, apart, self._noise, model)
        return _Rough(pose, model, one, other, by_chance, surprise)

    def _pairs(self, pose: Affine, tolerance: float) -> tuple[Index, Index, Numbers]:
        """Beads that are each other's nearest and near enough, and how far apart they are."""
        mapped = pose(self._fixed.points)
        distance, there = (np.asarray(found) for found in self._tree.query(mapped))
        back = np.asarray(KDTree(mapped).query(self._moving.points)[1])
        number = np.arange(len(mapped))
        mutual = (back[there] == number) & (distance <= tolerance)
        return number[mutual], there[mutual].astype(np.int64), distance[mutual]

    def _allowed(self, pose: Affine) -> bool:
        strength = np.linalg.svd(pose.linear, compute_uv=False)
        low, high = self._limits.scale
        if strength[0] > strength[-1] * (1 + 4 * self._stretch) or pose.mirrored not in self._limits.mirror:
            return False
        if pose.ndim == 2 and self._limits.rotation[1] - self._limits.rotation[0] < 360:
            nearest, _ = self._limits.nearest(pose.rotation, pose.scale)
            if abs((nearest - pose.rotation + 180) % 360 - 180) > 2.0:
                return False
        return low / (1 + self._stretch) <= pose.scale <= high * (1 + self._stretch)


def _affine(pose: object) -> Affine:
    assert isinstance(pose, Affine)
    return pose


def _distinct(found: list[_Rough], points: Points) -> list[_Rough]:
    """What was found without what lays the field nearly where something better does, best first."""
    kept: list[tuple[_Rough, Points]] = []
    width = float(np.ptp(points, axis=0).max())
    for rough in sorted(found, key=lambda rough: -rough.surprise):
        there = rough.pose(points)
        limit = _DISTINCT * width * rough.pose.scale
        if all(np.mean(np.linalg.norm(there - other, axis=1)) > limit for _, other in kept):
            kept.append((rough, there))
        if len(kept) == _LISTED:
            break
    return [rough for rough, _ in kept]


def _judged(matches: list[Match], fixed: int, moving: int) -> Constellation:
    if not matches:
        return Constellation((), f"No pose brings {FEWEST} of the {fixed} and {moving} beads together.", False)
    best = matches[0]
    if best.surprise < LEAST_SURPRISE:
        return Constellation(
            tuple(matches),
            f"The best pose matches {len(best)} of {fixed} and {moving} beads, which unrelated beads do as well "
            f"(chance alone gives {best.by_chance:.1f} at one pose, and many poses were tried).",
            False,
        )
    if len(matches) > 1 and matches[1].surprise >= LEAST_SURPRISE and len(matches[1]) >= _AS_GOOD * len(best):
        return Constellation(
            tuple(matches),
            f"Two poses fit equally well: they match {len(best)} and {len(matches[1])} beads.",
            False,
        )
    rival = f"; the next best pose matches {max(map(len, matches[1:]))}" if len(matches) > 1 else ""
    return Constellation(
        tuple(matches),
        f"{len(best)} of {fixed} and {moving} beads match where chance gives {best.by_chance:.1f}{rival}.",
        True,
    )
