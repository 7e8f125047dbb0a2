"""Images moved onto another grid and written band by band, with the footprint of what was really sampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image, Mask
from correlight.images.pyramid import Smaller
from correlight.images.resample import Orders, Resampling, warp
from correlight.io.write import TiffBands
from correlight.io.write_zarr import ZarrBands
from correlight.output.section import filling, flat, is_section
from correlight.transforms import Transform

Progress = Callable[[float], None]

MOST_PIXELS = 2**32  # numbers in all channels of an output that is finer than the fixed image
_SLAB = 8_000_000  # voxels of a volume that are resampled at a time
_LARGEST_FILE = 2 * 2**30  # bytes of pixels; above, the registered image is a store of many files


def write_moved_volume(
    folder: Path,
    image: Image,
    moving_from_fixed: Transform,
    onto: Grid,
    *,
    order: Orders = "linear",
    progress: Progress | None = None,
) -> None:
    """Move a stack, and write it as one file and as a store, which viewers of volumes want, with its footprint.

    Parameters
    ----------
    folder : Path
        Where the files go.
    image : Image
        The moving stack, or a section.
    moving_from_fixed : Transform
        Of three axes.
    onto : Grid
        The voxels of the output.
    order : {"linear", "nearest"} or sequence of these
        Interpolation of all channels, or of each.
    progress : callable, optional
        Called with the fraction that is written.

    Raises
    ------
    UsageError
        If the pixels do not suit the format.
    OSError
        If a file cannot be written.
    """
    paths = [folder / "registered.ome.zarr"]
    if picture_name(image, onto) != paths[0].name:
        paths.append(folder / picture_name(image, onto))
    with ExitStack() as stack:
        writers = [_writer(path, image, onto, order) for path in paths]
        for writer in writers:
            stack.enter_context(writer)
        covered = folder / "footprint.tif"
        _write_bands(writers, covered, image, image.grid, moving_from_fixed, onto, order, None, progress)


def halves(progress: Progress | None, both: bool) -> tuple[Progress | None, Progress | None]:
    """What tells the progress of two outputs, half of the whole each; of either alone where there are not both."""
    if progress is None or not both:
        return progress, progress
    return (lambda part: progress(part / 2)), (lambda part: progress(0.5 + part / 2))


def output_pixels(fixed: Image, size: float) -> float:
    """How many pixels of a size in micrometres the field of an image in the plane takes, by slices of a stack."""
    slices = fixed.grid.shape[0] if fixed.ndim == 3 else 1
    # In floating point, where nothing overflows however small the pixels are.
    return slices * math.prod(float(length) / size for length in fixed.grid.extent[-2:])


def must_be_bounded(pixels: float, moving: Image) -> None:
    """Refuse an output that would take hours to write; what the fixed image has itself is never too much.

    Raises
    ------
    UsageError
        If there would be more than 4,294,967,296 numbers in all channels.
    """
    if pixels * len(moving.channels) > MOST_PIXELS:
        raise UsageError(
            f"The registered image would have {pixels:.3g} pixels in {len(moving.channels)} channels, and at most "
            f"{MOST_PIXELS:,} are written; choose a coarser grid, or that of the fixed image."
        )


def picture_name(image: Image, onto: Grid) -> str:
    """How an image is called once it is moved onto a grid: one file, or a store where that would be too large."""
    size = len(image.channels) * math.prod(onto.shape) * image.dtype.itemsize
    return "registered.ome.tif" if fits_in_a_file(size) else "registered.ome.zarr"


def fits_in_a_file(size: int) -> bool:
    """Whether so many bytes of pixels are written as one file; what is larger becomes a store of many."""
    return size <= _LARGEST_FILE


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
        The image or stack, OME-Zarr if its name ends in ``.zarr`` and OME-TIFF otherwise; a pyramid above 4096
        pixels.
    footprint : Path
        Where it was really sampled, a TIFF of zeros and ones.
    image, image_grid, moving_from_fixed, onto, order, mask
        As for `correlight.images.resample.warp`.
    progress : callable, optional
        Called with the fraction of the rows that are written.

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
    with _writer(path, image, onto, order) as writer:
        return _write_bands([writer], footprint, image, image_grid, moving_from_fixed, onto, order, mask, progress)


def _writer(path: Path, image: Image, onto: Grid, order: Orders) -> TiffBands | ZarrBands:
    """What writes an image that is moved onto a grid; the plane of a section is written as a flat image."""
    onto = flat(onto)
    shape = (len(image.channels), *onto.shape)
    # A level whose pixels are means would show labels that there are not.
    pyramid: Smaller = "nearest" if "nearest" in ((order,) if isinstance(order, str) else order) else "mean"
    if path.suffix == ".zarr":
        return ZarrBands(path, shape, image.dtype, onto, image.channels, pyramid=pyramid)
    rgb = image.rgb and onto.ndim == 2
    return TiffBands(path, shape, image.dtype, onto, image.channels, rgb=rgb, pyramid=pyramid)


def _write_bands(
    writers: Sequence[TiffBands | ZarrBands],
    footprint: Path,
    image: Image,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Orders,
    mask: Mask | CoarseMask | None,
    progress: Progress | None,
) -> float:
    """Hand every band to the writers, and write the footprint; the share of the output that was sampled."""
    if is_section(image_grid):
        image_grid = filling(image_grid, moving_from_fixed, onto)
    plane = flat(onto)
    sampled, total, done = 0, math.prod(onto.shape), 0
    with TiffBands(footprint, (1, *plane.shape), np.dtype(np.uint8), plane, ("footprint",)) as covered:
        for values, inside in moved_bands(image, image_grid, moving_from_fixed, onto, order, mask):
            for writer in writers:
                writer.add(values)
            covered.add(inside[None].view(np.uint8))
            sampled, done = sampled + int(np.count_nonzero(inside)), done + inside.size
            if progress is not None:
                progress(done / total)
    return sampled / total


def moved_bands(
    image: Image,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Orders,
    mask: Mask | CoarseMask | None,
) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
    """Rows of an image, or slices of a volume, with their footprint, as they are made; parameters as for `warp`."""
    if onto.ndim == 2:
        yield from Resampling(image, image_grid, moving_from_fixed, onto, order, mask).bands()
        return
    # As many slices at a time, or rows of one, as make a slab of a few million voxels.
    depth, rows = max(1, _SLAB // (onto.shape[1] * onto.shape[2])), max(1, _SLAB // onto.shape[2])
    for top, row in product(range(0, onto.shape[0], depth), range(0, onto.shape[1], rows)):
        end = min(top + depth, onto.shape[0]), min(row + rows, onto.shape[1]), onto.shape[2]
        slab = onto.crop((top, row, 0), end)
        values, footprint = warp(image, image_grid, moving_from_fixed, slab, order, mask)
        yield from ((values[:, plane], footprint[plane]) for plane in range(slab.shape[0]))
