"""Maps that keep straight lines straight: affine and projective."""

from __future__ import annotations

from dataclasses import dataclass
from typing import overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.transforms.chain import Chain
from correlight.transforms.protocol import Matrix, Transform, checked


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
        *zeros, one = self.matrix[-1].tolist()
        if max(*map(abs, zeros), abs(one - 1)) > 1e-12:
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
        return checked(points, self.ndim) @ self.linear.T + self.offset

    @overload
    def __matmul__(self, other: Affine) -> Affine: ...
    @overload
    def __matmul__(self, other: Projective) -> Projective: ...
    @overload
    def __matmul__(self, other: Affine | Projective) -> Affine | Projective: ...
    @overload
    def __matmul__(self, other: Transform) -> Transform: ...
    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        if isinstance(other, Affine):
            return Affine(self.matrix @ other.matrix)
        if isinstance(other, Projective):
            return Projective(self.matrix @ other.matrix)
        return Chain((other, self))

    def inverse(self) -> Affine:
        """The affine map back."""
        self._require_volume()
        inverse: Matrix = np.linalg.inv(self.matrix).astype(float)
        inverse[-1] = np.eye(len(inverse))[-1]
        return Affine(inverse)

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """The linear part at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        return np.broadcast_to(self.linear, (len(checked(points, self.ndim)), self.ndim, self.ndim))

    @property
    def mirrored(self) -> bool:
        """Whether the map contains a reflection."""
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
        array = checked(points, self.ndim)
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
        return Chain((other, self))

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
        array = checked(points, self.ndim)
        weight = array @ self.matrix[-1, :-1] + 1.0
        return np.asarray((self.linear - self(array)[:, :, None] * self.matrix[-1, :-1]) / weight[:, None, None])


def scale_of(transform: Transform, place: ArrayLike) -> float:
    """Output length per input length, geometric mean over the axes; of a map that bends, at one ``(D,)`` place."""
    if isinstance(transform, Affine | Projective):
        return transform.scale
    slopes = transform.jacobian(np.asarray(place, float)[None])[0]
    return float(abs(np.linalg.det(slopes)) ** (1 / transform.ndim))
