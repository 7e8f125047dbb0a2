"""Inverses that are found point by point."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.geometry import Points
from correlight.transforms.protocol import Transform, checked
from correlight.transforms.sequence import Sequence


@dataclass(frozen=True, eq=False)
class Inverted:
    """The inverse of a map near the identity by Newton steps, shortened for a point where they lead away.

    Parameters
    ----------
    of : Transform
        What is inverted; it must not fold.
    size : float
        Length of the field in its unit; points are found to 1e-10 of it and are NaN where they are not.
    """

    of: Transform
    size: float

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.of.ndim

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        target = checked(points, self.ndim)
        tolerance = 1e-10 * self.size
        guess = target.copy()
        wrong = self.of(guess) - target
        step_length = np.ones(len(target))
        for _ in range(100):
            todo = np.flatnonzero(np.linalg.norm(wrong, axis=1) > tolerance)
            if not todo.size:
                break
            slopes = self.of.jacobian(guess[todo])
            slopes[np.linalg.det(slopes) <= 0] = np.eye(self.ndim)
            steps = np.linalg.solve(slopes, wrong[todo, :, None])[..., 0]
            trial = guess[todo] - step_length[todo, None] * steps
            trial_wrong = self.of(trial) - target[todo]
            better = np.linalg.norm(trial_wrong, axis=1) < np.linalg.norm(wrong[todo], axis=1)
            guess[todo[better]], wrong[todo[better]] = trial[better], trial_wrong[better]
            step_length[todo] = np.where(better, np.minimum(2 * step_length[todo], 1.0), step_length[todo] / 2)
        guess[np.linalg.norm(wrong, axis=1) > tolerance] = np.nan
        return guess

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        return Sequence((other, self))

    def inverse(self) -> Transform:
        """The map that this one inverts."""
        return self.of

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        return np.asarray(np.linalg.inv(self.of.jacobian(self(points))))
