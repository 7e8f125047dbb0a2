"""Whether the error predicted from landmarks is the error that is made.

``python -m benchmarks.landmarks`` draws landmarks with known errors, fits transforms to them, and compares the
predicted target registration error with the true one. With ``--data FOLDER`` it also leaves landmarks of the folder
``elm`` (a whole fly brain in light and electrons, 135 pairs set by hand) out of the fit. The tables go to
``benchmarks/results/landmarks.md``.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.software import commit
from correlight.exchange import read_landmarks
from correlight.landmarks import LandmarkModel, estimate, suspects
from correlight.transforms import Affine

RESULTS = Path(__file__).resolve().parent / "results" / "landmarks.md"
LANDMARKS = Path("elm/lm-em-landmarks_v14.csv")
COUNT, PLACES = 12, 8
MODELS: tuple[LandmarkModel, ...] = ("rigid", "similarity", "affine", "projective")
KINDS: tuple[LandmarkModel, ...] = ("similarity", "affine", "thin-plate", "elastic")
Float64 = NDArray[np.float64]

_SIMULATED = """
## Simulated

{draws} draws of {count} landmarks in a field of 30 x 20 (x 10) µm; {places} places in a field half as large again. The
ratio is the root mean square of the predicted error over that of the true one, over all draws, least and largest over
the places. Inside is the share of true places within their 95 % ellipses.

- *equal*: 0.1 µm along each axis, found from the scatter.
- *anisotropic*: 0.3 µm along the first axis and 0.1 µm along the others, found from the scatter.
- *unequal*: 0.03 to 0.5 µm for each landmark and axis, given.

| axes | kind | errors | ratio, least | ratio, largest | inside |
|---:|---|---|---:|---:|---:|
"""
_REAL = """
## Left out of a fly brain

{draws} draws of so many of the {count} landmarks; all others are predicted, in the frame of the electron volume.
Predicted is the error of the transform and of the landmark itself, root mean square; the ratio is over the true root
mean square.

| landmarks | kind | median, µm | root mean square, µm | predicted, µm | ratio | inside 95 % |
|---:|---|---:|---:|---:|---:|---:|
"""


_SLIPS = """
## Slips of the finger

{draws} sets of so many landmarks each, under a similarity transform with errors of 0.5 in a field of 100, judged with
that kind. Named: exactly the pairs that were spoilt, and no other. LandmarkModel: what is wrong was recognised as well.

