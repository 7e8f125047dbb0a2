"""The composite holds what was registered, as other programs read it: names, colours, display ranges, pixels."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from correlight import cli
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.io import read, write_ome_tiff
from correlight.output import composite as composites
from correlight.output.composite import Moved, channel_names, how_shown, write_composite
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.transforms import Affine
from tests.known_pair import MOVING_FROM_FIXED, known_result, write_images

OME = "{http://www.openmicroscopy.org/Schemas/OME/2016-06}"
WHITE, MAGENTA, GREEN = (255, 255, 255), (255, 64, 255), (64, 255, 64)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> tuple[Image, Image]:
    fixed, moving = write_images(tmp_path_factory.mktemp("images"))
    return read(fixed), read(moving)


@pytest.fixture(scope="module")
def folder(images: tuple[Image, Image], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result with its composite, by the images' side."""
    out = Path(images[0].source["path"]).parent / "out"
    with reserve(out) as place:
        write_result(place, known_result(*images), *images, composite=True)
    return out


def expected(images: tuple[Image, Image]) -> np.ndarray:
    fixed, moving = images
    values, _ = warp(moving, moving.grid, MOVING_FROM_FIXED, fixed.grid)
    return np.concatenate([np.asarray(fixed.levels[0]).astype(np.uint16), values])


def colours_in(xml: str) -> list[tuple[int, ...]]:
    """Red, green and blue of every channel, as OME-XML has them: a signed number of 32 bits."""
    from xml.etree import ElementTree

    numbers = [int(one.attrib["Color"]) for one in ElementTree.fromstring(xml).iter(f"{OME}Channel")]
    return [tuple(np.array([number], np.int32).view(np.uint32).astype(">u4").view(np.uint8)[:3]) for number in numbers]


def test_a_file_holds_all_channels_with_their_values_names_colours_and_ranges(
    images: tuple[Image, Image], folder: Path
) -> None:
    with tifffile.TiffFile(folder / "composite.ome.tif") as file:
        pixels, xml, tags = file.asarray(), file.ome_metadata, file.pages.first.tags
        assert (file.is_ome, file.is_imagej) == (True, False)
    assert xml is not None
    np.testing.assert_array_equal(pixels, expected(images))
    assert colours_in(xml) == [WHITE, MAGENTA, GREEN]
    ranges = np.asarray(tags["IJMetadata"].value["Ranges"]).reshape(3, 2)
    assert len(tags["IJMetadata"].value["LUTs"]) == 3
    for channel, (low, high) in zip(pixels, ranges, strict=True):
        assert channel.min() <= low < high <= channel.max()
    again = read(folder / "composite.ome.tif")
    assert again.channels[1:] == ("stain", "other")
    assert again.grid.spacing == pytest.approx(images[0].grid.spacing)


def test_beside_it_stands_what_imagej_opens_with_ranges_and_colours(images: tuple[Image, Image], folder: Path) -> None:
    with tifffile.TiffFile(folder / "composite.tif") as file:
        pixels, said = file.asarray(), file.imagej_metadata
    assert said is not None
    np.testing.assert_array_equal(pixels, expected(images))
    assert said["mode"] == "composite"
    shown = how_shown(images)
    assert said["Ranges"] == pytest.approx([limit for one in shown for limit in (one.low, one.high)])
    assert [tuple(lut[:, -1].tolist()) for lut in said["LUTs"]] == [WHITE, MAGENTA, GREEN]
    again = read(folder / "composite.tif")
    assert again.channels == read(folder / "composite.ome.tif").channels
    assert again.grid.spacing == pytest.approx(images[0].grid.spacing)


