"""Transforms and points in the files of other tools. Only here do coordinates ever come x first."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from correlight.errors import ReadError
from correlight.exchange.context import UNKNOWN, ExchangeContext
from correlight.exchange.elastix import elastix_files
from correlight.exchange.formats import FORMATS, Content, choose, kind_of, named, read_as, recognise, write_as
from correlight.exchange.itk import read_itk, write_itk
from correlight.exchange.matrix import read_matrix, write_matrix
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.transforms import Transform

__all__ = [
    "FORMATS",
    "UNKNOWN",
    "Content",
    "ExchangeContext",
    "LandmarkTable",
    "PointTable",
    "files_of",
    "kind_of",
    "read_file",
    "read_itk",
    "read_landmarks",
    "read_matrix",
    "read_transform",
    "write_file",
    "write_itk",
    "write_landmarks",
    "write_matrix",
    "write_transform",
]


def read_file(path: str | Path, format: str | None = None, context: ExchangeContext = UNKNOWN) -> Content:
    """Read whatever a file of another tool holds: a transform, landmarks or points.

    Parameters
    ----------
    path : str or Path
        The file; its first lines tell the format.
    format : str, optional
        Name of the format (a key of `FORMATS`), where the file could be taken for another.
    context : ExchangeContext
        What is known of the two images.

    Returns
    -------
    Transform, LandmarkTable or PointTable
        A transform is ``moving_from_fixed``, array order.

    Raises
    ------
    ReadError
        If the file is missing, of another kind, or holds nothing usable; the message says which.
    UsageError
        If the format needs to know the images.
    TransformError
        If the transform does not fit the number of axes asked for.
    """
    entry = recognise(path) if format is None else named(format)
    return read_as(path, entry, context)


def files_of(path: str | Path) -> tuple[Path, ...]:
    """The files that `read_file` reads: this one, and of elastix those that it begins with.

    Parameters
    ----------
    path : str or Path
        The file, or the folder of an OME-Zarr.

    Raises
    ------
    ReadError
        If one of them is missing or damaged, or this one of no known format.
    """
    return elastix_files(path) if recognise(path).name == "elastix" else (Path(path),)


def write_file(
    path: str | Path, content: Content, format: str | None = None, context: ExchangeContext = UNKNOWN
) -> None:
    """Write a transform, landmarks or points for another tool.

    Parameters
    ----------
    path : str or Path
        The file to write; an existing one is replaced.
    content : Transform, LandmarkTable or PointTable
        A transform takes fixed to moving positions, each in the unit of its image.
    format : str, optional
        Name of the format, where the ending stands for several.
    context : ExchangeContext
        What is known of the two images.

    Raises
    ------
    TransformError
        If the ending is unknown or the format cannot hold this.
    UsageError
        If the format needs to know the images.
    WriteError
        If the file cannot be written.
    """
    entry = choose(path, kind_of(content)) if format is None else named(format)
    write_as(path, content, entry, context)


def read_transform(path: str | Path, format: str | None = None, context: ExchangeContext = UNKNOWN) -> Transform:
    """Read a transform from fixed to moving positions from any file that can hold one.

    Parameters
    ----------
    path : str or Path
        ``.tfm``, ``.h5`` or ``.txt`` of ITK; ``.txt`` or ``.csv`` with a matrix, ``.txt`` of elastix; ``.json`` with a
        matrix, such as the ``result.json`` of a registration; what `read_file` recognises besides.
    format : str, optional
        Name of the format (a key of `FORMATS`). A matrix needs it that does not say itself which way it leads.
    context : ExchangeContext
        What is known of the two images.

    Raises
    ------
    ReadError
        If the file is missing, of another kind, or holds nothing usable; the message says which.
    """
    content = read_file(path, format, context)
    if isinstance(content, LandmarkTable | PointTable):
        raise ReadError(f"A transform was expected in {path}, which holds {kind_of(content)}; fit one to them first.")
    return content


def write_transform(path: str | Path, moving_from_fixed: Transform) -> None:
    """Write a transform in the format that the ending of the name stands for.

    Parameters
    ----------
    path : str or Path
        ``.tfm`` or ``.h5`` for ITK, ``.txt`` or ``.json`` for the matrix.
    moving_from_fixed : Transform
        Takes fixed to moving positions, each in the unit of its image.

    Raises
    ------
    TransformError
        If the ending is unknown or the format cannot hold this kind of transform.
    WriteError
        If the file cannot be written.
    """
    write_file(path, moving_from_fixed)


def read_landmarks(path: str | Path, context: ExchangeContext = UNKNOWN) -> LandmarkTable:
    """Read landmarks from any file that can hold them: our own CSV, BigWarp, eC-CLEM.

    Raises
    ------
    ReadError
        If the file is missing, of another kind, or holds none.
    """
    content = read_file(path, context=context)
    if not isinstance(content, LandmarkTable):
        raise ReadError(f"Landmarks were expected in {path}, which holds {kind_of(content)}; give pairs of points.")
    return content


def write_landmarks(
    path: str | Path, landmarks: LandmarkTable, format: str | None = None, context: ExchangeContext = UNKNOWN
) -> None:
    """Write landmarks; the arguments are those of `write_file`."""
    write_file(path, cast(Content, landmarks), format, context)
