"""What of pixels in memory is remembered, so that somebody who works on with an array does not change a result."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Image

# Bytes of an image that are looked at: all of most images in well below a second.
_MOST = 2**28
# After so many rows somebody may have cancelled.
_ROWS = 256


def fingerprint(image: Image) -> int | None:
    """A checksum of the pixels, the pixel type and the shape of an array; None where the pixels are no array.

    Parameters
    ----------
    image : Image
        Of more than 256 MiB every second, third, ... row is looked at. Files are stamped where they are read (see
        `correlight.io.unchanged`).
    """
    pixels = image.levels[0]
    if not isinstance(pixels, np.ndarray):
        return None
    return checksum(pixels, every=max(1, -(-pixels.nbytes // _MOST)))


def checksum(pixels: NDArray[Any], *, every: int = 1, tell: Callable[[float], None] = lambda fraction: None) -> int:
    """A checksum of an array: its pixel type, its shape and its pixels.

    Parameters
    ----------
    pixels : (..., Y, X) array
        Of at least two axes.
    every : int
        Which rows of each plane are looked at: 1 all, 2 every second one.
    tell : callable
        Called with the fraction done; what it raises ends the work.
    """
    total = zlib.crc32(f"{pixels.dtype.str} {pixels.shape}".encode())
    count = int(np.prod(pixels.shape[:-2]))
    for number, plane in enumerate(np.ndindex(pixels.shape[:-2])):
        rows = pixels[plane][::every]
        for first in range(0, len(rows), _ROWS):
            tell((number + first / len(rows)) / count)
            total = zlib.crc32(np.ascontiguousarray(rows[first : first + _ROWS]).view(np.uint8).data, total)
    return total
