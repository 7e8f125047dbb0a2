"""What a result folder holds: the record, the transform, the images, and the moving image on the fixed grid."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.exchange import write_transform
from correlight.images.image import Image
from correlight.images.kernel import Order
from correlight.images.labels import label_channels
from correlight.images.pyramid import shown_image
from correlight.images.resample import output_grid, warp
from correlight.io import unchanged
from correlight.io.write import write_tiff
from correlight.output.asked import GridChoice
from correlight.output.composite import Moved, write_composite
from correlight.output.landmarks import BEADS, write_bead_table
from correlight.output.moved import Progress, halves, must_be_bounded, picture_name, write_moved, write_moved_volume
from correlight.output.report import draw_overlay, write_picture, write_report
from correlight.output.report.content import NEAREST
from correlight.output.report.pictures import Colour
from correlight.output.report.slices import slice_viewer
from correlight.output.report.volumes import shown_of, still_of, write_volume_report
from correlight.output.section import is_section, output_grid_in_space
from correlight.output.target import reserve
from correlight.registration.from_landmarks import LandmarkResult
from correlight.registration.result import ImageRecord, Result
from correlight.registration.stack import as_stacks
from correlight.transforms import Affine, Projective, Transform


def write_result(
    folder: str | Path,
    result: Result,
    fixed: Image,
    moving: Image,
    *,
    grid: GridChoice = "fixed",
    composite: bool = False,
    landmarks: LandmarkResult | None = None,
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Write everything that a registration hands over into a folder that exists (see `output.target.reserve`).

    A doubtful result is marked in the image and the report. A refused one is written without registered image and
    footprint, which nobody could use. Above 2 GiB of pixels the registered image is a store of OME-Zarr. Neither the
    images nor the output are ever whole in memory; the images are made of levels of at most 2**24 pixels.

    Parameters
    ----------
    folder : str or Path
        Where the files go.
    result : Result
        What the registration found.
    fixed, moving : Image
        The two images.
    grid : {"fixed", "moving", "none"} or float
        Grid of ``registered.ome.tif`` as for `correlight.images.resample.output_grid`; "none" leaves the image out.
    composite : bool
        Whether the fixed image and the registered channels are written as one image as well, unless it is refused.
    landmarks : LandmarkResult, optional
        Of a result that was made by hand, what came of its landmarks, for the report.
    progress : callable, optional
        Called with the fraction of the rows of the registered image that are written.

    Returns
    -------
    tuple of str
        What was done otherwise than asked for, in words that also stand in the record: channels that hold labels.

    Raises
    ------
    UsageError
        If the grid does not suit the images.
    WriteError, OSError
        If a file cannot be written.
    """
    folder = Path(folder)
    moves = result.status != "refused" and (composite or grid != "none")
    labels = label_channels(moving) if moves else ()
    told, told_after = halves(progress, composite and moves and grid != "none")
    notes = tuple(moved_as_labels(moving, number) for number in labels)
    result = replace(result, moving=replace(result.moving, findings=(*result.moving.findings, *notes)))
    orders: list[Order] = ["nearest" if number in labels else "linear" for number in range(len(moving.channels))]
    transform_file = "moving_from_fixed" + _ending(result.moving_from_fixed)
    _write_json(folder / "result.json", result.to_json(transform_file))
    write_transform(folder / transform_file, result.moving_from_fixed)
    write_tiff(folder / "predicted_error.tif", result.predicted_error.values, result.predicted_error.grid)
    for name, values in result.maps.items():
        write_tiff(folder / f"{name}.tif", values, result.predicted_error.grid, name.replace("_", " "))
    if result.pairs is not None and len(result.pairs[0]) and result.status != "refused":
        write_bead_table(folder / BEADS, result)
    if result.moving_from_fixed.ndim == 3:
        fixed, moving = as_stacks(fixed, moving)
        _write_stacks(folder, result, fixed, moving, grid, orders, told)
    else:
        _write_pictures(folder, result, fixed, moving, grid, orders, landmarks, told)
    if composite and moves:
        laid = Moved(moving, moving.grid, result.moving_from_fixed, orders)
        write_composite(folder, fixed, [laid], progress=told_after)
    return notes


@contextmanager
def result_folder(folder: str | Path, fixed: Image, moving: Image, *, overwrite: bool = False) -> Iterator[Path]:
    """Where a result of two images that are open already is written, completely or not at all.

    Parameters
    ----------
    folder : str or Path
        The folder that shall appear.
    fixed, moving : Image
        The two images; nothing is written if a file of theirs has changed.
    overwrite : bool
        Whether an earlier result there is replaced.

    Raises
    ------
    UsageError, ReadError, WriteError
        As for `correlight.output.target.reserve`.
    """
    inputs = [image.source["path"] for image in (fixed, moving) if "path" in image.source]
    with reserve(folder, overwrite=overwrite, inputs=inputs) as place:
        yield place
        unchanged(fixed)
        unchanged(moving)


