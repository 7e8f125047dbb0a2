"""The same place in both images: through what somebody turned by hand, or through a transform that was found."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.errors import CorrelightError
from correlight.geometry import Grid, Points
from correlight.napari.by_hand import ByHand
from correlight.output.apply.bent import known_there, led
from correlight.transforms import Affine, Transform, scale_of
from correlight.transforms.bending import touching


@dataclass(frozen=True, eq=False)
class HandLink:
    """As the moving image is turned by hand, in the plane; in depth middle on middle, and NaN where one is flat."""

    turn: ByHand

    def moving(self, place: Points) -> Points:
        """The place of the moving image, of as many axes as it has."""
        return self._across(self.turn.moving_from_fixed, self.turn.fixed, self.turn.moving, place)

    def fixed(self, place: Points) -> Points:
        """The place of the fixed image."""
        return self._across(self.turn.moving_from_fixed.inverse(), self.turn.moving, self.turn.fixed, place)

    def scale(self, place: Points) -> float:
        """Moving units per fixed unit."""
        return self.turn.scale

    def _across(self, plane: Affine, here: Grid, there: Grid, place: Points) -> Points:
        out = np.full(there.ndim, np.nan)
        out[-2:] = plane(place[None, -2:])[0]
        if here.ndim == there.ndim == 3:
            out[0] = there.centre[0] + plane.scale * (place[0] - here.centre[0])
        return out


class FoundLink:
    """Through a transform of any kind, as far as it is known.

    Parameters
    ----------
    moving_from_fixed : Transform
        In the units of the two grids; of a section and a stack of three axes.
    fixed, moving : Grid
        The two images.
    """

    def __init__(self, moving_from_fixed: Transform, fixed: Grid, moving: Grid) -> None:
        self.transform = moving_from_fixed
        self._ndims = fixed.ndim, moving.ndim
        self._back: Transform | None = None
        self.turn = ByHand(fixed, moving)
        # A section that stands upright in a stack is not turned in its plane.
        with suppress(CorrelightError):
            near = touching(moving_from_fixed, self._lifted(fixed.centre)[0]).linear[-2:, -2:]
            back = Affine.of(near, np.zeros(2)).inverse()
            self.turn = self.turn.turned(-back.rotation % 360.0, back.mirrored)
        # A field that folds leads one way only.
        with suppress(CorrelightError):
            self._back = led(moving_from_fixed, "moving")

    def moving(self, place: Points) -> Points:
        """The place of the moving image, of as many axes as it has; NaN where nothing leads there."""
        return _through(self.transform, self._lifted(place))[-self._ndims[1] :]

    def fixed(self, place: Points) -> Points:
        """The place of the fixed image."""
        if self._back is None:
            return np.full(self._ndims[0], np.nan)
        return _through(self._back, self._lifted(place))[-self._ndims[0] :]

    def scale(self, place: Points) -> float:
        """Moving units per fixed unit at a place of the fixed image."""
        return scale_of(self.transform, self._lifted(place)[0])

    def _lifted(self, place: Points) -> Points:
        """As many axes as the transform has: a section is the first slice of a stack."""
        return np.concatenate([np.zeros(self.transform.ndim - len(place)), place])[None]


def _through(transform: Transform, place: Points) -> NDArray[np.float64]:
    """A place on the other side; NaN where a field is not known or leads nowhere."""
    out = np.asarray(transform(place), float)[0]
    if not np.isfinite(out).all() or not known_there(transform, place)[0]:
        return np.full(transform.ndim, np.nan)
    return out
