"""Arrays as pictures to look at: shrunk, stretched to eight bits, and encoded as PNG or JPEG."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image, Mask, Pixels
from correlight.images.pyramid import shown_image

Grey = NDArray[np.uint8]

_CV_DEPTHS = (np.uint8, np.uint16, np.int16, np.float32, np.float64)
_LONGEST_SIDE = 65_500
_THUMBNAIL = 256
_PERCENTILES = 0.5, 99.8

RGB = tuple[int, int, int]
GREY: RGB = (255, 255, 255)
"""The colour of an image that is shown in grey values."""
COLOURS: dict[str, RGB] = {
    "magenta": (255, 64, 255),
    "green": (64, 255, 64),
    "cyan": (64, 224, 255),
    "yellow": (255, 232, 64),
    "orange": (255, 160, 48),
    "blue": (96, 128, 255),
}
"""Colours of channels in their order: light enough to stand out from grey, the first of them from each other in every
common colour vision deficiency."""


@dataclass(frozen=True, slots=True)
class Shown:
    """How a viewer shows a channel at first.

    Parameters
    ----------
    colour : (int, int, int)
        Red, green and blue of the brightest pixels, up to 255.
    low, high : float
        Grey values that become black and the full colour.
    """

    colour: RGB
    low: float
    high: float


def display_shape(grid: Grid, longest: int) -> tuple[int, int]:
    """Rows and columns of an image with square pixels over the field of a 2-D grid, never finer than the grid.

    Parameters
    ----------
    grid : Grid
        Two axes; the spacings may differ.
    longest : int
        Upper limit of the longer side, in pixels.
    """
    extent = np.asarray(grid.extent)
    pixel = max(min(grid.spacing), float(extent.max()) / longest)
    rows, columns = np.maximum(1, np.round(extent / pixel).astype(int))
    return int(rows), int(columns)


def resize(pixels: NDArray[Any], shape: tuple[int, int]) -> NDArray[Any]:
    """A ``(Y, X)`` array at another shape over the same field; means of areas where it shrinks.

    Types that OpenCV does not know come back as float32.
    """
    array = np.ascontiguousarray(pixels if pixels.dtype in _CV_DEPTHS else np.asarray(pixels, np.float32))
    if array.shape == shape:
        return array
    shrinks = shape[0] <= array.shape[0] and shape[1] <= array.shape[1]
    mode = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(array, (shape[1], shape[0]), interpolation=mode))


def resize_mask(mask: Mask, shape: tuple[int, int]) -> Mask:
    """A ``(Y, X)`` mask at another shape: set where more than half of the area is."""
    # A view as bytes costs no memory; OpenCV rounds the mean of zeros and ones to one of them.
    return np.asarray(resize(np.ascontiguousarray(mask).view(np.uint8), shape) > 0)


def specimen_rows(valid: Mask) -> Mask:
    """Which rows of a ``(Y, X)`` mask hold a valid pixel, shape ``(Y, 1)``.

    The others are an instrument's own data bar, which stays legible in every overlay: nothing is laid onto them.
    """
    return np.asarray(valid.any(axis=1, keepdims=True))


def plane(pixels: Pixels, channel: int | None, shape: tuple[int, int]) -> NDArray[Any]:
    """One channel of ``(C, Y, X)`` pixels at another shape; None takes the mean of all.

    One channel at a time is held in memory.
    """
    if channel is not None:
        return resize(np.asarray(pixels[channel]), shape)
    planes = [resize(np.asarray(pixels[index]), shape).astype(np.float32) for index in range(pixels.shape[0])]
    return np.asarray(np.mean(planes, axis=0))


def shrunk(image: Image, channel: int | None, shape: tuple[int, int]) -> NDArray[Any]:
    """One channel (None: the mean of all) at a display shape, read from the smallest level that is fine enough."""
    fine = [
        index for index, level in enumerate(image.levels) if level.shape[1] >= shape[0] and level.shape[2] >= shape[1]
    ]
    return plane(image.levels[max(fine, default=0)], channel, shape)


def display_range(pixels: NDArray[Any], valid: Mask | None = None) -> tuple[float, float] | None:
    """The grey values that become black and white: percentiles of the valid and finite pixels, None without any.

    Parameters
    ----------
    pixels : array
        Any real type and shape.
    valid : array of bool, optional
        Which pixels count, shape of ``pixels``.
    """
    values = np.asarray(pixels, np.float32)
    counted = np.isfinite(values) if valid is None else np.isfinite(values) & valid
    if not counted.any():
        return None
    low, high = (float(value) for value in np.percentile(values[counted], _PERCENTILES))
    if high <= low:
        # A sparse stain fills less than the percentiles leave; its full range is then the better choice.
        low, high = float(values[counted].min()), float(values[counted].max())
    return low, high


def stretch(pixels: NDArray[Any], valid: Mask | None = None) -> Grey:
    """Eight bits for display, from black to white over the `display_range`.

    Parameters
    ----------
    pixels : array
        Any real type and shape.
    valid : array of bool, optional
        Which pixels choose the limits, shape of ``pixels``; all of them are stretched.
    """
    limits = display_range(pixels, valid)
    return np.zeros(pixels.shape, np.uint8) if limits is None else between(pixels, *limits)


def between(pixels: NDArray[Any], low: float, high: float) -> Grey:
    """Eight bits, black at one grey value and white at another, and at all beyond; what is no number is black."""
    values = np.asarray(pixels, np.float32)
    span = high - low if high > low else 1.0
    scaled = np.nan_to_num((values - low) / span, nan=0.0, posinf=1.0, neginf=0.0)
    return np.asarray(np.round(np.clip(scaled, 0.0, 1.0) * 255), np.uint8)


def encode(picture: NDArray[np.uint8], kind: Literal["png", "jpeg"], quality: int = 90) -> bytes:
    """A grey ``(Y, X)``, colour ``(Y, X, 3)`` or clear ``(Y, X, 4)`` image as the bytes of a file.

    Raises
    ------
    UsageError
        If a side is zero or beyond what JPEG can hold.
    """
    if not 1 <= min(picture.shape[:2]) <= max(picture.shape[:2]) <= _LONGEST_SIDE:
        raise UsageError(
            f"An image has 1 to {_LONGEST_SIDE} pixels a side; got the shape {picture.shape}, so resize it first."
        )
    swapped: NDArray[Any] = picture
    if picture.ndim == 3:
        swapped = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA)
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if kind == "jpeg" else [cv2.IMWRITE_PNG_COMPRESSION, 6]
    return bytes(cv2.imencode(f".{kind}", swapped, options)[1])


def data_uri(coded: bytes) -> str:
    """A PNG or JPEG file as a ``data:`` address, which a page holds in itself."""
    kind = "png" if coded.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(coded).decode('ascii')}"


def thumbnail(image: Image) -> NDArray[np.uint8]:
    """A small copy of an image, ``(Y, X)`` or ``(Y, X, 3)``: its colours, or its first channel; of a stack the middle.

    Parameters
    ----------
    image : Image
        Of two axes or three.
    """
    image = _middle_slice(image) if image.ndim == 3 else shown_image(image)
    shape, valid = display_shape(image.grid, _THUMBNAIL), image.valid()
    shown = [shrunk(image, number, shape) for number in (range(3) if image.rgb else range(1))]
    small = resize_mask(valid, shape)
    if not image.rgb:
        return stretch(shown[0], small)
    colours = np.dstack(shown)
    return colours if colours.dtype == np.uint8 else stretch(colours, np.dstack([small] * 3))


def _middle_slice(image: Image) -> Image:
    """The middle slice of a stack, of its smallest level, as an image in the plane."""
    level = image.levels[-1]
    grid, half = image.level_grid(len(image.levels) - 1), level.shape[1] // 2
    flat = Grid(grid.shape[1:], grid.spacing[1:], grid.origin[1:], grid.unit)
    return Image((np.asarray(level[:, half]),), flat, image.channels, image.rgb)


def in_a_page(picture: NDArray[np.uint8], words: str) -> str:
    """A picture and a line below it, as a notebook shows them."""
    return f'<img src="{data_uri(encode(picture, "png"))}" alt="" /><div>{html.escape(words)}</div>'
