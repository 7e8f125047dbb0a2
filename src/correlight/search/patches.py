"""Patch search: where in one picture the histogram of another's patch recurs, and a vote over several slices.

Histograms do not change when a patch is turned, so that the shift can be found before the rotation is known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.appearance.blobs import blob_scale, laplacian
from correlight.geometry import Points
from correlight.image import Float
from correlight.plane import Plane
from correlight.pose import Pose
from correlight.transforms import Affine
from correlight.volume import Volume

# Bins of a histogram, how many typical blobs its range reaches to either side, and the least share of the strongest
# blob that counts as one.
_BINS, _REACH, _BLOB = 32, 1.5, 0.2
# Neighbouring patches share this much along either axis.
_SHARED = 0.9
# Slices that vote, evenly over the middle half of the volume.
_VOTERS = 9
# A vote is an outlier beyond this many robust standard deviations, and never within this share of the patch.
_OUTLYING, _NEAR = 2.5, 0.1
# Pixels along the longer side of the larger picture.
_LONGEST = 420
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
    """The shift in the plane between two volumes whose rotation is small or does not matter.

    The volume with the smaller field gives the patch, the other is searched. A stack of sparse signal is projected
    (maximum along z), a dense one gives several slices, each of which votes with each descriptor and each similarity.

    Parameters
    ----------
    fixed, moving : Volume
        On voxels of about one size as laid on each other.
    scale : float
        Moving units along a fixed unit.

    Returns
    -------
    list of Pose
        Poses without rotation: where the votes agree, then the other places that got some, as its rivals. The score
        is the share of the votes nearby. Empty where the patch is larger than what it should be searched in.

    Notes
    -----
    The cost grows with the number of pixels times bins; about a second for pictures of 420 x 420 pixels and 9 slices.
    """
    swapped = float(np.prod(moving.grid.extent[1:])) < float(np.prod(fixed.grid.extent[1:])) * scale**2
    small, large = (moving, fixed) if swapped else (fixed, moving)
    ratio = 1 / scale if swapped else scale
    spacing = max(large.grid.extent[1:]) / _LONGEST
    patches = [_log(plane.shrunk(spacing / ratio)) for plane in _pictures(small)]
    pictures = [_log(plane.shrunk(spacing)) for plane in _pictures(large)]
    votes: list[NDArray[np.float64]] = []
    for patch in patches:
        for picture in pictures:
            if any(a > b for a, b in zip(patch.values.shape, picture.values.shape, strict=True)):
                return []
            votes += [picture.grid.points(centre[None])[0] for centre in best_centres(patch.values, picture.values)]
    tolerance = _NEAR * max(small.grid.extent[1:]) * ratio
    agreed = vote(np.array(votes), tolerance)
    centres = [agreed.centre]
    for centre in votes:
        if all(np.linalg.norm(centre - other) > tolerance for other in centres):
            centres.append(centre)
    source = small.plane_grid.centre
    poses = []
    for centre in centres:
        pose = Affine.of(ratio * np.eye(2), centre - ratio * source)
        share = float(np.mean(np.linalg.norm(np.array(votes) - centre, axis=1) <= tolerance))
        poses.append(Pose(pose.inverse() if swapped else pose, share, 1.0))
    return [poses[0], *sorted(poses[1:], key=lambda pose: -pose.score)]


def best_centres(patch: Float, picture: Float) -> list[NDArray[np.float64]]:
    """Centres, in pixels of the picture, of the patches most alike by each descriptor and each similarity.

    Parameters
    ----------
    patch, picture : (y, x) arrays
        Laplacians; the patch is not larger along any axis.
    """
    step = max(1, round((1 - _SHARED) * min(patch.shape)))
    centres = []
    for describe in (log_codes, direction_codes):
        codes, count = describe(picture)
        own, _ = describe(patch)
        windows, corners = _histograms(codes, count, patch.shape, step)
        histogram = np.bincount(own.ravel(), minlength=count).astype(float)
        for alike in (cosine, intersection):
            best = int(np.argmax(alike(histogram / histogram.sum(), windows)))
            centres.append(corners[best] + (np.asarray(patch.shape) - 1) / 2)
    return centres


def log_codes(values: Float) -> tuple[NDArray[np.intp], int]:
    """The bin of each value in units of a typical blob, so that neither contrast nor the number of blobs matters."""
    lowest = (ndimage.minimum_filter(values, 3) == values) & (values < _BLOB * float(values.min()))
    typical = -float(np.median(values[lowest])) if lowest.any() else 1.0
    scaled = values / (_REACH * max(typical, 1e-9))
    return np.clip(((scaled + 1) * _BINS / 2).astype(np.intp), 0, _BINS - 1), _BINS


def direction_codes(values: Float) -> tuple[NDArray[np.intp], int]:
    """Local directional pattern: which three of eight compass edges are the strongest at each pixel.

    Jabid et al. 2010, doi:10.4218/etrij.10.1510.0132.

    Parameters
    ----------
    values : (y, x) array of float32
        Any picture.

    Returns
    -------
    codes : (y, x) array of int
        From 0 to 255, with three bits set.
    count : int
        256.
    """
    strengths = []
    for first in range(8):
        kernel = np.full((3, 3), -3.0, np.float32)
        kernel[1, 1] = 0
        for place in range(first, first + 3):
            kernel[_RING[place % 8]] = 5
        strengths.append(np.abs(cv2.filter2D(values, cv2.CV_32F, kernel)))
    order = np.argsort(-np.stack(strengths), axis=0, kind="stable")[:_STRONGEST]
    return np.asarray(np.sum(1 << order, axis=0), np.intp), 256


def cosine(histogram: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of the angle between a histogram ``(B,)`` and each of others ``(N, B)``."""
    norms = np.linalg.norm(others, axis=1) * np.linalg.norm(histogram)
    return np.asarray(others @ histogram / np.maximum(norms, 1e-12))


