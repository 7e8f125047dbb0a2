"""Engines: a score for every shift of one pose, by FFT under validity masks.

An engine is made for two planes with pixels of one size and asked for the best shift of one turn after the other.
`FeatureEngine` correlates feature channels; `MutualInformationEngine` computes mutual information over intensity
levels. Both lay the turned moving plane out in the same way and share that part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from correlight.appearance.channels import Channels
from correlight.image import Float
from correlight.plane import Plane, rotation_matrix_xy

Matrix = NDArray[np.float64]
Spectrum = NDArray[np.complex64]

# Overlap and energies vary slowly from shift to shift; they are correlated on blocks of this many pixels.
_BLOCK = 4
# Least mean energy of a region, in units of the mean energy of the image: a region in which one image shows nothing
# must not be judged by its noise.
_ENERGY_FLOOR = np.float32(0.3)
# Intensity levels of the fixed and the moving image. Six against three told poses apart as well as finer ones, and
# the cost grows with their product.
_FIXED_LEVELS, _MOVING_LEVELS = 6, 3
# Mutual information has broad hills where large structures meet; a pose shows as a peak on them this many pixels wide.
_PEAK_SIGMA = 3.0
_NO_LEVEL = 255


@dataclass(frozen=True, eq=False)
class Shift:
    """The best shift of one turn.

    Parameters
    ----------
    score : float
        In standard deviations of the scores over all shifts of this turn; minus infinity where no shift is allowed.
    overlap : float
        Common valid area as a fraction of the smaller field.
    fixed_from_moving : (3, 3) array
        Pixels of the moving working image to pixels of the fixed one, (y, x) order.
    """

    score: float
    overlap: float
    fixed_from_moving: Matrix


class Engine(Protocol):
    """What the pose search asks."""

    def best_shifts(self, moving_from_fixed: Matrix) -> list[Shift]:
        """Best shifts for an orthogonal ``(2, 2)`` matrix in (y, x) order, one for each list that is kept."""
        ...


MakeEngine = Callable[[Plane, Plane, float], Engine]


class _Layout:
    """Where a turned moving plane goes, and the size of transform that keeps allowed shifts apart."""

    def __init__(self, fixed: Plane, moving: Plane, least_overlap: float) -> None:
        self.fixed_shape, self.moving_shape = fixed.values.shape, moving.values.shape
        self.smaller = max(1, min(int(np.count_nonzero(plane.mask)) for plane in (fixed, moving)))
        self.least_area = least_overlap * self.smaller
        diagonal = int(np.ceil(np.hypot(*self.moving_shape))) + 2
        # Circular correlation folds far shifts onto near ones. Shifts with less than the least overlap are not
        # looked at, so only the rest must stay apart.
        hidden = 0.7 * least_overlap * min(*self.fixed_shape, *self.moving_shape)
        self.blocks = tuple(
            fft.next_fast_len(int(n + diagonal - hidden) // _BLOCK + 1, real=True) for n in self.fixed_shape
        )
        self.shape = tuple(_BLOCK * n for n in self.blocks)

    def turned(self, moving_from_fixed: Matrix) -> tuple[Matrix, Matrix, tuple[int, int]]:
        """The orthogonal part and the whole map in OpenCV's order, and the (width, height) that it needs."""
        linear = rotation_matrix_xy(moving_from_fixed.T)
        height, width = self.moving_shape
        corners = np.array([[x, y] for x in (0, width - 1) for y in (0, height - 1)], float) @ linear.T
        low = np.floor(corners.min(axis=0))
        size = np.ceil(corners.max(axis=0) - low).astype(int) + 1
        return linear, np.column_stack([linear, -low]), (int(size[0]), int(size[1]))

    def shift(self, peak: int, score: float, overlap: float, matrix: Matrix) -> Shift:
        """The shift that a flat index into the score map stands for."""
        place = np.array(divmod(peak, self.shape[1]))
        place = np.where(place >= self.fixed_shape, place - self.shape, place)
        fixed_from_moving = np.eye(3)
        fixed_from_moving[:2, :2] = matrix[::-1, 1::-1]
        fixed_from_moving[:2, 2] = matrix[::-1, 2] + place
        return Shift(score, overlap / self.smaller, fixed_from_moving)


