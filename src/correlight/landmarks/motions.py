"""Small motions of the plane or of space, and the fit of a transform where landmarks are not all equally certain."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import expm

from correlight.geometry import Points
from correlight.landmarks.linear import Model
from correlight.transforms import Affine, Projective

Float = NDArray[np.float64]

# A step is the last one if it moves no place by more than this share of the spread of the landmarks.
_STILL = 1e-9


@dataclass(frozen=True, eq=False)
class Motions:
    """The small motions that a kind of transform allows, as displacements round a centre.

    A transform that is moved by a little is ``transform @ motions.by(parameters)``. Every parameter is a displacement
    in the unit of the points, which some place at the distance ``size`` from the centre undergoes.

    Parameters
    ----------
    model : {"rigid", "similarity", "affine", "projective"}
        Kind of transform.
    centre : (D,) array
        Where displacements by turning and stretching are zero.
    size : float
        Length, such as the spread of the points.
    """

    model: Model
    centre: Float
    size: float

    @classmethod
    def among(cls, points: Points, model: Model) -> Motions:
        """Motions round the middle of ``(N, D)`` points."""
        middle = points.mean(axis=0)
        return cls(model, middle, max(float(np.sqrt(np.mean((points - middle) ** 2))), np.finfo(float).tiny))

    @property
    def generators(self) -> Float:
        """Derivative of the homogeneous matrix by each of P parameters, shape ``(P, D+1, D+1)``."""
        ndim = len(self.centre)
        entries: list[list[tuple[int, int, float]]] = [[(axis, ndim, 1.0)] for axis in range(ndim)]
        if self.model in ("rigid", "similarity"):
            entries += [[(a, b, -1.0), (b, a, 1.0)] for a, b in combinations(range(ndim), 2)]
        if self.model == "similarity":
            entries.append([(axis, axis, 1.0) for axis in range(ndim)])
        if self.model in ("affine", "projective"):
            entries += [[(a, b, 1.0)] for a in range(ndim) for b in range(ndim)]
        if self.model == "projective":
            entries += [[(ndim, axis, -1.0)] for axis in range(ndim)]
        result = np.zeros((len(entries), ndim + 1, ndim + 1))
        for matrix, values in zip(result, entries, strict=True):
            for row, column, value in values:
                matrix[row, column] = value
        return result

    @property
    def count(self) -> int:
        """Number of parameters P."""
        return len(self.generators)

    def at(self, points: Points) -> Float:
        """Displacement at each of ``(N, D)`` points by each parameter, shape ``(N, D, P)``."""
        scaled = (points - self.centre) / self.size
        extended = np.column_stack([scaled, np.ones(len(points))])
        moved = np.einsum("pab,nb->nap", self.generators, extended)
        # A small perspective moves p by p (v . p), where the last row of the matrix is -v.
        return np.asarray(moved[:, :-1] - scaled[:, :, None] * moved[:, -1:])

    def by(self, parameters: Float) -> Affine | Projective:
        """The motion with given parameters, shape ``(P,)``; it need not be small."""
        unit = expm(np.einsum("p,pab->ab", parameters / self.size, self.generators))
        to_unit = Affine.of(np.eye(len(self.centre)) / self.size, -self.centre / self.size)
        core = Projective(unit) if self.model == "projective" else Affine(unit)
        return to_unit.inverse() @ core @ to_unit


def improve(
    start: Affine | Projective,
    fixed: Points,
    moving: Points,
    model: Model,
    covariances: Float,
    rounds: int = 100,
) -> Affine | Projective:
    """The transform of a kind for which landmarks of known uncertainty are most likely.

    Parameters
    ----------
    start : Affine or Projective
        ``moving_from_fixed`` of that kind, such as the fit that trusts all landmarks equally.
    fixed, moving : (N, D) arrays
        The landmarks.
    model : {"rigid", "similarity", "affine", "projective"}
        Kind of transform.
    covariances : (N, D, D) array
        Of the mismatch of each pair in the moving image.
    rounds : int
        Most steps.

    Notes
    -----
    Gauss and Newton's method over the motions of the kind, with steps halved until they help. The weights are those
    that make the error of the transform least [1]_.

    References
    ----------
    .. [1] A. Danilchenko, J. M. Fitzpatrick, IEEE Trans. Med. Imaging 30, 679 (2011). doi:10.1109/TMI.2010.2091513
    """
    motions = Motions.among(fixed, model)
    certain = np.linalg.inv(covariances)
    at = motions.at(fixed)

    def cost(transform: Affine | Projective) -> tuple[float, Float]:
        apart = moving - transform(fixed)
        return float(np.einsum("na,nab,nb->", apart, certain, apart)), apart

    best = start
    least, apart = cost(best)
    for _ in range(rounds):
        slopes = best.jacobian(fixed) @ at
        normal = np.einsum("nap,nab,nbq->pq", slopes, certain, slopes)
        step = np.linalg.lstsq(normal, np.einsum("nap,nab,nb->p", slopes, certain, apart), rcond=None)[0]
        if np.abs(step).max() < _STILL * motions.size:
            break
        for _ in range(30):
            trial = best @ motions.by(step)
            found, trial_apart = cost(trial)
            if found < least:
                break
            step = step / 2
        else:
            break
        best, least, apart = trial, found, trial_apart
    return best
