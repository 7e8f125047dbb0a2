"""Small sound files of every kind that can be written here, by the libraries that write them elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import imagecodecs
import mrcfile
import numpy as np
import tifffile
import zarr

from tests.exchange.test_hostile import FILES
from tests.exchange.test_mutants import written
from tests.io.test_instruments import stk
from tests.vendor_files import CZI_METADATA, czi, dm, dm_image, lif

GREY = (np.add.outer(np.arange(48) * 5, np.arange(64) * 3) % 251).astype(np.uint8)
COLOURS = np.stack([GREY, GREY.T[:48, :48].repeat(2, 1)[:, :64], 255 - GREY], axis=-1)
DEEP = GREY.astype(np.uint16) * 257


def _mrc(path: Path) -> None:
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(DEEP.astype(np.float32))
        file.voxel_size = 10.0


def _fei(path: Path) -> None:
    records = np.zeros(1, mrcfile.dtypes.get_ext_header_dtype(b"FEI1", "<"))
    records["Pixel size X"] = records["Pixel size Y"] = 2e-9
    with mrcfile.new(path, overwrite=True) as file:
        file.set_data(DEEP.astype(np.int16))
        file.set_extended_header(records)
        file.header.exttyp = b"FEI1"


def _lif(path: Path) -> None:
    tiles = np.stack([DEEP[None, :40, left : left + 40] for left in (0, 20)])
    path.write_bytes(lif({"scan": (tiles, (0.5, 0.5), ["GFP"])}, [(0.0, 0.0), (0.0, 1e-5)]))


def _czi(path: Path) -> None:
    place = {"stage_x": 10.0, "stage_y": -4.5}
    path.write_bytes(czi([(DEEP, {"X": 40 * n, "C": c, **place}) for n in (0, 1) for c in (0, 1)], CZI_METADATA))


def _gatan(path: Path) -> None:
    tags: list[Any] = [(code, "s", 0, unit, True) for code, unit in ((65003, "nm"), (65004, "nm"), (65005, "s"))]
    tags += [(code, "d", 1, 4.0, True) for code in (65009, 65010, 65011)]
    tifffile.imwrite(path, np.stack([DEEP] * 3), photometric="minisblack", metadata=None, extratags=tags)


def _zarr(path: Path, version: Literal[2, 3]) -> None:
    group = zarr.open_group(str(path), mode="w", zarr_format=version)
    array = group.create_array("0", shape=(2, 48, 64), chunks=(1, 32, 32), dtype="uint8")
    array[...] = np.stack([GREY, 255 - GREY])
    step = {"type": "scale", "scale": [1.0, 0.2, 0.1]}
    axes = [{"name": "c", "type": "channel"}, *({"name": a, "type": "space", "unit": "micrometer"} for a in "yx")]
    image: dict[str, Any] = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": [step]}]}
    if version == 2:
        group.attrs["multiscales"] = [{**image, "version": "0.4"}]
    else:
        group.attrs["ome"] = {"version": "0.5", "multiscales": [image]}


IMAGES: dict[str, Callable[[Path], object]] = {
    "plain.tif": lambda path: tifffile.imwrite(path, GREY),
    "tiles.tif": lambda path: tifffile.imwrite(path, DEEP, tile=(16, 16), compression="zlib", predictor=True),
    "big.tif": lambda path: tifffile.imwrite(path, COLOURS, photometric="rgb", bigtiff=True, rowsperstrip=8),
    "imagej.tif": lambda path: tifffile.imwrite(
        path, np.stack([DEEP] * 3), imagej=True, resolution=(10, 10), metadata={"axes": "ZYX", "unit": "um"}
    ),
    "set.ome.tif": lambda path: tifffile.imwrite(
        path, np.stack([GREY, 255 - GREY]), ome=True, metadata={"axes": "CYX", "PhysicalSizeX": 0.1}
    ),
    "a.png": lambda path: path.write_bytes(imagecodecs.png_encode(COLOURS)),
    "a.jpg": lambda path: path.write_bytes(imagecodecs.jpeg_encode(COLOURS)),
    "a.npy": lambda path: np.save(path, DEEP),
    "a.mrc": _mrc,
    "fei.mrc": _fei,
    "tiles.lif": _lif,
    "tiles.czi": _czi,
    "a.dm3": lambda path: path.write_bytes(dm(3, [dm_image(np.stack([DEEP] * 3), (2.5, 8.0, 8.0), ("s", "nm", "nm"))])),
    "a.dm4": lambda path: path.write_bytes(dm(4, [dm_image(DEEP, (8.0, 8.0), "nm")])),
    "gatan.tif": _gatan,
    "stack.stk": lambda path: stk(path, 0.5),
    "two.zarr": lambda path: _zarr(path, 2),
    "three.zarr": lambda path: _zarr(path, 3),
}
TRANSFORMS = (*FILES, "project.xml", "affine.zarr")
NAMES = (*IMAGES, *(f"transform-{name}" for name in TRANSFORMS))


def write(name: str, folder: Path) -> Path:
    """Write the seed of a name into a folder of its own; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name.removeprefix("transform-")
    if name in IMAGES:
        IMAGES[name](path)
    else:
        written(path.name, path)
    return path
