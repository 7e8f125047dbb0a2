"""A specimen that was seen at a slant: one axis of its image is foreshortened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import cos, radians

from correlight.geometry import Grid


@dataclass(frozen=True, slots=True)
class Tilt:
    """A flat specimen that was tilted against the beam, in an image that was not corrected for it.

    Parameters
    ----------
    degrees : float
        Between the beam and the normal of the specimen, 0 to less than 90.
    axis : int
        The axis of the image that is foreshortened: 0 is y.
    """

    degrees: float
    axis: int

    @property
    def factor(self) -> float:
        """How many times as long a pixel is on the specimen as the file states, along that axis."""
        return 1 / cos(radians(self.degrees))

    def grid(self, grid: Grid) -> Grid:
        """The grid of the image with the pixels that it has on the specimen.

        Parameters
        ----------
        grid : Grid
            As the file states it, of two axes.
        """
        spacing = list(grid.spacing)
        spacing[self.axis] *= self.factor
        return replace(grid, spacing=tuple(spacing))

    def along(self, axis: int) -> Tilt:
        """The same tilt of an image of which another axis is foreshortened."""
        return replace(self, axis=axis)
