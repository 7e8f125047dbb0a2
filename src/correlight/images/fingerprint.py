"""What of pixels in memory is remembered, so that somebody who works on with an array does not change a result."""

from __future__ import annotations

import zlib

import numpy as np

from correlight.images.image import Image

# Bytes of an image that are looked at: all of most images in well below a second.
_MOST = 2**28


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
    every = -(-pixels.nbytes // _MOST)
    total = zlib.crc32(f"{pixels.dtype.str} {pixels.shape}".encode())
    for plane in np.ndindex(pixels.shape[:-2]):
        total = zlib.crc32(np.ascontiguousarray(pixels[plane][::every]).view(np.uint8).data, total)
    return total
