"""One cloud of points as a mixture of Gaussians that the other is drawn from: responsibilities and likelihood.

This is the expectation step of coherent point drift [1]_. The responsibility of a centroid for a point falls with
``exp(-d^2 / 2 variance)``, so that all of them cost the product of both numbers of points. Here both clouds are cut
into small boxes once; pairs of boxes too far apart to matter are left out, and the rest goes through matrix products
around the middle of each box, where single precision is enough for most.

References
----------
.. [1] A. Myronenko, X. Song, IEEE Trans. Pattern Anal. Mach. Intell. 32, 2262 (2010). doi:10.1109/TPAMI.2010.46
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Points
from correlight.progress import checkpoint

Float64 = NDArray[np.float64]

# Points per box: enough that a box is worth a matrix product, few enough that boxes are small.
_LEAF = 64
# Responsibilities below this part of that of the outliers are left out.
_NEGLIGIBLE = 1e-6
# Exponents stop here: what is smaller changes no sum, and numbers below single precision are slow to multiply.
_LOWEST_EXPONENT = 60.0
# A box this many standard deviations wide keeps 1e-5 of an exponent in single precision; wider ones need double.
_WIDEST_SINGLE = 18.0


@dataclass(frozen=True, eq=False)
class Responsibilities:
    """Sums over the responsibilities of centroids for points: all that a fit needs of the posterior probabilities P.

    Parameters
    ----------
    of_centroids : (M,) array
        Sum of each centroid's responsibilities, ``P 1``: how many points it explains.
    of_points : (N,) array
        Probability of each point to belong to a centroid at all, ``P^T 1``; the rest is outlier.
    weighted_points : (M, D) array
        Sum of the points weighted by each centroid's responsibilities, ``P X``.
    likelihood : float
        Logarithm of the probability density of all points.
    """

    of_centroids: Float64
    of_points: Float64
    weighted_points: Points
    likelihood: float

    @property
    def total(self) -> float:
        """Number of points explained."""
        return float(self.of_points.sum())


class Mixture:
    """The points to be explained, ready for any number of expectation steps.

    Parameters
    ----------
    points : (N, D) array
        The cloud that is explained.
    outliers : float
        Share of points that belong to nothing, above 0 and below 1.
    volume : float
        Area or volume over which outliers spread evenly.
    """

    def __init__(self, points: Points, outliers: float, volume: float) -> None:
        self.points = np.asarray(points, float)
        self._outliers, self._volume = outliers, volume
        order, self._starts = boxes(self.points)
        self._order = order
        self._sorted = self.points[order]
        self._low, self._high = _bounds(self._sorted, self._starts)

    def __len__(self) -> int:
        return len(self.points)

    def responsibilities(
        self, centroids: Points, variance: float, order: NDArray[np.intp], starts: NDArray[np.intp]
    ) -> Responsibilities:
        """The expectation step: how far each centroid is responsible for each point.

        Parameters
        ----------
        centroids : (M, D) array
            Where the centroids are now.
        variance : float
            Of each Gaussian, along one axis.
        order, starts : arrays of int
            Boxes of the centroids, from `boxes` at any earlier place; they stay good while neighbours stay neighbours.

        Returns
        -------
        Responsibilities
        """
        count, ndim = centroids.shape
        sorted_centroids = centroids[order]
        # What an outlier is worth in units of a Gaussian's peak, paper's equation for w with a density of 1 / volume.
        peak = (1 - self._outliers) / (count * (2 * np.pi * variance) ** (ndim / 2))
        outlier = self._outliers / (self._volume * peak)
        furthest = 2 * variance * min(_LOWEST_EXPONENT, np.log(count / (_NEGLIGIBLE * min(outlier, count))))
        near = self._near(sorted_centroids, starts, furthest)
        lengths = np.diff(np.append(starts, count))
        sums = np.zeros((count, 1 + ndim))
        of_points = np.empty(len(self))
        likelihood = 0.0
        ends = np.append(self._starts[1:], len(self))
        for box, (first, last) in enumerate(zip(self._starts, ends, strict=True)):
            checkpoint()
            chosen = np.repeat(near[box], lengths)
            middle = (self._low[box] + self._high[box]) / 2
            own = sorted_centroids[chosen] - middle
            offsets = self._sorted[first:last] - middle
            wide = float(np.max(self._high[box] - self._low[box])) > _WIDEST_SINGLE * np.sqrt(variance)
            kernel = _kernel(own, offsets, variance, np.float64 if wide else np.float32)
            explained = kernel.sum(axis=0, dtype=np.float64)
            density = explained + outlier
            of_points[first:last] = explained / density
            likelihood += float(np.log(density).sum())
            weights = np.empty((last - first, 1 + ndim), kernel.dtype)
            weights[:, 0] = 1 / density
            weights[:, 1:] = offsets / density[:, None]
            part = (kernel @ weights).astype(np.float64)
            part[:, 1:] += part[:, :1] * middle
            sums[chosen] += part
        back = np.empty_like(sums)
        back[order] = sums
        points_back = np.empty_like(of_points)
        points_back[self._order] = of_points
        return Responsibilities(back[:, 0], points_back, back[:, 1:], likelihood + len(self) * float(np.log(peak)))

    def _near(self, centroids: Points, starts: NDArray[np.intp], furthest: float) -> NDArray[np.bool_]:
        """Which boxes of centroids lie within a squared distance of each box of points, shape ``(B, C)``."""
        low, high = _bounds(centroids, starts)
        gap = np.maximum(0, np.maximum(low[None] - self._high[:, None], self._low[:, None] - high[None]))
        return np.asarray(np.einsum("bcd,bcd->bc", gap, gap) <= furthest)


def _kernel(
    centroids: Points, points: Points, variance: float, kind: type[np.float32] | type[np.float64]
) -> NDArray[np.float32] | NDArray[np.float64]:
    """``exp(-d^2 / 2 variance)`` of every centroid and point, shape ``(M, N)``, as one matrix product."""
    left = np.empty((len(centroids), centroids.shape[1] + 2), kind)
    left[:, 2:] = centroids / variance
    left[:, 0] = -np.einsum("ij,ij->i", centroids, centroids) / (2 * variance)
    left[:, 1] = 1
    right = np.empty((len(points), points.shape[1] + 2), kind)
    right[:, 2:] = points
    right[:, 0] = 1
    right[:, 1] = -np.einsum("ij,ij->i", points, points) / (2 * variance)
    exponent = left @ right.T
    np.maximum(exponent, -_LOWEST_EXPONENT, out=exponent)
    return np.asarray(np.exp(exponent, out=exponent))


def _bounds(points: Points, starts: NDArray[np.intp]) -> tuple[Points, Points]:
    return np.minimum.reduceat(points, starts, axis=0), np.maximum.reduceat(points, starts, axis=0)


def boxes(points: Points, leaf: int = _LEAF) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Cut a cloud into boxes of at most ``leaf`` points by halving the longest side.

    Parameters
    ----------
    points : (N, D) array
        The cloud, at least one point.
    leaf : int
        Most points in a box.

    Returns
    -------
    order : (N,) array of int
        ``points[order]`` has the points of a box in one run, and near boxes near each other.
    starts : (B,) array of int
        Where the runs start.
    """
    todo = [np.arange(len(points))]
    done: list[NDArray[np.intp]] = []
    while todo:
        members = todo.pop()
        if len(members) <= leaf:
            done.append(members)
            continue
        own = points[members]
        axis = int(np.argmax(np.ptp(own, axis=0)))
        half = len(members) // 2
        parted = members[np.argpartition(own[:, axis], half)]
        todo += [parted[half:], parted[:half]]
    lengths = [len(members) for members in done]
    return np.concatenate(done), np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.intp)


def evenly(points: Points, count: int) -> NDArray[np.intp]:
    """Numbers of about ``count`` points that stand for a cloud: every n-th along the order of its boxes."""
    if len(points) <= count:
        return np.arange(len(points))
    order, _ = boxes(points, 2)
    return np.sort(order[(np.arange(count) * len(points)) // count])
