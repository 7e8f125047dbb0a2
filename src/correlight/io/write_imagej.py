"""TIFF as ImageJ itself writes it: one block of pixels, with the colour and the display range of every channel."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.display import Shown

_TYPES = ("uint8", "uint16", "float32")
# More channels ImageJ shows one at a time.
_MOST_TOGETHER = 7


def imagej_holds(dtype: np.dtype[Any]) -> bool:
    """Whether ImageJ has such a type of pixels."""
    return dtype.name in _TYPES


class ImageJBands:
    """A TIFF of ImageJ that is written band by band; use it in a ``with`` statement, whose end completes the file.

    Parameters
    ----------
    path : path
        File to write; an existing one is replaced.
    shape : sequence of int
        ``(C, Y, X)`` or ``(C, Z, Y, X)``.
    dtype : dtype
        Of the pixels, one that `imagej_holds`.
    grid : Grid
        Where they lie. The pixel size is written only if the grid is calibrated.
    channels : sequence of str
        One name per channel.
    shown : sequence of Shown
        The colour and the display range of each channel.

    Raises
    ------
    OSError
        If the file cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        grid: Grid,
        channels: Sequence[str],
        *,
        shown: Sequence[Shown],
    ) -> None:
        self._options = _options(grid, channels, shown)
        # A slice holds all channels; bands come slice by slice.
        self._shape = (*shape[1:-2], shape[0], *shape[-2:])
        self._path, self._dtype = Path(path), dtype
        self._plane, self._row, self._first = 0, 0, 0
        self._open = ExitStack()
        self._file: IO[bytes] | None = None

    def add(self, band: NDArray[Any]) -> None:
        """Take the next rows, ``(C, rows, X)``; those of a volume slice by slice."""
        assert self._file is not None
        rows, width = self._shape[-2:]
        for channel, values in enumerate(band):
            pixel = ((self._plane + channel) * rows + self._row) * width
            self._file.seek(self._first + pixel * self._dtype.itemsize)
            self._file.write(np.ascontiguousarray(values, self._dtype).data)
        self._row += band.shape[1]
        if self._row == rows:
            self._plane, self._row = self._plane + len(band), 0

    def __enter__(self) -> ImageJBands:
        tifffile.imwrite(self._path, shape=self._shape, dtype=self._dtype, imagej=True, **self._options)
        with tifffile.TiffFile(self._path) as file:
            self._first = int(file.series[0].dataoffset or 0)
            self._dtype = self._dtype.newbyteorder(file.byteorder)
        # Not mapped into memory: there, a disk that is full ends the process.
        self._file = self._open.enter_context(self._path.open("r+b"))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


def ranges_and_colours(shown: Sequence[Shown]) -> dict[str, Any]:
    """Display ranges and colours of channels as ImageJ keeps them in its tags."""
    ramp = np.arange(256, dtype=np.uint16)
    return {
        "Ranges": tuple(limit for one in shown for limit in (one.low, one.high)),
        "LUTs": [np.stack([ramp * part // 255 for part in one.colour]).astype(np.uint8) for one in shown],
    }


def _options(grid: Grid, channels: Sequence[str], shown: Sequence[Shown]) -> dict[str, Any]:
    """What ImageJ reads of pixel sizes, names, colours and ranges."""
    slices = grid.shape[0] if grid.ndim == 3 else 1
    metadata: dict[str, Any] = {
        "axes": "ZCYX" if grid.ndim == 3 else "CYX",
        "mode": "composite" if len(channels) <= _MOST_TOGETHER else "color",
        **ranges_and_colours(shown),
        "Labels": list(channels) * slices,
    }
    if not grid.calibrated:
        return {"metadata": metadata}
    metadata["unit"] = "micron"
    if grid.ndim == 3:
        metadata["spacing"] = grid.spacing[0]
    return {"metadata": metadata, "resolution": (1 / grid.spacing[-1], 1 / grid.spacing[-2])}
