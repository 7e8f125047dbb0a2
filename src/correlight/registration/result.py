"""The result of a registration: the transform, the verdict with its evidence, and where it all came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import UsageError
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Status, Verdict
from correlight.geometry import Points, Unit
from correlight.images.image import Image
from correlight.search.pose import Pose
from correlight.transforms import Affine, Projective, Transform
from correlight.transforms.bending import Bending

# What stands in place of a recipe where a person set landmarks.
BY_HAND = "landmarks"


# What a piece of advice is about; a command line or a viewer names its own option for it.
Topic = Literal["pose", "look", "limits", "spacing", "channel", "mask", "recipe", "start", "landmarks"]


@dataclass(frozen=True, slots=True)
class Advice:
    """What to try next where a result is not accepted.

    Parameters
    ----------
    about : str
        The topic.
    sentence : str
        In words.
    """

    about: Topic
    sentence: str


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """What a result remembers of an image.

    Parameters
    ----------
    path, sha256 : str or None
        The file and its checksum; None for an array.
    shape : tuple of int
        Pixels per axis.
    spacing : tuple of float
        Pixel size per axis, in ``unit``.
    unit : {"micrometre", "pixel"}
        "pixel" where the file states no calibration.
    spacing_source : str
        Where the pixel size comes from, in words.
    channel : str
        Channel used for registration.
    channels : tuple of str
        All channels.
    findings : tuple of str
        What was found on reading: data bars, padding.
    part : mapping of str to int or str
        Which scene, series, frame or view of the file was asked for; empty if none was.
    """

    path: str | None
    sha256: str | None
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: Unit
    spacing_source: str
    channel: str
    channels: tuple[str, ...]
    findings: tuple[str, ...]
    part: Mapping[str, int | str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in ``result.json``."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}


@dataclass(frozen=True, slots=True, eq=False)
class Predicted:
    """What a result remembers of an image that was compared through the prediction of a model.

    Parameters
    ----------
    role : {"fixed", "moving"}
        Which of the two images.
    model : mapping
        What the model states about itself, without the statistics of its training images.
    folder : str
        Where it was read from.
    unusualness : float
        How unlike its training images it found the image: up to 1 for nearly all that are like those.
    original, values : (Y, X) array of float32
        What the model saw and what it predicted, between 0 and 1, on the pixels that were compared. A prediction is no
        observation: what it shows need not be there.
    """

    role: Literal["fixed", "moving"]
    model: Mapping[str, Any]
    folder: str
    unusualness: float
    original: NDArray[np.float32]
    values: NDArray[np.float32]

    def to_json(self) -> dict[str, Any]:
        """The record as it stands in ``result.json``, without pixels."""
        return {"role": self.role, "folder": self.folder, "unusualness": self.unusualness, "model": dict(self.model)}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Result:
    """Everything that a registration found out. Falsy unless accepted.

    Parameters
    ----------
    moving_from_fixed : Transform
        Takes positions in the fixed image to positions in the moving image, each in its own unit.
    model : str
        The kind of transform: rigid, similarity, affine, projective, thin-plate, elastic.
    model_reason : str
        Why this kind and no richer one, in words.
    verdict : Verdict
        The verdict, and why.
    predicted_error : PredictedError
        How far off it may be, place by place.
    poses : tuple of Pose
        The best distinct hypotheses, ranked; the first is where the result comes from.
    fixed, moving : ImageRecord
        The two images.
    scale_found : float
        Moving pixels per fixed pixel (geometric mean over the axes).
    scale_claimed : float or None
        The same according to the pixel sizes that the files state; None where one states none.
    recipe : str
        Name of the recipe.
    seed : int
        Seed of every random draw.
    seconds : mapping of str to float
        Wall time per stage, and "total".
    peak_memory_mb : float
        Largest resident memory of the process so far.
    versions : mapping of str to str
        Versions of correlight, Python and what it stands on.
    maps : mapping of str to array
        What else is known place by place, float32 on the grid of the predicted error: of a smooth field
        ``field_displacement``, how far it moves places beyond the linear map, in the unit of the fixed image, and
        ``field_evidence``, from 0, where it rests on smoothness alone, to 1, where the images themselves, or points set
        in both, support it.
    bending : Bending or None
        How a map that bends departs from the linear map of the first pose; None of a linear map.
    predicted : Predicted or None
        Of a recipe that predicts one image from the other, what was predicted and by which model.
    pairs : (Points, Points) or None
        Places that were matched one by one in the fixed and in the moving image: beads.
    advice : tuple of Advice
        What to try next, the most specific first; empty of an accepted result.
    images : (Image, Image) or None
        The fixed and the moving image as they were given; None of a result that was made without them.
    asked : mapping of str to object, or None
        Of a registration of two files, the files with their checksums and all options, so that it can be run again.
    """

    moving_from_fixed: Transform
    model: str
    model_reason: str
    verdict: Verdict
    predicted_error: PredictedError
    poses: tuple[Pose, ...]
    fixed: ImageRecord
    moving: ImageRecord
    scale_found: float
    scale_claimed: float | None
    recipe: str
    seed: int
    seconds: Mapping[str, float] = field(default_factory=dict)
    peak_memory_mb: float = 0.0
    versions: Mapping[str, str] = field(default_factory=dict)
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    bending: Bending | None = None
    predicted: Predicted | None = None
    pairs: tuple[Points, Points] | None = None
    advice: tuple[Advice, ...] = ()
    images: tuple[Image, Image] | None = None
    asked: Mapping[str, Any] | None = None

    def __bool__(self) -> bool:
        """Whether the result is accepted."""
        return bool(self.verdict)

    @property
    def status(self) -> Status:
        """Shorthand for ``verdict.status``."""
        return self.verdict.status

    @property
    def confidence(self) -> float:
        """Shorthand for ``verdict.confidence``."""
        return self.verdict.confidence

    def __repr__(self) -> str:
        """The verdict in a line, and what is against the result or for it."""
        error, symbol = self.predicted_error, self.predicted_error.grid.frame.symbol
        about = f", predicted error {error.median:.3g} {symbol}" if np.isfinite(error.median) else ""
        about = "" if self.status == "refused" else about
        reason = f" {self.verdict.reasons[0]}" if self.verdict.reasons else ""
        return f"<{self.status}, confidence {self.confidence:.2f}, {self.model}{about}.{reason}>"

    def transform_points(self, points: ArrayLike, to: Literal["moving", "fixed"] = "moving") -> Points:
        """Positions in one image as positions in the other, ``(N, D)``, array order, each in the unit of its image.

        Parameters
        ----------
        points : (N, D) array_like
            In the image that ``to`` does not name.
        to : {"moving", "fixed"}
            Where they are wanted.

        Raises
        ------
        UsageError
            If these are no positions, or the result is refused; `moving_from_fixed` is what came nearest.
        TransformError
            If the transform has no inverse there.
        """
        if self.status == "refused":
            raise UsageError("The registration was refused, so no point is moved by it; see result.verdict.reasons.")
        if to not in ("moving", "fixed"):
            raise UsageError(f"Points are transformed to 'moving' or 'fixed'; got {to!r}.")
        ndim = self.moving_from_fixed.ndim
        try:
            places = np.atleast_2d(np.asarray(points, np.float64))
        except (ValueError, TypeError) as error:
            raise UsageError(f"Positions of {ndim} coordinates were expected, (N, {ndim}); got {points!r}.") from error
        if places.ndim != 2 or places.shape[1] != ndim:
            raise UsageError(f"Positions of {ndim} coordinates were expected, (N, {ndim}); got shape {places.shape}.")
        return self.moving_from_fixed(places) if to == "moving" else self.moving_from_fixed.inverse()(places)

    def to_json(self, transform_file: str | None = None) -> dict[str, Any]:
        """The content of ``result.json``.

        Parameters
        ----------
        transform_file : str, optional
            Where the transform is stored if it has no matrix.
        """
        transform: dict[str, Any] = {"type": self.model, "axes": "".join(self._axes)}
        if isinstance(self.moving_from_fixed, Affine | Projective):
            transform["matrix"] = self.moving_from_fixed.matrix.tolist()
        else:
            transform["file"] = transform_file
        return {
            "status": self.verdict.status,
            "reasons": list(self.verdict.reasons),
            "confidence": self.verdict.confidence,
            "advice": [one.sentence for one in self.advice],
            "evidence": [clue.to_json() for clue in self.verdict.evidence],
            "fixed_unit": self.fixed.unit,
            "moving_unit": self.moving.unit,
            "predicted_error": self.predicted_error.to_json(),
            "moving_from_fixed": transform,
            "model_reason": self.model_reason,
            "field": None if self.bending is None else {**self.bending.to_json(), "unit": self.fixed.unit},
            "scale_found": self.scale_found,
            "scale_claimed": self.scale_claimed,
            "poses": [pose.to_json() for pose in self.poses],
            "fixed": self.fixed.to_json(),
            "moving": self.moving.to_json(),
            "recipe": self.recipe,
            "predicted": None if self.predicted is None else self.predicted.to_json(),
            "seed": self.seed,
            "asked": None if self.asked is None else dict(self.asked),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
            "peak_memory_mb": round(self.peak_memory_mb, 1),
            "versions": dict(self.versions),
        }

    @property
    def _axes(self) -> tuple[str, ...]:
        return ("z", "y", "x")[-self.moving_from_fixed.ndim :]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
