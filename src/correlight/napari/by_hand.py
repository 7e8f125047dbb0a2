"""A moving image that is turned by hand beside the fixed one: what is seen, and what the search takes from it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from correlight.geometry import Grid, Points
from correlight.transforms import Affine

# Degrees to either side of a turn by hand, as around any other start.
_AROUND = 15.0


@dataclass(frozen=True, eq=False)
class ByHand:
    """How the moving image is turned, and which places of both are taken for the same.

    Parameters
    ----------
    fixed, moving : Grid
        The two images as they are seen, in two or three axes. They are turned in the plane.
    degrees : float
        By how much the moving image is turned, clockwise on the screen.
    mirror : bool
        Whether it is mirrored, left to right, before that.
    places : (2, 2) array, optional
        A place of the fixed image and the same one of the moving image, in the plane; without them the middles of both
        are laid on each other, which claims nothing.
    ratio : float, optional
        Moving units per fixed unit; without it as the images state, or such that both fields are equally wide.
    """

    fixed: Grid
    moving: Grid
    degrees: float = 0.0
    mirror: bool = False
    places: Points | None = None
    ratio: float | None = None

    @property
    def placed(self) -> bool:
        """Whether somebody said which places are the same."""
        return self.places is not None

    @property
    def scale(self) -> float:
        """Moving units per fixed unit."""
        if self.ratio is not None:
            return self.ratio
        return 1.0 if self.fixed.unit == self.moving.unit == "micrometre" else _width(self.moving) / _width(self.fixed)

    @property
    def shown(self) -> Affine:
        """The turn, from places of the moving image to where they are seen, in the plane and about its middle."""
        return Affine.similarity(-self.degrees, 1.0, self.mirror, self.moving.centre[-2:])

    @property
    def moving_from_fixed(self) -> Affine:
        """The turn as a transform, in the plane."""
        here, there = (
            (self.fixed.centre[-2:], self.moving.centre[-2:])
            if self.places is None
            else (self.places[0], self.places[1])
        )
        linear = self.shown.inverse().linear * self.scale
        return Affine.of(linear, there - linear @ here)

    @property
    def rotation(self) -> tuple[float, float]:
        """Degrees between which to search, as `correlight.register` counts them."""
        middle = (self.moving_from_fixed.rotation + 180.0) % 360.0 - 180.0
        return middle - _AROUND, middle + _AROUND

    @property
    def sentence(self) -> str:
        """What the search takes from it."""
        first, last = self.rotation
        turn = f"rotations from {first:.1f}° to {last:.1f}°"
        if self.placed:
            hand = "mirrored" if self.mirror else "not mirrored"
            return f"{turn}, {hand}, near the place and the scale at which both are seen"
        return f"{turn}, {'mirrored or not' if self.mirror else 'not mirrored'}, anywhere"

    def turned(self, degrees: float, mirror: bool) -> ByHand:
        """The same places, turned otherwise."""
        return replace(self, degrees=degrees, mirror=mirror)

    def start(self, fixed: Grid, moving: Grid) -> Affine:
        """The transform between the same pixels of two flat images with the pixel sizes that they are registered with.

        Parameters
        ----------
        fixed, moving : Grid
            Of two axes, and of as many pixels as those that were seen.
        """
        pixels = np.linalg.inv(self.moving.matrix) @ self.moving_from_fixed.matrix @ self.fixed.matrix
        return Affine(moving.matrix @ pixels @ np.linalg.inv(fixed.matrix))


def _width(grid: Grid) -> float:
    return float(max(grid.extent[-2:]))
