"""From large files to the finished output: what stays on disk gives what memory gives.

The limits are lowered, so that small files count as large.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight.exchange import write_transform
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image
from correlight.images.plane import Plane
from correlight.images.pyramid import stays_on_disk
from correlight.images.resample import warp
from correlight.io import read, read_mask
from correlight.io.write import write_ome_tiff
from correlight.io.write_zarr import write_ome_zarr
from correlight.output.apply import Member, apply, apply_session
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.registration.register import register
from correlight.simulate import SimulatedPair, pair
from correlight.transforms import Affine
from tests.known_pair import known_result, texture

# A millionth of a pixel is beyond what any arithmetic on positions may change.
EXACT = 1e-6


@pytest.fixture(scope="module")
def couple(tmp_path_factory: pytest.TempPathFactory) -> tuple[SimulatedPair, Path]:
    """An electron image of 512 x 512 and a light image of 160 x 160, as files without a pyramid."""
    made = pair(
        "cell",
        12,
        rotation=130.0,
        mirror=True,
        electron_shape=(512, 512),
        light_shape=(160, 160),
        electron_spacing=0.0375,
        light_spacing=0.14,
        data_bar=False,
    )
    home = tmp_path_factory.mktemp("couple")
    for name, image in (("fixed", made.fixed), ("moving", made.moving)):
        write_ome_tiff(home / f"{name}.ome.tif", image.levels[0], image.grid, image.channels)
    return made, home


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which small files are large, and small outputs as well."""
    monkeypatch.setattr("correlight.io.content.IN_MEMORY", 50_000)
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 256 * 256)


def apart(a: Affine, b: Affine, grid: Grid) -> float:
    """Largest distance over the fixed field between where two transforms lead, in moving units."""
    points = grid.lattice(9)
    return float(np.linalg.norm(a(points) - b(points), axis=1).max())


@pytest.mark.slow
def test_a_pair_on_disk_is_registered_by_a_level_and_the_matrix_holds_for_the_whole(
    couple: tuple[SimulatedPair, Path], little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, home = couple
    fixed, moving = (read(home / f"{name}.ome.tif") for name in ("fixed", "moving"))
    assert stays_on_disk(fixed)
    assert fixed.levels[1].shape == (1, 256, 256)
    assert Plane.of(fixed, 0).grid == fixed.grid.shrink(2)

    def untouched(*_: Any) -> Any:
        raise AssertionError("the full resolution was read")

    monkeypatch.setattr("correlight.io.ondisk.Segments.__getitem__", untouched)
    result = register(fixed, moving, moving_channel="reflected", rotation=(129.5, 130.5))
    monkeypatch.undo()
    assert isinstance(result.moving_from_fixed, Affine)
    assert (result.fixed.shape, result.fixed.spacing) == ((512, 512), fixed.grid.spacing)
    truth = made.moving_from_fixed
    # On average within one pixel of the light image, and exactly where the halved image lies in memory.
    halved = Image((fixed.levels[1],), fixed.grid.shrink(2), fixed.channels, mask=None)
    expected = register(halved, made.moving, moving_channel="reflected", rotation=(129.5, 130.5)).moving_from_fixed
    points = fixed.grid.lattice(9)
    assert np.linalg.norm(result.moving_from_fixed(points) - truth(points), axis=1).mean() < 0.1
    assert isinstance(expected, Affine)
    assert apart(result.moving_from_fixed, expected, fixed.grid) < EXACT


def on_disk(folder: Path) -> tuple[Path, Path, Image, Image]:
    """A fixed and a moving image of a few hundred pixels, as files."""
    fixed = Image.from_array(texture((400, 500), 1), spacing=0.02)
    moving = Image.from_array(np.stack([texture((300, 320), 2), texture((300, 320), 3)]), spacing=0.02)
    paths = folder / "fixed.ome.tif", folder / "moving.ome.tif"
    for path, image in zip(paths, (fixed, moving), strict=True):
        write_ome_tiff(path, image.levels[0], image.grid, image.channels)
    return *paths, fixed, moving


MOVE = Affine.similarity(20, 1.1, source=(4.0, 5.0), target=(3.0, 3.2))


@pytest.mark.parametrize("block", [64, 200])
@pytest.mark.parametrize("store", [False, True])
def test_the_output_made_in_bands_is_that_made_in_memory(
    store: bool, block: int, tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 150 * 150)
    fixed_path, moving_path, fixed, moving = on_disk(tmp_path)
    left = read(fixed_path), read(moving_path)
    assert all(map(stays_on_disk, left))
    monkeypatch.setattr("correlight.output.moved._LARGEST_FILE", 0 if store else 2**31)
    monkeypatch.setattr("correlight.images.resample.Resampling.__init__.__defaults__", ("linear", None, block))
    told: list[float] = []
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(*left, moving_from_fixed=MOVE), *left, progress=told.append)
    values, footprint = warp(moving, moving.grid, MOVE, fixed.grid, block=1024)
    assert 0.2 < footprint.mean() < 0.95
    written = read(tmp_path / "out" / f"registered.ome.{'zarr' if store else 'tif'}")
    difference = np.asarray(written.levels[0][:, :, :]).astype(int) - values
    assert np.abs(difference).max() <= 1
    assert written.grid == fixed.grid
    assert np.array_equal(tifffile.imread(tmp_path / "out" / "footprint.tif"), footprint.astype(np.uint8))
    assert told == sorted(told)
    assert told[-1] == 1.0
    assert len(told) == -(-400 // block)
    for name in ("overlay.png", "report.html", "predicted_error.tif"):
        assert (tmp_path / "out" / name).stat().st_size > 0


def test_other_images_are_moved_from_disk_to_disk(
    tmp_path: Path, little_memory: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 150 * 150)
    fixed_path, moving_path, fixed, moving = on_disk(tmp_path)
    left = read(fixed_path), read(moving_path)
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(*left, moving_from_fixed=MOVE), *left)
    write_ome_zarr(tmp_path / "moving.ome.zarr", moving.levels[0], moving.grid, moving.channels)
    values, footprint = warp(moving, moving.grid, MOVE, fixed.grid)
    told: list[float] = []
    for source in (moving_path, tmp_path / "moving.ome.zarr"):
        assert stays_on_disk(read(source))
        moved = apply(tmp_path / "out", source, fixed_path, tmp_path / "a.tif", overwrite=True, progress=told.append)
        assert np.abs(tifffile.imread(moved.files[0]).astype(int) - values).max() <= 1
        assert np.array_equal(tifffile.imread(moved.files[1]), footprint.astype(np.uint8))
    assert told[-1] == 1.0
    labels = (moving.levels[0][:1] // 8000).astype(np.uint16)
    write_ome_tiff(tmp_path / "labels.ome.tif", labels, moving.grid, ("labels",))
    moved = apply(tmp_path / "out", tmp_path / "labels.ome.tif", fixed_path, tmp_path / "b.tif", order="nearest")
    expected, _ = warp(labels, moving.grid, MOVE, fixed.grid, "nearest")
    assert np.array_equal(tifffile.imread(moved.files[0]), expected[0])
    done = apply_session(
        tmp_path / "out",
        (Member(moving_path, offset=(0.0, 0.0)), Member(moving_path, offset=(9e4, 0.0))),
        fixed_path,
        tmp_path / "many",
        progress=told.append,
    ).images
    assert [entry.file is None for entry in done] == [False, True]
    assert done[0].covered == pytest.approx(footprint.mean())
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == [
        "applied.csv",
        "manifest.json",
        "moving.ome.tif",
        "moving_footprint.tif",
    ]


def test_a_large_output_of_apply_is_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fixed_path, moving_path, fixed, moving = on_disk(tmp_path)
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving, moving_from_fixed=MOVE), fixed, moving)
    monkeypatch.setattr("correlight.output.moved._LARGEST_FILE", 1000)
    moved = apply(tmp_path / "out", moving_path, fixed_path, tmp_path / "moved")
    assert [path.name for path in moved.files] == ["registered.ome.zarr", "footprint.tif"]
    kept = tifffile.imread(tmp_path / "out" / "registered.ome.tif")
    assert np.array_equal(np.asarray(read(moved.files[0]).levels[0]), kept)
    # The folder is known for what it is and may be replaced.
    apply(tmp_path / "out", moving_path, fixed_path, tmp_path / "moved", overwrite=True)


