"""``correlight predict``: what a model makes of an image, as a file."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from correlight.cli.options import FIRST_PART, Overwrite, Part, Spacing
from correlight.cli.terminal import ACCEPTED, UNSURE, printable, progress_bar, tell_findings
from correlight.errors import UsageError
from correlight.output.asked import positive
from correlight.output.from_files import opened


def predict(
    model: Path,
    image: Path,
    /,
    *,
    output: Annotated[Path, Parameter(name=("--output", "-o"))],
    channel: str | None = None,
    spacing: Spacing = None,
    part: Part = FIRST_PART,
    overwrite: Overwrite = False,
) -> int:
    """Write what a trained model predicts another microscope to show of an image. Predicted detail is not data.

    Parameters
    ----------
    model
        Folder of the model.
    image
        A flat image in any format that is read.
    output
        A .tif file.
    channel
        Number from 0, or name; the only one, or all colours, without.
    """
    positive(spacing, "--spacing")
    if output.suffix.lower() not in (".tif", ".tiff"):
        raise UsageError(f"A prediction is written to a .tif file; got {output}; choose that ending.")

    from correlight.io import unchanged
    from correlight.output.predicted import write_prediction
    from correlight.output.target import reserve_files
    from correlight.predict.model import load

    with reserve_files(output, overwrite=overwrite, inputs=[image]) as folder:
        known = load(model)
        whole = opened(image, spacing, part=asdict(part))
        if whole.ndim != 2:
            raise UsageError(f"Models predict flat images; {image} is a stack, so choose a slice of it.")
        with progress_bar() as progress:
            unusual = write_prediction(folder / output.name, known, whole, channel, progress)
        unchanged(whole)
    print(printable(f"{output}: {' x '.join(map(str, known.grid_of(whole.grid).shape))}, predicted, not data"))
    print(f"Out-of-distribution score of the image: {unusual:.2f} (up to 1 is usual)")
    tell_findings(whole)
    return ACCEPTED if unusual <= 1 else UNSURE
