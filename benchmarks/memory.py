"""The peak memory of a worker process. Only the standard library, so that workers in any environment can ask."""

from __future__ import annotations

import resource
import sys
from pathlib import Path


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
