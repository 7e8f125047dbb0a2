"""Results whose truth is known, right and wrong, for the calibration of the verdict.

``python -m benchmarks.trust --simulated 100 --unrelated 100`` registers simulated pairs of six kinds of specimen, and
pairs of two specimens, and appends a line for each to ``benchmarks/results/trust.jsonl``; runs that stand there are
passed over. ``python -m benchmarks.calibrate`` fits the numbers of ``correlight/confidence.toml`` to these lines and to
those of `benchmarks.accuracy`.

Seven of ten pairs state pixel sizes, whose ratio is wrong by up to 10 %; the others state none, and their pixels differ
by a factor of at most 2.5. One channel of the light image votes, drawn at random; never the one of sparse particles,
which show no structure.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.software import ROOT, commit
from correlight.geometry import Grid
from correlight.image import Image
from correlight.simulate import pair
from correlight.simulate.pair import SimulatedPair
from correlight.simulate.specimen import Kind
from correlight.verdict import calibration

RESULTS = ROOT / "benchmarks" / "results"
KINDS: tuple[Kind, ...] = get_args(Kind)
# A result is right if its mean error is at most this share of the width.
ALLOWED_ERROR = 0.02
_STATED, _OFF_BY, _MOST_RATIO = 0.7, 0.1, 2.5
Row = dict[str, Any]


def main() -> None:
    """Make the runs that no line stands for yet."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.trust")
    parser.add_argument("--simulated", type=int, default=0, help="pairs of one specimen")
    parser.add_argument("--unrelated", type=int, default=0, help="pairs of two specimens")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "trust.jsonl")
    asked = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = "1"
    done = {(row["related"], row["seed"]) for row in load(asked.out)}
    tasks = [task for task in _tasks(asked.simulated, asked.unrelated) if task not in done]
    with ProcessPoolExecutor(asked.jobs) as pool, asked.out.open("a") as file:
        runs = [pool.submit(run, *task) for task in tasks]
        for number, made in enumerate(as_completed(runs), 1):
            row = made.result()
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(
                f"{number}/{len(tasks)} {row['specimen']} {row['seed']} {'right' if row['success'] else 'wrong'} "
                f"{row['status']} {row['confidence']:.2f} {row['seconds']:.1f} s",
                flush=True,
            )


def _tasks(simulated: int, unrelated: int) -> Iterator[tuple[bool, int]]:
    for seed in range(max(simulated, unrelated)):
        if seed < simulated:
            yield True, seed
        if seed < unrelated:
            yield False, seed


def load(file: Path) -> list[Row]:
    """The lines of a file."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def run(related: bool, seed: int) -> Row:
    """Register one pair, in a process of its own, and compare with the truth."""
    import cv2

    from correlight.register import register

    cv2.setNumThreads(1)
    rng = np.random.default_rng([seed, int(related), 71])
    kind, couple, stated = _drawn(related, seed, rng)
    # A few particles tell no place.
    channels = [name for name in couple.moving.channels if name != "particles"]
    channel = channels[rng.integers(len(channels))]
    fixed, moving = _as_claimed(couple, stated, rng)
    began = time.perf_counter()
    result = register(fixed, moving, moving_channel=channel, workers=1)
    seconds = time.perf_counter() - began
    row: Row = {
        "related": related,
        "specimen": kind,
        "seed": seed,
        "stated": stated,
        "channel": channel,
        "success": False,
        "status": result.status,
        "confidence": result.verdict.confidence,
        "evidence": {clue.name: clue.value for clue in result.verdict.evidence},
        "error_scale": calibration().error_scale,
        "seconds": round(seconds, 2),
        "commit": commit(),
    }
    if not related or not result.poses:
        return row

    def off(grid: Grid) -> NDArray[np.float64]:
        """Error at every point of a grid over the fixed image, in its unit; pixels are what files cannot lie about."""
        places = grid.lattice_of_pixels()
        found = moving.grid.index(result.moving_from_fixed(places))
        true = couple.moving.grid.index(couple.moving_from_fixed(couple.fixed.grid.points(fixed.grid.index(places))))
        step = couple.moving.grid.spacing[0] / couple.moving_from_fixed.scale / couple.fixed.grid.spacing[0]
        return np.asarray(np.linalg.norm(found - true, axis=1) * step * fixed.grid.spacing[0])

    share = float(np.mean(off(fixed.grid.resized((10, 10)))) / max(fixed.grid.extent))
    predicted = result.predicted_error
    known = np.isfinite(predicted.values).ravel()
    places = off(predicted.grid)[known]
    expected = predicted.values.ravel()[known]
    return {
        **row,
        "success": share <= ALLOWED_ERROR,
        "error_share": share,
        "under_bound": float(np.mean(places <= predicted.bound.ravel()[known])) if known.any() else None,
        "true_over_predicted": float(np.sqrt(np.mean((places / expected) ** 2))) if known.any() else None,
    }


def _drawn(related: bool, seed: int, rng: np.random.Generator) -> tuple[str, SimulatedPair, bool]:
    """A pair, the name of its specimen, and whether its files state pixel sizes."""
    kind = KINDS[seed % len(KINDS)]
    stated = bool(rng.random() < _STATED)
    electron = float(rng.uniform(0.018, 0.04))
    spacings = {
        "electron_spacing": electron,
        "light_spacing": float(rng.uniform(0.06, 0.16)) if stated else electron * float(rng.uniform(1.2, _MOST_RATIO)),
    }
    one = pair(kind, 1000 + seed, **spacings)  # type: ignore[arg-type]
    if related:
        return kind, one, stated
    # Half of the strangers are of the same kind.
    other = KINDS[rng.integers(len(KINDS))] if rng.random() < 0.5 else kind
    stranger = pair(other, 500_000 + seed, **spacings)  # type: ignore[arg-type]
    return f"{kind} with {other}", replace(one, moving=stranger.moving), stated


def _as_claimed(couple: SimulatedPair, stated: bool, rng: np.random.Generator) -> tuple[Image, Image]:
    """The two images with what their files would state."""
    if not stated:
        return tuple(replace(one, grid=Grid.of(one.grid.shape, 1.0)) for one in (couple.fixed, couple.moving))  # type: ignore[return-value]
    wrong = couple.moving.grid.spacing[0] * float(np.exp(rng.uniform(-_OFF_BY, _OFF_BY)))
    return couple.fixed, replace(couple.moving, grid=Grid.of(couple.moving.grid.shape, wrong, unit="micrometre"))


if __name__ == "__main__":
    main()
