"""Small pairs as files, tables of them, and the command line as a process of its own."""

import contextlib
import csv
import io
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from correlight import cli
from correlight.geometry import Grid
from correlight.io import write_tiff

COMMAND = (sys.executable, "-c", "import sys; from correlight.cli import main; sys.exit(main())", "batch")
# Quick to refuse: there are no beads in these images.
HASTY = {"recipe": "fiducials", "grid": "none"}
# Quick to accept: little is searched.
NARROW = {"rotation": "-0.5..0.5", "scale": "0.996..1.004", "mirror": "no", "model": "rigid", "grid": "none"}


def write_couple(folder: Path, fixed: str, moving: str, seed: int = 0, side: int = 64, turn: float = 0.0) -> None:
    """Smooth noise, and its negative, rotated by so many degrees, as two files of pixels of 1 µm."""
    rng = np.random.default_rng(seed)
    rough = ndimage.gaussian_filter(rng.normal(size=(2 * side, 2 * side)), 2.0)
    rough = (rough - rough.min()) / np.ptp(rough)
    middle = (slice(side // 2, side // 2 + side),) * 2
    turned = ndimage.rotate(rough, turn, reshape=False, order=3, mode="reflect")[middle]
    pictures = 20 + 200 * rough[middle], 220 - 200 * turned + rng.normal(size=(side, side))
    for name, picture in zip((fixed, moving), pictures, strict=True):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        grid = Grid.of((side, side), (1.0, 1.0), unit="micrometre")
        # Names without an ending are those of TIFF files all the same.
        write_tiff(folder / "written.tif", picture.clip(0, 255).astype(np.uint8), grid)
        (folder / "written.tif").rename(folder / name)


def write_rows(path: Path, rows: Sequence[Mapping[str, str]]) -> Path:
    """A table with every column that a row has."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
    return path


def run(*words: str | Path, home: Path, patience: float = 300.0) -> subprocess.CompletedProcess[str]:
    """``correlight batch`` with these words, in a folder, for so many seconds at most."""
    return subprocess.run(
        [*COMMAND, *map(str, words)],
        cwd=home,
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=patience,
    )


def run_here(*words: str | Path, home: Path) -> subprocess.CompletedProcess[str]:
    """The same in this process, for parts and summaries: what is loaded already need not be loaded anew."""
    out, wrong = io.StringIO(), io.StringIO()
    with contextlib.chdir(home), contextlib.redirect_stdout(out), contextlib.redirect_stderr(wrong):
        code = cli.main(["batch", *map(str, words)])
    return subprocess.CompletedProcess(words, code, out.getvalue(), wrong.getvalue())


def environment() -> dict[str, str]:
    """Of this process; processes of the tests beside it take one core each."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def left_over(out: Path) -> list[str]:
    """What only a run that is under way may have beside its results."""
    return sorted(path.name for path in out.rglob(".*"))
