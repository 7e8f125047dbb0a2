"""Whether two images carry a smooth field beyond a linear map, how fine a one, and where it rests on evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid, Points
from correlight.images.image import Float32
from correlight.progress import checkpoint
from correlight.refine.discrete import Displacements, search_displacements
from correlight.refine.laid import Laid, laid, levels_of_field
from correlight.refine.lattice import Lattice
from correlight.refine.samples import Comparison, LinearTransform
from correlight.refine.smooth_fit import Compared, SmoothFit, fit_field, smoothed
from correlight.similarity import sample
from correlight.transforms import VelocityField

# Cells along the longest side, from coarse to fine; each is tried if the one before was carried.
_CELLS = {2: (2, 4, 6, 8, 12), 3: (2, 4, 6)}
# The checkerboard has this many fields along the longest side; places so near to another field are not fitted to.
_FIELDS, _MOAT = {2: 16, 3: 10}, 1.0
# A field must gain so many standard errors on the parts that it was not fitted to, a finer lattice over a coarser one.
_LEAST_GAIN, _LEAST_GAIN_OF_FINER = 2.0, 1.0
_FEWEST_FIELDS = 12
# A field that moves nearly all places by less than this many pixels of the features is none.
_LEAST_MOVED = 0.2
# Evidence: how far alikeness stands above that of places so many pixels aside, in standard deviations of theirs, over
# patches of this many pixels; so many are none, and so many are full.
_ASIDE, _OVER, _NONE, _FULL = 4.0, 9, 1.0, 3.0
# Parts with less evidence than this share are left out of the last fit.
_LITTLE = 0.25


@dataclass(frozen=True, eq=False)
class ElasticFit:
    """A smooth field beyond a linear map, with what says how far it can be trusted.

    Parameters
    ----------
    field : VelocityField
        From fixed to fixed positions; the linear map follows.
    halves : pair of VelocityField
        The same, fitted to either half of a checkerboard.
    other : VelocityField or None
        On the next finer lattice that was tried, or else on the next coarser one; None without.
    cells : int
        Cells of the lattice along the longest side.
    gain : float
        By how many standard errors it agrees better than the linear map on parts that it was not fitted to.
    evidence : (*grid.shape) array of float32
        From 0, where the field rests on smoothness alone, to 1, where the images themselves speak for it.
    grid : Grid
        Where the evidence stands, in the frame of the fixed image.
    """

    field: VelocityField
    halves: tuple[VelocityField, VelocityField]
    other: VelocityField | None
    cells: int
    gain: float
    evidence: NDArray[np.float32]
    grid: Grid

    def evidence_at(self, points: Points) -> NDArray[np.float64]:
        """Evidence at ``(N, D)`` places of the fixed image, from 0 to 1; 0 beyond what both images show."""
        index = self.grid.index(points).T
        return np.asarray(ndimage.map_coordinates(self.evidence, index, order=1, mode="constant", cval=0.0), float)

    @property
    def moved(self) -> NDArray[np.float64]:
        """Displacement beyond the linear map at every pixel of the evidence, in fixed units."""
        points = self.grid.lattice_of_pixels()
        return np.asarray(np.linalg.norm(self.field.displaced(points), axis=1).reshape(self.grid.shape))


@dataclass(frozen=True, eq=False)
class ElasticChoice:
    """The field that was carried, if any, and why.

    Parameters
    ----------
    fit : ElasticFit or None
        None where the linear map is kept.
    reason : str
        Why, in words.
    """

    fit: ElasticFit | None
    reason: str


def choose_field(pair: Comparison, pose: LinearTransform) -> ElasticChoice:
    """Fit a field as fine as held-out parts of the images justify, and none where they justify none.

    Lattices are fitted to each half of a checkerboard, from coarse to fine. The first that agrees better with the half
    that it was not fitted to, by two standard errors, is taken, and a finer one if it agrees better by one more.

    Parameters
    ----------
    pair : Comparison
        The two images.
    pose : Affine or Projective
        The linear map, right to a few percent of the width.
    """
    weighing, *finer = levels_of_field(pair)
    images = laid(pair, pose, weighing)
    if images is None or np.count_nonzero(images.shown) < 400:
        return ElasticChoice(None, "too little is shown by both images for a field, so the linear map was kept")
    trial = _Trial(images)
    trial.weigh()
    if trial.best is None:
        return ElasticChoice(
            None,
            f"a field would gain {trial.gain:.2f} standard errors on parts that it was not fitted to, less than the "
            f"{_LEAST_GAIN:.0f} asked for, so the linear map was kept",
        )
    fit = trial.fitted()
    evidence = evidence_of(images, fit.field)
    # The torn and the covered draw a field to where they seem to fit; without them it follows what is around.
    weights = ndimage.gaussian_filter(np.asarray(evidence > _LITTLE, np.float32), 1.0)
    last = images
    for level in finer:
        found = laid(pair, pose, level)
        assert found is not None
        last = found
        weights = _on(weights, images.grid, last.grid)
    fit = fit_field(Compared.of(last, weights), fit.lattice, fit.coefficients)
    moved = np.linalg.norm(fit.field.displaced(images.grid.lattice_of_pixels()), axis=1)
    if np.percentile(moved, 95) < _LEAST_MOVED * images.pixel:
        return ElasticChoice(None, "a field would move hardly anything, so the linear map was kept")
    even, odd = (half.field for half in trial.halves[trial.best])
    made = ElasticFit(
        fit.field, (even, odd), trial.other(), trial.best, trial.gain, evidence_of(images, fit.field), images.grid
    )
    if min(field.smallest_volume for field in (made.field, even, odd)) <= 0:
        return ElasticChoice(None, "the field that fits best folds, so the linear map was kept")
    return ElasticChoice(
        made,
        f"a field of {trial.best} cells along the longest side gains {trial.gain:.1f} standard errors over the linear "
        "map on parts that it was not fitted to",
    )


class _Trial:
    """Fits of every lattice to both halves of a checkerboard.

    Attributes
    ----------
    best : int or None
        Cells of the finest lattice that is carried.
    gain : float
        Over no field, in standard errors: of the best, or of the coarsest where none is carried.
    halves : dict of int to pair of SmoothFit
        By the number of cells.
    """

    def __init__(self, images: Laid) -> None:
        self._images = images
        self._all = Compared.of(images)
        self._fields = _Checkerboard.over(images.grid, self._all)
        self._found = search_displacements(images)
        self.best: int | None = None
        self.gain = 0.0
        self.halves: dict[int, tuple[SmoothFit, SmoothFit]] = {}

    def weigh(self) -> None:
        """Set the best lattice and its gain."""
        without = self._alike(None)
        carried = without
        failed = 0
        for cells in _CELLS[self._images.grid.ndim]:
            checkpoint()
            pair = self._fitted_halves(cells)
            self.halves[cells] = pair
            here = self._alike(pair)
            gain, overall = _gain(carried, here), _gain(without, here)
            if self.best is None:
                self.gain = max(self.gain, overall)
            if overall >= _LEAST_GAIN and gain >= (_LEAST_GAIN if self.best is None else _LEAST_GAIN_OF_FINER):
                self.best, self.gain, carried, failed = cells, overall, here, 0
                continue
            failed += 1
            # A coarse lattice may be too stiff to gain anything; one that is finer than needed gains no more.
            if (failed > 1 and self.best is not None) or failed > 2:
                return

    def fitted(self) -> SmoothFit:
        """The best lattice fitted to everything, from coarse to fine."""
        assert self.best is not None
        return self._chain(self._all, None, self.best)

    def other(self) -> VelocityField | None:
        """The mean of the halves on the lattice that was tried next, or on the one before."""
        assert self.best is not None
        tried = sorted(self.halves)
        place = tried.index(self.best)
        beside = tried[place + 1 : place + 2] or tried[max(0, place - 1) : place]
        if not beside:
            return None
        one, two = self.halves[beside[0]]
        return one.lattice.velocity((one.coefficients + two.coefficients) / 2)

    def _fitted_halves(self, cells: int) -> tuple[SmoothFit, SmoothFit]:
        before = max((tried for tried in self.halves), default=None)
        one, two = (
            self._fit(
                self._all.restricted(self._fields.fitted(half)),
                self._fields.odd_places(self._found.places, self._images.grid) == bool(half),
                cells,
                None if before is None else self.halves[before][half],
            )
            for half in (0, 1)
        )
        return one, two

    def _chain(self, compared: Compared, chosen: NDArray[np.bool_] | None, cells: int) -> SmoothFit:
        fit: SmoothFit | None = None
        for step in _CELLS[self._images.grid.ndim]:
            if step <= cells:
                fit = self._fit(compared, chosen, step, fit)
        assert fit is not None
        return fit

    def _fit(
        self, compared: Compared, chosen: NDArray[np.bool_] | None, cells: int, before: SmoothFit | None
    ) -> SmoothFit:
        """The best of fits that start from the coarser lattice and from displacements that were searched."""
        lattice = Lattice.over(self._images.grid, cells)
        starts: list[NDArray[np.float64] | None] = [None]
        if before is not None:
            starts = [before.on(lattice, compared.points)]
        if before is None or self.best is None:
            starts.append(_start(self._found, chosen, lattice, self._images.grid))
        fits = [fit_field(compared, lattice, start) for start in starts]
        return min(fits, key=lambda fit: fit.energy)

    def _alike(self, pair: tuple[SmoothFit, SmoothFit] | None) -> NDArray[np.float64]:
        """Mean alikeness of each field of the checkerboard under the fit to the other half; NaN where few lie."""
        made = []
        for half in (0, 1):
            chosen = self._fields.held_out(half)
            held = self._all.restricted(chosen)
            values = held.alikeness(None if pair is None else pair[half].field)
            made.append(self._fields.means(values, chosen))
        return np.concatenate(made)


@dataclass(frozen=True, eq=False)
class _Checkerboard:
    """Fields of a checkerboard over the pixels of the features, and the places in them."""

    shape: tuple[int, ...]
    counts: tuple[int, ...]
    number: NDArray[np.intp]
    odd: NDArray[np.bool_]
    inner: NDArray[np.bool_]

    @classmethod
    def over(cls, grid: Grid, compared: Compared) -> _Checkerboard:
        side = max(grid.extent) / _FIELDS[grid.ndim]
        counts = tuple(max(1, round(extent / side)) for extent in grid.extent)
        which = _which(compared.pixels, grid.shape, counts)
        sizes = np.asarray(grid.shape) / np.asarray(counts)
        within = (compared.pixels + 0.5) / sizes - which
        near = np.minimum(within, 1 - within) * sizes < _MOAT
        return cls(
            grid.shape,
            counts,
            np.asarray(np.ravel_multi_index(tuple(which.T), counts), np.intp),
            which.sum(axis=1) % 2 == 1,
            ~np.any(near & (np.asarray(counts) > 1), axis=1),
        )

    def fitted(self, half: int) -> NDArray[np.bool_]:
        """Places that one half is fitted to, not too near to the other."""
        return np.asarray((self.odd == bool(half)) & self.inner)

    def held_out(self, half: int) -> NDArray[np.bool_]:
        """Places of the other half, not too near to this one."""
        return np.asarray((self.odd != bool(half)) & self.inner)

    def odd_places(self, places: Points, grid: Grid) -> NDArray[np.bool_]:
        """Whether places in pixels of the features lie in dark fields."""
        which = _which(np.rint(places).astype(np.intp), grid.shape, self.counts)
        return np.asarray(which.sum(axis=1) % 2 == 1)

    def means(self, values: NDArray[np.float64], chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Mean of the values of the chosen places in every field; NaN where it has hardly any."""
        known = np.isfinite(values)
        number, total = self.number[chosen][known], int(np.prod(self.counts))
        sums = np.bincount(number, values[known], minlength=total)
        counts = np.bincount(number, minlength=total)
        full = counts >= 0.3 * max(1.0, counts[counts > 0].mean() if counts.any() else 1.0)
        return np.where(full, sums / np.maximum(counts, 1), np.nan)


