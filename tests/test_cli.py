"""The command line keeps its contract: what it hands on, what it says, how it ends."""

import ast
import errno
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight import __version__, cli
from correlight.errors import UsageError
from correlight.evidence.verdict import Status
from correlight.exchange.table import read_points, write_points
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.io import read, write_tiff
from correlight.landmarks.tables import PointTable
from correlight.output import folder as folders
from correlight.output.asked import interval
from correlight.registration.result import Result
from tests.known_pair import MOVING_FROM_FIXED, known_result, write_images


class Road:
    """Stands in for the registration, which has tests of its own: notes what it is asked and answers with the truth."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}
        self.status: Status = "accepted"
        self.error: BaseException | None = None

    def __call__(self, fixed: Image, moving: Image, recipe: str = "auto", **options: Any) -> Result:
        self.asked = {"fixed": fixed, "moving": moving, "recipe": recipe, **options}
        if self.error is not None:
            raise self.error
        options["progress"]("search", 0.5)
        return known_result(fixed, moving, self.status)


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    stand_in = Road()
    monkeypatch.setitem(sys.modules, "correlight.registration.register", SimpleNamespace(register=stand_in))
    return stand_in


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two images."""
    write_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


IMAGES = ("fixed.ome.tif", "moving.ome.tif")
Sentence = Callable[[], str]


@pytest.fixture
def sentence(capsys: pytest.CaptureFixture[str]) -> Sentence:
    """What stands on standard error, which must be one sentence."""

    def read_it() -> str:
        said = capsys.readouterr().err
        assert said.startswith("correlight: ")
        assert said.endswith(".\n")
        assert said.count("\n") == 1
        assert not re.search(r"\. [A-Z]", said), "more than one sentence"
        return said

    return read_it


