"""Whether a pose with less in common than is searched fits as well: the right half of a symmetric specimen does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from correlight.evidence.checks import agrees_better
from correlight.search.limits import SMALLEST_OVERLAP, Limits
from correlight.search.pose import Pose
from correlight.search.poses import PoseSearch
from correlight.search.ranking import by_all_groups
from correlight.transforms import Affine

# Poses nearer than this share of the width are one: candidate rotations are several degrees apart.
_ONE_POSE = 0.2
# A candidate may be off by so many degrees.
_TURNED = (-2.5, 0.0, 2.5)


def over_less_in_common(search: PoseSearch, found: Affine, limits: Limits) -> float:
    """Score of a pose over that of the best one with less in common than the search asks for, if that agrees better.

    The search cannot find such poses. Of a symmetric specimen the right one may be among them, where one image shows
    one half of it: in the mirror that half lies on the other, with more in common. Every rotation is compared by what
    the search has computed already; what scores above all other poses is compared on finer pixels.

    Parameters
    ----------
    search : PoseSearch
        What found the pose, without a start.
    found : Affine
        The refined pose, ``moving_from_fixed``.
    limits : Limits
        Those of the search.

    Returns
    -------
    float
        NaN where no such pose agrees better, or where the search asks for as little.
    """
    if limits.least_overlap <= SMALLEST_OVERLAP or limits.start is not None:
        return float("nan")
    # What wrong poses score is learned from all rotations, also where few are asked for.
    search = search.within(Limits(limits.scale, least_overlap=SMALLEST_OVERLAP))
    poses = [item.pose for item in by_all_groups(search.scored(search.at_scale(found.scale)))]
    away = _apart(poses, found, search) >= _ONE_POSE
    few = [pose for pose, far in zip(poses, away, strict=True) if far and pose.overlap < limits.least_overlap]
    rival = max(few, key=lambda pose: pose.score, default=None)
    if rival is None or not _within(limits, rival.linear):
        return float("nan")
    others = away & (_apart(poses, rival.linear, search) >= _ONE_POSE)
    most = max((pose.score for pose, other in zip(poses, others, strict=True) if other), default=0.0)
    if rival.score < most:
        return float("nan")

    turned = [replace(rival, moving_from_fixed=_turned(rival.linear, angle, search)) for angle in _TURNED]
    rival = search.rescored(turned)[0]
    overlap = max((pose.overlap for pose, far in zip(poses, away, strict=True) if not far), default=1.0)
    (own,) = search.rescored([Pose(found, 0.0, overlap)])
    if not agrees_better(rival, own):
        return float("nan")
    return own.score / max(rival.score, 1e-9)


def _apart(poses: Sequence[Pose], other: Affine, search: PoseSearch) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """Mean distance of each pose from another, as a share of the width."""
    points = search.fixed.grid.lattice(4)
    there = other(points)
    width = max(search.fixed.grid.extent) * other.scale
    return np.array([np.mean(np.linalg.norm(pose.moving_from_fixed(points) - there, axis=1)) / width for pose in poses])


def _turned(pose: Affine, angle: float, search: PoseSearch) -> Affine:
    """A pose turned about the centre of the fixed field, by degrees."""
    middle = search.fixed.grid.centre
    turn = Affine.similarity(angle, 1.0, mirror=False).linear
    return pose @ Affine.of(turn, middle - turn @ middle)


def _within(limits: Limits, pose: Affine) -> bool:
    """Whether a candidate lies within the limits, as far as candidates go."""
    nearest, _ = limits.nearest(pose.rotation, pose.scale, pose.mirrored)
    off = abs((pose.rotation - nearest + 180) % 360 - 180)
    return pose.mirrored in limits.mirror and off <= 2 * max(_TURNED)
