"""The pose search: every rotation, mirrored or not, every scale and shift; from coarse to fine, as a ranked list."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from correlight.images.plane import Plane, working_planes
from correlight.progress import Fraction, checkpoint, in_threads
from correlight.search.correlate import MakeEngine
from correlight.search.limits import Limits
from correlight.search.pose import Pose
from correlight.search.ranking import (
    NullScores,
    RotationScale,
    ScoredPose,
    best_candidates,
    by_all_groups,
    candidates_to_refine,
    distinct,
    is_unambiguous,
)
from correlight.search.rotation import inverse_of, shared_part
from correlight.transforms import Affine

# Planes resized, by the whole plane and the shape.
WorkingPlanes = dict[tuple[Plane, tuple[int, ...]], Plane]


@dataclass(frozen=True, slots=True)
class SearchLevel:
    """One level of the search, from coarse to fine.

    Parameters
    ----------
    size : int
        Working size in pixels that the engine compares: side of a square with the area of the smaller field.
    rotation_step, scale_step : float
        Distance of neighbouring candidates, in degrees and as a share of the scale.
    keep : int
        How many candidates of each ranking are refined on the next level.
    new_features : bool
        Whether features are computed for each candidate; otherwise those of the nearest candidate of the first level
        are transformed.
    """

    size: int
    rotation_step: float
    scale_step: float
    keep: int
    new_features: bool = True


@dataclass(frozen=True, slots=True)
class _Schedule:
    """The levels of a search: all candidates, then the best of them at each finer level; size of the final scores.

    With a second look, the best of all candidates are first compared on finer pixels as they are.
    """

    coarse: SearchLevel
    finer: tuple[SearchLevel, ...]
    last: int
    second_look: SearchLevel | None = None

    def on_finer_pixels(self, times: float) -> _Schedule:
        """The same on so many times finer pixels, but for the first level.

        That of a usual search has been there before, with all it computed; of its candidates a long list goes on.
        """
        if times == 1:
            return self

        def level(one: SearchLevel) -> SearchLevel:
            return replace(one, size=round(times * one.size))

        first = replace(self.coarse, keep=_KEPT_FOR_SECOND_LOOK)
        return _Schedule(first, tuple(map(level, self.finer)), round(times * self.last), level(self.coarse))


# Sizes are side lengths, in pixels that the engine compares, of a square with the area of the smaller field. Measured
# on real pairs (benchmarks/results): at 72 px the true pose ranks among the first few dozen, at 224 px nearly always
# first.
_FULL_RESOLUTION = _Schedule(
    SearchLevel(72, 7.5, 0.10, 45), (SearchLevel(128, 1.25, 0.016, 12), SearchLevel(224, 0.8, 0.010, 5)), 96
)
# With a stride every pixel that is compared stands for several of the image, whose features tolerate the poses between
# the steps. Finer levels need no more pixels and can use the features of the first level, so that many candidates can
# be refined: the right one mostly ranks among the first few, but not always.
_STRIDED = _Schedule(SearchLevel(72, 7.5, 0.15, 15), (SearchLevel(72, 1.25, 0.02, 8, new_features=False),), 96)
# Where one pose scores this many times as much as every distant one, no further scales are tried.
_UNAMBIGUOUS = 1.4
# Scales that are not common are tried only where no pose stands out among these, and must not displace the others where
# the ends of the range score well by chance.
_UNAMBIGUOUS_AT_RARE_SCALES = 1.2
# Scales that are tried in any case, and then at a time.
_SCALES_FIRST, _SCALES_MORE = 5, 4
# Where 15 to 30 % are common, the right candidate ranks among the first 25 of 480 on coarse pixels, and on finer ones
# among the first four in eleven of twelve draws of four real pairs (benchmarks.coarse).
_KEPT_FOR_SECOND_LOOK = 45
# So many candidates of each ranking are refined as long as the search may still try rare scales, or other stretches.
_KEPT_AT_COMMON_SCALES = 5
# Two stated pixel sizes and a stretch between 1 and 1.6 leave seven scales of the first level.
_FEW_SCALES = 8


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
        Called with the fraction done.

    Returns
    -------
    list of Pose
        Best first; empty if no pose within the limits gives enough overlap.
    """
    return PoseSearch(fixed, moving, limits, engine, workers).ranked(progress)


