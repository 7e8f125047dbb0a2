"""A section through an organ: glands and ducts, stroma, vessels and fat, as histology shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from correlight.geometry import Points
from correlight.simulate.elements import (
    NUCLEUS,
    bent,
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
from correlight.simulate.outlines import Profile, Rng, Warp, angles, blob, centreline, polar, wobble

_DIRECTIONS = 180
_TILE = 10.0
_AT_REST = {
    "matrix": (0.20, 0.015, 0.6),
    "collagen": (0.46, 0.03, 0.6),
    "elastin": (0.70, 0.10, 0.3),
    "cytoplasm": (0.42, 0.02, 1.0),
    "apical": (0.55, 0.03, 0.8),
    "membrane": (0.82, 0.0, 0.4),
    "basement": (0.60, 0.02, 0.4),
    "brush": (0.72, 0.02, 0.3),
    "muscle": (0.52, 0.02, 0.7),
    "lumen": (0.08, 0.005, 0.2),
    "secretion": (0.50, 0.06, 0.5),
    "granule": (0.88, 0.0, 0.4),
    "mucus": (0.14, 0.0, 0.3),
    "mitochondrion": (0.70, 0.0, 0.6),
    "crista": (0.48, 0.0, 0.5),
    "plasma": (0.16, 0.01, 0.2),
    "erythrocyte": (0.86, 0.04, 0.1),
    "fat": (0.12, 0.0, 0.1),
    **NUCLEUS,
}


@dataclass(frozen=True, eq=False)
class Organ:
    """Everything that differs from specimen to specimen, drawn once.

    Parameters
    ----------
    materials : mapping of str to Material
        By name.
    scale : float
        Size of cells relative to the usual, 1 on average.
    gland : float
        Typical radius of a gland, micrometres.
    height : float
        Height of its epithelium as a fraction of the radius.
    secreting : float
        Share of glands that hold secretion.
    goblets : float
        Share of the epithelium's cells that are filled with mucus.
    granules : float
        Granules per cell.
    cellularity : float
        Nuclei in the stroma, 1 on average.
    fibrous : float
        Fibres in the stroma, 1 on average.
    drift : Warp
        Bends the direction in which stroma runs.
    warp : Warp
        Bends everything.
    """

    materials: Mapping[str, Material]
    scale: float
    gland: float
    height: float
    secreting: float
    goblets: float
    granules: float
    cellularity: float
    fibrous: float
    drift: Warp
    warp: Warp

    @classmethod
    def draw(cls, rng: Rng) -> Organ:
        """Draw an organ."""
        scale = float(np.exp(rng.uniform(np.log(0.6), np.log(1.3))))
        return cls(
            draw_materials(rng, _AT_REST),
            scale=scale,
            gland=scale * float(np.exp(rng.uniform(np.log(8), np.log(22)))),
            height=float(rng.uniform(0.28, 0.75)),
            secreting=float(rng.uniform(0, 0.8)),
            goblets=float(rng.choice([0.0, rng.uniform(0, 0.4)])),
            granules=float(np.exp(rng.uniform(np.log(1), np.log(25)))),
            cellularity=float(np.exp(rng.normal(0, 0.4))),
            fibrous=float(np.exp(rng.normal(0, 0.3))),
            drift=Warp(rng, 0.9, 40.0, 120.0, 6),
            warp=Warp(rng, 0.6, 10.0, 60.0, 9),
        )

    def heading(self, place: Points) -> float:
        """Direction of the stroma at a place, radians: that of a straight line after the drift."""
        ends = self.drift(np.asarray(place) + np.array([[0.0, 0.0], [0.0, 0.5]]))
        return float(2 * np.arctan2(*(ends[1] - ends[0])))


def organ_parts(seed: int, extent: float) -> tuple[Material, tuple[Part, ...], tuple[Shape, ...]]:
    """Lay out an organ.

    Parameters
    ----------
    seed : int
        The same seed gives the same organ.
    extent : float
        Side of the square that it fills, in micrometres, centred on the origin.

    Returns
    -------
    background : Material
        What lies beyond the edge.
    parts : tuple of Part
        Stroma in tiles, then vessels, fat and glands.
    buried : tuple of Shape
        Nuclei below the section: light reaches them, electrons do not.
    """
    rng = np.random.default_rng([seed, 51])
    organ = Organ.draw(rng)
    stroma = [
        part(middle, 2.0 * _TILE, organ.warp, partial(_cloud, organ, (seed, 54, number), middle))
        for number, middle in tiles(extent, _TILE)
    ]
    stroma += [
        part(middle, 2.2 * _TILE, organ.warp, partial(_stroma, organ, (seed, 52, number), middle))
        for number, middle in tiles(extent, _TILE)
    ]
    # What is large falls first, as in any packing.
    room = extent**2
    glands = organ.gland * np.exp(rng.normal(0, 0.3, int(3 * room / organ.gland**2)))
    vessels = organ.scale * np.exp(rng.normal(np.log(3.5), 0.45, rng.poisson(0.003 * room)))
    fat = organ.scale * np.exp(rng.normal(np.log(6.0), 0.3, rng.poisson(rng.choice([0.0, 0.004, 0.02]) * room)))
    kinds = np.repeat([0, 1, 2], [len(glands), len(vessels), len(fat)])
    radii = np.concatenate([glands, vessels, fat])
    first = rng.random(len(radii)) - 0.25 * (kinds == 1) + rng.uniform(-0.5, 0.5) * (kinds == 2)
    order = np.argsort(first)
    kinds, radii = kinds[order], radii[order]
    places, which = packed(rng, radii, extent, rng.uniform(1.0, 1.25))
    builders = (_gland, _vessel, _fat)
    parts = []
    for number, place in zip(which.tolist(), places, strict=True):
        size = float(radii[number])
        build = partial(builders[kinds[number]], organ, (seed, 53, number), place, size)
        parts.append(part(place, 1.9 * size, organ.warp, build))
    return organ.materials["matrix"], (*stroma, *parts), _buried(rng, organ, extent)


def _cloud(organ: Organ, seed: tuple[int, ...], middle: Points) -> list[Shape]:
    """Ground substance, denser here than there."""
    rng = np.random.default_rng(seed)
    spots = middle + rng.uniform(-0.5, 0.5, (rng.integers(0, 4), 2)) * _TILE
    return [
        Shape(
            centre + polar((0, 0), rng.uniform(2, 6) * wobble(rng, 60, 0.25)) * rng.uniform(0.4, 1.0, 2),
            varied(rng, organ.materials["matrix"], 0.3),
        )
        for centre in spots
    ]


def _stroma(organ: Organ, seed: tuple[int, ...], middle: Points) -> list[Shape]:
    """Wavy fibres along a slowly turning direction, flat nuclei between them, a few round ones."""
    rng = np.random.default_rng(seed)
    stuff = organ.materials
    made: list[Shape] = []
    for _ in range(rng.poisson(28 * organ.fibrous)):
        spot = middle + rng.uniform(-0.55, 0.55, 2) * _TILE
        kind = stuff["elastin"] if rng.random() < 0.05 else stuff["collagen"]
        heading = organ.heading(spot) + rng.normal(0, 0.18)
        line = centreline(rng, spot, rng.uniform(4, 14), 0.7, heading, 14)
        made.append(Shape(line, varied(rng, kind, 0.2), float(np.exp(rng.normal(np.log(0.28), 0.7)))))
    for _ in range(rng.poisson(1.1 * organ.cellularity / organ.scale)):
        spot = middle + rng.uniform(-0.5, 0.5, 2) * _TILE
        made += _stromal_cell(rng, organ, spot)
    return made


def _stromal_cell(rng: Rng, organ: Organ, spot: Points) -> list[Shape]:
    """A fibroblast, thin and long, or a round cell of the immune system."""
    stuff, size = organ.materials, organ.scale
    dye = float(rng.uniform(0.5, 1.1))
    if rng.random() < 0.25:
        radius = size * rng.uniform(1.2, 1.8)
        body = oval(rng, spot, 1.25 * radius, 1.2 * radius, 0.0, 0.06)
        return [
            Shape(body, stuff["membrane"]),
            Shape(spot + 0.97 * (body - spot), varied(rng, stuff["cytoplasm"], 0.15)),
            *nucleus(rng, stuff, spot, radius, 0.95 * radius, 0.0, dye, 1.8),
        ]
    heading = organ.heading(spot) + rng.normal(0, 0.12)
    long, wide = size * rng.uniform(2.0, 3.8), size * rng.uniform(0.4, 0.8)
    body = centreline(rng, spot, 2 * long * rng.uniform(1.5, 2.5), 0.3, heading, 12)
    return [
        Shape(body, stuff["membrane"], 0.7 * wide),
        Shape(body, varied(rng, stuff["cytoplasm"], 0.15), max(0.05, 0.7 * wide - 0.05)),
        *nucleus(rng, stuff, spot, long, wide, heading, dye),
    ]


def _gland(organ: Organ, seed: tuple[int, ...], site: Points, radius: float) -> list[Shape]:
    """A gland cut across: basement membrane, one row of cells with their nuclei at its foot, lumen."""
    rng = np.random.default_rng(seed)
    stuff = organ.materials
    outer = 0.92 * radius * wobble(rng, _DIRECTIONS, rng.uniform(0.04, 0.13), 2, 9)
    stretch = np.array([rng.uniform(0.75, 1.0), 1.0])
    height = float(np.clip(organ.height * rng.normal(1, 0.12), 0.2, 0.85))
    inner = outer * (1 - height) * wobble(rng, _DIRECTIONS, rng.uniform(0.05, 0.2), 2, 24)
    inner = np.minimum(inner, 0.85 * outer)
    content = stuff["secretion"] if rng.random() < organ.secreting else stuff["lumen"]
    made = [Shape(polar((0, 0), outer + 0.15), stuff["basement"])]
    cells = max(6, round(2 * np.pi * float(outer.mean()) / (organ.scale * rng.uniform(2.4, 3.4))))
    for number in range(cells):
        made += _epithelial_cell(rng, organ, number / cells, 1 / cells, outer, inner)
    made += [
        Shape(polar((0, 0), inner + 0.12 * organ.scale), stuff["brush"]),
        Shape(polar((0, 0), inner), varied(rng, content, 0.15)),
    ]
    for _ in range(rng.poisson(1.5) if content is stuff["secretion"] else 0):
        spot = inside(rng, float(inner.min()), float(inner.min()), 0.0, 0.8)
        made.append(Shape(blob(rng, spot, 0.15 * float(inner.min()), 0.2), stuff["lumen"]))
    turned = rng.uniform(0, np.pi)
    turn = np.array([[np.cos(turned), -np.sin(turned)], [np.sin(turned), np.cos(turned)]])
    return [shape._replace(points=site + (shape.points * stretch) @ turn) for shape in made]


def _epithelial_cell(rng: Rng, organ: Organ, start: float, share: float, outer: Profile, inner: Profile) -> list[Shape]:
    """One cell of the row, between two radii; ``start`` and ``share`` are fractions of the turn around the gland."""
    stuff = organ.materials
    fan = np.arange(int(start * _DIRECTIONS), int((start + share) * _DIRECTIONS) + 2) % _DIRECTIONS
    turn = angles(_DIRECTIONS)[fan]
    out = np.stack([np.sin(turn), np.cos(turn)], 1)
    foot, top = outer[fan], inner[fan]
    side = np.concatenate([out * foot[:, None], (out * top[:, None])[::-1]])
    body = varied(rng, stuff["cytoplasm"], 0.12)
    half = (foot + top)[:, None] / 2
    made = [
        Shape(side, body),
        Shape(np.concatenate([out * half, (out * top[:, None])[::-1]]), varied(rng, stuff["apical"], 0.1)),
    ]
    made += [Shape(np.stack([out[0] * foot[0], out[0] * top[0]]), stuff["membrane"], 0.05)]
    middle = len(fan) // 2
    axis, depth = out[middle], float(foot[middle] - top[middle])
    width = float(foot[middle] * 2 * np.pi * share)
    heading = float(np.arctan2(axis[0], axis[1]))
    if rng.random() < organ.goblets:
        spot = axis * (top[middle] + 0.4 * depth)
        made.append(Shape(oval(rng, spot, 0.36 * depth, 0.36 * width, heading, 0.1), stuff["mucus"]))
    else:
        for _ in range(rng.poisson(organ.granules)):
            spot = axis * (top[middle] + depth * rng.uniform(0.08, 0.5)) + rng.normal(0, 0.16 * width, 2)
            made.append(Shape(blob(rng, spot, organ.scale * rng.uniform(0.1, 0.28), 0.1), stuff["granule"]))
    for _ in range(rng.poisson(6)):
        spot = axis * (top[middle] + depth * rng.uniform(0.15, 0.9)) + rng.normal(0, 0.18 * width, 2)
        made += mitochondrion(rng, stuff, spot, 0.22 * organ.scale, heading + rng.normal(0, 0.5), rng.uniform(1, 3))
    if rng.random() < 0.8:
        long = float(np.clip(0.24 * depth, 0.5 * organ.scale, 2.2 * organ.scale))
        wide = float(min(0.4 * width, 0.9 * long))
        spot = axis * (foot[middle] - depth * rng.uniform(0.28, 0.42))
        made += nucleus(rng, stuff, spot, long, wide, heading + rng.normal(0, 0.1), float(rng.uniform(0.5, 1.1)))
    return made


def _vessel(organ: Organ, seed: tuple[int, ...], site: Points, radius: float) -> list[Shape]:
    """A vessel: muscle around larger ones, flat cells inside, plasma and red cells in the lumen."""
    rng = np.random.default_rng(seed)
    stuff = organ.materials
    outer = 0.9 * radius * wobble(rng, _DIRECTIONS, 0.06, 2, 5)
    wall = rng.uniform(0.08, 0.35) if radius > 3 * organ.scale else 0.1
    inner = outer * (1 - wall) * wobble(rng, _DIRECTIONS, 0.03, 3, 16)
    made = [Shape(polar(site, outer), stuff["basement"]), Shape(polar(site, 0.97 * outer), stuff["muscle"])]
    for ring in np.arange(1 - wall, 0.95, 0.06):
        made.append(Shape(polar(site, ring * outer), stuff["membrane"], 0.05))
    for number in range(rng.poisson(2 * np.pi * radius * wall)):
        turn = 2 * np.pi * (number + rng.random()) / max(1, number + 1) + rng.uniform(0, 6)
        spot = site + (1 - wall / 2) * 0.9 * radius * np.array([np.sin(turn), np.cos(turn)])
        thin = min(0.5 * organ.scale, 0.3 * wall * radius)
        made += nucleus(rng, stuff, spot, 4 * thin, thin, turn + np.pi / 2, float(rng.uniform(0.5, 1.1)))
    made += [Shape(polar(site, inner + 0.2), stuff["cytoplasm"]), Shape(polar(site, inner), stuff["plasma"])]
    for _ in range(rng.integers(1, 4)):
        turn = rng.uniform(0, 2 * np.pi)
        spot = site + float(inner.mean()) * np.array([np.sin(turn), np.cos(turn)])
        made += nucleus(rng, stuff, spot, 1.6 * organ.scale, 0.4 * organ.scale, turn + np.pi / 2)
    room = float(inner.min())
    for _ in range(rng.poisson(rng.choice([0.3, 3.0]) * room / organ.scale)):
        spot = site + inside(rng, room, room, 0.0, 0.75)
        cell = oval(rng, spot, organ.scale, organ.scale * rng.uniform(0.35, 1.0), rng.uniform(0, np.pi), 0.08)
        made.append(Shape(cell, varied(rng, stuff["erythrocyte"], 0.06)))
    return made


def _fat(organ: Organ, seed: tuple[int, ...], site: Points, radius: float) -> list[Shape]:
    """A fat cell: one large droplet in a thin rim, which the nucleus makes bulge."""
    rng = np.random.default_rng(seed)
    stuff = organ.materials
    outer = 0.98 * radius * wobble(rng, 72, 0.05, 2, 5)
    turn = rng.uniform(0, 2 * np.pi)
    spot = site + float(outer.mean()) * np.array([np.sin(turn), np.cos(turn)])
    made = [
        Shape(polar(site, outer), stuff["membrane"]),
        Shape(polar(site, outer - 0.06), stuff["cytoplasm"]),
        Shape(polar(site, outer - rng.uniform(0.15, 0.4)), varied(rng, stuff["fat"], 0.15)),
    ]
    if rng.random() < 0.6:
        made += nucleus(rng, stuff, spot, 1.5 * organ.scale, 0.5 * organ.scale, turn + np.pi / 2)
    return made


def _buried(rng: Rng, organ: Organ, extent: float) -> tuple[Shape, ...]:
    """Nuclei below the section, ``(K,)`` shapes."""
    glow = organ.materials["heterochromatin"]
    spots = rng.uniform(-extent / 2, extent / 2, (rng.poisson(0.006 * extent**2 / organ.scale**2), 2))
    made = [
        Shape(
            oval(
                rng, spot, organ.scale * rng.uniform(1.2, 2.6), organ.scale * rng.uniform(0.8, 1.4), organ.heading(spot)
            ),
            varied(rng, glow, 0.0, rng.uniform(0.3, 0.6)),
        )
        for spot in spots
    ]
    return tuple(bent(made, organ.warp))
