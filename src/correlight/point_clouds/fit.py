"""Two clouds of points without correspondences: coherent point drift, rigid to non-rigid, in two and three dimensions.

The fixed points are the centres of a Gaussian mixture that the moving points are drawn from, besides a share of
outliers that belong to nothing. Who belongs to whom and where the mixture lies are found in turn [1]_.

References
----------
.. [1] A. Myronenko, X. Song, IEEE Trans. Pattern Anal. Mach. Intell. 32, 2262 (2010). doi:10.1109/TPAMI.2010.46
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import UsageError
from correlight.geometry import Points
from correlight.point_clouds.drift import Family, Found, Linear, Smooth, drift
from correlight.point_clouds.mixture import Mixture, evenly
from correlight.point_clouds.smooth import Basis
from correlight.transforms import Affine, Transform
from correlight.transforms import Sequence as Chain

CloudModel = Literal["rigid", "similarity", "affine", "non-rigid"]
Float = NDArray[np.float64]

# Points of each cloud that every orientation is tried with, and that the best few are compared with.
_TRIED, _COMPARED = 250, 1000
# Points that a drift begins with: while the mixture is wide, few tell as much as all.
_FIRST = (600,)
_FINALISTS = 4
# Turns tried in the plane; in space the 24 turns of a cube.
_TURNS = 12
# A trial starts with a mixture this wide, in root mean square radii: wide enough to find its place from the nearest
# orientation, narrow enough not to forget it.
_TRIAL_WIDTH = 0.35
_FEWEST = 5
# Two fits are one pose where they lay the fixed points this close, in root mean square radii.
_SAME = 0.1


@dataclass(frozen=True, eq=False)
class CloudFit:
    """Where one cloud of points lies in another.

    Parameters
    ----------
    moving_from_fixed : Transform
        The transform: `Affine`, for the non-rigid model a smooth field after one.
    spread : float
        Standard deviation of a moving point around its fixed mate along one axis, in moving units.
    matched_fixed : (M,) array
        How many moving points each fixed point explains.
    matched_moving : (N,) array
        Probability of each moving point to have a mate.
    likelihood : float
        Logarithm of the probability density per moving point, in moving units.
    runner_up : float
        Likelihood of the best fit in another pose, among as many points as all starts were compared with; NaN where
        one start was given.
    margin : float
        By how much the pose beat the runner-up in likelihood per point; NaN where one start was given.
    steps : int
        Expectation steps with all points.
    reason : str
        Why it failed; empty where it did not.
    """

    moving_from_fixed: Transform
    spread: float
    matched_fixed: Float
    matched_moving: Float
    likelihood: float
    runner_up: float
    margin: float
    steps: int
    reason: str = ""

    def __bool__(self) -> bool:
        """Whether a pose was found."""
        return not self.reason

    @property
    def linear(self) -> Affine:
        """The transform without its bending."""
        found = self.moving_from_fixed
        first = found.parts[0] if isinstance(found, Chain) else found
        assert isinstance(first, Affine)
        return first


def fit_clouds(
    fixed: ArrayLike,
    moving: ArrayLike,
    model: CloudModel = "rigid",
    *,
    start: Affine | None = None,
    start_error: float | None = None,
    mirror: bool | None = None,
    outliers: float = 0.1,
    reach: float | None = None,
    stiffness: float = 2.0,
    tolerance: float = 1e-5,
    most: int = 300,
) -> CloudFit:
    """Lay a cloud of points onto another by coherent point drift.

    Parameters
    ----------
    fixed : (M, D) array
        Positions in the fixed image, D = 2 or 3.
    moving : (N, D) array
        Positions in the moving image. Neither number nor order have anything to do with those of ``fixed``.
    model : {"rigid", "similarity", "affine", "non-rigid"}
        What the transform may be. Non-rigid adds a smooth displacement to an affine map.
    start : Affine, optional
        Where to start; it is taken for right to about a quarter turn. Without it every orientation is tried, and the
        richer models start from the best similarity.
    start_error : float, optional
        How far off the start may be, in moving units; without it as far as the clouds are wide.
    mirror : bool, optional
        Whether the moving cloud is mirrored; both are tried without. Not used with a start.
    outliers : float
        Share of moving points that have no mate, above 0 and below 1.
    reach : float, optional
        Non-rigid: places closer than this move alike, in moving units; twice the root mean square radius of the fixed
        points without.
    stiffness : float
        Non-rigid: weight of smoothness against fit, for clouds of unit root mean square radius.
    tolerance : float
        Stop when no fixed point moves further in a step, in root mean square radii.
    most : int
        Most steps with all points.

    Returns
    -------
    CloudFit
        Falsy where the clouds are too small or nothing belongs together.

    Raises
    ------
    UsageError
        If the arrays are no clouds of one dimension, or an option is out of range.

    Notes
    -----
    Outliers are spread evenly over the box that holds the moving points, so their weight does not depend on the unit.
    5,000 points take about a second.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> fixed = rng.uniform(0, 20, (200, 2)) * (1, 0.5)
    >>> turn = Affine.similarity(rotation=130.0, mirror=True)
    >>> found = fit_clouds(fixed, turn(rng.permutation(fixed)))
    >>> bool(found), round(found.moving_from_fixed.rotation, 3), found.moving_from_fixed.mirrored
    (True, 130.0, True)
    """
    clouds = _Clouds.of(_cloud(fixed, "fixed"), _cloud(moving, "moving"), start, model)
    _check(model, outliers, (reach, start_error), stiffness, tolerance, most)
    if min(len(clouds.fixed), len(clouds.moving)) < _FEWEST:
        return clouds.failed(f"A cloud needs {_FEWEST} points; got {len(clouds.fixed)} and {len(clouds.moving)}.")
    runner_up = margin = np.nan
    if start is None:
        begin, variance, runner_up, margin = _try_all(clouds, model, mirror, outliers)
    else:
        begin = clouds.into(start)
        variance = clouds.first_variance(begin) if start_error is None else (start_error / clouds.size) ** 2
    width = 2 * clouds.radius_of_fixed(begin) if reach is None else reach / clouds.size
    if model == "non-rigid" and start is None:
        rough = _fit(clouds, "affine", begin, 2 * variance, outliers, None, 1e-3, 60)
        begin, variance = _linear(rough), 4 * rough.variance
    found = _fit(clouds, model, begin, variance, outliers, (width, stiffness), tolerance, most)
    return clouds.out(found, runner_up, margin)


def _cloud(points: ArrayLike, role: str) -> Points:
    array = np.asarray(points, float)
    if array.ndim != 2 or array.shape[1] not in (2, 3) or not np.all(np.isfinite(array)):
        raise UsageError(
            f"The {role} cloud must hold finite positions of the shape (N, 2) or (N, 3); got {array.shape}."
        )
    return array


def _check(
    model: str, outliers: float, lengths: Sequence[float | None], stiffness: float, tolerance: float, most: int
) -> None:
    if model not in get_args(CloudModel):
        raise UsageError(f"The models of clouds are {', '.join(get_args(CloudModel))}; got {model!r}.")
    if not 0 < outliers < 1:
        raise UsageError(f"The share of outliers lies above 0 and below 1; got {outliers}.")
    if not all(one is None or 0 < one < np.inf for one in (*lengths, stiffness)):
        raise UsageError(
            f"Reach, error of the start and stiffness must be positive; got {lengths[0]}, {lengths[1]} and {stiffness}."
        )
    if not 0 < tolerance < 1 or most < 1:
        raise UsageError(f"A fit needs a tolerance between 0 and 1 and a step or more; got {tolerance} and {most}.")


@dataclass(frozen=True, eq=False)
class _Clouds:
    """Both clouds with the middle of each at zero and lengths in root mean square radii of the moving one."""

    fixed: Points
    moving: Points
    middle_of_fixed: Float
    middle_of_moving: Float
    size: float

    @classmethod
    def of(cls, fixed: Points, moving: Points, start: Affine | None, model: str) -> _Clouds:
        if fixed.shape[1] != moving.shape[1] or (start is not None and start.ndim != fixed.shape[1]):
            raise UsageError(
                f"Both clouds and the start must have as many axes; got {fixed.shape[1]} and {moving.shape[1]}"
                + ("." if start is None else f" and {start.ndim}.")
            )
        middles = [cloud.mean(axis=0) if len(cloud) else np.zeros(cloud.shape[1]) for cloud in (fixed, moving)]
        size = float(np.sqrt(np.mean(np.sum((moving - middles[1]) ** 2, axis=1)))) if len(moving) else 0.0
        size = size if size > 0 else 1.0
        return cls((fixed - middles[0]) / size, (moving - middles[1]) / size, middles[0], middles[1], size)

    @property
    def volume(self) -> float:
        """Of the box that holds the moving points; a flat one counts as a tenth thick."""
        sides = np.ptp(self.moving, axis=0)
        return float(np.prod(np.maximum(sides, 0.1 * sides.max())))

    def radius_of_fixed(self, begin: tuple[Float, Float]) -> float:
        """Root mean square radius of the fixed points after the linear part of a start."""
        return float(np.sqrt(np.mean(np.sum((self.fixed @ begin[0].T) ** 2, axis=1))))

    def into(self, start: Affine) -> tuple[Float, Float]:
        """Linear part and offset between the centred clouds."""
        offset = start.linear @ self.middle_of_fixed + start.offset - self.middle_of_moving
        return np.array(start.linear), np.asarray(offset / self.size)

    def first_variance(self, begin: tuple[Float, Float]) -> float:
        """Mean squared distance of all pairs along one axis, where the drift of the paper begins."""
        moved = self.fixed @ begin[0].T + begin[1]
        apart = moved.mean(axis=0) - self.moving.mean(axis=0)
        return float((moved.var(axis=0).sum() + self.moving.var(axis=0).sum() + apart @ apart) / moved.shape[1])

    def subset(self, count: int) -> _Clouds:
        """The same with about ``count`` points each, spread evenly over each cloud."""
        fixed, moving = (cloud[evenly(cloud, count)] for cloud in (self.fixed, self.moving))
        return _Clouds(fixed, moving, self.middle_of_fixed, self.middle_of_moving, self.size)

    def failed(self, reason: str) -> CloudFit:
        ndim = self.fixed.shape[1]
        nothing = np.zeros(len(self.fixed)), np.zeros(len(self.moving))
        return CloudFit(Affine.identity(ndim), np.nan, *nothing, -np.inf, np.nan, np.nan, 0, reason)

    def out(self, found: Found, runner_up: float, margin: float) -> CloudFit:
        """The fit in the frames that the clouds came in."""
        ndim = self.fixed.shape[1]
        to_unit = Affine.of(np.eye(ndim) / self.size, -self.middle_of_fixed / self.size)
        from_unit = Affine.of(np.eye(ndim) * self.size, self.middle_of_moving)
        shares = found.shares
        per_point = shares.likelihood / len(self.moving) - ndim * np.log(self.size)
        reason = "" if shares.total >= _FEWEST else f"Only {shares.total:.1f} moving points have a mate."
        return CloudFit(
            found.family.transform(found.vector, to_unit, from_unit, self.size),
            float(np.sqrt(found.variance)) * self.size,
            shares.of_centroids,
            shares.of_points,
            float(per_point),
            runner_up - ndim * float(np.log(self.size)),
            margin,
            found.steps,
            reason,
        )


def _try_all(
    clouds: _Clouds, model: CloudModel, mirror: bool | None, outliers: float
) -> tuple[tuple[Float, Float], float, float, float]:
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
        _fit(few, free, (scale * turn, nothing), _TRIAL_WIDTH**2, outliers, None, 1e-3, 60)
        for turn in orientations(clouds.fixed.shape[1], mirror)
    ]
    finalists = _distinct(few.fixed, sorted(trials, key=_worth), _FINALISTS)
    if len(clouds.fixed) > _TRIED or len(clouds.moving) > _TRIED:
        some = clouds.subset(_COMPARED)
        finalists = [
            _fit(some, free, _linear(found), 2 * found.variance, outliers, None, 1e-4, 60) for found in finalists
        ]
        finalists = _distinct(some.fixed, sorted(finalists, key=_worth), _FINALISTS)
    best, *others = finalists
    count = len(best.shares.of_points)
    runner_up = others[0].shares.likelihood / count if others else np.nan
    return _linear(best), best.variance, runner_up, best.shares.likelihood / count - runner_up


def _worth(found: Found) -> float:
    return -found.shares.likelihood


def _linear(found: Found) -> tuple[Float, Float]:
    assert isinstance(found.family, Linear)
    return found.family.parts(found.vector)


def _distinct(fixed: Points, found: Sequence[Found], most: int) -> list[Found]:
    """The first few that are different poses."""
    kept: list[Found] = []
    places: list[Points] = []
    for one in found:
        linear, offset = _linear(one)
        place = fixed @ linear.T + offset
        if all(np.sqrt(np.mean(np.sum((place - other) ** 2, axis=1))) > _SAME for other in places):
            kept.append(one)
            places.append(place)
    return kept[:most]


def orientations(ndim: int, mirror: bool | None = None) -> list[Float]:
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
        Twelve turns of the plane, or the 24 of a cube; as many or twice as many in all.
    """
    if ndim == 2:
        turn = 2 * np.pi * np.arange(_TURNS) / _TURNS
        turns = [np.array([[c, -s], [s, c]]) for c, s in zip(np.cos(turn), np.sin(turn), strict=True)]
    else:
        signed = [
            np.eye(3)[list(order)] * signs for order in permutations(range(3)) for signs in product((1, -1), repeat=3)
        ]
        turns = [matrix for matrix in signed if np.linalg.det(matrix) > 0]
    flip = np.diag([1.0] * (ndim - 1) + [-1.0])
    mirrored = [matrix @ flip for matrix in turns]
    return (turns if mirror is not True else []) + (mirrored if mirror is not False else [])


