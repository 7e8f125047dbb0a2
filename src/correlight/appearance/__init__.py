"""Appearance: pictures made from pictures, so that what unlike instruments recorded can be compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from correlight.appearance.channels import Channels, classical, directions, joined, shrunk
from correlight.appearance.descriptor import STRIDE, learned, unusualness
from correlight.images.image import Float, Mask


@dataclass(frozen=True)
class Appearance:
    """What two images are compared by.

    Parameters
    ----------
    search : Channels
        For the search, groups of one stride.
    stride : int
        Of those.
    refine : Channels
        For the refinement, with whatever is sharpest.
    unusualness : callable, optional
        How unlike what the channels were made for an image is: up to 1 for nearly all that is usual.
    """

    search: Channels
    stride: int
    refine: Channels
    unusualness: Callable[[Float, Mask], float] | None = None


APPEARANCES = {
    "classical": Appearance(classical, 1, classical),
    "descriptor": Appearance(learned, STRIDE, learned, unusualness),
    "descriptor and edges": Appearance(
        joined(learned, shrunk(directions, STRIDE)), STRIDE, joined(classical, learned), unusualness
    ),
}
