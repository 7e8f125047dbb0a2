"""OME-TIFF: tiled, compressed, with all levels of its pyramid made in one pass over bands of rows.

A file holds its pixels channel by channel and level by level, while they come band by band. So the compressed tiles
wait in a scratch file beside the output, which has no name and is gone when the writer is.
"""

from __future__ import annotations

import hashlib
import math
import sys
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import imagecodecs
import numpy as np
import tifffile
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.display import RGB, Shown
from correlight.images.image import Pixels
from correlight.images.pyramid import Cascade, Smaller
from correlight.io.write_imagej import ranges_and_colours
from correlight.progress import threads

TILE = 256  # pixels per side
LARGE = 4096  # pixels along the longer side up to which an image needs no pyramid
SMALL = 1024  # pixels along the longer side of the last level of a pyramid
_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_BIG = 3 * 2**30  # bytes above which offsets of 32 bits may not do
_IN_MEMORY = 2**26  # bytes of compressed tiles that wait in memory before a file is made for them
_LEVEL = 1  # of zlib: on micrographs higher levels take up to twice as long, for 0 to 3 % less
_PLAIN = 256  # compressed tiles of one value that are kept
_MOST_WORKERS = 8


def write_ome_tiff(
    path: str | Path,
    pixels: Pixels,
    grid: Grid,
    channels: Sequence[str],
    *,
    rgb: bool = False,
    pyramid: Smaller | None = None,
) -> None:
    """Write channels as an OME-TIFF, in their own pixel type.

    Parameters
    ----------
    path : path
        File to write; an existing one is replaced.
    pixels : Pixels
        ``(C, Y, X)`` or ``(C, Z, Y, X)``; NumPy, zarr or Dask, cut out band by band.
    grid : Grid
        Where they lie. The pixel size is written only if the grid is calibrated.
    channels : sequence of str
        One name per channel.
    rgb : bool
        Whether the three channels are the colours of one picture.
    pyramid : {"mean", "nearest"}, optional
        Above 4096 pixels along the longer side, add levels of half the size each until 1024 are left: means of 2 x 2
        pixels, or for labels one of them. What is left over at the far edge is dropped from a level, as other programs
        do.

    Raises
    ------
    UsageError
        If shapes do not fit together or OME-TIFF has no such pixel type.
    OSError
        If the file cannot be written.
    """
    with TiffBands(path, pixels.shape, pixels.dtype, grid, channels, rgb=rgb, pyramid=pyramid) as file:
        for band in bands_of(pixels, TILE):
            file.add(band)


def bands_of(pixels: Pixels, rows: int) -> Iterator[NDArray[Any]]:
    """Pixels cut into bands of full width, ``(C, rows, X)``, slice after slice."""
    for plane in np.ndindex(*pixels.shape[1:-2]):
        for top in range(0, pixels.shape[-2], rows):
            window = slice(top, min(top + rows, pixels.shape[-2])), slice(0, pixels.shape[-1])
            yield np.asarray(pixels[(slice(None), *plane, *window)])


def check_type(dtype: np.dtype[Any]) -> None:
    """Refuse pixels of a type that OME-TIFF does not have, before any work is done.

    Raises
    ------
    UsageError
        If so; the types that there are stand in the message.
    """
    if dtype.kind != "b" and not holds_type(dtype):
        raise UsageError(f"OME-TIFF holds pixels of {', '.join(_TYPES)}; got {dtype.name}, convert them first.")


def holds_type(dtype: np.dtype[Any]) -> bool:
    """Whether OME-TIFF has such a type of pixels."""
    return dtype.name in _TYPES


