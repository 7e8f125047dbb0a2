"""The appearances that come with the package: features that images of unlike instruments have in common."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar, Literal

from pydantic import field_validator

from correlight.appearance import APPEARANCES, Appearance
from correlight.errors import UsageError
from correlight.methods.protocols import Dimension, MethodSettings, Serves


class _Features:
    """Features by their name in `correlight.appearance.APPEARANCES`; nothing to set."""

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    name: ClassVar[str]

    def __init__(self, settings: MethodSettings) -> None:
        self.appearance: Appearance = APPEARANCES[self.name]

    def serves(self, dimension: Dimension) -> Serves:
        """Any images: of stacks, projections and slabs are compared."""
        return Serves()


class Edges(_Features):
    """Directions and strengths of edges."""

    name = "edges"


class Descriptor(_Features):
    """The learned descriptor."""

    name = "descriptor"


class DescriptorAndEdges(_Features):
    """The learned descriptor, and edges, which are sharper."""

    name = "descriptor and edges"


class PredictedSettings(MethodSettings):
    """Settings of a comparison with a prediction.

    Parameters
    ----------
    predictor : str, optional
        Folder of the model; without it the caller of `correlight.register` names one.
    trained_as : str, optional
        Kind that the model must be of; any without.
    predicts_from : {"auto", "fixed", "moving"}
        Which image the model is applied to; "auto" takes the one that it finds less unusual.
    compared_by : str
        Features by which the prediction and the other image are compared: the name of another appearance.
    """

    predictor: str | None = None
    trained_as: str | None = None
    predicts_from: Literal["auto", "fixed", "moving"] = "auto"
    compared_by: str = "edges"

    @field_validator("compared_by")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in APPEARANCES:
            raise ValueError(f"there is no appearance {name!r}; choose {', '.join(APPEARANCES)}")
        return name


class Predicted:
    """One image replaced by what a trained model predicts the other instrument to show of it."""

    Settings: ClassVar[type[MethodSettings]] = PredictedSettings

    def __init__(self, settings: PredictedSettings) -> None:
        self._settings = settings

    @cached_property
    def appearance(self) -> Appearance:
        """Reads the model when a registration begins, not when a recipe is looked at."""
        from correlight.predict.appearance import predicting
        from correlight.predict.facts import must_be_of_kind
        from correlight.predict.model import load

        known = self._settings
        if known.predictor is None:
            raise UsageError(
                "This recipe compares a prediction with an image and names no predictor; give the folder of a trained "
                "model as the predictor."
            )
        model = load(known.predictor)
        if known.trained_as is not None:
            must_be_of_kind(model.facts, known.trained_as, model.folder)
        return predicting(APPEARANCES[known.compared_by], model, known.predicts_from)

    def serves(self, dimension: Dimension) -> Serves:
        """Flat images."""
        return Serves(dimensions=frozenset[Dimension]({"2-D"}))
