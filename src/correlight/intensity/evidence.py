"""Evidence from what images show: score statistics, fits that ought to agree, and the error that follows from them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

from correlight.evidence.checks import (
    LEAST_ERROR,
    IndependentFits,
    findings_of_planes,
    independent_fits,
    predicted_error,
    shares_apart,
)
from correlight.evidence.confidence import Calibration, Findings, calibration, judge
from correlight.evidence.less_in_common import over_less_in_common
from correlight.evidence.predicted_error import coarser_pixel
from correlight.geometry import Grid
from correlight.intensity.elastic import (
    error_with_field,
    joined,
    maps_of_field,
    verdict_with_field,
    verdict_with_landmarks,
)
from correlight.intensity.fit import ImageFit
from correlight.intensity.planes import PlaneCandidate
from correlight.intensity.volumes import VolumeCandidate
from correlight.methods.protocols import Dimension, MethodSettings, Serves
from correlight.methods.task import Fit, Judgement, Task
from correlight.progress import in_threads
from correlight.refine.planes import PlanePair
from correlight.refine.samples import distance
from correlight.transforms import Affine, Projective


class ImageEvidence:
    """Whether a pose stands out among wrong ones, and whether independent fits agree with it."""

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    takes: ClassVar[tuple[type[Fit], ...]] = (ImageFit,)

    def __init__(self, settings: MethodSettings) -> None:
        pass

    def serves(self, dimension: Dimension) -> Serves:
        """All images."""
        return Serves(appearance=dimension == "2-D")

    def judge(self, task: Task, fit: Fit) -> Judgement:
        """The verdict by the calibrated numbers, and the predicted error."""
        assert isinstance(fit, ImageFit)
        judgement = self._by_images(task, fit)
        if task.landmarks is None:
            return judgement
        fixed = task.pair.fixed.grid
        pixel = coarser_pixel(fixed, task.pair.moving.grid, fit.linear.scale)
        verdict = verdict_with_landmarks(judgement.verdict, fit, task.landmarks, pixel, fixed.frame.symbol)
        return replace(judgement, verdict=verdict)

    def _by_images(self, task: Task, fit: ImageFit) -> Judgement:
        if isinstance(fit.candidate, VolumeCandidate):
            return _of_volumes(task, fit, fit.candidate, independent_fits(fit.compared, fit.choice))
        assert isinstance(fit.candidate, PlaneCandidate)
        assert isinstance(fit.compared, PlanePair)
        works: tuple[Callable[[], Any], ...] = (
            partial(independent_fits, fit.compared, fit.choice),
            partial(fit.candidate.with_scores, task, fit.choice.transform),
        )
        fits, candidate = in_threads(lambda work: work(), works, task.workers)
        assert candidate.scores is not None
        findings = findings_of_planes(fit.compared, fits, fit.choice.transform, candidate.scores, task.pair.compared_by)
        findings = replace(findings, last_resort=task.limits.last_resort)
        fixed, moving = fit.compared.fixed_grid, fit.compared.moving_grid
        known = calibration()
        if candidate.search is not None and judge(findings, known):
            # Only what would be accepted need be compared with what the search left out.
            linear = Affine.of(fit.choice.transform.linear, fit.choice.transform.offset)
            less = over_less_in_common(candidate.search, linear, task.limits)
            findings = replace(findings, less_common=less)
        if fit.elastic is not None:
            return _with_field(fit, findings, fits, fixed, moving, known)
        return Judgement(
            judge(findings, known), predicted_error(fits, fit.choice.transform.scale, fixed, moving, known)
        )


def _with_field(
    fit: ImageFit, findings: Findings, fits: IndependentFits, fixed: Grid, moving: Grid, known: Calibration
) -> Judgement:
    """The same of a fit with a field: it is the field's halves that ought to agree, and its errors that count."""
    assert fit.elastic is not None
    halves = tuple(joined(fit.candidate, fit.choice.transform, half) for half in fit.elastic.halves)
    apart = distance(halves[0], halves[1], fixed) / max(fixed.extent)
    pixel = coarser_pixel(fixed, moving, fit.linear.scale)
    verdict = verdict_with_field(judge(replace(findings, halves=apart), known), fit, pixel, fixed.frame.symbol)
    predicted = error_with_field(fit, fits, fixed, moving, LEAST_ERROR * pixel, known)
    return Judgement(verdict, predicted, maps_of_field(fit, predicted))


def _of_volumes(task: Task, fit: ImageFit, candidate: VolumeCandidate, fits: IndependentFits) -> Judgement:
    """The same of volumes, which have no wrong poses but the rivals that the search found."""
    laid = candidate.from_compared
    assert isinstance(fits.backward, Affine | Projective)
    backward = laid(fits.backward)
    halves = laid(fit.choice.halves[0]), laid(fit.choice.halves[1])
    fits = IndependentFits(fit.linear, halves, backward)
    fixed, moving, known = task.pair.fixed.grid, task.pair.moving.grid, calibration("volumes")
    apart = shares_apart(fits, fixed)
    findings = Findings(
        margin=candidate.margin,
        search=candidate.search,
        halves=apart["halves"],
        backward=apart["backward"],
        overlap=candidate.poses[0].overlap,
        unusual=float("nan"),
    )
    if fit.elastic is not None:
        return _with_field(fit, findings, fits, fixed, moving, known)
    return Judgement(judge(findings, known), predicted_error(fits, fit.linear.scale, fixed, moving, known))
