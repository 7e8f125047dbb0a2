"""register(): two images and a recipe in, one result out. The only place where the methods of a recipe meet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from threadpoolctl import threadpool_limits

from correlight.errors import UsageError
from correlight.evidence.verdict import STATUSES
from correlight.geometry import Points
from correlight.images.image import Image
from correlight.images.pyramid import region_of, working_image
from correlight.landmarks.tables import LandmarkTable
from correlight.methods.protocols import AddsField, Dimension, SearchesStretch
from correlight.methods.task import Candidate, Fit, ImagePair, Task
from correlight.progress import Progress, threads, watched
from correlight.recipes import Recipe, load
from correlight.registration.advice import advice_for
from correlight.registration.finish import finish, nothing_found
from correlight.registration.held import beyond_stretch, held, refused
from correlight.registration.options import Methods, Options, as_image, check, check_arguments, dimension_of
from correlight.registration.result import Result
from correlight.registration.stack import prepared_stacks
from correlight.registration.start import check_start, places_of, started
from correlight.registration.stated import Reading, as_stated, inexactness, may_be_stretched, readings, remarks
from correlight.search.limits import Limits, Start, limits_for
from correlight.search.stretch import FOLLOWED, STRETCHES, implied
from correlight.transforms.bending import bends

# An image with a shorter side than this shows too little to be recognised.
LEAST_SIDE = 32
# Each thread holds the spectra of one scale; more of them cost memory and gain little.
_MOST_WORKERS = 8
# An accepted result that is less certain than this is compared with that of exchanged sides of pixels, where an image
# states two: few structures can fit by chance in an image that is stretched by wrong metadata.
_UNAMBIGUOUS = 0.98
# Stacks may be wrong about the scale by a little more than what is promised to be found.
_SLACK_OF_STACKS = 1.02


def register(
    fixed: Image | ArrayLike,
    moving: Image | ArrayLike,
    recipe: str | Path | Recipe = "auto",
    *,
    fixed_spacing: float | Sequence[float] | None = None,
    moving_spacing: float | Sequence[float] | None = None,
    model: str | None = None,
    fixed_channel: int | str | None = None,
    moving_channel: int | str | None = None,
    roi: tuple[int, int, int, int] | None = None,
    start: Start | None = None,
    landmarks: LandmarkTable | None = None,
    rotation: tuple[float, float] | None = None,
    scale: tuple[float, float] | None = None,
    stretch: tuple[float, float] | None = None,
    mirror: bool = True,
    pose: int | None = None,
    predictor: str | Path | None = None,
    seed: int = 0,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Register the moving image to the fixed one, and report how reliable the result is.

    Parameters
    ----------
    fixed, moving : Image or array
        Images of one specimen, in either order of light and electron: both of two axes, two stacks with stated voxel
        sizes, or a section and a stack that it lies in. Arrays as `Image.from_array` takes them.
    recipe : str, Path or Recipe
        A name, a TOML file, or the object itself.
    fixed_spacing, moving_spacing : float or sequence of float, optional
        Micrometres per pixel, array order, in place of what the images state.
    model : {"rigid", "similarity", "affine", "projective", "elastic"}, optional
        Kind of transform, as far as the recipe offers it; without it, chosen by the evidence.
    fixed_channel, moving_channel : int or str, optional
        The channel used for registration; without it channels are tried until one is unambiguous.
    roi : (y0, y1, x0, x1), optional
        Part of the fixed image to register, in its pixels, ends excluded.
    start : Transform or StartPoints, optional
        An approximate ``moving_from_fixed``; the search stays near it. In the plane right to 15 degrees and a third of
        the width, in space to a few micrometres and degrees.
    landmarks : LandmarkTable, optional
        Places that belong together, which the model elastic shall lead to each other to within 2 pixels of the coarser
        image, as far as the images allow; without a start the search stays near the transform that they determine.
    rotation : (first, last), optional
        Degrees between which to search, as `Affine.similarity` counts them; of stacks, about z.
    scale : (least, greatest), optional
        Moving pixels per fixed pixel between which to search.
    stretch : (least, greatest), optional
        How many times too long an image may be along one of its axes, compared with the other; from 1. Without it, 1
        to 1.6 is searched where nothing is accepted, or with a large predicted error. A result stays within what is
        asked for, to 8 %.
    mirror : bool
        Whether mirrored poses are tried.
    pose : int, optional
        Take the pose of this rank, counted from 1, instead of the best.
    predictor : str or Path, optional
        Folder of the trained model, for a recipe that predicts one image from the other, such as ``predicted-stain``.
    seed : int
        Seed of every random draw.
    workers : int, optional
        Threads; without it one per processor, at most eight. The result does not depend on it.
    progress : callable, optional
        Called with the name of the stage and the fraction of it that is done, at least every half second. If it raises
        `correlight.errors.Cancelled`, so does this function, at once.

    Returns
    -------
    Result
        Falsy unless accepted. Two images that do not belong together give a refused result, not an error.

    Raises
    ------
    UsageError
        If an option is out of range, the recipe does not serve what is asked, or an image cannot be registered at all.
    Cancelled
        If `progress` raised it.

    Examples
    --------
    >>> from correlight.simulate import pair
    >>> couple = pair("cell", seed=3, electron_shape=(256, 256), light_shape=(192, 192), rotation=30.0, mirror=False)
    >>> register(couple.fixed, couple.moving, moving_channel="reflected", rotation=(20, 40), mirror=False).status
    'accepted'
    """
    began = time.perf_counter()
    fixed, moving = as_image("fixed", fixed, fixed_spacing), as_image("moving", moving, moving_spacing)
    chosen = recipe if isinstance(recipe, Recipe) else load(recipe)
    chosen = chosen if predictor is None else chosen.with_predictor(predictor)
    options = Options(model, start, rotation, scale, mirror, pose, stretch, landmarks)
    check_arguments({"fixed": fixed, "moving": moving}, options, roi, seed, workers, progress)
    region = _region(fixed, roi)
    dimension, methods = dimension_of(region, moving), Methods.of(chosen)
    check(chosen, methods, dimension, options)
    known = places_of(landmarks, fixed, moving)
    start = started(start, known)
    options = replace(options, start=start)
    images = _prepared(region, moving, dimension)
    check_start(start, images[0].grid, images[1].grid)
    appearance = methods.appearance.appearance if methods.appearance is not None else None
    stated = ImagePair(*images, fixed_channel, moving_channel, appearance)
    number = workers or threads(_MOST_WORKERS)
    # Matrices are small here: a second thread of BLAS would only wait, and take a processor from the search.
    with watched(progress) as report, threadpool_limits(1, user_api="blas"):
        walk = _Walk(chosen, methods, dimension, options, stated, seed, number, report, known)
        result, reading = walk.best()
    result = as_stated(result, reading, images[0].grid, images[1].grid)
    advice = advice_for(result, options, dimension, (fixed, moving), (fixed_channel, moving_channel))
    walk.seconds["total"] = time.perf_counter() - began
    # The region is a part of the image, and what was registered of a stack may be one, too.
    whole = fixed.grid if dimension == "2-D" else images[0].grid
    return replace(
        result,
        verdict=replace(
            result.verdict,
            reasons=(*result.verdict.reasons, *remarks(result, reading, walk.tried, walk.stretch_searched)),
        ),
        fixed=replace(result.fixed, shape=whole.shape, spacing=whole.spacing),
        moving=replace(result.moving, spacing=images[1].grid.spacing),
        advice=advice,
        images=(fixed, moving),
    )