def moved_as_labels(image: Image, channel: int) -> str:
    """What is said of a channel that was not interpolated."""
    name = "the image" if len(image.channels) == 1 else f"channel {image.channels[channel]}"
    return f"{name} holds labels and was moved by {NEAREST}, so that no label is invented"


def _write_pictures(
    folder: Path,
    result: Result,
    fixed: Image,
    moving: Image,
    grid: GridChoice,
    orders: Sequence[Order],
    landmarks: LandmarkResult | None,
    progress: Progress | None,
) -> None:
    """The overlay, the report, and the registered image, of two images in two dimensions."""
    seen, light = shown_image(fixed), shown_image(moving)
    registered, footprint = None, None
    if result.status != "refused":
        registered, footprint = warp(light, light.grid, result.moving_from_fixed, seen.grid, orders)
    write_picture(folder / "overlay.png", _drawn(result, seen, light, registered, footprint))
    write_report(folder / "report.html", result, seen, light, registered, footprint, landmarks)
    if result.status == "refused" or grid == "none":
        return
    del registered, footprint
    onto = output_grid(fixed.grid, moving.grid, result.moving_from_fixed, grid)
    if grid != "fixed":
        must_be_bounded(math.prod(onto.shape), moving)
    files = folder / picture_name(moving, onto), folder / "footprint.tif"
    write_moved(*files, moving, moving.grid, result.moving_from_fixed, onto, order=orders, progress=progress)


def overlay_of(result: Result, fixed: Image, moving: Image) -> Colour:
    """The overlay that a result folder holds, ``(Y, X, 3)``, at most 1600 pixels a side.

    Parameters
    ----------
    result : Result
        What the registration found. Of a refused result the fixed image alone.
    fixed, moving : Image
        The two images.
    """
    if result.moving_from_fixed.ndim == 3:
        fixed, moving = as_stacks(fixed, moving)
        channels = _used_channel(fixed, result.fixed), _used_channel(moving, result.moving)
        return still_of(result, moving, shown_of(result, fixed, moving, channels))
    seen, light = shown_image(fixed), shown_image(moving)
    if result.status == "refused":
        return _drawn(result, seen, light, None, None)
    return _drawn(result, seen, light, *warp(light, light.grid, result.moving_from_fixed, seen.grid))


def _drawn(
    result: Result, fixed: Image, moving: Image, registered: NDArray[Any] | None, footprint: NDArray[np.bool_] | None
) -> Colour:
    """The overlay of two images in the plane, with a band of words where the result is not accepted."""
    channels = _used_channel(fixed, result.fixed), _used_channel(moving, result.moving)
    mark = None if result else f"{result.status}: check before use"
    if registered is None:
        mark = "refused: the moving image could not be placed"
    return draw_overlay(fixed, registered, footprint, channels[1], fixed_channel=channels[0], mark=mark)


def _write_stacks(
    folder: Path,
    result: Result,
    fixed: Image,
    moving: Image,
    grid: GridChoice,
    orders: Sequence[Order],
    progress: Progress | None,
) -> None:
    """The same of two stacks, or of a stack and a section, which is written as a flat image."""
    channels = _used_channel(fixed, result.fixed), _used_channel(moving, result.moving)
    shown = None
    if result.status != "refused":
        shown = slice_viewer(fixed, moving, result.moving_from_fixed, channels)
    write_volume_report(folder, result, fixed, moving, channels, shown)
    if grid == "none" or result.status == "refused":
        return
    onto = output_grid_in_space(fixed.grid, moving.grid, result.moving_from_fixed, grid)
    if grid != "fixed":
        must_be_bounded(math.prod(onto.shape), moving)
    if not is_section(fixed.grid):
        write_moved_volume(folder, moving, result.moving_from_fixed, onto, order=orders, progress=progress)
        return
    files = folder / picture_name(moving, onto), folder / "footprint.tif"
    write_moved(*files, moving, moving.grid, result.moving_from_fixed, onto, order=orders, progress=progress)


def _ending(transform: Transform) -> str:
    """The simplest kind of file that holds a transform."""
    if isinstance(transform, Affine):
        return ".tfm"
    return ".txt" if isinstance(transform, Projective) else ".h5"


def _used_channel(image: Image, record: ImageRecord) -> int | None:
    """The channel that was registered; None where all colours of an image were."""
    return image.channels.index(record.channel) if record.channel in image.channels else None


def _write_json(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(_finite(content), indent=2, allow_nan=False) + "\n", encoding="utf-8")


def _finite(value: Any) -> Any:
    """The same content with null for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value.item() if isinstance(value, np.generic) else value
