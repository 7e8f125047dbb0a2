"""Which chunks of a Zarr array there are: what was never stored, or is lost, reads as its fill value, mostly black.

A chunk without a file may be one that held nothing but the fill value, as Zarr need not store those. A whole channel
of them is no data all the same: there is nothing in it to register, and nobody can tell it from a lost one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from correlight.errors import ReadError
from correlight.images.image import Mask
from correlight.io.content import large
from correlight.io.zarr_store import Layout, stored_chunks

_EMPTIEST = 100  # times as many chunks as there are files: of a large image, the rest would be walked over in vain
_MOST_CHUNKS = 2**24


@dataclass(frozen=True, slots=True)
class Presence:
    """What is there of an image.

    Parameters
    ----------
    channels : tuple of int or None
        The channels of which anything is stored; None for all.
    findings : tuple of str
        What is not there.
    slices : (Z,) array of bool or None
        The slices of a volume of which anything is stored; None for all.
    """

    channels: tuple[int, ...] | None
    findings: tuple[str, ...]
    slices: Mask | None = None


def look_at_chunks(path: Path, folder: Path, layout: Layout, axes: str, index: Sequence[Any]) -> Presence:
    """Which channels of the chosen part are stored.

    Parameters
    ----------
    path : Path
        The store, for the message of an error.
    folder : Path
        The array.
    layout : Layout
        Its chunks.
    axes : str
        A letter for each axis.
    index : sequence of int or slice
        The place along each axis that is read.

    Raises
    ------
    ReadError
        If nothing of it is stored, or next to nothing of a large one.
    """
    grid = layout.grid
    if math.prod(grid) > _MOST_CHUNKS:
        raise ReadError(
            f"Expected fewer than {_MOST_CHUNKS} chunks, but {path} announces {math.prod(grid)}; export it again."
        )
    fixed = {
        place: part // size
        for place, (part, size) in enumerate(zip(index, layout.chunks, strict=True))
        if isinstance(part, int)
    }
    here = [chunk for chunk in stored_chunks(folder, layout) if all(chunk[place] == at for place, at in fixed.items())]
    expected = math.prod(count for place, count in enumerate(grid) if place not in fixed)
    if not here:
        raise ReadError(
            f"None of the pixels that {path} announces here are stored ({folder.name}); copy the store again."
        )
    shape = [n for n, part in zip(layout.shape, index, strict=True) if not isinstance(part, int)]
    if large(tuple(shape), 1) and len(here) * _EMPTIEST < expected:
        raise ReadError(
            f"Of {expected} chunks of {path} only {len(here)} are stored; copy the store again, or crop it."
        )
    kept, findings = _channels(here, layout, axes)
    if kept is not None:
        expected = expected // grid[axes.index("C")] * len({chunk[axes.index("C")] for chunk in here})
    lacking = expected - len(here)
    if lacking > 0:
        findings = (*findings, f"{lacking} of {expected} chunks are not stored and read as the fill value")
    slices, said = _slices(here, layout, axes)
    return Presence(kept, (*findings, *said), slices)


def _slices(here: list[tuple[int, ...]], layout: Layout, axes: str) -> tuple[Mask | None, tuple[str, ...]]:
    place = axes.find("Z")
    if place < 0 or layout.shape[place] < 2:
        return None, ()
    stored = {chunk[place] for chunk in here}
    slices = np.array([number // layout.chunks[place] in stored for number in range(layout.shape[place])])
    if slices.all():
        return None, ()
    return slices, (f"of {len(slices)} slices {int((~slices).sum())} are announced and not stored; they are no data",)


def _channels(here: list[tuple[int, ...]], layout: Layout, axes: str) -> tuple[tuple[int, ...] | None, tuple[str, ...]]:
    if "C" not in axes:
        return None, ()
    place = axes.index("C")
    count, size = layout.shape[place], layout.chunks[place]
    stored = {chunk[place] for chunk in here}
    kept = tuple(number for number in range(count) if number // size in stored)
    absent = [str(number) for number in range(count) if number // size not in stored]
    if not absent:
        return None, ()
    words = f"channel {absent[0]} is" if len(absent) == 1 else f"channels {', '.join(absent)} are"
    return kept, (f"{words} announced, but none of the pixels are stored; left out as no data",)
