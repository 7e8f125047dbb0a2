"""Plane: one channel of an image, ready to be compared: grey values, valid pixels and the grid they lie on.

The stages from appearance to verify work on planes. Nothing here knows which channel of which file it was.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from weakref import WeakValueDictionary

import cv2
import numpy as np

from correlight.geometry import Grid
from correlight.images.image import Float32, Image, Mask
from correlight.images.pyramid import working_image

# A pixel of a sharp image may be divided by this: features of small images are more distinctive where structure is as
# large as in the images that they were made for, though nothing is added to it.
DIVISIBLE = 3.0
# A shrunk pixel is valid if at least this much of it was valid.
_VALID_SHARE = 0.75
# Grey values are stretched between these percentiles of the valid pixels: hot pixels must not set the scale.
_STRETCH = (0.5, 99.5)
# A field this many times longer than the working size is enough context for the smaller one.
_LARGEST_FIELD = 2.5
# So many pixels determine the percentiles of an image; sorting all of a large one takes seconds.
_ENOUGH = 2_000_000


@dataclass(frozen=True, eq=False)
class Prediction:
    """What is known of a plane that a model predicted.

    Parameters
    ----------
    original : Plane
        What the model saw, on the same grid.
    unusualness : float
        Out-of-distribution score of that: up to 1 for nearly all images like those that the model was trained on.
    confidence : (Y, X) array of float32, optional
        How far each predicted pixel is to be trusted, 0 to 1; of models that say so.
    """

    original: Plane
    unusualness: float
    confidence: Float32 | None = None


@dataclass(frozen=True, eq=False)
class Plane:
    """Grey values between 0 and 1 on a 2-D grid, with the valid pixels.

    Parameters
    ----------
    values : (Y, X) array of float32
        Grey values; what lies outside the mask is filled with the median of the rest.
    mask : (Y, X) array of bool
        Valid pixels.
    grid : Grid
        Where the pixels lie.
    denoised : bool
        Whether it was smoothed for want of counts: then its pixels are not divided where the plane is compared on finer
        ones, and its edges are uninformative.
    predicted : Prediction, optional
        Where the values are not what an instrument saw but what a model predicted; not of planes made from this one.
    """

    values: Float32
    mask: Mask
    grid: Grid
    denoised: bool = False
    predicted: Prediction | None = None

    @classmethod
    def of(cls, image: Image, channel: int | None) -> Plane:
        """One channel of a 2-D image, stretched to 0 to 1 between robust percentiles.

        Of an image that stays on disk, a level that is in memory.

        Parameters
        ----------
        image : Image
            Two-dimensional.
        channel : int or None
            0-based; None for the mean of the colours of an RGB picture.
        """
        image = working_image(image)
        grey, mask = image.grey(channel), image.valid()
        mask = mask & np.isfinite(grey)
        return cls(stretched(grey, mask), mask, image.grid)

    @cached_property
    def area(self) -> float:
        """Area of the valid pixels, in squared units of the grid."""
        return float(np.count_nonzero(self.mask)) * self.grid.spacing[0] * self.grid.spacing[1]

    @property
    def finest(self) -> tuple[float, ...]:
        """The least pixel size along each axis on which the plane may be compared."""
        return tuple(step / (1.0 if self.denoised else DIVISIBLE) for step in self.grid.spacing)

    def shrunk(self, spacing: float) -> Plane:
        """The plane at about the given isotropic pixel size, by area averaging; never finer than it is.

        Only valid pixels enter an average. The grid keeps the outer edges of the field, so that its spacing
        differs from the one asked for by less than one pixel over the field.
        """
        sides = zip(self.grid.extent, self.grid.spacing, strict=True)
        rows, columns = (max(1, round(extent / max(spacing, own))) for extent, own in sides)
        return self.resized((rows, columns))

    def at(self, spacing: float) -> Plane:
        """The plane at about the given isotropic pixel size, finer or coarser than its own."""
        rows, columns = (max(1, round(extent / spacing)) for extent in self.grid.extent)
        return self.resized((rows, columns))

    def resized(self, shape: tuple[int, int]) -> Plane:
        """The plane on a grid of another shape over the same field; the same object as long as one is in use.

        Along an axis that gets fewer pixels valid ones are averaged; along one that gets more, cubics interpolate.
        """
        if shape == self.grid.shape:
            return self
        known = self._resized.get(shape)
        if known is None:
            known = self._resized[shape] = self._made(shape)
        return known

    @cached_property
    def _resized(self) -> WeakValueDictionary[tuple[int, int], Plane]:
        """What was made of it and is still in use, by shape."""
        return WeakValueDictionary()

    def _made(self, shape: tuple[int, int]) -> Plane:
        if any(new > old for new, old in zip(shape, self.grid.shape, strict=True)):
            return self._enlarged((max(shape[0], self.grid.shape[0]), max(shape[1], self.grid.shape[1]))).resized(shape)
        size = (shape[1], shape[0])
        grid = self.grid.resized(shape)
        if self.mask.all():
            values = np.asarray(cv2.resize(self.values, size, interpolation=cv2.INTER_AREA), np.float32)
            return Plane(values, np.ones(shape, bool), grid)
        weight = cv2.resize(self.mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(self.values * self.mask, size, interpolation=cv2.INTER_AREA)
        mask = weight >= _VALID_SHARE
        mean = (total / np.maximum(weight, np.float32(1e-6))).astype(np.float32)
        return Plane(_filled(mean, mask), mask, grid)

    def _enlarged(self, shape: tuple[int, int]) -> Plane:
        size = (shape[1], shape[0])
        grid = self.grid.resized(shape)
        cubic = np.clip(cv2.resize(self.values, size, interpolation=cv2.INTER_CUBIC), 0, 1).astype(np.float32)
        if self.mask.all():
            return Plane(cubic, np.ones(shape, bool), grid)
        mask = cv2.resize(self.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        # Where cubics would reach beyond the mask, straight lines between valid pixels.
        weight = self.mask.astype(np.float32)
        total, share = (
            cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in (self.values * weight, weight)
        )
        inner = cv2.erode(self.mask.astype(np.uint8), np.ones((5, 5), np.uint8), borderValue=1)
        within = cv2.resize(inner, size, interpolation=cv2.INTER_NEAREST) > 0
        values = np.where(within, cubic, total / np.maximum(share, np.float32(1e-6))).astype(np.float32)
        return Plane(_filled(values, mask), mask, grid)

    def cut(self, start: tuple[int, int], stop: tuple[int, int]) -> Plane:
        """The pixels from ``start`` (included) to ``stop`` (excluded) along (y, x)."""
        region = (slice(start[0], stop[0]), slice(start[1], stop[1]))
        return replace(self, values=self.values[region], mask=self.mask[region], grid=self.grid.crop(start, stop))


def _filled(values: Float32, mask: Mask) -> Float32:
    if mask.all() or not mask.any():
        return values
    return np.where(mask, values, np.float32(np.median(values[mask])))


def stretched(grey: Float32, mask: Mask) -> Float32:
    """Grey values of any shape stretched to 0 to 1 between robust percentiles of the valid ones; the rest filled."""
    valid = grey[mask]
    if valid.size == 0:
        return np.zeros_like(grey)
    stretched = between(grey, *limits(valid))
    return _filled(np.where(mask, stretched, np.float32(0)).astype(np.float32), mask)


def limits(valid: Float32) -> tuple[float, float]:
    """The grey values that become 0 and 1, from valid pixels, at least one."""
    low, high = np.percentile(valid[:: valid.size // _ENOUGH + 1], _STRETCH)
    if high <= low:
        # So sparse that the bright pixels are rarer than the percentile.
        return float(valid.min()), float(valid.max())
    return float(low), float(high)


def between(grey: Float32, low: float, high: float) -> Float32:
    """Grey values as shares of the way between two limits, 0 to 1."""
    return np.asarray(np.clip((grey - np.float32(low)) / np.float32(max(high - low, 1e-30)), 0, 1))


def working_planes(
    fixed: Plane, moving: Plane, scale: float, size: float, *, divided: bool = True
) -> tuple[Plane, Plane]:
    """Both planes with pixels of one size as laid on each other, as many as a working size asks for.

    Parameters
    ----------
    fixed, moving : Plane
        At full resolution.
    scale : float
        Moving units per fixed unit.
    size : float
        Side in pixels of a square with the area of the smaller field.
    divided : bool
        Whether small images are enlarged, as far as their pixels may be divided.
    """
    spacing = np.sqrt(min(fixed.area, moving.area / scale**2)) / size
    longest = max(*fixed.grid.extent, *(extent / scale for extent in moving.grid.extent))
    spacing = max(spacing, longest / (_LARGEST_FIELD * size))
    of_fixed, of_moving = (plane.finest if divided else plane.grid.spacing for plane in (fixed, moving))
    spacing = max(spacing, *of_fixed, *(step / scale for step in of_moving))
    return fixed.at(spacing), moving.at(spacing * scale)
