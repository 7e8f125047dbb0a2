"""The landmarks or matched beads that a result rests on, on the overlay and in a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from correlight.geometry import Grid
from correlight.output.landmarks import bead_names
from correlight.output.report import content, pictures
from correlight.registration.from_landmarks import LandmarkResult
from correlight.registration.result import Result


def describe(result: Result, outcome: LandmarkResult | None, fixed: Grid, shape: tuple[int, int]) -> dict[str, Any]:
    """What the viewer draws, in pixels of a picture of the fixed image, and the rows of the table; empty without any.

    Parameters
    ----------
    result : Result
        Whose matched beads are described where no landmarks were set.
    outcome : LandmarkResult or None
        What came of landmarks.
    fixed : Grid
        Of the fixed image as it is shown.
    shape : (int, int)
        Rows and columns of the picture.
    """
    doubted = set[int]()
    if outcome is not None:
        title, names = "Landmarks", outcome.landmarks.fixed.names
        places, partners = outcome.landmarks.fixed.points, outcome.landmarks.moving.points
        doubted = {index for suspect in outcome.suspects for index in suspect.pairs}
    elif result.pairs is not None and len(result.pairs[0]):
        title, (places, partners) = "Matched beads", result.pairs
        names = bead_names(len(places))
    else:
        return {}
    moved = result.moving_from_fixed.inverse()(partners)
    onto = fixed.resized(shape)
    there, other = ((onto.index(points) + 0.5)[:, ::-1] for points in (places, moved))
    residuals = np.linalg.norm(moved - places, axis=1)
    rows = [
        {
            "number": number,
            "name": name,
            "residual": content.length(float(residual), fixed.unit),
            "suspect": "yes" if number - 1 in doubted else "no",
        }
        for number, (name, residual) in enumerate(zip(names, residuals, strict=True), start=1)
    ]
    known = np.where(np.isfinite(other), other, there)
    times = pictures.enlargement(there, other)
    return {"title": title, "there": there.tolist(), "moved": known.tolist(), "times": times, "rows": rows}
