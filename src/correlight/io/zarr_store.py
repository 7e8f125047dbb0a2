"""Zarr stores of others, opened without trust: what they may ask for is on a list, and no chunk outgrows its size.

Zarr lets a file name the code that decodes it, pickle among it, and a few bytes may decode to many gigabytes. Before
anything is decoded, the type of the numbers and every codec are compared with lists; every file of the store must be a
regular one inside the folder that was given; and the size that a compressed chunk would have is found out first.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.storage import LocalStore

from correlight.errors import ReadError
from correlight.io.zarr_codecs import fits
from correlight.parsing import read_json, resolved

_NUMBERS = re.compile(r"[<>|](?:b1|[iu][1248]|f[248])")
_TYPES = {
    "bool",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
}
_COMPRESSORS = {"blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma"}
_FILTERS = {"shuffle", "delta", "bitround"}
_PLAIN = {"bytes", "transpose", "crc32c"}
_INDEX = {"bytes", "crc32c"}  # codecs of the index of a shard
_MOST_PARTS = 2**22  # of a shard
_MOST_FILES = 2**22
_LARGEST_FILE = 2**36  # bytes
_HARMLESS = 2**26  # bytes that any chunk may decode to without being looked at


@dataclass(frozen=True, slots=True)
class Shard:
    """How the index of a shard lies in its file.

    Parameters
    ----------
    parts : int
        Number of chunks in it.
    first : bool
        Whether the index comes first, and not last.
    checksum : bool
        Whether four bytes of a checksum follow it.
    """

    parts: int
    first: bool
    checksum: bool


@dataclass(frozen=True, slots=True)
class Layout:
    """What the metadata of an array say of its chunks.

    Parameters
    ----------
    shape, chunks : tuple of int
        Of the whole and of what one file holds.
    codec : str
        The compressor; empty without one.
    decoded : int
        Bytes of what is compressed together: a chunk, or one within a shard.
    shard : Shard or None
        The index of a file that holds several chunks.
    key : str
        Begins the name of a chunk: "c" or nothing.
    separator : str
        Between its numbers.
    """

    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    codec: str
    decoded: int
    shard: Shard | None
    key: str
    separator: str

    @property
    def grid(self) -> tuple[int, ...]:
        """Number of files along each axis."""
        return tuple(-(-length // size) for length, size in zip(self.shape, self.chunks, strict=True))


def check_store(folder: Path) -> None:
    """Refuse a folder in which anything but regular files of a sensible size would be read, or that leads outside.

    Raises
    ------
    ReadError
        If there is a pipe, a device, a link to somewhere else, a file of more than 64 GiB, or no end of files.
    """
    home, count = resolved(folder), 0
    for parent, folders, names in os.walk(folder):
        for name in itertools.chain(folders, names):
            count += 1
            if count > _MOST_FILES:
                raise ReadError(f"Expected an OME-Zarr store, but {folder} holds more than {_MOST_FILES} files.")
            check_inside(home, Path(parent) / name, folder_allowed=True)


def check_inside(home: Path, path: Path, *, folder_allowed: bool = False) -> None:
    """Refuse what is no regular file inside a folder.

    Parameters
    ----------
    home : Path
        The folder, resolved.
    path : Path
        What is to be opened, which exists.
    folder_allowed : bool
        Whether a folder will do as well.

    Raises
    ------
    ReadError
        If it is something else, or a link that leads outside.
    """
    about = os.lstat(path)
    if stat.S_ISLNK(about.st_mode):
        target = resolved(path)
        if not target.is_relative_to(home) or not target.exists():
            raise ReadError(f"{path} is a link that leads out of its store; copy the store with all its files.")
        about = os.stat(target)
    if not stat.S_ISREG(about.st_mode) and not (folder_allowed and stat.S_ISDIR(about.st_mode)):
        raise ReadError(f"Expected regular files in a store, but {path} is none; copy the store again.")
    if stat.S_ISREG(about.st_mode) and about.st_size > _LARGEST_FILE:
        raise ReadError(f"{path} is {about.st_size / 2**30:,.0f} GiB long, which no chunk is; copy the store again.")


def open_array(home: Path, folder: Path) -> tuple[Any, Layout]:
    """Open an array for reading, after all that its metadata ask for was compared with the lists.

    Parameters
    ----------
    home : Path
        The store that was given.
    folder : Path
        The array in it.

    Returns
    -------
    array : zarr.Array
        Whose chunks are checked before they are decoded.
    layout : Layout

    Raises
    ------
    ReadError
        If the array is missing or damaged, or asks for a type of numbers or a codec that is not on the lists.
    """
    home = resolved(home)
    found = next((folder / name for name in ("zarr.json", ".zarray") if (folder / name).is_file()), None)
    if found is None:
        raise ReadError(f"The pixels in {folder} cannot be opened (there is no array); copy the store again.")
    check_inside(home, found)
    stated = read_json(found, "the metadata of a Zarr array")
    layout = _layout(folder, stated if isinstance(stated, dict) else {})
    try:
        return zarr.open_array(_Guarded(folder, home, layout), mode="r"), layout
    except ReadError:
        raise
    except Exception as error:  # zarr raises whatever a damaged store leads it to
        detail = " ".join(str(error).split())[:200]
        raise ReadError(f"The pixels in {folder} cannot be opened ({detail}); copy the store again.") from error


def stored_chunks(folder: Path, layout: Layout) -> frozenset[tuple[int, ...]]:
    """The places in the grid of chunks for which there is a file."""
    rank = len(layout.shape)
    top = folder / layout.key if layout.key and layout.separator == "/" else folder
    found = set()
    for parent, _, names in os.walk(top):
        inner = Path(parent).relative_to(top).parts
        for name in names:
            text = layout.separator.join((*inner, name))
            if layout.key and layout.separator != "/":
                text = text.removeprefix(layout.key + layout.separator)
            parts = text.split(layout.separator)
            if len(parts) == rank and all(part.isdecimal() for part in parts):
                place = tuple(int(part) for part in parts)
                if all(number < count for number, count in zip(place, layout.grid, strict=True)):
                    found.add(place)
    return frozenset(found)


def _refuse(folder: Path, what: str) -> ReadError:
    return ReadError(f"Expected numbers in a known form, but the array {folder} asks for {what}, which is not read.")


def _layout(folder: Path, stated: Mapping[str, Any]) -> Layout:
    shape = _sizes(folder, stated.get("shape"), 0)
    if "zarr_format" in stated and stated["zarr_format"] == 2:
        return _second(folder, stated, shape)
    if stated.get("zarr_format") != 3 or stated.get("node_type", "array") != "array":
        raise ReadError(f"Expected an array of Zarr 2 or 3, but {folder} is none; export it again.")
    return _third(folder, stated, shape)


def _second(folder: Path, stated: Mapping[str, Any], shape: tuple[int, ...]) -> Layout:
    kind = stated.get("dtype")
    if not isinstance(kind, str) or not _NUMBERS.fullmatch(kind):
        raise _refuse(folder, f"the type {str(kind)[:40]!r}")
    for entry in stated.get("filters") or ():
        name = entry.get("id") if isinstance(entry, dict) else None
        kinds = [value for key, value in entry.items() if key in ("dtype", "astype")] if name else []
        if name not in _FILTERS or not all(_NUMBERS.fullmatch(str(value)) for value in kinds):
            raise _refuse(folder, f"the filter {str(name)[:40]!r}")
    compressor = stated.get("compressor")
    name = "" if compressor is None else str(compressor.get("id") if isinstance(compressor, dict) else compressor)
    if name and name not in _COMPRESSORS:
        raise _refuse(folder, f"the codec {name[:40]!r}")
    chunks = _sizes(folder, stated.get("chunks"), 1)
    separator = "/" if stated.get("dimension_separator") == "/" else "."
    decoded = math.prod(chunks) * np.dtype(kind).itemsize
    return _consistent(folder, Layout(shape, chunks, name, decoded, None, "", separator))


def _third(folder: Path, stated: Mapping[str, Any], shape: tuple[int, ...]) -> Layout:
    kind = stated.get("data_type")
    if not isinstance(kind, str) or kind not in _TYPES:
        raise _refuse(folder, f"the type {str(kind)[:40]!r}")
    if stated.get("storage_transformers"):
        raise _refuse(folder, "a storage transformer")
    grid = stated.get("chunk_grid")
    settings = grid.get("configuration", {}) if isinstance(grid, dict) else {}
    chunks = _sizes(folder, settings.get("chunk_shape"), 1)
    names = stated.get("chunk_key_encoding")
    names = names if isinstance(names, dict) else {}
    key = "" if names.get("name") == "v2" else "c"
    usual = "/" if key else "."
    separator = (names.get("configuration") or {}).get("separator", usual)
    codec, inner, shard = _codecs(folder, stated.get("codecs"), chunks)
    item = 1 if kind == "bool" else int(re.sub(r"\D", "", kind)) // 8
    layout = Layout(shape, chunks, codec, math.prod(inner) * item, shard, key, "/" if separator == "/" else ".")
    return _consistent(folder, layout)


def _codecs(
    folder: Path, listed: Any, chunks: tuple[int, ...], *, within: bool = False
) -> tuple[str, tuple[int, ...], Shard | None]:
    """The compressor, the shape of what is compressed together, and the shard that holds it."""
    if not isinstance(listed, list):
        raise _refuse(folder, "no list of codecs")
    compressor, shape, shard = "", chunks, None
    for entry in listed:
        name = entry.get("name") if isinstance(entry, dict) else entry
        if name == "sharding_indexed" and not within and len(listed) == 1:
            settings = entry.get("configuration") or {}
            shape, shard = _shard(folder, settings, chunks)
            compressor = _codecs(folder, settings.get("codecs"), shape, within=True)[0]
        elif isinstance(name, str) and name.removeprefix("numcodecs.") in _COMPRESSORS and not compressor:
            compressor = name.removeprefix("numcodecs.")
        elif name not in _PLAIN:
            raise _refuse(folder, f"the codec {str(name)[:40]!r} in this place")
    return compressor, shape, shard


def _shard(folder: Path, settings: Mapping[str, Any], chunks: tuple[int, ...]) -> tuple[tuple[int, ...], Shard]:
    part = _sizes(folder, settings.get("chunk_shape"), 1)
    index = [entry.get("name") if isinstance(entry, dict) else entry for entry in settings.get("index_codecs") or []]
    parts = math.prod(-(-whole // size) for whole, size in zip(chunks, part, strict=len(chunks) == len(part)))
    if not set(index) <= _INDEX or parts > _MOST_PARTS or len(part) != len(chunks):
        raise _refuse(folder, "an index of shards of its own kind")
    return part, Shard(parts, settings.get("index_location", "end") == "start", "crc32c" in index)


def _sizes(folder: Path, listed: Any, least: int) -> tuple[int, ...]:
    if not isinstance(listed, list) or not all(isinstance(n, int) and n >= least for n in listed) or len(listed) > 16:
        raise ReadError(f"Expected a shape, but the array {folder} states {str(listed)[:60]}; export it again.")
    return tuple(listed)


def _consistent(folder: Path, layout: Layout) -> Layout:
    if len(layout.shape) != len(layout.chunks):
        raise ReadError(f"Expected chunks of {len(layout.shape)} axes, but {folder} states {layout.chunks}; export it.")
    return layout


class _Guarded(LocalStore):  # type: ignore[misc, unused-ignore]
    """A store on disk that looks at every file before it hands it on."""

    def __init__(self, root: Path, home: Path, layout: Layout) -> None:
        super().__init__(root, read_only=True)
        self._home, self._layout = home, layout

    def with_read_only(self, read_only: bool = False) -> _Guarded:
        """The same store; it is never written to."""
        return _Guarded(Path(self.root), self._home, self._layout)

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """The bytes of a file, None if there is none."""
        path = Path(self.root) / key
        if not os.path.lexists(path) or path.is_dir():
            return None
        check_inside(self._home, path)
        data = await super().get(key, prototype, byte_range)
        if data is not None and not key.endswith((".json", ".zarray", ".zattrs", ".zgroup")):
            self._check(path, data.to_bytes(), whole=byte_range is None)
        return data

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        """The bytes of parts of files."""
        return [await self.get(key, prototype, part) for key, part in key_ranges]

    def _check(self, path: Path, data: bytes, *, whole: bool) -> None:
        layout = self._layout
        parts = _parts(data, layout.shard) if layout.shard and whole else [data]
        for part in parts:
            if not fits(part, layout.codec, max(layout.decoded, _HARMLESS)):
                raise ReadError(
                    f"{path} would decode to more than the {layout.decoded} bytes of a chunk; copy the store again."
                )


def _parts(data: bytes, shard: Shard) -> Iterator[bytes]:
    """What is compressed on its own in a shard."""
    length = 16 * shard.parts
    end = len(data) - (4 if shard.checksum else 0)
    index = data[:length] if shard.first else data[max(0, end - length) : end]
    places = np.frombuffer(index[: len(index) - len(index) % 16], "<u8").reshape(-1, 2)
    for offset, count in np.unique(places, axis=0).tolist():
        if offset < len(data):
            yield data[offset : offset + count]