class TiffBands:
    """An OME-TIFF that is written band by band; use it in a ``with`` statement, whose end completes the file.

    Parameters
    ----------
    path, grid, channels, rgb, pyramid
        As for `write_ome_tiff`.
    shape : sequence of int
        ``(C, Y, X)`` or ``(C, Z, Y, X)``.
    dtype : dtype
        Of the pixels.
    shown : sequence of Shown, optional
        The colour of each channel, and its display range, which programs of the ImageJ family read.

    Raises
    ------
    UsageError
        If shapes do not fit together or OME-TIFF has no such pixel type.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "a.ome.tif"
    ...     with TiffBands(file, (1, 40, 50), np.dtype("uint8"), Grid.of((40, 50)), ("SEM",)) as writer:
    ...         for _ in range(4):
    ...             writer.add(np.zeros((1, 10, 50), np.uint8))
    ...     tifffile.imread(file).shape
    (40, 50)
    """

    def __init__(
        self,
        path: str | Path,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        grid: Grid,
        channels: Sequence[str],
        *,
        rgb: bool = False,
        pyramid: Smaller | None = None,
        shown: Sequence[Shown] = (),
    ) -> None:
        shape, dtype = tuple(shape), np.dtype(dtype)
        if shape[1:] != grid.shape or shape[0] != len(channels):
            raise UsageError(f"Pixels of shape {shape} do not fit {len(channels)} channels on a grid of {grid.shape}.")
        if rgb and (shape[0] != 3 or grid.ndim != 2):
            raise UsageError(f"Three channels of (Y, X) make a colour image; got the shape {shape}.")
        check_type(dtype)
        dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
        self.path, self.grid, self.channels, self.rgb = Path(path), grid, tuple(channels), rgb
        self.shown = tuple(shown)
        self.dtype = dtype.newbyteorder("=")
        longer = max(shape[-2:])
        count = 0 if pyramid is None or longer <= LARGE else math.ceil(math.log2(longer / SMALL))
        self._cascade = Cascade(shape, self.dtype, pyramid or "mean", count, TILE)
        # Where each tile of a plane of a level lies in the scratch file, and how long it is.
        self._tiles: dict[tuple[int, int, int], list[tuple[int, int]]] = {}
        # Tiles of one value only, which make up most of a footprint, are compressed once.
        self._plain: dict[bytes, bytes] = {}
        self._open = ExitStack()
        scratch = tempfile.SpooledTemporaryFile(_IN_MEMORY, dir=str(self.path.parent))  # noqa: SIM115, closed with the writer
        self._scratch = self._open.enter_context(scratch)
        self._pool = self._open.enter_context(ThreadPoolExecutor(threads(_MOST_WORKERS)))
        self._predictor = self.dtype.kind != "f"
        self._content = hashlib.blake2b(digest_size=16)

    def add(self, band: NDArray[Any]) -> None:
        """Take the next rows, ``(C, rows, X)``; those of a volume slice by slice."""
        for level, plane, _, part in self._cascade.add(np.asarray(band)):
            if self.rgb:
                self._keep(level, plane, 0, np.moveaxis(part, 0, -1))
            else:
                for channel, values in enumerate(part):
                    self._keep(level, plane, channel, values)

    def _keep(self, level: int, plane: int, channel: int, rows: NDArray[Any]) -> None:
        """Compress a row of tiles; those at the far edges are padded with zeros."""

        def packed(left: int) -> bytes:
            cut = rows[:, left : left + TILE]
            same = cut.shape[:2] == (TILE, TILE) and bool((cut == cut[0, 0]).all())
            if same and cut[0, 0].tobytes() in self._plain:
                return self._plain[cut[0, 0].tobytes()]
            tile = np.zeros((TILE, TILE, *rows.shape[2:]), self.dtype)
            tile[: cut.shape[0], : cut.shape[1]] = cut
            steps = imagecodecs.delta_encode(tile, axis=1) if self._predictor else tile
            data = bytes(imagecodecs.deflate_encode(np.asarray(steps).tobytes(), level=_LEVEL))
            if same and len(self._plain) < _PLAIN:
                self._plain[cut[0, 0].tobytes()] = data
            return data

        places = self._tiles.setdefault((level, channel, plane), [])
        for data in self._pool.map(packed, range(0, rows.shape[1], TILE)):
            self._content.update(data)
            places.append((self._scratch.tell(), len(data)))
            self._scratch.write(data)

    def __enter__(self) -> TiffBands:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._open:
            if kind is None:
                self._complete()

    def _complete(self) -> None:
        shapes = self._cascade.shapes
        options: dict[str, Any] = {
            "dtype": self.dtype,
            "photometric": "rgb" if self.rgb else "minisblack",
            "planarconfig": "contig" if self.rgb else None,
            "tile": (TILE, TILE),
            "compression": "zlib",
            "predictor": self._predictor,
        }
        with tifffile.TiffWriter(self.path, ome=True, bigtiff=self._scratch.tell() > _BIG) as file:
            for level, shape in enumerate(shapes):
                here = (*shape[1:], 3) if self.rgb else shape
                first = {"subifds": len(shapes) - 1, "metadata": self._metadata(), "extratags": _shown_tags(self.shown)}
                extra: dict[str, Any] = {"subfiletype": 1} if level else first
                coarse = self.grid.shrink((*[1] * (self.grid.ndim - 2), *([2**level] * 2))) if level else self.grid
                file.write(self._packed(level), shape=here, **options, **extra, **_resolution(coarse))

    def _packed(self, level: int) -> Iterator[bytes]:
        """The compressed tiles of a level in the order of the file: channel, slice, row, column."""
        for key in sorted(key for key in self._tiles if key[0] == level):
            for offset, length in self._tiles[key]:
                self._scratch.seek(offset)
                yield self._scratch.read(length)

    def _metadata(self) -> dict[str, Any]:
        spatial = "ZYX"[-self.grid.ndim :]
        metadata: dict[str, Any] = {"axes": f"{spatial}S" if self.rgb else f"C{spatial}"}
        if self.grid.calibrated:
            for axis, size in zip(spatial, self.grid.spacing, strict=True):
                metadata[f"PhysicalSize{axis}"] = size
                metadata[f"PhysicalSize{axis}Unit"] = "µm"
        if not self.rgb:
            metadata["Channel"] = {"Name": list(self.channels)}
            if self.shown:
                metadata["Channel"]["Color"] = [_ome_colour(one.colour) for one in self.shown]
        # The identifier of the file follows from what it holds, so that the same result is the same file.
        self._content.update(repr((metadata, self.grid)).encode())
        return {**metadata, "UUID": str(uuid.UUID(bytes=self._content.digest(), version=5))}


