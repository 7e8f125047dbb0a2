"""Pixels are what the file means: brightness, colours, opacity, orientation, bits; previews are no images."""

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

from correlight.errors import ReadError
from correlight.images.pyramid import stays_on_disk
from correlight.io import read

RNG = np.random.default_rng(0)
SHAPE = (60, 81)
GREY = RNG.integers(1, 255, SHAPE).astype(np.uint8)
GREY16 = RNG.integers(1, 60_000, SHAPE).astype(np.uint16)
FOUR = RNG.integers(1, 255, (*SHAPE, 4)).astype(np.uint8)


@pytest.fixture(params=[False, True], ids=["in memory", "on disk"])
def large(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    if request.param:
        monkeypatch.setattr("correlight.io.content.IN_MEMORY", 1000)
        monkeypatch.setattr("correlight.images.pyramid.WORKING", 32 * 32)
    return bool(request.param)


def write(path: Path, pixels: Any, **how: Any) -> Path:
    tifffile.imwrite(path, pixels, **{"metadata": None, "photometric": "minisblack", **how})
    return path


def whole(path: Path, large: bool) -> Any:
    image = read(path)
    assert stays_on_disk(image) == large
    return np.asarray(image.levels[0][...])


# ----------------------------------------------------------------------------------------------- brightness


@pytest.mark.parametrize("pixels", [GREY, GREY16])
@pytest.mark.parametrize("how", [{}, {"compression": "zlib", "tile": (32, 32)}])
def test_white_that_is_zero_is_inverted_and_said(tmp_path: Path, pixels: Any, how: Any, large: bool) -> None:
    path = write(tmp_path / "a.tif", pixels, photometric="miniswhite", **how)
    np.testing.assert_array_equal(whole(path, large)[0], np.iinfo(pixels.dtype).max - pixels)
    assert read(path).findings[0].startswith("the file stores zero as white; its numbers are inverted")


def test_inverted_paint_of_imagej_and_numbers_with_signs_are_kept(tmp_path: Path) -> None:
    text = "ImageJ=1.53t\nmin=0\nmax=255\n"
    path = write(tmp_path / "a.tif", GREY, photometric="miniswhite", description=text)
    np.testing.assert_array_equal(read(path).levels[0][0], GREY)
    assert read(path).findings == ("the file shows zero as white; its numbers are kept as they are",)
    real = GREY.astype(np.float32)
    path = write(tmp_path / "b.tif", real, photometric="miniswhite")
    np.testing.assert_array_equal(read(path).levels[0][0], real)


def test_twelve_bits_are_read_and_inverted_within_twelve_bits(tmp_path: Path, large: bool) -> None:
    values = (GREY16 % 4096).astype(np.uint16)
    for photometric, expected in (("minisblack", values), ("miniswhite", 4095 - values)):
        path = write(tmp_path / "a.tif", values, bitspersample=12, photometric=photometric)
        np.testing.assert_array_equal(whole(path, large)[0], expected)


def test_bits_in_the_other_order_are_read(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", GREY)
    expected = read(path).levels[0].copy()  # type: ignore[attr-defined]
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        offset, count = file.pages.first.dataoffsets[0], sum(file.pages.first.databytecounts)
    reverse = bytes(int(f"{value:08b}"[::-1], 2) for value in range(256))
    data[offset : offset + count] = bytes(data[offset : offset + count]).translate(reverse)
    path.write_bytes(data)
    tagged = write_tag(path, 266, 2)
    np.testing.assert_array_equal(read(tagged).levels[0], expected)


def write_tag(path: Path, code: int, *values: int) -> Path:
    """Add a tag with one or two short numbers to the first directory of a file, by writing that anew at the end."""
    data = path.read_bytes()
    offset = struct.unpack_from("<I", data, 4)[0]
    count = struct.unpack_from("<H", data, offset)[0]
    entries = [data[offset + 2 + 12 * n : offset + 14 + 12 * n] for n in range(count)]
    entries = [entry for entry in entries if struct.unpack_from("<H", entry)[0] != code]
    entries.append(struct.pack("<HHIHH", code, 3, len(values), *values, *[0][: 2 - len(values)]))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry)[0])
    after = data[offset + 2 + 12 * count : offset + 6 + 12 * count]
    data += b"\0" * (len(data) % 2)
    new = struct.pack("<H", len(entries)) + b"".join(entries) + after
    path.write_bytes(data[:4] + struct.pack("<I", len(data)) + data[8:] + new)
    return path


def test_one_bit_is_zero_and_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", GREY > 128)
    np.testing.assert_array_equal(read(path).levels[0][0], (GREY > 128).astype(np.uint8))


# -------------------------------------------------------------------------------------- samples and opacity


