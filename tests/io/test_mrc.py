"""MRC files of many programs, written by mrcfile and then changed where it writes only the standard."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from correlight.errors import ReadError, UsageError
from correlight.io import read

mrcfile = pytest.importorskip("mrcfile", reason="mrcfile is not installed; it belongs to the extra formats")

RNG = np.random.default_rng(0)
BYTES = RNG.integers(0, 256, (40, 51)).astype(np.uint8)
IMOD = struct.pack("<i", 1146047817)


def written(path: Path, pixels: Any, changes: dict[int, bytes] | None = None, spacing: float = 100.0) -> Path:
    """A file of mrcfile with some bytes of its header changed."""
    mrcfile.write(path, pixels, voxel_size=spacing, overwrite=True)
    data = bytearray(path.read_bytes())
    for offset, new in (changes or {}).items():
        data[offset : offset + len(new)] = new
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("changes", "signed"),
    [
        ({152: IMOD + struct.pack("<i", 0)}, False),
        ({152: IMOD + struct.pack("<i", 1)}, True),
        ({76: struct.pack("<2f", 0, 255)}, False),
        ({76: struct.pack("<2f", -128, 127)}, True),
    ],
)
def test_bytes_have_a_sign_only_where_the_header_says_so(
    changes: dict[int, bytes], signed: bool, tmp_path: Path
) -> None:
    image = read(written(tmp_path / "a.mrc", BYTES.view(np.int8), changes))
    assert image.dtype == (np.int8 if signed else np.uint8)
    np.testing.assert_array_equal(image.levels[0][0], BYTES.view(np.int8) if signed else BYTES)


@pytest.mark.parametrize("stamp", [b"\x44\x20\x20\x20", b"\x44\x44\x00\x00", b"\x44\x41\x00\x00", bytes(4)])
def test_machine_stamps_of_other_programs_are_read(stamp: bytes, tmp_path: Path) -> None:
    pixels = BYTES.astype(np.int16) - 9
    image = read(written(tmp_path / "a.mrc", pixels, {212: stamp}))
    np.testing.assert_array_equal(image.levels[0][0], pixels)
    assert image.grid.spacing == pytest.approx((0.01, 0.01))
    said = any("machine stamp" in finding for finding in image.findings)
    assert said == (stamp[:2] not in (b"\x44\x44", b"\x44\x41"))


@pytest.mark.parametrize("stamp", [b"\x11\x11\x00\x00", b"\x44\x44\x00\x00"])
def test_big_endian_numbers_are_read_even_under_a_wrong_stamp(stamp: bytes, tmp_path: Path) -> None:
    pixels = BYTES.astype(np.int16) - 9
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(pixels.astype(">i2"))
        file.voxel_size = 100
    data = bytearray((tmp_path / "a.mrc").read_bytes())
    assert data[212] == 0x11
    data[212:216] = stamp
    (tmp_path / "a.mrc").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "a.mrc").levels[0][0], pixels)


def test_colours_of_mode_16(tmp_path: Path) -> None:
    colours = RNG.integers(0, 256, (40, 51, 3)).astype(np.uint8)
    path = written(tmp_path / "a.mrc", BYTES.view(np.int8), {12: struct.pack("<i", 16)})
    path.write_bytes(path.read_bytes()[:1024] + colours.tobytes())
    image = read(path)
    assert image.rgb
    np.testing.assert_array_equal(image.levels[0], np.moveaxis(colours, -1, 0))


@pytest.mark.parametrize("how", ["mode 101", "IMOD flag"])
def test_four_bits_to_a_pixel(how: str, tmp_path: Path) -> None:
    values = RNG.integers(0, 16, (2, 40, 51 if how == "mode 101" else 52)).astype(np.uint8)
    padded = np.pad(values, ((0, 0), (0, 0), (0, values.shape[2] % 2)))
    packed = padded[..., 0::2] | padded[..., 1::2] << 4
    changes = {12: struct.pack("<i", 101)} if how == "mode 101" else {152: IMOD + struct.pack("<i", 16)}
    path = written(tmp_path / "a.mrc", packed.view(np.int8), {88: struct.pack("<i", 0), **changes})
    data = bytearray(path.read_bytes())
    data[0:4] = struct.pack("<i", values.shape[2] if how == "mode 101" else packed.shape[2])
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path).levels[0][0], values[0])
    np.testing.assert_array_equal(read(path, time=1).levels[0][0], values[1])


@pytest.mark.parametrize(("mode", "words"), [(3, "complex integers"), (4, "complex numbers"), (77, "mode 77")])
def test_modes_that_are_not_read_are_named(mode: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=words) as caught:
        read(written(tmp_path / "a.mrc", BYTES.view(np.int8), {12: struct.pack("<i", mode)}))
    assert "damaged" not in str(caught.value)


def test_axes_in_any_order_become_depth_rows_and_columns(tmp_path: Path) -> None:
    volume = RNG.integers(0, 99, (35, 40, 51)).astype(np.int16)  # sections, rows, columns of the file
    path = tmp_path / "a.mrc"
    with mrcfile.new(path, data=volume) as file:
        file.set_volume()
        file.header.mapc, file.header.mapr, file.header.maps = 3, 1, 2  # columns run along z, rows along x
        file.header.mx, file.header.my, file.header.mz = 40, 35, 51
        file.header.cella.x, file.header.cella.y, file.header.cella.z = 400, 700, 1530
    image = read(path)
    np.testing.assert_array_equal(image.levels[0][0], volume.transpose(2, 0, 1))
    assert image.grid.spacing == pytest.approx((0.003, 0.002, 0.001))
    odd = bytearray(path.read_bytes())
    odd[64:76] = struct.pack("<3i", 1, 1, 3)
    path.write_bytes(odd)
    assert "stated, not understood: the axis order (1, 1, 3) of columns, rows and sections" in read(path).findings


@pytest.mark.parametrize(
    ("changes", "origin"),
    [
        ({196: struct.pack("<3f", 5000, 20000, 0)}, (2.0, 0.5)),
        ({16: struct.pack("<3i", 50, -20, 0)}, (-0.2, 0.5)),
        ({152: IMOD + struct.pack("<i", 0), 196: struct.pack("<3f", -5000, -20000, 0)}, (2.0, 0.5)),
        ({152: IMOD + struct.pack("<i", 4), 196: struct.pack("<3f", 5000, 20000, 0)}, (2.0, 0.5)),
    ],
)
def test_the_place_of_the_first_pixel_is_kept(
    changes: dict[int, bytes], origin: tuple[float, float], tmp_path: Path
) -> None:
    path = written(tmp_path / "a.mrc", BYTES.astype(np.int16), changes)
    image = read(path)
    assert image.grid.origin == pytest.approx(origin)
    assert any("the first pixel lies at" in finding for finding in image.findings)
    # A start in pixels moves with the size of a pixel, an origin in angstrom does not.
    other = read(path, spacing=0.02).grid.origin
    assert other == pytest.approx(tuple(2 * value for value in origin) if 16 in changes else origin)


# ------------------------------------------------------------------------------------------------------- montages

PICTURE = RNG.integers(100, 60_000, (100, 140)).astype(np.uint16)
CORNERS = [(0, 0), (0, 45), (0, 90), (55, 0), (55, 90)]  # (y, x) of pieces of 45 x 50; one is missing
PIECES = np.stack([PICTURE[y : y + 45, x : x + 50] for y, x in CORNERS])


def mdoc(pixel_size: float = 20.0, key: str = "PieceCoordinates", shift: int = 0) -> str:
    text = f"PixelSpacing = {pixel_size}\nImageFile = a.mrc\n\n[T = SerialEM: a montage]\n\n"
    for number, (y, x) in enumerate(CORNERS):
        text += f"[ZValue = {number}]\nPieceCoordinates = {x} {y} 0\nStagePosition = 12.5 -3.25\n"
        text += f"{key} = {x + shift} {y - shift}\n" if key != "PieceCoordinates" else ""
    return text + "[MontSection = 0]\nFullMontSize = 140 100\n"


def stack(path: Path, pieces: Any = PIECES, spacing: float = 20.0) -> Path:
    with mrcfile.new(path, data=pieces) as file:
        file.set_image_stack()
        file.voxel_size = spacing
    return path


def test_a_montage_is_joined_by_its_mdoc_file_and_gaps_are_no_data(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.mrc")
    assert read(path).levels[0].shape == (1, 45, 50)
    (tmp_path / "a.mrc.mdoc").write_text(mdoc())
    image = read(path)
    covered = np.zeros(PICTURE.shape, bool)
    for y, x in CORNERS:
        covered[y : y + 45, x : x + 50] = True
    np.testing.assert_array_equal(image.levels[0][0], np.where(covered, PICTURE, 0))
    valid = image.valid()
    assert not valid[~covered].any()
    assert valid[covered].mean() > 0.99  # a rim of one pixel may go
    assert any("5 pieces of a montage are joined by the places in PieceCoordinates" in text for text in image.findings)
    assert any("the later piece is shown" in text for text in image.findings)
    assert image.source["stage_position"] == (-3.25, 12.5)


def test_aligned_places_of_pieces_come_first(tmp_path: Path) -> None:
    moved = [(y + 3 * n, x - 2 * n) for n, (y, x) in enumerate(CORNERS)]
    path = stack(tmp_path / "a.mrc")
    text = mdoc()
    for number, (y, x) in enumerate(moved):
        text = text.replace(f"[ZValue = {number}]\n", f"[ZValue = {number}]\nAlignedPieceCoords = {x} {y}\n")
    (tmp_path / "a.mrc.mdoc").write_text(text)
    image = read(path)
    last = np.asarray(moved[-1]) - np.min(moved, axis=0)
    np.testing.assert_array_equal(image.levels[0][0, last[0] :, last[1] : last[1] + 50], PIECES[-1])


@pytest.mark.parametrize("flags", [2, 1 | 2, 2 | 4 | 32])
def test_a_montage_is_joined_by_its_extended_header(flags: int, tmp_path: Path) -> None:
    per_section = 6 + (2 if flags & 1 else 0) + (4 if flags & 4 else 0) + (4 if flags & 32 else 0)
    entries = b""
    for y, x in CORNERS:
        before = b"\x10\x00" if flags & 1 else b""
        entries += (before + struct.pack("<3h", x, y, 0)).ljust(per_section, b"\x07")
    path = stack(tmp_path / "a.mrc")
    data = path.read_bytes()
    head = bytearray(data[:1024])
    head[92:96] = struct.pack("<i", len(entries))
    head[128:132] = struct.pack("<2h", per_section, flags)
    path.write_bytes(bytes(head) + entries + data[1024:])
    image = read(path)
    assert image.levels[0].shape == (1, 100, 140)
    np.testing.assert_array_equal(image.levels[0][0, 55:, 90:], PIECES[-1])


def test_sections_of_a_montage_are_chosen_as_scenes(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.mrc", np.concatenate([PIECES, PIECES + 1]))
    text = mdoc()
    for number, (y, x) in enumerate(CORNERS):
        text += f"[ZValue = {number + 5}]\nPieceCoordinates = {x} {y} 7\n"
    (tmp_path / "a.mrc.mdoc").write_text(text)
    first, second = read(path), read(path, scene=1)
    assert any("2 images" in text or "section 7" in text for text in first.findings)
    np.testing.assert_array_equal(second.levels[0][0, 55:, 90:], PIECES[-1] + 1)
    np.testing.assert_array_equal(second.levels[0], read(path, scene="section 7").levels[0])
    with pytest.raises(UsageError, match="section 7"):
        read(path, scene=2)


def test_pieces_without_end_take_no_memory(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.mrc")
    (tmp_path / "a.mrc.mdoc").write_text(mdoc().replace("PieceCoordinates = 90 55 0", "PieceCoordinates = 40000 55 0"))
    with pytest.raises(ReadError, match="far apart"):
        read(path)
    (tmp_path / "a.mrc.mdoc").write_text(mdoc().replace("PieceCoordinates = 90 55 0", "PieceCoordinates = a b c"))
    with pytest.raises(ReadError, match="the place of each of 5 pieces"):
        read(path)


# ------------------------------------------------------------------------------------------------ files beside it


def test_a_pixel_size_beside_the_file_fills_in_for_none_and_is_compared(tmp_path: Path) -> None:
    pixels = BYTES.astype(np.int16)
    (tmp_path / "a.mrc.mdoc").write_text("PixelSpacing = 20\n[ZValue = 0]\nStagePosition = 12.5 -3.25\n")
    for unknown in (0.0, 1.0):
        image = read(written(tmp_path / "a.mrc", pixels, spacing=unknown))
        assert image.grid.spacing == pytest.approx((0.002, 0.002))
        assert "a.mrc.mdoc" in image.source["spacing_source"]
    image = read(written(tmp_path / "a.mrc", pixels, spacing=100))
    assert image.grid.spacing == pytest.approx((0.01, 0.01))
    assert any("pixel sizes differ" in text for text in image.findings)


EPU = """<MicroscopeImage xmlns="http://schemas.datacontract.org/2004/07/Fei.SharedObjects"><microscopeData><acquisition>
<camera><ReadoutArea xmlns:a="http://schemas.datacontract.org/2004/07/System.Drawing"><a:height>{0}</a:height>
<a:width>51</a:width></ReadoutArea></camera></acquisition><stage><Position><X>1.25E-05</X><Y>-3.25E-06</Y></Position>
</stage></microscopeData><SpatialScale><pixelSize><x><numericValue>8.0E-10</numericValue></x>
<y><numericValue>8.0E-10</numericValue></y></pixelSize></SpatialScale></MicroscopeImage>"""
ZEISS = """<ImageMetadata><Information><Image><SizeX>51</SizeX><SizeY>{0}</SizeY></Image></Information><Scaling><Items>
<Distance Id="X"><Value>8.0E-10</Value></Distance><Distance Id="Y"><Value>8.0E-10</Value></Distance></Items></Scaling>
</ImageMetadata>"""


@pytest.mark.parametrize(("name", "text"), [("a.xml", EPU), ("a.mrc_metadata.xml", ZEISS), ("a_meta.xml", ZEISS)])
def test_metadata_of_fei_and_zeiss_beside_the_file(name: str, text: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.mrc", BYTES.astype(np.int16), spacing=0)
    (tmp_path / name).write_text(text.format(40))
    image = read(path)
    assert image.grid.spacing == pytest.approx((0.0008, 0.0008))
    assert name in image.source["spacing_source"]
    if text is EPU:
        assert image.source["stage_position"] == pytest.approx((-3.25, 12.5))
    assert {Path(entry.path).name for entry in image.source["files"]} == {"a.mrc", name}
    # The same file beside a picture of another size speaks of another pixel.
    (tmp_path / name).write_text(text.format(80))
    other = read(path)
    assert not other.grid.calibrated
    assert any("stated, not used" in finding for finding in other.findings)


@pytest.mark.parametrize("name", ["a.tif", "a.png", "a.jpg"])
def test_files_beside_exported_pictures_are_read(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name == "a.tif":
        tifffile.imwrite(path, BYTES)
    else:
        encode = imagecodecs.png_encode if name == "a.png" else imagecodecs.jpeg_encode
        path.write_bytes(encode(BYTES))
    (tmp_path / "a.xml").write_text(EPU.format(40))
    image = read(path)
    assert image.grid.spacing == pytest.approx((0.0008, 0.0008))
    assert image.source["stage_position"] == pytest.approx((-3.25, 12.5))
    assert read(path, spacing=0.5).grid.spacing == (0.5, 0.5)
    (tmp_path / f"{name}.mdoc").write_text("PixelSpacing = 20\n[ZValue = 0]\nStagePosition = 1 2\n")
    image = read(path)
    assert image.grid.spacing == pytest.approx((0.002, 0.002))
    assert image.source["stage_position"] == (2.0, 1.0)


def test_a_stack_is_a_volume_where_the_caller_knows_the_distance_of_its_sections(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.mrc")
    image = read(path, spacing=(0.5, 0.1, 0.1))
    np.testing.assert_array_equal(image.levels[0][0], PIECES)
    assert image.grid.spacing == (0.5, 0.1, 0.1)


@pytest.mark.parametrize("kind", [b"FEI1", b"FEI2"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_the_extended_header_of_fei_states_pixel_size_and_stage(kind: bytes, order: str, tmp_path: Path) -> None:
    layout = mrcfile.dtypes.get_ext_header_dtype(kind, order)
    records = np.zeros(2, layout)
    records["Pixel size X"], records["Pixel size Y"] = 2e-9, 3e-9
    records["X-Stage"], records["Y-Stage"] = [1e-5, 2e-5], [-1e-5, -2e-5]
    path = tmp_path / "a.mrc"
    stack = np.random.default_rng(0).integers(0, 999, (2, 40, 48)).astype(f"{order}i2")
    with mrcfile.new(path) as file:
        file.set_data(stack)
        file.set_image_stack()
        file.set_extended_header(records)
        file.header.exttyp = kind
    image = read(path, time=1)
    np.testing.assert_array_equal(image.levels[0], stack[1:])
    assert image.grid.spacing == pytest.approx((0.003, 0.002))
    assert image.source["spacing_source"] == "the extended header of FEI"
    assert image.source["stage_position"] == pytest.approx((-20.0, 20.0))
    with mrcfile.open(path, "r+") as file:
        file.voxel_size = 25.0
    differing = read(path)
    assert differing.grid.spacing == pytest.approx((0.0025, 0.0025))
    assert any("pixel sizes differ" in text and "extended header of FEI" in text for text in differing.findings)


def test_of_a_stack_of_volumes_one_is_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (3, 4, 40, 48)).astype(np.int16)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(pixels)
        file.voxel_size = 50.0
    for number, time in ((0, None), (2, 2)):
        image = read(tmp_path / "a.mrc", time=time)
        np.testing.assert_array_equal(image.levels[0][0], pixels[number])
        assert image.grid.spacing == pytest.approx((0.005, 0.005, 0.005))
        assert any("the file holds 3 volumes in a stack" in text for text in image.findings)


def test_a_cell_without_sampling_and_a_place_out_of_reach_are_said(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(np.random.default_rng(0).integers(0, 999, (40, 48)).astype(np.int16))
        file.voxel_size = 50.0
        file.header.mx = file.header.my = 0
        file.header.origin.x = 1e30
    image = read(tmp_path / "a.mrc")
    assert (image.grid.unit, image.grid.origin) == ("pixel", (0.0, 0.0))
    assert "stated, not understood: a cell of 0.24 µm without its sampling" in image.findings
    assert "stated, not understood: a first pixel at 0, 1e+26 µm" in image.findings
