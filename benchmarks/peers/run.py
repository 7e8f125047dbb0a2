"""Runs of peers on the draws of the benchmark: one row per run, one page for all peers.

``python -m benchmarks.peers --data FOLDER --peer sift --protocol free --seeds 3`` appends each run to
``benchmarks/results/peers.jsonl`` as soon as it is finished, passes over runs that stand there already, and writes
``peers.md`` beside it. ``docs/benchmark.md`` says what each peer is run with.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import resource
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import accuracy
from benchmarks.peers.attempt import Task
from benchmarks.peers.tables import PROTOCOLS, page
from benchmarks.peers.worker import save_task
from benchmarks.protocol import LARGEST_TURN, Draw, Pair, Protocol, draw, load_pairs
from benchmarks.tables import Row
from correlight.transforms import Affine

PEERS = ("sift", "mattes", "elastix", "ants")
ITSELF = "correlight"
# A run that computes longer has failed; the same for all, and as long as accuracy waits for correlight.
CPU_LIMIT = int(accuracy.TIME_LIMIT)
# ITK counts its threads by the first, the BLAS of NumPy and OpenMP by the others.
THREADS = ("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for and print the page."""
    given = sys.argv[1:] if arguments is None else arguments
    asked = _parse(given)
    asked.out.mkdir(parents=True, exist_ok=True)
    rows_file = asked.out / "peers.jsonl"
    if asked.table:
        print(write_page(rows_file))
        return 0
    cv2.setNumThreads(1)
    software = "" if asked.peer == ITSELF else _version(asked.python, asked.peer)
    done = {(r["peer"], r["protocol"], r["pair"], r["seed"]) for r in accuracy.load_rows(rows_file)}
    todo = [
        (pair, seed)
        for pair, seed in _runs(load_pairs(asked.data), asked.pairs, asked.seeds)
        if (asked.peer, asked.protocol, pair.name, seed) not in done
    ]
    try:
        for number, (pair, seed) in enumerate(todo, 1):
            row = measure(asked.peer, asked.protocol, pair, seed, asked.python)
            row |= {"package": row.get("package", software), "command": _command(given)}
            accuracy.append_row(rows_file, row)
            print(f"{number}/{len(todo)} {_line(row)}", flush=True)
    except KeyboardInterrupt:
        print("Interrupted; finished runs are kept, and the same command goes on from here.", file=sys.stderr)
        return accuracy.INTERRUPTED
    print(write_page(rows_file))
    return 0


def _runs(pairs: list[Pair], chosen: str | None, seeds: int) -> Iterator[tuple[Pair, int]]:
    """Every pair before the next seed of any."""
    known = {pair.name: pair for pair in pairs}
    names = list(known) if chosen is None else chosen.split(",")
    if unknown := [name for name in names if name not in known]:
        sys.exit(f"Pairs are named as in pairs.json; got {', '.join(unknown)}; choose from {', '.join(known)}.")
    for seed in range(seeds):
        yield from ((known[name], seed) for name in names)


def measure(peer: str, protocol: str, pair: Pair, seed: int, python: str = sys.executable) -> Row:
    """One run of a peer, or of correlight itself, compared with the truth."""
    row: Row = {"peer": peer, "protocol": protocol, "pair": pair.name, "specimen": pair.specimen, "seed": seed}
    if peer == ITSELF:
        return row | _itself(protocol, pair, seed)
    drawn = draw(pair, cast(Protocol, protocol), seed)
    outcome = _run_worker(python, peer, task_of(drawn, protocol, seed), mirror=protocol == "free")
    return row | judged(drawn, outcome) | {"threads": 1}


def task_of(drawn: Draw, protocol: str, seed: int) -> Task:
    """What a peer is told of a draw: grey images, the mask of the canvas, and the true size of the pixels."""
    assert drawn.moving_from_fixed is not None
    assert drawn.moving_mask is not None
    return Task(
        _grey(drawn.fixed),
        _grey(drawn.moving),
        drawn.moving_mask,
        1.0 / drawn.moving_from_fixed.scale,
        LARGEST_TURN.get(protocol, 180.0),
        seed,
    )


def judged(drawn: Draw, outcome: dict[str, Any]) -> Row:
    """What the row says of the outcome of a worker; a peer that does not refuse accepts every finite result."""
    found = None
    if outcome["matrix"] is not None and np.all(np.isfinite(outcome["matrix"])):
        matrix = np.asarray(outcome["matrix"], float)
        found = Affine.of(matrix[:2, :2], matrix[:2, 2])
    error = math.inf if found is None else drawn.error(found)
    failure = outcome["error"] or ("no finite result" if found is None and outcome["refusal"] is None else None)
    return {
        "success": error <= drawn.allowed_error,
        "accepted": found is not None and outcome["refusal"] is None,
        "error_px": error if math.isfinite(error) else None,
        "error_fraction": error / drawn.fixed.shape[-1] if math.isfinite(error) else None,
        "allowed_error_px": drawn.allowed_error,
        "failure": failure,
        "refusal": outcome["refusal"],
        "moving_from_fixed": None if found is None else found.matrix.tolist(),
        "seconds": outcome["seconds"],
        "cpu_seconds": outcome["cpu_seconds"],
        "peak_memory_mb": outcome["peak_memory_mb"],
    }


