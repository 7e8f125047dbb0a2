"""Volumes: two stacks and a recipe in, one result out.

Projections or slabs are searched in the plane, by the same search as images; every depth, way up and tilt is tried for
the poses that it lists, and mutual information of samples makes the best of them exact.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from correlight.appearance import APPEARANCES
from correlight.errors import UsageError
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Verdict
from correlight.evidence.volumes import Checks, findings_of, judge, predict
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.volume import Volume
from correlight.recipes import Recipe
from correlight.refine.solid import SOLID_MODELS, Level, SolidModel, apart, levels_of, refine_solid
from correlight.registration.provenance import image_record, peak_memory_mb, versions
from correlight.registration.result import Result
from correlight.registration.stack import as_stacks, checked_stack
from correlight.search.correlate import ByFeatures
from correlight.search.depth import ranked, search_depth, views
from correlight.search.limits import Limits, Start, claimed_scale, pixel_size
from correlight.search.patches import patch_shift
from correlight.search.pose import Pose
from correlight.search.poses import search_poses
from correlight.transforms import Affine

Progress = Callable[[str, float], None]

# Voxels of the larger volume as it is compared, and their least side as a share of the distance of the coarser slices.
_MOST_VOXELS, _FINER_THAN_SLICES = 5_000_000, 0.7
_FEWEST_ACROSS = 64
# Sizes of voxels from coarse to fine, in units of the finest.
_PYRAMID = (4.0, 2.0, 1.0)
# Poses in the plane that are followed into space, and how many of those are refined.
_PLANES, _REFINED = 6, 6
# Where the best pose leaves all others this far behind, no large tilt is tried.
_CLEAR = 1.25
# A file may be wrong about the scale by a little more than what is promised to be found.
_SLACK = 1.02
# Rotations that bring z, y and x of the moving volume along z; with turns about z and both ways up all orientations.
_AXES_ALONG_Z = (
    np.eye(3),
    np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]]),
    np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]]),
)
# Rivals of a given start are displaced by this share of the field, those of a shift that was voted for by this.
_DISPLACED, _AROUND = 0.12, 0.25
# Poses closer than this, in micrometres of the smaller volume, are one.
_SAME = 3.0
_LEAST_SIDE = 32
# A richer model must gain this many standard errors on blocks that it was not fitted to.
_LEAST_GAIN, _FEWEST_BLOCKS = 2.0, 6


@dataclass(frozen=True, eq=False)
class _Found:
    """What the search found for one pair of channels: poses from the smaller (sampled) to the larger volume."""

    channels: tuple[int | None, int | None]
    levels: tuple[Level, ...]
    poses: list[Pose]
    search: float
    swapped: bool
    moving_from_turned: Affine
    elsewhere: float = 0.0

    @property
    def margin(self) -> float:
        """Score of the best pose over that of the next, if there is a next."""
        if not self.poses:
            return 0.0
        rival = max(self.elsewhere, self.poses[1].score if len(self.poses) > 1 else 0.0)
        return self.poses[0].score / rival if rival > 0 else 1.0


def register_volumes(
    fixed: Image,
    moving: Image,
    recipe: Recipe,
    *,
    model: str | None = None,
    fixed_channel: int | str | None = None,
    moving_channel: int | str | None = None,
    start: Start | None = None,
    rotation: tuple[float, float] | None = None,
    scale: tuple[float, float] | None = None,
    mirror: bool = True,
    pose: int | None = None,
    seed: int = 0,
    workers: int = 1,
    progress: Progress | None = None,
) -> Result:
    """Find where a fixed volume lies in a moving one; either may be a single section.

    Parameters
    ----------
    fixed, moving : Image
        Stacks with stated voxel sizes, at least one of them three-dimensional; the other may be a section of it.
    recipe : Recipe
        How to search: by projections, or by patches.
    model : {"rigid", "similarity", "affine"}, optional
        Kind of transform; without it the evidence chooses.
    fixed_channel, moving_channel : int or str, optional
        The channel that votes; without it every channel is tried.
    start : Affine, optional
        An approximate ``moving_from_fixed``, right to a few micrometres and degrees; nothing is searched then.
    rotation : (first, last), optional
        Degrees about z between which to search.
    scale : (least, greatest), optional
        Moving voxels per fixed voxel (geometric means) between which to search.
    mirror : bool
        Whether mirrored poses are tried.
    pose : int, optional
        Take the pose of this rank, counted from 1.
    seed : int
        Remembered; nothing is drawn.
    workers : int
        Threads of the search.
    progress : callable, optional
        Told the name of the stage and the fraction of it that is done.

    Returns
    -------
    Result
        With a ``(4, 4)`` transform. Falsy unless accepted.

    Raises
    ------
    UsageError
        If a stack states no voxel size or an impossible one, is too small, or an option makes no sense.

    Notes
    -----
    Working volumes have at most about 5 million voxels whatever the size of the files, which are read slab by slab.
    """
    began = time.perf_counter()
    report = progress or (lambda stage, fraction: None)
    if model is not None and model not in SOLID_MODELS:
        raise UsageError(f"A model of volumes is one of {', '.join(SOLID_MODELS)}; got {model!r}.")
    if start is not None and not (isinstance(start, Affine) and start.ndim == 3):
        raise UsageError("Volumes start from an affine transform of three axes; give one, or none.")
    stacks = _stacks(fixed, moving)
    seconds: dict[str, float] = {}
    report("search", 0.0)
    asked = (fixed_channel, moving_channel)
    votes = [
        image.votes if channel is None else (image.channel_index(channel),)
        for image, channel in zip(stacks, asked, strict=True)
    ]
    spans = _spans(stacks[0].grid, stacks[1].grid, scale, recipe.search.calibrated_tolerance)
    task = _Task(recipe, spans, rotation, mirror, start, workers)
    candidates = []
    pairs = [(one, other) for one in votes[0] for other in votes[1]]
    for number, channels in enumerate(pairs):
        candidates.append(task.find(stacks, channels))
        report("search", (number + 1) / len(pairs))
    best = max(candidates, key=lambda found: (bool(found.poses), found.margin))
    seconds["search"] = time.perf_counter() - began
    if not best.poses:
        return _nothing(stacks, best, recipe, seed, seconds, began)
    if pose is not None:
        if not 1 <= pose <= len(best.poses):
            raise UsageError(f"The search found {len(best.poses)} distinct poses; pose {pose} was asked for.")
        first = best.poses[pose - 1]
        best = replace(best, poses=[first, *(other for other in best.poses if other is not first)])
    mark = time.perf_counter()
    report("refine", 0.0)
    swapped = best.swapped
    chosen, why, refined = _refined(best, _models(recipe, model))
    seconds["refine"] = time.perf_counter() - mark
    mark = time.perf_counter()
    report("verify", 0.0)
    level = best.levels[-1]
    checks = Checks.of(level, refined, chosen)

    def laid(pose: Affine) -> Affine:
        return Affine(best.moving_from_turned.matrix @ (pose.inverse() if swapped else pose).matrix)

    moving_from_fixed = laid(refined)
    checks = Checks((laid(checks.halves[0]), laid(checks.halves[1])), laid(checks.backward))
    overlap = best.poses[0].overlap
    found = findings_of(best.margin, best.search, overlap, checks, moving_from_fixed, stacks[0].grid)
    verdict = judge(found)
    seconds["verify"] = time.perf_counter() - mark
    report("verify", 1.0)
    poses = [replace(other, moving_from_fixed=laid(other.linear)) for other in best.poses]
    poses[0] = replace(poses[0], moving_from_fixed=moving_from_fixed)
    seconds["total"] = time.perf_counter() - began
    return Result(
        moving_from_fixed=moving_from_fixed,
        model=chosen,
        model_reason=why,
        verdict=verdict,
        predicted_error=predict(checks, moving_from_fixed, stacks[0].grid, stacks[1].grid),
        poses=tuple(poses),
        fixed=image_record(stacks[0], best.channels[0]),
        moving=image_record(stacks[1], best.channels[1]),
        scale_found=moving_from_fixed.scale * pixel_size(stacks[0].grid) / pixel_size(stacks[1].grid),
        scale_claimed=claimed_scale(stacks[0].grid, stacks[1].grid),
        recipe=recipe.name,
        seed=seed,
        seconds=seconds,
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
    )


@dataclass(frozen=True, eq=False)
class _Task:
    """How to search, the same for every pair of channels."""

    recipe: Recipe
    scale: tuple[float, float]
    rotation: tuple[float, float] | None
    mirror: bool
    start: Affine | None
    workers: int

    def find(self, stacks: tuple[Image, Image], channels: tuple[int | None, int | None]) -> _Found:
        """Ranked poses from the smaller to the larger volume."""
        spacing = _working_spacing(stacks[0].grid, stacks[1].grid)
        middle = float(np.sqrt(self.scale[0] * self.scale[1]))
        fixed, moving = (
            Volume.of(stack, channel, spacing * unit, cut=True)
            for stack, channel, unit in zip(stacks, channels, (1.0, middle), strict=True)
        )
        for role, volume in (("fixed", fixed), ("moving", moving)):
            if not np.ptp(volume.values[volume.mask]) > 0:
                raise UsageError(f"The {role} stack has the same value everywhere; structure was expected.")
        if self.recipe.search.orientations == "about z":
            return self._along(fixed, moving, Affine.identity(3), channels, spacing, middle)
        found = []
        for linear in _AXES_ALONG_Z:
            turned = moving.turned_axes(linear)
            back = Affine.of(linear.T, moving.grid.centre - linear.T @ turned.grid.centre)
            found.append(self._along(fixed, turned, back, channels, spacing, middle))
        best = max(found, key=lambda one: one.poses[0].score if one.poses else 0.0)
        rivals = [one.poses[0].score for one in found if one is not best and one.poses]
        return replace(best, elsewhere=max(rivals, default=0.0))

    def _along(
        self,
        fixed: Volume,
        moving: Volume,
        moving_from_turned: Affine,
        channels: tuple[int | None, int | None],
        spacing: float,
        middle: float,
    ) -> _Found:
        """Ranked poses of two volumes whose z axes point roughly along one line."""
        pair = [fixed, moving]
        # The smaller one is sampled, so that most samples lie in what both show.
        swapped = pair[1].size < pair[0].size * middle**3
        small, large = pair[::-1] if swapped else pair
        middle = 1 / middle if swapped else middle
        sizes = [step * spacing / (middle if swapped else 1.0) for step in _PYRAMID]
        levels = levels_of(small, large, middle, sizes)
        coarse = levels[max(0, len(levels) - 2)]
        least = self.recipe.search.least_overlap
        search, elsewhere = float("nan"), 0.0
        # Without a rotation, z turned round is a mirror image: no pose for a search for a shift, but a rival.
        turn = self.recipe.search.engine != "patches"
        if self.start is not None:
            begin = self.start.inverse() if swapped else self.start
            for level in levels[:-1]:
                begin = refine_solid(level, begin, "similarity")
            planes = [Pose(Affine.of(begin.linear[1:, 1:], begin.offset[1:]), 1.0, 1.0)]
            spatial = search_depth(coarse, planes, least_overlap=least, tilt=0.0)
        else:
            planes = self._planes(*pair)
            if swapped:
                planes = [replace(plane, moving_from_fixed=plane.linear.inverse()) for plane in planes]
            if len(planes) > 1:
                search = planes[0].score / max(planes[1].score, 1e-9)
            tried = planes[:_PLANES]
            if not turn and planes:
                # A search for the shift alone lists few rivals, so that some are made.
                tried = [*tried, *(Pose(other, 0.0, 1.0) for other in _around(planes[0].linear, small.plane_grid))]
            spatial = search_depth(coarse, tried, least_overlap=least, tilt=0.0, turn=turn)
            if not turn:
                both = search_depth(coarse, tried, least_overlap=least, tilt=0.0)
                turned = [pose for pose in both if pose.linear.linear[0, 0] < 0]
                elsewhere = max((pose.score for pose in _better(coarse, turned)), default=0.0)
        poses = _better(coarse, spatial)
        if self.start is not None:
            # Whatever else fits better, the caller knows; the rivals only say how clear it is.
            own = _better(coarse, [Pose(begin, 0.0, 0.0)])
            poses = [*own, *(pose for pose in poses if apart(pose.linear, own[0].linear, small.grid) > _SAME)]
            elsewhere = _displaced(coarse, own[0].linear)
        unclear = len(poses) > 1 and poses[0].score < _CLEAR * poses[1].score
        if self.start is None and (unclear or not poses):
            tilted = search_depth(coarse, planes[:_PLANES], least_overlap=least, turn=turn)
            poses = ranked([*poses, *_better(coarse, tilted)], small.grid, _REFINED)
        return _Found(channels, levels, poses, search, swapped, moving_from_turned, elsewhere)

    def _planes(self, fixed: Volume, moving: Volume) -> list[Pose]:
        """Poses in the plane, best first."""
        middle = float(np.sqrt(self.scale[0] * self.scale[1]))
        if self.recipe.search.engine == "patches":
            return patch_shift(fixed, moving, middle)
        limits = Limits(
            self.scale,
            self.rotation or (0.0, 360.0),
            (False, True) if self.mirror else (False,),
            self.recipe.search.least_overlap,
        )
        appearance = APPEARANCES[self.recipe.search.channels]
        engine = ByFeatures(appearance.search, appearance.stride)
        thick = fixed.grid.extent[0] * middle > moving.grid.extent[0]
        found: list[Pose] = []
        for first, last in views(fixed, moving, middle) if thick else views(moving, fixed, 1 / middle):
            one = fixed.flat(first, last) if thick else fixed.flat(0, fixed.grid.shape[0])
            other = moving.flat(0, moving.grid.shape[0]) if thick else moving.flat(first, last)
            found += search_poses(one, other, limits, engine, workers=self.workers)
        return sorted(found, key=lambda pose: -pose.score)


def _stacks(fixed: Image, moving: Image) -> tuple[Image, Image]:
    """Both images as stacks that can be compared; a section becomes a stack of one slice as thick as the other's."""
    pair = {"fixed": fixed, "moving": moving}
    for role, image in pair.items():
        if min(image.grid.shape[-2:]) < _LEAST_SIDE:
            raise UsageError(
                f"The {role} stack has {' x '.join(map(str, image.grid.shape))} voxels; slices of at least "
                f"{_LEAST_SIDE} x {_LEAST_SIDE} are needed to recognise anything."
            )
    if max(fixed.ndim, moving.ndim) == 2:
        raise UsageError("Two images of two axes are not volumes; choose another recipe, or give stacks.")
    fixed, moving = as_stacks(fixed, moving)
    if fixed.grid.shape[0] == moving.grid.shape[0] == 1:
        raise UsageError("Both stacks have a single slice; register them as images of two axes.")
    return checked_stack("fixed", fixed), checked_stack("moving", moving)


