"""Large images from files to the finished output: time, memory, and how far the result is from the truth.

    python -m benchmarks.large_input pair --scratch FOLDER
    python -m benchmarks.large_input montage --scratch FOLDER

"pair" is an electron and a light image of 11,000 x 11,000 pixels of 16 bits, the light image with three channels;
"montage" an electron image of 40,000 x 40,000 pixels of 8 bits and a light image of 2,048 x 2,048. They are simulated
small, enlarged and covered with noise band by band, and written as tiled OME-TIFF without a pyramid, the montage also
without compression. Then, each in a process of its own, whose peak memory is that of the whole process:

- "read" opens both images, which makes the levels that the files lack;
- "write" moves the light image onto the fixed grid and writes it with its pyramid, and copies what it has written band
  by band through the same writer: the ratio says what moving costs beyond the compression;
- "whole" is `correlight register` from the files to the finished folder.

``--part`` chooses one, ``--rows`` writes only so many rows of the fixed grid, ``--side`` makes the large image smaller.
Up to 5 GB are needed in the scratch folder, which is removed.
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
from typing import Any

import numpy as np
import tifffile

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.resample import Resampling
from correlight.io import read
from correlight.io.write import TiffBands, bands_of
from correlight.output.moved import write_moved
from correlight.simulate.pair import pair
from correlight.transforms import Affine

RESULTS = Path(__file__).resolve().parent / "results" / "large-input.md"
FIELD = 90.0  # micrometres
HEAD = """# Large images from files to the finished output

What is measured, and how, stands at the top of `benchmarks/large_input.py`. Memory is the largest resident set of the
process, in MiB; CPU counts the seconds of all its threads. The load is how many processes wanted a core in the minute
before: where it is above the number of cores, the wall times are those of a crowded machine, and only CPU, memory and
the ratio of CPU say something about the program.

