"""Sample data: a specimen under two simulated microscopes, whose pose nobody has to look for."""

from __future__ import annotations

from correlight.napari.layer_data import LayerData, layer_data
from correlight.simulate import pair


def cell() -> list[LayerData]:
    """An electron micrograph of a cell and a light micrograph of it, rotated and perhaps mirrored."""
    couple = pair("cell", 1, electron_shape=(768, 768), light_shape=(384, 384))
    return [*layer_data(couple.fixed, "electron"), *layer_data(couple.moving, "light")]
