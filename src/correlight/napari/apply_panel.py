"""The panel that moves further layers by a transform that was found before, and writes it for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from magicgui.widgets import ComboBox, FileEdit, PushButton

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.napari.layers import image_of, micrometres, take
from correlight.napari.panel import Panel
from correlight.napari.placing import Kept, in_micrometres, is_shown_by_affine, resampled, units_of
from correlight.output.apply import read_saved
from correlight.output.apply.bent import led
from correlight.output.apply.saved import Saved
from correlight.output.convert import convert
from correlight.transforms import Affine, Transform

_TO_FIXED, _TO_MOVING = "moving to fixed", "fixed to moving"
_KINDS = ("Image", "Labels", "Points", "Shapes")


class ApplyPanel(Panel):
    """Move layers by a transform of a file or result folder.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose layers are moved.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.source = FileEdit(mode="r", label="transform or result", tooltip="A transform file, or result.json.")
        self.layer = ComboBox(choices=self._layers, label="layer to move")
        self.onto = ComboBox(choices=self._images, label="onto the image")
        self.direction = ComboBox(choices=(_TO_FIXED, _TO_MOVING), label="direction")
        self.target = FileEdit(mode="w", label="write transform to")
        self.write = PushButton(text="Write for another tool")
        self.apply, self.back = PushButton(text="Apply"), PushButton(text="Take back")
        before = [self.source, self.layer, self.onto, self.direction]
        self._lay_out([*before, self.target, self.write], [self.apply, self.back])
        self._kept: list[Kept] = []
        self._added: list[Any] = []
        self.apply.changed.connect(self.guarded(self._apply))
        self.back.changed.connect(self.guarded(self._take_back))
        self.write.changed.connect(self.guarded(self._write))
        self._refresh()

    def _layers(self, _: Any = None) -> list[Any]:
        return [layer for layer in self._viewer.layers if type(layer).__name__ in _KINDS]

    def _refresh(self, _: Any = None) -> None:
        self.layer.reset_choices()
        self.onto.reset_choices()

    def _apply(self) -> None:
        saved, layer, onto = read_saved(Path(self.source.value)), self.layer.value, self.onto.value
        if layer is None or onto is None or layer is onto:
            raise UsageError("A layer is moved onto an image; choose two different layers.")
        to_fixed = self.direction.value == _TO_FIXED
        found = led(saved.moving_from_fixed, "moving" if to_fixed else "fixed")
        if found.ndim != layer.ndim or found.ndim != onto.ndim:
            raise UsageError(
                f"The transform is one of {found.ndim} axes, {layer.name} has {layer.ndim} and {onto.name} "
                f"{onto.ndim}; choose layers of as many axes."
            )
        grids = _frames(saved, to_fixed)
        self._kept.append(Kept.of(layer))
        in_micrometres(onto, _placed(onto, grids[1]))
        if is_shown_by_affine(found, (layer, onto)):
            in_micrometres(layer, _placed(layer, grids[0]))
            assert isinstance(found, Affine)
            layer.units = onto.units
            layer.affine = np.asarray(onto.affine.affine_matrix) @ found.matrix
            self.say(f"{layer.name} lies on {onto.name}; its pixels are as they were.")
            return
        made = self._made(layer, onto, found, grids, saved, to_fixed)
        made.affine = onto.affine.affine_matrix
        layer.visible = False
        self._added.append(made)
        self.say(f"{made.name} lies on {onto.name}; {layer.name} is kept and hidden.")

    def _made(
        self, layer: Any, onto: Any, found: Transform, grids: tuple[Grid | None, ...], saved: Saved, to_fixed: bool
    ) -> Any:
        """A new layer, for what an affine transform of napari cannot show."""
        kind, name = type(layer).__name__, f"{layer.name} on {onto.name}"
        here, there = _placed(layer, grids[0]), _placed(onto, grids[1])
        common = {"name": name, "scale": there.spacing, "translate": there.origin, "units": units_of(there)}
        if kind == "Points":
            moved = there.index(found(here.points(np.asarray(layer.data, float))))
            return self._viewer.add_points(moved, size=layer.size, symbol=layer.symbol, **common)
        if kind == "Shapes":
            corners = [there.index(found(here.points(np.asarray(one, float)))) for one in layer.data]
            # A box that is bent is no box any more.
            kinds = ["polygon" if each in ("rectangle", "ellipse") else each for each in layer.shape_type]
            return self._viewer.add_shapes(corners, shape_type=kinds, **common)
        back = saved.moving_from_fixed if to_fixed else led(saved.moving_from_fixed, "moving")
        if kind == "Labels":
            image = Image((np.asarray(layer.data)[None],), here, ("labels",))
            return self._viewer.add_labels(resampled(image, 0, back, there, "nearest")[0], **common)
        image = image_of(take(layer, "moving"), here.spacing if here.calibrated else (), "moving").image
        channel = None if image.rgb else 0
        levels = resampled(image, channel, back, there)
        return self._viewer.add_image(levels[0], rgb=image.rgb, blending="additive", **common)

    def _take_back(self) -> None:
        for layer in self._added:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        for kept in reversed(self._kept):
            if kept.layer in self._viewer.layers:
                kept.put_back()
        self._added, self._kept = [], []
        self.say("The layers are where they were.")

    def _write(self) -> None:
        target = Path(self.target.value)
        if not target.name:
            raise UsageError("Name the file to write; its ending says the format, such as .tfm, .txt, .json or .xml.")
        done = convert(Path(self.source.value), target, overwrite=True)
        self.say(" ".join([f"Written as {done.format}: {target}.", *(f"Note that {note}." for note in done.notes)]))


def _frames(saved: Saved, to_fixed: bool) -> tuple[Grid | None, Grid | None]:
    """The grids of the frames that a transform leads from and to; None where there is no record."""
    if saved.frames is None:
        return None, None
    pair = saved.frames.moving, saved.frames.fixed
    return pair if to_fixed else pair[::-1]


def _placed(layer: Any, recorded: Grid | None) -> Grid:
    """The grid of a layer in the frame of a transform: as it states, or as the registration recorded it.

    Raises
    ------
    UsageError
        If the frame counts micrometres and neither says how large a pixel is, or the reverse.
    """
    shape = _shape(layer)
    factors = micrometres(layer)
    wanted: Literal["micrometre", "pixel"] = "micrometre"
    if recorded is not None:
        wanted = recorded.unit
    elif factors is None:
        wanted = "pixel"
    if wanted == "pixel":
        return Grid.of(shape, 1.0)
    if factors is not None:
        return Grid.of(shape, layer.scale * factors, layer.translate * factors, unit="micrometre")
    assert recorded is not None
    if recorded.shape[-layer.ndim :] == shape or type(layer).__name__ in ("Points", "Shapes"):
        return Grid.of(shape, recorded.spacing[-layer.ndim :], unit="micrometre")
    raise UsageError(
        f"The transform counts micrometres, and {layer.name} states no pixel size and has another shape than the image "
        "that was registered; set its scale and its units (right-click the layer, or layer.units in the console)."
    )


def _shape(layer: Any) -> tuple[int, ...]:
    if type(layer).__name__ in ("Points", "Shapes"):
        return (1,) * int(layer.ndim)
    shape = layer.level_shapes[0] if layer.multiscale else np.shape(layer.data)
    return tuple(int(n) for n in shape[: layer.ndim])
