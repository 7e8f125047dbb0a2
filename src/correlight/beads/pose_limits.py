"""Which poses of beads are possible: limits of scale, handedness and rotation, in the plane and in space."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.search.limits import Limits
from correlight.transforms import Affine

# Around a pose that is known roughly, beads are matched within so many degrees and this share of the scale.
_NEAR_ROTATION, _NEAR_SCALE = 6.0, 0.06
# A fitted rotation may lie this many degrees beyond the limits, one from three beads of a volume so many.
_BEYOND, _BEYOND_ROUGHLY = 2.0, 15.0


@dataclass(frozen=True, eq=False)
class PoseLimits:
    """Limits of a search for beads.

    Parameters
    ----------
    limits : Limits
        Of scale and handedness; of the rotation in two dimensions only, where it is one angle.
    near : Affine, optional
        Three-dimensional: rotations stay near that of this pose.
    """

    limits: Limits
    near: Affine | None = None

    @classmethod
    def around(cls, pose: Affine, limits: Limits) -> PoseLimits:
        """Limits around a pose that is right to a few per cent and a few degrees."""
        scale = pose.scale / (1 + _NEAR_SCALE), pose.scale * (1 + _NEAR_SCALE)
        if pose.ndim == 3:
            return cls(Limits(scale, (0.0, 360.0), (pose.mirrored,), limits.least_overlap), pose)
        angles = (pose.rotation - _NEAR_ROTATION, pose.rotation + _NEAR_ROTATION)
        return cls(Limits(scale, angles, (pose.mirrored,), limits.least_overlap))

    def allows(self, pose: Affine, stretch: float) -> bool:
        """Whether a fitted transform keeps to the limits.

        Parameters
        ----------
        pose : Affine
            ``moving_from_fixed``.
        stretch : float
            How far from a similarity it may be, as a share of lengths.
        """
        strength = np.linalg.svd(pose.linear, compute_uv=False)
        low, high = self.limits.scale
        if strength[0] > strength[-1] * (1 + 4 * stretch) or pose.mirrored not in self.limits.mirror:
            return False
        if pose.ndim == 2 and self._span(pose.mirrored) < 360:
            nearest, _ = self.limits.nearest(pose.rotation, pose.scale, pose.mirrored)
            if abs((nearest - pose.rotation + 180) % 360 - 180) > _BEYOND:
                return False
        if not self._turned(pose.linear[None])[0] <= _NEAR_ROTATION + _BEYOND:
            return False
        return low / (1 + stretch) <= pose.scale <= high * (1 + stretch)

    def roughly(self, linear: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Which of ``(H, D, D)`` linear parts, each from three beads, are not too far from the known rotation."""
        return np.asarray(self._turned(linear) <= _NEAR_ROTATION + _BEYOND_ROUGHLY)

    def share_of_rotations(self, ndim: int) -> float:
        """Share of all rotations that is allowed."""
        if ndim == 2:
            return min(1.0, max(self._span(mirror) for mirror in self.limits.mirror) / 360)
        if self.near is None:
            return 1.0
        # Of rotations drawn evenly, those by less than an angle.
        angle = np.deg2rad(_NEAR_ROTATION + _BEYOND)
        return float((angle - np.sin(angle)) / np.pi)

    def _span(self, mirror: bool) -> float:
        """Degrees between the limits of poses that are mirrored or not."""
        first, last = self.limits.rotations(mirror)
        return last - first

    def _turned(self, linear: NDArray[np.float64]) -> NDArray[np.float64]:
        """Degrees between the rotation of each ``(D, D)`` matrix and the known one; none where none is known."""
        if self.near is None:
            return np.zeros(len(linear))
        u, _, vt = np.linalg.svd(linear @ np.linalg.inv(self.near.linear))
        # An orthogonal matrix that mirrors has another handedness than the known pose: as far away as can be.
        trace = np.where(np.linalg.det(u @ vt) > 0, np.trace(u @ vt, axis1=1, axis2=2), -1.0)
        return np.asarray(np.rad2deg(np.arccos(np.clip((trace - 1) / 2, -1, 1))))
