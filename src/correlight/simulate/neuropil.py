"""A section through brain: densely packed processes in membranes, with mitochondria, vesicles, synapses and myelin."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from correlight.geometry import Points
from correlight.simulate.elements import (
    Bends,
    dots,
    draw_materials,
    inside,
    mitochondrion,
    nucleus,
    oval,
    part,
    thinned,
    tiles,
    varied,
)
from correlight.simulate.model import Material, Part, Shape
from correlight.simulate.outlines import Profile, Rng, Warp, angles, blob, polar, wobble

_DIRECTIONS = 40
_TILE = 8.0
# The dye of the light microscope stains chromatin, and faintly what takes up lipid dyes.
_AT_REST = {
    "membrane": (0.85, 0.02, 0.4),
    "process": (0.30, 0.004, 0.8),
    "cytoplasm": (0.42, 0.02, 1.1),
    "glia": (0.16, 0.004, 0.6),
    "mitochondrion": (0.66, 0.03, 0.6),
    "crista": (0.45, 0.02, 0.5),
    "vesicle": (0.72, 0.0, 0.4),
    "lumen": (0.28, 0.0, 0.5),
    "density": (0.95, 0.02, 0.3),
    "microtubule": (0.62, 0.0, 0.3),
    "myelin": (0.95, 0.22, 0.2),
    "nucleoplasm": (0.34, 0.10, 1.1),
    "heterochromatin": (0.62, 0.9, 0.9),
    "nucleolus": (0.78, 0.12, 0.9),
    "vessel": (0.06, 0.0, 0.2),
    "erythrocyte": (0.85, 0.0, 0.1),
}


@dataclass(frozen=True, eq=False)
class Brain:
    """Everything that differs from specimen to specimen, drawn once.

    Parameters
    ----------
    materials : mapping of str to Material
        By name.
    membrane : float
        Width of what stains between two processes, micrometres.
    roundness : float
        How sharp the corners of processes are, 7 (round) to 30.
    mitochondria, synapses : float
        Per process, 1 on average.
    myelinated : float
        Share of the larger processes that wear myelin.
    labelled : float
        Share of the processes that a dye fills; electrons do not see it.
    warp : Bends
        Bends everything.
    """

    materials: Mapping[str, Material]
    membrane: float
    roundness: float
    mitochondria: float
    synapses: float
    myelinated: float
    labelled: float
    warp: Bends

    @classmethod
    def draw(cls, rng: Rng) -> Brain:
        """Draw a brain."""
        return cls(
            draw_materials(rng, _AT_REST),
            membrane=float(rng.uniform(0.035, 0.075)),
            roundness=float(np.exp(rng.uniform(np.log(7), np.log(30)))),
            mitochondria=float(np.exp(rng.normal(0, 0.3))),
            synapses=float(np.exp(rng.normal(0, 0.3))),
            myelinated=float(rng.choice([0.0, rng.uniform(0.0, 0.25)])),
            labelled=float(rng.choice([0.0, rng.uniform(0.02, 0.2)])),
            # Short waves bend the straight sides that a packing has.
            warp=Bends(
                Warp(rng, 0.9, 6.0, 60.0, 5),
                Warp(rng, 0.9, 2.5, 12.0, 5),
                Warp(rng, 0.9, 1.2, 5.0, 5),
                Warp(rng, 0.9, 1.2, 5.0, 5),
            ),
        )


def neuropil_parts(seed: int, extent: float) -> tuple[Material, tuple[Part, ...], tuple[Shape, ...]]:
    """Lay out neuropil.

    Parameters
    ----------
    seed : int
        The same seed gives the same brain.
    extent : float
        Side of the square that it fills, in micrometres, centred on the origin.

    Returns
    -------
    background : Material
        What lies beyond the edge.
    parts : tuple of Part
        Processes in tiles, then what lies among them: cell bodies and vessels.
    buried : tuple of Shape
        Nuclei below the section: light reaches them, electrons do not.
    """
    rng = np.random.default_rng([seed, 61])
    brain = Brain.draw(rng)
    sites, radii = _processes(rng, extent)
    parts: list[Part] = []
    tree = cKDTree(sites)
    across = int(np.ceil(extent / _TILE))
    home = np.clip((sites + extent / 2) // _TILE, 0, across - 1).astype(int) @ [across, 1]
    order = np.argsort(home, kind="stable")
    groups = np.split(order, np.searchsorted(home[order], np.arange(1, across**2)))
    for (number, middle), inner in zip(tiles(extent, _TILE), groups, strict=True):
        if len(inner) == 0:
            continue
        near = np.asarray(tree.query(sites[inner], k=min(20, len(sites)))[1])[:, 1:]
        build = partial(_tile, brain, (seed, 62, number), sites[inner], radii[inner], sites[near], radii[near])
        parts.append(part(middle, 0.75 * _TILE + 3 * float(radii[inner].max()), brain.warp, build))
    parts += _bodies(rng, brain, seed, extent)
    return brain.materials["membrane"], tuple(parts), _buried(rng, brain, extent)


def _processes(rng: Rng, extent: float) -> tuple[Points, Profile]:
    """Middles ``(N, 2)`` and radii ``(N,)`` of the processes: small ones everywhere, large ones in a clearing."""
    typical = float(np.exp(rng.uniform(np.log(0.3), np.log(0.6))))
    step = 1.25 * typical
    rows = np.arange(-extent / 2, extent / 2, step)
    lattice = np.stack(np.meshgrid(rows, rows, indexing="ij"), -1).reshape(-1, 2)
    places = lattice + rng.uniform(-0.55, 0.55, lattice.shape) * step
    radii = typical * np.exp(rng.uniform(0.35, 0.65) * rng.standard_normal(len(places))).clip(0.5, 5)
    # Size decides who gives way, but not alone, or only large processes would be left.
    stays = thinned(places, radii, radii * rng.uniform(0.2, 1.0, len(radii)), 0.8)
    return places[stays], radii[stays]


def _outlines(
    rng: Rng, brain: Brain, sites: Points, radii: Profile, others: Points, sizes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Radius of each process in each direction, shape ``(N, D)``: rounded power cells, as those of `cell`."""
    away = others - sites[:, None]
    distance = np.hypot(away[..., 0], away[..., 1])
    edge = (distance**2 + radii[:, None] ** 2 - sizes**2) / (2 * distance) - brain.membrane / 2
    edge = np.maximum(edge, 0.2 * distance)
    facing = np.cos(angles(_DIRECTIONS)[:, None, None] - np.arctan2(away[..., 0], away[..., 1]))
    near = np.sum((np.maximum(facing, 0) / edge) ** brain.roundness, -1) + (0.33 / radii) ** brain.roundness
    return np.asarray(near ** (-1 / brain.roundness)).T


