"""Classical feature channels: structure that survives a change of contrast.

A set of channels is a function from grey values and a mask to groups of planes. Two images are compared group by
group: the products of corresponding planes are summed, so that a group costs one correlation whatever its number of
planes. All planes are whitened (the local mean is removed, the local energy evened out), because only then is the
correlation at a wrong pose noise of known width: large smooth structures would correlate by chance over half an image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.image import Float, Mask

# Widths in pixels of the working image.
_EDGE_SIGMA = 0.8
_SURROUND_SIGMA = 6.0
# Share of the mean edge energy below which an edge counts as noise (the epsilon of normalised gradient fields).
_EDGE_FLOOR = 0.5
# Edge energies of grey values between 0 and 1 that may be rounding, and the least mean energy of a whitened plane that
# shows anything: rounding must not be blown up to structure.
_ROUNDING, _LEAST_ENERGY = np.float32(1e-9), 1e-3
# Share of the mean energy that evens out a region with nothing in it.
_ENERGY_FLOOR = 0.3


@dataclass(frozen=True, eq=False)
class Group:
    """Planes whose correlations are summed.

    Parameters
    ----------
    planes : (C, Y, X) array of float32
        Zero mean, unit mean energy over the support, zero outside it.
    spin : {0, 2}
        2 for a pair of planes (cos, sin of the doubled angle of an orientation) that turns with the image;
        0 for planes that are merely moved.
    """

    planes: Float
    spin: int

    @property
    def energy(self) -> Float:
        """Sum of squares over the planes, shape ``(Y, X)``."""
        return np.asarray(np.sum(self.planes * self.planes, axis=0))

    def moved(self, linear_xy: NDArray[np.float64], matrix_xy: NDArray[np.float64], size: tuple[int, int]) -> Float:
        """The planes after an orthogonal map of the image, orientations turned along.

        Parameters
        ----------
        linear_xy : (2, 2) array
            The orthogonal part (rotation, possibly mirrored) in (x, y) order.
        matrix_xy : (2, 3) array
            The whole map from old to new pixel positions, as OpenCV wants it.
        size : (width, height)
            Of the new planes.
        """
        moved = [cv2.warpAffine(plane, matrix_xy, size, flags=cv2.INTER_LINEAR) for plane in self.planes]
        if self.spin == 2:
            cosine, sine = moved
            mirrored = np.linalg.det(linear_xy) < 0
            turn = linear_xy @ np.diag([-1.0, 1.0]) if mirrored else linear_xy
            angle = 2 * np.arctan2(turn[1, 0], turn[0, 0])
            if mirrored:
                sine = -sine
            c, s = np.float32(np.cos(angle)), np.float32(np.sin(angle))
            moved = [c * cosine - s * sine, s * cosine + c * sine]
        return np.stack(moved)


Channels = Callable[[Float, Mask], tuple[Group, ...]]


def classical(values: Float, mask: Mask) -> tuple[Group, ...]:
    """Two groups: directions of edges, and how strong they are.

    Directions are those of the structure tensor without their sign, as in normalised gradient fields (Haber and
    Modersitzki 2006, doi:10.1007/11866763_89), so that dark on bright equals bright on dark; an edge counts by how
    far it stands above its surroundings. Strength does not care which way an edge runs.

    Parameters
    ----------
    values : (Y, X) array of float32
        Grey values at working resolution.
    mask : (Y, X) array of bool
        Valid pixels.

    Returns
    -------
    tuple of Group
        Two groups, of two planes and of one.
    """
    smooth = cv2.GaussianBlur(values, (0, 0), _EDGE_SIGMA)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    energy = across * across + down * down
    # An edge next to the mask may be the edge of the mask.
    reach = 2 * round(2 * _EDGE_SIGMA + 1) + 1
    inner = cv2.erode(mask.astype(np.uint8), np.ones((reach, reach), np.uint8), borderValue=0) > 0
    floor = _EDGE_FLOOR * (0.8 * _local_mean(energy, inner) + 0.2 * _mean(energy, inner)) + _ROUNDING
    orientation = np.stack([(across * across - down * down) / (energy + floor), 2 * across * down / (energy + floor)])
    strength = energy / (energy + _EDGE_FLOOR * _mean(energy, inner) + _ROUNDING)
    return (
        _group(np.stack([plane - _local_mean(plane, inner) for plane in orientation]), inner, spin=2),
        _group(_evened(strength, inner)[None], inner),
    )


def _group(planes: Float, support: Mask, spin: int = 0) -> Group:
    inside = planes[:, support]
    if inside.size:
        inside = inside - inside.mean(axis=1, keepdims=True)
        energy = float(np.mean(np.sum(inside * inside, axis=0)))
        inside = inside / np.float32(np.sqrt(energy)) if energy > _LEAST_ENERGY else np.zeros_like(inside)
    out = np.zeros_like(planes)
    out[:, support] = inside
    return Group(out, spin)


def _mean(values: Float, mask: Mask) -> np.float32:
    return np.float32(values[mask].mean()) if mask.any() else np.float32(0)


def _local_mean(values: Float, mask: Mask, sigma: float = _SURROUND_SIGMA) -> Float:
    weight = mask.astype(np.float32)
    total = cv2.GaussianBlur(values * weight, (0, 0), sigma)
    return np.asarray(total / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), np.float32(1e-3)))


def _evened(values: Float, mask: Mask) -> Float:
    """Local mean removed and local standard deviation evened out."""
    centred = values - _local_mean(values, mask)
    power = _local_mean(centred * centred, mask)
    return np.asarray(centred / np.sqrt(power + _ENERGY_FLOOR * _mean(power, mask) + _ROUNDING))
