"""Which kind of transform the evidence carries: a richer one must predict what it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.appearance.channels import Channels
from correlight.geometry import Grid
from correlight.plane import Plane
from correlight.refine.linear import BLOCKS, MeasureName, Pose2D, distance, overlay, refine
from correlight.refine.models import COUNTS, Model
from correlight.transforms import Affine

# Working size of the comparison; finer levels tell models apart no better.
_SIZE = 256
# The halves are fitted from starts that are so many pixels of that size off along both axes, either way.
_ASIDE = 0.7
# A richer model must gain this many standard errors on the blocks that it was not fitted to. Any gain will do for a
# free scale: pixel sizes that are stated are off by a few percent often enough.
_LEAST_GAIN = 2.0
_LEAST_GAIN_OF_SCALE = 0.0
# No instrument stretches one axis against the other, or shears, by more than this.
_MOST_STRETCH = 1.3
_FEWEST_BLOCKS = 6


@dataclass(frozen=True, eq=False)
class Near:
    """A pose that is right to a pixel or so, fits to the two halves of the picture from there, and what they maximise.

    Parameters
    ----------
    measure : {"features", "mutual information", "neural mutual information"}
    transform : Affine or Projective
        Fitted to everything as a similarity.
    halves : pair of Affine or Projective
        The same fitted to each half of a checkerboard of blocks.
    """

    measure: MeasureName
    transform: Pose2D
    halves: tuple[Pose2D, Pose2D]

    def unsure(self, grid: Grid) -> float:
        """Mean distance over the fixed field between the fits to the two halves, in fixed units."""
        return distance(self.halves[0], self.halves[1], grid)


def choose_measure(
    fixed: Plane, moving: Plane, start: Pose2D, channels: Channels, measures: Sequence[MeasureName]
) -> Near:
    """The measure whose fits to the two halves of the picture agree best, and its optimum.

    The halves share neither pixels nor noise, so that how far their fits lie apart tells how exact a measure is on this
    pair: features where fine structure is shared, mutual information where regions are, or where noise hides the edges.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    start : Affine or Projective
        A pose that is right to a few pixels.
    channels : Channels
        What the measure "features" compares.
    measures : sequence of {"features", "mutual information", "neural mutual information"}
        Candidates.
    """

    def near(measure: MeasureName) -> Near:
        pose = refine(fixed, moving, start, "similarity", channels, measure=measure, pyramid=(_SIZE // 2, _SIZE))
        return Near(measure, pose, _halves(fixed, moving, pose, "similarity", channels, measure))

    with ThreadPoolExecutor(len(measures)) as pool:
        found = list(pool.map(near, measures))
    return min(found, key=lambda near: near.unsure(fixed.grid))


@dataclass(frozen=True, eq=False)
class Choice:
    """The model chosen, why, and the independent fits to the two halves of the picture.

    Parameters
    ----------
    model : str
        "rigid", "similarity", "affine" or "projective".
    reason : str
        Why this one and no richer one.
    transform : Affine or Projective
        Fitted to everything.
    halves : pair of Affine or Projective
        The same model fitted to each half of a checkerboard of blocks.
    measure : str
        What was maximised.
    """

    model: Model
    reason: str
    transform: Pose2D
    halves: tuple[Pose2D, Pose2D]
    measure: MeasureName


def choose_model(
    fixed: Plane,
    moving: Plane,
    near: Near,
    models: Sequence[Model],
    channels: Channels,
) -> Choice:
    """Refine with the poorest model, and with richer ones as long as held-out blocks agree better.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    near : Near
        The start, and what is maximised.
    models : sequence of str
        Candidates; they are tried from few to many parameters. A single one is taken as it is.
    channels : Channels
        As for `refine`.
    """
    start, measure = near.transform, near.measure

    def halves_of(model: Model) -> tuple[Pose2D, Pose2D]:
        return near.halves if model == "similarity" else _halves(fixed, moving, start, model, channels, measure)

    order = sorted(models, key=lambda model: COUNTS[model])
    best = order[0]
    halves = halves_of(best)
    reason = f"{best} was asked for" if len(order) == 1 else f"no richer model than {best} was allowed"
    for richer in order[1:]:
        others = halves_of(richer)
        gain = _gain(fixed, moving, halves, others, channels, measure)
        least = _LEAST_GAIN_OF_SCALE if richer == "similarity" else _LEAST_GAIN
        if gain >= least and all(_plausible(half, start) for half in others):
            reason = f"{richer} gains {gain:.1f} standard errors over {best} on parts that it was not fitted to"
            best, halves = richer, others
        elif gain >= least:
            reason = f"{richer} would stretch one axis against the other more than instruments do, so {best} was kept"
        else:
            reason = (
                f"{richer} would gain {gain:.1f} standard errors on parts that it was not fitted to, less than the "
                f"{least:.0f} asked for, so {best} was kept"
            )
    start = _of_unit_scale(start, fixed) if best == "rigid" else start
    return Choice(best, reason, refine(fixed, moving, start, best, channels, measure=measure), halves, measure)


def _halves(
    fixed: Plane, moving: Plane, start: Pose2D, model: Model, channels: Channels, measure: MeasureName
) -> tuple[Pose2D, Pose2D]:
    """Fits to the two halves, from starts on either side: a measure that is flat there leaves them apart."""
    start = _of_unit_scale(start, fixed) if model == "rigid" else start
    aside = _ASIDE * np.sqrt(min(fixed.area, moving.area / start.scale**2)) / _SIZE * np.ones(2)
    even, odd = (
        refine(fixed, moving, beside, model, channels, measure=measure, pyramid=(_SIZE,), half=half)
        for half, beside in enumerate(start @ Affine.of(np.eye(2), side * aside) for side in (-1, 1))
    )
    return even, odd


def _gain(
    fixed: Plane,
    moving: Plane,
    poorer: tuple[Pose2D, Pose2D],
    richer: tuple[Pose2D, Pose2D],
    channels: Channels,
    measure: MeasureName,
) -> float:
    """Mean gain over held-out blocks in standard errors."""
    gains: list[NDArray[np.float64]] = []
    for half in (0, 1):
        a = _by_block(fixed, moving, poorer[half], 1 - half, channels, measure)
        b = _by_block(fixed, moving, richer[half], 1 - half, channels, measure)
        both = np.isfinite(a) & np.isfinite(b)
        gains.append((b - a)[both])
    gain = np.concatenate(gains)
    if len(gain) < _FEWEST_BLOCKS:
        return 0.0
    return float(gain.mean() / max(gain.std(ddof=1) / np.sqrt(len(gain)), 1e-12))


def _by_block(
    fixed: Plane, moving: Plane, pose: Pose2D, half: int, channels: Channels, measure: MeasureName
) -> NDArray[np.float64]:
    """Sum of what the samples of each block of one half contribute; NaN for blocks without enough of them."""
    laid = overlay(fixed, moving, pose, _SIZE)
    laid = laid.restricted(laid.odd == bool(half))
    if not laid:
        return np.full(BLOCKS**2, np.nan)
    parts = laid.measure(measure, channels)(laid.samples).parts
    sums = np.bincount(laid.blocks, parts, minlength=BLOCKS**2)
    counts = np.bincount(laid.blocks, minlength=BLOCKS**2)
    return np.where(counts >= 0.3 * len(laid.blocks) / max(1, int(np.count_nonzero(counts))), sums, np.nan)


def _of_unit_scale(start: Pose2D, fixed: Plane) -> Pose2D:
    """The start without its scale: a rigid map keeps lengths in micrometres, as the two files claim them."""
    linear = Affine.of(start.linear, start.offset)
    middle = fixed.grid.centre
    return Affine.similarity(linear.rotation, 1.0, linear.mirrored, middle, start(middle[None])[0])


def _plausible(pose: Pose2D, start: Pose2D) -> bool:
    stretch = np.linalg.svd(pose.linear @ np.linalg.inv(start.linear), compute_uv=False)
    return bool(stretch[0] / stretch[-1] < _MOST_STRETCH)
