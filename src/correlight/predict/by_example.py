"""Kinds of models that are numbers only: examples to be quoted (analogies), and a dictionary of patches.

Both keep their numbers in one ``.npz`` file, which is read without pickle, so that nothing in it can be run. Values are
standardised inside: the image by the contrast of the model, what is predicted by the mean and width of the targets.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping as Names
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import Float32, Mask
from correlight.predict.analogies import Analogy, Example, predict
from correlight.predict.dictionaries import JointDictionary
from correlight.predict.facts import ModelFacts
from correlight.predict.sparse_coding import Coding

ARRAYS = "arrays.npz"
# A small file must not take all memory: bytes that any may hold, and how many times its own size a larger one may.
_SMALL, _DENSEST = 2**26, 50


@dataclass(frozen=True)
class Units:
    """Grey values of the targets and standardised ones.

    Parameters
    ----------
    mean, width : float
        Of the valid pixels of the targets.
    """

    mean: float
    width: float

    def standardised(self, values: Float32) -> Float32:
        """Zero mean and unit variance, if the values are as the targets were."""
        return ((values - np.float32(self.mean)) / np.float32(self.width)).astype(np.float32)

    def back(self, values: Float32) -> Float32:
        """The grey values of standardised ones."""
        return (values * np.float32(self.width) + np.float32(self.mean)).astype(np.float32)


@dataclass(frozen=True, eq=False)
class Quoting:
    """A mapping by image analogies.

    Parameters
    ----------
    examples : sequence of ((Y, X) array, (Y, X) array, (Y, X) array of bool)
        Registered pairs, standardised.
    analogy : Analogy
        How they are searched.
    units : Units
        Of the targets.
    """

    examples: list[Example]
    analogy: Analogy
    units: Units

    def __call__(self, values: Float32, mask: Mask) -> Float32:
        """The prediction; what lies outside the mask is predicted from zeros."""
        return self.units.back(predict(values, self.examples, self.analogy))


@dataclass(frozen=True, eq=False)
class Coupled:
    """A mapping by coupled dictionaries, which denoises what its prediction is compared with and says how sure it is.

    Parameters
    ----------
    dictionary : JointDictionary
        Of standardised patches.
    units : Units
        Of the targets.
    """

    dictionary: JointDictionary
    units: Units

    def __call__(self, values: Float32, mask: Mask) -> Float32:
        """The prediction."""
        return self.with_confidence(values, mask)[0]

    def with_confidence(self, values: Float32, mask: Mask) -> tuple[Float32, Float32]:
        """The prediction, and between 0 and 1 how far it is to be trusted at each pixel (for equation 12)."""
        made = self.dictionary.predict(values, mask)
        return self.units.back(made.predicted), made.confidence

    def denoised(self, values: Float32, mask: Mask) -> Float32:
        """The image that the prediction is to be compared with, denoised by the same dictionary."""
        return self.units.back(self.dictionary.denoise_other(self.units.standardised(values), mask))


def write_arrays(folder: Path, arrays: Names[str, NDArray[np.generic]]) -> None:
    """Write the numbers of a model."""
    np.savez_compressed(folder / ARRAYS, allow_pickle=False, **arrays)


def load_analogies(folder: Path, facts: ModelFacts) -> Quoting:
    """Read a model of the kind ``analogies``.

    Raises
    ------
    ReadError
        If its numbers are damaged or do not fit each other.
    """
    stored = _Stored(folder)
    examples = []
    for number in range(_count(folder, facts)):
        image, other = stored.of(f"source{number}", 2), stored.of(f"target{number}", 2)
        mask = stored.of(f"mask{number}", 2).astype(bool)
        if not image.shape == other.shape == mask.shape or not mask.any():
            raise _damaged(folder, f"the images of example {number} do not fit each other")
        examples.append((image.astype(np.float32), other.astype(np.float32), mask))
    side = int(stored.own(facts, "side"))
    if side % 2 == 0 or not 3 <= side <= min(min(mask.shape) for *_, mask in examples):
        raise _damaged(folder, f"surroundings of {side} pixels do not fit its examples")
    return Quoting(examples, Analogy(side=side, kappa=stored.own(facts, "kappa")), stored.units(facts))


def load_dictionaries(folder: Path, facts: ModelFacts) -> Coupled:
    """Read a model of the kind ``dictionaries``.

    Raises
    ------
    ReadError
        If its numbers are damaged or do not fit each other.
    """
    stored = _Stored(folder)
    atoms, variances = stored.of("atoms", 2).astype(np.float32), stored.of("variances", 1).astype(np.float64)
    side, step = int(stored.own(facts, "side")), int(stored.own(facts, "step"))
    if step < 1 or side < 1 or side % step or atoms.shape[1] != 2 * side**2 or len(variances) != 6 or not len(atoms):
        raise _damaged(folder, f"{atoms.shape} atoms do not fit pairs of patches of {side} pixels")
    coding = Coding(side, step, stored.own(facts, "sparsity"), stored.own(facts, "weight"))
    return Coupled(JointDictionary(atoms, coding, variances), stored.units(facts))


def _count(folder: Path, facts: ModelFacts) -> int:
    count = facts.settings.get("examples", 0)
    if not isinstance(count, int) or count < 1:
        raise _damaged(folder, "it holds no example")
    return count


@dataclass(frozen=True)
class _Stored:
    """The numbers of a model, each checked when it is asked for."""

    folder: Path
    _arrays: dict[str, NDArray[np.generic]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        path = self.folder / ARRAYS
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(part.file_size for part in archive.infolist())
            if size > max(_SMALL, _DENSEST * path.stat().st_size):
                raise ValueError(f"{size / 2**20:.0f} MiB are packed more densely than numbers of images can be")
            with np.load(path, allow_pickle=False) as stored:
                self._arrays.update({name: stored[name] for name in stored.files})
        except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
            raise _damaged(self.folder, str(error)) from error

    def of(self, name: str, ndim: int) -> NDArray[np.generic]:
        found = self._arrays.get(name)
        if found is None or found.ndim != ndim or found.dtype.kind not in "fbiu" or not np.all(np.isfinite(found)):
            raise _damaged(self.folder, f"the numbers called {name} are missing, not finite or of another shape")
        return found

    def own(self, facts: ModelFacts, name: str) -> float:
        value = facts.settings.get(name)
        if not isinstance(value, int | float) or not np.isfinite(value):
            raise _damaged(self.folder, f"the setting {name} is missing")
        return float(value)

    def units(self, facts: ModelFacts) -> Units:
        return Units(self.own(facts, "target_mean"), self.own(facts, "target_width"))


def _damaged(folder: Path, why: str) -> ReadError:
    return ReadError(f"{folder / ARRAYS} was expected to hold the numbers of a model ({why}); copy its folder anew.")
