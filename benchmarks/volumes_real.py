"""Pairs of real stacks for `benchmarks.volumes`: known displacements, and light made from labelled electron slices."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.io import read
from correlight.registration.register import register
from correlight.simulate.volume_pair import VolumePair, turn
from correlight.transforms import Affine

# Rotation about z, mirror, z reversed, tilt, and shift in shares of the field of what is moved.
_MOVES: tuple[tuple[float, bool, bool, tuple[float, float], tuple[float, float, float]], ...] = (
    (0.0, False, False, (0.0, 0.0), (0.05, -0.04, 0.05)),
    (8.0, False, False, (3.0, -2.0), (0.05, -0.04, 0.03)),
    (75.0, False, False, (0.0, 0.0), (-0.04, 0.05, -0.04)),
    (200.0, True, False, (1.0, -1.0), (0.0, 0.03, -0.04)),
    (310.0, False, True, (0.0, 0.0), (0.04, 0.03, 0.05)),
)
MOVES = len(_MOVES)
# Folders of electron slices and labels, the value of the label that shines (None for all but 0), voxels in
# micrometres, and how many times the specimen was expanded for the light microscope.
_LABELLED: dict[str, tuple[str, str, int | None, tuple[float, float, float], float]] = {
    "vnc membranes": ("vnc/raw", "vnc/membranes", 0, (0.045, 0.0046, 0.0046), 4.0),
    "vnc mitochondria": ("vnc/raw", "vnc/mitochondria", None, (0.045, 0.0046, 0.0046), 4.0),
    "isbi2012 membranes": ("isbi2012/image", "isbi2012/label", 0, (0.05, 0.004, 0.004), 8.0),
}
NAMES = ("neubias", *_LABELLED)
# The light microscope of the labelled stacks: standard deviations of its point-spread function and voxels, on the
# expanded specimen; photons where all is labelled; and the share of the electron field that it sees.
_BLUR, _VOXEL, _PHOTONS, _SEEN = (0.54, 0.3, 0.3), (0.48, 0.16, 0.16), 60, 0.8


@dataclass(frozen=True, eq=False)
class RealPair:
    """Two stacks, the truth, the places of the fixed one at which errors count, and the error that is still right.

    Parameters
    ----------
    stacks : VolumePair
        The two and the truth.
    places : (N, 3) array
        In micrometres of the fixed stack.
    limits : (float, float)
        Across and along z: a voxel of the coarser stack.
    """

    stacks: VolumePair
    places: Points
    limits: tuple[float, float]

    def start(self) -> Affine:
        """The truth, off by one voxel along z, three across and 3 degrees about z."""
        across, along = self.limits
        middle = self.places.mean(axis=0)
        linear = turn(3.0, False, False)
        off = Affine.of(linear, middle - linear @ middle + (along, 3 * across, -3 * across))
        return Affine(self.stacks.moving_from_fixed.matrix @ off.matrix)


def real_pair(name: str, move: int, data: Path) -> RealPair:
    """One of `NAMES` after one of `MOVES` displacements.

    Parameters
    ----------
    name : str
        Which stack.
    move : int
        From 0, where the rotation is none.
    data : Path
        The folder of real images.
    """
    return _nucleus(data, move) if name == "neubias" else _rendered(data, name, move)


def moved(stack: Image, move: int, shape: tuple[int, int, int]) -> tuple[Image, Affine]:
    """A stack on a grid of another shape after a displacement, and that displacement."""
    rotation, mirror, flip, tilt, shift = _MOVES[move]
    linear = turn(rotation, mirror, flip, tilt)
    grid = Grid.of(shape, stack.grid.spacing, unit="micrometre")
    target = grid.centre + np.asarray(shift) * stack.grid.extent
    displacement = Affine.of(linear, target - linear @ stack.grid.centre)
    values, footprint = warp(stack, stack.grid, displacement.inverse(), grid)
    return Image((values,), grid, stack.channels, mask=footprint), displacement


def nucleus(data: Path) -> tuple[Image, Image]:
    """Confocal and wide-field DNA of one nucleus. The two channels of the file do not lie on each other."""
    stack = read(data / "neubias" / "xyzc_16bit__dna_conf_wf.tif")
    both = np.asarray(stack.levels[0])
    return Image((both[:1],), stack.grid, ("confocal",)), Image((both[1:],), stack.grid, ("wide field",))


def around_nucleus(grid: Grid) -> Points:
    """Places around the nucleus, which is all that the stacks show."""
    places = grid.lattice(9)
    return np.asarray(places[np.all(np.abs(places - (11.0, 35.0, 29.0)) < (8, 14, 16), axis=1)])


def _nucleus(data: Path, move: int) -> RealPair:
    confocal, wide_field = nucleus(data)
    # What the channels of the file are apart is found from a start, without any displacement.
    apart = register(confocal, wide_field, model="rigid", start=Affine.identity(3), workers=1).moving_from_fixed
    assert isinstance(apart, Affine)
    displaced, displacement = moved(wide_field, move, (48, 140, 140))
    stacks = VolumePair(confocal, displaced, Affine(displacement.matrix @ apart.matrix))
    return RealPair(stacks, around_nucleus(confocal.grid), (0.512, 0.512))


def _rendered(data: Path, name: str, move: int) -> RealPair:
    raw, labelled, value, spacing, expansion = _LABELLED[name]
    blur, voxel = np.divide(_BLUR, expansion), np.divide(_VOXEL, expansion)
    slices, labels = _slices(data / raw), _slices(data / labelled)
    electrons = Image.from_array(slices[None], spacing=spacing)
    glow = (labels > 0 if value is None else labels == value).astype(np.float32)
    glow = ndimage.gaussian_filter(glow, blur / spacing, truncate=3.0)
    rotation, mirror, flip, tilt, shift = _MOVES[move]
    extent = np.asarray(electrons.grid.extent)
    grid = Grid.of(np.rint(_SEEN * extent / voxel).astype(int).tolist(), voxel.tolist(), unit="micrometre")
    linear = turn(rotation, mirror, flip, tilt)
    target = grid.centre + np.asarray(shift) * extent
    truth = Affine.of(linear, target - linear @ electrons.grid.centre)
    light, footprint = warp(glow[None], electrons.grid, truth.inverse(), grid)
    counts = np.random.default_rng([move, 41]).poisson(_PHOTONS * light + 3).astype(np.uint16)
    stacks = VolumePair(electrons, Image((counts,), grid, ("light",), mask=footprint), truth)
    return RealPair(stacks, stacks.common_places(2000, np.random.default_rng(5)), (voxel[1], voxel[0]))


def _slices(folder: Path) -> NDArray[Any]:
    """Every image of a folder in the order of the numbers that they are called by."""
    paths = sorted(folder.iterdir(), key=lambda path: int(path.stem))
    return np.stack([np.asarray(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)) for path in paths])
