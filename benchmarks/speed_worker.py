"""One registration from two files to the finished folder, in a process of its own; prints what each stage took."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from correlight.output.from_files import Asked, register_files

# Moving pixels per fixed pixel between which is searched where the files state no pixel sizes.
SCALES = 0.5, 2.0


class Stages:
    """Adds up the seconds between what a registration reports, by stage; those before the first belong to the start."""

    def __init__(self) -> None:
        self.wall = dict.fromkeys(("start", "search", "refine", "verify", "write"), 0.0)
        self.cpu = dict(self.wall)
        self._stage = "start"
        # Processor time counts from the start of the process.
        self._last = time.perf_counter(), 0.0

    def __call__(self, stage: str, fraction: float) -> None:
        """What `progress` of a registration is called with."""
        now = time.perf_counter(), time.process_time()
        self.wall[self._stage] += now[0] - self._last[0]
        self.cpu[self._stage] += now[1] - self._last[1]
        self._stage, self._last = stage, now


def main() -> int:
    """Register the two files named on the command line into the folder named third."""
    fixed, moving, out = (Path(name) for name in sys.argv[1:4])
    stages = Stages()
    out.mkdir()
    scale = SCALES if fixed.suffix == ".npy" else None
    done = register_files(Asked(fixed, moving, scale=scale), out, progress=stages)
    stages("write", 1.0)
    print(json.dumps({"wall": stages.wall, "cpu": stages.cpu, "status": done.result.status}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
