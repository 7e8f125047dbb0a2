"""How an image is moved by a saved transform, and how much of it arrives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from correlight.errors import TransformError, UsageError
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image, Mask
from correlight.images.kernel import Order
from correlight.images.labels import label_channels
from correlight.output.composite import Moved
from correlight.output.folder import moved_as_labels
from correlight.output.moved import Progress, write_moved
from correlight.transforms import Transform

# Places per axis at which an image is asked whether it lies on the other.
_PLACES = 65
# Neither image shares more than this of itself with the other where one says that they hardly overlap.
_LITTLE = 0.25


@dataclass(frozen=True, slots=True)
class How:
    """How the channels of an image are moved.

    Parameters
    ----------
    orders : tuple of {"linear", "nearest"}
        One per channel.
    mask : array of bool, CoarseMask or None
        The pixels that count as sampled.
    notes : tuple of str
        What was decided without being asked.
    """

    orders: tuple[Order, ...]
    mask: Mask | CoarseMask | None
    notes: tuple[str, ...] = ()

    def laid(self, image: Image, grid: Grid, moving_from_fixed: Transform) -> Moved:
        """The image as a composite takes it."""
        return Moved(image, grid, moving_from_fixed, self.orders, self.mask)


def moved_how(image: Image, order: Order | None) -> How:
    """Linear interpolation, or the nearest neighbour for labels; `order` is what the user wants, if anything."""
    labels = label_channels(image) if order is None else ()
    notes = tuple(moved_as_labels(image, number) for number in labels)
    orders: list[Order] = [
        "nearest" if number in labels else order or "linear" for number in range(len(image.channels))
    ]
    # What looks like padding in an image may be the background of a label image, where it is as good as any label.
    whole = CoarseMask(np.ones((1,) * image.ndim, bool), image.grid.shape)
    return How(tuple(orders), image.mask if "linear" in orders else whole, notes)


@dataclass(frozen=True, slots=True)
class Overlap:
    """What two images have in common.

    Parameters
    ----------
    used : float
        Share of the moving image that lies on the fixed one; NaN where the transform has no inverse.
    covered : float
        Share of the fixed image that the moving one covers.
    """

    used: float
    covered: float

    def must_not_be_empty(self, moving: str, fixed: str) -> tuple[str, ...]:
        """What to say if it is little; raises `UsageError` if it is nothing at all."""
        if not self.covered:
            raise UsageError(
                f"{moving} lies outside {fixed} altogether, so nothing was written; check that the transform belongs "
                "to these images, and their pixel sizes."
            )
        if self.used > _LITTLE or self.covered > _LITTLE:
            return ()
        if not np.isfinite(self.used):
            return (f"{moving} covers only {100 * self.covered:.2g} % of {fixed}",)
        return (
            f"only {100 * self.used:.2g} % of {moving} lie on {fixed}, of which they cover {100 * self.covered:.2g} %",
        )


def move(
    files: Sequence[Path],
    image: Image,
    grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    how: How,
    progress: Progress | None,
) -> Overlap:
    """Move an image and write it with its footprint.

    Parameters
    ----------
    files : (Path, Path)
        The image and the footprint.
    image, grid, moving_from_fixed, onto
        As for `correlight.output.moved.write_moved`.
    how : How
        From `moved_how`.
    progress : callable, optional
        Called with the fraction that is written.
    """
    orders: Order | tuple[Order, ...] = how.orders[0] if len(set(how.orders)) == 1 else how.orders
    try:
        used = float(np.mean(onto.contains(moving_from_fixed.inverse()(grid.lattice(_PLACES)))))
    except TransformError:  # a bent transform need not have an inverse everywhere
        used = float("nan")
    covered = write_moved(
        files[0], files[1], image, grid, moving_from_fixed, onto, order=orders, mask=how.mask, progress=progress
    )
    return Overlap(used, covered)
