"""Wrong metadata: how often wrong pixel sizes and exchanged pixel sides are detected, corrected for and reported.

``python -m benchmarks.wrong_metadata --data FOLDER`` draws pairs as the protocol *free* does and states pixel sizes
that are right, off by 3 to 20 %, or of pixels with exchanged sides; it writes
``benchmarks/results/wrong-metadata.md``. Some draws show a mirrored scan.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import RESULTS, as_saved
from benchmarks.protocol import Draw, draw, load_pairs
from benchmarks.software import commit
from correlight import read, register
from correlight.images.image import Image
from correlight.transforms import Affine, Projective

# Pairs that are found under any pose, of five specimens: what is measured is the effect of the stated sizes.
PAIRS = ("deepclem-demo", "birl-kidney", "brain-pd-t1", "multibse-AB", "eds-SK")
FACTORS = (1.0, 0.97, 1.03, 0.9, 1.1, 0.8, 1.2)
# The sides of a pixel with exchanged ones, and its size on the fixed image, in micrometres.
STRETCH, SIZE = 1.5, 0.1
SENTENCES = ("The pixel sizes in the files do not agree", "two sides of its pixels exchanged")
COLUMNS = ("stated size", "draws", "accepted", "accepted and wrong", "reported", "median error, px", "median seconds")


@dataclass(frozen=True)
class Outcome:
    """One draw: its verdict, whether wrong metadata was reported, and the error in fixed pixels."""

    accepted: bool
    right: bool
    reported: bool
    error: float
    seconds: float
    mirroring_is_reported: bool


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line asks for and write the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.wrong_metadata")
    parser.add_argument("--data", type=Path, required=True, help="folder that holds pairs.json")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "wrong-metadata.md", help="Markdown file to write")
    asked = parser.parse_args(arguments)
    lines = [f"| {' | '.join(COLUMNS)} |", f"|---|{'---:|' * (len(COLUMNS) - 1)}"]
    reported: list[bool] = []
    known = {pair.name: pair for pair in load_pairs(asked.data)}
    for factor in (*FACTORS, None):
        outcomes = []
        for name in PAIRS:
            for seed in range(asked.seeds):
                outcomes.append(outcome(draw(known[name], "free", seed), factor))
                print(factor, name, seed, outcomes[-1], flush=True)
        lines.append(_line(factor, outcomes))
        reported += [one.mirroring_is_reported for one in outcomes if one.accepted]
    asked.out.write_text(
        f"# Wrong metadata\n\n`python -m benchmarks.wrong_metadata --data FOLDER --seeds {asked.seeds}`, {commit()}: "
        f"draws of the protocol free of {', '.join(PAIRS)}.\n\n"
        + "\n".join(lines)
        + f"\n\nOf {len(reported)} accepted results "
        f"{sum(reported)} report correctly whether the scan is mirrored. Reported: "
        "of those accepted, how many state what is wrong with the files; where nothing is, how many "
        "state that something is.\n",
        encoding="utf-8",
    )
    print(asked.out.read_text(encoding="utf-8"))
    return 0


def outcome(drawn: Draw, factor: float | None) -> Outcome:
    """Register a draw whose moving file states its pixel size times a factor; None: pixels with exchanged sides."""
    assert drawn.moving_from_fixed is not None
    fixed = _stating(as_saved(drawn.fixed), (SIZE, SIZE))
    size = SIZE / drawn.moving_from_fixed.scale
    pixels, stretched = as_saved(drawn.moving), Affine.identity(2)
    if factor is None:
        pixels, stretched = _narrow(pixels)
    moving = _stating(pixels, (size / STRETCH, size) if factor is None else (size * factor, size * factor))
    result = register(fixed, moving)
    found = cast("Affine | Projective", result.moving_from_fixed)
    into, out = np.linalg.inv(stretched.matrix) @ np.linalg.inv(moving.grid.matrix), fixed.grid.matrix
    error = drawn.error(Projective(into @ found.matrix @ out))
    reasons = " ".join(result.verdict.reasons)
    sentence = SENTENCES[factor is None]
    mirrored = drawn.moving_from_fixed.mirrored
    return Outcome(
        bool(result),
        error <= drawn.allowed_error,
        sentence in reasons,
        error,
        result.seconds["total"],
        ("mirrored relative to the fixed one" in reasons) is mirrored,
    )


def _stating(pixels: NDArray[Any], spacing: tuple[float, float]) -> Image:
    """An image as read from a file, which finds the empty canvas around it, with a pixel size stated."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.npy"
        np.save(file, pixels)
        image = read(file)
    return replace(image, grid=replace(image.grid, spacing=spacing, unit="micrometre"))


def _narrow(pixels: NDArray[Any]) -> tuple[NDArray[Any], Affine]:
    """An image, colours last, with more pixels along x than there were, and its places from theirs."""
    height, width = pixels.shape[:2]
    wide = round(width * STRETCH)
    resized = cv2.resize(pixels.astype(np.float32), (wide, height)).astype(pixels.dtype)
    return resized, Affine.of(np.diag([1.0, wide / width]), (0.0, (wide / width - 1) / 2))


def _line(factor: float | None, outcomes: list[Outcome]) -> str:
    accepted = [one for one in outcomes if one.accepted]
    name = "exchanged sides" if factor is None else "right" if factor == 1 else f"{100 * (factor - 1):+.0f} %"
    cells = (
        name,
        str(len(outcomes)),
        str(len(accepted)),
        str(sum(not one.right for one in accepted)),
        f"{sum(one.reported for one in accepted)} of {len(accepted)}",
        f"{median([one.error for one in accepted]):.2f}" if accepted else "–",
        f"{median([one.seconds for one in outcomes]):.1f}",
    )
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    raise SystemExit(main())
