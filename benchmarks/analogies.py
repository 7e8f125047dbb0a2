"""Registration through predicted images: dictionaries, analogies and raw images, by squares and by information.

``python -m benchmarks.analogies registration --data FOLDER`` repeats Table 2 of Cao, Zach & Niethammer (2014,
doi:10.1016/j.media.2013.12.005) where the truth is known, with `auto` on the same draws, appends each draw to
``benchmarks/results/analogies.jsonl`` unless it stands there, and writes ``analogies.md`` and ``analogies.png``.
``speed`` measures what training and prediction take and writes ``analogies-speed.md``. As in the publication images are
about 200 pixels wide, models are trained on two other pairs, and an affine map is fitted from a start that is roughly
right.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.accuracy import RESULTS, append_row, load_rows
from benchmarks.protocol import Draw, Pair, draw, load_pairs
from correlight.appearance.channels import edges
from correlight.images.image import Float32, Image
from correlight.images.plane import Plane, Prediction, stretched
from correlight.io import read
from correlight.predict.analogies import Analogy, Example, predict
from correlight.predict.contrast import prepared
from correlight.predict.dictionaries import JointDictionary, learned, sampled
from correlight.predict.sparse_coding import Coding
from correlight.refine.linear import refine
from correlight.refine.planes import PlanePair, lay
from correlight.refine.samples import MeasureName
from correlight.registration.register import register
from correlight.simulate import Electron, Light, specimen
from correlight.transforms import Affine

ROWS = RESULTS / "analogies.jsonl"
WIDTH = 200
# Of the labels of the nerve.
_MYELIN = 128
# Which pairs a model is trained on, and which it is tested on: never the same section or field.
SECTIONS = {("deepclem-s6", "deepclem-s7"): ("deepclem-s8", "deepclem-s9")}
SECTIONS |= {tested: trained for trained, tested in SECTIONS.items()}
# Starts are off by up to so many degrees and so large a share of the width.
TURN, SHIFT = 4.0, 0.04
MEASURES: tuple[MeasureName, ...] = ("weighted squares", "mutual information")
SHORT = {"weighted squares": "SSD", "mutual information": "MI"}


@dataclass(frozen=True, eq=False)
class Trained:
    """What was learned from two pairs."""

    examples: list[Example]
    dictionary: JointDictionary
    seconds: float


def simulated(seed: int, count: int) -> list[Pair]:
    """Fields of one simulated specimen, of one session: electrons averaged to pixels of the light, and chromatin."""
    rng = np.random.default_rng(seed)
    what, electron, light = specimen("cell", seed, extent=160.0), Electron.draw(rng), Light.draw(rng)
    pairs = []
    for number in range(count):
        own = np.random.default_rng([seed, number])
        place = Affine.of(np.eye(2), own.uniform(-55, 55, 2))
        one = what.electron(0.025, (1200, 1200), place, optics=electron, data_bar=False, rng=own)
        other = what.light(0.1, (300, 300), place, optics=light, rng=own)
        fixed = Plane.of(one, None).resized((300, 300)).values
        chromatin = Plane.of(other, other.channel_index("chromatin")).values
        pairs.append(Pair(f"simulated-{number}", "simulated", fixed, chromatin, Affine.identity(2), 0.0))
    return pairs


def nerve(data: Path) -> list[Pair]:
    """Quarters of a real electron image of a nerve, and a myelin stain made of its labels: blurred, with photon noise.

    This is what the publication registers: myelin is dark, or bright, in one image and bright in the other.
    """
    electrons = read(data / "axondeepseg" / "image.png").grey(None)
    myelin = np.asarray(read(data / "axondeepseg" / "mask.png").grey(None) == _MYELIN, np.float32)
    rows, columns = (side // 2 for side in electrons.shape)
    pairs = []
    for number, (top, left) in enumerate(((0, 0), (rows, columns), (0, columns), (rows, 0))):
        region = np.s_[top : top + rows, left : left + columns]
        rng = np.random.default_rng([number, 9])
        light = rng.poisson(40 * cv2.GaussianBlur(myelin[region], (0, 0), 4.0) + 4).astype(np.float32)
        pairs.append(Pair(f"nerve-{number}", "nerve", electrons[region], light, Affine.identity(2), 0.0))
    return pairs


def at_width(pixels: np.ndarray, spacing: float) -> Plane:
    """Grey values of a picture on pixels so many times as large."""
    return Plane.of(Image.from_array(pixels, rgb=pixels.ndim == 3), None if pixels.ndim == 3 else 0).shrunk(spacing)


def example(pair: Pair) -> Example:
    """Both images of a pair on the same pixels, standardised."""
    fixed = at_width(pair.fixed, pair.fixed.shape[-1] / WIDTH)
    moving = lay(at_width(pair.moving, pair.moving.shape[-1] / WIDTH), pair.moving_from_fixed, fixed.grid)
    mask = fixed.mask & moving.mask
    return prepared(fixed.values, mask, "normalised"), prepared(moving.values, mask, "normalised"), mask


def trained_on(pairs: Sequence[Pair], atoms: int, samples: int) -> Trained:
    """Examples, and a dictionary of two thirds of each; the other third says how sure it is."""
    examples = [example(pair) for pair in pairs]
    cut = [2 * len(mask) // 3 for *_, mask in examples]
    seen = [tuple(part[:rows] for part in one) for one, rows in zip(examples, cut, strict=True)]
    held = [tuple(part[rows:] for part in one) for one, rows in zip(examples, cut, strict=True)]
    began = time.process_time()
    patches = sampled(seen, 15, samples, np.random.default_rng(0))  # type: ignore[arg-type]
    dictionary = learned(patches, atoms, Coding.sparsity)
    seconds = time.process_time() - began
    made = JointDictionary(dictionary, Coding(), np.ones(6)).with_variances(held)  # type: ignore[arg-type]
    return Trained(examples, made, seconds)


@dataclass(frozen=True, eq=False)
class Case:
    """A draw at the working width, and the pairs of planes that are registered."""

    drawn: Draw
    spacing: float
    fixed: Plane
    moving: Plane
    ways: dict[str, tuple[Plane, Plane]]

    def errors(self, found: Affine) -> np.ndarray:
        """Distances from the truth in pixels of the working width."""
        return self.drawn.errors(found, self.fixed.grid.resized((10, 10))) / self.spacing


def case_of(pair: Pair, model: Trained, seed: int) -> Case:
    """The three ways to compare the images of a draw: as the publication compares them."""
    drawn = draw(pair, "near", seed)
    spacing = pair.fixed.shape[-1] / WIDTH
    fixed, moving = at_width(drawn.fixed, spacing), at_width(drawn.moving, spacing)
    assert drawn.moving_mask is not None
    shown = replace(moving, values=drawn.moving_mask.astype(np.float32)).grid
    inside = Plane(
        drawn.moving_mask.astype(np.float32), np.ones_like(drawn.moving_mask), Image.from_array(drawn.moving_mask).grid
    )
    mask = inside.resized((shown.shape[0], shown.shape[1])).values > 0.999
    moving = replace(moving, values=stretched(moving.values, mask), mask=mask)
    given = prepared(fixed.values, fixed.mask, "normalised")
    made = model.dictionary.predict(given, fixed.mask)
    denoised = model.dictionary.denoise_other(prepared(moving.values, mask, "normalised"), mask)
    quoted = predict(given, model.examples, Analogy())

    def plane(values: Float32, like: Plane, confidence: Float32 | None = None) -> Plane:
        known = None if confidence is None else Prediction(like, 0.0, confidence)
        return replace(like, values=stretched(values, like.mask), predicted=known)

    ways = {
        "dictionaries": (plane(made.predicted, fixed, made.confidence), plane(denoised, moving)),
        "analogies": (plane(quoted, fixed), moving),
        "raw": (replace(fixed, values=1 - fixed.values), moving),
    }
    return Case(drawn, spacing, fixed, moving, ways)


def start_of(case: Case, seed: int) -> Affine:
    """A pose that is roughly right."""
    rng = np.random.default_rng([seed, 5])
    truth, grid = case.drawn.moving_from_fixed, case.fixed.grid
    assert truth is not None
    shift = rng.uniform(-SHIFT, SHIFT, 2) * grid.extent[1]
    return truth @ Affine.similarity(rng.uniform(-TURN, TURN), 1.0, False, grid.centre, grid.centre + shift)


def measured(case: Case, start: Affine) -> dict[str, np.ndarray]:
    """Errors of every way by every measure, and of the start."""
    found = {"start": case.errors(start)}
    for name, (fixed, moving) in case.ways.items():
        pair = PlanePair(fixed, moving, edges)
        for measure in MEASURES:
            fit = refine(pair, start, "affine", measure=measure)
            found[f"{name}, {SHORT[measure]}"] = case.errors(Affine(fit.matrix))
    return found


def by_auto(name: str, seed: int, case: Case, *, run: bool) -> tuple[float, str] | None:
    """Mean error of `auto`, which is given neither start nor model, and its verdict; from the rows of the same draw.

    None where there is no such row and it shall not be run.
    """
    for line in (RESULTS / "accuracy-near.jsonl").read_text().splitlines():
        row = json.loads(line)
        if (row["pair"], row["seed"], row["recipe"]) == (name, seed, "auto"):
            return row["error_fraction"] * case.drawn.fixed.shape[-1] / case.spacing, row["status"]
    if not run:
        return None
    fixed, moving = (Image.from_array(one, rgb=one.ndim == 3) for one in (case.drawn.fixed, case.drawn.moving))
    result = register(fixed, moving, "auto", workers=1)
    return case.drawn.error(result.moving_from_fixed) / case.spacing, result.status


def picture(case: Case) -> Float32:
    """Original, both predictions with the confidence of the first between them, and what they are compared with."""
    truth = case.drawn.moving_from_fixed
    assert truth is not None
    sure = case.ways["dictionaries"][0].predicted
    assert sure is not None
    assert sure.confidence is not None
    laid = [lay(plane, truth, case.fixed.grid).values for plane in (case.ways["dictionaries"][1], case.moving)]
    parts = [case.fixed.values, case.ways["dictionaries"][0].values, sure.confidence, case.ways["analogies"][0].values]
    return np.hstack([*parts, *laid])


def groups(data: Path) -> list[tuple[list[Pair], list[Pair]]]:
    """The pairs that are tested, and those that a model is trained on for them."""
    known = {pair.name: pair for pair in load_pairs(data)}
    fields, quarters = simulated(3, 4), nerve(data)
    sections = [
        ([known[name] for name in tested], [known[name] for name in trained]) for trained, tested in SECTIONS.items()
    ]
    return [(quarters[2:], quarters[:2]), *sections, (fields[2:], fields[:2])]


def registration(data: Path, seeds: int, atoms: int, samples: int, *, auto: bool) -> list[str]:
    """Run the draws that are not known yet; the table of all, and what was predicted."""
    learning = {"atoms": atoms, "samples": samples}
    done = {(row["pair"], row["seed"]) for row in _rows(learning)}
    pictures = []
    for tested, trained in groups(data):
        missing = [(pair, seed) for pair in tested for seed in range(seeds) if (pair.name, seed) not in done]
        if not missing:
            continue
        model = trained_on(trained, atoms, samples)
        for pair, seed in missing:
            case = case_of(pair, model, seed)
            found = measured(case, start_of(case, seed))
            known = by_auto(pair.name, seed, case, run=auto)
            row = {
                "pair": pair.name,
                "seed": seed,
                **learning,
                "training_processor_seconds": round(model.seconds),
                "means": {key: round(float(errors.mean()), 4) for key, errors in found.items()},
                "squares": {key: round(float(np.mean(errors**2)), 4) for key, errors in found.items()},
                **({"auto": round(known[0], 4), "status": known[1]} if known else {}),
            }
            append_row(ROWS, row)
            print(json.dumps(row), flush=True)
            # Cases that stand in the file already have no picture any more: an earlier one of all is kept.
            if seed == 0 and not done:
                pictures.append(picture(case))
                _show(pictures)
    return table_of(_rows(learning))


def _rows(learning: dict[str, int]) -> list[dict[str, Any]]:
    return [row for row in load_rows(ROWS) if all(row[name] == value for name, value in learning.items())]


def table_of(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Means and standard deviations over places and draws, pair by pair."""
    columns = list(rows[0]["means"])
    table = [
        "| case | draws | " + " | ".join(columns) + " | auto | its verdicts |",
        "|---|---:|" + "---:|" * (len(columns) + 1) + "---|",
    ]
    for name in dict.fromkeys(row["pair"] for row in rows):
        some = [row for row in rows if row["pair"] == name]
        cells = []
        for key in columns:
            mean = float(np.mean([row["means"][key] for row in some]))
            wide = float(np.mean([row["squares"][key] for row in some])) - mean**2
            cells.append(f"{mean:.2f} ± {np.sqrt(max(wide, 0)):.2f}")
        known = [row for row in some if "auto" in row]
        auto = f"{np.mean([row['auto'] for row in known]):.2f}" if known else "–"
        verdicts = ", ".join(row["status"] for row in known)
        table.append(f"| {name} | {len(some)} | {' | '.join(cells)} | {auto} | {verdicts} |")
    return table


