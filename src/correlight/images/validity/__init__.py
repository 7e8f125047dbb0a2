"""Which pixels of an image show the specimen: not padding, not a burned-in data bar, not what a round aperture hides.

Everything here errs on the side of keeping pixels. A region is given up only where its outline proves that it was
made by a computer or an aperture: a straight-sided frame of one exact value that image content touches all along, a
strip with writing that begins within one row over the full width, or what lies outside an exact circle that fills the
frame. The empty background of a sparse fluorescence image is one exact value as well, but nothing touches the sides of
its outline, and it stays valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from correlight.errors import UsageError
from correlight.images.image import Mask
from correlight.images.validity.databar import data_bars
from correlight.images.validity.padding import percent, shared_padding
from correlight.images.validity.round_field import shared_field

__all__ = ["Validity", "find_valid", "find_valid_channels"]


@dataclass(frozen=True, slots=True, eq=False)
class Validity:
    """Valid pixels of an image and what was found about the others.

    Parameters
    ----------
    mask : (Y, X) array of bool
        True where the image shows the specimen.
    findings : tuple of str
        One sentence for each thing that is ignored; empty where every pixel is valid.
    """

    mask: Mask
    findings: tuple[str, ...] = ()


def find_valid(grey: ArrayLike) -> Validity:
    """Find constant padding, burned-in data bars, round fields of view and pixels that are not numbers.

    Parameters
    ----------
    grey : (Y, X) array
        One channel, or the mean of the colours; any real type, exact values as in the file.

    Returns
    -------
    Validity
        The mask is all True and the findings are empty for an ordinary picture.

    Raises
    ------
    UsageError
        If the array is not two-dimensional.

    Notes
    -----
    Padding is sought as follows. For each value that stands in long runs along the frame, the convex hull of all
    *other* pixels is simplified to a polygon of few sides. It is the edge of the content if pixels of other values
    lie close to the sides nearly everywhere, whatever the value and however often it occurs within the content.
    Missing tiles of a mosaic and gaps between tiles are constant regions anywhere, whose outline runs along a few rows
    and columns. Fails to see padding of the same value as an empty background, and padding that a lossy file format
    made uneven. Takes a few passes over the pixels.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> image = np.zeros((200, 200), np.float32)
    >>> image[:, 50:] = rng.normal(100, 10, (200, 150))
    >>> find_valid(image).findings
    ('constant padding (value 0) around the image, 26 % of the pixels, is ignored',)
    """
    return find_valid_channels((grey,))


# Numbers beyond single precision become infinite and are told as such; sums of large ones may be, too.
@np.errstate(over="ignore", invalid="ignore")
def find_valid_channels(channels: Sequence[ArrayLike]) -> Validity:
    """Find what is not valid in an image of several channels that were taken on one grid.

    Parameters
    ----------
    channels : sequence of (Y, X) arrays
        Their exact values.

    Returns
    -------
    Validity
        A pixel counts as padding only if every channel is constant in the region, a row as part of a data bar if
        any channel has one, and a pixel as missing if any channel has no finite number there.

    Raises
    ------
    UsageError
        If there is no channel, or they are not two-dimensional and of one shape.
    """
    shapes = {np.shape(channel) for channel in channels}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2:
        raise UsageError(f"Valid pixels are sought in (Y, X) channels of one shape; got the shapes {sorted(shapes)}.")
    pixels = [np.ascontiguousarray(channel, dtype=np.float32) for channel in channels]
    mask = np.ones(shape, bool)
    for channel in pixels:
        mask &= np.isfinite(channel)
    findings: list[str] = []
    missing = 1.0 - float(mask.mean())
    if missing > 0:
        findings.append(f"pixels that are not finite numbers, {percent(missing)}, are ignored")
        pixels = [np.where(np.isfinite(channel), channel, np.float32(np.nan)) for channel in pixels]
    heights = np.array([data_bars(channel) for channel in pixels]).max(axis=0)
    first, last = int(heights[0]), shape[0] - int(heights[1])
    for rows, where in zip(heights, ("top", "bottom"), strict=True):
        if rows:
            findings.append(f"a data bar of {rows} rows at the {where} is ignored")
    mask[:first] = False
    mask[last:] = False
    inner, padding = shared_padding([channel[first:last] for channel in pixels])
    mask[first:last] &= inner
    field = shared_field(pixels, mask)
    if field is not None:
        inside = field.mask(shape)
        share = percent(float(np.mean(mask & ~inside)))
        padding = [*padding, f"pixels outside the round field of view, {share}, are ignored"]
        mask &= inside
    return Validity(mask, (*findings, *padding))
