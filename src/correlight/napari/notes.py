"""What is said of two layers that are registered, for nothing about them shall be decided in silence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from correlight.napari.kept import was_moved
from correlight.napari.layers import companions, has_own_affine, levels_of, lie_together, micrometres

BRIGHTNESS = "brightness"


def notes_of(
    fixed: Any, moving: Any, among: Sequence[Any], *, placed: bool, by_channel: tuple[bool, bool] = (False, False)
) -> list[str]:
    """Sentences about two layers.

    Parameters
    ----------
    fixed, moving : napari layers
        What is registered.
    among : sequence of napari layers
        Where layers are sought that may be further channels of the moving image.
    placed : bool
        Whether the affine transform of the moving layer is heeded.
    by_channel : (bool, bool)
        Whether one of the three colours was chosen, of the fixed and the moving layer.
    """
    said = []
    for layer, chosen in zip((fixed, moving), by_channel, strict=True):
        if layer.rgb and not chosen:
            said.append(
                f"{layer.name} is in colours and was registered by its brightness; one of its colours can be chosen as "
                "its channel, under More."
            )
    names = [unit_of(layer) for layer in (fixed, moving)]
    if None not in names and names[0] != names[1]:
        said.append(
            f"{fixed.name} counts in {names[0]} and {moving.name} in {names[1]}; both were converted to micrometres."
        )
    if has_own_affine(moving) and not placed and not was_moved(moving):
        said.append(f"{moving.name} had an affine transform of its own, which the result replaces; Undo restores it.")
    left = [layer.name for layer in among if layer is not fixed and _could_be_a_channel(layer, moving, among)]
    if left:
        said.append(
            f"{' and '.join(left)} {'has' if len(left) == 1 else 'have'} the shape and the place of {moving.name} and "
            "stayed there; if they are channels of one image, select them all, right-click, Link Layers, and start "
            "again."
        )
    return said


def _could_be_a_channel(layer: Any, moving: Any, among: Sequence[Any]) -> bool:
    """Whether a layer is like a further channel of the moving image, and nothing says that it is one."""
    if type(layer).__name__ != "Image" or layer.rgb or moving.rgb or layer.ndim != moving.ndim:
        return False
    if np.shape(levels_of(layer)[0]) != np.shape(levels_of(moving)[0]) or layer in companions(moving, among):
        return False
    files = layer.source.path, moving.source.path
    return (None in files or files[0] == files[1]) and lie_together(layer, moving)


def uncalibrated(fixed: Any, moving: Any, calibrated: tuple[bool, bool]) -> list[str]:
    """What is said where one of two images has a pixel size and the other has none."""
    if calibrated[0] == calibrated[1]:
        return []
    known, unknown = (fixed, moving) if calibrated[0] else (moving, fixed)
    return [
        f"{known.name} states its pixel size and {unknown.name} states none, so the scale was searched too; type it in "
        "if you know it."
    ]


def unit_of(layer: Any) -> str | None:
    """The unit of length that a layer counts in; None where it counts in none."""
    return None if micrometres(layer) is None else " and ".join(dict.fromkeys(str(unit) for unit in layer.units))
