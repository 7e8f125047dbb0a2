"""What neural mutual information does: side by side with the thesis recipe, its tolerance, repeats, and ratios.

``python -m benchmarks.neural iterations|tolerance|repeats|ratios|measures`` writes
``benchmarks/results/neural-<name>.md``; ``iterations`` and ``tolerance`` also take ``--data FOLDER`` for real pairs.
Errors are mean distances over a 10 x 10 lattice of the fixed image, against the truth. Seconds are processor seconds
of one thread, and both methods of a comparison run one after the other in one process, so that their ratio can be
trusted where the seconds cannot.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error

from benchmarks import thesis_recipe
from benchmarks.accuracy import RESULTS
from benchmarks.protocol import load_pairs
from benchmarks.structure import multiscale_similarity
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.output.pair import prepare_pair
from correlight.refine.neural import refine_neural
from correlight.simulate import pair
from correlight.simulate.pair import SimulatedPair
from correlight.transforms import Affine

# The start of every comparison by iterations: degrees, and shares of the width down and across.
START = (4.0, 0.02, -0.02)
# Thesis figures 10 and 44: per cent of the width, and degrees, in both directions.
SHIFTS, TURNS = (-10.0, -5.0, 0.0, 5.0, 10.0), tuple(range(-20, 21, 5))
# How far the method itself looks round in the tolerance test.
REACH = (22.0, 0.12)
KEPT = (0, 10, 30, 100, 200, 300, 500, 700, 1000)


@dataclass(frozen=True)
class Case:
    """Two planes and the truth."""

    name: str
    fixed: Plane
    moving: Plane
    moving_from_fixed: Affine

    def error(self, found: Affine) -> float:
        """Mean distance from the truth in per cent of the fixed width."""
        points = self.fixed.grid.lattice(10)
        apart = np.linalg.norm(found(points) - self.moving_from_fixed(points), axis=1).mean()
        return float(100 * apart / self.moving_from_fixed.scale / self.fixed.grid.extent[1])

    def start(self, turn: float, down: float, across: float) -> Affine:
        """A pose that is off by a turn in degrees and shifts as shares of the width."""
        middle = self.fixed.grid.centre
        shift = np.array([down, across]) * self.fixed.grid.extent[1]
        return Affine((self.moving_from_fixed @ Affine.similarity(turn, 1.0, False, middle, middle + shift)).matrix)


def simulated(seed: int, side: int = 512) -> Case:
    """A cell by electrons and by reflected light, 15 µm across on so many pixels, half as fine ones of light."""
    both = pair(
        "cell",
        seed,
        rotation=0.0,
        mirror=False,
        stretch=1.0,
        shear=0.0,
        electron_spacing=15.36 / side,
        light_spacing=30.72 / side,
        electron_shape=(side, side),
        light_shape=(int(0.8 * side), int(0.8 * side)),
        least_overlap=1.0,
        data_bar=False,
    )
    return _case(f"simulated {seed}", both)


def _case(name: str, both: SimulatedPair, channel: str = "reflected") -> Case:
    moving = Plane.of(both.moving, both.moving.channel_index(channel))
    return Case(name, Plane.of(both.fixed, 0), moving, both.moving_from_fixed)


def real(data: Path, names: tuple[str, ...]) -> Iterator[Case]:
    """Real pairs at half their size."""
    for one in load_pairs(data):
        if one.name in names:
            planes = []
            for pixels in (one.fixed, one.moving):
                image = Image.from_array(pixels, rgb=pixels.ndim == 3)
                whole = Plane.of(image, None if image.rgb else 0)
                planes.append(whole.resized((whole.grid.shape[0] // 2, whole.grid.shape[1] // 2)))
            yield Case(one.name, planes[0], planes[1], one.moving_from_fixed)


def iterations(cases: list[Case], seconds: float) -> list[str]:
    """Error against iterations and time of both methods, from one start."""
    rows = ["| pair | method | iterations | seconds | error / % of width |", "|---|---|---:|---:|---:|"]
    for case in cases:
        start = case.start(*START)
        rows.append(f"| {case.name} | start | 0 | 0 | {case.error(start):.2f} |")
        ours = []
        for most in (20, 60, 120, 240):
            began = time.process_time()
            found = refine_neural(case.fixed, case.moving, start, most_steps=most)
            ours.append((most, time.process_time() - began, case.error(Affine(found.matrix))))
        rows += [f"| {case.name} | neural-mi, at most {n} a level | | {s:.2f} | {e:.2f} |" for n, s, e in ours]
        pictures = _one_frame(case, start)
        kept = thesis_recipe.run(*pictures, KEPT, seconds)
        to_index = case.fixed.grid.matrix
        theirs = []
        for one in kept:
            matrix = start.matrix @ to_index @ one.moved_from_fixed @ np.linalg.inv(to_index)
            matrix[2] = (0, 0, 1)
            theirs.append((one.iteration, one.seconds, case.error(Affine(matrix))))
        rows += [f"| {case.name} | thesis recipe | {n} | {s:.1f} | {e:.2f} |" for n, s, e in theirs[1:]]
        each = theirs[-1][1] / theirs[-1][0]
        done = ours[-1][1]
        rows.append(
            f"| {case.name} | thesis recipe, extrapolated from {each:.3f} s an iteration | 87000 | "
            f"{each * thesis_recipe.ITERATIONS_OF_THESIS:.0f} | |"
        )
        rows.append(
            f"| {case.name} | time of 1,000 and of 87,000 iterations over the whole of neural-mi | | "
            f"{1000 * each / done:.0f} x, {thesis_recipe.ITERATIONS_OF_THESIS * each / done:.0f} x | |"
        )
        print("\n".join(rows[-20:]), flush=True)
    return rows


def _one_frame(case: Case, start: Affine) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both images on the fixed grid, as the thesis prepares them; grey where the light image ends."""
    values, inside = warp(case.moving.values[None], case.moving.grid, start, case.fixed.grid)
    moved = np.where(inside, values[0], np.median(values[0][inside]))
    return tuple((255 * picture).astype(np.uint8) for picture in (case.fixed.values, moved))  # type: ignore[return-value]


