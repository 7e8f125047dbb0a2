"""Files as programs and people leave them: resized with old tags, sizes of no unit, masks of several kinds, labels."""

from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image as Picture

from correlight.errors import ReadError
from correlight.images.image import Image
from correlight.io import read, read_mask

PIXELS = np.random.default_rng(3).integers(1, 250, (48, 64)).astype(np.uint8)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SizeC="1" SizeZ="{slices}" '
    'SizeT="1" SizeX="{width}" SizeY="48" {sizes}><Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData/>{planes}'
    "</Pixels></Image>{more}</OME>"
)


def ome(folder: Path, sizes: str = "", width: int = 64, slices: int = 1, planes: str = "", more: str = "") -> Image:
    text = OME.format(sizes=sizes, width=width, slices=slices, planes=planes, more=more)
    with tifffile.TiffWriter(folder / "a.ome.tif") as file:
        for number in range(slices):
            file.write(PIXELS, metadata=None, description=None if number else text.encode())
    return read(folder / "a.ome.tif")


# ------------------------------------------------------------------- resized by a program that keeps the tags


def fei(width: int) -> list[tuple[Any, ...]]:
    text = f"[Scan]\r\nPixelWidth=5e-9\r\nPixelHeight=5e-9\r\n[Image]\r\nResolutionX={width}\r\n".encode()
    return [(34682, 2, len(text) + 1, text + b"\0", True)]


def zeiss(width: int) -> list[tuple[Any, ...]]:
    lines = [
        "0",
        "AP_IMAGE_PIXEL_SIZE",
        "Image Pixel Size = 5.0 nm",
        "DP_IMAGE_STORE",
        f"Store resolution = {width} * 9",
    ]
    text = "\r\n".join([*lines, ""]).encode("latin-1")
    return [(34118, 7, len(text), text, True)]


@pytest.mark.parametrize("tags", [fei, zeiss])
def test_the_size_of_an_image_that_was_resized_since_is_said_and_not_used(tags: Any, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "whole.tif", PIXELS, metadata=None, extratags=tags(64))
    assert read(tmp_path / "whole.tif").grid.spacing == pytest.approx((0.005, 0.005))
    tifffile.imwrite(tmp_path / "half.tif", PIXELS, metadata=None, extratags=tags(128))
    image = read(tmp_path / "half.tif")
    assert not image.grid.calibrated
    assert any("0.005 µm, is that of an image of 128 pixels in a row, and this one has 64" in f for f in image.findings)


def test_ome_xml_that_describes_another_width_gives_no_size(tmp_path: Path) -> None:
    sizes = 'PhysicalSizeX="0.1" PhysicalSizeY="0.1"'
    assert ome(tmp_path, sizes).grid.spacing == (0.1, 0.1)
    image = ome(tmp_path, sizes, width=512)
    assert not image.grid.calibrated
    assert any("an image of 512 pixels in a row" in finding for finding in image.findings)


# ------------------------------------------------------------------------------ stated, and not understood


def test_a_size_in_the_reference_frame_is_said_unless_it_is_one(tmp_path: Path) -> None:
    frame = 'PhysicalSize{0}="{1}" PhysicalSize{0}Unit="reference frame"'
    image = ome(tmp_path, " ".join(frame.format(axis, 50) for axis in "XY"))
    assert not image.grid.calibrated
    assert image.findings == ("stated, not understood: 50 reference frame per pixel",)
    assert ome(tmp_path, " ".join(frame.format(axis, 1.0) for axis in "XY")).findings == ()


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ('PositionX="1.5" PositionY="2.5"', "2.5 reference frame along y and 1.5 reference frame along x"),
        ('PositionX="1.5" PositionXUnit="step" PositionY="0"', "1.5 step along x"),
        ('PositionX="0.0" PositionY="0.0"', ""),
    ],
)
def test_a_stage_position_in_no_length_is_said(place: str, said: str, tmp_path: Path) -> None:
    image = ome(tmp_path, planes=f'<Plane TheC="0" TheZ="0" TheT="0" {place}/>')
    assert "stage_position" not in image.source
    assert image.findings == ((f"stated, not understood: a stage position of {said}",) if said else ())


def test_a_size_that_is_no_number_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"OME-XML of .* state what is no number; give the true pixel size"):
        ome(tmp_path, 'PhysicalSizeX="0,1" PhysicalSizeY="0,1"')


