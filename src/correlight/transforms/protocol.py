"""What every transform offers."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import TransformError
from correlight.geometry import Points

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


def checked(points: ArrayLike, ndim: int) -> Points:
    """Points as a float array of the shape ``(N, ndim)``; raises `TransformError` if they have another."""
    array = np.asarray(points, float)
    if array.ndim != 2 or array.shape[1] != ndim:
        raise TransformError(f"Points must have the shape (N, {ndim}); got {array.shape}.")
    return array
