"""Pairs of files made ready to be learned from: registered, and on the same pixels at one pixel size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.io import read
from correlight.output.apply.saved import read_saved
from correlight.predict.kinds import Pairing
from correlight.predict.model import shape_for
from correlight.predict.training import Tell, TrainingPair
from correlight.refine.planes import lay
from correlight.registration.register import register
from correlight.training.table import Role, Row
from correlight.transforms import Affine, Transform


@dataclass(frozen=True, eq=False)
class Prepared:
    """Pairs to learn from, and what is to be known of them.

    Parameters
    ----------
    pairs : list of TrainingPair
        On the pixels of the source image, at the pixel size of the model.
    spacing : float or None
        Micrometres per pixel of the model; None where a source image states none.
    records : list of dict
        Files, checksums and how each pair was registered, for the provenance.
    left_out : list of str
        Pairs that were not used, and why.
    """

    pairs: list[TrainingPair]
    spacing: float | None
    records: list[dict[str, Any]]
    left_out: list[str]


def prepare(
    rows: Sequence[Row],
    source: Role,
    pixel: float | None,
    shrink: float,
    tell: Tell,
    pairing: Pairing = "registered",
) -> Prepared:
    """Read, register and resample the pairs of a table.

    Parameters
    ----------
    rows : sequence of Row
        The pairs.
    source : {"fixed", "moving"}
        Which images are predicted from.
    pixel : float or None
        Micrometres per pixel of the model; without it, ``shrink`` times the pixel size of the first source image.
    shrink : float
        Pixels of the source images per pixel of the model, where ``pixel`` is not given.
    tell : callable
        Called with words and the fraction that is done.
    pairing : {"registered", "unpaired", "alone"}
        Whether the two images of a pair are laid on each other, or left apart; "alone" are images paired with
        themselves.

    Raises
    ------
    UsageError
        If a pair cannot be learned from, or pixel sizes do not go together.
    ReadError
        If a file cannot be read.
    """
    ready, records, left_out = [], [], []
    spacing: float | None = None
    for number, row in enumerate(rows):
        tell(f"pair {number + 1} of {len(rows)}: {row.name}", number / len(rows))
        images = _opened(row)
        spacing = _spacing(images[source == "moving"], spacing, pixel, shrink, row, first=number == 0)
        if pairing == "unpaired":
            ready.append(_apart(row, images, source, spacing, shrink))
            records.append({**_files(row, images), "registered": "not needed"})
            continue
        if pairing == "alone":
            ready.append(_itself(row, images[0], spacing, shrink))
            records.append({source: _files(row, images)[source], "registered": "not needed"})
            continue
        found, how = _transform(row, images)
        if found is None:
            left_out.append(f"{row.name} was left out: {how}")
            continue
        ready.append(_on_one_grid(row, images, found, source, spacing, shrink))
        records.append({**_files(row, images), "registered": how})
    return Prepared(ready, spacing, records, left_out)


def _files(row: Row, images: tuple[Image, Image]) -> dict[str, dict[str, Any]]:
    return {
        role: {"file": path.name, "sha256": image.source.get("sha256")}
        for role, path, image in zip(("fixed", "moving"), (row.fixed, row.moving), images, strict=True)
    }


def _opened(row: Row) -> tuple[Image, Image]:
    one = read(row.fixed, spacing=row.spacings[0])
    other = one if row.fixed == row.moving else read(row.moving, spacing=row.spacings[1])
    for image, path in ((one, row.fixed), (other, row.moving)):
        if image.ndim != 2:
            raise UsageError(f"Models are trained on flat images; {path} in row {row.number} is a stack.")
    return one, other


def _spacing(
    image: Image, before: float | None, pixel: float | None, shrink: float, row: Row, *, first: bool
) -> float | None:
    """The pixel size of the model, which all source images must allow."""
    own = float(np.sqrt(np.prod(image.grid.spacing))) if image.grid.calibrated else None
    if own is None and (pixel is not None or before is not None):
        raise UsageError(
            f"The source image of the pair {row.name} states no pixel size, and others do; state it in the table."
        )
    if own is None:
        return None
    wanted = pixel if pixel is not None else shrink * own
    if before is None and not first:
        raise UsageError(
            f"The source image of the pair {row.name} states a pixel size, and others do not; state theirs in the "
            "table."
        )
    return before if before is not None else wanted


def _transform(row: Row, images: tuple[Image, Image]) -> tuple[Transform | None, str]:
    """The transform of a pair and where it comes from; none where no registration was accepted."""
    fixed, moving = images
    if row.registered:
        if fixed.grid.shape != moving.grid.shape:
            raise UsageError(
                f"The pair {row.name} is said to be registered, and its images have {_shape(fixed)} and "
                f"{_shape(moving)} pixels; give the transform between them, or leave it out to have them registered."
            )
        return Affine(moving.grid.matrix @ np.linalg.inv(fixed.grid.matrix)), "pixel by pixel"
    if row.transform is not None:
        saved = read_saved(row.transform)
        if saved.frames is not None and saved.frames.status == "refused":
            return None, "its registration was refused"
        return saved.moving_from_fixed, str(row.transform)
    one, other = row.channels
    found = register(fixed, moving, "auto", fixed_channel=one, moving_channel=other)
    if not found:
        return None, f"its registration was {found.status}"
    return found.moving_from_fixed, f"by auto, confidence {found.verdict.confidence:.2f}"


def _on_one_grid(
    row: Row,
    images: tuple[Image, Image],
    moving_from_fixed: Transform,
    source: Role,
    spacing: float | None,
    shrink: float,
) -> TrainingPair:
    """Both planes on the pixels of the source, at the pixel size of the model."""
    here, there = _planes(row, images, source)
    there_from_here = moving_from_fixed if source == "fixed" else moving_from_fixed.inverse()
    here = here.resized(shape_for(here.grid, spacing, shrink))
    # Shrunk to about the same pixels first, or else it would be sampled with gaps.
    middle = here.grid.centre[None]
    scale = float(np.sqrt(abs(np.linalg.det(there_from_here.jacobian(middle)[0]))))
    there = there.shrunk(scale * float(np.sqrt(np.prod(here.grid.spacing))))
    laid = lay(there, there_from_here, here.grid)  # type: ignore[arg-type]
    return TrainingPair(row.name, here.values, laid.values, here.mask & laid.mask)


def _apart(row: Row, images: tuple[Image, Image], source: Role, spacing: float | None, shrink: float) -> TrainingPair:
    """Each plane on pixels of its own, of the size of those of the model."""
    if images[0].grid.calibrated != images[1].grid.calibrated:
        raise UsageError(
            f"Of the pair {row.name} only one image states a pixel size, and both are looked at with pixels of one "
            "size; state it for both in the table, or for neither."
        )
    here, there = (plane.resized(shape_for(plane.grid, spacing, shrink)) for plane in _planes(row, images, source))
    return TrainingPair(row.name, here.values, there.values, here.mask, there.mask)


def _itself(row: Row, image: Image, spacing: float | None, shrink: float) -> TrainingPair:
    plane = Plane.of(image, image.channel_index(row.channels[0]))
    plane = plane.resized(shape_for(plane.grid, spacing, shrink))
    return TrainingPair(row.name, plane.values, plane.values, plane.mask)


def _planes(row: Row, images: tuple[Image, Image], source: Role) -> tuple[Plane, Plane]:
    """What is predicted from, and what is to be predicted."""
    fixed, moving = (
        Plane.of(image, image.channel_index(name)) for image, name in zip(images, row.channels, strict=True)
    )
    return (fixed, moving) if source == "fixed" else (moving, fixed)


def _shape(image: Image) -> str:
    return " x ".join(map(str, image.grid.shape))
