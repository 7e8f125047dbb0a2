"""The search of two stacks, or a section and a stack: in the plane as images are searched, then in depth and tilt.

Projections or slabs are searched in the plane, by the same search as images; every depth, way up and tilt is tried for
the poses that it lists, and mutual information of samples ranks what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.volume import Volume
from correlight.methods.task import Candidate, Task
from correlight.refine.linear import refine
from correlight.refine.samples import LinearTransform, distance
from correlight.refine.volumes import Level, VolumePair, levels_of
from correlight.search.correlate import MakeEngine
from correlight.search.depth import ranked, search_depth, views
from correlight.search.limits import Limits
from correlight.search.patches import patch_shift
from correlight.search.pose import Pose
from correlight.search.poses import search_poses
from correlight.transforms import Affine

# Voxels of the larger volume as it is compared, and their least side as a share of the distance of the coarser slices.
_MOST_VOXELS, _FINER_THAN_SLICES = 5_000_000, 0.7
_FEWEST_ACROSS = 64
# Sizes of voxels from coarse to fine, in units of the finest.
_PYRAMID = (4.0, 2.0, 1.0)
# Poses in the plane that are followed into space, and how many of those are refined.
_PLANES, _REFINED = 6, 6
# Where the best pose leaves all others this far behind, no large tilt is tried.
_CLEAR = 1.25
# Rotations that bring z, y and x of the moving volume along z; with turns about z and both ways up all orientations.
_AXES_ALONG_Z = (
    np.eye(3),
    np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
)
# Rivals of a given start are displaced by this share of the field, those of a shift that patches found by this.
_DISPLACED, _AROUND = 0.12, 0.25
# Poses closer than this, in micrometres of the smaller volume, are one.
_SAME = 3.0

# Poses in the plane of two volumes, best first.
InThePlane = Callable[[Volume, Volume], list[Pose]]


@dataclass(frozen=True, eq=False)
class VolumeCandidate(Candidate):
    """One pair of channels with its ranked poses.

    Parameters
    ----------
    compared : VolumePair
        The two volumes at several sizes of voxels, from the smaller, which is sampled, to the larger.
    swapped : bool
        Whether the smaller one is the moving one.
    moving_from_turned : Affine
        From the moving volume with its axes exchanged, which is what is compared, to the moving volume.
    search : float
        Score of the best pose in the plane over that of the next; NaN where there is no next.
    elsewhere : float
        Score of the best rival that is not among the poses.
    """

    compared: VolumePair
    swapped: bool
    moving_from_turned: Affine
    search: float = float("nan")
    elsewhere: float = 0.0

    @property
    def margin(self) -> float:
        """Score of the best pose over that of the next, if there is a next."""
        if not self.poses:
            return 0.0
        rival = max(self.elsewhere, self.poses[1].score if len(self.poses) > 1 else 0.0)
        return self.poses[0].score / rival if rival > 0 else 1.0

    def to_compared(self, moving_from_fixed: LinearTransform) -> LinearTransform:
        """A pose of the two images as a pose of the two volumes that are compared."""
        turned = self.moving_from_turned.inverse() @ moving_from_fixed
        return turned.inverse() if self.swapped else turned

    def from_compared(self, pose: LinearTransform) -> LinearTransform:
        """A pose of the two volumes that are compared as ``moving_from_fixed``."""
        return self.moving_from_turned @ (pose.inverse() if self.swapped else pose)


def by_projections(task: Task, engine: MakeEngine) -> InThePlane:
    """Every rotation, mirror, scale and shift of projections, or of slabs of the thicker volume."""

    def poses(fixed: Volume, moving: Volume) -> list[Pose]:
        middle = _middle(task.limits)
        thick = fixed.grid.extent[0] * middle > moving.grid.extent[0]
        found: list[Pose] = []
        for first, last in views(fixed, moving, middle) if thick else views(moving, fixed, 1 / middle):
            one = fixed.flat(first, last) if thick else fixed.flat(0, fixed.grid.shape[0])
            other = moving.flat(0, moving.grid.shape[0]) if thick else moving.flat(first, last)
            found += search_poses(one, other, task.limits, engine, workers=task.workers)
        return sorted(found, key=lambda pose: -pose.score)

    return poses


def by_patches(task: Task) -> InThePlane:
    """Shifts that patches vote for; volumes are taken as they lie."""
    return lambda fixed, moving: patch_shift(fixed, moving, _middle(task.limits))


def find(task: Task, in_the_plane: InThePlane, every_axis: bool, only_shifts: bool = False) -> VolumeCandidate:
    """The pair of channels whose best pose stands out most.

    Parameters
    ----------
    task : Task
        Of two stacks with stated voxel sizes; a section is a stack of one slice.
    in_the_plane : callable
        Finds poses in the plane.
    every_axis : bool
        Whether any of the three axes of the moving volume may lie along z.
    only_shifts : bool
        Whether poses in the plane are shifts alone, so that z reversed would be a mirror image.

    Raises
    ------
    UsageError
        If a stack has the same value everywhere.

    Notes
    -----
    Working volumes have at most about 5 million voxels whatever the size of the files, which are read slab by slab.
    """
    of_fixed, of_moving = task.pair.channels
    pairs = [(one, other) for one in of_fixed for other in of_moving]
    candidates = []
    for number, channels in enumerate(pairs):
        task.report("search", number / len(pairs))
        candidates.append(_find(task, in_the_plane, channels, every_axis, only_shifts))
    return max(candidates, key=lambda found: (bool(found.poses), found.margin))


def working_volumes(task: Task, channels: tuple[int | None, int | None]) -> tuple[Volume, Volume]:
    """One channel of each stack on the voxels that are compared.

    Raises
    ------
    UsageError
        If one has the same value everywhere.
    """
    images: tuple[Image, Image] = (task.pair.fixed, task.pair.moving)
    spacing = _working_spacing(images[0].grid, images[1].grid)
    sizes = (spacing, spacing * _middle(task.limits))
    fixed, moving = (
        Volume.of(image, channel, size, cut=True) for image, channel, size in zip(images, channels, sizes, strict=True)
    )
    for role, volume in (("fixed", fixed), ("moving", moving)):
        if not np.ptp(volume.values[volume.mask]) > 0:
            raise UsageError(f"The {role} stack has the same value everywhere; structure was expected.")
    return fixed, moving


def _find(
    task: Task,
    in_the_plane: InThePlane,
    channels: tuple[int | None, int | None],
    every_axis: bool,
    only_shifts: bool,
) -> VolumeCandidate:
    """Ranked poses of one pair of channels."""
    fixed, moving = working_volumes(task, channels)
    search = _Search(task, channels, in_the_plane, only_shifts)
    if not every_axis:
        return search.along(fixed, moving, Affine.identity(3))
    found = []
    for linear in _AXES_ALONG_Z:
        turned = moving.turned_axes(linear)
        back = Affine.of(linear.T, moving.grid.centre - linear.T @ turned.grid.centre)
        found.append(search.along(fixed, turned, back))
    best = max(found, key=lambda one: one.poses[0].score if one.poses else 0.0)
    rivals = [one.poses[0].score for one in found if one is not best and one.poses]
    return replace(best, elsewhere=max(rivals, default=0.0))


@dataclass(frozen=True, eq=False)
class _Search:
    """The search for one pair of channels; every orientation of its axes is tried by itself."""

    task: Task
    channels: tuple[int | None, int | None]
    in_the_plane: InThePlane
    only_shifts: bool

    def along(self, fixed: Volume, moving: Volume, moving_from_turned: Affine) -> VolumeCandidate:
        """Ranked poses of two volumes whose z axes point roughly along one line."""
        middle = _middle(self.task.limits)
        swapped = moving.size < fixed.size * middle**3
        pair = compared(fixed, moving, self.task, swapped)
        none = VolumeCandidate(self.channels, (), pair, swapped, moving_from_turned)
        if self.task.start is not None:
            assert isinstance(self.task.start, Affine)
            return self._near(none, none.to_compared(self.task.start))
        planes = self.in_the_plane(fixed, moving)
        if swapped:
            planes = [replace(plane, moving_from_fixed=plane.linear.inverse()) for plane in planes]
        return self._anywhere(none, planes)

    def _near(self, none: VolumeCandidate, start: LinearTransform) -> VolumeCandidate:
        """The pose near a start; the caller chose it, and rivals only show how unambiguous it is."""
        pair, coarse = none.compared, none.compared.coarse
        begin = refine(
            pair, start, "similarity", measure="mutual information", levels=tuple(range(len(pair.sizes) - 1))
        )
        planes = [Pose(Affine.of(begin.linear[1:, 1:], begin.offset[1:]), 1.0, 1.0)]
        spatial = search_depth(coarse, planes, least_overlap=self.task.limits.least_overlap, tilt=0.0)
        own = _better(pair, [Pose(begin, 0.0, 0.0)])
        grid = pair.fixed_grid
        others = [pose for pose in _better(pair, spatial) if distance(pose.linear, own[0].linear, grid) > _SAME]
        return self._made(none, [*own, *others], elsewhere=_displaced(coarse, own[0].linear))

    def _anywhere(self, none: VolumeCandidate, planes: list[Pose]) -> VolumeCandidate:
        """Ranked poses in space from poses in the plane."""
        pair, coarse, least = none.compared, none.compared.coarse, self.task.limits.least_overlap
        search, elsewhere = float("nan"), 0.0
        if len(planes) > 1:
            search = planes[0].score / max(planes[1].score, 1e-9)
        tried = planes[:_PLANES]
        if self.only_shifts and planes:
            # A search for the shift alone lists few rivals, so that some are made.
            tried = [*tried, *(Pose(other, 0.0, 1.0) for other in _around(planes[0].linear, _plane_grid(pair)))]
        spatial = search_depth(coarse, tried, least_overlap=least, tilt=0.0, turn=not self.only_shifts)
        if self.only_shifts:
            # Without a rotation, z reversed is a mirror image: no pose for a search for a shift, but a rival.
            both = search_depth(coarse, tried, least_overlap=least, tilt=0.0)
            turned = [pose for pose in both if pose.linear.linear[0, 0] < 0]
            elsewhere = max((pose.score for pose in _better(pair, turned)), default=0.0)
        poses = _better(pair, spatial)
        if not poses or (len(poses) > 1 and poses[0].score < _CLEAR * poses[1].score):
            tilted = search_depth(coarse, planes[:_PLANES], least_overlap=least, turn=not self.only_shifts)
            poses = ranked([*poses, *_better(pair, tilted)], pair.fixed_grid, _REFINED)
        return self._made(none, poses, search, elsewhere)

    def _made(
        self, none: VolumeCandidate, poses: list[Pose], search: float = float("nan"), elsewhere: float = 0.0
    ) -> VolumeCandidate:
        """The candidate with poses of the two images."""
        laid = tuple(replace(pose, moving_from_fixed=none.from_compared(pose.linear)) for pose in poses)
        return replace(none, poses=laid, search=search, elsewhere=elsewhere)


def compared(fixed: Volume, moving: Volume, task: Task, swapped: bool) -> VolumePair:
    """Two volumes at several sizes of voxels; the smaller one is sampled, so that most samples lie in what both show.

    Parameters
    ----------
    fixed, moving : Volume
        As fine as they are to be compared.
    task : Task
        Says how large units of one are in the other.
    swapped : bool
        Whether the smaller one is the moving one.
    """
    middle = _middle(task.limits)
    small, large = (moving, fixed) if swapped else (fixed, moving)
    spacing = _working_spacing(task.pair.fixed.grid, task.pair.moving.grid)
    inner = 1 / middle if swapped else middle
    sizes = [step * spacing / (inner if swapped else 1.0) for step in _PYRAMID]
    return VolumePair(levels_of(small, large, inner, sizes), task.seed)


def _middle(limits: Limits) -> float:
    """The middle of the range of scales."""
    return float(np.sqrt(limits.scale[0] * limits.scale[1]))


def _working_spacing(fixed: Grid, moving: Grid) -> float:
    """Side of the voxels to compare at: no finer than the coarser stack carries, nor than memory and time allow."""
    coarser = max(max(grid.spacing[1:]) for grid in (fixed, moving))
    slices = max((grid.spacing[0] for grid in (fixed, moving) if grid.shape[0] > 1), default=coarser)
    # Thick slices must not leave a small field with too few voxels to be recognised by.
    across = min(min(grid.extent[1:]) for grid in (fixed, moving)) / _FEWEST_ACROSS
    largest = max(float(np.prod(grid.extent)) for grid in (fixed, moving))
    return float(max(coarser, min(_FINER_THAN_SLICES * slices, across), (largest / _MOST_VOXELS) ** (1 / 3)))


def _better(pair: VolumePair, poses: list[Pose]) -> list[Pose]:
    """Poses refined on the coarse level, with the scores that they have then; those that meet become one.

    Nothing holds a wrong pose within the limits of rotation and scale while it is refined: it may run off to where
    chance makes it score most, and then is the stronger rival that the best pose must stand out from. Whether the best
    one itself is within what the caller asked for is checked at the end (`correlight.registration.held`).
    """
    level, number = pair.coarse, max(0, len(pair.sizes) - 2)
    made = []
    for pose in poses[:_REFINED]:
        refined = refine(pair, pose.linear, "similarity", measure="mutual information", levels=(number,))
        assert isinstance(refined, Affine)
        value, share = level.agreement(refined)
        overlap = level.of_smaller(share, refined.scale)
        made.append(Pose(refined, value * float(np.sqrt(overlap)), overlap))
    return ranked(made, level.fixed.grid, _REFINED)


def _displaced(level: Level, pose: Affine) -> float:
    """The best score of poses that are displaced in the plane on purpose: rivals where nothing was searched."""
    scores = []
    for other in _around(pose, level.fixed.grid, _DISPLACED):
        value, share = level.agreement(other)
        scores.append(value * float(np.sqrt(level.of_smaller(share, pose.scale))))
    return max(scores)


def _around(pose: Affine, grid: Grid, share: float = _AROUND) -> list[Affine]:
    """Eight poses that are displaced along the last two axes, by a share of the field."""
    shifts = np.zeros((8, pose.ndim))
    angles = np.arange(8) * np.pi / 4
    shifts[:, -2:] = np.column_stack([np.sin(angles), np.cos(angles)])
    extent: NDArray[np.float64] = np.asarray(grid.extent)
    return [Affine.of(pose.linear, pose.offset + pose.linear @ (share * shift * extent)) for shift in shifts]


def _plane_grid(pair: VolumePair) -> Grid:
    """The grid of any slice of the sampled volume."""
    return pair.finest.fixed.plane_grid
