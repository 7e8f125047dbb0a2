"""Smaller copies of large images: made from a few rows at a time, and used wherever the full resolution is not needed.

Pixels of an image that does not fit into memory are never asked for at once. Whatever looks at the whole of it (the
search, the refinement, images for a report) looks at a level; whatever needs every pixel walks over bands of rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.geometry import level_factor
from correlight.images.image import CoarseMask, Image, Mask, Pixels, cut_from
from correlight.progress import checkpoint

Smaller = Literal["mean", "nearest"]
Array = NDArray[Any]

WORKING = 2**24  # pixels of a channel: no method gains from more than 4096 x 4096, which fit into memory several times
_STRIP = 2**26  # bytes of pixels that are held at a time while a level is made


class Window:
    """A part of pixels that stay where they are.

    Parameters
    ----------
    pixels : Pixels
        ``(C, Y, X)`` or ``(C, Z, Y, X)``.
    start, stop : sequence of int
        First and last (excluded) pixel along each axis of space.
    """

    def __init__(self, pixels: Pixels, start: Sequence[int], stop: Sequence[int]) -> None:
        self.pixels, self.start = pixels, tuple(start)
        self.shape = (pixels.shape[0], *(b - a for a, b in zip(start, stop, strict=True)))
        self.dtype = np.dtype(pixels.dtype)

    def __getitem__(self, key: Any) -> Array:
        """A block of pixels."""
        region, dropped = cut_from(key, self.shape)
        moved = [slice(p.start + a, p.stop + a, p.step) for p, a in zip(region[1:], self.start, strict=True)]
        return np.asarray(self.pixels[(region[0], *moved)]).squeeze(dropped)


class Cascade:
    """The levels of a pyramid, made in one pass over bands of rows.

    Parameters
    ----------
    shape : sequence of int
        Of the full resolution, ``(C, Y, X)`` or ``(C, Z, Y, X)``; slices of a volume follow one another.
    dtype : dtype
        Of the pixels.
    how : {"mean", "nearest"}
        Means of blocks, or one pixel of each for labels.
    count : int
        Number of smaller levels, each half the size of the one before.
    rows : int
        Height of the bands that come out; those at the end of a plane are lower.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype[Any], how: Smaller, count: int, rows: int) -> None:
        self.how, self.rows, self.dtype = how, rows, np.dtype(dtype)
        self.shapes = [(*shape[:-2], *(max(1, n >> level) for n in shape[-2:])) for level in range(count + 1)]
        self._kept: list[list[Array]] = [[] for _ in self.shapes]
        self._odd: list[Array | None] = [None for _ in self.shapes]
        self._out = [0 for _ in self.shapes]
        # Means are passed on unrounded. Single precision holds sums of a few 16-bit values exactly.
        self._exact = np.dtype(np.float32 if self.dtype.itemsize <= 2 else np.float64)

    def add(self, band: Array) -> Iterator[tuple[int, int, int, Array]]:
        """Take the next rows of a plane, and yield what is complete.

        Parameters
        ----------
        band : (C, rows, X) array
            Of the full resolution, in order; the next slice begins with a band of its own.

        Yields
        ------
        level, plane, row : int
            Where a band lies: number of the slice (0 in a flat image) and first row.
        band : (C, rows, X) array
            In the type of the pixels.
        """
        yield from self._add(0, band)

    def _add(self, level: int, band: Array) -> Iterator[tuple[int, int, int, Array]]:
        height = self.shapes[level][-2]
        plane, row = divmod(self._out[level], height)
        held = sum(part.shape[1] for part in self._kept[level])
        band = band[:, : height - row - held]
        self._kept[level].append(band)
        held += band.shape[1]
        ends = row + held == height
        if held >= self.rows or ends:
            whole = self._kept[level][0] if len(self._kept[level]) == 1 else np.concatenate(self._kept[level], 1)
            full = held if ends else held // self.rows * self.rows
            for top in range(0, full, self.rows):
                yield level, plane, row + top, self._rounded(whole[:, top : min(top + self.rows, full)])
            self._kept[level] = [whole[:, full:].copy()] if full < held else []
            self._out[level] += full
        if level + 1 < len(self.shapes):
            yield from self._pass_on(level, band, ends)

    def _pass_on(self, level: int, band: Array, ends: bool) -> Iterator[tuple[int, int, int, Array]]:
        odd = self._odd[level]
        if odd is not None:
            band = np.concatenate([odd, band], 1)
        # An image of one row stays one; otherwise what is left over at the far edge is dropped.
        pairs = band.shape[1] // 2 * 2
        self._odd[level] = band[:, pairs:].copy() if pairs < band.shape[1] and not ends else None
        if self.shapes[level][-2] == 1:
            pairs, self._odd[level] = 1, None
        if pairs:
            yield from self._add(level + 1, self._halved(level, band[:, :pairs]))

    def _halved(self, level: int, band: Array) -> Array:
        width, height = max(1, band.shape[2] // 2), max(1, band.shape[1] // 2)
        if self.how == "nearest":
            # Now the last and now the first of two, so that the pixel stays near the middle of its block.
            first = 1 - level % 2
            low = min(first, band.shape[1] - 1), min(first, band.shape[2] - 1)
            return np.ascontiguousarray(band[:, low[0] :: 2, low[1] :: 2][:, :height, :width])
        even = band[:, : max(1, height * 2), : max(1, width * 2)]
        means = [cv2.resize(plane.astype(self._exact), (width, height), interpolation=cv2.INTER_AREA) for plane in even]
        return np.stack(means)

    def _rounded(self, band: Array) -> Array:
        if band.dtype == self.dtype or self.dtype.kind == "f":
            return band.astype(self.dtype, copy=False)
        return np.rint(band).astype(self.dtype)


def reduced(pixels: Pixels, factors: Sequence[int]) -> Array:
    """Means of blocks of pixels, made from a few rows or slices at a time; the rest at the far edge is dropped.

    Parameters
    ----------
    pixels : Pixels
        ``(C, Y, X)`` or ``(C, Z, Y, X)``.
    factors : sequence of int
        How many pixels become one along each axis of space.

    Returns
    -------
    array
        In the type of the pixels, integers rounded.

    Notes
    -----
    Every pixel is read once; beside the result 64 MiB of pixels are held, or one row of blocks if that is more.
    """
    dtype, f = np.dtype(pixels.dtype), tuple(factors)
    shape = tuple(n // k for n, k in zip(pixels.shape[1:], f, strict=True))
    out = np.empty((pixels.shape[0], *shape), dtype)
    row = math.prod(pixels.shape[2:]) * dtype.itemsize * f[0]
    step = max(1, _STRIP // max(row, 1))
    rest = tuple(slice(0, n * k) for n, k in zip(shape[1:], f[1:], strict=True))
    for channel in range(out.shape[0]):
        for top in range(0, shape[0], step):
            checkpoint()
            bottom = min(top + step, shape[0])
            source = np.asarray(pixels[(channel, slice(top * f[0], bottom * f[0]), *rest)])
            out[channel, top:bottom] = _means(source, f)
    return out


def _means(source: Array, factors: tuple[int, ...]) -> Array:
    exact = np.float32 if source.dtype.itemsize <= 2 or source.dtype == np.float32 else np.float64
    shape = tuple(n // k for n, k in zip(source.shape, factors, strict=True))
    if source.ndim == 2:
        # About five times as fast as a reshape, and as exact.
        means = cv2.resize(source.astype(exact), shape[::-1], interpolation=cv2.INTER_AREA)
    else:
        split = [n for pair in zip(shape, factors, strict=True) for n in pair]
        means = source.reshape(split).mean(axis=tuple(range(1, 2 * len(factors), 2)), dtype=exact)
    return np.asarray(means if source.dtype.kind == "f" else np.rint(means), source.dtype)


def factors_to(shape: Sequence[int]) -> tuple[int, ...]:
    """The least whole factor, the same along every axis that is long enough, that leaves at most 2**24 pixels."""
    factor = 1
    while math.prod(max(1, n // factor) for n in shape) > WORKING:
        factor += 1
    return tuple(min(factor, n) for n in shape)


def with_small_level(levels: Sequence[Pixels]) -> tuple[Pixels, ...]:
    """The levels of a pyramid down to the first that fits into memory, where it is; made where the file has none.

    Parameters
    ----------
    levels : sequence of Pixels
        Full resolution first.
    """
    fine: list[Pixels] = []
    for level in levels:
        if math.prod(level.shape[1:]) <= WORKING:
            return (*fine, np.asarray(level[(slice(None),) * len(level.shape)]))
        fine.append(level)
    factors = factors_to(fine[-1].shape[1:])
    return (*fine, reduced(fine[-1], factors))


def stays_on_disk(image: Image) -> bool:
    """Whether the full resolution of an image is not in memory."""
    return not isinstance(image.levels[0], np.ndarray)


def working_image(image: Image) -> Image:
    """The image as methods look at it: itself if it is in memory, else the finest level that is.

    Positions mean the same on every level, so a transform that is found between levels holds for the full images.
    Methods compare images of about a thousand pixels a side at most, so that nothing is lost.

    Parameters
    ----------
    image : Image
        Perhaps on disk.

    Returns
    -------
    Image
        All of its pixels in memory, at most 2**24 of a channel unless the image was there already.
    """
    if not stays_on_disk(image):
        return image
    small = [number for number, level in enumerate(image.levels) if math.prod(level.shape[1:]) <= WORKING]
    if not small:
        return working_image(replace(image, levels=with_small_level(image.levels)))
    return _level(image, small[0])


def shown_image(image: Image) -> Image:
    """The image for display: at most 2**24 pixels of a channel, all of them in memory."""
    image = working_image(image)
    factors = factors_to(image.grid.shape)
    if max(factors) == 1:
        return image
    return _level(replace(image, levels=(*image.levels, reduced(image.levels[0], factors))), len(image.levels))


def _level(image: Image, number: int) -> Image:
    """A level as an image of its own, in memory."""
    pixels, grid = np.asarray(image.levels[number][(slice(None),) * (image.ndim + 1)]), image.level_grid(number)
    mask: Mask | None = None
    if isinstance(image.mask, CoarseMask):
        mask = image.mask.resized(grid.shape)
    elif image.mask is not None:
        mask = all_valid(image.mask, grid.shape)
    return replace(image, levels=(pixels,), grid=grid, mask=None if mask is None or mask.all() else mask)


def all_valid(mask: Mask, shape: Sequence[int]) -> Mask:
    """The mask of a level of that shape: valid is what was made of valid pixels alone."""
    for axis, (large, small) in enumerate(zip(mask.shape, shape, strict=True)):
        first = (np.arange(small) * level_factor(large, small)).astype(np.intp)
        mask = np.logical_and.reduceat(mask, first, axis=axis)
    return mask


def region_of(image: Image, start: Sequence[int], stop: Sequence[int]) -> Image:
    """A part of an image, which stays where it is.

    Parameters
    ----------
    image : Image
        The whole.
    start, stop : sequence of int
        First and last (excluded) pixel along each axis.

    Raises
    ------
    UsageError
        If the part does not lie in the image.
    """
    grid = image.grid.crop(start, stop)
    window = Window(image.levels[0], start, stop)
    here = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    pixels: Pixels = window if stays_on_disk(image) else np.asarray(image.levels[0])[(slice(None), *here)]
    mask = image.mask
    if isinstance(mask, CoarseMask):
        factors = [max(1, n // m) for n, m in zip(mask.shape, mask.small.shape, strict=True)]
        mask = CoarseMask(mask[tuple(slice(a, b, f) for a, b, f in zip(start, stop, factors, strict=True))], grid.shape)
    elif mask is not None:
        mask = mask[here]
    return replace(image, levels=(pixels,), grid=grid, mask=mask)
