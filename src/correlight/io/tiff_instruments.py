"""Pixel sizes and stage positions in the tags that instruments and their programs put into TIFF files."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from xml.etree import ElementTree

import numpy as np

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.tiff_stated import NUMBER, Described, Stated, from_text, mapping, settled
from correlight.parsing import parse_xml

_METRE, _NANOMETRE = 1e6, 1e-3  # micrometres
FEI, ZEISS = (34680, 34682), 34118
"""Tags in which the scanning electron microscopes of two makers describe an image."""
_SIS, _TVIPS, _TESCAN, _MICRO_MANAGER = (33560, 33471), 37706, 50431, 51123
_DM_UNITS, _DM_SCALES = {"X": 65003, "Y": 65004, "Z": 65005}, {"X": 65009, "Y": 65010, "Z": 65011}
_LSM, _UIC = 34412, (33628, 33631)
TAGS = frozenset({*FEI, ZEISS, *_SIS, _TVIPS, _TESCAN, _LSM, *_UIC, *_DM_SCALES.values()})
"""Of the image that the instrument recorded, and not of pictures of it for the screen."""
_DISPLAY = 1024  # pixels of the display that AP_PIXEL_SIZE of Zeiss is of
_ROUNDED = 5e-4  # of a number in four digits
_WIDTHS = {512, 1024, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768}  # of images that Zeiss SEMs store


def lsm(about: Described, axes: str) -> Stated:
    """Zeiss LSM counts metres."""
    found = mapping(about, _LSM)
    sizes = {axis: calibration.number(found.get(f"VoxelSize{axis}")) * _METRE for axis in "XYZ"}
    return settled({axis: size for axis, size in sizes.items() if size > 0}, axes, "LSM tags")


def metamorph(about: Described, axes: str) -> Stated:
    """MetaMorph stacks state a calibration and its unit, and how far each plane lies from the next, in micrometres."""
    found: Mapping[str, Any] = (about.file.stk_metadata or {}) if about.file.is_stk else {}
    sizes: dict[str, float] = {}
    distances = np.asarray(found.get("ZDistance", ()), float)
    if distances.size and distances[0] > 0 and np.allclose(distances, distances[0]):
        sizes["Z"] = float(distances[0])
    if found.get("SpatialCalibration", found.get("XCalibration")):
        unit = str(found.get("CalibrationUnits", ""))
        length = calibration.unit_length(unit)
        steps = {axis: calibration.number(found.get(f"{axis}Calibration")) for axis in "XY"}
        if length is None:
            return Stated(findings=calibration.not_understood(f"{steps['X']:.6g}", unit))
        sizes |= {axis: step * length for axis, step in steps.items() if step > 0}
    return settled(sizes, axes, "MetaMorph tags")


def gatan(about: Described, axes: str) -> Stated:
    """TIFF that DigitalMicrograph exported: a unit and a scale for each axis."""
    sizes: dict[str, float] = {}
    findings: tuple[str, ...] = ()
    for axis in axes:
        scale = calibration.number(about.tag(_DM_SCALES[axis]))
        unit = about.tag(_DM_UNITS[axis])
        if unit is None or not math.isfinite(scale):
            continue
        text = unit.decode("latin-1") if isinstance(unit, bytes) else str(unit)
        length = calibration.unit_length(text)
        if length is None:
            findings += calibration.not_understood(f"{scale:.6g}", text)
        else:
            sizes[axis] = scale * length
    return settled(sizes, axes, "Gatan tags", tuple(dict.fromkeys(findings)))


def third_axis(page: Any) -> str:
    """What DigitalMicrograph says of the pages of an export: "Z" for a length, "T" for a time, else nothing."""
    unit = page.tags.valueof(_DM_UNITS["Z"])
    text = (unit.decode("latin-1") if isinstance(unit, bytes) else str(unit or "")).strip("\x00 ")
    if text.lower() in calibration.SECONDS:
        return "T"
    scale = calibration.number(page.tags.valueof(_DM_SCALES["Z"]))
    return "Z" if calibration.unit_length(text) is not None and scale > 0 else ""


def fei(about: Described, axes: str) -> Stated:
    """The scan of an electron microscope of FEI (Thermo), in metres."""
    found = mapping(about, *FEI)
    for name in ("Scan", "EScan"):
        scan = found.get(name)
        if len(axes) == 2 and isinstance(scan, Mapping) and "PixelWidth" in scan and "PixelHeight" in scan:
            sizes = [calibration.number(scan[key]) * _METRE for key in ("PixelHeight", "PixelWidth")]
            return Stated(tuple(sizes), "FEI tags")
    return Stated()


def zeiss(about: Described, axes: str) -> Stated:
    """The pixel of the stored image, its width, or else that of the display, which is 1,024 pixels wide."""
    found = mapping(about, ZEISS)
    if len(axes) != 2 or not found:
        return Stated()
    size = _zeiss_length(found, "ap_image_pixel_size")
    width = _zeiss_length(found, "ap_width")
    shown = _zeiss_length(found, "ap_pixel_size")
    if size is None and width is not None and about.width in _WIDTHS:
        size = width / about.width
    if size is not None:
        size = _to_more_digits(found, size, about.width)
        return Stated((size, size), "Zeiss tags")
    if shown is not None and about.width in _WIDTHS:
        size = shown * _DISPLAY / about.width
        said = f"the pixel size that is stated ({shown:.6g} µm) is that of a display of 1024 pixels, the image has "
        return Stated((size, size), "Zeiss tags", () if about.width == _DISPLAY else (f"{said}{about.width}",))
    if shown is not None:
        calibration.checked(about.path, (shown,), "Zeiss tags")
        said = f"stated, not understood: {shown:.6g} µm on a display of 1024 pixels, for an image of {about.width}"
        return Stated(None, "Zeiss tags", (said,))
    texts = [found[key] for key in ("ap_image_pixel_size", "ap_pixel_size") if key in found]
    return Stated(findings=tuple(said for text in texts for said in _zeiss_said(text)))


def _to_more_digits(found: Mapping[str, Any], size: float, width: int) -> float:
    """A pixel size stated in words of four digits, with those of the number that heads the tag if it is the same one.

    That has no name; it is the fourth, in metres, of a pixel of the image or of the display.
    """
    heads = found.get("", ())
    exact = calibration.number(heads[3]) * _METRE if isinstance(heads, (tuple, list)) and len(heads) > 3 else math.nan
    alike = (value for value in (exact, exact * _DISPLAY / width) if abs(value - size) < _ROUNDED * size)
    return next(alike, size)


def _zeiss_length(found: Mapping[str, Any], key: str) -> float | None:
    stated = found.get(key, ())
    if not isinstance(stated, tuple) or len(stated) != 3:
        return None
    length = calibration.unit_length(str(stated[2]))
    return None if length is None else calibration.number(stated[1]) * length


def _zeiss_said(stated: Any) -> tuple[str, ...]:
    if isinstance(stated, tuple) and len(stated) == 3:
        return calibration.not_understood(str(stated[1]), str(stated[2]))
    return ()


def sis(about: Described, axes: str) -> Stated:
    """Olympus SIS counts metres."""
    found = mapping(about, *_SIS)
    sizes = {axis: calibration.number(found.get(f"pixelsize{axis.lower()}")) * _METRE for axis in "XY"}
    return settled({axis: size for axis, size in sizes.items() if size > 0}, axes, "SIS tags")


def tvips(about: Described, axes: str) -> Stated:
    """EM-MENU of TVIPS counts nanometres, which some versions of tifffile turn into metres."""
    found = mapping(about, _TVIPS)
    sizes = {axis: calibration.number(found.get(f"PixelSize{axis}")) for axis in "XY"}
    unit = _METRE if sizes["X"] < 1e-5 else _NANOMETRE
    return settled({axis: size * unit for axis, size in sizes.items() if size > 0}, axes, "TVIPS tags")


def tescan(about: Described, axes: str) -> Stated:
    """TESCAN keeps a text in a tag, which its other files have beside them."""
    return from_text(_tescan_text(about), axes, "TESCAN tags")


def _tescan_text(about: Described) -> str:
    value = about.tag(_TESCAN)
    if value is None:
        return ""
    data = bytes(value) if isinstance(value, (bytes, tuple, list)) else str(value).encode("latin-1", "replace")
    return data.decode("latin-1")


def micro_manager(about: Described, axes: str) -> Stated:
    """Micro-Manager counts micrometres."""
    found = mapping(about, _MICRO_MANAGER)
    size = next((calibration.number(found[key]) for key in ("PixelSizeUm", "PixelSize_um") if key in found), math.nan)
    step = calibration.number(found.get("z-step_um", math.nan))
    sizes = {"X": size, "Y": size, "Z": abs(step)}
    return settled({axis: value for axis, value in sizes.items() if value > 0}, axes, "Micro-Manager tags")


def meta_series(about: Described, axes: str) -> Stated:
    """MetaXpress and MetaMorph describe the plane in XML."""
    stated = _properties(about)
    if not stated:
        return Stated()
    unit = str(stated.get("spatial-calibration-units", ""))
    length = calibration.unit_length(unit)
    steps = {axis: calibration.number(stated.get(f"spatial-calibration-{axis.lower()}")) for axis in "XY"}
    if length is None:
        return Stated(findings=calibration.not_understood(f"{steps['X']:.6g}", unit))
    return settled({axis: step * length for axis, step in steps.items() if step > 0}, axes, "MetaMorph tags")


def _properties(about: Described) -> dict[str | None, str | None]:
    """What MetaSeries says of a plane; empty where another program wrote it."""
    text = about.page.description or ""
    if not text.startswith("<MetaData>"):
        return {}
    return {entry.get("id"): entry.get("value") for entry in _xml(text) if calibration.local_name(entry) == "prop"}


def jeol(about: Described, axes: str) -> Stated:
    """TEM Center of JEOL describes the image in XML; lengths are nanometres."""
    text = about.page.description or ""
    if "TemReporter" not in text[:4096]:
        return Stated()
    texts = {calibration.local_name(entry): (entry.text or "").strip() for entry in _xml(text)}
    name = next((key for key in texts if key.endswith("LengthPerPixel") and texts[key]), "")
    size = calibration.number(texts.get(name)) * _NANOMETRE
    kind = next((value for key, value in texts.items() if key.endswith("MeasurementUnitType")), "")
    if size > 0 and "Diffraction" in kind:
        return Stated(findings=(f"stated, not understood: {texts[name]} per pixel of a diffraction pattern",))
    if not size > 0:
        return Stated()
    return settled({"X": size, "Y": size}, axes, "JEOL tags")


def _xml(text: str) -> Iterator[ElementTree.Element]:
    try:
        return parse_xml(text, "Expected a description in XML, but it").iter()
    except ReadError:
        return iter(())


def aperio(about: Described, axes: str) -> Stated:
    """Slide scanners of Aperio state micrometres per pixel in the description."""
    text = about.page.description or ""
    match = re.search(rf"\|[ \t]?MPP[ \t]?=[ \t]?{NUMBER}", text) if text.startswith("Aperio") else None
    if match is None:
        return Stated()
    size = calibration.number(match[1])
    return settled({"X": size, "Y": size}, axes, "Aperio description")


def recorded_width(about: Described, source: str) -> float:
    """Pixels in a row of the image that an instrument recorded, where the tags with its pixel size say; else nan."""
    width: Any = None
    if source == "FEI tags":
        image = mapping(about, *FEI).get("Image")
        width = image.get("ResolutionX") if isinstance(image, Mapping) else None
    elif source == "Zeiss tags":
        stored = mapping(about, ZEISS).get("dp_image_store", ("", ""))
        width = str(stored[-1]).partition("*")[0]
    elif source == "Micro-Manager tags":
        width = mapping(about, _MICRO_MANAGER).get("Width")
    return calibration.number(width)


def stage(about: Described) -> tuple[float, ...] | None:
    """Where the stage stood, micrometres, (y, x), by the tags of an instrument; None where they do not say."""
    for source in (_fei_stage, _zeiss_stage, _tvips_stage, _tescan_stage, _micro_manager_stage, _metamorph_stage):
        place = source(about)
        if len(place) == 2 and all(math.isfinite(value) for value in place):
            return tuple(place)
    return None


def _fei_stage(about: Described) -> Sequence[float]:
    found = mapping(about, *FEI).get("Stage")
    if not isinstance(found, Mapping):
        return []
    return [calibration.number(found.get(f"Stage{axis}")) * _METRE for axis in "YX"]


def _zeiss_stage(about: Described) -> Sequence[float]:
    lengths = [_zeiss_length(mapping(about, ZEISS), f"ap_stage_at_{axis}") for axis in "yx"]
    return [math.nan if length is None else length for length in lengths]


def _tvips_stage(about: Described) -> Sequence[float]:
    """EM-MENU counts metres here, and leaves zeros where the microscope does not tell."""
    found = np.ravel(mapping(about, _TVIPS).get("TemStagePosition", ()))
    return [float(found[1]) * _METRE, float(found[0]) * _METRE] if len(found) >= 2 and found.any() else []


def _tescan_stage(about: Described) -> Sequence[float]:
    found = [re.search(rf"Stage{axis}[ \t]?=[ \t]?{NUMBER}", _tescan_text(about)) for axis in "YX"]
    return [calibration.number(match[1]) * _METRE for match in found if match]


def _micro_manager_stage(about: Described) -> Sequence[float]:
    found = mapping(about, _MICRO_MANAGER)
    return [calibration.number(found.get(f"{axis}PositionUm")) for axis in "YX"]


def _metamorph_stage(about: Described) -> Sequence[float]:
    """MetaSeries counts micrometres. The places in stacks are not taken, as tifffile drops their sign."""
    stated = _properties(about)
    return [calibration.number(stated.get(f"stage-position-{axis}")) for axis in "yx"]
