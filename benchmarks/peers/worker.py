"""One run of one peer in a process of its own: the two images in one file in, one JSON file out.

The process does not know the truth. Time runs from the opening of the file to the result, without the start of Python
and the import of the package; memory includes both. Run with ``--version`` it tells the version of the peer's package.

The time that a run may take is counted in seconds of computing, so that a busy machine does not fail it.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.memory import peak_memory_mb
from benchmarks.peers.attempt import Attempt, Task, best, mirrored, unmirrored


def main(arguments: list[str] | None = None) -> int:
    """Run the peer named on the command line; 0 also where it fails, with its reason in the outcome."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.worker")
    parser.add_argument("peer")
    parser.add_argument("task", type=Path, nargs="?")
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--mirror", action="store_true", help="try the mirror image of the moving image as well")
    parser.add_argument("--limit", type=int, default=600, help="seconds of computing after which the run has failed")
    parser.add_argument("--version", action="store_true")
    asked = parser.parse_args(arguments)
    peer: Any = import_module(f"benchmarks.peers.{asked.peer}")
    if asked.version:
        print(version(peer.PACKAGE))
        return 0
    spent = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (spent + asked.limit, resource.RLIM_INFINITY))
    began, computed = time.perf_counter(), time.process_time()
    outcome = _outcome(peer, load_task(asked.task), asked.mirror)
    outcome["seconds"] = time.perf_counter() - began
    outcome["cpu_seconds"] = time.process_time() - computed
    outcome["peak_memory_mb"] = peak_memory_mb()
    asked.out.write_text(json.dumps(outcome))
    return 0


def save_task(file: Path, task: Task) -> None:
    """Write what a peer is given."""
    np.savez(file, **vars(task))


def load_task(file: Path) -> Task:
    """Read what a peer is given."""
    with np.load(file) as stored:
        images = (stored["fixed"], stored["moving"], stored["moving_mask"])
        return Task(*images, float(stored["spacing"]), float(stored["widest_turn"]), int(stored["seed"]))


def _outcome(peer: Any, task: Task, mirror: bool) -> dict[str, Any]:
    attempts: list[Attempt] = []
    errors: list[str] = []
    for hand in (False, True) if mirror else (False,):
        try:
            attempt = peer.register(mirrored(task) if hand else task)
        # A peer may raise whatever it likes; that is its failure, and a row.
        except Exception as error:
            errors.append(" ".join(f"{type(error).__name__}: {error}".split()))
            continue
        attempts.append(unmirrored(attempt, task.moving.shape[1]) if hand else attempt)
    if not attempts:
        return {"matrix": None, "refusal": None, "error": errors[0]}
    chosen = best(attempts)
    matrix = None if chosen.matrix is None else chosen.matrix.tolist()
    return {"matrix": matrix, "refusal": chosen.refusal, "error": None}


if __name__ == "__main__":
    sys.exit(main())
