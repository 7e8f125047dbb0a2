"""Pixels of the blocks of a CZI file, with every codec that current software of Zeiss writes.

czifile finds the blocks; the bytes of a block are decoded here, as its version for Python 3.11 does not know zstd. The
codecs are those of the ZISRAW specification and of https://zeiss.github.io/libczi/pages/zstd_compression.html; each is
told how many bytes the block has, so that a few bytes cannot become gigabytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.io.calibration import local_name, number
from correlight.io.content import check_size
from correlight.parsing import parse_xml

_RAW, _JPEG, _LZW, _JPEG_XR, _ZSTD, _ZSTD_SPLIT = 0, 1, 2, 4, 5, 6
_UNKNOWN = {3: "lossless JPEG", 7: "chunked compression"}
_LONGEST = 2**20  # bytes of the metadata of a block
_MOST_PLACES = 2000  # blocks that are asked where the stage stood
_CAMERA, _SYSTEM = 100, 1000  # numbers from which raw data of a camera or a program begin
_PIXELS = {
    "<u1": ("u1", 1), "<u2": ("u2", 1), "<f4": ("f4", 1), "<3u1": ("u1", 3), "<3u2": ("u2", 3), "<3f4": ("f4", 3),
    "<4u1": ("u1", 4), "<i4": ("i4", 1),
}  # fmt: skip


def kind_of(path: Path, block: Any) -> tuple[np.dtype[Any], int]:
    """The type of the numbers of a block, and how many of them a pixel has.

    Raises
    ------
    ReadError
        If they are complex or of a kind that is not read.
    """
    code = str(block.dtype)
    if code not in _PIXELS:
        raise ReadError(f"Expected real numbers as pixels, but {path} holds CZI pixels of the kind {code}; convert it.")
    name, samples = _PIXELS[code]
    return np.dtype(name).newbyteorder("<"), samples


def decoded(path: Path, block: Any) -> NDArray[Any]:
    """The pixels of a block, ``(rows, columns, samples)``; colours are red, green, blue.

    Parameters
    ----------
    path : Path
        The file, for the message of an error.
    block : czifile.DirectoryEntryDV
        At full resolution, of one place along every axis but rows and columns.

    Raises
    ------
    ReadError
        If the block is compressed in a way that is not read, or is not as long as its size says.
    """
    dtype, samples = kind_of(path, block)
    size = {dimension.dimension: int(dimension.stored_size) for dimension in block.dimension_entries}
    shape = size.get("Y", 1), size.get("X", 1), samples
    check_size(path, shape, dtype.itemsize)
    if math.prod(n for axis, n in size.items() if axis not in "YXM") != 1:
        raise ReadError(f"Expected blocks of one plane, but {path} holds blocks of several; export it again.")
    segment = block.data_segment()
    count = int(segment.data_size)
    if count < 0 or segment.data_offset + count > path.stat().st_size:
        raise ReadError(f"{path} is truncated: the file ends before its pixels do; copy or export it again.")
    return _pixels(path, int(block.compression), segment.data(raw=True), shape, dtype)


def stage_of(blocks: Sequence[Any]) -> tuple[float, ...] | None:
    """Where the stage stood in the middle of some blocks, micrometres, (y, x); None unless each of them says it."""
    places = []
    for block in blocks[:_MOST_PLACES]:
        segment = block.data_segment()
        text = segment.metadata(raw=True) if 0 < segment.metadata_size <= _LONGEST else ""
        try:
            root = parse_xml(text, "Expected metadata of a block, but it")
        except ReadError:
            return None
        found = {local_name(element): number(element.text) for element in root.iter()}
        places.append([found.get(f"Stage{axis}Position", math.nan) for axis in "YX"])
    corners = np.array([np.min(places, axis=0), np.max(places, axis=0)]) if places else np.array(math.nan)
    return tuple(corners.mean(axis=0).tolist()) if np.isfinite(corners).all() else None


def _pixels(path: Path, codec: int, data: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> NDArray[Any]:
    wanted = math.prod(shape) * dtype.itemsize
    if codec in (_JPEG, _JPEG_XR) and len(data) != wanted:
        decode = imagecodecs.jpeg_decode if codec == _JPEG else imagecodecs.jpegxr_decode
        native = np.zeros(shape[:2] if shape[2] == 1 else shape, dtype.newbyteorder("="))
        decode(data, out=native)
        return native.reshape(shape)[..., :3]
    if codec == _RAW or len(data) == wanted:  # some programs keep what does not become smaller, and do not say so
        plain: bytes = data
    elif codec == _LZW:
        plain = bytes(imagecodecs.lzw_decode(data, out=wanted))
    elif codec == _ZSTD:
        plain = bytes(imagecodecs.zstd_decode(data, out=wanted))
    elif codec == _ZSTD_SPLIT:
        plain = _split(path, data, wanted)
    else:
        raise ReadError(
            f"Expected a known compression, but blocks of {path} use {_words(codec)}; save it uncompressed."
        )
    if len(plain) < wanted:
        raise ReadError(f"{path} is truncated: a block of {wanted} bytes holds {len(plain)}; copy or export it again.")
    pixels = np.frombuffer(plain, dtype, math.prod(shape)).reshape(shape)
    # The fourth sample has no agreed meaning in CZI; colours are stored blue first.
    return pixels if shape[2] == 1 else pixels[..., 2::-1]


def _split(path: Path, data: bytes, wanted: int) -> bytes:
    """Zstd behind a header, which says whether low and high bytes of the numbers were separated."""
    length = data[0] if data else 0
    if length not in (1, 3) or (length == 3 and data[1] != 1):
        raise ReadError(
            f"Expected a known header of zstd, but blocks of {path} have another one; save it uncompressed."
        )
    plain = bytes(imagecodecs.zstd_decode(data[length:], out=wanted))
    if length == 1 or not data[2] & 1:
        return plain
    low, high = np.frombuffer(plain, np.uint8).reshape(2, -1)
    return np.stack([low, high], axis=-1).tobytes()


def _words(codec: int) -> str:
    if codec in _UNKNOWN:
        return _UNKNOWN[codec]
    if codec >= _SYSTEM:
        return f"the raw data of a program (number {codec})"
    return f"the raw data of a camera (number {codec})" if codec >= _CAMERA else f"the compression number {codec}"
