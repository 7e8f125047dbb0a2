"""Witnesses: what else the two images say at a pose that was found and refined by other means.

Each compares the pose with sixteen nearby ones that are wrong, in units of what these differ by.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.appearance.channels import edges, evened
from correlight.images.image import Mask
from correlight.images.plane import Plane
from correlight.refine.planes import Overlay
from correlight.refine.samples import MeasureName, Samples

# Wrong shifts, as shares of the common field.
_DISPLACEMENTS = (0.06, 0.12)
# Fewer samples tell nothing; nor does what is left inside an outline if it is less than this share.
_FEWEST, _LEAST_LEFT = 400, 0.15
# An outline parts an image into bright and dark, which explain so much of the variance of its grey values. The lesser
# part fills so much of it at least, and parts smaller than a share of the image are holes, pits or dirt.
_EXPLAINED, _LEAST_PART, _DIRT = 0.9, 0.03, 0.01
# Structure this fine, in working pixels, belongs to no outline.
_FINE = 2.0
# The squared length of an outline over that of a circle of the same area: that of so many circles. More is texture.
_MOST_CIRCLES = 8.0
# What lies nearer to an outline, in working pixels, is part of it: edges are compared within their surroundings.
_BESIDE = 14


def above_displaced(samples: Samples, measure: MeasureName) -> float:
    """A measure at a pose above its mean after wrong shifts, in standard deviations of theirs.

    Parameters
    ----------
    samples : Samples
        Places that both images show; 0 is returned where there are too few.
    measure : str
        As `Samples.measure` takes it.
    """
    if not samples:
        return 0.0
    compared, places = samples.measure(measure), samples.points
    reach = np.ptp(places, axis=0)
    wrong = [
        compared(places + share * reach * (np.sin(angle), np.cos(angle))).value
        for share in _DISPLACEMENTS
        for angle in np.arange(8) * np.pi / 4
    ]
    return (compared(places).value - float(np.mean(wrong))) / max(float(np.std(wrong)), 1e-9)


def of_detail(laid: Overlay) -> float:
    """Mutual information of grey values whose local mean and contrast were evened out, above that after wrong shifts.

    Vignettes, shading and large bright regions, which mutual information of the images as they are follows, are gone.

    Parameters
    ----------
    laid : Overlay
        The two images under the pose.
    """
    fixed, moving = (replace(one, values=evened(one.values, one.mask)) for one in (laid.fixed, laid.moving))
    return above_displaced(replace(laid, fixed=fixed, moving=moving).samples, "mutual information")


def apart_from_outline(laid: Overlay) -> float:
    """How well edges agree that are not those of the outline of a specimen, above what they do after wrong shifts.

    Another specimen of the same outline agrees with it as well as the right one does; only what lies inside tells them
    apart.

    Parameters
    ----------
    laid : Overlay
        The two images under the pose.

    Returns
    -------
    float
        In standard deviations; NaN where no image shows a specimen with an outline, or hardly anything else.
    """
    if laid.fixed.denoised or laid.moving.denoised:
        return float("nan")
    # The one whose grey values are parted more clearly shows where the outline is.
    outlines = [found for found in (_outline(laid.fixed), _outline(laid.moving)) if found is not None]
    if not outlines:
        return float("nan")
    _, border = max(outlines, key=lambda found: found[0])
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _BESIDE + 1,) * 2)
    beside = cv2.dilate(border.astype(np.uint8), around) > 0
    samples = replace(laid, channels=edges).samples
    pixels = np.clip(np.rint(samples.points).astype(int), 0, np.array(beside.shape) - 1)
    apart = samples.restricted(~beside[pixels[:, 0], pixels[:, 1]])
    told = len(apart) >= max(_FEWEST, _LEAST_LEFT * len(samples))
    return above_displaced(apart, "features") if told else float("nan")


def _outline(plane: Plane) -> tuple[float, Mask] | None:
    """The border between a specimen and its surroundings, and how clearly grey values are parted; None without one."""
    smooth, mask = cv2.GaussianBlur(plane.values, (0, 0), _FINE), plane.mask
    valid = smooth[mask]
    if valid.size < _FEWEST or np.ptp(valid) == 0:
        return None
    levels = np.clip(255 * (smooth - valid.min()) / np.ptp(valid), 0, 255).astype(np.uint8)
    limit, _ = cv2.threshold(levels[mask][None], 0, 255, cv2.THRESH_OTSU)
    bright = valid > valid.min() + limit / 255 * np.ptp(valid)
    share = float(bright.mean())
    if not 0 < share < 1:
        return None
    parted = float(valid[bright].mean() - valid[~bright].mean())
    explained = share * (1 - share) * parted**2 / float(valid.var())
    inside = np.zeros(mask.shape, bool)
    inside[mask] = bright
    inside = _without_dirt(inside, mask)
    part = float(inside[mask].mean())
    lesser = min(part, 1 - part)
    if explained < _EXPLAINED or lesser < _LEAST_PART:
        return None
    border, length = _border(inside, mask)
    circles = length**2 / (4 * np.pi * lesser * np.count_nonzero(mask))
    return (explained, border) if circles <= _MOST_CIRCLES else None


def _without_dirt(inside: Mask, mask: Mask) -> Mask:
    """A part of an image with its small holes closed and its small pieces taken away."""
    least = _DIRT * np.count_nonzero(mask)
    for part in (False, True):
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(((inside == part) & mask).astype(np.uint8))
        small = stats[:, cv2.CC_STAT_AREA] < least
        small[0] = False
        inside = np.where(small[numbers], not part, inside)
    return inside


def _border(inside: Mask, mask: Mask) -> tuple[NDArray[np.bool_], float]:
    """Pixels at the border of a part, and its length by the number of times that rows and columns cross it."""
    border, crossings = np.zeros_like(inside), 0
    for axis in (0, 1):
        one, other = (np.take(inside, range(k, inside.shape[axis] - 1 + k), axis) for k in (0, 1))
        valid = np.logical_and(*(np.take(mask, range(k, mask.shape[axis] - 1 + k), axis) for k in (0, 1)))
        crossed = (one != other) & valid
        crossings += int(np.count_nonzero(crossed))
        border |= np.pad(crossed, [(0, int(axis == 0)), (0, int(axis == 1))])
    return border, np.pi / 4 * crossings
