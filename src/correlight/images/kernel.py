"""The kernel of resampling: one block of output pixels from the pixels of the moving image.

There is one for two and three dimensions. It interpolates with weights in floating point; OpenCV's own warps round
positions to 1/32 pixel, which shows as a stair in smooth gradients and would blur what "sub-pixel" means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.images.image import CoarseMask, Mask, Pixels
from correlight.images.places import Coordinates, NodePlaces, Places, PlacesOf, Region

Order = Literal["linear", "nearest"]
Array = NDArray[Any]

# Positions this close to a pixel centre are on it. Otherwise the rounding of a change of units would make the last
# row of an unmoved image seem to need the row beyond it.
ON_PIXEL = 1e-6
# A section, which has one pixel along an axis, fills the slice around it: it is met up to half a pixel away, and
# halfway between two slices of an output it is met by one of them.
_SECTION = 0.5 + ON_PIXEL

# OpenCV fetches pixels by 16-bit numbers.
_REMAP_LIMIT = 2**15
# So many pixels of a block are made at a time: all that is computed of them stays in the cache of a core.
_AT_ONCE = 2**16
# A block on the edge of the moving image is cut into pieces of at most so many pixels a side.
_PIECE = 64
# What is not smooth enough is asked at every pixel, in pieces of at most so many pixels a side.
_ROUGH_PIECE = 256


def laid_block(
    pixels: Pixels,
    mask: Mask | CoarseMask | None,
    places_of: PlacesOf,
    factors: tuple[int, ...],
    order: Order,
    anywhere: Callable[[Region], tuple[Array, Mask] | None],
    region: Region,
) -> tuple[Array, Mask] | None:
    """A block whose places need not be asked for pixel by pixel; None where it lies wholly outside the moving image.

    What lies well inside is made quickly, what lies outside not at all; a block on the edge is cut into four (of a
    volume into eight), until pieces are left that are small enough to look at every pixel. So is a block of a map that
    is not smooth enough.
    """
    shape = tuple(part.stop - part.start for part in region)
    exact, quick = places_of(region), order == "linear" and np.dtype(pixels.dtype) in (np.uint8, np.uint16)
    found = None
    if exact is not None:
        places = exact.shrunk(factors)
        limit = np.asarray(pixels.shape[1:]) // np.asarray(factors) - 1
        margin = np.where(np.asarray(pixels.shape[1:]) == 1, _SECTION, _beyond(order)) + places.error
        if (places.high < -margin).any() or (places.low > limit + margin).any():
            return None
        inside = (places.low >= places.error).all() and (places.high <= limit - ON_PIXEL - places.error).all()
        if quick and inside:
            found = _inner_block(pixels, mask, places, factors, region)
        if found is None and isinstance(exact, NodePlaces) and (inside or not quick or max(shape) <= _PIECE):
            coordinates = exact.everywhere(_borders(pixels.shape[1:], factors, order))
            return sampled_block(pixels, mask, coordinates, factors, order)
    if found is not None or max(shape) <= (_PIECE if exact is not None else _ROUGH_PIECE):
        return anywhere(region) if found is None else found
    halves = [
        [slice(part.start, middle), slice(middle, part.stop)] if part.stop - part.start > 1 else [part]
        for part, middle in ((part, (part.start + part.stop) // 2) for part in region)
    ]
    values, footprint = np.zeros((pixels.shape[0], *shape), pixels.dtype), np.zeros(shape, bool)
    for piece in product(*halves):
        made = laid_block(pixels, mask, places_of, factors, order, anywhere, piece)
        if made is not None:
            where = tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(piece, region, strict=True))
            values[(slice(None), *where)], footprint[where] = made
            found = values, footprint
    return found


def _beyond(order: Order) -> float:
    """How far beyond the centre of its last pixel an image reaches."""
    return 0.5 if order == "nearest" else ON_PIXEL


def _borders(shape: tuple[int, ...], factors: tuple[int, ...], order: Order) -> list[tuple[float, ...]]:
    """The indices along each axis at which an image ends, in its own pixels."""
    ends: list[tuple[float, ...]] = []
    for n, f in zip(shape, factors, strict=True):
        middle, last = (f - 1) / 2, n // f - 1
        ends.append((-0.5, n - 0.5) if order == "nearest" or n == 1 else (middle, middle + f * last))
    return ends


def _inner_block(
    pixels: Pixels,
    mask: Mask | CoarseMask | None,
    places: Places,
    factors: tuple[int, ...],
    region: Region,
) -> tuple[Array, Mask] | None:
    """A block of 8 or 16 bits that lies well inside the moving image; None where it is not valid throughout.

    The same arithmetic as in `_Support.linear`, in steps that OpenCV does ten times as fast: four neighbours of a pixel
    are fetched as one pixel of four channels. Nothing depends on whether single pixels lie inside.
    """
    limit = np.asarray(pixels.shape[1:]) // np.asarray(factors) - 1
    low, high = np.floor(places.low).astype(int), np.ceil(places.high).astype(int) + 1
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
    step, lines = max(1, _AT_ONCE // shape[-1]), int(np.prod(shape[:-1]))
    for top in range(0, lines, step):
        maps, weights = [], []
        for axis, first in enumerate(low):
            place = places.lines(axis, top, min(top + step, lines)) - first
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
    """What lies between the two neighbours in the upper row, and in the lower row, of places in an image of fours."""
    a, b, c, d = cv2.split(cv2.remap(four, cv2.merge([columns, rows]), np.empty(0), cv2.INTER_NEAREST))
    return _mixed(a, b, weight, cv2.CV_32F), _mixed(c, d, weight, cv2.CV_32F)


def _mixed(a: Array, b: Array, weight: NDArray[np.float32], depth: int) -> Array:
    """``a + weight * (b - a)`` in the depth of OpenCV that is asked for, rounded and clipped."""
    step = cv2.multiply(cv2.subtract(b, a, dtype=cv2.CV_32F), weight)
    return np.asarray(cv2.add(step, a, dtype=depth))


def sampled_block(
    pixels: Pixels, mask: Mask | CoarseMask | None, coordinates: Coordinates, factors: tuple[int, ...], order: Order
) -> tuple[Array, Mask] | None:
    """Sample every channel at the coordinates; None where no coordinate lies in the moving image."""
    shape = tuple(n // f for n, f in zip(pixels.shape[1:], factors, strict=True))
    coordinates = [(c - (f - 1) / 2) / f for c, f in zip(coordinates, factors, strict=True)]
    inside = np.ones(coordinates[0].shape, bool)
    for axis, size in enumerate(shape):
        if pixels.shape[axis + 1] == 1:
            within = (coordinates[axis] > ON_PIXEL - 0.5) & (coordinates[axis] <= _SECTION)
            coordinates[axis] = np.where(within, 0.0, coordinates[axis])
        index = np.rint(coordinates[axis])
        near = index if order == "nearest" else np.abs(coordinates[axis] - index) < ON_PIXEL
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
        # Between infinities there is no number; such pixels are not valid and what comes of them is not used.
        with np.errstate(invalid="ignore", over="ignore"):
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
