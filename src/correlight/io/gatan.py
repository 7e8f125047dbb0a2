"""DM3 and DM4 files of Gatan DigitalMicrograph.

A file is a tree of tags. Tags are labelled in big-endian numbers, of 32 bits in version 3 and of 64 in version 4, and
most files hold their values in little-endian ones. The list of images begins with a thumbnail if there is more than
one. (Format as described by G. Jefferis and P. Cueva: https://www.rsb.info.nih.gov/ij/plugins/DM3Format.gj.html)
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order, time_index
from correlight.io.content import NOT_STATED, Content, check_size, from_samples

_MOST_TAGS = 200_000
_DEEPEST = 32
_LONGEST_TEXT = 4096  # characters of a value that is kept
_SIMPLE = {2: "i2", 3: "i4", 4: "u2", 5: "u4", 6: "f4", 7: "f8", 8: "u1", 9: "i1", 10: "u1", 11: "i8", 12: "u8"}
_STRUCT, _TEXT, _ARRAY = 15, 18, 20
_GROUP, _VALUE = 20, 21
_PIXELS = {1: "i2", 2: "f4", 6: "u1", 7: "i4", 9: "i1", 10: "u2", 11: "u4", 12: "f8", 14: "u1"}
_NO_UNIT = {"pixel", "pixels", "px"}
_COLOURS = 23  # blue, green, red and an unused byte


@dataclass(frozen=True, slots=True)
class _Block:
    """Where an array of numbers lies in the file."""

    offset: int
    count: int
    itemsize: int


Tags = dict[str, Any]


def read_dm(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read an image of a DM3 or DM4 file.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        Scene: one of the images behind the thumbnail, by number or name.
    """
    with path.open("rb") as file:
        reader = _Reader(path, file)
        images = list(_group(reader.tags, "ImageList").values())
        images = images[1:] if len(images) > 1 else images
        if not images:
            raise ReadError(f"Expected an image, but {path} holds none; export it again.")
        choose_level(path, 1, choice)
        number, findings = choose_scene(path, [reader.text(image.get("Name")) for image in images], choice)
        data = _group(images[number], "ImageData")
        content = _pixels(reader, data)
        content, sizes, said = _calibrated(reader, data, content, choice)
        spacing = calibration.checked(path, sizes, "tags") if sizes and calibrate else None
    stage = _stage(_group(images[number], "ImageTags"))
    return Content(
        content.pixels,
        rgb=content.rgb,
        spacing=spacing,
        spacing_source=NOT_STATED if spacing is None else "DM tags",
        findings=(*findings, *said),
        stage=stage,
    )


def _group(tags: Tags, name: str) -> Tags:
    found = tags.get(name, {})
    return found if isinstance(found, dict) else {}


def _pixels(reader: _Reader, data: Tags) -> Content:
    """All the pixels: a single image, or a series of planes whose meaning its calibration states."""
    path = reader.path
    shape = [int(size) for size in _group(data, "Dimensions").values()]
    block, kind = data.get("Data"), data.get("DataType")
    if not isinstance(block, _Block) or len(shape) not in (2, 3) or min(shape) < 1:
        raise ReadError(f"Expected an image or a volume, but {path} holds pixels of the shape {shape}.")
    if kind not in (*_PIXELS, _COLOURS):
        raise ReadError(f"Expected real numbers as pixels, but {path} holds DM pixels of the type {kind}.")
    dtype = np.dtype("u4" if kind == _COLOURS else _PIXELS[int(kind)]).newbyteorder(reader.order)
    check_size(path, tuple(shape), dtype.itemsize)
    count = int(np.prod(shape, dtype=np.int64))
    if block.count * block.itemsize != count * dtype.itemsize:
        raise ReadError(f"{path} announces {count} pixels and holds {block.count} numbers; copy or export it again.")
    reader.file.seek(block.offset)
    raw = reader.file.read(count * dtype.itemsize)
    if len(raw) < count * dtype.itemsize:
        raise ReadError(f"{path} is truncated: the file ends before its pixels do; copy or export it again.")
    if kind == _COLOURS:
        if len(shape) != 2:
            raise ReadError(f"Expected one colour image, but {path} holds a stack of them.")
        samples = np.frombuffer(raw, np.uint8).reshape(*shape[::-1], 4)
        order = [2, 1, 0] if reader.order == "<" else [1, 2, 3]
        return from_samples(samples[..., order])
    pixels = np.frombuffer(raw, dtype).reshape(shape[::-1])
    return Content(in_order(path, "ZYX"[-len(shape) :], pixels))


