"""What is written of a result: its folder, and its transform for another tool."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from correlight.errors import UsageError
from correlight.exchange import Content, ExchangeContext, write_file
from correlight.exchange.formats import called, choose, named
from correlight.geometry import Grid
from correlight.landmarks.synthetic import landmarks_of
from correlight.napari.outcome import Outcome
from correlight.output.apply.saved import Frames, Saved, read_saved
from correlight.output.convert import convert
from correlight.output.folder import result_folder, write_result
from correlight.output.landmarks import write_landmark_table
from correlight.output.target import reserve, reserve_files


def write_outcome(outcome: Outcome, target: Path, progress: Callable[[str, float], None]) -> tuple[str, ...]:
    """Write the result folder that the command line writes, completely or not at all.

    Parameters
    ----------
    outcome : Outcome
        What was found, and from which images or landmarks.
    target : Path
        A folder that does not exist yet.
    progress : callable
        Called with "write" and the fraction done.

    Returns
    -------
    tuple of str
        Sentences about what was done otherwise than expected.

    Raises
    ------
    UsageError, ReadError, WriteError
        As for `correlight.output.target.reserve`.
    """
    images = outcome.fixed.image, outcome.moving.image
    with result_folder(target, *images) as folder:
        notes = write_result(folder, outcome.result, *images, progress=partial(progress, "write"))
        if outcome.landmarks is not None:
            write_landmark_table(folder / "landmarks.csv", outcome.landmarks)
    return tuple(f"Note that {note}." for note in notes)


def write_found(saved: Saved | None, target: Path, write_as: str | None = None, name: str | None = None) -> str:
    """Write the transform of a result that is shown, and say in which format.

    Parameters
    ----------
    saved : Saved or None
        The result; None where none is shown any more.
    target : Path
        A file, or a folder for formats that are one; its name says the format where none is given.
    write_as : str, optional
        Name of the format, a key of `correlight.exchange.FORMATS`.
    name : str, optional
        Of the moving layer, for formats that name it.

    Raises
    ------
    UsageError
        If there is no result, or the file has an ending of another format.
    TransformError, WriteError
        If the format cannot hold the transform, or the file cannot be written.
    """
    if saved is None or saved.frames is None:
        raise UsageError("The result was refused or taken back, so there is no transform to write.")
    entry = named(write_as) if write_as else called(target, "transform") or choose(target, "transform")
    entry.must_end(target)
    context = ExchangeContext(fixed=saved.frames.fixed, moving=saved.frames.moving, name=name and _one_word(name))
    content: Content = saved.moving_from_fixed
    if entry.writes == ("landmarks",):
        content = landmarks_of(saved.moving_from_fixed, saved.frames.fixed, saved.frames.moving)
    if entry.folder:
        with reserve(target, overwrite=True) as folder:
            write_file(folder, content, entry.name, context)
    else:
        with reserve_files(target, overwrite=True) as folder:
            write_file(folder / target.name, content, entry.name, context)
    return entry.name


@dataclass(frozen=True, eq=False)
class Sides:
    """The two images for which a transform of a file is converted.

    Parameters
    ----------
    names : (str, str)
        Of the fixed and the moving layer.
    grids : (Grid, Grid)
        Their grids, as they state them.
    """

    names: tuple[str, str]
    grids: tuple[Grid, Grid]


def write_converted(source: Path, target: Path, write_as: str | None, sides: Sides | None) -> str:
    """Convert the transform of a file as the command line does, and say what was written.

    Parameters
    ----------
    source, target : Path
        The file to read and the one to write.
    write_as : str or None
        Name of the format; None where the name of the file says it.
    sides : Sides or None
        The images, for formats that name one or count pixels, where there is no record of those that were registered.

    Raises
    ------
    UsageError, ReadError, TransformError, WriteError
        As for `correlight.output.convert.convert`.
    """
    entry = named(write_as) if write_as else called(target, "transform")
    note = "" if sides is None else f" The pixel sizes are those of {sides.names[0]} and {sides.names[1]}."
    if entry is not None and entry.writes == ("landmarks",):
        saved = read_saved(source)
        if saved.frames is None and sides is not None:
            saved = replace(saved, frames=Frames(*sides.grids, None, None, ""))
            return f"Written as {write_found(saved, target, write_as)}: {target}.{note}"
        return f"Written as {write_found(saved, target, write_as)}: {target}."
    context = ExchangeContext() if sides is None else ExchangeContext(name=_one_word(sides.names[1]))
    convert_it = partial(convert, source, target, write_as=write_as, context=context, overwrite=True)
    try:
        done, note = convert_it(), ""
    except UsageError:
        if sides is None or not all(grid.calibrated for grid in sides.grids):
            raise
        done = convert_it(fixed_spacing=sides.grids[0].spacing, moving_spacing=sides.grids[1].spacing)
    return f"Written as {done.format}: {target}.{note}" + "".join(f" Note that {each}." for each in done.notes)


def _one_word(name: str) -> str:
    """The name of a layer as files can hold it."""
    return re.sub(r"[\s/\\,;]+", "-", name)
