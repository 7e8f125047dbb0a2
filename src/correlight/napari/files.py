"""Files that napari opens and saves by the plug-in: images, result folders, and pairs of landmarks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from napari.utils.notifications import show_error
from napari.viewer import current_viewer

from correlight.errors import CorrelightError, ReadError, UsageError
from correlight.exchange import LandmarkTable, PointTable, read_file, read_transform, write_file
from correlight.exchange.formats import recognise
from correlight.geometry import Grid
from correlight.io import read
from correlight.io.maps import read_map
from correlight.napari.layer_data import LayerData, layer_data
from correlight.napari.layers import BORROWED, lengths
from correlight.napari.placing import units_of
from correlight.napari.result_view import ResultView, view_of
from correlight.napari.texts import LANDMARKS
from correlight.napari.written import write_found, write_outcome
from correlight.output.apply import read_saved
from correlight.output.section import flat
from correlight.output.target import reserve_files

Reader = Callable[[str | list[str]], list[LayerData]]

_RECORD = "result.json"
# How napari is told that a file was read and holds no layer.
_NOTHING: tuple[Any, ...] = ((None,),)


def image_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader of images with their pixel size and channels; None where there is nothing to read."""
    first = Path(path if isinstance(path, str) else path[0])
    return _each(_image) if first.exists() and not (first / _RECORD).is_file() else None


def result_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader of result folders; None for any other folder."""
    first = Path(path if isinstance(path, str) else path[0])
    return _each(_result) if (first / _RECORD).is_file() else None


def landmark_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader of pairs of landmarks and of points; None for files that hold something else."""
    first = Path(path if isinstance(path, str) else path[0])
    try:
        kinds = recognise(first).writes
    except (CorrelightError, OSError):
        return None
    return _each(_landmarks) if {"landmarks", "points"} & set(kinds) else None


def transform_reader(path: str | Sequence[str]) -> Reader | None:
    """A reader of transforms, which hold no layer and are chosen in the panel that applies them."""
    first = Path(path if isinstance(path, str) else path[0])
    if first.name != _RECORD and first.suffix.lower() != ".tfm":
        try:
            if "transform" not in recognise(first).writes:
                return None
            # Files of HDF5, tables and JSON hold much else.
            read_transform(first)
        except (CorrelightError, OSError):
            return None
    return _each(_transform) if first.is_file() else None


def _each(read_one: Callable[[Path], list[LayerData]]) -> Reader:
    def reader(path: str | list[str]) -> list[LayerData]:
        paths = [path] if isinstance(path, str) else path
        try:
            return [layer for one in paths for layer in read_one(Path(one))]
        except CorrelightError as error:
            if current_viewer() is None:
                raise
            # Whoever drops a file into a window is told what is wrong with it there.
            show_error(str(error))
            return list(_NOTHING)

    return reader


def _transform(path: Path) -> list[LayerData]:
    """Nothing to see: the transform is chosen in the panel."""
    viewer = current_viewer()
    if viewer is None:
        raise ReadError(f"{path} holds a transform, which is no layer; open it in a window of napari, or apply it.")
    _, panel = viewer.window.add_plugin_dock_widget("correlight", "Apply a transform")
    panel.take_file(path)
    return list(_NOTHING)


def _image(path: Path) -> list[LayerData]:
    return layer_data(read(path), path.name.partition(".")[0])


def _result(folder: Path) -> list[LayerData]:
    """The registered image with the predicted error over it; of a refused result there is no image."""
    saved = read_saved(folder)
    layers: list[LayerData] = []
    for name in ("registered.ome.tif", "registered.ome.zarr"):
        if (folder / name).exists():
            layers += layer_data(read(folder / name), f"{folder.name} registered")
    if saved.frames is not None and saved.frames.errors is not None:
        layers += _errors(saved.frames.errors, saved.frames.fixed, folder.name)
    if not layers:
        raise ReadError(f"The result in {folder} was refused and holds no image; open its report.html in a browser.")
    return layers


