"""Which measure and which kind of transform the evidence carries: those that predict what they were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.progress import in_threads
from correlight.refine.linear import refine
from correlight.refine.samples import Comparison, LinearTransform, MeasureName, distance
from correlight.transforms import Affine
from correlight.transforms.motions import LINEAR_MODELS, LinearModel

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

    model: LinearModel
    reason: str
    transform: LinearTransform
    halves: tuple[LinearTransform, LinearTransform]
    measure: MeasureName


def choose(
    pair: Comparison, start: LinearTransform, models: Sequence[LinearModel], measures: Sequence[MeasureName]
) -> Choice:
    """Refine by the measure and with the model that the two halves of the image support.

    By each measure, models are fitted to each half, from poor to rich, and a richer one is taken as long as the half
    that it was not fitted to agrees better. Of the measures, that one is taken whose fits to the halves agree best: the
    halves share neither pixels nor noise, so that the distance of their fits shows how accurate a measure is on this
    pair. Features are where fine structure is shared, mutual information where regions are, or where noise hides the
    edges. Fits of a model that is too poor agree in their error; measures are therefore compared under the richer of
    the models that they support, and that is taken if the better measure shows half the gain required.

    Parameters
    ----------
    pair : Comparison
        The two images.
    start : Affine or Projective
        A pose that is right to a few pixels.
    models : sequence of str
        Candidates; they are tried from few to many parameters. A single one is taken as it is.
    measures : sequence of {"features", "mutual information", "neural mutual information"}
        Candidates.
    """
    order = sorted(models, key=lambda model: LINEAR_MODELS.index(model))

    def weighed(measure: MeasureName) -> _Trial:
        trial = _Trial(pair, start, measure)
        trial.weigh(order)
        return trial

    trials = list(in_threads(weighed, measures, len(measures)))
    richer = max((trial.model for trial in trials), key=lambda model: LINEAR_MODELS.index(model))
    best = min(trials, key=lambda trial: trial.unsure(richer))
    best.second(richer)
    near = of_unit_scale(best.near, pair.fixed_grid.centre) if best.model == "rigid" else best.near
    transform = refine(pair, near, best.model, measure=best.measure)
    # Where halves start from the pose itself, they start from the one that is handed over.
    halves = best.halves(best.model) if pair.aside else best.halves_from(transform, best.model)
    return Choice(best.model, best.reason, transform, halves, best.measure)


class _Trial:
    """What one measure supports.

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

    def __init__(self, pair: Comparison, start: LinearTransform, measure: MeasureName) -> None:
        self._pair, self._level = pair, pair.weighing
        self.measure = measure
        coarse = tuple(level for level in pair.levels if level <= self._level)
        self.near = refine(pair, start, "similarity", measure=measure, levels=coarse)
        self.gains: dict[LinearModel, float] = {}
        self._halves: dict[LinearModel, tuple[LinearTransform, LinearTransform]] = {}
        self._held_out: dict[LinearModel, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def weigh(self, order: Sequence[LinearModel]) -> None:
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

    def second(self, richer: LinearModel) -> None:
        """Take a richer model that another measure supports, if this one does not contradict it."""
        if richer == self.model or self.gains.get(richer, 0.0) < _LEAST_GAIN_SECONDED or not self._allows(richer):
            return
        self.reason = (
            f"{richer} gains {self.gains[richer]:.1f} standard errors over {self.model} on parts that it was not "
            "fitted to, and more by another measure"
        )
        self.model = richer

    def halves(self, model: LinearModel) -> tuple[LinearTransform, LinearTransform]:
        """Fits to the two halves, from starts on either side: a measure that is flat there leaves them apart."""
        if model not in self._halves:
            start = of_unit_scale(self.near, self._pair.fixed_grid.centre) if model == "rigid" else self.near
            self._halves[model] = self.halves_from(start, model)
        return self._halves[model]

    def halves_from(self, start: LinearTransform, model: LinearModel) -> tuple[LinearTransform, LinearTransform]:
        """Fits to the two halves, from a start moved aside by what the pair says."""
        pair, ndim = self._pair, self._pair.fixed_grid.ndim
        aside = pair.aside * pair.pixel(start, self._level) * np.ones(ndim)
        even, odd = (
            refine(pair, beside, model, measure=self.measure, levels=(self._level,), half=half)
            for half, beside in enumerate(start @ Affine.of(np.eye(ndim), side * aside) for side in (-1, 1))
        )
        return even, odd

    def unsure(self, model: LinearModel) -> float:
        """Mean distance over the fixed field between the fits of a model to the two halves, in fixed units."""
        even, odd = self.halves(model)
        return distance(even, odd, self._pair.fixed_grid)

    def _allows(self, model: LinearModel) -> bool:
        """Whether the fits of a model stretch no more than instruments do."""
        return all(_plausible(half, self.near) for half in self.halves(model))

    def _gain(self, richer: LinearModel) -> float:
        """Mean gain over held-out blocks, against the model that is carried so far, in standard errors."""
        gains: list[NDArray[np.float64]] = []
        for a, b in zip(self._on_held_out(self.model), self._on_held_out(richer), strict=True):
            both = np.isfinite(a) & np.isfinite(b)
            gains.append((b - a)[both])
        gain = np.concatenate(gains)
        if len(gain) < _FEWEST_BLOCKS:
            return 0.0
        return float(gain.mean() / max(gain.std(ddof=1) / np.sqrt(len(gain)), 1e-12))

    def _on_held_out(self, model: LinearModel) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What the blocks of each half contribute under the fit to the other."""
        if model not in self._held_out:
            even, odd = self.halves(model)
            self._held_out[model] = self._by_block(even, 1), self._by_block(odd, 0)
        return self._held_out[model]

    def _by_block(self, pose: LinearTransform, half: int) -> NDArray[np.float64]:
        """What the samples of each block of one half contribute; NaN for blocks without enough of them."""
        return self._pair.samples(pose, self._level).half(half).by_block(self.measure)


def of_unit_scale(start: LinearTransform, middle: NDArray[np.float64]) -> Affine:
    """The nearest rigid map: it keeps lengths in micrometres, as the two files claim them.

    Parameters
    ----------
    start : Affine or Projective
        Any pose.
    middle : (D,) array
        The place that stays where the start puts it.
    """
    u, _, vt = np.linalg.svd(start.linear)
    return Affine.of(u @ vt, start(middle[None])[0] - u @ vt @ middle)


def _plausible(pose: LinearTransform, start: LinearTransform) -> bool:
    stretch = np.linalg.svd(pose.linear @ np.linalg.inv(start.linear), compute_uv=False)
    return bool(stretch[0] / stretch[-1] < _MOST_STRETCH)
