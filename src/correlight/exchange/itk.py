"""ITK transform files (text): read by SimpleITK, elastix, 3D Slicer and ANTs.

ITK stores what resampling needs, the map from fixed to moving points, which is our ``moving_from_fixed``. It counts x
first; the order is turned here and nowhere else. The file names no unit: numbers are in the units of the two images,
micrometres where an image is calibrated and pixels where it is not, as ``result.json`` beside it records.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError, WriteError
from correlight.transforms import Affine, Projective, Transform, compose

_HEADER = "#Insight Transform File V1.0"


def write_itk(path: str | Path, moving_from_fixed: Transform) -> None:
    """Write an affine transform as ITK text.

    Parameters
    ----------
    path : str or Path
        Usually ending in ``.tfm``.
    moving_from_fixed : Affine
        Takes fixed to moving positions, each in the unit of its image; 2-D or 3-D.

    Raises
    ------
    TransformError
        If the transform is not affine.
    WriteError
        If the file cannot be written.
    """
    if isinstance(moving_from_fixed, Projective):
        raise TransformError(
            "ITK files hold no projective transform; write it as a matrix with the ending .txt or .json instead."
        )
    if not isinstance(moving_from_fixed, Affine):
        raise TransformError(
            f"ITK text files are written for affine transforms only; got a {type(moving_from_fixed).__name__}."
        )
    ndim = moving_from_fixed.ndim
    # Reversing both axes of the linear part and the offset is the change from (z, y, x) to (x, y, z).
    numbers = [*moving_from_fixed.linear[::-1, ::-1].ravel(), *moving_from_fixed.offset[::-1]]
    text = (
        f"{_HEADER}\n#Transform 0\nTransform: AffineTransform_double_{ndim}_{ndim}\n"
        f"Parameters: {_numbers(numbers)}\nFixedParameters: {_numbers([0.0] * ndim)}\n"
    )
    try:
        Path(path).write_text(text, encoding="ascii", newline="\n")
    except OSError as error:
        raise WriteError(f"The transform cannot be written to {path}: {error.strerror or error}.") from error


def read_itk(path: str | Path) -> Affine:
    """Read a linear ITK transform, or a composite of several, from text.

    Parameters
    ----------
    path : str or Path
        A file that begins with ``#Insight Transform File``.

    Returns
    -------
    Affine
        ``moving_from_fixed``, array order.

    Raises
    ------
    ReadError
        If the file is missing, is no ITK text, or holds a kind of transform that is not linear.

    Notes
    -----
    Understood are AffineTransform, MatrixOffsetTransformBase, TranslationTransform, Euler2DTransform,
    Similarity2DTransform and CompositeTransform of these. In a composite ITK applies the last one first.
    """
    try:
        text = Path(path).read_text(encoding="ascii")
    except UnicodeDecodeError as error:
        raise ReadError(f"An ITK transform in text was expected in {path}, which is no plain text.") from error
    except OSError as error:
        raise ReadError(f"The transform {path} cannot be read: {error.strerror or error}.") from error
    if not text.startswith(_HEADER[:-5]):
        raise ReadError(f"An ITK transform in text begins with {_HEADER!r}; {path} does not.")
    blocks = [block for block in _blocks(text, path) if not block.kind.startswith("CompositeTransform")]
    if not blocks:
        raise ReadError(f"The ITK file {path} names no transform; expected a line 'Transform: AffineTransform_...'.")
    if len({block.ndim for block in blocks}) > 1:
        raise ReadError(f"The transforms in {path} differ in dimension.")
    result = compose([_affine(block, path) for block in reversed(blocks)])
    assert isinstance(result, Affine)
    return result


@dataclass(frozen=True, slots=True)
class _Block:
    """One transform of the file, as written."""

    kind: str
    ndim: int
    parameters: NDArray[np.float64]
    fixed_parameters: NDArray[np.float64]


def _numbers(values: list[float]) -> str:
    # repr is the shortest text that reads back as the same number; adding 0 turns -0 into 0.
    return " ".join(repr(float(value) + 0.0) for value in values)


def _blocks(text: str, path: str | Path) -> list[_Block]:
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
        name, _, dimensions = entry["Transform"].rpartition("_double_")
        first, _, second = dimensions.partition("_")
        if not name:
            name, _, dimensions = entry["Transform"].rpartition("_float_")
            first, _, second = dimensions.partition("_")
        if first != second or first not in ("2", "3"):
            raise ReadError(
                f"A transform from 2-D to 2-D or 3-D to 3-D was expected in {path}; got {entry['Transform']!r}."
            )
        try:
            parameters, fixed = (
                np.array(entry.get(key, "").split(), dtype=float) for key in ("Parameters", "FixedParameters")
            )
        except ValueError as error:
            raise ReadError(f"The parameters of {entry['Transform']} in {path} are not all numbers.") from error
        blocks.append(_Block(name, int(first), parameters, fixed))
    return blocks


def _affine(block: _Block, path: str | Path) -> Affine:
    """One block as an affine map: ``A (x - c) + t + c`` with the centre c, x first, turned to array order."""
    d, p = block.ndim, block.parameters
    counts = {
        "AffineTransform": d * d + d,
        "MatrixOffsetTransformBase": d * d + d,
        "TranslationTransform": d,
        "Euler2DTransform": 3,
        "Similarity2DTransform": 4,
    }
    if block.kind not in counts:
        raise ReadError(
            f"The ITK file {path} holds a {block.kind}; only these can be read: {', '.join(counts)} and composites."
        )
    centre = block.fixed_parameters if block.fixed_parameters.size else np.zeros(d)
    if p.size != counts[block.kind] or centre.size != d or not np.isfinite([*p, *centre]).all():
        raise ReadError(
            f"The {block.kind} in {path} needs {counts[block.kind]} finite parameters and {d} fixed ones; "
            f"got {p.size} and {block.fixed_parameters.size}."
        )
    linear = np.eye(d)
    if p.size == d * d + d:
        linear = p[: d * d].reshape(d, d)
    elif block.kind in ("Euler2DTransform", "Similarity2DTransform"):
        scale, angle = (p[0], p[1]) if block.kind == "Similarity2DTransform" else (1.0, p[0])
        linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    offset = p[-d:] + centre - linear @ centre
    return Affine.of(linear[::-1, ::-1], offset[::-1])
