"""Overlapping square patches of an image, and images put together from such patches again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Float32, Mask

# Side of the largest part that is worked on at once, in pixels.
_TILE = 512


@dataclass(frozen=True)
class PatchGrid:
    """Where the patches of an image lie: R_i of equation 5, every ``step`` pixels along both axes.

    The image is extended by up to ``step - 1`` rows and columns at its end so that patches cover all of it; the
    extension repeats the last pixel.

    Parameters
    ----------
    shape : (int, int)
        Of the image, at least one patch along each axis.
    side : int
        Of a patch, in pixels; a multiple of the step.
    step : int
        From one patch to the next, in pixels.
    """

    shape: tuple[int, int]
    side: int
    step: int

    @cached_property
    def counts(self) -> tuple[int, int]:
        """Patches down and across."""
        down, across = (-(-(length - self.side) // self.step) + 1 for length in self.shape)
        return down, across

    @cached_property
    def _blocks(self) -> tuple[int, int]:
        """The extended image in blocks of one step."""
        more = self.side // self.step - 1
        return self.counts[0] + more, self.counts[1] + more

    def extended(self, image: Float32, fill: float | None = None) -> Float32:
        """An image of the shape, extended; by a value if one is given."""
        missing = [(0, blocks * self.step - length) for blocks, length in zip(self._blocks, self.shape, strict=True)]
        if fill is not None:
            return np.pad(image, missing, constant_values=fill)
        return np.pad(image, missing, mode="edge")

    def cut(self, image: Float32) -> Float32:
        """An image of the extended shape back to its own."""
        return image[: self.shape[0], : self.shape[1]]

    def rows(self, image: Float32) -> Float32:
        """The patches of an extended image, one ``(N, side²)`` row each."""
        views = np.lib.stride_tricks.sliding_window_view(image, (self.side, self.side))
        return views[:: self.step, :: self.step].reshape(-1, self.side**2)

    def summed(self, rows: NDArray[np.float32]) -> Float32:
        """The extended image in which the patches of ``(N, side²)`` rows are added up: the transposed R_i."""
        (down, across), step, parts = self.counts, self.step, self.side // self.step
        image = np.zeros((self._blocks[0], step, self._blocks[1], step), np.float32)
        pieces = rows.reshape(down, across, parts, step, parts, step)
        for y in range(parts):
            for x in range(parts):
                image[y : y + down, :, x : x + across] += pieces[:, :, y, :, x].transpose(0, 2, 1, 3)
        return image.reshape(self._blocks[0] * step, self._blocks[1] * step)

    @cached_property
    def cover(self) -> Float32:
        """How many patches lie over each pixel of the extended image."""
        return self.summed(np.ones((self.counts[0] * self.counts[1], self.side**2), np.float32))


def tiled(
    make: Callable[[Float32, Mask], tuple[Float32, ...]], image: Float32, mask: Mask, side: int
) -> tuple[Float32, ...]:
    """Make images of the parts of a large image, so that memory does not grow with it.

    Parts overlap by two patches on either side, of which the outer ones are dropped: codes influence each other through
    the patches that they share, and hardly further.

    Parameters
    ----------
    make : callable
        Takes a part and its valid pixels, at least a patch along each axis, to images of its shape.
    image : (Y, X) array
        Of any shape; what is smaller than a patch is extended by its last pixels.
    mask : (Y, X) array of bool
        Valid pixels.
    side : int
        Of a patch, in pixels.
    """
    shape = image.shape
    missing = [(0, max(0, side - length)) for length in shape]
    image, mask = np.pad(image, missing, mode="edge"), np.pad(mask, missing)
    parts = [_parts(length, 2 * side) for length in image.shape]
    made: list[Float32] = []
    for (top, bottom), (first, last) in product(*parts):
        above, before = max(0, top - 2 * side), max(0, first - 2 * side)
        region = np.s_[above : bottom + 2 * side, before : last + 2 * side]
        pieces = make(image[region], mask[region])
        made = made or [np.empty(image.shape, np.float32) for _ in pieces]
        for whole, piece in zip(made, pieces, strict=True):
            whole[top:bottom, first:last] = piece[top - above : bottom - above, first - before : last - before]
    return tuple(whole[: shape[0], : shape[1]] for whole in made)


def _parts(length: int, margin: int) -> list[tuple[int, int]]:
    """Ends of the parts of an axis, about equally long."""
    count = max(1, -(-(length - 2 * margin) // (_TILE - 2 * margin))) if length > _TILE else 1
    ends = np.linspace(0, length, count + 1).astype(int)
    return list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
