"""PNG and JPEG pictures; neither states the pixel size of a microscope.

The density fields of both formats (JFIF, pHYs, Exif) describe paper, and are never taken for a calibration. Both
decoders fill what is missing from a truncated file with grey, so the files are walked to their end marker first.
"""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np

from correlight.errors import ReadError
from correlight.io.content import Content, check_size, from_samples

_PNG_SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_DEFLATE = 1032  # deflate cannot pack more bytes into one
_DISCRETE_COSINE = 512  # pixels per byte: a block of 64 takes one bit at the very least
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def read_png(path: Path, *, calibrate: bool = True) -> Content:
    """Read a PNG of 1 to 16 bits, grey, in colours or with a palette; ``calibrate`` changes nothing."""
    data = path.read_bytes()
    pixels = np.asarray(imagecodecs.png_decode(_essential(path, data)))
    return Content(pixels[None]) if pixels.ndim == 2 else from_samples(pixels)


def read_jpeg(path: Path, *, calibrate: bool = True) -> Content:
    """Read a JPEG of 8 or 12 bits, grey or in colours; ``calibrate`` changes nothing."""
    data = path.read_bytes()
    _check_jpeg(path, data)
    pixels = np.asarray(imagecodecs.jpeg_decode(data))
    return Content(pixels[None]) if pixels.ndim == 2 else from_samples(pixels)


def _essential(path: Path, data: bytes) -> bytes:
    """The chunks (ISO/IEC 15948) that hold pixels, after a walk to the end chunk that checks each sum.

    Others are left out: the decoder would only complain about the odd ones, on the screen.
    """
    position, packed, declared = 8, 0, 0
    kept = [data[:8]]
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        body = memoryview(data)[position + 4 : end - 4]
        if zlib.crc32(body) != struct.unpack_from(">I", data, end - 4)[0]:
            raise ReadError(f"{path} is damaged: the checksum of a PNG chunk does not match; copy or export it again.")
        if name == b"IHDR":
            width, height, bits, colour = struct.unpack_from(">IIBB", data, position + 8)
            bytes_each = _PNG_SAMPLES.get(colour, 4) * max(1, bits // 8)
            check_size(path, (height, width), bytes_each)
            declared = (width * bits + 7) // 8 * height
        if name == b"IDAT":
            packed += length
        if name in _PNG_CHUNKS:
            kept.append(data[position:end])
        if name == b"IEND":
            if declared > _DEFLATE * max(packed, 1):
                raise ReadError(
                    f"{path} declares {declared} bytes of pixels, more than its {packed} packed bytes can hold; "
                    "copy or export it again."
                )
            return b"".join(kept)
        position = end
    raise ReadError(f"{path} is truncated: the end of the PNG data is missing; copy or export it again.")


def _check_jpeg(path: Path, data: bytes) -> None:
    """Walk the segments (ITU-T T.81) to the end-of-image marker."""
    position = 2
    while True:
        marker = _MARKER.search(data, position)
        if marker is None:
            raise ReadError(f"{path} is truncated: the end of the JPEG data is missing; copy or export it again.")
        code = data[marker.start() + 1]
        position = marker.end()
        if code == 0xD9:
            return
        if code == 0x01 or position + 2 > len(data):
            continue
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC) and position + 8 <= len(data):
            height, width, samples = struct.unpack_from(">HHB", data, position + 3)
            check_size(path, (height, width, samples), 1)
            if height * width > _DISCRETE_COSINE * len(data):
                raise ReadError(
                    f"{path} declares {height} x {width} pixels, more than its {len(data)} bytes can hold; "
                    "copy or export it again."
                )
        position += struct.unpack_from(">H", data, position)[0]
