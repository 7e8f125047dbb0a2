"""Reads the numbers of HDF5 or Zarr in a process of its own, and hands them to the process that asked.

The libraries behind both formats are written in C and may be led by a few wrong bytes to run for ever, to ask for all
memory or to crash. In here that costs a process with limits. The protocol is one line of JSON on standard output,
followed by the bytes of the arrays that it lists, as float64. This file is run as a script and imports nothing of the
package.
"""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import Any

MEMORY = 6 * 2**30  # bytes of addresses, of which the libraries themselves take one or two


class Refused(Exception):
    """The file holds what is not read; the text goes into the sentence for the user."""


def main(kind: str, path: str, limit: int, seconds: int) -> None:
    """Read ``path`` and write what it holds to standard output."""
    _bound(seconds)
    out = sys.stdout.buffer
    try:
        header, arrays = (_hdf5 if kind == "hdf5" else _zarr)(path, limit)
    except Refused as error:
        out.write(json.dumps({"refused": str(error)}).encode() + b"\n")
        return
    except Exception as error:
        detail = " ".join(str(error).split())[:200] or type(error).__name__
        out.write(json.dumps({"damaged": detail}).encode() + b"\n")
        return
    out.write(json.dumps({**header, "shapes": [list(array.shape) for array in arrays]}).encode() + b"\n")
    for array in arrays:
        if array.size:
            out.write(memoryview(array).cast("B"))


def _bound(seconds: int) -> None:
    """Limit processor time and memory where the system can; the caller limits the time by the clock besides."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _hdf5(path: str, limit: int) -> tuple[dict[str, Any], list[Any]]:
    import h5py

    names, arrays = [], []
    with h5py.File(path, "r", locking=False) as file:
        if "TransformGroup" not in file:
            raise Refused("the HDF5 file has no group TransformGroup")
        groups = _member(file, "TransformGroup", h5py.Group)
        if len(groups) > 1000:
            raise Refused(f"it lists {len(groups):,} transforms")
        for number in range(len(groups)):
            group = _member(groups, str(number), h5py.Group)
            name = _numbers(group, "TransformType", limit, text=True)
            names.append(name.decode() if isinstance(name, bytes) else str(name))
            for which in ("Parameters", "FixedParameters"):
                # Old versions of ITK misspell the names.
                found = next((f"{start}{which}" for start in ("Transform", "Tranform") if start + which in group), None)
                numbers = _numbers(group, found, limit)
                limit -= numbers.nbytes
                arrays.append(numbers)
    return {"names": names}, arrays


def _member(group: Any, name: str, kind: type) -> Any:
    """A member that lies in the file itself."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise Refused(f"{name} is a link to another place, which is not followed")
    found = group[name]
    if not isinstance(found, kind):
        raise Refused(f"{name} is not what it is in files of ITK")
    return found


def _numbers(group: Any, name: str | None, limit: int, *, text: bool = False) -> Any:
    """One list of numbers, or the text that names a transform; empty where there is none."""
    import h5py
    import numpy as np

    if name is None:
        return np.zeros(0)
    data = _member(group, name, h5py.Dataset)
    if data.external or data.is_virtual:
        raise Refused(f"{name} lies in another file, which is not read")
    if any(code not in (1, 2, 3) for code in _filters(data)):  # deflate, shuffle, checksum
        raise Refused(f"{name} is compressed with a filter that ITK does not use")
    pieces = [data.size, int(np.prod(data.chunks, dtype=float)) if data.chunks else 0]
    if max(pieces) * max(8, data.dtype.itemsize) > limit:
        raise Refused(f"it declares {max(pieces) * 8 / 2**30:,.2f} GiB of numbers, more than is read")
    if text:
        if data.size != 1 or data.dtype.itemsize > 256:
            raise Refused("a transform has no name of its class")
        return np.asarray(data[()]).ravel()[0]
    if data.dtype.kind not in "fiu":
        raise Refused(f"{name} is no list of numbers")
    return np.ascontiguousarray(np.asarray(data[()], np.float64).ravel())


def _filters(data: Any) -> list[int]:
    properties = data.id.get_create_plist()
    return [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]


def _zarr(path: str, limit: int) -> tuple[dict[str, Any], list[Any]]:
    import numpy as np
    import zarr

    array: Any = zarr.open_array(path, mode="r", zarr_format=3)
    if array.dtype.kind != "f":
        raise Refused("a field of real numbers was expected")
    if max(array.size, int(np.prod(array.chunks, dtype=float))) * 8 > limit:
        raise Refused(f"it declares {array.size * 8 / 2**30:,.2f} GiB of numbers, more than is read")
    return {}, [np.ascontiguousarray(np.asarray(array[...], np.float64))]


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
