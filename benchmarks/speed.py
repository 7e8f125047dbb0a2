"""How long a registration takes, stage by stage, and beside two others from a near start in the same run.

    python -m benchmarks.speed --data FOLDER --scratch FOLDER --python PEERS/bin/python

The sizes are an electron and a light image of one simulated specimen, rotated by 5 degrees against each other, with so
many pixels along each side, of 16 bits and three channels (`benchmarks.large_input`); correlight is not told of it and
searches every pose. "pairs" is one draw of every pair of real images (protocol free), of which the medians are given,
and "refused" a few draws of images of different specimens. Every run is a process of its own, from the files to the
finished folder; seconds before the first stage are the start of Python, the imports and the reading.

The peers, if there is a Python that has them, get the two images of a size as arrays, the mask, the true size of the
pixels, and a start that is right but for these 5 degrees and the shift. Of the large ones they take the most time: they
run up to ``--peers-up-to`` pixels.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from shutil import rmtree
from statistics import median

import numpy as np

from benchmarks.accuracy import as_saved
from benchmarks.files_to_output import drawn
from benchmarks.large_input import plans, simulate
from benchmarks.peers.attempt import Task
from benchmarks.peers.worker import save_task
from benchmarks.protocol import draw_unrelated, load_pairs
from benchmarks.software import commit
from correlight.io import read

RESULTS = Path(__file__).resolve().parent / "results" / "speed.md"
SIZES = 512, 1024, 2048, 4096, 11_000
STAGES = ("start", "search", "refine", "verify", "write")
PEERS = {"mattes": "Mattes MI (SimpleITK)", "elastix": "elastix rigid + affine"}
TURNED = 5.0
REFUSED = 4


@dataclass(frozen=True, slots=True)
class Run:
    """What one registration took.

    Parameters
    ----------
    wall, cpu : dict
        Seconds, and seconds of processor, by stage.
    memory : float
        Largest resident set, MiB.
    status : str
        The verdict.
    """

    wall: dict[str, float]
    cpu: dict[str, float]
    memory: float
    status: str

    @property
    def seconds(self) -> tuple[float, float]:
        """Of all stages: by the wall, and of processor."""
        return sum(self.wall.values()), sum(self.cpu.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases, print the table and write it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Measure every stage.")
    parser.add_argument("--data", type=Path, help="folder that holds pairs.json; without it, simulated images only")
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the images, which is made and removed")
    parser.add_argument("--python", type=Path, help="a Python with SimpleITK and itk-elastix; without it, no peers")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="pixels along each side")
    parser.add_argument("--peers-up-to", type=int, default=4096, help="largest size that peers are given")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to write")
    asked = parser.parse_args(arguments)
    asked.scratch.mkdir(parents=True)
    try:
        lines = [HEAD.format(version=version("correlight"), commit=commit(), cores=os.cpu_count(), load=_load())]
        for line in rows(asked):
            lines.append(line)
            print(line, flush=True)
    finally:
        rmtree(asked.scratch, ignore_errors=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


HEAD = """# Speed, stage by stage

What is measured stands at the top of `benchmarks/speed.py`. Seconds by the wall / of processor; start holds Python,
imports and reading. A ratio is the processor time of correlight, from the files and for any pose, over that of the peer
from a near start. correlight {version} ({commit}), {cores} cores, load before the first run {load}.

