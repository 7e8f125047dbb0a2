"""Landmarks of BigWarp, CSV and JSON.

A row of the table holds name, whether it is active, the moving point and then the fixed point, x first, in the units of
the two images. A point without a partner has ``Infinity`` in its place. The file does not say which unit that is.
(bigwarp, LandmarkTableModel.java)
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from correlight.errors import ReadError, WriteError
from correlight.exchange.flat import TABLE_LIMIT, flattened
from correlight.exchange.reading import reads
from correlight.geometry import Unit
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.parsing import read_json, read_text

_KIND = "BigWarpLandmarks"


@reads("landmarks of BigWarp")
def read_bigwarp(path: str | Path, unit: Unit = "micrometre", ndim: int | None = None) -> LandmarkTable:
    """Read the landmarks of BigWarp; those that are inactive or lack a partner are left out and counted.

    Parameters
    ----------
    path : str or Path
        ``.json`` for the JSON form or a settings file that holds it, otherwise CSV.
    unit : {"micrometre", "pixel"}
        What the numbers count.
    ndim : {2, 3}, optional
        Number of axes of the images. BigWarp opens planes as stacks of one, so that their landmarks have a z; without
        this it is left out where it is zero throughout.

    Raises
    ------
    ReadError
        If the file is missing, holds something else, or no usable pair, or if planes are asked for and z differs.
    """
    rows = _json_rows(path) if Path(path).suffix.lower() == ".json" else _csv_rows(path)
    used = [(name, points) for name, active, points in rows if active and np.isfinite(points).all()]
    if not used:
        raise ReadError(f"No landmark of {path} is active and has both points; switch some on.")
    names = tuple(name for name, _ in used)
    pairs = np.array([points for _, points in used])
    pairs = flattened(pairs, ndim, path)
    d = pairs.shape[1] // 2
    # Each half turns from x first to array order.
    moving, fixed = pairs[:, :d][:, ::-1].copy(), pairs[:, d:][:, ::-1].copy()
    return LandmarkTable(PointTable(names, fixed, unit), PointTable(names, moving, unit), len(rows) - len(used))


def write_bigwarp(path: str | Path, landmarks: LandmarkTable) -> None:
    """Write landmarks as BigWarp does, as JSON where the name ends in ``.json``; every one is active.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    names, moving, fixed = landmarks.fixed.names, landmarks.moving.points, landmarks.fixed.points
    if Path(path).suffix.lower() == ".json":
        content = {
            "type": _KIND,
            "numDimensions": moving.shape[1],
            "movingPoints": (moving[:, ::-1] + 0.0).tolist(),
            "fixedPoints": (fixed[:, ::-1] + 0.0).tolist(),
            "active": [True] * len(names),
            "names": list(names),
        }
        text = json.dumps(content, indent=2) + "\n"
    else:
        buffer = io.StringIO()
        writer = csv.writer(buffer, quoting=csv.QUOTE_ALL, lineterminator="\n")
        for name, start, end in zip(names, moving, fixed, strict=True):
            writer.writerow([name, "true", *(repr(float(value) + 0.0) for value in (*start[::-1], *end[::-1]))])
        text = buffer.getvalue()
    try:
        Path(path).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise WriteError(f"The landmarks cannot be written to {path}: {error.strerror or error}.") from error


def _csv_rows(path: str | Path) -> list[tuple[str, bool, Any]]:
    """Name, active, and the numbers of each row; the first row says whether there are two axes or three."""
    text = read_text(path, "landmarks of BigWarp", limit=TABLE_LIMIT)
    try:
        lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except csv.Error as error:
        raise ReadError(f"Landmarks of BigWarp were expected in {path}: {error}.") from error
    if not lines or len(lines[0]) not in (6, 8):
        raise ReadError(
            f"Landmarks of BigWarp have 6 fields per row in 2-D and 8 in 3-D; the first of {path} does not."
        )
    rows = []
    for number, line in enumerate(lines, start=1):
        if len(line) != len(lines[0]):
            raise ReadError(f"Row {number} of {path} has {len(line)} fields where the first has {len(lines[0])}.")
        rows.append((line[0], line[1].strip().lower() == "true", _numbers(line[2:], path, f"row {number}")))
    return rows


def _json_rows(path: str | Path) -> list[tuple[str, bool, Any]]:
    content = read_json(path, "landmarks of BigWarp")
    if isinstance(content, dict) and isinstance(content.get("Transform"), dict):
        content = content["Transform"].get("landmarks")
    if not isinstance(content, dict) or content.get("type") != _KIND:
        raise ReadError(f"Landmarks of BigWarp were expected in {path}; there is no object of the type {_KIND}.")
    lists = [content.get(key) for key in ("names", "active", "movingPoints", "fixedPoints")]
    if not all(isinstance(item, list) for item in lists) or len({len(item) for item in lists if item is not None}) != 1:
        raise ReadError(f"names, active, movingPoints and fixedPoints of one length were expected in {path}.")
    d = content.get("numDimensions")
    rows = []
    for number, (name, active, moving, fixed) in enumerate(zip(*lists, strict=True), start=1):
        points = [*moving, *fixed] if isinstance(moving, list) and isinstance(fixed, list) else []
        if d not in (2, 3) or len(points) != 2 * d:
            said = str(points)[:60]
            raise ReadError(f"Landmark {number} of {path} needs two points with {d} coordinates; got {said}.")
        rows.append((str(name), active is True, _numbers(points, path, f"landmark {number}")))
    return rows


def _numbers(values: list[Any], path: str | Path, where: str) -> Any:
    try:
        return np.array([float(value) for value in values])
    except (TypeError, ValueError) as error:
        raise ReadError(f"Every coordinate in {path} must be a number; {where} has something else.") from error
