"""``correlight features``: learned features of an image, for other programs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from correlight.cli.options import FIRST_PART, Overwrite, Part, Spacing
from correlight.cli.terminal import ACCEPTED, printable, tell_findings
from correlight.errors import UsageError
from correlight.output.asked import positive
from correlight.output.from_files import opened


def features(
    image: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    channel: str | None = None,
    at: Annotated[float | None, Parameter(name="--at")] = None,
    spacing: Spacing = None,
    part: Part = FIRST_PART,
    overwrite: Overwrite = False,
) -> int:
    """Write the learned features of an image, by which other programs can compare it with another instrument's.

    Parameters
    ----------
    image
        An image or a volume, whose slices are described one by one.
    output
        A .tif file with 16 channels, or a .npy file.
    channel
        Number from 0, or name; the first without.
    at
        Pixel size to work at, in the unit of the image.
    """
    positive(spacing, "--spacing")
    positive(at, "--at")
    if output.suffix.lower() not in (".tif", ".tiff", ".npy"):
        raise UsageError(f"Features are written to a .tif or .npy file; got {output}; choose one of those endings.")

    import numpy as np

    from correlight.appearance.features import features as run
    from correlight.io import unchanged, write_ome_tiff
    from correlight.output.target import reserve_files

    with reserve_files(output, overwrite=overwrite, inputs=[image]) as folder:
        whole = opened(image, spacing, part=asdict(part))
        made = run(whole, channel, at)
        staged = folder / output.name
        if output.suffix.lower() == ".npy":
            np.save(staged, np.asarray(made.levels[0]))
        else:
            write_ome_tiff(staged, made.levels[0], made.grid, made.channels)
        unchanged(whole)
    print(printable(f"{output}: {' x '.join(map(str, made.levels[0].shape))}"))
    tell_findings(whole)
    return ACCEPTED
