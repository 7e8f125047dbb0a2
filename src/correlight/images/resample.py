"""Resampling: every channel moved once, straight from the original pixels, with the footprint of what was sampled.

The output is made block by block, several at a time in threads, and each block reads only the part of the moving image
that it needs, so neither pixels on disk nor large outputs pass through memory whole. What makes a block is in
`correlight.images.kernel`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image, Mask, Pixels
from correlight.images.kernel import ON_PIXEL, Array, Order, laid_block, sampled_block
from correlight.images.places import Coordinates, Region, places_of
from correlight.progress import threads
from correlight.transforms import Affine, Projective, Transform

Orders = Order | Sequence[Order]

# Blocks are made by so many threads at most, so many for each before the first of them are handed on.
_MOST_WORKERS, _AHEAD = 8, 4

# More output pixels than this per channel is a slip of the unit rather than a wish.
_MOST_PIXELS = 2**34


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One part of a resampled image.

    Parameters
    ----------
    region : tuple of slice
        Where it lies in the output grid.
    values : (C, *shape) array
        Pixels in the type of the moving image.
    footprint : (*shape) array of bool
        Which pixels were really sampled.
    """

    region: Region
    values: Array
    footprint: Mask


def warp(
    image: Image | Pixels,
    image_grid: Grid,
    moving_from_fixed: Transform,
    onto: Grid,
    order: Orders = "linear",
    mask: Mask | CoarseMask | None = None,
    block: int = 1024,
) -> tuple[Array, Mask]:
    """Resample every channel of the moving image on a grid of the fixed frame.

    Where the output is coarser than the input by a factor of two or more, the input is averaged over blocks of whole
    pixels first (linear only), so that fine texture does not turn into moiré.

    Parameters
    ----------
    image : Image or ``(C, *image_grid.shape)`` array
        The moving image. Pixels on disk stay there but for the part in use.
    image_grid : Grid
        Where its pixels lie, in the unit of the moving frame.
    moving_from_fixed : Transform
        Takes positions on ``onto`` to positions in the moving image.
    onto : Grid
        Where the output pixels lie.
    order : {"linear", "nearest"} or sequence of these
        "nearest" keeps the values of label images. One word for all channels, or one for each; the footprint is then
        that of the linear ones.
    mask : ``(*image_grid.shape)`` array of bool, optional
        Valid pixels of the moving image; the mask of an `Image` where none is given. Invalid pixels are moved like
        others but do not count as sampled.
    block : int
        Side of an output block in pixels (of a volume: as many voxels as a square of that side).

    Returns
    -------
    values : ``(C, *onto.shape)`` array
        In the type of the input; integers are rounded and clipped. Outside the moving image 0.
    footprint : ``(*onto.shape)`` array of bool
        Where every pixel that took part in the interpolation lies in the moving image and is valid.

    Raises
    ------
    UsageError
        If the pixels do not fit their grid, dimensions differ, or ``order`` is unknown.

    Notes
    -----
    About 0.02 s per megapixel of output for the first channel and 0.01 s for each further one where an image of 8 or
    16 bits is moved by an affine map (0.05 s per million voxels of a volume), 0.1 s and 0.04 s otherwise (one core).

    Examples
    --------
    >>> ramp = np.arange(16.0).reshape(1, 4, 4)
    >>> values, footprint = warp(ramp, Grid.of((4, 4)), Affine.of(np.eye(2), (0.5, 0)), Grid.of((4, 4)))
    >>> values[0, 0].tolist(), footprint[:, 0].tolist()
    ([2.0, 3.0, 4.0, 5.0], [True, True, True, False])
    """
    return Resampling(image, image_grid, moving_from_fixed, onto, order, mask, block).whole()


