"""The result folder holds what other programs rely on."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from correlight.errors import WriteError
from correlight.exchange import read_transform
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.io import read, read_mask
from correlight.output import moved as moves
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.transforms import Projective
from tests.known_pair import FIXED_SPACING, MOVING_FROM_FIXED, SHAPE, known_result, texture, write_images

EVERYTHING = {
    "result.json",
    "moving_from_fixed.tfm",
    "registered.ome.tif",
    "footprint.tif",
    "predicted_error.tif",
    "overlay.png",
    "report.html",
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Image]:
    fixed, moving = write_images(tmp_path_factory.mktemp("images"))
    return read(fixed), read(moving)


def content(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_accepted_result_is_complete_and_right(images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    write_result(tmp_path, known_result(fixed, moving), fixed, moving)
    assert content(tmp_path) == EVERYTHING
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["status"], record["fixed_unit"], record["moving_unit"]) == ("accepted", "micrometre", "pixel")
    assert record["poses"][1]["score"] is None
    assert np.array_equal(read_transform(tmp_path / "moving_from_fixed.tfm").matrix, MOVING_FROM_FIXED.matrix)  # type: ignore[attr-defined]
    registered = read(tmp_path / "registered.ome.tif")
    expected, footprint = warp(moving, moving.grid, MOVING_FROM_FIXED, fixed.grid)
    assert registered.channels == ("stain", "other")
    assert registered.dtype == np.uint16
    assert registered.grid.spacing == pytest.approx(fixed.grid.spacing)
    assert np.array_equal(np.asarray(registered.levels[0]), expected)
    assert np.array_equal(tifffile.imread(tmp_path / "footprint.tif"), footprint.astype(np.uint8))
    assert 0.2 < footprint.mean() < 0.95
    assert tifffile.imread(tmp_path / "predicted_error.tif") == pytest.approx(np.full((6, 8), 0.03))


def test_the_files_mean_the_same_to_simpleitk(images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    write_result(tmp_path, known_result(fixed, moving), fixed, moving)
    picture = sitk.GetImageFromArray(moving.levels[0][0].astype(np.float32))
    like = sitk.Image(SHAPE[::-1], sitk.sitkFloat32)
    like.SetSpacing((FIXED_SPACING, FIXED_SPACING))
    transform = sitk.ReadTransform(str(tmp_path / "moving_from_fixed.tfm"))
    expected = sitk.GetArrayFromImage(sitk.Resample(picture, like, transform, sitk.sitkLinear))
    covered = tifffile.imread(tmp_path / "footprint.tif") == 1
    apart = np.abs(tifffile.imread(tmp_path / "registered.ome.tif")[0] - expected)[covered]
    # Ours is rounded to whole numbers; a value that falls between two may go either way in single precision.
    assert apart.max() < 0.51


def test_a_refused_result_has_no_registered_image(images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    write_result(tmp_path, known_result(fixed, moving, "refused"), fixed, moving)
    assert content(tmp_path) == EVERYTHING - {"registered.ome.tif", "footprint.tif"}
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "refused"


def test_a_doubtful_result_is_complete_but_marked(images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    for status in ("accepted", "doubtful"):
        (tmp_path / status).mkdir()
        write_result(tmp_path / status, known_result(fixed, moving, status), fixed, moving)
    assert content(tmp_path / "doubtful") == EVERYTHING
    overlays = [(tmp_path / status / "overlay.png").read_bytes() for status in ("accepted", "doubtful")]
    assert overlays[0] != overlays[1]


def test_a_projective_transform_is_stored_as_a_matrix(images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    matrix = MOVING_FROM_FIXED.matrix.copy()
    matrix[2, 0] = 1e-3
    write_result(tmp_path, known_result(fixed, moving, moving_from_fixed=Projective(matrix)), fixed, moving)
    assert content(tmp_path) == EVERYTHING - {"moving_from_fixed.tfm"} | {"moving_from_fixed.txt"}
    assert np.array_equal(read_transform(tmp_path / "moving_from_fixed.txt").matrix, matrix)  # type: ignore[attr-defined]
    assert np.array_equal(read_transform(tmp_path / "result.json").matrix, matrix)  # type: ignore[attr-defined]


def test_the_registered_image_lies_on_the_grid_asked_for(images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    grids: dict[str, Any] = {"moving": "moving", "coarse": 0.08, "none": "none"}
    for name, grid in grids.items():
        (tmp_path / name).mkdir()
        write_result(tmp_path / name, known_result(fixed, moving), fixed, moving, grid=grid)
    assert content(tmp_path / "none") == EVERYTHING - {"registered.ome.tif", "footprint.tif"}
    assert read(tmp_path / "moving" / "registered.ome.tif").grid.spacing == pytest.approx((1 / 60, 1 / 60))
    assert tifffile.imread(tmp_path / "coarse" / "footprint.tif").shape == (24, 32)


def test_a_full_disk_leaves_nothing(
    images: tuple[Image, Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(moves, "TiffBands", full)
    with pytest.raises(WriteError, match="No space left") as caught, reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(*images), *images)
    assert "out could not be written" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ENOSPC
    assert content(tmp_path) == set()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.name != "posix" or os.geteuid() != 0:
        pytest.skip("a file system of its own can be mounted by root only")
    made = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if made.returncode:
        pytest.skip("this system lets nobody mount a file system")
    yield place
    subprocess.run([shutil.which("umount") or "umount", str(place)], check=True)


def test_a_disk_that_is_really_full_leaves_nothing(images: tuple[Image, Image], small_disk: Path) -> None:
    with pytest.raises(WriteError, match="No space left") as caught, reserve(small_disk / "out") as folder:
        write_result(folder, known_result(*images), *images)
    cause = caught.value.__cause__
    assert isinstance(cause, OSError)
    assert cause.errno == errno.ENOSPC
    assert content(small_disk) == set()


@pytest.mark.parametrize("grid", ["fixed", "moving"])
def test_a_large_picture_becomes_a_store_with_the_same_pixels(
    grid: Literal["fixed", "moving"], images: tuple[Image, Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("file", "store"):
        (tmp_path / name).mkdir()
        write_result(tmp_path / name, known_result(*images), *images, grid=grid)
        monkeypatch.setattr("correlight.output.moved._LARGEST_FILE", 0)
    assert not (tmp_path / "store" / "registered.ome.tif").exists()
    file, store = read(tmp_path / "file" / "registered.ome.tif"), read(tmp_path / "store" / "registered.ome.zarr")
    assert np.array_equal(np.asarray(file.levels[0]), np.asarray(store.levels[0]))
    assert (file.grid.spacing, file.channels, file.dtype) == (store.grid.spacing, store.channels, store.dtype)
    one, other = (read_mask(tmp_path / name / "footprint.tif", file.grid.shape) for name in ("file", "store"))
    assert np.array_equal(np.asarray(one), np.asarray(other))


def test_channels_that_hold_labels_are_moved_as_labels_and_it_is_said(tmp_path: Path) -> None:
    fixed = read(write_images(tmp_path)[0])
    labels = np.kron(np.arange(168).reshape(12, 14), np.ones((10, 10))).astype(np.uint16) * 300
    moving = Image.from_array(np.stack([texture((120, 140), 7), labels]), channels=("dye", "cells"))
    notes = write_result(tmp_path, known_result(fixed, moving), fixed, moving)
    assert len(notes) == 1
    assert "channel cells holds labels and was moved by nearest neighbour" in notes[0]
    registered = read(tmp_path / "registered.ome.tif").levels[0]
    assert set(np.unique(registered[1])) <= {0, *np.unique(labels)}
    assert np.array_equal(registered[0], warp(moving, moving.grid, MOVING_FROM_FIXED, fixed.grid)[0][0])
    assert notes[0] in json.loads((tmp_path / "result.json").read_text())["moving"]["findings"]
    # Findings are shown, and the methods do not claim linear interpolation for all channels.
    assert (tmp_path / "report.html").read_text().count("holds labels and was moved by nearest neighbour") >= 2


def test_a_replaced_result_must_be_one(images: tuple[Image, Image], tmp_path: Path) -> None:
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(*images), *images)
    listed = json.loads((tmp_path / "out" / "manifest.json").read_text())["files"]
    assert set(listed) == EVERYTHING
    assert listed["report.html"]["size"] == (tmp_path / "out" / "report.html").stat().st_size
    with reserve(tmp_path / "out", overwrite=True) as folder:
        write_result(folder, known_result(*images, "refused"), *images)
    assert content(tmp_path / "out") == EVERYTHING - {"registered.ome.tif", "footprint.tif"} | {"manifest.json"}
