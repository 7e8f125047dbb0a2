"""OME-Zarr 0.5: for images too large for one file, written band by band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.display import GREY, Shown
from correlight.images.image import Pixels
from correlight.images.pyramid import Cascade, Smaller
from correlight.io.write import SMALL, bands_of

CHUNK = 512  # pixels per side


def write_ome_zarr(
    path: str | Path, pixels: Pixels, grid: Grid, channels: Sequence[str], *, pyramid: Smaller = "mean"
) -> None:
    """Write channels as a pyramid in OME-Zarr 0.5, in their own pixel type.

    Parameters
    ----------
    path : path
        The folder to write, usually ending in ``.ome.zarr``; an existing store is replaced.
    pixels : Pixels
        ``(C, Y, X)`` or ``(C, Z, Y, X)``; NumPy, zarr or Dask, cut out band by band.
    grid : Grid
        Where they lie. The axes have a unit only if the grid is calibrated.
    channels : sequence of str
        One name per channel. The colours of an image are three channels.
    pyramid : {"mean", "nearest"}
        How levels of half the size are made until 1024 pixels are left along the longer side; "nearest" for labels.

    Raises
    ------
    UsageError
        If shapes do not fit together or the pixels are no real numbers.
    OSError
        If the folder cannot be written.
    """
    with ZarrBands(path, pixels.shape, pixels.dtype, grid, channels, pyramid=pyramid) as store:
        for band in bands_of(pixels, CHUNK):
            store.add(band)


class ZarrBands:
    """A store of OME-Zarr 0.5 that is written band by band; use it in a ``with`` statement, whose end completes it.

    Parameters
    ----------
    path, grid, channels, pyramid
        As for `write_ome_zarr`.
    shape : sequence of int
        ``(C, Y, X)`` or ``(C, Z, Y, X)``.
    dtype : dtype
        Of the pixels.
    shown : sequence of Shown, optional
        Colour and display range of each channel; white, and all values of the type, without.

    Raises
    ------
    UsageError
        If shapes do not fit together or the pixels are no real numbers.
    OSError
        If the folder cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        grid: Grid,
        channels: Sequence[str],
        *,
        pyramid: Smaller = "mean",
        shown: Sequence[Shown] = (),
    ) -> None:
        shape, dtype = tuple(shape), np.dtype(dtype)
        if shape[1:] != grid.shape or shape[0] != len(channels):
            raise UsageError(f"Pixels of shape {shape} do not fit {len(channels)} channels on a grid of {grid.shape}.")
        dtype = np.dtype(np.uint8) if dtype.kind == "b" else dtype
        if dtype.kind not in "uif":
            raise UsageError(f"OME-Zarr holds pixels of real numbers; got {dtype.name}, convert them first.")
        import zarr  # a quarter of a second, which only images this large should cost

        self.path, self.grid, self.channels, self.dtype = Path(path), grid, tuple(channels), dtype
        low, high = _window(dtype)
        self.shown = tuple(shown) or (Shown(GREY, low, high),) * shape[0]
        count = max(0, math.ceil(math.log2(max(shape[-2:]) / SMALL)))
        self._cascade = Cascade(shape, dtype, pyramid, count, CHUNK)
        self._group = zarr.open_group(str(path), mode="w", zarr_format=3)
        self._arrays = [_array(self._group, level, here, dtype) for level, here in enumerate(self._cascade.shapes)]

    def add(self, band: NDArray[Any]) -> None:
        """Take the next rows, ``(C, rows, X)``; those of a volume slice by slice."""
        for level, plane, row, part in self._cascade.add(np.asarray(band)):
            slices = (plane,) if len(self._arrays[level].shape) == 4 else ()
            self._arrays[level][(slice(None), *slices, slice(row, row + part.shape[1]))] = part

    def __enter__(self) -> ZarrBands:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._group.attrs["ome"] = {
                "version": "0.5",
                "multiscales": [_image(self.path, self.grid, len(self._arrays) - 1)],
                "omero": {"channels": [self._channel(*one) for one in zip(self.channels, self.shown, strict=True)]},
            }

    def _channel(self, name: str, shown: Shown) -> dict[str, Any]:
        """How viewers show a channel at first."""
        low, high = _window(self.dtype)
        # Of real numbers no type says how far they go.
        low, high = min(low, shown.low), max(high, shown.high)
        window = {"min": low, "max": high, "start": shown.low, "end": shown.high}
        return {"label": name, "color": "{:02X}{:02X}{:02X}".format(*shown.colour), "active": True, "window": window}


def _array(group: Any, level: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    chunks = (*[1] * (len(shape) - 2), *(min(CHUNK, n) for n in shape[-2:]))
    names = ["c", *"zyx"[1 - len(shape) :]]
    return group.create_array(str(level), shape=shape, chunks=chunks, dtype=dtype, dimension_names=names)


def _image(path: str | Path, grid: Grid, count: int) -> dict[str, Any]:
    """The description of the pyramid: axes, and where the first pixel of each level lies."""
    datasets = []
    for level in range(count + 1):
        here = grid.shrink((*[1] * (grid.ndim - 2), 2**level, 2**level))
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": [1.0, *here.spacing]}]
        if any(here.origin):
            steps.append({"type": "translation", "translation": [0.0, *here.origin]})
        datasets.append({"path": str(level), "coordinateTransformations": steps})
    unit = {"unit": "micrometer"} if grid.calibrated else {}
    axes = [{"name": "c", "type": "channel"}, *({"name": n, "type": "space", **unit} for n in "zyx"[-grid.ndim :])]
    return {"name": Path(path).name.partition(".")[0], "axes": axes, "datasets": datasets}


def _window(dtype: np.dtype[Any]) -> tuple[float, float]:
    """The grey values that viewers show at first."""
    if dtype.kind == "f":
        return 0.0, 1.0
    limits = np.iinfo(dtype)
    return float(limits.min), float(limits.max)
