"""Moving other channels, label images and points with a saved transform."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from correlight import cli
from correlight.errors import ReadError, UsageError, WriteError
from correlight.exchange import write_transform
from correlight.exchange.table import read_points, write_points
from correlight.geometry import Grid, Unit
from correlight.images.resample import warp
from correlight.io import read, write_ome_tiff, write_tiff
from correlight.landmarks.tables import PointTable
from correlight.output.apply import Member, apply, apply_session, holds_session, read_saved, read_session
from correlight.output.apply.points import StageAxes, move_points
from correlight.output.folder import write_result
from correlight.output.target import reserve
from correlight.transforms import Affine
from tests.known_pair import FIXED_SPACING, MOVING_FROM_FIXED, known_result, texture, write_images


@pytest.fixture
def registered(tmp_path: Path) -> Path:
    """A folder with two images and the result of their registration in ``out``."""
    fixed, moving = (read(path) for path in write_images(tmp_path))
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving), fixed, moving)
    return tmp_path


def test_the_same_channel_comes_out_as_registration_wrote_it(registered: Path) -> None:
    for source in ("out", "out/result.json", "out/moving_from_fixed.tfm"):
        moved = apply(
            registered / source,
            registered / "moving.ome.tif",
            registered / "fixed.ome.tif",
            registered / "again.ome.tif",
            overwrite=True,
        )
        assert [path.name for path in moved.files] == ["again.ome.tif", "again_footprint.tif"]
        assert moved.status == "accepted"
        for made, kept in zip(moved.files, ("registered.ome.tif", "footprint.tif"), strict=True):
            assert np.array_equal(tifffile.imread(made), tifffile.imread(registered / "out" / kept))


def test_a_folder_can_receive_the_output(registered: Path) -> None:
    moved = apply(
        registered / "out", registered / "moving.ome.tif", registered / "fixed.ome.tif", registered / "channels"
    )
    assert [path.relative_to(registered).as_posix() for path in moved.files] == [
        "channels/registered.ome.tif",
        "channels/footprint.tif",
    ]
    assert all(path.is_file() for path in moved.files)


def test_another_file_in_place_of_the_fixed_image_is_said(registered: Path) -> None:
    fixed = read(registered / "fixed.ome.tif")
    write_ome_tiff(registered / "copy.ome.tif", 65_535 - np.asarray(fixed.levels[0]), fixed.grid, fixed.channels)
    where = registered / "out", registered / "moving.ome.tif"
    assert apply(*where, registered / "fixed.ome.tif", registered / "a.tif").notes == ()
    (note,) = apply(*where, registered / "copy.ome.tif", registered / "b.tif").notes
    assert note.startswith("copy.ome.tif is not the fixed image that was registered")
    assert np.array_equal(tifffile.imread(registered / "a.tif"), tifffile.imread(registered / "b.tif"))


def test_labels_keep_their_values_and_their_background(registered: Path) -> None:
    labels = np.zeros((120, 140), np.uint16)
    labels[20:70, 30:90], labels[80:110, 50:120] = 1000, 3
    write_tiff(registered / "labels.tif", labels, Grid.of(labels.shape))
    moved = apply(
        registered / "out",
        registered / "labels.tif",
        registered / "fixed.ome.tif",
        registered / "moved.tif",
        order="nearest",
    )
    expected, covered = warp(labels[None], Grid.of(labels.shape), MOVING_FROM_FIXED, _fixed(registered), "nearest")
    assert set(np.unique(expected)) == {0, 3, 1000}
    assert np.array_equal(tifffile.imread(moved.files[0]), expected[0])
    assert np.array_equal(tifffile.imread(moved.files[1]), covered)


def _fixed(folder: Path) -> Grid:
    return read(folder / "fixed.ome.tif").grid


@pytest.mark.parametrize("unit", ["pixel", "micrometre"])
def test_points_come_out_where_the_transform_puts_them(unit: Unit, tmp_path: Path) -> None:
    """With a record of both frames, points may count pixels or, where there is a pixel size, micrometres."""
    fixed, moving = (read(path) for path in write_images(tmp_path))
    moving = moving.with_spacing(0.1, "given")
    moving_from_fixed = Affine.of(0.1 * MOVING_FROM_FIXED.linear, 0.1 * MOVING_FROM_FIXED.offset)
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving, moving_from_fixed=moving_from_fixed), fixed, moving)
    truth = np.array([[0.3, 0.4], [1.2, 2.0], [0.0, 0.0]])
    place = moving_from_fixed(truth)
    write_points(
        tmp_path / "in.csv",
        PointTable(("a", "b", "c"), place if unit == "micrometre" else moving.grid.index(place), unit),
    )
    moved = apply(tmp_path / "out", tmp_path / "in.csv", tmp_path / "fixed.ome.tif", tmp_path / "moved.csv")
    found = read_points(moved.files[0])
    assert found.names == ("a", "b", "c")
    assert found.unit == unit
    assert found.points == pytest.approx(truth if unit == "micrometre" else truth / FIXED_SPACING, abs=1e-9)


def test_points_in_micrometres_need_a_moving_image_with_a_pixel_size(registered: Path) -> None:
    write_points(registered / "in.csv", PointTable(("a",), np.array([[1.0, 2.0]]), "micrometre"))
    with pytest.raises(UsageError, match="need an image with a pixel size"):
        apply(registered / "out", registered / "in.csv", registered / "fixed.ome.tif", registered / "moved.csv")
    assert not (registered / "moved.csv").exists()


def test_a_transform_alone_takes_the_frames_from_the_files(registered: Path) -> None:
    alone = registered / "elsewhere"
    alone.mkdir()
    write_transform(alone / "a.tfm", MOVING_FROM_FIXED)
    assert read_saved(alone / "a.tfm").frames is None
    truth = np.array([[0.3, 0.4]])
    write_points(registered / "in.csv", PointTable(("a",), MOVING_FROM_FIXED(truth), "pixel"))
    moved = apply(alone / "a.tfm", registered / "in.csv", registered / "fixed.ome.tif", registered / "moved.csv")
    assert moved.status is None
    assert read_points(moved.files[0]).points == pytest.approx(truth / FIXED_SPACING, abs=1e-9)
    in_micrometres = Affine.of(0.1 * MOVING_FROM_FIXED.linear, 0.1 * MOVING_FROM_FIXED.offset)
    write_transform(alone / "b.tfm", in_micrometres)
    moved = apply(
        alone / "b.tfm",
        registered / "in.csv",
        registered / "fixed.ome.tif",
        registered / "moved.csv",
        moving_spacing=0.1,
        overwrite=True,
    )
    assert read_points(moved.files[0]).points == pytest.approx(truth / FIXED_SPACING, abs=1e-9)


def test_a_pixel_size_given_at_registration_holds_for_other_channels(tmp_path: Path) -> None:
    fixed_path, moving_path = write_images(tmp_path)
    # The user knew better than the fixed file (which says 0.02) and gave the moving image a size it did not state.
    fixed, moving = read(fixed_path, spacing=0.04), read(moving_path, spacing=0.1)
    moving_from_fixed = Affine.of(0.05 * MOVING_FROM_FIXED.linear, 0.1 * MOVING_FROM_FIXED.offset)
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving, moving_from_fixed=moving_from_fixed), fixed, moving)
    write_tiff(tmp_path / "channel.tif", moving.levels[0][1], Grid.of(moving.grid.shape))
    moved = apply(tmp_path / "out", tmp_path / "channel.tif", fixed_path, tmp_path / "moved.tif")
    assert np.array_equal(tifffile.imread(moved.files[0]), tifffile.imread(tmp_path / "out" / "registered.ome.tif")[1])


def test_images_of_another_shape_and_unit_are_refused(registered: Path) -> None:
    other = registered / "other.tif"
    write_tiff(other, texture((64, 64), 9), Grid.of((64, 64), 0.5, unit="micrometre"))
    with pytest.raises(UsageError, match="120 x 140 pixels"):
        apply(registered / "out", other, registered / "fixed.ome.tif", registered / "moved.tif")
    with pytest.raises(UsageError, match="give none for the moving image"):
        apply(
            registered / "out",
            registered / "moving.ome.tif",
            registered / "fixed.ome.tif",
            registered / "moved.tif",
            moving_spacing=0.5,
        )
    assert not (registered / "moved.tif").exists()


def test_the_output_is_checked_before_anything_is_read(registered: Path) -> None:
    moving, fixed = registered / "moving.ome.tif", registered / "fixed.ome.tif"
    write_points(registered / "in.csv", PointTable(("a",), np.zeros((1, 2)), "pixel"))
    for source, out in ((moving, "moved.png"), (registered / "in.csv", "moved.tif"), (registered / "in.csv", "moved")):
        with pytest.raises(UsageError, match="name ending in"):
            apply(registered / "out", source, fixed, registered / out)
    with pytest.raises(UsageError, match="would replace the input"):
        apply(registered / "out", moving, fixed, moving, overwrite=True)
    with pytest.raises(UsageError, match="exists"):
        apply(registered / "out", moving, fixed, registered / "out")
    with pytest.raises(WriteError, match="is no folder"):
        apply(registered / "out", moving, fixed, registered / "none" / "moved.tif")


def test_damaged_records_and_transforms_are_named(registered: Path) -> None:
    record = registered / "out" / "result.json"
    call = (registered / "moving.ome.tif", registered / "fixed.ome.tif", registered / "moved.tif")
    content = json.loads(record.read_text())
    record.write_text(json.dumps({key: value for key, value in content.items() if key != "moving"}))
    with pytest.raises(ReadError, match="incomplete"):
        apply(registered / "out" / "moving_from_fixed.tfm", *call)
    content["fixed"] |= {"shape": [4, 4, 4], "spacing": [1, 1, 1]}
    record.write_text(json.dumps(content))
    with pytest.raises(ReadError, match="do not belong together"):
        apply(registered / "out", *call)
    with pytest.raises(ReadError, match="no file"):
        apply(registered / "nowhere.tfm", *call)
    assert not (registered / "moved.tif").exists()


def test_points_are_told_with_their_error_and_whether_they_lie_on_the_image(registered: Path) -> None:
    """The record of `known_pair` predicts 0.03 µm everywhere, which is 1.5 fixed pixels of 0.02 µm."""
    places = np.array([[0.3, 0.4], [-0.5, 0.4]])
    write_points(registered / "in.csv", PointTable(("a", "b"), MOVING_FROM_FIXED(places), "pixel"))
    moved = apply(registered / "out", registered / "in.csv", registered / "fixed.ome.tif", registered / "moved.csv")
    assert moved.outside == ("b",)
    with (registered / "moved.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["inside"] for row in rows] == ["yes", "no"]
    assert float(rows[0]["error"]) == pytest.approx(0.03 / FIXED_SPACING, rel=1e-3)
    assert rows[1]["error"] == ""
    assert "stage_y" not in rows[0]


def test_points_go_back_to_where_they_came_from(registered: Path) -> None:
    start = np.array([[60.0, 66.0], [40.0, 30.0]])
    write_points(registered / "in.csv", PointTable(("a", "b"), start, "pixel"))
    apply(registered / "out", registered / "in.csv", registered / "fixed.ome.tif", registered / "there.csv")
    moved = apply(
        registered / "out",
        registered / "there.csv",
        registered / "fixed.ome.tif",
        registered / "back.csv",
        points_in="fixed",
    )
    assert read_points(moved.files[0]).points == pytest.approx(start, abs=1e-9)
    with (registered / "back.csv").open() as file:
        rows = list(csv.DictReader(file))
    # Sixty moving pixels to the micrometre.
    assert float(rows[0]["error"]) == pytest.approx(0.03 * 60, rel=1e-3)
    assert [row["inside"] for row in rows] == ["yes", "yes"]


def test_without_a_record_the_error_is_unknown(registered: Path) -> None:
    alone = registered / "elsewhere"
    alone.mkdir()
    write_transform(alone / "a.tfm", MOVING_FROM_FIXED)
    write_points(registered / "in.csv", PointTable(("a",), np.array([[60.0, 66.0]]), "pixel"))
    moved = move_points(read_saved(alone / "a.tfm"), registered / "in.csv", registered / "fixed.ome.tif")
    assert np.isnan(moved.error).all()
    assert moved.stage is None


@pytest.mark.parametrize(
    ("axes", "expected"),
    [
        ("right-down", (99.5, 201.0)),
        ("right-up", (100.5, 201.0)),
        ("left-down", (99.5, 199.0)),
        ("left-up", (100.5, 199)),
    ],
)
def test_places_are_told_where_the_stage_has_to_go(
    axes: StageAxes, expected: tuple[float, float], registered: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage stood at (100, 200) µm; the place lies half a micrometre above and one to the right of the middle."""
    saved = read_saved(registered / "out")
    fixed = read(registered / "fixed.ome.tif")
    place = fixed.grid.centre + np.array([-0.5, 1.0])
    write_points(registered / "in.csv", PointTable(("a",), MOVING_FROM_FIXED(place[None]), "pixel"))
    located = replace(fixed, source={**fixed.source, "stage_position": (100.0, 200.0)})
    monkeypatch.setattr("correlight.output.apply.points.read", lambda path, spacing=None: located)
    moved = move_points(saved, registered / "in.csv", "fixed.ome.tif", stage_axes=axes)
    assert moved.stage == pytest.approx(np.array([expected]), abs=1e-9)


