"""Linear transforms as ITK and elastix pack them into a list of numbers.

Both state the map from fixed to moving points as ``A (x - c) + t + c`` with x first and a centre c, and differ only in
how they write the list down (ITK Software Guide, book 2, chapter 3; elastix manual 5.2, chapter 2).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import ReadError
from correlight.transforms import Affine

_COUNTS: dict[tuple[str, int], int] = {
    ("translation", 2): 2,
    ("translation", 3): 3,
    ("euler", 2): 3,
    ("euler", 3): 6,
    ("versor", 3): 6,
    ("similarity", 2): 4,
    ("similarity", 3): 7,
    ("affine", 2): 6,
    ("affine", 3): 12,
}


def affine_from_parameters(
    kind: str, ndim: int, parameters: ArrayLike, centre: ArrayLike, subject: str, *, zyx: bool = False
) -> Affine:
    """The affine map that a list of parameters stands for, turned to array order.

    Parameters
    ----------
    kind : {"translation", "euler", "versor", "similarity", "affine"}
        How the list is packed.
    ndim : {2, 3}
        Number of axes.
    parameters, centre : array
        As written, x first; angles in radians.
    subject : str
        How the sentence of an error begins: "The AffineTransform in a.tfm".
    zyx : bool
        Whether three angles turn about z last (``Rz Ry Rx``) instead of ITK's default ``Rz Rx Ry``.

    Returns
    -------
    Affine
        ``moving_from_fixed``.

    Raises
    ------
    ReadError
        If the numbers are too few, too many or not finite.

    Examples
    --------
    >>> affine_from_parameters("translation", 2, [3.0, 4.0], [0.0, 0.0], "The file").offset
    array([4., 3.])
    """
    p, c = np.asarray(parameters, float), np.asarray(centre, float)
    count = _COUNTS[kind, ndim]
    if p.size != count or c.size != ndim or not np.isfinite([*p, *c]).all():
        raise ReadError(f"{subject} needs {count} finite parameters and a centre of {ndim}; got {p.size} and {c.size}.")
    linear, shift = _unpacked(kind, ndim, p, zyx, subject)
    offset = shift + c - linear @ c
    return Affine.of(linear[::-1, ::-1], offset[::-1])


def parameters_from_affine(transform: Affine) -> list[float]:
    """The matrix row by row and then the offset, x first, for a centre at zero."""
    # Reversing both axes of the linear part and the offset is the change from (z, y, x) to (x, y, z).
    return [*transform.linear[::-1, ::-1].ravel().tolist(), *transform.offset[::-1].tolist()]


def _unpacked(
    kind: str, ndim: int, p: NDArray[np.float64], zyx: bool, subject: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The linear part and the shift, x first."""
    if kind == "translation":
        return np.eye(ndim), p
    if kind == "affine":
        return p[: ndim * ndim].reshape(ndim, ndim), p[ndim * ndim :]
    if ndim == 2:
        scale, angle = (p[0], p[1]) if kind == "similarity" else (1.0, p[0])
        return scale * _turn(angle, 0, 1, 2), p[-2:]
    if kind == "euler":
        x, y, z = _turn(p[0], 1, 2, 3), _turn(p[1], 2, 0, 3), _turn(p[2], 0, 1, 3)
        return (z @ y @ x if zyx else z @ x @ y), p[3:]
    scale = p[6] if kind == "similarity" else 1.0
    return scale * _from_versor(p[:3], subject), p[3:6]


def _turn(angle: float, first: int, second: int, ndim: int) -> NDArray[np.float64]:
    """A rotation that takes the first axis towards the second."""
    linear = np.eye(ndim)
    cos, sin = np.cos(angle), np.sin(angle)
    linear[first, first], linear[second, second] = cos, cos
    linear[second, first], linear[first, second] = sin, -sin
    return linear


def _from_versor(v: NDArray[np.float64], subject: str) -> NDArray[np.float64]:
    """The rotation of a unit quaternion given by its vector part; the scalar part is not negative."""
    rest = 1.0 - float(v @ v)
    if rest < -1e-9:
        raise ReadError(f"{subject} has a versor longer than 1 ({np.sqrt(v @ v):g}), which is no rotation.")
    w = np.sqrt(max(rest, 0.0))
    cross = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.asarray((w * w - v @ v) * np.eye(3) + 2 * np.outer(v, v) + 2 * w * cross)
