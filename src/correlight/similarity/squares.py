"""Weighted sum of squared differences of grey values, for planes of one modality."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from correlight.similarity import Agreement, Places, sample


class WeightedSquares:
    """Mean weighted squared difference between fixed and moving grey values, times -1 so that more is better.

    Equation 12 of Cao, Zach & Niethammer (2014, doi:10.1016/j.media.2013.12.005), divided by the sum of the weights:
    else the sum would be least where the planes share least.

    Parameters
    ----------
    fixed : (N,) array
        Grey values at the samples of the fixed plane.
    moving : (Y, X) or (Z, Y, X) array
        Grey values of the moving plane or volume, in the same units.
    weights : (N,) array, optional
        How far the fixed value of each sample is trusted, 0 to 1; all 1 without.
    moving_weights : array, optional
        The same of the pixels of the moving plane; all 1 without.
    """

    def __init__(
        self,
        fixed: NDArray[np.float32],
        moving: NDArray[np.float32],
        weights: NDArray[np.float32] | None = None,
        moving_weights: NDArray[np.float32] | None = None,
    ) -> None:
        self._fixed = fixed.astype(np.float64)
        self._weights = np.ones(len(fixed)) if weights is None else weights.astype(np.float64)
        trusted = np.ones_like(moving) if moving_weights is None else moving_weights
        self._moving = np.stack([moving, trusted]).astype(np.float32)

    def __call__(self, places: Places) -> Agreement:
        """Agreement at ``(N, D)`` places."""
        values, slopes = sample(self._moving, places)
        apart = values[0] - self._fixed
        weights = self._weights * values[1]
        total = float(weights.sum()) + 1e-12
        parts = -weights * apart**2 / total
        value = float(parts.sum())
        gradient = (-2 * weights * apart / total)[:, None] * slopes[0]
        # Where weights of the moving plane change with the place, so does what they are divided by.
        gradient = gradient - (self._weights * (apart**2 + value) / total)[:, None] * slopes[1]
        return Agreement(value, gradient.astype(np.float64), parts)
