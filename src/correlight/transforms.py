"""Coordinate transforms that know which way they point.

A transform is called on ``(N, D)`` points in array order and returns ``(N, D)`` points. Names of variables carry the
frames: ``moving_from_fixed`` takes fixed points to moving points. ``a @ b`` applies ``b`` first, so
``fixed_from_moving = moving_from_fixed.inverse()`` and ``c_from_b @ b_from_a`` read from right to left.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from correlight.errors import TransformError
from correlight.geometry import Grid, Points

Matrix = NDArray[np.float64]


@runtime_checkable
class Transform(Protocol):
    """What every transform offers; `Affine`, `Projective`, `Displacement` and `Sequence` are the kinds."""

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        ...

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        ...

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        ...

    def inverse(self) -> Transform:
        """The transform back; raises `TransformError` where there is none."""
        ...

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each point, shape ``(N, D, D)``: row the output axis, column the input axis."""
        ...


def _points(points: ArrayLike, ndim: int) -> Points:
    array = np.asarray(points, float)
    if array.ndim != 2 or array.shape[1] != ndim:
        raise TransformError(f"Points must have the shape (N, {ndim}); got {array.shape}.")
    return array


@dataclass(frozen=True, eq=False)
class _Homogeneous:
    """What `Affine` and `Projective` share: a ``(D+1, D+1)`` matrix acting on homogeneous coordinates."""

    matrix: Matrix

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, float)
        if matrix.shape not in ((3, 3), (4, 4)):
            raise TransformError(f"A transform matrix is 3 x 3 or 4 x 4; got {matrix.shape}.")
        if not np.all(np.isfinite(matrix)):
            raise TransformError("A transform matrix must be finite.")
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return len(self.matrix) - 1

    @property
    def linear(self) -> Matrix:
        """The ``(D, D)`` upper left block."""
        return self.matrix[:-1, :-1]

    @property
    def offset(self) -> NDArray[np.float64]:
        """The ``(D,)`` last column: where the origin goes."""
        return self.matrix[:-1, -1]

    def _inverse_matrix(self) -> Matrix:
        scale = np.linalg.norm(self.linear)
        if abs(np.linalg.det(self.linear)) <= 1e-12 * scale**self.ndim:
            raise TransformError("The transform is singular (it flattens the image) and has no inverse.")
        return np.asarray(np.linalg.inv(self.matrix))


