"""A smooth one-to-one field fitted to the features of two images, in both directions at once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, cg

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.images.image import Float32
from correlight.progress import checkpoint
from correlight.refine.laid import Laid, even_places
from correlight.refine.lattice import Lattice
from correlight.similarity import as_rows, sample_rows
from correlight.transforms import VelocityField

# Places at which features are compared.
_MOST_PLACES = {2: 10_000, 3: 8_000}
# Weight of the bending energy, and of coefficients themselves, as shares of the mean weight of the data on a control
# point: the first keeps the field smooth, the second leads it back to none where the images say nothing.
_BENDING, _PULL = 0.01, 0.002
# While a field is fitted, its flow is computed at so many places a cell.
_QUICK = 2
# Steps of Gauss and Newton, of the conjugate gradients within each, and the step in pixels that ends them.
_STEPS, _INNER, _ENOUGH = 10, 40, 0.03


@dataclass(frozen=True, eq=False)
class Compared:
    """Places at which two images are compared under a field.

    Parameters
    ----------
    images : Laid
        Features of both.
    pixels : (N, D) array of int
        The pixel of the features that each place lies in.
    places : (N, D) array
        In fractional pixels.
    weights : (N,) array
        How much each counts.
    """

    images: Laid
    pixels: NDArray[np.intp]
    places: Points
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, images: Laid, weights: Float32 | None = None) -> Compared:
        """Places spread evenly over what both images show.

        Parameters
        ----------
        images : Laid
            Features of both.
        weights : (*grid.shape) array, optional
            How much each pixel counts.
        """
        pixels, places = even_places(images.grid, images.shown, _MOST_PLACES[images.grid.ndim])
        counts = np.ones(len(pixels)) if weights is None else np.asarray(weights[tuple(pixels.T)], float)
        return cls(images, pixels, places, counts)

    def restricted(self, chosen: NDArray[np.bool_]) -> Compared:
        """Some of the places only."""
        return Compared(self.images, self.pixels[chosen], self.places[chosen], self.weights[chosen])

    @cached_property
    def points(self) -> Points:
        """The places as positions in the fixed image."""
        return self.images.grid.points(self.places)

    @cached_property
    def _rows(self) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        images = self.images
        shown = [as_rows(mask[None].astype(np.float32)) for mask in (images.fixed_shown, images.moving_shown)]
        return as_rows(images.fixed), as_rows(images.moving), shown[0], shown[1]

    def differences(
        self, field: VelocityField | None, backward: bool
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float64]]:
        """Moving less fixed features ``(N, C)``, their slopes by the displacement ``(N, C, D)``, and weights ``(N,)``.

        Parameters
        ----------
        field : VelocityField, optional
            From fixed to moving; nothing moves without.
        backward : bool
            Whether the places lie in the moving image and are led back to the fixed one.
        """
        fixed, moving, fixed_shown, moving_shown = self._rows
        shape, grid = self.images.grid.shape, self.images.grid
        if backward:
            fixed, moving, fixed_shown, moving_shown = moving, fixed, moving_shown, fixed_shown
        led = self.places
        if field is not None:
            led = grid.index((field.inverse() if backward else field)(self.points))
        here, _ = sample_rows(fixed, shape, self.places)
        there, slopes = sample_rows(moving, shape, led)
        seen, _ = sample_rows(moving_shown, shape, led)
        own, _ = sample_rows(fixed_shown, shape, self.places)
        inside = np.all((led >= 0) & (led <= np.asarray(shape) - 1.0), axis=1)
        counts = self.weights * (inside & (seen[:, 0] > 0.99) & (own[:, 0] > 0.99))
        sign = np.float32(-1.0 if backward else 1.0)
        # A displacement forwards moves the places of the fixed image backwards: both signs cancel in the slope.
        return sign * (there - here), np.stack(slopes, axis=-1), counts

    def alikeness(self, field: VelocityField | None) -> NDArray[np.float64]:
        """How alike both images are at each place, mean of both directions; NaN where one shows nothing."""
        total = np.zeros(len(self.places))
        for backward in (False, True):
            off, _, counts = self.differences(field, backward)
            squared = np.einsum("nc,nc->n", off, off)
            total += np.where(counts > 0, -0.5 * squared, np.nan)
        return total / 2


@dataclass(frozen=True, eq=False)
class SmoothFit:
    """A field on one lattice.

    Parameters
    ----------
    lattice : Lattice
        Its control points.
    coefficients : (count, D) array
        Velocities of those that move, in pixels of the features times their spacing: in the unit of the grid.
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


