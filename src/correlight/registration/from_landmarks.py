"""A result from landmarks that a person set: the same result as a registration, with an error known in advance."""

from __future__ import annotations

import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike
from scipy import spatial, special

from correlight.errors import TransformError, UsageError
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Evidence, Status, Verdict
from correlight.exchange import LandmarkTable, PointTable, Setting, read_landmarks
from correlight.exchange.formats import recognise
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.landmarks import Estimate, Kind, Suspect, estimate, next_place, suspects
from correlight.landmarks.choose import choose_model, left_out_error
from correlight.landmarks.estimate import Noise, SplineEstimate
from correlight.registration.provenance import image_record, peak_memory_mb, versions
from correlight.registration.result import Result
from correlight.search.limits import claimed_scale, pixel_size
from correlight.search.pose import Pose
from correlight.transforms import Affine, Displacement, ThinPlate, Transform
from correlight.transforms import Sequence as Chain

# Places per axis at which the error is predicted, and where a further landmark is considered.
_ERROR_PLACES, _CANDIDATES = 24, 12
# A result counts as right if it is off by less than this share of the width, and as wrong beyond the second.
_GOOD, _BAD = 0.02, 0.1
_ACCEPT_FROM, _REFUSE_BELOW, _MOST = 0.9, 0.3, 0.99
# Two microscopes disagree about scale by up to a tenth; more than this hides a slip.
_SCALE_LIMIT = 0.15
# Less of the common field between the landmarks than this leaves most of it to extrapolation.
_BETWEEN_LIMIT = 0.3
# Landmarks that scatter so many times more than stated contradict what was stated.
_STATED_LIMIT = 2.0
# A spline is stored as displacements that reproduce it to this share of a fixed pixel, on at most so many nodes a side.
_STORED, _MOST_NODES = 0.01, {2: 1025, 3: 97}


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
        it the scatter of the landmarks tells. Zero makes a spline pass through every landmark.
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
    if fixed.ndim != 2 or moving.ndim != 2:
        raise UsageError(
            "Results are written for two-dimensional images yet; fit a transform to landmarks in a volume with "
            "'correlight convert --model'."
        )
    if model is not None and model not in get_args(Kind):
        raise UsageError(f"A model is one of {', '.join(get_args(Kind))}; got {model!r}.")
    names, fixed_points, moving_points = _chosen(fixed, moving, landmarks, without)
    calibrated = claimed_scale(fixed.grid, moving.grid) is not None
    try:
        if model is None:
            kinds: tuple[Kind, ...] = ("similarity", "affine", "thin-plate")
            # Without both pixel sizes nothing says what rigid would mean.
            choice = choose_model(
                fixed_points,
                moving_points,
                ("rigid", *kinds) if calibrated else kinds,
                symbol=fixed.grid.frame.symbol,
                fixed_error=error,
                noise=noise,
            )
            found, reason = choice.estimate, choice.reason
        else:
            kind: Kind = next(known for known in get_args(Kind) if known == model)
            found = estimate(fixed_points, moving_points, kind, fixed_error=error, noise=noise)
            reason = "it was asked for"
    except TransformError as problem:
        raise UsageError(f"The landmarks determine no transform: {problem}") from problem
    wrong = suspects(fixed_points, moving_points, found.model)
    transform = stored(found, fixed.grid)
    linear = _nearest_linear(found)
    predicted = predicted_error(found, fixed.grid, moving.grid)
    verdict = _judge(found, wrong, names, predicted, fixed.grid, moving.grid, linear)
    seconds = time.perf_counter() - began
    covered = float(np.isfinite(predicted.values).mean()) if found.freedom else _covered(found, fixed.grid, moving.grid)
    result = Result(
        moving_from_fixed=transform,
        model=found.model,
        model_reason=reason,
        verdict=verdict,
        predicted_error=predicted,
        poses=(Pose(linear, 1.0, covered),),
        fixed=image_record(fixed, fixed.votes[0]),
        moving=image_record(moving, moving.votes[0]),
        scale_found=linear.scale * pixel_size(fixed.grid) / pixel_size(moving.grid),
        scale_claimed=claimed_scale(fixed.grid, moving.grid),
        recipe="landmarks",
        seed=0,
        seconds={"fit": seconds, "total": seconds},
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
    )
    table = LandmarkTable(
        PointTable(names, fixed_points, fixed.grid.unit), PointTable(names, moving_points, moving.grid.unit)
    )
    return LandmarkResult(result, found, wrong, table)


