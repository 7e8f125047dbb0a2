"""Transforms and points in the files of other tools. Only here do coordinates ever come x first."""

from __future__ import annotations

from pathlib import Path

from correlight.errors import ReadError, TransformError
from correlight.exchange.itk import read_itk, write_itk
from correlight.exchange.matrix import read_matrix, write_matrix
from correlight.transforms import Affine, Projective, Transform

__all__ = ["read_itk", "read_matrix", "read_transform", "write_itk", "write_matrix", "write_transform"]

_ITK = (".tfm",)
_MATRIX = (".txt", ".json", ".csv")


def read_transform(path: str | Path) -> Affine | Projective:
    """Read a transform from fixed to moving positions from any file that can hold one.

    Parameters
    ----------
    path : str or Path
        ``.tfm`` or ``.txt`` with ITK text; ``.txt`` or ``.csv`` with a matrix; ``.json`` with a matrix, such as the
        ``result.json`` of a registration.

    Raises
    ------
    ReadError
        If the file is missing, of another kind, or holds nothing usable; the message says which.
    """
    suffix = Path(path).suffix.lower()
    if not Path(path).is_file():
        raise ReadError(f"A transform was expected in {path}, where there is no file.")
    if suffix in _ITK or (suffix == ".txt" and _begins_with(path, b"#Insight")):
        return read_itk(path)
    if suffix in _MATRIX:
        return read_matrix(path)
    raise ReadError(f"A transform is read from {', '.join((*_ITK, *_MATRIX))}; {path} ends in {suffix or 'nothing'}.")


def write_transform(path: str | Path, moving_from_fixed: Transform) -> None:
    """Write a transform in the format that the ending of the name stands for.

    Parameters
    ----------
    path : str or Path
        ``.tfm`` for ITK text (affine only), ``.txt`` or ``.json`` for the matrix.
    moving_from_fixed : Affine or Projective
        Takes fixed to moving positions, each in the unit of its image.

    Raises
    ------
    TransformError
        If the ending is unknown or the format cannot hold this kind of transform.
    WriteError
        If the file cannot be written.
    """
    suffix = Path(path).suffix.lower()
    if suffix in _ITK:
        write_itk(path, moving_from_fixed)
    elif suffix in (".txt", ".json"):
        write_matrix(path, moving_from_fixed)
    else:
        raise TransformError(f"A transform is written as .tfm, .txt or .json; {path} ends in {suffix or 'nothing'}.")


def _begins_with(path: str | Path, mark: bytes) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(mark)) == mark
    except OSError as error:
        raise ReadError(f"The transform {path} cannot be read: {error.strerror or error}.") from error
