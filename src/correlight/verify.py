"""May the result be trusted? Evidence that the search did not optimise, a verdict, and a predicted error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from correlight.appearance.channels import Channels
from correlight.plane import Plane
from correlight.pose import Pose
from correlight.refine.choose import Choice
from correlight.refine.linear import MeasureName, Pose2D, distance, overlay, refine
from correlight.result import Clue, PredictedError, Status, Verdict
from correlight.search.correlate import Engine, MakeEngine
from correlight.search.poses import working_planes
from correlight.transforms import Affine

# Working size at which the pose is compared with deliberately wrong ones.
_NULL_SIZE = 128
# Wrong poses are turned against the right one by multiples of this, in both handednesses.
_NULL_STEP = 15.0
# Working sizes of the fits that check the result.
_CHECK_PYRAMID = (256,)
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
        Mutual information at the pose over the largest among the rivals, each refined; the search did not use it.
    halves : float
        Mean distance between fits to the two halves of a checkerboard, as a fraction of the fixed width.
    measures : float
        Mean distance between refining by features and by mutual information, likewise.
    backward : float
        Mean distance when fixed and moving are exchanged, likewise.
    overlap : float
        Common valid area as a fraction of the smaller field.
    """

    margin: float
    wrong_poses: float
    wrong_ratio: float
    second_measure: float
    halves: float
    measures: float
    backward: float
    overlap: float


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
    informations: Sequence[float],
    engine: MakeEngine,
    channels: Channels,
    measure: MeasureName,
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
    informations : sequence of float
        Mutual information of each hypothesis after its own refinement.
    engine, channels, measure, least_overlap
        As in the search and the refinement.
    """
    found = choice.transform
    width = max(fixed.grid.extent)
    other: MeasureName = "features" if measure == "mutual information" else "mutual information"
    by_other = refine(fixed, moving, found, choice.model, channels, measure=other, pyramid=_CHECK_PYRAMID)
    back = refine(moving, fixed, _inverse(found), choice.model, channels, measure=measure, pyramid=_CHECK_PYRAMID)
    backward = _inverse(back)
    own, wrong = _against_wrong_poses(fixed, moving, found, engine, least_overlap)
    rivals = [pose.score for pose in poses[1:]]
    laid = overlay(fixed, moving, found, _NULL_SIZE)
    common = np.count_nonzero(laid.fixed.mask & laid.moving.mask) * np.prod(laid.fixed.grid.spacing)
    scale = float(abs(np.linalg.det(found.linear)) ** 0.5)
    findings = Findings(
        margin=poses[0].score / max(max(rivals, default=0.0), float(wrong.max()), 1e-9),
        wrong_poses=float((own - wrong.mean()) / max(wrong.std(), 1e-9)),
        wrong_ratio=float(own / max(wrong.max(), 1e-9)),
        second_measure=informations[0] / max(max(informations[1:], default=0.0), 1e-9),
        halves=distance(*choice.halves, fixed.grid) / width,
        measures=distance(found, by_other, fixed.grid) / width,
        backward=distance(found, backward, fixed.grid) / width,
        overlap=float(common / min(fixed.area, moving.area / scale**2)),
    )
    return Checked(findings, by_other, backward)


def _inverse(transform: Pose2D) -> Pose2D:
    return transform.inverse()


def _against_wrong_poses(
    fixed: Plane, moving: Plane, found: Pose2D, engine: MakeEngine, least_overlap: float
) -> tuple[float, np.ndarray]:
    """Score of a pose, and the best scores of poses of the same scale that are turned away from it."""
    linear = Affine.of(found.linear, found.offset)
    small, other = working_planes(fixed, moving, linear.scale, _NULL_SIZE)
    judge = engine(small, other, least_overlap)
    own = max(_score(judge, linear.rotation + turn, linear.mirrored) for turn in (-1.5, 0.0, 1.5))
    turns = np.arange(_NULL_STEP, 360 - _NULL_STEP / 2, _NULL_STEP)
    wrong = [_score(judge, linear.rotation + turn, linear.mirrored) for turn in turns]
    wrong += [_score(judge, linear.rotation + turn, not linear.mirrored) for turn in turns]
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
    scale = float(abs(np.linalg.det(found.linear)) ** 0.5)
    pixel = max(*fixed.grid.spacing, *(step / scale for step in moving.grid.spacing))

    def apart(a: Pose2D, b: Pose2D) -> np.ndarray:
        return np.asarray(np.sum((a(points) - b(points)) ** 2, axis=1) / (2 * scale) ** 2)

    variance = apart(*choice.halves) + apart(found, checked.by_other_measure) + apart(found, checked.backward)
    values = np.sqrt(variance + (_LEAST_ERROR * pixel) ** 2)
    covered = moving.grid.contains(found(points))
    values[~covered] = np.nan
    return PredictedError(values.reshape(shape).astype(np.float32), grid)


def judge(findings: Findings, symbol: str) -> Verdict:
    """Weigh the findings.

    Parameters
    ----------
    findings : Findings
        From `check`.
    symbol : str
        Unit of the fixed image, for the sentences.
    """
    clues = _clues(findings)
    confidence = 0.5
    status: Status = "doubtful"
    return Verdict(status, confidence, tuple(clue.sentence for clue in clues if not clue.favours), clues)


def _clues(f: Findings) -> tuple[Clue, ...]:
    return tuple(
        Clue(name, getattr(f, name), 0.0, True, name)
        for name in (
            "margin",
            "wrong_poses",
            "wrong_ratio",
            "second_measure",
            "halves",
            "measures",
            "backward",
            "overlap",
        )
    )
