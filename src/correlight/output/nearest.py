"""What comes nearest to a transform where a program takes something else: a simpler kind, or landmarks made of it."""

from __future__ import annotations

import numpy as np

from correlight.errors import TransformError, UsageError
from correlight.exchange import ExchangeContext
from correlight.geometry import Grid
from correlight.landmarks import LinearModel, fit
from correlight.landmarks.synthetic import landmarks_of
from correlight.landmarks.tables import LandmarkTable
from correlight.transforms import Transform

LANDMARKS_PER_AXIS = 5
"""Landmarks made of a transform along each axis, where nobody says how many."""

# Places along each axis of the fixed image at which the two are compared.
_PLACES = {2: 25, 3: 9}


def simpler(transform: Transform, model: LinearModel, context: ExchangeContext) -> tuple[Transform, str]:
    """The transform of a kind that comes nearest over what both images show, and by how much it differs, in words.

    Parameters
    ----------
    transform : Transform
        Of any kind.
    model : {"rigid", "similarity", "affine", "projective"}
        The kind that is wanted.
    context : ExchangeContext
        With the grids of both images.

    Raises
    ------
    UsageError
        If an image is not known, both have nothing in common, or there is no such kind for three axes.
    """
    fixed, moving = _both(context)
    places = fixed.lattice(_PLACES[fixed.ndim])
    there = transform(places)
    common = moving.contains(there)
    if not common.any():
        raise UsageError("The two images have nothing in common under this transform, so no other comes near it.")
    try:
        found = fit(places[common], there[common], model)
    except TransformError as error:
        raise UsageError(f"No {model} transform comes near this one: {error}") from error
    # Back in the fixed image, where a pixel means something to whoever looks at the overlay.
    off = found(places[common]) - there[common]
    apart = np.linalg.norm(np.linalg.solve(transform.jacobian(places[common]), off[..., None]), axis=(1, 2))
    pixel, symbol = min(fixed.spacing), fixed.frame.symbol
    most, mean = float(apart.max()), float(apart.mean())
    said = (
        f"the {model} transform nearest to it is written; in the fixed image the two differ by {mean / pixel:.2g} "
        f"pixels on average and {most / pixel:.2g} at most"
    )
    return found, said if symbol == "px" else f"{said} ({most:.2g} {symbol})"


def in_landmarks(
    transform: Transform, context: ExchangeContext, per_axis: int, title: str
) -> tuple[LandmarkTable, str]:
    """Landmarks on a lattice over what both images show, made of a transform, and what to say of them.

    Parameters
    ----------
    transform : Transform
        Of any kind.
    context : ExchangeContext
        With the grids of both images.
    per_axis : int
        Places along each axis of the fixed image.
    title : str
        The program that they are for.

    Raises
    ------
    UsageError
        If an image is not known, both have nothing in common, or the number is no such number.
    """
    table = landmarks_of(transform, *_both(context), per_axis)
    count = len(table.fixed.names)
    return table, f"{count} pairs of landmarks made of the transform are written for {title}, none was set by hand"


def _both(context: ExchangeContext) -> tuple[Grid, Grid]:
    """Both grids, with their shapes."""
    fixed, moving = context.fixed, context.moving
    if fixed is None or moving is None or not context.sized:
        raise UsageError(
            "For this the fields of both images must be known; give the two images, or the folder of a result."
        )
    return fixed, moving
