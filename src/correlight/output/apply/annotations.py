"""Annotations of one image, such as QuPath exports or ROIs of ImageJ, taken to the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.exchange.geojson import Annotations, Path2D, read_geojson, write_geojson
from correlight.exchange.imagej import ENDINGS, read_rois, write_rois
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.output.apply.bent import known_there, led
from correlight.output.apply.outlines import NEAR, followed
from correlight.output.apply.points import PointsIn, frames_for
from correlight.output.apply.saved import Saved
from correlight.transforms import Transform
from correlight.transforms.bending import bends, finest_detail

# So many points are mapped at a time.
_AT_A_TIME = 250_000


@dataclass(frozen=True, slots=True, eq=False)
class MovedAnnotations:
    """Annotations taken from one image to the other.

    Parameters
    ----------
    annotations : Annotations
        As they were read.
    paths : list of Path2D
        Their positions in the other image.
    left_out : set of int
        Numbers of features that have no counterpart there.
    outside : tuple of str
        Names of features that do not lie on the other image, or only in part.
    notes : tuple of str
        What else is to be said.
    """

    annotations: Annotations
    paths: list[Path2D]
    left_out: set[int]
    outside: tuple[str, ...]
    notes: tuple[str, ...]

    def write(self, path: str | Path) -> None:
        """Write them in the format that they were read from."""
        writer = write_rois if Path(path).suffix.lower() in ENDINGS else write_geojson
        writer(path, self.annotations, self.paths, self.left_out)


def move_annotations(
    saved: Saved,
    path: str | Path,
    image: Image,
    fixed_spacing: float | None = None,
    moving_spacing: float | None = None,
    points_in: PointsIn = "moving",
) -> MovedAnnotations:
    """Annotations of the moving image as annotations of the fixed image, or the reverse.

    Parameters
    ----------
    saved : Saved
        The transform with its record.
    path : str or Path
        A file of GeoJSON, or of ROIs of ImageJ.
    image : Image
        The fixed image.
    fixed_spacing, moving_spacing : float, optional
        Micrometres per pixel, in place of what files and record say.
    points_in : {"moving", "fixed"}
        The image that the annotations were drawn in.

    Raises
    ------
    ReadError
        If a file cannot be read.
    UsageError
        If the transform has three axes, the pixel size of the moving image is not known, the map has no inverse, or no
        annotation has a counterpart.
    """
    if saved.moving_from_fixed.ndim != 2:
        raise UsageError(
            "Annotations lie in a plane, and this transform has three axes; give a table of points instead."
        )
    fixed, moving = frames_for(saved, image, fixed_spacing, moving_spacing)
    if moving is None:
        if fixed.calibrated:
            raise UsageError(
                "Annotations count pixels, and nothing is known of those of the moving image; give its pixel size, or "
                "the folder of the result in place of the transform alone."
            )
        moving = Grid.of((1, 1))
    found = (read_rois if Path(path).suffix.lower() in ENDINGS else read_geojson)(path)
    source, target = (fixed, moving) if points_in == "fixed" else (moving, fixed)
    transform = led(saved.moving_from_fixed, points_in)
    points = np.vstack([one.points for one in found.paths])
    owner = np.repeat([one.feature for one in found.paths], [len(one.points) for one in found.paths])
    moved, place = followed(points, _joined(found), _mover(transform, source, target), _detail(transform, source))
    paths = _split(found, moved, place)
    reached = np.isfinite(moved).all(axis=1)
    owners = owner[place.astype(int)]
    left_out = set(owners[~reached].tolist())
    if len(left_out) == len(set(owner.tolist())):
        raise UsageError(f"None of the annotations in {path} has a counterpart in the {_other(points_in)} image.")
    inside = np.ones(len(moved), bool) if target.shape == (1, 1) else target.contains(target.points(moved))
    beyond = ~known_there(transform, source.points(points))
    numbers = sorted(set(owners[reached & ~inside].tolist()) - left_out)
    notes = [
        *_lost(found, left_out, points_in),
        *_further(found, place, len(points), len(moved), points_in),
        *_beyond(owner[beyond], left_out),
        *_kept(found),
    ]
    return MovedAnnotations(found, paths, left_out, tuple(found.names[number] for number in numbers), tuple(notes))


def _joined(found: Annotations) -> NDArray[np.bool_]:
    """Whether an edge leads from each position to the next."""
    flags = []
    for one in found.paths:
        joined = np.full(len(one.points), one.kind != "points")
        joined[-1:] = False
        flags.append(joined)
    return np.concatenate(flags)


def _mover(transform: Transform, source: Grid, target: Grid) -> Callable[[Points], Points]:
    """Pixels of one image to pixels of the other, a part at a time."""

    def move(points: Points) -> Points:
        parts = range(0, len(points), _AT_A_TIME)
        made = [target.index(transform(source.points(points[first : first + _AT_A_TIME]))) for first in parts]
        return np.vstack(made) if made else np.empty((0, 2))

    return move


def _detail(transform: Transform, source: Grid) -> float:
    """No detail of a map is smaller than this, in pixels; infinite where straight lines stay straight."""
    return finest_detail(transform, source.centre) / max(source.spacing) if bends(transform) else float("inf")


def _split(found: Annotations, moved: Points, place: NDArray[np.float64]) -> list[Path2D]:
    """The new corners as paths; what a position has beyond x and y goes on to those that were added after it."""
    ends = np.cumsum([len(one.points) for one in found.paths])
    paths, first = [], 0
    for one, end, cut in zip(found.paths, ends, np.searchsorted(place, ends), strict=True):
        start = int(end) - len(one.points)
        rest = [one.rest[int(number) - start] for number in place[first:cut]]
        paths.append(Path2D(one.kind, moved[first:cut], rest, one.feature))
        first = int(cut)
    return paths


def _other(points_in: PointsIn) -> str:
    return "fixed" if points_in == "moving" else "moving"


def _named(found: Annotations, numbers: set[int]) -> str:
    names = [found.names[number] for number in sorted(numbers)]
    return ", ".join(names[:5]) + (" and others" if len(names) > 5 else "")


def _lost(found: Annotations, left_out: set[int], points_in: PointsIn) -> list[str]:
    if not left_out:
        return []
    what = "annotation has" if len(left_out) == 1 else "annotations have"
    return [
        f"{len(left_out)} {what} no counterpart in the {_other(points_in)} image, where the field does not lead, and "
        f"left out: {_named(found, left_out)}"
    ]


def _further(found: Annotations, place: NDArray[np.float64], before: int, after: int, points_in: PointsIn) -> list[str]:
    if after == before:
        return []
    edges = len(np.unique(place[place % 1 > 0].astype(int)))
    return [
        f"{edges} edges got {after - before} further corners, so that they follow the field to {NEAR} pixels of the "
        f"{_other(points_in)} image"
    ]


def _beyond(owner: NDArray[np.intp], left_out: set[int]) -> list[str]:
    count = len(set(owner.tolist()) - left_out)
    if not count:
        return []
    what = "annotation lies" if count == 1 else "annotations lie"
    return [f"{count} {what} beyond the field, at least in part, where nothing but its continuation is known"]


def _kept(found: Annotations) -> list[str]:
    notes = []
    if found.ellipses:
        what = "ellipse is" if found.ellipses == 1 else "ellipses are"
        notes.append(f"{found.ellipses} {what} written as the polygons that they become")
    if found.measured:
        notes.append("measurements stay as they are: they belong to the image that they were made in")
    if found.unknown:
        notes.append(f"stated, not understood, and kept as it stands: {', '.join(found.unknown)[:200]}")
    if found.without:
        names = ", ".join(found.without)[:200]
        notes.append(f"left out, as no position is understood, {len(found.without)} of the annotations: {names}")
    return notes
