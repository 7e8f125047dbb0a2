"""The predicted error: how far off a transform may be, place by place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid

# 95 % quantile of a length whose components are normal, over its root mean square: of chi-square with 2 and 3 degrees.
_BOUND = {2: 1.731, 3: 1.614}


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

    def to_json(self) -> dict[str, Any]:
        """Median and 95th percentile with the unit, as in ``result.json``."""
        return {
            "median": self.median if np.isfinite(self.median) else None,
            "p95": self.p95 if np.isfinite(self.p95) else None,
            "bound_factor": _BOUND[self.grid.ndim],
            "unit": self.grid.unit,
        }
