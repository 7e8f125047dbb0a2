"""Both images beside each other: what is turned by hand is what the search takes, and the cursor is in both."""

import gc
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.geometry import Grid
from correlight.napari.by_hand import ByHand
from correlight.napari.linked import FoundLink, HandLink
from correlight.transforms import Affine, Chain, Projective
from correlight.transforms.field import with_sampled_field
from tests.small_pairs import section

from .conftest import Opened, couple, drawn, hover

Open = Callable[..., Opened]
FIXED, MOVING = Grid.of((64, 80), 0.1, unit="micrometre"), Grid.of((50, 40), 0.2, (1.0, 2.0), unit="micrometre")
PLACE = np.array([3.0, 5.0])


def beside(it: Opened) -> Any:
    it.click(it.panel.beside)
    window = it.panel.window_beside
    assert window is not None, it.panel.message.value
    drawn()
    return window


@pytest.mark.parametrize("mirror", [False, True])
def test_a_turn_is_what_is_seen_and_what_is_handed_on(mirror: bool) -> None:
    turn = ByHand(FIXED, MOVING, 70.0, mirror, np.array([[1.0, 2.0], [4.0, 5.0]]))
    first, last = turn.rotation
    assert first < (turn.moving_from_fixed.rotation + 180) % 360 - 180 < last
    assert turn.moving_from_fixed.mirrored == mirror
    np.testing.assert_allclose(turn.moving_from_fixed([[1.0, 2.0]]), [[4.0, 5.0]])
    # What lies above a place in the fixed image is seen above the same place of the turned moving image.
    seen = turn.shown(turn.moving_from_fixed([[1.0, 2.0], [0.0, 2.0]]))
    np.testing.assert_allclose(seen[1] - seen[0], [-1.0, 0.0], atol=1e-12)
    # Without mirror, a turn to the right brings what was up to the right.
    if not mirror:
        np.testing.assert_allclose(ByHand(FIXED, MOVING, 90.0).shown.linear @ [-1.0, 0.0], [0.0, 1.0], atol=1e-12)


def test_a_start_is_one_of_pixels_whatever_their_size() -> None:
    turn = ByHand(FIXED, MOVING, 30.0, places=np.array([[1.0, 2.0], [4.0, 5.0]]))
    sizes = Grid.of(FIXED.shape, 0.3, unit="micrometre"), Grid.of(MOVING.shape, 0.7, unit="micrometre")
    start = turn.start(*sizes)
    np.testing.assert_allclose(
        sizes[1].index(start(sizes[0].points(FIXED.index([[1.0, 2.0]])))), MOVING.index([[4.0, 5.0]])
    )


@pytest.mark.parametrize("kind", ["affine", "projective", "elastic", "hand"])
def test_places_are_linked_both_ways(kind: str) -> None:
    true = Affine.similarity(200.0, 1.1, True, FIXED.centre, MOVING.centre)
    if kind == "hand":
        link: Any = HandLink(ByHand(FIXED, MOVING, 20.0, True))
        expected = link.turn.moving_from_fixed(PLACE[None])[0]
    else:
        tilted = Projective(np.array([[1, 0, 0], [0, 1, 0], [0.002, 0.001, 1]]))
        found: Any = {"affine": true, "projective": true @ tilted, "elastic": bent(true)}[kind]
        link, expected = FoundLink(found, FIXED, MOVING), found(PLACE[None])[0]
        assert link.turn.mirror
        assert abs(link.turn.shown.linear @ true.linear / link.scale(PLACE) - np.eye(2)).max() < 0.1
    np.testing.assert_allclose(link.moving(PLACE), expected, atol=1e-6)
    np.testing.assert_allclose(link.fixed(link.moving(PLACE)), PLACE, atol=1e-3)


def bent(true: Affine) -> Any:
    class Wave:
        ndim = 2

        def __call__(self, points: np.ndarray) -> np.ndarray:
            points = np.asarray(points, float)
            return points + 0.1 * np.sin(points[:, ::-1])

    wave: Any = Wave()
    return with_sampled_field(Chain((wave, true)), true, FIXED)


def test_beyond_what_a_field_knows_there_is_no_mark() -> None:
    link = FoundLink(bent(Affine.identity()), FIXED, FIXED)
    assert np.isnan(link.moving(np.array([100.0, 100.0]))).all()