def read_pairs(path: str | Path, fixed: Grid, moving: Grid) -> LandmarkTable:
    """The landmarks in a file of any kind that holds them, in the units of two images.

    BigWarp counts each image in its own calibration and does not say which that is: micrometres where the image states
    its pixel size, pixels where it does not.

    Raises
    ------
    ReadError
        If the file cannot be read or holds something else.
    """
    setting = Setting(fixed=fixed, moving=moving)
    table = read_landmarks(path, setting)
    if recognise(path).name != "bigwarp":
        return table
    sides = (replace(table.fixed, unit=fixed.unit), replace(table.moving, unit=moving.unit))
    return LandmarkTable(*sides, table.left_out)


def stored(found: Estimate, grid: Grid) -> Transform:
    """The transform in a form that a file can hold: a spline as displacements over the fixed field, then affine.

    The nodes of the displacements reach from edge to edge and lie so close that between them it makes no difference.
    """
    if not isinstance(found, SplineEstimate) or not isinstance(found.moving_from_fixed, Chain):
        return found.moving_from_fixed
    spline, last = found.moving_from_fixed.parts
    assert isinstance(spline, ThinPlate)
    nodes = 17
    while True:
        field = _sampled(spline, grid, nodes)
        middles = field.grid.points(np.indices(tuple(n - 1 for n in field.grid.shape)).reshape(grid.ndim, -1).T + 0.5)
        off = np.linalg.norm(field(middles) - spline(middles), axis=1).max()
        if off <= _STORED * min(grid.spacing) or nodes >= _MOST_NODES[grid.ndim]:
            return last @ field
        nodes = 2 * nodes - 1


def predicted_error(found: Estimate, fixed: Grid, moving: Grid) -> PredictedError:
    """The predicted error on a coarse grid over the fixed image; NaN outside the moving one or where unknown."""
    grid = fixed.resized(tuple(max(2, round(_ERROR_PLACES * n / max(fixed.shape))) for n in fixed.shape))
    places = grid.lattice_of_pixels()
    values = found.error(places)
    values[~moving.contains(found.moving_from_fixed(places))] = np.nan
    return PredictedError(values.reshape(grid.shape).astype(np.float32), grid)


