"""Splines through landmarks that are as smooth as the landmarks allow, and how far they may be off in between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.transforms import Affine, ThinPlate
from correlight.transforms.spline import radial

Float64 = NDArray[np.float64]

# Roughness against noise is sought over so many powers of ten on both sides of where they are equal.
_DECADES = 8


@dataclass(frozen=True, eq=False)
class SmoothFit:
    """A spline fitted to displacements that are known at landmarks.

    Parameters
    ----------
    spline : ThinPlate
        The map within one frame.
    roughness : float
        Variance of the random bends, the scale of the kernel.
    noise : float
        Variance of a displacement relative to the covariances given.
    degrees_of_freedom : int
        Number of coordinates that the affine part leaves over.
    apart : (N, D) array
        How far each landmark lies from where the others would put it.
    apart_covariances : (N, D, D) array
        What was to be expected of `apart`.
    inverse : (M, M) array
        Inverse of the system of equations that was solved.
    """

    spline: ThinPlate
    roughness: float
    noise: float
    degrees_of_freedom: int
    apart: Float64
    apart_covariances: Float64
    inverse: Float64

    def covariance_between(self, a: Points, b: Points) -> Float64:
        """Covariance of the errors of the map at ``(A, D)`` and ``(B, D)`` points, shape ``(A, B, D, D)``."""
        ndim = a.shape[1]
        of_a, of_b = self._known(a), self._known(b)
        prior = _kernel(a, b, self.spline.size, self.spline.stiffness)
        left = prior - of_a @ self.inverse @ of_b.T
        return np.asarray(self.roughness * left.reshape(len(a), ndim, len(b), ndim).transpose(0, 2, 1, 3))

    def covariances(self, points: Points) -> Float64:
        """Covariance of the error of the map at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        ndim = points.shape[1]
        known = self._known(points).reshape(len(points), ndim, -1)
        here = _kernel(points[:1], points[:1], self.spline.size, self.spline.stiffness)
        return np.asarray(
            self.roughness * (here - np.einsum("nam,mk,nbk->nab", known, self.inverse, known, optimize=True))
        )

    def _known(self, points: Points) -> Float64:
        places, size = self.spline.places, self.spline.size
        middle = places.mean(axis=0)
        kernel = _kernel(points, places, size, self.spline.stiffness)
        return np.hstack([kernel, _plane((points - middle) / size)])


