"""NumPy ``.npy`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from correlight.errors import ReadError
from correlight.io.axes import FIRST, Selection, choose_level, choose_scene, time_index
from correlight.io.content import LIMIT, ON_DISK, Content, check_size, from_samples, large
from correlight.io.ondisk import Flat, left_on_disk
from correlight.parsing import open_regular

KNOWS = ("scene", "time")
_CHANNELS = 16  # a longer first axis of three is a stack of unknown meaning, not channels


def read_npy(path: Path, *, calibrate: bool = True, choice: Selection = FIRST) -> Content:
    """Read an array of shape ``(Y, X)``, ``(C, Y, X)`` with at most 16 channels, ``(Y, X, 3)`` or ``(Y, X, 4)``.

    Where the caller gives three pixel sizes, the last three axes are those of space: ``(Z, Y, X)`` or ``(C, Z, Y, X)``.
    The format holds no pixel size, so ``calibrate`` changes nothing. Objects are never unpickled.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Of no effect.
    choice : Selection
        Of which only the number of axes of space says anything; the file holds one array.

    Raises
    ------
    ReadError
        If the file is truncated, holds anything but real numbers, or has another shape.
    UsageError
        If anything but the one array is asked for.
    """
    choose_scene(path, [path.stem], choice)
    choose_level(path, 1, choice)
    time_index(path, 1, choice)
    with open_regular(path, "an image file") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, backwards, dtype = header(file)
        if dtype.kind not in "buif":
            raise ReadError(f"Expected real numbers as pixels, but {path} holds {dtype}; save them as numbers first.")
        axes = _axes(path, shape, dtype, choice.ndim)
        lazily = large(shape, dtype.itemsize) and "S" not in axes and not backwards
        check_size(path, shape, dtype.itemsize, ON_DISK if lazily else LIMIT)
        offset = file.tell()
        expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if path.stat().st_size < expected:
            raise ReadError(
                f"{path} is truncated: its header announces {expected} bytes, it has {path.stat().st_size}; "
                "copy or export it again."
            )
        if lazily:
            return Content(left_on_disk(path, Flat(path, offset, shape, dtype), (slice(None),) * len(shape), axes))
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if "S" in axes:
        return from_samples(array)
    return Content(np.ascontiguousarray(array if "C" in axes else array[None]))


def _axes(path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic], ndim: int | None) -> str:
    """A letter for each axis of the array."""
    if ndim == 3 and len(shape) in (3, 4) and shape[-3] > 1:
        return "CZYX"[-len(shape) :]
    if len(shape) == 2:
        return "YX"
    if len(shape) == 3 and shape[-1] in (3, 4) and dtype.kind == "u":
        return "YXS"
    if len(shape) == 3 and shape[0] <= _CHANNELS:
        return "CYX"
    raise ReadError(
        f"Expected an array of shape (Y, X), (C, Y, X) with at most {_CHANNELS} channels or (Y, X, 3), but {path} "
        f"has {shape}; save a single image, or give three pixel sizes if it is a volume."
    )
