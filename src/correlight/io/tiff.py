"""TIFF: plain, ImageJ, OME and that of many instruments, through tifffile.

Pages are found by tifffile; which of their samples is which channel, and from which file it comes, is worked out on the
numbers of planes, so that pixels that stay on disk and pixels in memory go the same way.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import NothingToChooseError, ReadError, UsageError
from correlight.geometry import level_factor
from correlight.io import calibration
from correlight.io.axes import FIRST, Selection, choose_level, is_count, time_index
from correlight.io.content import Content, large
from correlight.io.meaning import COLOURS, in_memory, meant, tag
from correlight.io.ome import NO_IMAGES
from correlight.io.tiff_checks import check_companions, check_directory, other_files
from correlight.io.tiff_file import SHOWN, Opened, absent, open_tiff, quiet
from correlight.io.tiff_instruments import TAGS
from correlight.io.tiff_planes import Planes, pages_there, planes_of
from correlight.io.tiff_sizes import spacing_of, stage_of, stage_said, start_of, values_said
from correlight.io.tiff_tilt import tilt_of
from correlight.io.views import chosen, exchanges_axes, orientation_said, turned

KNOWS = ("scene", "series", "time")
_NAMED = {"bif", "ndpi", "ndtiff", "mmstack", "philips", "scn", "svs"}  # kinds whose images tifffile can tell by name
_REDUCED, _MASK = 1, 4  # NewSubfileType

Array = NDArray[Any]


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
    with quiet(), open_tiff(path) as opened:
        file = opened.file
        check_companions(path, file)
        if not file.series:
            raise ReadError(f"Expected an image, but the TIFF file {path} holds none; export it again.")
        number, findings = _chosen_series(opened, choice)
        whole = file.series[number]
        axes = opened.axes(whole)
        level = choose_level(path, len(whole.levels), choice)
        index, said = _selected(opened, whole, whole.levels[level], choice)
        content = _pixels(opened, whole, level, index, choice, number)
        about = opened.described(number)
        frame = index[axes.index("T")] if "T" in axes else 0
        orientation = int(tag(whole.keyframe, "Orientation", 1) or 1)
        height, width = (whole.shape[axes.index(axis)] for axis in "YX")
        full = [whole.shape[axes.index("Z")]] if content.ndim == 3 and "Z" in axes else []
        full = [*full, *((width, height) if exchanges_axes(orientation) else (height, width))]
        full = [*content.pixels.shape[1 : 1 + content.ndim - len(full)], *full]
        shrunk = tuple(level_factor(large, small) for large, small in zip(full, content.pixels.shape[1:], strict=True))
        if opened.ome and opened.ome.text != NO_IMAGES and whole.kind != "ome":
            findings = (*findings, "its OME-XML does not fit its pages, so that they are read as they are")
        findings = (*(opened.ome.findings if opened.ome else ()), *findings, *said, *content.findings)
        findings = (*findings, *stage_said(about, frame), *values_said(about))
        files = (*(opened.ome.files if opened.ome else ()), *other_files(path, whole))
        content = replace(content, findings=findings, stage=stage_of(about, frame), shrunk=shrunk, files=files)
        content = replace(content, start=start_of(about, "ZYX"[-content.ndim :]))
        if not calibrate:
            return content
        stated = spacing_of(about, "ZYX"[-content.ndim :])
        tilt, seen_aslant = tilt_of(about) if stated.sizes is not None and content.ndim == 2 else (None, ())
    sizes = stated.sizes
    if sizes is not None and exchanges_axes(orientation):
        sizes = (*sizes[:-2], sizes[-1], sizes[-2])
        tilt = tilt and tilt.along(1 - tilt.axis)
    if sizes is not None:
        sizes = tuple(step * factor for step, factor in zip(sizes, shrunk, strict=True))
    return replace(
        content,
        spacing=sizes,
        spacing_source=stated.source,
        tilt=tilt,
        findings=(*content.findings, *stated.findings, *seen_aslant),
        files=(*content.files, *stated.files),
    )


# ---------------------------------------------------------------------------------------------- what is chosen


def _names(opened: Opened) -> list[str]:
    """A name for each series; empty where it has none."""
    images, series = (opened.ome.images if opened.ome else ()), opened.file.series
    if len(images) == len(series):
        return [image.get("Name", "") for image in images]
    return [str(entry.name or "") if entry.kind in _NAMED else "" for entry in series]


def _chosen_series(opened: Opened, choice: Selection) -> tuple[int, tuple[str, ...]]:
    """The number of the series asked for, or of the first that is no preview, and what there is besides."""
    names, series = _names(opened), opened.file.series
    listed = [_called(number, name, series[number]) for number, name in enumerate(names)]
    known = ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
    wanted: list[int] = []
    for what, value in (("scene", choice.scene), ("series", choice.series)):
        if value is None:
            continue
        if isinstance(value, str) and value in names:
            wanted.append(names.index(value))
        elif is_count(str(value)) and int(value) < len(series):
            wanted.append(int(value))
        else:
            sentence = f"There is no {what} {value!r} in {opened.path}; it has {known}."
            raise UsageError(sentence) if len(series) > 1 else NothingToChooseError(sentence, what)
    if len(set(wanted)) > 1:
        raise UsageError(f"Scene {choice.scene!r} and series {choice.series} of {opened.path} are not the same image.")
    if wanted:
        said = f"the file holds {len(series)} images, {known}; number {wanted[0]} is read"
        return wanted[0], (said,) if len(series) > 1 else ()
    if len(series) == 1:
        return 0, ()
    first = _first(series)
    which = "the first" if first == 0 else f"number {first}, the first that is no preview,"
    return first, (f"the file holds {len(series)} images, {known}; {which} is read",)


def _called(number: int, name: str, series: Any) -> str:
    sizes = dict(zip(series.axes, series.shape, strict=True))
    about = f"{sizes.get('Y', '?')} x {sizes.get('X', '?')}"
    return f"{number} ({', '.join(part for part in (name, about) if part)})"


def _first(series: list[Any]) -> int:
    """The number of the first image that is no preview.

    Some programs mark previews as such. Others put a picture for the screen in front, of the size of the image even,
    and keep what the instrument says with the image itself.
    """
    images = [number for number, entry in enumerate(series) if not _is_preview(entry)]
    told = [number for number in images if any(tag.code in TAGS for tag in series[number].keyframe.tags)]
    return next(iter(told or images), 0)


def _is_preview(series: Any) -> bool:
    kind = int(tag(series.keyframe, "NewSubfileType", 0) or 0)
    old = int(tag(series.keyframe, "SubfileType", 1) or 1)
    return bool(kind & (_REDUCED | _MASK) or old == 2)


def _selected(opened: Opened, whole: Any, series: Any, choice: Selection) -> tuple[list[Any], tuple[str, ...]]:
    """What to cut out of a series of a time series; other axes stay for `_arranged`."""
    axes, path = opened.axes(series), opened.path
    index: list[Any] = [slice(None)] * len(axes)
    pages = [place for place, axis in enumerate(axes) if axis in "QI" and series.shape[place] > 1]
    if choice.time is not None and "T" not in axes and pages:
        return _page(series.shape[pages[0]], pages[0], index, path, choice.time)
    count = series.shape[axes.index("T")] if "T" in axes else 1
    frame, said = time_index(path, count, choice)
    if "T" not in axes:
        return index, said
    place = axes.index("T")
    there = pages_there(whole)
    if there is not None and not there.all():
        # The first frame of which there is anything.
        held: Array = np.any(np.moveaxis(there, place, 0).reshape(count, -1), axis=1)
        if choice.time is None and held.any() and not held[frame]:
            frame = int(np.argmax(held))
            said = (f"the file holds {count} frames of a time series; frame {frame} is the first that is there",)
    index[place] = frame
    return index, said


def _page(count: int, place: int, index: list[Any], path: str | Path, number: int) -> tuple[list[Any], tuple[str, ...]]:
    """One of several pages of which the file does not say what they are to each other."""
    if number >= count:
        raise UsageError(f"There is no page {number} in {path}; it has {count}, counted from 0.")
    index[place] = number
    return index, (f"the file holds {count} pages whose meaning it does not state; number {number} is read",)


# ------------------------------------------------------------------------------------------------- their pixels


def _pixels(opened: Opened, whole: Any, level: int, index: list[Any], choice: Selection, number: int) -> Content:
    """A level and the smaller ones, on disk where they are large and can be read in parts."""
    found: list[Content] = []
    for series in whole.levels[level:]:
        planes = planes_of(opened, series, index, choice, last=bool(found))
        if planes is None:
            break
        content = _understood(opened, series, planes, choice, number)
        found.append(content)
        if isinstance(content.pixels, np.ndarray) or not large(content.pixels.shape, content.pixels.dtype.itemsize):
            break
    return in_memory(replace(found[0], levels=tuple(content.pixels for content in found[1:])))


def _understood(opened: Opened, series: Any, planes: Planes, choice: Selection, number: int) -> Content:
    """Planes with their meaning, their names, and without those that are not there."""
    names = _channel_names(opened, number)
    pixels, samples = planes.pixels, planes.samples
    there: Array = np.all(planes.there.reshape(pixels.shape[0] // samples, samples, -1), axis=1)
    kept = [channel for channel, held in enumerate(there) if held.any()]
    findings = list(planes.findings)
    if not kept:
        raise ReadError(f"None of the chosen pixels of {opened.path} is there{absent(opened)}; copy the whole set.")
    if len(kept) < len(there):
        gone = [channel for channel in range(len(there)) if channel not in kept]
        called = [names[channel] if len(names) == len(there) else str(channel) for channel in gone]
        findings.append(f"channels that the file states and does not hold are left out: {', '.join(called)}")
        pixels = chosen(pixels, [channel * samples + s for channel in kept for s in range(samples)])
        names = tuple(names[channel] for channel in kept) if len(names) == len(there) else ()
    held: Array = np.all(there[kept], axis=0)
    if not held.all():
        missing = np.flatnonzero(~held).tolist()
        listed = ", ".join(map(str, missing[:SHOWN])) + (" and more" if len(missing) > SHOWN else "")
        findings.append(f"{len(missing)} slices that the file states and does not hold are no data: {listed}")
    if not held.any():
        raise ReadError(f"No slice of {opened.path} holds all channels{absent(opened)}; copy the whole set.")
    content = meant(opened.path, pixels, samples, series.keyframe, plain=opened.plain)
    colours = opened.ome is None and series.keyframe.photometric == COLOURS and samples == 1
    if colours and content.count == 3 and content.ndim == 2:
        content = replace(content, rgb=True)
    orientation = int(tag(series.keyframe, "Orientation", 1) or 1)
    opaque = content.opaque
    if opaque is not None:
        opaque = turned(opaque, orientation)
    fits = len(names) == content.count and not content.rgb
    return replace(
        content,
        pixels=turned(content.pixels, orientation),
        opaque=opaque,
        channels=names if fits else content.channels,
        held=None if held.all() else held,
        negated=opened.negates(series.keyframe),
        written=None if planes.written is None else turned(planes.written, orientation),
        findings=(*findings, *content.findings, *orientation_said(orientation)),
    )


def _channel_names(opened: Opened, number: int) -> tuple[str, ...]:
    """Names of the channels from OME-XML or ImageJ labels; empty where none are given."""
    if opened.ome is not None:
        pixels = opened.described(number).pixels
        return () if pixels is None else calibration.ome_channels(pixels)
    if opened.file.is_imagej:
        metadata = opened.file.imagej_metadata or {}
        labels, count = metadata.get("Labels"), int(metadata.get("channels", 1))
        if isinstance(labels, list) and metadata.get("slices", 1) == 1 and metadata.get("frames", 1) == 1:
            names = tuple(str(label).splitlines()[0].strip() if str(label).strip() else "" for label in labels[:count])
            # Labels of ImageJ are often the name of one file, again and again.
            return names if len(set(names)) == len(names) else ()
    return ()
