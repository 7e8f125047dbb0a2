"""The figure of a result folder: its record, its images and its landmarks read again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.io import unchanged
from correlight.output.apply.saved import placed, read_saved
from correlight.output.figure.overlay import Region, draw
from correlight.output.figure.slices import in_the_plane
from correlight.output.figure.write import PICTURES, must_be_writable, not_in_the_font, write
from correlight.output.landmarks import BEADS
from correlight.output.manifest import listed_in
from correlight.output.originals import original
from correlight.output.target import reserve_files
from correlight.parsing import read_json, sha256

_RECORD = "result.json"
# What a result rests on: landmarks that were set by hand, or beads that match.
_TABLES = "landmarks.csv", BEADS


def figure_of(
    result: str | Path,
    out: str | Path,
    *,
    fixed: str | Path | None = None,
    moving: str | Path | None = None,
    channels: Sequence[str] = (),
    colours: Sequence[str] = (),
    region: Region | None = None,
    longest: int | None = None,
    slice_number: int | None = None,
    with_landmarks: bool = True,
    overwrite: bool = False,
) -> tuple[str, ...]:
    """Draw the overlay of a result folder from the images themselves, and write it.

    Parameters
    ----------
    result : str or Path
        A result folder, or its ``result.json``.
    out : str or Path
        The figure; its ending, .png, .tif, .pdf or .svg, says the format.
    fixed, moving : str or Path, optional
        The two images, where they are no longer where they were.
    channels, colours, region, longest
        As for `draw`.
    slice_number : int, optional
        Which slice of the fixed stack, from 0; the one in the middle of what both show without.
    with_landmarks : bool
        Whether the landmarks that were set by hand, or the beads that match, are drawn.
    overwrite : bool
        Whether an earlier file is replaced.

    Returns
    -------
    tuple of str
        What a caption should say, in words.

    Raises
    ------
    ReadError
        If the record or an image cannot be read.
    UsageError
        If the result was refused, or an option does not suit the images.
    WriteError
        If the figure cannot be written.
    """
    target = Path(out)
    must_be_writable(target)
    record = Path(result) if Path(result).name == _RECORD else Path(result) / _RECORD
    content = read_json(record, "the record of a registration")
    saved = read_saved(record)
    if saved.frames is None or not isinstance(content, dict):
        raise ReadError(f"The record of a registration was expected in {record}, which holds something else.")
    given = original("fixed", fixed, record, content), original("moving", moving, record, content)
    (ground, ground_grid), (light, light_grid) = placed(given, saved, (None, None))
    pair = replace(ground, grid=ground_grid), replace(light, grid=light_grid)
    used = content["fixed"].get("channel"), content["moving"].get("channel")
    notes = [
        f"{image.source['path']} is not the {role} image that was registered"
        for role, image in zip(("fixed", "moving"), given, strict=True)
        if image.source["sha256"] != content[role]["sha256"]
    ]
    # Beads of stacks lie in other slices than the one that is drawn.
    flat = saved.moving_from_fixed.ndim == 2
    tables = [record.with_name(name) for name in _TABLES if with_landmarks and flat]
    for table in tables:
        notes += _changed(table)
    found = next((_read_places(table) for table in tables if table.is_file()), None)
    images = [image.source["path"] for image in given]
    with reserve_files(target, overwrite=overwrite, inputs=[record, *images]) as folder:
        *planes, between, said = in_the_plane(*pair, saved.moving_from_fixed, slice_number)
        drawn = draw(
            planes[0],
            planes[1],
            between,
            used=used,
            channels=channels,
            colours=colours,
            region=region,
            longest=longest,
            status=saved.frames.status,
            landmarks=found,
        )
        write(folder / target.name, drawn.picture, drawn.offset, drawn.marks, drawn.shape, drawn.grid)
        for image in given:
            unchanged(image)
    if target.suffix.lower() in PICTURES and (unknown := not_in_the_font(drawn.marks)):
        notes.append(
            f"the font of pictures has no {', '.join(unknown)}, so ? stands for it; PDF and SVG hold every letter"
        )
    return (*notes, *said, *drawn.notes)


def _changed(table: Path) -> list[str]:
    """What to say of the landmarks or beads of a result that are not what the transform was fitted to."""
    listed = (listed_in(table.parent) or {}).get(table.name)
    known = listed.get("sha256") if isinstance(listed, dict) else None
    if known is None or (table.is_file() and sha256(table) == known):
        return []
    what = "is not as it was when" if table.is_file() else "is gone since"
    return [f"{table.name} {what} the {table.stem} were fitted"]


def _read_places(path: Path) -> tuple[tuple[str, ...], NDArray[Any], NDArray[Any]]:
    """Names and places of the landmarks or beads of a result, in the units of its two frames."""
    names, places = [], []
    with path.open(newline="", encoding="utf-8") as file:
        try:
            for row in csv.DictReader(file):
                names.append(row["name"])
                places.append([float(row[key]) for key in ("fixed_y", "fixed_x", "moving_y", "moving_x")])
        except (KeyError, ValueError, TypeError, csv.Error) as error:
            raise ReadError(f"The {path.stem} of a result were expected in {path}, which was changed.") from error
    if not places:
        raise ReadError(f"The {path.stem} of a result were expected in {path}, which holds none.")
    both = np.asarray(places)
    return tuple(names), both[:, :2], both[:, 2:]
