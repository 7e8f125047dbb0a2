"""MRC, the format of electron tomography; the layout of its header comes from mrcfile.

The header gives the size of the field in angstrom; zero says that nobody filled it in. Rows are kept in the order of
the file, in which some programs draw the first one at the bottom. What the standard (https://doi.org/10.1016/
j.jsb.2015.04.002) leaves open is read as IMOD does: bytes with or without sign, four bits, colours, and an origin of
either sign (https://bio3d.colorado.edu/imod/doc/mrc_format.txt).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order, index_of, time_index
from correlight.io.content import LIMIT, NOT_STATED, ON_DISK, Content, check_size, from_samples, large
from correlight.io.extras import known_in_part, reader
from correlight.io.ondisk import Flat, left_on_disk
from correlight.io.serialem import Mdoc, joined, pieces_in_header, pieces_in_mdoc, read_mdoc
from correlight.io.sidecar import read_sidecar

_ANGSTROM, _METRE = 1e-4, 1e6  # micrometres
_HEADER = 1024  # bytes
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2", 16: "u1", 101: "u1"}
_REFUSED = {3: "complex integers", 4: "complex numbers", 7: "32-bit integers in no agreed order"}
_IMOD, _SIGNED, _INVERTED, _HALVES = 1146047817, 1, 4, 16  # IMOD's stamp, and bits of the flags behind it
_COLOURS, _FOUR_BITS = 16, 101
_LONGEST = 256 * 2**20  # bytes of an extended header


Order = Literal["<", ">"]


@dataclass(frozen=True, slots=True)
class _Header:
    """What a header says, in terms of the axes of the file."""

    shape: tuple[int, int, int]  # sections, rows, columns
    mode: int
    order: Order
    axes: str  # a letter for each of the above
    dtype: np.dtype[Any]
    four_bits: bool
    offset: int
    volume: bool
    depth: int  # sections of each volume in a stack of volumes; 0 where it is none
    voxel: dict[str, float]  # micrometres by axis; 0 where nobody filled it in
    origin: dict[str, float] | None  # micrometres by axis
    start: dict[str, float] | None  # pixels by axis
    records: NDArray[Any]  # what FEI says of each image; empty where it says nothing
    findings: tuple[str, ...]


def read_mrc(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read a plane, a volume, the first image of a stack, or a montage of SerialEM on one canvas.

    Parameters
    ----------
    path : Path
        The file, not compressed.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        ``time`` chooses an image of a stack, ``scene`` one of several montages.
    """
    header, extended, flags = _header(path)
    samples = 3 if header.mode == _COLOURS else 1
    columns = -(-header.shape[2] // 2) if header.four_bits else header.shape[2]
    stored = (*header.shape[:2], columns, *([samples] if samples > 1 else []))
    expected = header.offset + math.prod(stored) * header.dtype.itemsize
    plain = not header.four_bits and samples == 1
    lazily = plain and large(header.shape[int(not header.volume) :], header.dtype.itemsize)
    check_size(path, header.shape, header.dtype.itemsize * samples, ON_DISK if plain else LIMIT)
    if path.stat().st_size < expected:
        raise ReadError(f"{path} is truncated: {expected} bytes were announced; copy or export it again.")
    if choice.ndim == 3:
        header = replace(header, volume=True)  # the caller gives the distance of the sections
    header, choice, of_several = _one_volume(path, header, choice, math.prod(stored[1:]) * header.dtype.itemsize)
    whole = Flat(path, header.offset, (header.shape[0], *stored[1:]), header.dtype)
    mdoc = read_mdoc(path)
    places, told = pieces_in_mdoc(mdoc, header.shape[0])
    if places is None:
        places, told = pieces_in_header(extended, *flags, header.shape[0], header.order), "the extended header"
    choose_level(path, 1, choice)
    stack = _Halves(whole, header.shape) if header.four_bits else whole
    if places is not None and header.shape[0] > 1:
        section, content = _montage(path, stack, places, told, choice)
    else:
        section, content = _chosen(path, stack, header, choice, lazily)
    if samples > 1:
        content = replace(from_samples(content.pixels[0]), findings=content.findings)
    content = replace(content, findings=(*of_several, *content.findings))
    return _stated(path, header, mdoc, section, content, calibrate)


def _one_volume(path: Path, header: _Header, choice: Choice, section: int) -> tuple[_Header, Choice, tuple[str, ...]]:
    """The volume that is chosen of a stack of them (space groups from 401), each section of which has so many bytes."""
    count = header.shape[0] // header.depth if header.depth and header.shape[0] % header.depth == 0 else 1
    if count == 1:
        return header, choice, ()
    number, said = time_index(path, count, choice)
    chosen = replace(
        header, shape=(header.depth, *header.shape[1:]), offset=header.offset + number * header.depth * section
    )
    said = tuple(text.replace("frames of a time series", "volumes in a stack") for text in said)
    return chosen, replace(choice, time=None), said


def _header(path: Path) -> tuple[_Header, bytes, tuple[int, int]]:
    """The header, the extended header, and the two numbers by which SerialEM describes that."""
    layout = reader("mrcfile.dtypes", "MRC files").HEADER_DTYPE
    with path.open("rb") as file:
        data = file.read(_HEADER)
        if len(data) < _HEADER:
            raise ReadError(f"{path} is truncated: the file ends within its header; copy or export it again.")
        order, findings = _byte_order(data)
        header = np.frombuffer(data, layout.newbyteorder(order))[0]
        mode, length = int(header["mode"]), int(header["nsymbt"])
        if mode in _REFUSED or mode not in _MODES:
            words = _REFUSED.get(mode, "an unknown kind of numbers")
            raise ReadError(
                f"Expected real numbers as pixels, but {path} holds {words} (mode {mode}); convert it first."
            )
        if not 0 <= length <= _LONGEST:
            raise ReadError(f"Expected an extended header, but that of {path} is {length} bytes long; export it again.")
        extended = file.read(length)
    shape = (int(header["nz"]), int(header["ny"]), int(header["nx"]))
    if min(shape) < 1:
        raise ReadError(f"Expected pixels, but {path} declares the shape {shape}; export it again.")
    numbers = np.frombuffer(data, f"{order}i4")
    imod = int(numbers[39]) if int(numbers[38]) == _IMOD else None  # bytes 152 and 156
    axes, turned = _axes(header)
    four_bits = mode == _FOUR_BITS or (mode == 0 and imod is not None and bool(imod & _HALVES))
    if four_bits and mode == 0:
        shape = (*shape[:2], 2 * shape[2])
    dtype, bytes_are = _dtype(mode, imod, float(header["dmin"]), float(header["dmax"]), four_bits)
    # By the standard a stack of images has space group 0; older programs leave it at 0 for tomograms as well.
    volume = int(header["ispg"]) != 0 or shape[0] == 1 or axes != "ZYX" or path.suffix.lower() in (".rec", ".map")
    depth = int(header["mz"]) if 401 <= int(header["ispg"]) <= 630 and int(header["mz"]) > 0 and axes == "ZYX" else 0
    voxel, origin, start = _places(header, imod)
    cell = [float(header["cella"][axis]) * _ANGSTROM for axis in "xyz" if int(header[f"m{axis}"]) <= 0]
    unsampled = tuple(f"stated, not understood: a cell of {size:g} µm without its sampling" for size in cell if size)
    found = _Header(
        shape, mode, order, axes, dtype.newbyteorder(order), four_bits, _HEADER + length, volume, depth, voxel,
        origin, start,
        _fei_records(bytes(header["exttyp"]), extended, order),
        (*findings, *turned, *bytes_are, *dict.fromkeys(unsampled)),
    )  # fmt: skip
    return found, extended, (int.from_bytes(data[128:130], _WORDS[order]), int.from_bytes(data[130:132], _WORDS[order]))


def _fei_records(kind: bytes, extended: bytes, order: Order) -> NDArray[Any]:
    """What FEI (Thermo) writes for each image into the extended header, in metres."""
    if kind not in (b"FEI1", b"FEI2"):
        return np.empty(0)
    layout = reader("mrcfile.dtypes", "MRC files").get_ext_header_dtype(kind, order)
    return np.frombuffer(extended, layout, len(extended) // layout.itemsize)


def _fei(header: _Header, section: int) -> tuple[tuple[float, ...] | None, tuple[float, ...] | None]:
    """Micrometres per pixel and the place of the stage, (y, x), that FEI states of an image; None where it does not."""
    if section >= len(header.records):
        return None, None
    record = header.records[section]
    size, place = (
        tuple(float(record[name]) * _METRE for name in names)
        for names in (("Pixel size Y", "Pixel size X"), ("Y-Stage", "X-Stage"))
    )
    known = all(calibration.SMALLEST <= value <= calibration.LARGEST for value in size)
    return (size if known else None), (place if all(map(math.isfinite, place)) and any(place) else None)


_WORDS: dict[str, Any] = {"<": "little", ">": "big"}


def _byte_order(data: bytes) -> tuple[Order, tuple[str, ...]]:
    """The byte order by the machine stamp, unless only the other one makes sense of the header."""
    stamp = data[212:216]
    order: Order = ">" if stamp[0] == 0x11 else "<"
    known = stamp[:2] in (b"\x44\x44", b"\x44\x41", b"\x11\x11")

    def sensible(order: str) -> bool:
        columns, rows, sections, mode = np.frombuffer(data[:16], f"{order}i4").tolist()
        return min(columns, rows, sections) > 0 and (mode in _MODES or mode in _REFUSED)

    words = " ".join(f"{byte:02x}" for byte in stamp)
    other: Order = "<" if order == ">" else ">"
    if not sensible(order) and sensible(other):
        return other, (f"the machine stamp {words} is wrong: only {_WORDS[other]}-endian numbers make sense",)
    return order, () if known else (
        f"the machine stamp {words} is unknown; numbers are read as {_WORDS[order]}-endian",
    )


def _axes(header: Any) -> tuple[str, tuple[str, ...]]:
    """A letter for sections, rows and columns."""
    stated = tuple(int(header[name]) for name in ("maps", "mapr", "mapc"))
    if sorted(stated) == [1, 2, 3]:
        return "".join("XYZ"[number - 1] for number in stated), ()
    if not any(stated):
        return "ZYX", ()
    return "ZYX", (f"stated, not understood: the axis order {stated[::-1]} of columns, rows and sections",)


def _dtype(
    mode: int, imod: int | None, low: float, high: float, four_bits: bool
) -> tuple[np.dtype[Any], tuple[str, ...]]:
    """The type of the numbers; bytes are signed by the standard, and unsigned where IMOD says so."""
    if mode != 0 or four_bits:
        return np.dtype(np.uint8 if four_bits else _MODES[mode]), ()
    if imod is not None:
        return np.dtype(np.int8 if imod & _SIGNED else np.uint8), ()
    if 127 < high <= 255 and low >= 0:
        return np.dtype(np.uint8), (f"bytes are read without sign, as the header states values up to {high:g}",)
    return np.dtype(np.int8), ()


def _places(header: Any, imod: int | None) -> tuple[dict[str, float], dict[str, float] | None, dict[str, float] | None]:
    """Size of a voxel and place of the first pixel, in micrometres by axis, and its place in pixels."""
    cell, cells = header["cella"], {"x": "mx", "y": "my", "z": "mz"}
    voxel = {
        axis.upper(): float(cell[axis]) / int(header[cells[axis]]) * _ANGSTROM if int(header[cells[axis]]) > 0 else 0.0
        for axis in "xyz"
    }
    # The origin that IMOD defines is that of the volume seen from the image, unless a flag says otherwise.
    sign = -1.0 if imod is not None and not imod & _INVERTED else 1.0
    origin = {axis.upper(): sign * float(header["origin"][axis]) * _ANGSTROM for axis in "xyz"}
    names = {1: "X", 2: "Y", 3: "Z"}
    columns = [names.get(int(header[name]), default) for name, default in (("mapc", "X"), ("mapr", "Y"), ("maps", "Z"))]
    starts = [float(header[name]) for name in ("nxstart", "nystart", "nzstart")]
    start = dict(zip(columns, starts, strict=True)) if len(set(columns)) == 3 else {}
    usable = any(origin.values()) and all(math.isfinite(value) for value in origin.values())
    return voxel, (origin if usable else None), (start if any(start.values()) else None)


class _Halves:
    """Pixels of four bits, two to a byte, the first one in the lower half; every row begins a new byte."""

    def __init__(self, packed: Flat, shape: tuple[int, ...]) -> None:
        self.packed, self.shape, self.dtype = packed, shape, np.dtype(np.uint8)

    def __getitem__(self, key: Any) -> Any:
        """Sections by number or slice."""
        section = key[0] if isinstance(key, tuple) else key
        packed = self.packed[section]
        pixels = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)
        return pixels[..., : self.shape[-1]]


def _chosen(path: Path, whole: Any, header: _Header, choice: Choice, lazily: bool) -> tuple[int, Content]:
    """The number of the image that was chosen, and its pixels."""
    choose_scene(path, [path.stem], choice)
    samples = len(whole.shape) - 3
    if header.volume:
        if samples and whole.shape[0] > 1:
            raise ReadError(f"Expected one colour image, but {path} holds a volume of them; split it first.")
        time_index(path, 1, choice)
        index: tuple[Any, ...] = (slice(None),) * 3
        axes, said = header.axes, tuple[str, ...]()
    else:
        index, findings = index_of(path, "TYX", whole.shape[:3], choice)
        axes = "YX"
        # Frames of a stack are seldom a series in time, and more often tilts or sections.
        said = tuple(text.replace("frames of a time series", "images in a stack") for text in findings)
    section = index[0] if isinstance(index[0], int) else 0
    if samples:
        return section, Content(whole[section][None], findings=said)
    pixels = left_on_disk(path, whole, index, axes) if lazily else in_order(path, axes, whole[index])
    return section, Content(pixels, findings=said)


def _montage(path: Path, stack: Any, places: Any, told: str, choice: Choice) -> tuple[int, Content]:
    """The pieces of one section on a canvas, and the number of the first."""
    sections = sorted({int(z) for z in places[:, 0]})
    number, findings = choose_scene(
        path, [f"section {z}" for z in sections] if len(sections) > 1 else [path.stem], choice
    )
    time_index(path, 1, choice)
    pieces = np.flatnonzero(places[:, 0] == sections[number]).tolist()
    canvas, covered, shared = joined(path, stack, pieces, places[pieces, 1:])
    over = f"; in the {shared} pixels where they overlap, the later piece is shown" if shared else ""
    said = f"{len(pieces)} pieces of a montage are joined by the places in {told}{over}"
    pixels = canvas[None] if canvas.ndim > 2 else in_order(path, "YX", canvas)
    return pieces[0], Content(pixels, covered=covered, findings=(*findings, said))


def _stated(path: Path, header: _Header, mdoc: Mdoc | None, section: int, content: Content, calibrate: bool) -> Content:
    """The content with its pixel size, from the header or the files beside it, its place, and what contradicts."""
    spatial = "ZYX"[-content.ndim :]
    beside = read_sidecar(path, content.pixels.shape[-2:])
    stated = {axis: size for axis, size in header.voxel.items() if size}
    findings = [*header.findings, *content.findings, *(beside.findings if beside else ())]
    findings += known_in_part(stated, spatial) if calibrate else ()
    sizes = [header.voxel[axis] for axis in spatial]
    spacing = calibration.checked(path, sizes, "header") if calibrate and all(sizes) else None
    source = NOT_STATED if spacing is None else "MRC header"
    others: list[tuple[tuple[float, ...], str]] = []
    in_mdoc, said = mdoc.spacing(section, header.shape[2]) if mdoc else (None, ())
    findings += said if calibrate else ()
    if in_mdoc:
        others.append((in_mdoc, f".mdoc file {path.name}.mdoc"))
    if beside and beside.spacing:
        others.append((beside.spacing, beside.source))
    size, stood = _fei(header, section)
    if size:
        others.append((size, "the extended header of FEI"))
    for other, name in others if calibrate else ():
        # Programs that know no pixel size leave 0 or exactly 1 angstrom in the header.
        if content.ndim == 2 and (spacing is None or np.allclose(spacing, _ANGSTROM, rtol=1e-6)):
            spacing, source = calibration.checked(path, other, name), name
        elif spacing is not None and not np.allclose(other, spacing[-2:], rtol=0.01):
            here = f"{source} {spacing[-2]:g} x {spacing[-1]:g}"
            findings.append(f"pixel sizes differ: {here} µm is used, {name} states {other[0]:g} x {other[1]:g} µm")
    if source == "MRC header" and spacing is not None and np.allclose(spacing, _ANGSTROM, rtol=1e-6):
        findings.append("the header states exactly 1 angstrom, as programs write that know no pixel size; check it")
    stage = mdoc.numbers(section, "StagePosition") if mdoc else ()
    place = (stage[1], stage[0]) if len(stage) == 2 else beside.stage if beside else None
    place = stood if place is None else place
    origin, start = (
        None if corner is None else tuple(corner.get(axis, 0.0) for axis in spatial)
        for corner in (header.origin, header.start)
    )
    for words, known in ((f"{origin} µm", origin), (f"{start} pixels", None if origin else start)):
        if known is not None and any(known):
            findings.append(f"the first pixel lies at {words} according to the MRC header")
    files = [] if mdoc is None else [path.with_name(f"{path.name}.mdoc")]
    files += [beside.path] if beside and beside.path else []
    return replace(
        content,
        files=tuple(files),
        spacing=spacing,
        spacing_source=source,
        findings=tuple(findings),
        stage=place,
        origin=origin,
        start=start,
    )
