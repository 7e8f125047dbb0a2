"""Beads and images together: beads matched near a pose that images gave, and evidence from both."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from pydantic import Field

from correlight.beads.evidence import beads_and_images, refused
from correlight.beads.matching import MatchedBeads
from correlight.beads.method import BeadCandidate, BeadFit, BeadSettings, bead_fit, judged_by_beads, lively_channels
from correlight.intensity.evidence import ImageEvidence
from correlight.intensity.fit import ImageFit
from correlight.intensity.planes import PlaneCandidate
from correlight.intensity.refinement import ImageRefinement, RefinementSettings
from correlight.methods.protocols import Dimension, MethodSettings, Serves
from correlight.methods.task import Candidate, Fit, Judgement, Task
from correlight.refine.samples import distance
from correlight.transforms import Transform
from correlight.transforms.motions import LINEAR_MODELS, LinearModel

IN_THE_PLANE: frozenset[Dimension] = frozenset({"2-D"})
# Kinds of transform that beads are fitted with where they only check the images.
BEAD_MODELS: tuple[LinearModel, ...] = ("rigid", "similarity", "affine")


class NearPoseSettings(BeadSettings):
    """What is known of the beads, and which transforms may be fitted to them.

    Parameters
    ----------
    diameter, fixed_psf, moving_psf, stretch
        As for `BeadSettings`.
    models : tuple of str
        Kinds of transform that may be chosen, poorest first.
    """

    models: tuple[LinearModel, ...] = Field(min_length=1)


@dataclass(frozen=True, eq=False)
class ImageFitBesideBeads(ImageFit):
    """A transform fitted to what images show, where beads were detected as well.

    Parameters
    ----------
    beads : MatchedBeads
        The beads near the pose and how they match.
    """

    beads: MatchedBeads


class BeadsNearPose:
    """The fit to beads matched near a pose that images gave; the fit to the images where the beads do not carry it."""

    Settings: ClassVar[type[MethodSettings]] = NearPoseSettings
    takes: ClassVar[tuple[type[Candidate], ...]] = (PlaneCandidate,)
    gives: ClassVar[tuple[type[Fit], ...]] = (BeadFit, ImageFitBesideBeads)

    def __init__(self, settings: NearPoseSettings) -> None:
        self._settings = settings

    def serves(self, dimension: Dimension) -> Serves:
        """Images in the plane, where both can be compared."""
        return Serves(dimensions=IN_THE_PLANE, models=LINEAR_MODELS, appearance=True)

    def fit(self, task: Task, candidate: Candidate) -> Fit:
        """The fit to beads if they are significant, otherwise the fit to the images."""
        known = self._settings
        beads = known.search(task).near(*lively_channels(task), candidate.poses[0].linear)
        if beads.poses:
            fitted = bead_fit(task, candidate, beads, known.models)
            if judged_by_beads(task, fitted).verdict:
                return fitted
        image = ImageRefinement(RefinementSettings(models=known.models)).fit(task, candidate)
        return ImageFitBesideBeads(**vars(image), beads=beads)


class BeadAndImageEvidence:
    """What beads and images say of one transform; the more cautious opinion counts."""

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    takes: ClassVar[tuple[type[Fit], ...]] = (BeadFit, ImageFit)

    def __init__(self, settings: MethodSettings) -> None:
        self._images = ImageEvidence(settings)

    def serves(self, dimension: Dimension) -> Serves:
        """Images in the plane."""
        return Serves(dimensions=IN_THE_PLANE, appearance=True)

    def judge(self, task: Task, fit: Fit) -> Judgement:
        """The verdict of both, and the predicted error of the one that the transform was fitted to."""
        if isinstance(fit, BeadFit):
            by_beads = judged_by_beads(task, fit)
            # Images asked whether they like what the beads found would be asked about something that they did not find.
            own = ImageRefinement(RefinementSettings(models=BEAD_MODELS)).fit(task, fit.candidate)
            verdict = beads_and_images(
                self._images.judge(task, own).verdict, by_beads.verdict, _apart(task, own.transform, fit.transform)
            )
            return replace(by_beads, verdict=verdict)
        assert isinstance(fit, ImageFit)
        beads = _beads_of(fit)
        by_images = self._images.judge(task, fit)
        if not beads.poses:
            return replace(by_images, verdict=beads_and_images(by_images.verdict, refused(beads), float("nan")))
        fitted = bead_fit(task, fit.candidate, beads, BEAD_MODELS)
        apart = _apart(task, fit.transform, fitted.transform)
        by_beads = judged_by_beads(task, fitted)
        verdict = beads_and_images(by_images.verdict, by_beads.verdict, apart)
        return replace(by_images, verdict=verdict, pairs=by_beads.pairs)


def _apart(task: Task, one: Transform, other: Transform) -> float:
    """Mean distance between where two transforms lead, as a share of the width of the fixed field."""
    fixed = task.pair.fixed.grid
    return distance(one, other, fixed) / max(fixed.extent)


def _beads_of(fit: ImageFit) -> MatchedBeads:
    """The beads that gave the pose, or those that were detected near it."""
    if isinstance(fit, ImageFitBesideBeads):
        return fit.beads
    origin = fit.candidate.found_by if isinstance(fit.candidate, PlaneCandidate) else None
    assert isinstance(origin, BeadCandidate)
    return origin.beads
