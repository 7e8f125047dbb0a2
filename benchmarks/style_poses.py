"""The recipe ``style-elastic`` from any pose, against no translation, on simulated steel with a known field.

``python -m benchmarks.style_poses run MODEL --count 10`` takes the pairs of ``benchmarks.style --case steel``, but the
light image anew: turned by any angle, mirrored or not, on pixels of 0.04 to 0.055 micrometres where the electron image
has 0.05, and off by up to a micrometre. Both state their pixel size, and nothing else is given. Each is registered by
``style-elastic`` with the model, and by ``auto`` and ``mutual-information`` with a field (``model="elastic"``); a row
for each that is not there yet goes to ``benchmarks/results/style-poses.jsonl``, and ``python -m
benchmarks.style_poses tables`` writes ``style-poses.md``.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.accuracy import RESULTS, append_row, load_rows
from benchmarks.elastic import Bent, bend, bent_copy, nearest_affine, tier
from benchmarks.protocol import ALLOWED_ERROR
from benchmarks.steel import PIXEL, SIDE, micrographs
from benchmarks.style import FIRST_TESTED, TIERS
from correlight import register
from correlight.geometry import Grid
from correlight.registration.result import Result
from correlight.simulate.specimen import centred
from correlight.transforms import Affine

ROWS, PAGE = RESULTS / "style-poses.jsonl", RESULTS / "style-poses.md"
RECIPES = ("style-elastic", "auto", "mutual-information")


def from_any_pose(count: int) -> Iterator[Bent]:
    """Pairs with a known field whose light image lies anyhow; what is called their start is the nearest affine map."""
    for seed in range(count):
        rng = np.random.default_rng([seed, 68])
        angle, pixel = rng.uniform(0, 360), float(np.exp(rng.uniform(np.log(0.04), np.log(0.055))))
        lies = Affine.similarity(angle, 1.0, bool(rng.random() < 0.5), np.zeros(2))
        own = centred(Grid.of((SIDE, SIDE), pixel, unit="micrometre"))
        specimen_from_light = Affine.of(np.eye(2), rng.uniform(-1, 1, 2)) @ lies @ own
        electrons, light = micrographs(FIRST_TESTED + seed, pixel, specimen_from_light)
        field = bend(electrons.grid, 2, 0.01, seed)
        truth = specimen_from_light.inverse() @ centred(electrons.grid) @ field
        start = nearest_affine(truth, electrons.grid)
        yield Bent(f"steel {seed}", bent_copy(electrons, field), light, start, truth)


def judged(bent: Bent, result: Result) -> dict[str, Any]:
    """What was found, by the truth: right is a linear map of which places are off by 2 % of the width or less."""
    assert bent.truth is not None
    pixel, points = bent.moving.grid.spacing[0], bent.fixed.grid.lattice(40)
    points = points[bent.moving.grid.contains(bent.truth(points))]
    true = bent.truth(points)
    before, after = (
        np.linalg.norm(found(points) - true, axis=1) / pixel for found in (bent.start, result.moving_from_fixed)
    )
    right = bool(after.mean() * pixel <= ALLOWED_ERROR * SIDE * PIXEL)
    return {
        "right": right,
        "status": result.status,
        "model": result.model,
        # A wrong pose without a field counts by its own error, and not by that of the map that nobody found.
        "found": result.bending is not None or not right,
        "least_volume": 1.0 if result.bending is None else result.bending.least_volume,
        "before": round(float(np.median(before)), 4),
        "after": round(float(np.median(after)), 4),
    }


def run(given: argparse.Namespace) -> None:
    """Register draws; those that stand in the file already are passed over."""
    done = {(row["name"], row["recipe"]) for row in load_rows(ROWS)}
    for bent in from_any_pose(given.count):
        for recipe in given.recipes.split(","):
            if (bent.name, recipe) in done:
                continue
            asked = {"predictor": given.model} if recipe == "style-elastic" else {"model": "elastic"}
            spent = time.process_time()
            result = register(bent.fixed, bent.moving, recipe, workers=1, **asked)
            row = {"name": bent.name, "recipe": recipe, **judged(bent, result)}
            row["unusualness"] = None if result.predicted is None else round(result.predicted.unusualness, 3)
            row["processor_seconds"] = round(time.process_time() - spent, 1)
            append_row(ROWS, row)
            print(json.dumps(row), flush=True)


def tables() -> str:
    """The page."""
    lines = [
        "# Style transfer from any pose",
        "",
        "The pairs of simulated steel of [style transfer](style.md), whose light image was taken turned by any angle,",
        "mirrored or not, on pixels of another size; both images state their pixel size. Right is up to 2 % of the",
        "width (mean over the image). Tiers are those of the other page, by the true error in pixels of the light",
        "image (median over the image); before is the error of the affine map nearest to the truth.",
        "",
        "```bash",
        "python -m benchmarks.style_poses run MODEL --count N",
        "```",
        "",
        "| recipe | pairs | right | accepted | accepted and wrong | with a field | before | after | "
        "good / decent / bad / poor | folds | processor seconds |",
        "|---|" + 10 * "---:|",
    ]
    rows = load_rows(ROWS)
    for recipe in RECIPES:
        if not (some := [row for row in rows if row["recipe"] == recipe]):
            continue
        accepted = [row for row in some if row["status"] == "accepted"]
        found = [tier(row) for row in some]
        cells = (
            recipe,
            len(some),
            sum(row["right"] for row in some),
            len(accepted),
            sum(not row["right"] for row in accepted),
            sum(row["model"] == "elastic" for row in some),
            *(f"{np.median([row[name] for row in some]):.2f}" for name in ("before", "after")),
            " / ".join(str(found.count(name)) for name in TIERS),
            sum(row["least_volume"] <= 0 for row in some),
            f"{np.median([row['processor_seconds'] for row in some]):.1f}",
        )
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.style_poses", description=__doc__)
    parts = parser.add_subparsers(dest="what", required=True)
    one = parts.add_parser("run")
    one.add_argument("model", type=Path, help="folder of a trained translation")
    one.add_argument("--count", type=int, default=10)
    one.add_argument("--recipes", default=",".join(RECIPES))
    parts.add_parser("tables")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.what == "tables":
        PAGE.write_text(tables())
    else:
        run(given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
