"""CZI files of Zeiss through czifile.

Blocks of pixels are put together here: the reader would join every scene into one picture and pass over blocks that it
cannot read.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order, time_index
from correlight.io.content import NOT_STATED, Content, check_size, from_samples
from correlight.io.extras import losses_raised, reader
from correlight.parsing import parse_xml

_METRE = 1e6  # micrometres
_KEPT = "CZYX"


def read_czi(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read one scene of a CZI file at full resolution.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        Scene, by number or name, and frame.
    """
    czifile = reader("czifile", "CZI files")
    with losses_raised(), czifile.CziFile(str(path)) as file:
        text = file.metadata() if file.header.metadata_position else None
        root = parse_xml(text, f"Expected a CZI file, but the metadata of {path}") if text else None
        blocks = list(file.filtered_subblock_directory)
        if not blocks:
            raise ReadError(f"Expected an image, but {path} holds none; export it again.")
        choose_level(path, 1, choice)
        scenes = sorted({_start(block, "S") for block in blocks})
        number, findings = choose_scene(path, _scene_names(root, scenes), choice)
        blocks = [block for block in blocks if _start(block, "S") == scenes[number]]
        times = sorted({_start(block, "T") for block in blocks})
        frame, said = time_index(path, len(times), choice)
        blocks = [block for block in blocks if _start(block, "T") == times[frame]]
        pixels = _joined(path, blocks)
    content = _content(path, pixels)
    spatial = "ZYX"[-content.ndim :]
    steps = _spacings(root) if root is not None and calibrate else {}
    known = all(axis in steps for axis in spatial)
    names = _channels(root)
    return Content(
        content.pixels,
        channels=names if len(names) == content.count and not content.rgb else (),
        rgb=content.rgb,
        opaque=content.opaque,
        spacing=calibration.checked(path, [steps[axis] for axis in spatial], "metadata") if known else None,
        spacing_source="CZI metadata" if known else NOT_STATED,
        findings=(*findings, *said),
        stage=_stage(root, scenes[number]),
    )


def _start(block: Any, axis: str) -> int:
    return int(block.start[block.axes.index(axis)]) if axis in block.axes else 0


def _joined(path: Path, blocks: list[Any]) -> Any:
    """All blocks in one array with the axes C, Z, Y, X and samples; what no block covers is zero."""
    bounds: list[tuple[int, int]] = []
    for axis in _KEPT:
        places = [(_start(block, axis), _length(block, axis)) for block in blocks]
        low = min(start for start, _ in places)
        bounds.append((low, max(start + length for start, length in places) - low))
    samples = {block.shape[-1] for block in blocks}
    if len(samples) != 1 or any(length < 1 for _, length in bounds):
        raise ReadError(f"Expected blocks of pixels of one kind, but {path} mixes them; export it again.")
    shape = (*(length for _, length in bounds), samples.pop())
    dtype = np.result_type(*{np.dtype(block.dtype[-2:]) for block in blocks})
    check_size(path, shape, dtype.itemsize)
    pixels = np.zeros(shape, dtype)
    for block in blocks:
        check_size(path, block.stored_shape, dtype.itemsize)
        tile = block.data_segment().data()
        axes = block.axes[:-1]
        keep = [axes.index(axis) for axis in _KEPT if axis in axes]
        index = tuple(slice(None) if place in keep else 0 for place in range(len(axes)))
        order = [sorted(keep).index(place) for place in keep]
        tile = tile[index].transpose(*order, len(order))
        tile = tile.reshape(*(_length(block, axis) for axis in _KEPT), shape[-1])
        corner = [_start(block, axis) - low for axis, (low, _) in zip(_KEPT, bounds, strict=True)]
        pixels[tuple(slice(a, a + n) for a, n in zip(corner, tile.shape[:-1], strict=True))] = tile
    return pixels


def _length(block: Any, axis: str) -> int:
    return int(block.shape[block.axes.index(axis)]) if axis in block.axes else 1


def _content(path: Path, pixels: Any) -> Content:
    if pixels.shape[-1] == 1:
        return Content(in_order(path, "CZYX", pixels[..., 0]))
    if pixels.shape[:2] != (1, 1):
        raise ReadError(f"Expected grey channels or one picture in colours, but {path} mixes them; export it again.")
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
        if element.get("Id") in ("X", "Y", "Z") and np.isfinite(size):
            found[str(element.get("Id"))] = size
    return found


def _channels(root: ElementTree.Element | None) -> tuple[str, ...]:
    listed = [] if root is None else root.findall(".//Information/Image/Dimensions/Channels/Channel")
    names = [channel.get("Name") or channel.findtext("Fluor") or "" for channel in listed]
    return tuple(names) if all(names) and len(set(names)) == len(names) else ()


def _stage(root: ElementTree.Element | None, scene: int) -> tuple[float, ...] | None:
    """Where the stage stood in the middle of the scene, in micrometres."""
    for element in [] if root is None else root.iter("Scene"):
        text = element.findtext("CenterPosition")
        if element.get("Index") == str(scene) and text:
            place = [calibration.number(part) for part in text.split(",")]
            if len(place) == 2 and np.isfinite(place).all():
                return (place[1], place[0])
    return None
