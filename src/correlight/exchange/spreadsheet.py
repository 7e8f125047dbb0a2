"""Tables as spreadsheets save them: with commas, semicolons or tabs, and in several countries with decimal commas.

Where the decimal mark is a comma, a spreadsheet parts the fields by semicolons; "Unicode text" of Excel is UTF-16 with
tabs. What parts the fields is told by the line of names, in which no number stands.
"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

from correlight.errors import ReadError
from correlight.parsing import read_text

_MARKS = ",;\t"
_SEPARATOR = re.compile(r"\Asep=([,;\t])\r?\n", re.IGNORECASE)  # a line of Excel's that is no part of the table
_DECIMAL_COMMA = re.compile(r"[-+]?[0-9]*,[0-9]+(?:[eE][-+]?[0-9]+)?")


def mark_of(text: str) -> str:
    """What parts the fields of a table, by its first line: a comma, a semicolon or a tab."""
    stated = _SEPARATOR.match(text)
    if stated:
        return stated[1]
    first = text.partition("\n")[0]
    return max(_MARKS, key=first.count)


def names_of(text: str) -> list[str]:
    """The names of the columns in the first line of a table, in lower case; of any other text what comes of it."""
    text = text.lstrip("\ufeff")
    mark = mark_of(text)
    first = _SEPARATOR.sub("", text, count=1).partition("\n")[0]
    return [cell.strip().strip('"').strip().lower() for cell in first.split(mark)]


def columns_and_rows(path: str | Path, limit: int, most: int) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, in lower case, and the rows that are not empty, everything stripped.

    Parameters
    ----------
    path, limit, most
        As for `header_and_lines`.

    Returns
    -------
    header : list of str
        Names of the columns.
    rows : list of list of str
        As many fields each. Numbers have a decimal point, whatever the file writes.

    Raises
    ------
    ReadError
        As for `header_and_lines`, and if rows have different lengths.
    """
    header, lines = header_and_lines(path, limit, most)
    for number, line in enumerate(lines, start=1):
        if len(line) != len(header):
            raise ReadError(f"Row {number} of {path} has {len(line)} fields where the header has {len(header)}.")
    return header, lines


def header_and_lines(path: str | Path, limit: int, most: int) -> tuple[list[str], list[list[str]]]:
    """The same of a table whose rows may have other lengths than its header, for those who judge each by itself.

    Parameters
    ----------
    path : str or Path
        The file.
    limit : int
        Bytes beyond which it is not read.
    most : int
        Rows beyond which it is not read.

    Raises
    ------
    ReadError
        If the file cannot be read, is no table, has too many rows or none, or two columns of one name.
    """
    text = read_text(path, "a table in CSV", limit=limit)
    mark = mark_of(text)
    lines: list[list[str]] = []
    try:
        reader = csv.reader(io.StringIO(_SEPARATOR.sub("", text, count=1), newline=""), strict=True, delimiter=mark)
        header = [cell.strip().lower() for cell in next(reader, [])]
        for line in reader:
            if any(cell.strip() for cell in line):
                lines.append([_with_point(cell.strip()) if mark != "," else cell.strip() for cell in line])
            if len(lines) > most:
                raise ReadError(f"{path} has more than {most:,} rows; divide the table.")
    except csv.Error as error:
        raise ReadError(f"A table in CSV was expected in {path}: {error}.") from error
    if not lines:
        raise ReadError(f"A header line and at least one row were expected in {path}; got none.")
    _check_header(header, path)
    return header, lines


def _check_header(header: list[str], path: str | Path) -> None:
    """Refuse a table of which two columns have one name: nobody could say which of them is meant.

    Raises
    ------
    ReadError
        With the name.
    """
    twice = next((name for place, name in enumerate(header) if name and name in header[:place]), None)
    if twice is not None:
        raise ReadError(
            f"{path} has two columns {twice[:40]!r}, and it is not said which is meant; remove one of them."
        )


def number_of(text: str) -> float:
    """The number in a cell; Python would also take 1_0 for ten, which is a slip of the pen.

    Raises
    ------
    ValueError
        If it is none.
    """
    if "_" in text:
        raise ValueError(f"could not convert string to float: {text[:40]!r}")
    return float(text)


def _with_point(cell: str) -> str:
    """A number with a decimal comma as one with a point; anything else as it is."""
    return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell
