"""TIFF: plain, ImageJ, OME, FEI/Thermo and Zeiss SEM, through tifffile."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.geometry import level_factor
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, time_index
from correlight.io.content import NOT_STATED, ON_DISK, Content, check_size, from_samples, large
from correlight.io.ondisk import SEGMENT, Coded, Raw, Segments, segment_shape

_FEW_PAGES = 4  # so many pages of unstated meaning pass for channels
_PALETTE = 3  # PhotometricInterpretation
_UNCOMPRESSED = 1  # Compression
_AT_MOST = {5: 1400, 8: 1040, 32773: 64, 32946: 1040}  # bytes that one of LZW, deflate and PackBits can unpack to
_TYPE_BYTES = {3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}  # of a TIFF tag; else 1

Stated = tuple[tuple[float, ...] | None, str, tuple[str, ...]]


def read_tiff(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read an image series of a TIFF file, or one level of its pyramid.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        Scene (an image of OME-XML, otherwise a series of pages of one shape), level and frame.
    """
    _check_directory(path)
    with _quiet(), tifffile.TiffFile(path) as file:
        if not file.series:
            raise ReadError(f"Expected an image, but the TIFF file {path} holds none; export it again.")
        number, findings = choose_scene(path, _scene_names(file), choice)
        whole = file.series[number]
        series = whole.levels[choose_level(path, len(whole.levels), choice)]
        index, said = _selected(path, series, choice)
        shape = tuple(count for count, part in zip(series.shape, index, strict=True) if isinstance(part, slice))
        itemsize = series.dtype.itemsize if series.dtype is not None else 1
        content = _left_on_disk(path, file, whole, choice.level, index) if large(shape, itemsize) else None
        if content is None:
            check_size(path, shape, itemsize)
            _check_segments(path, series)
            content = _arranged(path, file, *_cut(series, index))
        content = replace(content, findings=(*findings, *said, *content.findings))
        names = _channel_names(file, number)
        if len(names) == content.pixels.shape[0] and len(set(names)) == len(names) and not content.rgb:
            content = replace(content, channels=names)
        full = [whole.shape[whole.axes.index(axis)] for axis in "ZYX" if axis in whole.axes][-content.ndim :]
        shrunk = tuple(level_factor(large, small) for large, small in zip(full, content.pixels.shape[1:], strict=True))
        content = replace(content, stage=_stage(file, number), shrunk=shrunk)
        if not calibrate:
            return content
        spacing, source, findings = _spacing(path, file, "ZYX"[-content.ndim :], number)
    if spacing is not None:
        spacing = tuple(step * factor for step, factor in zip(spacing, shrunk, strict=True))
    return replace(content, spacing=spacing, spacing_source=source, findings=(*content.findings, *findings))


def _left_on_disk(path: Path, file: tifffile.TiffFile, whole: Any, level: int, index: list[Any]) -> Content | None:
    """A level and the smaller ones as pixels that are read when they are cut out; None where they cannot be."""
    found = []
    for series in whole.levels[level:]:
        content = _planes_on_disk(path, file, series, index) if len(series.axes) == len(index) else None
        if content is not None:
            check_size(path, content.pixels.shape, content.pixels.dtype.itemsize, ON_DISK)
            _check_segments(path, series)
            found.append(content)
        elif not found:
            return None
    return replace(found[0], levels=tuple(content.pixels for content in found[1:]))


