"""The panel that registers two layers, by clicks and keys in a real viewer."""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.cli import main
from correlight.io import read, write_ome_tiff
from correlight.napari.layer_data import layer_data

from .conftest import PATIENCE, Opened, Ticks, couple, pixels, press_key

Open = Callable[..., Opened]


def test_from_two_layers_to_an_overlay(opened: Open) -> None:
    it = opened(show=True)
    it.narrow()
    pixels(it.viewer)  # the first picture of a window takes long, and is none of the registration
    ticks = Ticks()
    it.click(it.panel.start)
    it.wait()
    ticks.check()
    assert "Accepted" in it.panel.verdict.value, it.panel.message.value
    layers = {layer.name: layer for layer in it.viewer.layers}
    # Where both images show something, the light image lies where the truth says, in micrometres, all channels alike.
    # Its own corners lie two fields of the electron image further out, where a tenth of a degree counts for more.
    places = couple().fixed.grid.points(np.array([[0, 0], [0, 255], [255, 0], [255, 255]]))
    pixels_there = couple().moving.grid.index(couple().moving_from_fixed(places))
    for name in ("light reflected", "light chromatin", "light particles"):
        assert [str(unit) for unit in layers[name].units] == ["micrometer", "micrometer"]
        found = np.array([layers[name].data_to_world(pixel) for pixel in pixels_there])
        assert np.abs(found - places).max() < 0.2
    # It is drawn: the electron image in grey, the light image in colours over it.
    drawn = pixels(it.viewer).astype(int)
    assert (np.ptp(drawn, axis=2) > 40).mean() > 0.05
    it.panel.view.checkerboard()
    board = pixels(it.viewer).astype(int)
    assert (np.abs(board - drawn).max(axis=2) > 20).mean() > 0.02
    it.panel.view.checkerboard()
    assert [layer.visible for layer in it.viewer.layers] == [True] * 4
    it.click(it.panel.error)
    assert it.viewer.layers[-1].name == "predicted error, µm"
    it.click(it.panel.undo)
    assert np.array_equal(layers["light reflected"].affine.affine_matrix, np.eye(3))


