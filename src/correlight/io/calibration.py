"""Pixel sizes as files state them: lengths with units, and which statements are none.

A resolution in dots per inch describes paper. Software writes 72, 96 or 300 dpi when it knows nothing, and programs
that read it keep it as "inch" or "cm"; whole numbers of dots per inch are therefore never a calibration.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from correlight.errors import ReadError
from correlight.geometry import LARGEST_PIXEL, SMALLEST_PIXEL

SMALLEST, LARGEST = SMALLEST_PIXEL, LARGEST_PIXEL
FINE, SCANNER = 3.0, 25.0  # micrometres; coarser pixels are those of cameras and scanners, and those of paper

_METRE = 1e6
_PREFIXES = {
    "Y": 24, "Z": 21, "E": 18, "P": 15, "T": 12, "G": 9, "M": 6, "k": 3, "h": 2, "da": 1, "": 0, "d": -1, "c": -2,
    "m": -3, "µ": -6, "n": -9, "p": -12, "f": -15, "a": -18, "z": -21, "y": -24,
}  # fmt: skip
_INCH = 25_400.0
_WORDS = {"pico": -12, "nano": -9, "micro": -6, "milli": -3, "centi": -2, "deci": -1, "": 0, "kilo": 3}
MICROMETRES: dict[str, float] = {
    **{f"{prefix}m": _METRE * 10.0**power for prefix, power in _PREFIXES.items()},
    **{
        f"{prefix}{word}{plural}": _METRE * 10.0**power
        for prefix, power in _WORDS.items()
        for word in ("meter", "metre")
        for plural in ("", "s")
    },
    "um": 1.0, "micron": 1.0, "microns": 1.0, "µ": 1.0, "mum": 1.0, "ang": 1e-4,
    "Å": 1e-4, "A": 1e-4, "angstrom": 1e-4, "angstroms": 1e-4, "ångström": 1e-4, "ångströms": 1e-4, "ångstrom": 1e-4,
    "ångstroms": 1e-4, "angstroem": 1e-4, "angström": 1e-4,
    "thou": _INCH / 1000, "li": _INCH / 12, "in": _INCH, "inch": _INCH, "inches": _INCH, "ft": 12 * _INCH,
    "yd": 36 * _INCH, "mi": 63_360 * _INCH, "ua": 149_597_870_700 * _METRE, "ly": 9_460_730_472_580_800 * _METRE,
    "pc": 3.0856775814913673e16 * _METRE, "pt": _INCH / 72,
}  # fmt: skip
"""Length of each unit in micrometres: every length of OME-XML, and the words that ImageJ and SEM software use."""

SECONDS = {"s", "sec", "second", "seconds", "ms", "µs", "us", "ns", "min", "h"}
"""Units of time, as programs write them; in lower case."""

_REFERENCE_FRAME = {"reference frame", "referenceframe"}  # of OME: lengths that nobody knows the unit of
_NO_UNIT = {"", "pixel", "pixels", "px", "unit", "units", "none", *_REFERENCE_FRAME}
_AROUND = " \t\r\n\x00\ufeff"
_PER_PIXEL = re.compile(r" ?(?:/|per) ?(?:px|pixels?|pix)\Z", re.IGNORECASE)


def unit_length(unit: str) -> float | None:
    """Length of a unit in micrometres; None for pixels and units that are no length."""
    name = _spelling(unit)
    if name.lower() in _NO_UNIT:
        return None
    return MICROMETRES.get(name, MICROMETRES.get(name.lower()))


def not_understood(stated: str, unit: str) -> tuple[str, ...]:
    """What to say about a number in a unit that is not understood; nothing if the file counts in pixels.

    Programs that know no size write 1 reference frame.
    """
    spelled = _spelling(unit).lower()
    if spelled in _NO_UNIT and (spelled not in _REFERENCE_FRAME or number(stated) == 1):
        return ()
    shown = "".join(c if c.isprintable() else "?" for c in unit.strip())[:40]
    return (f"stated, not understood: {stated} {shown} per pixel",)


def _spelling(unit: str) -> str:
    """A unit as it was meant: escapes resolved, one code for each sign, and text that was decoded wrongly mended."""
    name = unit[:200].strip(_AROUND)  # not all that Python takes for a space: \x85 is half of an Å
    name = re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), name)
    for encoding in ("cp1252", "latin-1"):
        if name.isascii():
            break
        try:
            # Bytes of UTF-8 that were read one by one: "Âµm".
            name = name.encode(encoding).decode("utf-8")
            break
        except UnicodeError:
            continue
    name = unicodedata.normalize("NFC", name).replace("\u03bc", "µ").replace("\u212b", "Å")
    name = _PER_PIXEL.sub("", name).strip().strip("[]().")
    return re.sub(r"(?i)\A(pico|nano|micro|milli|centi)[ -](?=met)", r"\1", name)


def is_print_resolution(size: float) -> bool:
    """Whether a pixel size in micrometres is a whole number of dots per inch, at most 2400."""
    if not (math.isfinite(size) and size > 0):
        return False
    dots = _INCH / size
    return 0.5 < dots < 2400.5 and abs(dots - round(dots)) < 0.02


def is_of_a_microscope(size: float, coarsest: float = FINE) -> bool:
    """Whether a resolution that is stated for paper, in micrometres per pixel, can only be that of a microscope."""
    return SMALLEST <= size <= coarsest and not is_print_resolution(size)


def density_said(sizes: Sequence[float], where: str) -> tuple[str, ...]:
    """What to say of a resolution that is not used, (y, x) in micrometres per pixel; nothing if it describes paper."""
    if not all(is_of_a_microscope(size, SCANNER) for size in sizes):
        return ()
    plane = " x ".join(f"{size:.6g}" for size in sizes)
    return (f"the {where} of {plane} µm per pixel is not used; give the pixel size if it is that of a microscope",)


def checked(path: Path, sizes: Sequence[float], stated_in: str) -> tuple[float, ...]:
    """Pixel sizes in micrometres, array order, after a test whether a microscope can mean them.

    Raises
    ------
    ReadError
        If one is negative, zero, not a number, or outside 1e-6 to 1e5 µm.
    """
    for size in sizes:
        if not (math.isfinite(size) and SMALLEST <= size <= LARGEST):
            shown = "what is no number" if math.isnan(size) else f"{size:g} µm"
            raise ReadError(
                f"Expected a pixel size between {SMALLEST:g} and {LARGEST:g} µm, but the {stated_in} of {path} "
                f"state {shown}; give the true pixel size yourself."
            )
    return tuple(float(size) for size in sizes)


def number(value: Any) -> float:
    """A number from metadata; not-a-number where there is none to read."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def local_name(element: ElementTree.Element) -> str:
    """The name of an XML element without its namespace."""
    return element.tag.rsplit("}", 1)[-1]