@dataclass(frozen=True, eq=False)
class _Tried:
    """One registration, and what it was made with."""

    result: Result
    reading: Reading
    task: Task
    candidate: Candidate
    fit: Fit | None


class _Walk:
    """One registration after the other, until a reading of what the files state is accepted."""

    def __init__(
        self,
        recipe: Recipe,
        methods: Methods,
        dimension: Dimension,
        options: Options,
        stated: ImagePair,
        seed: int,
        workers: int,
        report: Progress,
        known: tuple[Points, Points] | None = None,
    ) -> None:
        self._recipe, self._methods, self._dimension, self._options = recipe, methods, dimension, options
        self._stated, self._seed, self._workers, self._report = stated, seed, workers, report
        self._known = known
        self.seconds: dict[str, float] = {}
        self._tried: list[_Tried] = []
        self.stretch_searched = False

    def best(self) -> tuple[Result, Reading]:
        """The result of the most certain reading."""
        best: _Tried | None = None
        for reading in self._readings():
            if best is not None and best.result and reading.last_resort:
                break
            latest = self._try(reading)
            best = latest if best is None or _replaces(latest, best) else best
            if latest.result.verdict.confidence >= _UNAMBIGUOUS:
                break
        assert best is not None
        stretched = self._stretched() if may_be_stretched(best.result) else None
        if stretched is not None:
            latest = self._try(stretched)
            best = latest if _replaces(latest, best) else best
        implied = self._implied(best)
        if implied is not None:
            latest = self._try(implied)
            best = latest if _replaces(latest, best) else best
        rank = self._options.pose
        if rank is not None and rank != 1:
            best = self._concluded(best.task, best.candidate.of_rank(rank), best.reading)
        return self._bent(best), best.reading

    def _try(self, reading: Reading) -> _Tried:
        task = self._task(reading)
        with task.stage("search"):
            candidate = self._methods.search.find(task)
        self._tried.append(self._concluded(task, candidate, reading))
        return self._tried[-1]

    @property
    def tried(self) -> list[Reading]:
        """The readings that were tried so far."""
        return [one.reading for one in self._tried]

    def _stretched(self) -> Reading | None:
        """The files with the likeliest stretch of one image along one of its axes, where any may be searched."""
        search, within = self._methods.search, self._stretches
        usual = self._tried[0]
        if within is None or not isinstance(search, SearchesStretch) or not usual.candidate.poses:
            return None
        with usual.task.stage("search"):
            found = search.stretch(usual.task, usual.candidate, within)
        self.stretch_searched = True
        if found is None:
            return None
        return Reading.stretched(usual.reading.fixed, usual.reading.moving, found)

    def _implied(self, best: _Tried) -> Reading | None:
        """The files with the stretch that an affine map has found already, if it was not accepted for want of a score.

        Poses are scored without a stretch, under which images agree less than they do.
        """
        within = self._stretches
        if within is None or best.result or best.fit is None:
            return None
        into, out = best.reading.units(self._stated.fixed.grid, self._stated.moving.grid)
        found = implied(into @ best.fit.linear @ out, within)
        if found is None or (best.reading.stretch is not None and found.stretch.like(best.reading.stretch)):
            return None
        return Reading.stretched(self._stated.fixed.grid, self._stated.moving.grid, found)

    @property
    def _stretches(self) -> tuple[float, float] | None:
        """Least and greatest stretch that may be searched; None where none may."""
        search, options = self._methods.search, self._options
        if not isinstance(search, SearchesStretch) or "stretch" not in search.serves(self._dimension).options:
            return None
        if options.model in ("rigid", "similarity") or options.start is not None:
            return None
        within = options.stretch or STRETCHES
        return None if within[1] < FOLLOWED else within

    def _readings(self) -> list[Reading]:
        """The ways to read the pixel sizes; of stacks, and for searches that heed no scale, as they are stated."""
        fixed, moving = self._stated.fixed.grid, self._stated.moving.grid
        if self._dimension != "2-D" or "scale" not in self._methods.search.serves(self._dimension).options:
            return [Reading(fixed, moving)]
        free = self._options.start is None and self._options.scale is None
        served = self._methods.search.serves(self._dimension)
        usual = self._methods.search.least_overlap if served.less_overlap else None
        tilts = self._stated.fixed.source.get("tilt"), self._stated.moving.source.get("tilt")
        return list(readings(fixed, moving, scale_is_free=free, usual_overlap=usual, tilts=tilts))

    def _task(self, reading: Reading) -> Task:
        return Task(
            self._stated.on_grids(reading.fixed, reading.moving),
            self._limits(reading),
            self._options.model,
            self._options.start,
            self._seed,
            self._workers,
            self._report,
            self.seconds,
            landmarks=self._known,
        )

    def _limits(self, reading: Reading) -> Limits:
        search, options, flat = self._methods.search, self._options, self._dimension == "2-D"
        tolerance = search.calibrated_tolerance
        if not flat:
            tolerance = (1 + tolerance) * _SLACK_OF_STACKS - 1
        limits = limits_for(
            reading.fixed,
            reading.moving,
            # Starts in space are followed by the search itself.
            options.start if flat else None,
            options.rotation,
            options.scale,
            options.mirror,
            unknown_scale=search.scale,
            calibrated_tolerance=tolerance if reading.believed else None,
            least_overlap=search.least_overlap,
        )
        if reading.stretch is not None:
            assert reading.scale is not None
            limits = limits.for_stretch(reading.stretch.factor).near(reading.scale)
        return limits if reading.least_overlap is None else limits.for_less_overlap(reading.least_overlap)

    def _concluded(self, task: Task, candidate: Candidate, reading: Reading) -> _Tried:
        """Refine the first pose of a candidate, judge it and predict its error."""
        if not candidate.poses:
            result = nothing_found(task.pair, candidate, self._recipe.name, self._seed, self.seconds)
            return _Tried(result, reading, task, candidate, None)
        with task.stage("refine"):
            fit = self._methods.refinement.fit(task, candidate)
        return _Tried(self._judged(task, fit, reading), reading, task, candidate, fit)

    def _judged(self, task: Task, fit: Fit, reading: Reading) -> Result:
        """The result of a fit, within what was asked for."""
        fit, beyond = held(fit, self._options, reading.fixed, reading.moving)
        stated = self._stated.fixed.grid, self._stated.moving.grid
        into, out = reading.units(*stated)
        beyond = beyond or beyond_stretch(into @ fit.linear @ out, self._options.stretch, stated[0])
        with task.stage("verify"):
            judgement = self._methods.evidence.judge(task, fit)
        if beyond is not None:
            judgement = refused(judgement, beyond)
        return finish(task.pair, fit, judgement, self._recipe.name, self._seed, self.seconds)

    def _bent(self, best: _Tried) -> Result:
        """The result with a smooth field where it was accepted, the recipe looks for one, and there clearly is one."""
        linear, refinement = best.result, self._methods.refinement
        if best.fit is None or not linear or not isinstance(refinement, AddsField):
            return linear
        with best.task.stage("refine"):
            fit = refinement.with_field(best.task, best.fit)
        if fit is None:
            return linear
        if not bends(fit.transform):
            return replace(linear, model_reason=fit.reason)
        bent = self._judged(best.task, fit, best.reading)
        if bent:
            return bent
        reason = f"{linear.model_reason}; with a smooth field the result would be {bent.status}, so none was added"
        return replace(linear, model_reason=reason)


