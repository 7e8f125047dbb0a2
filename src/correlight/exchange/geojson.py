"""Annotations in GeoJSON, as QuPath and others write them: geometries in pixels, x first, and all that hangs on them.

Positions count pixels of the full resolution from the outer corner of the first pixel, so that the centre of that pixel
is (0.5, 0.5), as in QuPath. Everything that is not a position stays as it stands: classifications, names, colours,
measurements, and members that nobody here knows. (RFC 7946, doi:10.17487/RFC7946)
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, WriteError
from correlight.exchange.flat import FARTHEST
from correlight.parsing import read_json

Kind = Literal["points", "line", "ring"]

_LIMIT = 256 * 2**20  # bytes; some hundred thousand cells
_EXPECTED = "annotations in GeoJSON"
# How deep the lists of positions lie, and what they form.
_GEOMETRIES: dict[str, tuple[int, Kind]] = {
    "Point": (0, "points"),
    "MultiPoint": (1, "points"),
    "LineString": (1, "line"),
    "MultiLineString": (2, "line"),
    "Polygon": (2, "ring"),
    "MultiPolygon": (3, "ring"),
}
# Members of a feature that hold a geometry: QuPath keeps that of the nucleus of a cell beside that of the cell.
_SHAPES = ("geometry", "nucleusGeometry")
_OF_FEATURES = {"type", "id", "properties", "bbox", *_SHAPES}
_OF_COLLECTIONS = {"type", "features", "bbox"}


@dataclass(frozen=True, slots=True, eq=False)
class Path2D:
    """Positions that belong together.

    Parameters
    ----------
    kind : {"points", "line", "ring"}
        Whether edges join them; a ring ends where it begins.
    points : (N, 2) array
        Array order, in pixels from the centre of the first one.
    rest : list
        What each position has beyond x and y.
    feature : int
        Number of the feature that they belong to.
    """

    kind: Kind
    points: NDArray[np.float64]
    rest: list[list[float]]
    feature: int


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """What a file of annotations holds.

    Parameters
    ----------
    content : object
        The JSON as it stands.
    paths : tuple of Path2D
        Its positions, in the order in which they stand there.
    names : tuple of str
        What each feature is called: its name, its class, or its number.
    ellipses : int
        How many geometries are ellipses, as QuPath marks them.
    measured : bool
        Whether a feature brings measurements along, which belong to the image that they were made in.
    unknown : tuple of str
        Members that are kept without being understood.
    without : tuple of str
        What is left out, as no position of it is understood.
    """

    content: Any
    paths: tuple[Path2D, ...]
    names: tuple[str, ...]
    ellipses: int
    measured: bool
    unknown: tuple[str, ...]
    without: tuple[str, ...] = ()


@dataclass
class _Walk:
    """What is met on the way through a file."""

    path: str | Path
    paths: list[Path2D] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    ellipses: int = 0
    measured: bool = False
    unknown: dict[str, None] = field(default_factory=dict)


def read_geojson(path: str | Path) -> Annotations:
    """Read annotations: a FeatureCollection, a list of features, a feature, or a geometry.

    Raises
    ------
    ReadError
        If the file is missing, is none of these, or has positions that are no numbers.
    """
    content, walk = read_json(path, _EXPECTED, limit=_LIMIT), _Walk(path)
    try:
        for entry in _features(content, walk):
            walk.names.append(_name(entry, len(walk.names) + 1))
            for shape in _shapes_of(entry):
                for geometry in _simple(shape, walk):
                    walk.ellipses += bool(geometry.get("isEllipse"))
                    _collect(geometry, walk)
    except (TypeError, ValueError, KeyError, RecursionError) as error:
        raise ReadError(f"Expected {_EXPECTED}, but {path} is damaged ({error}); export them again.") from error
    if not walk.paths:
        raise ReadError(f"Expected {_EXPECTED}, but {path} holds no geometry; export the annotations again.")
    return Annotations(content, tuple(walk.paths), tuple(walk.names), walk.ellipses, walk.measured, tuple(walk.unknown))


def write_geojson(path: str | Path, annotations: Annotations, moved: list[Path2D], left_out: set[int]) -> None:
    """Write annotations with other positions.

    Parameters
    ----------
    path : str or Path
        The file to write; an existing one is replaced.
    annotations : Annotations
        As they were read. An ellipse is written as the polygon that it becomes.
    moved : list of Path2D
        The new positions, one for each of ``annotations.paths``.
    left_out : set of int
        Numbers of features that are not written.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    todo = iter(moved)
    walk, number = _Walk(path), -1

    def rebuilt(entry: Any) -> Any:
        nonlocal number
        number += 1
        shapes = {id(shape): _rebuilt(shape, todo) for shape in _shapes_of(entry)}
        if id(entry) in shapes:
            return shapes[id(entry)]
        made = {key: shapes.get(id(value), value) for key, value in entry.items()}
        if "bbox" in made:
            made["bbox"] = _box([path for path in moved if path.feature == number])
        return made

    def kept(entries: list[Any]) -> list[Any]:
        made = [rebuilt(entry) for entry in entries]
        first = number - len(entries) + 1
        return [entry for place, entry in enumerate(made, first) if place not in left_out]

    content = annotations.content
    if isinstance(content, list):
        out: Any = kept(content)
    elif content["type"] == "FeatureCollection":
        out = {**content, "features": kept(content["features"])}
        if "bbox" in out:
            out["bbox"] = _box([path for path in moved if path.feature not in left_out])
    else:
        out = rebuilt(next(_features(content, walk)))
    try:
        text = json.dumps(out, ensure_ascii=False, allow_nan=True)
        Path(path).write_text(text + "\n", encoding="utf-8", newline="\n")
    except OSError as error:
        raise WriteError(f"The annotations cannot be written to {path}: {error.strerror or error}.") from error


