"""What is written is read back by tifffile and by the package, value for value."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from correlight.errors import UsageError
from correlight.geometry import Grid
from correlight.io import read, write_ome_tiff, write_tiff
from correlight.io.write import TiffBands
from correlight.io.write_zarr import write_ome_zarr

RNG = np.random.default_rng(0)
TYPES = ["uint8", "uint16", "uint32", "int8", "int16", "int32", "float32", "float64"]


class Recorded:
    """Pixels that remember how much of them was ever cut out at once."""

    def __init__(self, array: Any) -> None:
        self.array, self.shape, self.dtype, self.largest = array, array.shape, array.dtype, 0

    def __getitem__(self, key: Any) -> Any:
        block = self.array[key]
        self.largest = max(self.largest, block.size)
        return block


@pytest.mark.parametrize("dtype", TYPES)
def test_channels_keep_values_type_names_and_spacing(tmp_path: Path, dtype: str) -> None:
    pixels = (RNG.random((2, 300, 513)) * 120).astype(dtype)
    grid = Grid.of((300, 513), (0.5, 0.25), unit="micrometre")
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, grid, ("DAPI", "reflection & <GFP> µ"))
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.is_ome
        assert file.pages.first.is_tiled
        assert file.pages.first.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        np.testing.assert_array_equal(file.asarray(), pixels)
    image = read(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.levels[0], pixels)
    assert (image.dtype, image.channels) == (np.dtype(dtype), ("DAPI", "reflection & <GFP> µ"))
    assert (image.grid, image.source["spacing_source"]) == (grid, "OME-XML")


def test_without_calibration_no_size_is_written(tmp_path: Path) -> None:
    grid = Grid.of((64, 80))
    write_ome_tiff(tmp_path / "a.ome.tif", RNG.random((1, 64, 80), np.float32), grid, ("SEM",))
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.ome_metadata is not None
        assert "PhysicalSize" not in file.ome_metadata
        assert file.pages.first.tags["ResolutionUnit"].value == tifffile.RESUNIT.NONE
    assert read(tmp_path / "a.ome.tif").grid == grid


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_a_picture_in_colours_stays_one(tmp_path: Path, dtype: str) -> None:
    pixels = (RNG.random((3, 300, 270)) * 250).astype(dtype)
    grid = Grid.of((300, 270), 0.3, unit="micrometre")
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, grid, ("red", "green", "blue"), rgb=True)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        np.testing.assert_array_equal(file.asarray(), np.moveaxis(pixels, 0, -1))
        assert file.pages.first.photometric == tifffile.PHOTOMETRIC.RGB
    image = read(tmp_path / "a.ome.tif")
    assert (image.rgb, image.grid) == (True, grid)
    np.testing.assert_array_equal(image.levels[0], pixels)


def test_three_channels_are_not_a_picture_in_colours(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 255, (3, 64, 64), np.uint8)
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, Grid.of((64, 64)), ("a", "b", "c"))
    image = read(tmp_path / "a.ome.tif")
    assert (image.rgb, image.channels) == (False, ("a", "b", "c"))


def test_a_stack_keeps_its_spacing_in_three_axes(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 999, (2, 5, 64, 70)).astype(np.uint16)
    grid = Grid.of((5, 64, 70), (0.9, 0.2, 0.1), unit="micrometre")
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, grid, ("one", "two"))
    image = read(tmp_path / "a.ome.tif")
    assert image.grid == grid
    np.testing.assert_array_equal(image.levels[0], pixels)


def test_a_footprint_and_an_error_map_are_single_channels(tmp_path: Path) -> None:
    grid = Grid.of((90, 100), 0.5, unit="micrometre")
    footprint = RNG.random((90, 100)) > 0.5
    error = RNG.random((90, 100), np.float32)
    error[:5] = np.nan
    write_tiff(tmp_path / "footprint.tif", footprint, grid, "footprint")
    write_tiff(tmp_path / "predicted_error.tif", error, grid, "predicted error")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "footprint.tif"), footprint.astype(np.uint8))
    image = read(tmp_path / "predicted_error.tif")
    assert (image.dtype, image.channels, image.grid) == (np.dtype(np.float32), ("predicted error",), grid)
    np.testing.assert_array_equal(image.levels[0][0], error)


def test_pixels_are_cut_out_a_row_of_tiles_at_a_time(tmp_path: Path) -> None:
    pixels = Recorded(RNG.integers(0, 255, (2, 700, 900), np.uint8))
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, Grid.of((700, 900)), ("a", "b"))
    assert 0 < pixels.largest <= 2 * 256 * 900
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.ome.tif"), pixels.array)
    assert [path.name for path in tmp_path.iterdir()] == ["a.ome.tif"]


@pytest.mark.parametrize("rgb", [False, True])
def test_tiles_of_one_value_are_not_confused(rgb: bool, tmp_path: Path) -> None:
    pixels = np.zeros((3, 600, 900), np.uint16)
    pixels[0, :256], pixels[1, :, 256:512], pixels[2, 300:] = 7, 7, 900
    pixels[0, 0, 0] = 8
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, Grid.of((600, 900)), ("a", "b", "c"), rgb=rgb)
    np.testing.assert_array_equal(read(tmp_path / "a.ome.tif").levels[0], pixels)


def interrupted(path: Path) -> None:
    """Begin to write, and be stopped."""
    with TiffBands(path, (1, 600, 90), np.dtype(np.uint8), Grid.of((600, 90)), ("a",)) as file:
        file.add(np.ones((1, 300, 90), np.uint8))
        raise KeyboardInterrupt


def test_a_file_that_is_not_completed_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "a.ome.tif")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("scratch", [0, 2**26])
def test_above_the_reach_of_32_bits_offsets_have_64(
    scratch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("correlight.io.write._BIG", 1000)
    monkeypatch.setattr("correlight.io.write._IN_MEMORY", scratch)
    pixels = RNG.integers(0, 255, (2, 300, 4200), np.uint8)
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, Grid.of((300, 4200)), ("a", "b"), pyramid="mean")
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert file.is_bigtiff
        np.testing.assert_array_equal(file.asarray(), pixels)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pixels=npst.arrays(
        st.sampled_from([np.uint8, np.uint16, np.float32]),
        st.tuples(st.integers(1, 3), st.integers(32, 70), st.integers(32, 300)),
        elements=st.integers(0, 200),
        fill=st.just(7),
    ),
    spacing=st.tuples(st.floats(1e-4, 1e3), st.floats(1e-4, 1e3)),
)
def test_any_picture_comes_back(tmp_path: Path, pixels: Any, spacing: tuple[float, float]) -> None:
    pixels[:, 0, 0] = 201
    grid = Grid.of(pixels.shape[1:], spacing, unit="micrometre")
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, grid, [f"c{index}" for index in range(len(pixels))])
    image = read(tmp_path / "a.ome.tif")
    np.testing.assert_array_equal(image.levels[0], pixels)
    assert image.grid.spacing == pytest.approx(spacing, rel=1e-12)


@pytest.mark.parametrize(
    ("pixels", "names", "rgb", "says"),
    [
        (np.zeros((2, 40, 50)), ("a",), False, "do not fit 1 channels"),
        (np.zeros((1, 40, 51)), ("a",), False, "do not fit"),
        (np.zeros((2, 40, 50), np.uint8), ("a", "b"), True, "a colour image"),
        (np.zeros((1, 40, 50), np.int64), ("a",), False, "got int64"),
        (np.zeros((1, 40, 50), np.complex64), ("a",), False, "got complex64"),
    ],
)
def test_what_cannot_be_written_is_misuse(tmp_path: Path, pixels: Any, names: Any, rgb: bool, says: str) -> None:
    with pytest.raises(UsageError, match=re.escape(says)):
        write_ome_tiff(tmp_path / "a.ome.tif", pixels, Grid.of((40, 50)), names, rgb=rgb)
    assert not (tmp_path / "a.ome.tif").exists()


def test_a_place_that_cannot_be_written_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        write_tiff(tmp_path / "missing" / "a.tif", np.zeros((40, 50), np.uint8), Grid.of((40, 50)))


@pytest.mark.parametrize("how", ["mean", "nearest"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_a_large_picture_gets_smaller_levels(how: Any, dtype: str, tmp_path: Path) -> None:
    pixels = (RNG.random((2, 300, 4101)) * 200).astype(dtype)
    grid = Grid.of((300, 4101), (0.2, 0.1), unit="micrometre")
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, grid, ("a", "b"), pyramid=how)
    for level in range(4):
        f = 2**level
        blocks = pixels[:, : 300 // f * f, : 4101 // f * f].reshape(2, 300 // f, f, 4101 // f, f)
        means = blocks.mean((2, 4), dtype=np.float64)
        middle = (0, 1, 1, 5)[level]  # the pixel of a block that stands for it
        expected = blocks[:, :, middle, :, middle] if how == "nearest" else np.rint(means) if dtype[0] == "u" else means
        image = read(tmp_path / "a.ome.tif", level=level)
        assert image.channels == ("a", "b")
        assert np.abs(image.levels[0] - expected.astype(dtype)).max() == 0
        assert image.grid == grid if level == 0 else image.grid.spacing == pytest.approx(grid.shrink(f).spacing)
        assert image.grid.origin == pytest.approx(grid.shrink(f).origin, abs=1e-12)
    with pytest.raises(UsageError, match="no level 4"):
        read(tmp_path / "a.ome.tif", level=4)


def test_a_large_picture_in_colours_and_a_stack_get_levels(tmp_path: Path) -> None:
    colours = RNG.integers(0, 255, (3, 40, 4200), np.uint8)
    grid = Grid.of((40, 4200))
    write_ome_tiff(tmp_path / "a.ome.tif", colours, grid, ("red", "green", "blue"), rgb=True, pyramid="nearest")
    image = read(tmp_path / "a.ome.tif", level=0)
    assert image.rgb
    np.testing.assert_array_equal(image.levels[0], colours)
    with tifffile.TiffFile(tmp_path / "a.ome.tif") as file:
        assert [level.shape for level in file.series[0].levels] == [(40 // f, 4200 // f, 3) for f in (1, 2, 4, 8)]
        np.testing.assert_array_equal(file.series[0].levels[1].asarray(), np.moveaxis(colours[:, 1::2, 1::2], 0, -1))
    stack = RNG.integers(0, 255, (1, 3, 64, 4200), np.uint8)
    write_ome_tiff(
        tmp_path / "b.ome.tif", stack, Grid.of(stack.shape[1:], 0.5, unit="micrometre"), ("a",), pyramid="mean"
    )
    small = read(tmp_path / "b.ome.tif", level=1)
    assert small.grid.spacing == (0.5, 1.0, 1.0)
    assert small.levels[0].shape == (1, 3, 32, 2100)


def test_levels_are_made_from_a_few_rows_at_a_time(tmp_path: Path) -> None:
    pixels = Recorded(RNG.integers(0, 255, (1, 4500, 600), np.uint8))
    write_ome_tiff(tmp_path / "a.ome.tif", pixels, Grid.of((4500, 600)), ("a",), pyramid="mean")
    assert pixels.largest <= 1024 * 600


# ----------------------------------------------------------------------------------------------------- OME-Zarr


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_ome_zarr_keeps_values_type_names_and_spacing_on_every_level(dtype: str, tmp_path: Path) -> None:
    pixels = (RNG.random((2, 700, 2100)) * 200).astype(dtype)
    grid = Grid.of((700, 2100), (0.2, 0.1), unit="micrometre")
    write_ome_zarr(tmp_path / "a.ome.zarr", pixels, grid, ("DAPI", "µ"))
    for level, f in enumerate((1, 2, 4)):
        image = read(tmp_path / "a.ome.zarr", level=level)
        blocks = pixels[:, :, : 2100 // f * f].reshape(2, 700 // f, f, 2100 // f, f)
        means = blocks.mean((2, 4), dtype=np.float64)
        expected = (means if dtype[0] == "f" else np.rint(means)).astype(dtype)
        np.testing.assert_array_equal(image.levels[0], expected)
        assert (image.channels, image.dtype) == (("DAPI", "µ"), np.dtype(dtype))
        assert image.grid.spacing == pytest.approx(grid.shrink(f).spacing, rel=1e-12)
        assert image.grid.origin == pytest.approx(grid.shrink(f).origin, abs=1e-12)
    with pytest.raises(UsageError, match="no level 3"):
        read(tmp_path / "a.ome.zarr", level=3)


def test_ome_zarr_of_a_stack_and_without_calibration(tmp_path: Path) -> None:
    stack = RNG.integers(0, 255, (1, 3, 64, 70), np.uint8)
    grid = Grid.of(stack.shape[1:], (0.9, 0.2, 0.1), unit="micrometre")
    write_ome_zarr(tmp_path / "a.zarr", stack, grid, ("a",))
    np.testing.assert_array_equal(read(tmp_path / "a.zarr").levels[0], stack)
    assert read(tmp_path / "a.zarr").grid == grid
    write_ome_zarr(tmp_path / "b.zarr", stack[:, 0], Grid.of((64, 70)), ("a",), pyramid="nearest")
    assert not read(tmp_path / "b.zarr").grid.calibrated


def test_ome_zarr_is_written_a_row_of_chunks_at_a_time(tmp_path: Path) -> None:
    pixels = Recorded(RNG.integers(0, 255, (2, 600, 2200), np.uint8))
    write_ome_zarr(tmp_path / "a.zarr", pixels, Grid.of((600, 2200)), ("a", "b"))
    assert 0 < pixels.largest <= 2 * 512 * 2200


def test_what_ome_zarr_cannot_hold_is_misuse(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="do not fit"):
        write_ome_zarr(tmp_path / "a.zarr", np.zeros((1, 40, 51), np.uint8), Grid.of((40, 50)), ("a",))
    with pytest.raises(UsageError, match="complex64"):
        write_ome_zarr(tmp_path / "a.zarr", np.zeros((1, 40, 50), np.complex64), Grid.of((40, 50)), ("a",))
    assert not (tmp_path / "a.zarr").exists()
