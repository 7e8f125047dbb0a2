"""What the report shows of the pixels: the images of the viewer, the poses and the ignored areas."""

from __future__ import annotations

import re
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images import display
from correlight.images.image import Image
from correlight.images.resample import Chosen, warp
from correlight.output.report import content, field, pictures
from correlight.parsing import stem_of
from correlight.registration.result import Result
from correlight.search.pose import Pose
from correlight.transforms import Affine, Matrix

_SIDES = (1600, 1280, 1024, 800, 640, 480, 320, 200)
_BUDGET = 8_000_000
_THUMBNAIL = 240
_SHOWN_POSES = 4
_MOST_CHANNELS = 64
_SWAP = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def prepare(
    result: Result,
    fixed: Image,
    moving: Image,
    registered: NDArray[Any] | None,
    footprint: NDArray[np.bool_] | None,
) -> dict[str, Any]:
    """Everything that the viewer's script draws from, ready for JSON; images are ``data:`` addresses.

    The images are made smaller together until they fit the budget of the file.
    """
    fixed_shape = display.display_shape(fixed.grid, _SIDES[0])
    fixed_valid = display.resize_mask(fixed.valid(), fixed_shape)
    fixed_planes, fixed_layers, fixed_start = _planes(fixed, result.fixed.channel, None, fixed_shape, fixed_valid)
    if registered is None:
        grid, shape = moving.grid, display.display_shape(moving.grid, _SIDES[0])
        covered = display.resize_mask(moving.valid(), shape)
    else:
        grid, shape = fixed.grid, fixed_shape
        covered = np.ones(shape, bool) if footprint is None else display.resize_mask(footprint, shape)
        covered &= display.specimen_rows(fixed_valid)
    moving_planes, moving_layers, moving_start = _planes(moving, result.moving.channel, registered, shape, covered)
    coded = _within_budget([*fixed_planes, *moving_planes])
    ground, light = (
        _grey(fixed_planes[fixed_layers[fixed_start]["picture"]]),
        _grey(moving_planes[moving_layers[moving_start]["picture"]]),
    )
    together = registered is not None
    used = None if moving.rgb else moving.channels.index(moving_layers[moving_start]["name"])
    look = pictures.look_of(ground, light, covered, used) if together else pictures.SIDE_BY_SIDE
    still = _still(ground, light, covered, look) if together else None
    bent = together and field.has_field(result)
    straight = None
    if bent:
        rows = display.specimen_rows(fixed_valid)
        straight = _straight(result, fixed, moving, moving_layers[moving_start], fixed_shape, rows)
    return {
        "registered": together,
        "aspect": _aspect(fixed_shape, shape, together),
        "fixed": {
            **_frame(fixed.grid, fixed_shape),
            "below": _end_of(fixed_valid),
            "name": content.file_name(result.fixed, "fixed image"),
            "rgb": fixed.rgb,
            "pictures": coded[: len(fixed_planes)],
            "layers": fixed_layers,
            "start": fixed_start,
            "ignored": _ignored_layer(fixed),
        },
        "moving": {
            **_frame(grid, shape),
            "below": _end_of(fixed_valid if together else covered),
            "name": content.file_name(result.moving, "moving image"),
            "rgb": moving.rgb,
            "pictures": coded[len(fixed_planes) :],
            "layers": moving_layers,
            "start": moving_start,
            "ignored": None if together else _ignored_layer(moving),
        },
        "covered": display.data_uri(display.encode(covered.astype(np.uint8) * 255, "png")) if together else None,
        "outline": pictures.outlines(covered, shape) if together else [],
        "error": _error_layer(result, fixed, fixed_shape) if together else None,
        "grid": field.grid_lines(result, fixed.grid, (0, 1), fixed_shape) if bent else None,
        "straight": straight,
        "look": look._asdict(),
        "colours": display.COLOURS,
        "file": _file_of(result),
        "still": None if still is None else display.data_uri(display.encode(still, "jpeg", 80)),
        "field": _field(result, fixed.grid, still) if bent and still is not None else None,
        "hidden_channels": max(0, len(moving.channels) - _MOST_CHANNELS) + max(0, len(fixed.channels) - _MOST_CHANNELS),
    }


def _planes(
    image: Image,
    used: str,
    registered: NDArray[Any] | None,
    shape: tuple[int, int],
    valid: NDArray[np.bool_],
) -> tuple[list[NDArray[np.uint8]], list[dict[str, Any]], int]:
    """8-bit copies of an image, the layers to choose from them, and the one to begin with."""

    def plane(channel: int) -> NDArray[Any]:
        if registered is None:
            return display.shrunk(image, channel, shape)
        return display.plane(registered, channel, shape)

    if image.rgb:
        colours = np.dstack([plane(channel) for channel in range(3)])
        if colours.dtype != np.uint8:
            colours = display.stretch(colours, np.dstack([valid] * 3))
        layers = [{"name": "RGB", "picture": 0, "pick": None, "colour": "own"}]
        layers += [
            {"name": name, "picture": 0, "pick": index, "colour": "own"} for index, name in enumerate(image.channels)
        ]
        return [colours], layers, 0
    start = image.channels.index(used) if used in image.channels else 0
    chosen = sorted({start, *range(min(len(image.channels), _MOST_CHANNELS - 1))})
    planes = [display.stretch(plane(channel), valid) for channel in chosen]
    layers = [
        {"name": image.channels[channel], "picture": i, "pick": None, "colour": pictures.colour_of(channel)}
        for i, channel in enumerate(chosen)
    ]
    return planes, layers, chosen.index(start)


