"""Layers as images: their pixels, pixel size in micrometres, place, channels, and the file that they were opened from.

Of a layer that shows a file unchanged, the file is registered: with its metadata, masks, checksum and all its channels,
so that a result is the same as from the command line. Any other layer is an array.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from correlight.errors import ReadError, UsageError
from correlight.images.image import CoarseMask, Image, Pixels, told_apart
from correlight.images.pyramid import with_small_level
from correlight.io import read
from correlight.io.content import IN_MEMORY, Content
from correlight.io.masks import validity
from correlight.io.views import Held
from correlight.io.write import holds_type
from correlight.napari.layers import KEY, Opened, Taken, grid_of_pixels
from correlight.registration.provenance import PARTS

# Relative difference up to which two pixel sizes are one.
_SAME = 1e-6
# Of pixels that are not in memory, so many rows are compared with those of the file.
_ROWS = 16


@dataclass(frozen=True, eq=False)
class LayerImage:
    """An image, and the layers that show it.

    Parameters
    ----------
    image : Image
        What is registered.
    channels : dict of int or None to napari layer
        Which layer shows which channel; None for all colours.
    chosen : int or None
        The channel of the layer that was chosen.
    """

    image: Image
    channels: dict[int | None, Any]
    chosen: int | None


def image_of(taken: Taken, given: tuple[float, ...], role: str) -> LayerImage:
    """The image that a layer shows; may take long, for it may read a file.

    Parameters
    ----------
    taken : Taken
        The layer.
    given : tuple of float
        Micrometres per pixel that somebody typed, one number or one per axis; empty for what layer and file state.
    role : str
        What messages call it.

    Raises
    ------
    UsageError
        If the pixel size does not suit it, or none of its pixels is valid.
    """
    if given and (len(given) not in (1, taken.ndim) or min(given) <= 0):
        raise UsageError(
            f"The pixel size of the {role} image is one positive number or {taken.ndim}, in micrometres; got "
            f"{', '.join(f'{value:g}' for value in given)}."
        )
    spacing = given * (taken.ndim // len(given)) if given else taken.spacing
    found = _from_file(taken, spacing) or _from_layers(taken, spacing, bool(given))
    if found.image.ndim != taken.ndim:
        raise UsageError(
            f"The {role} layer {taken.names[0]} shows the channels of an image as a stack; open the file by "
            "correlight, or right-click the layer and choose Split Stack."
        )
    return found


def _from_file(taken: Taken, spacing: tuple[float, ...] | None) -> LayerImage | None:
    """The file that the layers show; None if there is none, or it shows something else by now."""
    opened = taken.layers[0].metadata.get(KEY)
    path = taken.layers[0].source.path
    if isinstance(opened, Opened):
        image = opened.image
    elif path is not None and Path(path).exists():
        try:
            image = read(path)
        except (ReadError, UsageError):
            return None
    else:
        return None
    channels = _channels(taken, image)
    if channels is None:
        return None
    stated = image.grid.spacing if image.grid.calibrated else None
    if spacing is not None and (stated is None or not np.allclose(spacing, stated, rtol=_SAME, atol=0)):
        image = _respaced(image, spacing)
    return LayerImage(image, channels, next(iter(channels)))


def _respaced(image: Image, spacing: tuple[float, ...]) -> Image:
    """The image with the pixel size that somebody stated, read again where it comes from a file."""
    if "path" not in image.source:
        return image.with_spacing(spacing, "given by the user")
    part = {name: image.source[name] for name in PARTS if name in image.source}
    return read(image.source["path"], spacing=spacing, **part)


def _channels(taken: Taken, image: Image) -> dict[int | None, Any] | None:
    """Which channel of an image each layer shows; None unless the first shows one."""
    found: dict[int | None, Any] = {}
    pixels = image.levels[0]
    for layer, levels in zip(taken.layers, taken.levels, strict=True):
        if taken.rgb != image.rgb:
            continue
        if taken.rgb:
            planes = [np.moveaxis(np.asarray(levels[0])[..., :3], -1, 0)]
            same = planes[0].shape == pixels.shape and np.array_equal(planes[0], np.asarray(pixels[...]))
            number: int | None = None
        else:
            left = [index for index in range(pixels.shape[0]) if index not in found]
            number = next((index for index in left if _is_same(levels[0], pixels, index)), None)
            same = number is not None
        if same:
            found[number] = layer
        elif not found:
            return None
    return found or None


def _is_same(shown: Any, pixels: Pixels, channel: int) -> bool:
    """Whether a layer shows a channel; of pixels that are not in memory, some rows are compared."""
    if tuple(shown.shape) != tuple(pixels.shape[1:]) or np.dtype(shown.dtype) != np.dtype(pixels.dtype):
        return False
    if isinstance(shown, np.ndarray) and isinstance(pixels, np.ndarray):
        return np.shares_memory(shown, pixels[channel]) or np.array_equal(shown, pixels[channel])
    places = np.linspace(0, shown.shape[0] - 1, _ROWS).astype(int)
    return all(np.array_equal(np.asarray(shown[row]), np.asarray(pixels[channel, row])) for row in places.tolist())


def _from_layers(taken: Taken, spacing: tuple[float, ...] | None, typed: bool) -> LayerImage:
    """The layers as the channels of an array."""
    if taken.rgb:
        whole = np.asarray(taken.levels[0][0])
        pixels: list[Any] = [np.ascontiguousarray(np.moveaxis(whole[..., :3], -1, 0))]
    else:
        depth = min(len(levels) for levels in taken.levels)
        pixels = [_writable(_stacked([levels[number] for levels in taken.levels])) for number in range(depth)]
    if not isinstance(pixels[0], np.ndarray) or pixels[0].nbytes > IN_MEMORY:
        first = Held(pixels[0]) if isinstance(pixels[0], np.ndarray) else pixels[0]
        pixels = list(with_small_level((first, *pixels[1:])))
    else:
        # As of a file, the levels of a pyramid are of use only where the full resolution is not in memory.
        pixels = pixels[:1]
    grid = grid_of_pixels(pixels[0].shape[1:], taken.origin, spacing)
    content = Content(pixels[0], rgb=taken.rgb)
    coarse = np.asarray(pixels[-1])
    if coarse.dtype.kind == "f" and np.abs(coarse[np.isfinite(coarse)]).max(initial=0.0) > np.finfo(np.float32).max:
        raise UsageError(
            f"The layer {taken.names[0]} has values beyond {np.finfo(np.float32).max:.0e}, with which nothing can be "
            "computed; divide its pixels by a number first."
        )
    try:
        mask, findings = validity(Path(taken.names[0]), content, coarse)
    except ReadError as error:
        raise UsageError(f"The layer {taken.names[0]} has no valid pixel; choose another one.") from error
    source = {} if spacing is None else {"spacing_source": "given by the user" if typed else "the scale of the layer"}
    names = ("red", "green", "blue") if taken.rgb else told_apart(taken.names)
    image = Image(tuple(pixels), grid, names, rgb=taken.rgb, findings=findings, source=source)
    if mask is not None:
        image = image.with_mask(CoarseMask(mask, grid.shape) if mask.shape != grid.shape else mask)
    channels: dict[int | None, Any] = {None: taken.layers[0]} if taken.rgb else dict(enumerate(taken.layers))
    return LayerImage(image, channels, next(iter(channels)))


def _stacked(levels: Sequence[Any]) -> Any:
    """Arrays as channels: in memory as they are, on disk as one dask array."""
    if all(isinstance(level, np.ndarray) for level in levels):
        return levels[0][None] if len(levels) == 1 else np.stack(levels)
    import dask.array as da

    return da.stack([level if isinstance(level, da.Array) else da.from_array(level) for level in levels])


def _writable(pixels: Any) -> Any:
    """Pixels in a type that a result can be written in, for floats of 16 and integers of 64 bits cannot."""
    dtype = np.dtype(pixels.dtype)
    if holds_type(dtype) or dtype.kind not in "iuf":
        return pixels
    if dtype.kind == "f":
        return pixels.astype(np.float32 if dtype.itemsize < 4 else np.float64)
    if isinstance(pixels, np.ndarray) and pixels.size:
        low, high = int(pixels.min()), int(pixels.max())
        for kind in (np.int32, np.uint32):
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return pixels.astype(kind)
    return pixels.astype(np.float64)
