"""Parts of two images that test what was fitted to the others: halves and quarters of a checkerboard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.image import Mask

# The checkerboard has this many fields along the longest side. Places nearer to another field than this share of a
# field are neither fitted to nor do they test: features there have seen what lies in the other.
_FIELDS, _MOAT = {2: 12, 3: 8}, 0.2
# So few fields are no test.
_FEWEST_FIELDS = 12
# Parts that are held out by turns: two halves, and four quarters, which leave more to fit to.
HALVES, QUARTERS = (0, 1), (2, 3, 4, 5)


@dataclass(frozen=True, eq=False)
class Checkerboard:
    """Fields of a checkerboard over the pixels of the features.

    Parameters
    ----------
    number : (*shape) array of int
        The field that each pixel lies in.
    own, beside : (D, *shape) arrays of bool
        Whether that is an odd one along each axis, and whether the nearest one is that lies within the moat.
    inner : (*shape) array of bool
        Whether the pixel lies well within its field.
    """

    number: NDArray[np.intp]
    own: Mask
    beside: Mask
    inner: Mask

    @classmethod
    def over(cls, grid: Grid) -> Checkerboard:
        """The checkerboard of a grid, with fields about as long along every axis."""
        side = max(grid.extent) / _FIELDS[grid.ndim]
        counts = np.array([max(1, round(extent / side)) for extent in grid.extent])
        columns = (-1, *[1] * grid.ndim)
        share = (np.indices(grid.shape) + 0.5) * (counts / np.asarray(grid.shape)).reshape(columns)
        which = np.minimum(share.astype(np.intp), (counts - 1).reshape(columns))
        near = np.minimum(share - which, which + 1 - share) < _MOAT
        near &= (counts > 1).reshape(columns)
        number = np.ravel_multi_index(tuple(which), tuple(counts))
        next_one = which + np.where(share - which < 0.5, -1, 1)
        next_one = np.where(near & (next_one >= 0) & (next_one < counts.reshape(columns)), next_one, which)
        return cls(np.asarray(number, np.intp), which % 2 == 1, next_one % 2 == 1, ~near.any(axis=0))

    def fitted(self, part: int) -> Mask:
        """Pixels to fit to while one of `HALVES` or `QUARTERS` is held out."""
        if part in HALVES:
            return np.asarray((self._odd == bool(part)) & self.inner)
        wanted = self._wanted(part)
        return np.asarray(~((self.own == wanted) | (self.beside == wanted))[-2:].all(axis=0))

    def held_out(self, part: int) -> Mask:
        """Pixels that test it."""
        if part in HALVES:
            return np.asarray((self._odd != bool(part)) & self.inner)
        return np.asarray((self.own == self._wanted(part))[-2:].all(axis=0) & self.inner)

    @property
    def _odd(self) -> Mask:
        """The dark fields."""
        return np.asarray(np.logical_xor.reduce(self.own))

    def _wanted(self, part: int) -> Mask:
        """Which fields along each axis make a quarter: every second row and column, of volumes through all planes."""
        row, column = divmod(part - QUARTERS[0], 2)
        ndim = len(self.own)
        return np.array([False] * (ndim - 2) + [row == 1, column == 1]).reshape(-1, *[1] * ndim)

    def means(self, values: NDArray[np.float64], pixels: NDArray[np.intp]) -> NDArray[np.float64]:
        """Mean of ``(N,)`` values at ``(N, D)`` pixels in every field; NaN where it has hardly any."""
        total = int(self.number.max()) + 1
        known = np.isfinite(values)
        number = self.number[tuple(pixels[known].T)]
        sums, counts = np.bincount(number, values[known], minlength=total), np.bincount(number, minlength=total)
        full = counts >= 0.3 * max(1.0, counts[counts > 0].mean() if counts.any() else 1.0)
        return np.where(full, sums / np.maximum(counts, 1), np.nan)


def gain(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Mean gain over the fields that both know, in standard errors; 0 where they are few."""
    gained = (after - before)[np.isfinite(before) & np.isfinite(after)]
    if len(gained) < _FEWEST_FIELDS:
        return 0.0
    return float(gained.mean() / max(gained.std(ddof=1) / np.sqrt(len(gained)), 1e-12))
