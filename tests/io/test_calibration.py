"""A pixel size is what the file states, in its unit; a print resolution is none."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from correlight.errors import ReadError
from correlight.io import read
from correlight.io.calibration import is_print_resolution, unit_length

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)

# Every length of the OME data model (2016-06), in metres, written apart from the table of the package.
METRES = {
    "Ym": 1e24, "Zm": 1e21, "Em": 1e18, "Pm": 1e15, "Tm": 1e12, "Gm": 1e9, "Mm": 1e6, "km": 1e3, "hm": 1e2, "dam": 10,
    "m": 1, "dm": 0.1, "cm": 0.01, "mm": 1e-3, "µm": 1e-6, "nm": 1e-9, "pm": 1e-12, "fm": 1e-15, "am": 1e-18,
    "zm": 1e-21, "ym": 1e-24, "Å": 1e-10, "thou": 0.0254e-3, "li": 0.0254 / 12, "in": 0.0254, "ft": 0.3048,
    "yd": 0.9144, "mi": 1609.344, "ua": 149597870700, "ly": 9460730472580800, "pc": 3.0856775814913673e16,
    "pt": 0.0254 / 72,
}  # fmt: skip


def ome(attributes: str) -> str:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeX="50" SizeY="40" '
        f'SizeZ="1" SizeC="1" SizeT="1" {attributes}><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/>'
        "</Pixels></Image></OME>"
    )


def ome_file(path: Path, attributes: str) -> Path:
    tifffile.imwrite(path, PIXELS, description=ome(attributes).encode(), metadata=None)
    return path


def imagej_file(path: Path, unit: str | None, per_unit: tuple[float, float], **metadata: Any) -> Path:
    metadata = metadata if unit is None else {**metadata, "unit": unit}
    tifffile.imwrite(path, PIXELS, imagej=True, resolution=per_unit, metadata=metadata)
    return path


def zeiss_file(path: Path, *entries: tuple[str, str], pixels: Any = PIXELS) -> Path:
    text = "\r\n0\r\n" + "".join(f"{key}\r\n{line}\r\n" for key, line in entries)
    tifffile.imwrite(path, pixels, extratags=[(34118, "s", 0, text.encode("cp1252"), True)])
    return path


def fei_file(path: Path, text: str, tag: int = 34682) -> Path:
    tifffile.imwrite(path, PIXELS, extratags=[(tag, "s", 0, text, True)], resolution=(96, 96), resolutionunit=2)
    return path


# ------------------------------------------------------------------------------------------------- lengths


@pytest.mark.parametrize("unit", METRES)
def test_every_length_of_ome_is_known(unit: str) -> None:
    assert unit_length(unit) == pytest.approx(METRES[unit] * 1e6, rel=1e-12)


@pytest.mark.parametrize("unit", ["pixel", "pixels", "reference frame", "", "\x00", "s", "furlong", "Pixel"])
def test_what_is_no_length_is_none(unit: str) -> None:
    assert unit_length(unit) is None


@pytest.mark.parametrize(
    "unit",
    [
        "micron", "um", "µm", "μm", "\\u00B5m", "\\u03bcm", " µm ", "microns", "Micron", "micrometer", "micrometre",
        "Micrometers", "micrometres", "Âµm", "Î¼m", "µm/pixel", "um/px", "micron per pixel", "µ",
    ],
)  # fmt: skip
def test_the_many_ways_to_write_a_micrometre(unit: str) -> None:
    assert unit_length(unit) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("unit", "length"),
    [
        ("nanometers", 1e-3), ("Nanometres", 1e-3), ("picometer", 1e-6), ("pm", 1e-6), ("millimeters", 1e3),
        ("centimetres", 1e4), ("Å", 1e-4), ("\u212b", 1e-4), ("A\u030a", 1e-4), ("Ã…", 1e-4), ("angstroms", 1e-4),
        ("Ångström", 1e-4), ("A", 1e-4), ("Inches", 25_400), ("meters", 1e6), ("Ã\x85", 1e-4),
        ("ang", 1e-4), ("nano-meter", 1e-3), ("milli metres", 1e3), ("[nm]", 1e-3), ("in.", 25_400),
        ("\ufeffnm\x00", 1e-3),
    ],
)  # fmt: skip
def test_plurals_and_signs_of_other_units(unit: str, length: float) -> None:
    assert unit_length(unit) == pytest.approx(length)


def test_capitals_tell_prefixes_apart() -> None:
    assert unit_length("Mm") == pytest.approx(1e12)
    assert unit_length("mm") == pytest.approx(1e3)
    assert unit_length("Pm") != unit_length("pm")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(size=st.floats(1e-3, 1e3), unit=st.sampled_from(sorted(METRES)))
def test_a_size_comes_out_the_same_in_whatever_unit_it_is_written(size: float, unit: str, tmp_path: Path) -> None:
    written = size * 1e-6 / METRES[unit]
    attributes = " ".join(f'PhysicalSize{axis}="{written!r}" PhysicalSize{axis}Unit="{unit}"' for axis in "YX")
    assert read(ome_file(tmp_path / "a.tif", attributes)).grid.spacing == pytest.approx((size, size), rel=1e-9)


@given(dots=st.integers(1, 2400))
def test_whole_dots_per_inch_describe_paper(dots: int) -> None:
    assert is_print_resolution(25_400 / dots)


@pytest.mark.parametrize("size", [0.0651042, 0.5, 1.0, 2.0, 5.123, math.inf, math.nan, 0.0, -1.0])
def test_a_microscope_does_not_print(size: float) -> None:
    assert not is_print_resolution(size)


# ------------------------------------------------------------------------------------------------ in files


@pytest.mark.parametrize(
    ("attributes", "spacing"),
    [
        ('PhysicalSizeX="0.2" PhysicalSizeY="0.3"', (0.3, 0.2)),
        ('PhysicalSizeX="200" PhysicalSizeXUnit="nm" PhysicalSizeY="0.0003" PhysicalSizeYUnit="mm"', (0.3, 0.2)),
        ('PhysicalSizeX="2000" PhysicalSizeXUnit="Å" PhysicalSizeY="2000" PhysicalSizeYUnit="Å"', (0.2, 0.2)),
    ],
)
def test_ome_xml_states_the_spacing(tmp_path: Path, attributes: str, spacing: tuple[float, float]) -> None:
    image = read(ome_file(tmp_path / "a.ome.tif", attributes))
    assert image.grid.spacing == pytest.approx(spacing, rel=1e-12)
    assert (image.grid.unit, image.source["spacing_source"]) == ("micrometre", "OME-XML")


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        'PhysicalSizeX="0.2"',
        'PhysicalSizeX="1" PhysicalSizeXUnit="pixel" PhysicalSizeY="1" PhysicalSizeYUnit="pixel"',
        'PhysicalSizeX="1" PhysicalSizeXUnit="reference frame" PhysicalSizeY="1" PhysicalSizeYUnit="reference frame"',
    ],
)
def test_ome_xml_without_a_size_states_none(tmp_path: Path, attributes: str) -> None:
    image = read(ome_file(tmp_path / "a.ome.tif", attributes))
    assert (image.grid.unit, image.grid.spacing) == ("pixel", (1.0, 1.0))
    assert image.source["spacing_source"] == "not stated"


@pytest.mark.parametrize(
    ("unit", "per_unit", "spacing"),
    [
        ("micron", (5.0, 4.0), (0.25, 0.2)),
        ("\\u00B5m", (5.0, 5.0), (0.2, 0.2)),
        ("um", (10.0, 10.0), (0.1, 0.1)),
        ("nm", (0.125, 0.125), (0.008, 0.008)),
        ("mm", (2000.0, 2000.0), (0.5, 0.5)),
        ("cm", (20_000.0, 20_000.0), (0.5, 0.5)),
        ("inch", (50_000.0, 50_000.0), (0.508, 0.508)),
    ],
)
def test_imagej_states_pixels_per_unit(
    tmp_path: Path, unit: str, per_unit: tuple[float, float], spacing: tuple[float, float]
) -> None:
    image = read(imagej_file(tmp_path / "a.tif", unit, per_unit))
    assert image.grid.spacing == pytest.approx(spacing, rel=1e-6)
    assert (image.grid.unit, image.source["spacing_source"]) == ("micrometre", "ImageJ tags")


@pytest.mark.parametrize("unit", [None, "pixel", "pixels", "sec"])
def test_imagej_without_a_length_states_no_size(tmp_path: Path, unit: str | None) -> None:
    image = read(imagej_file(tmp_path / "a.tif", unit, (5.0, 5.0)))
    assert (image.grid.calibrated, image.source["spacing_source"]) == (False, "not stated")


@pytest.mark.parametrize(("unit", "per_inch"), [("inch", 1.0), ("cm", 2.54)])
@pytest.mark.parametrize("dots", [72, 96, 150, 300, 600, 1200])
def test_imagej_keeps_print_resolutions_that_mean_nothing(
    tmp_path: Path, unit: str, per_inch: float, dots: int
) -> None:
    image = read(imagej_file(tmp_path / "a.tif", unit, (dots / per_inch, dots / per_inch)))
    assert not image.grid.calibrated
    assert image.findings == ("the resolution of the file describes paper and is not taken for a pixel size",)


@pytest.mark.parametrize("dots", [1, 72, 96, 150, 300, 600, 1200, 2400, 3000.5])
@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER", "NONE"])
def test_the_resolution_of_a_picture_for_paper_is_no_calibration(tmp_path: Path, dots: float, unit: str) -> None:
    dots = dots / 2.54 if unit == "CENTIMETER" else dots
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, resolution=(dots, dots), resolutionunit=unit)
    image = read(tmp_path / "a.tif")
    assert (image.grid.calibrated, image.source["spacing_source"]) == (False, "not stated")


@pytest.mark.parametrize(("unit", "length"), [("INCH", 25_400), ("CENTIMETER", 10_000)])
@pytest.mark.parametrize("size", [0.0081, 0.0645, 0.8137, 2.057])
def test_a_resolution_that_no_printer_has_is_a_size_where_nothing_else_states_one(
    tmp_path: Path, size: float, unit: str, length: float
) -> None:
    options: dict[str, Any] = {"resolution": (length / size, length / size / 2), "resolutionunit": unit}
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, metadata=None, **options)
    image = read(tmp_path / "a.tif")
    assert image.grid.spacing == pytest.approx((2 * size, size), rel=1e-6) if size < 1.5 else not image.grid.calibrated
    if size < 1.5:
        assert image.source["spacing_source"] == "resolution tags"
        assert image.findings == (
            f"the pixel size of {size:.6g} µm is that of the resolution tags, as nothing else states one; "
            "give the pixel size if they were meant for paper",
        )
    text = "[Scan]\r\nPixelWidth=6.5e-9\r\nPixelHeight=7.5e-9\r\n"
    tifffile.imwrite(tmp_path / "b.tif", PIXELS, extratags=[(34682, "s", 0, text, True)], **options)
    assert read(tmp_path / "b.tif").grid.spacing == pytest.approx((0.0075, 0.0065), rel=1e-12)
    assert read(tmp_path / "b.tif").findings == ()


def test_a_stack_without_the_distance_of_its_slices_is_uncalibrated(tmp_path: Path) -> None:
    stack = np.repeat(PIXELS[None], 3, axis=0)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, resolution=(5, 5), metadata={"axes": "ZYX", "unit": "um"})
    image = read(tmp_path / "a.tif")
    assert not image.grid.calibrated
    assert "distance of the slices" in image.findings[0]
    assert read(tmp_path / "a.tif", spacing=(0.5, 0.2, 0.2)).grid.spacing == (0.5, 0.2, 0.2)


@pytest.mark.parametrize("section", ["Scan", "EScan"])
def test_fei_tags_state_metres(tmp_path: Path, section: str) -> None:
    text = f"[User]\r\nUser=operator\r\n[{section}]\r\nPixelWidth=6.5e-9\r\nPixelHeight=7.5e-9\r\n"
    image = read(fei_file(tmp_path / "a.tif", text))
    assert image.grid.spacing == pytest.approx((0.0075, 0.0065), rel=1e-12)
    assert image.source["spacing_source"] == "FEI tags"


def test_the_older_fei_tag_is_read_as_well(tmp_path: Path) -> None:
    text = "[Scan]\r\nPixelWidth=2e-8\r\nPixelHeight=2e-8\r\n"
    assert read(fei_file(tmp_path / "a.tif", text, 34680)).grid.spacing == pytest.approx((0.02, 0.02))


@pytest.mark.parametrize(
    ("line", "size"), [("8.138 nm", 0.008138), ("1.2 µm", 1.2), ("512.5 pm", 0.0005125), ("3 nm", 0.003)]
)
def test_zeiss_tags_state_a_number_and_a_unit(tmp_path: Path, line: str, size: float) -> None:
    stated = ("AP_IMAGE_PIXEL_SIZE", f"Image Pixel Size = {line}")
    image = read(zeiss_file(tmp_path / "a.tif", ("AP_MAG", "Mag = 20.00 K X"), stated))
    assert image.grid.spacing == pytest.approx((size, size), rel=1e-12)
    assert image.source["spacing_source"] == "Zeiss tags"


def test_of_two_zeiss_sizes_the_one_of_the_stored_image_counts(tmp_path: Path) -> None:
    entries = [("AP_PIXEL_SIZE", "Pixel Size = 4 nm"), ("AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 8 nm")]
    assert read(zeiss_file(tmp_path / "a.tif", *entries)).grid.spacing == pytest.approx((0.008, 0.008))


@pytest.mark.parametrize(("width", "size"), [(512, 0.008), (1024, 0.004), (2048, 0.002), (3072, 0.004 / 3)])
def test_the_pixel_size_of_a_zeiss_display_is_that_of_1024_pixels(tmp_path: Path, width: int, size: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, width), np.uint8)
    shown = ("AP_PIXEL_SIZE", "Pixel Size = 4 nm")
    image = read(zeiss_file(tmp_path / "a.tif", shown, pixels=pixels))
    assert image.grid.spacing == pytest.approx((size, size), rel=1e-12)
    assert len(image.findings) == (width != 1024)
    field = ("AP_WIDTH", "Width = 5.5 µm")
    image = read(zeiss_file(tmp_path / "b.tif", shown, field, pixels=pixels))
    assert image.grid.spacing == pytest.approx((5.5 / width, 5.5 / width), rel=1e-12)
    cut = read(zeiss_file(tmp_path / "c.tif", shown, field, pixels=pixels[:, :500]))
    assert not cut.grid.calibrated
    assert cut.findings[0].startswith("stated, not understood: 0.004 µm on a display of 1024 pixels")


def test_zeiss_tags_without_a_size_state_none(tmp_path: Path) -> None:
    assert not read(zeiss_file(tmp_path / "a.tif", ("AP_MAG", "Mag = 20.00 K X"))).grid.calibrated


def test_the_real_fei_files_state_their_field_of_100_micrometres(data: Path) -> None:
    for path in sorted((data / "multibse").glob("*.tif")):
        image = read(path)
        assert image.grid.extent[1] == pytest.approx(100.0, rel=1e-4)
        assert image.source["spacing_source"] == "FEI tags"


# ------------------------------------------------------------------------------------------- lies and orders


@pytest.mark.parametrize("size", ["-0.1", "0", "nan", "inf", "1e7", "1e-8", "abc"])
def test_an_impossible_size_is_refused_unless_the_user_knows_better(tmp_path: Path, size: str) -> None:
    path = ome_file(tmp_path / "a.ome.tif", f'PhysicalSizeX="{size}" PhysicalSizeY="{size}"')
    with pytest.raises(ReadError, match=r"between 1e-06 and 100000 µm, but the OME-XML") as error:
        read(path)
    assert not re.search(r"\.\s+[A-Z]", str(error.value))
    image = read(path, spacing=0.5)
    assert (image.grid.spacing, image.source["spacing_source"]) == ((0.5, 0.5), "given by the user")


def test_impossible_sizes_in_other_tags_are_refused(tmp_path: Path) -> None:
    bad = [
        fei_file(tmp_path / "a.tif", "[Scan]\r\nPixelWidth=-1e-9\r\nPixelHeight=1e-9\r\n"),
        fei_file(tmp_path / "b.tif", "[Scan]\r\nPixelWidth=0\r\nPixelHeight=0\r\n"),
        zeiss_file(tmp_path / "c.tif", ("AP_PIXEL_SIZE", "Pixel Size = -3 nm")),
        zeiss_file(tmp_path / "f.tif", ("AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = -3 nm")),
        imagej_file(tmp_path / "d.tif", "um", (0.0, 0.0)),
        imagej_file(tmp_path / "e.tif", "um", (1e-6, 1e-6)),
    ]
    for path in bad:
        with pytest.raises(ReadError, match="Expected a pixel size between"):
            read(path)


def test_the_spacing_given_overrides_the_file(tmp_path: Path) -> None:
    path = ome_file(tmp_path / "a.ome.tif", 'PhysicalSizeX="0.2" PhysicalSizeY="0.3"')
    image = read(path, spacing=(0.11, 0.12))
    assert image.grid.spacing == (0.11, 0.12)
    assert image.source["spacing_source"] == "given by the user"
