"""Memory and time of writing a large registered image: made whole, or band by band as OME-TIFF or OME-Zarr.

    python -m benchmarks.large_output whole 8000
    python -m benchmarks.large_output tif 8000
    python -m benchmarks.large_output zarr 8000

Each call is a process of its own, as the peak of memory is that of the process.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.resample import Resampling, warp
from correlight.io.write import TiffBands, write_ome_tiff
from correlight.io.write_zarr import ZarrBands
from correlight.transforms import Affine

FIELD = 150.0  # micrometres


def main(how: str, side: int) -> str:
    """One row: what was written, memory beyond what was held before, and processor time."""
    pixels = np.random.default_rng(0).integers(0, 255, (2, 1500, 1500), np.uint8)
    moving = Image.from_array(pixels, spacing=FIELD / 1500)
    onto = Grid.of((side, side), FIELD / side, unit="micrometre")
    moving_from_fixed = Affine.similarity(20, source=onto.centre, target=moving.grid.centre)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with tempfile.TemporaryDirectory() as home:
        if how == "whole":
            values, _ = warp(moving, moving.grid, moving_from_fixed, onto)
            write_ome_tiff(Path(home) / "a.ome.tif", values, onto, moving.channels, pyramid="mean")
        else:
            shape, writer = (2, *onto.shape), ZarrBands if how == "zarr" else TiffBands
            with writer(Path(home) / f"a.ome.{how}", shape, moving.dtype, onto, moving.channels, pyramid="mean") as out:
                for values, _ in Resampling(moving, moving.grid, moving_from_fixed, onto).bands():
                    out.add(values)
        written = sum(path.stat().st_size for path in Path(home).rglob("*") if path.is_file())
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    seconds = time.process_time() - start
    return f"| {how} | {side} | {2 * side * side / 1e6:.0f} | {memory:.0f} | {seconds:.1f} | {written / 1e6:.0f} |"


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2])))
