"""A specimen as a drawing: outlines in micrometres that any instrument can paint onto its own pixels.

A specimen is a painter's list of closed outlines and strokes, each made of one material, plus point-like labels and a
grain that fills the materials. Nothing is stored as pixels, so an electron image and a light image of the same place
are both evaluated from the same outlines, each straight on its own pixel grid: no image is ever resampled into
another, and the transform between the two is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Float32
from correlight.transforms import Affine

# OpenCV takes vertices as fixed-point integers; with 8 fractional bits a vertex is exact to 1/256 of a drawn pixel.
_FRACTION_BITS = 8
# Nodes of a texture lattice: enough for this many micrometres without repeating, within what memory is worth.
_PERIOD = 160.0
_MOST_NODES = 1024
# An outline is as exact as its drawn pixels; beyond this many the image costs memory rather than gaining truth.
_MOST_DRAWN_PIXELS = 4096


class Material(NamedTuple):
    """What a structure is made of, as the instruments see it.

    Parameters
    ----------
    name : str
        What a microscopist calls it.
    stain : float
        Heavy metal or atomic number contrast for electrons, 0 (empty resin) to 1 (densest).
    chromatin : float
        Amount of the fluorescent chromatin stain, 0 to 1.
    reflectance : float
        Brightness in reflected light, 0 to 1.
    grain : float
        How strongly fine granular texture shows in it, 0 to 1.
    """

    name: str
    stain: float
    chromatin: float = 0.0
    reflectance: float = 0.0
    grain: float = 1.0


class Shape(NamedTuple):
    """One stroke of the drawing.

    Parameters
    ----------
    points : (K, 2) array
        Vertices in micrometres, in the frame of the specimen.
    material : Material
        What it is filled or drawn with.
    width : float
        0 for a filled outline; else the width of an open stroke along the points, in micrometres.
    """

    points: Points
    material: Material
    width: float = 0.0


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of the specimen, such as one cell, whose shapes are made only when an instrument looks at it.

    Parameters
    ----------
    centre : (2,) array
        Position in micrometres.
    radius : float
        No shape of the part reaches further from the centre, in micrometres.
    build : callable
        Makes the shapes, back to front; always the same ones.
    """

    centre: Points
    radius: float
    build: Callable[[], Sequence[Shape]]

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """The shapes, back to front."""
        return tuple(self.build())