def scales_of(limits: Limits, level: SearchLevel) -> list[float]:
    """The scales of a level, from the middle of the range outwards: extreme ones are rare."""
    low, high = limits.scale
    count = int(np.ceil(np.log(high / low) / np.log(1 + level.scale_step)))
    scales = np.geomspace(low, high, count + 1) if count else np.array([np.sqrt(low * high)])
    return sorted(scales.tolist(), key=lambda scale: abs(np.log(scale**2 / (low * high))))


def candidates_at(limits: Limits, level: SearchLevel, scale: float) -> list[RotationScale]:
    """Every rotation, mirrored or not, at one scale."""
    found = []
    for mirror in limits.mirror:
        first, last = limits.rotations(mirror)
        span = min(last - first, 360.0)
        count = int(np.ceil(span / level.rotation_step))
        angles = first + np.linspace(0, span, count + 1) if count else np.array([first])
        angles = angles[:-1] if span == 360 else angles
        found += [RotationScale(float(angle) % 360, scale, mirror) for angle in angles]
    return found


class PoseSearch:
    """Scores candidates of rotation and scale, from coarse to fine working sizes; parameters as for `search_poses`.

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
        self.fixed, self.moving, self._limits, self._engine = fixed, moving, limits, engine
        self._workers = workers
        self._schedule = (_FULL_RESOLUTION if engine.stride == 1 else _STRIDED).on_finer_pixels(limits.finer)
        self._planes: WorkingPlanes = {} if planes is None else planes
        self._null_scores = NullScores({})
        scales = scales_of(limits, self._schedule.coarse)
        self._scales = [scale for scale in scales if limits.is_common(scale)] if limits.common_scales else scales
        self._raw: list[ScoredPose] = []
        self._tried = 0
        # Scores of every candidate: a search that goes on to rare scales evaluates many of them again.
        self._known: dict[tuple[SearchLevel, RotationScale], list[ScoredPose]] = {}

    @property
    def complete(self) -> bool:
        """Whether all scales were tried, or as many as were needed."""
        return self._tried == len(self._scales)

    def ranked(self, progress: Fraction | None = None, *, common_scales: bool = False) -> list[Pose]:
        """What `search_poses` returns.

        Parameters
        ----------
        progress : callable, optional
            Called with the fraction done.
        common_scales : bool
            Try no rare scales yet; the next call goes on with them unless the search is `complete`.
        """
        report = progress or (lambda fraction: None)
        coarse = self._schedule.coarse
        found = self.every_scale(coarse, lambda done: report(0.7 * done), common_scales=common_scales)
        # A search that may go on ends here only if one pose scores far above all others; it is among the first then.
        most = coarse.keep if self.complete else _KEPT_AT_COMMON_SCALES
        return self._followed(found, most, partial(_part_done, report, 0.7, 0.3))

    def ranked_among(self, candidates: Sequence[RotationScale]) -> list[Pose]:
        """The distinct poses that a few of the candidates of the first level lead to, best first."""
        return self._followed(self.scored(candidates), _KEPT_AT_COMMON_SCALES, lambda done: None)

    def _followed(self, found: Sequence[ScoredPose], most: int, report: Fraction) -> list[Pose]:
        """The distinct poses that the best of the first level, so many of each ranking, lead to on finer levels."""
        coarse, finer = self._schedule.coarse, self._schedule.finer
        steps = (coarse.rotation_step, coarse.scale_step)
        promising = candidates_to_refine(found, min(coarse.keep, most), self.fixed.grid)
        again = self._schedule.second_look
        before = 0.0 if again is None else 1 / 3
        if again is not None:
            found = self.evaluate(again, promising, lambda done: report(before * done))
            promising = candidates_to_refine(found, again.keep, self.fixed.grid)
        candidates = [corner for candidate in promising for corner in candidate.corners(*steps)]
        for number, level in enumerate(finer):
            share = (1 - before) / len(finer)
            part = partial(_part_done, report, before + number * share, share)
            keep = min(level.keep, most)
            found = self.with_neighbours(level, candidates, part, keep)
            candidates = candidates_to_refine(found, keep, self.fixed.grid)
        return distinct([item.pose for item in by_all_groups(found)], self.fixed.grid)

    def promising(self, count: int, progress: Fraction) -> list[RotationScale]:
        """The candidates of the first level that go on, so many of each ranking, and those of the best distinct poses.

        Parameters
        ----------
        count : int
            How many of each ranking.
        progress : callable
            Called with the fraction done.
        """
        return candidates_to_refine(self.every_scale(self._schedule.coarse, progress), count, self.fixed.grid)

    def of_others(self, fixed: Plane, moving: Plane) -> PoseSearch:
        """The same search of two other images, whose wrong poses are taken to score what they do in this one.

        Parameters
        ----------
        fixed, moving : Plane
            What was computed of one of them that belongs to this search as well serves again.
        """
        known = {key: plane for key, plane in self._planes.items() if key[0] in (fixed, moving)}
        search = PoseSearch(fixed, moving, self._limits, self._engine, self._workers, known)
        search._null_scores = self._null_scores
        return search

    def within(self, limits: Limits) -> PoseSearch:
        """A search of the same images within other limits; what was scored already serves again where it would be so.

        Parameters
        ----------
        limits : Limits
            Which poses are possible.
        """
        search = PoseSearch(self.fixed, self.moving, limits, self._engine, self._workers, self._planes)
        if limits.scored_as(self._limits):
            search._known = self._known
        return search

    def all_if_few(self) -> list[RotationScale] | None:
        """Every candidate of the first level where the scale is known well enough to compare all again; else None."""
        if len(self._scales) > _FEW_SCALES:
            return None
        return [one for scale in self._scales for one in candidates_at(self._limits, self._schedule.coarse, scale)]

    def at_scale(self, scale: float) -> list[RotationScale]:
        """Every candidate of the first level at that of its scales which is nearest to one."""
        return candidates_at(self._limits, self._schedule.coarse, self._nearest_scale(scale))

    def scored(self, candidates: Sequence[RotationScale]) -> list[ScoredPose]:
        """The best shifts of candidates on the first level."""
        return self.evaluate(self._schedule.coarse, candidates, lambda done: None)

    def rescored(self, poses: Iterable[Pose]) -> list[Pose]:
        """Poses with the scores that they have exactly where they are, best first.

        The search scores poses on a grid of rotations and scales, where a right pose between two grid points can
        score less than a wrong one.

        Parameters
        ----------
        poses : iterable of Pose
            Refined ones of this search.
        """
        points = self.fixed.grid.lattice(4)
        level = SearchLevel(self._schedule.last, 0.0, 0.0, 1)

        def again(pose: Pose) -> Pose:
            linear = pose.linear
            candidate = RotationScale(linear.rotation, linear.scale, linear.mirrored)
            scored = self._one_scale(level, linear.scale, [candidate])[candidate]
            found = by_all_groups(self._null_scores.normalised(scored))
            if not found:
                return replace(pose, score=0.0)
            # The best shift of the candidate may lie elsewhere; then this pose scores less than that.
            apart = np.linalg.norm(found[0].pose.moving_from_fixed(points) - linear(points), axis=1)
            near = np.mean(apart) < 0.05 * max(self.fixed.grid.extent) * linear.scale
            return replace(pose, score=found[0].pose.score if near else 0.0)

        return sorted(in_threads(again, poses, self._workers), key=lambda pose: -pose.score)

    def every_scale(self, level: SearchLevel, progress: Fraction, *, common_scales: bool = False) -> list[ScoredPose]:
        """The best shifts of every candidate within the limits, scale by scale until one pose is unambiguous."""
        scales, self._null_scores = self._scales, NullScores({})
        while not self.complete:
            done = self._tried
            more = scales[done : done + (_SCALES_MORE if done else _SCALES_FIRST)]
            candidates = [candidate for scale in more for candidate in candidates_at(self._limits, level, scale)]
            share = len(more) / len(scales)
            self._raw += self.evaluate(
                level,
                candidates,
                lambda part, done=done, share=share: progress(done / len(scales) + share * part),  # type: ignore[misc]
            )
            self._tried += len(more)
            found = NullScores.of(self._raw).normalised(self._raw)
            next_is_common = not self.complete and self._limits.is_common(scales[self._tried])
            if is_unambiguous(found, self.fixed.grid, _UNAMBIGUOUS if next_is_common else _UNAMBIGUOUS_AT_RARE_SCALES):
                self._tried = len(scales)
            elif common_scales and not next_is_common:
                break
        self._null_scores = NullScores.of(self._raw)
        return self._null_scores.normalised(self._raw)

    def evaluate(self, level: SearchLevel, candidates: Sequence[RotationScale], progress: Fraction) -> list[ScoredPose]:
        """The best shifts of each candidate. One engine serves all candidates of a scale, and is dropped after them."""
        # A neighbour of a candidate at the limit would lie outside it.
        asked = dict.fromkeys(
            RotationScale(*self._limits.nearest(t.rotation, t.scale, t.mirror), t.mirror) for t in candidates
        )
        by_scale: dict[float, list[RotationScale]] = defaultdict(list)
        for candidate in asked:
            if (level, candidate) not in self._known:
                by_scale[candidate.scale if level.new_features else self._nearest_scale(candidate.scale)].append(
                    candidate
                )
        groups = in_threads(lambda item: self._one_scale(level, *item), by_scale.items(), self._workers)
        for done, group in enumerate(groups):
            for candidate, found in group.items():
                self._known[level, candidate] = found
            progress((done + 1) / len(by_scale))
        return self._null_scores.normalised([item for one in asked for item in self._known[level, one]])

    def with_neighbours(
        self, level: SearchLevel, candidates: Sequence[RotationScale], progress: Fraction, keep: int
    ) -> list[ScoredPose]:
        """Evaluate candidates, then the neighbours of the best in rotation, then the neighbours of those in scale."""
        found = self.evaluate(level, candidates, lambda done: progress(0.3 * done))
        for share, steps in ((0.3, (level.rotation_step, 0.0)), (0.65, (0.0, level.scale_step))):
            around = [beside for candidate in best_candidates(found, keep) for beside in candidate.beside(*steps)]
            found += self.evaluate(level, around, lambda done, share=share: progress(share + 0.35 * done))  # type: ignore[misc]
        return found

    def _nearest_scale(self, scale: float) -> float:
        return min(self._scales, key=lambda one: abs(np.log(one / scale)))

    def _one_scale(
        self, level: SearchLevel, scale: float, candidates: Sequence[RotationScale]
    ) -> dict[RotationScale, list[ScoredPose]]:
        """The best shifts of candidates at one scale, or within a few percent of it if the level reuses features.

        Scores are not normalised yet.
        """
        whole = self.fixed, self.moving
        planes = working_planes(*whole, scale, level.size * self._engine.stride)
        # The smaller image has one size at nearly all scales; engines keep what they computed of a plane.
        fixed, moving = (
            self._planes.setdefault((one, plane.grid.shape), plane) for one, plane in zip(whole, planes, strict=True)
        )
        # The smaller field is the one that is rotated: it needs the smaller canvas.
        swapped = moving.values.size > fixed.values.size
        step = 0.0 if level.new_features else self._schedule.coarse.rotation_step
        start = self._limits.start and self._limits.start.in_pixels(fixed.grid, moving.grid)
        start = start.exchanged() if start is not None and swapped else start
        both = (moving, fixed) if swapped else (fixed, moving)
        engine = self._engine(*both, self._limits.least_overlap, step, start)
        asked = []
        for candidate in candidates:
            # Planes have pixels of one size at the scale of the engine; the engine applies the rest.
            linear = Affine.similarity(candidate.rotation, candidate.scale / scale, candidate.mirror).linear
            asked.append((inverse_of(linear) if swapped else linear, candidate))
        shifts = []
        for matrix, candidate in sorted(asked, key=lambda item: shared_part(item[0])):
            checkpoint()
            made = enumerate(engine.best_shifts(matrix))
            shifts += [(candidate, group, shift) for group, shift in made if np.isfinite(shift.score)]
        found: dict[RotationScale, list[ScoredPose]] = {candidate: [] for candidate in candidates}
        if shifts:
            laid = np.array([shift.fixed_from_moving for _, _, shift in shifts])
            matrices = (
                moving.grid.matrix @ (laid if swapped else np.linalg.inv(laid)) @ np.linalg.inv(fixed.grid.matrix)
            )
            for (candidate, group, shift), affine in zip(shifts, matrices, strict=True):
                pose = Pose(Affine(affine), shift.score, shift.overlap)
                found[candidate].append(ScoredPose(candidate, group, pose, self._limits.is_common(candidate.scale)))
        return found


def _part_done(report: Fraction, first: float, share: float, done: float) -> None:
    report(first + share * done)
