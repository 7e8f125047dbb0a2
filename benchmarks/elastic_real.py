"""Fields between real images that have landmarks, and from landmarks alone: correlight beside other programs.

``python -m benchmarks.elastic_real --data FOLDER --peer all`` appends each run to
``benchmarks/results/elastic-real.jsonl`` and goes on where it stopped; ``--tables`` prints them as Markdown.

- Stained sections (``birl``) and a slab under backscatter, EBSD and EDS (``slabs``): all programs begin from the affine
  map that fits the landmarks best, and get the same two images on one grid of about 512 x 512 pixels; none sees the
  landmarks. Errors are distances of landmarks, in pixels of the moving image and percent of its diagonal. Beside them
  stands how well each landmark is led by a smooth spline through all others: what lies below that, no smooth field
  explains.
- A whole fly brain in light and electrons (``elm``), of which there are landmarks only: all programs get some of them
  and the affine map that fits these, in a volume of 64 voxels along its longest side, and are measured on the others,
  in micrometres of the light image and percent of the diagonal of the box around all landmarks.

Other programs as for `benchmarks.elastic`: ``CORRELIGHT_PEERS_PYTHON`` names the Python of elastix and SimpleITK,
``CORRELIGHT_ANTS_PYTHON`` that of ANTs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import RESULTS, append_row, load_rows
from benchmarks.elastic import PEERS, PYTHON, Bent, by_peer, planes_of, run_peer
from correlight.exchange import read_landmarks
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.io import read
from correlight.landmarks import estimate
from correlight.landmarks.linear import fit
from correlight.refine.rounds import choose_in_rounds
from correlight.transforms import Affine

FILE = RESULTS / "elastic-real.jsonl"
ANTS_PYTHON = "CORRELIGHT_ANTS_PYTHON"
OURS = "correlight"
# What landmarks say of each other: each is led by the smooth spline through all others.
OTHERS = "other landmarks"
# Landmarks of the fly brain that are given, and draws of each number.
GIVEN, DRAWS = (30, 60, 100), 3
# Voxels along the longest side of the volume in which other programs compute.
_VOXELS = 64
Float64 = NDArray[np.float64]
# Where a program leads points of the fixed image before the affine map, its least volume, and its processor seconds.
Led = tuple[Float64, float, float]


@dataclass(frozen=True, eq=False)
class Task:
    """One registration: places that are measured, where they belong, and who leads them there."""

    name: str
    start: Affine
    places: Points
    belong: Points
    diagonal: float
    run: Callable[[str], Led]


def in_pixels(image: Image) -> Image:
    """The same pixels, of size 1, as the landmarks count them."""
    return Image.from_array(np.asarray(image.levels[0]), 1.0, rgb=image.rgb)


def pictures(data: Path) -> Iterator[Task]:
    """The pairs with landmarks that were set for them."""
    for folder, known in ((data, "birl/"), (data / "slabs", "")):
        for entry in json.loads((folder / "pairs.json").read_text()):
            if not entry["fixed"].startswith(known) or not entry.get("landmarks"):
                continue
            with (folder / entry["landmarks"]).open() as file:
                rows = list(csv.DictReader(file))
            places, belong = (
                np.array([(float(row[f"{side}_y"]), float(row[f"{side}_x"])) for row in rows])
                for side in ("fixed", "moving")
            )
            fixed, moving = (in_pixels(read(folder / entry[side])) for side in ("fixed", "moving"))
            start = fit(places, belong, "affine")
            assert isinstance(start, Affine)
            bent = Bent(entry["id"], fixed, moving, start, None)

            def run(peer: str, bent: Bent = bent, places: Points = places, belong: Points = belong) -> Led:
                if peer == OTHERS:
                    return bent.start.inverse()(by_others(places, belong)), 1.0, 0.0
                if peer != OURS:
                    led, least, _, spent = by_peer(bent, peer, places)
                    return led, least, spent
                began = time.process_time()
                choice, pose = choose_in_rounds(planes_of(bent), bent.start)
                spent = time.process_time() - began
                field = None if choice.fit is None else choice.fit.field
                led = bent.start.inverse()(pose(places if field is None else field(places)))
                return led, 1.0 if field is None else field.smallest_volume, spent

            yield Task(entry["id"], start, places, belong, float(np.linalg.norm(moving.grid.shape)), run)


def by_others(places: Points, belong: Points) -> Float64:
    """Where the smooth spline through all other landmarks leads each."""
    found = np.empty_like(belong)
    for index, place in enumerate(places):
        kept = np.arange(len(places)) != index
        found[index] = estimate(places[kept], belong[kept], "elastic").moving_from_fixed(place[None])[0]
    return found


def brain(data: Path) -> Iterator[Task]:
    """Draws of the landmarks of the fly brain."""
    table = read_landmarks(data / "elm" / "lm-em-landmarks_v14.csv")
    # The electron volume counts nanometres.
    fixed, moving = table.fixed.points / 1000, table.moving.points
    low, high = fixed.min(axis=0), fixed.max(axis=0)
    step = float(np.max(high - low)) * 1.1 / _VOXELS
    grid = Grid.of(tuple(int(n) for n in np.ceil((high - low) * 1.1 / step)), step, low - 0.05 * (high - low))
    diagonal = float(np.linalg.norm(moving.max(axis=0) - moving.min(axis=0)))
    for given in GIVEN:
        for draw in range(DRAWS):
            order = np.random.default_rng([given, draw]).permutation(len(fixed))
            some, others = order[:given], order[given:]
            start = fit(fixed[some], moving[some], "affine")
            assert isinstance(start, Affine)

            def run(peer: str, start: Affine = start, some: Any = some, others: Any = others) -> Led:
                places, back = fixed[others], start.inverse()
                if peer != OURS:
                    known = grid.index(fixed[some]), grid.index(back(moving[some]))
                    whole = np.ones(grid.shape, bool)
                    led, least, _, spent = run_peer(peer, *known, whole, grid.index(places))
                    return grid.points(led), least, spent
                began = time.process_time()
                found = estimate(fixed[some], moving[some], "elastic").moving_from_fixed
                led = back(found(places))
                spent = time.process_time() - began
                slopes = back.matrix[:-1, :-1] @ found.jacobian(grid.lattice_of_pixels())
                return led, float(np.linalg.det(slopes).min()), spent

            yield Task(f"elm {given} {draw}", start, fixed[others], moving[others], diagonal, run)


def measured(task: Task, peer: str) -> dict[str, Any]:
    """One run."""
    led, least, spent = task.run(peer)
    row: dict[str, Any] = {"name": task.name, "peer": peer, "landmarks": len(task.places)}
    for name, found in (("before", task.places), ("after", led)):
        wrong = np.linalg.norm(task.start(found) - task.belong, axis=1)
        row |= {name: float(np.median(wrong)), f"{name}_p90": float(np.percentile(wrong, 90))}
        row[f"{name}_share"] = 100 * float(np.median(wrong)) / task.diagonal
    moved = bool(np.abs(led - task.places).max() > 1e-6)
    return row | {"found": moved, "least_volume": least, "processor_seconds": round(spent, 2)}


def tables(rows: list[dict[str, Any]]) -> str:
    """All rows as Markdown; draws of one number of landmarks by their medians."""
    names = ("pair", "program", "runs", "before", "after", "before, %", "after, %", "90 % before", "90 % after")
    out = [f"| {' | '.join((*names, 'least volume', 'processor seconds'))} |", "|---|---|" + "---:|" * 9]

    def group(row: dict[str, Any]) -> tuple[str, str]:
        name = row["name"]
        return (name.rsplit(" ", 1)[0] if name.startswith("elm") else name, row["peer"])

    keys = list(dict.fromkeys(group(row) for row in rows))
    order = [pair for pair, _ in keys]
    for key in sorted(keys, key=lambda one: (order.index(one[0]), one[1] != OURS, one[1])):
        some = [row for row in rows if group(row) == key]
        shares = [f"{np.median([row[f'{name}_share'] for row in some]):.2f}" for name in ("before", "after")]
        pixels = [f"{np.median([row[name] for row in some]):.2f}" for name in ("before", "after")]
        far = [f"{np.median([row[name] for row in some]):.1f}" for name in ("before_p90", "after_p90")]
        least = f"{min(row['least_volume'] for row in some):.2f}" if any(row["found"] for row in some) else "no field"
        seconds = f"{np.median([row['processor_seconds'] for row in some]):.2f}"
        if key[1] == OTHERS:
            least = seconds = "–"
        out.append(f"| {' | '.join((*key, str(len(some)), *pixels, *shares, *far, least, seconds))} |")
    return "\n".join(out)


def main() -> int:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.elastic_real", description=__doc__)
    parser.add_argument("--data", type=Path, help="folder of the real images")
    parser.add_argument("--peer", choices=(*PEERS, "all"), help="without: correlight")
    parser.add_argument("--tables", action="store_true", help="print what was run, and run nothing")
    parser.add_argument("--file", type=Path, default=FILE)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    rows = load_rows(asked.file)
    if asked.tables:
        print(tables(rows))
        return 0
    if asked.data is None:
        parser.error("--data is needed to measure; --tables alone makes the tables again")
    known = {(row["name"], row["peer"]) for row in rows}
    python = os.environ.get(PYTHON, sys.executable)
    for task in (*pictures(asked.data), *brain(asked.data)):
        for peer in (OURS, OTHERS, *PEERS) if asked.peer == "all" else (asked.peer or OURS,):
            # From landmarks, elastix knows one way.
            without = (OTHERS, "elastix-mi") if task.name.startswith("elm") else ()
            if (task.name, peer) in known or peer in without:
                continue
            os.environ[PYTHON] = os.environ.get(ANTS_PYTHON, python) if peer == "ants" else python
            row = measured(task, peer)
            append_row(asked.file, row)
            print(json.dumps(row), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
