"""Killed at any moment and started again: nothing finished is done again, and nothing is half-written or left over."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.batch.pools import one_process
from correlight.batch.record import RESULTS, read_record
from correlight.batch.row import Work
from correlight.batch.run import Event, run_rows
from correlight.batch.schedule import Schedule
from correlight.batch.table import table_of
from tests.batch.rows import COMMAND, HASTY, environment, left_over, run, run_here, write_couple, write_rows

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
ROWS, KILLS = 10, 20


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of rows that take a tenth of a second each, and the summary of a batch that nobody disturbed."""
    home = tmp_path_factory.mktemp("killed")
    rows = []
    for number in range(ROWS):
        write_couple(home, f"{number}_EM.tif", f"{number}_LM.tif", number)
        rows.append({"name": f"r{number}", "fixed": f"{number}_EM.tif", "moving": f"{number}_LM.tif", **HASTY})
    write_rows(home / "t.csv", rows)
    assert run_here("t.csv", "-o", "whole", "--shard", "1/1", "--exit-zero", home=home).returncode == 0
    assert run_here("--collect", "whole", "--exit-zero", home=home).returncode == 0
    return home


def children(pid: int) -> list[int]:
    """Processes that a process started, and theirs."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [one for child in map(int, found) for one in (child, *children(child))]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def finished(out: Path) -> dict[str, int]:
    """When the record of each complete row was written."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob(f"{RESULTS}/[!.]*/row.json")}


