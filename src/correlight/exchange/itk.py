"""ITK transform files, text and HDF5: read by SimpleITK, elastix, 3D Slicer and ANTs.

ITK stores what resampling needs, the map from fixed to moving points, which is our ``moving_from_fixed``. It counts x
first; the order is turned here and nowhere else. The file names no unit: numbers are in the units of the two images,
micrometres where an image is calibrated and pixels where it is not, as ``result.json`` beside it records.

Beyond the edge of a displacement field ITK leaves points where they are, and `Displacement` keeps the displacement of
the edge; within half a pixel around the field both agree.
"""

from __future__ import annotations

import io
from collections import abc
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange.blocks import COMPOSITE, Block, named_block, numbers_of
from correlight.exchange.bspline import bspline_from_lists, lattice_numbers
from correlight.exchange.context import UNKNOWN, ExchangeContext, held_parts, in_words
from correlight.exchange.orientation import Oriented
from correlight.exchange.parameters import ItkClass, affine_from_parameters, parameters_from_affine
from correlight.exchange.place import moved_to_images
from correlight.exchange.reading import reads
from correlight.geometry import Grid
from correlight.parsing import open_regular, read_bytes, read_text
from correlight.transforms import (
    Affine,
    BSplineField,
    Chain,
    Displacement,
    Projective,
    Transform,
    VelocityField,
    compose,
)

_HEADER = "#Insight Transform File V1.0"
_LINEAR: dict[str, ItkClass] = {
    "IdentityTransform": "identity",
    "TranslationTransform": "translation",
    "ScaleTransform": "scale",
    "ScaleLogarithmicTransform": "log scale",
    "AffineTransform": "affine",
    "MatrixOffsetTransformBase": "affine",
    "FixedCenterOfRotationAffineTransform": "affine",
    "ScalableAffineTransform": "affine",
    "Rigid2DTransform": "euler",
    "Euler2DTransform": "euler",
    "Similarity2DTransform": "similarity",
    "Rigid3DTransform": "affine",
    "Euler3DTransform": "euler",
    "VersorTransform": "turn",
    "QuaternionRigidTransform": "quaternion",
    "VersorRigid3DTransform": "versor",
    "Similarity3DTransform": "similarity",
    "ScaleVersor3DTransform": "scaled versor",
    "ScaleSkewVersor3DTransform": "skewed versor",
    "ComposeScaleSkewVersor3DTransform": "composed versor",
}
# Classes that list their centre among the parameters: as what they are read, and how many numbers stand before it.
_CENTRED: dict[str, tuple[ItkClass, int]] = {
    "CenteredRigid2DTransform": ("euler", 1),
    "CenteredSimilarity2DTransform": ("similarity", 2),
    "CenteredEuler3DTransform": ("euler", 3),
    "CenteredAffineTransform": ("affine", 0),  # one row for each axis: see `_linear`
}
_FIELD = "DisplacementFieldTransform"
_SPLINE = "BSplineTransform"
_READABLE = (*_LINEAR, *_CENTRED, _FIELD, _SPLINE)
_TEXT, _ANTS = "an ITK transform in text", "an ITK transform in the matrices of MATLAB"
_LARGEST_ANTS = 2**20  # bytes
_MOST_TRANSFORMS = 1000  # of a composite; registrations in stages make a handful


def write_itk(path: str | Path, moving_from_fixed: Transform, context: ExchangeContext = UNKNOWN) -> None:
    """Write a transform as ITK text, or as HDF5 where the name ends in ``.h5``, ``.hdf5`` or ``.hdf``.

    Parameters
    ----------
    path : str or Path
        Usually ending in ``.tfm``.
    moving_from_fixed : Transform
        Takes fixed to moving positions, each in the unit of its image; 2-D or 3-D. Affine maps, displacements, cubic
        B-splines and flows are written as they are evaluated; what else bends is sampled, so closely that linear
        interpolation is off by less than a hundredth of a pixel of the fixed image (as far as 1025 nodes a side, in
        space 97, allow).
    context : ExchangeContext
        The fixed image, over which is sampled; without it, where the map bends.

    Raises
    ------
    TransformError
        If ITK has no such transform.
    WriteError
        If the file cannot be written.
    """
    held = held_parts(moving_from_fixed, _holds, context.field)
    blocks = _blocks_of(held[0] if len(held) == 1 else Chain(held))
    if Path(path).suffix.lower() in (".h5", ".hdf5", ".hdf"):
        from correlight.exchange.hdf5 import write_blocks

        write_blocks(path, blocks)
        return
    lines = [_HEADER]
    for number, block in enumerate(blocks):
        lines += [f"#Transform {number}", f"Transform: {block.kind}_double_{block.ndim}_{block.ndim}"]
        if block.kind != COMPOSITE:
            lines.append(f"Parameters: {_numbers(block.parameters)}")
            lines.append(f"FixedParameters: {_numbers(block.fixed_parameters)}")
    try:
        Path(path).write_text("\n".join([*lines, ""]), encoding="ascii", newline="\n")
    except OSError as error:
        raise WriteError(f"The transform cannot be written to {path}: {error.strerror or error}.") from error


