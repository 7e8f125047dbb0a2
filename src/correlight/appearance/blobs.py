"""Laplacian of Gaussian at the scale of what an image shows, chosen by counting blobs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.errors import UsageError
from correlight.images.image import Float

# Scales that are tried, in pixels: four to an octave.
_SCALES = tuple(float(s) for s in 2.0 ** np.arange(0.25, 4.01, 0.25))
# A blob is deeper than this many robust standard deviations of the response at its scale.
_DEEP = 6.0


@dataclass(frozen=True, slots=True, eq=False)
class BlobScale:
    """The scale that was chosen and what it was chosen from.

    Parameters
    ----------
    sigma : float
        Standard deviation of the Gaussian, in pixels.
    sigmas : (K,) array
        Scales that were tried.
    counts : (K,) array of int
        Blobs found at each.
    """

    sigma: float
    sigmas: NDArray[np.float64]
    counts: NDArray[np.intp]

    @property
    def radius(self) -> float:
        """Radius in pixels of a disc that answers most at this scale: the square root of two times sigma."""
        return float(np.sqrt(2)) * self.sigma


def laplacian(values: Float, sigma: float) -> Float:
    """The Laplacian of an image smoothed by a Gaussian, times the variance, so that scales can be compared.

    Bright blobs give minima, dark ones maxima (Lindeberg 1998, doi:10.1023/A:1008045108935).

    Parameters
    ----------
    values : (Y, X) or (Z, Y, X) array of float32
        Grey values.
    sigma : float
        Standard deviation in pixels.

    Examples
    --------
    >>> ramp = np.tile(np.arange(40, dtype=np.float32), (40, 1))
    >>> abs(float(laplacian(ramp, 1.0)[20, 20])) < 0.01
    True
    """
    return np.asarray(sigma**2 * ndimage.gaussian_laplace(values.astype(np.float32), sigma), np.float32)


def blob_scale(values: Float, dark: bool = False, sigmas: tuple[float, ...] = _SCALES) -> BlobScale:
    """The scale at which an image shows the most blobs.

    A blob is a minimum of the normalised Laplacian over place and scale, deeper than noise at its scale. The scale is
    the one with the most of them (after Basset et al. 2015, doi:10.1109/TIP.2015.2450996).

    Parameters
    ----------
    values : (Y, X) array of float32
        Grey values.
    dark : bool
        Whether dark blobs are counted instead of bright ones.
    sigmas : tuple of float
        Rising scales in pixels; the first and the last are only compared with.

    Returns
    -------
    BlobScale
        With the middle of the scales where there is no blob at all.

    Raises
    ------
    UsageError
        If there are fewer than three scales.

    Notes
    -----
    About 0.2 s per megapixel and scale.
    """
    if len(sigmas) < 3:
        raise UsageError(f"Choosing a scale takes at least three of them; got {len(sigmas)}.")
    sign = np.float32(-1 if dark else 1)
    stack = np.stack([sign * laplacian(values, sigma) for sigma in sigmas])
    lowest = ndimage.minimum_filter(stack, size=3, mode="nearest") == stack
    counts = np.zeros(len(sigmas), np.intp)
    for index in range(1, len(sigmas) - 1):
        layer = stack[index]
        noise = 1.4826 * float(np.median(np.abs(layer - np.median(layer))))
        # What rounding leaves of a flat image is no blob.
        limit = -max(_DEEP * noise, 1e-4 * float(np.ptp(values)))
        counts[index] = int(np.count_nonzero(lowest[index] & (layer < limit)))
    best = int(np.argmax(counts)) if counts.any() else len(sigmas) // 2
    return BlobScale(sigmas[best], np.asarray(sigmas), counts)