def _within_budget(planes: list[NDArray[np.uint8]]) -> list[str]:
    coded: list[bytes] = []
    for side in _SIDES:
        coded = []
        for plane in planes:
            factor = min(1.0, side / max(plane.shape[:2]))
            shape = max(1, round(plane.shape[0] * factor)), max(1, round(plane.shape[1] * factor))
            coded.append(display.encode(np.asarray(display.resize(plane, shape), np.uint8), "jpeg"))
            if sum(map(len, coded)) > _BUDGET:
                break
        else:
            break
    return [display.data_uri(part) for part in coded]


def _frame(grid: Grid, shape: tuple[int, int]) -> dict[str, Any]:
    return {
        "width": shape[1],
        "height": shape[0],
        "unit_per_pixel": grid.extent[1] / shape[1],
        "symbol": grid.frame.symbol,
        "full_width": grid.shape[1],
    }


def _end_of(valid: NDArray[np.bool_]) -> int:
    """The row below the last that holds a valid pixel: where an instrument's own data bar begins, if there is one."""
    rows = np.flatnonzero(display.specimen_rows(valid))
    return int(rows[-1]) + 1 if len(rows) else len(valid)


def _file_of(result: Result) -> str:
    """How a saved view is called: by both images, in letters that every disk takes."""
    names = content.file_name(result.moving, "moving"), content.file_name(result.fixed, "fixed")
    stems = [stem_of(name) for name in names]
    return re.sub(r"[^\w.-]+", "_", f"{stems[0]}_on_{stems[1]}")[:120]


def _straight(
    result: Result, fixed: Image, moving: Image, layer: dict[str, Any], shape: tuple[int, int], rows: NDArray[np.bool_]
) -> dict[str, str]:
    """What the linear map alone makes of the channel used, or of all colours, and where the moving image lies then."""
    linear, pixels = field.linear_of(result), moving.levels[0]
    numbers = range(3) if moving.rgb else [moving.channels.index(layer["name"])]
    chosen = Chosen(pixels, list(numbers))
    values, inside = warp(chosen, moving.grid, linear, fixed.grid, mask=moving.mask)
    covered = display.resize_mask(inside, shape) & rows
    planes = [display.plane(values, number, shape) for number in range(len(values))]
    laid = planes[0] if len(planes) == 1 else np.dstack(planes)
    if laid.ndim == 2 or laid.dtype != np.uint8:
        laid = display.stretch(laid, covered if laid.ndim == 2 else np.dstack([covered] * 3))
    return {
        "picture": display.data_uri(display.encode(np.asarray(laid, np.uint8), "jpeg")),
        "covered": display.data_uri(display.encode(covered.astype(np.uint8) * 255, "png")),
    }


def _aspect(fixed: tuple[int, int], moving: tuple[int, int], together: bool) -> float:
    """Width by height of what the viewer shows first: the overlay, or both images at one height."""
    alone = fixed[1] / fixed[0]
    return alone if together else alone + moving[1] / moving[0]


