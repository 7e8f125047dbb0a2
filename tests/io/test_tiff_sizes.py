"""Pixel sizes in the dialects of TIFF, in files with the tags of each instrument."""

import struct
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from correlight.errors import ReadError
from correlight.io import read

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 64), np.uint8)
STACK = np.stack([PIXELS + n for n in range(3)])


def write(path: Path, *tags: tuple[Any, ...], pixels: Any = PIXELS, **how: Any) -> Path:
    how = {"metadata": None, "photometric": "minisblack", **how}
    tifffile.imwrite(path, pixels, extratags=list(tags), **how)
    return path


def spacing(path: Path, source: str, expected: tuple[float, ...], rel: float = 1e-6) -> None:
    image = read(path)
    assert image.source["spacing_source"] == source
    assert image.grid.spacing == pytest.approx(expected, rel=rel)


def imagej(path: Path, *lines: str, pixels: Any = PIXELS, per_unit: tuple[float, float] = (5.0, 4.0)) -> Path:
    text = "\n".join(("ImageJ=1.53t", *lines, "min=0.0", "max=255.0", "")).encode()
    return write(path, pixels=pixels, resolution=per_unit, resolutionunit="NONE", description=text)


# --------------------------------------------------------------------------------------------------- ImageJ


def test_every_axis_of_imagej_has_its_own_unit(tmp_path: Path) -> None:
    lines = "images=3", "slices=3", "unit=micron", "yunit=mm", "zunit=nm", "spacing=20.0"
    spacing(imagej(tmp_path / "a.tif", *lines, pixels=STACK), "ImageJ tags", (0.02, 250.0, 0.2))


def test_a_unit_that_is_not_understood_is_said(tmp_path: Path) -> None:
    image = read(imagej(tmp_path / "a.tif", "unit=furlong"))
    assert not image.grid.calibrated
    assert image.findings == (
        "stated, not understood: 0.25 furlong per pixel",
        "stated, not understood: 0.2 furlong per pixel",
    )
    assert read(imagej(tmp_path / "b.tif", "unit=pixel")).findings == ()
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="64" SizeY="40" SizeZ="1" SizeC="1" SizeT="1" '
        'PhysicalSizeX="20" PhysicalSizeXUnit="nanofoot" PhysicalSizeY="20" PhysicalSizeYUnit="nanofoot"><TiffData/>'
        "</Pixels></Image></OME>"
    )
    assert read(write(tmp_path / "c.ome.tif", description=xml)).findings == (
        "stated, not understood: 20 nanofoot per pixel",
    )


def test_the_plane_of_a_stack_without_slice_distance_is_said(tmp_path: Path) -> None:
    image = read(imagej(tmp_path / "a.tif", "images=3", "slices=3", "unit=micron", pixels=STACK))
    assert not image.grid.calibrated
    assert "pixels of 0.25 x 0.2 µm" in image.findings[0]


# ---------------------------------------------------------------------------------------------- instruments


def test_olympus_sis(tmp_path: Path) -> None:
    body = struct.pack("<10xhdd8xd2x34s32s", -6, 0.0645, 0.0655, 100.0, b"camera", b"kind")
    head = struct.pack("<4s6xhhhhh6x32sH", b"SIS0", 1, 2, 3, 4, 105, b"name", 1)

    def whole(at: int) -> bytes:
        return head + struct.pack("<hhI", 1, 1, at + len(head) + 8) + body

    path = write(tmp_path / "a.tif", (33560, "B", len(whole(0)), whole(0), True))
    with tifffile.TiffFile(path) as file:
        place = file.pages.first.tags[33560].valueoffset
    data = path.read_bytes()
    path.write_bytes(data[:place] + whole(place) + data[place + len(whole(0)) :])
    spacing(path, "SIS tags", (0.0655, 0.0645))


def tvips(size: tuple[float, float]) -> bytes:
    record = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V1).newbyteorder("<"))
    record["Version"] = 2
    more = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V2).newbyteorder("<"))
    more["Magic"], more["PixelSizeX"], more["PixelSizeY"] = 0xAAAAAAAA, *size
    return record.tobytes() + more.tobytes()


