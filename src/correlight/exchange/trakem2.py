"""Transform lists of TrakEM2, as Register Virtual Stack Slices and DeepCLEM write them.

A list takes pixels of the moving image to pixels of the registered one, x first, centres at whole numbers, and is
applied from top to bottom. The programs read it line by line, so every transform stands on a line of its own.
(register_virtual_stack_slices, RegisterVirtualStack_MT.java; mpicbg.trakem2.transform)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange.setting import Setting, in_words
from correlight.parsing import read_xml
from correlight.transforms import Affine, Projective, Transform, compose

_PACKAGE = "mpicbg.trakem2.transform."
Numbers = NDArray[np.float64]


def read_trakem2(path: str | Path, setting: Setting) -> Affine | Projective:
    """Read a list of linear transforms or homographies.

    Parameters
    ----------
    path : str or Path
        The XML file of the moving image.
    setting : Setting
        With both grids; the registered image has the pixels of the fixed grid.

    Returns
    -------
    Affine or Projective
        ``moving_from_fixed``.

    Raises
    ------
    ReadError
        If the file is damaged or holds something that is not linear.
    UsageError
        If a grid is missing.
    TransformError
        If the list flattens the image.
    """
    fixed, moving = setting.require_grids("TrakEM2")
    root = read_xml(path, "a transform list of TrakEM2")
    elements = [element for element in root.iter() if "class" in element.attrib]
    if not elements:
        raise ReadError(f"Elements with the attributes class and data were expected in {path}; there are none.")
    registered_from_moving = compose([_model(element, path) for element in elements])
    if registered_from_moving.ndim != fixed.ndim or registered_from_moving.ndim != moving.ndim:
        raise ReadError(f"{path} holds {registered_from_moving.ndim}-D transforms; the images have other dimensions.")
    result = Affine(moving.matrix) @ registered_from_moving.inverse() @ Affine(fixed.matrix).inverse()
    assert isinstance(result, Affine | Projective)
    return result


def write_trakem2(path: str | Path, moving_from_fixed: Transform, setting: Setting) -> None:
    """Write an affine transform, or in 2-D a projective one, as a list of one.

    Raises
    ------
    TransformError
        If the transform has no matrix, or is projective in 3-D.
    UsageError
        If a grid is missing.
    WriteError
        If the file cannot be written.
    """
    if not isinstance(moving_from_fixed, Affine | Projective):
        raise TransformError(
            f"TrakEM2 lists are written for affine and projective transforms; got "
            f"{in_words(moving_from_fixed)}; write it as .h5 instead."
        )
    fixed, moving = setting.require_grids("TrakEM2")
    inner = moving_from_fixed.inverse() @ Affine(moving.matrix)
    matrix = (Affine(fixed.matrix).inverse() @ inner).matrix
    d = moving_from_fixed.ndim
    order = [*range(d - 1, -1, -1), d]
    xyz = matrix[np.ix_(order, order)]
    if isinstance(moving_from_fixed, Projective):
        if d == 3:
            raise TransformError("TrakEM2 has no projective transform of volumes; write it as .txt or .json instead.")
        name, numbers = "HomographyModel2D", xyz.ravel()
    elif d == 2:
        name, numbers = "AffineModel2D", xyz[:2].T.ravel()
    else:
        name, numbers = "AffineModel3D", xyz[:3].ravel()
    data = " ".join(repr(float(value) + 0.0) for value in numbers)
    text = f'<ict_transform_list>\n\t<iict_transform class="{_PACKAGE}{name}" data="{data}" />\n</ict_transform_list>\n'
    try:
        Path(path).write_text(text, encoding="ascii", newline="\n")
    except OSError as error:
        raise WriteError(f"The transform cannot be written to {path}: {error.strerror or error}.") from error


def _turned(theta: float, scale: float, shift: Numbers) -> Numbers:
    cos, sin = scale * np.cos(theta), scale * np.sin(theta)
    return np.array([[cos, -sin, shift[0]], [sin, cos, shift[1]], [0, 0, 1]])


def _rows(rows: Numbers) -> Numbers:
    return np.vstack([rows, np.eye(rows.shape[1])[-1]])


# Name of the class: how many numbers it has, and the homogeneous matrix that they stand for, x first.
_MODELS: dict[str, tuple[int, Callable[[Numbers], Numbers]]] = {
    "TranslationModel2D": (2, lambda p: _turned(0.0, 1.0, p)),
    "RigidModel2D": (3, lambda p: _turned(p[0], 1.0, p[1:])),
    "SimilarityModel2D": (4, lambda p: np.array([[p[0], -p[1], p[2]], [p[1], p[0], p[3]], [0, 0, 1]])),
    "AffineModel2D": (6, lambda p: _rows(p.reshape(3, 2).T)),
    "HomographyModel2D": (9, lambda p: p.reshape(3, 3)),
    "TranslationModel3D": (3, lambda p: _rows(np.column_stack([np.eye(3), p]))),
    "AffineModel3D": (12, lambda p: _rows(p.reshape(3, 4))),
}


def _model(element: ElementTree.Element, path: str | Path) -> Affine | Projective:
    """One element as a map in array order."""
    name = element.attrib["class"].rpartition(".")[2]
    if name not in _MODELS:
        raise ReadError(
            f"{path} holds a {name[:60]}, and only these can be read: {', '.join(_MODELS)}; register again with one."
        )
    count, matrix_of = _MODELS[name]
    try:
        numbers = np.array([float(value) for value in element.get("data", "").split()])
    except ValueError as error:
        raise ReadError(f"The data of {name} in {path} are not all numbers.") from error
    if numbers.size != count or not np.isfinite(numbers).all():
        raise ReadError(f"The {name} in {path} needs {count} finite numbers; got {numbers.size}.")
    xyz = matrix_of(numbers)
    order = [*range(len(xyz) - 2, -1, -1), len(xyz) - 1]
    matrix = xyz[np.ix_(order, order)]
    try:
        return Projective(matrix) if name == "HomographyModel2D" else Affine(matrix)
    except TransformError as error:
        raise ReadError(f"The {name} in {path} is no transform: {error}") from error
