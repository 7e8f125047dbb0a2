"""A result can be made again from its record, and what differs is said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from correlight import cli
from correlight.errors import UsageError
from correlight.io import read
from correlight.output.apply import read_saved
from correlight.output.convert import convert
from correlight.output.from_files import Asked, register_images
from correlight.output.manifest import write_manifest
from correlight.output.reproduce import read_recorded
from correlight.output.start import checksum_of_start, start_of_result
from correlight.output.target import reserve_files
from correlight.parsing import sha256
from tests.batch.rows import write_couple

# Quick to accept: little is searched.
QUICK = ("--rotation", "-2..2", "--scale", "0.98..1.02", "--no-mirror", "--model", "rigid", "--seed", "3")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two images and the result of their registration."""
    home = tmp_path_factory.mktemp("made")
    write_couple(home, "em.tif", "light.tif")
    (home / "runs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(home)
        assert cli.main(["register", "em.tif", "light.tif", "-o", "runs/one", *QUICK]) == 0
    return home


@pytest.fixture
def home(made: Path, tmp_path: Path) -> Path:
    """The same elsewhere, so that it may be spoilt."""
    return Path(shutil.copytree(made, tmp_path / "elsewhere"))


def edited(home: Path, change: Callable[[dict[str, Any]], object]) -> str:
    """The result with another record, which its manifest knows of."""
    record = home / "runs" / "one" / "result.json"
    content = json.loads(record.read_text())
    change(content)
    record.write_text(json.dumps(content))
    (record.parent / "manifest.json").unlink()
    write_manifest(record.parent)
    return str(record.parent)


def starts_from_everything(content: dict[str, Any]) -> None:
    # A folder that is no result: its files are not even listed.
    content["asked"]["start"] = "/"
    content["asked"]["sha256"]["start"] = "x"


def test_what_was_moved_together_is_found(home: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def absolute(content: dict[str, Any]) -> None:
        # As rows of a batch have them, whose folder has another name now.
        content["asked"].update({role: str(made / "gone" / content["asked"][role]) for role in ("fixed", "moving")})

    folder = edited(home, absolute)
    (Path(folder) / "notes.txt").write_text("mine")
    assert cli.main(["reproduce", folder]) == 0
    assert "notes.txt" in capsys.readouterr().err
    assert cli.main(["reproduce", folder, "-o", f"{folder}/again"]) == 2
    assert "cannot lie in the first" in capsys.readouterr().err
    assert not (Path(folder) / "again").exists()


def test_the_same_result_is_made_again_from_any_folder(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = json.loads((home / "runs/one/result.json").read_text())["asked"]
    assert (asked["rotation"], asked["mirror"], asked["model"], asked["seed"]) == ([-2.0, 2.0], False, "rigid", 3)
    assert set(asked["sha256"]) == {"fixed", "moving"}
    before = sorted(home.rglob("*"))
    # The files lie two folders above the result; the working folder of the test is another.
    assert cli.main(["reproduce", str(home / "runs" / "one")]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("The same result: the transforms lie at most 0 pixels")
    assert said.err == ""
    assert sorted(home.rglob("*")) == before


def test_what_differs_is_said_and_the_second_result_kept(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shift(content: dict[str, Any]) -> None:
        content["status"] = "doubtful"
        content["moving_from_fixed"]["matrix"][0][2] += 0.02

    folder = edited(home, shift)
    (Path(folder) / "overlay.png").write_bytes(b"")
    (Path(folder) / "footprint.tif").unlink()
    assert cli.main(["reproduce", folder, "-o", str(home / "again")]) == 3
    said = capsys.readouterr().out
    for words in (
        "overlay.png was changed after",
        "the verdict was doubtful and is accepted",
        "up to 0.02 pixels",
        "footprint.tif is written now and not there",
        "moving_from_fixed in result.json",
    ):
        assert words in said
    assert json.loads((home / "again" / "result.json").read_text())["status"] == "accepted"


def test_other_versions_are_said_and_may_round_otherwise(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def older(content: dict[str, Any]) -> None:
        content["versions"]["numpy"] = "1.0"
        content["confidence"] += 1e-9

    assert cli.main(["reproduce", edited(home, older)]) == 0
    said = capsys.readouterr()
    assert "The same result" in said.out
    assert "it was made with numpy 1.0, now" in said.err
    assert "confidence in result.json is not the same to the last digit" in said.err


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda home: write_couple(home, "em.tif", "x.tif", seed=9), "em.tif (fixed) holds something else"),
        (lambda home: (home / "light.tif").unlink(), "light.tif (moving) was not found"),
        (lambda home: edited(home, lambda content: content.pop("asked")), "does not hold the options of its run"),
        (lambda home: edited(home, lambda content: content["asked"].update(roi="x")), "which was changed"),
        (lambda home: edited(home, lambda content: content["asked"].update(fixed_part={"path": "x"})), "was changed"),
        (lambda home: edited(home, lambda content: content["asked"]["sha256"].update(__doc__="x")), "was changed"),
        (lambda home: edited(home, starts_from_everything), "something else"),
        (lambda home: shutil.rmtree(home / "runs"), "result.json"),
    ],
    ids=["changed", "gone", "no options", "damaged", "part", "role", "any folder", "no result"],
)
def test_what_cannot_be_run_again_is_refused_in_one_sentence(
    spoil: Callable[[Path], object], words: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil(home)
    assert cli.main(["reproduce", str(home / "runs" / "one")]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_limits_that_a_group_gives_are_on_record(home: Path) -> None:
    files = home / "em.tif", home / "light.tif"
    asked = Asked(*files, recipe="fiducials", rotation=(-2.0, 2.0), grid=0.5)
    result = register_images(asked, read(files[0]), read(files[1]), {"rotation": (0.0, 1.0), "workers": 1})
    assert result.asked is not None
    assert (result.asked["rotation"], result.asked["grid"]) == ((0.0, 1.0), 0.5)


def test_a_result_that_another_one_started_from_is_part_of_the_record(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home)
    words = ("--start", "runs/one", "--no-mirror", "--model", "rigid")
    assert cli.main(["register", "em.tif", "light.tif", "-o", "runs/two", *words]) == 0
    assert cli.main(["reproduce", "runs/two"]) == 0
    capsys.readouterr()
    (home / "runs" / "one" / "overlay.png").write_bytes(b"other")
    assert cli.main(["reproduce", "runs/two"]) == 2
    assert "holds something else" in capsys.readouterr().err


def test_a_start_is_all_files_of_its_chain(tmp_path: Path) -> None:
    last = '(Transform "File")\n(TransformFileName "a.tfm")\n'
    (tmp_path / "last.txt").write_text(last)
    sums = set()
    for shift in (1, 2):
        sitk.WriteTransform(sitk.TranslationTransform(2, (shift, 0)), str(tmp_path / "a.tfm"))
        sums |= {checksum_of_start(tmp_path / name) for name in ("last.txt", "a.tfm")}
    assert len(sums) == 4
    (tmp_path / "a.tfm").unlink()
    # What is missing is told by whoever reads it.
    assert checksum_of_start(tmp_path / "last.txt") == sha256(tmp_path / "last.txt")


def test_another_file_of_that_name_is_passed_over(home: Path) -> None:
    (home / "runs" / "em.tif").write_bytes(b"no image")
    assert read_recorded(home / "runs/one").asked.fixed == home / "em.tif"


def test_a_start_is_taken_over_into_other_pixel_sizes(home: Path) -> None:
    path, files = home / "runs/one", (home / "em.tif", home / "light.tif")
    found = read_saved(path)
    assert found.frames is not None
    pixels = found.frames.fixed.lattice(3)
    other = [read(file, spacing=0.7) for file in files]
    start, notes = start_of_result(path, *other)
    there = other[1].grid.index(start(other[0].grid.points(found.frames.fixed.index(pixels))))
    np.testing.assert_allclose(there, found.frames.moving.index(found.moving_from_fixed(pixels)), atol=1e-9)
    assert "other pixel sizes" in notes[0]
    same = [read(file) for file in files]
    assert start_of_result(path, *same)[1] == ()
    with pytest.raises(UsageError, match="the fixed image of this registration"):
        start_of_result(path, *same[::-1])


def test_a_start_that_was_refused_is_said(home: Path) -> None:
    path = Path(edited(home, lambda content: content.update(status="refused")))
    notes = start_of_result(path, read(home / "em.tif"), read(home / "light.tif"))[1]
    assert "was refused" in notes[0]


def test_no_file_of_a_result_is_replaced_alone(home: Path) -> None:
    source = home / "runs/one"
    before = {path.name: path.read_bytes() for path in source.iterdir()}
    for name in ("result.json", "overlay.png", "moving_from_fixed.tfm", "manifest.json"):
        for given in (source, home / "em.tif"):
            with (
                pytest.raises(UsageError, match="belongs to the result"),
                reserve_files(source / name, overwrite=True, inputs=[given]),
            ):
                pytest.fail("there is nothing to be written")
    with pytest.raises(UsageError, match="belongs to the result"):
        convert(source, source / "result.json", write_as="matrix", overwrite=True)
    assert {path.name: path.read_bytes() for path in source.iterdir()} == before
    # What somebody else put there may be replaced.
    for _ in range(2):
        convert(source, source / "mine.json", write_as="matrix", overwrite=True)


def test_no_file_of_an_image_in_a_folder_is_replaced(home: Path) -> None:
    (home / "image.zarr").mkdir()
    (home / "image.zarr" / "zarr.json").write_text("{}")
    with (
        pytest.raises(UsageError, match="part of the input"),
        reserve_files(home / "image.zarr" / "zarr.json", overwrite=True, inputs=[home / "image.zarr"]),
    ):
        pytest.fail("there is nothing to be written")
