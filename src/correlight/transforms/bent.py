"""What all maps within one frame share that bend, and their inverses, which are found point by point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import TransformError
from correlight.geometry import Grid, Points
from correlight.transforms.chain import Chain
from correlight.transforms.protocol import Transform, checked

# A map is asked in no more than so many places whether it folds, and in so many whether its inverse leads back.
_MOST_LOOKS, _MOST_BACK = 200_000, 4_000
# So many places at a time, so that a block of an image needs little memory.
AT_A_TIME = 250_000


class Bent:
    """A map within one frame that bends: one protocol, whatever the displacement is made of.

    A kind of field adds the map itself and its derivative, says where to look whether it folds (`looks`), how long it
    is (`span`) and how fine its details are (`finest`).
    """

    @property
    def words(self) -> str:
        """The kind, as a sentence calls it: "a displacement field"."""
        raise NotImplementedError

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        raise NotImplementedError

    @property
    def span(self) -> float:
        """Length of the field in the unit of its frame."""
        raise NotImplementedError

    @property
    def finest(self) -> float:
        """No detail of the field is smaller than this, in the unit of its frame."""
        raise NotImplementedError

    @property
    def looks(self) -> Points:
        """Places that show whether the field folds, ``(N, D)``."""
        raise NotImplementedError

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        raise NotImplementedError

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``: row the output axis, column the input axis."""
        raise NotImplementedError

    def displaced(self, points: ArrayLike) -> Points:
        """How far each of ``(N, D)`` points is moved, shape ``(N, D)``."""
        array = checked(points, self.ndim)
        return np.asarray(self(array) - array)

    def covers(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether the field is known at each of ``(N, D)`` points, or only what its kind does beyond its edge."""
        return np.ones(len(checked(points, self.ndim)), bool)

    def __matmul__(self, other: Transform) -> Transform:
        """The transform that applies ``other`` first."""
        return Chain((other, self))

    def inverse(self) -> Transform:
        """The map back, found by Newton's method at every call; raises `TransformError` if the field folds.

        Points are found to 1e-10 of the size of the field; one that the iteration does not reach comes out as NaN.
        """
        self.must_not_fold()
        return Inverted(self, self.span)

    def must_not_fold(self) -> None:
        """Raise `TransformError` if the field folds."""
        if self.smallest_volume <= 0:
            kind = self.words.partition(" ")[2]
            raise TransformError(f"The {kind} folds over itself and has no inverse.")

    @cached_property
    def volumes(self) -> tuple[float, float]:
        """Smallest and greatest determinant of the derivative, over `looks`; the smallest is not positive in a fold."""
        return determinants(self, self.looks)

    @property
    def smallest_volume(self) -> float:
        """Smallest determinant of the derivative, over `looks`; not positive where the field folds."""
        return self.volumes[0]

    @cached_property
    def residual(self) -> float:
        """Greatest distance to the start after the map and its inverse, over some of `looks`, in the unit of the frame.

        Infinite where the inverse does not reach every place that the map leads to.
        """
        looks = self.looks[:: max(1, len(self.looks) // _MOST_BACK)]
        apart = np.linalg.norm(self.inverse()(self(looks)) - looks, axis=1)
        return float(apart.max()) if np.isfinite(apart).all() else float("inf")


class OnLattice(Bent):
    """A field whose numbers stand on the nodes of a grid."""

    grid: Grid

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.grid.ndim

    @property
    def span(self) -> float:
        """Length of the grid in its unit."""
        return max(self.grid.extent)

    @property
    def finest(self) -> float:
        """No detail is smaller than the distance of the nodes."""
        return min(self.grid.spacing)


def determinants(transform: Transform, places: Points) -> tuple[float, float]:
    """Smallest and greatest determinant of the derivative over ``(N, D)`` places."""
    least, greatest = np.inf, -np.inf
    for first in range(0, len(places), AT_A_TIME):
        found = np.linalg.det(transform.jacobian(places[first : first + AT_A_TIME]))
        least, greatest = min(least, float(found.min())), max(greatest, float(found.max()))
    return least, greatest


def lattice_of_cells(grid: Grid, a_cell: int) -> Points:
    """So many places a cell of a grid along each axis, from its first to its last node; 200,000 in all at most."""
    most = int(_MOST_LOOKS ** (1 / grid.ndim))
    lines = [np.linspace(0, n - 1, min(a_cell * (n - 1) + 1, most)) for n in grid.shape]
    return grid.points(np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, grid.ndim))


@dataclass(frozen=True, eq=False)
class Inverted(Bent):
    """The inverse of a map near the identity by Newton steps, shortened for a point where they lead away.

    Parameters
    ----------
    of : Bent
        What is inverted; it must not fold.
    length : float
        Length of the field in its unit; points are found to 1e-10 of it and are NaN where they are not.
    """

    of: Bent
    length: float

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return self.of.ndim

    @property
    def words(self) -> str:
        """The kind, as a sentence calls it."""
        return f"the inverse of {self.of.words}"

    @property
    def span(self) -> float:
        """Length of the field in the unit of its frame."""
        return self.length

    @property
    def finest(self) -> float:
        """No detail of the field is smaller than this: one of the map itself where that shrinks most."""
        slopes = self.of.jacobian(self.of.looks[:: max(1, len(self.of.looks) // _MOST_BACK)])
        return self.of.finest * float(np.linalg.svd(slopes, compute_uv=False).min())

    @property
    def looks(self) -> Points:
        """Where the map leads to from the places that show whether it folds."""
        return self.of(self.of.looks)

    def __call__(self, points: ArrayLike) -> Points:
        """Map ``(N, D)`` points."""
        target = checked(points, self.ndim)
        tolerance = 1e-10 * self.length
        guess = target.copy()
        wrong = self.of(guess) - target
        step_length = np.ones(len(target))
        for _ in range(100):
            todo = np.flatnonzero(np.linalg.norm(wrong, axis=1) > tolerance)
            if not todo.size:
                break
            slopes = self.of.jacobian(guess[todo])
            slopes[np.linalg.det(slopes) <= 0] = np.eye(self.ndim)
            steps = np.linalg.solve(slopes, wrong[todo, :, None])[..., 0]
            trial = guess[todo] - step_length[todo, None] * steps
            trial_wrong = self.of(trial) - target[todo]
            better = np.linalg.norm(trial_wrong, axis=1) < np.linalg.norm(wrong[todo], axis=1)
            guess[todo[better]], wrong[todo[better]] = trial[better], trial_wrong[better]
            step_length[todo] = np.where(better, np.minimum(2 * step_length[todo], 1.0), step_length[todo] / 2)
        guess[np.linalg.norm(wrong, axis=1) > tolerance] = np.nan
        return guess

    def covers(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether a place that the field knows leads to each of ``(N, D)`` points."""
        start = self(points)
        known = np.asarray(np.isfinite(start).all(axis=1))
        known[known] = self.of.covers(start[known])
        return known

    def inverse(self) -> Transform:
        """The map that this one inverts."""
        return self.of

    def jacobian(self, points: ArrayLike) -> NDArray[np.float64]:
        """Derivative at each of ``(N, D)`` points, shape ``(N, D, D)``."""
        return np.asarray(np.linalg.inv(self.of.jacobian(self(points))))
