"""One axis of an image too long: found by a quick search for each of a few stretches along the axes of both images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np

from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.progress import Fraction
from correlight.search.correlate import MakeEngine
from correlight.search.limits import Limits
from correlight.search.poses import PoseSearch, SearchLevel, WorkingPlanes
from correlight.search.ranking import by_all_groups, distinct
from correlight.transforms import Affine, Projective

Role = Literal["moving", "fixed"]
STRETCHES = 1.0, 1.6
"""Least and greatest stretch that is searched."""
FOLLOWED = 1.08
"""A smaller stretch the usual search follows by itself."""
# Images are recognised that are stretched by up to this factor more or less than they are tried.
_TOLERATED = 1.12
# Rough enough to be quick, and to tolerate the stretches in between.
_LEVEL = SearchLevel(48, 7.5, 0.15, 1)
# Poses nearer than this share of the width are one.
_ELSEWHERE = 0.25


@dataclass(frozen=True, slots=True)
class Stretch:
    """An image that is too long along one of its axes, compared with the other.

    Parameters
    ----------
    role : {"moving", "fixed"}
        The image.
    axis : int
        Which of its axes: 0 is y.
    factor : float
        How many times too long; above 1.
    """

    role: Role
    axis: int
    factor: float

    def grid(self, grid: Grid, role: Role) -> Grid:
        """The grid of either image without the stretch, over a field of the same area.

        Parameters
        ----------
        grid : Grid
            As the file states it.
        role : {"moving", "fixed"}
            Of which image; that of the other is returned as it is.
        """
        if role != self.role:
            return grid
        by = np.full(2, np.sqrt(self.factor))
        by[self.axis] = 1 / by[self.axis]
        return replace(grid, spacing=tuple(float(step) for step in np.asarray(grid.spacing) * by))

    def of(self, plane: Plane, role: Role) -> Plane:
        """Either plane without the stretch; parameters as for `grid`."""
        return plane if role != self.role else replace(plane, grid=self.grid(plane.grid, role))

    def refined(self, pose: Affine | Projective, within: tuple[float, float]) -> Stretch:
        """The stretch that an affine pose between the images without this one has beyond it.

        Parameters
        ----------
        pose : Affine
            ``moving_from_fixed``.
        within : tuple of float
            Least and greatest factor allowed.
        """
        linear = pose.linear if self.role == "moving" else np.linalg.inv(pose.linear)
        lengths = np.sum(linear**2, axis=1)
        more = float(np.sqrt(lengths[self.axis] / lengths[1 - self.axis]))
        return replace(self, factor=float(np.clip(self.factor * more, *within)))

    @property
    def sentence(self) -> str:
        """What the stretch says about the image."""
        return (
            f"The {self.role} image is stretched by {self.factor:.2f} along its {'yx'[self.axis]} axis; the transform "
            "corrects for it."
        )


@dataclass(frozen=True, eq=False)
class StretchedPose:
    """The best pose of a quick search under one stretch.

    Parameters
    ----------
    stretch : Stretch
        What was tried.
    pose : Affine
        Between the images without it.
    score : float
        In units of what wrong poses score.
    margin : float
        Score over that of the best distant pose.
    """

    stretch: Stretch
    pose: Affine
    score: float
    margin: float


def stretches(within: tuple[float, float]) -> Iterator[Stretch]:
    """Those to be tried so that any within the limits is near one of them."""
    least, most = max(within[0], FOLLOWED), within[1]
    if most < least:
        return
    count = max(1, int(np.ceil(np.log(most / least) / (2 * np.log(_TOLERATED)))))
    factors = np.exp(np.log(least) + np.log(most / least) * (np.arange(count) + 0.5) / count)
    for role in get_args(Role):
        for axis in range(2):
            for factor in factors:
                yield Stretch(role, axis, float(factor))


def tried_stretches(
    fixed: Plane,
    moving: Plane,
    limits: Limits,
    engine: MakeEngine,
    within: tuple[float, float],
    *,
    workers: int,
    progress: Fraction,
) -> list[StretchedPose]:
    """A quick search under each stretch, best first.

    Parameters
    ----------
    fixed, moving : Plane
        The two images as their files state them.
    limits : Limits
        Which poses are possible without a stretch; of a wide range of scales only the middle is searched.
    engine : MakeEngine
        Makes the engine for two working planes.
    within : tuple of float
        Least and greatest stretch.
    workers : int
        Threads.
    progress : callable
        Called with the fraction done.
    """
    todo = list(stretches(within))
    found: list[StretchedPose] = []
    # Searches with one image stretched share what was computed of the other.
    shared: dict[Role, WorkingPlanes] = {role: {} for role in get_args(Role)}
    allowed = limits.for_stretch(within[1]).in_the_middle()
    for number, stretch in enumerate(todo):
        one, other = stretch.of(fixed, "fixed"), stretch.of(moving, "moving")
        search = PoseSearch(one, other, allowed, engine, workers, shared[stretch.role])
        scored = by_all_groups(search.every_scale(_LEVEL, partial(_part_done, progress, number, len(todo))))
        best = distinct([item.pose for item in scored], one.grid, _ELSEWHERE)
        if best:
            rival = best[1].score if len(best) > 1 else 0.0
            found.append(StretchedPose(stretch, best[0].linear, best[0].score, best[0].score / max(rival, 1e-9)))
    return sorted(found, key=lambda one: -one.score)


def _part_done(report: Fraction, number: int, count: int, done: float) -> None:
    report((number + done) / count)