def intersection(histogram: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a histogram ``(B,)`` has in common with each of others ``(N, B)``; 1 where they are the same."""
    return np.asarray(np.minimum(histogram, others).sum(axis=1))


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
    weights = 1 / np.maximum(away[kept], 1e-3 * tolerance + 1e-12)
    return Vote(np.asarray(np.average(centres[kept], axis=0, weights=weights)), kept)


def _pictures(volume: Volume) -> list[Plane]:
    """A projection of a sparse stack; several slices of a dense one."""
    if volume.sparse:
        return [volume.projection()]
    count = volume.grid.shape[0]
    chosen = np.unique(np.linspace(0.25 * (count - 1), 0.75 * (count - 1), min(_VOTERS, count)).round().astype(int))
    return [volume.slab(int(index), int(index) + 1) for index in chosen]


def _log(plane: Plane) -> Plane:
    """A plane after the Laplacian of Gaussian at its own scale; dark blobs count where they are more."""
    bright, dark = blob_scale(plane.values), blob_scale(plane.values, dark=True)
    inverted = dark.counts.max() > bright.counts.max()
    values = laplacian(plane.values, (dark if inverted else bright).sigma)
    return Plane(-values if inverted else values, plane.mask, plane.grid)


def _histograms(
    codes: NDArray[np.intp], count: int, shape: Sequence[int], step: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Histograms ``(N, count)`` of all patches of a shape on a lattice, and their first corners ``(N, 2)``."""
    rows, columns = (np.arange(0, n - side + 1, step) for n, side in zip(codes.shape, shape, strict=True))
    out = np.zeros((len(rows) * len(columns), count))
    area = float(np.prod(shape))
    for code in np.unique(codes):
        total = cv2.integral((codes == code).astype(np.uint8))
        low, high = total[rows], total[rows + shape[0]]
        inside = (high[:, columns + shape[1]] - high[:, columns]) - (low[:, columns + shape[1]] - low[:, columns])
        out[:, code] = inside.ravel() / area
    return out, np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2).astype(float)
