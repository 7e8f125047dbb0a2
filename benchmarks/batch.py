"""What a batch costs beyond its registrations: workers against one, overhead of a row, memory over rows, a long table.

    python -m benchmarks.batch workers --rows 200 --side 512
    python -m benchmarks.batch overhead --rows 20 --side 256
    python -m benchmarks.batch memory --rows 1000
    python -m benchmarks.batch table --rows 10000

Pairs are smooth noise and its negative, which are accepted; the memory is that of the process that registers the rows,
which are of 64 pixels.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from correlight.batch.cells import asked_of
from correlight.batch.plan import Plan, write_plan
from correlight.batch.pools import OneProcess, one_process
from correlight.batch.record import RECORD, RESULTS, stamps_of
from correlight.batch.row import Outcome, Work, inputs_of, run_row
from correlight.batch.run import run_rows
from correlight.batch.schedule import Schedule
from correlight.batch.table import Row, table_of
from correlight.geometry import Grid
from correlight.io import write_tiff
from correlight.output.from_files import register_files
from correlight.output.manifest import write_manifest
from correlight.output.target import reserve

NARROW = {"rotation": "-5..5", "scale": "0.95..1.05", "mirror": "no", "model": "rigid"}
HASTY = {"recipe": "fiducials", "grid": "none"}


def write_pairs(home: Path, count: int, side: int, cells: dict[str, str]) -> tuple[Row, ...]:
    """Pairs as files, and the rows of a table of them, which is written as well."""
    listed = []
    for number in range(count):
        rng = np.random.default_rng(number)
        rough = ndimage.gaussian_filter(rng.normal(size=(side, side)), 2.0)
        rough = (rough - rough.min()) / np.ptp(rough)
        for role, picture in (
            ("fixed", 20 + 200 * rough),
            ("moving", 220 - 200 * rough + rng.normal(size=rough.shape)),
        ):
            grid = Grid.of(rough.shape, (1.0, 1.0), unit="micrometre")
            write_tiff(home / f"{number}_{role}.tif", picture.clip(0, 255).astype(np.uint8), grid)
        files = {role: f"{number}_{role}.tif" for role in ("fixed", "moving")}
        listed.append({"name": f"r{number}", **files, **cells})
    lines = [",".join(listed[0]), *(",".join(row.values()) for row in listed)]
    (home / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return table_of(listed).rows


def batch(home: Path, out: str, *words: str) -> tuple[float, float]:
    """Seconds that ``correlight batch`` takes, and the processor seconds of all its processes."""
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", "import sys; from correlight.cli import main; sys.exit(main())", "batch"]
    subprocess.run([*command, "t.csv", "-o", out, "--exit-zero", *words], cwd=home, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - began, spent


def workers(home: Path, rows: int, side: int) -> str:
    """Seconds of a batch by one worker and by two."""
    write_pairs(home, rows, side, NARROW)
    (one, alone), (two, both) = (batch(home, f"out{count}", "--workers", str(count)) for count in (1, 2))
    return (
        f"{rows} pairs of {side} pixels: {one:.1f} s by one worker ({alone:.1f} processor seconds), {two:.1f} s by two "
        f"({both:.1f}), {one / two:.2f} times as fast"
    )


def timed_row(work: Work) -> tuple[Outcome, float]:
    """A row of a batch, and the processor seconds that it took."""
    began = time.process_time()
    return run_row(work), time.process_time() - began


def timed_registration(work: Work) -> float:
    """Processor seconds of the same registration without a batch."""
    began = time.process_time()
    asked = asked_of(work.row.cells, Path(work.home))
    with reserve(f"{work.target}-alone", inputs=asked.inputs) as folder:
        register_files(asked, folder, workers=1)
    return time.process_time() - began


class Timed(OneProcess):
    """A process beside this one that says what every row took, alone and in the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.alone: list[float] = []
        self.row: list[float] = []

    def submit(self, work: Work) -> Future[Outcome]:
        """Register the row alone first, then as a row."""
        if self._executor is None:
            super().submit(work).result()
            (Path(work.out) / "warm").mkdir(exist_ok=True)
        assert self._executor is not None
        self.alone.append(self._executor.submit(timed_registration, work).result())
        outcome, seconds = self._executor.submit(timed_row, work).result()
        self.row.append(seconds)
        answer: Future[Outcome] = Future()
        answer.set_result(outcome)
        return answer


