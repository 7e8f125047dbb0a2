"""A registration run again from its record, and what differs from what was written then."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import TypeAdapter, ValidationError

from correlight.errors import ReadError, UsageError
from correlight.io import read
from correlight.output.apply.saved import read_saved
from correlight.output.from_files import Asked, register_files
from correlight.output.manifest import changed_since, checksums, named_few, not_listed
from correlight.output.originals import may_be_recorded, places
from correlight.output.start import checksum_of_start
from correlight.parsing import read_json, resolved, sha256
from correlight.progress import Progress
from correlight.registration.provenance import versions

RECORD = "result.json"
TOLERANCE = 0.01
"""Pixels of the moving image by which two transforms may lie apart anywhere on the fixed image."""
# What is no result: times and paths are written into the first two, and the others are written by who called.
_NOT_COMPARED = {RECORD, "report.html", "row.json", "thumbnail.png", "ro-crate-metadata.json"}
_VOLATILE = {"seconds", "peak_memory_mb", "versions", "asked"}
# What has a checksum in a record, and which of several images in a file may be named.
_Role = Literal["fixed", "moving", "fixed_mask", "moving_mask", "start", "landmarks", "predictor", "recipe"]
_Part = Literal["scene", "series", "time", "view"]
_LOOKS = 12  # places along each axis of the fixed image


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a result folder says of its own run.

    Parameters
    ----------
    folder : Path
        The result folder.
    asked : Asked
        The options, and the files as they were found now, with the content that they had then.
    content : mapping of str to object
        All of ``result.json``.
    """

    folder: Path
    asked: Asked
    content: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What came of the second run.

    Parameters
    ----------
    apart : float
        Largest distance of the two transforms over the fixed image, in pixels of the moving image.
    same_files : int
        How many files have the same bytes.
    differences : tuple of str
        What differs, in sentences; empty if nothing does.
    notes : tuple of str
        What else should be known: other versions, and files whose bytes may differ for that reason.
    """

    apart: float
    same_files: int
    differences: tuple[str, ...]
    notes: tuple[str, ...]


def read_recorded(path: str | Path) -> Recorded:
    """The record of a run with the files that it read, looked for where they were and beside the result.

    Parameters
    ----------
    path : str or Path
        A result folder, or its ``result.json``.

    Raises
    ------
    ReadError
        If there is no record that can be read, or a file is gone or holds something else now.
    UsageError
        If the record does not hold the options of its run.
    """
    given = Path(path)
    record = given if given.name == RECORD else given / RECORD
    content = read_json(record, "the record of a registration")
    stated = content.get("asked") if isinstance(content, dict) else None
    if stated is None:
        raise UsageError(
            f"{record} does not hold the options of its run, so it cannot be run again; results of two files that were "
            "registered by the command line, alone or in a batch, hold them from version 0.1 on."
        )
    try:
        asked = TypeAdapter(Asked).validate_python(stated)
        sums = TypeAdapter(dict[_Role, str]).validate_python(stated["sha256"])
        TypeAdapter(list[dict[_Part, str | int]]).validate_python([asked.fixed_part, asked.moving_part])
    except (ValidationError, KeyError, TypeError) as error:
        raise ReadError(f"The options of a run were expected in {record}, which was changed; restore it.") from error
    found: dict[str, Any] = {}
    for name, expected in sums.items():
        given_file = getattr(asked, name, None)
        if isinstance(given_file, str | Path):
            where = _found(name, Path(given_file), expected, resolved(record).parent, asked)
            found[name] = str(where) if name == "recipe" else where
    return Recorded(record.parent, replace(asked, **found), content)


def _found(role: str, path: Path, expected: str, folder: Path, asked: Asked) -> Path:
    """The file with the content that was read then."""
    others = list[Path]()
    for place in places(path, folder):
        if not place.exists():
            continue
        # Another file of that name need not even be an image.
        with suppress(ReadError, UsageError):
            if _sum(role, place, asked) == expected:
                return place
        others.append(place)
    if others:
        raise ReadError(
            f"{others[0]} ({role.replace('_', ' ')}) holds something else than when it was registered (its SHA-256 is "
            f"not {expected}); put the original back."
        )
    raise ReadError(f"{path} ({role.replace('_', ' ')}) was not found; put it back, or beside the result.")


def _sum(role: str, path: Path, asked: Asked) -> str | None:
    if not may_be_recorded(path):
        return None
    if role not in ("fixed", "moving"):
        return checksum_of_start(path) if role == "start" else sha256(path)
    # An image may consist of several files, which its reader knows.
    part = asked.fixed_part if role == "fixed" else asked.moving_part
    return str(read(path, **part).source["sha256"])


def run_again(recorded: Recorded, folder: Path, progress: Progress | None = None) -> Comparison:
    """Register once more into a folder that exists, and compare.

    Parameters
    ----------
    recorded : Recorded
        What was done.
    folder : Path
        Where the second result is written.
    progress : callable, optional
        Called with the stage and the fraction of it that is done.

    Raises
    ------
    CorrelightError
        As `correlight.output.from_files.register_files` does, or if the first result is not complete.
    """
    # What cannot be compared should be known before the work.
    before = read_saved(recorded.folder / RECORD)
    files = checksums(recorded.folder)
    foreign = not_listed(recorded.folder, files)
    files = {name: checksum for name, checksum in files.items() if name not in foreign}
    register_files(recorded.asked, folder, progress=progress)
    after = read_saved(folder / RECORD)
    content = read_json(folder / RECORD, "the record of a registration")
    other = _other_versions(recorded.content.get("versions"), versions())
    notes = [f"{named_few(foreign)} in {recorded.folder} is no part of the result"] if foreign else []
    differences = [f"{name} was changed after it was written" for name in changed_since(recorded.folder, files)]
    differences += _facts(recorded.content, content)
    apart = float("inf")
    if before.frames is None or after.frames is None or before.frames.fixed != after.frames.fixed:
        differences.append("the fixed image has another grid")
    elif before.frames.moving != after.frames.moving:
        differences.append("the moving image has another grid")
    else:
        places = after.frames.fixed.lattice(_LOOKS)
        moved = before.moving_from_fixed(places) - after.moving_from_fixed(places)
        apart = float(np.linalg.norm(moved / np.asarray(after.frames.moving.spacing), axis=1).max())
        if apart > TOLERANCE:
            differences.append(f"the transforms lie up to {apart:.3g} pixels of the moving image apart")
    missing, bytewise, same = _compared(files, checksums(folder))
    details = [*bytewise, *(f"{key} in {RECORD}" for key in _keys(recorded.content, content))]
    if details:
        sentence = f"{named_few(details)} {'is' if len(details) == 1 else 'are'} not the same to the last digit"
        # Other versions round otherwise; that alone is no other result.
        (other if other else differences).append(sentence)
    return Comparison(apart, same, (*differences, *missing), (*other, *notes))


def _facts(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What decides about a result and is another now."""
    kinds = [content.get("moving_from_fixed", {}).get("type") for content in (before, after)]
    pairs = [("verdict", before.get("status"), after["status"]), ("kind of transform", *kinds)]
    for role in ("fixed", "moving"):
        pairs.append((f"{role} channel", before[role].get("channel"), after[role]["channel"]))
    return [f"the {what} was {then} and is {now}" for what, then, now in pairs if then != now]


def _keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What else of the record differs, but for times, versions and where files lie."""

    def plain(content: Mapping[str, Any], key: str) -> Any:
        value = content.get(key)
        return {**value, "path": None, "folder": None} if isinstance(value, dict) else value

    keys = sorted({*before, *after} - _VOLATILE)
    return [key for key in keys if plain(before, key) != plain(after, key)]


def _other_versions(before: Any, now: Mapping[str, str]) -> list[str]:
    before = before if isinstance(before, dict) else {}
    changed = [f"{name} {before[name]}, now {now[name]}" for name in now if before.get(name, now[name]) != now[name]]
    return [f"it was made with {'; '.join(changed)}"] if changed else []


def _compared(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[list[str], list[str], int]:
    """Files that only one of two folders has, in sentences; names of those with other bytes; how many are the same."""
    one, other = set(before) - _NOT_COMPARED, set(after) - _NOT_COMPARED
    sentences = [
        f"{named_few(sorted(names))} {'is' if len(names) == 1 else 'are'} {what}"
        for names, what in ((one - other, "not written now"), (other - one, "written now and not there"))
        if names
    ]
    changed = sorted(name for name in one & other if before[name] != after[name])
    return sentences, changed, len(one & other) - len(changed)
