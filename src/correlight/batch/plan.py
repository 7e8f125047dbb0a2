"""The folder of a batch: whose it is, what is to be done in it, and which part of that."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from correlight.batch.record import FAILED, RESULTS, write_whole
from correlight.batch.table import Row
from correlight.errors import CorrelightError, ReadError, UsageError, WriteError
from correlight.output.claim import OURS, Busy, cannot_be_made, claimed, held
from correlight.output.target import KEPT
from correlight.parsing import LIMIT, read_json

PLAN = "batch.json"
_WRITTEN_BY = "correlight batch"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a batch does.

    Parameters
    ----------
    home : str
        The folder that relative paths in the table start from, absolute.
    rows : tuple of Row
        All rows.
    notes : tuple of str
        What of the table was not understood.
    """

    home: str
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def with_defaults(self, **cells: str | None) -> Plan:
        """The same where rows that leave these cells empty have them filled."""
        given = {name: text for name, text in cells.items() if text is not None}
        return replace(self, rows=tuple(replace(row, cells={**given, **row.cells}) for row in self.rows))


def write_plan(out: Path, plan: Plan) -> None:
    """Write down what a batch does, for those who collect it."""
    content = {"written_by": _WRITTEN_BY, **asdict(plan)}
    write_whole(out / PLAN, json.dumps(content, indent=1) + "\n")


def read_plan(out: Path) -> Plan:
    """What a batch does.

    Raises
    ------
    ReadError
        If the folder holds no batch.
    """
    content = read_json(out / PLAN, "the plan of a batch", limit=LIMIT)
    try:
        return Plan(content["home"], tuple(Row(**row) for row in content["rows"]), tuple(content["notes"]))
    except (KeyError, TypeError) as error:
        raise ReadError(f"{out / PLAN} is no plan of a batch that this version knows; start it anew.") from error


@contextmanager
def batch_folder(out: Path, part: tuple[int, int] | None = None) -> Iterator[Path]:
    """The folder of a batch, made if need be, to which no other batch writes meanwhile.

    Parameters
    ----------
    out : Path
        Where the batch belongs.
    part : (int, int), optional
        K and N: other parts of N may write beside this one.

    Yields
    ------
    Path
        The folder, absolute. What killed runs left in it is gone.

    Raises
    ------
    UsageError
        If it holds something else, or another batch writes to it.
    WriteError
        If it cannot be made.
    """
    target = Path(os.path.abspath(out))
    if not target.parent.is_dir():
        raise WriteError(f"{out} cannot be made as {target.parent} is no folder; make that one first.")
    try:
        target.mkdir(exist_ok=True)
        if not (target / PLAN).exists() and any(not OURS.fullmatch(name) for name in os.listdir(target)):
            raise UsageError(f"The folder {out} holds something else than a batch; choose another name.")
        (target / RESULTS).mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_be_made(out, error) from error
    mine = target if part is None else target / f"part-{part[0]}-of-{part[1]}"
    with claimed(mine, out):
        _must_be_alone(target, out, part)
        _sweep(target, alone=part is None)
        KEPT.append(f"what is complete in {out} was kept; run the same again for the rest")
        yield target
        KEPT.clear()


def _must_be_alone(target: Path, out: Path, part: tuple[int, int] | None) -> None:
    """Refuse the whole of a batch beside a part of it, and parts of another number of parts."""
    others = [target] if part is not None else []
    for name in os.listdir(target):
        if name.startswith(".part-") and name.endswith(".lock"):
            other = target / name.removeprefix(".").removesuffix(".lock")
            if part is None or not other.name.endswith(f"-of-{part[1]}"):
                others.append(other)
    if any(held(other) for other in others):
        raise Busy(f"Another run is writing {out} at this moment; wait until it ends, or choose another name.")


def _sweep(target: Path, alone: bool) -> None:
    """Remove what killed runs left beside results, and, where nobody else writes, beside the files of the batch."""
    for home in (target / RESULTS, target / FAILED, target):
        with suppress(FileNotFoundError):
            for name in sorted(os.listdir(home)):
                if not OURS.fullmatch(name):
                    continue
                if home == target / RESULTS:
                    whole = home / re.sub(r"(\.[0-9a-f]{8}\.\w+|\.lock)$", "", name[1:])
                    with suppress(CorrelightError), claimed(whole, whole):
                        pass
                elif alone and (home / name).is_file():
                    (home / name).unlink(missing_ok=True)


def part_of(rows: Sequence[Row], number: int, parts: int) -> list[Row]:
    """The rows of one of N parts; those of a group stay together, as the first one helps the others.

    Parameters
    ----------
    rows : sequence of Row
        All rows.
    number : int
        Which part, from 1.
    parts : int
        How many there are.
    """
    units: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        units.setdefault(("group", row.group) if row.group else ("row", row.folder), []).append(row)
    loads: list[list[Row]] = [[] for _ in range(parts)]
    for _, unit in sorted(units.items(), key=lambda one: (-len(one[1]), one[0])):
        min(loads, key=len).extend(unit)
    return sorted(loads[number - 1], key=lambda row: row.folder)