@reads("an ITK transform")
def read_itk(path: str | Path, context: ExchangeContext = UNKNOWN) -> Transform:
    """Read an ITK transform, or a composite of several, from text or HDF5.

    Parameters
    ----------
    path : str or Path
        A file that begins with ``#Insight Transform File``, HDF5 as ITK writes it, or ``.mat`` of ANTs.
    context : ExchangeContext
        ``fixed_origin`` and ``moving_origin`` move the transform to images that have lost their origins, of which the
        file states nothing.

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
    Understood are all linear classes of ITK, displacement fields and cubic B-splines with any origin and directions,
    and composites of these. In a composite ITK applies the last one first. Positions are those of ITK's physical space:
    an image whose file states an origin has it there as well. ANTs writes one linear transform as ``.mat``.
    """
    with open_regular(path, "an ITK transform") as file:
        start = file.read(8)
    if start == b"\x89HDF\r\n\x1a\n":
        from correlight.exchange.hdf5 import read_blocks

        entries = read_blocks(path)
    elif Path(path).suffix.lower() == ".mat":
        entries = [_matlab_block(path)]
    else:
        entries = _text_blocks(path)
    blocks = [block for block in entries if block.kind != COMPOSITE]
    if not blocks:
        raise ReadError(f"The ITK file {path} names no transform; expected a line 'Transform: AffineTransform_...'.")
    if len(blocks) > _MOST_TRANSFORMS:
        raise ReadError(
            f"{path} joins {len(blocks):,} transforms, and at most {_MOST_TRANSFORMS:,} are read; join them."
        )
    if len({block.ndim for block in blocks}) > 1:
        raise ReadError(f"The transforms in {path} differ in dimension.")
    transform = compose([_transform(block, path) for block in reversed(blocks)])
    return moved_to_images(transform, None, context, path)


def _holds(part: Transform) -> bool:
    """Whether ITK holds a transform as it is evaluated here."""
    if isinstance(part, BSplineField):
        return part.order == 3
    return isinstance(part, Affine | Displacement | VelocityField)


def _numbers(values: abc.Sequence[float] | NDArray[np.float64]) -> str:
    # repr is the shortest text that reads back as the same number; adding 0 turns -0 into 0.
    return " ".join(repr(float(value) + 0.0) for value in values)


def _blocks_of(transform: Transform) -> list[Block]:
    """The blocks of a transform; several are listed behind a composite, the one that is applied first at the end."""
    if isinstance(transform, Chain):
        parts = [block for part in reversed(transform.parts) for block in _blocks_of(part)]
        return [Block(COMPOSITE, transform.ndim, np.zeros(0), np.zeros(0)), *parts]
    if isinstance(transform, Affine):
        numbers = np.asarray(parameters_from_affine(transform))
        return [Block("AffineTransform", transform.ndim, numbers, np.zeros(transform.ndim))]
    if isinstance(transform, Displacement):
        grid = transform.grid
        where = [*grid.shape[::-1], *grid.origin[::-1], *grid.spacing[::-1], *np.eye(grid.ndim).ravel()]
        # ITK interleaves the components of each vector, with x fastest among pixels and components alike.
        return [Block(_FIELD, grid.ndim, transform.vectors[..., ::-1].ravel(), np.asarray(where, float))]
    if isinstance(transform, VelocityField):
        # What moves is written as it is evaluated; that it came from a velocity is lost.
        return _blocks_of(transform.flow)
    if isinstance(transform, BSplineField) and transform.order == 3:
        numbers, lattice = lattice_numbers(transform)
        return [Block(_SPLINE, transform.ndim, numbers, np.concatenate(lattice))]
    if isinstance(transform, Projective):
        raise TransformError(
            "ITK files hold no projective transform; write it as a matrix with the ending .txt or .json instead."
        )
    raise TransformError(
        f"ITK files are written for affine maps and maps that bend within one frame; got {in_words(transform)}."
    )


