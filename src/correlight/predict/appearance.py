"""The appearance that compares a prediction of one image with the other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from correlight.appearance import Appearance, Planes
from correlight.images.plane import Plane, Prediction
from correlight.predict.model import Model

Role = Literal["fixed", "moving"]


@dataclass(frozen=True)
class PredictedAppearance(Appearance):
    """Features of two images one of which a model replaces by its prediction.

    Parameters
    ----------
    model : Model
        What predicts.
    predicts_from : {"fixed", "moving", "auto"}
        Which image it is applied to; "auto" takes the one that it finds less unusual.
    """

    model: Model = field(kw_only=True)
    predicts_from: Role | Literal["auto"] = field(default="auto", kw_only=True)

    def made_alike(self, fixed: Planes, moving: Planes) -> tuple[Planes, Planes]:
        """The channels of the image that the model is for predicted, those of the other denoised if the model can.

        Parameters
        ----------
        fixed, moving : dict of int or None to Plane
            The channels of either image that may be used for registration, each on its own grid.
        """
        scores = {
            role: {number: self.model.unusualness(plane) for number, plane in planes.items()}
            for role, planes in (("fixed", fixed), ("moving", moving))
        }
        role = self.predicts_from
        if role == "auto":
            role = "fixed" if min(scores["fixed"].values()) <= min(scores["moving"].values()) else "moving"
        if role == "fixed":
            return self._predicted(fixed, scores[role]), self._comparable(moving)
        return self._comparable(fixed), self._predicted(moving, scores[role])

    def _comparable(self, planes: Planes) -> Planes:
        return {number: self.model.made_comparable(plane) for number, plane in planes.items()}

    def _predicted(self, planes: Planes, scores: dict[int | None, float]) -> Planes:
        return {number: self._of(plane, scores[number]) for number, plane in planes.items()}

    def _of(self, plane: Plane, unusual: float) -> Plane:
        made, confidence = self.model.apply_with_confidence(plane)
        return replace(made, predicted=Prediction(plane, unusual, confidence))


def predicting(base: Appearance, model: Model, predicts_from: Role | Literal["auto"]) -> PredictedAppearance:
    """An appearance that compares by what another one compares by, after a prediction.

    Parameters
    ----------
    base : Appearance
        Features for search and refinement.
    model : Model
        What predicts.
    predicts_from : {"fixed", "moving", "auto"}
        Which image.
    """
    return PredictedAppearance(
        base.search, base.stride, base.refine, base.unusualness, model=model, predicts_from=predicts_from
    )
