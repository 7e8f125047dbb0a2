"""The refinement by what images show: which measure and which kind of transform the evidence carries."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar, Literal

from pydantic import Field

from correlight.errors import UsageError
from correlight.intensity.elastic import with_field, with_significant_field
from correlight.intensity.fit import ImageFit
from correlight.intensity.planes import PlaneCandidate, most_alike
from correlight.intensity.volumes import VolumeCandidate
from correlight.methods.protocols import Dimension, MethodSettings, Option, Serves
from correlight.methods.task import Candidate, Fit, Task, models_for
from correlight.refine.choose import choose
from correlight.refine.described import FieldMeasure
from correlight.refine.planes import PlanePair
from correlight.refine.residual import gain_of_a_step
from correlight.refine.samples import Comparison, MeasureName
from correlight.transforms.motions import LINEAR_MODELS, LinearModel

ELASTIC = "elastic"
# Further pairs of channels that a field is fitted to, at most.
_MOST_OTHERS = 2
# A field is fitted only where a first look at a linear map sees a gain of so many standard errors: on pairs of which an
# affine map is right it sees less nineteen times out of twenty.
_WORTH_A_FIELD = 1.5
# By what a field is fitted, of a recipe whose measure asks for something else than what is usual.
_OF_FIELD: dict[str, tuple[FieldMeasure, ...]] = {
    "mutual information": ("mutual information",),
    "neural mutual information": ("mutual information",),
}


class RefinementSettings(MethodSettings):
    """Settings of the refinement by images.

    Parameters
    ----------
    measure : {"auto", "features", "mutual information", "neural mutual information", "weighted squares"}
        What is maximised; "auto" takes the one whose fits to two halves of the images agree best. "weighted squares" is
        for images of one modality, such as a prediction, whose confidence it heeds.
    models : tuple of str
        Kinds of transform that may be chosen, poorest first.
    field : {"on request", "significant", "always"}
        When a smooth field is looked for: where the caller asks for one; in flat images also where a linear map was
        accepted and a first look shows that more than that remains, and then it is added if that is significant; or
        unless the caller asks for another model.
    """

    measure: Literal["auto", "features", "mutual information", "neural mutual information", "weighted squares"] = "auto"
    models: tuple[LinearModel, ...] = Field(min_length=1)
    field: Literal["on request", "significant", "always"] = "on request"


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
        # A field is not fitted to a section in a stack, so nothing heeds landmarks there.
        options = frozenset[Option]({"landmarks"} if ELASTIC in models else ())
        return Serves(dimensions=dimensions, options=options, models=models, appearance=dimension == "2-D")

    def fit(self, task: Task, candidate: Candidate) -> ImageFit:
        """The first pose made exact, with the richest model that held-out parts of the images carry."""
        asked = task.model or (ELASTIC if self._settings.field == "always" else None)
        if asked != ELASTIC:
            return self._linear(task, candidate, models_for(task, self._settings.models))
        fit = self._straight(task, candidate)
        lost = isinstance(fit.candidate, PlaneCandidate) and fit.candidate.lost
        others, measures = _other_channels(task, fit.candidate), _OF_FIELD.get(self._settings.measure)
        return with_field(fit, others, lost=lost, landmarks=task.landmarks, measures=measures)

    def with_field(self, task: Task, fit: Fit) -> ImageFit | None:
        """An accepted fit with a smooth field where held-out parts clearly speak for one, or why without."""
        if self._settings.field != "significant" or task.model is not None:
            return None
        if not isinstance(fit, ImageFit) or not isinstance(fit.candidate, PlaneCandidate):
            return None
        if gain_of_a_step(fit.compared, fit.choice.transform) < _WORTH_A_FIELD:
            return replace(fit, reason=f"{fit.reason}; a first look shows no smooth field beyond it")
        straight = self._straight(task, fit.candidate) if fit.model == "projective" else fit
        bent = with_significant_field(straight, _other_channels(task, fit.candidate))
        return bent if bent.elastic is not None else replace(fit, reason=bent.reason)

    def _straight(self, task: Task, candidate: Candidate) -> ImageFit:
        """A linear fit to begin a field from: that holds what perspective bends, and its files hold none beside it."""
        allowed = tuple(model for model in self._settings.models if model != "projective") or ("affine",)
        return self._linear(task, candidate, models_for(replace(task, model=None), allowed) or allowed)

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
        # What is refused all the same is shown as it was found, and no time is spent on how well it can be known.
        most = 1 if candidate.lost else None
        choice = choose(pair, top, models[:most], self._measures(pair)[:most])
        if candidate.lost and len(models) > 1:
            choice = replace(choice, reason="deliberately wrong poses score more, so no richer model was tried")
        return ImageFit(candidate, choice.transform, choice.transform, choice.model, choice.reason, choice, pair)

    def _measures(self, pair: Comparison) -> tuple[MeasureName, ...]:
        return pair.reliable if self._settings.measure == "auto" else (self._settings.measure,)


def _other_channels(task: Task, candidate: Candidate) -> list[PlanePair]:
    """Pairs of one channel that was compared with another that was not: they show more places of the same field."""
    if not isinstance(candidate, PlaneCandidate):
        return []
    fixed, moving = task.pair.planes
    one, other = candidate.channels
    pairs = [(candidate.fixed, plane) for number, plane in moving.items() if number != other]
    pairs += [(plane, candidate.moving) for number, plane in fixed.items() if number != one]
    return [PlanePair(*planes, task.pair.compared_by.refine, task.seed) for planes in pairs[:_MOST_OTHERS]]
