"""Specimens that show little but their outline, and the same outlines with something else inside.

``python -m benchmarks.outlines --pairs 50 --strangers 20`` simulates slabs, tissue cores and ribbons of sections in any
pose, the moving scan distorted by up to 4 % of the width, registers them, appends a line for each to
``benchmarks/results/outlines.jsonl`` and writes ``outlines.md``. What is there already is skipped.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.software import ROOT, commit
from benchmarks.trust import load
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.registration.register import register
from correlight.simulate.slab import OUTLINES, SlabPair, slab_pair
from correlight.transforms import Affine, Projective

RESULTS = ROOT / "benchmarks" / "results"
# A result is right if its mean error is at most this share of the width beyond that of the best affine map.
ALLOWED_ERROR = 0.02
# What strangers show inside is drawn with the seed plus this.
OTHER = 10_000
Row = dict[str, Any]


def main() -> None:
    """Make the runs that are not recorded yet, and the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outlines")
    parser.add_argument("--pairs", type=int, default=0, help="specimens")
    parser.add_argument("--strangers", type=int, default=0, help="specimens of the same outline that are not the same")
    parser.add_argument("--out", type=Path, default=RESULTS / "outlines.jsonl")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    done = {(row["related"], row["seed"]) for row in load(asked.out)}
    wanted = [
        (seed, related) for related, count in ((True, asked.pairs), (False, asked.strangers)) for seed in range(count)
    ]
    for seed, related in sorted(wanted):
        if (related, seed) in done:
            continue
        row = run(seed, related)
        with asked.out.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(
            {key: row[key] for key in ("outline", "seed", "related", "success", "status", "confidence", "seconds")},
            flush=True,
        )
    asked.out.with_suffix(".md").write_text(page(load(asked.out)), encoding="utf-8")


def run(seed: int, related: bool) -> Row:
    """Register one pair and compare with the truth, which a stranger does not have."""
    outline = OUTLINES[seed % len(OUTLINES)]
    pair = slab_pair(seed, outline, inside=None if related else OTHER + seed)
    began = time.perf_counter()
    result = register(Image.from_array(pair.fixed), Image.from_array(pair.moving), workers=1)
    row: Row = {
        "related": related,
        "outline": outline,
        "seed": seed,
        "success": False,
        "status": result.status,
        "confidence": result.verdict.confidence,
        "evidence": {one.name: one.value for one in result.verdict.evidence},
        "seconds": round(time.perf_counter() - began, 1),
        "commit": commit(),
    }
    if not result.poses:
        return row
    assert isinstance(result.moving_from_fixed, Affine | Projective)
    share, best = errors(pair, result.moving_from_fixed)
    # How far a stranger is laid as its outline has it is worth knowing, but never right.
    return {**row, "error_share": share, "affine_share": best, "success": related and share <= ALLOWED_ERROR + best}


def errors(pair: SlabPair, found: Affine | Projective) -> tuple[float, float]:
    """Mean error over the moving image of a transform, and of the best affine one, as shares of the fixed width."""
    places = Grid.of(pair.moving.shape).resized((12, 12)).lattice_of_pixels()
    there = pair.fixed_places(places)
    seen = Grid.of(pair.fixed.shape).contains(there)
    places, there = places[seen], there[seen]
    ahead = np.column_stack([places, np.ones(len(places))])
    best = ahead @ np.linalg.lstsq(ahead, there, rcond=None)[0]
    width = max(pair.fixed.shape)
    own, least = (
        float(np.mean(np.linalg.norm(laid - there, axis=1))) / width for laid in (found.inverse()(places), best)
    )
    return own, least


def page(rows: list[Row]) -> str:
    """The table."""
    lines = [
        "# Specimens that show little but their outline",
        "",
        f"`python -m benchmarks.outlines`, {', '.join(dict.fromkeys(row['commit'] for row in rows))}. Any pose, scale "
        "0.5 to 2, the moving scan distorted by up to 4 % of the width; a result is right within 2 % of the width "
        "beyond the best affine map. Strangers have the same outline and other pits inside; none is right.",
        "",
        "| | pairs | right | right and accepted | accepted and wrong | seconds, median |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for related, name in ((True, ""), (False, ", strangers")):
        for outline in OUTLINES:
            own = [row for row in rows if row["outline"] == outline and row["related"] is related]
            if not own:
                continue
            right = [row for row in own if row["success"]]
            accepted = [row for row in own if row["status"] == "accepted"]
            both = sum(row in accepted for row in right)
            lines.append(
                f"| {outline}{name} | {len(own)} | {len(right)} | {both} | {len(accepted) - both} | "
                f"{np.median([row['seconds'] for row in own]):.0f} |"
            )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
