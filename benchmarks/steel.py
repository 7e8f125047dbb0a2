"""Simulated micrographs of one etched steel of two phases and more, by one light and one electron microscope.

What style transfer before registration was published for: a TRIP steel, 26 micrometres wide on 512 pixels. Under the
light microscope the phases are told by the etchant: ferrite is bright, bainite brown, islands of martensite and
austenite white, boundaries are dark grooves, and polishing scratches show. The backscatter detector shows ferrite dark,
every grain with a grey of its own (channelling) that no light image tells, bainite brighter and with its laths, islands
bright, and the boundaries as thin dark lines: greys of one image neither rise nor fall with those of the other. The
simulated grains of `correlight.simulate` have another contrast under every instrument and for every specimen; here the
preparation and both instruments are those of one laboratory.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from scipy.spatial import Voronoi

from correlight.geometry import Points
from correlight.images.image import Image
from correlight.simulate import Electron, Light
from correlight.simulate.model import Material, Part, Shape, Texture
from correlight.simulate.outlines import Rng, Warp, blob
from correlight.simulate.specimen import Specimen
from correlight.transforms import Affine

SIDE, PIXEL = 512, 0.05
# Field of the specimen and the size of its grains, in micrometres; half of the width of a groove between them.
_EXTENT, _GRAIN, _HALF_GROOVE = 44.0, 3.2, 0.12
_FERRITE, _BAINITE = 0.55, 0.85
_GROOVE = Material("boundary", 0.95, 0.0, 0.2, 0.2)
_CARBIDE = Material("carbide", 0.1, 0.0, 0.15, 0.2)


def steel(seed: int) -> Specimen:
    """A polished and etched surface; the same seed gives the same one."""
    rng = np.random.default_rng([seed, 61])
    warp = Warp(rng, 0.5, 2.5, 15.0)
    count = int((_EXTENT / (_GRAIN * np.exp(rng.normal(0, 0.15)))) ** 2)
    cells = Voronoi(rng.uniform(-_EXTENT / 2, _EXTENT / 2, (count, 2)))
    regions = [cells.regions[number] for number in cells.point_region]
    inner = [cells.vertices[region] for region in regions if region and -1 not in region]
    parts = [
        Part(corners.mean(0), _radius(corners) + warp.largest_shift, partial(_grain, (seed, 62, number), corners, warp))
        for number, corners in enumerate(inner)
        if _radius(corners) < _EXTENT / 4
    ]
    parts.append(Part(np.zeros(2), 2 * _EXTENT, partial(_flaws, seed)))
    none = np.empty(0)
    texture = Texture((seed, 64))
    return Specimen("grains", seed, _EXTENT, _GROOVE, tuple(parts), (), np.empty((0, 2)), none, none > 0, texture)


def _radius(corners: Points) -> float:
    return float(np.hypot(*(corners - corners.mean(0)).T).max())


def _grain(seed: Sequence[int], corners: Points, warp: Warp) -> list[Shape]:
    """A grain of one of three phases, smaller than its cell by the groove around it."""
    rng = np.random.default_rng(seed)
    which, centre = rng.random(), corners.mean(0)
    apart = np.hypot(*(corners - centre).T).mean()
    outline = _dense(centre + (corners - centre) * max(0.5, 1 - _HALF_GROOVE / apart))
    if which < _FERRITE:
        # The grey by orientation under electrons says nothing of that under light.
        body = Material("ferrite", float(rng.normal(0.66, 0.09)), 0.0, float(rng.normal(0.72, 0.02)), 0.15)
        return [Shape(warp(outline), body)]
    if which < _BAINITE:
        body = Material("bainite", 0.42, 0.0, float(rng.normal(0.45, 0.03)), 0.4)
        return [Shape(warp(outline), body), *(Shape(warp(lath), _LATH) for lath in _laths(rng, outline, centre))]
    return [Shape(warp(outline), Material("island", 0.12, 0.0, float(rng.normal(0.95, 0.02)), 0.15))]


_LATH = Material("lath", 0.2, 0.0, 0.55, 0.3)


def _laths(rng: Rng, outline: Points, centre: Points) -> Iterator[Points]:
    """Parallel lens-shaped bodies inside a grain."""
    turn, reach = rng.uniform(0, np.pi), 0.9 * float(np.hypot(*(outline - centre).T).min())
    along = np.array([np.sin(turn), np.cos(turn)])
    across = np.array([along[1], -along[0]])
    for place in np.arange(-reach, reach, 0.45):
        half = np.sqrt(reach**2 - place**2) * rng.uniform(0.5, 1.0)
        walk = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        yield centre + place * across + half * np.outer(np.cos(walk), along) + 0.09 * np.outer(np.sin(walk), across)


def _dense(corners: Points, step: float = 0.2) -> Points:
    """More vertices along the sides, so that a warp can bend them."""
    pieces = [
        a + np.linspace(0, 1, max(1, int(np.hypot(*(b - a)) / step)), endpoint=False)[:, None] * (b - a)
        for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)
    ]
    return np.concatenate(pieces)


def _flaws(seed: int) -> list[Shape]:
    """Carbides, which both instruments see, and polishing scratches, which light sees better."""
    rng = np.random.default_rng([seed, 63])
    made = [
        Shape(blob(rng, rng.uniform(-_EXTENT / 2, _EXTENT / 2, 2), float(rng.uniform(0.08, 0.25)), 0.2), _CARBIDE)
        for _ in range(rng.poisson(0.06 * _EXTENT**2))
    ]
    for _ in range(rng.poisson(5)):
        start, turn = rng.uniform(-_EXTENT / 3, _EXTENT / 3, 2), rng.uniform(0, np.pi)
        line = start + np.outer(np.linspace(-0.5, 0.5, 12) * _EXTENT, [np.sin(turn), np.cos(turn)])
        made.append(Shape(line, Material("scratch", 0.6, 0.0, 0.45, 0.2), float(rng.uniform(0.04, 0.12))))
    return made


def micrographs(
    seed: int, light_pixel: float = PIXEL, specimen_from_light: Affine | None = None
) -> tuple[Image, Image]:
    """The electron image and the light image of one place, each with the settings of its day.

    The light image has the same pixels, unless another size of them in micrometres or another place is asked for.
    """
    rng, what = np.random.default_rng([seed, 65]), steel(seed)
    electron = Electron(
        spot=float(rng.uniform(0.6, 1.0)),
        contrast=float(rng.uniform(120, 160)),
        dose=float(rng.uniform(80, 300)),
        shading=float(rng.uniform(0, 0.1)),
        charging=float(rng.uniform(0, 6)),
        scratches=int(rng.poisson(1)),
    )
    light = Light(
        reflected_aperture=float(rng.uniform(0.75, 0.95)),
        photons=float(rng.uniform(300, 1200)),
        haze=float(rng.uniform(0.05, 0.2)),
        vignetting=float(rng.uniform(0, 0.25)),
        dust=int(rng.poisson(6)),
    )
    shape = (SIDE, SIDE)
    return (
        what.electron(PIXEL, shape, optics=electron, rng=np.random.default_rng([seed, 66])),
        what.light(light_pixel, shape, specimen_from_light, optics=light, rng=np.random.default_rng([seed, 67])),
    )
