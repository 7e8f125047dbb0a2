"""A model at work: from a plane to a predicted plane on the same pixels, and how unusual it finds the image."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Float32
from correlight.images.plane import Plane, stretched
from correlight.predict.contrast import prepared
from correlight.predict.facts import ModelFacts, read_facts
from correlight.predict.kinds import Denoising, Mapping, kind
from correlight.predict.usual import unusualness

_MOST = 2**26  # pixels that an image is enlarged to


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
        """The predicted plane, between 0 and 1, on the grid and with the mask of the given one, or on a finer grid.

        Parameters
        ----------
        plane : Plane
            Grey values between 0 and 1. It is brought to the pixel size of the model and back; super-resolution gives a
            plane of four times as many pixels along either axis over the same field.
        """
        return self.apply_with_confidence(plane)[0]

    def apply_with_confidence(self, plane: Plane) -> tuple[Plane, Float32 | None]:
        """The same, and how far each pixel is to be trusted, 0 to 1, if the model says so."""
        small = self.at_its_pixels(plane)
        given = prepared(small.values, small.mask, self.facts.contrast)
        onto, sure = self.grid_of(plane.grid), None
        if isinstance(self.mapping, Denoising):
            made, trusted = self.mapping.with_confidence(given, small.mask)
            raw, sure = self._onto(made, small, onto), self._onto(trusted, small, onto)
        else:
            raw = self.enlarged(given, small, onto)
        like = plane.resized((onto.shape[0], onto.shape[1]))
        return replace(like, values=stretched(raw, like.mask), predicted=None), sure

    def grid_of(self, grid: Grid) -> Grid:
        """The grid of what is predicted of an image on a grid: the same, or a finer one over the same field."""
        if self.facts.finer == 1:
            return grid
        return grid.resized([side * self.facts.finer for side in grid.shape])

    def made_comparable(self, plane: Plane) -> Plane:
        """The image that predictions are compared with, denoised if the model can and the pixel sizes are known."""
        if not isinstance(self.mapping, Denoising) or self.facts.spacing is None or not plane.grid.calibrated:
            return plane
        small = self.at_its_pixels(plane)
        if small.grid.shape[0] > plane.grid.shape[0]:
            # Its pixels are larger than those that the model knows: there is nothing between them to be told apart.
            return plane
        values = self._onto(self.mapping.denoised(small.values, small.mask), small, plane.grid)
        return replace(plane, values=stretched(values, plane.mask))

    def predicted(self, plane: Plane) -> Float32:
        """The same in the units of the targets that were learned, about 0 to 1, as `apply` has it."""
        small = self.at_its_pixels(plane)
        given = prepared(small.values, small.mask, self.facts.contrast)
        return self.enlarged(given, small, self.grid_of(plane.grid))

    def enlarged(self, given: Float32, small: Plane, onto: Grid) -> Float32:
        """The prediction from values that are prepared already, brought to a finer grid of the same field.

        Parameters
        ----------
        given : (Y, X) array of float32
            As the mapping takes them.
        small : Plane
            Whose grid they lie on, and whose mask counts.
        onto : Grid
            Over the same field.
        """
        return self._onto(np.asarray(self.mapping(given, small.mask), np.float32), small, onto)

    def _onto(self, made: Float32, small: Plane, grid: Grid) -> Float32:
        rows, columns = grid.shape
        smooth = Plane(np.clip(made, 0, 1), np.ones(made.shape, bool), small.grid.resized(made.shape))
        return smooth.resized((rows, columns)).values

    def unusualness(self, plane: Plane) -> float:
        """How unlike the training images an image is: up to 1 for nearly all of those (see `predict.usual`)."""
        small = self.at_its_pixels(plane)
        return unusualness(prepared(small.values, small.mask, self.facts.contrast), small.mask, self.facts.usual)

    def at_its_pixels(self, plane: Plane) -> Plane:
        """The plane at the pixel size of the model.

        Where the image or the model state no pixel size, an image is taken to have the pixels of the training images.

        Raises
        ------
        UsageError
            If it would be enlarged beyond 2**26 pixels.
        """
        shape = shape_for(plane.grid, self.facts.spacing, self.facts.shrink)
        if math.prod(shape) * self.facts.finer**2 > max(_MOST, math.prod(plane.grid.shape)):
            made = [f"{side * self.facts.finer:,}" for side in shape]
            raise UsageError(
                f"The model works at pixels so small that an image of {plane.grid.shape[0]} x {plane.grid.shape[1]} "
                f"pixels becomes one of {made[0]} x {made[1]}, and at most {_MOST:,} are made; use a model of larger "
                "pixels, check the pixel size of the image, or crop it."
            )
        return plane.resized(shape)

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
