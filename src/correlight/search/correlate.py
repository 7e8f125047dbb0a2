"""The engine of the search by features: a score for every shift of one turn, by FFT under validity masks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol
from weakref import WeakKeyDictionary

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from correlight.appearance.channels import Channels
from correlight.image import Float
from correlight.plane import Plane
from correlight.search.turns import Matrix, turned

Spectrum = NDArray[np.complex64]

# Overlap and energies vary slowly from shift to shift; they are correlated on blocks of this many pixels of a plane.
_BLOCK = 4
# Least mean energy of a region, in units of the mean energy of the image: a region in which one image shows nothing
# must not be judged by its noise.
_ENERGY_FLOOR = np.float32(0.3)


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


class MakeEngine(Protocol):
    """Makes the engine for a fixed and a moving working plane and a least overlap."""

    @property
    def stride(self) -> int:
        """Pixels of the working planes per pixel that the engine compares: the larger, the finer they should be."""
        ...

    def __call__(self, fixed: Plane, moving: Plane, least_overlap: float, /) -> Engine:
        """The engine."""
        ...


@dataclass(frozen=True)
class ByFeatures:
    """Makes engines that correlate feature channels.

    The search lays the smaller image, at one size, on the larger one at size after size. Channels of turns of a moving
    plane are therefore kept as long as the plane lives, and shared by all engines for it.

    Parameters
    ----------
    channels : Channels
        What is compared.
    stride : int
        That of its groups.
    """

    channels: Channels
    stride: int = 1
    _kept: WeakKeyDictionary[Plane, dict[float, _Look]] = field(
        default_factory=WeakKeyDictionary, init=False, repr=False, compare=False
    )

    def __call__(self, fixed: Plane, moving: Plane, least_overlap: float, /) -> FeatureEngine:
        """The engine for two planes."""
        kept = self._kept.setdefault(moving, {})
        return FeatureEngine(fixed, moving, self.channels, least_overlap, self.stride, kept)


@dataclass(frozen=True, eq=False)
class _Look:
    """The channels of one image turned one way.

    Parameters
    ----------
    canvas_from_image : (3, 3) array
        Pixels to pixels of the working image and its canvas.
    planes : list of (C, y, x) arrays
        Of each group.
    slow : (1 + G, y, x) array
        Valid pixels, and the energy of each group, summed over blocks.
    """

    canvas_from_image: Matrix
    planes: list[Float]
    slow: Float


@dataclass(frozen=True, eq=False)
class _View:
    """One image turned one way, ready to be correlated.

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


