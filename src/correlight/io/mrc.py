"""MRC, the format of electron tomography, through mrcfile.

The header gives the size of the field in angstrom; zero says that nobody filled it in. Rows are kept in the order of
the file, in which some programs draw the first one at the bottom.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order, index_of, time_index
from correlight.io.content import LIMIT, NOT_STATED, ON_DISK, Content, check_size, large
from correlight.io.extras import losses_raised, reader
from correlight.io.ondisk import Flat, left_on_disk

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
        stored = dtype.newbyteorder(header.mode.dtype.byteorder)
        voxel = [float(file.voxel_size[axis]) * _ANGSTROM for axis in "zyx"]
    if min(shape) < 1 or offset < 1024:
        raise ReadError(f"Expected pixels, but {path} declares the shape {shape}; export it again.")
    lazily = large(shape[int(not volume) :], dtype.itemsize) and dtype.kind in "uif"
    check_size(path, shape, dtype.itemsize, ON_DISK if lazily else LIMIT)
    expected = offset + int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if path.stat().st_size < expected:
        raise ReadError(f"{path} is truncated: {expected} bytes were announced; copy or export it again.")
    content = _chosen(path, Flat(path, offset, shape, stored), volume, choice, lazily)
    if not calibrate:
        return content
    used = voxel[-content.ndim :]
    spacing = calibration.checked(path, used, "header") if all(size != 0 for size in used) else None
    source = NOT_STATED if spacing is None else "MRC header"
    return Content(content.pixels, spacing=spacing, spacing_source=source, findings=content.findings)


def _chosen(path: Path, whole: Flat, volume: bool, choice: Choice, lazily: bool) -> Content:
    choose_scene(path, [path.stem], choice)
    choose_level(path, 1, choice)
    if volume:
        time_index(path, 1, choice)
        index, said = (slice(None),) * 3, tuple[str, ...]()
    else:
        index, findings = index_of(path, "TYX", whole.shape, choice)
        # Frames of a stack are seldom a series in time, and more often tilts or sections.
        said = tuple(text.replace("frames of a time series", "images in a stack") for text in findings)
    axes = "ZYX" if volume else "YX"
    return Content(
        left_on_disk(path, whole, index, axes) if lazily else in_order(path, axes, whole[index]), findings=said
    )
