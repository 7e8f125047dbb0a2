"""Where the right pose stands after the first round of the search, and what that round costs.

``python -m benchmarks.coarse --data FOLDER --channels descriptor --size 72 --scale-step 0.15`` appends a line per pair
to ``benchmarks/results/coarse.md``: the rank of the first pose that is right to 8 % of the width in the list of all
candidates, and its score over the best wrong one. Scales are searched within 30 % of the truth, so that a comparison of
settings takes minutes. Seconds are processor seconds of one thread.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from benchmarks.accuracy import RESULTS
from benchmarks.protocol import Draw, draw, load_pairs
from correlight.appearance import APPEARANCES
from correlight.appearance.noise import denoised
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.search.correlate import ByFeatures
from correlight.search.limits import Limits
from correlight.search.poses import PoseSearch, SearchLevel, candidates_at, scales_of

_RANGE, _NEAR, _FAR = 1.3, 0.08, 0.2
_HEAD = "| channels | size | rotation step | scale step | pair | seed | rank | score over the best wrong | seconds |\n"


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coarse")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pairs.json")
    parser.add_argument("--pairs", help="names from pairs.json, parted by commas (default: all)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--channels", choices=sorted(APPEARANCES), default="descriptor and edges")
    parser.add_argument("--size", type=int, default=72, help="side in pixels that are compared")
    parser.add_argument("--rotation-step", type=float, default=7.5)
    parser.add_argument("--scale-step", type=float, default=0.15)
    parser.add_argument("--out", type=Path, default=RESULTS / "coarse.md")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    level = SearchLevel(asked.size, asked.rotation_step, asked.scale_step, 1)
    if not asked.out.exists():
        asked.out.write_text(f"# The first round of the search\n\n{__doc__}\n{_HEAD}|---|" + "---:|" * 8 + "\n")
    for pair in load_pairs(asked.data):
        if asked.pairs and pair.name not in asked.pairs.split(","):
            continue
        for seed in range(asked.seeds):
            rank, ratio, seconds = _one(draw(pair, "free", seed), asked.channels, level)
            line = (
                f"| {asked.channels} | {asked.size} | {asked.rotation_step:g} | {asked.scale_step:g} | {pair.name} | "
                f"{seed} | {rank} | {ratio:.2f} | {seconds:.1f} |"
            )
            print(line, flush=True)
            with asked.out.open("a") as file:
                file.write(line + "\n")


def _one(drawn: Draw, channels: str, level: SearchLevel) -> tuple[str, float, float]:
    """Rank of the first right pose counted from 1, its score over the best wrong one, and seconds."""
    assert drawn.moving_from_fixed is not None
    fixed, moving = (plane_of(pixels) for pixels in (drawn.fixed, drawn.moving))
    scale = drawn.moving_from_fixed.scale
    limits = Limits((scale / _RANGE, scale * _RANGE))
    appearance = APPEARANCES[channels]
    began = time.process_time()
    rounds = PoseSearch(fixed, moving, limits, ByFeatures(appearance.search, appearance.stride), 1)
    candidates = [candidate for one in scales_of(limits, level) for candidate in candidates_at(limits, level, one)]
    found = rounds.evaluate(level, candidates, lambda done: None)
    seconds = time.process_time() - began
    points = fixed.grid.lattice(6)
    back = drawn.moving_from_fixed.inverse()
    last = max(item.group for item in found)
    poses = sorted((item.pose for item in found if item.group == last), key=lambda pose: -pose.score)
    errors = np.array(
        [np.mean(np.linalg.norm(back(pose.moving_from_fixed(points)) - points, axis=1)) for pose in poses]
    )
    errors /= fixed.grid.shape[1]
    right = np.flatnonzero(errors < _NEAR)
    wrong = next(pose.score for pose, error in zip(poses, errors, strict=True) if error > _FAR)
    if len(right) == 0:
        return "–", 0.0, seconds
    return str(right[0] + 1), poses[right[0]].score / wrong, seconds


def plane_of(pixels: np.ndarray) -> Plane:
    """Pixels of a draw as the search compares them."""
    rgb = pixels.ndim == 3
    return denoised(Plane.of(Image.from_array(pixels, rgb=rgb), None if rgb else 0))


if __name__ == "__main__":
    main()
