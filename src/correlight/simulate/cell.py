"""A section through tissue: cells with nuclei, organelles and membranes, in resin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from correlight.geometry import Points
from correlight.simulate.model import Material, Part, Shape
from correlight.simulate.outlines import Profile, Rng, Warp, angles, blob, centreline, normals, polar, rod, wobble

_DIRECTIONS = 144
_MEMBRANE = 0.022
# Stain of each material at rest (dark in a transmission image), chromatin dye, and grain; every specimen varies them.
_AT_REST = {
    "resin": (0.10, 0.0, 0.35),
    "matrix": (0.30, 0.0, 0.8),
    "fibre": (0.42, 0.0, 0.8),
    "cytoplasm": (0.42, 0.012, 1.0),
    "membrane": (0.86, 0.0, 0.5),
    "nucleoplasm": (0.36, 0.09, 1.1),
    "heterochromatin": (0.68, 0.9, 0.9),
    "nucleolus": (0.80, 0.10, 0.9),
    "mitochondrion": (0.74, 0.0, 0.6),
    "crista": (0.50, 0.0, 0.5),
    "lumen": (0.20, 0.0, 0.6),
    "vesicle": (0.66, 0.0, 0.6),
    "granule": (0.90, 0.0, 0.4),
    "lipid": (0.24, 0.0, 0.25),
    "vacuole": (0.12, 0.0, 0.4),
}


@dataclass(frozen=True, eq=False)
class Tissue:
    """Everything that differs from specimen to specimen, drawn once.

    Parameters
    ----------
    materials : mapping of str to Material
        By name.
    diameter : float
        Typical cell diameter, micrometres.
    gap : float
        Typical distance of neighbouring cells, micrometres.
    empty : float
        Fraction of places without a cell.
    nucleated : float
        Fraction of cells whose nucleus lies in the section.
    crowding : float
        Organelles per area of cytoplasm, 1 on average.
    clumping : float
        How much of the chromatin is condensed, 1 on average.
    squareness : float
        How far cells reach into the corners between their neighbours, 4 (round) to 24.
    warp : Warp
        Bends everything.
    """

    materials: Mapping[str, Material]
    diameter: float
    gap: float
    empty: float
    nucleated: float
    crowding: float
    clumping: float
    squareness: float
    warp: Warp

    @classmethod
    def draw(cls, rng: Rng) -> Tissue:
        """Draw a tissue."""
        # Reflected light follows the stain in part, with either sign, and has its own mind for the rest.
        follow = rng.uniform(-0.6, 0.8)
        materials = {}
        for name, (stain, chromatin, grain) in _AT_REST.items():
            dark = float(np.clip(stain * rng.normal(1, 0.12), 0.02, 1))
            bright = float(np.clip(0.35 + follow * (dark - 0.4) + 0.3 * (1 - abs(follow)) * rng.normal(), 0.05, 1))
            materials[name] = Material(name, dark, chromatin, bright, grain * rng.uniform(0.7, 1.3))
        return cls(
            materials,
            diameter=float(np.exp(rng.normal(np.log(6.2), 0.22))),
            gap=float(np.exp(rng.uniform(np.log(0.03), np.log(1.0)))),
            empty=float(rng.uniform(0.03, 0.25)),
            nucleated=float(rng.uniform(0.5, 0.9)),
            crowding=float(np.exp(rng.normal(0, 0.3))),
            clumping=float(np.exp(rng.normal(0, 0.25))),
            squareness=float(np.exp(rng.uniform(np.log(4), np.log(24)))),
            warp=Warp(rng, 0.9, 6.0, 40.0, 7),
        )


def tissue_parts(seed: int, extent: float) -> tuple[Tissue, tuple[Part, ...], tuple[Shape, ...]]:
    """Lay out a tissue.

    Parameters
    ----------
    seed : int
        The same seed gives the same tissue.
    extent : float
        Side of the square that it fills, in micrometres, centred on the origin.

    Returns
    -------
    tissue : Tissue
        What it is made of.
    parts : tuple of Part
        What lies between the cells, then the cells.
    buried : tuple of Shape
        Nuclei below the section: light reaches them, electrons do not.
    """
    rng = np.random.default_rng([seed, 11])
    tissue = Tissue.draw(rng)
    sites, radii = _scatter(rng, tissue.diameter / 2, extent)
    nearest = np.asarray(cKDTree(sites).query(sites, k=min(18, len(sites)))[1])[:, 1:]
    between: list[Part] = []
    parts: list[Part] = []
    buried: list[Shape] = []
    for number, (site, radius) in enumerate(zip(sites, radii, strict=True)):
        own = np.random.default_rng([seed, 12, number])
        if own.random() < tissue.empty:
            fill = partial(_interstice, tissue, np.random.SeedSequence([seed, 13, number]), site, radius)
            between.append(Part(site, 4 * radius + 5 + tissue.warp.largest_shift, fill))
            continue
        outline = _cell_outline(own, tissue, site, radius, sites[nearest[number]], radii[nearest[number]])
        inside = own.random() < tissue.nucleated
        dye = float(np.clip(own.lognormal(-0.25, 0.45), 0.1, 1.0))
        build = partial(_cell, tissue, np.random.SeedSequence([seed, 14, number]), site, outline, inside, dye)
        parts.append(Part(site, float(outline.max()) + tissue.warp.largest_shift, build))
        if not inside:
            stain = tissue.materials["heterochromatin"]._replace(chromatin=0.5 * dye)
            spot = site + own.normal(0, 0.15 * radius, 2)
            buried.append(Shape(tissue.warp(polar(spot, 0.5 * outline * wobble(own, _DIRECTIONS, 0.1))), stain))
    return tissue, (*between, *parts), tuple(buried)


def _scatter(rng: Rng, typical: float, extent: float) -> tuple[Points, NDArray[np.float64]]:
    """Throw darts of mixed sizes that keep their distance: positions ``(N, 2)`` and radii ``(N,)``."""
    count = int(5 * (extent / (2 * typical)) ** 2)
    candidates = rng.uniform(-extent / 2, extent / 2, (count, 2))
    radii = typical * np.exp(rng.normal(-0.1, rng.uniform(0.15, 0.45), count)).clip(0.35, 2.0)
    # Large cells first, small ones fill what is left, as in a packing.
    order = np.argsort(-radii * rng.uniform(0.6, 1.4, count))
    kept = np.empty((0, 2))
    sizes = np.empty(0)
    for site, radius in zip(candidates[order], radii[order], strict=True):
        if np.all(np.hypot(*(kept - site).T) > 0.85 * (sizes + radius)):
            kept = np.vstack([kept, site])
            sizes = np.append(sizes, radius)
    return kept, sizes


def _cell_outline(rng: Rng, tissue: Tissue, site: Points, radius: float, others: Points, sizes: Profile) -> Profile:
    """Radius of a cell in each direction: its power cell among the neighbours, corners rounded.

    The distance to a power cell's edge is the smallest of the distances to its lines. Replacing the minimum by a
    p-norm rounds the corners and never exceeds it, so cells cannot overlap.
    """
    away = others - site
    distance = np.hypot(*away.T)
    edge = (distance**2 + radius**2 - sizes**2) / (2 * distance) - tissue.gap * rng.uniform(0.3, 0.8)
    edge = np.maximum(edge, 0.25 * radius)
    facing = np.cos(angles(_DIRECTIONS)[:, None] - np.arctan2(away[:, 0], away[:, 1]))
    power = tissue.squareness * rng.uniform(0.7, 1.4)
    near = np.sum((np.maximum(facing, 0) / edge) ** power, 1) + (1 / (1.7 * radius)) ** power
    return np.asarray(near ** (-1 / power) * np.minimum(wobble(rng, _DIRECTIONS, rng.uniform(0.01, 0.07), 3, 16), 1.0))


def _interstice(tissue: Tissue, seed: np.random.SeedSequence, site: Points, radius: float) -> list[Shape]:
    """What lies where no cell is: clouds of matrix, fibres, small processes cut across. Cells are drawn over it."""
    rng = np.random.default_rng(seed)
    made: list[Shape] = []
    if rng.random() < 0.5:
        cloud = tissue.materials["matrix"]._replace(stain=tissue.materials["matrix"].stain * rng.uniform(0.5, 1.3))
        for _ in range(rng.integers(1, 4)):
            spot = site + rng.normal(0, 0.5 * radius, 2)
            made.append(Shape(blob(rng, spot, radius * rng.uniform(0.3, 0.9), 0.3), cloud))
    heading = rng.uniform(0, np.pi)
    for _ in range(rng.integers(0, 25)):
        spot = site + rng.normal(0, 0.6 * radius, 2)
        line = centreline(rng, spot, rng.uniform(1, 5), 0.8, heading + rng.normal(0, 0.4))
        made.append(Shape(line, tissue.materials["fibre"], float(rng.uniform(0.02, 0.06))))
    for _ in range(rng.integers(2, 14)):
        spot = site + rng.normal(0, 0.6 * radius, 2)
        size = float(np.exp(rng.normal(np.log(0.35), 0.5)))
        body = tissue.materials["cytoplasm"]
        made += _enclosed(tissue, blob(rng, spot, size, 0.2, rng.uniform(1, 2.5)), spot, size, body)
    return [shape._replace(points=tissue.warp(shape.points)) for shape in made]


def _enclosed(tissue: Tissue, outline: Points, centre: Points, size: float, content: Material) -> list[Shape]:
    """An outline in membrane with its content inside."""
    inner = centre + (outline - centre) * max(0.3, 1 - _MEMBRANE / size)
    return [Shape(outline, tissue.materials["membrane"]), Shape(inner, content)]


def _cell(
    tissue: Tissue, seed: np.random.SeedSequence, site: Points, outline: Profile, nucleated: bool, dye: float
) -> list[Shape]:
    """One cell, back to front."""
    rng = np.random.default_rng(seed)
    rest = tissue.materials["cytoplasm"]
    body = rest._replace(stain=float(np.clip(rest.stain * rng.normal(1, 0.18), 0.1, 0.75)))
    made = [
        Shape(polar(site, outline), tissue.materials["membrane"]),
        Shape(polar(site, outline - _MEMBRANE), body),
    ]
    core, nucleus = site, np.zeros(_DIRECTIONS)
    if nucleated:
        core = site + rng.uniform(-0.12, 0.12, 2) * outline.min()
        nucleus = _nucleus_outline(rng, outline)
    made += _reticulum(rng, tissue, site, outline, nucleated)
    if nucleated:
        made += _nucleus(rng, tissue, core, nucleus, dye)
    made += _organelles(rng, tissue, site, outline, core, nucleus)
    return [shape._replace(points=tissue.warp(shape.points)) for shape in made]


def _nucleus_outline(rng: Rng, outline: Profile) -> Profile:
    """The nucleus follows its cell loosely: the cell's lowest harmonics, shrunk, with a wobble of its own."""
    spectrum = np.fft.rfft(outline)
    spectrum[4:] = 0
    follow = np.fft.irfft(spectrum, len(outline))
    shape = follow * rng.uniform(0.38, 0.66) * wobble(rng, len(outline), rng.uniform(0.02, 0.08), 2, 6)
    return np.asarray(np.minimum(shape, 0.8 * outline))


