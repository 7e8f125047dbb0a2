"""Resampling: every channel moved once, straight from the original pixels, with the footprint of what was sampled.

There is one kernel for two and three dimensions. It interpolates with weights in floating point; OpenCV's own
warps round positions to 1/32 pixel, which shows as a stair in smooth gradients and would blur what "sub-pixel" means.
There is one dispatcher: the output is made block by block, several at a time in threads of Dask, and each block reads
only the part of the moving image that it needs, so neither pixels on disk nor large outputs pass through memory whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image, Mask, Pixels
from correlight.transforms import Affine, Projective, Transform

Order = Literal["linear", "nearest"]
Array = NDArray[Any]
Coordinates = list[NDArray[np.float64]]

# Positions this close to a pixel centre are on it. Otherwise the rounding of a change of units would make the last
# row of an unmoved image seem to need the row beyond it.
_ON_PIXEL = 1e-6

# OpenCV fetches pixels by 16-bit numbers.
_REMAP_LIMIT = 2**15
# So many pixels of a block are made at a time: all that is computed of them stays in the cache of a core.
_AT_ONCE = 2**16
# A block on the edge of the moving image is cut into pieces of at most so many pixels a side.
_PIECE = 64

# Blocks are made by so many threads at most, so many for each before the first of them are handed on.
_MOST_WORKERS, _AHEAD = 8, 4

# More output pixels than this per channel is a slip of the unit rather than a wish.
_MOST_PIXELS = 2**34


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One part of a resampled image.

    Parameters
    ----------
    region : tuple of slice
        Where it lies in the output grid.
    values : (C, *shape) array
        Pixels in the type of the moving image.
    footprint : (*shape) array of bool
        Which pixels were really sampled.
    """

    region: tuple[slice, ...]
    values: Array
    footprint: Mask


def warp(
    image: Image | Pixels,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Order = "linear",
    mask: Mask | CoarseMask | None = None,
    block: int = 1024,
) -> tuple[Array, Mask]:
    """Resample every channel of the moving image on a grid of the fixed frame.

    Where the output is coarser than the input by a factor of two or more, the input is averaged over blocks of whole
    pixels first (linear only), so that fine texture does not turn into moiré.

    Parameters
    ----------
    image : Image or (C, *image_grid.shape) array
        The moving image. Pixels on disk stay there but for the part in use.
    image_grid : Grid
        Where its pixels lie, in the unit of the moving frame.
    moving_from_fixed : Transform
        Takes positions on ``onto`` to positions in the moving image.
    onto : Grid
        Where the output pixels lie.
    order : {"linear", "nearest"}
        "nearest" keeps the values of label images.
    mask : (*image_grid.shape) array of bool, optional
        Valid pixels of the moving image; the mask of an `Image` where none is given. Invalid pixels are moved like
        others but do not count as sampled.
    block : int
        Side of an output block in pixels (of a volume: as many voxels as a square of that side).

    Returns
    -------
    values : (C, *onto.shape) array
        In the type of the input; integers are rounded and clipped. Outside the moving image 0.
    footprint : (*onto.shape) array of bool
        Where every pixel that took part in the interpolation lies in the moving image and is valid.

    Raises
    ------
    UsageError
        If the pixels do not fit their grid, dimensions differ, or ``order`` is unknown.

    Notes
    -----
    About 0.02 s per megapixel of output for the first channel and 0.01 s for each further one where a picture of 8 or
    16 bits is moved by an affine map (0.05 s per million voxels of a volume), 0.1 s and 0.04 s otherwise (one core).

    Examples
    --------
    >>> ramp = np.arange(16.0).reshape(1, 4, 4)
    >>> values, footprint = warp(ramp, Grid.of((4, 4)), Affine.of(np.eye(2), (0.5, 0)), Grid.of((4, 4)))
    >>> values[0, 0].tolist(), footprint[:, 0].tolist()
    ([2.0, 3.0, 4.0, 5.0], [True, True, True, False])
    """
    channels, dtype = _pixels(image).shape[0], np.dtype(_pixels(image).dtype)
    values = np.zeros((channels, *onto.shape), dtype)
    footprint = np.zeros(onto.shape, bool)
    for part in warp_blocks(image, image_grid, moving_from_fixed, onto, order, mask, block):
        values[(slice(None), *part.region)] = part.values
        footprint[part.region] = part.footprint
    return values, footprint


