"""Where two images speak for a field, and how far it may be off if they do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid, Points
from correlight.images.image import Mask
from correlight.refine.related import Related
from correlight.refine.smooth_fit import Problem, SmoothFit
from correlight.similarity import as_rows, sample_values_of_rows
from correlight.transforms import VelocityField

# Evidence: how far alikeness stands above that of places aside by this share of the longest side, in standard
# deviations of theirs, over patches of this share (and of so many pixels at least); so many deviations are none, and so
# many are full.
_ASIDE, _LEAST_ASIDE, _OVER, _LEAST_OVER, _NONE, _FULL = 0.06, 4.0, 0.1, {2: 9, 3: 6}, 1.0, 3.0
# Deviations are computed at so many places a cell along each axis.
_PLACES_A_CELL = 3


def evidence_of(images: Related, field: VelocityField | None) -> NDArray[np.float32]:
    """Where two images speak for a field: alikeness under it, against that under displacements by a few pixels.

    Parameters
    ----------
    images : Related
        Features of both.
    field : VelocityField or None
        From fixed to fixed positions; None for none.

    Returns
    -------
    (*grid.shape) array of float32
        From 0 to 1.
    """
    grid = images.grid
    points = grid.lattice_of_pixels()
    led = grid.index(points if field is None else field(points))
    rows = _Rows.of(images)
    here = _alike(images, rows, led)
    aside = np.stack([_alike(images, rows, led + _far(grid) * way) for way in _ways(grid)])
    spread = aside.std(axis=0)
    floor = 0.5 * float(np.median(spread[images.shown])) if images.shown.any() else 1.0
    height = (here - aside.mean(axis=0)) / np.maximum(spread, max(floor, 1e-6))
    share = np.clip((height - _NONE) / (_FULL - _NONE), 0.0, 1.0) * images.fixed_shown
    return np.asarray(share, np.float32)


def shown_by_both(images: Related, field: VelocityField | None) -> Mask:
    """Where the fixed image shows something and is led to where the moving one does; arguments as of `evidence_of`."""
    grid = images.grid
    points = grid.lattice_of_pixels()
    led = grid.index(points if field is None else field(points))
    return images.fixed_shown & _inside(images, _Rows.of(images), led).reshape(grid.shape)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Variates with one row per pixel, the fixed ones times what they tell, and where moving is shown."""

    fixed: NDArray[np.float32]
    moving: NDArray[np.float32]
    moving_shown: NDArray[np.float32]

    @classmethod
    def of(cls, images: Related) -> _Rows:
        """Of two images."""
        close = images.closeness
        fixed = as_rows(images.fixed) * (close / (1 - close**2))
        return cls(fixed, as_rows(images.moving), as_rows(images.moving_shown[None].astype(np.float32)))


def _ways(grid: Grid) -> NDArray[np.float64]:
    """Unit steps aside: eight in the plane, the edges and faces of a cube in space but for axes that are thin."""
    steps = np.indices((3,) * grid.ndim).reshape(grid.ndim, -1).T - 1.0
    steps[:, np.asarray(grid.shape) < 4 * _far(grid)] = 0.0
    steps = np.unique(steps, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    return np.asarray(steps[lengths > 0] / lengths[lengths > 0, None])


def _alike(images: Related, rows: _Rows, led: Points) -> NDArray[np.float64]:
    """Product of variates over a patch around every pixel, the moving ones at the places it is led to."""
    shape = images.grid.shape
    moving = sample_values_of_rows(rows.moving, shape, led)
    alike = np.einsum("nc,nc->n", rows.fixed, moving) * _inside(images, rows, led)
    over = max(_LEAST_OVER[len(shape)], round(_OVER * max(shape)))
    return np.asarray(ndimage.uniform_filter(alike.reshape(shape).astype(float), over, mode="nearest"))


def _inside(images: Related, rows: _Rows, led: Points) -> NDArray[np.bool_]:
    """Whether the moving image shows something at places."""
    shape = images.grid.shape
    shown = sample_values_of_rows(rows.moving_shown, shape, led)[:, 0]
    return np.asarray(np.all((led >= 0) & (led <= np.asarray(shape) - 1.0), axis=1) & (shown > 0.99))


def _far(grid: Grid) -> float:
    return max(_ASIDE * max(grid.shape), _LEAST_ASIDE)


def deviation_of(grid: Grid, problem: Problem, fit: SmoothFit, repeated: float) -> NDArray[np.float32]:
    """Standard deviation of the displacement at every pixel of a grid, in its unit.

    Of a field that is normally distributed with the penalty as its precision, after what the images say; where they
    say nothing it is as far as the field moves elsewhere.

    Parameters
    ----------
    grid : Grid
        Where it is asked for, over the field of the features.
    problem : Problem
        What was minimised.
    fit : SmoothFit
        Its minimum.
    repeated : float
        How many places speak for each that would speak for itself.
    """
    data, prior = problem.normal(fit.coefficients)
    covariance = np.linalg.inv((data + prior) / max(repeated, 1.0))
    counts = [max(2, _PLACES_A_CELL * n + 1) for n in fit.lattice.cells]
    lines = [np.linspace(0, n - 1, count) for n, count in zip(grid.shape, counts, strict=True)]
    index = np.stack(np.meshgrid(*lines, indexing="ij"), axis=-1).reshape(-1, grid.ndim)
    design = fit.lattice.design(grid.points(index))
    variance = np.zeros(len(index))
    for axis, step in enumerate(problem.spacing):
        own = covariance[axis :: grid.ndim, axis :: grid.ndim]
        variance += np.maximum(np.asarray((design @ own * design.toarray()).sum(axis=1)), 0.0) * step**2
    coarse = np.sqrt(variance).reshape(counts)
    places = np.indices(grid.shape).reshape(grid.ndim, -1).astype(float)
    scale = np.array([(count - 1) / max(n - 1, 1) for n, count in zip(grid.shape, counts, strict=True)])
    made = ndimage.map_coordinates(coarse, places * scale[:, None], order=1, mode="nearest")
    return np.asarray(made.reshape(grid.shape), np.float32)
