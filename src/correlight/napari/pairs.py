"""Pairs of landmarks in two Points layers: where they lie in both images, what they say, how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from correlight.errors import CorrelightError, UsageError
from correlight.geometry import Grid, Points
from correlight.landmarks import Estimate, LandmarkModel, Suspect, estimate, suspects
from correlight.landmarks.next_place import NextPlace, next_place
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.napari.layers import micrometres, stated_spacing
from correlight.napari.texts import COLOURS
from correlight.registration.start import rough_model

# Places along each axis of the fixed image among which the next landmark is chosen.
_PLACES = 15


def grid_of(layer: Any) -> Grid:
    """The grid of an image layer as the layer states it."""
    spacing, shape = stated_spacing(layer), layer.level_shapes[0] if layer.multiscale else np.shape(layer.data)
    shape = tuple(int(n) for n in shape[: layer.ndim])
    if spacing is None:
        return Grid.of(shape, 1.0, layer.translate)
    factors = micrometres(layer) or (1.0,) * layer.ndim
    return Grid.of(
        shape,
        spacing,
        tuple(float(at * one) for at, one in zip(layer.translate, factors, strict=True)),
        unit="micrometre",
    )


def positions(points: Any, image: Any) -> Points:
    """Where the points of a layer lie in an image, as pixel indices.

    Both layers are compared before their affine transforms, with which they are moved together.
    """
    here, there = micrometres(points), micrometres(image)
    # Where only one of them has a unit of length, a point layer counts the pixels of its image.
    if (here is None) != (there is None):
        return np.asarray(points.data, float)[:, -image.ndim :]
    one = 1.0 if here is None else np.asarray(here)
    other = 1.0 if there is None else np.asarray(there)
    physical = (np.asarray(points.data, float) * points.scale + points.translate) * one
    placed = (physical / other - image.translate) / image.scale
    return np.asarray(placed)


@dataclass(frozen=True, eq=False)
class Said:
    """What pairs say so far.

    Parameters
    ----------
    names : tuple of str
        The numbers of the pairs, from 1.
    fixed, moving : (N, D) arrays
        Where they lie, in the units of the two grids.
    found : Estimate or None
        The fit with its errors; None where they do not determine one yet.
    wrong : tuple of Suspect
        Pairs that cannot be right.
    why : str
        Why there is no fit; empty where there is one.
    """

    names: tuple[str, ...]
    fixed: Points
    moving: Points
    found: Estimate | None
    wrong: tuple[Suspect, ...]
    why: str = ""

    @property
    def suspected(self) -> set[int]:
        """0-based numbers of the pairs that cannot be right."""
        return {index for suspect in self.wrong for index in suspect.pairs}

    def next_place(self, grid: Grid) -> NextPlace:
        """The place of the fixed image where one more pair helps most.

        Raises
        ------
        UsageError
            If too few pairs are set to know their error.
        """
        if self.found is None or not np.isfinite(self.found.fle):
            raise UsageError("Where the next landmark helps is known once there are more pairs than a fit needs.")
        middles = grid.shrink(tuple(max(1, n // _PLACES) for n in grid.shape))
        return next_place(self.found, middles.lattice_of_pixels(), grid.lattice(_PLACES))


def say_of_pairs(fixed: Points, moving: Points, model: LandmarkModel | None) -> Said:
    """Fit what pairs there are; without a model a similarity, and an affine map from six pairs.

    Parameters
    ----------
    fixed, moving : (N, D) arrays
        In the units of the two images; the longer list is cut.
    model : str, optional
        Kind of transform.
    """
    count = min(len(fixed), len(moving))
    fixed, moving = fixed[:count], moving[:count]
    names = tuple(str(number + 1) for number in range(count))
    kind: LandmarkModel = model or rough_model(count)
    try:
        return Said(names, fixed, moving, estimate(fixed, moving, kind), suspects(fixed, moving, kind))
    except (CorrelightError, np.linalg.LinAlgError) as error:
        return Said(names, fixed, moving, None, (), str(error))


def in_pixels(said: Said, grids: Sequence[Grid]) -> LandmarkTable:
    """The pairs as pixels of the two images, which are the same whatever pixel size a file states."""
    fixed, moving = (grid.index(points) for grid, points in zip(grids, (said.fixed, said.moving), strict=True))
    return LandmarkTable(PointTable(said.names, fixed, "pixel"), PointTable(said.names, moving, "pixel"))


def in_units(said: Said, grids: Sequence[Grid]) -> LandmarkTable:
    """The pairs as a table for a file, each in the unit of its image."""
    return LandmarkTable(
        PointTable(said.names, said.fixed, grids[0].unit), PointTable(said.names, said.moving, grids[1].unit)
    )


def as_html(said: Said, symbol: str) -> str:
    """The error of each pair as a table, and what is wrong with some of them, as rich text."""
    if said.found is None:
        return f"{len(said.names)} pairs. {said.why}" if said.names else "No pair yet: click a place in both images."
    left = np.linalg.norm(said.found.residuals, axis=1)
    try:
        others = np.linalg.norm(said.found.left_out, axis=1)
    except CorrelightError:
        others = np.full(len(left), np.nan)
    rows = []
    for index, name in enumerate(said.names):
        colour = f' style="color:{COLOURS["refused"]}"' if index in said.suspected else ""
        apart = f"{others[index]:.3g}" if np.isfinite(others[index]) else "–"
        rows.append(f"<tr{colour}><td>{name}</td><td>{left[index]:.3g}</td><td>{apart}</td></tr>")
    head = f"<tr><td>pair&nbsp;</td><td>left by the fit, {symbol}&nbsp;</td><td>from the others, {symbol}</td></tr>"
    wrong = "".join(f"<br>{suspect.sentence(said.names, symbol)}" for suspect in said.wrong)
    return f"{said.found.model}, {len(said.names)} pairs<table>{head}{''.join(rows)}</table>{wrong}"
