"""One slice of two stacks, as two images in the plane that a figure is drawn of."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral

import numpy as np

from correlight.errors import UsageError
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.output.report.volumes import middle_of_both, plane_at
from correlight.output.section import filling, flat, is_section
from correlight.registration.stack import as_stacks
from correlight.transforms import Affine, Transform


def in_the_plane(
    fixed: Image, moving: Image, moving_from_fixed: Transform, number: int | None = None
) -> tuple[Image, Image, Transform, tuple[str, ...]]:
    """Images in the plane as they are; of stacks, a slice of the fixed one and what the moving one shows there.

    Parameters
    ----------
    fixed, moving : Image
        Flat, stacks, or a section and a stack.
    moving_from_fixed : Transform
        Takes fixed to moving positions.
    number : int, optional
        Which slice of the fixed stack, from 0; the one in the middle of what both show without.

    Returns
    -------
    fixed, moving : Image
        In the plane.
    moving_from_fixed : Transform
        Between them.
    notes : tuple of str
        What a caption should say.

    Raises
    ------
    UsageError
        If there is no such slice.
    """
    if moving_from_fixed.ndim == 2:
        if number is not None:
            raise UsageError(f"Slice {number} was asked for, and both images are flat; leave the slice out.")
        return fixed, moving, moving_from_fixed, ()
    fixed, moving = as_stacks(fixed, moving)
    count = fixed.grid.shape[0]
    if number is None:
        middle = fixed.grid.index(middle_of_both(fixed.grid, moving.grid, moving_from_fixed)[None])[0, 0]
        number = int(np.clip(np.rint(middle), 0, count - 1))
    if not isinstance(number, Integral) or not 0 <= number < count:
        raise UsageError(f"There is no slice {number!r} of the fixed stack; it has {count}, counted from 0.")
    onto = plane_at(fixed.grid, 0, number)
    grid = filling(moving.grid, moving_from_fixed, fixed.grid) if is_section(moving.grid) else moving.grid
    ground, seen = warp(fixed, fixed.grid, Affine.identity(3), onto)
    light, covered = warp(moving, grid, moving_from_fixed, onto)
    notes = [f"slice {number} of the {count} of the fixed stack is drawn, counted from 0"] if count > 1 else []
    if not covered.any():
        notes.append("the moving image does not reach this slice")
    plane = flat(onto)
    return (
        replace(fixed, levels=(ground[:, 0],), grid=plane, mask=seen[0]),
        replace(moving, levels=(light[:, 0],), grid=plane, mask=covered[0]),
        Affine.identity(2),
        tuple(notes),
    )
