"""A batch that goes on trusts nothing blindly: neither what lies in its folder, nor what it registered before."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from correlight import cli
from correlight.batch.record import RECORD, RESULTS, read_record
from correlight.output.manifest import write_manifest
from tests.batch.rows import HASTY, write_couple, write_rows


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two pairs, a table of them, and the batch of it, in which both were refused."""
    home = tmp_path_factory.mktemp("made")
    rows = []
    for number, name in enumerate("ab"):
        write_couple(home, f"{name}_EM.tif", f"{name}_LM.tif", number)
        rows.append({"name": name, "fixed": f"{name}_EM.tif", "moving": f"{name}_LM.tif", **HASTY})
    write_rows(home / "t.csv", rows)
    assert cli.main(["batch", str(home / "t.csv"), "-o", str(home / "out"), "--workers", "1"]) == 3
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """The same elsewhere, so that it may be spoilt; the times of the files are the same."""
    return Path(shutil.copytree(made, tmp_path / "elsewhere"))


def again(home: Path, *words: str) -> int:
    return cli.main(["batch", str(home / "t.csv"), "-o", str(home / "out"), "--workers", "1", *words])


def counts(home: Path) -> dict[str, int]:
    content: dict[str, int] = json.loads((home / "out" / "summary.json").read_text())["counts"]
    return content


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_row_that_fails_now_is_failed_whatever_it_was(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "a_LM.tif").write_bytes((home / "a_LM.tif").read_bytes()[:200])
    assert again(home, "--fail-on", "doubtful") == 3
    assert counts(home) == {"failed": 1, "refused": 1}
    assert "1 of 2 rows are complete already." in capsys.readouterr().out
    # Put back it is what it was: nothing is left of the failure.
    write_couple(home, "a_EM.tif", "a_LM.tif", 0)
    assert again(home) == 3
    assert counts(home) == {"refused": 2}


@pytest.mark.slow
def test_files_that_other_files_name_are_inputs_too(home: Path) -> None:
    start = home / "start"
    start.mkdir()
    chain = (
        '(Transform "EulerTransform")\n(NumberOfParameters 3)\n(TransformParameters 0 {shift} 0)\n'
        "(CenterOfRotationPoint 0 0)\n"
        "(FixedImageDimension 2)\n(MovingImageDimension 2)\n(Size 64 64)\n"
        "(Spacing 1 1)\n(Origin 0 0)\n(Direction 1 0 0 1)\n"
        '(HowToCombineTransforms "Compose")\n(InitialTransformParameterFileName "{before}")\n'
    )
    names = "TransformParameters.0.txt", "TransformParameters.1.txt"
    (start / names[0]).write_text(chain.format(shift=0, before="NoInitialTransform"))
    (start / names[1]).write_text(chain.format(shift=0, before=names[0]))
    options = {"start": f"start/{names[1]}", "grid": "none", "model": "rigid", "mirror": "no"}
    write_rows(home / "t.csv", [{"name": "c", "fixed": "a_EM.tif", "moving": "a_LM.tif", **options}])
    words = ["batch", str(home / "t.csv"), "-o", str(home / "chain"), "--shard", "1/1", "--exit-zero"]
    assert cli.main(words) == 0
    record = read_record(home / "chain" / RESULTS / "c")
    assert record is not None
    assert {Path(name).name for name in record.inputs} == {"a_EM.tif", "a_LM.tif", *names}
    # What comes with the package is no input of anybody's.
    assert not any(name.endswith((".onnx", ".toml")) for name in record.inputs)
    before = (home / "chain" / RESULTS / "c" / RECORD).stat().st_mtime_ns
    assert cli.main(words) == 0
    assert (home / "chain" / RESULTS / "c" / RECORD).stat().st_mtime_ns == before
    (start / names[0]).write_text(chain.format(shift=2, before="NoInitialTransform"))
    assert cli.main(words) == 0
    assert (home / "chain" / RESULTS / "c" / RECORD).stat().st_mtime_ns != before


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": "high"},
        {"confidence": float("nan")},
        {"confidence": None},
        {"confidence": 10**400},
        {"status": "weird"},
        {"status": []},
        {"rotation": {}},
        {"error_within": "x"},
        {"scale_found": float("inf")},
        {"reasons": [1]},
        {"unit": "parsec"},
    ],
    ids=lambda change: ", ".join(change),
)
def test_a_record_that_holds_nonsense_is_no_result(home: Path, change: dict[str, Any]) -> None:
    folder = home / "out" / RESULTS / "a"
    content = json.loads((folder / RECORD).read_text())
    content["figures"].update(change)
    (folder / RECORD).write_text(json.dumps(content))
    (folder / "manifest.json").unlink()
    write_manifest(folder)
    assert cli.main(["batch", "--collect", str(home / "out")]) == 3
    assert counts(home) == {"waiting": 1, "refused": 1}