class FeatureEngine:
    """Correlates feature channels of a moving plane, turned any way, with those of a fixed plane.

    The planes must have pixels of one size. Spectra of the fixed plane are computed once; a pose costs a forward
    transform per plane, an inverse transform per group, and a few transforms of blocks for overlap and energies.

    Parameters
    ----------
    fixed, moving : Plane
        At working resolution.
    channels : Channels
        What is compared.
    least_overlap : float
        Shifts with a smaller common area, as a fraction of the smaller field, are not looked at.
    """

    def __init__(self, fixed: Plane, moving: Plane, channels: Channels, least_overlap: float) -> None:
        self._layout = _Layout(fixed, moving, least_overlap)
        self._shape, self._blocks = self._layout.shape, self._layout.blocks
        self._groups = channels(moving.values, moving.mask)
        groups = channels(fixed.values, fixed.mask)
        self._spectra = [self._spectrum(group.planes) for group in groups]
        slow = np.stack([fixed.mask.astype(np.float32), *(group.energy for group in groups)])
        self._slow_spectra: Spectrum = self._block_spectrum(_block_sums(slow))
        self._moving_slow = _block_sums(
            np.stack([moving.mask.astype(np.float32), *(group.energy for group in self._groups)])
        )

    def _spectrum(self, planes: Float) -> Spectrum:
        return np.asarray(fft.rfft2(planes, self._shape))

    def _block_spectrum(self, planes: Float) -> Spectrum:
        return np.asarray(fft.rfft2(planes, self._blocks))

    def _normalisers(self, matrix: Matrix, size: tuple[int, int]) -> tuple[Float, list[Float]]:
        """Overlap in pixels and one over the expected width of each group's score, on blocks of shifts."""
        # Block b covers the pixels from 4 b to 4 b + 3, so its centre lies at 4 b + 1.5.
        middle = (_BLOCK - 1) / 2
        blocks = matrix.copy()
        blocks[:, 2] = (matrix[:, :2] @ np.array([middle, middle]) + matrix[:, 2] - middle) / _BLOCK
        small = (size[0] // _BLOCK + 1, size[1] // _BLOCK + 1)
        moved = np.stack([np.asarray(cv2.warpAffine(plane, blocks, small), np.float32) for plane in self._moving_slow])
        spectra = self._block_spectrum(moved).conj()
        count = len(self._groups)
        fixed_mask, moving_mask = self._slow_spectra[0], spectra[0]
        products = [fixed_mask * moving_mask]
        products += [self._slow_spectra[1 + index] * moving_mask for index in range(count)]
        products += [fixed_mask * spectra[1 + index] for index in range(count)]
        maps = fft.irfft2(np.stack(products), self._blocks) / np.float32(_BLOCK**2)
        overlap = maps[0]
        area = np.maximum(overlap, np.float32(1))
        allowed = overlap >= self._layout.least_area
        weights = []
        for index in range(count):
            fixed_energy = np.maximum(maps[1 + index] / area, _ENERGY_FLOOR)
            moving_energy = np.maximum(maps[1 + count + index] / area, _ENERGY_FLOOR)
            # A sum of products of noise has a variance of area times both energies.
            weights.append(np.where(allowed, 1 / np.sqrt(area * fixed_energy * moving_energy), np.float32(0)))
        return overlap, weights

    def _at_every_shift(self, blocks: Float) -> Float:
        # Block shift b stands for the pixel shift 4 b; wrapping keeps the last shifts next to the first.
        around = np.pad(blocks, ((0, 1), (0, 1)), mode="wrap")
        matrix = np.array([[1 / _BLOCK, 0, 0], [0, 1 / _BLOCK, 0]])
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(around, matrix, (self._shape[1], self._shape[0]), flags=flags))

    def score_maps(self, moving_from_fixed: Matrix) -> tuple[list[Float], Float, Matrix]:
        """Score of each group at every circular shift, overlap per block, and how the moving plane was laid out.

        Parameters
        ----------
        moving_from_fixed : (2, 2) array
            Orthogonal: a rotation, possibly mirrored, in (y, x) order.
        """
        linear, matrix, size = self._layout.turned(moving_from_fixed)
        overlap, weights = self._normalisers(matrix, size)
        maps = []
        for spectra, group, weight in zip(self._spectra, self._groups, weights, strict=True):
            moved = self._spectrum(group.moved(linear, matrix, size))
            np.conjugate(moved, out=moved)
            moved *= spectra
            score = fft.irfft2(moved.sum(axis=0), self._shape, overwrite_x=True)
            score *= self._at_every_shift(weight)
            sample = score[::2, ::2]
            width = np.sqrt(float(np.vdot(sample, sample)) / max(1, 4 * int(np.count_nonzero(weight))))
            score /= max(np.float32(width), np.float32(1e-9))
            maps.append(score)
        return maps, overlap, matrix

    def best_shifts(self, moving_from_fixed: Matrix) -> list[Shift]:
        """The best shift by the first group alone, by the first two together, and so on.

        A pair may share the directions of its edges but not where they are strong, or the other way round; the
        caller keeps the best of each list.
        """
        maps, overlap, matrix = self.score_maps(moving_from_fixed)
        shifts = []
        total = np.zeros(self._shape, np.float32)
        for count, scores in enumerate(maps, start=1):
            total += scores
            peak = int(np.argmax(total))
            row, column = divmod(peak, self._shape[1])
            near = (round(row / _BLOCK) % self._blocks[0], round(column / _BLOCK) % self._blocks[1])
            # Shifts that are not allowed score zero; where nothing stands above them, there is nothing to propose.
            score = float(total.flat[peak]) / count**0.5 if total.flat[peak] > 0 else -np.inf
            shifts.append(self._layout.shift(peak, score, float(overlap[near]), matrix))
        return shifts


