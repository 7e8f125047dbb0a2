"""Small pairs of images with a known transform, one for each kind of image and of method: flat, stacks, a section."""

from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from scipy import ndimage

from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.registration.result import Result
from correlight.simulate import SimulatedPair, pair
from correlight.simulate.bead_images import fluorescence_image
from correlight.simulate.beads import bead_pair, with_beads
from correlight.transforms import Affine
from tests.phantoms import mean_error_in_fixed, noise


@dataclass(frozen=True, eq=False)
class Couple:
    """Two images and the truth.

    Parameters
    ----------
    fixed, moving : Image
        The two images.
    moving_from_fixed : Affine
        The truth; of a section and a stack, that of the section as a stack of one slice.
    places : (N, D) array
        Places of the fixed image that the moving one covers: where an error counts.
    """

    fixed: Image
    moving: Image
    moving_from_fixed: Affine
    places: Points

    def error(self, found: Result) -> float:
        """Mean distance in micrometres of the fixed image."""
        return mean_error_in_fixed(found.moving_from_fixed, self.moving_from_fixed, self.places)


def couple(fixed: Image, moving: Image, moving_from_fixed: Affine) -> Couple:
    """With the places that both show."""
    places = fixed.grid.lattice(9)
    return Couple(fixed, moving, moving_from_fixed, places[moving.grid.contains(moving_from_fixed(places))])


@cache
def cell(seed: int = 12, pixels: tuple[int, int] = (160, 100), **choices: Any) -> SimulatedPair:
    """A simulated cell that all tests share: 19.2 µm of it by electrons, 22.4 µm by light, on so many pixels a side."""
    electrons, light = pixels
    return pair(
        "cell",
        seed,
        electron_shape=(electrons, electrons),
        light_shape=(light, light),
        electron_spacing=19.2 / electrons,
        light_spacing=22.4 / light,
        **{"data_bar": False, **choices},
    )


@cache
def cell_with_beads() -> Couple:
    """A simulated cell, turned, with beads in either image: an electron image, and reflected light and beads."""
    simulated = cell(pixels=(256, 160), rotation=130.0, mirror=False, stretch=1.0, shear=0.0, least_overlap=0.9)
    strewn = with_beads(simulated, 1, beads=40, common=0.6, diameter=0.35)
    channels = [strewn.moving.channels.index(name) for name in ("reflected", "beads")]
    moving = replace(
        strewn.moving, levels=(np.asarray(strewn.moving.levels[0])[channels],), channels=("reflected", "beads")
    )
    return couple(strewn.fixed, moving, strewn.moving_from_fixed)


def ovals(grid: Grid, count: int, seed: int) -> np.ndarray:
    """Organelles of mixed size, each with a number of its own."""
    rng = np.random.default_rng(seed)
    places, labels = grid.lattice_of_pixels(), np.zeros(int(np.prod(grid.shape)), np.uint16)
    for number in range(1, count + 1):
        middle = rng.uniform(0, grid.extent)
        radius = min(grid.extent) * np.exp(rng.normal(np.log(0.04 if grid.ndim == 2 else 0.05), 0.3))
        stretch = np.exp(rng.normal(0, 0.3, grid.ndim))
        labels[np.sum(((places - middle) / stretch) ** 2, axis=1) < radius**2] = number
    return labels.reshape(grid.shape)


def seen(values: np.ndarray, fixed: Grid, moving: Grid, moving_from_fixed: Affine) -> np.ndarray:
    """Values of the fixed grid at the pixels of the moving one, by cubic splines; zero beyond."""
    places = moving_from_fixed.inverse()(moving.lattice_of_pixels())
    return np.asarray(ndimage.map_coordinates(values, fixed.index(places).T, order=3).reshape(moving.shape))