def test_many_images_come_out_as_one_by_one(registered: Path) -> None:
    paths = registered / "moving.ome.tif", registered / "other.tif"
    write_tiff(paths[1], read(paths[0]).levels[0][1], Grid.of((120, 140)))
    members = tuple(Member(path, offset=(0.0, 0.0)) for path in paths)
    session = apply_session(registered / "out", members, registered / "fixed.ome.tif", registered / "many")
    assert session.status == "accepted"
    done = session.images
    assert [entry.file for entry in done] == [
        registered / "many" / "moving.ome.tif",
        registered / "many" / "other.ome.tif",
    ]
    kept = tifffile.imread(registered / "out" / "registered.ome.tif")
    assert np.array_equal(tifffile.imread(done[0].file), kept)
    assert np.array_equal(tifffile.imread(done[1].file), kept[1])
    footprint = tifffile.imread(registered / "out" / "footprint.tif")
    assert np.array_equal(tifffile.imread(registered / "many" / "other_footprint.tif"), footprint)
    assert done[0].covered == pytest.approx(footprint.mean())
    with (registered / "many" / "applied.csv").open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["moving.ome.tif", "other.tif"]


def test_crops_lie_where_the_table_says(registered: Path) -> None:
    whole = read(registered / "moving.ome.tif").levels[0][0]
    crop = np.ascontiguousarray(whole[30:90, 20:100])
    write_tiff(registered / "crop.tif", crop, Grid.of(crop.shape))
    fine = np.repeat(np.repeat(whole[40:80, 30:90], 2, axis=0), 2, axis=1)
    write_tiff(registered / "fine.tif", fine, Grid.of(fine.shape))
    (registered / "session.csv").write_text(
        "image,offset_y,offset_x,magnification\n"
        "moving.ome.tif,,,40\n"
        "crop.tif,30,20,\n"
        "fine.tif,39.75,29.75,80\n"
        "crop.tif,5000,0,\n"
    )
    assert holds_session(registered / "session.csv")
    members = read_session(registered / "session.csv")
    done = apply_session(registered / "out", members, registered / "fixed.ome.tif", registered / "many").images
    kept = tifffile.imread(registered / "out" / "registered.ome.tif")[0]
    inside = tifffile.imread(registered / "many" / "crop_footprint.tif").astype(bool)
    assert 0.1 < inside.mean() < 0.9
    assert np.array_equal(tifffile.imread(registered / "many" / "crop.ome.tif")[inside], kept[inside])
    inside = tifffile.imread(registered / "many" / "fine_footprint.tif").astype(bool)
    apart = np.abs(tifffile.imread(registered / "many" / "fine.ome.tif")[inside] - kept[inside].astype(float))
    # Pixels that were cut in four show the same grey within the step from one to the next.
    assert np.percentile(apart, 95) < 0.1 * np.ptp(kept[inside])
    assert done[3].file is None
    assert "outside the fixed image altogether" in done[3].sentence
    assert (registered / "many" / "applied.csv").read_text().splitlines()[-1] == "crop.tif,,0.0000,0.0000"