def _calibrated(
    reader: _Reader, data: Tags, content: Content, choice: Choice
) -> tuple[Content, tuple[float, ...], tuple[str, ...]]:
    """The image or volume, its pixel sizes in micrometres (none where any is missing), and what is said of them.

    A third axis is depth only if it has a length: stacks are built of images as well, and films count seconds.
    """
    path = reader.path
    sizes, units, findings = _axes(reader, data)
    if content.ndim == 2:
        time_index(path, 1, choice)
    elif np.isfinite(sizes[2]) or choice.ndim == 3:
        time_index(path, 1, choice)
        return content, tuple(sizes[2::-1]) if np.isfinite(sizes).all() else (), findings
    else:
        planes = content.pixels.shape[1]
        frame, said = time_index(path, planes, choice)
        if units[2].lower() not in calibration.SECONDS:
            said = tuple(text.replace("frames of a time series", "images in a stack") for text in said)
        content = Content(np.ascontiguousarray(content.pixels[:, frame]))
        findings = (*findings, *said)
    known = tuple(sizes[1::-1])
    return content, known if np.isfinite(known).all() else (), findings


def _axes(reader: _Reader, data: Tags) -> tuple[list[float], list[str], tuple[str, ...]]:
    """Micrometres per pixel of x, y and a third axis, nan where it has no length; the units; what is not understood."""
    listed = list(_group(_group(data, "Calibrations"), "Dimension").values())
    sizes, units, findings = [np.nan] * 3, [""] * 3, []
    for place, (axis, entry) in enumerate(zip("xyz", listed, strict=False)):
        if not isinstance(entry, dict) or _size(data, place) < 2:
            continue
        unit, scale = reader.text(entry.get("Units")).strip("\x00 "), calibration.number(entry.get("Scale"))
        length = calibration.unit_length(unit)
        units[place] = unit
        if length is not None and (scale > 0 or (place < 2 and scale < 0)):
            sizes[place] = scale * length
        elif unit.lower() in calibration.SECONDS and place == 2:
            continue
        elif length is not None or (unit and unit.lower() not in _NO_UNIT):
            findings.append(f"stated, not understood: {scale:g} {unit} per pixel along {axis}")
        elif not unit and np.isfinite(scale) and scale not in (0, 1):
            findings.append(f"stated, not understood: {scale:g} of no unit per pixel along {axis}")
    found = {axis: size for axis, size in zip("xy", sizes, strict=False) if np.isfinite(size)}
    if len(found) == 1:
        (axis, size), *_ = found.items()
        findings.append(f"only the pixel size along {axis} is known, {size:g} µm, so none is used")
    return sizes, units, tuple(findings)


def _size(data: Tags, axis: int) -> int:
    sizes = list(_group(data, "Dimensions").values())
    return int(sizes[axis]) if axis < len(sizes) else 1


def _stage(tags: Tags) -> tuple[float, ...] | None:
    """Where the stage stood, in micrometres."""
    place = _group(_group(tags, "Microscope Info"), "Stage Position")
    values = [calibration.number(place.get(f"Stage {axis}")) for axis in "YX"]
    return tuple(values) if np.isfinite(values).all() else None


