"""What a model states about itself, and its folder: ``model.json`` beside the files that the model consists of.

The folder holds numbers and text only; reading it runs nothing that is written in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from correlight.errors import ReadError, UsageError
from correlight.geometry import LARGEST_PIXEL, SMALLEST_PIXEL
from correlight.parsing import is_plain_name, is_regular, read_json, sha256

FACTS = "model.json"
DESCRIBED = 14  # numbers by which a part of an image is described
LEAST_SHRINK, MOST_SHRINK = 1e-6, 1e6

Contrast = Literal["stretched", "normalised", "equalised", "equalised locally"]


class _Strict(BaseModel):
    # JSON holds no NaN and no infinity, but its reader does, and a score of NaN would never be too high.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Usual(_Strict):
    """What the training images of a model look like (see `correlight.predict.usual`).

    Parameters
    ----------
    mean : tuple of float
        Mean of the descriptions of training images.
    whitening : tuple of tuple of float
        Takes a difference from the mean to independent numbers of deviation 1.
    typical : float
        Distance from the mean that 95 % of images held out of training keep.
    """

    mean: tuple[float, ...] = Field(min_length=DESCRIBED, max_length=DESCRIBED)
    whitening: tuple[tuple[float, ...], ...] = Field(min_length=DESCRIBED, max_length=DESCRIBED)
    typical: float = Field(gt=0)

    @field_validator("whitening")
    @classmethod
    def _square(cls, rows: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        if any(len(row) != DESCRIBED for row in rows):
            raise ValueError(f"rows of {DESCRIBED} numbers were expected")
        return rows


class ModelFacts(_Strict):
    """What a model states.

    Parameters
    ----------
    kind : str
        A name in `correlight.predict.kinds`.
    source, target : str
        What it predicts from and what it predicts, such as "electron" and "stain".
    spacing : float or None
        Micrometres per pixel at which it works; None where the training images stated none.
    shrink : float
        Pixels of the training images per pixel at which it works; for images without a pixel size.
    contrast : {"stretched", "normalised", "equalised", "equalised locally"}
        How grey values are prepared (see `correlight.predict.contrast`).
    usual : Usual
        By which an image is found to be unlike the training images.
    settings : mapping
        What the kind needs besides, in numbers and words.
    provenance : mapping
        What it was trained on, with what and when.
    files : mapping of str to str
        The files of the model by name, with their SHA-256.
    """

    format: Literal["correlight model"] = "correlight model"
    version: Literal[1] = 1
    kind: str
    source: str
    target: str
    spacing: float | None = Field(default=None, ge=SMALLEST_PIXEL, le=LARGEST_PIXEL)
    shrink: float = Field(default=1.0, ge=LEAST_SHRINK, le=MOST_SHRINK)
    contrast: Contrast = "stretched"
    usual: Usual
    settings: Mapping[str, float | int | str] = Field(default_factory=dict)
    provenance: Mapping[str, Any] = Field(default_factory=dict)
    files: Mapping[str, str]

    @property
    def finer(self) -> int:
        """Pixels that a prediction has for every one of the image along either axis: 1, or 4 of super-resolution."""
        return int(self.settings.get("finer", 1))


def read_facts(folder: Path) -> ModelFacts:
    """What the model in a folder states, after its files were compared with their checksums.

    Raises
    ------
    ReadError
        If there is no model, it is of another version, or a file is missing or damaged.
    """
    path = folder / FACTS
    stated = read_json(path, "the folder of a model, as training writes it")
    if not isinstance(stated, dict) or stated.get("format") != "correlight model":
        raise ReadError(f"{path} does not describe a model of correlight; give the folder that training wrote.")
    if stated.get("version") != 1:
        raise ReadError(
            f"{folder} holds a model of version {stated.get('version')}; this correlight reads version 1, so "
            "train it anew or use the correlight that wrote it."
        )
    try:
        facts = ModelFacts.model_validate(stated)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ReadError(f"{path} does not fit at {where!r}: {first['msg']}; copy the model anew.") from error
    for name, digest in facts.files.items():
        if not is_plain_name(name) or not is_regular(folder / name) or sha256(folder / name) != digest:
            raise ReadError(
                f"{folder / name} is truncated, was changed, or is not the file that the model was written with; copy "
                "the folder of the model anew."
            )
    return facts


def write_facts(folder: Path, facts: ModelFacts) -> None:
    """Write what a model states, with the checksums of its files as they are now."""
    files = {name: sha256(folder / name) for name in facts.files}
    stated = facts.model_copy(update={"files": files}).model_dump()
    (folder / FACTS).write_text(json.dumps(stated, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def must_be_of_kind(facts: ModelFacts, kind: str, folder: str | Path) -> None:
    """Refuse a model of another kind than a recipe or a run asks for.

    Raises
    ------
    UsageError
        In one sentence.
    """
    if facts.kind != kind:
        raise UsageError(f"{folder} holds a model of the kind {facts.kind}; one of the kind {kind} was asked for.")
