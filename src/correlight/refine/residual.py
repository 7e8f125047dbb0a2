"""A quick look at whether a linear map leaves a smooth field behind, before the work of fitting one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from correlight.refine.compared import Compared
from correlight.refine.described import described
from correlight.refine.held_out import QUARTERS, Checkerboard, gain
from correlight.refine.lattice import Lattice
from correlight.refine.related import related
from correlight.refine.samples import Comparison, LinearTransform
from correlight.refine.smooth_fit import Smoothness

# Working size, cells along the longest side, and weight of smoothness.
_SIZE, _CELLS, _WEIGHT = 256, {2: 6, 3: 3}, 2.5


def gain_of_a_step(pair: Comparison, pose: LinearTransform) -> float:
    """By how many standard errors places agree better after one step towards a field that others ask for.

    At every place, what both images say of each other has a slope and a curvature by the displacement. The smooth
    field that three quarters of the places ask for is found in one step, and what the last quarter would gain by it
    follows from its own slopes and curvatures; likewise for the other quarters. Where the linear map is right, slopes
    are noise, and a field that follows them gains nothing elsewhere.

    Parameters
    ----------
    pair : Comparison
        The two images.
    pose : Affine or Projective
        The linear map.

    Returns
    -------
    float
        0 where the images have nothing in common, or show too little.
    """
    level = next((level for level in pair.levels if level >= _SIZE), pair.levels[-1])
    images = described([pair], pose, level)
    relation = None if images is None else related(images, None)
    if images is None or relation is None:
        return 0.0
    compared = Compared.of(relation, fewer=True)
    ways = [compared.one_way(None, backward) for backward in (False, True)]
    pull, curvature = ways[0].pull + ways[1].pull, ways[0].curvature + ways[1].curvature
    lattice = Lattice.over(images.grid, _CELLS[images.grid.ndim])
    design, board = lattice.design(compared.points), Checkerboard.over(images.grid)
    # Places repeat each other, so that smoothness counts for more.
    penalty = Smoothness(_WEIGHT * compared.repeated(None)).penalty(lattice).toarray()
    gained = []
    for part in QUARTERS:
        fitted, held = (mask[tuple(compared.pixels.T)] for mask in (board.fitted(part), board.held_out(part)))
        moved = design[held] @ _step(design[fitted], pull[fitted], curvature[fitted], penalty)
        by_place = np.sum(pull[held] * moved, axis=1) + 0.5 * np.einsum("na,nab,nb->n", moved, curvature[held], moved)
        gained.append(board.means(-by_place, compared.pixels[held]))
    after = np.concatenate(gained)
    return gain(np.zeros(len(after)), after)


def _step(
    design: sparse.csr_array, pull: NDArray[np.float64], curvature: NDArray[np.float64], penalty: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Coefficients ``(count, D)`` in pixels, by one step of Gauss and Newton."""
    count, ndim = design.shape[1], pull.shape[1]
    normal = np.zeros((count, ndim, count, ndim))
    for one in range(ndim):
        for other in range(ndim):
            weighted = sparse.diags_array(curvature[:, one, other]) @ design
            normal[:, one, :, other] = (design.T @ weighted).toarray()
    size = count * ndim
    found = np.linalg.solve(normal.reshape(size, size) + penalty, -(design.T @ pull).ravel())
    return np.asarray(found.reshape(count, ndim))
