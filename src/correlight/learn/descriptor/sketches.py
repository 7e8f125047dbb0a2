"""Sketches of kinds of specimen that the simulation does not have, each drawn in a moment.

Each is a drawing of pieces and of what they are made of; instruments colour it as they colour every other drawing. They
need not stand the eye of a biologist, only hold what registration meets: an outline with little inside, trees of
vessels, a few large bodies, crowds of equal ones, thin processes, flat grains, meshes that repeat themselves, beads.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from correlight.geometry import Points
from correlight.learn.descriptor.scenes import SIDE, Rng, Scene, cloud, drawing
from correlight.simulate.outlines import blob, centreline, rod
from correlight.simulate.slab import OUTLINES, filled, pits_in, specimen_body

Index = NDArray[np.int32]
# Which piece lies at each pixel, and the number of what each piece is made of.
Sketch = tuple[Index, list[int]]


def sketched(count: int, seed: int) -> Iterator[Scene]:
    """``count`` sketches of each kind, as scenes named after their kinds."""
    for number in range(count):
        for kind, (name, draw) in enumerate(KINDS.items()):
            rng = np.random.default_rng([seed, 53, kind, number])
            index, names = draw(rng)
            yield drawing(rng, f"{name}-{number}", index, names)


def _slab(rng: Rng) -> Sketch:
    """A polished slab, a tissue core or a ribbon of sections: an outline, a few pits, at times grains inside."""
    body = specimen_body(rng, OUTLINES[rng.integers(len(OUTLINES))])
    pits = filled([outline for outline, _ in pits_in(rng, body)])
    margin = int(rng.integers(0, 130))
    inside, pit = (
        cv2.resize(mask[margin : len(mask) - margin, margin : len(mask) - margin].astype(np.uint8), (SIDE, SIDE)) > 0
        for mask in (body, pits)
    )
    grains = int(rng.choice([1, 1, int(rng.integers(100, 1500))]))
    index = np.where(inside, 2 + _nearest(rng.uniform(0, SIDE, (grains, 2))), 0).astype(np.int32)
    index[pit] = 1
    return index, [0, 1] + [2] * grains


def _grain_map(rng: Rng) -> Sketch:
    """Flat grains with straight walls, twins across some of them, each of a grey of its own."""
    count = int(np.exp(rng.uniform(np.log(25), np.log(400))))
    sites = rng.uniform(0, SIDE, (count, 2))
    grain = _nearest(sites * [1, rng.uniform(0.7, 1.0)], np.array([1, rng.uniform(0.7, 1.0)]))
    heading = rng.uniform(0, np.pi, count)
    # A twin is a band through a grain along one of its planes.
    y, x = np.mgrid[:SIDE, :SIDE]
    along = (y - sites[grain, 0]) * np.sin(heading)[grain] + (x - sites[grain, 1]) * np.cos(heading)[grain]
    width = SIDE / count**0.5 * rng.uniform(0.05, 0.25, count) * (rng.random(count) < 0.4)
    index = np.where(np.abs(along) < width[grain], count + grain, grain).astype(np.int32)
    return index, list(range(2 * count))


def _vessels(rng: Rng) -> Sketch:
    """Two trees of vessels that grow from one disc over a mottled ground, as on a retina."""
    index = _ground(rng)
    origin = rng.uniform(0.2, 0.8, 2) * SIDE
    widest = rng.uniform(7, 16)
    for tree in (3, 4):
        for _ in range(int(rng.integers(2, 5))):
            _grow(rng, index, tree, origin, rng.uniform(0, 2 * np.pi), widest * rng.uniform(0.6, 1.0), 0.045)
    cv2.circle(index, _pixel(origin), round(widest * rng.uniform(1.5, 3.0)), 5, -1)
    return index, [0, 1, 1, 2, 3, 4]


def _neurites(rng: Rng) -> Sketch:
    """Cell bodies with a nucleus each and thin processes that branch and cross."""
    index = np.zeros((SIDE, SIDE), np.int32)
    for _ in range(int(rng.integers(3, 22))):
        place, size = rng.uniform(0, SIDE, 2), rng.uniform(7, 24)
        for _ in range(int(rng.integers(1, 6))):
            _grow(rng, index, 1, place, rng.uniform(0, 2 * np.pi), rng.uniform(2, 6), 0.012)
        _fill(index, blob(rng, place, size, 0.2, rng.uniform(1, 2.2)), 2)
        _fill(index, blob(rng, place, 0.4 * size, 0.1), 3)
    return index, [0, 1, 2, 3]


def _bodies(rng: Rng) -> Sketch:
    """A few large bodies, worms or embryos: a wall, granules in clusters, a gut, nuclei."""
    index = _ground(rng) if rng.random() < 0.3 else np.zeros((SIDE, SIDE), np.int32)
    worms = rng.random() < 0.5
    for _ in range(int(rng.integers(2, 10))):
        centre, heading = rng.uniform(0, SIDE, 2), rng.uniform(0, 2 * np.pi)
        half_width = rng.uniform(14, 40) if worms else rng.uniform(40, 120)
        length = rng.uniform(250, 700) if worms else half_width * rng.uniform(0.3, 1.0)
        line = centreline(rng, centre, length, rng.uniform(0, 2.5) if worms else 0.3, heading, 40)
        taper = half_width * (1 - np.abs(np.linspace(-1, 1, 40)) ** 4 * rng.uniform(0.2, 0.8))
        _fill(index, rod(line, taper), 3)
        _fill(index, rod(line, taper * 0.93), 4)
        if rng.random() < 0.6:
            _fill(index, rod(line[5:-5], taper[5:-5] * rng.uniform(0.15, 0.5)), 5)
        for material, most, largest in ((6, 120, 3.5), (7, 40, 7.0)):
            spots = line[rng.integers(0, 40, int(rng.integers(3, most)))]
            spots = spots + rng.normal(0, 0.4 * half_width, spots.shape)
            _spots(rng, index, spots, rng.uniform(1.2, largest), material, within=(4, 5))
    return index, [0, 1, 1, 2, 3, 4, 5, 6]


def _crowd(rng: Rng) -> Sketch:
    """Cells of one kind that lie together in clumps, as yeast does: wall, inside, nucleus, vacuole, a bud."""
    index = np.zeros((SIDE, SIDE), np.int32)
    typical = rng.uniform(9, 30)
    middles = rng.uniform(0, SIDE, (int(rng.integers(2, 14)), 2))
    wanted = int(min(400, 0.5 * (SIDE / typical) ** 2))
    places = middles[rng.integers(0, len(middles), wanted)] + rng.normal(0, rng.uniform(0.08, 0.3) * SIDE, (wanted, 2))
    taken: list[Points] = []
    for place in places:
        if taken and np.min(np.linalg.norm(np.array(taken) - place, axis=1)) < 1.7 * typical:
            continue
        taken.append(place)
        size = typical * np.exp(rng.normal(0, 0.12))
        cells = [(place, size)]
        if rng.random() < 0.3:
            turn = rng.uniform(0, 2 * np.pi)
            cells.append((place + 1.2 * size * np.array([np.sin(turn), np.cos(turn)]), 0.5 * size))
        for centre, radius in cells:
            outline = blob(rng, centre, radius, 0.04, rng.uniform(1, 1.3))
            _fill(index, outline, 1)
            _fill(index, centre + (outline - centre) * 0.85, 2)
            for material, share in ((3, 0.3), (4, rng.uniform(0.2, 0.5))):
                _fill(index, blob(rng, centre + rng.normal(0, 0.25 * radius, 2), share * radius, 0.1), material)
    return index, [0, 1, 2, 3, 4]


def _mesh(rng: Rng) -> Sketch:
    """A grid or a holey film that repeats itself; what tells its places apart is torn squares, dirt and cells on it."""
    index = _ground(rng)
    period, heading = rng.uniform(45, 170), rng.uniform(0, np.pi / 2)
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    u = (y * np.cos(heading) + x * np.sin(heading)) / period
    v = (x * np.cos(heading) - y * np.sin(heading)) / period
    if rng.random() < 0.6:
        bars = rng.uniform(0.08, 0.35)
        solid = (u % 1 < bars) | (v % 1 < bars)
    else:
        solid = np.hypot(u % 1 - 0.5, v % 1 - 0.5) > rng.uniform(0.22, 0.42)
    torn = rng.random((64, 64)) < rng.uniform(0.02, 0.15)
    index[torn[np.floor(u).astype(int) % 64, np.floor(v).astype(int) % 64] & ~solid] = 3
    index[solid] = 4
    for material, most, largest in ((5, 60, 4.0), (6, 9, 30.0)):
        spots = rng.uniform(0, SIDE, (int(rng.integers(2, most)), 2))
        _spots(rng, index, spots, rng.uniform(0.3, 1.0) * largest, material)
    return index, [0, 1, 1, 2, 3, 4, 5]


def _beads(rng: Rng) -> Sketch:
    """Beads of three sorts, few or many, single or in clumps, on next to nothing."""
    index = _ground(rng) if rng.random() < 0.5 else np.zeros((SIDE, SIDE), np.int32)
    for material in (3, 4, 5):
        count = int(np.exp(rng.uniform(np.log(8), np.log(150))))
        places = rng.uniform(0, SIDE, (count, 2))
        clumped = rng.random(count) < 0.3
        places[clumped] = places[rng.integers(0, count, clumped.sum())] + rng.normal(0, 8, (int(clumped.sum()), 2))
        _spots(rng, index, places, float(np.exp(rng.uniform(np.log(1.5), np.log(8)))), material)
    return index, [0, 1, 1, 2, 3, 4]


KINDS = {
    "slab": _slab,
    "grain map": _grain_map,
    "vessels": _vessels,
    "neurites": _neurites,
    "bodies": _bodies,
    "crowd": _crowd,
    "mesh": _mesh,
    "beads": _beads,
}


def _ground(rng: Rng) -> Index:
    """A mottled ground of pieces 0, 1 and 2."""
    field = cloud(rng, SIDE, float(np.exp(rng.uniform(np.log(15), np.log(90)))))
    return (field > rng.uniform(0, 1)).astype(np.int32) + (field > rng.uniform(1, 2))


def _nearest(sites: Points, stretch: NDArray[np.float64] | float = 1.0) -> Index:
    """The nearest of some sites at each pixel."""
    places = np.indices((SIDE // 2, SIDE // 2)).reshape(2, -1).T * 2 * stretch
    near = cKDTree(sites).query(places)[1].astype(np.int32).reshape(SIDE // 2, -1)
    return np.asarray(cv2.resize(near, (SIDE, SIDE), interpolation=cv2.INTER_NEAREST), np.int32)


def _grow(rng: Rng, index: Index, piece: int, start: Points, heading: float, width: float, branches: float) -> None:
    """A tree drawn from a place: it wanders, tapers, and forks with a probability per pixel of its length."""
    step = 6.0
    tips = [(start, heading, width)]
    while tips:
        place, heading, width = tips.pop()
        while width > 0.9 and np.all((place > -20) & (place < SIDE + 20)):
            heading += rng.normal(0, 0.14)
            onward = place + step * np.array([np.sin(heading), np.cos(heading)])
            cv2.line(index, _pixel(place), _pixel(onward), piece, max(1, round(width)))
            place, width = onward, width * 0.994
            if rng.random() < branches * step and len(tips) < 40:
                share = rng.uniform(0.5, 0.8)
                fork = rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
                tips.append((place, heading + fork, width * share))
                heading, width = heading - 0.3 * fork, width * (1 - share**3) ** (1 / 3)


def _spots(
    rng: Rng, index: Index, places: Points, radius: float, piece: int, within: tuple[int, ...] | None = None
) -> None:
    """Round spots, of nearly one size; if it says so, only on certain pieces."""
    for place in places:
        x, y = _pixel(place)
        inside = 0 <= y < SIDE and 0 <= x < SIDE
        if within is None or (inside and index[y, x] in within):
            cv2.circle(index, (x, y), max(1, round(radius * np.exp(rng.normal(0, 0.15)))), piece, -1)


def _fill(index: Index, outline: Points, piece: int) -> None:
    cv2.fillPoly(index, [np.rint(outline[:, ::-1]).astype(np.int32)], piece)


def _pixel(place: Points) -> tuple[int, int]:
    """A place given as (y, x), as OpenCV wants it."""
    return round(float(place[1])), round(float(place[0]))