def _grey(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return picture if picture.ndim == 2 else np.asarray(np.mean(picture, axis=2), np.uint8)


def _still(
    ground: NDArray[np.uint8], light: NDArray[np.uint8], covered: NDArray[np.bool_], look: pictures.Look
) -> NDArray[np.uint8]:
    """A small overlay."""
    drawn = pictures.laid_over(ground, light, covered, look)
    factor = min(1.0, 640 / max(drawn.shape[:2]))
    shape = max(1, round(drawn.shape[0] * factor)), max(1, round(drawn.shape[1] * factor))
    return np.asarray(display.resize(drawn, shape), np.uint8)


def _field(result: Result, grid: Grid, still: NDArray[np.uint8]) -> dict[str, Any]:
    return {"words": field.words(result), "planes": [field.describe(result, still, grid)]}


def _ignored_layer(image: Image, longest: int = 800) -> str | None:
    if image.mask is None or image.mask.all():
        return None
    mask = display.resize_mask(image.valid(), display.display_shape(image.grid, longest))
    return display.data_uri(display.encode(pictures.hatched(mask), "png"))


def _error_layer(result: Result, fixed: Image, shape: tuple[int, int]) -> dict[str, Any] | None:
    error = result.predicted_error
    known = error.values[np.isfinite(error.values)]
    if not known.size or error.grid.ndim != 2:
        return None
    low, high = float(known.min()), float(known.max())
    small = display.display_shape(fixed.grid, 400)
    layer = pictures.heat(pictures.sample(error.values, error.grid, fixed.grid.resized(small)), low, high)
    ramp = pictures.heat(np.linspace(0, 1, 128)[None], 0, 1)
    return {
        "picture": display.data_uri(display.encode(layer, "png")),
        "ramp": display.data_uri(display.encode(ramp, "png")),
        "low": content.length(low, error.grid.unit),
        "high": content.length(high, error.grid.unit),
    }


def index_matrix(pose: Pose, fixed: Grid, moving: Grid) -> Matrix:
    """The pose between pixel indices of two 2-D grids, ``(3, 3)`` in array order: moving index from fixed index."""
    matrix: Matrix = np.linalg.inv(moving.matrix) @ pose.moving_from_fixed.matrix @ fixed.matrix
    return np.asarray(matrix / matrix[-1, -1])


def pose_picture(
    pose: Pose, fixed: Image, moving: Image, channels: tuple[int | None, int | None], look: pictures.Look | None = None
) -> NDArray[np.uint8]:
    """A small overlay of the two images under one pose, ``(Y, X, 3)``, with the edge of the moving field.

    Parameters
    ----------
    channels : tuple
        The fixed and the moving channel to show; None for the mean of all.
    look : Look, optional
        Colours, so that nothing but the place tells poses apart; without it what suits this one.
    """
    shape = display.display_shape(fixed.grid, _THUMBNAIL)
    grid = fixed.grid.resized(shape)
    fixed_valid = display.resize_mask(fixed.valid(), shape)
    ground = display.stretch(display.shrunk(fixed, channels[0], shape), fixed_valid)
    # Shrinking the moving image to the pixel size of the thumbnail first keeps the warp free of aliasing.
    pixel = max(pose.linear.scale * float(np.sqrt(np.prod(grid.spacing))), 1e-6 * max(moving.grid.extent))
    wanted = np.asarray(moving.grid.extent) / pixel
    wanted = np.clip(np.round(wanted / max(1.0, float(wanted.max()) / 1024)), 8, moving.grid.shape).astype(int)
    small = int(wanted[0]), int(wanted[1])
    valid = display.resize_mask(moving.valid(), small)
    light = display.stretch(display.shrunk(moving, channels[1], small), valid)
    to_moving = _SWAP @ index_matrix(pose, grid, moving.grid.resized(small)) @ _SWAP

    def laid(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpPerspective(array, to_moving, (shape[1], shape[0]), flags=flags), np.uint8)

    field = laid(np.full(small, 255, np.uint8)) > 127
    covered = (laid(valid.astype(np.uint8) * 255) > 127) & display.specimen_rows(fixed_valid)
    there = laid(light)
    look = look or pictures.look_of(ground, there, covered, channels[1])
    drawn, tint = pictures.laid_over(ground, there, covered, look), display.COLOURS[look.moving]
    edges, _ = cv2.findContours(field.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(drawn, edges, -1, tint, 1)
    return drawn


def pose_rows(result: Result, fixed: Image, moving: Image, look: pictures.Look | None) -> list[dict[str, Any]]:
    """The ranked poses in display strings; the first few with a small overlay in one look under ``picture``."""
    channels = _channel_number(fixed, result.fixed.channel), _channel_number(moving, result.moving.channel)
    rows = []
    for rank, pose in enumerate(result.poses, start=1):
        picture = pose_picture(pose, fixed, moving, channels, look) if rank <= _SHOWN_POSES else None
        pixels = Affine.of(index_matrix(pose, fixed.grid, moving.grid)[:2, :2], (0.0, 0.0))
        rows.append(
            {
                "rank": rank,
                "score": content.figure(pose.score, 4),
                "rotation": f"{round(pose.linear.rotation, 1) % 360:.1f}°",
                "scale": content.figure(pixels.scale, 4),
                "mirrored": "yes" if pose.linear.mirrored else "no",
                "overlap": f"{100 * pose.overlap:.0f} %",
                "picture": picture if picture is None else display.data_uri(display.encode(picture, "jpeg", 88)),
            }
        )
    return rows


def _channel_number(image: Image, name: str) -> int | None:
    if name in image.channels:
        return image.channels.index(name)
    return None if image.rgb else 0


def ignored_pictures(result: Result, fixed: Image, moving: Image) -> list[dict[str, Any]]:
    """Per image with something to ignore: its findings, the share of ignored pixels and an image of where."""
    out = []
    for role, image, record in (("Fixed", fixed, result.fixed), ("Moving", moving, result.moving)):
        findings = list(dict.fromkeys((*record.findings, *image.findings)))
        part = 0.0 if image.mask is None else 1 - float(np.mean(image.valid()))
        if not findings and part == 0:
            continue
        shape = display.display_shape(image.grid, 360)
        valid = display.resize_mask(image.valid(), shape)
        grey = display.stretch(display.shrunk(image, _channel_number(image, record.channel), shape), valid)
        drawn = pictures.over(np.dstack([grey] * 3), pictures.hatched(valid))
        out.append(
            {
                "role": role,
                "name": content.file_name(record, ""),
                "findings": findings,
                "share": f"{100 * part:.1f} %",
                "picture": display.data_uri(display.encode(drawn, "jpeg", 85)) if part > 0 else None,
            }
        )
    return out
