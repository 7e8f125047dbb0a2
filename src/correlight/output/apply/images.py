"""Moving another channel, a label image or points with a transform that was found before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from correlight.errors import UsageError
from correlight.images.image import CoarseMask
from correlight.images.resample import Order
from correlight.io import read
from correlight.output.apply.points import PointsIn, StageAxes, move_points, write_moved_points
from correlight.output.apply.saved import fixed_grid, in_frame, read_saved
from correlight.output.folder import Progress, picture_name, reserve, reserve_files, write_moved

_PICTURES = (".tif", ".tiff")


@dataclass(frozen=True, slots=True)
class Moved:
    """What `apply` did.

    Parameters
    ----------
    files : tuple of Path
        What was written.
    status : str or None
        The verdict on the transform, where it is recorded.
    outside : tuple of str
        Names of points that do not lie on the image they were taken to.
    """

    files: tuple[Path, ...]
    status: str | None
    outside: tuple[str, ...] = ()


def apply(
    transform: str | Path,
    moving: str | Path,
    like: str | Path,
    out: str | Path,
    *,
    order: Order = "linear",
    fixed_spacing: float | None = None,
    moving_spacing: float | None = None,
    points_in: PointsIn = "moving",
    stage_axes: StageAxes = "right-down",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Moved:
    """Move an image or a table of points into the fixed frame, and write it.

    Parameters
    ----------
    transform : str or Path
        A transform file or a result folder. Where its ``result.json`` is at hand, the pixel sizes that were in force
        during the registration hold for the same files, and for uncalibrated images of the same shape.
    moving : str or Path
        An image in the frame of the moving image, or a ``.csv`` of points (see `correlight.exchange.table`).
    like : str or Path
        The fixed image, whose pixels the output has.
    out : str or Path
        For an image a ``.tif`` or ``.tiff`` file, beside which ``<name>_footprint.tif`` is written, or a folder that
        receives ``registered.ome.tif`` (``registered.ome.zarr`` above 2 GiB of pixels) and ``footprint.tif``; for
        points a ``.csv`` file.
    order : {"linear", "nearest"}
        "nearest" for label images.
    fixed_spacing, moving_spacing : float, optional
        Micrometres per pixel, in place of what files and record say.
    points_in : {"moving", "fixed"}
        The image that points were seen in; they come out in the other one.
    stage_axes : {"right-down", "right-up", "left-down", "left-up"}
        Which way the coordinates of a stage grow on the screen, x first.
    overwrite : bool
        Whether existing output is replaced.
    progress : callable, optional
        Told the fraction of the rows that are written.

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
            moved = move_points(saved, moving, like, fixed_spacing, moving_spacing, points_in, stage_axes)
            write_moved_points(folder / target.name, moved)
        outside = tuple(name for name, inside in zip(moved.table.names, moved.inside, strict=True) if not inside)
        return Moved((target,), status, outside)
    kept = "footprint.tif" if not target.suffix else f"{_stem(target)}_footprint.tif"
    if not target.suffix:
        reserved = reserve(target, overwrite=overwrite, sign=kept, inputs=inputs)
    else:
        reserved = reserve_files(target, target.with_name(kept), overwrite=overwrite, inputs=inputs)
    with reserved as folder:
        fixed = fixed_grid(read(like, spacing=fixed_spacing), saved.frames, fixed_spacing)
        saved.check_place(fixed)
        image = read(moving, spacing=moving_spacing)
        grid = image.grid
        if saved.frames is not None:
            grid = in_frame(image, saved.frames.moving, saved.frames.moving_sha256, moving_spacing, "moving")
        # What looks like padding in a picture may be the background of a label image, where it is as good as any label.
        mask = CoarseMask(np.ones((1,) * grid.ndim, bool), grid.shape) if order == "nearest" else image.mask
        name = picture_name(image, fixed) if not target.suffix else target.name
        places = folder / name, folder / kept
        write_moved(*places, image, grid, saved.moving_from_fixed, fixed, order=order, mask=mask, progress=progress)
    home = target.parent if target.suffix else target
    return Moved((home / name, home / kept), status)


def _stem(target: Path) -> str:
    return target.name.removesuffix(target.suffix).removesuffix(".ome")
