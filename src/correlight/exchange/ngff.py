"""Scenes of OME-NGFF 0.6: coordinate systems and the transforms between them, in a Zarr group.

A scene is a graph whose edges map points from their input to their output. An affine map is stored in the direction
from moving to fixed, which viewers follow; a displacement field keeps its own direction, from fixed to moving, which
costs nothing, as edges may be walked against their direction. Several parts become several edges with named systems
between them, because not every reader takes a sequence apart. (NGFF 0.6, RFC-5; doi:10.5281/zenodo.4282107)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from correlight.errors import ReadError, TransformError, WriteError
from correlight.exchange.context import UNKNOWN, ExchangeContext, held_parts, in_words
from correlight.exchange.ngff_edges import System, edge_transform, system_of
from correlight.exchange.reading import reads
from correlight.geometry import Unit
from correlight.parsing import read_json
from correlight.transforms import (
    Affine,
    Displacement,
    Projective,
    Transform,
    compose,
)
from correlight.transforms.bent import Inverted

FIXED, MOVING = "fixed", "moving"
_FIELDS = "coordinateTransformations"
Node = tuple[str, str]  # path of an image, empty for the scene itself, and name of the system


def write_ngff(path: str | Path, moving_from_fixed: Transform, context: ExchangeContext = UNKNOWN) -> None:
    """Write a scene of two coordinate systems, "fixed" and "moving".

    Parameters
    ----------
    path : str or Path
        A Zarr group, made if it is not there.
    moving_from_fixed : Affine, Displacement, its inverse, what else bends, or Sequence of these
        Takes fixed to moving positions. Splines and flows are sampled over the fixed image, so closely that linear
        interpolation is off by less than a hundredth of its pixels (as far as 1025 nodes a side, in space 97, allow).
    context : ExchangeContext
        The grids say which units the systems have.

    Raises
    ------
    TransformError
        If OME-NGFF has no such transform.
    WriteError
        If the folder cannot be written.
    """
    write_scene(path, moving_from_fixed, context)


def write_scene(
    path: str | Path,
    moving_from_fixed: Transform,
    context: ExchangeContext = UNKNOWN,
    *,
    fixed_image: str | None = None,
    moving_image: str | None = None,
    system: str = "physical",
) -> None:
    """Write a scene, and tie it to images that lie in the same group.

    Parameters
    ----------
    path : str or Path
        A Zarr group, made if it is not there; a scene that it holds is replaced.
    moving_from_fixed : Affine, Displacement, its inverse, what else bends, or Sequence of these
        Takes fixed to moving positions. Splines and flows are sampled over the fixed image, so closely that linear
        interpolation is off by less than a hundredth of its pixels (as far as 1025 nodes a side, in space 97, allow).
    context : ExchangeContext
        The grids say which units the systems have.
    fixed_image, moving_image : str, optional
        Paths of the images in the group.
    system : str
        The coordinate system of the images in which they lie in physical units.

    Raises
    ------
    TransformError
        If OME-NGFF has no such transform.
    WriteError
        If the folder cannot be written.
    """
    parts = held_parts(moving_from_fixed, lambda part: _field_of(part) is not None, context.field)
    for part in parts:
        if not isinstance(part, Affine) and _field_of(part) is None:
            raise TransformError(
                f"OME-NGFF holds affine transforms and displacement fields; got {in_words(part)}, {_advice(part)}."
            )
    fixed_unit, moving_unit = (
        context.unit or "micrometre" if grid is None else grid.unit for grid in (context.fixed, context.moving)
    )
    # A field stays in the unit of its input; the first affine map leads to the unit of the moving image.
    units: list[Unit] = [fixed_unit]
    for part in parts:
        units.append(moving_unit if isinstance(part, Affine) else units[-1])
    units[-1] = moving_unit
    names = [FIXED, *(f"{MOVING}_{number}" for number in range(1, len(parts))), MOVING]
    ends = [{"name": name} for name in names]
    systems = list(zip(names, units, strict=True))
    if moving_image is not None:
        ends[-1] = {"path": moving_image, "name": system}
        systems = systems[:-1]
    edges: list[dict[str, Any]] = []
    if fixed_image is not None:
        image = {"path": fixed_image, "name": system}
        edges.append({"type": "identity", "name": "fixed_image", "input": image, "output": ends[0]})
    try:
        group = zarr.open_group(str(path), mode="a", zarr_format=3)
        for number, part in enumerate(parts):
            edges.append(_edge(group, part, ends[number], ends[number + 1], f"step_{number}", units[number]))
        scene = {
            "coordinateSystems": [
                {"name": name, "axes": _axes(moving_from_fixed.ndim, unit)} for name, unit in systems
            ],
            "coordinateTransformations": edges,
        }
        group.attrs["ome"] = {"version": "0.6", "scene": scene}
    except OSError as error:
        raise WriteError(f"The scene cannot be written to {path}: {error.strerror or error}.") from error


def _field_of(part: Transform) -> Displacement | None:
    """The displacement field that a part is, or inverts: an edge may be walked against its direction."""
    inner = part.of if isinstance(part, Inverted) else part
    return inner if isinstance(inner, Displacement) else None


def _advice(part: Transform) -> str:
    return "write it as .txt or .json instead" if isinstance(part, Projective) else "sample it on a grid first"


@reads("a scene of OME-NGFF 0.6")
def read_ngff(path: str | Path, context: ExchangeContext = UNKNOWN) -> Transform:
    """Read the transform between two coordinate systems of a scene.

    Parameters
    ----------
    path : str or Path
        A Zarr group with a scene.
    context : ExchangeContext
        ``name`` is the moving system, or the path of its image, which a scene of more than two needs. The fixed system
        is the first that the scene declares.

    Returns
    -------
    Transform
        ``moving_from_fixed`` between positions in micrometres, or in pixels where the axes state no unit.

    Raises
    ------
    ReadError
        If the folder holds no scene, is damaged, does not join the systems, or uses a transform not understood.
    """
    root = Path(path)
    scene = _scene(root)
    systems = _systems(root, scene)
    edges = [_ends(edge, root) for edge in scene.get(_FIELDS, [])]
    fixed = next(iter(systems))
    moving = _moving(fixed, systems, edges, context, root)
    # From the fixed system outwards; each system is reached once.
    reached: dict[Node, list[Transform]] = {fixed: []}
    queue = [fixed]
    while queue and moving not in reached:
        here = queue.pop(0)
        for edge in edges:
            for start, end, against in ((edge.start, edge.end, False), (edge.end, edge.start, True)):
                if start == here and end not in reached:
                    step = edge_transform(edge.content, systems[edge.start], systems[edge.end], root)
                    reached[end] = [*reached[here], step.inverse() if against else step]
                    queue.append(end)
    if moving not in reached:
        raise ReadError(f"The scene of {path} does not join {_said(fixed)} and {_said(moving)}.")
    steps = reached[moving] or [Affine.identity(systems[fixed].ndim)]
    try:
        return compose(steps)
    except TransformError as error:
        raise ReadError(f"The transforms in {path} do not fit together: {error}") from error


@dataclass(frozen=True, slots=True)
class _Edge:
    start: Node
    end: Node
    content: Mapping[str, Any]


def _edge(
    group: Any, part: Transform, towards_fixed: dict[str, str], towards_moving: dict[str, str], name: str, unit: Unit
) -> dict[str, Any]:
    """One part as an edge; a displacement field goes into a group of its own."""
    if isinstance(part, Affine):
        rows = (part.inverse().matrix[:-1] + 0.0).tolist()
        return {"type": "affine", "name": name, "input": towards_moving, "output": towards_fixed, "affine": rows}
    sampled = _field_of(part)
    assert sampled is not None
    where = f"{_FIELDS}/{name}"
    field = group.require_group(_FIELDS).create_group(name)
    # One axis more than space has, in front, with the component that belongs to each axis.
    values = np.ascontiguousarray(np.moveaxis(sampled.vectors, -1, 0))
    field.create_array("s0", data=values)
    axes = [{"name": "d", "type": "displacement", "discrete": True}, *_axes(sampled.ndim, unit)]
    scale = {"type": "scale", "scale": [1.0, *sampled.grid.spacing]}
    step: dict[str, Any] = {"input": {"path": "s0"}, "output": {"name": "physical"}}
    if any(sampled.grid.origin):
        shift = {"type": "translation", "translation": [0.0, *sampled.grid.origin]}
        step |= {"type": "sequence", "transformations": [scale, shift]}
    else:
        step |= scale
    image = {
        "name": name,
        "coordinateSystems": [{"name": "physical", "axes": axes}],
        "datasets": [{"path": "s0", "coordinateTransformations": [step]}],
    }
    field.attrs["ome"] = {"version": "0.6", "multiscales": [image]}
    ends = {"input": towards_fixed, "output": towards_moving}
    if isinstance(part, Inverted):
        ends = {"input": towards_moving, "output": towards_fixed}
    return {"type": "displacements", "name": name, **ends, "path": where, "interpolation": "linear"}


def _axes(ndim: int, unit: Unit) -> list[dict[str, str]]:
    stated = {"unit": "micrometer"} if unit == "micrometre" else {}
    return [{"name": axis, "type": "space", **stated} for axis in "zyx"[-ndim:]]


def attributes(folder: Path) -> Mapping[str, Any]:
    """The ``ome`` attributes of a Zarr group (version 3); empty where there are none.

    Raises
    ------
    ReadError
        If the folder is no Zarr group.
    """
    content = read_json(folder / "zarr.json", "a Zarr group of OME-NGFF")
    ome = content.get("attributes", {}) if isinstance(content, dict) else {}
    ome = ome.get("ome", {}) if isinstance(ome, dict) else {}
    return ome if isinstance(ome, dict) else {}


def _scene(root: Path) -> Mapping[str, Any]:
    scene = attributes(root).get("scene")
    lists = ("coordinateSystems", _FIELDS)
    if not isinstance(scene, dict) or not all(isinstance(scene.get(key, []), list) for key in lists):
        raise ReadError(f"A scene of OME-NGFF 0.6 was expected in {root}; there is none.")
    return scene


def _systems(root: Path, scene: Mapping[str, Any]) -> dict[Node, System]:
    """Every coordinate system that the scene declares or refers to, those of the scene first."""
    systems = {("", str(entry.get("name"))): system_of(entry, root) for entry in scene.get("coordinateSystems", [])}
    for edge in scene.get(_FIELDS, []):
        for side in ("input", "output"):
            end = edge.get(side) if isinstance(edge, dict) else None
            node = _node(end, root)
            if node not in systems:
                if not node[0]:
                    raise ReadError(
                        f"The scene of {root} refers to a coordinate system {node[1]!r} it does not declare."
                    )
                systems[node] = _image_system(root, node)
    if len(systems) < 2:
        raise ReadError(f"The scene of {root} joins no two coordinate systems.")
    return systems


def _node(end: Any, root: Path) -> Node:
    if not isinstance(end, dict) or not isinstance(end.get("name"), str):
        raise ReadError(f"Every transform of the scene in {root} needs an input and an output with a name.")
    path = end.get("path") or ""
    if not isinstance(path, str) or path.startswith("/") or "\\" in path or ".." in path.split("/"):
        raise ReadError(f"The scene in {root} refers to {path!r}, which is not a path inside it.")
    return path, end["name"]


def _image_system(root: Path, node: Node) -> System:
    """A coordinate system that an image of the scene declares."""
    images = attributes(root / node[0]).get("multiscales")
    listed = images[0].get("coordinateSystems", []) if isinstance(images, list) and images else []
    for entry in listed if isinstance(listed, list) else []:
        if isinstance(entry, dict) and entry.get("name") == node[1]:
            return system_of(entry, root / node[0])
    raise ReadError(f"The image {root / node[0]} declares no coordinate system {node[1]!r}.")


def _ends(edge: Any, root: Path) -> _Edge:
    return _Edge(_node(edge["input"], root), _node(edge["output"], root), edge)


def _moving(
    fixed: Node, systems: Mapping[Node, System], edges: list[_Edge], context: ExchangeContext, root: Path
) -> Node:
    """The moving system: the one chosen, or the only end of the graph that is not the fixed one itself."""
    if context.name is not None:
        chosen = [node for node in systems if context.name in node and node != fixed]
    else:
        same = {node for edge in edges if edge.content.get("type") == "identity" for node in (edge.start, edge.end)}
        same = same if fixed in same else set()
        count = {node: sum(node in (edge.start, edge.end) for edge in edges) for node in systems}
        chosen = [node for node in systems if node != fixed and node not in same and count[node] == 1]
    if len(chosen) != 1:
        known = ", ".join(_said(node) for node in systems if node != fixed)
        raise ReadError(f"One moving system of {root} was expected; choose one of {known} by its name.")
    return chosen[0]


def _said(node: Node) -> str:
    return node[1] if not node[0] else f"{node[0]} ({node[1]})"
