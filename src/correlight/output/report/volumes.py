"""The report of two stacks, or of a section in one: planes that viewers cannot cut, and the tables."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import WriteError
from correlight.geometry import Frame, Grid, Unit
from correlight.images import display
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.output.report import content, field, pictures
from correlight.output.report.page import template
from correlight.output.section import filling, flat, is_section
from correlight.registration.result import Result
from correlight.search.pose import Pose
from correlight.transforms import Affine, Transform

# Pixels along the longest side of a slice.
_LONGEST = 720
NAMES = ("across z", "across y", "across x")


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """One plane through both stacks.

    Parameters
    ----------
    title : str
        Where it lies.
    fixed, moving : (rows, columns) array
        Grey values as the files hold them.
    covered : (rows, columns) array of bool
        Where the moving stack was really sampled.
    pixel : float
        Side of a pixel in ``unit``.
    unit : {"micrometre", "pixel"}
        Of the image that the plane belongs to.
    channel : int or None
        Number of the moving channel, which determines its colour.
    """

    title: str
    fixed: NDArray[Any]
    moving: NDArray[Any]
    covered: NDArray[np.bool_]
    pixel: float
    unit: Unit
    channel: int | None


def cuts_through(
    fixed: Image, moving: Image, moving_from_fixed: Transform, channels: tuple[int | None, int | None]
) -> list[Cut]:
    """The planes that show how two stacks lie: that of a section, and three of the fixed stack.

    Parameters
    ----------
    fixed, moving : Image
        Three-dimensional; a section has one slice.
    moving_from_fixed : Transform
        Of three axes.
    channels : (int or None, int or None)
        The channels to show; None for the first.

    Returns
    -------
    list of Cut
        Pixels are square, so that depth is not squeezed. Only the planes are resampled, not the stacks. With a section
        among the two, its own plane is the first, and the only one where it is the fixed image.
    """
    cuts = []
    if is_section(fixed.grid) or is_section(moving.grid):
        cuts.append(section_cut(fixed, moving, moving_from_fixed, channels))
    if not is_section(fixed.grid):
        cuts.extend(orthogonal_cuts(fixed, moving, moving_from_fixed, channels))
    return cuts


def section_cut(
    fixed: Image, moving: Image, moving_from_fixed: Transform, channels: tuple[int | None, int | None]
) -> Cut:
    """The section as it is, and the stack cut along its plane; parameters as in `cuts_through`."""
    swapped = not is_section(fixed.grid)
    section, stack = (moving, fixed) if swapped else (fixed, moving)
    stack_from_section = moving_from_fixed.inverse() if swapped else moving_from_fixed
    onto = section.grid.resized((1, *display.display_shape(flat(section.grid), _LONGEST)))
    own, valid = warp(section, section.grid, Affine.identity(3), onto)
    cut, met = warp(stack, stack.grid, stack_from_section, onto)
    numbers = (channels[1] or 0, channels[0] or 0) if swapped else (channels[0] or 0, channels[1] or 0)
    alone, other = own[numbers[0], 0], cut[numbers[1], 0]
    if swapped:
        return Cut("the plane of the section", other, alone, valid[0], onto.spacing[2], onto.unit, channels[1])
    return Cut("the plane of the section", alone, other, met[0], onto.spacing[2], onto.unit, channels[1])


def orthogonal_cuts(
    fixed: Image, moving: Image, moving_from_fixed: Transform, channels: tuple[int | None, int | None]
) -> list[Cut]:
    """Three planes of the fixed frame through the middle of what both stacks show; parameters as in `cuts_through`."""
    cuts = []
    for axis, title, onto in planes_through(fixed.grid, moving.grid, moving_from_fixed):
        ground, light, covered = _plane(fixed, moving, moving_from_fixed, onto, channels)
        sides = ground.squeeze(axis), light.squeeze(axis), covered.squeeze(axis)
        cuts.append(Cut(title, *sides, float(onto.spacing[2]), onto.unit, channels[1]))
    return cuts


def planes_through(fixed: Grid, moving: Grid, moving_from_fixed: Transform) -> list[tuple[int, str, Grid]]:
    """Three planes of the fixed frame through the middle of what both stacks show: across which axis, title, grid."""
    fine, centre = lattice_of(fixed, moving, moving_from_fixed)
    planes = []
    for axis, name in enumerate(NAMES):
        onto = plane_at(fine, axis, int(centre[axis]))
        planes.append((axis, f"{name} at {content.length(float(onto.origin[axis]), fixed.unit)}", onto))
    return planes


def lattice_of(
    fixed: Grid, moving: Grid, moving_from_fixed: Transform, longest: int = _LONGEST
) -> tuple[Grid, NDArray[np.intp]]:
    """The fixed stack in cubes of at most so many along an axis, and the one in the middle of what both stacks show."""
    pixel = max(min(fixed.spacing[1:]), max(fixed.extent) / longest)
    fine = fixed.resized([max(1, round(length / pixel)) for length in fixed.extent])
    middle = middle_of_both(fixed, moving, moving_from_fixed)
    return fine, np.clip(np.rint(fine.index(middle[None])[0]), 0, np.asarray(fine.shape) - 1).astype(np.intp)


def plane_at(fine: Grid, axis: int, number: int) -> Grid:
    """One slice of a grid of three axes."""
    start = [number if other == axis else 0 for other in range(3)]
    return fine.crop(start, [number + 1 if other == axis else n for other, n in enumerate(fine.shape)])


def middle_of_both(fixed: Grid, moving: Grid, moving_from_fixed: Transform) -> NDArray[np.float64]:
    """A place in the middle of what both stacks show; on a section, where the moving image is one."""
    if is_section(moving):
        places = moving_from_fixed.inverse()(moving.lattice(9)[::9])
        common = places[fixed.contains(places)]
        return np.asarray(common[len(common) // 2] if len(common) else fixed.centre)
    places = fixed.lattice(9)
    common = places[moving.contains(moving_from_fixed(places))]
    return np.asarray(common.mean(axis=0) if len(common) else fixed.centre)


def drawn(cut: Cut) -> NDArray[np.uint8]:
    """A cut in colours with a scale bar."""
    symbol = Frame(("y", "x"), cut.unit).symbol
    return pictures.with_scale_bar(coloured(cut), cut.pixel, symbol)


def coloured(cut: Cut) -> NDArray[np.uint8]:
    """A cut in colours, as images in the plane are shown."""
    ground = display.stretch(cut.fixed)
    light = display.stretch(cut.moving, cut.covered if cut.covered.any() else None)
    return pictures.laid_over(ground, light, cut.covered, pictures.look_of(ground, light, cut.covered, cut.channel))


Shown = list[tuple[str, pictures.Colour]]


def shown_of(result: Result, fixed: Image, moving: Image, channels: tuple[int | None, int | None]) -> Shown:
    """What the report shows of two stacks, with titles: cuts through both, or each alone where the result is refused.

    Parameters
    ----------
    result, fixed, moving, channels
        As for `write_volume_report`.
    """
    if result.status != "refused":
        return [(cut.title, drawn(cut)) for cut in cuts_through(fixed, moving, result.moving_from_fixed, channels)]
    return [
        (f"{role} {kind_of(image)}", _alone(image, channel))
        for role, image, channel in (("Fixed", fixed, channels[0]), ("Moving", moving, channels[1]))
    ]


def still_of(result: Result, moving: Image, shown: Shown) -> pictures.Colour:
    """The overlay of two stacks: the first picture, with a band of words where the result is not accepted."""
    still = shown[0][1]
    if result:
        return still
    refused = f"refused: the moving {'section' if is_section(moving.grid) else 'stack'} could not be placed"
    return pictures.with_banner(still, refused if result.status == "refused" else f"{result.status}: check before use")


def write_volume_report(
    folder: Path,
    result: Result,
    fixed: Image,
    moving: Image,
    channels: tuple[int | None, int | None],
    viewer: dict[str, Any] | None = None,
) -> None:
    """Write ``report.html`` and ``overlay.png`` for two stacks.

    Parameters
    ----------
    folder : Path
        Where they go.
    result : Result
        With a transform of three axes. A refused one shows the two stacks side by side.
    fixed, moving : Image
        Three-dimensional.
    channels : (int or None, int or None)
        The channels used for registration.
    viewer : dict, optional
        What the script that leafs through slices draws from (`correlight.output.report.slices`).

    Raises
    ------
    WriteError
        If a file cannot be written.
    """
    laid, shown = result.status != "refused", shown_of(result, fixed, moving, channels)
    bent = None
    if laid and field.has_field(result):
        bent = _field(result, fixed, moving, cuts_through(fixed, moving, result.moving_from_fixed, channels))
    still = still_of(result, moving, shown)
    page = template("volumes.html.j2").render(
        content.describe(result, fixed, moving, has_registered=laid),
        laid=laid,
        field=bent,
        viewer=viewer,
        section=is_section(fixed.grid) or is_section(moving.grid),
        cuts=[
            {"title": title, "picture": display.data_uri(display.encode(picture, "png"))} for title, picture in shown
        ],
        poses=[_row(pose, fixed.grid, moving.grid) for pose in result.poses],
        ignored=[
            {"role": role, "name": content.file_name(record, ""), "share": share, "picture": None, "findings": findings}
            for role, record, share, findings in _ignored(result, fixed, moving)
        ],
    )
    files = {"report.html": page.encode("utf-8", "replace"), "overlay.png": display.encode(still, "png")}
    for name, coded in files.items():
        try:
            (folder / name).write_bytes(coded)
        except OSError as error:
            raise WriteError(f"{name} cannot be written to {folder} ({error.strerror}); make room there.") from error


def _field(result: Result, fixed: Image, moving: Image, cuts: list[Cut]) -> dict[str, Any]:
    """The maps of a field over the planes of the fixed stack that are shown."""
    pictures_of = {cut.title: coloured(cut) for cut in cuts}
    planes = []
    for axis, title, onto in planes_through(fixed.grid, moving.grid, result.moving_from_fixed):
        if title in pictures_of:
            rows, columns = (other for other in range(3) if other != axis)
            planes.append(field.describe(result, pictures_of[title], onto, (rows, columns), title))
    return {"words": field.words(result), "planes": planes}


def kind_of(image: Image) -> str:
    """What is shown of an image that could not be laid on the other."""
    return "section" if is_section(image.grid) else "stack, one slice in the middle"


def _plane(
    fixed: Image, moving: Image, moving_from_fixed: Transform, onto: Grid, channels: tuple[int | None, int | None]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.bool_]]:
    """Both stacks on one thin grid of the fixed frame, and where the moving one was sampled."""
    ground, _ = warp(fixed, fixed.grid, Affine.identity(3), onto)
    grid = filling(moving.grid, moving_from_fixed, fixed.grid) if is_section(moving.grid) else moving.grid
    light, covered = warp(moving, grid, moving_from_fixed, onto)
    return ground[channels[0] or 0], light[channels[1] or 0], covered


def _alone(image: Image, channel: int | None) -> NDArray[np.uint8]:
    """The slice in the middle of one stack in grey, with a scale bar."""
    pixels = np.asarray(image.levels[0][channel or 0, image.grid.shape[0] // 2])
    plane = Grid(image.grid.shape[1:], image.grid.spacing[1:], image.grid.origin[1:], image.grid.unit)
    shape = display.display_shape(plane, _LONGEST)
    grey = display.stretch(display.resize(pixels, shape))
    return pictures.with_scale_bar(np.dstack([grey] * 3), plane.extent[1] / shape[1], plane.frame.symbol)


def _row(pose: Pose, fixed: Grid, moving: Grid) -> dict[str, str]:
    """A pose in words and numbers."""
    linear = pose.linear
    in_plane = Affine.of(linear.linear[1:, 1:], np.zeros(2))
    along = linear.linear[0, 0] / float(np.linalg.norm(linear.linear[0]))
    voxels = float(np.prod(fixed.spacing) ** (1 / 3)) / float(np.prod(moving.spacing) ** (1 / 3))
    return {
        "score": content.figure(pose.score),
        "rotation": f"{in_plane.rotation:.1f}°",
        "tilt": f"{np.degrees(np.arccos(min(1.0, abs(along)))):.1f}°",
        "scale": content.figure(linear.scale * voxels, 4),
        "reversed": "yes" if along < 0 else "no",
        "mirrored": "yes" if linear.mirrored else "no",
        "overlap": f"{100 * pose.overlap:.0f} %",
    }


def _ignored(result: Result, fixed: Image, moving: Image) -> list[tuple[str, Any, str, tuple[str, ...]]]:
    rows = []
    for role, record, image in (("Fixed", result.fixed, fixed), ("Moving", result.moving, moving)):
        if record.findings:
            share = 0.0 if image.mask is None else 1 - float(np.mean(image.valid()))
            rows.append((role, record, f"{100 * share:.1f} %", record.findings))
    return rows
