"""Clouds of points against pycpd, the plain form of the same algorithm, in one process and on one thread.

``OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 python -m benchmarks.points --model similarity --axes 3`` fits one pair of
clouds with both and appends a line to ``benchmarks/results/points.md``. Both start from the identity with the same
variance, and the share of outliers is converted, so both climb the same likelihood. Seconds are those that the
processor spent on the process, because the wall clock also counts what else the machine was doing.
"""

from __future__ import annotations

import argparse
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from correlight.geometry import Points
from correlight.refine.points import CloudModel, fit_clouds
from correlight.transforms import Affine

RESULTS = Path(__file__).resolve().parent / "results" / "points.md"
OUTLIERS = 0.1
HEAD = """# Clouds of points against pycpd

Difference: root mean square distance of the two fits at the fixed points, in mean distances of neighbouring points.
Error: the same against the truth. Processor seconds on one thread.

| model | axes | points | pycpd, s | steps | correlight, s | steps | ratio | difference | error, pycpd | correlight |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def clouds(count: int, axes: int, model: CloudModel, seed: int) -> tuple[Points, Points, Points]:
    """Outlines of organelles in two images: most points of one have a mate in the other, some have none.

    Returns
    -------
    fixed : (count, axes) array
        Of unit root mean square radius.
    moving : (count, axes) array
        85 % mates with noise of a fifth of the spacing, 15 % anywhere.
    truth : (count, axes) array
        Where the fixed points belong.
    """
    rng = np.random.default_rng([seed, axes, count])
    middles = rng.uniform(-1, 1, (60, axes))
    radii = np.exp(rng.normal(np.log(0.1), 0.4, (60, 1)))
    which = rng.integers(0, 60, count)
    rays = rng.standard_normal((count, axes))
    fixed = middles[which] + radii[which] * rays / np.linalg.norm(rays, axis=1, keepdims=True)
    fixed -= fixed.mean(axis=0)
    fixed /= np.sqrt(np.mean(np.sum(fixed**2, axis=1)))
    angle = np.deg2rad(25)
    turn = np.eye(axes)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    truth: Points = fixed + 0.08 * np.sin(2 * fixed[:, ::-1]) if model == "non-rigid" else 1.07 * fixed @ turn.T + 0.1
    if model == "affine":
        truth = truth @ (np.eye(axes) + 0.1 * rng.standard_normal((axes, axes)))
    noise = 0.2 * spacing(truth)
    moving: Points = np.asarray(truth + noise * rng.standard_normal(truth.shape))
    lost = rng.random(count) < 0.15
    moving[lost] = rng.uniform(truth.min(axis=0), truth.max(axis=0), (int(lost.sum()), axes))
    return fixed, rng.permutation(moving), truth


def spacing(points: Points) -> float:
    """Mean distance from a point to its nearest neighbour."""
    return float(np.mean(cKDTree(points).query(points, k=2)[0][:, 1]))


def by_pycpd(fixed: Points, moving: Points, model: CloudModel, steps: int) -> tuple[Points, float, int]:
    """Where pycpd puts the fixed points, processor seconds, and steps."""
    import pycpd

    volume = float(np.prod(np.ptp(moving, axis=0)))
    odds = len(moving) * OUTLIERS / ((1 - OUTLIERS) * volume)
    options: dict[str, Any] = {"X": moving, "Y": fixed, "w": odds / (1 + odds), "max_iterations": steps}
    began = time.process_time()
    if model == "non-rigid":
        # Its criterion is the change of the variance, here far below the default of 0.001.
        fit = pycpd.DeformableRegistration(alpha=2.0, beta=2.0, tolerance=1e-7, **options)
    else:
        fit = {"similarity": pycpd.RigidRegistration, "affine": pycpd.AffineRegistration}[model](**options)
    placed: NDArray[np.float64] = fit.register()[0]
    return placed, time.process_time() - began, fit.iteration


def by_correlight(fixed: Points, moving: Points, model: CloudModel) -> tuple[Points, float, int]:
    """The same with correlight."""
    began = time.process_time()
    reach = 2.0 if model == "non-rigid" else None
    size = float(np.sqrt(np.mean(np.sum((moving - moving.mean(axis=0)) ** 2, axis=1))))
    # The weight of smoothness counts in lengths of the moving cloud's radius.
    found = fit_clouds(
        fixed,
        moving,
        model,
        start=Affine.identity(fixed.shape[1]),
        outliers=OUTLIERS,
        reach=reach,
        stiffness=2.0 * size**2,
        most=500,
    )
    seconds = time.process_time() - began
    return found.moving_from_fixed(fixed), seconds, found.steps


def main(arguments: list[str] | None = None) -> int:
    """Measure one case and append it to the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.points", description="Clouds against pycpd.")
    parser.add_argument("--model", choices=["similarity", "affine", "non-rigid"], required=True)
    parser.add_argument("--axes", type=int, choices=[2, 3], required=True)
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100, help="most steps of pycpd (default 100, its own)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to append to")
    asked = parser.parse_args(arguments)
    fixed, moving, truth = clouds(asked.points, asked.axes, asked.model, asked.seed)
    ours, our_seconds, our_steps = by_correlight(fixed, moving, asked.model)
    theirs, their_seconds, their_steps = by_pycpd(fixed, moving, asked.model, asked.steps)
    unit = spacing(fixed)
    apart, error, our_error = (
        float(np.sqrt(np.mean(np.sum(d**2, axis=1)))) / unit for d in (ours - theirs, theirs - truth, ours - truth)
    )
    line = (
        f"| {asked.model} | {asked.axes} | {asked.points} | {their_seconds:.1f} | {their_steps} | {our_seconds:.2f} "
        f"| {our_steps} | {their_seconds / our_seconds:.0f} | {apart:.4f} | {error:.3f} | {our_error:.3f} |\n"
    )
    with asked.out.open("a") as table:
        table.write(line if table.tell() else HEAD + line)
    print(f"pycpd {version('pycpd')}, correlight {version('correlight')}\n{HEAD}{line}", end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
