"""Bundles of collagen and muscle that cross one another, and nerves cut across with their rings of myelin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from correlight.geometry import Points
from correlight.simulate.elements import (
    NUCLEUS,
    bent,
    dots,
    draw_materials,
    inside,
    mitochondrion,
    nucleus,
    oval,
    packed,
    part,
    tiles,
    varied,
)
from correlight.simulate.model import Material, Part, Shape
from correlight.simulate.outlines import Rng, Warp, centreline, normals, polar, rod, wobble

_DIRECTIONS = 64
_TILE = 10.0
_AT_REST = {
    "matrix": (0.16, 0.01, 0.5),
    "sheath": (0.34, 0.02, 0.6),
    "collagen": (0.50, 0.06, 0.6),
    "elastin": (0.74, 0.14, 0.3),
    "sarcoplasm": (0.40, 0.04, 0.8),
    "myofibril": (0.44, 0.06, 0.6),
    "band": (0.74, 0.08, 0.5),
    "disc": (0.90, 0.10, 0.3),
    "membrane": (0.80, 0.0, 0.4),
    "cytoplasm": (0.40, 0.02, 1.0),
    "myelin": (0.93, 0.30, 0.2),
    "axoplasm": (0.24, 0.01, 0.6),
    "neurofilament": (0.52, 0.0, 0.4),
    "mitochondrion": (0.68, 0.03, 0.6),
    "crista": (0.48, 0.02, 0.5),
    "fat": (0.10, 0.0, 0.1),
    **NUCLEUS,
}


@dataclass(frozen=True, eq=False)
class Strands:
    """Everything that differs from specimen to specimen, drawn once.

    Parameters
    ----------
    materials : mapping of str to Material
        By name.
    headings : tuple of float
        Directions in which bundles run before they are bent, radians.
    width : float
        Typical half width of a bundle, micrometres.
    fibre : float
        Typical width of a fibre in it, micrometres.
    crimp, wavelength : float
        Amplitude over wavelength of the waves of fibres, and their length in micrometres.
    muscle : float
        Share of bundles that are muscle.
    across : float
        Share of bundles that are cut across.
    period : float
        Distance of the discs in striated muscle, micrometres.
    axon : float
        Typical outer radius of a myelinated axon, micrometres.
    thickness : float
        Typical ratio of inner to outer radius of myelin.
    warp : Warp
        Bends everything.
    """

    materials: Mapping[str, Material]
    headings: tuple[float, ...]
    width: float
    fibre: float
    crimp: float
    wavelength: float
    muscle: float
    across: float
    period: float
    axon: float
    thickness: float
    warp: Warp

    @classmethod
    def draw(cls, rng: Rng) -> Strands:
        """Draw the fibres of a specimen."""
        first = rng.uniform(0, np.pi)
        families = int(rng.integers(1, 4))
        return cls(
            draw_materials(rng, _AT_REST),
            headings=tuple(float(first + k * rng.uniform(0.5, 1.4)) for k in range(families)),
            width=float(np.exp(rng.uniform(np.log(1.5), np.log(6)))),
            fibre=float(np.exp(rng.uniform(np.log(0.12), np.log(0.6)))),
            crimp=float(rng.uniform(0, 0.07)),
            wavelength=float(np.exp(rng.uniform(np.log(6), np.log(25)))),
            muscle=float(rng.choice([0.0, rng.uniform(0, 0.5), 1.0])),
            across=float(rng.choice([0.0, rng.uniform(0.0, 0.4)])),
            period=float(rng.uniform(1.4, 2.6)),
            axon=float(np.exp(rng.uniform(np.log(0.8), np.log(2.6)))),
            thickness=float(rng.uniform(0.55, 0.8)),
            warp=Warp(rng, 0.8, 15.0, 90.0, 9),
        )


def fibre_parts(seed: int, extent: float) -> tuple[Material, tuple[Part, ...], tuple[Shape, ...]]:
    """Lay out bundles and nerves.

    Parameters
    ----------
    seed : int
        The same seed gives the same fibres.
    extent : float
        Side of the square that it fills, in micrometres, centred on the origin.

    Returns
    -------
    background : Material
        What lies beyond the edge and between bundles.
    parts : tuple of Part
        Bundles, one over another, then nerves.
    buried : tuple of Shape
        Nuclei below the section: light reaches them, electrons do not.
    """
    rng = np.random.default_rng([seed, 71])
    strands = Strands.draw(rng)
    share = float(rng.choice([0.0, rng.uniform(0.0, 0.5), 1.0], p=[0.35, 0.3, 0.35]))
    parts = _bundles(rng, strands, seed, extent) if share < 1 else []
    return (
        strands.materials["matrix"],
        (*parts, *_nerves(rng, strands, seed, extent, share)),
        _buried(rng, strands, extent),
    )


def _bundles(rng: Rng, strands: Strands, seed: int, extent: float) -> list[Part]:
    """Loose fibres, then bundles of all families in random order, so that each passes over some and under others."""
    parts = [
        part(middle, 2.2 * _TILE, strands.warp, partial(_loose, strands, (seed, 77, number), middle))
        for number, middle in tiles(extent, _TILE)
    ]
    length = strands.width * rng.uniform(6, 16)
    count = int(rng.uniform(2.0, 4.5) * extent**2 / (2 * strands.width * length))
    for number in range(count):
        own = np.random.default_rng([seed, 72, number])
        place = own.uniform(-0.55, 0.55, 2) * extent
        half = strands.width * float(np.exp(own.normal(0, 0.35)))
        if own.random() < strands.across:
            parts.append(
                part(place, 1.6 * half, strands.warp, partial(_cut_across, strands, (seed, 73, number), place, half))
            )
            continue
        heading = float(own.choice(strands.headings)) + own.normal(0, 0.07)
        build = partial(_bundle, strands, (seed, 73, number), place, heading, half, length)
        parts.append(part(place, 0.75 * length + 2 * half, strands.warp, build))
    return parts


def _loose(strands: Strands, seed: tuple[int, ...], middle: Points) -> list[Shape]:
    """What shows where no bundle passes: single fibres along the families, and a cell here and there."""
    rng = np.random.default_rng(seed)
    stuff = strands.materials
    made: list[Shape] = []
    for _ in range(rng.poisson(35)):
        spot = middle + rng.uniform(-0.55, 0.55, 2) * _TILE
        heading = float(rng.choice(strands.headings)) + rng.normal(0, 0.35)
        line = centreline(rng, spot, rng.uniform(2, 10), 0.9, heading, 12)
        made.append(Shape(line, varied(rng, stuff["collagen"], 0.25), float(np.exp(rng.normal(np.log(0.12), 0.6)))))
    if rng.random() < 0.5:
        spot = middle + rng.uniform(-0.5, 0.5, 2) * _TILE
        radius = float(rng.uniform(1.2, 2.2))
        body = oval(rng, spot, 1.4 * radius, 1.2 * radius, rng.uniform(0, np.pi), 0.08)
        made += [
            Shape(body, stuff["membrane"]),
            Shape(spot + 0.97 * (body - spot), varied(rng, stuff["cytoplasm"], 0.15)),
        ]
        made += nucleus(rng, stuff, spot, radius, 0.85 * radius, rng.uniform(0, np.pi), float(rng.uniform(0.5, 1.1)))
    return made


def _bundle(
    strands: Strands, seed: tuple[int, ...], place: Points, heading: float, half: float, length: float
) -> list[Shape]:
    """One bundle seen from the side: a sheath, fibres with a common crimp, thin nuclei along them."""
    rng = np.random.default_rng(seed)
    stuff = strands.materials
    along = np.array([np.sin(heading), np.cos(heading)])
    side = np.array([along[1], -along[0]])
    run = np.linspace(-0.5, 0.5, 40) * length
    wave = 2 * np.pi * run / strands.wavelength + rng.uniform(0, 6)
    middle = place + np.outer(run, along) + np.outer(strands.crimp * strands.wavelength * np.sin(wave), side)
    across = normals(middle)
    # A bundle comes up into the section and leaves it again: it tapers.
    taper = np.sqrt(np.clip(1 - (2 * run / length) ** 4, 0.01, 1)) * half
    muscle = rng.random() < strands.muscle
    made = [Shape(rod(middle, taper), varied(rng, stuff["sarcoplasm" if muscle else "sheath"], 0.15))]
    fibre = stuff["myofibril" if muscle else "collagen"]
    wide = float(np.clip(2 * strands.fibre, 0.4, 1.0)) if muscle else strands.fibre
    phase = float(rng.uniform(0, strands.period))
    steps = np.arange(-0.96, 0.97, min(0.5, 1.05 * wide / half))
    for level in steps + rng.normal(0, 0.01, len(steps)):
        if rng.random() < 0.08:
            continue
        own = stuff["elastin"] if not muscle and rng.random() < 0.03 else fibre
        drift = level + 0.05 * np.sin(wave * rng.uniform(0.3, 0.8) + rng.uniform(0, 6))
        line = middle + across * (np.clip(drift, -0.97, 0.97) * taper)[:, None]
        ends = np.sort(rng.integers(0, len(line), 2)) if rng.random() < 0.4 and not muscle else (0, len(line))
        if ends[1] - ends[0] > 3:
            thick = wide * rng.uniform(0.7, 0.95)
            made.append(Shape(line[ends[0] : ends[1]], varied(rng, own, 0.14), thick))
            made += _striations(strands, rng, line, thick, phase) if muscle else []
    for _ in range(rng.poisson(0.01 * half * length)):
        at = int(rng.integers(4, len(run) - 4))
        level = rng.choice([-0.95, 0.95]) if muscle else rng.uniform(-1, 1)
        tangent = middle[at + 1] - middle[at - 1]
        turn = float(np.arctan2(*tangent))
        long, thin = rng.uniform(1.8, 4.0), rng.uniform(0.25, 0.7)
        spot = middle[at] + across[at] * level * taper[at]
        made += nucleus(rng, stuff, spot, long, thin, turn, float(rng.uniform(0.5, 1.1)))
    return made


def _striations(strands: Strands, rng: Rng, line: Points, wide: float, phase: float) -> list[Shape]:
    """The bands of one myofibril: a dark one half a period long, and a thin disc across between two of them."""
    band, disc = strands.materials["band"], strands.materials["disc"]
    far = np.concatenate([[0], np.cumsum(np.hypot(*np.diff(line, axis=0).T))])
    across = normals(line)
    places = np.arange(phase + rng.normal(0, 0.04), far[-1] - strands.period, strands.period)
    half = strands.period / 2

    def at(curve: Points, *offsets: float) -> Points:
        runs = places[:, None] + offsets
        return np.stack([np.interp(runs, far, column) for column in curve.T], -1)

    dark = at(line, -0.56 * half, 0.0, 0.56 * half)
    across_disc = at(line, half) + at(across, half) * np.array([[-0.5], [0.5]]) * wide
    return [Shape(run, band, wide) for run in dark] + [Shape(run, disc, 0.08) for run in across_disc]


def _cut_across(strands: Strands, seed: tuple[int, ...], place: Points, half: float) -> list[Shape]:
    """A bundle cut across: a field of dots, or of polygons where it is muscle."""
    rng = np.random.default_rng(seed)
    stuff = strands.materials
    outline = polar(place, half * wobble(rng, _DIRECTIONS, 0.1))
    muscle = rng.random() < strands.muscle
    made = [
        Shape(outline, stuff["membrane"]),
        Shape(place + 0.98 * (outline - place), varied(rng, stuff["sheath"], 0.15)),
    ]
    size = strands.fibre * (0.9 if muscle else 0.5)
    step = 2.2 * size
    rows = np.arange(-half, half, step)
    dots = np.stack(np.meshgrid(rows, rows, indexing="ij"), -1).reshape(-1, 2)
    dots += rng.uniform(-0.25, 0.25, dots.shape) * step
    for dot in dots[np.hypot(*dots.T) < 0.85 * half]:
        own = varied(rng, stuff["myofibril" if muscle else "collagen"], 0.12)
        made.append(Shape(polar(place + dot, size * wobble(rng, 10, 0.12)), own))
    return made


def _nerves(rng: Rng, strands: Strands, seed: int, extent: float, share: float) -> list[Part]:
    """Fascicles of nerve, or one that fills the specimen: axons of mixed size, each a part."""
    if share == 0:
        return []
    stuff = strands.materials
    parts: list[Part] = []
    radii = strands.axon * np.exp(
        rng.normal(0, rng.uniform(0.25, 0.6), int(3.5 * (extent / strands.axon) ** 2 / np.pi))
    )
    radii = np.clip(radii, 0.3, 4 * strands.axon)
    # Large ones first, but not strictly, as in a packing.
    radii = radii[np.argsort(-radii * rng.uniform(0.5, 1.5, len(radii)))]
    places, which = packed(rng, radii, extent, rng.uniform(1.0, 1.12))
    sizes = radii[which]
    if share < 1:
        count = max(1, round(share * (extent / 60) ** 2 * 2))
        centres = rng.uniform(-0.45, 0.45, (count, 2)) * extent
        wide = rng.uniform(10, 28, count)
        parts += [
            part(c, 1.3 * w, strands.warp, partial(_perineurium, strands, (seed, 74, k), c, w))
            for k, (c, w) in enumerate(zip(centres, wide.tolist(), strict=True))
        ]
        within = [np.any(np.hypot(*(centres - p).T) + s < 0.93 * wide) for p, s in zip(places, sizes, strict=True)]
        places, sizes = places[within], sizes[within]
    else:
        ground = np.array([[-1, -1], [-1, 1], [1, 1], [1, -1]]) * extent / 2
        parts.append(Part(np.zeros(2), extent, partial(_ground, ground, stuff["sheath"])))
        parts += _endoneurium(rng, strands, seed, extent)
    for number, (place, size) in enumerate(zip(places, sizes.tolist(), strict=True)):
        parts.append(
            part(place, 2.0 * size + 0.5, strands.warp, partial(_axon, strands, (seed, 75, number), place, size))
        )
    return parts


def _ground(outline: Points, material: Material) -> list[Shape]:
    return [Shape(outline, material)]


def _perineurium(strands: Strands, seed: tuple[int, ...], centre: Points, radius: float) -> list[Shape]:
    """Layers of flat cells around a fascicle, and what lies between the axons in it."""
    rng = np.random.default_rng(seed)
    stuff = strands.materials
    outline = polar((0, 0), radius * wobble(rng, 160, 0.05))
    made = []
    for layer in np.linspace(1.12, 1.0, int(rng.integers(3, 7))):
        made += [Shape(centre + layer * outline, stuff["membrane"])]
        made += [Shape(centre + (layer - 0.012) * outline, varied(rng, stuff["cytoplasm"], 0.2))]
        turn = rng.uniform(0, 2 * np.pi)
        spot = centre + layer * radius * np.array([np.sin(turn), np.cos(turn)])
        made += nucleus(rng, stuff, spot, 2.5, 0.4, turn + np.pi / 2)
    return [*made, Shape(centre + 0.98 * outline, stuff["sheath"])]


def _endoneurium(rng: Rng, strands: Strands, seed: int, extent: float) -> list[Part]:
    """Between axons: fibrils cut across, and cells with nuclei."""
    count = int(0.012 * extent**2)
    places = rng.uniform(-extent / 2, extent / 2, (count, 2))
    return [part(p, 6.0, strands.warp, partial(_between, strands, (seed, 76, k), p)) for k, p in enumerate(places)]


def _between(strands: Strands, seed: tuple[int, ...], place: Points) -> list[Shape]:
    rng = np.random.default_rng(seed)
    stuff = strands.materials
    made = []
    if rng.random() < 0.35:
        heading = rng.uniform(0, np.pi)
        made += [Shape(oval(rng, place, 3.2, 0.9, heading, 0.1), varied(rng, stuff["cytoplasm"], 0.15))]
        made += nucleus(rng, stuff, place, 2.2, 0.6, heading, float(rng.uniform(0.5, 1.1)))
    made += dots(place + rng.normal(0, 1.6, (rng.integers(5, 60), 2)), rng.uniform(0.03, 0.07), stuff["collagen"])
    for _ in range(rng.integers(0, 12)):
        spot = place + rng.normal(0, 1.0, 2)
        outline = oval(rng, spot, rng.uniform(0.15, 0.5), rng.uniform(0.12, 0.3), rng.uniform(0, np.pi), 0.1)
        made += [Shape(outline, stuff["membrane"]), Shape(spot + 0.85 * (outline - spot), stuff["axoplasm"])]
    return made


def _axon(strands: Strands, seed: tuple[int, ...], place: Points, radius: float) -> list[Shape]:
    """An axon in its sheath: myelin, axoplasm with mitochondria and filaments, at times the nucleus that made it."""
    rng = np.random.default_rng(seed)
    stuff = strands.materials
    outer = 0.97 * radius * wobble(rng, _DIRECTIONS, 0.07, 2, 6)
    made = [Shape(polar(place, outer + 0.06), varied(rng, stuff["cytoplasm"], 0.1))]
    if rng.random() < 0.12 * radius:
        turn = rng.uniform(0, 2 * np.pi)
        spot = place + (0.95 * radius) * np.array([np.sin(turn), np.cos(turn)])
        made += [Shape(oval(rng, spot, 0.95 * radius, 0.42 * radius, turn + np.pi / 2, 0.05), stuff["cytoplasm"])]
        made += nucleus(rng, stuff, spot, 0.75 * radius, 0.3 * radius, turn + np.pi / 2, float(rng.uniform(0.5, 1.1)))
    # Thick sheaths around thin axons: the ratio grows with size.
    ratio = float(np.clip(strands.thickness + 0.06 * np.log(radius / strands.axon) + rng.normal(0, 0.05), 0.4, 0.9))
    core = place + rng.normal(0, 0.04, 2) * radius
    inner = np.minimum(ratio * outer * wobble(rng, _DIRECTIONS, 0.05, 2, 7), outer - 0.06)
    made.append(Shape(polar(place, outer), varied(rng, stuff["myelin"], 0.05)))
    if radius > 1.0 and rng.random() < 0.15:
        # Fixation splits the lamellae of some sheaths.
        split = (ratio + rng.uniform(0.1, 0.8) * (1 - ratio)) * outer
        first = int(rng.integers(0, _DIRECTIONS))
        made.append(Shape(polar(place, split)[np.arange(first, first + 18) % _DIRECTIONS], stuff["matrix"], 0.05))
    made.append(Shape(polar(core, inner), varied(rng, stuff["axoplasm"], 0.18)))
    room = float(inner.min())
    for _ in range(rng.poisson(1.2 * room**1.5)):
        spot = core + inside(rng, room, room, 0.0, 0.7)
        made += mitochondrion(rng, stuff, spot, rng.uniform(0.09, 0.2), rng.uniform(0, np.pi), rng.uniform(1, 2.5))
    spots = np.array([inside(rng, room, room, 0.0, 0.9) for _ in range(rng.poisson(14 * room))]).reshape(-1, 2)
    return made + dots(core + spots, 0.02, stuff["neurofilament"], 5)


def _buried(rng: Rng, strands: Strands, extent: float) -> tuple[Shape, ...]:
    """Nuclei below the section, ``(K,)`` shapes."""
    glow = strands.materials["heterochromatin"]
    spots = rng.uniform(-extent / 2, extent / 2, (rng.poisson(0.003 * extent**2), 2))
    made = [
        Shape(
            oval(rng, spot, rng.uniform(1.5, 4.0), rng.uniform(0.4, 1.0), float(rng.choice(strands.headings))),
            varied(rng, glow, 0.0, rng.uniform(0.3, 0.6)),
        )
        for spot in spots
    ]
    return tuple(bent(made, strands.warp))
