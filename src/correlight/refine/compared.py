"""Places at which two images are compared under a field, and what each image says there of the other."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Mask
from correlight.refine.related import Related
from correlight.similarity import as_rows, sample_rows, sample_values_of_rows
from correlight.transforms import Transform

# Places at which features are compared, and while a fit is only looking for where it ends.
_MOST_PLACES, _FEWER_PLACES = {2: 20_000, 3: 8_000}, {2: 6_000, 3: 8_000}
# Scores are summed over patches of so many to the longest side to see how much less places say than if each spoke for
# itself.
_PATCHES = {2: 16, 3: 10}


@dataclass(frozen=True, eq=False)
class Compared:
    """Places at which two images are compared under a field.

    Parameters
    ----------
    images : Related
        Features of both and how they go together.
    pixels : (N, D) array of int
        The pixel of the features that each place lies in.
    places : (N, D) array
        In fractional pixels.
    weights : (N,) array
        How much each counts.
    """

    images: Related
    pixels: NDArray[np.intp]
    places: Points
    weights: NDArray[np.float64]

    @classmethod
    def of(cls, images: Related, weights: Float32 | Mask | None = None, *, fewer: bool = False) -> Compared:
        """Places spread evenly over what both images show.

        Parameters
        ----------
        images : Related
            Features of both.
        weights : (*grid.shape) array, optional
            How much each pixel counts.
        fewer : bool
            Whether fewer places will do.
        """
        most = (_FEWER_PLACES if fewer else _MOST_PLACES)[images.grid.ndim]
        pixels, places = even_places(images.grid, images.shown, most)
        counts = np.ones(len(pixels)) if weights is None else np.asarray(weights[tuple(pixels.T)], float)
        return cls(images, pixels, places, counts)

    def restricted(self, chosen: NDArray[np.bool_]) -> Compared:
        """Some of the places only."""
        return Compared(self.images, self.pixels[chosen], self.places[chosen], self.weights[chosen])

    @cached_property
    def points(self) -> Points:
        """The places as positions in the fixed image."""
        return self.images.grid.points(self.places)

    @cached_property
    def _rows(self) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Features of the fixed and of the moving image, and what they show."""
        images = self.images
        both = (images.fixed, images.fixed_shown), (images.moving, images.moving_shown)
        return [(as_rows(features), as_rows(shown[None].astype(np.float32))) for features, shown in both]

    @cached_property
    def _own(self) -> list[tuple[NDArray[np.float32], ...]]:
        """The same at the places themselves, which no field moves."""
        shape = self.images.grid.shape
        return [tuple(sample_values_of_rows(rows, shape, self.places) for rows in both) for both in self._rows]

    def one_way(self, field: Transform | None, backward: bool) -> OneWay:
        """What one image says of the other under a field.

        Parameters
        ----------
        field : Transform, optional
            From fixed to moving; nothing moves without.
        backward : bool
            Whether the places lie in the moving image and are led back to the fixed one.
        """
        shape, grid = self.images.grid.shape, self.images.grid
        moving, moving_shown = self._rows[not backward]
        led = self.places
        if field is not None:
            led = grid.index((field.inverse() if backward else field)(self.points))
        here, own = self._own[backward]
        there, slopes = sample_rows(moving, shape, led)
        seen = sample_values_of_rows(moving_shown, shape, led)
        inside = np.all((led >= 0) & (led <= np.asarray(shape) - 1.0), axis=1)
        counts = self.weights * (inside & (seen[:, 0] > 0.99) & (own[:, 0] > 0.99))
        close = self.images.closeness
        width = np.asarray(1 / np.sqrt(1 - close**2), np.float32)
        off = np.asarray((close * there - here) * width, np.float32)
        alike = 0.5 * np.sum(here**2 - off**2, axis=1) + np.float32(self.images.information)
        # A displacement forwards moves the places of the fixed image backwards.
        sign = np.float32(-1.0 if backward else 1.0)
        steep = tuple(np.asarray(slope * (sign * close * width), np.float32) for slope in slopes)
        return OneWay(off, steep, counts, alike.astype(float))

    def alikeness(self, field: Transform | None) -> NDArray[np.float64]:
        """How much both images say of each other at each place, in nats; NaN where one shows nothing."""
        ways = [self.one_way(field, backward) for backward in (False, True)]
        return np.asarray(sum(np.where(way.counts > 0, way.alike, np.nan) for way in ways) / 2)

    def repeated(self, field: Transform | None) -> float:
        """How many places speak for each that would speak for itself: features are alike over some distance.

        The variance of the sums of scores over patches, as a multiple of what their curvature says (the sandwich of
        Godambe 1960, doi:10.1214/aoms/1177705693).
        """
        shape = self.images.grid.shape
        side = max(shape) / _PATCHES[len(shape)]
        which = np.ravel_multi_index(tuple((self.pixels // side).astype(np.intp).T), shape)
        _, patch = np.unique(which, return_inverse=True)
        scores, curvature = np.zeros((int(patch.max(initial=0)) + 1, len(shape))), 0.0
        for way in (self.one_way(field, backward) for backward in (False, True)):
            pull = way.pull
            scores += np.stack([np.bincount(patch, part, minlength=len(scores)) for part in pull.T], axis=-1)
            curvature += sum(float(way.counts @ np.einsum("nc,nc->n", slope, slope)) for slope in way.slopes)
        return max(1.0, float(np.sum(scores**2)) / max(curvature, 1e-12))


@dataclass(frozen=True, eq=False)
class OneWay:
    """What one image says of the other: the likelihood of its features given those it is led to.

    Parameters
    ----------
    off : (N, C) array
        What is expected there less what is here, in standard deviations.
    slopes : tuple of D (N, C) arrays
        Its derivative by the displacement from the fixed to the moving image along each axis, in pixels.
    counts : (N,) array
        How much each place counts; 0 where one shows nothing.
    alike : (N,) array
        Logarithm of the likelihood over that of features that have nothing in common, in nats.
    """

    off: Float32
    slopes: tuple[Float32, ...]
    counts: NDArray[np.float64]
    alike: NDArray[np.float64]

    @property
    def pull(self) -> NDArray[np.float64]:
        """Gradient of what is minimised by each displacement, ``(N, D)``."""
        by_axis = [np.einsum("nc,nc->n", slope, self.off) for slope in self.slopes]
        return np.asarray(self.counts[:, None] * np.stack(by_axis, axis=-1))

    @property
    def curvature(self) -> NDArray[np.float64]:
        """The same, second derivative as it is expected, ``(N, D, D)``."""
        ndim = len(self.slopes)
        found = np.empty((len(self.counts), ndim, ndim))
        for one in range(ndim):
            for other in range(one + 1):
                product = np.einsum("nc,nc->n", self.slopes[one], self.slopes[other])
                found[:, one, other] = found[:, other, one] = self.counts * product
        return found


def even_places(grid: Grid, shown: Mask, most: int) -> tuple[NDArray[np.intp], Points]:
    """Evenly spread places where something is shown: the pixel that each lies in, and its place in fractional pixels.

    Parameters
    ----------
    grid : Grid
        Of the features.
    shown : (*grid.shape) array of bool
        Where places may lie.
    most : int
        How many at most.
    """
    pixels = np.argwhere(shown)
    number = np.arange(len(pixels))
    pixels = pixels[number * 0.6180339887498949 % 1 * len(pixels) < most]
    # Places between pixels, so that features of both images are interpolated, whatever the shift between them.
    even = {2: (0.7548776662466927, 0.5698402909980532), 3: (0.8191725134, 0.6710436067, 0.5497004779)}[grid.ndim]
    offset = (np.arange(len(pixels))[:, None] * np.asarray(even)) % 1 - 0.5
    last = np.asarray(grid.shape) - 1.0
    return pixels, np.clip(pixels + offset, 0.0, last)