def _which(pixels: NDArray[np.intp], shape: tuple[int, ...], counts: tuple[int, ...]) -> NDArray[np.intp]:
    share = pixels * np.asarray(counts) // np.asarray(shape)
    return np.asarray(np.clip(share, 0, np.asarray(counts) - 1), np.intp)


def _gain(before: NDArray[np.float64], after: NDArray[np.float64]) -> float:
    """Mean gain over the fields that both know, in standard errors."""
    gain = (after - before)[np.isfinite(before) & np.isfinite(after)]
    if len(gain) < _FEWEST_FIELDS:
        return 0.0
    return float(gain.mean() / max(gain.std(ddof=1) / np.sqrt(len(gain)), 1e-12))


def _start(found: Displacements, chosen: NDArray[np.bool_] | None, lattice: Lattice, grid: Grid) -> NDArray[np.float64]:
    """Coefficients that follow searched displacements, all of them or some."""
    weights = found.weights if chosen is None else found.weights * chosen
    points, vectors = grid.points(found.places), found.vectors * np.asarray(grid.spacing)
    return smoothed(lattice, points, vectors, weights, bending=0.1)


def evidence_of(images: Laid, field: VelocityField | None) -> NDArray[np.float32]:
    """Where two images speak for a field: alikeness under it, against that under displacements by a few pixels.

    Parameters
    ----------
    images : Laid
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
    here = _alike(images, led)
    aside = np.stack([_alike(images, led + _ASIDE * way) for way in _ways(grid)])
    spread = aside.std(axis=0)
    floor = 0.5 * float(np.median(spread[images.shown])) if images.shown.any() else 1.0
    height = (here - aside.mean(axis=0)) / np.maximum(spread, max(floor, 1e-6))
    share = np.clip((height - _NONE) / (_FULL - _NONE), 0.0, 1.0) * images.fixed_shown
    return np.asarray(share, np.float32)


def _ways(grid: Grid) -> NDArray[np.float64]:
    """Unit steps aside: eight in the plane, the edges and faces of a cube in space but for axes that are thin."""
    steps = np.indices((3,) * grid.ndim).reshape(grid.ndim, -1).T - 1.0
    steps[:, np.asarray(grid.shape) < 4 * _ASIDE] = 0.0
    steps = np.unique(steps, axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    return np.asarray(steps[lengths > 0] / lengths[lengths > 0, None])


def _alike(images: Laid, led: Points) -> NDArray[np.float64]:
    """Product of the features over a patch around every pixel, the moving ones at the places it is led to."""
    shape = images.grid.shape
    moving, _ = sample(images.moving, led)
    shown, _ = sample(images.moving_shown[None].astype(np.float32), led)
    inside = np.all((led >= 0) & (led <= np.asarray(shape) - 1.0), axis=1) & (shown[0] > 0.99)
    alike = np.einsum("cn,cn->n", images.fixed.reshape(len(images.fixed), -1), moving) * inside
    return np.asarray(ndimage.uniform_filter(alike.reshape(shape).astype(float), _OVER, mode="nearest"))


def _on(values: Float32, grid: Grid, other: Grid) -> Float32:
    """Values at the pixels of another grid of the same frame."""
    index = grid.index(other.lattice_of_pixels()).T
    return np.asarray(ndimage.map_coordinates(values, index, order=1, mode="nearest").reshape(other.shape), np.float32)