def _show(pictures: Sequence[Float32]) -> None:
    """All cases below each other."""
    wide = max(one.shape[1] for one in pictures)
    sheet = np.vstack([np.pad(one, [(0, 4), (0, wide - one.shape[1])]) for one in pictures])
    cv2.imwrite(str(RESULTS / "analogies.png"), (255 * np.clip(sheet, 0, 1)).astype(np.uint8))


def speed(sides: Sequence[int], atoms: int, samples: int) -> list[str]:
    """Processor seconds of one thread."""
    fields = simulated(3, 3)
    model = trained_on(fields[:2], atoms, samples)
    rows = ["| what | processor seconds |", "|---|---:|"]
    rows.append(f"| learning {atoms} atoms of 15 x 15 pixels from {samples} patches | {model.seconds:.0f} |")
    given, other, _ = example(fields[2])
    for side in sides:
        tiles = -(-side // given.shape[0])
        image = np.ascontiguousarray(np.tile(given, (tiles, tiles))[:side, :side])
        began = time.process_time()
        model.dictionary.predict(image, np.ones(image.shape, bool))
        rows.append(
            f"| dictionaries: {side} x {side} pixels predicted and denoised | {time.process_time() - began:.1f} |"
        )
        print(rows[-1], flush=True)
    known, shown = (np.ascontiguousarray(np.tile(part, (3, 3))[:512, :512]) for part in (given, other))
    began = time.process_time()
    predict(known[::-1], [(known, shown, np.ones(known.shape, bool))], Analogy())
    rows.append(f"| analogies: 512 x 512 pixels from one pair of 512 x 512 | {time.process_time() - began:.1f} |")
    return rows


def main() -> None:
    """Run one of the two and write its page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["registration", "speed"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sides", type=int, nargs="+", default=[200, 1024])
    parser.add_argument("--atoms", type=int, default=900)
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--without-auto", action="store_true", help="take it from rows of other benchmarks only")
    given = parser.parse_args()
    learning = given.atoms, given.samples
    if given.what == "registration":
        command = f"registration --data FOLDER --seeds {given.seeds} --atoms {given.atoms} --samples {given.samples}"
        lines, name = registration(given.data, given.seeds, *learning, auto=not given.without_auto), "analogies"
        said = (
            f"Mean and standard deviation of the distance from the truth, in pixels of images {WIDTH} pixels wide "
            f"(one is 0.5 % of the width). Starts are up to {TURN:g}° and "
            f"{SHIFT:.0%} of the width off; `auto` has neither start nor model, and full pixels."
            f" Dictionaries have {given.atoms} atoms, learned from {given.samples} patches."
        )
    else:
        command = f"speed --sides {' '.join(map(str, given.sides))}"
        lines, name = speed(given.sides, *learning), "analogies-speed"
        said = "Processor seconds of one thread; wall time is less on an idle machine with more threads."
    page = [f"# {name}", "", said, "", "```bash", f"python -m benchmarks.analogies {command}", "```", "", *lines, ""]
    (RESULTS / f"{name}.md").write_text("\n".join(page))


if __name__ == "__main__":
    main()
