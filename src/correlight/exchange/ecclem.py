"""Files of eC-CLEM: transforms of its first version, point pairs of both, XML and CSV.

Everything is in micrometres and x first, and leads from the source, our moving image, to the target, our fixed one. A
linear file lists one matrix per update, the first to be applied on top. Elastic transforms are stored as the pairs that
they were computed from. (ec-clem, versions 1 and 2)
"""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError, UsageError, WriteError
from correlight.exchange.context import UNKNOWN, ExchangeContext, affine_from_xyz, require_affine, xyz_from_affine
from correlight.exchange.flat import TABLE_LIMIT, flattened
from correlight.exchange.reading import reads
from correlight.geometry import Grid, Points
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.parsing import read_text, read_xml
from correlight.transforms import Affine, Transform

_PAIR = "pointspairsinphysicalcoordinates"
_AXES = ("X", "Y", "Z")


@reads("a file of eC-CLEM")
def read_ecclem(path: str | Path, context: ExchangeContext = UNKNOWN) -> Affine | LandmarkTable | PointTable:
    """Read a transform, point pairs or points of eC-CLEM, whichever the file holds.

    Parameters
    ----------
    path : str or Path
        ``.csv`` for a matrix or a list of points, otherwise XML.
    context : ExchangeContext
        ``ndim`` says how many axes to read from a matrix, which always has three.

    Returns
    -------
    Affine, LandmarkTable or PointTable
        The transform is ``moving_from_fixed``.

    Raises
    ------
    ReadError
        If the file is damaged or holds nothing of eC-CLEM.
    TransformError
        If two axes are asked for and the third takes part, or the matrix has no inverse.
    """
    if Path(path).suffix.lower() == ".csv":
        return _from_csv(path, context)
    root = read_xml(path, "a file of eC-CLEM")
    matrices = list(root.iter("MatrixTransformation"))
    if matrices:
        flat = {"m33" not in element.attrib for element in matrices}
        if len(flat) > 1:
            raise ReadError(f"Matrices of one size were expected in {path}; got 3 x 3 beside 4 x 4.")
        rows = np.eye(4)
        for element in matrices:
            rows = (_flat_matrix if True in flat else _matrix)(element, path) @ rows
        return _moving_from_fixed(rows, 2 if True in flat else context.ndim or _dimension(root), path)
    if root.find(f".//{_PAIR}") is not None:
        return _nonrigid(root, path, context)
    if root.find(".//dataset") is not None:
        return _schema(root, path, context)
    raise ReadError(f"A MatrixTransformation or pairs of points of eC-CLEM were expected in {path}; there are none.")


def write_ecclem(path: str | Path, content: Transform | LandmarkTable, context: ExchangeContext) -> None:
    """Write an affine transform as the first version does, or as rows of numbers; or landmarks as the second version.

    Parameters
    ----------
    path : str or Path
        For a transform usually ``<name of the moving file>_transfo.xml``; or ``.csv``, which holds the matrix alone.
    content : Affine or LandmarkTable
        The transform takes fixed to moving positions; landmarks in pixels are written in micrometres.
    context : ExchangeContext
        With both grids, whose sizes the file states.

    Raises
    ------
    TransformError
        If the transform is not affine.
    UsageError
        If a grid is missing or not calibrated.
    WriteError
        If the file cannot be written.
    """
    if context.fixed is None or context.moving is None or not context.sized:
        raise UsageError("eC-CLEM states the sizes of both images; give both images.")
    if not (context.fixed.calibrated and context.moving.calibrated):
        raise UsageError("eC-CLEM counts micrometres; give the pixel sizes of both images.")
    if Path(path).suffix.lower() == ".csv":
        _write_rows(path, content)
        return
    root = ElementTree.Element("root")
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if isinstance(content, LandmarkTable):
        _add_schema(root, content, context.fixed, context.moving, now)
    else:
        _add_matrix(root, require_affine(content, "eC-CLEM"), context.fixed, context.moving, now)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode", xml_declaration=False)
    try:
        Path(path).write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n', encoding="utf-8", newline="\n")
    except OSError as error:
        raise WriteError(f"The file {path} cannot be written: {error.strerror or error}.") from error


def _write_rows(path: str | Path, content: Transform | LandmarkTable) -> None:
    """The matrix from moving to fixed, x first, as version 2 exports it: rows of numbers without a header."""
    if isinstance(content, LandmarkTable):
        raise TransformError("Landmarks of eC-CLEM are written as .xml; its CSV holds the points of one image.")
    affine = require_affine(content, "eC-CLEM").inverse()
    order = [*range(affine.ndim - 1, -1, -1), affine.ndim]
    rows = (affine.matrix[np.ix_(order, order)] + 0.0).tolist()
    try:
        Path(path).write_text("".join(",".join(map(repr, row)) + "\n" for row in rows), encoding="ascii", newline="\n")
    except OSError as error:
        raise WriteError(f"The file {path} cannot be written: {error.strerror or error}.") from error


