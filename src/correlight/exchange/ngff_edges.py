"""The transforms that OME-NGFF 0.6 knows, each as a map between two of our frames.

Parameters are in the order of the axes that the coordinate systems declare, and in their units; channels and times may
be among them. Here they become maps between positions in array order, in micrometres.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, TransformError
from correlight.exchange.bounded import read_arrays
from correlight.geometry import Grid
from correlight.parsing import read_json, resolved
from correlight.transforms import Affine, Displacement, Transform, compose

# What Zarr writes of itself; others could be plug-ins that run code.
_CODECS = ("bytes", "transpose", "gzip", "zstd", "blosc", "crc32c", "sharding_indexed")
_DEEPEST = 8  # transforms wrapped in one another

_LENGTHS = {
    "angstrom": 1e-4,
    "picometer": 1e-6,
    "nanometer": 1e-3,
    "micrometer": 1.0,
    "millimeter": 1e3,
    "centimeter": 1e4,
    "meter": 1e6,
}


@dataclass(frozen=True, slots=True)
class System:
    """A coordinate system: how many axes it has, which of them are z, y, x, and how long their units are.

    Parameters
    ----------
    count : int
        Number of axes.
    space : tuple of int
        Where the axes of space stand, in array order.
    lengths : tuple of float
        Micrometres per unit of each of them; 1 where no unit is stated.
    """

    count: int
    space: tuple[int, ...]
    lengths: tuple[float, ...]

    @property
    def ndim(self) -> int:
        """Number of axes of space."""
        return len(self.space)


def system_of(entry: Any, where: Path) -> System:
    """A coordinate system from its JSON.

    Raises
    ------
    ReadError
        If it has not two or three axes of space, named as usual, or an unknown unit.
    """
    axes = entry.get("axes") if isinstance(entry, dict) else None
    if not isinstance(axes, list) or not all(isinstance(axis, dict) for axis in axes):
        raise ReadError(f"A coordinate system with axes was expected in {where}; got {str(entry)[:80]}.")
    names = [str(axis.get("name")) for axis in axes]
    space = [names.index(name) for name in "zyx" if name in names]
    if len(space) not in (2, 3) or len(space) != sum(axis.get("type") == "space" for axis in axes):
        raise ReadError(f"Axes of space named y and x, or z, y and x, were expected in {where}; got {names}.")
    units = [str(axes[place].get("unit", "")) for place in space]
    if any(unit and unit not in _LENGTHS for unit in units):
        raise ReadError(f"A unit of length such as micrometer was expected in {where}; got {units}.")
    return System(len(axes), tuple(space), tuple(_LENGTHS.get(unit, 1.0) for unit in units))


def edge_transform(edge: Mapping[str, Any], start: System, end: System, root: Path) -> Transform:
    """The map of an edge from positions in its input to positions in its output.

    Raises
    ------
    ReadError
        If it is of a kind that is not understood, or its parameters do not fit.
    """
    try:
        result = _mapped(edge, start, end, root, 0)
    except TransformError as error:
        raise ReadError(f"A transform of the scene in {root} is none: {error}") from error
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise ReadError(f"A transform of the scene in {root} is incomplete ({error}); write it again.") from error
    if result.ndim != end.ndim:
        raise ReadError(f"A transform of the scene in {root} joins systems of different dimension.")
    return result


def _mapped(edge: Mapping[str, Any], start: System, end: System, root: Path, depth: int) -> Transform:
    kind = edge.get("type")
    if depth > _DEEPEST:
        raise ReadError(f"The transforms of the scene in {root} are wrapped more than {_DEEPEST} times.")
    if kind == "sequence":
        # Wrapped transforms need not name the systems between them; they have the axes of the first.
        inner = edge["transformations"]
        stops = [*([start] * len(inner)), end]
        return compose([_mapped(part, stops[n], stops[n + 1], root, depth + 1) for n, part in enumerate(inner)])
    if kind == "bijection":
        return _mapped(edge["forward"], start, end, root, depth + 1)
    if kind == "displacements":
        return _field(edge, start, end, root)
    rows = _rows(edge, start, end, root)
    pick = np.ix_([*end.space], [*start.space])
    rest = np.delete(rows[[*end.space], :-1], [*start.space], axis=1)
    if rest.size and np.abs(rest).max() > 0:
        raise ReadError(f"A transform of the scene in {root} mixes space with other axes, which is not read.")
    # Output unit times numbers per input unit: micrometres out of micrometres.
    scale_out, scale_in = np.asarray(end.lengths), np.asarray(start.lengths)
    return Affine.of(rows[pick] * scale_out[:, None] / scale_in, rows[[*end.space], -1] * scale_out)


def _rows(edge: Mapping[str, Any], start: System, end: System, root: Path) -> NDArray[np.float64]:
    """The ``(M, N+1)`` matrix of a linear transform in the order of the systems' axes."""
    kind, rows = edge.get("type"), np.eye(end.count, start.count + 1)
    rows[:, -1] = 0.0
    if kind == "affine":
        rows = np.array(edge["affine"], float)
    elif kind == "rotation":
        rows[:, :-1] = np.array(edge["rotation"], float)
    elif kind == "scale":
        rows[:, :-1] = np.diag(np.array(edge["scale"], float))
    elif kind == "translation":
        rows[:, -1] = np.array(edge["translation"], float)
    elif kind != "identity":
        raise ReadError(f"A transform of the kind {str(kind)[:40]!r} in the scene of {root} is not read.")
    if rows.shape != (end.count, start.count + 1) or not np.isfinite(rows).all():
        raise ValueError(f"{kind} needs {end.count} rows of {start.count + 1} finite numbers")
    return rows


