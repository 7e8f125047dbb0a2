"""Everything that one session took, moved by the one transform that was found for one of its images.

A table (see `correlight.output.apply.table`) says how each image lies to the registered one: by the position of
its first pixel, by the position of the stage, or not at all, which means the same middle. Its pixel size is stated, or
follows from the magnification, or is that of its file.
"""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from correlight.errors import UsageError
from correlight.exchange.table import cell
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.kernel import Order
from correlight.io import WHOLE, Selection, unchanged
from correlight.output.apply.moving import How, move, moved_how
from correlight.output.apply.points import SIGNS, StageAxes
from correlight.output.apply.saved import Frames, about_the_fixed, as_recorded, findings_of, other_part, read_saved
from correlight.output.apply.saved import fixed_grid as grid_of_fixed
from correlight.output.apply.table import Member
from correlight.output.composite import NAME as COMPOSITE
from correlight.output.composite import Moved, write_composite
from correlight.output.moved import Progress
from correlight.output.parts import Common
from correlight.output.target import reserve
from correlight.parsing import stem_of
from correlight.transforms import Transform

SUMMARY = "applied.csv"


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one image.

    Parameters
    ----------
    image : Path
        The file it came from.
    file : Path or None
        Where it is now; None if it lies outside the fixed image altogether.
    used : float
        Share of it that lies on the fixed image.
    covered : float
        Share of the fixed image that it covers.
    notes : tuple of str
        Channels that were moved as labels, and another part of the registered file.
    findings : tuple of str
        What was found on reading the image, each with the name of its file.
    """

    image: Path
    file: Path | None
    used: float
    covered: float
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What lies outside, in words; empty if nothing does."""
        if self.file is None:
            return f"{self.image.name} lies outside the fixed image altogether and was not written."
        if self.used < 1:
            return f"{100 * (1 - self.used):.0f} % of {self.image.name} lie outside the fixed image."
        return ""


