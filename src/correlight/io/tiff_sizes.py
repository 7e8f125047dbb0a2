"""Pixel sizes and stage positions in the dialects of TIFF, each from tags that are public.

Whatever is stated in a unit that is not understood is said; the resolution tags of TIFF itself are believed only where
nothing else states a size and no printer can be meant (decision 15).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

from correlight.io import calibration
from correlight.io import tiff_instruments as instruments
from correlight.io.content import NOT_STATED
from correlight.io.texts import text_beside
from correlight.io.tiff_stated import Described, Stated, settled

_CENTIMETRE, _INCH = 1e4, 25_400.0  # micrometres


def spacing_of(about: Described, axes: str) -> Stated:
    """Micrometres per pixel for the axes ("YX" or "ZYX"), where they stand, and what is worth saying about them.

    Raises
    ------
    ReadError
        If a size is stated that no microscope can mean.
    """
    findings: list[str] = []
    for source in _SOURCES:
        found = source(about, axes)
        findings += found.findings
        if found.sizes is not None:
            other = _of_another_image(about, found)
            if other:
                return Stated(findings=(*findings, other))
            sizes = calibration.checked(about.path, found.sizes, found.source)
            return Stated(sizes, found.source, tuple(findings), found.files)
        if found.source != NOT_STATED:
            # This is where the file states its sizes, and that it does not state one of them is an answer.
            return Stated(findings=tuple(findings))
    found = _resolution(about, axes)
    said = (*findings, *_in_words_of_tifffile(about), *found.findings)
    return Stated(found.sizes, found.source, said) if found.sizes else Stated(findings=said)


def _in_words_of_tifffile(about: Described) -> tuple[str, ...]:
    """What is said of sizes that were handed to tifffile for a file of another kind, and that no program looks for."""
    described = about.page.shaped_description or "{}"
    try:
        stated = json.loads(described)
    except ValueError:
        return ()
    given = (
        [f"{key} {value}"[:40] for key, value in stated.items() if key in _SIZES] if isinstance(stated, dict) else []
    )
    return (f"stated, not understood: {', '.join(given)} in the description of tifffile",) if given else ()


_SIZES = (
    "spacing",
    "unit",
    "PhysicalSizeX",
    "PhysicalSizeY",
    "PhysicalSizeZ",
    "resolution",
    "pixel_size",
    "voxel_size",
)


def _of_another_image(about: Described, found: Stated) -> str:
    """What is said of a size that is stated with another width of the image: it was resized or cropped since."""
    width = instruments.recorded_width(about, found.source)
    if found.source == "OME-XML" and about.pixels is not None:
        width = calibration.number(about.pixels.get("SizeX"))
    if found.sizes is None or not width > 0 or width == about.width:
        return ""
    return (
        f"the pixel size in the {found.source}, {found.sizes[-1]:.6g} µm, is that of an image of {width:g} pixels in a "
        f"row, and this one has {about.width}, so it is not used; give the pixel size"
    )


def stage_said(about: Described, time: int = 0) -> tuple[str, ...]:
    """What is worth saying of a stage position that is stated and not understood."""
    return calibration.ome_stage_said(about.pixels, time) if about.ome and about.pixels is not None else ()


def values_said(about: Described) -> tuple[str, ...]:
    """What is worth saying of grey values that ImageJ shows as other numbers, such as those below zero."""
    found = (about.file.imagej_metadata or {}) if about.file.is_imagej else {}
    stated = [f"{key} {found[key]}" for key in ("cf", "c0", "c1", "c2", "c3", "c4") if key in found]
    same = found.get("cf") == 0 and (found.get("c0"), found.get("c1")) == (0, 1)
    if "c0" not in found or same:
        return ()
    return (
        f"the numbers are read as stored; a calibration of grey values is stated and not used ({', '.join(stated)})",
    )


def stage_of(about: Described, time: int = 0) -> tuple[float, ...] | None:
    """Where the stage stood at a frame, micrometres, (y, x), by OME-XML or the tags of an instrument."""
    if about.ome:
        return None if about.pixels is None else calibration.ome_stage(about.pixels, time)
    return instruments.stage(about)


def start_of(about: Described, axes: str) -> tuple[float, ...] | None:
    """Where the first pixel lies, in pixels; ImageJ states the pixel that lies at 0. None where that is the first."""
    found = (about.file.imagej_metadata or {}) if about.file.is_imagej else {}
    place = tuple(-calibration.number(found.get(f"{axis.lower()}origin", 0)) for axis in axes)
    return place if any(place) and all(map(math.isfinite, place)) else None


# --------------------------------------------------------------------------------- OME-XML and ImageJ


def _ome(about: Described, axes: str) -> Stated:
    if about.pixels is None:
        return Stated()
    sizes: dict[str, float] = {}
    findings: tuple[str, ...] = ()
    for axis in axes:
        stated = about.pixels.get(f"PhysicalSize{axis}")
        unit = about.pixels.get(f"PhysicalSize{axis}Unit", "µm")
        length = calibration.unit_length(unit)
        if stated is not None and length is None:
            findings += calibration.not_understood(stated, unit)
        elif stated is not None and length is not None:
            sizes[axis] = calibration.number(stated) * length
    return settled(sizes, axes, "OME-XML", tuple(dict.fromkeys(findings)))


def _imagej(about: Described, axes: str) -> Stated:
    """The calibration that ImageJ keeps in resolution tags (pixels per unit), with the units in its own text."""
    if not about.file.is_imagej:
        return Stated()
    metadata = about.file.imagej_metadata or {}
    units = {"X": str(metadata.get("unit", ""))}
    units["Y"], units["Z"] = str(metadata.get("yunit", units["X"])), str(metadata.get("zunit", units["X"]))
    pixels = {axis: _per_unit(about.page, f"{axis}Resolution") for axis in "XY"}
    stated = {axis: 1 / count if count else math.inf for axis, count in pixels.items() if count is not None}
    sizes: dict[str, float] = {}
    findings: tuple[str, ...] = ()
    if "spacing" in metadata:
        # ImageJ counts the distance downwards in a stack whose slices are in reverse.
        stated["Z"] = abs(calibration.number(metadata["spacing"]))
        if "Z" in axes and calibration.number(metadata["spacing"]) < 0:
            findings += (f"the distance of the slices is stated as {metadata['spacing']}; its sign is not used",)
    for axis in axes:
        length = calibration.unit_length(units[axis])
        if axis in stated and length is None:
            findings += calibration.not_understood(f"{stated[axis]:.6g}", units[axis])
        elif axis in stated and length is not None:
            sizes[axis] = stated[axis] * length
    flat = [sizes[axis] for axis in "YX" if axis in sizes]
    coarse = (calibration.unit_length(units["X"]) or 0) >= _CENTIMETRE
    if coarse and flat and all(calibration.is_print_resolution(size) for size in flat):
        return Stated(None, "ImageJ tags", (_PAPER,))
    found = settled(sizes, axes, "ImageJ tags", tuple(dict.fromkeys(findings)))
    # What ImageJ has no length for is not in inches either.
    return Stated(found.sizes, "ImageJ tags", found.findings)


_PAPER = "the resolution of the file describes paper and is not taken for a pixel size"


def _per_unit(page: Any, name: str) -> float | None:
    """Pixels per unit of a resolution tag; None without one."""
    if name not in page.tags:
        return None
    value = page.tags[name].value
    try:
        pixels, units = value
        return float(pixels / units) if units else math.inf
    except (TypeError, ValueError):
        return None


# -------------------------------------------------------------------------------- the resolution of TIFF itself


def _resolution(about: Described, axes: str) -> Stated:
    """The standard tags, where they are plausible for a microscope and not for a printer."""
    unit = {2: _INCH, 3: _CENTIMETRE}.get(int(about.tag(296) or 2))
    pixels = {axis: _per_unit(about.page, f"{axis}Resolution") for axis in "YX"}
    counts = [count for count in pixels.values() if count]
    if unit is None or len(counts) != 2 or not all(map(math.isfinite, counts)):
        return Stated()
    sizes = tuple(unit / count for count in counts)
    if not all(map(calibration.is_of_a_microscope, sizes)):
        return Stated(findings=calibration.density_said(sizes, "resolution"))
    if len(axes) == 3:
        return settled(dict(zip("YX", sizes, strict=True)), axes, "resolution tags")
    said = (
        f"the pixel size of {sizes[1]:.6g} µm is that of the resolution tags, as nothing else states one; "
        "give the pixel size if they were meant for paper"
    )
    return Stated(sizes, "resolution tags", (said,))


def _beside(about: Described, axes: str) -> Stated:
    return text_beside(about.path, about.width) if len(axes) == 2 else Stated()


_SOURCES: tuple[Callable[[Described, str], Stated], ...] = (
    _ome, _imagej, instruments.lsm, instruments.metamorph, instruments.gatan, instruments.fei, instruments.zeiss,
    instruments.sis, instruments.tvips, instruments.tescan, instruments.micro_manager, instruments.meta_series,
    instruments.jeol, instruments.aperio, _beside,
)  # fmt: skip