def _tile(
    brain: Brain, seed: tuple[int, ...], sites: Points, radii: Profile, others: Points, sizes: NDArray[np.float64]
) -> list[Shape]:
    """The processes of a tile, back to front."""
    rng = np.random.default_rng(seed)
    stuff = brain.materials
    made: list[Shape] = []
    dense: list[Shape] = []
    for site, radius, outline, neighbours in zip(
        sites, radii, _outlines(rng, brain, sites, radii, others, sizes), others, strict=True
    ):
        body = stuff["glia"] if rng.random() < 0.12 else stuff["process"]
        if rng.random() < brain.labelled:
            body = body._replace(chromatin=float(rng.uniform(0.15, 0.6)))
        made.append(Shape(polar(site, outline), varied(rng, body, 0.16)))
        size = float(outline.min())
        if size > 0.35 and rng.random() < brain.myelinated:
            made += _myelinated(rng, brain, site, outline)
        made += _content(rng, brain, site, size)
        if rng.random() < 0.22 * brain.synapses * min(1.0, radius / 0.4):
            dense += _synapse(rng, brain, site, outline, neighbours[rng.integers(0, 5)])
    return made + dense


def _myelinated(rng: Rng, brain: Brain, site: Points, outline: Profile) -> list[Shape]:
    sheath = rng.uniform(0.1, 0.3)
    ring = [Shape(polar(site, 0.98 * outline), brain.materials["myelin"])]
    return [*ring, Shape(polar(site, (1 - sheath) * outline), brain.materials["process"])]


def _content(rng: Rng, brain: Brain, site: Points, size: float) -> list[Shape]:
    """Mitochondria, microtubules, a cistern, vesicles: what a process of this size holds."""
    stuff = brain.materials
    made: list[Shape] = []
    fate = rng.random()
    if fate < 0.32 * brain.mitochondria and size > 0.16:
        for _ in range(1 + rng.poisson(0.25 * (size / 0.4) ** 2)):
            width = float(np.clip(size * rng.uniform(0.3, 0.6), 0.09, 0.28))
            spot = site + rng.normal(0, 0.3 * max(0.0, size - width), 2)
            made += mitochondrion(rng, stuff, spot, width, rng.uniform(0, np.pi), rng.uniform(1.0, 1.0 + size / width))
    elif fate < 0.6 and size > 0.14:
        spots = site + rng.normal(0, 0.38 * size, (rng.integers(5, 5 + int(90 * min(size, 0.5))), 2))
        made += dots(spots, 0.026, stuff["vesicle"])
        if size > 0.25:
            made += dots(spots, 0.012, stuff["lumen"], 5)
    elif size > 0.2:
        made += dots(site + rng.normal(0, 0.35 * size, (rng.poisson(18 * size), 2)), 0.014, stuff["microtubule"], 5)
        if rng.random() < 0.5:
            cistern = oval(rng, site + rng.normal(0, 0.2 * size, 2), 0.35 * size, 0.035, rng.uniform(0, np.pi), 0.1)
            made += [Shape(cistern, stuff["membrane"]), Shape(site + 0.9 * (cistern - site), stuff["lumen"])]
    return made


