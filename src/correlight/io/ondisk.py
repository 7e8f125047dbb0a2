"""Pixels that stay in their file until a block of them is cut out.

Every cut opens the file, reads what it needs and closes it again, so nothing is left open between cuts and arrays may
be passed to threads. Memory is bounded by the block, one decoded segment per thread, and a small store of segments.
"""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import cut_from
from correlight.io.axes import check_axes
from correlight.progress import threads

Array = NDArray[Any]

SEGMENT = 2**26  # bytes; larger tiles, strips and chunks cannot be read in parts and are no use on disk
_KEPT = 2**27  # bytes of decoded segments that are kept for the next cut
_MOST_WORKERS = 8
_STRIP = 2**20  # bytes of a strip of uncompressed pixels
_FEW = 4  # segments that are not worth a thread


class Flat:
    """An array that lies in a file as it would in memory.

    Parameters
    ----------
    path : Path
        The file.
    offset : int
        Where it begins, in bytes.
    shape : sequence of int
        Of the whole, first axis slowest.
    dtype : dtype
        Of the numbers, with their byte order.
    """

    def __init__(self, path: Path, offset: int, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
        self.path, self.offset, self.shape, self.stored = path, int(offset), tuple(shape), np.dtype(dtype)
        self.dtype = self.stored.newbyteorder("=")

    def __getitem__(self, key: Any) -> Array:
        """A block, in memory."""
        try:
            whole = np.memmap(self.path, self.stored, "r", self.offset, self.shape)
        except (OSError, ValueError) as error:
            raise _gone(self.path, error) from error
        return np.array(whole[key], dtype=self.dtype)


class Rearranged:
    """An array on disk with some axes fixed and the others in the order channels, depth, rows, columns.

    Parameters
    ----------
    path : Path
        The file or folder, for the message of an error.
    array : Flat or zarr.Array
        The whole.
    index : sequence of int or slice
        One entry per axis of the array: a number where it is fixed, ``slice(None)`` where it stays.
    axes : str
        A letter of C, Z, Y, X for each axis that stays, in the order of the array.
    """

    def __init__(self, path: Path, array: Any, index: Sequence[Any], axes: str) -> None:
        self.path, self.array, self.index = path, array, tuple(index)
        wanted = [axis for axis in "CZYX" if axis in axes]
        self._order = [wanted.index(axis) for axis in axes]
        self._turn = [axes.index(axis) for axis in wanted]
        self._lacks_channel = "C" not in axes
        kept = [size for size, part in zip(array.shape, self.index, strict=True) if isinstance(part, slice)]
        self.shape = ((1,) if self._lacks_channel else ()) + tuple(kept[place] for place in self._turn)
        stored = np.dtype(array.dtype)
        self.dtype = np.dtype(np.uint8) if stored.kind == "b" else stored.newbyteorder("=")

    def __getitem__(self, key: Any) -> Array:
        """A block, in memory."""
        region, dropped = cut_from(key, self.shape)
        spatial = region[1:] if self._lacks_channel else region
        cut = iter([spatial[place] for place in self._order])
        where = tuple(next(cut) if isinstance(part, slice) else part for part in self.index)
        try:
            block = np.asarray(self.array[where])
        except ReadError:
            raise
        except Exception as error:  # decoders raise whatever damaged bytes lead them to
            raise _gone(self.path, error) from error
        block = block.transpose(self._turn)
        block = block[None][region[0]] if self._lacks_channel else block
        return np.ascontiguousarray(block.astype(self.dtype, copy=False).squeeze(dropped))


def left_on_disk(path: Path, array: Any, index: Sequence[Any], axes: str) -> Rearranged:
    """What is chosen of an array on disk, as `Rearranged`; a volume of one slice is a flat image.

    Raises
    ------
    ReadError
        If it has no rows or no columns, or an axis twice.
    """
    check_axes(path, axes)
    places = [place for place, part in enumerate(index) if isinstance(part, slice)]
    depth = axes.find("Z")
    if depth >= 0 and array.shape[places[depth]] == 1:
        index = [0 if place == places[depth] else part for place, part in enumerate(index)]
        axes = axes.replace("Z", "")
    return Rearranged(path, array, index, axes)


class Segments:
    """Planes of one or several files in tiles or strips.

    Parameters
    ----------
    path : Path
        The file that was named.
    planes : array of (page, sample)
        Which page and which of its samples each plane comes from, ``(C, 2)`` or ``(C, Z, 2)``. A page that is not among
        ``pages`` is stated by the file and not there; zeros stand for it, which nobody may take for data.
    pages : mapping of int to Coded or Raw
        How the segments of each page are read, and from which file; all of one shape.
    dtype : dtype
        Of the pixels.

    Notes
    -----
    Decoded segments are kept, 128 MiB of them, as neighbouring cuts share them. They are known by the place of their
    bytes, so that what many tiles share is decoded once.
    """

    def __init__(
        self, path: Path, planes: NDArray[np.intp], pages: Mapping[int, Coded | Raw], dtype: np.dtype[Any]
    ) -> None:
        self.path, self.planes, self.dtype = path, planes, np.dtype(dtype).newbyteorder("=")
        self._pages = dict(pages)
        first = next(iter(self._pages.values()))
        self.shape = (*planes.shape[:-1], first.height, first.width)
        self._tall, self._wide = first.segment
        self._store: OrderedDict[tuple[Any, ...], Array] = OrderedDict()
        self._held, self._lock = 0, Lock()

    def __getitem__(self, key: Any) -> Array:
        """A block, in memory; where steps leave pixels out, the whole is read nevertheless."""
        region, dropped = cut_from(key, self.shape)
        (rows, columns), chosen = region[-2:], self.planes[region[:-2]]
        shape = rows.stop - rows.start, columns.stop - columns.start
        out = np.zeros((math.prod(chosen.shape[:-1]), *shape), self.dtype)
        if out.size:
            self._fill(out, chosen.reshape(-1, 2), (rows.start, rows.stop), (columns.start, columns.stop))
        out = out.reshape(*chosen.shape[:-1], *shape)[..., :: rows.step, :: columns.step]
        return out.squeeze(dropped)

    def _fill(self, out: Array, planes: Array, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        across = -(-self.shape[-1] // self._wide)
        grid = [
            (page, down * across + along)
            for page in sorted(set(planes[:, 0].tolist()) & set(self._pages))
            for down in range(rows[0] // self._tall, (rows[1] - 1) // self._tall + 1)
            for along in range(columns[0] // self._wide, (columns[1] - 1) // self._wide + 1)
        ]

        def place(entry: tuple[int, int]) -> None:
            page, number = entry
            top, left = number // across * self._tall, number % across * self._wide
            segment = self._segment(files, page, number)
            y = slice(max(top, rows[0]), min(top + segment.shape[0], rows[1]))
            x = slice(max(left, columns[0]), min(left + segment.shape[1], columns[1]))
            source = segment[y.start - top : y.stop - top, x.start - left : x.stop - left]
            into = np.s_[y.start - rows[0] : y.stop - rows[0], x.start - columns[0] : x.stop - columns[0]]
            for plane, (owner, sample) in enumerate(planes):
                if owner == page:
                    out[plane][into] = source[..., sample]

        files: dict[Path, int] = {}
        try:
            for path in sorted({self._pages[page].path for page, _ in grid}):
                try:
                    files[path] = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
                except OSError as error:
                    raise _gone(path, error) from error
            workers = threads(_MOST_WORKERS)
            if len(grid) <= _FEW or workers == 1:
                for entry in grid:
                    place(entry)
            else:
                with ThreadPoolExecutor(workers) as pool:
                    list(pool.map(place, grid))
        finally:
            for file in files.values():
                os.close(file)

    def _segment(self, files: Mapping[Path, int], page: int, number: int) -> Array:
        """A decoded tile or strip, ``(rows, columns, samples)``."""
        owner = self._pages[page]
        try:
            name = (owner.path, *owner.place_of(number))
        except IndexError as error:
            raise _gone(owner.path, EOFError("it lists too few tiles or strips")) from error
        with self._lock:
            found = self._store.get(name)
            if found is not None:
                self._store.move_to_end(name)
                return found
        try:
            segment = owner.segment_at(files[owner.path], number)
        except Exception as error:  # decoders raise whatever damaged bytes lead them to
            raise _gone(owner.path, error) from error
        with self._lock:
            if name not in self._store:
                self._store[name] = segment
                self._held += segment.nbytes
            while self._held > _KEPT:
                self._held -= self._store.popitem(last=False)[1].nbytes
        return segment


class Coded:
    """The segments of a TIFF page, as tifffile decodes them; the tags are kept, though the file is closed.

    Parameters
    ----------
    path : Path
        The file that the page is in.
    page : tifffile.TiffPage or TiffFrame
        Of one depth, with the samples of a pixel side by side.
    """

    def __init__(self, path: Path, page: Any) -> None:
        keyframe = page.keyframe
        self.path = path
        self.height, self.width = int(keyframe.imagelength), int(keyframe.imagewidth)
        self.segment = segment_shape(page)
        self._offsets, self._counts = tuple(page.dataoffsets), tuple(page.databytecounts)
        self._options = {"jpegtables": page.jpegtables} if page.jpegtables is not None else {}
        self._decode, self._samples = keyframe.decode, int(keyframe.samplesperpixel)
        self._dtype = np.dtype(keyframe.dtype).newbyteorder("=")

    @property
    def written(self) -> NDArray[np.bool_]:
        """Which of the segments were ever written, (down, across)."""
        down, across = -(-self.height // self.segment[0]), -(-self.width // self.segment[1])
        return np.resize(np.array(self._counts) > 0, (down, across))

    def place_of(self, number: int) -> tuple[int, ...]:
        """What tells a segment from others of the file: where its bytes lie, and how much of it shows."""
        return self._offsets[number], self._counts[number], *self._size(number)

    def _size(self, number: int) -> tuple[int, int]:
        across = -(-self.width // self.segment[1])
        top, left = number // across * self.segment[0], number % across * self.segment[1]
        return min(self.segment[0], self.height - top), min(self.segment[1], self.width - left)

    def segment_at(self, file: int, number: int) -> Array:
        """A tile or strip of an open file, ``(rows, columns, samples)``."""
        height, width = self._size(number)
        data = _bytes_at(file, self._offsets[number], self._counts[number])
        if not data:
            # A tile that was never written is no data; see `Written`.
            return np.zeros((height, width, self._samples), self._dtype)
        decoded = np.asarray(self._decode(data, number, **self._options)[0])
        decoded = decoded.reshape(-1, *decoded.shape[-2:])
        if decoded.shape[0] < height or decoded.shape[1] < width:
            raise ValueError(f"a segment of {height} x {width} pixels holds {decoded.shape[0]} x {decoded.shape[1]}")
        return np.ascontiguousarray(decoded[:height, :width], self._dtype)


class Written:
    """Which pixels lie in segments that were written, as pixels of one channel that are 1 there and else 0.

    Parameters
    ----------
    written : (down, across) array of bool
        Of the segments.
    segment : (rows, columns)
        Size of each.
    shape : (Y, X)
        Of the picture.
    """

    def __init__(self, written: NDArray[np.bool_], segment: tuple[int, int], shape: tuple[int, int]) -> None:
        self.written, self.segment, self.shape, self.dtype = written, segment, (1, *shape), np.dtype(np.uint8)

    def __getitem__(self, key: Any) -> Array:
        """A block, in memory."""
        region, dropped = cut_from(key, self.shape)
        cuts = zip(region[1:], self.segment, strict=True)
        lines = [np.arange(part.start, part.stop, part.step) // size for part, size in cuts]
        block = self.written[np.ix_(*lines)][None].astype(self.dtype)
        return np.asarray(block[region[0]].squeeze(dropped))


class Raw:
    """A plane that lies in a file as it would in memory, read in strips of about a mebibyte.

    Parameters
    ----------
    path : Path
        The file.
    offset : int
        Where it begins, in bytes.
    shape : (rows, columns, samples)
        Of the plane.
    dtype : dtype
        Of the numbers, with their byte order.
    """

    def __init__(self, path: Path, offset: int, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self.path = path
        self.height, self.width, self._samples = shape
        self._offset, self._dtype = offset, np.dtype(dtype)
        self._row = self.width * self._samples * self._dtype.itemsize
        self.segment = max(1, min(_STRIP // max(self._row, 1), self.height)), self.width

    def place_of(self, number: int) -> tuple[int, ...]:
        """What tells a strip from others of the file."""
        return self._offset, number

    def segment_at(self, file: int, number: int) -> Array:
        """A strip of an open file, ``(rows, columns, samples)``."""
        top = number * self.segment[0]
        rows = min(self.segment[0], self.height - top)
        numbers = np.frombuffer(_bytes_at(file, self._offset + top * self._row, rows * self._row), self._dtype)
        return numbers.reshape(rows, self.width, self._samples).astype(self._dtype.newbyteorder("="), copy=False)


def segment_shape(page: Any) -> tuple[int, int]:
    """Rows and columns of the tiles or strips of a TIFF page."""
    keyframe = page.keyframe
    if keyframe.is_tiled:
        return int(keyframe.tilelength), int(keyframe.tilewidth)
    return min(int(keyframe.rowsperstrip), int(keyframe.imagelength)), int(keyframe.imagewidth)


def _bytes_at(file: int, offset: int, count: int) -> bytes:
    if hasattr(os, "pread"):
        data = os.pread(file, count, offset)
    else:
        # Without reads at a place, the place and the read must not be torn apart by another thread.
        with _SEEKING:
            os.lseek(file, offset, os.SEEK_SET)
            data = os.read(file, count)
    if len(data) < count:
        raise EOFError("the file ends before its pixels do")
    return data


_SEEKING = Lock()


def _gone(path: Path, error: Exception) -> ReadError:
    detail = " ".join(str(error).split())[:200] or type(error).__name__
    return ReadError(
        f"The pixels of {path} cannot be read ({detail}); the file is truncated or damaged, copy or export it again."
    )