def _errors(path: Path, fixed: Grid, name: str) -> list[LayerData]:
    """The map of the predicted error; nothing where no error is known."""
    values = read_map(path)
    if not np.isfinite(values).any():
        return []
    plane = fixed if values.ndim == fixed.ndim else flat(fixed)
    grid = plane.resized(values.shape)
    options = {
        "name": f"{name} predicted error, {grid.frame.symbol}",
        "scale": grid.spacing,
        "translate": grid.origin,
        "units": units_of(grid),
        "colormap": "inferno",
        "opacity": 0.5,
        "blending": "translucent",
        "contrast_limits": (0.0, float(np.nanmax(values))),
    }
    return [(values, options, "image")]


def _landmarks(path: Path) -> list[LayerData]:
    content = read_file(path)
    if isinstance(content, PointTable):
        return [_points(content, path.stem, LANDMARKS["fixed"])]
    if not isinstance(content, LandmarkTable):
        return _transform(path)
    sides = ((content.fixed, "fixed"), (content.moving, "moving"))
    return [_points(side, f"{path.stem} {role}", LANDMARKS[role]) for side, role in sides]


def _points(table: PointTable, name: str, colour: str) -> LayerData:
    unit = "micrometer" if table.unit == "micrometre" else "pixel"
    options = {
        "name": name,
        "units": (unit,) * table.points.shape[1],
        "face_color": colour,
        "symbol": "cross",
        "features": {"name": list(table.names)},
        "text": {"string": "{name}", "color": colour},
    }
    return np.array(table.points), options, "points"


def write_pairs(path: str, layers: list[LayerData]) -> list[str]:
    """Write two Points layers as pairs of landmarks: the upper layer is the moving one.

    Parameters
    ----------
    path : str
        Its ending says the format: ``.csv`` (a table), ``.json`` (BigWarp), ``.xml`` (eC-CLEM).
    layers : list of layer data
        The fixed and the moving points.

    Raises
    ------
    UsageError
        If there are not two lists of as many points.
    WriteError
        If the file cannot be written.
    """
    if len(layers) != 2 or len(layers[0][0]) != len(layers[1][0]) or not len(layers[0][0]):
        counts = " and ".join(str(len(data)) for data, _, _ in layers)
        raise UsageError(f"Pairs are written from two layers of as many points, at least one; got {counts} points.")
    names = tuple(str(number + 1) for number in range(len(layers[0][0])))
    sides = []
    for data, options, _ in layers:
        places, borrowed = np.asarray(data, float), options.get("metadata", {}).get(BORROWED)
        factors = None if borrowed is not None else lengths(options.get("units", ("pixel",) * places.shape[1]))
        if factors is not None:
            places = (places * options.get("scale", 1.0) + np.asarray(options.get("translate", 0.0))) * factors
        # Points of a layer without a unit of length are pixels, whatever its scale.
        sides.append(PointTable(names, places, "pixel" if factors is None else "micrometre"))
    target = Path(path)
    with reserve_files(target, overwrite=True) as folder:
        write_file(folder / target.name, LandmarkTable(sides[0], sides[1]))
    return [path]


def write_transform(path: str, data: Any, options: dict[str, Any]) -> list[str]:
    """Write the transform by which a registered layer lies on the fixed one.

    Parameters
    ----------
    path : str
        Its ending says the format.
    data : array
        Pixels, which are not written.
    options : dict
        Of the layer.

    Raises
    ------
    UsageError
        If no result lies on the layer.
    TransformError, WriteError
        If the format cannot hold the transform, or the file cannot be written.
    """
    write_found(_shown([(data, options, "image")]).saved, Path(path))
    return [path]


def write_result_folder(path: str, layers: list[LayerData]) -> list[str]:
    """Write the result folder of registered layers, as Save of the panel does.

    Parameters
    ----------
    path : str
        A folder that does not exist yet.
    layers : list of layer data
        Of which at least one was registered.

    Raises
    ------
    UsageError, ReadError, WriteError
        If no result lies on the layers, or the folder cannot be written.
    """
    write_outcome(_shown(layers).outcome, Path(path), lambda stage, fraction: None)
    return [path]


def _shown(layers: Sequence[LayerData]) -> ResultView:
    for _, options, _ in layers:
        view = view_of(options.get("metadata", {}))
        if view is not None:
            return view
    raise UsageError("No result lies on these layers; register them first, and select the moving one.")
