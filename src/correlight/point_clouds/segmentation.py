"""Clouds of points on organelles: from a light image by its blobs, from an electron image by its labels.

What two microscopes show of an organelle looks unlike, but its outline lies in the same place in both. CLEM-Reg [1]_
registers volumes by such clouds: mitochondria segmented by a network in the electron volume, by a Laplacian of
Gaussian and a threshold in the light volume.

References
----------
.. [1] D. Krentzel et al., bioRxiv (2023). doi:10.1101/2023.05.11.540445
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.appearance.blobs import inner, laplacian, spread
from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Mask
from correlight.point_clouds.mixture import evenly

Polarity = Literal["bright", "dark"]
Labels = NDArray[Any]

# Sizes tried, as standard deviations: from this many pixels to this share of the shortest side, by this factor.
_FINEST, _COARSEST, _STEP = 1.0, 1 / 16, 2**0.5
# How strong a blob of a size is, is read off at this quantile of the response: organelles fill some percent.
_STRONG = 0.995
# Response that noise reaches hardly ever, in robust standard deviations.
_NOISE = 4.0
# Smaller pieces are noise.
_FEWEST_PIXELS = {2: 5, 3: 8}
_BINS = 256


@dataclass(frozen=True, eq=False)
class Segmented:
    """Organelles in a light image.

    Parameters
    ----------
    labels : array of int32
        0 between organelles, then one number per organelle.
    size : float
        Standard deviation of the Gaussian that answered most strongly, in the unit of the grid; an organelle's radius
        is about this times the root of the number of axes.
    threshold : float
        Least response, in grey values.
    """

    labels: NDArray[np.int32]
    size: float
    threshold: float

    @property
    def count(self) -> int:
        """Number of organelles."""
        return int(self.labels.max(initial=0))


def segment(
    values: Float32,
    grid: Grid,
    mask: Mask | None = None,
    *,
    size: float | None = None,
    threshold: float | None = None,
    polarity: Polarity = "bright",
) -> Segmented:
    """Segment blobs by the Laplacian of a Gaussian, at the scale and threshold that the image itself suggests.

    Parameters
    ----------
    values : (Y, X) or (Z, Y, X) array
        Grey values.
    grid : Grid
        Where the pixels lie; a coarser spacing along z is taken into account.
    mask : array of bool, optional
        Valid pixels, same shape.
    size : float, optional
        Standard deviation of the Gaussian in the unit of the grid; the one of the strongest response without.
    threshold : float, optional
        Least response, in grey values; Otsu's threshold of what exceeds the noise without.
    polarity : {"bright", "dark"}
        What organelles are against their surroundings.

    Returns
    -------
    Segmented
        Without organelles where nothing exceeds the noise.

    Raises
    ------
    UsageError
        If shapes differ, or size or threshold is not positive.

    Notes
    -----
    The response is multiplied by the square of the size, so that blobs of all sizes compare (Lindeberg 1998,
    doi:10.1023/A:1008045108935). About 0.5 s for 512 x 512 pixels without a size.

    Examples
    --------
    >>> y, x = np.mgrid[:96, :96]
    >>> rings = [np.hypot(y - 30, x - 40) < 6, np.hypot(y - 70, x - 60) < 6]
    >>> segment(np.float32(np.any(rings, axis=0)), Grid.of((96, 96))).count
    2
    """
    picture = np.asarray(values, np.float32)
    if picture.shape != grid.shape or (mask is not None and mask.shape != grid.shape):
        raise UsageError(f"Grey values and mask must have the shape of the grid, {grid.shape}; got {picture.shape}.")
    if (size is not None and not size > 0) or (threshold is not None and not threshold > 0):
        raise UsageError(f"Size and threshold of organelles must be positive; got {size} and {threshold}.")
    valid = np.ones(grid.shape, bool) if mask is None else mask
    if not valid.any():
        return Segmented(np.zeros(grid.shape, np.int32), size or 0.0, threshold or 0.0)
    signed = picture if polarity == "bright" else -picture
    signed = np.where(valid, signed, np.median(signed[valid])).astype(np.float32)
    chosen = size if size is not None else _best_size(signed, valid, grid)
    response = _response(signed, grid, chosen)
    # A blob's own response spreads beyond it; the rim of the mask answers to itself.
    known = inner(valid, chosen / np.asarray(grid.spacing), edge=True)
    level = threshold if threshold is not None else _threshold(response[known])
    hit, count = ndimage.label((response > level) & known)
    pixels = np.bincount(hit.ravel(), minlength=count + 1)
    keeps = pixels >= _FEWEST_PIXELS[grid.ndim]
    keeps[0] = False
    number = np.where(keeps, np.cumsum(keeps), 0).astype(np.int32)
    return Segmented(number[hit], float(chosen), float(level))


def _response(signed: Float32, grid: Grid, size: float) -> Float32:
    """Positive inside bright blobs."""
    return np.asarray(-laplacian(signed, size / np.asarray(grid.spacing), mode="nearest"))


def _best_size(signed: Float32, valid: Mask, grid: Grid) -> float:
    """The size whose strong responses stand out most from the noise, which answers to small sizes."""
    first = _FINEST * min(grid.spacing)
    last = _COARSEST * min(side for side in grid.extent[-2:])
    sizes = first * _STEP ** np.arange(max(1, int(np.log(max(last / first, 1.0)) / np.log(_STEP)) + 1))
    strong = []
    for size in sizes:
        response = _response(signed, grid, size)[valid]
        middle, noise = spread(response)
        strong.append(float(np.quantile(response, _STRONG)) - middle - _NOISE * noise)
    return float(sizes[int(np.argmax(strong))])


def _threshold(response: Float32) -> float:
    """Otsu's threshold of the responses above the noise; infinite where there are none."""
    # Imported here because it takes longer than what else is done with a small image.
    from skimage.filters import threshold_otsu

    if response.size == 0:
        return float("inf")
    middle, noise = spread(response)
    least = middle + _NOISE * noise
    high = response[response > least]
    if high.size < 2 or not np.ptp(high) > 0:
        return max(least, 1e-12)
    # What comes back is the middle of the last bin of faint responses; its upper end is meant.
    middle_of_bin = float(threshold_otsu(high, _BINS))  # type: ignore[no-untyped-call]
    otsu = middle_of_bin + float(np.ptp(high)) / (2 * _BINS)
    # Half way from the noise to what splits faint from bright: faint organelles are organelles too.
    return (least + otsu) / 2


