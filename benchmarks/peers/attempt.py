"""What a peer is given and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Task:
    """Two grey images, where the moving one shows the image and not padding, and how its pixels compare.

    ``spacing`` is the size of a moving pixel in fixed pixels; both images are ``(Y, X)`` float32. ``widest_turn`` is
    the largest rotation of the protocol in degrees, for peers that can be told how far to search.
    """

    fixed: NDArray[np.float32]
    moving: NDArray[np.float32]
    moving_mask: NDArray[np.bool_]
    spacing: float
    widest_turn: float
    seed: int


@dataclass(frozen=True)
class Attempt:
    """Where a peer puts the images: a 3 x 3 matrix on (y, x, 1), fixed pixel numbers to moving ones.

    ``merit`` is the peer's own measure of the result, larger is better; ``refusal`` says why the peer itself would
    not trust it.
    """

    matrix: NDArray[np.float64] | None
    merit: float
    refusal: str | None = None


def in_pixels(linear: Any, offset: Any, spacing: float) -> NDArray[np.float64]:
    """The matrix in pixel numbers of a map between positions in fixed pixels, both in (y, x).

    Parameters
    ----------
    linear, offset : array-like (2, 2) and (2,)
        The map from fixed to moving positions; the fixed spacing is 1.
    spacing : float
        Of the moving image.
    """
    matrix = np.eye(3)
    matrix[:2, :2] = np.asarray(linear, float) / spacing
    matrix[:2, 2] = np.asarray(offset, float) / spacing
    return matrix


def from_itk(linear_xy: Any, translation_xy: Any, centre_xy: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Linear part and offset in (y, x) of ITK's ``A (p - c) + t + c``, which counts x first."""
    linear = np.asarray(linear_xy, float).reshape(2, 2)
    centre = np.asarray(centre_xy, float)
    offset = np.asarray(translation_xy, float) + centre - linear @ centre
    return linear[::-1, ::-1].copy(), offset[::-1].copy()


def mirrored(task: Task) -> Task:
    """The same task with the moving image flipped in x."""
    return Task(
        task.fixed,
        np.ascontiguousarray(task.moving[:, ::-1]),
        np.ascontiguousarray(task.moving_mask[:, ::-1]),
        task.spacing,
        task.widest_turn,
        task.seed,
    )


def unmirrored(attempt: Attempt, width: int) -> Attempt:
    """What an attempt on the flipped moving image says of the image itself."""
    if attempt.matrix is None:
        return attempt
    flip = np.array([[1.0, 0.0, 0.0], [0.0, -1.0, width - 1.0], [0.0, 0.0, 1.0]])
    return Attempt(flip @ attempt.matrix, attempt.merit, attempt.refusal)


def best(attempts: Sequence[Attempt]) -> Attempt:
    """The attempt that its own measure calls better; one without refusal goes before one with."""
    return max(attempts, key=lambda a: (a.matrix is not None, a.refusal is None, a.merit))
