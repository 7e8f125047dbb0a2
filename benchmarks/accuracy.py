"""Accuracy on real pairs at known random poses, from files to result: one row per run, one table per protocol.

``python -m benchmarks.accuracy --data FOLDER --protocol free --seeds 10`` appends each run to
``benchmarks/results/accuracy-free.jsonl`` as soon as it is finished, passes over runs that stand there already, and
writes ``accuracy-free.md`` beside it. ``docs/benchmark.md`` describes the protocols and what is counted.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.bound import compared
from benchmarks.crop import draw_cropped
from benchmarks.overlap import draw_overlapping
from benchmarks.protocol import Draw, Pair, Protocol, draw, draw_unrelated, load_pairs
from benchmarks.software import commit
from benchmarks.stretch import draw_stretched
from benchmarks.tables import PROTOCOLS, Row, report
from correlight.evidence.confidence import calibration
from correlight.evidence.predicted_error import PredictedError
from correlight.geometry import Grid
from correlight.transforms import Affine, Projective

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
# A run that takes longer has failed; no user would wait.
TIME_LIMIT = 600.0
INTERRUPTED = 130
# Where the scale is claimed: by how much it may differ from that, and how far the claim is off.
_PRIOR, _CLAIM = 1.15, 0.07


@dataclass(frozen=True)
class Conditions:
    """What all runs of one call have in common."""

    protocol: str
    recipe: str
    threads: int
    jobs: int
    command: str
    stop: threading.Event


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for and print the tables."""
    given = sys.argv[1:] if arguments is None else arguments
    asked = _parse(given)
    asked.out.mkdir(parents=True, exist_ok=True)
    if asked.table:
        for file in sorted(asked.out.glob("accuracy-*.jsonl")):
            print(write_table(file))
        return 0
    cv2.setNumThreads(1)
    recipe = "" if asked.recipe == "auto" else f"-{Path(asked.recipe).stem}"
    rows_file = asked.out / f"accuracy-{asked.protocol}{recipe}.jsonl"
    done = {(row["pair"], row["seed"]) for row in load_rows(rows_file)}
    seeds = range(asked.first_seed, asked.first_seed + asked.seeds)
    tasks = list(_tasks(load_pairs(asked.data), asked.protocol, asked.pairs, seeds, done))
    conditions = Conditions(
        asked.protocol, asked.recipe, 1 if asked.jobs > 1 else 2, asked.jobs, _command(given), threading.Event()
    )
    finished = _run_all(tasks, conditions, rows_file)
    if rows_file.exists():
        print(write_table(rows_file))
    return 0 if finished else INTERRUPTED


@dataclass(frozen=True)
class Task:
    """A run that is still to be made; its pixels are drawn when its turn comes."""

    seed: int
    pairs: tuple[Pair, ...]
    protocol: str

    def draw(self) -> Draw:
        """The pair at its random pose."""
        if self.protocol == "unrelated":
            return draw_unrelated(list(self.pairs), self.seed)
        if self.protocol == "overlap":
            return draw_overlapping(self.pairs[0], self.seed)
        if self.protocol == "stretch":
            return draw_stretched(self.pairs[0], self.seed)
        if self.protocol.startswith("crop"):
            return draw_cropped(self.pairs[0], int(self.protocol[4:]), self.seed)
        return draw(self.pairs[0], cast(Protocol, "free" if self.protocol == "prior" else self.protocol), self.seed)


def _tasks(
    pairs: list[Pair], protocol: str, chosen: str | None, seeds: range, done: set[tuple[str, int]]
) -> Iterator[Task]:
    """Runs that no row stands for yet, one seed of every pair before the next seed of any."""
    if protocol == "unrelated":
        made = {seed for _, seed in done}
        yield from (Task(seed, tuple(pairs), protocol) for seed in seeds if seed not in made)
        return
    names = [pair.name for pair in pairs] if chosen is None else chosen.split(",")
    known = {pair.name: pair for pair in pairs}
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"Pairs are named as in pairs.json; got {', '.join(unknown)}; choose from {', '.join(known)}.")
    for seed in seeds:
        for name in names:
            if (name, seed) not in done:
                yield Task(seed, (known[name],), protocol)


