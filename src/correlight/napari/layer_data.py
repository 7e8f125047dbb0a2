"""Images as layers, as readers and sample data hand them to napari."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from correlight.images.image import Image, Pixels
from correlight.napari.colours import ramp
from correlight.napari.layers import KEY, Opened
from correlight.napari.placing import units_of
from correlight.output.report.pictures import colour_of

LayerData = tuple[Any, dict[str, Any], str]
"""Pixels, points or shapes, what napari is to do with them, and the kind of layer."""


def layer_data(image: Image, name: str) -> list[LayerData]:
    """An image as layers, one per channel, as readers and sample data hand them to napari.

    Parameters
    ----------
    image : Image
        With its pixel size.
    name : str
        What the layers are called, followed by the channel where there are several.
    """
    grid = image.grid
    common = {
        "scale": grid.spacing,
        "translate": grid.origin,
        "units": units_of(grid),
    }
    large = len(image.levels) > 1
    if image.rgb:
        colours = [np.moveaxis(np.asarray(level[...]), 0, -1) for level in image.levels]
        metadata = {KEY: Opened(image, None)}
        options = {**common, "name": name, "rgb": True, "multiscale": large, "metadata": metadata}
        return [(colours if large else colours[0], options, "image")]
    made = []
    for number, channel in enumerate(image.channels):
        levels = [_plane(level, number) for level in image.levels]
        several = len(image.channels) > 1
        options = {
            **common,
            "name": f"{name} {channel}" if several else name,
            "blending": "additive" if several else "translucent",
            # Channels are laid onto other images, of which something should be seen through them.
            "opacity": 0.6 if several else 1.0,
            "colormap": ramp(colour_of(number)) if several else "gray",
            "multiscale": large,
            "metadata": {KEY: Opened(image, number)},
        }
        made.append((levels if large else levels[0], options, "image"))
    return made


def _plane(pixels: Pixels, channel: int) -> Any:
    """One channel of pixels, left on disk where they are."""
    if isinstance(pixels, np.ndarray):
        return pixels[channel]
    import dask.array as da

    shape = pixels.shape[1:]
    chunks = (*(1,) * (len(shape) - 2), 1024, 1024)
    return da.from_array(_Channel(pixels, channel), chunks=chunks, asarray=False, name=False)


class _Channel:
    """One channel of pixels on disk, as dask cuts it."""

    def __init__(self, pixels: Pixels, channel: int) -> None:
        self._pixels, self._channel = pixels, channel
        self.shape, self.dtype, self.ndim = tuple(pixels.shape[1:]), np.dtype(pixels.dtype), len(pixels.shape) - 1

    def __getitem__(self, key: Any) -> NDArray[Any]:
        """A block."""
        return np.asarray(self._pixels[(self._channel, *(key if isinstance(key, tuple) else (key,)))])
