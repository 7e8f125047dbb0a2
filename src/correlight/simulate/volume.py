"""A specimen with depth: cells with nuclei and organelles, or tissue with vessels, to be cut and to be focused through.

Everything is an ellipsoid with a wavy surface, placed in micrometres. A microscope asks for the grey value of each
material on its own grid, under any affine map; nothing is ever resampled, so the truth is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from correlight.geometry import Grid, Points
from correlight.images.image import Float32
from correlight.transforms import Affine

SolidKind = Literal["cells", "tissue"]
Rng = np.random.Generator

# Waves on a surface: how many, their height as a share of the radius, and their angular frequency.
_WAVES, _HEIGHT, _FREQUENCY = 2, 0.1, 2.6
_SMOOTH = np.zeros((0, 5))
# Voxels painted at a time.
_CHUNK = 6_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """One ellipsoid with a wavy surface.

    Parameters
    ----------
    material : str
        What it is made of; later bodies lie on top of earlier ones.
    centre : (3,) array
        Micrometres, (z, y, x).
    axes : (3, 3) array
        Takes the unit ball to the ellipsoid.
    waves : (K, 5) array
        Height, frequency along each axis of the unit ball, and phase.
    """

    material: str
    centre: NDArray[np.float64]
    axes: NDArray[np.float64]
    waves: NDArray[np.float64]

    @property
    def swell(self) -> float:
        """No point of the body is further from its centre than this many times the ellipsoid's surface."""
        return 1 + float(np.abs(self.waves[:, 0]).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Solid:
    """A specimen with depth.

    Parameters
    ----------
    kind : {"cells", "tissue"}
        A layer of cells, or packed cells among vessels.
    seed : int
        What it was drawn from.
    bodies : tuple of Body
        In painting order.
    """

    kind: SolidKind
    seed: int
    bodies: tuple[Body, ...]

    def painted(self, levels: Mapping[str, float], grid: Grid, specimen_from_grid: Affine) -> Float32:
        """The grey value of what lies at each voxel, shape ``grid.shape``.

        Parameters
        ----------
        levels : mapping of str to float
            Grey value of each material, and of the surroundings under "around"; bodies of other materials are unseen.
        grid : Grid
            Where the voxels lie in the frame of the instrument.
        specimen_from_grid : Affine
            From that frame to the specimen.
        """
        return np.concatenate([part for _, part in self.slabs(levels, grid, specimen_from_grid)])

    def slabs(
        self, levels: Mapping[str, float], grid: Grid, specimen_from_grid: Affine
    ) -> Iterator[tuple[slice, Float32]]:
        """The same in slabs along z, for volumes that do not fit in memory."""
        step = max(1, _CHUNK // (grid.shape[1] * grid.shape[2]))
        specimen_from_index = specimen_from_grid.matrix @ grid.matrix
        index_from_specimen = np.linalg.inv(specimen_from_index)
        voxel = float(abs(np.linalg.det(specimen_from_index[:3, :3])) ** (1 / 3))
        seen = [body for body in self.bodies if body.material in levels]
        middles = (
            np.array([body.centre for body in seen]).reshape(-1, 3) @ index_from_specimen[:3, :3].T
            + index_from_specimen[:3, 3]
        )
        # An ellipsoid reaches as far along an axis as the row of its matrix is long.
        spans = np.array(
            [np.linalg.norm(index_from_specimen[:3, :3] @ body.axes, axis=1) * body.swell for body in seen]
        ).reshape(-1, 3)
        first = np.floor(middles - spans - 1).astype(int)
        last = np.ceil(middles + spans + 2).astype(int)
        for top in range(0, grid.shape[0], step):
            bottom = min(top + step, grid.shape[0])
            slab = np.full((bottom - top, *grid.shape[1:]), levels["around"], np.float32)
            low, high = np.maximum(first, (top, 0, 0)), np.minimum(last, (bottom, *grid.shape[1:]))
            for number in np.flatnonzero(np.all(high > low, axis=1)):
                body = seen[number]
                _paint(slab, top, low[number], high[number], body, specimen_from_index, voxel, levels[body.material])
            yield slice(top, bottom), slab


def solid(kind: SolidKind = "cells", seed: int = 0, extent: tuple[float, float, float] = (30.0, 260.0, 260.0)) -> Solid:
    """Draw a specimen around the origin.

    Parameters
    ----------
    kind : {"cells", "tissue"}
        "cells": a layer of spread cells with nucleus, nucleoli and organelles. "tissue": packed nuclei among vessels
        that run through the whole depth.
    seed : int
        The same seed is the same specimen.
    extent : (float, float, float)
        Micrometres that are filled along (z, y, x).

    Returns
    -------
    Solid

    Examples
    --------
    >>> small = solid("cells", seed=1, extent=(12.0, 60.0, 60.0))
    >>> sorted({body.material for body in small.bodies})
    ['cytoplasm', 'nucleolus', 'nucleus', 'organelle']
    """
    rng = np.random.default_rng([seed, 83])
    size = np.asarray(extent)
    made = _layer_of_cells(rng, size) if kind == "cells" else _tissue(rng, size)
    return Solid(kind, seed, tuple(made))


def _layer_of_cells(rng: Rng, size: NDArray[np.float64]) -> list[Body]:
    cytoplasm, nuclei, organelles, nucleoli = [], [], [], []
    for place in _scattered(rng, size, 21.0, flat=True):
        radii = np.array([rng.uniform(5.0, 7.5), rng.uniform(9, 14), rng.uniform(8, 12)])
        cell = _body(rng, "cytoplasm", place, radii, flat=True)
        off = place + rng.uniform(-1, 1, 3) * (0.6, 2.0, 2.0)
        nucleus = _body(rng, "nucleus", off, np.array([rng.uniform(3, 4.5), *rng.uniform(4.5, 7.5, 2)]), flat=True)
        cytoplasm.append(cell)
        nuclei.append(nucleus)
        for spot in _within(rng, nucleus, int(rng.integers(1, 4)), 0.0, 0.6):
            nucleoli.append(_body(rng, "nucleolus", spot, rng.uniform(0.8, 1.6, 3)))
        spots = _within(rng, cell, int(rng.integers(40, 110)), 0.45, 0.9)
        lengths = np.array([0.35, 0.4, 1.0]) * rng.uniform(0.8, 1.5, (len(spots), 1))
        lengths[:, 2] *= rng.uniform(0.5, 1.5, len(spots))
        axes = Rotation.random(len(spots), rng=rng).as_matrix() * lengths[:, None, :]
        # Small bodies span few voxels, where waves would only cost time.
        organelles += [Body("organelle", spot, own, _SMOOTH) for spot, own in zip(spots, axes, strict=True)]
    return [*cytoplasm, *organelles, *nuclei, *nucleoli]


def _tissue(rng: Rng, size: NDArray[np.float64]) -> list[Body]:
    vessels, nuclei = [], []
    for _ in range(max(6, round(float(np.prod(size)) / 1.5e6))):
        place, way = rng.uniform(-0.6, 0.6, 3) * size, rng.normal(size=3)
        radius = rng.uniform(4, 14)
        for _ in range(60):
            way = way / np.linalg.norm(way) + 0.25 * rng.normal(size=3)
            place = place + 1.2 * radius * way / np.linalg.norm(way)
            vessels.append(_body(rng, "vessel", place, np.full(3, radius) * rng.uniform(0.85, 1.15, 3)))
            if np.any(np.abs(place) > 0.75 * size):
                break
    for place in _scattered(rng, size, 19.0, flat=False):
        nuclei.append(_body(rng, "nucleus", place, rng.uniform(3, 6, 3)))
    return [*nuclei, *vessels]


def _scattered(rng: Rng, size: NDArray[np.float64], apart: float, *, flat: bool) -> Points:
    """Places about so far apart over the extent, on a jittered lattice with gaps; in one layer if flat."""
    lines = [np.arange(-0.5 * n, 0.5 * n + apart, apart) for n in size]
    if flat:
        lines[0] = np.zeros(1)
    places = np.stack(np.meshgrid(*lines, indexing="ij"), -1).reshape(-1, 3)
    places = places + rng.uniform(-0.35, 0.35, places.shape) * (3.0 if flat else apart, apart, apart)
    return np.asarray(places[rng.random(len(places)) < 0.85])


def _body(rng: Rng, material: str, centre: NDArray[np.float64], radii: NDArray[np.float64], flat: bool = False) -> Body:
    if flat:
        angle = rng.uniform(0, 2 * np.pi)
        turn = np.eye(3)
        turn[1:, 1:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    else:
        turn = Rotation.random(rng=rng).as_matrix()
    waves = np.column_stack(
        [
            rng.normal(0, _HEIGHT, _WAVES),
            rng.normal(0, _FREQUENCY, (_WAVES, 3)),
            rng.uniform(0, 2 * np.pi, _WAVES),
        ]
    )
    return Body(material, np.asarray(centre, float), turn * radii, waves if radii.max() > 2 else _SMOOTH)


def _within(rng: Rng, body: Body, count: int, inner: float, outer: float) -> Points:
    """Places in a body between two shares of its radius, shape ``(count, 3)``."""
    ways = rng.normal(size=(count, 3))
    ways *= rng.uniform(inner, outer, (count, 1)) / np.linalg.norm(ways, axis=1, keepdims=True)
    return np.asarray(ways @ body.axes.T + body.centre)


def _paint(
    slab: Float32,
    top: int,
    low: NDArray[np.intp],
    high: NDArray[np.intp],
    body: Body,
    specimen_from_index: NDArray[np.float64],
    voxel: float,
    level: float,
) -> None:
    """Blend a body into a slab that begins at slice ``top``; its edge is one voxel wide."""
    to_ball = np.linalg.inv(body.axes)
    matrix = to_ball @ specimen_from_index[:3, :3]
    offset = to_ball @ (specimen_from_index[:3, 3] - body.centre)
    lines = [
        np.arange(a, b, dtype=np.float32).reshape([-1 if i == axis else 1 for i in range(3)])
        for axis, (a, b) in enumerate(zip(low, high, strict=True))
    ]
    u = [
        np.float32(row[0]) * lines[0] + np.float32(row[1]) * lines[1] + np.float32(row[2]) * lines[2] + np.float32(off)
        for row, off in zip(matrix, offset, strict=True)
    ]
    radius = np.sqrt(u[0] * u[0] + u[1] * u[1] + u[2] * u[2])
    surface = np.float32(1)
    for height, fz, fy, fx, phase in body.waves.astype(np.float32):
        surface = surface + height * np.sin(fz * u[0] + fy * u[1] + fx * u[2] + phase)
    sharp = np.float32(np.linalg.norm(body.axes, axis=0).min() / voxel)
    share = np.clip((surface - radius) * sharp + np.float32(0.5), 0, 1)
    part = slab[low[0] - top : high[0] - top, low[1] : high[1], low[2] : high[2]]
    part += share * (np.float32(level) - part)
