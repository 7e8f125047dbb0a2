"""A start from an earlier result, in the units of the images that are to be registered now."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from correlight.errors import ReadError, UsageError
from correlight.exchange import files_of
from correlight.images.image import Image
from correlight.landmarks.synthetic import untouched
from correlight.landmarks.tables import LandmarkTable
from correlight.output.apply.saved import placed, read_saved
from correlight.parsing import sha256
from correlight.transforms import Affine, Transform


def checksum_of_start(path: Path) -> str:
    """SHA-256 of a start: of the file, of all that a chain of elastix consists of, or of a folder with its files.

    Raises
    ------
    ReadError
        If it is missing, or a part of it.
    """
    try:
        files = files_of(path) if path.is_file() else (path,)
    except ReadError:
        # The record of a result, or whatever else only `read_saved` knows.
        files = (path,)
    sums = [sha256(file) for file in files]
    return sums[0] if len(sums) == 1 else hashlib.sha256("".join(sums).encode()).hexdigest()


def start_of_result(path: Path, fixed: Image, moving: Image) -> tuple[Transform, tuple[str, ...]]:
    """The transform of a result between two images whose pixel sizes may be others than those that it was found with.

    Parameters
    ----------
    path : Path
        A result folder, its ``result.json``, or the transform beside that.
    fixed, moving : Image
        The images to be registered. One of the file, or of the shape, that the result was found with lies where that
        image lay, pixel by pixel.

    Returns
    -------
    moving_from_fixed : Transform
        In the units of the two images.
    notes : tuple of str
        What else should be known, in words.

    Raises
    ------
    ReadError
        If the result cannot be read.
    UsageError
        If it was found in another unit than the images state, for images of another shape, or for the two images the
        other way round.
    """
    saved = read_saved(path)
    try:
        (fixed, fixed_grid), (moving, moving_grid) = placed((fixed, moving), saved, (None, None))
    except UsageError as error:
        raise UsageError(f"{path} gives no start: {error}") from error
    notes, start = [], saved.moving_from_fixed
    if saved.frames is not None and saved.frames.status == "refused":
        notes.append(f"the start {path} is a result that was refused")
    if (fixed_grid, moving_grid) != (fixed.grid, moving.grid):
        # The same pixels, counted in other units.
        before = Affine(fixed_grid.matrix @ np.linalg.inv(fixed.grid.matrix))
        start = Affine(moving.grid.matrix @ np.linalg.inv(moving_grid.matrix)) @ start @ before
        notes.append(f"the start {path} was found with other pixel sizes and is taken over pixel by pixel")
    return start, tuple(notes)


def said_of_start(table: LandmarkTable, fixed: Image, moving: Image, name: str) -> tuple[str, ...]:
    """What to say of landmarks to start from: whether they were made of a transform, and repeat it.

    Parameters
    ----------
    table : LandmarkTable
        The landmarks.
    fixed, moving : Image
        What they are landmarks of.
    name : str
        Of the file that holds them.
    """
    count, made = len(table.fixed.names), int(untouched(table, fixed.grid, moving.grid).sum())
    if not made:
        return ()
    which = f"all landmarks of {name}" if made == count else f"{made} of the {count} landmarks of {name}"
    return (f"{which} were made of a transform and moved by nobody since, so the search starts near that transform",)
