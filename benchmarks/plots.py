"""Small line plots as SVG files, without a plotting library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

_SIDE, _LEFT, _TOP = 260, 52, 14


def curve(file: Path, points: Sequence[tuple[float, float]], across: str, up: str, *, diagonal: bool = False) -> None:
    """Draw points between 0 and 1, joined in their order.

    Parameters
    ----------
    file : Path
        Where.
    points : sequence of (x, y)
        Shares.
    across, up : str
        What the axes show.
    diagonal : bool
        Whether the line of equal shares is drawn as well.
    """

    def at(x: float, y: float) -> str:
        return f"{_LEFT + _SIDE * x:.1f},{_TOP + _SIDE * (1 - y):.1f}"

    ticks = "".join(
        f'<text x="{_LEFT + _SIDE * value}" y="{_TOP + _SIDE + 16}" text-anchor="middle">{value:g}</text>'
        f'<text x="{_LEFT - 6}" y="{_TOP + _SIDE * (1 - value) + 4}" text-anchor="end">{value:g}</text>'
        for value in (0, 0.5, 1)
    )
    line = (
        f'<polyline points="{at(0, 0)} {at(1, 1)}" stroke="#999" stroke-dasharray="4 4" fill="none"/>'
        if diagonal
        else ""
    )
    marks = points if len(points) < 30 else ()
    dots = "".join('<circle cx="{}" cy="{}" r="3" fill="#06c"/>'.format(*at(*mark).split(",")) for mark in marks)
    drawn = " ".join(at(*point) for point in points)
    middle = _TOP + _SIDE / 2
    file.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_LEFT + _SIDE + 16}" height="{_TOP + _SIDE + 42}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none" stroke="#444"/>{line}'
        f'<polyline points="{drawn}" fill="none" stroke="#06c" stroke-width="1.5"/>{dots}{ticks}'
        f'<text x="{_LEFT + _SIDE / 2}" y="{_TOP + _SIDE + 34}" text-anchor="middle">{across}</text>'
        f'<text transform="translate(14,{middle}) rotate(-90)" text-anchor="middle">{up}</text></svg>\n',
        encoding="utf-8",
    )
