"""Pairs of files by their names: a folder and two patterns, such as ``*_EM.tif`` and ``*_LM.tif``."""

from __future__ import annotations

import csv
import glob
import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from correlight.errors import ReadError, UsageError
from correlight.output.manifest import named_few
from correlight.output.target import reserve_files


@dataclass(frozen=True, slots=True)
class Matched:
    """Pairs, and files without a partner.

    Parameters
    ----------
    cells : tuple of dict
        ``name``, ``fixed`` and ``moving`` of each pair; paths are relative to the folder.
    notes : tuple of str
        Which files have no partner.
    """

    cells: tuple[dict[str, str], ...]
    notes: tuple[str, ...]


def match_files(folder: Path, patterns: str) -> Matched:
    """The pairs of files in a folder whose names agree in what the stars of two patterns stand for.

    Parameters
    ----------
    folder : Path
        Where to look; a pattern may name folders in it, as in ``EM/*.tif,LM/*.tif``.
    patterns : str
        That of the fixed and that of the moving images, parted by a comma, with as many stars each.

    Raises
    ------
    UsageError
        If these are no two patterns, or no pair is found.
    ReadError
        If there is no such folder.
    """
    parts = patterns.split(",")
    counts = {part.count("*") for part in parts}
    if len(parts) != 2 or len(counts) != 1 or counts == {0} or "**" in patterns:
        raise UsageError(
            f"Two patterns with as many stars each were expected, such as *_EM.tif,*_LM.tif; got {patterns!r}."
        )
    if not folder.is_dir():
        raise ReadError(f"A folder of images was expected; {folder} is none.")
    fixed, moving = (_found(folder, part.strip()) for part in parts)
    cells = tuple(
        {"name": "_".join(filter(None, common)) or "pair", "fixed": fixed[common], "moving": moving[common]}
        for common in sorted(fixed.keys() & moving.keys())
        if fixed[common] != moving[common]
    )
    if not cells:
        raise UsageError(
            f"No pair in {folder} matches {patterns}: {len(fixed)} files match the first pattern and {len(moving)} the "
            "second, and none of them agree in what the stars stand for."
        )
    without = (fixed.keys() - moving.keys(), fixed), (moving.keys() - fixed.keys(), moving)
    lonely = sorted({files[common] for lonely, files in without for common in lonely})
    return Matched(cells, _without_partner(lonely))


def write_table(path: Path, folder: Path, matched: Matched) -> None:
    """Write pairs as a table that a batch reads, with paths relative to the table.

    Raises
    ------
    UsageError
        If there is a file of that name, or one of the images has a name that no table can hold.
    WriteError
        If it cannot be written.
    """
    if os.path.lexists(path):
        raise UsageError(f"The file {path} exists; choose another name, or remove it.")
    home = Path(os.path.abspath(path)).parent
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("name", "fixed", "moving"))
    for cells in matched.cells:
        _must_be_text(cells)
        places = (relative(folder / cells[role], home) for role in ("fixed", "moving"))
        table.writerow((cells["name"], *places))
    with reserve_files(path) as staged:
        (staged / path.name).write_text(text.getvalue(), encoding="utf-8")


def _must_be_text(cells: dict[str, str]) -> None:
    """Refuse names of files that are no text: no table could hold them."""
    for name in cells.values():
        try:
            name.encode("utf-8")
        except UnicodeEncodeError as error:
            raise UsageError(
                f"The name {name!r} cannot stand in a table, as it is no UTF-8; rename the file."
            ) from error


def relative(path: Path, home: Path) -> str:
    """A file as it is called from a folder."""
    try:
        return Path(os.path.relpath(path, home)).as_posix()
    except ValueError:  # another drive
        return str(Path(os.path.abspath(path)))


def _found(folder: Path, pattern: str) -> dict[tuple[str, ...], str]:
    """Files by what the stars of a pattern stand for."""
    stars = re.compile("([^/]*)".join(re.escape(part) for part in pattern.split("*")), re.DOTALL)
    found = {}
    for name in glob.iglob("*".join(glob.escape(part) for part in pattern.split("*")), root_dir=folder):
        agreed = stars.fullmatch(Path(name).as_posix())
        if agreed:
            found[agreed.groups()] = Path(name).as_posix()
    return found


def _without_partner(names: Sequence[str]) -> tuple[str, ...]:
    if not names:
        return ()
    what = "file has no partner and was" if len(names) == 1 else "files have no partner and were"
    return (f"{len(names)} {what} left out: {named_few(names)}",)
