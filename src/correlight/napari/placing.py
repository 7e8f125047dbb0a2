"""Where a transform lays layers: as their affine transform where napari shows that, else resampled as it is looked at.

napari moves layers by affine transforms only, and shows a volume that is tilted out of its slices wrongly in the plane
(napari issue 7310). Maps that bend, and tilted volumes, are therefore resampled block by block when a block comes into
view; the layer that they come from is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.kernel import Order
from correlight.images.resample import Chosen, warp
from correlight.io.content import IN_MEMORY
from correlight.napari.layers import BORROWED, lengths, units_are_borrowed
from correlight.output.section import filling, flat, is_section
from correlight.progress import checkpoint
from correlight.transforms import Affine, Transform

Matrix = NDArray[np.float64]

# Sides of the blocks that are resampled at a time, and above how many pixels a side a plane gets coarser levels.
_BLOCKS = {2: (1024, 1024), 3: (8, 512, 512)}
_LARGE = 4096


def in_micrometres(layer: Any, grid: Grid) -> None:
    """Give a layer the pixel size and origin of a grid; by its affine transform it stays where it is.

    Parameters
    ----------
    layer : napari layer
        An image.
    grid : Grid
        Of its pixels, of as many axes.
    """
    borrowed = units_are_borrowed(layer)
    # How many new units are one old one, along each axis.
    step = np.ones(grid.ndim) if borrowed else np.asarray(grid.spacing) / np.asarray(layer.scale)
    before = Grid.of(grid.shape, layer.scale, layer.translate)
    affine = np.diag([*step, 1.0]) @ np.asarray(layer.affine.affine_matrix) @ before.matrix @ np.linalg.inv(grid.matrix)
    set_place(layer, layer.units if borrowed else units_of(grid), grid, affine)


def steps_into_micrometres(layer: Any, grid: Grid) -> NDArray[np.float64] | None:
    """Micrometres per unit of the viewer once a layer counts in micrometres; None where the viewer's units stay.

    Parameters
    ----------
    layer : napari layer
        Before `in_micrometres`.
    grid : Grid
        Of its pixels.
    """
    if not grid.calibrated or lengths(layer.units) is not None:
        return None
    return np.asarray(grid.spacing) / np.asarray(layer.scale)


def in_pixels(layers: Iterable[Any]) -> list[Any]:
    """The layers, of any kind, that count in no length."""
    return [layer for layer in layers if lengths(layer.units) is None]


def carry(layer: Any, steps: NDArray[np.float64]) -> None:
    """Keep a layer that counts in pixels where it lies on an image that counts in micrometres from now on.

    It gets the unit, for napari draws layers and the scale bar without units once one of them differs, but states no
    pixel size by that (see `correlight.napari.layers.units_are_borrowed`).

    Parameters
    ----------
    layer : napari layer
        Of any kind.
    steps : array
        Micrometres per pixel along the axes of the image, the last of which are those of the layer.
    """
    scale = np.ones(layer.ndim + 1)
    count = min(layer.ndim, len(steps))
    scale[-1 - count : -1] = steps[-count:]
    layer.units = ("micrometer",) * layer.ndim
    layer.metadata[BORROWED] = tuple(layer.scale)
    layer.affine = np.diag(scale) @ np.asarray(layer.affine.affine_matrix)


def set_place(layer: Any, units: Sequence[Any], grid: Grid, affine: Matrix) -> None:
    """Give a layer units, the spacing and origin of a grid, and an affine transform; every change is drawn."""
    if [str(unit) for unit in layer.units] != [str(unit) for unit in units]:
        layer.units = units
    for name, wanted in (("scale", grid.spacing), ("translate", grid.origin)):
        if not np.array_equal(getattr(layer, name), wanted):
            setattr(layer, name, wanted)
    if grid.calibrated or lengths(units) is None:
        layer.metadata.pop(BORROWED, None)
    else:
        layer.metadata[BORROWED] = tuple(layer.scale)
    if not np.array_equal(layer.affine.affine_matrix, affine):
        layer.affine = affine


def units_of(grid: Grid) -> tuple[str, ...]:
    """The units of a grid as napari names them."""
    return (("micrometer" if grid.calibrated else "pixel"),) * grid.ndim


def over(fixed: Any, grid: Grid) -> dict[str, Any]:
    """Where napari is to put pixels of a grid over the fixed layer, as options of a new layer.

    Parameters
    ----------
    fixed : napari layer
        Of which the grid counts the units (see `in_micrometres`).
    grid : Grid
        Of as many axes or fewer, which are the last ones then.
    """
    own = np.asarray(fixed.affine.affine_matrix)
    units = tuple(fixed.units[-grid.ndim :])
    return {
        "scale": grid.spacing,
        "translate": grid.origin,
        "units": units,
        "affine": own[-grid.ndim - 1 :, -grid.ndim - 1 :] if len(own) > grid.ndim else None,
        "metadata": {} if grid.calibrated or lengths(units) is None else {BORROWED: tuple(grid.spacing)},
    }


def is_shown_by_affine(moving_from_fixed: Transform, layers: Sequence[Any]) -> bool:
    """Whether napari shows layers rightly under a transform: linear, in their axes, and not tilted out of slices."""
    if not isinstance(moving_from_fixed, Affine) or any(layer.ndim != moving_from_fixed.ndim for layer in layers):
        return False
    if moving_from_fixed.ndim == 2:
        return True
    linear = moving_from_fixed.linear
    tilt = max(float(np.abs(linear[0, 1:]).max()), float(np.abs(linear[1:, 0]).max()))
    return tilt <= 1e-9 * float(np.abs(linear).max())


def lay(layer: Any, fixed: Any, moving_grid: Grid, moving_from_fixed: Affine) -> None:
    """Move a layer by its affine transform onto the fixed layer, in whose units it is then.

    Parameters
    ----------
    layer : napari layer
        Which shows a channel of the moving image.
    fixed : napari layer
        In the unit of the fixed image (see `in_micrometres`).
    moving_grid : Grid
        Of the moving image.
    moving_from_fixed : Affine
        In the units of the two images.
    """
    own = np.asarray(fixed.affine.affine_matrix)[-moving_grid.ndim - 1 :, -moving_grid.ndim - 1 :]
    # A flat layer under a stack is one plane of it, at depth 0.
    world = np.eye(moving_grid.ndim + 1)
    world[-len(own) :, -len(own) :] = own
    units = (fixed.units[0],) * moving_grid.ndim
    # The affine transform ends in the units of the fixed layer, and napari knows one unit per layer.
    set_place(layer, units, moving_grid, world @ moving_from_fixed.inverse().matrix)


def resampled(
    image: Image, channel: int | None, moving_from_fixed: Transform, onto: Grid, order: Order = "linear"
) -> list[Any]:
    """A channel on the pixels of another grid, made block by block when it is looked at.

    Parameters
    ----------
    image : Image
        The moving image, of as many axes as the transform.
    channel : int or None
        Which channel; None for the three colours, which then come last.
    moving_from_fixed : Transform
        Takes positions on the grid to positions in the image.
    onto : Grid
        Where the pixels shall lie.
    order : {"linear", "nearest"}
        As for `correlight.images.resample.warp`.

    Returns
    -------
    list of dask arrays
        Full resolution first; coarser levels only where the plane is large. Of a section one plane.
    """
    levels = [onto]
    while onto.ndim == 2 and max(levels[-1].shape) > _LARGE:
        levels.append(levels[-1].shrink(2))
    return [_lazily(image, channel, moving_from_fixed, level, order) for level in levels]


def computed(levels: list[Any], report: Callable[[float], None]) -> list[Any]:
    """The same, with the pixels that are looked at first computed, as long as they fit into memory.

    Called in the thread of the work, for napari waits for pixels in that of the window.

    Parameters
    ----------
    levels : list of dask arrays
        Full resolution first.
    report : callable
        Called with the fraction done.
    """
    from dask.array.core import slices_from_chunks

    last = levels[-1]
    if last.nbytes > IN_MEMORY:
        return levels
    out = np.empty(last.shape, last.dtype)
    places = slices_from_chunks(last.chunks)
    for done, place in enumerate(places):
        report(done / len(places))
        out[place] = last[place].compute(scheduler="synchronous")
    return [*levels[:-1], out]


def _lazily(image: Image, channel: int | None, moving_from_fixed: Transform, onto: Grid, order: Order) -> Any:
    import dask.array as da

    numbers = range(image.levels[0].shape[0]) if channel is None else (channel,)
    pixels = Chosen(image.levels[0], numbers)
    grid = filling(image.grid, moving_from_fixed, onto) if is_section(image.grid) else image.grid
    section = is_section(onto)
    colours = (len(numbers),) if channel is None else ()
    sides = [min(side, n) for side, n in zip(_BLOCKS[onto.ndim], onto.shape, strict=True)]
    chunks = tuple(_parts(n, side) for n, side in zip(onto.shape, sides, strict=True))

    def block(block_info: Any = None) -> Any:
        checkpoint()
        places = block_info[None]["array-location"][: flat(onto).ndim]
        places = [(0, 1), *places] if section else places
        part = onto.crop([a for a, _ in places], [b for _, b in places])
        values = warp(pixels, grid, moving_from_fixed, part, order, image.mask)[0]
        values = values[:, 0] if section else values
        return np.moveaxis(values, 0, -1) if colours else values[0]

    return da.map_blocks(
        block,
        dtype=image.dtype,
        chunks=(*(chunks[1:] if section else chunks), *((count,) for count in colours)),
        meta=np.empty((0,) * (flat(onto).ndim + len(colours)), image.dtype),
    )


def _parts(length: int, side: int) -> tuple[int, ...]:
    """Lengths of the blocks along an axis."""
    return tuple(min(side, length - start) for start in range(0, length, side))
