"""Which part of a file the commands read, what they say about it, and inputs that change while they run."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight import cli
from correlight.errors import ReadError
from correlight.images.image import Image
from correlight.output import pair_search
from correlight.output.apply import Member, apply, apply_session
from correlight.output.pair import PreparedPair
from correlight.registration.result import Result
from correlight.transforms import Affine
from tests.known_pair import MOVING_FROM_FIXED, SHAPE, known_result, texture

MOVING_SHAPE = 120, 140


def scenes(path: Path, shape: tuple[int, int], seed: int, spacing: float | None) -> list[np.ndarray]:
    """An OME-TIFF of two images, "overview" and "detail", each a time series of two frames."""
    made = [np.stack([texture(shape, seed + 2 * scene + frame) for frame in (0, 1)]) for scene in (0, 1)]
    size = {} if spacing is None else {"PhysicalSizeX": spacing, "PhysicalSizeY": spacing}
    with tifffile.TiffWriter(path, ome=True) as file:
        for name, pixels in zip(("overview", "detail"), made, strict=True):
            file.write(pixels, metadata={"axes": "TYX", "Name": name, **size})
    return made


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two files of two scenes each."""
    scenes(tmp_path / "fixed.ome.tif", SHAPE, 1, 0.02)
    scenes(tmp_path / "moving.ome.tif", MOVING_SHAPE, 5, None)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What reaches the registration and the making of a pair, in place of which the truth is answered.

    ``meanwhile`` is called as if it were the progress of the work.
    """
    seen: dict[str, Any] = {"meanwhile": lambda: None}

    def register(fixed: Image, moving: Image, recipe: str = "auto", **options: Any) -> Result:
        seen.update(fixed=fixed, moving=moving)
        seen["meanwhile"]()
        return known_result(fixed, moving)

    def prepare(fixed: Image, moving: Image, **options: Any) -> PreparedPair:
        seen.update(fixed=fixed, moving=moving)
        seen["meanwhile"]()
        cut = Image.from_array(np.asarray(fixed.levels[0]), spacing=fixed.grid.spacing[0])
        truth = Affine(MOVING_FROM_FIXED.matrix)
        tried = (1.5, 16.0), (-8.0, 8.0)
        return PreparedPair(fixed, cut, truth, 1.2, None, moving.channels[0], 9.0, 1, "grey", 1.0, *tried)

    monkeypatch.setitem(sys.modules, "correlight.registration.register", SimpleNamespace(register=register))
    monkeypatch.setattr(pair_search, "find_pair", prepare)
    return seen


IMAGES = "fixed.ome.tif", "moving.ome.tif"
CHOSEN = ["--fixed-scene", "detail", "--fixed-time", "1", "--moving-series", "1"]
NOTES = [
    "correlight: note on fixed.ome.tif: the file holds 2 images, 0 (overview, 96 x 128), 1 (detail, 96 x 128); "
    "number 1 is read.",
    "correlight: note on fixed.ome.tif: the file holds 2 frames of a time series; number 1 is read.",
    "correlight: note on moving.ome.tif: the file holds 2 images, 0 (overview, 120 x 140), 1 (detail, 120 x 140); "
    "number 1 is read.",
    "correlight: note on moving.ome.tif: the file holds 2 frames of a time series; the first is read.",
]


@pytest.mark.parametrize("command", ["register", "pair"])
def test_a_part_of_each_file_is_chosen_and_said(
    command: str, home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, *IMAGES, "-o", "out", *CHOSEN]) == 0
    assert np.array_equal(seen["fixed"].levels[0][0], texture(SHAPE, 4))
    assert np.array_equal(seen["moving"].levels[0][0], texture(MOVING_SHAPE, 7))
    assert capsys.readouterr().err.splitlines() == NOTES
    record = json.loads((home / "out" / ("pair.json" if command == "pair" else "result.json")).read_text())
    assert record["fixed"]["part"] == {"scene": "detail", "time": 1}
    assert record["moving"]["part"] == {"series": 1}


@pytest.mark.parametrize("command", ["register", "pair"])
def test_one_choice_concerns_both_files_and_that_of_one_file_goes_before(
    command: str, home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, *IMAGES, "-o", "out", "--series", "1", "--page", "1", "--moving-time", "0"]) == 0
    assert np.array_equal(seen["fixed"].levels[0][0], texture(SHAPE, 4))
    assert np.array_equal(seen["moving"].levels[0][0], texture(MOVING_SHAPE, 7))
    assert [line.rpartition("; ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "number 1 is read.",
        "number 1 is read.",
        "number 1 is read.",
        "number 0 is read.",
    ]
    record = json.loads((home / "out" / ("pair.json" if command == "pair" else "result.json")).read_text())
    assert record["fixed"]["part"] == {"series": 1, "time": 1}
    assert record["moving"]["part"] == {"series": 1, "time": 0}


def test_one_choice_concerns_the_file_that_holds_several(
    home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    tifffile.imwrite("alone.tif", texture(SHAPE, 4))
    for images, role in ((("alone.tif", IMAGES[1]), "moving"), ((IMAGES[0], "alone.tif"), "fixed")):
        assert cli.main(["register", *images, "-o", role, "--scene", "detail", "--time", "1"]) == 0
        record = json.loads((home / role / "result.json").read_text())
        parts = {which: record["asked"][f"{which}_part"] for which in ("fixed", "moving")}
        assert parts == {"fixed": {}, "moving": {}, role: {"scene": "detail", "time": 1}}
        assert "part" not in record["asked"]
    capsys.readouterr()
    for option, value, words in (
        ("--scene", "attic", f"no scene 'attic' in {IMAGES[1]}; it has 0 (overview"),
        ("--view", "1", "no choice of a view in alone.tif"),
    ):
        assert cli.main(["register", "alone.tif", IMAGES[1], "-o", "none", option, value]) == 2
        said = capsys.readouterr().err
        assert words in said
        assert said.count("\n") == 1
    assert cli.main(["register", "alone.tif", "alone.tif", "-o", "none", "--page", "3"]) == 2
    assert "no frame 3 in alone.tif; it has 1, counted from 0" in capsys.readouterr().err
    assert not (home / "none").exists()


def test_what_is_read_without_being_asked_for_is_said(
    home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 4
    assert all(line.endswith("the first is read.") for line in said)


@pytest.mark.parametrize("command", ["register", "pair"])
def test_a_part_that_is_not_there_is_refused(
    command: str, home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    for option, value, words in (
        ("--fixed-scene", "attic", "no scene 'attic' in fixed.ome.tif; it has 0 (overview, 96 x 128)"),
        ("--moving-time", "2", "no frame 2 in moving.ome.tif"),
        ("--moving-series", "-1", "counted from 0"),
        ("--fixed-view", "V=1,H=0", "no choice of a view in fixed.ome.tif"),
    ):
        assert cli.main([command, *IMAGES, "-o", "out", option, value]) == 2
        assert words in capsys.readouterr().err
        assert "fixed" not in seen
        assert not (home / "out").exists()


def test_landmarks_are_set_in_the_part_that_is_chosen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fixed = np.array([[10, 20], [80, 30], [50, 110], [70, 60], [20, 90.0]])
    moving = MOVING_FROM_FIXED(fixed * 0.02)
    rows = [f"{n},{','.join(repr(float(v)) for v in (*fixed[n], *moving[n]))},px" for n in range(len(fixed))]
    (home / "clicks.csv").write_text("\n".join(["name,fixed_y,fixed_x,moving_y,moving_x,unit", *rows]))
    sides = ["--fixed", IMAGES[0], "--moving", IMAGES[1]]
    assert cli.main(["landmarks", "clicks.csv", *sides, "-o", "out", *CHOSEN]) in (0, 3)
    assert capsys.readouterr().err.splitlines() == NOTES


def test_features_of_the_part_that_is_chosen(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["features", IMAGES[0], "-o", "a.npy", "--scene", "1", "--time", "1"]) == 0
    assert capsys.readouterr().err.splitlines() == NOTES[:2]
    assert cli.main(["features", IMAGES[0], "-o", "c.npy", "--scene", "1", "--page", "1"]) == 0
    assert np.array_equal(np.load(home / "a.npy"), np.load(home / "c.npy"))
    tifffile.imwrite(home / "alone.tif", texture(SHAPE, 4))
    assert cli.main(["features", "alone.tif", "-o", "b.npy"]) == 0
    assert np.array_equal(np.load(home / "a.npy"), np.load(home / "b.npy"))


def test_apply_moves_the_part_that_is_chosen(
    home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["register", *IMAGES, "-o", "out", *CHOSEN]) == 0
    capsys.readouterr()
    sides = ["apply", "out", IMAGES[1], "--like", IMAGES[0]]
    assert cli.main([*sides, "-o", "same.tif", *CHOSEN]) == 0
    assert capsys.readouterr().err.splitlines() == NOTES
    registered = tifffile.imread(home / "out" / "registered.ome.tif")
    assert np.array_equal(tifffile.imread(home / "same.tif"), registered)
    assert cli.main([*sides, "-o", "other.tif", *CHOSEN[:4]]) == 0
    said = "note that series 1 of moving.ome.tif was registered, and the first image is used here."
    assert said in capsys.readouterr().err
    assert not np.array_equal(tifffile.imread(home / "other.tif"), registered)
    common = ["--scene", "1", "--time", "1", "--moving-time", "0"]
    assert cli.main([*sides, "-o", "common.tif", *common]) == 0
    assert np.array_equal(tifffile.imread(home / "common.tif"), registered)
    assert cli.main(["apply", "out", IMAGES[1], IMAGES[1], *sides[3:], "-o", "many", *common]) == 0
    assert np.array_equal(tifffile.imread(home / "many" / "moving_2.ome.tif"), registered)
    (home / "points.csv").write_text("name,unit,y,x\na,pixel,40,50\n")
    assert cli.main(["apply", "out", "points.csv", *sides[3:], "-o", "there.csv", "--scene", "1"]) == 0
    capsys.readouterr()
    assert cli.main([*sides, "-o", "none.tif", "--view", "2"]) == 2
    assert "no choice of a view in" in capsys.readouterr().err
    assert not (home / "none.tif").exists()


def test_apply_to_many_says_that_another_fixed_image_is_given(
    home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 0
    tifffile.imwrite("other.tif", texture(SHAPE, 9), ome=True, metadata={"PhysicalSizeX": 0.02, "PhysicalSizeY": 0.02})
    capsys.readouterr()
    for like, words in (
        ("other.tif", "note that other.tif is not the fixed image that was registered, but another file"),
        (IMAGES[0], f"note on {IMAGES[0]}: the file holds 2 images"),
    ):
        assert cli.main(["apply", "out", IMAGES[1], IMAGES[1], "--like", like, "-o", f"of_{like}"]) == 0
        assert words in capsys.readouterr().err


def test_apply_moves_parts_of_many(home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["register", *IMAGES, "-o", "out", *CHOSEN]) == 0
    registered = tifffile.imread(home / "out" / "registered.ome.tif")
    sides = ["--like", IMAGES[0], *CHOSEN[:4]]
    assert cli.main(["apply", "out", IMAGES[1], IMAGES[1], *sides, "-o", "two", "--moving-series", "1"]) == 0
    assert np.array_equal(tifffile.imread(home / "two" / "moving_2.ome.tif"), registered)
    (home / "many.csv").write_text(
        "image,offset_y,offset_x,series,time\nmoving.ome.tif,0,0,1,\nmoving.ome.tif,0,0,,1\n"
    )
    capsys.readouterr()
    assert cli.main(["apply", "out", "many.csv", *sides, "-o", "many"]) == 0
    assert np.array_equal(tifffile.imread(home / "many" / "moving.ome.tif"), registered)
    assert not np.array_equal(tifffile.imread(home / "many" / "moving_2.ome.tif"), registered)
    assert "number 1 is read" in capsys.readouterr().err
    assert cli.main(["apply", "out", "many.csv", *sides, "-o", "none", "--moving-series", "1"]) == 2
    assert "belongs into its columns" in capsys.readouterr().err
    (home / "many.csv").write_text("image,time\nmoving.ome.tif,first\n")
    assert cli.main(["apply", "out", "many.csv", *sides, "-o", "none"]) == 2
    assert "A whole number from 0 was expected as time in row 1" in capsys.readouterr().err


def test_names_cannot_steer_the_terminal(home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for old, new in zip(IMAGES, ("a\x1b[2J.ome.tif", "b\r\x07.ome.tif"), strict=True):
        (home / old).rename(home / new)
    assert cli.main(["register", "a\x1b[2J.ome.tif", "b\r\x07.ome.tif", "-o", "out\x1b[1m"]) == 0
    assert cli.main(["register", "none\x1b[2J.ome.tif", "b\r\x07.ome.tif", "-o", "again"]) == 2
    said = capsys.readouterr()
    assert "\\x1b[2J" in said.err
    assert not [c for c in said.out + said.err if not c.isprintable() and c != "\n"]


# ------------------------------------------------------------------------------------------- inputs that change


def unseen(path: Path) -> Callable[[], None]:
    """What changes a file so that neither its size nor its times tell."""

    def change() -> None:
        before = path.stat()
        content = bytearray(path.read_bytes())
        content[-1] ^= 1
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return change


def nothing_is_left(home: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{name} was changed while it was in use; run again" in said
    assert not list(home.glob("*out*"))
    assert not list(home.glob(".*"))


@pytest.mark.parametrize("command", ["register", "pair"])
@pytest.mark.parametrize("name", IMAGES)
def test_an_input_that_is_rewritten_during_a_run_ends_it(
    command: str, name: str, home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    seen["meanwhile"] = unseen(home / name)
    assert cli.main([command, *IMAGES, "-o", "out"]) == 2
    nothing_is_left(home, capsys, name)


def test_a_file_beside_the_input_that_is_rewritten_ends_the_run(
    home: Path, seen: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    """The pixel size is that of a text beside the image, which nobody names on the command line."""
    tifffile.imwrite(home / "a.tif", texture((40, 64), 3))
    text = home / "a.txt"
    text.write_text("[SemImageFile]\nImageName=a.tif\nDataSize=64x40\nPixelSize=9.5\n")

    def change() -> None:
        text.write_text(text.read_text().replace("9.5", "8.25"))

    seen["meanwhile"] = change
    assert cli.main(["register", "a.tif", IMAGES[1], "-o", "out"]) == 2
    assert seen["fixed"].grid.spacing == pytest.approx((0.0095, 0.0095))
    nothing_is_left(home, capsys, "a.txt")


@pytest.mark.parametrize("name", IMAGES)
@pytest.mark.parametrize("many", [False, True])
def test_an_input_that_is_rewritten_while_it_is_moved_ends_the_run(
    many: bool, name: str, home: Path, seen: dict[str, Any]
) -> None:
    assert cli.main(["register", *IMAGES, "-o", "first"]) == 0
    change = unseen(home / name)
    told: list[float] = []

    def progress(fraction: float) -> None:
        if not told:
            change()
        told.append(fraction)

    def move() -> None:
        if many:
            member = Member(home / IMAGES[1], offset=(0.0, 0.0))
            apply_session("first", (member,), IMAGES[0], "out", progress=progress)
        else:
            apply("first", IMAGES[1], IMAGES[0], "out.tif", progress=progress)

    with pytest.raises(ReadError, match=f"{name} was changed while it was in use"):
        move()
    assert told
    assert not list(home.glob("*out*"))
    assert not list(home.glob(".*"))


def test_the_demo_remembers_files_where_they_are(
    tmp_path: Path, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("correlight.simulate.pair", small_pair)
    assert cli.main(["demo", "-o", str(tmp_path / "demo")]) == 0
    for image in (seen["fixed"], seen["moving"]):
        assert [entry.path for entry in image.source["files"]] == [image.source["path"]]
        assert Path(image.source["path"]).is_file()


def small_pair(kind: str, seed: int) -> Any:
    from correlight.simulate.pair import pair

    return pair("cell", seed, electron_shape=(128, 128), light_shape=(96, 96), data_bar=False)
