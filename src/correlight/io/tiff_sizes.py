"""Pixel sizes and stage positions in the dialects of TIFF, each from tags that are public.

Whatever is stated in a unit that is not understood is said; the resolution tags of TIFF itself are believed only where
nothing else states a size and no printer can be meant (decision 14).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.content import NOT_STATED
from correlight.io.door import is_regular
from correlight.parsing import open_regular, parse_xml

_METRE, _NANOMETRE = 1e6, 1e-3  # micrometres
_CENTIMETRE, _INCH = 1e4, 25_400.0
_FEI, _ZEISS, _SIS, _TVIPS, _TESCAN, _MICRO_MANAGER = (34680, 34682), 34118, (33560, 33471), 37706, 50431, 51123
_DM_UNITS, _DM_SCALES = {"X": 65003, "Y": 65004, "Z": 65005}, {"X": 65009, "Y": 65010, "Z": 65011}
_LSM, _UIC = 34412, (33628, 33631)
_DISPLAY = 1024  # pixels of the display that AP_PIXEL_SIZE of Zeiss is of
_WIDTHS = {512, 1024, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768}  # of images that Zeiss SEMs store
_FINE = 3.0  # micrometres; coarser ones are scanners and cameras
_SIDECAR = 2**20  # bytes of a text beside an image
_NUMBER = r"([-+0-9.eE]{1,32})"


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Where to look for what a file says about a series.

    Parameters
    ----------
    path : Path
        The file.
    file : tifffile.TiffFile
        It, opened.
    page : tifffile.TiffPage
        The first of the series.
    pixels : Element or None
        The ``Pixels`` of its OME-XML.
    ome : bool
        Whether the file is described in OME-XML at all.
    """

    path: Path
    file: tifffile.TiffFile
    page: Any
    pixels: ElementTree.Element | None
    ome: bool

    def tag(self, code: int) -> Any:
        """The value of a tag of the series, or of the first page where that has the same shape."""
        first = self.file.pages.first
        for page in (self.page, first):
            if code in page.tags and page.shape == self.page.shape:
                return page.tags[code].value
        return None

    @property
    def width(self) -> int:
        """Pixels of a row as stored."""
        return int(self.page.imagewidth)


@dataclass(frozen=True, slots=True)
class Stated:
    """A pixel size as stated: micrometres in array order or None, where it stands, what to say, files it is from."""

    sizes: tuple[float, ...] | None = None
    source: str = NOT_STATED
    findings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()


def spacing_of(about: Described, axes: str) -> Stated:
    """Micrometres per pixel for the axes ("YX" or "ZYX"), where they stand, and what is worth saying about them.

    Raises
    ------
    ReadError
        If a size is stated that no microscope can mean.
    """
    findings: list[str] = []
    sources = (_ome, _imagej, _lsm, _metamorph, _gatan, _fei, _zeiss, _sis, _tvips, _tescan)
    for source in (*sources, _micro_manager, _meta_series, _jeol, _aperio, _sidecar):
        found = source(about, axes)
        findings += found.findings
        if found.sizes is not None:
            sizes = calibration.checked(about.path, found.sizes, found.source)
            return Stated(sizes, found.source, tuple(findings), found.files)
        if found.source != NOT_STATED:
            # This is where the file states its sizes, and that it does not state one of them is an answer.
            return Stated(findings=tuple(findings))
    found = _resolution(about, axes)
    return Stated(found.sizes, found.source, (*findings, *found.findings))


def stage_of(about: Described) -> tuple[float, ...] | None:
    """Where the stage stood, micrometres, (y, x), from OME-XML, FEI or Zeiss tags."""
    if about.ome:
        return None if about.pixels is None else calibration.ome_stage(about.pixels)
    place = []
    fei, zeiss = _mapping(about, *_FEI), _mapping(about, _ZEISS)
    for axis in "YX":
        value = math.nan
        stage = fei.get("Stage")
        if isinstance(stage, Mapping):
            value = calibration.number(stage.get(f"Stage{axis}")) * _METRE
        elif zeiss:
            value = _zeiss_length(zeiss, f"ap_stage_at_{axis.lower()}") or math.nan
        place.append(value)
    return tuple(place) if all(math.isfinite(value) for value in place) else None


