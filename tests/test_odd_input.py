"""Input at the limits of what there is, through the command line: a result or one sentence, and nothing else."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from correlight import cli
from correlight.errors import TransformError, UsageError
from correlight.evidence.confidence import Findings, judge
from correlight.exchange import write_transform
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.io import read, write_tiff
from correlight.landmarks import estimate, fit
from correlight.output.apply import read_session
from correlight.output.report import pictures
from correlight.output.target import reserve
from correlight.parsing import resolved
from correlight.similarity import sample
from correlight.transforms import Affine
from tests.known_pair import texture

Run = Callable[..., tuple[int, str]]
PAIRS = "name,fixed_y,fixed_x,moving_y,moving_x,unit\n"


def image(path: Path, pixels: np.ndarray, spacing: tuple[float, float]) -> None:
    size = {"PhysicalSizeY": spacing[0], "PhysicalSizeX": spacing[1]}
    tifffile.imwrite(path, pixels, ome=True, metadata={"axes": "YX", **size})


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two images and a transform between them."""
    monkeypatch.chdir(tmp_path)
    image(tmp_path / "f.ome.tif", texture((64, 80), 1), (0.02, 0.02))
    image(tmp_path / "m.ome.tif", texture((64, 80), 2), (0.02, 0.02))
    write_transform(tmp_path / "t.tfm", Affine.similarity(0, 1.0))
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """The exit code of a command and what it said on standard error."""

    def ran(*words: str) -> tuple[int, str]:
        code = cli.main(words)
        return code, capsys.readouterr().err

    return ran


def refused(outcome: tuple[int, str], words: str) -> None:
    code, said = outcome
    assert code == 2
    assert words in said
    assert said.startswith("correlight: ")
    assert said.count("\n") == 1


def test_planes_of_one_row_can_be_sampled() -> None:
    planes = np.arange(12, dtype=np.float32).reshape(1, 1, 12)
    values, slopes = sample(planes, np.array([[0.0, 2.5], [7.0, 50.0], [-3.0, -1.0]]))
    assert values[0] == pytest.approx([2.5, 11.0, 0.0], abs=0.002)
    assert slopes[0] == pytest.approx(np.array([[0, 1], [0, 1], [0, 1]]), abs=1e-5)
    tall, _ = sample(planes.reshape(1, 12, 1), np.array([[2.5, 3.0]]))
    assert tall[0] == pytest.approx([2.5])
    volume, _ = sample(planes.reshape(1, 1, 3, 4), np.array([[4.0, 1.0, 2.0]]))
    assert volume[0] == pytest.approx([6.0])


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [
        pytest.param((64, 80), (0.001, 1.0), id="flat pixels"),
        pytest.param((33, 20_000), (0.02, 0.02), id="long"),
    ],
)
def test_images_far_from_square_are_refused_or_registered(
    shape: tuple[int, int], spacing: tuple[float, float], home: Path, run: Run
) -> None:
    image(home / "odd.ome.tif", texture(shape, 3), spacing)
    # A few of the rotations, as what goes wrong at one does so at all.
    code, said = run("register", "f.ome.tif", "odd.ome.tif", "-o", "out", "--rotation", "-2..2", "--no-mirror")
    assert (code, said) == (3, "")
    assert (home / "out" / "report.html").is_file()


def test_words_stand_on_an_image_of_three_columns() -> None:
    picture = pictures.with_banner(np.full((400, 3, 3), 200, np.uint8), "refused: the moving image could not be placed")
    assert picture.shape[0] > 400
    assert picture.shape[1] > 100
    assert (picture[-400:, :3] == 200).all()
    assert picture[:-400].max() > 100


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--scale", "1e-300..1e300"), "--scale expects numbers from 0.001 to 1000"),
        (("--rotation", "-1e308..1e308"), "--rotation expects numbers from -360 to 360"),
        (("--scale", "-1..1"), "--scale expects two positive numbers"),
        (("--fixed-spacing", "1e-7"), "from 1e-06 to 100000"),
        (("--grid", "1e-6"), "pixels"),
    ],
)
def test_options_beyond_their_limits_are_refused(option: tuple[str, str], words: str, home: Path, run: Run) -> None:
    refused(run("register", "f.ome.tif", "m.ome.tif", "-o", "out", *option), words)
    assert sorted(os.listdir(home)) == ["f.ome.tif", "m.ome.tif", "t.tfm"]


