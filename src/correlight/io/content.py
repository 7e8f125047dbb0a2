"""What an adapter hands over: pixels, channels first, and what the file says about them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import Mask, Pixels
from correlight.images.tilt import Tilt

LIMIT = 2 * 2**30  # bytes of pixels that may have to be in memory as a whole; more is refused before any is taken
ON_DISK = 2**38  # bytes; the same for what stays on disk, where it would take time rather than memory
IN_MEMORY = 2**26  # bytes; larger pixels stay on disk where their file can be read in parts
NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, eq=False)
class Content:
    """Pixels of a file and what it says about them.

    Parameters
    ----------
    pixels : Pixels
        ``(C, Y, X)`` or ``(C, Z, Y, X)``, own type; in memory, or on disk where they are large.
    channels : tuple of str
        Names, or empty where the file gives none.
    rgb : bool
        Whether the three channels are the colours of one picture.
    opaque : (Y, X) array of bool, Pixels or None
        Where an alpha channel is not zero, or that channel, ``(1, Y, X)``, on disk; None without one.
    spacing : tuple of float or None
        Micrometres per pixel in array order; None where the file states none.
    spacing_source : str
        Where the spacing stands, as the report calls it.
    findings : tuple of str
        Sentences about what was left out.
    stage : tuple of float or None
        Where the stage stood according to the file, micrometres, array order; None where it does not say.
    tilt : Tilt or None
        How far the specimen was tilted against the beam, if the pixel sizes are not corrected for it.
    shrunk : tuple of float
        How many pixels of the full resolution lie along one of these, array order; only for levels of a pyramid.
    levels : tuple of Pixels
        Smaller levels of the file, where the pixels stay on disk.
    covered : (Y, X) or (Z, Y, X) array of bool or None
        Where the file holds pixels, in a mosaic that leaves gaps; None where it holds all of them.
    origin : tuple of float or None
        Where the centre of the first pixel lies according to the file, micrometres, array order; None where it does
        not say.
    start : tuple of float or None
        The same in pixels, where the file counts those.
    held : (Z,) array of bool or None
        Which slices of a volume the file holds; None for all. What it states and does not hold is no data.
    files : tuple of Path
        Other files that something was read from.
    written : Pixels or None
        ``(1, Y, X)``, not zero where the file holds the tile that a pixel lies in; None where it holds all.
    negated : bool
        Whether these are truth values of which tifffile says that 0 is white, as it does of all: in a mask 0 is false.
    """

    pixels: Pixels
    channels: tuple[str, ...] = ()
    rgb: bool = False
    opaque: Mask | Pixels | None = None
    spacing: tuple[float, ...] | None = None
    spacing_source: str = NOT_STATED
    findings: tuple[str, ...] = ()
    stage: tuple[float, ...] | None = None
    tilt: Tilt | None = None
    shrunk: tuple[float, ...] = (1.0,)
    levels: tuple[Pixels, ...] = ()
    covered: Mask | None = None
    origin: tuple[float, ...] | None = None
    start: tuple[float, ...] | None = None
    held: Mask | None = None
    files: tuple[Path, ...] = ()
    written: Pixels | None = None
    negated: bool = False

    @property
    def count(self) -> int:
        """Number of channels."""
        return int(self.pixels.shape[0])

    @property
    def ndim(self) -> int:
        """Number of axes of space, 2 or 3."""
        return len(self.pixels.shape) - 1


def from_samples(pixels: NDArray[Any]) -> Content:
    """Content of an image whose last axis holds the samples of a pixel: grey, grey + alpha, RGB or RGB + alpha."""
    samples = pixels.shape[-1]
    colours = 3 if samples >= 3 else 1
    planes = np.moveaxis(pixels[..., :colours], -1, 0)
    # A large image is not copied: it is examined by parts.
    planes = planes if large(planes.shape, planes.dtype.itemsize) else np.ascontiguousarray(planes)
    opaque = pixels[..., colours] != 0 if samples in (2, 4) else None
    return Content(planes, rgb=colours == 3, opaque=opaque)


def check_size(path: Path, shape: tuple[int, ...], itemsize: int, limit: int = LIMIT) -> None:
    """Refuse pixels that would not fit into the memory set aside for one file, or take hours to walk over."""
    size = itemsize * math.prod(int(length) for length in shape)
    if size > limit:
        raise ReadError(
            f"Expected at most {limit / 2**30:.0f} GiB of pixels, but {path} declares {size / 2**30:,.1f} GiB "
            f"(shape {shape}); crop or bin the image first."
        )
    if size <= 0:
        raise ReadError(f"Expected pixels, but {path} declares none (shape {shape}); export it again.")


def large(shape: tuple[int, ...], itemsize: int) -> bool:
    """Whether pixels are better left on disk."""
    return itemsize * math.prod(int(length) for length in shape) > IN_MEMORY
