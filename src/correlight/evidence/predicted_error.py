"""The predicted error: how far off a transform may be, place by place.

Every method predicts errors in its own way and hands over a function of places; the map over the fixed image is made
here, the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from correlight.geometry import Grid, Points
from correlight.transforms import Transform

# 95 % quantile of a length whose components are normal, over its root mean square: of chi-square with 2 and 3 degrees.
_BOUND = {2: 1.731, 3: 1.614}
# Places along the longest axis of an image, and along each axis of a volume, at which the error is predicted.
_PLACES, _PLACES_IN_SPACE = 24, (5, 16, 16)

ErrorAt = Callable[[Points], NDArray[np.float64]]


@dataclass(frozen=True, slots=True, eq=False)
class PredictedError:
    """How far a place may be from where it belongs.

    Parameters
    ----------
    values : (*grid.shape) array of float32
        Root mean square error to expect at each point of a coarse grid over the fixed image; NaN where it is unknown.
    grid : Grid
        Where the values stand; its unit is the unit of the values.
    """

    values: NDArray[np.float32]
    grid: Grid

    @property
    def bound(self) -> NDArray[np.float32]:
        """What the error of each place stays below in 95 of 100 cases, if errors along both axes are normal."""
        return np.asarray(_BOUND[self.grid.ndim] * self.values, np.float32)

    @property
    def median(self) -> float:
        """Median over the places that the moving image covers; NaN if there are none."""
        known = self.values[np.isfinite(self.values)]
        return float(np.median(known)) if known.size else float("nan")

    @property
    def p95(self) -> float:
        """95th percentile over the places that the moving image covers; NaN if there are none."""
        known = self.values[np.isfinite(self.values)]
        return float(np.percentile(known, 95)) if known.size else float("nan")

    @property
    def within(self) -> float:
        """The length that the errors of 95 % of the places stay below, if errors along all axes are normal.

        Larger than `p95`, which compares places but says nothing of how far one error exceeds its root mean square. NaN
        where nothing is known.
        """
        known = self.values[np.isfinite(self.values)].astype(np.float64)
        if not known.size or not known.max() > 0:
            return float(known.max()) if known.size else float("nan")
        ndim = self.grid.ndim

        def above(length: float) -> float:
            with np.errstate(divide="ignore"):
                return float(np.mean(special.chdtrc(ndim, ndim * (length / known) ** 2))) - 0.05

        return float(optimize.brentq(above, 0.0, 3.0 * known.max(), xtol=1e-6 * known.max()))

    def to_json(self) -> dict[str, Any]:
        """Median, 95th percentile and the length that 95 % stay below, as in ``result.json``."""
        return {
            "median": self.median if np.isfinite(self.median) else None,
            "p95": self.p95 if np.isfinite(self.p95) else None,
            "within": self.within if np.isfinite(self.within) else None,
            "bound_factor": _BOUND[self.grid.ndim],
            "unit": self.grid.unit,
        }


def predict(error_at: ErrorAt, moving_from_fixed: Transform, fixed: Grid, moving: Grid) -> PredictedError:
    """The predicted error on a coarse grid over the fixed image; NaN where the moving image does not reach.

    Parameters
    ----------
    error_at : callable
        Root mean square error in fixed units at ``(N, D)`` places of the fixed image; NaN where it is unknown.
    moving_from_fixed : Transform
        Where the places lie in the moving image.
    fixed, moving : Grid
        The two images.
    """
    if fixed.ndim == 2:
        shape = tuple(max(2, round(_PLACES * n / max(fixed.shape))) for n in fixed.shape)
    else:
        shape = tuple(min(n, count) for n, count in zip(fixed.shape, _PLACES_IN_SPACE, strict=True))
    grid = fixed.resized(shape)
    places = grid.lattice_of_pixels()
    values = np.array(error_at(places), np.float64)
    values[~moving.contains(moving_from_fixed(places))] = np.nan
    return PredictedError(values.reshape(shape).astype(np.float32), grid)


def unknown(fixed: Grid) -> PredictedError:
    """The predicted error of a result that was not found: unknown everywhere."""
    shape = tuple(min(2, n) for n in fixed.shape)
    return PredictedError(np.full(shape, np.nan, np.float32), fixed.resized(shape))


def spread(
    estimates: Iterable[tuple[Transform, Transform]], scale: float, least: float, factor: float = 1.0
) -> ErrorAt:
    """The error that follows from how far independent estimates of one transform lie apart.

    Fits to two halves of the evidence differ by twice the error of the fit to all of it, if their errors are
    independent. Pairs of estimates of other kinds (by another measure, with exchanged images) count likewise, as they
    show what a single measure cannot see.

    Parameters
    ----------
    estimates : iterable of pairs of Transform
        Each ``moving_from_fixed``.
    scale : float
        Moving units per fixed unit.
    least : float
        No place is known better than to this, in fixed units.
    factor : float
        By how much such estimates understate the error.
    """
    pairs = tuple(estimates)

    def error_at(places: Points) -> NDArray[np.float64]:
        variance = sum(np.sum((a(places) - b(places)) ** 2, axis=1) for a, b in pairs) / (2 * scale) ** 2
        return np.asarray(factor * np.sqrt(variance + least**2))

    return error_at


def coarser_pixel(fixed: Grid, moving: Grid, scale: float) -> float:
    """Size of a pixel of the coarser image in fixed units: its longer side in the plane, its mean in space."""
    if fixed.ndim == 2:
        return float(max(*fixed.spacing, *(step / scale for step in moving.spacing)))
    return float(max(np.prod(grid.spacing) ** (1 / 3) / by for grid, by in ((fixed, 1.0), (moving, scale))))