def _ome_colour(colour: RGB) -> int:
    """Red, green, blue and full opacity as the signed number of 32 bits that OME-XML takes."""
    red, green, blue = colour
    return int(np.array([red << 24 | green << 16 | blue << 8 | 255], np.uint32).view(np.int32)[0])


def _shown_tags(shown: Sequence[Shown]) -> list[tuple[int, int, int, Any, bool]]:
    """Display ranges and colours as ImageJ keeps them: OME-XML has no place for ranges."""
    if not shown:
        return []
    byteorder: Literal["<", ">"] = ">" if sys.byteorder == "big" else "<"
    return list(tifffile.imagej_metadata_tag(ranges_and_colours(shown), byteorder))


def write_tiff(path: str | Path, array: NDArray[Any], grid: Grid, name: str = "value") -> None:
    """Write one array, such as a footprint or a map of the predicted error, as an OME-TIFF of one channel.

    Parameters
    ----------
    path : path
        File to write; an existing one is replaced.
    array : (Y, X) or (Z, Y, X) array
        uint8, bool (written as 0 and 1), float32 or another type that OME-TIFF has.
    grid : Grid
        Where it lies.
    name : str
        Name of the channel.

    Raises
    ------
    UsageError
        If the shape does not fit the grid or OME-TIFF has no such pixel type.
    OSError
        If the file cannot be written.
    """
    write_ome_tiff(path, np.asarray(array)[None], grid, (name,))


def _resolution(grid: Grid) -> dict[str, Any]:
    """The pixel size once more as resolution tags, for readers that know no OME-XML."""
    if not grid.calibrated:
        return {}
    pixels = [1e4 / step for step in (grid.spacing[-1], grid.spacing[-2])]
    # A fraction of whole numbers of 32 bits; where it does not suffice, OME-XML alone states the size.
    return {"resolution": tuple(pixels), "resolutionunit": "CENTIMETER"} if max(pixels) < 2**32 else {}