@dataclass(frozen=True, eq=False)
class Resampling:
    """An image to be resampled, whole, block by block or band by band; parameters as in `warp`."""

    image: Image | Pixels
    image_grid: Grid
    moving_from_fixed: Transform
    onto: Grid
    order: Orders = "linear"
    mask: Mask | CoarseMask | None = None
    block: int = 1024

    def whole(self) -> tuple[Array, Mask]:
        """Values and footprint of the whole output, as `warp` returns them."""
        values = np.zeros((self._pixels.shape[0], *self.onto.shape), self._pixels.dtype)
        footprint = np.zeros(self.onto.shape, bool)
        for part in self.blocks():
            values[(slice(None), *part.region)] = part.values
            footprint[part.region] = part.footprint
        return values, footprint

    def blocks(self) -> Iterator[Block]:
        """The blocks that do not lie wholly outside the moving image, for outputs that do not fit in memory."""
        part, regions = self._plan()
        yield from (found for found in _dispatched(part, regions) if isinstance(found, Block))

    def bands(self) -> Iterator[tuple[Array, Mask]]:
        """Values ``(C, rows, X)`` and footprint ``(rows, X)`` from the first row to the last, for writers."""
        part, regions = self._plan()
        pixels, bands = self._pixels, dict[int, list[Region]]()
        for region in regions:
            bands.setdefault(region[0].start, []).append(region)
        for start, row in bands.items():
            height = row[0][0].stop - start
            values = np.zeros((pixels.shape[0], height, self.onto.shape[1]), pixels.dtype)
            footprint = np.zeros((height, self.onto.shape[1]), bool)
            for found in _dispatched(part, row):
                if found is not None:
                    values[:, :, found.region[1]] = found.values
                    footprint[:, found.region[1]] = found.footprint
            yield values, footprint

    @property
    def _pixels(self) -> Pixels:
        return self.image.levels[0] if isinstance(self.image, Image) else self.image

    @property
    def _orders(self) -> tuple[Order, ...]:
        return (self.order,) * self._pixels.shape[0] if isinstance(self.order, str) else tuple(self.order)

    @property
    def _mask(self) -> Mask | CoarseMask | None:
        return self.image.mask if self.mask is None and isinstance(self.image, Image) else self.mask

    def _plan(self) -> tuple[Part, list[Region]]:
        """What makes a block of the output, and the blocks to make; None where one lies outside the moving image."""
        self._check()
        pixels, kinds = self._pixels, dict[Order, list[int]]()
        for channel, kind in enumerate(self._orders):
            kinds.setdefault(kind, []).append(channel)
        if len(kinds) == 1:
            return self._plan_of_one(pixels, self._orders[0])
        plans = {kind: (numbers, *self._plan_of_one(Chosen(pixels, numbers), kind)) for kind, numbers in kinds.items()}

        def together(region: Region) -> Block | None:
            found = {kind: (numbers, part(region)) for kind, (numbers, part, _) in plans.items()}
            if all(made is None for _, made in found.values()):
                return None
            shape = tuple(line.stop - line.start for line in region)
            values = np.zeros((pixels.shape[0], *shape), pixels.dtype)
            for numbers, made in found.values():
                if made is not None:
                    values[numbers] = made.values
            linear = found["linear"][1]
            return Block(region, values, np.zeros(shape, bool) if linear is None else linear.footprint)

        return together, plans["linear"][2]

    def _plan_of_one(self, pixels: Pixels, order: Order) -> tuple[Part, list[Region]]:
        """The same where all channels are interpolated alike."""
        image_grid, transform, onto = self.image_grid, self.moving_from_fixed, self.onto
        factors = _averaging(image_grid, transform, onto) if order == "linear" else (1,) * onto.ndim
        plain = order == "linear" and np.dtype(pixels.dtype) in (np.uint8, np.uint16)
        known = places_of(image_grid, transform, onto, quick=plain)

        mask = self._mask

        def anywhere(region: Region) -> tuple[Array, Mask] | None:
            coordinates = source_coordinates(image_grid, transform, onto, region)
            return sampled_block(pixels, mask, coordinates, factors, order)

        at_once = anywhere if known is None else partial(laid_block, pixels, mask, known, factors, order, anywhere)

        def part(region: Region) -> Block | None:
            found = at_once(region)
            return None if found is None else Block(region, *found)

        return part, list(_regions(onto.shape, self.block, max(factors)))

    def _check(self) -> None:
        """Refuse what does not fit together."""
        pixels, mask, shape = self._pixels, self._mask, self.image_grid.shape
        if tuple(pixels.shape[1:]) != shape:
            raise UsageError(
                f"Pixels of shape (channels, {', '.join(map(str, shape))}) were expected from the grid; "
                f"got {tuple(pixels.shape)}."
            )
        if mask is not None and mask.shape != shape:
            raise UsageError(f"A mask of shape {shape} was expected; got {mask.shape}.")
        axes = self.image_grid.ndim, self.moving_from_fixed.ndim, self.onto.ndim
        if len(set(axes)) > 1:
            raise UsageError(
                f"Image, transform and output must have as many axes; got {axes[0]}, {axes[1]} and {axes[2]}."
            )
        if len(self._orders) != pixels.shape[0]:
            raise UsageError(
                f"One order of interpolation for each of {pixels.shape[0]} channels was expected; got "
                f"{len(self._orders)}."
            )
        unknown = [order for order in self._orders if order not in ("linear", "nearest")]
        if unknown:
            raise UsageError(f"The order of interpolation is 'linear' or 'nearest'; got {unknown[0]!r}.")


