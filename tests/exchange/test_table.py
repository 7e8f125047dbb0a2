"""Points and landmarks as CSV."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from correlight.errors import ReadError, UsageError, WriteError
from correlight.exchange import ExchangeContext, read_file
from correlight.exchange.table import holds_landmarks, read_landmarks, read_points, write_points
from correlight.geometry import Grid, Unit
from correlight.landmarks import fit, residuals
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.output.convert import convert


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("unit", ["micrometre", "pixel"])
def test_points_survive_the_round_trip(ndim: int, unit: Unit, tmp_path: Path) -> None:
    names = ("nucleus, left", 'a "quoted" one', "µ-site")
    points = np.random.default_rng(ndim).normal(size=(3, ndim)) * 1e4
    write_points(tmp_path / "points.csv", PointTable(names, points, unit))
    found = read_points(tmp_path / "points.csv")
    assert found.names == names
    assert found.unit == unit
    assert np.array_equal(found.points, points)


def test_the_columns_are_those_of_the_contract(tmp_path: Path) -> None:
    write_points(tmp_path / "a.csv", PointTable(("p",), np.array([[1.5, 2.0]]), "pixel"))
    assert (tmp_path / "a.csv").read_text() == "name,unit,y,x\np,pixel,1.5,2.0\n"
    write_points(tmp_path / "b.csv", PointTable(("p",), np.array([[1.0, 1.5, 2.0]]), "micrometre"))
    assert (tmp_path / "b.csv").read_text() == "name,unit,z,y,x\np,micrometre,1.0,1.5,2.0\n"


@pytest.mark.parametrize(
    ("text", "names", "points", "unit"),
    [
        ("x,y\n1,2\n3,4\n", ("1", "2"), [[2, 1], [4, 3]], "pixel"),
        ("\ufeffName , Unit,Y,X\r\n a ,µm, 1 ,2e-1\r\n\r\n", ("a",), [[1, 0.2]], "micrometre"),
        ("name,unit,z,y,x\na,px,,1,2\nb,px,,3,4\n", ("a", "b"), [[1, 2], [3, 4]], "pixel"),
        ("name,unit,z,y,x\na,um,0,1,2\n", ("a",), [[0, 1, 2]], "micrometre"),
    ],
)
def test_tables_from_spreadsheets_are_read(
    text: str, names: tuple[str, ...], points: list, unit: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    found = read_points(tmp_path / "a.csv")
    assert found.names == names
    assert found.points.tolist() == points
    assert found.unit == unit


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "at least one row"),
        ("name,y,x\n", "at least one row"),
        ("name,unit,x\na,px,1\n", "missing: y"),
        ("y,x\n1,2,3\n", "3 fields"),
        ("y,x\n1,two\n", "must be a number"),
        ("y,x\n1,inf\n", "finite"),
        ("unit,y,x\nfurlong,1,2\n", "'furlong'"),
        ("unit,y,x\num,1,2\npx,1,2\n", "one unit"),
        ("z,y,x\n1,1,2\n,1,2\n", "must be a number"),
        ('y,x\n"1,2\n', "CSV was expected"),
    ],
)
def test_damaged_tables_are_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ReadError, match=words) as caught:
        read_points(tmp_path / "a.csv")
    assert "a.csv" in str(caught.value)


def test_missing_and_binary_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="does not exist"):
        read_points(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(ReadError, match=r"a table in CSV.* no plain text"):
        read_points(tmp_path / "a.csv")
    with pytest.raises(WriteError, match="cannot be written"):
        write_points(tmp_path / "none" / "a.csv", PointTable(("p",), np.zeros((1, 2)), "pixel"))


def test_points_become_positions_only_where_their_unit_is_known() -> None:
    calibrated, bare = Grid.of((9, 9), 0.5, unit="micrometre"), Grid.of((9, 9))
    pixels = PointTable(("p",), np.array([[2.0, 4.0]]), "pixel")
    lengths = PointTable(("p",), np.array([[2.0, 4.0]]), "micrometre")
    assert pixels.positions(calibrated).tolist() == [[1, 2]]
    assert pixels.positions(bare).tolist() == [[2, 4]]
    assert lengths.positions(calibrated).tolist() == [[2, 4]]
    with pytest.raises(UsageError, match="pixel size"):
        lengths.positions(bare)
    with pytest.raises(UsageError, match="3 coordinates"):
        pixels.positions(Grid.of((2, 2, 2)))
    with pytest.raises(UsageError, match="One name per point"):
        PointTable(("a", "b"), np.zeros((1, 2)), "pixel")


def test_a_table_in_micrometres_falls_back_to_pixels_where_there_is_no_calibration() -> None:
    place = np.array([[1.0, 2.0]])
    assert PointTable.at(("p",), place, Grid.of((9, 9), 0.5, unit="micrometre"), "micrometre").points.tolist() == [
        [1, 2]
    ]
    assert PointTable.at(("p",), place, Grid.of((9, 9), 0.5, unit="micrometre"), "pixel").points.tolist() == [[2, 4]]
    assert PointTable.at(("p",), place, Grid.of((9, 9)), "micrometre").unit == "pixel"


def test_landmarks_have_a_unit_for_each_image(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "name,active,fixed_unit,fixed_y,fixed_x,moving_unit,moving_y,moving_x\n"
        "a,true,um,1,2,px,3,4\nb,false,um,9,9,px,9,9\nc,true,um,5,6,px,7,8\n"
    )
    table = read_landmarks(tmp_path / "a.csv")
    assert table.fixed.names == ("a", "c")
    assert (table.fixed.unit, table.moving.unit) == ("micrometre", "pixel")
    assert table.moving.points.tolist() == [[3, 4], [7, 8]]
    (tmp_path / "b.csv").write_text("name,active,fixed_y,fixed_x,moving_y,moving_x\na,false,1,2,3,4\n")
    with pytest.raises(ReadError, match="is active"):
        read_landmarks(tmp_path / "b.csv")
    (tmp_path / "c.csv").write_text("y,x\n1,2\n")
    with pytest.raises(ReadError, match="missing: fixed_y, fixed_x"):
        read_landmarks(tmp_path / "c.csv")


def test_a_table_of_landmarks_is_told_from_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Name,Fixed_Y,fixed_x,moving_y,moving_x\n")
    (tmp_path / "b.csv").write_text("1,0,0\n0,1,0\n0,0,1\n")
    (tmp_path / "c.csv").write_bytes(bytes(range(256)))
    assert [holds_landmarks(tmp_path / name) for name in ("a.csv", "b.csv", "c.csv", "d.csv")] == [
        True,
        False,
        False,
        False,
    ]


def test_landmarks_clicked_on_real_images_give_their_transform(data: Path, pairs: dict[str, dict[str, Any]]) -> None:
    pair = pairs["deepclem-demo"]
    table = read_landmarks(data / pair["landmarks"])
    assert (table.fixed.unit, table.fixed.points.shape) == ("pixel", (13, 2))
    found = fit(table.fixed.points, table.moving.points, "affine")
    # The description of the pair states these figures for the same fit.
    errors = residuals(found, table.fixed.points, table.moving.points)
    assert errors.mean() == pytest.approx(3.4, abs=0.05)
    assert errors.max() == pytest.approx(6.8, abs=0.05)
    assert found.matrix[:2] == pytest.approx(np.array(pair["moving_from_fixed_px_yx"]), rel=1e-5)


def test_names_that_a_spreadsheet_would_run_are_written_as_text(tmp_path: Path) -> None:
    names = ("=HYPERLINK(1)", "+cmd", "@sum", "-1", "'quoted", "-a")
    table = PointTable(names, np.arange(12.0).reshape(6, 2), "pixel")
    write_points(tmp_path / "a.csv", table)
    cells = [line.partition(",")[0] for line in (tmp_path / "a.csv").read_text().splitlines()[1:]]
    assert cells == ["'=HYPERLINK(1)", "'+cmd", "'@sum", "-1", "'quoted", "'-a"]
    assert read_points(tmp_path / "a.csv").names == names


def test_points_that_napari_saved_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    for text, points in (
        ("index,axis-0,axis-1\n0.0,1.5,20\n1.0,3,40\n", [[1.5, 20], [3, 40]]),
        ("index,axis-0,axis-1,axis-2\n0,5,1.5,20\n1,0,3,40\n", [[5, 1.5, 20], [0, 3, 40]]),
        ("index,axis-0,axis-1,axis-2\n0,0.0,1.5,20\n1,0.0,3,40\n", [[1.5, 20], [3, 40]]),
    ):
        path.write_text(text)
        table = read_file(path)
        assert isinstance(table, PointTable)
        assert (table.unit, table.names[0][0]) == ("pixel", "0")
        np.testing.assert_array_equal(table.points, points)


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("index,shape-type,vertex-index,axis-0,axis-1", "save a layer of points"),
        ("index,axis-0,axis-1,axis-2,axis-3", "in two or three axes were expected"),
        ("index,axis-0,axis-2,axis-1,n", "in two or three axes were expected"),
    ],
)
def test_other_tables_of_napari_are_refused(header: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"{header}\n0,1,2,3,4\n")
    with pytest.raises(ReadError, match=words):
        read_file(tmp_path / "a.csv")


PAIRS = "name,fixed_y,fixed_x,moving_y,moving_x,unit\na,1.5,2,3,4e-1,um\nb,5,6,7,8.25,um\n"


@pytest.mark.parametrize(
    "data",
    [
        PAIRS.replace(",", ";").replace(".", ",").encode(),  # a spreadsheet of most of Europe
        PAIRS.replace(",", ";").encode(),
        PAIRS.replace(",", "\t").encode("utf-16"),  # "Unicode text" of Excel
        ("sep=;\r\n" + PAIRS.replace(",", ";")).encode("utf-8-sig"),
    ],
)
def test_spreadsheets_of_other_countries_are_read(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(data)
    found = read_file(tmp_path / "a.csv")
    assert isinstance(found, LandmarkTable)
    assert found.fixed.points.tolist() == [[1.5, 2], [5, 6]]
    assert found.moving.points.tolist() == [[3, 0.4], [7, 8.25]]
    assert (found.fixed.unit, found.unit_stated) == ("micrometre", True)


def test_a_decimal_comma_among_commas_is_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('y,x\n"1,5",2\n')
    with pytest.raises(ReadError, match=r"must be a number.*1,5"):
        read_points(tmp_path / "a.csv")


def test_a_text_of_another_code_is_told_to_be_saved_as_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("unit,y,x\nµm,1,2\n".encode("latin-1"))
    with pytest.raises(ReadError, match="UTF-8"):
        read_points(tmp_path / "a.csv")


@pytest.mark.parametrize(("given", "unit", "stated"), [(None, "pixel", False), ("micrometre", "micrometre", True)])
def test_a_unit_that_is_not_stated_is_supposed_and_said(
    given: Unit | None, unit: str, stated: bool, tmp_path: Path
) -> None:
    # The results of ImageJ: X and Y in the unit of the image, which they do not state.
    (tmp_path / "Results.csv").write_text(" ,Area,X,Y\n1,0,10.5,20.5\n2,0,11,22\n")
    done = convert(tmp_path / "Results.csv", tmp_path / "b.csv", context=ExchangeContext(unit=given))
    assert read_points(tmp_path / "b.csv").unit == unit
    assert done.notes == (() if stated else (
        "Results.csv states no unit, so its numbers are taken for pixels; add a column unit if they are not",
    ))  # fmt: skip
