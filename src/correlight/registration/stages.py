"""The stages of one registration: a search for candidates, then refinement, verdict and error of the best of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np

from correlight.appearance import APPEARANCES
from correlight.appearance.channels import Channels
from correlight.beads.evidence import refused, settle, together
from correlight.beads.matching import BeadSearch, MatchedBeads
from correlight.errors import UsageError
from correlight.evidence.checks import Standing, check, predict_error, rival_of, stand
from correlight.evidence.confidence import judge
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Verdict
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.recipes import Recipe
from correlight.refine.choose import choose
from correlight.refine.linear import MeasureName, Pose2D, distance, overlay, refine
from correlight.refine.models import MODELS, Model
from correlight.registration.inputs import Inputs
from correlight.registration.provenance import image_record, peak_memory_mb, versions
from correlight.registration.result import Result
from correlight.search.limits import Limits, Start, claimed_scale, near_start, pixel_size
from correlight.search.pose import Pose
from correlight.search.poses import Rounds
from correlight.search.ranking import distinct
from correlight.transforms import Affine

Progress = Callable[[str, float], None]

# Working size at which channels are compared at a pose that beads gave.
_COMPARED = 256
# Of results that stand so far both above rivals and above wrong poses none was wrong (640 results, 375 of them wrong).
_CLEAR = 1.5
# Working sizes at which hypotheses are refined before the best of them is refined to the end.
_HYPOTHESIS_PYRAMID = (128,)


@dataclass(frozen=True, eq=False)
class Task:
    """What one registration is given.

    Parameters
    ----------
    inputs : Inputs
        The two images, and which methods.
    limits : Limits
        Which poses are possible.
    model : str, optional
        Kind of transform; without it the evidence chooses.
    start : Transform or Clicks, optional
        Poses stay near it.
    seed : int
        Of every random draw.
    workers : int
        Threads of the search.
    report : callable
        Told the name of the stage and the fraction of it that is done.
    seconds : dict
        Wall time per stage, added up as the stages run.
    """

    inputs: Inputs
    limits: Limits
    model: str | None
    start: Start | None
    seed: int
    workers: int
    report: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Count the time spent inside as that of a stage."""
        began = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began


@dataclass(frozen=True, eq=False)
class Candidate:
    """One pair of channels with its ranked poses."""

    fixed_channel: int | None
    moving_channel: int | None
    fixed: Plane
    moving: Plane
    poses: list[Pose]
    beads: BeadSearch
    fiducials: MatchedBeads | None = None
    standing: Standing | None = None

    @property
    def margin(self) -> float:
        """How far the best pose stands above the next, or above chance where beads gave it."""
        if self.fiducials is not None:
            return self.fiducials.significance
        if not self.poses:
            return 0.0
        rival = rival_of(self.poses)
        return self.poses[0].score / max(rival.score if rival else 0.4 * self.poses[0].score, 1e-9)


def find(task: Task) -> Candidate:
    """Search pair after pair of channels until one leaves no doubt; the pair whose best pose stands out most."""
    inputs = task.inputs
    with task.timed("search"):
        of_fixed, of_moving = inputs.planes
        by_beads = BeadSearch(inputs.fixed, inputs.moving, task.limits, **inputs.recipe.beads.model_dump())
        blank = [
            Candidate(one, other, of_fixed[one], of_moving[other], [], by_beads)
            for one in of_fixed
            for other in of_moving
        ]
        found = _by_beads(task, blank) if inputs.recipe.search.engine == "fiducials" else _by_picture(task, blank)
        task.report("search", 1.0)
    return found


def _by_beads(task: Task, blank: list[Candidate]) -> Candidate:
    """The pair of channels whose beads match best."""
    candidates = []
    for number, one in enumerate(blank):
        matched = one.beads(one.fixed_channel, one.moving_channel)
        poses = near_start(list(matched.poses), task.start, one.fixed.grid)
        candidates.append(replace(one, poses=poses, fiducials=matched))
        task.report("search", (number + 1) / len(blank))
    return max(candidates, key=lambda candidate: candidate.margin)