def test_slices_that_run_over_angles_as_well_are_said(tmp_path: Path) -> None:
    modulo = (
        '<StructuredAnnotations><XMLAnnotation ID="Annotation:0"><Value><Modulo><ModuloAlongZ Type="angle" Start="0" '
        'End="270" Step="90"/></Modulo></Value></XMLAnnotation></StructuredAnnotations>'
    )
    sizes = " ".join(f'PhysicalSize{axis}="0.1"' for axis in "XYZ")
    image = ome(tmp_path, sizes, slices=4, more=modulo)
    assert "stated, not understood: axis Z runs over angle as well (ModuloAlongZ)" in image.findings


def test_a_distance_of_slices_that_imagej_counts_downwards(tmp_path: Path) -> None:
    options: Any = {"imagej": True, "resolution": (10, 10)}
    stack = np.stack([PIXELS] * 3)
    tifffile.imwrite(tmp_path / "a.tif", stack, metadata={"axes": "ZYX", "unit": "um", "spacing": -0.5}, **options)
    image = read(tmp_path / "a.tif")
    assert image.grid.spacing == pytest.approx((0.5, 0.1, 0.1))
    assert image.findings == ("the distance of the slices is stated as -0.5; its sign is not used",)


def test_a_calibration_of_grey_values_by_imagej_is_said(tmp_path: Path) -> None:
    # Signed numbers of 16 bits, which ImageJ stores without sign.
    words = "ImageJ=1.53c\ncf=0\nc0=-32768\nc1=1\n"
    tifffile.imwrite(tmp_path / "a.tif", PIXELS.astype(np.uint16) + 32_768, metadata=None, description=words)
    said = "a calibration of grey values is stated and not used (cf 0, c0 -32768, c1 1)"
    assert any(said in finding for finding in read(tmp_path / "a.tif").findings)


@pytest.mark.parametrize(("angstroms", "said"), [(1.0, True), (1.2, False)])
def test_one_angstrom_in_an_mrc_header_is_said_to_be_no_measurement(
    angstroms: float, said: bool, tmp_path: Path
) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(PIXELS.astype(np.int16))
        file.voxel_size = angstroms
    image = read(tmp_path / "a.mrc")
    assert image.grid.spacing == pytest.approx((angstroms * 1e-4,) * 2)
    assert any("exactly 1 angstrom" in finding for finding in image.findings) == said


def test_an_animated_png_is_called_one(tmp_path: Path) -> None:
    Picture.fromarray(PIXELS).save(tmp_path / "a.png", save_all=True, append_images=[Picture.fromarray(PIXELS[::-1])])
    image = read(tmp_path / "a.png")
    np.testing.assert_array_equal(image.levels[0][0], PIXELS)
    assert any("an animation of 2 pictures" in finding for finding in image.findings)


DENSITY = "the resolution of {0} x {0} µm per pixel is not used; give the pixel size if it is that of a microscope"


@pytest.mark.parametrize(("dots", "said"), [(300, ()), (254_012.7, (DENSITY.format("0.099995"),))])
def test_a_density_that_no_paper_has_is_said_of_a_png(dots: float, said: tuple[str, ...], tmp_path: Path) -> None:
    Picture.fromarray(PIXELS).save(tmp_path / "a.png", dpi=(dots, dots))
    image = read(tmp_path / "a.png")
    assert (image.grid.calibrated, image.findings) == (False, said)


@pytest.mark.parametrize(("dots", "said"), [(300, ()), (30_123, (DENSITY.format("0.84321"),))])
def test_a_density_that_no_paper_has_is_said_of_a_jpeg(dots: int, said: tuple[str, ...], tmp_path: Path) -> None:
    Picture.fromarray(PIXELS).save(tmp_path / "a.jpg", dpi=(dots, dots))
    image = read(tmp_path / "a.jpg")
    assert (image.grid.calibrated, image.findings) == (False, said)


@pytest.mark.parametrize(("size", "said"), [(5.03, (DENSITY.format("5.03"),)), (25_400 / 600, ())])
def test_a_density_of_a_tiff_that_only_a_camera_has_is_said(size: float, said: tuple[str, ...], tmp_path: Path) -> None:
    density: Any = {"resolution": (1e4 / size, 1e4 / size), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, metadata=None, **density)
    image = read(tmp_path / "a.tif")
    assert (image.grid.calibrated, image.findings) == (False, said)


