"""Whatever is chosen, clicked or changed ends in one sentence in the panel, or in a result with a note."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.napari.layer_data import layer_data
from tests.small_pairs import section

from .conftest import PATIENCE, Opened, couple

Open = Callable[..., Opened]
NOISE = np.random.default_rng(0)


def start(it: Opened) -> str:
    """Press Start, wait, and read what the panel says."""
    it.click(it.panel.start)
    it.wait()
    said: str = it.panel.message.value
    assert said
    assert "not foreseen" not in said
    return said


def electron_and(it: Opened, data: Any, kind: str = "image", **options: Any) -> Any:
    """Open the electron image and something else, which is chosen as moving if it can be."""
    [(pixels, look, _)] = layer_data(couple().fixed, "electron")
    it.viewer.add_image(pixels, **look)
    layer = getattr(it.viewer, f"add_{kind}")(data, name="other", **options)
    if kind in ("image", "labels"):
        it.panel.moving.value = layer
    return layer


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: np.full((64, 64), 7, np.uint8), ""),
        (lambda: np.ones((1, 1), np.uint8), ""),
        (lambda: np.full((64, 64), np.nan, np.float32), "no valid pixel"),
        (lambda: np.where(NOISE.random((64, 64)) < 0.3, np.nan, NOISE.random((64, 64))), ""),
        (lambda: NOISE.random((64, 64)) * 1e30, ""),
        (lambda: NOISE.random((64, 64)) > 0.5, ""),
        (lambda: NOISE.random((3, 2, 32, 32)), "has 4 axes"),
        (lambda: NOISE.random((5, 64, 64)), "voxel size"),
    ],
    ids=["constant", "one pixel", "NaN", "some NaN", "huge", "bool", "series", "stack"],
)
def test_odd_images_are_said_or_registered(opened: Open, make: Callable[[], Any], words: str) -> None:
    it = opened(images=False)
    electron_and(it, make(), multiscale=False)
    it.panel.rotation.value, it.panel.mirror.value = "0, 10", False
    assert words in start(it)


def test_points_and_shapes_are_not_offered_and_labels_refused(opened: Open) -> None:
    it = opened(images=False)
    electron_and(it, np.ones((3, 2)), "points")
    it.viewer.add_shapes(np.array([[0, 0], [9, 9], [0, 9]]), shape_type="polygon")
    assert "one layer is open" in start(it)
    it.viewer.add_labels(np.ones((64, 64), np.uint8), name="nuclei")
    it.panel.moving.value = it.viewer.layers["nuclei"]
    assert "nuclei holds labels" in start(it)


def test_colours_are_registered_by_brightness_and_said_so(opened: Open) -> None:
    it = opened(images=False)
    layer = electron_and(it, NOISE.integers(0, 255, (64, 64, 3)).astype(np.uint8), rgb=True)
    it.panel.rotation.value, it.panel.mirror.value = "0, 10", False
    assert "other is in colours and was registered by its brightness" in start(it)
    assert it.panel.moving_channel.native.itemText(0) == "brightness"
    it.panel.moving_channel.value = 1
    assert "brightness" not in start(it)
    assert it.panel.view.outcome.result.moving.channel == "green"
    assert layer.visible


def test_units_that_differ_and_an_affine_of_its_own_are_said(opened: Open) -> None:
    it = opened(images=False)
    image = couple().moving
    pixels = np.asarray(image.levels[0])[list(image.channels).index("reflected")]
    place: dict[str, Any] = {
        "scale": np.asarray(image.grid.spacing) * 1000,
        "units": ("nm", "nm"),
        "translate": (5.0, 7.0),
    }
    electron_and(it, pixels, affine=[[0, -1, 5], [1, 0, 3], [0, 0, 1]], **place)
    it.panel.rotation.value, it.panel.mirror.value = "20, 40", False
    said = start(it)
    assert "electron counts in micrometer and other in nanometer; both were converted" in said
    assert "other had an affine transform of its own" in said
    assert "Accepted" in it.panel.verdict.value
    layer = it.viewer.layers["other"]
    truth = couple().moving_from_fixed.inverse()(image.grid.points([[96, 96]]))[0]
    assert np.linalg.norm(np.asarray(layer.data_to_world((96, 96))) - truth) < 0.5
    it.click(it.panel.undo)
    np.testing.assert_allclose(layer.affine.affine_matrix, [[0, -1, 5], [1, 0, 3], [0, 0, 1]])
    assert str(layer.units[0]) == "nanometer"


def test_one_without_pixel_size_is_said(opened: Open) -> None:
    it = opened(images=False)
    electron_and(it, NOISE.random((64, 64)))
    it.panel.rotation.value, it.panel.mirror.value = "0, 10", False
    assert it.panel.moving_size.native.toolTip().startswith("not stated")
    assert "other states none, so the scale was searched too" in start(it)


def test_pixels_painted_in_place_meanwhile(opened: Open) -> None:
    it = opened()
    it.narrow()
    it.click(it.panel.start)
    it.qtbot.waitUntil(lambda: it.panel.progress.native.format().startswith("search"), timeout=PATIENCE)
    taken = it.panel._watch._taken[0].levels[0][0]
    taken = taken if taken.flags.writeable else taken.base
    was = taken[3:9, 3:9].copy()
    taken[3:9, 3:9] = 0
    try:
        it.wait()
        assert "electron was changed meanwhile" in it.panel.message.value
        assert it.panel.view is None
    finally:
        taken[3:9, 3:9] = was


def test_a_flat_image_and_a_stack(opened: Open) -> None:
    pair = section()
    it = opened(images=False)
    for image, name in ((pair.fixed, "slice"), (pair.moving, "stack")):
        for data, options, _ in layer_data(image, name):
            it.viewer.add_image(data, **options)
    it.panel.moving.value = it.viewer.layers["stack"]
    it.panel.rotation.value, it.panel.mirror.value = "30, 50", False
    start(it)
    assert it.panel.view.outcome.result.status != "refused"
    assert it.viewer.layers["stack registered"].data.ndim == 2
    it.click(it.panel.undo)
    assert [layer.name for layer in it.viewer.layers] == ["slice", "stack"]


def test_what_is_chosen_and_typed_survives_renaming_and_new_layers(opened: Open) -> None:
    it = opened()
    it.panel.moving.value = it.viewer.layers["light particles"]
    it.panel.moving_size.value = "0.5"
    assert it.panel.moving.native.toolTip() == "light particles"
    it.viewer.layers["light particles"].name = "beads"
    it.viewer.add_image(np.zeros((4, 4)), name="further")
    assert it.panel.moving.value is it.viewer.layers["beads"]
    assert it.panel.moving_size.value == "0.5"
    assert it.panel.moving.native.currentText() == "beads"
    it.viewer.layers.remove("beads")
    assert it.panel.moving_size.value == ""


def test_buttons_in_any_order(opened: Open) -> None:
    it = opened()
    it.narrow()
    for button in (it.panel.undo, it.panel.error, it.panel.save, it.panel.refine, it.panel.cancel):
        button.changed.emit(True)
        it.qtbot.waitUntil(lambda: it.panel._job is None, timeout=PATIENCE)
        assert "not foreseen" not in it.panel.message.value
    for _ in range(2):
        start(it)
        it.click(it.panel.error)
    assert len(it.panel._viewer.layers) == 5
    it.viewer.layers.remove("electron")
    for button in (it.panel.error, it.panel.undo):
        it.click(button)
        assert "not foreseen" not in it.panel.message.value


def test_a_folder_that_is_there_and_one_that_cannot_be_written(opened: Open, tmp_path: Any) -> None:
    it = opened()
    it.narrow()
    start(it)
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "notes.txt").write_text("keep")
    (tmp_path / "file").write_text("no folder")
    for target in (tmp_path / "there", tmp_path / "file" / "below", tmp_path / "file"):
        it.panel.folder.value = target
        it.click(it.panel.save)
        it.wait()
        assert str(target.name) in it.panel.message.value
        assert "Saved" not in it.panel.message.value
        assert "not foreseen" not in it.panel.message.value
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "settings.yaml") == ["file", "there"]
    assert (tmp_path / "there" / "notes.txt").read_text() == "keep"
