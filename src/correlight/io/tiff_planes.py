"""The planes of a TIFF file: which pages they are, which of them are there, and how they are cut out of the file.

Planes are worked out on their numbers, so that pixels that stay on disk and pixels in memory go the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import Pixels
from correlight.io.axes import Selection
from correlight.io.content import ON_DISK, check_size
from correlight.io.ondisk import SEGMENT, Coded, Raw, Segments, Written, segment_shape
from correlight.io.tiff_checks import check_segments, file_of
from correlight.io.tiff_file import Opened, absent

_FEW_PAGES = 4  # so many pages of unstated meaning pass for channels

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Planes:
    """Planes of a level before they are given a meaning.

    Parameters
    ----------
    pixels : Pixels
        ``(C * S, Y, X)`` or ``(C * S, Z, Y, X)``.
    samples : int
        S.
    there : (C * S,) or (C * S, Z) array of bool
        Which of the planes the files hold.
    findings : tuple of str
        What was left out.
    """

    pixels: Pixels
    samples: int
    there: Array
    findings: tuple[str, ...]
    written: Pixels | None = None


def planes_of(opened: Opened, series: Any, index: list[Any], choice: Selection, *, last: bool) -> Planes | None:
    """The planes of a level; None for a smaller one that cannot be read in parts."""
    axes, path = opened.axes(series), opened.path
    if series.dtype is None or "Y" not in axes or "X" not in axes or len(axes) != len(index):
        if last:
            return None
        raise ReadError(f"Expected an image with rows and columns, but {path} has the axes {axes!r}; export it again.")
    samples = series.shape[axes.index("S")] if "S" in axes else 1
    numbers = _numbers(series)
    pages = None if numbers is None else _pages(opened, series, samples)
    kept = "".join(axis for axis, part in zip(axes, index, strict=True) if isinstance(part, slice))
    if numbers is not None and pages is not None:
        order, found, said = _arranged(opened, kept, numbers[tuple(index)], choice)
        planes = np.stack(np.divmod(_merged(order, found)[..., 0, 0], samples), axis=-1)
        used = {n: pages[n] for n in sorted(set(planes[..., 0].ravel().tolist())) if n in pages}
        if not used:
            raise ReadError(f"None of the chosen pixels of {path} is there{absent(opened)}; copy the whole set.")
        # What is one bit in the file is a number here.
        pixels = Segments(path, planes, used, np.dtype(np.uint8) if series.dtype.kind == "b" else series.dtype)
        check_size(path, pixels.shape, pixels.dtype.itemsize, ON_DISK)
        check_segments(path, series)
        written = _written(list(used.values()))
        if written is not None:
            what = "are no data" if planes.ndim == 2 else "are zero in the volume, as single tiles of it are not masked"
            said = (*said, f"tiles that the file does not hold {what}")
        written = written if planes.ndim == 2 else None
        return Planes(pixels, samples, np.isin(planes[..., 0], list(used)), said, written)
    if last:
        return None
    return _decoded(opened, series, index, choice, samples)


def _decoded(opened: Opened, series: Any, index: list[Any], choice: Selection, samples: int) -> Planes:
    """The planes of a level that cannot be read in parts, in memory."""
    shape = tuple(count for count, part in zip(series.shape, index, strict=True) if isinstance(part, slice))
    check_size(opened.path, shape, series.dtype.itemsize)
    check_segments(opened.path, series)
    kept = "".join(axis for axis, part in zip(opened.axes(series), index, strict=True) if isinstance(part, slice))
    order, pixels, said = _arranged(opened, kept, _cut(series, index), choice)
    merged = _merged(order, pixels)
    there = np.ones(merged.shape[:-2], bool)
    held = pages_there(series) if "S" not in series.axes else None
    if held is not None and not held.all():
        spread = held.reshape(*held.shape, 1, 1)[tuple(index)]
        there = _merged(*_arranged(opened, kept, spread, choice)[:2])[..., 0, 0]
    elif any(page is None for page in series.pages):
        raise ReadError(f"Pages of {opened.path} are missing{absent(opened)}; copy the whole set.")
    return Planes(merged, samples, there, said)


def pages_there(series: Any) -> NDArray[np.bool_] | None:
    """Which pages of a series its files hold, by the axes before rows and columns; None where that cannot be told."""
    others = series.shape[: series.axes.index("Y")]
    held = np.array([page is not None for page in series.pages], bool)
    return held.reshape(others) if held.size == math.prod(others) else None


def _numbers(series: Any) -> Array | None:
    """A number for every sample of every plane, with rows and columns of length 1; None where they lie otherwise."""
    axes = series.axes
    samples = series.shape[-1] if axes.endswith("S") else 1
    plain = axes.removesuffix("S").endswith("YX") and axes.count("S") == (samples > 1)
    if not plain or series.dtype.kind not in "buif":
        return None
    others = series.shape[: axes.index("Y")]
    return np.arange(math.prod(others) * samples).reshape(*others, 1, 1, *([samples] if samples > 1 else []))


def _pages(opened: Opened, series: Any, samples: int) -> dict[int, Coded | Raw] | None:
    """How each page is read in parts; None if one cannot be. Pages that are not there are left out."""
    page, axes = series.keyframe, series.axes
    height, width = series.shape[axes.index("Y")], series.shape[axes.index("X")]
    count = math.prod(series.shape[: axes.index("Y")])
    stored = np.dtype(series.dtype).newbyteorder(opened.file.byteorder)
    shape = (height, width, samples)
    here = all(entry is not None and file_of(entry) == file_of(page) for entry in series.pages)
    if here and series.dataoffset is not None and file_of(page) == Path(opened.file.filehandle.path):
        step = math.prod(shape) * series.dtype.itemsize
        if opened.path.stat().st_size < series.dataoffset + count * step:
            raise ReadError(f"{opened.path} is truncated: the file ends before its pixels do; copy or export it again.")
        return {n: Raw(opened.path, series.dataoffset + n * step, shape, stored) for n in range(count)}
    whole = (page.imagelength, page.imagewidth, page.samplesperpixel)
    if whole != shape or page.imagedepth != 1 or len(series.pages) != count or page.planarconfig not in (None, 1):
        return None
    segment = math.prod(segment_shape(page)) * samples * series.dtype.itemsize
    if segment < 1:
        raise ReadError(f"{opened.path} is damaged: its tiles or strips hold no pixels; copy or export it again.")
    pages: dict[int, Coded | Raw] = {}
    for number, entry in enumerate(series.pages):
        if entry is None or (entry.databytecounts and not any(entry.databytecounts)):
            # A page none of whose tiles was written is no more there than one that is missing.
            continue
        if entry.keyframe.shape != page.shape or entry.keyframe.dtype != page.dtype:
            raise ReadError(f"{file_of(entry)} holds pages of another shape or type than {opened.path} states.")
        offset = _as_in_memory(entry)
        if offset is not None:
            order = np.dtype(series.dtype).newbyteorder(entry.parent.byteorder)
            pages[number] = Raw(file_of(entry), offset, shape, order)
        elif segment <= SEGMENT:
            pages[number] = Coded(file_of(entry), entry)
        else:
            return None
    kinds = {entry.segment for entry in pages.values()}
    return pages if len(kinds) <= 1 else None


def _written(pages: list[Coded | Raw]) -> Pixels | None:
    """Which tiles all pages of an image hold; None where that is every one."""
    grids = [page.written for page in pages if isinstance(page, Coded)]
    if not grids or all(grid.all() for grid in grids):
        return None
    first = pages[0]
    return Written(np.logical_and.reduce(grids), first.segment, (first.height, first.width))


def _as_in_memory(page: Any) -> int | None:
    """Where the pixels of a page begin that lie in the file as they would in memory; None where they do not."""
    keyframe = page.keyframe
    bits = keyframe.bitspersample
    if keyframe.compression != 1 or keyframe.predictor != 1 or keyframe.fillorder != 1 or keyframe.is_tiled:
        return None
    if keyframe.dtype is None or keyframe.dtype.kind == "b" or bits != keyframe.dtype.itemsize * 8:
        return None
    ends = [offset + count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)]
    if keyframe.photometric == 6 or not ends or list(page.dataoffsets[1:]) != ends[:-1]:
        return None
    return int(page.dataoffsets[0]) if sum(page.databytecounts) >= keyframe.nbytes else None


def _cut(series: Any, index: list[Any]) -> Array:
    """The pixels of what was chosen, of which nothing else is decoded."""
    if all(isinstance(part, slice) for part in index):
        return np.asarray(series.asarray())
    import zarr  # a quarter of a second, which only files with a choice should cost

    return np.asarray(zarr.open_array(series.aszarr(), mode="r")[tuple(index)])


def _arranged(opened: Opened, axes: str, pixels: Array, choice: Selection) -> tuple[str, Array, tuple[str, ...]]:
    """Axes in the order C, Z, S, Y, X, of which C, Z and S may be missing, whatever further axes the file has."""
    findings: list[str] = []
    for axis in [axis for axis in axes if axis not in "CZYXS"]:
        position = axes.index(axis)
        count = pixels.shape[position]
        if count > 1 and axis in "QI" and choice.ndim == 3 and "Z" not in axes:
            axes = axes.replace(axis, "Z")
            findings.append(f"{count} pages of unstated meaning are taken as slices, as three pixel sizes are given")
            continue
        if count > 1 and axis in "QI" and count <= _FEW_PAGES and "C" not in axes:
            axes = axes.replace(axis, "C")
            findings.append(f"{count} pages whose meaning the file does not state are taken as channels")
            continue
        if count > 1:
            findings.append(f"the file holds {count} pages whose meaning it does not state; the first is read")
        pixels, axes = pixels.take(0, axis=position), axes[:position] + axes[position + 1 :]
    if "Z" in axes and pixels.shape[axes.index("Z")] == 1:
        pixels, axes = pixels.take(0, axis=axes.index("Z")), axes.replace("Z", "")
    wanted = [axis for axis in "CSZYX" if axis in axes]
    pixels = pixels.transpose([axes.index(axis) for axis in wanted])
    return "".join(wanted), pixels, tuple(findings)


def _merged(axes: str, pixels: Array) -> Array:
    """One axis for channels and samples, the samples of a channel one after the other."""
    if "C" in axes and "S" in axes:
        pixels = pixels.reshape(pixels.shape[0] * pixels.shape[1], *pixels.shape[2:])
    elif "C" not in axes and "S" not in axes:
        pixels = pixels[None]
    pixels = pixels.astype(np.uint8) if pixels.dtype.kind == "b" else pixels
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
