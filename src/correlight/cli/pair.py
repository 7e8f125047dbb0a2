"""``correlight pair``: the field of the electron image, cut out of a wider light image."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from correlight.cli.options import FIRST, Output, Parts, Signed, Spacing, Whole
from correlight.cli.terminal import ACCEPTED, UNSURE, printable, progress_bar, tell_findings
from correlight.errors import UsageError
from correlight.output.asked import ROTATIONS, interval, positive
from correlight.output.from_files import opened


def pair(
    fixed: Path,
    moving: Path,
    /,
    *,
    output: Output,
    ratio: float | None = None,
    fixed_channel: str | None = None,
    moving_channel: str | None = None,
    fixed_spacing: Spacing = None,
    moving_spacing: Spacing = None,
    parts: Parts = FIRST,
    match: Literal["edges", "zero-mean", "plain"] = "edges",
    padding: Literal["grey", "edge", "masked"] = "grey",
    rotation: Annotated[str, Signed] = "-8..8",
    seed: Whole = 0,
    overwrite: Annotated[bool, Parameter(negative="", help="Replace an earlier pair.")] = False,
) -> int:
    """Find the field of the fixed image in a wider moving image, and cut it out on the fixed pixels.

    Parameters
    ----------
    fixed
        The image of the small field, as a rule by electrons.
    moving
        The image of the wide field.
    output
        Output folder; written completely or not at all.
    ratio
        Fixed pixels per moving pixel, as far as known; without it, the pixel sizes in the files are used.
    fixed_channel
        Channel to match, by 0-based number or name; without it the first.
    moving_channel
        The same for the moving image; without it every channel is tried.
    match
        What is compared: edges, grey values minus their means, or grey values as they are.
    padding
        Fill value outside the moving image: grey, the nearest pixel (edge), or zero (masked).
    rotation
        A..B: degrees, counter-clockwise, by which the fields may be rotated against each other.
    seed
        Seed of every random draw.
    """
    positive(fixed_spacing, "--fixed-spacing")
    positive(moving_spacing, "--moving-spacing")
    turns = interval(rotation, "--rotation", ROTATIONS)
    if seed < 0:
        raise UsageError(f"A seed is a whole number from 0; got {seed}.")

    from correlight.io import unchanged
    from correlight.io.write import check_type
    from correlight.output.pair import write_pair
    from correlight.output.pair_search import find_pair
    from correlight.output.parts import Common
    from correlight.output.target import reserve

    with reserve(output, overwrite=overwrite, inputs=[fixed, moving]) as folder:
        common = Common(parts.of_both)
        fixed_image = opened(fixed, fixed_spacing, part=parts.of_fixed, common=common)
        moving_image = opened(moving, moving_spacing, part=parts.of_moving, common=common)
        common.must_be_heeded()
        check_type(moving_image.dtype)
        with progress_bar() as progress:
            made = find_pair(
                fixed_image,
                moving_image,
                ratio=ratio,
                fixed_channel=fixed_channel,
                moving_channel=moving_channel,
                match=match,
                padding=padding,
                rotation=turns or (0.0, 0.0),
                seed=seed,
                progress=progress,
            )
            write_pair(folder, made, moving_image, seed)
        unchanged(fixed_image)
        unchanged(moving_image)
    print(made.sentence)
    covered = 100 * made.moving.valid().mean()
    print(printable(f"Found by the channel {made.channel}; {covered:.0f} % of the field is covered."))
    print(printable(f"Folder: {output}"))
    tell_findings(fixed_image, moving_image)
    return ACCEPTED if made else UNSURE
