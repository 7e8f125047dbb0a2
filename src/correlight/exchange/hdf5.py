"""ITK transforms in HDF5, the form for displacement fields.

Group ``/TransformGroup/<n>`` holds ``TransformType``, ``TransformParameters`` and ``TransformFixedParameters``; in a
composite the first group is the composite itself and has a type only. Old ITK versions misspell the names of the lists.
"""

from __future__ import annotations

from collections import abc
from pathlib import Path

import h5py
import numpy as np

from correlight.errors import WriteError
from correlight.exchange.blocks import COMPOSITE, Block, named_block
from correlight.exchange.bounded import read_arrays
from correlight.parsing import open_regular

_GROUP, _EXPECTED = "TransformGroup", "an ITK transform in HDF5"


def write_blocks(path: str | Path, blocks: abc.Sequence[Block]) -> None:
    """Write the blocks of a transform as ITK reads them.

    The file is made in memory and written in one piece: where a disk is full, HDF5 itself takes the process down.

    Raises
    ------
    WriteError
        If the file cannot be written; nothing is left of it then.
    """
    with h5py.File("transform.h5", "w", driver="core", backing_store=False) as file:
        # Readers look for these; their values say who wrote the file and decide nothing.
        for name in ("ITKVersion", "HDFVersion", "OSName", "OSVersion"):
            file[name] = np.array([b"correlight"], dtype=h5py.string_dtype("ascii"))
        for number, block in enumerate(blocks):
            group = file.create_group(f"{_GROUP}/{number}")
            name = f"{block.kind}_double_{block.ndim}_{block.ndim}"
            group["TransformType"] = np.array([name.encode()], dtype=h5py.string_dtype("ascii"))
            if block.kind != COMPOSITE:
                group["TransformParameters"] = block.parameters
                group["TransformFixedParameters"] = block.fixed_parameters
        file.flush()
        data = file.id.get_file_image()
    target = Path(path)
    try:
        target.write_bytes(data)
    except OSError as error:
        if target.is_file():
            target.unlink()
        raise WriteError(f"The transform cannot be written to {path}: {error.strerror or error}.") from error


def read_blocks(path: str | Path) -> list[Block]:
    """The blocks of an ITK transform.

    Raises
    ------
    ReadError
        If the file is damaged, holds something else, refers to other files, or is more than can be read.
    """
    with open_regular(path, _EXPECTED) as stream:
        size = stream.seek(0, 2)
    header, arrays = read_arrays(path, "hdf5", _EXPECTED, size)
    names = header["names"]
    return [named_block(name, arrays[2 * number], arrays[2 * number + 1], path) for number, name in enumerate(names)]
