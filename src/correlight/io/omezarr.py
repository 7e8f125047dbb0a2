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
import zarr

from correlight.errors import ReadError
from correlight.geometry import level_factor
from correlight.images.image import Pixels
from correlight.io import calibration
from correlight.io.axes import FIRST, Choice, choose_level, choose_scene, in_order, index_of
from correlight.io.content import NOT_STATED, ON_DISK, Content, check_size, large
from correlight.io.ondisk import SEGMENT, left_on_disk
from correlight.parsing import read_json

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
    root, image, findings = _image(path, choice)
    datasets = image.get("datasets")
    if not isinstance(datasets, list) or not datasets:
        raise ReadError(f"Expected datasets of a pyramid, but {root} lists none; export it again.")
    dataset = datasets[choose_level(path, len(datasets), choice)]
    array = _array(root, dataset)
    axes, units = _axes(root, image, array.ndim)
    index, said = index_of(path, axes, array.shape, choice)
    shape = tuple(count for count, part in zip(array.shape, index, strict=True) if isinstance(part, slice))
    kept = "".join(axis for axis, part in zip(axes, index, strict=True) if isinstance(part, slice))
    pixels: Pixels
    levels: tuple[Pixels, ...] = ()
    if large(shape, array.dtype.itemsize) and math.prod(array.chunks) * array.dtype.itemsize <= SEGMENT:
        check_size(path, shape, array.dtype.itemsize, ON_DISK)
        pixels = left_on_disk(path, array, index, kept)
        levels = tuple(
            left_on_disk(path, smaller, index, kept)
            for smaller in (_array(root, entry) for entry in datasets[choice.level + 1 :])
            if smaller.ndim == array.ndim and math.prod(smaller.chunks) * smaller.dtype.itemsize <= SEGMENT
        )
    else:
        check_size(path, shape, array.dtype.itemsize)
        check_size(path, array.chunks, array.dtype.itemsize)
        pixels = in_order(path, kept, np.asarray(array[index]))
    spatial = "ZYX"[-(len(pixels.shape) - 1) :]
    full = _array(root, datasets[0]).shape
    shrunk = tuple(level_factor(full[axes.index(axis)], array.shape[axes.index(axis)]) for axis in spatial)
    spacing = _spacing(path, image, dataset, axes, units, spatial) if calibrate else None
    return Content(
        pixels,
        channels=_channels(root, pixels.shape[0]),
        spacing=spacing,
        spacing_source=NOT_STATED if spacing is None else "OME-Zarr",
        findings=(*findings, *said),
        shrunk=shrunk,
        levels=levels,
    )


def _attributes(folder: Path) -> Mapping[str, Any]:
    """The OME metadata of a Zarr group of any version."""
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
    attributes, root = _attributes(path), path
    if "multiscales" in attributes:
        _, findings = choose_scene(path, [path.stem], choice)
    else:
        numbered = [folder for folder in path.iterdir() if folder.is_dir() and _attributes(folder).get("multiscales")]
        names = sorted((folder.name for folder in numbered), key=lambda name: (len(name), name))
        if not names:
            raise ReadError(f"Expected an image of OME-Zarr, but {path} holds none; name the folder of one image.")
        number, findings = choose_scene(path, names, choice)
        root = path / names[number]
        attributes = _attributes(root)
    images = attributes["multiscales"]
    if not isinstance(images, list) or not images or not isinstance(images[0], dict):
        raise ReadError(f"Expected the description of a pyramid, but {root} holds none; export it again.")
    return root, images[0], findings


def _array(root: Path, dataset: Any) -> Any:
    name = dataset.get("path") if isinstance(dataset, dict) else None
    if not isinstance(name, str) or name.startswith("/") or "\\" in name or ".." in name.split("/"):
        raise ReadError(f"Expected the path of a dataset inside it, but {root} refers to {str(name)[:60]!r}.")
    try:
        return zarr.open_array(str(root / name), mode="r")
    except Exception as error:  # zarr raises whatever a damaged store leads it to
        detail = " ".join(str(error).split())[:200]
        raise ReadError(f"The pixels in {root / name} cannot be opened ({detail}); copy the store again.") from error


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


def _spacing(
    path: Path, image: Mapping[str, Any], dataset: Mapping[str, Any], axes: str, units: Mapping[str, str], spatial: str
) -> tuple[float, ...] | None:
    """Micrometres per pixel of the level; None where a unit of space is missing."""
    scale = np.ones(len(axes))
    stated = False
    for source in (dataset, image):
        for step in source.get("coordinateTransformations", []):
            parts = step.get("transformations", []) if step.get("type") == "sequence" else [step]
            for part in parts:
                if part.get("type") == "scale":
                    factors = np.array(part["scale"], float)
                    if factors.shape != scale.shape:
                        raise ReadError(f"Expected one scale for each of {len(axes)} axes in {path}; export it again.")
                    scale = scale * factors
                    stated = True
    lengths = [calibration.unit_length(_UNITS.get(units.get(axis, ""), units.get(axis, ""))) for axis in spatial]
    if not stated or any(length is None for length in lengths):
        return None
    sizes = [float(scale[axes.index(axis)]) * (length or 1.0) for axis, length in zip(spatial, lengths, strict=True)]
    return calibration.checked(path, sizes, "metadata of OME-Zarr")


def _channels(root: Path, count: int) -> tuple[str, ...]:
    """The labels that the rendering settings give the channels; empty unless each has one of its own."""
    omero = _attributes(root).get("omero")
    listed = omero.get("channels") if isinstance(omero, dict) else None
    names = [str(entry.get("label", "")) for entry in listed if isinstance(entry, dict)] if listed else []
    return tuple(names) if len(names) == count == len(set(names)) and all(names) else ()