def fit_spline(
    places: Points, displacements: Float64, *, stiffness: float, covariances: Float64, known: bool
) -> SmoothFit:
    """The spline whose balance of smoothness and faith to the landmarks is the most likely one.

    The displacement is taken for an affine map plus a random field, as rough as the data say, whose most likely value
    given the landmarks is the smoothing spline [1]_. The scale of roughness (and of noise, where it is not known) is
    that of largest restricted likelihood, which leaves the affine part out of account. The same view gives the error to
    be expected between the landmarks.

    Parameters
    ----------
    places : (N, D) array
        Where the landmarks stand; at least D + 1 that determine an affine map.
    displacements : (N, D) array
        Where they go, relative to where they stand, in the same unit.
    stiffness : float
        As for `ThinPlate`.
    covariances : (N, D, D) array
        Covariance of each displacement; all zero to pass through the landmarks exactly.
    known : bool
        Whether these covariances hold as they are; otherwise only their ratios do.

    Raises
    ------
    TransformError
        If two landmarks stand in one place and must be met exactly.

    Notes
    -----
    Costs memory for ``(N D)^2`` numbers and time for ``(N D)^3`` operations: nine seconds for 300 landmarks in 3-D.

    References
    ----------
    .. [1] G. Wahba, J. R. Stat. Soc. B 45, 133 (1983). doi:10.1111/j.2517-6161.1983.tb01239.x
    """
    count, ndim = places.shape
    middle = places.mean(axis=0)
    size = float(np.sqrt(np.mean((places - middle) ** 2)))
    kernel = _kernel(places, places, size, stiffness)
    plane = _plane((places - middle) / size)
    exact = not covariances.any()
    noise = np.eye(count * ndim) if exact else linalg.block_diag(*covariances)
    free = linalg.qr(plane)[0][:, plane.shape[1] :]
    degrees_of_freedom = free.shape[1]
    data = displacements.ravel()
    if degrees_of_freedom:
        rough, directions = linalg.eigh(free.T @ kernel @ free, free.T @ noise @ free)
        # Rounding can make the least of them negative, which none is.
        rough = np.maximum(rough, 0.0)
        parts = directions.T @ (free.T @ data)
        if exact and rough[0] <= 1e-12 * rough[-1]:
            raise TransformError("Two landmarks stand in one place; a map through all of them does not exist.")
        balance, roughness = _balance(rough, parts, exact=exact, known=known)
        whiten = free @ directions
        certain = (whiten / (rough + balance)) @ whiten.T
    else:
        balance, roughness, certain = 1.0, np.nan, np.zeros((count * ndim,) * 2)
    weights = certain @ data
    trend = np.linalg.lstsq(plane, data - kernel @ weights - balance * noise @ weights, rcond=None)[0]
    trend = trend.reshape(ndim + 1, ndim)
    linear = np.eye(ndim) + trend[1:].T / size
    affine = Affine.of(linear, trend[0] - trend[1:].T @ middle / size)
    system = np.block([[kernel + balance * noise, plane], [plane.T, np.zeros((plane.shape[1],) * 2)]])
    own = certain.reshape(count, ndim, count, ndim)[np.arange(count), :, np.arange(count)]
    apart, expected = np.full((count, ndim), np.nan), np.full((count, ndim, ndim), np.nan)
    # Without a landmark whose absence leaves the affine part undetermined, nothing would be left to predict it from.
    told = np.linalg.cond(own) < 1e9 if degrees_of_freedom else np.zeros(count, bool)
    expected[told] = np.linalg.inv(own[told])
    apart[told] = np.einsum("nab,nb->na", expected[told], weights.reshape(count, ndim)[told])
    return SmoothFit(
        ThinPlate(places, weights.reshape(count, ndim), affine, size, stiffness),
        roughness,
        0.0 if exact else roughness * balance,
        degrees_of_freedom,
        apart,
        roughness * expected,
        np.asarray(linalg.inv(system)),
    )


def _balance(rough: Float64, parts: Float64, *, exact: bool, known: bool) -> tuple[float, float]:
    """Noise over roughness, and the roughness, that make the independent parts of the data most likely."""
    if exact:
        return 0.0, float(np.mean(parts**2 / rough))
    centre = np.log(max(float(np.median(rough)), np.finfo(float).tiny))

    def unlikely(logarithm: float) -> float:
        ratio = np.exp(logarithm)
        expected = (rough + ratio) / (ratio if known else 1.0)
        if known:
            return float(np.sum(np.log(expected) + parts**2 / expected))
        return float(len(parts) * np.log(np.mean(parts**2 / expected)) + np.sum(np.log(expected)))

    if not parts.any():
        return float(np.exp(centre)), 0.0
    trials = centre + np.log(10) * np.linspace(-_DECADES, _DECADES, 4 * _DECADES + 1)
    best = int(np.argmin([unlikely(trial) for trial in trials]))
    around = trials[max(best - 1, 0)], trials[min(best + 1, len(trials) - 1)]
    ratio = float(np.exp(optimize.minimize_scalar(unlikely, bounds=around, method="bounded").x))
    return ratio, 1.0 / ratio if known else float(np.mean(parts**2 / (rough + ratio)))


def _kernel(a: Points, b: Points, size: float, stiffness: float) -> Float64:
    """Kernel between all points, one row and column per coordinate, shape ``(A D, B D)``."""
    apart = (a[:, None] - b) / size
    along, across = radial(apart, stiffness)
    ndim = a.shape[1]
    blocks = along[..., None, None] * np.eye(ndim)
    if stiffness != 1.0:
        blocks = blocks + across[..., None, None] * apart[..., :, None] * apart[..., None, :]
    return np.asarray(blocks.transpose(0, 2, 1, 3).reshape(len(a) * ndim, len(b) * ndim))


def _plane(scaled: Points) -> Float64:
    """Displacement of each coordinate by each number of an affine map, shape ``(N D, D (D + 1))``."""
    return np.asarray(np.kron(np.column_stack([np.ones(len(scaled)), scaled]), np.eye(scaled.shape[1])), float)
