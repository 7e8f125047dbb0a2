"""register(): two images and a recipe in, one result out. The only place where the stages meet."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from correlight.appearance import APPEARANCES
from correlight.appearance.channels import Channels
from correlight.clouds import CLOUD_MODELS, Organelles, register_clouds
from correlight.errors import UsageError
from correlight.fiducials import refused, settle, together
from correlight.image import Image
from correlight.plane import Plane
from correlight.pose import Pose
from correlight.provenance import image_record, peak_memory_mb, versions
from correlight.pyramid import region_of, working_image
from correlight.recipes import Recipe, load
from correlight.refine.choose import choose_measure, choose_model
from correlight.refine.linear import distance, overlay, refine
from correlight.refine.models import MODELS, Model
from correlight.result import PredictedError, Result, Verdict
from correlight.search.correlate import ByFeatures, MakeEngine
from correlight.search.fiducials import Fiducials, FiducialSearch
from correlight.search.information import MutualInformationEngine
from correlight.search.limits import Start, claimed_scale, limits_for, near_start, pixel_size
from correlight.search.poses import distinct, rescored, search_poses
from correlight.transforms import Affine
from correlight.verify import check, judge, predict_error

Progress = Callable[[str, float], None]

# An image with a shorter side than this shows too little to be recognised.
LEAST_SIDE = 32
# Each thread holds the spectra of one scale; more of them cost memory and gain little.
_MOST_WORKERS = 8
# Working size at which channels are compared at a pose that beads gave.
_COMPARED = 256
# Working sizes at which hypotheses are refined before the best of them is refined to the end.
_HYPOTHESIS_PYRAMID = (128, 256)


@dataclass(frozen=True, eq=False)
class _Candidate:
    """One pair of channels with its ranked poses."""

    fixed_channel: int | None
    moving_channel: int | None
    fixed: Plane
    moving: Plane
    poses: list[Pose]
    fiducials: Fiducials | None = None

    @property
    def margin(self) -> float:
        """How far the best pose stands above the next, or above chance where beads gave it."""
        if self.fiducials is not None:
            return self.fiducials.surprise
        if not self.poses:
            return 0.0
        rival = self.poses[1].score if len(self.poses) > 1 else 0.4 * self.poses[0].score
        return self.poses[0].score / max(rival, 1e-9)


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
        Two-dimensional images of one specimen, in either order of light and electron.
    recipe : str, Path or Recipe
        A name, a TOML file, or the object itself.
    model : {"rigid", "similarity", "affine", "projective"}, optional
        Kind of transform; without it the evidence chooses.
    fixed_channel, moving_channel : int or str, optional
        The channel that votes; without it every channel is tried.
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
    report = progress or (lambda stage, fraction: None)
    seconds: dict[str, float] = {}
    region = _region(fixed, roi)
    for role, image in (("fixed", region), ("moving", moving)):
        _registrable(role, image)
    if model is not None and model not in MODELS:
        raise UsageError(f"A model is one of {', '.join(MODELS)}; got {model!r}.")
    if chosen.search.engine == "point clouds":
        if rotation is not None or scale is not None or pose is not None:
            raise UsageError(f"The recipe {chosen.name} tries every orientation; rotation, scale and pose have no say.")
        votes = fixed_channel, moving_channel
        return _by_clouds(region, moving, chosen, model or chosen.refine.models[0], votes, start, mirror, seed)
    engine, appearance = _engine(chosen), APPEARANCES[chosen.search.channels]
    channels = appearance.refine
    limits = limits_for(
        region.grid,
        moving.grid,
        start,
        rotation,
        scale,
        mirror,
        unknown_scale=chosen.search.scale,
        calibrated_tolerance=chosen.search.calibrated_tolerance,
        least_overlap=chosen.search.least_overlap,
    )

    with _timed(seconds, "search"):
        candidates = []
        of_fixed = _planes("fixed", region, fixed_channel)
        of_moving = _planes("moving", moving, moving_channel)
        pairs = [(one, other) for one in of_fixed.items() for other in of_moving.items()]
        by_beads = FiducialSearch(region, moving, limits, **chosen.beads.model_dump())
        for number, ((fixed_number, fixed_plane), (moving_number, moving_plane)) in enumerate(pairs):
            if chosen.search.engine == "fiducials":
                matched = by_beads(fixed_number, moving_number)
                poses = near_start(list(matched.poses), start, fixed_plane.grid)
                candidates.append(_Candidate(fixed_number, moving_number, fixed_plane, moving_plane, poses, matched))
                report("search", (number + 1) / len(pairs))
                continue
            poses = search_poses(
                fixed_plane,
                moving_plane,
                limits,
                engine,
                workers=workers or min(os.cpu_count() or 1, _MOST_WORKERS),
                progress=lambda done, number=number: report("search", (number + done) / len(pairs)),  # type: ignore[misc]
            )
            poses = near_start(poses, start, fixed_plane.grid)
            poses = _hypotheses(fixed_plane, moving_plane, poses, chosen, channels)
            poses = rescored(fixed_plane, moving_plane, poses, limits, engine)
            candidates.append(_Candidate(fixed_number, moving_number, fixed_plane, moving_plane, poses))
    best = max(candidates, key=lambda candidate: candidate.margin)
    if not best.poses:
        return _nothing_found(fixed, moving, best, chosen, seed, seconds, began)
    if pose is not None:
        best = _of_rank(best, pose)

    with _timed(seconds, "refine"):
        report("refine", 0.0)
        models = _models(chosen, model, region, moving)
        top = best.poses[0].moving_from_fixed
        measure = chosen.refine.measure
        beads, found = None, best.fiducials
        if found is None and measure == "fiducials":
            found = by_beads.near(tuple(of_fixed), tuple(of_moving), best.poses[0].linear)
        if found is not None and found.poses:
            beads = settle(region.grid, moving.grid, found, models, best.poses[0])
        if best.fiducials is not None and measure != "fiducials":
            best = _in_sight(best, of_fixed, of_moving, channels)
        if beads is not None and measure == "fiducials" and (best.fiducials is not None or beads.verdict):
            choice = beads.choice
        else:
            if measure == "auto" or measure == "fiducials":
                measure = choose_measure(best.fixed, best.moving, top, channels)
            choice = choose_model(best.fixed, best.moving, top, models, channels, measure)
        report("refine", 1.0)

    with _timed(seconds, "verify"):
        report("verify", 0.0)
        if beads is not None and chosen.search.engine == chosen.refine.measure:
            # Beads alone: the images may show nothing else that both see.
            verdict, predicted = beads.verdict, beads.predicted
        else:
            checked = check(
                best.fixed,
                best.moving,
                choice,
                best.poses,
                engine,
                appearance,
                chosen.search.least_overlap,
            )
            verdict = judge(checked.findings)
            predicted = predict_error(best.fixed, best.moving, choice, checked)
            if beads is not None:
                apart = distance(choice.transform, beads.choice.transform, region.grid) / max(region.grid.extent)
                verdict = together(verdict, beads.verdict, apart)
            elif found is not None:
                verdict = together(verdict, refused(found))
            if beads is not None and choice is beads.choice:
                predicted = beads.predicted
        report("verify", 1.0)

    seconds["total"] = time.perf_counter() - began
    return Result(
        moving_from_fixed=choice.transform,
        model=choice.model,
        model_reason=choice.reason,
        verdict=verdict,
        predicted_error=predicted,
        poses=(replace(best.poses[0], moving_from_fixed=choice.transform), *best.poses[1:]),
        fixed=image_record(fixed, best.fixed_channel),
        moving=image_record(moving, best.moving_channel),
        scale_found=choice.transform.scale * pixel_size(fixed.grid) / pixel_size(moving.grid),
        scale_claimed=claimed_scale(fixed.grid, moving.grid),
        recipe=chosen.name,
        seed=seed,
        seconds=seconds,
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
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


@contextmanager
def _timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[stage] = time.perf_counter() - began


def _region(fixed: Image, roi: tuple[int, int, int, int] | None) -> Image:
    if roi is None:
        return fixed
    y0, y1, x0, x1 = roi
    return region_of(fixed, (y0, x0), (y1, x1))


def _registrable(role: str, image: Image) -> None:
    if image.ndim != 2:
        raise UsageError(f"The {role} image has {image.ndim} axes; only two-dimensional images can be registered yet.")
    if min(image.grid.shape) < LEAST_SIDE:
        raise UsageError(
            f"The {role} image has {image.grid.shape[0]} x {image.grid.shape[1]} pixels; it takes at least "
            f"{LEAST_SIDE} along each side to recognise anything."
        )
    if np.count_nonzero(working_image(image).valid()) < LEAST_SIDE**2:
        raise UsageError(f"The {role} image has hardly any valid pixels; check its mask.")


def _engine(recipe: Recipe) -> MakeEngine:
    if recipe.search.engine == "mutual information":
        return MutualInformationEngine
    appearance = APPEARANCES[recipe.search.channels]
    return ByFeatures(appearance.search, appearance.stride)


def _planes(role: str, image: Image, channel: int | str | None) -> dict[int | None, Plane]:
    """The channels that may vote, ready to be compared; channels that show nothing are left out."""
    wanted = image.votes if channel is None else (image.channel_index(channel),)
    planes = {number: Plane.of(image, number) for number in wanted}
    lively = {number: plane for number, plane in planes.items() if np.ptp(plane.values[plane.mask]) > 0}
    if not lively:
        raise UsageError(f"The {role} image has the same value everywhere; an image with structure was expected.")
    return lively


def _hypotheses(fixed: Plane, moving: Plane, poses: list[Pose], recipe: Recipe, channels: Channels) -> list[Pose]:
    """The best poses of a search, each refined a little; those that run into one another become one."""
    refined = []
    for pose in poses[: recipe.refine.hypotheses]:
        start = pose.moving_from_fixed
        better = refine(fixed, moving, start, "similarity", channels, pyramid=_HYPOTHESIS_PYRAMID)
        # A refinement that runs away from its pose has found nothing there.
        stays = distance(start, better, fixed.grid) < 0.1 * max(fixed.grid.extent)
        refined.append(replace(pose, moving_from_fixed=better if stays else start))
    return distinct(refined, fixed.grid)


def _in_sight(
    best: _Candidate, of_fixed: dict[int | None, Plane], of_moving: dict[int | None, Plane], channels: Channels
) -> _Candidate:
    """The same poses on the channels that know most of each other there: beads may shine where nothing else does."""
    top = best.poses[0].moving_from_fixed

    def shared(planes: tuple[Plane, Plane]) -> float:
        laid = overlay(*planes, top, _COMPARED)
        return laid.measure("mutual information", channels)(laid.samples).value if laid else -np.inf

    pairs = {(one, other): (of_fixed[one], of_moving[other]) for one in of_fixed for other in of_moving}
    one, other = max(pairs, key=lambda numbers: shared(pairs[numbers]))
    return replace(best, fixed_channel=one, moving_channel=other, fixed=of_fixed[one], moving=of_moving[other])


def _of_rank(candidate: _Candidate, rank: int) -> _Candidate:
    count = len(candidate.poses)
    if not 1 <= rank <= count:
        raise UsageError(f"The search found {count} distinct poses; pose {rank} was asked for; choose 1 to {count}.")
    order = [rank - 1, *(index for index in range(count) if index != rank - 1)]
    return replace(candidate, poses=[candidate.poses[index] for index in order])


def _models(recipe: Recipe, model: str | None, fixed: Image, moving: Image) -> tuple[Model, ...]:
    if model is not None:
        return tuple(known for known in MODELS if known == model)
    # Without both pixel sizes nothing says what rigid would mean.
    calibrated = claimed_scale(fixed.grid, moving.grid) is not None
    return tuple(known for known in recipe.refine.models if calibrated or known != "rigid")


def _nothing_found(
    fixed: Image,
    moving: Image,
    best: _Candidate,
    recipe: Recipe,
    seed: int,
    seconds: dict[str, float],
    began: float,
) -> Result:
    """A refused result where no pose within the limits overlaps enough; centre is laid on centre."""
    guess = Affine.similarity(source=fixed.grid.centre, target=moving.grid.centre)
    sentence = "No pose within the limits of the search gives the two images enough in common; widen the limits."
    if best.fiducials is not None:
        sentence = best.fiducials.constellation.reason
    seconds["total"] = time.perf_counter() - began
    empty = PredictedError(np.full((2, 2), np.nan, np.float32), fixed.grid.resized((2, 2)))
    return Result(
        moving_from_fixed=guess,
        model="similarity",
        model_reason="nothing was found to fit a model to",
        verdict=Verdict("refused", 0.0, (sentence,)),
        predicted_error=empty,
        poses=(),
        fixed=image_record(fixed, best.fixed_channel),
        moving=image_record(moving, best.moving_channel),
        scale_found=guess.scale * pixel_size(fixed.grid) / pixel_size(moving.grid),
        scale_claimed=claimed_scale(fixed.grid, moving.grid),
        recipe=recipe.name,
        seed=seed,
        seconds=seconds,
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
    )
