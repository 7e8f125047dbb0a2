"""The poses that bring the most beads of two images together, from the places of the beads alone.

Triangles of neighbouring beads give hypotheses; each is fitted first to its neighbourhood and then to the whole field;
and what it matches in the end is compared with what unrelated beads would match (`correlight.beads.null_scores`).
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.spatial import KDTree

from correlight import landmarks
from correlight.beads.hypotheses import Hypotheses, hypotheses_of
from correlight.beads.hypothesis_fit import fit_hypotheses
from correlight.beads.nearest import Index, Nearest
from correlight.beads.null_scores import TOLERANCES, NullScores
from correlight.beads.pose_limits import PoseLimits
from correlight.beads.triangles import Field, Numbers, SimilarTriangles, Triangles
from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.progress import checkpoint
from correlight.transforms import Affine

_Model = Literal["similarity", "affine"]

# Neighbours of a bead that make triangles with it: few are tried first, more where many beads are missing.
_NEIGHBOURS = (8, 14, 22)
# Beads whose triangles are tried first, times those of the other image; pairs of triangles that are then tried at a
# time, and at most with one number of neighbours.
_FIRST_CENTRES, _PAIRS_AT_A_TIME, _MOST_PAIRS = 1000, 400_000, 1_500_000
# Shapes of triangles this far apart may be the same under noise and stretch; beyond it most are by chance.
_COARSEST_SHAPE = 0.08
# Beads, over all hypotheses, that are fitted after the neighbourhood; hypotheses that go on to the exact fit.
_MOST_FITTED, _EXACT = 200_000, 24
# Significance from which more neighbours are not worth their time, and beyond any doubt.
_SIGNIFICANT_ENOUGH, _BEYOND_DOUBT = 4.0, 9.0
# Fewer beads than this cannot be significant, and fewer than the other cannot separate shear from noise.
FEWEST, FEWEST_AFFINE = 4, 8
# Fits from the loosest to the tightest tolerance; distinct poses that are listed, and by how much of the width they
# differ.
_TIGHTENINGS, _LISTED, _DISTINCT = 6, 6, 0.03
# Places are never known better than to this share of the distance of neighbours: rounding must not tell beads apart.
_LEAST_NOISE = 1e-6


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
    significance : float
        Minus the decimal logarithm of the E-value: of how many poses that match as many beads as closely are expected
        in one pair of images of unrelated beads.
    residual : float
        Root mean square distance of matched beads, in the moving unit.
    """

    estimate: landmarks.LinearEstimate
    fixed_index: Index
    moving_index: Index
    by_chance: float
    significance: float
    residual: float

    @property
    def moving_from_fixed(self) -> Affine:
        """The pose."""
        return _affine(self.estimate.moving_from_fixed)

    def __len__(self) -> int:
        return len(self.fixed_index)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """A match inside the search, around the origin."""

    pose: Affine
    model: _Model
    fixed_index: Index
    moving_index: Index
    by_chance: float
    significance: float

    def __len__(self) -> int:
        return len(self.fixed_index)


