"""OME-TIFF: tiled, compressed, written tile by tile, so that pixels need not be in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.image import Pixels

TILE = 256  # pixels per side
_TYPES = ("uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64")
_BIG = 3 * 2**30  # bytes above which offsets of 32 bits may not do


def write_ome_tiff(path: str | Path, pixels: Pixels, grid: Grid, channels: Sequence[str], *, rgb: bool = False) -> None:
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
    tifffile.imwrite(
        path,
        _tiles(pixels, dtype, rgb),
        shape=(*shape[1:], 3) if rgb else shape,
        dtype=dtype,
        ome=True,
        bigtiff=int(np.prod(shape, dtype=np.int64)) * dtype.itemsize > _BIG,
        photometric="rgb" if rgb else "minisblack",
        planarconfig="contig" if rgb else None,
        tile=(TILE, TILE),
        compression="zlib",
        predictor=dtype.kind != "f",
        metadata=metadata,
        maxworkers=1,
        **_resolution(grid),
    )


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