def tolerance(cases: list[Case]) -> list[str]:
    """Error after registering from every start of the grid, without any search."""
    rows = []
    for case in cases:
        rows += [
            f"\n{case.name}, error in % of the width, largest of the shifts across 0 and as far as down:\n",
            "| turn | " + " | ".join(f"{shift:+.0f} %" for shift in SHIFTS) + " |",
            "|---:|" + "---:|" * len(SHIFTS),
        ]
        for turn in TURNS:
            cells = []
            for shift in SHIFTS:
                starts = [case.start(turn, shift / 100, across / 100) for across in sorted({0.0, shift})]
                found = [refine_neural(case.fixed, case.moving, start, start_error=REACH) for start in starts]
                cells.append(max(case.error(Affine(one.matrix)) for one in found))
            rows.append(f"| {turn:+.0f}° | " + " | ".join(f"{cell:.2f}" for cell in cells) + " |")
            print(rows[-1], flush=True)
    return rows


def repeats(count: int) -> list[str]:
    """The same registration again and again in one process, and with other seeds."""
    case = simulated(3, 256)
    start = case.start(*START)
    seconds, errors, others = [], [], []
    for number in range(count):
        began = time.process_time()
        errors.append(case.error(Affine(refine_neural(case.fixed, case.moving, start).matrix)))
        seconds.append(time.process_time() - began)
        others.append(case.error(Affine(refine_neural(case.fixed, case.moving, start, seed=number).matrix)))
    return [
        f"| 256 x 256, {count} runs | smallest | median | largest |",
        "|---|---:|---:|---:|",
        f"| error / % of width, one seed | {min(errors):.4f} | {np.median(errors):.4f} | {max(errors):.4f} |",
        f"| error / % of width, a seed each | {min(others):.4f} | {np.median(others):.4f} | {max(others):.4f} |",
        f"| seconds | {min(seconds):.2f} | {np.median(seconds):.2f} | {max(seconds):.2f} |",
    ]


# Seed, true ratio, how many times wider the light field is, and how wrong the claim is.
RATIOS = (
    (11, 2.0, 2.0, 1.10),
    (12, 3.0, 4.0, 0.90),
    (13, 2.5, 8.0, 0.94),
    (14, 5.0, 6.0, 1.08),
    (15, 4.0, 3.0, 0.92),
    (16, 8.0, 4.0, 1.10),
    (17, 6.5, 5.0, 0.96),
    (18, 13.0, 10.0, 0.92),
    (19, 10.0, 8.0, 1.05),
    (20, 11.0, 5.0, 1.10),
)


