"""Landmarks set by hand become a result like any other."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile

from correlight import cli
from correlight.errors import UsageError
from correlight.exchange import ExchangeContext, write_file, write_transform
from correlight.geometry import Grid
from correlight.images.image import Image
from correlight.io import read
from correlight.landmarks import estimate
from correlight.landmarks.synthetic import landmarks_of, untouched
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.output.apply import apply
from correlight.output.landmarks import read_pairs
from correlight.output.start import said_of_start
from correlight.registration.from_landmarks import from_landmarks
from correlight.transforms import Affine, Chain, Displacement, Projective, ThinPlate
from tests.known_pair import FIXED_SPACING, MOVING_FROM_FIXED, SHAPE, write_images

Write = Callable[[np.ndarray, np.ndarray], Path]


def clicks(count: int, noise: float = 0.5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Fixed places in micrometres and moving places in pixels, clicked with an error of so many moving pixels."""
    rng = np.random.default_rng(seed)
    fixed = rng.random((count, 2)) * np.asarray(SHAPE) * FIXED_SPACING
    return fixed, MOVING_FROM_FIXED(fixed) + rng.normal(scale=noise, size=(count, 2))


def write_pairs(path: Path, fixed: np.ndarray, moving: np.ndarray) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "fixed_unit", "moving_unit", "fixed_y", "fixed_x", "moving_y", "moving_x"])
        for number, (place, there) in enumerate(zip(fixed, moving, strict=True), start=1):
            writer.writerow([number, "um", "px", *place, *there])


