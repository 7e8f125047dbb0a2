"""The first step of an elastic fit: whole displacements, of which every one within reach is tried."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Points
from correlight.images.image import Float32, Mask
from correlight.progress import checkpoint
from correlight.refine.related import Related

# A place is compared over so many pixels of the features to either side, and every so many-th pixel is asked.
_PATCH, _EVERY = {2: 4, 3: 2}, {2: 4, 3: 3}
# Displacements reach over this share of the longest side, and in so many steps at most.
_REACH, _MOST_STEPS = 0.09, {2: 12, 3: 5}
# Rounds in which data and smoothness approach each other, and how strongly they are tied in each (as a share of how
# far the costs of a place vary, per squared step).
_TIES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
# Smoothness: a Gaussian of so many asked places.
_SMOOTH = 1.5
# A displacement counts where that of the other direction leads back to within so many steps, and the less the further.
_CONSISTENT = 1.5


@dataclass(frozen=True, eq=False)
class Displacements:
    """Displacements that were found at some places.

    Parameters
    ----------
    points : (N, D) array
        Places in the frame of the fixed image.
    vectors : (N, D) array
        From the fixed to the moving image, in its unit.
    weights : (N,) array
        From 0 to 1: how far both directions agree.
    """

    points: Points
    vectors: Points
    weights: NDArray[np.float64]


def search_displacements(images: Related) -> Displacements:
    """Displacements by coupled convex optimisation, in both directions.

    The costs of all displacements within reach are computed once: how unlikely they are over a patch. Then
    every place takes the displacement that is cheap for itself and near a smooth field, and the field is smoothed
    anew, tied ever more strongly (Heinrich et al. 2014, doi:10.1007/978-3-319-10404-1_83). Half the difference of both
    directions is what remains; where they contradict each other it counts little.

    Parameters
    ----------
    images : Laid
        The two images.
    """
    there, back = _one_way(images), _one_way(images.exchanged())
    every = _EVERY[images.grid.ndim]
    shape = there.shape[1:]
    index = np.indices(shape, float)
    # What the other direction says at the place that this one leads to.
    met = np.stack([ndimage.map_coordinates(part, index + there / every, order=1, mode="nearest") for part in back])
    off = np.linalg.norm(there + met, axis=0)
    weights = np.exp(-((off / _CONSISTENT) ** 2))
    weights *= images.shown[tuple(slice(None, None, every) for _ in shape)]
    vectors = (there - met) / 2
    ndim = len(shape)
    points = images.grid.points(index.reshape(ndim, -1).T * every)
    steps = vectors.reshape(ndim, -1).T * np.asarray(images.grid.spacing)
    return Displacements(points, steps, np.asarray(weights.ravel(), float))


def _one_way(images: Related) -> NDArray[np.float64]:
    """Displacements ``(D, ...)`` at every asked place, in pixels of the features."""
    ndim = images.grid.ndim
    reach = [
        min(_MOST_STEPS[ndim], max(1, round(_REACH * max(images.grid.extent) / step)), max(0, n // 4))
        for n, step in zip(images.grid.shape, images.grid.spacing, strict=True)
    ]
    steps = np.array(list(product(*(range(-far, far + 1) for far in reach))))
    costs = _costs(images, steps)
    spread = float(np.median(costs.std(axis=0))) + 1e-9
    shape = costs.shape[1:]
    smooth = np.zeros((ndim, *shape))
    for tie in _TIES:
        checkpoint()
        chosen = np.zeros(shape, np.intp)
        least = np.full(shape, np.inf)
        for number, step in enumerate(steps):
            apart = np.sum((smooth - step.reshape(-1, *[1] * ndim)) ** 2, axis=0)
            cost = costs[number] + np.float32(tie * spread) * apart
            better = cost < least
            chosen[better], least[better] = number, cost[better]
        found = np.moveaxis(steps[chosen], -1, 0).astype(float)
        smooth = np.stack([ndimage.gaussian_filter(part, _SMOOTH, mode="nearest") for part in found])
    return smooth


def _costs(images: Related, steps: NDArray[np.intp]) -> Float32:
    """How unlikely each step is over a patch, in nats, shape ``(steps, ...)`` over the asked places."""
    ndim = images.grid.ndim
    every, width = _EVERY[ndim], 2 * _PATCH[ndim] + 1
    asked = tuple(slice(None, None, every) for _ in range(ndim))
    made = []
    close = images.closeness
    # Logarithm of the likelihood of two variates over that of two that have nothing in common.
    weighed = images.fixed * (close / (1 - close**2)).reshape(-1, *[1] * ndim)
    self_weight = 0.5 * close**2 / (1 - close**2)
    own = np.einsum("c,c...->...", self_weight, images.fixed**2) - np.float32(images.information)
    for step in steps:
        checkpoint()
        moved, shown = _shifted(images.moving, step), _shifted(images.moving_shown[None], step)[0]
        both = images.fixed_shown & shown
        alike = np.einsum("c...,c...->...", weighed, moved) - own - np.einsum("c,c...->...", self_weight, moved**2)
        # What is not shown by both costs as much as features that have nothing in common.
        cost = np.where(both, -alike, np.float32(0.0))
        made.append(ndimage.uniform_filter(cost, width, mode="nearest")[asked])
    return np.stack(made)


def _shifted(planes: Float32 | Mask, step: NDArray[np.intp]) -> Float32:
    """What lies ``step`` pixels further on, at every pixel; zero beyond the edge."""
    shape = planes.shape[1:]
    out = np.zeros_like(planes)
    here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, shape, strict=True))
    there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, shape, strict=True))
    out[(slice(None), *here)] = planes[(slice(None), *there)]
    return np.asarray(out)
