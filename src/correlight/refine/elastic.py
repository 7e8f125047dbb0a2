"""Whether two images carry a smooth field beyond a linear map, how fine a one, and where it rests on evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Mask
from correlight.progress import checkpoint
from correlight.refine.compared import Compared
from correlight.refine.described import Described, FieldMeasure, described
from correlight.refine.discrete import Displacements, search_displacements
from correlight.refine.held_out import Checkerboard, gain
from correlight.refine.lattice import Lattice
from correlight.refine.related import Chance, Related, assumed, related
from correlight.refine.samples import Comparison, LinearTransform
from correlight.refine.smooth_fit import Pairs, Problem, SmoothFit, Smoothness, fit_field, smoothed
from correlight.refine.supported import deviation_of, evidence_of
from correlight.transforms import VelocityField

# Cells along the longest side, from coarse to fine; a finer lattice is tried if the one before was carried.
_CELLS = {2: (6, 10), 3: (3, 6)}
# Weights of smoothness with which a fit begins, on features of so many pixels along the longest side; then it follows
# from the field that is found. It is kept between these.
_WEIGHTS, _ACROSS, _LEAST_WEIGHT, _MOST_WEIGHT = (100.0, 10.0), 128, 1.0, 300.0
# A field must gain so many standard errors on the parts that it was not fitted to, a finer lattice over a coarser one.
LEAST_GAIN, _LEAST_GAIN_OF_FINER = 2.0, 1.0
# A field that moves nearly all places by less than this many pixels of the features is none.
_LEAST_MOVED = 0.2
# Parts with less evidence than this share are left out of the last fit.
_LITTLE = 0.25
_FEWEST_PIXELS = 400
# Displacements are searched, and evidence is weighed, on so many pixels along a side at most.
_SEARCHED = 160


@dataclass(frozen=True, eq=False)
class ElasticFit:
    """A smooth field beyond a linear map, with what says how far it can be trusted.

    Parameters
    ----------
    field : VelocityField
        From fixed to fixed positions; the linear map follows.
    halves : pair of VelocityField
        The same, fitted to either half of a checkerboard.
    cells : int
        Cells of the lattice along the longest side.
    gain : float
        By how many standard errors it agrees better than the linear map on parts that it was not fitted to.
    evidence : (*grid.shape) array of float32
        From 0, where the field rests on smoothness alone, to 1, where the images themselves speak for it.
    deviation : (*grid.shape) array of float32
        Standard deviation of the displacement, in fixed units, if smoothness and features are as they seem.
    grid : Grid
        Where both stand, in the frame of the fixed image.
    """

    field: VelocityField
    halves: tuple[VelocityField, VelocityField]
    cells: int
    gain: float
    evidence: NDArray[np.float32]
    deviation: NDArray[np.float32]
    grid: Grid

    def evidence_at(self, points: Points) -> NDArray[np.float64]:
        """Evidence at ``(N, D)`` places of the fixed image, from 0 to 1; 0 beyond what both images show."""
        index = self.grid.index(points).T
        return np.asarray(ndimage.map_coordinates(self.evidence, index, order=1, mode="constant", cval=0.0), float)

    def deviation_at(self, points: Points) -> NDArray[np.float64]:
        """Standard deviation of the displacement at ``(N, D)`` places of the fixed image, in fixed units."""
        index = self.grid.index(points).T
        return np.asarray(ndimage.map_coordinates(self.deviation, index, order=1, mode="nearest"), float)

    @property
    def moved(self) -> NDArray[np.float64]:
        """Displacement beyond the linear map at every pixel of the evidence, in fixed units."""
        points = self.grid.lattice_of_pixels()
        return np.asarray(np.linalg.norm(self.field.displaced(points), axis=1).reshape(self.grid.shape))


@dataclass(frozen=True, eq=False)
class ElasticChoice:
    """The field that was carried, if any, and why.

    Parameters
    ----------
    fit : ElasticFit or None
        None where the linear map is kept.
    reason : str
        Why, in words.
    agreement : float
        What both images say of each other on parts that were not fitted to, in nats for each place, under the field or
        else under the linear map.
    """

    fit: ElasticFit | None
    reason: str
    agreement: float = 0.0


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
        Points that the field should lead to each other, in the frame of the fixed image under the linear map.
    """

    measures: tuple[FieldMeasure, ...] | None = None
    divergence: float = 1.0
    curl: float = 1.0
    landmarks: Pairs | None = None


