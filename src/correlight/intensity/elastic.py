"""A smooth field beyond the linear map of two images, and what it does to trust and to the predicted error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from correlight.evidence.checks import IndependentFits
from correlight.evidence.confidence import Calibration, calibration
from correlight.evidence.predicted_error import PredictedError, coarser_pixel, predict, spread
from correlight.evidence.verdict import Evidence, Verdict, measured
from correlight.geometry import Grid, Points
from correlight.intensity.fit import ImageFit
from correlight.intensity.volumes import VolumeCandidate
from correlight.methods.task import Candidate, Fit
from correlight.refine.described import FieldMeasure
from correlight.refine.elastic import ElasticFit, gain_by_grey_values
from correlight.refine.rounds import choose_in_rounds
from correlight.refine.samples import Comparison, LinearTransform, distance
from correlight.refine.smooth_fit import Pairs
from correlight.refine.trial import FieldSettings
from correlight.transforms import Transform, VelocityField

# Fits of the linear map to two halves of the images that lie further apart than this many times what speaks against a
# result are no map to begin from; a field can explain some of it.
_NO_START = 4.0
# Nothing is accepted with a confidence below 0.9.
_NOT_QUITE = 0.89
# A field that leads this far from where it began, as a share of a pixel, is not its own inverse.
_CONSISTENT = 0.1
# A field that nobody asked for must gain so many standard errors, and move places by so many times its deviation.
_SIGNIFICANT, _ABOVE_DEVIATION = 3.0, 8.0
# By grey values, which it was not fitted to, it must gain so many.
_SECONDED = 2.0
# Landmarks lead the field to within so many pixels of the coarser image, and speak against it if they are missed by so
# many times as much (root mean square).
LANDMARK_ERROR, _MISSED = 2.0, 3.0
# The images must speak for a field on this share of what both show. One that moves places by more than this share of
# the longest side (median) moves some several times as far, where the search may miss them, and needs more.
_EVIDENCE, _FAR, _EVIDENCE_OF_FAR = 0.3, 0.012, 0.9
_ASKED, _SEEN = "elastic was asked for", "a first look shows more than a linear map"


def with_field(
    fit: ImageFit,
    others: Sequence[Comparison],
    *,
    lost: bool,
    asked: str = _ASKED,
    landmarks: tuple[Points, Points] | None = None,
    measures: tuple[FieldMeasure, ...] | None = None,
) -> ImageFit:
    """The fit with a smooth field, if parts that it was not fitted to speak for one.

    Parameters
    ----------
    fit : ImageFit
        Of a linear map.
    others : sequence of Comparison
        Further channels of both images, which speak for or against the field as well.
    lost : bool
        Whether wrong poses score as much as this one: then there is nothing for a field to begin from.
    asked : str
        Why a field is looked for.
    landmarks : (Points, Points), optional
        Places that belong together, of the fixed and of the moving image, which the field should lead to each other.
    measures : tuple of {"features", "filters", "self-similarity", "mutual information"}, optional
        By what the field is fitted; without, by what is usual.
    """
    pair, choice = fit.compared, fit.choice
    limits = calibration("volumes" if isinstance(fit.candidate, VolumeCandidate) else "images").limits
    apart = distance(*choice.halves, pair.fixed_grid) / max(pair.fixed_grid.extent)
    if lost or apart > _NO_START * limits.apart:
        why = "the linear map that it would begin from is not certain"
        return replace(fit, reason=f"{asked}, but {why}; {fit.model}: {fit.reason}")
    settings = FieldSettings(measures, landmarks=None if landmarks is None else _pairs(fit, *landmarks))
    found, pose = choose_in_rounds([pair, *others], choice.transform, settings)
    if found.fit is None and pose is choice.transform:
        return replace(fit, reason=f"{asked}, but {found.reason} ({fit.model}: {fit.reason})")
    linear = fit.candidate.from_compared(pose) if isinstance(fit.candidate, VolumeCandidate) else pose
    if found.fit is None:
        choice, reason = replace(choice, transform=pose), f"{asked}, but {found.reason}"
        return replace(fit, transform=linear, linear=linear, model="affine", reason=reason, choice=choice)
    return replace(
        fit,
        transform=joined(fit.candidate, pose, found.fit.field),
        linear=linear,
        model="elastic",
        reason=f"{asked}, and {found.reason}",
        choice=replace(choice, transform=pose),
        elastic=found.fit,
    )


def _pairs(fit: ImageFit, fixed: Points, moving: Points) -> Pairs:
    """Landmarks of the two images in the frames of what was compared."""
    candidate = fit.candidate
    grids = fit.compared.fixed_grid, fit.compared.moving_grid
    error = LANDMARK_ERROR * coarser_pixel(*grids, fit.choice.transform.scale)
    if not isinstance(candidate, VolumeCandidate):
        return Pairs(fixed, moving, error)
    turned = candidate.moving_from_turned.inverse()(moving)
    return Pairs(turned, fixed, error) if candidate.swapped else Pairs(fixed, turned, error)


def with_significant_field(fit: ImageFit, others: Sequence[Comparison]) -> ImageFit:
    """The fit with a smooth field that nobody asked for, if parts that it was not fitted to clearly speak for one.

    Parameters
    ----------
    fit : ImageFit
        Of a linear map that was accepted.
    others : sequence of Comparison
        As for `with_field`.
    """
    bent = with_field(fit, others, lost=False, asked=_SEEN)
    if bent.elastic is None:
        return replace(fit, reason=bent.reason)
    against, seconded = _against(fit, bent, bent.elastic, others)
    if against:
        return replace(fit, reason=f"{_SEEN}, but {against} ({fit.model}: {fit.reason})")
    return replace(bent, reason=f"{bent.reason}, and {seconded:.1f} by grey values, which it was not fitted to")


def _against(fit: ImageFit, bent: ImageFit, found: ElasticFit, others: Sequence[Comparison]) -> tuple[str, float]:
    """Why a field beyond a fit is not significant, empty if it is; and its gain by grey values."""
    if found.gain < _SIGNIFICANT:
        return f"the field gains only {found.gain:.1f} standard errors, of {_SIGNIFICANT:.0f} asked for", 0.0
    # The linear map may have been corrected on the way: what counts is what both change together.
    change, seen = fit.choice.transform.inverse() @ bent.choice.transform, found.evidence > 0.5
    places = found.grid.lattice_of_pixels()[seen.ravel()]
    moved = np.linalg.norm(change(found.field(places)) - places, axis=1)
    if not seen.any() or np.sqrt(np.mean(moved**2)) < _ABOVE_DEVIATION * float(np.median(found.deviation[seen])):
        return "the field moves places by hardly more than it may be wrong", 0.0
    halves = [change @ half for half in found.halves]
    seconded = gain_by_grey_values([fit.compared, *others], fit.choice.transform, halves)
    if seconded >= _SECONDED:
        return "", seconded
    said = f"{seconded:.1f} standard errors by it, of {_SECONDED:.0f} asked for"
    return f"grey values, which the field was not fitted to, gain {said}", seconded


def joined(candidate: Candidate, pose: LinearTransform, field: VelocityField) -> Transform:
    """``moving_from_fixed`` of the two images from a field and the map that follows it, of what was compared."""
    if not isinstance(candidate, VolumeCandidate):
        return pose @ field
    if candidate.swapped:
        return candidate.moving_from_turned @ (field.inverse() @ pose.inverse())
    return (candidate.moving_from_turned @ pose) @ field


def error_with_field(
    fit: ImageFit, linear: IndependentFits, fixed: Grid, moving: Grid, least: float, known: Calibration
) -> PredictedError:
    """Predicted error of a fit with a field, place by place.

    Where the images speak for the field, it is as wrong as fits to either half lie apart, and as smoothness and what
    the images share leave it free to be. Where they do not, the field may be missing there: the errors of the linear
    map count as well, and what the field moves elsewhere.

    Parameters
    ----------
    fit : ImageFit
        With a field.
    linear : IndependentFits
        Of the linear map.
    fixed, moving : Grid
        Of the two images in full.
    least : float
        No place is known better than to this, in fixed units.
    known : Calibration
        Says by how much such fits understate the error.
    """
    elastic, candidate, pose = fit.elastic, fit.candidate, fit.choice.transform
    assert elastic is not None
    halves = joined(candidate, pose, elastic.halves[0]), joined(candidate, pose, elastic.halves[1])
    scale = fit.linear.scale
    where_known = spread([halves], scale, least, known.error_scale)
    where_not = spread(linear.pairs, scale, least, known.error_scale)
    turned = 1 / scale if _swapped(candidate) else 1.0
    usual = usual_displacement(elastic) * turned

    def error_at(places: Points) -> NDArray[np.float64]:
        compared = _in_compared(fit, places)
        share, deviation = elastic.evidence_at(compared), turned * elastic.deviation_at(compared)
        missing = where_not(places) ** 2 + usual**2
        return np.asarray(np.sqrt(where_known(places) ** 2 + deviation**2 + (1 - share) * missing))

    return predict(error_at, fit.transform, fixed, moving)


def maps_of_field(fit: ImageFit, predicted: PredictedError) -> dict[str, NDArray[np.float32]]:
    """Where the images speak for the field; NaN outside both."""
    assert fit.elastic is not None
    grid = predicted.grid
    share = fit.elastic.evidence_at(_in_compared(fit, grid.lattice_of_pixels())).reshape(grid.shape)
    return {"field_evidence": np.where(np.isfinite(predicted.values), share, np.nan).astype(np.float32)}


def usual_displacement(elastic: ElasticFit) -> float:
    """Root mean square displacement beyond the linear map where the images speak for it, in units of what was fixed."""
    weights = elastic.evidence.astype(float)
    total = float(weights.sum())
    return float(np.sqrt(np.sum(weights * elastic.moved**2) / total)) if total > 0 else float(elastic.moved.max())


def verdict_with_landmarks(
    verdict: Verdict, fit: Fit, landmarks: tuple[Points, Points], pixel: float, symbol: str
) -> Verdict:
    """The verdict with what landmarks say that were given beside the images: no more than a caution.

    Parameters
    ----------
    verdict : Verdict
        Of the images, and the field if there is one.
    fit : Fit
        With or without a field.
    landmarks : (Points, Points)
        Of the fixed and of the moving image.
    pixel : float
        Size of a pixel of the coarser image, in fixed units.
    symbol : str
        Of that unit.
    """
    fixed, moving = landmarks
    missed = np.linalg.norm(fit.transform(fixed) - moving, axis=1) / fit.linear.scale
    middle, most = float(np.median(missed)), float(missed.max())
    off = float(np.sqrt(np.mean(missed**2) / fixed.shape[1])) / (LANDMARK_ERROR * pixel)
    said = (
        f"Landmarks given beside the images lie {middle:.3g} {symbol} (median of {len(fixed)}) and at most {most:.3g} "
        f"{symbol} from where the result leads"
    )
    told = measured(
        "Landmarks beside the images",
        off,
        _MISSED,
        f"{said}.",
        f"{said}: the images, or some of the landmarks, contradict them; check them.",
        below=True,
    )
    reasons = verdict.reasons if told.favours and not verdict else (*verdict.reasons, told.sentence)
    return _no_more_than_doubtful(replace(verdict, evidence=(*verdict.evidence, told), reasons=reasons), told.favours)


def _no_more_than_doubtful(verdict: Verdict, sound: bool) -> Verdict:
    """The verdict, doubtful at best where what was added is not sound."""
    if sound or not verdict:
        return verdict
    return replace(verdict, status="doubtful", confidence=min(verdict.confidence, _NOT_QUITE))


def verdict_with_field(verdict: Verdict, fit: ImageFit, pixel: float, symbol: str) -> Verdict:
    """The verdict with what is to be said of the field.

    Parameters
    ----------
    verdict : Verdict
        Of the linear map.
    fit : ImageFit
        With a field.
    pixel : float
        Size of a pixel of what was fixed, in its unit.
    symbol : str
        Of that unit.
    """
    assert fit.elastic is not None
    evidence = evidence_of_field(fit.elastic, pixel, symbol)
    against = tuple(one.sentence for one in evidence if not one.favours)
    reasons = (*verdict.reasons, evidence[0].sentence, *against) if verdict else (*verdict.reasons, *against)
    reasons = (*reasons, "The predicted error of a field was calibrated on simulated specimens only.")
    told = replace(verdict, evidence=(*verdict.evidence, *evidence), reasons=reasons)
    # A linear map may be beyond doubt and the field that was added to it not.
    return _no_more_than_doubtful(told, not against)


def evidence_of_field(elastic: ElasticFit, pixel: float, symbol: str) -> tuple[Evidence, ...]:
    """Everything that was measured about a field, as sentences with numbers."""
    least, greatest = elastic.field.flow.volumes
    moved = elastic.moved[elastic.evidence > 0] if (elastic.evidence > 0).any() else elastic.moved
    share = elastic.share
    residual = elastic.field.residual
    middle, most = float(np.median(moved)), float(moved.max())
    far = middle > _FAR * max(elastic.grid.extent)
    but = f"although it moves places far ({middle:.3g} {symbol}): parts of a large field may not have been found."
    return (
        measured(
            "Gain of the field",
            elastic.gain,
            2.0,
            f"A field on a lattice of {elastic.cells} cells gains {elastic.gain:.1f} standard errors over the linear "
            "map on parts that it was not fitted to.",
        ),
        Evidence(
            "Displacement beyond the linear map",
            middle,
            float("nan"),
            True,
            f"The field moves places by {middle:.3g} {symbol} (median) and at most {most:.3g} {symbol} beyond the "
            "linear map.",
        ),
        measured(
            "Least change of area",
            least,
            0.0,
            f"The field does not fold: it changes areas or volumes by factors between {least:.2f} and {greatest:.2f}.",
            f"The field folds: its least change of area or volume is {least:.2f}.",
        ),
        measured(
            "Inverse of the field",
            residual / pixel,
            _CONSISTENT,
            f"The field and its inverse lead back to within {residual / pixel:.2g} pixels.",
            f"The field and its inverse lead back only to within {residual / pixel:.2g} pixels.",
            below=True,
        ),
        measured(
            "Field with evidence",
            share,
            _EVIDENCE_OF_FAR if far else _EVIDENCE,
            f"The images themselves speak for the field on {100 * share:.0f} % of the area; elsewhere it rests on "
            "smoothness.",
            f"The images speak for the field on only {100 * share:.0f} % of the area"
            f"{f', {but}' if far else '; elsewhere it rests on smoothness.'}",
        ),
    )


def _swapped(candidate: Candidate) -> bool:
    return isinstance(candidate, VolumeCandidate) and candidate.swapped


def _in_compared(fit: ImageFit, places: Points) -> Points:
    """Places of the fixed image in the frame of what was compared as fixed."""
    candidate = fit.candidate
    if isinstance(candidate, VolumeCandidate) and candidate.swapped:
        return candidate.moving_from_turned.inverse()(fit.transform(places))
    return places