def fit_field(compared: Compared, lattice: Lattice, start: NDArray[np.float64] | None = None) -> SmoothFit:
    """The velocity under which two images agree best, with a penalty on bending, by Gauss's and Newton's method.

    Both directions count alike: places of the fixed image are led to the moving one by the flow, places of the moving
    image to the fixed one by the flow backwards. As that is the exact inverse, the two cannot contradict each other:
    the consistency energy of Arganda-Carreras et al. (2006, doi:10.1007/11889762_8) is zero throughout.

    Parameters
    ----------
    compared : Compared
        Places of the two images.
    lattice : Lattice
        Control points.
    start : (count, D) array, optional
        Coefficients to begin from; none without.
    """
    problem = _Problem(compared, lattice)
    best = np.zeros((lattice.count, lattice.grid.ndim)) if start is None else start
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
    return SmoothFit(lattice, best, energy)


class _Problem:
    """The energy of coefficients on a lattice, and the step that lowers it."""

    def __init__(self, compared: Compared, lattice: Lattice) -> None:
        self._compared, self._lattice = compared, lattice
        self._design = lattice.design(compared.points)
        self._spacing = np.asarray(compared.images.grid.spacing)
        self._total = max(float(compared.weights.sum()), 1.0)
        self._last: tuple[NDArray[np.float64], list[tuple[Float32, Float32, NDArray[np.float64]]]] | None = None
        # Weights of the penalty follow the slopes of the features, which hardly change from step to step.
        slopes = self._weighed(None)
        curvature = sum(np.einsum("n,ncd,ncd->", counts, slope, slope) for _, slope, counts in slopes)
        shared = float(np.asarray(self._design.multiply(self._design).sum())) / max(1, len(compared.places))
        per_node = float(curvature) * shared / lattice.grid.ndim / max(1, lattice.count)
        self._penalty = per_node * (_BENDING * lattice.bending + _PULL * sparse.eye_array(lattice.count, format="csr"))

    def _weighed(self, field: VelocityField | None) -> list[tuple[Float32, Float32, NDArray[np.float64]]]:
        return [self._compared.differences(field, backward) for backward in (False, True)]

    def _parts(self, coefficients: NDArray[np.float64]) -> list[tuple[Float32, Float32, NDArray[np.float64]]]:
        """What both directions give; a step is asked for where the energy was."""
        if self._last is None or self._last[0] is not coefficients:
            self._last = coefficients, self._weighed(self._field(coefficients))
        return self._last[1]

    def _field(self, coefficients: NDArray[np.float64]) -> VelocityField | None:
        return self._lattice.velocity(coefficients, _QUICK) if coefficients.any() else None

    def energy(self, coefficients: NDArray[np.float64]) -> float:
        """Half the squared differences and the penalty; infinite for a velocity whose flow folds."""
        try:
            parts = self._parts(coefficients)
        except TransformError:
            return np.inf
        data = 0.0
        for off, _, counts in parts:
            # What leaves the other image costs as much as features that have nothing in common.
            data += float(np.einsum("n,nc,nc->", counts, off, off)) + 2.0 * (self._total - float(counts.sum()))
        scaled = coefficients / self._spacing
        return 0.5 * data + 0.5 * float(np.sum(scaled * (self._penalty @ scaled)))

    def step(self, coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        """The step of Gauss and Newton, in the unit of the grid."""
        ndim, count = self._lattice.grid.ndim, self._lattice.count
        curvature = np.zeros((len(self._compared.places), ndim, ndim))
        pull = np.zeros((len(self._compared.places), ndim))
        for off, slopes, counts in self._parts(coefficients):
            curvature += counts[:, None, None] * np.einsum("nca,ncb->nab", slopes, slopes)
            pull += counts[:, None] * np.einsum("nca,nc->na", slopes, off)
        scaled = coefficients / self._spacing
        gradient = self._design.T @ pull + self._penalty @ scaled
        design, back, penalty = self._design, self._design.T.tocsr(), self._penalty

        def times(vector: NDArray[np.float64]) -> NDArray[np.float64]:
            shaped = vector.reshape(count, ndim)
            moved = np.einsum("nab,nb->na", curvature, design @ shaped)
            return np.asarray((back @ moved + penalty @ shaped).ravel())

        squared = design.multiply(design).T.tocsr()
        own = np.stack([squared @ curvature[:, axis, axis] for axis in range(ndim)], axis=-1)
        own += penalty.diagonal()[:, None]
        inverse = 1.0 / np.maximum(own.ravel(), 1e-12)
        size = count * ndim
        found, _ = cg(
            LinearOperator((size, size), matvec=times, dtype=float),
            -gradient.ravel(),
            rtol=1e-3,
            maxiter=_INNER,
            M=LinearOperator((size, size), matvec=lambda vector: inverse * vector, dtype=float),
        )
        return np.asarray(found.reshape(count, ndim) * self._spacing)

    def length(self, step: NDArray[np.float64]) -> float:
        """Greatest displacement of a step at any place, in pixels of the features."""
        return float(np.abs(self._design @ (step / self._spacing)).max(initial=0.0))