def _run_all(tasks: list[Task], conditions: Conditions, rows_file: Path) -> bool:
    """Run every task and append its row at once; False where Ctrl-C cut it short."""
    with ThreadPoolExecutor(conditions.jobs) as pool:
        try:
            runs = [pool.submit(measure, task, conditions) for task in tasks]
            for number, run in enumerate(as_completed(runs), 1):
                row = run.result()
                append_row(rows_file, row)
                print(f"{number}/{len(tasks)} {_line(row)}", flush=True)
        except KeyboardInterrupt:
            conditions.stop.set()
            pool.shutdown(cancel_futures=True)
            print("Interrupted; finished runs are kept, and the same command goes on from here.", file=sys.stderr)
            return False
    return True


def measure(task: Task, conditions: Conditions) -> Row:
    """Draw one pair, register its files in a process of its own, and compare with the truth."""
    drawn = task.draw()
    software = _software()
    with tempfile.TemporaryDirectory() as folder:
        outcome = _register(drawn, Path(folder), task.seed, conditions)
    result = outcome["result"]
    truth = drawn.moving_from_fixed
    nothing = Affine.identity()
    row: Row = {
        "protocol": conditions.protocol,
        "pair": drawn.name,
        "seed": task.seed,
        "success": False,
        "error_px": None,
        "error_fraction": None,
        "allowed_error_px": drawn.allowed_error,
        "status": "failed",
        "failure": outcome["error"],
        "confidence": None,
        "evidence": {},
        "true_pose": None if truth is None else _pose(truth),
        "found_pose": None,
        "rank_of_truth": None,
        "seconds": outcome["seconds"],
        "peak_memory_mb": outcome["peak_memory_mb"],
        "doing_nothing_error_px": _finite(drawn.error(nothing)),
        "doing_nothing_success": drawn.is_right(nothing),
        "recipe": conditions.recipe,
        "threads": conditions.threads,
        "jobs": conditions.jobs,
        "command": conditions.command,
        **software,
    }
    return row if result is None else {**row, **_judged(drawn, result)}


def _judged(drawn: Draw, result: dict[str, Any]) -> Row:
    """What the row says of a result: the verdict, and how far off it is."""
    found = Projective(np.asarray(result["moving_from_fixed"]["matrix"], float))
    error = drawn.error(found)
    places = np.asarray(result["predicted_places"], np.float32)
    predicted = PredictedError(places, Grid.of(drawn.fixed.shape[-2:]).resized(places.shape))
    ranks = [rank for rank, pose in enumerate(result["poses"], 1) if drawn.is_right(_transform(pose["matrix"]))]
    return {
        "success": drawn.is_right(found),
        "error_px": _finite(error),
        "error_fraction": _finite(error / drawn.fixed.shape[-1]),
        "status": result["status"],
        "confidence": result["confidence"],
        "evidence": {clue["name"]: clue["value"] for clue in result["evidence"]},
        "found_pose": _pose(Affine.of(found.linear, found.offset)),
        "model": result["moving_from_fixed"]["type"],
        "predicted_error_px": result["predicted_error"]["median"],
        "error_scale": calibration().error_scale,
        **compared(predicted, drawn.errors(found, predicted.grid)),
        "rank_of_truth": ranks[0] if ranks else None,
        "stages": result["seconds"],
    }


def _transform(matrix: list[list[float]]) -> Projective:
    return Projective(np.asarray(matrix, float))


def _pose(transform: Affine) -> dict[str, Any]:
    return {"rotation": transform.rotation, "scale": transform.scale, "mirrored": transform.mirrored}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _register(drawn: Draw, folder: Path, seed: int, conditions: Conditions) -> dict[str, Any]:
    """Write the two images as files without any metadata, and register them in a process of its own."""
    fixed, moving, out, log = (folder / name for name in ("fixed.npy", "moving.npy", "outcome.json", "log.txt"))
    for file, pixels in ((fixed, drawn.fixed), (moving, drawn.moving)):
        np.save(file, as_saved(pixels))
    command = [sys.executable, "-m", "benchmarks.worker", str(fixed), str(moving), str(out)]
    command += ["--recipe", conditions.recipe, "--seed", str(seed), "--threads", str(conditions.threads)]
    if conditions.protocol in ("prior", "overlap", "stretch") and drawn.moving_from_fixed is not None:
        # What two calibrated files would claim, wrong by up to a few percent themselves.
        claimed = drawn.moving_from_fixed.scale * float(np.exp(np.random.default_rng(seed).uniform(-_CLAIM, _CLAIM)))
        command += ["--scale", str(claimed / _PRIOR), str(claimed * _PRIOR)]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    began = time.perf_counter()
    with log.open("wb") as errors:
        process = subprocess.Popen(command, cwd=ROOT, env={**os.environ, **single}, stderr=errors)
        late = _wait(process, began + TIME_LIMIT, conditions.stop)
    if out.exists() and not late:
        outcome: dict[str, Any] = json.loads(out.read_text())
        return outcome
    said = log.read_text(errors="replace").strip().splitlines()
    reason = f"no result within {TIME_LIMIT:.0f} s" if late else (said[-1] if said else f"exit {process.returncode}")
    return {"result": None, "error": reason, "seconds": time.perf_counter() - began, "peak_memory_mb": None}


