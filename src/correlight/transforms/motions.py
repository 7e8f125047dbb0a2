"""Small motions of the plane or of space: the one parametrisation that every fit and every refinement uses."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from correlight.geometry import Points
from correlight.transforms.linear import Affine, Projective
from correlight.transforms.protocol import Matrix

Parameters = NDArray[np.float64]

LinearModel = Literal["rigid", "similarity", "affine", "projective"]
# From few to many parameters; each model allows what the one before it allows.
LINEAR_MODELS: tuple[LinearModel, ...] = get_args(LinearModel)


@dataclass(frozen=True, eq=False)
class Motions:
    """The motions that a kind of transform allows around a centre; all parameters zero is the identity.

    Each parameter is a displacement in the unit of the points: about as far as it alone moves a place at the edge of
    the field. That is the scaling that an optimiser wants, in thin stacks too.

    Where the allowed linear parts form a linear space (affine maps, similarities of the plane), parameters are their
    entries; otherwise (rotations, similarities in space) they are entries of a logarithm. With ``logarithm`` they are
    entries of the logarithm of the whole map for every kind, so that no parameters mirror or flatten.

    Parameters
    ----------
    model : {"rigid", "similarity", "affine", "projective"}
        Kind of transform: 3, 4, 6 or 8 parameters in the plane, 6, 7, 12 or 15 in space. First shifts; then rotations
        and the scale, or all entries of the linear part; then tilts.
    centre : (D,) array
        Centre of the field.
    half : (D,) array
        Half the size of the field along each axis.
    logarithm : bool
        Whether parameters are those of the logarithm of the whole map.

    Examples
    --------
    >>> motions = Motions("similarity", np.zeros(2), np.full(2, 50.0))
    >>> motions.count
    4
    >>> motions.by(np.array([3.0, 0.0, 0.0, 0.0]))([[0.0, 0.0]])
    array([[3., 0.]])
    """

    model: LinearModel
    centre: NDArray[np.float64]
    half: NDArray[np.float64]
    logarithm: bool = False

    @classmethod
    def among(cls, points: Points, model: LinearModel) -> Motions:
        """Motions around the mean of ``(N, D)`` points, with their root mean square distance along an axis as size."""
        middle = points.mean(axis=0)
        size = max(float(np.sqrt(np.mean((points - middle) ** 2))), np.finfo(float).tiny)
        return cls(model, middle, np.full(len(middle), size))

    @classmethod
    def over(cls, points: Points, model: LinearModel, least: float = 0.0) -> Motions:
        """Motions around the mean of ``(N, D)`` points, over the field that they fill, ``least`` half wide or more.

        In the plane the field counts as square; stacks are often much thinner than wide, which is taken into account.
        """
        half = np.maximum(np.ptp(points, axis=0) / 2, max(least, np.finfo(float).tiny))
        return cls(model, points.mean(axis=0), np.full(2, half.max()) if len(half) == 2 else half)

    @property
    def size(self) -> float:
        """Half the longest side of the field."""
        return float(self.half.max())

    @property
    def count(self) -> int:
        """Number of parameters P."""
        return len(self.generators)

    @cached_property
    def generators(self) -> NDArray[np.float64]:
        """Derivative of the homogeneous matrix by each parameter at zero, ``(P, D+1, D+1)``.

        On positions from which the centre was subtracted, in units of `size`; parameters are in that unit, too.
        """
        ndim, size = len(self.half), self.size
        made: list[Matrix] = []

        def add(*entries: tuple[int, int, float]) -> None:
            one = np.zeros((ndim + 1, ndim + 1))
            for row, column, value in entries:
                one[row, column] = value
            made.append(one)

        for axis in range(ndim):
            add((axis, ndim, 1.0))
        if self.model in ("rigid", "similarity"):
            for a, b in combinations(range(ndim), 2):
                add((a, b, -1.0), (b, a, 1.0))
        if self.model == "similarity":
            add(*((axis, axis, 1.0) for axis in range(ndim)))
        if self.model in ("affine", "projective"):
            for a in range(ndim):
                for b in range(ndim):
                    add((a, b, size / self.half[b]))
        if self.model == "projective":
            for axis in range(ndim):
                add((ndim, axis, size / self.half[axis]))
        return np.stack(made)

    @cached_property
    def _to_unit(self) -> Matrix:
        """Positions to positions from the centre in units of `size`."""
        matrix = np.diag([*(1 / self.size for _ in self.half), 1.0])
        matrix[:-1, -1] = -self.centre / self.size
        return matrix

    @property
    def tilts(self) -> NDArray[np.bool_]:
        """Which parameters are tilts, ``(P,)``."""
        return np.asarray(self.generators[:, -1, :-1].any(axis=1))

    @property
    def _curved(self) -> slice | None:
        """The part of the matrix that is the exponential of its parameters: all, the linear part, or none."""
        if self.logarithm:
            return slice(None)
        in_space = len(self.half) == 3
        return slice(0, -1) if self.model == "rigid" or (self.model == "similarity" and in_space) else None

    def core(self, parameters: Parameters) -> Matrix:
        """The motion as a ``(D+1, D+1)`` matrix on positions from the centre in units of `size`."""
        return self._exponential(np.tensordot(parameters / self.size, self.generators, 1))

    def _exponential(self, tangent: Matrix) -> Matrix:
        part = self._curved
        matrix = np.eye(len(tangent)) + tangent
        if part is not None:
            matrix[part, part] = expm(tangent[part, part])
        return matrix

    def core_and_slopes(self, parameters: Parameters) -> tuple[Matrix, NDArray[np.float64]]:
        """`core`, and its derivative by each parameter over `size`, ``(P, D+1, D+1)``.

        The exponential of [[X, G], [0, X]] holds the derivative of the exponential of X along G in its upper right
        corner (Higham, Functions of Matrices, SIAM 2008, section 3.2; doi:10.1137/1.9780898717778).
        """
        tangent, part = np.tensordot(parameters / self.size, self.generators, 1), self._curved
        matrix, slopes = np.eye(len(tangent)) + tangent, self.generators
        if part is None:
            return matrix, slopes
        slopes = slopes.copy()
        inner = tangent[part, part]
        n = len(inner)
        blocks = np.zeros((len(slopes), 2 * n, 2 * n))
        blocks[:, :n, :n] = blocks[:, n:, n:] = inner
        blocks[:, :n, n:] = slopes[:, part, part]
        whole = np.asarray(expm(blocks), np.float64)
        matrix[part, part], slopes[:, part, part] = whole[0, :n, :n], whole[:, :n, n:]
        return matrix, slopes

    def nearest(self, tangent: Matrix) -> Parameters:
        """The parameters whose generators add up to a matrix, as nearly as they can."""
        columns = self.generators.reshape(self.count, -1).T
        return np.asarray(self.size * np.linalg.lstsq(columns, tangent.ravel(), rcond=None)[0])

    def matrix(self, core: Matrix) -> Matrix:
        """A motion on positions, from one on those from the centre in units of `size`."""
        return np.asarray(np.linalg.inv(self._to_unit) @ core @ self._to_unit)

    def by(self, parameters: Parameters) -> Affine | Projective:
        """The motion with given parameters, ``(P,)``; it need not be small."""
        matrix = self.matrix(self.core(parameters))
        if self.model == "projective":
            return Projective(matrix)
        matrix[-1] = np.eye(len(matrix))[-1]
        return Affine(matrix)

    def at(self, points: Points) -> NDArray[np.float64]:
        """Displacement at each of ``(N, D)`` points by each small parameter, ``(N, D, P)``."""
        unit = (points - self.centre) / self.size
        extended = np.column_stack([unit, np.ones(len(points))])
        moved = np.einsum("pab,nb->nap", self.generators, extended)
        # A small tilt moves p by -p (v . p), where the last row of the matrix is v.
        return np.asarray(moved[:, :-1] - unit[:, :, None] * moved[:, -1:])

    def of(self, points: Points) -> MovedPoints:
        """``(N, D)`` points, to be moved by one set of parameters after the other."""
        places = np.ascontiguousarray(points.T)
        return MovedPoints(self, places, (places - self.centre[:, None]) / self.size)

    @property
    def is_plane_similarity(self) -> bool:
        """Whether parameters are the entries of a similarity of the plane."""
        return self.model == "similarity" and self._curved is None


@dataclass(frozen=True, eq=False)
class MovedPoints:
    """Points that a fit moves again and again; one row per axis, which adds up faster.

    Parameters
    ----------
    motions : Motions
        What moves them.
    points, unit : (D, N) arrays
        Where they lie, and the same from the centre in units of the size of the field.
    """

    motions: Motions
    points: NDArray[np.float64]
    unit: NDArray[np.float64]

    def by(self, parameters: Parameters) -> tuple[Points, PullBack]:
        """Where the points go, ``(N, D)``, and what takes derivatives by those places back to the parameters."""
        core, slopes = self.motions.core_and_slopes(parameters)
        matrix = self.motions.matrix(core)
        places = matrix[:-1, :-1] @ self.points
        places += matrix[:-1, -1:]
        if self.motions.model != "projective":
            return places.T, PullBack(slopes, self.unit, plane_similarity=self.motions.is_plane_similarity)
        # Only a projective map changes the last coordinate.
        places /= matrix[-1, :-1] @ self.points + matrix[-1, -1]
        weight = core[-1, :-1] @ self.unit + core[-1, -1]
        unit = (places - self.motions.centre[:, None]) / self.motions.size
        return places.T, PullBack(slopes, self.unit, unit, weight)


@dataclass(frozen=True, eq=False)
class PullBack:
    """The derivative of mapped places by the parameters of their motion, waiting for what it is multiplied with."""

    slopes: NDArray[np.float64]
    unit: NDArray[np.float64]
    places: NDArray[np.float64] | None = None
    weight: NDArray[np.float64] | None = None
    plane_similarity: bool = False

    def __call__(self, gradient: NDArray[np.float64]) -> Parameters:
        """Derivative by the ``(P,)`` parameters from the ``(N, D)`` derivative by the places."""
        by_place = gradient.T
        if self.plane_similarity:
            # The same as below, summed in pairs, which rounds less. Refinements by similarities are what every search
            # and every verdict rests on, and a last digit can send their optimiser another way (decision 14).
            (y, x), (v, u) = by_place, self.unit
            return np.array([y.sum(), x.sum(), np.sum(x * v - y * u), np.sum(by_place * self.unit)])
        if self.weight is not None:
            by_place = by_place / self.weight
        by_matrix = np.column_stack([by_place @ self.unit.T, by_place.sum(axis=1)])
        if self.places is None:
            return np.asarray(np.tensordot(self.slopes[:, :-1], by_matrix, 2))
        last = -np.einsum("dn,dn->n", by_place, self.places)
        by_last = np.append(self.unit @ last, last.sum())
        return np.asarray(np.tensordot(self.slopes, np.vstack([by_matrix, by_last]), 2))
