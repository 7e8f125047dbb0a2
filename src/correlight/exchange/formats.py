"""Which format a file has, and how each is read and written."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

from correlight.errors import ReadError, TransformError, UsageError
from correlight.exchange.context import ExchangeContext
from correlight.exchange.matrix import read_matrix, says_its_direction
from correlight.exchange.spreadsheet import names_of
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.parsing import open_regular, plain, read_text
from correlight.transforms import Transform

Content = Transform | LandmarkTable | PointTable
ContentKind = Literal["transform", "landmarks", "points"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format of files.

    Parameters
    ----------
    name : str
        As `read_file`, `write_file` and the command line call it.
    title : str
        As a sentence calls it.
    endings : tuple of str
        Endings of its files.
    writes : tuple of str
        What it can hold: "transform", "landmarks", "points".
    folder : bool
        Whether it is a folder and no file.
    reads_only : tuple of str
        Endings of files that are read and not written.
    """

    name: str
    title: str
    endings: tuple[str, ...]
    writes: tuple[ContentKind, ...]
    folder: bool = False
    reads_only: tuple[str, ...] = ()

    def must_end(self, path: str | Path) -> None:
        """Refuse a name whose ending is that of another kind of file, which nothing would read again.

        Raises
        ------
        UsageError
            If it has an ending that files of this format do not have.
        """
        suffix = Path(path).suffix.lower()
        written = [ending for ending in self.endings if ending not in self.reads_only]
        if suffix not in written:
            raise UsageError(
                f"A file of {self.title} ends in {_or(written)}; {path} ends in {suffix or 'nothing'}, so choose "
                "another name or format."
            )


FORMATS = {
    entry.name: entry
    for entry in (
        Format("itk", "ITK", (".tfm", ".txt", ".h5", ".hdf5", ".mat"), ("transform",), reads_only=(".mat",)),
        Format("elastix", "elastix", (".txt",), ("transform",)),
        Format("matrix", "a matrix", (".txt", ".json", ".csv"), ("transform",)),
        Format("napari", "napari", (".txt", ".csv"), ("transform",)),
        Format("trakem2", "TrakEM2", (".xml",), ("transform",)),
        Format("ecclem", "eC-CLEM", (".xml", ".csv"), ("transform", "landmarks")),
        Format("bdv", "BigDataViewer", (".xml",), ("transform",)),
        Format("mobie", "MoBIE", (".json",), ("transform",)),
        Format("ngff", "OME-NGFF", (".zarr",), ("transform",), folder=True),
        Format("bigwarp", "BigWarp", (".csv", ".json"), ("landmarks",)),
        Format("table", "a table", (".csv",), ("landmarks", "points")),
        Format("transformix", "transformix", (".txt",), ("points",)),
    )
}
# What an ending stands for where several formats share it.
_DEFAULTS: dict[tuple[str, ContentKind], str] = {
    (".txt", "transform"): "matrix",
    (".json", "transform"): "matrix",
    (".csv", "transform"): "matrix",
    (".csv", "landmarks"): "table",
}
_LOOK = 64 * 1024  # characters from which a file is recognised


BARE = ("matrix", "napari")
"""Formats of numbers alone, which state neither a unit nor, but for our own, a direction."""


def kind_of(content: Content) -> ContentKind:
    """What a file holds: a transform, landmarks or points."""
    if isinstance(content, LandmarkTable):
        return "landmarks"
    return "points" if isinstance(content, PointTable) else "transform"


