"""Limits of the search: from the pixel sizes in the files, from the caller, or none."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.search.pose import Pose
from correlight.transforms import Transform
from correlight.transforms.bending import touching

# What anybody may ask for: degrees, moving pixels per fixed pixel, and how many times too long an axis is.
ROTATIONS = -360.0, 360.0
SCALES = 1e-3, 1e3
STRETCH_LIMITS = 1.0, 3.0
# Scales within this factor of the middle of a range are common.
COMMON_SCALES = 2.2
# Rivals of a pose that was found by a quick search are sought at scales within this factor of its own.
_NEAR_FOUND = 1.3
# On how many times finer pixels images with little in common are compared: of them a common part of 12 to 30 % has as
# many as one of 27 to 67 % usually has.
_FINER = 1.5
# Around a given start the search extends this far: degrees, relative scale, and shift as a share of the width.
_START_ROTATION, _START_SCALE, _START_SHIFT = 15.0, 0.15, 0.3
# A place that somebody clicked in both images lies within this share of the width of where a pose puts it, and two such
# places determine the scale within this ratio, unless they are too close together (as a share of the width).
_CLICK_SHIFT, _CLICK_SCALE, _CLICKS_APART = 0.15, 0.4, 0.25


@dataclass(frozen=True, slots=True, eq=False)
class StartPoints:
    """One or two points set roughly in both images: too few to determine a transform.

    One determines neither rotation nor scale, and two leave open whether the image is mirrored.

    Parameters
    ----------
    fixed, moving : (N, 2) arrays
        The places, each in the unit of its image.

    Raises
    ------
    UsageError
        If the shapes differ, there is no place, or two are one in either image.
    """

    fixed: Points
    moving: Points

    def __post_init__(self) -> None:
        if self.fixed.ndim != 2 or self.fixed.shape != self.moving.shape or not len(self.fixed):
            raise UsageError(
                f"A start from landmarks takes equally many points in both images, at least one; "
                f"got {self.fixed.shape} and {self.moving.shape}."
            )
        for role, points in (("fixed", self.fixed), ("moving", self.moving)):
            if len(np.unique(points, axis=0)) < len(points):
                raise UsageError(f"The {role} landmarks all lie on one place; set one elsewhere or give a single pair.")

    def scale(self, fixed: Grid) -> float | None:
        """Moving units per fixed unit between two places; None where they determine none."""
        if len(self.fixed) < 2:
            return None
        here, there = (float(np.linalg.norm(points[1] - points[0])) for points in (self.fixed, self.moving))
        return there / here if here > _CLICKS_APART * max(fixed.extent) and there > 0 else None


Start = Transform | StartPoints


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
    finer : float
        On how many times finer pixels than usual images are compared, so that a small common part shows as much.
    common_scales : bool
        Whether only scales in the middle of a wide range are tried.
    last_resort : bool
        Whether these poses are searched only because nothing was accepted among the usual ones.
    """

    scale: tuple[float, float]
    rotation: tuple[float, float] = (0.0, 360.0)
    mirror: tuple[bool, ...] = (False, True)
    least_overlap: float = 0.35
    finer: float = 1.0
    common_scales: bool = False
    last_resort: bool = False

    def for_less_overlap(self, least: float) -> Limits:
        """The same with less in common, in the middle of a wide range of scales only.

        Parameters
        ----------
        least : float
            Least common area as a fraction of the smaller field.
        """
        return replace(self, least_overlap=least, finer=_FINER, common_scales=True, last_resort=True)

    def for_stretch(self, factor: float) -> Limits:
        """The same where one side of the pixels of one image is off by a factor, and nobody knows which.

        As for less overlap, only the middle of a wide range of scales is searched, which needs no widening.
        """
        slack = 1.0 if self.scale[1] > COMMON_SCALES**2 * self.scale[0] else float(np.sqrt(factor))
        scale = self.scale[0] / slack, self.scale[1] * slack
        return replace(self, scale=scale, common_scales=True, last_resort=True)

    def near(self, scale: float) -> Limits:
        """The same for scales near one that was found already."""
        least, greatest = max(self.scale[0], scale / _NEAR_FOUND), min(self.scale[1], scale * _NEAR_FOUND)
        return replace(self, scale=(least, greatest))

    def is_common(self, scale: float) -> bool:
        """Whether a scale lies in the middle of the range."""
        middle = np.sqrt(self.scale[0] * self.scale[1])
        return bool(abs(np.log(scale / middle)) <= np.log(COMMON_SCALES))

    def nearest(self, rotation: float, scale: float) -> tuple[float, float]:
        """The rotation (in [0, 360)) and scale within the limits that come nearest to those given."""
        first, last = self.rotation
        if last - first < 360:
            half = (last - first) / 2
            off = (rotation - first - half + 180) % 360 - 180
            rotation = first + half + min(max(off, -half), half)
        return rotation % 360, min(max(scale, self.scale[0]), self.scale[1])


