"""Missing tiles of a mosaic, and gaps between its tiles, anywhere in an image.

A region of one exact value counts as missing where its outline runs along a few rows and columns only and content of
other values lies close to it all along. The empty background of a sparse image has an outline of many short steps.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Float32, Mask

_DEPTH = 4  # pixels from the edge of a missing tile within which content must lie
_OCCUPIED = 0.9  # part of an outline that must be touched by content, in length
_MOST = 0.9  # part of the pixels
_SMALLEST = 16  # pixels along a side of a tile
_THIN = 2  # pixels across the narrowest gap
_LONG = 0.3  # length of a gap, as part of the side of the image; burned-in scale bars are shorter
_STEPS = 24  # rows, and columns, that the outline of one region may run along
_STRAIGHT = 16  # pixels that it runs along one of them, on average
_LINES = 48  # rows, and columns, that are examined for constant values
_VALUES = 3


def constant_values(pixels: Float32) -> list[float]:
    """Values that stand in long runs within an image, the most frequent first, three at most.

    Parameters
    ----------
    pixels : (Y, X) array of float32
        The picture.
    """
    counts: dict[float, int] = {}
    for lines in (pixels, pixels.T):
        count, length = lines.shape
        shortest = max(_SMALLEST, length // 16)
        for number in np.unique(np.linspace(0, count - 1, min(count, _LINES)).astype(int)):
            line = lines[number]
            ends = np.flatnonzero(np.append(line[1:] != line[:-1], True))
            runs = np.diff(ends, prepend=-1)
            long = runs >= shortest
            for value, run in zip(line[ends[long]].tolist(), runs[long].tolist(), strict=True):
                if np.isfinite(value):
                    counts[value] = counts.get(value, 0) + run
    for value in _across(pixels):
        counts.setdefault(value, 0)
    return sorted(counts, key=lambda value: -counts[value])[:_VALUES]


def _across(pixels: Float32) -> list[float]:
    """Values of whole parts of rows or columns: a narrow gap may lie between the lines that are examined."""
    found = []
    for lines in (pixels, pixels.T):
        # Along a gap, each of a few places far from each other has the value of its neighbour.
        places = np.linspace(0, lines.shape[1] - 2, 12).astype(int)
        equal = lines[:, places] == lines[:, places + 1]
        for number in np.flatnonzero(equal.sum(axis=1) >= _LONG * len(places))[:200]:
            values, times = np.unique(lines[number, places][equal[number]], return_counts=True)
            if times.max() >= _LONG * len(places):
                found.append(float(values[times.argmax()]))
    values, times = np.unique(found, return_counts=True)
    return [float(value) for value in values[np.argsort(-times)][:_VALUES] if np.isfinite(value)]


def missing_tiles(flat: Mask) -> Mask | None:
    """The part of a constant region that missing tiles and gaps between tiles make up.

    Parameters
    ----------
    flat : (Y, X) array of bool
        Where the image has one certain value.

    Returns
    -------
    array of bool or None
        None where there are none.
    """
    height, width = flat.shape
    size = max(_SMALLEST, min(height, width) // 16)
    region = opened(flat, size, size)
    gaps = opened(flat, _THIN, max(2 * _SMALLEST, int(_LONG * width)))
    gaps |= opened(flat, max(2 * _SMALLEST, int(_LONG * height)), _THIN)
    region |= _without_crumbs(gaps & ~region)
    if not 0 < int(region.sum()) <= _MOST * flat.size:
        return None
    count, labels, about, _ = cv2.connectedComponentsWithStats(region.astype(np.uint8), connectivity=4)
    found = np.zeros(flat.shape, bool)
    for number in sorted(range(1, count), key=lambda label: -about[label, cv2.CC_STAT_AREA])[:100]:
        left, top, across, down = (int(about[number, place]) for place in range(4))
        # A margin of the depth, so that the content beside the region is seen, and the frame where it ends there.
        part = np.s_[max(0, top - _DEPTH) : top + down + _DEPTH, max(0, left - _DEPTH) : left + across + _DEPTH]
        if _is_made_of_rectangles(labels[part] == number, ~flat[part]):
            found |= labels == number
    return found if found.any() else None


def opened(flat: Mask, rows: int, columns: int) -> Mask:
    """What rectangles of a size, each of them all true, make up; exact for odd and even sizes alike.

    Parameters
    ----------
    flat : (Y, X) array of bool
        The region.
    rows, columns : int
        Size of the rectangles.
    """
    if rows > flat.shape[0] or columns > flat.shape[1]:
        return np.zeros(flat.shape, bool)
    # The anchors are opposite corners: with the middle for both, the region moves by a pixel where a size is even.
    corners = _counted(_counted(flat, columns, 0, anchor=0) == columns, rows, 1, anchor=0) == rows
    grown = _counted(corners, columns, 0, anchor=columns - 1) > 0
    return np.asarray(_counted(grown, rows, 1, anchor=rows - 1) > 0)


def _counted(flat: Mask, length: int, axis: int, anchor: int) -> NDArray[np.integer]:
    """How many pixels are true among so many neighbours along x (0) or y (1); outside the image none are.

    The time does not depend on the length, as that of an erosion does: of a large image it would take a minute.
    """
    size, place = ((length, 1), (anchor, 0)) if axis == 0 else ((1, length), (0, anchor))
    depth = cv2.CV_16U if length < 2**16 else cv2.CV_32S
    return np.asarray(
        cv2.boxFilter(
            np.ascontiguousarray(flat).view(np.uint8),
            depth,
            size,
            anchor=place,
            normalize=False,
            borderType=cv2.BORDER_CONSTANT,
        )
    )


def _without_crumbs(gaps: Mask) -> Mask:
    """Gaps without the few pixels beside a tile that happen to have its value and so seem to prolong it."""
    _, labels, about, _ = cv2.connectedComponentsWithStats(gaps.astype(np.uint8), connectivity=4)
    long = about[:, [cv2.CC_STAT_WIDTH, cv2.CC_STAT_HEIGHT]].max(axis=1) >= _SMALLEST
    return np.asarray(gaps & long[labels])


def _is_made_of_rectangles(region: Mask, content: Mask) -> bool:
    """Whether the outline runs along few rows and columns, with content close to it nearly everywhere."""
    for inside, outside in ((region, content), (region.T, content.T)):
        change = inside[1:] != inside[:-1]
        lengths = change.sum(axis=1)
        steps = np.flatnonzero(lengths)
        if len(steps) > _STEPS or (len(steps) and lengths[steps].mean() < _STRAIGHT):
            return False
        for step in steps:
            for upper in (True, False):
                columns = np.flatnonzero(change[step] & (inside[step] == upper))
                near = outside[step + 1 : step + 1 + _DEPTH] if upper else outside[max(0, step + 1 - _DEPTH) : step + 1]
                if len(columns) and _touched(near, columns) < _OCCUPIED:
                    return False
    return True


def _touched(near: Mask, columns: NDArray[np.intp]) -> float:
    """Part of a side, in pieces, that content comes close to."""
    pieces = np.array_split(near[:, columns].any(axis=0), max(1, min(40, len(columns) // 4)))
    return float(np.mean([piece.any() for piece in pieces]))
