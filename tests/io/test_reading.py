"""Every readable kind of file, and one clear sentence for every other."""

import hashlib
import io
import json
import logging
import re
import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from correlight.errors import ReadError, UsageError
from correlight.io import READABLE, read, read_mask
from correlight.io.door import Stamp

Array = NDArray[Any]
RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 50), np.uint8)
GREY16 = RNG.integers(0, 65536, (40, 50), np.uint16)
COLOURS = RNG.integers(0, 256, (40, 50, 3), np.uint8)


def png_chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, colour: int, rows: bytes, *extra: bytes) -> bytes:
    """A PNG of 8 bits, written chunk by chunk."""
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0))
    body = png_chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body + png_chunk(b"IEND", b"")


def tiff(path: Path, pixels: Array, **options: Any) -> Path:
    tifffile.imwrite(path, pixels, **options)
    return path


# ------------------------------------------------------------------------------------------- what can be read


@pytest.mark.parametrize("pixels", [GREY, GREY16, GREY16.astype(np.float32), GREY.astype(np.int16)])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_a_grey_tiff_keeps_its_values_and_type(tmp_path: Path, pixels: Array, compression: str | None) -> None:
    image = read(tiff(tmp_path / "a.tif", pixels, compression=compression))
    assert image.dtype == pixels.dtype
    np.testing.assert_array_equal(image.levels[0], pixels[None])
    assert (image.rgb, image.mask, image.findings) == (False, None, ())
    assert (image.grid.unit, image.grid.spacing, image.channels) == ("pixel", (1.0, 1.0), ("channel 0",))


def test_the_source_states_path_checksum_and_reader(tmp_path: Path) -> None:
    path = tiff(tmp_path / "a.tif", GREY)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read(path).source == {
        "path": str(path),
        "sha256": sha256,
        "files": (Stamp(str(path), path.stat().st_size, path.stat().st_mtime_ns, sha256),),
        "spacing_source": "not stated",
        "reader": "TIFF",
    }


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_colours_are_three_channels_of_one_picture(tmp_path: Path, dtype: Any, suffix: str) -> None:
    colours = RNG.integers(0, np.iinfo(dtype).max, (40, 50, 3), dtype)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tiff(path, colours, photometric="rgb")
    else:
        path.write_bytes(imagecodecs.png_encode(colours))
    image = read(path)
    assert image.rgb
    assert image.channels == ("red", "green", "blue")
    np.testing.assert_array_equal(image.levels[0], np.moveaxis(colours, -1, 0))


