"""One registration in a process of its own, so that its peak memory is its own: two files in, one JSON file out.

The process does not know the truth; it is started by `benchmarks.accuracy`, which does. Time runs from the opening of
the first file to the result, without the start of Python and the import of the package. Memory includes both.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import cv2

from correlight.errors import CorrelightError
from correlight.io import read
from correlight.register import register


def main(arguments: list[str] | None = None) -> int:
    """Register the two files named on the command line; 0 also where correlight says that it cannot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker")
    parser.add_argument("fixed", type=Path)
    parser.add_argument("moving", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    began = time.perf_counter()
    outcome: dict[str, Any]
    try:
        result = register(
            read(asked.fixed), read(asked.moving), recipe=asked.recipe, seed=asked.seed, workers=asked.threads
        )
        outcome = {"result": result.to_json(), "error": None}
    except CorrelightError as error:
        outcome = {"result": None, "error": str(error)}
    outcome["seconds"] = time.perf_counter() - began
    outcome["peak_memory_mb"] = peak_memory_mb()
    asked.out.write_text(json.dumps(outcome))
    return 0


def peak_memory_mb() -> float:
    """Largest resident set of this process in MiB.

    On Linux ``ru_maxrss`` outlives the start of a program and would count the parent's memory; the high-water mark
    of the process's own memory map does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            if line.startswith("VmHWM:"):
                return float(line.split()[1]) / 2**10
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


if __name__ == "__main__":
    sys.exit(main())
