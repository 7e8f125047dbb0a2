"""The one door to files: only regular files are opened, and what was read can be told from what is there later.

A named pipe, a device or a socket under the name of an image would be waited for without end, or never end. Every
reader of this room asks here before it, or a library on its behalf, opens a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from correlight.errors import ReadError
from correlight.parsing import files_in, open_regular, sha256


@dataclass(frozen=True, slots=True)
class Stamp:
    """What a file was when it was read.

    Parameters
    ----------
    path : str
        The file, or the folder of a store.
    size : int
        Bytes; of a folder, those of all its files.
    modified : int
        Time of the last change in nanoseconds; of a folder, that of the newest file.
    sha256 : str
        Checksum; of a folder, that of the names and contents of all its files.
    """

    path: str
    size: int
    modified: int
    sha256: str


def check_regular(path: str | Path, expected: str = "an image file") -> None:
    """Refuse what is no regular file, before a library opens it by its name.

    Raises
    ------
    ReadError
        As for `open_regular`.
    """
    open_regular(path, expected).close()


def stamp(path: str | Path) -> Stamp:
    """Size, time and checksum of a file or folder."""
    path = Path(path)
    size, modified = measured(path)
    return Stamp(str(path), size, modified, sha256(path))


def check_unchanged(stamps: Sequence[Stamp], *, strictly: bool) -> None:
    """Refuse to go on if a file is no longer what it was.

    Parameters
    ----------
    stamps : sequence of Stamp
        What was read.
    strictly : bool
        Whether another time is a change even where the bytes are the same: they may have been others in between, when
        pixels were cut out of the file.

    Raises
    ------
    ReadError
        If size, time or checksum differ, or the file is gone.
    """
    for before in stamps:
        path = Path(before.path)
        try:
            size, modified = measured(path)
            same = size == before.size and (modified == before.modified or not strictly)
            same = same and sha256(path) == before.sha256 and measured(path) == (size, modified)
        except OSError as error:
            detail = error.strerror or error
            raise ReadError(f"{path} can no longer be read ({detail}); run again once it is in place.") from error
        if not same:
            raise ReadError(f"{path} was changed while it was in use; run again once nothing writes to it.")


def sha256_of(stamps: Sequence[Stamp]) -> str:
    """One checksum for the files of an image: that of the file if there is one, else of all names and checksums."""
    if len(stamps) == 1:
        return stamps[0].sha256
    lines = sorted(f"{Path(entry.path).name}\0{entry.sha256}\n" for entry in stamps)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def measured(path: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds of a file, or of all files of a folder together."""
    entries = [entry.stat() for entry in (files_in(path) if path.is_dir() else [path])]
    return sum(entry.st_size for entry in entries), max((entry.st_mtime_ns for entry in entries), default=0)
