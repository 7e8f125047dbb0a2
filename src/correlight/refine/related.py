"""What two images say of each other under a field: which of their features go together, and how closely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Mask
from correlight.refine.described import Described, Features, from_rows
from correlight.refine.grey_features import blurred
from correlight.similarity import as_rows, sample_values_of_rows
from correlight.transforms import Transform

# Places from which relations are learned.
_MOST_PLACES = 8_000
# What goes together at displacements by this share of the longest side, and so many pixels at least, does so by chance.
_ASIDE, _LEAST_ASIDE = 0.12, 8.0
# A relation counts if its correlation is so many times what chance gives; no correlation is taken for closer than this.
_ABOVE_CHANCE, _CLOSEST = 1.3, 0.95
# Canonical variates that count, at most, and by how much the covariances of features are kept from being singular.
_MOST_VARIATES, _RIDGE = 10, 0.01
# Features further than so many deviations from their mean count as so many.
_MOST = 4.0
_FEWEST = 200
# What chance makes, by the number of the features.
Chance = dict[int, float]
# What is assumed of features that mean the same in both images before their places are known.
_ASSUMED = 0.4


@dataclass(frozen=True, eq=False)
class Related:
    """Pairs of planes of two images, each normally distributed with a known correlation.

    Parameters
    ----------
    grid : Grid
        In the frame of the fixed image.
    fixed, moving : (C, *grid.shape) arrays of float32
        Of zero mean and unit variance where shown.
    fixed_shown, moving_shown : (*grid.shape) arrays of bool
        Where each image says something.
    closeness : (C,) array of float32
        Correlation of each pair of planes, above 0 and below 1.
    """

    grid: Grid
    fixed: Float32
    moving: Float32
    fixed_shown: Mask
    moving_shown: Mask
    closeness: NDArray[np.float32]

    @property
    def pixel(self) -> float:
        """Size of a pixel, geometric mean."""
        return float(np.prod(self.grid.spacing) ** (1 / self.grid.ndim))

    @property
    def shown(self) -> Mask:
        """Where both images say something."""
        return self.fixed_shown & self.moving_shown

    def thinned(self, most: int) -> Related:
        """The same with every second pixel, as often as one side has more than ``most`` of them.

        The side of a stack, which is often thin, is that of a cube of as many voxels.
        """
        shape = self.grid.shape
        side = max(shape) if len(shape) == 2 else float(np.prod(shape)) ** (1 / 3)
        if side <= most:
            return self
        every = (slice(None, None, 2),) * self.grid.ndim
        shape = self.fixed_shown[every].shape
        grid = Grid.of(shape, [2 * step for step in self.grid.spacing], self.grid.origin, self.grid.unit)
        planes = [
            np.stack([blurred(np.ascontiguousarray(plane), 0.8) for plane in side])
            for side in (self.fixed, self.moving)
        ]
        one, other = (side[(slice(None), *every)] for side in planes)
        shown = self.fixed_shown[every], self.moving_shown[every]
        return Related(grid, one * shown[0], other * shown[1], *shown, self.closeness).thinned(most)

    def exchanged(self) -> Related:
        """The same with fixed and moving exchanged."""
        return Related(self.grid, self.moving, self.fixed, self.moving_shown, self.fixed_shown, self.closeness)

    @property
    def information(self) -> float:
        """Information that both share at a place, in nats."""
        return float(-0.5 * np.sum(np.log(1 - self.closeness.astype(float) ** 2)))


def related(
    images: Described,
    field: Transform | None,
    chosen: Mask | None = None,
    chance: Chance | None = None,
) -> Related | None:
    """Learn which features go together under a field; None where nothing does.

    Descriptions whose planes mean the same in both images are related plane by plane, others by their canonical
    variates (Hotelling 1936, doi:10.1093/biomet/28.3-4.321). What the same features have in common under displacements
    that are certainly wrong is taken off.

    Parameters
    ----------
    images : Described
        Two images.
    field : Transform, optional
        From fixed to moving places under the linear map; none moves anything.
    chosen : (*grid.shape) array of bool, optional
        Pixels to learn from; all without.
    chance : dict, optional
        Correlations by chance that were found before; what is missing is found and kept there.
    """
    chance = {} if chance is None else chance
    grid = images.grid
    shown = images.fixed_shown if chosen is None else images.fixed_shown & chosen
    number = np.flatnonzero(shown)
    number = number[:: max(1, len(number) // _MOST_PLACES)]
    points = grid.points(np.stack(np.unravel_index(number, grid.shape), axis=-1))
    led = grid.index(points if field is None else field(points))
    far = max(_ASIDE * max(grid.shape), _LEAST_ASIDE)
    ways = [step for step in product((-1.0, 0.0, 1.0), repeat=grid.ndim) if np.count_nonzero(step) == 1]
    aside = [step for step in ways if grid.shape[int(np.flatnonzero(step)[0])] > 3 * far]
    made = []
    for which, features in enumerate(images.features):
        here = _Pairs.of(images, features, number, led)
        if here is None:
            continue
        if which not in chance:
            wrong = [_Pairs.of(images, features, number, led + far * np.asarray(step)) for step in aside]
            chance[which] = _by_chance([pair for pair in wrong if pair is not None], features.paired)
        found = _plane_by_plane(here, chance[which]) if features.paired else _canonical(here, chance[which])
        if found is not None:
            made.append((found, features))
    if not made:
        return None
    fixed = _variates([(f.fixed, found.fixed) for found, f in made], images.fixed_shown)
    moving = _variates([(f.moving, found.moving) for found, f in made], images.moving_shown)
    closeness = np.concatenate([found.closeness for found, _ in made]).astype(np.float32)
    return Related(grid, fixed, moving, images.fixed_shown, images.moving_shown, closeness)


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Features of both images at places that are believed to be the same, ``(N, C)`` each."""

    fixed: NDArray[np.float64]
    moving: NDArray[np.float64]

    @classmethod
    def of(cls, images: Described, features: Features, number: NDArray[np.intp], led: Points) -> _Pairs | None:
        shape = images.grid.shape
        inside = np.all((led >= 0) & (led <= np.asarray(shape) - 1.0), axis=1)
        near = np.clip(np.rint(led).astype(np.intp), 0, np.asarray(shape) - 1)
        seen = inside & images.moving_shown[tuple(near.T)]
        if np.count_nonzero(seen) < _FEWEST:
            return None
        fixed = as_rows(features.fixed).take(number[seen], axis=0)
        moving = sample_values_of_rows(as_rows(features.moving), shape, led[seen])
        return cls(np.asarray(fixed, float), np.asarray(moving, float))


