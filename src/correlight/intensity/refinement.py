"""The refinement by what images show: which measure and which kind of transform the evidence carries."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from correlight.errors import UsageError
from correlight.intensity.elastic import with_field
from correlight.intensity.fit import ImageFit
from correlight.intensity.planes import PlaneCandidate, most_alike
from correlight.intensity.volumes import VolumeCandidate
from correlight.methods.protocols import Dimension, MethodSettings, Serves
from correlight.methods.task import Candidate, Fit, Task, models_for
from correlight.refine.choose import choose
from correlight.refine.planes import PlanePair
from correlight.refine.samples import Comparison, MeasureName
from correlight.transforms.motions import LINEAR_MODELS, LinearModel

ELASTIC = "elastic"
# Further pairs of channels that a field is fitted to, at most.
_MOST_OTHERS = 2


class RefinementSettings(MethodSettings):
    """Settings of the refinement by images.

    Parameters
    ----------
    measure : {"auto", "features", "mutual information", "neural mutual information", "weighted squares"}
        What is maximised; "auto" takes the one whose fits to two halves of the images agree best. "weighted squares" is
        for images of one modality, such as a prediction, whose confidence it heeds.
    models : tuple of str
        Kinds of transform that may be chosen, poorest first.
    """

    measure: Literal["auto", "features", "mutual information", "neural mutual information", "weighted squares"] = "auto"
    models: tuple[LinearModel, ...] = Field(min_length=1)


class ImageRefinement:
    """Sub-pixel refinement by features, grey values or information."""

    Settings: ClassVar[type[MethodSettings]] = RefinementSettings
    takes: ClassVar[tuple[type[Candidate], ...]] = (Candidate,)
    gives: ClassVar[tuple[type[Fit], ...]] = (ImageFit,)

    def __init__(self, settings: RefinementSettings) -> None:
        self._settings = settings

    def serves(self, dimension: Dimension) -> Serves:
        """All images; but no features of volumes, and no neural information of a single section, are computed."""
        models = {"2-D": (*LINEAR_MODELS, ELASTIC), "3-D": (*LINEAR_MODELS[:3], ELASTIC)}.get(
            dimension, LINEAR_MODELS[:3]
        )
        dimensions: frozenset[Dimension] = {
            "features": frozenset[Dimension]({"2-D"}),
            "weighted squares": frozenset[Dimension]({"2-D"}),
            "neural mutual information": frozenset[Dimension]({"2-D", "3-D"}),
        }.get(self._settings.measure, Serves().dimensions)  # type: ignore[arg-type]
        return Serves(dimensions=dimensions, models=models, appearance=dimension == "2-D")

    def fit(self, task: Task, candidate: Candidate) -> ImageFit:
        """The first pose made exact, with the richest model that held-out parts of the images carry."""
        allowed = self._settings.models
        if task.model != ELASTIC:
            return self._linear(task, candidate, models_for(task, allowed))
        # The field holds what perspective bends, and files of fields hold no perspective beside it.
        straight = tuple(model for model in allowed if model != "projective") or ("affine",)
        fit = self._linear(task, candidate, models_for(replace(task, model=None), straight) or straight)
        scores = fit.candidate.scores if isinstance(fit.candidate, PlaneCandidate) else None
        others = _other_channels(task, fit.candidate) if isinstance(fit.candidate, PlaneCandidate) else []
        return with_field(fit, others, lost=scores is not None and scores.ratio < 1)

    def _linear(self, task: Task, candidate: Candidate, models: tuple[LinearModel, ...]) -> ImageFit:
        """The same with models that keep straight lines straight."""
        if isinstance(candidate, VolumeCandidate):
            choice = choose(
                candidate.compared,
                candidate.to_compared(candidate.poses[0].moving_from_fixed),
                models,
                self._measures(candidate.compared),
            )
            found = candidate.from_compared(choice.transform)
            return ImageFit(candidate, found, found, choice.model, choice.reason, choice, candidate.compared)
        if task.pair.ndim == 3:
            raise UsageError(
                "Poses of stacks that were not found by their images cannot be refined by them; use beads."
            )
        if not isinstance(candidate, PlaneCandidate):
            candidate = most_alike(task, candidate)
        top = candidate.poses[0].moving_from_fixed
        candidate = candidate.with_scores(task, top)
        pair = candidate.compared(task.pair.compared_by.refine, task.seed)
        assert candidate.scores is not None
        lost = candidate.scores.ratio < 1
        choice = choose(pair, top, models[:1] if lost else models, self._measures(pair))
        if lost and len(models) > 1:
            choice = replace(choice, reason="deliberately wrong poses score more, so no richer model was tried")
        return ImageFit(candidate, choice.transform, choice.transform, choice.model, choice.reason, choice, pair)

    def _measures(self, pair: Comparison) -> tuple[MeasureName, ...]:
        return pair.reliable if self._settings.measure == "auto" else (self._settings.measure,)


def _other_channels(task: Task, candidate: PlaneCandidate) -> list[PlanePair]:
    """Pairs of one channel that was compared with another that was not: they show more places of the same field."""
    fixed, moving = task.pair.planes
    one, other = candidate.channels
    pairs = [(candidate.fixed, plane) for number, plane in moving.items() if number != other]
    pairs += [(plane, candidate.moving) for number, plane in fixed.items() if number != one]
    return [PlanePair(*planes, task.pair.compared_by.refine, task.seed) for planes in pairs[:_MOST_OTHERS]]
