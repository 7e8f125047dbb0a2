"""CZI files of Zeiss through czifile, which finds the blocks of pixels; they are decoded and put together here.

A file holds scenes, times, views, phases, illuminations, rotations and blocks besides channels and depth. One place
along each of them is read; tiles of one place are joined, and what no tile covers is no data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import Mask
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order, time_index
from correlight.io.content import NOT_STATED, Content, check_size, from_samples
from correlight.io.czi_blocks import decoded, kind_of, stage_of
from correlight.io.extras import known_in_part, losses_raised, reader
from correlight.io.further import choose_views
from correlight.parsing import open_regular, parse_xml

KNOWS = ("scene", "time", "view")  # what can be chosen
_METRE = 1e6  # micrometres
_PENDING = 100  # where the header says that an update is pending
_FURTHER = "VHIRB"
_KNOWN = "SMTCZYX" + _FURTHER
_EMPTIEST = 64  # times the area of the tiles that the image around them may have


@dataclass(frozen=True, slots=True)
class _Joined:
    """Blocks in one array."""

    pixels: NDArray[Any]  # (C, Z, Y, X, samples)
    numbers: tuple[int, ...]  # of the channels
    covered: Mask | None  # (Z, Y, X)
    findings: tuple[str, ...]


def read_czi(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read one scene of a CZI file at full resolution.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        Scene, by number or name, frame, and the place along further axes.
    """
    czifile = reader("czifile", "CZI files")
    _check_closed(path)
    with losses_raised(), czifile.CziFile(str(path), multifile=False) as file:
        if file.header.file_part:
            raise ReadError(f"{path} is part {file.header.file_part} of several files; save it as a single CZI file.")
        text = file.metadata() if file.header.metadata_position else None
        root = parse_xml(text, f"Expected a CZI file, but the metadata of {path}") if text else None
        blocks = _full_size(path, file.subblock_directory)
        choose_level(path, 1, choice)
        scenes = sorted({_start(block, "S") for block in blocks})
        number, findings = choose_scene(path, _scene_names(root, scenes), choice)
        blocks = [block for block in blocks if _start(block, "S") == scenes[number]]
        blocks, said = _one_place(path, blocks, choice)
        joined = _joined(path, blocks)
        first = [block for block in blocks if all(_start(block, axis) == _start(blocks[0], axis) for axis in "CZ")]
        stage = _stage(root, scenes[number]) or stage_of(first)
    content = _content(path, joined.pixels)
    spatial = "ZYX"[-content.ndim :]
    steps = _spacings(root) if root is not None and calibrate else {}
    known = all(axis in steps for axis in spatial)
    names, left_out = _channels(root, joined.numbers)
    covered = None if joined.covered is None else joined.covered if content.ndim == 3 else joined.covered[0]
    return Content(
        content.pixels,
        channels=names if len(names) == content.count and not content.rgb else (),
        rgb=content.rgb,
        opaque=content.opaque,
        spacing=calibration.checked(path, [steps[axis] for axis in spatial], "metadata") if known else None,
        spacing_source="CZI metadata" if known else NOT_STATED,
        findings=(*findings, *said, *left_out, *joined.findings, *known_in_part(steps, spatial)),
        stage=stage,
        covered=covered,
    )


def _check_closed(path: Path) -> None:
    """Refuse a file that its program was still writing."""
    with open_regular(path, "a CZI file") as file:
        start = file.read(_PENDING + 4)
    if any(start[_PENDING:]):
        raise ReadError(f"{path} was not closed by the program that wrote it; wait until it is done, or save it again.")


def _full_size(path: Path, blocks: Sequence[Any]) -> list[Any]:
    """The blocks that are not levels of a pyramid, tiles in their order."""
    if not blocks:
        raise ReadError(f"Expected an image, but {path} holds none; export it again.")
    kept = [block for block in blocks if all(d.size == d.stored_size for d in block.dimension_entries)]
    if not kept:
        raise ReadError(f"Expected an image, but {path} holds only smaller levels of one; export it again.")
    if any(block.file_part for block in kept):
        raise ReadError(f"{path} refers to pixels in other files; save it as a single CZI file.")
    axes = {dimension.dimension for block in kept for dimension in block.dimension_entries}
    if not axes <= set(_KNOWN):
        raise ReadError(
            f"Expected known axes, but {path} has {', '.join(sorted(axes - set(_KNOWN)))}; export it again."
        )
    return sorted(kept, key=lambda block: -1 if block.mosaic_index is None else block.mosaic_index)


def _one_place(path: Path, blocks: list[Any], choice: Choice) -> tuple[list[Any], tuple[str, ...]]:
    """The blocks of one time and of one place along each further axis."""
    times = sorted({_start(block, "T") for block in blocks})
    frame, findings = time_index(path, len(times), choice)
    blocks = [block for block in blocks if _start(block, "T") == times[frame]]
    places = {axis: sorted({_start(block, axis) for block in blocks}) for axis in _FURTHER}
    counts = {axis: len(listed) for axis, listed in places.items()}
    chosen, said = choose_views(path, counts, choice.view)
    for axis, number in chosen.items():
        blocks = [block for block in blocks if _start(block, axis) == places[axis][number]]
    if not blocks:
        raise ReadError(f"{path} holds no pixels at this place of its axes {', '.join(chosen)}; choose another one.")
    return blocks, (*findings, *said)


