"""Pairs of which only a small part is common to both images, as of two tiles, to learn how small it may be."""

from __future__ import annotations

import numpy as np

from benchmarks.crop import Cropped
from benchmarks.protocol import ALLOWED_ERROR, OVERLAP_CELLS, Pair, moved_freely, number_of, windowed
from correlight.transforms import Affine

# Sides of the windows as shares of those of the images, and how much of the smaller window both show.
_SIDES, _COMMON = (0.5, 0.75), (0.15, 0.30)
# How near the common part must come to the share that was drawn, and how many windows are tried.
_CLOSE = 0.01
_TRIES = 20_000


def draw_overlapping(pair: Pair, seed: int) -> Cropped:
    """Cut both images by windows that have 15 to 30 % of the smaller one in common; then move one freely.

    Parameters
    ----------
    pair : Pair
        From `benchmarks.protocol.load_pairs`.
    seed : int
        Seed of this draw.

    Raises
    ------
    ValueError
        If no such windows exist.
    """
    rng = np.random.default_rng([seed, number_of(pair.name), 15, 30])
    share = (np.indices((OVERLAP_CELLS, OVERLAP_CELLS)).reshape(2, -1).T + 0.5) / OVERLAP_CELLS
    least = rng.uniform(*_COMMON)
    for _ in range(_TRIES):
        shapes = [np.array(one.shape[-2:]) for one in (pair.fixed, pair.moving)]
        sizes = [np.round(shape * rng.uniform(*_SIDES, 2)).astype(np.int64) for shape in shapes]
        starts = [
            np.floor(rng.random(2) * (shape - size + 1)).astype(np.int64)
            for shape, size in zip(shapes, sizes, strict=True)
        ]
        places = share * sizes[0] - 0.5
        there = pair.moving_from_fixed(starts[0] + places) - starts[1]
        both = np.all((there >= -0.5) & (there <= sizes[1] - 0.5), axis=1)
        areas = float(np.prod(sizes[0])), float(np.prod(sizes[1])) / pair.moving_from_fixed.scale**2
        common = float(np.mean(both)) * areas[0] / min(areas)
        if abs(common - least) < _CLOSE:
            break
    else:
        raise ValueError(f"{pair.name}: no two windows share {100 * least:.0f} % of the smaller one.")
    fixed, moving = windowed(pair.fixed, starts[0], sizes[0]), windowed(pair.moving, starts[1], sizes[1])
    moved, canvas_from_moving = moved_freely(moving, rng)
    truth = (
        canvas_from_moving
        @ Affine.of(np.eye(2), -starts[1].astype(float))
        @ pair.moving_from_fixed
        @ Affine.of(np.eye(2), starts[0].astype(float))
    )
    allowed = ALLOWED_ERROR * fixed.shape[-1] + pair.truth_error
    return Cropped(pair.name, fixed, moved, truth, allowed, places=places[both])
