"""What files of points and landmarks have in common: their limits, and flat images whose places have a third number."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from correlight.errors import ReadError
from correlight.geometry import Points

FARTHEST = 1e15  # of any unit that an image can have; beyond it positions have no digits left
TABLE_LIMIT = 16 * 2**20  # bytes; half a million points


def flattened(pairs: Points, ndim: int | None, path: str | Path) -> Points:
    """Pairs of points in a plane, where programs that only know volumes gave them a z.

    Parameters
    ----------
    pairs : (N, 2 * D) array
        Both points of each landmark, each x first.
    ndim : {2, 3} or None
        Number of axes of the images; None leaves z out where it is zero throughout.
    path : str or Path
        The file, for the message of an error.

    Raises
    ------
    ReadError
        If planes are asked for and z differs between the landmarks of an image.
    """
    if pairs.shape[1] != 6 or ndim == 3:
        return pairs
    heights = pairs[:, [2, 5]]
    if ndim is None and heights.any():
        return pairs
    if np.ptp(heights, axis=0).any():
        raise ReadError(f"The landmarks in {path} lie at different z, so they cannot be read as 2-D; read them as 3-D.")
    return pairs[:, [0, 1, 3, 4]]
