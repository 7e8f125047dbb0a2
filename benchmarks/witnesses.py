"""How well witnesses tell right poses from wrong ones, each refined in the same way.

``python -m benchmarks.witnesses --data FOLDER --seeds 2 --unrelated 10 --outlines 12`` draws real pairs in any pose,
pairs of different specimens, and simulated specimens that show little but their outline, with strangers of the same
outline. It refines the true pose by features, and the best of 24 wrong rotations at the true scale, each at its best
shift; a stranger counts as wrong in the pose of its outline. With ``--slices`` and a folder of slices of one slab, each
is laid onto all others by their common outline. It appends a line for each pose to
``benchmarks/results/witnesses.jsonl``, and writes ``witnesses.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.outlines import OTHER
from benchmarks.protocol import Draw, Pair, draw, draw_unrelated, load_pairs
from benchmarks.software import ROOT, commit
from benchmarks.trust import load
from correlight.appearance import APPEARANCES
from correlight.evidence.witnesses import above_displaced, apart_from_outline, of_detail
from correlight.images.image import Image
from correlight.images.plane import Plane, working_planes
from correlight.images.validity import find_valid
from correlight.methods.task import ImagePair
from correlight.refine.linear import refine
from correlight.refine.planes import PlanePair
from correlight.search.correlate import ByFeatures
from correlight.simulate.slab import OUTLINES, slab_pair
from correlight.transforms import Affine

RESULTS = ROOT / "benchmarks" / "results"
# Working size at which wrong shifts are sought, in pixels that are compared; how many rotations, and how many are kept.
_SIZE, _TURNS, _KEPT = 72, 24, 3
# The nearest wrong rotation, degrees.
_AWAY = 15.0
_LEAST_OVERLAP = 0.35
_LEVELS = (128, 256)
_APPEARANCE = APPEARANCES["descriptor and edges"]
WITNESSES = {
    "second": "mutual information",
    "detail": "mutual information of fine detail",
    "second, shaded": "mutual information, under vignettes",
    "detail, shaded": "mutual information of fine detail, under vignettes",
    "inside": "edges inside the outline",
}
KINDS = {
    "pair": "real pairs",
    "unrelated": "of two specimens",
    "outline": "simulated outlines, strangers",
    "slices": "slices of a slab",
}
Row = dict[str, Any]


def main() -> None:
    """Look at the poses that are not recorded yet, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.witnesses")
    parser.add_argument("--data", type=Path, help="folder that holds pairs.json")
    parser.add_argument("--seeds", type=int, default=0, help="draws of each real pair")
    parser.add_argument("--unrelated", type=int, default=0, help="draws of two specimens")
    parser.add_argument("--outlines", type=int, default=0, help="simulated specimens with an outline")
    parser.add_argument("--slices", action="store_true", help="the pairs are slices of one specimen with one outline")
    parser.add_argument("--out", type=Path, default=RESULTS / "witnesses.jsonl")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    done = {(row["kind"], row["name"], row["seed"]) for row in load(asked.out)}
    jobs: list[tuple[str, str, int]] = [
        ("outline", OUTLINES[seed % len(OUTLINES)], seed) for seed in range(asked.outlines)
    ]
    pairs = load_pairs(asked.data) if asked.data is not None else []
    jobs += [("pair", pair.name, seed) for seed in range(asked.seeds) for pair in pairs]
    jobs += [("unrelated", "", seed) for seed in range(asked.unrelated)]
    if asked.slices:
        jobs += [("slices", f"{one.name} with {other.name}", 0) for one in _by_fixed(pairs) for other in pairs]
    for kind, name, seed in jobs:
        if (kind, name, seed) in done:
            continue
        if kind == "outline":
            found = list(_of_outline(seed))
        elif kind == "pair":
            found = list(_of_draw(draw(next(pair for pair in pairs if pair.name == name), "free", seed), seed))
        elif kind == "unrelated":
            found = list(_of_draw(draw_unrelated(pairs, seed), seed))
        else:
            one, other = (next(pair for pair in pairs if pair.name == own) for own in name.split(" with "))
            found = [_of_slices(one, other)]
        with asked.out.open("a") as file:
            for told in found:
                row = {"kind": kind, "name": name, "seed": seed, **told, "commit": commit()}
                file.write(json.dumps(row) + "\n")
                print(row, flush=True)
    asked.out.with_suffix(".md").write_text(page(load(asked.out)), encoding="utf-8")


def _of_draw(drawn: Draw, seed: int) -> Iterator[Row]:
    """The right pose of a draw, and wrong ones of about its scale."""
    both = ImagePair(_image(drawn.fixed), _image(drawn.moving)).planes
    fixed, moving = (next(iter(planes.values())) for planes in both)
    pair = PlanePair(fixed, moving, _APPEARANCE.refine)
    true = drawn.moving_from_fixed
    if true is not None:
        near = refine(pair, Affine.of(true.linear, true.offset), "similarity", levels=_LEVELS)
        # Where even the true pose runs away, there is nothing to be seen.
        yield {"right": bool(drawn.is_right(near)), **_testimony(pair, near)}
    rng = np.random.default_rng([seed, 17])
    around = Affine.similarity(float(rng.uniform(0, 360)), float(np.sqrt(moving.area / fixed.area)))
    for pose in _wrong(fixed, moving, true or around, nearest=0.0 if true is None else _AWAY):
        yield {"right": False, **_testimony(pair, refine(pair, pose, "similarity", levels=_LEVELS))}


