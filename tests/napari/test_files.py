"""Files that napari opens and saves by the plug-in."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("napari.layers", reason="napari is not installed; make test-napari")

from napari.layers import Points

from correlight import recipes
from correlight.errors import UsageError
from correlight.exchange import LandmarkTable, PointTable, read_landmarks, write_file
from correlight.geometry import Grid
from correlight.io import write_ome_tiff
from correlight.napari.files import image_reader, landmark_reader, result_reader, write_pairs
from correlight.output.folder import write_result
from correlight.registration.register import register

from .conftest import couple

NAMES = ("a", "b", "c")
FIXED, MOVING = np.array([[1.0, 2.0], [3.0, 9.0], [8.0, 4.0]]), np.array([[2.0, 2.5], [4.0, 9.5], [9.0, 4.5]])


def test_an_image_comes_with_pixel_size_channels_and_units(tmp_path: Path) -> None:
    path = tmp_path / "light.ome.tif"
    grid = Grid.of((64, 80), (0.2, 0.3), unit="micrometre")
    write_ome_tiff(path, np.random.default_rng(0).integers(0, 255, (2, 64, 80)).astype(np.uint8), grid, ("a", "b"))
    reader = image_reader(str(path))
    assert reader is not None
    layers = reader(str(path))
    assert [options["name"] for _, options, _ in layers] == ["light a", "light b"]
    assert layers[0][1]["scale"] == (0.2, 0.3)
    assert layers[0][1]["units"] == ("micrometer", "micrometer")


@pytest.mark.parametrize("ending", [".csv", ".json"])
def test_pairs_come_back_as_they_were_written(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"pairs{ending}"
    layers: list[Any] = [
        (points, {"units": ("micrometer",) * 2, "scale": (0.5, 0.5), "translate": (1.0, 0.0)}, "points")
        for points in (FIXED, MOVING)
    ]
    assert write_pairs(str(path), layers) == [str(path)]
    table = read_landmarks(path)
    np.testing.assert_allclose(table.fixed.points, FIXED * 0.5 + [1.0, 0.0])
    reader = landmark_reader(str(path))
    assert reader is not None
    (fixed, options, kind), (moving, _, _) = reader(str(path))
    assert kind == "points"
    np.testing.assert_allclose(fixed, table.fixed.points)
    np.testing.assert_allclose(moving, table.moving.points)
    layer = Points(fixed, **options)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]


def test_pairs_need_two_lists_of_one_length(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="got 3 and 2 points"):
        write_pairs(str(tmp_path / "pairs.csv"), [(FIXED, {}, "points"), (MOVING[:2], {}, "points")])
    assert not list(tmp_path.iterdir())


def test_a_file_of_something_else_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("what,when\ncoffee,noon\n")
    (tmp_path / "folder").mkdir()
    assert landmark_reader(str(tmp_path / "notes.csv")) is None
    assert result_reader(str(tmp_path / "folder")) is None
    assert image_reader(str(tmp_path / "missing.tif")) is None


def test_landmarks_of_bigwarp_are_opened(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    table = LandmarkTable(PointTable(NAMES, FIXED, "micrometre"), PointTable(NAMES, MOVING, "micrometre"))
    write_file(path, table, "bigwarp")
    reader = landmark_reader(str(path))
    assert reader is not None
    np.testing.assert_allclose(reader(str(path))[0][0], FIXED)


def test_a_result_folder_is_an_image_and_its_predicted_error(tmp_path: Path) -> None:
    pair = couple()
    limits: dict[str, Any] = {"moving_channel": "reflected", "rotation": (20, 40), "mirror": False}
    result = register(pair.fixed, pair.moving, recipes.load("auto"), **limits)
    write_result(tmp_path, result, pair.fixed, pair.moving)
    reader = result_reader(str(tmp_path))
    assert reader is not None
    layers = reader(str(tmp_path))
    assert len(layers) == 4
    assert "predicted error, µm" in layers[-1][1]["name"]
    assert layers[0][0].shape == pair.fixed.grid.shape
    np.testing.assert_allclose(layers[0][1]["scale"], pair.fixed.grid.spacing, rtol=1e-6)
