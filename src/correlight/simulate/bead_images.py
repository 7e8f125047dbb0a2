"""Images of beads as light and electron microscopes see them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from correlight.geometry import Grid, Points
from correlight.images.image import Float32
from correlight.simulate.outlines import Rng


def fluorescence_image(
    beads: Points,
    grid: Grid,
    rng: Rng,
    *,
    diameter: float = 0.1,
    psf: float | tuple[float, ...] = 0.1,
    photons: float = 2000.0,
    background: float = 20.0,
    uneven: float = 0.25,
    dirt: int = 0,
    hot_pixels: int = 0,
) -> NDArray[np.uint16]:
    """Beads as a light microscope sees them: blurred, counted photon by photon, among dirt and hot pixels.

    Parameters
    ----------
    beads : (N, D) array
        Where they are, in the unit of the grid.
    grid : Grid
        The pixels, in two or three axes.
    rng : numpy.random.Generator
        Brightness, dirt and noise.
    diameter : float
        Of a bead.
    psf : float or tuple of float
        Standard deviation of the point-spread function, per axis or the same along all.
    photons : float
        In all from a bead of mean brightness.
    background : float
        Photons per pixel.
    uneven : float
        Relative standard deviation of the brightness of beads.
    dirt : int
        Ragged glowing patches, several beads wide.
    hot_pixels : int
        Pixels of the camera that are always bright, in every plane.

    Returns
    -------
    array of uint16, shape ``grid.shape``
    """
    # A ball has the variance (d/2)^2 / 5 along each axis.
    sigma = np.sqrt(np.broadcast_to(psf, grid.ndim) ** 2 + diameter**2 / 20) / grid.spacing
    picture = np.full(grid.shape, background, np.float32)
    bright = photons * np.maximum(rng.normal(1.0, uneven, len(beads)), 0.2)
    for place, light in zip(grid.index(beads), bright, strict=True):
        _add_blob(picture, place, sigma, float(light))
    peak = photons / float(np.prod(np.sqrt(2 * np.pi) * np.maximum(sigma, 0.3)))
    for _ in range(dirt):
        middle = rng.uniform(0, 1, grid.ndim) * grid.shape
        for _ in range(12):
            place = middle + rng.normal(0, 2.5, grid.ndim) * sigma
            _add_blob(picture, place, 1.6 * sigma, float(photons * rng.uniform(0.2, 1.0)))
    counts = rng.poisson(picture).astype(np.float32) + rng.normal(100, 2, grid.shape).astype(np.float32)
    for _ in range(hot_pixels):
        y, x = (int(rng.integers(0, n)) for n in grid.shape[-2:])
        counts[..., y, x] += np.float32(peak * rng.uniform(0.5, 3))
    return np.asarray(np.clip(np.rint(counts), 0, 65535), np.uint16)


def electron_image(
    beads: Points,
    grid: Grid,
    rng: Rng,
    *,
    diameter: float = 0.1,
    blur: float = 0.7,
    contrast: float = 90.0,
    texture: float = 8.0,
    noise: float = 6.0,
    dirt: int = 0,
    dark: bool = False,
) -> NDArray[np.uint8]:
    """Beads as an electron microscope sees them: sharp discs, bright (scanning) or dark (transmission), on structure.

    Parameters
    ----------
    beads : (N, D) array
        Where they are, in the unit of the grid.
    grid : Grid
        The pixels, in two or three axes: in a stack (a focused ion beam, or sections one by one) beads are balls.
    rng : numpy.random.Generator
        Structure, dirt and noise.
    diameter : float
        Of a bead.
    blur : float
        Width of the edge of a disc, in pixels across z.
    contrast : float
        Grey levels (of 255) between bead and surroundings.
    texture, noise : float
        Standard deviations of the structure around the beads and of the noise, in grey levels.
    dirt : int
        Patches of the contrast of beads and two to four times their size.
    dark : bool
        Whether beads are darker than their surroundings.

    Returns
    -------
    array of uint8, shape ``grid.shape``
    """
    picture = np.full(grid.shape, 90.0, np.float32)
    for size, share in ((2.0, 0.5), (6.0, 0.6), (20.0, 0.6)):
        field = ndimage.gaussian_filter(rng.standard_normal(grid.shape, dtype=np.float32), size)
        picture += np.float32(texture * share) * field / field.std()
    radius = diameter / 2
    level = np.zeros(grid.shape, np.float32)
    for place in grid.index(beads):
        raise_ball(level, place, grid, radius, blur)
    for _ in range(dirt):
        middle = rng.uniform(0, 1, grid.ndim) * grid.shape
        for _ in range(5):
            place = middle + rng.normal(0, 1.2 * radius / np.asarray(grid.spacing), grid.ndim)
            raise_ball(level, place, grid, radius * rng.uniform(0.8, 1.8), blur)
    picture += np.float32(contrast) * level
    picture = 255 - picture if dark else picture
    picture += rng.normal(0, noise, grid.shape).astype(np.float32)
    return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


def _window(shape: tuple[int, ...], place: Points, margin: Points) -> tuple[slice, ...] | None:
    low = np.maximum(np.floor(place - margin), 0).astype(int)
    high = np.minimum(np.ceil(place + margin) + 1, shape).astype(int)
    return tuple(slice(a, b) for a, b in zip(low, high, strict=True)) if np.all(low < high) else None


def _add_blob(picture: Float32, place: Points, sigma: Points, light: float) -> None:
    """Add a Gaussian of a given sum, integrated over each pixel."""
    window = _window(picture.shape, place, 5 * sigma + 1)
    if window is None:
        return
    blob = np.array(light)
    for axis, part in enumerate(window):
        edges = (np.arange(part.start, part.stop + 1) - 0.5 - place[axis]) / (np.sqrt(2) * sigma[axis])
        blob = blob[..., None] * (np.diff(special.erf(edges)) / 2)
    picture[window] += blob.astype(np.float32)


def raise_ball(level: Float32, place: Points, grid: Grid, radius: float, blur: float) -> None:
    """Lay a disc or a ball with a soft edge over what is there; where they overlap, the higher counts.

    The place counts pixels, the radius is in the unit of the grid, the edge in pixels across z.
    """
    steps = np.asarray(grid.spacing) / grid.spacing[-1]
    size = radius / grid.spacing[-1]
    window = _window(level.shape, place, (size + 4 * blur) / steps)
    if window is None:
        return
    axes = np.ogrid[window]
    distance = np.zeros((1,) * level.ndim)
    for axis, middle, step in zip(axes, place, steps, strict=True):
        distance = np.hypot(distance, (axis - middle) * step)
    ball = 0.5 * special.erfc((distance - size) / (np.sqrt(2) * blur))
    level[window] = np.maximum(level[window], ball.astype(np.float32))
