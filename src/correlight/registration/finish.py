"""The one place where a result is made of what the methods return."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from correlight.evidence.predicted_error import unknown
from correlight.evidence.verdict import Verdict
from correlight.geometry import Grid
from correlight.methods.task import Candidate, Fit, ImagePair, Judgement
from correlight.registration.provenance import image_record, peak_memory_mb, versions
from correlight.registration.result import Result
from correlight.search.limits import claimed_scale, pixel_sizes
from correlight.transforms import Affine, scale_of


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
    if judgement.verdict.status == "refused" and fit.transform is not fit.linear:
        # Nothing may be bent by what is not trusted.
        fit = replace(fit, transform=fit.linear, model="affine", reason="a refused result carries no field")
        judgement = replace(judgement, maps={})
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
    )


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
