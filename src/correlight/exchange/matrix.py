"""Transforms as plain matrices: text with one row per line, and JSON.

The matrix is homogeneous, ``(D+1, D+1)``, in array order, and takes fixed to moving positions in the units of the two
images. This is how a projective transform is stored, for which ITK has no file. napari wants the way back: the affine
of a layer takes its data, scaled to micrometres, to the world, which is the fixed frame.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange.context import in_words
from correlight.exchange.reading import reads
from correlight.parsing import read_json, read_text
from correlight.transforms import Affine, Projective, Transform

_LIMIT = 2**20  # bytes; a result.json has some ten thousand


def write_matrix(path: str | Path, moving_from_fixed: Transform) -> None:
    """Write an affine or projective transform as text, or as JSON where the name ends in ``.json``.

    Raises
    ------
    TransformError
        If the transform has no matrix.
    WriteError
        If the file cannot be written.
    """
    if not isinstance(moving_from_fixed, Affine | Projective):
        raise TransformError(
            f"A matrix holds affine and projective maps; {Path(path).name} would hold {in_words(moving_from_fixed)}, "
            "so write it as .h5 instead."
        )
    axes = "zyx"[-moving_from_fixed.ndim :]
    rows = (moving_from_fixed.matrix + 0.0).tolist()
    if Path(path).suffix.lower() == ".json":
        kind = "affine" if isinstance(moving_from_fixed, Affine) else "projective"
        text = json.dumps({"moving_from_fixed": {"type": kind, "axes": axes, "matrix": rows}}, indent=2) + "\n"
    else:
        gap = "," if Path(path).suffix.lower() == ".csv" else " "
        lines = [gap.join(repr(value) for value in row) for row in rows]
        text = "\n".join([f"# moving_from_fixed, homogeneous, axes {' '.join(axes)} 1", *lines, ""])
    _write(path, text)


def write_napari(path: str | Path, moving_from_fixed: Transform) -> None:
    """Write the matrix that a napari layer takes as its ``affine``, as text without comments.

    Where the layer holds pixels, its ``scale`` must be their size in micrometres. Commas part the numbers where the
    name ends in ``.csv``, as affinder writes them.

    Raises
    ------
    TransformError
        If the transform is not affine or has no inverse.
    WriteError
        If the file cannot be written.
    """
    if not isinstance(moving_from_fixed, Affine):
        raise TransformError(
            f"The affine of a napari layer cannot hold {in_words(moving_from_fixed)}; move the image instead."
        )
    gap = "," if Path(path).suffix.lower() == ".csv" else " "
    rows = (moving_from_fixed.inverse().matrix + 0.0).tolist()
    _write(path, "".join(gap.join(repr(value) for value in row) + "\n" for row in rows))


@reads("the affine of a napari layer")
def read_napari(path: str | Path) -> Affine:
    """Read the ``affine`` of a napari layer, or a file of affinder, as `read_matrix` reads matrices.

    Returns
    -------
    Affine
        ``moving_from_fixed``: the inverse of what the file holds.

    Raises
    ------
    ReadError
        As for `read_matrix`, and if the matrix is not affine or has no inverse.
    """
    fixed_from_moving = read_matrix(path)
    if not isinstance(fixed_from_moving, Affine):
        raise ReadError(f"The affine of a napari layer ends in the row 0 ... 0 1; that of {path} does not.")
    try:
        return fixed_from_moving.inverse()
    except TransformError as error:
        raise ReadError(f"The matrix in {path} is no transform: {error}") from error


@reads("a matrix")
def read_matrix(path: str | Path) -> Affine | Projective:
    """Read a matrix of numbers: rows of text (spaces or commas, ``#`` comments) or JSON.

    JSON is a list of rows, or an object with the rows under ``matrix`` or ``moving_from_fixed`` (as in
    ``result.json``). The last row may be left out where it is ``0 ... 0 1``.

    Raises
    ------
    ReadError
        If the file is missing or holds no matrix of 3 x 3 or 4 x 4 finite numbers.
    """
    written = Path(path).suffix.lower() == ".json"
    rows = _json_rows(path) if written else _text_rows(read_text(path, "a matrix in text", limit=_LIMIT))
    try:
        matrix = np.array(rows, dtype=float)
    except (TypeError, ValueError) as error:
        raise ReadError(f"A matrix of numbers with rows of one length was expected in {path}.") from error
    return _transform(matrix, path)


def says_its_direction(text: str) -> bool:
    """Whether the start of a file with a matrix says which way it leads, as ours do."""
    return "moving_from_fixed" in text


def _write(path: str | Path, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="ascii", newline="\n")
    except OSError as error:
        raise WriteError(f"The transform cannot be written to {path}: {error.strerror or error}.") from error


def _text_rows(text: str) -> list[list[str]]:
    lines = (line.partition("#")[0].replace(",", " ").split() for line in text.splitlines())
    return [line for line in lines if line]


def _json_rows(path: str | Path) -> Any:
    content = read_json(path, "a matrix", limit=_LIMIT)
    for key in ("moving_from_fixed", "matrix"):
        if isinstance(content, dict) and key in content:
            content = content[key]
    if isinstance(content, dict):
        raise ReadError(f"No matrix was found in {path}; expected rows of numbers under 'moving_from_fixed'.")
    return content


def _transform(matrix: NDArray[np.float64], path: str | Path) -> Affine | Projective:
    if matrix.shape in ((2, 3), (3, 4)):
        matrix = np.vstack([matrix, np.eye(matrix.shape[1])[-1]])
    if matrix.shape not in ((3, 3), (4, 4)) or not np.isfinite(matrix).all():
        size = " x ".join(map(str, matrix.shape)) or "a single number"
        raise ReadError(f"A matrix of 3 x 3 or 4 x 4 finite numbers was expected in {path}; got {size}.")
    try:
        return Affine(matrix) if np.array_equal(matrix[-1], np.eye(len(matrix))[-1]) else Projective(matrix)
    except TransformError as error:
        raise ReadError(f"The matrix in {path} is no transform: {error}") from error
