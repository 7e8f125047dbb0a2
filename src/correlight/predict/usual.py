"""How unlike its training images an image is that a model is applied to.

Every part of an image is described by a few numbers about its texture: of bands of an octave each their energy, how
sparse and how skewed they are (after Portilla and Simoncelli 2000, doi:10.1023/A:1026553619983), and the mean and
deviation of the grey values. The distance of a description from those of the training images, in units of what they
keep themselves (Mahalanobis; after Lee et al. 2018, doi:10.48550/arXiv.1807.03888), says how unusual the part is. It
cannot say whether the structures are those that were learned, only whether the image looks like those that were.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Float32, Mask
from correlight.predict.facts import Usual

# Side of the parts in pixels of the model, and the share of a part that must be valid.
PART, _VALID = 96, 0.5
_SIGMAS = (0.7, 1.4, 2.8, 5.6)
_LEAST = np.float32(1e-4)
# Share of the mean variance that is added to every direction: few training images do not tell all variances.
_RIDGE = 0.02
_KEPT = 0.95
_MOST = 100.0


def described(values: Float32, mask: Mask) -> NDArray[np.float64]:
    """The numbers about one part, shape ``(14,)``.

    Parameters
    ----------
    values : (Y, X) array of float32
        As the model takes them.
    mask : (Y, X) array of bool
        Valid pixels, at least one.
    """
    told = [float(values[mask].mean()), float(values[mask].std())]
    finer: Float32 = values
    for sigma in _SIGMAS:
        coarser: Float32 = np.asarray(cv2.GaussianBlur(values, (0, 0), sigma), np.float32)
        band = (finer - coarser)[mask]
        width = float(band.std()) + _LEAST
        told += [np.log(width), np.log((np.abs(band).mean() + _LEAST) / width), np.cbrt(np.mean((band / width) ** 3))]
        finer = coarser
    return np.array(told)


def parts(values: Float32, mask: Mask) -> list[NDArray[np.float64]]:
    """Descriptions of the parts of an image that are valid at least by half; of a small image, its own."""
    found = []
    for top, left in np.ndindex(*(max(1, side // PART) for side in values.shape)):
        region = np.s_[top * PART : (top + 1) * PART, left * PART : (left + 1) * PART]
        if mask[region].mean() >= _VALID:
            found.append(described(values[region], mask[region]))
    return found or ([described(values, mask)] if mask.any() else [])


def learned(training: Sequence[NDArray[np.float64]], held_out: Sequence[NDArray[np.float64]]) -> Usual:
    """What is usual, from descriptions of training images and of images that were held out.

    Parameters
    ----------
    training, held_out : sequence of (14,) arrays
        From `described`; at least two and one.
    """
    table = np.stack(training)
    mean = table.mean(axis=0)
    covariance = np.cov(table.T)
    covariance += (_RIDGE * np.trace(covariance) / len(covariance) + 1e-9) * np.eye(len(covariance))
    whitening = np.linalg.inv(np.linalg.cholesky(covariance))
    away = _distances(np.stack(held_out), mean, whitening)
    return Usual(
        mean=tuple(np.round(mean, 6).tolist()),
        whitening=tuple(tuple(row) for row in np.round(whitening, 6).tolist()),
        typical=max(float(np.quantile(away, _KEPT)), 1.0),
    )


def unusualness(values: Float32, mask: Mask, usual: Usual) -> float:
    """Out-of-distribution score: the distance of the middle part, up to 1 for nearly all images like the training's.

    Parameters
    ----------
    values, mask
        As for `described`, of a whole image.
    usual : Usual
        Of the model.

    Returns
    -------
    float
        At most 100, which an image without valid pixels has as well.
    """
    found = parts(values, mask)
    if not found:
        return _MOST
    away = _distances(np.stack(found), np.array(usual.mean), np.array(usual.whitening))
    return min(float(np.median(away)) / usual.typical, _MOST)


def _distances(
    table: NDArray[np.float64], mean: NDArray[np.float64], whitening: NDArray[np.float64]
) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.mean(((table - mean) @ whitening.T) ** 2, axis=1)))
