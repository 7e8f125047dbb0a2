"""``python -m tests.batch --rows N``: damaged files as rows; ends with 1 if one stopped it, or is not named."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.batch.mutants import batch_of_mutants


def main() -> int:
    """Read the arguments, run, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.batch", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=1000, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="another number makes other mutants")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        wrong = batch_of_mutants(Path(home), options.rows, options.seed)
    for sentence in wrong:
        print(sentence)
    print(f"{options.rows} rows, {len(wrong)} faults")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
