"""The table of a batch: one row per pair, its cells the options of a registration.

A row that cannot be understood stays in the batch with the sentence that says why; only a table that names no pairs at
all is refused. What a row is called does not depend on where it stands in the table.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath, PureWindowsPath

from correlight.batch.cells import COLUMNS
from correlight.errors import ReadError
from correlight.exchange.spreadsheet import header_and_lines
from correlight.parsing import LIMIT

_MOST = 1_000_000  # rows
_NEEDED = "fixed", "moving"
_NAMES = "name", "group"
# What a folder may be called on every system, and how long the name may be.
_UNSAFE = re.compile(r"[^\w.+-]+")
_LONGEST = 60
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Row:
    """One pair of a batch.

    Parameters
    ----------
    name : str
        What it is called, unlike all others.
    folder : str
        Name of the folder of its result.
    cells : mapping of str to str
        What the table states, by column, without empty cells.
    group : str
        Rows of one group share rotation, mirroring and scale; empty if it has none.
    times : int
        How often the same row stands in the table.
    problem : str
        Why it cannot be registered as it stands; empty if it can.
    """

    name: str
    folder: str
    cells: Mapping[str, str] = field(default_factory=dict)
    group: str = ""
    times: int = 1
    problem: str = ""

    @property
    def key(self) -> str:
        """What tells this row from one that asks for something else."""
        return _digest([dict(sorted(self.cells.items())), self.group])


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table in an order that does not depend on the table's, and what should be known of it."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def read_table(path: str | Path) -> Table:
    """The rows of a CSV file: with commas, semicolons or tabs, with or without a byte-order mark.

    Parameters
    ----------
    path : str or Path
        Columns ``fixed`` and ``moving``, and any of ``name``, ``group`` and the options of a registration. Capitals,
        and blanks and hyphens in place of underscores, do not matter.

    Returns
    -------
    Table
        Rows that are the same in everything are one.

    Raises
    ------
    ReadError
        If the file cannot be read, is no table, or lacks one of the two columns.
    """
    header, lines = header_and_lines(path, LIMIT, _MOST)
    columns = [re.sub(r"[\s-]+", "_", name) for name in header]
    twice = next((name for place, name in enumerate(columns) if name and name in columns[:place]), None)
    if twice is not None:
        raise ReadError(f"{path} has two columns for {twice}, and it is not said which is meant; remove one of them.")
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise ReadError(
            f"A batch needs the columns fixed and moving; {path} has no column {' and no column '.join(missing)}, "
            f"only {', '.join(filter(None, header[:8])) or 'nameless ones'}."
        )
    stated = [_stated(columns, line) for line in lines]
    return Table(_named(stated), _notes(columns, lines, path))


def table_of(pairs: Sequence[Mapping[str, str]]) -> Table:
    """The same of rows that are given as cells by column."""
    return Table(_named([(dict(cells), "") for cells in pairs]))


def _stated(columns: Sequence[str], line: Sequence[str]) -> tuple[dict[str, str], str]:
    """The known cells of a line that are not empty, and what is wrong with it."""
    cells = {name: cell for name, cell in zip(columns, line, strict=False) if cell and name in (*COLUMNS, *_NAMES)}
    if len(line) < len(columns) or any(line[len(columns) :]):
        return cells, f"The row has {len(line)} fields where the header has {len(columns)}; mend it in the table."
    lacking = [name for name in _NEEDED if name not in cells]
    if lacking:
        return cells, f"The row names no {' and no '.join(lacking)} image; fill in the column."
    return cells, ""


def _notes(columns: Sequence[str], lines: Sequence[Sequence[str]], path: str | Path) -> tuple[str, ...]:
    """What of a table is not understood: columns that nobody knows."""
    notes = []
    for place, name in enumerate(columns):
        if name in (*COLUMNS, *_NAMES) or not any(len(line) > place and line[place] for line in lines):
            continue
        near = difflib.get_close_matches(name, (*COLUMNS, *_NAMES), 1, 0.8)
        meant = f"; {near[0]} may be meant" if near else ""
        notes.append(f"the column {name or 'without a name'} of {Path(path).name} is not known and not used{meant}")
    return tuple(sorted(set(notes)))


def _named(stated: Sequence[tuple[dict[str, str], str]]) -> tuple[Row, ...]:
    """Rows with names and folders of their own; the order of the table has no influence on them."""
    times: Counter[str] = Counter()
    rows: dict[str, Row] = {}
    for cells, problem in stated:
        key = _digest([dict(sorted(cells.items())), problem])
        times[key] += 1
        name, group = cells.pop("name", ""), cells.pop("group", "")
        rows[key] = Row(name or _name_of(cells), "", cells, group, 1, problem)
    alike = Counter(row.name for row in rows.values())
    for key, row in rows.items():
        if alike[row.name] > 1:
            rows[key] = replace(row, name=f"{row.name} ({key[:8]})")
    slugs = {key: _slug(row.name) for key, row in rows.items()}
    folded = Counter(slug.casefold() for slug in slugs.values())
    finished = []
    for key, row in rows.items():
        slug = slugs[key]
        sure = slug == row.name and folded[slug.casefold()] == 1 and not _RESERVED.fullmatch(slug)
        folder = slug if sure else "-".join(filter(None, (slug, key[:8])))
        finished.append(replace(row, folder=folder, times=times[key]))
    return tuple(sorted(finished, key=lambda row: row.folder))


def _name_of(cells: Mapping[str, str]) -> str:
    """What a row is called that has no name: by its files."""
    fixed, moving = (_stem(cells.get(role, "")) for role in _NEEDED)
    return f"{moving} on {fixed}" if fixed and moving else fixed or moving or "nothing"


def _stem(path: str) -> str:
    """The name of a file of either system without its endings."""
    name = PureWindowsPath(path).name if "\\" in path else PurePosixPath(path).name
    return re.sub(r"(\.ome)?\.\w{1,5}$", "", name) or name


def _slug(name: str) -> str:
    plain = _UNSAFE.sub("_", unicodedata.normalize("NFC", name)).strip("._")
    while len(plain.encode()) > _LONGEST:
        plain = plain[:-1]
    return plain.rstrip("._")


def _digest(content: object) -> str:
    return hashlib.sha256(json.dumps(content, ensure_ascii=True).encode()).hexdigest()