@pytest.mark.parametrize("change", [{"cells": []}, {"cells": None}, {"folder": None}, {"times": "x"}], ids=str)
def test_a_plan_that_holds_nonsense_is_one_sentence(
    home: Path, change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    content = json.loads((home / "out" / "batch.json").read_text())
    content["rows"][0].update(change)
    (home / "out" / "batch.json").write_text(json.dumps(content))
    assert cli.main(["batch", "--collect", str(home / "out")]) == 2
    said = capsys.readouterr().err
    assert "no plan of a batch" in said
    assert said.count("\n") == 1


def foreign_plan(home: Path) -> None:
    (home / "out" / "batch.json").write_text('{"mine": 1}')


def other_images(home: Path) -> None:
    write_rows(home / "t.csv", [{"name": "a", "fixed": "b_EM.tif", "moving": "b_LM.tif", **HASTY}])


def results_elsewhere(home: Path) -> None:
    (home / "out" / RESULTS).rename(home / RESULTS)
    (home / "out" / RESULTS).symlink_to(home / RESULTS)


def table_in_it(home: Path) -> None:
    (home / "t.csv").unlink()
    (home / "out" / "t.csv").write_text("fixed,moving\n../a_EM.tif,../a_LM.tif\n")
    (home / "t.csv").symlink_to(home / "out" / "t.csv")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (foreign_plan, "holds something else than a batch"),
        (other_images, "holds the batch of another table"),
        pytest.param(
            results_elsewhere, "is a link", marks=pytest.mark.skipif(os.name == "nt", reason="links take rights there")
        ),
        pytest.param(
            table_in_it,
            "lies in the folder",
            marks=pytest.mark.skipif(os.name == "nt", reason="links take rights there"),
        ),
    ],
)
def test_nothing_of_others_is_replaced(
    home: Path, spoil: Callable[[Path], None], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(home)
    before = everything(home)
    assert again(home) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert everything(home) == before


def test_a_batch_that_was_killed_before_its_plan_was_written_is_begun_anew(home: Path) -> None:
    (home / "new" / RESULTS).mkdir(parents=True)
    (home / "text.csv").write_text("fixed,moving\nnone.tif,none.tif\n")
    assert cli.main(["batch", str(home / "text.csv"), "-o", str(home / "new"), "--shard", "1/1"]) == 3
    assert (home / "new" / "batch.json").exists()


def test_results_of_rows_that_are_gone_are_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_rows(home / "t.csv", [{"name": "b", "fixed": "b_EM.tif", "moving": "b_LM.tif", **HASTY}])
    assert again(home) == 3
    assert "results holds a of rows that the table no longer has" in capsys.readouterr().err
    assert (home / "out" / RESULTS / "a" / RECORD).exists()


def test_recipe_of_the_command_is_meant_from_where_it_is_called(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import correlight

    write_rows(home / "t.csv", [{"name": "c", "fixed": "a_EM.tif", "moving": "a_LM.tif", "grid": "none"}])
    elsewhere = home / "recipes"
    elsewhere.mkdir()
    shutil.copy(Path(correlight.__file__).parent / "recipes" / "fiducials.toml", elsewhere / "mine.toml")
    monkeypatch.chdir(elsewhere)
    words = ["batch", "../t.csv", "-o", "../new", "--shard", "1/1"]
    assert cli.main([*words, "--recipe", "mine.toml"]) == 3
    assert "refused" in capsys.readouterr().out
    assert json.loads((home / "new" / "batch.json").read_text())["rows"][0]["cells"]["recipe"] == "recipes/mine.toml"
    for wrong in ("nonsense", "none.toml"):
        assert cli.main(["batch", "../t.csv", "-o", "../none", "--recipe", wrong]) == 2
        assert wrong in capsys.readouterr().err
        assert not (home / "none").exists()


def test_a_summary_that_cannot_be_written_says_so(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "out" / "summary.html").unlink()
    (home / "out" / "summary.html").mkdir()
    assert cli.main(["batch", "--collect", str(home / "out")]) == 2
    said = capsys.readouterr().err
    assert "rows that are complete stay so" in said
    assert said.count("\n") == 1
    assert len(list((home / "out" / RESULTS).glob("*/result.json"))) == 2