| landmarks | what was done | named | kind |
|---:|---|---:|---:|
"""
SLIPS = (
    "nothing",
    "one coordinate mistyped by 30",
    "two pairs exchanged",
    "one pair entered twice",
    "two pairs off by 30",
)


@dataclass(frozen=True, slots=True)
class Tally:
    """Squares of true and predicted errors, one row per draw, and how many places were inside."""

    true: Float64
    predicted: Float64
    inside: float


def simulated(ndim: int, model: LandmarkModel, errors: str, draws: int, rng: np.random.Generator) -> Tally:
    """Compare prediction and truth for one kind of transform and of errors."""
    field = np.array([10.0, 20.0, 30.0])[-ndim:]
    fixed = rng.random((COUNT, ndim)) * field
    places = (rng.random((PLACES, ndim)) * 1.5 - 0.25) * field
    linear = np.linalg.qr(rng.normal(size=(ndim, ndim)))[0] * (1.0 if model == "rigid" else 2.0)
    if model in ("affine", "projective"):
        linear = linear + rng.normal(scale=0.2, size=(ndim, ndim))
    truth = Affine.of(linear, rng.normal(size=ndim) * 100)
    spread: Float64 = np.full((1, ndim), 0.1)
    if errors == "anisotropic":
        spread = np.where(np.arange(ndim) == 0, 0.3, 0.1)[None]
    elif errors == "unequal":
        spread = rng.uniform(0.03, 0.5, (COUNT, ndim))
    true, predicted, inside = [], [], []
    for _ in range(draws):
        moving = truth(fixed) + rng.normal(size=fixed.shape) * spread
        found = estimate(
            fixed,
            moving,
            model,
            moving_error=spread if errors == "unequal" else None,
            noise="anisotropic" if errors == "anisotropic" else "isotropic",
        )
        slopes = found.moving_from_fixed.jacobian(places)
        apart = found.moving_from_fixed(places) - truth(places)
        off = np.asarray(np.linalg.solve(slopes, apart[..., None])[..., 0], float)
        covariances = found.covariances(places)
        true.append(np.sum(off**2, axis=1))
        predicted.append(np.trace(covariances, axis1=1, axis2=2))
        inside.append(within(off, covariances, None if found.given else found.scatter_degrees_of_freedom).mean())
    return Tally(np.array(true), np.array(predicted), float(np.mean(inside)))


def within(off: Float64, covariances: Float64, freedom: float | None) -> NDArray[np.bool_]:
    """Whether displacements lie in the 95 % region of their covariances."""
    ndim = off.shape[1]
    limit = stats.chi2.ppf(0.95, ndim) if freedom is None else ndim * stats.f.ppf(0.95, ndim, freedom)
    squared = np.einsum("na,nab,nb->n", off, np.linalg.inv(covariances), off)
    return np.asarray(squared <= limit)


def left_out(
    fixed: Float64, moving: Float64, model: LandmarkModel, kept: int, draws: int, rng: np.random.Generator
) -> Tally:
    """Fit to some landmarks and predict the others, again and again."""
    true, predicted, inside = [], [], []
    for _ in range(draws):
        order = rng.permutation(len(fixed))
        some, others = order[:kept], order[kept:]
        found = estimate(fixed[some], moving[some], model)
        apart = moving[others] - found.moving_from_fixed(fixed[others])
        slopes = found.moving_from_fixed.jacobian(fixed[others])
        off = np.asarray(np.linalg.solve(slopes, apart[..., None])[..., 0], float)
        expected = found.covariances(fixed[others]) + found.landmark_covariances.mean(axis=0)
        true.append(np.sum(off**2, axis=1))
        predicted.append(np.trace(expected, axis1=1, axis2=2))
        inside.append(within(off, expected, found.scatter_degrees_of_freedom).mean())
    return Tally(np.array(true), np.array(predicted), float(np.mean(inside)))


def spoilt(slip: str, count: int, rng: np.random.Generator) -> tuple[Float64, Float64, set[int], str]:
    """Landmarks with a slip, the pairs that it spoilt, and its kind."""
    fixed = rng.random((count, 2)) * 100
    truth = Affine.similarity(rng.uniform(0, 360), 1.7, bool(rng.random() < 0.5), target=(20.0, 200.0))
    moving = truth(fixed + rng.normal(scale=0.5, size=fixed.shape))
    first, second = (int(index) for index in rng.choice(count, 2, replace=False))
    off = 1.7 * 30.0
    if slip.startswith("one coordinate"):
        moving[first, rng.integers(2)] += off
        return fixed, moving, {first}, "outlier"
    if slip.startswith("two pairs exchanged"):
        moving[[first, second]] = moving[[second, first]]
        return fixed, moving, {first, second}, "swapped"
    if slip.startswith("one pair entered"):
        return np.vstack([fixed, fixed[first]]), np.vstack([moving, moving[first]]), {first, count}, "twice"
    if slip.startswith("two pairs off"):
        for index in (first, second):
            angle = rng.uniform(0, 2 * np.pi)
            moving[index] += off * np.array([np.sin(angle), np.cos(angle)])
        return fixed, moving, {first, second}, "outlier"
    return fixed, moving, set(), ""


def slip_rows(draws: int) -> Iterator[str]:
    """Rows of the table of slips."""
    for count in (6, 8, 12, 20):
        for number, slip in enumerate(SLIPS):
            rng = np.random.default_rng([count, number])
            named = kinds = 0
            for _ in range(draws):
                fixed, moving, pairs, kind = spoilt(slip, count, rng)
                found = suspects(fixed, moving, "similarity")
                right = {index for suspect in found for index in suspect.pairs} == pairs
                named += right
                kinds += right and all(suspect.fault == kind for suspect in found)
            yield f"| {count} | {slip} | {100 * named / draws:.1f} % | {100 * kinds / draws:.1f} % |\n"


def simulated_rows(draws: int) -> Iterator[str]:
    """Rows of the table of simulated landmarks."""
    for ndim in (2, 3):
        for model in MODELS:
            for number, errors in enumerate(("equal", "anisotropic", "unequal")):
                rng = np.random.default_rng([ndim, MODELS.index(model), number])
                tally = simulated(ndim, model, errors, draws, rng)
                ratio = np.sqrt(tally.predicted.mean(axis=0) / tally.true.mean(axis=0))
                yield (
                    f"| {ndim} | {model} | {errors} | {ratio.min():.3f} | {ratio.max():.3f} "
                    f"| {100 * tally.inside:.1f} % |\n"
                )


def real_rows(path: Path, draws: int) -> Iterator[str]:
    """Rows of the table of landmarks left out; the first line is its head."""
    table = read_landmarks(path)
    # The electron volume counts nanometres.
    fixed, moving = table.fixed.points / 1000, table.moving.points
    yield _REAL.format(draws=draws, count=len(fixed))
    for kept in (15, 30, 60, 100):
        for model in KINDS:
            tally = left_out(fixed, moving, model, kept, draws, np.random.default_rng(kept))
            true, predicted = np.sqrt(tally.true.mean()), np.sqrt(tally.predicted.mean())
            yield (
                f"| {kept} | {model} | {np.median(np.sqrt(tally.true)):.2f} | {true:.2f} | {predicted:.2f} "
                f"| {predicted / true:.2f} | {100 * tally.inside:.1f} % |\n"
            )


def main(arguments: list[str] | None = None) -> int:
    """Measure and write the tables."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.landmarks", description="Predicted against true error.")
    parser.add_argument(
        "--draws", type=int, default=1000, help="draws of simulated landmarks, 0 for none (default 1000)"
    )
    parser.add_argument("--slips", type=int, default=0, help="sets with each slip of the finger (default none)")
    parser.add_argument("--data", type=Path, help="folder of real data that holds elm")
    parser.add_argument("--splits", type=int, default=20, help="draws of real landmarks (default 20)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to write")
    asked = parser.parse_args(arguments)
    began, source = time.process_time(), commit("src/correlight/landmarks")
    options = f" --draws {asked.draws}" + (f" --slips {asked.slips}" if asked.slips else "")
    options += f" --data FOLDER --splits {asked.splits}" if asked.data else ""
    text: list[str] = []

    def say(lines: Iterator[str]) -> None:
        for line in lines:
            text.append(line)
            print(line, end="", flush=True)

    if asked.draws:
        text.append(_SIMULATED.format(draws=asked.draws, count=COUNT, places=PLACES))
        say(simulated_rows(asked.draws))
    if asked.slips:
        text.append(_SLIPS.format(draws=asked.slips))
        say(slip_rows(asked.slips))
    if asked.data is not None:
        say(real_rows(asked.data / LANDMARKS, asked.splits))
    seconds = time.process_time() - began
    head = f"# Landmarks\n\n`python -m benchmarks.landmarks{options}`, commit {source}, {seconds:.0f} s of one core.\n"
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(head + "".join(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
