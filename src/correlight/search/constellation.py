"""Constellations: where one field of beads lies in another, from the places of the beads alone.

Neither rotation, mirror, scale nor shift need be known, and most beads may be missing from the other image. Stars of
beads (`correlight.search.stars`) give hypotheses; each grows from its neighbourhood over the whole field; and what it
matches in the end is compared with what chance would match (`correlight.search.chance`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.spatial import KDTree

from correlight import landmarks
from correlight.errors import TransformError, UsageError
from correlight.geometry import Points
from correlight.search.chance import Chance
from correlight.search.limits import Limits
from correlight.search.stars import Field, Hypotheses, Index, Lookup, Numbers, Triangles, alike, hypotheses
from correlight.transforms import Affine

# Neighbours of a bead that make triangles with it, from a round that is cheap to one that forgives many lost beads,
# and how many centres are tried at a time.
_ROUNDS = ((8, 64), (14, 64), (22, 32))
# Shapes of triangles this far apart may be the same under noise and stretch; beyond it chance takes over.
_COARSEST_SHAPE = 0.08
# Hypotheses that go on from the neighbourhood to the field, and from there to the exact fit.
_KEEP, _EXACT = 3000, 24
# Share of lengths by which the true transform may differ from a similarity.
STRETCH = 0.04
# Expected number of matches this good among unrelated beads, as a power of ten: found, and beyond any doubt.
LEAST_SURPRISE, _NO_DOUBT = 3.0, 9.0
# Fewer beads than this cannot stand out from chance.
FEWEST = 4
# A rival that matches so large a share of the beads that the best does is as good.
_AS_GOOD = 0.8


@dataclass(frozen=True, eq=False)
class Match:
    """One way to lay one field of beads onto the other.

    Parameters
    ----------
    moving_from_fixed : Affine
        Least-squares fit to all matched beads.
    model : {"similarity", "affine"}
        What was fitted.
    fixed_index, moving_index : (M,) arrays of int
        Which beads are one; row n of both is the same bead.
    by_chance : float
        How many beads would match if the pose were wrong.
    surprise : float
        Minus the decimal logarithm of how many matches as good as this are expected among unrelated beads.
    residual : float
        Root mean square distance of matched beads, in the moving unit.
    """

    moving_from_fixed: Affine
    model: landmarks.Model
    fixed_index: Index
    moving_index: Index
    by_chance: float
    surprise: float
    residual: float

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
    if min(len(points), len(others)) < FEWEST:
        return Constellation((), _too_few(len(points), len(others)), False)
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
        most = max(neighbours for neighbours, _ in _ROUNDS)
        self._fixed, self._moving = Field.of(fixed, max(24, most)), Field.of(moving, most)
        self._limits, self._stretch, self._rng = limits, stretch, rng
        self._noise = 0.03 * self._moving.spacing if noise is None else noise
        self._lookup, self._tree = Lookup(moving), KDTree(moving)
        self._chance = Chance(self._fixed, self._moving, limits, stretch)

    def run(self) -> list[Match]:
        """Distinct matches, best first."""
        matches: list[Match] = []
        for neighbours, at_a_time in _ROUNDS:
            moving = Triangles.of(self._moving, np.arange(len(self._moving.points)), neighbours, False)
            tree = KDTree(moving.shape)
            order = self._rng.permutation(len(self._fixed.points))
            for first in range(0, len(order), at_a_time):
                matches += self._batch(np.sort(order[first : first + at_a_time]), neighbours, moving, tree)
                matches = distinct(matches, self._fixed.points)
                if matches and matches[0].surprise >= _NO_DOUBT:
                    return matches
        return matches

    def _batch(self, centres: Index, neighbours: int, moving: Triangles, tree: KDTree) -> list[Match]:
        fixed = Triangles.of(self._fixed, centres, neighbours, True)
        if not len(fixed.side):
            return []
        # Noise moves the corner of a triangle by its share of the longer side.
        tolerance = self._stretch + 2.5 * self._noise / max(float(np.median(moving.side)), 1e-300)
        pairs = alike(fixed, moving, tree, min(tolerance, _COARSEST_SHAPE), self._limits.scale)
        kinds = (fixed, fixed.turned_over) if self._fixed.points.shape[1] == 3 else (fixed,)
        parts = [
            hypotheses(
                self._fixed,
                self._moving,
                kind,
                moving,
                pairs,
                self._limits.mirror,
                self._lookup,
                self._noise,
                self._stretch,
                _KEEP,
            )
            for kind in kinds
        ]
        return self._exact(self._grown(Hypotheses.joined(parts)))

    def _grown(self, whole: Hypotheses) -> list[Affine]:
        """Hypotheses fitted to ever wider neighbourhoods; those that match most, as similarities."""
        if not len(whole):
            return []
        points = self._fixed.points
        middle = points[whole.centre]
        place = self._moving.points[whole.partner]
        linear = whole.linear
        reach = np.linalg.norm(points[None] - middle[:, None], axis=2)
        scale = _size(linear)
        side = whole.side.copy()
        score = np.zeros(len(whole))
        for _ in range(4):
            offset = place - np.einsum("hij,hj->hi", linear, middle)
            mapped = np.einsum("hij,nj->hni", linear, points) + offset[:, None]
            index, squared = self._lookup(mapped)
            away = reach * scale[:, None]
            tolerance = np.minimum(
                2.5 * self._noise * np.sqrt(1.5 + (away / side[:, None]) ** 2) + self._stretch * away,
                0.6 * self._moving.spacing + 3 * self._noise,
            )
            weight = np.where(squared <= tolerance**2, 1.0 / (1.0 + away / side[:, None]), 0.0)
            score = weight.sum(axis=1)
            partners = self._moving.points[index]
            linear, middle, place = _batch_similarity(points, partners, weight, linear, middle, place)
            reach = np.linalg.norm(points[None] - middle[:, None], axis=2)
            scale = _size(linear)
            spread = np.sqrt(np.sum(weight * (reach * scale[:, None]) ** 2, axis=1) / np.maximum(score, 1e-9))
            side = np.maximum(side, 2 * spread)
        offset = place - np.einsum("hij,hj->hi", linear, middle)
        best = np.argsort(-score)[: 8 * _EXACT]
        poses: list[Affine] = []
        corners = points[np.argsort(points @ np.ones(points.shape[1]))[:: max(1, len(points) // 6)]]
        seen: list[Points] = []
        for number in best:
            pose = Affine.of(linear[number], offset[number])
            there = pose(corners)
            if any(np.max(np.linalg.norm(there - other, axis=1)) < 0.5 * self._moving.spacing for other in seen):
                continue
            seen.append(there)
            poses.append(pose)
            if len(poses) == _EXACT:
                break
        return poses

    def _exact(self, poses: list[Affine]) -> list[Match]:
        found = []
        for pose in poses:
            match = self._fitted(pose)
            if match is not None:
                found.append(match)
        return found

    def _fitted(self, pose: Affine) -> Match | None:
        """The fit to all mutual nearest neighbours, tightened until it matches what it was fitted to."""
        widest = 0.5 * self._moving.spacing + 3 * self._noise
        tightest = 3.5 * self._noise
        pairs = self._pairs(pose, widest)
        model: landmarks.Model = "similarity"
        for tolerance in np.geomspace(max(widest, tightest), tightest, 6):
            if len(pairs[0]) < FEWEST:
                return None
            model = "affine" if len(pairs[0]) >= 8 else "similarity"
            try:
                pose = _affine(landmarks.fit(self._fixed.points[pairs[0]], self._moving.points[pairs[1]], model))
            except TransformError:
                return None
            if not self._allowed(pose):
                return None
            pairs = self._pairs(pose, float(tolerance))
        if len(pairs[0]) < FEWEST:
            return None
        rate, surprise = self._chance(pose, len(pairs[0]), tightest, model)
        return Match(
            pose,
            model,
            *pairs,
            rate,
            surprise,
            landmarks.fre(pose, self._fixed.points[pairs[0]], self._moving.points[pairs[1]]),
        )

    def _pairs(self, pose: Affine, tolerance: float) -> tuple[Index, Index]:
        """Beads that are each other's nearest, and near enough."""
        mapped = pose(self._fixed.points)
        distance, there = self._tree.query(mapped)
        _, back = KDTree(mapped).query(self._moving.points)
        number = np.arange(len(mapped))
        mutual = (back[there] == number) & (distance <= tolerance)
        return number[mutual], np.asarray(there[mutual], np.int64)

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


