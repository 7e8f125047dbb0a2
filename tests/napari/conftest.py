"""Viewers of napari with the panels of the plug-in, on small images. Skipped where napari or a screen is missing."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.simulate import pair
from correlight.simulate.pair import SimulatedPair

# What a quiet machine needs a few seconds for.
PATIENCE = 300_000


@pytest.fixture(autouse=True)
def _screen() -> None:
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        pytest.skip("napari needs a screen; run the tests under xvfb-run (make test-napari)")


@pytest.fixture(autouse=True)
def _home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Settings of whoever runs the tests neither count nor change, and only the thread of the window changes layers."""
    monkeypatch.setenv("NAPARI_CONFIG", str(tmp_path / "settings.yaml"))
    monkeypatch.setenv("NAPARI_ENSURE_PLUGIN_MAIN_THREAD", "True")


@cache
def couple() -> SimulatedPair:
    """An electron image of a cell and a light image of three channels, turned by 30 degrees."""
    return pair("cell", 3, electron_shape=(256, 256), light_shape=(192, 192), rotation=30.0, mirror=False)


@dataclass
class Opened:
    """A viewer with a panel."""

    viewer: Any
    panel: Any
    qtbot: Any

    def click(self, button: Any) -> None:
        """Press a button of the panel with the mouse."""
        from qtpy.QtCore import Qt

        self.qtbot.mouseClick(button.native, Qt.MouseButton.LeftButton)

    def wait(self) -> None:
        """Until the work is done."""
        self.qtbot.waitUntil(lambda: self.panel._job is None, timeout=PATIENCE)

    def narrow(self) -> None:
        """Search few poses, so that it takes little time."""
        self.panel.rotation.value, self.panel.mirror.value = "20, 40", False
        names = {layer.name: layer for layer in self.viewer.layers}
        if "light reflected" in names:
            self.panel.moving_channel.value = names["light reflected"]


@pytest.fixture
def opened(make_napari_viewer: Callable[..., Any], qtbot: Any) -> Iterator[Callable[..., Opened]]:
    """Makes a viewer with a panel, with the layers of an electron and a light image unless told otherwise."""
    made: list[Any] = []

    def open_it(widget: str = "Register two images", images: bool = True, show: bool = False) -> Opened:
        from correlight.napari.layer_data import layer_data

        viewer = make_napari_viewer(show=show, strict_qt="raise")
        if images:
            for image, name in ((couple().fixed, "electron"), (couple().moving, "light")):
                for data, options, _ in layer_data(image, name):
                    viewer.add_image(data, **options)
        _, panel = viewer.window.add_plugin_dock_widget("correlight", widget)
        made.append(panel)
        return Opened(viewer, panel, qtbot)

    yield open_it
    for panel in made:
        job = getattr(panel, "_job", None)
        if job is not None:
            job.cancel()
            qtbot.waitUntil(lambda job=job: not job.running, timeout=PATIENCE)
    # pytest keeps this function until after the viewer has looked for widgets that nobody let go of.
    made.clear()


class Ticks:
    """What was computed between two ticks of the event loop of the window, in seconds of processor.

    On a busy machine every window waits for other programs, and computes more slowly itself, which says nothing about
    this one: no clock is looked at, but shares of what was computed meanwhile. `benchmarks.napari_window` measures what
    a user sees.
    """

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer

        self._marks = [(time.thread_time(), time.process_time())]
        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)
        self._timer.start()

    def _tick(self) -> None:
        self._marks.append((time.thread_time(), time.process_time()))

    def check(self) -> None:
        """Stop, and see that the window could be used all the time."""
        self._tick()
        self._timer.stop()
        window, whole = np.diff(np.array(self._marks), axis=0).T
        # The window itself never computed for long; a window that waits does not compute, but others do meanwhile.
        assert window.max() <= 0.02 * whole.sum()
        assert whole.max() <= 0.1 * whole.sum()


def drawn() -> None:
    """Wait until what changed is drawn."""
    from qtpy.QtWidgets import QApplication

    for _ in range(10):
        QApplication.processEvents()
        time.sleep(0.02)


def pixels(viewer: Any) -> np.ndarray:
    """The canvas as it is drawn, ``(Y, X, 3)``."""
    drawn()
    return np.asarray(viewer.screenshot(flash=False))[..., :3]


def hover(canvas: Any, place: np.ndarray) -> None:
    """Move the mouse over a place of one of two images that stand side by side."""
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    native = canvas.native.canvas.native
    seen = (canvas._shown(place[None, -2:])[0] - canvas.model.scene.camera.center[-2:]) * canvas.zoom
    at = QPointF(native.width() / 2 + seen[1], native.height() / 2 + seen[0])
    none = Qt.MouseButton.NoButton
    move = QMouseEvent(
        QEvent.Type.MouseMove, at, QPointF(native.mapToGlobal(at.toPoint())), none, none, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(native, move)


def press_key(it: Opened, key: str) -> None:
    """Press a key of the viewer, as the canvas hands it on."""
    from app_model.types import KeyBinding

    it.viewer.window._qt_viewer._key_map_handler.press_key(KeyBinding.from_str(key))
