"""One registration in a process of its own, so that its peak memory is its own: two files in, one JSON file out.

The process does not know the truth; it is started by `benchmarks.accuracy`, which does. Time runs from the opening of
the first file to the result, without the start of Python and the import of the package. Memory includes both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2

from benchmarks.memory import peak_memory_mb
from correlight.errors import CorrelightError
from correlight.io import read
from correlight.registration.register import register


def main(arguments: list[str] | None = None) -> int:
    """Register the two files named on the command line; 0 also where correlight says that it cannot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker")
    parser.add_argument("fixed", type=Path)
    parser.add_argument("moving", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--recipe", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--scale", type=float, nargs=2, help="moving pixels per fixed pixel between which to search")
    asked = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    began = time.perf_counter()
    outcome: dict[str, Any]
    try:
        result = register(
            read(asked.fixed),
            read(asked.moving),
            recipe=asked.recipe,
            scale=tuple(asked.scale) if asked.scale else None,
            seed=asked.seed,
            workers=asked.threads,
        )
        # `result.json` sums the predicted error up; its places stand in an image of their own.
        places = result.predicted_error.values.tolist()
        outcome = {"result": result.to_json() | {"predicted_places": places}, "error": None}
    except CorrelightError as error:
        outcome = {"result": None, "error": str(error)}
    outcome["seconds"] = time.perf_counter() - began
    outcome["peak_memory_mb"] = peak_memory_mb()
    asked.out.write_text(json.dumps(outcome))
    return 0


if __name__ == "__main__":
    sys.exit(main())
