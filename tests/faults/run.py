"""Faults of every kind, one trial after the other: what is lost, half-written, left over or wrongly said is told."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tests.faults import scene
from tests.faults.scene import NOBODY, Command, Run, fresh, incomplete, restore, state
from tests.faults.trial import WELL, Complaints, Trial

_DISK = 3 * 2**20  # bytes of the small disk


def killed(trial: Trial) -> tuple[int, Complaints]:
    """Kill -9, and run again."""
    run = trial.run()
    trial.pause()
    run.send(signal.SIGKILL)
    code, said = run.wait()
    wrong = trial.judged(code, said, (-signal.SIGKILL,))
    if trial.earlier and code not in WELL:
        # Either output, the earlier or the new one, is there whole, or comes back with the next run.
        places = [*trial.home.glob(".*.earlier"), *(trial.home / name for name in trial.command.outputs)]
        if not any(place.exists() for place in places):
            wrong.append("the earlier output is lost")
    again = Run(trial.command, trial.home, "--overwrite")
    code_again, said = again.wait()
    return code, wrong + [f"next run: {what}" for what in trial.judged(code_again, said, ())]


def signalled(number: int) -> Callable[[Trial], tuple[int, Complaints]]:
    """A signal, now and then several times."""

    def fault(trial: Trial) -> tuple[int, Complaints]:
        run = trial.run()
        trial.pause()
        for _ in range(1 if trial.rng.random() < 0.7 else 3):
            run.send(number)
            time.sleep(0.01)
        code, said = run.wait()
        return code, trial.judged(code, said, (128 + number,))

    return fault


def size_limited(trial: Trial) -> tuple[int, Complaints]:
    """No file may become longer than so many bytes."""
    most = trial.room(0)

    def limit() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    # What is said goes into a file as well, which has no room either: only into a pipe there is always room.
    code, said = _through_pipe(trial, limit)
    return code, _full(trial, code, said)


def disk_full(trial: Trial) -> tuple[int, Complaints]:
    """Only so many bytes are left on the disk."""
    free = trial.room(40_000)
    filler = trial.home.parent / "filler"
    filler.unlink(missing_ok=True)
    with filler.open("wb") as file:
        about = os.statvfs(trial.home)
        with contextlib.suppress(OSError):
            file.write(b"\0" * max(0, about.f_bavail * about.f_frsize - free))
    code, said = _through_pipe(trial, lambda: None)
    filler.unlink()
    return code, _full(trial, code, said)


def _full(trial: Trial, code: int, said: str) -> Complaints:
    words = "" if code in WELL or "written" in said or "made" in said else f"does not say what failed: {said!r}"
    return trial.judged(code, said, (1,)) + ([words] if words else [])


def _through_pipe(trial: Trial, before: Callable[[], object]) -> tuple[int, str]:
    reader, writer = os.pipe()

    def led() -> None:
        os.dup2(writer, 2)
        before()

    run = trial.run(led)
    os.close(writer)
    with os.fdopen(reader, "r", errors="replace") as stream:
        said = stream.read()
    code, _ = run.wait()
    return code, said


def unreadable(trial: Trial) -> tuple[int, Complaints]:
    """One of the inputs belongs to somebody else."""
    name = str(trial.rng.choice(trial.command.inputs))
    (trial.home / name).chmod(0)
    code, said = _as_nobody(trial, trial.home)
    restore(trial.home)
    wrong = trial.judged(code, said, (2,))
    if code != 2 or name not in said:
        wrong.append(f"{name} is not named with code 2: {code}, {said!r}")
    return code, wrong


def read_only(trial: Trial) -> tuple[int, Complaints]:
    """Nothing can be written where the output belongs."""
    trial.home.chmod(0o555)
    code, said = _as_nobody(trial, None)
    restore(trial.home)
    wrong = trial.judged(code, said, (2,))
    if code != 2 or "out" not in said:
        wrong.append(f"the output is not named with code 2: {code}, {said!r}")
    return code, wrong


def _as_nobody(trial: Trial, owned: Path | None) -> tuple[int, str]:
    """Run without the rights of the superuser, who may read and write everything."""
    if os.geteuid():
        return trial.run().wait()
    if owned is not None:
        os.chown(owned, NOBODY, NOBODY)
    trial.home.parent.chmod(0o777)

    def drop() -> None:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)

    return _through_pipe(trial, drop)


def input_changed(trial: Trial) -> tuple[int, Complaints]:
    """An input is rewritten, cut short, lengthened, replaced or deleted during the run."""
    name = str(trial.rng.choice(trial.command.inputs))
    path, how = trial.home / name, int(trial.rng.integers(5))
    data = path.read_bytes()
    run = trial.run()
    trial.pause()
    if how == 0:
        place = int(trial.rng.integers(len(data)))
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x15]) + data[place + 1 :])
    elif how == 1:
        os.truncate(path, int(trial.rng.integers(len(data))))
    elif how == 2:
        with path.open("ab") as file:
            file.write(b"more\n")
    elif how == 3:
        path.with_name("new").write_bytes(data[::-1])
        path.with_name("new").replace(path)
    else:
        path.unlink()
    code, said = run.wait()
    # Before the first look at it the other content is the input, which may even be a sound one: then it is no fault.
    wrong = trial.judged(code, said, (2,), changed=(name,))
    if run.pid and code in WELL and how in (0, 2) and any("not as without" in what for what in wrong):
        record = [path for path in trial.home.glob("out/*.json") if path.name in ("result.json", "pair.json")]
        if not record or scene.state(trial.home)[name] in record[0].read_text():
            wrong = [what for what in wrong if "not as without" not in what]
    return code, wrong


def two_at_once(trial: Trial) -> tuple[int, Complaints]:
    """Two runs on one target, the second one a little later."""
    one = trial.run()
    time.sleep(trial.rng.uniform(0, 0.5 * trial.seconds) if trial.rng.random() < 0.7 else 0.0)
    other = trial.run(name="other")
    ends = [one.wait(), other.wait()]
    codes = sorted(code for code, _ in ends)
    wrong = [what for code, said in ends if code not in WELL for what in _refused(code, said)]
    wrong += incomplete(trial.command, trial.home, trial.reference) + trial.leftovers(state(trial.home))
    if not any(code in WELL for code in codes) or (not trial.earlier and all(code in WELL for code in codes)):
        wrong.append(f"exit codes {codes}: {ends}")
    return codes[-1], wrong


def _refused(code: int, said: str) -> Complaints:
    known = any(words in said for words in ("Another run is writing", "exists", "appeared", "during the run"))
    return [] if code == 2 and known and said.count("\n") == 1 else [f"the other run ended with {code}: {said!r}"]


def appears(trial: Trial) -> tuple[int, Complaints]:
    """Somebody puts a folder or a file where the output belongs."""
    name = str(trial.rng.choice(trial.command.outputs))
    path = trial.home / name
    if trial.earlier and path.is_dir():
        path = path / "notes.txt"
    run = trial.run()
    trial.pause()
    theirs = False
    with contextlib.suppress(OSError):
        if trial.rng.random() < 0.5 and not trial.earlier:
            path.mkdir()
            (path / "notes.txt").write_text("theirs")
            path = path / "notes.txt"
        else:
            with path.open("x") as file:
                file.write("theirs")
        theirs = True
    code, said = run.wait()
    wrong = []
    if theirs and code == 2:
        kept = [place for place in trial.home.rglob("*") if place.is_file() and place.read_bytes() == b"theirs"]
        if not kept:
            wrong.append("what appeared is lost")
        for place in kept:
            place.unlink()
        for place in trial.home.glob("out*"):
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
    elif theirs and not (path.is_file() and path.read_bytes() == b"theirs"):
        # Put there after the run had ended, or before it looked; then it must have been refused, or still be there.
        wrong.append(f"what appeared is lost, and the code was {code}")
    elif theirs:
        path.unlink()
    return code, wrong + trial.judged(code, said, (2,))


FAULTS: dict[str, Callable[[Trial], tuple[int, Complaints]]] = {
    "kill -9": killed,
    "SIGINT": signalled(signal.SIGINT),
    "SIGTERM": signalled(signal.SIGTERM),
    "SIGHUP": signalled(signal.SIGHUP),
    "file size limit": size_limited,
    "full disk": disk_full,
    "unreadable input": unreadable,
    "read-only folder": read_only,
    "changed input": input_changed,
    "two runs": two_at_once,
    "appearing output": appears,
}


@dataclass
class Report:
    """What became of the trials.

    Parameters
    ----------
    counts : Counter
        How many ended with which code, by command and fault.
    faults : list of str
        What was wrong, each with what is needed to try it again.
    """

    counts: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


@contextlib.contextmanager
def small_disk(place: Path) -> Iterator[Path | None]:
    """A disk of a few megabytes, where the system lets us have one."""
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_DISK}", "tmpfs", str(place)]
    if (
        os.geteuid()
        or shutil.which("mount") is None
        or subprocess.run(mount, capture_output=True, check=False).returncode
    ):
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=False)


def run(each: int, seed: int, work: Path, minutes: float = float("inf"), only: str = "", commands: str = "") -> Report:
    """Try every command under every fault.

    Parameters
    ----------
    each : int
        Trials of a command under a fault.
    seed : int
        Of the choice of moments and places.
    work : Path
        An empty folder.
    minutes : float
        After these no further trial is begun.
    only : str
        Part of the name of the faults to try; all without.
    commands : str
        Names of the commands to try, with commas; all without.
    """
    report, end = Report(), time.monotonic() + 60 * minutes
    work.chmod(0o755)
    inputs = work / "inputs"
    scene.prepare(inputs)
    scene.load()
    with small_disk(work / "disk") as disk:
        tried = [one for one in scene.COMMANDS if not commands or one.name in commands.split(",")]
        sound = {command: _without_fault(command, inputs, work, report) for command in tried}
        for number in range(each):
            for name, fault in FAULTS.items():
                if (fault is disk_full and disk is None) or only not in name:
                    continue
                for command_name in dict.fromkeys(command.name for command in tried):
                    if time.monotonic() > end:
                        return report
                    kinds = [command for command in tried if command.name == command_name]
                    command = kinds[number % len(kinds)]
                    seeds = [seed, number, *f"{command_name} {name}".encode()]
                    rng = np.random.default_rng(seeds)
                    earlier = bool(rng.random() < 0.4)
                    place = disk if fault is disk_full and disk is not None else work
                    source, seconds, reference = sound[command]
                    home = fresh(source if earlier else inputs, place / "run")
                    whole = tuple(
                        path for name in command.outputs for path in (source / name, *(source / name).rglob("*"))
                    )
                    files = tuple(path for path in whole if path.is_file())
                    trial = Trial(command, home, rng, seconds, reference, earlier, files, state(home))
                    code, wrong = fault(trial)
                    report.counts[command_name, name, code] += 1
                    where = f"{' '.join((command.name, *command.words, *trial.more))}, {name}, number {number}"
                    report.faults += [f"{where}: {what}" for what in wrong]
    return report


def _without_fault(command: Command, inputs: Path, work: Path, report: Report) -> tuple[Path, float, dict[str, str]]:
    """The inputs with an output beside them, the seconds that it takes, and its content."""
    home = fresh(inputs, work / f"sound-{'-'.join(command.outputs)}-{command.name}")
    run = Run(command, home)
    code, said = run.wait()
    seconds = time.monotonic() - run.began
    if code not in WELL:
        report.faults.append(f"{command.name} without a fault ends with {code}: {said}")
    return home, seconds, scene.content(command, home)
