"""Moving another channel, a label image or points with a transform that was found before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from correlight.errors import UsageError
from correlight.exchange.imagej import ENDINGS
from correlight.images.image import Image
from correlight.images.kernel import Order
from correlight.io import WHOLE, Selection, unchanged
from correlight.output.apply.annotations import move_annotations
from correlight.output.apply.bent import said_of_image
from correlight.output.apply.moving import move, moved_how
from correlight.output.apply.points import PointsIn, StageAxes, move_points, write_moved_points
from correlight.output.apply.saved import (
    Saved,
    about_the_fixed,
    findings_of,
    not_the_fixed,
    other_part,
    placed,
    read_saved,
    unlike_the_record,
)
from correlight.output.composite import write_composite
from correlight.output.moved import Progress, halves, picture_name
from correlight.output.parts import Common
from correlight.output.target import reserve, reserve_files
from correlight.parsing import stem_of

_PICTURES, _TABLES = (".tif", ".tiff"), (".csv",)
_DRAWINGS = (".geojson", ".json"), ENDINGS


@dataclass(frozen=True, slots=True)
class Moved:
    """What `apply` did.

    Parameters
    ----------
    files : tuple of Path
        What was written.
    status : str or None
        The verdict on the transform, where it is recorded.
    outside : tuple of str
        Names of points or annotations that do not lie on the image they were taken to.
    notes : tuple of str
        What else a user should know: channels moved as labels, little overlap, images unlike those on record.
    findings : tuple of str
        What was found on reading the images, each with the name of its file.
    """

    files: tuple[Path, ...]
    status: str | None
    outside: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def apply(
    transform: str | Path,
    moving: str | Path,
    like: str | Path,
    out: str | Path,
    *,
    order: Order | None = None,
    fixed_spacing: float | None = None,
    moving_spacing: float | None = None,
    fixed_part: Selection = WHOLE,
    moving_part: Selection = WHOLE,
    part: Selection = WHOLE,
    points_in: PointsIn = "moving",
    stage_axes: StageAxes = "right-down",
    composite: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Moved:
    """Move an image, a table of points or annotations into the fixed frame, or the latter two out of it.

    Parameters
    ----------
    transform : str or Path
        A transform file or a result folder. Where its ``result.json`` is at hand, the pixel sizes that were in force
        during the registration hold for the same files, and for uncalibrated images of the same shape.
    moving : str or Path
        An image in the frame of the moving image, a ``.csv`` of points (see `correlight.exchange.table`), or a
        ``.geojson`` or ``.json`` of annotations in pixels, or ROIs of ImageJ (``.roi``, ``.zip``).
    like : str or Path
        The fixed image, whose pixels the output has.
    out : str or Path
        For an image a ``.tif`` or ``.tiff`` file, beside which ``<name>_footprint.tif`` is written, or a folder that
        receives ``registered.ome.tif`` (``registered.ome.zarr`` above 2 GiB of pixels) and ``footprint.tif``; for
        points a ``.csv`` file, for annotations a ``.geojson`` or ``.json`` file, for ROIs a ``.roi`` or ``.zip`` file.
    order : {"linear", "nearest"}, optional
        Without it linear, but nearest neighbour for channels that hold labels, and a note says so.
    fixed_spacing, moving_spacing : float, optional
        Micrometres per pixel, in place of what files and record say.
    fixed_part, moving_part : Selection, optional
        Which scene, series, frame or view of each file; the first without.
    part : Selection, optional
        The same of either file, where it holds several and nothing is said of it alone.
    points_in : {"moving", "fixed"}
        The image that points or annotations were seen in; they come out in the other one.
    stage_axes : {"right-down", "right-up", "left-down", "left-up"}
        Which way the coordinates of a stage grow on the screen, x first.
    composite : bool
        Whether the fixed image and the channels that are moved are written as one image as well, into a folder.
    overwrite : bool
        Whether existing output is replaced.
    progress : callable, optional
        Called with the fraction of the rows that are written.

    Returns
    -------
    Moved
        What was written, and the verdict behind it.

    Raises
    ------
    ReadError
        If an input cannot be read.
    UsageError
        If the output exists, has an ending that does not suit the input, units do not fit the transform, the images
        were exchanged, or the moving image lies outside the fixed one altogether.
    WriteError
        If the output cannot be written.
    """
    target, kind = Path(out), Path(moving).suffix.lower()
    drawings = {ending: family for family in _DRAWINGS for ending in family}
    endings = {".csv": _TABLES, **drawings}.get(kind, (*_PICTURES, ""))
    if target.suffix.lower() not in endings:
        expected = (
            "a name ending in .tif or the name of a folder"
            if "" in endings
            else f"a name ending in {' or '.join(endings)}"
        )
        raise UsageError(f"As output, {expected} was expected; got {out}.")
    if composite and ("" not in endings or target.suffix):
        raise UsageError(
            f"A composite shows images, and is written beside what is moved into a folder; got {moving} and {out}."
        )
    saved, inputs, common = read_saved(transform), (transform, moving, like), Common(part.stated)
    status = None if saved.frames is None else saved.frames.status
    if "" not in endings:
        with reserve_files(target, overwrite=overwrite, inputs=inputs) as folder:
            fixed_image = common.read(like, fixed_part.stated, spacing=fixed_spacing)
            common.must_be_heeded()
            spacings = fixed_spacing, moving_spacing
            outside, said = _places(saved, moving, folder / target.name, fixed_image, *spacings, points_in, stage_axes)
            unchanged(fixed_image)
        said = (*not_the_fixed(fixed_image, saved.frames), *said)
        return Moved((target,), status, outside, said, findings_of(fixed_image))
    kept = "footprint.tif" if not target.suffix else f"{stem_of(target)}_footprint.tif"
    if not target.suffix:
        reserved = reserve(target, overwrite=overwrite, inputs=inputs)
    else:
        reserved = reserve_files(target, target.with_name(kept), overwrite=overwrite, inputs=inputs)
    with reserved as folder:
        given = fixed_spacing, moving_spacing
        images = (
            common.read(like, fixed_part.stated, spacing=fixed_spacing),
            common.read(moving, moving_part.stated, spacing=moving_spacing, blank=True),
        )
        common.must_be_heeded()
        (seen, fixed), (image, grid) = placed(images, saved, given)
        saved.check_place(fixed)
        notes = list[str]()
        if saved.frames is not None:
            notes.extend(about_the_fixed(images[0], fixed, saved.frames))
            notes.extend(unlike_the_record(images[1], grid, saved.frames.moving, "moving"))
            notes.extend(
                (*other_part(images[0], saved.frames, "fixed"), *other_part(images[1], saved.frames, "moving"))
            )
        name = picture_name(image, fixed) if not target.suffix else target.name
        places: tuple[Path, ...] = (folder / name, folder / kept)
        how = moved_how(image, order)
        told, told_after = halves(progress, composite)
        overlap = move(places, image, grid, saved.moving_from_fixed, fixed, how, told)
        notes.extend((*how.notes, *overlap.must_not_be_empty(Path(moving).name, Path(like).name)))
        notes.extend(said_of_image(saved.moving_from_fixed, fixed, Path(like).name))
        if composite:
            laid = how.laid(image, grid, saved.moving_from_fixed)
            places += write_composite(folder, replace(seen, grid=fixed), [laid], progress=told_after)
        for image in images:
            unchanged(image)
    home = target.parent if target.suffix else target
    return Moved(tuple(home / path.name for path in places), status, notes=tuple(notes), findings=findings_of(*images))


def _places(
    saved: Saved,
    source: str | Path,
    target: Path,
    image: Image,
    fixed_spacing: float | None,
    moving_spacing: float | None,
    points_in: PointsIn,
    stage_axes: StageAxes,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Move a table of points or annotations; the names of those outside, and what is to be said."""
    if target.suffix.lower() not in _TABLES:
        drawn = move_annotations(saved, source, image, fixed_spacing, moving_spacing, points_in)
        drawn.write(target)
        return drawn.outside, drawn.notes
    moved = move_points(saved, source, image, fixed_spacing, moving_spacing, points_in, stage_axes)
    write_moved_points(target, moved)
    names = zip(moved.table.names, moved.inside, strict=True)
    return tuple(name for name, inside in names if not inside), moved.notes
