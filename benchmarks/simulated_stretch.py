"""Simulated specimens of which one image is 1.1 to 1.6 times too long along one of its axes, as under a tilted stage.

``python -m benchmarks.simulated_stretch --pairs 50`` simulates electron and light images of six kinds of specimens in
any pose, makes one image longer along y or x without a word in its pixel size, registers them, appends a line for each
to ``benchmarks/results/simulated-stretch.jsonl`` and writes ``simulated-stretch.md``. What is there already is skipped.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median
from typing import get_args

import cv2
import numpy as np

from benchmarks.accuracy import append_row, load_rows
from benchmarks.software import ROOT, commit
from benchmarks.stretch import stretched
from benchmarks.tables import Row
from correlight.images.image import Image
from correlight.registration.register import register
from correlight.simulate.pair import pair
from correlight.simulate.specimen import SpecimenKind
from correlight.transforms import Affine

RESULTS = ROOT / "benchmarks" / "results"
KINDS: tuple[str, ...] = get_args(SpecimenKind)
FACTORS = 1.1, 1.6
# A result is right if its mean error over the common field is at most this share of the width.
ALLOWED_ERROR = 0.02


def main() -> None:
    """Make the runs that are not recorded yet, and the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.simulated_stretch")
    parser.add_argument("--pairs", type=int, default=50, help="specimens")
    parser.add_argument("--out", type=Path, default=RESULTS / "simulated-stretch.jsonl")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    done = {row["seed"] for row in load_rows(asked.out)}
    for seed in range(asked.pairs):
        if seed in done:
            continue
        row = run(seed)
        append_row(asked.out, row)
        print(row, flush=True)
    asked.out.with_suffix(".md").write_text(page(load_rows(asked.out)), encoding="utf-8")


def run(seed: int) -> Row:
    """Register one pair and compare with the truth."""
    rng = np.random.default_rng([seed, 77])
    role, axis = ("fixed", "moving")[int(rng.integers(2))], int(rng.integers(2))
    factor = float(rng.uniform(*FACTORS))
    kind = KINDS[seed % len(KINDS)]
    couple = pair(kind, seed + 1000, electron_shape=(512, 512), light_shape=(384, 384), least_overlap=0.7)  # type: ignore[arg-type]
    images = {"fixed": couple.fixed, "moving": couple.moving}
    whole = images[role]
    pixels, by_index = stretched(np.asarray(whole.levels[0]), axis, factor)
    longer = Image.from_array(pixels, spacing=whole.grid.spacing, channels=whole.channels)
    # Where a place of the image lies in the longer one, both as their pixel sizes state it.
    by = Affine(longer.grid.matrix @ by_index.matrix @ np.linalg.inv(whole.grid.matrix))
    truth = couple.moving_from_fixed
    truth = truth @ by.inverse() if role == "fixed" else by @ truth
    images[role] = longer
    began = time.perf_counter()
    result = register(images["fixed"], images["moving"])
    seconds = time.perf_counter() - began
    grid = images["fixed"].grid
    points = grid.lattice(24)
    points = points[images["moving"].grid.contains(truth(points))]
    apart = np.linalg.norm(result.moving_from_fixed(points) - truth(points), axis=1).mean() / truth.scale
    share = float(apart / max(grid.extent))
    return {
        "seed": seed,
        "kind": kind,
        "longer": role,
        "axis": "yx"[axis],
        "factor": round(factor, 3),
        "status": result.status,
        "confidence": round(result.verdict.confidence, 3),
        "error_share": round(share, 5),
        "success": share <= ALLOWED_ERROR,
        "seconds": round(seconds, 1),
        "commit": commit(),
    }


def page(rows: list[Row]) -> str:
    """The table, a line per kind and one for all."""
    commits = ", ".join(sorted({row["commit"] for row in rows}))
    lines = [
        "# Simulated specimens of which one image is too long along one axis",
        "",
        f"`python -m benchmarks.simulated_stretch --pairs {len(rows)}`, {commits}. "
        "Any rotation, mirrored or not; the longer image, electron or light, claims pixels as before. Right is within "
        "2 % of the width.",
        "",
        "| specimen | pairs | right | right and accepted | accepted and wrong | median error, % | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in (*KINDS, "all"):
        own = [row for row in rows if name in (row["kind"], "all")]
        if own:
            lines.append(_line(name, own))
    missed = [
        f"{row['kind']} {row['factor']:.2f} times along {row['axis']} of the {row['longer']} image ({row['status']})"
        for row in rows
        if not row["success"]
    ]
    if missed:
        lines += ["", f"Not right: {'; '.join(missed)}."]
    return "\n".join(lines) + "\n"


def _line(name: str, rows: list[Row]) -> str:
    right = [row for row in rows if row["success"]]
    accepted = [row for row in right if row["status"] == "accepted"]
    wrong = sum(row["status"] == "accepted" and not row["success"] for row in rows)
    error = f"{100 * median(row['error_share'] for row in right):.2f}" if right else "–"
    seconds = f"{median(row['seconds'] for row in rows):.0f}"
    return f"| {name} | {len(rows)} | {len(right)} | {len(accepted)} | {wrong} | {error} | {seconds} |"


if __name__ == "__main__":
    main()
