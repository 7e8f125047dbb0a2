"""Places at which two images are compared under a pose: what every refinement works on, in the plane and in space.

A `Comparison` is two images that can be sampled at several levels of detail; `Samples` are the places that both show
at one level and under one pose. Planes are resampled onto each other first (`correlight.refine.planes`), volumes are
sampled where the pose leads (`correlight.refine.volumes`); nothing that uses samples needs to know which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid, Points
from correlight.similarity import Measure
from correlight.transforms import Affine, Projective, Transform, scale_of
from correlight.transforms.motions import LinearModel
from correlight.transforms.protocol import Matrix

MeasureName = Literal["features", "mutual information", "neural mutual information", "weighted squares"]
LinearTransform = Affine | Projective

# A pose with fewer samples than this in common is no pose.
FEWEST_SAMPLES = 400
# A block of the checkerboard counts if it holds this share of the mean number of samples.
_FULL_BLOCK = 0.3


class Source(Protocol):
    """What samples were taken of."""

    def measure(self, name: MeasureName, samples: Samples) -> Measure:
        """The measure of these samples; called with places in pixels of the moving image."""
        ...


@dataclass(frozen=True, eq=False)
class Samples:
    """Places that both images show, at one level of detail and under one pose.

    Parameters
    ----------
    source : Source
        What they were taken of.
    numbers : (N,) array of int
        Which of the samples of the source they are.
    points : (N, D) array
        The places, in the frame in which the level counts.
    blocks : (N,) array of int
        Field of a checkerboard that each lies in.
    fields : tuple of int
        Fields of the checkerboard along each axis.
    pixel : float
        Size of a pixel in that frame.
    frame_from_fixed : (D+1, D+1) array
        Takes positions in the fixed image to that frame.
    pixel_from_frame : (D+1, D+1) array
        Takes that frame to pixels of the moving image under the pose.
    """

    source: Source
    numbers: NDArray[np.intp]
    points: Points
    blocks: NDArray[np.intp]
    fields: tuple[int, ...]
    pixel: float
    frame_from_fixed: Matrix
    pixel_from_frame: Matrix

    def __bool__(self) -> bool:
        """Whether there is enough in common to compare."""
        return len(self.points) >= FEWEST_SAMPLES

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.points)

    @property
    def detail(self) -> float:
        """Size of a pixel in units of the fixed image."""
        frame = self.frame_from_fixed[:-1, :-1]
        return self.pixel / float(abs(np.linalg.det(frame)) ** (1 / len(frame)))

    @property
    def odd(self) -> NDArray[np.bool_]:
        """Which samples lie in the dark fields of the checkerboard, shape ``(N,)``."""
        return np.asarray(sum(np.unravel_index(self.blocks, self.fields)) % 2 == 1)

    def restricted(self, chosen: NDArray[np.bool_]) -> Samples:
        """Some of the samples only, as a ``(N,)`` mask says."""
        return replace(self, numbers=self.numbers[chosen], points=self.points[chosen], blocks=self.blocks[chosen])

    def half(self, number: int) -> Samples:
        """The samples in the light (0) or in the dark (1) fields of the checkerboard."""
        return self.restricted(self.odd == bool(number))

    def measure(self, name: MeasureName) -> Measure:
        """The measure of these samples."""
        return self.source.measure(name, self)

    def places(self, points: Points | None = None) -> Points:
        """Where points of the frame, the samples themselves without, lie in pixels of the moving image."""
        matrix = self.pixel_from_frame
        found = matrix[:-1, :-1] @ (self.points if points is None else points).T
        found += matrix[:-1, -1:]
        return np.asarray(found.T)

    def by_block(self, name: MeasureName) -> NDArray[np.float64]:
        """What the samples of each field contribute to a measure; NaN for fields with hardly any."""
        total = int(np.prod(self.fields))
        if not self:
            return np.full(total, np.nan)
        parts = self.measure(name)(self.places()).parts
        sums = np.bincount(self.blocks, parts, minlength=total)
        counts = np.bincount(self.blocks, minlength=total)
        return np.where(counts >= _FULL_BLOCK * len(self) / max(1, int(np.count_nonzero(counts))), sums, np.nan)


class Comparison(Protocol):
    """Two images that can be compared under any pose, at several levels of detail."""

    @property
    def fixed_grid(self) -> Grid:
        """The grid of the fixed image."""
        ...

    @property
    def moving_grid(self) -> Grid:
        """The grid of the moving image."""
        ...

    @property
    def measures(self) -> tuple[MeasureName, ...]:
        """By what they can be compared."""
        ...

    @property
    def reliable(self) -> tuple[MeasureName, ...]:
        """Those of them that may be maximised on these images."""
        ...

    @property
    def levels(self) -> tuple[int, ...]:
        """The levels of a refinement, coarse first."""
        ...

    @property
    def weighing(self) -> int:
        """The level at which kinds of transforms are compared with each other."""
        ...

    @property
    def aside(self) -> float:
        """Fits to two halves start so many pixels off along all axes, either way, and stay where a measure is flat."""
        ...

    def pixel(self, pose: LinearTransform, level: int) -> float:
        """About the size of a pixel at a level, in units of the fixed image."""
        ...

    def samples(self, pose: LinearTransform, level: int) -> Samples:
        """Places that both images show under a pose."""
        ...

    def exchanged(self) -> Comparison:
        """The same images with fixed and moving exchanged."""
        ...

    def climbed(self, pose: LinearTransform, model: LinearModel, levels: tuple[int, ...]) -> LinearTransform:
        """A pose improved by neural mutual information, which has a way of its own."""
        ...


def distance(a: Transform, b: Transform, grid: Grid) -> float:
    """Mean distance over the fixed field between where two transforms lead, in fixed units."""
    points = grid.lattice(10)
    return float(np.mean(np.linalg.norm(a(points) - b(points), axis=1))) / scale_of(a, grid.centre)