def _nucleus(rng: Rng, tissue: Tissue, core: Points, nucleus: Profile, dye: float) -> list[Shape]:
    """Envelope of two membranes, condensed chromatin along it and inside, and nucleoli."""
    stuff = tissue.materials
    plasm = stuff["nucleoplasm"]._replace(chromatin=stuff["nucleoplasm"].chromatin * dye)
    dense = stuff["heterochromatin"]._replace(chromatin=stuff["heterochromatin"].chromatin * dye)
    rim = 0.12 * tissue.clumping * (0.4 + np.maximum(wobble(rng, len(nucleus), 0.9, 3, 20) - 0.3, 0))
    made = [
        Shape(polar(core, nucleus), stuff["membrane"]),
        Shape(polar(core, nucleus - _MEMBRANE), stuff["lumen"]),
        Shape(polar(core, nucleus - 0.05), stuff["membrane"]),
        Shape(polar(core, nucleus - 0.075), dense),
        Shape(polar(core, nucleus - 0.075 - np.minimum(rim, 0.3 * nucleus)), plasm),
    ]
    size = float(nucleus.mean())
    for _ in range(rng.poisson(3.2 * size * tissue.clumping)):
        spot = core + _within(rng, nucleus, 0.85)
        clump = dense._replace(chromatin=float(min(1.0, dense.chromatin * rng.uniform(0.6, 1.2))))
        for _ in range(rng.integers(1, 4)):
            grain = float(np.exp(rng.normal(np.log(0.085 * size), 0.35)))
            lump = blob(rng, spot + rng.normal(0, grain, 2), grain, 0.25, rng.uniform(1, 2.2))
            made.append(Shape(_pressed(lump, core, nucleus - 0.08), clump))
    for _ in range(rng.choice([0, 1, 2], p=[0.35, 0.5, 0.15])):
        spot, grain = core + _within(rng, nucleus, 0.55), size * rng.uniform(0.16, 0.27)
        made.append(Shape(blob(rng, spot, grain, 0.15), stuff["nucleolus"]))
        for _ in range(rng.integers(0, 5)):
            made.append(Shape(blob(rng, spot + rng.normal(0, 0.4 * grain, 2), 0.16 * grain), plasm))
    return made