@dataclass(frozen=True, slots=True)
class AppliedSession:
    """What became of all images that one transform moved.

    Parameters
    ----------
    images : tuple of Applied
        One per image, in the order of the table.
    status : str or None
        Verdict on the registration behind the transform.
    notes : tuple of str
        What a user should know of the fixed image: it is another file or part than the one that was registered.
    findings : tuple of str
        What was found on reading it, with the name of its file.
    """

    images: tuple[Applied, ...]
    status: str | None
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def apply_session(
    transform: str | Path,
    members: tuple[Member, ...],
    like: str | Path,
    out: str | Path,
    *,
    order: Order | None = None,
    fixed_spacing: float | None = None,
    fixed_part: Selection = WHOLE,
    part: Selection = WHOLE,
    stage_axes: StageAxes = "right-down",
    composite: bool = False,
    overwrite: bool = False,
    inputs: tuple[str | Path, ...] = (),
    progress: Progress | None = None,
) -> AppliedSession:
    """Move many images of one session onto the fixed image, each straight from its own pixels.

    Parameters
    ----------
    transform : str or Path
        A result folder or a transform file with ``result.json`` beside it, which says what was registered.
    members : tuple of Member
        The images.
    like : str or Path
        The fixed image.
    out : str or Path
        Folder to make: for each image ``<name>.ome.tif`` and ``<name>_footprint.tif``, and ``applied.csv``.
    order : {"linear", "nearest"}, optional
        Interpolation of images that are not said to hold labels; without it linear, but nearest neighbour for channels
        that do.
    fixed_spacing : float, optional
        Micrometres per pixel of the fixed image, in place of what file and record say.
    fixed_part : Selection, optional
        Which scene, series, frame or view of its file; the first without.
    part : Selection, optional
        The same of every file that holds several, where nothing is said of it alone.
    stage_axes : {"right-down", "right-up", "left-down", "left-up"}
        Which way the coordinates of the stage grow on the screen, x first.
    composite : bool
        Whether the fixed image and all images that lie on it are written as one image as well; they are then open at
        the same time.
    overwrite : bool
        Whether an earlier output is replaced.
    inputs : tuple of str or Path
        Further files that must not be replaced, such as the table.
    progress : callable, optional
        Called with the fraction of all rows that are written.

    Returns
    -------
    AppliedSession
        What became of each image, and the verdict on the registration.

    Raises
    ------
    ReadError
        If a file cannot be read.
    UsageError
        If there is no record, it does not suffice to say where an image lies, or none of them lies on the fixed image.
    WriteError
        If the output cannot be written.
    """
    saved = read_saved(transform)
    if saved.frames is None:
        raise UsageError(
            f"Many images need the record of what was registered; {transform} has no result.json beside it."
        )
    frames = saved.frames
    paths = [member.path for member in members]
    done, laid, common = list[Applied](), list[Moved](), Common(part.stated)
    with reserve(out, overwrite=overwrite, inputs=[transform, like, *inputs, *paths]) as folder:
        fixed_image = common.read(like, fixed_part.stated, spacing=fixed_spacing)
        fixed = grid_of_fixed(as_recorded(fixed_image, saved, "fixed"), frames, fixed_spacing)
        reference = _reference(members, frames, common)
        for member, name in zip(members, _names(members), strict=True):
            whole = member.read(common)
            image = as_recorded(whole, saved, "moving")
            grid = _place(image, member, reference, frames, SIGNS[stage_axes])
            told = None if progress is None else _share(progress, len(done), len(members) + composite)
            onto = saved.moving_from_fixed, fixed
            how = moved_how(image, "nearest" if member.labels else order)
            moved = _move(image, grid, member, *onto, how, folder / name, Path(out), told)
            if composite and moved.file is not None:
                laid.append(how.laid(image, grid, saved.moving_from_fixed))
            notes = (*moved.notes, *other_part(whole, frames, "moving"))
            done.append(replace(moved, notes=notes, findings=findings_of(whole)))
            # Before the next one is read, so that no more than one image is held at a time.
            unchanged(whole)
        common.must_be_heeded()
        if all(entry.file is None for entry in done):
            raise UsageError(
                f"None of the {len(done)} images lies on {like}, so nothing was written; check that the transform "
                "belongs to them, and their pixel sizes and places."
            )
        if composite:
            told = None if progress is None else _share(progress, len(members), len(members) + 1)
            seen = as_recorded(fixed_image, saved, "fixed")
            write_composite(folder, replace(seen, grid=fixed), laid, progress=told)
        unchanged(fixed_image)
        _summarise(folder / SUMMARY, done, _told_apart(paths))
    about = (*about_the_fixed(fixed_image, fixed, frames), *other_part(fixed_image, frames, "fixed"))
    return AppliedSession(tuple(done), frames.status, about, findings_of(fixed_image))


def _share(progress: Progress, number: int, count: int) -> Progress:
    """What tells the progress of one image of many."""
    return lambda fraction: progress((number + fraction) / count)


def _move(
    image: Image,
    grid: Grid,
    member: Member,
    moving_from_fixed: Transform,
    fixed: Grid,
    how: How,
    stem: Path,
    out: Path,
    progress: Progress | None,
) -> Applied:
    files = stem.with_name(f"{stem.name}.ome.tif"), stem.with_name(f"{stem.name}_footprint.tif")
    overlap = move(files, image, grid, moving_from_fixed, fixed, how, progress)
    if not overlap.covered:
        for file in files:
            file.unlink()
        return Applied(member.path, None, overlap.used, 0.0)
    notes = tuple(f"of {member.path.name}, {note}" for note in how.notes)
    return Applied(member.path, out / files[0].name, overlap.used, overlap.covered, notes)


@dataclass(frozen=True, slots=True)
class _Reference:
    """What the table says of the image that was registered."""

    magnification: float | None = None
    stage: tuple[float, float] | None = None


def _reference(members: tuple[Member, ...], frames: Frames, common: Common) -> _Reference:
    """The row of the image that was registered, known by its checksum, or the stage position in its file."""
    if not any(member.magnification or member.stage for member in members):
        return _Reference()
    for member in members:
        image = member.read(common)
        if frames.moving_sha256 is not None and image.source.get("sha256") == frames.moving_sha256:
            return _Reference(member.magnification, member.stage or _stage_in(image))
    return _Reference()


