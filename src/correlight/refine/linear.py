"""Refinement of a pose on a pyramid, by features or by mutual information, in the plane and in space."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from correlight.progress import checkpoint
from correlight.refine.samples import Comparison, LinearTransform, MeasureName, Samples
from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LinearModel, Motions

# One level moves no place further than so many of its pixels, nor tilts the field by more than so many.
_REACH, _REACH_OF_TILT = 6.0, 2.0
# Most steps on a level, in the plane and in space.
_MOST_STEPS = {2: 25, 3: 40}


def refine(
    pair: Comparison,
    moving_from_fixed: LinearTransform,
    model: LinearModel,
    *,
    measure: MeasureName = "features",
    levels: tuple[int, ...] | None = None,
    half: int | None = None,
) -> LinearTransform:
    """Improve a pose that is right to a few pixels of the coarsest level.

    Parameters
    ----------
    pair : Comparison
        The two images.
    moving_from_fixed : Affine or Projective
        The start.
    model : {"rigid", "similarity", "affine", "projective"}
        What the correction may be.
    measure : {"features", "mutual information", "neural mutual information"}
        What is maximised; the last by a method of its own (`correlight.refine.neural`), but for one half.
    levels : tuple of int, optional
        Levels of the pair, coarse first; its own without.
    half : {0, 1}, optional
        Use one half of a checkerboard of blocks only.

    Returns
    -------
    Affine or Projective
        The improved pose; the start itself where too little is in common.

    Notes
    -----
    Mutual information of samples is that of Viola and Wells (1997, doi:10.1023/A:1007958904918), with the derivative
    of its histogram by splines (Mattes et al. 2003, doi:10.1109/TMI.2003.809072).
    """
    levels = pair.levels if levels is None else levels
    if measure == "neural mutual information" and half is None:
        return pair.climbed(moving_from_fixed, model, levels)
    best, done = moving_from_fixed, 0.0
    for level in levels:
        samples = pair.samples(best, level)
        detail = samples.detail
        if detail == done:
            # The images hold no finer level.
            break
        done = detail
        if half is not None:
            samples = samples.half(half)
        if not samples:
            return best
        best = improved(samples, best, model, measure)
    return best


def improved(samples: Samples, start: LinearTransform, model: LinearModel, measure: MeasureName) -> LinearTransform:
    """The pose near a start under which samples, taken under that start, agree best.

    Parameters
    ----------
    samples : Samples
        Of one level.
    start : Affine or Projective
        The pose that they were taken under.
    model, measure
        As for `refine`.
    """
    points, outer = samples.points, samples.pixel_from_frame[:-1, :-1]
    motions = Motions.over(points, model, least=samples.pixel)
    moving, compare = motions.of(points), samples.measure(measure)

    def objective(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        checkpoint()
        moved, pull_back = moving.by(parameters)
        agreement = compare(samples.places(moved))
        return -agreement.value, -pull_back(agreement.gradient @ outer)

    reach = samples.pixel * np.where(motions.tilts, _REACH_OF_TILT, _REACH)
    found = optimize.minimize(
        objective,
        np.zeros(motions.count),
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(-reach, reach, strict=True)),
        options={"maxiter": _MOST_STEPS[points.shape[1]], "ftol": 1e-7},
    )
    inner = samples.frame_from_fixed
    matrix = start.matrix @ np.linalg.inv(inner) @ motions.by(found.x).matrix @ inner
    if isinstance(start, Projective) or model == "projective":
        return Projective(matrix)
    matrix[-1] = np.eye(len(matrix))[-1]
    return Affine(matrix)