def test_a_large_one_is_a_store_that_says_the_same(
    images: tuple[Image, Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("correlight.output.moved._LARGEST_FILE", 1000)
    fixed, moving = images
    written = write_composite(tmp_path, fixed, [Moved(moving, moving.grid, MOVING_FROM_FIXED)])
    assert [path.name for path in written] == ["composite.ome.zarr"]
    store = zarr.open_group(written[0], mode="r")
    np.testing.assert_array_equal(store["0"][...], expected(images))  # type: ignore[index]
    channels = json.loads((written[0] / "zarr.json").read_text())["attributes"]["ome"]["omero"]["channels"]
    assert [one["color"] for one in channels] == ["FFFFFF", "FF40FF", "40FF40"]
    for one, shown in zip(channels, how_shown(images), strict=True):
        window = one["window"]
        assert (window["start"], window["end"]) == (shown.low, shown.high)
        assert window["min"] <= window["start"] < window["end"] <= window["max"]


def test_napari_shows_the_store_in_its_colours_and_ranges(
    images: tuple[Image, Image], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = pytest.importorskip("napari_ome_zarr", reason="the reader of OME-Zarr for napari is not installed")
    monkeypatch.setattr("correlight.output.moved._LARGEST_FILE", 1000)
    written = write_composite(tmp_path, images[0], [Moved(images[1], images[1].grid, MOVING_FROM_FIXED)])
    (_, options, _), *_ = reader.napari_get_reader(str(written[0]))(str(written[0]))
    assert options["contrast_limits"] == [[one.low, one.high] for one in how_shown(images)]
    assert [name.removeprefix("composite: ") for name in options["name"]] == list(channel_names(images))


def test_bands_are_cut_alike_however_each_image_is_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A moving image of finer pixels is averaged, for which its bands are lower than those of the others.
    rng = np.random.default_rng(0)
    fixed = Image.from_array(rng.integers(0, 255, (700, 40)).astype(np.uint8))
    fine = Image.from_array(rng.random((2200, 130), np.float32))
    coarse = Image.from_array(rng.integers(0, 9000, (3, 350, 20)).astype(np.int16))
    finer, coarser = Affine.of(3 * np.eye(2), (1.0, 1.0)), Affine.of(np.eye(2) / 2, (0.0, 0.0))
    moved = [Moved(fine, fine.grid, finer), Moved(coarse, coarse.grid, coarser, "nearest")]
    path, same = write_composite(tmp_path, fixed, moved)
    np.testing.assert_array_equal(tifffile.imread(same), tifffile.imread(path))
    pixels = tifffile.imread(path)
    assert (pixels.dtype, pixels.shape) == (np.dtype(np.float32), (5, 700, 40))
    np.testing.assert_array_equal(pixels[0], fixed.levels[0][0])
    np.testing.assert_array_equal(pixels[1:2], warp(fine, fine.grid, finer, fixed.grid)[0])
    np.testing.assert_array_equal(pixels[2:], warp(coarse, coarse.grid, coarser, fixed.grid, "nearest")[0])


def test_a_stack_is_written_as_a_file_and_as_a_store(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    fixed = Image.from_array(rng.integers(0, 255, (5, 60, 50)).astype(np.uint8)[None], spacing=(2.0, 1.0, 1.0))
    moving = Image.from_array(rng.integers(0, 4000, (2, 5, 60, 50)).astype(np.uint16), spacing=(2.0, 1.0, 1.0))
    shift = Affine.of(np.eye(3), (2.0, 3.0, -4.0))
    file, same, store = write_composite(tmp_path, fixed, [Moved(moving, moving.grid, shift)])
    values, _ = warp(moving, moving.grid, shift, fixed.grid)
    pixels = np.concatenate([np.asarray(fixed.levels[0]).astype(np.uint16), values])
    np.testing.assert_array_equal(read(file).levels[0], pixels)
    np.testing.assert_array_equal(read(same).levels[0], pixels)
    assert read(same).grid.spacing == pytest.approx(fixed.grid.spacing)
    np.testing.assert_array_equal(read(store).levels[0][...], pixels)


@pytest.mark.parametrize(
    ("types", "common"),
    [
        (("uint8", "uint16"), "uint16"),
        (("uint8", "int8"), "int16"),
        (("int32", "float32"), "float64"),
        (("uint32", "int8"), "float64"),
        (("float16", "uint8"), "float32"),
    ],
)
def test_no_value_is_lost_where_types_differ(types: tuple[str, str], common: str, tmp_path: Path) -> None:
    fixed, moving = (Image.from_array(np.arange(64).reshape(8, 8).astype(name)) for name in types)
    path, *same = write_composite(tmp_path, fixed, [Moved(moving, moving.grid, Affine.identity())])
    # ImageJ has no other types of pixels.
    assert bool(same) is (common in ("uint8", "uint16", "float32"))
    pixels = tifffile.imread(path)
    assert pixels.dtype == np.dtype(common)
    np.testing.assert_array_equal(pixels[0], pixels[1])


def test_names_tell_channels_apart() -> None:
    def image(path: str | None, *channels: str) -> Image:
        made = Image((np.zeros((len(channels), 4, 4), np.uint8),), Grid.of((4, 4)), channels)
        return replace(made, source={} if path is None else {"path": path})

    names = channel_names([image("a/em.ome.tif", "channel 0"), image("lm.tif", "DAPI", "GFP"), image(None, "GFP")])
    assert names == ("em", "DAPI", "lm: GFP", "moving: GFP")
    assert channel_names([image("x.tif", "SEM"), image("y.tif", "channel 0", "channel 1")]) == (
        "SEM",
        "y: channel 0",
        "y: channel 1",
    )
    assert channel_names([image("x.tif", "a"), image("b/x.tif", "a")]) == ("x: a", "x: a 2")


def test_an_electron_image_is_grey_whichever_it_is_and_colours_are_kept() -> None:
    electrons = Image.from_array(np.arange(64, dtype=np.uint8).reshape(8, 8))
    light = Image.from_array(np.arange(192, dtype=np.uint8).reshape(3, 8, 8))
    assert [one.colour for one in how_shown([electrons, light])][:3] == [WHITE, MAGENTA, GREEN]
    assert [one.colour for one in how_shown([light, electrons])][::3] == [MAGENTA, WHITE]
    picture = Image.from_array(np.arange(192, dtype=np.uint8).reshape(3, 8, 8), rgb=True)
    shown = how_shown([electrons, picture])
    assert [one.colour for one in shown[1:]] == [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    assert {(one.low, one.high) for one in shown[1:]} == {(0.0, 255.0)}


def test_apply_lays_channels_of_several_files_into_one_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = folder.parent
    moving = read(home / "moving.ome.tif")
    for number, name in enumerate(moving.channels):
        pixels = np.asarray(moving.levels[0])[number : number + 1]
        write_ome_tiff(home / f"{name}.ome.tif", pixels, moving.grid, ("channel 0",))
    files = [str(home / f"{name}.ome.tif") for name in moving.channels]
    like = ["--like", str(home / "fixed.ome.tif"), "--composite", "-o"]
    assert cli.main(["apply", str(folder), *files, *like, str(home / "many")]) == 0
    assert cli.main(["apply", str(folder), str(home / "moving.ome.tif"), *like, str(home / "one")]) == 0
    made, alone = (read(home / name / "composite.ome.tif") for name in ("many", "one"))
    assert made.channels[1:] == alone.channels[1:] == ("stain", "other")
    for one in (made, alone):
        np.testing.assert_array_equal(one.levels[0], read(folder / "composite.ome.tif").levels[0])
    assert cli.main(["apply", str(folder), files[0], *like, str(home / "moved.tif")]) == 2
    assert "written beside what is moved into a folder" in capsys.readouterr().err
    # An image that is called like the whole is not replaced by it.
    (home / "Composite.ome.tif").write_bytes((home / "moving.ome.tif").read_bytes())
    assert cli.main(["apply", str(folder), str(home / "Composite.ome.tif"), files[0], *like, str(home / "two")]) == 0
    np.testing.assert_array_equal(
        read(home / "two" / "Composite_2.ome.tif").levels[0], read(folder / "registered.ome.tif").levels[0]
    )
    assert len(read(home / "two" / "composite.ome.tif").channels) == 1 + 2 + 1


def test_a_refused_result_has_none(images: tuple[Image, Image], tmp_path: Path) -> None:
    write_result(tmp_path, known_result(*images, "refused"), *images, composite=True)
    assert not list(tmp_path.glob(f"{composites.NAME}*"))
