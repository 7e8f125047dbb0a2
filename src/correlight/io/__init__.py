"""Image files in and out: one adapter per format family.

Adapters are imported when a file of their kind is met. They return `Content`; `read` turns it into an `Image` with
a grid, a validity mask, and the provenance that a report states.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError
from correlight.geometry import Grid, as_pixel_size
from correlight.images.image import CoarseMask, Image, Pixels, default_channels, told_apart
from correlight.images.pyramid import stays_on_disk, with_small_level
from correlight.io import content as limits
from correlight.io.axes import FIRST as WHOLE
from correlight.io.axes import Selection
from correlight.io.content import Content
from correlight.io.door import Stamp, check_unchanged, measured, sha256_of, stamp
from correlight.io.kinds import READABLE, SIDECARS, VENDORS, content_of, kind_of
from correlight.io.masks import read_mask, validity
from correlight.io.sidecar import with_sidecar
from correlight.io.views import Held
from correlight.io.write import write_ome_tiff, write_tiff

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

_FARTHEST = 1e9  # micrometres or pixels from the origin; a stage is never a kilometre away
SMALLEST = 32  # pixels per side: below, no overlap carries enough evidence


def read(
    path: str | Path,
    *,
    spacing: float | Sequence[float] | None = None,
    scene: int | str | None = None,
    level: int = 0,
    time: int | None = None,
    series: int | None = None,
    view: int | str | None = None,
    blank: bool = False,
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
        Which frame of a time series, or which page of a TIFF file that does not state what its pages are, counted from
        0; without it the first, and a finding says so.
    series : int, optional
        Which series of pages of one shape in a TIFF file, counted from 0; without it the first that is no preview,
        and a finding says so.
    view : int or str, optional
        Which view of a file that has several (an angle, a phase, an illumination), counted from 0; where there are
        several such axes, letters with numbers, "V=1,H=0".
    blank : bool
        Whether an image is taken of which every pixel is the same, as a label image without labels is; a finding says
        so.

    Returns
    -------
    Image
        Pixels of the file's own type, ``(C, Y, X)`` or ``(C, Z, Y, X)``. The grid is in micrometres if the file or
        the caller states a pixel size, in pixels otherwise; print resolutions (dpi) are never taken for one.
        ``source`` holds ``path``, ``sha256`` (of all files that belong together), ``files`` (a `Stamp` of each),
        ``spacing_source`` and ``reader``, and where they apply ``scene``, ``series``, ``level``, ``time``, ``view``,
        ``stage_position`` (micrometres, array order, as the file states it) and ``tilt`` (a `Tilt` of the specimen that
        the pixel sizes are not corrected for).

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
    if not isinstance(path, str | os.PathLike):
        raise UsageError(f"The name of an image file was expected; got {type(path).__name__}.")
    path = Path(path)
    given = None if spacing is None else _given(spacing)
    choice = Selection(scene, level, time, series, view, None if given is None or len(given) == 1 else len(given))
    kind = kind_of(path)
    before = measured(path)
    content = content_of(path, kind, calibrate=given is None, choice=choice)
    if kind in SIDECARS:
        content = with_sidecar(path, content, calibrate=given is None, section=choice.time or 0, texts=kind != "TIFF")
    if np.dtype(content.pixels.dtype).kind not in "uif":
        held = content.pixels.dtype
        raise ReadError(f"Expected real numbers as pixels, but {path} holds {held}; convert it first.")
    whole_pixels = content.pixels
    if isinstance(whole_pixels, np.ndarray) and whole_pixels.nbytes > limits.IN_MEMORY:
        whole_pixels = Held(whole_pixels)
    in_memory = isinstance(whole_pixels, np.ndarray)
    levels = (whole_pixels,) if in_memory else with_small_level((whole_pixels, *content.levels))
    pixels, small = levels[0], np.asarray(levels[-1])
    same = _check_pixels(path, pixels, small)
    if same is not None and not blank:
        raise ReadError(f"Expected an image, but {path} is blank: every pixel is {same}; choose another image.")
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
    mask, findings = validity(path, content, small) if same is None else (None, (f"every pixel is {same}",))
    named = content.channels or default_channels(pixels.shape[0], content.rgb)
    channels = told_apart(named)
    if channels != named:
        findings = (*findings, f"several channels have one name and are called {', '.join(channels)} here")
    whole = None if mask is None else mask if len(levels) == 1 else CoarseMask(mask, grid.shape)
    stamps = tuple(stamp(file) for file in dict.fromkeys((path, *content.files)))
    if measured(path) != before:
        raise ReadError(f"{path} was changed while it was read; read it again once nothing writes to it.")
    return Image(
        levels=levels,
        grid=grid,
        channels=channels,
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
            **({} if content.tilt is None else {"tilt": content.tilt}),
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


def _given(spacing: float | Sequence[float]) -> tuple[float, ...]:
    return tuple(np.atleast_1d(as_pixel_size(spacing)).ravel().tolist())


def _check_pixels(path: Path, pixels: Pixels, small: NDArray[Any]) -> Any:
    """Refuse what is no image, judged by a level that is in memory; of a blank one, what every pixel is."""
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
    return None if np.any(high > low) else low[0]


def _placed(shape: tuple[int, ...], spacing: Any, content: Content) -> tuple[Grid, tuple[str, ...]]:
    """The grid of an image, at the place that the file states, and what is not applied of that."""
    grid = Grid.of(shape, 1.0) if spacing is None else Grid.of(shape, spacing, unit="micrometre")
    origin, start, said = content.origin, content.start, tuple[str, ...]()
    if origin is not None and not _is_a_place(origin):
        said = (f"stated, not understood: a first pixel at {_words(origin)} µm",)
        origin = None
    if start is not None and not _is_a_place(start):
        said = (*said, f"stated, not understood: a first pixel at {_words(start)} pixels")
        start = None
    if spacing is None:
        if origin is not None and any(origin):
            words = f"an origin of {origin} µm is stated and not applied, as the pixel size is not known"
            said = (*said, words)
        return (grid if start is None else replace(grid, origin=start)), said
    if origin is None and start is not None:
        origin = tuple(float(n * size) for n, size in zip(start, grid.spacing, strict=True))
    return (grid if origin is None else replace(grid, origin=origin)), said


def _is_a_place(values: Sequence[float]) -> bool:
    return all(math.isfinite(value) and abs(value) <= _FARTHEST for value in values)


def _words(values: Sequence[float]) -> str:
    return ", ".join(f"{value:.6g}" for value in values)
