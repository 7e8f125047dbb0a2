"""Prediction in overlapping tiles, which gives what the whole image would give, pixel by pixel, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from correlight.images.image import Float32
from correlight.progress import checkpoint


def in_tiles(
    run: Callable[[Float32], Float32], values: Float32, reach: int, multiple: int, tile: int, finer: int = 1
) -> Float32:
    """Apply what looks no further than some pixels around each pixel, tile by tile.

    Tiles begin at multiples of what the network shrinks by and overlap by as far as it sees, so that every pixel is
    computed from the same surroundings as in the whole image and there is no seam to hide.

    Parameters
    ----------
    run : callable
        Takes an array of shape ``(Y, X)``, both multiples of ``multiple``, to one of ``finer`` times as many pixels
        along either axis.
    values : (Y, X) array of float32
        The whole image; beyond it are zeros.
    reach : int
        How many pixels away an input may be that counts for an output.
    multiple : int
        What sides must be multiples of.
    tile : int
        Side of what one tile contributes, in pixels.
    finer : int
        Pixels that one becomes along either axis.
    """
    rows, columns = values.shape
    margin = -(-reach // multiple) * multiple
    step = max(multiple, tile // multiple * multiple)
    out = np.empty((rows * finer, columns * finer), np.float32)
    for top in range(0, rows, step):
        for left in range(0, columns, step):
            checkpoint()
            bottom, right = min(top + step, rows), min(left + step, columns)
            # Beyond the image nothing is looked at that the whole image would not have: the network pads by itself.
            first = max(top - margin, 0), max(left - margin, 0)
            last = min(bottom + margin, rows), min(right + margin, columns)
            cut = values[first[0] : last[0], first[1] : last[1]]
            filled = np.pad(cut, [(0, -side % multiple) for side in cut.shape])
            made = run(filled)
            here = np.s_[top * finer : bottom * finer, left * finer : right * finer]
            across = slice((top - first[0]) * finer, (bottom - first[0]) * finer)
            along = slice((left - first[1]) * finer, (right - first[1]) * finer)
            out[here] = made[across, along]
    return out