@dataclass(frozen=True, eq=False)
class Affine(_Homogeneous):
    """An affine map, ``linear @ p + offset``; rigid and similarity maps are ways to make one.

    Parameters
    ----------
    matrix : (D+1, D+1) array
        Homogeneous matrix with the last row ``0 … 0 1``.

    Raises
    ------
    TransformError
        If the matrix is not of that form.

    Examples
    --------
    >>> turn = Affine.similarity(rotation=90.0, scale=2.0)
    >>> turn([[0.0, 1.0]]).round(9) + 0.0
    array([[-2.,  0.]])
    >>> (turn.inverse() @ turn)([[3.0, 4.0]]).round(9)
    array([[3., 4.]])
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if not np.allclose(self.matrix[-1], np.eye(len(self.matrix))[-1], atol=1e-12):
            raise TransformError(f"The last row of an affine matrix is 0 ... 0 1; got {self.matrix[-1].tolist()}.")

    @classmethod
    def identity(cls, ndim: int = 2) -> Affine:
        """The map that leaves every point where it is."""
        return cls(np.eye(ndim + 1))

    @classmethod
    def of(cls, linear: ArrayLike, offset: ArrayLike) -> Affine:
        """Make one from its ``(D, D)`` linear part and ``(D,)`` offset."""
        block = np.asarray(linear, float)
        matrix = np.eye(len(block) + 1)
        matrix[:-1, :-1] = block
        matrix[:-1, -1] = offset
        return cls(matrix)

    @classmethod
    def similarity(
        cls,
        rotation: float = 0.0,
        scale: float = 1.0,
        mirror: bool = False,
        source: ArrayLike = (0.0, 0.0),
        target: ArrayLike | None = None,
    ) -> Affine:
        """A rotation, scaling and possibly mirroring in the plane that takes ``source`` to ``target``.

        Parameters
        ----------
        rotation : float
            Degrees, counter-clockwise as seen on a screen with x to the right and y down.
        scale : float
            Output length per input length.
        mirror : bool
            Whether x is flipped before the rotation.
        source, target : (2,) arrays
            A point (y, x) and where it goes; the target defaults to the source.
        """
        angle = np.deg2rad(rotation)
        cos, sin = np.cos(angle), np.sin(angle)
        # Array order: (y, x) -> (cos y - sin x, sin y + cos x) turns x towards -y, up on the screen.
        linear = scale * np.array([[cos, -sin], [sin, cos]])
        if mirror:
            linear = linear @ np.diag([1.0, -1.0])
        start = np.asarray(source, float)
        end = start if target is None else np.asarray(target, float)
        return cls.of(linear, end - linear @ start)

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        return _points(points, self.ndim) @ self.linear.T + self.offset

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        if isinstance(other, Affine):
            return Affine(self.matrix @ other.matrix)
        if isinstance(other, Projective):
            return Projective(self.matrix @ other.matrix)
        return Sequence((other, self))

    def inverse(self) -> Affine:
        """The affine map back."""
        inverse = self._inverse_matrix()
        inverse[-1] = np.eye(len(inverse))[-1]
        return Affine(inverse)

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """The linear part at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        return np.broadcast_to(self.linear, (len(_points(points, self.ndim)), self.ndim, self.ndim))

    @property
    def scale(self) -> float:
        """Geometric mean of output length per input length."""
        return float(abs(np.linalg.det(self.linear)) ** (1 / self.ndim))

    @property
    def mirrored(self) -> bool:
        """Whether the map turns left hands into right hands."""
        return bool(np.linalg.det(self.linear) < 0)

    @property
    def rotation(self) -> float:
        """Rotation in the plane of the nearest similarity, degrees in [0, 360), as `similarity` takes it."""
        if self.ndim != 2:
            raise TransformError("A single rotation angle exists in two dimensions only.")
        linear = self.linear @ np.diag([1.0, -1.0]) if self.mirrored else self.linear
        angle = np.arctan2(linear[1, 0] - linear[0, 1], linear[0, 0] + linear[1, 1])
        return float(np.rad2deg(angle) % 360.0)


@dataclass(frozen=True, eq=False)
class Projective(_Homogeneous):
    """A projective map (homography): straight lines stay straight, parallel lines need not stay parallel.

    Parameters
    ----------
    matrix : (D+1, D+1) array
        Homogeneous matrix; scaled so that its last element is 1.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        corner = self.matrix[-1, -1]
        if abs(corner) < 1e-300:
            raise TransformError("A projective matrix with a zero last element sends the origin to infinity.")
        matrix = self.matrix / corner
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points; points on the vanishing line come out infinite or NaN."""
        array = _points(points, self.ndim)
        weight = array @ self.matrix[-1, :-1] + 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray((array @ self.linear.T + self.offset) / weight[:, None])

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        if isinstance(other, Affine | Projective):
            return Projective(self.matrix @ other.matrix)
        return Sequence((other, self))

    def inverse(self) -> Projective:
        """The projective map back."""
        return Projective(self._inverse_matrix())

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        array = _points(points, self.ndim)
        weight = array @ self.matrix[-1, :-1] + 1.0
        return np.asarray((self.linear - self(array)[:, :, None] * self.matrix[-1, :-1]) / weight[:, None, None])


