"""Parameter files of elastix, and the points that transformix moves.

elastix maps fixed to moving points, x first, in the unit of the images, as ITK does; a file may begin with another one,
which is applied first (elastix manual 5.2, section 2.6 and chapter 4).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange.blocks import numbers_of
from correlight.exchange.bspline import bspline_from_lists, joined_spline, lattice_numbers
from correlight.exchange.context import UNKNOWN, ExchangeContext, in_words, require_affine
from correlight.exchange.flat import TABLE_LIMIT
from correlight.exchange.itk import read_itk
from correlight.exchange.parameters import ItkClass, affine_from_parameters, parameters_from_affine
from correlight.exchange.place import STATED, moved_to_images, stated_place
from correlight.exchange.reading import reads
from correlight.geometry import Unit
from correlight.landmarks.tables import PointTable
from correlight.parsing import read_text, resolved
from correlight.transforms import Affine, BSplineField, Transform, VelocityField, compose
from correlight.transforms.bending import parts_of

_LINEAR: dict[str, ItkClass] = {
    "TranslationTransform": "translation",
    "EulerTransform": "euler",
    "SimilarityTransform": "similarity",
    "AffineTransform": "affine",
}
_SPLINES = ("BSplineTransform", "RecursiveBSplineTransform")
_WRAPS = "File"  # a kind of transform that another file holds
_LONGEST_CHAIN = 16
_LONGEST_VALUE = 10_000  # characters of a name or a few numbers
# Alternatives that begin with different characters: one pass, whatever the text.
_VALUE = re.compile(r'"([^"]*)"|([^\s"]+)')


@reads("a parameter file of elastix")
def read_elastix(path: str | Path, context: ExchangeContext = UNKNOWN) -> Transform:
    """Read ``TransformParameters.<n>.txt`` with the files that it begins with, which lie beside it.

    Parameters
    ----------
    path : str or Path
        The last file of a chain.
    context : ExchangeContext
        Nothing need be known of the images. Where the fixed grid is known, it must lie where the file states that the
        fixed image lies; ``moving_origin`` (and ``fixed_origin``, if the file does not state it) move the transform to
        images that have lost their origins.

    Returns
    -------
    Transform
        ``moving_from_fixed``, array order, between the positions that elastix gave the images: from the origin on that
        each image states.

    Raises
    ------
    ReadError
        If a file is missing or damaged, holds a kind of transform that is not understood, is joined to another by
        addition, or was made for a fixed image in another place than the one given.
    """
    parts: list[Transform] = []
    stated = None
    for here, entries in _chain(Path(path)):
        stated = stated or stated_place({key: _words(entries, key) for key in STATED}, here)
        parts.append(_transform(entries, here))
    if len({part.ndim for part in parts}) > 1:
        raise ReadError(f"The transforms that {path} joins differ in dimension.")
    return moved_to_images(compose(parts[::-1]), stated, context, path)


def elastix_files(path: str | Path) -> tuple[Path, ...]:
    """All files that `read_elastix` reads: this one, those that it begins with, and those that they wrap.

    Parameters
    ----------
    path : str or Path
        The last of a chain.

    Raises
    ------
    ReadError
        If one of them is missing or damaged.
    """
    files: list[Path] = []
    for here, entries in _chain(Path(path)):
        files += (here, *([_wrapped(entries, here)] if _kind(entries) == _WRAPS else []))
    return tuple(files)


def write_elastix(path: str | Path, moving_from_fixed: Transform, context: ExchangeContext = UNKNOWN) -> None:
    """Write an affine transform or a cubic B-spline as elastix does.

    Parameters
    ----------
    path : str or Path
        Usually ``TransformParameters.0.txt``.
    moving_from_fixed : Affine, BSplineField, VelocityField, or one of the latter two and an affine map after it
        Takes fixed to moving positions. The flow of a velocity is written as the B-spline that it is evaluated by, and
        an affine map after it goes into its coefficients.
    context : ExchangeContext
        With the grid of the fixed image, transformix can resample onto it; without, the file serves as an initial
        transform.

    Raises
    ------
    TransformError
        If the transform is another, or several that do not make one: those take a file each in elastix.
    WriteError
        If the file cannot be written.
    """
    d = moving_from_fixed.ndim
    kind = _one_of(moving_from_fixed, context)
    lines = [
        *(_spline_lines(kind) if isinstance(kind, BSplineField) else _affine_lines(kind)),
        '(InitialTransformParameterFileName "NoInitialTransform")',
        '(HowToCombineTransforms "Compose")',
        f"(FixedImageDimension {d})",
        f"(MovingImageDimension {d})",
        '(FixedInternalImagePixelType "float")',
        '(MovingInternalImagePixelType "float")',
        '(UseDirectionCosines "true")',
    ]
    if context.field is not None:
        grid = context.field
        lines += [
            f"(Size {' '.join(str(n) for n in grid.shape[::-1])})",
            f"(Index {' '.join(['0'] * d)})",
            f"(Spacing {_text(grid.spacing[::-1])})",
            f"(Origin {_text(grid.origin[::-1])})",
            f"(Direction {_text(np.eye(d).ravel().tolist())})",
            '(ResampleInterpolator "FinalLinearInterpolator")',
            '(Resampler "DefaultResampler")',
            "(DefaultPixelValue 0)",
            '(ResultImageFormat "mhd")',
            '(ResultImagePixelType "float")',
            '(CompressResultImage "false")',
        ]
    _write(path, "\n".join([*lines, ""]), "transform")


def _affine_lines(transform: Transform) -> list[str]:
    affine = require_affine(transform, "An elastix file")
    numbers = parameters_from_affine(affine)
    return [
        '(Transform "AffineTransform")',
        f"(NumberOfParameters {len(numbers)})",
        f"(TransformParameters {_text(numbers)})",
        f"(CenterOfRotationPoint {_text([0.0] * affine.ndim)})",
    ]


def _spline_lines(spline: BSplineField) -> list[str]:
    numbers, (size, origin, spacing, directions) = lattice_numbers(spline)
    return [
        '(Transform "BSplineTransform")',
        f"(NumberOfParameters {len(numbers)})",
        f"(TransformParameters {_text(numbers.tolist())})",
        f"(GridSize {' '.join(str(int(n)) for n in size)})",
        f"(GridIndex {' '.join(['0'] * spline.ndim)})",
        f"(GridSpacing {_text(spacing)})",
        f"(GridOrigin {_text(origin)})",
        f"(GridDirection {_text(directions)})",
        f"(BSplineTransformSplineOrder {spline.order})",
        '(UseCyclicTransform "false")',
    ]


def _one_of(transform: Transform, context: ExchangeContext) -> Transform:
    """The B-spline or affine map that a transform is; a spline and an affine map after it are one spline."""
    parts = [part.flow if isinstance(part, VelocityField) else part for part in parts_of(transform)]
    if len(parts) == 1:
        return parts[0]
    first, last = parts[0], compose(parts[1:])
    if not (isinstance(first, BSplineField) and isinstance(last, Affine)):
        raise TransformError(
            f"A file of elastix holds one transform, or a B-spline and an affine map after it; got "
            f"{in_words(transform)}; write it as .h5 instead."
        )
    if context.field is None:
        raise TransformError(
            "A B-spline with an affine map after it is written for elastix over the fixed image; give that image."
        )
    return joined_spline(first, last, context.field)


@reads("points of transformix")
def read_transformix(path: str | Path, unit: Unit = "micrometre") -> PointTable:
    """Read the points that transformix takes (``point`` or ``index``), or those it wrote (``outputpoints.txt``).

    Parameters
    ----------
    path : str or Path
        Of ``outputpoints.txt`` the moved points are read, which are positions in the moving image.
    unit : {"micrometre", "pixel"}
        What world coordinates count; indices are pixels.

    Raises
    ------
    ReadError
        If the file is missing or holds no points.
    """
    lines = [line for line in read_text(path, "points of transformix", limit=TABLE_LIMIT).splitlines() if line.strip()]
    if lines and lines[0].startswith("Point"):
        rows = [line.partition("OutputPoint")[2].partition("[")[2].partition("]")[0] for line in lines]
    else:
        head = lines[0].strip().lower() if lines else ""
        if head in ("point", "index"):
            unit = "pixel" if head == "index" else unit
            lines = lines[1:]
        else:
            unit = "pixel"  # transformix takes numbers without a word for indices
        count = lines[0].strip() if lines else ""
        rows = lines[1:]
        if not count.isdecimal() or int(count) != len(rows):
            raise ReadError(f"{path} announces {count[:20] or 'no'} points and holds {len(rows)}; count them again.")
    try:
        points = np.array([[float(value) for value in row.split()] for row in rows])
    except ValueError as error:
        raise ReadError(f"Every point in {path} needs x, y and perhaps z; one has something else.") from error
    if points.ndim != 2 or points.shape[1] not in (2, 3) or not np.isfinite(points).all():
        raise ReadError(f"Points with 2 or 3 finite coordinates were expected in {path}; export them again.")
    return PointTable(tuple(str(number) for number in range(1, len(points) + 1)), points[:, ::-1].copy(), unit)


def write_transformix(path: str | Path, table: PointTable) -> None:
    """Write points for ``transformix -def``; the format has no place for names and says "index" for pixels.

    Raises
    ------
    WriteError
        If the file cannot be written.
    """
    word = "index" if table.unit == "pixel" else "point"
    rows = [_text(point[::-1].tolist()) for point in table.points]
    _write(path, "\n".join([word, str(len(rows)), *rows, ""]), "points")


def _text(values: list[float] | tuple[float, ...]) -> str:
    return " ".join(repr(float(value) + 0.0) for value in values)


def _write(path: str | Path, text: str, what: str) -> None:
    try:
        Path(path).write_text(text, encoding="ascii", newline="\n")
    except OSError as error:
        raise WriteError(f"The {what} cannot be written to {path}: {error.strerror or error}.") from error


def _entries(path: Path) -> dict[str, str]:
    """The ``(Key value ...)`` lines as written."""
    entries: dict[str, str] = {}
    for line in read_text(path, "a parameter file of elastix").splitlines():
        text = _without_comment(line).strip()
        if text.startswith("(") and text.endswith(")"):
            key, *rest = text[1:-1].split(maxsplit=1)
            entries[key] = rest[0] if rest else ""
    if "Transform" not in entries:
        raise ReadError(f'A line such as (Transform "AffineTransform") was expected in {path}; there is none.')
    return entries


def _without_comment(line: str) -> str:
    """A line up to the two slashes that begin a comment, which may also stand in the name of a file."""
    place, quotes = line.find("//"), 0
    done = 0
    while place >= 0:
        quotes += line.count('"', done, place)
        if quotes % 2 == 0:
            return line[:place]
        done, place = place, line.find("//", place + 2)
    return line


def _words(entries: Mapping[str, str], key: str, default: str = "") -> list[str]:
    """The values of an entry, quotes removed; a few words, unlike the numbers of a spline."""
    return [quoted or bare for quoted, bare in _VALUE.findall(entries.get(key, default)[:_LONGEST_VALUE])]


def _floats(entries: Mapping[str, str], key: str, path: Path) -> NDArray[np.float64]:
    try:
        return numbers_of(entries.get(key, ""))
    except ValueError as error:
        raise ReadError(f"The values of {key} in {path} are not all numbers.") from error


def _chain(path: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    """A file and its entries, and those of the files that it begins with."""
    here: Path | None = path
    for _ in range(_LONGEST_CHAIN):
        if here is None:
            return
        entries = _entries(here)
        yield here, entries
        here = _initial(entries, here)
    if here is not None:
        raise ReadError(f"{path} begins with {_LONGEST_CHAIN} other files or with itself; write one chain.")


def _kind(entries: Mapping[str, str]) -> str:
    return next(iter(_words(entries, "Transform")), "")


def _wrapped(entries: Mapping[str, str], path: Path) -> Path:
    """The file of ITK that a file of elastix stands for."""
    return _beside(path, next(iter(_words(entries, "TransformFileName")), ""))


def _transform(entries: Mapping[str, str], path: Path) -> Transform:
    kind = _kind(entries)
    if kind == _WRAPS:
        return read_itk(_wrapped(entries, path))
    sizes = _words(entries, "FixedImageDimension"), _words(entries, "MovingImageDimension")
    if sizes[0] != sizes[1] or sizes[0] not in (["2"], ["3"]):
        raise ReadError(f"Two images of one dimension, 2 or 3, were expected in {path}; got {sizes[0]} and {sizes[1]}.")
    d = int(sizes[0][0])
    if kind in _SPLINES:
        if _words(entries, "UseCyclicTransform", "false") != ["false"]:
            raise ReadError(f"The {kind} in {path} is cyclic, which is not read.")
        lattice = [
            _floats(entries, key, path).tolist() for key in ("GridSize", "GridOrigin", "GridSpacing", "GridDirection")
        ]
        order = _words(entries, "BSplineTransformSplineOrder", "3")
        if order not in (["1"], ["2"], ["3"]):
            raise ReadError(f"Splines of order 1, 2 or 3 were expected in {path}; got {' '.join(order)[:20]!r}.")
        numbers = _floats(entries, "TransformParameters", path)
        return bspline_from_lists(numbers, lattice, path, int(order[0]))
    if kind not in _LINEAR:
        known = ", ".join((*_LINEAR, *_SPLINES))
        raise ReadError(f"{path} holds a {kind}; only these can be read: {known}.")
    # Without its centre a file is cut off; only a translation has none.
    centre = np.zeros(d) if kind == "TranslationTransform" else _floats(entries, "CenterOfRotationPoint", path)
    zyx = _words(entries, "ComputeZYX", "false") == ["true"]
    numbers = _floats(entries, "TransformParameters", path)
    return affine_from_parameters(_LINEAR[kind], d, numbers, centre, f"The {kind} in {path}", zyx=zyx)


def _initial(entries: Mapping[str, str], path: Path) -> Path | None:
    """The file that is applied before this one; None where there is none."""
    keys = ("InitialTransformParameterFileName", "InitialTransformParametersFileName")
    name = next((words[0] for key in keys if (words := _words(entries, key))), "NoInitialTransform")
    if name == "NoInitialTransform":
        return None
    if _words(entries, "HowToCombineTransforms", "Compose") != ["Compose"]:
        raise ReadError(f"{path} adds its displacement to that of {name}; only composed transforms can be read.")
    return _beside(path, name)


def _beside(path: Path, name: str) -> Path:
    """The file of a name in the folder of another one.

    elastix writes paths as it was called with them. Their folders are left aside: the files of a chain lie together,
    also after their folder has moved, and a file from elsewhere must not lead anywhere. Where the path leads to another
    file than the one beside, it is not guessed which is meant.
    """
    plain = PureWindowsPath(name).name  # takes both kinds of slashes for separators
    beside = path.parent / plain
    elsewhere = path.parent / name
    if "\0" not in name and elsewhere.exists() and not (beside.exists() and elsewhere.samefile(beside)):
        raise ReadError(f"{path} begins with {name[:200]!r}, a file in another folder; put both into one folder.")
    if plain in ("", ".", "..") or "\0" in plain or not beside.is_file():
        raise ReadError(f"{path} begins with {name[:100]!r}, which was not found beside it; put both into one folder.")
    if resolved(beside).parent != resolved(path.parent):
        raise ReadError(f"{path} begins with {plain!r}, which is a link to another folder; copy the file itself there.")
    return beside