def test_an_interruption_between_bands_leaves_nothing(tmp_path: Path, little_memory: None) -> None:
    fixed_path, moving_path, fixed, moving = on_disk(tmp_path)
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving, moving_from_fixed=MOVE), fixed, moving)
    before = sorted(tmp_path.iterdir())

    def stop(fraction: float) -> None:
        raise KeyboardInterrupt

    for target in ("a.tif", "folder"):
        with pytest.raises(KeyboardInterrupt):
            apply(tmp_path / "out", moving_path, fixed_path, tmp_path / target, progress=stop)
    assert sorted(tmp_path.iterdir()) == before


def test_an_interruption_from_outside_stops_the_threads_and_leaves_nothing(tmp_path: Path) -> None:
    fixed = texture((300, 300), 1)
    write_ome_tiff(tmp_path / "fixed.ome.tif", np.tile(fixed, (20, 20))[None], Grid.of((6000, 6000)), ("a",))
    write_ome_tiff(tmp_path / "moving.ome.tif", fixed[None], Grid.of((300, 300)), ("a",))
    write_transform(tmp_path / "move.tfm", Affine.similarity(20, 0.04, source=(3000, 3000), target=(150, 150)))
    before = sorted(tmp_path.iterdir())
    # A child that inherits an ignored signal, as under nohup, would never be interrupted.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from correlight.output.apply import apply\n"
        "apply('move.tfm', 'moving.ome.tif', 'fixed.ome.tif', 'out', progress=lambda part: print(part, flush=True))\n"
    )
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert float(process.stdout.readline()) < 0.5
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode != 0
    assert b"KeyboardInterrupt" in said
    assert sorted(tmp_path.iterdir()) == before


def test_a_mask_holds_for_an_image_on_disk(
    couple: tuple[SimulatedPair, Path], little_memory: None, tmp_path: Path
) -> None:
    _, home = couple
    painted = np.full((512, 512), 255, np.uint8)
    painted[:, :200] = 0
    write_ome_tiff(tmp_path / "mask.ome.tif", painted[None], Grid.of((512, 512)), ("mask",))
    mask = read_mask(tmp_path / "mask.ome.tif", (512, 512))
    assert isinstance(mask, CoarseMask)
    seen = Plane.of(read(home / "fixed.ome.tif").with_mask(mask, "painted"), 0)
    assert not seen.mask[:, :100].any()
    assert seen.mask[:, 100:].all()
