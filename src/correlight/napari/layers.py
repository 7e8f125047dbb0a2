"""What layers state: their pixels, their pixel size in micrometres, their place, and which show one image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from napari.utils.transforms import Affine as Place

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image

KEY = "correlight"
"""Under which a layer remembers the image that it shows a channel of, in its metadata."""

BORROWED = "correlight unit"
"""Under which a layer remembers, in its metadata, with which scale it was given the unit of another layer."""

# Relative difference up to which two pixel sizes are one.
_SAME = 1e-6


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
        Where its first pixel lies, in pixels.
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


def lengths(units: Sequence[Any]) -> tuple[float, ...] | None:
    """Micrometres per unit along each axis; None where one of them is no length.

    Parameters
    ----------
    units : sequence of pint.Unit or str
        As layers have them, or are given them.
    """
    known = Place(ndim=len(units), units=tuple(units)).units
    try:
        return tuple(float((1.0 * unit).to("micrometer").magnitude) for unit in known)
    except Exception:  # pint raises errors of its own for units that are no length
        return None


def units_are_borrowed(layer: Any) -> bool:
    """Whether a layer has the units of another one, over which it lies, and states no pixel size by its scale."""
    return bool(layer.metadata.get(BORROWED) == tuple(layer.scale))


def micrometres(layer: Any) -> tuple[float, ...] | None:
    """Micrometres per unit of a layer along each axis; None where it counts in no length of its own."""
    return None if units_are_borrowed(layer) else lengths(layer.units)


def first_pixel(layer: Any) -> tuple[float, ...]:
    """Where the first pixel of a layer lies, in pixels of it."""
    return tuple(float(at) for at in np.asarray(layer.translate) / np.asarray(layer.scale))


def stated_spacing(layer: Any) -> tuple[float, ...] | None:
    """Micrometres per pixel that a layer states; None where it has no unit of length."""
    factors = micrometres(layer)
    if factors is None:
        return None
    return tuple(float(step * factor) for step, factor in zip(layer.scale, factors, strict=True))


def grid_of_pixels(shape: Sequence[int], origin: Sequence[float], spacing: Sequence[float] | None) -> Grid:
    """The grid of the pixels of a layer.

    Parameters
    ----------
    shape : sequence of int
        How many there are along each axis of space.
    origin : sequence of float
        Where the first one lies, in pixels (see `first_pixel`).
    spacing : sequence of float or None
        Micrometres per pixel; without it the grid counts pixels.
    """
    if spacing is None:
        return Grid.of(shape, 1.0, origin)
    return Grid.of(shape, spacing, tuple(np.asarray(origin) * np.asarray(spacing)), unit="micrometre")


def has_own_affine(layer: Any) -> bool:
    """Whether a layer is moved, turned or stretched beyond its scale and translation."""
    matrix = np.asarray(layer.affine.affine_matrix)
    return not np.allclose(matrix, np.eye(len(matrix)), rtol=0, atol=1e-12)


def companions(layer: Any, among: Sequence[Any]) -> tuple[Any, ...]:
    """The layer and those that show other channels of the same image.

    These are the ones that were opened from the same file with it, or that napari links to it and that lie where it
    lies, and have its shape.
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
            or np.shape(levels_of(other)[0]) != np.shape(levels_of(layer)[0])
        ):
            return False
        held = other.metadata.get(KEY)
        if isinstance(opened, Opened) or isinstance(held, Opened):
            return isinstance(opened, Opened) and isinstance(held, Opened) and held.image is opened.image
        return (other in linked and lie_together(layer, other)) or (path is not None and other.source.path == path)

    return (layer, *(other for other in among if belongs(other)))


def lie_together(layer: Any, other: Any) -> bool:
    """Whether the pixels of two layers lie in the same places."""
    if layer.ndim != other.ndim or [str(unit) for unit in layer.units] != [str(unit) for unit in other.units]:
        return False
    middle = np.asarray(np.shape(levels_of(layer)[0])[: layer.ndim]) / 2
    corners = np.vstack([np.zeros(layer.ndim), np.diag(middle), middle])
    here, there = (np.array([each.data_to_world(corner) for corner in corners]) for each in (layer, other))
    return bool(np.allclose(here, there, rtol=_SAME, atol=_SAME * float(np.ptp(here))))


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
    if not all(np.isfinite(n) for n in np.shape(levels_of(layer)[0])):
        raise UsageError(
            f"The {role} layer {layer.name} does not know yet how many pixels it has; call compute_chunk_sizes() of "
            "its dask array first."
        )
    layers = companions(layer, among)
    return Taken(
        layers,
        tuple(levels_of(each) for each in layers),
        tuple(each.name for each in layers),
        bool(layer.rgb),
        stated_spacing(layer),
        first_pixel(layer),
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


def levels_of(layer: Any) -> Sequence[Any]:
    """The pixels of a layer of an image or labels, full resolution first."""
    return tuple(layer.data) if layer.multiscale else (layer.data,)


def _linked(layer: Any) -> set[Any]:
    from napari.layers.utils._link_layers import get_linked_layers

    return set(get_linked_layers(layer))
