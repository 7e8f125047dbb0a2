"""What correlight wrote into a folder, with sizes and checksums: only that is ever replaced."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import correlight
from correlight.errors import CorrelightError, UsageError
from correlight.parsing import is_regular, read_json, resolved

NAME = "manifest.json"
# Files that systems put into every folder somebody looks into; nobody misses them.
_BY_SYSTEMS = {".DS_Store", "Thumbs.db", "desktop.ini"}
_NAMED = 3

Stamps = Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Earlier:
    """A folder that may be replaced.

    Parameters
    ----------
    stamps : mapping of str to (int, int)
        Size and time of change of every file, by its path in the folder.
    """

    stamps: Stamps

    def must_be_unchanged(self, folder: Path, out: str | Path) -> None:
        """Raise `UsageError` if a file came, went or changed since."""
        now = _stamps(folder)
        changed = sorted(name for name in {*now, *self.stamps} if now.get(name) != self.stamps.get(name))
        if changed:
            raise UsageError(
                f"{named_few(changed)} in {out} changed during the run; the folder was left as it is and nothing was "
                "written, so choose another name."
            )


def write_manifest(folder: Path) -> None:
    """Write ``manifest.json``: the version of correlight, and the size and SHA-256 of every file in a folder.

    Raises
    ------
    OSError
        If a file cannot be read or the manifest cannot be written.
    """
    files = {name: {"size": size, "sha256": _sha256(folder / name)} for name, (size, _) in _stamps(folder).items()}
    content = {"written_by": f"correlight {correlight.__version__}", "files": files}
    (folder / NAME).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def checksums(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder by its path in it, without the manifest and the files of systems."""
    return {name: _sha256(folder / name) for name in _stamps(folder) if not _is_known(name)}


def changed_since(folder: Path, now: Mapping[str, str]) -> list[str]:
    """The files that the manifest of a folder lists and that are gone or other now.

    Parameters
    ----------
    folder : Path
        A folder that correlight wrote; of one without a manifest nothing is known.
    now : mapping of str to str
        Its `checksums`.
    """
    listed = listed_in(folder) or {}
    sums = {name: entry.get("sha256") if isinstance(entry, dict) else None for name, entry in listed.items()}
    return sorted(name for name, known in sums.items() if known != now.get(name))


def not_listed(folder: Path, now: Mapping[str, str]) -> list[str]:
    """The files in a folder that its manifest does not list; none of a folder without a manifest.

    Parameters
    ----------
    folder : Path
        A folder that correlight wrote.
    now : mapping of str to str
        Its `checksums`.
    """
    listed = listed_in(folder)
    return [] if listed is None else sorted(set(now) - set(listed))


def earlier_result(folder: Path, out: str | Path) -> Earlier:
    """The content of a folder that holds nothing but what correlight wrote, or nothing at all.

    Parameters
    ----------
    folder : Path
        An existing folder.
    out : str or Path
        What messages call it.

    Raises
    ------
    UsageError
        If it holds anything else, or a file that was changed since.
    """
    stamps = _stamps(folder)
    if not set(stamps) - _BY_SYSTEMS:
        return Earlier(stamps)
    listed = listed_in(folder)
    if listed is None:
        raise UsageError(
            f"The folder {out} holds no earlier result that correlight wrote (it has no {NAME}) and is not "
            "overwritten; choose another name."
        )
    foreign = sorted(name for name in stamps if name not in listed and not _is_known(name))
    if foreign:
        raise UsageError(
            f"The folder {out} holds {named_few(foreign)}, which correlight did not write, and is not overwritten; "
            "move it elsewhere, or choose another name."
        )
    changed = sorted(name for name in stamps if name in listed and not _is_same(folder / name, listed[name]))
    if changed:
        raise UsageError(
            f"{named_few(changed)} in {out} was changed after correlight wrote it, so the folder is not overwritten; "
            "move it elsewhere, or choose another name."
        )
    return Earlier(stamps)


def remove_listed(folder: Path) -> None:
    """Delete what the manifest of a folder lists, and the folder if nothing else is left in it."""
    listed = listed_in(folder) or {}
    for home, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(home) / name
            part = path.relative_to(folder).as_posix()
            # The manifest goes last: without it nobody could tell what else may go.
            if part != NAME and (part in listed or _is_known(part)):
                path.unlink(missing_ok=True)
        if Path(home) != folder and not os.listdir(home):
            os.rmdir(home)
    if set(os.listdir(folder)) <= {NAME}:
        (folder / NAME).unlink(missing_ok=True)
        os.rmdir(folder)


def _is_known(name: str) -> bool:
    return name == NAME or Path(name).name in _BY_SYSTEMS


def named_few(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{rest}"


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of everything in a folder that is not a folder; links are not followed."""
    found = {}
    for home, folders, names in os.walk(folder):
        links = [name for name in folders if (Path(home) / name).is_symlink()]
        for name in (*names, *links):
            path = Path(home) / name
            entry = path.lstat()
            found[path.relative_to(folder).as_posix()] = (entry.st_size, entry.st_mtime_ns)
    return dict(sorted(found.items()))


def listed_in(folder: Path) -> dict[str, Any] | None:
    """The files that the manifest in a folder lists; None where there is none that can be read."""
    try:
        content = read_json(folder / NAME, "a list of what correlight wrote")
    except (CorrelightError, OSError):
        return None
    files = content.get("files") if isinstance(content, dict) else None
    return files if isinstance(files, dict) else None


def result_with(path: Path) -> Path | None:
    """The folder that correlight wrote and that a file is a part of by its manifest; None where there is none."""
    place = resolved(path.parent) / path.name
    for folder in place.parents:
        if is_regular(folder / NAME):
            part, listed = place.relative_to(folder).as_posix(), listed_in(folder)
            if listed is not None and (part == NAME or part in listed):
                return folder
    return None


def _is_same(path: Path, listed: Any) -> bool:
    entry = path.lstat()
    if not isinstance(listed, dict) or not stat.S_ISREG(entry.st_mode) or listed.get("size") != entry.st_size:
        return False
    return bool(listed.get("sha256") == _sha256(path))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
