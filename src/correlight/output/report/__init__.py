"""One self-contained HTML file and one overlay image: the result with its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError, WriteError
from correlight.images import display
from correlight.images.image import Image
from correlight.output.report import content, pictures, predicted, viewer
from correlight.output.report import landmarks as pairs
from correlight.output.report.page import template
from correlight.registration.from_landmarks import LandmarkResult
from correlight.registration.result import Result

__all__ = ["draw_overlay", "write_picture", "write_report"]

_LONGEST = 1600


def write_report(
    path: str | Path,
    result: Result,
    fixed: Image,
    moving: Image,
    registered: NDArray[Any] | None,
    footprint: NDArray[np.bool_] | None,
    landmarks: LandmarkResult | None = None,
) -> None:
    """Write the report of one registration as a single HTML file that loads nothing from outside.

    The images in it are JPEG copies of at most 1600 pixels a side, for inspection and not for measuring; the file
    stays below about 12 MB whatever the size of the images. Cost: one pass over every channel, one
    at a time in memory.

    Parameters
    ----------
    path : str or Path
        The HTML file; it is overwritten.
    result : Result
        What the registration found.
    fixed, moving : Image
        The two images, 2-D.
    registered : (C, Y, X) array or None
        Every channel of the moving image on the fixed grid; None where there is none, for example because the
        result was refused. The report then shows the two images side by side.
    footprint : (Y, X) array of bool or None
        Where the registered image was really sampled; None for everywhere.
    landmarks : LandmarkResult, optional
        Of a result that was made by hand, what came of its landmarks.

    Raises
    ------
    UsageError
        If the images are not 2-D or the arrays do not lie on the fixed grid.
    WriteError
        If the file cannot be written.
    """
    _check(fixed, moving, registered, footprint)
    shown = viewer.prepare(result, fixed, moving, registered, footprint)
    bent, look = shown.pop("field"), pictures.Look(**shown["look"])
    known: dict[str, Any] = {}
    if shown["registered"]:
        shape = shown["fixed"]["height"], shown["fixed"]["width"]
        known = pairs.describe(result, landmarks, fixed.grid, shape)
    shown["landmarks"] = known
    page = template("report.html.j2").render(
        content.describe(result, fixed, moving, has_registered=registered is not None),
        viewer=shown,
        field=bent,
        poses=viewer.pose_rows(result, fixed, moving, look if shown["registered"] else None),
        ignored=viewer.ignored_pictures(result, fixed, moving),
        predicted=predicted.describe(result),
        landmarks=known,
    )
    _write(Path(path), page.encode("utf-8", "replace"))


def write_picture(path: str | Path, picture: pictures.Colour) -> None:
    """Write a picture, such as `draw_overlay` draws, as a PNG.

    Parameters
    ----------
    path : str or Path
        The PNG file; it is overwritten.
    picture : (Y, X, 3) array of uint8
        Red, green, blue.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    _write(Path(path), display.encode(picture, "png"))


def draw_overlay(
    fixed: Image,
    registered: NDArray[Any] | None,
    footprint: NDArray[np.bool_] | None,
    channel: int | None,
    *,
    fixed_channel: int | None = None,
    mark: str | None = None,
) -> pictures.Colour:
    """The fixed image in grey, one registered channel in colour, and a scale bar.

    A picture of shape ``(Y, X, 3)`` with at most 1600 pixels a side.

    The colour is that of the channel's number. What is coloured is what stands out from the ground of the registered
    channel: bright on dark, or dark on bright. Of a channel without such a ground the fixed image is shown in the
    complementary colour: what agrees is grey.

    Parameters
    ----------
    fixed : Image
        The fixed image, 2-D.
    registered : (C, Y, X) array or None
        The moving image on the fixed grid; None draws the fixed image alone, which a `mark` should explain.
    footprint : (Y, X) array of bool or None
        Where the registered image was really sampled; None for everywhere.
    channel : int or None
        The registered channel to show; None takes the mean of all, as for a colour image.
    fixed_channel : int, optional
        The fixed channel to show; without it the first, or the mean of the colours of an RGB picture.
    mark : str, optional
        Words for a band on top of the image, such as "doubtful: check before use".

    Raises
    ------
    UsageError
        If the image is not 2-D or the arrays do not lie on the fixed grid.
    """
    _check(fixed, None, registered, footprint)
    shape = display.display_shape(fixed.grid, _LONGEST)
    if fixed_channel is None and not fixed.rgb:
        fixed_channel = 0
    valid = display.resize_mask(fixed.valid(), shape)
    ground = display.stretch(display.shrunk(fixed, fixed_channel, shape), valid)
    drawn = np.dstack([ground] * 3)
    if registered is not None:
        covered = None if footprint is None else display.resize_mask(footprint, shape)
        moved = display.stretch(display.plane(registered, channel, shape), covered)
        shown = (np.ones(shape, bool) if covered is None else covered) & display.specimen_rows(valid)
        drawn = pictures.laid_over(ground, moved, shown, pictures.look_of(ground, moved, covered, channel))
    rows = np.flatnonzero(display.specimen_rows(valid))
    below = int(rows[-1]) + 1 if len(rows) else None
    drawn = pictures.with_scale_bar(drawn, fixed.grid.extent[1] / shape[1], fixed.grid.frame.symbol, below)
    if mark:
        drawn = pictures.with_banner(drawn, mark)
    return drawn


def _check(
    fixed: Image, moving: Image | None, registered: NDArray[Any] | None, footprint: NDArray[np.bool_] | None
) -> None:
    axes = max(fixed.ndim, 2 if moving is None else moving.ndim)
    if axes != 2:
        raise UsageError(f"The report shows images of two axes; got {axes}, so give it a plane or a projection.")
    if registered is not None:
        count = registered.shape[0] if moving is None else len(moving.channels)
        if registered.shape != (count, *fixed.grid.shape):
            raise UsageError(
                f"The registered image must have the shape {(count, *fixed.grid.shape)}, channels first on the fixed "
                f"grid; got {registered.shape}."
            )
    if footprint is not None and footprint.shape != fixed.grid.shape:
        raise UsageError(f"The footprint must have the shape {fixed.grid.shape}; got {footprint.shape}.")


def _write(path: Path, coded: bytes) -> None:
    try:
        path.write_bytes(coded)
    except OSError as error:
        raise WriteError(
            f"{path.name} cannot be written to {path.parent} ({error.strerror}); give a folder with room to write in."
        ) from error
