"""Normalised correlation of feature channels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from correlight.similarity import Agreement, Places, as_rows, sample_rows


class FeatureCorrelation:
    """Mean over groups of channels of their normalised correlation.

    Parameters
    ----------
    fixed : list of (C, N) arrays
        Channels of each group at the samples of the fixed plane.
    moving : list of (C, Y, X) arrays
        The same channels of the moving plane, already turned into the fixed frame.
    strides : list of int, optional
        Pixels of the moving plane per pixel of the channels of each group; one without.
    """

    def __init__(
        self, fixed: list[NDArray[np.float32]], moving: list[NDArray[np.float32]], strides: list[int] | None = None
    ) -> None:
        self._fixed = [np.ascontiguousarray(group.T) for group in fixed]
        self._moving = [(as_rows(planes), planes.shape[1:]) for planes in moving]
        self._strides = strides or [1] * len(moving)
        self._fixed_norms = [float(np.sqrt(np.sum(np.square(group, dtype=np.float64)))) + 1e-9 for group in fixed]

    def __call__(self, places: Places) -> Agreement:
        """Agreement at ``(N, 2)`` places."""
        parts = np.zeros(len(places))
        gradient = np.zeros((len(places), 2))
        groups = zip(self._fixed, self._moving, self._strides, self._fixed_norms, strict=True)
        for fixed, (rows, shape), stride, fixed_norm in groups:
            values, slopes = sample_rows(rows, shape, places / stride)
            moving_norm = float(np.sqrt(np.sum(np.square(values, dtype=np.float64)))) + 1e-9
            scale = 1.0 / (fixed_norm * moving_norm * len(self._fixed))
            products = np.einsum("nc,nc->n", fixed, values).astype(np.float64) * scale
            value = float(products.sum())
            # The norm of the moving samples changes with the places too.
            pull = fixed * scale - values * (value / moving_norm**2)
            gradient += np.stack([np.einsum("nc,nc->n", pull, slope) for slope in slopes], axis=-1) / stride
            parts += products
        return Agreement(float(parts.sum()), gradient, parts)
