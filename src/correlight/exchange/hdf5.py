"""ITK transforms in HDF5, the form for displacement fields.

Group ``/TransformGroup/<n>`` holds ``TransformType``, ``TransformParameters`` and ``TransformFixedParameters``; in a
composite the first group is the composite itself and has a type only. Old ITK versions misspell the names of the lists.
"""

from __future__ import annotations

from collections.abc import Sequence as Seq
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from correlight.errors import ReadError, WriteError

if TYPE_CHECKING:
    from correlight.exchange.itk import Block

LIMIT = 4 * 2**30  # bytes of one list; what is declared beyond it is refused before any memory is taken
_GROUP = "TransformGroup"


def write_blocks(path: str | Path, blocks: Seq[Block]) -> None:
    """Write the blocks of a transform as ITK reads them.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    try:
        with h5py.File(path, "w") as file:
            # Readers look for these; their values say who wrote the file and decide nothing.
            for name in ("ITKVersion", "HDFVersion", "OSName", "OSVersion"):
                file[name] = np.array([b"correlight"], dtype=h5py.string_dtype("ascii"))
            for number, block in enumerate(blocks):
                group = file.create_group(f"{_GROUP}/{number}")
                name = f"{block.kind}_double_{block.ndim}_{block.ndim}"
                group["TransformType"] = np.array([name.encode()], dtype=h5py.string_dtype("ascii"))
                if block.kind != "CompositeTransform":
                    group["TransformParameters"] = block.parameters
                    group["TransformFixedParameters"] = block.fixed_parameters
    except OSError as error:
        raise WriteError(f"The transform cannot be written to {path}: {error.strerror or error}.") from error


def read_blocks(path: str | Path) -> list[Block]:
    """The blocks of an ITK transform.

    Raises
    ------
    ReadError
        If the file is damaged or holds something else.
    """
    from correlight.exchange.itk import named_block

    try:
        with h5py.File(path, "r") as file:
            if _GROUP not in file:
                raise ReadError(f"An ITK transform was expected in {path}, but the HDF5 file has no group {_GROUP}.")
            groups = file[_GROUP]
            blocks = []
            for number in range(len(groups)):
                group = groups[str(number)]
                name = np.asarray(group["TransformType"]).ravel()[0]
                text = name.decode() if isinstance(name, bytes) else str(name)
                numbers, fixed = (_list(group, which, path) for which in ("Parameters", "FixedParameters"))
                blocks.append(named_block(text, numbers, fixed, path))
    except ReadError:
        raise
    except (OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError, AttributeError) as error:
        detail = " ".join(str(error).split())
        raise ReadError(f"{path} is truncated or no ITK transform ({detail}); copy or export it again.") from error
    return blocks


def _list(group: Any, name: str, path: str | Path) -> Any:
    """One list of numbers, under its name or the misspelt one; empty where there is none."""
    for prefix in ("Transform", "Tranform"):
        if prefix + name in group:
            data = group[prefix + name]
            if data.size * 8 > LIMIT:
                raise ReadError(f"{path} declares {data.size * 8 / 2**30:,.1f} GiB of numbers; shrink the field first.")
            return np.asarray(data[()], float).ravel()
    return np.zeros(0)
