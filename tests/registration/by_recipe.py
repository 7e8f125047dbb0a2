"""What each recipe serves, a small pair that it is for, and the task that `register` would make of that pair."""

from dataclasses import replace

import numpy as np

from correlight.images.image import Image
from correlight.methods.protocols import OPTIONS, Dimension
from correlight.methods.task import ImagePair, Task
from correlight.recipes import Recipe
from correlight.registration.options import Methods, dimension_of
from correlight.registration.stack import prepared_stacks
from correlight.search.limits import Limits, NearStart, pixel_sizes
from correlight.transforms import Affine
from tests.small_models import PREDICTING, cell_and_negative
from tests.small_pairs import Couple, cell_with_beads, organelles, section, stacks, stacks_of_beads

KINDS_OF_TRANSFORM = ("rigid", "similarity", "affine", "projective", "elastic")

# Landmarks lead a field, which is fitted by what images show.
FIELD = frozenset({"landmarks", "elastic"})
ALL: frozenset[str] = frozenset(OPTIONS) - {"landmarks"}
LINEAR = frozenset(KINDS_OF_TRANSFORM[:3])
# What each recipe takes of options and of kinds of transform; what is not here is refused.
IN_THE_PLANE: dict[Dimension, frozenset[str]] = {"2-D": ALL | LINEAR | FIELD | {"projective"}}
BEADS_IN_THE_PLANE: dict[Dimension, frozenset[str]] = {"2-D": (ALL | LINEAR | {"projective"}) - {"stretch"}}
IN_SPACE = ALL - {"stretch"}
STACKS: dict[Dimension, frozenset[str]] = {
    "3-D": IN_SPACE | LINEAR | FIELD,
    "section in stack": IN_SPACE | LINEAR,
}
CLOUDS = frozenset({"mirror", "start", "elastic"}) | LINEAR
SERVED: dict[str, dict[Dimension, frozenset[str]]] = {
    "auto": {**IN_THE_PLANE, **STACKS},
    "classical": {**IN_THE_PLANE, **STACKS},
    "descriptor": {**IN_THE_PLANE, **STACKS},
    "mutual-information": {**IN_THE_PLANE, **STACKS},
    "predicted-stain": IN_THE_PLANE,
    "analogies": IN_THE_PLANE,
    "dictionaries": IN_THE_PLANE,
    "style-elastic": IN_THE_PLANE,
    "neural-mi": {**IN_THE_PLANE, "3-D": STACKS["3-D"]},
    "volumes-any-axis": STACKS,
    "log-mi-3d": {dimension: taken - {"rotation", "mirror"} for dimension, taken in STACKS.items()},
    "fiducials": {**BEADS_IN_THE_PLANE, "3-D": STACKS["3-D"] - {"rotation"} - FIELD},
    "fiducials-then-image": {"2-D": IN_THE_PLANE["2-D"] - {"stretch"}},
    "image-then-fiducials": {"2-D": BEADS_IN_THE_PLANE["2-D"] | {"stretch"}},
    "point-clouds": {"2-D": CLOUDS, "3-D": CLOUDS},
}


def made_for(recipe: str, dimension: Dimension) -> Couple:
    """A small pair that a recipe is for."""
    if recipe in PREDICTING:
        return cell_and_negative()
    if recipe == "point-clouds":
        return organelles(2 if dimension == "2-D" else 3)
    if recipe == "fiducials" and dimension == "3-D":
        return stacks_of_beads()
    if dimension == "2-D":
        return cell_with_beads()
    # Patches are for stacks that are not turned.
    rotation = 0.0 if recipe == "log-mi-3d" else 40.0
    return stacks(rotation) if dimension == "3-D" else section(rotation)


def task_of(
    recipe: Recipe, pair: Couple, limits: Limits, start: Affine | None = None, model: str | None = None
) -> Task:
    """The task that the methods of a recipe get."""
    appearance = Methods.of(recipe).appearance
    images = prepared(pair.fixed, pair.moving)
    if start is not None and pair.fixed.ndim == pair.moving.ndim == 2:
        limits = replace(limits, start=NearStart.of(start, pair.fixed.grid))
    return Task(
        ImagePair(*images, appearance=appearance.appearance if appearance is not None else None),
        limits,
        model,
        start,
    )


def prepared(fixed: Image, moving: Image) -> tuple[Image, Image]:
    """Two images as `register` hands them to methods: with as many axes each."""
    return (fixed, moving) if dimension_of(fixed, moving) == "2-D" else prepared_stacks(fixed, moving)


def rotation_of(transform: Affine) -> float:
    """Degrees in the plane."""
    return Affine.of(transform.linear[-2:, -2:], np.zeros(2)).rotation


def pixels_per_pixel(pair: Couple) -> float:
    """Moving pixels per fixed pixel, as the scale of `register` counts them."""
    one, other = pixel_sizes(*(image.grid for image in prepared(pair.fixed, pair.moving)))
    return pair.moving_from_fixed.scale * one / other


def close_around(pair: Couple, degrees: float = 0.5, share: float = 0.004) -> Limits:
    """Limits with the truth in their middle; a narrow search is a quick one."""
    scale, angle = pair.moving_from_fixed.scale, rotation_of(pair.moving_from_fixed)
    return Limits((scale * (1 - share), scale * (1 + share)), (angle - degrees, angle + degrees), (False,))
