"""Named places in one image, or the same places in two: what every file of points or landmarks becomes."""

from __future__ import annotations

from collections import abc
from dataclasses import dataclass

from correlight.errors import UsageError
from correlight.geometry import Grid, Points, Unit


@dataclass(frozen=True, slots=True, eq=False)
class PointTable:
    """Named places in one image.

    Parameters
    ----------
    names : tuple of str
        One per point.
    points : (N, D) array
        Array order.
    unit : {"micrometre", "pixel"}
        What the numbers count.
    unit_stated : bool
        False where the file did not say so, and it was supposed.

    Raises
    ------
    UsageError
        If names and points differ in number or the points are neither 2-D nor 3-D.
    """

    names: tuple[str, ...]
    points: Points
    unit: Unit
    unit_stated: bool = True

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] not in (2, 3) or len(self.points) != len(self.names):
            raise UsageError(
                f"One name per point in 2-D or 3-D was expected; got {len(self.names)} names and points of shape "
                f"{self.points.shape}."
            )

    def positions(self, grid: Grid) -> Points:
        """The points as positions in the frame of an image, shape ``(N, D)``.

        Raises
        ------
        UsageError
            If the table counts micrometres and the image has no calibration, or the dimensions differ.
        """
        if self.points.shape[1] != grid.ndim:
            raise UsageError(f"Points with {grid.ndim} coordinates were expected; got {self.points.shape[1]}.")
        if self.unit == "pixel":
            return grid.points(self.points)
        if not grid.calibrated:
            raise UsageError("Points in micrometres need an image with a pixel size; give it or use pixels.")
        return self.points

    def in_unit(self, grid: Grid | None, role: str) -> PointTable:
        """The same points in the unit of an image, for files that say no unit: micrometres where it is calibrated.

        Raises
        ------
        UsageError
            If the table counts pixels and nothing is known of the image.
        """
        if self.unit == "pixel" and grid is None:
            raise UsageError(
                f"The {role} points count pixels, and the file to be written has the unit of its image; give the "
                f"{role} image or its pixel size, 1 for an image without."
            )
        return self if grid is None else PointTable(self.names, self.positions(grid), grid.unit)

    @classmethod
    def at(cls, names: abc.Sequence[str], positions: Points, grid: Grid, unit: Unit) -> PointTable:
        """A table of positions in the frame of an image; in pixels where asked for or where nothing else is known."""
        if unit == "micrometre" and grid.calibrated:
            return cls(tuple(names), positions, unit)
        return cls(tuple(names), grid.index(positions), "pixel")


@dataclass(frozen=True, slots=True)
class LandmarkTable:
    """The same places in both images; row *n* of each is one landmark.

    Parameters
    ----------
    fixed, moving : PointTable
        Each with its own unit.
    left_out : int
        How many landmarks of the file are inactive or lack a partner.
    """

    fixed: PointTable
    moving: PointTable
    left_out: int = 0

    @property
    def unit_stated(self) -> bool:
        """Whether the file says what the numbers of both images count."""
        return self.fixed.unit_stated and self.moving.unit_stated


def supposed(table: PointTable | LandmarkTable, name: str) -> tuple[str, ...]:
    """What to say of a table that does not state its unit: one sentence, or none.

    Parameters
    ----------
    table : PointTable or LandmarkTable
        As it was read.
    name : str
        Name of the file.
    """
    if table.unit_stated:
        return ()
    return (f"{name} states no unit, so its numbers are taken for pixels; add a column unit if they are not",)
