"""What the network is shown: drawings of simulated specimens, random drawings, and real pictures.

A scene is either a *drawing*, whose pixels say which material lies there so that every instrument can colour it
anew, or an *image*, whose grey values some instrument has recorded already. Drawings are the better teacher (a
structure can be bright in one view and missing in the other); images bring the texture of the real world.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Float32
from correlight.io import read
from correlight.simulate.specimen import SpecimenKind, specimen
from correlight.transforms import Affine

Rng = np.random.Generator

# Side of a drawing in pixels, and the range of its field of view: a view shows a part of it, seldom all.
SIDE = 640
_FIELDS = (14.0, 70.0)
# The finest pyramid level of an image that is still a scene.
_LEAST_SIDE = 230
_MOST_SIDE = 1200
# What scikit-image installs as files, photographs and micrographs that the docstrings of skimage.data state to be CC0,
# in the public domain or without known restrictions; logos, stereo pairs and test patterns are left out.
_PACKAGE_PICTURES = (
    "astronaut.png",
    "brick.png",
    "camera.png",
    "cell.png",
    "chelsea.png",
    "coffee.png",
    "coins.png",
    "grass.png",
    "gravel.png",
    "hubble_deep_field.jpg",
    "ihc.png",
    "microaneurysms.png",
    "retina.jpg",
    "rocket.jpg",
)
_PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".tif", ".tiff"}


@dataclass(frozen=True, eq=False)
class Scene:
    """One thing to look at.

    Parameters
    ----------
    name : str
        Where it comes from; scenes of one name show the same thing.
    pixels : (Y, X) array
        Of a drawing, the number of the material (uint16); of an image, grey values between 0 and 1 (float32).
    materials : (M, 4) array of float32, optional
        Of a drawing: number of the name of each material, and its stain, chromatin and reflectance.
    """

    name: str
    pixels: NDArray[np.uint16] | Float32
    materials: Float32 | None = None


def simulated(kinds: Sequence[str], count: int, seed: int) -> Iterator[Scene]:
    """Drawings of simulated specimens at random magnifications, ``count`` of each kind."""
    known = get_args(SpecimenKind)
    for number in range(count):
        for kind in kinds:
            if kind not in known:
                raise UsageError(f"The kinds of simulated specimen are {', '.join(known)}; got {kind!r}.")
            rng = np.random.default_rng([seed, 51, known.index(kind), number])
            # Half of the fields lie where most micrographs do, the rest anywhere.
            spacing = float(np.exp(rng.uniform(*np.log(_FIELDS)))) / SIDE
            grid = Grid.of((SIDE, SIDE), spacing, unit="micrometre")
            turn = Affine.similarity(rng.uniform(0, 360), 1.0, source=grid.centre, target=rng.uniform(-30, 30, 2))
            made = specimen(kind, seed=int(rng.integers(1 << 30)), extent=160.0)  # type: ignore[arg-type]
            painting = made.paint(grid, turn, finest=spacing)
            used, index = np.unique(painting.index, return_inverse=True)
            chosen = [painting.materials[i] for i in used]
            names = sorted({material.name for material in chosen})
            table = [[names.index(m.name), m.stain, m.chromatin, m.reflectance] for m in chosen]
            yield Scene(
                f"{kind}-{number}", index.reshape(painting.index.shape).astype(np.uint16), np.array(table, np.float32)
            )


def drawn(count: int, seed: int) -> Iterator[Scene]:
    """Random drawings: cells of all shapes, blobs, rings, curves and clouds, one upon the other."""
    for number in range(count):
        rng = np.random.default_rng([seed, 52, number])
        index = np.zeros((SIDE, SIDE), np.int32)
        kinds = rng.permutation(len(_LAYERS))[: rng.integers(1, 4)]
        last = 0
        names = [0]
        for name, kind in enumerate(np.sort(kinds), start=1):
            added = _LAYERS[kind](rng, index, last)
            names += [name] * added
            last += added
        yield drawing(rng, f"drawn-{number}", index, names)


def drawing(rng: Rng, name: str, index: NDArray[np.int32], names: Sequence[int]) -> Scene:
    """A scene of materials at random.

    Parameters
    ----------
    rng : numpy.random.Generator
        Draws what stains and detectors would show of each.
    name : str
        Of the scene.
    index : (Y, X) array of int
        Which piece lies there.
    names : sequence of int
        Of each piece, the number of what it is made of: pieces of one material look alike, though not quite.
    """
    used, compact = np.unique(index, return_inverse=True)
    _, kinds = np.unique(np.asarray(names)[used], return_inverse=True)
    palette = rng.random((int(kinds.max()) + 1, 3))
    look = np.clip(palette[kinds] + rng.normal(0, 0.12, (len(used), 3)), 0, 1)
    table = np.column_stack([kinds, look]).astype(np.float32)
    return Scene(name, compact.reshape(index.shape).astype(np.uint16), table)


def _tiles(rng: Rng, index: NDArray[np.int32], last: int) -> int:
    """Voronoi tiles with crooked walls fill the plane."""
    count = int(np.exp(rng.uniform(np.log(12), np.log(300))))
    side = index.shape[0]
    sites = rng.uniform(0, side, (count, 2)).astype(np.float32)
    weight = rng.normal(0, 0.15 * side / count**0.5, count).astype(np.float32)
    small = side // 2
    y, x = np.mgrid[:small, :small].astype(np.float32) * 2
    y += cloud(rng, small, rng.uniform(4, 20)) * rng.uniform(0, 8)
    x += cloud(rng, small, rng.uniform(4, 20)) * rng.uniform(0, 8)
    nearest = np.zeros((small, small), np.int32)
    best = np.full((small, small), np.inf, np.float32)
    for number, (site, own) in enumerate(zip(sites, weight, strict=True)):
        distance = np.hypot(y - site[0], x - site[1]) + own
        closer = distance < best
        nearest[closer], best[closer] = number, distance[closer]
    index[:] = last + 1 + cv2.resize(nearest, (side, side), interpolation=cv2.INTER_NEAREST)
    return count


def _blobs(rng: Rng, index: NDArray[np.int32], last: int) -> int:
    """Wobbly ellipses, filled or as rings, of mixed sizes."""
    count = int(np.exp(rng.uniform(np.log(5), np.log(150))))
    side = index.shape[0]
    typical = side * np.exp(rng.uniform(np.log(0.4), np.log(1.6))) * 0.3 / count**0.5
    ring = rng.random() < 0.4
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    for number in range(count):
        radius = typical * np.exp(rng.normal(0, 0.4))
        wobble = 1 + sum(rng.normal(0, 0.12 / k) * np.cos(k * angle + rng.uniform(0, 6.3)) for k in range(2, 6))
        shape = np.stack([np.cos(angle) * wobble * rng.uniform(0.5, 1), np.sin(angle) * wobble], 1) * radius
        turn = rng.uniform(0, np.pi)
        turned = shape @ np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        outline = np.rint(turned + rng.uniform(0, side, 2)).astype(np.int32)[None]
        if ring:
            cv2.polylines(index, outline, True, last + 1 + number, max(1, round(radius * rng.uniform(0.08, 0.3))))
        else:
            cv2.fillPoly(index, outline, last + 1 + number)
    return count


def _curves(rng: Rng, index: NDArray[np.int32], last: int) -> int:
    """Curved strokes that more or less agree on a direction: fibres, vessels, membranes."""
    count = int(np.exp(rng.uniform(np.log(3), np.log(80))))
    side = index.shape[0]
    main, spread = rng.uniform(0, np.pi), rng.choice([0.2, 3.0])
    width = np.exp(rng.uniform(np.log(2), np.log(18)))
    for number in range(count):
        steps = int(rng.integers(10, 60))
        heading = main + rng.normal(0, spread) + np.cumsum(rng.normal(0, 0.12, steps))
        path = rng.uniform(0, side, 2) + np.cumsum(np.stack([np.cos(heading), np.sin(heading)], 1) * 12, 0)
        thickness = max(1, round(width * np.exp(rng.normal(0, 0.4))))
        cv2.polylines(index, np.rint(path).astype(np.int32)[None], False, last + 1 + number, thickness)
    return count


def _clouds(rng: Rng, index: NDArray[np.int32], last: int) -> int:
    """Regions where a random smooth field is high: domains, voids, stained areas."""
    field = cloud(rng, index.shape[0], np.exp(rng.uniform(np.log(5), np.log(60))))
    if rng.random() < 0.5:
        field = field + 0.5 * cloud(rng, index.shape[0], np.exp(rng.uniform(np.log(3), np.log(10))))
    high, higher = np.quantile(field, np.sort(rng.uniform(0.5, 0.97, 2)))
    index[field > high] = last + 1
    index[field > higher] = last + 2
    return 2


def _specks(rng: Rng, index: NDArray[np.int32], last: int) -> int:
    """Small round things: granules, beads, pores, gathered in clusters or not."""
    count = int(np.exp(rng.uniform(np.log(20), np.log(600))))
    side = index.shape[0]
    places = rng.uniform(0, side, (count, 2))
    if rng.random() < 0.5:
        middles = rng.uniform(0, side, (int(rng.integers(3, 20)), 2))
        places = middles[rng.integers(0, len(middles), count)] + rng.normal(0, side * 0.05, (count, 2))
    radius = np.exp(rng.uniform(np.log(1.5), np.log(7)))
    for place in places:
        size = max(1, round(radius * np.exp(rng.normal(0, 0.25))))
        cv2.circle(index, (int(place[0]), int(place[1])), size, last + 1, -1)
    return 1


# Back to front.
_LAYERS = (_tiles, _clouds, _blobs, _curves, _specks)


def cloud(rng: Rng, side: int, sigma: float) -> Float32:
    """A smooth random field with mean 0 and standard deviation 1."""
    # Drawn no finer than it needs to be.
    coarse = min(side, max(8, int(np.ceil(side * 2 / sigma))))
    noise = rng.standard_normal((coarse, coarse), dtype=np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), sigma * coarse / side)
    field = np.asarray(cv2.resize(smooth, (side, side), interpolation=cv2.INTER_CUBIC))
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-6), np.float32)


def of_package() -> Iterator[Scene]:
    """The images that scikit-image installs."""
    folder = Path(str(resources.files("skimage.data")))
    for name in _PACKAGE_PICTURES:
        if (folder / name).is_file():
            yield from _levels(folder / name)


def of_files(place: Path) -> Iterator[Scene]:
    """An image, or every image in a folder and the folders in it, in alphabetical order.

    Raises
    ------
    UsageError
        If there is no picture.
    """
    files = [place] if place.is_file() else sorted(place.rglob("*"))
    pictures = [path for path in files if path.suffix.lower() in _PICTURE_SUFFIXES]
    if not pictures:
        kinds = ", ".join(sorted(_PICTURE_SUFFIXES))
        raise UsageError(f"Pictures ({kinds}) were expected; {place} has none; check the path.")
    for path in pictures:
        yield from _levels(path)


def _levels(path: Path) -> Iterator[Scene]:
    """An image at several levels of its pyramid, each a scene."""
    grey = np.asarray(read(path).grey(None), np.float32)
    low, high = np.percentile(grey, (0.5, 99.5))
    grey = np.asarray(np.clip((grey - low) / max(float(high - low), 1e-9), 0, 1), np.float32)
    if max(grey.shape) > _MOST_SIDE:
        grey = _resized(grey, _MOST_SIDE / max(grey.shape))
    while min(grey.shape) >= _LEAST_SIDE:
        yield Scene(path.stem, grey)
        grey = _resized(grey, 0.5)


def _resized(grey: Float32, factor: float) -> Float32:
    return np.asarray(cv2.resize(grey, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.float32)
