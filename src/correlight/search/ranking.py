"""Ranking of scored poses: normalised scores, which candidates are refined, and when one pose is unambiguous."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.search.pose import Pose

# A pose with less than this share of the best score is not refined.
_LEAST_SHARE = 0.6
# So many candidates of a scale are needed to estimate what wrong poses score there.
_ENOUGH_CANDIDATES = 20
# At least so many rivals of the best pose are listed, as far as there are distinct ones.
_LISTED = 5
# Scored poses among which distinct ones are sought: the neighbours of the best fill the first ranks.
_COMPARED = 40 * _LISTED
# A pose so far away, as a share of the width, lies elsewhere.
_ELSEWHERE = 0.25


@dataclass(frozen=True, slots=True)
class RotationScale:
    """Candidate rotation and scale: the part of a pose that the engine does not search, all but the shift."""

    rotation: float
    scale: float
    mirror: bool

    def corners(self, rotation_step: float, scale_step: float) -> list[RotationScale]:
        """Four candidates; any point of the grid cell around this one is within a quarter step of one of them."""
        return [
            RotationScale(
                (self.rotation + dr * rotation_step / 4) % 360, self.scale * (1 + scale_step) ** (ds / 4), self.mirror
            )
            for dr in (-1, 1)
            for ds in (-1, 1)
        ]

    def beside(self, rotation_step: float, scale_step: float) -> list[RotationScale]:
        """The two candidates one step to either side."""
        return [
            RotationScale(
                (self.rotation + side * rotation_step) % 360, self.scale * (1 + scale_step) ** side, self.mirror
            )
            for side in (-1, 1)
        ]


@dataclass(frozen=True, slots=True)
class ScoredPose:
    """A candidate with its best shift, as scored by the first ``group + 1`` groups of channels."""

    candidate: RotationScale
    group: int
    pose: Pose
    common_scale: bool = True

    @property
    def ranked_with(self) -> tuple[int, bool]:
        """Poses are ranked among those of the same groups, and apart from those of rare scales."""
        return self.group, self.common_scale

    def with_score(self, score: float) -> ScoredPose:
        """The same with another score."""
        pose = Pose(self.pose.moving_from_fixed, score, self.pose.overlap)
        return ScoredPose(self.candidate, self.group, pose, self.common_scale)


@dataclass(frozen=True, eq=False)
class NullScores:
    """What wrong poses score, by group and scale.

    Where a few large structures of one image fill the other, wrong poses score more than where there are many. A score
    is therefore divided by the median over all candidates of its scale, nearly all of which are wrong.

    Parameters
    ----------
    medians : dict
        For each group, logarithms of scales in rising order and the medians there.
    """

    medians: dict[int, tuple[NDArray[np.float64], NDArray[np.float64]]]

    @classmethod
    def of(cls, found: Sequence[ScoredPose]) -> NullScores:
        """From the first level; empty where too few candidates of a scale were tried to tell right from wrong."""
        by_scale: dict[int, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
        for item in found:
            by_scale[item.group][item.candidate.scale].append(item.pose.score)
        medians = {}
        for group, scores in by_scale.items():
            told = sorted(scale for scale, values in scores.items() if len(values) >= _ENOUGH_CANDIDATES)
            if told:
                medians[group] = np.log(told), np.array([np.median(scores[scale]) for scale in told])
        return cls(medians)

    def normalised(self, found: Sequence[ScoredPose]) -> list[ScoredPose]:
        """The poses with their scores divided by the null scores at their scales."""
        units = np.ones(len(found))
        groups = np.array([item.group for item in found], int)
        scales = np.log([item.candidate.scale for item in found])
        for group, (told, medians) in self.medians.items():
            own = groups == group
            units[own] = np.maximum(np.interp(scales[own], told, medians), 1e-6)
        return [item.with_score(item.pose.score / unit) for item, unit in zip(found, units.tolist(), strict=True)]


def distinct(poses: Iterable[Pose], grid: Grid, least_distance: float = 0.08) -> list[Pose]:
    """Drop every pose that nearly coincides with a better one.

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
    ranked = sorted(poses, key=lambda pose: -pose.score)
    laid = np.array([pose.moving_from_fixed(points) for pose in ranked])
    limits = np.array([least_distance * max(grid.extent) * pose.linear.scale for pose in ranked])
    apart = np.ones(len(ranked), bool)
    kept: list[Pose] = []
    for number, pose in enumerate(ranked):
        if apart[number]:
            kept.append(pose)
            away = laid[number + 1 :] - laid[number]
            apart[number + 1 :] &= np.sqrt(np.einsum("npd,npd->np", away, away)).mean(axis=1) > limits[number + 1 :]
    return kept


def candidates_to_refine(found: Sequence[ScoredPose], keep: int, grid: Grid) -> list[RotationScale]:
    """The candidates that are refined on the next level: the promising ones, and those of the best distinct poses.

    Even if one pose is unambiguous, the final list must hold its rivals.
    """
    best = sorted(by_all_groups(found), key=lambda item: -item.pose.score)[:_COMPARED]
    by_pose = {item.pose: item.candidate for item in best}
    rivals = (by_pose[pose] for pose in distinct(by_pose, grid)[: _LISTED + 1])
    return list(dict.fromkeys([*best_candidates(found, keep), *rivals]))


def best_candidates(found: Sequence[ScoredPose], keep: int) -> list[RotationScale]:
    """The best candidates of each group by score, and by score relative to the poses of the same scale.

    What a wrong pose scores depends on the scale: where a few large structures of one image fill the other, it is
    more. A score is therefore also standardised within its own scale.
    """
    chosen: dict[RotationScale, None] = {}
    for ranked_with in {item.ranked_with for item in found}:
        listed = [item for item in found if item.ranked_with == ranked_with]
        scores = np.array([item.pose.score for item in listed])
        standardised = _standardised(scores, np.array([item.candidate.scale for item in listed]))
        for ranking in (scores, standardised) if standardised.any() else (scores,):
            for index in np.argsort(-ranking, kind="stable")[:keep]:
                if ranking[index] >= _LEAST_SHARE * ranking.max():
                    chosen.setdefault(listed[index].candidate)
    return list(chosen)


def _standardised(scores: NDArray[np.float64], scales: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores in robust standard deviations above the median of their own scale, as far as there are enough."""
    standardised = np.zeros(len(scores))
    for scale in np.unique(scales):
        same = scales == scale
        if np.count_nonzero(same) >= _ENOUGH_CANDIDATES:
            middle = np.median(scores[same])
            spread = 1.4826 * np.median(np.abs(scores[same] - middle))
            standardised[same] = (scores[same] - middle) / max(spread, 1e-6)
    return standardised


def is_unambiguous(found: Sequence[ScoredPose], grid: Grid, ratio: float) -> bool:
    """Whether the best pose of one of the groups scores this many times as much as every distant one."""
    for group in {item.group for item in found}:
        listed = sorted((item.pose for item in found if item.group == group), key=lambda pose: -pose.score)
        # Neighbours of the best pose on the grid of candidates score well because they are nearly right.
        best = distinct(listed[:_COMPARED], grid, _ELSEWHERE)
        if len(best) > 1 and best[0].score >= ratio * best[1].score:
            return True
    return False


def by_all_groups(found: Sequence[ScoredPose]) -> list[ScoredPose]:
    """The poses as scored by all groups of channels together."""
    last = max((item.group for item in found), default=0)
    return [item for item in found if item.group == last]
