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
from correlight.geometry import Grid
from correlight.images.image import Image, Pixels, told_apart
from correlight.images.pyramid import with_small_level
from correlight.io import read
from correlight.io.content import IN_MEMORY, Content
from correlight.io.masks import validity
from correlight.io.views import Held
from correlight.registration.provenance import PARTS

KEY = "correlight"
"""Under which a layer remembers the image that it shows a channel of, in its metadata."""

# Relative difference up to which two pixel sizes are one.
_SAME = 1e-6
# Of pixels that are not in memory, so many rows are compared with those of the file.
_ROWS = 16


@dataclass(frozen=True, eq=False)
class Opened:
    """The image that a layer shows, and which channel; None for all colours."""

    image: Image
    channel: int | None

    def __deepcopy__(self, memo: Any) -> Opened:
        """The same, for napari copies the metadata of a layer that is duplicated, and the image may be large."""
        return self


@dataclass(frozen=True, eq=False)
class Taken:
    """What of a layer is taken down before work on it begins in another thread.

    Parameters
    ----------
    layers : tuple of napari layers
        The layer that was chosen, and those that show other channels of the same image.
    levels : tuple of sequence of arrays
        For each of them its pixels, full resolution first.
    names : tuple of str
        Their names.
    rgb : bool
        Whether the pixels are colours, along their last axis.
    spacing : tuple of float or None
        Micrometres per pixel that the layer states.
    origin : tuple of float
        Where its first pixel lies, in micrometres if there is a spacing, else in pixels.
    """

    layers: tuple[Any, ...]
    levels: tuple[Sequence[Any], ...]
    names: tuple[str, ...]
    rgb: bool
    spacing: tuple[float, ...] | None
    origin: tuple[float, ...]

    @property
    def ndim(self) -> int:
        """Axes of space."""
        return int(np.ndim(self.levels[0][0])) - self.rgb


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


def micrometres(layer: Any) -> tuple[float, ...] | None:
    """Micrometres per unit of a layer along each axis; None where it counts in no length."""
    try:
        return tuple(float((1.0 * unit).to("micrometer").magnitude) for unit in layer.units)
    except Exception:  # pint raises errors of its own for units that are no length
        return None


def stated_spacing(layer: Any) -> tuple[float, ...] | None:
    """Micrometres per pixel that a layer states; None where it has no unit of length."""
    factors = micrometres(layer)
    if factors is None:
        return None
    return tuple(float(step * factor) for step, factor in zip(layer.scale, factors, strict=True))


def has_own_affine(layer: Any) -> bool:
    """Whether a layer is moved, turned or stretched beyond its scale and translation."""
    matrix = np.asarray(layer.affine.affine_matrix)
    return not np.allclose(matrix, np.eye(len(matrix)), rtol=0, atol=1e-12)


def companions(layer: Any, among: Sequence[Any]) -> tuple[Any, ...]:
    """The layer and those that show other channels of the same image.

    These are the ones that were opened from the same file with it, or that napari links to it, and have its shape.
    """
    if type(layer).__name__ != "Image" or layer.rgb:
        return (layer,)
    opened, path = layer.metadata.get(KEY), layer.source.path
    linked = _linked(layer)

    def belongs(other: Any) -> bool:
        if (
            type(other) is not type(layer)
            or other.rgb
            or other is layer
            or np.shape(_levels(other)[0]) != np.shape(_levels(layer)[0])
        ):
            return False
        held = other.metadata.get(KEY)
        if isinstance(opened, Opened) or isinstance(held, Opened):
            return isinstance(opened, Opened) and isinstance(held, Opened) and held.image is opened.image
        return other in linked or (path is not None and other.source.path == path)

    return (layer, *(other for other in among if belongs(other)))


