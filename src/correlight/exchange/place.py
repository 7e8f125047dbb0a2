"""Where the images lay when elastix found a transform, and where the images at hand lie.

A transform of elastix or ITK joins positions in physical space, which count from the origin that each image states. A
parameter file says where the fixed image lay and nothing about the moving one. Images that were exported since have
often lost their origins; the transform would then move them past each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError
from correlight.exchange.context import ExchangeContext
from correlight.geometry import Grid
from correlight.transforms import Affine, Transform, compose

STATED = ("Size", "Spacing", "Origin", "Direction", "UseDirectionCosines")
"""The entries that say where the fixed image lies."""
_SAME = 0.01  # of a pixel, and of a pixel size, within which two statements agree


@dataclass(frozen=True, slots=True)
class StatedPlace:
    """Where a parameter file says that its fixed image lies, array order.

    Parameters
    ----------
    shape : tuple of int
        Number of pixels per axis.
    spacing, origin : (D,) arrays
        Pixel sizes, and the position of the centre of the first pixel, in the unit of the image.
    directions : (D, D) array
        Its columns are the directions of the axes.
    """

    shape: tuple[int, ...]
    spacing: NDArray[np.float64]
    origin: NDArray[np.float64]
    directions: NDArray[np.float64]

    @property
    def turned(self) -> bool:
        """Whether the axes of the image are not those of the coordinates."""
        return not np.allclose(self.directions, np.eye(len(self.origin)), atol=1e-6)


def stated_place(entries: Mapping[str, list[str]], path: Path) -> StatedPlace | None:
    """What the entries of a parameter file say about the fixed image; None where they do not say it.

    Raises
    ------
    ReadError
        If they say it with numbers that do not fit each other.
    """
    keys = STATED[:4]
    if not all(entries.get(key) for key in keys):
        return None
    try:
        size, spacing, origin, columns = (np.array([float(value) for value in entries[key]]) for key in keys)
        d = len(size)
        directions = columns.reshape(d, d)[::-1, ::-1]
    except ValueError as error:
        raise ReadError(f"Size, Spacing, Origin and Direction of {path} do not fit each other.") from error
    numbers = [*size, *spacing, *origin, *columns]
    if not len(spacing) == len(origin) == d or not np.isfinite(numbers).all() or min(size.min(), spacing.min()) <= 0:
        raise ReadError(f"Size, Spacing, Origin and Direction of {path} do not fit each other.")
    if entries.get("UseDirectionCosines") == ["false"]:
        directions = np.eye(d)
    shape = tuple(int(n) for n in np.minimum(size, 1e9)[::-1])
    return StatedPlace(shape, spacing[::-1], origin[::-1], directions)


def moved_to_images(
    transform: Transform, stated: StatedPlace | None, context: ExchangeContext, path: str | Path
) -> Transform:
    """The transform between the positions of the images at hand.

    Parameters
    ----------
    transform : Transform
        Between positions in physical space.
    stated : StatedPlace or None
        Where the fixed image lay.
    context : ExchangeContext
        What is known of the images.
    path : str or Path
        The file, for the message of an error.

    Raises
    ------
    ReadError
        If the fixed image at hand lies elsewhere, and nothing says where the moving one lay.
    UsageError
        If an origin has not as many numbers as the transform has axes.
    """
    origins = {"fixed": context.fixed_origin, "moving": context.moving_origin}
    for role, origin in origins.items():
        if origin is not None and (len(origin) != transform.ndim or not np.isfinite(origin).all()):
            raise UsageError(f"The origin of the {role} image has {transform.ndim} finite numbers; got {origin}.")
    grid = context.fixed
    if stated is not None and grid is not None and grid.ndim == len(stated.origin):
        _compare_pixels(stated, grid, context, path)
    first = stated.origin if stated is not None and context.fixed_origin is None else context.fixed_origin
    if context.moving_origin is None and context.fixed_origin is None:
        if stated is not None and grid is not None and grid.ndim == len(stated.origin):
            _compare_place(stated, grid, path)
        return transform
    if stated is not None and stated.turned:
        raise ReadError(f"{path} was made for a fixed image whose axes are turned (Direction); resample it first.")
    before = _shift(first, grid, transform.ndim)
    after = _shift(context.moving_origin, context.moving, transform.ndim).inverse()
    return compose([before, transform, after])


def _shift(origin: object, grid: Grid | None, ndim: int) -> Affine:
    """Positions in the space of the file from those of an image, which may state an origin of its own."""
    own = np.zeros(ndim) if grid is None or grid.ndim != ndim else np.asarray(grid.origin)
    return Affine.of(np.eye(ndim), np.asarray(own if origin is None else origin, float) - own)


def _compare_pixels(stated: StatedPlace, grid: Grid, context: ExchangeContext, path: str | Path) -> None:
    """The same pixels must have the same size, and other pixels the same field, unless it is a part of the image.

    Where they do not, the transform counts in another unit, or is that of another image.
    """
    if not context.sized or np.allclose(stated.spacing, grid.spacing, rtol=_SAME):
        return
    if stated.shape == grid.shape:
        raise ReadError(
            f"{path} was made for pixels of {_said(stated.spacing)}, and the fixed image has pixels of "
            f"{_said(grid.spacing)} {grid.frame.symbol}; give the pixel size with which the transform was made."
        )
    there, here = stated.spacing * stated.shape, np.asarray(grid.spacing) * grid.shape
    if (np.abs(there - here) > _SAME * there + 2 * np.maximum(stated.spacing, grid.spacing)).any():
        raise ReadError(
            f"{path} was made for a field of {_said(there)} in pixels of {_said(stated.spacing)}, the fixed image has "
            f"{_said(here)} in pixels of {_said(grid.spacing)} {grid.frame.symbol}; give the image of the transform."
        )


def _compare_place(stated: StatedPlace, grid: Grid, path: str | Path) -> None:
    apart = np.abs(stated.origin - grid.origin) > _SAME * np.asarray(grid.spacing)
    if not apart.any() and not stated.turned:
        return
    where = "has turned axes (Direction)" if stated.turned else f"begins at {_said(stated.origin)}"
    raise ReadError(
        f"{path} was made for a fixed image that {where}, and the one given begins at {_said(grid.origin)} along its "
        "axes; give both images with the origins that they had, or state the origin of the moving image."
    )


def _said(numbers: object) -> str:
    return ", ".join(f"{value:g}" for value in np.asarray(numbers, float))
