"""Lattices whose axes are turned against those of the coordinates, as ITK allows for images, fields and splines.

ITK places pixel ``i`` of a lattice at ``origin + directions @ (spacing * i)``, x first, where our grids lie along the
axes of their coordinates. A map that is sampled on such a lattice is the same map sampled along the axes, between a
turn there and the turn back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import ReadError, TransformError
from correlight.transforms import Affine, Transform, compose


@dataclass(frozen=True, slots=True)
class Oriented:
    """Where the axes of a lattice point.

    Parameters
    ----------
    from_axes : Affine
        Takes positions on the lattice laid along the axes to where they are; the origin stays.
    """

    from_axes: Affine

    @classmethod
    def of(cls, origin: ArrayLike, directions: ArrayLike, subject: str) -> Oriented:
        """Make one from what ITK and elastix write.

        Parameters
        ----------
        origin : (D,) array
            Position of the first pixel, x first.
        directions : (D * D,) array
            Row by row; its columns are the directions of the axes, x first.
        subject : str
            How the sentence of an error begins: "The displacement field in a.h5".

        Raises
        ------
        ReadError
            If the directions are no rotation or mirroring.
        """
        first = np.asarray(origin, float)[::-1]
        d = len(first)
        columns = np.asarray(directions, float)
        if columns.size != d * d or not np.isfinite([*columns.ravel(), *first]).all():
            raise ReadError(f"{subject} needs an origin of {d} and directions of {d * d} finite numbers.")
        turn = columns.reshape(d, d)[::-1, ::-1]
        if not np.allclose(turn.T @ turn, np.eye(d), atol=1e-4):
            raise ReadError(f"{subject} has axes that are not at right angles to each other; resample it first.")
        return cls(Affine.of(turn, first - turn @ first))

    @property
    def straight(self) -> bool:
        """Whether the lattice lies along the axes."""
        return bool(np.array_equal(self.from_axes.linear, np.eye(self.from_axes.ndim)))

    def along_axes(self, vectors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Displacements ``(..., D)``, array order, as the lattice laid along the axes has them."""
        return vectors if self.straight else vectors @ np.linalg.inv(self.from_axes.linear).T

    def placed(self, along_axes: Transform) -> Transform:
        """A map sampled on the lattice laid along the axes, as the map that it is where the lattice really lies."""
        if self.straight:
            return along_axes
        try:
            return compose([self.from_axes.inverse(), along_axes, self.from_axes])
        except TransformError as error:  # the turn has just been checked; only dimensions can differ
            raise ReadError(f"A map and its lattice do not fit together: {error}") from error
