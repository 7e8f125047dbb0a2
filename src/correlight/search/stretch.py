"""One axis of an image too long: the best poses without a stretch, compared under a few stretches of either image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid
from correlight.images.plane import Plane
from correlight.progress import Fraction
from correlight.search.pose import Pose
from correlight.search.poses import PoseSearch
from correlight.transforms import Affine, Projective

Role = Literal["moving", "fixed"]
STRETCHES = 1.0, 1.6
"""Least and greatest stretch that is searched."""
FOLLOWED = 1.08
"""A smaller stretch the usual search follows by itself."""
# Images are recognised that are stretched by up to this factor more or less than they are tried.
_TOLERATED = 1.12
# So many poses of each ranking are compared under every stretch. Of ten draws of five real pairs, stretched by 1.2 to
# 1.45, the right rotation and scale rank among the first 43 of 480 without a stretch, seven times among the first 13,
# and nine times first with it undone (benchmarks.coarse).
_KEPT = 30
# Under a greater stretch the right rotation and scale need not be among them: all are compared there, where pixel sizes
# leave few scales.
_UNLIKE = 1.3
# So many poses are returned for a stretch.
_OF_EACH = 4
# What a pose still stretches once a stretch along an axis is taken from it, if it is one along that axis.
_ALONG_AN_AXIS = 1.04


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
        return replace(grid, spacing=tuple(float(step) for step in np.asarray(grid.spacing) * self._by))

    def of(self, plane: Plane, role: Role) -> Plane:
        """Either plane without the stretch; parameters as for `grid`."""
        return plane if role != self.role else replace(plane, grid=self.grid(plane.grid, role))

    def like(self, other: Stretch) -> bool:
        """Whether another stretch is so near that images agree under it as well."""
        near = abs(np.log(self.factor / other.factor)) < np.log(_ALONG_AN_AXIS)
        return bool((self.role, self.axis) == (other.role, other.axis) and near)

    @property
    def _by(self) -> NDArray[np.float64]:
        """By what places along both axes are multiplied to undo it."""
        by = np.full(2, np.sqrt(self.factor))
        by[self.axis] = 1 / by[self.axis]
        return by

    def refined(self, pose: Affine | Projective, within: tuple[float, float]) -> tuple[Stretch, Affine]:
        """The stretch with what an affine pose between the images without it still has of it, and the pose without.

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
        exact = replace(self, factor=float(np.clip(self.factor * more, *within)))
        further = Affine.of(np.diag(exact._by / self._by), (0.0, 0.0))
        whole = Affine.of(pose.linear, pose.offset)
        return exact, further @ whole if self.role == "moving" else whole @ further.inverse()

    @property
    def sentence(self) -> str:
        """What the stretch says about the image."""
        return (
            f"The {self.role} image is stretched by {self.factor:.2f} along its {'yx'[self.axis]} axis; the transform "
            "corrects for it."
        )


@dataclass(frozen=True, eq=False)
class StretchedPose:
    """One of the best poses under one stretch.

    Parameters
    ----------
    stretch : Stretch
        What was tried.
    pose : Affine
        Between the images without it.
    score : float
        In units of what wrong poses score.
    """

    stretch: Stretch
    pose: Affine
    score: float


def implied(pose: Affine | Projective, within: tuple[float, float]) -> StretchedPose | None:
    """The stretch of one image along one of its axes that a pose already has in it, and the pose without; None without.

    Parameters
    ----------
    pose : Affine
        ``moving_from_fixed``, between the images as their files state them.
    within : tuple of float
        Least and greatest stretch.
    """
    tried = [Stretch(role, axis, 1.0).refined(pose, (1.0, within[1])) for role in get_args(Role) for axis in range(2)]
    stretch, rest = min(tried, key=lambda one: _uneven(one[1]))
    if stretch.factor < max(FOLLOWED, within[0]) or _uneven(rest) > _ALONG_AN_AXIS:
        return None
    return StretchedPose(stretch, rest, 0.0)


def _uneven(pose: Affine) -> float:
    """How many times as far a pose stretches one direction as another."""
    most, least = np.linalg.svd(pose.linear, compute_uv=False)
    return float(most / least)


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


class StretchSearch:
    """Compares the best poses of two images under a few stretches of either.

    Parameters
    ----------
    plain : PoseSearch
        The search of the two images as their files state them, at scales that a stretch leaves possible.
    within : tuple of float
        Least and greatest stretch.
    """

    def __init__(self, plain: PoseSearch, within: tuple[float, float]) -> None:
        self._plain, self._within = plain, within

    def tried(self, progress: Fraction) -> list[StretchedPose]:
        """The best poses under each stretch, best first.

        Parameters
        ----------
        progress : callable
            Called with the fraction done.
        """
        todo = list(stretches(self._within))
        candidates = self._plain.promising(_KEPT, lambda done: progress(0.3 * done))
        every = self._plain.all_if_few() or candidates
        found: list[StretchedPose] = []
        for number, stretch in enumerate(todo):
            asked = every if stretch.factor > _UNLIKE else candidates
            poses = self._under(stretch).ranked_among(asked)
            found += [StretchedPose(stretch, pose.linear, pose.score) for pose in poses[:_OF_EACH]]
            progress(0.3 + 0.7 * (number + 1) / len(todo))
        return sorted(found, key=lambda one: -one.score)

    def exact(self, one: StretchedPose, fitted: Affine | Projective) -> StretchedPose:
        """One that was tried, with what an affine fit adds to its stretch, and the score that it has then.

        It scores nothing where the images agree better elsewhere at its rotation and scale.

        Parameters
        ----------
        one : StretchedPose
            From `tried`.
        fitted : Affine
            ``moving_from_fixed`` between the planes of its stretch.
        """
        stretch, pose = one.stretch.refined(fitted, self._within)
        (scored,) = self._under(stretch).rescored([Pose(pose, 0.0, 1.0)])
        return StretchedPose(stretch, pose, scored.score)

    def planes(self, stretch: Stretch) -> tuple[Plane, Plane]:
        """Both planes without a stretch."""
        return stretch.of(self._plain.fixed, "fixed"), stretch.of(self._plain.moving, "moving")

    def _under(self, stretch: Stretch) -> PoseSearch:
        return self._plain.of_others(*self.planes(stretch))
