"""Halves of two images, of which either tests what was fitted to the other."""

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


@dataclass(frozen=True, eq=False)
class Checkerboard:
    """Fields of a checkerboard over the pixels of the features.

    Parameters
    ----------
    number : (*shape) array of int
        The field that each pixel lies in.
    odd : (*shape) array of bool
        Whether that is a dark one.
    inner : (*shape) array of bool
        Whether the pixel lies well within its field.
    """

    number: NDArray[np.intp]
    odd: Mask
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
        return cls(np.asarray(number, np.intp), which.sum(axis=0) % 2 == 1, ~near.any(axis=0))

    def fitted(self, half: int) -> Mask:
        """Pixels that one half is fitted to."""
        return np.asarray((self.odd == bool(half)) & self.inner)

    def held_out(self, half: int) -> Mask:
        """Pixels that test it."""
        return np.asarray((self.odd != bool(half)) & self.inner)

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
