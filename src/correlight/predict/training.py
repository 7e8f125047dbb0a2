"""What every kind of model is trained from and with; no kind needs to know where pairs and settings come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from correlight.errors import UsageError
from correlight.images.image import Float32, Mask
from correlight.predict.facts import Contrast, Usual

Device = Literal["auto", "cpu", "cuda", "mps"]
Tell = Callable[[str, float], None]
# Fewer pairs cannot be parted, and say nothing about what differs from one specimen to the next.
LEAST_PAIRS = 2
# From so many pairs on, whole ones are held out, each so many-th; of fewer, a quarter of every one.
_WHOLE_FROM, _EACH = 5, 5
_QUARTERS = 4
# A pair with fewer pixels along a side has no room for a quarter to be held out.
_LEAST_SIDE = 32


@dataclass(frozen=True, eq=False)
class TrainingPair:
    """Two images of one place on the same pixels, at the pixel size of the model.

    Parameters
    ----------
    name : str
        For messages and the report.
    source, target : (Y, X) array of float32
        What is predicted from, and what is to be predicted, between 0 and 1.
    mask : (Y, X) array of bool
        Pixels that are valid in both.
    target_mask : array of bool, optional
        Of two images of different places, the valid pixels of the target, which then has a shape of its own, and
        ``mask`` those of the source.

    Raises
    ------
    UsageError
        If the shapes differ, hardly a pixel is valid, or one of the images is constant.
    """

    name: str
    source: Float32
    target: Float32
    mask: Mask
    target_mask: Mask | None = None

    def __post_init__(self) -> None:
        if self.target_mask is not None:
            for role in ("source", "target"):
                self.alone(role)
            return
        if not self.source.shape == self.target.shape == self.mask.shape:
            raise UsageError(
                f"The two images of the pair {self.name} have {self.source.shape} and {self.target.shape} pixels; two "
                "images on the same pixels were expected, so give the transform between them."
            )
        if min(self.source.shape) < _LEAST_SIDE or np.count_nonzero(self.mask) < _LEAST_SIDE**2:
            raise UsageError(
                f"The pair {self.name} has hardly any pixels in common at the pixel size of the model; give larger "
                "images or a smaller pixel size."
                if self.source is not self.target
                else f"The image {self.name} has hardly any valid pixels at the pixel size of the model; give larger "
                "images or a smaller pixel size."
            )
        for what, values in (("source", self.source), ("target", self.target)):
            if np.ptp(values[self.mask]) == 0:
                raise UsageError(
                    f"The {what} image of the pair {self.name} has the same value everywhere; leave the pair out."
                )

    def alone(self, role: Literal["source", "target"]) -> TrainingPair:
        """One of the two images, as a pair with itself."""
        image = self.source if role == "source" else self.target
        mask = self.mask if role == "source" or self.target_mask is None else self.target_mask
        name = self.name if self.target_mask is None else f"{self.name} ({role})"
        return TrainingPair(name, image, image, mask)

    def cut(self, region: tuple[slice, slice]) -> TrainingPair:
        """A part of the pair, which may be constant: a quarter without stain is a quarter like others."""
        part = object.__new__(TrainingPair)
        for name in ("source", "target", "mask"):
            object.__setattr__(part, name, np.ascontiguousarray(getattr(self, name)[region]))
        object.__setattr__(part, "name", self.name)
        object.__setattr__(part, "target_mask", None)
        return part


@dataclass(frozen=True)
class TrainingSettings:
    """What a training depends on besides its pairs.

    Parameters
    ----------
    steps : int
        Batches to learn from at most, for kinds that learn step by step.
    seed : int
        Of everything random.
    contrast : str
        How grey values of the source are prepared (see `correlight.predict.contrast`).
    device : {"auto", "cpu", "cuda", "mps"}
        Where networks are trained; "auto" takes the first there is of CUDA, MPS and the processor.
    own : mapping
        Settings that one kind alone knows.
    """

    steps: int = 3000
    seed: int = 0
    contrast: Contrast = "equalised"
    device: Device = "auto"
    own: Mapping[str, float | int | str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sample:
    """What a finished model makes of a part that was held out, for the report.

    Parameters
    ----------
    name : str
        Of the pair.
    source, target, predicted : (Y, X) array of float32
        What went in, what should have come out, and what did.
    """

    name: str
    source: Float32
    target: Float32
    predicted: Float32


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training hands over besides the files that it wrote.

    Parameters
    ----------
    files : tuple of str
        Names of the files of the model.
    usual : Usual
        What the training images look like.
    settings : mapping
        For the loader of the kind.
    curves : mapping of str to sequence of (float, float)
        For the report: step and value.
    samples : sequence of Sample
        For the report.
    remarks : sequence of str
        For the report: where training stopped and why.
    """

    files: tuple[str, ...]
    usual: Usual
    settings: Mapping[str, float | int | str]
    curves: Mapping[str, Sequence[tuple[float, float]]] = field(default_factory=dict)
    samples: Sequence[Sample] = ()
    remarks: Sequence[str] = ()


@dataclass(frozen=True)
class Workplace:
    """Where a training keeps what it may go on from, and where it tells how far it is.

    Parameters
    ----------
    folder : Path
        Exists; receives the files of the model and, meanwhile, checkpoints.
    tell : callable
        Called with a line of words and the fraction that is done.
    """

    folder: Path
    tell: Tell


Trainer = Callable[[Sequence[TrainingPair], TrainingSettings, Workplace], Trained]


def parted(pairs: Sequence[TrainingPair]) -> tuple[list[TrainingPair], list[TrainingPair]]:
    """Pairs to learn from and pairs held out.

    Of five pairs or more every fifth is held out; of fewer, the quarter of each, along its longer side, in which there
    is about as much of the target as in the whole.

    Raises
    ------
    UsageError
        If there are fewer than two pairs.
    """
    if len(pairs) < LEAST_PAIRS:
        raise UsageError(
            f"A model is trained on {LEAST_PAIRS} pairs or more, as one does not show what changes from image to "
            f"image; got {len(pairs)}."
        )
    if len(pairs) >= _WHOLE_FROM:
        held = [pair for number, pair in enumerate(pairs) if number % _EACH == _EACH - 1]
        return [pair for number, pair in enumerate(pairs) if number % _EACH != _EACH - 1], held
    learned, held = [], []
    for pair in pairs:
        quarter, rest = _quarter(pair)
        held.append(pair.cut(quarter))
        learned += [pair.cut(part) for part in rest]
    return learned, held


def _quarter(pair: TrainingPair) -> tuple[tuple[slice, slice], list[tuple[slice, slice]]]:
    axis = int(np.argmax(pair.source.shape))
    ends = np.linspace(0, pair.source.shape[axis], _QUARTERS + 1).astype(int)

    def region(first: int, last: int) -> tuple[slice, slice]:
        along, across = slice(int(ends[first]), int(ends[last])), slice(None)
        return (along, across) if axis == 0 else (across, along)

    whole = _amount(pair, (slice(None), slice(None)))
    away = [abs(_amount(pair, region(k, k + 1)) - whole) for k in range(_QUARTERS)]
    held = int(np.argmin(away))
    rest = [region(a, b) for a, b in ((0, held), (held + 1, _QUARTERS)) if a < b]
    return region(held, held + 1), rest


def _amount(pair: TrainingPair, region: tuple[slice, slice]) -> float:
    valid: Any = pair.target[region][pair.mask[region]]
    return float(valid.mean()) if valid.size else np.inf
