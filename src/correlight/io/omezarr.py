"""OME-Zarr 0.4, 0.5 and 0.6 through zarr.

Version 0.4 keeps its metadata in ``.zattrs``, later ones in ``zarr.json``; from 0.6 on axes stand in named coordinate
systems. A folder of several images (the layout of bioformats2raw) has them in groups that are called 0, 1 and so on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.geometry import level_factor
from correlight.images.image import Pixels
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order
from correlight.io.content import NOT_STATED, ON_DISK, Content, check_size, large
from correlight.io.further import index_with_views
from correlight.io.ondisk import SEGMENT, left_on_disk
from correlight.io.views import chosen
from correlight.io.zarr_presence import look_at_chunks
from correlight.io.zarr_store import Layout, check_inside, check_store, open_array
from correlight.parsing import read_json, resolved

KNOWS = ("scene", "time", "view")  # what can be chosen
_UNITS = {"angstrom": "Å"}


def read_ome_zarr(path: Path, *, calibrate: bool = True, choice: Choice = FIRST) -> Content:
    """Read one level of one image of an OME-Zarr store.

    Parameters
    ----------
    path : Path
        The folder.
    calibrate : bool
        Whether to read the pixel size; without, an impossible one does no harm.
    choice : Choice
        Scene, level and frame.
    """
    check_store(path)
    root, image, findings = _image(path, choice)
    datasets = image.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise ReadError(f"Expected datasets of a pyramid, but {root} lists none; export it again.")
    dataset = datasets[choose_level(path, len(datasets), choice)]
    array, layout = _array(path, root, dataset)
    axes, units = _axes(root, image, array.ndim)
    index, said = index_with_views(path, axes, array.shape, choice)
    shape = tuple(count for count, part in zip(array.shape, index, strict=True) if isinstance(part, slice))
    check_size(path, shape, array.dtype.itemsize, ON_DISK)
    presence = look_at_chunks(path, root / dataset["path"], layout, axes, index)
    pixels, levels = _pixels(path, root, datasets, array, axes, index, choice)
    spatial = "ZYX"[-(len(pixels.shape) - 1) :]
    full = _array(path, root, datasets[0])[0].shape
    shrunk = tuple(level_factor(full[axes.index(axis)], array.shape[axes.index(axis)]) for axis in spatial)
    scale, _, odd = _placement(path, image, dataset, axes)
    spacing = _spacing(path, scale, axes, units, spatial) if calibrate else None
    whole, shift, _ = _placement(path, image, datasets[0], axes)
    names = _channels(root, pixels.shape[0])
    kept = presence.channels
    if kept is not None:
        pixels, levels = chosen(pixels, kept), tuple(chosen(level, kept) for level in levels)
        names = tuple(names[number] for number in kept) if names else ()
    return Content(
        pixels,
        channels=names,
        spacing=spacing,
        spacing_source=NOT_STATED if spacing is None else "OME-Zarr",
        findings=(*findings, *said, *odd, *presence.findings, *_unknown_units(scale, axes, units, spatial)),
        shrunk=shrunk,
        levels=levels,
        held=presence.slices,
        origin=_origin(shift, axes, units, spatial),
        start=_start(whole, shift, axes, spatial),
    )


def _pixels(
    path: Path, root: Path, datasets: list[Any], array: Any, axes: str, index: tuple[Any, ...], choice: Choice
) -> tuple[Pixels, tuple[Pixels, ...]]:
    """The pixels, on disk where they are large, and then the smaller levels."""
    shape = tuple(count for count, part in zip(array.shape, index, strict=True) if isinstance(part, slice))
    kept = "".join(axis for axis, part in zip(axes, index, strict=True) if isinstance(part, slice))
    if not large(shape, array.dtype.itemsize) or math.prod(array.chunks) * array.dtype.itemsize > SEGMENT:
        check_size(path, shape, array.dtype.itemsize)
        check_size(path, array.chunks, array.dtype.itemsize)
        return in_order(path, kept, np.asarray(array[index])), ()
    smaller = [_array(path, root, entry)[0] for entry in datasets[choice.level + 1 :]]
    levels = tuple(
        left_on_disk(path, level, index, kept)
        for level in smaller
        if level.ndim == array.ndim and math.prod(level.chunks) * level.dtype.itemsize <= SEGMENT
    )
    return left_on_disk(path, array, index, kept), levels


def _attributes(home: Path, folder: Path) -> Mapping[str, Any]:
    """The OME metadata of a Zarr group of any version."""
    for name in ("zarr.json", ".zattrs"):
        if (folder / name).is_file():
            check_inside(home, folder / name)
    if (folder / "zarr.json").is_file():
        content = read_json(folder / "zarr.json", "a Zarr group")
        attributes = content.get("attributes", {}) if isinstance(content, dict) else {}
        found = attributes.get("ome", {}) if isinstance(attributes, dict) else {}
    elif (folder / ".zattrs").is_file():
        found = read_json(folder / ".zattrs", "the attributes of a Zarr group")
    else:
        found = {}
    return found if isinstance(found, dict) else {}


def _image(path: Path, choice: Choice) -> tuple[Path, Mapping[str, Any], tuple[str, ...]]:
    """The folder of the image asked for and its metadata."""
    home = resolved(path)
    attributes, root = _attributes(home, path), path
    number = 0
    if "multiscales" in attributes:
        number, findings = choose_scene(path, _several(attributes["multiscales"]) or [path.stem], choice)
    else:
        numbered = [
            folder for folder in path.iterdir() if folder.is_dir() and _attributes(home, folder).get("multiscales")
        ]
        names = sorted((folder.name for folder in numbered), key=lambda name: (len(name), name))
        if not names:
            raise ReadError(f"Expected an image of OME-Zarr, but {path} holds none; name the folder of one image.")
        place, findings = choose_scene(path, names, choice)
        root = path / names[place]
        attributes = _attributes(home, root)
        several = _several(attributes["multiscales"])
        if several:
            said = f"the file holds {len(several)} images in {root.name}, {', '.join(several)[:200]}; the first is read"
            findings = (*findings, said)
    images = attributes["multiscales"]
    if not isinstance(images, list) or not images or not isinstance(images[number], dict):
        raise ReadError(f"Expected the description of a pyramid, but {root} holds none; export it again.")
    return root, images[number], findings


def _several(images: Any) -> list[str]:
    """Names of the images that one group describes, if there is more than one."""
    if not isinstance(images, list) or len(images) < 2:
        return []
    names = [str(image.get("name") or "") if isinstance(image, dict) else "" for image in images]
    unlike = all(names) and len(set(names)) == len(names)
    return names if unlike else [str(number) for number in range(len(names))]


def _array(path: Path, root: Path, dataset: Any) -> tuple[Any, Layout]:
    name = dataset.get("path") if isinstance(dataset, dict) else None
    if not isinstance(name, str) or name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise ReadError(f"Expected the path of a dataset inside it, but {root} refers to {str(name)[:60]!r}.")
    return open_array(path, root / name)


def _axes(root: Path, image: Mapping[str, Any], ndim: int) -> tuple[str, dict[str, str]]:
    """A letter for each axis, and the units of those of space."""
    systems = image.get("coordinateSystems")
    listed = systems[-1].get("axes") if isinstance(systems, list) and systems else image.get("axes")
    if listed is None:
        return "TCZYX"[-ndim:], {}  # before 0.3 the axes were always these
    entries = [axis if isinstance(axis, dict) else {"name": str(axis)} for axis in listed]
    letters = "".join(str(axis.get("name", "?"))[:1].upper() for axis in entries)
    if len(letters) != ndim:
        raise ReadError(f"Expected {ndim} axes, but {root} describes {len(letters)}; export it again.")
    return letters, {letter: str(axis.get("unit", "")) for letter, axis in zip(letters, entries, strict=True)}


def _placement(
    path: Path, image: Mapping[str, Any], dataset: Any, axes: str
) -> tuple[NDArray[np.float64] | None, NDArray[np.float64], tuple[str, ...]]:
    """Scale of each axis (None where it is not stated), shift of each, and what is not understood.

    The steps of the dataset come first, those of the whole image after them.
    """
    scale, shift, stated = np.ones(len(axes)), np.zeros(len(axes)), False
    odd = []
    for source in (dataset, image):
        listed = source.get("coordinateTransformations", []) if isinstance(source, Mapping) else []
        for step in listed if isinstance(listed, list) else []:
            parts = step.get("transformations", []) if step.get("type") == "sequence" else [step]
            for part in parts:
                kind = str(part.get("type"))
                if kind in ("scale", "translation"):
                    numbers = _numbers(path, part.get(kind), len(axes), kind)
                    scale, shift = (scale * numbers, shift * numbers) if kind == "scale" else (scale, shift + numbers)
                    stated = stated or kind == "scale"
                elif kind != "identity":
                    odd.append(f"stated, not understood: a coordinate transformation of the type {kind[:40]!r}")
    return (scale if stated else None), shift, tuple(dict.fromkeys(odd))


def _numbers(path: Path, listed: Any, count: int, kind: str) -> NDArray[np.float64]:
    values = [calibration.number(value) for value in listed] if isinstance(listed, list) else []
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise ReadError(f"Expected one {kind} for each of {count} axes in {path}; export it again.")
    return np.array(values)


def _lengths(axes: str, units: Mapping[str, str], spatial: str) -> list[float | None]:
    """Micrometres of the unit of each axis; None where it is not understood."""
    return [calibration.unit_length(_UNITS.get(units.get(axis, ""), units.get(axis, ""))) for axis in spatial]


def _spacing(
    path: Path, scale: NDArray[np.float64] | None, axes: str, units: Mapping[str, str], spatial: str
) -> tuple[float, ...] | None:
    """Micrometres per pixel of the level; None where a unit of space is missing."""
    lengths = _lengths(axes, units, spatial)
    if scale is None or any(length is None for length in lengths):
        return None
    sizes = [float(scale[axes.index(axis)]) * (length or 1.0) for axis, length in zip(spatial, lengths, strict=True)]
    return calibration.checked(path, sizes, "metadata of OME-Zarr")


def _unknown_units(
    scale: NDArray[np.float64] | None, axes: str, units: Mapping[str, str], spatial: str
) -> tuple[str, ...]:
    """Scales in units that are no known length, or in none; nothing where the file counts pixels."""
    said = []
    for axis, length in zip(spatial, _lengths(axes, units, spatial), strict=True):
        unit = units.get(axis, "").strip()
        if scale is None or length is not None or unit.lower() in ("pixel", "pixels", "px"):
            continue
        size = scale[axes.index(axis)]
        if unit or size != 1:
            said.append(f"stated, not understood: {size:g} {unit[:40] or 'of no unit'} per pixel along {axis.lower()}")
    return tuple(said)


def _origin(shift: NDArray[np.float64], axes: str, units: Mapping[str, str], spatial: str) -> tuple[float, ...] | None:
    """Where the first pixel of the full resolution lies, micrometres; None where that is the origin or has no unit."""
    lengths = _lengths(axes, units, spatial)
    if any(length is None for length in lengths) or not any(shift[axes.index(axis)] for axis in spatial):
        return None
    return tuple(
        float(shift[axes.index(axis)]) * (length or 1.0) for axis, length in zip(spatial, lengths, strict=True)
    )


def _start(
    scale: NDArray[np.float64] | None, shift: NDArray[np.float64], axes: str, spatial: str
) -> tuple[float, ...] | None:
    """The same in pixels of the full resolution, which needs no unit."""
    sizes = np.ones(len(axes)) if scale is None else scale
    places = [axes.index(axis) for axis in spatial]
    return tuple((shift[places] / sizes[places]).tolist()) if shift[places].any() and sizes[places].all() else None


def _channels(root: Path, count: int) -> tuple[str, ...]:
    """The labels that the rendering settings give the channels; empty unless each has one of its own."""
    omero = _attributes(resolved(root), root).get("omero")
    listed = omero.get("channels") if isinstance(omero, dict) else None
    names = [str(entry.get("label", "")) for entry in listed if isinstance(entry, dict)] if listed else []
    return tuple(names) if len(names) == count == len(set(names)) and all(names) else ()