def test_colours_stored_plane_by_plane_are_one_picture(tmp_path: Path) -> None:
    planes = np.ascontiguousarray(np.moveaxis(COLOURS, -1, 0))
    image = read(tiff(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate"))
    assert image.rgb
    np.testing.assert_array_equal(image.levels[0], planes)


@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_transparent_pixels_are_invalid(tmp_path: Path, suffix: str) -> None:
    alpha = np.full((40, 50, 1), 255, np.uint8)
    alpha[:10] = 0
    pixels = np.concatenate([COLOURS, alpha], axis=-1)
    path = tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tiff(path, pixels, photometric="rgb", extrasamples=["unassalpha"])
    else:
        path.write_bytes(imagecodecs.png_encode(pixels))
    image = read(path)
    assert image.levels[0].shape == (3, 40, 50)
    np.testing.assert_array_equal(image.valid(), alpha[..., 0] > 0)
    assert image.findings == ("transparent pixels are ignored",)


def test_a_grey_png_with_alpha_is_one_channel(tmp_path: Path) -> None:
    alpha = np.where(np.arange(50) < 5, 0, 9).astype(np.uint8)
    rows = b"".join(b"\0" + np.stack([row, alpha], -1).tobytes() for row in GREY)
    (tmp_path / "a.png").write_bytes(png(50, 40, 4, rows))
    image = read(tmp_path / "a.png")
    np.testing.assert_array_equal(image.levels[0], GREY[None])
    np.testing.assert_array_equal(image.valid(), np.broadcast_to(alpha > 0, GREY.shape))


def test_a_palette_png_gives_the_colours_meant(tmp_path: Path) -> None:
    table = RNG.integers(0, 256, (256, 3), np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)
    (tmp_path / "a.png").write_bytes(png(50, 40, 3, rows, png_chunk(b"PLTE", table.tobytes())))
    image = read(tmp_path / "a.png")
    assert image.rgb
    np.testing.assert_array_equal(np.moveaxis(image.levels[0][:], 0, -1), table[GREY])


@pytest.mark.parametrize("transparent", [False, True])
def test_a_palette_png_of_greys_is_grey(tmp_path: Path, transparent: bool) -> None:
    greys = RNG.permutation(256).astype(np.uint8)
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)
    chunks = png_chunk(b"PLTE", np.repeat(greys, 3).tobytes())
    chunks += png_chunk(b"tRNS", bytes([0, 255, 255])) if transparent else b""
    (tmp_path / "a.png").write_bytes(png(50, 40, 3, rows, chunks))
    image = read(tmp_path / "a.png")
    assert not image.rgb
    np.testing.assert_array_equal(image.levels[0][0], greys[GREY])
    assert image.valid()[GREY == 0].any() != transparent


def test_a_palette_tiff_gives_the_colours_meant(tmp_path: Path) -> None:
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    image = read(tiff(tmp_path / "a.tif", GREY, photometric="palette", colormap=table))
    assert image.rgb
    np.testing.assert_array_equal(image.levels[0], (table // 257)[:, GREY])


def test_a_lookup_table_of_imagej_is_paint_and_the_pixels_are_the_data(tmp_path: Path) -> None:
    table = np.zeros((3, 256), np.uint8)
    table[1] = np.arange(256)
    image = read(tiff(tmp_path / "a.tif", GREY, imagej=True, metadata={"LUTs": [table]}))
    assert not image.rgb
    np.testing.assert_array_equal(image.levels[0], GREY[None])


def test_three_equal_colours_stay_a_picture_in_colours(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.repeat(GREY[..., None], 3, axis=-1)))
    image = read(tmp_path / "a.png")
    assert image.rgb
    np.testing.assert_array_equal(image.grey(), GREY)


def test_odd_chunks_of_a_png_are_passed_over_in_silence(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = b"".join(b"\0" + row.tobytes() for row in GREY)
    odd = png_chunk(b"sCAL", b"\x09nonsense")
    density = png_chunk(b"pHYs", struct.pack(">IIB", 11811, 11811, 1))
    (tmp_path / "a.png").write_bytes(png(50, 40, 0, rows, odd, density))
    image = read(tmp_path / "a.png")
    assert not image.grid.calibrated
    assert capfd.readouterr() == ("", "")


def test_a_jpeg_is_read_without_its_print_resolution(tmp_path: Path) -> None:
    encoded = imagecodecs.jpeg8_encode(GREY, level=95)
    assert encoded[6:10] == b"JFIF"
    dense = encoded[:13] + b"\x01" + struct.pack(">HH", 300, 300) + encoded[18:]
    (tmp_path / "a.jpg").write_bytes(dense)
    image = read(tmp_path / "a.jpg")
    assert (image.grid.calibrated, image.source["reader"]) == (False, "JPEG")
    np.testing.assert_array_equal(image.levels[0], imagecodecs.jpeg8_decode(encoded)[None])


@pytest.mark.parametrize(
    ("pixels", "shape", "rgb"),
    [
        (GREY, (1, 40, 50), False),
        (GREY > 100, (1, 40, 50), False),
        (np.asfortranarray(GREY16), (1, 40, 50), False),
        (GREY16.astype(">u2"), (1, 40, 50), False),
        (np.stack([GREY16, GREY16 // 2]), (2, 40, 50), False),
        (COLOURS, (3, 40, 50), True),
        (COLOURS.astype(np.float32), None, False),
    ],
)
def test_numpy_arrays(tmp_path: Path, pixels: Array, shape: tuple[int, ...] | None, rgb: bool) -> None:
    np.save(tmp_path / "a.npy", pixels)
    if shape is None:
        with pytest.raises(ReadError, match="Expected an array of shape"):
            read(tmp_path / "a.npy")
        return
    image = read(tmp_path / "a.npy")
    assert (image.levels[0].shape, image.rgb) == (shape, rgb)
    assert image.dtype.isnative
    expected = np.moveaxis(pixels, -1, 0) if rgb else pixels.reshape(shape)
    np.testing.assert_array_equal(image.levels[0], expected)


def test_a_picture_is_read_by_what_it_is_rather_than_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(imagecodecs.png_encode(GREY))
    image = read(tmp_path / "a.tif")
    assert image.source["reader"] == "PNG"
    np.testing.assert_array_equal(image.levels[0], GREY[None])


# ------------------------------------------------------------------------------------- axes, channels, findings


def test_a_stack_becomes_three_dimensional(tmp_path: Path) -> None:
    stack = RNG.integers(0, 9999, (5, 2, 40, 50), np.uint16)
    path = tiff(
        tmp_path / "a.tif", stack, imagej=True, resolution=(1 / 0.2, 1 / 0.2),
        metadata={"axes": "ZCYX", "unit": "um", "spacing": 0.7},
    )  # fmt: skip
    image = read(path)
    np.testing.assert_array_equal(image.levels[0], stack.transpose(1, 0, 2, 3))
    assert image.grid.spacing == pytest.approx((0.7, 0.2, 0.2))
    assert image.grid.unit == "micrometre"


def test_of_a_time_series_the_first_frame_is_read(tmp_path: Path) -> None:
    frames = RNG.integers(0, 9999, (6, 2, 40, 50), np.uint16)
    image = read(tiff(tmp_path / "a.tif", frames, imagej=True, metadata={"axes": "TCYX"}))
    np.testing.assert_array_equal(image.levels[0], frames[0])
    assert image.findings == ("the file holds 6 frames of a time series; the first is read",)


def test_few_pages_without_meaning_are_channels_and_many_are_not(tmp_path: Path) -> None:
    pages = RNG.integers(0, 9999, (9, 40, 50), np.uint16)
    few = read(tiff(tmp_path / "few.tif", pages[:2], metadata=None, photometric="minisblack"))
    np.testing.assert_array_equal(few.levels[0], pages[:2])
    assert few.findings == ("2 pages whose meaning the file does not state are taken as channels",)
    many = read(tiff(tmp_path / "many.tif", pages, metadata=None, photometric="minisblack"))
    np.testing.assert_array_equal(many.levels[0], pages[:1])
    assert many.findings == ("the file holds 9 pages whose meaning it does not state; the first is read",)
    fifth = read(tmp_path / "many.tif", time=4)
    assert fifth.findings == ("the file holds 9 pages whose meaning it does not state; number 4 is read",)
    np.testing.assert_array_equal(np.asarray(fifth.levels[0])[0], tifffile.imread(tmp_path / "many.tif", key=4))
    with pytest.raises(UsageError, match="There is no page 9"):
        read(tmp_path / "many.tif", time=9)


def test_channel_names_come_from_ome_xml_and_imagej_labels(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 9999, (2, 40, 50), np.uint16)
    names = ["DAPI", "reflection"]
    ome = tiff(tmp_path / "a.ome.tif", pixels, metadata={"axes": "CYX", "Channel": {"Name": names}})
    imagej = tiff(tmp_path / "b.tif", pixels, imagej=True, metadata={"axes": "CYX", "Labels": names})
    assert read(ome).channels == read(imagej).channels == ("DAPI", "reflection")


def test_data_bar_and_padding_end_in_the_mask(tmp_path: Path) -> None:
    pixels = RNG.integers(60, 200, (300, 400), np.uint8)
    pixels[:, :50] = 0
    image = read(tiff(tmp_path / "a.tif", pixels))
    assert image.mask is not None
    assert not image.mask[:, :50].any()
    assert image.mask[:, 52:].all()
    assert len(image.findings) == 1


def test_nothing_is_logged_or_warned_about_odd_tags(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tiff(tmp_path / "a.tif", GREY, extratags=[(34682, "s", 0, "[Scan\x01 no ini", True)], description='{"shape"')
    with caplog.at_level(logging.DEBUG):
        read(path)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
    assert not logging.getLogger("tifffile").disabled


# ------------------------------------------------------------------------------------------------ bad input


def one_sentence(error: pytest.ExceptionInfo[Exception]) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert message.endswith(".")
    assert not re.search(r"\.\s+[A-Z]", message), message
    return message


def refuse(path: Path, says: str) -> None:
    with pytest.raises(ReadError) as error:
        read(path)
    assert re.search(says, one_sentence(error)), str(error.value)
    assert path.name in str(error.value)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    refuse(tmp_path / "a.tif", "does not exist")
    folder = tmp_path / "folder.tif"
    folder.mkdir()
    refuse(folder, "is a folder")
    (tmp_path / "empty.tif").touch()
    refuse(tmp_path / "empty.tif", "is empty")


def test_an_unknown_ending_is_answered_with_those_known(tmp_path: Path) -> None:
    (tmp_path / "a.vsi").write_bytes(b"II*\0")
    refuse(tmp_path / "a.vsi", ".*".join(re.escape(ending) for ending in READABLE))
    (tmp_path / "image").write_bytes(b"II*\0")
    refuse(tmp_path / "image", "no ending")


@pytest.mark.parametrize("suffix", READABLE)
def test_a_text_file_with_the_name_of_an_image_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_text("y,x\n1,2\n", encoding="utf-8")
    refuse(path, "does not begin like")


def tiff_bytes(**options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, RNG.integers(0, 256, (200, 300), np.uint8), **options)
    return file.getvalue()


WHOLE = {
    "plain.tif": tiff_bytes(),
    "strips.tif": tiff_bytes(compression="zlib", rowsperstrip=16),
    "tiles.tif": tiff_bytes(compression="zlib", tile=(64, 64)),
    "ome.tif": tiff_bytes(ome=True),
    "imagej.tif": tiff_bytes(imagej=True),
    "a.png": imagecodecs.png_encode(RNG.integers(0, 256, (200, 300), np.uint8)),
    "a.jpg": imagecodecs.jpeg8_encode(RNG.integers(0, 256, (200, 300), np.uint8)),
}


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("part", [0.02, 0.3, 0.5, 0.9, 0.999])
def test_truncated_files_are_refused(tmp_path: Path, name: str, part: float) -> None:
    whole = WHOLE[name]
    (tmp_path / name).write_bytes(whole)
    assert read(tmp_path / name).levels[0].shape == (1, 200, 300)
    (tmp_path / name).write_bytes(whole[: max(9, int(part * len(whole)))])
    refuse(tmp_path / name, "truncated|damaged")


def test_a_truncated_array_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY16)
    whole = (tmp_path / "a.npy").read_bytes()
    for length in (9, 40, len(whole) // 2, len(whole) - 1):
        (tmp_path / "a.npy").write_bytes(whole[:length])
        refuse(tmp_path / "a.npy", "truncated")


def test_a_flipped_byte_in_a_png_is_noticed(tmp_path: Path) -> None:
    damaged = bytearray(WHOLE["a.png"])
    damaged[len(damaged) // 2] ^= 0xFF
    (tmp_path / "a.png").write_bytes(bytes(damaged))
    refuse(tmp_path / "a.png", "checksum")


@pytest.mark.parametrize("suffix", ["tif", "npy", "png"])
@pytest.mark.parametrize("value", [0, 255])
def test_a_blank_image_is_refused(tmp_path: Path, suffix: str, value: int) -> None:
    pixels, path = np.full((40, 50), value, np.uint8), tmp_path / f"a.{suffix}"
    if suffix == "tif":
        tiff(path, pixels)
    elif suffix == "npy":
        np.save(path, pixels)
    else:
        path.write_bytes(imagecodecs.png_encode(pixels))
    refuse(path, f"blank: every pixel is {value}")


def test_one_blank_channel_beside_another_is_no_fault(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.stack([GREY, np.zeros_like(GREY)]))
    assert read(tmp_path / "a.npy").channels == ("channel 0", "channel 1")


@pytest.mark.parametrize("shape", [(31, 200), (200, 31), (1, 1)])
def test_a_small_image_is_refused(tmp_path: Path, shape: tuple[int, int]) -> None:
    np.save(tmp_path / "a.npy", np.arange(shape[0] * shape[1], dtype=np.uint16).reshape(shape))
    refuse(tmp_path / "a.npy", rf"at least 32 pixels per side, but .* has {shape[0]} x {shape[1]}")


def test_the_smallest_image_is_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY[:32, :32])
    assert read(tmp_path / "a.npy").grid.shape == (32, 32)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_image_without_numbers_is_refused(tmp_path: Path, value: float) -> None:
    refuse(tiff(tmp_path / "a.tif", np.full((40, 50), value, np.float32)), "no finite value")


def test_some_missing_numbers_are_masked(tmp_path: Path) -> None:
    pixels = GREY.astype(np.float32)
    pixels[3:9, 4:8] = np.nan
    image = read(tiff(tmp_path / "a.tif", pixels))
    np.testing.assert_array_equal(image.valid(), np.isfinite(pixels))


@pytest.mark.parametrize("pixels", [GREY.astype(np.complex64), GREY.astype(object), GREY.astype("U3")])
def test_arrays_of_other_things_than_numbers_are_refused(tmp_path: Path, pixels: Array) -> None:
    np.save(tmp_path / "a.npy", pixels, allow_pickle=True)
    refuse(tmp_path / "a.npy", "Expected real numbers")


def test_a_complex_tiff_is_refused(tmp_path: Path) -> None:
    refuse(tiff(tmp_path / "a.tif", GREY.astype(np.complex64)), "Expected real numbers")


def test_arrays_of_other_dimensions_are_refused(tmp_path: Path) -> None:
    for shape in ((40,), (40, 40, 40), (2, 2, 40, 40)):
        np.save(tmp_path / "a.npy", RNG.random(shape))
        refuse(tmp_path / "a.npy", "Expected an array of shape")


def lying_npy() -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        file,
        {"descr": "<u2", "fortran_order": False, "shape": (10**6, 10**6)},  # type: ignore[arg-type]
    )
    return file.getvalue() + bytes(100)


def lying_tiff(side: int) -> bytes:
    whole = bytearray(tiff_bytes(compression="zlib"))
    with tifffile.TiffFile(io.BytesIO(bytes(whole))) as file:
        places = [file.pages.first.tags[name].valueoffset for name in ("ImageWidth", "ImageLength")]
    for place in places:
        struct.pack_into("<H", whole, place, side)
    return bytes(whole)


def lying_jpeg() -> bytes:
    whole = bytearray(WHOLE["a.jpg"])
    start = whole.index(b"\xff\xc0") + 5
    whole[start : start + 4] = struct.pack(">HH", 65500, 65500)
    return bytes(whole)


LIES = {
    "a.npy": lying_npy,
    "a.png": lambda: png(10**6, 10**6, 0, b"\0"),
    "b.png": lambda: png(30_000, 30_000, 0, b"\0"),
    "a.tif": lambda: lying_tiff(65_535),
    "b.tif": lambda: lying_tiff(60_000),
    "a.jpg": lying_jpeg,
}


@pytest.mark.parametrize("name", LIES)
def test_absurd_sizes_take_no_memory(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(LIES[name]())
    tracemalloc.start()
    try:
        refuse(tmp_path / name, "declares|truncated|damaged")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


# ---------------------------------------------------------------------------------------------------- masks


def test_a_mask_is_what_is_not_zero(tmp_path: Path) -> None:
    mask = GREY > 128
    np.save(tmp_path / "a.npy", mask)
    tiff(tmp_path / "b.tif", mask.astype(np.uint8) * 255)
    (tmp_path / "c.png").write_bytes(imagecodecs.png_encode(np.stack([GREY * 0, GREY * mask, GREY * 0], -1)))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.npy", (40, 50)), mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "b.tif", (40, 50)), mask)
    np.testing.assert_array_equal(read_mask(tmp_path / "c.png", (40, 50)), mask)


def test_a_mask_may_be_all_valid_but_not_all_invalid(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((40, 50), np.uint8))
    assert read_mask(tmp_path / "a.npy", (40, 50)).all()
    np.save(tmp_path / "a.npy", np.zeros((40, 50), np.uint8))
    with pytest.raises(ReadError, match="zero everywhere") as error:
        read_mask(tmp_path / "a.npy", (40, 50))
    one_sentence(error)


def test_a_mask_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(ReadError, match=r"\(50, 40\).*\(40, 50\)") as error:
        read_mask(tmp_path / "a.npy", (50, 40))
    one_sentence(error)


@pytest.mark.parametrize("spacing", [0, -1.0, np.nan, np.inf, (), (1.0, 2.0, 3.0), (1.0, -1.0)])
def test_an_impossible_spacing_given_is_misuse(tmp_path: Path, spacing: Any) -> None:
    np.save(tmp_path / "a.npy", GREY)
    with pytest.raises(UsageError) as error:
        read(tmp_path / "a.npy", spacing=spacing)
    one_sentence(error)


def test_every_real_picture_is_read(data: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pairs = json.loads((data / "pairs.json").read_text(encoding="utf-8"))
    names = {pair[side] for pair in pairs for side in ("fixed", "moving")}
    paths = [data / name for name in sorted(names) if name.endswith(READABLE)]
    assert len(paths) > 20
    for path in paths:
        image = read(path)
        stated = image.source["spacing_source"]
        assert image.grid.calibrated == (stated != "not stated")
        assert (path.parent.name == "multibse") == (stated == "FEI tags")
    assert capfd.readouterr() == ("", "")
