"""Which images hold labels: numbers that name things and must not be mixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Image, Pixels

# Of the neighbours of a pixel of a label, at least this share carries the same label; so for this share of labels.
_AGREE, _SUCH = 0.5, 0.8
# Rows that are examined together, and pixels that are not the most frequent number after which no more are needed.
_ROWS, _ENOUGH = 512, 200_000


def are_labels(pixels: NDArray[np.generic]) -> bool:
    """Whether pixels are labels: whole numbers, nearly each of which lies in patches.

    A label is a number most of whose neighbours carry the same number, however many labels there are. Grey values are
    not, even where an image is dark, saturated or has few of them, because they come in steps from one to the next.

    Parameters
    ----------
    pixels : (Y, X) or (Z, Y, X) array
        One channel, of any type.

    Returns
    -------
    bool
        False for numbers with fractions, and where all are the same. Programs that segment also store whole numbers as
        floating-point ones.
    """
    if not _whole(pixels):
        return False
    tally = _Tally()
    tally.add(pixels)
    return tally.labels


def label_channels(image: Image) -> tuple[int, ...]:
    """The channels of an image that hold labels, by number; none of a colour image.

    Reads a few rows (slices of a volume) at a time, and no more than are needed to tell.
    """
    pixels = image.levels[0]
    if image.rgb:
        return ()
    return tuple(number for number in range(len(image.channels)) if holds_labels(pixels, number))


def holds_labels(pixels: Pixels, channel: int) -> bool:
    """Whether a channel of pixels ``(C, Y, X)`` or ``(C, Z, Y, X)`` holds labels, from as few rows as tell."""
    tally = _Tally()
    for part in _parts(pixels, channel):
        if not _whole(part):
            return False
        tally.add(part)
        if tally.things >= _ENOUGH:
            break
    return tally.labels


def _whole(pixels: NDArray[Any]) -> bool:
    """Whether all pixels are whole numbers, of whatever type; what is not finite is none."""
    if pixels.dtype.kind in "uib":
        return True
    return pixels.dtype.kind == "f" and bool((np.isfinite(pixels) & (np.trunc(pixels) == pixels)).all())


def _parts(pixels: Pixels, channel: int) -> Iterator[NDArray[Any]]:
    """Rows of an image or slices of a volume, from the middle on, where more is to be seen than at an edge."""
    count = pixels.shape[1]
    step = _ROWS if len(pixels.shape) == 3 else 1
    starts = sorted(range(0, count, step), key=lambda start: abs(start + step / 2 - count / 2))
    for start in starts:
        yield np.asarray(pixels[channel, start : start + step])


class _Tally:
    """How often each number meets itself and others in neighbouring pixels."""

    def __init__(self) -> None:
        self._same: dict[int, int] = {}
        self._met: dict[int, int] = {}
        self._count: dict[int, int] = {}

    def add(self, pixels: NDArray[np.generic]) -> None:
        numbers, index = np.unique(pixels, return_inverse=True)
        index = index.reshape(pixels.shape)
        same, met = np.zeros(len(numbers), np.int64), np.zeros(len(numbers), np.int64)
        for axis in range(pixels.ndim):
            one, other = (np.moveaxis(index, axis, 0)[part].ravel() for part in (slice(None, -1), slice(1, None)))
            met += np.bincount(one, minlength=len(numbers)) + np.bincount(other, minlength=len(numbers))
            same += 2 * np.bincount(one[one == other], minlength=len(numbers))
        count = np.bincount(index.ravel(), minlength=len(numbers))
        for number, a, b, c in zip(numbers.tolist(), same.tolist(), met.tolist(), count.tolist(), strict=True):
            self._same[number] = self._same.get(number, 0) + a
            self._met[number] = self._met.get(number, 0) + b
            self._count[number] = self._count.get(number, 0) + c

    @property
    def things(self) -> int:
        """Pixels that are not the most frequent number."""
        return sum(self._count.values()) - max(self._count.values(), default=0)

    @property
    def labels(self) -> bool:
        if len(self._count) < 2:
            return False
        such = [self._same[number] >= _AGREE * self._met[number] for number in self._met]
        return sum(such) >= _SUCH * len(such)