@pytest.mark.parametrize("scale", ["100..200", "0.001..0.002"])
def test_scales_at_which_nothing_overlaps_give_a_refused_result(scale: str, home: Path, run: Run) -> None:
    assert run("register", "f.ome.tif", "m.ome.tif", "-o", "out", "--scale", scale) == (3, "")


def test_the_least_pixel_size_is_written(home: Path, run: Run) -> None:
    """Tags of TIFF do not hold so many pixels per centimetre; OME-XML does."""
    write_tiff(home / "a.tif", np.ones((2, 3), np.uint8), Grid.of((2, 3), 1e-6, unit="micrometre"))
    with tifffile.TiffFile(home / "a.tif") as file:
        assert file.pages.first.tags["ResolutionUnit"].value == tifffile.RESUNIT.NONE
    code, said = run("apply", "t.tfm", "m.ome.tif", "--like", "f.ome.tif", "-o", "b.tif", "--fixed-spacing", "1e-6")
    assert (code, said) == (0, "")
    assert read(home / "b.tif").grid.spacing == pytest.approx((1e-6, 1e-6))


@pytest.mark.parametrize(
    "table", [b"image,spacing\nm.ome.tif\0,1\n", b"image,spa\0cing\nm.ome.tif,1\n", b"image\n\xff\xfe\n"]
)
def test_tables_of_images_that_are_no_text_are_refused(table: bytes, home: Path, run: Run) -> None:
    (home / "s.csv").write_bytes(table)
    refused(
        run("apply", "t.tfm", "s.csv", "--like", "f.ome.tif", "-o", "out"), "s.csv" if b"spa\0" not in table else "x00"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such pipes")
def test_a_pipe_is_no_table_of_images(home: Path) -> None:
    os.mkfifo(home / "s.csv")
    with pytest.raises(OSError, match="is a pipe"):
        read_session(home / "s.csv")


def test_links_that_lead_round_in_a_circle_are_refused(home: Path, run: Run) -> None:
    (home / "p.csv").write_text(PAIRS + "a,1,1,1,1,pixel\n")
    for ending in ("tif", "zarr", "tfm", "csv", "toml"):
        (home / f"loop.{ending}").symlink_to(f"loop.{ending}")
    images = "f.ome.tif", "m.ome.tif"
    for words in (
        ("register", "loop.tif", "m.ome.tif", "-o", "out"),
        ("register", "f.ome.tif", "loop.zarr", "-o", "out"),
        ("register", *images, "-o", "out", "--recipe", "loop.toml"),
        ("register", *images, "-o", "out", "--start", "loop.tfm"),
        ("register", *images, "-o", "loop.tif", "--overwrite"),
        ("register", *images, "-o", "loop.tif/out"),
        ("pair", "f.ome.tif", "loop.tif", "-o", "out"),
        ("landmarks", "loop.csv", "--fixed", "f.ome.tif", "--moving", "m.ome.tif", "-o", "out"),
        ("apply", "t.tfm", "loop.tif", "--like", "f.ome.tif", "-o", "out"),
        ("apply", "loop.tfm", "m.ome.tif", "--like", "f.ome.tif", "-o", "out"),
        ("apply", "t.tfm", "m.ome.tif", "--like", "f.ome.tif", "-o", "loop.tif"),
        ("convert", "t.tfm", "loop.tfm"),
        ("convert", "t.tfm", "loop.tif/x.tfm"),
        ("features", "loop.tif", "-o", "x.tif"),
    ):
        refused(run(*words), "loop.")
    assert resolved("a\0b").name == "a\0b"


def test_a_name_that_no_file_can_have_is_refused(home: Path) -> None:
    with pytest.raises(OSError, match="cannot be made"), reserve("a\0b"):
        pytest.fail("no such name")


def lines() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Landmarks that do not determine a plane, and how the sentence calls that."""
    rng, along = np.random.default_rng(0), np.linspace(10, 60, 12)
    line = np.column_stack([along, 0.5 * along + 3])
    spread = rng.uniform(5, 60, (12, 2))
    yield "on one line", line, line + 2
    yield "on one line", line, spread
    yield "on one line", spread, line
    yield "on one line", np.full((12, 2), 7.0), spread
    yield "on one line", spread * 1e-200, spread
    yield "below 1e+15", spread * 1e200, spread


@pytest.mark.parametrize("model", ["affine", "thin-plate", "elastic", "projective"])
def test_landmarks_that_determine_no_plane_are_refused(model: str) -> None:
    for words, fixed, moving in lines():
        with pytest.raises(TransformError, match=words.replace("+", r"\+")):
            estimate(fixed, moving, model)  # type: ignore[arg-type]
    with pytest.raises(TransformError, match="on one place"):
        fit(np.full((4, 2), 7.0), np.eye(4, 2), "rigid")


def test_collinear_landmarks_are_one_sentence_on_the_command_line(home: Path, run: Run) -> None:
    rows = "".join(f"p{n},{n},20,{n},22,pixel\n" for n in range(10, 60, 4))
    (home / "l.csv").write_text(PAIRS + rows)
    given = "landmarks", "l.csv", "--fixed", "f.ome.tif", "--moving", "m.ome.tif", "-o", "out", "--grid", "none"
    refused(run(*given, "--model", "elastic"), "all lie on one line")
    assert run(*given, "--model", "similarity") == (0, "")


def test_an_error_of_landmarks_has_limits(home: Path, run: Run) -> None:
    places = np.random.default_rng(1).uniform(5, 60, (8, 2))
    with pytest.raises(UsageError, match="not negative, up to"):
        estimate(places, places, "affine", fixed_error=1e300)
    (home / "l.csv").write_text(PAIRS + "".join(f"p{n},{y},{x},{y},{x},pixel\n" for n, (y, x) in enumerate(places)))
    given = "landmarks", "l.csv", "--fixed", "f.ome.tif", "--moving", "m.ome.tif", "-o", "out", "--grid", "none"
    refused(run(*given, "--model", "thin-plate", "--error", "1e300"), "not negative, up to")
    assert run(*given, "--error", "1e14") == (3, "")


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_no_reason_holds_a_number_that_is_none(value: float) -> None:
    """A pose that scores minus infinity has no margin that could be said."""
    numbers: list[Any] = [value] * 10
    verdict = judge(Findings(*numbers))
    assert verdict.status == "refused" or np.isposinf(value)
    for words in verdict.reasons:
        assert "inf" not in words.split()
        assert "nan" not in words


def test_infinite_pixels_cause_no_warning(home: Path, run: Run) -> None:
    """Warnings are errors here, and would be lines on a terminal."""
    pixels = texture((64, 80), 4).astype(np.float64)
    pixels[10:20, 10:30], pixels[40:45] = np.inf, -np.inf
    tifffile.imwrite(home / "inf.tif", pixels.astype(np.float32))
    code, said = run("apply", "t.tfm", "inf.tif", "--like", "f.ome.tif", "-o", "a.tif", "--moving-spacing", "0.02")
    assert (code, said.count("\n")) == (0, 1)
    assert "not finite" in said
    tifffile.imwrite(home / "far.tif", pixels[:, :] * 1e300)
    code, said = run("apply", "t.tfm", "far.tif", "--like", "f.ome.tif", "-o", "b.tif", "--moving-spacing", "0.02")
    assert code in (0, 2)
    assert said.startswith("correlight: ")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no address space")
def test_a_file_that_asks_for_more_memory_than_there_is_is_bad_input(home: Path, run: Run) -> None:
    """A file without content, as long as a disk allows, that has the first bytes of a picture."""
    import resource

    with (home / "long.png").open("wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.truncate(2**40)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (2**39, before[1]))
    try:
        refused(run("apply", "t.tfm", "long.png", "--like", "f.ome.tif", "-o", "out"), "long.png")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("pixels", [[[1, 2], [3]], "words", {1: 2}, None, object()])
def test_what_is_no_array_is_refused(pixels: object) -> None:
    with pytest.raises(UsageError, match="An image of real numbers"):
        Image.from_array(pixels)  # type: ignore[arg-type]


def test_pixels_near_the_largest_number_cause_no_warning(home: Path) -> None:
    """Found by tests.fuzz in a damaged MRC file: their sum is beyond single precision."""
    pixels = texture((64, 80), 4).astype(np.float32)
    tifffile.imwrite(home / "large.tif", pixels / pixels.max() * np.float32(3.4e38))
    assert read(home / "large.tif").valid().shape == (64, 80)
