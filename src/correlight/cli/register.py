"""``correlight register``: two images in, one checked overlay out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from correlight.cli.options import (
    FIRST,
    Composite,
    Crate,
    ExitZero,
    FailOn,
    Output,
    Overwrite,
    Parts,
    Signed,
    Spacings,
    Whole,
)
from correlight.cli.terminal import exit_code, progress_bar, tell, tell_findings
from correlight.output.asked import ROTATIONS, SCALES, STRETCH_LIMITS, box, grid_choice, interval, spacings
from correlight.output.from_files import Asked, register_files


def register(
    fixed: Path,
    moving: Path,
    /,
    *,
    output: Output,
    recipe: str = "auto",
    model: str | None = None,
    fixed_channel: str | None = None,
    moving_channel: str | None = None,
    fixed_spacing: Spacings = None,
    moving_spacing: Spacings = None,
    parts: Parts = FIRST,
    fixed_mask: Path | None = None,
    moving_mask: Path | None = None,
    roi: Annotated[str | None, Signed] = None,
    start: Path | None = None,
    landmarks: Path | None = None,
    rotation: Annotated[str | None, Signed] = None,
    scale: Annotated[str | None, Signed] = None,
    stretch: Annotated[str | None, Signed] = None,
    mirror: Annotated[bool, Parameter(name="--mirror", negative="--no-mirror")] = True,
    pose: Whole | None = None,
    predictor: Path | None = None,
    grid: Annotated[str, Signed] = "fixed",
    composite: Composite = False,
    seed: Whole = 0,
    fail_on: FailOn = None,
    exit_zero: ExitZero = False,
    crate: Crate = False,
    overwrite: Overwrite = False,
) -> int:
    """Find the transform between two images, judge it, and move every channel onto the fixed image.

    Parameters
    ----------
    fixed
        The image that stays as it is.
    moving
        The image that is registered to it.
    output
        Output folder; written completely or not at all.
    recipe
        Name of a recipe, or a TOML file.
    model
        rigid, similarity, affine, projective or elastic, as far as the recipe offers it; without it, only as rich as
        the evidence supports.
    fixed_channel
        Channel used for registration, by 0-based number or name; without it, channels are tried until the result
        is unambiguous.
    moving_channel
        The same for the moving image.
    fixed_mask
        Image of the same size whose zeros are left out of the registration.
    moving_mask
        The same for the moving image.
    roi
        Y0,Y1,X0,X1: the part of the fixed image to register, in pixels (ends excluded).
    start
        A transform file, the folder of a result, or a CSV of landmarks (name,fixed_y,fixed_x,moving_y,moving_x), to
        start from.
    landmarks
        Pairs of landmarks that the model elastic heeds beside the images, in any file that holds them.
    rotation
        A..B: degrees, counter-clockwise, between which to search.
    scale
        A..B: moving pixels per fixed pixel between which to search.
    stretch
        A..B: how many times too long an image may be along one of its axes; 1..1 searches none.
    mirror
        Whether the moving image may be mirrored.
    pose
        Take the K-th pose of an earlier search, counted from 1.
    predictor
        Folder of a trained model, for recipes that predict one image from the other.
    grid
        Pixels of the registered image: fixed, moving, a pixel size in micrometres, or none to leave it out.
    seed
        Seed of every random draw.
    """
    exit_code((), fail_on, exit_zero)
    asked = Asked(
        fixed,
        moving,
        recipe=recipe,
        model=model,
        fixed_channel=fixed_channel,
        moving_channel=moving_channel,
        fixed_spacing=spacings(fixed_spacing, "--fixed-spacing"),
        moving_spacing=spacings(moving_spacing, "--moving-spacing"),
        fixed_part=parts.of_fixed,
        moving_part=parts.of_moving,
        part=parts.of_both,
        fixed_mask=fixed_mask,
        moving_mask=moving_mask,
        roi=box(roi, "--roi"),
        start=start,
        landmarks=landmarks,
        rotation=interval(rotation, "--rotation", ROTATIONS),
        scale=interval(scale, "--scale", SCALES, positive=True),
        stretch=interval(stretch, "--stretch", STRETCH_LIMITS, positive=True),
        mirror=mirror,
        pose=pose,
        predictor=predictor,
        grid=grid_choice(grid, "--grid"),
        composite=composite,
        seed=seed,
    )

    from correlight.output.crate import must_be_installed, write_crate
    from correlight.output.target import reserve

    if crate:
        must_be_installed()
    with reserve(output, overwrite=overwrite, inputs=asked.inputs) as folder, progress_bar() as progress:
        made = register_files(asked, folder, progress=progress)
        if crate:
            write_crate(folder)
    tell(made.result, output, made.notes)
    tell_findings(made.fixed, made.moving)
    return exit_code([made.result.status], fail_on, exit_zero)