def _synapse(rng: Rng, brain: Brain, site: Points, outline: Profile, other: Points) -> list[Shape]:
    """A density along the side that faces another process, and vesicles that gather before it."""
    turn = np.arctan2(other[0] - site[0], other[1] - site[1])
    first = round(turn / (2 * np.pi) * _DIRECTIONS)
    wide = int(rng.integers(2, 6))
    run = np.arange(first - wide, first + wide + 1) % _DIRECTIONS
    line = polar(site, outline)[run]
    made = [Shape(line, brain.materials["density"], float(rng.uniform(0.05, 0.1)))]
    depth = float(outline[first % _DIRECTIONS])
    count = int(rng.integers(8, 30))
    back = 1 - np.clip(rng.exponential(0.2, (count, 1)), 0.05, 0.7)
    spots = site + (line[rng.integers(0, len(line), count)] - site) * back + rng.normal(0, 0.04, (count, 2))
    return made + dots(spots, min(0.026, 0.2 * depth), brain.materials["vesicle"])


def _bodies(rng: Rng, brain: Brain, seed: int, extent: float) -> list[Part]:
    """Cell bodies and capillaries, drawn over the processes; some brains have hardly any in the plane."""
    count = rng.poisson(float(np.exp(rng.uniform(np.log(0.0004), np.log(0.004)))) * extent**2)
    places = rng.uniform(-extent / 2, extent / 2, (count, 2))
    sizes = np.exp(rng.normal(np.log(4.0), 0.3, count))
    kept: list[int] = []
    for number in range(count):
        if all(np.hypot(*(places[number] - places[k])) > sizes[number] + sizes[k] for k in kept):
            kept.append(number)
    return [
        part(
            places[k],
            2.2 * float(sizes[k]),
            brain.warp,
            partial(_body, brain, (seed, 63, k), places[k], float(sizes[k])),
        )
        for k in kept
    ]


def _body(brain: Brain, seed: tuple[int, ...], site: Points, size: float) -> list[Shape]:
    """A neuron's body with nucleus, reticulum and mitochondria; one in five is a capillary."""
    rng = np.random.default_rng(seed)
    stuff = brain.materials
    heading = rng.uniform(0, np.pi)
    outline = polar(site, size * wobble(rng, 96, 0.1))
    made = [Shape(outline, stuff["membrane"])]
    if rng.random() < 0.2:
        made.append(Shape(site + 0.98 * (outline - site), varied(rng, stuff["cytoplasm"], 0.2)))
        made.append(Shape(site + rng.uniform(0.75, 0.9) * (outline - site), stuff["vessel"]))
        if rng.random() < 0.5:
            made.append(Shape(oval(rng, site, 0.6 * size, 0.35 * size, heading, 0.1), stuff["erythrocyte"]))
        side = site + 0.83 * size * np.array([np.sin(heading), np.cos(heading)])
        return made + nucleus(rng, stuff, side, 0.5 * size, 0.12 * size, heading + np.pi / 2)
    made.append(Shape(site + (1 - brain.membrane / size) * (outline - site), varied(rng, stuff["cytoplasm"], 0.15)))
    for _ in range(rng.poisson(1.2 * size**2)):
        spot = site + inside(rng, size, size, 0.0, 0.82)
        run = oval(rng, spot, rng.uniform(0.2, 0.7), 0.03, rng.uniform(0, np.pi), 0.1)
        made.append(Shape(run, stuff["vesicle"]))
    for _ in range(rng.poisson(1.3 * brain.mitochondria * size**2)):
        spot = site + inside(rng, size, size, 0.0, 0.85)
        made += mitochondrion(rng, stuff, spot, rng.uniform(0.14, 0.26), rng.uniform(0, np.pi), rng.uniform(1, 3))
    dye = float(rng.uniform(0.4, 1.0))
    wide = size * rng.uniform(0.5, 0.66)
    return made + nucleus(rng, stuff, site + rng.normal(0, 0.08 * size, 2), wide, 0.9 * wide, heading, dye)


def _buried(rng: Rng, brain: Brain, extent: float) -> tuple[Shape, ...]:
    """Nuclei below the section, ``(K,)`` shapes."""
    count = rng.poisson(0.0015 * extent**2)
    glow = brain.materials["heterochromatin"]
    spots = rng.uniform(-extent / 2, extent / 2, (count, 2))
    return tuple(
        Shape(brain.warp(blob(rng, spot, rng.uniform(2.0, 3.5), 0.08)), varied(rng, glow, 0.0, rng.uniform(0.3, 0.6)))
        for spot in spots
    )