def _mapping(about: Described, *codes: int) -> Mapping[str, Any]:
    for code in codes:
        value = about.tag(code)
        if isinstance(value, Mapping) and value:
            return value
    return {}


def _settled(sizes: Mapping[str, float], axes: str, source: str, findings: tuple[str, ...] = ()) -> Stated:
    """Sizes by axis as a statement; one that is not stated makes the whole uncalibrated, which is said."""
    if all(axis in sizes for axis in axes):
        return Stated(tuple(sizes[axis] for axis in axes), source, findings)
    if len(axes) == 3 and "X" in sizes and "Y" in sizes:
        return Stated(None, source, (*findings, _no_distance(sizes)))
    return Stated(findings=findings)


def _no_distance(sizes: Mapping[str, float]) -> str:
    plane = f"{sizes['Y']:.6g} x {sizes['X']:.6g} µm"
    return f"the distance of the slices is not stated, so the stack counts as uncalibrated (pixels of {plane})"


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
    return _settled(sizes, axes, "OME-XML", tuple(dict.fromkeys(findings)))


def _imagej(about: Described, axes: str) -> Stated:
    """The calibration that ImageJ keeps in resolution tags (pixels per unit), with the units in its own text."""
    if not about.file.is_imagej:
        return Stated()
    metadata = about.file.imagej_metadata or {}
    units = {"X": str(metadata.get("unit", ""))}
    units["Y"], units["Z"] = str(metadata.get("yunit", units["X"])), str(metadata.get("zunit", units["X"]))
    pixels = {axis: _per_unit(about.page, f"{axis}Resolution") for axis in "XY"}
    stated = {axis: 1 / count if count else math.inf for axis, count in pixels.items() if count is not None}
    if "spacing" in metadata:
        stated["Z"] = calibration.number(metadata["spacing"])
    sizes: dict[str, float] = {}
    findings: tuple[str, ...] = ()
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
    found = _settled(sizes, axes, "ImageJ tags", tuple(dict.fromkeys(findings)))
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


# ------------------------------------------------------------------------------------------ instruments


def _lsm(about: Described, axes: str) -> Stated:
    found = _mapping(about, _LSM)
    sizes = {axis: calibration.number(found.get(f"VoxelSize{axis}")) * _METRE for axis in "XYZ"}
    return _settled({axis: size for axis, size in sizes.items() if size > 0}, axes, "LSM tags")


def _metamorph(about: Described, axes: str) -> Stated:
    """MetaMorph stacks state a calibration and its unit."""
    for code in _UIC:
        found = _mapping(about, code)
        if not found.get("SpatialCalibration", found.get("XCalibration")):
            continue
        unit = str(found.get("CalibrationUnits", ""))
        length = calibration.unit_length(unit)
        steps = {axis: calibration.number(found.get(f"{axis}Calibration")) for axis in "XY"}
        if length is None:
            return Stated(findings=calibration.not_understood(f"{steps['X']:.6g}", unit))
        return _settled({axis: step * length for axis, step in steps.items() if step > 0}, axes, "MetaMorph tags")
    return Stated()


def _gatan(about: Described, axes: str) -> Stated:
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
    return _settled(sizes, axes, "Gatan tags", tuple(dict.fromkeys(findings)))


def _fei(about: Described, axes: str) -> Stated:
    found = _mapping(about, *_FEI)
    for name in ("Scan", "EScan"):
        scan = found.get(name)
        if len(axes) == 2 and isinstance(scan, Mapping) and "PixelWidth" in scan and "PixelHeight" in scan:
            sizes = [calibration.number(scan[key]) * _METRE for key in ("PixelHeight", "PixelWidth")]
            return Stated(tuple(sizes), "FEI tags")
    return Stated()


