"""A TIFF file as it is opened: with its OME-XML understood, and what it says of each of its images."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from correlight.io import calibration
from correlight.io import tiff_instruments as instruments
from correlight.io.door import check_regular
from correlight.io.meaning import WHITE_IS_ZERO
from correlight.io.ome import NO_IMAGES, Ome, read_ome
from correlight.io.tiff_stated import Described
from correlight.parsing import check_xml

SHOWN = 12  # images or files in a sentence


@dataclass(frozen=True, slots=True, eq=False)
class Opened:
    """A TIFF file, its OME-XML, and what it says of each series."""

    path: Path
    file: tifffile.TiffFile
    ome: Ome | None

    @property
    def plain(self) -> bool:
        """Whether neither ImageJ nor OME-XML describes it."""
        return not (self.file.is_imagej or self.ome)

    def negates(self, page: Any) -> bool:
        """Whether a page holds truth values that tifffile wrote, which calls each such array white where it is zero."""
        zero_is_white = int(page.photometric) == WHITE_IS_ZERO
        return bool(self.plain and zero_is_white and page.is_shaped and page.bitspersample == 1)

    def axes(self, series: Any) -> str:
        """A letter for each axis of a series; one whose meaning TIFF does not know is what the instrument says."""
        axes = str(series.axes)
        if self.file.is_imagej:
            # Series in time are often kept as slices.
            unit = str((self.file.imagej_metadata or {}).get("zunit", "")).strip().lower()
            return axes.replace("Z", "T") if unit in calibration.SECONDS and "T" not in axes else axes
        several = [axis for axis, count in zip(axes, series.shape, strict=True) if count > 1 and axis in "QI"]
        letter = instruments.third_axis(series.keyframe) if len(several) == 1 else ""
        return axes if not letter or letter in axes else axes.replace(several[0], letter)

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


@contextmanager
def open_tiff(path: Path) -> Iterator[Opened]:
    """The file with its OME-XML understood, so that nothing but files beside it are opened for it."""
    check_regular(path)
    with tifffile.TiffFile(path) as file:
        text = file.ome_metadata if file.is_ome else None
        if not text:
            about = str(file.pages.first.description).lstrip("\ufeff \t\r\n")
            if about.startswith("<"):
                # tifffile parses the descriptions of some scanners of slides by itself.
                check_xml(about, f"Expected a description of the image, but that of {path}")
            yield Opened(path, file, None)
            return
    ome = read_ome(path, text)
    with tifffile.TiffFile(path, omexml=ome.text) as file:
        yield Opened(path, file, ome)


@contextmanager
def quiet() -> Iterator[None]:
    """Keep tifffile's log of oddities off the screen; what matters ends in an error of ours."""
    logger = logging.getLogger("tifffile")
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def absent(opened: Opened) -> str:
    """The files of a set that are not there, for a sentence; empty where none is missing."""
    names = opened.ome.missing if opened.ome else ()
    return f" ({', '.join(name[:80] for name in names[:SHOWN])})" if names else ""