@pytest.mark.parametrize("samples", [2, 3, 4])
@pytest.mark.parametrize("how", [{"planarconfig": "contig"}, {"planarconfig": "separate"}])
def test_samples_of_unstated_meaning_are_channels(tmp_path: Path, samples: int, how: Any) -> None:
    pixels = FOUR[..., :samples]
    stored = pixels if how["planarconfig"] == "contig" else np.moveaxis(pixels, -1, 0).copy()
    image = read(write(tmp_path / "a.tif", stored, **how))
    assert (image.rgb, image.mask) == (False, None)
    np.testing.assert_array_equal(image.levels[0], np.moveaxis(pixels, -1, 0))


@pytest.mark.parametrize(("kind", "said"), [("unassalpha", 0), ("assocalpha", 1)])
def test_opacity_is_no_channel(tmp_path: Path, kind: str, said: int, large: bool) -> None:
    pixels = FOUR.copy()
    pixels[:20, :40, 3] = 0
    path = write(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[kind], tile=(32, 32), compression="zlib")
    image = read(path)
    assert image.rgb
    np.testing.assert_array_equal(whole(path, large), np.moveaxis(pixels[..., :3], -1, 0))
    valid = image.valid()
    assert not valid[:20, :40].any()
    assert valid[24:, 44:].all()
    assert len(image.findings) == 1 + said
    assert "transparent pixels are ignored" in image.findings


def test_opacity_of_grey_pixels(tmp_path: Path) -> None:
    pixels = FOUR[..., :2].copy()
    pixels[:20, :, 1] = 0
    image = read(write(tmp_path / "a.tif", pixels, planarconfig="contig", extrasamples=["unassalpha"]))
    np.testing.assert_array_equal(image.levels[0][0], pixels[..., 0])
    np.testing.assert_array_equal(image.valid(), pixels[..., 1] > 0)


def test_a_sample_beside_the_colours_is_a_channel_unless_it_is_opacity(tmp_path: Path, large: bool) -> None:
    path = write(tmp_path / "a.tif", FOUR, photometric="rgb", extrasamples=["unspecified"])
    image = read(path)
    assert (image.rgb, image.channels) == (False, ("red", "green", "blue", "sample 3"))
    np.testing.assert_array_equal(whole(path, large), np.moveaxis(FOUR, -1, 0))
    np.testing.assert_array_equal(np.asarray(image.levels[0][2:4, 5:9, 7]), np.moveaxis(FOUR[5:9, 7, 2:4], -1, 0))


# -------------------------------------------------------------------------------------------------- colours


