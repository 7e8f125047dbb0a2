"""Several transforms one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.transforms.protocol import Transform, checked


@dataclass(frozen=True, eq=False)
class Chain:
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
            flat.extend(part.parts if isinstance(part, Chain) else [part])
        if not flat or len({part.ndim for part in flat}) != 1:
            raise TransformError("A chain needs at least one transform, all of one dimension.")
        object.__setattr__(self, "parts", tuple(flat))

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.parts[0].ndim

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points through every part."""
        array = checked(points, self.ndim)
        for part in self.parts:
            array = part(array)
        return array

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        return Chain((other, self))

    def inverse(self) -> Transform:
        """The inverses in reverse order."""
        return Chain(tuple(part.inverse() for part in reversed(self.parts)))

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Chain rule at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        array = checked(points, self.ndim)
        result = np.broadcast_to(np.eye(self.ndim), (len(array), self.ndim, self.ndim))
        for part in self.parts:
            result = part.jacobian(array) @ result
            array = part(array)
        return np.asarray(result)


def compose(transforms: Sequence[Transform]) -> Transform:
    """Join transforms given in the order of their application (at least one) into the simplest kind."""
    result = transforms[0]
    for transform in transforms[1:]:
        result = transform @ result
    return result
