"""What files of other tools need to know beside the transform itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from correlight.errors import TransformError, UsageError
from correlight.geometry import Grid, Unit
from correlight.transforms import Affine, Bent, Chain, Projective, Transform
from correlight.transforms.bending import parts_of
from correlight.transforms.field import as_displacement, box_of


@dataclass(frozen=True, slots=True)
class ExchangeContext:
    """The two images that a transform connects, as far as they are known, and which of several is meant.

    Parameters
    ----------
    fixed, moving : Grid or None
        Grids of the images. Formats that count pixels cannot be read or written without them.
    name : str or None
        Name of the moving image in a file that describes several: a source of MoBIE, a setup of BigDataViewer,
        a coordinate system of OME-NGFF.
    ndim : {2, 3} or None
        Number of axes to read from files that always state three. Two is refused where the third is not left alone.
    into : Path or None
        A dataset of the same format into which the transform is written; all else in it stays as it is.
    fixed_origin, moving_origin : tuple of float or None
        Where the centre of the first pixel lies in the coordinates of the file, array order, for images that do not
        say so themselves but had an origin when the transform was made.
    unit : {"micrometre", "pixel"} or None
        What numbers count in files of points and bare matrices that do not say; without it micrometres, and pixels in
        tables.
    sized : bool
        Whether the shapes of the grids are known and not just their pixel sizes.
    shown : tuple of float or None
        Grey values of the moving image that viewers show as black and white, for formats that state them.
    """

    fixed: Grid | None = None
    moving: Grid | None = None
    name: str | None = None
    ndim: int | None = None
    into: Path | None = None
    fixed_origin: tuple[float, ...] | None = None
    moving_origin: tuple[float, ...] | None = None
    unit: Unit | None = None
    sized: bool = True
    shown: tuple[float, float] | None = None

    @property
    def axes(self) -> int | None:
        """How many axes the images have: as asked for, or as the images themselves; None where nothing is known."""
        known = {grid.ndim for grid in (self.fixed, self.moving) if grid is not None}
        return self.ndim or (known.pop() if len(known) == 1 else None)

    @property
    def field(self) -> Grid | None:
        """The grid of the fixed image where its shape is known, and not just its pixel size."""
        return self.fixed if self.fixed is not None and max(self.fixed.shape) > 1 else None

    def require_grids(self, format_name: str) -> tuple[Grid, Grid]:
        """Both grids.

        Raises
        ------
        UsageError
            If one is not known.
        """
        missing = [role for role, grid in (("fixed", self.fixed), ("moving", self.moving)) if grid is None]
        if self.fixed is None or self.moving is None:
            raise UsageError(
                f"{format_name} counts pixels, so the pixel sizes of both images are needed; give the "
                f"{' and the '.join(missing)} image or pixel size."
            )
        return self.fixed, self.moving

    def of_pixels(self, transform: Affine | Projective, format_name: str) -> Affine | Projective:
        """A matrix of a file that states no unit, of positions; if it counts pixels, by the grids of the images.

        Raises
        ------
        UsageError
            If it counts pixels and an image is not known.
        TransformError
            If the images have another number of axes.
        """
        if self.unit != "pixel":
            return transform
        fixed, moving = self.require_grids(format_name)
        if {fixed.ndim, moving.ndim} != {transform.ndim}:
            raise TransformError(
                f"A matrix of {transform.ndim} axes was read, and the images have {fixed.ndim} and {moving.ndim}."
            )
        return type(transform)(moving.matrix @ transform.matrix @ np.linalg.inv(fixed.matrix))


UNKNOWN = ExchangeContext()
"""Nothing known of the images."""


def require_affine(transform: Transform, format_name: str, advice: str = "") -> Affine:
    """The transform if it is affine; formats that hold nothing else refuse the rest with this sentence.

    Raises
    ------
    TransformError
        If it is not.
    """
    if isinstance(transform, Affine):
        return transform
    hint = advice or (
        "write it as .txt or .json instead" if isinstance(transform, Projective) else "write it as .h5 instead"
    )
    raise TransformError(
        f"{format_name} holds affine transforms only and this one is not ({in_words(transform)}); {hint}."
    )


def in_words(transform: Transform) -> str:
    """What kind of transform it is, as a sentence calls it."""
    if isinstance(transform, Chain):
        return f"a chain of {' and '.join(in_words(part) for part in transform.parts)}"
    if isinstance(transform, Bent):
        return transform.words
    if isinstance(transform, Projective):
        return "a projective map"
    return "an affine map" if isinstance(transform, Affine) else "a map of another kind"


def held_parts(transform: Transform, holds: Callable[[Transform], bool], fixed: Grid | None) -> tuple[Transform, ...]:
    """The parts of a transform in a form that a format holds: what it does not, and bends, as displacements.

    Parameters
    ----------
    transform : Transform
        ``moving_from_fixed``.
    holds : callable
        Whether the format holds a part.
    fixed : Grid or None
        The fixed image, over which the first part is sampled; others, and without it all, over where they bend.

    Returns
    -------
    tuple of Transform
        Displacements are as close as `correlight.transforms.field.as_displacement` says. What neither bends nor is held
        stays as it is.
    """
    parts = []
    for number, part in enumerate(parts_of(transform)):
        if holds(part) or not isinstance(part, Bent):
            parts.append(part)
            continue
        over = fixed if number == 0 and fixed is not None and min(fixed.shape) > 1 else box_of(part)
        parts.append(as_displacement(part, over))
    return tuple(parts)


def xyz_from_affine(transform: Affine) -> NDArray[np.float64]:
    """The ``(3, 4)`` matrix of an affine map with x first; a plane gets a third axis that stays to itself."""
    linear, offset = np.eye(3), np.zeros(3)
    d = transform.ndim
    linear[:d, :d] = transform.linear[::-1, ::-1]
    offset[:d] = transform.offset[::-1]
    return np.column_stack([linear, offset]) + 0.0


def affine_from_xyz(rows: NDArray[np.float64], ndim: int | None, subject: str) -> Affine:
    """An affine map from the first three rows of its matrix with x first.

    Parameters
    ----------
    rows : (3, 4) array
        Finite numbers.
    ndim : {2, 3} or None
        Two asks for the map of the plane, three or None for all.
    subject : str
        How the sentence of an error begins: "The transform in a.xml".

    Raises
    ------
    TransformError
        If two axes are asked for and z takes part.
    """
    linear, offset = rows[:, :3], rows[:, 3]
    if ndim != 2:
        return Affine.of(linear[::-1, ::-1], offset[::-1])
    # Scale and shift along z alone say nothing about the plane; calibrations of flat images have an arbitrary one.
    if np.abs([*linear[:2, 2], *linear[2, :2]]).max() > 1e-9 * np.abs(linear).max():
        raise TransformError(f"{subject} leaves the plane, so it cannot be read as 2-D; read it as 3-D.")
    return Affine.of(linear[1::-1, 1::-1], offset[1::-1])
