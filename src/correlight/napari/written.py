"""What is written of a result: its folder, and its transform for another tool."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from correlight.errors import UsageError
from correlight.exchange import ExchangeContext, write_file
from correlight.exchange.formats import choose
from correlight.napari.outcome import Outcome
from correlight.output.apply.saved import Saved
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


def write_found(saved: Saved | None, target: Path) -> str:
    """Write the transform of a result that is shown, and say in which format.

    Parameters
    ----------
    saved : Saved or None
        The result; None where none is shown any more.
    target : Path
        A file, or a folder for formats that are one; its ending says the format.

    Raises
    ------
    UsageError
        If there is no result.
    TransformError, WriteError
        If the format cannot hold the transform, or the file cannot be written.
    """
    if saved is None or saved.frames is None:
        raise UsageError("The result was refused or taken back, so there is no transform to write.")
    entry = choose(target, "transform")
    context = ExchangeContext(fixed=saved.frames.fixed, moving=saved.frames.moving)
    if entry.folder:
        with reserve(target, overwrite=True) as folder:
            write_file(folder, saved.moving_from_fixed, entry.name, context)
    else:
        with reserve_files(target, overwrite=True) as folder:
            write_file(folder / target.name, saved.moving_from_fixed, entry.name, context)
    return entry.name