def _spans(fixed: Grid, moving: Grid, scale: tuple[float, float] | None, tolerance: float) -> tuple[float, float]:
    """Moving micrometres per fixed micrometre that are tried."""
    if scale is None:
        return 1 / (1 + tolerance) / _SLACK, (1 + tolerance) * _SLACK
    units = pixel_size(moving) / pixel_size(fixed)
    return scale[0] * units, scale[1] * units


def _working_spacing(fixed: Grid, moving: Grid) -> float:
    """Side of the voxels to compare at: no finer than the coarser stack carries, nor than memory and time allow."""
    coarser = max(max(grid.spacing[1:]) for grid in (fixed, moving))
    slices = max((grid.spacing[0] for grid in (fixed, moving) if grid.shape[0] > 1), default=coarser)
    # Thick slices must not leave a small field with too few voxels to be recognised by.
    across = min(min(grid.extent[1:]) for grid in (fixed, moving)) / _FEWEST_ACROSS
    largest = max(float(np.prod(grid.extent)) for grid in (fixed, moving))
    return float(max(coarser, min(_FINER_THAN_SLICES * slices, across), (largest / _MOST_VOXELS) ** (1 / 3)))


def _better(level: Level, poses: list[Pose]) -> list[Pose]:
    """Poses refined on one level, with the scores that they have then; those that ran into one another become one."""
    made = []
    for pose in poses[:_REFINED]:
        refined = refine_solid(level, pose.linear, "similarity")
        value, share = level.agreement(refined)
        overlap = level.of_smaller(share, refined.scale)
        made.append(Pose(refined, value * float(np.sqrt(overlap)), overlap))
    return ranked(made, level.fixed.grid, _REFINED)


