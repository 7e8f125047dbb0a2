"""``python -m tests.fuzz --minutes N``: damaged files for as long as you like; ends with 1 if one was not refused."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import run


def main() -> int:
    """Read the arguments, run, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="another number makes other mutants")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for what was found")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        report = run(options.minutes, options.seed, Path(work), options.keep.resolve())
    print(", ".join(f"{count} {what}" for what, count in sorted(report.counts.items())))
    for sentence, _ in report.faults:
        print(sentence)
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
