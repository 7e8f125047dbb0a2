"""Specimen: one simulated piece of tissue or metal that can be put under any instrument."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Float32, Image
from correlight.simulate import instruments
from correlight.simulate.cell import tissue_parts
from correlight.simulate.fibres import fibre_parts
from correlight.simulate.grains import grain_parts
from correlight.simulate.instruments import Electron, Light
from correlight.simulate.model import Material, Painting, Part, Shape, Texture, paint
from correlight.simulate.neuropil import neuropil_parts
from correlight.simulate.outlines import Rng
from correlight.simulate.plant import plant_parts
from correlight.simulate.tissue import organ_parts
from correlight.transforms import Affine

SpecimenKind = Literal["cell", "grains", "tissue", "fibres", "neuropil", "plant"]

# Drawn pixels, in micrometres: a membrane is 0.022 wide, and the point-spread function of light is above 0.06.
_FINEST_ELECTRON = 0.012
_FINEST_LIGHT = 0.03
_PARTICLE_RADIUS = 0.07


@dataclass(frozen=True, eq=False)
class Specimen:
    """A specimen with known truth; made by `specimen`.

    Parameters
    ----------
    kind : {"cell", "grains", "tissue", "fibres", "neuropil", "plant"}
        What it is; see `specimen`.
    seed : int
        The same seed gives the same specimen.
    extent : float
        Side of the square that it fills, in micrometres; its frame has the origin in the middle.
    background : Material
        What it is embedded in.
    parts : tuple of Part
        Back to front.
    buried : tuple of Shape
        Structures below the section, which light reaches and electrons do not.
    particles : (N, 2) array
        Positions of point-like labels in micrometres.
    brightness : (N,) array
        Their peak brightness in light.
    dense : (N,) array of bool
        Which of them the electron microscope sees as well.
    texture : Texture
        The grain that fills the materials.
    """

    kind: SpecimenKind
    seed: int
    extent: float
    background: Material
    parts: tuple[Part, ...]
    buried: tuple[Shape, ...]
    particles: Points
    brightness: NDArray[np.float64]
    dense: NDArray[np.bool_]
    texture: Texture

    @property
    def light_channels(self) -> tuple[str, ...]:
        """Names of the channels of `light`."""
        return ("reflected",) if self.kind == "grains" else ("chromatin", "reflected", "particles")

    def paint(self, grid: Grid, specimen_from_image: Affine, finest: float = _FINEST_ELECTRON) -> Painting:
        """Draw the specimen on the pixels of an image, without optics or noise: the truth that labels come from.

        Parameters
        ----------
        grid : Grid
            The pixels, in micrometres.
        specimen_from_image : Affine
            Where they lie on the specimen.
        finest : float
            Size of a drawn pixel in micrometres that is fine enough.

        Returns
        -------
        Painting
            ``painting.fraction("nucleoplasm", "heterochromatin", "nucleolus")`` is a map of the nuclei.
        """
        return paint(self._shapes(grid, specimen_from_image), self.background, grid, specimen_from_image, finest)

    def _shapes(self, grid: Grid, specimen_from_image: Affine) -> Iterator[Shape]:
        """The shapes of the parts that reach into a field, back to front."""
        field = specimen_from_image.inverse()
        lower, upper = grid.corners().min(0), grid.corners().max(0)
        # A circle on the specimen reaches at most this far along either axis of the image.
        stretch = float(np.linalg.norm(field.linear, 2))
        for part in self.parts:
            centre = field(part.centre[None])[0]
            if np.all(centre + stretch * part.radius > lower) and np.all(centre - stretch * part.radius < upper):
                yield from part.shapes
        bead = Material("particle", 1.0, 0.0, 0.9, 0.2)
        turn = np.linspace(0, 2 * np.pi, 20, endpoint=False)
        circle = _PARTICLE_RADIUS * np.stack([np.sin(turn), np.cos(turn)], 1)
        for place in self.particles[self.dense]:
            yield Shape(place + circle, bead)

    def electron(
        self,
        spacing: float = 0.03,
        shape: tuple[int, int] = (1024, 1024),
        specimen_from_electron: Affine | None = None,
        *,
        optics: Electron | None = None,
        data_bar: bool = False,
        rng: Rng | None = None,
    ) -> Image:
        """Take an electron image.

        Parameters
        ----------
        spacing : float
            Micrometres per pixel.
        shape : (int, int)
            Pixels.
        specimen_from_electron : Affine, optional
            Where the image lies on the specimen, micrometres to micrometres; in the middle of it without.
        optics : Electron, optional
            The microscope and its settings.
        data_bar : bool
            Whether a bar with text and scale covers the lowest rows; the mask of the image then excludes it.
        rng : numpy.random.Generator, optional
            Source of noise and artefacts; follows from the specimen's seed without.

        Returns
        -------
        Image
            One channel, 8 bit, calibrated.
        """
        grid = Grid.of(shape, spacing, unit="micrometre")
        place = specimen_from_electron or centred(grid)
        noise = rng if rng is not None else np.random.default_rng([self.seed, 1])
        painting = self.paint(grid, place, _FINEST_ELECTRON)
        pixels = instruments.electron_pixels(painting, self.texture, place, optics or Electron(), noise)
        if not data_bar:
            return Image.from_array(pixels, spacing, ["electron"])
        pixels, valid = instruments.add_data_bar(pixels, spacing)
        return Image.from_array(pixels, spacing, ["electron"], mask=valid)

    def light(
        self,
        spacing: float = 0.1,
        shape: tuple[int, int] = (512, 512),
        specimen_from_light: Affine | None = None,
        *,
        optics: Light | None = None,
        rng: Rng | None = None,
    ) -> Image:
        """Take a light image.

        Parameters
        ----------
        spacing : float
            Micrometres per pixel.
        shape : (int, int)
            Pixels.
        specimen_from_light : Affine, optional
            Where the image lies on the specimen, micrometres to micrometres; in the middle of it without.
        optics : Light, optional
            The microscope and its settings.
        rng : numpy.random.Generator, optional
            Source of noise and artefacts; follows from the specimen's seed without.

        Returns
        -------
        Image
            16 bit, calibrated, with the channels `light_channels`.
        """
        grid = Grid.of(shape, spacing, unit="micrometre")
        place = specimen_from_light or centred(grid)
        noise = rng if rng is not None else np.random.default_rng([self.seed, 2])
        lens = optics or Light()
        painting = self.paint(grid, place, _FINEST_LIGHT)
        channels = [instruments.reflected_pixels(painting, self.texture, place, lens, noise)]
        if "chromatin" in self.light_channels:
            below = self._buried(grid, place)
            stain = instruments.stain_pixels(painting, below, self.texture, place, lens, noise)
            index = grid.index(place.inverse()(self.particles))
            spots = instruments.particle_pixels(index, self.brightness, grid, lens, noise)
            channels = [stain, channels[0], spots]
        return Image.from_array(np.stack(channels), spacing, self.light_channels)

    def _buried(self, grid: Grid, specimen_from_image: Affine) -> Float32:
        nothing = Material("nothing", 0.0)
        drawing = paint(self.buried, nothing, grid, specimen_from_image, max(grid.spacing))
        return drawing.quantity("chromatin")


def centred(grid: Grid) -> Affine:
    """The placement that lays the middle of an image on the middle of the specimen."""
    return Affine.of(np.eye(2), -grid.centre)


def _cell_parts(seed: int, extent: float) -> tuple[Material, tuple[Part, ...], tuple[Shape, ...]]:
    tissue, parts, buried = tissue_parts(seed, extent)
    return tissue.materials["resin"], parts, buried


# Lays out a specimen: what it is embedded in, its parts back to front, and what lies below the section.
_LAYOUTS = {
    "cell": _cell_parts,
    "tissue": organ_parts,
    "fibres": fibre_parts,
    "neuropil": neuropil_parts,
    "plant": plant_parts,
}


def specimen(kind: SpecimenKind = "cell", seed: int = 0, *, extent: float = 160.0) -> Specimen:
    """Make a specimen.

    Parameters
    ----------
    kind : {"cell", "grains", "tissue", "fibres", "neuropil", "plant"}
        A section through cells; a polished metal surface; a section through an organ with glands, stroma, vessels and
        fat; bundles of collagen, muscle and nerve; a section through densely packed processes of the brain; a section
        through a plant's stem.
    seed : int
        The same seed and extent give the same specimen; another seed gives another in every respect.
    extent : float
        Side of the square that it fills, in micrometres. Beyond it there is only embedding medium.

    Returns
    -------
    Specimen

    Raises
    ------
    UsageError
        If the kind is unknown, the seed negative, or the extent below 20 µm.

    Notes
    -----
    Laying out takes about 0.1 s; the inside of a cell is made when an instrument first looks at it.

    Examples
    --------
    >>> section = specimen(seed=3, extent=40)
    >>> section.electron(spacing=0.05, shape=(64, 96)).grid.spacing
    (0.05, 0.05)
    >>> section.light(shape=(48, 48)).channels
    ('chromatin', 'reflected', 'particles')
    """
    if kind not in get_args(SpecimenKind):
        raise UsageError(f"The kinds of specimen are {', '.join(get_args(SpecimenKind))}; got {kind!r}.")
    if seed < 0 or not extent >= 20:
        raise UsageError(f"A specimen needs a seed of 0 or more and an extent of 20 µm or more; got {seed}, {extent}.")
    texture = Texture((seed, 31))
    if kind == "grains":
        background, parts = grain_parts(seed, extent)
        none = np.empty(0)
        return Specimen(kind, seed, extent, background, parts, (), np.empty((0, 2)), none, none.astype(bool), texture)
    background, parts, buried = _LAYOUTS[kind](seed, extent)
    rng = np.random.default_rng([seed, 32])
    count = rng.poisson(float(np.exp(rng.uniform(np.log(0.008), np.log(0.05)))) * extent**2)
    particles = rng.uniform(-extent / 2, extent / 2, (count, 2))
    brightness = np.clip(rng.lognormal(-0.3, 0.4, count), 0.2, 2.0)
    dense = rng.random(count) < rng.uniform(0.0, 0.5)
    return Specimen(kind, seed, extent, background, parts, buried, particles, brightness, dense, texture)
