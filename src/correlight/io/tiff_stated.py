"""Where the sizes of a TIFF file are looked for, and what comes of one that is stated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import tifffile

from correlight.io import calibration
from correlight.io.content import NOT_STATED
from correlight.io.extras import known_in_part

NUMBER = r"([-+0-9.eE]{1,32})"
"""Of a number in a text."""

_METRE = 1e6  # micrometres


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


def mapping(about: Described, *codes: int) -> Mapping[str, Any]:
    """The first of some tags that holds named values; empty where there is none."""
    for code in codes:
        value = about.tag(code)
        if isinstance(value, Mapping) and value:
            return value
    return {}


def settled(sizes: Mapping[str, float], axes: str, source: str, findings: tuple[str, ...] = ()) -> Stated:
    """Sizes by axis as a statement; one that is not stated makes the whole uncalibrated, which is said."""
    if all(axis in sizes for axis in axes):
        return Stated(tuple(sizes[axis] for axis in axes), source, findings)
    if len(axes) == 3 and "X" in sizes and "Y" in sizes:
        return Stated(None, source, (*findings, _no_distance(sizes)))
    said = () if findings else known_in_part(sizes, axes)
    return Stated(None, source if said else NOT_STATED, (*findings, *said))


def _no_distance(sizes: Mapping[str, float]) -> str:
    plane = f"{sizes['Y']:.6g} x {sizes['X']:.6g} µm"
    return f"the distance of the slices is not stated, so the stack counts as uncalibrated (pixels of {plane})"


def from_text(text: str, axes: str, source: str) -> Stated:
    """Metres per pixel as TESCAN writes them."""
    found = {axis: re.search(rf"PixelSize{axis}[ \t]?=[ \t]?{NUMBER}", text) for axis in "XY"}
    sizes = {axis: calibration.number(match[1]) * _METRE for axis, match in found.items() if match}
    return settled(sizes, axes, source)
