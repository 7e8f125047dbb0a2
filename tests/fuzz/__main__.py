"""``python -m tests.fuzz --minutes N``: damaged files for as long as you like; ends with 1 if one was not refused.

With ``--options``, sound files of every size and type, and every option of the commands at its limits.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import run


def main() -> int:
    """Read the arguments, run, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="another number makes other mutants")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-findings"), help="folder for what was found")
    parser.add_argument("--mutants", type=int, help="how many, in place of how long")
    parser.add_argument("--options", action="store_true", help="options and sizes in place of damaged files")
    options = parser.parse_args()
    if options.options:
        return limits(options.minutes, options.seed)
    with tempfile.TemporaryDirectory() as work:
        end = {"minutes": options.minutes} if options.mutants is None else {"most": options.mutants}
        report = run(seed=options.seed, work=Path(work), keep=options.keep.resolve(), **end)
    print(", ".join(f"{count} {what}" for what, count in sorted(report.counts.items())))
    for sentence, _ in report.faults:
        print(sentence)
    return 1 if report.faults else 0


def limits(minutes: float, seed: int) -> int:
    """The same of options and sizes."""
    from tests.faults.scene import load
    from tests.fuzz import options

    load()
    with tempfile.TemporaryDirectory() as work:
        report = options.run(minutes, seed, Path(work))
    for (command, code), count in sorted(report.counts.items()):
        print(f"{command}: {count} with {code}")
    most = f"at most {report.most_bytes / 1e9:.2f} GB and {report.most_seconds:.0f} s"
    print(f"{report.counts.total()} calls, {len(report.faults)} faults, {most}")
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