def test_tvips(tmp_path: Path) -> None:
    data = tvips((0.53, 0.54))
    spacing(write(tmp_path / "a.tif", (37706, "B", len(data), data, True)), "TVIPS tags", (0.00054, 0.00053))


@pytest.mark.parametrize(("unit", "length"), [("nm", 1e-3), ("µm", 1.0), ("Å", 1e-4)])
def test_gatan(tmp_path: Path, unit: str, length: float) -> None:
    units = [(code, "s", 0, unit.encode("latin-1"), True) for code in (65003, 65004)]
    path = write(tmp_path / "a.tif", *units, (65009, "d", 1, 1.9, True), (65010, "d", 1, 2.1, True))
    spacing(path, "Gatan tags", (2.1 * length, 1.9 * length))


def test_gatan_in_reciprocal_space_is_said(tmp_path: Path) -> None:
    units = [(code, "s", 0, "1/nm", True) for code in (65003, 65004)]
    image = read(write(tmp_path / "a.tif", *units, (65009, "d", 1, 0.2, True), (65010, "d", 1, 0.2, True)))
    assert not image.grid.calibrated
    assert image.findings == ("stated, not understood: 0.2 1/nm per pixel",)


def test_tescan(tmp_path: Path) -> None:
    text = b"\x01\x02[MAIN]\r\nMagnification=5000\r\nPixelSizeX=1.5e-8\r\nPixelSizeY=1.6e-8\r\n[SEM]\r\n"
    spacing(write(tmp_path / "a.tif", (50431, "B", len(text), text, True)), "TESCAN tags", (0.016, 0.015))
    path = write(tmp_path / "b.tif")
    (tmp_path / "b.hdr").write_bytes(text)
    spacing(path, "TESCAN header (b.hdr)", (0.016, 0.015))


