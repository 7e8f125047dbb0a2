"""Pairs of which one image is too long along one of its axes, as under a tilted stage or after cutting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.protocol import Draw, Pair, draw, number_of
from correlight.transforms import Affine

# By how much one axis is too long.
FACTORS = 1.1, 1.5


@dataclass(frozen=True)
class Stretched(Draw):
    """A draw of which one image is stretched, and how: which image, along which of its axes, and by what factor."""

    stretch: tuple[Literal["fixed", "moving"], int, float] = ("moving", 0, 1.0)


def draw_stretched(pair: Pair, seed: int) -> Stretched:
    """A draw of the protocol free of which one image is stretched along y or x.

    Parameters
    ----------
    pair : Pair
        From `benchmarks.protocol.load_pairs`.
    seed : int
        Seed of this draw.
    """
    rng = np.random.default_rng([seed, number_of(pair.name), 11, 15])
    role: Literal["fixed", "moving"] = "fixed" if rng.random() < 0.5 else "moving"
    axis, factor = int(rng.integers(2)), float(rng.uniform(*FACTORS))
    drawn = draw(pair, "free", seed)
    assert drawn.moving_from_fixed is not None
    longer, by = stretched(drawn.fixed if role == "fixed" else drawn.moving, axis, factor)
    fixed, moving = (longer, drawn.moving) if role == "fixed" else (drawn.fixed, longer)
    truth = drawn.moving_from_fixed @ by.inverse() if role == "fixed" else by @ drawn.moving_from_fixed
    return Stretched(drawn.name, fixed, moving, truth, drawn.allowed_error, stretch=(role, axis, factor))


def stretched(picture: NDArray[Any], axis: int, factor: float) -> tuple[NDArray[Any], Affine]:
    """A picture ``(Y, X)`` or ``(C, Y, X)`` with more pixels along an axis, and its places from those before."""
    shape = np.array(picture.shape[-2:])
    size = shape.copy()
    size[axis] = round(float(shape[axis]) * factor)
    planes = picture if picture.ndim == 3 else picture[None]
    longer = np.stack([cv2.resize(plane, (int(size[1]), int(size[0]))) for plane in planes])
    ratio = size / shape
    return longer if picture.ndim == 3 else longer[0], Affine.of(np.diag(ratio), (ratio - 1) / 2)
