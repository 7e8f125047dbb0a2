"""The first step of an elastic fit: whole displacements, of which every one within reach is tried."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Points
from correlight.images.image import Float32
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
    close = images.closeness
    # Logarithm of the likelihood of two variates over that of two that have nothing in common.
    weighed = images.fixed * (close / (1 - close**2)).reshape(-1, *[1] * ndim)
    self_weight = 0.5 * close**2 / (1 - close**2)
    own = np.einsum("c,c...->...", self_weight, images.fixed**2) - np.float32(images.information)
    theirs = np.einsum("c,c...->...", self_weight, images.moving**2)
    shape = images.grid.shape
    patches = [_patches(n, ndim) for n in shape]
    found = np.empty((len(steps), *(len(one) for one in patches)), np.float32)
    for number, step in enumerate(steps):
        checkpoint()
        here = tuple(slice(max(0, -s), n - max(0, s)) for s, n in zip(step, shape, strict=True))
        there = tuple(slice(max(0, s), n - max(0, -s)) for s, n in zip(step, shape, strict=True))
        both = images.fixed_shown[here] & images.moving_shown[there]
        unlike = own[here] + theirs[there]
        unlike -= np.einsum("c...,c...->...", weighed[:, *here], images.moving[:, *there])
        # What is not shown by both costs as much as features that have nothing in common.
        cost = np.zeros(shape, np.float32)
        np.multiply(unlike, both, out=cost[here])
        found[number] = _over_patches(cost, patches)
    return found


@cache
def _patches(count: int, ndim: int) -> Float32:
    """What takes ``count`` pixels along an axis to means over the patches around the asked ones; edges are repeated."""
    asked, patch = np.arange(0, count, _EVERY[ndim]), np.arange(-_PATCH[ndim], _PATCH[ndim] + 1)
    means = np.zeros((len(asked), count), np.float32)
    places = np.clip(asked[:, None] + patch, 0, count - 1)
    np.add.at(means, (np.arange(len(asked))[:, None], places), np.float32(1 / len(patch)))
    return means


def _over_patches(cost: Float32, patches: list[Float32]) -> Float32:
    """Means over the patches around the asked places, along one axis after the other, so that the last has few."""
    if cost.ndim == 3:
        cost = (patches[0] @ cost.reshape(len(cost), -1)).reshape(-1, *cost.shape[1:])
    return np.asarray(patches[-2] @ cost @ patches[-1].T)
