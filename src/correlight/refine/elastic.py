"""Whether two images carry a smooth field beyond a linear map, how fine a one, and where it rests on evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Mask
from correlight.refine.described import Described, described, finest_level
from correlight.refine.discrete import search_displacements
from correlight.refine.related import assumed
from correlight.refine.samples import Comparison, LinearTransform
from correlight.refine.supported import deviation_of, evidence_of, shown_by_both
from correlight.refine.trial import LEAST_GAIN, FieldSettings, Trial, gain_by_halves
from correlight.transforms import Transform, VelocityField

# A field that moves nearly all places by less than this many pixels of the features is none.
_LEAST_MOVED = 0.2
# Parts with less evidence than this share are left out of the last fit.
_LITTLE = 0.25
_FEWEST_PIXELS = 400
# Displacements are searched, and evidence is weighed, on so many pixels along a side at most.
_SEARCHED = {2: 160, 3: 60}


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
        Standard deviation of the displacement, in fixed units, by smoothness and features.
    shown : (*grid.shape) array of bool
        Where both images show something under the field.
    grid : Grid
        Where these three stand, in the frame of the fixed image.
    """

    field: VelocityField
    halves: tuple[VelocityField, VelocityField]
    cells: int
    gain: float
    evidence: NDArray[np.float32]
    deviation: NDArray[np.float32]
    shown: Mask
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
    def share(self) -> float:
        """On what share of what both images show they speak for the field."""
        return float(np.mean(self.evidence[self.shown] > 0.5)) if self.shown.any() else 0.0

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


def choose_field(
    pairs: Comparison | Sequence[Comparison], pose: LinearTransform, settings: FieldSettings | None = None
) -> ElasticChoice:
    """Fit a field as fine as held-out parts of the images justify, and none where they justify none.

    Lattices are fitted to each half of a checkerboard, from coarse to fine. The first that agrees better with the half
    that it was not fitted to, by two standard errors, is taken, and a finer one if it agrees better by three more. What
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
    images = described(every, pose, finest_level(every[0]), asked.measures)
    if images is None or np.count_nonzero(images.shown) < _FEWEST_PIXELS:
        return ElasticChoice(None, "too little is shown by both images for a field, so the linear map was kept")
    rough = assumed(images)
    found = None if rough is None else search_displacements(rough.thinned(_SEARCHED[images.grid.ndim]))
    landmarks = None if asked.landmarks is None else asked.landmarks.under(pose)
    trial = Trial(images, asked, found, landmarks)
    trial.weigh()
    if trial.best is None:
        return ElasticChoice(
            None,
            f"a field would gain {trial.gain:.2f} standard errors on parts that it was not fitted to, less than the "
            f"{LEAST_GAIN:.0f} asked for, so the linear map was kept",
            trial.linear,
        )
    return _made(trial, images)


def gain_by_grey_values(pairs: Sequence[Comparison], pose: LinearTransform, halves: Sequence[Transform]) -> float:
    """What a field gains by the mutual information of grey values on held-out halves, in standard errors.

    A field is fitted to features, and features of unlike images can lie a little aside of each other everywhere: where
    a bright and a dark region meet, both find an edge, but not at the same place. Grey values do not share that.

    Parameters
    ----------
    pairs : sequence of Comparison
        As for `choose_field`.
    pose : Affine or Projective
        The linear map.
    halves : sequence of Transform
        What was fitted to either half, by other measures, from fixed to fixed positions under that map.
    """
    images = described(pairs, pose, finest_level(pairs[0]), ("mutual information",))
    return 0.0 if images is None else gain_by_halves(images, halves)


def _made(trial: Trial, images: Described) -> ElasticChoice:
    """The field that was carried, fitted to everything that speaks for it."""
    assert trial.best is not None
    fits, searched = trial.fits[trial.best], _SEARCHED[images.grid.ndim]
    first = fits.everything
    coarse = first.relation.thinned(searched)
    evidence = evidence_of(coarse, first.fit.field)
    # The torn and the covered draw a field to where they seem to fit; without them it follows what is around.
    trusted = ndimage.gaussian_filter(np.asarray(evidence > _LITTLE, np.float32), 1.0)
    last = trial.settled(first, _on(trusted, coarse.grid, images.grid))
    moved = np.linalg.norm(last.fit.field.displaced(coarse.grid.lattice_of_pixels()), axis=1)
    if np.percentile(moved, 95) < _LEAST_MOVED * last.relation.pixel:
        return ElasticChoice(None, "a field would move hardly anything, so the linear map was kept", trial.linear)
    even, odd = (half.fit.field for half in fits.halves)
    deviation = deviation_of(coarse.grid, last.problem, last.fit, last.repeated)
    under_field = last.relation.thinned(searched)
    made = ElasticFit(
        last.fit.field,
        (even, odd),
        trial.best,
        trial.gain,
        evidence_of(under_field, last.fit.field),
        deviation,
        shown_by_both(under_field, last.fit.field),
        coarse.grid,
    )
    if made.field.smallest_volume <= 0:
        return ElasticChoice(None, "the field that fits best folds, so the linear map was kept", trial.linear)
    return ElasticChoice(
        made,
        f"a field of {trial.best} cells along the longest side{_by(trial)} gains {trial.gain:.1f} standard errors over "
        "the linear map on parts that it was not fitted to",
        trial.agreement,
    )


def _by(trial: Trial) -> str:
    """What the field was fitted by, where that was asked for."""
    measures = trial.settings.measures
    return f", fitted by {' and '.join(measures)}," if measures else ""


def _on(values: Float32, grid: Grid, other: Grid) -> Float32:
    """Values at the pixels of another grid of the same frame."""
    index = grid.index(other.lattice_of_pixels()).T
    return np.asarray(ndimage.map_coordinates(values, index, order=1, mode="nearest").reshape(other.shape), np.float32)
