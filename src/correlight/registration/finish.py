"""The one place where a result is made of what the methods return."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from correlight.evidence.predicted_error import unknown
from correlight.evidence.verdict import Verdict
from correlight.geometry import Grid
from correlight.methods.task import Candidate, Fit, ImagePair, Judgement
from correlight.predict.appearance import PredictedAppearance
from correlight.registration.provenance import image_record, peak_memory_mb, versions
from correlight.registration.result import Predicted, Result
from correlight.search.limits import claimed_scale, pixel_sizes
from correlight.transforms import Affine, scale_of
from correlight.transforms.bending import Bending, bending, bends, beyond

# Places along each axis of the fixed image at which a field is looked at.
_LOOKS = {2: 97, 3: 25}


def finish(
    pair: ImagePair, fit: Fit, judgement: Judgement, recipe: str, seed: int, seconds: dict[str, float]
) -> Result:
    """The result of a fit that was judged.

    Parameters
    ----------
    pair : ImagePair
        The two images.
    fit : Fit
        Transform, model and the candidate that it comes from.
    judgement : Judgement
        Verdict and predicted error.
    recipe : str
        Name of the recipe.
    seed : int
        Of every random draw.
    seconds : dict
        Wall time per stage.
    """
    bent = how_it_bends(pair, fit)
    if bent is not None and bent.folds and judgement.verdict.status != "refused":
        reason = f"The field folds: it changes areas or volumes by factors down to {bent.least_volume:.2f}."
        judgement = replace(judgement, verdict=refused(judgement.verdict, reason))
    if bent is not None and judgement.verdict.status == "refused":
        # Nothing may be bent by what is not trusted.
        fit = replace(fit, transform=fit.linear, model="affine", reason="a refused result carries no field")
        bent, judgement = None, replace(judgement, maps={})
    if bent is not None:
        judgement = replace(judgement, maps={**judgement.maps, "field_displacement": _displacement(fit, judgement)})
    # The first pose is where the result comes from; it was made exact since.
    found = fit.candidate.poses
    poses = tuple(replace(pose, moving_from_fixed=fit.linear) for pose in found[:1]) + found[1:]
    return Result(
        moving_from_fixed=fit.transform,
        model=fit.model,
        model_reason=fit.reason,
        verdict=judgement.verdict,
        predicted_error=judgement.predicted_error,
        poses=poses,
        fixed=image_record(pair.fixed, fit.candidate.channels[0]),
        moving=image_record(pair.moving, fit.candidate.channels[1]),
        scale_found=_pixels(scale_of(fit.linear, pair.fixed.grid.centre), pair.fixed.grid, pair.moving.grid),
        scale_claimed=claimed_scale(pair.fixed.grid, pair.moving.grid),
        recipe=recipe,
        seed=seed,
        seconds=seconds,
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
        maps=judgement.maps,
        bending=bent,
        predicted=what_was_predicted(pair, fit.candidate),
        pairs=judgement.pairs,
    )


def what_was_predicted(pair: ImagePair, candidate: Candidate) -> Predicted | None:
    """The prediction behind the channels that were compared; None where images were compared as they are."""
    if not isinstance(pair.appearance, PredictedAppearance):
        return None
    facts = pair.appearance.model.facts.model_dump(exclude={"usual"}, mode="json")
    for role, planes, channel in zip(("fixed", "moving"), pair.planes, candidate.channels, strict=True):
        known = planes[channel].predicted
        if known is not None:
            values = known.original.values, planes[channel].values
            return Predicted(role, facts, pair.appearance.model.folder, known.unusualness, *values)  # type: ignore[arg-type]
    return None


def how_it_bends(pair: ImagePair, fit: Fit) -> Bending | None:
    """How a fit departs from its linear map over what both images show; None if it is linear or they show nothing."""
    if not bends(fit.transform):
        return None
    places = pair.fixed.grid.lattice(_LOOKS[pair.ndim])
    shared = places[pair.moving.grid.contains(fit.transform(places))]
    return bending(fit.transform, fit.linear, shared if len(shared) else places)


def refused(verdict: Verdict, reason: str) -> Verdict:
    """A verdict that is turned into a refusal for one more reason."""
    return replace(
        verdict, status="refused", confidence=min(verdict.confidence, 0.2), reasons=(reason, *verdict.reasons)
    )


def _displacement(fit: Fit, judgement: Judgement) -> NDArray[np.float32]:
    """How far the field moves places beyond the linear map, in fixed units; NaN where the error is not known."""
    error = judgement.predicted_error
    moved = np.linalg.norm(beyond(fit.transform, fit.linear, error.grid.lattice_of_pixels()), axis=1)
    return np.where(np.isfinite(error.values), moved.reshape(error.grid.shape), np.nan).astype(np.float32)


def nothing_found(pair: ImagePair, candidate: Candidate, recipe: str, seed: int, seconds: dict[str, float]) -> Result:
    """A refused result where a search found no pose; the images lie centre on centre, not mirrored."""
    fixed, moving = pair.fixed.grid, pair.moving.grid
    guess = Affine.of(np.eye(fixed.ndim), moving.centre - fixed.centre)
    fit = Fit(candidate, guess, guess, "similarity", "nothing was found to fit a model to")
    judgement = Judgement(Verdict("refused", 0.0, (candidate.nothing,)), unknown(fixed))
    return finish(pair, fit, judgement, recipe, seed, seconds)


def _pixels(scale: float, fixed: Grid, moving: Grid) -> float:
    """Moving pixels per fixed pixel from moving units per fixed unit; of a section and a stack, in the plane."""
    one, other = pixel_sizes(fixed, moving)
    return scale * one / other