def test_hitachi(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    text = "[SemImageFile]\r\nImageName=a.tif\r\nDataSize=64x40\r\nPixelSize=9.921875\r\nMagnification=10000\r\n"
    (tmp_path / "a.txt").write_text(text, encoding="utf-16")
    spacing(path, "Hitachi text (a.txt)", (0.009921875, 0.009921875))
    assert {Path(entry.path).name for entry in read(path).source["files"]} == {"a.tif", "a.txt"}
    (tmp_path / "a.txt").write_text(text.replace("64x40", "1280x960"))
    assert not read(path).grid.calibrated
    said = "stated, not used: 0.00992188 µm per pixel of an image of 960 x 1280 pixels in a.txt"
    assert read(path).findings == (said,)


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_texts_of_scanning_microscopes_beside_pictures(ending: str, tmp_path: Path) -> None:
    encode: Any = {"png": imagecodecs.png_encode, "jpg": imagecodecs.jpeg_encode}[ending]
    path = tmp_path / f"a.{ending}"
    path.write_bytes(encode(PIXELS))
    texts = {
        "txt": ("[SemImageFile]\nDataSize=64x40\nPixelSize=10\n", "Hitachi text (a.txt)", 0.01),
        "TXT": ("$CM_FULL_SIZE 64 40\n$$SM_MICRON_BAR 100\n$$SM_MICRON_MARKER 10um\n", "JEOL text (a.TXT)", 0.1),
        "hdr": ("[MAIN]\nPixelSizeX=1.5e-8\nPixelSizeY=1.5e-8\n", "TESCAN header (a.hdr)", 0.015),
    }
    for name, (text, source, size) in texts.items():
        beside = tmp_path / f"a.{name}"
        beside.write_text(text)
        spacing(path, source, (size, size))
        assert {Path(entry.path).name for entry in read(path).source["files"]} == {path.name, beside.name}
        beside.unlink()


def test_jeol(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif")
    (tmp_path / "a.txt").write_text("$CM_FULL_SIZE 64 40\n$$SM_MICRON_BAR 100\n$$SM_MICRON_MARKER 10um\n$CM_MAG 1000\n")
    spacing(path, "JEOL text (a.txt)", (0.1, 0.1))
    xml = (
        "<TemReporter2><MeasurementReporter><MeasurementUnitType>UnitType_Length</MeasurementUnitType>"
        "<MeasureLengthPerPixelReporter><LengthPerPixel>0.41</LengthPerPixel></MeasureLengthPerPixelReporter>"
        "</MeasurementReporter></TemReporter2>"
    )
    spacing(write(tmp_path / "b.tif", description=xml), "JEOL tags", (0.00041, 0.00041))
    wrong = xml.replace("UnitType_Length", "UnitType_Diffraction")
    diffraction = read(write(tmp_path / "c.tif", description=wrong))
    assert not diffraction.grid.calibrated
    assert diffraction.findings == ("stated, not understood: 0.41 per pixel of a diffraction pattern",)


def test_metamorph(tmp_path: Path) -> None:
    xml = (
        '<MetaData><PlaneInfo><prop id="spatial-calibration-x" type="float" value="0.645"/>'
        '<prop id="spatial-calibration-y" type="float" value="0.655"/>'
        '<prop id="spatial-calibration-units" type="string" value="{unit}"/></PlaneInfo></MetaData>'
    )
    path = write(tmp_path / "a.tif", description=xml.format(unit="um"), software="MetaSeries")
    spacing(path, "MetaMorph tags", (0.655, 0.645))
    odd = read(write(tmp_path / "b.tif", description=xml.format(unit="cubit"), software="MetaSeries"))
    assert odd.findings == ("stated, not understood: 0.645 cubit per pixel",)


def test_micro_manager(tmp_path: Path) -> None:
    text = '{"PixelSizeUm": 0.1083, "Width": 64}'
    spacing(write(tmp_path / "a.tif", (51123, "s", 0, text, True)), "Micro-Manager tags", (0.1083, 0.1083))


def test_aperio(tmp_path: Path) -> None:
    text = "Aperio Image Library v10\r\n64x40 |AppMag = 20|MPP = 0.4990|Left = 25.69"
    spacing(write(tmp_path / "a.tif", description=text), "Aperio description", (0.499, 0.499))


def test_lsm(tmp_path: Path) -> None:
    record = np.zeros(1, np.dtype(tifffile.TIFF.CZ_LSMINFO).newbyteorder("<"))
    record["MagicNumber"], record["StructureSize"] = 0x400494C, record.nbytes
    record["DimensionX"], record["DimensionY"], record["DimensionZ"] = 64, 40, 1
    record["DimensionChannels"] = record["DimensionTime"] = 1
    record["VoxelSizeX"], record["VoxelSizeY"], record["VoxelSizeZ"] = 1e-7, 1.1e-7, 5e-7
    data = record.tobytes()
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(PIXELS, metadata=None, extratags=[(34412, "B", len(data), data, True)])
        # Every page of an LSM file is followed by its thumbnail.
        file.write(PIXELS[:36, ::2], metadata=None, subfiletype=1)
    spacing(tmp_path / "a.tif", "LSM tags", (0.11, 0.1))
    np.testing.assert_array_equal(read(tmp_path / "a.tif").levels[0][0], PIXELS)


def test_an_impossible_size_of_an_instrument_is_refused(tmp_path: Path) -> None:
    units = [(code, "s", 0, "nm", True) for code in (65003, 65004)]
    path = write(tmp_path / "a.tif", *units, (65009, "d", 1, -2.0, True), (65010, "d", 1, 2.0, True))
    with pytest.raises(ReadError, match="the Gatan tags of"):
        read(path)
    assert read(path, spacing=0.5).grid.spacing == (0.5, 0.5)


def test_a_second_series_has_the_size_of_its_own_tags(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for size, pixels in ((1.5e-8, PIXELS), (3e-8, PIXELS[:36])):
            text = f"[MAIN]\nPixelSizeX={size}\nPixelSizeY={size}\n".encode()
            file.write(pixels, metadata=None, extratags=[(50431, "B", len(text), text, True)])
        file.write(PIXELS[:33], metadata=None)
    assert read(tmp_path / "a.tif").grid.spacing == pytest.approx((0.015, 0.015))
    assert read(tmp_path / "a.tif", series=1).grid.spacing == pytest.approx((0.03, 0.03))
    assert not read(tmp_path / "a.tif", series=2).grid.calibrated
