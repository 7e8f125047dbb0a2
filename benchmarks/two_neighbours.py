"""Fiducials by the ratio of their two nearest distances: the published algorithm as it is written.

Each bead is known by one number, and one candidate per bead is tried, so that it needs beads whose two nearest
neighbours are seen in both images. `correlight.beads.point_matching` does not; this one is kept to compare with.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import KDTree

from correlight import landmarks
from correlight.beads.nearest import Index
from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.transforms import Affine

# Corresponding beads are closer than this many times the median distance of the best transform.
_CORRESPOND = 3.0


def match_two_neighbours(fixed: ArrayLike, moving: ArrayLike) -> landmarks.LinearEstimate | None:
    """Fit an affine transform to beads whose two nearest neighbours lie in the same ratio.

    Parameters
    ----------
    fixed, moving : (N, D) and (K, D) arrays
        Places of beads, each in its own unit; at least three of each.

    Returns
    -------
    LinearEstimate or None
        The fit to all corresponding beads; None where no three pairs, or too few corresponding beads, determine one.
        Nothing says whether it is better than chance.

    Notes
    -----
    For every fixed bead the moving bead with the most similar ratio of distances to its two nearest neighbours is the
    candidate; both with their neighbours are three pairs, which give an affine transform. The transform with the least
    median distance from mapped beads to the nearest moving beads wins and is fitted again to all corresponding beads
    [1]_. What corresponds is not defined there; here it is beads that are each other's nearest and no further apart
    than three times that median.

    References
    ----------
    .. [1] T. Cao, C. Zach, S. Modla, D. Powell, K. Czymmek, M. Niethammer, Algorithm 1 (2014).
       doi:10.48550/arXiv.1411.3229

    Examples
    --------
    >>> beads = np.array([[0, 0], [1, 0], [0, 3], [7, 1], [9, 6], [4, 9], [2, 12.0]])
    >>> found = match_two_neighbours(beads, 2 * beads + 5)
    >>> found.moving_from_fixed.matrix.round(6) + 0.0
    array([[2., 0., 5.],
           [0., 2., 5.],
           [0., 0., 1.]])
    """
    source, target = np.asarray(fixed, float), np.asarray(moving, float)
    ndim = source.shape[1]
    if min(len(source), len(target)) <= max(2, ndim):
        return None
    (source_stars, source_ratio), (target_stars, target_ratio) = _stars(source), _stars(target)
    tree = KDTree(target)
    best, least = None, np.inf
    for number, ratio in enumerate(source_ratio):
        candidate = int(np.argmin(np.abs(target_ratio - ratio)))
        try:
            # Three pairs fix an affine transform in the plane; in space they leave one direction open.
            model: landmarks.LinearModel = "affine" if ndim == 2 else "similarity"
            pose = landmarks.fit(source[source_stars[number]], target[target_stars[candidate]], model)
        except TransformError:
            continue
        error = float(np.median(tree.query(pose(source))[0]))
        if error < least:
            best, least = pose, error
    if not isinstance(best, Affine):
        return None
    return _refined(best, source, target, least)


def _stars(points: Points) -> tuple[Index, NDArray[np.float64]]:
    """Each bead with its two nearest neighbours, shape ``(N, 3)``, and the ratio of the distances to them."""
    distance, index = (np.asarray(found) for found in KDTree(points).query(points, k=3))
    return index.astype(np.int64), distance[:, 1] / np.maximum(distance[:, 2], 1e-300)


def _refined(pose: Affine, source: Points, target: Points, least: float) -> landmarks.LinearEstimate | None:
    mapped = pose(source)
    distance, there = (np.asarray(found) for found in KDTree(target).query(mapped))
    back = np.asarray(KDTree(mapped).query(target)[1])
    number = np.arange(len(source))
    # Exact beads have a median distance of nothing but rounding.
    limit = max(_CORRESPOND * least, 1e-9 * float(np.ptp(target)))
    one = number[(back[there] == number) & (distance <= limit)]
    try:
        found = landmarks.estimate(source[one], target[there[one]], "affine")
    except TransformError:
        return None
    assert isinstance(found, landmarks.LinearEstimate)
    return found