@dataclass(frozen=True, eq=False)
class _Relation:
    """Affine maps from features to variates of unit variance, ``(C + 1, K)`` each, and the correlations ``(K,)``."""

    fixed: NDArray[np.float64]
    moving: NDArray[np.float64]
    closeness: NDArray[np.float64]


def _by_chance(wrong: list[_Pairs], paired: bool) -> float:
    """Correlation of features at places that have nothing to do with each other."""
    if not wrong:
        return 0.0
    if paired:
        return float(np.sqrt(np.mean([_standardised(pair)[1] ** 2 for pair in wrong])))
    return float(np.mean([_variates_of(pair)[2][0] for pair in wrong]))


def _plane_by_plane(here: _Pairs, chance: float) -> _Relation | None:
    maps, correlations = _standardised(here)
    return _kept(*maps, correlations, chance, len(correlations))


def _standardised(pair: _Pairs) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]:
    maps, values = [], []
    for side in (pair.fixed, pair.moving):
        mean, width = side.mean(axis=0), np.maximum(side.std(axis=0), 1e-9)
        maps.append(np.vstack([np.diag(1 / width), -mean / width]))
        values.append((side - mean) / width)
    return (maps[0], maps[1]), np.asarray(np.mean(values[0] * values[1], axis=0))


def _canonical(here: _Pairs, chance: float) -> _Relation | None:
    fixed, moving, correlations = _variates_of(here)
    return _kept(fixed, moving, correlations, chance, min(_MOST_VARIATES, len(correlations)))


