"""Smooth displacements as a sum of few Gaussians: what elastic coherent point drift fits."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular

from correlight.errors import TransformError
from correlight.geometry import Grid, Points
from correlight.progress import checkpoint
from correlight.transforms.bent import Bent
from correlight.transforms.protocol import checked

Float64 = NDArray[np.float64]

# So many kernel values are held at a time, about 30 MB with what is made of them.
_AT_A_TIME = 1_000_000
# Places along each axis at which it is tested whether a field folds.
_TESTED = {2: 41, 3: 17}


@dataclass(frozen=True, eq=False)
class SmoothField(Bent):
    """A map within one frame, ``p + sum of exp(-|p - centre|^2 / 2 beta^2) weight``, that fades far from its centres.

    Parameters
    ----------
    centres : (K, D) array
        Where the Gaussians stand.
    weights : (K, D) array
        Displacement at its middle, were it alone.
    beta : float
        Standard deviation of the Gaussians: places closer than that move alike; the paper's beta [1]_.

    Raises
    ------
    TransformError
        If the arrays do not fit each other or are not finite, or beta is not positive.

    References
    ----------
    .. [1] A. Myronenko, X. Song, IEEE Trans. Pattern Anal. Mach. Intell. 32, 2262 (2010). doi:10.1109/TPAMI.2010.46

    Examples
    --------
    >>> field = SmoothField([[0.0, 0.0]], [[1.0, 0.0]], beta=2.0)
    >>> field([[0.0, 0.0], [0.0, 2.0]]).round(3)
    array([[1.   , 0.   ],
           [0.607, 2.   ]])
    >>> field.inverse()([[1.0, 0.0]]).round(9) + 0.0
    array([[0., 0.]])
    """

    centres: Points
    weights: Points
    beta: float

    def __post_init__(self) -> None:
        for name in ("centres", "weights"):
            array = np.array(getattr(self, name), float)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        if self.centres.ndim != 2 or self.centres.shape != self.weights.shape:
            raise TransformError(
                f"A smooth field needs as many weights as centres; got {self.weights.shape} and {self.centres.shape}."
            )
        if not (np.isfinite(self.centres).all() and np.isfinite(self.weights).all() and 0 < self.beta < np.inf):
            raise TransformError("Centres and weights of a smooth field must be finite and its beta positive.")

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return int(self.centres.shape[1])

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points; cost N times the number of centres."""
        array = checked(points, self.ndim)
        moved = array.copy()
        for part in self._parts(len(array)):
            moved[part] += gaussians(array[part], self.centres, self.beta) @ self.weights
        return moved

    @property
    def words(self) -> str:
        """The kind, as a sentence calls it."""
        return "a sum of Gaussians"

    @property
    def span(self) -> float:
        """Longest side of the box that holds the centres, and the reach of a Gaussian."""
        return float(np.ptp(self.centres, axis=0).max()) + self.beta

    @property
    def finest(self) -> float:
        """No detail is smaller than half the standard deviation of a Gaussian."""
        return self.beta / 2

    @cached_property
    def looks(self) -> Points:
        """A lattice over the centres and half a standard deviation around them, and the centres themselves."""
        lowest, spread = self.centres.min(axis=0), np.ptp(self.centres, axis=0)
        field = Grid.of((2,) * self.ndim, tuple(spread + self.beta), tuple(lowest - self.beta / 2))
        return np.vstack([field.lattice(_TESTED[self.ndim]), self.centres])

    def jacobian(self, points: ArrayLike) -> Float64:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        array = checked(points, self.ndim)
        slopes = np.repeat(np.eye(self.ndim)[None], len(array), axis=0)
        for part in self._parts(len(array)):
            kernel = gaussians(array[part], self.centres, self.beta) / self.beta**2
            # The derivative of a Gaussian is itself times the offset from its centre.
            outer = np.einsum("ka,kb->kab", self.weights, self.centres).reshape(len(self.centres), -1)
            towards = (kernel @ outer).reshape(-1, self.ndim, self.ndim)
            slopes[part] += towards - (kernel @ self.weights)[:, :, None] * array[part][:, None, :]
        return slopes

    def _parts(self, count: int) -> list[slice]:
        step = max(1, _AT_A_TIME // max(1, len(self.centres)))
        return [slice(first, first + step) for first in range(0, count, step)]


def gaussians(points: Points, centres: Points, beta: float) -> Float64:
    """``exp(-|p - c|^2 / 2 beta^2)`` of every point and centre, shape ``(N, K)``."""
    middle = centres.mean(axis=0)
    p, c = points - middle, centres - middle
    squared = np.einsum("ij,ij->i", p, p)[:, None] + np.einsum("ij,ij->i", c, c)[None] - 2 * p @ c.T
    np.maximum(squared, 0, out=squared)
    squared *= -0.5 / beta**2
    return np.asarray(np.exp(squared, out=squared))


@dataclass(frozen=True, eq=False)
class Basis:
    """A Gaussian kernel among many points, approximated from a few: ``factor @ factor.T`` to a stated precision.

    Parameters
    ----------
    factor : (M, K) array
        Columns of the incomplete Cholesky factorisation.
    chosen : (K,) array of int
        The points that carry it.
    """

    factor: Float64
    chosen: NDArray[np.intp]

    @classmethod
    def of(cls, points: Points, beta: float, precision: float = 1e-7, most: int = 600) -> Basis:
        """Choose points one after another, each where the approximation is worst so far.

        Parameters
        ----------
        points : (M, D) array
            The cloud.
        beta : float
            Standard deviation of the Gaussian kernel.
        precision : float
            Largest error of a diagonal element, whose value is 1.
        most : int
            Most points to choose.

        Notes
        -----
        Pivoted Cholesky factorisation; M K^2 operations. A kernel as wide as the cloud needs some tens of points for
        seven digits, whatever M is.
        """
        left = np.ones(len(points))
        factor = np.empty((len(points), min(most, len(points))))
        chosen: list[int] = []
        for number in range(factor.shape[1]):
            checkpoint()
            worst = int(np.argmax(left))
            if left[worst] < precision:
                break
            column = gaussians(points, points[[worst]], beta)[:, 0]
            column -= factor[:, :number] @ factor[worst, :number]
            factor[:, number] = column / np.sqrt(left[worst])
            left = np.maximum(left - factor[:, number] ** 2, 0)
            chosen.append(worst)
        return cls(np.ascontiguousarray(factor[:, : len(chosen)]), np.array(chosen, dtype=np.intp))

    def field(self, points: Points, coefficients: Float64, beta: float) -> SmoothField:
        """The displacement ``factor @ coefficients`` of the points as a map that can be called anywhere."""
        corner = self.factor[self.chosen]
        weights = solve_triangular(corner, coefficients, lower=True, trans="T")
        return SmoothField(points[self.chosen], weights, beta)