def _number(element: ElementTree.Element, name: str, path: str | Path) -> float:
    try:
        value = float(element.attrib[name])
    except (KeyError, ValueError) as error:
        raise ReadError(f"The element {element.tag} of {path} needs a number {name}.") from error
    if not np.isfinite(value):
        raise ReadError(f"The number {name} of {element.tag} in {path} must be finite; got {value}.")
    return value


def _matrix(element: ElementTree.Element, path: str | Path) -> NDArray[np.float64]:
    rows = np.eye(4)
    for row in range(3):
        for column in range(4):
            rows[row, column] = _number(element, f"m{row}{column}", path)
    return rows


def _flat_matrix(element: ElementTree.Element, path: str | Path) -> NDArray[np.float64]:
    """The 3 x 3 matrix that version 2 writes for flat images, its shift in the third column."""
    cells = np.array([[_number(element, f"m{row}{column}", path) for column in range(3)] for row in range(3)])
    return _in_space(cells, path)


def _in_space(cells: NDArray[np.float64], path: str | Path) -> NDArray[np.float64]:
    """A homogeneous matrix of a plane, 3 x 3 or without its last row, as one of space."""
    if len(cells) == 3 and not np.array_equal(cells[2], [0, 0, 1]):
        raise ReadError(f"The last row of a 3 x 3 matrix of eC-CLEM is 0 0 1; got {cells[2].tolist()} in {path}.")
    rows = np.eye(4)
    rows[:2, :2], rows[:2, 3] = cells[:2, :2], cells[:2, 2]
    return rows


def _dimension(root: ElementTree.Element) -> int | None:
    """The number of axes that the file speaks of; only volumes have a number of slices."""
    size = root.find("TargetSize")
    if size is not None:
        return 3 if "nz" in size.attrib else 2
    stated = {element.get("dimension") for element in root.iter("sequenceSize")}
    return 2 if stated == {"2"} else None


def _moving_from_fixed(rows: NDArray[np.float64], ndim: int | None, path: str | Path) -> Affine:
    try:
        return affine_from_xyz(rows[:3], ndim, f"The transform in {path}").inverse()
    except TransformError as error:
        raise ReadError(f"The transform in {path} cannot be used: {error}") from error


def _paired(
    names: tuple[str, ...], moving: Points, fixed: Points, path: str | Path, context: ExchangeContext, left_out: int = 0
) -> LandmarkTable:
    """Pairs x first as a table in array order; in a plane, where every z is the same, z is left out."""
    constant = all(points.shape[1] == 3 and np.ptp(points[:, 2]) == 0 for points in (moving, fixed))
    pairs = flattened(np.hstack([moving, fixed]), context.axes or (2 if constant and len(names) > 1 else None), path)
    d = pairs.shape[1] // 2
    of_fixed = PointTable(names, pairs[:, d:][:, ::-1].copy(), "micrometre")
    return LandmarkTable(of_fixed, PointTable(names, pairs[:, :d][:, ::-1].copy(), "micrometre"), left_out)


def _nonrigid(root: ElementTree.Element, path: str | Path, context: ExchangeContext) -> LandmarkTable:
    """The pairs behind an elastic transform."""
    pairs = list(root.iter(_PAIR))
    sides = [
        np.array([[_number(pair, f"{axis}{side}", path) for axis in "xyz"] for pair in pairs])
        for side in ("source", "target")
    ]
    names = tuple(pair.get("pairnumber", str(number)) for number, pair in enumerate(pairs, start=1))
    return _paired(names, sides[0], sides[1], path, context)


def _schema(root: ElementTree.Element, path: str | Path, context: ExchangeContext) -> LandmarkTable:
    """The point sets of version 2; their type says which image they belong to, not their order."""
    sets: dict[str, dict[str, list[float]]] = {}
    for dataset in root.iter("dataset"):
        points: dict[str, list[float]] = {}
        for point in dataset.iter("point"):
            found = {element.get("dimension", ""): element.text or "" for element in point.iter("coordinate")}
            try:
                points[point.get("id", str(len(points)))] = [float(found[str(axis)]) for axis in range(len(found))]
            except (KeyError, ValueError) as error:
                raise ReadError(f"Every point in {path} needs coordinates numbered from 0; check {error}.") from error
        sets[dataset.get("type", "")] = points
    if set(sets) != {"source", "target"} or not sets["source"]:
        raise ReadError(f"A dataset of the type source and one of the type target were expected in {path}.")
    names = [name for name in sets["source"] if name in sets["target"]]
    left_out = len(set(sets["source"]) | set(sets["target"])) - len(names)
    try:
        fixed, moving = (np.array([sets[side][name] for name in names]) for side in ("target", "source"))
    except ValueError as error:
        raise ReadError(f"The points in {path} differ in their number of coordinates.") from error
    if fixed.shape != moving.shape or fixed.ndim != 2 or fixed.shape[1] not in (2, 3) or not np.isfinite(fixed).all():
        raise ReadError(f"Pairs of finite points with the same id in 2-D or 3-D were expected in {path}.")
    return _paired(tuple(names), moving, fixed, path, context, left_out)