def _itself(protocol: str, pair: Pair, seed: int) -> Row:
    """The same row for correlight, which gets the files alone: neither mask nor pixel size nor protocol."""
    conditions = accuracy.Conditions(protocol, "auto", 1, 1, "", threading.Event())
    before = _computed_by_children()
    full = accuracy.measure(accuracy.Task(seed, (pair,), protocol), conditions)
    kept = ("success", "error_px", "error_fraction", "allowed_error_px", "failure", "seconds", "peak_memory_mb")
    predicted = ("error_scale", "under_bound", "true_over_predicted")
    status = full["status"]
    return {
        **{name: full[name] for name in kept},
        "cpu_seconds": _computed_by_children() - before,
        "accepted": status == "accepted",
        "refusal": status if status in ("doubtful", "refused") else None,
        "confidence": full["confidence"],
        **{name: full.get(name) for name in predicted},
        "threads": 1,
        "package": f"{full['version']} ({full['commit']})",
    }


def _computed_by_children() -> float:
    """Seconds that the processor has worked for the processes started so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run_worker(python: str, peer: str, task: Task, mirror: bool) -> dict[str, Any]:
    """Run a peer in a fresh process; what it could not finish is an outcome too."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "task.npz", Path(folder) / "outcome.json"
        save_task(given, task)
        command = [python, "-m", "benchmarks.peers.worker", peer, str(given), str(out)]
        command += ["--mirror"] * mirror + ["--limit", str(CPU_LIMIT)]
        began = time.perf_counter()
        call = subprocess.run(
            command, cwd=accuracy.ROOT, env=_environment(task.seed), capture_output=True, text=True, check=False
        )
        if out.exists():
            outcome: dict[str, Any] = json.loads(out.read_text())
            return outcome
        seconds = time.perf_counter() - began
    if call.returncode == -signal.SIGXCPU:
        reason = f"no result within {CPU_LIMIT} s of computing"
    else:
        reason = (call.stderr.strip().splitlines() or [f"exit {call.returncode}"])[-1]
    unknown = dict.fromkeys(("matrix", "refusal", "cpu_seconds", "peak_memory_mb"))
    return {**unknown, "error": reason, "seconds": seconds}


def _environment(seed: int) -> dict[str, str]:
    return {**os.environ, **dict.fromkeys(THREADS, "1"), "ANTS_RANDOM_SEED": str(seed + 1)}


def _grey(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Colours as the luminance that OpenCV makes of them."""
    plane = pixels.astype(np.float32)
    if plane.ndim == 3:
        plane = cv2.cvtColor(np.ascontiguousarray(np.moveaxis(plane, 0, -1)), cv2.COLOR_RGB2GRAY).astype(np.float32)
    return np.ascontiguousarray(plane)


def _version(python: str, peer: str) -> str:
    """The version of the peer's package; the call ends here where it is not installed."""
    command = [python, "-m", "benchmarks.peers.worker", peer, "--version"]
    call = subprocess.run(command, cwd=accuracy.ROOT, capture_output=True, text=True, check=False)
    if call.returncode:
        said = call.stderr.strip().splitlines()
        sys.exit(
            f"{peer} does not run in {python} ({said[-1] if said else call.returncode}); "
            "name a Python that has NumPy and the package of the peer with --python."
        )
    return call.stdout.strip()


def write_page(rows_file: Path) -> str:
    """Make the page of a file of rows, and write it beside them."""
    text = page(accuracy.load_rows(rows_file))
    rows_file.with_suffix(".md").write_text(text)
    return text


def _line(row: Row) -> str:
    told = ["right" if row["success"] else "wrong"]
    if row["error_px"] is not None:
        told.append(f"{row['error_px']:.1f} px")
    told += [str(row[name]) for name in ("failure", "refusal") if row[name] is not None]
    return (
        f"{row['peer']} {row['protocol']} {row['pair']} seed {row['seed']}: {', '.join(told)}, {row['seconds']:.1f} s"
    )


def _command(given: list[str]) -> str:
    """The command line, without the places of data and Python on this machine."""
    words = list(given)
    for option, name in (("--data", "FOLDER"), ("--out", "FOLDER"), ("--python", "PYTHON")):
        if option in words:
            words[words.index(option) + 1] = name
    return shlex.join(["python", "-m", "benchmarks.peers", *words])


def _parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Measure other programs.")
    parser.add_argument("--data", type=Path, help="folder that holds pairs.json")
    parser.add_argument("--peer", choices=(*PEERS, ITSELF), help="which program")
    parser.add_argument("--protocol", choices=tuple(PROTOCOLS), help="how pairs are drawn")
    parser.add_argument("--seeds", type=int, default=3, help="runs per pair (default 3)")
    parser.add_argument("--pairs", help="names from pairs.json, parted by commas (default: all)")
    parser.add_argument("--python", default=sys.executable, help="the Python that has the peer's package")
    parser.add_argument("--out", type=Path, default=accuracy.RESULTS, help="folder of the rows and the page")
    parser.add_argument("--table", action="store_true", help="only make the page again from the rows")
    asked = parser.parse_args(given)
    if not asked.table and None in (asked.data, asked.peer, asked.protocol):
        parser.error("--data, --peer and --protocol are needed to measure; --table alone makes the page again")
    if asked.seeds < 1:
        parser.error(f"--seeds is at least 1; got {asked.seeds}")
    if not asked.table and not (asked.data / "pairs.json").is_file():
        parser.error(f"{asked.data} holds no pairs.json; name the folder of the real images")
    return asked
