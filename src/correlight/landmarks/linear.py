"""Linear and projective transforms fitted to paired points by least squares."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.transforms import Affine, Projective, Transform
from correlight.transforms.motions import LinearModel

# A cloud of points counts as flat where it is this much thinner than long.
_FLAT = 1e-9
# Numbers of no unit that an image can have: beyond, positions have no digits left, and below, squares vanish.
FARTHEST, _NEAREST = 1e15, 1e-15


def fit(
    fixed_points: ArrayLike, moving_points: ArrayLike, model: LinearModel = "affine", *, allow_mirror: bool = True
) -> Affine | Projective:
    """The transform of a kind that brings fixed points closest to moving points, by least squares.

    Parameters
    ----------
    fixed_points, moving_points : (N, D) arrays
        The same places in both images, D = 2 or 3, each in its own unit. At least D points for "rigid" and
        "similarity", D + 1 for "affine" and D + 2 for "projective".
    model : {"rigid", "similarity", "affine", "projective"}
        Kind of transform.
    allow_mirror : bool
        Whether a rigid or similarity transform may turn the image over where the points say so. Points that cannot
        tell (all on one line, or on one plane in 3-D) never do.

    Returns
    -------
    Affine or Projective
        ``moving_from_fixed``.

    Raises
    ------
    TransformError
        If there are too few points, points are not finite, or they lie so that they do not determine the transform.

    Notes
    -----
    Rigid and similarity transforms are solved in closed form [1]_. The projective one starts from the linear solution
    in normalised coordinates [2]_ and then minimises the distances in the moving image.

    References
    ----------
    .. [1] S. Umeyama, IEEE Trans. Pattern Anal. Mach. Intell. 13, 376 (1991). doi:10.1109/34.88573
    .. [2] R. Hartley, IEEE Trans. Pattern Anal. Mach. Intell. 19, 580 (1997). doi:10.1109/34.601246

    Examples
    --------
    >>> moving_from_fixed = fit([[0, 0], [0, 1]], [[5, 5], [5, 7]], "similarity")
    >>> moving_from_fixed.scale
    2.0
    """
    fixed, moving = _paired(fixed_points, moving_points, model)
    if model == "affine":
        return _affine(fixed, moving)
    if model == "projective":
        return _projective(fixed, moving)
    return _similarity(fixed, moving, scaled=model == "similarity", allow_mirror=allow_mirror)


def residuals(moving_from_fixed: Transform, fixed_points: ArrayLike, moving_points: ArrayLike) -> NDArray[np.float64]:
    """Distance of each mapped fixed point from its moving point, shape ``(N,)``, in the moving unit."""
    apart = moving_from_fixed(fixed_points) - np.asarray(moving_points, float)
    return np.asarray(np.linalg.norm(apart, axis=1))


def fre(moving_from_fixed: Transform, fixed_points: ArrayLike, moving_points: ArrayLike) -> float:
    """Fiducial registration error: the root mean square of the residuals, in the moving unit.

    It says how well the landmarks agree with the model, and nothing about places without landmarks [1]_.

    References
    ----------
    .. [1] J. M. Fitzpatrick, J. B. West, C. R. Maurer, IEEE Trans. Med. Imaging 17, 694 (1998). doi:10.1109/42.736021
    """
    return float(np.sqrt(np.mean(residuals(moving_from_fixed, fixed_points, moving_points) ** 2)))


def leave_one_out(
    fixed_points: ArrayLike, moving_points: ArrayLike, model: LinearModel = "affine", *, allow_mirror: bool = True
) -> NDArray[np.float64]:
    """How far each moving point lies from where the *other* landmarks would put it, shape ``(N,)``, moving unit.

    An unbiased estimate of the error at a place without a landmark; needs one point more than `fit`. NaN where the
    others do not determine the transform.

    Raises
    ------
    TransformError
        If there are too few points even with all of them.
    """
    fixed, moving = _paired(fixed_points, moving_points, model)
    errors = np.full(len(fixed), np.nan)
    for left_out in range(len(fixed)):
        others = np.arange(len(fixed)) != left_out
        try:
            transform = fit(fixed[others], moving[others], model, allow_mirror=allow_mirror)
        except TransformError:
            continue
        errors[left_out] = residuals(transform, fixed[[left_out]], moving[[left_out]])[0]
    return errors


def _paired(fixed_points: ArrayLike, moving_points: ArrayLike, model: str) -> tuple[Points, Points]:
    """Both point lists as arrays, checked for what the model needs."""
    fixed, moving = np.asarray(fixed_points, float), np.asarray(moving_points, float)
    if fixed.ndim != 2 or fixed.shape != moving.shape or fixed.shape[1] not in (2, 3):
        raise TransformError(
            f"Landmarks are two lists of equally many points in 2-D or 3-D; got the shapes {fixed.shape} and "
            f"{moving.shape}."
        )
    if not (np.isfinite(fixed).all() and np.isfinite(moving).all()):
        raise TransformError("Landmarks must be finite numbers; remove the points without a partner.")
    if max(np.abs(fixed).max(initial=0), np.abs(moving).max(initial=0)) > FARTHEST:
        raise TransformError(f"Landmarks must be places of an image, below {FARTHEST:g}; check their unit.")
    if model not in get_args(LinearModel):
        raise TransformError(f"A transform to fit is one of {', '.join(get_args(LinearModel))}; got {model!r}.")
    ndim = fixed.shape[1]
    needed = ndim + {"affine": 1, "projective": 2}.get(str(model), 0)
    if len(fixed) < needed:
        raise TransformError(f"The model {model} in {ndim}-D needs at least {needed} landmarks; got {len(fixed)}.")
    rank = ndim if model in ("affine", "projective") else ndim - 1
    for name, points in (("fixed", fixed), ("moving", moving)):
        if _rank(points) < rank:
            shape = "one place" if rank == 1 else "one line" if rank == 2 else "one plane"
            raise TransformError(
                f"The {name} landmarks all lie on {shape}, which does not determine the model {model}; add a landmark "
                "elsewhere or choose a simpler model."
            )
    return fixed, moving


def _rank(points: Points) -> int:
    """Number of directions that the points spread in."""
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    # Coordinates far from zero carry rounding of their own size, not of the size of the cloud.
    floor = max(_NEAREST, _FLAT * spread[0], 1e-13 * float(np.abs(points).max()))
    return int(np.sum(spread > floor))


def _similarity(fixed: Points, moving: Points, *, scaled: bool, allow_mirror: bool) -> Affine:
    fixed_middle, moving_middle = fixed.mean(axis=0), moving.mean(axis=0)
    f, m = fixed - fixed_middle, moving - moving_middle
    u, strength, vt = np.linalg.svd(m.T @ f)
    signs = np.ones(len(strength))
    mirrored = np.linalg.det(u @ vt) < 0
    if mirrored and not (allow_mirror and strength[-1] > _FLAT * strength[0]):
        signs[-1] = -1.0
    linear = (u * signs) @ vt
    if scaled:
        linear = linear * float(strength @ signs / np.sum(f**2))
    return Affine.of(linear, moving_middle - linear @ fixed_middle)


def _affine(fixed: Points, moving: Points) -> Affine:
    fixed_middle, moving_middle = fixed.mean(axis=0), moving.mean(axis=0)
    linear = np.linalg.lstsq(fixed - fixed_middle, moving - moving_middle, rcond=None)[0].T
    return Affine.of(linear, moving_middle - linear @ fixed_middle)


def _projective(fixed: Points, moving: Points) -> Projective:
    to_unit, from_unit = _normaliser(fixed), _normaliser(moving).inverse()
    f, m = to_unit(fixed), from_unit.inverse()(moving)
    ndim = f.shape[1]
    extended = np.hstack([f, np.ones((len(f), 1))])
    rows = []
    for axis in range(ndim):
        row = np.zeros((len(f), ndim + 1, ndim + 1))
        row[:, axis] = extended
        row[:, -1] = -m[:, [axis]] * extended
        rows.append(row.reshape(len(f), -1))
    system = np.vstack(rows)
    # The left vectors of many landmarks would fill the memory, and are not needed.
    _, strength, vt = np.linalg.svd(system, full_matrices=len(system) < system.shape[1])
    # One free direction is the scale of the matrix; a second one means that many matrices fit equally well.
    if len(strength) >= vt.shape[0] - 1 and strength[vt.shape[0] - 2] < _FLAT * strength[0]:
        raise TransformError(
            "The landmarks do not determine a projective transform, as too many of them lie on one line or plane; add "
            "landmarks elsewhere or choose the model affine."
        )
    matrix = vt[-1].reshape(ndim + 1, ndim + 1)
    if abs(matrix[-1, -1]) < _FLAT * float(np.abs(matrix).max()):
        raise TransformError("The landmarks fit only a transform that tears the image apart; check their pairing.")
    start = (matrix / matrix[-1, -1]).ravel()[:-1]

    def apart(parameters: NDArray[np.float64]) -> NDArray[np.float64]:
        candidate = np.append(parameters, 1.0).reshape(ndim + 1, ndim + 1)
        mapped = extended @ candidate.T
        weight = np.where(np.abs(mapped[:, -1]) < 1e-12, 1e-12, mapped[:, -1])
        return np.asarray((mapped[:, :-1] / weight[:, None] - m).ravel())

    solution = optimize.least_squares(apart, start, method="lm", xtol=1e-15, ftol=1e-15, gtol=1e-15).x
    unit = Projective(np.append(solution, 1.0).reshape(ndim + 1, ndim + 1))
    result = from_unit @ unit @ to_unit
    assert isinstance(result, Projective)
    return result


def _normaliser(points: Points) -> Affine:
    """The map that brings points to mean zero and mean distance about one per axis."""
    middle = points.mean(axis=0)
    size = float(np.sqrt(np.mean((points - middle) ** 2)))
    return Affine.of(np.eye(points.shape[1]) / size, -middle / size)
