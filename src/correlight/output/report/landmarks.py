"""The landmarks behind a result that was made by hand, on the overlay and in a table."""

from __future__ import annotations

from typing import Any

import numpy as np

from correlight.geometry import Grid
from correlight.output.figure.marks import Landmarks
from correlight.output.report import content
from correlight.registration.from_landmarks import LandmarkResult


def describe(outcome: LandmarkResult, fixed: Grid, shape: tuple[int, int]) -> dict[str, Any]:
    """What the viewer draws, in pixels of a picture of the fixed image, and the rows of the table.

    Parameters
    ----------
    outcome : LandmarkResult
        What came of the landmarks.
    fixed : Grid
        Of the fixed image as it is shown.
    shape : (int, int)
        Rows and columns of the picture.
    """
    names, places = outcome.landmarks.fixed.names, outcome.landmarks.fixed.points
    moved = outcome.result.moving_from_fixed.inverse()(outcome.landmarks.moving.points)
    onto = fixed.resized(shape)
    there, other = ((onto.index(points) + 0.5)[:, ::-1] for points in (places, moved))
    doubted = {index for suspect in outcome.suspects for index in suspect.pairs}
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
    times = Landmarks(names, there, other).times
    return {"there": there.tolist(), "moved": known.tolist(), "times": times, "rows": rows}
