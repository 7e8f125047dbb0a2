"""What a registration is to start from: landmarks that a person set, and what can be wrong with a transform."""

from __future__ import annotations

from typing import Literal

import numpy as np

from correlight.errors import TransformError, UsageError
from correlight.geometry import Grid, Points
from correlight.images.image import Image
from correlight.landmarks import fit
from correlight.landmarks.tables import LandmarkTable
from correlight.search.limits import Start, StartPoints
from correlight.transforms.bending import bends, beyond, folded, touching

# Places along each axis of the fixed image at which a field is looked at.
_LOOKS = {2: 97, 3: 25}


def check_start(start: Start | None, fixed: Grid, moving: Grid) -> None:
    """Refuse a start that is no map between the two images.

    Parameters
    ----------
    start : Transform or StartPoints, optional
        An approximate ``moving_from_fixed``, of the dimension of the images.
    fixed, moving : Grid
        The two images.

    Raises
    ------
    UsageError
        If it folds, leads outside the moving image everywhere, or bends by more than what
        the images share.
    """
    if start is None or isinstance(start, StartPoints) or not bends(start):
        return
    places = fixed.lattice(_LOOKS[fixed.ndim])
    inside_out = float(np.mean(folded(start, places)))
    if inside_out:
        raise UsageError(
            f"The start folds over itself on {100 * inside_out:.2g} % of the fixed image, so it is no map to begin "
            "from; give a transform that does not fold."
        )
    shared = places[moving.contains(start(places))]
    if not len(shared):
        raise UsageError(
            "The start leads outside the moving image from every place of the fixed one; check that it belongs to "
            "these images, and their pixel sizes."
        )
    moved = float(np.linalg.norm(beyond(start, touching(start, fixed.centre), shared), axis=1).max())
    wide = float(np.ptp(shared, axis=0).max())
    if moved > wide:
        symbol = fixed.frame.symbol
        raise UsageError(
            f"The field of the start moves places by up to {moved:.3g} {symbol} beyond its linear map, and what the "
            f"images share is only {wide:.3g} {symbol} wide; give a start that bends less."
        )


def places_of(landmarks: LandmarkTable | None, fixed: Image, moving: Image) -> tuple[Points, Points] | None:
    """Landmarks as positions in the units of two images.

    Raises
    ------
    UsageError
        If there are none in the table, they have another number of coordinates than the images, or lie outside.
    """
    if landmarks is None:
        return None
    if not landmarks.fixed.names:
        raise UsageError("At least one pair of landmarks was expected; the table holds none.")
    places = landmarks.fixed.positions(fixed.grid), landmarks.moving.positions(moving.grid)
    for role, image, points in zip(("fixed", "moving"), (fixed, moving), places, strict=True):
        outside = np.flatnonzero(~image.grid.contains(points))
        if len(outside):
            raise UsageError(
                f"Landmark {landmarks.fixed.names[outside[0]]} lies outside the {role} image; check the landmarks and "
                "their unit."
            )
    return places


def started(start: Start | None, known: tuple[Points, Points] | None) -> Start | None:
    """What a registration starts from: what was given, or else what landmarks beside the images determine.

    Raises
    ------
    UsageError
        If the landmarks determine nothing.
    """
    if start is not None or known is None or (known[0].shape[1] == 3 and len(known[0]) < 3):
        return start
    try:
        return start_of_pairs(*known)
    except (TransformError, UsageError) as error:
        raise UsageError(f"The landmarks determine no transform: {error}") from error


def start_of_pairs(fixed: Points, moving: Points) -> Start:
    """A start from few rough pairs of landmarks: the transform that fits them, or the places themselves.

    Parameters
    ----------
    fixed, moving : (N, D) arrays
        Positions in the units of the two images.

    Raises
    ------
    TransformError, UsageError
        If the places determine nothing.
    """
    if len(fixed) < 3:
        return StartPoints(fixed, moving)
    return fit(fixed, moving, rough_model(len(fixed)))


def rough_model(count: int) -> Literal["similarity", "affine"]:
    """What so many rough pairs determine: few cannot separate shear from their error, and a start need not."""
    return "affine" if count >= 6 else "similarity"