def ratios(seeds: tuple[int, ...]) -> list[str]:
    """Pixel-size ratios that `prepare_pair` finds on simulated specimens whose files claim another."""
    rows = [
        "| seed | field | true | claimed | found | off | error / % of width | channel | margin | seconds |",
        "|---|---:|---:|---:|---:|---:|---:|---|---:|---:|",
    ]
    for seed, ratio, wide, wrong in RATIOS:
        if seed not in seeds:
            continue
        both = wide_field(seed, ratio, wide)
        claimed = both.moving.with_spacing(both.moving.grid.spacing[0] * wrong, "claimed")
        began = time.process_time()
        made = prepare_pair(both.fixed, claimed)
        seconds = time.process_time() - began
        # Back to the true unit of the light image.
        found = Affine(np.diag([1 / wrong, 1 / wrong, 1.0]) @ made.moving_from_fixed.matrix)
        error = _case("", both).error(found)
        rows.append(
            f"| {seed} | {wide:g} x | {ratio:.3f} | {ratio * wrong:.3f} | {made.ratio_found:.3f} | "
            f"{100 * (made.ratio_found / ratio - 1):+.2f} % | {error:.2f} | {made.channel} | {made.margin:.2f} | "
            f"{seconds:.1f} |"
        )
        print(rows[-1], flush=True)
    return rows


def wide_field(seed: int, ratio: float, wide: float) -> SimulatedPair:
    """An electron image of 1,024 pixels inside a light image so many times wider."""
    spacing = 0.04 if ratio <= 4 else 0.03
    side = round(1024 * wide / ratio)
    return pair(
        "cell",
        seed,
        rotation=0.0,
        mirror=False,
        stretch=1.0,
        shear=0.0,
        electron_spacing=spacing,
        light_spacing=spacing * ratio,
        electron_shape=(1024, 1024),
        light_shape=(side, side),
        least_overlap=1.0,
        data_bar=False,
    )


def measures() -> list[str]:
    """What overlay MS-SSIM and MSE say of right and wrong poses."""
    case, other = simulated(3), simulated(4)
    poses = {
        "the truth": case.start(0, 0, 0),
        "off by 1 %": case.start(0, 0.01, 0),
        "off by 5 %": case.start(0, 0.05, 0),
        "off by 10 % and 15°": case.start(15, 0.1, 0),
        "rotated by 180°": case.start(180, 0, 0),
    }
    fields = [(name, case, pose) for name, pose in poses.items()]
    fields.append(("another specimen", replace(case, moving=other.moving), other.moving_from_fixed))
    rows = [
        "| light image at | error / % of width | MS-SSIM with the overlay at the truth | "
        "MS-SSIM with the electron image | MSE with the electron image |",
        "|---|---:|---:|---:|---:|",
    ]
    right = None
    for name, one, pose in fields:
        electron, light = _one_frame(one, pose)
        laid = cv2.addWeighted(electron, 0.5, light, 0.5, 0)
        right = laid if right is None else right
        error = "" if name == "another specimen" else f"{case.error(pose):.1f}"
        rows.append(
            f"| {name} | {error} | {multiscale_similarity(right, laid):.3f} | "
            f"{multiscale_similarity(electron, laid):.3f} | {mean_squared_error(electron, laid):.0f} |"
        )
    return rows


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.neural")
    parser.add_argument("what", choices=("iterations", "tolerance", "repeats", "ratios", "measures"))
    parser.add_argument("--data", type=Path, help="folder that holds pairs.json, for real pairs too")
    parser.add_argument(
        "--pairs", default="simulated,deepclem-demo", help="simulated and names from pairs.json, parted by commas"
    )
    parser.add_argument("--add", action="store_true", help="add to the file rather than replace it")
    parser.add_argument("--seconds", type=float, default=240.0, help="most processor time for the thesis recipe a pair")
    parser.add_argument("--seeds", type=int, nargs="*", help="of the ratios (default: all)")
    parser.add_argument("--count", type=int, default=200, help="repeats")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    cv2.setNumThreads(1)
    cases = []
    if asked.what in ("iterations", "tolerance"):
        cases = [simulated(3, 256)] if asked.what == "iterations" else [simulated(3)]
        cases = cases * ("simulated" in asked.pairs) + (
            list(real(asked.data, tuple(asked.pairs.split(",")))) if asked.data else []
        )
    rows = {
        "iterations": lambda: iterations(cases, asked.seconds),
        "tolerance": lambda: tolerance(cases),
        "repeats": lambda: repeats(asked.count),
        "ratios": lambda: ratios(tuple(asked.seeds or [row[0] for row in RATIOS])),
        "measures": measures,
    }[asked.what]()
    words = ["python", "-m", "benchmarks.neural", *sys.argv[1:]]
    if asked.data:
        words[words.index("--data") + 1] = "FOLDER"
    text = f"`{shlex.join(words)}`\n\n" + "\n".join(rows) + "\n"
    file = asked.out / f"neural-{asked.what}.md"
    earlier = (
        file.read_text() + "\n" if file.exists() and asked.add else f"# Neural mutual information: {asked.what}\n\n"
    )
    file.write_text(earlier + text)
    print(text)


if __name__ == "__main__":
    main()
