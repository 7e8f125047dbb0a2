"""ROIs of ImageJ go through a result both ways, with all that they carry, and come out where ImageJ draws them."""

from __future__ import annotations

import shutil
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight import cli
from correlight.errors import ReadError
from correlight.exchange.imagej import read_rois, write_rois
from correlight.geometry import Grid
from correlight.io import read, write_ome_tiff
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.transforms import Affine, BSplineField, Transform
from tests.known_pair import known_result

roifile: Any = pytest.importorskip("roifile", reason="ROIs of ImageJ take the package roifile")

FIXED, MOVING = Grid.of((120, 160), 0.02, unit="micrometre"), Grid.of((150, 140), 0.03, unit="micrometre")
TURN = Affine.similarity(10, 1.02, source=FIXED.centre, target=MOVING.centre)


def bent() -> Transform:
    numbers = np.zeros((11, 11, 2))
    numbers[3:-3, 3:-3] = np.random.default_rng(4).normal(size=(5, 5, 2)) * 0.15
    return TURN @ BSplineField(numbers, Grid.of((11, 11), (0.6, 0.8), (-1.8, -2.4), "micrometre"))


def roi(kind: str, places: Any = None, name: str = "", **options: Any) -> Any:
    """A ROI as ImageJ saves it."""
    if places is None:
        made = roifile.ImagejRoi(**options)
    else:
        made = roifile.ImagejRoi.frompoints(np.asarray(places))
        for key, value in options.items():
            setattr(made, key, value)
    made.roitype, made.name = roifile.ROI_TYPE[kind], name
    return made


