"""Edges of annotations that follow a map that bends: corners are added where a straight edge would leave the curve."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Points

# An edge stays within so many pixels of the curve that it stands for.
NEAR = 0.1
# Places of an edge at which it is compared with the curve, at least, and pieces that an edge is cut into, at most.
_LOOKS, _MOST_PIECES = 3, 4096


def followed(
    points: Points,
    joined: NDArray[np.bool_],
    move: Callable[[Points], Points],
    detail: float,
    near: float = NEAR,
) -> tuple[Points, NDArray[np.float64]]:
    """Corners of lines after a map, with more of them where edges would leave the curves that they become.

    Parameters
    ----------
    points : (N, 2) array
        Corners before the map, in pixels of their image.
    joined : (N,) array of bool
        Whether an edge leads from each corner to the next.
    move : callable
        Maps ``(N, 2)`` points to pixels of the image that they are taken to; NaN where it leads nowhere.
    detail : float
        No detail of the map is smaller than this, in pixels; infinite for maps that keep straight lines straight.
    near : float
        How far an edge may be from the curve, in pixels of the image that it is taken to.

    Returns
    -------
    moved : (M, 2) array
        Corners after the map, those of ``points`` among them.
    place : (M,) array
        Where each lies: whole numbers are corners of ``points``, others lie between that one and the next.
    """
    corners = move(points)
    pieces = np.ones(len(points), int)
    edges = np.flatnonzero(joined)
    if np.isfinite(detail) and len(edges):
        steps = points[edges + 1] - points[edges]
        lengths = np.linalg.norm(steps, axis=1)
        grown = np.linalg.norm(corners[edges + 1] - corners[edges], axis=1)
        # The slope of a map that does not fold changes by less than four in the length of a detail, so that an edge of
        # length l is off its curve by less than l^2 / 2 details; that of most outlines of cells is nothing.
        bent = lengths * np.fmax(grown, lengths) / (2 * detail) if detail > 0 else np.full(len(edges), np.inf)
        todo = edges[(lengths > 0) & (bent > near)]
        looks = np.full(len(points), _LOOKS)
        if detail > 0:
            looks[edges] = np.clip(np.ceil(4 * lengths / detail), _LOOKS, _MOST_PIECES)
        while todo.size:
            off = _off(points, move, pieces, looks, todo)
            # It is looked for at a few places only, between which it can be greater.
            todo = todo[(off > near / 2) & (pieces[todo] < _MOST_PIECES)]
            pieces[todo] *= 2
    which = np.repeat(np.arange(len(points)), pieces)
    rank = np.arange(len(which)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = rank / pieces[which]
    moved = np.empty((len(which), 2))
    moved[rank == 0] = corners
    if (rank > 0).any():
        moved[rank > 0] = move(_at(points, which[rank > 0], share[rank > 0]))
    return moved, which + share


def _at(points: Points, edge: NDArray[np.intp], share: NDArray[np.float64]) -> Points:
    """The points at shares of the way from a corner to the next."""
    return np.asarray(points[edge] + share[:, None] * (points[edge + 1] - points[edge]))


def _off(
    points: Points,
    move: Callable[[Points], Points],
    pieces: NDArray[np.intp],
    looks: NDArray[np.intp],
    todo: NDArray[np.intp],
) -> NDArray[np.float64]:
    """How far each edge, cut into pieces of one length, is from its curve; zero where the curve is unknown."""
    # Places between the ends of every piece, as many as show the details of the map, and those ends.
    between = np.maximum(1, -(-looks[todo] // pieces[todo]))
    counts = between * pieces[todo]
    edge = np.repeat(np.arange(len(todo)), counts)
    rank = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts, counts)
    per, cut = between[edge], pieces[todo][edge]
    piece, within = rank // per, (rank % per + 1) / (per + 1)
    curve, one, other = (move(_at(points, todo[edge], (piece + share) / cut)) for share in (within, 0.0, 1.0))
    apart = np.linalg.norm(curve - (one + within[:, None] * (other - one)), axis=1)
    off = np.zeros(len(todo))
    np.maximum.at(off, edge, np.nan_to_num(apart, nan=0.0))
    return off
