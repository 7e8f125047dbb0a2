"""Projects of TrakEM2, and the lists of transforms that Register Virtual Stack Slices and DeepCLEM write.

A list takes pixels of the moving image to pixels of the registered one, x first, centres at whole numbers, and is
applied from top to bottom. The programs read it line by line, so every transform stands on a line of its own.
(register_virtual_stack_slices, RegisterVirtualStack_MT.java; mpicbg.trakem2.transform)

A project places many images, its patches. Each has an affine map of its own in the attribute ``transform``, which is
applied after its list, and from the corner of the box that the list moves the image into, in whole pixels. (TrakEM2,
Patch.java and TransformMesh.java)
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange.context import ExchangeContext, in_words
from correlight.exchange.reading import reads
from correlight.geometry import Grid
from correlight.parsing import read_xml
from correlight.transforms import Affine, Projective, Transform, compose

_LISTS = ("ict_transform_list", "ictl")
_PACKAGE = "mpicbg.trakem2.transform."
Numbers = NDArray[np.float64]


@reads("a transform list or project of TrakEM2")
def read_trakem2(path: str | Path, context: ExchangeContext) -> Affine | Projective:
    """Read a list of linear transforms or homographies, or how a project places one of its patches.

    Parameters
    ----------
    path : str or Path
        The XML file of the moving image, or of a project.
    context : ExchangeContext
        With both grids; the registered image has the pixels of the fixed grid. ``name`` is the title of the patch, or
        its number (oid), which a project with several needs. Of a project, pixels of the fixed grid are those of the
        layer.

    Returns
    -------
    Affine or Projective
        ``moving_from_fixed``.

    Raises
    ------
    ReadError
        If the file is damaged, holds something that is not linear, or does not say which patch is meant.
    UsageError
        If a grid is missing.
    TransformError
        If the list flattens the image.
    """
    fixed, moving = context.require_grids("TrakEM2")
    root = read_xml(path, "a transform list or project of TrakEM2", doctype=True)
    patches = list(root.iter("t2_patch"))
    if patches:
        registered_from_moving = _placed(_patch(patches, context.name, path), moving, context.sized, path)
    else:
        lists = sum(1 for element in root.iter() if element.tag in _LISTS)
        if lists > 1:
            raise ReadError(f"One list of transforms was expected in {path}; got {lists}, and nothing says of what.")
        found = _listed(root, path)
        if found is None:
            raise ReadError(f"Elements with the attributes class and data were expected in {path}; there are none.")
        registered_from_moving = found
    if registered_from_moving.ndim != fixed.ndim or registered_from_moving.ndim != moving.ndim:
        raise ReadError(f"{path} holds {registered_from_moving.ndim}-D transforms; the images have other dimensions.")
    result = Affine(moving.matrix) @ registered_from_moving.inverse() @ Affine(fixed.matrix).inverse()
    assert isinstance(result, Affine | Projective)
    return result


def write_trakem2(path: str | Path, moving_from_fixed: Transform, context: ExchangeContext) -> None:
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
    fixed, moving = context.require_grids("TrakEM2")
    inner = moving_from_fixed.inverse() @ Affine(moving.matrix)
    matrix = (Affine(fixed.matrix).inverse() @ inner).matrix
    d = moving_from_fixed.ndim
    xyz = _array_order(matrix)  # reversing the axes is its own inverse
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


def _patch(patches: list[ElementTree.Element], name: str | None, path: str | Path) -> ElementTree.Element:
    """The patch that is asked for, or the only one."""
    chosen = [patch for patch in patches if name is None or name in (patch.get("title"), patch.get("oid"))]
    if len(chosen) != 1:
        known = ", ".join(f"{patch.get('title', '')} ({patch.get('oid', '')})" for patch in patches[:12])
        more = f" and {len(patches) - 12} more" if len(patches) > 12 else ""
        said = "does not say which image is meant" if name is None else f"has {len(chosen)} called {name!r}"
        raise ReadError(f"{path} {said}; choose one of its patches by title or number: {known[:400]}{more}.")
    return chosen[0]


def _placed(patch: ElementTree.Element, moving: Grid, sized: bool, path: str | Path) -> Affine | Projective:
    """Pixels of the layer from those of the image of a patch."""
    text = patch.get("transform", "matrix(1,0,0,1,0,0)").strip()
    numbers = np.array([float(value) for value in text.removeprefix("matrix(").removesuffix(")").split(",")])
    if not text.startswith("matrix(") or numbers.shape != (6,) or not np.isfinite(numbers).all():
        raise ReadError(f"A patch of {path} needs a transform such as matrix(1,0,0,1,0,0); got {text[:60]!r}.")
    affine = _array_order(_rows(numbers.reshape(3, 2).T))
    inner = _listed(patch, path)
    if inner is None:
        return Affine(affine)
    # The size of the image before its list is applied; older projects leave it out where it is that of the patch.
    stated = [patch.get(f"o_{side}", patch.get(side)) for side in ("height", "width")]
    shape = moving.shape[-2:] if stated[0] is None or stated[1] is None else tuple(float(n) for n in stated if n)
    if sized and moving.ndim == 2 and tuple(shape) != moving.shape:
        raise ReadError(
            f"The patch of {path} has an image of {shape[1]:g} x {shape[0]:g} pixels and the moving image "
            f"{moving.shape[1]} x {moving.shape[0]}; give the image that was placed."
        )
    corners = np.array([[y, x] for y in (0.0, shape[0] - 1) for x in (0.0, shape[1] - 1)])
    corner = np.trunc(inner(corners).min(axis=0))
    shifted = Affine(affine) @ Affine.of(np.eye(2), -corner) @ inner
    assert isinstance(shifted, Affine | Projective)
    return shifted


def _listed(root: ElementTree.Element, path: str | Path) -> Affine | Projective | None:
    """The transforms below an element, from top to bottom; None where there is none."""
    models = [_model(element, path) for element in root.iter() if "class" in element.attrib]
    if not models:
        return None
    if len({model.ndim for model in models}) > 1:
        raise ReadError(f"The transforms in {path} differ in dimension.")
    joined = compose(models)
    assert isinstance(joined, Affine | Projective)
    return joined


def _array_order(xyz: Numbers) -> Numbers:
    """A homogeneous matrix with its axes in array order."""
    order = [*range(len(xyz) - 2, -1, -1), len(xyz) - 1]
    return xyz[np.ix_(order, order)]


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
    matrix = _array_order(matrix_of(numbers))
    try:
        return Projective(matrix) if name == "HomographyModel2D" else Affine(matrix)
    except TransformError as error:
        raise ReadError(f"The {name} in {path} is no transform: {error}") from error
