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
from correlight.point_clouds.cloud_pair import CloudModel
from correlight.point_clouds.fit import CloudFit, fit_clouds
from correlight.point_clouds.smooth import SmoothField
from correlight.transforms import Affine, Chain

RESULTS = Path(__file__).resolve().parent / "results" / "points.md"
OUTLIERS = 0.1
HEAD = """# Clouds of points against pycpd

Difference: root mean square distance of the two fits at the fixed points, in mean distances of neighbouring points.
Error: the same against the truth. Processor seconds on one thread. "pycpd from there": it started at the answer of
correlight and took a few steps, which says whether that answer is one of its own optima, and what a step costs.

| model | axes | points | pycpd, s | steps | correlight, s | steps | ratio | difference | error, pycpd | correlight |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
"""


def clouds(count: int, axes: int, model: CloudModel, seed: int) -> tuple[Points, Points, Points]:
    """Outlines of organelles in two images: most points of one have a correspondence in the other, some have none.

    Returns
    -------
    fixed : (count, axes) array
        Of unit root mean square radius.
    moving : (count, axes) array
        85 % correspondences with noise of a fifth of the spacing, 15 % anywhere.
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
    truth: Points = np.asarray(
        fixed + 0.08 * np.sin(2 * fixed[:, ::-1]) if model == "elastic" else 1.07 * fixed @ turn.T + 0.1
    )
    if model == "affine":
        truth = truth @ (np.eye(axes) + 0.1 * rng.standard_normal((axes, axes)))
    noise = 0.2 * spacing(truth)
    moving: Points = np.asarray(truth + noise * rng.standard_normal(truth.shape))
    lost = rng.random(count) < 0.15
    moving[lost] = rng.uniform(truth.min(axis=0), truth.max(axis=0), (int(lost.sum()), axes))
    return fixed, rng.permutation(moving), truth


def spacing(points: Points) -> float:
    """Mean distance from a point to its nearest neighbour."""
    distances = np.asarray(cKDTree(points).query(points, k=2)[0])
    return float(distances[:, 1].mean())


def by_pycpd(
    fixed: Points, moving: Points, model: CloudModel, steps: int, near: CloudFit | None
) -> tuple[Points, float, int]:
    """Where pycpd puts the fixed points, processor seconds, and steps; from correlight's answer where that is given."""
    import pycpd

    volume = float(np.prod(np.ptp(moving, axis=0)))
    odds = len(moving) * OUTLIERS / ((1 - OUTLIERS) * volume)
    options: dict[str, Any] = {"X": moving, "Y": fixed, "w": odds / (1 + odds), "max_iterations": steps}
    if near:
        # No tolerance: all steps are taken, so it has the time to leave.
        options |= {"sigma2": near.spread**2, "tolerance": 0.0} | _as_start(near, fixed, model)
    displacement = options.pop("W", None)
    began = time.process_time()
    if model == "elastic":
        # Its criterion is the change of the variance, here far below the default of 0.001.
        fit = pycpd.DeformableRegistration(alpha=2.0, beta=2.0, **{"tolerance": 1e-7, **options})
    else:
        fit = {"similarity": pycpd.RigidRegistration, "affine": pycpd.AffineRegistration}[model](**options)
    if displacement is not None:
        fit.W = displacement
    placed: NDArray[np.float64] = fit.register()[0]
    return placed, time.process_time() - began, fit.iteration


def _as_start(near: CloudFit, fixed: Points, model: CloudModel) -> dict[str, Any]:
    """An answer of correlight in the terms of pycpd, which multiplies rows from the right."""
    found = near.moving_from_fixed
    if isinstance(found, Affine):
        offset, scale = found.offset[None], found.scale
        return (
            {"B": found.linear.T, "t": offset}
            if model == "affine"
            else {"R": found.linear.T / scale, "t": offset, "s": scale}
        )
    assert isinstance(found, Chain)
    field = next(part for part in found.parts if isinstance(part, SmoothField))
    weights = np.zeros_like(fixed)
    weights[cKDTree(fixed).query(field.centres)[1]] = field.weights
    return {"W": weights}


def by_correlight(fixed: Points, moving: Points, model: CloudModel) -> tuple[CloudFit, float]:
    """The same with correlight."""
    began = time.process_time()
    beta = 2.0 if model == "elastic" else None
    size = float(np.sqrt(np.mean(np.sum((moving - moving.mean(axis=0)) ** 2, axis=1))))
    # The weight of smoothness counts in lengths of the moving cloud's radius.
    found = fit_clouds(
        fixed,
        moving,
        model,
        start=Affine.identity(fixed.shape[1]),
        outliers=OUTLIERS,
        beta=beta,
        lambda_=2.0 * size**2,
        most=500,
    )
    return found, time.process_time() - began


def main(arguments: list[str] | None = None) -> int:
    """Measure one case and append it to the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.points", description="Clouds against pycpd.")
    parser.add_argument("--model", choices=["similarity", "affine", "elastic"], required=True)
    parser.add_argument("--axes", type=int, choices=[2, 3], required=True)
    parser.add_argument("--points", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--steps", type=int, default=100, help="most steps of pycpd (default 100, its own)")
    parser.add_argument(
        "--near", action="store_true", help="start pycpd where correlight ended: is it an optimum of pycpd's too?"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to append to")
    asked = parser.parse_args(arguments)
    fixed, moving, truth = clouds(asked.points, asked.axes, asked.model, asked.seed)
    found, our_seconds = by_correlight(fixed, moving, asked.model)
    ours = found.moving_from_fixed(fixed)
    near = found if asked.near else None
    theirs, their_seconds, their_steps = by_pycpd(fixed, moving, asked.model, asked.steps, near)
    unit = spacing(fixed)
    apart, error, our_error = (
        float(np.sqrt(np.mean(np.sum(d**2, axis=1)))) / unit for d in (ours - theirs, theirs - truth, ours - truth)
    )
    name = f"{asked.model}, pycpd from there" if near else asked.model
    cells = [name, asked.axes, asked.points, f"{their_seconds:.1f}", their_steps, f"{our_seconds:.2f}", found.steps]
    cells += [f"{their_seconds / our_seconds:.1f}", f"{apart:.4f}", f"{error:.3f}", f"{our_error:.3f}"]
    line = f"| {' | '.join(map(str, cells))} |\n"
    with asked.out.open("a") as table:
        table.write(line if table.tell() else HEAD + line)
    print(f"pycpd {version('pycpd')}, correlight {version('correlight')}\n{HEAD}{line}", end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
