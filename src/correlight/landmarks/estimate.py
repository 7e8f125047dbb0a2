"""A transform fitted to landmarks together with the error to expect at every place, landmark or not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from correlight.errors import TransformError, UsageError
from correlight.geometry import Points
from correlight.landmarks.expected import Estimate, Float64, LandmarkModel, Noise
from correlight.landmarks.linear import fit
from correlight.landmarks.spline import SmoothFit, fit_spline
from correlight.landmarks.weights import anisotropic_covariances, even, given_covariances, improve, pulled
from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LinearModel, Motions

# Resistance to changes of area over resistance to shear of a body with Poisson's ratio 0.3, as of many resins.
_ELASTIC = 3.5
# More landmarks than these would keep a spline busy for many minutes.
MOST_OF_SPLINES = 1000
# Up to this many landmarks, each is left out of a fit of its own; of more, all are at once, to first order.
_ONE_BY_ONE = 100
# Share of a fit that a landmark may decide before the others are taken to tell nothing there.
_ALONE = 1e-9


@dataclass(frozen=True, eq=False)
class LinearEstimate(Estimate):
    """An estimate for a rigid, similarity, affine or projective transform.

    Parameters
    ----------
    motions : Motions
        Ways in which the transform may be off.
    parameter_covariance : (P, P) array
        Of the parameters of these motions.
    weights : (N, D, D) array or None
        Covariances of the mismatch in the moving image that the landmarks were weighted by; None where all count alike.
    allow_mirror : bool
        Whether the transform might have been mirrored.
    """

    motions: Motions
    parameter_covariance: Float64
    weights: Float64 | None
    allow_mirror: bool

    @property
    def left_out(self) -> Float64:
        """Error of each landmark predicted by a fit to the others, shape ``(N, D)``; NaN where they determine none."""
        return self._others[0]

    @property
    def left_out_covariances(self) -> Float64:
        """What was to be expected of `left_out`, shape ``(N, D, D)``."""
        return self._others[1]

    @cached_property
    def _others(self) -> tuple[Float64, Float64]:
        """Every landmark against a fit to the others: how far off it lies, and the covariance of that."""
        count, ndim = self.fixed.shape
        if count > _ONE_BY_ONE:
            return self._others_at_once()
        apart, expected = np.full((count, ndim), np.nan), np.full((count, ndim, ndim), np.nan)
        for index in range(count):
            kept = np.arange(count) != index
            weights = None if self.weights is None else self.weights[kept]
            try:
                told = _linear(self.fixed[kept], self.moving[kept], self.motions.model, weights, self.allow_mirror)
            except TransformError:
                continue
            place = self.fixed[[index]]
            slope = told.moving_from_fixed.jacobian(place)[0]
            apart[index] = np.linalg.solve(slope, (self.moving[[index]] - told.moving_from_fixed(place))[0])
            own = told.landmark_covariances.mean(axis=0) if weights is None else self.landmark_covariances[index]
            expected[index] = told.covariances(place)[0] + own
        return apart, expected

    def _others_at_once(self) -> tuple[Float64, Float64]:
        """The same to first order, from one fit: exact where the transform is linear in its parameters.

        A landmark draws a fit of covariance S at its place towards itself by the share S / C of its own covariance C;
        without it lies off by C (C - S)^-1 times its residual, and S becomes S + S (C - S)^-1 S (Woodbury).
        """
        count, ndim = self.fixed.shape
        even = np.broadcast_to(np.eye(ndim), (count, ndim, ndim))
        own = self.landmark_covariances
        if self.weights is None:
            own = pulled(self.moving_from_fixed.jacobian(self.fixed), even)
        at, certain, left = self.motions.at(self.fixed), np.linalg.inv(own), self.residuals
        normal = np.einsum("nap,nab,nbq->pq", at, certain, at, optimize=True)
        fitted = np.einsum("nap,pq,nbq->nab", at, np.linalg.pinv(normal, hermitian=True), at, optimize=True)
        # Where a landmark alone decides, the others tell nothing.
        told = np.abs(np.linalg.eigvals(certain @ fitted)).max(axis=1) < 1 - _ALONE
        gap = np.linalg.inv(np.where(told[:, None, None], own - fitted, even))
        apart = np.einsum("nab,nbc,nc->na", own, gap, left)
        expected = fitted + fitted @ gap @ fitted
        if self.weights is None:
            squares = np.einsum("na,nab,nb->n", left, certain, left)
            saved = np.einsum("na,nab,nb->n", left, gap, left)
            scale = np.maximum(squares.sum() - saved, 0.0) / (self.degrees_of_freedom - ndim)
            expected = scale[:, None, None] * (expected + (own.sum(axis=0) - own) / (count - 1))
        else:
            expected = expected + own
        apart[~told], expected[~told] = np.nan, np.nan
        return apart, expected

    def covariance_between(self, a: ArrayLike, b: ArrayLike) -> Float64:
        """Covariance of the target registration errors at two lists of places, shape ``(A, B, D, D)``."""
        of_a, of_b = self.motions.at(np.asarray(a, float)), self.motions.at(np.asarray(b, float))
        return np.asarray(np.einsum("iap,pq,jbq->ijab", of_a, self.parameter_covariance, of_b, optimize=True))

    def covariances(self, places: ArrayLike) -> Float64:
        """Covariance of the target registration error at each of ``(N, D)`` fixed places, shape ``(N, D, D)``."""
        of = self.motions.at(np.asarray(places, float))
        return np.asarray(np.einsum("iap,pq,ibq->iab", of, self.parameter_covariance, of, optimize=True))


@dataclass(frozen=True, eq=False)
class SplineEstimate(Estimate):
    """An estimate for a thin-plate spline or an elastic one, whose error grows away from the landmarks.

    Parameters
    ----------
    smooth : SmoothFit
        The spline within the fixed frame, before an affine map takes it to the moving one.
    """

    smooth: SmoothFit

    @property
    def left_out(self) -> Float64:
        """Error of each landmark predicted by a fit to the others, shape ``(N, D)``; NaN where they determine none."""
        return self.smooth.apart

    @property
    def left_out_covariances(self) -> Float64:
        """What was to be expected of `left_out`, shape ``(N, D, D)``."""
        return self.smooth.apart_covariances

    def covariance_between(self, a: ArrayLike, b: ArrayLike) -> Float64:
        """Covariance of the target registration errors at two lists of places, shape ``(A, B, D, D)``."""
        return self.smooth.covariance_between(np.asarray(a, float), np.asarray(b, float))

    def covariances(self, places: ArrayLike) -> Float64:
        """Covariance of the target registration error at each of ``(N, D)`` fixed places, shape ``(N, D, D)``."""
        return self.smooth.covariances(np.asarray(places, float))


def estimate(
    fixed_points: ArrayLike,
    moving_points: ArrayLike,
    model: LandmarkModel = "affine",
    *,
    allow_mirror: bool = True,
    fixed_error: ArrayLike | None = None,
    moving_error: ArrayLike | None = None,
    noise: Noise = "isotropic",
) -> LinearEstimate | SplineEstimate:
    """Fit a transform to landmarks and predict its error everywhere.

    Parameters
    ----------
    fixed_points, moving_points : (N, D) arrays
        The same places in both images, D = 2 or 3, each in its own unit; as many as `fit` needs, D + 1 for splines.
    model : {"rigid", "similarity", "affine", "projective", "thin-plate", "elastic"}
        Kind of transform. "thin-plate" bends as little as possible, "elastic" resists changes of area or volume more
        than shear; both stay as smooth as the landmarks allow.
    allow_mirror : bool
        As for `fit`.
    fixed_error, moving_error : array-like, optional
        Localisation error of the landmarks in each image as standard deviations per axis, in the unit of the image:
        one number, ``(D,)`` per axis, ``(N, 1)`` per landmark, or ``(N, D)`` both. Landmarks then count by their
        certainty. Without either, the error is found from the scatter of the landmarks.
    noise : {"isotropic", "anisotropic"}
        Whether an error that is found is one for all axes of the moving image or one for each; in stacks it seldom is
        the same.

    Returns
    -------
    LinearEstimate or SplineEstimate
        The transform with its errors.

    Raises
    ------
    TransformError
        If the landmarks do not determine the transform.
    UsageError
        If a given error is negative or has another shape.

    Notes
    -----
    To first order a transform fitted by least squares is off by ``H (sum H^T W H)^-1 sum H^T W e`` where e are the
    errors of the landmarks, H the motions that the transform allows, and W the weights. For a rigid transform and equal
    errors the expected square of that is the formula of Fitzpatrick, West and Maurer [1]_; with unequal and anisotropic
    errors it is that of Danilchenko and Fitzpatrick [2]_. The prediction holds for the kind of transform that was
    chosen: what that kind cannot follow shows in `left_out` only.

    References
    ----------
    .. [1] J. M. Fitzpatrick, J. B. West, C. R. Maurer, IEEE Trans. Med. Imaging 17, 694 (1998). doi:10.1109/42.736021
    .. [2] A. Danilchenko, J. M. Fitzpatrick, IEEE Trans. Med. Imaging 30, 679 (2011). doi:10.1109/TMI.2010.2091513

    Examples
    --------
    >>> corners = np.array([[0, 0], [0, 10], [10, 0], [10, 10.0]])
    >>> found = estimate(corners, corners, "rigid", moving_error=0.1)
    >>> found.error([[5, 5], [5, 25]]).round(3)
    array([0.071, 0.158])
    """
    fixed, moving = np.asarray(fixed_points, float), np.asarray(moving_points, float)
    if model not in get_args(LandmarkModel):
        raise TransformError(f"A transform to fit is one of {', '.join(get_args(LandmarkModel))}; got {model!r}.")
    if noise not in get_args(Noise):
        raise UsageError(f"The noise of landmarks is isotropic or anisotropic; got {noise!r}.")
    if model == "thin-plate" or model == "elastic":
        if len(fixed) > MOST_OF_SPLINES:
            raise TransformError(
                f"A spline takes at most {MOST_OF_SPLINES:,} landmarks, as its time grows with their third power; got "
                f"{len(fixed):,}."
            )
        if noise == "anisotropic" and fixed_error is None and moving_error is None:
            raise TransformError("A spline takes its error for the same along all axes; state the error of each axis.")
        base = fit(fixed, moving, "affine")
        return _spline(fixed, moving, model, base, given_covariances(base, fixed, fixed_error, moving_error))
    start = fit(fixed, moving, model, allow_mirror=allow_mirror)
    given = given_covariances(start, fixed, fixed_error, moving_error)
    if given is None and noise == "anisotropic":
        covariances, spare, extra = anisotropic_covariances(fixed, moving, model, start)
        result = _linear(fixed, moving, model, covariances, allow_mirror)
        total = result.parameter_covariance + extra
        return replace(result, given=False, scatter_degrees_of_freedom=spare, parameter_covariance=total)
    return _linear(fixed, moving, model, given, allow_mirror)


def _linear(
    fixed: Points, moving: Points, model: LinearModel, given: Float64 | None, allow_mirror: bool
) -> LinearEstimate:
    start = fit(fixed, moving, model, allow_mirror=allow_mirror)
    ndim, count = fixed.shape[1], len(fixed)
    motions = Motions.among(fixed, model)
    degrees_of_freedom = count * ndim - motions.count
    transform = start
    if given is not None and given.any():
        transform = start if even(given) else improve(start, fixed, moving, model, given)
        covariances, scale = pulled(transform.jacobian(fixed), given), 1.0
    else:
        covariances = pulled(transform.jacobian(fixed), np.broadcast_to(np.eye(ndim), (count, ndim, ndim)))
        apart = float(np.sum((moving - transform(fixed)) ** 2))
        scale = 0.0 if given is not None else apart / degrees_of_freedom if degrees_of_freedom > 0 else np.nan
    at = motions.at(fixed)
    normal = np.einsum("nap,nab,nbq->pq", at, np.linalg.inv(covariances), at, optimize=True)
    return LinearEstimate(
        transform,
        model,
        fixed,
        moving,
        degrees_of_freedom,
        degrees_of_freedom,
        given is not None,
        scale * covariances,
        motions,
        scale * np.linalg.pinv(normal, hermitian=True),
        given if given is not None and given.any() else None,
        allow_mirror,
    )


def _spline(
    fixed: Points, moving: Points, model: LandmarkModel, base: Affine | Projective, given: Float64 | None
) -> SplineEstimate:
    ndim, count = fixed.shape[1], len(fixed)
    slopes = base.jacobian(fixed)
    even = np.broadcast_to(np.eye(ndim), (count, ndim, ndim))
    smooth = fit_spline(
        fixed,
        base.inverse()(moving) - fixed,
        stiffness=_ELASTIC if model == "elastic" else 1.0,
        covariances=even if given is None else pulled(slopes, given),
        known=given is not None,
    )
    own = (
        np.full((count, ndim, ndim), np.nan) if not smooth.degrees_of_freedom and given is None else smooth.noise * even
    )
    return SplineEstimate(
        base @ smooth.spline,
        model,
        fixed,
        moving,
        smooth.degrees_of_freedom,
        smooth.degrees_of_freedom,
        given is not None,
        own if given is None else pulled(slopes, given),
        smooth,
    )
