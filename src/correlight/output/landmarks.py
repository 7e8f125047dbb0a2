"""Landmarks that people set: read from the files of any tool, and written with what is known of each."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np

from correlight.exchange import ExchangeContext, LandmarkTable, read_landmarks
from correlight.exchange.formats import recognise
from correlight.exchange.table import cell
from correlight.geometry import Grid
from correlight.registration.from_landmarks import LandmarkResult
from correlight.registration.result import Result

BEADS = "beads.csv"
"""The file in a result folder that lists the matched beads."""


def read_pairs(path: str | Path, fixed: Grid, moving: Grid) -> LandmarkTable:
    """The landmarks in a file of any kind that holds them, in the units of two images.

    BigWarp counts each image in its own calibration and does not say which that is: micrometres where the image states
    its pixel size, pixels where it does not.

    Raises
    ------
    ReadError
        If the file cannot be read or holds something else.
    """
    context = ExchangeContext(fixed=fixed, moving=moving)
    table = read_landmarks(path, context)
    if recognise(path).name != "bigwarp":
        return table
    sides = (replace(table.fixed, unit=fixed.unit), replace(table.moving, unit=moving.unit))
    return LandmarkTable(*sides, table.left_out)


def write_landmark_table(path: str | Path, outcome: LandmarkResult) -> None:
    """Write what is known of each landmark: its places, what the fit leaves, and how far the others put it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    found, table = outcome.estimate, outcome.landmarks
    left = np.linalg.norm(found.residuals, axis=1)
    others = np.linalg.norm(found.left_out, axis=1)
    expected = np.sqrt(np.trace(found.left_out_covariances, axis1=1, axis2=2))
    doubted = {index for suspect in outcome.suspects for index in suspect.pairs}
    heads = ["name", "fixed_unit", "moving_unit", "fixed_y", "fixed_x", "moving_y", "moving_x"]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heads, "residual", "left_out_error", "left_out_expected", "suspect"])
        for index, name in enumerate(table.fixed.names):
            places = [*table.fixed.points[index], *table.moving.points[index]]
            measured = [left[index], others[index], expected[index]]
            numbers = [repr(float(value) + 0.0) for value in places]
            figures = [f"{value:.6g}" if np.isfinite(value) else "" for value in measured]
            units = [table.fixed.unit, table.moving.unit]
            writer.writerow([cell(name), *units, *numbers, *figures, "yes" if index in doubted else "no"])


def write_bead_table(path: str | Path, result: Result) -> None:
    """Write the matched beads that a result rests on: a table of landmarks, with what the transform leaves of each.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    assert result.pairs is not None
    places, partners = result.pairs
    left = np.linalg.norm(result.moving_from_fixed.inverse()(partners) - places, axis=1)
    axes = "zyx"[-places.shape[1] :]
    heads = ["name", "fixed_unit", "moving_unit", *(f"{role}_{axis}" for role in ("fixed", "moving") for axis in axes)]
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*heads, "residual"])
        for name, place, partner, residual in zip(bead_names(len(places)), places, partners, left, strict=True):
            numbers = [repr(float(value) + 0.0) for value in (*place, *partner)]
            figure = f"{residual:.6g}" if np.isfinite(residual) else ""
            writer.writerow([name, result.fixed.unit, result.moving.unit, *numbers, figure])


def bead_names(count: int) -> tuple[str, ...]:
    """What matched beads are called."""
    return tuple(f"bead {number}" for number in range(1, count + 1))


def read_names(text: str | None) -> tuple[str, ...]:
    """The names in a list parted by commas; empty for None."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if text else ()