def _planes_on_disk(path: Path, file: tifffile.TiffFile, series: Any, index: list[Any]) -> Content | None:
    page, axes = series.keyframe, series.axes
    samples = series.shape[-1] if axes.endswith("S") else 1
    plain = axes.removesuffix("S").endswith("YX") and axes.count("S") == (samples > 1) and series.dtype is not None
    if not plain or page.photometric == _PALETTE or samples in (2, 4) or series.dtype.kind not in "uif":
        return None
    height, width = series.shape[axes.index("Y")], series.shape[axes.index("X")]
    others = series.shape[: axes.index("Y")]
    count = math.prod(others)
    whole = (page.imagelength, page.imagewidth, page.samplesperpixel)
    pages: dict[int, Coded | Raw]
    if series.dataoffset is not None:
        step = height * width * samples * series.dtype.itemsize
        stored = np.dtype(series.dtype).newbyteorder(file.byteorder)
        if path.stat().st_size < series.dataoffset + count * step:
            raise ReadError(f"{path} is truncated: the file ends before its pixels do; copy or export it again.")
        pages = {n: Raw(series.dataoffset + n * step, (height, width, samples), stored) for n in range(count)}
    else:
        segment = math.prod(segment_shape(page)) * samples * series.dtype.itemsize
        if segment < 1:
            raise ReadError(f"{path} is damaged: its tiles or strips hold no pixels; copy or export it again.")
        if whole != (height, width, samples) or page.imagedepth != 1 or segment > SEGMENT or len(series.pages) != count:
            return None
        if any(entry is None for entry in series.pages):
            return None
        pages = {number: Coded(entry) for number, entry in enumerate(series.pages)}
    # Numbers of planes go the way that pixels would: whatever is chosen and turned round, they say where it came from.
    numbers = np.arange(count * samples).reshape(*others, 1, 1, *([samples] if samples > 1 else []))
    kept = "".join(axis for axis, part in zip(axes, index, strict=True) if isinstance(part, slice))
    content = _arranged(path, file, kept, numbers[tuple(index)])
    planes = np.stack(np.divmod(np.asarray(content.pixels[...])[..., 0, 0], samples), axis=-1)
    used = sorted(set(planes[..., 0].ravel().tolist()))
    return replace(content, pixels=Segments(path, planes, {n: pages[n] for n in used}, series.dtype))


def _scene_names(file: tifffile.TiffFile) -> list[str]:
    """A name for each series; empty where it has none."""
    images = calibration.ome_images(file.ome_metadata) if file.is_ome and file.ome_metadata else []
    names = [image.get("Name", "") for image in images]
    return names if len(names) == len(file.series) else [""] * len(file.series)


def _selected(path: Path, series: Any, choice: Choice) -> tuple[list[Any], tuple[str, ...]]:
    """What to cut out of a series of a time series; other axes stay for `_arranged`."""
    index: list[Any] = [slice(None)] * len(series.axes)
    count = series.shape[series.axes.index("T")] if "T" in series.axes else 1
    frame, said = time_index(path, count, choice)
    if "T" in series.axes:
        index[series.axes.index("T")] = frame
    return index, said


def _cut(series: Any, index: list[Any]) -> tuple[str, NDArray[Any]]:
    """The axes and pixels of what was chosen, of which nothing else is decoded."""
    if all(isinstance(part, slice) for part in index):
        return series.axes, series.asarray()
    place = next(number for number, part in enumerate(index) if not isinstance(part, slice))
    import zarr  # a quarter of a second, which only files with a choice should cost

    store = zarr.open_array(series.aszarr(), mode="r")
    return series.axes[:place] + series.axes[place + 1 :], np.asarray(store[tuple(index)])


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


