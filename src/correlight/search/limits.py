"""Limits of the search: from the pixel sizes in the files, from the caller, or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.search.pose import Pose
from correlight.transforms import Transform
from correlight.transforms.bending import touching

# What anybody may ask for: degrees, moving pixels per fixed pixel, and how many times too long an axis is.
ROTATIONS = -360.0, 360.0
SCALES = 1e-3, 1e3
STRETCH_LIMITS = 1.0, 3.0
# Where nothing is accepted, poses with so small a common part of the smaller field are looked at, too.
SMALLEST_OVERLAP = 0.12
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

    def rotations(self, fixed: Grid) -> tuple[tuple[float, float], tuple[float, float]] | None:
        """Degrees between which the rotation lies by two places: of images as they are, and of mirrored ones.

        None where they leave it open: one place, or two that are closer together than both may be off.
        """
        if len(self.fixed) < 2:
            return None
        here, there = (points[1] - points[0] for points in (self.fixed, self.moving))
        off = 2 * _CLICK_SHIFT * max(fixed.extent) / float(np.linalg.norm(here))
        if off >= 1:
            return None
        half = float(np.degrees(np.arcsin(off)))
        middles = (_angle(here * (1, -1 if mirrored else 1), there) for mirrored in (False, True))
        plain, mirrored = ((middle - half, middle + half) for middle in middles)
        return plain, mirrored


def _angle(one: Points, other: Points) -> float:
    """Degrees by which one vector (y, x) is rotated to point along another, as `Affine.similarity` counts them."""
    across = one[0] * other[1] - one[1] * other[0]
    return float(np.degrees(np.arctan2(across, one @ other)))


Start = Transform | StartPoints


@dataclass(frozen=True, slots=True, eq=False)
class NearStart:
    """Where a start lays places of the fixed image, and how far from there a pose may lay them.

    Parameters
    ----------
    fixed, moving : (N, 2) arrays
        The places, each in the unit of its image, or all in pixels of one size.
    most : float
        How far, in the unit of the first.
    all_of_them : bool
        Whether that holds for every place, as for those that somebody set, or for their mean.
    """

    fixed: Points
    moving: Points
    most: float
    all_of_them: bool

    @classmethod
    def of(cls, start: Start, fixed: Grid) -> NearStart:
        """What a start says of the places that were set in both images, or of a lattice over the fixed one."""
        wide = max(fixed.extent)
        if isinstance(start, StartPoints):
            return cls(start.fixed, start.moving, _CLICK_SHIFT * wide, True)
        points = fixed.lattice(4)
        return cls(points, start(points), _START_SHIFT * wide, False)

    def keeps(self, pose: Pose) -> bool:
        """Whether a pose lays the places near enough."""
        apart = np.linalg.norm(pose.moving_from_fixed(self.fixed) - self.moving, axis=1)
        return bool(self._of_all(apart) / pose.linear.scale <= self.most)

    def in_pixels(self, fixed: Grid, moving: Grid) -> NearStart:
        """The same in pixels of two images whose pixels have one size under the poses that are compared."""
        most = self.most / pixel_size(fixed)
        return NearStart(fixed.index(self.fixed), moving.index(self.moving), most, self.all_of_them)

    def exchanged(self) -> NearStart:
        """The same of the exchanged images, in pixels."""
        return NearStart(self.moving, self.fixed, self.most, self.all_of_them)

    def shifts(self, apart: Points, rows: Points, columns: Points, slack: float = 0.0) -> NDArray[np.bool_]:
        """Which shifts bring the places near enough, ``(R, C)``.

        Parameters
        ----------
        apart : (N, 2) array
            From each fixed place to its moving one without a shift, in pixels.
        rows, columns : (R,) and (C,) arrays
            The shifts along either axis.
        slack : float
            How much further they may lie.
        """
        away = np.hypot(apart[:, 0, None, None] + rows[:, None], apart[:, 1, None, None] + columns)
        return np.asarray(self._of_all(away) <= self.most + slack)

    def _of_all(self, apart: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(apart.max(axis=0) if self.all_of_them else apart.mean(axis=0))


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
    mirrored_rotation : tuple of float, optional
        The rotation of mirrored poses, where that is another.
    start : NearStart, optional
        Where poses lay places, if a start says so.
    """

    scale: tuple[float, float]
    rotation: tuple[float, float] = (0.0, 360.0)
    mirror: tuple[bool, ...] = (False, True)
    least_overlap: float = 0.35
    finer: float = 1.0
    common_scales: bool = False
    last_resort: bool = False
    mirrored_rotation: tuple[float, float] | None = None
    start: NearStart | None = None

    def rotations(self, mirror: bool) -> tuple[float, float]:
        """First and last angle in degrees of poses that are mirrored or not."""
        return self.mirrored_rotation if mirror and self.mirrored_rotation is not None else self.rotation

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

    def scored_as(self, other: Limits) -> bool:
        """Whether a rotation and a scale have the same best shifts, ranked alike, within these limits and others."""
        one, two = ((each.scale, each.least_overlap, each.finer, each.start) for each in (self, other))
        return one == two

    def is_common(self, scale: float) -> bool:
        """Whether a scale lies in the middle of the range."""
        middle = np.sqrt(self.scale[0] * self.scale[1])
        return bool(abs(np.log(scale / middle)) <= np.log(COMMON_SCALES))

    def kept(self, poses: Sequence[Pose]) -> list[Pose]:
        """The poses that lay places near where a start lays them; all without a start."""
        return [pose for pose in poses if self.start is None or self.start.keeps(pose)]

    def nearest(self, rotation: float, scale: float, mirror: bool = False) -> tuple[float, float]:
        """The rotation (in [0, 360)) and scale within the limits that come nearest to those given."""
        first, last = self.rotations(mirror)
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
        the scale is kept, where they determine it, and the rotation of either handedness.
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
    around, near, mirrored = None, _START_SCALE, None
    if isinstance(start, StartPoints):
        around, near = start.scale(fixed), _CLICK_SCALE
        angles, mirrored = start.rotations(fixed) or (angles, None)
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
    return Limits(
        spans,
        rotation or angles,
        hands,
        least_overlap,
        mirrored_rotation=None if rotation is not None else mirrored,
        start=None if start is None else NearStart.of(start, fixed),
    )
