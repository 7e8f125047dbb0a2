"""A table of image pairs for training, one per row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from correlight.errors import ReadError
from correlight.exchange.flat import TABLE_LIMIT
from correlight.exchange.spreadsheet import columns_and_rows, number_of
from correlight.io import calibration

_COLUMNS = ("fixed", "moving", "transform", "fixed_channel", "moving_channel", "fixed_spacing", "moving_spacing")
_MOST_PAIRS = 10_000
# What stands in place of a transform where two images lie on each other pixel by pixel.
REGISTERED = "registered"

Role = Literal["fixed", "moving"]


@dataclass(frozen=True, slots=True)
class Row:
    """One pair, as the table states it.

    Parameters
    ----------
    number : int
        Of the row, from 1.
    fixed, moving : Path
        The two files.
    transform : Path or None
        A result folder or a transform file; None where there is none.
    registered : bool
        Whether the images are said to lie on each other pixel by pixel.
    channels : (str or None, str or None)
        Channels of the two.
    spacings : (float or None, float or None)
        Micrometres per pixel in place of what the files state.
    """

    number: int
    fixed: Path
    moving: Path
    transform: Path | None
    registered: bool
    channels: tuple[str | None, str | None]
    spacings: tuple[float | None, float | None]

    @property
    def name(self) -> str:
        """For messages and the report."""
        return self.fixed.name if self.fixed == self.moving else f"{self.fixed.name} with {self.moving.name}"


def read_pairs(path: str | Path, alone: Role | None = None) -> tuple[Row, ...]:
    """The pairs in a CSV with the columns ``fixed`` and ``moving``, and any others that `Row` has.

    Paths are relative to the table. The column ``transform`` holds the folder of a result, a transform file, or the
    word ``registered`` for images that lie on each other pixel by pixel; pairs without are registered first.

    Parameters
    ----------
    path : str or Path
        The table.
    alone : {"fixed", "moving"}, optional
        The only column of images that counts: each is a pair with itself, on its own pixels.

    Raises
    ------
    ReadError
        If the table cannot be read, has other columns or a pair twice, or a cell does not hold what it should.
    """
    heads, lines = columns_and_rows(path, TABLE_LIMIT, _MOST_PAIRS)
    unknown = [name for name in heads if name not in _COLUMNS]
    needed = {"fixed", "moving"} if alone is None else {alone}
    if not needed <= set(heads) or unknown:
        what = f"unknown: {', '.join(unknown)}" if unknown else f"{path} has {', '.join(heads)}"
        optional = "all but two" if alone is None else f"all but {alone}"
        raise ReadError(f"A table of pairs has the columns {', '.join(_COLUMNS)} ({optional} optional); {what}.")
    rows: Iterator[dict[str, str]] = (dict(zip(heads, line, strict=True)) for line in lines)
    if alone is not None:
        rows = (_with_itself(cells, alone) for cells in rows)
    found = tuple(_row(cells, Path(path), number) for number, cells in enumerate(rows, start=1))
    first: dict[tuple[Path, Path, tuple[str | None, str | None]], int] = {}
    for row in found:
        known = first.setdefault((row.fixed.resolve(), row.moving.resolve(), row.channels), row.number)
        if known != row.number:
            # One of them may be learned from and the other held out, which would then test nothing.
            raise ReadError(
                f"Each pair was expected once in {path}; rows {known} and {row.number} are one: {row.name}."
            )
    return found


def _with_itself(cells: dict[str, str], role: Role) -> dict[str, str]:
    """The cells of an image in place of those of both."""
    both = {"fixed", "moving"}
    own = {name.removeprefix(role): text for name, text in cells.items() if name.startswith(role)}
    return {"transform": REGISTERED, **{part + name: text for part in both for name, text in own.items()}}


def _row(cells: dict[str, str], table: Path, number: int) -> Row:
    if any("\0" in value for value in cells.values()) or not (cells["fixed"] and cells["moving"]):
        raise ReadError(f"The names of two images were expected in row {number} of {table}.")

    def spacing(name: str) -> float | None:
        text = cells.get(name, "")
        if not text:
            return None
        try:
            value = number_of(text)
        except ValueError:
            value = float("nan")
        if not calibration.SMALLEST <= value <= calibration.LARGEST:
            raise ReadError(f"Micrometres per pixel were expected as {name} in row {number} of {table}; got {text!r}.")
        return value

    stated = cells.get("transform", "")
    registered = stated.lower() == REGISTERED
    return Row(
        number,
        table.parent / cells["fixed"],
        table.parent / cells["moving"],
        table.parent / stated if stated and not registered else None,
        registered,
        (cells.get("fixed_channel") or None, cells.get("moving_channel") or None),
        (spacing("fixed_spacing"), spacing("moving_spacing")),
    )
