"""Gaussians fitted to candidate spots: those that touch together, and two where one does not do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import least_squares
from scipy.spatial import KDTree

from correlight.images.image import Float32, Mask
from correlight.progress import checkpoint

Numbers = NDArray[np.float64]

# Beads that overlap closer than this many widths are fitted together; one patch holds at most so many.
_TOUCHING, _MOST_JOINED = 4.0, 4
# Each further bead in a patch must lower the squared residual to this share, as a bead fewer explains noise as well.
_WORTH = 0.6
# A fit ends after so many steps, or when one moves it by less than this share of the width.
_ITERATIONS, _STILL = 20, 1e-3
_RIDGE = 1e-10
# A crowd of more candidates than this is parted: their joint fit would cost more than it is worth.
_CROWD = 10

# Widths to either side within which the axial width is measured, along z and across it, and the fewest voxels.
_AXIAL_WINDOW, _FEWEST_VOXELS = (5.0, 3.0, 3.0), 40


@dataclass(frozen=True, eq=False)
class SpotFit:
    """One bead as fitted: place and its error in pixels, height, width relative to the expected one, what is left."""

    place: Numbers
    error: Numbers
    height: float
    width: float
    explained: float
    left: float


def fit_spots(
    signed: Float32, valid: Mask, places: NDArray[np.int64], pixels: Numbers, *, part: bool = True
) -> Iterator[SpotFit]:
    """Gaussian fits to all candidates, those that touch together.

    Parameters
    ----------
    signed : array of float32
        Grey values in which spots are bright.
    valid : array of bool
        Pixels that count, same shape.
    places : (N, D) array of int
        Pixels where spots may be.
    pixels : (D,) array
        Expected standard deviation of a spot along each axis.
    part : bool
        Whether one blob that two spots fit much better is parted.

    Returns
    -------
    iterator of SpotFit
        Any number of them, as some candidates are two spots and some are none.
    """
    if not len(places):
        return
    tree = KDTree(places / pixels)
    near = tree.sparse_distance_matrix(tree, _TOUCHING, output_type="coo_matrix")
    count, label = sparse.csgraph.connected_components(near + sparse.eye(len(places)), directed=False)
    for group in range(count):
        crowd = places[label == group]
        crowd = crowd[np.argsort(crowd @ np.ones(crowd.shape[1]), kind="stable")]
        for some in np.array_split(crowd, -(-len(crowd) // _CROWD)):
            checkpoint()
            yield from _joint(signed, valid, some, pixels, part)


def axial_ratio(signed: Float32, valid: Mask, place: NDArray[np.int64], pixels: Numbers) -> float:
    """Ratio of axial and lateral width of one bead of a stack, relative to that of the expected widths.

    A Gaussian with both widths free is fitted within one window, large enough for a bead that is twice as long as
    expected; NaN where that fails.

    Parameters
    ----------
    signed : (Z, Y, X) array of float32
        Grey values in which spots are bright.
    valid : array of bool
        Pixels that count, same shape.
    place : (3,) array of int
        Where the bead is.
    pixels : (3,) array
        Expected standard deviation along each axis.
    """
    checkpoint()
    half_width = np.maximum(np.ceil(pixels * _AXIAL_WINDOW), 2).astype(int)
    low, high = np.maximum(place - half_width, 0), np.minimum(place + half_width + 1, signed.shape)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    index = np.argwhere(valid[window]) + low
    at, values = (index - place) / pixels, signed[tuple(index.T)].astype(float)
    if len(values) < _FEWEST_VOXELS:
        return float("nan")
    ground, top = float(np.percentile(values, 20)), float(values.max())

    def off(free: Numbers) -> Numbers:
        apart = (at - free[:3]) * np.exp(-free[[3, 4, 4]])
        return np.asarray(
            free[6] + free[5] * np.exp(-0.5 * np.sum(apart**2, axis=1)) - (values - ground) / (top - ground)
        )

    if not top > ground:
        return float("nan")
    bounds = ([-2, -2, -2, -1.7, -1.2, 0.1, -1], [2, 2, 2, 1.7, 1.2, 5, 1])
    # Neighbours in the window are outliers.
    found = least_squares(off, [0, 0, 0, 0, 0, 1, 0], bounds=bounds, loss="soft_l1", f_scale=0.1, max_nfev=30)
    return float(np.exp(found.x[3] - found.x[4])) if found.success else float("nan")


def _joint(signed: Float32, valid: Mask, starts: NDArray[np.int64], pixels: Numbers, part: bool) -> list[SpotFit]:
    """Fit beads that touch; more of them as long as each explains much of what was left."""
    half_width = np.maximum(np.ceil(3.0 * pixels), 2).astype(int)
    low = np.maximum(starts.min(axis=0) - half_width, 0)
    high = np.minimum(starts.max(axis=0) + half_width + 1, signed.shape)
    window = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    index = np.argwhere(valid[window]) + low
    distance = KDTree(starts / pixels).query(index / pixels)[0]
    index = index[distance <= 3.2]
    values = signed[tuple(index.T)].astype(float)
    if len(values) <= (signed.ndim + 1) * len(starts) + 4:
        return []
    best = _least_squares(index / pixels, values, starts / pixels)
    while part and best is not None and len(starts) == 1 and len(best.centres) < _MOST_JOINED:
        left = values - best.model
        further = (index / pixels)[np.argmax(_local_mean(index, left))]
        more = _least_squares(index / pixels, values, np.vstack([_aside(best.centres, further), further[None]]))
        if more is None or more.squares > _WORTH * best.squares or not more.apart:
            break
        best = more
    return [] if best is None else best.fits(pixels)


def _local_mean(index: NDArray[np.int64], left: Numbers) -> Numbers:
    """What is left over, averaged over neighbouring pixels so that one noisy pixel is no bead."""
    near = KDTree(index).query(index, k=min(9, len(index)))[1]
    return np.asarray(left[near].mean(axis=1))


def _aside(centres: Numbers, further: Numbers) -> Numbers:
    """The beads found so far, moved away a little from one that is added: they had stood for both."""
    away = centres - further
    return np.asarray(centres + 0.3 * away / np.maximum(np.linalg.norm(away, axis=1, keepdims=True), 1e-9))


@dataclass(frozen=True, eq=False)
class _Solution:
    """Beads of one width over a plane background, in units of the expected width."""

    centres: Numbers
    heights: Numbers
    width: float
    covariance: Numbers
    model: Numbers
    squares: float
    explained: float
    left: float

    @property
    def apart(self) -> bool:
        """Whether all beads are bright, and none lies upon another one."""
        if len(self.centres) < 2:
            return True
        closest = np.asarray(KDTree(self.centres).query(self.centres, k=2)[0])[:, 1].min()
        return bool(closest > 0.9 * self.width and self.heights.min() > 0.25 * self.heights.max())

    def fits(self, pixels: Numbers) -> list[SpotFit]:
        """One entry per bead, in pixels."""
        ndim = self.centres.shape[1]
        out = []
        for number, (centre, height) in enumerate(zip(self.centres, self.heights, strict=True)):
            where = slice(number * ndim, (number + 1) * ndim)
            error = np.sqrt(np.maximum(np.diag(self.covariance)[where], 0)) * pixels
            out.append(SpotFit(centre * pixels, error, float(height), self.width, self.explained, self.left))
        return out


def _least_squares(at: Numbers, values: Numbers, starts: Numbers) -> _Solution | None:
    """Centres and common width by damped Gauss-Newton steps; heights and background follow linearly at each."""
    ndim, count = at.shape[1], len(starts)
    parameters = np.append(np.asarray(starts, float).ravel(), 1.0)
    ground = np.column_stack([np.ones(len(at)), at - at.mean(axis=0)])
    damping = 1e-2
    state = _evaluated(at, values, parameters, ground, count)
    for _ in range(_ITERATIONS):
        checkpoint()
        residual, jacobian = state.residual, state.jacobian
        normal, slope = jacobian.T @ jacobian, jacobian.T @ residual
        diagonal = np.diag(normal)
        step = np.linalg.solve(normal + np.diag(damping * diagonal + _RIDGE * diagonal.max() + 1e-300), slope)
        trial = parameters + np.clip(step, -0.5, 0.5)
        trial[-1] = np.clip(trial[-1], 0.3, 3.0)
        after = _evaluated(at, values, trial, ground, count)
        if float(after.residual @ after.residual) < float(residual @ residual):
            parameters, state, damping = trial, after, damping / 4
            if np.max(np.abs(step)) < _STILL:
                break
        else:
            damping *= 8
            if damping > 1e6:
                break
    residual, jacobian, linear, model = state.residual, state.jacobian, state.linear, state.model
    degrees_of_freedom = len(values) - len(parameters) - len(linear)
    flat = values - ground @ np.linalg.lstsq(ground, values, rcond=None)[0]
    if degrees_of_freedom < 1 or not np.isfinite(residual).all() or float(flat @ flat) <= 0:
        return None
    squares = float(residual @ residual)
    inverse = np.linalg.pinv(jacobian.T @ jacobian, hermitian=True)
    # Photons are noisier where there are more of them, so that each pixel counts with its own residual (White 1980,
    # doi:10.2307/1912934), made up for what the fit took out of it.
    taken = np.sum(jacobian @ inverse * jacobian, axis=1) + state.taken
    own = residual**2 / np.maximum(1 - taken, 0.1)
    covariance = inverse @ (jacobian.T * own) @ jacobian @ inverse
    centres = parameters[:-1].reshape(count, ndim)
    explained = 1 - squares / float(flat @ flat)
    return _Solution(
        centres,
        linear[:count],
        float(parameters[-1]),
        covariance,
        model,
        squares,
        explained,
        squares / degrees_of_freedom,
    )


class _State(NamedTuple):
    """One point of the fit; the derivative is without what heights and background follow, ``taken`` is their share."""

    residual: Numbers
    jacobian: Numbers
    linear: Numbers
    model: Numbers
    taken: Numbers


def _evaluated(at: Numbers, values: Numbers, parameters: Numbers, ground: Numbers, count: int) -> _State:
    width = parameters[-1]
    apart = at[None] - parameters[:-1].reshape(count, 1, at.shape[1])
    squared = np.sum(apart**2, axis=2)
    shapes = np.exp(-0.5 * squared / width**2)
    basis = np.column_stack([shapes.T, ground])
    # Where two beads fall upon each other the heights are not determined; any will do, as that fit is not kept.
    square = basis.T @ basis
    inverse = np.linalg.inv(square + _RIDGE * np.trace(square) * np.eye(len(square)))
    linear = inverse @ (basis.T @ values)
    model = basis @ linear
    weighted = linear[:count, None] * shapes
    columns = [(weighted[n, :, None] * apart[n] / width**2) for n in range(count)]
    columns.append(np.sum(weighted * squared, axis=0)[:, None] / width**3)
    jacobian = np.hstack(columns)
    taken = np.sum(basis @ inverse * basis, axis=1)
    return _State(values - model, jacobian - basis @ (inverse @ (basis.T @ jacobian)), linear, model, taken)
