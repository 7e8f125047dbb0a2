"""TIFF as instruments write it, beyond sizes: previews, third axes, palettes of greys, MetaMorph stacks, the stage."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight.io import read

RNG = np.random.default_rng(0)
PLANE = RNG.integers(0, 4000, (40, 64)).astype(np.uint16)
STACK = RNG.integers(0, 4000, (4, 40, 64)).astype(np.uint16)
PLAIN: dict[str, Any] = {"metadata": None, "photometric": "minisblack"}


# ------------------------------------------------------------------------------------- a picture for the screen


def test_a_picture_for_the_screen_before_the_image_is_passed_over(tmp_path: Path) -> None:
    screen = np.repeat((PLANE >> 4).astype(np.uint8)[..., None], 3, axis=-1)
    text = b"[MAIN]\nPixelSizeX=1.5e-8\nPixelSizeY=1.5e-8\n"
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(screen, photometric="rgb", metadata=None)
        file.write(PLANE, extratags=[(50431, "B", len(text), text, True)], **PLAIN)
    image = read(tmp_path / "a.tif")
    np.testing.assert_array_equal(image.levels[0][0], PLANE)
    assert image.grid.spacing == pytest.approx((0.015, 0.015))
    assert any("number 1, the first that is no preview" in text for text in image.findings)
    assert read(tmp_path / "a.tif", series=0).rgb


# ----------------------------------------------------------------------------------------------- the third axis


def gatan(path: Path, unit: str, step: float) -> Path:
    tags: list[Any] = [(code, "s", 0, name, True) for code, name in ((65003, "nm"), (65004, "nm"), (65005, unit))]
    tags += [(code, "d", 1, size, True) for code, size in ((65009, 4.0), (65010, 5.0), (65011, step))]
    tifffile.imwrite(path, STACK, extratags=tags, **PLAIN)
    return path


def test_pages_that_digital_micrograph_counts_in_seconds_are_frames(tmp_path: Path) -> None:
    path = gatan(tmp_path / "a.tif", "s", 2.5)
    image = read(path, time=2)
    np.testing.assert_array_equal(image.levels[0], STACK[2:3])
    assert image.grid.spacing == pytest.approx((0.005, 0.004))
    assert image.findings == ("the file holds 4 frames of a time series; number 2 is read",)


def test_pages_that_digital_micrograph_gives_a_distance_are_slices(tmp_path: Path) -> None:
    image = read(gatan(tmp_path / "a.tif", "nm", 20.0))
    np.testing.assert_array_equal(image.levels[0][0], STACK)
    assert image.grid.spacing == pytest.approx((0.02, 0.005, 0.004))


def test_pages_that_digital_micrograph_counts_otherwise_are_taken_as_before(tmp_path: Path) -> None:
    image = read(gatan(tmp_path / "a.tif", "", 1.0))
    np.testing.assert_array_equal(image.levels[0], STACK)
    assert any("taken as channels" in text for text in image.findings)


def test_slices_that_imagej_counts_in_seconds_are_frames(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "unit": "um", "zunit": "sec", "spacing": 2.5}
    tifffile.imwrite(tmp_path / "a.tif", STACK, imagej=True, resolution=(5, 4), metadata=metadata)
    image = read(tmp_path / "a.tif", time=1)
    np.testing.assert_array_equal(image.levels[0], STACK[1:2])
    assert image.grid.spacing == pytest.approx((0.25, 0.2))
    assert image.findings == ("the file holds 4 frames of a time series; number 1 is read",)


# ---------------------------------------------------------------------------------------------------- MetaMorph


def stk(path: Path, distance: float, unit: bytes = b"um\0", calibrated: int = 1) -> Path:
    """A MetaMorph stack: one page, behind which lie the pixels of the others, and tables longer than their tags say."""
    count, height, width = STACK.shape
    tags = [(33629, "2I", count, (1, 1) * count, True), (33628, "I", 8, (1,) * 8, True)]
    options: dict[str, Any] = {"metadata": None, "rowsperstrip": count * height, "software": "MetaMorph 7"}
    tifffile.imwrite(path, STACK.reshape(-1, width), byteorder="<", extratags=tags, **options)
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as file:
        entries = {tag.code: tag.offset for tag in file.pages.first.tags}
    planes = b"".join(struct.pack("<6I", int(distance * 1000), 1000, 2460000, n, 2460000, 0) for n in range(count))
    lengths = struct.pack("<4II", 645, 1000, 655, 1000, len(unit)) + unit
    for code, number, table in ((33629, count, planes), (33628, 4, b"")):
        place = len(data)
        table = table or struct.pack("<8I", 3, calibrated, 4, place + 32, 5, place + 40, 6, place + 48) + lengths
        struct.pack_into("<II", data, entries[code] + 4, number, place)
        data += table + bytes(-len(table) % 8)
    for code, value in ((257, height), (278, height), (279, height * width * 2)):
        struct.pack_into("<HII", data, entries[code] + 2, 4, 1, value)
    path.write_bytes(data)
    return path


def test_a_stack_of_metamorph_is_a_volume_where_its_planes_lie_apart(tmp_path: Path) -> None:
    image = read(stk(tmp_path / "a.stk", 0.5))
    np.testing.assert_array_equal(image.levels[0][0], STACK)
    assert image.grid.spacing == pytest.approx((0.5, 0.655, 0.645))
    assert image.source["spacing_source"] == "MetaMorph tags"
    half = read(stk(tmp_path / "b.stk", 0.5, calibrated=0))
    assert not half.grid.calibrated
    assert half.findings == ("the pixel size is 0.5 µm along z, but not stated along y and x, so none is used",)


def test_a_stack_of_metamorph_whose_planes_lie_in_one_place_is_a_time_series(tmp_path: Path) -> None:
    image = read(stk(tmp_path / "a.tif", 0.0), time=3)
    np.testing.assert_array_equal(image.levels[0], STACK[3:])
    assert image.grid.spacing == pytest.approx((0.655, 0.645))
    odd = read(stk(tmp_path / "b.tif", 0.0, b"cubit\0"))
    assert "stated, not understood: 0.645 cubit per pixel" in odd.findings


# ------------------------------------------------------------------------------------------- palettes of greys


@pytest.mark.parametrize("colours", [0, 28, 120])
def test_a_palette_of_greys_is_grey(colours: int, tmp_path: Path) -> None:
    pixels = (np.arange(40 * 64).reshape(40, 64) % 251).astype(np.uint8)
    greys = np.arange(255, -1, -1)
    table = np.stack([greys] * 3)
    drawn = np.arange(colours) * 2 + 5
    table[:, drawn] = np.array([[255], [120], [30]])
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="palette", colormap=(table << 8).astype("u2"))
    image = read(tmp_path / "a.tif")
    if colours == 120:  # too many to be drawings over an image
        assert image.rgb
        np.testing.assert_array_equal(image.levels[0], table[:, pixels])
        return
    assert not image.rgb
    expected = np.where(np.isin(pixels, drawn), 135, greys[pixels])
    np.testing.assert_array_equal(image.levels[0][0], expected)
    said = "the palette is one of greys and 28 colours, which are read by their brightness"
    assert image.findings == ((said,) if colours else ())


def test_a_palette_beside_opacity_is_painted(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (40, 64, 2)).astype(np.uint8)
    pixels[..., 1] = np.where(pixels[..., 1] > 60, 255, 0)
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16) * 257
    tags = [(320, "H", 768, table.ravel().tolist(), True)]
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, extrasamples=("unassalpha",), planarconfig="contig", extratags=tags, **PLAIN
    )
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+") as file:
        file.pages.first.tags["PhotometricInterpretation"].overwrite(3)
    image = read(tmp_path / "a.tif")
    assert image.rgb
    np.testing.assert_array_equal(image.levels[0], (table // 257)[:, pixels[..., 0]])
    assert not image.valid()[pixels[..., 1] == 0].any()


@pytest.mark.parametrize(
    ("head", "size"), [("4.2503e-09", 0.0042503), ("2.656e-10", 0.0042496), ("9e-09", 0.00425), ("x", 0.00425)]
)
def test_the_pixel_size_of_zeiss_has_the_digits_of_its_head_where_that_agrees(
    head: str, size: float, tmp_path: Path
) -> None:
    lines = "0", "0", "0", head, "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 4.25 nm", ""
    text = "\r\n".join(lines).encode("cp1252")
    tifffile.imwrite(tmp_path / "a.tif", PLANE, extratags=[(34118, "s", 0, text, True)], **PLAIN)
    assert read(tmp_path / "a.tif").grid.spacing == pytest.approx((size, size), rel=1e-9)


# ------------------------------------------------------------------------------------------------------ the stage


def test_a_stage_at_zero_is_a_place(tmp_path: Path) -> None:
    lines = "AP_IMAGE_PIXEL_SIZE", "Image Pixel Size = 4.25 nm", "AP_STAGE_AT_X", "Stage at X = 0.000 mm"
    text = "\r\n".join((*lines, "AP_STAGE_AT_Y", "Stage at Y = -12.250 mm", "")).encode("cp1252")
    tifffile.imwrite(tmp_path / "a.tif", PLANE, extratags=[(34118, "s", 0, text, True)], **PLAIN)
    assert read(tmp_path / "a.tif").source["stage_position"] == (-12250.0, 0.0)


def test_the_stage_position_of_ome_is_that_of_the_frame_that_is_read(tmp_path: Path) -> None:
    places = {"PositionX": [1.0, 2.0, 3.0, 4.0], "PositionXUnit": ["mm"] * 4, "PositionY": [5.0] * 4}
    plane = {**places, "PositionYUnit": ["µm"] * 4}
    tifffile.imwrite(tmp_path / "a.ome.tif", STACK, metadata={"axes": "TYX", "Plane": plane})
    assert read(tmp_path / "a.ome.tif", time=2).source["stage_position"] == (5.0, 3000.0)
    assert read(tmp_path / "a.ome.tif").source["stage_position"] == (5.0, 1000.0)


def test_the_stage_of_other_instruments(tmp_path: Path) -> None:
    record = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V1).newbyteorder("<"))
    more = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V2).newbyteorder("<"))
    record["Version"], more["Magic"], more["TemStagePosition"] = 2, 0xAAAAAAAA, [[1e-6, -2e-6, 0, 0, 0]]
    tvips = record.tobytes() + more.tobytes()
    tescan = b"[MAIN]\r\nPixelSizeX=1e-8\r\nPixelSizeY=1e-8\r\n[SEM]\r\nStageX=-0.0123\r\nStageY=0.002\r\n"
    xml = '<MetaData><PlaneInfo><prop id="stage-position-x" value="7.5"/><prop id="stage-position-y" value="-2"/>'
    files: dict[str, tuple[dict[str, Any], tuple[float, float]]] = {
        "tvips": ({"extratags": [(37706, "B", len(tvips), tvips, True)]}, (-2.0, 1.0)),
        "tescan": ({"extratags": [(50431, "B", len(tescan), tescan, True)]}, (2000.0, -12300.0)),
        "micro-manager": ({"extratags": [(51123, "s", 0, '{"XPositionUm": 4.5, "YPositionUm": 0}', True)]}, (0.0, 4.5)),
        "metaseries": ({"description": xml + "</PlaneInfo></MetaData>"}, (-2.0, 7.5)),
    }
    for name, (how, place) in files.items():
        tifffile.imwrite(tmp_path / f"{name}.tif", PLANE, **PLAIN, **how)
        stated = read(tmp_path / f"{name}.tif").source.get("stage_position")
        assert stated == pytest.approx(place, rel=1e-5), name


def test_the_origin_of_imagej_is_where_the_first_pixel_lies(tmp_path: Path) -> None:
    text = "ImageJ=1.53t\nunit=micron\nxorigin=20\nyorigin=-5.5\n"
    options: dict[str, Any] = {"resolution": (5, 4), "resolutionunit": "NONE", "description": text}
    tifffile.imwrite(tmp_path / "a.tif", PLANE, **PLAIN, **options)
    assert read(tmp_path / "a.tif").grid.origin == pytest.approx((5.5 * 0.25, -20 * 0.2))


def test_a_pixel_size_along_one_axis_only_is_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.ome.tif", PLANE, metadata={"axes": "YX", "PhysicalSizeX": 0.1})
    image = read(tmp_path / "a.ome.tif")
    assert not image.grid.calibrated
    assert image.findings == ("the pixel size is 0.1 µm along x, but not stated along y, so none is used",)


def test_images_of_a_slide_scanner_have_names(tmp_path: Path) -> None:
    slide = RNG.integers(0, 255, (128, 160, 3)).astype(np.uint8)
    head = "Aperio Image Library v11\r\n"
    with tifffile.TiffWriter(tmp_path / "a.svs") as file:
        about = f"{head}160x128 (64x64) JPEG/RGB Q=70|AppMag = 20|MPP = 0.4990"
        file.write(slide, tile=(64, 64), photometric="rgb", description=about, metadata=None)
        file.write(slide[::4, ::4], photometric="rgb", description=f"{head}thumbnail", metadata=None)
        file.write(
            slide[::2, ::2], tile=(64, 64), photometric="rgb", description=f"{head}64x80 |MPP = 1", metadata=None
        )
        file.write(slide[:64, :70], photometric="rgb", description=f"{head}macro", subfiletype=9, metadata=None)
    image = read(tmp_path / "a.svs")
    np.testing.assert_array_equal(image.levels[0], np.moveaxis(slide, -1, 0))
    assert image.grid.spacing == pytest.approx((0.499, 0.499))
    assert any("0 (Baseline, 128 x 160), 1 (Thumbnail, 32 x 40)" in text for text in image.findings)
    assert read(tmp_path / "a.svs", level=1).grid.spacing == pytest.approx((0.998, 0.998))
    macro = read(tmp_path / "a.svs", scene="Macro")
    np.testing.assert_array_equal(macro.levels[0], np.moveaxis(slide[:64, :70], -1, 0))
