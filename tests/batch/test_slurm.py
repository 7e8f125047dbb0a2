"""A batch on a real Slurm of one node, started here: ``pytest -m slurm``, as root, where Slurm is installed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.batch.rows import COMMAND, HASTY, environment, left_over, run, write_couple, write_rows

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "runuser")
CONF = """
ClusterName=local
SlurmctldHost={host}(127.0.0.1)
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
ReturnToService=2
SlurmctldPidFile={home}/slurmctld.pid
SlurmdPidFile={home}/slurmd.pid
SlurmdSpoolDir={home}/slurmd
StateSaveLocation={home}/state
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
SwitchType=switch/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
SlurmctldLogFile={home}/slurmctld.log
SlurmdLogFile={home}/slurmd.log
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


CONTROLLER, NODE = ["slurmctld", "-c", "-i"], ["slurmd"]


def _idle(env: dict[str, str], seconds: float = 60.0) -> bool:
    """Whether the node waits for work before long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if "idle" in subprocess.run(["sinfo", "-h"], env=env, capture_output=True, text=True, check=False).stdout:
            return True
        time.sleep(0.2)
    return False


def _last_words(home: Path) -> str:
    logs = [path.read_text().strip().splitlines()[-1:] for path in sorted(home.glob("*.log"))]
    return "; ".join(line for lines in logs for line in lines) or "no log"


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a Slurm of one node, which ends with the tests of this file."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
    if missing or not hasattr(os, "geteuid") or os.geteuid():
        pytest.skip(f"takes root and Slurm; lacks {', '.join(missing) or 'root'} (apt-get install slurm-wlm munge)")
    if subprocess.run(["squeue"], capture_output=True, check=False).returncode == 0:
        pytest.skip("a Slurm runs here already, which is left alone")
    home, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().partition(".")[0]
    (home / "state").mkdir()
    (home / "slurmd").mkdir()
    conf = home / "slurm.conf"
    conf.write_text(CONF.format(home=home, host=host, cores=os.cpu_count()))
    env = {**environment(), "SLURM_CONF": str(conf), "PATH": f"{os.environ['PATH']}:/usr/sbin"}
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    munge = ["runuser", "-u", "munge", "--", "munged"]
    ours = subprocess.run(munge, env=env, capture_output=True, check=False).returncode == 0
    started = [subprocess.run(words, env=env, capture_output=True, check=False) for words in (CONTROLLER, NODE)]
    try:
        if not (all(done.returncode == 0 for done in started) and _idle(env)):
            # Containers forbid what the daemons of Slurm need in ways that only they find out.
            pytest.skip(f"Slurm does not start here: {_last_words(home)}")
        yield env
    finally:
        subprocess.run(["scontrol", "shutdown"], env=env, check=False, capture_output=True)
        if ours:
            subprocess.run([*munge, "--stop"], env=env, check=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home, rows = tmp_path_factory.mktemp("batch"), []
    for number in range(6):
        write_couple(home, f"{number}_EM.tif", f"{number}_LM.tif", number)
        rows.append({"name": f"r{number}", "fixed": f"{number}_EM.tif", "moving": f"{number}_LM.tif", **HASTY})
    write_rows(home / "t.csv", rows)
    return home


def test_slurm_starts_the_workers(slurm: dict[str, str], home: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    (home / "cluster.toml").write_text(
        'workers = 2\nqueue = "debug"\nmemory = "1500MB"\nwalltime = "00:05:00"\ninterface = "lo"\n'
        f'python = "{sys.executable}"\nlog_directory = "{home / "logs"}"\n'
    )
    words = [*COMMAND, "t.csv", "-o", "out", "--slurm", "cluster.toml", "--exit-zero"]
    done = subprocess.run(words, cwd=home, env=slurm, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    assert json.loads((home / "out" / "summary.json").read_text())["counts"] == {"refused": 6}
    # The jobs are gone with the batch.
    queue = subprocess.run(["squeue", "-h", "-t", "R,PD"], env=slurm, capture_output=True, text=True, check=True)
    assert queue.stdout == ""


def test_an_array_of_slurm_runs_the_parts(slurm: dict[str, str], home: Path) -> None:
    command = " ".join(f"'{word}'" for word in COMMAND)
    script = f"#!/bin/sh\nexec {command} t.csv -o parts --shard $SLURM_ARRAY_TASK_ID/3 --exit-zero\n"
    (home / "array.sh").write_text(script)
    subprocess.run(["sbatch", "--wait", "--array=1-3", "array.sh"], cwd=home, env=slurm, check=True, timeout=240)
    assert run("--collect", "parts", "--exit-zero", home=home).returncode == 0
    assert (home / "parts" / "summary.json").read_bytes() == (home / "out" / "summary.json").read_bytes()
    assert left_over(home / "parts") == []


def test_what_slurm_does_not_know_is_one_sentence(slurm: dict[str, str], home: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    for text, words in (("workers = 0", "number of workers"), ("nonsense = 3", "nonsense"), ("a = ", "TOML")):
        (home / "bad.toml").write_text(text)
        done = run("t.csv", "-o", "none", "--slurm", "bad.toml", home=home)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
