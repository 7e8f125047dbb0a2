"""Tiles of a LIF tile scan on one canvas, by the places that the stage had.

A file states for each tile where the stage stood, and whether the stage runs against the rows and columns of the image.
That is checked on the pixels where tiles overlap: a mosaic that is put together wrongly looks like a specimen as well.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Mask
from correlight.io.serialem import joined

_METRE = 1e6  # micrometres
_AGREE = 0.3  # correlation in the overlaps above which tiles belong together
_COMPARED, _PAIRS = 2000, 200  # tiles, and pairs of them, that are compared
_SMALLEST = 4, 256  # rows or columns, and pixels, of an overlap that tells anything

Array = NDArray[Any]


def tile_places(image: Any, count: int) -> Array | None:
    """Where the stage stood at each tile, micrometres, ``(count, 2)``, (y, x); None where the file does not say."""
    found = image.tilescan
    if found is None or len(found.tiles) != count:
        return None
    places = np.stack([found.tiles["pos_y"], found.tiles["pos_x"]], axis=-1) * _METRE
    return places if np.isfinite(places).all() and len(np.unique(places, axis=0)) == count else None


class Mosaic(NamedTuple):
    """Tiles on one canvas, or the first of them alone.

    Parameters
    ----------
    pixels : (Y, X, ...) array
        The mosaic, or a tile.
    covered : (Y, X) array of bool or None
        Where a tile lies; None where they leave no gap.
    whole : bool
        Whether the tiles were joined.
    said : str
        What was done, and why.
    """

    pixels: Any
    covered: Mask | None
    whole: bool
    said: str


def join_tiles(path: Path, stack: Array, image: Any, spacing: tuple[float, float] | None) -> Mosaic:
    """All tiles on one canvas, or the first alone where their places are not known well enough.

    Parameters
    ----------
    path : Path
        The file, for the message of an error.
    stack : (M, Y, X, ...) array
        The tiles.
    image : liffile.LifImage
        What describes them.
    spacing : (float, float) or None
        Micrometres per pixel, (y, x).
    """
    count = len(stack)
    places = tile_places(image, count)
    if places is None or spacing is None:
        lacking = "the places of its tiles" if places is None else "a pixel size to join its tiles by"
        return Mosaic(
            stack[0],
            None,
            False,
            f"the file holds {count} tiles (axis M) and does not state {lacking}; the first is read",
        )
    corners, agree, told = _corners(stack, places, np.asarray(spacing), image.tilescan)
    if corners is None:
        words = f"which do not agree where they should overlap (correlation {agree:.2f}), so they are not joined"
        return Mosaic(stack[0], None, False, f"the file holds {count} tiles (axis M), {words}; the first is read")
    canvas, covered, shared = joined(path, stack, range(count), corners)
    over = (
        f"; in the {shared} pixels where they overlap, the later tile is shown"
        if shared
        else "; they do not overlap, so that their places could not be checked"
    )
    return Mosaic(canvas, covered, True, f"{count} tiles are joined by the places of the stage{told}{over}")


def _corners(stack: Array, places: Array, spacing: Array, scan: Any) -> tuple[NDArray[np.intp] | None, float, str]:
    """The first pixel of each tile, how well the tiles agree there, and what is said of the way that the stage runs.

    None where they do not agree in any way that the stage may run.
    """
    plane: Array = stack.reshape(*stack.shape[:3], -1)[..., 0]
    stated = (bool(scan.swap_xy), bool(scan.flip_y), bool(scan.flip_x))
    first = _turned(places, spacing, *stated)
    agree = _agreement(plane, first)
    if agree is None or agree >= _AGREE:
        return first, 1.0 if agree is None else agree, ""
    others = [_turned(places, spacing, *way) for way in product((False, True), repeat=3) if way != stated]
    scores = [_agreement(plane, corners) or -1.0 for corners in others]
    best = int(np.argmax(scores))
    if scores[best] >= max(2 * _AGREE, agree + _AGREE):
        return others[best], scores[best], ", which runs otherwise than the file states, by the pixels that tiles share"
    return None, agree, ""


def _turned(places: Array, spacing: Array, swapped: bool, down: bool, across: bool) -> NDArray[np.intp]:
    """Places in pixels from the corner of the mosaic, with the axes of the stage turned round and then exchanged."""
    places = places * (-1 if down else 1, -1 if across else 1)
    places = places[:, ::-1] if swapped else places
    # Halves go up, as in Leica's own joining of tiles.
    corners = np.floor((places - places.min(axis=0)) / spacing + 0.5).clip(0, 2.0**31).astype(np.intp)
    return np.asarray(corners)


def _agreement(plane: Array, corners: NDArray[np.intp]) -> float | None:
    """The correlation of tiles where they overlap, each overlap about its own mean; None without overlaps."""
    plane, corners = plane[:_COMPARED], corners[:_COMPARED]
    size = np.asarray(plane.shape[1:])
    shifts = corners[:, None] - corners[None]
    extent = size - np.abs(shifts)
    near = (extent.min(axis=-1) >= _SMALLEST[0]) & (np.prod(extent.clip(0), axis=-1) >= _SMALLEST[1])
    pairs = np.argwhere(np.triu(near, 1))
    if not len(pairs):
        return None
    both = squares = others = 0.0
    for a, b in pairs[:: -(-len(pairs) // _PAIRS)]:
        top, left = shifts[a, b]
        here = plane[a][max(0, -top) : size[0] - max(0, top), max(0, -left) : size[1] - max(0, left)]
        there = plane[b][max(0, top) : size[0] - max(0, -top), max(0, left) : size[1] - max(0, -left)]
        here, there = here - here.mean(dtype=float), there - there.mean(dtype=float)
        both, squares, others = both + (here * there).sum(), squares + (here**2).sum(), others + (there**2).sum()
    return float(both / np.sqrt(squares * others)) if squares > 0 and others > 0 else 0.0
