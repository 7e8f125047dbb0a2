"""The engine of the search by features: a score for every shift of one rotation, by FFT under validity masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from correlight.appearance.channels import Channels
from correlight.images.image import Float32
from correlight.images.plane import Plane
from correlight.search.limits import NearStart
from correlight.search.rotation import (
    Matrix,
    SplitRotation,
    canvas,
    inverse_of,
    quarter_turns,
    rotated,
    split_rotation,
    turn_by,
)

Spectrum = NDArray[np.complex64]

# Overlap and energies vary slowly from shift to shift; they are correlated on blocks of this many pixels of a plane.
_BLOCK = 4
# Least mean energy of a region, in units of the mean energy of the image: a region in which one image shows nothing
# must not be judged by its noise.
_ENERGY_FLOOR = np.float32(0.3)
# By how much channels may be scaled after they were computed, where an engine has a step.
MOST_SCALED = 1.1


@dataclass(frozen=True, eq=False)
class Shift:
    """The best shift of one candidate rotation and scale.

    Parameters
    ----------
    score : float
        In standard deviations of the scores over all its shifts; minus infinity where no shift is allowed.
    overlap : float
        Common valid area as a fraction of the smaller field.
    fixed_from_moving : (3, 3) array
        Pixels of the moving working image to pixels of the fixed one, (y, x) order.
    """

    score: float
    overlap: float
    fixed_from_moving: Matrix


class Engine(Protocol):
    """What the pose search calls."""

    def best_shifts(self, moving_from_fixed: Matrix) -> list[Shift]:
        """Best shifts for a ``(2, 2)`` matrix in (y, x) order, one for each number of groups of channels.

        The matrix rotates and may mirror; if the engine was made with a step, it may scale by a few percent.
        """
        ...


class MakeEngine(Protocol):
    """Makes the engine for a fixed and a moving working plane, a least overlap, and the step of rotations (0: any).

    With a start, in pixels of both planes, only shifts near it are allowed.
    """

    @property
    def stride(self) -> int:
        """Pixels of the working planes per pixel that the engine compares: the larger, the finer they should be."""
        ...

    def __call__(
        self, fixed: Plane, moving: Plane, least_overlap: float, step: float = 0.0, start: NearStart | None = None, /
    ) -> Engine:
        """The engine."""
        ...


@dataclass(frozen=True)
class ByFeatures:
    """Makes engines that correlate feature channels.

    The search compares the smaller image, at one size, with the larger one at many sizes. Channels of the rotated
    moving plane are therefore kept as long as the plane exists, and shared by all engines for it. The search also
    returns to most sizes of the larger image; channels with a stride take little memory, so they are kept as well.

    Parameters
    ----------
    channels : Channels
        What is compared.
    stride : int
        That of its groups.
    """

    channels: Channels
    stride: int = 1
    _kept: WeakKeyDictionary[Plane, _FeatureCache] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __call__(
        self, fixed: Plane, moving: Plane, least_overlap: float, step: float = 0.0, start: NearStart | None = None, /
    ) -> FeatureEngine:
        """The engine for two planes."""
        of_fixed = self._kept.setdefault(fixed, {}) if self.stride > 1 else {}
        kept = of_fixed, self._kept.setdefault(moving, {})
        return FeatureEngine(fixed, moving, self.channels, least_overlap, self.stride, kept, step, start)


@dataclass(frozen=True, eq=False)
class _Features:
    """The channels of one image at one rotation.

    Parameters
    ----------
    canvas_from_image : (3, 3) array
        Pixels to pixels of the working image and its canvas.
    planes : list of (C, y, x) arrays
        Of each group.
    valid : (y, x) array of float32
        Where the image is valid: features keep away from the border, the overlap does not.
    """

    canvas_from_image: Matrix
    planes: list[Float32]
    valid: Float32

    def moved(self, linear: Matrix, stride: int) -> _Features:
        """The channels rotated by a few degrees and scaled by a few percent, without computing them anew."""
        matrix, size = canvas(self.valid.shape, linear)
        matrix_xy = matrix[:2][::-1, [1, 0, 2]]

        def warped(plane: Float32) -> Float32:
            return np.asarray(cv2.warpAffine(plane, matrix_xy, size, flags=cv2.INTER_LINEAR), np.float32)

        matrix[:2, 2] *= stride
        planes = [np.stack([warped(plane) for plane in group]) for group in self.planes]
        return _Features(matrix @ self.canvas_from_image, planes, warped(self.valid))


# Features of one plane, by the elements of the rotation matrix.
_FeatureCache = dict[tuple[float, ...], _Features]


@dataclass(frozen=True, eq=False)
class _View:
    """One image at one rotation, ready to be correlated.

    Parameters
    ----------
    canvas_from_image : (3, 3) array
        Pixels to pixels of the working image and its canvas.
    spectra : list of (C, Y, X / 2 + 1) arrays
        Of the planes of each group.
    slow : (1 + G, ...) array
        Spectra, on blocks, of the support of the planes and of the energy of each group.
    """

    canvas_from_image: Matrix
    spectra: list[Spectrum]
    slow: Spectrum

    @cached_property
    def image_from_canvas(self) -> Matrix:
        """The way back."""
        return np.asarray(np.linalg.inv(self.canvas_from_image))


class FeatureEngine:
    """Correlates the feature channels of two planes, one of them rotated by any angle.

    The planes must have pixels of one size. Channels are computed from rotated images, not rotated themselves, so that
    they need not be rotation invariant. A rotation is split in two: the fixed image is rotated by multiples of 90
    degrees and mirrored, the moving image by the rest, which is below 90 degrees. Rotations that differ by multiples of
    90 degrees or by mirroring therefore share the features of both images, and cost one product of spectra and one
    inverse transform for each group. With a step, channels are computed at its multiples only and themselves rotated by
    the residual angle, which is for channels that tolerate such angles.

    Parameters
    ----------
    fixed, moving : Plane
        At working resolution.
    channels : Channels
        What is compared; groups of one stride.
    least_overlap : float
        Shifts with a smaller common area, as a fraction of the smaller field, are not considered.
    stride : int
        That of the groups.
    kept : pair of dict, optional
        Channels of the two rotated planes that are known already; new ones are added.
    step : float
        Degrees between the rotations whose channels are computed; 0: those of every rotation are.
    start : NearStart, optional
        In pixels of both planes; shifts that are not near it are not considered.

    Notes
    -----
    Spectra of the last rotation of the moving image are kept: ask for candidates that share them one after the other.
    """

    def __init__(
        self,
        fixed: Plane,
        moving: Plane,
        channels: Channels,
        least_overlap: float,
        stride: int = 1,
        kept: tuple[_FeatureCache, _FeatureCache] | None = None,
        step: float = 0.0,
        start: NearStart | None = None,
    ) -> None:
        self._fixed, self._moving, self._channels, self._step = fixed, moving, channels, step
        self._start = start
        self._cached_of_fixed, self._cached_of_moving = kept or ({}, {})
        self._stride = stride
        self._areas = [np.count_nonzero(plane.mask) / stride**2 for plane in (fixed, moving)]
        self._least_overlap = least_overlap
        # Circular correlation folds far shifts onto near ones. Shifts with less than the least overlap are not
        # considered, so only the rest must stay apart.
        sides = [*fixed.values.shape, *moving.values.shape]
        diagonal = np.hypot(*moving.values.shape) * (MOST_SCALED if step else 1)
        most = (max(fixed.values.shape) + diagonal - 0.7 * least_overlap * min(sides)) / self._stride + 3
        blocks = fft.next_fast_len(int(most) // _BLOCK + 1, real=True)
        self._blocks, self._shape = (blocks, blocks), (_BLOCK * blocks, _BLOCK * blocks)
        self._fixed_views: dict[tuple[int, bool], _View] = {}
        self._moving_view: tuple[SplitRotation, _View] | None = None

    def best_shifts(self, moving_from_fixed: Matrix) -> list[Shift]:
        """The best shift by the first group alone, by the first two together, and so on.

        A pair may share the directions of its edges but not where they are strong, or the reverse; the caller
        keeps the best for each number of groups.
        """
        split = split_rotation(inverse_of(moving_from_fixed), self._step)
        maps, overlap, (fixed, moving) = self._score_maps(split)
        smaller = self._smaller(split)
        if self._start is not None:
            maps *= self._near(self._start, fixed, moving)
        shifts = []
        total = maps[0]
        for count in range(1, len(maps) + 1):
            if count > 1:
                total += maps[count - 1]
            peak = int(np.argmax(total))
            best = float(total.flat[peak])
            row, column = divmod(peak, self._shape[1])
            near = round(row / _BLOCK) % self._blocks[0], round(column / _BLOCK) % self._blocks[1]
            # Shifts that are not allowed score zero; where nothing stands above them, there is nothing to propose.
            score = best / count**0.5 if best > 0 else -np.inf
            shifts.append(Shift(score, float(overlap[near]) / smaller, self._laid(row, column, fixed, moving)))
        return shifts

    def score_maps(self, moving_from_fixed: Matrix) -> tuple[Float32, Float32, tuple[_View, _View]]:
        """Score of each group at every circular shift, overlap per block, and the views of both images.

        Parameters
        ----------
        moving_from_fixed : (2, 2) array
            As for `Engine.best_shifts`.
        """
        return self._score_maps(split_rotation(inverse_of(moving_from_fixed), self._step))

    def _score_maps(self, split: SplitRotation) -> tuple[Float32, Float32, tuple[_View, _View]]:
        fixed, moving = self._view_of_fixed(split.quarters, split.mirror), self._view_of_moving(split)
        overlap, weights = self._normalisers(fixed, moving, self._least_overlap * self._smaller(split))
        products = np.empty((len(fixed.spectra), *fixed.spectra[0].shape[1:]), np.complex64)
        for own, other, product in zip(fixed.spectra, moving.spectra, products, strict=True):
            _sum_products(own, other, product)
        maps = np.asarray(fft.irfft2(products, self._shape, overwrite_x=True), np.float32)
        _multiply(maps, weights)
        for scores, weight in zip(maps, weights, strict=True):
            sample = scores[::2, ::2].ravel()
            width = np.sqrt(float(np.dot(sample, sample)) / max(1, 4 * int(np.count_nonzero(weight))))
            scores *= np.float32(1 / max(width, 1e-9))
        return maps, overlap, (fixed, moving)

    def _view_of_fixed(self, quarters: int, mirror: bool) -> _View:
        if (quarters, mirror) not in self._fixed_views:
            # Undoing the quarter turns and the mirroring leaves the rest of the rotation to the moving image.
            features = self._features(self._fixed, quarter_turns(quarters, mirror).T, self._cached_of_fixed)
            self._fixed_views[quarters, mirror] = self._view(features)
        return self._fixed_views[quarters, mirror]

    def _view_of_moving(self, split: SplitRotation) -> _View:
        if self._moving_view is None or not self._moving_view[0].shares_moving_part(split):
            features = self._features(self._moving, turn_by(split.rest), self._cached_of_moving)
            if split.residual != 0 or split.scale != 1:
                features = features.moved(split.scale * turn_by(split.residual), self._stride)
            view = self._view(features)
            # A correlation needs the conjugate of one of the two.
            view = _View(view.canvas_from_image, [spectra.conj() for spectra in view.spectra], view.slow.conj())
            self._moving_view = split, view
        return self._moving_view[1]

    def _features(self, plane: Plane, linear: Matrix, known: _FeatureCache) -> _Features:
        key = tuple(linear.ravel().tolist())
        if key not in known:
            values, mask, matrix = rotated(plane, linear)
            groups = self._channels(values, mask)
            valid = mask[:: self._stride, :: self._stride].astype(np.float32)
            known[key] = _Features(matrix, [group.planes for group in groups], valid)
        return known[key]

    def _view(self, features: _Features) -> _View:
        spectra = [np.asarray(fft.rfft2(planes, self._shape)) for planes in features.planes]
        energies = [np.einsum("cyx,cyx->yx", planes, planes) for planes in features.planes]
        slow = _block_sums(np.stack([features.valid, *energies]))
        return _View(features.canvas_from_image, spectra, np.asarray(fft.rfft2(slow, self._blocks)))

    def _smaller(self, split: SplitRotation) -> float:
        """Area of the smaller field, in pixels of the planes."""
        return max(1.0, min(self._areas[0], self._areas[1] * split.scale**2))

    def _normalisers(self, fixed: _View, moving: _View, least_area: float) -> tuple[Float32, Float32]:
        """Overlap in pixels and one over the expected width of each group's score, on blocks of shifts."""
        one, other = fixed.slow, moving.slow
        products = np.concatenate([one * other[:1], one[:1] * other[1:]])
        maps = np.asarray(fft.irfft2(products, self._blocks, overwrite_x=True), np.float32)
        maps /= np.float32(_BLOCK**2)
        overlap = maps[0]
        area = np.maximum(overlap, np.float32(1))
        # Of each group, of the fixed image and of the moving one.
        energies = np.maximum(maps[1:] / area, _ENERGY_FLOOR).reshape(2, -1, *self._blocks)
        # A sum of products of noise has a variance of area times both energies.
        weights = np.where(overlap >= least_area, 1 / np.sqrt(area * energies[0] * energies[1]), np.float32(0))
        return overlap, weights

    def _near(self, start: NearStart, fixed: _View, moving: _View) -> Float32:
        """1 at shifts near a start and 0 at all others, in steps of blocks."""
        places = ((moving.canvas_from_image, start.moving), (fixed.canvas_from_image, start.fixed))
        there, here = (points @ matrix[:2, :2].T + matrix[:2, 2] for matrix, points in places)
        limit = max(self._fixed.values.shape) / self._stride
        shifts = [np.arange(count) * _BLOCK for count in self._blocks]
        rows, columns = (
            self._stride * np.where(shift >= limit, shift - size, shift)
            for shift, size in zip(shifts, self._shape, strict=True)
        )
        allowed = start.shifts(there - here, rows, columns, slack=_BLOCK * self._stride)
        return np.repeat(np.repeat(allowed, _BLOCK, axis=0), _BLOCK, axis=1).astype(np.float32)

    def _laid(self, row: int, column: int, fixed: _View, moving: _View) -> Matrix:
        """Pixels of the moving working image to those of the fixed one, for a place in the score map."""
        # Shifts reach from the least overlap on one side to that on the other; what lies beyond the largest canvas
        # of the fixed image is a negative shift.
        limit = max(self._fixed.values.shape) / self._stride
        laid = moving.canvas_from_image.copy()
        laid[0, 2] += self._stride * (row - self._shape[0] if row >= limit else row)
        laid[1, 2] += self._stride * (column - self._shape[1] if column >= limit else column)
        return np.asarray(fixed.image_from_canvas @ laid)


