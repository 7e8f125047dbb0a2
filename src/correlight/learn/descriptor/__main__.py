"""``python -m correlight.learn.descriptor -o FOLDER``: train the descriptor that the recipe `auto` searches with."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

# The processes share the processors already; libraries that start threads of their own only get in each other's way.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from correlight.errors import CorrelightError  # noqa: E402


def main() -> int:
    """Parse the command line and train."""
    try:
        from correlight.learn.descriptor.train import Settings, train
    except ModuleNotFoundError as error:
        print(f'Training needs {error.name}; install it with: pip install "correlight[learn]"', file=sys.stderr)
        return 2
    usual = Settings()
    parser = argparse.ArgumentParser(prog="python -m correlight.learn.descriptor", description=main.__doc__)
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for checkpoint, log and the two networks")
    parser.add_argument("--pictures", type=Path, action="append", default=[], help="real picture, or folder of them")
    parser.add_argument("--steps", type=int, default=usual.steps, help="batches to learn from")
    parser.add_argument("--seed", type=int, default=usual.seed, help="seed of everything")
    parser.add_argument("--start", type=Path, help="earlier descriptor.onnx to start from")
    parser.add_argument("--teacher", type=Path, help="earlier descriptor.onnx whose features are learned besides")
    parser.add_argument("--wide", action="store_true", help="a network that sees wider surroundings, and takes longer")
    parser.add_argument("--workers", type=int, default=1, help="processes that make batches")
    parser.add_argument("--no-photographs", action="store_true", help="leave out the pictures of scikit-image")
    given = parser.parse_args()
    settings = Settings(
        steps=given.steps,
        seed=given.seed,
        pictures=tuple(str(place) for place in given.pictures),
        photographs=not given.no_photographs,
        wide=given.wide,
    )
    try:
        print(train(given.out, settings, start=given.start, teacher=given.teacher, workers=given.workers))
    except CorrelightError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"Interrupted; the same command goes on from the last checkpoint in {given.out}.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
