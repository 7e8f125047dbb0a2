"""Pictures made of noise, pairs of them with a known transform, and by how much a transform that was found is off."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid, Points
from correlight.images.plane import Plane
from correlight.images.volume import Volume
from correlight.refine.lattice import Lattice
from correlight.transforms import Affine, Projective, VelocityField

Values = NDArray[np.float64]
# What takes (N, D) places to (N, D) places: every transform, and every test's own map.
Map = Callable[[Points], Points]

# A fixed image of the pairs below, and its middle.
SHAPE = (240, 240)
MIDDLE = np.array([119.5, 119.5])
GRID = Grid.of(SHAPE)
# Pixels of the scene around it, so that the moving image is full.
_AROUND = 80


def texture(shape: Sequence[int], seed: int, sigma: float | Sequence[float] = 2.0) -> Values:
    """Smooth noise from 0 to 1."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(tuple(shape)), sigma)
    return np.asarray((smooth - smooth.min()) / np.ptp(smooth), np.float64)


def noise(shape: Sequence[int], seed: int, sigma: float | Sequence[float]) -> Values:
    """Smooth noise around 0 with a standard deviation of 1."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(tuple(shape)), sigma)
    return np.asarray(smooth / smooth.std(), np.float64)


def plane(values: NDArray[np.generic], mask: NDArray[np.bool_] | None = None, spacing: float = 1.0) -> Plane:
    """Grey values as they are, valid everywhere unless a mask says otherwise."""
    made = np.ascontiguousarray(values, np.float32)
    return Plane(made, np.ones(made.shape, bool) if mask is None else mask, Grid.of(made.shape, spacing))


def volume(values: NDArray[np.generic], spacing: float | Sequence[float] = 1.0) -> Volume:
    """Grey values as they are, valid everywhere, on voxels of so many micrometres."""
    made = np.ascontiguousarray(values, np.float32)
    return Volume(made, np.ones(made.shape, bool), Grid.of(made.shape, spacing, unit="micrometre"))


def seen(scene: Values, scene_from_image: Map, shape: Sequence[int], order: int = 3) -> Values:
    """An image of a scene; both count in pixels."""
    places = scene_from_image(Grid.of(tuple(shape)).lattice_of_pixels())
    index: Any = places.T
    values = ndimage.map_coordinates(scene, index, None, order, "nearest")  # type: ignore[call-overload]
    return np.asarray(values.reshape(tuple(shape)))


def fine_and_coarse(seed: int) -> Values:
    """A scene with fine and coarse texture from 0 to 1, which `seen_through` shows a part of."""
    rng, side = np.random.default_rng(seed), SHAPE[0] + 2 * _AROUND
    scene = sum(sigma * ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma) for sigma in (2.5, 8.0))
    return np.asarray((scene - np.min(scene)) / np.ptp(scene), np.float64)


def in_fixed_frame(scene: Values) -> Values:
    """The part of a scene that the fixed image shows."""
    return scene[_AROUND : _AROUND + SHAPE[0], _AROUND : _AROUND + SHAPE[1]]


def seen_through(
    moving_from_fixed: Affine | Projective, seed: int = 5, noise: float = 0.05, scene: Values | None = None
) -> tuple[Plane, Plane]:
    """One specimen on a fixed grid and, with inverted contrast, on a moving grid; noise of its own in each."""
    scene, rng = fine_and_coarse(seed) if scene is None else scene, np.random.default_rng(seed + 1000)
    back = moving_from_fixed.inverse()
    moving = seen(scene, lambda places: back(places) + _AROUND, SHAPE)
    pictures = (in_fixed_frame(scene), np.clip(1 - moving, 0, 1) ** 1.5)
    fixed, other = (plane(np.clip(one + noise * rng.standard_normal(SHAPE), 0, 1)) for one in pictures)
    return fixed, other


def volumes_seen_through(moving_from_fixed: Affine, seed: int = 1) -> tuple[Volume, Volume]:
    """A volume of 24 slices, and what a pose makes of it with another contrast."""
    shape, spacing = (24, 70, 80), (0.8, 0.4, 0.4)
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), (1.5, 3, 3))
    fixed = volume(smooth / np.abs(smooth).max(), spacing)
    back = moving_from_fixed.inverse()
    index = fixed.grid.index(back(fixed.grid.lattice_of_pixels())).T
    moved = np.exp(-ndimage.map_coordinates(fixed.values, index, order=1, mode="nearest").reshape(shape))
    return fixed, volume(moved, spacing)


def bend(grid: Grid, cells: int, pixels: float, seed: int = 5) -> VelocityField:
    """A smooth field whose control points move by so many pixels (standard deviation)."""
    lattice = Lattice.over(grid, cells)
    numbers = np.random.default_rng(seed).normal(size=(lattice.count, grid.ndim))
    return lattice.velocity(numbers * pixels * np.asarray(grid.spacing))


def about_the_middle(linear: Sequence[Sequence[float]] | Values, shift: Sequence[float] = (0.0, 0.0)) -> Affine:
    """An affine map of `SHAPE` around its middle."""
    block = np.asarray(linear, float)
    return Affine.of(block, MIDDLE - block @ MIDDLE + shift)


def mean_error(found: Map, truth: Map, where: Grid | Points, per_axis: int = 10) -> float:
    """Mean distance, in units of the moving image, between where a transform leads and where it ought to.

    Parameters
    ----------
    found, truth
        Transforms from the fixed to the moving image.
    where : Grid or (N, D) array
        The fixed image, or places of it.
    per_axis : int
        Places along each axis of a grid.
    """
    places = where.lattice(per_axis) if isinstance(where, Grid) else where
    return float(np.linalg.norm(found(places) - truth(places), axis=1).mean())


def mean_error_in_fixed(found: Map, truth: Affine | Projective, where: Grid | Points, per_axis: int = 10) -> float:
    """The same distance in units of the fixed image: between a place and where it comes to, there and truly back."""
    back = truth.inverse()
    return mean_error(lambda places: back(found(places)), lambda places: places, where, per_axis)
