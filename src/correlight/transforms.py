"""Coordinate transforms that know which way they point.

A transform is called on ``(N, D)`` points in array order and returns ``(N, D)`` points. Names of variables carry the
frames: ``moving_from_fixed`` takes fixed points to moving points. ``a @ b`` applies ``b`` first, so
``fixed_from_moving = moving_from_fixed.inverse()`` and ``c_from_b @ b_from_a`` read from right to left.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Protocol, overload, runtime_checkable

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
    def scale(self) -> float:
        """Geometric mean of output length per input length, perspective left aside."""
        return float(abs(np.linalg.det(self.linear)) ** (1 / self.ndim))

    @property
    def offset(self) -> NDArray[np.float64]:
        """The ``(D,)`` last column: where the origin goes."""
        return self.matrix[:-1, -1]

    def _require_volume(self) -> None:
        scale = np.linalg.norm(self.linear)
        if abs(np.linalg.det(self.linear)) <= 1e-12 * scale**self.ndim:
            raise TransformError("The transform is singular (it flattens the image) and has no inverse.")


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
        if not np.allclose(self.matrix[-1], np.eye(len(self.matrix))[-1], rtol=0.0, atol=1e-12):
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

    @overload
    def __matmul__(self, other: Affine) -> Affine: ...
    @overload
    def __matmul__(self, other: Projective) -> Projective: ...
    @overload
    def __matmul__(self, other: Transform) -> Transform: ...
    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        if isinstance(other, Affine):
            return Affine(self.matrix @ other.matrix)
        if isinstance(other, Projective):
            return Projective(self.matrix @ other.matrix)
        return Sequence((other, self))

    def inverse(self) -> Affine:
        """The affine map back."""
        self._require_volume()
        inverse: Matrix = np.linalg.inv(self.matrix).astype(float)
        inverse[-1] = np.eye(len(inverse))[-1]
        return Affine(inverse)

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """The linear part at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        return np.broadcast_to(self.linear, (len(_points(points, self.ndim)), self.ndim, self.ndim))

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
        # The remainder of a tiny negative angle rounds to 360 itself, hence twice.
        return float(np.rad2deg(angle) % 360.0 % 360.0)


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

    @overload
    def __matmul__(self, other: Affine | Projective) -> Projective: ...
    @overload
    def __matmul__(self, other: Transform) -> Transform: ...
    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        if isinstance(other, Affine | Projective):
            return Projective(self.matrix @ other.matrix)
        return Sequence((other, self))

    def inverse(self) -> Projective:
        """The projective map back."""
        self._require_volume()
        # det(matrix) / det(linear); zero where everything falls onto one line.
        terms = self.matrix[-1, :-1] * np.linalg.solve(self.linear, self.offset)
        if abs(1.0 - terms.sum()) <= 1e-12 * (1.0 + np.abs(terms).sum()):
            raise TransformError("The projective transform is singular (it flattens the image) and has no inverse.")
        return Projective(np.asarray(np.linalg.inv(self.matrix), float))

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
        if not np.all(np.isfinite(vectors)):
            raise TransformError("Displacements must be finite; fill the unknown ones before making a transform.")
        vectors.flags.writeable = False
        object.__setattr__(self, "vectors", vectors)

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.grid.ndim

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        array = _points(points, self.ndim)
        index = self.grid.index(array).T
        parts = np.moveaxis(self.vectors, -1, 0)
        moved: Points = array + np.stack(
            [ndimage.map_coordinates(p, index, order=1, mode="nearest") for p in parts], axis=-1
        )
        return moved

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        return Sequence((other, self))

    def inverse(self) -> Transform:
        """The map back, found by iteration at every call; raises if the field folds.

        A point that the iteration does not reach comes out as NaN.
        """
        if self._smallest_volume <= 0:
            raise TransformError("The displacement field folds over itself and has no inverse.")
        return _Inverted(self)

    @cached_property
    def _smallest_volume(self) -> float:
        """Smallest determinant over the corners of every cell.

        In two dimensions the determinant is linear within a cell, so its corners tell all; in three they tell
        nearly all.
        """
        field = self.vectors
        for axis, count in enumerate(self.grid.shape):
            field = np.repeat(field, 2, axis=axis) if count == 1 else field
        edges = [np.diff(field, axis=axis) / step for axis, step in enumerate(self.grid.spacing)]
        smallest = np.inf
        for corner in product((0, 1), repeat=self.ndim):
            columns = []
            for axis, edge in enumerate(edges):
                window = [slice(low, low + n - 1) for low, n in zip(corner, field.shape, strict=False)]
                window[axis] = slice(None)
                columns.append(edge[tuple(window)])
            smallest = min(smallest, float(np.linalg.det(np.stack(columns, -1) + np.eye(self.ndim)).min()))
        return smallest

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative of the interpolated map at each point, shape ``(N, D, D)``; constant beyond the edge."""
        array = _points(points, self.ndim)
        last = np.asarray(self.grid.shape) - 1
        index = np.nan_to_num(self.grid.index(array))
        low = np.clip(np.floor(index), 0, np.maximum(last - 1, 0)).astype(int)
        high = np.minimum(low + 1, last)
        share = np.clip(index - low, 0.0, 1.0)
        inside = (index >= 0) & (index <= last)
        result = np.zeros((len(array), self.ndim, self.ndim))
        for corner in product((0, 1), repeat=self.ndim):
            upper = np.asarray(corner, bool)
            vectors = self.vectors[tuple(np.where(upper, high, low).T)]
            weights = np.where(upper, share, 1.0 - share)
            for axis in range(self.ndim):
                others = np.prod(np.delete(weights, axis, axis=1), axis=1)
                slope = (1.0 if upper[axis] else -1.0) * others * inside[:, axis] / self.grid.spacing[axis]
                result[:, :, axis] += slope[:, None] * vectors
        return result + np.eye(self.ndim)


@dataclass(frozen=True, eq=False)
class _Inverted:
    """The inverse of a displacement field by Newton steps, shortened for a point where they lead away."""

    of: Displacement

    @property
    def ndim(self) -> int:
        return self.of.ndim

    def __call__(self, points: ArrayLike) -> Points:
        target = _points(points, self.ndim)
        tolerance = 1e-10 * max(self.of.grid.extent)
        guess = target.copy()
        wrong = self.of(guess) - target
        reach = np.ones(len(target))
        for _ in range(100):
            todo = np.flatnonzero(np.linalg.norm(wrong, axis=1) > tolerance)
            if not todo.size:
                break
            slopes = self.of.jacobian(guess[todo])
            slopes[np.linalg.det(slopes) <= 0] = np.eye(self.ndim)
            steps = np.linalg.solve(slopes, wrong[todo, :, None])[..., 0]
            trial = guess[todo] - reach[todo, None] * steps
            trial_wrong = self.of(trial) - target[todo]
            better = np.linalg.norm(trial_wrong, axis=1) < np.linalg.norm(wrong[todo], axis=1)
            guess[todo[better]], wrong[todo[better]] = trial[better], trial_wrong[better]
            reach[todo] = np.where(better, np.minimum(2 * reach[todo], 1.0), reach[todo] / 2)
        guess[np.linalg.norm(wrong, axis=1) > tolerance] = np.nan
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