def _zeiss(about: Described, axes: str) -> Stated:
    """The pixel of the stored image, its width, or else that of the display, which is 1,024 pixels wide."""
    found = _mapping(about, _ZEISS)
    if len(axes) != 2 or not found:
        return Stated()
    size = _zeiss_length(found, "ap_image_pixel_size")
    width = _zeiss_length(found, "ap_width")
    shown = _zeiss_length(found, "ap_pixel_size")
    if size is None and width is not None and about.width in _WIDTHS:
        size = width / about.width
    if size is not None:
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


def _sis(about: Described, axes: str) -> Stated:
    found = _mapping(about, *_SIS)
    sizes = {axis: calibration.number(found.get(f"pixelsize{axis.lower()}")) * _METRE for axis in "XY"}
    return _settled({axis: size for axis, size in sizes.items() if size > 0}, axes, "SIS tags")


def _tvips(about: Described, axes: str) -> Stated:
    """EM-MENU of TVIPS counts nanometres, which some versions of tifffile turn into metres."""
    found = _mapping(about, _TVIPS)
    sizes = {axis: calibration.number(found.get(f"PixelSize{axis}")) for axis in "XY"}
    unit = _METRE if sizes["X"] < 1e-5 else _NANOMETRE
    return _settled({axis: size * unit for axis, size in sizes.items() if size > 0}, axes, "TVIPS tags")


def _tescan(about: Described, axes: str) -> Stated:
    value = about.tag(_TESCAN)
    if value is None:
        return Stated()
    data = bytes(value) if isinstance(value, (bytes, tuple, list)) else str(value).encode("latin-1", "replace")
    return _from_text(data.decode("latin-1"), axes, "TESCAN tags")


def _from_text(text: str, axes: str, source: str) -> Stated:
    """Metres per pixel as TESCAN writes them."""
    found = {axis: re.search(rf"PixelSize{axis}[ \t]?=[ \t]?{_NUMBER}", text) for axis in "XY"}
    sizes = {axis: calibration.number(match[1]) * _METRE for axis, match in found.items() if match}
    return _settled(sizes, axes, source)


def _micro_manager(about: Described, axes: str) -> Stated:
    found = _mapping(about, _MICRO_MANAGER)
    size = next((calibration.number(found[key]) for key in ("PixelSizeUm", "PixelSize_um") if key in found), math.nan)
    step = calibration.number(found.get("z-step_um", math.nan))
    sizes = {"X": size, "Y": size, "Z": abs(step)}
    return _settled({axis: value for axis, value in sizes.items() if value > 0}, axes, "Micro-Manager tags")


def _meta_series(about: Described, axes: str) -> Stated:
    """MetaXpress and MetaMorph describe the plane in XML."""
    text = about.page.description or ""
    if not text.startswith("<MetaData>"):
        return Stated()
    stated = {entry.get("id"): entry.get("value") for entry in _xml(text) if calibration.local_name(entry) == "prop"}
    unit = str(stated.get("spatial-calibration-units", ""))
    length = calibration.unit_length(unit)
    steps = {axis: calibration.number(stated.get(f"spatial-calibration-{axis.lower()}")) for axis in "XY"}
    if length is None:
        return Stated(findings=calibration.not_understood(f"{steps['X']:.6g}", unit))
    return _settled({axis: step * length for axis, step in steps.items() if step > 0}, axes, "MetaMorph tags")


def _jeol(about: Described, axes: str) -> Stated:
    """TEM Center of JEOL describes the image in XML; lengths are nanometres."""
    text = about.page.description or ""
    if "TemReporter" not in text[:4096]:
        return Stated()
    texts = {calibration.local_name(entry): (entry.text or "").strip() for entry in _xml(text)}
    name = next((key for key in texts if key.endswith("LengthPerPixel") and texts[key]), "")
    size = calibration.number(texts.get(name)) * _NANOMETRE
    kind = next((value for key, value in texts.items() if key.endswith("MeasurementUnitType")), "")
    if "Diffraction" in kind or not size > 0:
        return Stated()
    return _settled({"X": size, "Y": size}, axes, "JEOL tags")


