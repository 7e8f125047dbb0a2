"""The panel that registers one layer to another."""

from __future__ import annotations

import html
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from magicgui.widgets import CheckBox, ComboBox, Container, FileEdit, Label, LineEdit, ProgressBar, PushButton, SpinBox
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QScrollArea

from correlight import recipes
from correlight.io import unchanged
from correlight.napari.compare import compare
from correlight.napari.layers import Taken, companions, has_own_affine, image_of, stated_spacing, take
from correlight.napari.result_view import Outcome, ResultView
from correlight.napari.start import position_of
from correlight.napari.texts import COLOURS, coloured, limits, numbers, sizes
from correlight.napari.work import Job, sentence
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.registration.register import register
from correlight.registration.result import Result

_ANY = "any"
# Pixels of the screen.
_WIDTH = 380
_MODELS = (_ANY, "rigid", "similarity", "affine", "projective", "elastic")


class RegisterPanel(QScrollArea):
    """Choose two layers, start, look at the result, save it.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Whose layers are registered.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self._job: Job | None = None
        self.view: ResultView | None = None
        self._changed: set[Any] = set()
        self._make()
        for signal in (self.fixed.changed, self.moving.changed):
            signal.connect(self._chosen)
        self._viewer.layers.events.inserted.connect(self._refresh)
        self._viewer.layers.events.removed.connect(self._refresh)
        self.destroyed.connect(self._closed)
        self._refresh()

    def _make(self) -> None:
        self.fixed = ComboBox(choices=self._layers, label="fixed", tooltip="The layer that stays where it is.")
        self.fixed_size = LineEdit(label="its pixel size, µm")
        self.moving = ComboBox(choices=self._layers, label="moving", tooltip="The layer that is registered to it.")
        self.moving_size = LineEdit(label="its pixel size, µm")
        self.more = CheckBox(text="More", value=False)
        self.recipe = ComboBox(choices=recipes.names(), value="auto", label="recipe")
        self.model = ComboBox(choices=_MODELS, label="model")
        self.fixed_channel = ComboBox(choices=partial(self._channels, "fixed"), label="fixed channel")
        self.moving_channel = ComboBox(choices=partial(self._channels, "moving"), label="moving channel")
        self.rotation = LineEdit(label="rotation, degrees", tooltip="First and last, such as -10, 10; empty for any.")
        self.scale = LineEdit(label="scale", tooltip="Least and greatest moving pixels per fixed pixel.")
        self.mirror = CheckBox(text="may be mirrored", value=True)
        self.from_here = CheckBox(text="start from where the layers lie", value=False)
        self.seed = SpinBox(value=0, min=0, max=2**31 - 1, label="seed")
        options = (self.recipe, self.model, self.fixed_channel, self.moving_channel, self.rotation, self.scale)
        self.further = Container(widgets=[*options, self.mirror, self.from_here, self.seed], visible=False)
        self.more.changed.connect(lambda value: setattr(self.further, "visible", value))
        self.start, self.cancel = PushButton(text="Start"), PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(max=100, visible=False)
        self.message, self.verdict = _words(), _words()
        self.error = PushButton(text="Show predicted error")
        self.rank = SpinBox(value=1, min=1, max=9, label="pose")
        self.refine = PushButton(text="Refine this pose")
        self.undo = PushButton(text="Undo")
        self.folder = FileEdit(mode="w", label="result folder")
        self.save = PushButton(text="Save")
        row = Container(widgets=[self.error, self.undo], layout="horizontal", labels=False)
        self.after = Container(widgets=[row, self.rank, self.refine, self.folder, self.save], visible=False)
        choice = [self.fixed, self.fixed_size, self.moving, self.moving_size]
        run = Container(widgets=[self.start, self.cancel], layout="horizontal", labels=False)
        parts = [*choice, self.more, self.further, run, self.progress, self.message, self.verdict, self.after]
        self._form = Container(widgets=parts)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(_WIDTH)
        self.setWidget(self._form.native)
        self.start.changed.connect(lambda: self.run())
        self.cancel.changed.connect(self._cancel)
        self.error.changed.connect(self._guarded(self._show_error))
        self.rank.changed.connect(self._guarded(self._show_pose))
        self.refine.changed.connect(lambda: self.run(pose=self.rank.value))
        self.undo.changed.connect(self._guarded(self._undo))
        self.save.changed.connect(self._save)

    # What is chosen.

    def _layers(self, _: Any = None) -> list[Any]:
        return [layer for layer in self._viewer.layers if type(layer).__name__ in ("Image", "Labels")]

    def _channels(self, role: str, _: Any = None) -> list[Any]:
        chosen = getattr(self, role).value if hasattr(self, role) else None
        return [(_ANY, None), *([(each.name, each) for each in self._companions(chosen)])]

    def _companions(self, layer: Any) -> tuple[Any, ...]:
        return () if layer is None else companions(layer, list(self._viewer.layers))

    def _refresh(self, _: Any = None) -> None:
        """Offer the layers that there are; the moving one is of another image than the fixed one."""
        self.fixed.reset_choices()
        self.moving.reset_choices()
        if self.moving.value is self.fixed.value:
            own = self._companions(self.fixed.value)
            other = next((each for each in self._layers() if each not in own), None)
            if other is not None:
                self.moving.value = other
        self._chosen()

    def _chosen(self, _: Any = None) -> None:
        for role, field in (("fixed", self.fixed_size), ("moving", self.moving_size)):
            layer = getattr(self, role).value
            stated = None if layer is None or layer.ndim not in (2, 3) else stated_spacing(layer)
            field.value = ""
            field.native.setPlaceholderText(_prompt(layer, stated))
            getattr(self, f"{role}_channel").reset_choices()

    # The work.

    def run(self, pose: int | None = None) -> None:
        """Begin to register what is chosen."""
        if self._job is not None:
            return
        try:
            work = self._prepared(pose)
        except Exception as error:  # the window must stay usable, whatever it was
            self._say(sentence(error))
            return
        if self.view is not None:
            self.view.stop_comparing()
        self._say("")
        self._begin(work, self._registered)

    def _prepared(self, pose: int | None) -> Callable[[Callable[[str, float], None]], Outcome]:
        """The work, with all that it needs taken down in this thread."""
        fixed, moving = self.fixed.value, self.moving.value
        _two_layers(fixed, moving, len(self._layers()))
        among = list(self._viewer.layers)
        pair = take(fixed, "fixed", among), take(moving, "moving", among)
        given = (
            numbers(self.fixed_size.value, "the pixel size of the fixed image"),
            numbers(self.moving_size.value, "the pixel size of the moving image"),
        )
        start = self.from_here.value
        options: dict[str, Any] = {
            "model": None if self.model.value == _ANY else self.model.value,
            "rotation": limits(self.rotation.value, "limits of the rotation"),
            "scale": limits(self.scale.value, "limits of the scale"),
            "mirror": self.mirror.value,
            "seed": self.seed.value,
            "pose": pose,
        }
        channels, recipe = (self.fixed_channel.value, self.moving_channel.value), self.recipe.value
        places = position_of(fixed), position_of(moving)
        self._watch(pair)
        if has_own_affine(moving) and not start and self.view is None:
            self._note = (
                f"{moving.name} had an affine transform of its own, which the result replaces; Undo restores it."
            )
        else:
            self._note = ""

        def work(progress: Callable[[str, float], None]) -> Outcome:
            progress("read", 0.0)
            here, there = image_of(pair[0], given[0], "fixed"), image_of(pair[1], given[1], "moving")
            progress("read", 1.0)
            if start:
                options["start"] = places[1].to(there.image.grid) @ places[0].to(here.image.grid).inverse()
            result = register(
                here.image,
                there.image,
                recipe,
                fixed_channel=_number(here.channels, channels[0]),
                moving_channel=_number(there.channels, channels[1]),
                progress=progress,
                **options,
            )
            return Outcome(here, there, result, compare(here.image, there.image, result))

        return work

    def _watch(self, pair: tuple[Taken, Taken]) -> None:
        """Notice when the pixels of a layer are replaced while they are registered."""
        self._changed, self._watched = set(), [layer for taken in pair for layer in taken.layers]
        for layer in self._watched:
            layer.events.data.connect(self._edited)

    def _edited(self, event: Any) -> None:
        self._changed.add(event.source)

    def _unwatch(self) -> None:
        for layer in getattr(self, "_watched", ()):
            layer.events.data.disconnect(self._edited)
        self._watched = []

    def _begin(self, work: Callable[..., Any], done: Callable[[Any], None]) -> None:
        self.start.enabled = self.save.enabled = self.refine.enabled = False
        self.cancel.enabled = self.progress.visible = True
        self._job = Job(work, told=self._told, done=partial(self._ended, done), failed=self._failed)

    def _told(self, stage: str, fraction: float) -> None:
        self.progress.value = round(100 * min(max(fraction, 0.0), 1.0))
        self.progress.native.setFormat(f"{stage} %p %")
        self.progress.native.setTextVisible(True)

    def _idle(self) -> None:
        self._job = None
        self.start.enabled = self.save.enabled = self.refine.enabled = True
        self.cancel.enabled = self.progress.visible = False
        self._unwatch()

    def _ended(self, done: Callable[[Any], None], value: Any) -> None:
        try:
            done(value)
        except Exception as error:  # the window must stay usable, whatever it was
            self._say(sentence(error))
        self._idle()

    def _failed(self, words: str) -> None:
        self._say(words or "Cancelled; nothing was changed or written.")
        self._idle()

    def _cancel(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._say("Cancelling …")

    def _closed(self, _: Any = None) -> None:
        if self._job is not None:
            self._job.cancel()
        self._viewer.layers.events.inserted.disconnect(self._refresh)
        self._viewer.layers.events.removed.disconnect(self._refresh)

    # The result.

    def _registered(self, outcome: Outcome) -> None:
        layers = [*outcome.fixed.channels.values(), *outcome.moving.channels.values()]
        closed = [layer.name for layer in layers if layer not in self._viewer.layers]
        edited = [layer.name for layer in layers if layer in self._changed]
        if closed or edited:
            what = "closed" if closed else "changed"
            self._say(
                f"The layer {(closed or edited)[0]} was {what} while it was registered, so nothing is shown; start "
                "again with the layers as they are now."
            )
            return
        if self.view is not None:
            self.view.close(undo=True)
        self.view = ResultView(self._viewer, outcome, self._say)
        self.view.show()
        self.verdict.value = verdict_in_words(outcome.result)
        self.rank.max = max(1, min(9, len(outcome.result.poses)))
        self.after.visible = True
        kept = "nothing was moved, for the result is refused" if outcome.result.status == "refused" else ""
        keys = "Keys: F flicker, C checkerboard, S swipe, 1 to 9 poses"
        self._say(" ".join(part for part in (self._note, f"{keys}; {kept}." if kept else f"{keys}.") if part))

    def _show_pose(self) -> None:
        if self.view is not None:
            self.view.show_pose(self.rank.value)

    def _show_error(self) -> None:
        if self.view is not None:
            self.view.add_error()

    def _undo(self) -> None:
        if self.view is not None:
            self.view.close(undo=True)
            self.view, self.after.visible, self.verdict.value = None, False, ""
            self._say("All layers are where they were.")

    def _save(self) -> None:
        if self.view is None or self._job is not None:
            return
        target, outcome = Path(self.folder.value), self.view.outcome
        if not str(self.folder.value or "").strip() or target == Path("."):
            self._say("Name a folder to make first, under result folder.")
            return
        self._begin(partial(saved, outcome, target), lambda notes: self._say(f"Saved in {target}. {' '.join(notes)}"))

    def _guarded(self, act: Callable[[], Any]) -> Callable[..., None]:
        """An action whose errors become a sentence."""

        def acted(*_: Any) -> None:
            try:
                act()
            except Exception as error:  # the window must stay usable, whatever it was
                self._say(sentence(error))

        return acted

    def _say(self, words: str) -> None:
        self.message.value = html.escape(words)


def saved(outcome: Outcome, target: Path, progress: Callable[[str, float], None]) -> tuple[str, ...]:
    """Write the result folder that the command line writes, completely or not at all."""
    images = outcome.fixed.image, outcome.moving.image
    inputs = [image.source["path"] for image in images if "path" in image.source]
    with reserve(target, inputs=inputs) as folder:
        notes = write_result(folder, outcome.result, *images, progress=partial(progress, "write"))
        for image in images:
            unchanged(image)
    return tuple(f"Note that {note}." for note in notes)


def verdict_in_words(result: Result) -> str:
    """The verdict as a coloured line, with its reasons and the predicted error, as rich text."""
    error = result.predicted_error
    line = f"{result.status.capitalize()}, confidence {result.verdict.confidence:.2f}, model {result.model}"
    reasons = "".join(f"<br>{html.escape(reason)}" for reason in result.verdict.reasons)
    figure = ""
    # A figure invites use, and of a refused result there is nothing to use.
    if math.isfinite(error.median) and result.status != "refused":
        symbol = error.grid.frame.symbol
        figure = f"<br>Predicted error: median {error.median:.3g} {symbol}, 95 % within {error.within:.3g} {symbol}."
    return f"{coloured(line, COLOURS[result.status])}{figure}{reasons}"


def _two_layers(fixed: Any, moving: Any, count: int) -> None:
    """Refuse a choice that is none."""
    from correlight.errors import UsageError

    if count == 0:
        raise UsageError("Two images are registered, and no layer is open; open two files, or File, Open Sample.")
    if fixed is None or moving is None or count == 1:
        raise UsageError("Two images are registered, and one layer is open; open the other one as well.")
    if fixed is moving:
        raise UsageError(f"{fixed.name} was chosen as fixed and as moving; choose another layer for one of them.")
    if fixed in companions(moving, [fixed]) and np.shape(fixed.data) == np.shape(moving.data):
        raise UsageError(
            f"{fixed.name} and {moving.name} are channels of one image, which lie on each other already; choose a "
            "layer of another image."
        )


def _number(channels: dict[int | None, Any], layer: Any) -> int | None:
    """Which channel a layer shows; None where any was asked for."""
    return next((number for number, shown in channels.items() if shown is layer), None)


def _prompt(layer: Any, stated: tuple[float, ...] | None) -> str:
    if layer is None:
        return ""
    if stated is not None:
        return f"{sizes(stated)} (the layer says so)"
    if layer.source.path is not None:
        return "the layer states none; type it, or leave it to the file"
    return "not stated; type it, or leave empty to search all scales"


def _words() -> Label:
    """Lines of text that are as wide as the panel and can be copied."""
    label = Label(value="", label=" ")
    label.native.setWordWrap(True)
    label.native.setTextFormat(Qt.TextFormat.RichText)
    label.native.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
