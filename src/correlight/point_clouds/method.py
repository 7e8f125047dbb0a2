"""Registration by clouds of points on organelles: segment, lay one cloud onto the other, judge, predict the error."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Evidence, Status, Verdict
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.point_clouds.cloud_pair import CloudModel
from correlight.point_clouds.fit import CloudFit, fit_clouds
from correlight.point_clouds.segmentation import Polarity, cloud, segment
from correlight.registration.provenance import image_record, peak_memory_mb, versions
from correlight.registration.result import Result
from correlight.search.limits import claimed_scale, pixel_size
from correlight.search.pose import Pose
from correlight.transforms import Affine, Displacement, Transform

Show = Literal["auto", "labels", "blobs"]
# Models of a registration, and what they are for clouds.
CLOUD_MODELS: dict[str, CloudModel] = {"rigid": "rigid", "similarity": "similarity", "affine": "affine"}

_ERROR_PLACES = 24
# A right pose beats the next one by this much likelihood per point, a logarithm: organelles of which a quarter have no
# mate reach 0.9 to 2, unrelated ones 0 to 0.3.
_MARGIN_LIMIT, _MARGIN_LEAST = 0.4, 0.2
# Mates of a right pose lie this close together, in units of the mean distance at which chance puts a neighbour.
_SPREAD_LIMIT = 0.75
_MATCHED_LIMIT = 0.4
_APART_LIMIT = 0.02
_SCALE_LIMIT = 0.15
_FEWEST_ORGANELLES = 5
# Fields of the checkerboard along a side whose two colours are fitted apart.
_BLOCKS = 4
# An image is taken for labels if it has whole numbers, background, and neighbours that agree as often as this.
_LABEL_AGREEMENT, _LABEL_BACKGROUND = 0.9, 0.05
# A bent transform is stored on nodes that reproduce it to this share of a pixel.
_STORED, _MOST_NODES = 0.01, {2: 1025, 3: 97}


@dataclass(frozen=True, slots=True)
class Organelles:
    """What a recipe says about clouds.

    Parameters
    ----------
    fixed, moving : {"auto", "labels", "blobs"}
        Whether an image holds labels or is segmented by its blobs; "auto" looks at it.
    polarity : {"bright", "dark"}
        Of blobs.
    points : int
        Most points per cloud.
    outline : bool
        Whether points lie on outlines only.
    outliers : float
        Share of points without a mate.
    beta : float, optional
        Where bending is allowed: places closer than this, in units of the moving image, move alike; twice the root mean
        square radius of the organelles without.
    lambda_ : float
        How much bending costs, as in `fit_clouds`; outlines that differ by themselves must not be taken for bending.
    """

    fixed: Show = "auto"
    moving: Show = "auto"
    polarity: Polarity = "bright"
    points: int = 2000
    outline: bool = True
    outliers: float = 0.2
    beta: float | None = None
    lambda_: float = 200.0


def register_clouds(
    fixed: Image,
    moving: Image,
    settings: Organelles | None = None,
    *,
    model: CloudModel = "similarity",
    fixed_channel: int | str | None = None,
    moving_channel: int | str | None = None,
    start: Affine | None = None,
    mirror: bool = True,
    recipe: str = "point-clouds",
    seed: int = 0,
) -> Result:
    """Find where organelles of the fixed image lie in the moving image.

    Parameters
    ----------
    fixed, moving : Image
        Images or volumes of one specimen; either may be a label image of its organelles.
    settings : Organelles, optional
        How clouds are made.
    model : {"rigid", "similarity", "affine", "non-rigid"}
        Kind of transform.
    fixed_channel, moving_channel : int or str, optional
        The channel that shows the organelles; the first without.
    start : Affine, optional
        An approximate ``moving_from_fixed``, right to about a quarter turn.
    mirror : bool
        Whether mirrored poses are tried.
    recipe : str
        Name that the result remembers.
    seed : int
        The same for every result; nothing is drawn.

    Returns
    -------
    Result
        Falsy unless accepted.

    Raises
    ------
    UsageError
        If the images have different numbers of axes, or one shows too few organelles.

    Examples
    --------
    >>> labels = np.zeros((120, 140), np.uint8)
    >>> for y, x in ((20, 30), (35, 80), (60, 20), (80, 100), (95, 60), (50, 55), (100, 120)):
    ...     labels[y : y + 9, x : x + 6 + y // 10] = 255
    >>> found = register_clouds(Image.from_array(labels), Image.from_array(labels[::-1].copy()))
    >>> found.status, found.poses[0].linear.mirrored
    ('accepted', True)
    """
    began = time.perf_counter()
    how = settings or Organelles()
    if fixed.ndim != moving.ndim:
        raise UsageError(f"Both images need as many axes; got {fixed.ndim} and {moving.ndim}.")
    votes = fixed.channel_index(_first(fixed, fixed_channel)), moving.channel_index(_first(moving, moving_channel))
    points = _cloud_of("fixed", fixed, votes[0], how.fixed, how), _cloud_of("moving", moving, votes[1], how.moving, how)
    segmented = time.perf_counter()
    flip = None if mirror else False
    fit = fit_clouds(
        *points, model, start=start, mirror=flip, outliers=how.outliers, beta=how.beta, lambda_=how.lambda_
    )
    fitted = time.perf_counter()
    halves = _halves(points, fit, model, how)
    predicted = _predict(fit, halves, fixed.grid, moving.grid)
    verdict = judge(clues_of(fit, halves, points, predicted, fixed.grid, moving.grid), fit)
    ended = time.perf_counter()
    linear = fit.linear
    covered = float(moving.grid.contains(fit.moving_from_fixed(fixed.grid.lattice(_ERROR_PLACES))).mean())
    return Result(
        moving_from_fixed=stored(fit, fixed.grid),
        model="elastic" if model == "non-rigid" else model,
        model_reason="the recipe or the user asked for it",
        verdict=verdict,
        predicted_error=predicted,
        poses=(Pose(linear, fit.likelihood, covered),),
        fixed=image_record(fixed, votes[0]),
        moving=image_record(moving, votes[1]),
        scale_found=linear.scale * pixel_size(fixed.grid) / pixel_size(moving.grid),
        scale_claimed=claimed_scale(fixed.grid, moving.grid),
        recipe=recipe,
        seed=seed,
        seconds={
            "segment": segmented - began,
            "refine": fitted - segmented,
            "verify": ended - fitted,
            "total": ended - began,
        },
        peak_memory_mb=peak_memory_mb(),
        versions=versions(),
    )


def _first(image: Image, channel: int | str | None) -> int | str | None:
    return 0 if channel is None and not image.rgb else channel


def _cloud_of(role: str, image: Image, channel: int | None, show: Show, how: Organelles) -> Points:
    """Points on the organelles of an image; raises if there are too few."""
    pixels = np.asarray(image.levels[0][channel]) if channel is not None else image.grey(None)
    if show == "labels" or (show == "auto" and _are_labels(pixels)):
        labels: NDArray[np.int32] = np.where(image.valid(), pixels, 0).astype(np.int32)
    else:
        labels = segment(image.grey(channel), image.grid, image.valid(), polarity=how.polarity).labels
    points = cloud(labels, image.grid, how.points, outline=how.outline)
    if len(points) < _FEWEST_ORGANELLES:
        raise UsageError(
            f"The {role} image shows {len(points)} points of organelles, at least {_FEWEST_ORGANELLES} are needed; "
            "choose another channel, the other polarity, or give a label image."
        )
    return points


def _are_labels(pixels: NDArray[np.generic]) -> bool:
    """Whether an image holds labels: whole numbers, much of one background 0, and large patches of one number."""
    if not np.issubdtype(pixels.dtype, np.integer) and pixels.dtype != bool:
        return False
    agree = np.mean([np.mean(np.diff(pixels.astype(np.int64), axis=axis) == 0) for axis in range(pixels.ndim)])
    return bool(agree >= _LABEL_AGREEMENT and np.mean(pixels == 0) >= _LABEL_BACKGROUND)


def _halves(
    points: tuple[Points, Points], fit: CloudFit, model: CloudModel, how: Organelles
) -> tuple[Transform, Transform]:
    """Fits to the moving points in the dark and in the light fields of a checkerboard, starting from the whole."""
    fixed, moving = points
    low, high = moving.min(axis=0), moving.max(axis=0)
    fields = np.minimum((moving - low) * _BLOCKS / np.maximum(high - low, 1e-12), _BLOCKS - 1).astype(int).sum(axis=1)
    made: list[Transform] = []
    for colour in (0, 1):
        part = moving[fields % 2 == colour]
        if not fit:
            return fit.moving_from_fixed, fit.moving_from_fixed
        one = fit_clouds(
            fixed,
            part,
            model,
            start=fit.linear,
            start_error=5 * fit.spread,
            outliers=how.outliers,
            beta=how.beta,
            lambda_=how.lambda_,
        )
        made.append(one.moving_from_fixed if one else fit.moving_from_fixed)
    return made[0], made[1]


def _predict(fit: CloudFit, halves: tuple[Transform, Transform], fixed: Grid, moving: Grid) -> PredictedError:
    """Half the distance of the fits to the halves, which is the error of the whole, besides a tenth of a pixel."""
    grid = fixed.resized(tuple(max(2, round(_ERROR_PLACES * n / max(fixed.shape))) for n in fixed.shape))
    places = grid.lattice_of_pixels()
    scale = fit.linear.scale
    pixel = max(*fixed.spacing, *(step / scale for step in moving.spacing))
    apart = np.linalg.norm(halves[0](places) - halves[1](places), axis=1) / (2 * scale)
    values = np.hypot(apart, 0.1 * pixel)
    values[~moving.contains(fit.moving_from_fixed(places))] = np.nan
    return PredictedError(values.reshape(grid.shape).astype(np.float32), grid)


def clues_of(
    fit: CloudFit,
    halves: tuple[Transform, Transform],
    points: tuple[Points, Points],
    predicted: PredictedError,
    fixed: Grid,
    moving: Grid,
) -> tuple[Evidence, ...]:
    """What speaks for and against a fit, each as a sentence with a number in it."""
    clues = []
    if np.isfinite(fit.margin):
        good = fit.margin >= _MARGIN_LIMIT
        said = (
            f"Each point is {np.exp(min(fit.margin, 9.0)):.1f} times as likely here as in the best other orientation."
        )
        clues.append(Evidence("Margin over rivals", fit.margin, _MARGIN_LIMIT, good, said))
    near = fit.spread / max(_neighbours_by_chance(points[1]), fit.linear.scale * _neighbours_by_chance(points[0]))
    said = f"Mates lie {fit.spread:.3g} {moving.frame.symbol} apart, {near:.2f} times as far as chance puts neighbours."
    clues.append(Evidence("Mates", near, _SPREAD_LIMIT, near <= _SPREAD_LIMIT, said))
    share = float(fit.matched_moving.mean())
    said = f"{100 * share:.0f} % of the moving points have a mate."
    clues.append(Evidence("Matched points", share, _MATCHED_LIMIT, share >= _MATCHED_LIMIT, said))
    width = max(fixed.extent)
    places = fixed.lattice(10)
    apart = float(np.mean(np.linalg.norm(halves[0](places) - halves[1](places), axis=1))) / fit.linear.scale / width
    said = f"Two separate halves of the organelles lead to places {100 * apart:.1f} % of the width apart."
    clues.append(Evidence("Two halves", apart, _APART_LIMIT, apart <= _APART_LIMIT, said))
    if claimed_scale(fixed, moving) is not None:
        off = max(fit.linear.scale, 1 / fit.linear.scale) - 1
        said = f"The scale differs by {100 * off:.1f} % from what the pixel sizes say."
        clues.append(Evidence("Scale", off, _SCALE_LIMIT, off <= _SCALE_LIMIT, said))
    return tuple(clues)


def _neighbours_by_chance(points: Points) -> float:
    """About the mean distance of nearest neighbours if the points were strewn over their box."""
    sides = np.maximum(np.ptp(points, axis=0), 1e-12)
    return float((np.prod(sides) / len(points)) ** (1 / len(sides)) / 2)


def judge(clues: tuple[Evidence, ...], fit: CloudFit) -> Verdict:
    """Accept what nothing speaks against; refuse what stands out from other orientations no more than chance does."""
    against = tuple(clue.sentence for clue in clues if not clue.favours)
    support = tuple(clue.sentence for clue in clues if clue.favours)
    margin = fit.margin if np.isfinite(fit.margin) else _MARGIN_LIMIT
    # From a tenth at the least margin through nine tenths at the limit.
    rise = 2 * np.log(9) / (_MARGIN_LIMIT - _MARGIN_LEAST)
    confidence = float(1 / (1 + np.exp(-rise * (min(margin, 2.0) - (_MARGIN_LIMIT + _MARGIN_LEAST) / 2))))
    confidence = min(confidence, 0.99) * 0.6 ** len(against)
    status: Status = "accepted" if not against else "doubtful"
    if not fit or margin < _MARGIN_LEAST or len(against) >= 3:
        status, confidence = "refused", min(confidence, 0.2)
    reasons = (fit.reason,) if fit.reason else support if status == "accepted" else against
    return Verdict(status, confidence, reasons, clues)


def stored(fit: CloudFit, grid: Grid) -> Transform:
    """The transform in a form that a file can hold: bending as displacements over the fixed field, then the affine map.

    The nodes reach from edge to edge and lie so close that between them it makes no difference.
    """
    if isinstance(fit.moving_from_fixed, Affine):
        return fit.moving_from_fixed
    fixed_from_moving = fit.linear.inverse()

    def bent(places: Points) -> Points:
        return fixed_from_moving(fit.moving_from_fixed(places))

    nodes = 17
    while True:
        shape = tuple(max(2, round(nodes * n / max(grid.shape))) for n in grid.shape)
        steps = tuple((n - 1) * s / (k - 1) for n, s, k in zip(grid.shape, grid.spacing, shape, strict=True))
        lattice = Grid(shape, steps, grid.origin, grid.unit)
        places = lattice.lattice_of_pixels()
        field = Displacement((bent(places) - places).reshape(*shape, grid.ndim), lattice)
        middles = lattice.points(np.indices(tuple(k - 1 for k in shape)).reshape(grid.ndim, -1).T + 0.5)
        off = np.linalg.norm(field(middles) - bent(middles), axis=1).max()
        if off <= _STORED * min(grid.spacing) or nodes >= _MOST_NODES[grid.ndim]:
            return fit.linear @ field
        nodes = 2 * nodes - 1
