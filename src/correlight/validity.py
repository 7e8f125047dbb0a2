"""Which pixels of a picture show the specimen: not the padding around it, not a burned-in data bar.

Everything here errs on the side of keeping pixels. A region is given up only where its outline proves that it was
made by a computer: a straight-sided frame of one exact value that picture content touches all along, or a strip with
writing that begins within one row over the full width. The empty background of a sparse fluorescence image is one
exact value as well, but nothing touches the sides of its outline, and it stays valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import UsageError
from correlight.image import Float, Mask

Polygon = NDArray[np.float64]

RIM = 1.5  # pixels lost along a padding edge, where interpolation mixed the content with the fill
_SIDES = 8  # a rotated rectangle cut by the frame of its canvas has no more
_OCCUPIED = 0.9  # part of an outline that must be touched by content, in length
_LEAST = 0.005  # part of the pixels below which padding is not worth a doubt
_DEPTH = 4  # pixels from a side within which content touches it


@dataclass(frozen=True, slots=True, eq=False)
class Validity:
    """Valid pixels of a picture and what was found about the others.

    Parameters
    ----------
    mask : (Y, X) array of bool
        True where the picture shows the specimen.
    findings : tuple of str
        One sentence for each thing that is ignored; empty where every pixel is valid.
    """

    mask: Mask
    findings: tuple[str, ...] = ()


def find_valid(grey: ArrayLike) -> Validity:
    """Find constant padding, burned-in data bars and pixels that are not numbers.

    Parameters
    ----------
    grey : (Y, X) array
        One channel, or the mean of the colours; any real type, exact values as in the file.

    Returns
    -------
    Validity
        The mask is all True and the findings are empty for an ordinary picture.

    Raises
    ------
    UsageError
        If the array is not two-dimensional.

    Notes
    -----
    Padding is sought as follows. For each value that stands in long runs along the frame, the convex hull of all
    *other* pixels is simplified to a polygon of few sides. It is the edge of the content if pixels of other values
    lie close to the sides nearly everywhere, whatever the value and however often it occurs within the content.
    Missing tiles of a mosaic are constant regions whose outline runs along a few rows and columns. Fails to see
    padding of the same value as an empty background, and padding that a lossy file format made uneven. Takes about
    10 ns per pixel.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> picture = np.zeros((200, 200), np.float32)
    >>> picture[:, 50:] = rng.normal(100, 10, (200, 150))
    >>> find_valid(picture).findings
    ('constant padding (value 0) around the picture, 26 % of the pixels, is ignored',)
    """
    return find_valid_channels((grey,))


def find_valid_channels(channels: Sequence[ArrayLike]) -> Validity:
    """Find what is not valid in a picture of several channels that were taken on one grid.

    Parameters
    ----------
    channels : sequence of (Y, X) arrays
        Their exact values.

    Returns
    -------
    Validity
        A pixel counts as padding only if every channel is constant in the region, a row as part of a data bar if
        any channel has one, and a pixel as missing if any channel has no finite number there.

    Raises
    ------
    UsageError
        If there is no channel, or they are not two-dimensional and of one shape.
    """
    shapes = {np.shape(channel) for channel in channels}
    if len(shapes) != 1 or len(shape := shapes.pop()) != 2:
        raise UsageError(f"Valid pixels are sought in (Y, X) channels of one shape; got the shapes {sorted(shapes)}.")
    pixels = [np.ascontiguousarray(channel, dtype=np.float32) for channel in channels]
    mask = np.ones(shape, bool)
    for channel in pixels:
        mask &= np.isfinite(channel)
    findings: list[str] = []
    missing = 1.0 - float(mask.mean())
    if missing > 0:
        findings.append(f"pixels that are not finite numbers, {_percent(missing)}, are ignored")
        pixels = [np.where(np.isfinite(channel), channel, np.float32(np.nan)) for channel in pixels]
    heights = np.array([_data_bars(channel) for channel in pixels]).max(axis=0)
    first, last = int(heights[0]), shape[0] - int(heights[1])
    for rows, where in zip(heights, ("top", "bottom"), strict=True):
        if rows:
            findings.append(f"a data bar of {rows} rows at the {where} is ignored")
    mask[:first] = False
    mask[last:] = False
    inner, padding = _shared_padding([channel[first:last] for channel in pixels])
    mask[first:last] &= inner
    return Validity(mask, (*findings, *padding))


def _percent(fraction: float) -> str:
    percent = 100 * fraction
    return f"{percent:.0f} % of the pixels" if percent >= 1 else f"{percent:.2g} % of the pixels"


# ---------------------------------------------------------------------------------------------------- data bars


def _data_bars(pixels: Float) -> tuple[int, int]:
    """Heights of the data bars at the top and at the bottom, in rows; 0 where there is none."""
    return _bar_height(pixels[::-1]), _bar_height(pixels)


def _bar_height(pixels: Float) -> int:
    """Rows of a data bar at the end of ``pixels``.

    A bar has one paper colour on most of every row, writing that is far from it in grey, and begins so abruptly
    that no row above shares its paper. Frame lines, all of one other value, count as paper.
    """
    height, width = pixels.shape
    reach = int(0.3 * height)
    if reach < 8 or width < 64:
        return 0
    strip = pixels[-max(8, height // 50) :]
    if np.isnan(strip).any():
        return 0
    low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
    paper, tolerance = float(np.median(strip)), 0.02 * (high - low)
    if not np.mean(np.abs(strip - paper) <= tolerance) >= 0.4:
        return 0
    end = pixels[-reach - 4 :]
    on_paper = np.abs(end - paper) <= tolerance
    share = on_paper.mean(axis=1)
    lined = end.max(axis=1) - end.min(axis=1) <= tolerance
    like_bar = (share >= 0.5) | lined
    if like_bar.all():
        return 0
    rows = int(np.argmin(like_bar[::-1]))
    above, bar = end[: len(end) - rows], on_paper[len(end) - rows :]
    if not 8 <= rows <= reach or share[len(above) - 3 : len(above)].max() > 0.25:
        return 0
    starts_blank = bool(((share[-rows:] > 0.9) | lined[-rows:])[:3].any())
    writing = ~bar[~lined[-rows:]]
    inked = float(writing.mean()) if writing.size else 0.0
    ink = end[-rows:][~bar]
    stark = bool(ink.size) and float(np.percentile(np.abs(ink - paper), 90)) > 0.4 * (high - low)
    return rows if starts_blank and stark and 0.002 <= inked <= 0.45 else 0


# ------------------------------------------------------------------------------------------------------ padding


def _shared_padding(channels: Sequence[Float]) -> tuple[Mask, list[str]]:
    """The largest padding found in any channel that every other channel agrees with."""
    best = (np.ones(channels[0].shape, bool), list[str]())
    for channel in channels:
        mask, findings = _find_padding(channel)
        if not findings or mask.sum() >= best[0].sum():
            continue
        # The rim lost along the padding holds content, so only what lies deeper must be constant.
        depth = 2 * int(np.ceil(2 * RIM)) + 1
        deep = cv2.erode((~mask).astype(np.uint8), np.ones((depth, depth), np.uint8)).astype(bool)
        if all(other is channel or len(np.unique(other[deep])) <= len(findings) for other in channels):
            best = mask, findings
    return best


def _find_padding(pixels: Float) -> tuple[Mask, list[str]]:
    """Mask and findings for constant padding; one frame of padding may lie within another."""
    height, width = pixels.shape
    mask = np.ones(pixels.shape, bool)
    findings: list[str] = []
    frame = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    inset = 0.0
    for _ in range(2):
        found = _padded(pixels, frame, inset)
        if found is None:
            break
        value, frame = found
        inner = _paint(_shrunk(frame, RIM, (height, width)), pixels.shape) & mask
        share = 1.0 - float(inner.sum()) / mask.size
        mask = inner
        findings = [*findings, f"constant padding (value {value:g}) around the picture, {_percent(share)}, is ignored"]
        inset = 2 * RIM
    if not findings:
        for value in _border_values(pixels, frame, 0.0):
            tiles = _missing_tiles(pixels == value)
            if tiles is not None:
                mask &= ~tiles
                share = float(tiles.mean())
                findings.append(f"missing tiles of the constant value {value:g}, {_percent(share)}, are ignored")
    return mask, findings


def _padded(pixels: Float, frame: Polygon, inset: float) -> tuple[float, Polygon] | None:
    """The value that pads the inside of a frame, and the outline (x, y) of the content; None without padding."""
    whole = inset == 0
    outer = frame if whole else _shrunk(frame, inset, pixels.shape)
    if len(outer) < 3:
        return None
    finite = bool(np.isfinite(pixels.sum(dtype=np.float64)))
    inside = None if whole else _paint(outer, pixels.shape)
    for value in _border_values(pixels, outer, 0.0 if whole else 1.0):
        content = pixels != value
        if not finite:
            content &= ~np.isnan(pixels)
        if inside is not None:
            content &= inside
        outline = _outline(content, outer)
        if outline is not None:
            return value, outline
    return None


def _border_values(pixels: Float, frame: Polygon, inset: float) -> list[float]:
    """Values that stand in long runs along a frame, the most frequent first, three at most."""
    counts: dict[float, int] = {}
    line = _shrunk(frame, inset, pixels.shape) if inset else frame
    for start, stop in pairwise([*line, line[0]]):
        length = int(np.hypot(*(stop - start)))
        if length < 8:
            continue
        x, y = np.rint(np.linspace(start, stop, length + 1)).astype(int).T
        values = pixels[y.clip(0, pixels.shape[0] - 1), x.clip(0, pixels.shape[1] - 1)]
        ends = np.flatnonzero(np.append(values[1:] != values[:-1], True))
        runs = np.diff(ends, prepend=-1)
        for value, run in zip(values[ends], runs, strict=True):
            if run >= max(8, 0.04 * length) and np.isfinite(value):
                counts[float(value)] = counts.get(float(value), 0) + int(run)
    return sorted(counts, key=lambda value: -counts[value])[:3]


def _outline(content: Mask, frame: Polygon) -> Polygon | None:
    """The polygon (x, y) that content fills up to its sides within a frame; None if it does not, or fills it all."""
    rows = np.flatnonzero(content.any(axis=1))
    if len(rows) < 16:
        return None
    first = content[rows].argmax(axis=1)
    last = content.shape[1] - 1 - content[rows, ::-1].argmax(axis=1)
    ends = np.concatenate([np.stack([first, rows], 1), np.stack([last, rows], 1)]).astype(np.int32)
    hull = cv2.convexHull(ends)[:, 0].astype(float)
    area, total = abs(_area(hull)), abs(_area(frame))
    if len(hull) < 3 or area < 0.02 * total or total - area < _LEAST * total:
        return None
    polygon = _few_sides(hull, content, frame, allowance=0.03 * area)
    if len(polygon) > _SIDES or total - abs(_area(polygon)) < _LEAST * total:
        return None
    inner = [side for side in _sides(polygon) if not _on_frame(side, frame)]
    lengths = np.array([np.hypot(*(b - a)) for a, b in inner])
    touched = np.array([_touched(side, content, polygon) for side in inner])
    long = lengths > 0.03 * lengths.sum()
    if not long.any() or touched[long].min() < 0.7 or float(touched @ lengths / lengths.sum()) < _OCCUPIED:
        return None
    return polygon


def _few_sides(hull: Polygon, content: Mask, frame: Polygon, allowance: float) -> Polygon:
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
    while 3 < len(polygon) <= 4 * _SIDES:
        sides = _sides(polygon)
        loose = [
            (height * np.hypot(*(sides[i][1] - sides[i][0])) / 2, i, tip)
            for i, (tip, height) in enumerate(_tip(polygon, i) for i in range(len(polygon)))
            if np.isfinite(height) and not _on_frame(sides[i], frame)
            if _touched(sides[i], content, polygon) < 0.5
        ]
        if not loose:
            break
        added, index, tip = min(loose, key=lambda entry: entry[0])
        if added > allowance:
            break
        allowance -= added
        polygon = _without_side(polygon, index, tip)
    return polygon


def _sides(polygon: Polygon) -> list[tuple[Polygon, Polygon]]:
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


def _on_frame(side: tuple[Polygon, Polygon], frame: Polygon) -> bool:
    """Whether a side of the content runs along a side of the frame, so that no padding lies between them."""
    for start, stop in _sides(frame):
        direction = (stop - start) / max(float(np.hypot(*(stop - start))), 1e-9)
        normal = np.array([-direction[1], direction[0]])
        if all(abs(float((end - start) @ normal)) < 2.0 for end in side):
            return True
    return False


def _touched(side: tuple[Polygon, Polygon], content: Mask, polygon: Polygon) -> float:
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


def _shrunk(polygon: Polygon, by: float, shape: tuple[int, ...]) -> Polygon:
    """A convex polygon whose sides have moved inwards by some pixels, except those along the edge of the picture."""
    height, width = shape
    edge = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    result = polygon
    for side in _sides(polygon):
        length = float(np.hypot(*(side[1] - side[0])))
        if length > 0 and len(result) and not _on_frame(side, edge):
            result = _clipped(result, side[0], _inward(side, polygon), by)
    return result


def _clipped(polygon: Polygon, point: Polygon, normal: Polygon, by: float) -> Polygon:
    """The part of a convex polygon at least ``by`` pixels from a line, on the side its unit normal points to."""
    inside = (polygon - point) @ normal - by
    kept = []
    for index, (a, b) in enumerate(_sides(polygon)):
        here, there = inside[index], inside[(index + 1) % len(polygon)]
        if here >= 0:
            kept.append(a)
        if (here >= 0) != (there >= 0):
            kept.append(a + (b - a) * here / (here - there))
    return np.array(kept) if len(kept) >= 3 else np.empty((0, 2))


def _inward(side: tuple[Polygon, Polygon], polygon: Polygon) -> Polygon:
    """Unit normal of a side that points into the convex polygon."""
    start, stop = side
    x, y = (stop - start) / float(np.hypot(*(stop - start)))
    normal = np.array([-y, x])
    return normal if (polygon.mean(axis=0) - start) @ normal >= 0 else -normal


def _paint(polygon: Polygon, shape: tuple[int, ...]) -> Mask:
    """Pixels whose centres lie within a polygon (x, y)."""
    canvas = np.zeros(shape, np.uint8)
    if len(polygon) >= 3:
        cv2.fillConvexPoly(canvas, np.rint(polygon * 256).astype(np.int32), 1, shift=8)
    return canvas.astype(bool)


def _area(polygon: Polygon) -> float:
    x, y = polygon.T
    return 0.5 * float(x @ np.roll(y, -1) - y @ np.roll(x, -1))


def _missing_tiles(flat: Mask) -> Mask | None:
    """The part of a constant region that rectangles at the border of the picture make up, or None."""
    height, width = flat.shape
    size = max(16, min(height, width) // 16)
    opened = cv2.morphologyEx(
        flat.astype(np.uint8),
        cv2.MORPH_OPEN,
        np.ones((size, size), np.uint8),
        borderType=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    if not 0.005 * flat.size <= int(opened.sum()) <= 0.9 * flat.size:
        return None
    tiles = opened.astype(bool)
    for region, content in ((tiles, ~flat), (tiles.T, ~flat.T)):
        change = region[1:] != region[:-1]
        per_row = change.sum(axis=1)
        steps = np.flatnonzero(per_row)
        if len(steps) > 6:
            return None
        for step in steps:
            columns: NDArray[np.intp] = np.flatnonzero(change[step])
            upper = bool(region[step, columns[0]])
            near = content[step + 1 : step + 1 + _DEPTH] if upper else content[max(0, step + 1 - _DEPTH) : step + 1]
            pieces = np.array_split(near[:, columns].any(axis=0), max(1, min(40, len(columns) // 4)))
            if float(np.mean([piece.any() for piece in pieces])) < _OCCUPIED:
                return None
    return tiles
