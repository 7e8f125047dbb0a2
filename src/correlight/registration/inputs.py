"""Two images as a registration compares them, and what the searches of them have in common, computed once."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from correlight.appearance import APPEARANCES
from correlight.appearance.noise import calmed
from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.recipes import Recipe
from correlight.search.correlate import ByFeatures, MakeEngine
from correlight.search.information import MutualInformationEngine
from correlight.search.poses import WorkingPlanes

Planes = dict[int | None, Plane]


@dataclass(frozen=True, eq=False)
class Inputs:
    """Two images, a recipe, and the channels that may vote.

    Parameters
    ----------
    fixed, moving : Image
        The two images.
    recipe : Recipe
        Which methods.
    fixed_channel, moving_channel : int or str, optional
        The channel that votes; without it all that may.
    working : dict
        Planes resized by the searches: engines keep what they computed of a plane as long as it lives.
    """

    fixed: Image
    moving: Image
    recipe: Recipe
    fixed_channel: int | str | None
    moving_channel: int | str | None
    working: WorkingPlanes = field(default_factory=dict, init=False)

    def read_as(self, fixed: Grid, moving: Grid) -> Inputs:
        """The same images on other grids; these inputs, with all that was computed of them, if the grids are theirs."""
        if fixed is self.fixed.grid and moving is self.moving.grid:
            return self
        images = replace(self.fixed, grid=fixed), replace(self.moving, grid=moving)
        return Inputs(*images, self.recipe, self.fixed_channel, self.moving_channel)

    @cached_property
    def planes(self) -> tuple[Planes, Planes]:
        """The channels of the fixed and of the moving image that may vote, without those that show nothing.

        Raises
        ------
        UsageError
            If an image shows nothing at all.
        """
        return (
            _planes("fixed", self.fixed, self.fixed_channel),
            _planes("moving", self.moving, self.moving_channel),
        )

    @cached_property
    def engine(self) -> MakeEngine:
        """What the recipe compares poses by."""
        if self.recipe.search.engine == "mutual information":
            return MutualInformationEngine
        appearance = APPEARANCES[self.recipe.search.channels]
        return ByFeatures(appearance.search, appearance.stride)


def _planes(role: str, image: Image, channel: int | str | None) -> Planes:
    """The channels that may vote, ready to be compared: without noise, and without those that show nothing."""
    wanted = image.votes if channel is None else (image.channel_index(channel),)
    planes = {number: Plane.of(image, number) for number in wanted}
    lively = {number: plane for number, plane in planes.items() if np.ptp(plane.values[plane.mask]) > 0}
    if not lively:
        raise UsageError(f"The {role} image has the same value everywhere; an image with structure was expected.")
    return {number: calmed(plane) for number, plane in lively.items()}
