"""Fits of a field to parts of two images, each tested on the part that it was not fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.images.image import Float32, Mask
from correlight.progress import checkpoint
from correlight.refine.compared import Compared
from correlight.refine.described import Described, FieldMeasure
from correlight.refine.discrete import Displacements
from correlight.refine.held_out import HALVES, QUARTERS, Checkerboard, gain
from correlight.refine.lattice import Lattice
from correlight.refine.related import Chance, Related, related
from correlight.refine.smooth_fit import Pairs, Problem, SmoothFit, Smoothness, fit_field, smoothed
from correlight.transforms import Transform

# Cells along the longest side, from coarse to fine; a finer lattice is tried if the one before was carried.
_CELLS = {2: (6, 10), 3: (3, 6)}
# Weights of smoothness with which a fit begins, on features of so many pixels along the longest side; then it follows
# from the field that is found. It is kept between these.
_WEIGHTS, _ACROSS, _LEAST_WEIGHT, _MOST_WEIGHT = (100.0, 10.0), 128, 1.0, 300.0
# Errors of simulated fields say that places of planes repeat each other so many times as much as patches show: features
# of unlike images lie aside of each other over wider parts than a patch. Smoothness follows from both.
_WIDER = {2: 8.0, 3: 1.0}
# A field must gain so many standard errors on the parts that it was not fitted to, a finer lattice over a coarser one.
LEAST_GAIN, _LEAST_GAIN_OF_FINER = 2.0, 3.0
# Where halves show too little for that, so many on quarters: a second chance asks for more than the first.
_LEAST_GAIN_OF_QUARTERS = 2.5


@dataclass(frozen=True, eq=False)
class FieldSettings:
    """How a field is fitted.

    Parameters
    ----------
    measures : tuple of {"features", "filters", "self-similarity", "mutual information"} or None
        By what the images are compared; None for what is usual in two or three dimensions.
    divergence, curl : float
        Weights of both in what holds the field back, see `Smoothness`.
    landmarks : Pairs or None
        Points that the field should lead to each other, in the frames of the two images.
    """

    measures: tuple[FieldMeasure, ...] | None = None
    divergence: float = 1.0
    curl: float = 1.0
    landmarks: Pairs | None = None


@dataclass(frozen=True, eq=False)
class State:
    """A fit, what it was fitted by, and how strongly it was held back."""

    relation: Related
    compared: Compared
    problem: Problem
    fit: SmoothFit
    weight: float

    @cached_property
    def repeated(self) -> float:
        """How many places speak for each that would speak for itself."""
        return self.compared.repeated(self.fit.field)


@dataclass(frozen=True, eq=False)
class Known:
    """What is kept of a fit to a part of the images; features of volumes take most of the memory."""

    fit: SmoothFit
    points: Points
    weight: float

    @classmethod
    def of(cls, state: State) -> Known:
        """Of a fit."""
        return cls(state.fit, state.compared.points, state.weight)


@dataclass(frozen=True, eq=False)
class Fits:
    """One lattice fitted to everything, and to either half."""

    everything: State
    halves: tuple[Known, ...]


class Trial:
    """Fits of every lattice to both halves of a checkerboard; if need be, of the coarsest to all but each quarter.

    Attributes
    ----------
    best : int or None
        Cells of the finest lattice that is carried.
    gain : float
        Over no field, in standard errors: of the best, or of the coarsest where none is carried.
    agreement, linear : float
        What both images say of each other on parts that were not fitted to, in nats for each place: under the best
        field, and under the linear map.
    settings : FieldSettings
        As it was given.
    fits : dict of int to Fits
        By the number of cells.
    """

    def __init__(
        self, images: Described, settings: FieldSettings, found: Displacements | None, landmarks: Pairs | None = None
    ) -> None:
        self._images, self.settings, self._found, self._landmarks = images, settings, found, landmarks
        # What a fit may begin from, other than the linear map.
        self._starts = [] if found is None else [found]
        if landmarks is not None:
            vectors = landmarks.moving - landmarks.fixed
            self._starts.append(Displacements(landmarks.fixed, vectors, np.ones(len(vectors))))
        self._board = Checkerboard.over(images.grid)
        self._scale = (_ACROSS / max(images.grid.shape)) ** 2
        self.best: int | None = None
        self.gain = self.agreement = self.linear = 0.0
        self.fits: dict[int, Fits] = {}
        self._chance: dict[int | None, Chance] = {part: {} for part in (None, *HALVES, *QUARTERS)}
        self._begun: Displacements | None = None
        self._repeated: float | None = None
        # That of smoothness which follows from the fit to everything; the parts are held back as strongly.
        self._weight = _WEIGHTS[-1]

    def weigh(self) -> None:
        """Set the best lattice and its gain."""
        without = np.concatenate([self._without(half) for half in HALVES])
        carried = without
        self.linear = float(np.nanmean(without)) if np.isfinite(without).any() else 0.0
        for cells in _CELLS[self._images.grid.ndim]:
            everything = self._fitted(None, cells)
            if everything is None:
                return
            halves, tested = [], []
            for half in HALVES:
                state = self._fitted(half, cells)
                if state is None:
                    return
                halves.append(Known.of(state))
                tested.append(self._tested(state, half))
            self.fits[cells] = Fits(everything, tuple(halves))
            here = np.concatenate(tested)
            more, overall = gain(carried, here), gain(without, here)
            if self.best is None:
                self.gain = max(self.gain, overall)
            if overall >= LEAST_GAIN and more >= (LEAST_GAIN if self.best is None else _LEAST_GAIN_OF_FINER):
                self.best, self.gain, carried = cells, overall, here
                self.agreement = float(np.nanmean(here))
            elif self.best is not None:
                return
        if self.best is None:
            self._weigh_by_quarters()

    def _weigh_by_quarters(self) -> None:
        """Set them once more, with fits that know twice as much as those to half of the images."""
        cells = min(self.fits)
        lattice = Lattice.over(self._images.grid, cells)
        without = np.concatenate([self._without(part) for part in QUARTERS])
        tested = []
        for part in QUARTERS:
            state = self._begun_anew(part, lattice)
            if state is None:
                return
            tested.append(self._tested(state, part))
        here = np.concatenate(tested)
        overall = gain(without, here)
        self.gain = max(self.gain, overall)
        if overall >= _LEAST_GAIN_OF_QUARTERS:
            self.best, self.gain, self.agreement = cells, overall, float(np.nanmean(here))
            self.linear = float(np.nanmean(without))

    def settled(self, state: State, weights: Float32 | Mask | None = None) -> State:
        """Fit once more, with relations and smoothness that follow from the fit before.

        The weight of smoothness is that under which the field found is likely (the step of expectation and maximisation
        for the variance of a random field).
        """
        penalty = state.problem.normal(state.fit.coefficients)
        data, prior = penalty
        spacing = np.asarray(self._images.grid.spacing)
        numbers = (state.fit.coefficients / spacing).ravel()
        shape = prior / state.weight
        spread = np.linalg.solve(data + prior, shape)
        repeated = _WIDER[self._images.grid.ndim] * state.repeated
        bent = float(numbers @ (shape @ numbers)) + repeated * float(np.trace(spread))
        weight = repeated * len(numbers) / max(bent, 1e-12)
        weight = float(np.clip(weight, _LEAST_WEIGHT * self._scale, _MOST_WEIGHT * self._scale))
        relation = related(self._images, state.fit.field, None, self._chance[None]) or state.relation
        compared = Compared.of(relation, weights)
        return self._state(relation, compared, state.fit.lattice, weight, state.fit.coefficients)

    def _state(
        self,
        relation: Related,
        compared: Compared,
        lattice: Lattice,
        weight: float,
        start: NDArray[np.float64] | None,
    ) -> State:
        checkpoint()
        smoothness = Smoothness(weight, self.settings.divergence, self.settings.curl)
        landmarks = self._landmarks
        if landmarks is not None:
            # Places of the images repeat each other, and each counts in full; a landmark speaks for itself.
            self._repeated = self._repeated or compared.repeated(None)
            landmarks = landmarks.counted(self._repeated)
        problem = Problem(compared, lattice, smoothness, landmarks)
        fit = fit_field(problem, start)
        return State(relation, compared, problem, fit, weight)

    def _fitted(self, part: int | None, cells: int) -> State | None:
        """A lattice fitted to a half of the images, or to everything; None where they have nothing in common."""
        lattice = Lattice.over(self._images.grid, cells)
        if self.fits:
            fits = self.fits[max(self.fits)]
            before = Known.of(fits.everything) if part is None else fits.halves[part]
            same = before.fit.on(lattice, before.points)
            return self._refitted(part, lattice, same, (before.weight / self._scale,))
        if part is not None:
            return self._begun_anew(part, lattice)
        # From the linear map, displacements that were searched, or landmarks: whichever ends likeliest.
        best = self._refitted(None, lattice, None, _WEIGHTS, fewer=True)
        for found in self._starts:
            start = self._following(found, lattice)
            other = None if start is None else self._refitted(None, lattice, start, _WEIGHTS, fewer=True)
            if other is not None and (best is None or other.fit.energy < best.fit.energy):
                best, self._begun = other, found
        if best is None:
            return None
        best = self.settled(best)
        self._weight = best.weight / self._scale
        return best

    def _begun_anew(self, part: int, lattice: Lattice) -> State | None:
        """The coarsest lattice fitted while a part is held out, from where the fit to everything began."""
        begun = self._begun
        start = None if begun is None else self._following(begun, lattice, self._board.fitted(part))
        state = self._refitted(part, lattice, start, _WEIGHTS[:-1], fewer=True)
        if state is None:
            return None
        return self._refitted(part, lattice, state.fit.coefficients, (self._weight,))

    def _refitted(
        self,
        part: int | None,
        lattice: Lattice,
        start: NDArray[np.float64] | None,
        weights: Sequence[float],
        *,
        fewer: bool = False,
    ) -> State | None:
        chosen = None if part is None else self._board.fitted(part)
        field = None if start is None else lattice.velocity(start)
        state: State | None = None
        for weight in weights:
            relation = related(self._images, field, chosen, self._chance[part])
            if relation is None:
                return state
            compared = Compared.of(relation, chosen, fewer=fewer)
            compared = compared.restricted(compared.weights > 0)
            state = self._state(relation, compared, lattice, weight * self._scale, start)
            start, field = state.fit.coefficients, state.fit.field
        return state

    def _following(
        self, found: Displacements, lattice: Lattice, chosen: Mask | None = None
    ) -> NDArray[np.float64] | None:
        """Coefficients that follow displacements, of those that were searched all or some; None if that folds."""
        points, weights = found.points, found.weights
        # Landmarks are no finding of the images that a part of them could test.
        if chosen is not None and found is self._found:
            index = np.clip(np.rint(self._images.grid.index(points)), 0, np.asarray(chosen.shape) - 1).astype(np.intp)
            weights = weights * chosen[tuple(index.T)]
        begun = smoothed(lattice, points, found.vectors, weights, bending=0.1)
        try:
            _ = lattice.velocity(begun).flow
        except TransformError:
            return None
        return begun

    def _without(self, part: int) -> NDArray[np.float64]:
        """Mean alikeness of each field of the checkerboard under the linear map; NaN where few lie."""
        relation = related(self._images, None, self._board.fitted(part), self._chance[part])
        return held_out_alikeness(self._images, relation, None, self._board, part)

    def _tested(self, state: State, part: int) -> NDArray[np.float64]:
        """The same under the fit that the part was held out of."""
        return held_out_alikeness(self._images, state.relation, state.fit.field, self._board, part)


def gain_by_halves(images: Described, halves: Sequence[Transform]) -> float:
    """What fits to two halves gain over the linear map on the halves that they were not fitted to.

    Parameters
    ----------
    images : Described
        Two images, described in any way.
    halves : sequence of Transform
        Fits to either half, from fixed to fixed positions.

    Returns
    -------
    float
        In standard errors.
    """
    board = Checkerboard.over(images.grid)
    without: list[NDArray[np.float64]] = []
    under: list[NDArray[np.float64]] = []
    for half in HALVES:
        for field, made in ((None, without), (halves[half], under)):
            relation = related(images, field, board.fitted(half))
            made.append(held_out_alikeness(images, relation, field, board, half))
    return gain(np.concatenate(without), np.concatenate(under))


def held_out_alikeness(
    images: Described, relation: Related | None, field: Transform | None, board: Checkerboard, part: int
) -> NDArray[np.float64]:
    """Mean alikeness of each field of a checkerboard in the part that is held out; NaN where few places lie.

    Parameters
    ----------
    images : Described
        Two images.
    relation : Related or None
        Learned from the other part; None where nothing goes together.
    field : Transform or None
        Beyond the linear map; None for none.
    board : Checkerboard
        Over the pixels of the images.
    part : int
        One of `HALVES` or `QUARTERS`.
    """
    held_out = board.held_out(part)
    if relation is None:
        # Images that have nothing in common say nothing of each other.
        shown = np.argwhere(images.shown & held_out)
        return board.means(np.zeros(len(shown)), shown)
    held = Compared.of(relation, held_out)
    held = held.restricted(held.weights > 0)
    return board.means(held.alikeness(field), held.pixels)
