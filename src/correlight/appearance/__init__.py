"""Appearance: pictures made from pictures, so that what unlike instruments recorded can be compared."""

from __future__ import annotations

from dataclasses import dataclass

from correlight.appearance.channels import Channels, classical, directions, joined, shrunk
from correlight.appearance.descriptor import STRIDE, learned


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
    """

    search: Channels
    stride: int
    refine: Channels


APPEARANCES = {
    "classical": Appearance(classical, 1, classical),
    "descriptor": Appearance(learned, STRIDE, learned),
    "descriptor and edges": Appearance(joined(learned, shrunk(directions, STRIDE)), STRIDE, joined(classical, learned)),
}
