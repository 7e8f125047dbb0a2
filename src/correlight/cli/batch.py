"""``correlight batch``: hundreds of pairs, on one machine or a cluster, and nothing lost."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from correlight.cli.options import Crate, ExitZero, FailOn, Signed, Whole
from correlight.cli.terminal import ACCEPTED, exit_code, printable, row_bar, tell_notes
from correlight.errors import UsageError, WriteError
from correlight.output.asked import grid_choice
from correlight.parsing import resolved
from correlight.progress import processors

if TYPE_CHECKING:
    from correlight.batch.plan import Plan
    from correlight.batch.pools import Pool
    from correlight.batch.run import Event


def batch(
    table: Path | None = None,
    /,
    *,
    output: Annotated[Path | None, Parameter(name=("--output", "-o"))] = None,
    match: str | None = None,
    table_only: Annotated[bool, Parameter(negative="")] = False,
    recipe: str | None = None,
    grid: Annotated[str | None, Signed] = None,
    workers: Whole | None = None,
    scheduler: str | None = None,
    slurm: Path | None = None,
    shard: str | None = None,
    collect: Path | None = None,
    crate: Crate = False,
    fail_on: FailOn = None,
    exit_zero: ExitZero = False,
) -> int:
    """Register many pairs that a table lists, and sum up what came of them.

    Started again with the same folder it goes on where it was: what is complete is not registered again.

    Parameters
    ----------
    table
        A CSV with the columns fixed and moving, and any of name, group and the options of register; with --match a
        folder.
    output
        The folder of the batch; it is made, or gone on with. With --table-only the table to write.
    match
        Two patterns for the names of the fixed and the moving images in a folder, such as `*_EM.tif,*_LM.tif`.
    table_only
        Write the table of the pairs that match, and register nothing.
    recipe
        Name of a recipe, or a TOML file, for rows that state none.
    grid
        As for register, for rows that state none; none leaves the registered images out.
    workers
        Rows to register side by side, each on one core; without it one per core.
    scheduler
        Address of a running scheduler of Dask whose workers are used.
    slurm
        A TOML file: workers, the number of jobs, and what dask-jobqueue's SLURMCluster takes.
    shard
        K/N: only the K-th of N parts, without any scheduler; --collect sums all parts up.
    collect
        Write the summary of a batch as it stands, and register nothing.
    """
    exit_code((), fail_on, exit_zero)
    if crate:
        from correlight.output.crate import must_be_installed

        must_be_installed()
    work = {"workers": workers, "scheduler": scheduler, "slurm": slurm, "shard": shard}
    if collect is not None:
        others = {"match": match, "table-only": table_only, "recipe": recipe, "grid": grid, "output": output, **work}
        _must_be_alone("--collect", {"a table": table, **{f"--{name}": given for name, given in others.items()}})
        return exit_code(_summed_up(collect, collect, crate), fail_on, exit_zero)
    if table is None or output is None:
        raise UsageError("A table of pairs and --output were expected, or --collect and the folder of a batch.")
    if table_only:
        others = {"recipe": recipe, "grid": grid, "crate": crate, **work}
        _must_be_alone("--table-only", {f"--{name}": given for name, given in others.items()})
        return _table_only(table, match, output)
    part = _part(shard)
    if sum(given is not None for given in work.values()) > 1:
        raise UsageError("--workers, --scheduler, --slurm and --shard exclude each other; give one of them.")
    if crate and part is not None:
        raise UsageError("--crate describes a whole batch; give it with --collect, when all parts are complete.")
    if workers is not None and workers < 1:
        raise UsageError(f"--workers expects a whole number from 1; got {workers}.")
    grid_choice(grid or "fixed", "--grid")
    plan = _plan(table, match).with_defaults(recipe, grid)
    tell_notes(plan.notes)

    from correlight.batch.plan import batch_folder, compare_plans, part_of, write_plan
    from correlight.batch.run import run_rows
    from correlight.batch.schedule import Schedule
    from correlight.batch.summary import entries_of

    _must_lie_elsewhere(table, output)
    with batch_folder(output, part) as out:
        tell_notes(compare_plans(out, plan))
        rows = plan.rows if part is None else part_of(plan.rows, *part)
        schedule = Schedule([row for row in rows if not row.problem], plan.home, str(out))
        if schedule.records:
            print(f"{len(schedule.records)} of {len(rows)} rows are complete already.")
        with row_bar(len(rows)) as bar, _pool(workers, scheduler, slurm, part, len(schedule)) as pool:
            # Not before somebody is there to carry it out.
            write_plan(out, plan)
            run_rows(rows, schedule, pool, out, partial(_tell, bar))
        if part is None:
            return exit_code(_summed_up(out, output, crate), fail_on, exit_zero)
        print(printable(f"Part {part[0]} of {part[1]} is complete; sum all up with --collect {output}"))
        return exit_code([entry.verdict for entry in entries_of(rows, out)], fail_on, exit_zero)


def _must_be_alone(option: str, others: Mapping[str, object]) -> None:
    """Refuse what an option would not heed."""
    given = [name for name, value in others.items() if value not in (None, False)]
    if given:
        raise UsageError(f"{option} does not go together with {', '.join(given)}; leave out one or the other.")


def _must_lie_elsewhere(table: Path, output: Path) -> None:
    """Refuse a table that the batch might replace, such as the summary of an earlier one."""
    if resolved(output) in resolved(table).parents:
        raise UsageError(f"The table {table} lies in the folder of the batch, which writes there; put it elsewhere.")


def _part(shard: str | None) -> tuple[int, int] | None:
    """The two numbers of K/N."""
    if shard is None:
        return None
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", shard, re.ASCII)
    number, parts = (int(text) for text in found.groups()) if found else (0, 0)
    if not 1 <= number <= parts:
        raise UsageError(f"--shard expects K/N, the K-th of N parts counted from 1, such as 1/4; got {shard!r}.")
    return number, parts


def _plan(table: Path, match: str | None) -> Plan:
    """The rows of a table, or those that the files of a folder make."""
    from correlight.batch.match import match_files
    from correlight.batch.plan import Plan
    from correlight.batch.table import read_table, table_of

    if match is None:
        if table.is_dir():
            raise UsageError(f"{table} is a folder; say with --match which of its files belong together.")
        read = read_table(table)
        return Plan(str(resolved(table).parent), read.rows, read.notes)
    matched = match_files(table, match)
    return Plan(str(resolved(table)), table_of(matched.cells).rows, matched.notes)


def _table_only(folder: Path, match: str | None, output: Path) -> int:
    """Write the table of the pairs that match."""
    from correlight.batch.match import match_files, write_table

    if match is None:
        raise UsageError("--table-only writes the table of the files that match; say with --match which.")
    matched = match_files(folder, match)
    write_table(output, folder, matched)
    print(printable(f"{len(matched.cells)} pair{'s' * (len(matched.cells) != 1)}: {output}"))
    tell_notes(matched.notes)
    return ACCEPTED


@contextmanager
def _pool(
    workers: int | None, scheduler: str | None, slurm: Path | None, part: tuple[int, int] | None, rows: int
) -> Iterator[Pool]:
    """Where rows are registered, as the options say."""
    from correlight.batch import pools

    cores = processors()
    wanted = min(workers or cores, rows)
    if scheduler is not None:
        chosen: AbstractContextManager[Pool] = pools.running(scheduler)
    elif slurm is not None:
        chosen = pools.slurm(slurm)
    elif part is not None or wanted <= 1 or (workers is None and not pools.installed("distributed")):
        if part is None and wanted > 1:
            tell_notes(["rows are registered one after the other, as the extra cluster of correlight is not installed"])
        chosen = pools.one_process()
    else:
        chosen = pools.local(wanted)
    with chosen as pool:
        yield pool


def _tell(bar: Callable[[int], None], event: Event) -> None:
    """A line for every row: on standard output what came of it, on standard error what went wrong."""
    bar(event.done)
    outcome = event.outcome
    if event.again:
        tell_notes(
            [f"{event.row.name} is tried once more, with no other row beside it: {outcome.sentence.rstrip('.')}"]
        )
    elif outcome.record is None:
        print(printable(f"correlight: {event.row.name} failed: {outcome.sentence}"), file=sys.stderr)
    else:
        figures, left = outcome.record.figures, ""
        if event.done < event.total:
            left = f", about {_duration(event.left)} left"
        verdict = f"{figures.status} ({figures.confidence:.2f})"
        print(printable(f"{event.done} of {event.total}{left}: {verdict} {event.row.name}"), flush=True)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _summed_up(out: Path, said: Path, crate: bool) -> list[str | None]:
    """Write the summary of a batch, say what is in it, and return the verdicts."""
    from correlight.batch.crate import write_batch_crate
    from correlight.batch.plan import read_plan
    from correlight.batch.summary import WORDS, entries_of, write_summary
    from correlight.output.crate import NAME

    plan = read_plan(out)
    entries = entries_of(plan.rows, out)
    try:
        counts = write_summary(plan.notes, out, entries)
        if crate:
            write_batch_crate(out, entries)
        else:
            # One of before would describe what is no longer there.
            (out / NAME).unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            f"The summary in {said} cannot be written ({error.strerror or error}); rows that are complete stay so, so "
            "run the same again when there is room and permission."
        ) from error
    told = ", ".join(f"{count} {WORDS[name]}" for name, count in counts.items())
    print(f"{len(entries)} row{'s' * (len(entries) != 1)}: {told}.")
    print(printable(f"Summary: {said / 'summary.html'}"))
    return [entry.verdict for entry in entries]
