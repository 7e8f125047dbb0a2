"""Which pixels of an image count: by masks that are given, and by what a file says and shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import CoarseMask, Mask, Pixels
from correlight.images.labels import holds_labels
from correlight.images.pyramid import all_valid, factors_to
from correlight.images.validity import find_valid_channels
from correlight.images.validity.padding import percent
from correlight.io import content as limits
from correlight.io.axes import Selection
from correlight.io.content import Content
from correlight.io.kinds import content_of, kind_of
from correlight.io.views import Held, changed

_ROWS = 1024  # of a large mask that are examined together


def read_mask(path: str | Path, shape: Sequence[int]) -> Mask | CoarseMask:
    """Read a mask: every pixel that is not zero, and not transparent, is valid.

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
    content = content_of(path, kind_of(path), calibrate=False, choice=Selection(ndim=len(shape)))
    pixels = changed(content.pixels, lambda block: 1 - block, 1, np.uint8) if content.negated else content.pixels
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
        opaque = _opaque(content, mask.shape)
        mask = mask if opaque is None else mask & opaque
        empty = not mask.any()
    else:
        mask = _coarse(pixels)
        opaque = _opaque(content, mask.small.shape)
        mask = mask if opaque is None else CoarseMask(mask.small & opaque, mask.shape)
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


def validity(path: Path, content: Content, pixels: NDArray[Any]) -> tuple[Mask | None, tuple[str, ...]]:
    """The mask of valid pixels of a level, None where all are, and what was found."""
    findings: tuple[str, ...] = ()
    if pixels.ndim == 3:
        greys = [pixels.mean(axis=0, dtype=np.float32)] if content.rgb else list(pixels)
        validity = find_valid_channels(greys)
        mask, findings = validity.mask, validity.findings
        labels = not mask.all() and not content.rgb and all(holds_labels(pixels, n) for n in range(len(pixels)))
        if labels or (not mask.any() and pixels.dtype.kind != "f"):
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
