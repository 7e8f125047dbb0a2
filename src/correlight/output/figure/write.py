"""A picture and what is drawn onto it, written as PNG or TIFF, or as PDF or SVG with letters that stay letters."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.display import encode
from correlight.io.write import write_ome_tiff
from correlight.output.figure.marks import BAND, Box, Line, Mark, Ring, Words
from correlight.output.report.pictures import Colour, lettering

PICTURES, VECTORS = (".png", ".tif", ".tiff"), (".pdf", ".svg")
_ALONE = {"font.family": "DejaVu Sans", "image.composite_image": False}
_DPI = 300  # pixels of the picture in an inch of paper


def must_be_writable(path: Path) -> None:
    """Refuse a file that no figure can be, before any work is done.

    Raises
    ------
    UsageError
        If its name says no format, or one that takes a package that is not installed.
    """
    kind = path.suffix.lower()
    if kind not in (*PICTURES, *VECTORS):
        raise UsageError(f"A figure is a file ending in {', '.join((*PICTURES, *VECTORS))}; got {path.name}.")
    if kind in VECTORS and find_spec("matplotlib") is None:
        raise UsageError(
            f"{kind} takes the package matplotlib, which is not installed; install correlight[notebook], or write "
            "a PNG or TIFF."
        )


def write(path: Path, picture: Colour, offset: int, marks: Sequence[Mark], shape: tuple[int, int], grid: Grid) -> None:
    """Write a picture with what is drawn onto it.

    Parameters
    ----------
    path : Path
        Its ending says the format.
    picture : (Y, X, 3) array of uint8
        The overlay.
    offset : int
        Rows of the figure above the picture.
    marks : sequence of Mark
        What is drawn onto it, in pixels of the figure.
    shape : (int, int)
        Rows and columns of the figure.
    grid : Grid
        Where the pixels of the picture lie, for formats that state sizes.
    """
    if path.suffix.lower() in VECTORS:
        _write_vectors(path, picture, offset, marks, shape)
        return
    drawn = painted(picture, offset, marks, shape)
    if path.suffix.lower() == ".png":
        path.write_bytes(encode(drawn, "png"))
        return
    whole = Grid.of(shape, grid.spacing, unit=grid.unit)
    write_ome_tiff(path, np.moveaxis(drawn, -1, 0), whole, ("red", "green", "blue"), rgb=True)


def painted(picture: Colour, offset: int, marks: Sequence[Mark], shape: tuple[int, int]) -> Colour:
    """The figure as pixels, ``(rows, columns, 3)``."""
    out = np.empty((*shape, 3), np.uint8)
    out[:] = BAND
    out[offset : offset + picture.shape[0], : picture.shape[1]] = picture
    for mark in marks:
        _paint(out, mark)
    return out


def _paint(out: Colour, mark: Mark) -> None:
    if isinstance(mark, Box):
        rows = slice(max(0, round(mark.y)), max(0, round(mark.y + mark.height)))
        columns = slice(max(0, round(mark.x)), max(0, round(mark.x + mark.width)))
        covered = out[rows, columns].astype(np.float32)
        out[rows, columns] = np.round(covered * (1 - mark.opacity) + np.asarray(mark.colour, np.float32) * mark.opacity)
    elif isinstance(mark, Words):
        letters = lettering(_drawable(mark.text), mark.size)
        top, left = round(mark.y - 0.36 * mark.size - _ascent(mark.size)), round(mark.x)
        first = max(0, -top), max(0, -left)
        if first[0] >= letters.shape[0] or first[1] >= letters.shape[1]:
            return
        part = out[max(0, top) :, max(0, left) :][: letters.shape[0] - first[0], : letters.shape[1] - first[1]]
        weight = letters[first[0] :, first[1] :][: part.shape[0], : part.shape[1], None].astype(np.float32) / 255
        part[:] = np.round(part * (1 - weight) + np.asarray(mark.colour, np.float32) * weight)
    elif isinstance(mark, Line):
        start, end = ((round(16 * x), round(16 * y)) for x, y in (mark.start, mark.end))
        cv2.line(out, start, end, mark.colour, max(1, round(mark.width)), cv2.LINE_AA, 4)
    elif isinstance(mark, Ring):
        place = round(16 * mark.x), round(16 * mark.y)
        cv2.circle(out, place, round(16 * mark.radius), mark.colour, max(1, round(mark.width)), cv2.LINE_AA, 4)


def _ascent(size: float) -> float:
    """How far above the upper end of a capital the letters of a line begin."""
    # DejaVu Sans: a bracket reaches 0.76 above the line that letters stand on, a capital 0.73.
    return 0.03 * size + math.ceil(0.01 * size)


def not_in_the_font(marks: Sequence[Mark]) -> list[str]:
    """The letters among words that the font of pictures does not have."""
    words = "".join(mark.text for mark in marks if isinstance(mark, Words))
    return list(dict.fromkeys(letter for letter in words if not _has(letter)))


def _has(letter: str) -> bool:
    return letter in "µ°" or " " <= letter <= "~"


def _drawable(text: str) -> str:
    """Words in letters that the font of pictures has."""
    return "".join(letter if _has(letter) else "?" for letter in text)


def _write_vectors(path: Path, picture: Colour, offset: int, marks: Sequence[Mark], shape: tuple[int, int]) -> None:
    """The picture as it is, embedded without loss; lines and letters as such, which programs of drawing can change."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    height, width = shape
    letters: Any = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "correlight", **_ALONE}
    with rc_context(letters):
        figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI, facecolor=_part(BAND))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(height, 0))
        axes.set_axis_off()
        extent = (0, picture.shape[1], offset + picture.shape[0], offset)
        axes.imshow(picture, extent=extent, interpolation="none", aspect="auto", zorder=0)
        axes.set(xlim=(0, width), ylim=(height, 0))
        for order, mark in enumerate(marks, start=1):
            _draw(axes, mark, order)
        # No time of writing, so that the same figure is the same file.
        moment = {"CreationDate": None} if path.suffix.lower() == ".pdf" else {"Date": None}
        figure.savefig(path, format=path.suffix[1:].lower(), metadata=moment, facecolor=_part(BAND))


def _draw(axes: Any, mark: Mark, order: int) -> None:
    from matplotlib.patches import Circle, Rectangle

    points = 72 / _DPI
    if isinstance(mark, Box):
        place = (mark.x, mark.y), mark.width, mark.height
        axes.add_patch(Rectangle(*place, facecolor=_part(mark.colour), alpha=mark.opacity, linewidth=0, zorder=order))
    elif isinstance(mark, Words):
        # Letters stand on a line half a capital below the middle; "$" is one of them and begins no formula.
        below = mark.y + 0.365 * mark.size
        letters: dict[str, Any] = {"fontsize": mark.size * points, "color": _part(mark.colour), "parse_math": False}
        axes.text(mark.x, below, mark.text, va="baseline", ha="left", zorder=order, **letters)
    elif isinstance(mark, Line):
        x, y = zip(mark.start, mark.end, strict=True)
        axes.plot(x, y, color=_part(mark.colour), linewidth=mark.width * points, zorder=order)
    elif isinstance(mark, Ring):
        circle = Circle((mark.x, mark.y), mark.radius, fill=False, edgecolor=_part(mark.colour), zorder=order)
        circle.set_linewidth(mark.width * points)
        axes.add_patch(circle)


def _part(colour: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = (part / 255 for part in colour)
    return red, green, blue
