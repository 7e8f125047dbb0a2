"""What the commands are run on, how they are run, and whether what they left is whole."""

import codecs
import hashlib
import importlib
import json
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from correlight import cli
from correlight.exchange import write_transform
from correlight.geometry import Grid
from correlight.methods import registry
from correlight.output.report.page import template
from correlight.transforms import Affine, Displacement
from tests.known_pair import texture

SPACING = 0.02
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
NOBODY = 65534
# What a run that ends well leaves beside its output: nothing.
BYSTANDER = "thesis.txt"


@dataclass(frozen=True)
class Command:
    """One way to call the program.

    Parameters
    ----------
    name : str
        The command.
    words : tuple of str
        Its arguments, without ``--overwrite``.
    inputs : tuple of str
        Files that it reads.
    outputs : tuple of str
        Files or folders that it writes.
    """

    name: str
    words: tuple[str, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


COMMANDS = (
    Command(
        "register",
        ("f.ome.tif", "m.ome.tif", "-o", "out", "--rotation", "-3..3", "--no-mirror", "--model", "rigid"),
        ("f.ome.tif", "m.ome.tif"),
        ("out",),
    ),
    Command(
        "apply",
        ("t.tfm", "m.ome.tif", "--like", "f.ome.tif", "-o", "out.tif"),
        ("t.tfm", "m.ome.tif", "f.ome.tif"),
        ("out.tif", "out_footprint.tif"),
    ),
    Command("apply", ("t.tfm", "m.ome.tif", "--like", "f.ome.tif", "-o", "out"), ("t.tfm", "m.ome.tif"), ("out",)),
    Command(
        "pair", ("f.ome.tif", "w.ome.tif", "-o", "out", "--rotation", "0..0"), ("f.ome.tif", "w.ome.tif"), ("out",)
    ),
    Command(
        "landmarks",
        ("l.csv", "--fixed", "f.ome.tif", "--moving", "m.ome.tif", "-o", "out"),
        ("l.csv", "f.ome.tif", "m.ome.tif"),
        ("out",),
    ),
    Command("convert", ("t.tfm", "out.json"), ("t.tfm",), ("out.json",)),
    Command("convert", ("s.csv", "out.csv", "--to", "bigwarp"), ("s.csv",), ("out.csv",)),
    Command("convert", ("d.tfm", "out.h5"), ("d.tfm",), ("out.h5",)),
    Command("convert", ("t.tfm", "out.zarr", "--to", "ngff"), ("t.tfm",), ("out.zarr",)),
)


def prepare(home: Path) -> None:
    """Write all inputs, which are small, and a file that nobody asked about."""
    home.mkdir(parents=True, exist_ok=True)
    wide = texture((160, 160), 3)
    pictures = {"f": wide[40:104, 50:130], "m": wide[42:106, 47:127], "w": wide[::2, ::2]}
    for name, pixels in pictures.items():
        size = SPACING * (2 if name == "w" else 1)
        metadata = {"axes": "YX", "PhysicalSizeY": size, "PhysicalSizeX": size}
        tifffile.imwrite(home / f"{name}.ome.tif", pixels, ome=True, metadata=metadata)
    write_transform(home / "t.tfm", Affine.of(np.eye(2), (0.04, -0.06)))
    field = np.random.default_rng(3).normal(0, 0.01, (24, 30, 2))
    write_transform(home / "d.tfm", Displacement(field, Grid.of((24, 30), 0.06, unit="micrometre")))
    places = np.random.default_rng(4).uniform(4, 60, (8, 2))
    rows = [f"p{number},{y},{x},{y - 2},{x + 3}" for number, (y, x) in enumerate(places)]
    table = "name,fixed_y,fixed_x,moving_y,moving_x,unit\n"
    for name, unit in (("l", "pixel"), ("s", "micrometre")):
        (home / f"{name}.csv").write_text(table + "".join(f"{row},{unit}\n" for row in rows))
    (home / BYSTANDER).write_text("years of work")


class Run:
    """A run of the program in a process of its own, which has everything loaded already.

    Parameters
    ----------
    command : Command
        What to run.
    home : Path
        Where.
    more : sequence of str
        Further arguments.
    before : callable, optional
        Called in the new process first.
    """

    def __init__(
        self, command: Command, home: Path, *more: str, before: Callable[[], object] | None = None, name: str = "said"
    ) -> None:
        self.said_in = home.parent / f"{home.name}.{name}"
        ready, tell = os.pipe()
        self.began = time.monotonic()
        self.pid = os.fork()
        if not self.pid:
            os.close(ready)
            self._become(command, home, more, before, tell)
        os.close(tell)
        os.read(ready, 1)  # it hears signals now, or is over
        os.close(ready)

    def _become(
        self, command: Command, home: Path, more: tuple[str, ...], before: Callable[[], object] | None, tell: int
    ) -> None:
        code = 70
        try:
            for number in SIGNALS:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
            os.chdir(home)
            os.dup2(os.open(self.said_in, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666), 2)
            os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            sys.argv = ["correlight", command.name, *command.words, *more]
            hear = cli._hear

            def heard(handler: Any) -> Any:
                kept = hear(handler)
                os.close(tell)
                return kept

            cli._hear = heard
            if before is not None:
                before()
            code = cli.main()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)

    def send(self, number: int) -> None:
        """Send a signal, if the process is still there."""
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            os.kill(self.pid, number)

    def wait(self) -> tuple[int, str]:
        """The exit code, negative after a deadly signal, and what stood on standard error."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        said = self.said_in.read_text(errors="replace") if self.said_in.exists() else ""
        self.said_in.unlink(missing_ok=True)
        return code, said


def state(home: Path) -> dict[str, str]:
    """Every file below a folder with its checksum; folders and links as what they are."""
    found = {}
    for path in sorted(home.rglob("*")):
        name = path.relative_to(home).as_posix()
        if path.is_symlink() or not path.is_file():
            found[name] = "folder" if path.is_dir() else "other"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def of_outputs(command: Command, found: dict[str, str]) -> dict[str, str]:
    """The part of a state that is output."""
    return {name: kind for name, kind in found.items() if name.partition("/")[0] in command.outputs}


def content(command: Command, home: Path) -> dict[str, str]:
    """What two runs of a command have in common: the pixels of images, and transforms and points to the byte."""
    found = {}
    for name in command.outputs:
        files = sorted(path for path in (home / name).rglob("*") if path.is_file()) or [home / name]
        for path in files:
            if path.suffix == ".tif":
                found[str(path.relative_to(home))] = hashlib.sha256(tifffile.imread(path).tobytes()).hexdigest()
            elif path.suffix in (".tfm", ".csv", ".png") or (home / name == path and path.suffix == ".json"):
                found[str(path.relative_to(home))] = hashlib.sha256(path.read_bytes()).hexdigest()
            else:
                found[str(path.relative_to(home))] = "there" if path.stat().st_size else "empty"
    return found


def incomplete(command: Command, home: Path, reference: dict[str, str]) -> list[str]:
    """What is wrong with the output of a run that ended well."""
    missing = [name for name in command.outputs if not (home / name).exists()]
    if missing:
        return [f"{missing[0]} is missing"]
    wrong = []
    for name in command.outputs:
        if (home / name).is_dir():
            listed = json.loads((home / name / "manifest.json").read_text())["files"]
            there = {key: value for key, value in state(home / name).items() if value != "folder"}
            there.pop("manifest.json")
            if there != {key: entry["sha256"] for key, entry in listed.items()}:
                wrong.append(f"{name} holds other files than its manifest lists")
    found = content(command, home)
    different = [name for name in {*found, *reference} if found.get(name) != reference.get(name)]
    return wrong + ([f"{', '.join(sorted(different)[:3])} not as without the fault"] if different else [])


def fresh(source: Path, home: Path) -> Path:
    """A copy of a folder, with the times of its files."""
    if home.exists():
        restore(home)
        shutil.rmtree(home)
    shutil.copytree(source, home)
    return home


def restore(home: Path) -> None:
    """Give back permissions, so that a folder can be looked into and removed."""
    home.chmod(0o755)
    for path in home.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


def load() -> None:
    """Import here what runs need, so that each of them need not."""
    for name in ("apply", "convert", "folder", "landmarks", "pair"):
        importlib.import_module(f"correlight.output.{name}")
    for name in ("cli.program", "registration.register", "registration.from_landmarks"):
        importlib.import_module(f"correlight.{name}")
    importlib.import_module("onnxruntime")
    for name in ("report", "evidence", "tables", "field", "predicted"):
        template(f"{name}.html.j2")
    # What Python loads when it is first needed may be out of reach once rights are given up.
    for name in ("utf-8-sig", "cp1252", "latin-1", "ascii", "utf-16"):
        codecs.lookup(name)
    for kind in registry.METHOD_KINDS:
        for name in registry.names(kind):
            registry.method(kind, name)
