"""A round field of view: the circle that an eyepiece, a fundus camera or a round aperture leaves of an image.

Outside the circle there is nothing of the specimen, although pixels there are rarely of one exact value. Its rim is the
strongest edge of such an image, and two images of unlike fields would be registered by their rims.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Float32, Mask

# The circle is sought in an image of at most so many pixels along its longest side.
_SIDE = 384
# It is exact to this share of its radius, at this share of its rim within the frame: round specimens are rounder to the
# eye than to a ruler. So many degrees of it are seen at least.
_ROUND, _COMPLETE, _LEAST_ARC = 0.006, 0.93, 40.0
# It fills the shorter side of what is valid to this share, and leaves out this share at least.
_FILLED, _LEAST_OUTSIDE = 0.85, 0.01
# What lies outside is even to this share of the contrast between it and the field, which is this many times its spread,
# and takes up this share of the border.
_EVEN, _CONTRAST, _OF_BORDER = 0.25, 6.0, 0.04
# Where the brightness has come to this share of what it is further inside, the rim ends.
_RISEN, _FURTHER_INSIDE = 0.8, 0.06
# Across the rim the brightness changes so many times as much as over the same distance further inside; what is darker
# towards the corners has no rim.
_ABRUPT = 3.0
_DIRECTIONS = 720
# Beyond the rim, at so many radii, a channel varies so much at most, relative to inside.
_BEYOND_RIM, _EMPTY = 1.05, 0.5


@dataclass(frozen=True, slots=True)
class RoundField:
    """A circle in pixels, y before x."""

    centre: tuple[float, float]
    radius: float

    def mask(self, shape: tuple[int, int]) -> Mask:
        """The pixels of an image of a shape that lie inside."""
        y, x = (np.arange(length, dtype=np.float32) - middle for length, middle in zip(shape, self.centre, strict=True))
        return np.asarray(y[:, None] ** 2 + x**2 <= self.radius**2)


def shared_field(channels: Sequence[Float32], valid: Mask) -> RoundField | None:
    """The round field that one channel shows and no other contradicts by structure outside it."""
    for channel in channels:
        field = round_field(channel, valid)
        if field is None:
            continue
        shape = (channel.shape[0], channel.shape[1])
        within = field.mask(shape) & valid
        beyond = ~replace(field, radius=_BEYOND_RIM * field.radius).mask(shape) & valid
        if not beyond.any() or all(_spread(other[beyond]) <= _EMPTY * _spread(other[within]) for other in channels):
            return field
    return None


def _spread(values: Float32) -> float:
    return float(np.median(np.abs(values - np.median(values))))


def round_field(pixels: Float32, valid: Mask) -> RoundField | None:
    """The round field of view of an image, without its rim; None where the image fills its frame.

    Parameters
    ----------
    pixels : (Y, X) array of float32
        One channel.
    valid : (Y, X) array of bool
        Pixels that show anything at all. The image may have been cut and turned, so that only arcs of the circle are
        left.
    """
    factor = max(1.0, max(pixels.shape) / _SIDE)
    size = (max(1, round(pixels.shape[1] / factor)), max(1, round(pixels.shape[0] / factor)))
    if min(size) < 32 or not valid.any():
        return None
    # In single precision the sum of large numbers is infinite.
    level = np.float32(pixels.mean(where=valid, dtype=np.float64))
    known = cv2.resize(valid.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.999
    small = np.asarray(cv2.resize(np.where(valid, pixels, level), size, interpolation=cv2.INTER_AREA), np.float32)
    small = np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), np.float32)
    # The blur and the resampling of a turned image mix the border of what is known with what lies beyond.
    known = cv2.erode(np.pad(known, 4, mode="edge").astype(np.uint8), np.ones((7, 7), np.uint8))[4:-4, 4:-4] > 0
    steps = np.array(pixels.shape) / small.shape
    for outside in _outsides(small, known):
        points = _rim(outside, known)
        circle = _circle(points)
        if circle is None or not _is_field(circle, points, known):
            continue
        inside = _without_rim(small, known, circle)
        if inside is not None:
            y, x = (np.array(inside.centre) + 0.5) * steps - 0.5
            return RoundField((float(y), float(x)), inside.radius * float(steps.min()))
    return None


def _outsides(small: Float32, known: Mask) -> Iterator[Mask]:
    """What hangs together with the border and is as even as nothing of a specimen: the dark, then the bright part."""
    inner = cv2.erode(np.pad(known, 1).astype(np.uint8), np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    border = known & ~inner
    if border.sum() < 40:
        return
    field = float(np.median(small[inner])) if inner.any() else 0.0
    ordered = np.sort(small[border])
    part = max(8, round(_OF_BORDER * len(ordered)))
    for level in (float(np.median(ordered[:part])), float(np.median(ordered[-part:]))):
        contrast = abs(field - level)
        even = np.abs(ordered - level) < _EVEN * contrast
        if contrast == 0 or even.sum() < part:
            continue
        level = float(np.median(ordered[even]))
        spread = 1.48 * float(np.median(np.abs(ordered[even] - level)))
        if contrast < _CONTRAST * spread:
            continue
        alike = (np.abs(small - level) < _EVEN * contrast) & known
        _, labels = cv2.connectedComponents(alike.astype(np.uint8), connectivity=4)
        counts = np.bincount(labels[border], minlength=labels.max() + 1)
        counts[0] = 0
        # A dark spot of the specimen at the border is no outside.
        yield np.isin(labels, np.flatnonzero(counts >= max(4, part // 4)))


def _rim(outside: Mask, known: Mask) -> NDArray[np.float64]:
    """Places (y, x), to half a pixel, where the outside ends, but for the border of what is known."""
    ends = []
    for axis, half in enumerate(((0.5, 0.0), (0.0, 0.5))):
        one = np.moveaxis(outside, axis, 0)
        both = np.moveaxis(known, axis, 0)
        change = (one[1:] != one[:-1]) & both[1:] & both[:-1]
        ends.append(np.argwhere(np.moveaxis(change, 0, axis)) + np.array(half))
    return np.concatenate(ends)


def _circle(points: NDArray[np.float64]) -> RoundField | None:
    """The circle of least squares, from which what lies furthest off is left out step by step."""
    kept, circle = points, None
    for _ in range(6):
        if len(kept) < 40:
            return None
        design = np.column_stack([2 * kept, np.ones(len(kept))])
        (y, x, rest), *_ = np.linalg.lstsq(design, (kept**2).sum(axis=1), rcond=None)
        squared = rest + y**2 + x**2
        if not squared > 0:
            return None
        circle = RoundField((float(y), float(x)), float(np.sqrt(squared)))
        off = np.abs(np.hypot(*(points - circle.centre).T) - circle.radius)
        kept = points[off <= max(2.5 * float(np.median(off)), 0.75)]
    return circle


def _is_field(circle: RoundField, points: NDArray[np.float64], known: Mask) -> bool:
    """Whether a circle is as large, as round and as complete as a field of view."""
    shape = (known.shape[0], known.shape[1])
    sides = [np.ptp(np.flatnonzero(known.any(axis=axis))) for axis in (0, 1)]
    inside = float(np.mean(circle.mask(shape)[known]))
    if 2 * circle.radius < _FILLED * min(sides) or inside > 1 - _LEAST_OUTSIDE:
        return False
    angles = np.linspace(-np.pi, np.pi, _DIRECTIONS, endpoint=False)
    rim = np.array(circle.centre) + circle.radius * np.column_stack([np.sin(angles), np.cos(angles)])
    y, x = np.rint(rim).astype(int).T
    in_frame = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    in_frame[in_frame] = known[y[in_frame], x[in_frame]]
    if in_frame.sum() < _LEAST_ARC / 360 * _DIRECTIONS:
        return False
    away = points - circle.centre
    off = np.hypot(*away.T) - circle.radius
    near = np.abs(off) <= max(3 * _ROUND * circle.radius, 1.0)
    turned = np.digitize(np.arctan2(*away[near].T), angles) - 1
    seen = np.zeros(_DIRECTIONS, bool)
    # A rim of a few hundred pixels leaves gaps of a direction or two.
    for step in (-2, -1, 0, 1, 2):
        seen[(turned + step) % _DIRECTIONS] = True
    exact = float(np.sqrt(np.mean(off[near] ** 2))) if near.any() else np.inf
    bulge = circle.radius * (1 - np.cos(np.pi * in_frame.mean()))
    return (
        float(seen[in_frame].mean()) >= _COMPLETE
        and float(near.mean()) >= _COMPLETE
        and exact <= max(_ROUND * circle.radius, 0.5)
        # An arc that is nearly straight says nothing of a circle.
        and bulge > 8 * exact
    )


def _without_rim(small: Float32, known: Mask, circle: RoundField) -> RoundField | None:
    """The circle within which the brightness no longer falls off towards the rim; None where it does not fall off."""
    angles = np.linspace(0, 2 * np.pi, _DIRECTIONS, endpoint=False)
    across = np.linspace(1 + _FURTHER_INSIDE / 2, 1 - 5 / 2 * _FURTHER_INSIDE, 108)
    radii = circle.radius * across
    y = (circle.centre[0] + radii[:, None] * np.sin(angles)).astype(np.float32)
    x = (circle.centre[1] + radii[:, None] * np.cos(angles)).astype(np.float32)
    values = cv2.remap(small, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.remap(known.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT) > 0.99
    # The same directions at every radius, or what is cut off would pass for a change of brightness.
    whole = seen[across >= 1 - _FURTHER_INSIDE].all(axis=0)
    if not whole.any():
        return None
    profile = np.median(values[:, whole], axis=1)
    rim, further = across >= 1 - _FURTHER_INSIDE, across < 1 - _FURTHER_INSIDE
    if abs(profile[rim][-1] - profile[0]) < _ABRUPT * abs(profile[-1] - profile[further][0]):
        return None
    outer, inner = profile[0], float(np.median(profile[further]))
    if inner == outer:
        return None
    risen = (profile - outer) / (inner - outer) >= _RISEN
    return RoundField(circle.centre, min(float(radii[np.argmax(risen)]), circle.radius) - 1.0) if risen.any() else None