class Texture:
    """Granular texture that is fixed to the specimen: octaves of random lattices, each turned another way.

    Parameters
    ----------
    seed : sequence of int
        Where the randomness starts.

    Notes
    -----
    Lattices are periodic, but a period is longer than any field in which the octave can be resolved, and since each
    octave is turned by its own random angle the sum has no period at all.
    """

    def __init__(self, seed: Sequence[int]) -> None:
        self._seed = tuple(seed)
        self._octaves: dict[float, tuple[Float32, NDArray[np.float64]]] = {}

    def _octave(self, size: float) -> tuple[Float32, NDArray[np.float64]]:
        if size not in self._octaves:
            rng = np.random.default_rng([*self._seed, round(size * 1e4)])
            nodes = int(min(_MOST_NODES, np.ceil(_PERIOD / size)))
            lattice = rng.standard_normal((nodes, nodes), dtype=np.float32)
            turn = Affine.similarity(rng.uniform(0, 360), 1 / size, target=rng.uniform(0, nodes, 2))
            self._octaves[size] = lattice, turn.matrix
        return self._octaves[size]

    def sample(self, size: float, grid: Grid, specimen_from_image: Affine) -> Float32:
        """One octave on the pixels of an image.

        Parameters
        ----------
        size : float
            Distance of independent grains in micrometres.
        grid : Grid
            The pixels.
        specimen_from_image : Affine
            Where they lie on the specimen.

        Returns
        -------
        array of float32, shape ``grid.shape``
            Mean 0 and standard deviation 1 for grains that a pixel resolves, fading to 0 for grains it averages.
        """
        spacing = max(grid.spacing)
        if size < 0.35 * spacing:
            return np.zeros(grid.shape, np.float32)
        lattice, lattice_from_specimen = self._octave(size)
        matrix = (lattice_from_specimen @ specimen_from_image.matrix @ grid.matrix)[:2][::-1, [1, 0, 2]]
        values = cv2.warpAffine(
            lattice,
            matrix,
            grid.shape[::-1],
            flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        )
        # Interpolation between the nodes lowers the variance (to 0.73 for the cubic kernel of OpenCV), and a pixel as
        # large as several grains averages them; both follow from the ratio of the two sizes alone.
        fade = np.float32(min(1.0, size / spacing) / 0.73**0.5)
        return np.asarray(values * fade, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Painting:
    """Which shape lies on top of each drawn pixel, on a lattice finer than the image.

    Parameters
    ----------
    index : (S * Y, S * X) array of int32
        Number of the topmost shape; 0 is the background.
    materials : tuple of Material
        One per number.
    grid : Grid
        The pixels of the image, S times coarser than the drawn ones.
    """

    index: NDArray[np.int32]
    materials: tuple[Material, ...]
    grid: Grid

    @property
    def oversampling(self) -> int:
        """Drawn pixels per image pixel and axis."""
        return int(self.index.shape[0] // self.grid.shape[0])

    def quantity(self, name: str, oversampling: int = 1) -> Float32:
        """A property of the materials, averaged over pixels.

        Parameters
        ----------
        name : str
            A field of `Material` with a number in it.
        oversampling : int
            Pixels of the answer per pixel of the image and axis.

        Returns
        -------
        array of float32, shape ``oversampling * grid.shape``
        """
        values: Float32 = np.array([getattr(material, name) for material in self.materials], np.float32)[self.index]
        height, width = (n * min(oversampling, self.oversampling) for n in self.grid.shape)
        return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_AREA), dtype=np.float32)

    def fraction(self, *names: str) -> Float32:
        """Fraction of each pixel that is covered by the named materials, shape ``grid.shape``."""
        hit = np.array([material.name in names for material in self.materials], np.float32)[self.index]
        return np.asarray(cv2.resize(hit, self.grid.shape[::-1], interpolation=cv2.INTER_AREA), dtype=np.float32)


def paint(
    shapes: Iterable[Shape], background: Material, grid: Grid, specimen_from_image: Affine, finest: float
) -> Painting:
    """Draw shapes back to front onto the pixels of an image.

    Parameters
    ----------
    shapes : iterable of Shape
        Back to front, in the frame of the specimen.
    background : Material
        What lies where no shape does.
    grid : Grid
        The pixels of the image, in micrometres.
    specimen_from_image : Affine
        Where they lie on the specimen.
    finest : float
        Size of a drawn pixel in micrometres that is fine enough; strokes thinner than one are drawn one wide.

    Returns
    -------
    Painting

    Raises
    ------
    UsageError
        If the grid is not calibrated.
    """
    if not grid.calibrated or grid.ndim != 2:
        raise UsageError(f"A specimen is drawn on a flat grid in micrometres; got {grid.ndim} axes in {grid.unit}s.")
    most = max(1, _MOST_DRAWN_PIXELS // max(grid.shape))
    factor = int(np.clip(np.ceil(max(grid.spacing) / finest), 1, most))
    drawn = grid.resized([n * factor for n in grid.shape])
    index = np.zeros(drawn.shape, np.int32)
    materials = [background]
    pixel_from_specimen = Affine(specimen_from_image.matrix @ drawn.matrix).inverse()
    # Vertices in the order (x, y), scaled to fixed point.
    linear = pixel_from_specimen.linear[::-1].T * 2**_FRACTION_BITS
    offset = pixel_from_specimen.offset[::-1] * 2**_FRACTION_BITS
    per_pixel = pixel_from_specimen.scale
    for shape in shapes:
        vertices = np.rint(shape.points @ linear + offset).astype(np.int32)[None]
        if shape.width > 0:
            thickness = max(1, round(shape.width * per_pixel))
            cv2.polylines(index, vertices, False, len(materials), thickness, cv2.LINE_8, _FRACTION_BITS)
        else:
            cv2.fillPoly(index, vertices, len(materials), cv2.LINE_8, _FRACTION_BITS)
        materials.append(shape.material)
    return Painting(index, tuple(materials), grid)
