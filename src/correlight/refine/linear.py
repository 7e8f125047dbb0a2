"""Sub-pixel refinement of a pose on a pyramid, by feature channels or by mutual information."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from correlight.appearance.channels import Channels
from correlight.geometry import Grid
from correlight.images.image import Mask
from correlight.images.plane import Plane
from correlight.refine.models import Correction, Model
from correlight.refine.neural import refine_neural
from correlight.search.poses import working_planes
from correlight.similarity import Measure, Places, sample
from correlight.similarity.correlation import FeatureCorrelation
from correlight.similarity.mutual import MutualInformation
from correlight.similarity.neural import NeuralInformation
from correlight.transforms import Affine, Projective

MeasureName = Literal["features", "mutual information", "neural mutual information"]
Pyramid = Sequence[int]
Pose2D = Affine | Projective
COARSE_TO_FINE: Pyramid = (128, 256, 512)

# More samples than this sharpen the optimum no further but cost time.
_MOST_SAMPLES = 30_000
# Steps of the recurrences that fill the line and the plane most evenly: the golden ratio, and its like for the plane.
_GOLDEN = 0.6180339887498949
_PLASTIC = np.array([0.7548776662466927, 0.5698402909980532])
# A pose with fewer samples than this in common is no pose.
_FEWEST_SAMPLES = 400
# Samples closer than this to the edge of the other image, in working pixels, could leave it.
_RIM = 3
# The checkerboard of blocks for held-out halves has this many fields along the longer side.
BLOCKS = 8


@dataclass(frozen=True, eq=False)
class Overlay:
    """The moving plane laid onto the grid of the fixed plane by a pose, at one working size.

    Parameters
    ----------
    fixed, moving : Plane
        On one grid.
    samples : (N, 2) array
        Places (y, x) of that grid that both images show, in fractional pixels.
    blocks : (N,) array of int
        Number of the checkerboard field that each sample lies in.
    """

    fixed: Plane
    moving: Plane
    samples: Places
    blocks: NDArray[np.intp]

    def __bool__(self) -> bool:
        """Whether there is enough in common to compare."""
        return len(self.samples) >= _FEWEST_SAMPLES

    @property
    def odd(self) -> NDArray[np.bool_]:
        """Which samples lie in the dark fields of the checkerboard, shape ``(N,)``."""
        rows, columns = np.divmod(self.blocks, BLOCKS)
        return np.asarray((rows + columns) % 2 == 1)

    def restricted(self, chosen: NDArray[np.bool_]) -> Overlay:
        """The same overlay with some of the samples only."""
        return Overlay(self.fixed, self.moving, self.samples[chosen], self.blocks[chosen])

    def measure(self, name: MeasureName, channels: Channels) -> Measure:
        """The measure of these samples."""
        if name == "mutual information":
            values, _ = sample(self.fixed.values[None], self.samples)
            return MutualInformation(values[0], self.moving.values)
        if name == "neural mutual information":
            values, _ = sample(self.fixed.values[None], self.samples)
            return NeuralInformation(values, self.moving.values, self.samples)
        fixed = channels(self.fixed.values, self.fixed.mask)
        moving = channels(self.moving.values, self.moving.mask)
        return FeatureCorrelation(
            [sample(group.planes, self.samples / group.stride)[0] for group in fixed],
            [group.planes for group in moving],
            [group.stride for group in moving],
        )


def overlay(fixed: Plane, moving: Plane, moving_from_fixed: Pose2D, size: float) -> Overlay:
    """Lay the moving plane onto the fixed one at a working size.

    Parameters
    ----------
    fixed, moving : Plane
        At full resolution.
    moving_from_fixed : Affine or Projective
        The pose.
    size : float
        Side in pixels of a square with the area of the smaller field.
    """
    scale = moving_from_fixed.scale
    # Pixels that are divided share their noise, which then pulls the optimum between them.
    small, other = working_planes(fixed, moving, scale, size, divided=False)
    laid = lay(other, moving_from_fixed, small.grid)
    common = laid.mask & small.mask
    reach = 2 * _RIM + 1
    inner = cv2.erode(common.astype(np.uint8), np.ones((reach, reach), np.uint8), borderValue=0) > 0
    pixels = np.argwhere(inner)
    number = np.arange(len(pixels))
    # Additive recurrences spread samples evenly without a draw, and unlike a stride never in step with structures.
    pixels = pixels[number * _GOLDEN % 1 * len(pixels) < _MOST_SAMPLES]
    # Interpolation between pixels averages noise away, so places between pixels agree better than places on them.
    # With samples spread evenly over the fractions no shift is preferred for that.
    samples = pixels + number[: len(pixels), None] * _PLASTIC % 1 - 0.5
    return Overlay(small, laid, samples, _blocks(samples))


def lay(moving: Plane, moving_from_fixed: Pose2D, grid: Grid) -> Plane:
    """The moving plane resampled onto a grid of the fixed image; outside it the mask is False."""
    places = moving.grid.index(moving_from_fixed(grid.lattice_of_pixels()))
    places = np.nan_to_num(places, nan=-1e6, posinf=-1e6, neginf=-1e6)
    limit = np.asarray(moving.grid.shape) - 1
    inside = np.all((places >= 0) & (places <= limit), axis=1)
    pair = np.stack([moving.values, moving.mask.astype(np.float32)])
    values, _ = sample(pair, places)
    mask: Mask = (inside & (values[1] > 0.999)).reshape(grid.shape)
    return Plane(values[0].reshape(grid.shape), mask, grid)


def _blocks(samples: Places) -> NDArray[np.intp]:
    if len(samples) == 0:
        return np.zeros(0, np.intp)
    low, high = samples.min(axis=0), samples.max(axis=0)
    place = np.minimum((samples - low) * BLOCKS / np.maximum(high - low, 1), BLOCKS - 1).astype(np.intp)
    return np.asarray(place[:, 0] * BLOCKS + place[:, 1])


def refine(
    fixed: Plane,
    moving: Plane,
    moving_from_fixed: Pose2D,
    model: Model,
    channels: Channels,
    *,
    measure: MeasureName = "features",
    pyramid: Pyramid = COARSE_TO_FINE,
    half: int | None = None,
) -> Pose2D:
    """Improve a pose that is right to a few working pixels.

    Parameters
    ----------
    fixed, moving : Plane
        The two images at full resolution.
    moving_from_fixed : Affine or Projective
        The start.
    model : {"rigid", "similarity", "affine", "projective"}
        What the correction may be.
    channels : Channels
        What the measure "features" compares.
    measure : {"features", "mutual information", "neural mutual information"}
        What is maximised; the last by a method of its own (`refine_neural`), but for one half.
    pyramid : sequence of int
        Working sizes, coarse first.
    half : {0, 1}, optional
        Use one half of a checkerboard of blocks only.

    Returns
    -------
    Affine or Projective
        The improved pose; the start itself where too little is in common.
    """
    if measure == "neural mutual information" and half is None:
        return refine_neural(fixed, moving, moving_from_fixed, model, sizes=pyramid)
    best = moving_from_fixed
    done = 0.0
    for size in pyramid:
        laid = overlay(fixed, moving, best, size)
        pixel = float(np.mean(laid.fixed.grid.spacing))
        if pixel == done:
            # The images hold no finer level.
            break
        done = pixel
        if half is not None:
            laid = laid.restricted(laid.odd == bool(half))
        if not laid:
            return best
        best = _one_level(laid, best, model, laid.measure(measure, channels))
    return best


def _one_level(laid: Overlay, start: Pose2D, model: Model, measure: Measure) -> Pose2D:
    points = laid.samples
    family = Correction(model, points.mean(axis=0), float(np.ptp(points, axis=0).max()) / 2)

    def objective(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        agreement = measure(family.apply(parameters, points))
        return -agreement.value, -family.pull_back(parameters, points, agreement.gradient)

    reach = np.full(family.count, 6.0)
    reach[6:] = 2.0
    found = optimize.minimize(
        objective,
        np.zeros(family.count),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(-reach, reach, strict=True)),
        options={"maxiter": 25, "ftol": 1e-7},
    )
    to_grid = laid.fixed.grid.matrix
    matrix = start.matrix @ to_grid @ family.matrix(found.x) @ np.linalg.inv(to_grid)
    if isinstance(start, Projective) or model == "projective":
        return Projective(matrix)
    matrix[2] = (0, 0, 1)
    return Affine(matrix)


def distance(a: Pose2D, b: Pose2D, grid: Grid) -> float:
    """Mean distance over the fixed field between where two poses lead, in fixed units."""
    points = grid.lattice(10)
    apart = np.linalg.norm(a(points) - b(points), axis=1)
    return float(np.mean(apart)) / a.scale
