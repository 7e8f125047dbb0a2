"""The task of a registration, and what one method passes to the next."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from correlight.appearance import Appearance, Planes
from correlight.appearance.noise import denoised
from correlight.errors import UsageError
from correlight.evidence.predicted_error import PredictedError
from correlight.evidence.verdict import Verdict
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.images.plane import Plane
from correlight.progress import Progress
from correlight.refine.samples import LinearTransform
from correlight.search.limits import Limits, Start, claimed_scale
from correlight.search.pose import Pose
from correlight.search.poses import WorkingPlanes
from correlight.transforms import Transform
from correlight.transforms.motions import LINEAR_MODELS, LinearModel

NOTHING_FOUND = "No pose within the limits of the search gives the two images enough overlap; widen the limits."


@dataclass(frozen=True, eq=False)
class ImagePair:
    """Two images, the channels of each that may be used for registration, and what they are compared by.

    Parameters
    ----------
    fixed, moving : Image
        The two images, both of two axes or both of three.
    fixed_channel, moving_channel : int or str, optional
        The channel used for registration; without it, all that may be.
    appearance : Appearance, optional
        What makes them comparable; None for methods that need nothing of the kind.
    working : dict
        Planes resized by searches: they keep what they computed of a plane as long as it lives.
    """

    fixed: Image
    moving: Image
    fixed_channel: int | str | None = None
    moving_channel: int | str | None = None
    appearance: Appearance | None = None
    working: WorkingPlanes = field(default_factory=dict, init=False)

    @property
    def ndim(self) -> int:
        """Axes of the images."""
        return self.fixed.ndim

    @property
    def channels(self) -> tuple[tuple[int | None, ...], tuple[int | None, ...]]:
        """The channels of the fixed and of the moving image that may be used; None for all colours of an image."""
        asked = ((self.fixed, self.fixed_channel), (self.moving, self.moving_channel))
        one, other = (image.usable_channels if name is None else (image.channel_index(name),) for image, name in asked)
        return one, other

    def on_grids(self, fixed: Grid, moving: Grid) -> ImagePair:
        """The same images on other grids; this pair, with all that was computed of it, if the grids are its own."""
        if fixed is self.fixed.grid and moving is self.moving.grid:
            return self
        return ImagePair(
            replace(self.fixed, grid=fixed),
            replace(self.moving, grid=moving),
            self.fixed_channel,
            self.moving_channel,
            self.appearance,
        )

    @cached_property
    def planes(self) -> tuple[Planes, Planes]:
        """The channels that may be used as planes, denoised and made alike; without those that show nothing.

        Raises
        ------
        UsageError
            If an image shows nothing at all.
        """
        fixed = _planes("fixed", self.fixed, self.channels[0])
        moving = _planes("moving", self.moving, self.channels[1])
        return (fixed, moving) if self.appearance is None else self.appearance.made_alike(fixed, moving)

    @property
    def compared_by(self) -> Appearance:
        """The appearance of a recipe that has one, as recipes of methods that compare images must."""
        if self.appearance is None:
            raise UsageError("This method compares images by an appearance, and the recipe names none.")
        return self.appearance


def _planes(role: str, image: Image, channels: tuple[int | None, ...]) -> Planes:
    planes = {number: Plane.of(image, number) for number in channels}
    lively = {number: plane for number, plane in planes.items() if np.ptp(plane.values[plane.mask]) > 0}
    if not lively:
        raise UsageError(f"The {role} image has the same value everywhere; an image with structure was expected.")
    return {number: denoised(plane) for number, plane in lively.items()}


@dataclass(frozen=True, eq=False)
class Task:
    """What one registration is asked.

    Parameters
    ----------
    pair : ImagePair
        The two images.
    limits : Limits
        Which poses are possible, in the units of the two grids.
    model : str, optional
        Kind of transform; without it the evidence chooses among those of the recipe.
    start : Transform or StartPoints, optional
        Poses stay near it.
    landmarks : (Points, Points), optional
        Places that belong together, of the fixed and of the moving image, in their units: a smooth field heeds them.
    seed : int
        Of every random draw.
    workers : int
        Threads.
    report : callable
        Called with the name of the stage and the fraction of it that is done. What it raises ends the registration.
    seconds : dict
        Wall time per stage, added up as the stages run.
    """

    pair: ImagePair
    limits: Limits
    model: str | None = None
    start: Start | None = None
    seed: int = 0
    workers: int = 1
    report: Progress = lambda stage, fraction: None
    seconds: dict[str, float] = field(default_factory=dict)
    landmarks: tuple[Points, Points] | None = field(default=None, kw_only=True)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say that a stage begins and ends, and count the time spent inside."""
        began = time.perf_counter()
        self.report(name, 0.0)
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - began
        self.report(name, 1.0)


@dataclass(frozen=True, eq=False)
class Candidate:
    """What a search found with one pair of channels. Methods add what their own refinement needs.

    Parameters
    ----------
    channels : (int or None, int or None)
        Channels of the fixed and of the moving image.
    poses : tuple of Pose
        Distinct ones, best first; none where nothing was found.
    nothing : str
        What to say where there is none.
    """

    channels: tuple[int | None, int | None]
    poses: tuple[Pose, ...]
    nothing: str = field(default=NOTHING_FOUND, kw_only=True)

    def of_rank(self, rank: int) -> Candidate:
        """The candidate with the pose of this rank, counted from 1, in the first place.

        Raises
        ------
        UsageError
            If there are fewer poses.
        """
        count = len(self.poses)
        if not 1 <= rank <= count:
            raise UsageError(
                f"The search found {count} distinct poses; pose {rank} was asked for; choose 1 to {count}."
            )
        chosen = self.poses[rank - 1]
        return replace(self, poses=(chosen, *(pose for pose in self.poses if pose is not chosen)))


@dataclass(frozen=True, eq=False)
class Fit:
    """What a refinement made of a candidate. Methods add what their own evidence needs.

    Parameters
    ----------
    candidate : Candidate
        Where it comes from.
    transform : Transform
        ``moving_from_fixed``, of any kind.
    linear : Affine or Projective
        The same without what bends.
    model : str
        Kind of transform.
    reason : str
        Why this kind and no richer one, in words.
    """

    candidate: Candidate
    transform: Transform
    linear: LinearTransform
    model: str
    reason: str


@dataclass(frozen=True, eq=False)
class Judgement:
    """The verdict on a fit, and its predicted error.

    Parameters
    ----------
    verdict : Verdict
        Whether to trust it, and why.
    predicted_error : PredictedError
        How far off it may be, place by place.
    maps : mapping of str to array
        What else is known place by place, float32 on the grid of the predicted error, by names that files can have.
    pairs : (Points, Points) or None
        Places that were matched one by one in the fixed and in the moving image: beads.
    """

    verdict: Verdict
    predicted_error: PredictedError
    maps: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    pairs: tuple[Points, Points] | None = None


def models_for(task: Task, allowed: Sequence[LinearModel]) -> tuple[LinearModel, ...]:
    """The kinds of transform that may be chosen: the one that was asked for, or those of the recipe that make sense.

    Without both pixel sizes nothing says what rigid would mean, and volumes have no perspective.
    """
    if task.model is not None:
        return tuple(known for known in LINEAR_MODELS if known == task.model)
    fixed, moving = task.pair.fixed.grid, task.pair.moving.grid
    left_out = set() if claimed_scale(fixed, moving) is not None else {"rigid"}
    left_out |= {"projective"} if task.pair.ndim == 3 else set()
    return tuple(known for known in allowed if known not in left_out)
