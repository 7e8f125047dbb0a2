"""Large files stay on disk: the same pixels as from memory, no file left open, damage in one sentence."""

import os
import shutil
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from correlight.errors import ReadError
from correlight.geometry import Grid
from correlight.images.image import CoarseMask, Image
from correlight.images.pyramid import stays_on_disk
from correlight.io import read, read_mask, write_ome_tiff

RNG = np.random.default_rng(0)
SHAPE = (150, 201)
PICTURE = RNG.integers(0, 60_000, SHAPE).astype(np.uint16)
CHANNELS = RNG.integers(0, 60_000, (3, *SHAPE)).astype(np.uint16)
REAL = PICTURE.astype(np.float32)
COLOURS = RNG.integers(0, 255, (*SHAPE, 3)).astype(np.uint8)
MICRON = {"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.1, "PhysicalSizeYUnit": "µm"}


def tiff(path: Path, pixels: Any = CHANNELS, **how: Any) -> Path:
    tifffile.imwrite(path / "a.tif", pixels, **{"photometric": "minisblack", **how})
    return path / "a.tif"


def pyramid(path: Path) -> Path:
    write_ome_tiff(path / "a.ome.tif", CHANNELS, Grid.of(SHAPE, 0.1, unit="micrometre"), ("a", "b", "c"))
    with tifffile.TiffWriter(path / "b.ome.tif", ome=True) as file:
        file.write(CHANNELS, subifds=2, tile=(32, 48), compression="zlib", metadata={"axes": "CYX", **MICRON})
        for f in (2, 4):
            file.write(CHANNELS[:, ::f, ::f][:, : 150 // f, : 201 // f], subfiletype=1, tile=(32, 48))
    return path / "b.ome.tif"


def store(version: int) -> Callable[[Path], Path]:
    def made(path: Path) -> Path:
        group = zarr.open_group(str(path / "a.zarr"), mode="w", zarr_format=2 if version == 4 else 3)
        axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
        axes += [{"name": a, "type": "space", "unit": "micrometer"} for a in "yx"]
        datasets = []
        for level, f in enumerate((1, 2, 4)):
            data = np.stack([CHANNELS[::-1], CHANNELS])[:, :, ::f, ::f][..., : 150 // f, : 201 // f]
            group.create_array(str(level), data=data, chunks=(1, 1, 40, 64))
            step: dict[str, Any] = {"type": "scale", "scale": [1.0, 1.0, 0.1 * f, 0.1 * f]}
            if version == 6:
                step |= {"input": {"path": str(level)}, "output": {"name": "physical"}}
            datasets.append({"path": str(level), "coordinateTransformations": [step]})
        image: dict[str, Any] = {"datasets": datasets}
        image |= {"coordinateSystems": [{"name": "physical", "axes": axes}]} if version == 6 else {"axes": axes}
        if version == 4:
            group.attrs["multiscales"] = [{"version": "0.4", **image}]
        else:
            group.attrs["ome"] = {"version": f"0.{version}", "multiscales": [image]}
        return path / "a.zarr"

    return made


def mrc(path: Path, pixels: Any = REAL) -> Path:
    mrcfile = pytest.importorskip("mrcfile", reason="mrcfile is not installed; it belongs to the extra formats")
    with mrcfile.new(path / "a.mrc") as file:
        file.set_data(pixels)
        file.voxel_size = 50.0
        if pixels.ndim == 3:
            file.set_volume()
    return path / "a.mrc"


def npy(path: Path, pixels: Any = CHANNELS) -> Path:
    np.save(path / "a.npy", pixels)
    return path / "a.npy"


KINDS: dict[str, Callable[[Path], Path]] = {
    "tiles": lambda path: tiff(path, tile=(32, 48), compression="zlib", predictor=True),
    "strips": lambda path: tiff(path, rowsperstrip=7, compression="lzw"),
    "big-endian": lambda path: tiff(path, byteorder=">", rowsperstrip=16, compression="zlib"),
    "uncompressed": lambda path: tiff(path),
    "uncompressed, big-endian": lambda path: tiff(path, byteorder=">"),
    "ImageJ": lambda path: tiff(path, imagej=True, metadata={"axes": "CYX"}),
    "colours": lambda path: tiff(path, COLOURS, tile=(48, 32), compression="zlib", photometric="rgb"),
    "colours, uncompressed": lambda path: tiff(path, COLOURS, photometric="rgb"),
    "frames": lambda path: tiff(path, np.stack([CHANNELS] * 2), ome=True, metadata={"axes": "TCYX"}, tile=(32, 32)),
    "stack": lambda path: tiff(path, np.stack([CHANNELS] * 4, 1), ome=True, metadata={"axes": "CZYX"}, tile=(32, 32)),
    "OME-TIFF pyramid": pyramid,
    "OME-Zarr 0.4": store(4),
    "OME-Zarr 0.5": store(5),
    "OME-Zarr 0.6": store(6),
    "MRC": mrc,
    "MRC volume": lambda path: mrc(path, RNG.normal(size=(9, 60, 70)).astype(np.float32)),
    "NumPy": npy,
}


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which small files are large."""
    monkeypatch.setattr("correlight.io.content.IN_MEMORY", 10_000)
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 60 * 60)


def handles() -> set[str]:
    """The files that this process has open."""
    home = Path("/proc/self/fd")
    if not home.is_dir():
        pytest.skip("which files are open is asked of Linux")
    return {os.readlink(entry) for entry in home.iterdir() if entry.is_symlink()} - {f"/proc/{os.getpid()}/fd"}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_pixels_come_from_disk_as_from_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = KINDS[kind](tmp_path)
    held = read(path)
    monkeypatch.setattr("correlight.io.content.IN_MEMORY", 10_000)
    monkeypatch.setattr("correlight.images.pyramid.WORKING", 60 * 60)
    before = handles()
    left = read(path)
    assert stays_on_disk(left)
    assert (left.grid, left.channels, left.rgb, left.dtype) == (held.grid, held.channels, held.rgb, held.dtype)
    assert left.source == held.source
    assert [text for text in left.findings if "level" not in text] == list(held.findings)
    # One channel is a number in the index, as of any array.
    whole: Any = np.asarray(held.levels[0])
    pixels: Any = left.levels[0]
    np.testing.assert_array_equal(pixels[(slice(None),) * whole.ndim], whole)
    rng = np.random.default_rng(1)
    for _ in range(20):
        ends = [np.sort(rng.choice(n + 1, 2, replace=False)) for n in whole.shape[1:]]
        region = tuple(slice(int(a), int(b)) for a, b in ends)
        np.testing.assert_array_equal(pixels[(slice(None), *region)], whole[(slice(None), *region)])
        channel = int(rng.integers(len(whole)))
        np.testing.assert_array_equal(pixels[(channel, *region)], whole[(channel, *region)])
        numbers = tuple(int(rng.integers(n)) for n in whole.shape[1:])
        keys: tuple[Any, ...] = (
            (..., numbers[-1]),
            (channel, *numbers[:-1], slice(3, None, 7)),
            (slice(None), numbers[0]),
            numbers[0] % 1,
        )
        for key in keys:
            np.testing.assert_array_equal(pixels[key], whole[key])
        np.testing.assert_array_equal(pixels[..., ::5, 2::3], whole[..., ::5, 2::3])
    np.testing.assert_array_equal(pixels[...], whole)
    for wrong in (len(whole), (0, slice(None, None, -1))):
        with pytest.raises(IndexError):
            pixels[wrong]
    small = left.levels[-1]
    assert isinstance(small, np.ndarray)
    assert np.prod(small.shape[1:]) <= 60 * 60
    assert handles() == before


def test_levels_of_the_file_are_used_and_lie_where_they_should(little_memory: None, tmp_path: Path) -> None:
    for path in (pyramid(tmp_path), store(5)(tmp_path)):
        image = read(path)
        assert [level.shape[1:] for level in image.levels] == [SHAPE, (75, 100), (37, 50)]
        np.testing.assert_array_equal(image.levels[2], read(path, level=2).levels[0])
        for level in (1, 2):
            assert image.level_grid(level).spacing == pytest.approx(read(path, level=level).grid.spacing)
            assert image.level_grid(level).origin == pytest.approx(read(path, level=level).grid.origin, abs=1e-12)


def test_scenes_and_frames_are_chosen_on_disk_too(little_memory: None, tmp_path: Path) -> None:
    path = store(5)(tmp_path)
    np.testing.assert_array_equal(read(path, time=0).levels[0][:, :, :], CHANNELS[::-1])
    np.testing.assert_array_equal(read(path, time=1).levels[0][:, :, :], CHANNELS)
    both = tmp_path / "two.ome.tif"
    with tifffile.TiffWriter(both, ome=True) as file:
        for name, pixels in (("first", CHANNELS[0]), ("second", CHANNELS[1])):
            file.write(pixels, tile=(64, 64), compression="zlib", metadata={"Name": name})
    np.testing.assert_array_equal(read(both, scene="second").levels[0][0], CHANNELS[1])


def test_padding_is_found_on_a_level_and_holds_for_the_whole(little_memory: None, tmp_path: Path) -> None:
    padded = PICTURE.copy()
    padded[:, 150:] = 0
    image = read(tiff(tmp_path, padded, tile=(32, 32), compression="zlib"))
    assert isinstance(image.mask, CoarseMask)
    assert any("padding" in text for text in image.findings)
    valid = image.valid()
    assert not valid[:, 150:].any()
    # A level pixel that the edge runs through and the rim beside it are given up, not more.
    assert valid[:, : 150 - 4 * 4].all()


def test_a_mask_on_disk_is_valid_where_all_of_a_block_is(little_memory: None, tmp_path: Path) -> None:
    painted = np.full(SHAPE, 255, np.uint8)
    painted[40, 100] = 0
    mask = read_mask(tiff(tmp_path, painted, tile=(32, 32), compression="zlib"), SHAPE)
    assert isinstance(mask, CoarseMask)
    full = mask[...]
    assert not full[40, 100]
    assert (~full).sum() <= 16
    image = read(npy(tmp_path)).with_mask(mask, "painted")
    np.testing.assert_array_equal(image.valid(), full)
    with pytest.raises(ReadError, match="zero everywhere"):
        read_mask(tiff(tmp_path, np.zeros(SHAPE, np.uint8), tile=(32, 32)), SHAPE)


def test_what_shows_nothing_is_refused_on_disk_too(little_memory: None, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="blank"):
        read(tiff(tmp_path, np.full(SHAPE, 7, np.uint16), tile=(32, 32)))
    with pytest.raises(ReadError, match="no finite value"):
        read(npy(tmp_path, np.full(SHAPE, np.nan)))
    with pytest.raises(ReadError, match="real numbers"):
        read(mrc(tmp_path, np.ones(SHAPE, np.complex64)))


@pytest.mark.parametrize("kind", ["tiles", "strips", "uncompressed", "ImageJ", "MRC", "NumPy"])
def test_a_truncated_file_is_refused(kind: str, little_memory: None, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 2 // 3)
    with pytest.raises(ReadError, match=r"truncated|damaged|be read"):
        read(path)
    assert handles() & {str(path)} == set()


@pytest.mark.parametrize("kind", ["tiles", "OME-Zarr 0.5"])
def test_damage_within_is_told_when_it_is_met(kind: str, little_memory: None, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path)
    target = next(file for file in sorted(path.rglob("c/*/*/*/*")) if file.is_file()) if path.is_dir() else path
    data = bytearray(target.read_bytes())
    middle = len(data) // 2
    if path.is_dir():
        target.write_bytes(data[:middle])
    else:
        data[middle : middle + 2000] = b"\xff" * 2000
        target.write_bytes(data)
    with pytest.raises(ReadError, match="cannot be read"):
        # The store has levels of its own, so that nobody looks at its full resolution before this.
        np.asarray(read(path).levels[0][:, :, :])


@pytest.mark.parametrize("kind", ["tiles", "uncompressed", "MRC"])
def test_a_file_that_goes_away_is_told(kind: str, little_memory: None, tmp_path: Path) -> None:
    path = KINDS[kind](tmp_path)
    image = read(path)
    np.asarray(image.levels[0][:, :10, :10])
    os.rename(path, tmp_path / "elsewhere")
    with pytest.raises(ReadError, match="cannot be read"):
        np.asarray(image.levels[0][:, 100:140, 100:180])


def test_a_tile_of_absurd_size_takes_no_memory(little_memory: None, tmp_path: Path) -> None:
    path = tiff(tmp_path, tile=(32, 48), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            assert isinstance(page, tifffile.TiffPage)
            page.tags["TileWidth"].overwrite(2**20)
            page.tags["TileLength"].overwrite(2**20)
    tracemalloc.start()
    try:
        with pytest.raises(ReadError):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 5e7
    finally:
        tracemalloc.stop()


def test_strips_without_rows_are_refused(little_memory: None, tmp_path: Path) -> None:
    path = tiff(tmp_path, rowsperstrip=7, compression="lzw")
    with tifffile.TiffFile(path, mode="r+") as file:
        for page in file.pages:
            assert isinstance(page, tifffile.TiffPage)
            page.tags["RowsPerStrip"].overwrite(0)
    with pytest.raises(ReadError, match="damaged"):
        read(path)


def test_chunks_that_are_missing_are_empty(little_memory: None, tmp_path: Path) -> None:
    path = store(5)(tmp_path)
    shutil.rmtree(path / "0" / "c" / "0" / "0" / "1")
    image = read(path)
    assert not np.asarray(image.levels[0][0, 40:80]).any()
    np.testing.assert_array_equal(image.levels[0][0, :40], CHANNELS[2][:40])


def test_a_region_reads_only_its_tiles(little_memory: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image: Image = read(pyramid(tmp_path))
    read_bytes = []
    real = os.pread

    def pread(*where: Any) -> bytes:
        read_bytes.append(where[1])
        return real(*where)

    monkeypatch.setattr(os, "pread", pread)
    np.asarray(image.levels[0][1, 33:60, 50:90])
    assert len(read_bytes) == 1
