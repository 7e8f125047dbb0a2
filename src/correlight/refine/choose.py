"""Which measure and which kind of transform the evidence carries: those that predict what they were not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import special

from correlight.geometry import Points
from correlight.landmarks.linear import fit
from correlight.progress import in_threads
from correlight.refine.linear import refine
from correlight.refine.samples import Comparison, LinearTransform, MeasureName, distance
from correlight.transforms import Affine
from correlight.transforms.motions import LINEAR_MODELS, LinearModel

# A richer model must gain this many standard errors on the blocks that it was not fitted to. Any gain will do for a
# free scale: pixel sizes that are stated are off by a few percent often enough.
_LEAST_GAIN = 2.0
_LEAST_GAIN_OF_SCALE = 0.0
# An affine map needs less where the fits to both halves, which share neither pixels nor noise, agree on what it adds:
# gain and agreement together must be as unlikely by chance as that gain alone. Some gain it must have.
_LEAST_GAIN_AGREED = 0.5
# Few instruments have perspective and few programs read it: it must gain more, over an affine map, and halves agree.
_LEAST_GAIN_OF_PERSPECTIVE, _LEAST_AGREEMENT_OF_PERSPECTIVE = 3.0, 3.0
# Of what halves of little detail do not agree on, at least this share may be missing.
_LEAST_SHARE = 0.5
# So much will do where another measure sees the full gain.
_LEAST_GAIN_SECONDED = {"affine": 1.0, "projective": 2.0}
# No instrument stretches one axis against the other, or shears, by more than this.
_MOST_STRETCH = 1.3
_FEWEST_BLOCKS = 6
# A fit that moved places by so many pixels in the mean has perhaps not arrived.
_FAR = 2.5


@dataclass(frozen=True, eq=False)
class Untaken:
    """A richer model that was weighed and not taken: what is missing if it is the right one after all.

    Parameters
    ----------
    chance : float
        That it is right: that its gain, which has a normal error, is no worse than one standard error below 0.
    richer, poorer : pair of Affine or Projective
        It, and the next poorer model, fitted to the two halves.
    share : float
        How much of the square of what it adds is not explained by what the halves differ by; at least a half.
    """

    chance: float
    richer: tuple[LinearTransform, LinearTransform]
    poorer: tuple[LinearTransform, LinearTransform]
    share: float

    def variance(self, places: Points) -> NDArray[np.float64]:
        """Expected square of what is missing at ``(N, D)`` places, in moving units, shape ``(N,)``."""
        added = [rich(places) - poor(places) for rich, poor in zip(self.richer, self.poorer, strict=True)]
        return np.asarray(self.chance * self.share * np.sum(np.mean(added, axis=0) ** 2, axis=1))


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
    untaken : tuple of Untaken
        Richer models that were weighed.
    """

    model: LinearModel
    reason: str
    transform: LinearTransform
    halves: tuple[LinearTransform, LinearTransform]
    measure: MeasureName
    untaken: tuple[Untaken, ...] = ()


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
    transform = _followed(pair, near, best.model, best.measure)
    # Where halves start from the pose itself, they start from the one that is handed over.
    halves = best.halves(best.model) if pair.aside else best.halves_from(transform, best.model)
    return Choice(best.model, best.reason, transform, halves, best.measure, best.untaken())


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
        self._over: dict[LinearModel, LinearModel] = {}
        self._halves: dict[LinearModel, tuple[LinearTransform, LinearTransform]] = {}
        self._held_out: dict[LinearModel, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}

    def weigh(self, order: Sequence[LinearModel]) -> None:
        """Set the model and the reason; candidates come from poor to rich."""
        self.model = order[0]
        self.reason = f"{self.model} was asked for"
        kept: list[str] = []
        for before, richer in pairwise(order):
            # What is carried so far, but perspective must add something to an affine map.
            over: LinearModel = "affine" if richer == "projective" and before == "affine" else self.model
            gain, (least, agreed) = self._gain(richer, over), self._asked_for(richer, over)
            self.gains[richer], self._over[richer] = gain, over
            said = f"{richer} {{}} {gain:.1f} standard errors over {over} on parts that it was not fitted to"
            if gain >= least and agreed and self._allows(richer):
                self.model, kept = richer, []
                self.reason = said.format("gains")
            elif gain < least:
                kept.append(f"{said.format('would gain')}, less than the {least:.1f} asked for")
            elif not agreed:
                kept.append(f"the two halves of the images do not agree on what {richer} adds")
            else:
                kept.append(f"{richer} would stretch one axis against the other more than instruments do")
            if kept:
                self.reason = f"{'; '.join(kept)}; so {self.model} was kept"
            if gain < 0 and richer != "similarity":
                # Where more parameters already predict worse, yet more of them are not worth two more fits.
                return

    def _asked_for(self, richer: LinearModel, over: LinearModel) -> tuple[float, bool]:
        """What a model must gain, in standard errors, and whether the halves agree on it where they must."""
        if richer == "similarity":
            return _LEAST_GAIN_OF_SCALE, True
        if self._pair.fixed_grid.ndim == 3:
            # Halves of volumes start from the same pose and are as smooth as each other: that they agree says little.
            return _LEAST_GAIN, True
        agreement = self._agreement(richer, over)
        if richer == "projective":
            return _LEAST_GAIN_OF_PERSPECTIVE, agreement >= _LEAST_AGREEMENT_OF_PERSPECTIVE
        # By F with 2 and 2 degrees of freedom, and by the normal distribution.
        by_chance = 1 / (1 + agreement**2)
        both = float(special.ndtri(1 - min(special.ndtr(-_LEAST_GAIN) / by_chance, 1 - 1e-9)))
        return max(_LEAST_GAIN_AGREED, min(both, _LEAST_GAIN)), True

    def _agreement(self, richer: LinearModel, over: LinearModel) -> float:
        """What a model adds to a poorer one by both halves alike, over what it adds by one and not by the other."""
        places = self._pair.fixed_grid.lattice(5)
        added = []
        for half in self.halves(richer):
            there = half(places)
            if not np.all(np.isfinite(there)):
                return 0.0
            added.append(there - fit(places, there, over)(places))
        alike, apart = (float(np.linalg.norm(added[0] + side * added[1])) for side in (1, -1))
        return alike / max(apart, 1e-12)

    def untaken(self) -> tuple[Untaken, ...]:
        """What richer models than the one taken would add, as far as they were weighed and are plausible."""
        found = []
        for richer, over in self._over.items():
            taken = LINEAR_MODELS.index(richer) <= LINEAR_MODELS.index(self.model)
            if taken or not self._allows(richer):
                continue
            share = max(_LEAST_SHARE, 1 - 1 / max(self._agreement(richer, over), 1.0) ** 2)
            # Held-out blocks of a noisy pair can hardly gain: the doubt is the richer model's.
            chance = float(special.ndtr(self.gains[richer] + 1))
            found.append(Untaken(chance, self.halves(richer), self.halves(over), share))
        return tuple(found)

    def second(self, richer: LinearModel) -> None:
        """Take a richer model that another measure supports, if this one does not contradict it."""
        least = _LEAST_GAIN_SECONDED.get(richer, 0.0)
        if richer == self.model or self.gains.get(richer, -np.inf) < least or not self._allows(richer):
            return
        self.reason = (
            f"{richer} gains {self.gains[richer]:.1f} standard errors over {self._over[richer]} on parts that it was "
            "not fitted to, and more by another measure"
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

        def fitted(half: int) -> LinearTransform:
            beside = start @ Affine.of(np.eye(ndim), (2 * half - 1) * aside)
            return _followed(pair, beside, model, self.measure, (self._level,), half)

        even, odd = in_threads(fitted, (0, 1), 2)
        return even, odd

    def unsure(self, model: LinearModel) -> float:
        """Mean distance over the fixed field between the fits of a model to the two halves, in fixed units."""
        even, odd = self.halves(model)
        return distance(even, odd, self._pair.fixed_grid)

    def _allows(self, model: LinearModel) -> bool:
        """Whether the fits of a model stretch no more than instruments do."""
        return all(_plausible(half, self.near) for half in self.halves(model))

    def _gain(self, richer: LinearModel, over: LinearModel) -> float:
        """Mean gain over held-out blocks, against a poorer model, in standard errors."""
        gains: list[NDArray[np.float64]] = []
        for a, b in zip(self._on_held_out(over), self._on_held_out(richer), strict=True):
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


def _followed(
    pair: Comparison,
    start: LinearTransform,
    model: LinearModel,
    measure: MeasureName,
    levels: tuple[int, ...] | None = None,
    half: int | None = None,
) -> LinearTransform:
    """A pose refined, and once more if a richer model than a similarity went far: one time moves a few pixels only."""
    once = refine(pair, start, model, measure=measure, levels=levels, half=half)
    if model in ("rigid", "similarity"):
        return once
    if distance(start, once, pair.fixed_grid) < _FAR * pair.pixel(once, pair.weighing):
        return once
    return refine(pair, once, model, measure=measure, levels=levels, half=half)


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