def warp_blocks(
    image: Image | Pixels,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Order = "linear",
    mask: Mask | CoarseMask | None = None,
    block: int = 1024,
) -> Iterator[Block]:
    """Resample block by block, for outputs that do not fit in memory; parameters as in `warp`.

    Yields
    ------
    Block
        Blocks that lie wholly outside the moving image are left out: they are 0 and not sampled.
    """
    part, regions = _plan(image, image_grid, moving_from_fixed, onto, order, mask, block)
    yield from (found for found in _dispatched(part, regions) if isinstance(found, Block))


def warp_bands(
    image: Image | Pixels,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Order = "linear",
    mask: Mask | CoarseMask | None = None,
    block: int = 1024,
) -> Iterator[tuple[Array, Mask]]:
    """Resample a picture band by band, from the first row to the last, for writers; parameters as in `warp`.

    Yields
    ------
    values : (C, rows, X) array
        The next rows of the output.
    footprint : (rows, X) array of bool
        Which of their pixels were really sampled.
    """
    part, regions = _plan(image, image_grid, moving_from_fixed, onto, order, mask, block)
    pixels, bands = _pixels(image), dict[int, list[tuple[slice, ...]]]()
    for region in regions:
        bands.setdefault(region[0].start, []).append(region)
    for start, row in bands.items():
        height = row[0][0].stop - start
        values = np.zeros((pixels.shape[0], height, onto.shape[1]), pixels.dtype)
        footprint = np.zeros((height, onto.shape[1]), bool)
        for found in _dispatched(part, row):
            if found is not None:
                values[:, :, found.region[1]] = found.values
                footprint[:, found.region[1]] = found.footprint
        yield values, footprint


Part = Callable[[tuple[slice, ...]], Block | None]


def _plan(
    image: Image | Pixels,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Order,
    mask: Mask | CoarseMask | None,
    block: int,
) -> tuple[Part, list[tuple[slice, ...]]]:
    """What makes a block of the output, and the blocks to make; None where one lies wholly outside the moving image."""
    pixels = _pixels(image)
    if mask is None and isinstance(image, Image):
        mask = image.mask
    _check(pixels, image_grid, moving_from_fixed, onto, order, mask)
    factors = _averaging(image_grid, moving_from_fixed, onto) if order == "linear" else (1,) * onto.ndim
    plain = order == "linear" and np.dtype(pixels.dtype) in (np.uint8, np.uint16)
    index = None
    if plain and isinstance(moving_from_fixed, Affine):
        index = np.linalg.inv(image_grid.matrix) @ moving_from_fixed.matrix @ onto.matrix

    def anywhere(region: tuple[slice, ...]) -> tuple[Array, Mask] | None:
        coordinates = _source_coordinates(image_grid, moving_from_fixed, onto, region)
        return _block(pixels, mask, coordinates, factors, order)

    def part(region: tuple[slice, ...]) -> Block | None:
        found = anywhere(region) if index is None else _affine_block(pixels, mask, index, factors, region, anywhere)
        return None if found is None else Block(region, *found)

    return part, list(_regions(onto.shape, block, max(factors)))


def _dispatched(part: Part, regions: Sequence[tuple[slice, ...]]) -> Iterator[Block | None]:
    """The blocks in their order, made a few at a time."""
    workers = min(os.cpu_count() or 1, _MOST_WORKERS)
    if len(regions) == 1 or workers == 1:
        yield from map(part, regions)
        return
    from dask.base import compute
    from dask.delayed import delayed

    task = delayed(part, pure=False, traverse=False)
    for start in range(0, len(regions), _AHEAD * workers):
        group = regions[start : start + _AHEAD * workers]
        yield from compute(*map(task, group), scheduler="threads", num_workers=workers)  # type: ignore[no-untyped-call]


