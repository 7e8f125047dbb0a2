"""One transform of an ITK file as it is written, whichever of the three forms of file it stands in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import ReadError

COMPOSITE = "CompositeTransform"
_PIECE = 2**20  # characters
# Some classes are older than names with dimensions; a few have one only.
_NAME = re.compile(r"(\w{1,64}?)_(?:double|float)_([23])_([23])")


@dataclass(frozen=True, slots=True)
class Block:
    """One transform of an ITK file, as written: its class, number of axes, and two lists of numbers."""

    kind: str
    ndim: int
    parameters: NDArray[np.float64]
    fixed_parameters: NDArray[np.float64]


def numbers_of(text: str) -> NDArray[np.float64]:
    """The numbers of a long line, a piece at a time, as a list of their texts takes ten times their memory.

    Raises
    ------
    ValueError
        If one is no number.
    """
    pieces, start = [np.zeros(0)], 0
    while start < len(text):
        # Up to the space after so many characters: no number is cut in two.
        space = text.find(" ", start + _PIECE)
        stop = len(text) if space < 0 else space
        pieces.append(np.array(text[start:stop].split(), dtype=float))
        start = stop
    return np.concatenate(pieces)


def named_block(name: str, parameters: ArrayLike, fixed_parameters: ArrayLike, path: str | Path) -> Block:
    """A block from the name that ITK gives it, such as ``AffineTransform_double_2_2``.

    Raises
    ------
    ReadError
        If the name is not of that form, or input and output differ in dimension.
    """
    match = _NAME.fullmatch(name)
    if match is None or match[2] != match[3]:
        raise ReadError(f"A transform from 2-D to 2-D or 3-D to 3-D was expected in {path}; got {name[:60]!r}.")
    return Block(match[1], int(match[2]), np.asarray(parameters, float), np.asarray(fixed_parameters, float))
