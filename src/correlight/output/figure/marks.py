"""What is drawn onto an overlay: scale bar, legend, band of words and landmarks, as shapes that any writer can draw.

All places and lengths are pixels of the picture, x first, from its upper left corner, as those who draw have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from correlight.geometry import Points
from correlight.images.display import RGB
from correlight.output.report.pictures import enlargement, length_label, nice_length, text_width

WHITE: RGB = (255, 255, 255)
BAND: RGB = (32, 32, 32)
_BLACK: RGB = (0, 0, 0)
_MARKED: RGB = (255, 232, 64)


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; `opacity` from 0 to 1."""

    x: float
    y: float
    width: float
    height: float
    colour: RGB
    opacity: float = 1.0


@dataclass(frozen=True, slots=True)
class Words:
    """Letters of `size` pixels; (x, y) is the left end of the line halfway up a capital."""

    x: float
    y: float
    text: str
    size: float
    colour: RGB = WHITE


@dataclass(frozen=True, slots=True)
class Line:
    """A straight line."""

    start: tuple[float, float]
    end: tuple[float, float]
    width: float
    colour: RGB


@dataclass(frozen=True, slots=True)
class Ring:
    """A circle that is not filled."""

    x: float
    y: float
    radius: float
    width: float
    colour: RGB


Mark = Box | Words | Line | Ring


@dataclass(frozen=True, slots=True, eq=False)
class Landmarks:
    """Places that were known in both images, on the picture.

    Parameters
    ----------
    names : tuple of str
        One a place.
    there : (N, 2) array
        Where they lie in the fixed image, as x and y in pixels of the picture.
    moved : (N, 2) array
        Where the transform takes their partners in the moving image.
    """

    names: tuple[str, ...]
    there: Points
    moved: Points

    @property
    def times(self) -> float:
        """How many times as long as they are residuals are drawn, a round number, so that they can be seen."""
        return enlargement(self.there, self.moved)


def letter_size(shape: tuple[int, int]) -> float:
    """Letters that can be read, and cover little, in a picture of so many rows and columns."""
    return max(9.0, min(shape) / 40)


def scale_bar(shape: tuple[int, int], unit_per_pixel: float, symbol: str, below: int, offset: int) -> list[Mark]:
    """A bar and its length in the lower left corner, above the row `below`; nothing where there is no room.

    Parameters
    ----------
    shape : (int, int)
        Rows and columns of the picture.
    unit_per_pixel : float
        Length of one of its pixels.
    symbol : {"µm", "px"}
        What that is measured in.
    below : int
        The row that the corner ends at: where an instrument's own data bar begins.
    offset : int
        Rows of the figure above the picture.
    """
    size = letter_size(shape)
    length = nice_length(0.22 * shape[1] * unit_per_pixel)
    words, width = length_label(length, symbol), length / unit_per_pixel
    box = max(width, text_width(words, size)) + size, 2.6 * size
    left, top = size / 2, below - size / 2 - box[1]
    if top < 0 or left + box[0] > shape[1]:
        return []
    top += offset
    bar = Box(left + size / 2, top + box[1] - 0.75 * size, width, 0.25 * size, WHITE)
    return [
        Box(left, top, *box, _BLACK, 0.65),
        bar,
        Words(left + size / 2, top + 0.9 * size, words, size),
    ]


def legend(names: Sequence[tuple[str, RGB]], width: int, top: int, size: float) -> tuple[list[Mark], int]:
    """A band below the picture with a patch of colour and a name for each channel, and how many rows it takes.

    Parameters
    ----------
    names : sequence of (str, RGB)
        What is shown, and in which colour.
    width, top : int
        Columns of the picture, and the row that the band begins at.
    size : float
        Of the letters.
    """
    lines: list[list[tuple[str, RGB, float]]] = [[]]
    left = size
    for name, colour in names:
        short = _fitting(name, width - 3.5 * size, size)
        takes = 3 * size + text_width(short, size)
        if lines[-1] and left + takes > width:
            lines.append([])
            left = size
        lines[-1].append((short, colour, left))
        left += takes
    height = round((1.7 * len(lines) + 0.4) * size)
    marks: list[Mark] = [Box(0, top, width, height, BAND)]
    for number, line in enumerate(lines):
        middle = top + (1.05 + 1.7 * number) * size
        for name, colour, left in line:
            marks.append(Box(left, middle - size / 2, size, size, colour))
            marks.append(Words(left + 1.5 * size, middle, name, size))
    return marks, height


def band(words: str, width: int, size: float) -> tuple[list[Mark], int]:
    """A band above the picture for what must not be overlooked, and how many rows it takes."""
    height = round(2.2 * size)
    return [
        Box(0, 0, width, height, BAND),
        Words(size, height / 2, _fitting(words, width - 2 * size, size), size),
    ], height


def landmarks(found: Landmarks, shape: tuple[int, int], top: int) -> list[Mark]:
    """A ring with a number at each landmark, and a line that shows its residual, `Landmarks.times` as long as it is."""
    size = letter_size(shape)
    radius, width, times = 0.5 * size, max(1.0, size / 8), found.times
    marks: list[Mark] = []
    for number, (place, other) in enumerate(zip(found.there, found.moved, strict=True), start=1):
        x, y = float(place[0]), float(place[1]) + top
        for colour, thick in ((_BLACK, 2.2 * width), (_MARKED, width)):
            if np.isfinite(other).all():
                end = x + times * float(other[0] - place[0]), y + times * float(other[1] - place[1])
                marks.append(Line((x, y), end, thick, colour))
            marks.append(Ring(x, y, radius, thick, colour))
        words = str(number)
        marks.append(Box(x + 0.8 * size, y - 1.5 * size, text_width(words, 0.8 * size) + 0.4 * size, size, _BLACK, 0.5))
        marks.append(Words(x + size, y - size, words, 0.8 * size))
    return marks


def _fitting(words: str, width: float, size: float) -> str:
    """Words cut off where they would not fit."""
    while text_width(words, size) > width and len(words) > 2:
        words = words[:-3] + ".." if words.endswith("..") else words[:-2] + ".."
    return words
