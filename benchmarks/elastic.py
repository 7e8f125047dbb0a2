"""Known smooth fields under simulated microscopes: what is found of them, by correlight and by other programs.

``python -m benchmarks.elastic --case grains --count 252`` appends each run to ``benchmarks/results/elastic.jsonl`` and
goes on where it stopped; ``--tables`` writes ``benchmarks/results/elastic.md`` from what is there. Cases:

- ``grains``: the experiment of 252 pairs of steel (light-optical and electron) that were aligned and then registered
  elastically, with simulated grains and a known field; in four tiers by the true error.
- ``specimens``: all six simulated specimens at the pixel sizes that are usual, from the nearest affine map.
- ``itself``: electron images onto themselves and onto an affinely moved copy: what is moved beyond the affine map.
- ``unrelated``: images of two specimens: a field is wrong whatever it is.
- ``wrinkles``: two electron images of neighbouring sections, of which one has three folds of a few pixels that were
  flattened: places beside a line are pushed away from it.
- ``scan``: grains under a backscatter detector and as a map of another scan, which lies off by a smooth curve, 20 to 40
  pixels at most.
- ``large``: as ``specimens``, with a field of which the nearest affine map leaves 8 % of the width; ``far``, 3 %.
- ``smooth``: small images of smooth noise with noise of their own, and fields of 2, 4, 8 and 8 %.

Other programs get the two images on one grid, the moving one laid there by the same affine map:
``--peer elastix|elastix-mi|ants|simpleitk``, with the Python named by the variable ``CORRELIGHT_PEERS_PYTHON``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import RESULTS, ROOT, append_row, load_rows
from benchmarks.memory import peak_memory_mb
from correlight.appearance import APPEARANCES
from correlight.evidence.checks import LEAST_ERROR
from correlight.evidence.confidence import calibration
from correlight.evidence.predicted_error import coarser_pixel, spread
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.intensity.elastic import evidence_of_field, usual_displacement
from correlight.refine.elastic import ElasticFit
from correlight.refine.lattice import Lattice
from correlight.refine.planes import PlanePair
from correlight.refine.rounds import choose_in_rounds
from correlight.simulate import pair
from correlight.simulate.specimen import SpecimenKind
from correlight.transforms import Affine, Transform, VelocityField
from correlight.transforms.velocity import RIM

PEERS = ("elastix", "elastix-mi", "ants", "simpleitk")
PYTHON = "CORRELIGHT_PEERS_PYTHON"
CHANNELS = APPEARANCES["descriptor and edges"].refine
# Good, decent and bad: up to so many pixels of the light image (median), and what is no better than nothing is poor.
GOOD, DECENT = 1.0, 2.0
CASES = ("grains", "specimens", "itself", "unrelated", "wrinkles", "scan", "large", "far", "smooth")
KINDS: tuple[SpecimenKind, ...] = get_args(SpecimenKind)


@dataclass(frozen=True, eq=False)
class Bent:
    """A pair of images with a known field.

    Parameters
    ----------
    name : str
        Of the case and the draw.
    fixed, moving : Image
        The two images.
    start : Affine
        What is given.
    truth : Transform or None
        ``moving_from_fixed``; None for images that do not belong together.
    """

    name: str
    fixed: Image
    moving: Image
    start: Affine
    truth: Transform | None


def bend(grid: Grid, cells: int, share: float, seed: int) -> VelocityField:
    """A random smooth field that moves places by a share of the width (RMS) beyond the nearest affine map."""
    lattice = Lattice.over(grid, cells)
    numbers = np.random.default_rng([seed, 77]).normal(size=(lattice.count, grid.ndim))
    points = grid.lattice(20)
    for _ in range(3):
        moved = lattice.velocity(numbers).displaced(points)
        columns = np.column_stack([points, np.ones(len(points))])
        beyond = moved - columns @ np.linalg.lstsq(columns, moved, rcond=None)[0]
        numbers = numbers * share * max(grid.extent) / np.sqrt(np.mean(np.sum(beyond**2, axis=1)))
    return lattice.velocity(numbers)


def nearest_affine(truth: Transform, grid: Grid) -> Affine:
    """The affine map nearest to a transform over an image."""
    points = grid.lattice(24)
    columns = np.column_stack([points, np.ones(len(points))])
    found = np.linalg.lstsq(columns, truth(points), rcond=None)[0]
    return Affine.of(found[:-1].T, found[-1])


def shaped(grid: Grid, cells: int, displacement: Callable[[Points], Points]) -> VelocityField:
    """A smooth field of about the displacements that are given at ``(N, 2)`` shares of the field, as such shares."""
    lattice = Lattice.over(grid, cells)
    nodes = lattice.grid.points(np.indices(lattice.inner).reshape(2, -1).T + RIM)
    low, extent = grid.corners().min(axis=0), np.asarray(grid.extent)
    return lattice.velocity(displacement((nodes - low) / extent) * extent)


def wrinkles(seed: int) -> Callable[[Points], Points]:
    """Places are pushed away from three lines, by 1.2 % of the width and over 6 % of it."""
    rng = np.random.default_rng([seed, 78])
    lines = [(rng.uniform(0.2, 0.8, 2), rng.uniform(0, np.pi)) for _ in range(3)]

    def displacement(at: Points) -> Points:
        total = np.zeros_like(at)
        for middle, angle in lines:
            across = np.array([np.sin(angle), np.cos(angle)])
            far = (at - middle) @ across / 0.06
            total += 0.012 * (far * np.exp(0.5 - far**2 / 2))[:, None] * across
        return total

    return displacement


def drift(seed: int) -> Callable[[Points], Points]:
    """A scan that drifts and bows: curves of second and third order, up to 4 to 8 % of the width."""
    numbers = np.random.default_rng([seed, 79]).uniform(0.5, 1.0, 4) * (1, -1, 1, -1)

    def displacement(at: Points) -> Points:
        y, x = (2 * at - 1).T
        down = numbers[0] * y**2 + numbers[1] * 0.6 * x * y**2
        along = numbers[2] * y**2 + numbers[3] * 0.8 * y**3 + 0.4 * x * y
        return 0.03 * np.stack([down, along], axis=-1)

    return displacement


def bent_copy(image: Image, by: Transform) -> Image:
    """The image as another shows it that ``by`` leads to."""
    values, shown = warp(image, image.grid, by, image.grid)
    return replace(image, levels=(values,), mask=shown)


def cases(case: str, count: int, first: int = 0) -> Iterator[Bent]:
    """The pairs of a case, of so many draws."""
    seeds = range(first, first + count)
    if case in ("grains", "scan"):
        for seed in seeds:
            aligned = {"rotation": 0.0, "mirror": False, "stretch": 1.0, "shear": 0.0, "least_overlap": 0.98}
            size = {"electron_shape": (512, 512), "light_shape": (512, 512)}
            at = {"electron_spacing": 0.1, "light_spacing": 0.1, "data_bar": False}
            made = pair("grains", 7000 + seed, **aligned, **size, **at)  # type: ignore[arg-type]
            grid = made.fixed.grid
            field = shaped(grid, 4, drift(seed)) if case == "scan" else bend(grid, 2, 0.01, seed)
            truth = made.moving_from_fixed @ field
            start = nearest_affine(truth, grid)
            yield Bent(f"{case} {seed}", bent_copy(made.fixed, field), made.moving, start, truth)
        return
    if case == "wrinkles":
        for seed in seeds:
            yield _neighbours(seed)
        return
    if case == "smooth":
        for seed in seeds:
            yield _smooth(seed)
        return
    for seed in seeds:
        for kind in KINDS:
            made = pair(kind, 8000 + seed)
            name = f"{case} {kind} {seed}"
            if case == "itself":
                image = made.fixed
                middle = image.grid.centre
                linear = np.array([[1.02, 0.03], [-0.02, 0.99]]) if seed % 2 else np.eye(2)
                turn = Affine.of(linear, middle - linear @ middle)
                yield Bent(name, bent_copy(image, turn) if seed % 2 else image, image, turn, turn)
            elif case == "unrelated":
                other = pair(kind, 9000 + seed).fixed
                yield Bent(name, replace(other, grid=made.fixed.grid), made.moving, made.moving_from_fixed, None)
            else:
                field = bend(made.fixed.grid, 2, {"large": 0.08, "far": 0.03}.get(case, 0.01), seed)
                truth = made.moving_from_fixed @ field
                start = nearest_affine(truth, made.fixed.grid)
                yield Bent(name, bent_copy(made.fixed, field), made.moving, start, truth)


def _neighbours(seed: int) -> Bent:
    """Two electron images of one specimen with noise of their own, one of them wrinkled."""
    made = pair("neuropil", 8200 + seed, electron_shape=(512, 512), light_shape=(128, 128), data_bar=False).fixed
    field = shaped(made.grid, 12, wrinkles(seed))
    rng = np.random.default_rng([seed, 80])

    def noisy(image: Image) -> Image:
        values = np.asarray(image.levels[0], float)
        return replace(image, levels=(values + rng.normal(0, 0.3 * values.std(), values.shape),))

    fixed, moving = noisy(bent_copy(made, field)), noisy(made)
    return Bent(f"wrinkles {seed}", fixed, moving, nearest_affine(field, made.grid), field)


def _smooth(seed: int) -> Bent:
    """Smooth noise twice, once bent, with noise of their own."""
    drawn = np.random.default_rng(seed).normal(size=(22, 22)).astype(np.float32)
    made = Image.from_array(cv2.resize(drawn, (112, 112), interpolation=cv2.INTER_CUBIC)[None], 1.0)
    field = bend(made.grid, 2, (0.02, 0.04, 0.08, 0.08)[seed % 4], seed)

    def noisy(image: Image, number: int) -> Image:
        values = np.asarray(image.levels[0], float)
        noise = np.random.default_rng([seed, number]).normal(0, 0.2 * values.std(), values.shape)
        return replace(image, levels=(values + noise,))

    fixed = noisy(bent_copy(made, field), 1)
    return Bent(f"smooth {seed}", fixed, noisy(made, 2), nearest_affine(field, made.grid), field)


def planes_of(bent: Bent) -> list[PlanePair]:
    """Pairs of channels, of the light image those of the stain and of reflected light; of pictures their grey."""
    fixed = Plane.of(bent.fixed, bent.fixed.usable_channels[0])
    return [PlanePair(fixed, Plane.of(bent.moving, number), CHANNELS) for number in bent.moving.usable_channels[:2]]


def measured(bent: Bent, peer: str | None) -> dict[str, Any]:
    """One run: errors in pixels of the moving image, folds and seconds."""
    began, wall = time.process_time(), time.perf_counter()
    points = bent.fixed.grid.lattice(40)
    row: dict[str, Any] = {"name": bent.name, "peer": peer or "correlight"}
    if peer is None:
        choice, pose = choose_in_rounds(planes_of(bent), bent.start)
        field = None if choice.fit is None else choice.fit.field
        led = bent.start.inverse()(pose(points if field is None else field(points)))
        row |= {"found": field is not None, "least_volume": 1.0 if field is None else field.smallest_volume}
        row["peak_mb"] = round(peak_memory_mb())
        seconds, spent = time.perf_counter() - wall, time.process_time() - began
        seen = np.zeros(len(points), bool) if choice.fit is None else choice.fit.evidence_at(points) > 0.5
        if choice.fit is not None:
            row |= {"gain": choice.fit.gain, "cells": choice.fit.cells, "evidence": float(seen.mean())}
            said = evidence_of_field(choice.fit, float(np.mean(bent.fixed.grid.spacing)), bent.fixed.grid.unit)
            row |= {"share": choice.fit.share, "doubted": not all(one.favours for one in said)}
            bound = _bound(bent, choice.fit, points) * bent.start.scale / float(np.mean(bent.moving.grid.spacing))
    else:
        led, row["least_volume"], seconds, spent = by_peer(bent, peer, points)
        row["found"], seen = True, np.zeros(len(points), bool)
    row |= {"seconds": round(seconds, 2), "processor_seconds": round(spent, 2)}
    pixel = float(np.mean(bent.moving.grid.spacing))
    beyond = np.linalg.norm(led - points, axis=1)
    row["moved_px"] = float(beyond.mean() * bent.start.scale / pixel)
    if bent.truth is None:
        return row
    both = bent.moving.grid.contains(bent.truth(points))
    for name, found in (("before", bent.start(points)), ("after", bent.start(led))):
        wrong = np.linalg.norm(found - bent.truth(points), axis=1)[both] / pixel
        row |= {name: float(np.median(wrong)), f"{name}_p90": float(np.percentile(wrong, 90))}
    if seen.any():
        row["after_where_seen"] = float(np.median(wrong[seen[both]])) if seen[both].any() else None
        row["under_bound"] = float(np.mean(wrong <= bound[both]))
    return row


def _bound(bent: Bent, fit: ElasticFit, points: Points) -> NDArray[np.float64]:
    """The 95 % bound of `correlight.intensity.elastic.error_with_field`, without what the linear map adds to it."""
    least = LEAST_ERROR * coarser_pixel(bent.fixed.grid, bent.moving.grid, bent.start.scale)
    halves = spread([fit.halves], 1.0, least, calibration().error_scale)(points)
    missing = (1 - fit.evidence_at(points)) * usual_displacement(fit) ** 2
    return np.asarray(1.731 * np.sqrt(halves**2 + fit.deviation_at(points) ** 2 + missing))


def by_peer(bent: Bent, peer: str, points: NDArray[np.float64]) -> tuple[NDArray[np.float64], float, float, float]:
    """Where another program leads points of the fixed image before the affine map, its least volume, and its time."""
    both = planes_of(bent)[-1]
    over = PlanePair(both.fixed, both.moving, CHANNELS).overlay(bent.start, 512)
    grid = over.fixed.grid
    shown = over.fixed.mask & over.moving.mask
    led, least, seconds, spent = run_peer(peer, over.fixed.values, over.moving.values, shown, grid.index(points))
    return grid.points(led), least, seconds, spent


def run_peer(
    peer: str,
    fixed: NDArray[np.floating],
    moving: NDArray[np.floating],
    shown: NDArray[np.bool_],
    places: NDArray[np.float64],
) -> tuple[NDArray[np.float64], float, float, float]:
    """Where another program leads places of a plane or a volume, in pixels, its least volume, and its time."""
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "given.npz", Path(folder) / "out.npz"
        np.savez(given, fixed=fixed, moving=moving, shown=shown.astype(np.uint8), places=places)
        command = [os.environ.get(PYTHON, sys.executable), "-m", "benchmarks.elastic_peers", peer, str(given), str(out)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"), "1")
        subprocess.run(command, cwd=ROOT, env={**os.environ, **threads}, check=True, capture_output=True)
        with np.load(out) as found:
            return found["led"], *(float(found[name]) for name in ("least_volume", "seconds", "processor_seconds"))


def tier(row: dict[str, Any]) -> str:
    """Good, decent, bad or poor by the true error; what folds or is worse than nothing is poor, no field is bad."""
    if not row["found"]:
        return "bad" if row["before"] > DECENT else "decent" if row["before"] > GOOD else "good"
    if row["least_volume"] <= 0 or row["after"] > row["before"]:
        return "poor"
    return "good" if row["after"] <= GOOD else "decent" if row["after"] <= DECENT else "bad"


def tables(rows: list[dict[str, Any]]) -> str:
    """All rows as Markdown."""
    names = (
        "case",
        "program",
        "runs",
        "fields",
        "doubtful",
        "before",
        "after",
        "where seen",
        "under bound",
        "good / decent / bad / poor",
    )
    head = f"| {' | '.join((*names, 'folds', 'processor seconds'))} |"
    out = [head, f"|---|---|{'---:|' * 10}"]
    keys = sorted({(" ".join(row["name"].split()[:-1]), row["peer"]) for row in rows})
    for case, peer in keys:
        some = [row for row in rows if " ".join(row["name"].split()[:-1]) == case and row["peer"] == peer]

        def middle(name: str, some: list[dict[str, Any]] = some) -> str:
            known = [row[name] for row in some if row.get(name) is not None]
            return f"{np.median(known):.2f}" if known else "–"

        true = [tier(row) for row in some if "after" in row]
        tiers = " / ".join(str(true.count(name)) for name in ("good", "decent", "bad", "poor")) if true else "–"
        fields, folds = sum(row["found"] for row in some), sum(row["least_volume"] <= 0 for row in some)
        doubted = [row["doubted"] for row in some if "doubted" in row]
        cells = (
            len(some),
            fields,
            sum(doubted) if doubted or not fields else "–",
            middle("before"),
            middle("after"),
            middle("after_where_seen"),
            middle("under_bound"),
            tiers,
            folds,
        )
        row = (case, peer, *cells, middle("processor_seconds"))
        out.append(f"| {' | '.join(str(cell) for cell in row)} |")
    return "\n".join(out)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.elastic", description=__doc__)
    parser.add_argument("--case", choices=CASES, default="specimens")
    parser.add_argument("--count", type=int, default=4, help="draws (of every specimen)")
    parser.add_argument("--first", type=int, default=0, help="number of the first draw")
    parser.add_argument("--peer", choices=PEERS)
    parser.add_argument("--tables", action="store_true", help="write the tables of what was run, and run nothing")
    parser.add_argument("--file", type=Path, default=RESULTS / "elastic.jsonl")
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    rows = load_rows(asked.file)
    if asked.tables:
        print(tables(rows))
        return 0
    known = {(row["name"], row["peer"]) for row in rows}
    for bent in cases(asked.case, asked.count, asked.first):
        if (bent.name, asked.peer or "correlight") in known:
            continue
        row = measured(bent, asked.peer)
        append_row(asked.file, row)
        print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
