"""How much compressed bytes decode to, found out before they are decoded as a whole."""

from __future__ import annotations

import bz2
import lzma
import zlib
from typing import Any

import imagecodecs

_RATIO = {"gzip": 1100, "zlib": 1100, "bz2": 2**22, "lzma": 2**16}  # of the decoded size to the compressed one, at most
_STEP = 2**20  # bytes that are decoded at a time


def fits(data: bytes, codec: str, limit: int) -> bool:
    """Whether compressed bytes decode to no more than a limit, as far as can be known without decoding them.

    Parameters
    ----------
    data : bytes
        As stored.
    codec : str
        A name of a compressor, or empty.
    limit : int
        Bytes.
    """
    if codec in _RATIO:
        return len(data) * _RATIO[codec] <= limit or _streamed(data, codec, limit)
    if codec == "blosc":
        return len(data) < 16 or int.from_bytes(data[4:8], "little") <= limit
    if codec == "lz4":
        return len(data) < 4 or int.from_bytes(data[:4], "little") <= limit
    return codec != "zstd" or _zstd_fits(data, limit)


def _streamed(data: bytes, codec: str, limit: int) -> bool:
    """Decode in steps that are thrown away, up to the limit."""
    make: dict[str, Any] = {
        "gzip": lambda: zlib.decompressobj(31), "zlib": zlib.decompressobj, "bz2": bz2.BZ2Decompressor,
        "lzma": lzma.LZMADecompressor,
    }  # fmt: skip
    total = 0
    try:
        while data:
            decoder = make[codec]()
            while not decoder.eof:
                total += len(decoder.decompress(data, _STEP))
                if total > limit:
                    return False
                data = getattr(decoder, "unconsumed_tail", b"")
                if not data and getattr(decoder, "needs_input", True):
                    break
            data = decoder.unused_data
    except (zlib.error, lzma.LZMAError, OSError, EOFError):
        return True  # refused by the decoder itself
    return True


def _zstd_fits(data: bytes, limit: int) -> bool:
    """By the size in the header of a frame (RFC 8878), and by decoding with a limit where there is none."""
    if len(data) < 6 or data[:4] != b"\x28\xb5\x2f\xfd":
        return True  # refused by the decoder itself
    flags = data[4]
    single, size_code, dictionary = flags >> 5 & 1, flags >> 6, (0, 1, 2, 4)[flags & 3]
    length = (1 if single else 0, 2, 4, 8)[size_code]
    start = 5 + (0 if single else 1) + dictionary
    if length:
        stated = int.from_bytes(data[start : start + length], "little") + (256 if length == 2 else 0)
        return stated <= limit
    try:
        imagecodecs.zstd_decode(data, out=limit + 1)
    except (RuntimeError, ValueError):
        return False
    return True
