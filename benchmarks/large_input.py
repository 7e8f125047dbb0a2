"""Large images from files to the finished output: time, memory, and how far the result is from the truth.

    python -m benchmarks.large_input pair --scratch FOLDER
    python -m benchmarks.large_input montage --scratch FOLDER

"pair" is an electron and a light image of 11,000 x 11,000 pixels of 16 bits, the light image with three channels;
"montage" an electron image of 40,000 x 40,000 pixels of 8 bits and a light image of 2,048 x 2,048. They are simulated
small, enlarged and covered with noise band by band, and written as tiled OME-TIFF without a pyramid, the montage also
without compression. Then the command line registers them in a process of its own, whose peak memory is that of the
whole process. A second process moves the light image with the transform that was found, writes it with its pyramid, and
copies what it has written band by band through the same writer: the ratio says what the moving costs beyond the
compression. Up to 5 GB are needed in the scratch folder.
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

from correlight.folder import write_moved
from correlight.geometry import Grid
from correlight.image import Image
from correlight.io import read
from correlight.io.write import TiffBands, bands_of
from correlight.resample import warp_bands
from correlight.simulate.pair import pair
from correlight.transforms import Affine

RESULTS = Path(__file__).resolve().parent / "results" / "large-input.md"
FIELD = 90.0  # micrometres
HEAD = """# Large images from files to the finished output

Simulated images of known truth in tiled OME-TIFF without a pyramid, registered by `correlight register` in a process of
its own; memory is its largest resident set, in MiB. The error is the mean distance from the truth over the fixed field.
The ratio is the time of moving and writing the light image over that of copying the result band by band with the same
compression and pyramid, one after the other in one process: on the wall, and of the processor. The load is how many
processes wanted a core in the minute before the run; where it is above the number of cores, wall times are those of a
crowded machine and only the processor's seconds and ratio say something about the program.

| command | correlight | cores | load | verdict | error, µm | wall, s | CPU, s | memory | ratio, wall | CPU | memory |
|---|---|---:|---:|---|---:|---:|---:|---:|---:|---:|---:|
"""


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
    """Simulate, run, and append one line to the table; 1 if a run did not end in a result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_input", description="Measure large input.")
    parser.add_argument("kind", choices=("pair", "montage", "moving"))
    parser.add_argument("--scratch", type=Path, required=True, help="folder for the images, which is made and removed")
    parser.add_argument("--side", type=int, help="pixels of the large image per side, for a trial")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to append to")
    asked = parser.parse_args(arguments)
    if asked.kind == "moving":
        print(json.dumps(moved_and_copied(asked.scratch)))
        return 0
    asked.scratch.mkdir(parents=True)
    try:
        truth = simulate(asked.scratch, plans(asked.kind, asked.side))
        load = os.getloadavg()[0]
        code, wall, cpu, memory = timed(asked.scratch)
        result = json.loads((asked.scratch / "out" / "result.json").read_text())
        found = Affine(np.array(result["moving_from_fixed"]["matrix"]))
        fixed = Grid.of(result["fixed"]["shape"], result["fixed"]["spacing"], unit="micrometre")
        apart = np.linalg.norm(found(fixed.lattice(10)) - truth(fixed.lattice(10)), axis=1) / truth.scale
        command = [sys.executable, "-m", "benchmarks.large_input", "moving", "--scratch", str(asked.scratch)]
        moving = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    finally:
        rmtree(asked.scratch, ignore_errors=True)
    words = f"{asked.kind}{f' --side {asked.side}' if asked.side else ''} --scratch FOLDER"
    line = (
        f"| `python -m benchmarks.large_input {words}` | {version('correlight')} ({_commit()}) | {os.cpu_count()} "
        f"| {load:.1f} | {result['status']} | {apart.mean():.3f} | {wall:.1f} | {cpu:.1f} | {memory:.0f} "
        f"| {moving['wall']:.2f} | {moving['processor']:.2f} | {moving['memory']:.0f} |\n"
    )
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    with asked.out.open("a", encoding="utf-8") as table:
        table.write(line if table.tell() else HEAD + line)
    print(HEAD + line, json.dumps(moving), json.dumps(result["seconds"]), sep="\n")
    return 0 if code in (0, 3) else 1


