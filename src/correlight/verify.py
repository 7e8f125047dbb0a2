"""May the result be trusted? Evidence that the search did not optimise, a verdict, and a predicted error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from correlight.appearance import Appearance
from correlight.appearance.channels import Channels
from correlight.plane import Plane
from correlight.pose import Pose
from correlight.refine.choose import Choice
from correlight.refine.linear import MeasureName, Overlay, Pose2D, distance, overlay, refine
from correlight.result import Clue, PredictedError, Status, Verdict
from correlight.search.correlate import Engine, MakeEngine
from correlight.search.poses import working_planes
from correlight.transforms import Affine

# Size, in pixels that the engine compares, at which the pose is compared with deliberately wrong ones.
_NULL_SIZE = 96
# Working size at which an image is judged usual or not.
_LOOKED_AT = 288
# Wrong poses are turned against the right one by multiples of this, in both handednesses.
_NULL_STEP = 15.0
# Working sizes of the fits that check the result.
_CHECK_PYRAMID = (256,)
# Wrong shifts for the second measure, as shares of the common field.
_DISPLACEMENTS = (0.06, 0.12)
# Where each finding turns from speaking for a result to speaking against it. Unrelated real images reach a ratio of
# 1.5 but not a margin with it; right poses had at least 1.7 and 1.2 (benchmarks/results).
_RATIO_LIMIT, _MARGIN_LIMIT, _SPREAD_LIMIT = 1.35, 1.15, 6.0
_SECOND_LIMIT, _APART_LIMIT, _OVERLAP_LIMIT = 2.0, 0.02, 0.4
_UNUSUAL_LIMIT, _UNUSUAL_WEIGHT = 1.0, 2.3
# Log odds: of the most that is ever claimed (99 %), and of what a second measure that sees nothing takes away.
_MOST_SUPPORT, _SECOND_WEIGHT = 4.6, 2.3
_ACCEPT_FROM, _REFUSE_BELOW = 0.9, 0.3
_NULL_COUNT = 2 * len(np.arange(_NULL_STEP, 360 - _NULL_STEP / 2, _NULL_STEP))
# Places per axis at which the error is predicted.
_ERROR_PLACES = 24
# A place is never known better than to this share of a pixel of the coarser image.
_LEAST_ERROR = 0.3


@dataclass(frozen=True, slots=True)
class Findings:
    """What was measured about a result, before it is judged.

    Parameters
    ----------
    margin : float
        Score of the pose over the score of the best rival pose that the search found.
    wrong_poses : float
        Score above the mean of deliberately wrong poses of the same pair, over the spread of theirs.
    wrong_ratio : float
        Score over the best score of those wrong poses.
    second_measure : float
        Mutual information at the pose above its mean at displaced places, over the spread of theirs; the search by
        features did not use it.
    halves : float
        Mean distance between fits to the two halves of a checkerboard, as a fraction of the fixed width.
    measures : float
        Mean distance between refining by features and by mutual information, likewise.
    backward : float
        Mean distance when fixed and moving are exchanged, likewise.
    overlap : float
        Common valid area as a fraction of the smaller field.
    unusual : float
        How unlike what the learned channels were trained on the stranger of the two images is, in units of what 95 %
        of the training images keep to; 0 where nothing learned was used.
    """

    margin: float
    wrong_poses: float
    wrong_ratio: float
    second_measure: float
    halves: float
    measures: float
    backward: float
    overlap: float
    unusual: float = 0.0


@dataclass(frozen=True, eq=False)
class Checked:
    """Findings, and the other transforms that they rest on."""

    findings: Findings
    by_other_measure: Pose2D
    backward: Pose2D


def check(
    fixed: Plane,
    moving: Plane,
    choice: Choice,
    poses: Sequence[Pose],
    engine: MakeEngine,
    appearance: Appearance,
    least_overlap: float,
) -> Checked:
    """Measure everything that speaks for or against a result.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    choice : Choice
        The refined transform and the fits to its halves.
    poses : sequence of Pose
        The hypotheses with the scores of the search; the first is the one that was refined.
    engine, appearance, least_overlap
        As in the search.
    """
    found, channels = choice.transform, appearance.refine
    width = max(fixed.grid.extent)
    measure = choice.measure
    other: MeasureName = "features" if measure == "mutual information" else "mutual information"
    by_other = refine(fixed, moving, found, choice.model, channels, measure=other, pyramid=_CHECK_PYRAMID)
    back = refine(moving, fixed, found.inverse(), choice.model, channels, measure=measure, pyramid=_CHECK_PYRAMID)
    backward = back.inverse()
    own, wrong = _against_wrong_poses(fixed, moving, found, engine, least_overlap)
    # Without a rival inside the limits the wrong poses stand for one.
    rival = poses[1].score if len(poses) > 1 else poses[0].score * float(wrong.max()) / max(own, 1e-9)
    laid = overlay(fixed, moving, found, _NULL_SIZE)
    common = np.count_nonzero(laid.fixed.mask & laid.moving.mask) * np.prod(laid.fixed.grid.spacing)
    scale = found.scale
    findings = Findings(
        margin=poses[0].score / max(rival, 1e-9),
        wrong_poses=float((own - wrong.mean()) / max(wrong.std(), 1e-9)),
        wrong_ratio=float(own / max(wrong.max(), 1e-9)),
        second_measure=_above_displaced(overlay(fixed, moving, found, _CHECK_PYRAMID[0]), channels),
        halves=distance(*choice.halves, fixed.grid) / width,
        measures=distance(found, by_other, fixed.grid) / width,
        backward=distance(found, backward, fixed.grid) / width,
        overlap=float(common / min(fixed.area, moving.area / scale**2)),
        unusual=_unusual(fixed, moving, appearance),
    )
    return Checked(findings, by_other, backward)


def _unusual(fixed: Plane, moving: Plane, appearance: Appearance) -> float:
    """How unlike what the channels were made for the stranger of two images is."""
    if appearance.unusualness is None:
        return 0.0
    planes = (plane.shrunk(float(np.sqrt(plane.area)) / _LOOKED_AT) for plane in (fixed, moving))
    return max(appearance.unusualness(plane.values, plane.mask) for plane in planes)


def _above_displaced(laid: Overlay, channels: Channels) -> float:
    """How far mutual information at the pose stands above mutual information after wrong shifts."""
    if not laid:
        return 0.0
    measure = laid.measure("mutual information", channels)
    places = laid.samples
    reach = np.ptp(places, axis=0)
    angles = np.arange(8) * np.pi / 4
    wrong = [
        measure(places + share * reach * (np.sin(angle), np.cos(angle))).value
        for share in _DISPLACEMENTS
        for angle in angles
    ]
    return (measure(places).value - float(np.mean(wrong))) / max(float(np.std(wrong)), 1e-9)


def _against_wrong_poses(
    fixed: Plane, moving: Plane, found: Pose2D, engine: MakeEngine, least_overlap: float
) -> tuple[float, np.ndarray]:
    """Score of a pose, and the best scores of poses of the same scale that are turned away from it."""
    linear = Affine.of(found.linear, found.offset)
    small, other = working_planes(fixed, moving, linear.scale, _NULL_SIZE * engine.stride)
    judge = engine(small, other, least_overlap)
    own = max(_score(judge, linear.rotation + turn, linear.mirrored) for turn in (-1.5, 0.0, 1.5))
    # Turns that share features one after the other.
    wrong = [
        _score(judge, linear.rotation + rest + quarter, linear.mirrored is not mirror)
        for rest in np.arange(0, 90, _NULL_STEP)
        for quarter in np.arange(0, 360, 90)
        for mirror in (False, True)
        if rest + quarter
    ]
    finite = [score for score in wrong if np.isfinite(score)]
    return own, np.array(finite or [0.0])


def _score(engine: Engine, rotation: float, mirror: bool) -> float:
    return engine.best_shifts(Affine.similarity(rotation, 1.0, mirror).linear)[-1].score


def predict_error(fixed: Plane, moving: Plane, choice: Choice, checked: Checked) -> PredictedError:
    """Predicted error over the fixed image, from how far independent estimates lie apart.

    Fits to the two halves of the picture differ by twice the error of the fit to the whole, if errors of the halves
    are independent. Refinement by the other measure and with exchanged roles adds what a single measure cannot see.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    choice : Choice
        With the fits to the halves.
    checked : Checked
        With the other estimates.
    """
    shape = tuple(max(2, round(_ERROR_PLACES * n / max(fixed.grid.shape))) for n in fixed.grid.shape)
    grid = fixed.grid.resized(shape)
    points = grid.lattice_of_pixels()
    found = choice.transform
    scale = found.scale
    pixel = max(*fixed.grid.spacing, *(step / scale for step in moving.grid.spacing))

    def apart(a: Pose2D, b: Pose2D) -> np.ndarray:
        return np.asarray(np.sum((a(points) - b(points)) ** 2, axis=1) / (2 * scale) ** 2)

    variance = apart(*choice.halves) + apart(found, checked.by_other_measure) + apart(found, checked.backward)
    values = np.sqrt(variance + (_LEAST_ERROR * pixel) ** 2)
    covered = moving.grid.contains(found(points))
    values[~covered] = np.nan
    return PredictedError(values.reshape(shape).astype(np.float32), grid)


def judge(findings: Findings) -> Verdict:
    """Weigh the findings.

    The confidence is a logistic curve over how far the pose stands above wrong ones and above its best rival. Each
    independent estimate that leads elsewhere takes some of it away.

    Parameters
    ----------
    findings : Findings
        From `check`.

    Returns
    -------
    Verdict
        Accepted from a confidence of 0.9, refused below 0.3, doubtful between.
    """
    clues = _clues(findings)
    support = 9 * np.log(max(findings.wrong_ratio, 0.1) / _RATIO_LIMIT)
    support += 5 * np.log(max(findings.margin, 0.1) / _MARGIN_LIMIT)
    # However far a pose stands out, estimates that lead elsewhere can still bring it down.
    support = min(support, _MOST_SUPPORT)
    for apart in (findings.halves, findings.measures, findings.backward):
        support -= 1.5 * max(0.0, apart / _APART_LIMIT - 1)
    support -= _SECOND_WEIGHT * (findings.second_measure < _SECOND_LIMIT)
    # What the channels were never trained on may fool them in ways that no wrong pose of the pair shows.
    support -= _UNUSUAL_WEIGHT * max(0.0, findings.unusual - _UNUSUAL_LIMIT)
    confidence = float(1 / (1 + np.exp(-np.clip(support, -_MOST_SUPPORT, _MOST_SUPPORT))))
    status: Status = "refused" if confidence < _REFUSE_BELOW else "doubtful"
    if confidence >= _ACCEPT_FROM:
        status = "accepted"
    # An accepted result may have weak sides, which are said; what is not accepted says only what speaks against it.
    against = tuple(clue.sentence for clue in clues if not clue.favours)
    support_sentences = tuple(clue.sentence for clue in clues if clue.favours)
    reasons = (*support_sentences[:3], *against) if status == "accepted" else against or support_sentences
    return Verdict(status, confidence, reasons, clues)


def _clues(f: Findings) -> tuple[Clue, ...]:
    def clue(name: str, value: float, limit: float, good: str, bad: str, *, below: bool = False) -> Clue:
        favours = value <= limit if below else value >= limit
        return Clue(name, value, limit, favours, good if favours else bad)

    percent = f"{100 * f.halves:.1f} %", f"{100 * f.measures:.1f} %", f"{100 * f.backward:.1f} %"
    return (
        clue(
            "Ratio to wrong poses",
            f.wrong_ratio,
            _RATIO_LIMIT,
            f"The pose scores {f.wrong_ratio:.1f} times as much as the best of {_NULL_COUNT} deliberately wrong poses.",
            f"Deliberately wrong poses of this pair score nearly as much ({f.wrong_ratio:.2f} times the best of them).",
        ),
        clue(
            "Height above wrong poses",
            f.wrong_poses,
            _SPREAD_LIMIT,
            f"It stands {f.wrong_poses:.0f} standard deviations above the mean of those wrong poses.",
            f"It stands only {f.wrong_poses:.1f} standard deviations above the mean of deliberately wrong poses.",
        ),
        clue(
            "Margin over rivals",
            f.margin,
            _MARGIN_LIMIT,
            f"It scores {f.margin:.1f} times as much as the best rival pose.",
            f"Another pose fits almost as well (the best scores {f.margin:.2f} times the runner-up).",
        ),
        clue(
            "Second measure",
            f.second_measure,
            _SECOND_LIMIT,
            "Mutual information, which the search did not use, agrees: it is "
            f"{f.second_measure:.1f} standard deviations higher here than nearby.",
            "Mutual information, which the search did not use, sees nothing special at this place "
            f"({f.second_measure:.1f} standard deviations above nearby places).",
        ),
        clue(
            "Two halves",
            f.halves,
            _APART_LIMIT,
            f"Two separate halves of the picture lead to the same place within {percent[0]} of the width.",
            f"Two separate halves of the picture lead to places {percent[0]} of the width apart.",
            below=True,
        ),
        clue(
            "Other measure",
            f.measures,
            _APART_LIMIT,
            f"Features and mutual information lead to the same place within {percent[1]} of the width.",
            f"Features and mutual information lead to places {percent[1]} of the width apart.",
            below=True,
        ),
        clue(
            "Way back",
            f.backward,
            _APART_LIMIT,
            f"Registering in the other direction leads back within {percent[2]} of the width.",
            f"Registering in the other direction leads {percent[2]} of the width elsewhere.",
            below=True,
        ),
        clue(
            "Overlap",
            f.overlap,
            _OVERLAP_LIMIT,
            f"The images share {100 * f.overlap:.0f} % of the smaller field.",
            f"The images share only {100 * f.overlap:.0f} % of the smaller field.",
        ),
        clue(
            "Familiar look",
            f.unusual,
            _UNUSUAL_LIMIT,
            "Both images look like what the descriptor was trained on.",
            f"One of the images is unlike anything that the descriptor was trained on ({f.unusual:.1f} times as far "
            "from the usual as nearly all of that).",
            below=True,
        ),
    )
