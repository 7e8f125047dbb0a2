"""Convex polygons around the content of an image: few sides, and content close to each of them.

Corners are (x, y) in pixels, in either turn; a side is a pair of neighbouring corners.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Mask

Polygon = NDArray[np.float64]
Side = tuple[Polygon, Polygon]

SIDES = 8  # a rotated rectangle cut by the frame of its canvas has no more
_DEPTH = 4  # pixels from a side within which content touches it


def few_sides(hull: Polygon, content: Mask, frame: Polygon, allowance: float) -> Polygon:
    """A hull with fewer sides: short ones go where the neighbours, prolonged, meet close outside.

    Sides that cut off a corner where the content happens to have the value of the padding go as well, as long as
    all of them together add no more area than ``allowance``.
    """
    polygon = hull
    while len(polygon) > 3:
        tips = [_tip(polygon, index) for index in range(len(polygon))]
        heights = np.array([tip[1] for tip in tips])
        best = int(heights.argmin())
        if heights[best] > 1.5:
            break
        polygon = _without_side(polygon, best, tips[best][0])
    while 3 < len(polygon) <= 4 * SIDES:
        around = sides(polygon)
        loose = [
            (height * np.hypot(*(around[i][1] - around[i][0])) / 2, i, tip)
            for i, (tip, height) in enumerate(_tip(polygon, i) for i in range(len(polygon)))
            if np.isfinite(height) and not on_frame(around[i], frame)
            if touched(around[i], content, polygon) < 0.5
        ]
        if not loose:
            break
        added, index, tip = min(loose, key=lambda entry: entry[0])
        if added > allowance:
            break
        allowance -= added
        polygon = _without_side(polygon, index, tip)
    return polygon


def sides(polygon: Polygon) -> list[Side]:
    """The sides in order, the last one back to the first corner."""
    return list(pairwise([*polygon, polygon[0]]))


def _tip(polygon: Polygon, index: int) -> tuple[Polygon, float]:
    """Where the neighbours of side ``index`` meet, and how far outside of it; infinitely far if they do not."""
    n = len(polygon)
    a, b, c, d = (polygon[(index + k) % n] for k in (-1, 0, 1, 2))
    first, second, side = b - a, d - c, c - b
    cross = first[0] * second[1] - first[1] * second[0]
    turn = first[0] * side[1] - first[1] * side[0]
    if cross * turn <= 0:
        return b, np.inf
    along = (side[0] * second[1] - side[1] * second[0]) / cross
    tip = b + along * first
    offset = tip - b
    return tip, abs(side[0] * offset[1] - side[1] * offset[0]) / float(np.hypot(*side))


def _without_side(polygon: Polygon, index: int, tip: Polygon) -> Polygon:
    """The polygon whose side ``index`` has shrunk to the point where its neighbours meet."""
    n = len(polygon)
    kept = [polygon[k] if k != index else tip for k in range(n) if k != (index + 1) % n]
    return np.array(kept)


def on_frame(side: Side, frame: Polygon) -> bool:
    """Whether a side of the content runs along a side of the frame, so that no padding lies between them."""
    for start, stop in sides(frame):
        direction = (stop - start) / max(float(np.hypot(*(stop - start))), 1e-9)
        normal = np.array([-direction[1], direction[0]])
        if all(abs(float((end - start) @ normal)) < 2.0 for end in side):
            return True
    return False


def touched(side: Side, content: Mask, polygon: Polygon) -> float:
    """Fraction of a side that content comes close to."""
    start, stop = side
    length = float(np.hypot(*(stop - start)))
    if length < 4:
        return 1.0
    along = np.arange(1.0, length - 1)[:, None] / length * (stop - start)
    places = (start + along)[:, None] + np.arange(_DEPTH + 1.0)[:, None] * _inward(side, polygon)
    x, y = np.rint(places).astype(int).transpose(2, 0, 1)
    within = (x >= 0) & (y >= 0) & (x < content.shape[1]) & (y < content.shape[0])
    hit = (content[y.clip(0, content.shape[0] - 1), x.clip(0, content.shape[1] - 1)] & within).any(axis=1)
    pieces = np.array_split(hit, max(1, int(length / max(4.0, length / 40))))
    return float(np.mean([piece.any() for piece in pieces if piece.size]))


def shrunk(polygon: Polygon, by: float, shape: tuple[int, ...]) -> Polygon:
    """A convex polygon whose sides have moved inwards by some pixels, except those along the edge of the picture."""
    height, width = shape
    edge = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    result = polygon
    for side in sides(polygon):
        length = float(np.hypot(*(side[1] - side[0])))
        if length > 0 and len(result) and not on_frame(side, edge):
            result = _clipped(result, side[0], _inward(side, polygon), by)
    return result


def _clipped(polygon: Polygon, point: Polygon, normal: Polygon, by: float) -> Polygon:
    """The part of a convex polygon at least ``by`` pixels from a line, on the side its unit normal points to."""
    inside = (polygon - point) @ normal - by
    kept = []
    for index, (a, b) in enumerate(sides(polygon)):
        here, there = inside[index], inside[(index + 1) % len(polygon)]
        if here >= 0:
            kept.append(a)
        if (here >= 0) != (there >= 0):
            kept.append(a + (b - a) * here / (here - there))
    return np.array(kept) if len(kept) >= 3 else np.empty((0, 2))


def _inward(side: Side, polygon: Polygon) -> Polygon:
    """Unit normal of a side that points into the convex polygon."""
    start, stop = side
    x, y = (stop - start) / float(np.hypot(*(stop - start)))
    normal = np.array([-y, x])
    return normal if (polygon.mean(axis=0) - start) @ normal >= 0 else -normal


def paint(polygon: Polygon, shape: tuple[int, ...]) -> Mask:
    """Pixels whose centres lie within a polygon (x, y)."""
    canvas = np.zeros(shape, np.uint8)
    if len(polygon) >= 3:
        cv2.fillConvexPoly(canvas, np.rint(polygon * 256).astype(np.int32), 1, shift=8)
    return canvas.astype(bool)


def area(polygon: Polygon) -> float:
    """Area in square pixels."""
    x, y = polygon.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))
