"""What several kinds of specimen are built from: materials drawn at random, packings, nuclei, mitochondria, tiles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from correlight.geometry import Points
from correlight.simulate.model import Material, Part, Shape
from correlight.simulate.outlines import Profile, Rng, Warp, blob, polar, wobble

Materials = Mapping[str, Material]
# Stain of each material of a nucleus at rest, chromatin dye, and grain.
NUCLEUS = {
    "nucleoplasm": (0.34, 0.12, 1.1),
    "heterochromatin": (0.66, 0.9, 0.9),
    "nucleolus": (0.80, 0.14, 0.9),
}
# Vertices per micrometre of outline, and the fewest and most of one outline.
_VERTICES = (9.0, 14, 72)


def draw_materials(rng: Rng, at_rest: Mapping[str, tuple[float, float, float]]) -> dict[str, Material]:
    """Materials of one specimen: the usual stain of each, varied, and a reflectance with a mind of its own.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    at_rest : mapping of str to (float, float, float)
        Usual stain, dye and grain of each material.

    Returns
    -------
    dict of str to Material
        Reflectance follows the stain in part, with either sign, so that neither sign can be relied upon.
    """
    follow = rng.uniform(-0.7, 0.8)
    strength = rng.uniform(0.75, 1.25)
    made = {}
    for name, (stain, dye, grain) in at_rest.items():
        dark = float(np.clip(0.4 + strength * (stain - 0.4) + 0.06 * rng.normal(), 0.02, 1))
        bright = float(np.clip(0.35 + follow * (dark - 0.4) + 0.3 * (1 - abs(follow)) * rng.normal(), 0.05, 1))
        glow = float(np.clip(dye * rng.uniform(0.6, 1.3), 0, 1))
        made[name] = Material(name, dark, glow, bright, grain * rng.uniform(0.7, 1.3))
    return made


def varied(rng: Rng, material: Material, spread: float, dye: float = 1.0) -> Material:
    """A material with its stain varied by a relative standard deviation, and its dye multiplied."""
    return material._replace(
        stain=float(np.clip(material.stain * rng.normal(1, spread), 0.02, 1)),
        chromatin=float(np.clip(material.chromatin * dye, 0, 1)),
    )


class Bends:
    """Several warps one after another: each is one to one, so the whole is, however strongly it bends.

    Parameters
    ----------
    warps : Warp
        The first is applied first.
    """

    def __init__(self, *warps: Warp) -> None:
        self._warps = warps

    @property
    def largest_shift(self) -> float:
        """No point moves further, micrometres."""
        return sum(warp.largest_shift for warp in self._warps)

    def __call__(self, points: Points) -> Points:
        """Bend ``(N, 2)`` points."""
        for warp in self._warps:
            points = warp(points)
        return points


def bent(shapes: Sequence[Shape], warp: Warp | Bends) -> list[Shape]:
    """Shapes bent by a warp, all their vertices at once."""
    if not shapes:
        return []
    points = warp(np.concatenate([shape.points for shape in shapes]))
    ends = np.cumsum([len(shape.points) for shape in shapes])[:-1]
    return [shape._replace(points=own) for shape, own in zip(shapes, np.split(points, ends), strict=True)]


def tiles(extent: float, side: float) -> Iterator[tuple[int, Points]]:
    """Number and middle of each square of a board that covers a specimen."""
    places = np.arange(-extent / 2 + side / 2, extent / 2 + side / 2, side)
    for row, y in enumerate(places):
        for column, x in enumerate(places):
            yield row * len(places) + column, np.array([y, x])


def part(centre: Points, radius: float, warp: Warp | Bends, build: Callable[[], Sequence[Shape]]) -> Part:
    """A part whose shapes are bent by a warp when they are made."""
    return Part(np.asarray(centre, float), radius + warp.largest_shift, partial(_built, build, warp))


def _built(build: Callable[[], Sequence[Shape]], warp: Warp | Bends) -> list[Shape]:
    return bent(build(), warp)


def packed(rng: Rng, radii: NDArray[np.float64], extent: float, apart: float = 1.0) -> tuple[Points, NDArray[np.intp]]:
    """Throw discs onto a square; each stays where it falls unless it meets an earlier one.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    radii : (N,) array
        Micrometres, in the order in which they fall.
    extent : float
        Side of the square, micrometres.
    apart : float
        Two discs keep this multiple of the sum of their radii.

    Returns
    -------
    places : (K, 2) array
        Of those that stayed; micrometres, the origin in the middle of the square.
    which : (K,) array of int
        Their numbers among all.
    """
    places = rng.uniform(-extent / 2, extent / 2, (len(radii), 2))
    kept = np.empty_like(places)
    sizes = np.empty(len(radii))
    which: list[int] = []
    for number, (place, radius) in enumerate(zip(places, radii.tolist(), strict=True)):
        count = len(which)
        if np.all(np.hypot(*(kept[:count] - place).T) > apart * (sizes[:count] + radius)):
            kept[count], sizes[count] = place, radius
            which.append(number)
    return kept[: len(which)], np.array(which, dtype=np.intp)


def thinned(places: Points, radii: Profile, rank: Profile, apart: float) -> NDArray[np.bool_]:
    """Which discs stay when each gives way to those of higher rank that come too near, shape ``(N,)``.

    The second hard-core process of Matérn, in two rounds: fast for a hundred thousand discs, where throwing them one by
    one is not.
    """
    pairs = cKDTree(places).query_pairs(2 * apart * float(np.quantile(radii, 0.98)), output_type="ndarray")
    near = np.hypot(*(places[pairs[:, 0]] - places[pairs[:, 1]]).T) < apart * (radii[pairs[:, 0]] + radii[pairs[:, 1]])
    first, second = pairs[near].T
    lower = np.where(rank[first] < rank[second], first, second)
    higher = first + second - lower
    stays = np.ones(len(places), bool)
    stays[lower] = False
    # Who gave way to one that had itself to give way may come back, unless one that stayed is near.
    beaten = np.zeros(len(places), bool)
    beaten[lower[stays[higher]]] = True
    back = ~stays & ~beaten
    again = back[first] & back[second]
    back[lower[again]] = False
    return np.asarray(stays | back)


def oval(rng: Rng, centre: Points, along: float, across: float, heading: float, roughness: float = 0.05) -> Points:
    """A wobbly ellipse with half axes in micrometres, the long one in direction ``heading`` (radians); ``(K, 2)``."""
    rate, fewest, most = _VERTICES
    count = int(np.clip(rate * (along + across), fewest, most))
    shape = polar((0, 0), wobble(rng, count, roughness)) * (across, along)
    return np.asarray(shape @ _turned(heading) + centre)


def dots(centres: Points, radius: float, material: Material, count: int = 7) -> list[Shape]:
    """Small discs of one size, with ``count`` vertices each, at ``(K, 2)`` centres."""
    outlines = np.asarray(centres)[:, None] + polar((0, 0), radius, count)
    return [Shape(outline, material) for outline in outlines]


def inside(rng: Rng, along: float, across: float, heading: float, reach: float = 1.0) -> Points:
    """A random offset inside an ellipse, uniform over its area, shape ``(2,)``."""
    turn, far = rng.uniform(0, 2 * np.pi), reach * np.sqrt(rng.random())
    offset = far * np.array([across * np.sin(turn), along * np.cos(turn)])
    return np.asarray(offset @ _turned(heading))


def _turned(heading: float) -> NDArray[np.float64]:
    """The matrix that turns rows (y, x) so that the x axis points in direction ``heading``."""
    return np.array([[np.cos(heading), -np.sin(heading)], [np.sin(heading), np.cos(heading)]])


def nucleus(
    rng: Rng,
    stuff: Materials,
    centre: Points,
    along: float,
    across: float,
    heading: float,
    dye: float = 1.0,
    clumping: float = 1.0,
) -> list[Shape]:
    """A nucleus: envelope, rim of condensed chromatin, clumps, at times a nucleolus.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of randomness.
    stuff : mapping of str to Material
        Has "membrane", "heterochromatin", "nucleoplasm" and "nucleolus".
    centre : (2,) array
        Micrometres.
    along, across : float
        Half axes, micrometres.
    heading : float
        Direction of the long axis, radians.
    dye : float
        How much dye it took up, 1 on average.
    clumping : float
        How much of its chromatin is condensed, 1 on average.

    Returns
    -------
    list of Shape
        Back to front.
    """
    outline = oval(rng, centre, along, across, heading, 0.06)
    size = float(np.sqrt(along * across))
    dense, plasm = (varied(rng, stuff[name], 0.05, dye) for name in ("heterochromatin", "nucleoplasm"))
    rim = min(0.4, 0.09 * clumping * rng.uniform(0.5, 1.6) + 0.03 / size)
    made = [
        Shape(outline, stuff["membrane"]),
        Shape(centre + (outline - centre) * (1 - min(0.3, 0.03 / across)), dense),
        Shape(centre + (oval(rng, centre, along, across, heading, 0.05) - centre) * (1 - rim), plasm),
    ]
    for _ in range(rng.poisson(7 * clumping)):
        spot = centre + inside(rng, along, across, heading, 0.75)
        grain = float(np.exp(rng.normal(np.log(0.11 * size), 0.4)))
        made.append(
            Shape(blob(rng, spot, grain, 0.25, rng.uniform(1, 2)), varied(rng, dense, 0.1, rng.uniform(0.6, 1.1)))
        )
    if rng.random() < 0.5:
        spot = centre + inside(rng, along, across, heading, 0.4)
        made.append(Shape(blob(rng, spot, rng.uniform(0.17, 0.26) * size, 0.15), stuff["nucleolus"]))
    return made


def mitochondrion(rng: Rng, stuff: Materials, centre: Points, size: float, heading: float, long: float) -> list[Shape]:
    """An oval in a dark envelope, ``long`` times as long as wide, with pale cristae across it."""
    along, across = size * np.sqrt(long), size / np.sqrt(long)
    made = [Shape(oval(rng, centre, along, across, heading, 0.08), stuff["membrane"])]
    if across < 0.06:
        return made
    made.append(
        Shape(oval(rng, centre, along - 0.03, across - 0.03, heading, 0.05), varied(rng, stuff["mitochondrion"], 0.08))
    )
    direction = np.array([np.sin(heading), np.cos(heading)])
    side = np.array([direction[1], -direction[0]])
    for place in np.arange(-along + rng.uniform(0.05, 0.12), along - 0.05, 0.1):
        reach = (across - 0.05) * np.sqrt(max(0.0, 1 - (place / along) ** 2))
        if reach > 0.03 and rng.random() < 0.75:
            low, high = np.sort(rng.uniform(-reach, reach, 2))
            ends = centre + place * direction + np.outer([low, high], side)
            made.append(Shape(ends, stuff["crista"], 0.028))
    return made
