"""Linear transforms as ITK and elastix pack them into a list of numbers.

Both state the map from fixed to moving points as ``A (x - c) + t + c`` with x first and a centre c, and differ only in
how they write the list down (ITK Software Guide, book 2, chapter 3; elastix manual 5.2, chapter 2).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import ReadError
from correlight.transforms import Affine

ItkClass = Literal[
    "identity", "translation", "scale", "log scale", "euler", "turn", "quaternion", "versor", "similarity", "affine",
    "scaled versor", "skewed versor", "composed versor",
]  # fmt: skip
# How many numbers each kind has for a plane and for a volume; what is not there does not exist.
_COUNTS: dict[tuple[str, int], int] = {
    **{("identity", d): 0 for d in (2, 3)},
    **{("translation", d): d for d in (2, 3)},
    **{("scale", d): d for d in (2, 3)},
    **{("log scale", d): d for d in (2, 3)},
    **{("affine", d): d * d + d for d in (2, 3)},
    ("euler", 2): 3,
    ("euler", 3): 6,
    ("turn", 3): 3,
    ("quaternion", 3): 7,
    ("versor", 3): 6,
    ("similarity", 2): 4,
    ("similarity", 3): 7,
    ("scaled versor", 3): 9,
    ("skewed versor", 3): 15,
    ("composed versor", 3): 12,
}


def affine_from_parameters(
    kind: ItkClass, ndim: int, parameters: ArrayLike, centre: ArrayLike, subject: str, *, zyx: bool = False
) -> Affine:
    """The affine map that a list of parameters stands for, turned to array order.

    Parameters
    ----------
    kind : ItkClass
        How the list is packed: "turn" is a versor without shift, "scaled", "skewed" and "composed versor" are ITK's
        ScaleVersor3D, ScaleSkewVersor3D and ComposeScaleSkewVersor3D.
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
    count = _COUNTS.get((kind, ndim))
    if count is None:
        raise ReadError(f"{subject} has {ndim} axes, with which no such transform exists.")
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
    if kind in ("identity", "translation"):
        return np.eye(ndim), p if kind == "translation" else np.zeros(ndim)
    if kind in ("scale", "log scale"):
        return np.diag(p if kind == "scale" else np.exp(p)), np.zeros(ndim)
    if kind == "affine":
        return p[: ndim * ndim].reshape(ndim, ndim), p[ndim * ndim :]
    if ndim == 2:
        scale, angle = (p[0], p[1]) if kind == "similarity" else (1.0, p[0])
        return scale * _turn(angle, 0, 1, 2), p[-2:]
    if kind == "euler":
        x, y, z = _turn(p[0], 1, 2, 3), _turn(p[1], 2, 0, 3), _turn(p[2], 0, 1, 3)
        return (z @ y @ x if zyx else z @ x @ y), p[3:]
    return _of_versors(kind, p, subject)


def _of_versors(kind: str, p: NDArray[np.float64], subject: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The kinds that turn a volume by a versor, and then scale and shear it in their own ways."""
    if kind == "quaternion":
        length = np.linalg.norm(p[:4])
        if abs(length - 1) > 1e-6:
            raise ReadError(f"{subject} has a quaternion of the length {length:g}, which is no rotation.")
        return _from_versor(p[:3] * (np.sign(p[3]) or 1.0), subject), p[4:]
    turn = _from_versor(p[:3], subject)
    if kind == "turn":
        return turn, np.zeros(3)
    if kind == "similarity":
        return p[6] * turn, p[3:6]
    if kind == "composed versor":
        skew = np.array([[1, p[9], p[10]], [0, 1, p[11]], [0, 0, 1]])
        return turn @ np.diag(p[6:9]) @ skew, p[3:6]
    linear = turn.copy()
    if kind in ("scaled versor", "skewed versor"):
        # ITK adds these to the elements of the rotation; it does not multiply by them.
        linear += np.diag(p[6:9] - 1.0)
    if kind == "skewed versor":
        linear[~np.eye(3, dtype=bool)] += p[9:]
    return linear, p[3:6]


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
