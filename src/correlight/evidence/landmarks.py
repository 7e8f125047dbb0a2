"""What landmarks say of a transform that was fitted to them, and where a further one would help most."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import spatial, special

from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Evidence, Status, Verdict, verdict_of
from correlight.geometry import Grid
from correlight.landmarks import Estimate, SplineEstimate, Suspect, next_place
from correlight.landmarks.choose import left_out_error
from correlight.search.limits import claimed_scale
from correlight.transforms import Affine

# Places per axis at which a further landmark is considered, and at which the common field is counted.
_CANDIDATES, _PLACES = 12, 24
# A result counts as right if it is off by less than this share of the width, and as wrong beyond the second.
_GOOD, _BAD = 0.02, 0.1
_ACCEPT_FROM, _REFUSE_BELOW, _MOST = 0.9, 0.3, 0.99
# Two microscopes disagree about scale by up to a tenth; more than this hides a slip.
_SCALE_LIMIT = 0.15
# Less of the common field between the landmarks than this leaves most of it to extrapolation.
_BETWEEN_LIMIT = 0.3
# Landmarks may lie off their image by this share of its sides: a point set at its edge, and rounded.
_OUTSIDE = 0.01
# Landmarks that scatter so many times more than stated contradict what was stated.
_STATED_LIMIT = 2.0


def judge(
    found: Estimate,
    wrong: tuple[Suspect, ...],
    names: tuple[str, ...],
    predicted: PredictedError,
    fixed: Grid,
    moving: Grid,
    linear: Affine,
    computed: int = 0,
) -> Verdict:
    """Weigh what the landmarks say.

    Parameters
    ----------
    found : Estimate
        The fit.
    wrong : tuple of Suspect
        Pairs that cannot be right.
    names : tuple of str
        Of the landmarks.
    predicted : PredictedError
        That of the fit.
    fixed, moving : Grid
        The two images.
    linear : Affine
        The fit without its bending.
    computed : int
        How many of the landmarks were made of a transform and moved by nobody since.

    Notes
    -----
    The confidence is the probability that the true error stays below two hundredths of the width: the scatter of few
    landmarks may be small by luck, which the distribution of chi-squared takes into account. It is limited from above
    where something is known to be wrong.
    """
    symbol, width = fixed.frame.symbol, max(fixed.extent)
    known = np.isfinite(predicted.median)
    evidence = [_redundancy(found)]
    if computed:
        evidence.append(_by_hand(len(names), computed))
    if known:
        evidence.append(_left_out(found, symbol, width))
        evidence.append(_size(predicted, symbol, width))
    if found.given and found.degrees_of_freedom and found.fle > 0:
        evidence.append(_stated(found))
    evidence += [Evidence("Wrong pair", np.nan, 0.0, False, suspect.sentence(names, symbol)) for suspect in wrong]
    evidence.append(_between(found, fixed, moving, sure=known and predicted.p95 <= _GOOD * width))
    claimed = claimed_scale(fixed, moving)
    if claimed is not None:
        evidence.append(_scale(linear.scale))
    folded = _folds(found, fixed)
    if isinstance(found, SplineEstimate):
        evidence.append(folded)
    confidence = _chance(predicted.median, _GOOD * width, found) if known else 0.5
    status: Status = "accepted"
    if confidence < _ACCEPT_FROM or any(not one.favours for one in evidence):
        status, confidence = "doubtful", float(np.clip(confidence, _REFUSE_BELOW, _ACCEPT_FROM - 0.01))
    if not folded.favours or (known and _chance(predicted.median, _BAD * width, found) < _REFUSE_BELOW):
        status, confidence = "refused", _REFUSE_BELOW - 0.1
    verdict = verdict_of(evidence, min(confidence, _MOST), status)
    # Advice is no reason.
    return replace(verdict, evidence=(*evidence, _advice(found, fixed, moving, symbol))) if known else verdict


def off_image(found: Estimate, names: tuple[str, ...], fixed: Grid, moving: Grid) -> tuple[str, ...]:
    """Which landmarks lie off their image, where nobody can have set them, in words."""
    said = []
    for role, grid, points in (("fixed", fixed, found.fixed), ("moving", moving, found.moving)):
        low, high, slack = grid.corners()[0], grid.corners()[-1], _OUTSIDE * np.asarray(grid.extent)
        off = np.flatnonzero(((points < low - slack) | (points > high + slack)).any(axis=1))
        if len(off):
            which = ", ".join(names[index] for index in off[:5]) + (" and others" if len(off) > 5 else "")
            what = f"{len(off)} landmarks lie" if len(off) > 1 else "One landmark lies"
            said.append(f"{what} outside the {role} image ({which}); check the unit and the order of the coordinates.")
    return tuple(said)


def _chance(error: float, limit: float, found: Estimate) -> float:
    """Probability that a root mean square error predicted from scatter is below a limit."""
    if found.given or error == 0:
        return _MOST if error <= limit else 1 - _MOST
    return float(special.chdtrc(found.degrees_of_freedom, found.degrees_of_freedom * (error / limit) ** 2))


def _redundancy(found: Estimate) -> Evidence:
    count = found.degrees_of_freedom / found.ndim
    said = f"{len(found.fixed)} landmarks are {count:.3g} more than the transform needs, so their scatter is known."
    if not found.degrees_of_freedom:
        said = (
            f"{len(found.fixed)} landmarks just determine the transform, so a wrong one would go unnoticed; set more."
        )
    return Evidence("Landmarks to spare", count, 0.5, found.degrees_of_freedom > 0, said)


def _by_hand(count: int, computed: int) -> Evidence:
    which = "All landmarks were" if computed == count else f"{computed} of the {count} landmarks were"
    said = (
        f"{which} made of a transform, which they repeat whether it is right or not; move each to where the images "
        "show its place, or delete it."
    )
    return Evidence("Set by hand", count - computed, count, False, said)


def _left_out(found: Estimate, symbol: str, width: float) -> Evidence:
    error = left_out_error(found)
    favours = not error > _BAD / 2 * width
    said = (
        f"Landmarks left out of the fit are {error:.3g} {symbol} (root mean square) from where the others predict them."
    )
    if not np.isfinite(error):
        said = "There are too few landmarks to leave one out."
    return Evidence("Left out", error, _BAD / 2 * width, favours, said)


def _size(predicted: PredictedError, symbol: str, width: float) -> Evidence:
    share = 100 * predicted.median / width
    said = f"The predicted error is {predicted.median:.3g} {symbol} (median), {share:.2g} % of the width."
    return Evidence("Predicted error", predicted.median, _GOOD * width, predicted.median <= _GOOD * width, said)


def _stated(found: Estimate) -> Evidence:
    """Whether landmarks scatter as their stated error says."""
    squared = np.einsum("na,nab,nb->n", found.left_out, np.linalg.inv(found.left_out_covariances), found.left_out)
    ratio = float(np.sqrt(np.nanmean(squared) / found.ndim))
    said = f"Landmarks scatter {ratio:.2g} times as much as their stated error says."
    if ratio > _STATED_LIMIT:
        said = f"Landmarks scatter {ratio:.2g} times as much as their stated error says, so all of them may be wrong."
    return Evidence("Stated error", ratio, _STATED_LIMIT, ratio <= _STATED_LIMIT, said)


def _between(found: Estimate, fixed: Grid, moving: Grid, *, sure: bool) -> Evidence:
    """How much of the common field lies between landmarks, where nothing has to be extrapolated."""
    places = fixed.lattice(_PLACES)
    common = places[moving.contains(found.moving_from_fixed(places))]
    share = 0.0
    if len(common) and len(found.fixed) > found.ndim:
        try:
            share = float(np.mean(spatial.Delaunay(found.fixed).find_simplex(common) >= 0))
        except spatial.QhullError:
            share = 0.0
    # What is extrapolated is less certain, and the predicted error includes it.
    favours = share >= _BETWEEN_LIMIT or sure
    said = f"{100 * share:.0f} % of the common field lie between landmarks"
    said += "." if favours else "; elsewhere the transform is extrapolated, so spread them wider."
    return Evidence("Between landmarks", share, _BETWEEN_LIMIT, favours, said)


def _scale(scale: float) -> Evidence:
    off = scale - 1 if scale > 1 else 1 / scale - 1
    said = f"The scale differs by {100 * off:.1f} % from what the pixel sizes say."
    if off > _SCALE_LIMIT:
        said = f"The scale differs by {100 * off:.0f} % from what the pixel sizes say; check them and the landmarks."
    return Evidence("Scale", off, _SCALE_LIMIT, off <= _SCALE_LIMIT, said)


def _folds(found: Estimate, fixed: Grid) -> Evidence:
    if not isinstance(found, SplineEstimate):
        return Evidence("Folds", np.nan, 0.0, True, "A transform of this kind does not fold.")
    least = found.smooth.spline.folds_over(fixed)
    said = f"Nowhere does the spline shrink an area to less than {least:.2g} of what it was."
    if least <= 0:
        said = (
            "The spline folds the image over itself; a pair is wrong, or the error of the landmarks is underestimated."
        )
    return Evidence("Folds", least, 0.0, least > 0, said)


def _advice(found: Estimate, fixed: Grid, moving: Grid, symbol: str) -> Evidence:
    """Where a further landmark would help most, said in words."""
    candidates, field = fixed.lattice(_CANDIDATES), fixed.lattice(_CANDIDATES + 1)
    candidates, field = (part[moving.contains(found.moving_from_fixed(part))] for part in (candidates, field))
    if not len(candidates) or not len(field):
        return Evidence(
            "Next landmark", np.nan, np.nan, True, "The images have no common area in which a landmark could be set."
        )
    best = next_place(found, candidates, field)
    where = ", ".join(f"{value:.4g}" for value in best.place)
    said = (
        f"A further landmark helps most at ({where}) {symbol} (y, x) of the fixed image: the predicted error would "
        f"fall from {best.error_now:.3g} to {best.error_then:.3g} {symbol}."
    )
    gain = 1 - best.error_then / best.error_now if best.error_now > 0 else 0.0
    return Evidence("Next landmark", gain, np.nan, True, said)
