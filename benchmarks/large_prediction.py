"""Memory and time of `correlight predict` on a large image: a row of ``benchmarks/results/large-prediction.md`` a call.

    python -m benchmarks.large_prediction MODEL --side 16384

A simulated electron image is enlarged to so many pixels a side, covered with noise and written as a tiled OME-TIFF
without a pyramid; the program then predicts from it in a process of its own, whose peak memory is that of the whole
process. ``--wide`` makes the image so many times as wide as it is high: what is held at a time are bands of rows.
``--speed`` measures 1,024 x 1,024 pixels in memory instead, which goes to ``prediction-speed.md``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from benchmarks.accuracy import RESULTS, ROOT
from benchmarks.software import commit
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.io import read
from correlight.predict.model import Model, load
from correlight.simulate import Electron, specimen

PAGE = RESULTS / "large-prediction.md"
HEAD = """# Prediction of large images

`python -m benchmarks.large_prediction MODEL --side N [--wide W]`: an electron image of 8 bits, predicted by
`correlight predict` to an OME-TIFF of 32 bits with its pyramid. A pixel of the model is so many pixels of the image
("shrink"). Memory is the largest resident set of the process, in MiB; seconds are those of one processor.

| commit | kind of model | shrink | image | read, MB | written, MB | memory, MiB | seconds |
|---|---|---:|---:|---:|---:|---:|---:|
"""
# The program, which then says its memory and its seconds.
PROGRAM = """
import sys, time
from benchmarks.memory import peak_memory_mb
from correlight.cli import main
main(sys.argv[1:])
print(peak_memory_mb(), time.process_time())
"""
_DRAWN, _PIXEL = 2048, 0.01  # pixels that are simulated, and their size in micrometres


def write_image(path: Path, rows: int, columns: int) -> None:
    """An electron image of so many pixels: the same simulated one again and again, with noise of its own."""
    drawn = specimen("cell", 3).electron(_PIXEL, (_DRAWN, _DRAWN), optics=Electron(), rng=np.random.default_rng(0))
    grey = np.asarray(drawn.levels[0][0], np.int16)
    rng = np.random.default_rng(1)

    def tile(top: int, left: int) -> np.ndarray:
        part = grey[np.ix_(np.arange(top, top + 256) % _DRAWN, np.arange(left, left + 256) % _DRAWN)]
        return np.asarray(np.clip(part + rng.integers(-6, 7, part.shape, np.int16), 0, 255), np.uint8)

    tiles = (tile(top, left) for top in range(0, rows, 256) for left in range(0, columns, 256))
    sizes = {"PhysicalSizeX": _PIXEL, "PhysicalSizeY": _PIXEL, "PhysicalSizeXUnit": "µm", "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(
        path, tiles, shape=(rows, columns), dtype=np.uint8, tile=(256, 256), ome=True, metadata={"axes": "YX", **sizes}
    )


def measured(model: Path, rows: int, columns: int) -> str:
    """One row of the table."""
    facts = load(model).facts
    with tempfile.TemporaryDirectory() as home:
        given, made = Path(home) / "em.ome.tif", Path(home) / "predicted.ome.tif"
        write_image(given, rows, columns)
        # The pixel size for which an image pixel is what it was to the training images.
        pixel = _PIXEL if facts.spacing is None else facts.spacing / facts.shrink
        command = [sys.executable, "-c", PROGRAM, "predict", str(model), str(given), "-o", str(made)]
        said = subprocess.run([*command, "--spacing", str(pixel)], cwd=ROOT, capture_output=True, text=True, check=True)
        memory, spent = map(float, said.stdout.split()[-2:])
        assert read(made).grid.shape == (rows, columns)
        sizes = [path.stat().st_size / 1e6 for path in (given, made)]
    return (
        f"| {commit()} | {facts.kind} | {facts.shrink:g} | {rows:,} x {columns:,} | {sizes[0]:.0f} | {sizes[1]:.0f} "
        f"| {memory:.0f} | {spent:.0f} |"
    )


def speed(model: Model) -> str:
    """The least processor seconds of three predictions, at the pixel size of the model and at that of the image."""
    grey = np.random.default_rng(0).integers(0, 255, (1024, 1024), np.uint8)
    plane = Plane.of(Image.from_array(grey), 0)
    lines = [
        "# Prediction of 1,024 x 1,024 pixels in memory",
        "",
        f"`python -m benchmarks.large_prediction MODEL --speed`, {model.facts.kind}, one thread, {commit()}.",
        "",
        "| pixels of the image per pixel of the model | processor seconds |",
        "|---:|---:|",
    ]
    for shrink in (model.facts.shrink, 1.0):
        one = replace(model, facts=model.facts.model_copy(update={"shrink": shrink, "spacing": None}))
        spent = []
        for _ in range(3):
            began = time.process_time()
            one.predicted(plane)
            spent.append(time.process_time() - began)
        lines.append(f"| {shrink:g} | {min(spent):.2f} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure and append."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_prediction", description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--side", type=int, default=16384, help="rows")
    parser.add_argument("--wide", type=int, default=1, help="times as many columns")
    parser.add_argument("--speed", action="store_true", help="measure time in memory instead")
    given = parser.parse_args()
    if given.speed:
        (RESULTS / "prediction-speed.md").write_text(speed(load(given.model)))
        return 0
    row = measured(given.model, given.side, given.side * given.wide)
    text = PAGE.read_text() if PAGE.exists() else HEAD
    PAGE.write_text(f"{text}{row}\n")
    print(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