def until(condition, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@linux
@pytest.mark.slow
def test_twenty_kills_lose_nothing(home: Path) -> None:
    """Whole batches on local workers and parts in one process; the command, or a worker of it, at a random moment."""
    pytest.importorskip("distributed")
    rng, out = np.random.default_rng(5), home / "killed"
    before: dict[str, int] = {}
    ways = (["--shard", "1/1"], ["--shard", "1/1"], ["--workers", "2"])
    for kill in range(KILLS):
        words = [*COMMAND, "t.csv", "-o", "killed", "--exit-zero", *ways[kill % 3]]
        with subprocess.Popen(words, cwd=home, env=environment(), stdout=subprocess.PIPE, text=True) as batch:
            assert batch.stdout is not None
            if kill % 4:
                # Once it is at work, and a little later; else wherever it is by then.
                until(lambda out=out: batch.poll() is not None or bool(left_over(out / RESULTS)))
                time.sleep(rng.uniform(0, 0.15))
            else:
                time.sleep(rng.uniform(0.1, 2.0))
            started = children(batch.pid)
            whom = batch.pid if kill % 5 else int(rng.choice([*started, batch.pid]))
            if alive(whom):
                os.kill(whom, signal.SIGKILL)
            if whom == batch.pid:
                batch.wait()
                # Nobody goes on in secret.
                until(lambda started=started: not any(map(alive, started)))
            else:
                assert batch.wait(60) in (0, -signal.SIGKILL)
        for name, when in before.items():
            assert finished(out)[name] == when, "a finished row was done again"
        before = finished(out)
        for name in before:
            assert read_record(out / RESULTS / name) is not None
        if len(before) == ROWS:
            # Begun anew, so that there is always something to lose.
            for name in list(before)[: ROWS // 2]:
                (out / RESULTS / name / "row.json").unlink()
                del before[name]
                (out / RESULTS / name).rename(home / f"gone-{kill}-{name}")
    done = run("t.csv", "-o", "killed", "--exit-zero", "--shard", "1/1", home=home)
    assert done.returncode == 0, done.stderr
    assert run("--collect", "killed", "--exit-zero", home=home).returncode == 0
    assert (out / "summary.json").read_bytes() == (home / "whole" / "summary.json").read_bytes()
    assert left_over(out) == []
    assert not list((out / "failed").glob("*"))


@linux
@pytest.mark.slow
def test_a_scheduler_that_is_killed_ends_the_batch_in_one_sentence(home: Path) -> None:
    pytest.importorskip("distributed")
    lines = [
        sys.executable,
        "-m",
        "distributed.cli.dask_scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        "0",
        "--no-dashboard",
    ]
    file = home / "scheduler.json"
    lines += ["--scheduler-file", str(file)]
    quiet: dict[str, Any] = {
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.DEVNULL,
        "env": environment(),
        "cwd": home,
    }
    with ExitStack() as ending:
        scheduler = ending.enter_context(subprocess.Popen(lines, **quiet))
        ending.callback(scheduler.kill)
        until(lambda: file.exists() and bool(file.read_text().strip()))
        address = json.loads(file.read_text())["address"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        one = ending.enter_context(subprocess.Popen([*worker, "--death-timeout", "5", "--no-nanny"], **quiet))
        ending.callback(one.kill)
        words = [*COMMAND, "t.csv", "-o", "lost", "--scheduler", address]
        batch = ending.enter_context(
            subprocess.Popen(words, cwd=home, env=environment(), stderr=subprocess.PIPE, text=True)
        )
        ending.callback(batch.kill)
        until(lambda: bool(finished(home / "lost")))
        scheduler.kill()
        _, said = batch.communicate(timeout=90)
    assert batch.returncode == 1
    assert "scheduler was lost" in said
    assert said.count("\n") == 1
    assert run("t.csv", "-o", "lost", "--exit-zero", "--shard", "1/1", home=home).returncode == 0
    assert len(finished(home / "lost")) == ROWS


class Dying:
    """A process that some rows end: the real one, which is killed when it begins with them."""

    def __init__(self, pool, doomed: dict[str, int]) -> None:
        self._pool, self._doomed = pool, doomed
        self.capacity, self.died = pool.capacity, pool.died

    def submit(self, work: Work):
        future = self._pool.submit(work)
        if self._doomed.get(work.row.name, 0):
            self._doomed[work.row.name] -= 1
            for process in list(self._pool._executor._processes.values()):
                process.kill()
        return future


def test_a_process_that_is_ended_is_named_and_its_row_tried_once_more(home: Path, tmp_path: Path) -> None:
    rows = [{"name": f"r{n}", "fixed": f"{n}_EM.tif", "moving": f"{n}_LM.tif", **HASTY} for n in range(3)]
    (tmp_path / RESULTS).mkdir()
    table = table_of(rows).rows
    events: list[Event] = []
    schedule = Schedule(table, str(home), str(tmp_path))
    with one_process() as pool:
        run_rows(table, schedule, Dying(pool, {"r0": 1, "r1": 2}), tmp_path, events.append)
    assert [(event.row.name, event.outcome.kind, event.again) for event in events] == [
        ("r0", "memory", True),
        ("r1", "memory", True),
        ("r2", "done", False),
        ("r0", "done", False),
        ("r1", "failed", False),
    ]
    assert "ended from outside, and once more with no other row beside it" in events[-1].outcome.sentence
    assert left_over(tmp_path / RESULTS) in ([], [".r1.lock"])


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of half a megabyte."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk takes the rights of the superuser")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


@linux
def test_a_full_disk_pauses_and_goes_on(home: Path, small_disk: Path) -> None:
    out = small_disk / "out"
    filler = small_disk / "filler"
    filler.write_bytes(b"\0" * 220_000)
    done = run("t.csv", "-o", out, "--shard", "1/1", "--exit-zero", home=home)
    assert done.returncode == 1, done.stdout
    assert done.stderr.startswith(f"correlight: The disk of {out} is full: ")
    assert done.stderr.count("\n") == 1
    complete = finished(out)
    assert 0 <= len(complete) < ROWS
    filler.unlink()
    subprocess.run(["mount", "-o", "remount,size=16m", str(small_disk)], check=True)
    assert run_here("t.csv", "-o", out, "--shard", "1/1", "--exit-zero", home=home).returncode == 0
    assert finished(out).items() >= complete.items()
    assert len(finished(out)) == ROWS
    assert left_over(out) == []