def _matlab_block(path: str | Path) -> Block:
    """The one transform of a file of ANTs: a matrix that is called as the class, and one called fixed."""
    from scipy.io import loadmat, matlab, whosmat

    data = read_bytes(path, _ANTS, limit=_LARGEST_ANTS)
    # ANTs writes version 4; later versions hold objects and compressed parts, which nothing here needs.
    # The stubs know names of files only.
    stream: Any = io.BytesIO(data)
    if matlab.matfile_version(stream)[0] != 0:
        raise ReadError(f"Expected {_ANTS}, version 4, but {path} has another form; export it as .tfm.")
    names = [name for name, _, _ in whosmat(stream)]
    if len(names) != 2 or names[1] != "fixed":
        raise ReadError(f"One transform and its centre were expected in {path}; got {', '.join(names)[:60]}.")
    content = loadmat(stream)
    return named_block(names[0], content[names[0]].ravel(), content["fixed"].ravel(), path)


def _text_blocks(path: str | Path) -> list[Block]:
    text = read_text(path, _TEXT)
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
            lists = [numbers_of(entry.get(key, "")) for key in ("Parameters", "FixedParameters")]
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
    return _linear(block, path)


def _linear(block: Block, path: str | Path) -> Affine:
    numbers, fixed = block.parameters, block.fixed_parameters
    zyx = False
    if block.kind in ("Euler3DTransform", "CenteredEuler3DTransform") and fixed.size == 4:
        fixed, zyx = fixed[:3], bool(fixed[3])
    kind = _LINEAR.get(block.kind)
    if block.kind in _CENTRED:
        kind, before = _CENTRED[block.kind]
        before = before or block.ndim**2
        numbers, fixed = np.delete(numbers, np.s_[before : before + block.ndim]), numbers[before : before + block.ndim]
    elif kind in ("identity", "translation"):
        fixed = np.zeros(block.ndim)  # without its centre a file is cut off; these have none
    if kind is None or any(f"{d}D" in block.kind and d != block.ndim for d in (2, 3)):
        raise ReadError(
            f"The ITK file {path} holds a {block.kind}; only these can be read: {', '.join(_READABLE)} and composites."
        )
    return affine_from_parameters(kind, block.ndim, numbers, fixed, f"The {block.kind} in {path}", zyx=zyx)


def _field(block: Block, path: str | Path) -> Transform:
    """A displacement field; its fixed parameters are size, origin, spacing and directions."""
    d, fixed = block.ndim, block.fixed_parameters
    if fixed.size != 3 * d + d * d or not np.isfinite(fixed).all():
        raise ReadError(f"The {_FIELD} in {path} needs {3 * d + d * d} finite fixed parameters; got {fixed.size}.")
    size, origin, spacing, directions = np.split(fixed, [d, 2 * d, 3 * d])
    frame = Oriented.of(origin, directions, f"The displacement field in {path}")
    if not (size == np.rint(size)).all() or size.min() < 1 or size.max() > 1e9 or spacing.min() <= 0:
        raise ReadError(f"The displacement field in {path} has an impossible size or spacing: {fixed[: 3 * d]}.")
    if block.parameters.size != d * np.prod(size) or not np.isfinite(block.parameters).all():
        raise ReadError(
            f"The displacement field in {path} needs {d * np.prod(size):.0f} finite numbers; got "
            f"{block.parameters.size}, or some that are not finite."
        )
    shape = tuple(int(n) for n in size[::-1])
    grid = Grid.of(shape, tuple(spacing[::-1]), tuple(origin[::-1]), "micrometre")
    vectors = frame.along_axes(block.parameters.reshape(*shape, d)[..., ::-1])
    return frame.placed(Displacement(vectors, grid))
