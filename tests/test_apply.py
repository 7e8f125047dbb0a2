"""Moving other channels, label images and points with a saved transform."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from correlight.apply import apply, read_saved
from correlight.errors import ReadError, UsageError, WriteError
from correlight.exchange import write_transform
from correlight.exchange.table import PointTable, read_points, write_points
from correlight.folder import reserve, write_result
from correlight.geometry import Grid
from correlight.io import read, write_tiff
from correlight.resample import warp
from correlight.transforms import Affine
from known_pair import FIXED_SPACING, MOVING_FROM_FIXED, known_result, texture, write_images


@pytest.fixture
def registered(tmp_path: Path) -> Path:
    """A folder with two images and the result of their registration in ``out``."""
    fixed, moving = (read(path) for path in write_images(tmp_path))
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving), fixed, moving)
    return tmp_path


def test_the_same_channel_comes_out_as_registration_wrote_it(registered: Path) -> None:
    for source in ("out", "out/result.json", "out/moving_from_fixed.tfm"):
        moved = apply(
            registered / source,
            registered / "moving.ome.tif",
            registered / "fixed.ome.tif",
            registered / "again.ome.tif",
            overwrite=True,
        )
        assert [path.name for path in moved.files] == ["again.ome.tif", "again_footprint.tif"]
        assert moved.status == "accepted"
        for made, kept in zip(moved.files, ("registered.ome.tif", "footprint.tif"), strict=True):
            assert np.array_equal(tifffile.imread(made), tifffile.imread(registered / "out" / kept))


def test_a_folder_can_receive_the_output(registered: Path) -> None:
    moved = apply(
        registered / "out", registered / "moving.ome.tif", registered / "fixed.ome.tif", registered / "channels"
    )
    assert [path.relative_to(registered).as_posix() for path in moved.files] == [
        "channels/registered.ome.tif",
        "channels/footprint.tif",
    ]
    assert all(path.is_file() for path in moved.files)


def test_labels_keep_their_values_and_their_background(registered: Path) -> None:
    labels = np.zeros((120, 140), np.uint16)
    labels[20:70, 30:90], labels[80:110, 50:120] = 1000, 3
    write_tiff(registered / "labels.tif", labels, Grid.of(labels.shape))
    moved = apply(
        registered / "out",
        registered / "labels.tif",
        registered / "fixed.ome.tif",
        registered / "moved.tif",
        order="nearest",
    )
    expected, covered = warp(labels[None], Grid.of(labels.shape), MOVING_FROM_FIXED, _fixed(registered), "nearest")
    assert set(np.unique(expected)) == {0, 3, 1000}
    assert np.array_equal(tifffile.imread(moved.files[0]), expected[0])
    assert np.array_equal(tifffile.imread(moved.files[1]), covered)


def _fixed(folder: Path) -> Grid:
    return read(folder / "fixed.ome.tif").grid


@pytest.mark.parametrize("unit", ["pixel", "micrometre"])
def test_points_come_out_where_the_transform_puts_them(unit: str, tmp_path: Path) -> None:
    """With a record of both frames, points may count pixels or, where there is a pixel size, micrometres."""
    fixed, moving = (read(path) for path in write_images(tmp_path))
    moving = moving.with_spacing(0.1, "given")
    moving_from_fixed = Affine.of(0.1 * MOVING_FROM_FIXED.linear, 0.1 * MOVING_FROM_FIXED.offset)
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving, moving_from_fixed=moving_from_fixed), fixed, moving)
    truth = np.array([[0.3, 0.4], [1.2, 2.0], [0.0, 0.0]])
    place = moving_from_fixed(truth)
    write_points(
        tmp_path / "in.csv",
        PointTable(("a", "b", "c"), place if unit == "micrometre" else moving.grid.index(place), unit),
    )
    moved = apply(tmp_path / "out", tmp_path / "in.csv", tmp_path / "fixed.ome.tif", tmp_path / "moved.csv")
    found = read_points(moved.files[0])
    assert found.names == ("a", "b", "c")
    assert found.unit == unit
    assert found.points == pytest.approx(truth if unit == "micrometre" else truth / FIXED_SPACING, abs=1e-9)


def test_points_in_micrometres_need_a_moving_image_with_a_pixel_size(registered: Path) -> None:
    write_points(registered / "in.csv", PointTable(("a",), np.array([[1.0, 2.0]]), "micrometre"))
    with pytest.raises(UsageError, match="need an image with a pixel size"):
        apply(registered / "out", registered / "in.csv", registered / "fixed.ome.tif", registered / "moved.csv")
    assert not (registered / "moved.csv").exists()


def test_a_transform_alone_takes_the_frames_from_the_files(registered: Path) -> None:
    alone = registered / "elsewhere"
    alone.mkdir()
    write_transform(alone / "a.tfm", MOVING_FROM_FIXED)
    assert read_saved(alone / "a.tfm").frames is None
    truth = np.array([[0.3, 0.4]])
    write_points(registered / "in.csv", PointTable(("a",), MOVING_FROM_FIXED(truth), "pixel"))
    moved = apply(alone / "a.tfm", registered / "in.csv", registered / "fixed.ome.tif", registered / "moved.csv")
    assert moved.status is None
    assert read_points(moved.files[0]).points == pytest.approx(truth / FIXED_SPACING, abs=1e-9)
    in_micrometres = Affine.of(0.1 * MOVING_FROM_FIXED.linear, 0.1 * MOVING_FROM_FIXED.offset)
    write_transform(alone / "b.tfm", in_micrometres)
    moved = apply(
        alone / "b.tfm",
        registered / "in.csv",
        registered / "fixed.ome.tif",
        registered / "moved.csv",
        moving_spacing=0.1,
        overwrite=True,
    )
    assert read_points(moved.files[0]).points == pytest.approx(truth / FIXED_SPACING, abs=1e-9)


def test_a_pixel_size_given_at_registration_holds_for_other_channels(tmp_path: Path) -> None:
    fixed_path, moving_path = write_images(tmp_path)
    # The user knew better than the fixed file (which says 0.02) and gave the moving image a size it did not state.
    fixed, moving = read(fixed_path, spacing=0.04), read(moving_path, spacing=0.1)
    moving_from_fixed = Affine.of(0.05 * MOVING_FROM_FIXED.linear, 0.1 * MOVING_FROM_FIXED.offset)
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving, moving_from_fixed=moving_from_fixed), fixed, moving)
    write_tiff(tmp_path / "channel.tif", moving.levels[0][1], Grid.of(moving.grid.shape))
    moved = apply(tmp_path / "out", tmp_path / "channel.tif", fixed_path, tmp_path / "moved.tif")
    assert np.array_equal(tifffile.imread(moved.files[0]), tifffile.imread(tmp_path / "out" / "registered.ome.tif")[1])


def test_images_of_another_shape_and_unit_are_refused(registered: Path) -> None:
    other = registered / "other.tif"
    write_tiff(other, texture((64, 64), 9), Grid.of((64, 64), 0.5, unit="micrometre"))
    with pytest.raises(UsageError, match="120 x 140 pixels"):
        apply(registered / "out", other, registered / "fixed.ome.tif", registered / "moved.tif")
    with pytest.raises(UsageError, match="leave out --moving-spacing"):
        apply(
            registered / "out",
            registered / "moving.ome.tif",
            registered / "fixed.ome.tif",
            registered / "moved.tif",
            moving_spacing=0.5,
        )
    assert not (registered / "moved.tif").exists()


def test_the_output_is_checked_before_anything_is_read(registered: Path) -> None:
    moving, fixed = registered / "moving.ome.tif", registered / "fixed.ome.tif"
    write_points(registered / "in.csv", PointTable(("a",), np.zeros((1, 2)), "pixel"))
    for source, out in ((moving, "moved.png"), (registered / "in.csv", "moved.tif"), (registered / "in.csv", "moved")):
        with pytest.raises(UsageError, match="name ending in"):
            apply(registered / "out", source, fixed, registered / out)
    with pytest.raises(UsageError, match="would replace the input"):
        apply(registered / "out", moving, fixed, moving, overwrite=True)
    with pytest.raises(UsageError, match="exists"):
        apply(registered / "out", moving, fixed, registered / "out")
    with pytest.raises(WriteError, match="is no folder"):
        apply(registered / "out", moving, fixed, registered / "none" / "moved.tif")


def test_damaged_records_and_transforms_are_named(registered: Path) -> None:
    record = registered / "out" / "result.json"
    call = (registered / "moving.ome.tif", registered / "fixed.ome.tif", registered / "moved.tif")
    content = json.loads(record.read_text())
    record.write_text(json.dumps({key: value for key, value in content.items() if key != "moving"}))
    with pytest.raises(ReadError, match="incomplete"):
        apply(registered / "out" / "moving_from_fixed.tfm", *call)
    content["fixed"] |= {"shape": [4, 4, 4], "spacing": [1, 1, 1]}
    record.write_text(json.dumps(content))
    with pytest.raises(ReadError, match="do not belong together"):
        apply(registered / "out", *call)
    with pytest.raises(ReadError, match="no file"):
        apply(registered / "nowhere.tfm", *call)
    assert not (registered / "moved.tif").exists()
