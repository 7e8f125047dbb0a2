"""What two images show, described so that places can be compared: raw features on one grid, before they are related."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np

from correlight.appearance.channels import Channels, Group, Joined
from correlight.geometry import Grid
from correlight.images.image import Float32, Mask
from correlight.images.plane import Plane
from correlight.progress import in_threads
from correlight.refine.grey_features import OF_GREY, blurred, unit
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
# Volumes are described on so many voxels at most: some thirty numbers for each, of both, are kept.
_MOST_VOXELS = 1_000_000


@dataclass(frozen=True, eq=False)
class Features:
    """Planes of two images by one description.

    Parameters
    ----------
    fixed, moving : (C, *shape) arrays of float32
        Zero where nothing is shown; `as_rows` need not copy them.
    paired : bool
        Whether plane by plane both mean the same; if not, any plane of one may go with any of the other.
    """

    fixed: Float32
    moving: Float32
    paired: bool


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
    kept: list[_OfPlane] = []
    for pair in pairs:
        if isinstance(pair, PlanePair):
            other = _of_planes(pair, pose, level, measures or USUAL[2], kept)
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


@dataclass(frozen=True, eq=False)
class _OfPlane:
    """The features of a plane, which is often compared with several others."""

    plane: Plane
    features: list[Float32]
    shown: Mask

    @classmethod
    def of(cls, plane: Plane, measures: Sequence[FieldMeasure], channels: Channels) -> _OfPlane:
        found = [_described_plane(plane.values, plane.mask, measure, channels) for measure in measures]
        return cls(plane, [planes for planes, _ in found], np.all([shown for _, shown in found], axis=0))

    def shows(self, plane: Plane) -> bool:
        """Whether another plane is the same, pixel by pixel."""
        known = self.plane
        return np.array_equal(known.values, plane.values) and np.array_equal(known.mask, plane.mask)


def _of_planes(
    pair: PlanePair, pose: LinearTransform, level: int, measures: Sequence[FieldMeasure], kept: list[_OfPlane]
) -> Described:
    over = pair.overlay(pose, level)

    def of(plane: Plane) -> _OfPlane:
        known = next((one for one in kept if one.shows(plane)), None)
        return _OfPlane.of(plane, measures, pair.channels) if known is None else known

    both = list(in_threads(of, (over.fixed, over.moving), 2))
    kept += both
    sets, masks = [one.features for one in both], [one.shown for one in both]
    return _joined(over.fixed.grid, sets, masks, measures)


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
        sets.append([OF_GREY[measure](np.asarray(grey, np.float32), mask) for measure in measures])
        masks.append(mask)
    return _joined(grid, sets, masks, measures)


def _joined(grid: Grid, sets: list[list[Float32]], masks: list[Mask], measures: Sequence[FieldMeasure]) -> Described:
    made = tuple(
        Features(_in_rows(fixed * masks[0]), _in_rows(moving * masks[1]), measure in ("features", "self-similarity"))
        for fixed, moving, measure in zip(*sets, measures, strict=True)
    )
    return Described(grid, made, masks[0], masks[1])


def _in_rows(planes: Float32) -> Float32:
    """The same planes, in memory with all values of a pixel beside each other, as they are sampled."""
    return from_rows(as_rows(planes), planes.shape[1:])


def from_rows(rows: Float32, shape: Sequence[int]) -> Float32:
    """Planes ``(C, *shape)`` whose values are those of rows ``(P, C)``; `as_rows` of them copies nothing."""
    return np.moveaxis(rows.reshape(*shape, -1), -1, 0)


def _described_plane(values: Float32, mask: Mask, measure: FieldMeasure, channels: Channels) -> tuple[Float32, Mask]:
    if measure == "features":
        return _dense(values, mask, channels)
    reach = 9
    inner = cv2.erode(mask.astype(np.uint8), np.ones((reach, reach), np.uint8), borderValue=0) > 0
    return OF_GREY[measure](values, mask), inner


def _dense(values: Float32, mask: Mask, channels: Channels) -> tuple[Float32, Mask]:
    """Groups of channels at every pixel; those of coarser planes from the image moved aside as well."""
    shape = values.shape
    planes: list[Float32] = []
    shown = np.ones(shape, bool)
    # Kind by kind: only those that are coarse are computed of the moved image as well.
    for kind in channels.several if isinstance(channels, Joined) else (channels,):
        for group in _not_coarse(values, mask, kind):
            at, seen = _at_stride(group, shape)
            planes.append(at)
            shown &= seen
    return np.concatenate(planes), shown


def _not_coarse(values: Float32, mask: Mask, channels: Channels) -> Iterator[Group]:
    """Groups of channels, coarse ones with half of their stride."""
    made = channels(values, mask)
    moved = {}
    if any(group.stride == _COARSE for group in made):
        for shift in ((down, along) for down in _SHIFTS for along in _SHIFTS):
            if shift != (0, 0):
                moved[shift] = channels(*_shifted(values, mask, shift))
    for number, group in enumerate(made):
        if group.stride == _COARSE:
            yield _interleaved({(0, 0): group, **{shift: others[number] for shift, others in moved.items()}})
        else:
            yield group


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