def _multiply(maps: Float32, blocks: Float32) -> None:
    """Multiply values at every shift, ``(G, 4 Y, 4 X)``, by values on blocks of shifts, ``(G, Y, X)``, in place.

    Block shift b stands for the pixel shift 4 b; the last shifts lie between the last block and the first.
    """
    count, height, width = blocks.shape
    columns = np.empty((count, height, width, _BLOCK), np.float32)
    steps = (np.roll(blocks, -1, 2) - blocks) / np.float32(_BLOCK)
    columns[..., 0] = blocks
    for part in range(1, _BLOCK):
        np.add(columns[..., part - 1], steps, out=columns[..., part])
    factors = columns.reshape(count, height, width * _BLOCK)
    steps = (np.roll(factors, -1, 1) - factors) / np.float32(_BLOCK)
    rows = maps.reshape(count, height, _BLOCK, width * _BLOCK)
    for part in range(_BLOCK):
        rows[:, :, part] *= factors
        factors += steps


def _sum_products(ones: Spectrum, others: Spectrum, total: Spectrum) -> None:
    """Sum over the planes into ``total``; plane by plane, which stays in the cache of the processor."""
    np.multiply(ones[0], others[0], out=total)
    part = np.empty_like(total)
    for one, other in zip(ones[1:], others[1:], strict=True):
        np.multiply(one, other, out=part)
        total += part


def _block_sums(planes: Float32) -> Float32:
    """Sums over blocks of pixels, shape ``(C, Y, X)``; an incomplete last block counts with what it has."""
    rows, columns = (-n % _BLOCK for n in planes.shape[1:])
    padded = np.pad(planes, ((0, 0), (0, rows), (0, columns)))
    count, height, width = padded.shape
    blocks = padded.reshape(count, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return np.asarray(blocks.sum(axis=(2, 4)), np.float32)
