"""What ``auto`` does about smooth fields by itself: real pairs, and simulated ones with a field and without.

``python -m benchmarks.auto_fields --data FOLDER`` registers every pair with the recipe ``auto`` and its true pose as a
start, so that the search costs little, and appends a row for each to ``benchmarks/results/auto-fields.jsonl``; it goes
on where it stopped. ``--tables`` prints them as Markdown. Errors are medians over the landmarks of a pair, or else over
places of the fixed image that both images show, in pixels of the moving image: of the linear map of the result, and of
the result.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.accuracy import RESULTS, append_row, load_rows
from benchmarks.elastic import KINDS, bend, bent_copy, nearest_affine
from benchmarks.protocol import load_pairs
from correlight import register
from correlight.geometry import Points
from correlight.images.image import Image
from correlight.simulate import pair
from correlight.transforms import Affine, Transform

FILE = RESULTS / "auto-fields.jsonl"


@dataclass(frozen=True, eq=False)
class Known:
    """Two images, a start, and places of the fixed image with where they belong in the moving one."""

    name: str
    fixed: Image
    moving: Image
    start: Affine
    points: Points
    belong: Points


def real(data: Path) -> Iterator[Known]:
    """The pairs of a folder, and of its folder ``slabs``."""
    for folder in (data, data / "slabs"):
        landmarks = {one["id"]: one.get("landmarks") for one in json.loads((folder / "pairs.json").read_text())}
        for one in load_pairs(folder):
            fixed, moving = Image.from_array(one.fixed, 1.0), Image.from_array(one.moving, 1.0)
            points = fixed.grid.lattice(30)
            belong = one.moving_from_fixed(points)
            if landmarks[one.name]:
                with (folder / landmarks[one.name]).open() as file:
                    rows = list(csv.DictReader(file))
                sides = [[(float(row[f"{side}_y"]), float(row[f"{side}_x"])) for row in rows] for side in _SIDES]
                points, belong = (np.asarray(side) for side in sides)
            yield Known(one.name, fixed, moving, one.moving_from_fixed, points, belong)


_SIDES = ("fixed", "moving")


def simulated(count: int) -> Iterator[Known]:
    """All specimens with an affine truth, and with a field that moves places by 1 % of the width beyond it."""
    for seed in range(count):
        for kind in KINDS:
            made = pair(kind, 8100 + seed)
            field = bend(made.fixed.grid, 2, 0.01, seed)
            bent = made.moving_from_fixed @ field
            for name, fixed, truth in (
                ("affine", made.fixed, made.moving_from_fixed),
                ("bent", bent_copy(made.fixed, field), bent),
            ):
                points = fixed.grid.lattice(30)
                points = points[made.moving.grid.contains(truth(points))]
                start = nearest_affine(truth, fixed.grid)
                yield Known(f"{name} {kind} {seed}", fixed, made.moving, start, points, truth(points))


def measured(known: Known) -> dict[str, Any]:
    """One registration."""
    began = time.process_time()
    result = register(known.fixed, known.moving, start=known.start, workers=1)
    spent = time.process_time() - began
    linear = result.poses[0].moving_from_fixed

    def off(found: Transform) -> float:
        return float(np.median(np.linalg.norm(found(known.points) - known.belong, axis=1)))

    pixel = float(np.mean(known.moving.grid.spacing))
    return {
        "name": known.name,
        "status": result.status,
        "model": result.model,
        "linear_px": round(off(linear) / pixel, 3),
        "result_px": round(off(result.moving_from_fixed) / pixel, 3),
        "predicted_px": round(result.predicted_error.median * linear.scale / pixel, 3),
        "processor_seconds": round(spent, 1),
        "why": result.model_reason,
    }


def tables(rows: list[dict[str, Any]]) -> str:
    """All rows as Markdown."""
    names = ("pair", "verdict", "model", "linear map, px", "result, px", "predicted, px", "processor seconds")
    out = [f"| {' | '.join(names)} |", "|---|---|---|" + "---:|" * 4]
    keys = ("name", "status", "model", "linear_px", "result_px", "predicted_px", "processor_seconds")
    out += [f"| {' | '.join(str(row[key]) for key in keys)} |" for row in rows]
    return "\n".join(out)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.auto_fields", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of real pairs; without it, simulated ones are made")
    parser.add_argument("--count", type=int, default=1, help="draws of every specimen")
    parser.add_argument("--tables", action="store_true", help="print what was run, and run nothing")
    parser.add_argument("--file", type=Path, default=FILE)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    rows = load_rows(asked.file)
    if asked.tables:
        print(tables(rows))
        return 0
    done = {row["name"] for row in rows}
    for known in real(asked.data) if asked.data else simulated(asked.count):
        if known.name in done:
            continue
        row = measured(known)
        append_row(asked.file, row)
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