def overhead(home: Path, rows: int, side: int) -> str:
    """Processor seconds of a row beyond those of its registration, those of the process that leads included."""
    table = write_pairs(home, rows + 1, side, NARROW)
    out = home / "out"
    (out / RESULTS).mkdir(parents=True)
    pool = Timed()
    with one_process():
        # The first row loads the models, and is no row of the figure.
        first = Schedule(table[:1], str(home), str(out))
        run_rows(table[:1], first, pool, out, lambda event: None)
        pool.alone.clear()
        pool.row.clear()
        began = time.process_time()
        schedule = Schedule(table[1:], str(home), str(out))
        run_rows(table[1:], schedule, pool, out, lambda event: None)
        leading = time.process_time() - began
    pool.close()
    alone, row = sum(pool.alone) / rows, (sum(pool.row) + leading) / rows
    return (
        f"{rows} pairs of {side} pixels: {alone:.3f} s a registration, {row:.3f} s a row, of which "
        f"{leading / rows:.4f} s are the process that leads: {100 * (row / alone - 1):.1f} % more"
    )


def resident(_: int) -> float:
    """Resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def memory(home: Path, rows: int) -> str:
    """Resident memory of the process that registers rows, now and then."""
    pairs = write_pairs(home, min(rows, 20), 64, NARROW | {"grid": "none"})
    (home / "out" / RESULTS).mkdir(parents=True)
    said = []
    with one_process() as pool:
        for number in range(rows):
            row = pairs[number % len(pairs)]
            again = replace(row, folder=f"{row.folder}-{number}")
            outcome = pool.submit(Work(again, str(home), str(home / "out"))).result()
            assert outcome.kind == "done", outcome.sentence
            # What came of it is of no interest, and would fill the disk.
            shutil.rmtree(home / "out" / RESULTS / again.folder)
            if number + 1 in (10, rows // 10, rows // 4, rows // 2, 3 * rows // 4, rows):
                assert pool._executor is not None
                said.append(f"{pool._executor.submit(resident, 0).result():.0f} MiB after {number + 1}")
                print(said[-1], flush=True)
    return f"{', '.join(said)} rows"


def long_table(home: Path, rows: int) -> str:
    """Seconds to plan, resume and sum up a table whose rows are all complete."""
    (one,) = write_pairs(home, 1, 64, HASTY)
    outcome = run_done(one, home)
    lines = [f"name,fixed,moving,{','.join(HASTY)}"]
    template = home / "out" / RESULTS / one.folder
    for number in range(rows):
        for role in ("fixed", "moving"):
            os.link(home / f"0_{role}.tif", home / f"c{number}_{role}.tif")
        lines.append(f"c{number},c{number}_fixed.tif,c{number}_moving.tif,{','.join(HASTY.values())}")
    (home / "t.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    names = lines[0].split(",")
    for row in table_of([dict(zip(names, line.split(","), strict=True)) for line in lines[1:]]).rows:
        work = Work(row, str(home), str(home / "out"))
        work.target.mkdir()
        for path in template.iterdir():
            if path.name not in (RECORD, "manifest.json"):
                os.link(path, work.target / path.name)
        stamps = stamps_of(inputs_of(work, asked_of(row.cells, home)))
        assert outcome.record is not None
        (work.target / RECORD).write_text(replace(outcome.record, key=row.key, inputs=stamps).to_json())
        write_manifest(work.target)
    # The folder counts as that of a batch.
    write_plan(home / "out", Plan(str(home), ()))
    took, spent = batch(home, "out", "--workers", "1")
    assert f'"rows": {rows}' in (home / "out" / "summary.json").read_text()
    return f"{rows} rows planned, found complete and summed up in {took:.1f} s ({spent:.1f} processor seconds)"


def run_done(row: Row, home: Path) -> Outcome:
    """A row, registered here."""
    (home / "out" / RESULTS).mkdir(parents=True)
    return run_row(Work(row, str(home), str(home / "out")))


def main() -> None:
    """Measure one of them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.batch", description=__doc__.partition("\n")[0])
    parser.add_argument("what", choices=("workers", "overhead", "memory", "table"))
    parser.add_argument("--rows", type=int, default=20)
    parser.add_argument("--side", type=int, default=256)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        if asked.what in ("workers", "overhead"):
            said = {"workers": workers, "overhead": overhead}[asked.what](home, asked.rows, asked.side)
        else:
            said = {"memory": memory, "table": long_table}[asked.what](home, asked.rows)
    print(f"{said} (load {os.getloadavg()[0]:.1f})")


if __name__ == "__main__":
    main()