def choose_field(
    pairs: Comparison | Sequence[Comparison], pose: LinearTransform, settings: FieldSettings | None = None
) -> ElasticChoice:
    """Fit a field as fine as held-out parts of the images justify, and none where they justify none.

    Lattices are fitted to each half of a checkerboard, from coarse to fine. The first that agrees better with the half
    that it was not fitted to, by two standard errors, is taken, and a finer one if it agrees better by one more. What
    goes together in both images is learned from the same half, and of the linear map likewise.

    Parameters
    ----------
    pairs : Comparison or sequence of Comparison
        The two images; several pairs of their channels speak together.
    pose : Affine or Projective
        The linear map, right to a few percent of the width.
    settings : FieldSettings, optional
        How it is fitted.
    """
    every = list(pairs) if isinstance(pairs, Sequence) else [pairs]
    asked = settings or FieldSettings()
    images = described(every, pose, every[0].levels[-1], asked.measures)
    if images is None or np.count_nonzero(images.shown) < _FEWEST_PIXELS:
        return ElasticChoice(None, "too little is shown by both images for a field, so the linear map was kept")
    rough = assumed(images)
    found = None if rough is None else search_displacements(rough.thinned(_SEARCHED))
    trial = _Trial(images, asked, found)
    trial.weigh()
    if trial.best is None:
        return ElasticChoice(
            None,
            f"a field would gain {trial.gain:.2f} standard errors on parts that it was not fitted to, less than the "
            f"{LEAST_GAIN:.0f} asked for, so the linear map was kept",
            trial.linear,
        )
    return _made(trial, images)


def _made(trial: _Trial, images: Described) -> ElasticChoice:
    """The field that was carried, fitted to everything that speaks for it."""
    assert trial.best is not None
    first, *halves = trial.fits[trial.best]
    coarse = first.relation.thinned(_SEARCHED)
    evidence = evidence_of(coarse, first.fit.field)
    # The torn and the covered draw a field to where they seem to fit; without them it follows what is around.
    trusted = ndimage.gaussian_filter(np.asarray(evidence > _LITTLE, np.float32), 1.0)
    last = trial.settled(first, _on(trusted, coarse.grid, images.grid))
    moved = np.linalg.norm(last.fit.field.displaced(coarse.grid.lattice_of_pixels()), axis=1)
    if np.percentile(moved, 95) < _LEAST_MOVED * last.relation.pixel:
        return ElasticChoice(None, "a field would move hardly anything, so the linear map was kept", trial.linear)
    even, odd = (half.fit.field for half in halves)
    deviation = deviation_of(coarse.grid, last.problem, last.fit, last.repeated)
    made = ElasticFit(
        last.fit.field,
        (even, odd),
        trial.best,
        trial.gain,
        evidence_of(last.relation.thinned(_SEARCHED), last.fit.field),
        deviation,
        coarse.grid,
    )
    if made.field.smallest_volume <= 0:
        return ElasticChoice(None, "the field that fits best folds, so the linear map was kept", trial.linear)
    return ElasticChoice(
        made,
        f"a field of {trial.best} cells along the longest side gains {trial.gain:.1f} standard errors over the linear "
        "map on parts that it was not fitted to",
        trial.agreement,
    )


@dataclass(frozen=True, eq=False)
class _State:
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