class _Reader:
    """Walks the tags once; numbers are kept, arrays and texts only located."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path, self.file, self.seen = path, file, 0
        self.size = path.stat().st_size
        version = self._integer("i")
        self.wide = version == 4
        self._word()  # length of the tree
        self.order: Literal["<", ">"] = "<" if self._integer("i") == 1 else ">"
        self.tags = self._directory(0)

    def _integer(self, code: str) -> int:
        length = struct.calcsize(f">{code}")
        data = self.file.read(length)
        if len(data) < length:
            raise ReadError(f"{self.path} is truncated: the file ends before its tags do; copy or export it again.")
        return int(struct.unpack(f">{code}", data)[0])

    def _word(self) -> int:
        return self._integer("q" if self.wide else "i")

    def _directory(self, depth: int) -> Tags:
        if depth > _DEEPEST:
            raise ReadError(f"The tags of {self.path} are nested more than {_DEEPEST} deep; export it again.")
        self._integer("h")  # whether it is sorted and open
        count = self._word()
        tags: Tags = {}
        for number in range(count):
            self.seen += 1
            if self.seen > _MOST_TAGS:
                raise ReadError(f"Expected an image, but {self.path} announces more than {_MOST_TAGS} tags.")
            kind = self._integer("B")
            label = self.file.read(self._integer("H")).decode("latin-1")
            if self.wide:
                self._word()  # length of the tag
            if kind not in (_GROUP, _VALUE):
                raise ReadError(f"{self.path} is damaged: a tag of the kind {kind} was met; copy or export it again.")
            value = self._directory(depth + 1) if kind == _GROUP else self._value()
            tags[label or str(number)] = value
        return tags

    def _value(self) -> Any:
        if self.file.read(4) != b"%%%%":
            raise ReadError(f"{self.path} is damaged: a tag has no mark; copy or export it again.")
        count = self._word()
        if not 1 <= count <= 1000:
            raise ReadError(f"{self.path} is damaged: a tag is described by {count} numbers; copy or export it again.")
        about = [self._word() for _ in range(count)]
        kind = about[0]
        if kind in _SIMPLE:
            return self._number(_SIMPLE[kind])
        if kind == _STRUCT:
            return [self._number(self._code(code)) for code in about[4::2]]
        if kind == _TEXT and count > 1:
            return self._skipped(about[1], 1)
        if kind == _ARRAY and count > 2:
            return self._array(about)
        raise ReadError(f"{self.path} is damaged: a value of the kind {kind} was met; copy or export it again.")

    def _code(self, kind: int) -> str:
        if kind not in _SIMPLE:
            raise ReadError(f"{self.path} is damaged: a number of the kind {kind} was met; copy or export it again.")
        return _SIMPLE[kind]

    def _number(self, code: str) -> Any:
        dtype = np.dtype(code).newbyteorder(self.order)
        data = self.file.read(dtype.itemsize)
        if len(data) < dtype.itemsize:
            raise ReadError(f"{self.path} is truncated: the file ends before its tags do; copy or export it again.")
        return np.frombuffer(data, dtype)[0].item()

    def _array(self, about: list[int]) -> Any:
        if about[1] == _STRUCT:
            itemsize = sum(np.dtype(self._code(code)).itemsize for code in about[5:-1:2])
        else:
            itemsize = np.dtype(self._code(about[1])).itemsize
        return self._skipped(about[-1], itemsize)

    def _skipped(self, count: int, itemsize: int) -> _Block:
        offset = self.file.tell()
        if count < 0 or offset + count * itemsize > self.size:
            raise ReadError(f"{self.path} is truncated: the file ends before its pixels do; copy or export it again.")
        self.file.seek(count * itemsize, 1)
        return _Block(offset, count, itemsize)

    def text(self, value: Any) -> str:
        """A short text, which is stored as an array of 16-bit characters; empty where there is none."""
        if not isinstance(value, _Block) or value.count > _LONGEST_TEXT:
            return ""
        self.file.seek(value.offset)
        data = self.file.read(value.count * value.itemsize)
        wide = "utf-16-le" if self.order == "<" else "utf-16-be"
        return data.decode("latin-1" if value.itemsize == 1 else wide, errors="replace")
