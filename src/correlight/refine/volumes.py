"""Two volumes compared under a pose: evenly spread places of the fixed one, sampled in the moving one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid, Points
from correlight.images.volume import Volume
from correlight.refine.neural import refine_neural
from correlight.refine.samples import LinearTransform, MeasureName, Samples
from correlight.similarity import Measure, sample_values
from correlight.similarity.mutual import MutualInformation
from correlight.similarity.neural import NeuralInformation
from correlight.transforms import Affine
from correlight.transforms.motions import LinearModel

# Steps of the recurrence that fills a volume most evenly: powers of one over the root of x^4 = x + 1.
_EVEN = 1.2207440846057596 ** -np.arange(1.0, 4.0)
# Samples of the fixed volume at a level, before those that the moving one does not show are left out.
_MOST_SAMPLES = 40_000
# The checkerboard of blocks for held-out halves has this many fields along each axis.
BLOCKS = (2, 6, 6)
# Sides, in voxels of a cube with the volume of the field, at which neural mutual information is computed.
_NEURAL_SIZES = (24, 48, 96)


@dataclass(frozen=True, eq=False)
class VolumePair:
    """Two volumes as a `correlight.refine.samples.Comparison`.

    Parameters
    ----------
    sizes : tuple of Level
        The volumes at several sizes of voxels, coarse first.
    seed : int
        Of random draws, where a measure makes any.
    """

    sizes: tuple[Level, ...]
    seed: int = 0

    measures: ClassVar[tuple[MeasureName, ...]] = ("mutual information",)
    reliable: ClassVar[tuple[MeasureName, ...]] = ("mutual information",)
    # The limits for halves of volumes were set with fits that start from the pose itself.
    aside: ClassVar[float] = 0.0

    @property
    def finest(self) -> Level:
        """The finest level."""
        return self.sizes[-1]

    @property
    def coarse(self) -> Level:
        """The level above the finest, where poses are compared with each other."""
        return self.sizes[max(0, len(self.sizes) - 2)]

    @property
    def fixed_grid(self) -> Grid:
        """The grid of the fixed volume at its finest level."""
        return self.finest.fixed.grid

    @property
    def moving_grid(self) -> Grid:
        """The grid of the moving volume at its finest level."""
        return self.finest.moving.grid

    @property
    def levels(self) -> tuple[int, ...]:
        """The two finest levels."""
        return tuple(range(len(self.sizes)))[-2:]

    @property
    def weighing(self) -> int:
        """The finest level."""
        return len(self.sizes) - 1

    def pixel(self, pose: LinearTransform, level: int) -> float:
        """Size of a voxel, geometric mean."""
        return self.sizes[level].spacing

    def samples(self, pose: LinearTransform, level: int) -> Samples:
        """Places that both volumes show under a pose; their frame is that of the fixed volume."""
        return self.sizes[level].samples(pose)

    def exchanged(self) -> VolumePair:
        """The finest level with fixed and moving exchanged."""
        return VolumePair((Level.of(self.finest.moving, self.finest.fixed),), self.seed)

    def climbed(self, pose: LinearTransform, model: LinearModel, levels: tuple[int, ...]) -> LinearTransform:
        """A pose improved by neural mutual information; its levels are its own."""
        sizes = _NEURAL_SIZES if len(levels) > 1 else _NEURAL_SIZES[-1:]
        return refine_neural(self.finest.fixed, self.finest.moving, pose, model, sizes=sizes, seed=self.seed)


@dataclass(frozen=True, eq=False)
class Level:
    """Two volumes at one size of voxels, with places of the fixed one.

    Parameters
    ----------
    fixed, moving : Volume
        With voxels of about one size.
    points : (N, 3) array
        Evenly spread places of the fixed volume where it is valid.
    values : (N,) array
        Grey values there.
    blocks : (N,) array of int
        Field of the checkerboard that each lies in.
    information : MutualInformation
        Of the values with the moving volume.
    """

    fixed: Volume
    moving: Volume
    points: Points
    values: NDArray[np.float32]
    blocks: NDArray[np.intp]
    information: MutualInformation

    @classmethod
    def of(cls, fixed: Volume, moving: Volume, count: int = _MOST_SAMPLES) -> Level:
        """Choose the samples: at most one for each voxel, and at most ``count``."""
        shape = np.asarray(fixed.grid.shape)
        count = min(count, int(shape.prod()))
        even = (np.arange(1, count + 1)[:, None] * _EVEN) % 1.0
        index = even * (shape - 1)
        nearest = np.rint(index).astype(np.intp)
        index = index[fixed.mask[nearest[:, 0], nearest[:, 1], nearest[:, 2]]]
        values = sample_values(_thick(fixed.values)[None], index)[0]
        low, span = index.min(axis=0, initial=0), np.maximum(shape - 1, 1)
        fields = np.minimum((index - low) * BLOCKS / span, np.asarray(BLOCKS) - 1).astype(np.intp)
        return cls(
            fixed,
            moving,
            fixed.grid.points(index),
            values,
            np.asarray(np.ravel_multi_index(tuple(fields.T), BLOCKS), np.intp),
            MutualInformation(values, _thick(moving.values)),
        )

    @property
    def spacing(self) -> float:
        """Size of a voxel, geometric mean."""
        return float(np.prod(self.fixed.grid.spacing) ** (1 / 3))

    def thinned(self, count: int) -> Level:
        """The level with about so many samples."""
        chosen = np.arange(0, len(self.points), max(1, len(self.points) // count))
        return replace(
            self,
            points=self.points[chosen],
            values=self.values[chosen],
            blocks=self.blocks[chosen],
            information=self.information.restricted(chosen),
        )

    def of_smaller(self, share: float, scale: float) -> float:
        """A share of the samples as a share of the smaller volume; of a section and a stack, of the smaller field."""
        ratio = self.fixed.size * scale**3 / self.moving.size
        if min(self.fixed.grid.shape[0], self.moving.grid.shape[0]) == 1:
            ratio = float(np.prod(self.fixed.grid.extent[1:]) * scale**2 / np.prod(self.moving.grid.extent[1:]))
        return min(1.0, share * max(1.0, ratio))

    def seen(self, moving_from_fixed: LinearTransform) -> NDArray[np.bool_]:
        """Which samples the moving volume shows under a pose, shape ``(N,)``."""
        grid = self.moving.grid
        index = grid.index(moving_from_fixed(self.points))
        inside = np.all((index >= -0.5) & (index <= np.asarray(grid.shape) - 0.5), axis=1)
        if not self.moving.mask.all():
            near = np.clip(np.rint(index[inside]).astype(np.intp), 0, np.asarray(grid.shape) - 1)
            inside[inside] = self.moving.mask[near[:, 0], near[:, 1], near[:, 2]]
        return np.asarray(inside)

    def samples(self, moving_from_fixed: LinearTransform) -> Samples:
        """The samples that both volumes show under a pose."""
        seen = np.flatnonzero(self.seen(moving_from_fixed))
        return Samples(
            source=self,
            numbers=seen,
            points=self.points[seen],
            blocks=self.blocks[seen],
            fields=BLOCKS,
            pixel=self.spacing,
            frame_from_fixed=np.eye(4),
            pixel_from_frame=np.linalg.inv(self.moving.grid.matrix) @ moving_from_fixed.matrix,
        )

    def measure(self, name: MeasureName, samples: Samples) -> Measure:
        """The measure of some of the samples."""
        if name == "mutual information":
            return self.information.restricted(samples.numbers)
        if name == "neural mutual information":
            values = self.values[samples.numbers]
            return NeuralInformation(values[None], _thick(self.moving.values), samples.places())
        raise ValueError(f"Volumes are not compared by {name}.")

    def agreement(self, moving_from_fixed: Affine) -> tuple[float, float]:
        """Mutual information in nats under a pose, and the share of the samples that both volumes show."""
        samples = self.samples(moving_from_fixed)
        share = len(samples) / max(1, len(self.points))
        if not samples:
            return 0.0, share
        return samples.measure("mutual information")(samples.places()).value, share


def levels_of(fixed: Volume, moving: Volume, scale: float, spacings: Sequence[float]) -> tuple[Level, ...]:
    """The two volumes at several sizes, coarse first and evened out; sizes that they do not hold are left out.

    Parameters
    ----------
    fixed, moving : Volume
        As fine as they are to be compared.
    scale : float
        About how many moving units lie along a fixed unit.
    spacings : sequence of float
        Sizes of voxels in the unit of the fixed volume.
    """
    made: list[Level] = []
    for spacing in spacings:
        pair = fixed.shrunk(spacing), moving.shrunk(spacing * scale)
        shapes = [(level.fixed.grid.shape, level.moving.grid.shape) for level in made]
        if (pair[0].grid.shape, pair[1].grid.shape) not in shapes:
            made.append(Level.of(pair[0].evened(), pair[1].evened()))
    return tuple(made)


def _thick(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Values with at least two voxels along each axis: a single slice is repeated."""
    repeats = [(0, 1 if n == 1 else 0) for n in values.shape]
    return np.pad(values, repeats, mode="edge")
