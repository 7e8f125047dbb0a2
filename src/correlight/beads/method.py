"""Beads as methods: the search by constellations, the fit to matched beads, and what they say of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from pydantic import Field

from correlight.beads.evidence import BeadTransform, evidence_of, judge, transform_from_beads
from correlight.beads.matching import BeadSearch, MatchedBeads
from correlight.beads.point_matching import STRETCH
from correlight.evidence.predicted_error import predict
from correlight.methods.protocols import Dimension, MethodSettings, Serves
from correlight.methods.task import NOTHING_FOUND, Candidate, Fit, Judgement, Task, models_for
from correlight.search.limits import NearStart
from correlight.transforms.motions import LINEAR_MODELS, LinearModel

WITHOUT_SECTIONS: frozenset[Dimension] = frozenset({"2-D", "3-D"})


class BeadSettings(MethodSettings):
    """What is known of the beads; lengths in micrometres.

    Parameters
    ----------
    diameter : float or None
        Of a bead; found from the images without.
    fixed_psf, moving_psf : float
        Standard deviation of the point-spread function of either instrument; counts where the diameter is given.
    stretch : float
        By how much the images may be stretched or sheared against each other, as a share of lengths.
    """

    diameter: float | None = Field(default=None, gt=0)
    fixed_psf: float = Field(default=0.0, ge=0)
    moving_psf: float = Field(default=0.0, ge=0)
    stretch: float = Field(default=STRETCH, gt=0, lt=0.2)

    def search(self, task: Task) -> BeadSearch:
        """The search for such beads in two images."""
        return BeadSearch(
            task.pair.fixed,
            task.pair.moving,
            task.limits,
            diameter=self.diameter,
            fixed_psf=self.fixed_psf,
            moving_psf=self.moving_psf,
            stretch=self.stretch,
        )


class ConstellationSettings(BeadSettings):
    """What is known of the beads, and where to search.

    Parameters
    ----------
    diameter, fixed_psf, moving_psf, stretch
        As for `BeadSettings`.
    scale : tuple of float
        Least and greatest moving pixels per fixed pixel where a pixel size is unknown.
    calibrated_tolerance : float
        By how much the scale may differ from what both files claim.
    least_overlap : float
        Least common area as a fraction of the smaller field.
    """

    scale: tuple[float, float] = (0.1, 10.0)
    calibrated_tolerance: float = Field(default=0.15, gt=0, lt=1)
    least_overlap: float = Field(default=0.1, gt=0, lt=1)


@dataclass(frozen=True, eq=False)
class BeadCandidate(Candidate):
    """The pair of channels whose beads match best.

    Parameters
    ----------
    beads : MatchedBeads
        The beads and how they match.
    """

    beads: MatchedBeads


@dataclass(frozen=True, eq=False)
class BeadFit(Fit):
    """A transform fitted to matched beads.

    Parameters
    ----------
    beads : MatchedBeads
        The beads and how they match.
    fitted : BeadTransform
        The transform with the beads that it was fitted to.
    """

    beads: MatchedBeads
    fitted: BeadTransform


class ConstellationSearch:
    """Beads found in both images and matched by their constellations, in whatever pose."""

    Settings: ClassVar[type[MethodSettings]] = ConstellationSettings
    gives: ClassVar[tuple[type[Candidate], ...]] = (BeadCandidate,)

    def __init__(self, settings: ConstellationSettings) -> None:
        self._settings = settings
        self.scale, self.calibrated_tolerance = settings.scale, settings.calibrated_tolerance
        self.least_overlap = settings.least_overlap

    def serves(self, dimension: Dimension) -> Serves:
        """Images and stacks; in stacks every rotation is tried, and a single section shows too few beads in depth."""
        in_the_plane = {"rotation", "scale", "mirror", "start", "pose"}
        options = in_the_plane if dimension == "2-D" else in_the_plane - {"rotation"}
        return Serves(dimensions=WITHOUT_SECTIONS, options=options)  # type: ignore[arg-type]

    def find(self, task: Task) -> BeadCandidate:
        """The pair of channels whose beads match best."""
        search = self._settings.search(task)
        of_fixed, of_moving = lively_channels(task)
        pairs = [(one, other) for one in of_fixed for other in of_moving]
        start = None if task.start is None else NearStart.of(task.start, task.pair.fixed.grid)
        candidates = []
        for number, channels in enumerate(pairs):
            beads = search(*channels)
            near = [pose for pose in beads.poses if start is None or start.keeps(pose)]
            poses = tuple(pose for pose in near if pose.overlap >= task.limits.least_overlap)
            nothing = NOTHING_FOUND if beads.poses else beads.matching.reason
            candidates.append(BeadCandidate(channels, poses, beads, nothing=nothing))
            task.report("search", (number + 1) / len(pairs))
        return max(candidates, key=lambda candidate: candidate.beads.significance)


def lively_channels(task: Task) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
    """The channels of either image in which beads are detected; in the plane without those that show nothing."""
    if task.pair.ndim == 3:
        return task.pair.channels
    of_fixed, of_moving = task.pair.planes
    return tuple(of_fixed), tuple(of_moving)


class BeadFitSettings(MethodSettings):
    """Settings of the fit to beads.

    Parameters
    ----------
    models : tuple of str
        Kinds of transform that may be chosen, poorest first.
    """

    models: tuple[LinearModel, ...] = Field(min_length=1)


class BeadRefinement:
    """The transform fitted to all beads of a match by least squares."""

    Settings: ClassVar[type[MethodSettings]] = BeadFitSettings
    takes: ClassVar[tuple[type[Candidate], ...]] = (BeadCandidate,)
    gives: ClassVar[tuple[type[Fit], ...]] = (BeadFit,)

    def __init__(self, settings: BeadFitSettings) -> None:
        self._settings = settings

    def serves(self, dimension: Dimension) -> Serves:
        """Images and stacks."""
        return Serves(dimensions=WITHOUT_SECTIONS, models=LINEAR_MODELS if dimension == "2-D" else LINEAR_MODELS[:3])

    def fit(self, task: Task, candidate: Candidate) -> BeadFit:
        """The richest model that beads left out carry."""
        assert isinstance(candidate, BeadCandidate)
        return bead_fit(task, candidate, candidate.beads, self._settings.models)


def bead_fit(task: Task, candidate: Candidate, beads: MatchedBeads, models: tuple[LinearModel, ...]) -> BeadFit:
    """The transform fitted to the beads that belong to the first pose of a candidate."""
    grid = task.pair.fixed.grid
    fitted = transform_from_beads(beads, models_for(task, models), grid.frame.symbol, candidate.poses[0])
    return BeadFit(candidate, fitted.transform, fitted.transform, fitted.model, fitted.reason, beads, fitted)


class BeadEvidence:
    """Evidence from matched beads: their significance, and how well those left out are predicted."""

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    takes: ClassVar[tuple[type[Fit], ...]] = (BeadFit,)

    def __init__(self, settings: MethodSettings) -> None:
        pass

    def serves(self, dimension: Dimension) -> Serves:
        """Images and stacks."""
        return Serves(dimensions=WITHOUT_SECTIONS)

    def judge(self, task: Task, fit: Fit) -> Judgement:
        """The verdict by the beads alone: the images may show nothing else that both see."""
        assert isinstance(fit, BeadFit)
        return judged_by_beads(task, fit)


def judged_by_beads(task: Task, fit: BeadFit) -> Judgement:
    """The verdict by the beads, and the error that follows from their scatter."""
    fixed, moving = task.pair.fixed.grid, task.pair.moving.grid
    predicted = predict(fit.fitted.estimate.error, fit.transform, fixed, moving)
    evidence = evidence_of(fit.beads, fit.fitted, predicted, fixed, moving)
    return Judgement(judge(fit.fitted.match, evidence), predicted, pairs=fit.beads.matched(fit.fitted.match))
