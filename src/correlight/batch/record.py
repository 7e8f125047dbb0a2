"""What is kept of a row: in the folder of its result, or, where there is none, among the failures."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, FiniteFloat, TypeAdapter

from correlight.batch.groups import Shared
from correlight.batch.table import Row
from correlight.errors import CorrelightError, ReadError
from correlight.geometry import Unit
from correlight.parsing import read_json, sha256

if TYPE_CHECKING:
    from correlight.registration.result import Result

RESULTS, FAILED = "results", "failed"
RECORD, THUMBNAIL = "row.json", "thumbnail.png"
_DIGITS = 4  # of figures in a summary; the last ones of a machine are not those of another

# Size, time of change in nanoseconds and checksum of an input.
Stamps = dict[str, tuple[int, int, str]]


@dataclass(frozen=True, slots=True)
class Figures:
    """What a summary shows of a result; numbers have four digits.

    Parameters
    ----------
    status, confidence, reasons, model, recipe
        As in ``result.json``.
    error_median, error_within : float or None
        Of the predicted error, in ``unit``; None where it is unknown, or the result refused.
    unit : str
        That of the fixed image.
    rotation : float or None
        Degrees, -180 to 180; None of stacks.
    mirrored : bool
        Whether the moving image is mirrored.
    scale_found, scale_claimed : float or None
        Moving pixels per fixed pixel.
    fixed_channel, moving_channel : str
        Channels used for registration.
    advice : tuple of str
        What to try next, where the result is not accepted.
    """

    status: Literal["accepted", "doubtful", "refused"]
    confidence: Annotated[float, Field(ge=0.0, le=1.0)]
    reasons: tuple[str, ...]
    model: str
    recipe: str
    error_median: FiniteFloat | None
    error_within: FiniteFloat | None
    unit: Unit
    rotation: FiniteFloat | None
    mirrored: bool
    scale_found: FiniteFloat | None
    scale_claimed: FiniteFloat | None
    fixed_channel: str
    moving_channel: str
    advice: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A row that was registered.

    Parameters
    ----------
    key : str
        What the row asked for (`Row.key`).
    inputs : mapping
        What the files were, by their names as the table states them.
    figures : Figures
        What came of it.
    shared : Shared or None
        What it was told of its group.
    alone : str
        The verdict that it had without being told; empty if that was not tried.
    own : Shared or None
        What it says of its group if it was trusted without being told.
    disagrees : str
        How it departs from its group; empty if it does not.
    notes : tuple of str
        What else should be known.
    """

    key: str
    inputs: Stamps
    figures: Figures
    shared: Shared | None = None
    alone: str = ""
    own: Shared | None = None
    disagrees: str = ""
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The content of ``row.json``."""
        return json.dumps(asdict(self), indent=1, allow_nan=False) + "\n"


# Another program may have changed what stands in a file.
_RECORD = TypeAdapter(Record)


@dataclass(frozen=True, slots=True)
class Failed:
    """A row that could not be registered: the sentence that says why."""

    key: str
    sentence: str
    notes: tuple[str, ...] = field(default_factory=tuple)


def figures_of(result: Result) -> Figures:
    """What a summary shows of a result."""
    pose, error = result.poses[0].linear if result.poses else None, result.predicted_error
    flat = pose is not None and pose.ndim == 2
    usable = result.status != "refused"
    return Figures(
        result.status,
        _rounded(result.verdict.confidence) or 0.0,
        tuple(result.verdict.reasons),
        result.model,
        result.recipe,
        _rounded(error.median) if usable else None,
        _rounded(error.within) if usable else None,
        result.fixed.unit,
        _rounded((pose.rotation + 180) % 360 - 180) if pose is not None and flat else None,
        bool(pose is not None and pose.mirrored),
        _rounded(result.scale_found),
        _rounded(result.scale_claimed),
        result.fixed.channel,
        result.moving.channel,
        tuple(one.sentence for one in result.advice),
    )


def read_record(folder: Path) -> Record | None:
    """The record of a complete result; None where there is none, or a file of it is missing."""
    try:
        listed = read_json(folder / "manifest.json", "a list of what was written")["files"]
        if RECORD not in listed or any(os.stat(folder / name).st_size != listed[name]["size"] for name in listed):
            return None
        return _RECORD.validate_python(read_json(folder / RECORD, "the record of a row"))
    except (CorrelightError, OSError, KeyError, TypeError, ValueError):
        return None


def write_failure(out: Path, row: Row, failed: Failed) -> None:
    """Keep why a row failed; like all records, completely or not at all."""
    write_whole(out / FAILED / f"{row.folder}.json", json.dumps({"name": row.name, **asdict(failed)}, indent=1) + "\n")


def read_failure(out: Path, row: Row) -> Failed | None:
    """Why a row failed the last time, if it was asked for what it is asked for now."""
    try:
        content = read_json(out / FAILED / f"{row.folder}.json", "why a row failed")
        failed = Failed(str(content["key"]), str(content["sentence"]), tuple(content["notes"]))
    except (CorrelightError, OSError, KeyError, TypeError, ValueError):
        return None
    return failed if failed.key == row.key else None


def forget_failure(out: Path, row: Row) -> None:
    """A row that was registered after all is no failure."""
    (out / FAILED / f"{row.folder}.json").unlink(missing_ok=True)


def stamps_of(files: Mapping[str, Path], known: Mapping[str, str] | None = None) -> Stamps:
    """What files are now, by name.

    Parameters
    ----------
    files : mapping of str to Path
        The files by their names in the table.
    known : mapping of str to str, optional
        Checksums that are known already.

    Raises
    ------
    ReadError
        If one cannot be read.
    """
    from correlight.io.door import measured

    found: Stamps = {}
    for name, path in files.items():
        try:
            size, modified = measured(path)
            found[name] = size, modified, (known or {}).get(name) or sha256(path)
        except OSError as error:
            raise ReadError(f"{path} cannot be read ({error.strerror or error}); check the path.") from error
    return found


def unchanged(stamps: Stamps, home: Path) -> bool:
    """Whether files, named as from a folder, are what they were; of one that was written anew, by its checksum."""
    from correlight.io.door import measured

    try:
        for name, (size, modified, checksum) in stamps.items():
            now = measured(home / name)
            if now[0] != size or (now[1] != modified and sha256(home / name) != checksum):
                return False
    except (CorrelightError, OSError):
        return False
    return True


def write_whole(path: Path, text: str) -> None:
    """Write a small file of a batch: under another name first, so that nobody ever reads half of it.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.{secrets.token_hex(4)}.partial")
    try:
        staged.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
        os.replace(staged, path)
    except BaseException:
        with suppress(OSError):
            staged.unlink(missing_ok=True)
        raise


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.{_DIGITS}g}")


def names_of(files: Sequence[Path], home: Path) -> dict[str, Path]:
    """Files by what they are called relative to a folder, which is the same on every machine."""
    return {os.path.relpath(path, home) if path.is_relative_to(home) else str(path): path for path in files}
