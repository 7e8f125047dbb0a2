"""Two clouds of points in one scale, and coherent point drift between them with few points first and then with all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Points
from correlight.point_clouds.drift import Family, Found, Linear, Smooth, drift
from correlight.point_clouds.mixture import Mixture, evenly
from correlight.point_clouds.smooth import Basis
from correlight.transforms import Affine

CloudModel = Literal["rigid", "similarity", "affine", "elastic"]
Float64 = NDArray[np.float64]

# Points that a fit begins with: while the mixture is wide, few give as much information as all.
_FIRST = (600,)


@dataclass(frozen=True, eq=False)
class CloudPair:
    """Both clouds with the middle of each at zero and lengths in root mean square radii of the moving one."""

    fixed: Points
    moving: Points
    middle_of_fixed: Float64
    middle_of_moving: Float64
    size: float

    @classmethod
    def of(cls, fixed: Points, moving: Points, start: Affine | None, model: str) -> CloudPair:
        """The pair, or `UsageError` where the numbers of axes differ."""
        if fixed.shape[1] != moving.shape[1] or (start is not None and start.ndim != fixed.shape[1]):
            raise UsageError(
                f"Both clouds and the start must have as many axes; got {fixed.shape[1]} and {moving.shape[1]}"
                + ("." if start is None else f" and {start.ndim}.")
            )
        middles = [cloud.mean(axis=0) if len(cloud) else np.zeros(cloud.shape[1]) for cloud in (fixed, moving)]
        size = float(np.sqrt(np.mean(np.sum((moving - middles[1]) ** 2, axis=1)))) if len(moving) else 0.0
        size = size if size > 0 else 1.0
        return cls((fixed - middles[0]) / size, (moving - middles[1]) / size, middles[0], middles[1], size)

    @property
    def volume(self) -> float:
        """Of the box that holds the moving points; a flat one counts as a tenth thick."""
        sides = np.ptp(self.moving, axis=0)
        return float(np.prod(np.maximum(sides, 0.1 * sides.max())))

    def radius_of_fixed(self, begin: tuple[Float64, Float64]) -> float:
        """Root mean square radius of the fixed points after the linear part of a start."""
        return float(np.sqrt(np.mean(np.sum((self.fixed @ begin[0].T) ** 2, axis=1))))

    def into(self, start: Affine) -> tuple[Float64, Float64]:
        """Linear part and offset between the centred clouds."""
        offset = start.linear @ self.middle_of_fixed + start.offset - self.middle_of_moving
        return np.array(start.linear), np.asarray(offset / self.size)

    def first_variance(self, begin: tuple[Float64, Float64]) -> float:
        """Mean squared distance of all pairs along one axis, where the drift of the paper begins."""
        moved = self.fixed @ begin[0].T + begin[1]
        apart = moved.mean(axis=0) - self.moving.mean(axis=0)
        return float((moved.var(axis=0).sum() + self.moving.var(axis=0).sum() + apart @ apart) / moved.shape[1])

    def subset(self, count: int) -> CloudPair:
        """The same with about ``count`` points each, spread evenly over each cloud."""
        fixed, moving = (cloud[evenly(cloud, count)] for cloud in (self.fixed, self.moving))
        return CloudPair(fixed, moving, self.middle_of_fixed, self.middle_of_moving, self.size)


def drift_in_steps(
    clouds: CloudPair,
    model: CloudModel,
    begin: tuple[Float64, Float64],
    variance: float,
    outliers: float,
    smoothness: tuple[float, float] | None,
    tolerance: float,
    most: int,
) -> Found:
    """Drift with few points while the mixture is wide, then with all."""
    if model == "elastic":
        assert smoothness is not None
        placed = clouds.fixed @ begin[0].T + begin[1]
        basis = Basis.of(placed, smoothness[0])
        vector = np.zeros(basis.factor.shape[1] * placed.shape[1])
    else:
        vector = np.concatenate([begin[0].ravel(), begin[1]])
    for count in _levels(clouds):
        rows, columns = evenly(clouds.fixed, count), evenly(clouds.moving, count)
        last = len(rows) == len(clouds.fixed) and len(columns) == len(clouds.moving)
        mixture = Mixture(clouds.moving[columns], outliers, clouds.volume)
        family: Family
        if model == "elastic":
            family = Smooth(placed, begin, basis, rows, *smoothness)  # type: ignore[misc]
        else:
            family = Linear(clouds.fixed[rows], model, begin[0])
        found = drift(
            family, mixture, vector, variance, tolerance if last else max(tolerance, 1e-3), most if last else 80
        )
        vector, variance = found.vector, found.variance
    return found


def _levels(clouds: CloudPair) -> list[int]:
    """Numbers of points to drift with, few first."""
    most = max(len(clouds.fixed), len(clouds.moving))
    return [count for count in _FIRST if 2 * count < most] + [most]


def linear_of(found: Found) -> tuple[Float64, Float64]:
    """Linear part and offset of a rigid, similarity or affine fit, between the clouds in their common scale."""
    assert isinstance(found.family, Linear)
    return found.family.parts(found.vector)
