"""One image of several channels: the fixed image and all that was moved onto it, in colours that viewers honour."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.display import COLOURS, GREY, RGB, Shown, display_range, display_shape, resize_mask, shrunk
from correlight.images.image import CoarseMask, Image, Mask, told_apart
from correlight.images.pyramid import Smaller, shown_image
from correlight.images.resample import Orders
from correlight.io.write import TILE, TiffBands, bands_of, holds_type
from correlight.io.write_imagej import ImageJBands, imagej_holds
from correlight.io.write_zarr import ZarrBands
from correlight.output.moved import Progress, fits_in_a_file, moved_bands
from correlight.output.section import filling, flat, is_section
from correlight.parsing import stem_of
from correlight.transforms import Transform

NAME = "composite"
_LONGEST = 1600  # pixels of a plane that its display range is found from
_OWN: tuple[RGB, RGB, RGB] = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


@dataclass(frozen=True, slots=True, eq=False)
class Moved:
    """An image that is moved onto the fixed one.

    Parameters
    ----------
    image : Image
        As many axes as the transform.
    grid : Grid
        Where it lies in the moving frame.
    moving_from_fixed : Transform
        Takes fixed to moving positions.
    orders : {"linear", "nearest"} or sequence of these
        Interpolation of all channels, or of each.
    mask : array of bool or CoarseMask, optional
        Which of its pixels are valid; its own without.
    """

    image: Image
    grid: Grid
    moving_from_fixed: Transform
    orders: Orders = "linear"
    mask: Mask | CoarseMask | None = None


def write_composite(
    folder: Path, fixed: Image, moved: Sequence[Moved], *, name: str = NAME, progress: Progress | None = None
) -> tuple[Path, ...]:
    """Write the fixed image and all images that are moved onto it as the channels of one image.

    The pixels keep their values, in the smallest type that holds those of all. What is written is an OME-TIFF, above
    2 GiB of pixels a store of OME-Zarr, and of a stack both. Beside an OME-TIFF stands the same as a TIFF of ImageJ, if
    that has such pixels: OME-TIFF states no display ranges. None holds more than a band of it in memory.

    Parameters
    ----------
    folder : Path
        Where it goes.
    fixed : Image
        As many axes as the transforms.
    moved : sequence of Moved
        At least one.
    name : str
        Of the file or store, without its ending.
    progress : callable, optional
        Called with the fraction that is written.

    Returns
    -------
    tuple of Path
        What was written.

    Raises
    ------
    OSError
        If a file cannot be written.
    """
    images = [fixed, *(one.image for one in moved)]
    dtype = _common([image.dtype for image in images])
    onto, names = flat(fixed.grid), channel_names(images)
    shape = (len(names), *onto.shape)
    nearest = any("nearest" in ((one.orders,) if isinstance(one.orders, str) else one.orders) for one in moved)
    # A level whose pixels are means would show labels that there are not.
    pyramid: Smaller = "nearest" if nearest else "mean"
    in_file = fits_in_a_file(math.prod(shape) * dtype.itemsize)
    kinds: dict[str, Callable[..., TiffBands | ImageJBands | ZarrBands]] = {}
    if in_file:
        kinds["ome.tif"] = partial(TiffBands, pyramid=pyramid)
    if in_file and imagej_holds(dtype):
        kinds["tif"] = ImageJBands
    if onto.ndim == 3 or not in_file:
        kinds["ome.zarr"] = partial(ZarrBands, pyramid=pyramid)
    paths = [folder / f"{name}.{ending}" for ending in kinds]
    shown = how_shown(images)
    writers = [
        kind(path, shape, dtype, onto, names, shown=shown) for kind, path in zip(kinds.values(), paths, strict=True)
    ]
    with ExitStack() as stack:
        for writer in writers:
            stack.enter_context(writer)
        rows, done = math.prod(onto.shape[:-1]), 0
        for parts in zip(*_sources(fixed, moved), strict=True):
            band = np.concatenate([part.astype(dtype, copy=False) for part in parts])
            for writer in writers:
                writer.add(band)
            done += band.shape[1]
            if progress is not None:
                progress(done / rows)
    return tuple(paths)


def channel_names(images: Sequence[Image]) -> tuple[str, ...]:
    """Names for the channels of several images together; where one says nothing by itself, with that of the file."""
    count = Counter(name for image in images for name in image.channels)
    out = []
    for number, image in enumerate(images):
        path = image.source.get("path")
        role = "fixed" if number == 0 else "moving"
        stem = role if path is None else stem_of(str(path))
        for name in image.channels:
            alone = re.fullmatch(r"channel \d+", name) is not None and len(image.channels) == 1
            said = stem if alone else f"{stem}: {name}"
            out.append(said if alone or count[name] > 1 or name.startswith("channel ") else name)
    return told_apart(out)


def how_shown(images: Sequence[Image]) -> tuple[Shown, ...]:
    """Colour and display range of every channel of images that are shown together, the fixed one first.

    A colour image keeps its own colours. The fixed image is grey, or the moving one if that has one channel and the
    fixed one has several; all others have one colour each.
    """
    single = [len(image.channels) == 1 for image in images]
    grey = 0 if single[0] else 1 if single[1:] == [True] else None
    colours = cycle(COLOURS.values())
    out = list[Shown]()
    for number, image in enumerate(images):
        ranges = _ranges(image)
        own = _OWN if image.rgb else (GREY,) if number == grey else [next(colours) for _ in ranges]
        out.extend(Shown(colour, *limits) for colour, limits in zip(own, ranges, strict=True))
    return tuple(out)


def _ranges(image: Image) -> list[tuple[float, float]]:
    """The display range of every channel; colours of one picture share theirs."""
    small = shown_image(image)
    if small.ndim == 2:
        shape = display_shape(small.grid, _LONGEST)
        valid = resize_mask(small.valid(), shape)
        planes: list[NDArray[Any]] = [shrunk(small, number, shape) for number in range(len(image.channels))]
    else:
        planes, valid = [np.asarray(channel) for channel in small.levels[0][...]], small.valid()
    found = [display_range(plane, valid) or (0.0, 1.0) for plane in planes]
    if image.rgb:
        found = [(0.0, 255.0) if image.dtype == np.uint8 else (0.0, max(high for _, high in found))] * 3
    return [(low, high if high > low else low + 1) for low, high in found]


def _common(types: Sequence[np.dtype[Any]]) -> np.dtype[Any]:
    """The smallest type of pixels that holds the values of all."""
    found = np.result_type(*(np.dtype(np.uint8) if one.kind == "b" else one for one in types))
    if holds_type(found):
        return found
    return np.dtype(np.float32 if found.itemsize < 4 else np.float64)


def _sources(fixed: Image, moved: Sequence[Moved]) -> Iterator[Iterator[NDArray[Any]]]:
    """Bands of each image on the fixed grid, all of the same rows."""
    height = fixed.grid.shape[-2]
    yield in_step(bands_of(fixed.levels[0], TILE), height)
    for one in moved:
        grid = filling(one.grid, one.moving_from_fixed, fixed.grid) if is_section(one.grid) else one.grid
        bands = moved_bands(one.image, grid, one.moving_from_fixed, fixed.grid, one.orders, one.mask)
        yield in_step((values for values, _ in bands), height)


def in_step(bands: Iterator[NDArray[Any]], height: int) -> Iterator[NDArray[Any]]:
    """Bands of any heights as bands of 256 rows, and of what is left at the end of a plane."""
    kept: list[NDArray[Any]] = []
    row = 0
    for band in bands:
        kept.append(band)
        while sum(part.shape[1] for part in kept) >= (wanted := min(TILE, height - row)) > 0 and kept:
            whole = kept[0] if len(kept) == 1 else np.concatenate(kept, axis=1)
            yield whole[:, :wanted]
            kept = [whole[:, wanted:]] if whole.shape[1] > wanted else []
            row = (row + wanted) % height