def recognise(path: str | Path) -> Format:
    """The format of a file, by its first lines; the ending says only where to look.

    Raises
    ------
    ReadError
        If the file is missing or of no known format.
    """
    file = Path(path)
    if (file / "zarr.json").is_file():
        return FORMATS["ngff"]
    if not file.exists() or file.is_dir():
        raise ReadError(f"A transform, landmarks or points were expected in {path}, where there is no file.")
    suffix = file.suffix.lower()
    if not any(suffix in entry.endings for entry in FORMATS.values()):
        endings = ", ".join(sorted({ending for entry in FORMATS.values() for ending in entry.endings}))
        raise ReadError(f"A transform is read from {endings}; {path} ends in {suffix or 'nothing'}.")
    with open_regular(file, "a transform, landmarks or points") as stream:
        start = stream.read(_LOOK)
    if start.startswith(b"\x89HDF") or suffix in (".h5", ".hdf5", ".tfm", ".mat"):
        return FORMATS["itk"]
    text = plain(start).lstrip("\ufeff \t\r\n")
    if text.rstrip() in ("", "[]"):
        raise ReadError(f"A transform, landmarks or points were expected in {path}, which holds nothing.")
    recognisers = {".txt": _of_text, ".csv": _of_csv, ".json": _of_json, ".xml": _of_xml}
    if suffix not in recognisers:
        raise ReadError(f"A transform in a folder was expected with the ending {suffix}; {path} is a file.")
    name = recognisers[suffix](text)
    if name == "matrix" and not says_its_direction(text):
        _undirected(file)
    if name is None:
        known = ", ".join(entry.title for entry in FORMATS.values() if ".xml" in entry.endings)
        raise ReadError(f"An XML file of {known} was expected; {path} is none of these.")
    return FORMATS[name]


def _undirected(path: Path) -> None:
    """Refuse a file with a matrix that does not say itself which way it leads; a damaged one is named as such.

    Raises
    ------
    ReadError
        If the file holds no matrix, or one without a direction.
    """
    if says_its_direction(read_text(path, "a matrix")):
        return
    read_matrix(path)
    raise ReadError(
        f"{path} holds a matrix, but does not say which way it leads; give its format: matrix (from fixed to moving, y "
        "before x), napari (from moving to fixed, y before x, as affinder writes it) or ecclem (from moving to fixed, "
        "x before y)."
    )


def called(path: str | Path, kind: ContentKind) -> Format | None:
    """The format whose name is part of the name of a file, such as ``mobie.json`` or ``em-bigwarp.csv``; None if none.

    Parameters
    ----------
    path : str or Path
        With an ending that the format has.
    kind : {"transform", "landmarks", "points"}
        What is to be written; landmarks can be made of a transform.
    """
    suffix, words = Path(path).suffix.lower(), re.split(r"[^a-z0-9]+", Path(path).stem.lower())
    found = [
        entry
        for entry in FORMATS.values()
        if entry.name in words
        and suffix in entry.endings
        and (kind in entry.writes or (kind == "transform" and entry.writes == ("landmarks",)))
    ]
    return found[0] if len(found) == 1 else None


def choose(path: str | Path, kind: ContentKind) -> Format:
    """The format in which content of a kind is written under a name.

    Raises
    ------
    TransformError
        If the ending stands for none or for several.
    """
    suffix = Path(path).suffix.lower()
    fitting = [entry.name for entry in FORMATS.values() if suffix in entry.endings and kind in entry.writes]
    name = _DEFAULTS.get((suffix, kind)) or (fitting[0] if len(fitting) == 1 else None)
    if name is not None:
        return FORMATS[name]
    word = "A transform is" if kind == "transform" else f"{kind.capitalize()} are"
    if fitting:
        raise TransformError(f"The ending {suffix} stands for several formats; choose one: {_or(fitting)}.")
    writing = [entry for entry in FORMATS.values() if kind in entry.writes]
    endings = _or(sorted({ending for entry in writing for ending in entry.endings if ending not in entry.reads_only}))
    raise TransformError(f"{word} written as {endings}; {path} ends in {suffix or 'nothing'}.")


def named(name: str) -> Format:
    """The format of a name.

    Raises
    ------
    UsageError
        If there is none.
    """
    if name not in FORMATS:
        raise UsageError(f"A format is one of {', '.join(FORMATS)}; got {name!r}.")
    return FORMATS[name]


def read_as(path: str | Path, entry: Format, context: ExchangeContext) -> Content:
    """Read a file of a format."""
    call = _function("read", entry.name, Path(path))
    return cast(Content, call(path, context))


