"""Evidence for and against a result that the search did not optimise, and the error to expect."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from correlight.appearance import Appearance
from correlight.appearance.channels import Channels
from correlight.evidence.confidence import Findings, calibration
from correlight.evidence.predicted_error import PredictedError
from correlight.images.plane import Plane
from correlight.refine.choose import Choice
from correlight.refine.linear import MeasureName, Overlay, Pose2D, distance, overlay, refine
from correlight.search.correlate import Engine, MakeEngine
from correlight.search.pose import Pose
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
# From how many degrees, and from what logarithm of the scale on, a rival is another pose for that alone.
_OTHERWISE_TURNED, _OTHERWISE_SCALED = 10.0, 0.08
# Rivals this near in the logarithm of the scale, and in place as a share of the width, show the same part.
_SAME_SCALE, _SAME_PLACE = 0.03, 0.05
# Poses nearer to each other, in degrees and in the logarithm of the scale, have the same wrong poses.
_AS_WRONG_TURNED, _AS_WRONG_SCALED = 2.0, 0.03
# Places per axis at which the error is predicted.
_ERROR_PLACES = 24
# A place is never known better than to this share of a pixel of the coarser image.
_LEAST_ERROR = 0.3


@dataclass(frozen=True, eq=False)
class Standing:
    """How a pose stands among others, by what the search compares.

    Parameters
    ----------
    pose : Affine
        The pose, without perspective.
    own : float
        Its score.
    wrong : (N,) array
        Best scores of poses of the same scale that are turned away from it, in both handednesses.
    poses : sequence of Pose
        The hypotheses with the scores of the search; the first is the one that was refined.
    """

    pose: Affine
    own: float
    wrong: NDArray[np.float64]
    poses: Sequence[Pose]

    def tells_of(self, other: Affine) -> bool:
        """Whether poses that are wrong beside this one are as wrong beside another."""
        apart = abs((other.rotation - self.pose.rotation + 180) % 360 - 180)
        alike = abs(np.log(other.scale / self.pose.scale)) < _AS_WRONG_SCALED
        return bool(other.mirrored is self.pose.mirrored and apart < _AS_WRONG_TURNED and alike)

    @property
    def rival(self) -> Pose | None:
        """The best rival that the search found."""
        return rival_of(self.poses)

    @property
    def ratio(self) -> float:
        """Score over the best of the wrong poses."""
        return self.own / max(float(self.wrong.max()), 1e-9)

    @property
    def height(self) -> float:
        """Score above the mean of the wrong poses, in units of their spread."""
        return float((self.own - self.wrong.mean()) / max(self.wrong.std(), 1e-9))

    @property
    def margin(self) -> float:
        """Score over that of the best rival; without one, the wrong poses stand for it."""
        return self.poses[0].score / max(self.rival.score, 1e-9) if self.rival else self.ratio


def rival_of(poses: Sequence[Pose]) -> Pose | None:
    """The best rival of the first of several poses; one that did not hold where it was scores nothing and is none."""
    return next((pose for pose in poses[1:2] if pose.score > 0), None)


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
    standing: Standing,
    appearance: Appearance,
) -> Checked:
    """Measure everything that speaks for or against a result.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    choice : Choice
        The refined transform and the fits to its halves.
    standing : Standing
        Of the refined pose.
    appearance : Appearance
        What the images were compared by.
    """
    found, channels, rival = choice.transform, appearance.refine, standing.rival
    width = max(fixed.grid.extent)
    measure = choice.measure
    other: MeasureName = "features" if measure == "mutual information" else "mutual information"
    by_other = refine(fixed, moving, found, choice.model, channels, measure=other, pyramid=_CHECK_PYRAMID)
    back = refine(moving, fixed, found.inverse(), choice.model, channels, measure=measure, pyramid=_CHECK_PYRAMID)
    backward = back.inverse()
    laid = overlay(fixed, moving, found, _NULL_SIZE)
    common = np.count_nonzero(laid.fixed.mask & laid.moving.mask) * np.prod(laid.fixed.grid.spacing)
    scale = found.scale
    findings = Findings(
        margin=standing.margin,
        wrong_poses=standing.height,
        wrong_ratio=standing.ratio,
        second_measure=_above_displaced(overlay(fixed, moving, found, _CHECK_PYRAMID[0]), channels),
        halves=distance(*choice.halves, fixed.grid) / width,
        measures=distance(found, by_other, fixed.grid) / width,
        backward=distance(found, backward, fixed.grid) / width,
        overlap=float(common / min(fixed.area, moving.area / scale**2)),
        unusual=_unusual(fixed, moving, appearance),
        rival=_way_to(rival, found, fixed) if rival else "",
        symmetric=rival is not None and _other_way_round(rival, found, fixed),
        tried=len(standing.wrong),
    )
    return Checked(findings, by_other, backward)


def _apart(rival: Pose, found: Pose2D, fixed: Plane) -> tuple[bool, float, float, float]:
    """Whether a rival is mirrored against a pose, and its turn in degrees, scale and shift as a share of the width."""
    other, own = rival.linear, Affine.of(found.linear, found.offset)
    turn = abs((other.rotation - own.rotation + 180) % 360 - 180)
    middle = fixed.grid.centre[None]
    shift = float(np.linalg.norm(other(middle) - own(middle))) / own.scale / max(fixed.grid.extent)
    return other.mirrored is not own.mirrored, turn, other.scale / own.scale, shift


def _way_to(rival: Pose, found: Pose2D, fixed: Plane) -> str:
    """What a rival pose does otherwise, as the subject of a sentence."""
    mirrored, turn, scale, shift = _apart(rival, found, fixed)
    if mirrored:
        return "The mirror image"
    if turn > _OTHERWISE_TURNED:
        return f"The image turned by {turn:.0f} degrees"
    if abs(np.log(scale)) > _OTHERWISE_SCALED:
        return f"The image at {scale:.2g} times the size"
    return f"The image shifted by {100 * shift:.0f} % of the width"


def _other_way_round(rival: Pose, found: Pose2D, fixed: Plane) -> bool:
    """Whether a rival shows the same part at the same size, turned or mirrored: what a symmetric specimen does."""
    mirrored, turn, scale, shift = _apart(rival, found, fixed)
    alike = abs(np.log(scale)) < _SAME_SCALE and shift < _SAME_PLACE
    return bool(alike and (mirrored or turn > _OTHERWISE_TURNED))


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


def stand(
    fixed: Plane,
    moving: Plane,
    found: Pose2D,
    poses: Sequence[Pose],
    engine: MakeEngine,
    least_overlap: float,
    workers: int,
    known: Standing | None = None,
) -> Standing:
    """Compare a pose with deliberately wrong ones and with its rivals.

    Parameters
    ----------
    fixed, moving : Plane
        The two images.
    found : Affine or Projective
        The pose, right to a pixel or so.
    poses : sequence of Pose
        As in `Standing`.
    engine, least_overlap, workers
        As in the search.
    known : Standing, optional
        Of a pose of the same images; if it lies nearly alike, its wrong poses are not looked at again.
    """
    linear = Affine.of(found.linear, found.offset)
    small, other = working_planes(fixed, moving, linear.scale, _NULL_SIZE * engine.stride)

    def scores(mirror: bool) -> list[float]:
        """Of one handedness, the right one's first; turns that share features one after the other."""
        judge = engine(small, other, least_overlap)
        turns = [rest + quarter for rest in np.arange(0, 90, _NULL_STEP) for quarter in np.arange(0, 360, 90)][1:]
        nearly = [] if mirror else [-1.5, 0.0, 1.5]
        asked = nearly if known_wrong is not None else nearly + turns
        return [_score(judge, linear.rotation + turn, linear.mirrored is not mirror) for turn in asked]

    known_wrong = known.wrong if known is not None and known.tells_of(linear) else None
    with ThreadPoolExecutor(min(workers, 2)) as pool:
        own_hand, other_hand = pool.map(scores, (False, True))
    own, wrong = max(own_hand[:3]), [*own_hand[3:], *other_hand]
    finite = np.array([score for score in wrong if np.isfinite(score)] or [0.0])
    return Standing(linear, own, finite if known_wrong is None else known_wrong, poses)


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
    values = calibration().error_scale * np.sqrt(variance + (_LEAST_ERROR * pixel) ** 2)
    covered = moving.grid.contains(found(points))
    values[~covered] = np.nan
    return PredictedError(values.reshape(shape).astype(np.float32), grid)
