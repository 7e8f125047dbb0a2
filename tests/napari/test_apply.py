"""The panel that moves further layers by a transform of a file."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")
pytest.importorskip("pytestqt", reason="pytest-qt is not installed; make test-napari")

from correlight.exchange import read_transform, write_transform
from correlight.geometry import Grid
from correlight.transforms import Affine, Chain
from correlight.transforms.field import with_sampled_field

from .conftest import Opened, couple

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
    it.panel.direction.value = "fixed to moving"
    choose(it, affine, "electron", "light reflected")
    found = np.asarray(it.viewer.layers["electron"].data_to_world((20, 30)))
    here = couple().fixed.grid.points([[20, 30]])
    np.testing.assert_allclose(found, couple().moving_from_fixed(here)[0], atol=1e-6)


def test_a_field_makes_layers_block_by_block(opened: Open, bent: Path) -> None:
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
    assert type(image.data).__module__.startswith("dask")
    assert image.data.shape == couple().fixed.grid.shape
    assert set(np.unique(np.asarray(it.viewer.layers["nuclei on electron"].data))) == {0, 7}
    found = np.asarray(it.viewer.layers["spots on electron"].data_to_world((0, 0)))
    spot = it.viewer.layers["spots on electron"].data[0]
    place = couple().fixed.grid.points(spot[None])
    np.testing.assert_allclose(field(place)[0], grid.points([[96, 96]])[0], atol=1e-3)
    assert found.shape == (2,)


def test_transforms_are_written_for_other_tools_and_bad_ones_said(opened: Open, affine: Path, tmp_path: Path) -> None:
    it = opened("Apply a transform")
    it.panel.source.value = affine
    it.panel.target.value = tmp_path / "matrix.json"
    it.click(it.panel.write)
    found = read_transform(tmp_path / "matrix.json")
    assert isinstance(found, Affine)
    np.testing.assert_allclose(found.matrix, couple().moving_from_fixed.matrix, atol=1e-9)
    it.panel.source.value = tmp_path / "none.tfm"
    it.panel.onto.value = it.viewer.layers["electron"]
    it.panel.layer.value = it.viewer.layers["light reflected"]
    it.click(it.panel.apply)
    assert "none.tfm" in it.panel.message.value
    assert "not foreseen" not in it.panel.message.value
    volume = Grid.of((4, 32, 32), 0.1, unit="micrometre")
    it.viewer.add_image(np.zeros(volume.shape), scale=volume.spacing, units=("um",) * 3, name="stack")
    choose(it, affine, "stack")
    assert "one of 2 axes, stack has 3" in it.panel.message.value
