"""Blobs of any size, in planes and stacks: the Laplacian of Gaussian, its peaks, and the scale with the most of them.

Everything that looks for blobs does so here: beads, organelles, and the structures by which patches are described.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.errors import UsageError
from correlight.images.image import Float32, Mask
from correlight.progress import checkpoint

# Pixels that are smoothed before there is a chance to cancel.
_AT_ONCE = 2**20
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


def laplacian(
    values: Float32,
    sigma: float | Sequence[float] | NDArray[np.float64],
    mode: Literal["reflect", "nearest"] = "reflect",
) -> Float32:
    """The Laplacian of an image smoothed by a Gaussian, times the variance, so that scales can be compared.

    Bright blobs give minima, dark ones maxima (Lindeberg 1998, doi:10.1023/A:1008045108935).

    Parameters
    ----------
    values : (Y, X) or (Z, Y, X) array of float32
        Grey values.
    sigma : float or (D,) array
        Standard deviation in pixels, one for all axes or one for each: where voxels are not cubes, the second
        derivative along each axis is multiplied by the variance along that axis.
    mode : {"reflect", "nearest"}
        What the image is continued with beyond its edges, as in `scipy.ndimage`.

    Examples
    --------
    >>> ramp = np.tile(np.arange(40, dtype=np.float32), (40, 1))
    >>> abs(float(laplacian(ramp, 1.0)[20, 20])) < 0.01
    True
    """
    single = values.astype(np.float32, copy=False)
    sigmas = np.broadcast_to(np.asarray(sigma, float), (values.ndim,))
    total = np.zeros(values.shape, np.float32)
    for axis, width in enumerate(sigmas):
        bent = single
        for other, spread_along in enumerate(sigmas):
            bent = _along(bent, float(spread_along), other, 2 if other == axis else 0, mode)
        total += bent * np.float32(1 if np.ndim(sigma) == 0 else width**2)
    return total * np.float32(sigma**2) if isinstance(sigma, float | int) else total


def _along(values: Float32, sigma: float, axis: int, order: int, mode: Literal["reflect", "nearest"]) -> Float32:
    """A Gaussian or its derivative along one axis, band after band so that it can be cancelled."""
    across = (axis + 1) % values.ndim
    step = max(1, _AT_ONCE * values.shape[across] // values.size)
    out = np.empty(values.shape, np.float32)
    for first in range(0, values.shape[across], step):
        checkpoint()
        band = tuple(slice(first, first + step) if other == across else slice(None) for other in range(values.ndim))
        ndimage.gaussian_filter1d(values[band], sigma, axis, order, out[band], mode)
    return out


def bead_response(values: Float32, sigmas: NDArray[np.float64]) -> Float32:
    """Response to small bright blobs: minus the second differences of the smoothed image, times the variances.

    What `laplacian` gives but for its sign and the step of a pixel over which differences are taken. As the image is
    smoothed once instead of once per axis, and by OpenCV, it takes a fifth to a tenth of the time, and beads are sought
    for at many scales.

    Parameters
    ----------
    values : (Y, X) or (Z, Y, X) array of float32
        Grey values.
    sigmas : (D,) array
        Standard deviation of the Gaussian along each axis, in pixels.

    Returns
    -------
    array of float32, same shape
        Positive on bright blobs, its height independent of the size of a blob that the Gaussian fits.
    """
    blurred = smoothed(values, sigmas)
    kernels = [np.float32(width**2) * np.array([-1, 2, -1], np.float32) for width in sigmas]
    one = np.ones(1, np.float32)

    def in_plane(plane: Float32) -> Float32:
        checkpoint()
        return np.asarray(
            cv2.sepFilter2D(plane, cv2.CV_32F, one, kernels[-2]) + cv2.sepFilter2D(plane, cv2.CV_32F, kernels[-1], one)
        )

    if values.ndim == 2:
        return in_plane(blurred)
    response = np.stack([in_plane(plane) for plane in blurred])
    checkpoint()
    response += cv2.sepFilter2D(_columns(blurred), cv2.CV_32F, one, kernels[0]).reshape(values.shape)
    return response


def smoothed(values: Float32, sigmas: NDArray[np.float64]) -> Float32:
    """A plane or a stack smoothed by a Gaussian with a standard deviation in pixels for each axis.

    By OpenCV, which takes a tenth of the time of SciPy and has no stacks: slices first, then along z.
    """

    def in_plane(plane: Float32) -> Float32:
        checkpoint()
        return np.asarray(cv2.GaussianBlur(plane, (0, 0), float(sigmas[-1]), sigmaY=float(sigmas[-2])))

    if values.ndim == 2:
        return in_plane(values)
    planes = np.stack([in_plane(plane) for plane in values])
    # Sizes of the kernel as OpenCV chooses them for single precision; along x nothing is to be smoothed.
    along = cv2.getGaussianKernel(round(8 * float(sigmas[0]) + 1) | 1, float(sigmas[0]), cv2.CV_32F)
    checkpoint()
    whole = cv2.sepFilter2D(_columns(planes), cv2.CV_32F, np.ones(1, np.float32), along)
    return np.asarray(whole, np.float32).reshape(values.shape)


def peaks(response: Float32, half_width: Sequence[int]) -> Mask:
    """Whether each pixel is the highest within a box.

    Parameters
    ----------
    response : (Y, X) or (Z, Y, X) array of float32
        Any image.
    half_width : sequence of int
        Pixels to either side along each axis.

    Notes
    -----
    What `skimage.feature.peak_local_max` finds, equal neighbours included, in a tenth of the time.
    """
    sizes = [2 * steps + 1 for steps in half_width]
    box = np.ones(sizes[-2:], np.uint8)
    if response.ndim == 2:
        return np.asarray(response == cv2.dilate(response, box))
    highest: Float32 = np.stack([np.asarray(cv2.dilate(plane, box), np.float32) for plane in response])
    checkpoint()
    along = cv2.dilate(_columns(highest), np.ones((sizes[0], 1), np.uint8))
    return np.asarray(response == along.reshape(response.shape))


def _columns(stack: Float32) -> Float32:
    """A stack as a plane with z along its columns."""
    return np.ascontiguousarray(stack).reshape(len(stack), -1)


def inner(valid: Mask, pixels: Sequence[float] | NDArray[np.float64], *, edge: bool) -> Mask:
    """Pixels that are valid and so are those around them.

    Parameters
    ----------
    valid : array of bool
        Valid pixels.
    pixels : (D,) array
        How far the neighbours go along each axis, at least one pixel.
    edge : bool
        Whether what lies beyond the edge of the image counts as valid.
    """
    steps = [max(1, round(float(width))) for width in pixels]
    if valid.all():
        return valid
    if valid.ndim == 2:
        return np.asarray(ndimage.binary_erosion(valid, iterations=steps[-1], border_value=edge))
    # Voxels may be far longer along z than across it: as many steps along both would leave too little.
    return np.asarray(ndimage.minimum_filter(valid, size=[2 * n + 1 for n in steps], mode="constant", cval=edge))


def spread(values: Float32) -> tuple[float, float]:
    """Median, and standard deviation as the median distance from it tells it: a few blobs do not change either."""
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - np.float32(middle))))


def blob_scale(values: Float32, dark: bool = False, sigmas: tuple[float, ...] = _SCALES) -> BlobScale:
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
    sign = np.float32(1 if dark else -1)
    stack = np.stack([sign * laplacian(values, sigma) for sigma in sigmas])
    highest = peaks(stack, (1, 1, 1))
    counts = np.zeros(len(sigmas), np.intp)
    for index in range(1, len(sigmas) - 1):
        layer = stack[index]
        # What rounding leaves of a flat image is no blob.
        limit = max(_DEEP * spread(layer)[1], 1e-4 * float(np.ptp(values)))
        counts[index] = int(np.count_nonzero(highest[index] & (layer > limit)))
    best = int(np.argmax(counts)) if counts.any() else len(sigmas) // 2
    return BlobScale(sigmas[best], np.asarray(sigmas), counts)