class FeatureEngine:
    """Correlates the feature channels of two planes, one of them turned any way.

    The planes must have pixels of one size. Channels are computed from turned images, not turned themselves, so that
    they need not be alike in all directions. A turn is split in two: the fixed image takes the quarter turns and the
    mirror image, the moving image the rest, which is below 90 degrees. Turns that differ by quarter turns or in
    handedness therefore share the features of both images, and cost one product of spectra and one inverse transform
    for each group.

    Parameters
    ----------
    fixed, moving : Plane
        At working resolution.
    channels : Channels
        What is compared; groups of one stride.
    least_overlap : float
        Shifts with a smaller common area, as a fraction of the smaller field, are not looked at.
    stride : int
        That of the groups.
    kept : dict, optional
        Channels of turns of the moving plane that are known already; new ones are added.

    Notes
    -----
    Spectra of the last turn of the moving image are kept: ask for turns that share them one after the other.
    """

    def __init__(
        self,
        fixed: Plane,
        moving: Plane,
        channels: Channels,
        least_overlap: float,
        stride: int = 1,
        kept: dict[float, _Look] | None = None,
    ) -> None:
        self._fixed, self._moving, self._channels = fixed, moving, channels
        self._kept = {} if kept is None else kept
        self._stride = stride
        self._smaller = max(1.0, min(np.count_nonzero(plane.mask) for plane in (fixed, moving)) / self._stride**2)
        self._least_area = least_overlap * self._smaller
        # Circular correlation folds far shifts onto near ones. Shifts with less than the least overlap are not
        # looked at, so only the rest must stay apart.
        sides = [*fixed.values.shape, *moving.values.shape]
        diagonal = np.hypot(*moving.values.shape)
        most = (max(fixed.values.shape) + diagonal - 0.7 * least_overlap * min(sides)) / self._stride + 3
        blocks = fft.next_fast_len(int(most) // _BLOCK + 1, real=True)
        self._blocks, self._shape = (blocks, blocks), (_BLOCK * blocks, _BLOCK * blocks)
        self._fixed_views: dict[tuple[int, bool], _View] = {}
        self._moving_view: tuple[float, _View] | None = None

    def best_shifts(self, moving_from_fixed: Matrix) -> list[Shift]:
        """The best shift by the first group alone, by the first two together, and so on.

        A pair may share the directions of its edges but not where they are strong, or the other way round; the
        caller keeps the best of each list.
        """
        maps, overlap, views = self.score_maps(moving_from_fixed)
        shifts = []
        total = np.zeros(self._shape, np.float32)
        for count, scores in enumerate(maps, start=1):
            total += scores
            peak = int(np.argmax(total))
            place = np.array(divmod(peak, self._shape[1]))
            near = tuple(np.rint(place / _BLOCK).astype(int) % self._blocks[0])
            # Shifts that are not allowed score zero; where nothing stands above them, there is nothing to propose.
            score = float(total.flat[peak]) / count**0.5 if total.flat[peak] > 0 else -np.inf
            shifts.append(Shift(score, float(overlap[near]) / self._smaller, self._laid(place, *views)))
        return shifts

    def score_maps(self, moving_from_fixed: Matrix) -> tuple[list[Float], Float, tuple[_View, _View]]:
        """Score of each group at every circular shift, overlap per block, and the views of both images.

        Parameters
        ----------
        moving_from_fixed : (2, 2) array
            Orthogonal: a rotation, possibly mirrored, in (y, x) order.
        """
        quarters, mirror, rest = _split(moving_from_fixed.T)
        fixed, moving = self._view_of_fixed(quarters, mirror), self._view_of_moving(rest)
        overlap, weights = self._normalisers(fixed, moving)
        maps = []
        for own, other, weight in zip(fixed.spectra, moving.spectra, weights, strict=True):
            product = _summed_product(own, other)
            score = np.asarray(fft.irfft2(product, self._shape, overwrite_x=True), np.float32)
            score *= self._at_every_shift(weight)
            sample = score[::2, ::2]
            width = np.sqrt(float(np.vdot(sample, sample)) / max(1, 4 * int(np.count_nonzero(weight))))
            score /= max(np.float32(width), np.float32(1e-9))
            maps.append(score)
        return maps, overlap, (fixed, moving)

    def _view_of_fixed(self, quarters: int, mirror: bool) -> _View:
        if (quarters, mirror) not in self._fixed_views:
            # Undoing the quarter turns and the mirror image leaves the moving image its rest of the turn.
            look = self._look(self._fixed, _quarter_turns(quarters, mirror).T)
            self._fixed_views[quarters, mirror] = self._view(look)
        return self._fixed_views[quarters, mirror]

    def _view_of_moving(self, degrees: float) -> _View:
        if self._moving_view is None or self._moving_view[0] != degrees:
            if degrees not in self._kept:
                self._kept[degrees] = self._look(self._moving, _rotation(degrees))
            view = self._view(self._kept[degrees])
            # A correlation needs the conjugate of one of the two.
            view = _View(view.canvas_from_image, [spectra.conj() for spectra in view.spectra], view.slow.conj())
            self._moving_view = degrees, view
        return self._moving_view[1]

    def _look(self, plane: Plane, linear: Matrix) -> _Look:
        values, mask, matrix = turned(plane, linear)
        groups = self._channels(values, mask)
        # Overlap is counted where the image is valid: features stay away from the rim by their own reach.
        slow = np.stack(
            [mask[:: self._stride, :: self._stride].astype(np.float32), *(group.energy for group in groups)]
        )
        return _Look(matrix, [group.planes for group in groups], _block_sums(slow))

    def _view(self, look: _Look) -> _View:
        spectra = [np.asarray(fft.rfft2(planes, self._shape)) for planes in look.planes]
        return _View(look.canvas_from_image, spectra, np.asarray(fft.rfft2(look.slow, self._blocks)))

    def _normalisers(self, fixed: _View, moving: _View) -> tuple[Float, list[Float]]:
        """Overlap in pixels and one over the expected width of each group's score, on blocks of shifts."""
        count = len(fixed.spectra)
        products = np.concatenate(
            [fixed.slow[:1] * moving.slow[:1], fixed.slow[1:] * moving.slow[:1], fixed.slow[:1] * moving.slow[1:]]
        )
        maps = fft.irfft2(products, self._blocks) / np.float32(_BLOCK**2)
        overlap = maps[0]
        area = np.maximum(overlap, np.float32(1))
        allowed = overlap >= self._least_area
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

    def _laid(self, place: NDArray[np.intp], fixed: _View, moving: _View) -> Matrix:
        """Pixels of the moving working image to those of the fixed one, for a place in the score map."""
        # Shifts reach from the least overlap on one side to that on the other; what lies beyond the largest canvas
        # of the fixed image is a negative shift.
        limit = max(self._fixed.values.shape) / self._stride
        shift = np.eye(3)
        shift[:2, 2] = self._stride * np.where(place >= limit, place - self._shape[0], place)
        return np.asarray(np.linalg.inv(fixed.canvas_from_image) @ shift @ moving.canvas_from_image)


def _summed_product(ones: Spectrum, others: Spectrum) -> Spectrum:
    """Sum over the planes; plane by plane, which stays in the cache of the processor."""
    total: Spectrum = ones[0] * others[0]
    part = np.empty_like(total)
    for one, other in zip(ones[1:], others[1:], strict=True):
        np.multiply(one, other, out=part)
        total += part
    return total


def rest_of_turn(moving_from_fixed: Matrix) -> float:
    """The part of a turn in degrees that the moving image takes; turns that share it share features."""
    return _split(moving_from_fixed.T)[2]


def _split(fixed_from_moving: Matrix) -> tuple[int, bool, float]:
    """Quarter turns, mirror image and the rest of a turn in degrees, below 90, whose product it is."""
    mirror = bool(np.linalg.det(fixed_from_moving) < 0)
    pure = np.diag([-1.0, 1.0]) @ fixed_from_moving if mirror else fixed_from_moving
    angle = float(np.degrees(np.arctan2(pure[0, 1], pure[0, 0]))) % 360.0
    rest = round(angle % 90.0, 9) % 90.0
    return round((angle - rest) / 90.0) % 4, mirror, rest


def _rotation(degrees: float) -> Matrix:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s], [-s, c]])


def _quarter_turns(quarters: int, mirror: bool) -> Matrix:
    turn = np.rint(_rotation(90.0 * quarters))
    return np.asarray(np.diag([-1.0, 1.0]) @ turn if mirror else turn)


def _block_sums(planes: Float) -> Float:
    """Sums over blocks of pixels, shape ``(C, Y, X)``; an incomplete last block counts with what it has."""
    rows, columns = (-n % _BLOCK for n in planes.shape[1:])
    padded = np.pad(planes, ((0, 0), (0, rows), (0, columns)))
    count, height, width = padded.shape
    blocks = padded.reshape(count, height // _BLOCK, _BLOCK, width // _BLOCK, _BLOCK)
    return np.asarray(blocks.sum(axis=(2, 4)), np.float32)
