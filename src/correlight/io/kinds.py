"""Which adapter reads a file, by its first bytes; adapters are imported when a file of their kind is met."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import cast

from correlight.errors import ReadError, UsageError
from correlight.io.axes import FIRST, Selection, choose_level, choose_scene, refuse_unknown, time_index
from correlight.io.content import Content
from correlight.io.fallback import bioio_is_installed
from correlight.parsing import open_regular

READABLE = (".tif", ".tiff", ".btf", ".lsm", ".stk", ".svs", ".png", ".jpg", ".jpeg", ".npy", ".zarr")
_MRC = (".mrc", ".mrcs", ".map", ".rec", ".st", ".ali")
VENDORS = (".czi", ".nd2", ".lif", *_MRC, ".dm3", ".dm4")  # most need the extra "formats"
_KINDS = {
    "TIFF": ("correlight.io.tiff", "read_tiff"),
    "PNG": ("correlight.io.picture", "read_png"),
    "JPEG": ("correlight.io.picture", "read_jpeg"),
    "NumPy": ("correlight.io.array", "read_npy"),
    "OME-Zarr": ("correlight.io.omezarr", "read_ome_zarr"),
    "CZI": ("correlight.io.czi", "read_czi"),
    "ND2": ("correlight.io.nikon", "read_nd2"),
    "LIF": ("correlight.io.lif", "read_lif"),
    "MRC": ("correlight.io.mrc", "read_mrc"),
    "DM": ("correlight.io.gatan", "read_dm"),
    "bioio": ("correlight.io.fallback", "read_bioio"),
}
_SINGLE = {"PNG", "JPEG"}  # kinds that hold one image and nothing to choose from
SIDECARS = {"TIFF", "PNG", "JPEG"}  # kinds of files beside which programs put XML and .mdoc files
_STARTS = (
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x93NUMPY", "NumPy"),
    (b"ZISRAWFILE", "CZI"),
    (b"\xda\xce\xbe\x0a", "ND2"),
    (b"\x70\x00\x00\x00", "LIF"),
    (b"\x00\x00\x00\x03", "DM"),
    (b"\x00\x00\x00\x04", "DM"),
)
_MRC_MARK = 208, b"MAP"
_ZARR = ("zarr.json", ".zattrs", ".zgroup")


def kind_of(path: Path) -> str:
    """Which adapter reads the file, by its first bytes; the name only says whether it means to be readable."""
    readable = ", ".join((*READABLE, *VENDORS))
    if path.is_dir():
        if any((path / name).is_file() for name in _ZARR):
            return "OME-Zarr"
        raise ReadError(f"Expected an image file, but {path} is a folder; name one file in it.")
    if not path.exists():
        raise ReadError(f"Expected an image file, but {path} does not exist; check the path.")
    if path.suffix.lower() not in (*READABLE, *VENDORS):
        if path.suffix and path.is_file() and bioio_is_installed():
            return "bioio"
        ending = f"ending {path.suffix!r}" if path.suffix else "no ending"
        raise ReadError(f"Cannot read {path}, which has {ending}; export the image as one of {readable}.")
    with open_regular(path, "an image file") as file:
        start = file.read(256)
    if not start:
        raise ReadError(f"Expected an image, but {path} is empty; copy or export it again.")
    place, mark = _MRC_MARK
    if path.suffix.lower() in _MRC and start[place : place + len(mark)] == mark:
        return "MRC"
    for magic, kind in _STARTS:
        if start.startswith(magic):
            return kind
    raise ReadError(f"Expected an image, but {path} does not begin like any of {readable}; export it again.")


def content_of(path: Path, kind: str, *, calibrate: bool, choice: Selection = FIRST) -> Content:
    """What the adapter of a kind of file makes of it.

    Raises
    ------
    ReadError
        If the file is damaged or does not fit into memory.
    UsageError
        If something is asked for that there is not.
    """
    name, function = _KINDS[kind]
    module = import_module(name)
    reader = cast(Callable[..., Content], getattr(module, function))
    # What a reader can choose by stands in its module; those that say nothing know scenes and frames.
    known = ("scene", "time") if kind in _SINGLE else getattr(module, "KNOWS", ("scene", "time"))
    refuse_unknown(path, choice, known)
    options = {} if kind in _SINGLE else {"choice": choice}
    if kind in _SINGLE:
        choose_scene(path, [path.stem], choice)
        choose_level(path, 1, choice)
        time_index(path, 1, choice)
    try:
        return reader(path, calibrate=calibrate, **options)
    except (ReadError, UsageError):
        raise
    except MemoryError as error:
        raise ReadError(f"The pixels of {path} do not fit into memory; crop or bin the image first.") from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ReadError(f"{path} is truncated or damaged ({kind}: {detail}); copy or export it again.") from error
