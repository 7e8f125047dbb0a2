"""``correlight register``: two images in, one checked overlay out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from correlight.cli.options import (
    FIRST,
    ROTATIONS,
    SCALES,
    Output,
    Overwrite,
    Parts,
    Signed,
    Spacings,
    box,
    grid_choice,
    interval,
    spacings,
)
from correlight.cli.terminal import ACCEPTED, UNSURE, opened, progress_bar, tell, tell_findings, tell_notes
from correlight.errors import TransformError, UsageError

if TYPE_CHECKING:
    from correlight.images.image import Image
    from correlight.search.limits import Start


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
    rotation: Annotated[str | None, Signed] = None,
    scale: Annotated[str | None, Signed] = None,
    mirror: Annotated[bool, Parameter(name="--mirror", negative="--no-mirror")] = True,
    pose: int | None = None,
    predictor: Path | None = None,
    grid: Annotated[str, Signed] = "fixed",
    seed: int = 0,
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
        A transform file, or a CSV of landmarks (name,fixed_y,fixed_x,moving_y,moving_x), to start from.
    rotation
        A..B: degrees, counter-clockwise, between which to search.
    scale
        A..B: moving pixels per fixed pixel between which to search.
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
    if pose is not None and pose < 1:
        raise UsageError(f"Poses are counted from 1; got {pose}.")
    if seed < 0:
        raise UsageError(f"A seed is a whole number from 0; got {seed}.")
    sizes = spacings(fixed_spacing, "--fixed-spacing"), spacings(moving_spacing, "--moving-spacing")
    turns = interval(rotation, "--rotation", ROTATIONS)
    scales = interval(scale, "--scale", SCALES, positive=True)
    region, onto = box(roi), grid_choice(grid)

    from correlight.io import unchanged
    from correlight.io.write import check_type
    from correlight.output.folder import write_result
    from correlight.output.moved import must_be_bounded, output_pixels
    from correlight.output.target import reserve
    from correlight.registration.register import register as run

    files = (
        fixed,
        moving,
        fixed_mask,
        moving_mask,
        start,
        predictor,
        Path(recipe) if recipe.endswith(".toml") else None,
    )
    inputs = [path for path in files if path is not None]
    with reserve(output, overwrite=overwrite, inputs=inputs) as folder:
        fixed_image = opened(fixed, sizes[0], fixed_mask, parts.of_fixed)
        moving_image = opened(moving, sizes[1], moving_mask, parts.of_moving)
        if onto != "none":
            check_type(moving_image.dtype)
        if isinstance(onto, float) and not fixed_image.grid.calibrated:
            raise UsageError(
                f"--grid {grid} counts micrometres and {fixed} states no pixel size; give --fixed-spacing, or choose "
                "--grid fixed or moving."
            )
        if isinstance(onto, float):
            must_be_bounded(output_pixels(fixed_image, onto), moving_image)
        with progress_bar() as progress:
            result = run(
                fixed_image,
                moving_image,
                recipe,
                model=model,
                fixed_channel=fixed_channel,
                moving_channel=moving_channel,
                roi=region,
                # The limits of the search take landmarks, and nothing else of the registration uses the start.
                start=_start(start, fixed_image, moving_image),
                rotation=turns,
                scale=scales,
                mirror=mirror,
                pose=pose,
                predictor=predictor,
                seed=seed,
                progress=progress,
            )
            progress("write", 0.0)
            written = partial(progress, "write")
            notes = write_result(folder, result, fixed_image, moving_image, grid=onto, progress=written)
            progress("write", 1.0)
        unchanged(fixed_image)
        unchanged(moving_image)
    tell(result, output, notes)
    tell_findings(fixed_image, moving_image)
    return ACCEPTED if result else UNSURE


def _start(path: Path | None, fixed: Image, moving: Image) -> Start | None:
    """The transform in a file, or the one that the landmarks in it say; the places themselves if they are too few."""
    if path is None:
        return None
    from correlight.exchange import ExchangeContext, LandmarkTable, PointTable, read_file
    from correlight.landmarks.tables import supposed
    from correlight.output.landmarks import read_pairs
    from correlight.registration.start import start_of_pairs

    content = read_file(path, context=ExchangeContext(fixed=fixed.grid, moving=moving.grid))
    if isinstance(content, PointTable):
        raise UsageError(
            f"{path} gives no start: it holds points of one image, where pairs or a transform were expected."
        )
    if not isinstance(content, LandmarkTable):
        return content
    table = read_pairs(path, fixed.grid, moving.grid)
    places = table.fixed.positions(fixed.grid), table.moving.positions(moving.grid)
    try:
        start = start_of_pairs(*places)
    except (TransformError, UsageError) as error:
        raise UsageError(f"{path} gives no start: {error}") from error
    tell_notes(supposed(table, path.name))
    return start
