"""What chance would match: how surprising it is that so many beads of two fields fall together."""

from __future__ import annotations

import numpy as np
from scipy import special
from scipy.spatial import ConvexHull, KDTree, QhullError

from correlight.geometry import Points
from correlight.landmarks import Model
from correlight.search.limits import Limits
from correlight.search.stars import Field, Numbers
from correlight.transforms import Affine

# Wrong poses beside a right one, from which the share of chance matches is counted.
_DISPLACED = 48


class Chance:
    """Judges matches of two fields of beads against chance.

    The expected number of matches as good among unrelated beads is the number of poses that can be told apart, times
    the probability that one of them matches as many: a binomial tail. Believing what is expected less than once in a
    thousand pairs of images is the a-contrario rule of Desolneux, Moisan and Morel [1]_; for the number of poses,
    Moisan and Stival [2]_ count the ways to pick as many pairs of points as fix one.

    Parameters
    ----------
    fixed, moving : Field
        The beads.
    limits : Limits
        Which poses were allowed.
    stretch : float
        How far from a similarity they may be.

    References
    ----------
    .. [1] A. Desolneux, L. Moisan, J.-M. Morel, Int. J. Comput. Vis. 40, 7 (2000). doi:10.1023/A:1026593302236
    .. [2] L. Moisan, B. Stival, Int. J. Comput. Vis. 57, 201 (2004). doi:10.1023/B:VISI.0000013094.38752.54
    """

    def __init__(self, fixed: Field, moving: Field, limits: Limits, stretch: float) -> None:
        self._fixed, self._moving, self._limits, self._stretch = fixed, moving, limits, stretch
        self._tree = KDTree(moving.points)
        self._hull = _hull(moving.points)
        ndim = fixed.points.shape[1]
        content = self._hull.volume if self._hull is not None else float(np.prod(np.ptp(moving.points, axis=0)))
        self._crowd = len(moving.points) / max(content, 1e-300)
        self._ball = np.pi ** (ndim / 2) / special.gamma(ndim / 2 + 1)

    def __call__(self, pose: Affine, matched: int, tolerance: float, model: Model) -> tuple[float, float]:
        """Matches expected by chance at one pose, and the surprise of as many as there are.

        Parameters
        ----------
        pose : Affine
            ``moving_from_fixed``.
        matched : int
            Beads that fall together.
        tolerance : float
            Largest distance that counts as together, moving unit.
        model : {"similarity", "affine"}
            What was fitted.

        Returns
        -------
        expected : float
            Number of beads.
        surprise : float
            Minus the decimal logarithm of the expected number of such matches.
        """
        mapped = pose(self._fixed.points)
        inside = mapped[self._within(mapped, tolerance)]
        ndim = pose.ndim
        # Two pairs of beads fix a similarity in 2-D, three in 3-D.
        fixing = ndim
        tried = max(len(inside), matched)
        share = max(self._share(inside, tolerance), min(0.5, self._crowd * self._ball * tolerance**ndim))
        left = tried - fixing
        tail = _log_tail(matched - fixing, left, min(share, 0.999)) if matched > fixing else 0.0
        poses = sum(np.log10(max(1, count - n)) for count in self._counts for n in range(fixing))
        poses += np.log10(self._allowed_share(ndim))
        if model == "affine":
            radius = float(np.linalg.norm(np.std(mapped, axis=0)))
            further = ndim * (ndim + 1) - (1 + ndim + ndim * (ndim - 1) // 2)
            poses += further * np.log10(1 + self._stretch * radius / tolerance)
        return share * tried, float(-(poses + tail))

    @property
    def _counts(self) -> tuple[int, int]:
        return len(self._fixed.points), len(self._moving.points)

    def _allowed_share(self, ndim: int) -> float:
        """Share of the poses that two pairs of beads can give which the limits allow."""
        rng = np.random.default_rng(0)
        lengths = []
        for field in (self._fixed, self._moving):
            one, other = rng.integers(0, len(field.points), (2, 2000))
            lengths.append(np.linalg.norm(field.points[one] - field.points[other], axis=1)[one != other])
        count = min(map(len, lengths))
        ratio = lengths[1][:count] / np.maximum(lengths[0][:count], 1e-300)
        low, high = self._limits.scale
        share = float(np.mean((ratio >= low) & (ratio <= high)))
        hands = len(self._limits.mirror)
        turns = min(1.0, (self._limits.rotation[1] - self._limits.rotation[0]) / 360) if ndim == 2 else 1.0
        return max(share, 1e-3) * hands * max(turns, 1e-3)

    def _within(self, places: Points, tolerance: float) -> np.ndarray:
        if self._hull is None:
            low, high = self._moving.points.min(axis=0) - tolerance, self._moving.points.max(axis=0) + tolerance
            return np.asarray(np.all((places >= low) & (places <= high), axis=1))
        normals, offsets = self._hull.equations[:, :-1], self._hull.equations[:, -1]
        return np.asarray(np.all(places @ normals.T + offsets <= tolerance, axis=1))

    def _share(self, inside: Points, tolerance: float) -> float:
        """Share of beads near another when the pose is wrong by a little: beads that come in clumps meet more often."""
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