class _Trial:
    """Fits of every lattice to both halves of a checkerboard.

    Attributes
    ----------
    best : int or None
        Cells of the finest lattice that is carried.
    gain : float
        Over no field, in standard errors: of the best, or of the coarsest where none is carried.
    agreement, linear : float
        What both images say of each other on parts that were not fitted to, in nats for each place: under the best
        field, and under the linear map.
    fits : dict of int to list of fits
        To everything and to either half, by the number of cells.
    """

    def __init__(self, images: Described, settings: FieldSettings, found: Displacements | None) -> None:
        self._images, self._settings, self._found = images, settings, found
        self._board = Checkerboard.over(images.grid)
        self._scale = (_ACROSS / max(images.grid.shape)) ** 2
        self.best: int | None = None
        self.gain = self.agreement = self.linear = 0.0
        self.fits: dict[int, list[_State]] = {}
        self._chance: dict[int | None, Chance] = {None: {}, 0: {}, 1: {}}
        self._begun = False

    def weigh(self) -> None:
        """Set the best lattice and its gain."""
        without = np.concatenate([self._without(half) for half in (0, 1)])
        carried = without
        self.linear = float(np.nanmean(without)) if np.isfinite(without).any() else 0.0
        for cells in _CELLS[self._images.grid.ndim]:
            made = [self._fitted(half, cells) for half in (None, 0, 1)]
            fits = [state for state in made if state is not None]
            if len(fits) < len(made):
                return
            self.fits[cells] = fits
            here = np.concatenate([self._held_out(half, cells) for half in (0, 1)])
            more, overall = gain(carried, here), gain(without, here)
            if self.best is None:
                self.gain = max(self.gain, overall)
            if overall >= LEAST_GAIN and more >= (LEAST_GAIN if self.best is None else _LEAST_GAIN_OF_FINER):
                self.best, self.gain, carried = cells, overall, here
                self.agreement = float(np.nanmean(here))
            elif self.best is not None:
                return

    def settled(self, state: _State, weights: Float32 | Mask | None = None) -> _State:
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
        bent = float(numbers @ (shape @ numbers)) + state.repeated * float(np.trace(spread))
        weight = state.repeated * len(numbers) / max(bent, 1e-12)
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
    ) -> _State:
        checkpoint()
        asked = self._settings
        smoothness = Smoothness(weight, asked.divergence, asked.curl)
        problem = Problem(compared, lattice, smoothness, asked.landmarks)
        fit = fit_field(problem, start)
        return _State(relation, compared, problem, fit, weight)

    def _fitted(self, half: int | None, cells: int) -> _State | None:
        """A lattice fitted to a half of the images, or to everything; None where they have nothing in common."""
        lattice = Lattice.over(self._images.grid, cells)
        chosen = None if half is None else self._board.fitted(half)
        if self.fits:
            before = self.fits[max(self.fits)][0 if half is None else half + 1]
            same = before.fit.on(lattice, before.compared.points)
            return self._refitted(half, chosen, lattice, same, (before.weight / self._scale,))
        if half is not None:
            start = self._searched(chosen, lattice) if self._begun else None
            return self._refitted(half, chosen, lattice, start, _WEIGHTS)
        # Either from the linear map or from displacements that were searched, whichever ends likelier.
        first = self._refitted(None, None, lattice, None, _WEIGHTS)
        if self._found is None:
            return first
        other = self._refitted(None, None, lattice, self._searched(None, lattice), _WEIGHTS)
        self._begun = other is not None and (first is None or other.fit.energy < first.fit.energy)
        return other if self._begun else first

    def _refitted(
        self,
        half: int | None,
        chosen: Mask | None,
        lattice: Lattice,
        start: NDArray[np.float64] | None,
        weights: Sequence[float],
    ) -> _State | None:
        field = None if start is None else lattice.velocity(start)
        state: _State | None = None
        for weight in weights:
            relation = related(self._images, field, chosen, self._chance[half])
            if relation is None:
                return state
            compared = Compared.of(relation, chosen)
            compared = compared.restricted(compared.weights > 0)
            state = self._state(relation, compared, lattice, weight * self._scale, start)
            start, field = state.fit.coefficients, state.fit.field
        return state

    def _searched(self, chosen: Mask | None, lattice: Lattice) -> NDArray[np.float64]:
        """Coefficients that follow searched displacements, all of them or some."""
        assert self._found is not None
        points = self._found.points
        weights = self._found.weights
        if chosen is not None:
            index = np.clip(np.rint(self._images.grid.index(points)), 0, np.asarray(chosen.shape) - 1).astype(np.intp)
            weights = weights * chosen[tuple(index.T)]
        return smoothed(lattice, points, self._found.vectors, weights, bending=0.1)

    def _without(self, half: int) -> NDArray[np.float64]:
        """Mean alikeness of each field of the checkerboard under the linear map; NaN where few lie."""
        relation = related(self._images, None, self._board.fitted(half), self._chance[half])
        return self._tested(relation, None, half)

    def _held_out(self, half: int, cells: int) -> NDArray[np.float64]:
        """The same under the fit to the other half."""
        state = self.fits[cells][half + 1]
        return self._tested(state.relation, state.fit.field, half)

    def _tested(self, relation: Related | None, field: VelocityField | None, half: int) -> NDArray[np.float64]:
        if relation is None:
            # Images that have nothing in common say nothing of each other.
            shown = np.argwhere(self._images.shown & self._board.held_out(half))
            return self._board.means(np.zeros(len(shown)), shown)
        held = Compared.of(relation, self._board.held_out(half))
        held = held.restricted(held.weights > 0)
        return self._board.means(held.alikeness(field), held.pixels)


def _on(values: Float32, grid: Grid, other: Grid) -> Float32:
    """Values at the pixels of another grid of the same frame."""
    index = grid.index(other.lattice_of_pixels()).T
    return np.asarray(ndimage.map_coordinates(values, index, order=1, mode="nearest").reshape(other.shape), np.float32)
