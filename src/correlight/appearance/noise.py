"""Noise: where counts are few, an image is denoised as far as its own pixels require."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from correlight.images.image import Float32
from correlight.images.plane import Plane, stretched
from correlight.progress import checkpoint

# Widths that are tried, in pixels of the level that is used. The first one stands for an image that needs none.
_WIDTHS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
# What lies within this many pixels of a pixel does not predict it: detectors and interpolation spread noise so far.
_HOLE = 2.3
# Side of a pixel of a smoothed image in widths of the Gaussian. On finer ones features would look for structure where
# there is none; coarser ones lose some.
_PIXEL = 1 / 3
# Side in pixels of a square with the area of the level that is used; no stage compares finer ones.
_LOOKED_AT = 512


def denoised(plane: Plane) -> Plane:
    """The plane, smoothed by the Gaussian that predicts its pixels best from their surroundings.

    A pixel is predicted without itself and its neighbours, so that noise, which neighbours do not share, cannot be
    predicted, and structure can. Where nearest surroundings predict best, the plane is returned as it is. Maps of a few
    counts, as of X-rays or of weak fluorescence, come out as what they are maps of.

    Parameters
    ----------
    plane : Plane
        At any size; a level of about 512 x 512 pixels is used.

    Returns
    -------
    Plane
        Over the same field; if it was smoothed, stretched to 0 to 1 anew, with pixels no finer than what is left.

    Notes
    -----
    The error of a prediction without the pixel itself is that of the smoothing plus a constant: Batson and Royer,
    Noise2Self (2019), https://doi.org/10.48550/arXiv.1901.11365.
    """
    seen = plane.shrunk(float(np.sqrt(plane.area)) / _LOOKED_AT)
    width = _best_width(seen)
    if width == _WIDTHS[0]:
        return plane
    weight = seen.mask.astype(np.float32)
    values = _blurred(seen.values * weight, width) / np.maximum(_blurred(weight, width), np.float32(1e-3))
    smooth = Plane(stretched(values.astype(np.float32), seen.mask), seen.mask, seen.grid)
    return replace(smooth.shrunk(width * _PIXEL * float(np.mean(seen.grid.spacing))), denoised=True)


def _best_width(plane: Plane) -> float:
    """The width with the least mean square error of prediction."""
    weight = plane.mask.astype(np.float32)
    weighted = plane.values * weight
    errors = []
    for width in _WIDTHS:
        checkpoint()
        hole = _hole(width)
        total, share = (
            _blurred(picture, width) - cv2.filter2D(picture, -1, hole, borderType=cv2.BORDER_CONSTANT)
            for picture in (weighted, weight)
        )
        told = plane.mask & (share > 0.01)
        predicted = total[told] / share[told]
        errors.append(float(np.mean((predicted - plane.values[told]) ** 2)) if told.any() else np.inf)
    return _WIDTHS[int(np.argmin(errors))]


def _hole(width: float) -> Float32:
    """The middle of a Gaussian of this width, shape (5, 5)."""
    half_width = int(_HOLE)
    y, x = np.mgrid[-half_width : half_width + 1, -half_width : half_width + 1]
    squared = x**2 + y**2
    middle = np.exp(-squared / (2 * width**2)) / (2 * np.pi * width**2)
    return np.where(squared <= _HOLE**2, middle, 0).astype(np.float32)


def _blurred(picture: Float32, width: float) -> Float32:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), width, borderType=cv2.BORDER_CONSTANT), np.float32)
