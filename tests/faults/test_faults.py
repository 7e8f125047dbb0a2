"""A few trials of every fault, and that the trials would tell."""

import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from correlight.output.target import reserve
from tests.faults.scene import COMMANDS, content, incomplete, state
from tests.faults.trial import Trial

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot fork")
ROOT = Path(__file__).resolve().parents[2]


# What takes little is tried at two moments and in two of its kinds; all write their folders in the same way.
@pytest.mark.slow
@pytest.mark.parametrize(("each", "only"), [(2, "apply,convert,landmarks"), (1, "register,pair")])
def test_nothing_is_lost_and_nothing_half_written(each: int, only: str) -> None:
    """The long version is ``python -m tests.faults --each 50``."""
    command = [sys.executable, "-m", "tests.faults", "--each", str(each), "--seed", "5", "--commands", only]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout[-3000:]
    assert done.stdout.endswith(" 0 faults\n")
    # A small disk needs the rights to mount one.
    faults = {line.partition(",")[0] for line in done.stdout.splitlines() if re.search(r"\d+ trials, \d+ with", line)}
    assert len(faults) in (10, 11)


@pytest.fixture
def trial(tmp_path: Path) -> Trial:
    """A run of ``landmarks`` whose output was complete before."""
    command = next(one for one in COMMANDS if one.name == "landmarks")
    home = tmp_path / "run"
    home.mkdir()
    (home / "l.csv").write_text("landmarks")
    with reserve(home / "out") as folder:
        (folder / "moving_from_fixed.tfm").write_text("transform")
    return Trial(command, home, np.random.default_rng(0), 1.0, content(command, home), True, (), state(home))


def test_a_complete_run_is_no_fault(trial: Trial) -> None:
    assert trial.judged(0, "", ()) == []
    assert trial.judged(2, "correlight: a sentence.\n", (2,)) == []
    assert trial.judged(-signal.SIGKILL, "", (-signal.SIGKILL,)) == []


def test_what_is_wrong_is_told(trial: Trial) -> None:
    def told(words: str, code: int = 2, said: str = "correlight: a sentence.\n") -> None:
        assert any(words in what for what in trial.judged(code, said, (2,))), words

    told("exit code 1", 1)
    told("0 lines instead of one sentence", 2, "")
    told("said something else", 2, "Traceback\n")
    (trial.home / ".out.deadbeef.partial").mkdir()
    told("left over: .out.deadbeef.partial")
    (trial.home / "l.csv").write_text("")
    told("l.csv was lost or changed")
    (trial.home / "out" / "moving_from_fixed.tfm").write_text("half")
    told("output changed although the code was 2")
    told("other files than its manifest lists", 0, "")
    told("not as without the fault", 0, "")
    (trial.home / "out" / "moving_from_fixed.tfm").unlink()
    (trial.home / "out" / "manifest.json").unlink()
    (trial.home / "out").rmdir()
    assert incomplete(trial.command, trial.home, trial.reference) == ["out is missing"]