def _replaces(later: _Tried, earlier: _Tried) -> bool:
    """Whether a later result is better; one of a last resort must not pass for better by a little more confidence."""
    one, other = later.result.verdict, earlier.result.verdict
    if later.reading.stretch is not None and later.result and earlier.result:
        # Without the stretch the earlier one was not exact, which confidence in its pose does not tell.
        return inexactness(later.result) < inexactness(earlier.result)
    if (later.reading.least_overlap is not None or later.reading.stretch is not None) and one.status != other.status:
        return STATUSES.index(one.status) > STATUSES.index(other.status)
    return one.confidence > other.confidence


def _region(fixed: Image, roi: tuple[int, int, int, int] | None) -> Image:
    if roi is None:
        return fixed
    y0, y1, x0, x1 = roi
    depth = fixed.grid.shape[:-2]
    return region_of(fixed, (*[0] * len(depth), y0, x0), (*depth, y1, x1))


def _prepared(fixed: Image, moving: Image, dimension: Dimension) -> tuple[Image, Image]:
    """Both images, as many axes each, with enough in them to be recognised."""
    if dimension != "2-D":
        return prepared_stacks(fixed, moving)
    for role, image in (("fixed", fixed), ("moving", moving)):
        if min(image.grid.shape) < LEAST_SIDE:
            raise UsageError(
                f"The {role} image has {image.grid.shape[0]} x {image.grid.shape[1]} pixels; it takes at least "
                f"{LEAST_SIDE} along each side to recognise anything."
            )
        if np.count_nonzero(working_image(image).valid()) < LEAST_SIDE**2:
            raise UsageError(f"The {role} image has hardly any valid pixels; check its mask.")
    return fixed, moving
