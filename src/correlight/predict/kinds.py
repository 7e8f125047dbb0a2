"""The kinds of models by name: where each is loaded and trained, and by what recipe it serves.

A kind is two functions in modules that are loaded when the kind is used:

``loads(folder, facts) -> Mapping``
    reads the files of a model and returns what takes grey values, as `correlight.predict.contrast` prepares them at the
    pixel size of the model, and the valid pixels to predicted values on the same pixels.
``trains(pairs, settings, workplace) -> Trained``
    learns from pairs (`correlight.predict.training`) and writes the files of the model into its workplace.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, Protocol, runtime_checkable

from correlight.errors import UsageError
from correlight.images.image import Float32, Mask
from correlight.predict.facts import Contrast

Pairing = Literal["registered", "unpaired", "alone"]


class Mapping(Protocol):
    """What predicts."""

    def __call__(self, values: Float32, mask: Mask) -> Float32:
        """Predicted values of an image on its own pixels.

        Parameters
        ----------
        values : (Y, X) array of float32
            Zero mean and unit variance, 0 outside the mask.
        mask : (Y, X) array of bool
            Valid pixels.
        """
        ...


@runtime_checkable
class Denoising(Mapping, Protocol):
    """What predicts and besides makes the other image comparable with its predictions."""

    def with_confidence(self, values: Float32, mask: Mask) -> tuple[Float32, Float32]:
        """What the mapping predicts, and between 0 and 1 how far that is to be trusted at each pixel."""
        ...

    def denoised(self, values: Float32, mask: Mask) -> Float32:
        """An image such as is predicted, without what the model cannot tell from noise, in the same units."""
        ...


@dataclass(frozen=True)
class Kind:
    """One kind of model.

    Parameters
    ----------
    summary : str
        What it does, in a line.
    loads, trains : str
        ``module:function``.
    source, target : str
        What it usually predicts from, and what.
    pairing : {"registered", "unpaired", "alone"}
        Whether it learns from pairs that lie on each other, from images of two instruments of any places, or from
        images of one instrument.
    contrast : str
        How grey values are usually prepared.
    shrink : float
        Pixels of the training images that are usually made one.
    """

    summary: str
    loads: str
    trains: str
    source: str = "fixed"
    target: str = "moving"
    pairing: Pairing = "registered"
    contrast: Contrast = "equalised"
    shrink: float = 4.0

    def loader(self) -> Any:
        """The function that reads the files of a model."""
        return _function(self.loads)

    def trainer(self) -> Any:
        """The function that trains one."""
        return _function(self.trains)


KINDS = {
    "predicted-stain": Kind(
        "A U-Net predicts the stain from the electron image (DeepCLEM)",
        loads="correlight.predict.network:load",
        trains="correlight.learn.appearance.stain:train",
        source="electron",
        target="stain",
    ),
    "pix2pix": Kind(
        "A U-Net translates one image into the contrast of the other, against a discriminator (pix2pix)",
        loads="correlight.predict.network:load",
        trains="correlight.learn.appearance.paired:train",
    ),
    "unpaired": Kind(
        "A network translates one image into the contrast of the other, learned without pairs (CUT)",
        loads="correlight.predict.network:load",
        trains="correlight.learn.appearance.unpaired:train",
        pairing="unpaired",
    ),
    "superres": Kind(
        "A residual network draws an image on four times finer pixels (super-resolution)",
        loads="correlight.predict.network:load",
        trains="correlight.learn.appearance.superres:train",
        source="image",
        target="finer image",
        pairing="alone",
        contrast="stretched",
        shrink=1.0,
    ),
    "analogies": Kind(
        "Every pixel is what registered pairs show in the most alike surroundings (image analogies)",
        loads="correlight.predict.by_example:load_analogies",
        trains="correlight.learn.by_example:train_analogies",
    ),
    "dictionaries": Kind(
        "Sparse codes of patches under a dictionary that both instruments share",
        loads="correlight.predict.by_example:load_dictionaries",
        trains="correlight.learn.by_example:train_dictionaries",
    ),
}


def kind(name: str) -> Kind:
    """A kind by its name.

    Raises
    ------
    UsageError
        If there is none of that name.
    """
    if name not in KINDS:
        raise UsageError(f"There is no kind of model {name!r}; choose {', '.join(KINDS)}.")
    return KINDS[name]


def _function(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)