class PoseSearch:
    """One search, with ever more neighbours of each bead until a pose is beyond doubt."""

    def __init__(
        self,
        fixed: Points,
        moving: Points,
        limits: PoseLimits,
        noise: float | None,
        stretch: float,
        rng: np.random.Generator,
    ) -> None:
        most = max(_NEIGHBOURS)
        # Around the origin, so that single precision is enough for what is only compared.
        self._middles = fixed.mean(axis=0), moving.mean(axis=0)
        self._fixed, self._moving = Field.of(fixed - self._middles[0], most), Field.of(moving - self._middles[1], most)
        self._limits, self._stretch, self._rng = limits, stretch, rng
        self._noise = max(0.03 * self._moving.spacing if noise is None else noise, _LEAST_NOISE * self._moving.spacing)
        self._nearest, self._tree = Nearest(self._moving.points), KDTree(self._moving.points)
        self._null = NullScores(self._fixed, self._moving, limits, stretch)

    def run(self) -> list[Match]:
        """Distinct matches, best first."""
        found: list[_Candidate] = []
        for neighbours in _NEIGHBOURS:
            moving = Triangles.of(self._moving, np.arange(len(self._moving.points)), neighbours, False)
            if not len(moving.side):
                continue
            # Noise moves the corner of a triangle by its share of the longer side.
            tolerance = self._stretch + 2.5 * self._noise / float(np.median(moving.side))
            similar = SimilarTriangles(moving, min(tolerance, _COARSEST_SHAPE), self._limits.limits.scale)
            order = self._rng.permutation(len(self._fixed.points))
            first, tried, at_a_time = 0, 0, max(1, _FIRST_CENTRES // len(self._moving.points))
            while first < len(order) and tried < _MOST_PAIRS:
                checkpoint()
                centres = np.sort(order[first : first + at_a_time])
                fixed = Triangles.of(self._fixed, centres, neighbours, True)
                pairs = similar(fixed)
                found = _distinct(found + self._fits(fixed, moving, pairs), self._fixed.points)
                if found and found[0].significance >= _BEYOND_DOUBT:
                    return self._placed(found)
                first, tried = first + at_a_time, tried + len(pairs[0])
                at_a_time = max(1, round(_PAIRS_AT_A_TIME * len(centres) / max(1, len(pairs[0]))))
            if found and found[0].significance >= _SIGNIFICANT_ENOUGH:
                break
        return self._placed(found)

    def _placed(self, found: list[_Candidate]) -> list[Match]:
        """The matches in the frames of the two images; the best with what predicts left-out beads best."""
        return [self._in_place(rough, choose=number == 0) for number, rough in enumerate(found)]

    def _in_place(self, rough: _Candidate, *, choose: bool) -> Match:
        fixed = self._fixed.points[rough.fixed_index] + self._middles[0]
        moving = self._moving.points[rough.moving_index] + self._middles[1]
        models: tuple[_Model, ...] = (rough.model,)
        if choose and len(rough) >= FEWEST_AFFINE:
            models = ("similarity", "affine")
        fits = [landmarks.estimate(fixed, moving, models[0])]
        # Beads on one line, or on one plane of a volume, leave affine transforms open.
        with suppress(TransformError):
            fits += [landmarks.estimate(fixed, moving, model) for model in models[1:]]
        missed = [float(np.nanmean(np.sum(fit.left_out**2, axis=1))) for fit in fits] if len(fits) > 1 else [0.0]
        best = fits[int(np.argmin(missed))]
        assert isinstance(best, landmarks.LinearEstimate)
        residual = landmarks.fre(best.moving_from_fixed, fixed, moving)
        return Match(best, rough.fixed_index, rough.moving_index, rough.by_chance, rough.significance, residual)

    def _fits(self, fixed: Triangles, moving: Triangles, pairs: tuple[Index, Index]) -> list[_Candidate]:
        """What comes of pairs of triangles that are alike."""
        if not len(pairs[0]):
            return []
        keep = max(_EXACT, _MOST_FITTED // len(self._fixed.points))
        orders = (fixed, fixed.mirrored) if self._fixed.points.shape[1] == 3 else (fixed,)
        parts = [
            hypotheses_of(
                self._fixed,
                self._moving,
                triangles,
                moving,
                pairs,
                self._limits,
                self._nearest,
                self._noise,
                self._stretch,
                keep,
            )
            for triangles in orders
        ]
        whole = Hypotheses.joined(parts)
        poses = fit_hypotheses(self._fixed, self._moving, whole, self._nearest, self._noise, self._stretch, _EXACT)
        return [rough for pose in poses for rough in self._fitted(pose)]

    def _fitted(self, pose: Affine) -> list[_Candidate]:
        """Both models fitted to all mutual nearest neighbours, tightened to what they match."""
        models: tuple[_Model, ...] = ("similarity", "affine")
        fits = (self._tightened(pose, model) for model in models)
        return [fit for fit in fits if fit is not None]

    def _tightened(self, pose: Affine, model: _Model) -> _Candidate | None:
        checkpoint()
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
            if not self._limits.allows(pose, self._stretch):
                return None
            one, other, apart = self._pairs(pose, float(tolerance))
        if len(one) < FEWEST:
            return None
        by_chance, significance = self._null(pose, apart, self._noise, model)
        return _Candidate(pose, model, one, other, by_chance, significance)

    def _pairs(self, pose: Affine, tolerance: float) -> tuple[Index, Index, Numbers]:
        """Beads that are each other's nearest and near enough, and how far apart they are."""
        mapped = pose(self._fixed.points)
        distance, there = (np.asarray(found) for found in self._tree.query(mapped))
        back = np.asarray(KDTree(mapped).query(self._moving.points)[1])
        number = np.arange(len(mapped))
        mutual = (back[there] == number) & (distance <= tolerance)
        return number[mutual], there[mutual].astype(np.int64), distance[mutual]


def _affine(pose: object) -> Affine:
    assert isinstance(pose, Affine)
    return pose


def _distinct(found: list[_Candidate], points: Points) -> list[_Candidate]:
    """What was found without what lays the field nearly where something better does, best first."""
    kept: list[tuple[_Candidate, Points]] = []
    width = float(np.ptp(points, axis=0).max())
    for rough in sorted(found, key=lambda rough: -rough.significance):
        there = rough.pose(points)
        limit = _DISTINCT * width * rough.pose.scale
        if all(np.mean(np.linalg.norm(there - other, axis=1)) > limit for _, other in kept):
            kept.append((rough, there))
        if len(kept) == _LISTED:
            break
    return [rough for rough, _ in kept]
