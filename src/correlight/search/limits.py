"""Where the search may look: from what the files claim, what the caller knows, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from correlight.geometry import Grid
from correlight.pose import Pose
from correlight.transforms import Affine, Transform

# Around a given start the search looks this far: degrees, relative scale, and shift as a share of the width.
_START_ROTATION, _START_SCALE, _START_SHIFT = 15.0, 0.15, 0.3


@dataclass(frozen=True, slots=True)
class Limits:
    """Which poses are possible.

    Parameters
    ----------
    scale : tuple of float
        Least and greatest moving units per fixed unit.
    rotation : tuple of float
        First and last angle in degrees, as in `Affine.similarity`; a span of 360 or more means any.
    mirror : tuple of bool
        Which of not mirrored and mirrored are tried.
    least_overlap : float
        Least common valid area as a fraction of the smaller field.
    """

    scale: tuple[float, float]
    rotation: tuple[float, float] = (0.0, 360.0)
    mirror: tuple[bool, ...] = (False, True)
    least_overlap: float = 0.35

    def nearest(self, rotation: float, scale: float) -> tuple[float, float]:
        """The rotation (in [0, 360)) and scale within the limits that come nearest to those given."""
        first, last = self.rotation
        if last - first < 360:
            half = (last - first) / 2
            off = (rotation - first - half + 180) % 360 - 180
            rotation = first + half + min(max(off, -half), half)
        return rotation % 360, min(max(scale, self.scale[0]), self.scale[1])


def pixel_size(grid: Grid) -> float:
    """Geometric mean of the pixel size over the axes, in the unit of the grid."""
    return float(np.prod(grid.spacing) ** (1 / grid.ndim))


def claimed_scale(fixed: Grid, moving: Grid) -> float | None:
    """Moving pixels per fixed pixel as both files claim it; None where one of them states no pixel size."""
    return pixel_size(fixed) / pixel_size(moving) if fixed.calibrated and moving.calibrated else None


def limits_for(
    fixed: Grid,
    moving: Grid,
    start: Transform | None,
    rotation: tuple[float, float] | None,
    scale: tuple[float, float] | None,
    mirror: bool,
    *,
    unknown_scale: tuple[float, float],
    calibrated_tolerance: float,
    least_overlap: float,
) -> Limits:
    """What may be searched, in the units of the two grids.

    Parameters
    ----------
    fixed, moving : Grid
        The two images.
    start : Transform, optional
        An approximate ``moving_from_fixed``; rotation and scale stay near it, and its handedness is kept.
    rotation : (first, last), optional
        Degrees.
    scale : (least, greatest), optional
        Moving pixels per fixed pixel.
    mirror : bool
        Whether mirrored poses are tried.
    unknown_scale : (least, greatest)
        Moving pixels per fixed pixel where nothing else is known.
    calibrated_tolerance : float
        By how much the scale may differ from what both files claim.
    least_overlap : float
        Least common area as a fraction of the smaller field.
    """
    units = pixel_size(moving) / pixel_size(fixed)
    hands = (False, True) if mirror else (False,)
    angles = (0.0, 360.0)
    if start is not None:
        middle = _linearised(start, fixed)
        hands = (middle.mirrored,)
        angles = (middle.rotation - _START_ROTATION, middle.rotation + _START_ROTATION)
    if scale is not None:
        spans = (scale[0] * units, scale[1] * units)
    elif start is not None:
        spans = (middle.scale / (1 + _START_SCALE), middle.scale * (1 + _START_SCALE))
    elif claimed_scale(fixed, moving) is not None:
        spans = (1 / (1 + calibrated_tolerance), 1 + calibrated_tolerance)
    else:
        # Pictures of very unlike pixel counts most likely show fields of like size.
        fields = max(moving.shape) / max(fixed.shape)
        spans = (min(unknown_scale[0], fields / 2) * units, max(unknown_scale[1], fields * 2) * units)
    return Limits(spans, rotation or angles, hands, least_overlap)


def near_start(poses: list[Pose], start: Transform | None, fixed: Grid) -> list[Pose]:
    """The poses that lay the fixed field near where a start lays it; all of them without a start."""
    if start is None:
        return poses
    points = fixed.lattice(4)
    there = start(points)

    def shift(pose: Pose) -> float:
        apart = np.linalg.norm(pose.moving_from_fixed(points) - there, axis=1).mean()
        return float(apart / pose.linear.scale / max(fixed.extent))

    return [pose for pose in poses if shift(pose) <= _START_SHIFT]


def _linearised(start: Transform, fixed: Grid) -> Affine:
    """The affine map that touches a transform in the middle of the fixed image."""
    middle = fixed.centre[None]
    linear = start.jacobian(middle)[0]
    return Affine.of(linear, start(middle)[0] - linear @ middle[0])
