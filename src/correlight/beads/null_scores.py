"""How many beads unrelated images would match: the E-value of a match."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.spatial import ConvexHull, KDTree, QhullError

from correlight.beads.hypotheses import ball
from correlight.beads.pose_limits import PoseLimits
from correlight.beads.triangles import Field, Numbers
from correlight.geometry import Points
from correlight.landmarks import LinearModel
from correlight.transforms import Affine

# Distances that may count as together, in standard deviations per axis. Of two images of one bead in 2-D 86 % are
# nearer than the first and 99.8 % nearer than the last.
TOLERANCES = (2.0, 2.5, 3.0, 3.5)
# Wrong poses beside a right one, from which the share of chance matches is counted.
_DISPLACED = 48


class NullScores:
    """Compares matches of two fields of beads with those of unrelated beads.

    The expected number of matches as good among unrelated beads, the E-value, is the number of poses that can be told
    apart, times the probability that one of them matches as many: a binomial tail. Believing what is expected less than
    once in a thousand pairs of images is the a-contrario rule of Desolneux, Moisan and Morel [1]_; for the number of
    poses, Moisan and Stival [2]_ count the ways to pick as many pairs of points as fix one.

    Parameters
    ----------
    fixed, moving : Field
        The beads.
    limits : PoseLimits
        Which poses were allowed.
    stretch : float
        How far from a similarity they may be.

    References
    ----------
    .. [1] A. Desolneux, L. Moisan, J.-M. Morel, Int. J. Comput. Vis. 40, 7 (2000). doi:10.1023/A:1026593302236
    .. [2] L. Moisan, B. Stival, Int. J. Comput. Vis. 57, 201 (2004). doi:10.1023/B:VISI.0000013094.38752.54
    """

    def __init__(self, fixed: Field, moving: Field, limits: PoseLimits, stretch: float) -> None:
        self._fixed, self._moving, self._limits, self._stretch = fixed, moving, limits, stretch
        self._tree = KDTree(moving.points)
        self._hull = _hull(moving.points)
        ndim = fixed.points.shape[1]
        self._ball = ball(ndim)
        self._log_allowed = float(np.log10(self._allowed_share(ndim)))

    def __call__(self, pose: Affine, apart: Numbers, noise: float, model: LinearModel) -> tuple[float, float]:
        """Matches expected by chance at one pose, and the significance of as many as there are.

        Parameters
        ----------
        pose : Affine
            ``moving_from_fixed``.
        apart : (M,) array
            Distances of the beads that fall together, moving unit.
        noise : float
            Standard deviation of the distance of two images of one bead per axis, moving unit.
        model : {"similarity", "affine"}
            What was fitted.

        Returns
        -------
        expected : float
            Number of beads by chance within the widest tolerance.
        significance : float
            Minus the decimal logarithm of the E-value: of how many poses with as many matches are expected in one pair
            of images of unrelated beads. Of the tolerances that at which it is largest; that several were tried is
            allowed for.
        """
        mapped = pose(self._fixed.points)
        inside = mapped[self._within(mapped, TOLERANCES[-1] * noise)]
        expected, significance = 0.0, -np.inf
        for tolerance in noise * np.asarray(TOLERANCES):
            matched = int(np.count_nonzero(apart <= tolerance))
            share = min(max(self._share(inside, tolerance), self._even_share(tolerance)), 0.9)
            tried = max(len(inside), matched)
            tail = _log_tail(matched - pose.ndim, tried - pose.ndim, share)
            expected = share * tried
            significance = max(significance, -tail - self._log_tried(mapped, tolerance, model))
        return expected, float(significance)

    def _log_tried(self, mapped: Points, tolerance: float, model: LinearModel) -> float:
        """Decimal logarithm of how many poses can be told apart at a tolerance."""
        ndim = mapped.shape[1]
        # A bead and its neighbours fix a pose: one neighbour in 2-D, two in 3-D. All tolerances and models were tried.
        tried = np.log10(len(TOLERANCES) * 2) + self._log_allowed
        for field in (self._fixed, self._moving):
            tried += np.log10(len(field.points))
            tried += sum(np.log10(max(1, field.nearest.shape[1] - n)) for n in range(ndim - 1))
        if model == "affine":
            # Each further parameter moves the outer beads by up to the stretch.
            radius = float(np.linalg.norm(np.std(mapped, axis=0)))
            further = ndim * (ndim + 1) // 2 - 1
            tried += further * np.log10(1 + self._stretch * radius / tolerance)
        return float(tried)

    def _even_share(self, tolerance: float) -> float:
        """Share of places near a bead if beads were spread evenly."""
        points = self._moving.points
        extent = np.ptp(points, axis=0)
        if self._hull is not None and extent.min() > 2 * tolerance:
            content = float(self._hull.volume)
        else:
            # A field flatter than the tolerance is as thick as the ball that it is compared with.
            content = float(np.prod(np.maximum(extent, 4 / 3 * tolerance)))
        return float(len(points) * self._ball * tolerance ** points.shape[1] / content)

    def _allowed_share(self, ndim: int) -> float:
        """Share of all poses that the limits allow, times the handednesses."""
        rng = np.random.default_rng(0)
        lengths = []
        for field in (self._fixed, self._moving):
            one, other = rng.integers(0, len(field.points), (2, 2000))
            lengths.append(np.linalg.norm(field.points[one] - field.points[other], axis=1)[one != other])
        count = min(map(len, lengths))
        ratio = lengths[1][:count] / np.maximum(lengths[0][:count], 1e-300)
        low, high = self._limits.limits.scale
        share = float(np.mean((ratio >= low) & (ratio <= high)))
        hands = len(self._limits.limits.mirror)
        return max(share, 1e-3) * hands * max(self._limits.share_of_rotations(ndim), 1e-3)

    def _within(self, places: Points, tolerance: float) -> NDArray[np.bool_]:
        if self._hull is None:
            low, high = self._moving.points.min(axis=0) - tolerance, self._moving.points.max(axis=0) + tolerance
            return np.asarray(np.all((places >= low) & (places <= high), axis=1))
        normals, offsets = self._hull.equations[:, :-1], self._hull.equations[:, -1]
        return np.asarray(np.all(places @ normals.T + offsets <= tolerance, axis=1))

    def _share(self, inside: Points, tolerance: float) -> float:
        """Share of beads near another when the pose is wrong by a little: beads in clusters meet more often."""
        if not len(inside):
            return 0.0
        rng = np.random.default_rng(1)
        ndim = inside.shape[1]
        ways = rng.normal(size=(_DISPLACED, ndim))
        lengths = rng.uniform(3, 12, (_DISPLACED, 1)) * max(tolerance, 0.1 * self._moving.spacing)
        ways *= lengths / np.linalg.norm(ways, axis=1, keepdims=True)
        places = (inside[None] + ways[:, None]).reshape(-1, ndim)
        return float(np.mean(self._tree.query(places, distance_upper_bound=tolerance)[0] <= tolerance))


def _hull(points: Points) -> ConvexHull | None:
    try:
        return ConvexHull(points)
    except QhullError:
        return None


def _log_tail(least: int, tried: int, share: float) -> float:
    """Decimal logarithm of the probability of at least so many successes among those tried."""
    if least <= 0:
        return 0.0
    count = np.arange(least, tried + 1)
    if not len(count):
        return -np.inf
    terms: Numbers = (
        special.gammaln(tried + 1)
        - special.gammaln(count + 1)
        - special.gammaln(tried - count + 1)
        + count * np.log(share)
        + (tried - count) * np.log1p(-share)
    )
    return float(special.logsumexp(terms) / np.log(10))
