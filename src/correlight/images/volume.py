"""Volume: one channel of a stack, ready to be compared: grey values, valid voxels and the grid they lie on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid
from correlight.images.image import Float32, Image, Mask
from correlight.images.plane import Plane, stretched
from correlight.progress import checkpoint

# A shrunk voxel is valid if at least this much of it was valid.
_VALID_SHARE = 0.75
# What stands out by so many deviations is content; the box leaves out this share of it at each end, has a rim of this
# share of its side, and is not worth cutting if it holds most of the stack.
_STANDS_OUT, _LEFT_OUT, _RIM, _MOST_OF_IT = 4.0, 0.005, 0.2, 0.6
# Voxels along a side over which contrast is evened out, and the share of the mean power that evens out empty regions.
_BOX, _FLOOR = 21, 0.3
# Skewness of the values above which a stack is sparse.
_SKEW = 0.75
# Voxels of the file that are in memory as numbers at a time.
_AT_ONCE = 16_000_000


@dataclass(frozen=True, eq=False)
class Volume:
    """Grey values between 0 and 1 on a 3-D grid, with the valid voxels.

    Parameters
    ----------
    values : (Z, Y, X) array of float32
        Grey values; what lies outside the mask is filled with the median of the rest.
    mask : (Z, Y, X) array of bool
        Valid voxels.
    grid : Grid
        Where the voxels lie.
    """

    values: Float32
    mask: Mask
    grid: Grid

    @classmethod
    def of(cls, image: Image, channel: int | None, spacing: float, *, cut: bool = False) -> Volume:
        """One channel, averaged over blocks of whole voxels up to about the given size, stretched to 0 to 1.

        The average is the low-pass filter without which a shrunk volume shows what is not there. An axis that is
        coarser than asked for stays as it is. Read slab by slab: at most 16 million voxels are in memory in full.

        Parameters
        ----------
        image : Image
            Three-dimensional.
        channel : int or None
            0-based; None for the mean of the colours.
        spacing : float
            Side of a voxel in the unit of the image's grid.
        cut : bool
            Keep only the part of a sparse stack that shows something. Grey values are stretched within it: a nucleus
            that fills less than the brightest percentile of the stack would be saturated otherwise.
        """
        factors = block_factors(image.grid, spacing)
        grid = image.grid.shrink(factors)
        slices = factors[0] * max(1, _AT_ONCE // (factors[0] * image.grid.shape[1] * image.grid.shape[2]))
        means, shares = [], []
        for top in range(0, grid.shape[0] * factors[0], slices):
            checkpoint()
            region = slice(top, min(top + slices, grid.shape[0] * factors[0]))
            pixels = image.levels[0]
            if channel is None:
                slab = np.mean([np.asarray(pixels[index, region], np.float32) for index in range(3)], axis=0)
            else:
                slab = np.asarray(pixels[channel, region])
            valid = np.ones(slab.shape, bool) if image.mask is None else image.mask[region]
            if slab.dtype.kind == "f":
                valid = valid & np.isfinite(slab)
            if valid.all():
                means.append(block_means(slab, factors))
                shares.append(np.ones(means[-1].shape, np.float32))
                continue
            share = block_means(valid, factors)
            total = block_means(np.where(valid, slab, 0), factors)
            means.append(np.asarray(total / np.maximum(share, np.float32(1e-6)), np.float32))
            shares.append(share)
        mask = np.concatenate(shares) >= _VALID_SHARE
        values = np.concatenate(means)
        checkpoint()
        even = stretched(values, mask)
        box = _content(even, mask) if cut else None
        if box is None:
            return cls(even, mask, grid)
        grid = grid.crop([side.start for side in box], [side.stop for side in box])
        return cls(stretched(values[box], mask[box]), mask[box], grid)

    @cached_property
    def size(self) -> float:
        """Valid volume, in cubed units of the grid."""
        return float(np.count_nonzero(self.mask)) * float(np.prod(self.grid.spacing))

    def shrunk(self, spacing: float) -> Volume:
        """The volume in blocks of whole voxels up to about the given size; never finer than it is."""
        factors = block_factors(self.grid, spacing)
        if max(factors) == 1:
            return self
        grid = self.grid.shrink(factors)
        if self.mask.all():
            return Volume(block_means(self.values, factors), np.ones(grid.shape, bool), grid)
        share = block_means(self.mask, factors)
        mean = block_means(self.values * self.mask, factors) / np.maximum(share, np.float32(1e-6))
        mask = share >= _VALID_SHARE
        middle = np.float32(np.median(mean[mask])) if mask.any() else np.float32(0)
        return Volume(np.where(mask, mean, middle).astype(np.float32), mask, grid)

    def evened(self) -> Volume:
        """The volume without its slow changes: local mean removed, local contrast evened out, both over a box.

        Haze of a wide-field stack, bleaching with depth and slices of another brightness go; edges stay.
        """
        weight = self.mask.astype(np.float32)
        share = np.maximum(_boxed(weight), np.float32(1e-3))
        centred = np.asarray((self.values - _boxed(self.values * weight) / share) * weight, np.float32)
        checkpoint()
        power = _boxed(centred * centred) / share
        checkpoint()
        floor = _FLOOR * float(power[self.mask].mean()) + 1e-9
        even = (centred / np.sqrt(power + np.float32(floor))).astype(np.float32)
        return Volume(stretched(even, self.mask), self.mask, self.grid)

    def turned_axes(self, linear: NDArray[np.float64]) -> Volume:
        """The same voxels with axes exchanged and reversed, as a signed permutation of (z, y, x) says.

        Position p of this volume is at ``linear @ (p - centre) + centre`` of the result, where each ``centre`` is that
        of its own grid.
        """
        order = np.argmax(np.abs(linear), axis=1)
        signs = linear[np.arange(3), order]
        flips = tuple(slice(None, None, -1 if sign < 0 else 1) for sign in signs)
        shape = tuple(self.grid.shape[axis] for axis in order)
        grid = Grid.of(shape, tuple(self.grid.spacing[axis] for axis in order), 0.0, self.grid.unit)
        return Volume(
            np.ascontiguousarray(self.values.transpose(order)[flips]),
            np.ascontiguousarray(self.mask.transpose(order)[flips]),
            grid,
        )

    def slab(self, first: int, last: int) -> Plane:
        """The mean of the slices from ``first`` (included) to ``last`` (excluded) as a plane."""
        mask = self.mask[first:last]
        weight: NDArray[np.intp] = np.asarray(mask.sum(axis=0), np.intp)
        total = (self.values[first:last] * mask).sum(axis=0)
        valid = np.atleast_2d(np.greater_equal(weight, _VALID_SHARE * (last - first)))
        mean = (total / np.maximum(weight, 1)).astype(np.float32)
        return Plane(stretched(mean, valid), valid, self.plane_grid)

    @cached_property
    def sparse(self) -> bool:
        """Whether few voxels shine on a dark ground, so that a maximum shows more than a mean."""
        values = self.values[self.mask]
        centred = values - values.mean()
        return float(np.mean(centred**3)) > _SKEW * max(float(values.std()), 1e-9) ** 3

    def flat(self, first: int, last: int) -> Plane:
        """What is used in the plane: the maximum of a sparse stack, the mean of a dense one."""
        return self.projection(first, last) if self.sparse else self.slab(first, last)

    def projection(self, first: int = 0, last: int | None = None) -> Plane:
        """The maximum along z over some slices, or all: what a fluorescent stack shows best."""
        mask = self.mask[first:last]
        valid = np.logical_or.reduce(mask, axis=0)
        highest = np.where(mask, self.values[first:last], np.float32(0)).max(axis=0)
        return Plane(stretched(highest, valid), valid, self.plane_grid)

    @property
    def plane_grid(self) -> Grid:
        """The grid of any plane across z."""
        grid = self.grid
        return Grid(grid.shape[1:], grid.spacing[1:], grid.origin[1:], grid.unit)


def _content(values: Float32, mask: Mask) -> tuple[slice, ...] | None:
    """The box that holds what a sparse stack shows, with a rim; None where that is most of the stack.

    What stands out from the background by more than its noise is summed along each axis, and the box leaves out half a
    per cent of it on either side. Empty surroundings would otherwise outvote a single cell.
    """
    valid = values[mask]
    middle = float(np.median(valid))
    noise = 1.4826 * float(np.median(np.abs(valid - middle)))
    above = np.clip(values - np.float32(middle + _STANDS_OUT * noise + 0.02), 0, None) * mask
    if not above.any():
        return None
    box = []
    for axis in range(3):
        along = np.cumsum(above.sum(axis=tuple(other for other in range(3) if other != axis), dtype=np.float64))
        first, last = np.searchsorted(along, along[-1] * np.array([_LEFT_OUT, 1 - _LEFT_OUT]))
        rim = 2 + round(_RIM * (last - first + 1))
        box.append(slice(max(0, int(first) - rim), min(len(along), int(last) + 1 + rim)))
    return None if np.prod([side.stop - side.start for side in box]) > _MOST_OF_IT * values.size else tuple(box)


def _boxed(values: Float32) -> Float32:
    """Means over a box around each voxel, three times smaller where an axis has few of them."""
    for axis, count in enumerate(values.shape):
        checkpoint()
        values = ndimage.uniform_filter1d(values, min(_BOX, 2 * (count // 6) + 1), axis, mode="nearest")
    return np.asarray(values, np.float32)


def block_factors(grid: Grid, spacing: float) -> tuple[int, int, int]:
    """How many voxels become one along each axis so that none is longer than about ``spacing``."""
    factors = [max(1, min(n, int(spacing / step + 0.25))) for n, step in zip(grid.shape, grid.spacing, strict=True)]
    return factors[0], factors[1], factors[2]


def block_means(pixels: NDArray[np.generic], factors: tuple[int, int, int]) -> Float32:
    """Means over blocks of voxels; an incomplete last block is dropped."""
    for axis, factor in enumerate(factors):
        if factor == 1:
            continue
        count = pixels.shape[axis] // factor
        cut = pixels[tuple(slice(0, count * factor) if a == axis else slice(None) for a in range(3))]
        split = cut.reshape(*cut.shape[:axis], count, factor, *cut.shape[axis + 1 :])
        pixels = np.asarray(split.mean(axis=axis + 1, dtype=np.float32))
    return np.asarray(pixels, np.float32)
