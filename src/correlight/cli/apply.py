"""``correlight apply``: one transform, many images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from correlight.cli.options import FIRST, Composite, ExitZero, FailOn, Overwrite, Parts, Spacing
from correlight.cli.terminal import exit_code, printable, progress_bar, tell_found, tell_notes
from correlight.errors import UsageError
from correlight.output.asked import positive

if TYPE_CHECKING:
    from correlight.io import Selection

# A script must not go on with what was refused as if nothing had been said.
_USUAL: Literal["refused"] = "refused"
# Files that hold places of an image and no pixels, by their endings.
_PLACES = {".csv": "points", ".geojson": "annotations", ".json": "annotations", ".roi": "ROIs", ".zip": "ROIs"}


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
    parts: Parts = FIRST,
    composite: Composite = False,
    fail_on: FailOn = None,
    exit_zero: ExitZero = False,
    overwrite: Overwrite = False,
) -> int:
    """Move other channels, label images, crops, a table of points or annotations with a transform found before.

    Parameters
    ----------
    transform
        A result folder, its result.json, or a transform file (.tfm, .h5, .txt, .json).
    moving
        Images in the frame of the moving image, a CSV of images and their positions, a CSV of points, annotations in
        GeoJSON (.geojson, .json), or ROIs of ImageJ (.roi, .zip).
    like
        The fixed image, whose pixels the output has.
    output
        A .tif file (its footprint is written beside it) or a folder; for points a .csv file, for
        annotations a .geojson file, for ROIs a .roi or .zip file.
    order
        Interpolation; without it linear, and nearest for channels that hold labels.
    labels
        The image holds labels: the same as --order nearest.
    points_in
        The image that points or annotations were seen in; they come out in the other one.
    stage_axes
        Which way the coordinates of the stage grow on the screen, x first.
    """
    exit_code((), fail_on, exit_zero)
    positive(fixed_spacing, "--fixed-spacing")
    positive(moving_spacing, "--moving-spacing")
    if not moving:
        raise UsageError("An image, or a CSV of images or of points, was expected after the transform.")

    from correlight.io import Selection
    from correlight.output.apply import apply as run
    from correlight.output.apply import holds_session

    chosen = Selection(**parts.of_fixed), Selection(**parts.of_moving), Selection(**parts.of_both)
    if len(moving) > 1 or (moving[0].suffix.lower() == ".csv" and holds_session(moving[0])):
        spacings_given = fixed_spacing, moving_spacing
        status = _apply_many(
            transform, moving, like, output, order, labels, stage_axes, *spacings_given, *chosen, composite, overwrite
        )
        return exit_code([status], fail_on, exit_zero, _USUAL)
    places = moving[0].suffix.lower()
    if places in _PLACES and chosen[1].anything:
        raise UsageError(f"{moving[0]} holds {_PLACES[places]}, of which there is no part to choose.")
    with progress_bar() as progress:
        moved = run(
            transform,
            moving[0],
            like,
            output,
            order="nearest" if labels else order,
            fixed_spacing=fixed_spacing,
            moving_spacing=moving_spacing,
            fixed_part=chosen[0],
            moving_part=chosen[1],
            part=chosen[2],
            points_in=points_in,
            stage_axes=stage_axes,
            composite=composite,
            overwrite=overwrite,
            progress=partial(progress, "write"),
        )
    for path in moved.files:
        print(printable(str(path)))
    notes = list(moved.notes)
    if moved.outside:
        names = ", ".join(moved.outside[:5]) + (" and others" if len(moved.outside) > 5 else "")
        there = "fixed" if points_in == "moving" else "moving"
        what = _PLACES.get(places, "points")
        count = f"1 {what[:-1]} lies" if len(moved.outside) == 1 else f"{len(moved.outside)} {what} lie"
        notes.append(f"{count} outside the {there} image, at least in part: {names}")
    tell_notes([*notes, *_doubts(transform, moved.status)])
    tell_found(moved.findings)
    return exit_code([moved.status], fail_on, exit_zero, _USUAL)


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
    fixed_part: Selection,
    moving_part: Selection,
    part: Selection,
    composite: bool,
    overwrite: bool,
) -> str | None:
    """Move the images that are given, or those that a table names; returned is the verdict behind it."""
    from correlight.output.apply import Member, apply_session, read_session

    if len(moving) > 1:
        members = tuple(
            Member(path, moving_spacing, offset=(0.0, 0.0), labels=labels, part=moving_part) for path in moving
        )
    elif moving_part.anything or part.anything:
        raise UsageError(
            f"Which parts of the images in {moving[0]} are meant belongs into its columns scene, series, time and view."
        )
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
            fixed_part=fixed_part,
            part=part,
            stage_axes=stage_axes,
            composite=composite,
            overwrite=overwrite,
            inputs=tuple(moving),
            progress=partial(progress, "write"),
        )
    for entry in done.images:
        if entry.file is not None:
            print(printable(str(entry.file)))
        tell_notes([*([entry.sentence.removesuffix(".")] if entry.sentence else []), *entry.notes])
        tell_found(entry.findings)
    tell_notes([*done.notes, *_doubts(transform, done.status)])
    tell_found(done.findings)
    return done.status


def _doubts(transform: Path, status: str | None) -> list[str]:
    """What must be known of a registration that was not accepted."""
    return [f"the registration behind {transform} was {status}"] if status not in (None, "accepted") else []
