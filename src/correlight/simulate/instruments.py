"""What an electron microscope and a light microscope make of a specimen: blur, grain, noise, shading, artefacts."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import special

from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Mask
from correlight.simulate.model import Painting, Texture
from correlight.simulate.outlines import Rng
from correlight.transforms import Affine

# Octaves of the grain in micrometres and their share; ribosomes and precipitates are the finest.
_GRAIN = ((1.1, 0.5), (0.35, 0.75), (0.12, 0.85), (0.05, 0.8), (0.022, 0.8))


@dataclass(frozen=True, slots=True)
class Electron:
    """An electron microscope and its settings.

    Parameters
    ----------
    spot : float
        Standard deviation of the beam's spot and of the interaction volume, in pixels.
    contrast, brightness : float
        Grey levels (of 255) between no stain and full stain, and the grey level of empty resin.
    inverted : bool
        Whether stain is bright, as on a raw backscatter detector, rather than dark as in transmission.
    grain : float
        Strength of the specimen's texture.
    dose : float
        Electrons counted per pixel at full brightness; fewer give more shot noise.
    shading : float
        Largest relative change of brightness across the field.
    streaks : float
        Standard deviation of the brightness from one scan line to the next, grey levels.
    charging : float
        Grey levels of the glow that dense structures drag along the scan.
    scratches : int
        Number of knife or polishing marks.
    """

    spot: float = 0.7
    contrast: float = 150.0
    brightness: float = 195.0
    inverted: bool = False
    grain: float = 1.0
    dose: float = 250.0
    shading: float = 0.08
    streaks: float = 1.0
    charging: float = 12.0
    scratches: int = 2

    @classmethod
    def draw(cls, rng: Rng) -> Electron:
        """Draw the settings of an ordinary day at the microscope."""
        return cls(
            spot=float(rng.uniform(0.5, 1.1)),
            contrast=float(rng.uniform(110, 175)),
            brightness=float(rng.uniform(175, 215)),
            inverted=bool(rng.random() < 0.25),
            grain=float(np.exp(rng.uniform(np.log(0.5), np.log(1.8)))),
            dose=float(np.exp(rng.uniform(np.log(60), np.log(600)))),
            shading=float(rng.uniform(0, 0.18)),
            streaks=float(rng.exponential(1.0)),
            charging=float(rng.exponential(12.0)),
            scratches=int(rng.poisson(1.5)),
        )


@dataclass(frozen=True, slots=True)
class Light:
    """A light microscope and its camera.

    Parameters
    ----------
    aperture, reflected_aperture : float
        Numerical aperture of the objective for fluorescence, and of the dry one for reflected light.
    wavelengths : tuple of float
        Micrometres, for the stain, the reflected light and the particles.
    photons : float
        Photons per pixel at full brightness.
    background : float
        Photons per pixel where there is nothing, as a fraction of ``photons``.
    haze : float
        Share of the light that comes from out of focus, 0 to 1.
    buried : float
        Brightness of nuclei below the section, relative to those in it.
    vignetting : float
        Relative loss of light in the corners.
    offset, gain, read_noise : float
        Camera counts in the dark, counts per photon, and noise in counts.
    dust : int
        Specks on the surface, seen in reflected light only.
    """

    aperture: float = 1.2
    reflected_aperture: float = 0.7
    wavelengths: tuple[float, float, float] = (0.46, 0.55, 0.61)
    photons: float = 400.0
    background: float = 0.02
    haze: float = 0.12
    buried: float = 0.15
    vignetting: float = 0.15
    offset: float = 100.0
    gain: float = 12.0
    read_noise: float = 8.0
    dust: int = 12

    @classmethod
    def draw(cls, rng: Rng) -> Light:
        """Draw the settings of an ordinary day at the microscope."""
        return cls(
            aperture=float(rng.uniform(0.75, 1.4)),
            reflected_aperture=float(rng.uniform(0.35, 0.95)),
            photons=float(np.exp(rng.uniform(np.log(80), np.log(1500)))),
            background=float(rng.uniform(0.005, 0.06)),
            haze=float(rng.uniform(0.05, 0.3)),
            buried=float(rng.choice([0.0, rng.uniform(0.05, 0.5)])),
            vignetting=float(rng.uniform(0, 0.35)),
            read_noise=float(rng.uniform(3, 20)),
            dust=int(rng.poisson(12)),
        )

    def sigma(self, channel: int) -> float:
        """Standard deviation of the point-spread function of a channel, micrometres.

        The Gaussian nearest to the focal plane of a wide-field point-spread function, ``0.21 wavelength / aperture``
        (Zhang, Zerubia and Olivo-Marin 2007, doi:10.1364/AO.46.001819, paraxial case).
        """
        aperture = self.reflected_aperture if channel == 1 else self.aperture
        return 0.21 * self.wavelengths[channel] / aperture


def electron_pixels(
    painting: Painting, texture: Texture, specimen_from_image: Affine, optics: Electron, rng: Rng
) -> NDArray[np.uint8]:
    """The electron image of a painted specimen, shape ``painting.grid.shape``, 8 bit."""
    grid = painting.grid
    stain = painting.quantity("stain")
    amount = painting.quantity("grain")
    grain = sum(
        (share * texture.sample(size, grid, specimen_from_image) for size, share in _GRAIN),
        np.zeros(grid.shape, np.float32),
    )
    stain = stain + 0.055 * optics.grain * amount * grain
    stain = np.asarray(cv2.GaussianBlur(stain, (0, 0), optics.spot), dtype=np.float32)
    grey = (
        255 - optics.brightness + optics.contrast * stain
        if optics.inverted
        else (optics.brightness - optics.contrast * stain)
    )
    if optics.charging:
        # Charge decays along the fast axis of the scan, so dense structures trail to one side.
        decay = np.exp(-np.arange(60, dtype=np.float32) / 20)
        kernel = np.concatenate([np.zeros(59, np.float32), decay])[::-1] / decay.sum()
        trail = cv2.filter2D(stain - np.float32(stain.mean()), -1, kernel[None])
        grey = grey + np.float32(optics.charging) * trail
    for _ in range(optics.scratches):
        grey = grey + _scratch(grid, rng)
    grey *= 1 + optics.shading * _slope(grid.shape, rng)
    grey += (optics.streaks * rng.standard_normal((grid.shape[0], 1))).astype(np.float32)
    counts = rng.poisson(np.clip(grey, 1, None) * (optics.dose / 255))
    return np.asarray(np.clip(np.rint(counts * (255 / optics.dose)), 0, 255), dtype=np.uint8)


def _slope(shape: tuple[int, ...], rng: Rng) -> Float32:
    """A smooth field between about -1 and 1 over an image: a tilted paraboloid."""
    y, x = np.meshgrid(*(np.linspace(-1, 1, n, dtype=np.float32) for n in shape), indexing="ij")
    a, b, c, d, e = rng.uniform(-1, 1, 5).astype(np.float32)
    field = a * y + b * x + c * y * x + d * y * y + e * x * x
    return np.asarray(field / max(1e-6, float(np.abs(field).max())), dtype=np.float32)


def _scratch(grid: Grid, rng: Rng) -> Float32:
    """A straight, faint mark across the field."""
    y, x = np.ogrid[: grid.shape[0], : grid.shape[1]]
    turn, place = rng.uniform(0, np.pi), rng.uniform(-0.4, 0.4) * min(grid.shape)
    distance = (y - grid.shape[0] / 2) * np.cos(turn) + (x - grid.shape[1] / 2) * np.sin(turn) - place
    return np.asarray(rng.normal(0, 9) * np.exp(-0.5 * (distance / rng.uniform(0.6, 3)) ** 2), dtype=np.float32)


def stain_pixels(
    painting: Painting,
    buried: Float32,
    texture: Texture,
    specimen_from_image: Affine,
    optics: Light,
    rng: Rng,
) -> NDArray[np.uint16]:
    """The fluorescence image of the chromatin stain.

    Parameters
    ----------
    painting : Painting
        The section.
    buried : (Y, X) array of float32
        Stain below the section.
    texture : Texture
        Where the stain has bound well.
    specimen_from_image : Affine
        Where the pixels lie on the specimen.
    optics : Light
        The microscope.
    rng : numpy.random.Generator
        Source of noise.

    Returns
    -------
    array of uint16, shape ``painting.grid.shape``
    """
    grid = painting.grid
    sigma = optics.sigma(0)
    stain = _seen(painting.quantity("chromatin", 2), 2, grid, sigma, optics.haze)
    patchy = 1 + 0.35 * texture.sample(0.3, grid, specimen_from_image)
    patchy += 0.25 * texture.sample(1.3, grid, specimen_from_image)
    stain *= cv2.GaussianBlur(np.clip(patchy, 0.1, 2), (0, 0), max(0.3, sigma / grid.spacing[0]))
    depth = 6 * sigma / grid.spacing[0]
    return _camera(stain + optics.buried * cv2.GaussianBlur(buried, (0, 0), depth), optics, rng)


def reflected_pixels(
    painting: Painting, texture: Texture, specimen_from_image: Affine, optics: Light, rng: Rng
) -> NDArray[np.uint16]:
    """The reflected-light image of the surface, with dust and interference fringes; uint16, ``grid.shape``."""
    grid = painting.grid
    sigma = optics.sigma(1)
    bright = _seen(painting.quantity("reflectance", 2), 2, grid, sigma, optics.haze)
    bright += 0.03 * texture.sample(2.7, grid, specimen_from_image) + 0.03 * texture.sample(
        0.7, grid, specimen_from_image
    )
    phase = 6 * _slope(grid.shape, rng) + 0.4 * texture.sample(9.0, grid, specimen_from_image)
    bright += np.float32(rng.uniform(0, 0.06)) * np.sin(phase)
    places = rng.uniform(0, 1, (optics.dust, 2)) * grid.shape
    bright += points_image(places, rng.lognormal(-1.5, 0.7, optics.dust), 1.6 * sigma / grid.spacing[0], grid.shape)
    return _camera(np.clip(bright, 0, None), optics, rng)


def particle_pixels(
    index: Points, brightness: NDArray[np.float64], grid: Grid, optics: Light, rng: Rng
) -> NDArray[np.uint16]:
    """The fluorescence image of point-like labels.

    Parameters
    ----------
    index : (N, 2) array
        Their positions as pixel indices.
    brightness : (N,) array
        Peak brightness, 1 fills the camera's range.
    grid : Grid
        The pixels.
    optics : Light
        The microscope.
    rng : numpy.random.Generator
        Source of noise.
    """
    sigma = optics.sigma(2) / np.asarray(grid.spacing)
    return _camera(points_image(index, brightness, sigma, grid.shape), optics, rng)


def points_image(
    index: Points, peaks: NDArray[np.float64], sigma: NDArray[np.float64] | float, shape: tuple[int, ...]
) -> Float32:
    """Gaussian spots, integrated exactly over each pixel.

    Parameters
    ----------
    index : (N, 2) array
        Centres as fractional pixel indices.
    peaks : (N,) array
        Height of each spot before pixels integrate it.
    sigma : float or (2,) array
        Standard deviation in pixels.
    shape : tuple of int
        Shape of the answer.

    Returns
    -------
    array of float32
    """
    out = np.zeros(shape, np.float32)
    widths = np.broadcast_to(np.asarray(sigma, float), (2,))
    reach = np.ceil(5 * widths + 1).astype(int)
    for centre, peak in zip(index, peaks, strict=True):
        start = np.maximum(np.floor(centre).astype(int) - reach, 0)
        stop = np.minimum(np.floor(centre).astype(int) + reach + 2, shape)
        if np.any(stop <= start):
            continue
        sides = []
        for first, last, middle, width in zip(start, stop, centre, widths, strict=True):
            edges = (np.arange(first, last + 1) - 0.5 - middle) / (np.sqrt(2) * width)
            sides.append(np.diff(special.erf(edges)) / 2 * np.sqrt(2 * np.pi) * width)
        out[start[0] : stop[0], start[1] : stop[1]] += (peak * np.outer(*sides)).astype(np.float32)
    return out


def _seen(fine: Float32, oversampling: int, grid: Grid, sigma: float, haze: float) -> Float32:
    """Blur by the point-spread function and its wide skirt, then let the pixels collect."""
    blur = sigma / grid.spacing[0] * fine.shape[0] / grid.shape[0]
    sharp = cv2.GaussianBlur(fine, (0, 0), blur) if blur > 0.1 else fine
    pixels = cv2.resize(sharp, grid.shape[::-1], interpolation=cv2.INTER_AREA)
    skirt = cv2.GaussianBlur(pixels, (0, 0), max(0.3, 5 * sigma / grid.spacing[0]))
    return np.asarray((1 - haze) * pixels + haze * skirt, dtype=np.float32)


def _camera(bright: Float32, optics: Light, rng: Rng) -> NDArray[np.uint16]:
    """Vignetting, photon noise, camera noise and 16 bits."""
    y, x = np.ogrid[-1 : 1 : bright.shape[0] * 1j, -1 : 1 : bright.shape[1] * 1j]
    falloff = 1 - optics.vignetting * (y * y + x * x) / 2
    photons = rng.poisson(optics.photons * np.clip(bright * falloff + optics.background, 0, None))
    counts = optics.offset + optics.gain * photons + optics.read_noise * rng.standard_normal(bright.shape)
    return np.asarray(np.clip(np.rint(counts), 0, 65535), dtype=np.uint16)


def add_data_bar(pixels: NDArray[np.uint8], spacing: float) -> tuple[NDArray[np.uint8], Mask]:
    """Burn a data bar with text and a scale bar into the bottom of an electron image.

    Parameters
    ----------
    pixels : (Y, X) array of uint8
        The image; the bar covers its lowest rows.
    spacing : float
        Micrometres per pixel.

    Returns
    -------
    pixels : (Y, X) array of uint8
        A copy with the bar.
    valid : (Y, X) array of bool
        False in the bar.
    """
    height, width = pixels.shape
    rows = max(16, round(0.055 * height))
    top = height - rows
    out = pixels.copy()
    out[top:] = 0
    out[top] = 255
    wanted = 0.2 * width * spacing
    decade = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * decade for step in (1, 2, 5) if step * decade <= wanted)
    ends = [round(0.64 * width), round(0.64 * width + length / spacing)]
    middle = top + rows // 2
    cv2.line(out, (ends[0], middle), (ends[1], middle), 255, max(1, rows // 20))
    for end in ends:
        cv2.line(out, (end, middle - rows // 6), (end, middle + rows // 6), 255, max(1, rows // 20))
    size = 0.6 * width / 1024
    label = f"{length:g} um" if length >= 1 else f"{1000 * length:g} nm"
    text = f"HV 2.0 kV  WD 4.1 mm  HFW {width * spacing:.1f} um"
    for x, what in ((round(0.02 * width), text), (ends[1] + round(0.02 * width), label)):
        cv2.putText(
            out, what, (x, middle + rows // 6), cv2.FONT_HERSHEY_SIMPLEX, size, 255, max(1, rows // 40), cv2.LINE_AA
        )
    valid = np.ones(pixels.shape, bool)
    valid[top:] = False
    return out, valid