def _check_directory(path: Path) -> None:
    """Refuse a file that ends before the tags of its first page do, or before the last of its pages.

    tifffile passes over such tags and pages, and with them would go the pixel size, or channels.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(16)
        order, big = ("<" if start[:2] == b"II" else ">"), start[2:4] in (b"+\0", b"\0+")
        word, head, entry = (f"{order}{code}" for code in (("Q", "Q", "HHQ8s") if big else ("I", "H", "HHI4s")))
        offset = struct.unpack_from(word, start, 8 if big else 4)[0]
        file.seek(offset)
        count = struct.unpack(head, file.read(struct.calcsize(head)))[0]
        entries = file.read(count * struct.calcsize(entry))
        _check_chain(path, file, size, offset, (word, head, entry))
    for _, kind, number, value in struct.iter_unpack(entry, entries):
        length = number * _TYPE_BYTES.get(kind, 1)
        place = struct.unpack(word, value)[0]
        if length > len(value) and place + length > size:
            raise ReadError(f"{path} is truncated: the file ends before its tags do; copy or export it again.")


def _check_chain(path: Path, file: BinaryIO, size: int, first: int, codes: tuple[str, str, str]) -> None:
    """Follow the directories behind the first, of which each says where the next one lies, to the end."""
    word, head, entry = codes
    seen = {first}
    while len(data := file.read(struct.calcsize(word))) == struct.calcsize(word):
        offset = struct.unpack(word, data)[0]
        if offset == 0 or offset in seen:
            return
        seen.add(offset)
        file.seek(min(offset, size))
        data = file.read(struct.calcsize(head))
        tags = struct.unpack(head, data)[0] * struct.calcsize(entry) if len(data) == struct.calcsize(head) else size
        if offset + tags > size:
            raise ReadError(f"{path} is truncated: the file ends before its pages do; copy or export it again.")
        file.seek(tags, 1)


def _check_segments(path: Path, series: Any) -> None:
    """Refuse a file that ends before its pixels do."""
    size = path.stat().st_size
    for page in series.pages:
        if page is None:
            continue
        keyframe = page.keyframe
        segments = zip(page.dataoffsets, page.databytecounts, strict=False)
        short = any(offset + count > size for offset, count in segments)
        if keyframe.compression == _UNCOMPRESSED and not short:
            short = sum(page.databytecounts) < keyframe.nbytes and not keyframe.is_tiled
        if keyframe.compression in _AT_MOST and not short:
            short = sum(page.databytecounts) * _AT_MOST[keyframe.compression] < keyframe.nbytes
        if short:
            raise ReadError(f"{path} is truncated: the file ends before its pixels do; copy or export it again.")


def _arranged(path: Path, file: tifffile.TiffFile, axes: str, pixels: NDArray[Any]) -> Content:
    """Pixels with channels first, whatever order and further axes the file has."""
    findings: list[str] = []
    for axis in [axis for axis in axes if axis not in "CZYXS"]:
        position = axes.index(axis)
        count = pixels.shape[position]
        if count > 1 and axis in "QI" and count <= _FEW_PAGES and "C" not in axes:
            axes = axes.replace(axis, "C")
            findings.append(f"{count} pages whose meaning the file does not state are taken as channels")
            continue
        if count > 1:
            findings.append(f"the file holds {count} pages whose meaning it does not state; the first is read")
        pixels, axes = pixels.take(0, axis=position), axes[:position] + axes[position + 1 :]
    if "Z" in axes and pixels.shape[axes.index("Z")] == 1:
        pixels, axes = pixels.take(0, axis=axes.index("Z")), axes.replace("Z", "")
    if "Y" not in axes or "X" not in axes:
        raise ReadError(f"Expected a picture with rows and columns, but {path} has the axes {axes!r}; export it again.")
    wanted = [axis for axis in "CZYXS" if axis in axes]
    pixels = pixels.transpose([axes.index(axis) for axis in wanted])
    pixels = pixels.astype(np.uint8) if pixels.dtype.kind == "b" else pixels
    pixels = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
    content = _planes(file, "".join(wanted), pixels)
    return replace(content, findings=tuple(findings))


def _planes(file: tifffile.TiffFile, axes: str, pixels: NDArray[Any]) -> Content:
    """Content of pixels in the order C, Z, Y, X, S, of which C, Z and S may be missing."""
    page = file.pages.first
    if "S" in axes:
        if "C" in axes and pixels.shape[0] == 1:
            pixels, axes = pixels[0], axes[1:]
        if "C" not in axes and "Z" not in axes and pixels.shape[-1] <= 4:
            return from_samples(pixels)
        merged = np.moveaxis(pixels, -1, 1 if "C" in axes else 0)
        rest = pixels.shape[1:-1] if "C" in axes else pixels.shape[:-1]
        return Content(np.ascontiguousarray(merged.reshape(-1, *rest)))
    if "C" not in axes:
        pixels = pixels[None]
    table = None if file.is_imagej or file.is_ome or page.photometric != _PALETTE else page.colormap
    if table is not None and pixels.shape[0] == 1 and pixels.ndim == 3:
        # The table has 16 bits per colour; its upper byte is the 8-bit colour that was meant.
        return from_samples(np.moveaxis((np.asarray(table) >> 8).astype(np.uint8)[:, pixels[0]], 0, -1))
    rgb = file.is_ome is False and page.photometric == 2 and pixels.shape[0] == 3 and pixels.ndim == 3
    return Content(np.ascontiguousarray(pixels), rgb=bool(rgb))


def _channel_names(file: tifffile.TiffFile, scene: int) -> tuple[str, ...]:
    """Names of the channels from OME-XML or ImageJ labels; empty where none are given."""
    if file.is_ome and file.ome_metadata:
        pixels = calibration.ome_pixels(file.ome_metadata, scene)
        return () if pixels is None else calibration.ome_channels(pixels)
    if file.is_imagej:
        metadata = file.imagej_metadata or {}
        labels, count = metadata.get("Labels"), int(metadata.get("channels", 1))
        if isinstance(labels, list) and metadata.get("slices", 1) == 1 and metadata.get("frames", 1) == 1:
            return tuple(str(label).splitlines()[0].strip() if str(label).strip() else "" for label in labels[:count])
    return ()


def _stage(file: tifffile.TiffFile, scene: int) -> tuple[float, ...] | None:
    """Where the stage stood, micrometres, (y, x), from OME-XML, FEI or Zeiss tags."""
    if file.is_ome and file.ome_metadata:
        pixels = calibration.ome_pixels(file.ome_metadata, scene)
        return None if pixels is None else calibration.ome_stage(pixels)
    place = []
    for axis in "YX":
        value = math.nan
        if file.fei_metadata:
            value = calibration.number(file.fei_metadata.get("Stage", {}).get(f"Stage{axis}")) * 1e6
        elif file.sem_metadata:
            stated = file.sem_metadata.get(f"ap_stage_at_{axis.lower()}", ())
            length = calibration.unit_length(str(stated[2])) if len(stated) == 3 else None
            value = math.nan if length is None else calibration.number(stated[1]) * length
        place.append(value)
    return tuple(place) if all(math.isfinite(value) for value in place) else None


def _spacing(path: Path, file: tifffile.TiffFile, axes: str, scene: int) -> Stated:
    """Micrometres per pixel for the axes, where they stand, and what is worth saying about them."""
    if file.is_ome and file.ome_metadata:
        pixels = calibration.ome_pixels(file.ome_metadata, scene)
        if pixels is not None:
            return _settled(path, calibration.ome_spacing(pixels, axes), "OME-XML", pixels.get("PhysicalSizeX"), axes)
    if file.is_imagej:
        return _imagej(path, file, axes)
    if len(axes) == 2 and file.fei_metadata:
        for section in ("Scan", "EScan"):
            scan = file.fei_metadata.get(section, {})
            if "PixelWidth" in scan and "PixelHeight" in scan:
                sizes = [calibration.number(scan[key]) * 1e6 for key in ("PixelHeight", "PixelWidth")]
                return calibration.checked(path, sizes, "FEI tags"), "FEI tags", ()
    if len(axes) == 2 and file.sem_metadata:
        for key in ("ap_image_pixel_size", "ap_pixel_size"):
            stated = file.sem_metadata.get(key, ())
            length = calibration.unit_length(str(stated[2])) if len(stated) == 3 else None
            if length is not None:
                size = calibration.number(stated[1]) * length
                return calibration.checked(path, (size, size), "Zeiss tags"), "Zeiss tags", ()
    return None, NOT_STATED, ()


def _imagej(path: Path, file: tifffile.TiffFile, axes: str) -> Stated:
    """The calibration that ImageJ keeps in resolution tags (pixels per unit), with the unit in its own text."""
    metadata = file.imagej_metadata or {}
    tags = file.pages.first.tags
    length = calibration.unit_length(str(metadata.get("unit", "")))
    if length is None or "XResolution" not in tags or "YResolution" not in tags:
        return None, NOT_STATED, ()
    sizes = []
    for name in ("YResolution", "XResolution"):
        pixels, units = tags[name].value
        sizes.append(length * units / pixels if pixels else float("inf"))
    if length >= 1e4 and all(calibration.is_print_resolution(size) for size in sizes):
        return None, NOT_STATED, ("the resolution of the file describes paper and is not taken for a pixel size",)
    if len(axes) == 2:
        return _settled(path, tuple(sizes), "ImageJ tags", sizes, axes)
    depth = metadata.get("spacing")
    full = None if depth is None else (calibration.number(depth) * length, *sizes)
    return _settled(path, full, "ImageJ tags", sizes, axes)


def _settled(path: Path, sizes: tuple[float, ...] | None, source: str, partly: object, axes: str) -> Stated:
    if sizes is not None:
        return calibration.checked(path, sizes, source), source, ()
    if partly is None or len(axes) == 2:
        return None, NOT_STATED, ()
    return None, NOT_STATED, ("the distance of the slices is not stated, so the stack counts as uncalibrated",)
