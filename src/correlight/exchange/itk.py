"""ITK transform files, text and HDF5: read by SimpleITK, elastix, 3D Slicer and ANTs.

ITK stores what resampling needs, the map from fixed to moving points, which is our ``moving_from_fixed``. It counts x
first; the order is turned here and nowhere else. The file names no unit: numbers are in the units of the two images,
micrometres where an image is calibrated and pixels where it is not, as ``result.json`` beside it records.

Beyond the edge of a displacement field ITK leaves points where they are, and `Displacement` keeps the displacement of
the edge; within half a pixel around the field both agree.
"""

from __future__ import annotations

import re
from collections.abc import Sequence as Seq
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange.bspline import BSpline, bspline_from_lists
from correlight.exchange.parameters import affine_from_parameters, parameters_from_affine
from correlight.exchange.setting import in_words
from correlight.geometry import Grid
from correlight.parsing import read_text
from correlight.transforms import Affine, Displacement, Projective, Sequence, Transform, compose

_HEADER = "#Insight Transform File V1.0"
_LINEAR = {
    "AffineTransform": "affine",
    "MatrixOffsetTransformBase": "affine",
    "TranslationTransform": "translation",
    "Euler2DTransform": "euler",
    "Euler3DTransform": "euler",
    "VersorRigid3DTransform": "versor",
    "Similarity2DTransform": "similarity",
    "Similarity3DTransform": "similarity",
}
_FIELD = "DisplacementFieldTransform"
_COMPOSITE = "CompositeTransform"
_SPLINE = "BSplineTransform"
_READABLE = (*_LINEAR, _FIELD, _SPLINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One transform of an ITK file, as written: its class, number of axes, and two lists of numbers."""

    kind: str
    ndim: int
    parameters: NDArray[np.float64]
    fixed_parameters: NDArray[np.float64]


def write_itk(path: str | Path, moving_from_fixed: Transform) -> None:
    """Write a transform as ITK text, or as HDF5 where the name ends in ``.h5``, ``.hdf5`` or ``.hdf``.

    Parameters
    ----------
    path : str or Path
        Usually ending in ``.tfm``.
    moving_from_fixed : Affine, Displacement or Sequence of these
        Takes fixed to moving positions, each in the unit of its image; 2-D or 3-D.

    Raises
    ------
    TransformError
        If ITK has no such transform.
    WriteError
        If the file cannot be written.
    """
    blocks = _blocks_of(moving_from_fixed)
    if Path(path).suffix.lower() in (".h5", ".hdf5", ".hdf"):
        from correlight.exchange.hdf5 import write_blocks

        write_blocks(path, blocks)
        return
    lines = [_HEADER]
    for number, block in enumerate(blocks):
        lines += [f"#Transform {number}", f"Transform: {block.kind}_double_{block.ndim}_{block.ndim}"]
        if block.kind != _COMPOSITE:
            lines.append(f"Parameters: {_numbers(block.parameters)}")
            lines.append(f"FixedParameters: {_numbers(block.fixed_parameters)}")
    try:
        Path(path).write_text("\n".join([*lines, ""]), encoding="ascii", newline="\n")
    except OSError as error:
        raise WriteError(f"The transform cannot be written to {path}: {error.strerror or error}.") from error


def read_itk(path: str | Path) -> Transform:
    """Read an ITK transform, or a composite of several, from text or HDF5.

    Parameters
    ----------
    path : str or Path
        A file that begins with ``#Insight Transform File``, or HDF5 as ITK writes it.

    Returns
    -------
    Transform
        ``moving_from_fixed``, array order; an `Affine` where all that the file holds is linear.

    Raises
    ------
    ReadError
        If the file is missing, is no ITK file, or holds a kind of transform that is not understood.

    Notes
    -----
    Understood are affine transforms, translations, Euler, versor and similarity transforms in 2-D and 3-D, displacement
    fields and cubic B-splines whose axes are those of the image, and composites of these. In a composite ITK applies
    the last one first.
    """
    try:
        with Path(path).open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ReadError(f"The transform {path} cannot be read: {error.strerror or error}.") from error
    if start == b"\x89HDF\r\n\x1a\n":
        from correlight.exchange.hdf5 import read_blocks

        entries = read_blocks(path)
    else:
        entries = _text_blocks(path)
    blocks = [block for block in entries if block.kind != _COMPOSITE]
    if not blocks:
        raise ReadError(f"The ITK file {path} names no transform; expected a line 'Transform: AffineTransform_...'.")
    if len({block.ndim for block in blocks}) > 1:
        raise ReadError(f"The transforms in {path} differ in dimension.")
    return compose([_transform(block, path) for block in reversed(blocks)])


def named_block(name: str, parameters: ArrayLike, fixed_parameters: ArrayLike, path: str | Path) -> Block:
    """A block from the name that ITK gives it, such as ``AffineTransform_double_2_2``.

    Raises
    ------
    ReadError
        If the name is not of that form, or input and output differ in dimension.
    """
    match = re.fullmatch(r"(\w+)_(?:double|float)_([23])_\2", name)
    if match is None:
        raise ReadError(f"A transform from 2-D to 2-D or 3-D to 3-D was expected in {path}; got {name[:60]!r}.")
    return Block(match[1], int(match[2]), np.asarray(parameters, float), np.asarray(fixed_parameters, float))


def _numbers(values: Seq[float] | NDArray[np.float64]) -> str:
    # repr is the shortest text that reads back as the same number; adding 0 turns -0 into 0.
    return " ".join(repr(float(value) + 0.0) for value in values)


def _blocks_of(transform: Transform) -> list[Block]:
    """The blocks of a transform; several are listed behind a composite, the one that is applied first at the end."""
    if isinstance(transform, Sequence):
        parts = [block for part in reversed(transform.parts) for block in _blocks_of(part)]
        return [Block(_COMPOSITE, transform.ndim, np.zeros(0), np.zeros(0)), *parts]
    if isinstance(transform, Affine):
        numbers = np.asarray(parameters_from_affine(transform))
        return [Block("AffineTransform", transform.ndim, numbers, np.zeros(transform.ndim))]
    if isinstance(transform, Displacement):
        grid = transform.grid
        where = [*grid.shape[::-1], *grid.origin[::-1], *grid.spacing[::-1], *np.eye(grid.ndim).ravel()]
        # ITK interleaves the components of each vector, with x fastest among pixels and components alike.
        return [Block(_FIELD, grid.ndim, transform.vectors[..., ::-1].ravel(), np.asarray(where, float))]
    if isinstance(transform, BSpline) and transform.order == 3:
        grid = transform.grid
        where = [*grid.shape[::-1], *grid.origin[::-1], *grid.spacing[::-1], *np.eye(grid.ndim).ravel()]
        numbers = np.moveaxis(transform.coefficients[..., ::-1], -1, 0).ravel()
        return [Block(_SPLINE, grid.ndim, numbers, np.asarray(where, float))]
    if isinstance(transform, Projective):
        raise TransformError(
            "ITK files hold no projective transform; write it as a matrix with the ending .txt or .json instead."
        )
    raise TransformError(
        f"ITK files are written for affine transforms and displacement fields; got {in_words(transform)}; "
        "sample it on a grid first."
    )


def _text_blocks(path: str | Path) -> list[Block]:
    text = read_text(path, "an ITK transform in text")
    if not text.startswith(_HEADER[:-5]):
        raise ReadError(f"An ITK transform in text begins with {_HEADER!r}; {path} does not.")
    entries: list[dict[str, str]] = []
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if line.startswith("#") or not colon:
            continue
        if key.strip() == "Transform":
            entries.append({})
        if not entries:
            raise ReadError(f"The line {line.strip()[:60]!r} of {path} comes before any 'Transform:' line.")
        entries[-1][key.strip()] = value.strip()
    blocks = []
    for entry in entries:
        try:
            lists = [np.array(entry.get(key, "").split(), dtype=float) for key in ("Parameters", "FixedParameters")]
        except ValueError as error:
            raise ReadError(f"The parameters of {entry['Transform']} in {path} are not all numbers.") from error
        blocks.append(named_block(entry["Transform"], lists[0], lists[1], path))
    return blocks


def _transform(block: Block, path: str | Path) -> Transform:
    if block.kind == _FIELD:
        return _field(block, path)
    if block.kind == _SPLINE:
        size, origin, spacing, directions = np.split(block.fixed_parameters, np.arange(1, 4) * block.ndim)
        lists = [values.tolist() for values in (size, origin, spacing, directions)]
        return bspline_from_lists(block.parameters, lists, path)
    if block.kind not in _LINEAR or (block.kind[-11:-9] in ("2D", "3D") and f"{block.ndim}D" not in block.kind):
        raise ReadError(
            f"The ITK file {path} holds a {block.kind}; only these can be read: {', '.join(_READABLE)} and composites."
        )
    fixed = block.fixed_parameters
    zyx = False
    if block.kind == "Euler3DTransform" and fixed.size == 4:
        fixed, zyx = fixed[:3], bool(fixed[3])
    # Without its centre a file is cut off; only a translation has none.
    centre = np.zeros(block.ndim) if block.kind == "TranslationTransform" else fixed
    subject = f"The {block.kind} in {path}"
    return affine_from_parameters(_LINEAR[block.kind], block.ndim, block.parameters, centre, subject, zyx=zyx)


def _field(block: Block, path: str | Path) -> Displacement:
    """A displacement field; its fixed parameters are size, origin, spacing and directions."""
    d, fixed = block.ndim, block.fixed_parameters
    if fixed.size != 3 * d + d * d or not np.isfinite(fixed).all():
        raise ReadError(f"The {_FIELD} in {path} needs {3 * d + d * d} finite fixed parameters; got {fixed.size}.")
    size, origin, spacing, directions = np.split(fixed, [d, 2 * d, 3 * d])
    if not np.array_equal(directions.reshape(d, d), np.eye(d)):
        raise ReadError(f"The displacement field in {path} is turned against the image; resample it along its axes.")
    if not (size == np.rint(size)).all() or size.min() < 1 or spacing.min() <= 0:
        raise ReadError(f"The displacement field in {path} has an impossible size or spacing: {fixed[: 3 * d]}.")
    if block.parameters.size != d * np.prod(size) or not np.isfinite(block.parameters).all():
        raise ReadError(
            f"The displacement field in {path} needs {d * np.prod(size):.0f} finite numbers; got "
            f"{block.parameters.size}, or some that are not finite."
        )
    shape = tuple(int(n) for n in size[::-1])
    grid = Grid.of(shape, tuple(spacing[::-1]), tuple(origin[::-1]), "micrometre")
    return Displacement(block.parameters.reshape(*shape, d)[..., ::-1], grid)
