"""``correlight figure``: the overlay of a result, ready to print."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from correlight.cli.options import Whole
from correlight.cli.terminal import ACCEPTED, printable, tell_notes
from correlight.errors import UsageError
from correlight.output.asked import box


def figure(
    result: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    fixed: Path | None = None,
    moving: Path | None = None,
    channels: str | None = None,
    colours: str | None = None,
    roi: str | None = None,
    longest: Whole | None = None,
    slice_: Annotated[Whole | None, Parameter(name="--slice")] = None,
    without_landmarks: Annotated[bool, Parameter(negative="")] = False,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace an earlier figure.")] = False,
) -> int:
    """Draw the overlay of a result at full resolution, with scale bar, colours, names of channels and landmarks.

    Parameters
    ----------
    result
        A result folder, or its result.json.
    output
        The figure: a file ending in .png, .tif, .pdf or .svg.
    fixed
        The fixed image, where it is no longer where it was, or beside the result.
    moving
        The moving image, likewise.
    channels
        Moving channels to show, by 0-based numbers or names, separated by commas; without it the one used for
        registration.
    colours
        Their colours, separated by commas: magenta, green, cyan, yellow, orange, blue, grey or #RRGGBB.
    roi
        Y0,Y1,X0,X1: the part of the fixed image to show, in pixels (ends excluded).
    longest
        Pixels along the longer side, at most those of the fixed image, which it has without.
    slice_
        Which slice of the fixed stack, from 0; the one in the middle of what both show without.
    without_landmarks
        Leave out the landmarks that were set by hand, or the beads that match, and their residuals.
    """
    if longest is not None and longest < 1:
        raise UsageError(f"--longest expects a number of pixels; got {longest}.")
    region = box(roi, "--roi")

    from correlight.output.figure.from_result import figure_of

    notes = figure_of(
        result,
        output,
        fixed=fixed,
        moving=moving,
        channels=_listed(channels),
        colours=_listed(colours),
        region=region,
        longest=longest,
        slice_number=slice_,
        with_landmarks=not without_landmarks,
        overwrite=overwrite,
    )
    print(printable(str(output)))
    tell_notes(notes)
    return ACCEPTED


def _listed(text: str | None) -> tuple[str, ...]:
    """The words between commas."""
    return () if text is None else tuple(part.strip() for part in text.split(",") if part.strip())
