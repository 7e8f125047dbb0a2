"""A hypothesis of where one image lies in the other: what a search finds, a refinement improves and a result lists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from correlight.transforms import Affine, Projective


@dataclass(frozen=True, slots=True)
class Pose:
    """One hypothesis of where the fixed image lies in the moving image.

    Parameters
    ----------
    moving_from_fixed : Affine or Projective
        In the units of the two grids.
    score : float
        What the poses of one list were ranked by; larger is better, comparable within one list only.
    overlap : float
        Fraction of the smaller image's valid field that the other covers.
    """

    moving_from_fixed: Affine | Projective
    score: float
    overlap: float

    @property
    def linear(self) -> Affine:
        """The pose without its perspective part."""
        return Affine.of(self.moving_from_fixed.linear, self.moving_from_fixed.offset)

    def to_json(self) -> dict[str, Any]:
        """The pose as it stands in ``result.json``."""
        linear = self.linear
        return {
            "score": self.score,
            "rotation_degrees": linear.rotation if linear.ndim == 2 else None,
            "scale": linear.scale,
            "mirrored": linear.mirrored,
            "overlap": self.overlap,
            "matrix": self.moving_from_fixed.matrix.tolist(),
        }
