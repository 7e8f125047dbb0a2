"""A smooth one-to-one field fitted to what two images say of each other, in both directions at once."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.sparse.linalg import cg

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.progress import checkpoint
from correlight.refine.compared import Compared, OneWay
from correlight.refine.lattice import Lattice
from correlight.transforms import Transform, VelocityField

# While a field is fitted, its flow is computed at so many places a cell.
_QUICK = 2
# Steps of Gauss and Newton, and the step in pixels that ends them.
_STEPS, _ENOUGH = 10, 0.03


@dataclass(frozen=True)
class Smoothness:
    """How strongly a field is held back.

    Parameters
    ----------
    weight : float
        Of bending, for displacements in pixels of the features, over the whole field; the weight of a lattice follows.
    divergence, curl : float
        Weights of the squared gradients of divergence and curl, as in Arganda-Carreras et al. (2006,
        doi:10.1007/11889762_8), times ``weight``. Both at 1 are the bending energy.
    pull : float
        Weight of the displacement itself, times ``weight``: leads a field back to none where nothing speaks for it.
    """

    weight: float
    divergence: float = 1.0
    curl: float = 1.0
    pull: float = 0.05

    def penalty(self, lattice: Lattice) -> sparse.csr_array:
        """Second derivative of the penalty by ``(count * D,)`` coefficients in pixels."""
        # Differences between control points shrink with their distance; a density over the field does not.
        share = self.weight * (max(lattice.cells) / 6) ** 2
        ndim, count = lattice.grid.ndim, lattice.count
        least = min(self.divergence, self.curl)
        own = least * lattice.bending + self.pull * sparse.eye_array(count)
        total = sparse.kron(own, sparse.eye_array(ndim), format="csr")
        if self.divergence > least:
            total = total + (self.divergence - least) * lattice.divergence
        if self.curl > least:
            total = total + (self.curl - least) * lattice.curl
        return sparse.csr_array(share * total)


@dataclass(frozen=True, eq=False)
class Pairs:
    """Points known to belong together, which a field should lead to each other.

    Parameters
    ----------
    fixed, moving : (N, D) arrays
        Positions in the frames of the two images.
    error : float
        Standard deviation along each axis of where a partner lies, in fixed units.
    """

    fixed: Points
    moving: Points
    error: float

    def under(self, pose: Transform) -> Pairs:
        """The same with both in the frame of the fixed image, where a map that leads to the other one follows."""
        return replace(self, moving=pose.inverse()(self.moving))

    def counted(self, times: float) -> Pairs:
        """The same, each counting so many times."""
        return replace(self, error=self.error / np.sqrt(times))


@dataclass(frozen=True, eq=False)
class SmoothFit:
    """A field on one lattice.

    Parameters
    ----------
    lattice : Lattice
        Its control points.
    coefficients : (count, D) array
        Velocities of those that move, in the unit of the grid.
    energy : float
        What was minimised; compares between fits to the same places on one lattice.
    """

    lattice: Lattice
    coefficients: NDArray[np.float64]
    energy: float

    @cached_property
    def field(self) -> VelocityField:
        """The field from fixed to fixed positions."""
        return self.lattice.velocity(self.coefficients)

    def on(self, lattice: Lattice, points: Points) -> NDArray[np.float64]:
        """Coefficients of about the same velocity on another lattice, by its values at ``(N, D)`` points."""
        if lattice.grid == self.lattice.grid:
            return self.coefficients
        values = self.lattice.design(points) @ self.coefficients
        return smoothed(lattice, points, values, np.ones(len(points)))


def smoothed(
    lattice: Lattice, points: Points, vectors: Points, weights: NDArray[np.float64], bending: float = 1e-3
) -> NDArray[np.float64]:
    """Coefficients whose velocity comes near ``(N, D)`` vectors at points and bends little, shape ``(count, D)``."""
    design = lattice.design(points)
    weighted = design.T @ sparse.diags_array(weights)
    normal = weighted @ design
    scale = float(normal.diagonal().mean()) + 1e-12
    normal = normal + scale * (bending * lattice.bending + 1e-4 * sparse.eye_array(lattice.count))
    columns = [cg(normal, weighted @ column, rtol=1e-5, maxiter=200)[0] for column in vectors.T]
    return np.stack(columns, axis=-1)


def fit_field(problem: Problem, start: NDArray[np.float64] | None = None) -> SmoothFit:
    """The likeliest velocity under which two images belong together, by Gauss's and Newton's method.

    Both directions count alike: places of the fixed image are led to the moving one by the flow, places of the moving
    image to the fixed one by the flow backwards. As that is the exact inverse, the two cannot contradict each other:
    the consistency energy of Arganda-Carreras et al. (2006, doi:10.1007/11889762_8) is zero throughout.

    Parameters
    ----------
    problem : Problem
        The two images, the lattice, and what holds the field back.
    start : (count, D) array, optional
        Coefficients to begin from; none without.
    """
    best = np.zeros((problem.lattice.count, problem.lattice.grid.ndim)) if start is None else start
    energy = problem.energy(best)
    if not np.isfinite(energy):
        best = np.zeros_like(best)
        energy = problem.energy(best)
    for _ in range(_STEPS):
        checkpoint()
        step = problem.step(best)
        share, accepted = 1.0, False
        while share > 0.1 and not accepted:
            there = best + share * step
            trial = problem.energy(there)
            accepted = trial < energy
            share /= 1 if accepted else 2
        if not accepted:
            break
        gained, best, energy = energy - trial, there, trial
        if problem.length(share * step) < _ENOUGH or gained < 1e-5 * abs(energy):
            break
    return SmoothFit(problem.lattice, best, energy)


class Problem:
    """The energy of coefficients on a lattice, and the step that lowers it.

    Parameters
    ----------
    compared : Compared
        Places of the two images.
    lattice : Lattice
        Control points.
    smoothness : Smoothness
        How strongly the field is held back.
    landmarks : Pairs, optional
        Points that the field should lead to each other, both in its frame.

    Attributes
    ----------
    spacing : (D,) array
        Sides of a pixel of the features, which coefficients and their covariances count in.
    """

    def __init__(
        self, compared: Compared, lattice: Lattice, smoothness: Smoothness, landmarks: Pairs | None = None
    ) -> None:
        self._compared, self.lattice, self._landmarks = compared, lattice, landmarks
        self._design, self._cells = lattice.design(compared.points), lattice.by_cell(compared.points)
        self.spacing = np.asarray(compared.images.grid.spacing)
        self._penalty = smoothness.penalty(lattice)
        self._last: tuple[NDArray[np.float64], list[OneWay]] | None = None
        self._known = None if landmarks is None else lattice.design(landmarks.fixed)

    def _ways(self, coefficients: NDArray[np.float64]) -> list[OneWay]:
        """What both directions give; a step is asked for where the energy was."""
        if self._last is None or self._last[0] is not coefficients:
            field = self._field(coefficients)
            self._last = coefficients, [self._compared.one_way(field, backward) for backward in (False, True)]
        return self._last[1]

    def way(self, field: VelocityField | None, backward: bool) -> OneWay:
        """What one image says of the other under any field."""
        return self._compared.one_way(field, backward)

    def _field(self, coefficients: NDArray[np.float64]) -> VelocityField | None:
        return self.lattice.velocity(coefficients, _QUICK) if coefficients.any() else None

    def _missed(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """By how many standard deviations landmarks are missed, ``(N, D)``."""
        assert self._landmarks is not None
        field = self._field(coefficients)
        led = self._landmarks.fixed if field is None else field(self._landmarks.fixed)
        return np.asarray((led - self._landmarks.moving) / self._landmarks.error)

    def energy(self, coefficients: NDArray[np.float64]) -> float:
        """Negative logarithm of the likelihood and the penalty; infinite for a velocity whose flow folds."""
        try:
            ways = self._ways(coefficients)
            missed = 0.0 if self._known is None else 0.5 * float(np.sum(self._missed(coefficients) ** 2))
        except TransformError:
            return np.inf
        # What leaves the other image is as likely as features that have nothing in common: it counts nothing.
        data = -sum(float(way.counts @ way.alike) for way in ways)
        scaled = (coefficients / self.spacing).ravel()
        return data + missed + 0.5 * float(scaled @ (self._penalty @ scaled))

    def step(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """The step of Gauss and Newton, in the unit of the grid."""
        ways = self._ways(coefficients)
        pull = ways[0].pull + ways[1].pull
        gradient = (self._design.T @ pull).ravel() + self._penalty @ (coefficients / self.spacing).ravel()
        if self._known is not None and self._landmarks is not None:
            missed = self._missed(coefficients) * (self.spacing / self._landmarks.error)
            gradient += (self._known.T @ missed).ravel()
        data, penalty = self.normal(coefficients)
        found = linalg.solve(data + penalty, -gradient, assume_a="pos", overwrite_a=True, check_finite=False)
        return np.asarray(found.reshape(coefficients.shape) * self.spacing)

    def normal(self, coefficients: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Second derivatives of the negative logarithm of the likelihood and of the penalty, dense, in pixels.

        The likelihood is that of the images and of the landmarks.
        """
        count, ndim = coefficients.shape
        ways = self._ways(coefficients)
        curvature = ways[0].curvature + ways[1].curvature
        data = np.zeros((ndim, ndim, count, count))
        # Places of one cell have the same control points around, so that their sums are products of small matrices.
        for rows, around, weights in self._cells:
            where = np.ix_(around, around)
            for one in range(ndim):
                for other in range(one + 1):
                    data[one, other][where] += weights.T @ (curvature[rows, one, other, None] * weights)
        for one in range(ndim):
            for other in range(one):
                data[other, one] = data[one, other]
            if self._known is not None and self._landmarks is not None:
                weight = float(self.spacing[one] / self._landmarks.error) ** 2
                data[one, one] += weight * (self._known.T @ self._known).toarray()
        size = count * ndim
        return data.transpose(2, 0, 3, 1).reshape(size, size), self._penalty.toarray()

    def length(self, step: NDArray[np.float64]) -> float:
        """Greatest displacement of a step at any place, in pixels of the features."""
        return float(np.abs(self._design @ (step / self.spacing)).max(initial=0.0))
