"""Pairs that are not what they claim to be: entered twice, exchanged with another, or mistyped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, spatial, special

from correlight.errors import TransformError
from correlight.geometry import Points
from correlight.landmarks.estimate import LinearEstimate, estimate
from correlight.landmarks.expected import Estimate, LandmarkModel
from correlight.landmarks.linear import fit, fre
from correlight.transforms.motions import LinearModel, Motions

Float64 = NDArray[np.float64]
Fault = Literal["outlier", "swapped", "twice", "same place"]

# A landmark is suspected if any of all is so far off by chance once in a thousand sets ...
_CHANCE = 1e-3
# ... and if it is so many times worse than the rest: what is only a little worse is no blunder.
_TIMES_WORSE = 4.0
# No more than this share of the landmarks is ever suspected, and no more than this number is looked for.
_MOST_SHARE, _MOST, _MOST_OF_SPLINES = 1 / 3, 10, 4
# Places closer than this share of the spread of the landmarks are one place.
_SAME = 1e-6
# Among more landmarks than this, two that are exchanged do not hide each other, and trying all pairs takes long.
_MOST_TO_CROSS = 40
# Among more landmarks than this, those that stand out from a spline are taken away together: a fit takes long then, and
# one landmark of so many hardly moves it elsewhere.
_MOST_ONE_BY_ONE = 60


@dataclass(frozen=True, slots=True)
class Suspect:
    """One or two landmarks with something wrong about them.

    Parameters
    ----------
    pairs : tuple of int
        Their 0-based numbers.
    fault : {"outlier", "swapped", "twice", "same place"}
        What is wrong: far from where the others put it; moving points of two exchanged; one pair entered twice; two
        pairs that share a place in one image only.
    times_worse : float
        How far it lies from where the others put it, over what is usual among the others; NaN for pairs in one place.
    error_with, error_without : float
        How far a landmark lies from where the others put it, root mean square over all landmarks and over those not
        suspected, in the fixed unit.
    hint : str
        Which coordinate would explain it; empty if none does.
    """

    pairs: tuple[int, ...]
    fault: Fault
    times_worse: float
    error_with: float
    error_without: float
    hint: str = ""

    def sentence(self, names: Sequence[str], symbol: str) -> str:
        """What is wrong, in words, with names of the landmarks and the symbol of the fixed unit."""
        told = " and ".join(names[index] for index in self.pairs)
        if self.fault == "twice":
            return f"Pairs {told} are the same pair entered twice; it counts double."
        if self.fault == "same place":
            return f"Pairs {told} share one place in one image and not in the other; one of them is wrong."
        falls = f"the error falls from {self.error_with:.3g} to {self.error_without:.3g} {symbol}"
        if self.fault == "swapped":
            return f"Pairs {told} look exchanged: with their moving points swapped {falls}."
        hint = f" ({self.hint})" if self.hint else ""
        return f"Pair {told} is {self.times_worse:.0f} times worse than the rest{hint}; without it {falls}."


def suspects(fixed_points: ArrayLike, moving_points: ArrayLike, model: LandmarkModel = "affine") -> tuple[Suspect, ...]:
    """Landmarks that do not go together with the others under a kind of transform.

    Parameters
    ----------
    fixed_points, moving_points : (N, D) arrays
        The landmarks, as for `estimate`.
    model : str
        The kind of transform that they are held against.

    Returns
    -------
    tuple of Suspect
        Worst first; empty if nothing is wrong, or if there are too few landmarks to tell which one is wrong (at least
        two more are needed than determine the transform).

    Notes
    -----
    The worst landmark is taken away again and again, and only then is it decided how many of those were wrong, because
    two blunders can hide each other [1]_. Each is held against a fit to those that are left; those that agree with the
    final fit after all are taken back.

    References
    ----------
    .. [1] B. Rosner, Technometrics 25, 165 (1983). doi:10.1080/00401706.1983.10487848

    Examples
    --------
    >>> fixed = np.array([[0, 0], [0, 9], [9, 0], [9, 9], [4, 5], [2, 7.0]])
    >>> moving = 2 * fixed + [[0.1, 0], [0, 0.1], [-0.1, 0], [0, -0.1], [0, 0], [0, 60]]
    >>> [found] = suspects(fixed, moving)
    >>> found.pairs, found.hint
    ((5,), 'its moving x is 74 where 14 would fit')
    """
    fixed, moving = np.asarray(fixed_points, float), np.asarray(moving_points, float)
    found = list(_in_one_place(fixed, moving))
    left_out = {suspect.pairs[1] for suspect in found if suspect.fault == "twice"}
    kept = np.array([index for index in range(len(fixed)) if index not in left_out])
    crossed, exchanged = _uncrossed(fixed, moving, kept, model)
    wrong = _outliers(fixed, crossed, model, kept.tolist())
    if not wrong and not exchanged:
        return tuple(found)
    kept = np.array([index for index in kept if index not in wrong])
    rest = estimate(fixed[kept], crossed[kept], model)
    error_with, error_without = _error(estimate(fixed, moving, model)), _error(rest)
    usual = max(error_without, _SAME * _spread(fixed))
    fits = _Fits(rest, fixed, moving, len(fixed))
    for first, second in combinations(wrong, 2):
        others = {first, second}
        if not others & {*chain(*exchanged)} and fits(fixed[[first, second]], moving[[second, first]]).all():
            exchanged.append((first, second))
    found += [Suspect(pair, "swapped", np.nan, error_with, error_without) for pair in exchanged]
    wrong = [index for index in wrong if index not in {*chain(*exchanged)}]
    for index in wrong:
        times = float(np.linalg.norm(_misfit(rest, fixed[[index]], moving[[index]]))) / usual
        hint = _hint(fits, fixed[index], moving[index])
        found.append(Suspect((index,), "outlier", times, error_with, error_without, hint))
    return tuple(found)


def _in_one_place(fixed: Points, moving: Points) -> Iterator[Suspect]:
    near = [(points, _SAME * _spread(points)) for points in (fixed, moving)]
    for first, second in sorted({pair for points, reach in near for pair in _together(points, reach)}):
        same = [float(np.linalg.norm(points[first] - points[second])) <= reach for points, reach in near]
        if any(same):
            yield Suspect((first, second), "twice" if all(same) else "same place", np.nan, np.nan, np.nan)


def _together(points: Points, reach: float) -> Iterator[tuple[int, int]]:
    """The first landmark in each place with every other one there; not all pairs, of which there may be millions."""
    places, at = np.unique(points, axis=0, return_inverse=True)
    close = spatial.cKDTree(places).query_pairs(reach, output_type="ndarray")
    joined = sparse.coo_array((np.ones(len(close)), (close[:, 0], close[:, 1])), shape=(len(places),) * 2)
    labels = sparse.csgraph.connected_components(joined, directed=False)[1][at.ravel()]
    _, first, back = np.unique(labels, return_index=True, return_inverse=True)
    for index, one in enumerate(first[back.ravel()].tolist()):
        if one != index:
            yield one, index


def _uncrossed(
    fixed: Points, moving: Points, kept: NDArray[np.intp], model: LandmarkModel
) -> tuple[Points, list[tuple[int, int]]]:
    """The moving points after undoing every exchange that makes the whole fit many times better, and these exchanges.

    Two landmarks far out that are exchanged can turn the fit over, and then hide each other from `_outliers`.
    """
    simple: LinearModel = "affine" if model == "thin-plate" or model == "elastic" else model
    crossed = moving.copy()
    exchanged: list[tuple[int, int]] = []
    if len(kept) > _MOST_TO_CROSS:
        return crossed, []
    try:
        error = fre(fit(fixed[kept], moving[kept], simple), fixed[kept], moving[kept])
        # With too few landmarks to spare some exchange always helps.
        if len(kept) * fixed.shape[1] < Motions.among(fixed[kept], simple).count + 3 * fixed.shape[1]:
            return crossed, []
        while len(exchanged) < _MOST:
            least, best = np.inf, (0, 0)
            for first, second in combinations(kept.tolist(), 2):
                trial = crossed.copy()
                trial[[first, second]] = crossed[[second, first]]
                found = fre(fit(fixed[kept], trial[kept], simple), fixed[kept], trial[kept])
                least, best = min((least, best), (found, (first, second)))
            if not least < error / _TIMES_WORSE:
                break
            crossed[list(best)] = crossed[list(best[::-1])]
            exchanged.append(best)
            error = max(least, _SAME * _spread(moving))
    except TransformError:
        return moving.copy(), []
    return crossed, exchanged


def _outliers(fixed: Points, moving: Points, model: LandmarkModel, indices: list[int]) -> list[int]:
    """The landmarks that do not belong to the others, worst first."""
    kept, taken, significant = np.array(indices), [], 0
    spline = model in ("thin-plate", "elastic")
    most = _MOST_OF_SPLINES if spline else _MOST
    try:
        if spline and len(kept) > _MOST_ONE_BY_ONE:
            return _outliers_together(fixed, moving, model, kept, most)
        found = estimate(fixed[kept], moving[kept], model)
        for _ in range(min(int(_MOST_SHARE * len(indices)), most)):
            worst = int(np.nanargmax(_standing_out(found)))
            index, kept = kept[[worst]], np.delete(kept, worst)
            found = estimate(fixed[kept], moving[kept], model)
            if found.degrees_of_freedom < fixed.shape[1]:
                break
            taken.append(int(index[0]))
            if not _Fits(found, fixed, moving, len(indices))(fixed[index], moving[index])[0]:
                significant = len(taken)
    except (TransformError, ValueError):
        # What is left does not determine the transform any more; those taken before are still to be judged.
        pass
    wrong = taken[:significant]
    if not wrong:
        return []
    kept = np.array([index for index in indices if index not in wrong])
    belongs = _Fits(estimate(fixed[kept], moving[kept], model), fixed, moving, len(indices))
    return [index for index in wrong if not belongs(fixed[[index]], moving[[index]])[0]]


def _outliers_together(
    fixed: Points, moving: Points, model: LandmarkModel, kept: NDArray[np.intp], most: int
) -> list[int]:
    """The same by two fits: with all landmarks, and without those that stand out most."""
    out = np.nan_to_num(_standing_out(estimate(fixed[kept], moving[kept], model)), nan=-1.0)
    worst = kept[np.argsort(-out, kind="stable")[:most]]
    rest = np.setdiff1d(kept, worst)
    belongs = _Fits(estimate(fixed[rest], moving[rest], model), fixed, moving, len(kept))
    return [int(index) for index in worst if not belongs(fixed[[index]], moving[[index]])[0]]


class _Fits:
    """Whether pairs agree with an estimate that they had no part in."""

    def __init__(self, rest: Estimate, fixed: Points, moving: Points, count: int) -> None:
        self.rest, self.all_fixed = rest, fixed
        ndim = fixed.shape[1]
        self.limit = float(special.fdtri(ndim, max(rest.degrees_of_freedom, 1), 1 - _CHANCE / count))
        # What a spline leaves at its landmarks says nothing; what the others make of each does.
        self.usual = rest.fle if isinstance(rest, LinearEstimate) else _error(rest)

    def __call__(self, fixed: Points, moving: Points) -> NDArray[np.bool_]:
        off = _misfit(self.rest, fixed, moving)
        expected = self.rest.covariances(fixed) + self.rest.landmark_covariances.mean(axis=0)
        likely = _unlikely(off, expected, self.all_fixed) <= self.limit
        small = np.linalg.norm(off, axis=1) <= _TIMES_WORSE * self.usual
        return np.asarray(likely | small)


def _standing_out(found: Estimate) -> Float64:
    """How unlikely each landmark is given the others, shape ``(N,)``, by a fit to all of them."""
    if not isinstance(found, LinearEstimate):
        return _unlikely(found.left_out, found.left_out_covariances, found.fixed)
    # A fit is drawn towards each landmark by the covariance of its error there, which its residual then lacks.
    return _unlikely(found.residuals, found.landmark_covariances - found.covariances(found.fixed), found.fixed)


def _misfit(rest: Estimate, fixed: Points, moving: Points) -> Float64:
    """How far pairs lie from where an estimate puts them, in the fixed image, shape ``(N, D)``."""
    apart = moving - rest.moving_from_fixed(fixed)
    return np.asarray(np.linalg.solve(rest.moving_from_fixed.jacobian(fixed), apart[..., None])[..., 0])


def _unlikely(off: Float64, covariances: Float64, fixed: Points) -> Float64:
    """Squared misfit per axis over what was expected, shape ``(N,)``; NaN stays NaN."""
    # Landmarks that agree to the last digit have no scatter to be compared with.
    least = (_SAME * _spread(fixed)) ** 2 * np.eye(off.shape[1])
    known = np.isfinite(off).all(axis=1)
    result = np.full(len(off), np.nan)
    inverse = np.linalg.inv(covariances[known] + least)
    result[known] = np.einsum("na,nab,nb->n", off[known], inverse, off[known]) / off.shape[1]
    return result


def _error(found: Estimate) -> float:
    return float(np.sqrt(np.nanmean(np.sum(found.left_out**2, axis=1))))


def _spread(points: Points) -> float:
    return float(np.sqrt(np.mean((points - points.mean(axis=0)) ** 2)))


def _hint(fits: _Fits, fixed: Points, moving: Points) -> str:
    """Which single slip would explain a pair that is off."""
    ndim = len(fixed)
    if ndim == 2 and fits(fixed[None], moving[None, ::-1])[0]:
        return "its moving coordinates look exchanged"
    if ndim == 2 and fits(fixed[None, ::-1], moving[None])[0]:
        return "its fixed coordinates look exchanged"
    expected = fits.rest.moving_from_fixed(fixed[None])[0]
    for axis in range(ndim):
        mended = moving.copy()
        mended[axis] = expected[axis]
        if fits(fixed[None], mended[None])[0]:
            return f"its moving {'zyx'[axis - ndim]} is {moving[axis]:.4g} where {expected[axis]:.3g} would fit"
    # A slip in the fixed image is sought by the way back, near which every smooth map is affine.
    place = fixed + _misfit(fits.rest, fixed[None], moving[None])[0]
    for axis in range(ndim):
        mended = fixed.copy()
        mended[axis] = place[axis]
        if fits(mended[None], moving[None])[0]:
            return f"its fixed {'zyx'[axis - ndim]} is {fixed[axis]:.4g} where {place[axis]:.3g} would fit"
    return ""
