"""What real electron micrographs add to training over simulation alone: two short runs, judged on real pairs.

``python -m benchmarks.real_em train --out FOLDER --steps 1500 --pictures DIR`` trains a descriptor on a quarter of the
usual scenes, with the images beside them or, without ``--pictures``, on simulation alone. ``python -m
benchmarks.real_em compare --data FOLDER A.onnx B.onnx`` then lays real pairs on each other as they truly lie, scores
them by the features of each descriptor, and prints the score over the best of 46 deliberately wrong poses.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.coarse import described_by, plane_of
from benchmarks.protocol import Pair, draw, load_pairs
from correlight.appearance.descriptor import STRIDE, Descriptor, load
from correlight.evidence.null_poses import score_statistics
from correlight.search.correlate import ByFeatures
from correlight.search.limits import Limits
from correlight.search.pose import Pose

_LEAST_OVERLAP = 0.35
# A quarter of the usual scenes, so that both runs together take minutes.
_SIMULATED, _SKETCHED, _DRAWN = 15, 10, 60


def main() -> None:
    """Train one descriptor, or compare several."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_em")
    commands = parser.add_subparsers(dest="command", required=True)
    learn = commands.add_parser("train")
    learn.add_argument("--out", type=Path, required=True)
    learn.add_argument("--steps", type=int, default=1500)
    learn.add_argument("--pictures", action="append", default=[])
    compare = commands.add_parser("compare")
    compare.add_argument("--data", type=Path, required=True)
    compare.add_argument("--seeds", type=int, default=2)
    compare.add_argument("descriptors", type=Path, nargs="+")
    asked = parser.parse_args()
    if asked.command == "train":
        from correlight.learn.descriptor.train import Settings, train

        few = Settings(asked.steps, simulated=_SIMULATED, sketched=_SKETCHED, drawn=_DRAWN, photographs=False)
        train(asked.out, replace(few, pictures=tuple(asked.pictures)))
        return
    cv2.setNumThreads(1)
    networks = [load(path) for path in asked.descriptors]
    print(f"| pair | {' | '.join(str(path.parent.name) for path in asked.descriptors)} |")
    print("|---" * (1 + len(networks)) + "|")
    means = []
    for pair in load_pairs(asked.data):
        ratios = np.array([[ratio(pair, seed, network) for seed in range(asked.seeds)] for network in networks])
        means.append(ratios.mean(axis=1))
        print(f"| {pair.name} | " + " | ".join(", ".join(f"{value:.2f}" for value in row) for row in ratios) + " |")
    print("| mean | " + " | ".join(f"{value:.2f}" for value in np.mean(means, axis=0)) + " |")


def ratio(pair: Pair, seed: int, network: Descriptor) -> float:
    """Score of a pair at its true pose over that of the best wrong pose."""
    drawn = draw(pair, "free", seed)
    truth = drawn.moving_from_fixed
    assert truth is not None
    fixed, moving = (plane_of(pixels) for pixels in (drawn.fixed, drawn.moving))
    engine = ByFeatures(described_by(network), STRIDE)
    limits = Limits((1.0, 1.0), least_overlap=_LEAST_OVERLAP)
    return score_statistics(fixed, moving, truth, [Pose(truth, 1.0, 1.0)], engine, limits, 1).ratio


if __name__ == "__main__":
    main()