class Chosen:
    """Some channels of an image, where they are.

    Parameters
    ----------
    pixels : Pixels
        All of them.
    numbers : sequence of int
        Which channels.
    """

    def __init__(self, pixels: Pixels, numbers: Sequence[int]) -> None:
        self._pixels, self._numbers = pixels, tuple(numbers)
        self.shape, self.dtype = (len(self._numbers), *pixels.shape[1:]), np.dtype(pixels.dtype)

    def __getitem__(self, key: tuple[int, *tuple[slice, ...]]) -> Array:
        """A block of one channel."""
        return np.asarray(self._pixels[(self._numbers[key[0]], *key[1:])])


Part = Callable[[Region], Block | None]


def _dispatched(part: Part, regions: Sequence[Region]) -> Iterator[Block | None]:
    """The blocks in their order, made a few at a time."""
    workers = threads(_MOST_WORKERS)
    if len(regions) == 1 or workers == 1:
        yield from map(part, regions)
        return
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(regions), _AHEAD * workers):
            yield from pool.map(part, regions[start : start + _AHEAD * workers])


def output_grid(
    fixed: Grid, moving: Grid, moving_from_fixed: Transform, choice: Literal["fixed", "moving"] | float
) -> Grid:
    """The grid that the moving image is resampled on.

    Parameters
    ----------
    fixed, moving : Grid
        Grids of the two images.
    moving_from_fixed : Transform
        Takes fixed positions to moving positions.
    choice : {"fixed", "moving"} or float
        "fixed": the pixels of the fixed image. "moving": the field of the fixed image in pixels that are as large as
        those of the moving image (measured in the middle of the field). A number: the field of the fixed image in
        pixels of that many micrometres.

    Returns
    -------
    Grid
        In the unit of the fixed frame; its first pixel shares its outer corner with the first pixel of the fixed image.

    Raises
    ------
    UsageError
        If micrometres are asked for and the fixed image has no calibration, or the pixel size is not positive and
        finite, or the grid would have more than 17 thousand million pixels.

    Examples
    --------
    >>> fixed, moving = Grid.of((100, 100), 0.01, unit="micrometre"), Grid.of((50, 50), 0.05, unit="micrometre")
    >>> output_grid(fixed, moving, Affine.identity(), "moving").shape
    (20, 20)
    """
    if choice == "fixed":
        return fixed
    if choice == "moving":
        steps = _index_jacobian(moving, moving_from_fixed, fixed, fixed.centre[None])[0]
        spacing = np.asarray(fixed.spacing) / np.linalg.norm(steps, axis=0)
    elif not (np.isfinite(choice) and float(choice) > 0):
        raise UsageError(f"The pixel size of the output must be a positive number of micrometres; got {choice}.")
    elif not fixed.calibrated:
        raise UsageError(
            f"An output grid of {choice} µm needs a fixed image with a pixel size and this one states none; "
            "give its pixel size or choose the grid 'fixed' or 'moving'."
        )
    else:
        spacing = np.full(fixed.ndim, float(choice))
    # The slack keeps a field of exactly n pixels from growing to n + 1 by rounding.
    shape = np.maximum(np.ceil(np.asarray(fixed.extent) / spacing - 1e-6), 1.0)
    if float(np.prod(shape)) > _MOST_PIXELS:
        raise UsageError(
            f"Pixels of {float(spacing.min()):.3g} {fixed.frame.symbol} would make an output of "
            f"{' x '.join(f'{n:.0f}' for n in shape)} pixels, which is too large; choose a coarser grid."
        )
    origin = np.asarray(fixed.origin) + (spacing - fixed.spacing) / 2
    return Grid.of(shape.astype(int).tolist(), spacing.tolist(), origin.tolist(), fixed.unit)


