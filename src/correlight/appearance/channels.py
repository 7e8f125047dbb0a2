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

from correlight.images.image import Float32, Mask

# Widths in pixels of the working image.
_EDGE_SIGMA = 0.8
_SURROUND_SIGMA = 6.0
# Share of the mean edge energy below which an edge counts as noise (the epsilon of normalised gradient fields).
_EDGE_FLOOR = 0.5
# Edge energies of grey values between 0 and 1 that may be rounding, and the least mean energy of a whitened plane that
# shows anything: rounding must not be blown up to structure.
_ROUNDING, _LEAST_ENERGY = np.float32(1e-9), 1e-3
# A pixel of a shrunk image is valid if at least this much of what it averages was valid.
_VALID_SHARE = 0.75
# Share of the mean energy that evens out a region with nothing in it.
_ENERGY_FLOOR = 0.3


@dataclass(frozen=True, eq=False)
class Group:
    """Planes whose correlations are summed.

    Parameters
    ----------
    planes : (C, y, x) array of float32
        Zero mean, unit mean energy over the support, zero outside it.
    stride : int
        Pixels of the image per pixel of a plane; pixel ``(i, j)`` of a plane stands for pixel
        ``(stride * i, stride * j)`` of the image.
    support : (y, x) array of bool
        Where the planes say something.
    """

    planes: Float32
    support: Mask
    stride: int = 1

    @property
    def energy(self) -> Float32:
        """Sum of squares over the planes, shape ``(y, x)``."""
        return np.asarray(np.sum(self.planes * self.planes, axis=0))


Channels = Callable[[Float32, Mask], tuple[Group, ...]]


def edges(values: Float32, mask: Mask) -> tuple[Group, ...]:
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
        Two groups, of two planes (cosine and sine of the doubled direction) and of one.
    """
    energy, orientation, around = _edges(values, mask)
    strength = energy / (energy + _EDGE_FLOOR * around.mean_of_all(energy) + _ROUNDING)
    return orientation, group(_evened(strength, around)[None], around.mask)


def grey_values(values: Float32, mask: Mask) -> tuple[Group, ...]:
    """One group of one plane: the grey values themselves, for images of the same contrast.

    Parameters
    ----------
    values : (Y, X) array of float32
        Grey values at working resolution.
    mask : (Y, X) array of bool
        Valid pixels.
    """
    return (group(evened(values, mask)[None], mask),)


def directions(values: Float32, mask: Mask) -> tuple[Group, ...]:
    """The first of the two groups of `edges` alone."""
    return (_edges(values, mask)[1],)


def _edges(values: Float32, mask: Mask) -> tuple[Float32, Group, _Surroundings]:
    """Energy of the edges, their directions, and means over the pixels whose edges are not those of the mask."""
    smooth = cv2.GaussianBlur(values, (0, 0), _EDGE_SIGMA)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, dx, 1 - dx) for dx in (1, 0))
    energy = across * across + down * down
    # An edge next to the mask may be the edge of the mask.
    side = 2 * round(2 * _EDGE_SIGMA + 1) + 1
    inner = cv2.erode(mask.astype(np.uint8), np.ones((side, side), np.uint8), borderValue=0) > 0
    around = _Surroundings(inner)
    floor = _EDGE_FLOOR * (0.8 * around.mean(energy) + 0.2 * around.mean_of_all(energy)) + _ROUNDING
    orientation = np.stack([(across * across - down * down) / (energy + floor), 2 * across * down / (energy + floor)])
    return energy, group(np.stack([plane - around.mean(plane) for plane in orientation]), inner), around


def shrunk(channels: Channels, stride: int) -> Channels:
    """Channels of the image after it was shrunk: structure of another size, at less cost.

    Parameters
    ----------
    channels : Channels
        With a stride of 1.
    stride : int
        How many times smaller.
    """

    def of_shrunk(values: Float32, mask: Mask) -> tuple[Group, ...]:
        # Averages around every stride-th pixel, so that the planes lie where their stride says.
        weight = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.4 * stride)[::stride, ::stride]
        total = cv2.GaussianBlur(values * mask, (0, 0), 0.4 * stride)[::stride, ::stride]
        valid = (weight > _VALID_SHARE) & mask[::stride, ::stride]
        small = np.where(valid, total / np.maximum(weight, np.float32(1e-3)), np.float32(0))
        return tuple(Group(made.planes, made.support, stride) for made in channels(small.astype(np.float32), valid))

    return of_shrunk


@dataclass(frozen=True)
class Joined:
    """The groups of several kinds of channels, one after the other.

    Parameters
    ----------
    several : tuple of channels
        Each of which may be computed by itself.
    """

    several: tuple[Channels, ...]

    def __call__(self, values: Float32, mask: Mask) -> tuple[Group, ...]:
        """All groups."""
        return tuple(group for channels in self.several for group in channels(values, mask))


def joined(*several: Channels) -> Channels:
    """The groups of several kinds of channels, one after the other."""
    return Joined(several)


def group(planes: Float32, support: Mask, stride: int = 1) -> Group:
    """A group of planes, brought to zero mean and unit energy over their support."""
    # Products with weights: to pick the pixels of a mask and to put them back takes three times as long. What lies
    # outside must be a number for that; the fill of a `Plane` is.
    weight = support.astype(np.float32)
    flat, inside = planes.reshape(len(planes), -1), weight.ravel()
    count = max(1, int(np.count_nonzero(support)))
    means = (flat @ inside / np.float32(count)).astype(np.float32)
    out = (planes - means[:, None, None]) * weight
    energy = float(np.vdot(out, out)) / count
    out *= np.float32(1 / np.sqrt(energy) if energy > _LEAST_ENERGY else 0)
    return Group(out, support, stride)


def evened(values: Float32, mask: Mask) -> Float32:
    """Values with their local mean removed and their local standard deviation evened out.

    Parameters
    ----------
    values : (Y, X) array of float32
        At working resolution.
    mask : (Y, X) array of bool
        Valid pixels.
    """
    return _evened(values, _Surroundings(mask))


class _Surroundings:
    """Means over what surrounds each pixel, and over all pixels, of those that a mask holds valid."""

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self._weight = mask.astype(np.float32)
        self._count = max(1, int(np.count_nonzero(mask)))
        self._share = np.maximum(cv2.GaussianBlur(self._weight, (0, 0), _SURROUND_SIGMA), np.float32(1e-3))

    def mean(self, values: Float32) -> Float32:
        """Around each pixel."""
        return np.asarray(cv2.GaussianBlur(values * self._weight, (0, 0), _SURROUND_SIGMA) / self._share)

    def mean_of_all(self, values: Float32) -> np.float32:
        """One number."""
        return np.float32(float(np.vdot(values, self._weight)) / self._count)


def _evened(values: Float32, around: _Surroundings) -> Float32:
    centred = values - around.mean(values)
    power = around.mean(centred * centred)
    return np.asarray(centred / np.sqrt(power + _ENERGY_FLOOR * around.mean_of_all(power) + _ROUNDING))
