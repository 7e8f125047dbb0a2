"""OME-TIFF: tiled, compressed, written tile by tile, so that pixels need not be in memory."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.image import Pixels

TILE = 256  # pixels per side
LARGE = 4096  # pixels along the longer side up to which a picture needs no pyramid
SMALL = 1024  # pixels along the longer side of the last level of a pyramid
Smaller = Literal["mean", "nearest"]
_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_BIG = 3 * 2**30  # bytes above which offsets of 32 bits may not do


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
        ``(C, Y, X)`` or ``(C, Z, Y, X)``; NumPy, zarr or Dask, cut out tile by tile.
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
    shape, dtype = tuple(pixels.shape), np.dtype(pixels.dtype)
    if shape[1:] != grid.shape or shape[0] != len(channels):
        raise UsageError(f"Pixels of shape {shape} do not fit {len(channels)} channels on a grid of {grid.shape}.")
    if rgb and (shape[0] != 3 or grid.ndim != 2):
        raise UsageError(f"Three channels of (Y, X) make a picture in colours; got the shape {shape}.")
    dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
    if dtype.name not in _TYPES:
        raise UsageError(f"OME-TIFF holds pixels of {', '.join(_TYPES)}; got {dtype.name}, convert them first.")
    spatial = "ZYX"[-grid.ndim :]
    metadata: dict[str, Any] = {"axes": f"{spatial}S" if rgb else f"C{spatial}"}
    if grid.calibrated:
        for axis, size in zip(spatial, grid.spacing, strict=True):
            metadata[f"PhysicalSize{axis}"] = size
            metadata[f"PhysicalSize{axis}Unit"] = "µm"
    if not rgb:
        metadata["Channel"] = {"Name": list(channels)}
    longer = max(shape[-2:])
    count = 0 if pyramid is None or longer <= LARGE else math.ceil(math.log2(longer / SMALL))
    options: dict[str, Any] = {
        "dtype": dtype,
        "photometric": "rgb" if rgb else "minisblack",
        "planarconfig": "contig" if rgb else None,
        "tile": (TILE, TILE),
        "compression": "zlib",
        "predictor": dtype.kind != "f",
        "maxworkers": 1,
    }
    # A pyramid takes a third more.
    big = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize * (4 / 3 if count else 1) > _BIG
    with tifffile.TiffWriter(path, ome=True, bigtiff=big) as file:
        for level in range(count + 1):
            smaller = Shrunk(pixels, 2**level, pyramid or "mean")
            here = (*smaller.shape[1:], 3) if rgb else smaller.shape
            extra: dict[str, Any] = {"subfiletype": 1} if level else {"subifds": count, "metadata": metadata}
            coarse = grid if level == 0 else grid.shrink((*[1] * (grid.ndim - 2), 2**level, 2**level))
            file.write(_tiles(smaller, dtype, rgb), shape=here, **options, **extra, **_resolution(coarse))


class Shrunk:
    """Pixels of a level of a pyramid, made from those of the full resolution when they are cut out.

    Parameters
    ----------
    pixels : Pixels
        ``(C, Y, X)`` or ``(C, Z, Y, X)``.
    factor : int
        How many pixels become one along rows and columns.
    how : {"mean", "nearest"}
        Means of blocks, or one pixel of each for labels.
    """

    _ROWS = 1024  # rows of the full resolution that are held at a time

    def __init__(self, pixels: Pixels, factor: int, how: Smaller) -> None:
        self.pixels, self.factor, self.how = pixels, factor, how
        self.shape = (*pixels.shape[:-2], *(max(1, n // factor) for n in pixels.shape[-2:]))
        self.dtype = np.dtype(pixels.dtype)

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """A block of pixels; the last two entries of the key are slices with both ends."""
        f, (rows, columns) = self.factor, key[-2:]
        if f == 1:
            return np.asarray(self.pixels[key])
        step = max(1, self._ROWS // f)
        parts = []
        for top in range(rows.start, rows.stop, step):
            bottom = min(top + step, rows.stop)
            region = (*key[:-2], slice(top * f, bottom * f), slice(columns.start * f, columns.stop * f))
            parts.append(self._block(np.asarray(self.pixels[region])))
        return np.concatenate(parts, axis=-2)

    def _block(self, source: NDArray[Any]) -> NDArray[Any]:
        f = self.factor
        if self.how == "nearest":
            return np.asarray(source[..., f // 2 :: f, f // 2 :: f])
        height, width = source.shape[-2] // f, source.shape[-1] // f
        split = source.reshape(*source.shape[:-2], height, f, width, f)
        means: NDArray[Any] = split.mean(axis=(-3, -1), dtype=np.float64)
        return means if self.dtype.kind == "f" else np.asarray(np.rint(means))


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


def _tiles(pixels: Pixels, dtype: np.dtype[Any], rgb: bool) -> Iterator[NDArray[Any]]:
    """Tiles in the order of the file: channel, slice, row, column; those at the far edges padded with zeros."""
    height, width = pixels.shape[-2:]
    planes = [()] if rgb else list(np.ndindex(pixels.shape[:-2]))
    for plane in planes:
        for y in range(0, height, TILE):
            for x in range(0, width, TILE):
                window = (slice(y, min(y + TILE, height)), slice(x, min(x + TILE, width)))
                block = np.asarray(pixels[(slice(None), *window) if rgb else (*plane, *window)]).astype(dtype)
                tile = np.zeros((TILE, TILE, 3) if rgb else (TILE, TILE), dtype)
                tile[: window[0].stop - y, : window[1].stop - x] = np.moveaxis(block, 0, -1) if rgb else block
                yield tile


def _resolution(grid: Grid) -> dict[str, Any]:
    """The pixel size once more as resolution tags, for readers that know no OME-XML."""
    if not grid.calibrated:
        return {}
    y, x = grid.spacing[-2:]
    return {"resolution": (1e4 / x, 1e4 / y), "resolutionunit": "CENTIMETER"}