def _regions(shape: Sequence[int], block: int, shrink: int) -> Iterator[Region]:
    """Cut the output into blocks; where ``shrink`` input pixels make one, blocks are as much smaller."""
    if block < 1:
        raise UsageError(f"Blocks have at least one pixel per side; got {block}.")
    side = max(1, round(block ** (2 / len(shape)) / shrink)) if len(shape) == 3 else max(1, block // shrink)
    lines = [[slice(a, min(a + side, n)) for a in range(0, n, side)] for n in shape]
    yield from product(*lines)


def source_coordinates(image_grid: Grid, moving_from_fixed: Transform, onto: Grid, region: Region) -> Coordinates:
    """Fractional pixel indices in the moving image, one array of the block's shape per axis.

    Parameters
    ----------
    image_grid, onto : Grid
        Of the moving image and of the output.
    moving_from_fixed : Transform
        Between the two.
    region : tuple of slice
        The block of the output.
    """
    lines = np.meshgrid(*[np.arange(s.start, s.stop, dtype=float) for s in region], indexing="ij", sparse=True)
    if not isinstance(moving_from_fixed, Affine | Projective):
        dense = np.stack(np.broadcast_arrays(*lines), -1)
        index = image_grid.index(moving_from_fixed(onto.points(dense.reshape(-1, onto.ndim))))
        return [np.ascontiguousarray(column).reshape(dense.shape[:-1]) for column in index.T]
    matrix = np.linalg.inv(image_grid.matrix) @ moving_from_fixed.matrix @ onto.matrix
    rows = [sum((c * line for c, line in zip(row[:-1], lines, strict=True)), np.array(row[-1])) for row in matrix]
    if isinstance(moving_from_fixed, Affine):
        return [np.asarray(row) for row in rows[:-1]]
    # Beyond its vanishing line a projective map shows the image a second time, from behind.
    weight = np.where(rows[-1] > 0, rows[-1], np.nan)
    return [np.asarray(row / weight) for row in rows[:-1]]


def _index_jacobian(
    image_grid: Grid, moving_from_fixed: Transform, onto: Grid, points: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Moving pixels (rows) per output pixel (columns) at each point, shape ``(N, D, D)``."""
    per_pixel = np.asarray(onto.spacing) / np.asarray(image_grid.spacing)[:, None]
    return np.asarray(moving_from_fixed.jacobian(points) * per_pixel)


def _averaging(image_grid: Grid, moving_from_fixed: Transform, onto: Grid) -> tuple[int, ...]:
    """How many moving pixels are averaged into one along each axis before linear interpolation."""
    points = onto.lattice(9)
    points = points[image_grid.contains(moving_from_fixed(points))]
    if not len(points):
        return (1,) * onto.ndim
    per_axis = np.linalg.norm(_index_jacobian(image_grid, moving_from_fixed, onto, points), axis=-1)
    factors = np.floor(np.median(per_axis, axis=0) + ON_PIXEL).astype(int)
    return tuple(int(f) for f in np.clip(factors, 1, image_grid.shape))
