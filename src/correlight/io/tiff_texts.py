"""Texts that scanning electron microscopes write beside a picture, under its name."""

from __future__ import annotations

import re
from collections.abc import Callable

from correlight.io import calibration
from correlight.io.door import is_regular
from correlight.io.tiff_stated import NUMBER, Described, Stated, from_text, settled
from correlight.parsing import open_regular

_NANOMETRE = 1e-3  # micrometres
_SIDECAR = 2**20  # bytes of a text beside an image


def sidecar(about: Described, axes: str) -> Stated:
    """What Hitachi, JEOL and TESCAN scanning microscopes write into a text of the same name beside the picture."""
    readers: tuple[tuple[str, Callable[[str, Described], Stated]], ...] = (
        (".txt", _hitachi),
        (".txt", _jeol_text),
        (".hdr", lambda text, about: from_text(text, "YX", "TESCAN header")),
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
    size = re.search(rf"(?m)^PixelSize={NUMBER}", text)
    shape = re.search(r"(?m)^DataSize=([0-9]{1,9})x([0-9]{1,9})", text)
    if size is None or shape is None or int(shape[1]) != about.width:
        return Stated()
    value = calibration.number(size[1]) * _NANOMETRE
    return settled({"X": value, "Y": value}, "YX", "Hitachi text")


def _jeol_text(text: str, about: Described) -> Stated:
    bar = re.search(rf"(?m)^\$\$SM_MICRON_BAR {NUMBER}", text)
    marker = re.search(rf"(?m)^\$\$SM_MICRON_MARKER {NUMBER} ?([^\s0-9]{{1,16}})", text)
    if bar is None or marker is None:
        return Stated()
    shape = re.search(r"(?m)^\$CM_FULL_SIZE ([0-9]{1,9}) ([0-9]{1,9})", text)
    length, pixels = calibration.unit_length(marker[2]), calibration.number(bar[1])
    if length is None or not pixels > 0 or (shape is not None and int(shape[1]) != about.width):
        return Stated()
    size = calibration.number(marker[1]) * length / pixels
    return settled({"X": size, "Y": size}, "YX", "JEOL text")
