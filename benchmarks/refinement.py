"""How near the refinement comes from a start near the truth, by each measure and by the one that the halves choose.

``python -m benchmarks.refinement --data FOLDER`` writes ``benchmarks/results/refinement.md``: for draws of the protocol
*free* on every pair, the mean error in per cent of the width after `choose` from a start that is 1.5 % of the
width and 1.5° off. Nothing is searched, so that pairs which the search does not find count as well.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from benchmarks.accuracy import RESULTS
from benchmarks.coarse import plane_of
from benchmarks.protocol import Draw, draw, load_pairs
from correlight.appearance import APPEARANCES
from correlight.refine.choose import choose
from correlight.refine.planes import PlanePair
from correlight.refine.samples import MeasureName
from correlight.transforms import Affine
from correlight.transforms.motions import LINEAR_MODELS

_OFF, _TURNED = 0.015, 1.5
_MEASURES: tuple[MeasureName, ...] = ("features", "mutual information")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refinement")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pairs.json")
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    head = (
        f"# Refinement from near the truth\n\n`python -m benchmarks.refinement --data FOLDER --seeds {asked.seeds}`\n\n"
    )
    lines = [
        "| pair | seed | features | mutual information | chosen | error of that |",
        "|---|---:|---:|---:|---|---:|",
    ]
    for pair in load_pairs(asked.data):
        for seed in range(asked.seeds):
            by, chosen, error = _one(draw(pair, "free", seed), seed)
            cells = " | ".join(f"{value:.2f}" for value in by)
            lines.append(f"| {pair.name} | {seed} | {cells} | {chosen} | {error:.2f} |")
            print(lines[-1], flush=True)
    (RESULTS / "refinement.md").write_text(head + "\n".join(lines) + "\n\nMean errors in per cent of the width.\n")


def _one(drawn: Draw, seed: int) -> tuple[list[float], str, float]:
    """Errors by each measure, the measure chosen, and its error."""
    truth = drawn.moving_from_fixed
    assert truth is not None
    fixed, moving = plane_of(drawn.fixed), plane_of(drawn.moving)
    width, middle = fixed.grid.extent[1], fixed.grid.centre
    rng = np.random.default_rng(seed)
    away = rng.normal(size=2)
    away *= _OFF * width / np.linalg.norm(away)
    start = truth @ Affine.similarity(float(rng.choice([-_TURNED, _TURNED])), 1.0, False, middle, middle + away)
    pair = PlanePair(fixed, moving, APPEARANCES["descriptor and edges"].refine)
    points = fixed.grid.lattice(8)

    def near(measures: tuple[MeasureName, ...]) -> tuple[str, float]:
        found = choose(pair, start, LINEAR_MODELS[1:], measures)
        apart = np.linalg.norm(truth.inverse()(found.transform(points)) - points, axis=1)
        return found.measure, float(100 * apart.mean() / width)

    return [near((measure,))[1] for measure in _MEASURES], *near(_MEASURES)


if __name__ == "__main__":
    main()