def _displaced(level: Level, pose: Affine) -> float:
    """The best score of poses that are displaced in the plane on purpose: rivals where nothing was searched."""
    scores = []
    for other in _around(pose, level.fixed.grid, _DISPLACED):
        value, share = level.agreement(other)
        scores.append(value * float(np.sqrt(level.of_smaller(share, pose.scale))))
    return max(scores)


def _around(pose: Affine, grid: Grid, share: float = _AROUND) -> list[Affine]:
    """Eight poses that are displaced along the last two axes, by a share of the field."""
    shifts = np.zeros((8, pose.ndim))
    angles = np.arange(8) * np.pi / 4
    shifts[:, -2:] = np.column_stack([np.sin(angles), np.cos(angles)])
    return [Affine.of(pose.linear, pose.offset + pose.linear @ (share * shift * grid.extent)) for shift in shifts]


def _models(recipe: Recipe, model: str | None) -> tuple[SolidModel, ...]:
    wanted = recipe.refine.models if model is None else (model,)
    return tuple(known for known in SOLID_MODELS if known in wanted)


def _refined(found: _Found, models: tuple[SolidModel, ...]) -> tuple[SolidModel, str, Affine]:
    """The best pose on the finest levels, with the richest model that held-out blocks carry."""
    coarse, level = found.levels[max(0, len(found.levels) - 2)], found.levels[-1]
    start = found.poses[0].linear
    best = models[0]
    start = _of_unit_scale(start, level) if best == "rigid" else start
    pose = refine_solid(level, refine_solid(coarse, start, best), best)
    why = f"{best} was asked for" if len(models) == 1 else f"no richer model than {best} was allowed"
    for richer in models[1:]:
        other = refine_solid(level, refine_solid(coarse, found.poses[0].linear, richer), richer)
        gain = _gain(level, (pose, best), (other, richer))
        if gain >= _LEAST_GAIN:
            best, pose = richer, other
            why = f"{richer} gains {gain:.1f} standard errors on blocks that it was not fitted to"
        else:
            why = (
                f"{richer} would gain {gain:.1f} standard errors on blocks that it was not fitted to, less than the "
                f"{_LEAST_GAIN:.0f} asked for, so {best} was kept"
            )
    return best, why, pose