def output_grid(
    fixed: Grid, moving: Grid, moving_from_fixed: Transform, choice: Literal["fixed", "moving"] | float
) -> Grid:
    """The grid that the moving image is resampled on.

    Parameters
    ----------
    fixed, moving : Grid
        Grids of the two images.
    moving_from_fixed : Transform
        Takes fixed positions to moving positions.
    choice : {"fixed", "moving"} or float
        "fixed": the pixels of the fixed image. "moving": the field of the fixed image in pixels that are as large as
        those of the moving image (measured in the middle of the field). A number: the field of the fixed image in
        pixels of that many micrometres.

    Returns
    -------
    Grid
        In the unit of the fixed frame; its first pixel shares its outer corner with the first pixel of the fixed image.

    Raises
    ------
    UsageError
        If micrometres are asked for and the fixed image has no calibration, or the pixel size is not positive and
        finite, or the grid would have more than 17 thousand million pixels.

    Examples
    --------
    >>> fixed, moving = Grid.of((100, 100), 0.01, unit="micrometre"), Grid.of((50, 50), 0.05, unit="micrometre")
    >>> output_grid(fixed, moving, Affine.identity(), "moving").shape
    (20, 20)
    """
    if choice == "fixed":
        return fixed
    if choice == "moving":
        steps = _index_jacobian(moving, moving_from_fixed, fixed, fixed.centre[None])[0]
        spacing = np.asarray(fixed.spacing) / np.linalg.norm(steps, axis=0)
    elif not (np.isfinite(choice) and float(choice) > 0):
        raise UsageError(f"The pixel size of the output must be a positive number of micrometres; got {choice}.")
    elif not fixed.calibrated:
        raise UsageError(
            f"An output grid of {choice} µm needs a fixed image with a pixel size and this one states none; "
            "give its pixel size or choose the grid 'fixed' or 'moving'."
        )
    else:
        spacing = np.full(fixed.ndim, float(choice))
    # The slack keeps a field of exactly n pixels from growing to n + 1 by rounding.
    shape = np.maximum(np.ceil(np.asarray(fixed.extent) / spacing - 1e-6), 1.0)
    if float(np.prod(shape)) > _MOST_PIXELS:
        raise UsageError(
            f"Pixels of {float(spacing.min()):.3g} {fixed.frame.symbol} would make an output of "
            f"{' x '.join(f'{n:.0f}' for n in shape)} pixels, which is too large; choose a coarser grid."
        )
    origin = np.asarray(fixed.origin) + (spacing - fixed.spacing) / 2
    return Grid.of(shape.astype(int).tolist(), spacing.tolist(), origin.tolist(), fixed.unit)


def _pixels(image: Image | Pixels) -> Pixels:
    return image.levels[0] if isinstance(image, Image) else image


def _check(
    pixels: Pixels,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: str,
    mask: Mask | CoarseMask | None,
) -> None:
    if tuple(pixels.shape[1:]) != image_grid.shape:
        raise UsageError(
            f"Pixels of shape (channels, {', '.join(map(str, image_grid.shape))}) were expected from the grid; "
            f"got {tuple(pixels.shape)}."
        )
    if mask is not None and mask.shape != image_grid.shape:
        raise UsageError(f"A mask of shape {image_grid.shape} was expected; got {mask.shape}.")
    if not image_grid.ndim == moving_from_fixed.ndim == onto.ndim:
        raise UsageError(
            f"Image, transform and output must have one dimension; got {image_grid.ndim}, "
            f"{moving_from_fixed.ndim} and {onto.ndim}."
        )
    if order not in ("linear", "nearest"):
        raise UsageError(f"The order of interpolation is 'linear' or 'nearest'; got {order!r}.")


