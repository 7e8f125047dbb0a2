"""Coherent point drift: the maximisation steps of each kind of transform, and the loop of both steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Points
from correlight.point_clouds.mixture import Mixture, Responsibilities, boxes
from correlight.point_clouds.smooth import Basis, SmoothField
from correlight.progress import checkpoint
from correlight.transforms import Affine, Transform

Float64 = NDArray[np.float64]

# No mixture gets narrower than this many root mean square radii: beyond it only rounding is left.
_LEAST_VARIANCE = 1e-10
# Steps are extrapolated once the variance changes by less than this part; before, the slow cooling is what keeps the
# iteration from the nearest wrong fit.
_COOL = 0.05
# An extrapolation reaches at most this many steps ahead.
_FURTHEST = 16.0


class Family(Protocol):
    """What the fixed points may do together; a member is named by a vector."""

    @property
    def count(self) -> int:
        """Number of points that move."""
        ...

    def points(self, vector: Float64) -> Points:
        """Where the points are, shape ``(M, D)``."""
        ...

    def step(self, responsibilities: Responsibilities, moving: Points, variance: float) -> tuple[Float64, float]:
        """The best member for given responsibilities, and the variance that remains."""
        ...

    def nearest(self, vector: Float64) -> Float64:
        """The member nearest to a vector that an extrapolation led to."""
        ...

    def penalty(self, vector: Float64) -> float:
        """What its smoothness costs, in units of the logarithm of a likelihood."""
        ...

    def transform(self, vector: Float64, to_unit: Affine, from_unit: Affine, size: float) -> Transform:
        """The member between the frames of the images."""
        ...


@dataclass(frozen=True, eq=False)
class Linear:
    """Rigid, similarity or affine motions.

    Parameters
    ----------
    fixed : (M, D) array
        The points, in root mean square radii.
    model : {"rigid", "similarity", "affine"}
        What is free.
    linear : (D, D) array
        Linear part of the start; a rigid motion keeps its scale, and all keep its handedness.
    """

    fixed: Points
    model: Literal["rigid", "similarity", "affine"]
    linear: Float64

    @property
    def count(self) -> int:
        """Number of points that move."""
        return len(self.fixed)

    def parts(self, vector: Float64) -> tuple[Float64, Float64]:
        """Linear part and offset of a member."""
        ndim = self.fixed.shape[1]
        return vector[: ndim * ndim].reshape(ndim, ndim), vector[ndim * ndim :]

    def points(self, vector: Float64) -> Points:
        """Where the points are."""
        linear, offset = self.parts(vector)
        return np.asarray(self.fixed @ linear.T + offset)

    def step(self, responsibilities: Responsibilities, moving: Points, variance: float) -> tuple[Float64, float]:
        """Weighted least squares in closed form: figures 2 and 3 of the paper."""
        weight, total, ndim = responsibilities.of_centroids, responsibilities.total, self.fixed.shape[1]
        middle_moving = responsibilities.of_points @ moving / total
        middle_fixed = weight @ self.fixed / total
        fixed = self.fixed - middle_fixed
        across = (responsibilities.weighted_points - weight[:, None] * middle_moving).T @ fixed
        inner = (fixed * weight[:, None]).T @ fixed
        outer = float(responsibilities.of_points @ np.sum((moving - middle_moving) ** 2, axis=1))
        if self.model == "affine":
            linear = np.linalg.solve(inner + 1e-12 * np.trace(inner) * np.eye(ndim), across.T).T
        else:
            rotation = self._rotation(across)
            scale = float(np.sum(across * rotation) / np.trace(inner)) if self.model == "similarity" else self._scale()
            linear = scale * rotation
        left = outer - 2 * float(np.sum(across * linear)) + float(np.sum((linear @ inner) * linear))
        vector = np.concatenate([linear.ravel(), middle_moving - linear @ middle_fixed])
        return np.asarray(vector), float(left / (total * ndim))

    def _scale(self) -> float:
        return float(abs(np.linalg.det(self.linear)) ** (1 / len(self.linear)))

    def _rotation(self, across: Float64) -> Float64:
        """The orthogonal matrix nearest to another, with the handedness of the start."""
        left, _, right = np.linalg.svd(across)
        signs = np.ones(len(across))
        signs[-1] = np.sign(np.linalg.det(left @ right) * np.linalg.det(self.linear))
        return np.asarray((left * signs) @ right)

    def nearest(self, vector: Float64) -> Float64:
        """An extrapolated rotation is none; the nearest one is."""
        if self.model == "affine":
            return vector
        linear, offset = self.parts(vector)
        rotation = self._rotation(linear)
        scale = float(np.sum(linear * rotation)) / len(linear) if self.model == "similarity" else self._scale()
        return np.concatenate([(scale * rotation).ravel(), offset])

    def penalty(self, vector: Float64) -> float:
        """Nothing."""
        return 0.0

    def transform(self, vector: Float64, to_unit: Affine, from_unit: Affine, size: float) -> Affine:
        """The motion between the frames of the images."""
        return from_unit @ Affine.of(*self.parts(vector)) @ to_unit


@dataclass(frozen=True, eq=False)
class Smooth:
    """Smooth displacements after a fixed affine map.

    Parameters
    ----------
    placed : (M, D) array
        The points after the affine map, in root mean square radii.
    affine : (D, D) array and (D,) array
        The map that placed them.
    basis : Basis
        The kernel among all points.
    rows : (m,) array of int
        The points that move, where only some do.
    beta : float
        Standard deviation of the kernel, in root mean square radii.
    lambda_ : float
        Weight of smoothness against fit.
    """

    placed: Points
    affine: tuple[Float64, Float64]
    basis: Basis
    rows: NDArray[np.intp]
    beta: float
    lambda_: float

    @property
    def count(self) -> int:
        """Number of points that move."""
        return len(self.rows)

    def points(self, vector: Float64) -> Points:
        """Where the points are."""
        return np.asarray(self.placed[self.rows] + self.basis.factor[self.rows] @ self._coefficients(vector))

    def _coefficients(self, vector: Float64) -> Float64:
        return vector.reshape(-1, self.placed.shape[1])

    def _weight(self) -> float:
        """Fewer points pull less, so the smoothness is relaxed in proportion."""
        return self.lambda_ * len(self.rows) / len(self.placed)

    def step(self, responsibilities: Responsibilities, moving: Points, variance: float) -> tuple[Float64, float]:
        """Weighted least squares for the coefficients of the displacement.

        With ``kernel = F F^T`` the paper's system for all points, equation 22, becomes one for the columns of F:
        ``(F^T d(P1) F + lambda variance) a = F^T (P X - d(P1) Y)``, as large as F has columns.
        """
        factor, placed = self.basis.factor[self.rows], self.placed[self.rows]
        weight = responsibilities.of_centroids
        normal = (factor * weight[:, None]).T @ factor
        normal[np.diag_indices(len(normal))] += self._weight() * variance
        coefficients = np.linalg.solve(normal, factor.T @ (responsibilities.weighted_points - weight[:, None] * placed))
        moved = placed + factor @ coefficients
        left = (
            float(responsibilities.of_points @ np.sum(moving**2, axis=1))
            - 2 * float(np.sum(responsibilities.weighted_points * moved))
            + float(weight @ np.sum(moved**2, axis=1))
        )
        return np.asarray(coefficients.ravel()), float(left / (responsibilities.total * placed.shape[1]))

    def nearest(self, vector: Float64) -> Float64:
        """Every vector is a member."""
        return vector

    def penalty(self, vector: Float64) -> float:
        """``lambda / 2 tr(W^T G W)``, which is the square of the coefficients."""
        return 0.5 * self._weight() * float(vector @ vector)

    def transform(self, vector: Float64, to_unit: Affine, from_unit: Affine, size: float) -> Transform:
        """The affine map and the smooth displacement after it, between the frames of the images."""
        unit = self.basis.field(self.placed, self._coefficients(vector), self.beta)
        field = SmoothField(from_unit(unit.centres), unit.weights * size, unit.beta * size)
        return field @ (from_unit @ Affine.of(*self.affine) @ to_unit)


@dataclass(frozen=True, eq=False)
class Found:
    """Where the iteration ended.

    Parameters
    ----------
    family : Family
        What was free.
    vector : (P,) array
        The member found.
    variance : float
        Of the mixture.
    responsibilities : Responsibilities
        Of the centroids for the points.
    steps : int
        Expectation steps taken.
    """

    family: Family
    vector: Float64
    variance: float
    responsibilities: Responsibilities
    steps: int


class _Loop:
    """One fit: steps of expectation and maximisation from a start until nothing moves."""

    def __init__(self, family: Family, mixture: Mixture, vector: Float64) -> None:
        self.family, self.mixture = family, mixture
        self.order, self.starts = boxes(family.points(vector))
        self.steps = 0

    def expect(self, vector: Float64, variance: float) -> tuple[Responsibilities, float]:
        """The expectation step at a state, and the objective that every step raises."""
        self.steps += 1
        responsibilities = self.mixture.responsibilities(self.family.points(vector), variance, self.order, self.starts)
        return responsibilities, responsibilities.likelihood - self.family.penalty(vector)

    def step(self, responsibilities: Responsibilities, variance: float) -> tuple[Float64, float]:
        """The next state."""
        vector, left = self.family.step(responsibilities, self.mixture.points, variance)
        return vector, max(left, _LEAST_VARIANCE)


def drift(family: Family, mixture: Mixture, vector: Float64, variance: float, tolerance: float, most: int) -> Found:
    """Move the centroids of a mixture onto points by expectation and maximisation.

    Parameters
    ----------
    family : Family
        What the centroids may do.
    mixture : Mixture
        The points.
    vector : (P,) array
        The start.
    variance : float
        Of the mixture at the start; a wide one finds the points from afar.
    tolerance : float
        Stop when no centroid moves further in a step and the variance changes by less than ten times this part.
    most : int
        Most expectation steps.

    Returns
    -------
    Found

    Notes
    -----
    Once the variance has settled, every other pair of steps is extrapolated [1]_; an extrapolation that makes things
    worse is taken back.

    References
    ----------
    .. [1] R. Varadhan, C. Roland, Scand. J. Stat. 35, 335 (2008), scheme S3. doi:10.1111/j.1467-9469.2007.00585.x
    """
    loop = _Loop(family, mixture, vector)
    responsibilities, value = loop.expect(vector, variance)
    while loop.steps < most and responsibilities.total > 0:
        checkpoint()
        first, first_variance = loop.step(responsibilities, variance)
        change = abs(np.log(first_variance / variance))
        moved = float(np.max(np.linalg.norm(family.points(first) - family.points(vector), axis=1)))
        if moved < tolerance and change < 10 * tolerance:
            return Found(family, first, first_variance, responsibilities, loop.steps)
        if change > _COOL:
            vector, variance = first, first_variance
            responsibilities, value = loop.expect(vector, variance)
            continue
        responsibilities, first_value = loop.expect(first, first_variance)
        second, second_variance = loop.step(responsibilities, first_variance)
        far, far_variance = _ahead(family, (vector, variance), (first, first_variance), (second, second_variance))
        responsibilities, value = loop.expect(far, far_variance)
        if value >= first_value:
            vector, variance = far, far_variance
        else:
            vector, variance = second, second_variance
            responsibilities, value = loop.expect(vector, variance)
    return Found(family, vector, variance, responsibilities, loop.steps)


def _ahead(
    family: Family, start: tuple[Float64, float], first: tuple[Float64, float], second: tuple[Float64, float]
) -> tuple[Float64, float]:
    """Where three states in a row lead to if the steps keep shrinking as they do."""
    a, b, c = (np.append(vector, np.log(variance)) for vector, variance in (start, first, second))
    first_step, change = b - a, (c - b) - (b - a)
    size = float(np.linalg.norm(change))
    length = float(np.clip(np.linalg.norm(first_step) / size, 1.0, _FURTHEST)) if size > 0 else 1.0
    far = a + 2 * length * first_step + length**2 * change
    return family.nearest(far[:-1]), max(float(np.exp(far[-1])), _LEAST_VARIANCE)
