"""Where one more landmark would help most."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from correlight.geometry import Points
from correlight.landmarks.expected import Estimate


@dataclass(frozen=True, slots=True, eq=False)
class NextPlace:
    """The place where a further landmark lowers the predicted error most.

    Parameters
    ----------
    place : (D,) array
        In the fixed image.
    error_now, error_then : float
        Root mean square predicted error over the field, without that landmark and with it, in the fixed unit.
    """

    place: Points
    error_now: float
    error_then: float


def next_place(found: Estimate, candidates: ArrayLike, field: ArrayLike) -> NextPlace:
    """Choose among places the one whose landmark would lower the error over a field most.

    Parameters
    ----------
    found : Estimate
        What the landmarks say so far; their error must be known.
    candidates : (N, D) array
        Fixed places where a landmark could be set.
    field : (M, D) array
        Fixed places that matter.

    Notes
    -----
    A landmark at c, as uncertain as the others, lowers the covariance of the error at z by
    ``C(z, c) (C(c, c) + S)^-1 C(c, z)``, with S the covariance of a landmark. What counts is the mean over the field,
    not the volume of the uncertainty of the parameters, which does not depend on the use of the transform.

    Examples
    --------
    >>> from correlight.landmarks import estimate
    >>> found = estimate([[0, 0], [0, 1], [1, 0]], [[0, 0], [0, 1], [1, 0]], "similarity", moving_error=0.1)
    >>> next_place(found, [[0, 0], [1, 1], [8, 8]], [[4, 4], [8, 8]]).place
    array([8., 8.])
    """
    places, targets = np.asarray(candidates, float), np.asarray(field, float)
    landmark = found.landmark_covariances.mean(axis=0)
    certain = np.linalg.pinv(found.covariances(places) + landmark, hermitian=True)
    shared = found.covariance_between(targets, places)
    gains = np.einsum("mnab,nbc,mnac->n", shared, certain, shared, optimize=True) / len(targets)
    now = float(np.trace(found.covariances(targets), axis1=1, axis2=2).mean())
    best = int(np.argmax(gains))
    return NextPlace(places[best], float(np.sqrt(now)), float(np.sqrt(max(now - gains[best], 0.0))))
