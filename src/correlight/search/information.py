"""The engine of the search by mutual information over intensity levels, under masks, at every shift."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from correlight.images.image import Float32
from correlight.images.plane import Plane
from correlight.search.correlate import MOST_SCALED, Shift
from correlight.search.limits import NearStart
from correlight.search.rotation import Matrix, canvas, inverse_of

# Intensity levels of the fixed and the moving image. Six against three separated poses as well as finer ones, and
# the cost grows with their product.
_FIXED_LEVELS, _MOVING_LEVELS = 6, 3
# Mutual information has broad hills where large structures meet; a pose shows as a peak on them this many pixels wide.
_PEAK_SIGMA = 3.0
_NO_LEVEL = 255


class MutualInformationEngine:
    """Mutual information over intensity levels at every shift, under masks.

    The joint histogram at all shifts is the correlation of level sets (Öfverstedt, Lindblad and Sladoje 2022,
    doi:10.1016/j.patrec.2022.05.009). A rotation costs one forward transform per moving level and one inverse transform
    per pair of levels; marginals are sums of those.

    Parameters
    ----------
    fixed, moving : Plane
        At working resolution, with pixels of one size.
    least_overlap : float
        Shifts with a smaller common area, as a fraction of the smaller field, are not considered.
    step : float
        Levels are rotated with the image at no cost; other than 0, rotations may also scale by a few percent.
    start : NearStart, optional
        In pixels of both planes; shifts that are not near it are not considered.
    """

    stride = 1

    def __init__(
        self, fixed: Plane, moving: Plane, least_overlap: float, step: float = 0.0, start: NearStart | None = None, /
    ) -> None:
        self._start = start
        self._moving_shape = moving.values.shape
        self._fixed_shape = np.array(fixed.values.shape)
        self._smaller = max(1, min(int(np.count_nonzero(plane.mask)) for plane in (fixed, moving)))
        self._least_area = least_overlap * self._smaller
        # Circular correlation folds far shifts onto near ones. Shifts with less than the least overlap are not
        # considered, so only the rest must stay apart.
        diagonal = np.hypot(*self._moving_shape) * (MOST_SCALED if step else 1) + 2
        most = diagonal - 0.7 * least_overlap * min(*self._fixed_shape, *self._moving_shape)
        self._shape = tuple(fft.next_fast_len(int(n + most) + 1, real=True) for n in self._fixed_shape)
        self._levels = _levels(moving, _MOVING_LEVELS)
        fixed_levels = _levels(fixed, _FIXED_LEVELS)
        planes = np.stack([fixed_levels == level for level in range(_FIXED_LEVELS)]).astype(np.float32)
        self._spectra = np.asarray(fft.rfft2(planes, self._shape))

    def best_shifts(self, moving_from_fixed: Matrix) -> list[Shift]:
        """The shift with the sharpest peak of mutual information."""
        canvas_from_moving, size = canvas(self._moving_shape, inverse_of(moving_from_fixed))
        matrix_xy = canvas_from_moving[:2][::-1, [1, 0, 2]]
        turned = cv2.warpAffine(self._levels, matrix_xy, size, flags=cv2.INTER_NEAREST, borderValue=_NO_LEVEL)
        planes = np.stack([turned == level for level in range(_MOVING_LEVELS)]).astype(np.float32)
        spectra = fft.rfft2(planes, self._shape).conj()
        counts = fft.irfft2(self._spectra[:, None] * spectra[None], self._shape)
        # A count below a hundredth is rounding.
        np.maximum(counts, np.float32(0.01), out=counts)
        area = counts.sum(axis=(0, 1))
        information = _x_log_x(counts).sum(axis=(0, 1)) + _x_log_x(area)
        information -= _x_log_x(counts.sum(axis=1)).sum(axis=0) + _x_log_x(counts.sum(axis=0)).sum(axis=0)
        information /= area
        score = _peaks(information, area >= self._least_area)
        if self._start is not None:
            there = self._start.moving @ canvas_from_moving[:2, :2].T + canvas_from_moving[:2, 2]
            rows, columns = (
                np.where(np.arange(size) >= own, np.arange(size) - size, np.arange(size))
                for size, own in zip(self._shape, self._fixed_shape, strict=True)
            )
            score[~self._start.shifts(there - self._start.fixed, rows, columns)] = -np.inf
        peak = int(np.argmax(score))
        place = np.array(divmod(peak, self._shape[1]))
        shift = np.eye(3)
        shift[:2, 2] = np.where(place >= self._fixed_shape, place - self._shape, place)
        return [Shift(float(score.flat[peak]), float(area.flat[peak]) / self._smaller, shift @ canvas_from_moving)]


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


def _x_log_x(values: Float32) -> Float32:
    return np.asarray(values * np.log(values))


def _peaks(values: Float32, allowed: NDArray[np.bool_]) -> Float32:
    """How far each value lies above its surround, in standard deviations over the allowed shifts."""
    weight = allowed.astype(np.float32)
    around = cv2.GaussianBlur(values * weight, (0, 0), _PEAK_SIGMA)
    above = values - around / np.maximum(cv2.GaussianBlur(weight, (0, 0), _PEAK_SIGMA), np.float32(1e-3))
    width = float(above[allowed].std()) if allowed.any() else 1.0
    return np.where(allowed, above / np.float32(max(width, 1e-9)), np.float32(-np.inf))
