"""Appearance: what makes images of unlike instruments comparable: features, or a prediction of one from the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from correlight.appearance.channels import Channels, directions, edges, grey_values, joined, shrunk
from correlight.appearance.descriptor import STRIDE, learned, unusualness
from correlight.images.image import Float32, Mask
from correlight.images.plane import Plane

Planes = dict[int | None, Plane]


@dataclass(frozen=True)
class Appearance:
    """What two images are compared by.

    Parameters
    ----------
    search : Channels
        Features for the search, groups of one stride.
    stride : int
        Of those.
    refine : Channels
        Features for the refinement, with whatever is sharpest.
    unusualness : callable, optional
        Out-of-distribution score of an image: up to 1 for nearly all that the features were made for.
    """

    search: Channels
    stride: int
    refine: Channels
    unusualness: Callable[[Float32, Mask], float] | None = None

    def made_alike(self, fixed: Planes, moving: Planes) -> tuple[Planes, Planes]:
        """Both images before features are computed: as they are, unless an appearance predicts one from the other.

        Parameters
        ----------
        fixed, moving : dict of int or None to Plane
            The channels of either image that may be used for registration, each on its own grid.
        """
        return fixed, moving


APPEARANCES = {
    "edges": Appearance(edges, 1, edges),
    "grey values": Appearance(grey_values, 1, grey_values),
    "grey values and edges": Appearance(joined(grey_values, edges), 1, joined(grey_values, edges)),
    "descriptor": Appearance(learned, STRIDE, learned, unusualness),
    "descriptor and edges": Appearance(
        joined(learned, shrunk(directions, STRIDE)), STRIDE, joined(edges, learned), unusualness
    ),
}
