"""Points of one image mapped to the other: its coordinates, its stage position, and the predicted error."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.errors import ReadError, UsageError, WriteError
from correlight.exchange.table import cell, read_points
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.images.pyramid import working_image
from correlight.io import read
from correlight.io.maps import read_map
from correlight.landmarks.tables import PointTable, supposed
from correlight.output.apply.bent import led, said_of_points
from correlight.output.apply.saved import Saved, as_recorded, fixed_grid
from correlight.output.section import flat, is_section

Float64 = NDArray[np.float64]
PointsIn = Literal["moving", "fixed"]
# Which way the coordinates of a stage grow on the screen: x, then y.
StageAxes = Literal["right-down", "right-up", "left-down", "left-up"]

SIGNS: dict[StageAxes, tuple[float, float]] = {
    "right-down": (1.0, 1.0),
    "right-up": (-1.0, 1.0),
    "left-down": (1.0, -1.0),
    "left-up": (-1.0, -1.0),
}


@dataclass(frozen=True, slots=True, eq=False)
class MovedPoints:
    """Points taken from one image to the other.

    Parameters
    ----------
    table : PointTable
        The points in the image they were taken to.
    error : (N,) array
        Predicted error of each, in the unit of the table; NaN where unknown.
    inside : (N,) array of bool
        Whether each lies on that image.
    stage : (N, 2) array or None
        Where the stage of that image has to go, (y, x) in micrometres; None where its file states no position.
    notes : tuple of str
        What is to be said of points that go through a field, or whose table states no unit.
    """

    table: PointTable
    error: Float64
    inside: NDArray[np.bool_]
    stage: Float64 | None
    notes: tuple[str, ...] = ()


def move_points(
    saved: Saved,
    points: str | Path,
    like: str | Path | Image,
    fixed_spacing: float | None = None,
    moving_spacing: float | None = None,
    points_in: PointsIn = "moving",
    stage_axes: StageAxes = "right-down",
) -> MovedPoints:
    """Moving points as fixed points, or the reverse, in the unit of their table where the image has it.

    Without record and pixel size nothing is known of the moving frame but the transform, so its numbers are taken to be
    in its unit.

    Parameters
    ----------
    saved : Saved
        The transform with its record.
    points : str or Path
        Table of points.
    like : str, Path or Image
        The fixed image.
    fixed_spacing, moving_spacing : float, optional
        Micrometres per pixel, in place of what files and record say.
    points_in : {"moving", "fixed"}
        The image that the points were seen in.
    stage_axes : str
        Which way the coordinates of the stage grow on the screen, x first.

    Raises
    ------
    ReadError
        If a file cannot be read.
    UsageError
        If units do not fit the transform.
    """
    whole = like if isinstance(like, Image) else read(like, spacing=fixed_spacing)
    image = as_recorded(whole, saved, "fixed")
    fixed, moving = frames_for(saved, image, fixed_spacing, moving_spacing)
    table, transform = read_points(points), led(saved.moving_from_fixed, points_in)
    notes = supposed(table, Path(points).name)
    if points_in == "fixed":
        places = _lifted(table, fixed).positions(fixed)
        there = transform(places)
        moved = _at(table, there, moving)
        slopes = transform.jacobian(places)
        scale = np.abs(np.linalg.det(slopes)) ** (1 / fixed.ndim)
        inside = np.ones(len(places), bool) if moving is None or _unsized(moving) else moving.contains(there)
        error = _error(saved, places, fixed) * scale / _unit_length(moved, moving)
        return MovedPoints(moved, error, inside, None, (*notes, *said_of_points(transform, places, there)))
    positions: Points = table.points if moving is None else _lifted(table, moving).positions(moving)
    there = transform(positions)
    moved = PointTable.at(table.names, there, fixed, table.unit)
    error = _error(saved, there, fixed) / _unit_length(moved, fixed)
    stage = _on_stage(image, fixed, there, stage_axes)
    notes = (*notes, *said_of_points(transform, positions, there))
    return MovedPoints(moved, error, fixed.contains(there), stage, notes)


def frames_for(
    saved: Saved, image: Image, fixed_spacing: float | None, moving_spacing: float | None
) -> tuple[Grid, Grid | None]:
    """The grids of both images in the frames of a transform, the moving one as far as it is known.

    Raises
    ------
    UsageError
        If the fixed image does not suit the transform.
    """
    fixed = fixed_grid(image, saved.frames, fixed_spacing)
    saved.check_place(fixed)
    return fixed, _moving_grid(saved, moving_spacing)


def write_moved_points(path: str | Path, moved: MovedPoints) -> None:
    """Write ``name,unit,z,y,x,error,inside`` and, where the stage is known, ``stage_y,stage_x`` in micrometres.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    table = moved.table
    stage = [] if moved.stage is None else ["stage_y", "stage_x"]
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["name", "unit", *"zyx"[-table.points.shape[1] :], "error", "inside", *stage])
            for index, (name, point) in enumerate(zip(table.names, table.points, strict=True)):
                error = moved.error[index]
                row = [cell(name), table.unit, *(_number(value) for value in point)]
                row += [f"{error:.4g}" if np.isfinite(error) else "", "yes" if moved.inside[index] else "no"]
                if moved.stage is not None:
                    row += [f"{value:.4f}" if np.isfinite(value) else "" for value in moved.stage[index]]
                writer.writerow(row)
    except OSError as error:
        raise WriteError(f"The points cannot be written to {path}: {error.strerror or error}.") from error


