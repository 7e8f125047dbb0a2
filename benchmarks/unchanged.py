"""Does a change of the code change what is found? Transforms, verdicts and times of every recipe, compared.

``python -m benchmarks.unchanged record FILE --data FOLDER`` registers one draw of every pair in ``pairs.json`` and
simulated pairs by every recipe, one line of JSON a case; cases that FILE holds already are not run again.
``python -m benchmarks.unchanged compare BEFORE AFTER`` says how far the places differ to which both lead, as a share of
the fixed width, and which verdicts differ. Run ``record`` once in a checkout of the earlier code and once in this one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from benchmarks.protocol import draw, load_pairs
from correlight import Affine, Grid, Image, Result, from_landmarks, register
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.simulate import SimulatedPair, pair
from correlight.simulate.beads import with_beads
from correlight.simulate.volume_pair import volume_pair

Row = dict[str, Any]


def cases(data: Path) -> Iterator[tuple[str, Callable[[], Result]]]:
    """Every case with its name."""
    pairs = load_pairs(data)
    for number, one in enumerate(pairs):
        drawn = draw(one, "free", 0)
        images = Image.from_array(drawn.fixed), Image.from_array(drawn.moving)
        yield f"auto {one.name}", lambda i=images: register(*i, workers=1)  # type: ignore[misc]
        near = draw(one, "near", 0)
        close = Image.from_array(near.fixed), Image.from_array(near.moving)
        if number % 3 == 0:
            for recipe in ("classical", "descriptor", "mutual-information", "neural-mi"):
                yield (
                    f"{recipe} {one.name}",
                    lambda i=close, r=recipe: register(*i, r, rotation=(-20, 20), mirror=False, workers=1),  # type: ignore[misc]
                )
    for kind in ("cell", "tissue", "grains", "fibres"):
        both = pair(kind, 3, electron_shape=(384, 384), light_shape=(256, 256))
        yield f"auto {kind}", lambda b=both: register(b.fixed, b.moving, workers=1)  # type: ignore[misc]
    both = pair("cell", 4, electron_shape=(384, 384), light_shape=(256, 256))
    for model in ("rigid", "similarity", "affine", "projective"):
        yield f"auto cell {model}", lambda m=model: register(both.fixed, both.moving, model=m, workers=1)  # type: ignore[misc]
    start = both.moving_from_fixed
    yield "auto cell start", lambda: register(both.fixed, both.moving, start=start, workers=1)
    yield "auto cell roi pose 2", lambda: register(both.fixed, both.moving, roi=(20, 350, 20, 350), pose=2, workers=1)
    for seed in (12, 13, 14):
        beads = _with_beads(seed)
        for recipe in ("fiducials", "fiducials-then-image", "image-then-fiducials"):
            yield (
                f"{recipe} {seed}",
                lambda b=beads, r=recipe: register(b.fixed, b.moving, r, workers=1),  # type: ignore[misc]
            )
    for seed in range(4):
        labels, light = _organelles(seed)
        yield f"point-clouds {seed}", partial(register, labels, light, "point-clouds", workers=1)
    for seed in range(3):
        stacks = volume_pair(seed=seed, size=0.5)
        yield f"auto 3-D {seed}", lambda s=stacks: register(s.fixed, s.moving, workers=1)  # type: ignore[misc]
        known = volume_pair(seed=seed, size=0.5, rotation=0.0, mirror=False, flip=False, tilt=(0.0, 0.0), scale=1.0)
        yield f"log-mi-3d {seed}", lambda s=known: register(s.fixed, s.moving, "log-mi-3d", workers=1)  # type: ignore[misc]
    stacks = volume_pair(seed=5, size=0.5, specimens=(5, 1005))
    yield "auto 3-D unrelated", lambda: register(stacks.fixed, stacks.moving, workers=1)
    yield from _landmarks()


def _with_beads(seed: int) -> SimulatedPair:
    """A cell with beads, and a light image of them and of its reflection."""
    both = pair(
        "cell",
        seed,
        electron_shape=(384, 384),
        light_shape=(224, 224),
        electron_spacing=0.05,
        light_spacing=0.1,
        data_bar=False,
    )
    strewn = with_beads(both, seed - 11, beads=50, common=0.5, diameter=0.25)
    names = ("reflected", "beads")
    numbers = [strewn.moving.channels.index(name) for name in names]
    pixels = np.asarray(strewn.moving.levels[0])[numbers]
    return replace(strewn, moving=replace(strewn.moving, levels=(pixels,), channels=names))


def _organelles(seed: int) -> tuple[Image, Image]:
    """Labels of organelles, and a light image of them in another pose."""
    fixed, moving = Grid.of((300, 320), 0.05, unit="micrometre"), Grid.of((200, 190), 0.12, unit="micrometre")
    rng = np.random.default_rng(seed)
    places, labels = fixed.lattice_of_pixels(), np.zeros(300 * 320, np.uint16)
    for number in range(1, 31):
        middle, radius = rng.uniform(0, fixed.extent), min(fixed.extent) * np.exp(rng.normal(np.log(0.04), 0.3))
        labels[np.sum(((places - middle) / np.exp(rng.normal(0, 0.3, 2))) ** 2, axis=1) < radius**2] = number
    pose = Affine.similarity(rng.uniform(0, 360), 1.03, bool(seed % 2), fixed.centre, moving.centre)
    where = fixed.index(pose.inverse()(moving.lattice_of_pixels())).T
    seen = ndimage.map_coordinates((labels.reshape(300, 320) > 0).astype(np.float32), where, order=1)
    picture = ndimage.gaussian_filter(seen.reshape(200, 190), 1.0) + 0.1 * rng.normal(size=(200, 190))
    light = (2000 + 8000 * picture).clip(0).astype(np.uint16)
    return Image.from_array(labels.reshape(300, 320), 0.05), Image.from_array(light, 0.12)


def _landmarks() -> Iterator[tuple[str, Callable[[], Result]]]:
    """Noisy landmarks, by every model."""
    fixed = Image.from_array(np.zeros((300, 400), np.uint8), 0.05)
    moving = Image.from_array(np.zeros((260, 300), np.uint8), 0.08)
    rng = np.random.default_rng(7)
    here = rng.random((14, 2)) * fixed.grid.extent
    truth = Affine.similarity(25, 1.05, True, fixed.grid.centre, moving.grid.centre)
    there: NDArray[np.float64] = np.asarray(truth(here) + 0.05 * rng.normal(size=here.shape))
    names = tuple(str(number) for number in range(len(here)))
    table = LandmarkTable(PointTable(names, here, "micrometre"), PointTable(names, there, "micrometre"))
    for model in (None, "rigid", "similarity", "affine", "projective", "thin-plate"):
        for noise in ("isotropic", "anisotropic"):
            yield (
                f"landmarks {model} {noise}",
                lambda m=model, n=noise: from_landmarks(fixed, moving, table, m, noise=n).result,  # type: ignore[misc]
            )


def measured(name: str, case: Callable[[], Result]) -> Row:
    """One case: where it leads the corners and the middle of the fixed field, its verdict, and its seconds."""
    began, wall = time.process_time(), time.perf_counter()
    try:
        result = case()
    except Exception as error:
        return {"case": name, "error": f"{type(error).__name__}: {error}"}
    extent = np.asarray(result.fixed.shape) * result.fixed.spacing
    unit = Grid.of((3,) * len(extent)).lattice_of_pixels() / 2
    places = result.moving_from_fixed(unit * extent)
    return {
        "case": name,
        "status": result.status,
        "confidence": result.verdict.confidence,
        "model": result.model,
        "scale": result.scale_found * np.mean(result.moving.spacing) / np.mean(result.fixed.spacing),
        "width": float(extent.max()),
        "places": places.tolist(),
        "predicted": result.predicted_error.median if np.isfinite(result.predicted_error.median) else None,
        "channels": [result.fixed.channel, result.moving.channel],
        "processor_seconds": round(time.process_time() - began, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
    }


def rows(path: Path) -> dict[str, Row]:
    """The lines of a file by case."""
    lines = path.read_text().splitlines() if path.exists() else []
    return {row["case"]: row for row in map(json.loads, lines)}


def compare(before: Path, after: Path) -> str:
    """A table of what differs, case by case."""
    one, other = rows(before), rows(after)
    out = [
        "| case | shift, share of the width | status | model | predicted error | seconds |",
        "|---|---:|---|---|---:|---:|",
    ]
    for name in one:
        if name not in other:
            continue
        a, b = one[name], other[name]
        if "error" in a or "error" in b:
            out.append(f"| {name} | | {a.get('error', a.get('status'))} → {b.get('error', b.get('status'))} | | | |")
            continue
        apart = np.linalg.norm(np.subtract(a["places"], b["places"]), axis=1).max() / a["scale"] / a["width"]
        same = {key: f"{a[key]}" if a[key] == b[key] else f"{a[key]} → {b[key]}" for key in ("status", "model")}
        said = f"{same['status']} {a['confidence']:.3f} → {b['confidence']:.3f}"
        error = b["predicted"] / a["predicted"] if a["predicted"] and b["predicted"] else np.nan
        spent = b["processor_seconds"] / max(a["processor_seconds"], 1e-2)
        out.append(f"| {name} | {apart:.1e} | {said} | {same['model']} | {error:.3f} | {spent:.2f} |")
    both = [name for name in one if name in other and "error" not in one[name] and "error" not in other[name]]
    totals = [sum(rows_of[name]["processor_seconds"] for name in both) for rows_of in (one, other)]
    out.append(f"\nProcessor seconds in all: {totals[0]:.0f} before, {totals[1]:.0f} after ({len(both)} cases).")
    return "\n".join(out)


def main(arguments: list[str] | None = None) -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.unchanged", description="What a change changes.")
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, help="folder that holds pairs.json")
    parser.add_argument("--only", default="", help="cases whose names contain this")
    parser.add_argument("--part", default="0/1", help="K/N: every N-th case from the K-th, for several at a time")
    asked = parser.parse_args(arguments)
    if asked.what == "compare":
        print(compare(*asked.files))
        return 0
    cv2.setNumThreads(1)
    known = rows(asked.files[0])
    part, parts = (int(text) for text in asked.part.split("/"))
    for number, (name, case) in enumerate(cases(asked.data)):
        if number % parts != part or name in known or asked.only not in name:
            continue
        with asked.files[0].open("a") as file:
            file.write(json.dumps(measured(name, case)) + "\n")
        print(name, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
