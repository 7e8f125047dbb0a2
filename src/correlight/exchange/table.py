"""Points and landmarks as CSV that a spreadsheet opens.

Points: ``name,unit,z,y,x``. Landmarks: ``name,fixed_y,fixed_x,moving_y,moving_x`` with optional ``fixed_z`` and
``moving_z``. Coordinates are pixels (whole numbers at pixel centres) unless a column ``unit`` (for landmarks also
``fixed_unit`` and ``moving_unit``) says micrometres. Points that napari saved (``index,axis-0,axis-1``) are read as
well; it saves them in pixels.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from correlight.errors import ReadError, WriteError
from correlight.exchange.flat import FARTHEST, TABLE_LIMIT
from correlight.exchange.reading import reads
from correlight.exchange.spreadsheet import columns_and_rows, names_of, number_of
from correlight.geometry import Points, Unit
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.parsing import open_regular, plain

__all__ = [
    "LandmarkTable",
    "PointTable",
    "holds_landmarks",
    "read_landmarks",
    "read_points",
    "write_landmarks",
    "write_points",
]

_MOST_ROWS = 500_000  # about 300 MB of memory

_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")

_UNITS: dict[str, Unit] = {
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometre", "micrometer"), "micrometre"),
    **dict.fromkeys(("px", "pixel", "pixels"), "pixel"),
}


@reads("a table of points")
def read_points(path: str | Path, unit: Unit | None = None) -> PointTable:
    """Read points from a CSV file with the columns ``name,unit,z,y,x`` (name, unit and z optional).

    Parameters
    ----------
    path : str or Path
        The file, from a spreadsheet of any country: fields parted by commas, semicolons or tabs, a decimal comma only
        with the latter two.
    unit : {"micrometre", "pixel"}, optional
        What the numbers count where the file does not say; without it pixels, and `PointTable.unit_stated` is False.

    Raises
    ------
    ReadError
        If the file is missing, has other columns, holds no points, mixes units, or a coordinate is no number.
    """
    rows = _rows(path)
    counted, stated = _unit(rows, ("unit",), unit, path)
    return PointTable(_names(rows), _coordinates(rows, "", path), counted, stated)


def cell(name: str) -> str:
    """A name as a cell of CSV that no spreadsheet takes for a formula: those get an apostrophe in front.

    Numbers with a sign are what they look like. Some spreadsheets take signs of full width for the same, and a name
    that has an apostrophe of its own there gets a second one, so that it comes back as it was.
    """
    if not name.lstrip("' \t\r\n\v\f\xa0").startswith(_FORMULA):
        return name
    try:
        float(name)
    except ValueError:
        return f"'{name}"
    return name


def write_points(path: str | Path, table: PointTable) -> None:
    """Write points as ``name,unit,z,y,x`` (no z in 2-D); every number reads back as the same number.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    axes = "zyx"[-table.points.shape[1] :]
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["name", "unit", *axes])
            for name, point in zip(table.names, table.points, strict=True):
                writer.writerow([cell(name), table.unit, *(repr(float(value) + 0.0) for value in point)])
    except OSError as error:
        raise WriteError(f"The points cannot be written to {path}: {error.strerror or error}.") from error


@reads("a table of landmarks")
def read_landmarks(path: str | Path, unit: Unit | None = None) -> LandmarkTable:
    """Read landmarks from a CSV file with the columns ``name,fixed_y,fixed_x,moving_y,moving_x``.

    ``fixed_z`` and ``moving_z`` make them 3-D. A column ``unit``, or ``fixed_unit`` and ``moving_unit``, says
    "micrometre" or "pixel" ("um" or "px"); without it they are in ``unit``, or pixels, as for `read_points`. Rows whose
    column ``active`` says "false" or "0" are left out.

    Raises
    ------
    ReadError
        As for `read_points`.
    """
    listed = _rows(path)
    rows = [row for row in listed if row.get("active", "true").lower() not in ("false", "0", "no")]
    if not rows:
        raise ReadError(f"No landmark of {path} is active; switch some on.")
    names = _names(rows)
    sides = []
    for side in ("fixed", "moving"):
        counted, stated = _unit(rows, (f"{side}_unit", "unit"), unit, path)
        sides.append(PointTable(names, _coordinates(rows, f"{side}_", path), counted, stated))
    return LandmarkTable(sides[0], sides[1], len(listed) - len(rows))


