"""Where the fit of two clouds starts when nothing is known: every orientation with few points, the best with more."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Points
from correlight.point_clouds.cloud_pair import CloudModel, CloudPair, drift_in_steps, linear_of
from correlight.point_clouds.drift import Found

Float64 = NDArray[np.float64]

# Points of each cloud that every orientation is tried with, and that the best few are compared with.
_TRIED, _COMPARED = 250, 1000
_FINALISTS = 4
# Rotations tried in the plane; in space the 24 of a cube.
_ROTATIONS = 12
# A trial starts with a mixture this wide, in root mean square radii: wide enough to find its place from the nearest
# orientation, narrow enough not to forget it.
_TRIAL_WIDTH = 0.35
# Two fits are one pose where they lay the fixed points this close, in root mean square radii.
_SAME = 0.1


def try_all(
    clouds: CloudPair, model: CloudModel, mirror: bool | None, outliers: float
) -> tuple[tuple[Float64, Float64], float, float, float]:
    """Every orientation with few points, the best few with more.

    Returns
    -------
    begin : ((D, D) array, (D,) array)
        Linear part and offset of the best.
    variance : float
        Of the mixture there.
    runner_up, margin : float
        As in `CloudFit`.
    """
    free: CloudModel = "rigid" if model == "rigid" else "similarity"
    few = clouds.subset(_TRIED)
    scale = (
        1.0 if free == "rigid" else 1 / max(1e-12, clouds.radius_of_fixed((np.eye(clouds.fixed.shape[1]), np.zeros(0))))
    )
    nothing = np.zeros(clouds.fixed.shape[1])
    trials = [
        drift_in_steps(few, free, (scale * rotation, nothing), _TRIAL_WIDTH**2, outliers, None, 1e-3, 60)
        for rotation in orientations(clouds.fixed.shape[1], mirror)
    ]
    finalists = _distinct(few.fixed, sorted(trials, key=_worth), _FINALISTS)
    if len(clouds.fixed) > _TRIED or len(clouds.moving) > _TRIED:
        some = clouds.subset(_COMPARED)
        finalists = [
            drift_in_steps(some, free, linear_of(found), 2 * found.variance, outliers, None, 1e-4, 60)
            for found in finalists
        ]
        finalists = _distinct(some.fixed, sorted(finalists, key=_worth), _FINALISTS)
    best, *others = finalists
    count = len(best.responsibilities.of_points)
    runner_up = others[0].responsibilities.likelihood / count if others else np.nan
    return linear_of(best), best.variance, runner_up, best.responsibilities.likelihood / count - runner_up


def _worth(found: Found) -> float:
    return -found.responsibilities.likelihood


def _distinct(fixed: Points, found: Sequence[Found], most: int) -> list[Found]:
    """The first few that are different poses."""
    kept: list[Found] = []
    places: list[Points] = []
    for one in found:
        linear, offset = linear_of(one)
        place = fixed @ linear.T + offset
        if all(np.sqrt(np.mean(np.sum((place - other) ** 2, axis=1))) > _SAME for other in places):
            kept.append(one)
            places.append(place)
    return kept[:most]


def orientations(ndim: int, mirror: bool | None = None) -> list[Float64]:
    """Orthogonal matrices spread evenly over all orientations.

    Parameters
    ----------
    ndim : {2, 3}
        Number of axes.
    mirror : bool, optional
        Whether they mirror; both without.

    Returns
    -------
    list of (ndim, ndim) arrays
        Twelve rotations of the plane, or the 24 of a cube; as many or twice as many in all.
    """
    if ndim == 2:
        angle = 2 * np.pi * np.arange(_ROTATIONS) / _ROTATIONS
        rotations = [np.array([[c, -s], [s, c]]) for c, s in zip(np.cos(angle), np.sin(angle), strict=True)]
    else:
        signed = [
            np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
        ]
        rotations = [matrix for matrix in signed if np.linalg.det(matrix) > 0]
    flip = np.diag([1.0] * (ndim - 1) + [-1.0])
    mirrored = [matrix @ flip for matrix in rotations]
    return (rotations if mirror is not True else []) + (mirrored if mirror is not False else [])
