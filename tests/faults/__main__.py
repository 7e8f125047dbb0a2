"""``python -m tests.faults --each N``: the commands under faults; ends with 1 if anything was lost or wrongly said.

Needs a system with fork. As root, a small disk is mounted that fills up, and runs give up their rights where these
would hide a fault; without, files may only become so long, and the user's own rights are taken away.
"""

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path

from tests.faults.run import FAULTS, run


def main() -> int:
    """Read the arguments, run, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--each", type=int, default=3, help="trials of each command under each fault")
    parser.add_argument("--seed", type=int, default=0, help="another number chooses other moments")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no trial after so long")
    parser.add_argument("--commands", default="", help="which commands to try, with commas; all without")
    parser.add_argument("--only", default="", help=f"part of a name of {', '.join(FAULTS)}")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        report = run(options.each, options.seed, Path(work), options.minutes, options.only, options.commands)
    ends: dict[tuple[str, str], Counter[int]] = {}
    for (command, fault, code), count in report.counts.items():
        ends.setdefault((fault, command), Counter())[code] += count
    for (fault, command), codes in sorted(ends.items()):
        said = ", ".join(f"{count} with {code}" for code, count in sorted(codes.items()))
        print(f"{fault}, {command}: {codes.total()} trials, {said}")
    for sentence in report.faults:
        print(sentence)
    print(f"{report.counts.total()} trials, {len(report.faults)} faults")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