@cache
def organelles(ndim: int) -> Couple:
    """Labels of organelles, and what a light microscope shows of them: blurred, noisy, on coarser pixels, turned."""
    shape, spacing = ((240, 256), (0.05, 0.05)) if ndim == 2 else ((36, 60, 64), (0.2, 0.1, 0.1))
    fixed = Grid.of(shape, spacing, unit="micrometre")
    moving = Grid.of(
        ((150, 150), (34, 52, 56))[ndim - 2], ((0.12,) * 2, (0.25, 0.15, 0.15))[ndim - 2], unit="micrometre"
    )
    labels = ovals(fixed, 30, 5)
    turn = np.eye(ndim)
    turn[-2:, -2:] = Affine.similarity(70.0).linear
    truth = Affine.of(turn, moving.centre - turn @ fixed.centre)
    picture = ndimage.gaussian_filter(seen((labels > 0).astype(np.float32), fixed, moving, truth), 0.8)
    picture += 0.1 * np.random.default_rng(5).normal(size=moving.shape)
    light = (2000 + 8000 * picture).clip(0).astype(np.uint16)
    return couple(Image.from_array(labels[None], spacing), Image.from_array(light[None], moving.spacing), truth)


@cache
def stacks(rotation: float = 40.0, large: bool = False) -> Couple:
    """Rough stacks of unlike contrast, turned about z: dark is bright in the other, and noisy.

    The large ones, three times as many voxels, keep a registration busy for long enough to be cancelled at any stage.
    """
    shapes = ((48, 72, 80), (32, 72, 72)) if large else ((24, 56, 60), (18, 56, 56))
    fixed = Grid.of(shapes[0], (1.0, 1.0, 1.0), unit="micrometre")
    moving = Grid.of(shapes[1], (1.4, 1.0, 1.0), unit="micrometre")
    rough = noise(fixed.shape, 4, 2.0 if large else 1.5)
    turn = np.eye(3)
    turn[1:, 1:] = Affine.similarity(rotation).linear
    truth = Affine.of(turn, moving.centre + np.array([1.0, 2.0, -3.0]) - turn @ fixed.centre)
    light = np.exp(-0.5 * seen(rough, fixed, moving, truth))
    light += 0.1 * np.random.default_rng(5).normal(size=moving.shape)
    return couple(
        Image.from_array((100 + 20 * rough)[None].astype(np.float32), fixed.spacing),
        Image.from_array((200 * light)[None].astype(np.float32), moving.spacing),
        truth,
    )


@cache
def section(rotation: float = 40.0, large: bool = False) -> Couple:
    """One slice of the first of `stacks`, and the second."""
    whole, number = stacks(rotation, large), 22 if large else 11
    pixels = np.asarray(whole.fixed.levels[0][0, number])
    depth = whole.fixed.grid.points([[number, 0, 0]])[0]
    truth = whole.moving_from_fixed @ Affine.of(np.eye(3), (depth[0], 0.0, 0.0))
    fixed = Image.from_array(pixels, whole.fixed.grid.spacing[1:])
    places = np.column_stack([np.zeros(81), fixed.grid.lattice(9)])
    return Couple(fixed, whole.moving, truth, places[whole.moving.grid.contains(truth(places))])


@cache
def stacks_of_beads() -> Couple:
    """Beads in two stacks that are turned in space; half of those of either are seen by both."""
    strewn = bead_pair(
        3,
        beads=26,
        common=0.75,
        noise=0.0,
        shape=(60, 120, 120),
        spacing=0.1,
        scale=1.0,
        least_overlap=0.9,
        mirror=False,
    )
    rng, images = np.random.default_rng(0), []
    for points, whole in ((strewn.fixed, strewn.fixed_grid), (strewn.moving, strewn.moving_grid)):
        grid = whole.resized((30, 120, 120))
        pixels = fluorescence_image(points, grid, rng, psf=(0.3, 0.12, 0.12), photons=6000)
        images.append(replace(Image.from_array(pixels[None], spacing=grid.spacing), grid=grid))
    return couple(images[0], images[1], strewn.moving_from_fixed)
