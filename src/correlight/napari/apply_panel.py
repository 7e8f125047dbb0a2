"""The panel that moves further layers by a transform that was found before, and writes it for other tools."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import ComboBox, FileEdit, PushButton
from napari.layers import Layer
from qtpy.QtCore import QEvent

from correlight.errors import UsageError
from correlight.exchange import FORMATS
from correlight.geometry import Grid
from correlight.napari.applied import Applied, Stated, applied
from correlight.napari.kept import Kept, was_moved
from correlight.napari.layers import has_own_affine
from correlight.napari.pairs import grid_of
from correlight.napari.panel import Panel, offer_again
from correlight.napari.placing import carry, in_micrometres, in_pixels, set_place, steps_into_micrometres
from correlight.napari.result_view import results_of
from correlight.napari.written import Sides, write_converted, write_found
from correlight.output.apply import read_saved
from correlight.output.apply.saved import Saved
from correlight.transforms import Affine

_FILE, _BY_NAME = "a file", "by the name of the file"
# What holds no transform, and cannot be made of one.
_POINTS = ("table", "transformix")
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
        tools = [
            (_BY_NAME, None),
            *((entry.title, entry.name) for entry in FORMATS.values() if entry.name not in _POINTS),
        ]
        self.tool = ComboBox(choices=tools, label="format")
        self.write = PushButton(text="Write for another tool")
        self.apply, self.back = PushButton(text="Apply"), PushButton(text="Take back")
        before = [self.found, self.source, self.layer, self.onto, self.direction]
        self.source.choose_btn.text = self.target.choose_btn.text = "Choose"
        self._lay_out([*before, self.target, self.tool, self.write], [self.apply, self.back])
        self._runners.append(self.write)
        self._kept = Kept()
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

    def _chosen(self) -> Callable[[], Saved]:
        """What gives the transform: the result as it is shown now, or a file, which may take long to read."""
        if self.found.value is not None:
            saved = self.found.value.saved
            if saved is None:
                raise UsageError("The result was taken back; choose another transform.")
            return lambda: saved
        if not _named(self.source.value):
            raise UsageError("Choose a transform file, a result.json or a result on the screen first.")
        return partial(read_saved, Path(self.source.value))

    def _apply(self) -> None:
        layer, onto = self.layer.value, self.onto.value
        if layer is None or onto is None or layer is onto:
            raise UsageError("A layer is moved onto an image; choose two different layers.")
        saved, stated = self._chosen(), (Stated.of(layer), Stated.of(onto))
        to_fixed = self.direction.value == _TO_FIXED
        self._watched(stated[0].taken, stated[1].taken)
        self.say("")
        self._begin(
            lambda progress: applied(*stated, saved(), progress, to_fixed=to_fixed), partial(self._lay, layer, onto)
        )

    def _lay(self, layer: Any, onto: Any, done: Applied) -> Iterator[None]:
        """Show a layer that was taken through a transform."""
        happened = "" if self._watch is None else self._watch.said(self._viewer.layers)
        if happened:
            self.say(happened)
            return
        notes = list(done.notes)
        if has_own_affine(layer) and not was_moved(layer):
            notes.append(
                f"{layer.name} had an affine transform of its own, which this one replaces; Take back restores it."
            )
        self._kept.keep(onto, layer)
        yield from self._turn_to_micrometres(onto, done.there)
        # From what the transform counts to where the image lies, which may have another unit.
        place = Grid.of(done.there.shape, onto.scale, onto.translate)
        world = np.asarray(onto.affine.affine_matrix) @ place.matrix @ np.linalg.inv(done.there.matrix)
        if done.made is None:
            assert isinstance(done.found, Affine)
            set_place(layer, onto.units, done.here, world @ done.found.matrix)
            said = f"{layer.name} lies on {onto.name}; its pixels are as they were."
        else:
            made = Layer.create(*done.made)
            set_place(made, onto.units, done.there, world)
            yield
            self._viewer.add_layer(made)
            self._added.append(made)
            yield
            layer.visible = False
            said = f"{made.name} lies on {onto.name}; {layer.name} is kept and hidden."
        self.say(" ".join([said, *notes]))

    def _turn_to_micrometres(self, onto: Any, grid: Grid) -> Iterator[None]:
        """Let the image count in micrometres where the transform does, and what lies on it with it."""
        steps = steps_into_micrometres(onto, grid)
        if grid.calibrated:
            in_micrometres(onto, grid)
            yield
        if steps is not None:
            for other in in_pixels(self._viewer.layers):
                self._kept.keep(other)
                carry(other, steps)
                yield

    def _take_back(self) -> None:
        for layer in self._added:
            if layer in self._viewer.layers:
                self._viewer.layers.remove(layer)
        self._kept.put_back(self._viewer.layers)
        self._added = []
        self.say("The layers are where they were.")

    def _write(self) -> None:
        source, target = Path(self.source.value), Path(self.target.value)
        if not _named(target):
            raise UsageError("Name the file to write; its ending says the format, such as .tfm, .txt, .json or .xml.")
        chosen, shown, tool = self._chosen(), self.found.value is not None, self.tool.value

        sides = self._sides()
        name = self.found.value.moving[0].name if shown else None

        def work(progress: Callable[[str, float], None]) -> str:
            progress("write", 0.0)
            if shown:
                return f"Written as {write_found(chosen(), target, tool, name)}: {target}."
            return write_converted(source, target, tool, sides)

        self._unwatched()
        self.say("")
        self._begin(work, self._said, stays=True)

    def _sides(self) -> Sides | None:
        """The layers that are chosen as the two images of a transform; None where there are not two images."""
        layers = self.onto.value, self.layer.value
        if not all(layer in self._images() for layer in layers):
            return None
        fixed, moving = layers if self.direction.value == _TO_FIXED else layers[::-1]
        return Sides((fixed.name, moving.name), (grid_of(fixed), grid_of(moving)))

    def _said(self, sentence: str) -> Iterator[None]:
        self.say(sentence)
        yield


def _named(path: Any) -> bool:
    """Whether a field for a file is filled in."""
    return str(path) not in ("", ".")