@pytest.mark.parametrize("suffix", ["tif", "jpg"])
def test_inks_become_colours(tmp_path: Path, suffix: str) -> None:
    smooth = np.clip(np.add.outer(np.arange(60) * 2, np.arange(80)), 0, 255).astype(np.uint8)
    inks = np.stack([smooth, smooth // 2, 255 - smooth, smooth // 4], -1)
    path = tmp_path / f"a.{suffix}"
    Pillow.fromarray(inks, "CMYK").save(path, quality=100, subsampling=0)
    image = read(path)
    paper = 255 - inks.astype(float)
    expected = np.moveaxis(paper[..., :3] * paper[..., 3:] / 255, -1, 0)
    assert image.rgb
    assert image.mask is None
    assert np.abs(image.levels[0] - expected).max() <= (0.5 if suffix == "tif" else 8)
    assert "CMYK" in image.findings[0]


def test_inks_of_sixteen_bits_on_disk(tmp_path: Path, large: bool) -> None:
    inks = RNG.integers(0, 65_535, (*SHAPE, 4)).astype(np.uint16)
    path = write(tmp_path / "a.tif", inks, photometric="separated", tile=(32, 32), compression="zlib")
    paper = 65_535 - inks.astype(float)
    expected = np.moveaxis(paper[..., :3] * paper[..., 3:] / 65_535, -1, 0)
    assert np.abs(whole(path, large) - expected).max() <= 0.5


def test_a_palette_on_disk_gives_the_colours_meant(tmp_path: Path, large: bool) -> None:
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    path = write(tmp_path / "a.tif", GREY, photometric="palette", colormap=table)
    np.testing.assert_array_equal(whole(path, large), (table // 257)[:, GREY])
    longer = RNG.integers(0, 65_536, (3, 65_536)).astype(np.uint16)
    path = write(tmp_path / "b.tif", GREY16, photometric="palette", colormap=longer)
    np.testing.assert_array_equal(whole(path, large), (longer >> 8)[:, GREY16])


def test_brightness_and_colour_become_red_green_and_blue(tmp_path: Path, large: bool) -> None:
    smooth = np.add.outer(np.arange(60), np.arange(81)).astype(np.uint8)
    colours = np.stack([smooth + 40, smooth // 2 + 60, 200 - smooth], -1)
    stored = np.asarray(Pillow.fromarray(colours).convert("YCbCr"))
    path = write_tag(write(tmp_path / "a.tif", stored, photometric="ycbcr", compression="zlib"), 530, 1, 1)
    expected = np.asarray(Pillow.frombytes("YCbCr", SHAPE[::-1], stored.tobytes()).convert("RGB"))
    assert np.abs(whole(path, large) - np.moveaxis(expected, -1, 0).astype(int)).max() <= 1
    jpeg = write(tmp_path / "b.tif", colours, photometric="rgb", compression="jpeg", tile=(32, 32))
    assert np.abs(whole(jpeg, large) - np.moveaxis(colours, -1, 0).astype(int)).mean() <= 4


def test_colours_that_are_not_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="CIELAB"):
        read(write(tmp_path / "a.tif", FOUR[..., :3].copy(), photometric="cielab"))
    with pytest.raises(ReadError, match="YCbCr, subsampled"):
        read(write_tag(write(tmp_path / "b.tif", FOUR[..., :3].copy(), photometric="ycbcr"), 530, 2, 2))


# --------------------------------------------------------------------------------------------- orientation


def upright(pixels: Any, orientation: int) -> Any:
    """What Pillow shows, which knows the eight orientations of Exif."""
    turn = {
        2: Pillow.Transpose.FLIP_LEFT_RIGHT, 3: Pillow.Transpose.ROTATE_180, 4: Pillow.Transpose.FLIP_TOP_BOTTOM,
        5: Pillow.Transpose.TRANSPOSE, 6: Pillow.Transpose.ROTATE_270, 7: Pillow.Transpose.TRANSVERSE,
        8: Pillow.Transpose.ROTATE_90,
    }  # fmt: skip
    image = Pillow.fromarray(pixels)
    return np.asarray(image if orientation == 1 else image.transpose(turn[orientation]))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_is_turned_as_its_tag_asks(tmp_path: Path, orientation: int, large: bool) -> None:
    text = b"[MAIN]\nPixelSizeX=1e-8\nPixelSizeY=2e-8\n"
    tags = [(274, "H", 1, orientation, True), (50431, "B", len(text), text, True)]
    path = write(tmp_path / "a.tif", GREY, extratags=tags, tile=(32, 32), compression="zlib")
    expected = upright(GREY, orientation)
    np.testing.assert_array_equal(whole(path, large)[0], expected)
    image = read(path)
    np.testing.assert_array_equal(np.asarray(image.levels[0][0, 3:50:2, 5:44]), expected[3:50:2, 5:44])
    assert image.grid.spacing == pytest.approx((0.02, 0.01) if orientation < 5 else (0.01, 0.02))
    assert len(image.findings) == (orientation > 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_a_picture_is_turned_as_exif_asks(tmp_path: Path, orientation: int, suffix: str, large: bool) -> None:
    exif = Pillow.Exif()
    exif[274] = orientation
    smooth = np.add.outer(np.arange(60) * 2, np.arange(81)).astype(np.uint8)
    path = tmp_path / f"a.{suffix}"
    Pillow.fromarray(smooth).save(path, exif=exif.tobytes())
    buffer = io.BytesIO()
    Pillow.fromarray(smooth).save(buffer, suffix.replace("jpg", "jpeg"))
    stored = np.asarray(Pillow.open(buffer))
    shown = whole(path, large)[0].astype(int)
    assert shown.shape == upright(stored, orientation).shape
    assert np.abs(shown - upright(stored, orientation)).max() <= 1
    assert len(read(path).findings) == (orientation > 1)


def test_an_orientation_that_does_not_exist_is_said(tmp_path: Path) -> None:
    image = read(write(tmp_path / "a.tif", GREY, extratags=[(274, "H", 1, 77, True)]))
    np.testing.assert_array_equal(image.levels[0][0], GREY)
    assert image.findings == ("stated, not understood: orientation 77",)


# ------------------------------------------------------------------------------------ which image is meant


def test_a_preview_before_the_image_is_passed_over_and_said(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY[:40, :40], subfiletype=1, metadata=None)
        file.write(GREY16, metadata=None)
    image = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.levels[0][0], GREY16)
    assert image.findings == (
        "the file holds 2 images, 0 (40 x 40), 1 (60 x 81); number 1, the first that is no preview, is read",
    )
    np.testing.assert_array_equal(read(tmp_path / "a.tif", series=0).levels[0][0], GREY[:40, :40])


def test_pages_of_unstated_meaning_are_a_volume_if_three_sizes_are_given(tmp_path: Path, large: bool) -> None:
    pages = RNG.integers(0, 255, (24, 40, 50), np.uint8)
    for number, how in enumerate(({}, {"compression": "zlib"})):
        path = write(tmp_path / f"{number}.tif", pages, **how)
        image = read(path, spacing=(0.02, 0.01, 0.01))
        np.testing.assert_array_equal(np.asarray(image.levels[0][...])[0], pages)
        assert image.grid.spacing == (0.02, 0.01, 0.01)
        assert image.findings == ("24 pages of unstated meaning are taken as slices, as three pixel sizes are given",)
        assert read(path, spacing=0.01).ndim == 2
    np.save(tmp_path / "a.npy", pages)
    volume = read(tmp_path / "a.npy", spacing=(0.02, 0.01, 0.01))
    np.testing.assert_array_equal(np.asarray(volume.levels[0][...])[0], pages)
    with pytest.raises(ReadError, match="three pixel sizes if it is a volume"):
        read(tmp_path / "a.npy")
