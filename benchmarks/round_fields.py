"""Pairs as an eyepiece or a fundus camera would show them: registered with and without what finds the round field.

``python -m benchmarks.round_fields FILE.md --data FOLDER`` lays a round aperture of its own over each image of every
pair in ``pairs.json``, moves one of them freely, and registers both: once with all pixels but the
padding, once with what `correlight.images.validity` leaves. Both runs get the same pixels.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol import ALLOWED_ERROR, GRID_POINTS, Pair, load_pairs, moved_freely
from correlight import Image, register
from correlight.images import validity

HEADER = "| pair | round field | status | confidence | error, % of the width |\n|---|---|---|---|---|\n"


def behind_an_aperture(pixels: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """The image with next to nothing outside a circle that is as wide as its shorter side, and a little more."""
    shape = np.array(pixels.shape[-2:])
    radius = 0.546 * shape.min()
    centre = shape / 2 + rng.uniform(-0.03, 0.03, 2) * shape.min()
    apart = np.hypot(*(np.indices(pixels.shape[-2:]) - centre[:, None, None]))
    dark = 0.3 * max(float(np.percentile(pixels, 1)), 0.0)
    seen = dark + (pixels - dark) / (1 + np.exp((apart - radius) / 1.5))
    seen = seen + rng.normal(0, 0.002 * np.ptp(pixels), pixels.shape)
    kind = np.iinfo(pixels.dtype)
    return np.asarray(np.clip(seen, kind.min, kind.max), pixels.dtype)


def masked(pixels: NDArray[Any], look: bool) -> Image:
    """An image with its valid pixels, with or without the search for a round field."""
    image = Image.from_array(pixels)
    channels = [np.asarray(channel) for channel in np.asarray(image.levels[0])]
    if look:
        return replace(image, mask=validity.find_valid_channels(channels).mask)
    with mock.patch.object(validity, "shared_field", return_value=None):
        return replace(image, mask=validity.find_valid_channels(channels).mask)


def rows(pair: Pair, seed: int) -> Iterator[str]:
    """One line of the table without, and one with."""
    rng = np.random.default_rng([seed, 7])
    fixed, moving = behind_an_aperture(pair.fixed, rng), behind_an_aperture(pair.moving, rng)
    moved, canvas_from_moving = moved_freely(moving, rng)
    truth = canvas_from_moving @ pair.moving_from_fixed
    for look in (False, True):
        images = masked(fixed, look), masked(moved, look)
        result = register(*images)
        places = images[0].grid.lattice(GRID_POINTS)
        apart = truth.inverse()(result.moving_from_fixed(places)) - places
        error = float(np.linalg.norm(apart, axis=1).mean()) / max(images[0].grid.extent)
        right = "" if error <= ALLOWED_ERROR else " (wrong)"
        yield (
            f"| {pair.name} | {'masked' if look else 'compared'} | {result.status} | {result.verdict.confidence:.2f} | "
            f"{100 * error:.2f}{right} |\n"
        )


def main() -> None:
    """Write the table, line by line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with given.file.open("w", encoding="utf-8") as file:
        file.write(f"`python -m benchmarks.round_fields {given.file} --data FOLDER --seed {given.seed}`\n\n{HEADER}")
        for pair in load_pairs(given.data):
            for line in rows(pair, given.seed):
                file.write(line)
                file.flush()


if __name__ == "__main__":
    main()