def _number(value: float) -> str:
    """A coordinate, or nothing where the map does not lead."""
    return repr(float(value) + 0.0) if np.isfinite(value) else ""


def _moving_grid(saved: Saved, given: float | None) -> Grid | None:
    """The frame of the moving image as far as it is known."""
    if saved.frames is not None and (given is None or not saved.frames.moving.calibrated):
        return saved.frames.moving
    if given is not None:
        return Grid.of((1,) * saved.moving_from_fixed.ndim, given, unit="micrometre")
    return None


def _lifted(table: PointTable, grid: Grid) -> PointTable:
    """Points seen in an image as points of the section that it shows in a stack."""
    if not is_section(grid) or table.points.shape[1] != 2:
        return table
    return PointTable(table.names, np.column_stack([np.zeros(len(table.points)), table.points]), table.unit)


def _unsized(grid: Grid) -> bool:
    return all(n == 1 for n in grid.shape)


def _at(table: PointTable, positions: Points, grid: Grid | None) -> PointTable:
    if grid is None:
        return PointTable(table.names, positions, table.unit)
    return PointTable.at(table.names, positions, grid, table.unit)


def _unit_length(table: PointTable, grid: Grid | None) -> float:
    """Length of the unit of a table in the unit of a frame: of a pixel, if the table counts pixels."""
    if grid is None or table.unit != "pixel":
        return 1.0
    return float(np.prod(flat(grid).spacing) ** (1 / flat(grid).ndim))


def _error(saved: Saved, places: Points, fixed: Grid) -> Float64:
    """The predicted error at fixed places, in the fixed unit; NaN where nothing is known."""
    unknown = np.full(len(places), np.nan)
    if saved.frames is None or saved.frames.errors is None:
        return unknown
    values = read_map(saved.frames.errors)
    if (values < 0).any():
        raise ReadError(f"Errors were expected in {saved.frames.errors}, which are not negative; restore the file.")
    if is_section(fixed) and values.ndim == 2:
        values = values[None]
    if values.ndim != fixed.ndim:
        return unknown
    # The map counts in the frame that was registered, whatever pixel size is claimed for the image now.
    index = saved.frames.fixed.resized(values.shape).index(places).T
    near = ndimage.map_coordinates(values, index, order=0, mode="nearest")
    smooth = ndimage.map_coordinates(values, index, order=1, mode="nearest")
    known: Any = np.where(np.isfinite(smooth), smooth, near)
    return np.where(saved.frames.fixed.contains(places), known, np.nan)


def _on_stage(image: Image, grid: Grid, places: Points, axes: StageAxes) -> Float64 | None:
    """Where the stage has to go to bring places into the middle of the field, (y, x) in micrometres."""
    if axes not in SIGNS:
        raise UsageError(f"The axes of a stage are one of {', '.join(SIGNS)}; got {axes!r}.")
    stated = image.source.get("stage_position")
    if stated is None or not grid.calibrated:
        return None
    return np.asarray(stated, float)[-2:] + (places - _middle(image, grid))[:, -2:] * SIGNS[axes]


def _middle(image: Image, grid: Grid) -> Points:
    """The middle of what the instrument scanned: a data bar below it belongs to the file and not to the field."""
    seen = working_image(image)
    valid, level = seen.valid(), grid.level(seen.grid.shape)
    spans = []
    for axis in range(grid.ndim):
        found = np.flatnonzero(valid.any(axis=tuple(other for other in range(grid.ndim) if other != axis)))
        spans.append((found[0] + found[-1]) / 2)
    middle: Points = level.points(np.array([spans]))[0]
    return middle
