"""ND2 files of Nikon through nd2."""

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

KNOWS = ("scene", "time", "view")  # what can be chosen


def read_nd2(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read one position of an ND2 file.

    Parameters
    ----------
    path : Path
        The file.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        Scene (a position of the stage, by number or name) and frame.
    """
    nd2 = reader("nd2", "ND2 files")
    with losses_raised(), nd2.ND2File(path) as file:
        loops = dict(file.sizes)
        sizes = dict(loops)
        count = sizes.pop("P", 1)
        position, findings = choose_scene(path, _positions(file, count), choice)
        axes = "".join(sizes)
        check_size(path, tuple(sizes.values()), np.dtype(file.dtype).itemsize)
        choose_level(path, 1, choice)
        index, said = index_with_views(path, axes, tuple(sizes.values()), choice)
        whole = np.asarray(file.asarray(position if count > 1 else None))
        pixels = whole.reshape(tuple(sizes.values()))[index]
        voxel = file.voxel_size()
        steps = {"X": voxel.x, "Y": voxel.y, "Z": voxel.z}
        names, calibrated = _metadata(file)
        stage = _stage(file, loops, {**dict(zip(axes, index, strict=True)), "P": position})
    kept = "".join(axis for axis, part in zip(axes, index, strict=True) if isinstance(part, slice))
    if kept == "YXS" and pixels.shape[-1] in (3, 4):
        content = from_samples(pixels)
    elif "S" in kept:
        raise ReadError(f"Expected grey channels or one colour image, but {path} has the axes {kept!r}.")
    else:
        content = Content(in_order(path, kept, pixels))
    spatial = "ZYX"[-content.ndim :]
    known = calibrate and all(calibrated.get(axis) for axis in spatial)
    stated = {axis: steps[axis] for axis in "ZYX" if calibrate and calibrated.get(axis)}
    return Content(
        content.pixels,
        channels=names if len(names) == content.count and not content.rgb else (),
        rgb=content.rgb,
        opaque=content.opaque,
        spacing=calibration.checked(path, [steps[axis] for axis in spatial], "metadata") if known else None,
        spacing_source="ND2 metadata" if known else NOT_STATED,
        findings=(*findings, *said, *known_in_part(stated, spatial)),
        stage=stage,
    )


def _positions(file: Any, count: int) -> list[str]:
    """Names of the positions; empty where they have none."""
    for loop in file.experiment or []:
        if getattr(loop, "type", "") == "XYPosLoop":
            points = loop.parameters.points
            if len(points) == count:
                return [str(point.name or "") for point in points]
    return [""] * count


def _metadata(file: Any) -> tuple[tuple[str, ...], dict[str, bool]]:
    """Names of the channels, and which axes are calibrated; old files may have none of it."""
    channels = getattr(file.metadata, "channels", None) or []
    names = tuple(str(channel.channel.name) for channel in channels)
    calibrated = dict(zip("XYZ", channels[0].volume.axesCalibrated, strict=False)) if channels else {}
    return (names if len(set(names)) == len(names) else ()), calibrated


def _stage(file: Any, loops: dict[str, int], place: dict[str, Any]) -> tuple[float, ...] | None:
    """Where the stage stood at the frame that is read, of a volume at its first plane.

    Frames are counted in the order in which the loops of the experiment are nested, whichever that is.
    """
    outer = [axis for axis in loops if axis not in "CYXS"]
    here = [place[axis] if isinstance(place.get(axis), int) else 0 for axis in outer]
    frame = int(np.ravel_multi_index(here, [loops[axis] for axis in outer])) if outer else 0
    try:
        found = file.frame_metadata(frame).channels[0].position.stagePositionUm
        return float(found.y), float(found.x)
    except (AttributeError, IndexError, KeyError, ValueError, TypeError):
        return None