def _start(block: Any, axis: str) -> int:
    return int(block.start[block.axes.index(axis)]) if axis in block.axes else 0


def _length(block: Any, axis: str) -> int:
    return int(block.shape[block.axes.index(axis)]) if axis in block.axes else 1


def _joined(path: Path, blocks: list[Any]) -> _Joined:
    """All blocks in one array; where tiles overlap, the later one lies above."""
    kinds = [kind_of(path, block) for block in blocks]
    samples = {min(count, 3) for _, count in kinds}
    if len(samples) != 1 or any(_length(block, axis) < 1 for block in blocks for axis in "YX"):
        raise ReadError(f"Expected blocks of pixels of one kind, but {path} mixes them; export it again.")
    dtype = np.result_type(*{dtype for dtype, _ in kinds})
    channels, low, shape = _bounds(blocks)
    held = sum(_length(block, "Y") * _length(block, "X") for block in blocks)
    if np.prod(shape, dtype=float) > _EMPTIEST * held:
        raise ReadError(
            f"The tiles of {path} cover less than 1/{_EMPTIEST} of {shape} pixels; save its scenes one by one."
        )
    check_size(path, (*shape, samples.pop()), dtype.itemsize)
    pixels = np.zeros((*shape, min(kinds[0][1], 3)), dtype)
    covered = np.zeros(shape, bool)
    shared = tiles = 0
    for block in blocks:
        place = channels.index(_start(block, "C")), _start(block, "Z") - low[0]
        top, left = _start(block, "Y") - low[1], _start(block, "X") - low[2]
        tile = decoded(path, block)
        where = (*place, slice(top, top + tile.shape[0]), slice(left, left + tile.shape[1]))
        if place == (0, 0):
            shared, tiles = shared + int(covered[where].sum()), tiles + 1
        pixels[where] = tile
        covered[where] = True
    findings = []
    if shared:
        findings.append(f"{tiles} tiles are joined; in the {shared} pixels where they overlap, the later is shown")
    everywhere = np.logical_and.reduce(covered)
    if not np.logical_or.reduce(covered)[~everywhere].any():
        return _Joined(pixels, channels, None if everywhere.all() else everywhere, tuple(findings))
    findings.append("some pixels are covered by a tile in some channels only; they are ignored in all")
    return _Joined(pixels, channels, everywhere, tuple(findings))


def _bounds(blocks: list[Any]) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The channels, the first place along depth, rows and columns, and the shape of all blocks together."""
    channels = tuple(sorted({_start(block, "C") for block in blocks}))
    low = tuple(min(_start(block, axis) for block in blocks) for axis in "ZYX")
    high = (max(_start(block, axis) + _length(block, axis) for block in blocks) for axis in "ZYX")
    return channels, low, (len(channels), *(last - first for last, first in zip(high, low, strict=True)))


def _content(path: Path, pixels: Any) -> Content:
    if pixels.shape[-1] == 1:
        return Content(in_order(path, "CZYX", pixels[..., 0]))
    if pixels.shape[:2] != (1, 1):
        raise ReadError(f"Expected grey channels or one colour image, but {path} mixes them; export it again.")
    return from_samples(pixels[0, 0])


def _scene_names(root: ElementTree.Element | None, scenes: list[int]) -> list[str]:
    """Names of the scenes; empty where they have none."""
    listed = {} if root is None else {scene.get("Index"): scene.get("Name", "") for scene in root.iter("Scene")}
    return [str(listed.get(str(scene), "")) for scene in scenes]


def _spacings(root: ElementTree.Element) -> dict[str, float]:
    """Micrometres per pixel by axis; the file counts metres."""
    found = {}
    for element in root.iterfind(".//Scaling/Items/Distance"):
        size = calibration.number(element.findtext("Value")) * _METRE
        if element.get("Id") in ("X", "Y", "Z") and np.isfinite(size) and size != 0:  # 0 where nobody filled it in
            found[str(element.get("Id"))] = size
    return found


def _channels(root: ElementTree.Element | None, numbers: tuple[int, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the channels that have pixels, empty unless each has its own, and what is said of the others."""
    listed = [] if root is None else root.findall(".//Information/Image/Dimensions/Channels/Channel")
    names = [channel.get("Name") or channel.findtext("Fluor") or "" for channel in listed]
    absent = [number for number in range(len(names)) if number not in numbers]
    findings = tuple(
        f"channel {number} ({names[number] or 'no name'}) is announced, but has no pixels here; it is left out"
        for number in absent
    )
    found = tuple(names[number] for number in numbers if number < len(names))
    usable = len(found) == len(numbers) and all(found) and len(set(found)) == len(found)
    return (found if usable else ()), findings


def _stage(root: ElementTree.Element | None, scene: int) -> tuple[float, ...] | None:
    """Where the stage stood in the middle of the scene, in micrometres."""
    for element in [] if root is None else root.iter("Scene"):
        text = element.findtext("CenterPosition")
        if element.get("Index") == str(scene) and text:
            place = [calibration.number(part) for part in text.split(",")]
            if len(place) == 2 and np.isfinite(place).all():
                return (place[1], place[0])
    return None