def _gain(level: Level, poorer: tuple[Affine, SolidModel], richer: tuple[Affine, SolidModel]) -> float:
    """Mean gain in information over held-out blocks, in standard errors."""
    gains: list[NDArray[np.float64]] = []
    for odd in (True, False):
        kept, held = level.odd == odd, level.odd != odd
        values = [level.parts(refine_solid(level, pose, model, kept), held) for pose, model in (poorer, richer)]
        both = np.isfinite(values[0]) & np.isfinite(values[1])
        gains.append((values[1] - values[0])[both])
    gain = np.concatenate(gains)
    if len(gain) < _FEWEST_BLOCKS:
        return 0.0
    return float(gain.mean() / max(gain.std(ddof=1) / np.sqrt(len(gain)), 1e-12))


def _of_unit_scale(pose: Affine, level: Level) -> Affine:
    """The nearest rigid pose: lengths in micrometres are kept, as both files claim them."""
    u, _, vt = np.linalg.svd(pose.linear)
    middle = level.fixed.grid.centre
    return Affine.of(u @ vt, pose(middle[None])[0] - u @ vt @ middle)


def _nothing(
    stacks: tuple[Image, Image], best: _Found, recipe: Recipe, seed: int, seconds: dict[str, float], began: float
) -> Result:
    """A refused result where no pose within the limits overlaps enough; centre is laid on centre."""
    fixed, moving = stacks
    guess = Affine.of(np.eye(3), moving.grid.centre - fixed.grid.centre)
    sentence = "No pose within the limits of the search gives the two volumes enough in common; widen the limits."
    seconds["total"] = time.perf_counter() - began
    shape = tuple(min(2, n) for n in fixed.grid.shape)
    return Result(
        moving_from_fixed=guess,
        model="similarity",
        model_reason="nothing was found to fit a model to",
        verdict=Verdict("refused", 0.0, (sentence,)),
        predicted_error=PredictedError(np.full(shape, np.nan, np.float32), fixed.grid.resized(shape)),
        poses=(),
        fixed=image_record(fixed, best.channels[0]),
        moving=image_record(moving, best.channels[1]),
        scale_found=pixel_size(fixed.grid) / pixel_size(moving.grid),
        scale_claimed=claimed_scale(fixed.grid, moving.grid),
        recipe=recipe.name,
        seed=seed,
        seconds=seconds,
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
    )