def _variates_of(pair: _Pairs) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Maps to canonical variates and their correlations, greatest first."""
    count = len(pair.fixed)
    white, means, whitened = [], [], []
    for side in (pair.fixed, pair.moving):
        mean = side.mean(axis=0)
        covariance = (side - mean).T @ (side - mean) / count
        width = np.sqrt(np.maximum(np.diag(covariance), 1e-12))
        relative = covariance / np.outer(width, width) + _RIDGE * np.eye(len(width))
        root = np.linalg.inv(np.linalg.cholesky(relative)).T / width[:, None]
        white.append(root)
        means.append(mean)
        whitened.append((side - mean) @ root)
    left, correlations, right = np.linalg.svd(whitened[0].T @ whitened[1] / count, full_matrices=False)
    maps = [root @ turn for root, turn in zip(white, (left, right.T), strict=True)]
    one, other = (np.vstack([found, -mean @ found]) for found, mean in zip(maps, means, strict=True))
    return one, other, np.asarray(correlations)


def _kept(
    fixed: NDArray[np.float64],
    moving: NDArray[np.float64],
    correlations: NDArray[np.float64],
    chance: float,
    most: int,
) -> _Relation | None:
    """Relations that are closer than chance makes them, less what chance makes."""
    kept = np.flatnonzero(correlations[:most] > _ABOVE_CHANCE * chance + 1e-6)
    if len(kept) == 0:
        return None
    squared = np.maximum(correlations[kept] ** 2 - chance**2, 1e-3)
    return _Relation(fixed[:, kept], moving[:, kept], np.minimum(np.sqrt(squared), _CLOSEST))


def _variates(described: Sequence[tuple[Float32, NDArray[np.float64]]], shown: Mask) -> Float32:
    """Variates of planes by the maps to them, all in one array, whose values of a pixel lie beside each other."""
    rows = np.empty((shown.size, sum(to_variates.shape[1] for _, to_variates in described)), np.float32)
    first = 0
    for planes, to_variates in described:
        part = rows[:, first : first + to_variates.shape[1]]
        # Written over: of volumes each copy is a hundred megabytes.
        np.matmul(as_rows(planes), to_variates[:-1].astype(np.float32), out=part)
        part += to_variates[-1].astype(np.float32)
        first += to_variates.shape[1]
    np.clip(rows, -_MOST, _MOST, out=rows)
    rows *= shown.reshape(-1, 1)
    return from_rows(rows, shown.shape)


def assumed(images: Described) -> Related | None:
    """Relations that hold wherever the images lie: plane by plane, of those that mean the same; None without such.

    Parameters
    ----------
    images : Described
        Two images.
    """
    fixed: list[tuple[Float32, NDArray[np.float64]]] = []
    moving: list[tuple[Float32, NDArray[np.float64]]] = []
    for features in images.features:
        if not features.paired:
            continue
        for planes, shown, made in (
            (features.fixed, images.fixed_shown, fixed),
            (features.moving, images.moving_shown, moving),
        ):
            inside = planes[:, shown]
            if inside.size == 0:
                return None
            mean, width = inside.mean(axis=1), np.maximum(inside.std(axis=1), 1e-9)
            to_unit = np.vstack([np.diag(1 / width), -mean / width])
            made.append((planes, np.asarray(to_unit, float)))
    if not fixed:
        return None
    one, other = _variates(fixed, images.fixed_shown), _variates(moving, images.moving_shown)
    closeness = np.full(len(one), _ASSUMED, np.float32)
    return Related(images.grid, one, other, images.fixed_shown, images.moving_shown, closeness)
