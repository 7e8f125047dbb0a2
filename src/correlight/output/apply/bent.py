"""What is to be said where points and images go through a map that bends."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from correlight.errors import TransformError, UsageError
from correlight.geometry import Grid, Points
from correlight.transforms import Transform
from correlight.transforms.bending import bends, covered, folded

# Places per axis of an image at which it is asked whether a map folds.
_PLACES = 65


def led(moving_from_fixed: Transform, points_in: Literal["moving", "fixed"]) -> Transform:
    """The map that takes points of one image to the other.

    Raises
    ------
    UsageError
        If points of the moving image are asked for and the map folds, so that it has no inverse.
    """
    if points_in == "fixed":
        return moving_from_fixed
    try:
        return moving_from_fixed.inverse()
    except TransformError as error:
        raise UsageError(
            f"{error} Points can be taken from the fixed to the moving image only; use a field that does not fold."
        ) from error


def known_there(transform: Transform, places: Points) -> NDArray[np.bool_]:
    """Whether the fields of a map are known at places, and not only what is beyond their edge; true of linear maps."""
    return covered(transform, places) if bends(transform) else np.ones(len(places), bool)


def said_of_points(transform: Transform, places: Points, there: Points) -> tuple[str, ...]:
    """What to say of points that a map takes from places to others: unreached, beyond the field, in a fold.

    Parameters
    ----------
    transform : Transform
        The map.
    places, there : (N, D) arrays
        Points before and after it; NaN where it did not reach.
    """
    if not bends(transform):
        return ()
    reached = np.isfinite(there).all(axis=1)
    beyond = reached & ~covered(transform, places)
    inside_out = np.zeros(len(places), bool)
    inside_out[reached] = folded(transform, places[reached])
    notes = []
    for chosen, what in (
        (~reached, "no counterpart, as the field does not lead there"),
        (beyond, "a place beyond the field, where nothing but its continuation is known"),
        (inside_out, "a place in a fold of the field, which turns its surroundings inside out"),
    ):
        count = int(np.count_nonzero(chosen))
        if count:
            notes.append(f"{count} {'point has' if count == 1 else 'points have'} {what}")
    if reached.any():
        back = _back(transform, places[reached], there[reached])
        if back is not None:
            notes.append(f"the map and its inverse lead back to within {back:.2g} of the unit of the points' image")
    return tuple(notes)


def _back(transform: Transform, places: Points, there: Points) -> float | None:
    """Greatest distance to the start after the map and its inverse; None where it has none or leads nowhere."""
    try:
        apart = np.linalg.norm(transform.inverse()(there) - places, axis=1)
    except TransformError:
        return None
    return float(apart.max()) if np.isfinite(apart).all() else None


def said_of_image(moving_from_fixed: Transform, onto: Grid, name: str) -> tuple[str, ...]:
    """What to say of an image that is moved by a map that folds or whose field ends within the output."""
    if not bends(moving_from_fixed):
        return ()
    places = onto.lattice(_PLACES if onto.ndim == 2 else 17)
    notes = []
    inside_out = float(np.mean(folded(moving_from_fixed, places)))
    if inside_out:
        notes.append(f"the field folds on {100 * inside_out:.2g} % of {name}, which shows places twice there")
    beyond = float(np.mean(~covered(moving_from_fixed, places)))
    if beyond:
        notes.append(
            f"the field is not known on {100 * beyond:.2g} % of {name}, where nothing but its continuation is used"
        )
    return tuple(notes)
