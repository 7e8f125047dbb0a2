"""The folder of a batch: whose it is, what is to be done in it, and which part of that."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from pydantic import TypeAdapter

from correlight.batch.match import relative
from correlight.batch.record import FAILED, RECORD, RESULTS, read_record, unchanged, write_whole
from correlight.batch.table import Row
from correlight.errors import CorrelightError, ReadError, UsageError, WriteError
from correlight.output.claim import OURS, Busy, cannot_be_made, claimed, held
from correlight.output.manifest import named_few
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

    def with_defaults(self, recipe: str | None = None, grid: str | None = None) -> Plan:
        """The same where rows that leave these cells empty have them filled.

        Raises
        ------
        CorrelightError
            If there is no such recipe, or it cannot be read.
        """
        given = {} if grid is None else {"grid": grid}
        if recipe is not None:
            from correlight.recipes import load

            load(recipe)
            # A file is meant from where somebody works, and written down as from where the table lies.
            given["recipe"] = relative(Path(recipe), Path(self.home)) if recipe.endswith(".toml") else recipe
        return replace(self, rows=tuple(replace(row, cells={**given, **row.cells}) for row in self.rows))


_PLAN = TypeAdapter(Plan)


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
    if not out.is_dir():
        raise ReadError(f"The folder of a batch was expected; {out} is none.")
    content = read_json(out / PLAN, "the plan of a batch", limit=LIMIT)
    try:
        return _PLAN.validate_python({name: content[name] for name in Plan.__slots__})
    except (KeyError, TypeError, ValueError) as error:
        raise ReadError(f"{out / PLAN} is no plan of a batch that this version knows; start it anew.") from error


def is_batch(out: Path) -> bool:
    """Whether a folder is that of a batch: the plan in it was written by one."""
    try:
        content = read_json(out / PLAN, "the plan of a batch", limit=LIMIT)
    except CorrelightError:
        return False
    return isinstance(content, dict) and content.get("written_by") == _WRITTEN_BY


def compare_plans(out: Path, plan: Plan) -> tuple[str, ...]:
    """What should be known where a batch goes on in a folder: results that no row of the table has any more.

    Raises
    ------
    UsageError
        If the folder holds results of another table: not one of its rows has the images of a row of this one.
    """
    try:
        before = read_plan(out)
    except ReadError:
        return ()

    now = {row.folder: row for row in plan.rows}
    kept = [row for row in before.rows if (out / RESULTS / row.folder / RECORD).is_file()]
    alike = [row for row in kept if row.folder in now and _images(row) == _images(now[row.folder])]
    # Tables in two places may name unlike images alike; one that was moved or copied names what it named.
    if before.home != plan.home and Path(before.home).is_dir():
        alike = [row for row in alike if _holds(out, row, Path(plan.home))]
    if kept and not alike:
        raise UsageError(
            f"The folder {out} holds the batch of another table, which registered other images; choose another name."
        )
    gone = sorted(row.folder for row in kept if row.folder not in now)
    if not gone:
        return ()
    return (f"{RESULTS} holds {named_few(gone)} of rows that the table no longer has",)


def _images(row: Row) -> tuple[str, str]:
    return row.cells.get("fixed", ""), row.cells.get("moving", "")


def _holds(out: Path, row: Row, home: Path) -> bool:
    record = read_record(out / RESULTS / row.folder)
    return record is not None and unchanged(record.inputs, home)


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
        if not is_batch(target) and any(not _begun(target, name) for name in os.listdir(target)):
            raise UsageError(f"The folder {out} holds something else than a batch; choose another name.")
        if any((target / name).is_symlink() for name in (RESULTS, FAILED)):
            raise UsageError(f"A folder of {out} is a link to somewhere else; choose another name.")
        (target / RESULTS).mkdir(exist_ok=True)
    except OSError as error:
        raise cannot_be_made(out, error) from error
    mine = target if part is None else target / f"part-{part[0]}-of-{part[1]}"
    with claimed(mine, out):
        _must_be_alone(target, out, part)
        _sweep(target, alone=part is None)
        KEPT.append(f"what is complete in {out} was kept; run the same again for the rest")
        try:
            yield target
        finally:
            if part is None and not (target / PLAN).exists():
                # Nothing came of it: nobody was there to register rows.
                with suppress(OSError):
                    (target / RESULTS).rmdir()
                    target.rmdir()
        KEPT.clear()


def _begun(target: Path, name: str) -> bool:
    """Whether something in a folder may be the beginning of a batch whose plan is not written yet."""
    return OURS.fullmatch(name) is not None or (name == RESULTS and not os.listdir(target / name))


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
