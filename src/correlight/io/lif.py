"""LIF files of Leica through liffile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order
from correlight.io.content import NOT_STATED, Content, check_size, from_samples
from correlight.io.extras import known_in_part, losses_raised, reader
from correlight.io.further import index_with_views
from correlight.parsing import LIMIT, parse_xml

KNOWS = ("scene", "time", "view")  # what can be chosen
_METRE = 1e6  # micrometres


def read_lif(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read one image of a LIF file.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        Scene, by number or name, and frame.
    """
    liffile = reader("liffile", "LIF files")
    _check_header(path)
    with losses_raised(), liffile.LifFile(path) as file:
        images = list(file.images)
        if not images:
            raise ReadError(f"Expected an image, but {path} holds none; export it again.")
        number, findings = choose_scene(path, [image.name for image in images], choice)
        image = images[number]
        axes = "".join(image.dims)
        check_size(path, image.shape, image.dtype.itemsize)
        stored = image.memory_block.size
        if stored < image.nbytes:
            raise ReadError(f"{path} is truncated: {image.nbytes} bytes of pixels were announced; copy it again.")
        choose_level(path, 1, choice)
        index, said = index_with_views(path, axes, image.shape, choice)
        pixels = np.asarray(image.asarray())[index]
        spacing = _spacings(image) if calibrate else {}
        names = _names(image)
        stage = _stage(image, dict(zip(axes, index, strict=True)).get("M", 0))
    kept = "".join(axis for axis, part in zip(axes, index, strict=True) if isinstance(part, slice))
    if kept == "YXS" and pixels.shape[-1] in (3, 4):
        content = from_samples(pixels)
    else:
        content = Content(in_order(path, kept.replace("S", "C"), pixels))
    spatial = "ZYX"[-content.ndim :]
    known = all(axis in spacing for axis in spatial)
    sizes = calibration.checked(path, [spacing[axis] for axis in spatial], "metadata") if known else None
    return Content(
        content.pixels,
        channels=names if len(names) == content.count and not content.rgb else (),
        rgb=content.rgb,
        opaque=content.opaque,
        spacing=sizes,
        spacing_source="LIF metadata" if known else NOT_STATED,
        findings=(*findings, *said, *known_in_part(spacing, spatial)),
        stage=stage,
    )


def _check_header(path: Path) -> None:
    """Refuse XML that does more than describe images, before the reader parses it."""
    with path.open("rb") as file:
        start = file.read(13)
        length = 2 * int.from_bytes(start[9:13], "little")
        if length > LIMIT:
            raise ReadError(f"Expected a description of images, but that of {path} is {length} bytes long.")
        text = file.read(length).decode("utf-16-le")
    parse_xml(text, f"Expected a LIF file, but {path}")


def _spacings(image: Any) -> dict[str, float]:
    """Micrometres per pixel by axis; lengths are in metres, from the centre of the first pixel to that of the last."""
    found = {}
    for axis, places in image.coords.items():
        if axis in ("X", "Y", "Z") and len(places) > 1:
            found[axis] = abs(float(places[-1] - places[0])) / (len(places) - 1) * _METRE
    return found


def _names(image: Any) -> tuple[str, ...]:
    """Names of the channels: the dye or the name that the user gave, else the colour table; each its own."""
    names = []
    for channel in image.xml_element.iter("ChannelDescription"):
        texts = {entry.findtext("Key"): entry.findtext("Value") for entry in channel.iter("ChannelProperty")}
        names.append(str(texts.get("DyeName") or channel.get("NameOfMeasuredQuantity") or channel.get("LUTName") or ""))
    return tuple(names) if all(names) and len(set(names)) == len(names) else ()


def _stage(image: Any, tile: int) -> tuple[float, ...] | None:
    """Where the stage stood, of the tile that is read."""
    tiles = list(image.xml_element.iter("Tile"))
    if tile >= len(tiles):
        return None
    place = [calibration.number(tiles[tile].get(name)) * _METRE for name in ("PosY", "PosX")]
    return tuple(place) if np.isfinite(place).all() else None