class MutualInformationEngine:
    """Mutual information over intensity levels at every shift, under masks.

    The joint histogram at all shifts is the correlation of level sets (Öfverstedt, Lindblad and Sladoje 2022,
    doi:10.1016/j.patrec.2022.05.009). A turn costs one forward transform per moving level and one inverse transform
    per pair of levels; marginals are sums of those.

    Parameters
    ----------
    fixed, moving : Plane
        At working resolution, with pixels of one size.
    least_overlap : float
        Shifts with a smaller common area, as a fraction of the smaller field, are not looked at.
    """

    def __init__(self, fixed: Plane, moving: Plane, least_overlap: float) -> None:
        self._layout = _Layout(fixed, moving, least_overlap)
        self._levels = _levels(moving, _MOVING_LEVELS)
        fixed_levels = _levels(fixed, _FIXED_LEVELS)
        planes = np.stack([fixed_levels == level for level in range(_FIXED_LEVELS)]).astype(np.float32)
        self._spectra = np.asarray(fft.rfft2(planes, self._layout.shape))

    def best_shifts(self, moving_from_fixed: Matrix) -> list[Shift]:
        """The shift with the sharpest peak of mutual information."""
        _, matrix, size = self._layout.turned(moving_from_fixed)
        turned = cv2.warpAffine(self._levels, matrix, size, flags=cv2.INTER_NEAREST, borderValue=_NO_LEVEL)
        planes = np.stack([turned == level for level in range(_MOVING_LEVELS)]).astype(np.float32)
        spectra = fft.rfft2(planes, self._layout.shape).conj()
        counts = fft.irfft2(self._spectra[:, None] * spectra[None], self._layout.shape)
        # A count below a hundredth is rounding.
        np.maximum(counts, np.float32(0.01), out=counts)
        area = counts.sum(axis=(0, 1))
        information = _x_log_x(counts).sum(axis=(0, 1)) + _x_log_x(area)
        information -= _x_log_x(counts.sum(axis=1)).sum(axis=0) + _x_log_x(counts.sum(axis=0)).sum(axis=0)
        information /= area
        allowed = area >= self._layout.least_area
        score = _peaks(information, allowed)
        peak = int(np.argmax(score))
        return [self._layout.shift(peak, float(score.flat[peak]), float(area.flat[peak]), matrix)]


def _levels(plane: Plane, count: int) -> NDArray[np.uint8]:
    """Number of the intensity level of each pixel; 255 outside the mask.

    Levels hold equal shares of the pixels, except that a floor holding more than its share is one level and the rest
    is shared among the others.
    """
    valid = plane.values[plane.mask]
    low = float(valid.min()) if valid.size else 0.0
    cuts = np.quantile(valid, np.arange(1, count) / count) if valid.size else np.zeros(count - 1)
    if np.any(cuts <= low):
        above = valid[valid > low]
        inner = np.quantile(above, np.arange(1, count - 1) / (count - 1)) if above.size else np.full(count - 2, low)
        cuts = np.concatenate([[np.nextafter(np.float32(low), np.float32(2))], inner])
    levels = np.searchsorted(cuts.astype(np.float32), plane.values, side="right").astype(np.uint8)
    levels[~plane.mask] = _NO_LEVEL
    return levels


def _x_log_x(values: Float) -> Float:
    return np.asarray(values * np.log(values))


def _peaks(values: Float, allowed: NDArray[np.bool_]) -> Float:
    """How far each value stands above its surround, in standard deviations over the allowed shifts."""
    weight = allowed.astype(np.float32)
    around = cv2.GaussianBlur(values * weight, (0, 0), _PEAK_SIGMA)
    above = values - around / np.maximum(cv2.GaussianBlur(weight, (0, 0), _PEAK_SIGMA), np.float32(1e-3))
    width = float(above[allowed].std()) if allowed.any() else 1.0
    return np.where(allowed, above / np.float32(max(width, 1e-9)), np.float32(-np.inf))


def _block_sums(planes: Float) -> Float:
    """Sums over blocks of pixels, shape ``(C, Y, X)``; an incomplete last block counts with what it has."""
    rows, columns = (-n % _BLOCK for n in planes.shape[1:])
    padded = np.pad(planes, ((0, 0), (0, rows), (0, columns)))
    count, height, width = padded.shape
    blocks = padded.reshape(count, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return np.asarray(blocks.sum(axis=(2, 4)), np.float32)
