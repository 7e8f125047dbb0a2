"""What was asked of a registration, and whether the methods of the recipe can serve it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.methods.protocols import DIMENSIONS, OPTIONS, Dimension, EvidenceMethod, Option, Refinement, Search
from correlight.methods.registry import METHOD_KINDS
from correlight.recipes import Recipe
from correlight.search.limits import ROTATIONS, SCALES, Start, StartPoints
from correlight.transforms import Affine


@dataclass(frozen=True)
class Options:
    """Options of `correlight.register` that methods heed or not; defaults ask for nothing.

    Parameters
    ----------
    model, start, rotation, scale, mirror, pose
        As for `correlight.register`.
    """

    model: str | None = None
    start: Start | None = None
    rotation: tuple[float, float] | None = None
    scale: tuple[float, float] | None = None
    mirror: bool = True
    pose: int | None = None

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


def dimension_of(fixed: Image, moving: Image) -> Dimension:
    """Whether two images are flat, stacks, or a section and a stack; a stack of one slice is a section."""
    flat = [image.ndim == 2 or image.grid.shape[0] == 1 for image in (fixed, moving)]
    if fixed.ndim == moving.ndim == 2:
        return "2-D"
    return "section in stack" if any(flat) else "3-D"


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
    heeded = search.options | refinement.options
    refused = [name for name in options.given if name not in heeded]
    if refused:
        raise UsageError(
            f"The recipe {recipe.name} cannot take a {' or a '.join(refused)} of {words[dimension]} into account; "
            f"it takes {', '.join(name for name in OPTIONS if name in heeded) or 'none'}."
        )
    for name, span, (least, most) in (
        ("rotation", options.rotation, ROTATIONS),
        ("scale", options.scale, SCALES),
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
    start = options.start
    ndim = 2 if dimension == "2-D" else 3
    if isinstance(start, StartPoints):
        if ndim == 3:
            raise UsageError("Stacks start from a transform; give three landmarks or more, a transform, or no start.")
    elif start is not None and (start.ndim != ndim or (ndim == 3 and not isinstance(start, Affine))):
        wanted = "a transform of two axes" if ndim == 2 else "an affine transform of three axes"
        raise UsageError(f"{words[dimension].capitalize()} start from {wanted}; give one, or none.")
