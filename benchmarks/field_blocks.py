"""Time and memory of applying a smooth field to a large image on disk, against an affine map.

    python -m benchmarks.field_blocks affine 11000
    python -m benchmarks.field_blocks flow 11000
    python -m benchmarks.field_blocks displacement 11000

Each call is a process of its own, as the peak of memory is that of the process; another one makes the image on disk
before the clock starts.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.io import read
from correlight.io.write import TiffBands
from correlight.output.moved import write_moved
from correlight.transforms import Affine, Transform, VelocityField
from correlight.transforms.field import as_displacement

PIXEL = 0.01  # micrometres
CELLS = 8


def field(grid: Grid) -> VelocityField:
    """A flow that moves places by up to about forty pixels."""
    step = max(grid.extent) / CELLS
    lattice = Grid.of((CELLS + 7,) * 2, step, -3 * step, grid.unit)
    velocity = np.zeros((*lattice.shape, 2))
    inner = velocity[3:-3, 3:-3]
    inner[:] = np.random.default_rng(1).normal(size=inner.shape) * 30 * PIXEL
    return VelocityField(velocity, lattice)


def transform(how: str, grid: Grid) -> Transform:
    """The map that is applied: a turn by five degrees, alone or after a field."""
    turn = Affine.similarity(5, 1.01, source=grid.centre)
    if how == "affine":
        return turn
    flow = field(grid)
    return turn @ (as_displacement(flow, grid) if how == "displacement" else flow)


def make(path: Path, side: int) -> None:
    """Write an image of coarse noise."""
    grid, rng = Grid.of((side, side), PIXEL, unit="micrometre"), np.random.default_rng(0)
    with TiffBands(path, (1, side, side), np.dtype(np.uint8), grid, ("a",)) as out:
        for first in range(0, side, 500):
            rows = min(500, side - first)
            out.add(np.repeat(rng.integers(0, 255, (1, rows, side // 8 + 1), np.uint8), 8, axis=2)[..., :side])


def main(how: str, side: int) -> str:
    """One row: what was applied, how far it moves places, peak of memory in MiB, processor and wall seconds."""
    grid = Grid.of((side, side), PIXEL, unit="micrometre")
    with tempfile.TemporaryDirectory() as home:
        path = Path(home) / "a.ome.tif"
        subprocess.run([sys.executable, "-m", "benchmarks.field_blocks", str(path), str(side)], check=True)
        image: Image = read(path)
        move, places = transform(how, grid), grid.lattice(30)
        moved = np.linalg.norm(move(places) - transform("affine", grid)(places), axis=1).max()
        start, wall = time.process_time(), time.time()
        write_moved(Path(home) / "b.ome.tif", Path(home) / "f.tif", image, image.grid, move, grid)
        seconds, wall = time.process_time() - start, time.time() - wall
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return f"| {how} | {side} | {moved / PIXEL:.0f} | {memory:.0f} | {seconds:.1f} | {wall:.1f} |"


if __name__ == "__main__":
    if sys.argv[1] in ("affine", "flow", "displacement"):
        print(main(sys.argv[1], int(sys.argv[2])))
    else:
        make(Path(sys.argv[1]), int(sys.argv[2]))