def pixel_size(grid: Grid) -> float:
    """Geometric mean of the pixel size over the axes in the unit of the grid; of a single section, in its plane."""
    sizes = grid.spacing[1:] if grid.ndim == 3 and grid.shape[0] == 1 else grid.spacing
    return float(np.prod(sizes) ** (1 / len(sizes)))


def pixel_sizes(fixed: Grid, moving: Grid) -> tuple[float, float]:
    """Pixel sizes that compare: of a section and a stack, both in the plane."""
    if fixed.ndim == moving.ndim == 3 and 1 in (fixed.shape[0], moving.shape[0]):
        one, other = (float(np.sqrt(np.prod(grid.spacing[1:]))) for grid in (fixed, moving))
        return one, other
    return pixel_size(fixed), pixel_size(moving)


def claimed_scale(fixed: Grid, moving: Grid) -> float | None:
    """Moving pixels per fixed pixel as both files claim it; None where one of them states no pixel size."""
    one, other = pixel_sizes(fixed, moving)
    return one / other if fixed.calibrated and moving.calibrated else None


def limits_for(
    fixed: Grid,
    moving: Grid,
    start: Start | None,
    rotation: tuple[float, float] | None,
    scale: tuple[float, float] | None,
    mirror: bool,
    *,
    unknown_scale: tuple[float, float],
    calibrated_tolerance: float | None,
    least_overlap: float,
) -> Limits:
    """What may be searched, in the units of the two grids.

    Parameters
    ----------
    fixed, moving : Grid
        The two images.
    start : Transform or StartPoints, optional
        An approximate ``moving_from_fixed``; rotation and scale stay near it, and its handedness is kept. Of clicks
        only the scale is kept, where they determine it.
    rotation : (first, last), optional
        Degrees.
    scale : (least, greatest), optional
        Moving pixels per fixed pixel.
    mirror : bool
        Whether mirrored poses are tried.
    unknown_scale : (least, greatest)
        Moving pixels per fixed pixel where nothing else is known.
    calibrated_tolerance : float, optional
        By how much the scale may differ from what both files claim; without it the stated sizes are no limit.
    least_overlap : float
        Least common area as a fraction of the smaller field.
    """
    one, other = pixel_sizes(fixed, moving)
    units = other / one
    hands = (False, True) if mirror else (False,)
    angles = (0.0, 360.0)
    around, near = None, _START_SCALE
    if isinstance(start, StartPoints):
        around, near = start.scale(fixed), _CLICK_SCALE
    elif start is not None:
        middle = touching(start, fixed.centre)
        around, hands = middle.scale, (middle.mirrored,)
        angles = (middle.rotation - _START_ROTATION, middle.rotation + _START_ROTATION)
    if scale is not None:
        spans = (scale[0] * units, scale[1] * units)
    elif around is not None and not (isinstance(start, StartPoints) and claimed_scale(fixed, moving) is not None):
        # Two rough points give the scale less exactly than two files that state it.
        spans = (around / (1 + near), around * (1 + near))
    elif claimed_scale(fixed, moving) is not None:
        # Even where it is no limit, the stated scale is the most likely: the search begins there.
        tolerance = calibrated_tolerance
        spans = unknown_scale if tolerance is None else (1 / (1 + tolerance), 1 + tolerance)
    else:
        # Images of very unlike pixel counts most likely show fields of like size.
        fields = max(moving.shape) / max(fixed.shape)
        spans = (min(unknown_scale[0], fields / 2) * units, max(unknown_scale[1], fields * 2) * units)
    return Limits(spans, rotation or angles, hands, least_overlap)


def near_start(poses: list[Pose], start: Start | None, fixed: Grid) -> list[Pose]:
    """The poses that lay the fixed field, or each clicked place, near where a start lays it; all without a start."""
    if start is None:
        return poses
    clicked = isinstance(start, StartPoints)
    points = start.fixed if isinstance(start, StartPoints) else fixed.lattice(4)
    there = start.moving if isinstance(start, StartPoints) else start(points)

    def shift(pose: Pose) -> float:
        apart = np.linalg.norm(pose.moving_from_fixed(points) - there, axis=1)
        return float((apart.max() if clicked else apart.mean()) / pose.linear.scale / max(fixed.extent))

    return [pose for pose in poses if shift(pose) <= (_CLICK_SHIFT if clicked else _START_SHIFT)]
