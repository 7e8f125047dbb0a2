"""Frames and grids: where pixels lie, in physical units.

Conventions, on which everything else stands: geometry is float64, in micrometres, in array order (y, x) or
(z, y, x); the origin is the *centre* of the first pixel. A file without calibration gives a grid whose unit is
"pixel"; it is never silently called one micrometre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import UsageError

Unit = Literal["micrometre", "pixel"]
Points = NDArray[np.float64]

SMALLEST_PIXEL, LARGEST_PIXEL = 1e-6, 1e5  # micrometres that a microscope can mean
_AXES = {2: ("y", "x"), 3: ("z", "y", "x")}


@dataclass(frozen=True, slots=True)
class Frame:
    """A coordinate system: named axes in array order and the unit they are measured in.

    Parameters
    ----------
    axes : tuple of str
        ``("y", "x")`` or ``("z", "y", "x")``.
    unit : {"micrometre", "pixel"}
        "pixel" says that the file stated no calibration.
    """

    axes: tuple[str, ...]
    unit: Unit

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.axes)

    @property
    def symbol(self) -> str:
        """The unit as it is printed: "µm" or "px"."""
        return "µm" if self.unit == "micrometre" else "px"


@dataclass(frozen=True, slots=True)
class Grid:
    """A regular lattice of pixel centres in a frame.

    Parameters
    ----------
    shape : tuple of int
        Number of pixels per axis, array order.
    spacing : tuple of float
        Distance of neighbouring pixel centres per axis, in the unit of the frame.
    origin : tuple of float
        Position of the centre of the first pixel, in the unit of the frame.
    unit : {"micrometre", "pixel"}
        Unit of spacing and origin.

    Raises
    ------
    UsageError
        If the lengths differ, the dimension is neither 2 nor 3, or a spacing is not positive and finite.

    Examples
    --------
    >>> grid = Grid.of((100, 200), spacing=0.5, unit="micrometre")
    >>> grid.points([[0, 0], [99, 199]])
    array([[ 0. ,  0. ],
           [49.5, 99.5]])
    >>> grid.shrink(2).origin
    (0.25, 0.25)
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    unit: Unit = field(default="pixel")

    def __post_init__(self) -> None:
        if not len(self.shape) == len(self.spacing) == len(self.origin):
            raise UsageError(
                f"A grid needs shape, spacing and origin of one length; got {len(self.shape)}, "
                f"{len(self.spacing)} and {len(self.origin)} numbers."
            )
        if len(self.shape) not in _AXES:
            raise UsageError(f"A grid has 2 or 3 axes; got {len(self.shape)}.")
        if any(n < 1 for n in self.shape):
            raise UsageError(f"A grid has at least one pixel per axis; got shape {self.shape}.")
        if not all(np.isfinite(s) and s > 0 for s in self.spacing):
            raise UsageError(f"Pixel spacing must be positive and finite; got {self.spacing}.")
        if self.unit not in ("micrometre", "pixel"):
            raise UsageError(f"The unit of a grid is micrometre or pixel; got {self.unit!r}.")
        if not all(np.isfinite(o) for o in self.origin):
            raise UsageError(f"The origin must be finite; got {self.origin}.")

    @classmethod
    def of(
        cls,
        shape: Sequence[int],
        spacing: float | Sequence[float] = 1.0,
        origin: float | Sequence[float] = 0.0,
        unit: Unit = "pixel",
    ) -> Grid:
        """Make a grid, repeating a single spacing or origin along every axis."""
        ndim = len(shape)
        try:
            spacings = np.broadcast_to(np.asarray(spacing, float), (ndim,))
            origins = np.broadcast_to(np.asarray(origin, float), (ndim,))
        except (ValueError, TypeError) as error:
            raise UsageError(
                f"Pixel spacing and origin are one number, or one for each of {ndim} axes; got {spacing!r}, {origin!r}."
            ) from error
        return cls(
            tuple(int(n) for n in shape),
            tuple(float(s) for s in spacings),
            tuple(float(o) for o in origins),
            unit,
        )

    @property
    def ndim(self) -> int:
        """Number of axes, 2 or 3."""
        return len(self.shape)

    @property
    def frame(self) -> Frame:
        """The frame that the grid lies in."""
        return Frame(_AXES[self.ndim], self.unit)

    @property
    def calibrated(self) -> bool:
        """Whether the spacing is physical rather than a pixel count."""
        return self.unit == "micrometre"

    @property
    def matrix(self) -> NDArray[np.float64]:
        """The ``(D+1, D+1)`` homogeneous matrix that takes pixel indices to positions."""
        out = np.eye(self.ndim + 1)
        out[:-1, :-1] = np.diag(self.spacing)
        out[:-1, -1] = self.origin
        return out

    @property
    def extent(self) -> tuple[float, ...]:
        """Length of the field per axis, from outer pixel edge to outer pixel edge."""
        return tuple(n * s for n, s in zip(self.shape, self.spacing, strict=True))

    @property
    def centre(self) -> Points:
        """Position of the middle of the field, shape ``(D,)``."""
        middle: Points = self.points((np.asarray(self.shape, float) - 1)[None] / 2)[0]
        return middle

    def points(self, index: ArrayLike) -> Points:
        """Positions of pixel indices, shape ``(N, D)``; fractions are allowed."""
        result: Points = np.asarray(index, float) * self.spacing + self.origin
        return result

    def index(self, points: ArrayLike) -> Points:
        """Fractional pixel indices of positions, shape ``(N, D)``."""
        result: Points = (np.asarray(points, float) - self.origin) / self.spacing
        return result

    def contains(self, points: ArrayLike) -> NDArray[np.bool_]:
        """Whether each position lies within the field (to the outer edges of its pixels), shape ``(N,)``."""
        index = self.index(points)
        return np.asarray(np.all((index >= -0.5) & (index <= np.asarray(self.shape) - 0.5), axis=-1))

    def corners(self) -> Points:
        """Positions of the outer corners of the field (pixel edges, not centres), shape ``(2**D, D)``."""
        edges = [(-0.5, n - 0.5) for n in self.shape]
        return self.points(np.stack(np.meshgrid(*edges, indexing="ij"), -1).reshape(-1, self.ndim))

    def lattice(self, per_axis: int) -> Points:
        """Positions of a regular lattice of ``per_axis**D`` points over the pixel centres, ends included."""
        lines = [np.linspace(0, n - 1, per_axis) for n in self.shape]
        return self.points(np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, self.ndim))

    def lattice_of_pixels(self) -> Points:
        """Positions of all pixel centres, first axis slowest, shape ``(N, D)``."""
        index = np.indices(self.shape).reshape(self.ndim, -1).T
        return self.points(index)

    def shrink(self, factor: int | Sequence[int]) -> Grid:
        """The grid of block means: ``factor`` pixels become one.

        The first block is centred ``(factor - 1) / 2`` pixels from the first pixel's centre, so the origin
        moves by that much. An incomplete last block is dropped.
        """
        factors = np.broadcast_to(np.asarray(factor, int), (self.ndim,))
        if np.any(factors < 1) or np.any(factors > self.shape):
            raise UsageError(f"Cannot shrink a grid of shape {self.shape} by {tuple(factors.tolist())}.")
        return Grid.of(
            tuple(n // int(f) for n, f in zip(self.shape, factors, strict=True)),
            tuple(s * float(f) for s, f in zip(self.spacing, factors, strict=True)),
            tuple(self.points(((factors - 1) / 2)[None])[0]),
            self.unit,
        )

    def resized(self, shape: Sequence[int]) -> Grid:
        """A grid of another shape over the same field, outer edges kept (area resampling)."""
        spacing = np.asarray(self.extent) / np.asarray(shape)
        origin = np.asarray(self.origin) + (spacing - self.spacing) / 2
        return Grid.of(shape, tuple(spacing), tuple(origin), self.unit)

    def level(self, shape: Sequence[int]) -> Grid:
        """The grid of a level of a pyramid that has another shape.

        Levels are made by whole factors, and what is left over at the far edge is dropped or made a pixel of its own;
        only where no whole factor explains the sizes does a level cover the field to its very edge.

        Examples
        --------
        >>> Grid.of((101, 100)).level((50, 50)).origin
        (0.5, 0.5)
        """
        factors = np.array([level_factor(large, small) for large, small in zip(self.shape, shape, strict=True)])
        spacing = np.asarray(self.spacing) * factors
        origin = np.asarray(self.origin) + (factors - 1) / 2 * self.spacing
        return Grid.of(shape, tuple(spacing), tuple(origin), self.unit)

    def crop(self, start: Sequence[int], stop: Sequence[int]) -> Grid:
        """The grid of the pixels ``start`` (included) to ``stop`` (excluded) per axis."""
        shape = tuple(b - a for a, b in zip(start, stop, strict=True))
        if any(a < 0 or b > n for a, b, n in zip(start, stop, self.shape, strict=True)) or min(shape) < 1:
            raise UsageError(f"The region {tuple(start)} to {tuple(stop)} does not lie in {self.shape} pixels.")
        origin = tuple(float(position) for position in self.points(np.asarray(start, float)[None])[0])
        return replace(self, shape=shape, origin=origin)


def as_pixel_size(given: object) -> NDArray[np.float64]:
    """The pixel size that somebody gives, in micrometres: one number, or one for each axis.

    Raises
    ------
    UsageError
        If these are no numbers, or none that a microscope can mean.
    """
    try:
        size = np.asarray(given)
    except ValueError:
        size = np.asarray(None)
    if size.dtype.kind not in "iuf" or not size.size or not np.all((size >= SMALLEST_PIXEL) & (size <= LARGEST_PIXEL)):
        raise UsageError(
            f"A pixel size is a positive number of micrometres, from {SMALLEST_PIXEL:g} to {LARGEST_PIXEL:g}, or one "
            f"for each axis; got {given!r}."
        )
    return np.asarray(size, np.float64)


def level_factor(large: int, small: int) -> float:
    """How many pixels of the full resolution lie along one of a level (see `Grid.level`)."""
    whole = max(1, round(large / small))
    return float(whole) if small in (large // whole, -(-large // whole)) else large / small
