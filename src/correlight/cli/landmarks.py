"""``correlight landmarks``: the same result from landmarks set by hand."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from correlight.cli.options import FIRST, Output, Overwrite, Parts, Signed, Spacing
from correlight.cli.terminal import ACCEPTED, UNSURE, tell, tell_findings
from correlight.errors import UsageError
from correlight.output.asked import grid_choice, positive
from correlight.output.from_files import opened


def landmarks(
    points: Path,
    /,
    *,
    fixed: Path,
    moving: Path,
    output: Output,
    model: Literal["rigid", "similarity", "affine", "projective", "thin-plate", "elastic"] | None = None,
    error: float | None = None,
    noise: Literal["isotropic", "anisotropic"] = "isotropic",
    without: str | None = None,
    fixed_spacing: Spacing = None,
    moving_spacing: Spacing = None,
    parts: Parts = FIRST,
    grid: Annotated[str, Signed] = "fixed",
    overwrite: Overwrite = False,
) -> int:
    """Fit a transform to landmarks set by hand, judge it, and predict its error at every place.

    Parameters
    ----------
    points
        Landmark pairs: a CSV (name,fixed_y,fixed_x,moving_y,moving_x), or a file of BigWarp or eC-CLEM.
    fixed
        The image that stays as it is.
    moving
        The image that is registered to it.
    model
        Kind of transform; without it, only as rich as the landmarks support.
    error
        How far a landmark may be off along each axis, in the unit of the fixed image; without it, it is estimated from
        their scatter.
    noise
        Whether an error that is found from scatter is the same along all axes.
    without
        Names of landmarks to leave out, separated by commas.
    grid
        Pixels of the registered image: fixed, moving, a pixel size in micrometres, or none to leave it out.
    """
    positive(fixed_spacing, "--fixed-spacing")
    positive(moving_spacing, "--moving-spacing")
    if error is not None and not (math.isfinite(error) and error >= 0):
        raise UsageError(f"--error expects a length that is not negative; got {error:g}.")
    onto = grid_choice(grid, "--grid")

    from correlight.io import unchanged
    from correlight.io.write import check_type
    from correlight.landmarks.tables import supposed
    from correlight.output.folder import write_result
    from correlight.output.landmarks import read_names, read_pairs, write_landmark_table
    from correlight.output.moved import must_be_bounded, output_pixels
    from correlight.output.parts import Common
    from correlight.output.target import reserve
    from correlight.registration.from_landmarks import from_landmarks

    with reserve(output, overwrite=overwrite, inputs=[points, fixed, moving]) as folder:
        common = Common(parts.of_both)
        images = (
            opened(fixed, fixed_spacing, part=parts.of_fixed, common=common),
            opened(moving, moving_spacing, part=parts.of_moving, common=common),
        )
        common.must_be_heeded()
        if onto != "none":
            check_type(images[1].dtype)
        if isinstance(onto, float):
            must_be_bounded(output_pixels(images[0], onto), images[1])
        table = read_pairs(points, images[0].grid, images[1].grid)
        done = from_landmarks(*images, table, model, error=error, noise=noise, without=read_names(without))
        notes = write_result(folder, done.result, *images, grid=onto, landmarks=done)
        write_landmark_table(folder / "landmarks.csv", done)
        for image in images:
            unchanged(image)
    tell(done.result, output, (*supposed(table, points.name), *notes))
    tell_findings(*images)
    return ACCEPTED if done.result else UNSURE
