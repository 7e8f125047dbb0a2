"""Images moved onto another grid and written band by band, with the footprint of what was really sampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image, Mask
from correlight.images.pyramid import Smaller
from correlight.images.resample import Orders, output_grid, warp, warp_bands
from correlight.io.write import TiffBands
from correlight.io.write_zarr import ZarrBands
from correlight.transforms import Transform

Progress = Callable[[float], None]
GridChoice = Literal["fixed", "moving", "none"] | float

_SLAB = 8_000_000  # voxels of a volume that are resampled at a time
_LARGEST_FILE = 2 * 2**30  # bytes of pixels; above, the registered image is a store of many files


def write_moved_volume(
    folder: Path, moving_from_fixed: Transform, fixed: Image, moving: Image, grid: GridChoice, progress: Progress | None
) -> None:
    """The registered stack as one file and as a store, which viewers of volumes want, and its footprint."""
    onto = output_grid(fixed.grid, moving.grid, moving_from_fixed, "fixed" if grid == "none" else grid)
    shape, names = (len(moving.channels), *onto.shape), moving.channels
    with ExitStack() as stack:
        writers: list[TiffBands | ZarrBands] = [
            stack.enter_context(ZarrBands(folder / "registered.ome.zarr", shape, moving.dtype, onto, names))
        ]
        path = folder / picture_name(moving, onto)
        if path.suffix != ".zarr":
            writers.append(stack.enter_context(TiffBands(path, shape, moving.dtype, onto, names)))
        mask = np.dtype(np.uint8)
        covered = stack.enter_context(TiffBands(folder / "footprint.tif", (1, *onto.shape), mask, onto, ("footprint",)))
        for done, (values, inside) in enumerate(_bands(moving, moving.grid, moving_from_fixed, onto, "linear", None)):
            for writer in writers:
                writer.add(values)
            covered.add(inside[None].view(np.uint8))
            if progress is not None:
                progress((done + 1) / onto.shape[0])


def picture_name(image: Image, onto: Grid) -> str:
    """How an image is called once it is moved onto a grid: one file, or a store where that would be too large."""
    size = len(image.channels) * math.prod(onto.shape) * image.dtype.itemsize
    return "registered.ome.zarr" if size > _LARGEST_FILE else "registered.ome.tif"


def write_moved(
    path: Path,
    footprint: Path,
    image: Image,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    *,
    order: Orders = "linear",
    mask: Mask | CoarseMask | None = None,
    progress: Progress | None = None,
) -> float:
    """Move every channel of an image and write it band by band, with its footprint.

    Parameters
    ----------
    path : Path
        The picture, OME-Zarr if its name ends in ``.zarr`` and OME-TIFF otherwise; a pyramid above 4096 pixels.
    footprint : Path
        Where it was really sampled, a TIFF of zeros and ones.
    image, image_grid, moving_from_fixed, onto, order, mask
        As for `correlight.images.resample.warp`.
    progress : callable, optional
        Told the fraction of the rows that are written.

    Returns
    -------
    float
        The share of the output that was sampled.

    Raises
    ------
    UsageError
        If the pixels do not suit the format.
    OSError
        If a file cannot be written.
    """
    told = progress or (lambda fraction: None)
    orders = (order,) if isinstance(order, str) else order
    pyramid: Smaller = "nearest" if "nearest" in orders else "mean"
    shape = (len(image.channels), *onto.shape)
    writer: TiffBands | ZarrBands
    if path.suffix == ".zarr":
        writer = ZarrBands(path, shape, image.dtype, onto, image.channels, pyramid=pyramid)
    else:
        writer = TiffBands(path, shape, image.dtype, onto, image.channels, rgb=image.rgb, pyramid=pyramid)
    sampled, total, done = 0, math.prod(onto.shape), 0
    with writer, TiffBands(footprint, (1, *onto.shape), np.dtype(np.uint8), onto, ("footprint",)) as covered:
        for values, inside in _bands(image, image_grid, moving_from_fixed, onto, order, mask):
            writer.add(values)
            covered.add(inside[None].view(np.uint8))
            sampled, done = sampled + int(np.count_nonzero(inside)), done + inside.size
            told(done / total)
    return sampled / total


def _bands(
    image: Image,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Orders,
    mask: Mask | CoarseMask | None,
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Rows of a picture, or slices of a volume, as they are made."""
    if onto.ndim == 2:
        yield from warp_bands(image, image_grid, moving_from_fixed, onto, order, mask)
        return
    # As many slices at a time as make a slab of a few million voxels.
    step = max(1, _SLAB // (onto.shape[1] * onto.shape[2]))
    for top in range(0, onto.shape[0], step):
        slab = onto.crop((top, 0, 0), (min(top + step, onto.shape[0]), *onto.shape[1:]))
        values, footprint = warp(image, image_grid, moving_from_fixed, slab, order, mask)
        yield from ((values[:, plane], footprint[plane]) for plane in range(slab.shape[0]))
