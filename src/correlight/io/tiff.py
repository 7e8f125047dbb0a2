"""TIFF: plain, ImageJ, OME and that of many instruments, through tifffile.

Pages are found by tifffile; which of their samples is which channel, and from which file it comes, is worked out on the
numbers of planes, so that pixels that stay on disk and pixels in memory go the same way.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError
from correlight.geometry import level_factor
from correlight.images.image import Pixels
from correlight.io import calibration
from correlight.io.axes import FIRST, Selection, choose_level, time_index
from correlight.io.content import ON_DISK, Content, check_size, large
from correlight.io.door import check_regular
from correlight.io.meaning import COLOURS, in_memory, meant, tag
from correlight.io.ome import NO_IMAGES, Ome, read_ome
from correlight.io.ondisk import SEGMENT, Coded, Raw, Segments, Written, segment_shape
from correlight.io.tiff_checks import check_companions, check_directory, check_segments, file_of, other_files
from correlight.io.tiff_sizes import Described, spacing_of, stage_of
from correlight.io.views import chosen, exchanges_axes, orientation_said, turned

KNOWS = ("scene", "series", "time")
_FEW_PAGES = 4  # so many pages of unstated meaning pass for channels
_SHOWN = 12  # images of a file in a sentence
_REDUCED, _MASK = 1, 4  # NewSubfileType

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Opened:
    """A TIFF file, its OME-XML, and what it says of each series."""

    path: Path
    file: tifffile.TiffFile
    ome: Ome | None

    @property
    def plain(self) -> bool:
        return not (self.file.is_imagej or self.ome)

    def described(self, number: int) -> Described:
        """The tags and texts that describe a series."""
        images, series = (self.ome.images if self.ome else ()), self.file.series
        image = images[number] if len(images) == len(series) else None
        if image is None and images:
            named = [entry for entry in images if entry.get("Name") == series[number].name]
            image = named[0] if len(named) == 1 else None
        pixels = None if image is None else next((e for e in image if calibration.local_name(e) == "Pixels"), None)
        page = series[number].keyframe or self.file.pages.first
        return Described(self.path, self.file, page, pixels, bool(self.ome and self.ome.text != NO_IMAGES))


@dataclass(frozen=True, slots=True, eq=False)
class _Planes:
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


def read_tiff(path: Path, *, calibrate: bool = True, choice: Selection = FIRST) -> Content:
    """Read an image series of a TIFF file, or one level of its pyramid.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Selection
        Scene (an image of OME-XML, otherwise a series of pages of one shape) or series, level and frame.

    Raises
    ------
    ReadError
        If the file is damaged, states more than it holds, or stores pixels in a way that is not read.
    UsageError
        If there is no such scene, series, level or frame.
    """
    check_directory(path)
    with _quiet(), _opened(path) as opened:
        file = opened.file
        check_companions(path, file)
        if not file.series:
            raise ReadError(f"Expected an image, but the TIFF file {path} holds none; export it again.")
        number, findings = _chosen_series(opened, choice)
        whole = file.series[number]
        level = choose_level(path, len(whole.levels), choice)
        index, said = _selected(path, whole, whole.levels[level], choice)
        content = _pixels(opened, whole, level, index, choice, number)
        about = opened.described(number)
        orientation = int(tag(whole.keyframe, "Orientation", 1) or 1)
        height, width = (whole.shape[whole.axes.index(axis)] for axis in "YX")
        full = [whole.shape[whole.axes.index("Z")]] if content.ndim == 3 and "Z" in whole.axes else []
        full = [*full, *((width, height) if exchanges_axes(orientation) else (height, width))]
        full = [*content.pixels.shape[1 : 1 + content.ndim - len(full)], *full]
        shrunk = tuple(level_factor(large, small) for large, small in zip(full, content.pixels.shape[1:], strict=True))
        findings = (*(opened.ome.findings if opened.ome else ()), *findings, *said, *content.findings)
        files = (*(opened.ome.files if opened.ome else ()), *other_files(path, whole))
        content = replace(content, findings=findings, stage=stage_of(about), shrunk=shrunk, files=files)
        if not calibrate:
            return content
        stated = spacing_of(about, "ZYX"[-content.ndim :])
    sizes = stated.sizes
    if sizes is not None and exchanges_axes(orientation):
        sizes = (*sizes[:-2], sizes[-1], sizes[-2])
    if sizes is not None:
        sizes = tuple(step * factor for step, factor in zip(sizes, shrunk, strict=True))
    return replace(
        content,
        spacing=sizes,
        spacing_source=stated.source,
        findings=(*content.findings, *stated.findings),
        files=(*content.files, *stated.files),
    )


@contextmanager
def _opened(path: Path) -> Iterator[_Opened]:
    """The file with its OME-XML understood, so that nothing but files beside it are opened for it."""
    check_regular(path)
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata if file.is_ome else None
        if not text:
            yield _Opened(path, file, None)
            return
    ome = read_ome(path, text)
    with tifffile.TiffFile(path, omexml=ome.text) as file:
        yield _Opened(path, file, ome)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile's log of oddities off the screen; what matters ends in an error of ours."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


# ---------------------------------------------------------------------------------------------- what is chosen


def _names(opened: _Opened) -> list[str]:
    """A name for each series; empty where it has none."""
    images, series = (opened.ome.images if opened.ome else ()), opened.file.series
    if len(images) == len(series):
        return [image.get("Name", "") for image in images]
    return [""] * len(series)


def _chosen_series(opened: _Opened, choice: Selection) -> tuple[int, tuple[str, ...]]:
    """The number of the series asked for, or of the first that is no preview, and what there is besides."""
    names, series = _names(opened), opened.file.series
    listed = [_called(number, name, series[number]) for number, name in enumerate(names)]
    known = ", ".join(listed[:_SHOWN]) + (f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else "")
    wanted: list[int] = []
    for what, value in (("scene", choice.scene), ("series", choice.series)):
        if value is None:
            continue
        if isinstance(value, str) and value in names:
            wanted.append(names.index(value))
        elif str(value).isdecimal() and int(value) < len(series):
            wanted.append(int(value))
        else:
            raise UsageError(f"There is no {what} {value!r} in {opened.path}; it has {known}.")
    if len(set(wanted)) > 1:
        raise UsageError(f"Scene {choice.scene!r} and series {choice.series} of {opened.path} are not the same image.")
    if wanted:
        said = f"the file holds {len(series)} images, {known}; number {wanted[0]} is read"
        return wanted[0], (said,) if len(series) > 1 else ()
    first = next((number for number, entry in enumerate(series) if not _is_preview(entry)), 0)
    if len(series) == 1:
        return first, ()
    which = "the first" if first == 0 else f"number {first}, the first that is no preview,"
    return first, (f"the file holds {len(series)} images, {known}; {which} is read",)


def _called(number: int, name: str, series: Any) -> str:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    about = f"{sizes.get('Y', '?')} x {sizes.get('X', '?')}"
    return f"{number} ({', '.join(part for part in (name, about) if part)})"


def _is_preview(series: Any) -> bool:
    kind = int(tag(series.keyframe, "NewSubfileType", 0) or 0)
    old = int(tag(series.keyframe, "SubfileType", 1) or 1)
    return bool(kind & (_REDUCED | _MASK) or old == 2)


def _selected(path: Path, whole: Any, series: Any, choice: Selection) -> tuple[list[Any], tuple[str, ...]]:
    """What to cut out of a series of a time series; other axes stay for `_arranged`."""
    index: list[Any] = [slice(None)] * len(series.axes)
    count = series.shape[series.axes.index("T")] if "T" in series.axes else 1
    frame, said = time_index(path, count, choice)
    if "T" not in series.axes:
        return index, said
    place = series.axes.index("T")
    there = _there(whole)
    if there is not None and not there.all():
        # The first frame of which there is anything.
        held: Array = np.any(np.moveaxis(there, place, 0).reshape(count, -1), axis=1)
        if choice.time is None and held.any() and not held[frame]:
            frame = int(np.argmax(held))
            said = (f"the file holds {count} frames of a time series; frame {frame} is the first that is there",)
    index[place] = frame
    return index, said


def _there(series: Any) -> NDArray[np.bool_] | None:
    """Which pages of a series its files hold, by the axes before rows and columns; None where that cannot be told."""
    others = series.shape[: series.axes.index("Y")]
    held = np.array([page is not None for page in series.pages], bool)
    return held.reshape(others) if held.size == math.prod(others) else None


# ------------------------------------------------------------------------------------------------- their pixels


def _pixels(opened: _Opened, whole: Any, level: int, index: list[Any], choice: Selection, number: int) -> Content:
    """A level and the smaller ones, on disk where they are large and can be read in parts."""
    found: list[Content] = []
    for series in whole.levels[level:]:
        planes = _planes(opened, series, index, choice, last=bool(found))
        if planes is None:
            break
        content = _understood(opened, series, planes, choice, number)
        found.append(content)
        if isinstance(content.pixels, np.ndarray) or not large(content.pixels.shape, content.pixels.dtype.itemsize):
            break
    return in_memory(replace(found[0], levels=tuple(content.pixels for content in found[1:])))


def _planes(opened: _Opened, series: Any, index: list[Any], choice: Selection, *, last: bool) -> _Planes | None:
    """The planes of a level; None for a smaller one that cannot be read in parts."""
    axes, path = series.axes, opened.path
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
            raise ReadError(f"None of the chosen pixels of {path} is there{_absent(opened)}; copy the whole set.")
        # What is one bit in the file is a number here.
        pixels = Segments(path, planes, used, np.dtype(np.uint8) if series.dtype.kind == "b" else series.dtype)
        check_size(path, pixels.shape, pixels.dtype.itemsize, ON_DISK)
        check_segments(path, series)
        written = _written(list(used.values()))
        if written is not None:
            what = "are no data" if planes.ndim == 2 else "are zero in the volume, as single tiles of it are not masked"
            said = (*said, f"tiles that the file does not hold {what}")
        written = written if planes.ndim == 2 else None
        return _Planes(pixels, samples, np.isin(planes[..., 0], list(used)), said, written)
    if last:
        return None
    return _decoded(opened, series, index, choice, samples)


def _decoded(opened: _Opened, series: Any, index: list[Any], choice: Selection, samples: int) -> _Planes:
    """The planes of a level that cannot be read in parts, in memory."""
    shape = tuple(count for count, part in zip(series.shape, index, strict=True) if isinstance(part, slice))
    check_size(opened.path, shape, series.dtype.itemsize)
    check_segments(opened.path, series)
    kept = "".join(axis for axis, part in zip(series.axes, index, strict=True) if isinstance(part, slice))
    order, pixels, said = _arranged(opened, kept, _cut(series, index), choice)
    merged = _merged(order, pixels)
    there = np.ones(merged.shape[:-2], bool)
    held = _there(series) if "S" not in series.axes else None
    if held is not None and not held.all():
        spread = held.reshape(*held.shape, 1, 1)[tuple(index)]
        there = _merged(*_arranged(opened, kept, spread, choice)[:2])[..., 0, 0]
    elif any(page is None for page in series.pages):
        raise ReadError(f"Pages of {opened.path} are missing{_absent(opened)}; copy the whole set.")
    return _Planes(merged, samples, there, said)


def _absent(opened: _Opened) -> str:
    names = opened.ome.missing if opened.ome else ()
    return f" ({', '.join(name[:80] for name in names[:_SHOWN])})" if names else ""


def _numbers(series: Any) -> Array | None:
    """A number for every sample of every plane, with rows and columns of length 1; None where they lie otherwise."""
    axes = series.axes
    samples = series.shape[-1] if axes.endswith("S") else 1
    plain = axes.removesuffix("S").endswith("YX") and axes.count("S") == (samples > 1)
    if not plain or series.dtype.kind not in "buif":
        return None
    others = series.shape[: axes.index("Y")]
    return np.arange(math.prod(others) * samples).reshape(*others, 1, 1, *([samples] if samples > 1 else []))


def _pages(opened: _Opened, series: Any, samples: int) -> dict[int, Coded | Raw] | None:
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


def _arranged(opened: _Opened, axes: str, pixels: Array, choice: Selection) -> tuple[str, Array, tuple[str, ...]]:
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


def _understood(opened: _Opened, series: Any, planes: _Planes, choice: Selection, number: int) -> Content:
    """Planes with their meaning, their names, and without those that are not there."""
    names = _channel_names(opened, number)
    pixels, samples = planes.pixels, planes.samples
    there: Array = np.all(planes.there.reshape(pixels.shape[0] // samples, samples, -1), axis=1)
    kept = [channel for channel, held in enumerate(there) if held.any()]
    findings = list(planes.findings)
    if not kept:
        raise ReadError(f"None of the chosen pixels of {opened.path} is there{_absent(opened)}; copy the whole set.")
    if len(kept) < len(there):
        gone = [channel for channel in range(len(there)) if channel not in kept]
        called = [names[channel] if len(names) == len(there) else str(channel) for channel in gone]
        findings.append(f"channels that the file states and does not hold are left out: {', '.join(called)}")
        pixels = chosen(pixels, [channel * samples + s for channel in kept for s in range(samples)])
        names = tuple(names[channel] for channel in kept) if len(names) == len(there) else ()
    held: Array = np.all(there[kept], axis=0)
    if not held.all():
        missing = np.flatnonzero(~held).tolist()
        listed = ", ".join(map(str, missing[:_SHOWN])) + (" and more" if len(missing) > _SHOWN else "")
        findings.append(f"{len(missing)} slices that the file states and does not hold are no data: {listed}")
    if not held.any():
        raise ReadError(f"No slice of {opened.path} holds all channels{_absent(opened)}; copy the whole set.")
    content = meant(opened.path, pixels, samples, series.keyframe, plain=opened.plain)
    colours = opened.ome is None and series.keyframe.photometric == COLOURS and samples == 1
    if colours and content.count == 3 and content.ndim == 2:
        content = replace(content, rgb=True)
    orientation = int(tag(series.keyframe, "Orientation", 1) or 1)
    opaque = content.opaque
    if opaque is not None:
        opaque = turned(opaque, orientation)
    fits = len(names) == content.count and len(set(names)) == len(names) and not content.rgb
    return replace(
        content,
        pixels=turned(content.pixels, orientation),
        opaque=opaque,
        channels=names if fits else content.channels,
        held=None if held.all() else held,
        written=None if planes.written is None else turned(planes.written, orientation),
        findings=(*findings, *content.findings, *orientation_said(orientation)),
    )


def _channel_names(opened: _Opened, number: int) -> tuple[str, ...]:
    """Names of the channels from OME-XML or ImageJ labels; empty where none are given."""
    if opened.ome is not None:
        pixels = opened.described(number).pixels
        return () if pixels is None else calibration.ome_channels(pixels)
    if opened.file.is_imagej:
        metadata = opened.file.imagej_metadata or {}
        labels, count = metadata.get("Labels"), int(metadata.get("channels", 1))
        if isinstance(labels, list) and metadata.get("slices", 1) == 1 and metadata.get("frames", 1) == 1:
            return tuple(str(label).splitlines()[0].strip() if str(label).strip() else "" for label in labels[:count])
    return ()