@pytest.mark.parametrize(("status", "code"), [("accepted", 0), ("doubtful", 3), ("refused", 3)])
def test_the_exit_code_is_the_verdict(
    status: Status, code: int, road: Road, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    road.status = status
    assert cli.main(["register", *IMAGES, "-o", "out"]) == code
    assert json.loads((home / "out" / "result.json").read_text())["status"] == status
    assert (home / "out" / "registered.ome.tif").exists() == (status != "refused")
    said = capsys.readouterr()
    assert status.capitalize() in said.out
    assert "report.html" in said.out
    assert said.err == ""


@pytest.mark.parametrize(
    ("words", "codes"),
    [
        (["--fail-on", "doubtful"], (0, 3, 3)),
        (["--fail-on", "refused"], (0, 0, 3)),
        (["--fail-on", "never"], (0, 0, 0)),
        (["--exit-zero"], (0, 0, 0)),
    ],
    ids=["doubtful", "refused", "never", "zero"],
)
def test_pipelines_say_which_verdicts_stop_them(
    words: list[str], codes: tuple[int, ...], road: Road, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    statuses: tuple[Status, ...] = ("accepted", "doubtful", "refused")
    for road.status, code in zip(statuses, codes, strict=True):
        assert cli.main(["register", *IMAGES, "-o", road.status, "--grid", "none", *words]) == code
    moved = ["apply", "refused", IMAGES[1], "--like", IMAGES[0], "-o", "moved.tif", *words]
    assert cli.main(moved) == codes[2], capsys.readouterr().err
    # What cannot be read stops everybody.
    assert cli.main(["register", "none.tif", IMAGES[1], "-o", "out", *words]) == 2


def test_without_options_nothing_is_narrowed(road: Road, home: Path) -> None:
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 0
    asked = {key: value for key, value in road.asked.items() if key not in ("fixed", "moving", "progress")}
    assert asked == {
        "recipe": "auto",
        "model": None,
        "fixed_channel": None,
        "moving_channel": None,
        "roi": None,
        "start": None,
        "rotation": None,
        "scale": None,
        "stretch": None,
        "mirror": True,
        "pose": None,
        "predictor": None,
        "seed": 0,
        "workers": None,
    }
    assert road.asked["fixed"].grid.unit == "micrometre"
    assert road.asked["moving"].grid.unit == "pixel"


@pytest.mark.parametrize("name", ["features.tif", "features.npy"])
def test_features_of_an_image_are_written(
    name: str, road: Road, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["features", IMAGES[0], "-o", name]) == 0
    made = np.load(home / name) if name.endswith("npy") else tifffile.imread(home / name)
    assert made.shape == (16, 24, 32)
    assert made.std() > 0.01
    if name.endswith("tif"):
        with tifffile.TiffFile(home / name) as file:
            size = re.search(r'PhysicalSizeX="([\d.]+)"', file.ome_metadata or "")
        assert size
        assert float(size[1]) == pytest.approx(4 * read(home / IMAGES[0]).grid.spacing[1])


def test_features_go_into_files_that_hold_many_channels(road: Road, home: Path, sentence: Sentence) -> None:
    assert cli.main(["features", IMAGES[0], "-o", "features.png"]) == 2
    assert ".tif or .npy" in sentence()
    assert not (home / "features.png").exists()


def test_every_option_reaches_the_road(road: Road, home: Path) -> None:
    mask = np.ones((96, 128), np.uint8)
    mask[:10] = 0
    write_tiff(home / "mask.tif", mask, Grid.of(mask.shape))
    arguments = [
        *("register", *IMAGES, "--output", "out", "--recipe", "fiducials", "--model", "affine", "--fixed-channel", "0"),
        *("--moving-channel", "other", "--fixed-spacing", "0.5", "--moving-spacing", "2", "--fixed-mask", "mask.tif"),
        *("--roi", "10,90,5,100", "--rotation", "-20..30.5", "--scale", "0.5..2", "--no-mirror", "--pose", "3"),
        *("--seed", "7", "--grid", "none"),
    ]
    assert cli.main(arguments) == 0
    asked = road.asked
    assert asked["recipe"] == "fiducials"
    assert asked["model"] == "affine"
    assert (asked["fixed_channel"], asked["moving_channel"]) == ("0", "other")
    assert (asked["fixed"].grid.spacing, asked["moving"].grid.spacing) == ((0.5, 0.5), (2, 2))
    assert np.array_equal(asked["fixed"].valid(), mask.astype(bool))
    assert asked["roi"] == (10, 90, 5, 100)
    assert (asked["rotation"], asked["scale"], asked["mirror"]) == ((-20, 30.5), (0.5, 2), False)
    assert (asked["pose"], asked["seed"]) == (3, 7)
    assert not (home / "out" / "registered.ome.tif").exists()


def test_a_start_may_be_a_transform_or_landmarks(road: Road, home: Path) -> None:
    assert cli.main(["register", *IMAGES, "-o", "first"]) == 0
    assert cli.main(["register", *IMAGES, "-o", "second", "--start", "first/moving_from_fixed.tfm"]) == 0
    assert np.array_equal(road.asked["start"].matrix, MOVING_FROM_FIXED.matrix)
    assert cli.main(["register", *IMAGES, "-o", "again", "--start", "first"]) == 0
    assert np.array_equal(road.asked["start"].matrix, MOVING_FROM_FIXED.matrix)
    fixed = np.array([[10, 20], [80, 30], [50, 110.0]])
    moving = MOVING_FROM_FIXED(fixed * 0.02)
    rows = [f"p,{','.join(repr(float(v)) for v in (*f, *m))}" for f, m in zip(fixed, moving, strict=True)]
    (home / "clicks.csv").write_text("\n".join(["name,fixed_y,fixed_x,moving_y,moving_x", *rows]))
    assert cli.main(["register", *IMAGES, "-o", "third", "--start", "clicks.csv"]) == 0
    assert road.asked["start"].matrix == pytest.approx(MOVING_FROM_FIXED.matrix, abs=1e-9)


def test_one_or_two_clicks_are_handed_on_as_they_are(
    road: Road, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["a,10,20,30,40", "b,80,30,90,50"]
    for count in (1, 2):
        (home / "clicks.csv").write_text("\n".join(["name,fixed_y,fixed_x,moving_y,moving_x", *rows[:count]]))
        assert cli.main(["register", *IMAGES, "-o", f"out{count}", "--start", "clicks.csv"]) == 0
        assert "clicks.csv states no unit, so its numbers are taken for pixels" in capsys.readouterr().err
        start = road.asked["start"]
        # The fixed image has pixels of 0.02 µm, the moving one no calibration.
        assert start.fixed == pytest.approx(np.array([[0.2, 0.4], [1.6, 0.6]])[:count])
        assert start.moving.tolist() == [[30, 40], [90, 50]][:count]


def test_the_same_call_writes_the_same_transform_and_pixels(road: Road, home: Path) -> None:
    for out in ("a", "b"):
        assert cli.main(["register", *IMAGES, "-o", out]) == 0
    for name in ("moving_from_fixed.tfm", "result.json", "overlay.png"):
        assert (home / "a" / name).read_bytes() == (home / "b" / name).read_bytes()
    # Every OME-TIFF has an identifier of its own, so these are the same in their pixels only.
    for name in ("registered.ome.tif", "footprint.tif", "predicted_error.tif"):
        assert np.array_equal(tifffile.imread(home / "a" / name), tifffile.imread(home / "b" / name))


BAD = [
    (["register"], "requires an argument"),
    (["register", *IMAGES], "requires an argument"),
    (["register", *IMAGES, "extra", "-o", "out"], "extra"),
    (["register", *IMAGES, "-o", "out", "--nonsense", "3"], "--nonsense"),
    (["recipe"], "Unknown command"),
    (["register", *IMAGES, "-o", "out", "--rotation", "nonsense"], "--rotation expects two numbers"),
    (["register", *IMAGES, "-o", "out", "--rotation", "30"], "--rotation expects two numbers"),
    (["register", *IMAGES, "-o", "out", "--rotation", "30..-30"], "ascending"),
    (["register", *IMAGES, "-o", "out", "--rotation", "0..1e999"], "--rotation expects"),
    (["register", *IMAGES, "-o", "out", "--scale", "-1..2"], "--scale expects two positive"),
    (["register", *IMAGES, "-o", "out", "--rotation", "-1e308..1e308"], "from -360 to 360"),
    (["register", *IMAGES, "-o", "out", "--scale", "1e-300..1e300"], "from 0.001 to 1000"),
    (["pair", *IMAGES, "-o", "out", "--rotation", "-400..0"], "from -360 to 360"),
    (["register", *IMAGES, "-o", "out", "--grid", "1e-300"], "at most 4,294,967,296 are written"),
    (["register", *IMAGES, "-o", "out", "--grid", "0.00001"], "at most 4,294,967,296 are written"),
    (["register", *IMAGES, "-o", "out", "--roi", "1,2,3"], "--roi expects"),
    (["register", *IMAGES, "-o", "out", "--roi", "9,2,3,8"], "--roi expects"),
    (["register", *IMAGES, "-o", "out", "--fixed-spacing", "-1"], "--fixed-spacing expects a positive"),
    (["register", *IMAGES, "-o", "out", "--moving-spacing", "nan"], "--moving-spacing expects a positive"),
    (["register", *IMAGES, "-o", "out", "--moving-spacing", "small"], "--moving-spacing"),
    (["register", *IMAGES, "-o", "out", "--grid", "fine"], "--grid expects"),
    (["register", *IMAGES, "-o", "out", "--grid", "-0.1"], "--grid expects"),
    (["register", *IMAGES[::-1], "-o", "out", "--grid", "0.1"], "states no pixel size"),
    (["register", *IMAGES, "-o", "out", "--pose", "0"], "counted from 1"),
    (["register", *IMAGES, "-o", "out", "--seed", "-4"], "whole number from 0"),
    (["register", *IMAGES, "-o", "out", "--seed", "x"], "--seed"),
    (["register", *IMAGES, "-o", "out", "--pose", "1.9"], "--pose: a whole number was expected; got '1.9'"),
    (["register", *IMAGES, "-o", "out", "--fixed-time", "0.6"], "--fixed-time: a whole number was expected"),
    (["register", *IMAGES, "-o", "out", "--exit-zero", "--fail-on", "refused"], "contradict each other"),
    (["register", *IMAGES, "-o", "out", "--fail-on", "always"], "--fail-on"),
    (["register", "none.tif", IMAGES[1], "-o", "out"], "none.tif"),
    (["register", *IMAGES, "-o", "out", "--fixed-mask", "none.tif"], "none.tif"),
    (["register", *IMAGES, "-o", "out", "--fixed-mask", IMAGES[1]], "shape"),
    (["register", *IMAGES, "-o", "out", "--start", "none.tfm"], "none.tfm"),
    (["register", *IMAGES, "-o", "out", "--start", "line.csv"], "line.csv gives no start"),
    (["register", *IMAGES, "-o", "kept"], "exists"),
    (["register", *IMAGES, "-o", "kept", "--overwrite"], "no earlier result"),
    (["register", *IMAGES, "-o", "none/out"], "make that one first"),
    (["register", *IMAGES, "-o", "fixed.ome.tif/out"], "is no folder"),
    (["register", *IMAGES, "-o", "/proc/out"], "cannot be made"),
    (["apply", "none.tfm", IMAGES[1], "--like", IMAGES[0], "-o", "out.tif"], "none.tfm"),
    (["apply", "none.tfm", IMAGES[1], "-o", "out.tif"], "--like"),
    (["apply", "none.tfm", IMAGES[1], "--like", IMAGES[0], "-o", "out.tif", "--order", "cubic"], "--order"),
    (["demo", "-o", "kept"], "exists"),
    (["demo", "-o", "out", "--seed", "-1"], "whole number"),
    (["demo", "-o", "out", "--kind", "cheese"], "--kind"),
]


@pytest.mark.parametrize(("arguments", "words"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_misuse_ends_in_one_sentence_and_nothing_written(
    arguments: list[str], words: str, road: Road, home: Path, sentence: Sentence
) -> None:
    (home / "kept").mkdir()
    (home / "kept" / "thesis.txt").write_text("years of work")
    (home / "line.csv").write_text("fixed_y,fixed_x,moving_y,moving_x\n1,1,1,1\n1,1,2,2\n")
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    assert cli.main(arguments) == 2
    assert words in sentence()
    assert road.asked == {}
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before


@pytest.mark.parametrize(
    ("recipe", "model", "known"),
    [
        ("fiducials", "elastic", "rigid, similarity, affine, projective"),
        ("auto", "round", "rigid, similarity, affine, projective, elastic"),
    ],
)
def test_a_model_that_the_recipe_does_not_know_is_refused(
    recipe: str, model: str, known: str, home: Path, sentence: Sentence
) -> None:
    assert cli.main(["register", *IMAGES, "-o", "out", "--recipe", recipe, "--model", model]) == 2
    assert f"is one of {known}; got '{model}'" in sentence()
    assert not (home / "out").exists()


def test_only_the_command_line_names_its_options() -> None:
    """Messages of the core are read in Python and napari, too."""
    home = Path(cli.__file__).parents[1]
    words = {}
    for path in home.rglob("*.py"):
        if home / "cli" not in path.parents and path.name != "__main__.py":
            strings = [node.value for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Constant)]
            words[path] = [text for text in strings if isinstance(text, str) and re.search(r"--[a-z]", text)]
    words |= {path: re.findall(r"<code>--[a-z]+", path.read_text()) for path in home.rglob("*.j2")}
    assert len(words) > 100
    assert {path: found for path, found in words.items() if found} == {}


def test_a_sentence_names_the_options_that_do_what_it_says(road: Road, home: Path, sentence: Sentence) -> None:
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 0
    write_tiff(home / "other.tif", np.arange(6400, dtype=np.uint16).reshape(80, 80), Grid.of((80, 80)))
    assert cli.main(["apply", "out", IMAGES[1], "--like", "other.tif", "-o", "a.tif"]) == 2
    assert "give a pixel size for the fixed image (--fixed-spacing)" in sentence()
    spaced = ["apply", "out", IMAGES[1], "--like", IMAGES[0], "-o", "a.tif", "--moving-spacing", "1"]
    assert cli.main(spaced) == 2
    assert "give none for the moving image (no --moving-spacing)" in sentence()
    assert cli.main(["features", IMAGES[0], "-o", "a.npy", "--at", "1"]) == 2
    assert "choose a smaller pixel size to work at (--at)" in sentence()


def test_a_bad_image_ends_in_one_sentence(road: Road, home: Path, sentence: Sentence) -> None:
    (home / "empty.tif").write_bytes(b"")
    (home / "text.tif").write_text("not an image")
    (home / "cut.tif").write_bytes((home / "fixed.ome.tif").read_bytes()[:700])
    np.save(home / "nan.npy", np.full((64, 64), np.nan))
    np.save(home / "blank.npy", np.full((64, 64), 7))
    np.save(home / "tiny.npy", np.arange(100).reshape(10, 10))
    for name in ("empty.tif", "text.tif", "cut.tif", "nan.npy", "blank.npy", "tiny.npy"):
        assert cli.main(["register", "fixed.ome.tif", name, "-o", "out"]) == 2
        assert name in sentence()
        assert not list(home.glob("*out*"))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("There is no channel 7; this image has 0 (stain)."), 2),
        (MemoryError(), 1),
        (OSError(errno.EIO, "Input/output error"), 1),
        (ZeroDivisionError("division by zero"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_failure_has_its_code_and_leaves_nothing(
    error: BaseException, code: int, road: Road, home: Path, sentence: Sentence
) -> None:
    road.error = error
    assert cli.main(["register", *IMAGES, "-o", "out"]) == code
    assert "Traceback" not in sentence()
    assert not list(home.glob("*out*"))


def test_an_internal_error_shows_where_on_request(road: Road, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    road.error = ZeroDivisionError("division by zero")
    monkeypatch.setenv("CORRELIGHT_DEBUG", "1")
    with pytest.raises(ZeroDivisionError):
        cli.main(["register", *IMAGES, "-o", "out"])


def test_a_full_disk_is_the_machine_and_not_the_user(
    road: Road, home: Path, sentence: Sentence, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(folders, "write_report", full)
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 1
    assert "No space left on device" in sentence()
    assert not list(home.glob("*out*"))


def test_an_earlier_result_is_replaced_on_request_only(road: Road, home: Path, sentence: Sentence) -> None:
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 0
    road.status = "doubtful"
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 2
    assert "--overwrite" in sentence()
    assert json.loads((home / "out" / "result.json").read_text())["status"] == "accepted"
    assert cli.main(["register", *IMAGES, "-o", "out", "--overwrite"]) == 3
    assert json.loads((home / "out" / "result.json").read_text())["status"] == "doubtful"
    assert not list(home.glob(".*"))


def test_apply_moves_pictures_and_points(road: Road, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    road.status = "doubtful"
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 3
    capsys.readouterr()
    assert cli.main(["apply", "out", IMAGES[1], "--like", IMAGES[0], "-o", "moved.ome.tif"]) == 0
    said = capsys.readouterr()
    assert said.out.split() == ["moved.ome.tif", "moved_footprint.tif"]
    assert "doubtful" in said.err
    moved, kept = (read(home / name).levels[0] for name in ("moved.ome.tif", "out/registered.ome.tif"))
    assert np.array_equal(np.asarray(moved), np.asarray(kept))
    write_points(home / "in.csv", PointTable(("a",), MOVING_FROM_FIXED(np.array([[0.4, 0.6]])), "pixel"))
    assert cli.main(["apply", "out/moving_from_fixed.tfm", "in.csv", "--like", IMAGES[0], "-o", "moved.csv"]) == 0
    assert read_points(home / "moved.csv").points == pytest.approx(np.array([[20.0, 30.0]]), abs=1e-9)


@pytest.mark.parametrize("flag", [["--labels"], ["--order", "nearest"]])
def test_apply_keeps_labels(flag: list[str], road: Road, home: Path) -> None:
    labels = np.full((120, 140), 5, np.uint8)
    labels[30:60, 40:90] = 200
    write_tiff(home / "labels.tif", labels, Grid.of(labels.shape))
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 0
    assert cli.main(["apply", "out", "labels.tif", "--like", IMAGES[0], "-o", "moved.tif", *flag]) == 0
    assert set(np.unique(np.asarray(read(home / "moved.tif").levels[0]))) == {0, 5, 200}


def test_help_and_version_end_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == __version__
    assert cli.main(["register", "--help"]) == 0
    help_text = capsys.readouterr().out
    for option in (
        *("--output", "-o", "--recipe", "--model", "--fixed-channel", "--moving-channel", "--fixed-spacing"),
        *("--moving-spacing", "--fixed-mask", "--moving-mask", "--roi", "--start", "--rotation", "--scale"),
        *("--no-mirror", "--pose", "--grid", "--seed", "--overwrite"),
    ):
        assert option in help_text


def test_the_demo_measures_against_the_truth(
    road: Road, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["demo", "-o", "out", "--kind", "grains", "--seed", "5"]) == 0
    truth = np.array(json.loads((tmp_path / "out" / "truth.json").read_text())["moving_from_fixed"]["micrometre"])
    fixed = read(tmp_path / "out" / "fixed.ome.tif").grid
    points = np.column_stack([fixed.lattice(10), np.ones(100)])
    apart = np.linalg.norm((points @ (MOVING_FROM_FIXED.matrix - truth).T)[:, :2], axis=1)
    apart /= np.sqrt(abs(np.linalg.det(truth[:2, :2])))
    said = capsys.readouterr().out
    assert f"mean {apart.mean():.3g} µm" in said
    assert f"largest {apart.max():.3g} µm" in said
    record = json.loads((tmp_path / "out" / "result" / "result.json").read_text())
    assert record["fixed"]["path"] == str(Path("out") / "fixed.ome.tif")
    assert str(Path("out") / "result" / "report.html") in said
    assert cli.main(["demo", "-o", "out"]) == 2
    assert cli.main(["demo", "-o", "out", "--kind", "grains", "--overwrite"]) == 0
    assert json.loads((tmp_path / "out" / "truth.json").read_text())["seed"] == 1


@pytest.mark.parametrize(
    ("text", "expected"), [("-10..10", (-10, 10)), (" .5 .. 1e1 ", (0.5, 10)), ("0...5", (0, 0.5)), ("3..3", (3, 3))]
)
def test_intervals_are_read(text: str, expected: tuple[float, float]) -> None:
    assert interval(text, "--rotation", (-360.0, 360.0)) == expected


def heard() -> None:
    """Undo what a shell does to programs in the background, and to the tests if they run there."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


PROGRAM = "import sys; from correlight.cli import main; sys.exit(main())"


@pytest.mark.parametrize(
    ("name", "code", "word"),
    [("SIGINT", 130, "Interrupted"), ("SIGTERM", 143, "Terminated"), ("SIGHUP", 129, "Hung up")],
)
@pytest.mark.parametrize("times", [1, 3])
def test_a_signal_leaves_nothing_behind(name: str, code: int, word: str, times: int, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "demo", "-o", "out"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=heard,
    )
    with process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob(".*.partial")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        for _ in range(times):
            process.send_signal(getattr(signal, name))
            time.sleep(0.03)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code
    assert said.decode() == f"correlight: {word}; nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("delay", [0.0, 0.1, 0.3])
def test_a_signal_while_the_program_is_loaded_shows_no_traceback(delay: float, tmp_path: Path) -> None:
    """The first line says that Python itself is up; before, no program can answer."""
    code = "import sys; from correlight import cli; h = cli._hear; m = cli.main\n"
    code += "cli._hear = lambda f: (h(f), print('up', flush=True))[0]; sys.exit(m())"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "demo", "-o", "out"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=heard,
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.decode() == "correlight: Interrupted; nothing was written.\n"
    assert list(tmp_path.iterdir()) == []


def test_signals_that_are_to_be_ignored_are_ignored(tmp_path: Path) -> None:
    """As under nohup, which starts programs with the signal of a closed terminal ignored."""
    code = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n{PROGRAM}"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "demo", "-o", "out", "--kind", "grains"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        preexec_fn=heard,
    )
    with process:
        while not list(tmp_path.glob(".*.partial")) and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 143


@pytest.mark.parametrize("closed", ["1", "2", "1 2", "0 1 2"])
def test_closed_streams_are_no_failure(closed: str, tmp_path: Path) -> None:
    """As with ``correlight ... >&-``; no file of ours may take the number of a stream either."""
    (tmp_path / "a.txt").write_text("1 0 2\n0 1 3\n0 0 1\n")
    ends = " ".join(f"{number}>&-" for number in closed.split())
    line = f'"{sys.executable}" -c "{PROGRAM}" convert --from matrix a.txt b.json {ends}'
    done = subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stderr == b""
    json.loads((tmp_path / "b.json").read_text())


def test_the_verdict_is_the_code_even_if_nobody_reads_the_words(
    road: Road, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    road.status = "doubtful"
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w", buffering=1) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert cli.main(["register", *IMAGES, "-o", "out"]) == 3
    assert (home / "out" / "result.json").is_file()


def test_an_input_that_cannot_be_read_is_the_one_that_is_named(road: Road, home: Path, sentence: Sentence) -> None:
    road.error = PermissionError(errno.EACCES, "Permission denied", str(home / IMAGES[0]))
    assert cli.main(["register", *IMAGES, "-o", "out"]) == 2
    said = sentence()
    assert f"{IMAGES[0]} could not be read (Permission denied)" in said
    assert "could not be written" not in said
    assert not (home / "out").exists()


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path: Path, unbuffered: str) -> None:
    """As with ``correlight convert ... | head -0``, whether the pipe breaks while something is said or at the end."""
    (tmp_path / "a.txt").write_text("1 0 2\n0 1 3\n0 0 1\n")
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "convert", "--from", "matrix", "a.txt", "b.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(60) == 0
    assert (tmp_path / "b.json").stat().st_size > 0


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float16])
def test_pixels_that_cannot_be_written_are_refused_before_the_work(
    dtype: Any, road: Road, home: Path, sentence: Sentence
) -> None:
    np.save(home / "odd.npy", read(home / IMAGES[1]).levels[0][0].astype(dtype) // 64)
    assert cli.main(["register", IMAGES[0], "odd.npy", "-o", "out"]) == 2
    assert f"got {np.dtype(dtype).name}, convert them first" in sentence()
    assert road.asked == {}
    assert cli.main(["register", IMAGES[0], "odd.npy", "-o", "out", "--grid", "none"]) == 0
