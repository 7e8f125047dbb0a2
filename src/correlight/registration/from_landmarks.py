"""A result from landmarks that a person set: the same result as a registration, with an error known in advance."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import TransformError, UsageError
from correlight.evidence.landmarks import judge, off_image
from correlight.evidence.predicted_error import PredictedError, predict
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.intensity.second_opinion import asked_of_images
from correlight.landmarks import Estimate, LandmarkModel, SplineEstimate, Suspect, estimate, fit, suspects
from correlight.landmarks.choose import ModelChoice, choose_model
from correlight.landmarks.expected import Noise
from correlight.landmarks.nearness import nearness
from correlight.landmarks.synthetic import untouched
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.methods.task import Candidate, Fit, ImagePair, Judgement
from correlight.registration.finish import finish
from correlight.registration.options import must_be_images
from correlight.registration.result import BY_HAND, Advice, Result
from correlight.search.limits import claimed_scale
from correlight.search.pose import Pose
from correlight.transforms import Affine, Chain, Transform
from correlight.transforms.field import with_sampled_field

_MORE = Advice("landmarks", "Check the pairs that are named, and set more landmarks, far from those that there are.")
# Places per axis on which the overlap is counted.
_PLACES = 24


@dataclass(frozen=True, eq=False)
class LandmarkResult:
    """What came out of a set of landmarks.

    Parameters
    ----------
    result : Result
        As a registration would hand it back.
    estimate : Estimate
        The transform as it was fitted, with its errors.
    suspects : tuple of Suspect
        Pairs that cannot be right.
    landmarks : LandmarkTable
        The landmarks that were used, as positions in the frames of the images.
    """

    result: Result
    estimate: Estimate
    suspects: tuple[Suspect, ...]
    landmarks: LandmarkTable


def from_landmarks(
    fixed: Image,
    moving: Image,
    landmarks: LandmarkTable,
    model: str | None = None,
    *,
    error: ArrayLike | None = None,
    noise: Noise = "isotropic",
    without: Sequence[str] = (),
) -> LandmarkResult:
    """Fit a transform to landmarks, judge it, and predict its error at every place of the fixed image.

    Parameters
    ----------
    fixed, moving : Image
        Two-dimensional images of one specimen.
    landmarks : LandmarkTable
        The same places in both.
    model : {"rigid", "similarity", "affine", "projective", "thin-plate", "elastic"}, optional
        Kind of transform; without it the landmarks choose between the first three and "thin-plate".
    error : array-like, optional
        Localisation error of a landmark along each axis, both images together, in the unit of the fixed image; without
        it is estimated from the scatter of the landmarks. Zero makes a spline pass through every landmark.
    noise : {"isotropic", "anisotropic"}
        Whether an error that is found is the same along all axes.
    without : sequence of str
        Names of landmarks to leave out.

    Raises
    ------
    UsageError
        If the images are volumes, a name or the model is unknown, or the landmarks do not determine the transform.

    Examples
    --------
    >>> names, places = ("a", "b", "c", "d"), np.array([[5, 5], [5, 30], [30, 5], [30, 32.0]])
    >>> fixed = moving = Image.from_array(np.zeros((40, 40), np.uint8))
    >>> pairs = LandmarkTable(PointTable(names, places, "pixel"), PointTable(names, places + 1, "pixel"))
    >>> from_landmarks(fixed, moving, pairs, "similarity").result.moving_from_fixed([[0, 0]]).round(6)
    array([[1., 1.]])
    """
    began = time.perf_counter()
    must_be_images({"fixed": fixed, "moving": moving})
    if not isinstance(landmarks, LandmarkTable):
        raise UsageError(
            "Landmarks were expected as a LandmarkTable, as correlight.exchange.read_landmarks makes of a file; got "
            f"{type(landmarks).__name__}."
        )
    if fixed.ndim != 2 or moving.ndim != 2:
        raise UsageError(
            "Results from landmarks are made of two-dimensional images; of stacks, convert the landmark file into a "
            "transform."
        )
    if model is not None and model not in get_args(LandmarkModel):
        raise UsageError(f"A model is one of {', '.join(get_args(LandmarkModel))}; got {model!r}.")
    names, fixed_points, moving_points = _chosen(fixed, moving, landmarks, without)
    try:
        if model is None:
            choice = chosen_by_landmarks(
                fixed_points, moving_points, fixed.grid, moving.grid, fixed_error=error, noise=noise
            )
            found, reason = choice.estimate, choice.reason
        else:
            kind: LandmarkModel = next(known for known in get_args(LandmarkModel) if known == model)
            found = estimate(fixed_points, moving_points, kind, fixed_error=error, noise=noise)
            reason = "it was asked for"
    except TransformError as problem:
        raise UsageError(f"The landmarks determine no transform: {problem}") from problem
    wrong = suspects(fixed_points, moving_points, found.model)
    linear = _nearest_linear(found)
    predicted = predict(found.error, found.moving_from_fixed, fixed.grid, moving.grid)
    table = LandmarkTable(
        PointTable(names, fixed_points, fixed.grid.unit), PointTable(names, moving_points, moving.grid.unit)
    )
    computed = int(untouched(table, fixed.grid, moving.grid).sum())
    if computed:
        # How they scatter says nothing of how far the transform is off.
        predicted = replace(predicted, values=np.full_like(predicted.values, np.nan))
    verdict = judge(found, wrong, names, predicted, fixed.grid, moving.grid, linear, computed)
    verdict = asked_of_images(verdict, fixed, moving, linear, fixed_points, moving_points)
    off = off_image(found, names, fixed.grid, moving.grid)
    verdict = replace(verdict, reasons=(*verdict.reasons, *off))
    covered = moving.grid.contains(found.moving_from_fixed(fixed.grid.lattice(_PLACES)))
    pair = ImagePair(fixed, moving)
    candidate = Candidate(
        (fixed.usable_channels[0], moving.usable_channels[0]), (Pose(linear, 1.0, float(np.mean(covered))),)
    )
    reason = f"{len(names) - computed} pairs of landmarks were set by hand; {reason}"
    fit = Fit(candidate, _transform(found, fixed.grid), linear, found.model, reason)
    seconds = time.perf_counter() - began
    maps = _evidence(found, predicted) if isinstance(found, SplineEstimate) else {}
    result = finish(pair, fit, Judgement(verdict, predicted, maps), BY_HAND, 0, {"fit": seconds, "total": seconds})
    result = replace(result, advice=() if result else (_MORE,), images=(fixed, moving))
    return LandmarkResult(result, found, wrong, table)


def chosen_by_landmarks(
    fixed_points: Points,
    moving_points: Points,
    fixed: Grid,
    moving: Grid,
    *,
    fixed_error: ArrayLike | None = None,
    noise: Noise = "isotropic",
) -> ModelChoice:
    """The kind of transform that a result from landmarks takes where none was asked for.

    Parameters
    ----------
    fixed_points, moving_points : (N, D) arrays
        Positions in the units of the two grids.
    fixed, moving : Grid
        Of the two images.
    fixed_error, noise
        As for `correlight.landmarks.estimate`.

    Raises
    ------
    TransformError
        If the landmarks determine nothing.
    """
    kinds: tuple[LandmarkModel, ...] = ("similarity", "affine", "thin-plate")
    # Without both pixel sizes nothing says what rigid would mean.
    if claimed_scale(fixed, moving) is not None:
        kinds = ("rigid", *kinds)
    symbol = fixed.frame.symbol
    return choose_model(fixed_points, moving_points, kinds, symbol=symbol, fixed_error=fixed_error, noise=noise)


def _transform(found: Estimate, grid: Grid) -> Transform:
    """The transform in a form that a file can hold: a spline as displacements over the fixed field, then affine."""
    if not isinstance(found, SplineEstimate) or not isinstance(found.moving_from_fixed, Chain):
        return found.moving_from_fixed
    last = found.moving_from_fixed.parts[-1]
    assert isinstance(last, Affine)
    return with_sampled_field(found.moving_from_fixed, last, grid)


def _evidence(found: SplineEstimate, predicted: PredictedError) -> dict[str, NDArray[np.float32]]:
    """Where the spline rests on landmarks; NaN where the moving image does not reach."""
    near = nearness(predicted.grid.lattice_of_pixels(), found.fixed).reshape(predicted.grid.shape)
    return {"field_evidence": np.where(np.isfinite(predicted.values), near, np.nan).astype(np.float32)}


def _chosen(
    fixed: Image, moving: Image, landmarks: LandmarkTable, without: Sequence[str]
) -> tuple[tuple[str, ...], Points, Points]:
    names = landmarks.fixed.names
    unknown = [name for name in without if name not in names]
    if unknown:
        raise UsageError(f"There is no landmark {unknown[0]!r} to leave out; the names are {', '.join(names)}.")
    kept = [index for index, name in enumerate(names) if name not in without]
    fixed_points, moving_points = landmarks.fixed.positions(fixed.grid), landmarks.moving.positions(moving.grid)
    for role, image, points in (("fixed", fixed, fixed_points), ("moving", moving, moving_points)):
        outside = [names[index] for index in kept if not image.grid.contains(points[[index]])[0]]
        if len(outside) == len(kept) and kept:
            raise UsageError(
                f"No landmark lies on the {role} image, whose size is "
                f"{' x '.join(f'{length:.4g}' for length in image.grid.extent)} {image.grid.frame.symbol} (y, x); "
                "check the unit and the order of the coordinates."
            )
    return tuple(names[index] for index in kept), fixed_points[kept], moving_points[kept]


def _nearest_linear(found: Estimate) -> Affine:
    """The affine transform that comes nearest to the estimate among its landmarks."""
    transform = found.moving_from_fixed
    if isinstance(transform, Affine):
        return transform
    nearest = fit(found.fixed, transform(found.fixed), "affine")
    assert isinstance(nearest, Affine)
    return nearest
