"""Evidence from matched beads: the transform fitted to all of them, its verdict, and the predicted error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import spatial

from correlight.beads.matching import MatchedBeads
from correlight.beads.point_matching import LEAST_SIGNIFICANCE
from correlight.beads.pose_search import Match
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Evidence, Status, Verdict, measured, more_cautious, verdict_of
from correlight.geometry import Grid, Points
from correlight.landmarks import LinearEstimate, fit
from correlight.landmarks.choose import choose_model, left_out_error
from correlight.refine.samples import LinearTransform
from correlight.search.limits import claimed_scale
from correlight.search.pose import Pose
from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LINEAR_MODELS, LinearModel

# Places per axis on which the common field is counted.
_PLACES = {2: 24, 3: 10}
# A pose must match this many times as many beads as the next best one.
_MARGIN_LIMIT = 1.25
# Beads beyond those that determine the transform, so that their scatter says something.
_SPARE_LIMIT = 3.0
# Share of the common field that must lie between matched beads; the rest is extrapolated.
_BETWEEN_LIMIT = 0.3
# Median predicted error and error at beads left out, as shares of the width.
_ERROR_LIMIT = 0.02
# Two microscopes disagree about scale by up to a tenth.
_SCALE_LIMIT = 0.15
# Places to which beads and images lead may be this share of the width apart.
_APART_LIMIT = 0.02
_MOST, _NOT_QUITE = 0.99, 0.89


@dataclass(frozen=True, eq=False)
class BeadTransform:
    """A transform with the beads that it was fitted to.

    Parameters
    ----------
    match : Match
        Which beads belong together.
    rank : int
        Of the match among those that were found, from 0.
    estimate : LinearEstimate
        The fit with its errors.
    transform : Affine or Projective
        ``moving_from_fixed``.
    model : str
        Its kind.
    reason : str
        Why this kind and no richer one.
    halves : pair of Affine or Projective
        The same model fitted to every other bead along a diagonal, and to the rest.
    """

    match: Match
    rank: int
    estimate: LinearEstimate
    transform: LinearTransform
    model: LinearModel
    reason: str
    halves: tuple[LinearTransform, LinearTransform]


def transform_from_beads(found: MatchedBeads, models: Sequence[LinearModel], symbol: str, pose: Pose) -> BeadTransform:
    """Fit the transform to the beads of one match.

    Parameters
    ----------
    found : MatchedBeads
        With at least one match.
    models : sequence of str
        Kinds of transform that may be chosen.
    symbol : str
        Of the unit of the fixed image, for the reason.
    pose : Pose
        The pose of the match to take, one of those found; the best one where it is none of them.
    """
    rank = next((number for number, known in enumerate(found.poses) if known is pose), 0)
    match = found.matching.matches[rank]
    places, partners = found.matched(match)
    ordered: list[LinearModel] = [model for model in LINEAR_MODELS if model in models]
    chosen = choose_model(places, partners, ordered, symbol=symbol)
    estimate = chosen.estimate
    assert isinstance(estimate, LinearEstimate)
    transform = estimate.moving_from_fixed
    assert isinstance(transform, Affine | Projective)
    model: LinearModel = next(known for known in ordered if known == estimate.model)
    halves = _halves(places, partners, model, transform)
    return BeadTransform(match, rank, estimate, transform, model, chosen.reason, halves)


def judge(match: Match, evidence: Sequence[Evidence]) -> Verdict:
    """Accept significant matches if no evidence is against."""
    confidence = float(np.clip(1 - 10 ** -max(match.significance, 0.0), 0.0, _MOST))
    status: Status = "accepted"
    if match.significance < LEAST_SIGNIFICANCE:
        status, confidence = "refused", min(confidence, 0.2)
    elif not all(one.favours for one in evidence):
        status, confidence = "doubtful", min(confidence, _NOT_QUITE)
    return verdict_of(evidence, confidence, status)


def refused(found: MatchedBeads) -> Verdict:
    """What is said where no beads match at all."""
    return Verdict("refused", 0.0, (found.matching.reason,))


def beads_and_images(image: Verdict, beads: Verdict, apart: float) -> Verdict:
    """The verdict of two independent opinions about one transform.

    Parameters
    ----------
    image, beads : Verdict
        What the images say and what the beads say.
    apart : float
        Mean distance between the transforms that they are about, as a share of the width; NaN where no beads match.
    """
    if np.isnan(apart):
        alone = Evidence(
            "Beads and images", apart, _APART_LIMIT, False, "No beads confirm the transform that the images gave."
        )
        return more_cautious(beads, image, alone, _NOT_QUITE)
    percent = f"{100 * apart:.1f} % of the width"
    agreement = measured(
        "Beads and images",
        apart,
        _APART_LIMIT,
        f"Transforms from beads and from images agree within {percent}.",
        f"Transforms from beads and from images differ by {percent}.",
        below=True,
    )
    return more_cautious(beads, image, agreement, _MOST if agreement.favours else _NOT_QUITE)


def evidence_of(
    found: MatchedBeads,
    fitted: BeadTransform,
    predicted: PredictedError,
    fixed: Grid,
    moving: Grid,
) -> tuple[Evidence, ...]:
    """Everything that the beads say about a transform, each as a sentence with a number in it."""
    match, estimate = fitted.match, fitted.estimate
    symbol, width = fixed.frame.symbol, max(fixed.extent)
    count, of_fixed, of_moving = len(match), len(found.fixed), len(found.moving)
    beyond = match.significance >= LEAST_SIGNIFICANCE
    said = f"{count} of {of_fixed} and {of_moving} beads match; {match.by_chance:.1f} are expected by chance"
    said += "." if beyond else ", and unrelated beads may match as often, as many poses are tried."
    evidence = [Evidence("Significance of the beads", match.significance, LEAST_SIGNIFICANCE, beyond, said)]
    rivals = [len(other) for number, other in enumerate(found.matching.matches) if number != fitted.rank]
    margin = count / max(1, max(rivals, default=0))
    said = f"The next best pose matches {max(rivals)} beads." if rivals else "No other pose matches beads."
    if margin < _MARGIN_LIMIT:
        said = f"Another pose matches almost as many beads ({max(rivals)} against {count})."
    evidence.append(Evidence("Margin over rivals", margin, _MARGIN_LIMIT, margin >= _MARGIN_LIMIT, said))
    spare = estimate.degrees_of_freedom / estimate.ndim
    said = f"{count} beads are {spare:.3g} more than the transform needs."
    evidence.append(Evidence("Beads to spare", spare, _SPARE_LIMIT, spare >= _SPARE_LIMIT, said))
    left_out = left_out_error(estimate)
    said = (
        f"Beads left out of the fit are {left_out:.3g} {symbol} (root mean square) from where the others predict them."
    )
    evidence.append(Evidence("Left out", left_out, _ERROR_LIMIT * width, left_out <= _ERROR_LIMIT * width, said))
    said = f"The predicted error is {predicted.median:.3g} {symbol} (median)."
    good = predicted.median <= _ERROR_LIMIT * width
    evidence.append(Evidence("Predicted error", predicted.median, _ERROR_LIMIT * width, good, said))
    evidence.append(_between(estimate, fixed, moving))
    if claimed_scale(fixed, moving) is not None:
        slopes = estimate.moving_from_fixed.jacobian(fixed.centre[None])[0]
        scale = float(abs(np.linalg.det(slopes)) ** (1 / fixed.ndim))
        off = max(scale, 1 / scale) - 1
        said = f"The scale differs by {100 * off:.1f} % from what the pixel sizes say."
        evidence.append(Evidence("Scale", off, _SCALE_LIMIT, off <= _SCALE_LIMIT, said))
    return tuple(evidence)


def _between(estimate: LinearEstimate, fixed: Grid, moving: Grid) -> Evidence:
    """How much of the common field lies between matched beads."""
    places = fixed.lattice(_PLACES[fixed.ndim])
    common = places[moving.contains(estimate.moving_from_fixed(places))]
    share = 0.0
    if len(common) and len(estimate.fixed) > estimate.ndim:
        try:
            share = float(np.mean(spatial.Delaunay(estimate.fixed).find_simplex(common) >= 0))
        except spatial.QhullError:
            share = 0.0
    favours = share >= _BETWEEN_LIMIT
    said = f"{100 * share:.0f} % of the common field lie between matched beads"
    said += "." if favours else "; elsewhere the transform is extrapolated."
    return Evidence("Between beads", share, _BETWEEN_LIMIT, favours, said)


def _halves(
    places: Points, partners: Points, model: LinearModel, transform: Affine | Projective
) -> tuple[Affine | Projective, Affine | Projective]:
    """The same model fitted to every other bead along a diagonal, and to the rest; to all where half are too few."""
    order = np.argsort(places @ np.ones(places.shape[1]))
    fewest = places.shape[1] + (4 if model == "projective" else 2)
    if len(order) < 2 * fewest:
        return transform, transform
    one, other = (fit(places[part], partners[part], model) for part in (order[::2], order[1::2]))
    return one, other
