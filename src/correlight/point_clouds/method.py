"""Clouds of points as a method: segment organelles, lay one cloud onto the other, and say what comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from correlight.errors import UsageError
from correlight.evidence.predicted_error import coarser_pixel, predict, spread
from correlight.geometry import Points
from correlight.images.image import Image
from correlight.images.labels import are_labels
from correlight.landmarks.nearness import nearness
from correlight.methods.protocols import Dimension, MethodSettings, Serves
from correlight.methods.task import Candidate, Fit, Judgement, Task
from correlight.point_clouds.cloud_pair import CloudModel
from correlight.point_clouds.evidence import evidence_of, judge
from correlight.point_clouds.fit import CloudFit, fit_clouds
from correlight.point_clouds.segmentation import Polarity, cloud, segment
from correlight.search.pose import Pose
from correlight.transforms import Affine, Transform
from correlight.transforms.field import with_sampled_field

Show = Literal["auto", "labels", "blobs"]
_SERVED: frozenset[Dimension] = frozenset({"2-D", "3-D"})
_PLACES = 24
_FEWEST_ORGANELLES = 5
# Fields of the checkerboard along a side whose two colours are fitted apart.
_BLOCKS = 4
# A place is never known better than to this share of a pixel of the coarser image.
_LEAST_ERROR = 0.1
# An image that looks like labels is taken for them if this share of it is background.
_LABEL_BACKGROUND = 0.05


class CloudSettings(MethodSettings):
    """How organelles become clouds of points, and how those are fitted.

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
        Share of points without a correspondence.
    model : {"rigid", "similarity", "affine", "elastic"}
        Kind of transform where none is asked for.
    beta : float, optional
        Where bending is allowed: places closer than this, in units of the moving image, move alike; twice the root mean
        square radius of the organelles without.
    lambda_ : float
        How much bending costs, as in `fit_clouds`; outlines that differ by themselves must not be taken for bending.
    """

    fixed: Show = "auto"
    moving: Show = "auto"
    polarity: Polarity = "bright"
    points: int = Field(default=2000, ge=5)
    outline: bool = True
    outliers: float = Field(default=0.2, gt=0, lt=1)
    model: CloudModel = "similarity"
    beta: float | None = Field(default=None, gt=0)
    lambda_: float = Field(default=200.0, gt=0)


@dataclass(frozen=True, eq=False)
class CloudCandidate(Candidate):
    """Two clouds and the fit of one to the other.

    Parameters
    ----------
    clouds : (Points, Points)
        Of the fixed and of the moving image.
    drift : CloudFit
        Their registration.
    halves : pair of Transform
        Fits to two halves of the moving cloud.
    model : str
        Kind of transform.
    """

    clouds: tuple[Points, Points]
    drift: CloudFit
    halves: tuple[Transform, Transform]
    model: str


@dataclass(frozen=True, eq=False)
class CloudTransform(Fit):
    """The transform of a fit of clouds."""

    candidate: CloudCandidate


class CloudSearch:
    """Organelles of both images as clouds, laid onto each other by coherent point drift from every orientation."""

    Settings: ClassVar[type[MethodSettings]] = CloudSettings
    gives: ClassVar[tuple[type[Candidate], ...]] = (CloudCandidate,)
    # Organelles say how large they are, whatever the files claim.
    scale, calibrated_tolerance, least_overlap = (0.25, 4.0), 0.15, 0.1

    def __init__(self, settings: CloudSettings) -> None:
        self._settings = settings

    def serves(self, dimension: Dimension) -> Serves:
        """Images and stacks; every orientation and size is tried, from a start those near it."""
        return Serves(dimensions=_SERVED, options={"mirror", "start"}, models=get_args(CloudModel))

    def find(self, task: Task) -> CloudCandidate:
        """The clouds of one channel of each image, and their registration."""
        how, pair = self._settings, task.pair
        if not (task.start is None or isinstance(task.start, Affine)):
            raise UsageError(
                f"Clouds of points start from an affine transform; got {type(task.start).__name__}, so give three "
                "landmarks or more, or no start."
            )
        channels = pair.channels[0][0], pair.channels[1][0]
        fixed, moving = (
            _cloud_of(role, image, channel, show, how)
            for role, image, channel, show in (
                ("fixed", pair.fixed, channels[0], how.fixed),
                ("moving", pair.moving, channels[1], how.moving),
            )
        )
        task.report("search", 0.3)
        model = cast("CloudModel", task.model or how.model)
        drift = fit_clouds(
            fixed,
            moving,
            model,
            start=task.start,
            mirror=None if True in task.limits.mirror else False,
            outliers=how.outliers,
            beta=how.beta,
            lambda_=how.lambda_,
        )
        task.report("search", 0.8)
        places = pair.fixed.grid.lattice(_PLACES)
        covered = float(pair.moving.grid.contains(drift.moving_from_fixed(places)).mean())
        poses = (Pose(drift.linear, drift.likelihood, covered),)
        halves = _halves((fixed, moving), drift, model, how)
        return CloudCandidate(channels, poses, (fixed, moving), drift, halves, model)


def _cloud_of(role: str, image: Image, channel: int | None, show: Show, how: CloudSettings) -> Points:
    """Points on the organelles of an image; raises if there are too few."""
    pixels = np.asarray(image.levels[0][channel]) if channel is not None else image.grey(None)
    if show == "labels" or (show == "auto" and are_labels(pixels) and np.mean(pixels == 0) >= _LABEL_BACKGROUND):
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


def _halves(
    points: tuple[Points, Points], fit: CloudFit, model: CloudModel, how: CloudSettings
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


class CloudRefinement:
    """The transform in a form that a file can hold; the fit itself is exact already."""

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    takes: ClassVar[tuple[type[Candidate], ...]] = (CloudCandidate,)
    gives: ClassVar[tuple[type[Fit], ...]] = (CloudTransform,)

    def __init__(self, settings: MethodSettings) -> None:
        pass

    def serves(self, dimension: Dimension) -> Serves:
        """Images and stacks."""
        return Serves(dimensions=_SERVED)

    def fit(self, task: Task, candidate: Candidate) -> CloudTransform:
        """Bending as displacements over the fixed field, then the affine map."""
        assert isinstance(candidate, CloudCandidate)
        drift = candidate.drift
        transform: Transform = drift.moving_from_fixed
        if not isinstance(transform, Affine):
            transform = with_sampled_field(drift.moving_from_fixed, drift.linear, task.pair.fixed.grid)
        reason = "it was asked for" if task.model else "the recipe takes no other"
        return CloudTransform(candidate, transform, drift.linear, candidate.model, reason)


class CloudEvidence:
    """Margin over other poses, distance of the clouds, and agreement of halves."""

    Settings: ClassVar[type[MethodSettings]] = MethodSettings
    takes: ClassVar[tuple[type[Fit], ...]] = (CloudTransform,)

    def __init__(self, settings: MethodSettings) -> None:
        pass

    def serves(self, dimension: Dimension) -> Serves:
        """Images and stacks."""
        return Serves(dimensions=_SERVED)

    def judge(self, task: Task, fit: Fit) -> Judgement:
        """The verdict, and the error that follows from how far the halves lie apart."""
        assert isinstance(fit, CloudTransform)
        found, fixed, moving = fit.candidate, task.pair.fixed.grid, task.pair.moving.grid
        scale = found.drift.linear.scale
        least = _LEAST_ERROR * coarser_pixel(fixed, moving, scale)
        predicted = predict(spread([found.halves], scale, least), found.drift.moving_from_fixed, fixed, moving)
        evidence = evidence_of(found.drift, found.halves, found.clouds, fixed, moving)
        maps: dict[str, NDArray[np.float32]] = {}
        if fit.transform is not fit.linear:
            near = nearness(predicted.grid.lattice_of_pixels(), found.clouds[0], found.drift.matched_fixed)
            near = np.where(np.isfinite(predicted.values), near.reshape(predicted.grid.shape), np.nan)
            maps["field_evidence"] = near.astype(np.float32)
        return Judgement(judge(evidence, found.drift), predicted, maps)
