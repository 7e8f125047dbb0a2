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

from correlight.images.plane import Plane
from correlight.refine.models import Model
from correlight.refine.places import FEWEST, HELD_OUT, Level, Matrix, Stack, levels_of
from correlight.similarity.mutual import MutualInformation
from correlight.similarity.neural import AMSGrad, Critic, tuples
from correlight.transforms import Affine, Projective

# Places a step on the level in work, and as a share of that on the one above it, which keeps the way in view.
_BATCH, _ABOVE = 640, 0.5
# Steps on a level: at most, between looks at the places held out, and looks without progress before it ends.
_MOST_STEPS, _LOOK, _PATIENCE = 240, 20, 4
# Steps in which the critic learns alone before the pose may move.
_WARM = 30
# The first rate moves the rim of the field by this share of a pixel of the level a step; the last one by a tenth of it.
_RATE = 0.3
# The pose that is looked at and kept is the average over about so many steps: single ones carry the noise of draws.
_AVERAGED = 12
# A generator may not add up to more than this: shifts in half widths, turns in radians, the rest in relative lengths.
_FURTHEST_SHIFT, _FURTHEST_TURN, _FURTHEST_STRETCH = 0.9, 1.0, 0.25
# Looking round on the coarsest level: steps of degrees and half widths, bins of the histogram, how many poses are
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