def test_sizes_of_a_stack_that_lacks_a_distance_are_said_wherever_they_stand(tmp_path: Path) -> None:
    density: Any = {"resolution": (1e4 / 0.1011, 1e4 / 0.1011), "resolutionunit": "CENTIMETER"}
    words = {"axes": "ZYX", "unit": "um", "spacing": 0.5}
    tifffile.imwrite(tmp_path / "a.tif", np.stack([PIXELS] * 3), photometric="minisblack", metadata=words, **density)
    image = read(tmp_path / "a.tif")
    assert (image.grid.calibrated, image.source["spacing_source"]) == (False, "not stated")
    assert image.findings == (
        "stated, not understood: unit um, spacing 0.5 in the description of tifffile",
        "the distance of the slices is not stated, so the stack counts as uncalibrated (pixels of 0.1011 x 0.1011 µm)",
    )


def test_one_of_several_images_that_a_zarr_group_describes_is_chosen_by_name(tmp_path: Path) -> None:
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="w", zarr_format=2)
    images: Any = []
    for name, pixels in (("raw", PIXELS), ("filtered", PIXELS[::-1])):
        group.create_array(name, data=np.ascontiguousarray(pixels))
        scale = [{"type": "scale", "scale": [0.1, 0.1]}]
        axes = [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"]
        datasets = [{"path": name, "coordinateTransformations": scale}]
        images.append({"version": "0.4", "name": name, "axes": axes, "datasets": datasets})
    group.attrs["multiscales"] = images
    image = read(tmp_path / "a.zarr")
    assert image.findings == ("the file holds 2 images, 0 (raw), 1 (filtered); the first is read",)
    np.testing.assert_array_equal(image.levels[0][0], PIXELS)
    np.testing.assert_array_equal(read(tmp_path / "a.zarr", scene="filtered").levels[0][0], PIXELS[::-1])


# --------------------------------------------------------------------------------------- masks and labels


@pytest.mark.parametrize("kind", ["truth values", "painted", "opacity", "white is zero"])
def test_a_mask_of_any_kind_keeps_what_was_marked(kind: str, tmp_path: Path) -> None:
    marked = np.zeros((48, 64), bool)
    marked[10:30, 8:40] = True
    grey = np.where(marked, 255, 0).astype(np.uint8)
    path = tmp_path / ("a.png" if kind in ("painted", "opacity") else "a.tif")
    if kind == "truth values":
        tifffile.imwrite(path, marked)
    elif kind == "painted":
        Picture.fromarray(np.dstack([grey] * 3)).save(path)
    elif kind == "opacity":
        Picture.fromarray(np.dstack([np.full_like(grey, 255)] * 3 + [grey])).save(path)
    else:
        tifffile.imwrite(path, 255 - grey, photometric="miniswhite")
    np.testing.assert_array_equal(read_mask(path, (48, 64)), marked)


@pytest.mark.parametrize("number", [1, 255, 70_000])
def test_the_background_of_labels_is_no_missing_tile(number: int, tmp_path: Path) -> None:
    labels = np.zeros((128, 128), np.uint32)
    for row in range(10, 110, 20):
        labels[row : row + 8, 20:100] = number if number < 256 else number + row
    tifffile.imwrite(tmp_path / "a.tif", labels)
    image = read(tmp_path / "a.tif")
    assert image.mask is None
    assert image.findings == ()


# --------------------------------------------------------------------------------------- beside the image


@pytest.mark.parametrize("kind", ["mrc", "tif"])
def test_an_mdoc_of_the_image_before_it_was_binned_gives_no_size(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "mrc":
        with mrcfile.new(path) as file:
            file.set_data(PIXELS.astype(np.int16))
    else:
        tifffile.imwrite(path, PIXELS, metadata=None)
    mdoc = tmp_path / f"{path.name}.mdoc"
    # The name of a folder is in the code of the computer at the microscope.
    words = "PixelSpacing = 7.5\nImageSize = {} 48\nStagePosition = 2 1\nSubFramePath = X:\\M\xfcller\n[ZValue = 0]\n"
    mdoc.write_bytes(words.format(64).encode("latin-1"))
    assert read(path).grid.spacing == pytest.approx((0.00075, 0.00075))
    mdoc.write_bytes(words.format(128).encode("latin-1"))
    image = read(path)
    assert (image.grid.calibrated, image.source["stage_position"]) == (False, (1, 2))
    said = "stated, not used: 0.00075 µm per pixel of an image of 48 x 128 pixels in the .mdoc file"
    assert said in image.findings
