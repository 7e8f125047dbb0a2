"""What is to be said of every map that bends, wherever it comes from: folds, size, inverse and fineness."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.transforms.bent import Bent, determinants
from correlight.transforms.chain import Chain
from correlight.transforms.linear import Affine, Projective
from correlight.transforms.protocol import Transform

_LINEAR = (Affine, Projective)


@dataclass(frozen=True, slots=True)
class Bending:
    """How a map departs from a linear one. Lengths are in the unit of the fixed image.

    Parameters
    ----------
    least_volume, greatest_volume : float
        Least and greatest factor by which it changes areas or volumes beyond the linear map (the determinant of its
        derivative over that of the linear map); the least is not positive where it folds.
    median, greatest : float
        Median and greatest displacement beyond the linear map.
    residual : float
        Greatest distance to the start after the map and its inverse; infinite where there is no inverse.
    """

    least_volume: float
    greatest_volume: float
    median: float
    greatest: float
    residual: float

    @property
    def folds(self) -> bool:
        """Whether the map folds over itself."""
        return self.least_volume <= 0

    def to_json(self) -> dict[str, Any]:
        """The same as names and numbers; None in place of what is not finite."""
        return {name: value if np.isfinite(value) else None for name, value in asdict(self).items()}


def bends(transform: Transform) -> bool:
    """Whether a transform is more than a linear map."""
    return any(not isinstance(part, _LINEAR) for part in parts_of(transform))


def parts_of(transform: Transform) -> tuple[Transform, ...]:
    """The transforms that one consists of, the first one first."""
    return transform.parts if isinstance(transform, Chain) else (transform,)


def touching(transform: Transform, place: Points) -> Affine:
    """The affine map that touches a transform at a ``(D,)`` place."""
    here = np.asarray(place, float)[None]
    linear = transform.jacobian(here)[0]
    return Affine.of(linear, transform(here)[0] - linear @ here[0])


def beyond(transform: Transform, linear: Affine | Projective, places: Points) -> Points:
    """Displacement beyond a linear map at ``(N, D)`` fixed places, in the unit of the fixed image, shape ``(N, D)``."""
    return np.asarray(linear.inverse()(transform(places)) - places)


def bending(transform: Transform, linear: Affine | Projective, places: Points) -> Bending:
    """How a map departs from a linear one over ``(N, D)`` places of the fixed image, at least one.

    Parameters
    ----------
    transform : Transform
        The map, ``moving_from_fixed``.
    linear : Affine or Projective
        The linear map beside it.
    places : (N, D) array
        Where it is looked at.
    """
    moved = np.linalg.norm(beyond(transform, linear, places), axis=1)
    volumes = determinants(linear.inverse() @ transform, places)
    try:
        apart = np.linalg.norm(transform.inverse()(transform(places)) - places, axis=1)
    except TransformError:
        apart = np.full(len(places), np.inf)
    residual = float(apart.max()) if np.isfinite(apart).all() else float("inf")
    return Bending(*volumes, float(np.median(moved)), float(moved.max()), residual)


def folded(transform: Transform, places: Points) -> NDArray[np.bool_]:
    """Whether each of ``(N, D)`` places lies in a fold: where the map turns its surroundings inside out.

    A map that mirrors as a whole is none, so that handedness is compared with that of the linear parts.
    """
    usual = 1.0
    for part in parts_of(transform):
        # Maps within one frame that bend keep the handedness where they do not fold.
        usual *= np.sign(np.linalg.det(part.linear)) if isinstance(part, Affine | Projective) else 1.0
    return np.asarray(np.sign(np.linalg.det(transform.jacobian(places))) != usual)


def covered(transform: Transform, places: Points) -> NDArray[np.bool_]:
    """Whether every field of a transform is known at each of ``(N, D)`` places, and not only beyond its edge."""
    known = np.asarray(np.isfinite(places).all(axis=1))
    here = places
    for part in parts_of(transform):
        if isinstance(part, Bent):
            inside = np.asarray(np.isfinite(here).all(axis=1))
            known &= inside
            known[inside] &= part.covers(here[inside])
        here = part(here)
    return known


def finest_detail(transform: Transform, place: Points) -> float:
    """No detail of a transform is smaller than this, in the unit of its input near a ``(D,)`` place.

    Zero where nothing is known of it, and infinite for linear maps.
    """
    here, stretch, finest = np.asarray(place, float)[None], np.eye(transform.ndim), np.inf
    for part in parts_of(transform):
        if isinstance(part, Bent):
            # A detail of a later part seems smaller before a map that enlarges.
            finest = min(finest, part.finest / float(np.linalg.norm(stretch, 2)))
        elif not isinstance(part, _LINEAR):
            return 0.0
        stretch, here = part.jacobian(here)[0] @ stretch, part(here)
    return float(finest) if np.isfinite(stretch).all() else 0.0
