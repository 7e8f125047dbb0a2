"""How certain landmarks are: what is stated of their errors, and what their scatter says about each axis."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import TransformError, UsageError
from correlight.geometry import Points
from correlight.landmarks.linear import FARTHEST
from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LinearModel, Motions

Float64 = NDArray[np.float64]

_REWEIGHTINGS, _SETTLED = 20, 1e-3
_LEAST_SPARE = 3
# No landmark is more certain than this share of the error of all.
_LEAST_SHARE = 1e-4
# A step is the last one if it moves no place by more than this share of the spread of the landmarks.
_STILL = 1e-9


def given_covariances(
    moving_from_fixed: Affine | Projective, fixed: Points, fixed_error: ArrayLike | None, moving_error: ArrayLike | None
) -> Float64 | None:
    """Covariance of the mismatch of each pair in the moving image from the errors of both; None without any."""
    if fixed_error is None and moving_error is None:
        return None
    slopes = moving_from_fixed.jacobian(fixed)
    in_fixed, in_moving = _squares(fixed_error, fixed), _squares(moving_error, fixed)
    covariances = np.einsum("nab,nb,ncb->nac", slopes, in_fixed, slopes) + in_moving[:, :, None] * np.eye(
        fixed.shape[1]
    )
    # One landmark without any error among others that have one would leave those without any say.
    least = _LEAST_SHARE**2 * float(np.trace(covariances, axis1=1, axis2=2).mean())
    if np.linalg.eigvalsh(covariances).min() < least:
        covariances += least * np.eye(fixed.shape[1])
    return np.asarray(covariances)


def _squares(error: ArrayLike | None, points: Points) -> Float64:
    """Standard deviations as variances per landmark and axis, shape ``(N, D)``."""
    try:
        values = np.broadcast_to(np.asarray(0.0 if error is None else error, float), points.shape)
    except ValueError as problem:
        raise UsageError(
            f"The error of landmarks is one number, one per axis, or one per landmark as a column; got the shape "
            f"{np.asarray(error).shape} for {len(points)} landmarks in {points.shape[1]}-D."
        ) from problem
    if not ((values >= 0) & (values <= FARTHEST)).all():
        raise UsageError(f"The error of a landmark is a finite length that is not negative, up to {FARTHEST:g}.")
    return np.asarray(values**2)


def anisotropic_covariances(
    fixed: Points, moving: Points, model: LinearModel, start: Affine | Projective
) -> tuple[Float64, float, Float64]:
    """The variance along each axis of the moving image that landmarks and fit agree on.

    Fit and variances are found in turns. A fit with weights follows the certain axes more closely than the others, so
    each axis gives up its own share of the degrees of freedom: the sum of the leverages of its coordinates. Returned
    are the covariance of each landmark, the least degrees of freedom, and what has to be added to the covariance of
    the parameters because weights from the scatter of few landmarks are not the best ones (Kenward and Roger,
    Biometrics 53, 983 (1997), doi:10.2307/2533558).
    """
    ndim, count = fixed.shape[1], len(fixed)
    motions = Motions.among(fixed, model)
    if count - motions.count / ndim < _LEAST_SPARE:
        raise TransformError(
            f"An error of its own along each axis needs at least {int(np.ceil(motions.count / ndim)) + _LEAST_SPARE} "
            f"landmarks for the model {model}; got {count}, so take it for the same along all axes."
        )
    transform, at = start, motions.at(fixed)
    spare = np.full(ndim, count - motions.count / ndim)
    variances = np.ones(ndim)
    for _ in range(_REWEIGHTINGS):
        earlier = variances
        variances = np.sum((moving - transform(fixed)) ** 2, axis=0) / spare
        # An axis without any scatter would get all the weight there is.
        variances = np.maximum(variances, max(1e-9 * float(variances.sum()), np.finfo(float).tiny))
        covariances = np.broadcast_to(np.diag(variances), (count, ndim, ndim))
        transform = improve(transform, fixed, moving, model, covariances, rounds=1)
        slopes = transform.jacobian(fixed) @ at
        certain = np.einsum("nap,naq->apq", slopes, slopes) / variances[:, None, None]
        parameters = np.linalg.pinv(certain.sum(axis=0), hermitian=True)
        spare = np.maximum(count - np.einsum("apq,qp->a", certain, parameters), 1.0)
        if np.abs(variances / earlier - 1).max() < _SETTLED:
            break
    unsure = np.einsum("a,apq->pq", 4 / spare, certain - certain @ parameters @ certain)
    covariances = np.broadcast_to(np.diag(variances), (count, ndim, ndim))
    return np.asarray(covariances), float(spare.min()), np.asarray(parameters @ unsure @ parameters)


def pulled(slopes: Float64, covariances: Float64) -> Float64:
    """Covariances of the moving image as covariances of the fixed one, by the derivative of the transform."""
    back = np.linalg.inv(slopes)
    return np.asarray(np.einsum("nab,nbc,ndc->nad", back, covariances, back))


def even(covariances: Float64) -> bool:
    """Whether all landmarks are equally certain in all directions, so that weights make no difference."""
    first = covariances[0, 0, 0]
    return bool(np.allclose(covariances, first * np.eye(covariances.shape[1]), rtol=1e-9, atol=1e-12 * first))


def improve(
    start: Affine | Projective,
    fixed: Points,
    moving: Points,
    model: LinearModel,
    covariances: Float64,
    rounds: int = 100,
) -> Affine | Projective:
    """The transform of a kind for which landmarks of known uncertainty are most likely.

    Parameters
    ----------
    start : Affine or Projective
        ``moving_from_fixed`` of that kind, such as the fit that trusts all landmarks equally.
    fixed, moving : (N, D) arrays
        The landmarks.
    model : {"rigid", "similarity", "affine", "projective"}
        Kind of transform.
    covariances : (N, D, D) array
        Of the mismatch of each pair in the moving image.
    rounds : int
        Most steps.

    Notes
    -----
    Gauss and Newton's method over the motions of the kind, with steps halved until they help. The weights are those
    that make the error of the transform least [1]_.

    References
    ----------
    .. [1] A. Danilchenko, J. M. Fitzpatrick, IEEE Trans. Med. Imaging 30, 679 (2011). doi:10.1109/TMI.2010.2091513
    """
    motions = Motions.among(fixed, model)
    certain = np.linalg.inv(covariances)
    at = motions.at(fixed)

    def cost(transform: Affine | Projective) -> tuple[float, Float64]:
        apart = moving - transform(fixed)
        return float(np.einsum("na,nab,nb->", apart, certain, apart)), apart

    best = start
    least, apart = cost(best)
    for _ in range(rounds):
        slopes = best.jacobian(fixed) @ at
        normal = np.einsum("nap,nab,nbq->pq", slopes, certain, slopes)
        step = np.linalg.lstsq(normal, np.einsum("nap,nab,nb->p", slopes, certain, apart), rcond=None)[0]
        if np.abs(step).max() < _STILL * motions.size:
            break
        for _ in range(30):
            trial = best @ motions.by(step)
            found, trial_apart = cost(trial)
            if found < least:
                break
            step = step / 2
        else:
            break
        best, least, apart = trial, found, trial_apart
    return best
