"""Where the right pose stands after the first level of the search, and what that level costs.

``python -m benchmarks.coarse --data FOLDER --channels descriptor --size 72 --scale-step 0.15`` appends a line per pair
to ``benchmarks/results/coarse.md``: the rank of the first pose that is right to 8 % of the width in the list of all
candidates, its score over the best wrong one, and its rank by the first group of channels alone. Scales are searched
within 30 % of the truth, so that a comparison of settings takes minutes. Seconds are processor seconds of one thread.
With ``--network FILE`` the learned features are those of another quick descriptor than the shipped one.
With ``--protocol overlap`` both images are windows with 15 to 30 % in common, and with ``--protocol stretch`` one of
them is stretched by 1.1 to 1.5, which ``--undone`` undoes as nearly as the search tries it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from benchmarks.accuracy import RESULTS
from benchmarks.crop import Cropped
from benchmarks.overlap import draw_overlapping
from benchmarks.protocol import Draw, Pair, draw, load_pairs
from benchmarks.stretch import Stretched, draw_stretched
from correlight.appearance import APPEARANCES
from correlight.appearance.channels import Channels, Group, directions, group, joined, shrunk
from correlight.appearance.descriptor import STRIDE, Descriptor, load
from correlight.appearance.noise import denoised
from correlight.images.image import Float32, Image, Mask
from correlight.images.plane import Plane
from correlight.search.correlate import ByFeatures
from correlight.search.limits import SMALLEST_OVERLAP, Limits
from correlight.search.poses import PoseSearch, SearchLevel, candidates_at, scales_of
from correlight.search.ranking import ScoredPose
from correlight.search.stretch import STRETCHES, stretches
from correlight.transforms import Affine

_RANGE, _NEAR, _FAR = 1.3, 0.08, 0.2
_NAMES = ("channels", "size", "rotation step", "scale step", "pair", "seed", "rank", "score over the best wrong")
_HEAD = (
    f"| {' | '.join(_NAMES)} | seconds | by the first channels | protocol |\n|---|{'---:|' * 3}---|{'---:|' * 5}---|\n"
)
_DRAWS: dict[str, Callable[[Pair, int], Draw]] = {
    "free": lambda pair, seed: draw(pair, "free", seed),
    "overlap": draw_overlapping,
    "stretch": draw_stretched,
}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coarse")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pairs.json")
    parser.add_argument("--pairs", help="names from pairs.json, parted by commas (default: all)")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--protocol", choices=_DRAWS, default="free")
    parser.add_argument("--undone", action="store_true", help="undo the stretch as nearly as the search tries it")
    parser.add_argument("--channels", choices=sorted(APPEARANCES), default="descriptor and edges")
    parser.add_argument("--network", type=Path, help="quick descriptor, instead of the shipped one")
    parser.add_argument("--size", type=int, default=72, help="side in pixels that are compared")
    parser.add_argument("--rotation-step", type=float, default=7.5)
    parser.add_argument("--scale-step", type=float, default=0.15)
    parser.add_argument("--out", type=Path, default=RESULTS / "coarse.md")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    name = asked.channels if asked.network is None else f"{asked.channels}, {asked.network.parent.name}"
    engine = _engine(asked.channels, asked.network)
    level = SearchLevel(asked.size, asked.rotation_step, asked.scale_step, 1)
    if not asked.out.exists():
        asked.out.write_text(f"# The first level of the search\n\n{__doc__}\n{_HEAD}")
    for pair in load_pairs(asked.data):
        if asked.pairs and pair.name not in asked.pairs.split(","):
            continue
        for seed in range(asked.seeds):
            rank, ratio, seconds, first = _one(_DRAWS[asked.protocol](pair, seed), engine, level, asked.undone)
            line = (
                f"| {name} | {asked.size} | {asked.rotation_step:g} | {asked.scale_step:g} | {pair.name} | "
                f"{seed} | {rank} | {ratio:.2f} | {seconds:.1f} | {first} | "
                f"{asked.protocol}{', undone' if asked.undone else ''} |"
            )
            print(line, flush=True)
            with asked.out.open("a") as file:
                file.write(line + "\n")


def _engine(channels: str, network: Path | None) -> ByFeatures:
    if network is None:
        return ByFeatures(APPEARANCES[channels].search, APPEARANCES[channels].stride)
    alone = described_by(load(network))
    known = {"descriptor": alone, "descriptor and edges": joined(alone, shrunk(directions, STRIDE))}
    if channels not in known:
        raise SystemExit(f"--network is for the channels {' or '.join(known)}; got {channels}.")
    return ByFeatures(known[channels], STRIDE)


def described_by(network: Descriptor) -> Channels:
    """The planes of a descriptor as one group of channels."""

    def features(values: Float32, mask: Mask) -> tuple[Group, ...]:
        return (group(*network.planes(values, mask), STRIDE),)

    return features


def _one(drawn: Draw, engine: ByFeatures, level: SearchLevel, undone: bool) -> tuple[str, float, float, str]:
    """Rank of the first right pose counted from 1, its score over the best wrong one, seconds, and the other rank."""
    assert drawn.moving_from_fixed is not None
    fixed, moving = (plane_of(pixels) for pixels in (drawn.fixed, drawn.moving))
    width = fixed.grid.shape[1]
    points = fixed.grid.lattice(6) if not isinstance(drawn, Cropped) or drawn.places is None else drawn.places
    truth = drawn.moving_from_fixed
    if undone:
        assert isinstance(drawn, Stretched)
        role, axis, factor = drawn.stretch
        alike = [one for one in stretches(STRETCHES) if (one.role, one.axis) == (role, axis)]
        tried = min(alike, key=lambda one: abs(np.log(one.factor / factor)))
        before = fixed.grid, moving.grid
        fixed, moving = tried.of(fixed, "fixed"), tried.of(moving, "moving")
        into = Affine(fixed.grid.matrix @ np.linalg.inv(before[0].matrix))
        truth = Affine(moving.grid.matrix @ np.linalg.inv(before[1].matrix)) @ truth @ into.inverse()
        points = into(points)
    limits = Limits((truth.scale / _RANGE, truth.scale * _RANGE))
    if isinstance(drawn, Cropped):
        limits = replace(limits, least_overlap=SMALLEST_OVERLAP)
    began = time.process_time()
    search = PoseSearch(fixed, moving, limits, engine, 1)
    candidates = [candidate for one in scales_of(limits, level) for candidate in candidates_at(limits, level, one)]
    found = search.evaluate(level, candidates, lambda done: None)
    seconds = time.process_time() - began

    def ranked(group: int) -> tuple[str, float]:
        return _rank([item for item in found if item.group == group], truth, points, width)

    rank, ratio = ranked(max(item.group for item in found))
    return rank, ratio, seconds, ranked(0)[0]


def _rank(found: list[ScoredPose], truth: Affine, points: np.ndarray, width: int) -> tuple[str, float]:
    """Rank of the first right pose, and its score over the best wrong one."""
    poses = sorted((item.pose for item in found), key=lambda pose: -pose.score)
    errors = np.array(
        [np.linalg.norm(pose.moving_from_fixed(points) - truth(points), axis=1).mean() for pose in poses]
    ) / (truth.scale * width)
    right = np.flatnonzero(errors < _NEAR)
    if len(right) == 0:
        return "–", 0.0
    wrong = next(pose.score for pose, error in zip(poses, errors, strict=True) if error > _FAR)
    return str(right[0] + 1), poses[right[0]].score / wrong


def plane_of(pixels: np.ndarray) -> Plane:
    """Pixels of a draw as the search compares them."""
    rgb = pixels.ndim == 3
    return denoised(Plane.of(Image.from_array(pixels, rgb=rgb), None if rgb else 0))


if __name__ == "__main__":
    main()
