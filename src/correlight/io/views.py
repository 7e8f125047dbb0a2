"""Pixels seen another way: some of their channels, turned, or turned into colours, in memory or on disk alike.

What stays on disk is changed when it is cut out; what is in memory is changed at once, by a few rows at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Pixels, cut_from

Array = NDArray[Any]
_BAND = 2**24  # pixels of a channel that are changed at a time


class Held:
    """Pixels that had to be decoded as a whole, and are too many for anybody to look at all of them at once.

    Whatever can do with a smaller level does so, as with pixels on disk.

    Parameters
    ----------
    array : array
        ``(C, Y, X)`` or ``(C, Z, Y, X)``; perhaps a view, which is not copied.
    """

    def __init__(self, array: Array) -> None:
        self.array, self.shape = array, tuple(array.shape)
        self.dtype = array.dtype.newbyteorder("=")

    def __getitem__(self, key: Any) -> Array:
        """A block of its own."""
        region, dropped = cut_from(key, self.shape)
        return np.array(self.array[region], dtype=self.dtype, order="C").squeeze(dropped)


class Chosen:
    """Some channels of pixels on disk."""

    def __init__(self, pixels: Pixels, numbers: Sequence[int]) -> None:
        self.pixels, self.numbers = pixels, list(numbers)
        self.shape, self.dtype = (len(self.numbers), *pixels.shape[1:]), np.dtype(pixels.dtype)

    def __getitem__(self, key: Any) -> Array:
        """A block, in memory."""
        region, dropped = cut_from(key, self.shape)
        wanted = self.numbers[region[0]]
        sizes = [len(range(part.start, part.stop, part.step)) for part in region[1:]]
        out = np.empty((len(wanted), *sizes), self.dtype)
        for place, number in enumerate(wanted):
            out[place] = self.pixels[(number, *region[1:])]
        return out.squeeze(dropped)


class Changed:
    """Pixels on disk whose numbers stand for others: colours in another space, brightness reversed.

    Parameters
    ----------
    pixels : Pixels
        As stored.
    change : function
        From a block with all stored channels to one with those meant, of the same size in space.
    channels : int
        How many are meant.
    dtype : dtype
        Of the pixels meant.
    """

    def __init__(self, pixels: Pixels, change: Callable[[Array], Array], channels: int, dtype: np.dtype[Any]) -> None:
        self.pixels, self.change = pixels, change
        self.shape, self.dtype = (channels, *pixels.shape[1:]), np.dtype(dtype)

    def __getitem__(self, key: Any) -> Array:
        """A block, in memory."""
        region, dropped = cut_from(key, self.shape)
        block = np.asarray(self.pixels[(slice(None), *region[1:])])
        return np.ascontiguousarray(self.change(block)[region[0]].squeeze(dropped))


# What to do to stored rows and columns, by the orientation that TIFF and Exif state: exchange them, then run backwards
# along rows, then along columns.
_TURNS = {
    2: (False, False, True), 3: (False, True, True), 4: (False, True, False), 5: (True, False, False),
    6: (True, False, True), 7: (True, True, True), 8: (True, True, False),
}  # fmt: skip


class Turned:
    """Pixels on disk with rows and columns as the orientation of their file means them."""

    def __init__(self, pixels: Pixels, orientation: int) -> None:
        self.pixels = pixels
        self.exchanged, self.down, self.across = _TURNS[orientation]
        height, width = pixels.shape[-2:]
        self.shape = (*pixels.shape[:-2], *((width, height) if self.exchanged else (height, width)))
        self.dtype = np.dtype(pixels.dtype)

    def __getitem__(self, key: Any) -> Array:
        """A block, in memory."""
        region, dropped = cut_from(key, self.shape)
        rows = _backwards(region[-2], self.shape[-2]) if self.down else region[-2]
        columns = _backwards(region[-1], self.shape[-1]) if self.across else region[-1]
        stored = (columns, rows) if self.exchanged else (rows, columns)
        block = np.asarray(self.pixels[(*region[:-2], *(slice(part.start, part.stop) for part in stored))])
        block = block.swapaxes(-1, -2) if self.exchanged else block
        block = block[..., :: -1 if self.down else 1, :: -1 if self.across else 1]
        return np.ascontiguousarray(block[..., :: region[-2].step, :: region[-1].step].squeeze(dropped))


def _backwards(part: slice, length: int) -> slice:
    return slice(length - part.stop, length - part.start)


def chosen(pixels: Pixels, numbers: Sequence[int]) -> Pixels:
    """Some channels, by number."""
    if list(numbers) == list(range(pixels.shape[0])):
        return pixels
    if isinstance(pixels, np.ndarray):
        return pixels[list(numbers)]
    return Chosen(pixels, numbers)


def changed(pixels: Pixels, change: Callable[[Array], Array], channels: int, dtype: Any) -> Pixels:
    """Pixels whose numbers stand for others; see `Changed`."""
    dtype = np.dtype(dtype)
    if not isinstance(pixels, np.ndarray):
        return Changed(pixels, change, channels, dtype)
    out = np.empty((channels, *pixels.shape[1:]), dtype)
    step = max(1, _BAND // max(1, out[0, :1].size))
    for top in range(0, out.shape[1], step):
        out[:, top : top + step] = change(pixels[:, top : top + step])
    return out


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Pixels as the orientation (1 to 8) of TIFF and Exif means them."""
    if orientation not in _TURNS:
        return pixels
    if not isinstance(pixels, np.ndarray):
        return Turned(pixels, orientation)
    exchanged, down, across = _TURNS[orientation]
    pixels = pixels.swapaxes(-1, -2) if exchanged else pixels
    return np.ascontiguousarray(pixels[..., :: -1 if down else 1, :: -1 if across else 1])


def exchanges_axes(orientation: int) -> bool:
    """Whether an orientation exchanges rows and columns."""
    return _TURNS.get(orientation, (False,))[0]


def orientation_said(orientation: int) -> tuple[str, ...]:
    """What is worth saying about an orientation."""
    names = {
        2: "mirrored left to right", 3: "turned by 180 degrees", 4: "mirrored top to bottom",
        5: "mirrored across the diagonal", 6: "turned by 90 degrees clockwise", 7: "mirrored across the other diagonal",
        8: "turned by 90 degrees anticlockwise",
    }  # fmt: skip
    if orientation in (0, 1):
        return ()
    if orientation not in names:
        return (f"stated, not understood: orientation {orientation}",)
    return (f"the image is {names[orientation]}, as its orientation tag asks",)
