"""What a place and its surroundings look like, by grey values alone: features of planes and volumes.

Zero mean is not asked for, and nothing is known here of another image.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.images.image import Float32, Mask

# Features count by their direction; those weaker than this share of the mean energy count less.
_FLOOR = 0.3
# Self-similarity looks so many pixels far, over patches of this width.
_AWAY, _PATCH = {2: 4, 3: 2}, {2: 2.0, 3: 1.0}
# Widths of the filters, and of the surroundings against which grey values count, in working pixels of a plane; voxels
# of a volume are coarser.
_WIDTHS, _SURROUND = {2: (1.0, 2.0, 4.0), 3: (0.7, 1.5)}, {2: 24.0, 3: 8.0}
# Grey values more than so many deviations from their surroundings are not told apart.
_MOST = 3.0
# Grey levels of mutual information, and the widths over which they are smoothed.
_LEVELS, _SMOOTH = 8, {2: (1.0, 3.0), 3: (0.7,)}


def unit(planes: Float32) -> Float32:
    """Planes divided by their length at every pixel; where it is small, by no less than a share of the mean."""
    energy = np.sum(planes * planes, axis=0)
    return np.asarray(planes / np.sqrt(energy + np.float32(_FLOOR) * energy.mean() + np.float32(1e-12)), np.float32)


def filtered(values: Float32, mask: Mask) -> Float32:
    """Grey values, their spread, and edges and their directions, at several widths.

    All are the same for an image that is turned by half a turn about the place, so that no combination of them can
    stand for an image that is shifted.

    Parameters
    ----------
    values : (*shape) array of float32
        Grey values of a plane or a volume.
    mask : (*shape) array of bool
        Valid pixels.

    Returns
    -------
    (C, *shape) array of float32
    """
    ndim = values.ndim
    smooth = _Smoother(mask)
    wide = _SURROUND[ndim]
    known = np.where(mask, values, np.float32(0))
    apart = known - smooth(known, wide)
    width = np.sqrt(smooth(apart**2, wide))
    floor = np.float32(0.3 * (float(width[mask].mean()) if mask.any() else 1.0) + 1e-6)
    grey = np.clip(apart / (width + floor), -_MOST, _MOST) * mask
    made = []
    for step in _WIDTHS[ndim]:
        mean = smooth(grey, step)
        slopes = np.stack([ndimage.sobel(mean, axis) for axis in range(ndim) if mean.shape[axis] > 1])
        length = np.sqrt(np.sum(slopes**2, axis=0))
        made += [mean, np.abs(mean), np.sqrt(np.maximum(smooth(grey**2, step) - mean**2, 0))]
        made.append(smooth(length, step / 2))
        edge = length + np.float32(0.5 * float(length.mean()) + 1e-6)
        for one in range(len(slopes)):
            for other in range(one):
                made.append(smooth((slopes[one] ** 2 - slopes[other] ** 2) / edge, step / 2))
                made.append(smooth(2 * slopes[one] * slopes[other] / edge, step / 2))
    return np.stack([np.asarray(plane - smooth(plane, wide), np.float32) for plane in made]) * mask


class _Smoother:
    """Means over a Gaussian, of valid pixels only."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask.astype(np.float32)
        self._weights: dict[float, Float32] = {}

    def __call__(self, values: NDArray[np.floating[Any]], sigma: float) -> Float32:
        if sigma not in self._weights:
            self._weights[sigma] = np.maximum(blurred(self._mask, sigma), np.float32(1e-3))
        return np.asarray(
            blurred(np.asarray(values * self._mask, np.float32), sigma) / self._weights[sigma], np.float32
        )


def blurred(values: Float32, sigma: float) -> Float32:
    """A Gaussian filter of a plane or a volume."""
    if values.ndim == 2:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))
    return np.asarray(ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.0))


def self_similarity(values: Float32, mask: Mask | None = None) -> Float32:
    """How alike a place is to its neighbours, whatever its grey value: features of any two instruments.

    Parameters
    ----------
    values : (*shape) array of float32
        Grey values of a plane or a volume.
    mask : (*shape) array of bool, optional
        Not needed; as for the other descriptions.

    Returns
    -------
    (C, *shape) array of float32
        Two for every axis with more than four pixels, about of unit length.

    Notes
    -----
    The modality independent neighbourhood descriptor (Heinrich et al. 2012, doi:10.1016/j.media.2012.05.008) with
    distances between the place and its neighbours, less their mean.
    """
    away, patch = _AWAY[values.ndim], _PATCH[values.ndim]
    apart = []
    for axis, sign in product(range(values.ndim), (-1, 1)):
        if values.shape[axis] <= 2 * away:
            continue
        beside = np.roll(values, sign * away, axis)
        # What comes in from the other side is replaced by the edge.
        edge: list[slice] = [slice(None)] * values.ndim
        edge[axis] = slice(0, away) if sign > 0 else slice(-away, None)
        last = [slice(None)] * values.ndim
        last[axis] = slice(0, 1) if sign > 0 else slice(-1, None)
        beside[tuple(edge)] = values[tuple(last)]
        apart.append(ndimage.gaussian_filter((values - beside) ** 2, patch))
    distances = np.stack(apart)
    noise = distances.mean(axis=0)
    floor = np.float32(max(1e-3 * float(noise.mean()), 1e-9))
    alike = np.exp(-distances / np.maximum(noise, floor))
    return unit(np.asarray(alike - alike.mean(axis=0), np.float32))


def grey_levels(values: Float32, mask: Mask) -> Float32:
    """How much a place belongs to each of several grey levels, half by value and half by rank.

    The squared correlations of the canonical variates of such levels sum to the squared-loss form of the mutual
    information of the grey values (Suzuki et al. 2009, doi:10.1186/1471-2105-10-S1-S52).

    Parameters
    ----------
    values : (*shape) array of float32
        Grey values of a plane or a volume.
    mask : (*shape) array of bool
        Valid pixels.

    Returns
    -------
    (C, *shape) array of float32
    """
    smooth = _Smoother(mask)
    made: list[Float32] = []
    for width in _SMOOTH[values.ndim]:
        grey = smooth(values, width)
        known = np.sort(grey[mask][:: max(1, np.count_nonzero(mask) // 20_000)]) if mask.any() else np.zeros(2)
        low, high = np.percentile(known, [1.0, 99.0])
        linear = np.clip((grey - low) / max(float(high - low), 1e-9), 0, 1)
        rank = np.interp(grey, known, np.linspace(0, 1, len(known)))
        level = 0.5 * (linear + rank) * (_LEVELS - 1)
        made += [np.asarray(np.maximum(1 - np.abs(level - number), 0), np.float32) for number in range(_LEVELS)]
    return np.stack(made) * mask


OF_GREY: dict[str, Callable[[Float32, Mask], Float32]] = {
    "filters": filtered,
    "self-similarity": self_similarity,
    "mutual information": grey_levels,
}
"""What makes features of grey values and a mask, by the name of the measure."""