def _features(content: Any, walk: _Walk) -> Iterator[Any]:
    """The features of a file one after the other, or the geometry that it holds alone."""
    entries: Any = [content]
    if isinstance(content, list):
        entries = content
    elif isinstance(content, dict) and content.get("type") == "FeatureCollection":
        walk.unknown |= dict.fromkeys(sorted(content.keys() - _OF_COLLECTIONS))
        entries = content.get("features")
    if not isinstance(entries, list):
        raise ReadError(f"A list of features was expected in {walk.path}; export the annotations again.")
    for entry in entries:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if kind != "Feature" and kind not in (*_GEOMETRIES, "GeometryCollection"):
            raise ReadError(
                f"Features of GeoJSON were expected in {walk.path}; got {str(kind or entry)[:40]!r}; export the "
                "annotations as GeoJSON."
            )
        if kind == "Feature":
            walk.unknown |= dict.fromkeys(sorted(entry.keys() - _OF_FEATURES))
            properties = entry.get("properties")
            walk.measured |= isinstance(properties, dict) and bool(properties.get("measurements"))
        yield entry


def _shapes_of(entry: Any) -> list[Any]:
    """The geometries of a feature that are not null, or the geometry itself."""
    if entry["type"] != "Feature":
        return [entry]
    return [entry[key] for key in _SHAPES if entry.get(key) is not None]


def _simple(shape: Any, walk: _Walk, depth: int = 0) -> Iterator[dict[str, Any]]:
    """A geometry, or those that a collection holds."""
    kind = shape.get("type") if isinstance(shape, dict) else None
    if kind == "GeometryCollection" and isinstance(shape.get("geometries"), list) and depth < 8:
        for inner in shape["geometries"]:
            yield from _simple(inner, walk, depth + 1)
        return
    if kind not in _GEOMETRIES:
        raise ReadError(
            f"A geometry was expected in {walk.path} ({', '.join(_GEOMETRIES)}); got {str(kind or shape)[:40]!r}."
        )
    yield shape


def _collect(geometry: dict[str, Any], walk: _Walk) -> None:
    """Add the positions of a geometry to what was met."""
    deep, kind = _GEOMETRIES[geometry["type"]]
    try:
        for positions in _lists(geometry.get("coordinates"), deep):
            numbers = [[float(value) for value in position] for position in positions]
            flat = [value for position in numbers for value in position]
            if any(len(position) < 2 for position in numbers) or not all(map(math.isfinite, flat)):
                raise ValueError
            if flat and max(map(abs, flat)) > FARTHEST:
                raise ValueError
            points = np.array([[y, x] for x, y, *_ in numbers], float).reshape(-1, 2) - 0.5
            rest = [position[2:] for position in positions]
            walk.paths.append(Path2D(kind, points, rest, len(walk.names) - 1))
    except (TypeError, ValueError, OverflowError) as error:
        raise ReadError(
            f"Every position of a {geometry['type']} in {walk.path} needs x and y; one has something else."
        ) from error


def _lists(coordinates: Any, deep: int) -> Iterator[list[Any]]:
    """The lists of positions that lie so deep in coordinates; a single position makes a list of its own."""
    if not isinstance(coordinates, list):
        raise TypeError
    if deep == 0:
        yield [coordinates]
    elif deep == 1:
        yield coordinates
    else:
        for inner in coordinates:
            yield from _lists(inner, deep - 1)


def _rebuilt(shape: dict[str, Any], todo: Iterator[Path2D]) -> dict[str, Any]:
    """A geometry with the next positions in place of its own."""
    if shape["type"] == "GeometryCollection":
        return {**shape, "geometries": [_rebuilt(inner, todo) for inner in shape["geometries"]]}
    deep, _ = _GEOMETRIES[shape["type"]]

    def filled(old: list[Any], level: int) -> list[Any]:
        if level > 1:
            return [filled(inner, level - 1) for inner in old]
        path = next(todo)
        rows = (path.points[:, ::-1] + 0.5).round(4).tolist()
        return [[*row, *rest] for row, rest in zip(rows, path.rest, strict=True)]

    made = filled(shape["coordinates"], deep) if deep else filled(shape["coordinates"], 1)[0]
    # A polygon that is called an ellipse is drawn as the one in its box; its box is where it was.
    kept = {key: value for key, value in shape.items() if key not in ("isEllipse", "bbox")}
    return {**kept, "coordinates": made}


def _box(paths: list[Path2D]) -> list[float]:
    """West, south, east and north end of positions."""
    points = np.vstack([path.points for path in paths])[:, ::-1] + 0.5
    return [float(value) for value in (*points.min(axis=0).round(4), *points.max(axis=0).round(4))]


def _name(entry: Any, number: int) -> str:
    """What a feature is called, for messages."""
    properties = entry.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    for value in (properties.get("name"), properties.get("classification")):
        value = value.get("name") if isinstance(value, dict) else value
        if isinstance(value, str) and value:
            return f"{number} ({value[:40]})"
    return str(number)
