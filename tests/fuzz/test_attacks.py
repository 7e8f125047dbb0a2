"""Attacks that once got through: each stands for its kind, and ends in the one sentence that it should."""

import io
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mrcfile
import numpy as np
import pytest
import tifffile
import zarr

from correlight import Image, from_landmarks, prepare_pair, read, register
from correlight.cli import program
from correlight.cli.program import run
from correlight.cli.streams import Forgiving
from correlight.errors import ReadError, UsageError
from correlight.exchange import read_transform
from correlight.exchange.table import cell, read_landmarks, read_points, write_points
from correlight.geometry import Grid
from correlight.io.maps import read_map
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.output.apply.saved import read_saved
from correlight.output.apply.session import _names
from correlight.output.apply.table import Member, read_session
from correlight.output.target import reserve, reserve_files
from correlight.parsing import parse_xml
from correlight.recipes import load
from tests.faults.scene import prepare

PIXELS = np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8)
OME = (
    '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{before}<Image ID="Image:0">'
    '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="{x}" SizeY="40" SizeZ="{z}" SizeC="{c}" '
    'SizeT="1"><TiffData IFD="{ifd}" PlaneCount="1"/></Pixels></Image></OME>'
)


# ------------------------------------------------------------------------------------- what lies beside a target


@pytest.mark.parametrize("kind", ["content", "link", "dangling", "pipe"])
def test_what_has_the_name_of_a_lock_and_is_none_survives(kind: str, tmp_path: Path) -> None:
    lock, thesis = tmp_path / ".out.lock", tmp_path / "thesis.txt"
    thesis.write_text("years of work")
    if kind == "content":
        lock.write_text("a list of versions")
    elif kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to(thesis if kind == "link" else tmp_path / "elsewhere")
    before = {path.name: path.lstat().st_mode for path in tmp_path.iterdir()}
    with pytest.raises(OSError, match="cannot be made"), reserve(tmp_path / "out"):
        pytest.fail("the lock of somebody else was taken")
    assert {path.name: path.lstat().st_mode for path in tmp_path.iterdir()} == before
    assert kind != "content" or lock.read_text() == "a list of versions"


def test_links_and_files_are_not_taken_for_what_a_killed_run_left(tmp_path: Path) -> None:
    thesis = tmp_path / "work"
    thesis.mkdir()
    (thesis / "thesis.txt").write_text("years of work")
    (tmp_path / ".out.deadbeef.earlier").symlink_to(thesis)
    (tmp_path / ".out.deadbee0.partial").symlink_to(thesis)
    with reserve(tmp_path / "out") as folder:
        (folder / "result.json").write_text("{}")
    assert not (tmp_path / "out").is_symlink()
    assert (thesis / "thesis.txt").read_text() == "years of work"


