"""Pose and critic together: neural mutual information on a pyramid, in the plane and in space.

At every step a few hundred places on edges of the fixed image are drawn afresh on two levels of the pyramid; the
critic goes a step up the bound of the information, and the pose a step along the derivative that the critic hands
back. The pose is the exponential of a matrix, so it can neither mirror nor flatten, however long this runs. Places
held out decide when a level is done and which pose is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.images.plane import Plane
from correlight.images.volume import Volume
from correlight.progress import checkpoint
from correlight.refine.places import FEWEST, HELD_OUT, ChannelStack, EdgeLevel, Matrix, edge_levels
from correlight.similarity.mutual import MutualInformation
from correlight.similarity.neural import AMSGrad, Critic, tuples
from correlight.transforms import Affine, Projective
from correlight.transforms.motions import LinearModel, Motions

# Places a step on the level in work, and as a share of that on the one above it, which keeps the way in view.
_BATCH, _ABOVE = 640, 0.5
# Steps on a level: at most, between checks on the places held out, and checks without progress before it ends.
_MOST_STEPS, _LOOK, _PATIENCE = 240, 20, 4
# Steps in which the critic learns alone before the pose may move.
_WARM = 30
# The first rate moves the rim of the field by this share of a pixel of the level a step; the last one by a tenth of it.
_RATE = 0.3
# The pose that is used and kept is the average over about so many steps: single ones carry the noise of draws.
_AVERAGED = 12
# A generator may not add up to more than this: shifts in half widths, rotations in radians, the rest in relative
# lengths.
_FURTHEST_SHIFT, _FURTHEST_TURN, _FURTHEST_STRETCH = 0.9, 1.0, 0.25
# Search on the coarsest level: steps of degrees and half widths, bins of the histogram, how many poses are
# followed, and how far apart they are in half widths or radians.
_TURN_STEP, _SHIFT_STEP, _COARSE_BINS, _STARTS, _APART = 6.0, 0.07, 12, 3, 0.15
# Roughness is measured on images of at most this many pixels along the side of a square with their area, in
# neighbourhoods of this share of the smaller field.
_MOST_SIDE, _NEIGHBOURHOOD = 1024, 0.01


@dataclass(frozen=True, eq=False)
class Climbed:
    """Where the ascent ended.

    Parameters
    ----------
    matrix : (D+1, D+1) array
        ``moving_from_fixed``.
    information : float
        Bound in nats at the places held out of the finest level.
    steps : int
        Steps taken on all levels.
    """

    matrix: Matrix
    information: float
    steps: int


def _limits(motions: Motions) -> NDArray[np.float64]:
    """How far each coefficient may grow, ``(P,)``: by what its generator does most of."""
    limits = []
    for generator in motions.generators:
        inner = generator[:-1, :-1]
        if generator[:-1, -1].any():
            limits.append(_FURTHEST_SHIFT)
        elif inner.any() and not np.diag(inner).any():
            limits.append(_FURTHEST_TURN)
        else:
            limits.append(_FURTHEST_STRETCH)
    return np.array(limits)


def climb(
    fixed: ChannelStack,
    moving: ChannelStack,
    moving_from_fixed: Matrix,
    model: LinearModel = "affine",
    *,
    sizes: Sequence[int] = (48, 96, 192, 384),
    start_error: tuple[float, float] = (0.0, 0.0),
    rng: np.random.Generator,
    most_steps: int = _MOST_STEPS,
    patience: int = _PATIENCE,
) -> Climbed | None:
    """Improve a pose by neural mutual information, level by level.

    The objective is that of Nan et al. (2020, arXiv:2007.13683), as the thesis behind TFUDL-CLEM uses it: a sum over
    levels of the bound, with a matrix exponential of few coefficients as the pose and further coefficients that the
    finest level has to itself. In place of all levels at once, each is joined by the one above it.

    Parameters
    ----------
    fixed, moving : ChannelStack
        One or several channels each; of one dimension.
    moving_from_fixed : (D+1, D+1) array
        The start.
    model : {"rigid", "similarity", "affine", "projective"}
        What the correction may be.
    sizes : sequence of int
        Pixels along the side of a square (cube) with the area (volume) of the fixed field, coarse first.
    start_error : (degrees, share)
        How far the start may be off, as a rotation and as a shift in widths of the fixed field, in the plane. The
        coarsest level is then searched in so wide a neighbourhood, and the best few poses there are starts of their
        own, of which the one that proves most information goes on.
    rng : Generator
        The same one gives the same result.
    most_steps, patience : int
        Longest stay on a level, and checks without progress that end it.

    Returns
    -------
    Climbed or None
        None where too few edges of the fixed image lie in the moving one.

    Notes
    -----
    Two to four seconds on one core (benchmarks/results/neural-iterations.md), nearly whatever the size of the images.
    """
    ndim = fixed.grid.ndim
    radius = float(max(fixed.grid.extent)) / 2
    to_unit = np.diag([1 / radius] * ndim + [1.0])
    to_unit[:-1, -1] = -fixed.grid.centre / radius
    start = moving_from_fixed @ np.linalg.inv(to_unit)
    # In units of half the field, shifts are half widths and rotations radians.
    motions = Motions(model, np.zeros(ndim), np.ones(ndim), logarithm=True)
    levels = edge_levels(fixed, moving, moving_from_fixed, to_unit, sizes, rng)
    if not levels:
        return None
    inputs = len(fixed.values) + len(moving.values)
    runs = []
    for coefficients in _starts_nearby(levels[0], start, motions, start_error):
        ascent = _Ascent(start, motions, Critic(inputs, rng), rng)
        ascent.coefficients[0] = coefficients
        if ascent.stage(levels[:1], most_steps, patience, alone=_WARM):
            runs.append(ascent)
    if not runs:
        return None
    best = max(runs, key=lambda ascent: ascent.information)
    for number in range(1, len(levels)):
        best.stage(levels[number - 1 : number + 1], most_steps, patience, finest=number == len(levels) - 1)
    return Climbed(start @ best.pose(True)[0] @ to_unit, best.information, sum(run.steps for run in runs))


class _Ascent:
    """A pose and its critic on their way up."""

    def __init__(
        self,
        start: Matrix,
        motions: Motions,
        critic: Critic,
        rng: np.random.Generator,
    ) -> None:
        self._start, self._motions, self._limits = start, motions, _limits(motions)
        self._critic, self._rng = critic, rng
        # The second row is what the finest level has to itself.
        self.coefficients = np.zeros((2, motions.count))
        self.information, self.steps = -np.inf, 0

    def pose(self, own: bool) -> tuple[Matrix, NDArray[np.float64]]:
        """The pose of the finest level or of all others, and its derivatives."""
        return self._motions.core_and_slopes(self.coefficients.sum(axis=0) if own else self.coefficients[0])

    def stage(
        self, levels: Sequence[EdgeLevel], most_steps: int, patience: int, *, alone: int = 0, finest: bool = False
    ) -> bool:
        """Work on a level, with the one above it; False where too little lies in the moving image."""
        level, optimiser = levels[-1], AMSGrad()
        average = self.coefficients.copy()
        best, kept, idle = -np.inf, (average.copy(), self._critic.state()), 0
        first = float(len(level.look(level.held, self._start @ self.pose(finest)[0]).fixed))
        if first < FEWEST * HELD_OUT:
            return False
        for step in range(most_steps):
            checkpoint()
            gradient = self._step(levels, finest)
            self.steps += 1
            if step < alone:
                continue
            # From the full rate to a tenth of it along half a cosine.
            rate = _RATE * level.pixel * (0.55 + 0.45 * np.cos(np.pi * step / most_steps))
            (moved,) = optimiser.steps([gradient], rate)
            self.coefficients += moved
            np.clip(self.coefficients, -self._limits, self._limits, out=self.coefficients)
            average += (self.coefficients - average) / min(step - alone + 1, _AVERAGED)
            if (step + 1) % _LOOK:
                continue
            bound = self._held_out(level, average, finest, 0.5 * first)
            if bound > best:
                best, kept, idle = bound, (average.copy(), self._critic.state()), 0
            else:
                idle += 1
                if idle == patience:
                    break
        self.coefficients, state = kept
        self._critic.restore(state)
        self.information = best
        return True

    def _step(self, levels: Sequence[EdgeLevel], finest: bool) -> NDArray[np.float64]:
        """Teach the critic by one draw of every level; the derivative by the coefficients."""
        gradient = np.zeros_like(self.coefficients)
        for level in levels:
            own = finest and level is levels[-1]
            matrix, derivatives = self.pose(own)
            count = _BATCH if level is levels[-1] else int(_ABOVE * _BATCH)
            look = level.look(level.used[self._rng.integers(len(level.used), size=count)], self._start @ matrix)
            if len(look.fixed) < 2:
                continue
            other = np.roll(np.arange(len(look.fixed)), 1)
            by_own, by_other = self._critic.learn(*tuples(look.fixed, look.moving, look.moving[other]))
            channels = look.fixed.shape[1]
            by_moving = by_own[:, channels:].copy()
            by_moving[other] += by_other[:, channels:]
            by_matrix = (level.index_from_moving @ self._start).T @ look.pull_back(by_moving)
            by_coefficient = np.tensordot(derivatives, by_matrix, 2)
            gradient[0] += by_coefficient
            if own:
                gradient[1] += by_coefficient
        return gradient

    def _held_out(self, level: EdgeLevel, coefficients: NDArray[np.float64], finest: bool, least: float) -> float:
        """The bound at the places held out; minus infinity where the pose has lost half of them."""
        matrix = self._motions.core(coefficients.sum(axis=0) if finest else coefficients[0])
        look = level.look(level.held, self._start @ matrix)
        if len(look.fixed) < least:
            return -np.inf
        return self._critic.bound(*tuples(look.fixed, look.moving, np.roll(look.moving, 1, axis=0)))


def _starts_nearby(
    level: EdgeLevel, start: Matrix, motions: Motions, start_error: tuple[float, float]
) -> list[NDArray[np.float64]]:
    """Coefficients of the start, or of the poses near it that a histogram of grey values likes best."""
    none = np.zeros(motions.count)
    ndim = len(motions.centre)
    if ndim != 2 or not any(start_error):
        return [none]
    turns = (
        np.radians(np.arange(-start_error[0], start_error[0] + _TURN_STEP / 2, _TURN_STEP))
        if start_error[0]
        else np.zeros(1)
    )
    # A shift of one is half a width.
    shifts = (
        np.arange(-2 * start_error[1], 2 * start_error[1] + _SHIFT_STEP / 2, _SHIFT_STEP)
        if start_error[1]
        else np.zeros(1)
    )
    measures = [
        MutualInformation(level.values[:, channel], level.moving[channel], bins=_COARSE_BINS)
        for channel in range(min(level.values.shape[1], len(level.moving) - 1))
    ]
    tried = []
    for turn in turns:
        for down in shifts:
            checkpoint()
            for across in shifts:
                coefficients = motions.nearest(np.array([[0, -turn, down], [turn, 0, across], [0, 0, 0.0]]))
                outer = level.index_from_moving @ start @ motions.core(coefficients)
                mapped = level.points @ outer.T
                places = mapped[:, :2] / mapped[:, 2:]
                tried.append((sum(measure(places).value for measure in measures), coefficients))
    chosen = [none]
    for _, coefficients in sorted(tried, key=lambda item: -item[0]):
        if all(np.max(np.abs(coefficients - other)) > _APART for other in chosen[1:]):
            chosen.append(coefficients)
        if len(chosen) > _STARTS:
            break
    return chosen


def seen(image: Plane | Volume, neighbourhood: float) -> ChannelStack:
    """What the critic sees of an image: its grey values, and how rough they are.

    Unlike instruments often agree on where there is structure rather than on how bright it is.

    Parameters
    ----------
    image : Plane or Volume
        One channel.
    neighbourhood : float
        Width over which roughness is measured, in the unit of the image.
    """
    if isinstance(image, Plane):
        image = image.shrunk(float(np.sqrt(image.area)) / _MOST_SIDE)
        sigma = max(1.0, neighbourhood / float(np.mean(image.grid.spacing)))
        detail = image.values - cv2.GaussianBlur(image.values, (0, 0), sigma / 2)
        power = cv2.GaussianBlur(detail * detail, (0, 0), sigma)
    else:
        sigmas = np.maximum(neighbourhood / np.asarray(image.grid.spacing), 0.5)
        detail = image.values - ndimage.gaussian_filter(image.values, sigmas / 2)
        power = ndimage.gaussian_filter(detail * detail, sigmas)
    return ChannelStack(np.stack([image.values, np.sqrt(np.maximum(power, 0))]), image.mask, image.grid)


def refine_neural(
    fixed: Plane | Volume,
    moving: Plane | Volume,
    moving_from_fixed: Affine | Projective,
    model: LinearModel = "affine",
    *,
    sizes: Sequence[int] = (48, 96, 192, 384),
    start_error: tuple[float, float] = (0.0, 0.0),
    seed: int = 0,
    most_steps: int = _MOST_STEPS,
) -> Affine | Projective:
    """`climb` for two channels, on their grey values and their roughness; parameters as there.

    Returns
    -------
    Affine or Projective
        The start itself where too little is in common.
    """
    scale = moving_from_fixed.scale
    ndim = fixed.grid.ndim
    field = min(float(np.prod(fixed.grid.extent)), float(np.prod(moving.grid.extent)) / scale**ndim)
    if isinstance(fixed, Plane) and isinstance(moving, Plane):
        field = min(fixed.area, moving.area / scale**2)
    neighbourhood = _NEIGHBOURHOOD * float(field ** (1 / ndim))
    found = climb(
        seen(fixed, neighbourhood),
        seen(moving, neighbourhood * scale),
        moving_from_fixed.matrix,
        model,
        sizes=sizes,
        start_error=start_error,
        rng=np.random.default_rng([seed, 11]),
        most_steps=most_steps,
    )
    if found is None:
        return moving_from_fixed
    matrix = found.matrix / found.matrix[-1, -1]
    if model == "projective" or isinstance(moving_from_fixed, Projective):
        return Projective(matrix)
    matrix[-1] = np.eye(len(matrix))[-1]
    return Affine(matrix)