def _pressed(points: Points, core: Points, profile: Profile) -> Points:
    """Vertices moved along their ray where they would lie outside a polar outline."""
    offset = points - core
    turn = np.arctan2(offset[:, 0], offset[:, 1]) / (2 * np.pi) * len(profile)
    limit = profile[np.rint(turn).astype(int) % len(profile)]
    shrink = np.minimum(1.0, limit / np.maximum(np.hypot(*offset.T), 1e-9))
    return np.asarray(core + offset * shrink[:, None])


def _within(rng: Rng, profile: Profile, reach: float) -> Points:
    """A random offset inside a polar outline, uniform over its area."""
    area = np.cumsum(profile**2)
    number = int(np.searchsorted(area, rng.random() * area[-1]))
    turn = angles(len(profile))[number]
    return np.asarray(reach * np.sqrt(rng.random()) * profile[number] * np.array([np.sin(turn), np.cos(turn)]))


def _reticulum(rng: Rng, tissue: Tissue, site: Points, outline: Profile, nucleated: bool) -> list[Shape]:
    """Cisternae, two membranes with a lumen between; around a nucleus (drawn over them) they run along it."""
    made: list[Shape] = []
    heading = rng.uniform(0, np.pi)
    for _ in range(rng.poisson(0.35 * tissue.crowding * np.pi * np.mean(outline**2))):
        offset = _within(rng, outline, 0.9)
        direction = np.arctan2(*offset) + np.pi / 2 if nucleated else heading
        length = float(rng.uniform(0.4, 3.0))
        line = centreline(rng, offset, length, 0.9, direction + rng.normal(0, 0.4), 12)
        if any(_depth(point, outline) < 0.1 for point in line[::3]):
            continue
        width = float(rng.uniform(0.06, 0.1))
        made.append(Shape(site + line, tissue.materials["membrane"], width))
        made.append(Shape(site + line, tissue.materials["lumen"], width - 2 * _MEMBRANE))
    return made


