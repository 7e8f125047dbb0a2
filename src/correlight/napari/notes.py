"""What is said of two layers that are registered, for nothing about them shall be decided in silence."""

from __future__ import annotations

from typing import Any

from correlight.napari.layers import has_own_affine, micrometres

BRIGHTNESS = "brightness"


def notes_of(fixed: Any, moving: Any, *, placed: bool, by_channel: tuple[bool, bool] = (False, False)) -> list[str]:
    """Sentences about two layers.

    Parameters
    ----------
    fixed, moving : napari layers
        What is registered.
    placed : bool
        Whether the affine transform of the moving layer is heeded, or comes from a result before.
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
    if has_own_affine(moving) and not placed:
        said.append(f"{moving.name} had an affine transform of its own, which the result replaces; Undo restores it.")
    return said


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