def test_the_stage_says_where_an_image_lies(tmp_path: Path) -> None:
    fixed, moving = (read(path) for path in write_images(tmp_path))
    moving = moving.with_spacing(0.1, "given")
    moving_from_fixed = Affine.of(0.1 * MOVING_FROM_FIXED.linear, 0.1 * MOVING_FROM_FIXED.offset)
    with reserve(tmp_path / "out") as folder:
        write_result(folder, known_result(fixed, moving, moving_from_fixed=moving_from_fixed), fixed, moving)
    crop = np.ascontiguousarray(moving.levels[0][0][10:110, 30:130])
    write_tiff(tmp_path / "crop.tif", crop, Grid.of(crop.shape, 0.1, unit="micrometre"))
    # The middle of the crop lies at pixel (59.5, 79.5), that of the whole at (59.5, 69.5): 1 µm to the right.
    (tmp_path / "session.csv").write_text("image,stage_y,stage_x\nmoving.ome.tif,500,700\ncrop.tif,500,701\n")
    apply_session(
        tmp_path / "out", read_session(tmp_path / "session.csv"), tmp_path / "fixed.ome.tif", tmp_path / "many"
    )
    kept = tifffile.imread(tmp_path / "out" / "registered.ome.tif")[0]
    inside = tifffile.imread(tmp_path / "many" / "crop_footprint.tif").astype(bool)
    assert inside.mean() > 0.1
    found = tifffile.imread(tmp_path / "many" / "crop.ome.tif")[inside].astype(float)
    # The position of the crop is a sum of lengths that are no binary fractions; rounding may tip a grey value by one.
    assert np.abs(found - kept[inside]).max() <= 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,colour\na.tif,red\n", "unknown: colour"),
        ("image,spacing\na.tif,-1\n", "positive number was expected as spacing in row 1"),
        ("image,offset_y,offset_x\na.tif,1,\n", "Both offset_y and offset_x"),
        ("image,unit\na.tif,furlong\n", "A unit is pixel or micrometre"),
        ("image,labels\na.tif,perhaps\n", "labels are yes or no"),
        ("image,spacing\n,1\n", "name of an image"),
        ("image,spacing\na.tif,1,2\n", "3 fields where the header has 2"),
        ("image\n", "at least one row"),
    ],
)
def test_a_table_that_cannot_be_understood_is_named(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "session.csv").write_text(text)
    with pytest.raises(ReadError, match=words):
        read_session(tmp_path / "session.csv")


