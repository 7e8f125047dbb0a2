"""Which measure and which kind of transform the evidence carries: those that predict what they were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.appearance.channels import Channels
from correlight.images.plane import Plane
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
# So much will do where another measure sees the full gain.
_LEAST_GAIN_SECONDED = 1.0
# No instrument stretches one axis against the other, or shears, by more than this.
_MOST_STRETCH = 1.3
_FEWEST_BLOCKS = 6


@dataclass(frozen=True, eq=False)
class Choice:
    """The model and the measure chosen, why, and the independent fits to the two halves of the picture.

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


def choose(
    fixed: Plane,
    moving: Plane,
    start: Pose2D,
    models: Sequence[Model],
    channels: Channels,
    measures: Sequence[MeasureName],
) -> Choice:
    """Refine by the measure and with the model that the two halves of the picture speak for.

    By each measure, models are fitted to each half, from poor to rich, and a richer one is taken as long as the half
    that it was not fitted to agrees better. Of the measures, that one is taken whose fits to the halves agree best: the
    halves share neither pixels nor noise, so that how far their fits lie apart tells how exact a measure is on this
    pair. Features are where fine structure is shared, mutual information where regions are, or where noise hides the
    edges. Fits of a model that is too poor agree in their error; measures are therefore compared under the richer of
    the models that they speak for, and that is taken if the better measure sees half the gain that is asked for.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    start : Affine or Projective
        A pose that is right to a few pixels.
    models : sequence of str
        Candidates; they are tried from few to many parameters. A single one is taken as it is.
    channels : Channels
        What the measure "features" compares.
    measures : sequence of {"features", "mutual information", "neural mutual information"}
        Candidates.
    """
    order = sorted(models, key=lambda model: COUNTS[model])

    def weighed(measure: MeasureName) -> _Trial:
        trial = _Trial(fixed, moving, start, channels, measure)
        trial.weigh(order)
        return trial

    with ThreadPoolExecutor(len(measures)) as pool:
        trials = list(pool.map(weighed, measures))
    richer = max((trial.model for trial in trials), key=lambda model: COUNTS[model])
    best = min(trials, key=lambda trial: trial.unsure(richer))
    best.second(richer)
    near = _of_unit_scale(best.near, fixed) if best.model == "rigid" else best.near
    transform = refine(fixed, moving, near, best.model, channels, measure=best.measure)
    return Choice(best.model, best.reason, transform, best.halves(best.model), best.measure)


class _Trial:
    """What one measure speaks for.

    Attributes
    ----------
    measure : str
        As in `Choice`.
    near : Affine or Projective
        Fitted to everything as a similarity.
    gains : dict
        What each model that was weighed gained over the richest poorer one that was taken, in standard errors.
    model, reason : str
        The model it carries, and why.
    """

    def __init__(self, fixed: Plane, moving: Plane, start: Pose2D, channels: Channels, measure: MeasureName) -> None:
        self._fixed, self._moving, self._channels = fixed, moving, channels
        self.measure = measure
        self.near = refine(fixed, moving, start, "similarity", channels, measure=measure, pyramid=(_SIZE // 2, _SIZE))
        self.gains: dict[Model, float] = {}
        self._halves: dict[Model, tuple[Pose2D, Pose2D]] = {}
        self._held_out: dict[Model, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def weigh(self, order: Sequence[Model]) -> None:
        """Set the model and the reason; candidates come from poor to rich."""
        self.model = order[0]
        self.reason = f"{self.model} was asked for"
        for richer in order[1:]:
            gain = self.gains[richer] = self._gain(richer)
            least = _LEAST_GAIN_OF_SCALE if richer == "similarity" else _LEAST_GAIN
            if gain >= least and self._allows(richer):
                self.reason = (
                    f"{richer} gains {gain:.1f} standard errors over {self.model} on parts that it was not fitted to"
                )
                self.model = richer
            elif gain >= least:
                self.reason = (
                    f"{richer} would stretch one axis against the other more than instruments do, so {self.model} was "
                    "kept"
                )
            else:
                self.reason = (
                    f"{richer} would gain {gain:.1f} standard errors on parts that it was not fitted to, less than the "
                    f"{least:.0f} asked for, so {self.model} was kept"
                )
            if gain < 0 and richer != "similarity":
                # Where more parameters already predict worse, yet more of them are not worth two more fits.
                return

    def second(self, richer: Model) -> None:
        """Take a richer model that another measure speaks for, if this one does not speak against it."""
        if richer == self.model or self.gains.get(richer, 0.0) < _LEAST_GAIN_SECONDED or not self._allows(richer):
            return
        self.reason = (
            f"{richer} gains {self.gains[richer]:.1f} standard errors over {self.model} on parts that it was not "
            "fitted to, and more by another measure"
        )
        self.model = richer

    def halves(self, model: Model) -> tuple[Pose2D, Pose2D]:
        """Fits to the two halves, from starts on either side: a measure that is flat there leaves them apart."""
        if model not in self._halves:
            fixed, moving = self._fixed, self._moving
            start = _of_unit_scale(self.near, fixed) if model == "rigid" else self.near
            aside = _ASIDE * np.sqrt(min(fixed.area, moving.area / start.scale**2)) / _SIZE * np.ones(2)
            even, odd = (
                refine(fixed, moving, beside, model, self._channels, measure=self.measure, pyramid=(_SIZE,), half=half)
                for half, beside in enumerate(start @ Affine.of(np.eye(2), side * aside) for side in (-1, 1))
            )
            self._halves[model] = even, odd
        return self._halves[model]

    def unsure(self, model: Model) -> float:
        """Mean distance over the fixed field between the fits of a model to the two halves, in fixed units."""
        even, odd = self.halves(model)
        return distance(even, odd, self._fixed.grid)

    def _allows(self, model: Model) -> bool:
        """Whether the fits of a model stretch no more than instruments do."""
        return all(_plausible(half, self.near) for half in self.halves(model))

    def _gain(self, richer: Model) -> float:
        """Mean gain over held-out blocks, against the model that is carried so far, in standard errors."""
        gains: list[NDArray[np.float64]] = []
        for a, b in zip(self._on_held_out(self.model), self._on_held_out(richer), strict=True):
            both = np.isfinite(a) & np.isfinite(b)
            gains.append((b - a)[both])
        gain = np.concatenate(gains)
        if len(gain) < _FEWEST_BLOCKS:
            return 0.0
        return float(gain.mean() / max(gain.std(ddof=1) / np.sqrt(len(gain)), 1e-12))

    def _on_held_out(self, model: Model) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the blocks of each half contribute under the fit to the other."""
        if model not in self._held_out:
            even, odd = self.halves(model)
            self._held_out[model] = self._by_block(even, 1), self._by_block(odd, 0)
        return self._held_out[model]

    def _by_block(self, pose: Pose2D, half: int) -> NDArray[np.float64]:
        """Sum of what the samples of each block of one half contribute; NaN for blocks without enough of them."""
        laid = overlay(self._fixed, self._moving, pose, _SIZE)
        laid = laid.restricted(laid.odd == bool(half))
        if not laid:
            return np.full(BLOCKS**2, np.nan)
        parts = laid.measure(self.measure, self._channels)(laid.samples).parts
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