def test_an_input_is_recognised_by_another_name(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(b"pixels")
    # As the same name in capital letters is on some disks.
    os.link(tmp_path / "a.tif", tmp_path / "b.tif")
    with (
        pytest.raises(UsageError, match="would replace the input"),
        reserve_files(tmp_path / "b.tif", overwrite=True, inputs=[tmp_path / "a.tif"]),
    ):
        pytest.fail("the input was about to be replaced")


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_a_device_is_not_replaced_by_a_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if kind == "pipe":
        os.mkfifo("o.json")
    else:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("o.json")
    before = os.lstat("o.json")
    with (
        pytest.raises(UsageError, match="a device, a pipe or a socket"),
        reserve_files("o.json", overwrite=True),
    ):
        pytest.fail("the device was about to be replaced")
    assert os.path.samestat(before, os.lstat("o.json"))


def test_names_that_some_disks_take_for_one_are_told_apart() -> None:
    names = list(_names(tuple(Member(Path(name)) for name in ("é.tif", "e\u0301.tif", "É.png", "x.tif"))))
    assert names == ["é", "e\u0301_2", "É_3", "x"]


# ------------------------------------------------------------------------------------------------- the terminal


def test_a_terminal_need_not_know_all_letters() -> None:
    taken = io.BytesIO()
    stream = Forgiving(io.TextIOWrapper(taken, encoding="latin-1", write_through=True))
    print("µ 漢.json", file=stream)  # type: ignore[call-overload]
    assert taken.getvalue() == b"\xb5 \\u6f22.json\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_standard_output_does_not_deny_what_was_written() -> None:
    with Path("/dev/full").open("w") as full:
        stream = Forgiving(full)
        stream.write("o.json\n")
        stream.flush()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_standard_error_leaves_the_code_as_it_is() -> None:
    program = "import sys; from correlight import cli; sys.exit(cli.main())"
    called = [sys.executable, "-c", program, "convert", "no", "o.json"]
    with Path("/dev/full").open("w") as full:
        assert subprocess.run(called, stderr=full, check=False).returncode == 2


def test_no_room_for_a_library_is_no_fault_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def parse(*_: object, **__: object) -> None:
        raise ImportError("a.so: failed to map segment from shared object")

    monkeypatch.setattr(program, "app", SimpleNamespace(parse_args=parse))
    assert run(["convert"]) == 1
    assert capsys.readouterr().err == (
        "correlight: The memory of this machine does not suffice; close other programs or bin the images.\n"
    )


# ------------------------------------------------------------------------------------------------- documents


@pytest.mark.parametrize(
    "pattern",
    [
        "<a xmlns:n='{long}'>{many}</a>",
        "<a xmlns:n='{long}'>{attributes}</a>",
        '<a xmlns = \n"{long}">{many}</a>',
    ],
)
def test_a_long_namespace_is_not_spelled_out_for_every_element(pattern: str) -> None:
    text = pattern.format(long="n" * 500_000, many="<n:b/>" * 20_000, attributes="<b n:c='1'/>" * 20_000)
    began = time.process_time()
    with pytest.raises(ReadError, match="namespace of more than"):
        parse_xml(text, "Expected XML, but a.xml")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("text", ["x = " + "9" * 5000, ".".join("a" * 8000) + " = 1", ".".join("a" * 20_000) + " = 1"])
def test_numbers_and_names_without_end_in_a_recipe_are_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(text)
    began = time.process_time()
    with pytest.raises(UsageError, match=r"r\.toml"):
        load(tmp_path / "r.toml")
    assert time.process_time() - began < 2


def test_namespaces_are_looked_for_in_one_pass() -> None:
    began = time.process_time()
    with pytest.raises(ReadError, match="well-formed"):
        parse_xml("<a>" + "xmlns" * 1_000_000, "Expected XML, but a.xml")
    parse_xml("<a xmlns='b' c='" + "xmlns" * 1_000_000 + "'/>", "Expected XML, but a.xml")
    assert time.process_time() - began < 5


def test_of_two_columns_with_one_name_none_is_chosen(tmp_path: Path) -> None:
    table = tmp_path / "l.csv"
    table.write_text("name,fixed_y,fixed_x,moving_y,moving_x,fixed_y\na,1,2,3,4,5\nb,5,6,7,8,9\n")
    with pytest.raises(ReadError, match="two columns 'fixed_y'"):
        read_landmarks(table)
    table.write_text("image;spacing;spacing\na.tif;1;2\n")
    with pytest.raises(ReadError, match="two columns 'spacing'"):
        read_session(table)


def test_a_slip_of_the_pen_is_no_number(tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("name,unit,y,x\na,pixel,1_0,2\n")
    with pytest.raises(ReadError, match="must be a number"):
        read_points(table)
    table.write_text("image,spacing\na.tif,1_0\n")
    with pytest.raises(ReadError, match="positive number"):
        read_session(table)


@pytest.mark.parametrize("name", ["＝cmd()", "'=cmd()", "''=1", "\xa0=x", "'", "'a", "-3", " @x"])
def test_no_name_is_a_formula_and_every_name_comes_back(name: str, tmp_path: Path) -> None:
    write_points(tmp_path / "p.csv", PointTable((name,), np.array([[1.0, 2.0]]), "pixel"))
    assert read_points(tmp_path / "p.csv").names == (name,)
    assert not cell(name).strip("\xa0 ").startswith(("=", "@", "＝"))


def test_a_composite_of_countless_transforms_is_refused(tmp_path: Path) -> None:
    one = "Transform: AffineTransform_double_2_2\nParameters: 1 0 0 1 0 0\nFixedParameters: 0 0\n"
    (tmp_path / "t.tfm").write_text("#Insight Transform File V1.0\n" + one * 1001)
    with pytest.raises(ReadError, match="1,001 transforms"):
        read_transform(tmp_path / "t.tfm")


# ------------------------------------------------------------------------------------------------------ records


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder, beside the images that it was made of."""
    home = tmp_path_factory.mktemp("scene")
    prepare(home)
    images = ["--fixed", str(home / "f.ome.tif"), "--moving", str(home / "m.ome.tif")]
    assert run(["landmarks", str(home / "l.csv"), *images, "-o", str(home / "out"), "--grid", "none"]) == 0
    return home / "out"


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("moving_from_fixed",), {"file": ""}),
        (("moving_from_fixed",), {"file": ".."}),
        (("fixed_unit",), "furlong"),
        (("moving_unit",), {"a": 1}),
        (("status",), "splendid"),
        (("fixed", "shape"), [64.5, 80]),
        (("moving", "shape"), [1e300, 80]),
        (("fixed", "shape"), [10**400, 80]),
        (("fixed", "spacing"), ["a", 1]),
    ],
)
def test_a_record_that_was_changed_is_refused(keys: tuple[str, ...], value: Any, result: Path, tmp_path: Path) -> None:
    shutil.copytree(result, tmp_path / "out")
    record = json.loads((result / "result.json").read_text())
    part = record
    for key in keys[:-1]:
        part = part[key]
    part[keys[-1]] = value
    (tmp_path / "out" / "result.json").write_text(json.dumps(record))
    with pytest.raises(ReadError):
        read_saved(tmp_path / "out")


# ------------------------------------------------------------------------------------------------------- images


def ome_tiff(path: Path, **said: Any) -> Path:
    text = OME.format(**{"before": "", "x": 48, "z": 1, "c": 1, "ifd": 0, **said})
    tifffile.imwrite(path, PIXELS, description=text, metadata=None)
    return path


@pytest.mark.parametrize(("axis", "count"), [("c", 100_000_000), ("z", 2_147_483_647)])
def test_countless_planes_are_refused_before_they_are_listed(axis: str, count: int, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=f"states {count:,} planes"):
        read(ome_tiff(tmp_path / "a.ome.tif", **{axis: count}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<scn xmlns:n='{long}'>{many}</scn>", "namespace"),
        ("<!DOCTYPE scn [<!ENTITY e 'x'>]><scn>&e;</scn>", "document type definition"),
        (
            "<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE scn SYSTEM 'file:///etc/host'><scn></scn>",
            "definition",
        ),
    ],
)
@pytest.mark.parametrize("software", ["Philips DP v1", "Leica"])
def test_descriptions_that_tifffile_parses_are_checked_first(
    text: str, words: str, software: str, tmp_path: Path
) -> None:
    described = text.format(long="n" * 300_000, many="<n:b/>" * 20_000)
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, description=described, software=software, metadata=None)
    with pytest.raises(ReadError, match=words):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("text", ["<", "<no XML at all", "a < b", "<a xmlns='b'/>", "<a>\ud83d</a>"])
def test_other_descriptions_pass(text: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS, description=text.encode("utf-8", "replace"), metadata=None)
    np.testing.assert_array_equal(read(tmp_path / "a.tif").levels[0][0], PIXELS)


@pytest.mark.parametrize("said", [{"x": 480}, {"z": -1}, {"ifd": 99_999_999}])
def test_ome_xml_that_fits_no_page_is_said(said: dict[str, int], tmp_path: Path) -> None:
    image = read(ome_tiff(tmp_path / "a.ome.tif", **said))
    np.testing.assert_array_equal(image.levels[0][0], PIXELS)
    assert any("does not fit its pages" in finding for finding in image.findings)


def test_ome_xml_that_fits_is_not_spoken_of(tmp_path: Path) -> None:
    assert not read(ome_tiff(tmp_path / "a.ome.tif")).findings


def test_a_map_of_errors_opens_no_other_file(result: Path, tmp_path: Path) -> None:
    shutil.copytree(result, tmp_path / "out")
    os.mkfifo(tmp_path / "a.tif")  # would be waited for
    said = OME.replace('PlaneCount="1"/>', '><UUID FileName="../a.tif">urn:uuid:1</UUID></TiffData>')
    errors = tmp_path / "out" / "predicted_error.tif"
    text = said.format(before="", x=48, z=1, c=1, ifd=0)
    tifffile.imwrite(errors, PIXELS.astype(np.float32), description=text, metadata=None)
    np.testing.assert_array_equal(read_map(errors), PIXELS)


@pytest.mark.parametrize("values", [np.full((8, 8), -5.0, np.float32), np.full((8, 8), 5j, np.complex64)], ids=str)
def test_no_predicted_error_is_invented(values: np.ndarray[Any, Any], result: Path, tmp_path: Path) -> None:
    shutil.copytree(result, tmp_path / "out")
    tifffile.imwrite(tmp_path / "out" / "predicted_error.tif", values)
    (tmp_path / "p.csv").write_text("name,unit,y,x\na,pixel,5,5\n")
    like = ["--like", str(result.parent / "f.ome.tif"), "-o", str(tmp_path / "o.csv")]
    assert run(["apply", str(tmp_path / "out"), str(tmp_path / "p.csv"), *like]) == 2
    assert not (tmp_path / "o.csv").exists()


@pytest.mark.parametrize("column", ["spacing", "magnification", "offset_y", "stage_x"])
@pytest.mark.parametrize("number", ["1e300", "-1e300", "1e-300"])
def test_a_table_of_images_holds_places_of_this_world(column: str, number: str, tmp_path: Path) -> None:
    other = {"offset_y": "offset_x", "stage_x": "stage_y"}.get(column, "unit")
    (tmp_path / "s.csv").write_text(f"image,{column},{other}\na.tif,{number},{'px' if other == 'unit' else 1}\n")
    if number == "1e-300" and other != "unit":
        assert len(read_session(tmp_path / "s.csv")) == 1  # as good as no offset
        return
    with pytest.raises(ReadError, match=f"expected as {column} in row 1"):
        read_session(tmp_path / "s.csv")


@pytest.mark.parametrize("asked", [{"scene": "9" * 5000}, {"view": "9" * 5000}])
def test_numbers_of_thousands_of_digits_are_no_choice(asked: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PIXELS)
    np.save(tmp_path / "a.npy", PIXELS)
    zarr.create_array(tmp_path / "a.zarr", data=PIXELS, zarr_format=2)
    for name in ("a.tif", "a.npy", "a.zarr"):
        with pytest.raises((UsageError, ReadError)):
            read(tmp_path / name, **asked)
    with pytest.raises(UsageError, match="no channel"):
        PICTURE.channel_index("9" * 5000)


def test_a_section_of_thousands_of_digits_is_passed_over(tmp_path: Path) -> None:
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(PIXELS.view(np.int8))
    (tmp_path / "a.mrc.mdoc").write_text(f"PixelSpacing = 20\n[ZValue = {'9' * 5000}]\nPixelSpacing = 30\n")
    assert read(tmp_path / "a.mrc").grid.spacing == pytest.approx((0.002, 0.002))


# ------------------------------------------------------------------------------------------------- from Python

PICTURE = Image.from_array(PIXELS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"fixed": PIXELS.astype(complex)},
        {"moving": "a.tif"},
        {"fixed": None},
        {"recipe": 3},
        {"seed": -1},
        {"seed": 1.5},
        {"seed": "x"},
        {"rotation": 5},
        {"rotation": (1, 2, 3)},
        {"rotation": "ab"},
        {"scale": "1..2"},
        {"roi": (0, 40, 0)},
        {"roi": (0, 40.5, 0, 40)},
        {"pose": 0},
        {"pose": "a"},
        {"workers": -2},
        {"start": np.eye(3)},
        {"start": "a.tfm"},
        {"progress": 3},
    ],
    ids=lambda wrong: f"{next(iter(wrong))}-{type(next(iter(wrong.values()))).__name__}",
)
def test_arguments_of_other_types_are_one_sentence(wrong: dict[str, Any]) -> None:
    arguments: dict[str, Any] = {"fixed": PICTURE, "moving": PICTURE, **wrong}
    with pytest.raises(UsageError, match=r"expected|is a|is two|is four|got"):
        register(**arguments)


def test_every_door_takes_images_only() -> None:
    places = PointTable(("a", "b"), np.array([[1.0, 2.0], [9.0, 8.0]]), "pixel")
    array: Any = PIXELS
    for call in (
        lambda: from_landmarks(array, PICTURE, LandmarkTable(places, places)),
        lambda: prepare_pair(PICTURE, array),
    ):
        with pytest.raises(UsageError, match="as an Image"):
            call()


@pytest.mark.parametrize(
    "wrong",
    [
        {"spacing": "a"},
        {"spacing": (1, 2, 3)},
        {"spacing": []},
        {"spacing": 1j},
        {"channels": 3},
        {"channels": "a"},
        {"channels": (None,)},
        {"mask": "x"},
        {"mask": np.full(PIXELS.shape, np.nan)},
        {"mask": [[1]]},
    ],
    ids=str,
)
def test_an_image_is_made_of_what_fits(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Image.from_array(PIXELS, **wrong)


def test_a_mask_of_numbers_is_a_mask() -> None:
    mask: Any = np.zeros(PIXELS.shape)
    mask[:20] = 255
    assert Image.from_array(PIXELS, mask=mask).valid().sum() == 20 * 48


def test_a_grid_has_a_unit() -> None:
    unit: Any = "furlong"
    with pytest.raises(UsageError, match="furlong"):
        Grid.of((4, 4), unit=unit)


def test_numbers_beyond_single_precision_are_no_pixels() -> None:
    pixels = PIXELS.astype(float)
    pixels[3, 4] = 1.7e308
    image = Image.from_array(pixels)
    assert not image.valid()[3, 4]
    assert image.valid().sum() == PIXELS.size - 1
    image.grey(0)  # warnings are errors here
