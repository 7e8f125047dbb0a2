"""Coordinate transforms with a named direction.

A transform is called on ``(N, D)`` points in array order and returns ``(N, D)`` points. Names of variables carry the
frames: ``moving_from_fixed`` takes fixed points to moving points. ``a @ b`` applies ``b`` first, so
``fixed_from_moving = moving_from_fixed.inverse()`` and ``c_from_b @ b_from_a`` read from right to left.
"""

from __future__ import annotations

from correlight.transforms.bent import Bent, Inverted
from correlight.transforms.bspline import BSplineField
from correlight.transforms.chain import Chain, compose
from correlight.transforms.field import Displacement
from correlight.transforms.linear import Affine, Projective, scale_of
from correlight.transforms.protocol import Matrix, Transform
from correlight.transforms.spline import ThinPlate
from correlight.transforms.velocity import VelocityField

__all__ = [
    "Affine",
    "BSplineField",
    "Bent",
    "Chain",
    "Displacement",
    "Inverted",
    "Matrix",
    "Projective",
    "ThinPlate",
    "Transform",
    "VelocityField",
    "compose",
    "scale_of",
]
