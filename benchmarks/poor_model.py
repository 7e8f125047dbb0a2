"""Whether the predicted error holds where the kind of transform that was chosen is too poor.

``python -m benchmarks.poor_model --seeds 3`` simulates pairs whose light image is sheared, stretched, seen in
perspective or smoothly distorted, refines them from the best similarity, chooses a kind of transform, and compares the
predicted with the true error of every place. A line for each pair goes to ``benchmarks/results/poor-model.jsonl``,
where those that stand there are not made again, and the table to ``poor-model.md``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.bound import compared
from benchmarks.software import commit
from benchmarks.trust import RESULTS, load
from correlight.appearance import APPEARANCES
from correlight.evidence.checks import independent_fits, predicted_error
from correlight.evidence.confidence import calibration
from correlight.images.plane import Plane
from correlight.landmarks.linear import fit
from correlight.refine.choose import choose
from correlight.refine.planes import PlanePair
from correlight.simulate import pair
from correlight.simulate.specimen import SpecimenKind
from correlight.transforms import Projective
from correlight.transforms.motions import LINEAR_MODELS

KINDS: tuple[SpecimenKind, ...] = get_args(SpecimenKind)
# Largest shear, excess length of one axis, tilt across half the field, and shift of a smooth field over the width.
WARPS = {"none": 0.0, "shear": 0.10, "stretch": 0.20, "perspective": 0.03, "smooth": 0.03}
_SHAPE, _SPACING, _NODES = (256, 256), 0.08, 16
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Warped:
    """Two planes, and where places of the moving one lie in the fixed one."""

    fixed: Plane
    moving: Plane
    fixed_from_moving: Callable[[Points], Points]


def warped(warp: str, seed: int) -> Warped:
    """A simulated pair whose moving image is distorted by a random amount of one kind, up to that in `WARPS`."""
    rng = np.random.default_rng([seed, list(WARPS).index(warp), 17])
    couple = pair(
        KINDS[seed % len(KINDS)], 5000 + seed, electron_shape=_SHAPE, light_shape=_SHAPE, electron_spacing=_SPACING,
        light_spacing=_SPACING, rotation=0.0, mirror=False, stretch=1.0, shear=0.0, data_bar=False,
    )  # fmt: skip
    channels = [name for name in couple.moving.channels if name != "particles"]
    seen = Plane.of(couple.moving, couple.moving.channel_index(channels[rng.integers(len(channels))]))
    old_from_new = _warp(warp, float(rng.uniform(0, WARPS[warp])), seen, rng)
    index = seen.grid.index(old_from_new(seen.grid.lattice_of_pixels()))
    values = ndimage.map_coordinates(seen.values, index.T, order=1, mode="nearest").reshape(seen.grid.shape)
    valid = ndimage.map_coordinates(seen.mask.astype(np.float32), index.T, order=0, cval=0.0) > 0
    moving = Plane(values.astype(np.float32), valid.reshape(seen.grid.shape), seen.grid)
    back = couple.moving_from_fixed.inverse()
    return Warped(Plane.of(couple.fixed, couple.fixed.usable_channels[0]), moving, lambda p: back(old_from_new(p)))


def _warp(warp: str, amount: float, seen: Plane, rng: np.random.Generator) -> Callable[[Points], Points]:
    """Places of the undistorted image from those of the distorted one."""
    angle = rng.uniform(0, 2 * np.pi)
    core = np.eye(3)
    if warp == "shear":
        core[0, 1] = amount * np.sign(np.cos(angle))
    elif warp == "stretch":
        core[:2, :2] = np.diag([np.sqrt(1 + amount), 1 / np.sqrt(1 + amount)])
    elif warp == "perspective":
        core[2, :2] = amount * np.array([np.cos(angle), np.sin(angle)])
    half = max(seen.grid.extent) / 2
    unit = np.diag([1 / half, 1 / half, 1.0])
    unit[:2, 2] = -seen.grid.centre / half
    linear = Projective(np.linalg.inv(unit) @ core @ unit)
    if warp != "smooth":
        return linear
    field = [ndimage.gaussian_filter(rng.standard_normal((_NODES, _NODES)), 2.5) for _ in range(2)]
    field = [amount * 2 * half * part / np.abs(part).max() for part in field]

    def smooth(places: Points) -> Points:
        nodes = (places / np.array(seen.grid.extent) * (_NODES - 1)).T
        return places + np.stack([ndimage.map_coordinates(p, nodes, order=3, mode="nearest") for p in field], axis=1)

    return smooth


def row(warp: str, seed: int) -> dict[str, Any]:
    """One pair: the kind of transform chosen, and how the predicted error compares with the true one."""
    made = warped(warp, seed)
    compare = PlanePair(made.fixed, made.moving, APPEARANCES["descriptor and edges"].refine)
    places = made.moving.grid.lattice(8)
    start = fit(made.fixed_from_moving(places), places, "similarity")
    choice = choose(compare, start, LINEAR_MODELS, compare.reliable)
    fits = independent_fits(compare, choice)
    fixed = made.fixed.grid
    predicted = predicted_error(fits, choice.transform.scale, fixed, made.moving.grid, calibration())
    points = predicted.grid.lattice_of_pixels()
    true = np.linalg.norm(made.fixed_from_moving(choice.transform(points)) - points, axis=1)
    known = np.isfinite(predicted.values).ravel()
    return {
        "warp": warp,
        "seed": seed,
        "model": choice.model,
        "reason": choice.reason,
        "true_px": float(np.median(true[known]) / fixed.spacing[0]),
        "predicted_px": predicted.median / fixed.spacing[0],
        **compared(predicted, true),
        "commit": commit(),
    }


def table(rows: list[dict[str, Any]]) -> str:
    """A line for each kind of distortion."""
    lines = [
        "| distortion | pairs | kinds chosen | places under the bound | median error, px: true | predicted |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for name, group in [(warp, [one for one in rows if one["warp"] == warp]) for warp in WARPS] + [("**all**", rows)]:
        if not group:
            continue
        models = [one["model"] for one in group]
        told = ", ".join(f"{models.count(model)} {model}" for model in LINEAR_MODELS if model in models)
        under = mean(one["under_bound"] for one in group)
        errors = (f"{median(one[key] for one in group):.2f}" for key in ("true_px", "predicted_px"))
        lines.append(f"| {name} | {len(group)} | {told} | {100 * under:.0f} % | {' | '.join(errors)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Make what is missing and write the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.poor_model", description="Errors of too poor a model.")
    parser.add_argument("--seeds", type=int, default=3, help="pairs of each kind of distortion")
    parser.add_argument("--out", type=Path, default=RESULTS / "poor-model.jsonl")
    asked = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    done = {(one["warp"], one["seed"]) for one in load(asked.out)}
    for seed in range(asked.seeds):
        for warp in WARPS:
            if (warp, seed) not in done:
                made = row(warp, seed)
                print(made, flush=True)
                with asked.out.open("a") as file:
                    file.write(json.dumps(made) + "\n")
    rows = load(asked.out)
    most = {warp: f"{100 * amount:.0f} %" for warp, amount in WARPS.items()}
    asked.out.with_suffix(".md").write_text(
        f"# Errors of too poor a model\n\n`python -m benchmarks.poor_model --seeds {asked.seeds}`, {commit()}: "
        f"simulated pairs, the moving image distorted by up to {most['shear']} of shear, {most['stretch']} of excess "
        f"length along one axis, {most['perspective']} of tilt and {most['smooth']} of the width of a smooth field; no "
        f"field is fitted.\n\n{table(rows)}\n",
        encoding="utf-8",
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
