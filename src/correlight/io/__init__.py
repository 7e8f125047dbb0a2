"""Image files in and out: one adapter per format family.

Adapters are imported when a file of their kind is met. They return `Content`; `read` turns it into an `Image` with
a grid, a validity mask, and the provenance that a report states.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError
from correlight.geometry import Grid
from correlight.image import Image, Mask, default_channels
from correlight.io.content import Content
from correlight.io.write import write_ome_tiff, write_tiff
from correlight.validity import find_valid_channels

__all__ = ["READABLE", "read", "read_mask", "write_ome_tiff", "write_tiff"]

READABLE = (".tif", ".tiff", ".btf", ".png", ".jpg", ".jpeg", ".npy")
SMALLEST = 32  # pixels per side: below, no overlap carries enough evidence

_KINDS = {
    "TIFF": ("correlight.io.tiff", "read_tiff"),
    "PNG": ("correlight.io.picture", "read_png"),
    "JPEG": ("correlight.io.picture", "read_jpeg"),
    "NumPy": ("correlight.io.array", "read_npy"),
}
_STARTS = (
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x93NUMPY", "NumPy"),
)


def read(path: str | Path, *, spacing: float | Sequence[float] | None = None) -> Image:
    """Read an image with its pixel size, channel names and validity mask.

    Parameters
    ----------
    path : path
        TIFF (plain, ImageJ, OME, FEI/Thermo and Zeiss SEM), PNG, JPEG or NumPy ``.npy``.
    spacing : float or sequence of float, optional
        Micrometres per pixel in array order, or one number for every axis; overrides what the file states.

    Returns
    -------
    Image
        Pixels of the file's own type, ``(C, Y, X)`` or ``(C, Z, Y, X)``. The grid is in micrometres if the file or
        the caller states a pixel size, in pixels otherwise; print resolutions (dpi) are never taken for one.
        ``source`` holds ``path``, ``sha256``, ``spacing_source`` and ``reader``.

    Raises
    ------
    ReadError
        If the file is missing, damaged, of an unknown kind, blank, smaller than 32 pixels per side, without finite
        values, or states an impossible pixel size.
    UsageError
        If ``spacing`` is not positive and finite, or does not fit the number of axes.

    Notes
    -----
    Pixels are read into memory, 4 GiB at most. Of a time series the first frame is read; `Image.findings` says so.
    """
    path = Path(path)
    given = None if spacing is None else _given(spacing)
    kind = _kind(path)
    content = _content(path, kind, calibrate=given is None)
    pixels = content.pixels
    _check_pixels(path, pixels)
    ndim = pixels.ndim - 1
    if given is not None and len(given) not in (1, ndim):
        raise UsageError(f"The spacing of {path.name} needs 1 or {ndim} numbers; got {len(given)}.")
    claimed = given if given is not None else content.spacing
    grid = Grid.of(pixels.shape[1:], 1.0) if claimed is None else Grid.of(pixels.shape[1:], claimed, unit="micrometre")
    mask, findings = _validity(path, content)
    return Image(
        levels=(pixels,),
        grid=grid,
        channels=content.channels or default_channels(pixels.shape[0], content.rgb),
        rgb=content.rgb,
        mask=mask,
        findings=(*content.findings, *findings),
        source={
            "path": str(path),
            "sha256": _sha256(path),
            "spacing_source": "given by the user" if given is not None else content.spacing_source,
            "reader": kind,
        },
    )


def read_mask(path: str | Path, shape: Sequence[int]) -> Mask:
    """Read a mask: every pixel that is not zero is valid.

    Parameters
    ----------
    path : path
        A picture of any readable kind with one channel, or with colours, of which any may be non-zero.
    shape : sequence of int
        The shape that the image has, ``(Y, X)`` or ``(Z, Y, X)``.

    Returns
    -------
    array of bool
        Of the shape asked for.

    Raises
    ------
    ReadError
        If the file cannot be read, has another shape, or leaves no valid pixel.
    """
    path = Path(path)
    pixels = _content(path, _kind(path), calibrate=False).pixels
    if pixels.shape[1:] != tuple(shape):
        raise ReadError(
            f"The mask {path} must have the shape of its image, {tuple(shape)}, but has {pixels.shape[1:]}; "
            "draw it on the image itself."
        )
    mask: Mask = (np.nan_to_num(pixels) != 0).any(axis=0)
    if not mask.any():
        raise ReadError(f"The mask {path} is zero everywhere, so no pixel could be used; paint valid pixels non-zero.")
    return mask


def _given(spacing: float | Sequence[float]) -> tuple[float, ...]:
    values = tuple(float(value) for value in np.atleast_1d(np.asarray(spacing, float)))
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        raise UsageError(f"The pixel spacing must be positive and finite, in micrometres; got {spacing}.")
    return values


def _kind(path: Path) -> str:
    """Which adapter reads the file, by its first bytes; the name only says whether it means to be readable."""
    readable = ", ".join(READABLE)
    if path.is_dir():
        raise ReadError(f"Expected an image file, but {path} is a folder; name one file in it.")
    if not path.exists():
        raise ReadError(f"Expected an image file, but {path} does not exist; check the path.")
    if path.suffix.lower() not in READABLE:
        ending = f"ending {path.suffix!r}" if path.suffix else "no ending"
        raise ReadError(f"Cannot read {path}, which has {ending}; export the image as one of {readable}.")
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except OSError as error:
        raise ReadError(f"Cannot open {path}: {error.strerror or error}; check its permissions.") from error
    if not start:
        raise ReadError(f"Expected an image, but {path} is empty; copy or export it again.")
    for magic, kind in _STARTS:
        if start.startswith(magic):
            return kind
    raise ReadError(f"Expected an image, but {path} does not begin like any of {readable}; export it again.")


def _content(path: Path, kind: str, *, calibrate: bool) -> Content:
    module, name = _KINDS[kind]
    reader = cast(Callable[..., Content], getattr(import_module(module), name))
    try:
        return reader(path, calibrate=calibrate)
    except ReadError:
        raise
    except MemoryError as error:
        raise ReadError(f"The pixels of {path} do not fit into memory; crop or bin the image first.") from error
    except Exception as error:  # decoders raise whatever a damaged file leads them to
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ReadError(f"{path} is truncated or damaged ({kind}: {detail}); copy or export it again.") from error


def _check_pixels(path: Path, pixels: NDArray[Any]) -> None:
    if pixels.dtype.kind not in "uif":
        raise ReadError(f"Expected real numbers as pixels, but {path} holds {pixels.dtype}; convert it first.")
    height, width = pixels.shape[-2:]
    if min(height, width) < SMALLEST:
        raise ReadError(
            f"Expected at least {SMALLEST} pixels per side, but {path} has {height} x {width}; use a larger image."
        )
    if pixels.dtype.kind == "f":
        finite = np.isfinite(pixels)
        if not finite.any():
            raise ReadError(f"Expected numbers, but {path} holds no finite value at all; check how it was exported.")
        low = np.min(pixels, axis=tuple(range(1, pixels.ndim)), where=finite, initial=np.inf)
        high = np.max(pixels, axis=tuple(range(1, pixels.ndim)), where=finite, initial=-np.inf)
    else:
        low = pixels.min(axis=tuple(range(1, pixels.ndim)))
        high = pixels.max(axis=tuple(range(1, pixels.ndim)))
    if not np.any(high > low):
        raise ReadError(f"Expected a picture, but {path} is blank: every pixel is {low[0]}; choose another image.")


def _validity(path: Path, content: Content) -> tuple[Mask | None, tuple[str, ...]]:
    """The mask of valid pixels, None where all are, and what was found."""
    pixels = content.pixels
    findings: tuple[str, ...] = ()
    if pixels.ndim == 3:
        greys = [pixels.mean(axis=0, dtype=np.float32)] if content.rgb else list(pixels)
        validity = find_valid_channels(greys)
        mask, findings = validity.mask, validity.findings
    else:
        mask = np.isfinite(pixels).all(axis=0) if pixels.dtype.kind == "f" else np.ones(pixels.shape[1:], bool)
    if content.opaque is not None and not content.opaque.all():
        mask = mask & content.opaque
        findings = (*findings, "transparent pixels are ignored")
    if not mask.any():
        raise ReadError(f"No pixel of {path} is valid ({'; '.join(findings)}); check how it was exported.")
    return (None if mask.all() else mask), findings


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
