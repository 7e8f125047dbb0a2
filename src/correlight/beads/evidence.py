"""What matched beads say: the transform fitted to all of them, whether to trust it, and the error to expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import spatial

from correlight.beads.matching import MatchedBeads
from correlight.beads.point_matching import LEAST_SIGNIFICANCE
from correlight.beads.pose_search import Match
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Evidence, Status, Verdict
from correlight.geometry import Grid, Points
from correlight.landmarks import LinearEstimate, fit
from correlight.landmarks.choose import choose_model, left_out_error
from correlight.refine.choose import Choice
from correlight.refine.models import Model
from correlight.search.limits import claimed_scale
from correlight.search.pose import Pose
from correlight.transforms import Affine, Projective

# Places per axis at which the error is predicted.
_ERROR_PLACES = 24
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
class Settled:
    """A transform from beads with everything that a result says about it.

    Parameters
    ----------
    choice : Choice
        Transform, model, why this one, and the fits to the beads of either half of a checkerboard.
    verdict : Verdict
        What the beads alone say.
    predicted : PredictedError
        From the scatter of the beads.
    """

    choice: Choice
    verdict: Verdict
    predicted: PredictedError


def settle(
    fixed: Grid, moving: Grid, found: MatchedBeads, models: Sequence[Model], pose: Pose | None = None
) -> Settled:
    """Fit the transform to the beads of one match, judge it, and predict its error.

    Parameters
    ----------
    fixed, moving : Grid
        The two fields.
    found : MatchedBeads
        With at least one match.
    models : sequence of str
        Kinds of transform that may be chosen.
    pose : Pose, optional
        The pose of the match to take, one of those found; the best one without, or where it is none of them.
    """
    rank = next((number for number, known in enumerate(found.poses) if known is pose), 0)
    match = found.matching.matches[rank]
    places, partners = found.matched(match)
    ordered: list[Model] = [model for model in ("rigid", "similarity", "affine", "projective") if model in models]
    chosen = choose_model(places, partners, ordered, symbol=fixed.frame.symbol)
    estimate = chosen.estimate
    assert isinstance(estimate, LinearEstimate)
    model: Model = next(known for known in ordered if known == estimate.model)
    transform = _linear(estimate)
    choice = Choice(model, chosen.reason, transform, _halves(places, partners, model, transform), "features")
    predicted = predict(estimate, fixed, moving)
    clues = clues_of(found, match, rank, estimate, predicted, fixed, moving)
    return Settled(choice, judge(match, clues), predicted)


def predict(estimate: LinearEstimate, fixed: Grid, moving: Grid) -> PredictedError:
    """Root mean square error to expect over the fixed image; NaN where the moving image does not reach."""
    grid = fixed.resized(tuple(max(2, round(_ERROR_PLACES * n / max(fixed.shape))) for n in fixed.shape))
    places = grid.lattice_of_pixels()
    values = estimate.error(places)
    values[~moving.contains(estimate.moving_from_fixed(places))] = np.nan
    return PredictedError(values.reshape(grid.shape).astype(np.float32), grid)


def judge(match: Match, clues: Sequence[Evidence]) -> Verdict:
    """Believe beads that chance cannot explain and that nothing speaks against."""
    against = tuple(clue.sentence for clue in clues if not clue.favours)
    support = tuple(clue.sentence for clue in clues if clue.favours)
    confidence = float(np.clip(1 - 10 ** -max(match.significance, 0.0), 0.0, _MOST))
    status: Status = "accepted"
    if match.significance < LEAST_SIGNIFICANCE:
        status, confidence = "refused", min(confidence, 0.2)
    elif against:
        status, confidence = "doubtful", min(confidence, _NOT_QUITE)
    return Verdict(status, confidence, support if status == "accepted" else against, tuple(clues))


def refused(found: MatchedBeads) -> Verdict:
    """What is said where no beads match at all."""
    return Verdict("refused", 0.0, (found.matching.reason,))


def together(image: Verdict, beads: Verdict, apart: float = 0.0) -> Verdict:
    """Of two opinions about one transform the more cautious one, with the evidence of both.

    Parameters
    ----------
    image, beads : Verdict
        What the images say and what the beads say.
    apart : float
        Mean distance between the transforms that they are about, as a share of the width.
    """
    percent = f"{100 * apart:.1f} % of the width"
    agree = apart <= _APART_LIMIT
    said = f"Beads and images lead to the same place within {percent}."
    clue = Evidence(
        "Beads and images", apart, _APART_LIMIT, agree, said if agree else f"Beads and images lead {percent} apart."
    )
    order: tuple[Status, ...] = ("refused", "doubtful", "accepted")
    own: Status = "accepted" if agree else "doubtful"
    status = min(image.status, beads.status, own, key=order.index)
    reasons = [reason for verdict in (beads, image) if verdict.status == status for reason in verdict.reasons]
    confidence = min(image.confidence, beads.confidence, _MOST if agree else _NOT_QUITE)
    evidence = (*beads.evidence, *image.evidence, clue)
    return Verdict(status, confidence, (*reasons, clue.sentence), evidence)


def clues_of(
    found: MatchedBeads,
    match: Match,
    rank: int,
    estimate: LinearEstimate,
    predicted: PredictedError,
    fixed: Grid,
    moving: Grid,
) -> tuple[Evidence, ...]:
    """Everything that the beads say about a transform, each as a sentence with a number in it."""
    symbol, width = fixed.frame.symbol, max(fixed.extent)
    count, of_fixed, of_moving = len(match), len(found.fixed), len(found.moving)
    beyond = match.significance >= LEAST_SIGNIFICANCE
    said = f"{count} of {of_fixed} and {of_moving} beads match where chance gives {match.by_chance:.1f}"
    said += "." if beyond else ", which unrelated beads may do as well once all poses are tried."
    clues = [Evidence("Beads against chance", match.significance, LEAST_SIGNIFICANCE, beyond, said)]
    rivals = [len(other) for number, other in enumerate(found.matching.matches) if number != rank]
    margin = count / max(1, max(rivals, default=0))
    said = f"The next best pose matches {max(rivals)} beads." if rivals else "No other pose matches beads."
    if margin < _MARGIN_LIMIT:
        said = f"Another pose matches almost as many beads ({max(rivals)} against {count})."
    clues.append(Evidence("Margin over rivals", margin, _MARGIN_LIMIT, margin >= _MARGIN_LIMIT, said))
    spare = estimate.freedom / estimate.ndim
    said = f"{count} beads are {spare:.3g} more than the transform takes."
    clues.append(Evidence("Beads to spare", spare, _SPARE_LIMIT, spare >= _SPARE_LIMIT, said))
    left_out = left_out_error(estimate)
    said = f"Beads left out lie {left_out:.3g} {symbol} (root mean square) from where the others put them."
    clues.append(Evidence("Left out", left_out, _ERROR_LIMIT * width, left_out <= _ERROR_LIMIT * width, said))
    said = f"The predicted error is {predicted.median:.3g} {symbol} (median)."
    good = predicted.median <= _ERROR_LIMIT * width
    clues.append(Evidence("Predicted error", predicted.median, _ERROR_LIMIT * width, good, said))
    clues.append(_between(estimate, fixed, moving))
    if claimed_scale(fixed, moving) is not None:
        scale = estimate.moving_from_fixed.jacobian(fixed.centre[None])[0]
        size = float(abs(np.linalg.det(scale)) ** (1 / fixed.ndim))
        off = max(size, 1 / size) - 1
        said = f"The scale differs by {100 * off:.1f} % from what the pixel sizes say."
        clues.append(Evidence("Scale", off, _SCALE_LIMIT, off <= _SCALE_LIMIT, said))
    return tuple(clues)


def _between(estimate: LinearEstimate, fixed: Grid, moving: Grid) -> Evidence:
    """How much of the common field lies between matched beads."""
    places = fixed.lattice(_ERROR_PLACES if fixed.ndim == 2 else 10)
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
    places: Points, partners: Points, model: Model, transform: Affine | Projective
) -> tuple[Affine | Projective, Affine | Projective]:
    """The same model fitted to every other bead along a diagonal, and to the rest; to all where half are too few."""
    order = np.argsort(places @ np.ones(places.shape[1]))
    fewest = places.shape[1] + (4 if model == "projective" else 2)
    if len(order) < 2 * fewest:
        return transform, transform
    one, other = (fit(places[part], partners[part], model) for part in (order[::2], order[1::2]))
    return one, other


def _linear(estimate: LinearEstimate) -> Affine | Projective:
    transform = estimate.moving_from_fixed
    assert isinstance(transform, Affine | Projective)
    return transform
