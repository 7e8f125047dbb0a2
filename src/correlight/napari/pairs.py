"""Pairs of landmarks in two Points layers: where they lie in both images, what they say, how they are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import CorrelightError, UsageError
from correlight.geometry import Grid, Points
from correlight.landmarks import Estimate, LandmarkModel, Suspect, estimate, suspects
from correlight.landmarks.next_place import NextPlace, next_place
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.napari.layers import first_pixel, grid_of_pixels, micrometres, stated_spacing
from correlight.napari.texts import COLOURS
from correlight.registration.from_landmarks import chosen_by_landmarks
from correlight.registration.start import rough_model

# Places along each axis of the fixed image among which the next landmark is chosen.
_PLACES = 15


def grid_of(layer: Any) -> Grid:
    """The grid of an image layer as the layer states it."""
    shape = layer.level_shapes[0] if layer.multiscale else np.shape(layer.data)
    return grid_of_pixels([int(n) for n in shape[: layer.ndim]], first_pixel(layer), stated_spacing(layer))


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
class Paired:
    """Landmarks of two images that have the same number.

    Parameters
    ----------
    numbers : tuple of int
        Of the pairs.
    fixed, moving : (N, D) arrays
        Where they lie.
    alone : tuple of str
        Of each landmark that is set in one image only, which it is, in words.
    """

    numbers: tuple[int, ...]
    fixed: Points
    moving: Points
    alone: tuple[str, ...]

    @classmethod
    def of(cls, numbers: Sequence[NDArray[np.intp]], places: Sequence[Points]) -> Paired:
        """Pair places by the numbers of the landmarks in both images, of which each occurs once."""
        both = np.intersect1d(numbers[0], numbers[1])
        rows = [np.array([int(np.flatnonzero(own == one)[0]) for one in both], int) for own in numbers]
        alone = [
            f"{one} in the {role} image only"
            for own, role in zip(numbers, ("fixed", "moving"), strict=True)
            for one in np.setdiff1d(own, both).tolist()
        ]
        fixed, moving = (there[chosen] for there, chosen in zip(places, rows, strict=True))
        return cls(tuple(both.tolist()), fixed, moving, tuple(alone))


def numbered(held: ArrayLike, others: ArrayLike) -> NDArray[np.intp]:
    """The numbers of landmarks in one image, with new ones for those that have none or one that is taken.

    A landmark that is set again after it was deleted gets the number back under which the other image still has it.

    Parameters
    ----------
    held, others : array-like
        The numbers that the landmarks of this and of the other image have; NaN or zero for none.
    """
    known, there = np.asarray(held, float).tolist(), np.asarray(others, float).tolist()
    out = np.zeros(len(known), int)
    for row, number in enumerate(known):
        if np.isfinite(number) and number >= 1 and int(number) not in out:
            out[row] = int(number)
    for row in np.flatnonzero(out == 0).tolist():
        out[row] = next_number(out.tolist(), there)
    return out


def next_number(held: Iterable[float], others: Iterable[float]) -> int:
    """The number of the next landmark in one image: the least that only the other one has, else a new one."""
    here, there = ({int(one) for one in numbers if np.isfinite(one) and one >= 1} for numbers in (held, others))
    return min(there - here, default=max(here | there, default=0) + 1)


@dataclass(frozen=True, eq=False)
class Said:
    """What pairs say so far.

    Parameters
    ----------
    names : tuple of str
        The numbers of the pairs.
    fixed, moving : (N, D) arrays
        Where they lie, in the units of the two grids.
    found : Estimate or None
        The fit with its errors; None where they do not determine one yet.
    wrong : tuple of Suspect
        Pairs that cannot be right.
    why : str
        Why there is no fit; empty where there is one.
    alone : tuple of str
        Which landmarks are set in one image only.
    """

    names: tuple[str, ...]
    fixed: Points
    moving: Points
    found: Estimate | None
    wrong: tuple[Suspect, ...]
    why: str = ""
    alone: tuple[str, ...] = ()

    @property
    def suspected(self) -> set[int]:
        """Rows of the pairs that cannot be right, from 0."""
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


def say_of_pairs(pairs: Paired, grids: Sequence[Grid], model: LandmarkModel | None) -> Said:
    """Fit what pairs there are; without a model the one that a result of them would have.

    Parameters
    ----------
    pairs : Paired
        In the units of the two images.
    grids : sequence of Grid
        Of the fixed and the moving image.
    model : str, optional
        Kind of transform.
    """
    names, fixed, moving = tuple(str(number) for number in pairs.numbers), pairs.fixed, pairs.moving
    try:
        if model is not None:
            found = estimate(fixed, moving, model)
        elif grids[0].ndim == 2:
            found = chosen_by_landmarks(fixed, moving, *grids).estimate
        else:
            # Of stacks, landmarks are a start.
            found = estimate(fixed, moving, rough_model(len(fixed)))
        return Said(names, fixed, moving, found, suspects(fixed, moving, found.model), alone=pairs.alone)
    except (CorrelightError, np.linalg.LinAlgError) as error:
        return Said(names, fixed, moving, None, (), str(error), pairs.alone)


NOTHING_SAID = Said((), np.empty((0, 2)), np.empty((0, 2)), None, ())


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
    alone = f"<br>Set {', '.join(said.alone)}: click the same place in the other one." if said.alone else ""
    if said.found is None:
        none = "No pair yet: click a place in both images."
        return (
            f"{len(said.names)} pair{'s' * (len(said.names) != 1)}. {said.why}{alone}" if said.names else none + alone
        )
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
    return f"{said.found.model}, {len(said.names)} pairs<table>{head}{''.join(rows)}</table>{wrong}{alone}"
