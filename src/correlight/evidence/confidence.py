"""The verdict: evidence to a probability that a result is right, and to accepted, doubtful or refused.

The probability is a logistic curve over the evidence. Its few numbers stand in ``confidence.toml`` beside this file,
fitted by ``python -m benchmarks.calibrate`` to results whose truth is known.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from pydantic import BaseModel, ConfigDict

from correlight.evidence.verdict import Evidence, Status, Verdict

# Where each finding turns from speaking for a result to speaking against it, for the sentences; what counts is the
# probability.
_RATIO_LIMIT, _MARGIN_LIMIT, _SPREAD_LIMIT = 1.35, 1.15, 6.0
_SECOND_LIMIT, _APART_LIMIT, _OVERLAP_LIMIT = 2.0, 0.02, 0.4
_UNUSUAL_LIMIT = 1.0
# A symmetric specimen leaves open which way round it lies, however well its place is known.
_ONE_OF_TWO = 0.5


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
    rival : str
        What has to be done to the moving image to come from this pose to its best rival, in words.
    symmetric : bool
        Whether that rival lays the same part of the moving image onto the fixed one, only another way round.
    tried : int
        How many deliberately wrong poses there were.
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
    rival: str = ""
    symmetric: bool = False
    tried: int = 0


class Calibration(BaseModel):
    """The numbers of ``confidence.toml``.

    Parameters
    ----------
    offset : float
        Log odds of a result without any evidence.
    weights : dict of str to float
        Log odds per unit of what `support` and `doubts` give; none is negative.
    accept_from, refuse_below : float
        Probabilities between which a result is doubtful.
    most : float
        No probability above this is ever claimed, nor one below its complement.
    error_scale : float
        By how much independent estimates understate the error of a place.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    offset: float
    weights: dict[str, float]
    accept_from: float
    refuse_below: float
    most: float
    error_scale: float


@cache
def calibration() -> Calibration:
    """What was fitted to results whose truth is known."""
    text = resources.files("correlight").joinpath("evidence", "confidence.toml").read_text(encoding="utf-8")
    return Calibration.model_validate(tomllib.loads(text))


def support(findings: Findings) -> dict[str, float]:
    """What speaks for a result, before it is weighted: how far it stands above wrong poses and above its best rival."""
    return {
        "ratio": float(np.log(np.clip(findings.wrong_ratio, 0.5, 2.5))),
        "margin": float(np.log(np.clip(findings.margin, 0.9, 2.5))),
    }


def doubts(findings: Findings) -> dict[str, float]:
    """What speaks against a result, from 0 up, before it is weighted."""
    apart = {
        name: min(4.0, max(0.0, getattr(findings, name) / _APART_LIMIT - 1))
        for name in ("halves", "measures", "backward")
    }
    return {
        "second": float(np.clip(_SECOND_LIMIT - findings.second_measure, 0.0, 1.0)),
        **apart,
        # What the channels were never trained on may fool them in ways that no wrong pose of the pair shows.
        "unusual": min(2.0, max(0.0, findings.unusual - _UNUSUAL_LIMIT)),
    }


def probability(findings: Findings) -> float:
    """The probability that a result with these findings is right.

    However far a pose stands out, estimates that lead elsewhere can still bring it down.
    """
    known = calibration()
    most = float(np.log(known.most / (1 - known.most)))
    weights = known.weights
    odds = min(most, known.offset + sum(weights[name] * value for name, value in support(findings).items()))
    odds -= sum(weights[name] * value for name, value in doubts(findings).items())
    sure = float(1 / (1 + np.exp(-max(odds, -most))))
    if findings.symmetric and findings.margin < _MARGIN_LIMIT:
        # The place must stand out, or two wrong poses look like a symmetric specimen.
        least = known.refuse_below if findings.wrong_poses >= _SPREAD_LIMIT else 0.0
        return min(max(sure, least), _ONE_OF_TWO)
    return sure


def judge(findings: Findings) -> Verdict:
    """Weigh the findings.

    Parameters
    ----------
    findings : Findings
        From `correlight.evidence.checks.check`.

    Returns
    -------
    Verdict
        Accepted, doubtful or refused by the probability that the result is right.
    """
    known, confidence = calibration(), probability(findings)
    clues = _clues(findings)
    status: Status = "refused" if confidence < known.refuse_below else "doubtful"
    if confidence >= known.accept_from:
        status = "accepted"
    # An accepted result may have weak sides, which are said; what is not accepted says only what speaks against it.
    against = tuple(clue.sentence for clue in clues if not clue.favours)
    support = tuple(clue.sentence for clue in clues if clue.favours)
    reasons = (*support[:3], *against) if status == "accepted" else against or support
    return Verdict(status, confidence, reasons, clues)


def _clues(f: Findings) -> tuple[Evidence, ...]:
    def clue(name: str, value: float, limit: float, good: str, bad: str, *, below: bool = False) -> Evidence:
        favours = value <= limit if below else value >= limit
        return Evidence(name, value, limit, favours, good if favours else bad)

    percent = f"{100 * f.halves:.1f} %", f"{100 * f.measures:.1f} %", f"{100 * f.backward:.1f} %"
    return (
        clue(
            "Ratio to wrong poses",
            f.wrong_ratio,
            _RATIO_LIMIT,
            f"The pose scores {f.wrong_ratio:.1f} times as much as the best of {f.tried} deliberately wrong poses.",
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
            f"{f.rival or 'Another pose'} fits almost as well (the best scores {f.margin:.2f} times the runner-up).",
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