def _field(edge: Mapping[str, Any], start: System, end: System, root: Path) -> Displacement:
    """A displacement field with the scale and translation of its own grid."""
    if edge.get("interpolation", "linear") != "linear":
        raise ReadError(f"A field of the scene in {root} wants {edge['interpolation']!r} interpolation, not linear.")
    if start.count != start.ndim or end.space != start.space or end.lengths != start.lengths:
        raise ReadError(f"A field of the scene in {root} joins systems with other axes or units than its own.")
    path = str(edge["path"])
    if path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise ReadError(f"The scene in {root} refers to {path!r}, which is not a path inside it.")
    if not resolved(root / path).is_relative_to(resolved(root)):
        raise ReadError(f"The scene in {root} refers to {path!r}, which is a link out of it.")
    content = read_json(root / path / "zarr.json", "a displacement field of OME-NGFF")
    image = content["attributes"]["ome"]["multiscales"][0]
    dataset = image["datasets"][0]
    name = str(dataset["path"])
    if "/" in name or "\\" in name or name in ("", "..", "."):
        raise ReadError(f"The field in {root / path} refers to {name!r}, which is not a path inside it.")
    array = _array(root / path / name)
    axes = [str(axis.get("type")) for axis in image["coordinateSystems"][0]["axes"]]
    if axes[:1] != ["displacement"] or array.shape[:1] != (start.ndim,) or array.ndim != start.ndim + 1:
        raise ReadError(f"Displacements with one component per axis in front were expected in {root / path}.")
    order = [*start.space]
    spacing, origin = _lattice(dataset["coordinateTransformations"][0], array.ndim)
    lengths = np.asarray(start.lengths)
    vectors = array[order].transpose(0, *[1 + place for place in order])
    steps, first = spacing[1:][order] * lengths, origin[1:][order] * lengths
    grid = Grid.of(vectors.shape[1:], tuple(steps), tuple(first), "micrometre")
    return Displacement(np.moveaxis(vectors * lengths.reshape(-1, *[1] * start.ndim), 0, -1), grid)


def _array(path: Path) -> NDArray[np.float64]:
    """The numbers of a field, within limits and from files of its own folder."""
    content = read_json(path / "zarr.json", "the array of a displacement field")
    codecs = [str(codec.get("name")) for codec in content["codecs"]]
    unknown = [name for name in codecs if name not in _CODECS]
    if unknown:
        raise ReadError(f"The field {path} is stored with the codec {unknown[0][:40]!r}, which is not read.")
    root, size = resolved(path), 0
    for entry in path.rglob("*"):
        # A pipe would never end, and a link could lead anywhere.
        if not (entry.is_dir() or entry.is_file()) or not resolved(entry).is_relative_to(root):
            raise ReadError(f"The field {path} holds {entry.name!r}, which is no file of its own; copy it whole.")
        size += entry.stat().st_size if entry.is_file() else 0
    return read_arrays(path, "zarr", "a displacement field of OME-NGFF", size)[1][0]


def _lattice(step: Mapping[str, Any], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Spacing and origin of a field's grid, the axis of components included."""
    spacing, origin = np.ones(count), np.zeros(count)
    for part in step["transformations"] if step.get("type") == "sequence" else [step]:
        if part.get("type") == "scale":
            spacing = np.array(part["scale"], float)
        elif part.get("type") == "translation":
            origin = np.array(part["translation"], float)
        elif part.get("type") != "identity":
            raise ReadError(f"The grid of a field is scaled and shifted; got {str(part.get('type'))[:40]!r}.")
    if spacing.shape != (count,) or origin.shape != (count,) or not np.isfinite([*spacing, *origin]).all():
        raise ValueError(f"the grid of a field needs {count} finite numbers")
    return spacing, origin