| command | correlight | cores | load | part | wall, s | CPU, s | memory | outcome |
|---|---|---:|---:|---|---:|---:|---:|---|
"""
PARTS = ("read", "write", "whole")


@dataclass(frozen=True, slots=True)
class Plan:
    """What is simulated: sides in pixels, bits, and by how much the simulated images are enlarged."""

    fixed: int
    moving: int
    bits: int
    channels: int
    drawn_fixed: int
    drawn_moving: int


def plans(kind: str, side: int | None) -> Plan:
    """The two cases, or smaller ones of the same kind."""
    if kind == "pair":
        whole = side or 11_000
        return Plan(whole, whole, 16, 3, whole // max(1, whole // 2750), whole // max(1, whole // 1375))
    whole = side or 40_000
    return Plan(whole, 2048, 8, 1, whole // max(1, whole // 2500), 1024)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, run, and append a line to the table for each part."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_input", description="Measure large input.")
    parser.add_argument("kind", choices=("pair", "montage", *PARTS[:2]))
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the images, which is made and removed")
    parser.add_argument("--side", type=int, help="pixels of the large image per side, for a trial")
    parser.add_argument("--rows", type=int, help="rows of the output of the part write (default all)")
    parser.add_argument("--part", choices=PARTS, help="measure this part only")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to append to")
    asked = parser.parse_args(arguments)
    if asked.kind in PARTS:
        outcome = images_read(asked.scratch) if asked.kind == "read" else moved_and_copied(asked.scratch)
        print(outcome)
        return 0
    parts = PARTS if asked.part is None else (asked.part,)
    asked.scratch.mkdir(parents=True)
    try:
        truth, fixed = simulate(asked.scratch, plans(asked.kind, asked.side), parts)
        rows = asked.rows or fixed.shape[0]
        about = {"matrix": truth.matrix.tolist(), "shape": [rows, fixed.shape[1]], "spacing": fixed.spacing}
        (asked.scratch / "task.json").write_text(json.dumps(about))
        options = "".join(f" --{name} {value}" for name in ("side", "rows", "part") if (value := getattr(asked, name)))
        for part in parts:
            line = (
                f"| `python -m benchmarks.large_input {asked.kind}{options} --scratch FOLDER` {_row(asked, part)} |\n"
            )
            asked.out.parent.mkdir(parents=True, exist_ok=True)
            with asked.out.open("a", encoding="utf-8") as table:
                table.write(line if table.tell() else HEAD + line)
            print(line, end="", flush=True)
    finally:
        rmtree(asked.scratch, ignore_errors=True)
    return 0


def _row(asked: argparse.Namespace, part: str) -> str:
    """Run a part in a process of its own; the rest of its line in the table."""
    load = os.getloadavg()[0]
    if part == "whole":
        files = [str(asked.scratch / f"{role}.ome.tif") for role in ("fixed", "moving")]
        program = str(Path(sys.executable).with_name("correlight"))
        command = [program, "register", *files, "-o", str(asked.scratch / "out")]
    else:
        command = [sys.executable, "-m", "benchmarks.large_input", part, "--scratch", str(asked.scratch)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read().strip()
        _, status, usage = os.wait4(process.pid, 0)
        wall, process.returncode = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
    memory = usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    outcome = judged(asked.scratch) if part == "whole" else said
    return (
        f"| {version('correlight')} ({_commit()}) | {os.cpu_count()} | {load:.1f} | {part} | {wall:.1f} "
        f"| {usage.ru_utime + usage.ru_stime:.1f} | {memory:.0f} | {outcome}"
    )


def judged(folder: Path) -> str:
    """The verdict, and how far the result is from the truth on average over the fixed field."""
    result, task = (json.loads((folder / name).read_text()) for name in ("out/result.json", "task.json"))
    found, truth = Affine(np.array(result["moving_from_fixed"]["matrix"])), Affine(np.array(task["matrix"]))
    points = Grid.of(result["fixed"]["shape"], result["fixed"]["spacing"], unit="micrometre").lattice(10)
    apart = np.linalg.norm(found(points) - truth(points), axis=1).mean() / truth.scale
    return f"{result['status']}, {apart:.3f} µm from the truth"


def images_read(folder: Path) -> str:
    """Read both images; the sizes of their levels."""
    images = [read(folder / f"{role}.ome.tif") for role in ("fixed", "moving")]
    return ", ".join(" and ".join(f"{level.shape[-1]:,}" for level in image.levels) for image in images) + " columns"


def simulate(folder: Path, plan: Plan, parts: Sequence[str], rotation: float = 25.0) -> tuple[Affine, Grid]:
    """Write the images that the parts need; the truth between them, and where the fixed pixels lie."""
    couple = pair(
        "cell",
        seed=5,
        rotation=rotation,
        mirror=False,
        stretch=1.0,
        electron_spacing=FIELD / plan.drawn_fixed,
        light_spacing=1.1 * FIELD / plan.drawn_moving,
        electron_shape=(plan.drawn_fixed, plan.drawn_fixed),
        light_shape=(plan.drawn_moving, plan.drawn_moving),
        least_overlap=0.85,
        data_bar=False,
    )
    grids = []
    for role, image, side, count in (
        ("fixed", couple.fixed, plan.fixed, 1),
        ("moving", couple.moving, plan.moving, plan.channels),
    ):
        grids.append(image.grid.resized((side, side)))
        if role == "moving" or set(parts) - {"write"}:
            enlarge(folder / f"{role}.ome.tif", image, grids[-1], plan.bits, count, packed=plan.bits > 8)
    # The first pixels of the enlarged images are centred elsewhere.
    linear, (fixed, moving) = couple.moving_from_fixed.linear, grids
    offset = couple.moving_from_fixed.offset + linear @ fixed.origin - moving.origin
    return Affine.of(linear, offset), Grid.of(fixed.shape, fixed.spacing, unit="micrometre")


def enlarge(path: Path, image: Image, grid: Grid, bits: int, channels: int, packed: bool) -> None:
    """Write an image with more pixels over the same field, and noise on each."""
    side = grid.shape[0]
    onto = Grid.of(grid.shape, grid.spacing, unit="micrometre")
    pixels = np.asarray(image.levels[0])[:channels].astype(np.float32)
    low, high = pixels.min((1, 2), keepdims=True), pixels.max((1, 2), keepdims=True)
    most = 2**bits - 1
    dtype = np.dtype(f"u{bits // 8}")
    wide = np.asarray(np.clip((pixels - low) / (high - low), 0, 1) * 0.8 * most + 0.1 * most, dtype)
    rng = np.random.default_rng(side)
    # The rim beyond the centres of the outermost drawn pixels repeats them.
    wide = np.pad(wide, ((0, 0), (1, 1), (1, 1)), mode="edge")
    padded = Grid.of(wide.shape[1:], image.grid.spacing, tuple(-np.asarray(image.grid.spacing)), "micrometre")
    names = image.channels[:channels]

    def bands() -> Iterator[Any]:
        for band, _ in Resampling(wide, padded, Affine.identity(), grid).bands():
            noise = rng.integers(-6, 7, band.shape, np.int8).astype(np.int32) * (most // 255)
            yield np.clip(band + noise, 0, most).astype(dtype)

    if packed:
        with TiffBands(path, (len(wide), side, side), dtype, onto, names) as file:
            for band in bands():
                file.add(band)
    else:
        sizes = {f"PhysicalSize{axis}": size for axis, size in zip("YX", onto.spacing, strict=True)}
        tiles = (
            np.ascontiguousarray(band[0, top : top + 256, left : left + 256])
            for band in bands()
            for top in range(0, band.shape[1], 256)
            for left in range(0, side, 256)
        )
        about = {"axes": "YX", **sizes, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
        tifffile.imwrite(path, tiles, shape=(side, side), dtype=dtype, tile=(256, 256), ome=True, metadata=about)


def moved_and_copied(folder: Path) -> str:
    """Move and write the light image, and copy what was written; how many times as long the one takes as the other."""
    task, moving = json.loads((folder / "task.json").read_text()), read(folder / "moving.ome.tif")
    onto = Grid.of(task["shape"], task["spacing"], unit="micrometre")
    clocks = time.perf_counter, time.process_time
    began = [clock() for clock in clocks]
    write_moved(folder / "a.ome.tif", folder / "b.tif", moving, moving.grid, Affine(np.array(task["matrix"])), onto)
    moved = [clock() - start for clock, start in zip(clocks, began, strict=True)]
    source = read(folder / "a.ome.tif")
    pixels = source.levels[0]
    began = [clock() for clock in clocks]
    copy = folder / "c.ome.tif"
    with TiffBands(copy, pixels.shape, source.dtype, source.grid, source.channels, pyramid="mean") as file:
        for band in bands_of(pixels, 1024):
            file.add(band)
    copied = [clock() - start for clock, start in zip(clocks, began, strict=True)]
    wall, cpu = (a / b for a, b in zip(moved, copied, strict=True))
    size = f"{onto.shape[0]:,} x {onto.shape[1]:,}"
    return f"{size}: {wall:.2f} times the wall time of a copy, {cpu:.2f} times its CPU ({moved[1]:.1f} s)"


def _commit() -> str:
    call = ["git", "log", "-1", "--format=%h", "--", "src"]
    here = Path(__file__).parent.parent
    return subprocess.run(call, cwd=here, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
