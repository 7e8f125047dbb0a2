"""The smoothest map through landmarks: thin-plate splines and their elastic relatives."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

from correlight.errors import TransformError
from correlight.geometry import Grid, Points
from correlight.transforms.bent import Bent, determinants
from correlight.transforms.linear import Affine
from correlight.transforms.protocol import checked

# So many distances are held at a time, about 60 MB with everything that is made of them.
_AT_A_TIME = 500_000
# A map of a field is used in so many places along each axis to see whether it folds.
_LOOKS = {2: 41, 3: 17}


@dataclass(frozen=True, eq=False)
class ThinPlate(Bent):
    """A map within one frame, ``affine(p) + sum of kernel(p - place) @ weight``, that bends as little as possible.

    Parameters
    ----------
    places : (N, D) array
        Where the landmarks stand, D = 2 or 3.
    weights : (N, D) array
        How strongly each landmark pulls, in the unit of the places.
    affine : Affine
        What the map becomes far away; it is near the identity.
    size : float
        Length by which distances are divided before they enter the kernel.
    stiffness : float
        Resistance to changes of area or volume over resistance to shear and turning. With 1 the axes bend
        independently of each other, which is the thin-plate spline [1]_. An elastic body of Poisson's ratio n has
        2 (1 - n) / (1 - 2 n): 3.5 for 0.3.

    Raises
    ------
    TransformError
        If the arrays do not fit each other or are not finite, or size and stiffness are not positive.

    Notes
    -----
    Among all maps through the same places it has the least integral of ``stiffness |grad div u|^2 + |grad rot u|^2``
    over all space for its displacement u [2]_; with a stiffness of 1 that is the integral of all squared second
    derivatives. The kernel is the fundamental solution of the differential operator that belongs to it,
    ``B I + (1 / stiffness - 1) H``, where B solves the biharmonic equation and H holds the second derivatives of the
    function whose Laplacian is B. In 3-D the kernel grows with the distance itself, so the map has a bend, though no
    step, at each landmark.

    References
    ----------
    .. [1] F. L. Bookstein, IEEE Trans. Pattern Anal. Mach. Intell. 11, 567 (1989). doi:10.1109/34.24792
    .. [2] L. Amodei, M. N. Benbourhim, J. Approx. Theory 67, 51 (1991).

    Examples
    --------
    >>> spline = ThinPlate([[0, 0], [0, 8], [8, 0], [8, 8]], [[1, 0], [-1, 0], [-1, 0], [1, 0]], Affine.identity())
    >>> spline([[4, 4]]).round(9)
    array([[4., 4.]])
    >>> spline.inverse()(spline([[2, 2]])).round(9)
    array([[2., 2.]])
    """

    places: Points
    weights: Points
    affine: Affine
    size: float = 1.0
    stiffness: float = 1.0

    def __post_init__(self) -> None:
        places, weights = np.array(self.places, float), np.array(self.weights, float)
        if places.ndim != 2 or places.shape != weights.shape or places.shape[1] != self.affine.ndim:
            raise TransformError(
                f"A spline needs as many weights as places, of the dimension of its affine part; got {places.shape}, "
                f"{weights.shape} and {self.affine.ndim} axes."
            )
        if not (np.isfinite(places).all() and np.isfinite(weights).all()):
            raise TransformError("Places and weights of a spline must be finite.")
        if not (0 < self.size < np.inf and 0 < self.stiffness < np.inf):
            raise TransformError(
                f"Size and stiffness of a spline must be positive; got {self.size} and {self.stiffness}."
            )
        for name, array in (("places", places), ("weights", weights)):
            array.flags.writeable = False
            object.__setattr__(self, name, array)

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.affine.ndim

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points; cost N times the number of landmarks."""
        array = checked(points, self.ndim)
        result = self.affine(array)
        step = max(1, _AT_A_TIME // max(1, len(self.places) * self.ndim))
        for first in range(0, len(array), step):
            part = slice(first, first + step)
            result[part] += self._pulled((array[part, None] - self.places) / self.size)
        return result

    def _pulled(self, apart: NDArray[np.float64]) -> Points:
        """Displacement by all landmarks from ``(N, n, D)`` scaled differences."""
        along, across = radial(apart, self.stiffness)
        moved = along @ self.weights
        if self.stiffness != 1.0:
            moved += np.einsum("ij,ijk->ik", across * np.einsum("ijk,jk->ij", apart, self.weights), apart)
        return np.asarray(moved)

    @property
    def words(self) -> str:
        """The kind, as a sentence calls it."""
        return "a thin-plate spline" if self.stiffness == 1.0 else "an elastic spline"

    @property
    def span(self) -> float:
        """Longest side of the box that holds the landmarks."""
        return float(np.ptp(self.places, axis=0).max())

    @cached_property
    def finest(self) -> float:
        """No detail is smaller than half the distance of the two landmarks that lie closest to each other."""
        if len(self.places) < 2:
            return self.span
        return float(np.asarray(cKDTree(self.places).query(self.places, k=2)[0])[:, 1].min()) / 2

    @cached_property
    def looks(self) -> Points:
        """A lattice over the box that holds the landmarks."""
        spread, lowest = np.ptp(self.places, axis=0), self.places.min(axis=0)
        sides = np.maximum(spread, 1e-9 * spread.max())
        return Grid.of((2,) * self.ndim, tuple(sides), tuple(lowest)).lattice(_LOOKS[self.ndim])

    def must_not_fold(self) -> None:
        """Raise `TransformError` if the spline folds among its landmarks."""
        if self.smallest_volume <= 0:
            raise TransformError("The spline folds over itself among its landmarks and has no inverse.")

    def folds_over(self, field: Grid) -> float:
        """Smallest determinant of the derivative over a lattice that covers a field; not positive where it folds."""
        return determinants(self, field.lattice(_LOOKS[self.ndim]))[0]

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``; a landmark's own bend in 3-D counts as zero."""
        array = checked(points, self.ndim)
        result = np.repeat(self.affine.linear[None], len(array), axis=0)
        step = max(1, _AT_A_TIME // max(1, len(self.places) * self.ndim**2))
        for first in range(0, len(array), step):
            part = slice(first, first + step)
            result[part] += self._slopes((array[part, None] - self.places) / self.size) / self.size
        return result

    def _slopes(self, apart: NDArray[np.float64]) -> NDArray[np.float64]:
        """Derivative of `_pulled` by the scaled differences, shape ``(N, D, D)``."""
        along, across = radial_slopes(apart, self.stiffness)
        slopes = np.einsum("ij,ja,ijb->iab", along, self.weights, apart)
        if self.stiffness != 1.0:
            _, plain = radial(apart, self.stiffness)
            towards = np.einsum("ijk,jk->ij", apart, self.weights)
            slopes += np.einsum("ij,ija,ijb->iab", across * towards, apart, apart)
            slopes += np.einsum("ij,ija,jb->iab", plain, apart, self.weights)
            slopes += np.einsum("ij->i", plain * towards)[:, None, None] * np.eye(self.ndim)
        return np.asarray(slopes)


def radial(apart: NDArray[np.float64], stiffness: float = 1.0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two functions of distance that the kernel is made of: ``a I + b x x^T`` for a difference x.

    Parameters
    ----------
    apart : (..., D) array
        Differences of positions, D = 2 or 3.
    stiffness : float
        As for `ThinPlate`.

    Returns
    -------
    a, b : (...) arrays
        With a stiffness of 1, b is zero everywhere and a is ``r^2 log r / (8 pi)`` in 2-D and ``-r / (8 pi)`` in 3-D.
    """
    squared, extra = np.einsum("...k,...k->...", apart, apart), 1.0 / stiffness - 1.0
    away = squared > 0
    if apart.shape[-1] == 2:
        log = np.zeros_like(squared)
        np.log(squared, where=away, out=log)
        log *= 0.5
        unit = 1.0 / (128 * np.pi)
        return squared * ((16 + 4 * extra) * unit * log - extra * unit), extra * unit * (8 * log + 2) * away
    distance = np.sqrt(squared)
    unit = 1.0 / (32 * np.pi)
    inverse = np.divide(1.0, distance, where=away, out=np.zeros_like(distance))
    return -(4 + extra) * unit * distance, -extra * unit * inverse


def radial_slopes(apart: NDArray[np.float64], stiffness: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Derivatives of both functions of `radial` by the distance, each divided by the distance; zero at no distance."""
    squared, extra = np.einsum("...k,...k->...", apart, apart), 1.0 / stiffness - 1.0
    away = squared > 0
    inverse = np.divide(1.0, squared, where=away, out=np.zeros_like(squared))
    if apart.shape[-1] == 2:
        log = np.zeros_like(squared)
        np.log(squared, where=away, out=log)
        unit = 1.0 / (128 * np.pi)
        # The logarithm of the distance is half of that of its square.
        return ((16 + 4 * extra) * (log + 1) - 2 * extra) * unit * away, 8 * extra * unit * inverse
    unit = 1.0 / (32 * np.pi)
    return -(4 + extra) * unit * np.sqrt(inverse), extra * unit * inverse * np.sqrt(inverse)
