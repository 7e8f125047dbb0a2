"""Style transfer before an elastic registration: raw against translated on simulated metals with a known field.

``python -m benchmarks.style train MODEL --as pix2pix`` simulates pairs of a light-optical and an electron micrograph,
none of them a pair of the test, and trains a model that translates the first into the second; ``--as unpaired`` takes
the two images of each from different specimens. ``--case steel`` is one etched steel under the instruments of one
laboratory (`benchmarks.steel`), which is what the publication had; ``--case grains`` the metals of
``benchmarks.elastic``, where every specimen has a contrast of its own. ``python -m benchmarks.style run MODEL ...
--case steel --count 10`` registers pairs as they are and translated by each model, from the nearest affine map to a
field, and appends a row to ``benchmarks/results/style.jsonl`` for each that is not there yet; with ``--peer simpleitk``
by that program in place of this one. ``python -m benchmarks.style tables`` writes ``benchmarks/results/style.md`` with
the four tiers of the publication, by the true error.
``python -m benchmarks.style picture MODEL ... -o FILE`` shows what the models make of some pairs.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import binomtest

from benchmarks.accuracy import RESULTS, append_row, load_rows
from benchmarks.elastic import Bent, bend, bent_copy, cases, measured, nearest_affine, planes_of, tier
from benchmarks.steel import micrographs
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.io.write import write_ome_tiff
from correlight.predict.kinds import kind
from correlight.predict.model import Model, load
from correlight.predict.training import TrainingSettings
from correlight.refine.planes import lay
from correlight.simulate import pair
from correlight.training.make import Order, make_model

ROWS, PAGE = RESULTS / "style.jsonl", RESULTS / "style.md"
# Seeds of the pairs to learn from, and of those of the test.
_FIRST_SEED, FIRST_TESTED = 3000, 7000
CASES = ("steel", "grains")
_ASKED = {"rotation": 0.0, "mirror": False, "stretch": 1.0, "shear": 0.0, "least_overlap": 0.98, "data_bar": False}
_SIZES = {"electron_shape": (512, 512), "light_shape": (512, 512), "electron_spacing": 0.1, "light_spacing": 0.1}
_COLUMNS = ["specimens", "program", "compared", "pairs", "before", "after", "good / decent / bad / poor"]
_COLUMNS += ["good or decent", "folds", "correlation", "processor seconds"]
TIERS = ("good", "decent", "bad", "poor")


def on_each_other(case: str, seed: int) -> tuple[np.ndarray, Image]:
    """A light image, and the electron image on its pixels; NaN where there is none."""
    if case == "steel":
        electrons, light = micrographs(seed)
        return np.asarray(electrons.levels[0], np.float32), light
    made = pair("grains", seed, **_ASKED, **_SIZES)  # type: ignore[arg-type]
    laid, shown = warp(made.fixed, made.fixed.grid, made.moving_from_fixed.inverse(), made.moving.grid)
    return np.where(shown, np.asarray(laid, np.float32), np.nan), made.moving


def tested(case: str, count: int) -> Iterator[Bent]:
    """Pairs with a known field."""
    if case == "grains":
        yield from cases("grains", count)
        return
    for seed in range(count):
        electrons, light = micrographs(FIRST_TESTED + seed)
        field = bend(electrons.grid, 2, 0.01, seed)
        yield Bent(f"steel {seed}", bent_copy(electrons, field), light, nearest_affine(field, electrons.grid), field)


def write_pairs(folder: Path, case: str, count: int, *, apart: bool) -> Path:
    """A table of simulated pairs: electron images on the pixels of the light images, or of other specimens."""
    rows = ["fixed,moving,transform"]
    for number in range(count):
        values, light = on_each_other(case, _FIRST_SEED + number)
        write_ome_tiff(folder / f"sem{number}.ome.tif", values, light.grid, ["electrons"])
        write_ome_tiff(folder / f"light{number}.ome.tif", np.asarray(light.levels[0]), light.grid, light.channels)
    for number in range(count):
        other = (number + count // 2) % count if apart else number
        rows.append(f"sem{other}.ome.tif,light{number}.ome.tif,registered")
    table = folder / "pairs.csv"
    table.write_text("\n".join(rows) + "\n")
    return table


def train(given: argparse.Namespace) -> None:
    """A model from fresh pairs, and how long it took."""
    # Always the same place, so that an interrupted training goes on when it is started again.
    home = given.model.with_suffix(".pairs").absolute()
    home.mkdir(exist_ok=True)
    table = write_pairs(home, given.case, given.count, apart=kind(given.as_).pairing == "unpaired")
    order = Order(table, given.as_, "moving", source="light-optical", target="SEM", shrink=given.shrink)
    settings = TrainingSettings(steps=given.steps, contrast="normalised", device="cpu")
    began, spent = time.perf_counter(), time.process_time()
    make_model(given.model, order, settings, lambda words, fraction: print(words, flush=True), overwrite=True)
    print(f"{time.perf_counter() - began:.0f} s, {time.process_time() - spent:.0f} s of one processor")


def translated(bent: Bent, model: Model) -> Bent:
    """A pair whose light image is replaced by its translation."""
    made = model.apply(Plane.of(bent.moving, 0))
    return replace(bent, moving=Image((made.values[None],), bent.moving.grid, ("translated",), mask=made.mask))


def ways(bent: Bent, models: list[Model]) -> Iterator[tuple[str, Bent]]:
    """The pair as it is, and as each model translates it."""
    yield "raw", bent
    for model in models:
        yield model.facts.kind, translated(bent, model)


def run(given: argparse.Namespace) -> None:
    """Register draws; those that stand in the file already are passed over."""
    models, known = [load(folder) for folder in given.models], load_rows(ROWS)
    done = {(row["name"], row["peer"], row["way"]) for row in known}
    for bent in tested(given.case, given.count):
        for way, shown in ways(bent, models):
            if (bent.name, given.peer or "correlight", way) in done:
                continue
            row: dict[str, Any] = {"way": way, **measured(shown, given.peer), **likeness(shown)}
            append_row(ROWS, row)
            print(json.dumps(row), flush=True)


def likeness(bent: Bent) -> dict[str, float]:
    """The correlation of the grey values of both images where the truth lays them on each other."""
    fixed, moving = Plane.of(bent.fixed, 0), planes_of(bent)[0].moving
    assert bent.truth is not None
    laid = lay(moving, bent.truth, fixed.grid)  # type: ignore[arg-type]
    both = fixed.mask & laid.mask
    return {"correlation": round(float(np.corrcoef(fixed.values[both], laid.values[both])[0, 1]), 3)}


def tables() -> str:
    """The page."""
    rows = load_rows(ROWS)
    lines = [
        "# Style transfer before an elastic registration",
        "",
        "Simulated light-optical and electron micrographs of metals with a known field of 1 % of the width, from",
        "the nearest affine map; errors in pixels of the light image (median over the image, then over the pairs).",
        "Good is up to 1 pixel, decent up to 2; poor is what folds or is further from the truth than without a field.",
        "`steel` is one etched steel under the instruments of one laboratory, `grains` are metals that each have a",
        "contrast of their own. `raw` compares the images as they are, the others a translation of the light image by",
        "a trained model. Shares good or decent come with the exact binomial interval of 95 %. The correlation is that",
        "of grey values at the truth, without its sign.",
        "",
        "```bash",
        "python -m benchmarks.style train MODEL --as pix2pix --case steel --count 16 --steps 800",
        "python -m benchmarks.style train MODEL --as unpaired --case steel --count 16 --steps 3000",
        "python -m benchmarks.style train MODEL --as pix2pix --case grains --count 40 --steps 1000",
        "python -m benchmarks.style run MODEL ... --case CASE --count N [--peer simpleitk]",
        "```",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---|---|---|" + (len(_COLUMNS) - 3) * "---:|",
    ]

    def key(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["name"].split()[0], row["peer"], row["way"]

    for case, program, way in sorted({key(row) for row in rows}, reverse=True):
        some = [row for row in rows if key(row) == (case, program, way)]
        found = [tier(row) for row in some]
        counts = " / ".join(str(found.count(name)) for name in TIERS)
        middle = [f"{np.median([row[name] for row in some]):.2f}" for name in ("before", "after")]
        right = found.count("good") + found.count("decent")
        low, high = binomtest(right, len(some)).proportion_ci()
        share = f"{100 * right / len(some):.0f} % ({100 * low:.0f} to {100 * high:.0f})"
        folds = sum(row["least_volume"] <= 0 for row in some)
        alike = f"{np.median([abs(row['correlation']) for row in some]):.2f}"
        spent = f"{np.median([row['processor_seconds'] for row in some]):.1f}"
        cells = (case, program, way, len(some), *middle, counts, share, folds, alike, spent)
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


def picture(given: argparse.Namespace) -> None:
    """Electron image, light image and every translation, side by side at the truth, some pairs below each other."""
    models, sheet = [load(folder) for folder in given.models], []
    for bent in tested(given.case, given.count):
        shown = [lay(Plane.of(one.moving, 0), bent.truth, bent.fixed.grid).values for _, one in ways(bent, models)]  # type: ignore[arg-type]
        sheet.append(np.hstack([Plane.of(bent.fixed, 0).values, *shown]))
    small = cv2.resize(np.vstack(sheet), None, fx=given.size, fy=given.size, interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(given.output), (255 * small).clip(0, 255).astype(np.uint8))


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.style", description=__doc__)
    parts = parser.add_subparsers(dest="what", required=True)
    one = parts.add_parser("train")
    one.add_argument("model", type=Path)
    one.add_argument("--as", dest="as_", choices=["pix2pix", "unpaired", "predicted-stain"], default="pix2pix")
    one.add_argument("--case", choices=CASES, default="steel")
    one.add_argument("--count", type=int, default=40, help="pairs to learn from")
    one.add_argument("--steps", type=int, default=2000)
    one.add_argument("--shrink", type=float, default=2.0)
    for name in ("run", "picture"):
        one = parts.add_parser(name)
        one.add_argument("models", type=Path, nargs="*")
        one.add_argument("--case", choices=CASES, default="steel")
        one.add_argument("--count", type=int, default=10)
        if name == "run":
            one.add_argument("--peer", choices=["simpleitk"])
        else:
            one.add_argument("-o", "--output", type=Path, required=True)
            one.add_argument("--size", type=float, default=0.5)
    parts.add_parser("tables")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    if given.what == "tables":
        PAGE.write_text(tables())
    else:
        {"train": train, "run": run, "picture": picture}[given.what](given)
    return 0


if __name__ == "__main__":
    sys.exit(main())
