"""The panel that moves further layers by a transform of a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.errors import UsageError
from correlight.exchange import read_transform, write_transform
from correlight.exchange.formats import recognise
from correlight.geometry import Grid
from correlight.napari.files import transform_reader, write_result_folder
from correlight.napari.files import write_transform as write_layer
from correlight.transforms import Affine, Chain
from correlight.transforms.field import with_sampled_field

from .conftest import PATIENCE, Opened, couple

Open = Callable[..., Opened]


@pytest.fixture
def affine(tmp_path: Path) -> Path:
    path = tmp_path / "moving_from_fixed.tfm"
    write_transform(path, couple().moving_from_fixed)
    return path


@pytest.fixture
def bent(tmp_path: Path) -> Path:
    """A field that moves places by up to a micrometre beyond the true transform."""

    class Wave:
        ndim = 2

        def __call__(self, points: np.ndarray) -> np.ndarray:
            points = np.asarray(points, float)
            return points + 0.5 * np.sin(points[:, ::-1])

    path = tmp_path / "field.h5"
    true = couple().moving_from_fixed
    wave: Any = Wave()
    write_transform(path, with_sampled_field(Chain((wave, true)), true, couple().fixed.grid))
    return path


def choose(it: Opened, path: Path, name: str, onto: str = "electron") -> None:
    it.panel.source.value = path
    it.panel.layer.value = it.viewer.layers[name]
    it.panel.onto.value = it.viewer.layers[onto]
    it.click(it.panel.apply)
    it.wait()


def test_images_labels_points_and_shapes_follow_an_affine_transform(opened: Open, affine: Path) -> None:
    it = opened("Apply a transform")
    grid, true = couple().moving.grid, couple().moving_from_fixed.inverse()
    units = {"scale": grid.spacing, "units": ("micrometer",) * 2}
    it.viewer.add_labels(np.ones(grid.shape, np.uint8), name="nuclei", **units)
    it.viewer.add_points([[20.0, 30.0]], name="spots", **units)
    it.viewer.add_shapes([[[10, 10], [10, 50], [40, 50]]], shape_type="polygon", name="outline", **units)
    for name in ("light chromatin", "nuclei", "spots", "outline"):
        choose(it, affine, name)
        found = np.asarray(it.viewer.layers[name].data_to_world((20, 30)))
        np.testing.assert_allclose(found, true(grid.points([[20, 30]]))[0], atol=1e-6)
    it.click(it.panel.back)
    assert np.array_equal(it.viewer.layers["nuclei"].affine.affine_matrix, np.eye(3))


def test_the_other_way_round(opened: Open, affine: Path) -> None:
    it = opened("Apply a transform")
    assert (it.panel.onto.value.name, it.panel.layer.value.name) == ("electron", "light chromatin")
    it.panel.direction.value = "fixed to moving"
    choose(it, affine, "electron", "light reflected")
    found = np.asarray(it.viewer.layers["electron"].data_to_world((20, 30)))
    here = couple().fixed.grid.points([[20, 30]])
    np.testing.assert_allclose(found, couple().moving_from_fixed(here)[0], atol=1e-6)


def test_a_field_makes_new_layers(opened: Open, bent: Path) -> None:
    it = opened("Apply a transform")
    grid = couple().moving.grid
    units = {"scale": grid.spacing, "units": ("micrometer",) * 2}
    it.viewer.add_labels(np.full(grid.shape, 7, np.uint8), name="nuclei", **units)
    it.viewer.add_points([[96.0, 96.0]], name="spots", **units)
    field = read_transform(bent)
    for name in ("light chromatin", "nuclei", "spots"):
        choose(it, bent, name)
        assert not it.viewer.layers[name].visible, it.panel.message.value
    image = it.viewer.layers["light chromatin on electron"]
    # Nothing is left to compute in the window.
    assert isinstance(image.data, np.ndarray)
    assert image.data.shape == couple().fixed.grid.shape
    assert set(np.unique(np.asarray(it.viewer.layers["nuclei on electron"].data))) == {0, 7}
    found = np.asarray(it.viewer.layers["spots on electron"].data_to_world((0, 0)))
    spot = it.viewer.layers["spots on electron"].data[0]
    place = couple().fixed.grid.points(spot[None])
    np.testing.assert_allclose(field(place)[0], grid.points([[96, 96]])[0], atol=1e-3)
    assert found.shape == (2,)


def test_what_is_cancelled_or_closed_meanwhile_changes_nothing(opened: Open, bent: Path) -> None:
    it = opened("Apply a transform")
    before = list(it.viewer.layers)
    it.panel.source.value, it.panel.layer.value = bent, it.viewer.layers["light chromatin"]
    it.panel.onto.value = it.viewer.layers["electron"]
    it.click(it.panel.apply)
    assert not it.panel.apply.enabled
    it.click(it.panel.cancel)
    it.wait()
    assert "Cancelled" in it.panel.message.value
    assert list(it.viewer.layers) == before
    assert all(layer.visible for layer in before)
    it.click(it.panel.apply)
    it.viewer.layers.remove("light chromatin")
    it.wait()
    assert "light chromatin was closed meanwhile" in it.panel.message.value
    assert list(it.viewer.layers) == [before[0], *before[2:]]


def test_transforms_are_written_for_other_tools_and_bad_ones_said(opened: Open, affine: Path, tmp_path: Path) -> None:
    it = opened("Apply a transform")
    it.panel.source.value = affine
    it.panel.target.value = tmp_path / "matrix.json"
    it.click(it.panel.write)
    it.wait()
    found = read_transform(tmp_path / "matrix.json")
    assert isinstance(found, Affine)
    np.testing.assert_allclose(found.matrix, couple().moving_from_fixed.matrix, atol=1e-9)
    for tool, name in (("trakem2", "patch.xml"), ("mobie", "view.json"), ("bigwarp", "landmarks.csv")):
        it.panel.tool.value, it.panel.target.value = tool, tmp_path / name
        it.click(it.panel.write)
        it.wait()
        assert it.panel.message.value.startswith(f"Written as {tool}"), it.panel.message.value
        assert recognise(tmp_path / name).name == tool
    it.panel.source.value = tmp_path / "none.tfm"
    it.panel.onto.value = it.viewer.layers["electron"]
    it.panel.layer.value = it.viewer.layers["light reflected"]
    it.click(it.panel.apply)
    it.wait()
    assert "none.tfm" in it.panel.message.value
    assert "not foreseen" not in it.panel.message.value
    volume = Grid.of((4, 32, 32), 0.1, unit="micrometre")
    it.viewer.add_image(np.zeros(volume.shape), scale=volume.spacing, units=("um",) * 3, name="stack")
    # Its rotation would stay, and lay it beside where the transform leads.
    it.viewer.add_points([[1.0, 2.0]], rotate=20, name="turned")
    choose(it, affine, "turned")
    assert "layer turned is rotated" in it.panel.message.value
    choose(it, affine, "stack")
    assert "one of 2 axes, stack has 3" in it.panel.message.value


def test_a_result_on_the_screen_is_applied_without_being_saved(opened: Open, tmp_path: Path) -> None:
    it = opened()
    it.narrow()
    it.click(it.panel.start)
    it.wait()
    registered = it.viewer.layers["light reflected"]
    _, panel = it.viewer.window.add_plugin_dock_widget("correlight", "Apply a transform")
    grid = couple().moving.grid
    it.viewer.add_labels(np.ones(grid.shape, np.uint8), name="nuclei", scale=grid.spacing, units=("um",) * 2)
    assert panel.found.native.currentText() == "light chromatin on electron, as shown"
    panel.layer.value, panel.onto.value = it.viewer.layers["nuclei"], it.viewer.layers["electron"]
    it.click(panel.apply)
    it.qtbot.waitUntil(lambda: panel._job is None, timeout=PATIENCE)
    np.testing.assert_allclose(it.viewer.layers["nuclei"].affine.affine_matrix, registered.affine.affine_matrix)
    panel.target.value = tmp_path / "found.tfm"
    it.click(panel.write)
    it.qtbot.waitUntil(lambda: panel._job is None, timeout=PATIENCE)
    found: Any = it.panel.view.transform
    written = read_transform(tmp_path / "found.tfm")
    np.testing.assert_allclose(written(grid.corners()), found(grid.corners()), atol=1e-6)
    # Napari saves the registered layer as its transform, or as the result folder; any other is refused in a sentence.
    data, options, _ = registered.as_layer_data_tuple()
    write_layer(str(tmp_path / "layer.json"), data, options)
    np.testing.assert_allclose(
        read_transform(tmp_path / "layer.json")(grid.corners()), found(grid.corners()), atol=1e-6
    )
    assert write_result_folder(str(tmp_path / "folder"), [(data, options, "image")]) == [str(tmp_path / "folder")]
    assert (tmp_path / "folder" / "result.json").is_file()
    it.click(it.panel.undo)
    it.click(panel.apply)
    assert "taken back" in panel.message.value
    with pytest.raises(UsageError, match="No result lies on these layers"):
        write_layer(str(tmp_path / "none.tfm"), *registered.as_layer_data_tuple()[:2])


def test_bent_layers_keep_their_colours_and_their_channel(opened: Open, bent: Path) -> None:
    it = opened("Apply a transform")
    grid = couple().moving.grid
    colours = np.zeros((*grid.shape, 3), np.uint8)
    colours[..., 0], colours[..., 2] = 200, 50
    it.viewer.add_image(colours, rgb=True, scale=grid.spacing, units=("micrometer",) * 2, name="stained")
    choose(it, bent, "stained")
    made = it.viewer.layers["stained on electron"]
    assert made.rgb, it.panel.message.value
    assert np.asarray(made.data).reshape(-1, 3).max(axis=0).tolist() == [200, 0, 50]
    choose(it, bent, "light particles")
    made = it.viewer.layers["light particles on electron"]
    assert made.colormap.name == it.viewer.layers["light particles"].colormap.name
    wanted = np.asarray(couple().moving.levels[0])[list(couple().moving.channels).index("particles")]
    assert set(np.unique(np.asarray(made.data))) <= set(range(int(wanted.max()) + 1))
    back = read_transform(bent)(couple().fixed.grid.points([[128, 128]]))
    row, column = (int(at) for at in grid.index(back)[0])
    corners = wanted[row : row + 2, column : column + 2].astype(float)
    assert corners.min() - 1 <= float(np.asarray(made.data[128, 128])) <= corners.max() + 1


def test_a_transform_opens_in_the_panel(opened: Open, affine: Path, tmp_path: Path) -> None:
    it = opened("Apply a transform")
    it.viewer.open(str(affine), plugin="correlight")
    assert it.panel.source.value == affine
    assert "moving_from_fixed.tfm is chosen" in it.panel.message.value
    choose(it, it.panel.source.value, "light reflected")
    assert "lies on electron" in it.panel.message.value
    (tmp_path / "notes.json").write_text('{"a": 1}')
    assert transform_reader(str(tmp_path / "notes.json")) is None
    # A damaged one is said in the window.
    (tmp_path / "result.json").write_text("{")
    it.viewer.open(str(tmp_path / "result.json"), plugin="correlight")
    it.click(it.panel.apply)
    it.wait()
    assert "result.json" in it.panel.message.value
    assert "not foreseen" not in it.panel.message.value