def _image(pixels: NDArray[Any]) -> Image:
    """An image without the canvas that it was moved on, as it is read from a file."""
    colours = pixels.ndim == 3
    valid = find_valid(pixels.mean(axis=0) if colours else pixels)
    return Image.from_array(pixels, rgb=colours, mask=valid.mask)


def _of_outline(seed: int) -> Iterator[Row]:
    """A specimen, and a stranger of the same outline, each where its outline is."""
    for inside in (None, OTHER + seed):
        couple = slab_pair(seed, OUTLINES[seed % len(OUTLINES)], inside=inside)
        fixed, moving = (Plane.of(Image.from_array(pixels), 0) for pixels in (couple.fixed, couple.moving))
        pair = PlanePair(fixed, moving, _APPEARANCE.refine)
        true = couple.specimen_from_moving.inverse() @ couple.specimen_from_fixed
        yield {"right": inside is None, **_testimony(pair, refine(pair, true, "affine", levels=_LEVELS))}


def _by_fixed(pairs: list[Pair]) -> list[Pair]:
    """The first pair of each fixed image."""
    return [
        pair
        for number, pair in enumerate(pairs)
        if not any(np.array_equal(pair.fixed, before.fixed) for before in pairs[:number])
    ]


def _of_slices(one: Pair, other: Pair) -> Row:
    """The fixed image of a slice and the moving one of another, as the outline lays them; right if it is the same."""
    both = ImagePair(_image(one.fixed), _image(other.moving)).planes
    fixed, moving = (next(iter(planes.values())) for planes in both)
    pair = PlanePair(fixed, moving, _APPEARANCE.refine)
    pose = refine(pair, other.moving_from_fixed, "affine", levels=_LEVELS)
    return {"right": bool(np.array_equal(one.fixed, other.fixed)), **_testimony(pair, pose)}


def _wrong(fixed: Plane, moving: Plane, around: Affine, nearest: float) -> list[Affine]:
    """Poses of one scale in other orientations, each at its best shift: those that score most."""
    one, other = working_planes(fixed, moving, around.scale, _SIZE * _APPEARANCE.stride)
    engine = ByFeatures(_APPEARANCE.search, _APPEARANCE.stride)(one, other, _LEAST_OVERLAP)
    found = []
    for number in range(_TURNS):
        turn = nearest + 90 * (number % 4) + 22.5 * (number // 8)
        linear = Affine.similarity(around.rotation + turn, 1.0, around.mirrored is not bool(number // 4 % 2)).linear
        shift = engine.best_shifts(linear)[-1]
        if np.isfinite(shift.score):
            laid = other.grid.matrix @ np.linalg.inv(shift.fixed_from_moving) @ np.linalg.inv(one.grid.matrix)
            found.append((shift.score, Affine(laid)))
    return [pose for _, pose in sorted(found, key=lambda item: -item[0])[:_KEPT]]


def _testimony(pair: PlanePair, pose: Any) -> Row:
    """What each witness says of a pose; None where it says nothing."""
    laid = pair.overlay(pose, pair.weighing)
    shaded = replace(laid, fixed=_shaded(laid.fixed, (0.4, 0.45)), moving=_shaded(laid.moving, (0.6, 0.55)))
    said = {
        "second": above_displaced(laid.samples, "mutual information"),
        "detail": of_detail(laid),
        "second, shaded": above_displaced(shaded.samples, "mutual information"),
        "detail, shaded": of_detail(shaded),
        "inside": apart_from_outline(laid),
    }
    return {name: round(value, 2) if np.isfinite(value) else None for name, value in said.items()}


def _shaded(plane: Plane, middle: tuple[float, float]) -> Plane:
    """A plane that is dark at the sides, by a factor of 0.2 half its width from a middle, as light falls off."""
    away = np.indices(plane.values.shape).T / max(plane.values.shape) - middle
    return replace(plane, values=np.asarray(plane.values * np.exp(-6.4 * np.sum(away**2, axis=-1)).T, np.float32))


def page(rows: list[Row]) -> str:
    """What the witnesses say of right and of wrong poses."""
    lines = [
        "# Witnesses",
        "",
        f"`python -m benchmarks.witnesses`, {', '.join(dict.fromkeys(row['commit'] for row in rows))}: standard "
        "deviations above nearby wrong positions, by what the images show at right poses and at wrong ones, all "
        "refined alike.",
        "",
        "| witness | poses | right: number | least, 10 %, median | wrong: number | median, 90 %, most |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, words in WITNESSES.items():
        for kind, what in KINDS.items():
            of = [row for row in rows if row["kind"] == kind and row[name] is not None]
            right, wrong = ([row[name] for row in of if row["right"] is side] for side in (True, False))
            if not of:
                continue
            low, high = _quantiles(right, (0, 0.1, 0.5)), _quantiles(wrong, (0.5, 0.9, 1))
            lines.append(f"| {words} | {what} | {len(right)} | {low} | {len(wrong)} | {high} |")
    return "\n".join([*lines, ""])


def _quantiles(values: list[float], shares: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.1f}" for value in np.quantile(values, shares)) if values else "–"


if __name__ == "__main__":
    main()