def write_as(path: str | Path, content: Content, entry: Format, context: ExchangeContext) -> None:
    """Write a file in a format.

    Raises
    ------
    TransformError
        If the format cannot hold such content.
    """
    kind = kind_of(content)
    if kind not in entry.writes:
        what = {"transform": "a transform", "landmarks": "landmarks", "points": "points"}[kind]
        others = _or([other.name for other in FORMATS.values() if kind in other.writes])
        made = ", or have landmarks made of the transform"
        hint = made if kind == "transform" and "landmarks" in entry.writes else ""
        raise TransformError(f"The format {entry.name} does not hold {what}; choose {others}{hint}.")
    _function("write", entry.name, Path(path))(path, content, context)


def _function(verb: str, name: str, path: Path) -> Callable[..., Any]:
    """The function that reads or writes a format, its module loaded only now."""
    if name in BARE:
        function = getattr(import_module(f"correlight.exchange.{_home(name)}"), f"{verb}_{name}")
        if verb == "read":
            return lambda path, context: context.of_pixels(function(path), FORMATS[name].title)
        return lambda path, *rest: function(path, *rest[:-1])
    if name == "table":
        return _read_table if verb == "read" else _write_table
    if name in ("bigwarp", "transformix"):
        function = getattr(import_module(f"correlight.exchange.{_home(name)}"), f"{verb}_{name}")
        return lambda path, *rest: _with_unit(function, verb, name, path, *rest)
    return cast(Callable[..., Any], getattr(import_module(f"correlight.exchange.{_home(name)}"), f"{verb}_{name}"))


def _home(name: str) -> str:
    return {"napari": "matrix", "transformix": "elastix"}.get(name, name)


def _with_unit(function: Callable[..., Any], verb: str, name: str, path: Path, *rest: Any) -> Any:
    """Formats without units: numbers count what the context says, and are written in the units of the images."""
    context: ExchangeContext = rest[-1]
    if verb == "read":
        unit = context.unit or "micrometre"
        return function(path, unit, context.axes) if name == "bigwarp" else function(path, unit)
    content = rest[0]
    if isinstance(content, LandmarkTable):
        fixed, moving = content.fixed.in_unit(context.fixed, "fixed"), content.moving.in_unit(context.moving, "moving")
        content = LandmarkTable(fixed, moving, content.left_out)
    return function(path, content)


def _read_table(path: str | Path, context: ExchangeContext) -> LandmarkTable | PointTable:
    from correlight.exchange.table import holds_landmarks, read_landmarks, read_points

    return read_landmarks(path, context.unit) if holds_landmarks(path) else read_points(path, context.unit)


def _write_table(path: str | Path, content: LandmarkTable | PointTable, context: ExchangeContext) -> None:
    from correlight.exchange.table import write_landmarks, write_points

    if isinstance(content, LandmarkTable):
        write_landmarks(path, content)
    else:
        write_points(path, content)


def _of_text(text: str) -> str:
    if text.startswith("#Insight"):
        return "itk"
    if text.startswith(("(", "//")):
        return "elastix"
    first = text.partition("\n")[0].strip().lower()
    return "transformix" if first in ("point", "index") or text.startswith("Point\t") else "matrix"


def _of_csv(text: str) -> str:
    cells = names_of(text)
    if "fixed_y" in cells or "y" in cells or "axis-0" in cells:
        return "table"
    if cells[0] == "id" and "dimension_1" in cells:
        return "ecclem"
    return "bigwarp" if len(cells) in (6, 8) and cells[1] in ("true", "false") else "matrix"


def _of_json(text: str) -> str:
    if "BigWarpLandmarks" in text:
        return "bigwarp"
    return "mobie" if '"sourceTransforms"' in text else "matrix"


def _of_xml(text: str) -> str | None:
    if "<SpimData" in text:
        return "bdv"
    if "<trakem2" in text or ("_transform" in text and "class=" in text):
        return "trakem2"
    marks = ("<MatrixTransformation", "<transfoelements", "<transformation", "<pointspairs")
    return "ecclem" if any(mark in text for mark in marks) else None


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
