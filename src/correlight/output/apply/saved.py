"""A transform that was found before, and what is on record about the images it connects."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from correlight.errors import ReadError, UsageError
from correlight.exchange import ExchangeContext, read_transform
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.parsing import read_json
from correlight.transforms import Transform

_RECORD, _ERRORS = "result.json", "predicted_error.tif"


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
    """

    fixed: Grid
    moving: Grid
    fixed_sha256: str | None
    moving_sha256: str | None
    status: str
    errors: Path | None = None


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
    return record.with_name(name) if isinstance(name, str) and Path(name).name == name else record


def _frames(record: Path, content: dict[str, Any], transform: Transform) -> Frames:
    try:
        grids = {
            role: Grid.of(content[role]["shape"], content[role]["spacing"], unit=content[f"{role}_unit"])
            for role in ("fixed", "moving")
        }
        status = str(content["status"])
        sums = [content[role].get("sha256") for role in ("fixed", "moving")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ReadError(
            f"The record of a registration was expected in {record}, which is incomplete; restore it or move the "
            "transform elsewhere to use it alone."
        ) from error
    if any(grid.ndim != transform.ndim for grid in grids.values()):
        raise ReadError(f"The transform and {record} differ in dimension, so they do not belong together.")
    errors = record.with_name(_ERRORS)
    return Frames(grids["fixed"], grids["moving"], sums[0], sums[1], status, errors if errors.is_file() else None)


def fixed_grid(image: Image, frames: Frames | None, given: float | None) -> Grid:
    """The grid of the fixed image in the frame of a transform; `given` is a pixel size in place of what is recorded."""
    return image.grid if frames is None else in_frame(image, frames.fixed, frames.fixed_sha256, given, "fixed")


def in_frame(image: Image, recorded: Grid, sha256: str | None, given: float | None, role: str) -> Grid:
    """The grid of an image in the frame of a transform, whose unit it must share.

    Raises
    ------
    UsageError
        If it does not, or a pixel size is given for a frame that counts pixels.
    """
    if given is not None:
        if not recorded.calibrated:
            raise UsageError(
                f"The transform counts pixels of the {role} image, which was registered without a pixel size; leave "
                f"out --{role}-spacing."
            )
        return image.grid
    same_file = sha256 is not None and image.source.get("sha256") == sha256
    if same_file or (image.grid.unit != recorded.unit and image.grid.shape == recorded.shape):
        return recorded
    if image.grid.unit == recorded.unit:
        return image.grid
    found, stated = ("a pixel size", "none") if recorded.calibrated else ("no pixel size", "one")
    raise UsageError(
        f"The transform was found with {found} for the {role} image, and this file of another shape states {stated}; "
        f"give a file of {' x '.join(map(str, recorded.shape))} pixels, or its pixel size with --{role}-spacing."
    )
