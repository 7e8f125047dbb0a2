"""Paired points: the transform that fits them best, and how well it does.

A landmark is one place of the specimen seen in both images. Points are ``(N, D)`` arrays in array order; row *n* of the
fixed points and row *n* of the moving points are the same place. `fit` gives the transform alone, `estimate` also the
error to expect at every place.
"""

from __future__ import annotations

from correlight.landmarks.estimate import LinearEstimate, SplineEstimate, estimate
from correlight.landmarks.expected import Estimate, LandmarkModel
from correlight.landmarks.linear import fit, fre, leave_one_out, residuals
from correlight.landmarks.next_place import NextPlace, next_place
from correlight.landmarks.suspects import Suspect, suspects
from correlight.transforms.motions import LinearModel

__all__ = [
    "Estimate",
    "LandmarkModel",
    "LinearEstimate",
    "LinearModel",
    "NextPlace",
    "SplineEstimate",
    "Suspect",
    "estimate",
    "fit",
    "fre",
    "leave_one_out",
    "next_place",
    "residuals",
    "suspects",
]