def _regions(shape: Sequence[int], block: int, shrink: int) -> Iterator[tuple[slice, ...]]:
    """Cut the output into blocks; where ``shrink`` input pixels make one, blocks are as much smaller."""
    if block < 1:
        raise UsageError(f"Blocks have at least one pixel per side; got {block}.")
    side = max(1, round(block ** (2 / len(shape)) / shrink)) if len(shape) == 3 else max(1, block // shrink)
    lines = [[slice(a, min(a + side, n)) for a in range(0, n, side)] for n in shape]
    yield from product(*lines)


def _source_coordinates(
    image_grid: Grid, moving_from_fixed: Transform, onto: Grid, region: tuple[slice, ...]
) -> Coordinates:
    """Fractional pixel indices in the moving image, one array of the block's shape per axis."""
    lines = np.meshgrid(*[np.arange(s.start, s.stop, dtype=float) for s in region], indexing="ij", sparse=True)
    if not isinstance(moving_from_fixed, Affine | Projective):
        dense = np.stack(np.broadcast_arrays(*lines), -1)
        index = image_grid.index(moving_from_fixed(onto.points(dense.reshape(-1, onto.ndim))))
        return [np.ascontiguousarray(column).reshape(dense.shape[:-1]) for column in index.T]
    matrix = np.linalg.inv(image_grid.matrix) @ moving_from_fixed.matrix @ onto.matrix
    rows = [sum((c * line for c, line in zip(row[:-1], lines, strict=True)), np.array(row[-1])) for row in matrix]
    if isinstance(moving_from_fixed, Affine):
        return [np.asarray(row) for row in rows[:-1]]
    # Beyond its vanishing line a projective map shows the image a second time, from behind.
    weight = np.where(rows[-1] > 0, rows[-1], np.nan)
    return [np.asarray(row / weight) for row in rows[:-1]]


def _index_jacobian(
    image_grid: Grid, moving_from_fixed: Transform, onto: Grid, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Moving pixels (rows) per output pixel (columns) at each point, shape ``(N, D, D)``."""
    per_pixel = np.asarray(onto.spacing) / np.asarray(image_grid.spacing)[:, None]
    return np.asarray(moving_from_fixed.jacobian(points) * per_pixel)


def _averaging(image_grid: Grid, moving_from_fixed: Transform, onto: Grid) -> tuple[int, ...]:
    """How many moving pixels are averaged into one along each axis before linear interpolation."""
    points = onto.lattice(9)
    points = points[image_grid.contains(moving_from_fixed(points))]
    if not len(points):
        return (1,) * onto.ndim
    reach = np.linalg.norm(_index_jacobian(image_grid, moving_from_fixed, onto, points), axis=-1)
    factors = np.floor(np.median(reach, axis=0) + _ON_PIXEL).astype(int)
    return tuple(int(f) for f in np.clip(factors, 1, image_grid.shape))


def _affine_block(
    pixels: Pixels,
    mask: Mask | CoarseMask | None,
    index: NDArray[np.float64],
    factors: tuple[int, ...],
    region: tuple[slice, ...],
    anywhere: Callable[[tuple[slice, ...]], tuple[Array, Mask] | None],
) -> tuple[Array, Mask] | None:
    """A block of 8 or 16 bits under an affine map; None where it lies wholly outside the moving image.

    What lies well inside is made quickly, what lies outside not at all; a block on the edge is cut into four (of a
    volume into eight), until pieces are left that are small enough to look at every pixel.
    """
    f = np.asarray(factors)
    to_index = (index[:-1] - np.outer((f - 1) / 2, np.eye(index.shape[1])[-1])) / f[:, None]
    ends = [(part.start, part.stop - 1) for part in region]
    corners = np.array([(*corner, 1.0) for corner in product(*ends)]) @ to_index.T
    limit = np.asarray(pixels.shape[1:]) // f - 1
    if (corners.max(axis=0) < -_ON_PIXEL).any() or (corners.min(axis=0) > limit + _ON_PIXEL).any():
        return None
    found = None
    if (corners >= 0).all() and (corners <= limit - _ON_PIXEL).all():
        found = _inner_block(pixels, mask, to_index, corners, factors, region)
    shape = tuple(part.stop - part.start for part in region)
    if found is not None or max(shape) <= _PIECE:
        return anywhere(region) if found is None else found
    halves = [
        [slice(part.start, middle), slice(middle, part.stop)] if part.stop - part.start > 1 else [part]
        for part, middle in ((part, (part.start + part.stop) // 2) for part in region)
    ]
    values, footprint = np.zeros((pixels.shape[0], *shape), pixels.dtype), np.zeros(shape, bool)
    for piece in product(*halves):
        made = _affine_block(pixels, mask, index, factors, piece, anywhere)
        if made is not None:
            where = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(piece, region, strict=True))
            values[(slice(None), *where)], footprint[where] = made
            found = values, footprint
    return found


def _inner_block(
    pixels: Pixels,
    mask: Mask | CoarseMask | None,
    to_index: NDArray[np.float64],
    corners: NDArray[np.float64],
    factors: tuple[int, ...],
    region: tuple[slice, ...],
) -> tuple[Array, Mask] | None:
    """A block whose corners lie well inside the moving image; None where it is not valid throughout.

    The same arithmetic as in `_Support.linear`, in steps that OpenCV does ten times as fast: four neighbours of a pixel
    are fetched as one pixel of four channels. Nothing depends on whether single pixels lie inside.
    """
    limit = np.asarray(pixels.shape[1:]) // np.asarray(factors) - 1
    low, high = np.floor(corners.min(axis=0)).astype(int), np.ceil(corners.max(axis=0)).astype(int) + 1
    # One more, as the neighbours of the last pixel are fetched even where they have no weight.
    high = np.minimum(high + 1, limit + 1)
    if (high - low).max() >= _REMAP_LIMIT:
        return None
    source_region = tuple(slice(a * k, b * k) for a, b, k in zip(low, high, factors, strict=True))
    if mask is not None and not np.all(mask[source_region]):
        return None
    deep, tall = (1, *(high - low))[-3:-1]
    if deep * (tall - 1) >= _REMAP_LIMIT:
        return None
    fours = []
    for channel in range(pixels.shape[0]):
        source = _shrink(np.asarray(pixels[(channel, *source_region)]), factors)
        neighbours = source[..., :-1, :-1], source[..., :-1, 1:], source[..., 1:, :-1], source[..., 1:, 1:]
        # The slices of a volume lie below one another, so that its next slice is so many rows further down.
        fours.append(np.stack(neighbours, axis=-1).reshape(deep * (tall - 1), -1, 4))
    shape = tuple(part.stop - part.start for part in region)
    values = np.empty((pixels.shape[0], *shape), pixels.dtype)
    depth = cv2.CV_8U if values.dtype == np.uint8 else cv2.CV_16U
    columns = np.arange(region[-1].start, region[-1].stop, dtype=float)
    # Every row of the output, those of a volume slice by slice.
    rows = np.stack(np.meshgrid(*[np.arange(p.start, p.stop, dtype=float) for p in region[:-1]], indexing="ij"), -1)
    rows = rows.reshape(-1, len(region) - 1)
    step = max(1, _AT_ONCE // shape[-1])
    for top in range(0, len(rows), step):
        maps, weights = [], []
        for line, first in zip(to_index, low, strict=True):
            place = (rows[top : top + step] @ line[:-2] + (line[-1] - first))[:, None] + line[-2] * columns
            whole = place.astype(np.int16)
            maps.append(whole)
            weights.append(np.subtract(place, whole, out=np.empty(place.shape, np.float32), casting="unsafe"))
        down = maps[-2] if deep == 1 else maps[-2] + maps[0] * np.int16(tall - 1)
        for four, out in zip(fours, values.reshape(len(fours), -1, shape[-1]), strict=True):
            upper, lower = _fetched(four, down, maps[-1], weights[-1])
            if len(shape) == 3:
                upper = _mixed(upper, lower, weights[1], cv2.CV_32F)
                below = _fetched(four, down + np.int16(tall - 1), maps[-1], weights[-1])
                lower = _mixed(*below, weights[1], cv2.CV_32F)
            out[top : top + step] = _mixed(upper, lower, weights[0], depth)
    return values, np.ones(shape, bool)


def _fetched(
    four: Array, rows: NDArray[np.int16], columns: NDArray[np.int16], weight: NDArray[np.float32]
) -> tuple[Array, Array]:
    """What lies between the two neighbours in the upper row, and in the lower row, of places in a picture of fours."""
    a, b, c, d = cv2.split(cv2.remap(four, cv2.merge([columns, rows]), np.empty(0), cv2.INTER_NEAREST))
    return _mixed(a, b, weight, cv2.CV_32F), _mixed(c, d, weight, cv2.CV_32F)


def _mixed(a: Array, b: Array, weight: NDArray[np.float32], depth: int) -> Array:
    """``a + weight * (b - a)`` in the depth of OpenCV that is asked for, rounded and clipped."""
    step = cv2.multiply(cv2.subtract(b, a, dtype=cv2.CV_32F), weight)
    return np.asarray(cv2.add(step, a, dtype=depth))


def _block(
    pixels: Pixels, mask: Mask | CoarseMask | None, coordinates: Coordinates, factors: tuple[int, ...], order: Order
) -> tuple[Array, Mask] | None:
    """Sample every channel at the coordinates; None where no coordinate lies in the moving image."""
    shape = tuple(n // f for n, f in zip(pixels.shape[1:], factors, strict=True))
    coordinates = [(c - (f - 1) / 2) / f for c, f in zip(coordinates, factors, strict=True)]
    inside = np.ones(coordinates[0].shape, bool)
    for axis, size in enumerate(shape):
        index = np.rint(coordinates[axis])
        near = index if order == "nearest" else np.abs(coordinates[axis] - index) < _ON_PIXEL
        coordinates[axis] = index if order == "nearest" else np.where(near, index, coordinates[axis])
        inside &= (coordinates[axis] >= 0) & (coordinates[axis] <= size - 1)
    if not inside.any():
        return None
    low = [int(np.floor(c[inside].min())) for c in coordinates]
    high = [int(np.ceil(c[inside].max())) + 1 for c in coordinates]
    region = tuple(slice(a * f, b * f) for a, b, f in zip(low, high, factors, strict=True))
    crop = tuple(b - a for a, b in zip(low, high, strict=True))
    support = _Support.of([np.where(inside, c - a, 0.0) for c, a in zip(coordinates, low, strict=True)], crop)
    values = np.zeros((pixels.shape[0], *inside.shape), pixels.dtype)
    for channel in range(pixels.shape[0]):
        source = _shrink(np.asarray(pixels[(channel, *region)]), factors)
        sampled = support.nearest(source) if order == "nearest" else support.linear(source)
        values[channel] = np.where(inside, _as_type(sampled, values.dtype), values.dtype.type(0))
    if mask is not None:
        inside &= support.all_true(_shrink(np.asarray(mask[region]), factors) == 1)
    return values, inside


@dataclass(frozen=True, slots=True, eq=False)
class _Support:
    """Which pixels of a crop each output pixel is made of, and with which weights; shared by all channels.

    A neighbour without weight is replaced by the pixel itself, so what lies there (an edge, a NaN) cannot matter.
    """

    first: NDArray[np.intp]
    steps: tuple[NDArray[np.intp], ...]
    weights: Coordinates

    @classmethod
    def of(cls, coordinates: Coordinates, crop: tuple[int, ...]) -> _Support:
        strides = np.cumprod((1, *crop[:0:-1]))[::-1]
        floors = [np.floor(c).astype(np.intp) for c in coordinates]
        weights = [c - f for c, f in zip(coordinates, floors, strict=True)]
        first = sum((f * int(s) for f, s in zip(floors, strides, strict=True)), np.zeros(1, np.intp))
        steps = tuple((w > 0) * np.intp(s) for w, s in zip(weights, strides, strict=True))
        return cls(first, steps, weights)

    def _corners(self) -> Iterator[NDArray[np.intp]]:
        for chosen in product((False, True), repeat=len(self.steps)):
            yield sum((s for s, use in zip(self.steps, chosen, strict=True) if use), self.first)

    def nearest(self, source: Array) -> Array:
        return np.asarray(source.ravel().take(self.first))

    def linear(self, source: Array) -> Array:
        # Single precision carries 16-bit values and their weights exactly enough to round to the right integer.
        exact = source.dtype.itemsize <= 2 or source.dtype == np.float32
        flat = source.ravel().astype(np.float32 if exact else np.float64, copy=False)
        corners: list[Array] = [flat.take(index) for index in self._corners()]
        for weight in reversed(self.weights):
            w = weight.astype(flat.dtype)
            corners = [np.asarray(a + w * (b - a)) for a, b in zip(corners[::2], corners[1::2], strict=True)]
        return corners[0]

    def all_true(self, source: Mask) -> Mask:
        flat = source.ravel()
        result = np.ones(self.weights[0].shape, bool)
        for index in self._corners():
            result &= flat.take(index)
        return result


def _shrink(source: Array, factors: tuple[int, ...]) -> Array:
    """Means of blocks of ``factors`` pixels; the shape is a multiple of the factors."""
    if max(factors) == 1:
        return source
    exact = source.dtype.itemsize <= 2 or source.dtype == np.float32
    split = [n for size, f in zip(source.shape, factors, strict=True) for n in (size // f, f)]
    axes = tuple(range(1, 2 * len(factors), 2))
    return np.asarray(source.reshape(split).mean(axis=axes, dtype=np.float32 if exact else np.float64))


def _as_type(values: Array, dtype: np.dtype[Any]) -> Array:
    if values.dtype == dtype or dtype.kind == "f":
        return values.astype(dtype, copy=False)
    if dtype.kind == "b":
        return values >= 0.5
    limits = np.iinfo(dtype)
    # The largest 64-bit integers have no twin in double precision: their float lies beyond them and would overflow.
    high = float(limits.max)
    high = high if int(high) <= limits.max else float(np.nextafter(high, 0.0))
    return np.clip(np.rint(values), float(limits.min), high).astype(dtype)
