"""One run under a fault, and what is wrong with how it ended and with what it left."""

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.faults.scene import Command, Run, incomplete, of_outputs, state

WELL = (0, 3)
Complaints = list[str]


@dataclass
class Trial:
    """One run under a fault.

    Parameters
    ----------
    command : Command
        What runs.
    home : Path
        A folder of its own, with the inputs.
    rng : Generator
        Chooses when and where the fault occurs.
    seconds : float
        How long the run takes without a fault.
    reference : dict
        What it then writes.
    earlier : bool
        Whether a complete output is there before, and may be replaced.
    sizes : tuple of Path
        An output without a fault, for its size.
    before : dict
        What was there before.
    """

    command: Command
    home: Path
    rng: np.random.Generator
    seconds: float
    reference: dict[str, str]
    earlier: bool
    sizes: tuple[Path, ...] = ()
    before: dict[str, str] = field(default_factory=dict)

    @property
    def more(self) -> tuple[str, ...]:
        """Further arguments."""
        return ("--overwrite",) if self.earlier else ()

    def run(self, before: Callable[[], object] | None = None, name: str = "said") -> Run:
        """Start the program."""
        return Run(self.command, self.home, *self.more, before=before, name=name)

    def pause(self) -> None:
        """Wait for any part of the time that a run takes, or a little longer; often until it writes."""
        time.sleep(self.rng.uniform(0.6 if self.rng.random() < 0.5 else 0.0, 1.05) * self.seconds)

    def room(self, least: int) -> int:
        """Bytes between nothing and a little more than the output takes, and something for the folders."""
        size = sum(path.stat().st_size for path in self.sizes) + least
        return int(self.rng.uniform(0, 1.1) * size) if self.rng.random() < 0.7 else int(self.rng.uniform(0, 4096))

    def judged(self, code: int, said: str, allowed: tuple[int, ...], *, changed: tuple[str, ...] = ()) -> Complaints:
        """What is wrong with how a run ended and with what it left; exit codes besides 0 and 3 are given."""
        wrong, found = [], state(self.home)
        lines = said.splitlines()
        if code not in (*WELL, *allowed):
            wrong.append(f"exit code {code}: {said[-300:]!r}")
        if any(not line.startswith("correlight: ") for line in lines):
            wrong.append(f"said something else: {said[:300]!r}")
        if code not in (*WELL, -signal.SIGKILL) and len(lines) != 1:
            wrong.append(f"{len(lines)} lines instead of one sentence with code {code}: {said[:300]!r}")
        if code in WELL or "was complete" in said:
            wrong += incomplete(self.command, self.home, self.reference)
        elif code != -signal.SIGKILL and of_outputs(self.command, found) != of_outputs(self.command, self.before):
            wrong.append(f"output changed although the code was {code}")
        for name, kind in self.before.items():
            if name.partition("/")[0] not in (*self.command.outputs, *changed) and found.get(name) != kind:
                wrong.append(f"{name} was lost or changed")
        if code != -signal.SIGKILL:
            wrong += self.leftovers(found)
        return wrong

    def leftovers(self, found: dict[str, str]) -> Complaints:
        """What nobody asked for."""
        known = {*self.command.outputs, *(name.partition("/")[0] for name in self.before)}
        left = sorted({name.partition("/")[0] for name in found} - known)
        return [f"left over: {', '.join(left)}"] if left else []