@dataclass(frozen=True, eq=False)
class Displacement:
    """A displacement sampled on a grid: ``p + d(p)``, linear in between and constant beyond the edge.

    Parameters
    ----------
    vectors : (*grid.shape, D) array
        Displacement at each pixel of the grid, in the grid's unit, array order.
    grid : Grid
        Where the vectors stand, in the frame that the transform starts from.
    """

    vectors: NDArray[np.float64]
    grid: Grid

    def __post_init__(self) -> None:
        vectors = np.array(self.vectors, float)
        if vectors.shape != (*self.grid.shape, self.grid.ndim):
            raise TransformError(
                f"Displacements on a grid of shape {self.grid.shape} must have the shape "
                f"{(*self.grid.shape, self.grid.ndim)}; got {vectors.shape}."
            )
        vectors.flags.writeable = False
        object.__setattr__(self, "vectors", vectors)

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.grid.ndim

    def _at(self, field: NDArray[np.float64], points: Points) -> NDArray[np.float64]:
        index = self.grid.index(points).T
        return np.stack(
            [ndimage.map_coordinates(part, index, order=1, mode="nearest") for part in np.moveaxis(field, -1, 0)],
            axis=-1,
        )

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        array = _points(points, self.ndim)
        return array + self._at(self.vectors, array)

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        return Sequence((other, self))

    def inverse(self) -> Transform:
        """The map back, found by iteration at every call; raises if the field folds."""
        if np.any(np.linalg.det(self._gradients) <= 0):
            raise TransformError("The displacement field folds over itself and has no inverse.")
        return _Inverted(self)

    @cached_property
    def _gradients(self) -> NDArray[np.float64]:
        parts = [np.moveaxis(self.vectors, -1, 0)]
        columns = [
            np.gradient(parts[0], step, axis=axis + 1) if self.grid.shape[axis] > 1 else np.zeros_like(parts[0])
            for axis, step in enumerate(self.grid.spacing)
        ]
        result: NDArray[np.float64] = np.moveaxis(np.stack(columns, 1), (0, 1), (-2, -1)) + np.eye(self.ndim)
        return result

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points from central differences of the field, ``(N, D, D)``."""
        array = _points(points, self.ndim)
        flat = self._gradients.reshape(*self.grid.shape, self.ndim**2)
        return self._at(flat, array).reshape(-1, self.ndim, self.ndim)


@dataclass(frozen=True, eq=False)
class _Inverted:
    """The inverse of a displacement field by fixed-point iteration with Newton steps."""

    of: Displacement

    @property
    def ndim(self) -> int:
        return self.of.ndim

    def __call__(self, points: ArrayLike) -> Points:
        target = _points(points, self.ndim)
        guess = target.copy()
        for _ in range(50):
            wrong = self.of(guess) - target
            if np.max(np.abs(wrong), initial=0.0) < 1e-10 * max(self.of.grid.extent):
                break
            guess = guess - np.linalg.solve(self.of.jacobian(guess), wrong[..., None])[..., 0]
        return guess

    def __matmul__(self, other: Transform) -> Transform:
        return Sequence((other, self))

    def inverse(self) -> Transform:
        return self.of

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        return np.asarray(np.linalg.inv(self.of.jacobian(self(points))))


@dataclass(frozen=True, eq=False)
class Sequence:
    """Several transforms one after the other.

    Parameters
    ----------
    parts : tuple of Transform
        In the order in which they are applied: the first one first.
    """

    parts: tuple[Transform, ...]

    def __post_init__(self) -> None:
        flat: list[Transform] = []
        for part in self.parts:
            flat.extend(part.parts if isinstance(part, Sequence) else [part])
        if not flat or len({part.ndim for part in flat}) != 1:
            raise TransformError("A sequence needs at least one transform, all of one dimension.")
        object.__setattr__(self, "parts", tuple(flat))

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.parts[0].ndim

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points through every part."""
        array = _points(points, self.ndim)
        for part in self.parts:
            array = part(array)
        return array

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        return Sequence((other, self))

    def inverse(self) -> Transform:
        """The inverses in reverse order."""
        return Sequence(tuple(part.inverse() for part in reversed(self.parts)))

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Chain rule at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        array = _points(points, self.ndim)
        result = np.broadcast_to(np.eye(self.ndim), (len(array), self.ndim, self.ndim))
        for part in self.parts:
            result = part.jacobian(array) @ result
            array = part(array)
        return np.asarray(result)


def compose(transforms: Seq[Transform]) -> Transform:
    """Join transforms given in the order of their application (at least one) into the simplest kind."""
    result = transforms[0]
    for transform in transforms[1:]:
        result = transform @ result
    return result
