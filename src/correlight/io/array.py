"""NumPy ``.npy`` files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from correlight.errors import ReadError
from correlight.io.content import LIMIT, ON_DISK, Content, check_size, from_samples, large
from correlight.io.ondisk import Flat, left_on_disk

_CHANNELS = 16  # a longer first axis of three is a stack of unknown meaning, not channels


def read_npy(path: Path, *, calibrate: bool = True) -> Content:
    """Read an array of shape ``(Y, X)``, ``(C, Y, X)`` with at most 16 channels, ``(Y, X, 3)`` or ``(Y, X, 4)``.

    The format holds no pixel size, so ``calibrate`` changes nothing. Objects are never unpickled.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, backwards, dtype = header(file)
        if dtype.kind not in "buif":
            raise ReadError(f"Expected real numbers as pixels, but {path} holds {dtype}; save them as numbers first.")
        planes = len(shape) == 2 or (len(shape) == 3 and shape[0] <= _CHANNELS and shape[-1] > 4)
        lazily = large(shape, dtype.itemsize) and planes and not backwards
        check_size(path, shape, dtype.itemsize, ON_DISK if lazily else LIMIT)
        offset = file.tell()
        expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        if path.stat().st_size < expected:
            raise ReadError(
                f"{path} is truncated: its header announces {expected} bytes, it has {path.stat().st_size}; "
                "copy or export it again."
            )
        if lazily:
            return Content(
                left_on_disk(path, Flat(path, offset, shape, dtype), (slice(None),) * len(shape), "CYX"[-len(shape) :])
            )
        file.seek(0)
        array = np.lib.format.read_array(file, allow_pickle=False)
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.ndim == 2:
        return Content(np.ascontiguousarray(array)[None])
    if array.ndim == 3 and array.shape[-1] in (3, 4) and array.dtype.kind == "u":
        return from_samples(array)
    if array.ndim == 3 and array.shape[0] <= _CHANNELS:
        return Content(np.ascontiguousarray(array))
    raise ReadError(
        f"Expected an array of shape (Y, X), (C, Y, X) with at most {_CHANNELS} channels or (Y, X, 3), but {path} "
        f"has {array.shape}; save a single picture."
    )
