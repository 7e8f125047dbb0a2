"""Transforms, landmarks and points from the file of one tool into that of another."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import TransformError, UsageError
from correlight.exchange import (
    FORMATS,
    UNKNOWN,
    Content,
    ExchangeContext,
    LandmarkTable,
    PointTable,
    kind_of,
    read_file,
    write_file,
)
from correlight.exchange.formats import BARE, Format, called, choose, named, recognise
from correlight.exchange.mobie import WHOLE_RANGE
from correlight.geometry import Grid
from correlight.images.display import display_range
from correlight.images.image import Image
from correlight.images.pyramid import shown_image
from correlight.landmarks import LinearModel, fit
from correlight.landmarks.tables import supposed
from correlight.output.apply import read_saved
from correlight.output.apply.saved import holds_result
from correlight.output.nearest import LANDMARKS_PER_AXIS, in_landmarks, simpler
from correlight.output.parts import Common
from correlight.output.target import reserve, reserve_files
from correlight.parsing import read_json, stem_of
from correlight.transforms import Projective, Transform
from correlight.transforms.bending import bends

_RECORD = "result.json"
_PER_AXIS = 24  # places of the fixed image that are looked at
# Places along each axis of the fixed image at which a map that bends is compared with what was written.
_PLACES = {2: 33, 3: 13}


@dataclass(frozen=True, slots=True)
class Converted:
    """What `convert` did.

    Parameters
    ----------
    kind : str
        What the file holds: "transform", "landmarks" or "points".
    format : str
        The format that was written.
    notes : tuple of str
        Sentences about what was left out or computed on the way.
    found : tuple of str
        Which of several images in a file was taken, and which others there are.
    """

    kind: str
    format: str
    notes: tuple[str, ...]
    found: tuple[str, ...] = ()


def convert(
    source: str | Path,
    target: str | Path,
    *,
    read_as: str | None = None,
    write_as: str | None = None,
    fixed: str | Path | None = None,
    moving: str | Path | None = None,
    fixed_spacing: tuple[float, ...] | None = None,
    moving_spacing: tuple[float, ...] | None = None,
    fixed_part: Mapping[str, Any] | None = None,
    moving_part: Mapping[str, Any] | None = None,
    part: Mapping[str, Any] | None = None,
    context: ExchangeContext = UNKNOWN,
    model: LinearModel | None = None,
    landmarks: int | None = None,
    overwrite: bool = False,
) -> Converted:
    """Read a file of one tool and write what it holds for another.

    Parameters
    ----------
    source : str or Path
        The file to read, or a result folder.
    target : str or Path
        The file to write; its ending says the format where it can.
    read_as, write_as : str, optional
        Names of formats (keys of `correlight.exchange.FORMATS`), where the file or the ending do not determine them.
    fixed, moving : str or Path, optional
        The two images, for formats that count pixels or state sizes. Of a result folder both are known.
    fixed_spacing, moving_spacing : tuple of float, optional
        Micrometres per pixel, array order, in place of or beside the images.
    fixed_part, moving_part : mapping, optional
        Which part of a file that holds several images: ``scene``, ``series``, ``time`` and ``view`` as for
        `correlight.io.read`.
    part : mapping, optional
        The same of either image, where its file holds several and nothing is said of it alone.
    context : ExchangeContext
        Name of the moving image, number of axes, dataset to write into, unit, and the origins of images that have
        lost them.
    model : {"rigid", "similarity", "affine", "projective"}, optional
        The kind of transform to fit to landmarks where the output holds a transform; of a transform, the kind that is
        to come as near to it as possible.
    landmarks : int, optional
        Write so many corresponding landmarks along each axis, made of the transform, instead of the transform; 5 for
        programs that take nothing else.
    overwrite : bool
        Whether an existing output is replaced.

    Returns
    -------
    Converted
        What was written.

    Raises
    ------
    ReadError
        If an input cannot be read.
    UsageError
        If the output exists, or something must be known that was not given.
    TransformError
        If the output cannot hold what the input does; nothing is approximated in silence.
    WriteError
        If the output cannot be written.
    """
    parts = (fixed_part or {}, moving_part or {})
    context, found = _with_images(
        source, context, (fixed, moving), (fixed_spacing, moving_spacing), parts, Common(part)
    )
    content, notes = _read(source, read_as, context), []
    if isinstance(content, LandmarkTable) and content.left_out:
        what = "landmark is" if content.left_out == 1 else "landmarks are"
        notes.append(f"{content.left_out} {what} inactive or without partner and left out")
    if isinstance(content, (LandmarkTable, PointTable)):
        notes.extend(supposed(content, Path(source).name))
    if isinstance(content, LandmarkTable):
        notes.extend(_outside(content, context))
    if isinstance(content, PointTable):
        notes.extend(_off_images(content, context))
    if isinstance(content, LandmarkTable) and model is not None:
        content = _fitted(content, context, model, source)
        notes.append(f"the {model} transform that fits the landmarks best is written")
        model = None
    entry = named(write_as) if write_as is not None else None
    if entry is None:
        entry = called(target, kind_of(content)) if context.into is None else recognise(context.into)
    if isinstance(content, Transform):
        notes.extend(_unit_supposed(read_as, context, source))
        notes.extend(_apart(content, context))
        notes.extend(_refused(source))
        content, said = _as_taken(content, context, model, landmarks, entry)
        notes.extend(said)
    elif landmarks is not None:
        what = kind_of(content)
        raise UsageError(f"Landmarks are made of a transform, and {source} holds {what}; leave their number out.")
    kind = kind_of(content)
    try:
        entry = choose(target, kind) if entry is None else entry
    except TransformError as error:
        if kind == "landmarks" and model is None and _could_hold_a_transform(target):
            raise UsageError(
                f"{source} holds landmarks and {target} would hold a transform; choose the kind (model) to fit."
            ) from error
        raise
    if kind == "landmarks" and entry.writes == ("transform",):
        raise UsageError(f"{source} holds landmarks and {entry.title} a transform; choose the kind (model) to fit.")
    if kind in entry.writes:
        entry.must_end(target)
    if entry.name == "mobie" and context.shown is None:
        limits = " to ".join(f"{value:g}" for value in WHOLE_RANGE)
        notes.append(f"the view shows grey values from {limits}; give the moving image for limits of its own")
    if entry.name == "mobie" and context.name is None and (name := _name_of(source, moving)) is not None:
        context = replace(context, name=name)
        notes.append(f"the view calls its source {name}, after the moving image; name it as the project does")
    inputs = [path for path in (source, fixed, moving, context.into) if path is not None]
    out = Path(target)
    if entry.folder:
        with reserve(out, overwrite=overwrite, inputs=inputs) as folder:
            _write(folder, content, entry, context)
            notes.extend(_read_back(folder, content, entry.name, context))
    else:
        with reserve_files(out, overwrite=overwrite, inputs=inputs) as folder:
            _write(folder / out.name, content, entry, context)
            notes.extend(_read_back(folder / out.name, content, entry.name, context))
    return Converted(kind, entry.name, tuple(notes), found)


def _name_of(source: str | Path, moving: str | Path | None) -> str | None:
    """The moving image without its ending: the one that was given, or that of the record that is converted."""
    if moving is None and holds_result(source):
        record = Path(source) / _RECORD if Path(source).is_dir() else Path(source)
        content = read_json(record, "the record of a registration")
        image = content.get("moving") if isinstance(content, dict) else None
        moving = image.get("path") if isinstance(image, dict) else None
    return None if not isinstance(moving, str | Path) else stem_of(str(moving))


def _write(path: Path, content: Content, entry: Format, context: ExchangeContext) -> None:
    """Write what a format holds; of a projective map that it does not, say what else there is."""
    try:
        write_file(path, content, entry.name, context)
    except TransformError as error:
        if not isinstance(content, Projective):
            raise
        hint = "or choose the kind (model) affine to write the affine transform that comes nearest"
        with suppress(UsageError):  # without the images nothing can be said of what it costs
            hint += f": {simpler(content, 'affine', context)[1].partition('; ')[2]}"
        raise TransformError(f"{str(error).rstrip('.')}, {hint}.") from error


def _as_taken(
    transform: Transform,
    context: ExchangeContext,
    model: LinearModel | None,
    landmarks: int | None,
    entry: Format | None,
) -> tuple[Transform | LandmarkTable, tuple[str, ...]]:
    """The transform as it is, or what was asked for or the format takes in its place, and what to say of that."""
    notes = list[str]()
    if model is not None:
        transform, said = simpler(transform, model, context)
        notes.append(said)
    takes_landmarks_only = entry is not None and entry.writes == ("landmarks",)
    if landmarks is None and not takes_landmarks_only:
        return transform, tuple(notes)
    per_axis = LANDMARKS_PER_AXIS if landmarks is None else landmarks
    table, said = in_landmarks(transform, context, per_axis, "a table" if entry is None else entry.title)
    return table, (*notes, said)


def _refused(source: str | Path) -> tuple[str, ...]:
    """That a registration was refused, if it is one."""
    if not holds_result(source):
        return ()
    frames = read_saved(source).frames
    if frames is None or frames.status != "refused":
        return ()
    return ("the registration was refused, so this transform is not to be used",)


def _read_back(path: Path, content: Content, format_name: str, context: ExchangeContext) -> tuple[str, ...]:
    """How near a map that bends is to what was read, and to its inverse, as the file that was written has it."""
    fixed = context.field
    if isinstance(content, LandmarkTable | PointTable) or not bends(content) or fixed is None:
        return ()
    alone = replace(context, into=None, name=None, fixed_origin=None, moving_origin=None)
    found = read_file(path, format_name, alone)
    assert not isinstance(found, LandmarkTable | PointTable)
    places = fixed.lattice(_PLACES[fixed.ndim])
    pixel, there = min(fixed.spacing), found(places)
    slopes = np.linalg.norm(found.jacobian(places), axis=(1, 2)) / np.sqrt(fixed.ndim)
    apart = float((np.linalg.norm(there - content(places), axis=1) / slopes).max()) / pixel
    notes = [f"read back, the map is the same to within {apart:.2g} pixels of the fixed image"]
    try:
        residual = float(np.linalg.norm(found.inverse()(there) - places, axis=1).max()) / pixel
    except TransformError:
        return (*notes, "the map folds and has no inverse")
    if np.isfinite(residual):
        notes.append(f"the map and its inverse lead back to within {residual:.2g} pixels of the fixed image")
    return tuple(notes)


def _with_images(
    source: str | Path,
    context: ExchangeContext,
    paths: tuple[str | Path | None, str | Path | None],
    spacings: tuple[tuple[float, ...] | None, tuple[float, ...] | None],
    parts: tuple[Mapping[str, Any], Mapping[str, Any]],
    common: Common,
) -> tuple[ExchangeContext, tuple[str, ...]]:
    """The context with what is known of the images: from themselves, from numbers, or from the record beside.

    Also what is said of images that were chosen from several in a file.
    """
    grids: dict[str, Grid | None] = {}
    sized, found, shown = True, list[str](), context.shown
    for role, path, spacing, part in zip(("fixed", "moving"), paths, spacings, parts, strict=True):
        grids[role] = None
        if path is not None:
            image = common.read(path, part, spacing=spacing)
            grids[role] = image.grid
            shown = _shown(image) if role == "moving" else shown
            found += [f"{Path(path).name}: {text}" for text in image.findings if text.startswith("the file holds")]
        elif spacing is not None:
            ndim = context.ndim or (2 if len(spacing) == 1 else len(spacing))
            grids[role] = Grid.of((1,) * ndim, spacing, unit="micrometre")
            sized = False
    common.must_be_heeded()
    if None in grids.values() and holds_result(source):
        frames = read_saved(source).frames
        if frames is not None:
            grids["fixed"] = grids["fixed"] or frames.fixed
            grids["moving"] = grids["moving"] or frames.moving
    known = replace(context, fixed=grids["fixed"], moving=grids["moving"], sized=sized, shown=shown)
    return known, tuple(dict.fromkeys(found))


def _shown(image: Image) -> tuple[float, float] | None:
    """The grey values between which the first channel of an image is shown."""
    small = shown_image(image)
    return display_range(np.asarray(small.levels[0][0]), small.valid())


def _unit_supposed(format_name: str | None, context: ExchangeContext, source: str | Path) -> list[str]:
    """Whether a bare matrix, which states no unit, is taken for one of micrometres because the images count them."""
    calibrated = [grid for grid in (context.fixed, context.moving) if grid is not None and grid.calibrated]
    if format_name not in BARE or context.unit is not None or not calibrated:
        return []
    name = Path(source).name
    return [
        f"{name} states no unit, so its numbers are taken for micrometres; give the unit pixel if they count pixels"
    ]


def _read(source: str | Path, format_name: str | None, context: ExchangeContext) -> Content:
    path = Path(source)
    is_result = path.name == _RECORD or (path.is_dir() and (path / _RECORD).is_file())
    # A result with an elastic transform only names the file that holds it.
    if is_result and format_name is None:
        return read_saved(path).moving_from_fixed
    return read_file(path, format_name, context)


def _outside(landmarks: LandmarkTable, context: ExchangeContext) -> list[str]:
    """Landmarks that lie on no pixel of their image, where its size is known: a unit or an axis may be mistaken."""
    notes = []
    for role, table, grid in (("fixed", landmarks.fixed, context.fixed), ("moving", landmarks.moving, context.moving)):
        outside = _count_outside(table, grid)
        if outside:
            notes.append(f"{outside} of {len(table.points)} landmarks lie outside the {role} image")
    return notes


def _off_images(points: PointTable, context: ExchangeContext) -> list[str]:
    """Points that lie on no pixel of any image that was given; a file of points does not say of which they are."""
    counts = {
        role: _count_outside(points, grid) for role, grid in (("fixed", context.fixed), ("moving", context.moving))
    }
    known = {role: count for role, count in counts.items() if count is not None}
    if not known or not min(known.values()):
        return []
    where = f"the {next(iter(known))} image" if len(known) == 1 else "both images"
    return [f"{min(known.values())} of {len(points.points)} points lie outside {where}"]


def _count_outside(table: PointTable, grid: Grid | None) -> int | None:
    """How many points lie on no pixel of an image; None where its size is not known, or counts another unit."""
    if grid is None or max(grid.shape) == 1 or table.points.shape[1] != grid.ndim:
        return None
    if table.unit == "micrometre" and not grid.calibrated:
        return None
    return int(np.count_nonzero(~grid.contains(table.positions(grid))))


def _apart(transform: Transform, context: ExchangeContext) -> list[str]:
    """Whether the images have nothing in common under the transform: it may be that of others, or in another unit."""
    fixed, moving = context.fixed, context.moving
    if fixed is None or moving is None or not context.sized:
        return []
    if {fixed.ndim, moving.ndim} != {transform.ndim}:
        return []
    here: NDArray[np.bool_] = moving.contains(transform(fixed.lattice(_PER_AXIS)))
    return [] if here.any() else ["the moving image lies outside the fixed one altogether by this transform"]


def _fitted(landmarks: LandmarkTable, context: ExchangeContext, model: LinearModel, source: str | Path) -> Transform:
    fixed = landmarks.fixed.in_unit(context.fixed, "fixed")
    moving = landmarks.moving.in_unit(context.moving, "moving")
    try:
        return fit(fixed.points, moving.points, model)
    except TransformError as error:
        raise UsageError(f"The landmarks in {source} determine no {model} transform: {error}") from error


def _could_hold_a_transform(target: str | Path) -> bool:
    suffix = Path(target).suffix.lower()
    return any("transform" in entry.writes and suffix in entry.endings for entry in FORMATS.values())