| images | seconds | start | search | refine | verify | write | memory, MB | outcome | over Mattes | over elastix |
|---|---:|---:|---:|---:|---:|---:|---:|---|---:|---:|"""


def rows(asked: argparse.Namespace) -> Iterator[str]:
    """The lines of the table, as they are measured."""
    took: list[tuple[int, float]] = []
    for side in asked.sizes:
        folder = asked.scratch / str(side)
        folder.mkdir()
        simulate(folder, plans("pair", side), ("whole",), rotation=TURNED)
        run = measured(folder / "fixed.ome.tif", folder / "moving.ome.tif", folder / "out")
        took.append((side, run.seconds[1]))
        ratios = ["–", "–"]
        if asked.python is not None and side <= asked.peers_up_to:
            ratios = [_ratio(run, beside(asked.python, peer, folder)) for peer in PEERS]
        rmtree(folder)
        yield _line(f"{side:,} x {side:,}", [run], ratios)
    if asked.data is not None:
        yield from of_real_images(asked.data, asked.scratch)
    if len(took) > 1:
        (least, first), (most, last) = took[0], took[-1]
        power = np.log(last / first) / np.log((most / least) ** 2)
        yield f"\nFrom {least:,} to {most:,} pixels along a side, processor time grows as area to the {power:.2f}."


def of_real_images(data: Path, scratch: Path) -> Iterator[str]:
    """One draw of every pair, and a few of images that do not belong together."""
    pairs = load_pairs(data)
    files = drawn(data, scratch)
    yield _line(f"{len(files)} pairs", [measured(*both, scratch / f"pair-{n}") for n, both in enumerate(files)])
    refused = []
    for seed in range(REFUSED):
        made = draw_unrelated(pairs, seed)
        both = scratch / f"unrelated-{seed}-fixed.npy", scratch / f"unrelated-{seed}-moving.npy"
        for file, pixels in zip(both, (made.fixed, made.moving), strict=True):
            np.save(file, as_saved(pixels))
        refused.append(measured(*both, scratch / f"unrelated-{seed}"))
    yield _line(f"{REFUSED} unrelated", refused)


def measured(fixed: Path, moving: Path, out: Path) -> Run:
    """One registration in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.speed_worker", str(fixed), str(moving), str(out)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = json.loads(process.stdout.read())
        _, status, usage = os.wait4(process.pid, 0)
        wall, process.returncode = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
    # What the worker could not see: the start of Python before it, and its end.
    said["wall"]["start"] += wall - sum(said["wall"].values())
    said["cpu"]["start"] += usage.ru_utime + usage.ru_stime - sum(said["cpu"].values())
    memory = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return Run(said["wall"], said["cpu"], memory, said["status"])


def beside(python: Path, peer: str, folder: Path) -> float | None:
    """Seconds of processor that a peer computes on the images of a folder; None where it fails."""
    fixed, moving = (read(folder / f"{role}.ome.tif") for role in ("fixed", "moving"))
    grey = [np.asarray(image.levels[0])[0].astype(np.float32) for image in (fixed, moving)]
    spacing = moving.grid.spacing[0] / fixed.grid.spacing[0]
    save_task(folder / "task.npz", Task(grey[0], grey[1], np.ones(grey[1].shape, bool), spacing, 10.0, 0))
    command = [
        str(python),
        "-m",
        "benchmarks.peers.worker",
        peer,
        *(str(folder / n) for n in ("task.npz", "peer.json")),
    ]
    done = subprocess.run(command, check=False, capture_output=True)
    outcome = json.loads((folder / "peer.json").read_text()) if done.returncode == 0 else {"error": "stopped"}
    return None if outcome["error"] else float(outcome["cpu_seconds"])


def _ratio(run: Run, peer: float | None) -> str:
    return "failed" if peer is None else f"{run.seconds[1] / peer:.1f} ({peer:.1f} s)"


def _line(name: str, runs: Sequence[Run], ratios: Sequence[str] = ("–", "–")) -> str:
    """A line of the table: medians over runs."""

    def both(walls: Sequence[float], cpus: Sequence[float]) -> str:
        return f"{median(walls):.1f} / {median(cpus):.1f}"

    whole = both(*zip(*(run.seconds for run in runs), strict=True))
    stages = [both([run.wall[stage] for run in runs], [run.cpu[stage] for run in runs]) for stage in STAGES]
    said = {run.status: sum(one.status == run.status for one in runs) for run in runs}
    outcome = ", ".join(status if len(runs) == 1 else f"{count} {status}" for status, count in said.items())
    memory = f"{median(run.memory for run in runs):.0f}"
    return f"| {' | '.join([name, whole, *stages, memory, outcome, *ratios])} |"


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    sys.exit(main())