def table(fixed: np.ndarray, moving: np.ndarray) -> LandmarkTable:
    names = tuple(str(number) for number in range(1, len(fixed) + 1))
    return LandmarkTable(PointTable(names, fixed, "micrometre"), PointTable(names, moving, "pixel"))


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two images."""
    write_images(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def images(tmp_path: Path) -> tuple[Image, Image]:
    fixed, moving = write_images(tmp_path)
    return read(fixed), read(moving)


COMMAND = ("landmarks", "pairs.csv", "--fixed", "fixed.ome.tif", "--moving", "moving.ome.tif", "-o", "out")


def test_the_folder_is_that_of_a_registration(home: Path) -> None:
    write_pairs(home / "pairs.csv", *clicks(12))
    assert cli.main([*COMMAND, "--model", "similarity"]) == 0
    assert sorted(path.name for path in (home / "out").iterdir()) == [
        "footprint.tif",
        "landmarks.csv",
        "manifest.json",
        "moving_from_fixed.tfm",
        "overlay.png",
        "predicted_error.tif",
        "registered.ome.tif",
        "report.html",
        "result.json",
    ]
    record = json.loads((home / "out" / "result.json").read_text())
    assert record["status"] == "accepted"
    assert record["recipe"] == "landmarks"
    assert record["moving_from_fixed"]["type"] == "similarity"
    matrix = np.array(record["moving_from_fixed"]["matrix"])
    # Twelve clicks of half a pixel know the middle of the field to 0.2 pixels and its corners to 0.5.
    corners = Grid.of(SHAPE, FIXED_SPACING, unit="micrometre").corners()
    assert np.abs(Affine(matrix)(corners) - MOVING_FROM_FIXED(corners)).max() < 1.0
    assert record["scale_claimed"] is None
    assert record["fixed"]["sha256"] == read(home / "fixed.ome.tif").source["sha256"]
    assert any(clue["name"] == "Next landmark" for clue in record["evidence"])
    with (home / "out" / "landmarks.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [str(number) for number in range(1, 13)]
    assert all(0 < float(row["residual"]) < float(row["left_out_error"]) < 0.1 for row in rows)
    assert {row["suspect"] for row in rows} == {"no"}


def test_the_map_of_the_error_is_the_prediction(images: tuple[Image, Image]) -> None:
    fixed, moving = clicks(12)
    outcome = from_landmarks(*images, table(fixed, moving), "similarity")
    predicted = outcome.result.predicted_error
    found = estimate(fixed, moving, "similarity")
    known = np.isfinite(predicted.values).ravel()
    places = predicted.grid.lattice_of_pixels()
    assert predicted.values.ravel()[known] == pytest.approx(found.error(places[known]), rel=1e-6)
    assert np.array_equal(known, images[1].grid.contains(found.moving_from_fixed(places)))
    assert 0.2 < known.mean() < 1


@pytest.mark.parametrize("model", ["thin-plate", "elastic"])
def test_a_spline_is_stored_so_that_every_tool_moves_the_same_pixels(model: str, home: Path) -> None:
    fixed, moving = clicks(25, noise=0.0)
    moving += 2 * np.sin(fixed[:, ::-1] * 3)
    write_pairs(home / "pairs.csv", fixed, moving)
    assert cli.main([*COMMAND, "--model", model, "--error", "0"]) == 0
    record = json.loads((home / "out" / "result.json").read_text())
    assert record["moving_from_fixed"] == {"type": model, "axes": "yx", "file": "moving_from_fixed.h5"}
    for source in ("out", "out/result.json", "out/moving_from_fixed.h5"):
        moved = apply(source, "moving.ome.tif", "fixed.ome.tif", "again.tif", overwrite=True)
        kept = tifffile.imread(home / "out" / "registered.ome.tif")
        assert np.array_equal(tifffile.imread(moved.files[0]), kept)


def test_what_is_stored_is_the_spline(images: tuple[Image, Image]) -> None:
    fixed, moving = clicks(25, noise=0.0)
    moving += 2 * np.sin(fixed[:, ::-1] * 3)
    outcome = from_landmarks(*images, table(fixed, moving), "thin-plate", error=0.0)
    found, kept = outcome.estimate, outcome.result.moving_from_fixed
    assert isinstance(kept, Chain)
    assert isinstance(kept.parts[0], Displacement)
    places = np.random.default_rng(1).random((200, 2)) * images[0].grid.extent
    places += np.asarray(images[0].grid.corners().min(axis=0))
    off = kept(places) - found.moving_from_fixed(places)
    # A hundredth of a fixed pixel, and sixty moving pixels to the micrometre.
    assert np.abs(off).max() <= 0.012 * FIXED_SPACING * 60


def test_without_a_model_the_landmarks_choose(images: tuple[Image, Image]) -> None:
    fixed, moving = clicks(20, noise=0.3)
    plain = from_landmarks(*images, table(fixed, moving))
    assert plain.result.model == "similarity"
    bent = from_landmarks(*images, table(fixed, moving + 6 * np.sin(fixed[:, ::-1] * 3)))
    assert bent.result.model == "thin-plate"
    assert "left out" in bent.result.model_reason


def test_a_wrong_pair_makes_the_result_doubtful_and_can_be_left_out(home: Path, capsys) -> None:
    fixed, moving = clicks(12)
    moving[6, 1] += 40
    write_pairs(home / "pairs.csv", fixed, moving)
    assert cli.main([*COMMAND, "--model", "similarity"]) == 3
    said = capsys.readouterr().out
    assert "Pair 7 is " in said
    assert "without it the error falls from" in said
    assert cli.main([*COMMAND, "--model", "similarity", "--without", "7", "--overwrite"]) == 0
    with (home / "out" / "landmarks.csv").open() as file:
        assert "7" not in [row["name"] for row in csv.DictReader(file)]


def test_landmarks_of_bigwarp_count_each_image_in_its_own_unit(home: Path) -> None:
    """Moving first and x first: pixels of the light image, which has no calibration, and micrometres of the other."""
    fixed, moving = clicks(12)
    with (home / "pairs.csv").open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        for number, (place, there) in enumerate(zip(fixed, moving, strict=True)):
            writer.writerow([f"Pt-{number}", "true", *there[::-1], *place[::-1]])
        writer.writerow(["Pt-99", "false", 1, 2, "Infinity", "Infinity"])
    assert cli.main([*COMMAND, "--model", "similarity"]) == 0
    record = json.loads((home / "out" / "result.json").read_text())
    expected = estimate(fixed, moving, "similarity").moving_from_fixed.matrix  # type: ignore[attr-defined]
    assert np.array(record["moving_from_fixed"]["matrix"]) == pytest.approx(expected, rel=1e-9)


def test_two_landmarks_are_a_result_of_unknown_error(home: Path) -> None:
    write_pairs(home / "pairs.csv", *clicks(2))
    assert cli.main([*COMMAND]) == 3
    record = json.loads((home / "out" / "result.json").read_text())
    assert record["status"] == "doubtful"
    assert record["predicted_error"]["median"] is None
    assert "just determine the transform" in record["reasons"][0]
    assert cli.main([*COMMAND, "--error", "0.01", "--overwrite"]) == 3
    record = json.loads((home / "out" / "result.json").read_text())
    assert record["predicted_error"]["median"] > 0.005


def test_a_fold_is_refused(images: tuple[Image, Image]) -> None:
    fixed, moving = clicks(15, noise=0.0)
    moving[[0, 1]] = moving[[1, 0]]
    outcome = from_landmarks(*images, table(fixed, moving), "thin-plate", error=0.0)
    assert outcome.result.status == "refused"
    assert any("folds the image over itself" in reason for reason in outcome.result.verdict.reasons)


def test_scatter_of_a_tenth_of_the_field_is_refused(images: tuple[Image, Image]) -> None:
    rng = np.random.default_rng(2)
    fixed, _ = clicks(8)
    outcome = from_landmarks(*images, table(fixed, 20 + 80 * rng.random((8, 2))), "affine")
    assert outcome.result.status == "refused"
    assert outcome.result.verdict.confidence < 0.3


def test_a_scale_that_contradicts_the_pixel_sizes_is_doubted(images: tuple[Image, Image]) -> None:
    fixed, moving = clicks(10)
    light = images[1].with_spacing(1 / 60, "given")
    right = from_landmarks(images[0], light, table(fixed, moving))
    assert right.result.status == "accepted"
    assert right.result.scale_found == pytest.approx(right.result.scale_claimed, rel=0.05)
    wrong = from_landmarks(images[0], images[1].with_spacing(1 / 30, "given"), table(fixed, moving), "similarity")
    assert wrong.result.status == "doubtful"
    assert any("from what the pixel sizes say; check" in reason for reason in wrong.result.verdict.reasons)


def test_a_stated_error_is_held_against_the_scatter(images: tuple[Image, Image]) -> None:
    """Half a moving pixel is 0.0083 µm in the fixed image."""
    fixed, moving = clicks(12)
    for error, expected in ((0.0083, "accepted"), (0.001, "doubtful")):
        outcome = from_landmarks(*images, table(fixed, moving), "similarity", error=error)
        assert outcome.result.status == expected
        [clue] = [clue for clue in outcome.result.verdict.evidence if clue.name == "Stated error"]
        assert clue.value == pytest.approx(0.0083 / error, rel=0.4)


def test_a_projective_transform_is_a_matrix(images: tuple[Image, Image]) -> None:
    fixed, moving = clicks(12, noise=0.1)
    outcome = from_landmarks(*images, table(fixed, moving), "projective")
    assert isinstance(outcome.result.moving_from_fixed, Projective)
    middle = images[0].grid.centre[None]
    assert outcome.result.poses[0].moving_from_fixed(middle) == pytest.approx(MOVING_FROM_FIXED(middle), abs=1.0)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--without", "99"], "no landmark '99'"),
        (["--error", "-1"], "--error expects"),
        (["--model", "cubic"], "cubic"),
        (["--without", "1,2,3,4,5,6,7,8,9,10,11"], "determine no transform"),
        (["--noise", "anisotropic", "--model", "affine", "--without", "1,2,3,4,5,6,7"], "at least 6 landmarks"),
        (["--fixed-spacing", "0.000001"], "No landmark lies on the fixed image"),
    ],
)
def test_misuse_ends_in_one_sentence_and_nothing_written(arguments: list[str], words: str, home: Path, capsys) -> None:
    write_pairs(home / "pairs.csv", *clicks(12))
    assert cli.main([*COMMAND, *arguments]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1
    assert not (home / "out").exists()


def test_volumes_are_sent_elsewhere(images: tuple[Image, Image]) -> None:
    stack = Image.from_array(np.zeros((1, 8, 40, 40), np.uint8))
    with pytest.raises(UsageError, match="two-dimensional"):
        from_landmarks(stack, images[1], table(*clicks(5)))


def test_landmarks_off_their_image_are_said(images: tuple[Image, Image]) -> None:
    fixed, moving = clicks(12, noise=0.1)
    right = from_landmarks(*images, table(fixed, moving), "similarity").result
    assert right.status == "accepted"
    assert right.model_reason.startswith("12 pairs of landmarks were set by hand; ")
    far = np.array([[1.5, 0.5], [1.2, 0.1]]) * np.asarray(SHAPE) * FIXED_SPACING
    fixed = np.concatenate([fixed, far])
    result = from_landmarks(*images, table(fixed, MOVING_FROM_FIXED(fixed)), "similarity").result
    assert any("2 landmarks lie outside the fixed image (13, 14)" in reason for reason in result.verdict.reasons)


def test_landmarks_made_of_a_transform_are_no_evidence_until_they_are_moved(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_transform(home / "a.tfm", MOVING_FROM_FIXED)
    sides = ["--fixed", "fixed.ome.tif", "--moving", "moving.ome.tif"]
    assert cli.main(["convert", "a.tfm", "pairs.csv", "--to", "bigwarp", "--landmarks", "4", *sides]) == 0
    assert cli.main([*COMMAND]) == 3
    record = json.loads((home / "out" / "result.json").read_text())
    assert (record["status"], record["predicted_error"]["median"]) == ("doubtful", None)
    assert any(reason.startswith("All landmarks were made of a transform") for reason in record["reasons"])
    with (home / "pairs.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    rng = np.random.default_rng(3)
    for kept, status in ((7, "doubtful"), (0, "accepted")):
        moved = [[*row[:4], *(float(cell) + rng.normal(scale=0.005) for cell in row[4:])] for row in rows]
        with (home / "pairs.csv").open("w", newline="") as file:
            csv.writer(file, quoting=csv.QUOTE_ALL).writerows([*rows[:kept], *moved[kept:]])
        cli.main([*COMMAND, "--overwrite"])
        record = json.loads((home / "out" / "result.json").read_text())
        told = [reason for reason in record["reasons"] if "were made of a transform" in reason]
        assert record["status"] == status
        assert [reason.partition(" of the ")[0] for reason in told] == ["7"] * (kept > 0)
        assert record["model_reason"].startswith(f"{len(rows) - kept} pairs of landmarks were set by hand")


@pytest.mark.parametrize("kind", ["projective", "bent"])
@pytest.mark.parametrize(
    ("file", "format"), [("a.csv", "bigwarp"), ("a.json", "bigwarp"), ("a.xml", "ecclem"), ("b.csv", "table")]
)
def test_landmarks_of_any_transform_are_known_again_in_any_file(
    kind: str, file: str, format: str, tmp_path: Path
) -> None:
    here, there = Grid.of((90, 120), 0.05, (3.0, -7.0), unit="micrometre"), Grid.of((77, 64), 0.21, unit="micrometre")
    projective = Projective(np.array([[2.0, 0.2, 3], [-0.1, 1.9, 14], [1e-3, 2e-3, 1]]))
    bent = ThinPlate(here.lattice(2), np.array([[1, 0], [-1, 0], [-1, 0], [1, 0]]) / 4, Affine.identity(), 3.0)
    made = landmarks_of(projective if kind == "projective" else Chain((bent, projective)), here, there, 4)
    assert len(made.fixed.names) > 5
    write_file(tmp_path / file, made, format, ExchangeContext(fixed=here, moving=there))
    again = read_pairs(tmp_path / file, here, there)
    assert untouched(again, here, there).all()
    again.moving.points[2] += [0.003, -0.004]
    again.fixed.points[4] += 0.01
    assert np.flatnonzero(~untouched(again, here, there)).tolist() == [2, 4]


def test_a_start_of_landmarks_made_of_a_transform_is_called_so() -> None:
    image = Image.from_array(np.zeros((40, 50), np.uint8))
    made = landmarks_of(Affine.identity(2), image.grid, image.grid, 3)
    said = " were made of a transform and moved by nobody since, so the search starts near that transform"
    assert said_of_start(made, image, image, "a.csv") == (f"all landmarks of a.csv{said}",)
    made.moving.points[0] += 0.3
    assert said_of_start(made, image, image, "a.csv") == (f"8 of the 9 landmarks of a.csv{said}",)
    made.fixed.points[1:] += 0.2
    assert said_of_start(made, image, image, "a.csv") == ()


def test_landmarks_set_by_hand_are_never_taken_for_made_ones() -> None:
    rng = np.random.default_rng(0)
    for shape, size in (((1000, 768), 0.01), ((64, 64), 1.0), ((999, 1024), 0.1)):
        grid = Grid.of(shape, size, unit="micrometre")
        pixels = grid.points(rng.integers(0, shape, (20_000, 2)))
        for clicks in (pixels, pixels + grid.spacing[0] / 2, rng.random((20_000, 2)) * grid.extent, pixels.round(1)):
            names = tuple(map(str, range(len(clicks))))
            side = PointTable(names, clicks, grid.unit)
            there = PointTable(names, clicks[::-1].copy(), grid.unit)
            assert not untouched(LandmarkTable(side, there), grid, grid).any()
