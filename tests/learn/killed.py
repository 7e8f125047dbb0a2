"""Trainings that are killed by SIGKILL in the middle of a step, after their first checkpoint.

``python -m tests.learn.killed FOLDER KIND ...`` lets each train in a process of its own and in a folder of its own;
these processes share what takes long to load.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

# At which update of weights: that of the discriminator of this step is done, that of the network is not.
AT = {"pix2pix": 20, "unpaired": 20, "superres": 12}


def killed(folder: Path, *kinds: str) -> None:
    """Let trainings begin in folders named by their kinds, and be killed.

    The command fails if one of them ended otherwise.
    """
    command = [sys.executable, "-m", "tests.learn.killed", str(folder), *kinds]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONWARNINGS": "", "PYTHONPATH": os.pathsep.join(map(str, (root / "src", root)))}
    subprocess.run(command, cwd=root, env=environment, check=True, timeout=240)


def _train(kind: str, folder: Path) -> None:
    from correlight.learn import steps
    from tests.learn import test_superres, test_translation

    take, count = steps.take, 0

    def mortal(optimiser: Any, network: Any, value: Any, at: float) -> None:
        nonlocal count
        count += 1
        if count == AT[kind]:
            os.kill(os.getpid(), signal.SIGKILL)
        take(optimiser, network, value, at)

    steps.take = mortal
    if kind == "superres":
        with test_superres.quick_training():
            test_superres.trained(folder)
    else:
        test_translation.trained(kind, folder, lambda words, fraction: None)


def main() -> int:
    """Let each kind begin in a child of this process."""
    from tests.learn import test_superres, test_translation  # noqa: F401  before the children are made

    for kind in sys.argv[2:]:
        folder = Path(sys.argv[1]) / kind
        folder.mkdir()
        child = os.fork()
        if not child:
            _train(kind, folder)
            os._exit(0)
        if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) != -signal.SIGKILL:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
