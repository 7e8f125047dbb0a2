"""The pose search: every rotation, mirrored or not, every scale and shift; from coarse to fine, as a ranked list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from correlight.images.plane import Plane, working_planes
from correlight.progress import Fraction, checkpoint, in_threads
from correlight.search.correlate import MakeEngine, shared_part
from correlight.search.limits import Limits
from correlight.search.pose import Pose
from correlight.search.ranking import (
    NullScores,
    RotationScale,
    ScoredPose,
    best_turns,
    decided,
    distinct,
    going_on,
    joint,
)
from correlight.search.turns import undone
from correlight.transforms import Affine

# Planes resized, by the whole plane and the shape.
WorkingPlanes = dict[tuple[Plane, tuple[int, ...]], Plane]


@dataclass(frozen=True, slots=True)
class SearchLevel:
    """One round of the search: how fine, how far neighbours lie, how many poses go on, whether looks are new.

    A round without looks of its own takes the channels of the nearest turn of the first round, and moves those.
    """

    size: int
    rotation_step: float
    scale_step: float
    keep: int
    looks: bool = True


@dataclass(frozen=True, slots=True)
class _Schedule:
    """The rounds of a search: every turn, then the best of them again and again; the size of the last word."""

    coarse: SearchLevel
    finer: tuple[SearchLevel, ...]
    last: int


# Sizes are side lengths, in pixels that the engine compares, of a square with the area of the smaller field. Measured
# on real pairs (benchmarks/results): at 72 px the true pose stands among the first few dozen, at 224 px nearly always
# first.
_EDGES = _Schedule(
    SearchLevel(72, 7.5, 0.10, 45), (SearchLevel(128, 1.25, 0.016, 12), SearchLevel(224, 0.8, 0.010, 5)), 96
)
# With a stride every pixel that is compared stands for several of the image, whose features put up with the poses
# between the steps. Finer rounds need no more pixels, and the features of the first round do for them, so that many
# poses can go on: the right one mostly stands among the first few, but not always.
_STRIDDEN = _Schedule(SearchLevel(72, 7.5, 0.15, 15), (SearchLevel(72, 1.25, 0.02, 8, looks=False),), 96)
# Where one pose has left all others elsewhere this far behind, further scales are not tried.
_DECIDED = 1.4
# Scales further than this factor from the middle of the range are rare: they are tried only where nothing stands out
# so far, and must not crowd out the others where the ends of the range score well by chance.
_USUAL, _DECIDED_UNUSUAL = 2.2, 1.2
# Scales that are tried in any case, and then at a time.
_SCALES_FIRST, _SCALES_MORE = 5, 4
# So many poses of each ranking go on where the search may still go on to unusual scales.
_FIRST = 5


def search_poses(
    fixed: Plane,
    moving: Plane,
    limits: Limits,
    engine: MakeEngine,
    *,
    workers: int = 2,
    progress: Fraction | None = None,
) -> list[Pose]:
    """Ranked list of distinct poses of the moving image relative to the fixed one.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    limits : Limits
        Which poses are possible.
    engine : MakeEngine
        Makes the engine for two working planes.
    workers : int
        Threads.
    progress : callable, optional
        Told the fraction done.

    Returns
    -------
    list of Pose
        Best first; empty if no pose within the limits gives enough overlap.
    """
    return PoseSearch(fixed, moving, limits, engine, workers).ranked(progress)


def scales_of(limits: Limits, level: SearchLevel) -> list[float]:
    """The scales of a round, from the middle of the range outwards: extreme ones are rare."""
    low, high = limits.scale
    count = int(np.ceil(np.log(high / low) / np.log(1 + level.scale_step)))
    scales = np.geomspace(low, high, count + 1) if count else np.array([np.sqrt(low * high)])
    return sorted(scales.tolist(), key=lambda scale: abs(np.log(scale**2 / (low * high))))


def turns_of(limits: Limits, level: SearchLevel, scale: float) -> list[RotationScale]:
    """Every rotation, mirrored or not, at one scale."""
    first, last = limits.rotation
    span = min(last - first, 360.0)
    count = int(np.ceil(span / level.rotation_step))
    angles = first + np.linspace(0, span, count + 1) if count else np.array([first])
    angles = angles[:-1] if span == 360 else angles
    return [RotationScale(float(angle) % 360, scale, mirror) for mirror in limits.mirror for angle in angles]


class PoseSearch:
    """Evaluates turns at one working size after the other; parameters as those of `search_poses`.

    Searches that have an image in common may share their working planes, by which engines keep what they computed.
    """

    def __init__(
        self,
        fixed: Plane,
        moving: Plane,
        limits: Limits,
        engine: MakeEngine,
        workers: int,
        planes: WorkingPlanes | None = None,
    ) -> None:
        self._fixed, self._moving, self._limits, self._engine = fixed, moving, limits, engine
        self._workers = workers
        self._schedule = _EDGES if engine.stride == 1 else _STRIDDEN
        self._planes: WorkingPlanes = {} if planes is None else planes
        self._null_scores = NullScores({})
        self._scales = scales_of(limits, self._schedule.coarse)
        self._raw: list[ScoredPose] = []
        self._tried = 0
        # What was found at every turn: a search that goes on to unusual scales follows many of them again.
        self._known: dict[tuple[SearchLevel, RotationScale], list[ScoredPose]] = {}

    @property
    def complete(self) -> bool:
        """Whether all scales were tried, or as many as it took."""
        return self._tried == len(self._scales)

    def ranked(self, progress: Fraction | None = None, *, usual: bool = False) -> list[Pose]:
        """What `search_poses` returns.

        Parameters
        ----------
        progress : callable, optional
            Told the fraction done.
        usual : bool
            Try no unusual scales yet; the next call goes on with them unless the search is `complete`.
        """
        report = progress or (lambda fraction: None)
        coarse, finer = self._schedule.coarse, self._schedule.finer
        found = self.every_scale(coarse, lambda done: report(0.7 * done), usual=usual)
        steps = (coarse.rotation_step, coarse.scale_step)
        # A search that may go on is over only where one pose stands far above all others; that one is among the first.
        most = coarse.keep if self.complete else _FIRST
        turns = [
            corner
            for turn in going_on(found, min(coarse.keep, most), self._fixed.grid)
            for corner in turn.corners(*steps)
        ]
        for number, level in enumerate(finer):
            part = partial(_part_done, report, 0.7 + 0.3 * number / len(finer), 0.3 / len(finer))
            keep = min(level.keep, most)
            found = self.with_neighbours(level, turns, part, keep)
            turns = going_on(found, keep, self._fixed.grid)
        return distinct([item.pose for item in joint(found)], self._fixed.grid)

    def rescored(self, poses: Iterable[Pose]) -> list[Pose]:
        """Poses with the scores that they have exactly where they are, best first.

        The search scores poses on a grid of turns, where a right pose between two turns can fall behind a wrong one.

        Parameters
        ----------
        poses : iterable of Pose
            Refined ones of this search.
        """
        points = self._fixed.grid.lattice(4)
        level = SearchLevel(self._schedule.last, 0.0, 0.0, 1)

        def again(pose: Pose) -> Pose:
            linear = pose.linear
            turn = RotationScale(linear.rotation, linear.scale, linear.mirrored)
            found = joint(
                [self._null_scores.normalised(item) for item in self._one_scale(level, linear.scale, [turn])[turn]]
            )
            if not found:
                return replace(pose, score=0.0)
            # The best shift of the turn may lie elsewhere; then this pose scores less than that.
            apart = np.linalg.norm(found[0].pose.moving_from_fixed(points) - linear(points), axis=1)
            near = np.mean(apart) < 0.05 * max(self._fixed.grid.extent) * linear.scale
            return replace(pose, score=found[0].pose.score if near else 0.0)

        return sorted(in_threads(again, poses, self._workers), key=lambda pose: -pose.score)

    def every_scale(self, level: SearchLevel, progress: Fraction, *, usual: bool = False) -> list[ScoredPose]:
        """The best shifts of every turn within the limits, scale by scale until one pose has won by far."""
        scales, self._null_scores = self._scales, NullScores({})
        while not self.complete:
            done = self._tried
            more = scales[done : done + (_SCALES_MORE if done else _SCALES_FIRST)]
            turns = [turn for scale in more for turn in turns_of(self._limits, level, scale)]
            share = len(more) / len(scales)
            self._raw += self.evaluate(
                level,
                turns,
                lambda part, done=done, share=share: progress(done / len(scales) + share * part),  # type: ignore[misc]
            )
            self._tried += len(more)
            found = self._normalised(NullScores.of(self._raw))
            next_is_usual = not self.complete and self._usual(scales[self._tried])
            if decided(found, self._fixed.grid, _DECIDED if next_is_usual else _DECIDED_UNUSUAL):
                self._tried = len(scales)
            elif usual and not next_is_usual:
                break
        self._null_scores = NullScores.of(self._raw)
        return self._normalised(self._null_scores)

    def _normalised(self, chance: NullScores) -> list[ScoredPose]:
        """All findings of the first round in units of chance."""
        return [chance.normalised(item) for item in self._raw]

    def evaluate(self, level: SearchLevel, turns: Sequence[RotationScale], progress: Fraction) -> list[ScoredPose]:
        """The best shifts of each turn. One engine serves all turns of a scale, and is dropped after them."""
        # A turn beside one at the limit would lie outside it.
        asked = dict.fromkeys(RotationScale(*self._limits.nearest(t.rotation, t.scale), t.mirror) for t in turns)
        by_scale: dict[float, list[RotationScale]] = defaultdict(list)
        for turn in asked:
            if (level, turn) not in self._known:
                by_scale[turn.scale if level.looks else self._nearest_scale(turn.scale)].append(turn)
        groups = in_threads(lambda item: self._one_scale(level, *item), by_scale.items(), self._workers)
        for done, group in enumerate(groups):
            for turn, found in group.items():
                self._known[level, turn] = found
            progress((done + 1) / len(by_scale))
        return [self._null_scores.normalised(item) for turn in asked for item in self._known[level, turn]]

    def with_neighbours(
        self, level: SearchLevel, turns: Sequence[RotationScale], progress: Fraction, keep: int
    ) -> list[ScoredPose]:
        """Evaluate turns, then turn the best of them a step, then scale the best of those a step."""
        found = self.evaluate(level, turns, lambda done: progress(0.3 * done))
        for share, steps in ((0.3, (level.rotation_step, 0.0)), (0.65, (0.0, level.scale_step))):
            around = [beside for turn in best_turns(found, keep) for beside in turn.beside(*steps)]
            found += self.evaluate(level, around, lambda done, share=share: progress(share + 0.35 * done))  # type: ignore[misc]
        return found

    def _usual(self, scale: float) -> bool:
        low, high = self._limits.scale
        return bool(abs(np.log(scale / np.sqrt(low * high))) <= np.log(_USUAL))

    def _nearest_scale(self, scale: float) -> float:
        return min(self._scales, key=lambda one: abs(np.log(one / scale)))

    def _one_scale(
        self, level: SearchLevel, scale: float, turns: Sequence[RotationScale]
    ) -> dict[RotationScale, list[ScoredPose]]:
        """The best shifts of turns at one scale, or within a few percent of it if the level takes old looks.

        Scores are not in units of chance yet.
        """
        whole = self._fixed, self._moving
        planes = working_planes(*whole, scale, level.size * self._engine.stride)
        # The smaller image has one size at nearly all scales; engines keep what they computed of a plane.
        fixed, moving = (
            self._planes.setdefault((one, plane.grid.shape), plane) for one, plane in zip(whole, planes, strict=True)
        )
        # The smaller field is the one that turns: it needs the smaller canvas.
        swapped = moving.values.size > fixed.values.size
        step = 0.0 if level.looks else self._schedule.coarse.rotation_step
        engine = self._engine(*((moving, fixed) if swapped else (fixed, moving)), self._limits.least_overlap, step)
        from_index, to_index = moving.grid.matrix, np.linalg.inv(fixed.grid.matrix)
        found: dict[RotationScale, list[ScoredPose]] = {turn: [] for turn in turns}
        asked = []
        for turn in turns:
            # Planes have pixels of one size at the scale of the engine; what a turn differs from it is left to do.
            linear = Affine.similarity(turn.rotation, turn.scale / scale, turn.mirror).linear
            asked.append((undone(linear) if swapped else linear, turn))
        for matrix, turn in sorted(asked, key=lambda item: shared_part(item[0])):
            checkpoint()
            for vote, shift in enumerate(engine.best_shifts(matrix)):
                if not np.isfinite(shift.score):
                    continue
                laid = shift.fixed_from_moving if swapped else np.linalg.inv(shift.fixed_from_moving)
                pose = Pose(Affine(from_index @ laid @ to_index), shift.score, shift.overlap)
                found[turn].append(ScoredPose(turn, vote, pose, self._usual(turn.scale)))
        return found


def _part_done(report: Fraction, first: float, share: float, done: float) -> None:
    report(first + share * done)
