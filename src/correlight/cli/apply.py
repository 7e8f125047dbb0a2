"""``correlight apply``: one transform, many images."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from correlight.cli.options import Overwrite, Spacing, positive
from correlight.cli.terminal import ACCEPTED, progress_bar
from correlight.errors import UsageError


def apply(
    transform: Path,
    /,
    *moving: Path,
    like: Path,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    order: Literal["linear", "nearest"] | None = None,
    labels: Annotated[bool, Parameter(negative="")] = False,
    points_in: Literal["moving", "fixed"] = "moving",
    stage_axes: Literal["right-down", "right-up", "left-down", "left-up"] = "right-down",
    fixed_spacing: Spacing = None,
    moving_spacing: Spacing = None,
    overwrite: Overwrite = False,
) -> int:
    """Move other channels, label images, crops or a table of points with a transform that was found before.

    Parameters
    ----------
    transform
        A result folder, its result.json, or a transform file (.tfm, .h5, .txt, .json).
    moving
        Images in the frame of the moving image, a CSV that names images and where they lie, or a CSV of points.
    like
        The fixed image, whose pixels the output has.
    output
        A .tif file (its footprint is written beside it) or a folder; for points a .csv file.
    order
        Interpolation; without it linear, and nearest for channels that hold labels.
    labels
        The image holds labels: the same as --order nearest.
    points_in
        The image that points were seen in; they come out in the other one.
    stage_axes
        Which way the coordinates of the stage grow on the screen, x first.
    """
    positive(fixed_spacing, "--fixed-spacing")
    positive(moving_spacing, "--moving-spacing")
    if not moving:
        raise UsageError("An image, or a CSV of images or of points, was expected after the transform.")

    from correlight.output.apply import apply as run
    from correlight.output.apply import holds_session

    if len(moving) > 1 or (moving[0].suffix.lower() == ".csv" and holds_session(moving[0])):
        spacings_given = fixed_spacing, moving_spacing
        return _apply_many(transform, moving, like, output, order, labels, stage_axes, *spacings_given, overwrite)
    with progress_bar() as progress:
        moved = run(
            transform,
            moving[0],
            like,
            output,
            order="nearest" if labels else order,
            fixed_spacing=fixed_spacing,
            moving_spacing=moving_spacing,
            points_in=points_in,
            stage_axes=stage_axes,
            overwrite=overwrite,
            progress=partial(progress, "write"),
        )
    for path in moved.files:
        print(path)
    for note in moved.notes:
        print(f"correlight: note that {note}.", file=sys.stderr)
    if moved.outside:
        names = ", ".join(moved.outside[:5]) + (" and others" if len(moved.outside) > 5 else "")
        there = "fixed" if points_in == "moving" else "moving"
        print(
            f"correlight: note that {len(moved.outside)} points lie outside the {there} image: {names}.",
            file=sys.stderr,
        )
    if moved.status not in (None, "accepted"):
        print(f"correlight: note that the registration behind {transform} was {moved.status}.", file=sys.stderr)
    return ACCEPTED


def _apply_many(
    transform: Path,
    moving: Sequence[Path],
    like: Path,
    output: Path,
    order: Literal["linear", "nearest"] | None,
    labels: bool,
    stage_axes: Literal["right-down", "right-up", "left-down", "left-up"],
    fixed_spacing: float | None,
    moving_spacing: float | None,
    overwrite: bool,
) -> int:
    """Move the images that are given, or those that a table names."""
    from correlight.output.apply import Member, apply_session, read_session

    if len(moving) > 1:
        members = tuple(Member(path, moving_spacing, offset=(0.0, 0.0), labels=labels) for path in moving)
    elif moving_spacing is not None:
        raise UsageError(f"The pixel sizes of the images in {moving[0]} belong into its column spacing.")
    else:
        members = read_session(moving[0])
    with progress_bar() as progress:
        done = apply_session(
            transform,
            members,
            like,
            output,
            order="nearest" if labels else order,
            fixed_spacing=fixed_spacing,
            stage_axes=stage_axes,
            overwrite=overwrite,
            inputs=tuple(moving),
            progress=partial(progress, "write"),
        )
    for entry in done:
        if entry.file is not None:
            print(entry.file)
        if entry.sentence:
            print(f"correlight: note that {entry.sentence}", file=sys.stderr)
        for note in entry.notes:
            print(f"correlight: note that {note}.", file=sys.stderr)
    return ACCEPTED