def test_keys_show_rival_poses_and_end_with_the_result(opened: Open, tmp_path: Path) -> None:
    it = opened()
    it.narrow()
    it.panel.rotation.value = "0, 90"
    it.click(it.panel.start)
    it.wait()
    layer = it.viewer.layers["light reflected"]
    first = np.array(layer.affine.affine_matrix)
    press = it.viewer.keymap
    count = len(it.panel.view.outcome.result.poses)
    assert count > 1
    press_key(it, "2")
    assert not np.allclose(layer.affine.affine_matrix, first)
    assert "Pose 2" in it.panel.message.value
    # The pose that is seen is the one that would be refined, and a folder holds the result all the same.
    assert it.panel.rank.value == 2
    it.panel.folder.value = tmp_path / "result"
    it.click(it.panel.save)
    it.wait()
    assert "It holds the result, and not pose 2, which is shown." in it.panel.message.value
    press_key(it, "1")
    assert it.panel.rank.value == 1
    np.testing.assert_allclose(layer.affine.affine_matrix, first)
    press_key(it, "F")
    it.qtbot.waitUntil(lambda: not layer.visible, timeout=5000)
    press_key(it, "F")
    assert layer.visible
    # What compares is the active layer then, of which napari itself would stretch the contrast by C.
    for key, name in (("S", "swipe"), ("C", "checkerboard")):
        press_key(it, key)
        assert it.viewer.layers[-1].name == name
        press_key(it, key)
        assert len(it.viewer.layers) == 4
    it.panel.view.close()
    assert len(it.viewer.keymap) <= len(press)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The two images as files."""
    paths = tmp_path / "em.ome.tif", tmp_path / "light.ome.tif"
    for path, image in zip(paths, (couple().fixed, couple().moving), strict=True):
        write_ome_tiff(path, np.asarray(image.levels[0]), image.grid, image.channels)
    return paths


def test_a_saved_folder_is_that_of_the_command_line(opened: Open, files: tuple[Path, Path], tmp_path: Path) -> None:
    it = opened(images=False)
    # One as napari itself opens it, one as correlight does.
    it.viewer.add_image(read(files[0]).levels[0][0], name="em")
    it.viewer.layers[0]._source = it.viewer.layers[0].source.model_copy(update={"path": str(files[0])})
    for data, options, _ in layer_data(read(files[1]), "light"):
        it.viewer.add_image(data, **options)
    it.panel.moving.value = it.viewer.layers["light chromatin"]
    it.narrow()
    it.click(it.panel.start)
    it.wait()
    it.panel.folder.value = tmp_path / "here"
    it.click(it.panel.save)
    it.wait()
    assert "Saved in" in it.panel.message.value
    limits = ("--rotation", "20..40", "--no-mirror", "--moving-channel", "reflected")
    with suppress(SystemExit):
        main(["register", *map(str, files), "-o", str(tmp_path / "there"), *limits])
    names = sorted(path.name for path in (tmp_path / "there").iterdir())
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == names
    # Times and memory differ from run to run; the manifest holds the checksums of the files that state them.
    for name in set(names) - {"result.json", "report.html", "manifest.json"}:
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes(), name
    records = [json.loads((tmp_path / side / "result.json").read_text()) for side in ("here", "there")]
    for record in records:
        # Layers need not be files, so that options to run them again by are recorded by the command line alone.
        del record["seconds"], record["peak_memory_mb"], record["asked"]
    assert records[0] == records[1]


def test_cancel_stops_at_once_and_leaves_everything(opened: Open) -> None:
    it = opened()
    before = [np.array(layer.affine.affine_matrix) for layer in it.viewer.layers]
    it.click(it.panel.start)
    it.qtbot.waitUntil(lambda: it.panel.progress.native.format().startswith("search"), timeout=PATIENCE)
    began = time.perf_counter(), time.process_time()
    it.click(it.panel.cancel)
    it.wait()
    # As for the gaps, what other programs take of the processor does not count.
    assert min(time.perf_counter() - began[0], time.process_time() - began[1]) <= 0.5
    assert "Cancelled" in it.panel.message.value
    assert all(np.array_equal(a, b.affine.affine_matrix) for a, b in zip(before, it.viewer.layers, strict=True))
    assert it.panel.start.enabled


def test_a_closed_panel_ends_its_work(opened: Open) -> None:
    it = opened()
    it.click(it.panel.start)
    job = it.panel._job
    it.viewer.window.remove_dock_widget("all")
    assert job.cancelled
    it.qtbot.waitUntil(lambda: not job.running, timeout=PATIENCE)
    it.viewer.add_image(np.zeros((4, 4)))


@pytest.mark.parametrize("what", ["closed", "changed"])
def test_a_layer_that_is_closed_or_changed_meanwhile(opened: Open, what: str) -> None:
    it = opened()
    it.narrow()
    it.click(it.panel.start)
    layer = it.viewer.layers["electron"]
    if what == "closed":
        it.viewer.layers.remove(layer)
    else:
        layer.data = 255 - layer.data
    it.wait()
    assert f"electron was {what}" in it.panel.message.value
    assert it.panel.verdict.value == ""


def test_choices_that_are_none_are_said(opened: Open) -> None:
    it = opened(images=False)
    for count, words in ((0, "no layer is open"), (1, "one layer is open")):
        it.click(it.panel.start)
        assert words in it.panel.message.value, count
        it.viewer.add_image(np.random.default_rng(0).random((64, 64)), name=f"image {count}")
    it.panel.moving.value = it.panel.fixed.value
    it.click(it.panel.start)
    assert "chosen as fixed and as moving" in it.panel.message.value
    it.viewer.add_labels(np.ones((64, 64), np.uint8), name="nuclei")
    it.panel.moving.value = it.viewer.layers["nuclei"]
    it.click(it.panel.start)
    assert "nuclei holds labels" in it.panel.message.value
    it.viewer.add_image(np.random.default_rng(0).random((8, 64, 64)), name="stack")
    it.panel.moving.value = it.viewer.layers["stack"]
    it.click(it.panel.start)
    it.wait()
    assert "states no voxel size" in it.panel.message.value
    it.panel.moving.value = it.viewer.layers["image 1"]
    it.panel.moving_size.value = "twenty"
    it.click(it.panel.start)
    assert "Numbers were expected as the pixel size of the moving image" in it.panel.message.value