ROIS = [
    roi("POLYGON", [[40, 30], [110, 30], [110, 90], [40, 90]], "soma", stroke_color=b"\xff\xc8\x00\x00", c_position=2),
    roi("RECT", None, "box", left=20, top=30, right=60, bottom=50, version=228),
    roi("OVAL", None, "circle", left=70, top=60, right=90, bottom=80, version=228),
    roi("POINT", [[60, 50], [80, 70]], "dots"),
    roi("LINE", None, "line", x1=30.0, y1=60.0, x2=120.0, y2=64.0, version=228),
    roi("POLYLINE", [[30, 40], [60, 45], [90, 40]], "path", position=3),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images, two results, and the ROIs."""
    folder = tmp_path_factory.mktemp("rois")
    rng = np.random.default_rng(0)
    for name, grid in (("fixed", FIXED), ("moving", MOVING)):
        write_ome_tiff(folder / f"{name}.ome.tif", rng.integers(0, 255, (1, *grid.shape), np.uint8), grid, ["a"])
    images = read(folder / "fixed.ome.tif"), read(folder / "moving.ome.tif")
    for name, move in (("affine", TURN), ("bent", bent())):
        result = replace(known_result(*images, moving_from_fixed=TURN), moving_from_fixed=move)
        with reserve(folder / name) as made:
            write_result(made, result, *images, grid="none")
    roifile.roiwrite(folder / "set.zip", ROIS, mode="w")
    return folder


def moved(home: Path, kind: str, out: Path, points_in: str = "moving") -> int:
    like = ["--like", str(home / "fixed.ome.tif"), "--points-in", points_in]
    return cli.main(["apply", str(home / kind), str(home / "set.zip"), *like, "-o", str(out)])


@pytest.mark.parametrize("points_in", ["moving", "fixed"])
def test_positions_go_where_the_result_leads_and_all_else_stays(points_in: str, home: Path, tmp_path: Path) -> None:
    assert moved(home, "affine", tmp_path / "out.zip", points_in) == 0
    made = {one.name: one for one in roifile.roiread(tmp_path / "out.zip")}
    assert list(made) == [one.name for one in ROIS]
    assert (made["soma"].stroke_color, made["soma"].c_position) == (b"\xff\xc8\x00\x00", 2)
    assert made["path"].position == 3
    kinds = {name: one.roitype.name for name, one in made.items()}
    assert kinds == {
        "soma": "POLYGON",
        "box": "POLYGON",
        "circle": "POLYGON",
        "dots": "POINT",
        "line": "LINE",
        "path": "POLYLINE",
    }
    source, target = (FIXED, MOVING) if points_in == "fixed" else (MOVING, FIXED)
    move = TURN if points_in == "fixed" else TURN.inverse()
    # ImageJ counts areas from the corner of the first pixel, lines and points from its centre.
    for name, corner in (("soma", 0.5), ("dots", 0.0), ("path", 0.0), ("line", 0.0)):
        before = next(one for one in ROIS if one.name == name).coordinates().astype(float)
        expected = target.index(move(source.points(before[:, ::-1] - corner)))[:, ::-1] + corner
        np.testing.assert_allclose(made[name].coordinates(), expected, atol=1e-3)


def test_the_centre_of_an_oval_and_of_a_box_lies_where_a_point_there_goes(home: Path, tmp_path: Path) -> None:
    moved(home, "affine", tmp_path / "out.zip", "fixed")
    made = {one.name: one.coordinates() for one in roifile.roiread(tmp_path / "out.zip")}
    for name, centre in (("circle", (70.0, 80.0)), ("box", (40.0, 40.0))):
        expected = MOVING.index(TURN(FIXED.points(np.array([centre]) - 0.5)))[0, ::-1] + 0.5
        np.testing.assert_allclose(made[name].mean(axis=0), expected, atol=0.01)


@pytest.mark.parametrize("arc", [8, 30, 1000])
def test_rounded_corners_stay_round(arc: int, tmp_path: Path) -> None:
    """ImageJ states the diameter of the corners, and cuts it to the sides."""
    made = roi("RECT", None, "box", left=20, top=30, right=60, bottom=50, version=228, rounded_rect_arc_size=arc)
    roifile.roiwrite(tmp_path / "box.roi", made)
    held = read_rois(tmp_path / "box.roi")
    (outline,) = held.paths
    y, x = outline.points.T
    area = abs(np.sum(y[:-1] * x[1:] - y[1:] * x[:-1])) / 2
    assert area == pytest.approx(40 * 20 - (4 - np.pi) * min(arc, 40) * min(arc, 20) / 4, rel=1e-3)
    # From the outer corner of the first pixel to its centre.
    assert outline.points.min(axis=0) == pytest.approx((29.5, 19.5))
    assert outline.points.max(axis=0) == pytest.approx((49.5, 59.5))
    write_rois(tmp_path / "again.roi", held, [outline], set())
    (again,) = read_rois(tmp_path / "again.roi").paths
    assert again.points == pytest.approx(outline.points, abs=1e-4)


def test_lines_follow_a_field(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert moved(home, "bent", tmp_path / "out.zip", "fixed") == 0
    made = {one.name: one for one in roifile.roiread(tmp_path / "out.zip")}
    assert made["line"].roitype.name == "POLYLINE"
    assert len(made["line"].coordinates()) > 2
    assert "1 ellipse is written as the polygons" in capsys.readouterr().err


def test_one_roi_stays_a_file_of_its_own_and_holes_stay_holes(home: Path, tmp_path: Path) -> None:
    outer, inner = [[20, 20], [80, 20], [80, 70]], [[50, 30], [60, 30], [60, 40]]
    steps = [value for ring in (outer, inner) for i, (x, y) in enumerate(ring) for value in (float(i > 0), x, y)]
    steps[9:9] = [4.0]
    composite = roi("RECT", None, "ring", left=20, top=20, right=80, bottom=70, version=228)
    composite.multi_coordinates = np.asarray([*steps, 4.0], np.float32)
    composite.shape_roi_size = len(composite.multi_coordinates)
    composite.tofile(tmp_path / "one.roi")
    like = ["--like", str(home / "fixed.ome.tif"), "-o", str(tmp_path / "out.roi")]
    assert cli.main(["apply", str(home / "affine"), str(tmp_path / "one.roi"), *like]) == 0
    made = roifile.roiread(tmp_path / "out.roi")
    rings = made.coordinates(multi=True)
    assert made.name == "ring"
    assert [len(np.unique(ring, axis=0)) for ring in rings] == [3, 3]


def test_there_and_back_is_where_it_was(tmp_path: Path, home: Path) -> None:
    found = read_rois(home / "set.zip")
    write_rois(tmp_path / "same.zip", found, list(found.paths), set())
    again = read_rois(tmp_path / "same.zip")
    for one, other in zip(found.paths, again.paths, strict=True):
        np.testing.assert_allclose(one.points, other.points, atol=1e-4)
    write_rois(tmp_path / "again.zip", found, list(found.paths), set())
    assert (tmp_path / "same.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()


@pytest.mark.parametrize("kind", ["text", "cut", "empty", "nothing"])
def test_what_is_no_set_of_rois_is_said_in_one_sentence(kind: str, home: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    if kind == "text":
        path.write_text("no archive")
    elif kind == "cut":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.roi", ROIS[0].tobytes()[:70])
    elif kind == "empty":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("readme.txt", "none")
    with pytest.raises(ReadError, match="ROIs of ImageJ"):
        read_rois(path)


def test_an_output_of_another_kind_is_refused(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert moved(home, "affine", tmp_path / "out.geojson") == 2
    assert "ending in .roi or .zip" in capsys.readouterr().err
    assert moved(home, "affine", tmp_path / "out.roi") == 2
    assert "holds one ROI" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_has_no_position_is_left_out_and_named(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(home / "affine", tmp_path / "affine")
    shutil.copy(home / "fixed.ome.tif", tmp_path)
    shutil.copy(home / "moving.ome.tif", tmp_path)
    rois = [*ROIS[:1], roi("POLYGON", [[40, 30], [110, 30]], "two corners"), roi("NOROI", None, "nothing")]
    roifile.roiwrite(tmp_path / "set.zip", rois, mode="w")
    assert moved(tmp_path, "affine", tmp_path / "out.zip") == 0
    assert len(roifile.roiread(tmp_path / "out.zip")) == 1
    assert "2 of the annotations: two corners, nothing" in capsys.readouterr().err


def test_an_archive_that_states_far_too_much_is_refused_in_one_sentence(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.roi", b"\0" * (257 * 2**20))
    with pytest.raises(ReadError) as refused:
        read_rois(tmp_path / "bomb.zip")
    assert str(refused.value).count("bomb.zip") == 1
    assert "257 MiB" in str(refused.value)