def _from_csv(path: str | Path, context: ExchangeContext) -> Affine | PointTable:
    """A matrix in plain rows of numbers, or points under the header ``id,dimension_1,dimension_2``."""
    try:
        lines = [line for line in csv.reader(io.StringIO(read_text(path, "CSV of eC-CLEM", limit=TABLE_LIMIT))) if line]
        named = bool(lines) and lines[0][0].strip().lower() == "id"
        numbers = np.array([[float(cell) for cell in line] for line in lines[named:]])
    except (csv.Error, ValueError) as error:
        raise ReadError(f"Rows of numbers of one length were expected in {path}: {error}.") from error
    if numbers.ndim != 2 or not np.isfinite(numbers).all():
        raise ReadError(f"Rows of finite numbers of one length were expected in {path}.")
    if named and numbers.shape[1] in (3, 4):
        names = tuple(str(int(number)) for number in numbers[:, 0])
        return PointTable(names, numbers[:, :0:-1].copy(), "micrometre")
    if not named and numbers.shape in ((3, 4), (4, 4)):
        if len(numbers) == 4 and not np.array_equal(numbers[3], [0, 0, 0, 1]):
            raise ReadError(f"The last row of a 4 x 4 matrix of eC-CLEM is 0 0 0 1; {path} has another.")
        return _moving_from_fixed(numbers, context.ndim, path)
    if not named and numbers.shape in ((2, 3), (3, 3)):
        return _moving_from_fixed(_in_space(numbers, path), 2, path)
    raise ReadError(f"A matrix of 4 x 4 numbers or points with 2 or 3 coordinates were expected in {path}.")


def _add_matrix(root: ElementTree.Element, transform: Affine, fixed: Grid, moving: Grid, now: str) -> None:
    rows = np.vstack([xyz_from_affine(transform.inverse()), [0.0, 0.0, 0.0, 1.0]])
    size = {"width": str(fixed.shape[-1]), "height": str(fixed.shape[-2])}
    size |= {f"s{axis}": repr(step) for axis, step in zip("xyz", _steps(fixed), strict=True)}
    if fixed.ndim == 3:
        size["nz"] = str(fixed.shape[0])
    ElementTree.SubElement(root, "TargetSize", size)
    cells = {f"m{row}{column}": repr(float(rows[row, column])) for row in range(4) for column in range(4)}
    former = {f"formerpixelsize{axis}": repr(step) for axis, step in zip(_AXES, _steps(moving), strict=True)}
    ElementTree.SubElement(root, "MatrixTransformation", {"order": "3", **cells, **former, "process_date": now})


def _steps(grid: Grid) -> tuple[float, ...]:
    """Pixel sizes x first; a plane counts as one slice as thick as a pixel is wide."""
    return (*grid.spacing[::-1], grid.spacing[-1])[:3]


def _add_schema(root: ElementTree.Element, landmarks: LandmarkTable, fixed: Grid, moving: Grid, now: str) -> None:
    kind = {"type": "SIMILARITY", "noiseModel": "ISOTROPIC", "date": now}
    schema = ElementTree.SubElement(root, "transformation", kind)
    sides: list[tuple[str, Grid, Any]] = [
        ("source", moving, landmarks.moving.positions(moving)),
        ("target", fixed, landmarks.fixed.positions(fixed)),
    ]
    for side, grid, _ in sides:
        size = ElementTree.SubElement(schema, "sequenceSize", {"dimension": str(grid.ndim), "type": side})
        for axis, step, count in zip(_AXES, grid.spacing[::-1], grid.shape[::-1], strict=False):
            element = ElementTree.SubElement(size, "dimensionSize", {"name": axis, "pixelSize": repr(step)})
            element.text = str(count)
    for side, grid, points in sides:
        about = {"type": side, "n": str(len(points)), "dimension": str(grid.ndim), "pointType": "FIDUCIAL"}
        dataset = ElementTree.SubElement(schema, "dataset", about)
        for number, point in enumerate(points):
            element = ElementTree.SubElement(dataset, "point", {"id": str(number)})
            for place, value in enumerate(point[::-1]):
                ElementTree.SubElement(element, "coordinate", {"dimension": str(place)}).text = repr(float(value) + 0.0)