@pytest.mark.parametrize(
    ("member", "words"),
    [
        ({"magnification": 10.0}, "without that of the image that was registered"),
        ({"stage": (1.0, 2.0)}, "without that of the image that was registered"),
        ({"offset": (1.0, 2.0), "unit": "micrometre"}, "registered with a pixel size"),
        ({"spacing": 0.1}, "registered without a pixel size"),
    ],
)
def test_what_says_nothing_alone_is_refused(member: dict, words: str, registered: Path) -> None:
    write_tiff(registered / "crop.tif", texture((60, 60), 5), Grid.of((60, 60)))
    with pytest.raises(UsageError, match=words):
        apply_session(
            registered / "out",
            (Member(registered / "crop.tif", **member),),
            registered / "fixed.ome.tif",
            registered / "many",
        )
    assert not (registered / "many").exists()


def test_many_images_need_the_record(registered: Path) -> None:
    alone = registered / "elsewhere"
    alone.mkdir()
    write_transform(alone / "a.tfm", MOVING_FROM_FIXED)
    with pytest.raises(UsageError, match=r"no result\.json"):
        apply_session(
            alone / "a.tfm", (Member(registered / "moving.ome.tif"),), registered / "fixed.ome.tif", registered / "many"
        )


def test_a_record_cannot_lead_out_of_its_folder(registered: Path) -> None:
    record = json.loads((registered / "out" / "result.json").read_text())
    write_transform(registered / "secret.tfm", MOVING_FROM_FIXED)
    record["moving_from_fixed"] = {"type": "thin-plate", "axes": "yx", "file": "../secret.tfm"}
    (registered / "out" / "result.json").write_text(json.dumps(record))
    with pytest.raises(ReadError):
        read_saved(registered / "out")


