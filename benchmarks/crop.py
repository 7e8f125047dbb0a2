"""Pairs of which one image shows only a small part of the other, to learn how small it may be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol import ALLOWED_ERROR, Draw, Pair, moved_freely, number_of, window, windowed
from correlight.transforms import Affine, Transform

# Places per axis at which the error over the common part is measured.
_PLACES = 12
_TRIES = 2000


@dataclass(frozen=True)
class Cropped(Draw):
    """A draw whose error is measured where both images show the specimen, at ``places`` ``(N, 2)`` of the fixed one."""

    places: NDArray[np.float64] | None = None

    def error(self, found: Transform) -> float:
        """Mean distance in fixed pixels between found and true places, over the common part."""
        assert self.moving_from_fixed is not None
        assert self.places is not None
        moved = found(self.places)
        if not np.all(np.isfinite(moved)):
            return float("inf")
        return float(np.mean(np.linalg.norm(self.moving_from_fixed.inverse()(moved) - self.places, axis=1)))


def draw_cropped(pair: Pair, percent: int, seed: int) -> Cropped:
    """Cut one image to a share of the other's area, in a random place that the other shows whole; then move it freely.

    Even seeds cut the fixed image, odd seeds the moving one.

    Parameters
    ----------
    pair : Pair
        From `benchmarks.protocol.load_pairs`.
    percent : int
        Area of the small image in percent of the area of the other.
    seed : int
        Seed of this draw.
    """
    rng = np.random.default_rng([seed, number_of(pair.name), percent, 7])
    role: Literal["fixed", "moving"] = "fixed" if seed % 2 == 0 else "moving"
    large, small = (pair.moving, pair.fixed) if role == "fixed" else (pair.fixed, pair.moving)
    large_from_small = pair.moving_from_fixed if role == "fixed" else pair.moving_from_fixed.inverse()
    for _ in range(_TRIES):
        start, size = window(large, rng)
        side = np.sqrt(percent / 100) * size / large_from_small.scale
        cut = np.maximum(1, np.round(side)).astype(np.int64)
        room = np.array(small.shape[-2:]) - cut
        if np.any(room < 0):
            continue
        first = np.floor(rng.random(2) * (room + 1)).astype(np.int64)
        corners = first + np.array([[y, x] for y in (0, cut[0] - 1) for x in (0, cut[1] - 1)])
        there = large_from_small(corners.astype(float)) - start
        if np.all((there >= 0) & (there <= size - 1)):
            break
    else:
        raise ValueError(f"{pair.name}: no part of {percent} % lies completely in the other image.")
    windows = {role: (first, cut), ("moving" if role == "fixed" else "fixed"): (start, size)}
    fixed, moving = (windowed(getattr(pair, name), *windows[name]) for name in ("fixed", "moving"))
    moved, canvas_from_moving = moved_freely(moving, rng)
    truth = (
        canvas_from_moving
        @ Affine.of(np.eye(2), -windows["moving"][0].astype(float))
        @ pair.moving_from_fixed
        @ Affine.of(np.eye(2), windows["fixed"][0].astype(float))
    )
    inner = np.stack(np.meshgrid(*[np.linspace(0, n - 1, _PLACES) for n in cut], indexing="ij"), -1).reshape(-1, 2)
    places = inner if role == "fixed" else large_from_small(inner + first) - start
    allowed = ALLOWED_ERROR * fixed.shape[-1] + pair.truth_error
    return Cropped(pair.name, fixed, moved, truth, allowed, places=places)
