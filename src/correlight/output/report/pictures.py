"""Images for the report: arrays in, encoded PNG or JPEG out. Nothing here knows a file or a verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as Drawing
from PIL import ImageDraw, ImageFont

from correlight.geometry import Grid, Points
from correlight.images.display import COLOURS, Grey, resize, resize_mask

Colour = NDArray[np.uint8]
Mask = NDArray[np.bool_]
Polygon = list[list[float]]

# What makes grey of a colour where two dense images agree, as near as there is one.
OPPOSITES = {
    "magenta": "green",
    "green": "magenta",
    "cyan": "orange",
    "yellow": "blue",
    "orange": "cyan",
    "blue": "yellow",
}

_HATCH = (230, 130, 0)
_FONT = Path(__file__).with_name("DejaVuSans.ttf")
# The band of a banner: its grey value, and its least width in heights of a letter.
_BAND, _BANNER = 32, 14
# An image whose middle grey value is above this, of 255, is bright nearly everywhere.
_DENSE = 64
# Residuals are shown at most so many times as long as they are, and as a rule this share of the width.
_MOST_TIMES, _SEEN = 1000.0, 0.05


def tinted(fixed: Grey, moving: Grey, tint: Sequence[int], covered: Mask | None = None) -> Colour:
    """Lay the moving image in colour on the grey fixed image, as opaque as it is bright.

    Unlike adding the two, this keeps the colour visible where the fixed image is white.

    Parameters
    ----------
    fixed, moving : (Y, X) arrays of uint8
        On one grid.
    tint : sequence of three int
        Red, green and blue of the brightest moving pixel.
    covered : (Y, X) array of bool, optional
        Where the moving image has pixels.

    Returns
    -------
    (Y, X, 3) array of uint8
        Red, green, blue.
    """
    weight = np.asarray(moving, np.float32)[..., None] / 255
    if covered is not None:
        weight = weight * covered[..., None]
    grey = np.asarray(fixed, np.float32)[..., None]
    return np.asarray(np.round(grey * (1 - weight) + np.asarray(tint, np.float32) * weight), np.uint8)


def in_two_colours(fixed: Grey, moving: Grey, tint: Sequence[int], covered: Mask | None = None) -> Colour:
    """The moving image in a colour and the fixed one in what is left of white: grey where both agree.

    For a moving image that is bright nearly everywhere, which would hide the fixed one under one flat colour.

    Parameters
    ----------
    fixed, moving : (Y, X) arrays of uint8
        On one grid.
    tint : sequence of three int
        Red, green and blue of the moving image.
    covered : (Y, X) array of bool, optional
        Where the moving image has pixels; elsewhere the fixed one is grey.
    """
    over = moving if covered is None else np.where(covered, moving, fixed)
    share = np.asarray(tint, np.float32) / 255
    mixed = over[..., None] * share + fixed[..., None] * (1 - share)
    return np.asarray(np.round(mixed), np.uint8)


class Look(NamedTuple):
    """How two images are laid over each other, in every picture of a result alike.

    Parameters
    ----------
    fixed, moving : str
        Colours, names in `correlight.images.display.COLOURS` or "grey".
    blend : {"bright", "even", "screen"}
        What of the moving image covers the fixed one: bright pixels, all evenly, or both are mixed.
    """

    fixed: str
    moving: str
    blend: Literal["bright", "even", "screen"]


SIDE_BY_SIDE = Look("grey", "grey", "bright")
"""Two images that are not laid over each other."""


def look_of(fixed: Grey, moving: Grey, covered: Mask | None = None, channel: int | None = None) -> Look:
    """How two images are shown: what stands out of the moving one in colour, or both in complementary colours.

    Parameters
    ----------
    fixed, moving : (Y, X) arrays of uint8
        On one grid.
    covered : (Y, X) array of bool, optional
        Where the moving image has pixels.
    channel : int, optional
        The number of the moving channel, which determines its colour; None for the colours of a picture.
    """
    light, name = signal(moving, covered), colour_of(channel)
    if is_dense(light, covered):
        return Look(OPPOSITES[name], name, "screen")
    # An image on a bright ground (stained tissue) has no dark to see through: a viewer lays it on evenly instead.
    return Look("grey", name, "even" if has_bright_ground(moving, covered) else "bright")


def colour_of(channel: int | None) -> str:
    """The colour that a channel of the moving image has in every picture: by its number, so that it stays the same."""
    return list(COLOURS)[(channel or 0) % len(COLOURS)]


def laid_over(fixed: Grey, moving: Grey, covered: Mask | None, look: Look) -> Colour:
    """Two images in the colours that `look_of` says."""
    if look.blend == "screen":
        return in_two_colours(fixed, moving, COLOURS[look.moving], covered)
    return tinted(fixed, signal(moving, covered), COLOURS[look.moving], covered)


def is_dense(light: Grey, covered: Mask | None = None) -> bool:
    """Whether an image has no dark ground between what it shows, as most electron micrographs."""
    counted = light if covered is None or not covered.any() else light[covered]
    return float(np.median(counted)) > _DENSE


def signal(moving: Grey, covered: Mask | None = None) -> Grey:
    """What stands out from the ground of an image: itself on a dark ground, its negative on a bright one.

    Stained tissue on white glass would otherwise be the only part of the image without colour.
    """
    return 255 - moving if has_bright_ground(moving, covered) else moving


def has_bright_ground(moving: Grey, covered: Mask | None = None) -> bool:
    """Whether most of the pixels (those covered, if given and any) are brighter than half."""
    counted = moving if covered is None or not covered.any() else moving[covered]
    return float(np.median(counted)) > 128


def hatched(mask: Mask) -> NDArray[np.uint8]:
    """An ``(Y, X, 4)`` layer that hatches the pixels *outside* a mask of valid pixels and is clear elsewhere."""
    rows, columns = np.indices(mask.shape)
    stripe = (rows + columns) % 12 < 4
    layer = np.zeros((*mask.shape, 4), np.uint8)
    layer[..., :3] = _HATCH
    layer[..., 3] = np.where(mask, 0, np.where(stripe, 230, 90))
    return layer


def over(picture: Colour, layer: NDArray[np.uint8]) -> Colour:
    """An ``(Y, X, 3)`` image with an ``(Y, X, 4)`` layer on top."""
    alpha = layer[..., 3:].astype(np.float32) / 255
    return np.asarray(np.round(picture * (1 - alpha) + layer[..., :3] * alpha), np.uint8)


def heat(values: NDArray[Any], low: float, high: float) -> NDArray[np.uint8]:
    """An ``(Y, X, 4)`` layer that shows values from ``low`` to ``high`` in a perceptually even scale; NaN is clear."""
    known = np.isfinite(values)
    span = high - low if high > low else 1.0
    scaled = np.clip((np.where(known, values, low) - low) / span, 0.0, 1.0)
    colours = cv2.applyColorMap(np.asarray(np.round(scaled * 255), np.uint8), cv2.COLORMAP_VIRIDIS)
    return np.dstack([colours[..., ::-1], np.where(known, 255, 0).astype(np.uint8)])


def sample(values: NDArray[Any], grid: Grid, onto: Grid) -> NDArray[np.float32]:
    """Values of a coarse 2-D grid at the pixels of another, linear in between and constant beyond the edge.

    Unknown (NaN) values do not spread: a pixel is known where known values carry at least half of its weight.
    """
    known = np.isfinite(values)
    lines = [np.arange(count, dtype=np.float64)[:, None] for count in onto.shape]
    rows = grid.index(onto.points(np.hstack([lines[0], np.zeros_like(lines[0])])))[:, 0]
    columns = grid.index(onto.points(np.hstack([np.zeros_like(lines[1]), lines[1]])))[:, 1]
    place = np.meshgrid(columns.astype(np.float32), rows.astype(np.float32))

    def at(array: NDArray[Any]) -> NDArray[np.float32]:
        return np.asarray(
            cv2.remap(array.astype(np.float32), *place, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        )

    weight = at(known)
    total = at(np.where(known, values, 0.0))
    return np.where(weight >= 0.5, total / np.maximum(weight, 1e-6), np.float32(np.nan)).astype(np.float32)


def outlines(mask: Mask, shape: tuple[int, int]) -> list[Polygon]:
    """Outlines of a ``(Y, X)`` mask as closed polygons of ``[x, y]`` corners in an image of ``shape``."""
    small = resize_mask(mask, shape).astype(np.uint8)
    found, _ = cv2.findContours(small, cv2.RETR_LIST, cv2.CHAIN_APPROX_TC89_L1)
    return [[[float(x) + 0.5, float(y) + 0.5] for x, y in line[:, 0]] for line in found if len(line) > 2]


def nice_length(longest: float) -> float:
    """The largest of 1, 2, 5, 10, 20, … (and their decimal fractions) that is not longer than ``longest``."""
    power = 10.0 ** np.floor(np.log10(longest))
    return float(max(step * power for step in (1.0, 2.0, 5.0) if step * power <= longest * (1 + 1e-9)))


def enlargement(there: Points, moved: Points) -> float:
    """How many times as long as they are residuals are drawn, a round number, so that they can be seen.

    Parameters
    ----------
    there, moved : (N, 2) arrays
        Places, and where their partners come to lie.
    """
    lengths = np.linalg.norm(moved - there, axis=1)
    typical = float(np.median(lengths[np.isfinite(lengths)])) if np.isfinite(lengths).any() else 0.0
    extent = float(np.ptp(there, axis=0).max()) if len(there) > 1 else 0.0
    if not (typical > 0 and extent > 0):
        return 1.0
    return nice_length(min(_MOST_TIMES, max(1.0, _SEEN * extent / typical)))


def length_label(length: float, symbol: str) -> str:
    """A length as it is printed beside a scale bar: "5 µm", "200 nm", "100 px"."""
    if symbol == "µm" and length < 1:
        return f"{length * 1000:g} nm"
    return f"{length:g} {symbol}"


def with_scale_bar(picture: Colour, unit_per_pixel: float, symbol: str, below: int | None = None) -> Colour:
    """The ``(Y, X, 3)`` image with a scale bar and its length in the lower left corner.

    Parameters
    ----------
    unit_per_pixel : float
        Length of one pixel of the picture.
    symbol : {"µm", "px"}
        What that length is measured in.
    below : int, optional
        The row that the corner ends at; the last one without. An instrument's own data bar stays legible.
    """
    columns, rows = picture.shape[1], picture.shape[0] if below is None else below
    length = nice_length(0.22 * columns * unit_per_pixel)
    width = max(1, round(length / unit_per_pixel))
    size = max(9.0, min(rows, columns) / 32)
    margin = round(size)
    label = lettering(length_label(length, symbol), size)
    box_height, box_width = round(2.6 * size), max(width, label.shape[1]) + margin
    if box_height + margin > rows or box_width + margin > columns:
        return picture
    out = picture.copy()
    top, left = rows - margin // 2 - box_height, margin // 2
    box = out[top : top + box_height, left : left + box_width]
    box[:] = np.round(box * 0.35)
    bar_top = rows - margin - max(2, round(size / 4))
    out[bar_top : rows - margin, margin : margin + width] = 255
    _lighten(out, label, bar_top - round(0.2 * size) - label.shape[0], margin)
    return out


def with_banner(picture: Colour, words: str) -> Colour:
    """The ``(Y, X, 3)`` image with a dark band of words on top, for what must not be overlooked.

    An image too narrow for words gets a dark margin.
    """
    size = max(9.0, min(picture.shape[:2]) / 28)
    narrow = max(0, round(_BANNER * size) - picture.shape[1])
    picture = np.pad(picture, ((0, 0), (0, narrow), (0, 0)), constant_values=_BAND)
    columns = picture.shape[1]
    label = lettering(words, size)
    if label.shape[1] > columns - size:
        label = resize(label, (max(1, round(label.shape[0] * (columns - size) / label.shape[1])), int(columns - size)))
    out = np.vstack([np.full((round(2 * size), columns, 3), _BAND, np.uint8), picture])
    _lighten(out, label, max(0, round(size - label.shape[0] / 2)), round(size / 2))
    return out


def lettering(words: str, size: float) -> Grey:
    """White letters on black of a font of ``size`` pixels, cut to their width; ASCII and "µ" only.

    All words of one size have one height, from the top of a bracket to its foot, so that they stand on one line.
    """
    font = _font(size)
    (_, top, _, bottom), width = font.getbbox("|", anchor="ls"), font.getlength(words)
    canvas = Drawing.new("L", (max(1, math.ceil(width)), math.ceil(bottom) - math.floor(top)))
    ImageDraw.Draw(canvas).text((0, -math.floor(top)), words, 255, font, "ls")
    return np.asarray(canvas, np.uint8)


def text_width(words: str, size: float) -> float:
    """How wide words of that font are, in pixels."""
    return float(_font(size).getlength(words))


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    """DejaVu Sans with the letters that are drawn, its licence beside it; set in the same way on every machine."""
    return ImageFont.truetype(str(_FONT), size, layout_engine=ImageFont.Layout.BASIC)


def _lighten(picture: Colour, label: Grey, top: int, left: int) -> None:
    part = picture[top : top + label.shape[0], left : left + label.shape[1]]
    np.maximum(part, label[: part.shape[0], : part.shape[1], None], out=part)
