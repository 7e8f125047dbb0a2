"""A section in a stack: two images of which one is a single slice, as they are written and shown."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.resample import output_grid
from correlight.registration.stack import one_slice
from correlight.transforms import Transform


def is_section(grid: Grid) -> bool:
    """Whether a grid of three axes has a single slice."""
    return grid.ndim == 3 and grid.shape[0] == 1


def in_space(image: Image, moving_from_fixed: Transform, thickness: float, role: str) -> Image:
    """An image in the dimension of a transform: a flat image becomes a slice where the transform has three axes.

    Parameters
    ----------
    image : Image
        In two or three axes.
    moving_from_fixed : Transform
        That it will be moved by, or is the target of.
    thickness : float
        Of the slice, in the unit of the image.
    role : str
        What messages call the image: "fixed" or "moving".

    Raises
    ------
    UsageError
        If a stack meets a transform of two axes.
    """
    if image.ndim == moving_from_fixed.ndim:
        return image
    if image.ndim == 3:
        raise UsageError(
            f"The transform is one of flat images, and the {role} image is a stack of {image.grid.shape[0]} slices; "
            "give a slice or a projection of it."
        )
    return one_slice(image, thickness)


def output_grid_in_space(fixed: Grid, moving: Grid, moving_from_fixed: Transform, choice: str | float) -> Grid:
    """As `correlight.images.resample.output_grid`, but the plane of a section stays one plane."""
    if choice not in ("fixed", "moving") and isinstance(choice, str):
        choice = "fixed"
    onto = output_grid(fixed, moving, moving_from_fixed, choice)  # type: ignore[arg-type]
    if not is_section(fixed):
        return onto
    return Grid(
        (1, *onto.shape[1:]), (fixed.spacing[0], *onto.spacing[1:]), (fixed.origin[0], *onto.origin[1:]), onto.unit
    )


def filling(section: Grid, moving_from_fixed: Transform, onto: Grid) -> Grid:
    """The grid of a moving section, as thick as the slices that it is laid into, so that each column meets it once.

    A section that stands steeply in the stack is as thick as is needed along the axis that it is most across to.

    Parameters
    ----------
    section : Grid
        Of three axes, with one slice.
    moving_from_fixed : Transform
        Of three axes.
    onto : Grid
        The voxels that it is laid into.
    """
    middle = moving_from_fixed.inverse()(section.centre[None])
    steps = np.abs(moving_from_fixed.jacobian(middle)[0, 0]) * onto.spacing
    return replace(section, spacing=(float(steps.max()), *section.spacing[1:]))


def flat(grid: Grid) -> Grid:
    """The plane of a section as a grid of two axes; any other grid as it is."""
    if not is_section(grid):
        return grid
    return Grid(grid.shape[1:], grid.spacing[1:], grid.origin[1:], grid.unit)
