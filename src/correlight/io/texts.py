"""Texts that scanning electron microscopes write beside a picture, under its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from correlight.io import calibration
from correlight.io.tiff_stated import NUMBER, Stated, from_text, settled
from correlight.parsing import is_regular, open_regular

_NANOMETRE = 1e-3  # micrometres
_SIDECAR = 2**20  # bytes of a text beside an image


def text_beside(path: Path, width: int) -> Stated:
    """What Hitachi, JEOL and TESCAN microscopes write into a text of the name of a flat picture of so many columns."""
    findings: tuple[str, ...] = ()
    for ending, reader in _READERS:
        for beside in (path.with_suffix(ending), path.with_suffix(ending.upper())):
            if not is_regular(beside):
                continue
            with open_regular(beside, "a text") as file:
                data = file.read(_SIDECAR)
            wide = data[:2] in (b"\xff\xfe", b"\xfe\xff")
            found = reader(data.decode("utf-16" if wide else "latin-1", "replace"), width)
            if found.sizes is not None:
                return Stated(found.sizes, f"{found.source} ({beside.name})", found.findings, (beside,))
            findings += tuple(f"{said} in {beside.name}" for said in found.findings)
    return Stated(findings=tuple(dict.fromkeys(findings)))


def _hitachi(text: str, width: int) -> Stated:
    if "[SemImageFile]" not in text[:4096]:
        return Stated()
    size = re.search(rf"(?m)^PixelSize={NUMBER}", text)
    shape = re.search(r"(?m)^DataSize=([0-9]{1,9})x([0-9]{1,9})", text)
    if size is None:
        return Stated()
    value = calibration.number(size[1]) * _NANOMETRE
    if shape is None or int(shape[1]) != width:
        return _of_another(value, shape)
    return settled({"X": value, "Y": value}, "YX", "Hitachi text")


def _jeol(text: str, width: int) -> Stated:
    bar = re.search(rf"(?m)^\$\$SM_MICRON_BAR {NUMBER}", text)
    marker = re.search(rf"(?m)^\$\$SM_MICRON_MARKER {NUMBER} ?([^\s0-9]{{1,16}})", text)
    if bar is None or marker is None:
        return Stated()
    shape = re.search(r"(?m)^\$CM_FULL_SIZE ([0-9]{1,9}) ([0-9]{1,9})", text)
    length, pixels = calibration.unit_length(marker[2]), calibration.number(bar[1])
    if length is None or not pixels > 0:
        return Stated(findings=(f"stated, not understood: {marker[1]} {marker[2]} on {bar[1]} pixels",))
    size = calibration.number(marker[1]) * length / pixels
    if shape is not None and int(shape[1]) != width:
        return _of_another(size, shape)
    return settled({"X": size, "Y": size}, "YX", "JEOL text")


def _tescan(text: str, width: int) -> Stated:
    return from_text(text, "YX", "TESCAN header")


def _of_another(size: float, shape: re.Match[str] | None) -> Stated:
    """A pixel size of an image of another size than the one that is read, which may be binned."""
    which = "of unknown size" if shape is None else f"of {int(shape[2])} x {int(shape[1])} pixels"
    return Stated(findings=(f"stated, not used: {size:g} µm per pixel of an image {which}",))


_READERS: tuple[tuple[str, Callable[[str, int], Stated]], ...] = (
    (".txt", _hitachi),
    (".txt", _jeol),
    (".hdr", _tescan),
)
