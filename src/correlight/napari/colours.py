"""The colours of images in the viewer: those of the report, so that a colour means the same image in both."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from napari.utils import Colormap

from correlight.images.display import COLOURS, stretch
from correlight.images.image import Image
from correlight.images.pyramid import shown_image
from correlight.napari.compare import Comparison
from correlight.output.report.pictures import Look, colour_of, look_of

# What napari gives to layers unasked. Whoever chose another colormap shall keep it.
_UNASKED = ("gray", "red", "green", "blue", "cyan", "magenta", "yellow")


def ramp(colour: str) -> Any:
    """The colormap from black to a colour of the report.

    Parameters
    ----------
    colour : str
        A name in `correlight.images.display.COLOURS`, or "grey".
    """
    if colour == "grey":
        return "gray"
    brightest = np.array([*COLOURS[colour], 255]) / 255
    return Colormap(np.array([[0.0, 0.0, 0.0, 1.0], brightest]), name=f"correlight {colour}")


def look(moving: Image, channel: str, comparison: Comparison | None) -> Look:
    """How the report shows two images over each other.

    Parameters
    ----------
    moving : Image
        The moving image.
    channel : str
        Which of its channels was registered.
    comparison : Comparison or None
        The moving image where it lies over the fixed one; without it, the whole of it counts.
    """
    number = moving.channels.index(channel) if channel in moving.channels and not moving.rgb else None
    if comparison is None:
        small = shown_image(moving)
        pixels, covered = np.asarray(small.levels[0][...]), small.valid()
    else:
        pixels, covered = comparison.moving, comparison.footprint
    plane = pixels.mean(axis=0) if number is None else pixels[number]
    light = stretch(plane, covered)
    return look_of(light, light, covered, number)


def to_change(shown: Look, fixed: Mapping[int | None, Any], moving: Mapping[int | None, Any]) -> list[tuple[Any, Any]]:
    """The layers whose colour is to change, each with its colormap.

    Parameters
    ----------
    shown : Look
        How the report shows the two images.
    fixed, moving : mapping of int or None to napari layer
        The layers of their channels; None for all colours, which stay.

    Returns
    -------
    list of (napari layer, colormap)
        None of them has a colormap that somebody chose.
    """
    # Over an image of several channels, one of a single channel is best grey, as in a composite.
    names = {layer: "grey" if len(fixed) > 1 == len(moving) else colour_of(number) for number, layer in moving.items()}
    if len(fixed) == 1:
        names |= dict.fromkeys(fixed.values(), shown.fixed)
    found = []
    for layer, name in names.items():
        if not layer.rgb and layer.colormap.name in _UNASKED:
            colormap = ramp(name)
            if layer.colormap.name != getattr(colormap, "name", colormap):
                found.append((layer, colormap))
    return found