def take(layer: Any, role: str, among: Sequence[Any] = ()) -> Taken:
    """Take down what of a layer is registered, or say why it cannot be.

    Parameters
    ----------
    layer : napari layer
        That was chosen.
    role : str
        What messages call it: "fixed" or "moving".
    among : sequence of napari layers
        Where other channels of its image are sought.

    Raises
    ------
    UsageError
        If it is no image of two or three axes, or turned or sheared.
    """
    kind = type(layer).__name__.lower()
    if kind == "labels":
        raise UsageError(
            f"The {role} layer {layer.name} holds labels; choose the image that they were drawn on, and move the "
            "labels along afterwards by Apply a transform."
        )
    if kind != "image":
        raise UsageError(f"The {role} layer {layer.name} holds {kind}; choose a layer with an image.")
    if layer.ndim not in (2, 3):
        raise UsageError(
            f"The {role} layer {layer.name} has {layer.ndim} axes; choose one with two or three (one time point, and "
            "channels as layers of their own: right-click, Split Stack)."
        )
    must_be_upright(layer, role)
    layers = companions(layer, among)
    factors = micrometres(layer)
    return Taken(
        layers,
        tuple(_levels(each) for each in layers),
        tuple(each.name for each in layers),
        bool(layer.rgb),
        stated_spacing(layer),
        tuple(np.asarray(layer.translate) * (1.0 if factors is None else factors)),
    )


def must_be_upright(layer: Any, role: str) -> None:
    """Refuse a layer of any kind that its own rotation, shear or scale turns.

    Parameters
    ----------
    layer : napari layer
        That was chosen.
    role : str
        What messages call it.

    Raises
    ------
    UsageError
        If it is turned, for a transform replaces its affine transform only.
    """
    turned = not np.allclose(layer.rotate, np.eye(layer.ndim)) or np.any(np.asarray(layer.shear) != 0)
    if turned or np.any(np.asarray(layer.scale) <= 0):
        raise UsageError(
            f"The {role} layer {layer.name} is rotated, sheared or mirrored by its scale; reset that, and place it by "
            "its affine transform if it should start elsewhere."
        )


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
        pixels = [_stacked([levels[number] for levels in taken.levels]) for number in range(depth)]
    if not isinstance(pixels[0], np.ndarray) or pixels[0].nbytes > IN_MEMORY:
        first = Held(pixels[0]) if isinstance(pixels[0], np.ndarray) else pixels[0]
        pixels = list(with_small_level((first, *pixels[1:])))
    else:
        # As of a file, the levels of a pyramid are of use only where the full resolution is not in memory.
        pixels = pixels[:1]
    grid = Grid.of(pixels[0].shape[1:], spacing or 1.0, taken.origin, unit="pixel" if spacing is None else "micrometre")
    content = Content(pixels[0], rgb=taken.rgb)
    try:
        mask, findings = validity(Path(taken.names[0]), content, np.asarray(pixels[-1]))
    except ReadError as error:
        raise UsageError(f"The layer {taken.names[0]} has no valid pixel; choose another one.") from error
    source = {} if spacing is None else {"spacing_source": "given by the user" if typed else "the scale of the layer"}
    names = ("red", "green", "blue") if taken.rgb else told_apart(taken.names)
    image = Image(tuple(pixels), grid, names, rgb=taken.rgb, findings=findings, source=source)
    if mask is not None:
        if mask.shape != grid.shape:
            from correlight.images.image import CoarseMask

            image = image.with_mask(CoarseMask(mask, grid.shape))
        else:
            image = image.with_mask(mask)
    channels: dict[int | None, Any] = {None: taken.layers[0]} if taken.rgb else dict(enumerate(taken.layers))
    return LayerImage(image, channels, next(iter(channels)))


def _stacked(levels: Sequence[Any]) -> Any:
    """Arrays as channels: in memory as they are, on disk as one dask array."""
    if all(isinstance(level, np.ndarray) for level in levels):
        return levels[0][None] if len(levels) == 1 else np.stack(levels)
    import dask.array as da

    return da.stack([level if isinstance(level, da.Array) else da.from_array(level) for level in levels])


def _levels(layer: Any) -> Sequence[Any]:
    return tuple(layer.data) if layer.multiscale else (layer.data,)


def _linked(layer: Any) -> set[Any]:
    from napari.layers.utils._link_layers import get_linked_layers

    return set(get_linked_layers(layer))
