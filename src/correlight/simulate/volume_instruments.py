"""Instruments that see depth: serial block-face electron microscopy, confocal, X-ray tomography, two-photon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from correlight.geometry import Grid
from correlight.images.image import Float32
from correlight.simulate.volume import Rng, Solid
from correlight.transforms import Affine

# Grey values of materials for electrons (dark is heavy) and X-rays.
_ELECTRONS = {"around": 205.0, "cytoplasm": 150.0, "organelle": 95.0, "nucleus": 172.0, "nucleolus": 105.0}
_ELECTRONS_TISSUE = {"around": 150.0, "nucleus": 172.0, "vessel": 215.0}
_X_RAYS = {"around": 120.0, "nucleus": 145.0, "vessel": 60.0, "cytoplasm": 140.0, "nucleolus": 160.0}
# Fluorescence of materials under each dye, 0 to 1.
DYES: Mapping[str, Mapping[str, float]] = {
    "organelles": {"around": 0.02, "cytoplasm": 0.22, "organelle": 1.0, "nucleus": 0.06, "nucleolus": 0.03},
    "chromatin": {"around": 0.02, "cytoplasm": 0.05, "nucleus": 0.8, "nucleolus": 0.35, "vessel": 0.02},
    "vessels": {"around": 0.05, "nucleus": 0.12, "vessel": 1.0},
}
_GRAIN = (32, 256, 256)


@dataclass(frozen=True, slots=True)
class BlockFace:
    """Serial block-face electron microscope: sharp slices that slip, with streaks of charge.

    Parameters
    ----------
    jitter : float
        Standard deviation of the shift of a slice in its plane, micrometres.
    streaks : float
        Share of the slices with streaks of charge.
    noise : float
        Standard deviation in grey values of 255.
    grain : float
        Standard deviation of fine structure that the light microscope does not see.
    flicker : float
        Standard deviation of the brightness from slice to slice.
    """

    jitter: float = 0.06
    streaks: float = 0.15
    noise: float = 9.0
    grain: float = 14.0
    flicker: float = 3.0

    def image(self, of: Solid, grid: Grid, specimen_from_grid: Affine, rng: Rng) -> NDArray[np.uint8]:
        """The volume as uint8, shape ``grid.shape``."""
        levels = _ELECTRONS if of.kind == "cells" else _ELECTRONS_TISSUE
        texture = _grain(rng, 0.25 / np.asarray(grid.spacing)) * np.float32(self.grain)
        # Slices thinner than a pixel show next to nothing of their own: those between are interpolated.
        thin = max(1, int(grid.spacing[1] / grid.spacing[0]))
        coarse = Grid(
            (-(-(grid.shape[0] - 1) // thin) + 1, *grid.shape[1:]),
            (thin * grid.spacing[0], *grid.spacing[1:]),
            grid.origin,
            grid.unit,
        )
        out = np.empty(grid.shape, np.uint8)
        last: Float32 | None = None
        for part, slab in of.slabs(levels, coarse, specimen_from_grid):
            for number, plane in zip(range(part.start, part.stop), slab, strict=True):
                for between in range(thin if last is not None else 1):
                    back = thin - 1 - between if last is not None else 0
                    if number * thin - back < grid.shape[0]:
                        share = np.float32(back / thin)
                        mixed = plane if last is None else plane + share * (last - plane)
                        at = number * thin - back
                        out[at] = self._slice(mixed, texture[at % len(texture)], grid, rng)
                last = plane
        return out

    def _slice(self, plane: Float32, texture: Float32, grid: Grid, rng: Rng) -> NDArray[np.uint8]:
        height, width = plane.shape
        tiled = np.tile(texture, (height // texture.shape[0] + 1, width // texture.shape[1] + 1))[:height, :width]
        picture = plane + tiled + np.float32(rng.normal(0, self.flicker))
        dy, dx = rng.normal(0, self.jitter, 2) / grid.spacing[1:]
        shift = np.array([[1, 0, dx], [0, 1, dy]])
        picture = np.asarray(
            cv2.warpAffine(picture, shift, (width, height), borderMode=cv2.BORDER_REPLICATE), np.float32
        )
        picture += np.float32(self.noise) * rng.standard_normal((height, width), np.float32)
        if rng.random() < self.streaks:
            for _ in range(int(rng.integers(1, 8))):
                row, thick = int(rng.integers(0, height)), int(rng.integers(1, 5))
                picture[row : row + thick, int(rng.integers(0, width)) :] += np.float32(rng.uniform(25, 80))
        return np.asarray(np.clip(np.rint(picture), 0, 255), np.uint8)


@dataclass(frozen=True, slots=True)
class Focusing:
    """Confocal or two-photon microscope: blurred, most of all along z, fading with depth, counted photon by photon.

    Parameters
    ----------
    lateral, axial : float
        Standard deviation of the point-spread function in the plane and along z, micrometres.
    bleaching : float
        Depth in micrometres at which 1 / e of the signal is left.
    photons : float
        Per voxel where a dye is brightest.
    background : float
        Photons per voxel from nowhere.
    """

    lateral: float = 0.14
    axial: float = 0.55
    bleaching: float = 25.0
    photons: float = 120.0
    background: float = 4.0

    def image(self, of: Solid, dye: str, grid: Grid, specimen_from_grid: Affine, rng: Rng) -> NDArray[np.uint16]:
        """The volume as uint16, shape ``grid.shape``."""
        # Slices are thicker than sharp: several thin ones are painted for each, and some beyond both ends.
        fine = max(1, round(grid.spacing[0] / (0.5 * self.axial)))
        rim = int(np.ceil(3 * self.axial / grid.spacing[0]))
        step = grid.spacing[0] / fine
        depth = Grid(
            ((grid.shape[0] + 2 * rim) * fine, *grid.shape[1:]),
            (step, *grid.spacing[1:]),
            (grid.origin[0] - rim * grid.spacing[0] - (fine - 1) / 2 * step, *grid.origin[1:]),
            grid.unit,
        )
        light = of.painted(DYES[dye], depth, specimen_from_grid)
        light = ndimage.gaussian_filter1d(light, self.axial / step, axis=0, truncate=3.0)
        light = light.reshape(-1, fine, *grid.shape[1:]).mean(axis=1)[rim : rim + grid.shape[0]]
        out = np.empty(grid.shape, np.uint16)
        for number, plane in enumerate(light):
            blurred = cv2.GaussianBlur(plane, (0, 0), self.lateral / grid.spacing[2])
            faded = self.photons * np.exp(-number * grid.spacing[0] / self.bleaching) * blurred + self.background
            counts = rng.poisson(faded) * 12.0 + 100 + 6 * rng.standard_normal(plane.shape, np.float32)
            out[number] = np.clip(np.rint(counts), 0, 65535)
        return out


@dataclass(frozen=True, slots=True)
class Tomograph:
    """X-ray microtomography: even sharpness along all axes, noise, and rings around the axis of rotation.

    Parameters
    ----------
    blur : float
        Standard deviation of the point-spread function, micrometres.
    noise, rings : float
        Standard deviations in grey values of 255.
    """

    blur: float = 1.0
    noise: float = 7.0
    rings: float = 3.0

    def image(self, of: Solid, grid: Grid, specimen_from_grid: Affine, rng: Rng) -> NDArray[np.uint8]:
        """The volume as uint8, shape ``grid.shape``."""
        out = np.empty(grid.shape, np.uint8)
        y, x = np.indices(grid.shape[1:])
        distance = np.hypot(y - grid.shape[1] / 2, x - grid.shape[2] / 2).astype(np.intp)
        rings = rng.normal(0, self.rings, int(distance.max()) + 1)[distance].astype(np.float32)
        for part, slab in of.slabs(_X_RAYS, grid, specimen_from_grid):
            for number, plane in zip(range(part.start, part.stop), slab, strict=True):
                picture = cv2.GaussianBlur(plane, (0, 0), self.blur / grid.spacing[2]) + rings
                picture += np.float32(self.noise) * rng.standard_normal(plane.shape, np.float32)
                out[number] = np.clip(np.rint(picture), 0, 255)
        return out


def _grain(rng: Rng, sigma: NDArray[np.float64]) -> Float32:
    """Noise of unit deviation, correlated over ``sigma`` voxels, that can be tiled."""
    noise = rng.standard_normal(_GRAIN).astype(np.float32)
    smooth = ndimage.gaussian_filter(noise, np.minimum(sigma, 8), mode="wrap")
    return np.asarray(smooth / smooth.std(), np.float32)
