"""What SerialEM writes beside and into MRC files: ``.mdoc`` files, and extended headers with places of pieces.

The formats are those of https://bio3d.colorado.edu/SerialEM/hlp/html/about_formats.htm and
https://bio3d.colorado.edu/imod/doc/mrc_format.txt; pieces of a montage lie on one canvas, in pixels from its corner.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import Mask
from correlight.io import calibration
from correlight.io.axes import is_count
from correlight.io.content import check_size
from correlight.parsing import is_regular, plain, read_bytes

_SIZES = {1: 2, 2: 6, 4: 4, 8: 2, 16: 2, 32: 4, 64: 2, 128: 4, 256: 2, 512: 4, 1024: 2}  # bytes by flag
_PIECE = 2
_ANGSTROM = 1e-4  # micrometres
_LONGEST = 4 * 2**20  # bytes of an .mdoc file; a montage of 10,000 pieces needs less


@dataclass(frozen=True, slots=True)
class Mdoc:
    """The contents of an ``.mdoc`` file.

    Parameters
    ----------
    common : dict of str to str
        What holds for all images.
    sections : dict of int to dict
        What holds for each image, by its number.
    """

    common: dict[str, str] = field(default_factory=dict)
    sections: dict[int, dict[str, str]] = field(default_factory=dict)

    def value(self, section: int, key: str) -> str | None:
        """What is stated of an image, or of all of them."""
        return self.sections.get(section, {}).get(key, self.common.get(key))

    def numbers(self, section: int, key: str) -> tuple[float, ...]:
        """Numbers of an entry; empty where there are none."""
        found = tuple(calibration.number(part) for part in (self.value(section, key) or "").split())
        return found if all(math.isfinite(value) for value in found) else ()

    def spacing(self, section: int, width: int) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
        """Micrometres per pixel of an image, if it is as many pixels wide as is stated, and what is said otherwise."""
        angstroms, shape = self.numbers(section, "PixelSpacing"), self.numbers(section, "ImageSize")
        if not angstroms or not angstroms[0] > 0:
            return None, ()
        size = angstroms[0] * _ANGSTROM
        if shape and shape[0] != width:
            of = " x ".join(f"{count:g}" for count in shape[::-1])
            return None, (f"stated, not used: {size:g} µm per pixel of an image of {of} pixels in the .mdoc file",)
        return (size, size), ()


def read_mdoc(path: Path) -> Mdoc | None:
    """The ``.mdoc`` file beside an image; None where there is none.

    Raises
    ------
    ReadError
        If it cannot be read.
    """
    beside = path.with_name(path.name + ".mdoc")
    if not is_regular(beside):
        return None
    # Names of folders in it are in the code of the computer at the microscope, and are not looked at.
    text = plain(read_bytes(beside, "what SerialEM states of the images", limit=_LONGEST))
    common: dict[str, str] = {}
    sections: dict[int, dict[str, str]] = {}
    current: dict[str, str] = common
    for line in text.splitlines():
        head = re.fullmatch(r"\s*\[\s*(\w+)\s*=\s*([^\]]*)\]\s*", line)
        if head:
            numbered = head[1] == "ZValue" and is_count(head[2].strip())
            current = sections.setdefault(int(head[2]), {}) if numbered else {}
            continue
        key, equals, value = line.partition("=")
        if equals:
            current[key.strip()] = value.strip()
    return Mdoc(common, sections)


def pieces_in_mdoc(mdoc: Mdoc | None, count: int) -> tuple[NDArray[np.intp] | None, str]:
    """The places (z, y, x) of the pieces of a montage, ``(count, 3)``, and where they are stated; None for no montage.

    Places that were aligned by correlation are taken where every piece has them.

    Raises
    ------
    ReadError
        If some pieces have a place and others not.
    """
    if mdoc is None:
        return None, ""
    planned = [mdoc.numbers(number, "PieceCoordinates") for number in range(count)]
    if not any(planned):
        return None, ""
    if not all(len(place) == 3 for place in planned):
        raise ReadError(f"Expected the place of each of {count} pieces of a montage in the .mdoc file; some have none.")
    depth = [place[2] for place in planned]
    for key in ("AlignedPieceCoordsVS", "AlignedPieceCoords"):
        aligned = [mdoc.numbers(number, key) for number in range(count)]
        if all(len(place) >= 2 for place in aligned):
            return _places(
                [(z, place[1], place[0]) for z, place in zip(depth, aligned, strict=True)]
            ), f"{key} in .mdoc"
    return _places([place[::-1] for place in planned]), "PieceCoordinates in .mdoc"


def pieces_in_header(extended: bytes, per_section: int, flags: int, count: int, order: str) -> NDArray[np.intp] | None:
    """The places (z, y, x) in an extended header of SerialEM, ``(count, 3)``; None where it holds none.

    Parameters
    ----------
    extended : bytes
        The extended header.
    per_section, flags : int
        How many bytes each image has there, and which entries.
    count : int
        Number of images.
    order : {"<", ">"}
        Byte order.
    """
    known = sum(size for flag, size in _SIZES.items() if flags & flag)
    if not flags & _PIECE or flags < 0 or known != per_section or len(extended) < count * per_section:
        return None
    start = _SIZES[1] if flags & 1 else 0
    rows = np.frombuffer(extended, np.uint8, count * per_section).reshape(count, per_section)
    numbers = np.ascontiguousarray(rows[:, start : start + 6]).view(f"{order}i2")
    return _places(numbers[:, ::-1].tolist())


def _places(listed: Sequence[Sequence[float]]) -> NDArray[np.intp]:
    places: NDArray[np.intp] = np.rint(np.asarray(listed, float)).clip(-(2.0**31), 2.0**31).astype(np.intp)
    return places


def joined(path: Path, stack: Any, numbers: Sequence[int], corners: NDArray[np.intp]) -> tuple[Any, Mask | None, int]:
    """Pieces of a montage on one canvas, where later ones lie over earlier ones.

    Parameters
    ----------
    path : Path
        The file, for the message of an error.
    stack : (N, Y, X) or (N, Y, X, samples) array
        All pieces; may stay on disk.
    numbers : sequence of int
        Which of them, in order.
    corners : (M, 2) array of int
        Where the first pixel of each lies, (y, x).

    Returns
    -------
    pixels : (Y, X) or (Y, X, samples) array
        What no piece covers is zero.
    covered : (Y, X) array of bool or None
        Where there is a piece; None where they leave no gap.
    shared : int
        Number of pixels that several pieces cover.
    """
    size, samples = np.asarray(stack.shape[1:3]), stack.shape[3:]
    places = corners - corners.min(axis=0)
    shape = tuple(int(n) for n in places.max(axis=0) + size)
    check_size(path, (*shape, *samples), stack.dtype.itemsize + 1)
    if math.prod(shape) > 16 * len(numbers) * int(size.prod()):
        raise ReadError(
            f"The pieces of {path} lie so far apart that they cover less than a sixteenth of {shape} pixels."
        )
    canvas, covered, shared = np.zeros((*shape, *samples), stack.dtype), np.zeros(shape, bool), 0
    for number, (top, left) in zip(numbers, places, strict=True):
        where = np.s_[top : top + size[0], left : left + size[1]]
        shared += int(covered[where].sum())
        canvas[where] = stack[number]
        covered[where] = True
    return canvas, (None if covered.all() else covered), shared