def _wait(process: subprocess.Popen[bytes], until: float, stop: threading.Event) -> bool:
    """Wait for the end of a process; True where it had to be stopped."""
    while True:
        try:
            process.wait(0.2)
            return False
        except subprocess.TimeoutExpired:
            if stop.is_set() or time.perf_counter() > until:
                process.kill()
                process.wait()
                return True


def as_saved(pixels: NDArray[Any]) -> NDArray[Any]:
    """Colours last, as NumPy files of RGB images have them."""
    return np.ascontiguousarray(np.moveaxis(pixels, 0, -1) if pixels.ndim == 3 else pixels)


def _software() -> dict[str, str]:
    return {"version": version("correlight"), "commit": commit()}


def load_rows(file: Path) -> list[Row]:
    """The rows of a file; a last line that an interruption cut short is left out."""
    rows = []
    for line in file.read_text().splitlines() if file.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def append_row(file: Path, row: Row) -> None:
    """Add one row, on a line of its own even after one that was cut short."""
    torn = file.exists() and file.stat().st_size > 0 and not file.read_bytes().endswith(b"\n")
    with file.open("a") as rows:
        rows.write(("\n" if torn else "") + json.dumps(row, allow_nan=False) + "\n")


def write_table(rows_file: Path) -> str:
    """Make the table of a file of rows, and write it beside them."""
    text = report(load_rows(rows_file))
    rows_file.with_suffix(".md").write_text(text)
    return text


def _line(row: Row) -> str:
    told = [row["status"]]
    if row["failure"] is not None:
        told.append(row["failure"])
    if row["error_px"] is not None:
        told += ["right" if row["success"] else "wrong", f"{row['error_px']:.1f} px"]
    return f"{row['pair']} seed {row['seed']}: {', '.join(told)}, {row['seconds']:.1f} s"


def _command(given: list[str]) -> str:
    """The command line, without the place of the data on this machine."""
    words = list(given)
    for option in ("--data", "--out"):
        if option in words:
            words[words.index(option) + 1] = "FOLDER"
    return shlex.join(["python", "-m", "benchmarks.accuracy", *words])


def _parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description="Measure accuracy on real pairs."
    )
    parser.add_argument("--data", type=Path, help="folder that holds pairs.json")
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), help="how pairs are drawn")
    parser.add_argument("--seeds", type=int, default=1, help="runs per pair; with unrelated, runs in all")
    parser.add_argument("--first-seed", type=int, default=0, help="seed of the first run (default 0)")
    parser.add_argument("--pairs", help="names from pairs.json, parted by commas (default: all; not with unrelated)")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (default 2)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of rows and tables")
    parser.add_argument("--recipe", default="auto", help="name or TOML file (default auto)")
    parser.add_argument("--table", action="store_true", help="only make the tables again from the rows")
    asked = parser.parse_args(given)
    if not asked.table and (asked.data is None or asked.protocol is None):
        parser.error("--data and --protocol are needed to measure; --table alone makes the tables again")
    if asked.seeds < 1 or asked.jobs < 1:
        parser.error("--seeds and --jobs are at least 1")
    if asked.pairs is not None and asked.protocol == "unrelated":
        parser.error("--pairs cannot be chosen with unrelated, which takes images from all of them")
    if not asked.table and not (asked.data / "pairs.json").is_file():
        parser.error(f"{asked.data} holds no pairs.json; name the folder of the real images")
    return asked


if __name__ == "__main__":
    sys.exit(main())