def _stage_in(image: Image) -> tuple[float, float] | None:
    stated = image.source.get("stage_position")
    return None if stated is None else (float(stated[-2]), float(stated[-1]))


def _place(image: Image, member: Member, reference: _Reference, frames: Frames, signs: tuple[float, float]) -> Grid:
    """The grid of an image in the frame of the image that was registered."""
    moving = frames.moving
    spacing: tuple[float, ...] = image.grid.spacing
    if member.spacing is not None and not moving.calibrated:
        raise UsageError(
            f"The transform counts pixels of the moving image, which was registered without a pixel size; leave out "
            f"that of {member.path.name}, or state its magnification."
        )
    if member.spacing is None and member.magnification is not None:
        if reference.magnification is None:
            raise UsageError(
                f"The magnification of {member.path.name} is meaningless without that of the image that was "
                "registered; give that image a row of its own."
            )
        factor = reference.magnification / member.magnification
        spacing = tuple(step * factor for step in moving.spacing)
    elif image.grid.unit != moving.unit:
        if image.grid.shape != moving.shape and not moving.calibrated:
            raise UsageError(
                f"The transform counts pixels of the moving image, and {member.path.name} has another size; state its "
                "magnification, or register with pixel sizes."
            )
        if image.grid.shape != moving.shape:
            raise UsageError(f"{member.path.name} states no pixel size; give it in the column spacing.")
        spacing = moving.spacing
    grid = Grid.of(image.grid.shape, spacing, unit=moving.unit)
    if member.offset is not None:
        steps = moving.spacing if member.unit == "pixel" else (1.0,) * grid.ndim
        if member.unit == "micrometre" and not moving.calibrated:
            raise UsageError("Offsets in micrometres need a moving image that was registered with a pixel size.")
        origin = [part * step for part, step in zip(member.offset, steps[-2:], strict=True)]
        return Grid.of(grid.shape, spacing, _origin(moving, origin), moving.unit)
    middle = moving.centre.copy()
    stage = member.stage or (_stage_in(image) if reference.stage is not None else None)
    if stage is not None:
        if reference.stage is None or not moving.calibrated:
            raise UsageError(
                f"The position of the stage for {member.path.name} is meaningless without that of the image that was "
                "registered and its pixel size; give that image a row of its own."
            )
        middle[-2:] += (np.asarray(stage) - reference.stage) * signs
    half = (np.asarray(grid.shape) - 1) / 2 * np.asarray(spacing)
    return Grid.of(grid.shape, spacing, tuple(middle - half), moving.unit)


def _origin(moving: Grid, of_plane: list[float]) -> tuple[float, ...]:
    """The origin of a crop: that of the image in z, the offset in the plane."""
    return (*moving.origin[:-2], *(a + b for a, b in zip(moving.origin[-2:], of_plane, strict=True)))


def _names(members: tuple[Member, ...]) -> Iterator[str]:
    """A name for each output, told apart by numbers where two images are called the same.

    No two names differ by the case of their letters only, or by how accents are spelled, which some disks take for one.
    """
    stems = [stem_of(member.path) for member in members]
    # A number must not make a name that another image has by itself.
    taken = {_alike(stem) for stem in stems}
    # Nor may an image be taken for all of them together.
    used = {_alike(COMPOSITE)}
    for stem in stems:
        name, number = stem, 1
        while _alike(name) in used or (number > 1 and _alike(name) in taken):
            number += 1
            name = f"{stem}_{number}"
        used.add(_alike(name))
        yield name


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _told_apart(paths: list[Path]) -> list[str]:
    """The paths as far as they differ: names only where all images lie in one folder."""
    whole = [Path(os.path.abspath(path)) for path in paths]
    try:
        home = os.path.commonpath([path.parent for path in whole])
    except ValueError:  # on several drives
        return [path.as_posix() for path in whole]
    return [path.relative_to(home).as_posix() for path in whole]


def _summarise(path: Path, done: list[Applied], images: list[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "file", "share_on_fixed", "share_of_fixed_covered"])
        for image, entry in zip(images, done, strict=True):
            name = "" if entry.file is None else entry.file.name
            writer.writerow([cell(image), cell(name), f"{entry.used:.4f}", f"{entry.covered:.4f}"])
