"""A transform that was found before, and what is on record about the images it connects."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from correlight.errors import ReadError, UsageError
from correlight.exchange import ExchangeContext, read_transform
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.output.section import in_space, is_section
from correlight.parsing import is_plain_name, is_regular, read_json
from correlight.registration.provenance import part_of
from correlight.transforms import Transform

_RECORD, _ERRORS = "result.json", "predicted_error.tif"
_LARGEST_SIDE = 2**31 - 1  # pixels
_SAME_FIELD = 0.01  # relative difference up to which two fields are one


@dataclass(frozen=True, slots=True)
class Frames:
    """What a registration recorded of the two frames that its transform connects.

    Parameters
    ----------
    fixed, moving : Grid
        Grids of the two images as they were registered.
    fixed_sha256, moving_sha256 : str or None
        Checksums of their files.
    status : str
        The verdict.
    errors : Path or None
        The map of the predicted error, where it lies beside the record.
    fixed_part, moving_part : mapping of str to int or str
        Which scene, series, frame or view of each file was registered, where one was asked for.
    """

    fixed: Grid
    moving: Grid
    fixed_sha256: str | None
    moving_sha256: str | None
    status: str
    errors: Path | None = None
    fixed_part: Mapping[str, Any] = field(default_factory=dict)
    moving_part: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Saved:
    """A transform that was found before.

    Parameters
    ----------
    moving_from_fixed : Transform
        Takes fixed to moving positions.
    frames : Frames or None
        The record of its frames; None where there is none.
    source : Path or None
        The file that holds the transform.
    """

    moving_from_fixed: Transform
    frames: Frames | None
    source: Path | None = None

    def check_place(self, fixed: Grid) -> None:
        """Refuse a fixed image in another place than the file states, without which the images miss each other.

        Raises
        ------
        ReadError
            If a parameter file of elastix states another origin.
        """
        if self.frames is None and self.source is not None and self.source.suffix.lower() == ".txt":
            read_transform(self.source, context=ExchangeContext(fixed=fixed))


def holds_result(path: str | Path) -> bool:
    """Whether there is a result: its folder, its record, or the transform that belongs to the record beside it."""
    path = Path(path)
    record = path / _RECORD if path.is_dir() else path.with_name(_RECORD)
    return is_regular(record) and (path.is_dir() or path.name == _RECORD or path.stem == "moving_from_fixed")


def read_saved(path: str | Path) -> Saved:
    """The transform in a file or a result folder, with the record of its frames where ``result.json`` is at hand.

    Parameters
    ----------
    path : str or Path
        A transform file as for `correlight.exchange.read_transform`, or a result folder. The record is the file itself
        or the ``result.json`` beside it.

    Raises
    ------
    ReadError
        If there is no readable transform, or a record that is damaged.
    """
    file = Path(path)
    if file.is_dir():
        file = file / _RECORD
    record = file.with_name(_RECORD)
    content = _content(record) if record.is_file() else None
    source = _holder(file, content) if content is not None and file.name == _RECORD else file
    transform = read_transform(source)
    return Saved(transform, None if content is None else _frames(record, content, transform), source)


def _content(record: Path) -> dict[str, Any]:
    content = read_json(record, "the record of a registration")
    if not isinstance(content, dict):
        raise ReadError(f"The record of a registration was expected in {record}, which holds something else.")
    return content


def _holder(record: Path, content: dict[str, Any]) -> Path:
    """The file that holds the transform: the record itself, or one beside it that it names."""
    transform = content.get("moving_from_fixed")
    name = transform.get("file") if isinstance(transform, dict) else None
    # A name with a folder in it could lead anywhere.
    return record.with_name(name) if isinstance(name, str) and is_plain_name(name) else record


def _frames(record: Path, content: dict[str, Any], transform: Transform) -> Frames:
    try:
        grids = {role: _grid(content[role], content[f"{role}_unit"]) for role in ("fixed", "moving")}
        status = content["status"]
        if status not in ("accepted", "doubtful", "refused"):
            raise ValueError
        sums = [content[role].get("sha256") for role in ("fixed", "moving")]
        parts = [dict(content[role].get("part") or {}) for role in ("fixed", "moving")]
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ReadError(
            f"The record of a registration was expected in {record}, which is incomplete or was changed; restore it or "
            "move the transform elsewhere to use it alone."
        ) from error
    if any(grid.ndim != transform.ndim for grid in grids.values()):
        raise ReadError(f"The transform and {record} differ in dimension, so they do not belong together.")
    errors = record.with_name(_ERRORS)
    return Frames(
        grids["fixed"],
        grids["moving"],
        sums[0],
        sums[1],
        status,
        errors if errors.is_file() else None,
        parts[0],
        parts[1],
    )


def _grid(image: dict[str, Any], unit: Any) -> Grid:
    """The grid of an image as it was recorded; raises ValueError or TypeError where no image has such a one."""
    shape = [int(count) for count in image["shape"]]
    if shape != image["shape"] or not all(0 < count <= _LARGEST_SIDE for count in shape) or len(shape) not in (2, 3):
        raise ValueError
    return Grid.of(shape, image["spacing"], unit=unit)


def placed(
    images: tuple[Image, Image], saved: Saved, given: tuple[float | None, float | None]
) -> tuple[tuple[Image, Grid], tuple[Image, Grid]]:
    """The fixed and the moving image with their grids in the frames of a transform, in its number of axes.

    Parameters
    ----------
    images : (Image, Image)
        Fixed and moving, as they were read. A section of a stack becomes a slice of it.
    saved : Saved
        The transform with its record.
    given : (float or None, float or None)
        Pixel sizes in place of what is recorded.

    Raises
    ------
    UsageError
        If an image does not suit the transform, or the two were exchanged.
    """
    fixed, moving = images
    frames = saved.frames
    if frames is not None:
        _must_not_be_exchanged(fixed, moving, frames)
    slices = [stack.grid.spacing[0] for stack in images if stack.ndim == 3]
    if saved.moving_from_fixed.ndim == 3 and not slices and frames is None:
        raise UsageError("The transform is one of stacks, and both images are flat; give the stack.")
    fixed = as_recorded(fixed, saved, "fixed", min(slices, default=1.0))
    moving = as_recorded(moving, saved, "moving", min(slices, default=1.0))
    if frames is None:
        return (fixed, fixed.grid), (moving, moving.grid)
    return (
        (fixed, in_frame(fixed, frames, given[0], "fixed")),
        (moving, in_frame(moving, frames, given[1], "moving")),
    )


def as_recorded(image: Image, saved: Saved, role: Literal["fixed", "moving"], thickness: float = 1.0) -> Image:
    """An image in the dimension of a transform; a section of a stack becomes a slice of it.

    Parameters
    ----------
    image : Image
        As it was read.
    saved : Saved
        The transform with its record.
    role : {"fixed", "moving"}
        Which of the two images it is.
    thickness : float
        Of the slice, where there is no record.

    Raises
    ------
    UsageError
        If a stack was registered and this is a flat image, or the reverse.
    """
    if saved.frames is None:
        return in_space(image, saved.moving_from_fixed, thickness, role)
    recorded = saved.frames.fixed if role == "fixed" else saved.frames.moving
    if image.ndim == 2 and recorded.ndim == 3 and not is_section(recorded):
        raise UsageError(
            f"The {role} image that was registered is a stack of {recorded.shape[0]} slices, and "
            f"{image.source.get('path', 'this one')} is a flat image; give a stack."
        )
    return in_space(image, saved.moving_from_fixed, recorded.spacing[0], role)


def _must_not_be_exchanged(fixed: Image, moving: Image, frames: Frames) -> None:
    """Refuse the images of the registration in the wrong order, known by their checksums."""
    for image, role, own, other, name in (
        (moving, "moving", frames.moving_sha256, frames.fixed_sha256, "fixed"),
        (fixed, "fixed", frames.fixed_sha256, frames.moving_sha256, "moving"),
    ):
        found = image.source.get("sha256")
        if found is not None and found == other and found != own:
            raise UsageError(
                f"{image.source.get('path')} is the {name} image of this registration and was given as the {role} one; "
                "exchange the two, or register them the other way round."
            )


def unlike_the_record(image: Image, grid: Grid, recorded: Grid, role: str) -> tuple[str, ...]:
    """What to say of an image whose field is another than that of the image that was registered."""
    extents = np.asarray(grid.extent[-2:]), np.asarray(recorded.extent[-2:])
    if grid.unit != recorded.unit or np.all(np.abs(extents[0] / extents[1] - 1) <= _SAME_FIELD):
        return ()
    here, there = (" x ".join(f"{length:.4g}" for length in extent) for extent in extents)
    symbol = grid.frame.symbol
    return (
        f"{Path(str(image.source.get('path', 'the image'))).name} covers {here} {symbol}, and the {role} image that "
        f"was registered {there} {symbol}; both are taken to begin at the same corner",
    )


def not_the_fixed(image: Image, frames: Frames | None) -> tuple[str, ...]:
    """What to say where the output gets the pixels of another file than that of the image that was registered."""
    recorded, found = (None if frames is None else frames.fixed_sha256), image.source.get("sha256")
    if None in (recorded, found) or recorded == found:
        return ()
    name = Path(str(image.source.get("path", "the image"))).name
    return (f"{name} is not the fixed image that was registered, but another file; it is taken to lie where that lay",)


def about_the_fixed(image: Image, grid: Grid, frames: Frames) -> tuple[str, ...]:
    """What to say where it is not the fixed image that was registered: another field or, failing that, another file."""
    return unlike_the_record(image, grid, frames.fixed, "fixed") or not_the_fixed(image, frames)


def fixed_grid(image: Image, frames: Frames | None, given: float | None) -> Grid:
    """The grid of the fixed image in the frame of a transform; `given` is a pixel size in place of what is recorded."""
    return image.grid if frames is None else in_frame(image, frames, given, "fixed")


def findings_of(*images: Image) -> tuple[str, ...]:
    """What was found on reading images, each sentence once and with the name of the file."""
    named = ((Path(str(image.source.get("path", "an image"))).name, image.findings) for image in images)
    return tuple(dict.fromkeys(f"{name}: {finding}" for name, findings in named for finding in findings))


def other_part(image: Image, frames: Frames, role: Literal["fixed", "moving"]) -> tuple[str, ...]:
    """What to say of the registered file if another part of it is read now than was registered."""
    _, sha256, recorded = _recorded(frames, role)
    part = _as_text(part_of(image))
    if sha256 is None or image.source.get("sha256") != sha256 or part == recorded:
        return ()
    here, there = (", ".join(f"{name} {value}" for name, value in which.items()) for which in (part, recorded))
    name = Path(str(image.source.get("path", "the file"))).name
    return (f"{there or 'the first image'} of {name} was registered, and {here or 'the first image'} is used here",)


def _recorded(frames: Frames, role: Literal["fixed", "moving"]) -> tuple[Grid, str | None, dict[str, str]]:
    grid, sha256, part = (
        (frames.fixed, frames.fixed_sha256, frames.fixed_part)
        if role == "fixed"
        else (frames.moving, frames.moving_sha256, frames.moving_part)
    )
    return grid, sha256, _as_text(part)


def _as_text(part: Mapping[str, Any]) -> dict[str, str]:
    """A part of a file with its numbers as text, as the command line has them."""
    return {name: str(value) for name, value in part.items()}


def in_frame(image: Image, frames: Frames, given: float | None, role: Literal["fixed", "moving"]) -> Grid:
    """The grid of an image in the frame of a transform, whose unit it must share.

    Raises
    ------
    UsageError
        If it does not, or a pixel size is given for a frame that counts pixels.
    """
    recorded, sha256, part = _recorded(frames, role)
    if given is not None:
        if not recorded.calibrated:
            raise UsageError(
                f"The transform counts pixels of the {role} image, which was registered without a pixel size; give "
                f"none for the {role} image."
            )
        return image.grid
    same_file = sha256 is not None and image.source.get("sha256") == sha256 and _as_text(part_of(image)) == part
    if same_file or (image.grid.unit != recorded.unit and image.grid.shape == recorded.shape):
        return recorded
    if image.grid.unit == recorded.unit:
        return image.grid
    found, stated = ("a pixel size", "none") if recorded.calibrated else ("no pixel size", "one")
    # Where pixels were counted, no pixel size helps.
    size = f", or give a pixel size for the {role} image" if recorded.calibrated else ""
    raise UsageError(
        f"The transform was found with {found} for the {role} image, and this image of another shape states {stated}; "
        f"give one of {' x '.join(map(str, recorded.shape))} pixels{size}."
    )
