"""register(): two images and a recipe in, one result out. The only place where the stages meet."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.images.pyramid import region_of, working_image
from correlight.point_clouds.method import CLOUD_MODELS, Organelles, register_clouds
from correlight.recipes import Recipe, load
from correlight.refine.models import MODELS
from correlight.registration.inputs import Inputs
from correlight.registration.result import Result
from correlight.registration.stages import Candidate, Progress, Task, conclude, find, of_rank
from correlight.registration.stated import Reading, as_stated, readings, remarks
from correlight.registration.volumes import register_volumes
from correlight.search.limits import Start, limits_for
from correlight.transforms import Affine

# An image with a shorter side than this shows too little to be recognised.
LEAST_SIDE = 32
# Each thread holds the spectra of one scale; more of them cost memory and gain little.
_MOST_WORKERS = 8
# An accepted result of which less is certain is compared with that of exchanged sides of pixels, where an image states
# two: few structures can fit by chance in a picture that is stretched by a wrong claim.
_NO_DOUBT = 0.98


def register(
    fixed: Image,
    moving: Image,
    recipe: str | Path | Recipe = "auto",
    *,
    model: str | None = None,
    fixed_channel: int | str | None = None,
    moving_channel: int | str | None = None,
    roi: tuple[int, int, int, int] | None = None,
    start: Start | None = None,
    rotation: tuple[float, float] | None = None,
    scale: tuple[float, float] | None = None,
    mirror: bool = True,
    pose: int | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Find where the fixed image lies in the moving image, and say how far that can be trusted.

    Parameters
    ----------
    fixed, moving : Image
        Images of one specimen, in either order of light and electron: both of two axes, two stacks with stated voxel
        sizes, or a section and a stack that it lies in.
    recipe : str, Path or Recipe
        A name, a TOML file, or the object itself.
    model : {"rigid", "similarity", "affine", "projective"}, optional
        Kind of transform; without it the evidence chooses.
    fixed_channel, moving_channel : int or str, optional
        The channel that votes; without it channels are tried until one leaves no doubt.
    roi : (y0, y1, x0, x1), optional
        Part of the fixed image to register, in its pixels, ends excluded.
    start : Transform or Clicks, optional
        An approximate ``moving_from_fixed``; the search stays near it.
    rotation : (first, last), optional
        Degrees between which to search, as `Affine.similarity` counts them.
    scale : (least, greatest), optional
        Moving pixels per fixed pixel between which to search.
    mirror : bool
        Whether mirrored poses are tried.
    pose : int, optional
        Take the pose of this rank, counted from 1, instead of the best.
    seed : int
        Seed of every random draw.
    workers : int, optional
        Threads of the search; without it one per processor, at most eight. The result does not depend on it.
    progress : callable, optional
        Told the name of the stage and the fraction of it that is done.

    Returns
    -------
    Result
        Falsy unless accepted. Two images that do not belong together give a refused result, not an error.

    Raises
    ------
    UsageError
        If an option is out of range or an image cannot be registered at all.

    Examples
    --------
    >>> from correlight.simulate import pair
    >>> couple = pair("cell", seed=3, electron_shape=(256, 256), light_shape=(192, 192))
    >>> register(couple.fixed, couple.moving, moving_channel="chromatin").fixed.unit
    'micrometre'
    """
    began = time.perf_counter()
    chosen = recipe if isinstance(recipe, Recipe) else load(recipe)
    region = _region(fixed, roi)
    if chosen.search.engine == "patches" or (3 in (fixed.ndim, moving.ndim) and chosen.search.engine != "point clouds"):
        return register_volumes(
            region,
            moving,
            chosen,
            model=model,
            fixed_channel=fixed_channel,
            moving_channel=moving_channel,
            start=start,
            rotation=rotation,
            scale=scale,
            mirror=mirror,
            pose=pose,
            seed=seed,
            workers=workers or min(os.cpu_count() or 1, _MOST_WORKERS),
            progress=progress,
        )
    for role, image in (("fixed", region), ("moving", moving)):
        _registrable(role, image)
    if model is not None and model not in MODELS:
        raise UsageError(f"A model is one of {', '.join(MODELS)}; got {model!r}.")
    if chosen.search.engine == "point clouds":
        if rotation is not None or scale is not None or pose is not None:
            raise UsageError(f"The recipe {chosen.name} tries every orientation; rotation, scale and pose have no say.")
        votes = fixed_channel, moving_channel
        return _by_clouds(region, moving, chosen, model or chosen.refine.models[0], votes, start, mirror, seed)
    stated = Inputs(region, moving, chosen, fixed_channel, moving_channel)
    seconds: dict[str, float] = {}
    best: tuple[Result, Reading, Task, Candidate] | None = None
    for reading in readings(region.grid, moving.grid, scale_is_free=start is None and scale is None):
        if best is not None and best[0] and not reading.believed:
            break
        limits = limits_for(
            reading.fixed,
            reading.moving,
            start,
            rotation,
            scale,
            mirror,
            unknown_scale=chosen.search.scale,
            calibrated_tolerance=chosen.search.calibrated_tolerance if reading.believed else None,
            least_overlap=chosen.search.least_overlap,
        )
        task = Task(
            stated.read_as(reading.fixed, reading.moving),
            limits,
            model,
            start,
            seed,
            workers or min(os.cpu_count() or 1, _MOST_WORKERS),
            progress or (lambda stage, fraction: None),
            seconds,
        )
        candidate = find(task)
        result = conclude(task, candidate)
        if best is None or result.verdict.confidence > best[0].verdict.confidence:
            best = result, reading, task, candidate
        if result.verdict.confidence >= _NO_DOUBT:
            break
    assert best is not None
    result, reading, task, candidate = best
    if pose is not None:
        result = conclude(task, of_rank(candidate, pose))
    result = as_stated(result, reading, region.grid, moving.grid)
    seconds["total"] = time.perf_counter() - began
    return replace(
        result,
        verdict=replace(result.verdict, reasons=(*result.verdict.reasons, *remarks(result, reading))),
        fixed=replace(result.fixed, shape=fixed.grid.shape, spacing=fixed.grid.spacing),
        moving=replace(result.moving, spacing=moving.grid.spacing),
    )


