"""Two planes compared under a pose: the moving one is resampled onto the fixed one at a working size."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.appearance.channels import Channels, Group
from correlight.geometry import Grid
from correlight.images.image import Float32, Mask
from correlight.images.plane import Plane, working_planes
from correlight.images.resample import source_coordinates
from correlight.refine.neural import refine_neural
from correlight.refine.samples import LinearTransform, MeasureName, Samples
from correlight.similarity import Measure, Places, sample_values
from correlight.similarity.correlation import FeatureCorrelation
from correlight.similarity.mutual import MutualInformation
from correlight.similarity.neural import NeuralInformation
from correlight.similarity.squares import WeightedSquares
from correlight.transforms.motions import LinearModel

COARSE_TO_FINE = (128, 256, 512)
# Finer levels distinguish models no better.
WEIGHING = 256
# More samples than this sharpen the optimum no further but cost time.
_MOST_SAMPLES = 30_000
# Steps of the recurrences that fill the line and the plane most evenly: the golden ratio, and its like for the plane.
_GOLDEN = 0.6180339887498949
_PLASTIC = np.array([0.7548776662466927, 0.5698402909980532])
# Samples closer than this to the edge of the other image, in working pixels, could leave it.
_RIM = 3
# Features of one plane, by what computes them and by the shape that it was brought to.
Known = dict[tuple[Channels, tuple[int, ...]], tuple[Group, ...]]
# The checkerboard of blocks for held-out halves has this many fields along each side.
BLOCKS = 8


@dataclass(frozen=True, eq=False)
class PlanePair:
    """Two planes as a `correlight.refine.samples.Comparison`; levels are working sizes.

    Parameters
    ----------
    fixed, moving : Plane
        At full resolution.
    channels : Channels
        What the measure "features" compares.
    seed : int
        Of random draws, where a measure makes any.
    """

    fixed: Plane
    moving: Plane
    channels: Channels
    seed: int = 0

    levels: ClassVar[tuple[int, ...]] = COARSE_TO_FINE
    weighing: ClassVar[int] = WEIGHING
    aside: ClassVar[float] = 0.7

    @property
    def fixed_grid(self) -> Grid:
        """The grid of the fixed plane."""
        return self.fixed.grid

    @property
    def moving_grid(self) -> Grid:
        """The grid of the moving plane."""
        return self.moving.grid

    measures: ClassVar[tuple[MeasureName, ...]] = ("features", "mutual information")

    @property
    def reliable(self) -> tuple[MeasureName, ...]:
        """The measures that may be maximised; edges of a denoised plane are those of noise, so they are left out."""
        if self.fixed.denoised or self.moving.denoised:
            return ("mutual information",)
        return self.measures

    def pixel(self, pose: LinearTransform, level: int) -> float:
        """About the size of a pixel at a working size, in units of the fixed image."""
        return float(np.sqrt(min(self.fixed.area, self.moving.area / pose.scale**2)) / level)

    def samples(self, pose: LinearTransform, level: int) -> Samples:
        """Places of the overlay at a working size; its frame are pixels there."""
        return self.overlay(pose, level).samples

    def overlay(self, pose: LinearTransform, size: float) -> Overlay:
        """The moving plane laid onto the fixed one.

        Parameters
        ----------
        pose : Affine or Projective
            ``moving_from_fixed``.
        size : float
            Side in pixels of a square with the area of the smaller field.
        """
        # Pixels that are divided share their noise, which then pulls the optimum between them.
        small, other = working_planes(self.fixed, self.moving, pose.scale, size, divided=False)
        self._kept.update({("fixed", small.grid.shape): small, ("moving", other.grid.shape): other})
        laid = lay(other, pose, small.grid)
        trusted = _trusted(self.fixed, self.moving, pose, small.grid)
        return Overlay(small, laid, self.channels, _even_places(laid.mask & small.mask), trusted, self._known)

    @cached_property
    def _known(self) -> Known:
        """Poses of about one scale share a working size."""
        return {}

    @cached_property
    def _kept(self) -> dict[tuple[str, tuple[int, ...]], Plane]:
        """The planes at those sizes, which are made again unless somebody holds them."""
        return {}

    def exchanged(self) -> PlanePair:
        """The same planes with fixed and moving exchanged."""
        return PlanePair(self.moving, self.fixed, self.channels, self.seed)

    def climbed(self, pose: LinearTransform, model: LinearModel, levels: tuple[int, ...]) -> LinearTransform:
        """A pose improved by neural mutual information."""
        return refine_neural(self.fixed, self.moving, pose, model, sizes=levels, seed=self.seed)


@dataclass(frozen=True, eq=False)
class Overlay:
    """The moving plane laid onto the grid of the fixed plane by a pose, at one working size.

    Parameters
    ----------
    fixed, moving : Plane
        On one grid.
    samples : Samples
        Places of that grid that both images show, in its fractional pixels.
    channels : Channels
        What the measure "features" compares.
    places : (N, 2) array
        In fractional pixels of that grid.
    trusted : (Y, X) array, optional
        How far a predicted plane is to be trusted, 0 to 1, on that grid.
    known : dict
        Features of the fixed plane by kind and shape, as far as they were computed; overlays of one pair share them.
    """

    fixed: Plane
    moving: Plane
    channels: Channels
    places: Places
    trusted: Float32 | None = None
    known: Known = field(default_factory=dict)

    @property
    def samples(self) -> Samples:
        """Places that both images show."""
        places = self.places
        return Samples(
            source=self,
            numbers=np.arange(len(places)),
            points=places,
            blocks=_blocks(places),
            fields=(BLOCKS, BLOCKS),
            pixel=1.0,
            frame_from_fixed=np.asarray(np.linalg.inv(self.fixed.grid.matrix), np.float64),
            pixel_from_frame=np.eye(3),
        )

    def measure(self, name: MeasureName, samples: Samples) -> Measure:
        """The measure of some of the samples."""
        if name == "features":
            return FeatureCorrelation(
                [sample_values(group.planes, samples.points / group.stride) for group in self._of_fixed()],
                [group.planes for group in self._of_moving],
                [group.stride for group in self._of_moving],
            )
        values = sample_values(self.fixed.values[None], samples.points)
        if name == "mutual information":
            return MutualInformation(values[0], self.moving.values)
        if name == "weighted squares":
            return self._squares(values[0], samples)
        return NeuralInformation(values, self.moving.values, samples.points)

    def _of_fixed(self) -> tuple[Group, ...]:
        kind = self.channels, self.fixed.grid.shape
        if kind not in self.known:
            self.known[kind] = self.channels(self.fixed.values, self.fixed.mask)
        return self.known[kind]

    @cached_property
    def _of_moving(self) -> tuple[Group, ...]:
        return self.channels(self.moving.values, self.moving.mask)

    def _squares(self, values: Float32, samples: Samples) -> WeightedSquares:
        """Squared differences of grey values that have zero mean and unit variance where both planes are valid."""
        both = self.fixed.mask & self.moving.mask
        weights = None if self.trusted is None else sample_values(self.trusted[None], samples.points)[0]
        return WeightedSquares(
            _standardised(values, self.fixed.values[both]),
            _standardised(self.moving.values, self.moving.values[both]),
            weights,
        )


def _standardised(values: Float32, known: Float32) -> Float32:
    mean, width = (float(known.mean()), float(known.std())) if known.size else (0.0, 0.0)
    return ((values - np.float32(mean)) / np.float32(max(width, 1e-6))).astype(np.float32)


def _even_places(common: Mask) -> Places:
    """Places spread evenly over what two planes show, in fractional pixels, ``(N, 2)``."""
    side = 2 * _RIM + 1
    inner = cv2.erode(common.astype(np.uint8), np.ones((side, side), np.uint8), borderValue=0) > 0
    pixels = np.argwhere(inner)
    number = np.arange(len(pixels))
    # Additive recurrences spread samples evenly without a draw, and unlike a stride never in step with structures.
    pixels = pixels[number * _GOLDEN % 1 * len(pixels) < _MOST_SAMPLES]
    # Interpolation between pixels averages noise away, so places between pixels agree better than places on them.
    # With samples spread evenly over the fractions no shift is preferred for that.
    return np.asarray(pixels + number[: len(pixels), None] * _PLASTIC % 1 - 0.5)


def _trusted(fixed: Plane, moving: Plane, moving_from_fixed: LinearTransform, grid: Grid) -> Float32 | None:
    """How far the one of two planes that was predicted is to be trusted, on a grid of the fixed image."""
    for plane, pose in ((fixed, None), (moving, moving_from_fixed)):
        if plane.predicted is not None and plane.predicted.confidence is not None:
            confidence = replace(plane, values=plane.predicted.confidence, predicted=None)
            if pose is not None:
                return lay(confidence, pose, grid).values
            rows, columns = grid.shape
            return confidence.resized((rows, columns)).values
    return None


def lay(moving: Plane, moving_from_fixed: LinearTransform, grid: Grid) -> Plane:
    """The moving plane resampled onto a grid of the fixed image; outside it the mask is False."""
    whole = tuple(slice(0, count) for count in grid.shape)
    index = np.stack(source_coordinates(moving.grid, moving_from_fixed, grid, whole))
    # Beyond the vanishing line of a projective map there is no place.
    np.nan_to_num(index, copy=False, nan=-1e6, posinf=-1e6, neginf=-1e6)
    limits = np.asarray(moving.grid.shape)[:, None, None] - 1
    mask: Mask = np.all((index >= 0) & (index <= limits), axis=0)
    places = index.reshape(2, -1).T
    if not moving.mask.all():
        shown = sample_values(moving.mask[None].astype(np.float32), places)
        mask &= shown.reshape(grid.shape) > 0.999
    return Plane(sample_values(moving.values[None], places).reshape(grid.shape), mask, grid)


def _blocks(samples: Places) -> NDArray[np.intp]:
    if len(samples) == 0:
        return np.zeros(0, np.intp)
    low, high = samples.min(axis=0), samples.max(axis=0)
    place = np.minimum((samples - low) * BLOCKS / np.maximum(high - low, 1), BLOCKS - 1).astype(np.intp)
    return np.asarray(place[:, 0] * BLOCKS + place[:, 1])
