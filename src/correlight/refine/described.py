"""What two images show, described so that places can be compared: raw features on one grid, before they are related."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any, Literal, get_args

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.appearance.channels import Channels, Group
from correlight.geometry import Grid
from correlight.images.image import Float32, Mask
from correlight.refine.planes import PlanePair
from correlight.refine.samples import Comparison, LinearTransform
from correlight.refine.volumes import VolumePair
from correlight.similarity import as_rows, sample_values

FieldMeasure = Literal["features", "filters", "self-similarity", "mutual information"]
FIELD_MEASURES: tuple[FieldMeasure, ...] = get_args(FieldMeasure)

# By what a field is fitted if nothing is asked for; there are no learned features of volumes.
USUAL: dict[int, tuple[FieldMeasure, ...]] = {2: ("features", "filters"), 3: ("self-similarity", "filters")}
# Features of a plane with this stride are computed anew for the image moved by half of it.
_COARSE = 4
_SHIFTS = (0, _COARSE // 2)
# Features count by their direction; those weaker than this share of the mean energy count less.
_FLOOR = 0.3
# Self-similarity looks so many pixels far, over patches of this width.
_AWAY, _PATCH = {2: 4, 3: 2}, {2: 2.0, 3: 1.0}
# Widths of the filters, and of the surroundings against which grey values count, in working pixels of a plane; voxels
# of a volume are coarser.
_WIDTHS, _SURROUND = {2: (1.0, 2.0, 4.0), 3: (0.7, 1.5)}, {2: 24.0, 3: 8.0}
# Grey values more than so many deviations from their surroundings are not told apart.
_MOST = 3.0
# Grey levels of mutual information, and the widths over which they are smoothed.
_LEVELS, _SMOOTH = 8, {2: (1.0, 3.0), 3: (0.7,)}
# Volumes are described on so many voxels at most: some thirty numbers for each, of both, are kept.
_MOST_VOXELS = 1_000_000


@dataclass(frozen=True, eq=False)
class Features:
    """Planes of two images by one description.

    Parameters
    ----------
    fixed, moving : (C, *shape) arrays of float32
        Zero where nothing is shown.
    paired : bool
        Whether plane by plane both mean the same; if not, any plane of one may go with any of the other.
    """

    fixed: Float32
    moving: Float32
    paired: bool

    @cached_property
    def moving_rows(self) -> Float32:
        """Planes of the moving image as `sample_rows` takes them."""
        return as_rows(self.moving)


@dataclass(frozen=True, eq=False)
class Described:
    """Two images on one grid, the moving one laid by a linear map.

    Parameters
    ----------
    grid : Grid
        In the frame of the fixed image.
    features : tuple of Features
        One for each description and pair of channels.
    fixed_shown, moving_shown : (*grid.shape) arrays of bool
        Where each image says something.
    """

    grid: Grid
    features: tuple[Features, ...]
    fixed_shown: Mask
    moving_shown: Mask

    @property
    def shown(self) -> Mask:
        """Where both images say something."""
        return self.fixed_shown & self.moving_shown


def finest_level(pair: Comparison) -> int:
    """The level on which a field is fitted: the finest of planes, and of volumes that memory allows.

    Parameters
    ----------
    pair : Comparison
        The two images.
    """
    if not isinstance(pair, VolumePair):
        return pair.levels[-1]
    held = [level for level in pair.levels if np.prod(pair.sizes[level].fixed.grid.shape) <= _MOST_VOXELS]
    return held[-1] if held else pair.levels[0]


def described(
    pairs: Sequence[Comparison], pose: LinearTransform, level: int, measures: Sequence[FieldMeasure] | None = None
) -> Described | None:
    """Features of two images at one level under a pose; None where none are computed of such pairs.

    Parameters
    ----------
    pairs : sequence of Comparison
        Channels of the two images: planes, or a pair of volumes.
    pose : Affine or Projective
        Takes fixed to moving positions.
    level : int
        Of the pairs.
    measures : sequence of {"features", "filters", "self-similarity", "mutual information"}, optional
        By what they are described; see `USUAL` for what is taken without.
    """
    made: Described | None = None
    for pair in pairs:
        if isinstance(pair, PlanePair):
            other = _of_planes(pair, pose, level, measures or USUAL[2])
        elif isinstance(pair, VolumePair):
            other = _of_volumes(pair, pose, level, measures or USUAL[3])
        else:
            return None
        if made is None:
            made = other
        elif made.grid == other.grid:
            shown = made.fixed_shown & other.fixed_shown, made.moving_shown & other.moving_shown
            made = Described(made.grid, (*made.features, *other.features), *shown)
    return made


def _of_planes(pair: PlanePair, pose: LinearTransform, level: int, measures: Sequence[FieldMeasure]) -> Described:
    over = pair.overlay(pose, level)
    grid = over.fixed.grid
    sets, masks = [], []
    for plane in (over.fixed, over.moving):
        found = [_described_plane(plane.values, plane.mask, measure, pair.channels) for measure in measures]
        sets.append([planes for planes, _ in found])
        masks.append(np.all([shown for _, shown in found], axis=0))
    return _joined(grid, sets, masks, measures)


def _of_volumes(pair: VolumePair, pose: LinearTransform, level: int, measures: Sequence[FieldMeasure]) -> Described:
    size = pair.sizes[level]
    grid = size.fixed.grid
    index = size.moving.grid.index(pose(grid.lattice_of_pixels()))
    thick = [np.repeat(part, 2, axis=0) if len(part) == 1 else part for part in (size.moving.values, size.moving.mask)]
    values = sample_values(np.stack([thick[0], thick[1].astype(np.float32)]), index)
    inside = np.all((index >= 0) & (index <= np.asarray(size.moving.grid.shape) - 1), axis=1)
    shown = (inside & (values[1] > 0.999)).reshape(grid.shape)
    sets, masks = [], []
    for grey, mask in ((size.fixed.values, size.fixed.mask), (values[0].reshape(grid.shape), shown)):
        sets.append([_OF_GREY[measure](np.asarray(grey, np.float32), mask) for measure in measures])
        masks.append(mask)
    return _joined(grid, sets, masks, measures)


def _joined(grid: Grid, sets: list[list[Float32]], masks: list[Mask], measures: Sequence[FieldMeasure]) -> Described:
    made = tuple(
        Features(fixed * masks[0], moving * masks[1], measure in ("features", "self-similarity"))
        for fixed, moving, measure in zip(*sets, measures, strict=True)
    )
    return Described(grid, made, masks[0], masks[1])


def _described_plane(values: Float32, mask: Mask, measure: FieldMeasure, channels: Channels) -> tuple[Float32, Mask]:
    if measure == "features":
        return _dense(values, mask, channels)
    reach = 9
    inner = cv2.erode(mask.astype(np.uint8), np.ones((reach, reach), np.uint8), borderValue=0) > 0
    return _OF_GREY[measure](values, mask), inner


def _dense(values: Float32, mask: Mask, channels: Channels) -> tuple[Float32, Mask]:
    """Groups of channels at every pixel; those of coarser planes from the image moved aside as well."""
    shape = values.shape
    made = list(channels(values, mask))
    planes: list[Float32] = []
    shown = np.ones(shape, bool)
    coarse = [number for number, group in enumerate(made) if group.stride == _COARSE]
    moved = {}
    if coarse:
        for shift in ((down, along) for down in _SHIFTS for along in _SHIFTS):
            if shift != (0, 0):
                moved[shift] = channels(*_shifted(values, mask, shift))
    for number, group in enumerate(made):
        if number in coarse:
            groups = {(0, 0): group, **{shift: others[number] for shift, others in moved.items()}}
            group = _interleaved(groups)
        at, seen = _at_stride(group, shape)
        planes.append(at)
        shown &= seen
    return np.concatenate(planes), shown


def _shifted(values: Float32, mask: Mask, shift: tuple[int, int]) -> tuple[Float32, Mask]:
    """The image as if it began so many pixels further on."""
    pad = tuple((0, step) for step in shift)
    end = tuple(slice(step, None) for step in shift)
    return np.pad(values, pad, mode="edge")[end], np.pad(mask, pad)[end]


def _interleaved(groups: dict[tuple[int, int], Group]) -> Group:
    """One group with half the stride from groups of the image moved by half of their stride."""
    first = groups[0, 0]
    count, *size = first.planes.shape
    planes = np.zeros((count, *(2 * n for n in size)), np.float32)
    support = np.zeros([2 * n for n in size], bool)
    for (down, along), group in groups.items():
        at = slice(down // _SHIFTS[1], None, 2), slice(along // _SHIFTS[1], None, 2)
        planes[(slice(None), *at)], support[at] = group.planes, group.support
    return Group(planes, support, first.stride // 2)


def _at_stride(group: Group, shape: tuple[int, ...]) -> tuple[Float32, Mask]:
    """The planes of a group at every pixel of the image, of about unit length, and where they say something."""
    values, shown = group.planes, group.support
    if group.stride > 1:
        places = np.asarray(np.indices(shape).reshape(len(shape), -1).T / group.stride, float)
        values = sample_values(values, places).reshape(-1, *shape)
        nearest = np.minimum(np.rint(places).astype(np.intp), np.asarray(shown.shape) - 1)
        shown = shown[tuple(nearest.T)].reshape(shape)
    else:
        values = np.stack([blurred(plane, 0.8) for plane in values])
    return unit(values) * shown, shown


def unit(planes: Float32) -> Float32:
    """Planes divided by their length at every pixel; where it is small, by no less than a share of the mean."""
    energy = np.sum(planes * planes, axis=0)
    return np.asarray(planes / np.sqrt(energy + np.float32(_FLOOR) * energy.mean() + np.float32(1e-12)), np.float32)


def filtered(values: Float32, mask: Mask) -> Float32:
    """Grey values, their spread, and edges and their directions, at several widths.

    All are the same for an image that is turned by half a turn about the place, so that no combination of them can
    stand for an image that is shifted.

    Parameters
    ----------
    values : (*shape) array of float32
        Grey values of a plane or a volume.
    mask : (*shape) array of bool
        Valid pixels.

    Returns
    -------
    (C, *shape) array of float32
    """
    ndim = values.ndim
    smooth = _Smoother(mask)
    wide = _SURROUND[ndim]
    known = np.where(mask, values, np.float32(0))
    apart = known - smooth(known, wide)
    width = np.sqrt(smooth(apart**2, wide))
    floor = np.float32(0.3 * (float(width[mask].mean()) if mask.any() else 1.0) + 1e-6)
    grey = np.clip(apart / (width + floor), -_MOST, _MOST) * mask
    made = []
    for step in _WIDTHS[ndim]:
        mean = smooth(grey, step)
        slopes = np.stack([ndimage.sobel(mean, axis) for axis in range(ndim) if mean.shape[axis] > 1])
        length = np.sqrt(np.sum(slopes**2, axis=0))
        made += [mean, np.abs(mean), np.sqrt(np.maximum(smooth(grey**2, step) - mean**2, 0))]
        made.append(smooth(length, step / 2))
        edge = length + np.float32(0.5 * float(length.mean()) + 1e-6)
        for one in range(len(slopes)):
            for other in range(one):
                made.append(smooth((slopes[one] ** 2 - slopes[other] ** 2) / edge, step / 2))
                made.append(smooth(2 * slopes[one] * slopes[other] / edge, step / 2))
    return np.stack([np.asarray(plane - smooth(plane, wide), np.float32) for plane in made]) * mask


class _Smoother:
    """Means over a Gaussian, of valid pixels only."""

    def __init__(self, mask: Mask) -> None:
        self._mask = mask.astype(np.float32)
        self._weights: dict[float, Float32] = {}

    def __call__(self, values: NDArray[np.floating[Any]], sigma: float) -> Float32:
        if sigma not in self._weights:
            self._weights[sigma] = np.maximum(blurred(self._mask, sigma), np.float32(1e-3))
        return np.asarray(
            blurred(np.asarray(values * self._mask, np.float32), sigma) / self._weights[sigma], np.float32
        )


def blurred(values: Float32, sigma: float) -> Float32:
    """A Gaussian filter of a plane or a volume."""
    if values.ndim == 2:
        return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma))
    return np.asarray(ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=3.0))


def self_similarity(values: Float32, mask: Mask | None = None) -> Float32:
    """How alike a place is to its neighbours, whatever its grey value: features of any two instruments.

    Parameters
    ----------
    values : (*shape) array of float32
        Grey values of a plane or a volume.
    mask : (*shape) array of bool, optional
        Not needed; as for the other descriptions.

    Returns
    -------
    (C, *shape) array of float32
        Two for every axis with more than four pixels, about of unit length.

    Notes
    -----
    The modality independent neighbourhood descriptor (Heinrich et al. 2012, doi:10.1016/j.media.2012.05.008) with
    distances between the place and its neighbours, less their mean.
    """
    away, patch = _AWAY[values.ndim], _PATCH[values.ndim]
    apart = []
    for axis, sign in product(range(values.ndim), (-1, 1)):
        if values.shape[axis] <= 2 * away:
            continue
        beside = np.roll(values, sign * away, axis)
        # What comes in from the other side is replaced by the edge.
        edge: list[slice] = [slice(None)] * values.ndim
        edge[axis] = slice(0, away) if sign > 0 else slice(-away, None)
        last = [slice(None)] * values.ndim
        last[axis] = slice(0, 1) if sign > 0 else slice(-1, None)
        beside[tuple(edge)] = values[tuple(last)]
        apart.append(ndimage.gaussian_filter((values - beside) ** 2, patch))
    distances = np.stack(apart)
    noise = distances.mean(axis=0)
    floor = np.float32(max(1e-3 * float(noise.mean()), 1e-9))
    alike = np.exp(-distances / np.maximum(noise, floor))
    return unit(np.asarray(alike - alike.mean(axis=0), np.float32))


def grey_levels(values: Float32, mask: Mask) -> Float32:
    """How much a place belongs to each of several grey levels, half by value and half by rank.

    The squared correlations of the canonical variates of such levels sum to the squared-loss form of the mutual
    information of the grey values (Suzuki et al. 2009, doi:10.1186/1471-2105-10-S1-S52).

    Parameters
    ----------
    values : (*shape) array of float32
        Grey values of a plane or a volume.
    mask : (*shape) array of bool
        Valid pixels.

    Returns
    -------
    (C, *shape) array of float32
    """
    smooth = _Smoother(mask)
    made: list[Float32] = []
    for width in _SMOOTH[values.ndim]:
        grey = smooth(values, width)
        known = np.sort(grey[mask][:: max(1, np.count_nonzero(mask) // 20_000)]) if mask.any() else np.zeros(2)
        low, high = np.percentile(known, [1.0, 99.0])
        linear = np.clip((grey - low) / max(float(high - low), 1e-9), 0, 1)
        rank = np.interp(grey, known, np.linspace(0, 1, len(known)))
        level = 0.5 * (linear + rank) * (_LEVELS - 1)
        made += [np.asarray(np.maximum(1 - np.abs(level - number), 0), np.float32) for number in range(_LEVELS)]
    return np.stack(made) * mask


_OF_GREY: dict[FieldMeasure, Callable[[Float32, Mask], Float32]] = {
    "filters": filtered,
    "self-similarity": self_similarity,
    "mutual information": grey_levels,
}
