"""What a search found at its turns: scores in units of chance, which turns go on, and when one pose has won."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.search.pose import Pose

# A pose with less than this share of the best score is not followed up.
_HOPELESS = 0.6
# So many turns of a scale tell what chance does there.
_ENOUGH_TURNS = 20
# At least so many rivals of the best pose are listed, as far as there are distinct ones.
_LISTED = 5
# Findings among which distinct poses are looked for: neighbours of the best on the grid of turns crowd the top.
_LOOKED_AT = 40 * _LISTED
# A pose so far away, as a share of the width, lies elsewhere.
_ELSEWHERE = 0.25


@dataclass(frozen=True, slots=True)
class RotationScale:
    """The part of a pose that the engine does not search: all but the shift."""

    rotation: float
    scale: float
    mirror: bool

    def corners(self, rotation_step: float, scale_step: float) -> list[RotationScale]:
        """Four turns that leave no turn of the cell around this one further off than a quarter of its steps."""
        return [
            RotationScale(
                (self.rotation + dr * rotation_step / 4) % 360, self.scale * (1 + scale_step) ** (ds / 4), self.mirror
            )
            for dr in (-1, 1)
            for ds in (-1, 1)
        ]

    def beside(self, rotation_step: float, scale_step: float) -> list[RotationScale]:
        """The two turns one step to either side."""
        return [
            RotationScale(
                (self.rotation + side * rotation_step) % 360, self.scale * (1 + scale_step) ** side, self.mirror
            )
            for side in (-1, 1)
        ]


@dataclass(frozen=True, slots=True)
class ScoredPose:
    """A turn with its best shift, by one of the lists that the engine keeps."""

    turn: RotationScale
    vote: int
    pose: Pose
    usual: bool = True

    @property
    def ranked_with(self) -> tuple[int, bool]:
        """Findings are ranked among those of one list, and apart from unusual scales."""
        return self.vote, self.usual


@dataclass(frozen=True, eq=False)
class NullScores:
    """What wrong turns score, list by list and scale by scale.

    Where a few large structures of one image fill the other, chance does better than where many meet many. A score is
    therefore divided by the median over all turns of its scale, nearly all of which are wrong.

    Parameters
    ----------
    medians : dict
        For each list, logarithms of scales in rising order and the medians there.
    """

    medians: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]

    @classmethod
    def of(cls, found: Sequence[ScoredPose]) -> NullScores:
        """From the first round; empty where too few turns of a scale were tried to tell right from wrong."""
        by_scale: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        for item in found:
            by_scale[item.vote][item.turn.scale].append(item.pose.score)
        medians = {}
        for vote, scores in by_scale.items():
            told = sorted(scale for scale, values in scores.items() if len(values) >= _ENOUGH_TURNS)
            if told:
                medians[vote] = np.log(told), np.array([np.median(scores[scale]) for scale in told])
        return cls(medians)

    def normalised(self, item: ScoredPose) -> ScoredPose:
        """The finding with its score in units of chance."""
        if item.vote not in self.medians:
            return item
        unit = max(float(np.interp(np.log(item.turn.scale), *self.medians[item.vote])), 1e-6)
        return replace(item, pose=replace(item.pose, score=item.pose.score / unit))


def distinct(poses: Iterable[Pose], grid: Grid, least_distance: float = 0.08) -> list[Pose]:
    """Drop every pose that lays the image nearly where a better one does.

    Parameters
    ----------
    poses : iterable of Pose
        In any order.
    grid : Grid
        The fixed image.
    least_distance : float
        Mean distance between the places that two poses give, as a fraction of the width, to count as two.
    """
    points = grid.lattice(4)
    limit = least_distance * max(grid.extent)
    kept: list[Pose] = []
    laid = np.empty((0, *points.shape))
    for pose in sorted(poses, key=lambda pose: -pose.score):
        places = pose.moving_from_fixed(points)
        apart = np.linalg.norm(laid - places, axis=2).mean(axis=1)
        if np.all(apart > limit * pose.linear.scale):
            kept.append(pose)
            laid = np.concatenate([laid, places[None]])
    return kept


def going_on(found: Sequence[ScoredPose], keep: int, grid: Grid) -> list[RotationScale]:
    """The turns that go on to the next round: the promising ones, and those of the best distinct poses.

    However clear the winner is, the list must show what it was preferred to.
    """
    best = sorted(joint(found), key=lambda item: -item.pose.score)[:_LOOKED_AT]
    by_pose = {item.pose: item.turn for item in best}
    rivals = (by_pose[pose] for pose in distinct(by_pose, grid)[: _LISTED + 1])
    return list(dict.fromkeys([*best_turns(found, keep), *rivals]))


def best_turns(found: Sequence[ScoredPose], keep: int) -> list[RotationScale]:
    """The best turns of each list by score, and by score among the poses of one scale.

    What a wrong pose scores by chance depends on the scale: where a few large structures of one image fill the
    other, chance does better. A score is therefore also normalised by the spread of its own scale.
    """
    chosen: dict[RotationScale, None] = {}
    for ranked_with in {item.ranked_with for item in found}:
        listed = [item for item in found if item.ranked_with == ranked_with]
        scores = np.array([item.pose.score for item in listed])
        standing = _standing(scores, np.array([item.turn.scale for item in listed]))
        for ranking in (scores, standing) if standing.any() else (scores,):
            for index in np.argsort(-ranking, kind="stable")[:keep]:
                if ranking[index] >= _HOPELESS * ranking.max():
                    chosen.setdefault(listed[index].turn)
    return list(chosen)


def _standing(scores: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores in robust standard deviations above the median of their own scale, as far as there are enough."""
    standing = np.zeros(len(scores))
    for scale in np.unique(scales):
        same = scales == scale
        if np.count_nonzero(same) >= _ENOUGH_TURNS:
            middle = np.median(scores[same])
            spread = 1.4826 * np.median(np.abs(scores[same] - middle))
            standing[same] = (scores[same] - middle) / max(spread, 1e-6)
    return standing


def decided(found: Sequence[ScoredPose], grid: Grid, ratio: float) -> bool:
    """Whether the best pose by one of the lists has left all others this far behind."""
    for vote in {item.vote for item in found}:
        listed = sorted((item.pose for item in found if item.vote == vote), key=lambda pose: -pose.score)
        # Neighbours of the best pose on the grid of turns score well because they are nearly right.
        best = distinct(listed[:_LOOKED_AT], grid, _ELSEWHERE)
        if len(best) > 1 and best[0].score >= ratio * best[1].score:
            return True
    return False


def joint(found: Sequence[ScoredPose]) -> list[ScoredPose]:
    """The list that all groups voted for together."""
    last = max((item.vote for item in found), default=0)
    return [item for item in found if item.vote == last]
