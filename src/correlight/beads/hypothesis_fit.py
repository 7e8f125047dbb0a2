"""Hypotheses fitted to the beads that they match, many at once: near their triangle first, then over the field."""

from __future__ import annotations

import numpy as np

from correlight.beads.hypotheses import Hypotheses, tolerance_at
from correlight.beads.nearest import Nearest, Single
from correlight.beads.triangles import Field, Numbers
from correlight.progress import checkpoint
from correlight.transforms import Affine

_STEPS = 4
# Beads far from where the hypothesis comes from may fall this share of the distance of neighbours from their partner.
_WIDEST = 0.6
# Poses that lay no bead further apart than this share of the distance of neighbours are one.
_SAME = 0.5


def fit_hypotheses(
    fixed: Field, moving: Field, whole: Hypotheses, nearest: Nearest, noise: float, stretch: float, keep: int
) -> list[Affine]:
    """Fit every hypothesis to the beads that it matches, near ones first; the poses that match most.

    Parameters
    ----------
    fixed, moving : Field
        The beads.
    whole : Hypotheses
        Where to start.
    nearest : Nearest
        Over the moving beads.
    noise : float
        Standard deviation of the distance of two images of one bead per axis, moving unit.
    stretch : float
        How far from a similarity the true transform may be, as a share of lengths.
    keep : int
        How many poses at most.

    Returns
    -------
    list of Affine
        Similarities, distinct ones, best first.
    """
    if not len(whole):
        return []
    points, columns = fixed.points, fixed.points.T.astype(np.float32)
    linear, middle, place = whole.linear, points[whole.centre], moving.points[whole.partner]
    side = whole.side
    widest = np.float32(_WIDEST * moving.spacing + 3 * noise)
    score = np.zeros(len(whole), np.float32)
    for _ in range(_STEPS):
        checkpoint()
        mapped = _mapped(linear, place - np.einsum("hij,hj->hi", linear, middle), columns)
        away = np.sqrt(
            sum(((row - place[:, [n]].astype(np.float32)) ** 2 for n, row in enumerate(mapped)), np.float32(0))
        )
        index, squared = nearest(mapped)
        known = side[:, None].astype(np.float32)
        tolerance = np.minimum(tolerance_at(away, known, noise, stretch), widest)
        # Where a bead would fall is known the worse the further away it is.
        weight = np.where(squared <= tolerance * tolerance, known / (known + away), np.float32(0))
        score = weight.sum(axis=1)
        partners = [column[index] for column in nearest.columns]
        spread = np.sqrt(np.sum(weight * away * away, axis=1) / np.maximum(score, np.float32(1e-9)))
        linear, middle, place = _similarities(columns, partners, weight, linear, middle, place)
        side = np.maximum(side, 2 * spread)
    offset = place - np.einsum("hij,hj->hi", linear, middle)
    best = np.argsort(-score, kind="stable")[: 8 * keep]
    return _different(linear[best], offset[best], points, _SAME * moving.spacing, keep)


def _mapped(linear: Numbers, offset: Numbers, columns: Single) -> list[Single]:
    matrix, shift = linear.astype(np.float32), offset.astype(np.float32)
    return [np.asarray(matrix[:, row] @ columns + shift[:, [row]]) for row in range(len(columns))]


def _similarities(
    columns: Single, partners: list[Single], weight: Single, linear: Numbers, middle: Numbers, place: Numbers
) -> tuple[Numbers, Numbers, Numbers]:
    """Weighted similarity of each row, keeping its handedness; rows with too little to fit keep what they have."""
    total = np.maximum(weight.sum(axis=1, dtype=float), 1e-12)
    weighted = [weight * partner for partner in partners]
    from_middle = (weight @ columns.T).astype(float) / total[:, None]
    to_middle = np.stack([values.sum(axis=1, dtype=float) for values in weighted], axis=1) / total[:, None]
    cross = np.stack([values @ columns.T for values in weighted], axis=1).astype(float)
    cross -= total[:, None, None] * to_middle[:, :, None] * from_middle[:, None, :]
    power = weight @ np.sum(columns**2, axis=0) - total * np.sum(from_middle**2, axis=1)
    u, strength, vt = np.linalg.svd(cross)
    signs = np.ones_like(strength)
    signs[:, -1] = np.sign(np.linalg.det(u) * np.linalg.det(vt) * np.linalg.det(linear))
    scale = np.sum(strength * signs, axis=1) / np.maximum(power, 1e-300)
    rotation = (u * signs[:, None]) @ vt
    good = (np.count_nonzero(weight, axis=1) > len(columns)) & (scale > 0) & np.isfinite(scale)
    return (
        np.where(good[:, None, None], rotation * scale[:, None, None], linear),
        np.where(good[:, None], from_middle, middle),
        np.where(good[:, None], to_middle, place),
    )


def _different(linear: Numbers, offset: Numbers, points: Numbers, least: float, keep: int) -> list[Affine]:
    """The first poses that differ from every earlier one by more than a length at the outermost beads."""
    outermost = np.unique([pick(points[:, axis]) for axis in range(points.shape[1]) for pick in (np.argmin, np.argmax)])
    there = np.einsum("hij,nj->hni", linear, points[outermost]) + offset[:, None]
    kept: list[int] = []
    for number in range(len(linear)):
        apart = np.linalg.norm(there[kept] - there[number], axis=2)
        if not kept or apart.max(axis=1).min() > least:
            kept.append(number)
        if len(kept) == keep:
            break
    return [Affine.of(linear[number], offset[number]) for number in kept]
