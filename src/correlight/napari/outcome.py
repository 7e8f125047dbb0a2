"""What came out of a registration, with all that takes long to prepare for showing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from correlight.geometry import Grid
from correlight.images.kernel import Order
from correlight.images.labels import label_channels
from correlight.napari.colours import look
from correlight.napari.compare import Comparison, compare
from correlight.napari.layer_image import LayerImage
from correlight.napari.placing import computed, is_shown_by_affine, resampled
from correlight.output.report.pictures import Look
from correlight.output.section import flat, in_space
from correlight.progress import watched
from correlight.registration.from_landmarks import LandmarkResult
from correlight.registration.result import Result
from correlight.transforms import Transform


@dataclass(frozen=True, eq=False)
class Bent:
    """The moving image on the pixels of the fixed one, where napari cannot show its transform.

    Parameters
    ----------
    grid : Grid
        The pixels.
    levels : dict of int or None to list of dask arrays
        For each channel its pixels, full resolution first.
    """

    grid: Grid
    levels: Mapping[int | None, list[Any]]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came out of a registration, and what it was made of.

    Parameters
    ----------
    fixed, moving : LayerImage
        The images with the layers that show them.
    result : Result
        The result.
    look : Look
        The colours in which the report shows both images.
    comparison : Comparison or None
        Both images on one coarse grid; None of stacks, and where nothing was found.
    bent : Bent or None
        The moving image as the result bends or tilts it; None where an affine transform of napari does.
    landmarks : LandmarkResult or None
        The landmarks that the result comes from, where people set it by hand.
    """

    fixed: LayerImage
    moving: LayerImage
    result: Result
    look: Look
    comparison: Comparison | None = None
    bent: Bent | None = None
    landmarks: LandmarkResult | None = None


def outcome_of(
    fixed: LayerImage,
    moving: LayerImage,
    result: Result,
    progress: Callable[[str, float], None],
    landmarks: LandmarkResult | None = None,
) -> Outcome:
    """Prepare a result for being shown, in the thread of the work.

    Parameters
    ----------
    fixed, moving : LayerImage
        The images.
    result : Result
        Of the two.
    progress : callable
        Called with "lay" and the fraction done; may raise `correlight.errors.Cancelled`.
    landmarks : LandmarkResult, optional
        The landmarks that the result comes from.
    """
    if result.status == "refused":
        return Outcome(fixed, moving, result, look(moving.image, result.moving.channel, None), landmarks=landmarks)
    comparison = compare(fixed.image, moving.image, result)
    shown = look(moving.image, result.moving.channel, comparison)
    layers = (*moving.channels.values(), next(iter(fixed.channels.values())))
    transform = result.moving_from_fixed
    laid = None
    if not is_shown_by_affine(transform, layers):
        lazy, ready = bent(fixed, moving, transform), dict[int | None, list[Any]]()
        with watched(progress) as report:

            def told(part: float) -> None:
                report("lay", (len(ready) + part) / len(lazy.levels))

            for number, levels in lazy.levels.items():
                ready[number] = computed(levels, told)
        laid = Bent(lazy.grid, ready)
    return Outcome(fixed, moving, result, shown, comparison, laid, landmarks)


def bent(fixed: LayerImage, moving: LayerImage, moving_from_fixed: Transform) -> Bent:
    """The moving image on the pixels of the fixed one; pixels are computed when they are looked at.

    Parameters
    ----------
    fixed, moving : LayerImage
        The images.
    moving_from_fixed : Transform
        Takes fixed positions to moving positions.
    """
    image, onto = moving.image, fixed.image
    thickness = min((part.grid.spacing[0] for part in (image, onto) if part.ndim == 3), default=1.0)
    source = in_space(image, moving_from_fixed, thickness, "moving")
    target = in_space(onto, moving_from_fixed, thickness, "fixed").grid
    labels = label_channels(image)
    levels = {}
    for number in moving.channels:
        order: Order = "nearest" if number in labels else "linear"
        levels[number] = resampled(source, number, moving_from_fixed, target, order)
    return Bent(flat(target), levels)
