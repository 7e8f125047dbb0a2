"""Burned-in data bars: strips with writing that instruments put below, or above, an image."""

from __future__ import annotations

import numpy as np

from correlight.images.image import Float32


def data_bars(pixels: Float32) -> tuple[int, int]:
    """Heights of the data bars at the top and at the bottom, in rows; 0 where there is none."""
    return _bar_height(pixels[::-1]), _bar_height(pixels)


def _bar_height(pixels: Float32) -> int:
    """Rows of a data bar at the end of ``pixels``.

    A bar has one paper colour on most of every row, writing that is far from it in grey, and begins so abruptly
    that no row above shares its paper. Frame lines, all of one other value, count as paper.
    """
    height, width = pixels.shape
    tallest = int(0.3 * height)
    if tallest < 8 or width < 64:
        return 0
    strip = pixels[-max(8, height // 50) :]
    if np.isnan(strip).any():
        return 0
    low, high = float(np.nanmin(pixels)), float(np.nanmax(pixels))
    paper, tolerance = float(np.median(strip)), 0.02 * (high - low)
    if not np.mean(np.abs(strip - paper) <= tolerance) >= 0.4:
        return 0
    end = pixels[-tallest - 4 :]
    on_paper = np.abs(end - paper) <= tolerance
    share = on_paper.mean(axis=1)
    lined = end.max(axis=1) - end.min(axis=1) <= tolerance
    like_bar = (share >= 0.5) | lined
    if like_bar.all():
        return 0
    rows = int(np.argmin(like_bar[::-1]))
    above, bar = end[: len(end) - rows], on_paper[len(end) - rows :]
    if not 8 <= rows <= tallest or share[len(above) - 3 : len(above)].max() > 0.25:
        return 0
    starts_blank = bool(((share[-rows:] > 0.9) | lined[-rows:])[:3].any())
    writing = ~bar[~lined[-rows:]]
    inked = float(writing.mean()) if writing.size else 0.0
    ink = end[-rows:][~bar]
    stark = bool(ink.size) and float(np.percentile(np.abs(ink - paper), 90)) > 0.4 * (high - low)
    return rows if starts_blank and stark and 0.002 <= inked <= 0.45 else 0
