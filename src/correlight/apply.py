"""Moving another channel, a label image or points with a transform that was found before."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError
from correlight.exchange import read_transform
from correlight.exchange.table import PointTable, read_points, write_points
from correlight.folder import reserve, reserve_files
from correlight.geometry import Grid, Points
from correlight.image import Image, Mask
from correlight.io import read
from correlight.io.write import write_ome_tiff, write_tiff
from correlight.resample import Order, warp
from correlight.transforms import Transform

Spacings = tuple[float | None, float | None]

_PICTURES = (".tif", ".tiff")
_RECORD = "result.json"


@dataclass(frozen=True, slots=True)
class Frames:
    """What a registration recorded of the two frames that its transform connects.

    Parameters
    ----------
    fixed, moving : Grid
        Grids of the two images as they were registered.
    fixed_sha256, moving_sha256 : str or None
        Checksums of their files.
    status : str
        The verdict.
    """

    fixed: Grid
    moving: Grid
    fixed_sha256: str | None
    moving_sha256: str | None
    status: str


@dataclass(frozen=True, slots=True)
class Saved:
    """A transform that was found before.

    Parameters
    ----------
    moving_from_fixed : Transform
        Takes fixed to moving positions.
    frames : Frames or None
        The record of its frames; None where there is none.
    """

    moving_from_fixed: Transform
    frames: Frames | None


@dataclass(frozen=True, slots=True)
class Moved:
    """What `apply` did.

    Parameters
    ----------
    files : tuple of Path
        What was written.
    status : str or None
        The verdict on the transform, where it is recorded.
    """

    files: tuple[Path, ...]
    status: str | None


def read_saved(path: str | Path) -> Saved:
    """The transform in a file or a result folder, with the record of its frames where ``result.json`` is at hand.

    Parameters
    ----------
    path : str or Path
        A transform file as for `correlight.exchange.read_transform`, or a result folder. The record is the file itself
        or the ``result.json`` beside it.

    Raises
    ------
    ReadError
        If there is no readable transform, or a record that is damaged.
    """
    file = Path(path)
    if file.is_dir():
        file = file / _RECORD
    transform = read_transform(file)
    record = file.with_name(_RECORD)
    return Saved(transform, _frames(record, transform) if record.is_file() else None)


def apply(
    transform: str | Path,
    moving: str | Path,
    like: str | Path,
    out: str | Path,
    *,
    order: Order = "linear",
    fixed_spacing: float | None = None,
    moving_spacing: float | None = None,
    overwrite: bool = False,
) -> Moved:
    """Move an image or a table of points into the fixed frame, and write it.

    Parameters
    ----------
    transform : str or Path
        A transform file or a result folder. Where its ``result.json`` is at hand, the pixel sizes that were in force
        during the registration hold for the same files, and for uncalibrated images of the same shape.
    moving : str or Path
        An image in the frame of the moving image, or a ``.csv`` of moving points (see `correlight.exchange.table`).
    like : str or Path
        The fixed image, whose pixels the output has.
    out : str or Path
        For an image a ``.tif`` or ``.tiff`` file, beside which ``<name>_footprint.tif`` is written, or a folder that
        receives ``registered.ome.tif`` and ``footprint.tif``; for points a ``.csv`` file.
    order : {"linear", "nearest"}
        "nearest" for label images.
    fixed_spacing, moving_spacing : float, optional
        Micrometres per pixel, in place of what files and record say.
    overwrite : bool
        Whether existing output is replaced.

    Returns
    -------
    Moved
        What was written, and the verdict behind it.

    Raises
    ------
    ReadError
        If an input cannot be read.
    UsageError
        If the output exists, has an ending that does not suit the input, or units do not fit the transform.
    WriteError
        If the output cannot be written.
    """
    target, points = Path(out), Path(moving).suffix.lower() == ".csv"
    if target.suffix.lower() not in ((".csv",) if points else (*_PICTURES, "")):
        expected = "a name ending in .csv" if points else "a name ending in .tif or the name of a folder"
        raise UsageError(f"As output, {expected} was expected; got {out}.")
    saved, inputs = read_saved(transform), (transform, moving, like)
    status = None if saved.frames is None else saved.frames.status
    if points:
        with reserve_files(target, overwrite=overwrite, inputs=inputs) as folder:
            write_points(folder / target.name, _move_points(saved, moving, like, (fixed_spacing, moving_spacing)))
        return Moved((target,), status)
    names = "registered.ome.tif", "footprint.tif"
    if not target.suffix:
        files = (target / names[0], target / names[1])
        reserved = reserve(target, overwrite=overwrite, sign=names[0], inputs=inputs)
    else:
        stem = target.name.removesuffix(target.suffix).removesuffix(".ome")
        files = (target, target.with_name(f"{stem}_footprint.tif"))
        reserved = reserve_files(*files, overwrite=overwrite, inputs=inputs)
    with reserved as folder:
        image, onto, values, footprint = _move_image(saved, moving, like, order, (fixed_spacing, moving_spacing))
        write_ome_tiff(folder / files[0].name, values, onto, image.channels, rgb=image.rgb)
        write_tiff(folder / files[1].name, footprint.astype(np.uint8), onto)
    return Moved(files, status)


def _move_image(
    saved: Saved, moving: str | Path, like: str | Path, order: Order, spacings: Spacings
) -> tuple[Image, Grid, NDArray[Any], Mask]:
    """The moving image, the fixed grid, and values and footprint on it."""
    fixed = _fixed_grid(like, saved.frames, spacings[0])
    image = read(moving, spacing=spacings[1])
    grid = image.grid
    if saved.frames is not None:
        grid = _in_frame(image, saved.frames.moving, saved.frames.moving_sha256, spacings[1], "moving")
    # What looks like padding in a picture may be the background of a label image, where it is as good as any label.
    mask = np.ones(grid.shape, bool) if order == "nearest" else image.mask
    return image, fixed, *warp(image, grid, saved.moving_from_fixed, fixed, order, mask)


def _move_points(saved: Saved, moving: str | Path, like: str | Path, spacings: Spacings) -> PointTable:
    """Moving points as fixed points, in the unit of their table where the fixed image has it.

    Without record and pixel size nothing is known of the moving frame but the transform, so the numbers of the table
    are taken to be in its unit.
    """
    fixed = _fixed_grid(like, saved.frames, spacings[0])
    table = read_points(moving)
    positions: Points = table.points
    if saved.frames is not None and (spacings[1] is None or not saved.frames.moving.calibrated):
        positions = table.positions(saved.frames.moving)
    elif spacings[1] is not None:
        positions = table.positions(Grid.of((1,) * fixed.ndim, spacings[1], unit="micrometre"))
    return PointTable.at(table.names, saved.moving_from_fixed.inverse()(positions), fixed, table.unit)


def _frames(record: Path, transform: Transform) -> Frames:
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        grids = {
            role: Grid.of(content[role]["shape"], content[role]["spacing"], unit=content[f"{role}_unit"])
            for role in ("fixed", "moving")
        }
        status = str(content["status"])
        sums = [content[role].get("sha256") for role in ("fixed", "moving")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReadError(
            f"The record of a registration was expected in {record}, which is incomplete; restore it or move the "
            "transform elsewhere to use it alone."
        ) from error
    if any(grid.ndim != transform.ndim for grid in grids.values()):
        raise ReadError(f"The transform and {record} differ in dimension, so they do not belong together.")
    return Frames(grids["fixed"], grids["moving"], sums[0], sums[1], status)


def _fixed_grid(like: str | Path, frames: Frames | None, given: float | None) -> Grid:
    image = read(like, spacing=given)
    return image.grid if frames is None else _in_frame(image, frames.fixed, frames.fixed_sha256, given, "fixed")


def _in_frame(image: Image, recorded: Grid, sha256: str | None, given: float | None, role: str) -> Grid:
    """The grid of an image in the frame of the transform, whose unit it must share."""
    if given is not None:
        if not recorded.calibrated:
            raise UsageError(
                f"The transform counts pixels of the {role} image, which was registered without a pixel size; leave "
                f"out --{role}-spacing."
            )
        return image.grid
    same_file = sha256 is not None and image.source.get("sha256") == sha256
    if same_file or (image.grid.unit != recorded.unit and image.grid.shape == recorded.shape):
        return recorded
    if image.grid.unit == recorded.unit:
        return image.grid
    found, stated = ("a pixel size", "none") if recorded.calibrated else ("no pixel size", "one")
    raise UsageError(
        f"The transform was found with {found} for the {role} image, and this file of another shape states {stated}; "
        f"give a file of {' x '.join(map(str, recorded.shape))} pixels, or its pixel size with --{role}-spacing."
    )
