"""From poses in the plane to poses in space: how deep, which way up, how tilted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.volume import Volume
from correlight.progress import checkpoint
from correlight.refine.samples import distance
from correlight.refine.volumes import Level
from correlight.search.pose import Pose
from correlight.transforms import Affine

# However thin the thinner volume is, the thicker one is cut into slabs of no less than one over this.
_MOST_RATIO = 4.0
# Depths are tried this many micrometres apart, in units of the voxels of the level.
_STEP = 1.0
# Tilts are tried so far apart that the edge of the common field moves by this share of the thinner volume.
_TILT_STEP = 0.35
# No volume counts as thinner than so many slices of the coarser one, which the blur along z joins; least step, degrees.
_BLURRED, _LEAST_TILT_STEP = 6.0, 3.0
# Samples by which depths are compared.
_SAMPLES = 4000


def views(thick: Volume, thin: Volume, scale: float) -> list[tuple[int, int]]:
    """The slabs of a thicker volume that may show what the thinner one shows, as first and last slice.

    Slabs are as thick as the thinner volume, but at least a quarter of the thicker one, and overlap by half.

    Parameters
    ----------
    thick, thin : Volume
        The volume to cut, and the other.
    scale : float
        Units of ``thin`` along a unit of ``thick``.
    """
    ratio = min(thick.grid.extent[0] * scale / thin.grid.extent[0], _MOST_RATIO)
    if ratio < 1.25:
        return [(0, thick.grid.shape[0])]
    count = max(1, round(2 * (ratio - 1)))
    slices = max(1, round(thick.grid.shape[0] / ratio))
    last = thick.grid.shape[0] - slices
    firsts = [last // 2] if count == 1 else [round(last * index / (count - 1)) for index in range(count)]
    return [(first, first + slices) for first in firsts]


def in_space(plane: Affine, flip: bool, depth: float, middle: float, tilt: NDArray[np.float64] | None = None) -> Affine:
    """A pose in space from one in the plane.

    Parameters
    ----------
    plane : Affine
        ``moving_from_fixed`` of (y, x).
    flip : bool
        Whether z changes its direction.
    depth : float
        Where the fixed depth ``middle`` lies in the moving volume.
    middle : float
        The middle of the fixed volume along z.
    tilt : (3, 3) array, optional
        Rotation that the fixed volume is turned by first; around the origin.
    """
    linear = np.zeros((3, 3))
    linear[0, 0] = -plane.scale if flip else plane.scale
    linear[1:, 1:] = plane.linear
    offset = np.array([depth - linear[0, 0] * middle, *plane.offset])
    pose = Affine.of(linear, offset)
    return pose if tilt is None else Affine(pose.matrix @ Affine.of(tilt, np.zeros(3)).matrix)


def search_depth(
    level: Level, planes: Sequence[Pose], *, least_overlap: float, tilt: float = 15.0, keep: int = 6, turn: bool = True
) -> list[Pose]:
    """Ranked poses in space for poses in the plane: every depth, either way up, tilted up to so many degrees.

    Parameters
    ----------
    level : Level
        The two volumes at a coarse size.
    planes : sequence of Pose
        Of projections or slabs, best first.
    least_overlap : float
        Least share of the smaller volume that the other covers.
    tilt : float
        Greatest tilt in degrees about each of the axes in the plane; 0 tries none.
    keep : int
        How many poses are listed.
    turn : bool
        Whether z may be reversed; without it the handedness of what is seen is kept.

    Returns
    -------
    list of Pose
        Best first, at most ``keep``; the score is mutual information times the square root of the overlap, for a small
        overlap shows more information by chance.

    Notes
    -----
    About a millisecond for each depth, tilt and pose.
    """
    small = level.thinned(_SAMPLES)
    best: list[Pose] = []
    for plane in planes:
        for flip in _ways_up(level, plane, turn):
            best += _depths(small, plane, flip, None, least_overlap)[:2]
    best = ranked(best, level.fixed.grid, keep)
    tilts = _tilts(level, tilt)
    if len(tilts):
        tilted = [
            pose
            for plane in planes[:2]
            for flip in _ways_up(level, plane, turn)
            for tilted_by in tilts
            for pose in _depths(small, plane, flip, tilted_by, least_overlap)[:1]
        ]
        best = ranked([*best, *tilted], level.fixed.grid, keep)
    return best


def ranked(poses: Iterable[Pose], grid: Grid, keep: int, least_distance: float = 0.05) -> list[Pose]:
    """The best poses that lead to distinct places, as a share of the longest side of the fixed volume."""
    kept: list[Pose] = []
    for pose in sorted(poses, key=lambda pose: -pose.score):
        limit = least_distance * max(grid.extent)
        if all(distance(pose.linear, other.linear, grid) > limit or _opposed(pose, other) for other in kept):
            kept.append(pose)
        if len(kept) == keep:
            break
    return kept


def _opposed(one: Pose, other: Pose) -> bool:
    """Whether two poses turn z into opposite directions: in a flat volume that moves nothing far, but differs."""
    return bool(one.linear.linear[0, 0] * other.linear.linear[0, 0] < 0)


def _ways_up(level: Level, plane: Pose, turn: bool) -> tuple[bool, ...]:
    """Whether z is reversed: both for volumes; a single section has no defined side and is not mirrored."""
    if not turn or min(level.fixed.grid.shape[0], level.moving.grid.shape[0]) == 1:
        return (plane.linear.mirrored,)
    return False, True


def _depths(
    level: Level, plane: Pose, flip: bool, tilt: NDArray[np.float64] | None, least_overlap: float
) -> list[Pose]:
    """Every depth of one pose with enough in common, best first."""
    fixed, moving = level.fixed.grid, level.moving.grid
    middle = fixed.centre
    scale = plane.linear.scale
    farthest = 0.5 * (fixed.extent[0] * scale + moving.extent[0])
    turn = None
    if tilt is not None:
        farthest += 0.5 * scale * float(np.abs(tilt[0, 1:]) @ fixed.extent[1:])
        turn = tilt
    step = _STEP * max(moving.spacing[0], fixed.spacing[0] * scale)
    found = []
    for depth in moving.centre[0] + np.arange(-farthest, farthest + step, step):
        checkpoint()
        pose = in_space(plane.linear, flip, float(depth), float(middle[0]))
        if turn is not None:
            around = Affine.of(turn, middle - turn @ middle)
            pose = Affine(pose.matrix @ around.matrix)
        if level.of_smaller(float(level.seen(pose).mean()), scale) < least_overlap:
            continue
        value, share = level.agreement(pose)
        overlap = level.of_smaller(share, scale)
        found.append(Pose(pose, value * float(np.sqrt(overlap)), overlap))
    return sorted(found, key=lambda pose: -pose.score)


def _tilts(level: Level, most: float) -> list[NDArray[np.float64]]:
    """Rotations about the axes in the plane on a lattice, the untilted one left out."""
    if most <= 0:
        return []
    fixed, moving = level.fixed.grid, level.moving.grid
    wide = 0.5 * min(max(fixed.extent[1:]), max(moving.extent[1:]))
    thin = max(min(fixed.extent[0], moving.extent[0]), _BLURRED * max(fixed.spacing[0], moving.spacing[0]))
    step = max(np.degrees(_TILT_STEP * thin / wide), _LEAST_TILT_STEP)
    count = int(most / step + 0.999)
    angles = np.deg2rad(np.linspace(-most, most, 2 * count + 1))
    tilts = []
    for a in angles:
        for b in angles:
            if a or b:
                about_y = np.array([[np.cos(a), 0, -np.sin(a)], [0, 1, 0], [np.sin(a), 0, np.cos(a)]])
                about_x = np.array([[np.cos(b), -np.sin(b), 0], [np.sin(b), np.cos(b), 0], [0, 0, 1]])
                tilts.append(about_y @ about_x)
    return tilts
