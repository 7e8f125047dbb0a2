"""PNG and JPEG images; neither states the pixel size of a microscope.

The density fields of both formats (JFIF, pHYs, Exif) describe paper, and are never taken for a calibration; one that
no paper has is said. Both decoders fill what is missing from a truncated file with grey, so the files are walked to
their end marker first.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import Pixels
from correlight.io import calibration
from correlight.io.content import Content, check_size, from_samples
from correlight.io.meaning import from_cmyk
from correlight.io.views import changed, orientation_said, turned
from correlight.parsing import open_regular

_PNG_SAMPLES = {0: 1, 2: 3, 3: 4, 4: 2, 6: 4}
_INDEXED = 3  # colour type of an image with a palette
_PNG_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_DEFLATE = 1032  # deflate cannot pack more bytes into one
_DISCRETE_COSINE = 512  # pixels per byte: a block of 64 takes one bit at the very least
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_SPARE = 2**24  # bytes that a file may have beyond those of its pixels
_EXIF, _ADOBE, _JFIF, _ORIENTATION = b"Exif\0\0", b"Adobe", b"JFIF\0", 274
_METRE, _LENGTHS = 1e6, {1: 25_400.0, 2: 10_000.0}  # micrometres; of JFIF an inch or a centimetre
_ENTRIES = 1000  # of a directory of Exif that are examined


def read_png(path: Path, *, calibrate: bool = True) -> Content:
    """Read a PNG of 1 to 16 bits, grey, in colours or with a palette; ``calibrate`` changes nothing.

    Parameters
    ----------
    path : Path
        The file; an image of more than 64 MiB is decoded as a whole and then read by parts.
    calibrate : bool
        Of no effect: the format states no pixel size.

    Raises
    ------
    ReadError
        If the file is damaged, or has more than 2 GiB of pixels.
    """
    with _mapped(path) as data:
        essential, orientation, grey, said = _essential(path, data)
    pixels = np.asarray(imagecodecs.png_decode(essential))
    del essential
    if grey and pixels.ndim == 3 and pixels.shape[-1] > 2:
        pixels = pixels[..., [0, *range(3, pixels.shape[-1])]]
    content = _oriented(_plain(pixels), orientation)
    return replace(content, findings=(*said, *content.findings))


def read_jpeg(path: Path, *, calibrate: bool = True) -> Content:
    """Read a JPEG of 8 or 12 bits, grey or in colours; what is given and what is refused is as for `read_png`."""
    with _mapped(path) as data:
        about = _check_jpeg(path, data)
        packed = data[: about.end]
    pixels = np.asarray(imagecodecs.jpeg_decode(packed))
    del packed
    inks = pixels.ndim == 3 and pixels.shape[-1] == 4
    content = _oriented(_from_inks(pixels, about) if inks else _plain(pixels), about.orientation)
    return replace(content, findings=(*about.said, *content.findings))


@contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    """The bytes of a file, of which only those that are examined come into memory."""
    with open_regular(path, "an image file") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _plain(pixels: NDArray[Any]) -> Content:
    return Content(pixels[None]) if pixels.ndim == 2 else from_samples(pixels)


def _oriented(content: Content, orientation: int) -> Content:
    if orientation in (0, 1):
        return content
    opaque = content.opaque
    return replace(
        content,
        pixels=turned(content.pixels, orientation),
        opaque=None if opaque is None else turned(opaque, orientation),
        findings=(*content.findings, *orientation_said(orientation)),
    )


# ------------------------------------------------------------------------------------------------------ PNG


def _essential(path: Path, data: mmap.mmap) -> tuple[bytes, int, bool, tuple[str, ...]]:
    """The chunks (ISO/IEC 15948) that hold pixels; the orientation; whether a palette is of greys; what is said.

    The file is walked to its end chunk and each sum checked. Other chunks are left out: the decoder would only complain
    about the odd ones, on the screen.
    """
    position, packed, declared, orientation, colour, grey, pictures = 8, 0, 0, 1, 0, False, 1
    density: tuple[int, ...] = (0, 0)
    kept = [data[:8]]
    while position + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length
        packed += length if name == b"IDAT" else 0
        if end > len(data):
            break
        if length > 2 * declared + _SPARE:
            raise ReadError(f"{path} has {length} bytes in a chunk for {declared} bytes of pixels; export it again.")
        chunk = data[position:end]
        if zlib.crc32(memoryview(chunk)[4:-4]) != struct.unpack_from(">I", chunk, length + 8)[0]:
            raise ReadError(f"{path} is damaged: the checksum of a PNG chunk does not match; copy or export it again.")
        if name == b"IHDR":
            width, height, bits, colour = struct.unpack_from(">IIBB", chunk, 8)
            bytes_each = _PNG_SAMPLES.get(colour, 4) * max(1, bits // 8)
            check_size(path, (height, width), bytes_each)
            samples = 1 if colour == _INDEXED else _PNG_SAMPLES.get(colour, 4)
            declared = (width * samples * bits + 7) // 8 * height
        if name == b"PLTE" and colour == _INDEXED:
            grey = len(chunk) % 3 == 0 and chunk[8:-4:3] == chunk[9:-4:3] == chunk[10:-4:3]
        if name == b"acTL" and length >= 8:
            pictures = int.from_bytes(chunk[8:12], "big")
        if name == b"pHYs" and length == 9 and chunk[16] == 1:
            density = struct.unpack_from(">II", chunk, 8)
        if name == b"eXIf":
            orientation = _exif_orientation(chunk[8:-4])
        if name in _PNG_CHUNKS:
            kept.append(chunk)
        if packed > 2 * declared + _SPARE:
            raise ReadError(f"{path} has {packed} packed bytes for {declared} bytes of pixels; export it again.")
        if name == b"IEND":
            if declared > _DEFLATE * max(packed, 1):
                raise ReadError(
                    f"{path} declares {declared} bytes of pixels, more than its {packed} packed bytes can hold; "
                    "copy or export it again."
                )
            said = _density_said(density, _METRE)
            if pictures > 1:
                words = f"the file holds an animation of {pictures} pictures"
                said = (f"{words}; the one for programs that show a single one is read", *said)
            return b"".join(kept), orientation, grey, said
        position = end
    raise ReadError(f"{path} is truncated: the end of the PNG data is missing; copy or export it again.")


# ----------------------------------------------------------------------------------------------------- JPEG


@dataclass(frozen=True, slots=True)
class _Jpeg:
    """What the segments of a JPEG file say: where it ends, how it is turned, whether Adobe wrote its inks inverted."""

    end: int
    orientation: int
    adobe: bool
    said: tuple[str, ...]


def _check_jpeg(path: Path, data: mmap.mmap) -> _Jpeg:
    """Walk the segments (ITU-T T.81) to the end-of-image marker."""
    position, bound, orientation, adobe = 2, _SPARE, 1, False
    said: tuple[str, ...] = ()
    while True:
        marker = _MARKER.search(data, position, min(len(data), position + bound))
        if marker is None:
            raise ReadError(f"{path} is truncated: the end of the JPEG data is missing; copy or export it again.")
        code = data[marker.start() + 1]
        position = marker.end()
        if code == 0xD9:
            return _Jpeg(position, orientation, adobe, said)
        if code == 0x01 or position + 2 > len(data):
            continue
        length = struct.unpack_from(">H", data, position)[0]
        if 0xC0 <= code <= 0xCF and code not in (0xC4, 0xC8, 0xCC) and position + 8 <= len(data):
            height, width, samples = struct.unpack_from(">HHB", data, position + 3)
            check_size(path, (height, width, samples), 1)
            bound = 4 * height * width * samples + _SPARE
            if height * width > _DISCRETE_COSINE * len(data):
                raise ReadError(
                    f"{path} declares {height} x {width} pixels, more than its {len(data)} bytes can hold; "
                    "copy or export it again."
                )
        body = data[position + 2 : position + length] if code in (0xE0, 0xE1, 0xEE) else b""
        if body.startswith(_JFIF) and len(body) >= 12 and body[7] in _LENGTHS:
            said = _density_said(struct.unpack_from(">HH", body, 8), _LENGTHS[body[7]])
        if body.startswith(_EXIF):
            orientation = _exif_orientation(body[len(_EXIF) :])
        adobe = adobe or body.startswith(_ADOBE)
        position += length


def _density_said(counts: tuple[int, ...], length: float) -> tuple[str, ...]:
    """What is said of pixels in a length, x first, that no paper has."""
    return calibration.density_said([length / count for count in counts[::-1]], "resolution") if all(counts) else ()


def _from_inks(pixels: NDArray[Any], about: _Jpeg) -> Content:
    """Colours of an image in four inks, which programs of Adobe and most others store inverted."""
    most = np.iinfo(pixels.dtype).max

    def change(block: NDArray[Any]) -> NDArray[Any]:
        return from_cmyk(most - block if about.adobe else block)

    colours: Pixels = changed(np.moveaxis(pixels, -1, 0), change, 3, pixels.dtype)
    said = ("the image was stored for print (CMYK) and is converted to red, green and blue",)
    return Content(colours, rgb=True, findings=said)


def _exif_orientation(data: bytes) -> int:
    """The orientation in an Exif block, which is a small TIFF file; 1 where it has none or is damaged."""
    try:
        order = {b"II": "<", b"MM": ">"}[data[:2]]
        offset = struct.unpack_from(f"{order}I", data, 4)[0]
        count = struct.unpack_from(f"{order}H", data, offset)[0]
        for number in range(min(count, _ENTRIES)):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", data, offset + 2 + 12 * number)
            if (tag, kind) == (_ORIENTATION, 3):
                return int(value)
    except (KeyError, struct.error):
        pass
    return 1