def _xml(text: str) -> Iterator[ElementTree.Element]:
    try:
        return parse_xml(text, "Expected a description in XML, but it").iter()
    except ReadError:
        return iter(())


def _aperio(about: Described, axes: str) -> Stated:
    text = about.page.description or ""
    match = re.search(rf"\|[ \t]?MPP[ \t]?=[ \t]?{_NUMBER}", text) if text.startswith("Aperio") else None
    if match is None:
        return Stated()
    size = calibration.number(match[1])
    return _settled({"X": size, "Y": size}, axes, "Aperio description")


# ------------------------------------------------------------------------------------- texts beside the image


def _sidecar(about: Described, axes: str) -> Stated:
    """What Hitachi, JEOL and TESCAN scanning microscopes write into a text of the same name beside the picture."""
    readers: tuple[tuple[str, Callable[[str, Described], Stated]], ...] = (
        (".txt", _hitachi),
        (".txt", _jeol_text),
        (".hdr", lambda text, about: _from_text(text, "YX", "TESCAN header")),
    )
    if len(axes) != 2:
        return Stated()
    for ending, reader in readers:
        for beside in (about.path.with_suffix(ending), about.path.with_suffix(ending.upper())):
            if not is_regular(beside):
                continue
            with open_regular(beside, "a text") as file:
                data = file.read(_SIDECAR)
            wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
            found = reader(data.decode("utf-16" if wide else "latin-1", "replace"), about)
            if found.sizes is not None:
                return Stated(found.sizes, f"{found.source} ({beside.name})", found.findings, (beside,))
    return Stated()


def _hitachi(text: str, about: Described) -> Stated:
    if "[SemImageFile]" not in text[:4096]:
        return Stated()
    size = re.search(rf"(?m)^PixelSize={_NUMBER}", text)
    shape = re.search(r"(?m)^DataSize=([0-9]{1,9})x([0-9]{1,9})", text)
    if size is None or shape is None or int(shape[1]) != about.width:
        return Stated()
    value = calibration.number(size[1]) * _NANOMETRE
    return _settled({"X": value, "Y": value}, "YX", "Hitachi text")


def _jeol_text(text: str, about: Described) -> Stated:
    bar = re.search(rf"(?m)^\$\$SM_MICRON_BAR {_NUMBER}", text)
    marker = re.search(rf"(?m)^\$\$SM_MICRON_MARKER {_NUMBER} ?([^\s0-9]{{1,16}})", text)
    if bar is None or marker is None:
        return Stated()
    shape = re.search(r"(?m)^\$CM_FULL_SIZE ([0-9]{1,9}) ([0-9]{1,9})", text)
    length, pixels = calibration.unit_length(marker[2]), calibration.number(bar[1])
    if length is None or not pixels > 0 or (shape is not None and int(shape[1]) != about.width):
        return Stated()
    size = calibration.number(marker[1]) * length / pixels
    return _settled({"X": size, "Y": size}, "YX", "JEOL text")


# -------------------------------------------------------------------------------- the resolution of TIFF itself


def _resolution(about: Described, axes: str) -> Stated:
    """The standard tags, where they are plausible for a microscope and not for a printer."""
    unit = {2: _INCH, 3: _CENTIMETRE}.get(int(about.tag(296) or 2))
    pixels = {axis: _per_unit(about.page, f"{axis}Resolution") for axis in "YX"}
    counts = [count for count in pixels.values() if count]
    if unit is None or len(axes) != 2 or len(counts) != 2 or not all(map(math.isfinite, counts)):
        return Stated()
    sizes = tuple(unit / count for count in counts)
    if any(calibration.is_print_resolution(size) or not calibration.SMALLEST <= size <= _FINE for size in sizes):
        return Stated()
    said = (
        f"the pixel size of {sizes[1]:.6g} µm is that of the resolution tags, as nothing else states one; "
        "give the pixel size if they were meant for paper"
    )
    return Stated(sizes, "resolution tags", (said,))