def _size(linear: Numbers) -> Numbers:
    return np.asarray(np.abs(np.linalg.det(linear)) ** (1 / linear.shape[-1]))


def _batch_similarity(
    points: Points, partners: Numbers, weight: Numbers, linear: Numbers, middle: Numbers, place: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Weighted similarity of each row, keeping its handedness; rows with too little to fit keep what they have."""
    total = np.maximum(weight.sum(axis=1), 1e-12)[:, None]
    from_middle = weight @ points / total
    to_middle = np.einsum("hn,hni->hi", weight, partners) / total
    f = points[None] - from_middle[:, None]
    m = partners - to_middle[:, None]
    cross = np.einsum("hn,hni,hnj->hij", weight, m, f)
    u, strength, vt = np.linalg.svd(cross)
    hand = np.sign(np.linalg.det(u) * np.linalg.det(vt)) * np.sign(np.linalg.det(linear))
    signs = np.ones_like(strength)
    signs[:, -1] = hand
    turn = (u * signs[:, None]) @ vt
    size = np.sum(strength * signs, axis=1) / np.maximum(np.einsum("hn,hni->h", weight, f**2), 1e-300)
    good = (np.count_nonzero(weight, axis=1) >= points.shape[1] + 1) & (size > 0)
    return (
        np.where(good[:, None, None], turn * size[:, None, None], linear),
        np.where(good[:, None], from_middle, middle),
        np.where(good[:, None], to_middle, place),
    )


def _affine(pose: object) -> Affine:
    assert isinstance(pose, Affine)
    return pose


def distinct(matches: list[Match], points: Points) -> list[Match]:
    """The matches without those that lay the field nearly where a better one does, best first."""
    kept: list[tuple[Match, Points]] = []
    width = float(np.ptp(points, axis=0).max())
    for match in sorted(matches, key=lambda match: (-match.surprise, match.residual)):
        there = match.moving_from_fixed(points)
        limit = 0.03 * width * match.moving_from_fixed.scale
        if all(np.mean(np.linalg.norm(there - other, axis=1)) > limit for _, other in kept):
            kept.append((match, there))
    return [match for match, _ in kept[:10]]


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
    rival = f"; the next best pose matches {len(matches[1])}" if len(matches) > 1 else ""
    return Constellation(
        tuple(matches),
        f"{len(best)} of {fixed} and {moving} beads match where chance gives {best.by_chance:.1f}{rival}.",
        True,
    )
