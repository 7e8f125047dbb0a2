"""Super-resolution before a registration: coarse light images as they are, interpolated, and drawn on finer pixels.

``python -m benchmarks.superres train MODEL --data FOLDER --left-out deepclem-s9`` learns from the stains of the other
sections of deepclem. ``python -m benchmarks.superres run MODEL --data FOLDER --pairs deepclem-s9 --seeds 2`` makes the
light image of draws of the protocol near four times coarser, and registers it by ``auto`` (or another ``--recipe``) as
it is, on four times finer pixels by a cubic interpolation, and on those by the model; with ``--told`` it is said that
nothing is turned by more than 12 degrees, mirrored or stretched, without which ``mutual-information`` searches for
minutes; rows go to ``benchmarks/results/superres.jsonl``, for each draw once. ``python -m benchmarks.superres tables``
writes ``superres.md``. The light images that the model draws finer are the best case there is: it was trained to undo
the very factor that they were made coarser by.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.accuracy import RESULTS, append_row, load_rows
from benchmarks.predicted_stain import SECTIONS
from benchmarks.protocol import Draw, draw, load_pairs
from correlight import register
from correlight.geometry import Grid
from correlight.images.image import Float32, Image
from correlight.images.plane import Plane
from correlight.predict.model import Model, load
from correlight.predict.training import TrainingSettings
from correlight.training.make import Order, make_model

ROWS, PAGE = RESULTS / "superres.jsonl", RESULTS / "superres.md"
FACTOR = 4
WAYS = ("coarse", "interpolated", "superres", "as acquired")
# What somebody might know of draws of the protocol near.
_KNOWN: dict[str, Any] = {"rotation": (-12.0, 12.0), "mirror": False, "stretch": (1.0, 1.0)}


def train(given: argparse.Namespace) -> None:
    """A model from the stains of the sections that are not left out."""
    entries = {entry["id"]: entry for entry in json.loads((given.data / "pairs.json").read_text())}
    table = given.model.with_suffix(".csv").absolute()
    lines = [str(given.data.absolute() / entries[name]["moving"]) for name in SECTIONS if name not in given.left_out]
    table.write_text("\n".join(["moving", *lines]) + "\n")
    order = Order(table, "superres", "moving", source="stain", target="stain on finer pixels", shrink=1.0)
    settings = TrainingSettings(steps=given.steps, contrast="stretched", device="cpu")
    began, spent = time.perf_counter(), time.process_time()
    make_model(given.model, order, settings, lambda words, fraction: print(words, flush=True), overwrite=True)
    print(f"{time.perf_counter() - began:.0f} s, {time.process_time() - spent:.0f} s of one processor")


def coarse(pixels: np.ndarray, mask: np.ndarray | None) -> Image:
    """The light image on pixels four times as large, over the same field in the same unit."""
    grey = np.asarray(pixels, np.float32) if pixels.ndim == 2 else np.asarray(pixels, np.float32).mean(axis=0)
    shape = tuple(side // FACTOR for side in grey.shape)
    kept = tuple(FACTOR * side for side in shape)
    small = cv2.resize(grey[: kept[0], : kept[1]], shape[::-1], interpolation=cv2.INTER_AREA)
    valid = None
    if mask is not None:
        share = cv2.resize(mask[: kept[0], : kept[1]].astype(np.float32), shape[::-1], interpolation=cv2.INTER_AREA)
        valid = share > 0.99
    return Image((small[None],), Grid.of(kept).resized(shape), ("light",), mask=valid)


def ways(drawn: Draw, model: Model) -> dict[str, Image]:
    """The light image in the four ways."""
    small = coarse(drawn.moving, drawn.moving_mask)
    plane = Plane.of(small, 0)
    finer = model.grid_of(plane.grid)
    shape = finer.shape[0], finer.shape[1]

    def image(values: Float32) -> Image:
        return Image((values[None],), finer, ("light",), mask=plane.resized(shape).mask)

    whole = Image.from_array(drawn.moving, rgb=drawn.moving.ndim == 3)
    return {
        "coarse": small,
        "interpolated": image(plane.resized(shape).values),
        "superres": image(model.apply(plane).values),
        "as acquired": whole,
    }


def run(given: argparse.Namespace) -> None:
    """Register draws; those that stand in the file already are passed over."""
    pairs, model = {pair.name: pair for pair in load_pairs(given.data)}, load(given.model)
    done = {(row["pair"], row["seed"], row["way"], row["recipe"]) for row in load_rows(ROWS)}
    label = f"{given.recipe}, told the range" if given.told else given.recipe
    for name in given.pairs.split(","):
        for seed in range(given.seeds):
            drawn = draw(pairs[name], "near", seed)
            fixed = Image.from_array(drawn.fixed, rgb=drawn.fixed.ndim == 3)
            for way, moving in ways(drawn, model).items():
                if (name, seed, way, label) in done or way not in given.ways.split(","):
                    continue
                spent = time.process_time()
                result = register(fixed, moving, given.recipe, workers=1, **(_KNOWN if given.told else {}))
                row: dict[str, Any] = {
                    "pair": name,
                    "seed": seed,
                    "way": way,
                    "recipe": label,
                    "success": drawn.is_right(result.moving_from_fixed),
                    "error_fraction": drawn.error(result.moving_from_fixed) / drawn.fixed.shape[-1],
                    "status": result.status,
                    "confidence": result.verdict.confidence,
                    "cpu_seconds": round(time.process_time() - spent, 1),
                }
                append_row(ROWS, row)
                print(json.dumps(row), flush=True)


def tables() -> str:
    """The page."""
    lines = [
        "# Super-resolution before a registration",
        "",
        "Light images of the protocol near made four times coarser, registered to the electron image: as",
        "they are, on four times finer pixels by a cubic interpolation, by a model trained on the stains of the other",
        "sections, and as they were before they were made coarser. Errors are medians in % of the width. Where the",
        "range was told, it was said that nothing is turned by more than 12 degrees, mirrored or stretched.",
        "",
        "```bash",
        "python -m benchmarks.superres train MODEL --data FOLDER --left-out deepclem-s9 --steps 300",
        "python -m benchmarks.superres run MODEL --data FOLDER --pairs deepclem-s9,deepclem-demo --seeds N",
        "python -m benchmarks.superres run MODEL --data FOLDER --pairs PAIRS --recipe mutual-information --told",
        "```",
        "",
        "| pair | light image | recipe | draws | right | accepted | median error | CPU s, median |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    rows = load_rows(ROWS)
    for name, recipe, way in sorted({(row["pair"], row["recipe"], row["way"]) for row in rows}, key=_order):
        some = [row for row in rows if (row["pair"], row["recipe"], row["way"]) == (name, recipe, way)]
        counts = len(some), sum(row["success"] for row in some), sum(row["status"] == "accepted" for row in some)
        error, spent = (np.median([row[key] for row in some]) for key in ("error_fraction", "cpu_seconds"))
        cells = (name, way, recipe, *counts, f"{100 * error:.2f}", f"{spent:.1f}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def _order(key: tuple[str, str, str]) -> tuple[str, str, int]:
    return key[0], key[1], WAYS.index(key[2])


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.superres", description=__doc__)
    parts = parser.add_subparsers(dest="what", required=True)
    for name in ("train", "run"):
        one = parts.add_parser(name)
        one.add_argument("model", type=Path)
        one.add_argument("--data", type=Path, required=True)
        if name == "train":
            one.add_argument("--left-out", default="deepclem-s9")
            one.add_argument("--steps", type=int, default=1000)
        else:
            one.add_argument("--pairs", default="deepclem-s9")
            one.add_argument("--seeds", type=int, default=2)
            one.add_argument("--recipe", default="auto")
            one.add_argument("--ways", default=",".join(WAYS))
            one.add_argument("--told", action="store_true", help="say how far the light image is turned at most")
    parts.add_parser("tables")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.what == "tables":
        PAGE.write_text(tables())
    else:
        {"train": train, "run": run}[given.what](given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