def test_the_stage_of_a_real_microscope_stands_in_the_middle_of_what_it_scanned(data: Path, tmp_path: Path) -> None:
    """A file of an electron microscope that states its stage position and has a data bar of 79 rows below 1024."""
    path = data / "multibse" / "Indent_20230912_7kV_spot4.5_FOV100um_multiBSE_A_05.tif"
    if not path.is_file():
        pytest.skip(f"no image in {path}")
    image = read(path)
    stage = image.source["stage_position"]
    middle = image.grid.points([[(1024 - 1) / 2, (1536 - 1) / 2]])
    write_transform(tmp_path / "a.tfm", Affine.identity())
    write_points(
        tmp_path / "in.csv",
        PointTable(("middle", "right"), np.vstack([middle, middle + np.array([0, 10])]), "micrometre"),
    )
    moved = move_points(read_saved(tmp_path / "a.tfm"), tmp_path / "in.csv", path)
    assert moved.stage == pytest.approx(np.array([stage, (stage[0], stage[1] + 10)]), abs=1e-6)


def test_the_command_moves_many_images_and_says_what_lies_outside(
    registered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(registered)
    (registered / "session.csv").write_text("image,offset_y,offset_x\nmoving.ome.tif,0,0\nmoving.ome.tif,9000,0\n")
    assert cli.main(["apply", "out", "session.csv", "--like", "fixed.ome.tif", "-o", "many"]) == 0
    said = capsys.readouterr()
    assert said.out.split() == ["many/moving.ome.tif"]
    assert "lie outside the fixed image" in said.err
    assert "lies outside the fixed image altogether" in said.err
    two = ["apply", "out", "moving.ome.tif", "moving.ome.tif", "--like", "fixed.ome.tif", "-o", "two"]
    assert cli.main(two) == 0
    assert np.array_equal(tifffile.imread("two/moving.ome.tif"), tifffile.imread("two/moving_2.ome.tif"))
    table = ["apply", "out", "session.csv", "--like", "fixed.ome.tif", "-o", "none", "--moving-spacing", "1"]
    assert cli.main(table) == 2
    assert "column spacing" in capsys.readouterr().err
    assert cli.main(["apply", "out", "--like", "fixed.ome.tif", "-o", "none"]) == 2
    assert "An image, or a CSV" in capsys.readouterr().err


def test_nothing_but_zeros_is_never_written(registered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    far = Affine.of(MOVING_FROM_FIXED.linear, MOVING_FROM_FIXED.offset + 10_000)
    write_transform(registered / "far.tfm", far)
    for out in ("moved.tif", "moved"):
        with pytest.raises(UsageError, match=r"moving\.ome\.tif lies outside fixed\.ome\.tif altogether"):
            apply(registered / "far.tfm", registered / "moving.ome.tif", registered / "fixed.ome.tif", registered / out)
    member = Member(registered / "moving.ome.tif", offset=(9_000.0, 0.0))
    with pytest.raises(UsageError, match=r"None of the 2 images lies on .*fixed\.ome\.tif"):
        apply_session(registered / "out", (member, member), registered / "fixed.ome.tif", registered / "many")
    assert not list(registered.glob("*moved*"))
    assert not (registered / "many").exists()
    assert not list(registered.glob(".*"))


def test_little_overlap_is_said(registered: Path) -> None:
    moved = apply(registered / "out", registered / "moving.ome.tif", registered / "fixed.ome.tif", registered / "a.tif")
    assert moved.notes == ()
    aside = Affine.of(MOVING_FROM_FIXED.linear, MOVING_FROM_FIXED.offset + 90)
    write_transform(registered / "aside.tfm", aside)
    (registered / "alone").mkdir()
    (registered / "aside.tfm").rename(registered / "alone" / "aside.tfm")
    moved = apply(
        registered / "alone" / "aside.tfm",
        registered / "moving.ome.tif",
        registered / "fixed.ome.tif",
        registered / "b.tif",
    )
    assert len(moved.notes) == 1
    assert "only" in moved.notes[0]
    assert "of moving.ome.tif lie on fixed.ome.tif" in moved.notes[0]
    assert 0 < tifffile.imread(moved.files[1]).mean() < 0.25


def test_exchanged_images_are_noticed(registered: Path) -> None:
    with pytest.raises(UsageError, match=r"fixed\.ome\.tif is the fixed image of this registration"):
        apply(registered / "out", registered / "fixed.ome.tif", registered / "moving.ome.tif", registered / "a.tif")
    with pytest.raises(UsageError, match=r"moving\.ome\.tif is the moving image of this registration"):
        apply(registered / "out", registered / "moving.ome.tif", registered / "moving.ome.tif", registered / "a.tif")
    assert not (registered / "a.tif").exists()


def test_a_field_unlike_the_one_on_record_is_said(registered: Path) -> None:
    crop = np.ascontiguousarray(read(registered / "fixed.ome.tif").levels[0][0][:80, :90])
    write_tiff(registered / "crop.tif", crop, Grid.of(crop.shape, FIXED_SPACING, unit="micrometre"))
    moved = apply(registered / "out", registered / "moving.ome.tif", registered / "crop.tif", registered / "a.tif")
    assert len(moved.notes) == 1
    assert "crop.tif covers 1.6 x 1.8 µm, and the fixed image that was registered 1.92 x 2.56 µm" in moved.notes[0]
    binned = crop.reshape(40, 2, 45, 2).mean(axis=(1, 3)).astype(np.uint16)
    whole = np.pad(binned, ((0, 8), (0, 19)), mode="edge")
    write_tiff(registered / "binned.tif", whole, Grid.of(whole.shape, 2 * FIXED_SPACING, unit="micrometre"))
    moved = apply(registered / "out", registered / "moving.ome.tif", registered / "binned.tif", registered / "b.tif")
    # The same field is another file only.
    assert [note for note in moved.notes if "not the fixed image" not in note] == []


def two_channels(folder: Path) -> Path:
    """A picture and a map of labels in one file, 120 by 140 pixels as the moving image."""
    labels = np.kron(np.arange(168).reshape(12, 14), np.ones((10, 10))).astype(np.uint16) * 300
    path = folder / "both.ome.tif"
    write_ome_tiff(path, np.stack([texture((120, 140), 7), labels]), Grid.of((120, 140)), ("dye", "cells"))
    return path


def test_channels_that_hold_labels_are_not_interpolated(
    registered: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = two_channels(registered)
    both = read(path)
    moved = apply(registered / "out", path, registered / "fixed.ome.tif", registered / "a.ome.tif")
    assert moved.notes == (
        "channel cells holds labels and was moved by nearest neighbour, so that no label is invented",
    )
    found = read(moved.files[0]).levels[0]
    assert set(np.unique(found[1])) <= {0, *np.unique(both.levels[0][1])}
    smooth, _ = warp(both.levels[0], both.grid, MOVING_FROM_FIXED, _fixed(registered))
    assert np.array_equal(found[0], smooth[0])
    assert len(np.unique(smooth[1])) > 2 * len(np.unique(found[1]))
    monkeypatch.chdir(registered)
    call = ["apply", "out", "both.ome.tif", "--like", "fixed.ome.tif", "-o"]
    assert cli.main([*call, "b.ome.tif"]) == 0
    assert "note that channel cells holds labels" in capsys.readouterr().err
    assert cli.main([*call, "c.ome.tif", "--order", "linear"]) == 0
    assert capsys.readouterr().err == ""
    assert np.array_equal(np.asarray(read(registered / "c.ome.tif").levels[0]), smooth)
    done = apply_session(registered / "out", (Member(path),), registered / "fixed.ome.tif", registered / "many").images
    assert done[0].file is not None
    assert np.array_equal(np.asarray(read(done[0].file).levels[0]), np.asarray(found))
    assert "cells holds labels" in done[0].notes[0]


def test_every_image_of_a_session_has_a_name_of_its_own(registered: Path) -> None:
    """As a.ome.tif, b/a.ome.tif and a_2.ome.tif, which once made two files of three."""
    source = read(registered / "moving.ome.tif")
    (registered / "b").mkdir()
    names = "a.ome.tif", "b/a.ome.tif", "a_2.ome.tif", "A.tif"
    for number, name in enumerate(names):
        write_ome_tiff(registered / name, source.levels[0][:1] // (number + 1), source.grid, ("stain",))
    rows = "".join(f"{name},0,0\n" for name in names)
    (registered / "session.csv").write_text(f"image,offset_y,offset_x\n{rows}")
    members = read_session(registered / "session.csv")
    done = apply_session(registered / "out", members, registered / "fixed.ome.tif", registered / "many").images
    files = [entry.file.name for entry in done if entry.file is not None]
    assert files == ["a.ome.tif", "a_3.ome.tif", "a_2.ome.tif", "A_4.ome.tif"]
    with (registered / "many" / "applied.csv").open() as file:
        listed = {row["image"]: row["file"] for row in csv.DictReader(file)}
    assert listed == dict(zip(names, files, strict=True))
    for name in names:
        alone = apply(
            registered / "out",
            registered / name,
            registered / "fixed.ome.tif",
            registered / "one.ome.tif",
            overwrite=True,
        )
        assert np.array_equal(tifffile.imread(registered / "many" / listed[name]), tifffile.imread(alone.files[0]))


def test_an_earlier_result_is_not_replaced_by_a_channel(registered: Path) -> None:
    """A folder of channels and a folder with the report both hold a footprint.tif."""
    (registered / "alone.tfm").write_bytes((registered / "out" / "moving_from_fixed.tfm").read_bytes())
    (registered / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt, which correlight did not write"):
        apply(
            registered / "alone.tfm",
            registered / "moving.ome.tif",
            registered / "fixed.ome.tif",
            registered / "out",
            overwrite=True,
        )
    assert (registered / "out" / "report.html").is_file()


@pytest.mark.parametrize("many", [False, True])
@pytest.mark.parametrize(("status", "code"), [("accepted", 0), ("doubtful", 0), ("refused", 3)])
def test_what_was_refused_is_no_success_for_a_script(
    status: str, code: int, many: bool, registered: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = registered / "out" / "result.json"
    record.write_text(record.read_text().replace('"status": "accepted"', f'"status": "{status}"'))
    moving = str(registered / "moving.ome.tif")
    given = [moving, moving] if many else [moving]
    like = ["--like", str(registered / "fixed.ome.tif"), "-o", str(registered / ("new" if many else "new.ome.tif"))]
    assert cli.main(["apply", str(registered / "out"), *given, *like]) == code
    assert ("was " + status in capsys.readouterr().err) is (status != "accepted")


def test_a_label_image_without_labels_is_moved_and_said(registered: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_tiff(registered / "none.tif", np.zeros((120, 140), np.uint8), Grid.of((120, 140)))
    sides = ["--like", str(registered / "fixed.ome.tif"), "-o"]
    for out, images in (("a.tif", ["none.tif"]), ("many", ["none.tif", "moving.ome.tif"])):
        paths = [str(registered / name) for name in images]
        assert cli.main(["apply", str(registered / "out"), *paths, *sides, str(registered / out)]) == 0
        assert "note on none.tif: every pixel is 0" in capsys.readouterr().err
    footprint = tifffile.imread(registered / "out" / "footprint.tif")
    for made in ("a.tif", "many/none.ome.tif"):
        assert not tifffile.imread(registered / made).any()
    for made in ("a_footprint.tif", "many/none_footprint.tif"):
        assert np.array_equal(tifffile.imread(registered / made), footprint)
