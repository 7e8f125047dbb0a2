"""What the samples of a pixel mean: brightness of either polarity, colours of several kinds, opacity, or channels.

TIFF says so in PhotometricInterpretation, ExtraSamples, InkSet and Orientation (TIFF 6.0, sections 8, 16, 18 and 21).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.errors import ReadError
from correlight.images.image import Pixels
from correlight.io.content import Content, large
from correlight.io.views import changed, chosen

Array = NDArray[Any]

WHITE_IS_ZERO, BLACK_IS_ZERO, COLOURS, PALETTE, TRANSPARENCY, SEPARATED, YCBCR = range(7)
_LAB = (8, 9, 10)
_MOSAIC = 32803
_BASE = {COLOURS: 3, SEPARATED: 4, YCBCR: 3, 8: 3, 9: 3, 10: 3}  # samples that a kind of image needs; else 1
_OPACITY = (1, 2)  # ExtraSamples: associated (colours multiplied by it) and unassociated alpha
_CMYK = 1  # InkSet
_DRAWN = 0.2  # part of a palette of greys that may be colours
_TO_RGB = (6, 7, 33003, 33005, 34712, 34892, 50001, 34887)  # compressions whose decoders end in RGB


def tag(page: Any, name: str, otherwise: Any = None) -> Any:
    """The value of a TIFF tag of a page."""
    found = page.keyframe.tags.get(name)
    return otherwise if found is None else found.value


def meant(path: Path, pixels: Pixels, samples: int, page: Any, *, plain: bool) -> Content:
    """Pixels as their file means them.

    Parameters
    ----------
    path : Path
        The file, for the message of an error.
    pixels : Pixels
        ``(C * S, Y, X)`` or ``(C * S, Z, Y, X)``, the samples of a channel one after the other.
    samples : int
        Samples of a pixel, S.
    page : tifffile.TiffPage or TiffFrame
        Whose tags tell.
    plain : bool
        Whether it is no file of ImageJ or OME, which use tables of colours and inverted brightness to paint only.

    Raises
    ------
    ReadError
        If the colours are of a kind that is not read.
    """
    kind = int(page.keyframe.photometric)
    picture = pixels.shape[0] == samples and len(pixels.shape) == 3
    if kind in _LAB:
        raise ReadError(f"Expected grey or RGB pixels, but {path} holds CIELAB colours; convert it to RGB first.")
    if samples == 1:
        return _grey(pixels, page, kind, plain, picture)
    base = _BASE.get(kind, 1)
    extra = (*(int(what) for what in page.keyframe.extrasamples or ()), *(0,) * samples)[: max(0, samples - base)]
    opacity = next((base + place for place, what in enumerate(extra) if what in _OPACITY), None)
    others = [base + place for place in range(len(extra)) if base + place != opacity]
    if not picture:
        # A stack or several images: every sample is a channel, but for opacity, which is none.
        kept = [number for number in range(pixels.shape[0]) if number % samples != opacity]
        said = () if opacity is None else ("the opacity of a stack is left out",)
        content = Content(chosen(pixels, kept))
        content = _inverted(content.pixels, page, plain) if kind == WHITE_IS_ZERO else content
        return replace(content, findings=(*content.findings, *said))
    if kind == PALETTE and plain and not others and page.keyframe.colormap is not None:
        content = _painted(chosen(pixels, [0]), np.asarray(page.keyframe.colormap))
    else:
        content = _coloured(path, pixels, page, kind, base)
    findings = list(content.findings)
    if others and content.rgb:
        findings.append(f"{len(others)} further samples of unstated meaning are taken as channels beside the colours")
        both = Joined(content.pixels, chosen(pixels, others))
        names = ("red", "green", "blue", *(f"sample {number}" for number in others))
        joined = np.asarray(both[...]) if isinstance(pixels, np.ndarray) else both
        content = replace(content, pixels=joined, rgb=False, channels=names)
    elif others:
        content = replace(content, pixels=chosen(pixels, [n for n in range(samples) if n != opacity]))
    if kind == WHITE_IS_ZERO:
        content = _inverted(content.pixels, page, plain)
        findings += content.findings
    if opacity is not None:
        alpha = chosen(pixels, [opacity])
        content = replace(content, opaque=alpha[0] != 0 if isinstance(alpha, np.ndarray) else alpha)
        if extra[opacity - base] == 1:
            findings.append("the colours are stored multiplied by their opacity and are left so")
    return replace(content, findings=tuple(findings))


class Joined:
    """The channels of two kinds of pixels of one shape and type."""

    def __init__(self, first: Pixels, second: Pixels) -> None:
        self.first, self.second = first, second
        self.shape = (first.shape[0] + second.shape[0], *first.shape[1:])
        self.dtype = np.dtype(first.dtype)

    def __getitem__(self, key: Any) -> Array:
        """A block, in memory."""
        given = key if isinstance(key, tuple) else (key,)
        if given and given[0] is Ellipsis:
            given = (slice(None), *given)
        number, rest = given[0], given[1:]
        if isinstance(number, slice):
            parts = [self[(place, *rest)] for place in range(self.shape[0])[number]]
            return np.stack(parts) if parts else np.empty((0,), self.dtype)
        count = self.first.shape[0]
        number = range(self.shape[0])[int(number)]
        return np.asarray(self.first[(number, *rest)] if number < count else self.second[(number - count, *rest)])


def _grey(pixels: Pixels, page: Any, kind: int, plain: bool, picture: bool) -> Content:
    if kind == PALETTE and plain and picture and page.keyframe.colormap is not None:
        return _painted(pixels, np.asarray(page.keyframe.colormap))
    if kind == WHITE_IS_ZERO:
        return _inverted(pixels, page, plain)
    said = {
        _MOSAIC: ("the pixels are those of a camera behind a mosaic of colour filters and are read as grey",),
        TRANSPARENCY: ("the page is a mask of transparency",),
    }
    return Content(pixels, findings=said.get(kind, ()))


def _painted(pixels: Pixels, colormap: Array) -> Content:
    """The colours of a palette, or its greys where it has few colours besides, for what is drawn over the image."""
    # The table has 16 bits per colour; its upper byte is the 8-bit colour that was meant.
    table = (colormap >> 8).astype(np.uint8)
    odd = int((table != table[0]).any(axis=0).sum())
    grey = odd <= table.shape[1] * _DRAWN
    if grey:
        table = np.rint(table.mean(axis=0, keepdims=True)).astype(np.uint8)
    last = table.shape[1] - 1

    def colours(block: Array) -> Array:
        return table[:, np.minimum(block[0].astype(np.intp), last)]

    said = f"the palette is one of greys and {odd} colours, which are read by their brightness"
    painted = changed(pixels, colours, table.shape[0], "u1")
    return Content(painted, rgb=not grey, findings=(said,) if grey and odd else ())


def _inverted(pixels: Pixels, page: Any, plain: bool) -> Content:
    dtype = np.dtype(pixels.dtype)
    if not plain or dtype.kind != "u":
        return Content(pixels, findings=("the file shows zero as white; its numbers are kept as they are",))
    bits = page.keyframe.bitspersample
    most = dtype.type(2 ** int(bits if isinstance(bits, int) else bits[0]) - 1)
    said = f"the file stores zero as white; its numbers are inverted ({most} minus each), so that bright is high"
    return Content(changed(pixels, lambda block: most - block, pixels.shape[0], dtype), findings=(said,))


def _coloured(path: Path, pixels: Pixels, page: Any, kind: int, base: int) -> Content:
    """The samples of a single image without those beyond its colours."""
    dtype = np.dtype(pixels.dtype)
    colours = chosen(pixels, range(base))
    if kind == COLOURS:
        return Content(colours, rgb=True)
    if kind == SEPARATED:
        if int(tag(page, "InkSet", _CMYK)) != _CMYK or dtype.kind != "u":
            return Content(colours, findings=("the samples are inks that the file does not name, read as channels",))
        said = ("the image was stored for print (CMYK) and is converted to red, green and blue",)
        return Content(changed(colours, from_cmyk, 3, dtype), rgb=True, findings=said)
    if kind == YCBCR and int(page.keyframe.compression) not in _TO_RGB:
        if tuple(tag(page, "YCbCrSubSampling", (2, 2))) != (1, 1) or dtype != np.uint8:
            raise ReadError(
                f"Expected grey or RGB pixels, but {path} holds brightness and colour of different sizes "
                "(YCbCr, subsampled, not in JPEG), which is not read; convert it to RGB first."
            )
        stated = np.reshape(tag(page, "YCbCrCoefficients", (0.299, 0.587, 0.114)), (3, -1))
        weights = [_ratio(value) for value in stated]
        return Content(changed(colours, lambda block: _from_ycbcr(block, weights), 3, dtype), rgb=True)
    if kind == YCBCR:
        return Content(colours, rgb=True)
    return Content(colours)


def _ratio(value: Any) -> float:
    parts = np.ravel(value)
    return float(parts[0] / parts[1]) if len(parts) == 2 else float(parts[0])


def from_cmyk(block: Array) -> Array:
    """Red, green and blue ``(3, ...)`` of cyan, magenta, yellow and black ``(4, ...)``, without a colour profile."""
    most = np.iinfo(block.dtype).max
    exact = np.dtype(np.float32 if block.dtype.itemsize == 1 else np.float64)
    paper: Array = most - block.astype(exact)
    return np.asarray(np.rint(paper[:3] * paper[3:] / most), block.dtype)


def _from_ycbcr(block: Array, weights: list[float]) -> Array:
    red, green, blue = weights
    y, cb, cr = block.astype(np.float32) - np.array([0, 128, 128], np.float32).reshape(3, *(1,) * (block.ndim - 1))
    r, b = y + (2 - 2 * red) * cr, y + (2 - 2 * blue) * cb
    rgb = np.stack([r, (y - red * r - blue * b) / green, b])
    return np.asarray(np.clip(np.rint(rgb), 0, 255), block.dtype)


def in_memory(content: Content) -> Content:
    """The same content, with pixels that were left on disk read unless there are too many."""
    if isinstance(content.pixels, np.ndarray) or large(content.pixels.shape, np.dtype(content.pixels.dtype).itemsize):
        return content
    opaque = content.opaque
    if opaque is not None and not isinstance(opaque, np.ndarray):
        opaque = np.asarray(opaque[0, :, :]) != 0
    return replace(content, pixels=np.asarray(content.pixels[...]), opaque=opaque)
