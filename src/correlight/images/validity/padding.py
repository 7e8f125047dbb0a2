"""Constant padding around an image; missing tiles of a mosaic are sought in `correlight.images.validity.tiles`."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import cv2
import numpy as np

from correlight.images.image import Float32, Mask
from correlight.images.validity.polygon import SIDES, Polygon, area, few_sides, on_frame, paint, shrunk, sides, touched
from correlight.images.validity.tiles import constant_values, missing_tiles

RIM = 1.5  # pixels lost along a padding edge, where interpolation mixed the content with the fill
_OCCUPIED = 0.9  # part of an outline that must be touched by content, in length
_FEWEST = 16  # pixels along a side of a tile
_LEAST = 0.005  # part of the pixels below which padding is not worth a doubt


def shared_padding(channels: Sequence[Float32]) -> tuple[Mask, list[str]]:
    """The largest padding found in any channel that every other channel agrees with."""
    best = (np.ones(channels[0].shape, bool), list[str]())
    for channel in channels:
        mask, findings, rim = _find_padding(channel)
        if not findings or mask.sum() >= best[0].sum():
            continue
        # The rim lost along the padding holds content, so only what lies deeper must be constant.
        depth = 2 * int(np.ceil(2 * RIM)) + 1
        deep = cv2.erode((~mask).astype(np.uint8), np.ones((depth, depth), np.uint8)).astype(bool) if rim else ~mask
        if all(other is channel or len(np.unique(other[deep])) <= len(findings) for other in channels):
            best = mask, findings
    return best


def _find_padding(pixels: Float32) -> tuple[Mask, list[str], bool]:
    """Mask and findings for constant padding and missing tiles, and whether a rim of content is lost.

    One frame of padding may lie within another.
    """
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
        inner = paint(shrunk(frame, RIM, (height, width)), pixels.shape) & mask
        share = float(mask.sum() - inner.sum()) / mask.size
        mask = inner
        findings = [*findings, f"constant padding (value {value:g}) around the image, {percent(share)}, is ignored"]
        inset = 2 * RIM
    rim = bool(findings)
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    inner_part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] if len(rows) else np.s_[:0, :0]
    if mask[inner_part].all():  # tiles lie along rows and columns, so what was turned has none
        tiles_mask, said = _find_tiles(pixels[inner_part])
        mask[inner_part] &= tiles_mask
        findings = [*findings, *said]
    return mask, findings, rim


def _find_tiles(pixels: Float32) -> tuple[Mask, list[str]]:
    """Mask and findings for tiles of a mosaic that are missing, and for gaps between tiles."""
    mask, findings = np.ones(pixels.shape, bool), list[str]()
    if min(pixels.shape) < 2 * _FEWEST:
        return mask, findings
    height, width = pixels.shape
    frame = np.array([[0, 0], [width - 1, 0], [width - 1, height - 1], [0, height - 1]], float)
    for value in dict.fromkeys((*_border_values(pixels, frame, 0.0), *constant_values(pixels))):
        tiles = missing_tiles(pixels == np.float32(value))
        if tiles is not None:
            mask &= ~tiles
            share = percent(float(tiles.mean()))
            findings.append(f"missing tiles or gaps of the constant value {value:g}, {share}, are ignored")
    return mask, findings


def _padded(pixels: Float32, frame: Polygon, inset: float) -> tuple[float, Polygon] | None:
    """The value that pads the inside of a frame, and the outline (x, y) of the content; None without padding."""
    whole = inset == 0
    outer = frame if whole else shrunk(frame, inset, pixels.shape)
    if len(outer) < 3:
        return None
    finite = bool(np.isfinite(pixels.sum(dtype=np.float64)))
    inside = None if whole else paint(outer, pixels.shape)
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


def _border_values(pixels: Float32, frame: Polygon, inset: float) -> list[float]:
    """Values that stand in long runs along a frame, the most frequent first, three at most."""
    counts: dict[float, int] = {}
    line = shrunk(frame, inset, pixels.shape) if inset else frame
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
    filled, total = area(hull), area(frame)
    if len(hull) < 3 or filled < 0.02 * total or total - filled < _LEAST * total:
        return None
    polygon = few_sides(hull, content, frame, allowance=0.03 * filled)
    if len(polygon) > SIDES or total - area(polygon) < _LEAST * total:
        return None
    inner = [side for side in sides(polygon) if not on_frame(side, frame)]
    lengths = np.array([np.hypot(*(b - a)) for a, b in inner])
    close = np.array([touched(side, content, polygon) for side in inner])
    long = lengths > 0.03 * lengths.sum()
    if not long.any() or close[long].min() < 0.7 or float(close @ lengths / lengths.sum()) < _OCCUPIED:
        return None
    return polygon


def percent(fraction: float) -> str:
    """A part of the pixels in words."""
    number = 100 * fraction
    return f"{number:.0f} % of the pixels" if number >= 1 else f"{number:.2g} % of the pixels"
