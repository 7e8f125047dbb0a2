"""A section through a plant: walled cells with vacuoles, chloroplasts and starch, and bundles of empty vessels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.spatial import cKDTree

from correlight.geometry import Points
from correlight.simulate.elements import NUCLEUS, draw_materials, inside, mitochondrion, nucleus, oval, part, varied
from correlight.simulate.model import Material, Part, Shape
from correlight.simulate.outlines import Profile, Rng, Warp, angles, blob, polar, wobble

_DIRECTIONS = 120
_AT_REST = {
    "air": (0.05, 0.0, 0.1),
    "wall": (0.48, 0.02, 0.4),
    "lignin": (0.62, 0.08, 0.3),
    "middle lamella": (0.72, 0.0, 0.3),
    "membrane": (0.80, 0.0, 0.4),
    "cytoplasm": (0.44, 0.03, 1.0),
    "vacuole": (0.10, 0.0, 0.2),
    "tannin": (0.85, 0.05, 0.4),
    "chloroplast": (0.56, 0.10, 0.6),
    "thylakoid": (0.78, 0.04, 0.4),
    "starch": (0.16, 0.0, 0.1),
    "mitochondrion": (0.66, 0.02, 0.6),
    "crista": (0.46, 0.0, 0.5),
    **NUCLEUS,
}


@dataclass(frozen=True, eq=False)
class Stem:
    """Everything that differs from specimen to specimen, drawn once.

    Parameters
    ----------
    materials : mapping of str to Material
        By name.
    radius : float
        Typical radius of a cell, micrometres.
    spread : float
        Deviation of the logarithm of cell radii.
    wall : float
        Thickness of the walls between cells, micrometres.
    green : float
        Chloroplasts per cell.
    starchy : float
        Share of chloroplasts that hold starch.
    tannic : float
        Share of vacuoles that are dark.
    bundles : float
        Micrometres from one vascular bundle to the next.
    warp : Warp
        Bends everything.
    """

    materials: Mapping[str, Material]
    radius: float
    spread: float
    wall: float
    green: float
    starchy: float
    tannic: float
    bundles: float
    warp: Warp

    @classmethod
    def draw(cls, rng: Rng) -> Stem:
        """Draw a stem."""
        return cls(
            draw_materials(rng, _AT_REST),
            radius=float(np.exp(rng.uniform(np.log(3.0), np.log(9.0)))),
            spread=float(rng.uniform(0.12, 0.4)),
            wall=float(np.exp(rng.uniform(np.log(0.15), np.log(0.8)))),
            green=float(rng.choice([rng.uniform(0, 2), rng.uniform(4, 14)])),
            starchy=float(rng.uniform(0, 0.9)),
            tannic=float(rng.choice([0.0, rng.uniform(0, 0.3)])),
            bundles=float(rng.uniform(35, 110)),
            warp=Warp(rng, 0.5, 12.0, 60.0, 8),
        )


def plant_parts(seed: int, extent: float) -> tuple[Material, tuple[Part, ...], tuple[Shape, ...]]:
    """Lay out a stem.

    Parameters
    ----------
    seed : int
        The same seed gives the same stem.
    extent : float
        Side of the square that it fills, in micrometres, centred on the origin.

    Returns
    -------
    background : Material
        The gas between cells.
    parts : tuple of Part
        One a cell.
    buried : tuple of Shape
        Nuclei below the section: light reaches them, electrons do not.
    """
    rng = np.random.default_rng([seed, 71])
    stem = Stem.draw(rng)
    sites, vessel = _sites(rng, stem, extent)
    # A wall runs where two neighbours are equally far, as between bubbles.
    near = np.asarray(cKDTree(sites).query(sites, k=13)[1])[:, 1:]
    parts, buried = [], []
    for number, site in enumerate(sites):
        own = np.random.default_rng([seed, 72, number])
        outline = _outline(sites[near[number]] - site, stem.radius * 2.5)
        reach = float(outline.max())
        build = partial(_vessel if vessel[number] else _cell, stem, (seed, 73, number), site, outline)
        parts.append(part(site, 1.2 * reach, stem.warp, build))
        if not vessel[number] and own.random() < 0.25:
            spot = site + inside(own, reach / 2, reach / 2, 0.0)
            glow = varied(own, stem.materials["heterochromatin"], 0.0, own.uniform(0.3, 0.6))
            shape = oval(own, spot, own.uniform(1.2, 2.2), own.uniform(0.9, 1.4), own.uniform(0, np.pi))
            buried.append(Shape(stem.warp(shape), glow))
    return stem.materials["air"], tuple(parts), tuple(buried)


def _sites(rng: Rng, stem: Stem, extent: float) -> tuple[Points, np.ndarray]:
    """Middles of cells and which of them are vessels: a jittered hexagonal board, closer in places."""
    step = 1.8 * stem.radius
    rows = np.arange(-extent / 2 - step, extent / 2 + step, step * np.sqrt(0.75))
    columns = np.arange(-extent / 2 - step, extent / 2 + step, step)
    y, x = np.meshgrid(rows, columns, indexing="ij")
    x = x + step / 2 * (np.arange(len(rows)) % 2)[:, None]
    sites = np.stack([y.ravel(), x.ravel()], 1)
    sites = sites + rng.normal(0, stem.spread * 0.6 * step, sites.shape)
    # Cells that lost their neighbours grow, and those that divided are small.
    sites = sites[rng.random(len(sites)) > 0.4 * stem.spread]
    divided = rng.random(len(sites)) < 0.5 * stem.spread
    turn = rng.uniform(0, 2 * np.pi, len(sites))
    half = 0.22 * step * np.stack([np.sin(turn), np.cos(turn)], 1)
    sites = np.concatenate([sites[~divided], (sites + half)[divided], (sites - half)[divided]])
    bundles = rng.uniform(-extent / 2, extent / 2, (max(1, rng.poisson((extent / stem.bundles) ** 2)), 2))
    far = cKDTree(bundles).query(sites)[0]
    return sites, (far < rng.uniform(1.5, 3.0) * step) & (rng.random(len(sites)) < 0.7)


def _outline(neighbours: Points, most: float) -> Profile:
    """How far a cell reaches in every direction before it meets the wall halfway to a neighbour."""
    turn = angles(_DIRECTIONS)
    out = np.stack([np.sin(turn), np.cos(turn)], 1)
    length = np.linalg.norm(neighbours, axis=1)
    towards = out @ (neighbours / length[:, None]).T
    with np.errstate(divide="ignore"):
        reach = np.where(towards > 0.05, length / 2 / np.maximum(towards, 1e-6), np.inf)
    # Sharp corners are rounded: the smooth minimum of all neighbours.
    return np.asarray(np.minimum(np.power(np.power(np.minimum(reach, 50 * most), -12.0).sum(1), -1 / 12), most))


def _shell(stem: Stem, site: Points, outline: Profile, wall: Material, thick: float) -> tuple[list[Shape], Profile]:
    """The walls of a cell, and what is left inside them."""
    lumen = np.maximum(outline - thick, 0.3 * outline)
    lamella = np.minimum(outline - 0.25 * (outline - lumen), outline - 0.03)
    return [
        Shape(polar(site, outline), stem.materials["middle lamella"]),
        Shape(polar(site, lamella), wall),
    ], lumen


def _vessel(stem: Stem, seed: tuple[int, ...], site: Points, outline: Profile) -> list[Shape]:
    """A dead cell: a thick wall around nothing."""
    rng = np.random.default_rng(seed)
    thick = stem.wall * rng.uniform(1.5, 3.5) + 0.1
    made, lumen = _shell(stem, site, outline, varied(rng, stem.materials["lignin"], 0.08), thick)
    return [*made, Shape(polar(site, lumen), stem.materials["air"])]


def _cell(stem: Stem, seed: tuple[int, ...], site: Points, outline: Profile) -> list[Shape]:
    """A living cell: wall, a seam of cytoplasm with all that lives, and one large vacuole."""
    rng = np.random.default_rng(seed)
    stuff = stem.materials
    made, lumen = _shell(stem, site, outline, varied(rng, stuff["wall"], 0.1), stem.wall * rng.uniform(0.7, 1.3))
    seam = np.clip(rng.uniform(0.08, 0.35) * wobble(rng, _DIRECTIONS, 0.35, 2, 9), 0.05, 0.6)
    made += [
        Shape(polar(site, lumen), stuff["membrane"]),
        Shape(polar(site, np.maximum(lumen - 0.03, 0.05)), varied(rng, stuff["cytoplasm"], 0.12)),
    ]
    sap = stuff["tannin"] if rng.random() < stem.tannic else stuff["vacuole"]
    made.append(Shape(polar(site, lumen * (1 - seam)), varied(rng, sap, 0.15)))
    size = float(lumen.mean())

    def at_the_wall(depth: float) -> tuple[Points, float]:
        """A place so far from the wall, and the direction along the wall there."""
        number = rng.integers(_DIRECTIONS)
        turn = float(angles(_DIRECTIONS)[number])
        return site + max(lumen[number] - depth, 0.0) * np.array([np.sin(turn), np.cos(turn)]), np.pi / 2 - turn

    for _ in range(rng.poisson(stem.green * (size / 5) ** 2)):
        wide = min(rng.uniform(0.5, 0.9), 0.25 * size)
        spot, along = at_the_wall(1.1 * wide)
        made += _chloroplast(rng, stem, spot, wide * rng.uniform(1.6, 2.4), wide, along + np.pi / 2)
    for _ in range(rng.poisson(2 + size)):
        spot, along = at_the_wall(0.3)
        made += mitochondrion(rng, stuff, spot, rng.uniform(0.15, 0.28), along, rng.uniform(1, 2.5))
    if rng.random() < 0.45:
        across = min(rng.uniform(0.9, 1.5), 0.35 * size)
        spot, along = at_the_wall(across * 1.1)
        made += nucleus(rng, stuff, spot, across * rng.uniform(1.0, 1.7), across, along, float(rng.uniform(0.6, 1.1)))
    return made


def _chloroplast(rng: Rng, stem: Stem, spot: Points, long: float, wide: float, heading: float) -> list[Shape]:
    """A lens with stacks of thylakoids, and starch grains that swell it."""
    stuff = stem.materials
    made = [
        Shape(oval(rng, spot, long, wide, heading, 0.06), stuff["membrane"]),
        Shape(oval(rng, spot, 0.96 * long, 0.94 * wide, heading, 0.05), varied(rng, stuff["chloroplast"], 0.1)),
    ]
    direction = np.array([np.sin(heading), np.cos(heading)])
    for _ in range(rng.poisson(8)):
        place = spot + inside(rng, long, wide, heading, 0.7)
        reach = rng.uniform(0.12, 0.3) * long * direction
        made.append(Shape(np.stack([place - reach, place + reach]), stuff["thylakoid"], rng.uniform(0.04, 0.1)))
    if rng.random() < stem.starchy:
        for _ in range(rng.integers(1, 4)):
            place = spot + inside(rng, long, wide, heading, 0.5)
            made.append(Shape(blob(rng, place, rng.uniform(0.25, 0.6) * wide, 0.08, 1.5), stuff["starch"]))
    return made
