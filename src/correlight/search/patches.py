"""Patch search: where in one image the histograms of another's patch recur, and a vote over slices and patches.

A patch is described by histograms over the cells that it is cut into, so that it counts roughly where in it something
lies. Small rotations move little from one cell into the next.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import spatial

from correlight.appearance.blobs import blob_scale, laplacian
from correlight.geometry import Points
from correlight.images.image import Float32
from correlight.images.plane import Plane
from correlight.images.volume import Volume
from correlight.progress import checkpoint
from correlight.search.pose import Pose
from correlight.transforms import Affine

Codes = NDArray[np.intp]
Histograms = NDArray[np.float32]

# Edges of the bins of values, in standard deviations of the image that they are from.
_EDGES = np.array([-2, -1, -0.5, -0.2, 0.2, 0.5, 1, 2])
# A patch is half as long as the shorter side of the smaller field and has so many cells along each axis.
_CELLS = 4
# Neighbouring patches share this much along either axis where they are looked for, and where they are cut out.
_SHARED, _SHARED_CUT = 0.9, 0.5
# Structures that both stacks show are larger than the blobs by these factors: a slice holds few of the blobs that a
# projection shows.
_LARGER = (2.0, 4.0)
# Slabs that vote, evenly over the middle of the volume between these shares of its depth, and their thickness.
_VOTERS, _MIDDLE, _THICKNESS = 7, (0.2, 0.8), 1 / 12
# A vote is an outlier beyond this many robust standard deviations; votes agree within this share of the patch.
_OUTLYING, _NEAR = 2.5, 0.15
# Places that are handed over.
_PLACES = 6
# Pixels along the longer side of the larger image, and the fewest along a patch.
_LONGEST, _LEAST_SIDE = 420, 12
# Kirsch's compass: 5 on three neighbours that follow one another around the middle, -3 on the other five.
_RING = ((0, 0), (0, 1), (0, 2), (1, 2), (2, 2), (2, 1), (2, 0), (1, 0))
_STRONGEST = 3


@dataclass(frozen=True, slots=True, eq=False)
class Vote:
    """Where votes agree.

    Parameters
    ----------
    centre : (2,) array
        Mean of the votes that are no outliers, weighted by the inverse of their distance from the median.
    kept : (N,) array of bool
        Which votes counted.
    """

    centre: NDArray[np.float64]
    kept: NDArray[np.bool_]


def patch_shift(fixed: Volume, moving: Volume, scale: float) -> list[Pose]:
    """The shift in the plane between two volumes whose rotation is small.

    The volume with the smaller field gives the patches, the other is searched. A stack of sparse signal is projected
    (maximum along z), a dense one gives several slabs. Every patch of every slab votes for a shift with each size of
    structure, each descriptor and each similarity. Whether what is bright in one volume is dark in the other, the
    votes decide as well.

    Parameters
    ----------
    fixed, moving : Volume
        On voxels of about one size as laid on each other.
    scale : float
        Moving units along a fixed unit.

    Returns
    -------
    list of Pose
        Up to six poses without rotation, where most votes agree first. The score is the square root of the share of the
        votes nearby, as the chance in a count goes with its root.
        Empty where a field is too small to cut patches from.

    Notes
    -----
    The published method lets one patch, of a region drawn by hand, vote with one histogram. About two seconds for
    images of 420 x 420 pixels.
    """
    swapped = float(np.prod(moving.grid.extent[1:])) < float(np.prod(fixed.grid.extent[1:])) * scale**2
    small, large = (moving, fixed) if swapped else (fixed, moving)
    ratio = 1 / scale if swapped else scale
    spacing = max(
        max(large.grid.extent[1:]) / _LONGEST,
        *large.grid.spacing[1:],
        *(ratio * step for step in small.grid.spacing[1:]),
    )
    cut = [plane.shrunk(spacing / ratio) for plane in _pictures(small)]
    searched = [plane.shrunk(spacing) for plane in _pictures(large)]
    sigma = _blob_size([cut[len(cut) // 2], searched[len(searched) // 2]])
    side = min(min(cut[0].values.shape) // 2, *searched[0].values.shape)
    if side < _LEAST_SIDE:
        return []
    votes = shift_votes([plane.values for plane in cut], [plane.values for plane in searched], side, sigma)
    middle = (np.asarray(cut[0].values.shape) - 1) / 2
    poses = []
    for first, share in agreements(votes, _NEAR * side):
        centre = searched[0].grid.points((first + middle)[None])[0]
        pose = Affine.of(ratio * np.eye(2), centre - ratio * small.plane_grid.centre)
        poses.append(Pose(pose.inverse() if swapped else pose, float(np.sqrt(share)), 1.0))
    return poses


def shift_votes(cut: list[Float32], searched: list[Float32], side: int, sigma: float) -> Points:
    """Where in the images the first pixel of the field lies that patches are cut from, by each patch and likeness.

    Parameters
    ----------
    cut, searched : list of (y, x) arrays
        Images of the smaller field, of one shape, and images of the larger one, of one shape.
    side : int
        Of a patch, in pixels.
    sigma : float
        Size of a blob as the standard deviation of a Gaussian, in pixels.

    Returns
    -------
    (N, 2) array
        In pixels of ``searched``.
    """
    cell = side // _CELLS
    from_corners = _lattice(cut[0].shape, cell, _SHARED_CUT)
    to_corners = _lattice(searched[0].shape, cell, _SHARED)
    votes: list[Points] = []
    either: list[list[Points]] = [[], []]
    for larger in _LARGER:
        sources = [laplacian(values, larger * sigma) for values in cut]
        targets = [laplacian(values, larger * sigma) for values in searched]
        for target in targets:
            for describe, ways, count in ((value_codes, 2, len(_EDGES) + 1), (direction_codes, 1, 56)):
                there = _histograms(describe(target), count, cell, to_corners)
                for source in sources:
                    checkpoint()
                    codes = describe(source)
                    for way in range(ways):
                        # Bins in the opposite order are those of the image with inverted contrast.
                        here = _histograms(count - 1 - codes if way else codes, count, cell, from_corners)
                        found = np.concatenate(
                            [to_corners[np.argmax(alike(here, there), axis=1)] - from_corners for alike in _ALIKE]
                        )
                        (votes if ways == 1 else either[way]).append(found.astype(float))
    ways_round = [np.concatenate(one) for one in either]
    best = max(ways_round, key=lambda one: agreements(one, _NEAR * side)[0][1])
    return np.concatenate([*votes, best])


def agreements(votes: Points, tolerance: float) -> list[tuple[NDArray[np.float64], float]]:
    """The places where most votes agree, best first, each with the share of the votes that lie within the tolerance.

    Around the vote with most others near it the outliers are left out (`vote`); then the same is done without the
    votes that lie there.

    Parameters
    ----------
    votes : (N, 2) array
        At least one.
    tolerance : float
        How far apart votes may be that agree.
    """
    left = votes
    found: list[tuple[NDArray[np.float64], float]] = []
    while len(left) and len(found) < _PLACES:
        tree = spatial.cKDTree(left)
        most = left[int(np.argmax(tree.query_ball_point(left, tolerance, return_length=True)))]
        centre = vote(left[tree.query_ball_point(most, tolerance)], tolerance / 2).centre
        found.append((centre, float(np.mean(np.linalg.norm(votes - centre, axis=1) <= tolerance))))
        left = left[np.linalg.norm(left - centre, axis=1) > 2 * tolerance]
    return sorted(found, key=lambda place: -place[1])


def value_codes(values: Float32) -> Codes:
    """The bin of each value in units of the standard deviation, so that contrast does not matter: 0 to 8."""
    return np.asarray(np.digitize(values, _EDGES * max(float(values.std()), 1e-12)), np.intp)


def direction_codes(values: Float32) -> Codes:
    """Local directional pattern: which three of eight compass edges are the strongest at each pixel.

    Jabid et al. 2010, doi:10.4218/etrij.10.1510.0132.

    Parameters
    ----------
    values : (y, x) array of float32
        Any picture.

    Returns
    -------
    (y, x) array of int
        From 0 to 55: the number of the pattern among all with three bits set, in rising order.
    """
    strengths = []
    for first in range(8):
        kernel = np.full((3, 3), -3.0, np.float32)
        kernel[1, 1] = 0
        for place in range(first, first + 3):
            kernel[_RING[place % 8]] = 5
        strengths.append(np.abs(cv2.filter2D(values, cv2.CV_32F, kernel)))
    order = np.argsort(-np.stack(strengths), axis=0, kind="stable")[:_STRONGEST]
    return np.asarray(np.searchsorted(_PATTERNS, np.sum(1 << order, axis=0)), np.intp)


_PATTERNS = np.array([code for code in range(256) if code.bit_count() == _STRONGEST])


def cosine(patches: Histograms, others: Histograms) -> NDArray[np.float32]:
    """Cosine of the angle between histograms of patches ``(M, C, B)`` and others ``(N, C, B)``, mean over cells."""
    unit = [
        (one / np.maximum(np.linalg.norm(one, axis=2, keepdims=True), 1e-12)).reshape(len(one), -1)
        for one in (patches, others)
    ]
    return np.asarray(unit[0] @ unit[1].T / patches.shape[1], np.float32)


def intersection(patches: Histograms, others: Histograms) -> NDArray[np.float32]:
    """What histograms of patches ``(M, C, B)`` have in common with others ``(N, C, B)``, mean over cells."""
    shared = [np.minimum(one, others).sum(axis=(1, 2)) / patches.shape[1] for one in patches]
    return np.asarray(np.stack(shared), np.float32)


_ALIKE: tuple[Callable[[Histograms, Histograms], NDArray[np.float32]], ...] = (cosine, intersection)


def vote(centres: Points, tolerance: float) -> Vote:
    """One place from several, most of which agree.

    Parameters
    ----------
    centres : (N, 2) array
        The votes.
    tolerance : float
        No vote this near the median is an outlier.

    Examples
    --------
    >>> agreed = vote(np.array([[10.0, 10], [10, 11], [11, 10], [10, 10.5], [90, 3]]), 1.0)
    >>> agreed.centre.round(0), agreed.kept.tolist()
    (array([10., 10.]), [True, True, True, True, False])
    """
    median = np.median(centres, axis=0)
    away = np.linalg.norm(centres - median, axis=1)
    spread = 1.4826 * float(np.median(np.abs(away - np.median(away))))
    kept = away <= max(float(np.median(away)) + _OUTLYING * spread, tolerance)
    # Votes lie on a lattice, so that none is closer than by chance if it meets the median.
    weights = 1 / np.maximum(away[kept], 0.3 * tolerance + 1e-12)
    return Vote(np.asarray(np.average(centres[kept], axis=0, weights=weights)), kept)


def _pictures(volume: Volume) -> list[Plane]:
    """A projection of a sparse stack; several slabs of a dense one."""
    if volume.sparse:
        return [volume.projection()]
    count = volume.grid.shape[0]
    slices = max(1, round(_THICKNESS * count))
    low, high = (share * (count - slices) for share in _MIDDLE)
    firsts = np.unique(np.linspace(low, high, _VOTERS).round().astype(int))
    return [volume.slab(int(first), int(first) + slices) for first in firsts]


def _blob_size(planes: list[Plane]) -> float:
    """The scale with most blobs, in pixels, of the image that shows most of them, be they bright or dark."""
    scales = [blob_scale(plane.values, dark) for plane in planes for dark in (False, True)]
    return max(scales, key=lambda scale: int(scale.counts.max())).sigma


def _lattice(shape: tuple[int, ...], cell: int, shared: float) -> Codes:
    """First pixels ``(N, 2)`` of patches that share so much with their neighbours."""
    side = _CELLS * cell
    step = max(1, round((1 - shared) * side))
    lines = (np.arange(0, n - side + 1, step) for n in shape)
    return np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 2)


def _histograms(codes: Codes, count: int, cell: int, corners: Codes) -> Histograms:
    """Histograms ``(N, cells, count)`` of the cells of patches at some corners ``(N, 2)``."""
    steps = np.arange(_CELLS) * cell
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    first = corners[:, None] + offsets
    y, x = first[..., 0], first[..., 1]
    out = np.empty((*first.shape[:2], count), np.float32)
    for code in range(count):
        total = cv2.integral((codes == code).astype(np.uint8))
        out[..., code] = total[y + cell, x + cell] - total[y, x + cell] - total[y + cell, x] + total[y, x]
    out /= cell * cell
    return out
