"""Figures: full resolution, nothing over the instrument's own text, letters, landmarks."""

import re
import shutil
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image as Picture

from correlight import cli
from correlight.errors import ReadError, UsageError
from correlight.images import display
from correlight.images.image import Image
from correlight.images.resample import warp
from correlight.io import read, write_ome_tiff
from correlight.landmarks.tables import LandmarkTable, PointTable
from correlight.output.figure.from_result import figure_of
from correlight.output.figure.marks import Landmarks, Words
from correlight.output.figure.overlay import draw
from correlight.output.figure.slices import in_the_plane
from correlight.output.figure.write import painted
from correlight.output.folder import write_result
from correlight.output.landmarks import read_pairs, write_landmark_table
from correlight.output.target import reserve
from correlight.registration.from_landmarks import from_landmarks
from correlight.transforms import Affine
from tests.known_pair import FIXED_SPACING, MOVING_FROM_FIXED, SHAPE, known_result, write_images
from tests.stack_and_section import known, stack_and_section, stack_from_section

MAGENTA, GREEN = (255, 64, 255), (64, 255, 64)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images and the result of their registration in ``out``."""
    home = tmp_path_factory.mktemp("images")
    fixed, moving = (read(path) for path in write_images(home))
    with reserve(home / "out") as place:
        write_result(place, known_result(fixed, moving), fixed, moving, grid="none")
    return home


@pytest.fixture(scope="module")
def images(folder: Path) -> tuple[Image, Image]:
    return read(folder / "fixed.ome.tif"), read(folder / "moving.ome.tif")


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour, np.uint8)).all(axis=-1).any())


def test_a_picture_has_every_pixel_of_the_fixed_image_and_a_legend(
    folder: Path, images: tuple[Image, Image], tmp_path: Path
) -> None:
    notes = figure_of(folder / "out", tmp_path / "a.png")
    assert notes == (f"one pixel of the figure is {FIXED_SPACING:g} µm",)
    drawn = np.asarray(Picture.open(tmp_path / "a.png"))
    assert drawn.shape[1] == SHAPE[1]
    assert drawn.shape[0] > SHAPE[0]
    assert has(drawn[SHAPE[0] :], MAGENTA)
    # Where nothing is laid on it, the fixed image is as it is but for its contrast.
    fixed, moving = images
    _, covered = warp(moving, moving.grid, MOVING_FROM_FIXED, fixed.grid)
    alone = ~covered
    alone[-40:, :120] = False  # the scale bar
    grey = display.stretch(np.asarray(fixed.levels[0][0]))
    np.testing.assert_array_equal(drawn[: SHAPE[0]][alone], np.dstack([grey] * 3)[alone])
    inside = drawn[: SHAPE[0]][covered].astype(int)
    assert (inside[:, 0] == inside[:, 2]).all()


def test_several_channels_have_their_own_colours(folder: Path, tmp_path: Path) -> None:
    assert cli.main(["figure", str(folder / "out"), "-o", str(tmp_path / "a.png"), "--channels", "other,0"]) == 0
    drawn = np.asarray(Picture.open(tmp_path / "a.png"))[SHAPE[0] :]
    assert has(drawn, GREEN)
    assert has(drawn, MAGENTA)
    options = ["--channels", "stain", "--colours", "#0A141E"]
    assert cli.main(["figure", str(folder / "out"), "-o", str(tmp_path / "b.png"), *options]) == 0
    assert has(np.asarray(Picture.open(tmp_path / "b.png")), (10, 20, 30))


def test_a_part_of_the_image_in_a_tiff_that_states_its_pixel_size(folder: Path, tmp_path: Path) -> None:
    figure_of(folder / "out", tmp_path / "a.tif", region=(10, 90, 4, 124), longest=60)
    made = read(tmp_path / "a.tif")
    assert (made.rgb, made.grid.shape[1]) == (True, 60)
    assert made.grid.spacing == pytest.approx((2 * FIXED_SPACING,) * 2)


def test_vectors_hold_the_picture_as_it_is_and_letters_as_letters(folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="PDF and SVG take matplotlib")
    for name in ("a.svg", "b.svg", "a.pdf", "b.pdf"):
        figure_of(folder / "out", tmp_path / name)
    for kind in ("svg", "pdf"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    page = ElementTree.parse(tmp_path / "a.svg").getroot()
    words = {"".join(node.itertext()).strip() for node in page.iter("{http://www.w3.org/2000/svg}text")}
    assert "stain" in words
    assert any(re.fullmatch(r"\d+ (µm|nm)", word) for word in words)
    (picture,) = page.iter("{http://www.w3.org/2000/svg}image")
    coded = picture.attrib["{http://www.w3.org/1999/xlink}href"].partition("base64,")[2]
    assert _size_of(coded) == SHAPE[::-1]
    held = (tmp_path / "a.pdf").read_bytes()
    assert held.startswith(b"%PDF")
    assert f"/Height {SHAPE[0]}".encode() in held
    assert f"/Width {SHAPE[1]}".encode() in held


def _size_of(coded: str) -> tuple[int, int]:
    import base64
    import io

    return Picture.open(io.BytesIO(base64.b64decode(coded))).size


def test_nothing_lies_on_the_text_of_an_instrument(images: tuple[Image, Image]) -> None:
    fixed, moving = images
    valid = np.ones(SHAPE, bool)
    valid[-30:] = False
    drawn = draw(replace(fixed, mask=valid), moving, MOVING_FROM_FIXED)
    grey = display.stretch(np.asarray(fixed.levels[0][0]), valid)
    whole = painted(drawn.picture, drawn.offset, drawn.marks, drawn.shape)
    np.testing.assert_array_equal(whole[SHAPE[0] - 30 : SHAPE[0]], np.dstack([grey] * 3)[-30:])
    assert has(whole[SHAPE[0] - 90 : SHAPE[0] - 30], (255, 255, 255))


def test_a_doubtful_result_says_so_and_a_refused_one_is_not_drawn(images: tuple[Image, Image]) -> None:
    plain = draw(*images, MOVING_FROM_FIXED)
    doubtful = draw(*images, MOVING_FROM_FIXED, status="doubtful")
    assert doubtful.offset > plain.offset == 0
    assert doubtful.shape[0] == plain.shape[0] + doubtful.offset
    np.testing.assert_array_equal(plain.picture, doubtful.picture)
    with pytest.raises(UsageError, match="refused"):
        draw(*images, MOVING_FROM_FIXED, status="refused")


def test_dense_images_are_shown_in_complementary_colours() -> None:
    rng = np.random.default_rng(0)
    dense = Image.from_array(rng.integers(0, 255, (64, 64)).astype(np.uint8))
    drawn = draw(dense, dense, Affine.identity())
    # Two images that agree are grey.
    assert np.ptp(drawn.picture.astype(int), axis=-1).max() <= 1


def test_landmarks_are_drawn_with_their_residuals(folder: Path, images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    places = fixed.grid.points(np.array([[30.0, 40], [30, 110], [80, 60], [100, 120], [60, 90]]))
    names = tuple("abcde")
    partners = MOVING_FROM_FIXED(places) + np.array([[0.0, 0], [0, 2], [-2, 0], [0, 0], [1, 1]])
    pairs = LandmarkTable(PointTable(names, places, "micrometre"), PointTable(names, partners, "pixel"))
    outcome = from_landmarks(fixed, moving, pairs, "affine")
    with reserve(tmp_path / "out") as place:
        write_result(place, outcome.result, fixed, moving, grid="none")
        write_landmark_table(place / "landmarks.csv", outcome)
    with_them = figure_of(tmp_path / "out", tmp_path / "a.png")
    without = figure_of(tmp_path / "out", tmp_path / "b.png", with_landmarks=False)
    assert len(with_them) == len(without) + 1
    assert "times as long" in with_them[-1]
    pictures = [np.asarray(Picture.open(tmp_path / name)).astype(int) for name in ("a.png", "b.png")]
    offset = pictures[0].shape[0] - pictures[1].shape[0]
    assert offset == 0
    changed = (pictures[0] != pictures[1]).any(axis=-1)
    for row, column in fixed.grid.index(places).round().astype(int):
        assert changed[max(0, row - 12) : row + 12, max(0, column - 12) : column + 12].any()
    table = tmp_path / "out" / "landmarks.csv"
    table.write_text(table.read_text().replace("a,", "z,"))
    assert "landmarks.csv is not as it was when the landmarks were fitted" in figure_of(
        tmp_path / "out", tmp_path / "c.png"
    )
    table.unlink()
    assert "landmarks.csv is gone since the landmarks were fitted" in figure_of(tmp_path / "out", tmp_path / "d.png")


def test_residuals_are_enlarged_by_a_round_number() -> None:
    there = np.array([[0.0, 0], [1000, 0], [0, 1000]])
    assert Landmarks(("a", "b", "c"), there, there + np.array([1.0, 0])).times == 50
    assert Landmarks(("a", "b", "c"), there, there).times == 1


@pytest.mark.parametrize("place", [(-30.0, 5.0), (5.0, -40.0), (3.0, 1.0), (58.0, 31.0), (500.0, 500.0)])
def test_letters_beyond_the_edge_are_cut_off(place: tuple[float, float]) -> None:
    plain = np.zeros((32, 64, 3), np.uint8)
    drawn = painted(plain, 0, [Words(*place, "12", 9.0)], (32, 64))
    assert drawn.shape == plain.shape
    assert drawn.any() == (place in ((3.0, 1.0), (58.0, 31.0)))


def test_images_that_moved_with_their_result_are_found(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "elsewhere")
    home = tmp_path / "elsewhere"
    record = (home / "out" / "result.json").read_text()
    (home / "out" / "result.json").write_text(record.replace(str(folder), str(tmp_path / "gone")))
    figure_of(home / "out", tmp_path / "a.png")
    (home / "moving.ome.tif").write_bytes((home / "fixed.ome.tif").read_bytes())
    with pytest.raises(ReadError, match="holds something else"):
        figure_of(home / "out", tmp_path / "b.png")
    (home / "moving.ome.tif").unlink()
    with pytest.raises(ReadError, match="not found"):
        figure_of(home / "out", tmp_path / "b.png")
    figure_of(home / "out", tmp_path / "b.png", moving=folder / "moving.ome.tif")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-o", "a.gif"], "ending in .png"),
        (["-o", "a.png", "--colours", "puce"], "A colour is magenta"),
        (["-o", "a.png", "--channels", "stain", "--colours", "cyan,green"], "1 channels to colour"),
        (["-o", "a.png", "--channels", "DAPI"], "no channel 'DAPI'"),
        (["-o", "a.png", "--roi", "0,9999,0,5"], "does not lie in"),
        (["-o", "a.png", "--longest", "0"], "--longest"),
        (["-o", "a.png", "--slice", "0"], "both images are flat"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(
    options: list[str],
    said: str,
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["figure", str(folder / "out"), *options]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_figure_too_large_for_memory_is_refused(images: tuple[Image, Image], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("correlight.output.figure.overlay.MOST_PIXELS", 1000)
    with pytest.raises(UsageError, match="choose a part of the image"):
        draw(*images, MOVING_FROM_FIXED)


def test_an_image_is_never_replaced_by_its_figure(folder: Path, tmp_path: Path) -> None:
    for role in ("fixed", "moving"):
        image = tmp_path / f"{role}.tif"
        shutil.copy(folder / f"{role}.ome.tif", image)
        before = image.read_bytes()
        with pytest.raises(UsageError, match="would replace"):
            figure_of(folder / "out", image, overwrite=True, **{role: image})  # type: ignore[arg-type]
        assert image.read_bytes() == before


def test_what_a_figure_shows_that_the_result_did_not_is_said(folder: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(folder, home)
    image = read(home / "fixed.ome.tif")
    pixels = np.asarray(image.levels[0])[:, ::-1].copy()
    write_ome_tiff(home / "β.ome.tif", pixels, image.grid, ["β-catenin"])
    notes = figure_of(home / "out", tmp_path / "a.png", fixed=home / "β.ome.tif")
    assert f"{home / 'β.ome.tif'} is not the fixed image that was registered" in notes
    assert any("has no β" in note for note in notes)
    assert not any("has no β" in note for note in figure_of(home / "out", tmp_path / "a.svg", fixed=home / "β.ome.tif"))


def test_beads_of_a_result_folder_are_drawn(folder: Path, images: tuple[Image, Image], tmp_path: Path) -> None:
    fixed, moving = images
    places = fixed.grid.points(np.array([[30.0, 40], [80, 60], [60, 90]]))
    partners = MOVING_FROM_FIXED(places) + np.array([[0.0, 2], [0, 0], [1, 1]])
    with reserve(tmp_path / "out") as place:
        write_result(place, replace(known_result(fixed, moving), pairs=(places, partners)), fixed, moving, grid="none")
    table = read_pairs(tmp_path / "out" / "beads.csv", fixed.grid, moving.grid)
    np.testing.assert_array_equal(table.fixed.points, places)
    np.testing.assert_array_equal(table.moving.points, partners)
    assert (table.fixed.unit, table.moving.unit) == ("micrometre", "pixel")
    notes = figure_of(tmp_path / "out", tmp_path / "a.png")
    assert "times as long" in notes[-1]
    figure_of(tmp_path / "out", tmp_path / "b.png", with_landmarks=False)
    drawn, plain = (np.asarray(Picture.open(tmp_path / name)).astype(int) for name in ("a.png", "b.png"))
    changed = (drawn != plain).any(axis=-1)
    for row, column in fixed.grid.index(places).round().astype(int):
        assert changed[max(0, row - 12) : row + 12, max(0, column - 12) : column + 12].any()


def test_of_stacks_a_slice_is_drawn(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack, _ = stack_and_section()
    moved = Affine.of(np.eye(3), np.array([0.8, 0, 0]))
    paths = [tmp_path / f"{role}.ome.tif" for role in ("fixed", "moving")]
    for path in paths:
        write_ome_tiff(path, stack.levels[0], stack.grid, stack.channels)
    fixed, moving = (read(path) for path in paths)
    with reserve(tmp_path / "out") as place:
        write_result(place, known(fixed, moving, moved), fixed, moving, grid="none")
    out = tmp_path / "a.png"
    assert cli.main(["figure", str(tmp_path / "out"), "-o", str(out), "--slice", "3", "--channels", "dye"]) == 0
    assert "slice 3 of the 20 of the fixed stack is drawn, counted from 0" in capsys.readouterr().err
    drawn = np.asarray(Picture.open(out))
    # Two slices of 0.4 µm deeper in the same stack.
    here, there = (display.stretch(np.asarray(stack.levels[0][0, number])) for number in (3, 5))
    size = here.shape
    pictured = drawn[20:100, : size[1]].astype(float)
    both = np.corrcoef(pictured.max(axis=-1).ravel(), np.maximum(here, there)[20:100].ravel())[0, 1]
    assert both > 0.9
    assert figure_of(tmp_path / "out", tmp_path / "b.png")[0].startswith("slice 8 of the 20")
    assert "does not reach this slice" in figure_of(tmp_path / "out", tmp_path / "c.png", slice_number=19)[1]
    with pytest.raises(UsageError, match="no slice 20 of the fixed stack; it has 20"):
        figure_of(tmp_path / "out", tmp_path / "d.png", slice_number=20)


@pytest.mark.parametrize("swapped", [False, True])
def test_a_section_in_a_stack_is_drawn(swapped: bool) -> None:
    stack, section = stack_and_section(tilt=0.0)
    transform = stack_from_section(tilt=0.0)
    pair = (stack, section, transform.inverse()) if swapped else (section, stack, transform)
    *planes, between, notes = in_the_plane(*pair)
    one, other = (np.asarray(image.levels[0][0], float) for image in planes)
    assert bool(notes) is swapped
    assert isinstance(between, Affine)
    assert between.matrix == pytest.approx(np.eye(3))
    seen = planes[1].valid()
    assert np.corrcoef(one[seen], other[seen])[0, 1] > 0.95


def test_no_finer_pixels_are_drawn_than_there_are_and_it_is_said(images: tuple[Image, Image]) -> None:
    drawn = draw(*images, MOVING_FROM_FIXED, longest=5000)
    assert drawn.shape[1] == SHAPE[1]
    assert f"the figure has {SHAPE[1]} pixels along its longer side, as no finer ones are drawn" in drawn.notes
