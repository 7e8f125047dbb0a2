"""What can be wrong with a stack: slices that are empty, doubled or left out, and spacings that cannot be meant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image

# A field this many times longer along one axis than along another, per voxel, is a slip of the unit.
_MOST_UNLIKE = 100.0
# About so many pixels of each slice are examined.
_LOOKED_AT = 40_000
# A step from one slice to the next stands out if it exceeds the median by so many spreads and by this factor.
_JUMP_SPREADS, _JUMP_FACTOR = 10.0, 1.6
_FEWEST_SLICES = 8
# A slice with a shorter side than this shows too little to be recognised.
_LEAST_SIDE = 32
# So many slices are listed in a sentence.
_LISTED = 6


def checked_stack(role: str, image: Image) -> Image:
    """The stack without empty and doubled slices, and with findings about them and about slices left out.

    Parameters
    ----------
    role : str
        What the messages call it.
    image : Image
        Three-dimensional.

    Raises
    ------
    UsageError
        If the distance between slices is not stated or cannot be meant, or no slice is left.
    """
    grid = image.grid
    if not grid.calibrated:
        raise UsageError(
            f"The {role} stack states no voxel size; give it (z, y, x, in micrometres), for the distance between "
            "slices cannot be inferred."
        )
    ratio = max(grid.spacing) / min(grid.spacing)
    if ratio > _MOST_UNLIKE:
        raise UsageError(
            f"The {role} stack states voxels of {' x '.join(f'{step:g}' for step in grid.spacing)} µm (z, y, x), where "
            f"one side is {ratio:.0f} times another; give the right size (z, y, x)."
        )
    if grid.shape[0] == 1:
        return image
    empty, doubled, jumps = defects(image)
    findings = []
    if empty:
        findings.append(f"{_slices(empty)} {_be(empty)} empty and ignored")
    if doubled:
        findings.append(f"{_slices(doubled)} {_be(doubled)} the same as the one before and ignored")
    if jumps:
        findings.append(f"slices seem to be missing after {_slices(jumps)}, where the image changes abruptly")
    if not findings:
        return image
    bad = [*empty, *doubled]
    if len(bad) >= grid.shape[0] - 1:
        raise UsageError(f"The {role} stack has no two slices that differ; check how it was exported.")
    mask = image.valid().copy()
    mask[bad] = False
    return replace(image, mask=mask, findings=(*image.findings, *findings))


def defects(image: Image) -> tuple[list[int], list[int], list[int]]:
    """Numbers of the slices that are empty, that repeat the one before, and after which the image changes abruptly.

    Parameters
    ----------
    image : Image
        With at least two slices.
    """
    pixels = image.levels[0]
    step = max(1, int(np.sqrt(np.prod(image.grid.shape[1:]) / _LOOKED_AT)))
    empty, doubled = [], []
    steps = np.full(image.grid.shape[0] - 1, np.nan)
    before = None
    for number in range(image.grid.shape[0]):
        plane = np.asarray(pixels[:, number, ::step, ::step], np.float32)
        if np.ptp(plane) == 0 or not np.isfinite(plane).any():
            empty.append(number)
            before = None
            continue
        if before is not None:
            if np.array_equal(plane, before):
                doubled.append(number)
            else:
                steps[number - 1] = float(np.mean(np.abs(plane - before)))
        before = plane
    known = steps[np.isfinite(steps)]
    if len(known) < _FEWEST_SLICES:
        return empty, doubled, []
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    limit = max(middle + _JUMP_SPREADS * spread, _JUMP_FACTOR * middle)
    high = np.nan_to_num(steps, nan=0.0) > limit
    # One odd slice differs from both its neighbours; after a gap only one step is large.
    alone = high & ~np.roll(high, 1) & ~np.roll(high, -1)
    return empty, doubled, [int(number) for number in np.flatnonzero(alone)]


def as_stacks(fixed: Image, moving: Image) -> tuple[Image, Image]:
    """Two images of which at least one is a stack, as two stacks.

    A section becomes one slice, as thick as the slices of the stack lie apart: what it is matters to no position in its
    plane, and files of sections do not state it.

    Parameters
    ----------
    fixed, moving : Image
        In two or three axes.
    """
    if fixed.ndim == 2:
        fixed = one_slice(fixed, moving.grid.spacing[0])
    if moving.ndim == 2:
        moving = one_slice(moving, fixed.grid.spacing[0])
    return fixed, moving


def prepared_stacks(fixed: Image, moving: Image) -> tuple[Image, Image]:
    """Both images as stacks that can be registered.

    Raises
    ------
    UsageError
        If a stack is too small, both are single slices, or `checked_stack` refuses one.
    """
    for role, image in (("fixed", fixed), ("moving", moving)):
        if min(image.grid.shape[-2:]) < _LEAST_SIDE:
            raise UsageError(
                f"The {role} stack has {' x '.join(map(str, image.grid.shape))} voxels; slices of at least "
                f"{_LEAST_SIDE} x {_LEAST_SIDE} are needed to recognise anything."
            )
    fixed, moving = as_stacks(fixed, moving)
    if fixed.grid.shape[0] == moving.grid.shape[0] == 1:
        raise UsageError("Both stacks have a single slice; register them as images of two axes.")
    return checked_stack("fixed", fixed), checked_stack("moving", moving)


def one_slice(image: Image, thickness: float) -> Image:
    """A section as a stack of one slice, so that it can be laid into a volume.

    Parameters
    ----------
    image : Image
        Two-dimensional.
    thickness : float
        Micrometres along z.
    """
    grid = image.grid
    volume = Grid((1, *grid.shape), (thickness, *grid.spacing), (0.0, *grid.origin), grid.unit)
    levels = tuple(np.asarray(level)[:, None] for level in image.levels[:1])
    mask = None if image.mask is None else image.mask[None]
    said = "a section; its thickness is taken as the distance between slices of the stack, without effect on the result"
    return replace(image, levels=levels, grid=volume, mask=mask, findings=(*image.findings, said))


def _slices(numbers: Sequence[int]) -> str:
    shown = ", ".join(str(number) for number in numbers[:_LISTED])
    rest = f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else ""
    return f"slice{'s' if len(numbers) > 1 else ''} {shown}{rest}"


def _be(numbers: Sequence[int]) -> str:
    return "are" if len(numbers) > 1 else "is"
