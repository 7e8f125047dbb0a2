"""The search of two images in the plane: pair after pair of channels, until one is unambiguous."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from correlight.appearance.channels import Channels
from correlight.evidence.null_poses import ScoreStatistics, rival_of, score_statistics
from correlight.images.plane import Plane
from correlight.methods.task import Candidate, Task
from correlight.progress import Progress, in_threads
from correlight.refine.linear import refine
from correlight.refine.planes import PlanePair
from correlight.refine.samples import LinearTransform, distance
from correlight.search.correlate import ByFeatures, MakeEngine
from correlight.search.pose import Pose
from correlight.search.poses import PoseSearch
from correlight.search.ranking import distinct
from correlight.search.stretch import FOLLOWED, StretchedPose, StretchSearch

# Of results that score so many times as much as rivals and as wrong poses, none was wrong (640 results, 375 of them
# wrong).
_UNAMBIGUOUS = 1.5
# Of poses that score so many times as much as the next before they are refined, only few rivals are refined as well.
_CLEAR, _FEW = 2.0, 3
# Working sizes at which hypotheses are refined before the best of them is refined to the end.
_HYPOTHESIS_LEVELS = (128,)
# Working size at which channels are compared at a pose that beads gave.
_COMPARED = 256
# Working sizes at which poses under a stretch are refined: they may be off by a whole step of the search.
_STRETCH_LEVELS = (64, 128)
# So many pairs of channels are compared under stretches.
_CHANNELS_STRETCHED = 3
# So many poses under stretches are made exact for each of them before the best is taken.
_STRETCHES_REFINED = 6
# Without a rival, a pose counts as if one had scored this share of it.
_SCORE_OF_NO_RIVAL = 0.4
# Of 267 recorded results that scored less than the best of their deliberately wrong poses, none was right.
_LOST = 1.0
_ALL_LOST = "Deliberately wrong poses score more than the best pose that was found."


@dataclass(frozen=True, eq=False)
class PlaneCandidate(Candidate):
    """One pair of channels with its ranked poses.

    Parameters
    ----------
    fixed, moving : Plane
        The two channels.
    engine : MakeEngine
        What they were compared by.
    scores : ScoreStatistics, optional
        Of the best pose, if it was compared with wrong ones already.
    found_by : Candidate, optional
        Where the poses come from, if not from these channels.
    search : PoseSearch, optional
        What found them.
    others : tuple of PlaneCandidate
        Other pairs of channels that were searched, those that stand out most first.
    """

    fixed: Plane
    moving: Plane
    engine: MakeEngine
    scores: ScoreStatistics | None = None
    found_by: Candidate | None = None
    search: PoseSearch | None = None
    others: tuple[PlaneCandidate, ...] = ()

    @property
    def lost(self) -> bool:
        """Whether the best pose was compared with deliberately wrong ones, and scores less."""
        return self.scores is not None and self.scores.ratio < _LOST

    @property
    def margin(self) -> float:
        """Score of the best pose over that of the next."""
        if not self.poses:
            return 0.0
        rival = rival_of(self.poses)
        return self.poses[0].score / max(rival.score if rival else _SCORE_OF_NO_RIVAL * self.poses[0].score, 1e-9)

    def compared(self, channels: Channels, seed: int) -> PlanePair:
        """The two planes as a refinement compares them."""
        return PlanePair(self.fixed, self.moving, channels, seed)

    def with_scores(self, task: Task, pose: LinearTransform) -> PlaneCandidate:
        """The candidate with score statistics of a pose; wrong poses that are known already serve again."""
        scores = score_statistics(
            self.fixed, self.moving, pose, self.poses, self.engine, task.limits, task.workers, self.scores
        )
        return replace(self, scores=scores)


def find(task: Task, engine: MakeEngine, hypotheses: int) -> PlaneCandidate:
    """The first pair of channels that is unambiguous, or the one whose best pose stands out most.

    Unusual scales are tried after all pairs were tried at the usual ones.

    Parameters
    ----------
    task : Task
        Of two images.
    engine : MakeEngine
        What poses are compared by.
    hypotheses : int
        How many poses of a search are refined.
    """
    of_fixed, of_moving = task.pair.planes
    candidates = [
        PlaneCandidate((one, other), (), of_fixed[one], of_moving[other], engine)
        for one in of_fixed
        for other in of_moving
    ]
    last = len(candidates) - 1
    searches = [
        PoseSearch(one.fixed, one.moving, task.limits, engine, task.workers, task.pair.working) for one in candidates
    ]
    refined: list[dict[LinearTransform, LinearTransform]] = [{} for _ in candidates]
    for common in (True, False):
        for number, search in enumerate(searches):
            if search.complete:
                continue
            candidate = candidates[number]
            told = partial(_share_done, task.report, number + (0 if common else last + 1), 2 * (last + 1))
            poses = task.limits.kept(search.ranked(told, common_scales=common))
            poses = _hypotheses(candidate, poses[: _worth_refining(poses, hypotheses)], task, refined[number])
            candidate = replace(candidate, poses=tuple(search.rescored(poses)), search=search)
            if candidate.margin >= _UNAMBIGUOUS and not (all(one.complete for one in searches) and number == last):
                candidate = candidate.with_scores(task, candidate.poses[0].moving_from_fixed)
                assert candidate.scores is not None
                if candidate.scores.ratio >= _UNAMBIGUOUS:
                    return candidate
            candidates[number] = candidate
    best, *others = sorted(candidates, key=lambda candidate: -candidate.margin)
    best = replace(best, others=tuple(others))
    if not (task.limits.last_resort and best.poses):
        return best
    # Nothing is refined that would be refused for this alone: something was refused before.
    best = best.with_scores(task, best.poses[0].moving_from_fixed)
    return replace(best, poses=(), nothing=_ALL_LOST) if best.lost else best


def _worth_refining(poses: list[Pose], most: int) -> int:
    """How many of ranked poses are refined."""
    clear = len(poses) > 1 and poses[0].score >= _CLEAR * poses[1].score
    return min(most, _FEW) if clear else most


def _hypotheses(
    candidate: PlaneCandidate, poses: list[Pose], task: Task, known: dict[LinearTransform, LinearTransform]
) -> list[Pose]:
    """Poses of a search, each refined a little unless it is known; those that meet become one."""
    pair = candidate.compared(task.pair.compared_by.refine, task.seed)

    def refined(pose: Pose) -> Pose:
        start = pose.moving_from_fixed
        if start not in known:
            better = refine(pair, start, "similarity", levels=_HYPOTHESIS_LEVELS)
            # A refinement that runs away from its pose has found nothing there.
            stays = distance(start, better, pair.fixed_grid) < 0.1 * max(pair.fixed_grid.extent)
            known[start] = better if stays else start
        return replace(pose, moving_from_fixed=known[start])

    return distinct(in_threads(refined, poses, task.workers), pair.fixed_grid)


def likeliest_stretch(task: Task, candidate: PlaneCandidate, within: tuple[float, float]) -> StretchedPose | None:
    """The stretch of either image along one of its axes with which the images agree best; None without any.

    Parameters
    ----------
    task : Task
        Of two images, without a stretch.
    candidate : PlaneCandidate
        What the search found without one. A stretch hides which channels have most in common: others are compared, too.
    within : tuple of float
        Least and greatest stretch.
    """
    limits = task.limits.for_stretch(within[1])
    compared = (candidate, *candidate.others)[:_CHANNELS_STRETCHED]
    tried: list[tuple[PlaneCandidate, StretchSearch, StretchedPose]] = []
    for number, one in enumerate(compared):
        assert one.search is not None
        search = StretchSearch(one.search.within(limits), within)
        told = partial(_share_done, task.report, number, len(compared))
        # Beads score by chance what structures do not: they must not displace what other channels found.
        tried += [(one, search, pose) for pose in search.tried(told)[:_STRETCHES_REFINED]]

    def exact(one: tuple[PlaneCandidate, StretchSearch, StretchedPose]) -> StretchedPose | None:
        """With what an affine fit adds, as stretches are tried in coarse steps; None if it is not worth a search."""
        of, search, pose = one
        pair = PlanePair(*search.planes(pose.stretch), task.pair.compared_by.refine, task.seed)
        found = search.exact(pose, refine(pair, pose.pose, "affine", levels=_STRETCH_LEVELS))
        # A smaller stretch the usual search has followed already, and the right one makes images more alike.
        least = max(0.0, of.poses[0].score if of.poses else 0.0)
        return found if found.stretch.factor >= FOLLOWED and found.score > least else None

    found = in_threads(exact, tried, task.workers)
    return max((one for one in found if one is not None), key=lambda one: one.score, default=None)


def _share_done(report: Progress, number: int, count: int, done: float) -> None:
    report("search", (number + done) / count)


def most_alike(task: Task, candidate: Candidate) -> PlaneCandidate:
    """Poses that beads gave, on the channels that share most there: beads may shine where nothing else is seen.

    Parameters
    ----------
    task : Task
        Of two images.
    candidate : Candidate
        With at least one pose.
    """
    appearance = task.pair.compared_by
    of_fixed, of_moving = task.pair.planes
    top = candidate.poses[0].moving_from_fixed

    def shared(channels: tuple[int | None, int | None]) -> float:
        pair = PlanePair(of_fixed[channels[0]], of_moving[channels[1]], appearance.refine)
        samples = pair.samples(top, _COMPARED)
        return samples.measure("mutual information")(samples.places()).value if samples else -np.inf

    channels = max(((one, other) for one in of_fixed for other in of_moving), key=shared)
    fixed, moving = of_fixed[channels[0]], of_moving[channels[1]]
    engine = ByFeatures(appearance.search, appearance.stride)
    return PlaneCandidate(channels, candidate.poses, fixed, moving, engine, found_by=candidate)
