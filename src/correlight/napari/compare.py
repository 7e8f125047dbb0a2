"""Both images on one coarse grid, coloured as their layers are, for checkerboard and swipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.image import Image, Mask
from correlight.images.pyramid import shown_image
from correlight.images.resample import warp
from correlight.registration.result import Result

# Pixels along the longest side, and squares along it.
_SIDE, _SQUARES = 1024, 8

Colours = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Comparison:
    """The moving image on a coarse grid over the fixed one.

    Parameters
    ----------
    grid : Grid
        Over the field of the fixed image.
    moving : (C, *grid.shape) array
        Pixels of the moving image.
    footprint : (*grid.shape) array of bool
        Where it reaches.
    """

    grid: Grid
    moving: NDArray[Any]
    footprint: Mask

    def coloured(self, layers: Mapping[int | None, Any]) -> Colours:
        """Red, green, blue and opacity ``(Y, X, 4)`` of the moving image, as its layers show it."""
        out = np.zeros((*self.grid.shape, 4), np.float32)
        for channel, layer in layers.items():
            if channel is None:
                most = np.iinfo(self.moving.dtype).max if self.moving.dtype.kind == "u" else 1.0
                out[..., :3] += np.moveaxis(self.moving, 0, -1) / np.float32(most)
                continue
            low, high = layer.contrast_limits
            share = np.clip((self.moving[channel] - np.float32(low)) / np.float32(max(high - low, 1e-12)), 0, 1)
            table = np.asarray(layer.colormap.map(np.linspace(0, 1, 256)))[:, :3].astype(np.float32)
            out[..., :3] += table[(share ** np.float32(layer.gamma) * 255).astype(np.intp)]
        np.clip(out, 0, 1, out=out)
        out[..., 3] = self.footprint
        return out


def compare(fixed: Image, moving: Image, result: Result) -> Comparison | None:
    """Make both comparable; None of stacks."""
    if fixed.ndim != 2 or moving.ndim != 2:
        return None
    grid = fixed.grid
    factor = max(1, -(-max(grid.shape) // _SIDE))
    grid = grid if factor == 1 else grid.shrink(tuple(min(factor, n) for n in grid.shape))
    light = shown_image(moving)
    return Comparison(grid, *warp(light, light.grid, result.moving_from_fixed, grid))


def checkerboard(colours: Colours) -> Colours:
    """The same, transparent in every other square."""
    side = max(1, max(colours.shape[:2]) // _SQUARES)
    row, column = np.ogrid[: colours.shape[0], : colours.shape[1]]
    out = colours.copy()
    out[..., 3] *= (row // side + column // side) % 2
    return out


def left_of(colours: Colours, share: float) -> Colours:
    """The same, transparent to the right of a share of the width."""
    out = colours.copy()
    out[:, round(share * colours.shape[1]) :, 3] = 0
    return out