def simulate(folder: Path, plan: Plan) -> Affine:
    """Write both images; the truth between them."""
    couple = pair(
        "cell",
        seed=5,
        rotation=25.0,
        mirror=False,
        stretch=1.0,
        electron_spacing=FIELD / plan.drawn_fixed,
        light_spacing=1.1 * FIELD / plan.drawn_moving,
        electron_shape=(plan.drawn_fixed, plan.drawn_fixed),
        light_shape=(plan.drawn_moving, plan.drawn_moving),
        least_overlap=0.85,
        data_bar=False,
    )
    shifts = [
        enlarge(folder / f"{role}.ome.tif", image, side, plan.bits, count, packed=plan.bits > 8)
        for role, image, side, count in (
            ("fixed", couple.fixed, plan.fixed, 1),
            ("moving", couple.moving, plan.moving, plan.channels),
        )
    ]
    # The first pixels of the enlarged images are centred elsewhere.
    linear = couple.moving_from_fixed.linear
    return Affine.of(linear, couple.moving_from_fixed.offset + linear @ shifts[0] - shifts[1])


def enlarge(path: Path, image: Image, side: int, bits: int, channels: int, packed: bool) -> Any:
    """Write an image with more pixels over the same field, and noise on each; where the new first pixel lies."""
    grid = image.grid.resized((side, side))
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
        for band, _ in warp_bands(wide, padded, Affine.identity(), grid):
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
    return np.asarray(grid.origin)


def timed(folder: Path) -> tuple[int, float, float, float]:
    """Exit code, wall and processor seconds and peak memory in MiB of one call of the command line."""
    program = Path(sys.executable).with_name("correlight")
    files = [str(folder / f"{role}.ome.tif") for role in ("fixed", "moving")]
    began = time.perf_counter()
    process = subprocess.Popen([str(program), "register", *files, "-o", str(folder / "out")], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    return process.returncode, seconds, usage.ru_utime + usage.ru_stime, _mebibytes(usage.ru_maxrss)


def moved_and_copied(folder: Path) -> dict[str, Any]:
    """Seconds of moving and writing the light image and of a plain copy of what was written, and their ratios."""
    import resource

    result = json.loads((folder / "out" / "result.json").read_text())
    transform = Affine(np.array(result["moving_from_fixed"]["matrix"]))
    moving, record = read(folder / "moving.ome.tif"), result["fixed"]
    onto = Grid.of(record["shape"], record["spacing"], unit="micrometre")
    clocks = time.perf_counter, time.process_time
    began = [clock() for clock in clocks]
    write_moved(folder / "a.ome.tif", folder / "b.tif", moving, moving.grid, transform, onto)
    moved = [clock() - start for clock, start in zip(clocks, began, strict=True)]
    source = read(folder / "a.ome.tif")
    pixels = source.levels[0]
    began = [clock() for clock in clocks]
    copy = folder / "c.ome.tif"
    with TiffBands(copy, pixels.shape, source.dtype, source.grid, source.channels, pyramid="mean") as file:
        for band in bands_of(pixels, 1024):
            file.add(band)
    copied = [clock() - start for clock, start in zip(clocks, began, strict=True)]
    ratios = [a / b for a, b in zip(moved, copied, strict=True)]
    memory = _mebibytes(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    return {"moved": moved, "copied": copied, "wall": ratios[0], "processor": ratios[1], "memory": memory}


def _mebibytes(peak: int) -> float:
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _commit() -> str:
    call = ["git", "log", "-1", "--format=%h", "--", "src"]
    here = Path(__file__).parent.parent
    return subprocess.run(call, cwd=here, capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    sys.exit(main())
