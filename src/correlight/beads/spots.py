"""Spots: fiducial beads found one by one, each with its place to a fraction of a pixel and how well that is known.

A bead is a blob of one size and one sign among much that is not: dirt is larger or ragged, hot pixels are smaller, and
two beads that touch look like one. Candidates come from the Laplacian of Gaussian at the size of the beads; each is
fitted by a Gaussian over its own background, joined ones together; what has another size, or does not look like the
fit, is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.appearance.blobs import bead_response, inner, peaks, smoothed, spread
from correlight.beads.spot_fit import SpotFit, axial_ratio, fit_spots
from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Mask
from correlight.progress import checkpoint

Polarity = Literal["bright", "dark", "auto"]
Numbers = NDArray[np.float64]

# A peak counts from this many standard deviations of the filtered image, and from this share of the strong peaks.
_LEAST_CONTRAST, _LEAST_SHARE = 5.0, 0.2
# Sizes that are tried where none is given: standard deviations in pixels, and steps between them.
_SMALLEST, _STEP = 0.9, 1.25
_ENOUGH_PEAKS = 500
# A light microscope blurs along its axis about so many times as much as across it.
_AXIAL = 2.5
# The strongest beads of a stack from which their axial width is measured, and how often at most.
_ENOUGH_FOR_AXIAL, _AXIAL_TRIES = 12, 3
# A bead's width may differ from the typical one by these factors.
_WIDTHS = (0.65, 1.5)
# Beads are of one size: a spread of widths of a tenth halves what a set of spots is worth.
_UNLIKE = 10.0
# Share of the variance of its neighbourhood that a bead must explain; a faint one need not, if it leaves no more than
# so many times the noise.
_LEAST_EXPLAINED, _MOST_LEFT = 0.5, 1.6
# At this many widths a spot must bend down along all axes, by this share of the steepest at least.
_WIDER, _LEAST_ROUND = 2.0, 0.2
# So many beads at least and at most tell the typical width, which is corrected at most so often.
_FEWEST_FOR_WIDTH, _ENOUGH_FOR_WIDTH, _RESIZINGS = 5, 150, 2
# A place that is known worse than this share of the width is no place.
_LEAST_KNOWN = 0.4
# A pixel is hot if it stands so many deviations out while its neighbours have less than this share of its height.
_HOT, _NEIGHBOUR_SHARE = 6.0, 0.25


@dataclass(frozen=True, eq=False)
class Spots:
    """Beads found in one channel.

    Parameters
    ----------
    points : (N, D) array
        Places in the unit of the grid, array order.
    errors : (N, D) array
        Standard deviation of each place per axis, in that unit.
    heights : (N,) array
        Peak above the background, in grey values; negative for dark beads.
    widths : (N,) array
        Standard deviation of the Gaussian that fits, in the unit of the grid (of the last axis).
    rejected : int
        Candidates left out because of their size or shape.
    """

    points: Points
    errors: Numbers
    heights: Numbers
    widths: Numbers
    rejected: int

    def __len__(self) -> int:
        return len(self.points)

    @property
    def noise(self) -> float:
        """Typical standard deviation of a place per axis; NaN without spots."""
        return float(np.median(np.sqrt(np.mean(self.errors**2, axis=1)))) if len(self) else float("nan")

    @property
    def purity(self) -> float:
        """Share of the candidates that look like beads of one size, 0 to 1."""
        return len(self) / max(1, len(self) + self.rejected)


def find_spots(
    values: ArrayLike,
    grid: Grid,
    mask: Mask | None = None,
    *,
    diameter: float | None = None,
    psf: float | Sequence[float] = 0.0,
    polarity: Polarity = "auto",
    most: int = 500,
) -> Spots:
    """Find beads of one size.

    Parameters
    ----------
    values : (Y, X) or (Z, Y, X) array
        Grey values.
    grid : Grid
        Where the pixels lie.
    mask : array of bool, optional
        Valid pixels, same shape.
    diameter : float, optional
        Of a bead, in the unit of the grid; found from the image without.
    psf : float or sequence of float
        Standard deviation of the point-spread function, per axis or the same along all, in the unit of the grid. Counts
        where the diameter is given.
    polarity : {"bright", "dark", "auto"}
        Whether beads are brighter than their surroundings; "auto" takes what gives the purer and richer set.
    most : int
        No more candidates than the strongest of these are fitted.

    Returns
    -------
    Spots
        Strongest first; empty where nothing looks like a bead.

    Raises
    ------
    UsageError
        If shapes differ, or a size is not positive.

    Notes
    -----
    Errors follow from the curvature of the squared residual and its size within each patch, so that structure around a
    bead counts as noise. About 1 ms per bead.

    Examples
    --------
    >>> y, x = np.mgrid[:64, :64]
    >>> blob = np.exp(-((y - 20.3) ** 2 + (x - 40.6) ** 2) / 8) + 0.01 * np.sin(7 * y + 3 * x * x)
    >>> find_spots(blob, Grid.of((64, 64))).points.round(1)
    array([[20.3, 40.6]])
    """
    picture = np.asarray(values, np.float32)
    valid = np.ones(picture.shape, bool) if mask is None else mask
    if picture.shape != grid.shape or valid.shape != grid.shape:
        raise UsageError(
            f"Values, mask and grid must have one shape; got {picture.shape}, {valid.shape}, {grid.shape}."
        )
    if (diameter is not None and not diameter > 0) or np.any(np.asarray(psf, float) < 0):
        raise UsageError(f"A bead has a positive diameter and a blur of at least zero; got {diameter} and {psf}.")
    valid = valid & np.isfinite(picture)
    if not valid.any() or np.ptp(picture[valid]) == 0:
        return _none(grid.ndim)
    smooth = _without_hot_pixels(np.where(valid, picture, np.median(picture[valid])))
    signs = {"bright": (1,), "dark": (-1,), "auto": (1, -1)}[polarity]
    # The Gaussian that fits a sharp disc best by least squares is about 0.7 of its radius wide.
    widths = None if diameter is None else np.sqrt(diameter**2 / 8 + np.broadcast_to(psf, grid.ndim) ** 2)
    found = [_of_sign(smooth, valid, grid, sign, widths, most) for sign in signs]
    return max(found, key=_worth)


def _worth(spots: Spots) -> float:
    """Beads, counted for less where candidates were none or sizes differ, and for more where they are bright."""
    if not len(spots):
        return 0.0
    alike = 1 / (1 + _UNLIKE * float(np.std(spots.widths) / np.mean(spots.widths)))
    clear = float(np.median(spots.widths[:, None] / np.maximum(spots.errors, 1e-300)))
    return float(np.log1p(len(spots)) * spots.purity * alike * np.log1p(clear))


def _none(ndim: int, rejected: int = 0) -> Spots:
    return Spots(np.empty((0, ndim)), np.empty((0, ndim)), np.empty(0), np.empty(0), rejected)


def _without_hot_pixels(picture: Float32) -> Float32:
    """Single pixels that stand out while their neighbours do not, replaced by the median around them."""
    # In a stack a hot pixel of the camera is hot in every plane, so only neighbours in the plane tell.
    if picture.ndim == 3:
        return np.stack([_without_hot_pixels(plane) for plane in picture])
    checkpoint()
    around, ground = (cv2.medianBlur(picture, size) for size in (3, 5))
    mean = (9 * cv2.blur(picture, (3, 3)) - picture) / 8
    height = picture - ground
    noise = 1.4826 * float(np.median(np.abs(picture - around))) + 1e-12 * float(np.ptp(picture))
    hot = (np.abs(height) > _HOT * noise) & (np.abs(mean - ground) < _NEIGHBOUR_SHARE * np.abs(height))
    return np.where(hot, around, picture)


def _of_sign(picture: Float32, valid: Mask, grid: Grid, sign: int, widths: Numbers | None, most: int) -> Spots:
    signed = picture * np.float32(sign)
    known = widths is not None
    pixels = np.maximum(np.asarray(widths) / grid.spacing, 0.6) if known else _own_width(signed, valid, grid)
    if pixels is None:
        return _none(grid.ndim)
    if grid.ndim == 3 and not known:
        pixels = _with_axial_width(signed, valid, pixels)
    for _ in range(_RESIZINGS):
        # Fits tell the true width; with it, touching beads come apart.
        places, _ = _peaks(signed, valid, pixels, _ENOUGH_FOR_WIDTH)
        rough = fit_spots(signed, valid, places, pixels, part=False)
        found = [fit.width for fit in rough if fit.height > 0 and np.all(fit.error < pixels)]
        typical = float(np.median(found)) if len(found) >= (_FEWEST_FOR_WIDTH if known else 1) else 1.0
        if 0.85 < typical < 1.15 or (known and not 0.6 < typical < 1.6):
            break
        pixels = pixels * np.clip(typical, 0.5, 2.0)
    places, _ = _peaks(signed, valid, pixels, most)
    compact = _compact(signed, places, _WIDER * pixels)
    fits = list(fit_spots(signed, valid, places[compact], pixels))
    return _sound(fits, int(np.count_nonzero(~compact)), grid, sign, pixels)


def _own_width(signed: Float32, valid: Mask, grid: Grid) -> Numbers | None:
    """The width in pixels at which the strongest blobs respond most."""
    isotropic = np.asarray(grid.spacing) / min(grid.spacing)
    if grid.ndim == 3:
        isotropic[0] /= _AXIAL
    largest = min(n * s for n, s in zip(grid.shape, isotropic, strict=True)) / 16
    steps = max(1, int(np.log(max(largest, _SMALLEST) / _SMALLEST) / np.log(_STEP)))
    sizes = _SMALLEST * _STEP ** np.arange(min(steps, 12) + 1)
    # Beads are many and alike, while dirt is rarely repeated: a size is worth its peaks, each by its height. The
    # square keeps several faint peaks on the rim of one large bead from outvoting it.
    worth = []
    for size in sizes:
        _, heights = _peaks(signed, valid, np.maximum(size / isotropic, 0.6), _ENOUGH_PEAKS)
        worth.append(float(np.sum(np.log(np.maximum(heights / _LEAST_CONTRAST, 1.0)) ** 2)))
    if max(worth) <= 0:
        return None
    return np.asarray(np.maximum(sizes[int(np.argmax(worth))] / isotropic, 0.6))


def _with_axial_width(signed: Float32, valid: Mask, pixels: Numbers) -> Numbers:
    """The widths with that along z as the strongest beads have it: a bead is a ball in an electron microscope's stack.

    A guess that is too small by half would split every bead in two.
    """
    for _ in range(_AXIAL_TRIES):
        places, _ = _peaks(signed, valid, pixels, _ENOUGH_FOR_AXIAL)
        ratios = [axial_ratio(signed, valid, place, pixels) for place in places]
        known = [ratio for ratio in ratios if np.isfinite(ratio)]
        if not known:
            break
        factor = float(np.clip(np.median(known), 0.25, 4.0))
        pixels = np.maximum(pixels * (factor, 1.0, 1.0), 0.5)
        if 0.9 < factor < 1.1:
            break
    return pixels


def _peaks(signed: Float32, valid: Mask, pixels: Numbers, most: int) -> tuple[NDArray[np.int64], Numbers]:
    """Local maxima of the Laplacian of Gaussian, strongest first, and their height in deviations of all pixels."""
    checkpoint()
    response = bead_response(signed, pixels)
    known = inner(valid, pixels, edge=False)
    checkpoint()
    is_peak = peaks(response, [int(np.ceil(width)) for width in pixels]) & known
    deviation = spread(response[known])[1] if known.any() else 0.0
    checkpoint()
    heights = response[is_peak] / max(deviation, 1e-9 * float(np.ptp(signed)), 1e-30)
    strong = float(np.percentile(np.sort(heights)[::-1][:100], 75)) if len(heights) else 0.0
    # The highest of so many normal deviates is seldom more than half a deviation above this.
    by_noise = np.sqrt(2 * np.log(max(2, signed.size))) + 0.5
    keep = heights > max(_LEAST_CONTRAST, by_noise, _LEAST_SHARE * strong)
    places, heights = np.argwhere(is_peak)[keep], heights[keep].astype(float)
    order_of = np.argsort(-heights, kind="stable")[:most]
    return places[order_of], heights[order_of]


def _compact(signed: Float32, places: NDArray[np.int64], pixels: Numbers) -> NDArray[np.bool_]:
    """Whether there is a peak in all directions, and not a ridge or an edge, at each of ``(N, D)`` places.

    Parameters
    ----------
    signed : array of float32
        Grey values in which spots are bright.
    places : (N, D) array of int
        Pixels.
    pixels : (D,) array
        At what scale: wide enough that two beads that touch are still one peak.
    """
    blurred = smoothed(signed, pixels)
    steps = np.diag(np.maximum(np.rint(pixels), 1).astype(np.int64))
    last = np.asarray(signed.shape) - 1

    def at(offset: NDArray[np.int64]) -> Numbers:
        return np.asarray(blurred[tuple(np.clip(places + offset, 0, last).T)], float)

    curvature = np.empty((len(places), signed.ndim, signed.ndim))
    for row, down in enumerate(steps):
        for column, across in enumerate(steps):
            if row == column:
                curvature[:, row, row] = at(down) - 2 * at(0 * down) + at(-down)
            else:
                apart = at(down + across) - at(down - across) - at(across - down) + at(-down - across)
                curvature[:, row, column] = apart / 4
    bends = np.linalg.eigvalsh(curvature)
    return np.asarray((bends[:, 0] < 0) & (bends[:, -1] < _LEAST_ROUND * bends[:, 0]))


def _sound(fits: list[SpotFit], rejected: int, grid: Grid, sign: int, pixels: Numbers) -> Spots:
    """The fits that look like beads of one size, strongest first, in the unit of the grid."""
    inside = [fit for fit in fits if np.all((fit.place > -0.5) & (fit.place < np.asarray(grid.shape) - 0.5))]
    plain = [fit for fit in inside if fit.height > 0 and _WIDTHS[0] <= fit.width <= _WIDTHS[1]]
    noise = float(np.median([fit.left for fit in plain])) if plain else 0.0
    good = [
        fit
        for fit in plain
        if np.all(fit.error < _LEAST_KNOWN * pixels)
        and (fit.explained >= _LEAST_EXPLAINED or fit.left <= _MOST_LEFT * noise)
    ]
    good.sort(key=lambda fit: -fit.height)
    if not good:
        return _none(grid.ndim, len(fits) + rejected)
    return Spots(
        grid.points(np.array([fit.place for fit in good])),
        np.array([fit.error for fit in good]) * grid.spacing,
        sign * np.array([fit.height for fit in good]),
        np.array([fit.width for fit in good]) * float(pixels[-1]) * grid.spacing[-1],
        len(fits) - len(good) + rejected,
    )
