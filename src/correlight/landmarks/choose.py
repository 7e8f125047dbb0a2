"""Which kind of transform the landmarks can carry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from correlight.errors import TransformError
from correlight.landmarks.estimate import MOST_OF_SPLINES, LinearEstimate, SplineEstimate, estimate
from correlight.landmarks.expected import Estimate, LandmarkModel, Noise

# A spline needs something left over to find its smoothness from.
_SPARE_FOR_SPLINES = 4
_STANDARD_ERRORS = 2.0
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class ModelChoice:
    """The kind that predicts landmarks best which it has not seen, and why.

    Parameters
    ----------
    estimate : LinearEstimate or SplineEstimate
        The transform of that kind.
    reason : str
        In words.
    """

    estimate: LinearEstimate | SplineEstimate
    reason: str


def choose_model(
    fixed_points: ArrayLike,
    moving_points: ArrayLike,
    models: Sequence[LandmarkModel] = ("similarity", "affine", "thin-plate"),
    *,
    symbol: str = "",
    fixed_error: ArrayLike | None = None,
    moving_error: ArrayLike | None = None,
    noise: Noise = "isotropic",
) -> ModelChoice:
    """The simplest kind of transform that richer ones do not clearly beat at landmarks left out of the fit.

    Parameters
    ----------
    fixed_points, moving_points : (N, D) arrays
        The landmarks.
    models : sequence of str
        Kinds to choose from, the simplest first.
    symbol : str
        Of the fixed unit, for the reason.
    fixed_error, moving_error, noise
        As for `estimate`.

    Raises
    ------
    TransformError
        If the landmarks do not determine even the simplest kind.

    Notes
    -----
    A richer kind always comes closer to the landmarks that it was fitted to, so each is left out in turn. Richer is
    taken if the mean squared distance falls by more than two standard errors.

    Examples
    --------
    >>> grid = np.stack(np.meshgrid([0, 5, 10], [0, 5, 10.0]), -1).reshape(-1, 2)
    >>> choose_model(grid, grid @ [[2, 0.3], [0, 1]] + [1, 1]).estimate.model
    'affine'
    """
    fixed, moving = np.asarray(fixed_points, float), np.asarray(moving_points, float)

    def of(model: LandmarkModel) -> LinearEstimate | SplineEstimate:
        return estimate(fixed, moving, model, fixed_error=fixed_error, moving_error=moving_error, noise=noise)

    best, tried = of(models[0]), []
    for model in models[1:]:
        if model in ("thin-plate", "elastic") and len(fixed) > MOST_OF_SPLINES:
            tried.append(f"{_a(model)} was not tried, as there are more than {MOST_OF_SPLINES:,} landmarks")
            break
        try:
            richer = of(model)
        except TransformError:
            break
        if model in ("thin-plate", "elastic") and len(fixed) < fixed.shape[1] + 1 + _SPARE_FOR_SPLINES:
            break
        gains = np.sum(best.left_out**2, axis=1) - np.sum(richer.left_out**2, axis=1)
        if len(gains) < 2 or not np.isfinite(gains).all():
            break
        before, after = left_out_error(best), left_out_error(richer)
        figures = f"{before:.3g} and {after:.3g}{' ' + symbol if symbol else ''}"
        # Where landmarks agree to the last digit, a richer kind does nothing but shuffle rounding.
        rounding = _ROUNDING * float(np.abs(fixed - fixed.mean(axis=0)).max())
        taken = before > rounding and gains.mean() > _STANDARD_ERRORS * gains.std(ddof=1) / np.sqrt(len(gains))
        tried.append(f"errors at landmarks left out of the fit are {figures} with {_a(best.model)} and {_a(model)}")
        if taken:
            best = richer
    reason = "; ".join(tried) if tried else "there are too few landmarks to tell whether a richer model would be better"
    return ModelChoice(best, reason)


def left_out_error(found: Estimate) -> float:
    """Root mean square distance of landmarks from where the others put them, in the fixed unit; NaN where unknown."""
    squared = np.sum(found.left_out**2, axis=1)
    return float(np.sqrt(np.nanmean(squared))) if np.isfinite(squared).any() else float("nan")


def _a(model: LandmarkModel) -> str:
    noun = {"thin-plate": "thin-plate spline", "elastic": "elastic spline"}.get(model, f"{model} transform")
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"
