"""Features of two images on one grid, the moving one laid by a linear map: what a smooth field is fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.appearance.channels import Group
from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Mask
from correlight.refine.planes import PlanePair
from correlight.refine.samples import Comparison, LinearTransform
from correlight.refine.volumes import VolumePair
from correlight.similarity import sample

# Features count by their direction; those weaker than this share of the mean energy count less.
_FLOOR = 0.3
# Pixels of the working image per pixel of the features.
_STRIDE = 2
# Voxels of a volume for which features are computed, at most; if all levels have more, the coarsest is taken.
_MOST_VOXELS = 700_000
# Self-similarity looks so many voxels far, over patches of this width.
_AWAY, _PATCH = 2, 1.0


@dataclass(frozen=True, eq=False)
class Laid:
    """Features of two images on one grid.

    Parameters
    ----------
    grid : Grid
        In the frame of the fixed image.
    fixed, moving : (C, *grid.shape) arrays of float32
        Features, about of unit length at every pixel.
    fixed_shown, moving_shown : (*grid.shape) arrays of bool
        Where each image says something.
    """

    grid: Grid
    fixed: Float32
    moving: Float32
    fixed_shown: Mask
    moving_shown: Mask

    @property
    def pixel(self) -> float:
        """Size of a pixel, geometric mean."""
        return float(np.prod(self.grid.spacing) ** (1 / self.grid.ndim))

    @property
    def shown(self) -> Mask:
        """Where both images say something."""
        return self.fixed_shown & self.moving_shown

    def exchanged(self) -> Laid:
        """The same with fixed and moving exchanged."""
        return Laid(self.grid, self.moving, self.fixed, self.moving_shown, self.fixed_shown)


def laid(pair: Comparison, pose: LinearTransform, level: int) -> Laid | None:
    """Features of a pair at one level under a pose; None where no features are computed of such pairs.

    Parameters
    ----------
    pair : Comparison
        Planes, by what the recipe compares them; or volumes, by self-similarity.
    pose : Affine or Projective
        Takes fixed to moving positions.
    level : int
        Of the pair.
    """
    if isinstance(pair, PlanePair):
        return _of_planes(pair, pose, level)
    if isinstance(pair, VolumePair):
        return _of_volumes(pair, pose, level)
    return None


def levels_of_field(pair: Comparison) -> tuple[int, ...]:
    """The levels at which a field is fitted to a pair: where it is weighed, and where it is made exact."""
    if isinstance(pair, VolumePair):
        small = [n for n, size in enumerate(pair.sizes) if np.prod(size.fixed.grid.shape) <= _MOST_VOXELS]
        return tuple(small[-2:]) or (0,)
    return pair.levels[-2:]


def _of_planes(pair: PlanePair, pose: LinearTransform, level: int) -> Laid:
    over = pair.overlay(pose, level)
    grid = over.fixed.grid
    shape = tuple(-(-n // _STRIDE) for n in grid.shape)
    coarse = Grid.of(shape, [_STRIDE * step for step in grid.spacing], grid.origin, grid.unit)
    made = []
    for plane in (over.fixed, over.moving):
        groups = pair.channels(plane.values, plane.mask)
        at = [_at_stride(group, shape) for group in groups]
        planes = np.concatenate([values for values, _ in at]) / np.float32(np.sqrt(len(groups)))
        made.append((np.asarray(planes, np.float32), np.all([shown for _, shown in at], axis=0)))
    return Laid(coarse, made[0][0], made[1][0], made[0][1], made[1][1])


def _at_stride(group: Group, shape: tuple[int, ...]) -> tuple[Float32, Mask]:
    """The planes of a group on the grid of the features, of about unit length, and where they say something."""
    ratio = _STRIDE / group.stride
    planes = group.planes
    if ratio > 1:
        planes = np.stack([ndimage.gaussian_filter(plane, 0.4 * ratio) for plane in planes])
    places = np.asarray(np.indices(shape).reshape(len(shape), -1).T * ratio, float)
    values, _ = sample(planes, places)
    nearest = np.minimum(np.rint(places).astype(np.intp), np.asarray(group.support.shape) - 1)
    shown = group.support[tuple(nearest.T)].reshape(shape)
    return _unit(values.reshape(-1, *shape)) * shown, shown


def _of_volumes(pair: VolumePair, pose: LinearTransform, level: int) -> Laid:
    size = pair.sizes[level]
    grid = size.fixed.grid
    index = size.moving.grid.index(pose(grid.lattice_of_pixels()))
    thick = [np.repeat(part, 2, axis=0) if len(part) == 1 else part for part in (size.moving.values, size.moving.mask)]
    values, _ = sample(np.stack([thick[0], thick[1].astype(np.float32)]), index)
    inside = np.all((index >= 0) & (index <= np.asarray(size.moving.grid.shape) - 1), axis=1)
    shown = (inside & (values[1] > 0.999)).reshape(grid.shape)
    moving = values[0].reshape(grid.shape)
    return Laid(grid, self_similarity(size.fixed.values), self_similarity(moving), size.fixed.mask, shown)


def self_similarity(values: Float32) -> Float32:
    """How alike a place is to its neighbours, whatever its grey value: features of volumes of any two instruments.

    Parameters
    ----------
    values : (Z, Y, X) array of float32
        Grey values.

    Returns
    -------
    (C, Z, Y, X) array of float32
        Two for every axis with more than four voxels, about of unit length.

    Notes
    -----
    The modality independent neighbourhood descriptor (Heinrich et al. 2012, doi:10.1016/j.media.2012.05.008) with
    distances between the place and its neighbours, less their mean.
    """
    apart = []
    for axis, sign in product(range(values.ndim), (-1, 1)):
        if values.shape[axis] <= 2 * _AWAY:
            continue
        beside = np.roll(values, sign * _AWAY, axis)
        # What comes in from the other side is replaced by the edge.
        edge: list[slice] = [slice(None)] * values.ndim
        edge[axis] = slice(0, _AWAY) if sign > 0 else slice(-_AWAY, None)
        last = [slice(None)] * values.ndim
        last[axis] = slice(0, 1) if sign > 0 else slice(-1, None)
        beside[tuple(edge)] = values[tuple(last)]
        apart.append(ndimage.gaussian_filter((values - beside) ** 2, _PATCH))
    distances = np.stack(apart)
    noise = distances.mean(axis=0)
    floor = np.float32(max(1e-3 * float(noise.mean()), 1e-9))
    alike = np.exp(-distances / np.maximum(noise, floor))
    return _unit(np.asarray(alike - alike.mean(axis=0), np.float32))


def _unit(planes: Float32) -> Float32:
    """Planes divided by their length at every pixel; where it is small, by no less than a share of the mean."""
    energy = np.sum(planes * planes, axis=0)
    return np.asarray(planes / np.sqrt(energy + np.float32(_FLOOR) * energy.mean() + np.float32(1e-12)), np.float32)


def even_places(grid: Grid, shown: Mask, most: int) -> tuple[NDArray[np.intp], Points]:
    """Evenly spread places where something is shown: the pixel that each lies in, and its place in fractional pixels.

    Parameters
    ----------
    grid : Grid
        Of the features.
    shown : (*grid.shape) array of bool
        Where places may lie.
    most : int
        How many at most.
    """
    pixels = np.argwhere(shown)
    number = np.arange(len(pixels))
    pixels = pixels[number * 0.6180339887498949 % 1 * len(pixels) < most]
    # Places between pixels, so that features of both images are interpolated, whatever the shift between them.
    even = {2: (0.7548776662466927, 0.5698402909980532), 3: (0.8191725134, 0.6710436067, 0.5497004779)}[grid.ndim]
    offset = (np.arange(len(pixels))[:, None] * np.asarray(even)) % 1 - 0.5
    last = np.asarray(grid.shape) - 1.0
    return pixels, np.clip(pixels + offset, 0.0, last)
