"""``correlight convert``: the file of one tool into that of another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from correlight.cli.options import FIRST, Overwrite, Parts, Signed, Whole
from correlight.cli.terminal import ACCEPTED, printable, tell_found, tell_notes
from correlight.output.asked import position, spacings


def convert(
    source: Path,
    target: Path,
    /,
    *,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    to: str | None = None,
    fixed: Path | None = None,
    moving: Path | None = None,
    fixed_spacing: str | None = None,
    moving_spacing: str | None = None,
    parts: Parts = FIRST,
    fixed_origin: Annotated[str | None, Signed] = None,
    moving_origin: Annotated[str | None, Signed] = None,
    model: Literal["rigid", "similarity", "affine", "projective"] | None = None,
    landmarks: Whole | None = None,
    name: str | None = None,
    into: Path | None = None,
    dimensions: Literal[2, 3] | None = None,
    unit: Literal["micrometre", "pixel"] | None = None,
    overwrite: Overwrite = False,
) -> int:
    """Write a transform, landmarks or points of one tool for another.

    Parameters
    ----------
    source
        The file to read, or a result folder.
    target
        The file to write; its ending says the format where it can.
    from_
        Format to read, where the file does not determine it: itk, elastix, matrix, napari, trakem2, ecclem, bdv, mobie,
        ngff, bigwarp, table or transformix.
    to
        Format to write, where neither the ending nor a name such as mobie.json or bigwarp.csv determines it; the same
        names as for the format to read.
    fixed
        The fixed image, for formats that count pixels or state sizes.
    moving
        The moving image, likewise.
    fixed_spacing
        Micrometres per pixel, or Z,Y,X of a volume; 1 for an image without pixel size.
    moving_spacing
        The same for the moving image.
    fixed_origin
        Y,X or Z,Y,X of the first pixel of the fixed image when the transform of elastix or ITK was made, where the
        image has lost its origin; without it as IN states.
    moving_origin
        The same for the moving image, of which IN states nothing.
    model
        The kind of transform to fit to landmarks; of a transform, the kind that is to come as near to it as possible.
    landmarks
        Write N corresponding landmarks along each axis, made of the transform, in its place; 5 without it for programs
        that take landmarks only.
    name
        Name of the moving image in a file that describes several.
    into
        A dataset of the same format to write into; all else in it stays as it is.
    dimensions
        How many axes to read from formats that always state three.
    unit
        What numbers count in files of points and bare matrices that do not say; without it micrometres, and pixels in
        tables.
    """
    from correlight.exchange import ExchangeContext
    from correlight.output.convert import convert as run

    done = run(
        source,
        target,
        read_as=from_,
        write_as=to,
        fixed=fixed,
        moving=moving,
        fixed_spacing=spacings(fixed_spacing, "--fixed-spacing"),
        moving_spacing=spacings(moving_spacing, "--moving-spacing"),
        fixed_part=parts.of_fixed,
        moving_part=parts.of_moving,
        part=parts.of_both,
        context=ExchangeContext(
            name=name,
            ndim=dimensions,
            into=into,
            unit=unit,
            fixed_origin=position(fixed_origin, "--fixed-origin"),
            moving_origin=position(moving_origin, "--moving-origin"),
        ),
        model=model,
        landmarks=landmarks,
        overwrite=overwrite,
    )
    print(printable(f"{target}: {done.kind}, {done.format}"))
    tell_notes(done.notes)
    tell_found(done.found)
    return ACCEPTED
