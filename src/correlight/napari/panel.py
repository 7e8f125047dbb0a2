"""What the panels share: work beside the window, a result to look at and save, and sentences instead of errors."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from weakref import ref

from magicgui.widgets import Container, FileEdit, ProgressBar, PushButton
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QComboBox, QLabel, QMainWindow, QScrollArea, QVBoxLayout, QWidget

from correlight.napari.changes import Watch
from correlight.napari.layers import Taken, companions, stated_spacing
from correlight.napari.notes import uncalibrated
from correlight.napari.outcome import Outcome
from correlight.napari.result_view import KEYS, ResultView, results_of
from correlight.napari.texts import COLOURS, coloured, sizes
from correlight.napari.work import Job, sentence
from correlight.napari.written import write_outcome
from correlight.registration.result import Result

# Pixels of the screen.
_SIZE = 380, 320


class Panel(QScrollArea):
    """A panel at the side of a viewer.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose layers are worked on.
    """

    def __init__(self, viewer: Any) -> None:
        super().__init__()
        self._viewer = viewer
        self._job: Job | None = None
        self.view: ResultView | None = None
        # Results of other moving images, which stay, the last one last.
        self._earlier: list[ResultView] = []
        self._watch: Watch | None = None
        self._notes: list[str] = []
        self._steps: Iterator[None] = iter(())
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self._next_step)
        self.cancel = PushButton(text="Cancel", enabled=False)
        self.progress = ProgressBar(max=100, visible=False)
        self.message, self.verdict = Words(), Words()
        self.error, self.undo = PushButton(text="Show predicted error"), PushButton(text="Undo")
        self.folder, self.save = FileEdit(mode="w", label="result folder"), PushButton(text="Save")
        self.cancel.changed.connect(self._cancel)
        self.error.changed.connect(self.guarded(self._show_error))
        self.undo.changed.connect(self.guarded(self._undo))
        self.save.changed.connect(self.guarded(self._save))
        self._viewer.layers.events.inserted.connect(self._refresh)
        self._viewer.layers.events.removed.connect(self._refresh)
        self._viewer.layers.events.renamed.connect(self._refresh)

    def _lay_out(
        self, before: Sequence[Any], run: Sequence[Any], after: Sequence[Any] = (), said: Sequence[Any] = ()
    ) -> None:
        """Stack the widgets: choices, what they say, what starts the work, and what can be done with a result."""
        buttons = Container(widgets=[*run, self.cancel], layout="horizontal", labels=False)
        row = Container(widgets=[self.error, self.undo], layout="horizontal", labels=False)
        self.after = Container(widgets=[row, *after, self.folder, self.save], visible=False)
        self.folder.choose_btn.text = "Choose"
        self._forms = Container(widgets=before), Container(widgets=[buttons, self.progress], labels=False), self.after
        self._runners = [*run, self.save]
        inside = QWidget()
        stack = QVBoxLayout(inside)
        for part in (self._forms[0].native, *said, self._forms[1].native, self.message, self.verdict):
            stack.addWidget(part)
        stack.addWidget(self.after.native)
        stack.addStretch()
        for box in inside.findChildren(QComboBox):
            # Long names of layers shall not push what stands beside them out of the panel; whole they are in the tip.
            box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            box.setToolTip(box.currentText())
            box.currentTextChanged.connect(box.setToolTip)
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumSize(*_SIZE)
        self.setWidget(inside)

    def _main_window(self) -> Any:
        """The window of napari; the panel itself where it was taken out of it."""
        window: Any = self
        while window.parentWidget() is not None:
            window = window.parentWidget()
        return window

    def _canvas(self) -> QWidget | None:
        """What of the window of napari draws the layers."""
        window = self._main_window()
        return window.centralWidget() if isinstance(window, QMainWindow) else None

    # Layers.

    def _images(self, _: Any = None) -> list[Any]:
        return [layer for layer in self._viewer.layers if type(layer).__name__ in ("Image", "Labels")]

    def _companions(self, layer: Any) -> tuple[Any, ...]:
        return () if layer is None else companions(layer, list(self._viewer.layers))

    def _refresh(self, _: Any = None) -> None:
        """Offer the layers that there are."""

    def _offer(self, fixed: Any, moving: Any) -> None:
        """Offer the layers that there are; the moving one is of another image than the fixed one."""
        offer_again(fixed)
        offer_again(moving)
        if moving.value is fixed.value:
            own = self._companions(fixed.value)
            other = next((each for each in moving.choices if each not in own), None)
            if other is not None:
                moving.value = other

    # The work.

    def _begin(self, work: Callable[..., Any], done: Callable[[Any], Iterator[None]], *, stays: bool = False) -> None:
        for button in self._runners:
            button.enabled = False
        self.cancel.enabled = self.progress.visible = True
        watch = self._watch

        def watched(progress: Callable[[str, float], None]) -> Any:
            if watch is None:
                return work(progress)
            watch.begin(progress)
            value = work(progress)
            # What stays done is no longer cancelled.
            watch.check((lambda stage, fraction: None) if stays else progress)
            return value

        self._job = Job(watched, told=self._told, done=partial(self._ended, done), failed=self._failed, stays=stays)

    def _told(self, stage: str, fraction: float) -> None:
        self.progress.value = round(100 * min(max(fraction, 0.0), 1.0))
        self.progress.native.setFormat(f"{stage} %p %")
        self.progress.native.setTextVisible(True)

    def _idle(self) -> None:
        if self._job is not None:
            self._job.end()
        self._job = None
        for button in self._runners:
            button.enabled = True
        self.cancel.enabled = self.progress.visible = False
        self._unwatched()

    def _ended(self, done: Callable[[Any], Iterator[None]], value: Any) -> None:
        """Show what the work came to, step by step, and let the window do what else there is between them."""
        self._steps = done(value)
        self.cancel.enabled = False
        self._next_step()

    def _next_step(self) -> None:
        try:
            next(self._steps)
            self._later.start()
            return
        except StopIteration:
            pass
        except Exception as error:  # the window must stay usable, whatever it was
            self.say(sentence(error))
        self._steps = iter(())
        self._idle()

    def _finish_steps(self) -> None:
        """Take all steps that are left, before something else is done with what they show."""
        while self._later.isActive():
            self._later.stop()
            self._next_step()

    def _failed(self, sentence_or_nothing: str) -> None:
        self.say(sentence_or_nothing or "Cancelled; nothing was changed or written.")
        self._idle()

    def _cancel(self, _: Any = None) -> None:
        if self._job is not None:
            self._job.cancel()
            self.say("Cancelling …")

    def event(self, event: Any) -> bool:
        """End the work when the panel is closed: napari takes it out of its window then."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._closed()
        return bool(super().event(event))

    def _closed(self) -> None:
        if self._job is not None:
            self._job.cancel()
        self._finish_steps()

    def _watched(self, *taken: Taken) -> None:
        """Notice when layers are closed or changed while they are worked on."""
        self._unwatched()
        self._watch = Watch(*taken)

    def _unwatched(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        self._watch = None

    # The result.

    def _registered(self, outcome: Outcome) -> Iterator[None]:
        happened = "" if self._watch is None else self._watch.said(self._viewer.layers)
        if happened:
            self.say(happened)
            return
        for other in results_of(self._viewer.layers):
            # A layer lies by one result: what this or another panel made of it is taken back.
            if not set(other.moving).isdisjoint(outcome.moving.channels.values()):
                other.close(undo=True)
                other.replaced()
                yield
        if self.view is not None and self.view.lies:
            self._earlier.append(self.view)
        elif self.view is not None:
            self.view.close(undo=True)
        view = ResultView(self._viewer, outcome, self.say, self._canvas())
        view.replaced = partial(self._replaced, ref(view))
        self.view = view
        yield from view.show()
        self._take_up(view)
        yield
        refused = "Nothing was moved, for the result is refused." if outcome.result.status == "refused" else ""
        grids = outcome.fixed.image.grid, outcome.moving.image.grid
        notes = [
            *self._notes,
            *uncalibrated(view.fixed, view.moving[0], (grids[0].calibrated, grids[1].calibrated)),
        ]
        self.say(" ".join(part for part in (*notes, refused, KEYS) if part))

    def _take_up(self, view: ResultView | None) -> None:
        """Let the panel speak of a result, and look at it, save it and undo it from now on."""
        self.view = view
        self.verdict.value = "" if view is None else verdict_in_words(view.outcome.result)
        self.after.visible = view is not None

    def _replaced(self, gone: Callable[[], ResultView | None]) -> None:
        """Let go of a result in whose place there is another one by now."""
        view = gone()
        self._earlier = [each for each in self._earlier if each is not view]
        if self.view is view:
            self._take_up(self._earlier.pop() if self._earlier else None)
            self.say("Another panel made a result of these layers, which took the place of the one here.")

    def _show_error(self) -> None:
        if self.view is not None:
            self.view.add_error()

    def _undo(self) -> None:
        self._finish_steps()
        if self.view is not None:
            self.view.close(undo=True)
            self._take_up(self._earlier.pop() if self._earlier else None)
            left = ""
            if self.view is not None:
                left = f" The result of {self.view.moving[0].name} stays; Undo takes it back, too."
            self.say(f"All layers are where they were.{left}")

    def _save(self) -> None:
        if self.view is None or self._job is not None:
            return
        target, outcome = Path(self.folder.value), self.view.outcome
        if not target.name:
            self.say("Name a folder to make first, under result folder.")
            return
        # In place of a result that is refused, its best pose may be looked at.
        other = f"It holds the result, and not pose {self.view.pose}, which is shown." if self.view.pose > 1 else ""
        self._begin(partial(write_outcome, outcome, target), partial(self._written, target, other), stays=True)

    def _written(self, target: Path, other: str, notes: Sequence[str]) -> Iterator[None]:
        self.say(" ".join([f"Saved in {target}.", *([other] if other else []), *notes]))
        yield

    # Words.

    def guarded(self, act: Callable[[], Any]) -> Callable[..., None]:
        """An action whose errors become a sentence in the panel."""

        def acted(*_: Any) -> None:
            try:
                act()
            except Exception as error:  # the window must stay usable, whatever it was
                self.say(sentence(error))

        return acted

    def say(self, text: str) -> None:
        """Show a sentence in the panel."""
        self.message.value = html.escape(text)


def offer_again(box: Any) -> None:
    """Offer the layers that there are now, under their names of now; what was chosen stays chosen."""
    chosen = box.value
    # A choice that was renamed is gone for a moment, which nobody shall act on.
    with box.changed.blocked():
        box.reset_choices()
        if box.value is not chosen and chosen in box.choices:
            box.value = chosen
    if box.value is not chosen:
        box.changed.emit(box.value)


def verdict_in_words(result: Result) -> str:
    """The verdict as a coloured line, with the predicted error, its reasons and what to try next, as rich text."""
    error = result.predicted_error
    line = f"{result.status.capitalize()}, confidence {result.verdict.confidence:.2f}, model {result.model}"
    reasons = "".join(f"<br>{html.escape(reason)}" for reason in result.verdict.reasons)
    figure = ""
    # A figure invites use, and of a refused result there is nothing to use.
    if math.isfinite(error.median) and result.status != "refused":
        symbol = error.grid.frame.symbol
        figure = f"<br>Predicted error: median {error.median:.3g} {symbol}, 95 % within {error.within:.3g} {symbol}."
    advice = "".join(f"<br>Next: {html.escape(one.sentence)}" for one in result.advice)
    return f"{coloured(line, COLOURS[result.status])}{figure}{reasons}{advice}"


def prompt(layer: Any) -> str:
    """What an empty field for the pixel size of a layer says."""
    stated = None if layer is None or layer.ndim not in (2, 3) else stated_spacing(layer)
    if layer is None:
        return ""
    if stated is not None:
        return f"{sizes(stated)} (the layer says so)"
    if layer.source.path is not None:
        return "the layer states none; type it, or leave it to the file"
    return "not stated; type it, or leave empty to search all scales"


class Words(QLabel):
    """Lines of rich text that are as wide as the panel and can be copied."""

    def __init__(self) -> None:
        super().__init__()
        self.setWordWrap(True)
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)

    @property
    def value(self) -> str:
        """The text."""
        return str(self.text())

    @value.setter
    def value(self, text: str) -> None:
        self.setText(text)
