"""MRC, the format of electron tomography, through mrcfile.

The header gives the size of the field in angstrom; zero says that nobody filled it in. Rows are kept in the order of
the file, in which some programs draw the first one at the bottom.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order, index_of, time_index
from correlight.io.content import NOT_STATED, Content, check_size
from correlight.io.extras import losses_raised, reader

_ANGSTROM = 1e-4  # micrometres


def read_mrc(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read a plane, a volume, or the first image of a stack.

    Parameters
    ----------
    path : Path
        The file, not compressed.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        ``time`` chooses an image of a stack.
    """
    mrcfile = reader("mrcfile", "MRC files")
    with losses_raised(), mrcfile.open(path, mode="r", header_only=True) as file:
        header = file.header
        shape = (int(header.nz), int(header.ny), int(header.nx))
        dtype = np.dtype(mrcfile.utils.dtype_from_mode(header.mode))
        # By the standard a stack of images has space group 0; older programs leave it at 0 for tomograms as well.
        volume = int(header.ispg) != 0 or shape[0] == 1 or path.suffix.lower() in (".rec", ".map")
        offset = 1024 + int(header.nsymbt)
        voxel = [float(file.voxel_size[axis]) * _ANGSTROM for axis in "zyx"]
    if min(shape) < 1 or offset < 1024:
        raise ReadError(f"Expected pixels, but {path} declares the shape {shape}; export it again.")
    check_size(path, shape, dtype.itemsize)
    expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if path.stat().st_size < expected:
        raise ReadError(f"{path} is truncated: {expected} bytes were announced; copy or export it again.")
    with losses_raised(), mrcfile.mmap(path, mode="r") as file:
        pixels = np.array(file.data).reshape(shape)
    content = _chosen(path, pixels, volume, choice)
    if not calibrate:
        return content
    used = voxel[-(content.pixels.ndim - 1) :]
    spacing = calibration.checked(path, used, "header") if all(size != 0 for size in used) else None
    source = NOT_STATED if spacing is None else "MRC header"
    return Content(content.pixels, spacing=spacing, spacing_source=source, findings=content.findings)


def _chosen(path: Path, pixels: Any, volume: bool, choice: Choice) -> Content:
    choose_scene(path, [path.stem], choice)
    choose_level(path, 1, choice)
    if volume:
        time_index(path, 1, choice)
        return Content(in_order(path, "ZYX", pixels))
    index, findings = index_of(path, "TYX", pixels.shape, choice)
    # Frames of a stack are seldom a series in time, and more often tilts or sections.
    said = tuple(text.replace("frames of a time series", "images in a stack") for text in findings)
    return Content(in_order(path, "YX", pixels[index]), findings=said)