def write_landmark_table(path: str | Path, outcome: LandmarkResult) -> None:
    """Write what is known of each landmark: its places, what the fit leaves, and how far the others put it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    found, table = outcome.estimate, outcome.landmarks
    left = np.linalg.norm(found.residuals, axis=1)
    others = np.linalg.norm(found.left_out, axis=1)
    expected = np.sqrt(np.trace(found.left_out_covariances, axis1=1, axis2=2))
    doubted = {index for suspect in outcome.suspects for index in suspect.pairs}
    heads = ["name", "fixed_unit", "moving_unit", "fixed_y", "fixed_x", "moving_y", "moving_x"]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heads, "residual", "left_out_error", "left_out_expected", "suspect"])
        for index, name in enumerate(table.fixed.names):
            places = [*table.fixed.points[index], *table.moving.points[index]]
            measured = [left[index], others[index], expected[index]]
            numbers = [repr(float(value) + 0.0) for value in places]
            figures = [f"{value:.6g}" if np.isfinite(value) else "" for value in measured]
            units = [table.fixed.unit, table.moving.unit]
            writer.writerow([name, *units, *numbers, *figures, "yes" if index in doubted else "no"])


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
    middle = found.fixed.mean(axis=0, keepdims=True)
    linear = transform.jacobian(middle)[0]
    return Affine.of(linear, transform(middle)[0] - linear @ middle[0])


def _sampled(spline: ThinPlate, grid: Grid, nodes: int) -> Displacement:
    corners = grid.corners()
    first, last = corners.min(axis=0), corners.max(axis=0)
    steps = (last - first) / (nodes - 1)
    return spline.sampled(Grid.of((nodes,) * grid.ndim, tuple(steps), tuple(first), grid.unit))


def _covered(found: Estimate, fixed: Grid, moving: Grid) -> float:
    return float(np.mean(moving.contains(found.moving_from_fixed(fixed.lattice(_ERROR_PLACES)))))


def _judge(
    found: Estimate,
    wrong: tuple[Suspect, ...],
    names: tuple[str, ...],
    predicted: PredictedError,
    fixed: Grid,
    moving: Grid,
    linear: Affine,
) -> Verdict:
    """Weigh what the landmarks say.

    The confidence is the chance that the true error stays below two hundredths of the width: the scatter of few
    landmarks may be small by luck, which the distribution of chi-squared takes into account. It is limited from above
    where something is known to be wrong.
    """
    symbol, width = fixed.frame.symbol, max(fixed.extent)
    known = np.isfinite(predicted.median)
    clues = [_redundancy(found)]
    if known:
        clues.append(_left_out(found, symbol, width))
        clues.append(_size(predicted, symbol, width))
    if found.given and found.freedom and found.fle > 0:
        clues.append(_stated(found))
    clues += [Evidence("Wrong pair", np.nan, 0.0, False, suspect.sentence(names, symbol)) for suspect in wrong]
    clues.append(_between(found, fixed, moving, sure=known and predicted.p95 <= _GOOD * width))
    claimed = claimed_scale(fixed, moving)
    if claimed is not None:
        clues.append(_scale(linear.scale))
    folded = _folds(found, fixed)
    if isinstance(found, SplineEstimate):
        clues.append(folded)
    confidence = _chance(predicted.median, _GOOD * width, found) if known else 0.5
    status: Status = "accepted"
    if confidence < _ACCEPT_FROM or any(not clue.favours for clue in clues):
        status, confidence = "doubtful", float(np.clip(confidence, _REFUSE_BELOW, _ACCEPT_FROM - 0.01))
    if not folded.favours or (known and _chance(predicted.median, _BAD * width, found) < _REFUSE_BELOW):
        status, confidence = "refused", _REFUSE_BELOW - 0.1
    against = tuple(clue.sentence for clue in clues if not clue.favours)
    support = tuple(clue.sentence for clue in clues if clue.favours)
    if known:
        clues.append(_advice(found, fixed, moving, symbol))
    return Verdict(
        status, min(confidence, _MOST), support if status == "accepted" else against or support, tuple(clues)
    )


def _chance(error: float, limit: float, found: Estimate) -> float:
    """Probability that a root mean square error predicted from scatter is below a limit."""
    if found.given or error == 0:
        return _MOST if error <= limit else 1 - _MOST
    return float(special.chdtrc(found.freedom, found.freedom * (error / limit) ** 2))


def _redundancy(found: Estimate) -> Evidence:
    count = found.freedom / found.ndim
    said = f"{len(found.fixed)} landmarks are {count:.3g} more than the transform takes, so their scatter is known."
    if not found.freedom:
        said = f"{len(found.fixed)} landmarks just determine the transform; nothing would show a wrong one, set more."
    return Evidence("Landmarks to spare", count, 0.5, found.freedom > 0, said)


def _left_out(found: Estimate, symbol: str, width: float) -> Evidence:
    error = left_out_error(found)
    favours = not error > _BAD / 2 * width
    said = f"Landmarks left out lie {error:.3g} {symbol} (root mean square) from where the others put them."
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
        said = f"Landmarks scatter {ratio:.2g} times as much as their stated error says, and so may all be off."
    return Evidence("Stated error", ratio, _STATED_LIMIT, ratio <= _STATED_LIMIT, said)


def _between(found: Estimate, fixed: Grid, moving: Grid, *, sure: bool) -> Evidence:
    """How much of the common field lies between landmarks, where nothing has to be extrapolated."""
    places = fixed.lattice(_ERROR_PLACES)
    common = places[moving.contains(found.moving_from_fixed(places))]
    share = 0.0
    if len(common) and len(found.fixed) > found.ndim:
        try:
            share = float(np.mean(spatial.Delaunay(found.fixed).find_simplex(common) >= 0))
        except spatial.QhullError:
            share = 0.0
    # What is extrapolated is less certain, and the predicted error knows by how much.
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
    least = found.smooth.spline.smallest_volume(fixed)
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
            "Next landmark", np.nan, np.nan, True, "The images share nothing where a landmark could be set."
        )
    best = next_place(found, candidates, field)
    where = ", ".join(f"{value:.4g}" for value in best.place)
    said = (
        f"A further landmark helps most at ({where}) {symbol} (y, x) of the fixed image: the predicted error would "
        f"fall from {best.error_now:.3g} to {best.error_then:.3g} {symbol}."
    )
    gain = 1 - best.error_then / best.error_now if best.error_now > 0 else 0.0
    return Evidence("Next landmark", gain, np.nan, True, said)


def read_names(text: str | None) -> tuple[str, ...]:
    """The names in a list parted by commas; empty for None."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()
