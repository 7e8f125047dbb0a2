"""LIF files of Leica through liffile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order
from correlight.io.content import NOT_STATED, Content, check_size, from_samples
from correlight.io.extras import known_in_part, losses_raised, reader
from correlight.io.further import index_with_views
from correlight.io.lif_tiles import Mosaic, join_tiles
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
        Scene, by number or name, frame, and the place along further axes; tiles are joined unless one is asked for.
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
        together = "M" in axes and _all_tiles(choice)
        index, said = _index(path, axes, image.shape, choice, together)
        pixels = np.asarray(image.asarray())[index]
        stated = _spacings(image)
        names = _names(image)
        tile = dict(zip(axes, index, strict=True)).get("M", 0)
        kept = "".join(axis for axis, part in zip(axes, index, strict=True) if isinstance(part, slice))
        mosaic = None
        if together:
            kept, mosaic = _joined(path, kept, pixels, image, stated)
            pixels, said = mosaic.pixels, (*said, mosaic.said)
            tile = tile if mosaic.whole else 0
        stage = _stage(image, tile)
    spacing = stated if calibrate else {}
    if kept == "YXS" and pixels.shape[-1] in (3, 4):
        content = from_samples(pixels)
    else:
        content = Content(in_order(path, kept.replace("S", "C"), pixels))
    covered = None if mosaic is None else mosaic.covered
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
        covered=None if covered is None else np.broadcast_to(covered, content.pixels.shape[1:]),
    )


def _all_tiles(choice: Choice) -> bool:
    """Whether no tile of its own is asked for."""
    wanted = "" if choice.view is None else str(choice.view).strip()
    return not wanted or not (wanted.isdecimal() or "M" in wanted)


def _index(
    path: Path, axes: str, shape: tuple[int, ...], choice: Choice, together: bool
) -> tuple[tuple[Any, ...], tuple[str, ...]]:
    """What to cut out of an image; of its tiles all or one."""
    if not together:
        return index_with_views(path, axes, shape, choice)
    place = axes.index("M")
    index, said = index_with_views(path, axes.replace("M", ""), shape[:place] + shape[place + 1 :], choice)
    return (*index[:place], slice(None), *index[place:]), said


def _joined(path: Path, axes: str, pixels: NDArray[Any], image: Any, stated: dict[str, float]) -> tuple[str, Mosaic]:
    """The axes of the mosaic, and it."""
    rest = "".join(axis for axis in axes if axis not in "MYX")
    stack = pixels.transpose([axes.index(axis) for axis in f"MYX{rest}"])
    spacing = (stated["Y"], stated["X"]) if "Y" in stated and "X" in stated else None
    return f"YX{rest}", join_tiles(path, stack, image, spacing)


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


def _stage(image: Any, tile: int | slice) -> tuple[float, ...] | None:
    """Where the stage stood, of the tile that is read, or in the middle of all tiles."""
    tiles = list(image.xml_element.iter("Tile"))
    chosen = tiles[tile : tile + 1] if isinstance(tile, int) else tiles
    places = np.array([[calibration.number(entry.get(name)) for name in ("PosY", "PosX")] for entry in chosen])
    if not len(places) or not np.isfinite(places).all():
        return None
    middle = (places.min(axis=0) + places.max(axis=0)) / 2 * _METRE
    return tuple(middle.tolist())
