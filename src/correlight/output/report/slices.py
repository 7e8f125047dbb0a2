"""What the report of two stacks lets one leaf through: slices across every axis, of both, as small pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.geometry import Frame, Grid
from correlight.images import display
from correlight.images.display import COLOURS
from correlight.images.image import Image
from correlight.images.resample import Chosen, warp
from correlight.output.report import content, pictures
from correlight.output.report.volumes import NAMES, Cut, lattice_of, plane_at, section_cut
from correlight.output.section import filling, is_section
from correlight.transforms import Affine, Transform

# Slices across an axis, and pixels along their longest side: a report of stacks stays below a few megabytes.
_MOST, _LONGEST = 17, 420


def slice_viewer(
    fixed: Image, moving: Image, moving_from_fixed: Transform, channels: tuple[int | None, int | None]
) -> dict[str, Any]:
    """Everything that the script draws from, ready for JSON; pictures are ``data:`` addresses.

    Parameters
    ----------
    fixed, moving : Image
        Three-dimensional; a section has one slice.
    moving_from_fixed : Transform
        Of three axes.
    channels : (int or None, int or None)
        The channels to show; None for the first.
    """
    found: list[tuple[str, list[Cut], int]] = []
    if is_section(fixed.grid) or is_section(moving.grid):
        found.append(("the plane of the section", [section_cut(fixed, moving, moving_from_fixed, channels)], 0))
    if not is_section(fixed.grid):
        found.extend(_across(axis, fixed, moving, moving_from_fixed, channels) for axis in range(3))
    middle = [cuts[start] for _, cuts, start in found]
    limits = _limits([(cut.fixed, None) for cut in middle]), _limits([(cut.moving, cut.covered) for cut in middle])
    shown = [[_pair(cut, *limits) for cut in cuts] for _, cuts, _ in found]
    best = shown[0][found[0][2]]
    look = pictures.look_of(*best, found[0][1][found[0][2]].covered, channels[1])
    views = [
        {
            "title": title,
            "places": [cut.title for cut in cuts],
            "fixed": [_coded(one) for one, _ in pairs],
            "moving": [_coded(np.where(cut.covered, other, 0)) for cut, (_, other) in zip(cuts, pairs, strict=True)],
            "start": start,
            "width": cuts[0].fixed.shape[1],
            "height": cuts[0].fixed.shape[0],
            "unit_per_pixel": cuts[0].pixel,
            "symbol": Frame(("y", "x"), cuts[0].unit).symbol,
        }
        for (title, cuts, start), pairs in zip(found, shown, strict=True)
    ]
    return {"views": views, "look": look._asdict(), "colours": COLOURS}


def _across(
    axis: int, fixed: Image, moving: Image, moving_from_fixed: Transform, channels: tuple[int | None, int | None]
) -> tuple[str, list[Cut], int]:
    """Slices across an axis of the fixed frame, and which of them lies in the middle of what both show."""
    fine, centre = lattice_of(fixed.grid, moving.grid, moving_from_fixed, _LONGEST)
    count = fine.shape[axis]
    numbers = sorted({*np.linspace(0, count - 1, min(_MOST, count)).round().astype(int).tolist(), int(centre[axis])})
    cuts = [_cut(axis, plane_at(fine, axis, number), fixed, moving, moving_from_fixed, channels) for number in numbers]
    return NAMES[axis], cuts, numbers.index(int(centre[axis]))


def _cut(
    axis: int,
    onto: Grid,
    fixed: Image,
    moving: Image,
    moving_from_fixed: Transform,
    channels: tuple[int | None, int | None],
) -> Cut:
    """One slice of the channels that are shown."""
    one, other = (
        Chosen(image.levels[0], [number or 0]) for image, number in zip((fixed, moving), channels, strict=True)
    )
    ground, _ = warp(one, fixed.grid, Affine.identity(3), onto)
    grid = filling(moving.grid, moving_from_fixed, fixed.grid) if is_section(moving.grid) else moving.grid
    light, covered = warp(other, grid, moving_from_fixed, onto, mask=moving.mask)
    place = content.length(float(onto.origin[axis]), onto.unit)
    sides = ground[0].squeeze(axis), light[0].squeeze(axis), covered.squeeze(axis)
    return Cut(place, *sides, float(onto.spacing[2]), onto.unit, channels[1])


def _limits(planes: Sequence[tuple[NDArray[Any], NDArray[np.bool_] | None]]) -> tuple[float, float]:
    """One display range for all slices, so that they do not change their brightness from one to the next."""
    values = np.concatenate([plane.ravel() for plane, _ in planes])
    valid = np.concatenate([np.ones(plane.size, bool) if there is None else there.ravel() for plane, there in planes])
    return display.display_range(values, valid if valid.any() else None) or (0.0, 1.0)


def _pair(cut: Cut, *limits: tuple[float, float]) -> tuple[display.Grey, display.Grey]:
    return display.between(cut.fixed, *limits[0]), display.between(cut.moving, *limits[1])


def _coded(grey: display.Grey) -> str:
    return display.data_uri(display.encode(grey, "jpeg", 82))
