"""Mutants, made and read one after the other; those that lead to a fault are made smaller and kept."""

import os
import select
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.fuzz import seeds
from tests.fuzz.mutate import change

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 20.0  # seconds for one mutant; a busy machine takes long
_TRIES = 60  # to make a finding smaller


@dataclass
class Reader:
    """A process that reads, started anew after each death."""

    patience: float = PATIENCE
    process: subprocess.Popen[str] | None = None

    def outcome(self, name: str, path: Path) -> str:
        """As `child.outcome`, or that the process ended or did not answer."""
        if self.process is None:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzz.child"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                env=environment,
                cwd=path.parent,
            )
            wait = 10 * self.patience
        else:
            wait = self.patience
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(f"{name}\t{path}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return self.ended()
        if not select.select([self.process.stdout], [], [], wait)[0]:
            self.close()
            return f"fault: no answer within {wait:.0f} s"
        return self.process.stdout.readline().strip() or self.ended()

    def ended(self) -> str:
        """What is said of a process that died."""
        assert self.process is not None
        code = self.process.wait()
        self.close()
        return f"fault: the process ended with {code}"

    def close(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


@dataclass
class Report:
    """What became of the mutants."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, Path]] = field(default_factory=list)


def run(
    *,
    seed: int,
    work: Path,
    keep: Path,
    minutes: float = float("inf"),
    most: float = float("inf"),
    said: Callable[[str], object] = print,
) -> Report:
    """Make and read mutants for some time, or so many of them, each kind of file in turn.

    Mutant number n of a seed is the same wherever and however fast it is made.
    """
    report, reader = Report(), Reader()
    wholes = {name: seeds.write(name, work / "whole" / name) for name in seeds.NAMES}
    end, number = time.monotonic() + 60 * minutes, 0
    try:
        for name, whole in wholes.items():
            found = reader.outcome(name, whole)
            if found != "read":
                report.faults.append((f"{name} is not read unchanged: {found}", whole))
        while number < most and time.monotonic() < end:
            name = seeds.NAMES[number % len(seeds.NAMES)]
            whole = wholes[name]
            path = _copied(whole, work / "mutant" / whole.name)
            try:
                change(path, np.random.default_rng([seed, number]))
            except Exception as error:  # an earlier change left nothing that has the structure of the format
                report.counts[f"not made ({type(error).__name__})"] += 1
                number += 1
                continue
            found = reader.outcome(name, path)
            report.counts[found.partition(":")[0]] += 1
            if found.startswith("fault"):
                kept = _copied(path, keep / f"{seed}-{number}-{whole.name}")
                if kept.is_file():
                    _shrink(kept, whole, name, found, reader, work)
                report.faults.append((f"{name}, seed {seed}, number {number}: {found}", kept))
                said(f"{report.faults[-1][0]}; kept as {kept}")
            number += 1
    finally:
        reader.close()
    return report


def _copied(source: Path, target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.is_dir():
        shutil.rmtree(target)
    return Path((shutil.copytree if source.is_dir() else shutil.copyfile)(source, target))


def _shrink(kept: Path, whole: Path, name: str, fault: str, reader: Reader, work: Path) -> None:
    """Undo as many of the changes as can be undone without losing the fault."""
    before, now = whole.read_bytes(), bytearray(kept.read_bytes())
    if len(before) != len(now):
        return
    trial = work / "smaller" / whole.name
    trial.parent.mkdir(exist_ok=True)
    for place in [n for n in range(len(now)) if now[n] != before[n]][:_TRIES]:
        less = bytearray(now)
        less[place] = before[place]
        trial.write_bytes(less)
        if reader.outcome(name, trial) == fault:
            now = less
    kept.write_bytes(now)