def cloud(labels: Labels, grid: Grid, most: int = 2000, *, outline: bool = True) -> Points:
    """Points spread evenly over labelled organelles.

    Parameters
    ----------
    labels : (Y, X) or (Z, Y, X) array of int or bool
        0 between organelles; other numbers are organelles, whether or not each has its own.
    grid : Grid
        Where the pixels lie.
    most : int
        At most so many points.
    outline : bool
        Whether points lie on the outlines only, rather than all over.

    Returns
    -------
    (N, D) array
        Positions in the unit of the grid.

    Raises
    ------
    UsageError
        If shapes differ or the number is not positive.

    Examples
    --------
    >>> labels = np.zeros((40, 40), int)
    >>> labels[10:20, 15:25] = 1
    >>> cloud(labels, Grid.of((40, 40), 0.5, unit="micrometre")).shape
    (36, 2)
    """
    if labels.shape != grid.shape or most < 1:
        raise UsageError(
            f"Labels must have the shape of the grid, {grid.shape}, and give one point or more; "
            f"got {labels.shape} and {most}."
        )
    inside = labels > 0
    if outline:
        # A pixel is inner if all its neighbours along the axes have its label; beyond the edge nothing is known.
        same = inside.copy()
        for axis in range(grid.ndim):
            for step in (1, -1):
                beside = np.roll(labels, step, axis)
                edge = [slice(None)] * grid.ndim
                edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
                beside[tuple(edge)] = labels[tuple(edge)]
                same &= beside == labels
        inside &= ~same
    pixels = np.argwhere(inside).astype(float)
    return grid.points(pixels[evenly(pixels * grid.spacing, most)]) if len(pixels) else np.empty((0, grid.ndim))
