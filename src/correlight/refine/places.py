"""Samples of neural mutual information: places on edges of the fixed image, and the moving image there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.image import Mask
from correlight.images.plane import Plane
from correlight.images.resample import warp
from correlight.similarity import sample
from correlight.similarity.neural import Float32, scaled
from correlight.transforms import Affine

Matrix = NDArray[np.float64]

# Share of the places that is held out, and the most places of a level.
HELD_OUT, _MOST_PLACES = 0.25, 40_000
# Fewer places than this in both images are no overlap.
FEWEST = 150
# Edges are made this many pixels broad.
_DILATED = 5


@dataclass(frozen=True, eq=False)
class ChannelStack:
    """One image as this method sees it: channels, valid pixels, grid.

    Parameters
    ----------
    values : (C, *grid.shape) array of float32
        Any grey values.
    mask : (*grid.shape) array of bool
        Valid pixels.
    grid : Grid
        Of a plane or a volume.
    """

    values: Float32
    mask: Mask
    grid: Grid

    @classmethod
    def of(cls, *planes: Plane) -> ChannelStack:
        """Channels of one image; a pixel is valid where all of them are."""
        return cls(
            np.stack([p.values for p in planes]), np.logical_and.reduce([p.mask for p in planes]), planes[0].grid
        )

    def at(self, spacing: float) -> ChannelStack:
        """The same field with larger pixels of about this size, by averaging; never with smaller ones."""
        pairs = zip(self.grid.extent, self.grid.spacing, strict=True)
        shape = tuple(max(2, round(extent / max(spacing, own))) for extent, own in pairs)
        if shape == self.grid.shape:
            return self
        if self.grid.ndim == 2:
            planes = [Plane(channel, self.mask, self.grid).resized((shape[0], shape[1])) for channel in self.values]
            return ChannelStack.of(*planes)
        onto = self.grid.resized(shape)
        values, inside = warp(self.values, self.grid, Affine.identity(self.grid.ndim), onto, mask=self.mask)
        return ChannelStack(values, inside, onto)


class EdgeLevel:
    """One level of the pyramid: places on edges of the fixed image, and the moving image around where they may lie."""

    def __init__(self, fixed: ChannelStack, moving: ChannelStack, to_unit: Matrix, rng: np.random.Generator) -> None:
        pixels = np.argwhere(_edges(fixed))
        if len(pixels) > _MOST_PLACES:
            pixels = pixels[rng.permutation(len(pixels))[:_MOST_PLACES]]
        self.pixel = float(np.max(fixed.grid.spacing)) * to_unit[0, 0]
        self.values = scaled(fixed.values)[(slice(None), *pixels.T)].T
        self.points = np.column_stack([fixed.grid.points(pixels), np.ones(len(pixels))]) @ to_unit.T
        # The mask is one more channel: where it is not whole, a place has left the moving image.
        self.moving = np.concatenate([scaled(moving.values), moving.mask[None].astype(np.float32)])
        self.limit = np.asarray(moving.grid.shape) - 1
        self.index_from_moving = np.linalg.inv(moving.grid.matrix)
        order = rng.permutation(len(pixels))
        cut = int(HELD_OUT * len(pixels))
        self.held, self.used = order[:cut], order[cut:]

    def __bool__(self) -> bool:
        return len(self.used) >= FEWEST

    def look(self, chosen: NDArray[np.intp], moving_from_unit: Matrix) -> Look:
        """What lies under some of the places."""
        outer = self.index_from_moving @ moving_from_unit
        mapped = self.points[chosen] @ outer.T
        weight = mapped[:, -1:]
        places = mapped[:, :-1] / weight
        inside = np.all((places >= 0) & (places <= self.limit), axis=1) & (weight[:, 0] > 0)
        values, slopes = sample(self.moving, places)
        inside &= values[-1] > 0.999
        return Look(
            self.values[chosen[inside]],
            values[:-1, inside].T,
            slopes[:-1, inside],
            self.points[chosen[inside]],
            places[inside],
            weight[inside],
        )


@dataclass(frozen=True, eq=False)
class Look:
    """What lies under places that are in both images.

    Parameters
    ----------
    fixed, moving : (N, C) arrays
        Values of the channels.
    slopes : (C, N, D) array
        Of the moving channels, by its pixels.
    points : (N, D+1) array
        The places as the pose takes them, homogeneous.
    places : (N, D) array
        Where they lie in the moving image, in its pixels.
    weight : (N, 1) array
        Last homogeneous coordinate, one but for projective poses.
    """

    fixed: Float32
    moving: Float32
    slopes: Float32
    points: NDArray[np.float64]
    places: NDArray[np.float64]
    weight: NDArray[np.float64]

    def pull_back(self, by_moving: Float32) -> Matrix:
        """Derivative by the entries of the matrix that took the places to pixels of the moving image."""
        by_place = np.einsum("nc,cnd->nd", by_moving, self.slopes) / self.weight
        last = -np.sum(by_place * self.places, axis=1, keepdims=True)
        return np.asarray(np.concatenate([by_place, last], axis=1).T @ self.points)


def edge_levels(
    fixed: ChannelStack,
    moving: ChannelStack,
    moving_from_fixed: Matrix,
    to_unit: Matrix,
    sizes: Sequence[int],
    rng: np.random.Generator,
) -> list[EdgeLevel]:
    """Levels with enough edges, coarse first; those that the images hold no finer pixels for are left out."""
    ndim = fixed.grid.ndim
    scale = float(abs(np.linalg.det(moving_from_fixed[:-1, :-1])) ** (1 / ndim))
    side = float(np.prod(fixed.grid.extent) ** (1 / ndim))
    finest = max(float(np.min(fixed.grid.spacing)), float(np.min(moving.grid.spacing)) / scale)
    levels = []
    done = np.inf
    for size in sizes:
        spacing = max(side / size, finest)
        if spacing > 0.9 * done:
            break
        done = spacing
        level = EdgeLevel(fixed.at(spacing), moving.at(spacing * scale), to_unit, rng)
        if level:
            levels.append(level)
    return levels


def _edges(stack: ChannelStack) -> Mask:
    """Valid pixels on or beside an edge of any channel; all valid ones where edges are few."""
    marked = np.zeros(stack.grid.shape, bool)
    for channel in stack.values:
        for number, plane in enumerate(channel.reshape(-1, *channel.shape[-2:])):
            found = _edges_of_plane(plane)
            if channel.ndim == 2:
                marked |= found
            else:
                marked[number] |= found
    marked &= stack.mask
    return marked if np.count_nonzero(marked) >= 4 * FEWEST else stack.mask


def _edges_of_plane(plane: Float32) -> Mask:
    """Edges after Canny (1986, doi:10.1109/TPAMI.1986.4767851), made broader; thresholds from the image itself."""
    smooth = cv2.GaussianBlur(np.ascontiguousarray(plane), (0, 0), 1.0)
    low, high = float(smooth.min()), float(smooth.max())
    if high <= low:
        return np.zeros(plane.shape, bool)
    across, down = (cv2.Sobel((smooth - low) / (high - low), cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    strength = np.abs(across) + np.abs(down)
    weak, strong = np.quantile(strength, (0.7, 0.85))
    # OpenCV takes slopes of 16-bit integers.
    factor = np.float32(8000 / max(float(strength.max()), 1e-9))
    edges = cv2.Canny(
        (across * factor).astype(np.int16), (down * factor).astype(np.int16), weak * factor, strong * factor
    )
    return np.asarray(cv2.dilate(edges, np.ones((_DILATED, _DILATED), np.uint8)) > 0)
