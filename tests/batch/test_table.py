"""Tables of every kind: what is understood is used, what is not is said, and a row has one name wherever it stands."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlight import cli
from correlight.batch.cells import COLUMNS, asked_of
from correlight.batch.match import match_files, write_table
from correlight.batch.plan import part_of
from correlight.batch.table import Row, read_table, table_of
from correlight.cli.register import register
from correlight.errors import ReadError, UsageError
from tests.command_options import keywords


def written(home: Path, text: str, encoding: str = "utf-8") -> Path:
    (home / "t.csv").write_bytes(text.encode(encoding))
    return home / "t.csv"


def test_every_option_of_register_is_a_column() -> None:
    options = keywords(register) - {"output", "overwrite", "crate", "fail_on", "exit_zero"}
    assert set(COLUMNS) == options | {"fixed", "moving"}


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        ("fixed,moving,scale\na.tif,b.tif,0.5..2\n", "utf-8-sig"),
        ("fixed,moving,scale\r\n,,\r\na.tif,b.tif,0.5..2\r\n", "utf-8"),
        ("Fixed;Moving;Scale\na.tif;b.tif;0.5..2\n;;\n", "utf-8"),
        ("fixed\tmoving\tscale\na.tif\tb.tif\t0.5..2\n", "utf-16"),
        ("sep=;\nmoving;scale;fixed\nb.tif;0.5..2;a.tif\n", "utf-8"),
        ('"fixed","moving","scale"\n"a.tif","b.tif","0.5..2"\n', "utf-8"),
        ("fixed,moving,scale,,\na.tif,b.tif,0.5..2,,\n", "utf-8"),
    ],
)
def test_a_table_is_read_however_it_was_saved(text: str, encoding: str, tmp_path: Path) -> None:
    table = read_table(written(tmp_path, text, encoding))
    (row,) = table.rows
    assert (row.name, row.problem, table.notes) == ("b on a", "", ())
    assert asked_of(row.cells, tmp_path).scale == (0.5, 2)
    assert asked_of(row.cells, tmp_path).fixed == tmp_path / "a.tif"


def test_a_part_is_chosen_of_both_files_or_of_one(tmp_path: Path) -> None:
    cells = {
        "fixed": "a.czi",
        "moving": "b.czi",
        "scene": "2",
        "time": "0",
        "moving_scene": "wide",
        "fixed_series": "1",
    }
    asked = asked_of(cells, tmp_path)
    assert (asked.part, asked.fixed_part) == ({"scene": "2", "time": 0}, {"series": 1})
    assert asked.moving_part == {"scene": "wide"}


def test_a_decimal_comma_is_one_where_semicolons_part_the_fields(tmp_path: Path) -> None:
    (row,) = read_table(written(tmp_path, "fixed;moving;Fixed spacing\na.tif;b.tif;0,25\n")).rows
    assert asked_of(row.cells, tmp_path).fixed_spacing == (0.25,)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,moving\na,b.tif\n", "no column fixed"),
        ("a,b\n1,2\n", "no column fixed and no column moving"),
        ("fixed,moving\n", "at least one row"),
        ("", "at least one row"),
        ("fixed,moving,fixed\na,b,c\n", "two columns 'fixed'"),
        ("fixed;moving;moving-spacing;moving spacing\na;b;0,1;0,2\n", "two columns for moving_spacing"),
        ('fixed,moving\n"a,b\n', "unexpected end"),
        ("\0\x01\x02", "table in CSV|no column|at least one row"),
    ],
)
def test_a_table_that_names_no_pairs_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=words) as caught:
        read_table(written(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_row_that_is_not_understood_stays_with_its_reason(tmp_path: Path) -> None:
    text = "fixed,moving,name\na.tif,b.tif,good\na.tif,b.tif\na.tif,b.tif,long,more\na.tif,,half\n,b.tif,other half\n"
    rows = {row.name: row.problem for row in read_table(written(tmp_path, text)).rows}
    assert rows == {
        "good": "",
        "b on a": "The row has 2 fields where the header has 3; mend it in the table.",
        "long": "The row has 4 fields where the header has 3; mend it in the table.",
        "half": "The row names no moving image; fill in the column.",
        "other half": "The row names no fixed image; fill in the column.",
    }


def test_a_column_that_is_not_known_is_said_with_the_one_that_may_be_meant(tmp_path: Path) -> None:
    text = "fixed,moving,fixed_chanel,temperature,empty\na.tif,b.tif,1,22,\n"
    assert read_table(written(tmp_path, text)).notes == (
        "the column fixed_chanel of t.csv is not known and not used; fixed_channel may be meant",
        "the column temperature of t.csv is not known and not used",
    )


HOSTILE = (
    "a b", 'say "hi"', "a/b", "..", "", "CON", "ä–µ", "日本", "<b>&amp;", "two\nlines", "A", "a",
    "x" * 300, "=1+1", ".",
)  # fmt: skip


@given(st.lists(st.sampled_from(HOSTILE) | st.text(max_size=8), min_size=1, max_size=12), st.randoms())
def test_names_and_folders_are_unique_and_safe_in_any_order(names: list[str], shuffle) -> None:
    cells = [{"fixed": "f.tif", "moving": "m.tif", "name": name, "seed": str(n)} for n, name in enumerate(names)]
    rows = table_of(cells).rows
    folders = [row.folder.casefold() for row in rows]
    assert len(set(folders)) == len({row.name for row in rows}) == len(names)
    for folder in folders:
        assert folder
        assert folder[0] not in ".-"
        assert not set(folder) & set('/\\:*?"<>|\n \0')
        assert len(folder.encode()) < 100
    shuffle.shuffle(cells)
    assert table_of(cells).rows == rows


def test_the_same_row_twice_is_one(tmp_path: Path) -> None:
    text = "fixed,moving,seed\na.tif,b.tif,1\na.tif,b.tif,2\na.tif,b.tif,1\n"
    rows = read_table(written(tmp_path, text)).rows
    assert sorted((row.cells["seed"], row.times) for row in rows) == [("1", 2), ("2", 1)]
    assert len({row.name for row in rows}) == 2


@pytest.mark.parametrize(
    ("column", "text"),
    [
        *(("rotation", text) for text in ("x", "3", "9..1", "-400..0")),
        *(("scale", text) for text in ("0..1", "-1..2")),
        *(("roi", text) for text in ("1,2,3", "5,1,0,9")),
        *(("grid", text) for text in ("fine", "-1")),
        *(("fixed_spacing", text) for text in ("0", "x", "1,2,3,4")),
        *(("seed", text) for text in ("-1", "1.5", "٣")),
        ("mirror", "perhaps"),
        ("pose", "0"),
        ("fixed_mask", "a\0b"),
    ],
)
def test_a_cell_that_makes_no_sense_is_refused_by_its_column(column: str, text: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"column {column} expects|counted from 1") as caught:
        asked_of({"fixed": "a.tif", "moving": "b.tif", column: text}, tmp_path)
    assert "--" not in str(caught.value)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_parts_are_all_rows_once_and_groups_stay_together(parts: int) -> None:
    rows = [Row(str(n), f"r{n}", group="pqr"[n % 3] if n < 9 else "") for n in range(20)]
    pieces = [part_of(rows, number, parts) for number in range(1, parts + 1)]
    assert sorted(row.folder for piece in pieces for row in piece) == sorted(row.folder for row in rows)
    for group in "pqr":
        assert sum(any(row.group == group for row in piece) for piece in pieces) == 1
    assert max(map(len, pieces)) - min(map(len, pieces)) <= 3


def test_files_are_paired_by_their_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home, table = tmp_path / "day [1]", tmp_path / "t.csv"
    home.mkdir()
    for name in ("a b", "ö", "[x]"):
        (home / f"{name}_EM.tif").touch()
        (home / f"{name}_LM.tif").touch()
    (home / "c_EM.tif").touch()
    (home / "d_LM.tif").touch()
    words = ["batch", str(home), "--match", "*_EM.tif,*_LM.tif", "--table-only", "-o", str(table)]
    assert cli.main(words) == 0
    said = capsys.readouterr()
    assert said.out == f"3 pairs: {table}\n"
    assert said.err == "correlight: note that 2 files have no partner and were left out: c_EM.tif, d_LM.tif.\n"
    assert {row.name: (row.cells["fixed"], row.cells["moving"]) for row in read_table(table).rows} == {
        name: (f"day [1]/{name}_EM.tif", f"day [1]/{name}_LM.tif") for name in ("a b", "ö", "[x]")
    }
    assert cli.main(words) == 2
    # There is no option that would replace it.
    assert capsys.readouterr().err == f"correlight: The file {table} exists; choose another name, or remove it.\n"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_text_is_in_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for role in ("EM", "LM"):
        (tmp_path / os.fsdecode(b"x\xff_" + role.encode())).touch()
    words = ["batch", str(tmp_path), "--match", "*_EM,*_LM", "--table-only", "-o", str(tmp_path / "t.csv")]
    assert cli.main(words) == 2
    assert "rename the file" in capsys.readouterr().err
    assert not (tmp_path / "t.csv").exists()


def test_stars_stand_for_the_same_in_both_names(tmp_path: Path) -> None:
    for name in ("EM/g1/s2.tif", "LM/g1/s2.tif", "EM/g1/s3.tif", "LM/g2/s3.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    matched = match_files(tmp_path, "EM/*/*.tif,LM/*/*.tif")
    assert [cells["name"] for cells in matched.cells] == ["g1_s2"]
    write_table(tmp_path / "EM" / "t.csv", tmp_path, matched)
    assert (tmp_path / "EM" / "t.csv").read_text() == "name,fixed,moving\ng1_s2,g1/s2.tif,../LM/g1/s2.tif\n"


@pytest.mark.parametrize("patterns", ["*_EM.tif", "a,b", "*,*,*", "*_EM.tif,b", "**/*.tif,**/*.tif", "*.tif,*.tif", ""])
def test_patterns_that_pair_nothing_are_refused(patterns: str, tmp_path: Path) -> None:
    (tmp_path / "a.tif").touch()
    with pytest.raises(UsageError):
        match_files(tmp_path, patterns)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--collect"),
        (["t.csv"], "--output"),
        (["t.csv", "-o", "out", "--shard", "0/2"], "--shard expects K/N"),
        (["t.csv", "-o", "out", "--shard", "3/2"], "--shard expects K/N"),
        (["t.csv", "-o", "out", "--shard", "1/2", "--workers", "2"], "exclude each other"),
        (["t.csv", "-o", "out", "--workers", "0"], "whole number from 1"),
        (["t.csv", "-o", "out"], "t.csv"),
        ([".", "-o", "out"], "--match"),
        ([".", "-o", "out", "--table-only"], "--match"),
        (["--collect", "."], "batch.json"),
        (["--collect", ".", "-o", "out"], "--collect does not go together with --output"),
        (["--collect", ".", "--shard", "9/2", "--grid", "zzz"], "with --grid, --shard"),
        (["--collect", "t.csv"], "t.csv is none"),
        ([".", "-o", "out", "--table-only", "--workers", "2"], "--table-only does not go together with --workers"),
        (["t.csv", "-o", "out", "--grid", "bogus"], "--grid expects"),
    ],
)
def test_misuse_ends_in_one_sentence_and_nothing_written(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["batch", *words]) == 2
    sentence = capsys.readouterr().err
    assert said in sentence
    assert sentence.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
