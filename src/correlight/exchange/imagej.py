"""ROIs of ImageJ and Fiji: files of one (``.roi``), and sets of the ROI Manager (``.zip``), as annotations.

Areas count pixels from the outer corner of the first one, lines and points from its centre, as ImageJ draws them. What
is not a position stays as it stands: names, colours, widths of strokes, slices and channels.
"""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError, WriteError
from correlight.exchange.geojson import Annotations, Path2D
from correlight.parsing import is_regular

ENDINGS = (".roi", ".zip")
_EXPECTED = "ROIs of ImageJ"
_LIMIT, _MOST = 256 * 2**20, 200_000  # bytes of all ROIs of a file, and how many
_CORNER = 0.5
# Corners of the polygon that an oval becomes: its sides lie within 0.1 % of its radius.
_AROUND = 96
# Archives state a time; one and the same makes the same file of the same ROIs.
_MOMENT = (1980, 1, 1, 0, 0, 0)
_LINES, _POINT = ("LINE", "FREELINE", "POLYLINE", "ANGLE"), "POINT"


def read_rois(path: str | Path) -> Annotations:
    """Read the ROIs in a file.

    Returns
    -------
    Annotations
        Its ``content`` are the ROIs as ``roifile`` holds them, and the names under which they lie in an archive.

    Raises
    ------
    ReadError
        If the file is missing, holds something else, or no ROI with positions.
    UsageError
        If the package roifile is not installed.
    """
    roifile = _package(path)
    names, rois, paths, unknown = list[str](), list[Any](), list[Path2D](), dict[str, None]()
    ellipses, without = 0, list[str]()
    try:
        for name, coded in _files(Path(path)):
            roi = roifile.ImagejRoi.frombytes(coded)
            kind = roi.roitype.name
            ellipses += kind == "OVAL" or roi.subtype.name == "ELLIPSE"
            if roi.subtype.name in ("TEXT", "IMAGE"):
                unknown[f"the {roi.subtype.name.lower()} of {roi.name or name}"] = None
            found = list(_paths(roi, len(rois)))
            if not found:
                without.append(roi.name or name)
            paths.extend(found)
            names.append(name)
            rois.append(roi)
    except (ValueError, TypeError, IndexError, KeyError, OverflowError, AttributeError, zipfile.BadZipFile) as error:
        raise ReadError(f"Expected {_EXPECTED}, but {path} is damaged ({error}); save them again.") from error
    if not paths:
        raise ReadError(f"Expected {_EXPECTED}, but {path} holds none that has positions; save them again.")
    said = tuple(roi.name or name for roi, name in zip(rois, names, strict=True))
    return Annotations((rois, names), tuple(paths), said, ellipses, False, tuple(unknown), tuple(without))


def write_rois(path: str | Path, annotations: Annotations, moved: Sequence[Path2D], left_out: set[int]) -> None:
    """Write ROIs with other positions; rectangles and ovals as the polygons that they become.

    Parameters
    ----------
    path : str or Path
        An archive (``.zip``), or a file of one ROI (``.roi``); an existing one is replaced.
    annotations : Annotations
        As `read_rois` returned them.
    moved : sequence of Path2D
        The new positions, one for each of ``annotations.paths``.
    left_out : set of int
        Numbers of ROIs that are not written.

    Raises
    ------
    UsageError
        If several are to be written into a file of one.
    WriteError
        If the file cannot be written.
    """
    rois, names = annotations.content
    parts: dict[int, list[Path2D]] = {}
    for one in moved:
        parts.setdefault(one.feature, []).append(one)
    made = [
        (names[number], _rebuilt(rois[number], own).tobytes())
        for number, own in parts.items()
        if number not in left_out
    ]
    archive = Path(path).suffix.lower() == ".zip"
    if not archive and len(made) != 1:
        raise UsageError(
            f"A file ending in .roi holds one ROI, and there are {len(made)}; choose a name ending in .zip."
        )
    try:
        Path(path).write_bytes(_archive(made) if archive else made[0][1])
    except OSError as error:
        raise WriteError(f"The ROIs cannot be written to {path}: {error.strerror or error}.") from error


def _package(path: str | Path) -> Any:
    try:
        import roifile
    except ImportError as error:
        raise UsageError(
            f"{path} holds {_EXPECTED}, which take the package roifile, and it is not installed; install "
            "correlight[formats]."
        ) from error
    return roifile


