"""What two images say of a transform that somebody found without looking at their grey values, from landmarks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace

import numpy as np

from correlight.appearance import APPEARANCES
from correlight.errors import TransformError, UsageError
from correlight.evidence.null_poses import score_of, score_statistics
from correlight.evidence.verdict import Evidence, Status, Verdict
from correlight.geometry import Points
from correlight.images.image import Image
from correlight.intensity.planes import most_alike
from correlight.landmarks import fit
from correlight.methods.task import Candidate, ImagePair, Task
from correlight.search.limits import Limits
from correlight.search.pose import Pose
from correlight.transforms import Affine

# A pose that scores so many times as much as all deliberately wrong ones is one that the images confirm; one in which
# the landmarks were meant otherwise contradicts it if it scores so many times as much, and any of the many wrong ones
# if it scores so many times as much. In between, the images are too unlike to be asked.
_CONFIRMS, _CONTRADICTS, _CONTRADICTS_ANYWHERE = 1.35, 1.5, 2.0
# Landmarks may be set at the edge of two images that have little else in common.
_LEAST_OVERLAP = 0.1
_THREADS = 2
_NEARLY_AS_GOOD = 0.8
# Landmarks that the images contradict are no better than this.
_CONTRADICTED = 0.5


def asked_of_images(
    verdict: Verdict, fixed: Image, moving: Image, found: Affine, fixed_points: Points, moving_points: Points
) -> Verdict:
    """The verdict on landmarks, once the images were asked as well.

    Parameters
    ----------
    verdict : Verdict
        What the landmarks say.
    fixed, moving : Image
        Two-dimensional images.
    found : Affine
        ``moving_from_fixed``, as the landmarks give it.
    fixed_points, moving_points : (N, 2) arrays
        The landmarks, in the units of the images.
    """
    opinion = opinion_of_images(fixed, moving, found, _slips(fixed, moving, fixed_points, moving_points))
    said = [one.sentence for one in opinion]
    if found.mirrored:
        said.append("The landmarks make the moving image a mirror image of the fixed one.")
    evidence = (*verdict.evidence, *opinion)
    if all(one.favours for one in opinion):
        return replace(verdict, reasons=(*verdict.reasons, *said), evidence=evidence)
    status: Status = "refused" if verdict.status == "refused" else "doubtful"
    before = () if verdict.status == "accepted" else verdict.reasons
    return Verdict(status, min(verdict.confidence, _CONTRADICTED), (*said, *before), evidence)


def _slips(fixed: Image, moving: Image, fixed_points: Points, moving_points: Points) -> dict[str, Affine]:
    """What landmarks would give if coordinates of one image had been written down otherwise than was meant."""
    slips: dict[str, Affine] = {}
    with suppress(TransformError):
        both = Affine(fit(fixed_points[:, ::-1], moving_points[:, ::-1], "similarity").matrix)
        slips["y and x of the landmarks of both images are exchanged"] = both
    for role, image, points in (("fixed", fixed, fixed_points), ("moving", moving, moving_points)):
        # The sum of the first and the last edge: where y lies if it is counted from the other one.
        edges = image.grid.corners()[[0, -1], 0].sum()
        exchanged, from_below = points[:, ::-1], points * (-1, 1) + (edges, 0)
        for words, meant in (
            (f"y and x of the landmarks of the {role} image are exchanged", exchanged),
            (f"y of the landmarks of the {role} image is counted from below", from_below),
        ):
            with suppress(TransformError):
                one, other = (meant, moving_points) if role == "fixed" else (fixed_points, meant)
                slips[words] = Affine(fit(one, other, "similarity").matrix)
    return slips


def opinion_of_images(fixed: Image, moving: Image, found: Affine, slips: Mapping[str, Affine]) -> tuple[Evidence, ...]:
    """Whether features that both images share agree with the rotation, scale and handedness of a transform.

    Parameters
    ----------
    fixed, moving : Image
        Two-dimensional images.
    found : Affine
        ``moving_from_fixed``, as it is to be judged.
    slips : mapping of str to Affine
        What else may have been meant: in words, as the end of "The images agree better if ...", and as a transform.

    Returns
    -------
    tuple of Evidence
        One piece, or none where an image shows nothing or the images are too unlike to say anything.
    """
    pair = ImagePair(fixed, moving, appearance=APPEARANCES["descriptor"])
    limits = Limits((found.scale / 2, found.scale * 2), least_overlap=_LEAST_OVERLAP)
    task = Task(pair, limits, workers=_THREADS)
    try:
        candidate = most_alike(task, Candidate((None, None), (Pose(found, 1.0, 1.0),)))
    except UsageError:
        return ()
    scores = score_statistics(
        candidate.fixed, candidate.moving, found, candidate.poses, candidate.engine, limits, _THREADS
    )
    meant = {
        words: score_of(candidate.fixed, candidate.moving, other, candidate.engine, limits)
        for words, other in slips.items()
    }
    words, best = max(meant.items(), key=lambda item: item[1], default=("", -np.inf))
    wrong, own = float(scores.wrong.max()), max(scores.own, 1e-9)
    # One of the many wrong orientations may lie near that of the slip, and score a little more by luck.
    if best > max(_CONTRADICTS * own, _NEARLY_AS_GOOD * wrong):
        said = f"The images agree {best / own:.1f} times as well if {words}; check the landmarks."
        return (Evidence("Images and landmarks", best / own, _CONTRADICTS, False, said),)
    if wrong > _CONTRADICTS_ANYWHERE * own:
        said = f"The images agree {wrong / own:.1f} times as well in another orientation; check the landmarks."
        return (Evidence("Images and landmarks", wrong / own, _CONTRADICTS_ANYWHERE, False, said),)
    if scores.ratio < _CONFIRMS:
        return ()
    said = (
        f"The images agree: their features score {scores.ratio:.1f} times as much in the orientation of the landmarks "
        f"as in the best of {len(scores.wrong)} deliberately wrong ones."
    )
    return (Evidence("Images and landmarks", scores.ratio, _CONFIRMS, True, said),)
