"""What the window of napari does while it registers: how long it stands still, and what memory it keeps.

``python -m benchmarks.napari_window gaps --data FOLDER`` registers a simulated cell, the same by a field and,
with a folder of real images, the deepclem demo pair, and measures the times between two ticks of the event loop: by
the clock, the same without the time for which the system let other programs run (Linux), and what the thread of the
window itself computed. ``layers --runs 4`` measures the same where three channels are laid by a spline of landmarks,
which makes three layers. ``memory --runs 12`` registers one small pair again and again in one viewer, and undoes
every result. All append to ``benchmarks/results/napari-window.md``. They need the
environment of the plug-in and a screen, such as that of ``xvfb-run`` (see the Makefile).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.software import commit
from correlight.simulate.pair import SimulatedPair, pair

RESULTS = Path(__file__).resolve().parent / "results" / "napari-window.md"
HEAD = [
    "Milliseconds between two ticks of a timer of 5 ms: 99 % of them within, the longest.",
    "",
    "| registered | seconds | by the clock | without other programs | computed by the window itself |",
    "|---|---:|---:|---:|---:|",
]


class Window:
    """A viewer with the panel that registers two images, and what happened between the ticks of its event loop."""

    def __init__(self) -> None:
        from qtpy.QtCore import QTimer
        from qtpy.QtWidgets import QApplication

        import napari

        self.viewer = napari.Viewer(show=True)
        self.app: Any = QApplication.instance()
        self.panel = self.viewer.window.add_plugin_dock_widget("correlight", "Register two images")[1]
        own = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        self._queued: Callable[[], float] = lambda: int(own.read_text().split()[1]) / 1e9 if own.exists() else 0.0
        self.ticks: list[tuple[float, float, float]] = []
        self._timer = QTimer()
        self._timer.setInterval(5)
        self._timer.timeout.connect(self._tick)

    def _tick(self) -> None:
        self.ticks.append((time.perf_counter(), self._queued(), time.thread_time()))

    def settle(self, seconds: float = 0.5) -> None:
        """Let the window draw."""
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            self.app.processEvents()
            time.sleep(0.005)

    def register(self, begin: Callable[[], object] | None = None) -> None:
        """Register what is chosen, and note every tick until the result is shown."""
        self.ticks = []
        self._tick()
        self._timer.start()
        (begin or self.panel.run)()
        while self.panel._job is not None:
            self.app.processEvents()
            time.sleep(0.001)
        self._timer.stop()
        if self.panel.view is None:
            raise SystemExit(f"Nothing was registered: {self.panel.message.value}")

    def line(self, name: str) -> str:
        """What happened between the ticks, as a row of a table."""
        clock, queued, own = np.diff(np.array(self.ticks), axis=0).T
        cells = [
            f"{1000 * np.percentile(each, 99):.0f}, {1000 * each.max():.0f}" for each in (clock, clock - queued, own)
        ]
        return f"| {name} ({self.panel.view.outcome.result.model}) | {clock.sum():.0f} | {' | '.join(cells)} |"

    def close(self) -> None:
        """Close the viewer."""
        self.viewer.close()
        self.settle()

    def open_cell(self, side: int) -> None:
        """Open the layers of a simulated electron image and light image, turned by 30 degrees."""
        from correlight.napari.layer_data import layer_data

        cell = _cell(side)
        for image, name in ((cell.fixed, "electron"), (cell.moving, "light")):
            for pixels, options, _ in layer_data(image, name):
                self.viewer.add_image(pixels, **options)
        self.panel.rotation.value, self.panel.mirror.value = "20, 40", False
        self.panel.moving_channel.value = self.viewer.layers["light reflected"]

    def click_pairs(self, side: int) -> None:
        """Choose, in the panel of landmarks, pairs and a spline through them."""
        self.panel = self.viewer.window.add_plugin_dock_widget("correlight", "Register by landmarks")[1]
        self.panel._new()
        cell, steps = _cell(side), np.linspace(0.2, 0.8, 4) * side
        here = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
        there = cell.moving.grid.index(cell.moving_from_fixed(cell.fixed.grid.points(here)))
        inside = ((there > 0) & (there < cell.moving.grid.shape)).all(axis=1)
        self.panel.points["fixed"].add(here[inside])
        self.panel.points["moving"].add(there[inside])
        self.panel.model.value = "thin-plate"

    def open_real(self, data: Path) -> None:
        """Open the deepclem demo pair."""
        pairs = {each["id"]: each for each in json.loads((data / "pairs.json").read_text(encoding="utf-8"))}
        for role in ("fixed", "moving"):
            self.viewer.open(str(data / pairs["deepclem-demo"][role]), plugin="correlight")


def _cell(side: int) -> SimulatedPair:
    """An electron image and a light image of three channels."""
    return pair("cell", 3, electron_shape=(side, side), light_shape=(3 * side // 4,) * 2, rotation=30.0, mirror=False)


def gaps(asked: argparse.Namespace) -> list[str]:
    """One line per registration."""
    lines = []
    cases = [("a simulated cell, 256 pixels", "any"), ("the same, model elastic", "elastic")]
    cases += [("deepclem demo", "any")] if asked.data else []
    for name, model in cases:
        window = Window()
        window.open_real(asked.data) if name.startswith("deepclem") else window.open_cell(256)
        window.panel.model.value = model
        window.settle(2.0)
        window.register()
        lines.append(window.line(name))
        window.close()
    return [*HEAD, *lines]


def layers(asked: argparse.Namespace) -> list[str]:
    """One line per result that makes three layers."""
    window, lines = Window(), []
    window.open_cell(256)
    window.click_pairs(256)
    window.settle(2.0)
    for _ in range(asked.runs):
        window.register(lambda: window.panel.only.changed.emit(True))
        lines.append(window.line("three channels by landmarks"))
        window.panel._undo()
        window.settle()
    window.close()
    return [*HEAD, *lines]


def memory(asked: argparse.Namespace) -> list[str]:
    """What the process holds after each registration."""
    window = Window()
    window.open_cell(128)
    held = []
    for _ in range(asked.runs):
        window.register()
        window.settle()
        window.panel._undo()
        gc.collect()
        held.append(_resident())
    window.close()
    return [
        f"Resident memory after each of {asked.runs} registrations of 128 pixels in one viewer, undone each time: "
        f"{', '.join(f'{each:.0f}' for each in held)} MB.",
    ]


def _resident() -> float:
    """Megabytes that this process holds at the moment; Linux."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return float(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1]) / 2**10


def main(arguments: list[str] | None = None) -> int:
    """Measure, and append what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.napari_window", description="Measure the window.")
    parser.add_argument("what", choices=["gaps", "layers", "memory"])
    parser.add_argument("--data", type=Path, help="folder of the real images")
    parser.add_argument("--runs", type=int, default=12, help="how often (default 12)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="Markdown file to append to")
    asked = parser.parse_args(arguments)
    lines = {"gaps": gaps, "layers": layers, "memory": memory}[asked.what](asked)
    options = " --data FOLDER" * bool(asked.data) + f" --runs {asked.runs}" * (asked.what != "gaps")
    load = f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.0f}"
    import napari

    made = f"`python -m benchmarks.napari_window {asked.what}{options}`, {commit()}"
    software = (
        f"napari {napari.__version__}, Python {platform.python_version()}, {os.environ.get('QT_API', 'Qt')}, {load}"
    )
    with asked.out.open("a", encoding="utf-8") as page:
        page.write(
            ("" if page.tell() else "# The window of napari\n")
            + "\n".join(["", f"{made}: {software}.", "", *lines, ""])
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