def write_landmarks(path: str | Path, landmarks: LandmarkTable) -> None:
    """Write landmarks as ``name,fixed_unit,fixed_y,fixed_x,moving_unit,moving_y,moving_x`` (with z in 3-D).

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    sides = {"fixed": landmarks.fixed, "moving": landmarks.moving}
    header = ["name"]
    for side, table in sides.items():
        header += [f"{side}_unit", *(f"{side}_{axis}" for axis in "zyx"[-table.points.shape[1] :])]
    try:
        with Path(path).open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            for number, name in enumerate(landmarks.fixed.names):
                row = [cell(name)]
                for table in sides.values():
                    row += [table.unit, *(repr(float(value) + 0.0) for value in table.points[number])]
                writer.writerow(row)
    except OSError as error:
        raise WriteError(f"The landmarks cannot be written to {path}: {error.strerror or error}.") from error


def _rows(path: str | Path) -> list[dict[str, str]]:
    """The lines of a CSV file as dictionaries, keys in lower case, everything stripped."""
    header, lines = columns_and_rows(path, TABLE_LIMIT, _MOST_ROWS)
    if "axis-0" in header:
        # Napari counts pixels, and has no column that says so.
        header = [*_of_napari(header, lines, path), "unit"]
        lines = [[*line, "pixel"] for line in lines]
    return [dict(zip(header, line, strict=True)) for line in lines]


def _of_napari(header: list[str], lines: list[list[str]], path: str | Path) -> list[str]:
    """The names of the columns of a points layer of napari, whose axes end with rows and columns.

    A first of three axes that is 0 throughout, as with points on a flat image shown among others, is no depth.
    """
    if "vertex-index" in header:
        raise ReadError(f"{path} holds shapes of napari, whose corners are no points; save a layer of points.")
    numbered = [name for name in header if name.startswith("axis-")]
    if len(numbered) not in (2, 3) or numbered != [f"axis-{number}" for number in range(len(numbered))]:
        raise ReadError(f"Points of napari in two or three axes were expected in {path}; it has {', '.join(numbered)}.")
    letters = dict(zip(numbered, "zyx"[-len(numbered) :], strict=True))
    place = header.index("axis-0")
    if len(numbered) == 3 and all(line[place].strip("-0.") == "" for line in lines):
        letters["axis-0"] = "axis-0"
    return [letters.get(name, "name" if name == "index" else name) for name in header]


def _names(rows: list[dict[str, str]]) -> tuple[str, ...]:
    return tuple(_uncell(row.get("name", "")) or str(number) for number, row in enumerate(rows, start=1))


def _uncell(text: str) -> str:
    """The name in a cell that `cell` wrote."""
    return text[1:] if text.startswith("'") and cell(text[1:]) == text else text


def _coordinates(rows: list[dict[str, str]], prefix: str, path: str | Path) -> Points:
    # A z column that is empty throughout comes from a template for stacks that was filled in for a plane.
    flat = not any(row.get(f"{prefix}z") for row in rows)
    axes = [f"{prefix}{axis}" for axis in ("yx" if flat else "zyx")]
    missing = [axis for axis in axes if axis not in rows[0]]
    if missing:
        raise ReadError(f"The columns {', '.join(axes)} were expected in {path}; missing: {', '.join(missing)}.")
    try:
        points = np.array([[number_of(row[axis]) for axis in axes] for row in rows])
    except ValueError as error:
        raise ReadError(f"Every coordinate in {path} must be a number: {error}.") from error
    if not (np.abs(points) <= FARTHEST).all():
        raise ReadError(
            f"Every coordinate in {path} must be a finite number below {FARTHEST:g}; remove the points without a place."
        )
    return points


def _unit(
    rows: list[dict[str, str]], columns: tuple[str, ...], otherwise: Unit | None, path: str | Path
) -> tuple[Unit, bool]:
    """What the numbers count, and whether that is stated or given rather than supposed."""
    stated = {next((row[column] for column in columns if column in row), "").lower() for row in rows}
    unknown = sorted(text for text in stated if text and text not in _UNITS)
    if unknown:
        raise ReadError(f"A unit in {path} is micrometre (um) or pixel (px); got {unknown[0]!r}.")
    units = {_UNITS[text] if text else (otherwise or "pixel") for text in stated}
    if len(units) > 1:
        raise ReadError(f"All points of {path} must have one unit; got both micrometres and pixels.")
    return units.pop(), "" not in stated or otherwise is not None


def holds_landmarks(path: str | Path) -> bool:
    """Whether a file is a table of landmarks, judged by its header."""
    try:
        with open_regular(path, "a table in CSV") as file:
            return "fixed_y" in names_of(plain(file.read(10_000)))
    except ReadError:
        return False
