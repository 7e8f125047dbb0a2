"""What a user waits for: `correlight register` from two files to the finished output folder, through the shell.

``python -m benchmarks.files_to_output --data FOLDER`` measures seconds and peak memory on the deepclem demo pair and
appends the median of three runs to ``benchmarks/results/files-to-output.md``; with ``--every-pair`` one draw of every
pair (protocol free) and the median over the pairs. Unlike the seconds of `benchmarks.accuracy` these include the start
of Python, every written file and the report.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.accuracy import as_saved
from benchmarks.protocol import draw, load_pairs
from benchmarks.software import commit

RESULTS = Path(__file__).resolve().parent / "results" / "files-to-output.md"
FIXED, MOVING = Path("deepclem/EM.png"), Path("deepclem/Chromatin.png")
OPTIONS = ("--scale", "0.5..2")
HEAD = """# From files to finished output

Median over the runs of one call: wall time and the largest resident set of the process; the rest is start,
reading and writing.

| command | correlight | cores | runs | seconds | search / refine / verify / rest | peak memory, MB | exit codes |
|---|---|---:|---:|---:|---:|---:|---|
"""


def main(arguments: list[str] | None = None) -> int:
    """Measure and append one line to the table; 1 if a run did not end in a result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files_to_output", description="Measure the whole road.")
    parser.add_argument("--data", type=Path, required=True, help="folder of the real images")
    parser.add_argument("--runs", type=int, default=3, help="runs of which the median counts (default 3)")
    parser.add_argument("--every-pair", action="store_true", help="one run of every pair instead")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to append to")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = (
            drawn(asked.data, folder) if asked.every_pair else [(asked.data / FIXED, asked.data / MOVING)] * asked.runs
        )
        runs = [timed(*pair, folder / f"run-{number}") for number, pair in enumerate(files)]
        stages = [_stages(folder / f"run-{number}", seconds) for number, (_, seconds, _) in enumerate(runs)]
    names = f"{len(runs)} pairs" if asked.every_pair else f"{FIXED.name} {MOVING.name}"
    codes = sorted({code for code, _, _ in runs})
    line = (
        f"| `{' '.join(('correlight', 'register', names, '-o', 'out', *OPTIONS))}` "
        f"| {version('correlight')} ({commit()}) | {os.cpu_count()} | {len(runs)} "
        f"| {median(seconds for _, seconds, _ in runs):.1f}{_most(runs) if asked.every_pair else ''} "
        f"| {' / '.join(f'{median(values):.1f}' for values in zip(*stages, strict=True))} "
        f"| {median(memory for _, _, memory in runs):.0f} "
        f"| {', '.join(str(code) for code in codes)} |\n"
    )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with asked.out.open("a") as table:
        table.write(line if table.tell() else HEAD + line)
    print(HEAD + line, end="")
    # 0 is accepted, 3 doubtful or refused; anything else has written no output.
    return 0 if set(codes) <= {0, 3} else 1


def _stages(out: Path, seconds: float) -> tuple[float, float, float, float]:
    """Seconds of search, refinement and verdict, and the rest of a run."""
    told = json.loads((out / "result.json").read_text())["seconds"]
    return told["search"], told["refine"], told["verify"], seconds - told["total"]


def _most(runs: list[tuple[int, float, float]]) -> str:
    return f" (at most {max(seconds for _, seconds, _ in runs):.1f})"


def drawn(data: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Files of one draw of every pair."""
    files = []
    for pair in load_pairs(data):
        made = draw(pair, "free", 0)
        files.append((folder / f"{pair.name}-fixed.npy", folder / f"{pair.name}-moving.npy"))
        for file, pixels in zip(files[-1], (made.fixed, made.moving), strict=True):
            np.save(file, as_saved(pixels))
    return files


def timed(fixed: Path, moving: Path, out: Path) -> tuple[int, float, float]:
    """Exit code, seconds and peak memory in MiB of one call of the command line."""
    program = Path(sys.executable).with_name("correlight")
    command = [str(program), "register", str(fixed), str(moving), "-o", str(out), *OPTIONS]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    # The usage of this one child; RUSAGE_CHILDREN would keep the largest of all runs so far.
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    sys.exit(main())