def test_what_is_turned_by_hand_is_the_start(opened: Open) -> None:
    it = opened(show=True)
    window = beside(it)
    # Both images are drawn, and turning the dial turns the right one.
    shots = [shot(canvas) for canvas in (window.left, window.right)]
    assert min(np.ptp(shot) for shot in shots) > 50
    window.dial.setValue(30)
    assert window.degrees.value() == 30.0
    assert (np.abs(shot(window.right).astype(int) - shots[1]).max(axis=2) > 20).mean() > 0.02
    assert np.array_equal(shot(window.left), shots[0])
    # Moved alone, and linked again, the middles are the same place.
    truth, here = couple().moving_from_fixed, couple().fixed.grid.centre
    it.qtbot.mouseClick(window.linked, left_button())
    window.right.look_at(truth(here[None])[0], window.right.zoom)
    it.qtbot.mouseClick(window.linked, left_button())
    assert window.turn.placed
    it.qtbot.mouseClick(window.use, left_button())
    assert "near the place" in it.panel.message.value
    assert it.panel.rotation.value == "15.0, 45.0"
    assert it.panel.from_turn.value
    it.panel.moving_channel.value = it.viewer.layers["light reflected"]
    it.click(it.panel.start)
    it.wait()
    found = it.panel.view.outcome.result
    assert abs(found.poses[0].linear.rotation - 30.0) < 3
    # From now on the result links them, and Undo gives the turn back.
    assert not window.dial.isEnabled()
    hover(window.left, here)
    assert np.linalg.norm(window.right.marked - truth(here[None])[0]) < 0.5
    hover(window.right, truth(here[None])[0])
    assert np.linalg.norm(window.left.marked - here) < 0.5
    assert window.right.marked is None
    assert window.words.text().startswith("fixed ")
    it.click(it.panel.undo)
    assert window.dial.isEnabled()
    assert window.degrees.value() == 30.0


def shot(canvas: Any) -> np.ndarray:
    drawn()
    return np.asarray(canvas.native.screenshot(flash=False))[..., :3].copy()


def left_button() -> Any:
    from qtpy.QtCore import Qt

    return Qt.MouseButton.LeftButton


def test_views_move_together_and_apart(opened: Open) -> None:
    it = opened(show=True)
    window = beside(it)
    window.left.look_at(np.array([1.0, 2.0]), 90.0)
    np.testing.assert_allclose(window.right.middle, HandLink(window.turn).moving(np.array([1.0, 2.0])), atol=1e-9)
    assert window.right.zoom == pytest.approx(90.0)
    window.right.look_at(window.right.middle + 0.5, 45.0)
    np.testing.assert_allclose(window.left.middle, [1.5, 2.5], atol=1e-9)
    window.linked.setChecked(False)
    window.left.look_at(np.array([0.5, 0.5]), 90.0)
    assert window.right.zoom == pytest.approx(45.0)
    # What is set in the layer list is seen beside, too.
    layer = it.viewer.layers["electron"]
    layer.contrast_limits = (10, 90)
    assert tuple(window.left.copies[0].contrast_limits) == (10, 90)


def test_a_section_and_its_stack_are_linked_through_space(opened: Open) -> None:
    pair = section()
    link = FoundLink(pair.moving_from_fixed, pair.fixed.grid, pair.moving.grid)
    flat = pair.fixed.grid if pair.fixed.ndim == 2 else pair.moving.grid
    assert {pair.fixed.ndim, pair.moving.ndim} == {2, 3}
    across, back = (link.moving, link.fixed) if pair.fixed.ndim == 2 else (link.fixed, link.moving)
    there = across(flat.centre)
    assert there.shape == (3,)
    np.testing.assert_allclose(back(there), flat.centre, atol=1e-9)
    it = opened(images=False, show=True)
    from correlight.napari.layer_data import layer_data

    for image, name in ((pair.fixed, "fixed"), (pair.moving, "moving")):
        for data, options, _ in layer_data(image, name):
            it.viewer.add_image(data, **options)
    it.panel.moving.value = it.viewer.layers["moving"]
    window = beside(it)
    hover(window.left, window.left.middle)
    assert window.right.marked.shape == (pair.moving.ndim,)


def test_a_closed_window_leaves_nothing(opened: Open) -> None:
    from napari._qt.qt_viewer import QtViewer
    from qtpy.QtWidgets import QApplication

    it = opened(show=True)
    gc.collect()
    before = len(QtViewer._instances), len(QApplication.topLevelWidgets()), threading.active_count()
    beside(it).close()
    it.panel.window_beside = None
    drawn()
    gc.collect()
    drawn()
    assert (len(QtViewer._instances), len(QApplication.topLevelWidgets()), threading.active_count()) == before
    # A layer that goes takes the window with it, and so does the panel.
    window = beside(it)
    it.viewer.layers.remove("electron")
    assert not window.open
    it.viewer.layers.clear()
    it.click(it.panel.beside)
    assert "no layer is open" in it.panel.message.value
