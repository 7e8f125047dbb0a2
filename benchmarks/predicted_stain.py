"""The recipe ``predicted-stain``: trained on some sections, tested from any pose on others, against no training at all.

``python -m benchmarks.predicted_stain train MODEL --data FOLDER --left-out deepclem-s9`` trains on the other registered
sections of deepclem. ``python -m benchmarks.predicted_stain draws MODEL --data FOLDER --left-out deepclem-s9 --pairs
deepclem-s9,deepclem-demo --seeds 10`` registers draws of the protocol free with it, appends each to
``benchmarks/results/predicted-stain.jsonl``, and writes ``predicted-stain.md`` with what other recipes did on the same
draws, as far as ``accuracy-free*.jsonl`` holds them. ``python -m benchmarks.predicted_stain unusual MODEL --data FOLDER
--left-out deepclem-s9`` says how unusual the model finds either image of every pair. ``python -m
benchmarks.predicted_stain contrasts FOLDER --data FOLDER --left-out deepclem-s9 --steps 500 --seeds 2`` trains a model
for every way to prepare grey values, and compares its predictions with the stains that were left out, and what grey
values of both register; a row for each goes to ``predicted-stain-contrasts.jsonl``.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.accuracy import append_row, load_rows
from benchmarks.protocol import Draw, Pair, draw, load_pairs
from benchmarks.software import commit
from correlight import Image, register
from correlight.images.plane import Plane
from correlight.predict.facts import Contrast
from correlight.predict.model import Model
from correlight.predict.model import load as load_model
from correlight.predict.training import TrainingSettings
from correlight.recipes import Recipe, load
from correlight.refine.planes import lay
from correlight.training.make import Order, make_model

RESULTS = Path(__file__).resolve().parent / "results"
ROWS = RESULTS / "predicted-stain.jsonl"
CONTRAST_ROWS = RESULTS / "predicted-stain-contrasts.jsonl"
SECTIONS = ("deepclem-s6", "deepclem-s7", "deepclem-s8", "deepclem-s9")
OTHERS = ("accuracy-free", "accuracy-free-mutual-information")


def train(given: argparse.Namespace) -> None:
    """A model from the sections that are not left out; its seconds go into its provenance by the clock and the CPU."""
    entries = {entry["id"]: entry for entry in json.loads((given.data / "pairs.json").read_text())}
    used = [entries[name] for name in SECTIONS if name not in given.left_out.split(",")]
    table = given.model.with_suffix(".csv")
    table.parent.mkdir(exist_ok=True)
    lines = [f"{given.data / one['fixed']},{given.data / one['moving']},registered" for one in used]
    table.write_text("\n".join(["fixed,moving,transform", *lines]) + "\n")
    order = Order(table.absolute(), "predicted-stain", source="electron", target="chromatin", shrink=given.shrink)
    settings = TrainingSettings(steps=given.steps, contrast=given.contrast, device="cpu")
    began, spent = time.perf_counter(), time.process_time()
    make_model(given.model, order, settings, lambda words, fraction: print(words, flush=True), overwrite=True)
    table.unlink()
    print(f"{time.perf_counter() - began:.0f} s, {time.process_time() - spent:.0f} s of one processor")


def draws(given: argparse.Namespace) -> None:
    """Register draws with a model; those that stand in the file already are passed over."""
    pairs = {pair.name: pair for pair in load_pairs(given.data)}
    known = [json.loads(line) for line in ROWS.read_text().splitlines()] if ROWS.exists() else []
    done = {(row["left_out"], row["compared_by"], row["pair"], row["seed"]) for row in known}
    recipe = load("predicted-stain")
    if given.compared_by:
        recipe = recipe.with_settings("appearance", compared_by=given.compared_by)
    by = recipe.parts["appearance"].settings.model_dump()["compared_by"]
    for name in given.pairs.split(","):
        for seed in range(given.seeds):
            if (given.left_out, by, name, seed) in done:
                continue
            one = draw(pairs[name], "free", seed)
            began, spent = time.perf_counter(), time.process_time()
            fixed, moving = (Image.from_array(array, rgb=array.ndim == 3) for array in (one.fixed, one.moving))
            result = register(fixed, moving, recipe, predictor=given.model, workers=1)
            assert result.predicted is not None
            row: dict[str, Any] = {
                "pair": name,
                "seed": seed,
                "left_out": given.left_out,
                "compared_by": by,
                "success": one.is_right(result.moving_from_fixed),
                "error_fraction": one.error(result.moving_from_fixed) / one.fixed.shape[-1],
                "status": result.status,
                "confidence": result.verdict.confidence,
                "role": result.predicted.role,
                "unusualness": result.predicted.unusualness,
                "seconds": round(time.perf_counter() - began, 1),
                "cpu_seconds": round(time.process_time() - spent, 1),
                "commit": commit(),
            }
            print(json.dumps(row), flush=True)
            with ROWS.open("a") as file:
                file.write(json.dumps(row) + "\n")
    write_table()


def write_table() -> None:
    """``predicted-stain.md`` from all rows, and from those of other recipes on the same draws."""
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in ROWS.read_text().splitlines():
        row = json.loads(line)
        groups[row["left_out"], row["pair"], row["compared_by"]].append(row)
    lines = [
        "# The recipe predicted-stain, on draws of the protocol free",
        "",
        "Trained on the other sections of deepclem; other recipes on the same draws, as far as measured.",
        "",
        "| left out of training | pair | recipe | compared by | right | accepted | accepted and wrong | median error, "
        "% of the width | out-of-distribution score, median | CPU s, median |",
        "|---|---|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (left_out, pair, by), rows in sorted(groups.items()):
        lines.append(_line(f"| {left_out} | {pair} | predicted-stain | {by} |", rows))
    seeds = {(row["pair"], row["seed"]) for rows in groups.values() for row in rows}
    for file in OTHERS:
        others: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
        for line in (RESULTS / f"{file}.jsonl").read_text().splitlines():
            row = json.loads(line)
            if (row["pair"], row["seed"]) in seeds:
                others[row["pair"], row["recipe"]].append(row)
        for (pair, recipe), rows in sorted(others.items()):
            lines.append(_line(f"| | {pair} | {recipe} | |", rows))
    (RESULTS / "predicted-stain.md").write_text("\n".join(lines) + "\n")


def _line(head: str, rows: list[dict[str, Any]]) -> str:
    right = sum(row["success"] for row in rows)
    accepted = [row for row in rows if row["status"] == "accepted"]
    wrong = sum(not row["success"] for row in accepted)
    errors = 100 * float(np.median([row["error_fraction"] for row in rows]))
    unusual, spent = (
        f"{np.median([row[name] for row in rows]):.2f}" if all(name in row for row in rows) else ""
        for name in ("unusualness", "cpu_seconds")
    )
    count = len(rows)
    return f"{head} {right} of {count} | {len(accepted)} of {count} | {wrong} | {errors:.2f} | {unusual} | {spent} |"


def unusual(given: argparse.Namespace) -> None:
    """How unusual a model finds either image of every pair, in ``predicted-stain-unusual.md``."""
    model = load_model(given.model)
    lines = [
        "# Out-of-distribution scores of a model of chromatin in electron images",
        "",
        f"Trained on the sections of deepclem but {given.left_out}; above 1 a result is doubtful.",
        "",
        "| pair | fixed image | moving image |",
        "|---|---:|---:|",
    ]
    for pair in load_pairs(given.data):
        scores = []
        for pixels in (pair.fixed, pair.moving):
            image = Image.from_array(pixels, rgb=pixels.ndim == 3)
            scores.append(model.unusualness(Plane.of(image, None if image.rgb else 0)))
        lines.append(f"| {pair.name} | {scores[0]:.2f} | {scores[1]:.2f} |")
    (RESULTS / "predicted-stain-unusual.md").write_text("\n".join(lines) + "\n")


def contrasts(given: argparse.Namespace) -> None:
    """Every way to prepare grey values, by one training each; those that stand in the file already are passed over."""
    pairs = {pair.name: pair for pair in load_pairs(given.data)}
    recipe = load("predicted-stain").with_settings("appearance", compared_by=given.compared_by or "grey values")
    for contrast in get_args(Contrast):
        if contrast in {row["contrast"] for row in load_rows(CONTRAST_ROWS)}:
            continue
        folder = given.model / contrast.replace(" ", "-")
        train(argparse.Namespace(**{**vars(given), "model": folder, "contrast": contrast}))
        model, row = load_model(folder), {"contrast": contrast, "left_out": given.left_out, "steps": given.steps}
        for name in (given.left_out, "deepclem-demo"):
            seeds = range(given.seeds if name in given.pairs.split(",") else 0)
            tried = [by_grey_values(draw(pairs[name], "free", seed), recipe, folder) for seed in seeds]
            row[name] = {"correlation": agreement(model, pairs[name]), "draws": tried}
        print(json.dumps(row), flush=True)
        append_row(CONTRAST_ROWS, row)
    lines = [
        "# Ways to prepare grey values before a stain is predicted",
        "",
        "One model each, trained on the sections of deepclem that are not left out; correlation of prediction and",
        "stain where the truth lays them on each other, and draws of the protocol free that grey values register.",
        "",
        "| contrast | left out | steps | pair | correlation | right | accepted | median error, % of the width |",
        "|---|---|---:|---|---:|---:|---:|---:|",
    ]
    for row in load_rows(CONTRAST_ROWS):
        for name in (name for name in row if name.startswith("deepclem")):
            tried, count = row[name]["draws"], len(row[name]["draws"])
            right, accepted = (sum(one[key] for one in tried) for key in ("right", "accepted"))
            error = f"{100 * np.median([one['error_fraction'] for one in tried]):.2f}" if tried else "–"
            lines.append(
                f"| {row['contrast']} | {row['left_out']} | {row['steps']} | {name} | {row[name]['correlation']:.3f} | "
                f"{right} of {count} | {accepted} of {count} | {error} |"
            )
    CONTRAST_ROWS.with_suffix(".md").write_text("\n".join(lines) + "\n")


def agreement(model: Model, pair: Pair) -> float:
    """The correlation of prediction and stain at the pixel size of the model."""
    fixed, moving = (
        Plane.of(Image.from_array(one, rgb=one.ndim == 3), None if one.ndim == 3 else 0)
        for one in (pair.fixed, pair.moving)
    )
    rows, columns = model.at_its_pixels(fixed).grid.shape
    made = model.apply(fixed).resized((rows, columns))
    laid = lay(moving.shrunk(model.facts.shrink), pair.moving_from_fixed, made.grid)
    both = made.mask & laid.mask
    return round(float(np.corrcoef(made.values[both], laid.values[both])[0, 1]), 4)


def by_grey_values(one: Draw, recipe: Recipe, model: Path) -> dict[str, Any]:
    """One draw registered."""
    fixed, moving = (Image.from_array(array, rgb=array.ndim == 3) for array in (one.fixed, one.moving))
    result = register(fixed, moving, recipe, predictor=model, workers=1)
    error = one.error(result.moving_from_fixed) / one.fixed.shape[-1]
    right = one.is_right(result.moving_from_fixed)
    return {"right": right, "accepted": result.status == "accepted", "error_fraction": round(error, 5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["train", "draws", "unusual", "contrasts"])
    parser.add_argument("model", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--left-out", required=True)
    parser.add_argument("--pairs", default="deepclem-s9,deepclem-demo")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--compared-by")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--shrink", type=float, default=4.0)
    parser.add_argument("--contrast", default="equalised")
    given = parser.parse_args()
    {"train": train, "draws": draws, "unusual": unusual, "contrasts": contrasts}[given.what](given)


if __name__ == "__main__":
    main()