def _fit(
    clouds: _Clouds,
    model: CloudModel,
    begin: tuple[Float, Float],
    variance: float,
    outliers: float,
    smoothness: tuple[float, float] | None,
    tolerance: float,
    most: int,
) -> Found:
    """Drift with few points while the mixture is wide, then with all."""
    if model == "non-rigid":
        assert smoothness is not None
        placed = clouds.fixed @ begin[0].T + begin[1]
        basis = Basis.of(placed, smoothness[0])
        vector = np.zeros(basis.factor.shape[1] * placed.shape[1])
    else:
        vector = np.concatenate([begin[0].ravel(), begin[1]])
    for count in _levels(clouds):
        rows, columns = evenly(clouds.fixed, count), evenly(clouds.moving, count)
        last = len(rows) == len(clouds.fixed) and len(columns) == len(clouds.moving)
        mixture = Mixture(clouds.moving[columns], outliers, clouds.volume)
        family: Family
        if model == "non-rigid":
            family = Smooth(placed, begin, basis, rows, *smoothness)  # type: ignore[misc]
        else:
            family = Linear(clouds.fixed[rows], model, begin[0])
        found = drift(
            family, mixture, vector, variance, tolerance if last else max(tolerance, 1e-3), most if last else 80
        )
        vector, variance = found.vector, found.variance
    return found


def _levels(clouds: _Clouds) -> list[int]:
    """Numbers of points to drift with, few first."""
    most = max(len(clouds.fixed), len(clouds.moving))
    return [count for count in _FIRST if 2 * count < most] + [most]
