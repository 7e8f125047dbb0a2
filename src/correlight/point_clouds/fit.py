"""Two clouds of points without correspondences: coherent point drift, rigid to elastic, in two and three dimensions.

The fixed points are the centres of a Gaussian mixture that the moving points are drawn from, besides a share of
outliers that belong to no centre. Which point belongs to which centre, and where the mixture lies, are found
alternately [1]_.

References
----------
.. [1] A. Myronenko, X. Song, IEEE Trans. Pattern Anal. Mach. Intell. 32, 2262 (2010). doi:10.1109/TPAMI.2010.46
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import UsageError
from correlight.geometry import Points
from correlight.point_clouds.cloud_pair import CloudModel, CloudPair, drift_in_steps, linear_of
from correlight.point_clouds.drift import Found
from correlight.point_clouds.starts import try_all
from correlight.transforms import Affine, Chain, Transform

Float64 = NDArray[np.float64]

# Points below which nothing is fitted, and expected correspondences below which a fit is none.
_FEWEST = 5


@dataclass(frozen=True, eq=False)
class CloudFit:
    """Where one cloud of points lies in another.

    Parameters
    ----------
    moving_from_fixed : Transform
        The transform: `Affine`, for the elastic model a smooth field after one.
    spread : float
        Standard deviation of a moving point around its corresponding fixed point along one axis, in moving units.
    matched_fixed : (M,) array
        How many moving points each fixed point explains.
    matched_moving : (N,) array
        Probability of each moving point to correspond to a fixed one.
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
    matched_fixed: Float64
    matched_moving: Float64
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
    beta: float | None = None,
    lambda_: float = 2.0,
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
    model : {"rigid", "similarity", "affine", "elastic"}
        What the transform may be. Elastic adds a smooth displacement to an affine map.
    start : Affine, optional
        Where to start; it must be right to about 90 degrees. Without it every orientation is tried, and the
        richer models start from the best similarity.
    start_error : float, optional
        How far off the start may be, in moving units; without it as far as the clouds are wide.
    mirror : bool, optional
        Whether the moving cloud is mirrored; both are tried without. Not used with a start.
    outliers : float
        Share of moving points without correspondence, above 0 and below 1.
    beta : float, optional
        Elastic: standard deviation of the Gaussian kernel, in moving units: places closer than this move alike; twice
        the root mean square radius of the fixed points without.
    lambda_ : float
        Elastic: weight of smoothness against fit, for clouds of unit root mean square radius. As in the paper [1]_.
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
    clouds = CloudPair.of(_cloud(fixed, "fixed"), _cloud(moving, "moving"), start, model)
    _check(model, outliers, (beta, start_error), lambda_, tolerance, most)
    if min(len(clouds.fixed), len(clouds.moving)) < _FEWEST:
        return _failed(clouds, f"A cloud needs {_FEWEST} points; got {len(clouds.fixed)} and {len(clouds.moving)}.")
    runner_up = margin = np.nan
    if start is None:
        begin, variance, runner_up, margin = try_all(clouds, model, mirror, outliers)
    else:
        begin = clouds.into(start)
        variance = clouds.first_variance(begin) if start_error is None else (start_error / clouds.size) ** 2
    width = 2 * clouds.radius_of_fixed(begin) if beta is None else beta / clouds.size
    if model == "elastic" and start is None:
        rough = drift_in_steps(clouds, "affine", begin, 2 * variance, outliers, None, 1e-3, 60)
        begin, variance = linear_of(rough), 4 * rough.variance
    found = drift_in_steps(clouds, model, begin, variance, outliers, (width, lambda_), tolerance, most)
    return _placed(clouds, found, runner_up, margin)


def _cloud(points: ArrayLike, role: str) -> Points:
    array = np.asarray(points, float)
    if array.ndim != 2 or array.shape[1] not in (2, 3) or not np.all(np.isfinite(array)):
        raise UsageError(
            f"The {role} cloud must hold finite positions of the shape (N, 2) or (N, 3); got {array.shape}."
        )
    return array


def _check(
    model: str, outliers: float, lengths: Sequence[float | None], lambda_: float, tolerance: float, most: int
) -> None:
    if model not in get_args(CloudModel):
        raise UsageError(f"The models of clouds are {', '.join(get_args(CloudModel))}; got {model!r}.")
    if not 0 < outliers < 1:
        raise UsageError(f"The share of outliers lies above 0 and below 1; got {outliers}.")
    if not all(one is None or 0 < one < np.inf for one in (*lengths, lambda_)):
        raise UsageError(
            f"Beta, error of the start and lambda must be positive; got {lengths[0]}, {lengths[1]} and {lambda_}."
        )
    if not 0 < tolerance < 1 or most < 1:
        raise UsageError(f"A fit needs a tolerance between 0 and 1 and a step or more; got {tolerance} and {most}.")


def _failed(clouds: CloudPair, reason: str) -> CloudFit:
    ndim = clouds.fixed.shape[1]
    nothing = np.zeros(len(clouds.fixed)), np.zeros(len(clouds.moving))
    return CloudFit(Affine.identity(ndim), np.nan, *nothing, -np.inf, np.nan, np.nan, 0, reason)


def _placed(clouds: CloudPair, found: Found, runner_up: float, margin: float) -> CloudFit:
    """The fit in the frames that the clouds came in."""
    ndim = clouds.fixed.shape[1]
    to_unit = Affine.of(np.eye(ndim) / clouds.size, -clouds.middle_of_fixed / clouds.size)
    from_unit = Affine.of(np.eye(ndim) * clouds.size, clouds.middle_of_moving)
    sums = found.responsibilities
    per_point = sums.likelihood / len(clouds.moving) - ndim * np.log(clouds.size)
    reason = "" if sums.total >= _FEWEST else f"Only {sums.total:.1f} moving points have a correspondence."
    return CloudFit(
        found.family.transform(found.vector, to_unit, from_unit, clouds.size),
        float(np.sqrt(found.variance)) * clouds.size,
        sums.of_centroids,
        sums.of_points,
        float(per_point),
        runner_up - ndim * float(np.log(clouds.size)),
        margin,
        found.steps,
        reason,
    )