def _by_picture(task: Task, blank: list[Candidate]) -> Candidate:
    """The first pair of channels that leaves no doubt, or the one whose best pose stands out most.

    Unusual scales are tried after all pairs were tried at the usual ones.
    """
    engine, working = task.inputs.engine, task.inputs.working
    searches = [Rounds(one.fixed, one.moving, task.limits, engine, task.workers, working) for one in blank]
    candidates = list(blank)
    refined: list[dict[Pose2D, Pose2D]] = [{} for _ in blank]
    for usual in (True, False):
        for number, (one, rounds) in enumerate(zip(blank, searches, strict=True)):
            if rounds.complete:
                continue
            told = partial(_part_done, task.report, (number + (0 if usual else len(blank))) / 2, len(blank))
            poses = near_start(rounds.ranked(told, usual=usual), task.start, one.fixed.grid)
            poses = _hypotheses(one.fixed, one.moving, poses, task, refined[number])
            candidate = replace(one, poses=rounds.rescored(poses))
            if candidate.margin >= _CLEAR and not (all(search.complete for search in searches) and one is blank[-1]):
                standing = _stood(task, candidate, candidate.poses[0].moving_from_fixed)
                candidate = replace(candidate, standing=standing)
                if standing.ratio >= _CLEAR:
                    return candidate
            candidates[number] = candidate
    return max(candidates, key=lambda candidate: candidate.margin)


def _part_done(report: Progress, number: float, count: int, done: float) -> None:
    report("search", (number + done / 2) / count)


def conclude(task: Task, best: Candidate) -> Result:
    """Refine the first pose of a candidate, judge it and predict its error."""
    if not best.poses:
        return _nothing_found(task, best)
    inputs, recipe = task.inputs, task.inputs.recipe
    appearance = APPEARANCES[recipe.search.channels]
    channels = appearance.refine
    with task.timed("refine"):
        task.report("refine", 0.0)
        models = _models(recipe, task.model, inputs.fixed, inputs.moving)
        top = best.poses[0].moving_from_fixed
        measure = recipe.refine.measure
        beads, found = None, best.fiducials
        if found is None and measure == "fiducials":
            of_fixed, of_moving = inputs.planes
            found = best.beads.near(tuple(of_fixed), tuple(of_moving), best.poses[0].linear)
        if found is not None and found.poses:
            beads = settle(inputs.fixed.grid, inputs.moving.grid, found, models, best.poses[0])
        if best.fiducials is not None and measure != "fiducials":
            best = _in_sight(inputs, best, channels)
        if beads is not None and measure == "fiducials" and (best.fiducials is not None or beads.verdict):
            choice = beads.choice
        else:
            measures = _measures(best) if measure == "auto" or measure == "fiducials" else (measure,)
            standing = _stood(task, best, top)
            best, lost = replace(best, standing=standing), standing.ratio < 1
            choice = choose(best.fixed, best.moving, top, models[:1] if lost else models, channels, measures)
            if lost and len(models) > 1:
                choice = replace(choice, reason="poses that are wrong for sure score more, so no richer one was tried")
        task.report("refine", 1.0)

    with task.timed("verify"):
        task.report("verify", 0.0)
        if beads is not None and recipe.search.engine == recipe.refine.measure:
            # Beads alone: the images may show nothing else that both see.
            verdict, predicted = beads.verdict, beads.predicted
        else:
            checked = check(best.fixed, best.moving, choice, _stood(task, best, choice.transform), appearance)
            verdict = judge(checked.findings)
            predicted = predict_error(best.fixed, best.moving, choice, checked)
            if beads is not None:
                extent = max(inputs.fixed.grid.extent)
                apart = distance(choice.transform, beads.choice.transform, inputs.fixed.grid) / extent
                verdict = together(verdict, beads.verdict, apart)
            elif found is not None:
                verdict = together(verdict, refused(found))
            if beads is not None and choice is beads.choice:
                predicted = beads.predicted
        task.report("verify", 1.0)
    poses = (replace(best.poses[0], moving_from_fixed=choice.transform), *best.poses[1:])
    return _result(task, best, choice.transform, choice.model, choice.reason, verdict, predicted, poses)


def _stood(task: Task, best: Candidate, pose: Pose2D) -> Standing:
    engine, least = task.inputs.engine, task.inputs.recipe.search.least_overlap
    return stand(best.fixed, best.moving, pose, best.poses, engine, least, task.workers, known=best.standing)


