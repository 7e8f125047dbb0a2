"""A model at work: from a plane to a predicted plane on the same pixels, and how unusual it finds the image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from correlight.geometry import Grid
from correlight.images.plane import Plane, stretched
from correlight.predict.contrast import prepared
from correlight.predict.facts import ModelFacts, read_facts
from correlight.predict.kinds import Mapping, kind
from correlight.predict.usual import unusualness


@dataclass(frozen=True, eq=False)
class Model:
    """A trained model.

    Parameters
    ----------
    facts : ModelFacts
        What it states about itself.
    mapping : Mapping
        What predicts, at the pixel size of the model.
    folder : str
        Where it was read from.
    """

    facts: ModelFacts
    mapping: Mapping
    folder: str

    def apply(self, plane: Plane) -> Plane:
        """The predicted plane, between 0 and 1, on the grid and with the mask of the given one.

        Parameters
        ----------
        plane : Plane
            Grey values between 0 and 1. It is brought to the pixel size of the model and back.
        """
        small = self.at_its_pixels(plane)
        made = self.mapping(prepared(small.values, small.mask, self.facts.contrast), small.mask)
        values = Plane(stretched(np.asarray(made, np.float32), small.mask), small.mask, small.grid)
        back = values.resized(_two(plane.grid.shape)).values
        return Plane(np.clip(back, 0, 1), plane.mask, plane.grid, plane.denoised)

    def unusualness(self, plane: Plane) -> float:
        """How unlike the training images an image is: up to 1 for nearly all of those (see `predict.usual`)."""
        small = self.at_its_pixels(plane)
        return unusualness(prepared(small.values, small.mask, self.facts.contrast), small.mask, self.facts.usual)

    def at_its_pixels(self, plane: Plane) -> Plane:
        """The plane at the pixel size of the model.

        Where the image or the model state no pixel size, an image is taken to have the pixels of the training images.
        """
        return plane.resized(shape_for(plane.grid, self.facts.spacing, self.facts.shrink))

    @property
    def words(self) -> str:
        """What it is, for reports."""
        return f"{self.facts.source} to {self.facts.target} ({self.facts.kind})"


def shape_for(grid: Grid, spacing: float | None, shrink: float) -> tuple[int, int]:
    """The shape of a grid at another pixel size.

    Parameters
    ----------
    grid : Grid
        Of two axes.
    spacing : float or None
        Micrometres per pixel; None where it is not known.
    shrink : float
        Pixels of the grid per new pixel, where one of the two pixel sizes is not known.
    """
    pixel = (spacing, spacing) if spacing is not None and grid.calibrated else [shrink * s for s in grid.spacing]
    rows, columns = (max(1, round(extent / size)) for extent, size in zip(grid.extent, pixel, strict=True))
    return rows, columns


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = shape
    return rows, columns


def load(folder: str | Path) -> Model:
    """Read a model; what is in the folder is read as numbers and text, and none of it is run.

    Parameters
    ----------
    folder : str or Path
        That training wrote.

    Raises
    ------
    ReadError
        If it is no such folder, of another version, truncated or damaged.
    UsageError
        If this correlight does not know the kind of model.
    """
    folder = Path(folder)
    facts = read_facts(folder)
    return Model(facts, kind(facts.kind).loader()(folder, facts), str(folder))
