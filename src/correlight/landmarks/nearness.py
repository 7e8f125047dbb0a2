"""Where a field through points rests on them, and where on smoothness."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from correlight.geometry import Points

# A place draws on so many of its nearest points.
_NEAREST = 8


def nearness(places: Points, points: Points, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
    """How far a smooth map through points rests on them at other places: 1 at a point, 0 far from all of them.

    Parameters
    ----------
    places : (P, D) array
        Where it is asked.
    points : (N, D) array
        Where the map is known.
    weights : (N,) array, optional
        From 0 to 1, how sure each of them is.

    Returns
    -------
    (P,) array
        The surest point counts, by its weight times ``exp(-d^2 / 2 r^2)`` for a distance d. The length r is that of
        the side of the box that one point would have for itself if the points were spread evenly over theirs.

    Examples
    --------
    >>> corners = np.array([[0, 0], [0, 10], [10, 0], [10, 10.0]])
    >>> nearness(np.array([[0, 0], [0, 5], [0, 60.0]]), corners).round(2)
    array([1.  , 0.61, 0.  ])
    """
    sides = np.ptp(points, axis=0)
    sides = np.maximum(sides, 1e-6 * max(float(sides.max()), np.finfo(float).tiny))
    length = float((np.prod(sides) / len(points)) ** (1 / points.shape[1]))
    apart, number = cKDTree(points).query(places, k=min(_NEAREST, len(points)))
    near = np.exp(-0.5 * (np.asarray(apart).reshape(len(places), -1) / length) ** 2)
    sure = np.ones(len(points)) if weights is None else np.clip(weights, 0.0, 1.0)
    return np.asarray((near * sure[np.asarray(number).reshape(near.shape)]).max(axis=1))
