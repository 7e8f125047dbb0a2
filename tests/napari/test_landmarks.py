"""The panel for landmarks: live errors, suspects, the next place, files, and results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from .conftest import Opened, couple, drawn, pixels

Open = Callable[..., Opened]


def places() -> tuple[np.ndarray, np.ndarray]:
    """Pixels of seven places in both images, up to half a pixel off."""
    fixed = np.array([[30, 40], [60, 200], [200, 60], [210, 200], [128, 128], [100, 60], [150, 190]], float)
    pair = couple()
    there = pair.moving.grid.index(pair.moving_from_fixed(pair.fixed.grid.points(fixed)))
    inside = ((there > 2) & (there < 189)).all(axis=1)
    return fixed[inside], (there + np.random.default_rng(5).normal(0, 0.2, there.shape))[inside]


@pytest.fixture
def clicked(opened: Open) -> Callable[..., Opened]:
    """Makes a viewer with the panel and pairs that were set in it."""

    def make(wrong: int | None = None) -> Opened:
        it = opened("Register by landmarks")
        it.click(it.panel.new)
        fixed, moving = places()
        if wrong is not None:
            moving[wrong] += 40
        it.panel.points["fixed"].add(fixed)
        it.panel.points["moving"].add(moving)
        return it

    return make


def test_every_click_says_what_the_pairs_say(clicked: Callable[..., Opened]) -> None:
    it = clicked()
    count = len(places()[0])
    assert it.panel.said.found is not None
    assert f"{count} pairs" in it.panel.table.value
    assert it.panel.said.found.fre < 0.1
    event = type("Event", (), {"position": tuple(couple().fixed.grid.centre)})
    it.panel._moved(it.viewer, event)
    assert it.panel.here.value.startswith("Predicted error here: 0.0")
    it.click(it.panel.next)
    assert it.viewer.layers[-1].name == "next landmark"
    assert "lowers the predicted error" in it.panel.message.value
    it.panel.points["fixed"].add([[10.0, 10.0]])
    it.panel.points["moving"].add([[10.0, 10.0]])
    assert f"{count + 1} pairs" in it.panel.table.value
    it.click(it.panel.back)
    it.click(it.panel.back)
    assert f"{count} pairs" in it.panel.table.value
    assert len(it.panel.points["fixed"].data) == count


def test_a_landmark_can_be_dragged_elsewhere(opened: Open) -> None:
    from qtpy.QtCore import QEvent, QPointF, Qt
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    it = opened("Register by landmarks", show=True)
    it.click(it.panel.new)
    fixed, moving = places()
    layer = it.panel.points["fixed"]
    layer.add(fixed)
    it.panel.points["moving"].add(moving)
    it.viewer.layers.selection.active = layer
    layer.mode = "select"
    it.viewer.reset_view()
    pixels(it.viewer)
    window, camera = it.viewer.window._qt_viewer.canvas.native, it.viewer.scene.camera
    away = (np.asarray(layer.data_to_world(layer.data[0])) - np.asarray(camera.center)[-2:]) * camera.zoom
    place = away[::-1] + np.array([window.width(), window.height()]) / 2

    def mouse(kind: Any, by: float, button: Any, held: Any) -> None:
        at = QPointF(*(place + by))
        everywhere = QPointF(window.mapToGlobal(at.toPoint()))
        QApplication.sendEvent(window, QMouseEvent(kind, at, everywhere, button, held, Qt.KeyboardModifier.NoModifier))
        drawn()

    left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
    mouse(QEvent.Type.MouseMove, 0, none, none)
    mouse(QEvent.Type.MouseButtonPress, 0, left, left)
    for by in (5, 10, 15, 20):
        mouse(QEvent.Type.MouseMove, by, none, left)
    mouse(QEvent.Type.MouseButtonRelease, 20, left, none)
    assert np.abs(layer.data[0] - fixed[0]).min() > 2
    assert np.array_equal(layer.data[1:], fixed[1:])
    # What the pairs say follows, and one step back is where it was.
    assert it.panel.said.found is not None
    assert it.panel.said.found.fre > 0.1
    it.click(it.panel.back)
    assert np.allclose(layer.data, fixed)


def test_a_pair_that_cannot_be_right_is_named_and_red(clicked: Callable[..., Opened]) -> None:
    it = clicked(wrong=1)
    assert it.panel.said.suspected == {1}
    assert "Pair 2 is" in it.panel.table.value
    colours = np.asarray(it.panel.points["moving"].face_color)
    assert not np.allclose(colours[1], colours[0])


def test_clicks_alone_are_a_result_that_can_be_saved(clicked: Callable[..., Opened], tmp_path: Path) -> None:
    it = clicked()
    it.click(it.panel.only)
    it.wait()
    assert "model" in it.panel.verdict.value
    layer = it.viewer.layers["light reflected"]
    truth = couple().moving_from_fixed.inverse()(couple().moving.grid.points([[96, 96]]))[0]
    assert np.linalg.norm(np.asarray(layer.data_to_world((96, 96))) - truth) < 0.3
    # The landmarks move with the image that they were set in.
    points = it.panel.points["moving"]
    np.testing.assert_allclose(points.affine.affine_matrix, layer.affine.affine_matrix)
    it.panel.folder.value = tmp_path / "by hand"
    it.click(it.panel.save)
    it.wait()
    assert (tmp_path / "by hand" / "landmarks.csv").is_file()
    assert (tmp_path / "by hand" / "result.json").is_file()


def test_a_spline_is_shown_by_layers_that_are_resampled(clicked: Callable[..., Opened]) -> None:
    it = clicked()
    it.panel.model.value = "thin-plate"
    it.click(it.panel.only)
    it.wait()
    assert it.panel.view is not None, it.panel.message.value
    assert it.panel.view.outcome.result.status != "refused"
    for channel in ("chromatin", "reflected", "particles"):
        made = it.viewer.layers[f"light {channel} registered"]
        assert made.data.shape == couple().fixed.grid.shape
        # Nothing is left to compute in the window.
        assert isinstance(made.data, np.ndarray)
        assert not it.viewer.layers[f"light {channel}"].visible
    it.click(it.panel.undo)
    assert len(it.viewer.layers) == 6
    assert it.viewer.layers["light reflected"].visible


def test_the_search_can_begin_at_the_clicks(clicked: Callable[..., Opened]) -> None:
    it = clicked()
    it.click(it.panel.improve)
    it.wait()
    assert it.panel.view is not None
    found = it.panel.view.outcome.result
    assert found.recipe == "auto"
    assert abs(found.poses[0].linear.rotation - 30.0) < 3


@pytest.mark.parametrize("name", ["pairs.csv", "bigwarp.json", "ecclem.xml"])
def test_pairs_are_written_and_opened_again(clicked: Callable[..., Opened], tmp_path: Path, name: str) -> None:
    it = clicked()
    before = [np.array(it.panel.points[role].data) for role in ("fixed", "moving")]
    it.panel.target.value = tmp_path / name
    it.click(it.panel.write)
    assert (tmp_path / name).is_file(), it.panel.message.value
    it.panel._put(np.empty((0, 2)), np.empty((0, 2)))
    it.panel.file.value = tmp_path / name
    it.click(it.panel.open)
    for role, data in zip(("fixed", "moving"), before, strict=True):
        np.testing.assert_allclose(it.panel.points[role].data, data, atol=1e-4)


def test_without_pairs_there_is_a_sentence(opened: Open) -> None:
    it: Any = opened("Register by landmarks")
    for button in (it.panel.only, it.panel.improve, it.panel.write):
        it.click(button)
        assert "There is no pair" in it.panel.message.value
    it.click(it.panel.open)
    assert "Choose a file of pairs first" in it.panel.message.value
    it.click(it.panel.next)
    assert "once there are more pairs" in it.panel.message.value


def test_landmarks_belong_to_the_image_that_they_were_set_in(clicked: Callable[..., Opened], tmp_path: Path) -> None:
    it: Any = clicked()
    other = it.viewer.add_image(np.ones((64, 64)), name="other")
    it.panel.fixed.value = other
    it.panel.target.value = tmp_path / "pairs.csv"
    for button in (it.panel.only, it.panel.write):
        it.click(button)
        assert "The fixed landmarks were set in electron, and other is chosen now" in it.panel.message.value
    it.panel.fixed.value = it.viewer.layers["electron"]
    it.click(it.panel.back)
    assert it.panel.message.value == ""
    # Pairs of which one side was closed are none any more.
    it.viewer.layers.remove(it.panel.points["fixed"])
    it.click(it.panel.write)
    assert "There is no pair to write" in it.panel.message.value
    assert not list(tmp_path.glob("*.csv"))
