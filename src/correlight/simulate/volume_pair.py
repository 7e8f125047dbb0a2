"""Two volumes of one specimen with the transform between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.simulate.volume import Rng, SolidKind, solid
from correlight.simulate.volume_instruments import BlockFace, Focusing, Tomograph
from correlight.transforms import Affine

Couple = Literal["block face and confocal", "tomograph and two-photon"]


@dataclass(frozen=True, slots=True)
class _Setup:
    """Sizes of the two instruments, slices first, and what they look at."""

    kind: SolidKind
    fixed: tuple[tuple[int, int, int], tuple[float, float, float]]
    moving: tuple[tuple[int, int, int], tuple[float, float, float]]
    dyes: tuple[str, ...]


# Shapes and voxels of the two experiments of the publication behind the recipe log-mi-3d.
SETUPS: Mapping[Couple, _Setup] = MappingProxyType(
    {
        "block face and confocal": _Setup(
            "cells", ((247, 666, 903), (0.05, 0.14, 0.14)), ((16, 1024, 1024), (0.6, 0.22, 0.22)), ("organelles",)
        ),
        "tomograph and two-photon": _Setup(
            "tissue", ((1094, 1084, 896), (1.0, 1.0, 1.0)), ((107, 1024, 1024), (3.0, 0.59, 0.59)), ("vessels",)
        ),
    }
)


@dataclass(frozen=True, eq=False)
class VolumePair:
    """Two volumes and the truth.

    Parameters
    ----------
    fixed, moving : Image
        The structural volume and the light stack, or the reverse after `swapped`.
    moving_from_fixed : Affine
        The truth, micrometres to micrometres, on the spacings that the images state.
    """

    fixed: Image
    moving: Image
    moving_from_fixed: Affine

    def common_places(self, count: int, rng: Rng) -> Points:
        """Random places ``(count, 3)`` of the fixed volume that the moving one covers: where an error counts."""
        grid = self.fixed.grid
        places = grid.points(rng.uniform(-0.5, np.asarray(grid.shape) - 0.5, (40 * count, 3)))
        return np.asarray(places[self.moving.grid.contains(self.moving_from_fixed(places))][:count])

    def swapped(self) -> VolumePair:
        """The same pair with the roles exchanged."""
        return VolumePair(self.moving, self.fixed, self.moving_from_fixed.inverse())


def turn(rotation: float, mirror: bool, flip: bool, tilt: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.float64]:
    """The orthogonal ``(3, 3)`` map, (z, y, x), that tilts, then flips z, then turns about z as `Affine.similarity`.

    Parameters
    ----------
    rotation : float
        Degrees about z.
    mirror, flip : bool
        Whether x changes its sign before the rotation, and whether z does.
    tilt : (float, float)
        Degrees about the y axis and about the x axis.
    """
    in_plane = np.eye(3)
    in_plane[1:, 1:] = Affine.similarity(rotation, 1.0, mirror).linear
    a, b = np.deg2rad(tilt)
    about_y = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
    about_x = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
    return np.asarray(in_plane @ np.diag([-1.0 if flip else 1.0, 1, 1]) @ about_y @ about_x)


def volume_pair(
    couple: Couple = "block face and confocal",
    seed: int = 0,
    *,
    size: float = 1.0,
    rotation: float | None = None,
    mirror: bool | None = None,
    flip: bool | None = None,
    tilt: tuple[float, float] | None = None,
    scale: float | None = None,
    least_overlap: float = 0.5,
    specimens: tuple[int, int] | None = None,
    dyes: tuple[str, ...] | None = None,
) -> VolumePair:
    """Take two volumes of one specimen; what is not given is drawn.

    Parameters
    ----------
    couple : str
        Which instruments, at the sizes of the two published experiments.
    seed : int
        Seed of specimen, pose and noise.
    size : float
        Share of the published number of voxels along rows and columns (and along the slices of the tomograph), for
        quick looks.
    rotation, mirror, flip : optional
        Degrees about z; whether x, and whether z changes its sign.
    tilt : (float, float), optional
        Degrees about y and x; drawn within 1.5 degrees without.
    scale : float, optional
        How much larger things look to the moving instrument than its voxel size says; drawn within 15 %.
    least_overlap : float
        Least share of the smaller volume that the other covers.
    specimens : (int, int), optional
        Seeds of two different specimens, for pairs that do not belong together.
    dyes : tuple of str, optional
        Channels of the light stack.

    Returns
    -------
    VolumePair

    Raises
    ------
    UsageError
        If the size or the scale is not positive.

    Notes
    -----
    About a minute on one core for the first couple at full size.

    Examples
    --------
    >>> both = volume_pair(seed=1, size=0.1)
    >>> both.fixed.grid.shape, both.moving.grid.shape
    ((247, 67, 90), (16, 102, 102))
    """
    if not size > 0 or (scale is not None and not scale > 0):
        raise UsageError(f"Size and scale must be positive; got {size} and {scale}.")
    setup = SETUPS[couple]
    rng = np.random.default_rng([seed, 89])
    drawn = rng.uniform(0, 360), rng.uniform(np.log(1 / 1.15), np.log(1.15)), rng.uniform(-1.5, 1.5, 2)
    flips = rng.random(2) < 0.5
    linear = (float(np.exp(drawn[1])) if scale is None else scale) * turn(
        float(drawn[0]) if rotation is None else rotation,
        bool(flips[0]) if mirror is None else mirror,
        bool(flips[1]) if flip is None else flip,
        (float(drawn[2][0]), float(drawn[2][1])) if tilt is None else tilt,
    )
    deep = couple == "tomograph and two-photon"
    fixed, moving = (_grid(*sizes, size, deep) for sizes in (setup.fixed, setup.moving))
    moving_from_fixed = _placed(rng, fixed, moving, linear, least_overlap)
    centred = Affine.of(np.eye(3), -fixed.centre)
    reach = np.abs(np.vstack([fixed.corners(), moving_from_fixed.inverse()(moving.corners())]) - fixed.centre).max(0)
    seeds = specimens or (seed, seed)
    seen = [solid(setup.kind, number, (2 * reach[0] + 10, 2 * reach[1] + 10, 2 * reach[2] + 10)) for number in seeds]
    structure = Tomograph() if deep else BlockFace()
    focus = Focusing(0.4, 2.5, 300.0) if deep else Focusing()
    specimen_from_moving = Affine(centred.matrix @ moving_from_fixed.inverse().matrix)
    names = dyes or setup.dyes
    light = np.stack([focus.image(seen[1], dye, moving, specimen_from_moving, rng) for dye in names])
    return VolumePair(
        Image((structure.image(seen[0], fixed, centred, rng)[None],), fixed, ("electrons" if not deep else "X-rays",)),
        Image((light,), moving, names),
        moving_from_fixed,
    )


def _grid(shape: tuple[int, int, int], spacing: tuple[float, float, float], size: float, deep: bool) -> Grid:
    slices = round(shape[0] * size) if deep else shape[0]
    return Grid.of((slices, round(shape[1] * size), round(shape[2] * size)), spacing, unit="micrometre")


def _placed(rng: Rng, fixed: Grid, moving: Grid, linear: NDArray[np.float64], least: float) -> Affine:
    """Shift the volumes at random until they share enough of the smaller one."""
    room = (np.asarray(moving.extent) + np.abs(linear) @ fixed.extent) / 2
    places = fixed.lattice(20)
    relative = float(np.prod(fixed.extent)) * abs(float(np.linalg.det(linear))) / float(np.prod(moving.extent))
    for attempt in range(400):
        shift = rng.uniform(-1, 1, 3) * room * (1 - attempt / 399)
        pose = Affine.of(linear, moving.centre + shift - linear @ fixed.centre)
        if float(np.mean(moving.contains(pose(places)))) * max(1.0, relative) >= least:
            break
    return pose
