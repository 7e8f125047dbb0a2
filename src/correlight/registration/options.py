"""What was asked of a registration, and whether the methods of the recipe can serve it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.landmarks.tables import LandmarkTable
from correlight.methods.protocols import DIMENSIONS, OPTIONS, Dimension, EvidenceMethod, Option, Refinement, Search
from correlight.methods.registry import METHOD_KINDS
from correlight.recipes import Recipe
from correlight.search.limits import ROTATIONS, SCALES, STRETCH_LIMITS, Start, StartPoints
from correlight.transforms import Affine


@dataclass(frozen=True)
class Options:
    """Options of `correlight.register` that methods heed or not; defaults ask for nothing.

    Parameters
    ----------
    model, start, rotation, scale, mirror, pose, stretch, landmarks
        As for `correlight.register`.
    """

    model: str | None = None
    start: Start | None = None
    rotation: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    mirror: bool = True
    pose: int | None = None
    stretch: tuple[float, float] | None = None
    landmarks: LandmarkTable | None = None

    def __post_init__(self) -> None:
        # Numbers of NumPy are taken for what they are; a span may be an array.
        for name in ("rotation", "scale", "stretch", "mirror"):
            value = getattr(self, name)
            if isinstance(value, np.bool_):
                object.__setattr__(self, name, bool(value))
            elif isinstance(value, np.ndarray) and value.ndim == 1:
                object.__setattr__(self, name, tuple(value.tolist()))

    @property
    def given(self) -> tuple[Option, ...]:
        """Those that ask for something, but for the model."""
        default = Options()
        return tuple(name for name in OPTIONS if getattr(self, name) is not getattr(default, name))


@dataclass(frozen=True)
class Methods:
    """One object of each method of a recipe, with its settings."""

    appearance: Any
    search: Search
    refinement: Refinement
    evidence: EvidenceMethod

    @classmethod
    def of(cls, recipe: Recipe) -> Methods:
        """Those of a recipe."""
        made = {kind: recipe.make(kind) if kind in recipe.parts else None for kind in METHOD_KINDS}
        return cls(**made)  # type: ignore[arg-type]


def check_arguments(
    images: Mapping[str, object],
    options: Options,
    roi: object = None,
    seed: object = 0,
    workers: object = None,
    progress: object = None,
) -> None:
    """Refuse arguments of another type than they should have, before any work is done.

    Raises
    ------
    UsageError
        In one sentence that says what was expected.
    """
    must_be_images(images)
    for name, span in (("rotation", options.rotation), ("scale", options.scale), ("stretch", options.stretch)):
        if span is not None and not _are_numbers(span, 2, Real):
            raise UsageError(f"A {name} to search is two numbers in ascending order; got {span!r}.")
    if roi is not None and not _are_numbers(roi, 4, Integral):
        raise UsageError(f"A region is four whole numbers of pixels, y0, y1, x0, x1; got {roi!r}.")
    if not _is_whole(seed, 0):
        raise UsageError(f"A seed is a whole number from 0; got {seed!r}.")
    for name, number in (("pose", options.pose), ("number of workers", workers)):
        if number is not None and not _is_whole(number, 1):
            raise UsageError(f"A {name} is a whole number from 1; got {number!r}.")
    if not isinstance(options.mirror, bool):
        raise UsageError(f"Whether mirrored poses are tried is True or False; got {options.mirror!r}.")
    start = options.start
    if start is not None and not isinstance(start, StartPoints) and not callable(getattr(start, "jacobian", None)):
        raise UsageError(f"A start is a Transform or StartPoints; got {type(start).__name__}.")
    if options.landmarks is not None and not isinstance(options.landmarks, LandmarkTable):
        raise UsageError(f"Landmarks were expected as a LandmarkTable; got {type(options.landmarks).__name__}.")
    if progress is not None and not callable(progress):
        raise UsageError(f"A function of a stage and a fraction was expected for progress; got {progress!r}.")


def as_image(role: str, given: Image | ArrayLike, spacing: float | Sequence[float] | None) -> Image:
    """An image, of an array if need be, with the pixel size that was given for it.

    Raises
    ------
    UsageError
        If it is neither, or the pixel size does not fit it.
    """
    if isinstance(given, str | bytes | Path) or given is None:
        raise UsageError(
            f"The {role} image was expected as an array or an Image, such as read makes of a file; got "
            f"{type(given).__name__}."
        )
    try:
        if not isinstance(given, Image):
            return Image.from_array(given, spacing)
        return given if spacing is None else given.with_spacing(spacing, "given by the caller")
    except UsageError as error:
        raise UsageError(f"The {role} image: {error}") from error


def must_be_images(images: Mapping[str, object]) -> None:
    """Refuse what is no `Image`, by the role that it was given.

    Raises
    ------
    UsageError
        In one sentence that says how to make one.
    """
    for role, image in images.items():
        if not isinstance(image, Image):
            raise UsageError(
                f"The {role} image was expected as an Image, as read or Image.from_array make it; got "
                f"{type(image).__name__}."
            )


def _are_numbers(values: object, count: int, kind: type) -> bool:
    return (
        isinstance(values, Sequence | np.ndarray) and len(values) == count and all(isinstance(v, kind) for v in values)
    )


def _is_whole(value: object, least: int) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and int(value) >= least


def dimension_of(fixed: Image, moving: Image) -> Dimension:
    """Whether two images are flat, stacks, or a section and a stack; a stack of one slice is a section."""
    flat = [image.ndim == 2 or image.grid.shape[0] == 1 for image in (fixed, moving)]
    if fixed.ndim == moving.ndim == 2:
        return "2-D"
    return "section in stack" if any(flat) else "3-D"


def heeded(methods: Methods, dimension: Dimension) -> frozenset[Option]:
    """The options that the methods of a recipe take into account of such images."""
    return frozenset(methods.search.serves(dimension).options | methods.refinement.serves(dimension).options)


def check(recipe: Recipe, methods: Methods, dimension: Dimension, options: Options) -> None:
    """Refuse what the methods of a recipe do not serve.

    Raises
    ------
    UsageError
        In one sentence that says what they do serve.
    """
    served = [kind for kind in DIMENSIONS if recipe.serves(kind)]
    words = {"2-D": "flat images", "3-D": "stacks", "section in stack": "a section and a stack"}
    if dimension not in served:
        raise UsageError(
            f"The recipe {recipe.name} registers {' or '.join(words[kind] for kind in served)}; got "
            f"{'two ' if dimension != 'section in stack' else ''}{words[dimension]}, so choose another recipe."
        )
    search, refinement = methods.search.serves(dimension), methods.refinement.serves(dimension)
    known = heeded(methods, dimension)
    refused = [name for name in options.given if name not in known]
    if refused:
        named = " or ".join(name if name == "landmarks" else f"a {name}" for name in refused)
        raise UsageError(
            f"The recipe {recipe.name} cannot take {named} of {words[dimension]} into account; "
            f"it takes {', '.join(name for name in OPTIONS if name in known) or 'none'}."
        )
    for name, span, (least, most) in (
        ("rotation", options.rotation, ROTATIONS),
        ("scale", options.scale, SCALES),
        ("stretch", options.stretch, STRETCH_LIMITS),
    ):
        if span is not None and not least <= span[0] <= span[1] <= most:
            raise UsageError(
                f"A {name} to search is two numbers in ascending order from {least:g} to {most:g}; got {span}."
            )
    models = tuple(dict.fromkeys((*search.models, *refinement.models)))
    if options.model is not None and options.model not in models:
        raise UsageError(
            f"A model of the recipe {recipe.name} for {words[dimension]} is one of {', '.join(models)}; "
            f"got {options.model!r}."
        )
    if options.landmarks is not None and options.model != "elastic":
        raise UsageError(
            "Landmarks beside images lead a smooth field, which only the model elastic has; ask for that model, or "
            "give the landmarks as a start."
        )
    start = options.start
    ndim = 2 if dimension == "2-D" else 3
    if isinstance(start, StartPoints):
        if ndim == 3:
            raise UsageError("Stacks start from a transform; give three landmarks or more, a transform, or no start.")
    elif start is not None and (start.ndim != ndim or (ndim == 3 and not isinstance(start, Affine))):
        wanted = "a transform of two axes" if ndim == 2 else "an affine transform of three axes"
        raise UsageError(f"{words[dimension].capitalize()} start from {wanted}; give one, or none.")
