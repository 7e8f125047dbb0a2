"""Image files in and out: one adapter per format family.

Adapters are imported when a file of their kind is met. They return `Content`; `read` turns it into an `Image` with
a grid, a validity mask, and the provenance that a report states.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image, Mask, Pixels, default_channels
from correlight.images.pyramid import all_valid, factors_to, stays_on_disk, with_small_level
from correlight.images.validity import find_valid_channels
from correlight.images.validity.padding import percent
from correlight.io import content as limits
from correlight.io.axes import FIRST as WHOLE
from correlight.io.axes import Selection, choose_level, choose_scene, refuse_unknown, time_index
from correlight.io.content import Content
from correlight.io.door import Stamp, check_unchanged, measured, sha256_of, stamp
from correlight.io.fallback import bioio_is_installed
from correlight.io.sidecar import with_sidecar
from correlight.io.views import Held
from correlight.io.write import write_ome_tiff, write_tiff
from correlight.parsing import open_regular

__all__ = [
    "READABLE",
    "VENDORS",
    "WHOLE",
    "Selection",
    "read",
    "read_mask",
    "unchanged",
    "write_ome_tiff",
    "write_tiff",
]

READABLE = (".tif", ".tiff", ".btf", ".png", ".jpg", ".jpeg", ".npy", ".zarr")
VENDORS = (".czi", ".nd2", ".lif", ".mrc", ".map", ".rec", ".st", ".dm3", ".dm4")  # most need the extra "formats"
_ROWS = 1024  # of a large mask that are examined together
SMALLEST = 32  # pixels per side: below, no overlap carries enough evidence

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
_SIDECARS = {"TIFF", "PNG", "JPEG"}  # kinds of files beside which programs put XML and .mdoc files
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


def read(
    path: str | Path,
    *,
    spacing: float | Sequence[float] | None = None,
    scene: int | str | None = None,
    level: int = 0,
    time: int | None = None,
    series: int | None = None,
    view: int | str | None = None,
) -> Image:
    """Read an image with its pixel size, channel names and validity mask.

    Parameters
    ----------
    path : path
        TIFF (plain, ImageJ, OME, FEI/Thermo and Zeiss SEM), PNG, JPEG, NumPy ``.npy``, a folder of OME-Zarr 0.4 to 0.6,
        Gatan DM3 and DM4; with the extra ``formats`` also Zeiss CZI, Nikon ND2, Leica LIF and MRC, and with
        bioio whatever its plug-ins read.
    spacing : float or sequence of float, optional
        Micrometres per pixel of what is read, in array order, or one number for every axis; overrides what the file
        states.
    scene : int or str, optional
        Which of several images in a file, by 0-based number or name; without it the first, and a finding says so.
    level : int
        Level of a pyramid, 0 for full resolution. The smaller ones lie on grids of their own over the same field.
    time : int, optional
        Which frame of a time series, counted from 0; without it the first, and a finding says so.
    series : int, optional
        Which series of pages of one shape in a TIFF file, counted from 0; without it the first that is no preview,
        and a finding says so.
    view : int or str, optional
        Which view of a file that has several (an angle, a phase, an illumination), counted from 0; where there are
        several such axes, letters with numbers, "V=1,H=0".

    Returns
    -------
    Image
        Pixels of the file's own type, ``(C, Y, X)`` or ``(C, Z, Y, X)``. The grid is in micrometres if the file or
        the caller states a pixel size, in pixels otherwise; print resolutions (dpi) are never taken for one.
        ``source`` holds ``path``, ``sha256`` (of all files that belong together), ``files`` (a `Stamp` of each),
        ``spacing_source`` and ``reader``, and where they apply ``scene``, ``series``, ``level``, ``time``, ``view`` and
        ``stage_position`` (micrometres, array order, as the file states it).

    Raises
    ------
    ReadError
        If the file is missing, damaged, of an unknown kind, blank, smaller than 32 pixels per side, without finite
        values, states an impossible pixel size, or is changed while it is read; if it is no regular file.
    UsageError
        If ``spacing`` is not positive and finite, or does not fit the number of axes, or there is no such scene,
        series, level, frame or view.

    Notes
    -----
    Pixels of more than 64 MiB stay on disk where the file can be read in parts: TIFF in tiles, strips or uncompressed,
    OME-Zarr, MRC and ``.npy``. No file stays open. ``levels`` then ends with one of at most 2**24 pixels per channel
    that is in memory, made in one pass where the file has none; data bars and padding are sought on it. Anything else
    is decoded as a whole, 2 GiB at most, and otherwise treated alike. Planes that a file states and does not hold are
    no data. Of several files that belong together only those beside the given one are read.
    """
    path = Path(path)
    given = None if spacing is None else _given(spacing)
    choice = Selection(scene, level, time, series, view, None if given is None or len(given) == 1 else len(given))
    kind = _kind(path)
    before = measured(path)
    content = _content(path, kind, calibrate=given is None, choice=choice)
    if kind in _SIDECARS:
        content = with_sidecar(path, content, calibrate=given is None, section=choice.time or 0)
    if np.dtype(content.pixels.dtype).kind not in "uif":
        held = content.pixels.dtype
        raise ReadError(f"Expected real numbers as pixels, but {path} holds {held}; convert it first.")
    whole_pixels = content.pixels
    if isinstance(whole_pixels, np.ndarray) and whole_pixels.nbytes > limits.IN_MEMORY:
        whole_pixels = Held(whole_pixels)
    in_memory = isinstance(whole_pixels, np.ndarray)
    levels = (whole_pixels,) if in_memory else with_small_level((whole_pixels, *content.levels))
    pixels, small = levels[0], np.asarray(levels[-1])
    _check_pixels(path, pixels, small)
    ndim = len(pixels.shape) - 1
    if given is not None and len(given) not in (1, ndim):
        raise UsageError(f"The spacing of {path.name} needs 1 or {ndim} numbers; got {len(given)}.")
    claimed = given if given is not None else content.spacing
    grid, misplaced = _placed(pixels.shape[1:], claimed, content)
    if level:
        # The first pixel of a level is centred where the middle of those is that it was made of.
        factor = np.asarray(content.shrunk)
        shift = (factor - 1) / 2 * np.asarray(grid.spacing) / factor
        grid = replace(grid, origin=tuple((np.asarray(grid.origin) + shift).tolist()))
    mask, findings = _validity(path, content, small)
    whole = None if mask is None else mask if len(levels) == 1 else CoarseMask(mask, grid.shape)
    stamps = tuple(stamp(file) for file in dict.fromkeys((path, *content.files)))
    if measured(path) != before:
        raise ReadError(f"{path} was changed while it was read; read it again once nothing writes to it.")
    return Image(
        levels=levels,
        grid=grid,
        channels=content.channels or default_channels(pixels.shape[0], content.rgb),
        rgb=content.rgb,
        mask=whole,
        findings=(*content.findings, *misplaced, *findings),
        source={
            "path": str(path),
            "sha256": sha256_of(stamps),
            "files": stamps,
            "spacing_source": "given by the user" if given is not None else content.spacing_source,
            "reader": kind,
            **choice.stated,
            **({} if content.stage is None else {"stage_position": content.stage}),
        },
    )


def unchanged(image: Image) -> None:
    """Refuse to go on if a file that an image was read from is no longer what it was; ask before a result is kept.

    Parameters
    ----------
    image : Image
        As `read` gave it, or made from that.

    Raises
    ------
    ReadError
        If the size or the checksum of a file has changed, or it is gone; of an image that stays on disk, also if its
        time of change has.
    """
    stamps = image.source.get("files", ())
    check_unchanged([entry for entry in stamps if isinstance(entry, Stamp)], strictly=stays_on_disk(image))


def read_mask(path: str | Path, shape: Sequence[int]) -> Mask | CoarseMask:
    """Read a mask: every pixel that is not zero is valid.

    Parameters
    ----------
    path : path
        An image of any readable kind with one channel, or with colours, of which any may be non-zero.
    shape : sequence of int
        The shape that the image has, ``(Y, X)`` or ``(Z, Y, X)``.

    Returns
    -------
    array of bool, or CoarseMask
        Of the shape asked for; coarse where the file is too large for memory, and then valid only where every pixel of
        a block is.

    Raises
    ------
    ReadError
        If the file cannot be read, has another shape, or leaves no valid pixel.
    """
    path = Path(path)
    pixels = _content(path, _kind(path), calibrate=False, choice=Selection(ndim=len(shape))).pixels
    if pixels.shape[1:] != tuple(shape):
        raise ReadError(
            f"The mask {path} must have the shape of its image, {tuple(shape)}, but has {pixels.shape[1:]}; "
            "draw it on the image itself."
        )
    mask: Mask | CoarseMask
    if isinstance(pixels, np.ndarray) and pixels.nbytes > limits.IN_MEMORY:
        pixels = Held(pixels)
    if isinstance(pixels, np.ndarray):
        mask = _painted(pixels)
        empty = not mask.any()
    else:
        mask = _coarse(pixels)
        empty = not mask.small.any()
    if empty:
        raise ReadError(f"The mask {path} is zero everywhere, so no pixel could be used; paint valid pixels non-zero.")
    return mask


def _painted(pixels: NDArray[Any]) -> Mask:
    mask: Mask = (np.nan_to_num(pixels) != 0).any(axis=0)
    return mask


def _coarse(pixels: Pixels) -> CoarseMask:
    """A mask on disk at the size of a level, from a few rows at a time."""
    factors = factors_to(pixels.shape[1:])
    shape = tuple(-(-n // f) for n, f in zip(pixels.shape[1:], factors, strict=True))
    small = np.ones(shape, bool)
    step = max(1, _ROWS // factors[0])
    for top in range(0, shape[0], step):
        bottom = min(top + step, shape[0])
        rows = np.asarray(pixels[(slice(None), slice(top * factors[0], bottom * factors[0]))])
        small[top:bottom] = all_valid(_painted(rows), (bottom - top, *shape[1:]))
    return CoarseMask(small, tuple(pixels.shape[1:]))


def _given(spacing: float | Sequence[float]) -> tuple[float, ...]:
    values = tuple(float(value) for value in np.atleast_1d(np.asarray(spacing, float)))
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        raise UsageError(f"The pixel spacing must be positive and finite, in micrometres; got {spacing}.")
    return values


def _kind(path: Path) -> str:
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
    if path.suffix.lower() in (".mrc", ".map", ".rec", ".st") and start[place : place + len(mark)] == mark:
        return "MRC"
    for magic, kind in _STARTS:
        if start.startswith(magic):
            return kind
    raise ReadError(f"Expected an image, but {path} does not begin like any of {readable}; export it again.")


def _content(path: Path, kind: str, *, calibrate: bool, choice: Selection = WHOLE) -> Content:
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


def _check_pixels(path: Path, pixels: Pixels, small: NDArray[Any]) -> None:
    """Refuse what shows nothing, judged by a level that is in memory."""
    height, width = pixels.shape[-2:]
    if min(height, width) < SMALLEST:
        raise ReadError(
            f"Expected at least {SMALLEST} pixels per side, but {path} has {height} x {width}; use a larger image."
        )
    if small.dtype.kind == "f":
        finite = np.isfinite(small)
        if not finite.any():
            raise ReadError(f"Expected numbers, but {path} holds no finite value at all; check how it was exported.")
        low = np.min(small, axis=tuple(range(1, small.ndim)), where=finite, initial=np.inf)
        high = np.max(small, axis=tuple(range(1, small.ndim)), where=finite, initial=-np.inf)
    else:
        low = small.min(axis=tuple(range(1, small.ndim)))
        high = small.max(axis=tuple(range(1, small.ndim)))
    if not np.any(high > low):
        raise ReadError(f"Expected an image, but {path} is blank: every pixel is {low[0]}; choose another image.")


def _placed(shape: tuple[int, ...], spacing: Any, content: Content) -> tuple[Grid, tuple[str, ...]]:
    """The grid of an image, at the place that the file states, and what is not applied of that."""
    if spacing is None:
        grid = Grid.of(shape, 1.0, 0.0 if content.start is None else content.start)
        if content.origin is None or not any(content.origin):
            return grid, ()
        return grid, (f"an origin of {content.origin} µm is stated and not applied, as the pixel size is not known",)
    grid = Grid.of(shape, spacing, unit="micrometre")
    origin = content.origin
    if origin is None and content.start is not None:
        origin = tuple(float(n * size) for n, size in zip(content.start, grid.spacing, strict=True))
    return (grid if origin is None else replace(grid, origin=origin)), ()


def _validity(path: Path, content: Content, pixels: NDArray[Any]) -> tuple[Mask | None, tuple[str, ...]]:
    """The mask of valid pixels of a level, None where all are, and what was found."""
    findings: tuple[str, ...] = ()
    if pixels.ndim == 3:
        greys = [pixels.mean(axis=0, dtype=np.float32)] if content.rgb else list(pixels)
        validity = find_valid_channels(greys)
        mask, findings = validity.mask, validity.findings
        if not mask.any() and pixels.dtype.kind != "f":
            # Constant regions can be padding of a picture and not all of it: these are labels, or a drawing.
            mask, findings = np.ones(pixels.shape[1:], bool), ()
    else:
        mask = np.isfinite(pixels).all(axis=0) if pixels.dtype.kind == "f" else np.ones(pixels.shape[1:], bool)
    opaque = _opaque(content, pixels.shape[1:])
    if opaque is not None and not opaque.all():
        mask = mask & opaque
        findings = (*findings, "transparent pixels are ignored")
    if content.covered is not None and not content.covered.all():
        covered = content.covered if content.covered.shape == mask.shape else all_valid(content.covered, mask.shape)
        mask = mask & covered
        findings = (*findings, f"pixels that no tile covers, {percent(1 - float(covered.mean()))}, are ignored")
    if content.held is not None:
        held = np.broadcast_to(content.held[:, None, None], content.pixels.shape[1:])
        mask = mask & (held if held.shape == mask.shape else all_valid(held, mask.shape))
    if content.written is not None:
        mask = mask & _marked(content.written, mask.shape)
    if not mask.any():
        raise ReadError(f"No pixel of {path} is valid ({'; '.join(findings)}); check how it was exported.")
    return (None if mask.all() else mask), findings


def _opaque(content: Content, shape: Sequence[int]) -> Mask | None:
    """Where the pixels of a level are opaque; None without opacity."""
    opaque, full = content.opaque, tuple(content.pixels.shape[1:])
    if opaque is None:
        return None
    if isinstance(opaque, np.ndarray) and opaque.ndim == len(full):
        return opaque if opaque.shape == tuple(shape) else all_valid(opaque, shape)
    return _marked(opaque, shape)


def _marked(pixels: Pixels, shape: Sequence[int]) -> Mask:
    """Where the pixels of a level are made only of such as are not zero in another channel."""
    if pixels.shape[1:] == tuple(shape):
        return _painted(np.asarray(pixels[:, :, :]))
    return _coarse(pixels).resized(shape)
