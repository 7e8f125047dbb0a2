"""Mutual information of grey values, with its derivative."""

from __future__ import annotations

from copy import copy

import numpy as np
from numpy.typing import NDArray

from correlight.progress import checkpoint
from correlight.similarity import Agreement, Places, sample

BINS = 24
# Cubic B-spline kernels reach two bins to either side; the outer bins stay free for them.
_MARGIN = 2
# Grey values between 0 and 1 that differ by less than this differ by rounding.
_LEAST_RANGE = 1e-5
# Pixels that are computed before there is a chance to cancel.
_AT_ONCE = 2**20


class MutualInformation:
    """Mutual information in nats between fixed grey values and moving grey values at the places.

    The joint histogram is smoothed by a cubic B-spline along the moving axis, which makes it differentiable; the
    fixed values fall into plain bins (Mattes et al. 2003, doi:10.1109/TMI.2003.809072). Bins follow the ranks of the
    grey values as far as there are distinct ones, so that an image that is mostly background keeps bins for the rest.

    Parameters
    ----------
    fixed : (N,) array
        Grey values at the samples of the fixed plane.
    moving : (Y, X) or (Z, Y, X) array
        Grey values of the moving plane or volume.
    """

    def __init__(self, fixed: NDArray[np.float32], moving: NDArray[np.float32], bins: int = BINS) -> None:
        self._bins = bins
        self._fixed_bins = np.minimum((spread(fixed, fixed) * bins).astype(np.intp), bins - 1)
        self._moving = (spread(moving, moving) * (bins - 1 - 2 * _MARGIN) + _MARGIN).astype(np.float32)[None]

    def restricted(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> MutualInformation:
        """The same measure of some of the samples."""
        part = copy(self)
        part._fixed_bins = self._fixed_bins[chosen]
        return part

    def __call__(self, places: Places) -> Agreement:
        """Agreement at ``(N, D)`` places."""
        values, slopes = sample(self._moving, places)
        position = values[0].astype(np.float64)
        base = np.floor(position).astype(np.intp)
        weights, derivatives = _cubic(position - base)
        first = self._fixed_bins * self._bins + base - 1
        joint = np.zeros(self._bins**2)
        for offset in range(4):
            joint += np.bincount(first + offset, weights[offset], minlength=self._bins**2)
        count = len(places)
        joint = joint.reshape(self._bins, self._bins) / count
        marginal_moving, marginal_fixed = joint.sum(axis=0), joint.sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(joint > 0, np.log(joint / (marginal_fixed[:, None] * marginal_moving)), 0.0)
        flat = ratio.ravel()
        parts = np.zeros(count)
        slope = np.zeros(count)
        for offset in range(4):
            term = flat[first + offset]
            parts += weights[offset] * term
            slope += derivatives[offset] * term
        # The derivative of the marginals cancels because both kinds of weights sum to a constant.
        gradient = (slope / count)[:, None] * slopes[0]
        return Agreement(float(parts.sum() / count), gradient, parts / count)


def spread(values: NDArray[np.float32], reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Grey values moved half-way to their ranks, between 0 and 1.

    Half linear, half by rank: ranks alone would tear the noise of a flat background apart, a linear scale alone
    would leave a sparse image in one bin.
    """
    known = np.sort(np.unique(reference.ravel()[:: max(1, reference.size // 20000)]))
    low, high = float(known[0]), float(known[-1])
    if high - low < _LEAST_RANGE:
        return np.zeros_like(values)
    flat, share = values.ravel(), np.linspace(0, 1, len(known))
    out = np.empty(flat.shape, np.float32)
    for first in range(0, len(flat), _AT_ONCE):
        checkpoint()
        part = flat[first : first + _AT_ONCE]
        linear = np.clip((part - low) / (high - low), 0, 1)
        out[first : first + _AT_ONCE] = 0.5 * (linear + np.interp(part, known, share))
    return out.reshape(values.shape)


def _cubic(fraction: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weights of the four bins from one below to two above, and their derivatives by the position."""
    t = fraction
    u = 1 - t
    # By products: powers take three times as long.
    t2, u2 = t * t, u * u
    weights = np.stack([u2 * u / 6, (t / 2 - 1) * t2 + 2 / 3, (u / 2 - 1) * u2 + 2 / 3, t2 * t / 6])
    derivatives = np.stack([-u2 / 2, (1.5 * t - 2) * t, (2 - 1.5 * u) * u, t2 / 2])
    return weights, derivatives
