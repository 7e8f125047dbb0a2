"""Null poses: how a pose scores beside deliberately wrong poses of the same pair, and beside its rivals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.images.plane import Plane, working_planes
from correlight.progress import checkpoint, in_threads
from correlight.refine.samples import LinearTransform
from correlight.search.correlate import Engine, MakeEngine
from correlight.search.limits import Limits, NearStart
from correlight.search.pose import Pose
from correlight.search.rotation import inverse_of
from correlight.transforms import Affine

# Size, in pixels that the engine compares, at which the pose is compared with deliberately wrong ones.
_NULL_SIZE = 96
# Wrong poses are turned against the right one by multiples of this, in both handednesses.
_NULL_STEP = 15.0
# A pose that is right to a degree or so scores what the best of so small rotations scores.
_NEARLY = (-1.5, 0.0, 1.5)
# Poses nearer to each other, in degrees and in the logarithm of the scale, have the same wrong poses.
_AS_WRONG_TURNED, _AS_WRONG_SCALED = 2.0, 0.03


@dataclass(frozen=True, eq=False)
class ScoreStatistics:
    """How a pose scores beside others, by what the search compares.

    Parameters
    ----------
    pose : Affine
        The pose, without perspective.
    own : float
        Its score.
    wrong : (N,) array
        Best scores of poses of the same scale that are turned away from it, in both handednesses.
    poses : sequence of Pose
        The hypotheses with the scores of the search; the first is the one that was refined.
    """

    pose: Affine
    own: float
    wrong: NDArray[np.float64]
    poses: Sequence[Pose]

    def tells_of(self, other: Affine) -> bool:
        """Whether poses that are wrong beside this one are as wrong beside another."""
        apart = abs((other.rotation - self.pose.rotation + 180) % 360 - 180)
        alike = abs(np.log(other.scale / self.pose.scale)) < _AS_WRONG_SCALED
        return bool(other.mirrored is self.pose.mirrored and apart < _AS_WRONG_TURNED and alike)

    @property
    def rival(self) -> Pose | None:
        """The best rival that the search found."""
        return rival_of(self.poses)

    @property
    def ratio(self) -> float:
        """Score over the best of the wrong poses."""
        return self.own / max(float(self.wrong.max()), 1e-9)

    @property
    def height(self) -> float:
        """Score above the mean of the wrong poses, in units of their spread."""
        return float((self.own - self.wrong.mean()) / max(self.wrong.std(), 1e-9))

    @property
    def margin(self) -> float:
        """Score over that of the best rival; without one, the wrong poses stand for it."""
        return self.poses[0].score / max(self.rival.score, 1e-9) if self.rival else self.ratio


def rival_of(poses: Sequence[Pose]) -> Pose | None:
    """The best rival of the first of several poses; one that did not hold where it was scores nothing and is none."""
    return next((pose for pose in poses[1:2] if pose.score > 0), None)


def score_statistics(
    fixed: Plane,
    moving: Plane,
    found: LinearTransform,
    poses: Sequence[Pose],
    engine: MakeEngine,
    limits: Limits,
    workers: int,
    known: ScoreStatistics | None = None,
) -> ScoreStatistics:
    """Compare a pose with deliberately wrong ones and with its rivals.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    found : Affine or Projective
        The pose, right to a pixel or so.
    poses : sequence of Pose
        As in `ScoreStatistics`.
    engine, limits, workers
        As in the search: wrong poses may overlap as little as the right one, and are compared on as fine pixels. They
        may lie anywhere, also where a start says where the right one lies.
    known : ScoreStatistics, optional
        Of a pose of the same images; if it lies nearly alike, its wrong poses are not considered again.
    """
    linear = Affine.of(found.linear, found.offset)
    compared = _Compared(fixed, moving, linear.scale, engine, limits)

    def scores(mirror: bool) -> list[float]:
        """Of one handedness, the right one's first; turns that share features one after the other."""
        anywhere = compared.engine()
        at_pose = anywhere if limits.start is None else compared.engine(limits.start)
        turns = [rest + quarter for rest in np.arange(0, 90, _NULL_STEP) for quarter in np.arange(0, 360, 90)][1:]
        nearly = [] if mirror else list(_NEARLY)
        asked = [(at_pose, turn) for turn in nearly]
        asked += [] if known_wrong is not None else [(anywhere, turn) for turn in turns]
        hand = linear.mirrored is not mirror
        return [compared.score(judge, linear.rotation + turn, hand) for judge, turn in asked]

    known_wrong = known.wrong if known is not None and known.tells_of(linear) else None
    own_hand, other_hand = in_threads(scores, (False, True), min(workers, 2))
    own, wrong = max(own_hand[:3]), [*own_hand[3:], *other_hand]
    finite = np.array([score for score in wrong if np.isfinite(score)] or [0.0])
    return ScoreStatistics(linear, own, finite if known_wrong is None else known_wrong, poses)


def score_of(fixed: Plane, moving: Plane, pose: Affine, engine: MakeEngine, limits: Limits) -> float:
    """Best score over all shifts at the rotation, scale and handedness of a pose; parameters as `score_statistics`."""
    compared = _Compared(fixed, moving, pose.scale, engine, limits)
    anywhere = compared.engine()
    return max(compared.score(anywhere, pose.rotation + turn, pose.mirrored) for turn in _NEARLY)


class _Compared:
    """Two images at one scale, of which the smaller field is the one that is rotated: it needs the smaller canvas."""

    def __init__(self, fixed: Plane, moving: Plane, scale: float, engine: MakeEngine, limits: Limits) -> None:
        planes = working_planes(fixed, moving, scale, limits.finer * _NULL_SIZE * engine.stride)
        self._swapped = planes[1].values.size > planes[0].values.size
        self._planes, self._make, self._least = planes, engine, limits.least_overlap

    def engine(self, start: NearStart | None = None) -> Engine:
        """One that allows any shift, or only shifts near a start."""
        fixed, moving = self._planes
        near = None if start is None else start.in_pixels(fixed.grid, moving.grid)
        if self._swapped:
            near = None if near is None else near.exchanged()
            return self._make(moving, fixed, self._least, 0.0, near)
        return self._make(fixed, moving, self._least, 0.0, near)

    def score(self, engine: Engine, rotation: float, mirror: bool) -> float:
        """Best score over all shifts that the engine allows."""
        checkpoint()
        linear = Affine.similarity(rotation, 1.0, mirror).linear
        return engine.best_shifts(inverse_of(linear) if self._swapped else linear)[-1].score