def _files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Each ROI of a file, and what it is called there."""
    if not is_regular(path):
        raise ReadError(f"Expected {_EXPECTED}, but there is no file {path}.")
    try:
        if path.suffix.lower() != ".zip":
            with path.open("rb") as file:
                yield path.name, _bounded(file.read(_LIMIT + 1), path)
            return
        with zipfile.ZipFile(path) as archive:
            entries = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".roi")]
            size = sum(entry.file_size for entry in entries)
            if len(entries) > _MOST or size > _LIMIT:
                raise ReadError(
                    f"{path} holds {len(entries)} ROIs of {size / 2**20:.0f} MiB, more than can be meant; split it."
                )
            for entry in entries:
                with archive.open(entry) as file:
                    # What an archive states of its sizes need not be so.
                    yield Path(entry.filename).name, _bounded(file.read(_LIMIT + 1), path)
    except ReadError:
        raise
    except OSError as error:
        raise ReadError(f"{path} cannot be read: {error.strerror or error}.") from error


def _bounded(coded: bytes, path: Path) -> bytes:
    if len(coded) > _LIMIT:
        raise ReadError(f"{path} holds more than can be ROIs; {_EXPECTED} were expected.")
    return coded


def _paths(roi: Any, number: int) -> Iterator[Path2D]:
    """The positions of a ROI, array order, in pixels from the centre of the first one."""
    kind = roi.roitype.name
    if kind == _POINT or kind in _LINES:
        places = np.asarray(roi.coordinates(), float).reshape(-1, 2)
        if len(places):
            yield _path("points" if kind == _POINT else "line", places[:, ::-1], number)
        return
    for corners in _areas(roi):
        if len(corners) > 2:
            ring = corners if np.array_equal(corners[0], corners[-1]) else np.vstack([corners, corners[:1]])
            yield _path("ring", ring[:, ::-1] - _CORNER, number)


def _path(kind: Any, points: NDArray[np.float64], number: int) -> Path2D:
    if not np.isfinite(points).all():
        raise ValueError("a position is no number")
    return Path2D(kind, np.ascontiguousarray(points), [[]] * len(points), number)


def _areas(roi: Any) -> list[NDArray[np.float64]]:
    """The outlines of an area, as x and y of its corners."""
    if roi.roitype.name not in ("RECT", "OVAL") or roi.multi_coordinates is not None:
        return [np.asarray(one, float).reshape(-1, 2) for one in roi.coordinates(multi=True)]
    left, top, width, height = float(roi.left), float(roi.top), float(roi.right - roi.left), float(roi.bottom - roi.top)
    if roi.subpixelrect:
        left, top, width, height = float(roi.xd), float(roi.yd), float(roi.widthd), float(roi.heightd)
    rounding = float(roi.rounded_rect_arc_size)
    if roi.roitype.name == "RECT" and rounding > 0:
        return [_rounded(width, height, rounding) + np.array([left, top])]
    if roi.roitype.name == "RECT":
        return [np.array([[0, 0], [0, 1], [1, 1], [1, 0]]) * [width, height] + [left, top]]
    angle = np.linspace(0, 2 * np.pi, _AROUND, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return [(circle + 1) / 2 * [width, height] + [left, top]]


def _rounded(width: float, height: float, diameter: float) -> NDArray[np.float64]:
    """The outline of a rectangle whose corners are quarters of circles, or of ellipses where a side is too short."""
    angle = np.linspace(0, np.pi / 2, _AROUND // 4 + 1)
    radii = np.minimum(diameter, [width, height]) / 2
    quarter = (1 - np.stack([np.cos(angle), np.sin(angle)], axis=1)) * radii
    # From the left side to the top, and on through the other corners in the same sense.
    there, size = quarter, np.array([width, height])
    right, below = there * [-1, 1] + [width, 0], there * [1, -1] + [0, height]
    return np.vstack([there, right[::-1], size - there, below[::-1]])


def _rebuilt(roi: Any, parts: Sequence[Path2D]) -> Any:
    """The same ROI at other positions."""
    roifile = _package("this file")
    kind, count = roi.roitype.name, sum(len(part.points) for part in parts)
    if kind == "LINE" and count > 2:
        kind = "POLYLINE"
    area = parts[0].kind == "ring"
    places = [part.points[:-1, ::-1] + _CORNER if area else part.points[:, ::-1] for part in parts]
    out = copy.copy(roi)
    flat = np.vstack(places)
    shape = roifile.ImagejRoi.frompoints(flat.astype(np.float32), name=roi.name)
    for name in ("left", "top", "right", "bottom", "n_coordinates", "integer_coordinates", "subpixel_coordinates"):
        setattr(out, name, getattr(shape, name))
    out.options = roi.options | roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    out.version = max(roi.version, shape.version)
    out.multi_coordinates, out.shape_roi_size, out.rounded_rect_arc_size = None, 0, 0
    out.subtype = roifile.ROI_SUBTYPE.UNDEFINED
    out.roitype = roifile.ROI_TYPE.POLYGON if area else roifile.ROI_TYPE[kind]
    if kind == "LINE" and not area:
        out.x1, out.y1, out.x2, out.y2 = (float(value) for value in flat.ravel())
        out.integer_coordinates = out.subpixel_coordinates = None
        out.n_coordinates = 0
    if area and len(parts) > 1:
        # Outlines of a composite: 0 begins one, 1 leads on, 4 closes it.
        steps: list[float] = []
        for corners in places:
            for first, (x, y) in enumerate(corners):
                steps += [float(first > 0), x, y]
            steps.append(4.0)
        out.multi_coordinates, out.shape_roi_size = np.asarray(steps, np.float32), len(steps)
        out.integer_coordinates = out.subpixel_coordinates = None
        out.n_coordinates, out.roitype = 0, roifile.ROI_TYPE.RECT
        out.options = roi.options & ~roifile.ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    return out


def _archive(made: Sequence[tuple[str, bytes]]) -> bytes:
    buffer, taken = io.BytesIO(), set[str]()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, coded in made:
            stem, number = name.removesuffix(".roi"), 1
            while name in taken:
                number += 1
                name = f"{stem}-{number}.roi"
            taken.add(name)
            archive.writestr(zipfile.ZipInfo(name, _MOMENT), coded, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()