def _organelles(
    rng: Rng, tissue: Tissue, site: Points, outline: Profile, core: Points, nucleus: Profile
) -> list[Shape]:
    """Mitochondria, granules, droplets, vacuoles, Golgi stacks and vesicles, none on top of another."""
    cytoplasm = np.pi * (np.mean(outline**2) - np.mean(nucleus**2))
    busy = tissue.crowding * np.exp(rng.normal(0, 0.25))
    kinds = (
        ("vacuole", 0.008, 0.75, 0.45),
        ("golgi", 0.010, 0.50, 0.25),
        ("mitochondrion", 0.42 * rng.lognormal(-0.1, 0.5), 0.42, 0.35),
        ("granule", 0.03 * rng.lognormal(-0.3, 0.8), 0.28, 0.4),
        ("lipid", 0.015 * rng.lognormal(-0.3, 0.8), 0.30, 0.4),
        ("vesicle", 1.5 * rng.lognormal(-0.1, 0.5), 0.075, 0.4),
    )
    made: list[Shape] = []
    taken, sizes = np.empty((0, 2)), np.empty(0)
    for kind, density, typical, spread in kinds:
        for _ in range(rng.poisson(density * busy * cytoplasm)):
            size = float(np.exp(rng.normal(np.log(typical), spread)))
            offset = _within(rng, outline, 0.97)
            spot = site + offset
            crowded = taken.size and np.any(np.hypot(*(taken - spot).T) < sizes + size)
            if crowded or _depth(offset, outline) < size + 0.05 or _depth(spot - core, nucleus) > -size - 0.05:
                continue
            taken, sizes = np.vstack([taken, spot]), np.append(sizes, size)
            made += _organelle(rng, tissue, kind, spot, size)
    return made


