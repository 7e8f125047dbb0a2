"""Small corrections of a pose: rigid, similarity, affine, projective, each by its own number of parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Model = Literal["rigid", "similarity", "affine", "projective"]
MODELS: tuple[Model, ...] = ("rigid", "similarity", "affine", "projective")
COUNTS: dict[Model, int] = {"rigid": 3, "similarity": 4, "affine": 6, "projective": 8}

Parameters = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Correction:
    """A family of small maps of the plane around a centre; all parameters zero is the identity.

    Parameters are displacements: each moves a point at distance ``radius`` from the centre by about its own value,
    which is the scaling that an optimiser wants.

    Parameters
    ----------
    model : {"rigid", "similarity", "affine", "projective"}
        Which maps belong to the family.
    centre : (2,) array
        Centre in (y, x).
    radius : float
        Half the size of the field.
    """

    model: Model
    centre: NDArray[np.float64]
    radius: float

    @property
    def count(self) -> int:
        """Number of parameters."""
        return COUNTS[self.model]

    def matrix(self, parameters: Parameters) -> NDArray[np.float64]:
        """The map as a ``(3, 3)`` homogeneous matrix on (y, x)."""
        p = np.asarray(parameters, float) / self.radius
        core = np.eye(3)
        if self.model == "rigid":
            c, s = np.cos(p[2]), np.sin(p[2])
            core[:2, :2] = [[c, -s], [s, c]]
        elif self.model == "similarity":
            core[:2, :2] += [[p[3], -p[2]], [p[2], p[3]]]
        else:
            core[:2, :2] += p[2:6].reshape(2, 2)
        core[:2, 2] = p[:2]
        if self.model == "projective":
            core[2, :2] = p[6:8]
        normalise = np.diag([1 / self.radius, 1 / self.radius, 1.0])
        normalise[:2, 2] = -self.centre / self.radius
        return np.asarray(np.linalg.inv(normalise) @ core @ normalise)

    def pull_back(
        self, parameters: Parameters, points: NDArray[np.float64], gradient: NDArray[np.float64]
    ) -> Parameters:
        """Derivative by the parameters from the ``(N, 2)`` derivative by the mapped points."""
        u = (points - self.centre) / self.radius
        g = gradient
        if self.model == "rigid":
            angle = parameters[2] / self.radius
            c, s = np.cos(angle), np.sin(angle)
            turned = np.stack([-s * u[:, 0] - c * u[:, 1], c * u[:, 0] - s * u[:, 1]], axis=1)
            return np.array([g[:, 0].sum(), g[:, 1].sum(), np.sum(g * turned)])
        if self.model == "similarity":
            turn = np.sum(g[:, 1] * u[:, 0] - g[:, 0] * u[:, 1])
            return np.array([g[:, 0].sum(), g[:, 1].sum(), turn, np.sum(g * u)])
        if self.model == "projective":
            tilt = parameters[6:8] / self.radius
            weight = 1 + u @ tilt
            mapped = (self.matrix(parameters) @ np.column_stack([points, np.ones(len(points))]).T).T
            mapped = (mapped[:, :2] / mapped[:, 2:] - self.centre) / self.radius
            g = gradient / weight[:, None]
            tilts = -np.sum(g * mapped, axis=1)[:, None] * u
            return np.concatenate([g.sum(axis=0), (g.T @ u).ravel(), tilts.sum(axis=0)])
        return np.concatenate([g.sum(axis=0), (g.T @ u).ravel()])

    def apply(self, parameters: Parameters, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Map ``(N, 2)`` points."""
        matrix = self.matrix(parameters)
        mapped = points @ matrix[:2, :2].T + matrix[:2, 2]
        if self.model == "projective":
            mapped = mapped / (points @ matrix[2, :2] + matrix[2, 2])[:, None]
        return np.asarray(mapped)
