"""The result folder appears whole or not at all, and holds what other programs rely on."""

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import SimpleITK as sitk
import tifffile

from correlight.errors import ReadError, UsageError, WriteError
from correlight.exchange import read_transform
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.io import read, read_mask
from correlight.output import folder as folders
from correlight.output.folder import reserve, reserve_files, write_result
from correlight.transforms import Projective
from known_pair import FIXED_SPACING, MOVING_FROM_FIXED, SHAPE, known_result, write_images

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


def write_half(path: Path, error: type[BaseException]) -> None:
    """Begin to write, and be stopped."""
    path.write_text("half")
    raise error("stop")


def test_the_folder_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with reserve(tmp_path / "out") as folder:
        (folder / "result.json").write_text("{}")
        assert folder.parent == tmp_path
        assert not (tmp_path / "out").exists()
    assert content(tmp_path) == {"out"}
    assert content(tmp_path / "out") == {"result.json"}
    # Others may read the folder as far as they may read anything that this user makes.
    (tmp_path / "usual").mkdir()
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "usual").stat().st_mode


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, ReadError, MemoryError])
def test_nothing_is_left_when_something_goes_wrong(error: type[BaseException], tmp_path: Path) -> None:
    with pytest.raises(error), reserve(tmp_path / "out") as folder:
        write_half(folder / "half", error)
    assert content(tmp_path) == set()


def test_an_earlier_result_stays_until_the_new_one_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with reserve(out) as folder:
        (folder / "result.json").write_text("first")
    with pytest.raises(UsageError, match=r"exists.*--overwrite"), reserve(out):
        pytest.fail("the folder exists")
    with pytest.raises(KeyboardInterrupt), reserve(out, overwrite=True):
        raise KeyboardInterrupt
    assert (out / "result.json").read_text() == "first"
    with reserve(out, overwrite=True) as folder:
        (folder / "result.json").write_text("second")
        assert (out / "result.json").read_text() == "first"
    assert (out / "result.json").read_text() == "second"
    assert content(tmp_path) == {"out"}


def test_an_earlier_result_comes_back_when_the_new_one_cannot_be_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    with reserve(out) as folder:
        (folder / "result.json").write_text("first")
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name.endswith(".partial"):
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(WriteError, match="Input/output error"), reserve(out, overwrite=True) as folder:
        (folder / "result.json").write_text("second")
    assert (out / "result.json").read_text() == "first"
    assert content(tmp_path) == {"out"}


def test_only_results_are_ever_replaced(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match="no earlier result"), reserve(home, overwrite=True):
        pytest.fail("somebody's folder would be lost")
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(home)
    for name in ("file", "link"):
        with pytest.raises(UsageError, match="something else"), reserve(tmp_path / name, overwrite=True):
            pytest.fail("not a folder")
    (tmp_path / "empty").mkdir()
    with reserve(tmp_path / "empty", overwrite=True) as folder:
        (folder / "new").write_text("")
    assert content(tmp_path / "empty") == {"new"}
    assert content(home) == {"thesis.txt"}


def test_inputs_are_never_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with reserve(out) as folder:
        (folder / "result.json").write_text("")
        (folder / "registered.ome.tif").write_text("")
    inside = out / "registered.ome.tif"
    with pytest.raises(UsageError, match="would replace the input"), reserve(out, overwrite=True, inputs=[inside]):
        pytest.fail("the input would be lost")
    with pytest.raises(UsageError, match="would replace"), reserve_files(inside, overwrite=True, inputs=[inside]):
        pytest.fail("the input would be lost")


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for parent in ("none", "file"):
        with pytest.raises(WriteError, match="is no folder"), reserve(tmp_path / parent / "out"):
            pytest.fail("no work must start")
    with pytest.raises(WriteError, match="cannot be made"), reserve("/proc/out"):
        pytest.fail("no work must start")
    with pytest.raises(UsageError, match="root"), reserve("/"):
        pytest.fail("no work must start")


def test_files_appear_together_or_not_at_all(tmp_path: Path) -> None:
    targets = tmp_path / "a.tif", tmp_path / "b.tif"
    with pytest.raises(RuntimeError), reserve_files(*targets) as folder:
        write_half(folder / "a.tif", RuntimeError)
    assert content(tmp_path) == set()
    with reserve_files(*targets) as folder:
        for target in targets:
            (folder / target.name).write_text("1")
    with pytest.raises(UsageError, match="exists"), reserve_files(tmp_path / "c.tif", targets[1]):
        pytest.fail("a file exists")
    with reserve_files(targets[0], overwrite=True) as folder:
        (folder / "a.tif").write_text("2")
    assert content(tmp_path) == {"a.tif", "b.tif"}
    assert targets[0].read_text() == "2"
    (tmp_path / "d.tif").mkdir()
    with pytest.raises(UsageError, match="is a folder"), reserve_files(tmp_path / "d.tif", overwrite=True):
        pytest.fail("a folder stands there")


def test_an_accepted_result_is_complete_and_right(images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    write_result(tmp_path, known_result(fixed, moving), fixed, moving)
    assert content(tmp_path) == EVERYTHING
    record = json.loads((tmp_path / "result.json").read_text())
    assert (record["status"], record["fixed_unit"], record["moving_unit"]) == ("accepted", "micrometre", "pixel")
    assert record["poses"][1]["score"] is None
    assert np.array_equal(read_transform(tmp_path / "moving_from_fixed.tfm").matrix, MOVING_FROM_FIXED.matrix)
    registered = read(tmp_path / "registered.ome.tif")
    expected, footprint = warp(moving, moving.grid, MOVING_FROM_FIXED, fixed.grid)
    assert registered.channels == ("stain", "other")
    assert registered.dtype == np.uint16
    assert registered.grid.spacing == pytest.approx(fixed.grid.spacing)
    assert np.array_equal(registered.levels[0], expected)
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
    assert np.array_equal(read_transform(tmp_path / "moving_from_fixed.txt").matrix, matrix)
    assert np.array_equal(read_transform(tmp_path / "result.json").matrix, matrix)


def test_the_registered_image_lies_on_the_grid_asked_for(images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    for name, grid in (("moving", "moving"), ("coarse", 0.08), ("none", "none")):
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

    monkeypatch.setattr(folders, "TiffBands", full)
    with pytest.raises(WriteError, match="No space left") as caught, reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(*images), *images)
    assert "out could not be written" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.ENOSPC
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
    assert caught.value.__cause__.errno == errno.ENOSPC
    assert content(small_disk) == set()


@pytest.mark.parametrize("grid", ["fixed", "moving"])
def test_a_large_picture_becomes_a_store_with_the_same_pixels(
    grid: Literal["fixed", "moving"], images: tuple[Image, Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("file", "store"):
        (tmp_path / name).mkdir()
        write_result(tmp_path / name, known_result(*images), *images, grid=grid)
        monkeypatch.setattr("correlight.output.folder._LARGEST_FILE", 0)
    assert not (tmp_path / "store" / "registered.ome.tif").exists()
    file, store = read(tmp_path / "file" / "registered.ome.tif"), read(tmp_path / "store" / "registered.ome.zarr")
    assert np.array_equal(file.levels[0], store.levels[0])
    assert (file.grid.spacing, file.channels, file.dtype) == (store.grid.spacing, store.channels, store.dtype)
    footprints = [read_mask(tmp_path / name / "footprint.tif", file.grid.shape) for name in ("file", "store")]
    assert np.array_equal(*footprints)
