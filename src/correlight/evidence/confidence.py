"""Findings to a probability that a result is right, and to accepted, doubtful or refused.

The probability is a logistic curve over the findings. Its few numbers are beside this file: in ``confidence.toml``
for images in the plane, fitted by ``python -m benchmarks.calibrate`` to results whose truth is known, and in
``confidence-volumes.toml`` for volumes, set by hand so that simulated pairs (``benchmarks/results/volumes.md``) are
judged correctly.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from correlight.evidence.verdict import Evidence, Status, Verdict, measured, verdict_of

# Limits at which findings count as for or against a result in the sentences; the status follows from the
# probability.
_RATIO_LIMIT, _MARGIN_LIMIT, _HEIGHT_LIMIT, _SECOND_LIMIT = 1.35, 1.15, 6.0, 2.0
_UNUSUAL_LIMIT = 1.0
# Log odds that a pose loses which was searched with little in common, or a stretch, because nothing else was accepted:
# there are more of such poses, and with little in common each has fewer places to be wrong at. Set by hand.
_LAST_RESORT = 1.0
# Apart from the outline, right poses of simulated specimens that show little else came to 3.3 and more, others of the
# same outline to 2.6 at most (benchmarks/results/witnesses.md).
_INSIDE_LIMIT, _INSIDE_DOUBTED = 3.2, 2.7
# Fine detail that agrees so well takes back what mutual information of the images as they are says against a pose.
_DETAIL_BEGINS, _DETAIL_LIMIT = 4.0, 8.0
# Doubts that a pose may outweigh that stands out far enough: those of another measure, and of unusual images.
OPINIONS = frozenset({"second", "measures", "unusual"})
# A symmetric specimen leaves its orientation open, however well its place is known.
_ONE_OF_TWO = 0.5
# Where the wrong half of a brain lay on the other in the mirror, the right pose with little in common scored more;
# beside right results of a dozen pairs, wrong ones with little in common scored 0.79 times as much at most.
_LESS_COMMON_LIMIT = 1.25
# A result that rests on a prediction from an unusual image, or on which half of a symmetric specimen is shown, is this
# much less sure than what is accepted.
_DOUBTFUL_SHARE = 0.99


@dataclass(frozen=True, slots=True)
class Findings:
    """What was measured about a result, before it is judged; NaN for what was not.

    Parameters
    ----------
    margin : float
        Score of the pose over the score of the best rival pose that the search found.
    halves : float
        Mean distance between fits to the two halves of a checkerboard, as a fraction of the fixed width.
    backward : float
        Mean distance when fixed and moving are exchanged, likewise.
    overlap : float
        Common valid area as a fraction of the smaller field.
    wrong_poses : float
        Score above the mean of deliberately wrong poses of the same pair, over the spread of theirs.
    wrong_ratio : float
        Score over the best score of those wrong poses.
    second_measure : float
        Mutual information at the pose above its mean at displaced places, over the spread of theirs; the search by
        features did not use it.
    detail : float
        The same of grey values whose local mean and contrast were evened out, which no vignette misleads.
    inside : float
        Of a specimen with an outline: agreement of the edges that are not the outline's, above that at displaced
        places, over the spread of theirs.
    measures : float
        Mean distance between refining by features and by mutual information, as a fraction of the fixed width.
    search : float
        Of volumes: score of the pose in the plane over the best rival there; that search did not use mutual
        information.
    unusual : float
        Out-of-distribution score of the less usual of the two images, in units of what 95 % of the images that the
        learned features were trained on keep to; 0 where nothing learned was used.
    predicted : float
        Out-of-distribution score of the image that a model predicted from, in units of what 95 % of the images held out
        of its training keep to.
    rival : str
        What has to be done to the moving image to come from this pose to its best rival, in words.
    symmetric : bool
        Whether that rival lays the same part of the moving image onto the fixed one, only in another orientation.
    rival_agrees : bool
        Whether that rival stands out, has less in common and agrees better there, as the right half of a symmetric
        specimen does.
    tried : int
        How many deliberately wrong poses there were.
    less_common : float
        Score over that of the best pose with less in common than the search asks for, if that agrees better there.
    last_resort : bool
        Whether the pose was searched only because nothing was accepted among the usual ones.
    """

    margin: float
    halves: float
    backward: float
    overlap: float
    wrong_poses: float = float("nan")
    wrong_ratio: float = float("nan")
    second_measure: float = float("nan")
    detail: float = float("nan")
    inside: float = float("nan")
    measures: float = float("nan")
    search: float = float("nan")
    unusual: float = 0.0
    predicted: float = float("nan")
    rival: str = ""
    symmetric: bool = False
    rival_agrees: bool = False
    tried: int = 0
    less_common: float = float("nan")
    last_resort: bool = False


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Limits(_Strict):
    """Limits within which findings count.

    Parameters
    ----------
    margin : (float, float)
        Margins beyond these count no further.
    apart : float
        Estimates that lie further apart than this share of the width count against a result.
    most_apart : float
        How many times that they are counted at most.
    overlap : float
        A smaller overlap counts against a result.
    """

    margin: tuple[float, float]
    apart: float
    most_apart: float
    overlap: float


class Calibration(_Strict):
    """The numbers of one file.

    Parameters
    ----------
    offset : float
        Log odds of a result without any evidence.
    weights : dict of str to float
        Log odds per unit of what `support` and `doubts` give; none is negative, and what is not named counts nothing.
    limits : Limits
        Where findings begin to count.
    accept_from, refuse_below : float
        Probabilities between which a result is doubtful.
    most : float
        No probability above this is ever claimed, nor one below its complement.
    error_scale : float
        By how much independent estimates understate the error of a place.
    """

    offset: float
    weights: dict[str, float]
    limits: Limits
    accept_from: float
    refuse_below: float
    most: float
    error_scale: float


Compared = Literal["images", "volumes"]


@cache
def calibration(kind: Compared = "images") -> Calibration:
    """The numbers for images in the plane or for volumes."""
    name = "confidence.toml" if kind == "images" else "confidence-volumes.toml"
    text = resources.files("correlight.evidence").joinpath(name).read_text(encoding="utf-8")
    return Calibration.model_validate(tomllib.loads(text))


def support(findings: Findings, known: Calibration | None = None) -> dict[str, float]:
    """Support for a result, before weighting: how much it scores above wrong poses and above its best rival."""
    low, high = (known or calibration()).limits.margin
    told = {
        "ratio": float(np.log(np.clip(findings.wrong_ratio, 0.5, 2.5))),
        "margin": float(np.log(np.clip(findings.margin, low, high))),
        "search": float(np.log(max(findings.search, 0.1) / _MARGIN_LIMIT)),
    }
    return {name: value for name, value in told.items() if np.isfinite(value)}


def doubts(findings: Findings, known: Calibration | None = None) -> dict[str, float]:
    """Doubts about a result, from 0 up, before weighting."""
    limits = (known or calibration()).limits
    left = np.clip((_DETAIL_LIMIT - findings.detail) / (_DETAIL_LIMIT - _DETAIL_BEGINS), 0.0, 1.0)
    told = {
        "second": float(np.clip(_SECOND_LIMIT - findings.second_measure, 0.0, 1.0) * np.nan_to_num(left, nan=1.0)),
        **{
            name: float(np.clip(getattr(findings, name) / limits.apart - 1, 0.0, limits.most_apart))
            for name in ("halves", "measures", "backward")
        },
        "inside": float(np.clip((_INSIDE_LIMIT - findings.inside) / (_INSIDE_LIMIT - _INSIDE_DOUBTED), 0.0, 1.0)),
        # What the features were never trained on may mislead them in ways that no wrong pose of the pair shows.
        "unusual": float(np.clip(findings.unusual - _UNUSUAL_LIMIT, 0.0, 2.0)),
        "overlap": float(findings.overlap < limits.overlap),
    }
    return {name: value for name, value in told.items() if np.isfinite(value)}


def probability(findings: Findings, known: Calibration | None = None) -> float:
    """The probability that a result with these findings is right.

    However high the score of a pose, fits by the same measure that disagree with it lower the probability. What another
    measure says (`OPINIONS`) is weighed against the score: mutual information may follow a vignette, where features
    leave no doubt.
    """
    known = known or calibration()
    most = float(np.log(known.most / (1 - known.most)))
    told = doubts(findings, known)

    def weighed(told: dict[str, float]) -> float:
        return sum(known.weights.get(name, 0.0) * value for name, value in told.items())

    opinions = weighed({name: value for name, value in told.items() if name in OPINIONS})
    odds = min(most, known.offset + weighed(support(findings, known)) - opinions) - (weighed(told) - opinions)
    odds -= _LAST_RESORT * findings.last_resort
    sure = float(1 / (1 + np.exp(-max(odds, -most))))
    if findings.symmetric and findings.margin < _MARGIN_LIMIT:
        # The place must stand out, or two wrong poses look like a symmetric specimen.
        least = known.refuse_below if findings.wrong_poses >= _HEIGHT_LIMIT else 0.0
        sure = min(max(sure, least), _ONE_OF_TWO)
    wrong_half = findings.rival_agrees or findings.less_common < _LESS_COMMON_LIMIT
    if wrong_half or findings.predicted > _UNUSUAL_LIMIT:
        # Of a symmetric specimen the wrong half may fit as well, with more in common than the right one. What a model
        # makes of an image unlike those that it knows may look like the other image without cause.
        sure = min(sure, _DOUBTFUL_SHARE * known.accept_from)
    return sure


def judge(findings: Findings, known: Calibration | None = None) -> Verdict:
    """Accepted, doubtful or refused by the probability that the result is right.

    Parameters
    ----------
    findings : Findings
        What was measured.
    known : Calibration, optional
        The numbers; those for images in the plane without.
    """
    known = known or calibration()
    confidence = probability(findings, known)
    status: Status = "refused" if confidence < known.refuse_below else "doubtful"
    if confidence >= known.accept_from:
        status = "accepted"
    evidence = [one for one in evidence_of(findings, known.limits) if np.isfinite(one.value)]
    return verdict_of(evidence, confidence, status)


def evidence_of(f: Findings, limits: Limits) -> tuple[Evidence, ...]:
    """Every finding as a sentence with its number, those that were not measured included."""
    halves, measures, back = (f"{100 * value:.1f} %" for value in (f.halves, f.measures, f.backward))
    return (
        measured(
            "Ratio to wrong poses",
            f.wrong_ratio,
            _RATIO_LIMIT,
            f"The pose scores {f.wrong_ratio:.1f} times as much as the best of {f.tried} deliberately wrong poses.",
            f"Deliberately wrong poses of this pair score nearly as much ({f.wrong_ratio:.2f} times the best of them)."
            if f.wrong_ratio >= 1
            else f"A deliberately wrong pose scores more ({1 / max(f.wrong_ratio, 1e-2):.1f} times as much).",
        ),
        measured(
            "Score above wrong poses",
            f.wrong_poses,
            _HEIGHT_LIMIT,
            f"Its score lies {f.wrong_poses:.0f} standard deviations above the mean of those wrong poses.",
            f"Its score lies only {f.wrong_poses:.1f} standard deviations above the mean of deliberately wrong poses.",
        ),
        measured(
            "Margin over rivals",
            f.margin,
            _MARGIN_LIMIT,
            f"It scores {f.margin:.1f} times as much as the best rival pose.",
            f"{f.rival or 'Another pose'} fits almost as well (this pose scores {f.margin:.2f} times as much)."
            if f.margin >= 1
            else f"{f.rival or 'Another pose'} fits better (it scores {1 / max(f.margin, 1e-2):.1f} times as much).",
        ),
        measured(
            "Rivals with less in common",
            f.less_common,
            _LESS_COMMON_LIMIT,
            f"It scores {f.less_common:.1f} times as much as any pose with less in common than is searched.",
            "A pose with less in common than is searched agrees better there, and fits almost as well (this pose "
            f"scores {f.less_common:.2f} times as much), as of the other half of a symmetric specimen.",
        ),
        measured(
            "Margin in the plane",
            f.search,
            _MARGIN_LIMIT,
            f"Projections of the volumes score {f.search:.1f} times as much in this pose as in the best rival pose.",
            f"Projections of the volumes score nearly as much in another pose ({f.search:.2f} times the best rival)."
            if f.search >= 1
            else "Projections of the volumes score more in another pose.",
        ),
        measured(
            "Second measure",
            f.second_measure,
            _SECOND_LIMIT,
            "Mutual information, which the search did not use, agrees: it is "
            f"{f.second_measure:.1f} standard deviations above nearby positions.",
            "Mutual information, which the search did not use, does not support this pose "
            f"({f.second_measure:.1f} standard deviations above nearby positions).",
        ),
        measured(
            "Fine detail",
            f.detail,
            _DETAIL_BEGINS,
            "Fine detail, without shading and large regions, agrees: its mutual information is "
            f"{f.detail:.1f} standard deviations above nearby positions.",
            "Fine detail, without shading and large regions, tells little about this pose "
            f"({f.detail:.1f} standard deviations above nearby positions).",
        ),
        measured(
            "Inside the outline",
            f.inside,
            _INSIDE_LIMIT,
            "Apart from the outline of the specimen, edges agree as well: they are "
            f"{f.inside:.1f} standard deviations above nearby positions.",
            "Apart from the outline of the specimen hardly anything agrees; another specimen of the same outline would "
            f"look so ({f.inside:.1f} standard deviations above nearby positions).",
        ),
        measured(
            "Two halves",
            f.halves,
            limits.apart,
            f"Fits to two separate halves of the image agree within {halves} of the width.",
            f"Fits to two separate halves of the image differ by {halves} of the width.",
            below=True,
        ),
        measured(
            "Other measure",
            f.measures,
            limits.apart,
            f"Refinements by features and by mutual information agree within {measures} of the width.",
            f"Refinements by features and by mutual information differ by {measures} of the width.",
            below=True,
        ),
        measured(
            "Exchanged images",
            f.backward,
            limits.apart,
            f"Registration with fixed and moving exchanged agrees within {back} of the width.",
            f"Registration with fixed and moving exchanged differs by {back} of the width.",
            below=True,
        ),
        measured(
            "Overlap",
            f.overlap,
            limits.overlap,
            f"The common area is {100 * f.overlap:.0f} % of the smaller field.",
            f"The common area is only {100 * f.overlap:.0f} % of the smaller field.",
        ),
        measured(
            "Out-of-distribution score",
            f.unusual,
            _UNUSUAL_LIMIT,
            "Both images are similar to the training images of the learned features.",
            f"One of the images is unlike the training images of the learned features ({f.unusual:.2f} times "
            "the distance that 95 % of them keep).",
            below=True,
        ),
        measured(
            "Prediction",
            f.predicted,
            _UNUSUAL_LIMIT,
            "The image that the model predicted from is similar to its training images.",
            f"The image that the model predicted from is unlike its training images ({f.predicted:.1f} times the "
            "distance that 95 % of such images keep), so its prediction may be wrong.",
            below=True,
        ),
    )
