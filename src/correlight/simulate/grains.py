"""A polished metal surface: grains of different grey, boundaries, twins, inclusions, pits and scratches."""

from __future__ import annotations

from functools import partial

import numpy as np
from scipy.spatial import Voronoi

from correlight.geometry import Points
from correlight.simulate.model import Material, Part, Shape
from correlight.simulate.outlines import Rng, Warp, blob

_BOUNDARY = Material("boundary", 0.35, 0.0, 0.2, 0.4)
_PIT = Material("pit", 0.02, 0.0, 0.05, 0.3)


def grain_parts(seed: int, extent: float) -> tuple[Material, tuple[Part, ...]]:
    """Lay out a polycrystal.

    Parameters
    ----------
    seed : int
        The same seed gives the same metal.
    extent : float
        Side of the square that it fills, in micrometres, centred on the origin.

    Returns
    -------
    background : Material
        What lies beyond the edge.
    parts : tuple of Part
        The grains, then what lies across them.
    """
    rng = np.random.default_rng([seed, 21])
    size = float(np.exp(rng.normal(np.log(9), 0.25)))
    warp = Warp(rng, 0.4, 6.0, 40.0)
    # Grains of mixed sizes: the density of nuclei varies over the specimen.
    count = int((extent / size) ** 2)
    sites = rng.uniform(-extent / 2, extent / 2, (count, 2))
    sites = sites[np.argsort(rng.random(count) + 0.3 * np.sin(sites @ rng.normal(0, 0.06, 2)))][: int(0.85 * count)]
    cells = Voronoi(sites)
    second_phase = float(rng.uniform(0.0, 0.3))
    follow = float(rng.uniform(-0.5, 0.9))
    parts = []
    for number, site in enumerate(sites):
        region = cells.regions[cells.point_region[number]]
        if not region or -1 in region:
            continue
        corners = cells.vertices[region]
        radius = float(np.hypot(*(corners - site).T).max())
        if radius > extent / 4:
            continue
        build = partial(_grain, (seed, 22, number), corners, warp, follow, second_phase)
        parts.append(Part(site, radius + warp.largest_shift, build))
    parts += _flaws(rng, seed, extent, size, warp)
    return _BOUNDARY, tuple(parts)


def _grain(seed: tuple[int, ...], corners: Points, warp: Warp, follow: float, second_phase: float) -> list[Shape]:
    """One grain: its own grey by orientation, sometimes with twin bands; the grooved boundary shows around it."""
    rng = np.random.default_rng(seed)
    other = rng.random() < second_phase
    stain = float(np.clip(rng.normal(0.8 if other else 0.5, 0.09), 0.1, 1))
    bright = float(np.clip(0.5 + follow * (stain - 0.5) + rng.normal(0, 0.08), 0.05, 1))
    body = Material("second phase" if other else "grain", stain, 0.0, bright, 0.3)
    centre = corners.mean(0)
    size = float(np.hypot(*(corners - centre).T).mean())
    outline = _dense(centre + (corners - centre) * max(0.5, 1 - 0.06 / size))
    made = [Shape(warp(outline), body)]
    if rng.random() < 0.25:
        twin = body._replace(name="twin", stain=float(np.clip(stain + rng.normal(0, 0.12), 0.05, 1)))
        made += [Shape(warp(band), twin) for band in _bands(rng, outline, centre, size)]
    return made


def _dense(corners: Points, step: float = 0.5) -> Points:
    """More vertices along a polygon's sides, so that a warp can bend them."""
    sides = zip(corners, np.roll(corners, -1, 0), strict=True)
    pieces = [
        a + np.linspace(0, 1, max(1, int(np.hypot(*(b - a)) / step)), endpoint=False)[:, None] * (b - a)
        for a, b in sides
    ]
    return np.concatenate(pieces)


def _bands(rng: Rng, outline: Points, centre: Points, size: float) -> list[Points]:
    """Parallel strips of a convex outline, as annealing twins make them."""
    turn = rng.uniform(0, np.pi)
    across = np.array([np.sin(turn), np.cos(turn)])
    bands = []
    for _ in range(rng.integers(1, 3)):
        low = centre @ across + rng.uniform(-0.6, 0.4) * size
        band = _cut(_cut(outline, across, low), -across, -(low + rng.uniform(0.08, 0.3) * size))
        if len(band) > 2:
            bands.append(_dense(band))
    return bands


def _cut(outline: Points, across: Points, level: float) -> Points:
    """The part of a convex outline where ``point @ across`` is at least ``level``, shape ``(K, 2)``."""
    height = outline @ across - level
    kept = []
    for number in range(len(outline)):
        here, there = height[number - 1], height[number]
        if here * there < 0:
            kept.append(outline[number - 1] + (outline[number] - outline[number - 1]) * here / (here - there))
        if there >= 0:
            kept.append(outline[number])
    return np.array(kept).reshape(-1, 2)


def _flaws(rng: Rng, seed: int, extent: float, size: float, warp: Warp) -> list[Part]:
    """Inclusions, pits and scratches, gathered in tiles so that an instrument draws only those it sees."""
    tile = 2 * size
    density = float(rng.uniform(0.02, 0.12))
    hard = Material("inclusion", float(rng.choice([0.1, 0.95])), 0.0, float(rng.uniform(0.1, 0.9)), 0.3)
    places = np.arange(-extent / 2 + tile / 2, extent / 2, tile)
    return [
        Part(
            np.array([y, x]),
            2.0 * tile + warp.largest_shift,
            partial(_tile, (seed, 23, i, j), np.array([y, x]), tile, density, hard, warp),
        )
        for i, y in enumerate(places)
        for j, x in enumerate(places)
    ]


def _tile(
    seed: tuple[int, ...], middle: Points, tile: float, density: float, hard: Material, warp: Warp
) -> list[Shape]:
    rng = np.random.default_rng(seed)
    made = []
    for _ in range(rng.poisson(density * tile**2)):
        spot = middle + rng.uniform(-tile / 2, tile / 2, 2)
        radius = float(np.exp(rng.normal(np.log(0.22), 0.6)))
        made.append(Shape(warp(blob(rng, spot, radius, 0.2, rng.uniform(1, 2))), _PIT if rng.random() < 0.4 else hard))
    for _ in range(rng.poisson(0.25)):
        start, turn = middle + rng.uniform(-tile / 2, tile / 2, 2), rng.uniform(0, np.pi)
        line = start + np.outer(np.linspace(-0.8, 0.8, 12) * tile, [np.sin(turn), np.cos(turn)])
        scratch = Material("scratch", 0.3, 0.0, float(rng.uniform(0.7, 1.0)), 0.2)
        made.append(Shape(line, scratch, float(rng.uniform(0.04, 0.15))))
    return made