def _depth(offset: Points, profile: Profile) -> float:
    """How far inside a polar outline an offset from its centre lies, along the ray; negative outside."""
    turn = np.arctan2(offset[0], offset[1]) / (2 * np.pi) * len(profile)
    return float(profile[int(turn) % len(profile)] - np.hypot(*offset))


def _organelle(rng: Rng, tissue: Tissue, kind: str, spot: Points, size: float) -> list[Shape]:
    if kind == "mitochondrion":
        return _mitochondrion(rng, tissue, spot, size)
    if kind == "golgi":
        return _golgi(rng, tissue, spot, size)
    content = tissue.materials[kind]
    if kind == "vesicle" and rng.random() < 0.6:
        content = tissue.materials["lumen"]
    content = content._replace(stain=float(np.clip(content.stain * rng.normal(1, 0.12), 0.02, 1)))
    if kind == "lipid":
        return [Shape(blob(rng, spot, size, 0.05), content)]
    made = _enclosed(tissue, blob(rng, spot, size, 0.1, rng.uniform(1, 1.6)), spot, size, content)
    if kind == "granule" and rng.random() < 0.4:
        for _ in range(rng.integers(1, 4)):
            made.append(Shape(blob(rng, spot + rng.normal(0, 0.35 * size, 2), 0.2 * size), tissue.materials["lipid"]))
    return made


def _mitochondrion(rng: Rng, tissue: Tissue, spot: Points, size: float) -> list[Shape]:
    """A bent rod in two membranes, with cristae across it."""
    stuff = tissue.materials
    length = size * rng.uniform(0.5, 1.7)
    half = np.full(9, np.clip(size * rng.uniform(0.3, 0.55), 0.09, 0.28)) * (1 + 0.1 * rng.standard_normal())
    half *= 1 + 0.12 * np.sin(rng.uniform(0, 6) + np.linspace(0, rng.uniform(0, 6), 9))
    line = centreline(rng, spot, length, 0.9, rng.uniform(0, 2 * np.pi))
    content = stuff["mitochondrion"]._replace(
        stain=float(np.clip(stuff["mitochondrion"].stain * rng.normal(1, 0.08), 0.1, 1))
    )
    made = [
        Shape(rod(line, half), stuff["membrane"]),
        Shape(rod(line, half - 0.02), stuff["crista"]),
        Shape(rod(line, half - 0.036), stuff["membrane"]),
        Shape(rod(line, half - 0.055), content),
    ]
    across, along = normals(line), np.linspace(0, length, len(line))
    for place in np.arange(rng.uniform(0.02, 0.1), length, 0.1):
        reach = np.interp(place, along, half) - 0.06
        if reach < 0.03 or rng.random() < 0.2:
            continue
        middle, side = (np.array([np.interp(place, along, part) for part in curve.T]) for curve in (line, across))
        # Most cristae start at one side and end freely inside.
        ends = np.array([-1.0, rng.uniform(0.2, 1.0)]) * rng.choice([-1, 1]) * reach
        made.append(Shape(middle + ends[:, None] * side, stuff["crista"], 0.03))
    return made


def _golgi(rng: Rng, tissue: Tissue, spot: Points, size: float) -> list[Shape]:
    """A stack of bent cisternae with vesicles at its ends."""
    line = centreline(rng, spot, 1.5 * size, 1.2, rng.uniform(0, 2 * np.pi))
    across = normals(line)
    made: list[Shape] = []
    for layer in np.arange(-2, 3) * 0.075:
        run = line[rng.integers(0, 2) : 9 - rng.integers(0, 2)] + layer * across[4]
        made.append(Shape(run, tissue.materials["membrane"], 0.06))
        made.append(Shape(run, tissue.materials["lumen"], 0.022))
    for _ in range(rng.integers(4, 12)):
        end = line[rng.choice([0, -1])] + rng.normal(0, 0.2 * size, 2)
        radius = float(rng.uniform(0.03, 0.055))
        made += _enclosed(tissue, blob(rng, end, radius, 0.05), end, radius, tissue.materials["lumen"])
    return made
