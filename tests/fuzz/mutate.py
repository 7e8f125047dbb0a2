"""Changes of files that know the structure of their format: tags of TIFF, chunks of PNG, headers of MRC and NumPy."""

import struct
import zlib
from pathlib import Path

import numpy as np
import tifffile

from tests.exchange.mutants import mutant as structured

Rng = np.random.Generator
EXTREMES = [0, 1, 2, 3, 7, 8, 16, 255, 256, 32767, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1]
_HEADS = {".npy": 128, ".mrc": 1024}  # bytes of a header


def change(path: Path, rng: Rng) -> None:
    """Change a file, or one of the files of a store, in one to three places."""
    if path.is_dir():
        files = sorted(entry for entry in path.rglob("*") if entry.is_file())
        path = files[int(rng.integers(len(files)))]
    if path.suffix in (".json", ".xml", ".h5", ".csv", ".txt", ".tfm") or path.name in (".zarray", ".zattrs"):
        if path.suffix == "":
            path = path.rename(path.with_name("changed.json"))
            structured(path, rng)
            path.rename(path.with_name(".zarray"))
        else:
            structured(path, rng)
        return
    content = bytearray(path.read_bytes())
    for _ in range(int(rng.integers(1, 4))):
        if path.suffix == ".tif" and rng.random() < 0.6:
            _tag(path, content, rng)
        elif path.suffix == ".png" and rng.random() < 0.6:
            content = _chunk(content, rng)
        elif path.suffix in _HEADS and rng.random() < 0.6:
            _number(content, int(rng.integers(_HEADS[path.suffix] // 4)) * 4, rng)
        else:
            content = _bytes(content, rng)
    path.write_bytes(content)


def _number(content: bytearray, place: int, rng: Rng, width: int = 4) -> None:
    value = EXTREMES[int(rng.integers(len(EXTREMES)))]
    content[place : place + width] = value.to_bytes(8, "little")[:width]


def _tag(path: Path, content: bytearray, rng: Rng) -> None:
    """A tag of a page: its code, type, number of values, or value."""
    with tifffile.TiffFile(path) as file:
        big = file.is_bigtiff
        tags = [tag for page in file.pages for tag in page.tags.values()]  # type: ignore[union-attr]
        tag = tags[int(rng.integers(len(tags)))]
        place, offset = tag.offset, tag.valueoffset
    parts = [(0, 2), (2, 2), (4, 8 if big else 4), (12 if big else 8, 8 if big else 4)]
    where, width = parts[int(rng.choice(4, p=[0.15, 0.15, 0.25, 0.45]))]
    _number(content, offset if where > 4 and rng.random() < 0.5 else place + where, rng, width)


def _chunk(content: bytearray, rng: Rng) -> bytearray:
    """A chunk of a PNG: changed with a right checksum, doubled, left out, or exchanged."""
    chunks, place = [], 8
    while place + 12 <= len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        chunks.append((bytes(content[place + 4 : place + 8]), bytearray(content[place + 8 : place + 8 + length])))
        place += 12 + length
    if not chunks:
        return content
    number = int(rng.integers(len(chunks)))
    kind, body = chunks[number]
    way = int(rng.integers(4))
    if way == 0 and len(body):
        at = int(rng.integers(len(body)))
        body[at : at + 4] = EXTREMES[int(rng.integers(len(EXTREMES)))].to_bytes(4, "big")[: len(body) - at]
    elif way == 1:
        chunks.insert(number, (kind, body))
    elif way == 2:
        chunks.pop(number)
    else:
        chunks.append(chunks.pop(number))
    made = bytearray(content[:8])
    for kind, body in chunks:
        made += struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return made


def _bytes(content: bytearray, rng: Rng) -> bytearray:
    """Bytes that are flipped, cut off, doubled, filled, or replaced by an extreme number."""
    if not content:
        return content
    place, way = int(rng.integers(len(content))), int(rng.integers(5))
    if way == 0:
        content[place] ^= 1 << int(rng.integers(8))
    elif way == 1:
        return content[:place]
    elif way == 2:
        return content[:place] + content[place : place + int(rng.integers(1, 64))] + content[place:]
    elif way == 3:
        end = min(len(content), place + int(rng.integers(1, 64)))
        content[place:end] = bytes([int(rng.integers(256))]) * (end - place)
    else:
        _number(content, place, rng)
    return content