def of_rank(candidate: Candidate, rank: int) -> Candidate:
    """The candidate with the pose of this rank, counted from 1, in the first place.

    Raises
    ------
    UsageError
        If there are fewer poses.
    """
    count = len(candidate.poses)
    if not 1 <= rank <= count:
        raise UsageError(f"The search found {count} distinct poses; pose {rank} was asked for; choose 1 to {count}.")
    order = [rank - 1, *(index for index in range(count) if index != rank - 1)]
    return replace(candidate, poses=[candidate.poses[index] for index in order])


def _hypotheses(fixed: Plane, moving: Plane, poses: list[Pose], task: Task, known: dict[Pose2D, Pose2D]) -> list[Pose]:
    """The best poses of a search, each refined a little unless it is known; those that meet become one."""
    channels = APPEARANCES[task.inputs.recipe.search.channels].refine

    def refined(pose: Pose) -> Pose:
        start = pose.moving_from_fixed
        if start not in known:
            better = refine(fixed, moving, start, "similarity", channels, pyramid=_HYPOTHESIS_PYRAMID)
            # A refinement that runs away from its pose has found nothing there.
            stays = distance(start, better, fixed.grid) < 0.1 * max(fixed.grid.extent)
            known[start] = better if stays else start
        return replace(pose, moving_from_fixed=known[start])

    with ThreadPoolExecutor(task.workers) as pool:
        return distinct(pool.map(refined, poses[: task.inputs.recipe.refine.hypotheses]), fixed.grid)


def _measures(best: Candidate) -> tuple[MeasureName, ...]:
    """What may be maximised: where an image was smoothed, its edges are those of noise, and only its regions tell."""
    if best.fixed.smoothed or best.moving.smoothed:
        return ("mutual information",)
    return ("features", "mutual information")


def _in_sight(inputs: Inputs, best: Candidate, channels: Channels) -> Candidate:
    """The same poses on the channels that know most of each other there: beads may shine where nothing else does."""
    top = best.poses[0].moving_from_fixed
    of_fixed, of_moving = inputs.planes

    def shared(planes: tuple[Plane, Plane]) -> float:
        laid = overlay(*planes, top, _COMPARED)
        return laid.measure("mutual information", channels)(laid.samples).value if laid else -np.inf

    pairs = {(one, other): (of_fixed[one], of_moving[other]) for one in of_fixed for other in of_moving}
    one, other = max(pairs, key=lambda numbers: shared(pairs[numbers]))
    return replace(best, fixed_channel=one, moving_channel=other, fixed=of_fixed[one], moving=of_moving[other])


def _models(recipe: Recipe, model: str | None, fixed: Image, moving: Image) -> tuple[Model, ...]:
    if model is not None:
        return tuple(known for known in MODELS if known == model)
    # Without both pixel sizes nothing says what rigid would mean.
    calibrated = claimed_scale(fixed.grid, moving.grid) is not None
    return tuple(known for known in recipe.refine.models if calibrated or known != "rigid")


def _nothing_found(task: Task, best: Candidate) -> Result:
    """A refused result where no pose within the limits overlaps enough; centre is laid on centre."""
    fixed, moving = task.inputs.fixed.grid, task.inputs.moving.grid
    guess = Affine.similarity(source=fixed.centre, target=moving.centre)
    sentence = "No pose within the limits of the search gives the two images enough in common; widen the limits."
    if best.fiducials is not None:
        sentence = best.fiducials.matching.reason
    empty = PredictedError(np.full((2, 2), np.nan, np.float32), fixed.resized((2, 2)))
    verdict = Verdict("refused", 0.0, (sentence,))
    return _result(task, best, guess, "similarity", "nothing was found to fit a model to", verdict, empty, ())


def _result(
    task: Task,
    best: Candidate,
    found: Pose2D,
    model: str,
    model_reason: str,
    verdict: Verdict,
    predicted: PredictedError,
    poses: tuple[Pose, ...],
) -> Result:
    fixed, moving = task.inputs.fixed.grid, task.inputs.moving.grid
    return Result(
        moving_from_fixed=found,
        model=model,
        model_reason=model_reason,
        verdict=verdict,
        predicted_error=predicted,
        poses=poses,
        fixed=image_record(task.inputs.fixed, best.fixed_channel),
        moving=image_record(task.inputs.moving, best.moving_channel),
        scale_found=found.scale * pixel_size(fixed) / pixel_size(moving),
        scale_claimed=claimed_scale(fixed, moving),
        recipe=task.inputs.recipe.name,
        seed=task.seed,
        seconds=task.seconds,
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
    )
