"""Results whose truth is known, right and wrong, for the calibration of the verdict.

``python -m benchmarks.trust --couples 50`` simulates couples of specimens, each in an electron and a light image, and
registers the four pairs of these: two of one specimen, and two unrelated ones, half of which are of one kind. It
appends a line for each pair to ``benchmarks/results/trust.jsonl``; runs that are in it already are skipped. Unrelated
pairs take three times as long as related ones; ``--unrelated`` limits them to so many couples. ``python -m
benchmarks.calibrate`` fits the numbers of ``correlight/evidence/confidence.toml`` to these lines and to those of
`benchmarks.accuracy`.

Seven of ten couples state pixel sizes, whose ratio is wrong by up to 10 %; the others state none, and their pixels
differ by a factor of at most 2.5. One channel of the light image is registered, drawn at random; never the one of
sparse particles, which show no structure.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.bound import compared
from benchmarks.software import ROOT, commit
from correlight.evidence.confidence import calibration
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.simulate import pair
from correlight.simulate.pair import SimulatedPair
from correlight.simulate.specimen import SpecimenKind

RESULTS = ROOT / "benchmarks" / "results"
KINDS: tuple[SpecimenKind, ...] = get_args(SpecimenKind)
# A result is right if its mean error is at most this share of the width.
ALLOWED_ERROR = 0.02
_STATED, _OFF_BY, _MOST_RATIO = 0.7, 0.1, 2.5
Row = dict[str, Any]


def main() -> None:
    """Make the runs that are not recorded yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust")
    parser.add_argument("--couples", type=int, default=0, help="couples of specimens; each gives four pairs")
    parser.add_argument(
        "--unrelated", type=int, help="couples of which the unrelated pairs are registered, too (default all)"
    )
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "trust.jsonl")
    asked = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    done = {(row["related"], row["seed"]) for row in load(asked.out)}
    with ProcessPoolExecutor(asked.jobs) as pool, asked.out.open("a") as file:
        unrelated = asked.couples if asked.unrelated is None else asked.unrelated
        runs = [pool.submit(run, number, done, unrelated=number < unrelated) for number in range(asked.couples)]
        for number, made in enumerate(as_completed(runs), 1):
            for row in made.result():
                file.write(json.dumps(row) + "\n")
                print(
                    f"{number}/{len(runs)} {row['specimen']} {row['seed']} {'right' if row['success'] else 'wrong'} "
                    f"{row['status']} {row['confidence']:.2f} {row['seconds']:.1f} s",
                    flush=True,
                )
            file.flush()


def load(file: Path) -> list[Row]:
    """The lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run(number: int, done: Collection[tuple[bool, int]] = (), *, unrelated: bool = True) -> list[Row]:
    """The lines of one couple, with or without its unrelated pairs, but for those that are done."""
    seeds = 2 * number, 2 * number + 1
    wanted = (True, False) if unrelated else (True,)
    missing = [(related, seed) for seed in seeds for related in wanted if (related, seed) not in done]
    if not missing:
        return []
    rng = np.random.default_rng([number, 71])
    stated = bool(rng.random() < _STATED)
    electron = float(rng.uniform(0.018, 0.04))
    light = float(rng.uniform(0.06, 0.16)) if stated else electron * float(rng.uniform(1.2, _MOST_RATIO))
    kinds = _kinds(number)
    pairs = [
        pair(kind, 1000 + seed, electron_spacing=electron, light_spacing=light)
        for kind, seed in zip(kinds, seeds, strict=True)
    ]
    rows = []
    for related, seed in missing:
        own, other = (seed % 2, seed % 2) if related else (seed % 2, 1 - seed % 2)
        name = kinds[own] if related else f"{kinds[own]} with {kinds[other]}"
        rows.append(_line(name, related, seed, stated, replace(pairs[own], moving=pairs[other].moving)))
    return rows


def _kinds(number: int) -> tuple[SpecimenKind, SpecimenKind]:
    """The kinds of the two specimens of a couple: every other time through all kinds they are the same."""
    one, turn = number % len(KINDS), number // len(KINDS)
    further = 0 if turn % 2 == 0 else 1 + turn // 2 % (len(KINDS) - 1)
    return KINDS[one], KINDS[(one + further) % len(KINDS)]


def _line(specimen: str, related: bool, seed: int, stated: bool, couple: SimulatedPair) -> Row:
    """Register one pair and compare with the truth, which only a related pair has."""
    import cv2

    from correlight.registration.register import register

    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, int(related), 71])
    # A few particles determine no pose.
    channels = [name for name in couple.moving.channels if name != "particles"]
    channel = channels[rng.integers(len(channels))]
    fixed, moving = _as_claimed(couple, stated, rng)
    began = time.perf_counter()
    result = register(fixed, moving, moving_channel=channel, workers=1)
    seconds = time.perf_counter() - began
    row: Row = {
        "related": related,
        "specimen": specimen,
        "seed": seed,
        "stated": stated,
        "channel": channel,
        "success": False,
        "status": result.status,
        "confidence": result.verdict.confidence,
        "evidence": {one.name: one.value for one in result.verdict.evidence},
        "error_scale": calibration().error_scale,
        "seconds": round(seconds, 2),
        "commit": commit(),
    }
    if not related or not result.poses:
        return row

    def off(grid: Grid) -> NDArray[np.float64]:
        """Error at each point of a grid over the fixed image, in its unit, independent of the metadata."""
        places = grid.lattice_of_pixels()
        found = moving.grid.index(result.moving_from_fixed(places))
        true = couple.moving.grid.index(couple.moving_from_fixed(couple.fixed.grid.points(fixed.grid.index(places))))
        step = couple.moving.grid.spacing[0] / couple.moving_from_fixed.scale / couple.fixed.grid.spacing[0]
        return np.asarray(np.linalg.norm(found - true, axis=1) * step * fixed.grid.spacing[0])

    share = float(np.mean(off(fixed.grid.resized((10, 10)))) / max(fixed.grid.extent))
    predicted = result.predicted_error
    return {
        **row,
        "success": share <= ALLOWED_ERROR,
        "error_share": share,
        **compared(predicted, off(predicted.grid)),
    }


def _as_claimed(couple: SimulatedPair, stated: bool, rng: np.random.Generator) -> tuple[Image, Image]:
    """The two images with what their files would state."""
    if not stated:
        return tuple(replace(one, grid=Grid.of(one.grid.shape, 1.0)) for one in (couple.fixed, couple.moving))  # type: ignore[return-value]
    wrong = couple.moving.grid.spacing[0] * float(np.exp(rng.uniform(-_OFF_BY, _OFF_BY)))
    return couple.fixed, replace(couple.moving, grid=Grid.of(couple.moving.grid.shape, wrong, unit="micrometre"))


if __name__ == "__main__":
    main()