def _by_clouds(
    fixed: Image,
    moving: Image,
    recipe: Recipe,
    model: str,
    votes: tuple[int | str | None, int | str | None],
    start: Start | None,
    mirror: bool,
    seed: int,
) -> Result:
    """The result of the recipe that lays organelles onto each other."""
    if model not in CLOUD_MODELS or not (start is None or isinstance(start, Affine)):
        raise UsageError(
            f"The recipe {recipe.name} knows the models {', '.join(CLOUD_MODELS)} and starts from an affine transform; "
            f"got {model} and {type(start).__name__}."
        )
    settings = Organelles(**recipe.clouds.model_dump())
    return register_clouds(
        fixed,
        moving,
        settings,
        model=CLOUD_MODELS[model],
        fixed_channel=votes[0],
        moving_channel=votes[1],
        start=start,
        mirror=mirror,
        recipe=recipe.name,
        seed=seed,
    )


def _region(fixed: Image, roi: tuple[int, int, int, int] | None) -> Image:
    if roi is None:
        return fixed
    y0, y1, x0, x1 = roi
    depth = fixed.grid.shape[:-2]
    return region_of(fixed, (*[0] * len(depth), y0, x0), (*depth, y1, x1))


def _registrable(role: str, image: Image) -> None:
    if image.ndim != 2:
        raise UsageError(f"The {role} image has {image.ndim} axes; this recipe registers images of two.")
    if min(image.grid.shape) < LEAST_SIDE:
        raise UsageError(
            f"The {role} image has {image.grid.shape[0]} x {image.grid.shape[1]} pixels; it takes at least "
            f"{LEAST_SIDE} along each side to recognise anything."
        )
    if np.count_nonzero(working_image(image).valid()) < LEAST_SIDE**2:
        raise UsageError(f"The {role} image has hardly any valid pixels; check its mask.")
