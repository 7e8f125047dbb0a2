"""The panel that moves further layers by a transform that was found before, and writes it for other tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
from magicgui.widgets import ComboBox, FileEdit, PushButton
from qtpy.QtCore import QEvent

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.napari.layers import image_of, micrometres, take
from correlight.napari.panel import Panel, offer_again
from correlight.napari.placing import Kept, in_micrometres, is_shown_by_affine, resampled, units_of
from correlight.napari.result_view import results_of
from correlight.napari.written import write_found
from correlight.output.apply import read_saved
from correlight.output.apply.bent import led
from correlight.output.apply.saved import Saved
from correlight.output.convert import convert
from correlight.transforms import Affine, Transform

_FILE = "a file"
_TO_FIXED, _TO_MOVING = "moving to fixed", "fixed to moving"
_KINDS = ("Image", "Labels", "Points", "Shapes")


class ApplyPanel(Panel):
    """Move layers by a transform of a file, a result folder, or a result on the screen.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose layers are moved.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        self.found = ComboBox(choices=self._results, label="transform")
        self.source = FileEdit(mode="r", label="its file", tooltip="A transform file, or result.json.")
        self.layer = ComboBox(choices=self._layers, label="layer to move")
        self.onto = ComboBox(choices=self._images, label="onto the image")
        self.direction = ComboBox(choices=(_TO_FIXED, _TO_MOVING), label="direction")
        self.target = FileEdit(mode="w", label="write transform to")
        self.write = PushButton(text="Write for another tool")
        self.apply, self.back = PushButton(text="Apply"), PushButton(text="Take back")
        before = [self.found, self.source, self.layer, self.onto, self.direction]
        self.source.choose_btn.text = self.target.choose_btn.text = "Choose"
        self._lay_out([*before, self.target, self.write], [self.apply, self.back])
        self._kept: list[Kept] = []
        self._added: list[Any] = []
        self.apply.changed.connect(self.guarded(self._apply))
        self.back.changed.connect(self.guarded(self._take_back))
        self.write.changed.connect(self.guarded(self._write))
        self._refresh()

    def _layers(self, _: Any = None) -> list[Any]:
        return [layer for layer in self._viewer.layers if type(layer).__name__ in _KINDS]

    def _results(self, _: Any = None) -> list[Any]:
        shown = [view for view in results_of(self._viewer.layers) if view.transform is not None]
        return [(_FILE, None), *((f"{view.moving[0].name} on {view.fixed.name}, as shown", view) for view in shown)]

    def _refresh(self, _: Any = None) -> None:
        offer_again(self.found)
        self._offer(self.onto, self.layer)
        if self.found.value is None and len(self.found.choices) > 1 and not _named(self.source.value):
            self.found.value = self.found.choices[1]

    def event(self, event: Any) -> bool:
        """Offer the results that there are by now when somebody turns to the panel."""
        if event.type() in (QEvent.Type.Enter, QEvent.Type.Show) and hasattr(self, "_added"):
            self._refresh()
        return super().event(event)

    def take_file(self, path: Path) -> None:
        """Choose a file, as if a person had."""
        self.source.value = path
        self.found.value = None
        self.say(f"{path.name} is chosen as the transform; choose the layer to move and the image, and Apply.")

    def _saved(self) -> Saved:
        if self.found.value is not None:
            saved = self.found.value.saved
            if saved is None:
                raise UsageError("The result was taken back; choose another transform.")
            return saved
        if not _named(self.source.value):
            raise UsageError("Choose a transform file, a result.json or a result on the screen first.")
        return read_saved(Path(self.source.value))

    def _apply(self) -> None:
        layer, onto, saved = self.layer.value, self.onto.value, self._saved()
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
        refused = saved.frames is not None and saved.frames.status == "refused"
        warned = " The result was refused: it says nothing about where they lie." if refused else ""
        self._kept.append(Kept.of(layer))
        in_micrometres(onto, _placed(onto, grids[1]))
        if is_shown_by_affine(found, (layer, onto)):
            in_micrometres(layer, _placed(layer, grids[0]))
            assert isinstance(found, Affine)
            layer.units = onto.units
            layer.affine = np.asarray(onto.affine.affine_matrix) @ found.matrix
            self.say(f"{layer.name} lies on {onto.name}; its pixels are as they were.{warned}")
            return
        made = self._made(layer, onto, found, grids, saved, to_fixed)
        made.affine = onto.affine.affine_matrix
        layer.visible = False
        self._added.append(made)
        self.say(f"{made.name} lies on {onto.name}; {layer.name} is kept and hidden.{warned}")

    def _made(
        self, layer: Any, onto: Any, found: Transform, grids: tuple[Grid | None, ...], saved: Saved, to_fixed: bool
    ) -> Any:
        """A new layer, for what an affine transform of napari cannot show."""
        kind, name = type(layer).__name__, f"{layer.name} on {onto.name}"
        here, there = _placed(layer, grids[0]), _placed(onto, grids[1])
        common = {"name": name, "scale": there.spacing, "translate": there.origin, "units": units_of(there)}
        if kind == "Points":
            moved = there.index(found(here.points(np.asarray(layer.data, float))))
            # Where a field does not lead, there is no point to show.
            led_there = np.isfinite(moved).all(axis=1)
            looks = {"size": layer.size[led_there], "symbol": layer.symbol[led_there]}
            return self._viewer.add_points(moved[led_there], **looks, **common)
        if kind == "Shapes":
            corners = [there.index(found(here.points(np.asarray(one, float)))) for one in layer.data]
            if not all(np.isfinite(one).all() for one in corners):
                raise UsageError(f"Corners of {name} lie where the field of the transform does not lead; remove them.")
            # A box that is bent is no box any more.
            kinds = ["polygon" if each in ("rectangle", "ellipse") else each for each in layer.shape_type]
            return self._viewer.add_shapes(corners, shape_type=kinds, **common)
        back = saved.moving_from_fixed if to_fixed else led(saved.moving_from_fixed, "moving")
        if kind == "Labels":
            image = Image((np.asarray(layer.data)[None],), here, ("labels",))
            return self._viewer.add_labels(resampled(image, 0, back, there, "nearest")[0], **common)
        shown = image_of(take(layer, "moving"), here.spacing if here.calibrated else (), "moving")
        levels = resampled(shown.image, shown.chosen, back, there)
        looks = {} if layer.rgb else {"colormap": layer.colormap, "contrast_limits": layer.contrast_limits}
        several = len(levels) > 1
        return self._viewer.add_image(
            levels if several else levels[0],
            multiscale=several,
            rgb=layer.rgb,
            blending="additive",
            **looks,
            **common,
        )

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
        if not _named(target):
            raise UsageError("Name the file to write; its ending says the format, such as .tfm, .txt, .json or .xml.")
        if self.found.value is not None:
            self.say(f"Written as {write_found(self._saved(), target)}: {target}.")
            return
        if not _named(self.source.value):
            raise UsageError("Choose the transform to write first: a file, a result.json or a result on the screen.")
        done = convert(Path(self.source.value), target, overwrite=True)
        self.say(" ".join([f"Written as {done.format}: {target}.", *(f"Note that {note}." for note in done.notes)]))


def _named(path: Any) -> bool:
    """Whether a field for a file is filled in."""
    return str(path) not in ("", ".")


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