def generators(model: Model, ndim: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The directions in which a pose may leave the identity, and how far along each.

    Parameters
    ----------
    model : {"rigid", "similarity", "affine", "projective"}
        The projective one in the plane only.
    ndim : int
        2 or 3.

    Returns
    -------
    directions : (P, D+1, D+1) array
        Shifts, turns, scale, stretches and shears, tilts; 3, 4, 6 or 8 of them in the plane, 6, 7 or 12 in space.
    limits : (P,) array
        Of the coefficients.

    Examples
    --------
    >>> [len(generators(model, 2)[0]) for model in ("rigid", "similarity", "affine", "projective")]
    [3, 4, 6, 8]
    >>> len(generators("affine", 3)[0])
    12
    """
    made: list[NDArray[np.float64]] = []
    limits: list[float] = []

    def add(limit: float, *entries: tuple[int, int, float]) -> None:
        one = np.zeros((ndim + 1, ndim + 1))
        for row, column, value in entries:
            one[row, column] = value
        made.append(one)
        limits.append(limit)

    couples = [(a, b) for a in range(ndim) for b in range(a + 1, ndim)]
    for axis in range(ndim):
        add(_FURTHEST_SHIFT, (axis, ndim, 1.0))
    for a, b in couples:
        add(_FURTHEST_TURN, (a, b, 1.0), (b, a, -1.0))
    if model != "rigid":
        add(_FURTHEST_STRETCH, *((axis, axis, 1.0) for axis in range(ndim)))
    if model in ("affine", "projective"):
        for a, b in couples:
            add(_FURTHEST_STRETCH, (a, b, 1.0), (b, a, 1.0))
        for axis in range(ndim - 1):
            add(_FURTHEST_STRETCH, (axis, axis, 1.0), (axis + 1, axis + 1, -1.0))
    if model == "projective":
        for axis in range(ndim):
            add(_FURTHEST_STRETCH, (ndim, axis, 1.0))
    return np.stack(made), np.array(limits)


def exponential(
    coefficients: NDArray[np.float64], directions: NDArray[np.float64]
) -> tuple[Matrix, NDArray[np.float64]]:
    """The exponential of a combination of matrices, and its derivative by each coefficient.

    By the power series and its term-by-term derivative; for the sizes that the limits allow, 23 terms are exact to
    rounding.

    Parameters
    ----------
    coefficients : (P,) array
    directions : (P, n, n) array

    Returns
    -------
    matrix : (n, n) array
    derivatives : (P, n, n) array
    """
    exponent = np.tensordot(coefficients, directions, 1)
    term, slope = np.eye(len(exponent)), np.zeros_like(directions)
    matrix, derivatives = term.copy(), slope.copy()
    for order in range(1, 24):
        slope = (slope @ exponent + term @ directions) / order
        term = term @ exponent / order
        matrix += term
        derivatives += slope
    return matrix, derivatives


def climb(
    fixed: Stack,
    moving: Stack,
    moving_from_fixed: Matrix,
    model: Model = "affine",
    *,
    sizes: Sequence[int] = (48, 96, 192, 384),
    reach: tuple[float, float] = (0.0, 0.0),
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
    fixed, moving : Stack
        One or several channels each; of one dimension.
    moving_from_fixed : (D+1, D+1) array
        The start.
    model : {"rigid", "similarity", "affine", "projective"}
        What the correction may be.
    sizes : sequence of int
        Pixels along the side of a square (cube) with the area (volume) of the fixed field, coarse first.
    reach : (degrees, share)
        How far the start may be off, as a turn and as a shift in widths of the fixed field, in the plane. The coarsest
        level is then looked at in so wide a neighbourhood, and the best few poses there are starts of their own, of
        which the one that proves most information goes on.
    rng : Generator
        The same one gives the same result.
    most_steps, patience : int
        Longest stay on a level, and looks without progress that end it.

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
    directions, limits = generators(model, ndim)
    levels = levels_of(fixed, moving, moving_from_fixed, to_unit, sizes, rng)
    if not levels:
        return None
    inputs = len(fixed.values) + len(moving.values)
    runs = []
    for coefficients in _look_round(levels[0], start, directions, reach):
        ascent = _Ascent(start, directions, limits, Critic(inputs, rng), rng)
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
        directions: NDArray[np.float64],
        limits: NDArray[np.float64],
        critic: Critic,
        rng: np.random.Generator,
    ) -> None:
        self._start, self._directions, self._limits = start, directions, limits
        self._critic, self._rng = critic, rng
        # The second row is what the finest level has to itself.
        self.coefficients = np.zeros((2, len(directions)))
        self.information, self.steps = -np.inf, 0

    def pose(self, own: bool) -> tuple[Matrix, NDArray[np.float64]]:
        """The pose of the finest level or of all others, and its derivatives."""
        return exponential(self.coefficients.sum(axis=0) if own else self.coefficients[0], self._directions)

    def stage(
        self, levels: Sequence[Level], most_steps: int, patience: int, *, alone: int = 0, finest: bool = False
    ) -> bool:
        """Work on a level, with the one above it; False where too little lies in the moving image."""
        level, optimiser = levels[-1], AMSGrad()
        average = self.coefficients.copy()
        best, kept, idle = -np.inf, (average.copy(), self._critic.state()), 0
        first = float(len(level.look(level.held, self._start @ self.pose(finest)[0]).fixed))
        if first < FEWEST * HELD_OUT:
            return False
        for step in range(most_steps):
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

    def _step(self, levels: Sequence[Level], finest: bool) -> NDArray[np.float64]:
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

    def _held_out(self, level: Level, coefficients: NDArray[np.float64], finest: bool, least: float) -> float:
        """The bound at the places held out; minus infinity where the pose has lost half of them."""
        matrix, _ = exponential(coefficients.sum(axis=0) if finest else coefficients[0], self._directions)
        look = level.look(level.held, self._start @ matrix)
        if len(look.fixed) < least:
            return -np.inf
        return self._critic.bound(*tuples(look.fixed, look.moving, np.roll(look.moving, 1, axis=0)))


def _look_round(
    level: Level, start: Matrix, directions: NDArray[np.float64], reach: tuple[float, float]
) -> list[NDArray[np.float64]]:
    """Coefficients of the start, or of the poses near it that a histogram of grey values likes best."""
    none = np.zeros(len(directions))
    ndim = directions.shape[1] - 1
    if ndim != 2 or not any(reach):
        return [none]
    turns = np.radians(np.arange(-reach[0], reach[0] + _TURN_STEP / 2, _TURN_STEP)) if reach[0] else np.zeros(1)
    # A shift of one is half a width.
    shifts = np.arange(-2 * reach[1], 2 * reach[1] + _SHIFT_STEP / 2, _SHIFT_STEP) if reach[1] else np.zeros(1)
    measures = [
        MutualInformation(level.values[:, channel], level.moving[channel], bins=_COARSE_BINS)
        for channel in range(min(level.values.shape[1], len(level.moving) - 1))
    ]
    tried = []
    for turn in turns:
        for down in shifts:
            for across in shifts:
                coefficients = none.copy()
                coefficients[:3] = down, across, turn
                outer = level.index_from_moving @ start @ exponential(coefficients, directions)[0]
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


def seen(plane: Plane, neighbourhood: float) -> Stack:
    """What the critic sees of an image: its grey values, and how rough they are.

    Unlike instruments often agree on where there is structure rather than on how bright it is.

    Parameters
    ----------
    plane : Plane
        One channel.
    neighbourhood : float
        Width over which roughness is measured, in the unit of the plane.
    """
    small = plane.shrunk(float(np.sqrt(plane.area)) / _MOST_SIDE)
    sigma = max(1.0, neighbourhood / float(np.mean(small.grid.spacing)))
    detail = small.values - cv2.GaussianBlur(small.values, (0, 0), sigma / 2)
    rough = np.sqrt(np.maximum(cv2.GaussianBlur(detail * detail, (0, 0), sigma), 0))
    return Stack(np.stack([small.values, rough]), small.mask, small.grid)


def refine_neural(
    fixed: Plane,
    moving: Plane,
    moving_from_fixed: Affine | Projective,
    model: Model = "affine",
    *,
    sizes: Sequence[int] = (48, 96, 192, 384),
    reach: tuple[float, float] = (0.0, 0.0),
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
    neighbourhood = _NEIGHBOURHOOD * float(np.sqrt(min(fixed.area, moving.area / scale**2)))
    found = climb(
        seen(fixed, neighbourhood),
        seen(moving, neighbourhood * scale),
        moving_from_fixed.matrix,
        model,
        sizes=sizes,
        reach=reach,
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
