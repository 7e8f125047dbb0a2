"""Checks of a refined pose that the search and the refinement did not optimise: fits that ought to agree with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.appearance import Appearance
from correlight.evidence.confidence import Calibration, Findings
from correlight.evidence.null_poses import ScoreStatistics
from correlight.evidence.predicted_error import PredictedError, coarser_pixel, predict, spread
from correlight.evidence.witnesses import above_displaced, apart_from_outline, of_detail
from correlight.geometry import Grid, Points
from correlight.images.plane import Plane
from correlight.progress import in_threads
from correlight.refine.choose import Choice, Untaken
from correlight.refine.linear import improved, refine
from correlight.refine.planes import PlanePair
from correlight.refine.samples import Comparison, LinearTransform, MeasureName, distance
from correlight.search.pose import Pose
from correlight.transforms import Affine, Transform

# Working size at which the common area is measured.
_COMMON_SIZE = 96
# Working size at which an image is judged usual or not.
_LOOKED_AT = 288
# From how many degrees, and from what logarithm of the scale on, a rival is another pose for that alone.
_OTHERWISE_TURNED, _OTHERWISE_SCALED = 10.0, 0.08
# Rivals this near in the logarithm of the scale, and in place as a share of the width, show the same part.
_SAME_SCALE, _SAME_PLACE = 0.03, 0.05
# A rival whose correlation is so many times higher agrees better.
_BETTER = 1.1
# One that scores so many times as much as the best of the wrong poses is no wrong pose by chance.
_STANDS_OUT = 1.35
# A place is never known better than to this share of a pixel of the coarser image.
LEAST_ERROR = 0.3


@dataclass(frozen=True, eq=False)
class IndependentFits:
    """Fits that ought to agree with a result, each ``moving_from_fixed``.

    Parameters
    ----------
    found : Transform
        The result.
    halves : pair of Transform
        Fitted to the two halves of a checkerboard of blocks.
    backward : Transform
        Fitted with fixed and moving exchanged.
    by_other_measure : Transform, optional
        Fitted by another measure, where there is one.
    untaken : tuple of Untaken
        Richer models that were weighed and not taken.
    local : float
        By how much quarters of the images want to be elsewhere, as `local_misfit` finds it.
    """

    found: Transform
    halves: tuple[Transform, Transform]
    backward: Transform
    by_other_measure: Transform | None = None
    untaken: tuple[Untaken, ...] = ()
    local: float = 0.0

    @property
    def pairs(self) -> list[tuple[Transform, Transform]]:
        """Pairs of transforms that differ by their errors alone."""
        others = (self.by_other_measure, self.backward)
        return [self.halves, *((self.found, other) for other in others if other is not None)]


def independent_fits(pair: Comparison, choice: Choice) -> IndependentFits:
    """Refine anew by the other measure and with exchanged images; the halves were fitted when the model was chosen.

    Parameters
    ----------
    pair : Comparison
        The two images.
    choice : Choice
        The refined transform and the fits to its halves.
    """
    found, level = choice.transform, (pair.weighing,)

    def backward() -> LinearTransform:
        exchanged = pair.exchanged()
        levels = (exchanged.weighing,)
        return refine(exchanged, found.inverse(), choice.model, measure=choice.measure, levels=levels).inverse()

    def by_other_measure() -> LinearTransform | None:
        if "features" not in pair.measures:
            return None
        measure: MeasureName = "features" if choice.measure == "mutual information" else "mutual information"
        return refine(pair, found, choice.model, measure=measure, levels=level)

    def local() -> float:
        return local_misfit(pair, choice)

    tasks: tuple[Callable[[], Any], ...] = (backward, by_other_measure, local)
    back, other, misfit = in_threads(lambda task: task(), tasks, len(tasks))
    return IndependentFits(found, choice.halves, back, other, choice.untaken, misfit)


def local_misfit(pair: Comparison, choice: Choice) -> float:
    """How far the middles of the quarters of an image lie from where they fit best, of two axes only.

    Each quarter is fitted twice, to the two halves of its blocks. What these agree on no transform of the chosen kind
    follows, such as smooth distortion or a model that is too poor; what they differ by is noise, and subtracted.

    Parameters
    ----------
    pair : Comparison
        The two images.
    choice : Choice
        The refined transform.

    Returns
    -------
    float
        Root mean square over the quarters in moving units; 0 where too little is common.
    """
    found = choice.transform
    samples = pair.samples(found, pair.weighing)
    if pair.fixed_grid.ndim != 2 or not samples:
        return 0.0
    beyond = samples.points > np.median(samples.points, axis=0)
    to_fixed = np.linalg.inv(samples.frame_from_fixed)
    alike, apart = [], []
    for quarter in product((False, True), repeat=2):
        part = samples.restricted(np.all(beyond == quarter, axis=1))
        halves = part.half(0), part.half(1)
        if not all(halves):
            continue
        middle = to_fixed @ np.append(part.points.mean(axis=0), 1.0)
        place = middle[None, :-1] / middle[-1]
        one, other = (improved(half, found, "rigid", choice.measure)(place) - found(place) for half in halves)
        alike.append(float(np.sum((one + other) ** 2)) / 4)
        apart.append(float(np.sum((one - other) ** 2)) / 4)
    return max(0.0, (sum(alike) - sum(apart)) / len(alike)) ** 0.5 if alike else 0.0


def predicted_error(
    fits: IndependentFits, scale: float, fixed: Grid, moving: Grid, known: Calibration
) -> PredictedError:
    """Predicted error over the fixed image, from how far independent fits lie apart and what richer models would add.

    Parameters
    ----------
    fits : IndependentFits
        As `independent_fits` makes them.
    scale : float
        Moving units per fixed unit.
    fixed, moving : Grid
        Of the two images in full.
    known : Calibration
        Says by how much such fits understate the error.
    """
    least = LEAST_ERROR * coarser_pixel(fixed, moving, scale)
    apart = spread(fits.pairs, scale, least, known.error_scale)

    def error_at(places: Points) -> NDArray[np.float64]:
        missing = np.zeros(len(places))
        for one in fits.untaken:
            missing += one.variance(places)
        # Models and quarters see the same misfit in two ways.
        return np.asarray(np.sqrt(apart(places) ** 2 + np.maximum(missing, fits.local**2) / scale**2))

    return predict(error_at, fits.found, fixed, moving)


def shares_apart(fits: IndependentFits, fixed: Grid) -> dict[str, float]:
    """Mean distances between fits as shares of the longest side of the fixed image, named as in `Findings`."""
    width = max(fixed.extent)

    def apart(a: Transform, b: Transform) -> float:
        return distance(a, b, fixed) / width

    shares = {"halves": apart(*fits.halves), "backward": apart(fits.found, fits.backward)}
    if fits.by_other_measure is not None:
        shares["measures"] = apart(fits.found, fits.by_other_measure)
    return shares


def findings_of_planes(
    pair: PlanePair, fits: IndependentFits, found: LinearTransform, scores: ScoreStatistics, appearance: Appearance
) -> Findings:
    """The findings about a pose of two planes.

    Parameters
    ----------
    pair : PlanePair
        The two images.
    fits : IndependentFits
        Of the refined pose.
    found : Affine or Projective
        The refined pose.
    scores : ScoreStatistics
        Of that pose.
    appearance : Appearance
        What the images were compared by.
    """
    fixed, moving, rival = pair.fixed, pair.moving, scores.rival
    small, laid = pair.overlay(found, _COMMON_SIZE), pair.overlay(found, pair.weighing)
    common = np.count_nonzero(small.fixed.mask & small.moving.mask) * np.prod(small.fixed.grid.spacing)
    apart = shares_apart(fits, fixed.grid)
    return Findings(
        margin=scores.margin,
        wrong_poses=scores.height,
        wrong_ratio=scores.ratio,
        second_measure=above_displaced(laid.samples, "mutual information"),
        detail=of_detail(laid),
        inside=apart_from_outline(laid),
        halves=apart["halves"],
        measures=apart["measures"],
        backward=apart["backward"],
        overlap=float(common / min(fixed.area, moving.area / found.scale**2)),
        unusual=_unusual(fixed, moving, appearance),
        predicted=max((p.predicted.unusualness for p in (fixed, moving) if p.predicted), default=float("nan")),
        rival=_way_to(rival, found, fixed) if rival else "",
        symmetric=rival is not None and _other_way_round(rival, found, fixed),
        rival_agrees=rival is not None and _right_half(rival, scores),
        tried=len(scores.wrong),
    )


def _apart(rival: Pose, found: LinearTransform, fixed: Plane) -> tuple[bool, float, float, float]:
    """Whether a rival is mirrored against a pose; its rotation (degrees), scale, and shift as a share of the width."""
    other, own = rival.linear, Affine.of(found.linear, found.offset)
    turn = abs((other.rotation - own.rotation + 180) % 360 - 180)
    middle = fixed.grid.centre[None]
    shift = float(np.linalg.norm(other(middle) - own(middle))) / own.scale / max(fixed.grid.extent)
    return other.mirrored is not own.mirrored, turn, other.scale / own.scale, shift


def _way_to(rival: Pose, found: LinearTransform, fixed: Plane) -> str:
    """How a rival pose differs, as the subject of a sentence."""
    mirrored, turn, scale, shift = _apart(rival, found, fixed)
    if mirrored:
        return "The mirror image"
    if turn > _OTHERWISE_TURNED:
        return f"The image rotated by {turn:.0f} degrees"
    if abs(np.log(scale)) > _OTHERWISE_SCALED:
        return f"The image scaled by {scale:.2g}"
    return f"The image shifted by {100 * shift:.0f} % of the width"


def _other_way_round(rival: Pose, found: LinearTransform, fixed: Plane) -> bool:
    """Whether a rival shows the same part at the same size, rotated or mirrored, as for a symmetric specimen."""
    mirrored, turn, scale, shift = _apart(rival, found, fixed)
    alike = abs(np.log(scale)) < _SAME_SCALE and shift < _SAME_PLACE
    return bool(alike and (mirrored or turn > _OTHERWISE_TURNED))


def agrees_better(rival: Pose, own: Pose) -> bool:
    """Whether a rival agrees better where it has something in common; scores grow as the square root of that area.

    Parameters
    ----------
    rival, own : Pose
        Of one list.
    """
    return bool(rival.score**2 * own.overlap > (_BETTER * own.score) ** 2 * rival.overlap)


def _right_half(rival: Pose, scores: ScoreStatistics) -> bool:
    """Whether a rival has less in common than the pose, agrees better there, and is no wrong pose by chance."""
    own = scores.poses[0]
    above = rival.score / max(own.score, 1e-9) * scores.ratio
    return rival.overlap < own.overlap and agrees_better(rival, own) and above > _STANDS_OUT


def _unusual(fixed: Plane, moving: Plane, appearance: Appearance) -> float:
    """Out-of-distribution score of the less usual of two images."""
    if appearance.unusualness is None:
        return 0.0
    planes = (plane.shrunk(float(np.sqrt(plane.area)) / _LOOKED_AT) for plane in (fixed, moving))
    return max(appearance.unusualness(plane.values, plane.mask) for plane in planes)