def ome_stage(pixels: ElementTree.Element, time: int = 0) -> tuple[float, ...] | None:
    """Where the stage stood at the first plane of a frame, micrometres, (y, x); None where no length is stated."""
    plane = _plane(pixels, time)
    if plane is None:
        return None
    place = []
    for axis in "YX":
        length = unit_length(plane.get(f"Position{axis}Unit", "reference frame"))
        place.append(math.nan if length is None else number(plane.get(f"Position{axis}")) * length)
    return tuple(place) if all(math.isfinite(value) for value in place) else None


def ome_stage_said(pixels: ElementTree.Element, time: int = 0) -> tuple[str, ...]:
    """What to say of a place of the stage that is stated in no length, as many programs do; zeros are none."""
    plane = _plane(pixels, time)
    stated = {} if plane is None else {axis: plane.get(f"Position{axis}") for axis in "YX"}
    given = {axis: value for axis, value in stated.items() if value is not None and number(value) != 0}
    if plane is None or not given or ome_stage(pixels, time) is not None:
        return ()
    words = [
        f"{value[:40]} {plane.get(f'Position{axis}Unit', 'reference frame')[:40]} along {axis.lower()}"
        for axis, value in given.items()
    ]
    return (f"stated, not understood: a stage position of {' and '.join(words)}",)


def _plane(pixels: ElementTree.Element, time: int) -> ElementTree.Element | None:
    """The first plane of a frame."""
    planes = (element for element in pixels if local_name(element) == "Plane")
    return next((element for element in planes if element.get("TheT", "0") == str(time)), None)


def ome_channels(pixels: ElementTree.Element) -> tuple[str, ...]:
    """Names of the channels in OME-XML, one for each; empty if any has none."""
    names = [channel.get("Name", "") for channel in pixels if local_name(channel) == "Channel"]
    return tuple(names) if all(names) else ()
